-- +goose Up

-- What became of the newest payloads, for people to look at. Those of workspace 0 are
-- nobody's.
CREATE TABLE inspections (
    workspace_id INTEGER NOT NULL,
    id           INTEGER NOT NULL, -- rises within the workspace
    at           INTEGER NOT NULL,
    node         TEXT    NOT NULL,
    verdict      TEXT    NOT NULL,
    code         TEXT    NOT NULL, -- of what was refused, else empty
    contact_id   INTEGER NOT NULL, -- 0: nobody
    detail       TEXT    NOT NULL, -- JSON object
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX inspections_contact ON inspections (workspace_id, contact_id, id);

-- +goose Down

DROP TABLE inspections;
