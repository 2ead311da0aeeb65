// Package store keeps civgate's data in SQL: it implements gateway.Store for
// SQLite (one process, one file) and for PostgreSQL (any number of processes).
// Both share the reads and the meaning of errors; each has a writer and a
// migration folder of its own.
//
// It owns the schema, the transactions, the SQL and the meaning of driver
// errors. It decides nothing about contacts and companies: what is to be
// written comes as gateway.Changes.
//
// Decisions, for both
//
//   - Reads go through database/sql, in statements that both dialects take
//     ($1 parameters).
//   - Attributes that are looked up or shown in lists (name, phone_number, status)
//     have columns as long as they are plain texts; a value of any other kind
//     stays in the JSON of the rest. Types are not stored: a value read back has
//     the type that its JSON shows (a date is a text), the definitions know more.
//     The JSON is text in PostgreSQL too: numbers and the order of names come back
//     as they were written.
//   - A contact or company is deleted with its rows in all tables, at once and in
//     the transaction that asks for it: nothing is left to a job that may not run.
//     With 100,000 page views that takes 0.15 s in SQLite and 0.05 s in PostgreSQL, a
//     company with 200,000 employees 1.8 s and 4.4 s, for as long as other
//     transactions of the workspace (in SQLite: all) wait. Its former employees'
//     fingerprints become 0, so that a payload that still names the company counts
//     as a change on every node. Statements take portions of 10,000 rows in SQLite,
//     whose engine keeps what they find in memory.
//   - The names of events are in a table of their own (event_names) that outlives
//     the events: an index of events by name would cost each event a search. Names
//     that are known to be there are kept in memory, 50 ns an event, so that the
//     table is touched for new names only.
//   - What is written rarely (lists, segments) is one SQL for both databases (plain.go), and
//     written at once, not with the batch of a Save. A merge copies the loser's places in
//     lists to the winner: reading lists through all aliases would cost every page of
//     contacts more than merges of the few who are in a list do.
//   - How many employees a company has is a number in its row, which every Save that
//     changes memberships keeps: counting took 45 ms for 200,000. Who has a tag is a
//     table (tagged) beside the attributes that say so; see tags.go. Taking a tag
//     from 100,000 contacts takes 0.5 s in SQLite and 2.1 s in PostgreSQL.
//   - An attribute is dropped by reading what may have it in the order of an index,
//     searched by SQL for the name and rewritten in Go, so that what else is in a bag
//     stays byte for byte. It goes in portions of up to 4,096 rows, fewer where bags are
//     large, within the one transaction that also deletes the definition. Of 1,000,000
//     contacts that all have it that takes 3.2 s in SQLite and 7.0 s in PostgreSQL
//     (BenchmarkDropAttribute), for as long as other transactions of the workspace (in
//     SQLite: all) wait.
//   - Memory of definitions is checked against a counter (attribute_drops), which every
//     Load reads along: one row, where comparing the definitions themselves would read
//     up to thousands. What was remembered before one was dropped ends in a conflict.
//   - Records (products and deals) are written in SQL that both share (plain.go), in
//     groups of 64, and found by one text of entity and own id.
//   - Contacts and companies that meet conditions are found by SQL as far as an
//     identifier, a range or a pattern narrows the search, and decided in Go, so that
//     both databases give one answer (read_find.go, read_match.go). It costs a
//     query that nobody meets about 0.7 us a contact on SQLite and 0.4 us on
//     PostgreSQL, twice that where the patterns let all pass, and 5 us to compare
//     parts of visitor keys (BenchmarkReads, 200,000 contacts).
//   - Contacts are found by the words of their names in an index that is made behind them
//     (names.go): 7 us of CPU a contact in SQLite, 10 us in all in PostgreSQL, in steps of
//     1,000. Of 1,000,000 contacts a search takes 1 to 6 ms in SQLite and 1 to 12 ms in
//     PostgreSQL, however many have the words (BenchmarkNames).
//   - When a contact without page views counts as last seen has a column (unseen_at)
//     that is 0 for all others and so costs them nothing. It is there to be searched
//     by; what a contact shows comes from its page views.
//
// Decisions, SQLite
//
//   - An update of a contact sets created_at only if it differs, as setting a column
//     that is in an index costs a search of the index even for an equal value.
//   - The one writer talks to the engine of modernc.org/sqlite directly
//     (engine.go): its parameters are bound from memory that is kept, where the
//     driver makes one malloc and one free for each text.
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
//
// Decisions, PostgreSQL
//
//   - The first use of a workspace in a transaction takes an advisory lock on it
//     (pg_advisory_xact_lock), in the order of the workspaces' ids. Batches of
//     several nodes on one workspace so run one after the other, each sees all
//     that was committed before (READ COMMITTED, the lock is a statement of its
//     own), and there is nothing to deadlock on. Row locks in a fixed order were
//     the alternative; but an identifier that is new has no row to lock, so two
//     nodes would still meet in a unique index, and in any order. What it costs: a
//     workspace has one writer at a time, for about 120 ms a batch of 2,048 new
//     contacts, so nodes add speed across workspaces and in everything before the
//     store. Nor may a transaction use more than 1,000 workspaces, each being an
//     entry in the server's table of locks; the applier then splits its batch.
//   - All rows of a table go in one statement, INSERT or UPDATE from unnest of one
//     array a column, and the statements of a Save without waiting between them: a
//     batch costs a dozen round trips, whatever its size. Measured with
//     go test -run xxx -bench Postgres -benchtime 100000x ./gateway/store, server
//     (15, fsync on) and test on the same two cores, which had other work as
//     well, 100,000 contacts there, batches of 2,048: 17,300 new contacts a second
//     (45 us of the server's processor time and 8 of ours each), 15,700 changed
//     ones (37 and 14), 53,400 page views of returning ones (9 and 3). Arrays of our
//     own encoding (postgres_array.go) halve our part of the last.
//   - Plans. Every table is searched by workspace and something else, and while a
//     table is small, or its statistics are older than its rows, the planner likes
//     to read the workspace and compare: the first 40,000 new contacts of a database
//     then take 12 to 35 times as long, and a kept plan goes on so. Hence the settings
//     (plannerSettings), the workspace as a column of what is joined (given,
//     wanted) and not as a constant, and generic plans: with those
//     the other ways are out of the question. A plan is a second old at most
//     (replan); made anew for each query, plans were half the time of a page and of a
//     contact read by its id. TestPostgresReadsWhatItNeeds reads
//     the server's plans (version 15; others have not been looked at).
//   - What contacts are found by is an index of contacts for each, and identifiers
//     is a view that makes the reads fit both databases: a row in a table of its own costs
//     PostgreSQL a tuple header, an entry in the log and a visit of VACUUM, and a
//     change of attributes touches no index here either (the row stays on its
//     page).
//   - Page views and contacts are found by time through ranges of blocks (BRIN), as
//     a tree of page views by time cost each of them a third more of the server's
//     time. Only a bitmap reads such an index, so these searches switch the planner's
//     settings for themselves (read_span.go). The server takes new blocks into such an
//     index when it vacuums; this package has it do so every half a minute, as a search
//     of any time reads all blocks that are not in it: of 1,200,000 page views 140,000
//     were not an hour later, 14 ms a search instead of 1.
//   - Foreign keys are real where rows are few: from companies, attribute
//     definitions, keys, agents and visits to workspaces, from merges to contacts.
//     Those of contacts, visitor keys,
//     memberships and page views took a new contact from 38 to 58 us in the
//     server's statements (each is a query for each row), and only this package writes,
//     from ids that it found or made under the workspace's lock. Tests look for orphans.
//   - Ids come from sequences in blocks of 64, several blocks at a time, and are
//     given out from memory, for a batch asks for them one by one. What a failed
//     transaction took is not used again: a server that crashes may forget a
//     sequence's last steps.
//   - Reads see one state a call (REPEATABLE READ, read only, set on their
//     connections), writes wait for the disk (synchronous_commit on, whatever the
//     server's default; remote_apply is left). These are settings of a session: a
//     pooler between must keep sessions (PgBouncer: pool_mode=session).
//   - Everything is bounded: 4 writing and 8 reading connections a process, 5 s to
//     connect, 10 s for a free connection, 20 s for a lock, 30 s for a statement,
//     15 s for a transaction whose node is silent; parameters of the URL change the
//     server's ones. A collision (40001, 40P01) runs fn again, 5 times at most.
//   - What is the environment's fault (no connection, shutdown, read-only standby,
//     missing rights or tables) is CodeUnavailable, because payloads must wait for
//     it and not be set aside. Connections that broke unused are replaced unseen.
package store
