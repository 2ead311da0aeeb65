-- +goose Up

-- When and by whom a merge was undone; 0 and nobody while it stands.
ALTER TABLE merges ADD COLUMN undone_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE merges ADD COLUMN undone_by TEXT NOT NULL DEFAULT '';

-- +goose Down

ALTER TABLE merges DROP COLUMN undone_by;
ALTER TABLE merges DROP COLUMN undone_at;
