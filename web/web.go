// Package web is what people see of civgate in a browser: the panel, where agents
// work, and the demo, a small shop with the widget on it and beside it, live, what
// civgate stored of the visit.
//
// It owns pages: their templates, styles, scripts and the routes that deliver
// them, and who is signed in. It reads through gateway.Reader; what the panel
// writes it writes by gateway.Edit and gateway.Agents, and the demo writes nothing.
// It decides nothing about contacts, companies or agents, and neither serves nor
// knows the widget or the ingest endpoint but by their addresses. How to add a page
// is told at Panel.
//
// Decisions of the panel
//
//   - One table has all routes with the least role of each, and one function is in
//     front of all of them: headers, cross-origin check, session, agent, role and
//     workspace. A handler has nothing to forget.
//   - A session is a row under the hash of its token, and holds an e-mail, a stamp of
//     the password that it began with, and the workspace that was chosen. Who that
//     is, and may do what, is read with each request: a removal, another role and
//     another password count at once, on every node. In return each request costs a
//     read more, and there is nothing to invalidate.
//   - Requests put off the end of a session, but write that down once in five
//     minutes only, so that reading pages is reading.
//   - Requests from other sites are told by Sec-Fetch-Site and Origin
//     (http.CrossOriginProtection), and the cookie is SameSite=Lax: forms need no
//     tokens. Pages say for which workspace they were made, so that a form does
//     nothing in one that was chosen in another tab since.
//   - htmx is one vendored file (static/htmx.min.js, version 2.0.11, licence 0BSD in
//     static/htmx.LICENSE). It may evaluate nothing and insert no styles.
//   - Writes are forms that are posted and redirected. What is wrong with one is
//     shown in the form again (422), under the field.
//
// Decisions of the demo
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
