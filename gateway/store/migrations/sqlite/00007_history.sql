-- +goose Up

-- Contacts are searched by when they were first or last seen: page views by time.
-- They come in the order of time, so that a batch adds to the last pages of this
-- index alone.
CREATE INDEX page_views_at ON page_views (workspace_id, at, contact_id);

-- Likewise: a contact keeps when it was created.
CREATE INDEX contacts_created ON contacts (workspace_id, created_at);

-- When a contact without page views counts as last seen, 0 for one that has any.
-- Page views that come without a change of their contact leave it as it is: what
-- is searched by it must be looked at again. An index of updated_at itself would
-- cost every changed contact a search.
ALTER TABLE contacts ADD COLUMN unseen_at INTEGER NOT NULL DEFAULT 0;
UPDATE contacts SET unseen_at = max(created_at, updated_at)
    WHERE NOT EXISTS (SELECT 1 FROM page_views v WHERE v.contact_id = contacts.id AND v.workspace_id = contacts.workspace_id);
CREATE INDEX contacts_unseen ON contacts (workspace_id, unseen_at) WHERE unseen_at <> 0;

-- The events of a workspace, the last one to be stored first.
CREATE INDEX events_listed ON events (workspace_id, id);

-- +goose Down

DROP INDEX events_listed;
DROP INDEX contacts_unseen;
ALTER TABLE contacts DROP COLUMN unseen_at;
DROP INDEX contacts_created;
DROP INDEX page_views_at;
