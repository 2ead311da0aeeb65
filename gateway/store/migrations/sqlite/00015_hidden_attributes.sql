-- +goose Up

-- Whether an attribute is left out of profiles.
ALTER TABLE attribute_defs ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;

-- +goose Down

ALTER TABLE attribute_defs DROP COLUMN hidden;
