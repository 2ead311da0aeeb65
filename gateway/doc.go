// Package gateway is the domain of civgate: its words (contact, visitor key,
// company, membership, attribute, workspace), its rules (who is who, what a
// payload changes) and its use cases (accept a payload, apply it, read back).
//
// It owns what a payload means and what it does to the stored state, and the
// ports (Store, Inbox, Cache) through which that happens. It knows no HTTP
// framework, no SQL and no Redis: those live in the packages that implement
// the ports or call the use cases.
//
// Decisions
//
//   - Log first, then apply: Ingest answers once a payload is durable in the
//     inbox; Applier turns the inbox into state, one transaction a batch, with
//     the inbox position in the same transaction. A crash replays, never loses.
//   - A batch is applied to a working set in memory, payload by payload, in
//     order, and only the difference is written. The result of a batch is by
//     construction that of its payloads one at a time, at the price of the
//     rows it touched instead of the statements it would have made.
//   - Identity is a pure function (Identify) over what was found; nothing else
//     decides which contact a payload belongs to.
//   - Attributes are a sorted bag of typed JSON values, standard ones included.
//     Only what is looked up by (custom id, e-mail, name, phone, status) has a
//     column of its own in a store.
//   - A fingerprint also counts how many attributes have been dropped in the workspace.
//     So the deletion of one makes every payload count as new once, in all caches at
//     once and without telling any, and one that still names the attribute defines it
//     anew although it says what it said before.
//   - A merge moves keys and memberships but not history: the losing contact
//     stays as an alias (MergedInto) and history is read through aliases, so a
//     merge costs the same for two page views and for two million, and undoing
//     one has nothing to sort out.
package gateway
