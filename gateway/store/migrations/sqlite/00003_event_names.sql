-- +goose Up

-- The names that the events of a workspace have had, by kind: whether an event is
-- the first of its name can't be asked of the events themselves, which no index
-- has by name and which go with their contacts. A name stays.
CREATE TABLE event_names (
    workspace_id INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    name         TEXT NOT NULL,
    first_at     INTEGER NOT NULL, -- when the first of them to be stored happened
    PRIMARY KEY (workspace_id, kind, name)
) STRICT, WITHOUT ROWID;

INSERT INTO event_names (workspace_id, kind, name, first_at)
    SELECT workspace_id, kind, name, min(at) FROM events GROUP BY workspace_id, kind, name;

-- +goose Down

DROP TABLE event_names;
