-- The domains by which companies are found: those that they list, and names that are
-- domains. The attributes and names of companies say the same; this is to find them by.
CREATE TABLE company_domains (
    workspace_id bigint NOT NULL,
    domain       text COLLATE "C" NOT NULL, -- comparable: lower case, ASCII
    company_id   bigint NOT NULL,
    listed       boolean NOT NULL, -- false: it is the company's name
    PRIMARY KEY (workspace_id, domain, company_id)
);

CREATE INDEX company_domains_company ON company_domains (workspace_id, company_id);

-- Long work that is done in steps. One of a kind is under way in a workspace.
CREATE TABLE jobs (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    id           bigint NOT NULL,
    kind         text COLLATE "C" NOT NULL,
    state        text COLLATE "C" NOT NULL, -- running, done, stopped or failed
    done         bigint NOT NULL,
    total        bigint NOT NULL,
    detail       text COLLATE "C" NOT NULL, -- JSON, of the kind
    started_at   bigint NOT NULL,
    updated_at   bigint NOT NULL,
    made_by      text COLLATE "C" NOT NULL,
    PRIMARY KEY (workspace_id, id)
);

CREATE UNIQUE INDEX jobs_running ON jobs (workspace_id, kind) WHERE state = 'running';
