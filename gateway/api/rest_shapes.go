package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"civgate/gateway"
)

// shaper makes the objects of one version from what the domain shows.
type shaper struct {
	version version
	defs    map[string]*gateway.AttributeDef
	tags    map[string]gateway.TagID // see readTags
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

// raw is the JSON text of a value; nil is null.
type raw = json.RawMessage

// contactV1 is a contact in version 1: the recorded fields in the recorded
// order (contract, section 4).
type contactV1 struct {
	ID              gateway.ContactID  `json:"id"`
	Key             *string            `json:"key"`
	Name            raw                `json:"name"`
	Email           *string            `json:"email"`
	Gender          string             `json:"gender"`
	Status          string             `json:"status"`
	PhoneNumber     raw                `json:"phone_number"`
	FirstSeen       stamp              `json:"first_seen"`
	LastSeen        stamp              `json:"last_seen"`
	PageViews       int64              `json:"page_views"`
	LastIP          *string            `json:"last_ip"`
	Timezone        raw                `json:"timezone"`
	City            raw                `json:"city"`
	Region          raw                `json:"region"`
	Country         raw                `json:"country"`
	Unsubscribed    raw                `json:"unsubscribed"`
	BrowserLanguage raw                `json:"browser_language"`
	Score           raw                `json:"score"`
	Browser         raw                `json:"browser"`
	OSType          raw                `json:"os_type"`
	Resolution      raw                `json:"resolution"`
	CreatedAt       stamp              `json:"created_at"`
	UpdatedAt       stamp              `json:"updated_at"`
	Companies       []contactCompanyV1 `json:"companies"`
	Attributes      []attributeV1      `json:"attributes"`
	GravatarURL     raw                `json:"gravatar_url"`
	Lists           []listShape        `json:"lists"`
	Tags            []tag              `json:"tags"`
	Notifications   raw                `json:"notifications"`
	FacebookURL     raw                `json:"facebook_url"`
	LinkedinURL     raw                `json:"linkedin_url"`
	TwitterURL      raw                `json:"twitter_url"`
	GoogleURL       raw                `json:"google_url"`
	LastContacted   raw                `json:"last_contacted"`
	UserID          *string            `json:"user_id"`
}

// contactCompanyV1 is a company of a contact; company_id is ours and behind the
// recorded fields.
type contactCompanyV1 struct {
	MemberSince stamp             `json:"member_since"`
	ID          gateway.CompanyID `json:"id"`
	Name        *string           `json:"name"`
	CompanyID   *string           `json:"company_id"`
}

// attributeV1 is a custom attribute. value_type is what one client expects
// behind the recorded fields.
type attributeV1 struct {
	NameStd     string              `json:"name_std"`
	Value       raw                 `json:"value"`
	Description string              `json:"description"`
	ID          gateway.AttributeID `json:"id"`
	Name        string              `json:"name"`
	ValueType   string              `json:"value_type"`
}

// tag is a tag of a contact or a company. One that was deleted while they were read
// has no id, nor has what can't be a name (gateway.IsTagName).
type tag struct {
	ID   *gateway.TagID `json:"id"`
	Name string         `json:"name"`
}

// contactV2 is a contact in version 2, recorded in 2022 with gaps: country to
// resolution and google_url to last_contacted stand where the record only says
// that more came.
type contactV2 struct {
	ID                  gateway.ContactID  `json:"id"`
	UserKey             *string            `json:"user_key"`
	Name                raw                `json:"name"`
	Email               *string            `json:"email"`
	Gender              string             `json:"gender"`
	Status              string             `json:"status"`
	PhoneNumber         raw                `json:"phone_number"`
	Country             raw                `json:"country"`
	Region              raw                `json:"region"`
	City                raw                `json:"city"`
	Timezone            raw                `json:"timezone"`
	LastIP              *string            `json:"last_ip"`
	Browser             raw                `json:"browser"`
	OSType              raw                `json:"os_type"`
	Resolution          raw                `json:"resolution"`
	FirstSeen           stamp              `json:"first_seen"`
	LastSeen            stamp              `json:"last_seen"`
	PageViews           int64              `json:"page_views"`
	Unsubscribed        raw                `json:"unsubscribed"`
	BrowserLanguage     raw                `json:"browser_language"`
	Score               raw                `json:"score"`
	CreatedAt           stamp              `json:"created_at"`
	UpdatedAt           stamp              `json:"updated_at"`
	Companies           []contactCompanyV2 `json:"companies"`
	GravatarURL         raw                `json:"gravatar_url"`
	Lists               []listShape        `json:"lists"`
	Tags                []tag              `json:"tags"`
	Notifications       raw                `json:"notifications"`
	GoogleURL           raw                `json:"google_url"`
	FacebookURL         raw                `json:"facebook_url"`
	LinkedinURL         raw                `json:"linkedin_url"`
	TwitterURL          raw                `json:"twitter_url"`
	LastContacted       raw                `json:"last_contacted"`
	CustomID            *string            `json:"custom_id"`
	WebPushSubscription raw                `json:"web_push_subscription"`
}

// contactCompanyV2 is a company of a contact; custom_id is ours.
type contactCompanyV2 struct {
	Name        *string           `json:"name"`
	ID          gateway.CompanyID `json:"id"`
	MemberSince stamp             `json:"member_since"`
	CustomID    *string           `json:"custom_id"`
}

// companyV1 is a company in version 1 (contract, section 5).
type companyV1 struct {
	ID              gateway.CompanyID `json:"id"`
	Name            *string           `json:"name"`
	Description     raw               `json:"description"`
	Email           raw               `json:"email"`
	Country         raw               `json:"country"`
	Region          raw               `json:"region"`
	City            raw               `json:"city"`
	Address         raw               `json:"address"`
	ApproxEmployees raw               `json:"approx_employees"`
	CreatedAt       stamp             `json:"created_at"`
	UpdatedAt       stamp             `json:"updated_at"`
	PhoneNumbers    raw               `json:"phone_numbers"`
	Attributes      []attributeV1     `json:"attributes"`
	CompanyID       *string           `json:"company_id"`
	PostalCode      raw               `json:"postal_code"`
	Tags            []tag             `json:"tags"`
	ExtraData       raw               `json:"extra_data"`
}

// companyV2 is a company in version 2 (contract, section 5).
type companyV2 struct {
	ID           gateway.CompanyID   `json:"id"`
	Name         *string             `json:"name"`
	Description  raw                 `json:"description"`
	Email        raw                 `json:"email"`
	Country      raw                 `json:"country"`
	Region       raw                 `json:"region"`
	City         raw                 `json:"city"`
	Address      raw                 `json:"address"`
	PostalCode   raw                 `json:"postal_code"`
	Size         raw                 `json:"size"`
	CreatedAt    stamp               `json:"created_at"`
	UpdatedAt    stamp               `json:"updated_at"`
	Tags         []tag               `json:"tags"`
	Employees    []gateway.ContactID `json:"employees"`
	PhoneNumbers raw                 `json:"phone_numbers"`
	CustomID     *string             `json:"custom_id"`
}

// contact shapes a contact. Behind the recorded fields lie flat: in version 1
// the standard attributes that the record has no field for, in version 2 these
// and the custom ones.
func (sh *shaper) contact(v *gateway.ContactView) any {
	b := sh.bag(v.Attributes)
	name, gender, status := b.name(v.Email), b.gender(), b.status(!v.Anonymous())
	unsubscribed, notifications, score := b.or("unsubscribed", "false"), b.or("notifications", "true"), b.or("score", "0")
	if sh.version == v1 {
		o := contactV1{
			ID: v.Contact.ID, Key: orNull(v.Key), Name: name, Email: orNull(v.Email),
			Gender: gender, Status: status, PhoneNumber: b.take("phone_number"),
			FirstSeen: stamp(v.FirstSeen), LastSeen: stamp(v.LastSeen), PageViews: v.PageViews,
			LastIP: orNull(v.LastIP), Timezone: b.take("timezone"),
			City: b.take("city"), Region: b.take("region"), Country: b.take("country"),
			Unsubscribed: unsubscribed, BrowserLanguage: b.take("browser_language"), Score: score,
			Browser: b.take("browser"), OSType: b.take("os_type"), Resolution: b.take("resolution"),
			CreatedAt: stamp(v.CreatedAt), UpdatedAt: stamp(v.UpdatedAt),
			Companies: make([]contactCompanyV1, len(v.Companies)), Attributes: b.attributes(),
			GravatarURL: b.take("gravatar_url"), Lists: shapeLists(v.Lists), Tags: b.tags(),
			Notifications: notifications, FacebookURL: b.take("facebook_url"),
			LinkedinURL: b.take("linkedin_url"), TwitterURL: b.take("twitter_url"),
			GoogleURL: b.take("google_url"),
			UserID:    orNull(v.CustomID),
		}
		for i, c := range v.Companies {
			o.Companies[i] = contactCompanyV1{stamp(c.Since), c.CompanyID, orNull(c.Name), orNull(c.CustomID)}
		}
		return extended{o, b.rest(contactV1Fields, false)}
	}
	o := contactV2{
		ID: v.Contact.ID, UserKey: orNull(v.Key), Name: name, Email: orNull(v.Email),
		Gender: gender, Status: status, PhoneNumber: b.take("phone_number"),
		Country: b.take("country"), Region: b.take("region"), City: b.take("city"),
		Timezone: b.take("timezone"), LastIP: orNull(v.LastIP),
		Browser: b.take("browser"), OSType: b.take("os_type"), Resolution: b.take("resolution"),
		FirstSeen: stamp(v.FirstSeen), LastSeen: stamp(v.LastSeen), PageViews: v.PageViews,
		Unsubscribed: unsubscribed, BrowserLanguage: b.take("browser_language"), Score: score,
		CreatedAt: stamp(v.CreatedAt), UpdatedAt: stamp(v.UpdatedAt),
		Companies:   make([]contactCompanyV2, len(v.Companies)),
		GravatarURL: b.take("gravatar_url"), Lists: shapeLists(v.Lists), Tags: b.tags(),
		Notifications: notifications, GoogleURL: b.take("google_url"),
		FacebookURL: b.take("facebook_url"), LinkedinURL: b.take("linkedin_url"),
		TwitterURL: b.take("twitter_url"),
		CustomID:   orNull(v.CustomID),
	}
	for i, c := range v.Companies {
		o.Companies[i] = contactCompanyV2{orNull(c.Name), c.CompanyID, stamp(c.Since), orNull(c.CustomID)}
	}
	return extended{o, b.rest(contactV2Fields, true)}
}

// company shapes a company. employees (the newest gateway.MaxEmployees) is
// recorded in version 2 only; version 1 has it at the end, and both end with
// employees_count, the number of all of them.
func (sh *shaper) company(v *gateway.CompanyView) any {
	b := sh.bag(v.Attributes)
	employees := v.Employees
	if employees == nil {
		employees = []gateway.ContactID{}
	}
	count := member{"employees_count", v.EmployeesCount}
	if sh.version == v1 {
		o := companyV1{
			ID: v.ID, Name: orNull(v.Name), Description: b.take("description"), Email: b.take("email"),
			Country: b.take("country"), Region: b.take("region"), City: b.take("city"), Address: b.take("address"),
			ApproxEmployees: b.take("approx_employees"), CreatedAt: stamp(v.CreatedAt), UpdatedAt: stamp(v.UpdatedAt),
			PhoneNumbers: b.list("phone_numbers"), Attributes: b.attributes(), CompanyID: orNull(v.CustomID),
			PostalCode: b.take("postal_code"), Tags: b.tags(), ExtraData: b.or("extra_data", "[]"),
		}
		return extended{o, append(b.rest(companyV1Fields, false), member{"employees", employees}, count)}
	}
	o := companyV2{
		ID: v.ID, Name: orNull(v.Name), Description: b.take("description"), Email: b.take("email"),
		Country: b.take("country"), Region: b.take("region"), City: b.take("city"), Address: b.take("address"),
		PostalCode: b.take("postal_code"), Size: b.take("size"),
		CreatedAt: stamp(v.CreatedAt), UpdatedAt: stamp(v.UpdatedAt), Tags: b.tags(),
		Employees: employees, PhoneNumbers: b.list("phone_numbers"), CustomID: orNull(v.CustomID),
	}
	return extended{o, append(b.rest(companyV2Fields, true), count)}
}

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

// bag is the attributes of one object while it is shaped: what a field takes
// is not shown again behind them.
type bag struct {
	*shaper
	attrs gateway.Attributes
	taken []bool
}

func (sh *shaper) bag(a gateway.Attributes) *bag {
	return &bag{sh, a, make([]bool, len(a))}
}

// value takes the standard attribute of the name.
func (b *bag) value(name string) (gateway.Value, bool) {
	if b.defs[name] != nil {
		return gateway.Value{}, false // a custom one that has the name of a field
	}
	for i := range b.attrs {
		if b.attrs[i].Name == name {
			b.taken[i] = true
			return b.attrs[i].Value, true
		}
	}
	return gateway.Value{}, false
}

func (b *bag) take(name string) raw {
	v, ok := b.value(name)
	if !ok {
		return nil
	}
	return raw(v.Raw)
}

// or takes the attribute, or a default.
func (b *bag) or(name, otherwise string) raw {
	if r := b.take(name); r != nil {
		return r
	}
	return raw(otherwise)
}

// list takes an attribute as a list: a single value is a list of one.
func (b *bag) list(name string) raw {
	v, ok := b.value(name)
	switch {
	case !ok:
		return raw("[]")
	case v.Type == gateway.TypeList:
		return raw(v.Raw)
	}
	return raw("[" + v.Raw + "]")
}

func (b *bag) tags() []tag {
	tags := []tag{}
	if v, ok := b.value("tags"); ok {
		for _, item := range gateway.Items(v) {
			t := tag{Name: gateway.Text(item)}
			if id, ok := b.shaper.tags[t.Name]; ok {
				t.ID = &id
			}
			tags = append(tags, t)
		}
	}
	return tags
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
func (b *bag) name(email string) raw {
	full, ok := b.value("name")
	if ok && gateway.Text(full) != "" {
		return raw(full.Raw)
	}
	first, _ := b.attrs.Get("first_name")
	last, _ := b.attrs.Get("last_name")
	name := strings.TrimSpace(gateway.Text(first) + " " + gateway.Text(last))
	if name == "" {
		name = email
	}
	if name == "" {
		return nil
	}
	return raw(gateway.TextValue(name).Raw)
}

// attributes are the custom ones, by name.
func (b *bag) attributes() []attributeV1 {
	out := []attributeV1{}
	for _, a := range b.attrs {
		if d := b.defs[a.Name]; d != nil {
			out = append(out, attributeV1{d.Name, raw(a.Value.Raw), d.Description, d.ID, d.Label, valueTypeOf(d)})
		}
	}
	return out
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

// rest is what no field has taken: the standard attributes, and the custom
// ones if they are to lie flat.
func (b *bag) rest(fields map[string]bool, custom bool) []member {
	var out []member
	for i, a := range b.attrs {
		d := b.defs[a.Name]
		if b.taken[i] || d != nil && !custom {
			continue
		}
		label := a.Name
		if d != nil {
			label = d.Label
		}
		out = append(out, member{freeName(fields, out, a.Name, label), raw(a.Value.Raw)})
	}
	return out
}

// freeName is the key under which an attribute lies flat in an object: its
// name, or its label where a field has the name, or "custom_" and the name
// where the label is taken as well.
func freeName(fields map[string]bool, others []member, name, label string) string {
	free := func(key string) bool {
		for _, m := range others {
			if m.name == key {
				return false
			}
		}
		return key != "" && !fields[key]
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

var (
	contactV1Fields = fieldsOf(reflect.TypeFor[contactV1]())
	contactV2Fields = fieldsOf(reflect.TypeFor[contactV2]())
	companyV1Fields = fieldsOf(reflect.TypeFor[companyV1](), "employees", "employees_count")
	companyV2Fields = fieldsOf(reflect.TypeFor[companyV2](), "employees_count")
)

// fieldsOf are the names that an object has in any case.
func fieldsOf(t reflect.Type, more ...string) map[string]bool {
	fields := make(map[string]bool, t.NumField()+len(more))
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("json")] = true
	}
	for _, name := range more {
		fields[name] = true
	}
	return fields
}

// extended is an object with members behind those of a struct.
type extended struct {
	object  any
	members []member
}

type member struct {
	name  string
	value any
}

// MarshalJSON writes the struct's members, then the others in their order.
func (e extended) MarshalJSON() ([]byte, error) {
	w := newJSONWriter()
	err := w.extended(&e)
	return w.b.Bytes(), err
}

func (w *jsonWriter) extended(e *extended) error {
	if err := w.write(e.object); err != nil {
		return err
	}
	w.b.Truncate(w.b.Len() - len("}"))
	for _, m := range e.members {
		w.b.WriteByte(',')
		if err := w.write(m.name); err != nil {
			return err
		}
		w.b.WriteByte(':')
		if err := w.write(m.value); err != nil {
			return err
		}
	}
	w.b.WriteByte('}')
	return nil
}

// stamp is an instant as the vendor writes it: UTC, with microseconds; the
// zero one is null.
type stamp time.Time

// MarshalJSON writes "2018-10-29T20:00:32.471199Z".
func (t stamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	const layout = `"2006-01-02T15:04:05.000000Z"`
	return time.Time(t).UTC().AppendFormat(make([]byte, 0, len(layout)), layout), nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
