// Package inbox keeps accepted payloads, durable and in order, until they are
// applied: it implements gateway.Inbox.
//
// It owns the group commit, the hand-over to the applier, the bound on what may
// wait, and the files of the inbox. It knows neither what a payload means nor
// what became of it; where the inbox is applied up to is the store's to
// remember, and Open is told.
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
//     when there are none. A timer was no better and delays the lone caller.
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
package inbox
