-- The domains by which companies are found: those that they list, and names that are
-- domains. The attributes and names of companies say the same; this is to find them by.
CREATE TABLE company_domains (
    workspace_id INTEGER NOT NULL,
    domain       TEXT NOT NULL, -- comparable: lower case, ASCII
    company_id   INTEGER NOT NULL REFERENCES companies,
    listed       INTEGER NOT NULL, -- false: it is the company's name
    PRIMARY KEY (domain, workspace_id, company_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX company_domains_company ON company_domains (company_id, workspace_id);

-- Long work that is done in steps. One of a kind is under way in a workspace.
CREATE TABLE jobs (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER NOT NULL,
    kind         TEXT NOT NULL,
    state        TEXT NOT NULL, -- running, done, stopped or failed
    done         INTEGER NOT NULL,
    total        INTEGER NOT NULL,
    detail       TEXT NOT NULL, -- JSON, of the kind
    started_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    made_by      TEXT NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX jobs_running ON jobs (workspace_id, kind) WHERE state = 'running';
