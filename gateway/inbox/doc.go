// Package inbox keeps accepted payloads, durable and in order, until they are
// applied. It has two adapters of gateway.Inbox: a File, in the folder of one
// process, and a Stream, in Redis, which all nodes share and whose Shards they
// apply.
//
// It owns the group commit, the hand-over to the applier, the bound on what may
// wait, the files of the one and the keys of the other, and which node applies
// which shard. It knows neither what a payload means nor what became of it; up
// to where an inbox is applied is the store's to remember, and Open and
// OpenStream are told.
//
// # File
//
// The folder of a File holds
//
//	inbox-<seq>.db   a segment: the entries from seq on, up to the next segment
//	inbox.new        the next segment before it has its name
//	inbox.spare      a used log, to be written over
//	inbox.lock       locked by the process that has the inbox open
//
// A segment is a SQLite file (application id "cgib", user_version is the format)
// in WAL mode with one table, batches: seq of the first entry, their number n,
// and data, which pack.go describes.
//
// Decisions
//
//   - One row for each commit, holding all entries of the group. Measured on two
//     cores with groups of 32 bodies of 650 bytes, trimming included: 9 to 11 us
//     of CPU an entry with a row each, inserted 32 at a time; 5 to 7 us as one
//     row. Entries can't be found by SQL; nobody looks for them.
//   - Segments that are unlinked whole once all in them is applied, instead of
//     one file and DELETE. The CPU is about the same (5.7 against 6.4 us), but a
//     segment needs no checkpoint, gives its room back after a backlog, can be
//     left when something is wrong with it, and settles what a failed commit
//     left behind. That nothing is ever checkpointed also means that entries are
//     in the -wal file until the inbox is closed with entries pending.
//   - The log of an unlinked segment becomes that of the next, with its header
//     erased: SQLite takes such a log for an empty one, and old frames can't pass
//     for new ones, as their salts differ. A sync of a file that is written over
//     costs half the CPU and less than half the time of one that grows. All in all 3
//     to 5 us of CPU an entry at 64 callers, from Append to Applied, and 3 us at
//     256 (BenchmarkAppend); what is left is the sync, some 100 us for each.
//   - A group takes what came while the last commit ran, and then as long as
//     callers that are ready to run still join: yielding to them costs nothing
//     when there are none. Where many are under way it first waits up to 5 ms for
//     about as many as there were lately: those whom the last commit answered send
//     the next. Without it 64 connections made groups of some 25, and a third of
//     them, at each of three nodes, groups of 8; with it 56 and 18, and 3 and 8 us
//     less CPU a payload. A caller who comes alone, or with few others, never waits.
//   - With much pending, commits are delayed by up to 50 ms. Taking payloads in
//     is so much cheaper than applying them that on few cores it would leave the
//     applier behind, the memory for Next overrun, and each entry to be read back
//     and parsed again. Arrays of 20 new contacts at 64 connections on two cores:
//     without the brake 67,000 payloads a second are taken and 28,000 applied, the
//     rest 10 s later; with it 36,000 and 35,000, the rest half a second later.
//     Callers that come one by one lose nothing but those milliseconds: a group
//     takes 1,024 of them.
//   - A commit that fails may be on disk all the same: its frames can be complete
//     and only the sync reported an error. So after any error the segment is
//     left: its log is cut back to the last good commit, and a new segment starts
//     with the number that the failed batch had. Where two segments overlap the
//     newer one counts, also after a restart, so nothing of that batch can ever
//     be handed out. The group is tried once more in the new segment; if that or
//     its making fails too, all its callers get the error, and the next call
//     starts afresh. What remains: if the disk refuses the commit, the cut and
//     the new segment, and then forgets the cut in a power failure but not the
//     commit, then a payload may be applied that its sender was asked to send
//     again; its message id makes that one.
//   - A segment that somebody else holds a lock on is left the same way, after a
//     quarter of a second.
//   - No file of a segment that SQLite has open is opened by anything else in
//     this process, but the log, which carries no locks: closing a descriptor
//     drops all POSIX locks of the process on that file
//     (https://sqlite.org/howtocorrupt.html, 2.2).
//   - The driver's connections are used without database/sql: there is one writer
//     and one reader, statements stay prepared, and no call carries a context
//     that could end, for which the driver would start a goroutine each time.
//   - Sequence numbers rise by one without gaps, as a failed batch gives its
//     numbers back. Only Open may leave a gap: the store may be ahead of the
//     files, and somebody may have moved a damaged segment away.
//
// # Stream
//
// A Stream is for nodes without a disk that lasts. Each entry goes to a shard by
// the identifier that it brings (visitor key, else user id, else e-mail, else
// message id), so that what one browser says stays in order; two browsers of one
// person may be in two shards, and the database settles what they contend for.
// stream_script.go lists the keys, all of a shard's with one hash tag, and the
// Lua that changes them. The server must write each command to disk before it
// answers (appendonly yes, appendfsync always), which OpenStream checks. Redis
// sends to its replicas after it has answered, so a master that is replaced
// for good takes the last entries with it, unless StreamOptions.Replicas
// makes Append wait for them.
//
// Decisions
//
//   - Sequence numbers are the Redis server's clock in microseconds, or one more
//     than the last, whichever is higher. A counter would not do: a Redis that
//     was emptied, restored from a backup, or failed over to a replica that
//     lacked the last entries would give out numbers again that the store has
//     already applied, and new entries would be skipped without a word. A clock is
//     ahead of all that without anybody having to notice that something happened,
//     as no shard takes a million entries a second for long. Against a clock that
//     is set back each node sends the highest number that it has seen with its
//     appends, and a shard that has no state, was opened, changes its owner, or is
//     behind what some node has seen is raised above the store's position. What
//     remains is a failover to a server whose clock is behind by more than the
//     failover took, within the second that it takes a node that has seen more to
//     notice. So numbers have gaps.
//   - A shard that has no state takes nothing until the store has told its
//     position: if Redis is emptied while the database is away, payloads are
//     refused until that is back. With its state Redis takes
//     payloads whether there is a database or not.
//   - One stream entry for each batch that a node sends to a shard, packed like a
//     batch of the file, with the id <last number>-<count>. XTRIM MINID then
//     deletes just what is applied, and a batch that is applied in part stays
//     and is read again, less its first part.
//   - No consumer group. Its pending list would be a second truth beside the
//     position in the database, in need of XACK, XCLAIM and care for dead
//     consumers; a reader that starts behind the position needs none of it.
//     Who reads is settled by a lease for each shard, and that only to save work:
//     a late owner's batch is skipped by whoever checks the position in the
//     transaction.
//   - An append has a number, and the script remembers the last one of each
//     writer. So an append whose answer was lost is sent again without being
//     stored twice, and one that a network delivers late, after its caller was
//     told that it failed and a later one got through, is refused.
//   - What a node takes in for a shard of its own it also keeps in memory, with
//     the number given out before it: as long as these join up the applier
//     gets parsed payloads and Redis sends nothing.
//   - Eight shards. Each costs a piece of a script call in every group commit,
//     and a transaction of its own when it is applied; more than there are nodes
//     are of no use. CPU an entry with 4, 8 and 16, Redis and this process
//     together, two cores: 14, 16 and 20 us at 64 callers, 8 at 256 with any, and
//     2 to 5 us more where entries come back from Redis (BenchmarkStreamAppend). The
//     file inbox takes 4 to 6 and 3.
//   - The appends of one group commit are one transaction where all shards are on
//     one server. Redis takes a pipeline in some 16 KiB at a time and
//     syncs after each piece; a transaction it executes, and syncs, when it has all of it.
//     At 256 callers and 8 shards that made of 24,000 to 43,000 entries a second
//     79,000 to 98,000, for less CPU. A Cluster knows no such transaction, and WAIT can't be in one.
//   - With StreamOptions.Replicas, readers too take only what the replicas have:
//     an entry that was applied and then lost with its master would be applied
//     again when its append is sent once more. It came to that in one of
//     five runs of the test behind a Sentinel, before. Without Replicas, and when
//     another replica than the one that had it takes over, it is left to the message
//     ids.
//   - The bounds are the shards' even shares of the whole, checked by the script
//     that appends: exact, without a second key, and one visitor who floods
//     fills one shard only.
//   - The scripts that trim and take leases start with a write that Redis
//     allows at its memory limit: somebody must be able to make room.
//   - Nodes that can't reach the database for the time of a lease leave their
//     shards to others: in Redis everybody's payloads wait, not only their own.
//   - The number of shards is kept in Redis, for good. To change it let no
//     payloads in, have all applied, stop the nodes, and delete the key of the number.
package inbox
