-- +goose Up

-- What was answered to requests that named themselves (Idempotency-Key), for a day.
CREATE TABLE kept_answers (
    workspace_id bigint NOT NULL REFERENCES workspaces,
    key          text COLLATE "C" NOT NULL,
    request      bytea NOT NULL, -- SHA-256 of what was asked
    status       bigint NOT NULL,
    entity       text COLLATE "C" NOT NULL, -- whose view the body is, '' for nobody's
    subject_id   bigint NOT NULL,
    body         text COLLATE "C" NOT NULL,
    kept_at      bigint NOT NULL,
    PRIMARY KEY (workspace_id, key)
);

CREATE INDEX kept_answers_age ON kept_answers (workspace_id, kept_at);

-- +goose Down

DROP TABLE kept_answers;
