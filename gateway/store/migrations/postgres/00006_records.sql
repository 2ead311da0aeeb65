-- +goose Up

-- Products and deals. An own id is one text with its entity, so that it is found by
-- all of an index: from a part of one the planners would as soon take the primary key,
-- and read all products to find one. Their ids are of one sequence, in blocks as the others.
CREATE SEQUENCE record_ids AS bigint INCREMENT BY 64;

CREATE TABLE records (
    workspace_id bigint NOT NULL,
    id           bigint NOT NULL,
    entity       text   COLLATE "C" NOT NULL, -- product or deal
    key          text   COLLATE "C", -- of an own id: the entity, a colon and the id
    name         text   COLLATE "C" NOT NULL,
    attributes   text   COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (workspace_id, entity, id)
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX records_key ON records (workspace_id, key) WHERE key IS NOT NULL;

-- What a definition says beside its type.
ALTER TABLE attribute_defs ADD COLUMN is_integer boolean NOT NULL DEFAULT false;
ALTER TABLE attribute_defs ADD COLUMN choices text COLLATE "C" NOT NULL DEFAULT ''; -- JSON list of texts, '' if there are none
ALTER TABLE attribute_defs ADD COLUMN multiple boolean NOT NULL DEFAULT false;

-- How many definitions of a workspace have been deleted: who remembers definitions
-- tells by it that some of them may be gone.
CREATE TABLE attribute_drops (
    workspace_id bigint NOT NULL PRIMARY KEY,
    dropped      bigint NOT NULL
);

-- +goose Down

DROP TABLE attribute_drops;
ALTER TABLE attribute_defs DROP COLUMN multiple;
ALTER TABLE attribute_defs DROP COLUMN choices;
ALTER TABLE attribute_defs DROP COLUMN is_integer;
DROP TABLE records;
DROP SEQUENCE record_ids;
