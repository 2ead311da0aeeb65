DROP TABLE tagged;
DROP TABLE tags;
ALTER TABLE workspaces DROP COLUMN tags;
ALTER TABLE companies DROP COLUMN employees;
