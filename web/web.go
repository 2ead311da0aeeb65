// Package web is what people see of civgate in a browser. Today that is the
// demo: a small shop with the widget on it, and beside it, live, what civgate
// stored of the visit.
//
// It owns pages: their templates, styles, scripts and the routes that deliver
// them, and it reads through gateway.Reader. It decides nothing about contacts
// or companies, writes nothing, and neither serves nor knows the widget or the
// ingest endpoint but by their addresses.
//
// Decisions
//
//   - The demo's shop is a customer like any other: the documented snippet, the
//     documented calls, no private door. What the right side shows has gone
//     through the widget, the ingest endpoint and the store. So the demo is also
//     the test that these fit together.
//   - All pages of the shop are in one document, and the server marks the one
//     that the address names. Reloading, links opened in a new tab and moving by
//     history.pushState then need no second rendering.
//   - Who is signed in at the shop is in a cookie that the server reads, as in a
//     real shop, so that a reload carries the same snippet. The text of every
//     snippet is made here, once: the page runs it and shows it.
//   - The live view is a public address, so it shows only who is nobody yet and
//     the six people of the demo, and of companies only theirs. A visitor key is
//     all that it asks for, and it answers with no whole key, no e-mail of
//     others, no internal id and no query of a page's address.
//   - A stream sends whole snapshots and only when they differ. They are small,
//     the page needs no state of its own to be right, and a lost one is made good
//     by the next.
//   - Every stream re-reads when a batch was applied, at most five times a second,
//     and all of them together read at most readsPerSecond times: however busy the
//     gateway or popular the demo is, its cost for the store has a ceiling.
//   - The strict Content-Security-Policy has no exceptions but the nonce of the
//     snippet. So there are no style attributes anywhere.
package web
