-- +goose Up

-- Products and deals. An own id is one text with its entity, so that it is found by
-- all of an index: from a part of one the planners would as soon take the primary key,
-- and read all products to find one. Their ids are of one sequence.
CREATE TABLE records (
    workspace_id INTEGER NOT NULL,
    id           INTEGER NOT NULL,
    entity       TEXT    NOT NULL, -- product or deal
    key          TEXT, -- of an own id: the entity, a colon and the id
    name         TEXT    NOT NULL,
    attributes   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, entity, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX records_key ON records (key, workspace_id) WHERE key IS NOT NULL;
-- Lets them be counted without reading them.
CREATE INDEX records_counted ON records (workspace_id, entity);

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
