-- +goose Up

CREATE TABLE lists (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

-- Who is in a list. Merged contacts stay in theirs.
CREATE TABLE listed (
    workspace_id INTEGER NOT NULL,
    list_id      INTEGER NOT NULL,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    added_at     INTEGER NOT NULL,
    via          INTEGER NOT NULL, -- the contact that brought the list along by a merge, or 0
    PRIMARY KEY (list_id, contact_id, workspace_id),
    FOREIGN KEY (workspace_id, list_id) REFERENCES lists
) STRICT, WITHOUT ROWID;

CREATE INDEX listed_contact ON listed (contact_id, workspace_id, list_id);

CREATE TABLE segments (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    filter       TEXT    NOT NULL, -- the query of a list of contacts
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE segments;
DROP TABLE listed;
DROP TABLE lists;
DELETE FROM sequences WHERE kind IN ('list', 'segment');
