-- +goose Up

-- Products and deals. Their ids are of one sequence.
CREATE TABLE records (
    workspace_id INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    entity       TEXT    NOT NULL, -- product or deal
    custom_id    TEXT,
    name         TEXT    NOT NULL,
    attributes   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX records_custom_id ON records (custom_id, entity, workspace_id) WHERE custom_id IS NOT NULL;
CREATE INDEX records_listed ON records (workspace_id, entity, id);

-- What a definition says beside its type.
ALTER TABLE attribute_defs ADD COLUMN is_integer INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attribute_defs ADD COLUMN choices TEXT NOT NULL DEFAULT ''; -- JSON list of texts, '' if there are none
ALTER TABLE attribute_defs ADD COLUMN multiple INTEGER NOT NULL DEFAULT 0;

-- How many definitions of a workspace have been deleted: who remembers definitions
-- tells by it that some of them may be gone.
CREATE TABLE attribute_drops (
    workspace_id INTEGER NOT NULL PRIMARY KEY,
    dropped      INTEGER NOT NULL
) STRICT;

-- +goose Down

DROP TABLE attribute_drops;
ALTER TABLE attribute_defs DROP COLUMN multiple;
ALTER TABLE attribute_defs DROP COLUMN choices;
ALTER TABLE attribute_defs DROP COLUMN is_integer;
DROP TABLE records;
