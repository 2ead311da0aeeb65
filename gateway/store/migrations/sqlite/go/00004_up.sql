-- How many employees a company has now: counting them takes as long as there are
-- many.
ALTER TABLE companies ADD COLUMN employees INTEGER NOT NULL DEFAULT 0;
UPDATE companies SET employees = (
    SELECT count(*) FROM memberships m WHERE m.company_id = companies.id AND m.workspace_id = companies.workspace_id AND m.until = 0
);

ALTER TABLE workspaces ADD COLUMN tags INTEGER NOT NULL DEFAULT 0; -- how many there are

-- A tag that was deleted never lends its id to another one: AUTOINCREMENT.
CREATE TABLE tags (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    name         TEXT    NOT NULL,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX tags_name ON tags (name, workspace_id);
CREATE INDEX tags_listed ON tags (workspace_id, id);

-- Who has which tag, as it is in their attributes too. Of contacts that were merged
-- rows may stay.
CREATE TABLE tagged (
    workspace_id INTEGER NOT NULL,
    tag_id       INTEGER NOT NULL REFERENCES tags,
    entity       TEXT    NOT NULL,
    subject_id   INTEGER NOT NULL, -- a contact or company
    PRIMARY KEY (tag_id, workspace_id, entity, subject_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX tagged_subject ON tagged (subject_id, workspace_id, entity);
