package api

import (
	"slices"
	"strings"

	"civgate/gateway"
)

// shaper makes the objects of one version from what the domain shows.
type shaper struct {
	version version
	defs    map[string]*gateway.AttributeDef
	tags    map[string]gateway.TagID // see readTags
	// Of the object that is being written, used again for the next one.
	taken []bool
	keys  []string
}

// shaper reads the attribute definitions of the entity. Call it after reading
// what is to be shaped, so that no attribute is newer than its definition.
func (s *Server) shaper(r *request, of gateway.Entity) (*shaper, error) {
	defs, err := s.reader.AttributeDefs(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return nil, err
	}
	sh := &shaper{version: r.version, defs: make(map[string]*gateway.AttributeDef, len(defs))}
	for i := range defs {
		if defs[i].Entity == of {
			sh.defs[defs[i].Name] = &defs[i]
		}
	}
	return sh, nil
}

// contactBag is a contact that is being written.
type contactBag struct {
	bag
	*gateway.ContactView
}

// contactV1 is a contact in version 1: the recorded fields in the recorded
// order (contract, section 4).
var contactV1 = members[*contactBag]{
	{"id", contactNumber},
	{"key", contactKey},
	{"name", contactName},
	{"email", contactEmail},
	{"gender", contactGender},
	{"status", contactStatus},
	takes[*contactBag]("phone_number"),
	{"first_seen", contactFirstSeen},
	{"last_seen", contactLastSeen},
	{"page_views", contactPageViews},
	{"last_ip", contactLastIP},
	takes[*contactBag]("timezone"),
	takes[*contactBag]("city"),
	takes[*contactBag]("region"),
	takes[*contactBag]("country"),
	takesOr[*contactBag]("unsubscribed", "false"),
	takes[*contactBag]("browser_language"),
	takesOr[*contactBag]("score", "0"),
	takes[*contactBag]("browser"),
	takes[*contactBag]("os_type"),
	takes[*contactBag]("resolution"),
	{"created_at", contactCreated},
	{"updated_at", contactUpdated},
	{"companies", func(w *jsonWriter, c *contactBag) {
		w.list(len(c.Companies), func(i int) { contactCompanyV1.object(w, &c.Companies[i]) })
	}},
	{"attributes", func(w *jsonWriter, c *contactBag) { c.attributes(w) }},
	takes[*contactBag]("gravatar_url"),
	{"lists", contactLists},
	{"tags", func(w *jsonWriter, c *contactBag) { c.tags(w) }},
	takesOr[*contactBag]("notifications", "true"),
	takes[*contactBag]("facebook_url"),
	takes[*contactBag]("linkedin_url"),
	takes[*contactBag]("twitter_url"),
	takes[*contactBag]("google_url"),
	{"last_contacted", null[*contactBag]},
	{"user_id", contactCustomID},
}

// contactV2 is a contact in version 2, recorded in 2022 with gaps: country to
// resolution and google_url to last_contacted stand where the record only says
// that more came.
var contactV2 = members[*contactBag]{
	{"id", contactNumber},
	{"user_key", contactKey},
	{"name", contactName},
	{"email", contactEmail},
	{"gender", contactGender},
	{"status", contactStatus},
	takes[*contactBag]("phone_number"),
	takes[*contactBag]("country"),
	takes[*contactBag]("region"),
	takes[*contactBag]("city"),
	takes[*contactBag]("timezone"),
	{"last_ip", contactLastIP},
	takes[*contactBag]("browser"),
	takes[*contactBag]("os_type"),
	takes[*contactBag]("resolution"),
	{"first_seen", contactFirstSeen},
	{"last_seen", contactLastSeen},
	{"page_views", contactPageViews},
	takesOr[*contactBag]("unsubscribed", "false"),
	takes[*contactBag]("browser_language"),
	takesOr[*contactBag]("score", "0"),
	{"created_at", contactCreated},
	{"updated_at", contactUpdated},
	{"companies", func(w *jsonWriter, c *contactBag) {
		w.list(len(c.Companies), func(i int) { contactCompanyV2.object(w, &c.Companies[i]) })
	}},
	takes[*contactBag]("gravatar_url"),
	{"lists", contactLists},
	{"tags", func(w *jsonWriter, c *contactBag) { c.tags(w) }},
	takesOr[*contactBag]("notifications", "true"),
	takes[*contactBag]("google_url"),
	takes[*contactBag]("facebook_url"),
	takes[*contactBag]("linkedin_url"),
	takes[*contactBag]("twitter_url"),
	{"last_contacted", null[*contactBag]},
	{"custom_id", contactCustomID},
	{"web_push_subscription", null[*contactBag]},
}

func contactNumber(w *jsonWriter, c *contactBag)    { w.int(int64(c.Contact.ID)) }
func contactKey(w *jsonWriter, c *contactBag)       { w.textOrNull(c.Key) }
func contactName(w *jsonWriter, c *contactBag)      { w.raw(c.name(c.Email)) }
func contactEmail(w *jsonWriter, c *contactBag)     { w.textOrNull(c.Email) }
func contactGender(w *jsonWriter, c *contactBag)    { w.text(c.gender()) }
func contactStatus(w *jsonWriter, c *contactBag)    { w.text(c.status(!c.Anonymous())) }
func contactFirstSeen(w *jsonWriter, c *contactBag) { w.stamp(c.FirstSeen) }
func contactLastSeen(w *jsonWriter, c *contactBag)  { w.stamp(c.LastSeen) }
func contactPageViews(w *jsonWriter, c *contactBag) { w.int(c.PageViews) }
func contactLastIP(w *jsonWriter, c *contactBag)    { w.textOrNull(c.LastIP) }
func contactCreated(w *jsonWriter, c *contactBag)   { w.stamp(c.CreatedAt) }
func contactUpdated(w *jsonWriter, c *contactBag)   { w.stamp(c.UpdatedAt) }
func contactCustomID(w *jsonWriter, c *contactBag)  { w.textOrNull(c.CustomID) }

func contactLists(w *jsonWriter, c *contactBag) {
	w.list(len(c.Lists), func(i int) { listFields.object(w, &c.Lists[i]) })
}

// contactCompanyV1 is a company of a contact; company_id is ours and behind the
// recorded fields.
var contactCompanyV1 = members[*gateway.ContactCompany]{
	{"member_since", func(w *jsonWriter, c *gateway.ContactCompany) { w.stamp(c.Since) }},
	{"id", func(w *jsonWriter, c *gateway.ContactCompany) { w.int(int64(c.CompanyID)) }},
	{"name", func(w *jsonWriter, c *gateway.ContactCompany) { w.textOrNull(c.Name) }},
	{"company_id", func(w *jsonWriter, c *gateway.ContactCompany) { w.textOrNull(c.CustomID) }},
}

// contactCompanyV2 is a company of a contact; custom_id is ours.
var contactCompanyV2 = members[*gateway.ContactCompany]{
	{"name", func(w *jsonWriter, c *gateway.ContactCompany) { w.textOrNull(c.Name) }},
	{"id", func(w *jsonWriter, c *gateway.ContactCompany) { w.int(int64(c.CompanyID)) }},
	{"member_since", func(w *jsonWriter, c *gateway.ContactCompany) { w.stamp(c.Since) }},
	{"custom_id", func(w *jsonWriter, c *gateway.ContactCompany) { w.textOrNull(c.CustomID) }},
}

// companyBag is a company that is being written.
type companyBag struct {
	bag
	*gateway.CompanyView
}

// companyV1 is a company in version 1 (contract, section 5).
var companyV1 = members[*companyBag]{
	{"id", companyNumber},
	{"name", companyName},
	takes[*companyBag]("description"),
	takes[*companyBag]("email"),
	takes[*companyBag]("country"),
	takes[*companyBag]("region"),
	takes[*companyBag]("city"),
	takes[*companyBag]("address"),
	takes[*companyBag]("approx_employees"),
	{"created_at", companyCreated},
	{"updated_at", companyUpdated},
	{"phone_numbers", companyPhones},
	{"attributes", func(w *jsonWriter, c *companyBag) { c.attributes(w) }},
	{"company_id", companyCustomID},
	takes[*companyBag]("postal_code"),
	{"tags", func(w *jsonWriter, c *companyBag) { c.tags(w) }},
	takesOr[*companyBag]("extra_data", "[]"),
}

// companyV2 is a company in version 2 (contract, section 5).
var companyV2 = members[*companyBag]{
	{"id", companyNumber},
	{"name", companyName},
	takes[*companyBag]("description"),
	takes[*companyBag]("email"),
	takes[*companyBag]("country"),
	takes[*companyBag]("region"),
	takes[*companyBag]("city"),
	takes[*companyBag]("address"),
	takes[*companyBag]("postal_code"),
	takes[*companyBag]("size"),
	{"created_at", companyCreated},
	{"updated_at", companyUpdated},
	{"tags", func(w *jsonWriter, c *companyBag) { c.tags(w) }},
	{"employees", companyEmployees},
	{"phone_numbers", companyPhones},
	{"custom_id", companyCustomID},
}

func companyNumber(w *jsonWriter, c *companyBag)   { w.int(int64(c.ID)) }
func companyName(w *jsonWriter, c *companyBag)     { w.textOrNull(c.Name) }
func companyCreated(w *jsonWriter, c *companyBag)  { w.stamp(c.CreatedAt) }
func companyUpdated(w *jsonWriter, c *companyBag)  { w.stamp(c.UpdatedAt) }
func companyPhones(w *jsonWriter, c *companyBag)   { w.put(c.list("phone_numbers")) }
func companyCustomID(w *jsonWriter, c *companyBag) { w.textOrNull(c.CustomID) }

func companyEmployees(w *jsonWriter, c *companyBag) {
	w.list(len(c.Employees), func(i int) { w.int(int64(c.Employees[i])) })
}

func null[T any](w *jsonWriter, _ T) { w.put("null") }

// takes is a field that shows the standard attribute of its name.
func takes[T interface{ take(name string) string }](name string) field[T] {
	return field[T]{name, func(w *jsonWriter, of T) { w.raw(of.take(name)) }}
}

// takesOr is takes with what it shows where the attribute is not set.
func takesOr[T interface{ take(name string) string }](name, otherwise string) field[T] {
	return field[T]{name, func(w *jsonWriter, of T) {
		text := of.take(name)
		if text == "" {
			text = otherwise
		}
		w.put(text)
	}}
}

var (
	contactV1Names = contactV1.names()
	contactV2Names = contactV2.names()
	companyV1Names = companyV1.names("employees", "employees_count")
	companyV2Names = companyV2.names("employees_count")
)

// contactShape is a contact as an answer has it. Behind the recorded fields lie flat:
// in version 1 the standard attributes that the record has no field for, in version 2
// these and the custom ones.
type contactShape struct {
	sh *shaper
	v  *gateway.ContactView
}

func (sh *shaper) contact(v *gateway.ContactView) contactShape { return contactShape{sh, v} }

func (s contactShape) writeTo(w *jsonWriter) {
	c := contactBag{s.sh.bag(s.v.Attributes), s.v}
	if s.sh.version == v1 {
		contactV1.open(w, &c)
		c.rest(w, contactV1Names, false)
	} else {
		contactV2.open(w, &c)
		c.rest(w, contactV2Names, true)
	}
	w.put("}")
}

// MarshalJSON writes what writeTo does, for a contact inside of something else.
func (s contactShape) MarshalJSON() ([]byte, error) { return encodeJSON(s) }

// companyShape is a company as an answer has it. employees (the newest
// gateway.MaxEmployees) is recorded in version 2 only; version 1 has it at the end, and
// both end with employees_count, the number of all of them.
type companyShape struct {
	sh *shaper
	v  *gateway.CompanyView
}

func (sh *shaper) company(v *gateway.CompanyView) companyShape { return companyShape{sh, v} }

func (s companyShape) writeTo(w *jsonWriter) {
	c := companyBag{s.sh.bag(s.v.Attributes), s.v}
	if s.sh.version == v1 {
		companyV1.open(w, &c)
		c.rest(w, companyV1Names, false)
		w.put(`,"employees":`)
		companyEmployees(w, &c)
	} else {
		companyV2.open(w, &c)
		c.rest(w, companyV2Names, true)
	}
	w.put(`,"employees_count":`)
	w.int(s.v.EmployeesCount)
	w.put("}")
}

// MarshalJSON writes what writeTo does, for a company inside of something else.
func (s companyShape) MarshalJSON() ([]byte, error) { return encodeJSON(s) }

// pageView is a page view in the words of POST /site-views/
// with title and referrer behind.
type pageView struct {
	ClientUser *string `json:"client_user"`
	PageDomain string  `json:"page_domain"`
	PagePath   string  `json:"page_path"`
	Timestamp  stamp   `json:"timestamp"`
	Title      *string `json:"title"`
	Referrer   *string `json:"referrer"`
}

func pageViewOf(v *gateway.PageView) pageView {
	return pageView{orNull(v.Key), v.URL, v.Path, stamp(v.At), orNull(v.Title), orNull(v.Referrer)}
}

// bag is the attributes of one object while it is written: what a field takes
// is not shown again behind them. A shaper has one at a time.
type bag struct {
	*shaper
	attrs gateway.Attributes
}

func (sh *shaper) bag(a gateway.Attributes) bag {
	sh.taken, sh.keys = append(sh.taken[:0], make([]bool, len(a))...), sh.keys[:0]
	return bag{sh, a}
}

// value takes the standard attribute of the name.
func (b *bag) value(name string) (gateway.Value, bool) {
	for i := range b.attrs {
		if b.attrs[i].Name == name {
			if b.defs[name] != nil {
				break // a custom one that has the name of a field
			}
			b.taken[i] = true
			return b.attrs[i].Value, true
		}
	}
	return gateway.Value{}, false
}

// take takes the text of a standard attribute, "" if it isn't set.
func (b *bag) take(name string) string {
	v, _ := b.value(name)
	return v.Raw
}

// list takes an attribute as a list: a single value is a list of one.
func (b *bag) list(name string) string {
	v, ok := b.value(name)
	switch {
	case !ok:
		return "[]"
	case v.Type == gateway.TypeList:
		return v.Raw
	}
	return "[" + v.Raw + "]"
}

// tags writes them as tags.
func (b *bag) tags(w *jsonWriter) {
	v, _ := b.value("tags")
	items := gateway.Items(v)
	w.list(len(items), func(i int) {
		name := gateway.Text(items[i])
		w.put(`{"id":`)
		if id, ok := b.shaper.tags[name]; ok {
			w.int(int64(id))
		} else {
			w.put("null")
		}
		w.put(`,"name":`)
		w.text(name)
		w.put("}")
	})
}

// word takes an enumeration, which is stored as a number from 1, as its word
// (contract, section 4).
func (b *bag) word(name string, words ...string) (string, bool) {
	v, ok := b.value(name)
	if !ok {
		return "", false
	}
	n, ok := gateway.Number(v)
	if !ok || n < 1 || int(n) > len(words) {
		return "", false
	}
	return words[int(n)-1], true
}

// The words of the enumerations, from 1 on.
var (
	genders         = []string{"unknown", "male", "female"}
	contactStatuses = []string{"visitor", "user"}
)

func (b *bag) gender() string {
	if word, ok := b.word("gender", genders...); ok {
		return word
	}
	return "unknown"
}

// status is the one that was set, else follows from whether the contact is
// known.
func (b *bag) status(known bool) string {
	word, ok := b.word("status", contactStatuses...)
	switch {
	case ok:
		return word
	case known:
		return "user"
	}
	return "visitor"
}

// name is the full name, else the first and last one, else the e-mail, else
// null. First and last name stay, to be shown by themselves.
func (b *bag) name(email string) string {
	full, ok := b.value("name")
	if ok && gateway.Text(full) != "" {
		return full.Raw
	}
	first, _ := b.attrs.Get("first_name")
	last, _ := b.attrs.Get("last_name")
	name := strings.TrimSpace(gateway.Text(first) + " " + gateway.Text(last))
	if name == "" {
		name = email
	}
	if name == "" {
		return ""
	}
	return gateway.TextValue(name).Raw
}

// attributes writes the custom ones, by name. value_type is what one client expects
// behind the recorded fields.
func (b *bag) attributes(w *jsonWriter) {
	first := true
	w.put("[")
	for i := range b.attrs {
		d := b.defs[b.attrs[i].Name]
		if d == nil {
			continue
		}
		if !first {
			w.put(",")
		}
		first = false
		w.put(`{"name_std":`)
		w.text(d.Name)
		w.put(`,"value":`)
		w.raw(b.attrs[i].Value.Raw)
		w.put(`,"description":`)
		w.text(d.Description)
		w.put(`,"id":`)
		w.int(int64(d.ID))
		w.put(`,"name":`)
		w.text(d.Label)
		w.put(`,"value_type":`)
		w.text(valueTypeOf(d))
		w.put("}")
	}
	w.put("]")
}

// valueTypeOf is the type of a custom attribute in the vendor's words.
func valueTypeOf(d *gateway.AttributeDef) string {
	if d.Integer {
		return "integer"
	}
	return valueType(d.Type)
}

// valueType is the type in the vendor's words (contract, section 6). Numbers
// are of one type here, so all of them are floats there, but for those that were
// defined as integers (valueTypeOf).
func valueType(t gateway.Type) string {
	switch t {
	case gateway.TypeNumber:
		return "float"
	case gateway.TypeBool:
		return "boolean"
	case gateway.TypeDate:
		return "date"
	case gateway.TypeDatetime:
		return "datetime"
	case gateway.TypeList:
		return "fixed"
	case gateway.TypeJSON:
		return "json"
	}
	return "string"
}

// rest writes, behind other members, what no field has taken: the standard attributes,
// and the custom ones if they are to lie flat. The names are those that the object has
// in any case.
func (b *bag) rest(w *jsonWriter, names map[string]bool, custom bool) {
	for i, a := range b.attrs {
		d := b.defs[a.Name]
		if b.taken[i] || d != nil && !custom {
			continue
		}
		label := a.Name
		if d != nil {
			label = d.Label
		}
		key := freeName(names, b.keys, a.Name, label)
		b.keys = append(b.keys, key)
		w.put(",")
		w.text(key)
		w.put(":")
		w.raw(a.Value.Raw)
	}
}

// freeName is the key under which an attribute lies flat in an object: its
// name, or its label where a field has the name, or "custom_" and the name
// where the label is taken as well.
func freeName(fields map[string]bool, others []string, name, label string) string {
	free := func(key string) bool {
		return key != "" && !fields[key] && !slices.Contains(others, key)
	}
	for _, key := range []string{name, label} {
		if free(key) {
			return key
		}
	}
	for name = "custom_" + name; !free(name); {
		name = "custom_" + name
	}
	return name
}
