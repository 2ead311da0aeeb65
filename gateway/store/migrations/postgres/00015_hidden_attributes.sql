-- +goose Up

-- Whether an attribute is left out of profiles.
ALTER TABLE attribute_defs ADD COLUMN hidden boolean NOT NULL DEFAULT false;

-- +goose Down

ALTER TABLE attribute_defs DROP COLUMN hidden;
