-- +goose Up

ALTER TABLE agents ADD COLUMN name text COLLATE "C" NOT NULL DEFAULT '';

CREATE INDEX agents_email ON agents (email, workspace_id);

-- Who is signed in to the panel. The token itself is only in a browser.
CREATE TABLE sessions (
    token      bytea NOT NULL PRIMARY KEY, -- SHA-256
    data       bytea NOT NULL,
    expires_at bigint NOT NULL
);

CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Who may become an agent: one open invitation an e-mail.
CREATE TABLE invitations (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    email        text COLLATE "C" NOT NULL,
    token        bytea NOT NULL UNIQUE, -- SHA-256 of what the link holds
    role         text COLLATE "C" NOT NULL,
    made_by      text COLLATE "C" NOT NULL,
    created_at   bigint NOT NULL,
    expires_at   bigint NOT NULL,
    PRIMARY KEY (workspace_id, email)
);

CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Who changed what. Nothing is ever changed here.
CREATE TABLE audit (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    id           bigint NOT NULL, -- counted in the workspace
    at           bigint NOT NULL,
    made_by      text COLLATE "C" NOT NULL,
    action       text COLLATE "C" NOT NULL,
    subject      text COLLATE "C" NOT NULL,
    subject_id   text COLLATE "C" NOT NULL,
    detail       text COLLATE "C" NOT NULL, -- JSON object
    PRIMARY KEY (workspace_id, id)
);

CREATE INDEX audit_made_by ON audit (workspace_id, made_by, id);
CREATE INDEX audit_action ON audit (workspace_id, action, id);

-- +goose Down

DROP TABLE audit;
DROP TABLE invitations;
DROP TABLE sessions;
DROP INDEX agents_email;
ALTER TABLE agents DROP COLUMN name;
