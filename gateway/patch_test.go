package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// patched is a patch in the words of a test.
type patched struct {
	CustomID, Email, Name string // "-" if it is not in the patch
	Attributes            string // name=JSON, in order
	Companies             string // id/custom id, in order
}

func orDash(s *string) string {
	if s == nil {
		return "-"
	}
	return *s
}

func attributeTexts(attrs []gateway.PayloadAttribute) string {
	texts := make([]string, len(attrs))
	for i, a := range attrs {
		texts[i] = a.Name + "=" + a.Value.Raw
	}
	return strings.Join(texts, " ")
}

// messages is what an error says of each field.
func messages(err error) string {
	var e *gateway.Error
	if !errors.As(err, &e) {
		return ""
	}
	var all []string
	for _, e := range append([]*gateway.Error{e}, e.Also...) {
		all = append(all, e.Field+": "+e.Message)
	}
	return strings.Join(all, " | ")
}

func TestParseContactPatch(t *testing.T) {
	t.Parallel()
	none := patched{CustomID: "-", Email: "-", Name: "-"}
	with := func(change func(p *patched)) patched {
		p := none
		change(&p)
		return p
	}
	attrs := func(s string) patched { return with(func(p *patched) { p.Attributes = s }) }
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		body string
		v2   bool
		want patched
		err  string
	}{
		{body: ``, want: none},
		{body: `{}`, want: none},
		{body: `{"id":5,"key":"ngze13ffndcv","user_key":"x","created_at":1,"updated_at":null,"companies":[],"company":{},"lists":[],"page_views":3,"last_ip":"x","first_seen":"x","last_seen":"x","last_contacted":1,"chat_id":1,"web_push_subscription":{}}`, want: none},

		{body: `{"user_id":"42"}`, want: with(func(p *patched) { p.CustomID = "42" })},
		{body: `{"user_id":42.0}`, want: with(func(p *patched) { p.CustomID = "42" })},
		{body: `{"user_id":null}`, want: with(func(p *patched) { p.CustomID = "" })},
		{body: `{"user_id":" a@b "}`, v2: true, want: with(func(p *patched) { p.CustomID = "a@b" })},
		{body: `{"custom_id":"2","user_id":"1"}`, want: with(func(p *patched) { p.CustomID = "1" })},
		{body: `{"custom_id":"2","user_id":"1"}`, v2: true, want: with(func(p *patched) { p.CustomID = "2" })},
		{body: `{"custom_id":"2","user_id":""}`, want: with(func(p *patched) { p.CustomID = "2" })},
		{body: `{"user_id":true}`, want: none, err: `user_id: Not a valid string.`},
		{body: `{"user_id":"a\u0007b"}`, want: none, err: `user_id: Control characters are not allowed.`},
		{body: `{"user_id":"{{ user.id }}"}`, want: none, err: `user_id: "{{ user.id }}" is a sample or an unfilled template. Send the real id.`},
		{body: `{"user_id":"` + long + `"}`, want: none, err: `user_id: Ensure this field has no more than 255 bytes.`},

		{body: `{"email":" Ada@Acme.test "}`, want: with(func(p *patched) { p.Email = "Ada@Acme.test" })},
		{body: `{"email":null}`, want: with(func(p *patched) { p.Email = "" })},
		{body: `{"email":""}`, want: with(func(p *patched) { p.Email = "" })},
		{body: `{"email":"nobody"}`, want: none, err: `email: Enter a valid email address.`},
		{body: `{"email":[]}`, want: none, err: `email: Not a valid string.`},

		{body: `{"company_id":7}`, want: with(func(p *patched) { p.Companies = "0/7" })},
		{body: `{"company_id":7}`, v2: true, want: with(func(p *patched) { p.Companies = "7/" })},
		{body: `{"company_id":"7"}`, v2: true, want: with(func(p *patched) { p.Companies = "7/" })},
		{body: `{"company_id":"c7"}`, v2: true, want: none, err: `company_id: A valid integer is required.`},
		{body: `{"company_id":0}`, v2: true, want: none, err: `company_id: A valid integer is required.`},
		{body: `{"company_custom_id":"c7","company_id":null}`, v2: true, want: with(func(p *patched) { p.Companies = "0/c7" })},

		{body: `{"gender":2,"status":"user","score":"7","unsubscribed":"true","city":"Łódź"}`, want: attrs(`gender=2 status=2 score=7 unsubscribed=true city="Łódź"`)},
		{body: `{"gender":"Female","notifications":0,"country":12}`, want: attrs(`gender=3 notifications=false country="12"`)},
		{body: `{"gender":"","score":"","unsubscribed":"","city":"","phone_number":""}`, want: attrs(`gender=null score=null unsubscribed=null city="" phone_number=""`)},
		{body: `{"city":null,"gender":null}`, want: attrs(`city=null gender=null`)},
		{body: `{"phone_number":"600 700 800"}`, want: attrs(`phone_number="600 700 800"`)},
		{body: `{"gender":"invalid","status":9,"score":1.5,"unsubscribed":"perhaps","city":{},"phone_number":"call me","source_context":1,"email":"x"}`, want: none,
			err: `gender: "invalid" is not a valid choice. | status: "9" is not a valid choice. | score: A valid integer is required. | unsubscribed: Must be a valid boolean. | city: Not a valid string. | phone_number: Enter a valid phone number. | source_context: Expected a dictionary of items but got type "int". | email: Enter a valid email address.`},

		{body: `{"tags":["a","b","a",7]}`, want: attrs(`tags=["a","b","7"]`)},
		{body: `{"tags":"a, b,,a"}`, want: attrs(`tags=["a","b"]`)},
		{body: `{"tags":[{"id":null,"name":"a"},{"name":"b"}]}`, want: attrs(`tags=["a","b"]`)},
		{body: `{"tags":null}`, want: attrs(`tags=[]`)},
		{body: `{"tags":[]}`, want: attrs(`tags=[]`)},
		{body: `{"tags":{"a":1}}`, want: none, err: `tags: Expected a list of items but got type "dict".`},
		{body: `{"tags":[["a"]]}`, want: none, err: `tags: Not a valid string.`},

		{body: `{"Plan":"x","First name":"y","b":true,"n":1e2,"d":"2026-01-02","o":{"a":[1]}}`, want: attrs(`plan="x" custom_first_name="y" b=true n=100 d="2026-01-02" o={"a":[1]}`)},
		{body: `{"plan":1,"Plan":2}`, want: attrs(`plan=2`)},
		{body: `{"a":1,"a":2}`, want: attrs(`a=2`)},
		{body: `{"a":"0001-01-01T00:00:00","b":"0001-01-01","c":"0001-01-01T00:00:00+01:00","d":"0001-01-01 00:00:00.000Z","e":"0001-01-01T00:00:01Z","f":"0001-01-011"}`,
			want: attrs(`a=null b=null c=null d=null e="0001-01-01T00:00:01Z" f="0001-01-011"`)},
		{body: `{"attributes":[{"name_std":"plan","value":"x","id":3,"name":"The plan"},{"name":"Shoe size","value":42},{"name_std":"gone"}]}`, want: attrs(`plan="x" shoe_size=42 gone=null`)},
		{body: `{"attributes":{"plan":"x","email":"custom"}}`, want: attrs(`plan="x"`)},
		{body: `{"attributes":null}`, want: none},
		{body: `{"attributes":5}`, want: none, err: `attributes: Expected a list of items but got type "int".`},
		{body: `{"attributes":[5]}`, want: none, err: `attributes: Invalid data. Expected a dictionary, but got int.`},
		{body: `{"attributes":[{"value":5}]}`, want: none, err: `attributes: Each attribute needs name_std and value.`},
		{body: `{"__proto__":1,"??":2}`, want: none, err: `__proto__: This can't be the name of an attribute: a name needs a letter or a digit. | ??: This can't be the name of an attribute: a name needs a letter or a digit.`},
		{body: `{"` + long + `":1}`, want: none, err: long[:255] + `: Ensure the name has no more than 255 bytes.`},
		{body: `{"a":` + strings.Repeat("[", 6) + strings.Repeat("]", 6) + `}`, want: none, err: `a: Ensure this value is nested no more than 5 levels deep.`},
		{body: `{"a":"` + strings.Repeat("x", 8193) + `","b":1e999}`, want: none, err: `a: Ensure this value has no more than 8192 bytes. | b: A valid number is required.`},
		{body: `{` + strings.Repeat(`"x":0,`, 300) + `"x":1}`, want: attrs(`x=1`)},

		{body: `[]`, want: none, err: `: Invalid data. Expected a dictionary, but got list.`},
		{body: `{"a":`, want: none, err: `: JSON parse error - the text ends at byte 5`},
	} {
		name := tt.body
		if len(name) > 60 {
			name = name[:60]
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var p gateway.ContactPatch
			fields, err := gateway.ParseFields([]byte(tt.body))
			if err == nil {
				p, err = gateway.ParseContactPatch(fields, tt.v2)
			}
			if got := messages(err); got != tt.err {
				t.Fatalf("error %q, want %q", got, tt.err)
			}
			if err != nil {
				return
			}
			got := patched{CustomID: orDash(p.CustomID), Email: orDash(p.Email), Name: "-", Attributes: attributeTexts(p.Attributes)}
			for _, c := range p.Companies {
				got.Companies += fmt.Sprintf("%d/%s", c.ID, c.CustomID)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
			if p.Key != "" || p.KeepTags {
				t.Errorf("key %q, keep tags %t", p.Key, p.KeepTags)
			}
		})
	}
}

func TestParseCompanyPatch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		body string
		v2   bool
		want patched
		err  string
	}{
		{body: `{"id":5,"employees":[1,2],"employees_count":2,"created_at":"x","member_since":1}`, want: patched{CustomID: "-", Name: "-"}},
		{body: `{"name":" Acme ","company_id":"c7","phone_numbers":["+48123","b"],"tags":"a","employees":32}`,
			want: patched{CustomID: "c7", Name: "Acme", Attributes: `phone_numbers=["+48123","b"] tags=["a"] employees=32`}},
		{body: `{"name":"","custom_id":"1","company_custom_id":"2","company_id":"3"}`, v2: true, want: patched{CustomID: "1"}},
		{body: `{"name":null,"company_custom_id":"2","company_id":"3"}`, v2: true, want: patched{CustomID: "2"}},
		{body: `{"name":7,"custom_id":"1","company_id":3}`, want: patched{CustomID: "3", Name: "7"}},
		{body: `{"email":"not checked","approx_employees":"40"}`, want: patched{CustomID: "-", Name: "-", Attributes: `email="not checked" approx_employees=40`}},
		{body: `{"name":{},"approx_employees":"many","phone_numbers":{}}`, err: `name: Not a valid string. | approx_employees: A valid integer is required. | phone_numbers: Expected a list of items but got type "dict".`},
	} {
		t.Run(tt.body, func(t *testing.T) {
			t.Parallel()
			fields, err := gateway.ParseFields([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			p, err := gateway.ParseCompanyPatch(fields, tt.v2)
			if got := messages(err); got != tt.err {
				t.Fatalf("error %q, want %q", got, tt.err)
			}
			if err != nil {
				return
			}
			got := patched{CustomID: orDash(p.CustomID), Name: orDash(p.Name), Attributes: attributeTexts(p.Attributes)}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("patch (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPatchBounds: however much is sent, a patch holds no more than it may, and an error
// no more than can be read.
func TestPatchBounds(t *testing.T) {
	t.Parallel()
	var fields []gateway.Field
	for i := range 1000 {
		fields = append(fields, gateway.Field{Name: fmt.Sprintf("attribute%d", i), Value: []byte("1")})
	}
	_, err := gateway.ParseContactPatch(fields, true)
	if got := messages(err); got != ": Send at most 200 custom attributes at once." {
		t.Errorf("error %q", got)
	}
	if p, err := gateway.ParseContactPatch(fields[:200], true); err != nil || len(p.Attributes) != 200 {
		t.Errorf("%d attributes, %v", len(p.Attributes), err)
	}
	for i := range fields {
		fields[i].Value = []byte("1e999")
	}
	var e *gateway.Error
	if _, err := gateway.ParseContactPatch(fields, true); !errors.As(err, &e) || len(e.Also) != 49 {
		t.Errorf("%v names %d more fields", err, len(e.Also))
	}
	if _, err := gateway.ParseContactPatch([]gateway.Field{{Name: "a", Value: []byte("{")}}, true); messages(err) != "a: Value must be valid JSON." {
		t.Errorf("broken value: %v", err)
	}
}

// FuzzParsePatch checks what holds of every patch, whatever came.
func FuzzParsePatch(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"user_id":"1","email":"a@b.test","gender":2,"tags":["a"],"company_id":7,"attributes":[{"name_std":"a","value":1}]}`,
		`{"attributes":{"a":{"b":[1]}},"name":"x","employees":[1],"tags":[{"name":"x"}],"d":"0001-01-01T00:00:00"}`,
		"{\"a\":\"\xff\\ud800\\u0000\",\"\\u0000\":1}", `{"a":` + nested(100) + `}`, `{"score":""}`, `[{}]`, `{"a":1,"a":`, "\uFEFF{}",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, v2 bool) {
		fields, err := gateway.ParseFields(body)
		if err != nil {
			if code := gateway.CodeOf(err); fields != nil || code != gateway.CodeInvalid && code != gateway.CodeInvalidPayload {
				t.Errorf("%v, %v", fields, err)
			}
			return
		}
		var names []string
		for _, field := range fields {
			if !json.Valid(field.Value) || slices.Contains(names, field.Name) {
				t.Errorf("field %q: %s", field.Name, field.Value)
			}
			if len(names) < 100 {
				names = append(names, field.Name)
			}
		}
		contact, err := gateway.ParseContactPatch(fields, v2)
		checkPatch(t, err, gateway.EntityContact, contact.CustomID, contact.Attributes)
		if err == nil && contact.Email != nil && *contact.Email != "" {
			if _, _, ok := gateway.NormalizeEmail(*contact.Email); !ok {
				t.Errorf("e-mail %q", *contact.Email)
			}
		}
		company, err := gateway.ParseCompanyPatch(fields, v2)
		checkPatch(t, err, gateway.EntityCompany, company.CustomID, company.Attributes)
	})
}

func checkPatch(t *testing.T, err error, entity gateway.Entity, customID *string, attrs []gateway.PayloadAttribute) {
	t.Helper()
	if err != nil {
		var e *gateway.Error
		if !errors.As(err, &e) {
			t.Fatalf("%v is no *Error", err)
		}
		for _, e := range append([]*gateway.Error{e}, e.Also...) {
			if e.Code != gateway.CodeInvalid || e.Message == "" || !utf8.ValidString(e.Message) || len(e.Field) > gateway.MaxName {
				t.Errorf("error %+v", e)
			}
		}
		return
	}
	if customID != nil && (len(*customID) > gateway.MaxID || !utf8.ValidString(*customID) || strings.ContainsAny(*customID, "\x00\n") || strings.TrimSpace(*customID) != *customID) {
		t.Errorf("own id %q", *customID)
	}
	seen := make(map[string]bool)
	custom := 0
	for _, a := range attrs {
		if seen[a.Name] || a.Name == "" || len(a.Name) > gateway.MaxName || len(a.Label) > gateway.MaxName || len(a.Value.Raw) > gateway.MaxValue || !json.Valid([]byte(a.Value.Raw)) {
			t.Errorf("attribute %+v", a)
		}
		seen[a.Name] = true
		if s, ok := gateway.Standard(entity, a.Name); ok {
			if !a.Value.IsNull() && a.Value.Type != s.Type {
				t.Errorf("standard attribute %+v", a)
			}
			continue
		}
		if custom++; gateway.StandardName(a.Name) != a.Name {
			t.Errorf("custom attribute %+v", a)
		}
	}
	if custom > gateway.MaxKeys {
		t.Errorf("%d custom attributes", custom)
	}
}
