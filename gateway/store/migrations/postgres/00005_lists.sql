-- +goose Up

-- Blocks of ids, as contact_ids.
CREATE SEQUENCE list_ids AS bigint INCREMENT BY 64;
CREATE SEQUENCE segment_ids AS bigint INCREMENT BY 64;

CREATE TABLE lists (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    id           bigint NOT NULL,
    name         text   COLLATE "C" NOT NULL,
    description  text   COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (workspace_id, id)
);

-- Who is in a list. Merged contacts stay in theirs.
CREATE TABLE listed (
    workspace_id bigint NOT NULL,
    list_id      bigint NOT NULL,
    contact_id   bigint NOT NULL,
    added_at     bigint NOT NULL,
    via          bigint NOT NULL, -- the contact that brought the list along by a merge, or 0
    PRIMARY KEY (workspace_id, list_id, contact_id)
);

CREATE INDEX listed_contact ON listed (workspace_id, contact_id, list_id);

CREATE TABLE segments (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    id           bigint NOT NULL,
    name         text   COLLATE "C" NOT NULL,
    filter       text   COLLATE "C" NOT NULL, -- the query of a list of contacts
    created_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    PRIMARY KEY (workspace_id, id)
);

-- +goose Down

DROP TABLE segments;
DROP TABLE listed;
DROP TABLE lists;
DROP SEQUENCE segment_ids;
DROP SEQUENCE list_ids;
