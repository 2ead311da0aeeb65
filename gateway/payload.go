package gateway

import "time"

// PayloadType is what a payload reports beside the contact it carries.
type PayloadType uint8

// The payload types. A payload without an envelope is an update.
const (
	PayloadUpdate  PayloadType = iota // attributes only
	PayloadPage                       // a page view
	PayloadEvent                      // a custom event
	PayloadProduct                    // a product event
	PayloadReset                      // the first payload after a log-out
)

// MessageID identifies a message of a browser, so that a repeat has no second
// effect: the 16 bytes of a UUID, or of any other text a hash of it. The zero
// MessageID is none. Version 7 UUIDs sort by time, which stores like.
type MessageID [16]byte

// Payload is one parsed window.civchat object with its envelope: bounded,
// typed, normalised, and free of placeholders. Strings may share memory with
// the body it was parsed from.
type Payload struct {
	APIKey   string
	Message  MessageID
	Key      string    // visitor key, "" if none came
	At       time.Time // the browser's time, zero if none came
	Type     PayloadType
	URL      string
	Path     string
	Title    string
	Referrer string
	Name     string // of an event; of a product event its event_type
	Data     string // JSON object of an event, "" if none

	CustomID string
	Email    string // as sent, trimmed
	EmailKey string // NormalizeEmail of it
	// EmailNull says that the e-mail came as null: it is cleared, unless it is
	// all that the contact is known by.
	EmailNull bool
	UserHash  string // see Settings.VerifyIdentity

	Attributes []PayloadAttribute
	Companies  []CompanyPayload
	// CompaniesNull says that company (or companies) came as null: the contact
	// has none, as far as the widget can tell.
	CompaniesNull bool

	// Fingerprint hashes all that the payload says of contact and companies, and
	// nothing of the envelope: equal fingerprints say the same. Never 0.
	Fingerprint uint64
}

// PayloadAttribute is an attribute as a payload gives it; null clears.
type PayloadAttribute struct {
	Name  string // standard form
	Label string // as sent
	Value Value
}

// CompanyPayload is one company of a payload.
type CompanyPayload struct {
	CustomID   string
	Name       string
	Attributes []PayloadAttribute
}

// Warning tells the sender of a payload about something that was put right or
// left out; the rest of the payload counted.
type Warning struct {
	Field   string `json:"field"`
	Code    string `json:"code"`
	Message string `json:"message"`
}
