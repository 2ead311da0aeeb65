// Package store keeps civgate's data in SQL: it implements gateway.Store for
// SQLite, and is laid out so that another database adds a writer and a
// migration folder and shares the reads.
//
// It owns the schema, the transactions, the SQL and the meaning of driver
// errors. It decides nothing about contacts and companies: what is to be
// written comes as gateway.Changes.
//
// Decisions
//
//   - Reads go through database/sql, in statements that both dialects take
//     ($1 parameters). The one SQLite writer talks to the engine of
//     modernc.org/sqlite directly (engine.go): its parameters are bound from
//     memory that is kept, where the driver makes one malloc and one free for
//     each text.
//   - What contacts are found by (visitor key, custom id, e-mail, phone number) is
//     in one table, identifiers, and not in an index for each column: a batch
//     inserts it in one sorted pass, and a change of other attributes touches no
//     index at all. Measured against an index for each: a sixth less CPU for new
//     contacts, half for changed ones.
//   - Identifiers are spread over their whole tree, so that in a large store each
//     costs a page of it, to the log and later to the file. Batches are what
//     helps: with 200,000 contacts a new one costs 2.1 pages of 8 KiB in batches of
//     2,048, 1.1 in batches of 4,096 and 0.8 in batches of 8,192.
//   - Foreign keys are declared and not enforced on the writer: each check is one
//     more search in another tree, 7 us of 39 for a new contact, and only this
//     package writes, from ids that it found or made in the same transaction.
//     Tests run foreign_key_check.
//   - Ids come from the table sequences through a cache in memory, not from
//     RETURNING: a new contact and all that refers to it can be written in
//     multi-row statements.
//   - A failed write fails its whole transaction (OR ROLLBACK). Undoing one
//     statement alone would mean a copy of every page that it changes.
//   - The writer never checkpoints; a goroutine does, first beside the writer,
//     then for the rest between two transactions, because only a log that is
//     wholly in the database file can start over and so stays bounded.
//   - Pages of 8 KiB and a cache of 32 MiB, which fills under load only: with 4 KiB
//     or with half the cache a new contact costs an eighth more. Changed pages that
//     do not fit go to the log before the commit; a batch inserts in the order of
//     its keys and so has done with them.
//   - Attributes that are looked up or shown in lists (name, phone_number, status)
//     have columns as long as they are plain texts; a value of any other kind
//     stays in the JSON of the rest. Types are not stored: a value read back has
//     the type that its JSON shows (a date is a text), the definitions know more.
package store
