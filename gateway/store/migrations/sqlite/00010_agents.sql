-- +goose Up

ALTER TABLE agents ADD COLUMN name TEXT NOT NULL DEFAULT '';

CREATE INDEX agents_email ON agents (email, workspace_id);

-- Who is signed in to the panel. The token itself is only in a browser.
CREATE TABLE sessions (
    token      BLOB    NOT NULL PRIMARY KEY, -- SHA-256
    data       BLOB    NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_expiry ON sessions (expires_at);

-- Who may become an agent: one open invitation an e-mail.
CREATE TABLE invitations (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    email        TEXT    NOT NULL,
    token        BLOB    NOT NULL UNIQUE, -- SHA-256 of what the link holds
    role         TEXT    NOT NULL,
    made_by      TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, email)
) STRICT, WITHOUT ROWID;

CREATE INDEX invitations_expiry ON invitations (expires_at);

-- Who changed what. Nothing is ever changed here.
CREATE TABLE audit (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER NOT NULL, -- counted in the workspace
    at           INTEGER NOT NULL,
    made_by      TEXT    NOT NULL,
    action       TEXT    NOT NULL,
    subject      TEXT    NOT NULL,
    subject_id   TEXT    NOT NULL,
    detail       TEXT    NOT NULL, -- JSON object
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_made_by ON audit (workspace_id, made_by, id);
CREATE INDEX audit_action ON audit (workspace_id, action, id);

-- +goose Down

DROP TABLE audit;
DROP TABLE invitations;
DROP TABLE sessions;
DROP INDEX agents_email;
ALTER TABLE agents DROP COLUMN name;
