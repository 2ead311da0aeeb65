-- +goose Up

-- The words of the names of contacts that are not merged away, to find them by. It is worked
-- out from the contacts in small steps, behind their backs: see names.go. Contacts whose ids
-- are close have their words in one part of the index (block), so that a step changes few
-- pages, and the newest are found first.
CREATE TABLE name_words (
    workspace_id INTEGER NOT NULL,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    word         TEXT    NOT NULL,
    block        INTEGER NOT NULL,
    PRIMARY KEY (contact_id, workspace_id, word)
) STRICT, WITHOUT ROWID;

CREATE INDEX name_words_searched ON name_words (workspace_id, block, word, contact_id DESC);

-- Up to which id the contacts of a workspace have their words there, but for those that are
-- due. Without a row it is none: all that are stored when this table comes.
CREATE TABLE name_index (
    workspace_id INTEGER NOT NULL PRIMARY KEY,
    upto         INTEGER NOT NULL
) STRICT;

CREATE TABLE names_due (
    workspace_id INTEGER NOT NULL,
    contact_id   INTEGER NOT NULL REFERENCES contacts,
    PRIMARY KEY (workspace_id, contact_id)
) STRICT, WITHOUT ROWID;

-- +goose Down

DROP TABLE names_due;
DROP TABLE name_index;
DROP TABLE name_words;
