package gateway

import (
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// StandardAttr is an attribute that every workspace has (contract, sections 4
// and 5). Identifiers (user_id, email, company_id) and the name of a company
// are none: contacts and companies have fields for them.
type StandardAttr struct {
	Name  string // key in a bag and on the wire
	Label string // for people
	Type  Type
	// convert is for what the type alone doesn't say; nil if that is nothing.
	convert func(Value) (Value, problem)
}

// Convert returns v as a value of the attribute, read from any of the shapes
// in which clients send it. The warning is the code of a Warning, "" if there is
// nothing to say; with ok there can be one too (WarnNotE164). Null clears.
func (a StandardAttr) Convert(v Value) (out Value, warning string, ok bool) {
	if v.IsNull() {
		return Null, "", true
	}
	if a.convert != nil {
		out, p := a.convert(v)
		return out, string(p), !out.IsNull()
	}
	out, ok = Convert(v, a.Type)
	if !ok || a.Type == TypeText && (v.Type == TypeBool || v.Type == TypeJSON) {
		return Null, WarnInvalidValue, false
	}
	return out, "", true
}

func text(name, label string) StandardAttr { return StandardAttr{name, label, TypeText, nil} }

// contactAttrs are the standard attributes of a contact in the order in which
// they are shown.
var contactAttrs = []StandardAttr{
	text("name", "Name"),
	text("first_name", "First name"),
	text("last_name", "Last name"),
	{"phone_number", "Phone number", TypeText, convertPhone},
	{"gender", "Gender", TypeNumber, choice([]string{"unknown"}, []string{"male", "m"}, []string{"female", "f"})},
	{"status", "Status", TypeNumber, choice([]string{"visitor"}, []string{"user"})},
	{"score", "Score", TypeNumber, convertInteger},
	{"tags", "Tags", TypeList, convertTexts},
	text("assigned_to", "Assigned to"),
	text("city", "City"),
	text("region", "Region"),
	text("country", "Country"),
	text("timezone", "Time zone"),
	{"unsubscribed", "Unsubscribed", TypeBool, nil},
	{"notifications", "Notifications", TypeBool, nil},
	text("browser", "Browser"),
	text("browser_language", "Browser language"),
	text("os_type", "Operating system"),
	text("resolution", "Screen resolution"),
	text("gravatar_url", "Gravatar"),
	text("facebook_url", "Facebook"),
	text("linkedin_url", "LinkedIn"),
	text("twitter_url", "Twitter"),
	text("google_url", "Google"),
	{"source_context", "Source context", TypeJSON, convertObject},
}

// companyAttrs are those of a company.
var companyAttrs = []StandardAttr{
	text("description", "Description"),
	text("email", "E-mail"),
	text("country", "Country"),
	text("region", "Region"),
	text("city", "City"),
	text("address", "Address"),
	text("postal_code", "Postal code"),
	text("size", "Size"),
	{"approx_employees", "Approximate employees", TypeNumber, convertInteger},
	{"phone_numbers", "Phone numbers", TypeList, convertTexts},
	{"tags", "Tags", TypeList, convertTexts},
	{attrDomains, "Domains", TypeList, convertDomains},
	{"extra_data", "Extra data", TypeJSON, nil},
}

// contactReserved, companyReserved and recordReserved are the other names in the REST API's
// objects (contract, sections 4 and 5): identifiers, and what only the gateway
// writes. A custom attribute can't have them.
var (
	contactReserved = []string{
		"id", "key", "user_key", "chat_id", "user_id", "custom_id", "email", "company", "companies", "company_id", "company_custom_id",
		"attributes", "lists", "first_seen", "last_seen", "last_contacted", "last_ip", "page_views", "created_at",
		"updated_at", "web_push_subscription",
	}
	companyReserved = []string{
		"id", "company_id", "custom_id", "name", "attributes", "employees_count", "created_at", "updated_at", "member_since",
	}
	recordReserved = []string{"id", "product_id", "deal_id", "custom_id", "name", "attributes", "created_at", "updated_at"}
)

// entityNames is how the names of one entity are looked up: by length and then
// one by one, which for so few short names takes a third of the time of a map.
type entityNames struct {
	attrs    []StandardAttr
	byLength [][]knownName
}

// knownName is the name of a standard attribute, with its place, or a reserved
// name, with -1.
type knownName struct {
	name  string
	place int
}

var (
	contactNames = newEntityNames(contactAttrs, contactReserved)
	companyNames = newEntityNames(companyAttrs, companyReserved)
	recordNames  = newEntityNames(nil, recordReserved)
	noNames      = newEntityNames(nil, nil)
)

func newEntityNames(attrs []StandardAttr, reserved []string) *entityNames {
	n := &entityNames{attrs: attrs}
	add := func(name string, place int) {
		for len(n.byLength) <= len(name) {
			n.byLength = append(n.byLength, nil)
		}
		n.byLength[len(name)] = append(n.byLength[len(name)], knownName{name, place})
	}
	for i, a := range attrs {
		add(a.Name, i)
	}
	for _, name := range reserved {
		add(name, -1)
	}
	return n
}

// find returns the place of the standard attribute name, -1 for a reserved
// name; known is false for all others.
func (n *entityNames) find(name string) (place int, known bool) {
	if len(name) >= len(n.byLength) {
		return 0, false
	}
	for _, k := range n.byLength[len(name)] {
		if k.name == name {
			return k.place, true
		}
	}
	return 0, false
}

func namesOf(entity Entity) *entityNames {
	switch entity {
	case EntityContact:
		return contactNames
	case EntityCompany:
		return companyNames
	case EntityProduct, EntityDeal:
		return recordNames
	}
	return noNames
}

// Standard returns the standard attribute of the entity with just this name,
// and whether there is one.
func Standard(entity Entity, name string) (StandardAttr, bool) {
	n := namesOf(entity)
	if i, known := n.find(name); known && i >= 0 {
		return n.attrs[i], true
	}
	return StandardAttr{}, false
}

// StandardAttrs returns the standard attributes of the entity, in the order in
// which they are shown.
func StandardAttrs(entity Entity) []StandardAttr {
	return append([]StandardAttr(nil), namesOf(entity).attrs...)
}

// StandardName returns the standard form of an attribute's name (name_std of
// contract, section 6): lower case, with one underscore for every run of
// anything but letters, marks and digits, and none at the ends. "API string
// attribute" becomes "api_string_attribute". The form of a form is itself. It is "" for
// a name without letters and digits.
func StandardName(label string) string {
	if isStandardName(label) {
		return label
	}
	var b strings.Builder
	b.Grow(len(label))
	gap := false
	for _, r := range label {
		if r == utf8.RuneError || !unicode.In(r, unicode.L, unicode.M, unicode.N) {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('_')
		}
		gap = false
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// isStandardName reports whether s is in standard form and ASCII.
func isStandardName(s string) bool {
	gap := true // an underscore here would be one too many
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			gap = false
		case c == '_' && !gap:
			gap = true
		default:
			return false
		}
	}
	return !gap
}

// customPrefix tells custom attributes apart whose standard form is taken.
const customPrefix = "custom_"

// CustomName returns the name under which the attribute label is stored if it
// is not a standard attribute: its standard form, behind "custom_" if that
// form means something else on the entity ("First name" becomes
// custom_first_name). ok is false when label has no standard form or the result
// is longer than MaxName.
func CustomName(entity Entity, label string) (name string, ok bool) {
	n := namesOf(entity)
	name = StandardName(label)
	if name == "" {
		return "", false
	}
	for {
		if _, known := n.find(name); !known {
			return name, len(name) <= MaxName
		}
		name = customPrefix + name
	}
}

// convertPhone keeps "" (the number is gone) and everything that NormalizePhone
// does.
func convertPhone(v Value) (Value, problem) {
	v, ok := Convert(v, TypeText)
	if !ok {
		return Null, WarnInvalidPhone
	}
	s := Text(v)
	if strings.TrimSpace(s) == "" {
		return TextValue(""), ""
	}
	phone, e164, ok := NormalizePhone(s)
	switch {
	case !ok:
		return Null, WarnInvalidPhone
	case !e164:
		return TextValue(phone), WarnNotE164
	case phone == s:
		return v, ""
	}
	return TextValue(phone), ""
}

// choice returns a converter to a number from 1 up. It takes the number, its
// text, and the words that stand for it, in any case.
func choice(words ...[]string) func(Value) (Value, problem) {
	return func(v Value) (Value, problem) {
		if v.Type != TypeNumber {
			var ok bool
			if v, ok = Convert(v, TypeText); !ok {
				return Null, WarnInvalidValue
			}
		}
		s := strings.TrimSpace(Text(v))
		for i, words := range words {
			n := strconv.Itoa(i + 1) // small numbers cost no memory
			if s == n || slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(s, w) }) {
				return Value{Type: TypeNumber, Raw: n}, ""
			}
		}
		return Null, WarnInvalidValue
	}
}

// convertInteger takes whole numbers that an int64 holds.
func convertInteger(v Value) (Value, problem) {
	v, ok := Convert(v, TypeNumber)
	if !ok {
		return Null, WarnInvalidValue
	}
	if _, err := strconv.ParseInt(v.Raw, 10, 64); err != nil {
		return Null, WarnInvalidValue
	}
	return v, ""
}

// convertTexts takes a list, or a text with commas between the elements, and
// keeps each text once, without the space around it.
func convertTexts(v Value) (Value, problem) {
	var texts []string
	switch v.Type {
	case TypeText:
		texts = strings.Split(Text(v), ",")
	case TypeList:
		for _, item := range Items(v) {
			texts = append(texts, Text(item))
		}
	case TypeNumber:
		texts = []string{v.Raw}
	default:
		return Null, WarnInvalidValue
	}
	seen := make(map[string]bool, len(texts))
	kept := texts[:0]
	for _, s := range texts {
		if s = strings.TrimSpace(s); s != "" && !seen[s] {
			seen[s] = true
			kept = append(kept, s)
		}
	}
	out := ListValue(kept...)
	if len(out.Raw) > MaxValue {
		return Null, WarnTooLarge
	}
	return out, ""
}

// convertDomains keeps domains in comparable form. One that is none is no value: a company
// would wait for its people in vain.
func convertDomains(v Value) (Value, problem) {
	v, p := convertTexts(v)
	if v.IsNull() {
		return v, p
	}
	var domains []string
	for _, item := range Items(v) {
		domain, ok := NormalizeDomain(strings.TrimSuffix(strings.TrimPrefix(Text(item), "@"), "."))
		if !ok {
			return Null, WarnInvalidValue
		}
		if !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	out := ListValue(domains...)
	if len(out.Raw) > MaxValue {
		return Null, WarnTooLarge
	}
	return out, p
}

// convertObject takes JSON objects only.
func convertObject(v Value) (Value, problem) {
	if v.Type != TypeJSON || !strings.HasPrefix(v.Raw, "{") {
		return Null, WarnInvalidValue
	}
	return v, ""
}
