// Package cache remembers identities and counts requests, so that the gateway
// asks the store less and strangers can't ask too often. It holds no truth:
// anything here may be dropped at any time, which costs speed and nothing else.
// It doesn't decide who is who.
//
// Memory serves one process alone. Redis is shared by all nodes, with a Memory
// in front of it and a channel on which the nodes tell each other what no longer
// counts; it also shares rate limits (Redis.NewLimiter). Whatever Redis does (away, slow, full, flushed, failing over,
// restored from an old file), the methods here return within Options.Timeout
// and never fail: they know less. The truth stays with gateway.Store, and the
// stream inbox, which uses Redis as a log, is gateway/inbox's.
//
// # Decisions
//
//   - Identities are kept in two steps, identifier -> contact -> fingerprint, in
//     the process and in Redis alike, so that a contact's new fingerprint counts
//     at once for all its browsers, and forgetting a contact needs no list of
//     its identifiers. In a Redis Cluster the two keys live on different nodes,
//     so a batch costs two pipelined round trips when it finds somebody that the
//     process doesn't know, and one or none otherwise. A copy of the fingerprint
//     under each identifier would save the second trip and return what a
//     Remember under another identifier has replaced.
//   - Each key is a register with the writer's node and clock in its value. SET
//     ... GET returns what it replaces, which shows in the same round trip when
//     two nodes wrote different things within settleTime (5 s): which of their
//     transactions was the later one can't be known here, so the key becomes a
//     tombstone and nobody believes either. The same for Forget: it leaves a
//     tombstone, which a Remember of another node that was already on its way
//     may not replace before settleTime is over; a node may replace its own,
//     since it knows its own order. This wants clocks that agree to about a
//     second or two, and nodes that tell Redis within seconds of their commit;
//     where that fails, a stale entry lasts until it is next contradicted. A
//     script could decide inside Redis and close the millisecond between
//     writing and the tombstone, for 3.5 us a key of Redis's time instead of 0.9.
//   - After the writes, and not in the same pipeline (the nodes of a Cluster work
//     at their own pace), the changed identifiers and contacts are published, and
//     all other nodes drop theirs. A reader that has an answer from before the
//     change can arrive at its own process after that message: it therefore notes
//     a mark of the key before it asks, and keeps the answer only if the mark is
//     the same before and after it is stored (see marks).
//   - Messages can be lost with the subscription. While there is none, the process
//     doesn't believe its own layer; with each new one it drops the layer. A dead
//     connection shows within about a second, because the listener pings. An
//     entry of the process's layer lives a minute at most, for what no rule here
//     foresees, such as a Cluster node that is cut off from its fellows.
//   - While the circuit is open each node lives from its own layer. What it
//     changed meanwhile it owes Redis (up to maxOwed keys): those become tombstones
//     before the circuit closes. A Redis that is full loses the keys that it
//     couldn't replace: deleting needs no memory, and it goes on being read. One
//     that takes no writes at all opens the circuit within a second, because what
//     is owed can't be delivered.
//   - Every key expires. Where a Redis keeps other things too, volatile-lru makes
//     room at the cost of these keys only; allkeys-lru where it doesn't.
//   - All this makes stale answers rare, not impossible: Redis replicates later
//     than it answers, clocks err, processes freeze. That is the reason why the
//     store is asked (Tx.Confirm) before a cached identity spares a payload its
//     way; on SQLite, where nothing asks, Memory is alone and exact.
//   - Rate limits decide from the process's own bucket, so that no payload waits
//     for Redis. See Redis.NewLimiter for how far N nodes can exceed a limit.
//   - apiKey -> workspace is not kept here. The gateway's directory asks the store
//     for a key twice a second and node, whatever the traffic, and that interval
//     is what makes a revoked key count within a second: a copy in Redis would
//     have to be as young, and would save one indexed read a node and second while
//     adding a place where a revoked key lives on.
//   - Ids of recent messages are not kept here either. The store has to be asked
//     anyway whether a message is new, in the transaction that applies it; a Redis
//     that is older or newer than the database would lose payloads or double them;
//     and each would take 100 bytes for as long as it is remembered, 1.2 GB at
//     20,000 a second and ten minutes. Built, measured, and taken out again.
//   - Identifiers are in Redis as they are (a user_id may be an e-mail), as they
//     are in the database: give Redis the same walls. IP addresses are in the names
//     of limits, and gone when the bucket is full again.
//   - Measured on 2 cores with the server beside the test, batches of 2,048, a
//     reference each: Identities from the process 0.14 us, known to nobody 0.8 us,
//     from Redis in two round trips 4 us, with the circuit open 0.06 us; Remember
//     5 us, of which Redis works 2. MGET (256 keys) took 0.8 us where pipelined
//     GETs took 2.1, so a Cluster pays that. Allow 0.1 to 0.25 us, shared or not. An
//     identity is 340 bytes in Redis.
//   - Eviction in the process is otter's (W-TinyLFU): a crawl of one-time visitors
//     does not push out the contacts that come back.
package cache
