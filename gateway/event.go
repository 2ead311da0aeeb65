package gateway

import "time"

// PageView is one view of a page by a contact.
type PageView struct {
	ID          int64 // the store's, for one that is read
	WorkspaceID WorkspaceID
	ContactID   ContactID
	Key         string // the browser that saw it; tells whose it is should a merge be undone
	At          time.Time
	URL         string
	Path        string
	Title       string
	Referrer    string
}

// EventKind tells custom events from product events.
type EventKind string

// The kinds of events (contract, section 1.3).
const (
	EventCustom  EventKind = "event"
	EventProduct EventKind = "product_event"
)

// Event is something that a contact did, as the page told it.
type Event struct {
	ID          int64 // the store's, for one that is read
	WorkspaceID WorkspaceID
	ContactID   ContactID
	Key         string
	Kind        EventKind
	Name        string // the event's name; of a product event its event_type
	At          time.Time
	Data        string // JSON object, "" if none
}

// Merge is the journal entry of two contacts that became one. It holds what
// undoing needs; history stays with the loser's id and needs no journal.
type Merge struct {
	ID          int64
	WorkspaceID WorkspaceID
	At          time.Time
	By          string // "widget", or who asked for it
	Rule        string // the rule of identity that joined them
	WinnerID    ContactID
	LoserID     ContactID
	Before      string // JSON {"winner":…,"loser":…,"keys":[…]}
	After       string // JSON of the survivor
	// UndoneAt is when the merge was undone, zero while it stands, and UndoneBy by whom.
	UndoneAt time.Time
	UndoneBy string
}
