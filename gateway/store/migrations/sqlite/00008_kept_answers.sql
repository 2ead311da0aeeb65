-- +goose Up

-- What was answered to requests that named themselves (Idempotency-Key), for a day.
CREATE TABLE kept_answers (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    key          TEXT    NOT NULL,
    request      BLOB    NOT NULL, -- SHA-256 of what was asked
    status       INTEGER NOT NULL,
    entity       TEXT    NOT NULL, -- whose view the body is, '' for nobody's
    subject_id   INTEGER NOT NULL,
    body         TEXT    NOT NULL,
    kept_at      INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_answers_age ON kept_answers (workspace_id, kept_at);

-- +goose Down

DROP TABLE kept_answers;
