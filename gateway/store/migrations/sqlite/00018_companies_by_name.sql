-- +goose Up

-- Companies are listed by name: without regard to the case of ASCII letters, and by no
-- more of a long name than a key of an index has room for.
CREATE INDEX companies_by_name ON companies (workspace_id, lower(substr(name, 1, 100)), id);

-- +goose Down

DROP INDEX companies_by_name;
