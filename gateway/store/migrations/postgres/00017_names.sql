-- +goose Up

-- The words of the names of contacts that are not merged away, to find them by. It is worked
-- out from the contacts in small steps, behind their backs: see names.go. Contacts whose ids
-- are close have their words in one part of the index (block), so that a step changes few
-- pages, and the newest are found first.
CREATE TABLE name_words (
    workspace_id bigint NOT NULL,
    contact_id   bigint NOT NULL,
    word         text   COLLATE "C" NOT NULL,
    block        bigint NOT NULL,
    PRIMARY KEY (workspace_id, contact_id, word)
);

CREATE INDEX name_words_searched ON name_words (workspace_id, block, word, contact_id DESC);

-- Up to which id the contacts of a workspace have their words there, but for those that are
-- due. Without a row it is none: all that are stored when this table comes. Rewritten by
-- every step, hence the fillfactor.
CREATE TABLE name_index (
    workspace_id bigint NOT NULL PRIMARY KEY,
    upto         bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE names_due (
    workspace_id bigint NOT NULL,
    contact_id   bigint NOT NULL,
    PRIMARY KEY (workspace_id, contact_id)
);

-- +goose Down

DROP TABLE names_due;
DROP TABLE name_index;
DROP TABLE name_words;
