package storetest

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"civgate/gateway"
)

func testAPIKey(t *testing.T, b *bundle) {
	widget := gateway.APIKey{Kind: gateway.KeyWidget, Secret: "W1", Name: "shop", Scope: gateway.ScopeAdmin, CreatedAt: at(1)}
	read := gateway.APIKey{Kind: gateway.KeyREST, Secret: "aa", Name: `Zapier "live" ✓`, Scope: gateway.ScopeRead, CreatedAt: at(2)}
	old := gateway.APIKey{Kind: gateway.KeyREST, Secret: "bb", CreatedAt: at(3)}
	w := b.workspace("Keys", widget, old)
	if err := b.AddAPIKey(b.ctx, w, read); err != nil {
		t.Fatal(err)
	}
	widget.Scope = "" // of a token only
	old.Scope = gateway.ScopeAdmin
	for _, k := range []*gateway.APIKey{&widget, &read, &old} {
		k.WorkspaceID = w
		equal(t, "key "+k.Secret, must[gateway.APIKey](t)(b.APIKey(b.ctx, k.Kind, k.Secret)), *k)
	}
	equal(t, "keys", must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, w)), []gateway.APIKey{widget, read, old})
	for _, c := range []struct {
		kind   gateway.KeyKind
		secret string
	}{{gateway.KeyREST, "W1"}, {gateway.KeyREST, "AA"}, {gateway.KeyREST, ""}, {"", "aa"}} {
		_, err := b.APIKey(b.ctx, c.kind, c.secret)
		wantCode(t, fmt.Sprintf("key %q %q", c.kind, c.secret), err, gateway.CodeNotFound)
	}
	odd := gateway.APIKey{Kind: gateway.KeyREST, Secret: "cc", Scope: "root"}
	wantCode(t, "odd scope", b.AddAPIKey(b.ctx, w, odd), gateway.CodeInvalid)
	_, err := b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Odd"}, odd)
	wantCode(t, "odd scope of a new workspace", err, gateway.CodeInvalid)
	_, err = b.APIKey(b.ctx, gateway.KeyREST, "cc")
	wantCode(t, "key with an odd scope", err, gateway.CodeNotFound)
}

func testMembers(t *testing.T, b *bundle) {
	acme, other := b.newCompany("c1", "Acme"), b.newCompany("c2", "Other")
	c := &gateway.Changes{NewCompanies: []*gateway.Company{acme, other}}
	var all []gateway.MemberView // in the order in which they are listed
	const members = 25
	for i := range members {
		x := b.newContact(fmt.Sprint("u", i))
		switch i % 4 {
		case 0:
			x.Attributes.Set("name", text(fmt.Sprint("Ada ", i)))
		case 1:
			x.CustomID = ""
			x.Attributes.Set("name", gateway.TextValue("O\"Neil \\ ✓"))
		case 2:
			x.Email, x.EmailKey = fmt.Sprintf("A%d@x.test", i), fmt.Sprintf("a%d@x.test", i)
			x.Attributes.Set("other", text(`\"name\":`))
		case 3:
			x.EmailKey = fmt.Sprintf("a%d@x.test", i)
			x.Email = x.EmailKey
			x.Attributes.Set("first_name", text("name"))
		}
		// Several at the same time.
		m := gateway.Membership{WorkspaceID: b.w, ContactID: x.ID, CompanyID: acme.ID, Source: gateway.SourceAPI, Primary: i%2 == 0, Since: at(i / 5), By: fmt.Sprint("token ", i)}
		elsewhere := m
		elsewhere.CompanyID, elsewhere.Primary = other.ID, false
		former := m
		former.Since, former.Until = at(i/5-100), at(-50+i)
		c.NewContacts = append(c.NewContacts, x)
		c.NewMemberships = append(c.NewMemberships, m, former)
		if i == 3 {
			c.NewMemberships = append(c.NewMemberships, elsewhere)
		}
		name, _ := x.Attributes.Get("name")
		all = append(all, gateway.MemberView{Membership: m, CustomID: x.CustomID, Email: x.Email, Name: gateway.Text(name)})
	}
	b.save(c)
	slices.SortFunc(all, func(x, y gateway.MemberView) int {
		if o := y.Since.Compare(x.Since); o != 0 {
			return o
		}
		return int(y.ContactID - x.ContactID)
	})
	formers := slices.Clone(all)
	for i := range formers {
		f := &formers[i].Membership
		f.Since, f.Until = f.Since.Add(-100*time.Second), at(-50+slices.IndexFunc(c.NewContacts, func(x *gateway.Contact) bool { return x.ID == f.ContactID }))
	}
	for _, former := range []bool{false, true} {
		want := all
		if former {
			want = formers
		}
		for _, limit := range []int{1, 4, 5, members, members + 1} {
			var got []gateway.MemberView
			q := gateway.MemberQuery{Former: former, Limit: limit}
			for {
				page := must[[]gateway.MemberView](t)(b.Members(b.ctx, b.w, acme.ID, q))
				if len(page) > limit {
					t.Fatalf("a page of %d has %d members", limit, len(page))
				}
				if len(page) == 0 {
					break
				}
				got = append(got, page...)
				last := page[len(page)-1]
				q.BeforeSince, q.BeforeContact = last.Since, last.ContactID
			}
			equal(t, fmt.Sprintf("former %v, pages of %d", former, limit), got, want)
		}
	}
	equal(t, "no room", len(must[[]gateway.MemberView](t)(b.Members(b.ctx, b.w, acme.ID, gateway.MemberQuery{}))), 0)
	got := must[[]gateway.MemberView](t)(b.Members(b.ctx, b.w, other.ID, gateway.MemberQuery{Limit: 9}))
	if len(got) != 1 || got[0].ContactID != c.NewContacts[3].ID || got[0].CompanyID != other.ID {
		t.Errorf("members of the other company: %v", got)
	}
	_, err := b.Members(b.ctx, b.w, acme.ID+1000, gateway.MemberQuery{Limit: 9})
	wantCode(t, "members of no company", err, gateway.CodeNotFound)
	_, err = b.Members(b.ctx, b.workspace("Strangers"), acme.ID, gateway.MemberQuery{Limit: 9})
	wantCode(t, "members of another workspace's company", err, gateway.CodeNotFound)

	// A page stays where it was while members come and go.
	q := gateway.MemberQuery{Limit: 10}
	first := must[[]gateway.MemberView](t)(b.Members(b.ctx, b.w, acme.ID, q))
	late := b.newContact("late")
	ended := first[9].Membership
	ended.Until = at(900)
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{late}, EndedMemberships: []gateway.Membership{ended},
		NewMemberships: []gateway.Membership{{WorkspaceID: b.w, ContactID: late.ID, CompanyID: acme.ID, Source: gateway.SourceAPI, Since: at(800)}}})
	q.BeforeSince, q.BeforeContact = first[9].Since, first[9].ContactID
	equal(t, "the second page", must[[]gateway.MemberView](t)(b.Members(b.ctx, b.w, acme.ID, q)), all[10:20])
}

func number(raw string) gateway.Value { return gateway.Value{Type: gateway.TypeNumber, Raw: raw} }
func list(raw string) gateway.Value   { return gateway.Value{Type: gateway.TypeList, Raw: raw} }

// found is the names (custom ids) of what a query finds, in order.
func (b *bundle) found(where ...gateway.Condition) []string {
	b.t.Helper()
	views, err := b.FindContacts(b.ctx, b.w, gateway.Query{Where: where, Limit: 1000})
	if err != nil {
		b.t.Fatalf("find %v: %v", where, err)
	}
	names := []string{}
	for _, v := range views {
		names = append(names, v.CustomID)
	}
	return names
}

// testConditions asks one attribute of contacts and companies all sorts of
// things.
func testConditions(t *testing.T, b *bundle) {
	long := strings.Repeat("x", 8000)
	values := []struct {
		name  string
		value gateway.Value
	}{
		{"plain", text("Hello World")}, {"lower", text("hello world")}, {"empty", text("")}, {"quotes", gateway.TextValue(`say "hi" \ there`)},
		{"percent", text("100% sure")}, {"underscore", text("a_b")}, {"letter", text("axb")}, {"bang", text("wow!")},
		{"polish", text("ŁUKASZ Żółć")}, {"polish lower", text("łukasz żółć")}, {"kelvin", text("\u212A")}, {"cyrillic", text("Привет")}, {"emoji", text("🙂 ok")},
		{"control", gateway.TextValue("line\nbreak\ttab")}, {"separator", gateway.TextValue("a\u2028b<c>&d")}, {"long", text(long + "y")},
		{"five", number("5")}, {"minus", number("-5")}, {"half", number("5.5")}, {"zero", number("0")},
		{"big", number("12345678901234567890")}, {"bigger", number("12345678901234567891")}, {"tiny", number("1e-300")}, {"huge", number("1.5e+300")},
		{"text five", text("5")}, {"true", gateway.BoolValue(true)}, {"false", gateway.BoolValue(false)}, {"text true", text("true")},
		{"date", gateway.DateValue(time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC))},
		{"moment", gateway.DatetimeValue(time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC))},
		{"moment and a half", gateway.DatetimeValue(time.Date(2026, 3, 4, 5, 6, 7, 500_000_000, time.UTC))},
		{"list", list(`["red","Green",7,true]`)}, {"empty list", list(`[]`)}, {"object", gateway.Value{Type: gateway.TypeJSON, Raw: `{"a":"red","v":"Hello World"}`}},
		{"nested", gateway.Value{Type: gateway.TypeJSON, Raw: `[["red"]]`}}, {"spelled", text("2026-03-04 05:06:07")},
	}
	fields := []string{"v", `we"ird\ 100%_!'); DROP TABLE contacts;--`, "ключ", "name", "status"}
	for i, field := range fields {
		w := b.workspace(fmt.Sprint("conditions ", i))
		x := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: w}
		c := &gateway.Changes{NewContacts: []*gateway.Contact{x.newContact("lacks it")}, NewCompanies: []*gateway.Company{x.newCompany("lacks it", "")}}
		for _, v := range values {
			contact, company := x.newContact(v.name), x.newCompany(v.name, "")
			contact.Attributes.Set(field, v.value)
			contact.Attributes.Set("decoy", text("Hello World"))
			company.Attributes = contact.Attributes.Clone()
			c.NewContacts, c.NewCompanies = append(c.NewContacts, contact), append(c.NewCompanies, company)
		}
		x.save(c)
		date, when := values[28].value, values[29].value
		for _, q := range []struct {
			op    gateway.Op
			value gateway.Value
			want  string
		}{
			{gateway.OpEqual, text("Hello World"), "plain"},
			{gateway.OpEqual, text("hello World"), ""},
			{gateway.OpEqual, text("Hello"), ""},
			{gateway.OpEqual, text(""), "empty"},
			{gateway.OpEqual, gateway.TextValue(`say "hi" \ there`), "quotes"},
			{gateway.OpEqual, text("a_b"), "underscore"},
			{gateway.OpEqual, text("a%b"), ""},
			{gateway.OpEqual, text("ŁUKASZ Żółć"), "polish"},
			{gateway.OpEqual, gateway.TextValue("line\nbreak\ttab"), "control"},
			{gateway.OpEqual, gateway.TextValue("a\u2028b<c>&d"), "separator"},
			{gateway.OpEqual, text(long + "y"), "long"},
			{gateway.OpEqual, text(strings.Repeat("z", 100_000)), ""},
			{gateway.OpEqual, gateway.Value{Type: gateway.TypeText, Raw: "\"a\x00b\""}, ""},
			{gateway.OpEqual, gateway.Value{Type: gateway.TypeText, Raw: "\"\xff\""}, ""},
			{gateway.OpEqual, gateway.Null, ""},
			{gateway.OpContains, text("lo Wo"), "plain"},
			{gateway.OpContains, text("lo wo"), "lower"},
			{gateway.OpContains, text("%"), "percent"},
			{gateway.OpContains, text("_"), "underscore"},
			{gateway.OpContains, text("!"), "bang"},
			{gateway.OpContains, gateway.TextValue(`"`), "quotes"},
			{gateway.OpContains, gateway.TextValue(`\`), "quotes"},
			{gateway.OpContains, gateway.TextValue("\n"), "control"},
			{gateway.OpContains, text("n"), "control, list"},
			{gateway.OpContains, text("ółć"), "polish, polish lower"},
			{gateway.OpContains, text("🙂"), "emoji"},
			{gateway.OpContains, text("xy"), "long"},
			{gateway.OpContains, text("red"), "list"},
			{gateway.OpContains, number("5"), ""},
			{gateway.OpContains, text("5"), "text five, moment, moment and a half, spelled"},
			{gateway.OpContains, gateway.Value{Type: gateway.TypeText, Raw: "\"\xff\""}, ""},
			{gateway.OpIContains, text("LO WO"), "plain, lower"},
			{gateway.OpIContains, text("ŁUK"), "polish, polish lower"},
			{gateway.OpIContains, text("łuk"), "polish, polish lower"},
			{gateway.OpIContains, text("ПРИВ"), "cyrillic"},
			{gateway.OpIContains, text("\u212A"), "kelvin"},
			{gateway.OpIContains, text("GREEN"), "list"},
			{gateway.OpIContains, text("A_B"), "underscore"},
			{gateway.OpIContains, text("XY"), "long"},
			{gateway.OpStartsWith, text("Hello"), "plain"},
			{gateway.OpStartsWith, text("World"), ""},
			{gateway.OpStartsWith, text("a_"), "underscore"},
			{gateway.OpIStartsWith, text("HELLO"), "plain, lower"},
			{gateway.OpIStartsWith, text("gr"), "list"},
			{gateway.OpEndsWith, text("World"), "plain"},
			{gateway.OpEndsWith, text("Hello"), ""},
			{gateway.OpEndsWith, text("sure"), "percent"},
			{gateway.OpIEndsWith, text("WORLD"), "plain, lower"},
			{gateway.OpIEndsWith, text("ŻÓŁĆ"), "polish, polish lower"},
			{gateway.OpEqual, number("5"), "five"},
			{gateway.OpEqual, number("7"), "list"},
			{gateway.OpEqual, text("5"), "text five"},
			{gateway.OpEqual, number("12345678901234567890"), "big"},
			{gateway.OpGreater, number("12345678901234567890"), "bigger, huge"},
			{gateway.OpGreater, number("5"), "half, big, bigger, huge, list"},
			{gateway.OpAtLeast, number("5"), "five, half, big, bigger, huge, list"},
			{gateway.OpLess, number("5"), "minus, zero, tiny"},
			{gateway.OpAtMost, number("0"), "minus, zero"},
			{gateway.OpLess, number("-4.5"), "minus"},
			{gateway.OpGreater, number("1.4e+300"), "huge"},
			{gateway.OpEqual, gateway.BoolValue(true), "true, list"},
			{gateway.OpEqual, gateway.BoolValue(false), "false"},
			{gateway.OpGreater, gateway.BoolValue(false), ""},
			{gateway.OpContains, gateway.BoolValue(true), ""},
			{gateway.OpEqual, text("true"), "text true"},
			{gateway.OpEqual, date, "date"},
			{gateway.OpEqual, when, "moment, spelled"},
			{gateway.OpGreater, date, "moment, moment and a half, spelled"},
			{gateway.OpAtLeast, date, "date, moment, moment and a half, spelled"},
			{gateway.OpGreater, when, "moment and a half"},
			{gateway.OpLess, when, "date"},
			{gateway.OpAtMost, when, "date, moment, spelled"},
			{gateway.OpStartsWith, text("2026-03"), "date, moment, moment and a half, spelled"},
			{gateway.OpStartsWith, date, "date, moment, moment and a half, spelled"},
			{gateway.OpGreater, text("wow"), "bang, polish, polish lower, kelvin, cyrillic, emoji, long"},
			{gateway.OpLess, text("3"), "empty, percent, date, moment, moment and a half, spelled"},
			{gateway.OpEqual, list(`["red","Green",7,true]`), "list"},
			{gateway.OpEqual, list(`["red"]`), ""},
			{gateway.OpEqual, list(`[]`), "empty list"},
			{gateway.OpEqual, gateway.Value{Type: gateway.TypeJSON, Raw: `[["red"]]`}, "nested"},
			{gateway.OpGreater, list(`[]`), ""},
		} {
			what := fmt.Sprintf("%s %s %.40s", field, q.op, q.value.Raw)
			where := []gateway.Condition{{Field: field, Op: q.op, Value: q.value}}
			want := []string{}
			if q.want != "" {
				want = strings.Split(q.want, ", ")
			}
			slices.Reverse(want)
			found := x.found(where...)
			if field == "status" { // who lacks it has one all the same: testChoices
				found = slices.DeleteFunc(found, func(name string) bool { return name == "lacks it" })
			}
			equal(t, "contacts with "+what, found, want)
			if field == "name" { // of a company it is a column
				continue
			}
			got := []string{}
			for _, v := range must[[]*gateway.CompanyView](t)(x.FindCompanies(x.ctx, x.w, gateway.Query{Where: where, Limit: 1000})) {
				got = append(got, v.CustomID)
			}
			equal(t, "companies with "+what, got, want)
		}
	}
}

// testFindFields asks what is no attribute.
func testFindFields(t *testing.T, b *bundle) {
	ada, bob, merged, anonymous := b.newContact("ada"), b.newContact("Bob%"), b.newContact("merged"), b.newContact("")
	ada.Email, ada.EmailKey = "Ada@Acme.test", "ada@acme.test"
	ada.CreatedAt, ada.UpdatedAt = at(-100), at(100)
	ada.Attributes.Set("phone_number", text("+48 600"))
	bob.Email, bob.EmailKey = "ada@acme.test", "ada@acme.test"
	bob.Attributes.Set("phone_number", list(`["+48 600"]`))
	merged.Email, merged.EmailKey = "ada@acme.test", "ada@acme.test"
	anonymous.CreatedAt, anonymous.UpdatedAt = time.Time{}, time.Time{}
	anonymous.Attributes.Set("name", text("custom_id"))
	first, second := b.newCompany("c1", "Acme"), b.newCompany("", "acme")
	first.UpdatedAt = at(50)
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{ada, bob, merged, anonymous}, NewCompanies: []*gateway.Company{first, second}, NewKeys: []gateway.VisitorKey{
		{Key: "key1", ContactID: ada.ID, CreatedAt: at(1)}, {Key: "KEY2", ContactID: ada.ID, CreatedAt: at(2)}, {Key: "key3", ContactID: bob.ID, CreatedAt: at(3)},
	}})
	b.merge(ada, merged)
	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	foreign := other.newContact("ada")
	foreign.Email, foreign.EmailKey = "ada@acme.test", "ada@acme.test"
	foreign.Attributes = ada.Attributes.Clone()
	other.save(&gateway.Changes{NewContacts: []*gateway.Contact{foreign}, NewKeys: []gateway.VisitorKey{{Key: "key1", ContactID: foreign.ID, CreatedAt: at(1)}}})

	is := func(field string, op gateway.Op, v gateway.Value) []gateway.Condition {
		return []gateway.Condition{{Field: field, Op: op, Value: v}}
	}
	and := func(parts ...[]gateway.Condition) []gateway.Condition { return slices.Concat(parts...) }
	adaID := gateway.IntValue(int64(ada.ID))
	email := is("email", gateway.OpEqual, text(" ADA@acme.TEST"))
	for _, c := range []struct {
		name  string
		where []gateway.Condition
		want  []string
	}{
		{"nothing asked", nil, []string{"", "Bob%", "ada"}},
		{"custom id", is("custom_id", gateway.OpEqual, text("ada")), []string{"ada"}},
		{"custom id in another case", is("custom_id", gateway.OpEqual, text("ADA")), nil},
		{"custom id of a merged one", is("custom_id", gateway.OpEqual, text("merged")), nil},
		{"empty custom id", is("custom_id", gateway.OpEqual, text("")), nil},
		{"custom id is a number", is("custom_id", gateway.OpEqual, number("5")), nil},
		{"part of a custom id", is("custom_id", gateway.OpContains, text("")), []string{"Bob%", "ada"}},
		{"part of a custom id with a wildcard", is("custom_id", gateway.OpEndsWith, text("%")), []string{"Bob%"}},
		{"custom id in the order of bytes", is("custom_id", gateway.OpLess, text("a")), []string{"Bob%"}},
		{"unstorable custom id", is("custom_id", gateway.OpEqual, gateway.Value{Type: gateway.TypeText, Raw: "\"\xff\""}), nil},
		{"e-mail", email, []string{"Bob%", "ada"}},
		{"e-mail that is none", is("email", gateway.OpEqual, text("ada@")), nil},
		{"empty e-mail", is("email", gateway.OpEqual, text("")), nil},
		{"e-mail is a number", is("email", gateway.OpEqual, number("1")), nil},
		{"part of an e-mail", is("email", gateway.OpContains, text("@Acme")), []string{"ada"}},
		{"part of an e-mail in any case", is("email", gateway.OpIContains, text("@ACME")), []string{"Bob%", "ada"}},
		{"end of an e-mail", is("email", gateway.OpEndsWith, text("test")), []string{"Bob%", "ada"}},
		{"key", is("key", gateway.OpEqual, text("key1")), []string{"ada"}},
		{"second key", is("key", gateway.OpEqual, text("KEY2")), []string{"ada"}},
		{"key in another case", is("key", gateway.OpEqual, text("key2")), nil},
		{"both keys", and(is("key", gateway.OpEqual, text("key1")), is("key", gateway.OpEqual, text("KEY2"))), []string{"ada"}},
		{"keys of two", and(is("key", gateway.OpEqual, text("key1")), is("key", gateway.OpEqual, text("key3"))), nil},
		{"part of a key", is("key", gateway.OpStartsWith, text("key")), []string{"Bob%", "ada"}},
		{"part of a key in any case", is("key", gateway.OpIEndsWith, text("y2")), []string{"ada"}},
		{"keys in order", is("key", gateway.OpGreater, text("key2")), []string{"Bob%"}},
		{"key is a number", is("key", gateway.OpContains, number("1")), nil},
		{"phone number", is("phone_number", gateway.OpEqual, text("+48 600")), []string{"ada"}},
		{"part of a phone number", is("phone_number", gateway.OpContains, text("600")), []string{"Bob%", "ada"}},
		{"empty phone number", is("phone_number", gateway.OpEqual, text("")), nil},
		{"id", is("id", gateway.OpEqual, adaID), []string{"ada"}},
		{"ids from", is("id", gateway.OpAtLeast, adaID), []string{"", "Bob%", "ada"}},
		{"ids behind", is("id", gateway.OpGreater, adaID), []string{"", "Bob%"}},
		{"ids up to", is("id", gateway.OpAtMost, adaID), []string{"ada"}},
		{"ids behind a fraction", is("id", gateway.OpGreater, number(adaID.Raw+".5")), []string{"", "Bob%"}},
		{"ids below a number that is no int64", is("id", gateway.OpLess, number("1e+300")), []string{"", "Bob%", "ada"}},
		{"id is a fraction", is("id", gateway.OpEqual, number(adaID.Raw+".5")), nil},
		{"id is a text", is("id", gateway.OpEqual, text(adaID.Raw)), nil},
		{"part of an id", is("id", gateway.OpContains, text("1")), nil},
		{"id of another workspace", is("id", gateway.OpEqual, gateway.IntValue(int64(foreign.ID))), nil},
		{"id of a merged one", is("id", gateway.OpEqual, gateway.IntValue(int64(merged.ID))), nil},
		{"created at", is("created_at", gateway.OpEqual, gateway.DatetimeValue(at(-100))), []string{"ada"}},
		{"created before", is("created_at", gateway.OpLess, gateway.DatetimeValue(at(0))), []string{"ada"}},
		{"created by", is("created_at", gateway.OpAtMost, gateway.DatetimeValue(at(0))), []string{"Bob%", "ada"}},
		{"created since the day", is("created_at", gateway.OpAtLeast, gateway.DateValue(start)), []string{"Bob%", "ada"}},
		{"created since the beginning", is("created_at", gateway.OpAtLeast, gateway.DatetimeValue(time.UnixMicro(0))), []string{"Bob%", "ada"}},
		{"created at a number", is("created_at", gateway.OpGreater, number("0")), nil},
		{"created in a text", is("created_at", gateway.OpContains, text("2026")), nil},
		{"updated after", is("updated_at", gateway.OpGreater, gateway.DatetimeValue(at(0))), []string{"ada"}},
		{"name", is("name", gateway.OpEqual, text("custom_id")), []string{""}},
		{"e-mail and another thing", and(email, is("custom_id", gateway.OpIContains, text("BOB"))), []string{"Bob%"}},
		{"e-mail and phone number", and(email, is("phone_number", gateway.OpEqual, text("+48 600"))), []string{"ada"}},
		{"e-mail and custom id", and(email, is("custom_id", gateway.OpEqual, text("ada"))), []string{"ada"}},
		{"two custom ids", and(is("custom_id", gateway.OpEqual, text("ada")), is("custom_id", gateway.OpEqual, text("Bob%"))), nil},
		{"id and e-mail", and(is("id", gateway.OpEqual, adaID), email), []string{"ada"}},
		{"id and another e-mail", and(is("id", gateway.OpEqual, adaID), is("email", gateway.OpEqual, text("x@y.test"))), nil},
		{"an attribute that nobody has", is(strings.Repeat("n", 100_000), gateway.OpContains, text("")), nil},
		{"an attribute with an odd name", is("a\x00b", gateway.OpContains, text("")), nil},
		{"an attribute without a name", is("", gateway.OpContains, text("")), nil},
	} {
		got := b.found(c.where...)
		equal(t, c.name, got, c.want)
	}
	for _, c := range []struct {
		name  string
		where []gateway.Condition
		want  []gateway.CompanyID
	}{
		{"nothing asked", nil, []gateway.CompanyID{second.ID, first.ID}},
		{"custom id", is("custom_id", gateway.OpEqual, text("c1")), []gateway.CompanyID{first.ID}},
		{"empty custom id", is("custom_id", gateway.OpEqual, text("")), nil},
		{"custom id is a number", is("custom_id", gateway.OpEqual, number("1")), nil},
		{"unstorable custom id", is("custom_id", gateway.OpEqual, gateway.Value{Type: gateway.TypeText, Raw: "\"\xff\""}), nil},
		{"part of a custom id", is("custom_id", gateway.OpContains, text("")), []gateway.CompanyID{first.ID}},
		{"id", is("id", gateway.OpEqual, gateway.IntValue(int64(second.ID))), []gateway.CompanyID{second.ID}},
		{"ids behind", is("id", gateway.OpGreater, gateway.IntValue(int64(first.ID))), []gateway.CompanyID{second.ID}},
		{"name", is("name", gateway.OpEqual, text("Acme")), []gateway.CompanyID{first.ID}},
		{"name in any case", is("name", gateway.OpIContains, text("CM")), []gateway.CompanyID{second.ID, first.ID}},
		{"updated after", is("updated_at", gateway.OpGreater, gateway.DatetimeValue(at(0))), []gateway.CompanyID{first.ID}},
		{"custom id and name", and(is("custom_id", gateway.OpEqual, text("c1")), is("name", gateway.OpEqual, text("acme"))), nil},
		{"key", is("key", gateway.OpEqual, text("key1")), nil},
		{"e-mail", email, nil},
	} {
		var got []gateway.CompanyID
		for _, v := range must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, b.w, gateway.Query{Where: c.where, Limit: 9})) {
			got = append(got, v.ID)
		}
		equal(t, "companies by "+c.name, got, c.want)
	}
	equal(t, "companies of the other workspace", len(must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, other.w, gateway.Query{Limit: 9}))), 0)

	// A view is whole, as from the list.
	equal(t, "found", must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{Limit: 9})), must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9)))
	equal(t, "found companies", must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, b.w, gateway.Query{Limit: 9})), must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 9)))

	for name, where := range map[string][]gateway.Condition{
		"no such operator":    is("name", "like", text("x")),
		"too many conditions": slices.Repeat(is("name", gateway.OpEqual, text("x")), 1000),
	} {
		_, err := b.FindContacts(b.ctx, b.w, gateway.Query{Where: where, Limit: 9})
		wantCode(t, name, err, gateway.CodeInvalid)
		_, err = b.FindCompanies(b.ctx, b.w, gateway.Query{Where: where, Limit: 9})
		wantCode(t, name+" of companies", err, gateway.CodeInvalid)
	}
}

// testFindPages goes through pages of several kinds of queries, of which many
// rows don't meet the conditions.
func testFindPages(t *testing.T, b *bundle) {
	const people = 3000
	c := &gateway.Changes{}
	firstID := b.nextIDs(gateway.IDContact, people)
	for i := range people {
		x := &gateway.Contact{ID: gateway.ContactID(firstID + int64(i)), WorkspaceID: b.w, EmailKey: "all@x.test", CreatedAt: start, UpdatedAt: start}
		x.Email = x.EmailKey
		x.Attributes.Set("phone_number", text("+1"))
		x.Attributes.Set("n", number(fmt.Sprint(i)))
		if i%300 == 0 {
			x.Attributes.Set("rare", text("yes"))
		}
		c.NewContacts = append(c.NewContacts, x)
		c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: fmt.Sprint("key", i), ContactID: x.ID, CreatedAt: start})
	}
	b.save(c)
	for _, q := range []struct {
		name  string
		where gateway.Condition
		has   func(i int) bool
	}{
		{"attribute", gateway.Condition{Field: "rare", Value: text("yes")}, func(i int) bool { return i%300 == 0 }},
		{"few numbers", gateway.Condition{Field: "n", Op: gateway.OpLess, Value: number("7")}, func(i int) bool { return i < 7 }},
		{"many numbers", gateway.Condition{Field: "n", Op: gateway.OpAtLeast, Value: number("7")}, func(i int) bool { return i >= 7 }},
		{"keys", gateway.Condition{Field: "key", Op: gateway.OpEndsWith, Value: text("77")}, func(i int) bool { return i%100 == 77 }},
		{"e-mail", gateway.Condition{Field: "email", Value: text("all@x.test")}, func(int) bool { return true }},
		{"phone number", gateway.Condition{Field: "phone_number", Value: text("+1")}, func(int) bool { return true }},
		{"id", gateway.Condition{Field: "id", Value: gateway.IntValue(firstID + 9)}, func(i int) bool { return i == 9 }},
		{"key", gateway.Condition{Field: "key", Value: text("key9")}, func(i int) bool { return i == 9 }},
	} {
		var want []gateway.ContactID
		for i := people - 1; i >= 0; i-- {
			if q.has(i) {
				want = append(want, gateway.ContactID(firstID+int64(i)))
			}
		}
		for _, limit := range []int{3, 1000} {
			var got []gateway.ContactID
			page := gateway.Query{Where: []gateway.Condition{q.where}, Limit: limit}
			for len(got) < 30 || limit > 3 {
				ids := contactIDs(must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, page)))
				if len(ids) == 0 {
					break
				}
				if len(ids) > limit {
					t.Fatalf("%s: a page of %d has %d", q.name, limit, len(ids))
				}
				got = append(got, ids...)
				page.Before = int64(ids[len(ids)-1])
			}
			if limit == 3 {
				want := want[:min(len(want), len(got))]
				equal(t, fmt.Sprint(q.name, ", pages of ", limit), got, want)
				continue
			}
			equal(t, fmt.Sprint(q.name, ", pages of ", limit), got, want)
		}
	}
	equal(t, "no room", len(must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{}))), 0)
	equal(t, "negative room", len(must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{Limit: -1}))), 0)
}

// nextIDs sets n ids aside.
func (b *bundle) nextIDs(kind gateway.IDKind, n int) (first int64) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) (err error) {
		first, err = tx.NextIDs(kind, n)
		return err
	})
	return first
}

// testFindProperty compares what random conditions find with what a model of
// them finds among all contacts.
func testFindProperty(t *testing.T, b *bundle) {
	r := rand.New(rand.NewPCG(1, 2))
	texts := []string{"", "a", "A", "ab", "Ab", "aB%", "a_b", "b!", "ł", "Ł", "łA", `q"q`, `\`, "\n", "5", "true", "2026-03-04", "2026-03-04T05:06:07Z", "日本", "ada@x.test"}
	raws := []gateway.Value{number("0"), number("5"), number("-5"), number("5.25"), number("12345678901234567890"), number("1e+21"), number("1e-7"),
		gateway.BoolValue(true), gateway.BoolValue(false), list(`[]`), list(`["a","Ł",5,true]`), list(`["q\"q"]`), {Type: gateway.TypeJSON, Raw: `{"a":"ab"}`},
		gateway.DateValue(start), gateway.DatetimeValue(start), gateway.DatetimeValue(at(1))}
	for _, s := range texts {
		raws = append(raws, gateway.TextValue(s))
	}
	names := []string{"name", "phone_number", "status", "score", "a%b", `"`, "ł", "a"}
	emails := []string{"", "", "ada@x.test", "b@x.test", "łu@x.test"}
	c := &gateway.Changes{}
	keys := map[gateway.ContactID][]string{}
	for i := range 80 {
		x := b.newContact("")
		if i%2 == 0 {
			x.CustomID = fmt.Sprint(texts[r.IntN(len(texts))], "-", i)
		}
		x.EmailKey = emails[r.IntN(len(emails))]
		if x.Email = x.EmailKey; i%3 == 0 {
			x.Email = strings.ToUpper(x.Email)
		}
		x.CreatedAt, x.UpdatedAt = at(r.IntN(3)), at(r.IntN(9))
		for _, name := range names {
			if r.IntN(2) == 0 {
				x.Attributes.Set(name, raws[r.IntN(len(raws))])
			}
		}
		for k := range r.IntN(3) {
			key := fmt.Sprint([]string{"key", "KEY"}[k], i)
			keys[x.ID] = append(keys[x.ID], key)
			c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: key, ContactID: x.ID, CreatedAt: start})
		}
		c.NewContacts = append(c.NewContacts, x)
	}
	b.save(c)
	ops := []gateway.Op{gateway.OpEqual, gateway.OpContains, gateway.OpIContains, gateway.OpStartsWith, gateway.OpIStartsWith, gateway.OpEndsWith, gateway.OpIEndsWith,
		gateway.OpGreater, gateway.OpAtLeast, gateway.OpLess, gateway.OpAtMost}
	values := slices.Clone(raws)
	for i := 0; i < len(c.NewContacts); i += 7 {
		x := c.NewContacts[i]
		values = append(values, gateway.IntValue(int64(x.ID)), gateway.TextValue(x.CustomID), gateway.TextValue(x.Email), gateway.DatetimeValue(x.UpdatedAt), gateway.TextValue(fmt.Sprint("key", i)))
	}
	condition := rapid.Custom(func(rt *rapid.T) gateway.Condition {
		return gateway.Condition{
			Field: rapid.SampledFrom(append([]string{"id", "custom_id", "email", "key", "created_at", "updated_at"}, names...)).Draw(rt, "field"),
			Op:    rapid.SampledFrom(ops).Draw(rt, "op"),
			Value: rapid.SampledFrom(values).Draw(rt, "value"),
		}
	})
	rapid.Check(t, func(rt *rapid.T) {
		where := rapid.SliceOfN(condition, 0, 3).Draw(rt, "conditions")
		limit := rapid.SampledFrom([]int{1, 5, 100}).Draw(rt, "limit")
		before := rapid.SampledFrom([]int{0, 10, 70}).Draw(rt, "before")
		q := gateway.Query{Where: where, Limit: limit}
		if before > 0 {
			q.Before = int64(c.NewContacts[before].ID)
		}
		want := []gateway.ContactID{}
		for _, x := range slices.Backward(c.NewContacts) {
			if len(want) < limit && (before == 0 || int64(x.ID) < q.Before) && !slices.ContainsFunc(where, func(w gateway.Condition) bool { return !modelMeets(x, keys[x.ID], w) }) {
				want = append(want, x.ID)
			}
		}
		views, err := b.FindContacts(b.ctx, b.w, q)
		if err != nil {
			rt.Fatal(err)
		}
		if got := contactIDs(views); !slices.Equal(got, want) {
			rt.Fatalf("got %v, want %v", got, want)
		}
	})
}

// modelMeets is the meaning of a condition, in other words than a store's.
func modelMeets(x *gateway.Contact, keys []string, c gateway.Condition) bool {
	var have []any
	decode := func(raw string) (v any) {
		d := json.NewDecoder(strings.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			panic(err)
		}
		return v
	}
	want := decode(c.Value.Raw)
	switch c.Field {
	case "id":
		have = append(have, json.Number(fmt.Sprint(x.ID)))
	case "custom_id":
		if x.CustomID != "" {
			have = append(have, x.CustomID)
		}
	case "email":
		e := x.Email
		if c.Op == gateway.OpEqual {
			e = x.EmailKey
			if s, ok := want.(string); ok {
				want = strings.ToLower(strings.TrimSpace(s))
			}
		}
		if e != "" {
			have = append(have, e)
		}
	case "key":
		for _, k := range keys {
			have = append(have, k)
		}
	case "created_at":
		have = append(have, x.CreatedAt)
	case "updated_at":
		have = append(have, x.UpdatedAt)
	default:
		v, ok := x.Attributes.Get(c.Field)
		switch {
		case ok:
		case c.Field == "status" && x.Anonymous():
			v = gateway.IntValue(gateway.StatusVisitor)
		case c.Field == "status":
			v = gateway.IntValue(gateway.StatusUser)
		default:
			return false
		}
		value := decode(v.Raw)
		items, isList := value.([]any)
		switch {
		case c.Field == "phone_number" && c.Op == gateway.OpEqual: // a plain text only
			s, isText := value.(string)
			return isText && s != "" && s == want && v.Raw == `"`+s+`"`
		case isList:
			have = items
		default:
			have = append(have, value)
		}
		if c.Value.Type == gateway.TypeList || c.Value.Type == gateway.TypeJSON {
			return c.Op == gateway.OpEqual && v.Raw == c.Value.Raw
		}
	}
	return slices.ContainsFunc(have, func(h any) bool { return modelCompares(h, want, c) })
}

func modelCompares(have, want any, c gateway.Condition) bool {
	holds := func(order int) bool {
		return map[gateway.Op]bool{gateway.OpEqual: order == 0, gateway.OpGreater: order > 0, gateway.OpAtLeast: order >= 0, gateway.OpLess: order < 0, gateway.OpAtMost: order <= 0}[c.Op]
	}
	switch want := want.(type) {
	case bool:
		return have == want && c.Op == gateway.OpEqual
	case json.Number:
		h, ok := have.(json.Number)
		if !ok {
			return false
		}
		x, _ := new(big.Rat).SetString(h.String())
		y, _ := new(big.Rat).SetString(want.String())
		return holds(x.Cmp(y))
	case string:
		if h, ok := have.(time.Time); ok {
			w, isTime := gateway.ParseDatetime(want)
			return isTime && holds(h.Compare(w))
		}
		h, ok := have.(string)
		if !ok {
			return false
		}
		lowerH, lowerW := strings.ToLower(h), strings.ToLower(want)
		switch c.Op {
		case gateway.OpContains:
			return strings.Contains(h, want)
		case gateway.OpIContains:
			return strings.Contains(lowerH, lowerW)
		case gateway.OpStartsWith:
			return strings.HasPrefix(h, want)
		case gateway.OpIStartsWith:
			return strings.HasPrefix(lowerH, lowerW)
		case gateway.OpEndsWith:
			return strings.HasSuffix(h, want)
		case gateway.OpIEndsWith:
			return strings.HasSuffix(lowerH, lowerW)
		}
		// The identifiers are texts, whatever they look like.
		if identifier := c.Field == "custom_id" || c.Field == "key" || c.Field == "email"; c.Value.Type == gateway.TypeText || identifier {
			return holds(strings.Compare(h, want))
		}
		x, ok1 := gateway.ParseDatetime(h)
		y, ok2 := gateway.ParseDatetime(want)
		return ok1 && ok2 && holds(x.Compare(y))
	}
	return false
}
