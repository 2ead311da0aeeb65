// Package inbox keeps accepted payloads, durable and in order, until they are
// applied: it implements gateway.Inbox.
//
// It owns the group commit, the hand-over to the applier and the files of the
// inbox. It knows neither what a payload means nor what became of it; where the
// inbox is applied up to is the store's to remember, and Open is told.
package inbox
