package gateway

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Verdict is what became of a payload, in one word.
type Verdict string

// The verdicts. Of several that fit an applied payload the first of this order is
// told: repeat, switched, merged, partly, accepted.
const (
	VerdictAccepted Verdict = "accepted"
	VerdictPartly   Verdict = "partly"   // accepted, with warnings
	VerdictRefused  Verdict = "refused"  // answered with an error, or set aside: see Code
	VerdictMerged   Verdict = "merged"   // a visitor became part of the contact
	VerdictSwitched Verdict = "switched" // the browser changed hands
	VerdictRepeat   Verdict = "repeat"   // its message id was there before: without effect
	// VerdictMore is not of one payload: it counts those that came too fast to be
	// shown one by one.
	VerdictMore Verdict = "more"
)

// Verdicts are those that a payload can have, as they are offered to choose from.
var Verdicts = []Verdict{VerdictAccepted, VerdictPartly, VerdictRefused, VerdictMerged, VerdictSwitched, VerdictRepeat}

// Bounds of an Inspection.
const (
	KeptInspections = 1000 // of a workspace: the newest

	maxInspectedPayload  = 8 << 10 // bytes of a payload's text
	maxInspectedWarnings = 10
	maxInspectedChanges  = 30
	maxInspectedValue    = 200 // bytes of a value before or after
	maxInspectedReason   = 500 // bytes
)

// Inspection is what the inspector shows of one payload.
type Inspection struct {
	// ID rises within the workspace in the order in which verdicts were known. The
	// store gives it.
	ID          int64
	WorkspaceID WorkspaceID // 0 for what is nobody's, see Gateway.RunInspector
	At          time.Time   // when it was accepted, or refused
	Node        string      // of the process that told the verdict
	Verdict     Verdict
	Code        Code // of what was refused, else ""
	// ContactID is the contact that the payload turned out to be about, as it was
	// then; 0 if nobody.
	ContactID ContactID
	Detail    InspectionDetail
}

// InspectionDetail is the part of an Inspection that is kept as JSON.
type InspectionDetail struct {
	// Deleted says that the contact was deleted, and with it all else in here.
	Deleted bool `json:"deleted,omitempty"`
	// Type is the payload's (page, event, product_event, update or reset), and About
	// the path of the page or the name of the event.
	Type   string `json:"type,omitempty"`
	About  string `json:"about,omitempty"`
	Origin string `json:"origin,omitempty"` // of a refused payload, as the browser told it
	// Reason says in a sentence why it was refused, and Field what was at fault.
	Reason       string    `json:"reason,omitempty"`
	Field        string    `json:"field,omitempty"`
	Warnings     []Warning `json:"warnings,omitempty"`
	MoreWarnings int       `json:"more_warnings,omitempty"` // that were left out here
	Rule         Rule      `json:"rule,omitempty"`          // of identity
	Changes      []Change  `json:"changes,omitempty"`
	MoreChanges  int       `json:"more_changes,omitempty"`
	// Payload is the text without apiKey and user_hash, as far as it fits: Cut tells
	// that it does not. Size is that of the whole text, in bytes.
	Payload string `json:"payload,omitempty"`
	Size    int    `json:"size,omitempty"`
	Cut     bool   `json:"cut,omitempty"`
	// More counts what a VerdictMore stands for, by code of what was refused, and
	// under "" what was applied.
	More map[Code]int `json:"more,omitempty"`
}

// Change is one thing that a payload changed.
type Change struct {
	What    ChangeKind `json:"what"`
	Name    string     `json:"name,omitempty"`    // of an attribute; the first characters of a visitor key
	Subject string     `json:"subject,omitempty"` // of a company: its name, else its company_id
	// Before and After are JSON texts, "" for what was, or is, not there. Of a key and
	// of a merge they are ids of contacts.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// ChangeKind says what a Change is about.
type ChangeKind string

// The kinds of changes.
const (
	ChangeContact   ChangeKind = "contact"   // a new contact
	ChangeCustomID  ChangeKind = "user_id"   // the contact's user_id
	ChangeEmail     ChangeKind = "email"     // the contact's e-mail
	ChangeAttribute ChangeKind = "attribute" // an attribute of the contact
	ChangeKey       ChangeKind = "key"       // the browser became the contact's
	ChangeMerge     ChangeKind = "merge"     // another contact became part of this one
	ChangeLinked    ChangeKind = "linked"    // the contact became an employee
	ChangeLeft      ChangeKind = "left"      // the contact is no employee any more
	ChangeCompany   ChangeKind = "company"   // a new company, or an attribute of one if Name is set
)

// InspectionView is an Inspection with who its contact is now.
type InspectionView struct {
	Inspection
	// Survivor is the contact, or the one that it was merged into since; 0 if there is
	// none.
	Survivor ContactID
	CustomID string
	Email    string
	Name     string
	Key      string // the newest visitor key
}

// InspectionQuery asks for inspections of a workspace, newest first.
type InspectionQuery struct {
	Verdict Verdict   // "": all
	Contact ContactID // 0: all; else those of the contact and of what was merged into it
	// Before is the id behind which the page starts (0: from the start), and After the
	// id at which it ends at the latest.
	Before, After int64
	Limit         int
}

// secretKeys are the keys of a payload that are left out wherever it is shown.
func secretKey(name string) bool { return name == "apiKey" || name == "user_hash" }

// secretMember finds them in text that can't be read as JSON.
var secretMember = regexp.MustCompile(`(["']?(?:apiKey|user_hash)["']?\s*[:=]\s*)(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,}]+)`)

// apiKeyMember finds the apiKey in such a text, from its name on.
var apiKeyMember = regexp.MustCompile(`^apiKey["']?\s*[:=]\s*["']?([A-Za-z0-9_-]{1,255})`)

// inspectedText is a payload's text as it is shown: without secrets, and no longer
// than maxInspectedPayload.
func inspectedText(body []byte) (text string, cut bool) {
	body = trimMark(body)
	if s := trimSpace(body); len(s) > 0 && s[0] == '{' && checkJSON(body) == nil {
		text = withoutMembers(string(body), secretKey)
	} else {
		text = secretMember.ReplaceAllString(string(body[:min(len(body), 2*maxInspectedPayload)]), `${1}"…"`)
		cut = len(body) > 2*maxInspectedPayload
	}
	text, more := cutText(cleanText(text), maxInspectedPayload)
	return text, cut || more
}

// withoutMembers returns a JSON object without the members whose names are to be
// left out.
func withoutMembers(object string, leaveOut func(name string) bool) string {
	b := make([]byte, 0, len(object))
	b = append(b, '{')
	for nameTok, value := range members(object) {
		if name, _ := unquote(nameTok); leaveOut(name) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, nameTok.text...), ':'), value.text...)
	}
	return string(append(b, '}'))
}

// guessAPIKey is what looks like the apiKey in the text of a payload that could not
// be read. It looks at the first places alone that may have it.
func guessAPIKey(body []byte) string {
	const (
		name    = "apiKey"
		places  = 5
		reached = 400 // bytes: the name, the longest key, and spaces between
	)
	for range places {
		at := bytes.Index(body, []byte(name))
		if at < 0 {
			break
		}
		if m := apiKeyMember.FindSubmatch(body[at:min(len(body), at+reached)]); m != nil {
			return string(m[1])
		}
		body = body[at+len(name):]
	}
	return ""
}

// cutText bounds a text to max bytes, between two characters.
func cutText(s string, max int) (text string, cut bool) {
	if len(s) <= max {
		return s, false
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max], true
}

// cutValue bounds a JSON text that is shown.
func cutValue(raw string) string {
	s, cut := cutText(raw, maxInspectedValue)
	if cut {
		s += "…"
	}
	return s
}

var payloadTypes = map[PayloadType]string{
	PayloadUpdate: "update", PayloadPage: "page", PayloadEvent: "event", PayloadProduct: "product_event", PayloadReset: "reset",
}

// describe fills in what the payload says of itself.
func (d *InspectionDetail) describe(p *Payload) {
	d.Type = payloadTypes[p.Type]
	d.About = cutValue(strings.Clone(cmp.Or(p.Name, p.Path)))
}

// setWarnings keeps the first warnings. They outlive the payload, on whose text
// their fields hold.
func (d *InspectionDetail) setWarnings(warnings []Warning) {
	shown := warnings[:min(len(warnings), maxInspectedWarnings)]
	d.MoreWarnings = len(warnings) - len(shown)
	for _, w := range shown {
		w.Field = strings.Clone(w.Field)
		d.Warnings = append(d.Warnings, w)
	}
}

// setChanges keeps the first changes, with values that can be shown.
func (d *InspectionDetail) setChanges(changes []Change) {
	shown := changes[:min(len(changes), maxInspectedChanges)]
	d.MoreChanges = len(changes) - len(shown)
	for _, c := range shown {
		c.Before, c.After = strings.Clone(cutValue(c.Before)), strings.Clone(cutValue(c.After))
		c.Name, c.Subject = strings.Clone(c.Name), strings.Clone(cutValue(c.Subject))
		d.Changes = append(d.Changes, c)
	}
}

// Pretty is the payload as JSON with indents, or as it is where it is none, or cut.
func (d *InspectionDetail) Pretty() string {
	var b bytes.Buffer
	if json.Indent(&b, []byte(d.Payload), "", "  ") != nil {
		return d.Payload
	}
	return b.String()
}
