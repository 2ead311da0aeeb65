-- +goose Up

-- What the people of a large company did is found among the newest of all: events by
-- time. Not by ranges of blocks, as page views are: events are told late, too, and
-- fewer, so that an index entry each is no burden. With the contact, so that rows of
-- others are never read.
CREATE INDEX events_at ON events (workspace_id, at, id) INCLUDE (contact_id);

-- +goose Down

DROP INDEX events_at;
