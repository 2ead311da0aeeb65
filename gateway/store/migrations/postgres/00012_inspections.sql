-- +goose Up

-- What became of the newest payloads, for people to look at. Those of workspace 0 are
-- nobody's.
CREATE TABLE inspections (
    workspace_id bigint NOT NULL,
    id           bigint NOT NULL, -- rises within the workspace
    at           bigint NOT NULL,
    node         text COLLATE "C" NOT NULL,
    verdict      text COLLATE "C" NOT NULL,
    code         text COLLATE "C" NOT NULL, -- of what was refused, else empty
    contact_id   bigint NOT NULL, -- 0: nobody
    detail       text COLLATE "C" NOT NULL, -- JSON object
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX inspections_contact ON inspections (workspace_id, contact_id, id);

-- +goose Down

DROP TABLE inspections;
