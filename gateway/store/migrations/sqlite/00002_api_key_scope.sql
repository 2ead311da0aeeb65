-- +goose Up

-- Tokens that were made before there were scopes may do everything. A widget key
-- has no scope.
ALTER TABLE api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
ALTER TABLE api_keys ADD COLUMN scope TEXT NOT NULL DEFAULT 'admin';
UPDATE api_keys SET scope = '' WHERE kind <> 'rest';

-- Former members are listed as current ones are, the last to come first.
CREATE INDEX memberships_former ON memberships (company_id, workspace_id, since, contact_id, until) WHERE until <> 0;

-- +goose Down

DROP INDEX memberships_former;
ALTER TABLE api_keys DROP COLUMN scope;
ALTER TABLE api_keys DROP COLUMN name;
