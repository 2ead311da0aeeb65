-- +goose Up

-- Every table starts with workspace_id and every logical key includes it, the
-- exceptions being what belongs to the process (sequences, inbox positions)
-- and the secrets of api_keys, which are there to find a workspace. In keys
-- that are searched a million times the column that tells rows apart comes
-- first: the engine compares the first column by a short way.
-- Ids are unique overall, so that they can be the rowid: a page of the tree of
-- contacts then has a few hundred children and the tree stays three levels
-- deep. Times are microseconds since 1970 in UTC, 0 for none.

CREATE TABLE workspaces (
    workspace_id INTEGER PRIMARY KEY,
    name         TEXT    NOT NULL,
    settings     TEXT    NOT NULL, -- JSON of gateway.Settings
    contacts     INTEGER NOT NULL DEFAULT 0, -- how many there are, merged ones left out
    companies    INTEGER NOT NULL DEFAULT 0,
    created_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    kind         TEXT    NOT NULL,
    secret       TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (kind, secret)
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_workspace ON api_keys (workspace_id, created_at);

CREATE TABLE agents (
    workspace_id  INTEGER NOT NULL REFERENCES workspaces,
    email         TEXT    NOT NULL,
    password_hash TEXT    NOT NULL, -- argon2id, PHC string format
    role          TEXT    NOT NULL,
    created_at    INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, email)
) STRICT, WITHOUT ROWID;

CREATE TABLE contacts (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER PRIMARY KEY,
    custom_id    TEXT,
    email        TEXT,             -- as sent, NULL if that is email_key
    email_key    TEXT,
    name         TEXT,
    phone_number TEXT,
    status       TEXT,
    attributes   TEXT    NOT NULL, -- JSON object: the rest of the bag
    visitor_key  TEXT,             -- the newest one
    fingerprint  INTEGER NOT NULL,
    last_ip      TEXT,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    merged_into  INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX contacts_listed ON contacts (workspace_id, id) WHERE merged_into = 0;
CREATE INDEX contacts_merged ON contacts (merged_into, workspace_id) WHERE merged_into <> 0;

-- What contacts are found by. All of it is in one tree, and not in an index for
-- each column of contacts, because then a batch can insert it in one sorted
-- pass: that is where nearly all of its search and write time goes.
CREATE TABLE identifiers (
    workspace_id INTEGER NOT NULL,
    kind         INTEGER NOT NULL, -- 0 visitor key, 1 custom id, 2 e-mail key, 3 phone number
    value        TEXT    NOT NULL,
    slot         INTEGER NOT NULL, -- 0 for what only one contact can have, else contact_id
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    PRIMARY KEY (value, kind, workspace_id, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE visitor_keys (
    workspace_id INTEGER NOT NULL,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    created_at   INTEGER NOT NULL,
    key          TEXT    NOT NULL,
    PRIMARY KEY (contact_id, workspace_id, created_at, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE companies (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    id           INTEGER PRIMARY KEY,
    custom_id    TEXT,
    name         TEXT    NOT NULL,
    attributes   TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX companies_custom_id ON companies (custom_id, workspace_id) WHERE custom_id IS NOT NULL;
CREATE INDEX companies_name ON companies (name, workspace_id, id) WHERE custom_id IS NULL;
CREATE INDEX companies_listed ON companies (workspace_id, id);

-- until = 0 is the current membership: as a part of the key it makes that one
-- unique for a pair, and lets any number of ended ones stand beside it.
CREATE TABLE memberships (
    workspace_id INTEGER NOT NULL,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    company_id   INTEGER NOT NULL REFERENCES companies,
    until        INTEGER NOT NULL,
    since        INTEGER NOT NULL,
    source       TEXT    NOT NULL,
    is_primary   INTEGER NOT NULL,
    made_by      TEXT    NOT NULL,
    PRIMARY KEY (contact_id, workspace_id, company_id, until)
) STRICT, WITHOUT ROWID;

CREATE INDEX memberships_company ON memberships (company_id, workspace_id, since, contact_id) WHERE until = 0;

CREATE TABLE attribute_defs (
    workspace_id INTEGER NOT NULL REFERENCES workspaces,
    entity       TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    id           INTEGER NOT NULL,
    label        TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    description  TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, entity, name)
) STRICT, WITHOUT ROWID;

-- History keeps the contact id that it was written with; reads go through the
-- aliases in contacts.merged_into.
CREATE TABLE page_views (
    workspace_id INTEGER NOT NULL,
    id           INTEGER PRIMARY KEY,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    at           INTEGER NOT NULL,
    visitor_key  TEXT,
    url          TEXT,
    path         TEXT,
    title        TEXT,
    referrer     TEXT
) STRICT;

CREATE INDEX page_views_contact ON page_views (contact_id, workspace_id, at);

CREATE TABLE events (
    workspace_id INTEGER NOT NULL,
    id           INTEGER PRIMARY KEY,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    at           INTEGER NOT NULL,
    visitor_key  TEXT,
    kind         TEXT    NOT NULL,
    name         TEXT    NOT NULL,
    data         TEXT
) STRICT;

CREATE INDEX events_contact ON events (contact_id, workspace_id, at);

CREATE TABLE merges (
    workspace_id   INTEGER NOT NULL,
    id             INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    made_by        TEXT    NOT NULL,
    rule           TEXT    NOT NULL,
    winner_id      INTEGER NOT NULL REFERENCES contacts,
    loser_id       INTEGER NOT NULL REFERENCES contacts,
    contact_before TEXT    NOT NULL,
    contact_after  TEXT    NOT NULL
) STRICT;

CREATE INDEX merges_winner ON merges (winner_id, workspace_id);
CREATE INDEX merges_loser ON merges (loser_id, workspace_id);

-- Ids of messages come sorted by time (UUID version 7), so that both claiming
-- and forgetting them work on neighbours.
CREATE TABLE messages (
    workspace_id INTEGER NOT NULL,
    id           BLOB    NOT NULL,
    claimed_at   INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE visits (
    workspace_id INTEGER NOT NULL,
    day          INTEGER NOT NULL, -- days since 1970-01-01
    count        INTEGER NOT NULL,
    PRIMARY KEY (workspace_id, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE quarantine (
    workspace_id INTEGER NOT NULL,
    id           INTEGER PRIMARY KEY,
    at           INTEGER NOT NULL,
    body         BLOB    NOT NULL,
    reason       TEXT    NOT NULL
) STRICT;

CREATE INDEX quarantine_workspace ON quarantine (workspace_id, id);

CREATE TABLE inbox_positions (
    node TEXT    NOT NULL PRIMARY KEY,
    seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sequences (
    kind    TEXT    NOT NULL PRIMARY KEY,
    next_id INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE sequences;
DROP TABLE inbox_positions;
DROP TABLE quarantine;
DROP TABLE visits;
DROP TABLE messages;
DROP TABLE merges;
DROP TABLE events;
DROP TABLE page_views;
DROP TABLE attribute_defs;
DROP TABLE memberships;
DROP TABLE companies;
DROP TABLE visitor_keys;
DROP TABLE identifiers;
DROP TABLE contacts;
DROP TABLE agents;
DROP TABLE api_keys;
DROP TABLE workspaces;
