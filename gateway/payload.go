package gateway

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"
)

// This file owns what a window.civchat object means: which keys are
// identifiers, which are attributes, what is put right, and what is left out
// with a warning. What a value is made of is in convert.go, what a standard attribute
// accepts in standard.go.
//
// Decisions
//
//   - One pass over text that jsontext found valid (see convert.go), typed by
//     hand key by key: nothing in between is built, so a payload costs a handful
//     of allocations and nothing beside the body decides how much memory it takes.
//   - Only text that is not one JSON object is refused. Everything else costs
//     at most the value at fault, because a page owner sees no answer and a contact
//     with one attribute missing is better than none.
//   - Identifiers are never repaired: an id with a NUL, a lone surrogate or a
//     control character is dropped, since two of them could become one by the
//     repair and join two people.
//   - A company whose id came but can't be used is left out with all it holds,
//     and so is one without id whose name can't be used: by its name alone it
//     would become a second company, and its attributes alone would land at
//     the company that the contact has already.
//   - The fingerprint is that of the raw text behind the envelope's back, not of
//     the parsed meaning: a page writes the same data in the same order, and
//     hashing text costs a tenth of hashing meaning. fingerprintVersion is part of it, as
//     stored fingerprints outlive the code that made them.
//   - Duplicate keys: the last identifier, envelope or company counts; of
//     attributes the last that can be read.

// Limits of a payload.
const (
	MaxPayload   = 32 << 10                    // bytes of one payload
	MaxBatch     = 50                          // payloads of one array
	MaxBody      = MaxBatch*(MaxPayload+1) + 1 // bytes of an array: full items, commas, brackets
	MaxKeys      = 200                         // custom attributes of a contact or company in one payload
	MaxName      = 255                         // bytes of an attribute's or event's name
	MaxID        = 255                         // bytes of an identifier
	MaxCompanies = 50                          // companies of one payload
	MaxURL       = 2048                        // bytes of a URL, a path, a referrer; more is cut off
	MaxTitle     = 512                         // bytes of a title; more is cut off
	MaxWarnings  = 50                          // warnings of one payload
)

// The codes of a Warning. What it is about was left out, unless said otherwise.
const (
	WarnPlaceholder  = "placeholder"        // a sample or an unfilled template where an identifier should be
	WarnInvalidID    = "invalid_id"         // not a text or number, or with control characters
	WarnInvalidEmail = "invalid_email"      // see NormalizeEmail
	WarnInvalidPhone = "invalid_phone"      // nothing like a phone number
	WarnNotE164      = "not_e164"           // a phone number not in E.164, kept as sent
	WarnInvalidValue = "invalid_value"      // a type or value that the attribute doesn't take
	WarnInvalidName  = "invalid_name"       // an attribute's name without letters and digits, or a forbidden one
	WarnInvalidText  = "invalid_text"       // invalid UTF-8 or NUL, kept and put right
	WarnInvalidField = "invalid_field"      // a part of the envelope
	WarnTooLong      = "too_long"           // a name or an identifier
	WarnTooLarge     = "too_large"          // a value beyond MaxValue
	WarnTooDeep      = "too_deep"           // a value beyond MaxDepth
	WarnTooMany      = "too_many"           // attributes, companies or warnings
	WarnNumberRange  = "number_range"       // a number beyond float64, alone or inside a value
	WarnNoName       = "missing_name"       // an event without a name, taken as an update
	WarnTypeMismatch = "type_mismatch"      // a value that doesn't fit the type of its custom attribute
	WarnNoIdentifier = "missing_company_id" // a company that can't be told from others
)

// advice says in one sentence what is wrong and what to do.
func (p problem) advice() string {
	switch p {
	case WarnPlaceholder:
		return "this is a sample or an unfilled template; send the real value, or leave the key out"
	case WarnInvalidID:
		return "send a text or a number without control characters"
	case WarnInvalidEmail:
		return "send a plain address like name@example.com"
	case WarnInvalidPhone:
		return "this is no phone number; send it in E.164 form, like +442079460958"
	case WarnNotE164:
		return "kept as sent; send E.164 form, like +442079460958, to be found and called by it"
	case WarnInvalidName:
		return "choose a name with letters or digits that is not __proto__, constructor or prototype"
	case WarnInvalidText:
		return "invalid characters were removed or replaced; send UTF-8 without NUL"
	case WarnTooLong:
		return "use at most 255 bytes"
	case WarnTooLarge:
		return "use at most 8 KiB a value"
	case WarnTooDeep:
		return "nest at most 5 arrays and objects"
	case WarnNumberRange:
		return "send numbers within the range of a 64-bit float, or as text"
	case WarnNoName:
		return "an event needs a name; the payload counts as an update"
	case WarnNoIdentifier:
		return "left out, as it can't be told from other companies; send its company_id"
	}
	return "the value does not fit; see the documentation of the key"
}

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
// typed, normalised, and free of placeholders. Its strings share the memory of
// one copy of the body, so what outlives the payload should be cloned.
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

// fingerprint is the payload's own in a workspace in which a number of attributes
// have been dropped: whatever a payload said before, it is to be read again after
// that, since it may name one that is gone. Never 0.
func (p *Payload) fingerprint(dropped int64) uint64 {
	return max(p.Fingerprint^uint64(dropped)*0x9E3779B97F4A7C15, 1)
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

// fingerprintVersion has to change with every change of what a payload means.
const fingerprintVersion = 1

// ParsePayload reads one window.civchat object with its envelope "$" (contract,
// section 1.2). Whatever in it can't be used is left out, and a Warning tells so; the
// error is for what is no payload at all, always an *Error: CodeTooLarge beyond
// MaxPayload, CodeInvalidPayload for anything but one JSON object.
func ParsePayload(body []byte) (*Payload, []Warning, error) {
	if len(body) > MaxPayload {
		return nil, nil, Errorf(CodeTooLarge, "send at most %d bytes a payload; this one has %d", MaxPayload, len(body))
	}
	body = trimMark(body)
	text := trimSpace(body)
	if len(text) == 0 {
		return nil, nil, Errorf(CodeInvalidPayload, "the body is empty; send a civchat object as JSON")
	}
	if err := checkJSON(body); err != nil {
		return nil, nil, invalidJSON(err)
	}
	if text[0] != '{' {
		return nil, nil, Errorf(CodeInvalidPayload, "send one JSON object with the keys of window.civchat")
	}
	m := new(payloadMemory)
	ps := parser{p: &m.payload, m: m}
	ps.payload(string(body))
	return ps.p, ps.warnings, nil
}

// SplitBatch tells a single payload from an array of 1 to MaxBatch of them and
// returns the raw text of each, sharing memory with body. A single one is not
// looked at, and of an array's elements only whether they are JSON: the rest is
// ParsePayload's to say, for each by itself. Errors are *Error: CodeTooLarge
// beyond MaxBody or MaxBatch, CodeInvalidPayload for an empty or broken array.
func SplitBatch(body []byte) (items [][]byte, batch bool, err error) {
	if len(body) > MaxBody {
		return nil, false, Errorf(CodeTooLarge, "send at most %d bytes; this body has %d", MaxBody, len(body))
	}
	body = trimMark(body)
	if text := trimSpace(body); len(text) == 0 || text[0] != '[' {
		return [][]byte{body}, false, nil
	}
	r := openJSON(body)
	defer r.close()
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, true, invalidJSON(err)
	}
	for r.dec.PeekKind() != ']' {
		item, err := r.dec.ReadValue()
		if err != nil {
			return nil, true, invalidJSON(err)
		}
		if len(items) < MaxBatch {
			// The decoder's text is its own only until the next call.
			end := int(r.dec.InputOffset())
			items = append(items, body[end-len(item):end:end])
			continue
		}
		if len(items) == MaxBatch {
			return nil, true, Errorf(CodeTooLarge, "send at most %d payloads in one array", MaxBatch)
		}
	}
	if _, err := r.dec.ReadToken(); err != nil {
		return nil, true, invalidJSON(err)
	}
	if err := r.end(); err != nil {
		return nil, true, invalidJSON(err)
	}
	if len(items) == 0 {
		return nil, true, Errorf(CodeInvalidPayload, "the array is empty; send 1 to %d payloads", MaxBatch)
	}
	return items, true, nil
}

// trimMark cuts a byte order mark.
func trimMark(body []byte) []byte { return bytes.TrimPrefix(body, []byte("\uFEFF")) }

// trimSpace cuts the white space of JSON from the start.
func trimSpace(body []byte) []byte { return bytes.TrimLeft(body, " \t\r\n") }

// invalidJSON says where and what is wrong with a text that is no JSON.
func invalidJSON(err error) *Error {
	e := &Error{Code: CodeInvalidPayload, Message: "send valid JSON", Err: err}
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		e.Message = fmt.Sprintf("send valid JSON; at byte %d: %v", syntax.ByteOffset, syntax.Err)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			e.Message = fmt.Sprintf("send the whole JSON text; this one ends at byte %d", syntax.ByteOffset)
		}
	}
	return e
}

// payloadMemory is what a usual payload needs, in one piece.
type payloadMemory struct {
	payload   Payload
	contact   [8]PayloadAttribute
	companies [1]CompanyPayload
	company   [4]PayloadAttribute // of the first company
}

// parser collects a payload and what has to be said about it.
type parser struct {
	p        *Payload
	m        *payloadMemory // p is in it
	warnings []Warning
	contact  bag
	company1 bool             // m.company is in use
	many     []CompanyPayload // from the key companies
	null     bool             // company is null
	manyNull bool             // companies is null
}

// warn adds a warning about the key name inside scope.
func (ps *parser) warn(scope, name string, p problem) {
	ps.warnText(scope, name, p, p.advice())
}

func (ps *parser) warnText(scope, name string, p problem, message string) {
	switch n := len(ps.warnings); {
	case n < MaxWarnings-1:
		ps.warnings = append(ps.warnings, Warning{Field: scope + cut(name, MaxName), Code: string(p), Message: message})
	case n == MaxWarnings-1:
		ps.warnings = append(ps.warnings, Warning{Code: WarnTooMany, Message: "there is more to say about this payload; correct these first"})
	}
}

// warnFlaws adds a warning for each thing that was put right.
func (ps *parser) warnFlaws(scope, name string, f flaws) {
	if f&(flawNUL|flawUTF8) != 0 {
		ps.warn(scope, name, WarnInvalidText)
	}
	if f&flawNames != 0 {
		ps.warn(scope, name, WarnInvalidName)
	}
}

// payload reads the object s.
func (ps *parser) payload(s string) {
	p := ps.p
	ps.contact = bag{entity: EntityContact, names: contactNames, attrs: ps.m.contact[:0:len(ps.m.contact)]}
	var hash xxhash.Digest
	hash.ResetWithSeed(fingerprintVersion)
	w := walker{s: s}
	w.enter()
	from, to := 0, 0 // the text that is still to be hashed: whole members
	sample := false  // the user_id can't be used: perhaps all is as it was copied
	for {
		nameTok, ok := w.next()
		if !ok {
			break
		}
		start := w.i - len(nameTok.text)
		name, f := unquote(nameTok)
		switch name {
		case "$":
			ps.envelope(&w)
			continue
		case "apiKey":
			p.APIKey = ps.apiKey(w.value())
			continue
		case "user_hash":
			p.UserHash, _ = ps.text("", name, w.value(), MaxID, WarnInvalidValue)
			continue
		case "onLoad", "onOpen", "onClose", "onMessage", "onPayloadReceived", "state", "userKey", "debug":
			w.value()
			continue
		case "user_id":
			var bad bool
			p.CustomID, bad = ps.identifier("", name, w.value())
			sample = bad
		case "email":
			ps.email(w.value())
		case "company":
			kind := w.peek()
			ps.null = kind == 'n'
			p.Companies = ps.companies(name, &w, kind == '[', ps.m.companies[:0:len(ps.m.companies)])
		case "companies":
			kind := w.peek()
			ps.manyNull = kind == 'n'
			ps.many = ps.companies(name, &w, kind == '[', nil)
		default:
			ps.attribute(&ps.contact, "", name, f, w.value())
		}
		// Members that lie next to each other are hashed at once.
		if start > to+1 {
			hash.WriteString(s[from:to])
			from = start
		}
		to = w.i
	}
	hash.WriteString(s[from:to])

	if sample && slices.Contains(sampleEmails, p.EmailKey) {
		ps.warn("", "email", WarnPlaceholder)
		p.Email, p.EmailKey = "", ""
	}
	p.Attributes = ps.contact.all()
	if room := MaxCompanies - len(p.Companies); len(ps.many) > room {
		ps.warnText("", "companies", WarnTooMany, fmt.Sprintf("send at most %d companies; the others are left out", MaxCompanies))
		ps.many = ps.many[:room]
	}
	if p.Companies = append(p.Companies, ps.many...); len(p.Companies) == 0 {
		p.Companies = nil
	}
	p.CompaniesNull = (ps.null || ps.manyNull) && len(p.Companies) == 0
	p.Fingerprint = max(hash.Sum64(), 1)
}

// text reads a text of up to limit bytes and trims it. ok is false, and a
// warning with code p made, for anything else but null.
func (ps *parser) text(scope, name string, t token, limit int, p problem) (s string, ok bool) {
	switch t.kind() {
	case 'n':
		return "", true
	case '"':
		s, f := unquote(t)
		s = strings.TrimSpace(s)
		if len(s) > limit {
			ps.warn(scope, name, WarnTooLong)
			return "", false
		}
		ps.warnFlaws(scope, name, f)
		return s, true
	}
	ps.warn(scope, name, p)
	return "", false
}

// apiKey reads the workspace's key, which some sites print as a number. It is
// not checked here: a wrong key names no workspace.
func (ps *parser) apiKey(t token) string {
	s := ""
	switch t.kind() {
	case '"':
		s, _ = unquote(t)
	case '0':
		s = t.text
	}
	if s = strings.TrimSpace(s); len(s) > MaxID {
		return ""
	}
	return s
}

// identifier reads a user_id, a company_id or the name of a company. It returns
// "" for null, for nothing and for what can't be used; bad tells the last.
func (ps *parser) identifier(scope, name string, t token) (id string, bad bool) {
	p := problem("")
	switch t.kind() {
	case 'n':
		return "", false
	case '"':
		s, f := unquote(t)
		s = strings.TrimSpace(s)
		switch {
		case f != 0 || hasControl(s):
			p = WarnInvalidID
		case len(s) > MaxID:
			p = WarnTooLong
		case s == "":
			return "", false
		}
		id = s
	case '0':
		n, ok := canonicalNumber(t.text)
		if !ok {
			p = WarnNumberRange
		} else if len(n) > MaxID {
			p = WarnTooLong
		}
		id = n
	default:
		p = WarnInvalidID
	}
	if p == "" && isPlaceholder(id) {
		p = WarnPlaceholder
	}
	if p != "" {
		ps.warn(scope, name, p)
		return "", true
	}
	return id, false
}

// hasControl reports whether s has control characters (C0, DEL, C1).
func hasControl(s string) bool {
	return classesOf(s)&classControl != 0 && strings.ContainsFunc(s, unicode.IsControl)
}

// email reads the contact's e-mail address.
func (ps *parser) email(t token) {
	p := ps.p
	p.Email, p.EmailKey, p.EmailNull = "", "", t.text == "null"
	if p.EmailNull {
		return
	}
	if t.kind() != '"' {
		ps.warn("", "email", WarnInvalidEmail)
		return
	}
	s, f := unquote(t)
	s = strings.TrimSpace(s)
	switch email, key, ok := NormalizeEmail(s); {
	case f != 0:
		ps.warn("", "email", WarnInvalidEmail)
	case s == "":
	case isPlaceholder(s):
		ps.warn("", "email", WarnPlaceholder)
	case !ok:
		ps.warn("", "email", WarnInvalidEmail)
	default:
		p.Email, p.EmailKey = email, key
	}
}

// placeholders are what stands in copied samples (the vendor's snippet and its
// mobile SDKs) and what scripts and templates print for nothing.
var placeholders = []string{
	"0", "null", "none", "nan", "undefined", "[object object]",
	"idfromyourdatabase", "your_api_key", "your_user_id", "your_company_id", "your_email",
}

// sampleEmails stand beside a placeholder in copied samples. All who paste one
// unchanged would be one contact; beside a real user_id, or alone, they may be
// somebody's test.
var sampleEmails = []string{"johndoe@example.com", "myemail@example.com", "myemail@example.org"}

// templateTags are the brackets of template languages.
var templateTags = [...][2]string{
	{"{{", "}}"}, {"{%", "%}"}, {"<%", "%>"}, {"${", "}"}, {"#{", "}"}, {"<?", "?>"}, {"*|", "|*"}, {"[[", "]]"},
}

// placeholderLengths has a bit for each length of a placeholder.
var placeholderLengths = func() (bits uint64) {
	for _, p := range placeholders {
		bits |= 1 << len(p)
	}
	return bits
}()

// isPlaceholder reports whether s, trimmed, stands for an identifier without
// being one.
func isPlaceholder(s string) bool {
	if s == "" {
		return true
	}
	if len(s) < 64 && placeholderLengths&(1<<len(s)) != 0 {
		for _, p := range placeholders {
			if len(p) == len(s) && strings.EqualFold(p, s) {
				return true
			}
		}
	}
	if classesOf(s)&classTag == 0 {
		return false
	}
	for _, tag := range templateTags {
		if i := strings.Index(s, tag[0]); i >= 0 && strings.Contains(s[i+2:], tag[1]) {
			return true
		}
	}
	return s[0] == '<' && s[len(s)-1] == '>'
}

// companies appends the value of key: a company, or an array of them.
func (ps *parser) companies(key string, w *walker, array bool, cs []CompanyPayload) []CompanyPayload {
	if !array {
		return ps.company(key, w, cs)
	}
	w.enter()
	for i := 0; ; i++ {
		if w.peek() == ']' {
			w.next()
			return cs
		}
		if len(cs) < MaxCompanies {
			cs = ps.company(key+"["+strconv.Itoa(i)+"]", w, cs)
			continue
		}
		if w.value(); i == MaxCompanies {
			ps.warnText("", key, WarnTooMany, fmt.Sprintf("send at most %d companies; the others are left out", MaxCompanies))
		}
	}
}

// company appends the company that comes next: an object, or a text that is its
// name. The field is its place for warnings.
func (ps *parser) company(field string, w *walker, cs []CompanyPayload) []CompanyPayload {
	switch w.peek() {
	case '{':
	case 'n':
		w.value()
		return cs
	case '"':
		if name, _ := ps.identifier("", field, w.value()); name != "" {
			cs = append(cs, CompanyPayload{Name: name})
		}
		return cs
	default:
		w.value()
		ps.warnText("", field, WarnInvalidValue, "send an object with company_id and name")
		return cs
	}

	var c CompanyPayload
	var badID, badName bool
	scope := "company."
	if field != "company" {
		scope = field + "."
	}
	b := bag{entity: EntityCompany, names: companyNames}
	if !ps.company1 {
		ps.company1 = true
		b.attrs = ps.m.company[:0:len(ps.m.company)]
	}
	w.enter()
	for {
		nameTok, ok := w.next()
		if !ok {
			break
		}
		name, f := unquote(nameTok)
		switch name {
		case "company_id":
			c.CustomID, badID = ps.identifier(scope, name, w.value())
		case "name":
			c.Name, badName = ps.identifier(scope, name, w.value())
		default:
			ps.attribute(&b, scope, name, f, w.value())
		}
	}
	c.Attributes = b.all()
	switch {
	case badID, badName && c.CustomID == "":
		ps.warn("", field, WarnNoIdentifier)
		return cs
	case c.CustomID == "" && c.Name == "" && len(c.Attributes) == 0:
		return cs
	}
	return append(cs, c)
}

// bag collects the attributes of one entity.
type bag struct {
	entity Entity
	names  *entityNames
	attrs  []PayloadAttribute
	index  map[string]int // place of a name in attrs, once there are many
	custom int            // how many of attrs are custom
	full   bool           // said that there are too many
}

// all returns the attributes, nil if there are none.
func (b *bag) all() []PayloadAttribute {
	if len(b.attrs) == 0 {
		return nil
	}
	return b.attrs
}

// find returns the place of name, -1 if it is not there.
func (b *bag) find(name string) int {
	if b.index != nil {
		if i, ok := b.index[name]; ok {
			return i
		}
		return -1
	}
	for i := range b.attrs {
		if b.attrs[i].Name == name {
			return i
		}
	}
	return -1
}

// manyAttributes is the number of attributes up to which a bag is searched from
// end to end.
const manyAttributes = 32

func (b *bag) add(a PayloadAttribute) {
	b.attrs = append(b.attrs, a)
	switch n := len(b.attrs); {
	case b.index != nil:
		b.index[a.Name] = n - 1
	case n == manyAttributes:
		b.index = make(map[string]int, 4*n)
		for i := range b.attrs {
			b.index[b.attrs[i].Name] = i
		}
	}
}

// attribute reads the attribute label into the bag; f are the flaws of label.
func (ps *parser) attribute(b *bag, scope, label string, f flaws, t token) {
	if len(label) > MaxName {
		ps.warn(scope, label, WarnTooLong)
		return
	}
	i, known := b.names.find(label)
	standard := known && i >= 0
	name := label
	if !standard {
		ok := true
		if known || !isStandardName(label) {
			name, ok = CustomName(b.entity, label)
		}
		switch {
		case name == "", forbiddenName(label), forbiddenName(name):
			ps.warn(scope, label, WarnInvalidName)
			return
		case !ok:
			ps.warn(scope, label, WarnTooLong)
			return
		}
	}
	at := b.find(name)
	if at < 0 && !standard && b.custom == MaxKeys {
		if !b.full {
			b.full = true
			ps.warnText(scope, label, WarnTooMany, fmt.Sprintf("send at most %d custom attributes; this one and those behind it are left out", MaxKeys))
		}
		return
	}

	var v Value
	var p problem
	var vf flaws
	if standard {
		v, vf, p = readStandard(b.names.attrs[i], t)
	} else {
		v, vf, p = readValue(t)
	}
	if p != "" {
		ps.warn(scope, label, p)
	}
	ps.warnFlaws(scope, label, f|vf)
	if v.Raw == "" {
		return
	}
	if at >= 0 {
		b.attrs[at].Label, b.attrs[at].Value = label, v
		return
	}
	if !standard {
		b.custom++
	}
	b.add(PayloadAttribute{Name: name, Label: label, Value: v})
}

// readStandard reads t as a value of a. With a problem the value is zero,
// unless the problem only is worth telling.
func readStandard(a StandardAttr, t token) (v Value, f flaws, p problem) {
	if t.kind() == '"' {
		// Not typed at first sight: here a text is a text.
		var raw string
		raw, _, f = canonicalString(t)
		v = Value{Type: TypeText, Raw: raw}
		if len(raw) > MaxValue {
			return Value{}, f, WarnTooLarge
		}
	} else if v, f, p = readValue(t); p != "" {
		return Value{}, f, p
	}
	v, warning, ok := a.Convert(v)
	if !ok {
		return Value{}, f, problem(warning)
	}
	return v, f, problem(warning)
}

// envelope reads the value of "$". Of two the last counts.
func (ps *parser) envelope(w *walker) {
	p := ps.p
	p.Message, p.Key, p.At, p.Type = MessageID{}, "", time.Time{}, PayloadUpdate
	p.URL, p.Path, p.Title, p.Referrer, p.Name, p.Data = "", "", "", "", "", ""
	if w.peek() != '{' {
		if w.value().text != "null" {
			ps.warnText("", "$", WarnInvalidField, "the envelope has to be an object")
		}
		return
	}
	const scope = "$."
	w.enter()
	for {
		nameTok, ok := w.next()
		if !ok {
			break
		}
		name, _ := unquote(nameTok)
		switch t := w.value(); name {
		case "id":
			p.Message = ps.messageID(t)
		case "key":
			s, ok := ps.text(scope, name, t, MaxID, WarnInvalidField)
			if ok && s != "" && !IsVisitorKey(s) {
				ps.warnText(scope, name, WarnInvalidField, "a visitor key has 6 to 64 letters, digits, hyphens and underscores")
				s = ""
			}
			p.Key = s
		case "at":
			s, ok := ps.text(scope, name, t, MaxID, WarnInvalidField)
			if p.At = (time.Time{}); ok && s != "" {
				if p.At, ok = ParseDatetime(s); !ok {
					ps.warnText(scope, name, WarnInvalidField, "send the time as RFC 3339, like 2026-01-31T12:00:00Z")
				}
			}
		case "type":
			p.Type = ps.payloadType(t)
		case "url":
			p.URL = ps.location(name, t)
		case "path":
			p.Path = ps.cutText(name, t, MaxURL)
		case "title":
			p.Title = ps.cutText(name, t, MaxTitle)
		case "referrer":
			p.Referrer = ps.location(name, t)
		case "name":
			p.Name, _ = ps.text(scope, name, t, MaxName, WarnInvalidField)
		case "data":
			p.Data = ps.data(t)
		}
	}
	if p.Path == "" {
		p.Path = pathOf(p.URL)
	}
	switch p.Type {
	case PayloadEvent, PayloadProduct:
		if p.Name == "" && p.Type == PayloadProduct {
			p.Name = eventType(p.Data)
		}
		if p.Name == "" {
			ps.warn(scope, "name", WarnNoName)
			p.Type, p.Data = PayloadUpdate, ""
		}
	default:
		p.Name, p.Data = "", ""
	}
}

// eventType returns the event_type in the data of a product event, "" if there
// is none that could be a name.
func eventType(data string) string {
	if data == "" {
		return ""
	}
	for name, value := range members(data) {
		if name.text == `"event_type"` && value.kind() == '"' {
			if s, _ := unquote(value); len(s) <= MaxName {
				return strings.TrimSpace(s)
			}
		}
	}
	return ""
}

func (ps *parser) messageID(t token) MessageID {
	s, ok := ps.text("$.", "id", t, MaxID, WarnInvalidField)
	if !ok || s == "" {
		return MessageID{}
	}
	if len(s) == 36 {
		if id, err := uuid.Parse(s); err == nil && id != uuid.Nil {
			return MessageID(id)
		}
	}
	sum := sha256.Sum256([]byte(s))
	return MessageID(sum[:16])
}

// IsVisitorKey reports whether s can be a visitor key: 6 to 64 ASCII letters,
// digits, hyphens and underscores. The vendor's have 12 (contract, section 1.4).
func IsVisitorKey(s string) bool {
	if len(s) < 6 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

func (ps *parser) payloadType(t token) PayloadType {
	s, ok := ps.text("$.", "type", t, MaxID, WarnInvalidField)
	switch s {
	case "page":
		return PayloadPage
	case "event":
		return PayloadEvent
	case "product_event":
		return PayloadProduct
	case "reset":
		return PayloadReset
	case "update":
		return PayloadUpdate
	}
	if ok && s != "" {
		ps.warnText("$.", "type", WarnInvalidField, "send page, event, product_event, update or reset; the payload counts as an update")
	}
	return PayloadUpdate
}

// cutText reads a text and cuts it to limit bytes.
func (ps *parser) cutText(name string, t token, limit int) string {
	s, _ := ps.text("$.", name, t, MaxPayload, WarnInvalidField)
	return cut(s, limit)
}

// location reads a URL.
func (ps *parser) location(name string, t token) string {
	s := ps.cutText(name, t, MaxURL)
	if !isLocation(s) {
		ps.warnText("$.", name, WarnInvalidField, "send the full URL of the page")
		return ""
	}
	return s
}

// isLocation reports whether s is empty or names a page: only URLs with a host, and
// paths, do. A click on anything else might run it instead of open it.
func isLocation(s string) bool {
	if s == "" || s[0] == '/' {
		return true
	}
	scheme, _, ok := strings.Cut(s, "://")
	return ok && !strings.ContainsFunc(scheme, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
	})
}

// pathOf returns the path of a URL, or of a path with a query.
func pathOf(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	switch {
	case url == "":
		return ""
	case !ok:
		rest = url
	default:
		i := strings.IndexAny(rest, "/?#")
		if i < 0 {
			return "/"
		}
		rest = rest[i:]
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		rest = rest[:i]
	}
	if rest == "" {
		return "/"
	}
	return rest
}

// data reads the data of an event.
func (ps *parser) data(t token) string {
	switch t.kind() {
	case '{':
	case 'n':
		return ""
	default:
		ps.warnText("$.", "data", WarnInvalidField, "send the attributes of an event as an object")
		return ""
	}
	v, f, p := readValue(t)
	if p != "" {
		ps.warn("$.", "data", p)
		return ""
	}
	ps.warnFlaws("$.", "data", f)
	return v.Raw
}

// cut returns the start of s with at most n bytes, whole characters only.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
