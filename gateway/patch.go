package gateway

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// This file owns what the members of a contact or a company in a request of the
// REST API mean (contract, sections 3 to 5): a patch, or what is wrong with it.
// What a value is made of is in convert.go, what a standard attribute accepts in
// standard.go, as for payloads.
//
// Decisions
//
//   - Unlike a page, a client of the API reads its answers: what is wrong with an
//     identifier or a standard attribute is refused, all fields at once, in the
//     words of Django REST framework, which clients match. So is what can't be stored
//     at all (too large, too deep). Only a custom value that doesn't fit the type
//     of its attribute is left out in silence, as the contract says.
//   - What only the gateway writes (id, key, created_at, …) is ignored, not refused:
//     clients send back whole objects that they have read. A key is among these,
//     since an object that was read a while ago must not take it from who has it now.
//   - For the same reason tags are also read as they are written, as objects with a
//     name, and of several names for the own id one that is empty loses.
//   - "" clears a number or a boolean: a form has no other way to.
//   - The first instant of the year 1 is what .NET sends for no date at all.

// Field is one member of an object: a contact, a company or an operation.
type Field struct {
	Name  string
	Value []byte // one JSON value
}

// maxFieldErrors is how many fields an error names.
const maxFieldErrors = 50

// ParseFields reads a JSON object and returns its members in their order, of those
// with the same name the last. An empty text has none. The error is an *Error:
// CodeInvalidPayload for what is no JSON, CodeInvalid for what is no object.
func ParseFields(body []byte) ([]Field, error) {
	body = trimMark(body)
	text := trimSpace(body)
	if len(text) == 0 {
		return nil, nil
	}
	if err := checkJSON(body); err != nil {
		return nil, parseError(err)
	}
	if text[0] != '{' {
		return nil, Errorf(CodeInvalid, "Invalid data. Expected a dictionary, but got %s.", pythonType(kindOf(text[0])))
	}
	var fields []Field
	at := make(map[string]int)
	for name, value := range members(string(text)) {
		s, _ := unquote(name)
		i, again := at[s]
		if !again {
			i = len(fields)
			at[s] = i
			fields = append(fields, Field{Name: s})
		}
		fields[i].Value = []byte(value.text)
	}
	return fields, nil
}

// parseError says what is wrong with a text that is no JSON, as Django REST framework
// begins to.
func parseError(err error) *Error {
	e := &Error{Code: CodeInvalidPayload, Message: "JSON parse error - the text is not valid JSON", Err: err}
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax) && errors.Is(err, io.ErrUnexpectedEOF):
		e.Message = fmt.Sprintf("JSON parse error - the text ends at byte %d", syntax.ByteOffset)
	case errors.As(err, &syntax):
		e.Message = fmt.Sprintf("JSON parse error - at byte %d: %v", syntax.ByteOffset, syntax.Err)
	}
	return e
}

// pythonType is the type of a value of the kind in the words of the vendor's errors.
func pythonType(kind byte) string {
	switch kind {
	case '{':
		return "dict"
	case '[':
		return "list"
	case '"':
		return "str"
	case '0':
		return "int"
	case 'n':
		return "NoneType"
	}
	return "bool"
}

// ParseContactPatch reads what a client wants of a contact, in version 2 of the API
// or in version 1: the own id is user_id or custom_id in both; company_id is the own
// id of a company in version 1 and the internal one in version 2,
// company_custom_id the own one in both. What is wrong is an *Error of CodeInvalid
// with Field; its Also are the other fields at fault.
func ParseContactPatch(fields []Field, v2 bool) (ContactPatch, error) {
	ps := newPatchParser(EntityContact)
	var p ContactPatch
	own := ownID{names: []string{"user_id", "custom_id"}}
	if v2 {
		slices.Reverse(own.names)
	}
	ps.fields(fields, func(name string, t token) bool {
		switch name {
		case "user_id", "custom_id":
			own.add(name, ps.identifier(name, t))
		case "email":
			if email, ok := ps.email(name, t); ok {
				p.Email = &email
			}
		case "company_id", "company_custom_id":
			ps.company(&p, name, t, v2 && name == "company_id")
		default:
			return false
		}
		return true
	})
	p.CustomID, p.Attributes = own.best(), ps.bag.all()
	return p, ps.err()
}

// ParseCompanyPatch reads what a client wants of a company. Its own id is
// company_id, custom_id or company_custom_id. Errors are those of
// ParseContactPatch.
func ParseCompanyPatch(fields []Field, v2 bool) (CompanyPatch, error) {
	ps := newPatchParser(EntityCompany)
	var p CompanyPatch
	own := ownID{names: []string{"company_id", "custom_id", "company_custom_id"}}
	if v2 {
		own.names = []string{"custom_id", "company_custom_id", "company_id"}
	}
	ps.fields(fields, func(name string, t token) bool {
		switch name {
		case "company_id", "custom_id", "company_custom_id":
			own.add(name, ps.identifier(name, t))
		case "name":
			if s, ok := ps.text(name, t); ok {
				p.Name = &s
			}
		case "employees":
			// A list is the employees of an object that was read, anything else the custom
			// attribute of the documented snippet.
			return t.kind() == '[' || t.kind() == 'n'
		default:
			return false
		}
		return true
	})
	p.CustomID, p.Attributes = own.best(), ps.bag.all()
	return p, ps.err()
}

// ownID is the own id of a contact or company, which clients send by several names.
type ownID struct {
	names []string // by rank
	found map[string]string
}

func (o *ownID) add(name string, id *string) {
	if id == nil {
		return
	}
	if o.found == nil {
		o.found = make(map[string]string)
	}
	o.found[name] = *id
}

// best is the first id by rank that is not empty, "" if one came that takes the id
// away, nil if none came.
func (o *ownID) best() *string {
	for _, name := range o.names {
		if id := o.found[name]; id != "" {
			return &id
		}
	}
	if len(o.found) > 0 {
		return new(string)
	}
	return nil
}

// patchParser collects the attributes of a patch and what is wrong with it.
type patchParser struct {
	bag    bag
	errors []*Error
}

func newPatchParser(entity Entity) *patchParser {
	return &patchParser{bag: bag{entity: entity, names: namesOf(entity)}}
}

func (ps *patchParser) fail(field, format string, args ...any) {
	if len(ps.errors) < maxFieldErrors {
		ps.errors = append(ps.errors, &Error{Code: CodeInvalid, Field: cut(field, MaxName), Message: fmt.Sprintf(format, args...)})
	}
}

func (ps *patchParser) err() error {
	if len(ps.errors) == 0 {
		return nil
	}
	e := ps.errors[0]
	e.Also = ps.errors[1:]
	return e
}

// fields reads all fields: those that special takes, nested attributes, and
// attributes.
func (ps *patchParser) fields(fields []Field, special func(name string, t token) bool) {
	for _, f := range fields {
		t, ok := valueOf(f.Value)
		switch {
		case !ok:
			ps.fail(f.Name, "Value must be valid JSON.")
		case special(f.Name, t):
		case f.Name == "attributes":
			ps.nested(t)
		default:
			ps.attribute(f.Name, t)
		}
	}
}

// valueOf returns the token of a text that is one JSON value.
func valueOf(text []byte) (token, bool) {
	if checkJSON(text) != nil {
		return token{}, false
	}
	w := walker{s: string(text)}
	return w.next()
}

// nested reads custom attributes as version 1 writes them, as a list of objects with
// name_std (or name) and value, or as one object.
func (ps *patchParser) nested(t token) {
	switch t.kind() {
	case 'n':
	case '{':
		for name, value := range members(t.text) {
			s, _ := unquote(name)
			ps.attribute(s, value)
		}
	case '[':
		for item := range elements(t.text) {
			if item.kind() != '{' {
				ps.fail("attributes", "Invalid data. Expected a dictionary, but got %s.", pythonType(item.kind()))
				return
			}
			ps.nestedItem(item)
		}
	default:
		ps.fail("attributes", "Expected a list of items but got type %q.", pythonType(t.kind()))
	}
}

func (ps *patchParser) nestedItem(item token) {
	std, label := "", ""
	value := token{text: "null"}
	for name, v := range members(item.text) {
		switch s, _ := unquote(name); {
		case s == "name_std" && v.kind() == '"':
			std, _ = unquote(v)
		case s == "name" && v.kind() == '"':
			label, _ = unquote(v)
		case s == "value":
			value = v
		}
	}
	if std == "" {
		std = label
	}
	if std == "" {
		ps.fail("attributes", "Each attribute needs name_std and value.")
		return
	}
	ps.attribute(std, value)
}

// readOnly reports whether the name is one of those that only the gateway writes.
func (ps *patchParser) readOnly(name string) bool {
	place, known := ps.bag.names.find(name)
	return known && place < 0
}

// attribute reads the attribute label.
func (ps *patchParser) attribute(label string, t token) {
	if ps.readOnly(label) {
		return
	}
	place, standard := ps.bag.names.find(label)
	name := label
	if !standard {
		ok := true
		if !isStandardName(label) {
			name, ok = CustomName(ps.bag.entity, label)
		}
		switch {
		case name == "", forbiddenName(label), forbiddenName(name):
			ps.fail(label, "This can't be the name of an attribute: a name needs a letter or a digit.")
			return
		case !ok || len(label) > MaxName:
			ps.fail(label, "Ensure the name has no more than %d bytes.", MaxName)
			return
		}
	}
	at := ps.bag.find(name)
	if at < 0 && !standard && ps.bag.custom == MaxKeys {
		if !ps.bag.full {
			ps.bag.full = true
			ps.fail("", "Send at most %d custom attributes at once.", MaxKeys)
		}
		return
	}
	var v Value
	var ok bool
	if standard {
		v, ok = ps.standard(ps.bag.names.attrs[place], t)
	} else {
		v, ok = ps.custom(label, t)
	}
	if !ok {
		return
	}
	if at >= 0 {
		ps.bag.attrs[at].Label, ps.bag.attrs[at].Value = label, v
		return
	}
	if !standard {
		ps.bag.custom++
	}
	ps.bag.add(PayloadAttribute{Name: name, Label: label, Value: v})
}

func (ps *patchParser) custom(label string, t token) (Value, bool) {
	v, _, p := readValue(t)
	if p != "" {
		ps.failLimit(label, p)
		return Value{}, false
	}
	if isYearOne(v) {
		v = Null
	}
	return v, true
}

// isYearOne reports whether v is the first instant of the year 1, in whatever zone.
func isYearOne(v Value) bool {
	if v.Type != TypeText && v.Type != TypeDate && v.Type != TypeDatetime {
		return false
	}
	rest, ok := strings.CutPrefix(Text(v), "0001-01-01")
	if !ok {
		return false
	}
	return rest == "" || strings.HasPrefix(rest, "T00:00:00") || strings.HasPrefix(rest, " 00:00:00")
}

// failLimit says that a value is beyond the limits of one.
func (ps *patchParser) failLimit(field string, p problem) {
	switch p {
	case WarnTooLarge:
		ps.fail(field, "Ensure this value has no more than %d bytes.", MaxValue-len(`""`))
	case WarnTooDeep:
		ps.fail(field, "Ensure this value is nested no more than %d levels deep.", MaxDepth)
	default:
		ps.fail(field, "A valid number is required.")
	}
}

// standard reads a value of a standard attribute.
func (ps *patchParser) standard(a StandardAttr, t token) (Value, bool) {
	if a.Name == attrTags {
		return ps.tags(t)
	}
	if t.text == `""` && (a.Type == TypeNumber || a.Type == TypeBool) {
		return Null, true
	}
	v, _, p := readStandard(a, t)
	if v.Raw != "" {
		return v, true
	}
	if p == WarnTooLarge || p == WarnTooDeep || p == WarnNumberRange {
		ps.failLimit(a.Name, p)
		return Value{}, false
	}
	ps.fail(a.Name, "%s", a.refusal(t))
	return Value{}, false
}

// refusal is what Django REST framework says of a wrong value of the attribute.
func (a StandardAttr) refusal(t token) string {
	switch {
	case a.Name == "gender", a.Name == "status":
		s := t.text
		if t.kind() == '"' {
			s, _ = unquote(t)
		}
		return `"` + cut(s, 100) + `" is not a valid choice.`
	case a.Name == "phone_number":
		return "Enter a valid phone number."
	case a.Type == TypeNumber:
		return "A valid integer is required."
	case a.Type == TypeBool:
		return "Must be a valid boolean."
	case a.Type == TypeList:
		return fmt.Sprintf("Expected a list of items but got type %q.", pythonType(t.kind()))
	case a.Type == TypeJSON:
		return fmt.Sprintf("Expected a dictionary of items but got type %q.", pythonType(t.kind()))
	}
	return "Not a valid string."
}

// tags reads a list of texts, or of objects with a name, or a text with commas. Null is
// no tag at all.
func (ps *patchParser) tags(t token) (Value, bool) {
	var texts []string
	switch t.kind() {
	case 'n':
	case '"':
		s, _ := unquote(t)
		texts = strings.Split(s, ",")
	case '[':
		for item := range elements(t.text) {
			s, ok := tagText(item)
			if !ok {
				ps.fail(attrTags, "Not a valid string.")
				return Value{}, false
			}
			texts = append(texts, s)
		}
	default:
		ps.fail(attrTags, "Expected a list of items but got type %q.", pythonType(t.kind()))
		return Value{}, false
	}
	v, p := convertTexts(ListValue(texts...))
	if p != "" {
		ps.failLimit(attrTags, p)
		return Value{}, false
	}
	return v, true
}

func tagText(item token) (string, bool) {
	switch item.kind() {
	case '"':
		s, _ := unquote(item)
		return s, true
	case '0':
		return canonicalNumber(item.text)
	case '{':
		for name, v := range members(item.text) {
			if s, _ := unquote(name); s == "name" && v.kind() == '"' {
				s, _ = unquote(v)
				return s, true
			}
		}
	}
	return "", false
}

// identifier reads an own id: "" for null and "", nil for one that can't be used.
func (ps *patchParser) identifier(field string, t token) *string {
	id, ok := ps.text(field, t)
	switch {
	case !ok:
		return nil
	case id != "" && isPlaceholder(id):
		ps.fail(field, "%q is a sample or an unfilled template. Send the real id.", id)
		return nil
	}
	return &id
}

// text reads a name or an id, without the space around it: a text or a number of up
// to MaxID bytes without control characters. Null is "".
func (ps *patchParser) text(field string, t token) (string, bool) {
	s := ""
	switch t.kind() {
	case 'n':
		return "", true
	case '"':
		var f flaws
		if s, f = unquote(t); f != 0 || hasControl(s) {
			ps.fail(field, "Control characters are not allowed.")
			return "", false
		}
		s = strings.TrimSpace(s)
	case '0':
		var ok bool
		if s, ok = canonicalNumber(t.text); !ok {
			ps.fail(field, "A valid number is required.")
			return "", false
		}
	default:
		ps.fail(field, "Not a valid string.")
		return "", false
	}
	if len(s) > MaxID {
		ps.fail(field, "Ensure this field has no more than %d bytes.", MaxID)
		return "", false
	}
	return s, true
}

// email reads the contact's address: "" for null and "".
func (ps *patchParser) email(field string, t token) (string, bool) {
	if t.kind() == 'n' {
		return "", true
	}
	if t.kind() != '"' && t.kind() != '0' {
		ps.fail(field, "Not a valid string.")
		return "", false
	}
	s, f := unquote(t)
	if t.kind() == '0' {
		s = t.text
	}
	if s = strings.TrimSpace(s); s == "" && f == 0 {
		return "", true
	}
	email, _, ok := NormalizeEmail(s)
	if !ok || f != 0 {
		ps.fail(field, "Enter a valid email address.")
		return "", false
	}
	return email, true
}

// company reads the company of which the contact is to be an employee; null and ""
// name none.
func (ps *patchParser) company(p *ContactPatch, field string, t token, internal bool) {
	id, ok := ps.text(field, t)
	if !ok || id == "" {
		return
	}
	ref := CompanyRef{CustomID: id, Field: field}
	if internal {
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil || n < 1 || n == math.MaxInt64 {
			ps.fail(field, "A valid integer is required.")
			return
		}
		ref = CompanyRef{ID: CompanyID(n), Field: field}
	}
	p.Companies = append(p.Companies, ref)
}
