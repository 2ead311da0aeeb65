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
//     modernc.org/sqlite directly (engine.go): with database/sql and one malloc
//     per bound text between, a batch costs about half as much again.
//   - Foreign keys are declared and not enforced on the writer: each check is one
//     more search in another tree, and only this package writes, from ids that it
//     found or made in the same transaction. Tests run foreign_key_check.
//   - Ids come from the table sequences through a cache in memory, not from
//     RETURNING: a new contact and all that refers to it can be written in
//     multi-row statements.
//   - The writer never checkpoints; a goroutine does, first beside the writer,
//     then for the rest between two transactions, because only a log that is
//     wholly in the database file can start over and so stays bounded.
//   - Names of standard attributes that are looked up or shown in lists (name,
//     phone_number, status) have columns of their own as long as they are plain
//     texts; a value of any other kind stays in the JSON of the rest.
package store
