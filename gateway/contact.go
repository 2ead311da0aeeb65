package gateway

import "time"

// Contact is a person in the database: a visitor until a user_id or an e-mail
// makes them known.
type Contact struct {
	ID          ContactID
	WorkspaceID WorkspaceID
	// CustomID is the id from the customer's own database (user_id on the v1
	// wire, custom_id on v2), unique in the workspace; "" if none.
	CustomID string
	// Email is the address as sent; EmailKey is its comparable form (NormalizeEmail),
	// by which contacts are found. Not unique.
	Email    string
	EmailKey string
	// Attributes holds all other standard attributes (name, phone_number,
	// gender, status, score, ...) and the custom ones.
	Attributes Attributes
	// Key is the newest visitor key.
	Key string
	// Fingerprint is that of the last payload applied to the contact; 0 when
	// anything else changed the contact since, so that no payload counts as
	// unchanged.
	Fingerprint uint64
	CreatedAt   time.Time
	UpdatedAt   time.Time
	LastIP      string // masked: /24 for IPv4, /48 for IPv6
	// MergedInto is the contact that this one became part of; 0 while it
	// stands by itself. A merged contact is an alias: it has no keys and no
	// memberships, and its history is read with the survivor's.
	MergedInto ContactID
}

// Anonymous reports whether nothing is known by which the contact could be
// found but its visitor keys.
func (c *Contact) Anonymous() bool { return c.CustomID == "" && c.EmailKey == "" }

// What a contact that lacks gender or status is shown with, and found by: the number
// of the choice (StandardAttr). StatusUser is for those who are not Anonymous.
const (
	GenderUnknown = 1
	StatusVisitor = 1
	StatusUser    = 2
)

// Activity sums up the page views of a contact, aliases included. One without any
// counts as first seen when it was created, and as last seen when it was changed.
type Activity struct {
	PageViews int64
	FirstSeen time.Time
	LastSeen  time.Time
}

// VisitorKey ties one browser (or device) to a contact: the value of the
// cookie __ca__chat (contract, section 1.4).
type VisitorKey struct {
	Key       string
	ContactID ContactID
	CreatedAt time.Time
}
