package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"civgate/gateway"
)

func testDeleteAPIKey(t *testing.T, b *bundle) {
	widget := gateway.APIKey{Kind: gateway.KeyWidget, Secret: "A1B2C3", CreatedAt: start}
	rest := gateway.APIKey{Kind: gateway.KeyREST, Secret: "A1B2C3", CreatedAt: at(1), Scope: gateway.ScopeAdmin}
	w := b.workspace("Keys", widget, rest)
	for what, err := range map[string]error{
		"of another workspace": b.DeleteAPIKey(b.ctx, b.w, gateway.KeyREST, "A1B2C3"),
		"of no workspace":      b.DeleteAPIKey(b.ctx, 999, gateway.KeyREST, "A1B2C3"),
		"in another case":      b.DeleteAPIKey(b.ctx, w, gateway.KeyREST, "a1b2c3"),
		"without a secret":     b.DeleteAPIKey(b.ctx, w, gateway.KeyREST, ""),
		"of no kind":           b.DeleteAPIKey(b.ctx, w, "", "A1B2C3"),
	} {
		wantCode(t, what, err, gateway.CodeNotFound)
	}
	if n := len(must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, w))); n != 2 {
		t.Fatalf("%d keys are left, want both", n)
	}
	if err := b.DeleteAPIKey(b.ctx, w, gateway.KeyREST, "A1B2C3"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "once more", b.DeleteAPIKey(b.ctx, w, gateway.KeyREST, "A1B2C3"), gateway.CodeNotFound)
	_, err := b.WorkspaceByKey(b.ctx, gateway.KeyREST, "A1B2C3")
	wantCode(t, "workspace by the key", err, gateway.CodeNotFound)
	if got := must[*gateway.Workspace](t)(b.WorkspaceByKey(b.ctx, gateway.KeyWidget, "A1B2C3")); got.ID != w {
		t.Errorf("the key of the other kind finds workspace %d, want %d", got.ID, w)
	}
	if err := b.AddAPIKey(b.ctx, b.w, rest); err != nil {
		t.Errorf("the key is not free for another workspace: %v", err)
	}
}

// wantGone checks that nothing finds a contact any more.
func (b *bundle) wantGone(what string, c *gateway.Contact, keys ...string) {
	b.t.Helper()
	_, err := b.Contact(b.ctx, b.w, c.ID)
	wantCode(b.t, what+": by id", err, gateway.CodeNotFound)
	_, err = b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9})
	wantCode(b.t, what+": events", err, gateway.CodeNotFound)
	refs := gateway.Refs{Keys: keys, CustomIDs: []string{c.CustomID}, EmailKeys: []string{c.EmailKey}, Contacts: []gateway.ContactID{c.ID}}
	equal(b.t, what+": loaded", b.load(refs), &gateway.Loaded{})
	_, err = b.ContactByCustomID(b.ctx, b.w, c.CustomID)
	wantCode(b.t, what+": by custom id", err, gateway.CodeNotFound)
	for _, k := range keys {
		_, err = b.ContactByKey(b.ctx, b.w, k)
		wantCode(b.t, what+": by key", err, gateway.CodeNotFound)
	}
	phone, _ := c.Attributes.Get("phone_number")
	for how, found := range map[string][]*gateway.ContactView{
		"e-mail": must[[]*gateway.ContactView](b.t)(b.ContactsByEmail(b.ctx, b.w, c.EmailKey, 9)),
		"phone":  must[[]*gateway.ContactView](b.t)(b.ContactsByPhone(b.ctx, b.w, strings.Trim(phone.Raw, `"`), 9)),
	} {
		for _, v := range found {
			if v.ID == c.ID {
				b.t.Errorf("%s: found by %s", what, how)
			}
		}
	}
}

func (b *bundle) wantCount(what string, contacts, companies int64) {
	b.t.Helper()
	if n := must[int64](b.t)(b.CountContacts(b.ctx, b.w)); n != contacts {
		b.t.Errorf("%s: %d contacts are counted, want %d", what, n, contacts)
	}
	if n := must[int64](b.t)(b.CountCompanies(b.ctx, b.w)); n != companies {
		b.t.Errorf("%s: %d companies are counted, want %d", what, n, companies)
	}
}

// person is a contact with everything by which one is found.
func (b *bundle) person(name string) *gateway.Contact {
	c := b.newContact(name)
	c.Email, c.EmailKey = name+"@Acme.test", name+"@acme.test"
	c.Attributes.Set("phone_number", text("+48 "+name))
	return c
}

func testDeleteContact(t *testing.T, b *bundle) {
	// first is part of second, second of last; the e-mail of last is also that of
	// other, who stays.
	first, second, last, other := b.person("u1"), b.person("u2"), b.person("u3"), b.person("u4")
	last.EmailKey, last.Email = other.EmailKey, other.Email
	acme, former := b.newCompany("c1", "Acme"), b.newCompany("c2", "Former")
	link := func(c *gateway.Contact, co *gateway.Company) gateway.Membership {
		return gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: co.ID, Source: gateway.SourceWidget, Since: start}
	}
	ended := link(last, former)
	ended.Until = at(9)
	event := func(c *gateway.Contact) gateway.Event {
		return gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: "signup", At: at(1)}
	}
	b.save(&gateway.Changes{
		NewContacts: []*gateway.Contact{first, second, last, other}, NewCompanies: []*gateway.Company{acme, former},
		NewMemberships: []gateway.Membership{link(last, acme), link(other, acme), ended},
		NewKeys: []gateway.VisitorKey{{Key: "k1", ContactID: first.ID}, {Key: "k2", ContactID: second.ID}, {Key: "k3", ContactID: last.ID},
			{Key: "k4", ContactID: other.ID}, {Key: "k5", ContactID: last.ID}},
		PageViews: []gateway.PageView{b.view(first, 1, "/1"), b.view(last, 2, "/2"), b.view(other, 3, "/3")},
		Events:    []gateway.Event{event(first), event(second), event(last), event(other)},
	})
	b.merge(second, first)
	b.merge(last, second)
	// One that was undone.
	b.save(&gateway.Changes{Merges: []gateway.Merge{{WorkspaceID: b.w, At: start, Rule: "r", WinnerID: last.ID, LoserID: other.ID, Before: "{}", After: "{}"}}})
	b.wantCount("before", 2, 2)
	bystander := b.contact(other.ID)

	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{last.ID, last.ID}})
	b.wantCount("after", 1, 2)
	for _, c := range []*gateway.Contact{first, second} {
		b.wantGone("alias "+c.CustomID, c, "k1", "k2", "k3", "k5")
	}
	last.EmailKey = "" // other's too
	b.wantGone("contact", last, "k1", "k2", "k3", "k5")
	equal(t, "other contact", b.contact(other.ID), bystander)
	equal(t, "contacts", contactIDs(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9))), []gateway.ContactID{other.ID})
	equal(t, "employees", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, acme.ID)).Employees, []gateway.ContactID{other.ID})
	if n := len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, other.ID, gateway.HistoryQuery{Limit: 9}))); n != 1 {
		t.Errorf("other contact has %d events, want 1", n)
	}
	if all := must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, other.ID, gateway.HistoryQuery{Limit: 9})); len(all) > 0 {
		t.Errorf("the journal of the other contact still has %v", all)
	}
	if got := must[*gateway.ContactView](t)(b.ContactByKey(b.ctx, b.w, "k4")); got.ID != other.ID {
		t.Errorf("the key of the other contact finds %d", got.ID)
	}

	// A contact of the same id has nothing of it.
	again := &gateway.Contact{ID: last.ID, WorkspaceID: b.w, CreatedAt: at(5), UpdatedAt: at(5)}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{again}})
	equal(t, "new contact of the same id", b.contact(last.ID), &gateway.ContactView{Contact: *again, Activity: gateway.Activity{FirstSeen: at(5), LastSeen: at(5)}})
	for what, n := range map[string]int{
		"keys":   len(must[[]gateway.VisitorKey](t)(b.VisitorKeys(b.ctx, b.w, last.ID, 9))),
		"events": len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, last.ID, gateway.HistoryQuery{Limit: 9}))),
		"merges": len(must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, last.ID, gateway.HistoryQuery{Limit: 9}))),
	} {
		if n != 0 {
			t.Errorf("new contact of the same id has %d %s", n, what)
		}
	}
}

func testDeleteContactMissing(t *testing.T, b *bundle) {
	c := b.person("u1")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}})
	w2 := b.workspace("Other")
	for what, try := range map[string]func(tx gateway.Tx) error{
		"one that is not there": func(tx gateway.Tx) error {
			return tx.Save(b.w, &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID, 1 << 40}})
		},
		"one of another workspace": func(tx gateway.Tx) error {
			return tx.Save(w2, &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}})
		},
		"twice": func(tx gateway.Tx) error {
			if err := tx.Save(b.w, &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}}); err != nil {
				return err
			}
			return tx.Save(b.w, &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}})
		},
		"a company that is not there": func(tx gateway.Tx) error {
			return tx.Save(b.w, &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}, DeletedCompanies: []gateway.CompanyID{1 << 40}})
		},
	} {
		wantCode(t, what, b.Update(b.ctx, try), gateway.CodeNotFound)
	}
	b.wantCount("afterwards", 1, 0)
	equal(t, "by custom id", must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, "u1")).ID, c.ID)
}

// testDeleteAlias deletes one that was merged away, by itself and beside the one
// that it is part of.
func testDeleteAlias(t *testing.T, b *bundle) {
	first, second, last := b.newContact("u1"), b.newContact("u2"), b.newContact("u3")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{first, second, last},
		PageViews: []gateway.PageView{b.view(first, 1, "/1"), b.view(second, 2, "/2"), b.view(last, 3, "/3")}})
	b.merge(second, first)
	b.merge(last, second)
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{second.ID}})
	b.wantCount("without aliases", 1, 0)
	b.wantGone("alias", second)
	b.wantGone("alias of the alias", first)
	if v := b.contact(last.ID); v.PageViews != 1 {
		t.Errorf("the survivor has %d page views, want its own", v.PageViews)
	}
	if all := must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, last.ID, gateway.HistoryQuery{Limit: 9})); len(all) != 0 {
		t.Errorf("the journal still has %v", all)
	}
	alias := b.newContact("u4")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{alias}})
	b.merge(last, alias)
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{alias.ID, last.ID}})
	b.wantCount("with both", 0, 0)
	b.wantGone("survivor", last)
	b.wantGone("its alias", alias)
}

// testDeleteMakesRoom has in one Save what goes and what takes its place.
func testDeleteMakesRoom(t *testing.T, b *bundle) {
	old, other := b.person("u1"), b.newContact("u2")
	acme := b.newCompany("c1", "Acme")
	member := func(c gateway.ContactID, co gateway.CompanyID) gateway.Membership {
		return gateway.Membership{WorkspaceID: b.w, ContactID: c, CompanyID: co, Source: gateway.SourceAPI, Primary: true, Since: at(1)}
	}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{old, other}, NewCompanies: []*gateway.Company{acme},
		NewKeys:        []gateway.VisitorKey{{Key: "k1", ContactID: old.ID}, {Key: "k2", ContactID: old.ID, CreatedAt: at(3)}, {Key: "k3", ContactID: old.ID}},
		NewMemberships: []gateway.Membership{member(old.ID, acme.ID), member(other.ID, acme.ID)}})
	fresh, newAcme := b.person("u1"), b.newCompany("c1", "Acme")
	b.save(&gateway.Changes{
		DeletedContacts: []gateway.ContactID{old.ID}, NewContacts: []*gateway.Contact{fresh}, NewKeys: []gateway.VisitorKey{{Key: "k1", ContactID: fresh.ID}},
		MovedKeys:        []gateway.VisitorKey{{Key: "k2", ContactID: other.ID}},
		DeletedCompanies: []gateway.CompanyID{acme.ID}, NewCompanies: []*gateway.Company{newAcme},
		NewMemberships: []gateway.Membership{member(fresh.ID, newAcme.ID)},
		PageViews:      []gateway.PageView{b.view(fresh, 4, "/")},
	})
	b.wantCount("afterwards", 2, 1)
	for key, want := range map[string]gateway.ContactID{"k1": fresh.ID, "k2": other.ID} {
		if got := must[*gateway.ContactView](t)(b.ContactByKey(b.ctx, b.w, key)); got.ID != want {
			t.Errorf("%s finds %d, want %d", key, got.ID, want)
		}
	}
	_, err := b.ContactByKey(b.ctx, b.w, "k3")
	wantCode(t, "the key that nobody took", err, gateway.CodeNotFound)
	equal(t, "moved key", must[[]gateway.VisitorKey](t)(b.VisitorKeys(b.ctx, b.w, other.ID, 9)), []gateway.VisitorKey{{Key: "k2", ContactID: other.ID, CreatedAt: at(3)}})
	for how, got := range map[string][]gateway.ContactID{
		"custom id": {must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, "u1")).ID},
		"e-mail":    contactIDs(must[[]*gateway.ContactView](t)(b.ContactsByEmail(b.ctx, b.w, "u1@acme.test", 9))),
		"phone":     contactIDs(must[[]*gateway.ContactView](t)(b.ContactsByPhone(b.ctx, b.w, "+48 u1", 9))),
	} {
		equal(t, "by "+how, got, []gateway.ContactID{fresh.ID})
	}
	equal(t, "employees", must[*gateway.CompanyView](t)(b.CompanyByCustomID(b.ctx, b.w, "c1")).Employees, []gateway.ContactID{fresh.ID})
	if got := b.contact(other.ID).Companies; len(got) != 0 {
		t.Errorf("the employee of the deleted company has %v", got)
	}
}

// testDeleteLongHistory deletes a contact with more page views than a statement
// deletes at once.
func testDeleteLongHistory(t *testing.T, b *bundle) {
	const views, part = 100_000, 10_000
	c, other := b.newContact("u1"), b.newContact("u2")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c, other}, PageViews: []gateway.PageView{b.view(other, 1, "/")},
		Events: []gateway.Event{{WorkspaceID: b.w, ContactID: other.ID, Kind: gateway.EventCustom, Name: "n", At: start}}})
	for i := range views / part {
		changes := &gateway.Changes{}
		for n := range part {
			changes.PageViews = append(changes.PageViews, b.view(c, i*part+n, "/a/page"))
			if n%5 == 0 { // 20,000: two portions and nothing more
				changes.Events = append(changes.Events, gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: "n", At: start})
			}
		}
		b.save(changes)
	}
	if n := b.contact(c.ID).PageViews; n != views {
		t.Fatalf("%d page views, want %d", n, views)
	}
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}})
	b.wantGone("contact", c)
	again := &gateway.Contact{ID: c.ID, WorkspaceID: b.w}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{again}})
	if n := b.contact(c.ID).PageViews; n != 0 {
		t.Errorf("%d page views are left", n)
	}
	if n := len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9}))); n != 0 {
		t.Errorf("%d events are left", n)
	}
	if v := b.contact(other.ID); v.PageViews != 1 || len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, other.ID, gateway.HistoryQuery{Limit: 9}))) != 1 {
		t.Errorf("the other contact has %d page views, want 1", v.PageViews)
	}
}

func testDeleteCompany(t *testing.T, b *bundle) {
	names := []string{"A", "B", "C", "D", "E"}
	companies := map[string]*gateway.Company{}
	changes := &gateway.Changes{}
	for _, name := range names {
		companies[name] = b.newCompany("id "+name, name)
		changes.NewCompanies = append(changes.NewCompanies, companies[name])
	}
	// Who works where, the primary company first, then from the oldest on; behind a
	// minus, where they did before all that. A and B will go.
	cases := []struct{ name, works, want string }{
		{"no other", "A", ""},
		{"primary goes", "ADC", "DC"},
		{"not the primary one goes", "DAC", "DC"},
		{"both go, one primary", "ABEC", "EC"},
		{"both go, neither primary", "CAB", "C"},
		{"only those two", "BA", ""},
		{"has left them", "C-A-B", "C"},
		{"others have ended", "A-D-C", ""},
		{"an older one has ended", "ACD-E", "CD"},
		{"nothing to do with it", "CDE", "CDE"},
	}
	contacts := make([]*gateway.Contact, len(cases))
	for i, c := range cases {
		contacts[i] = b.newContact(c.name)
		contacts[i].Fingerprint = 1<<63 + uint64(i)
		changes.NewContacts = append(changes.NewContacts, contacts[i])
		former := false
		for n, r := range c.works {
			if r == '-' {
				former = true
				continue
			}
			m := gateway.Membership{WorkspaceID: b.w, ContactID: contacts[i].ID, CompanyID: companies[string(r)].ID, Source: gateway.SourceManual, Primary: n == 0, Since: at(n), By: "x"}
			if former {
				m.Since, m.Until = at(n-100), at(n-50)
			}
			changes.NewMemberships = append(changes.NewMemberships, m)
		}
	}
	b.save(changes)
	b.save(&gateway.Changes{DeletedCompanies: []gateway.CompanyID{companies["B"].ID, companies["A"].ID, companies["B"].ID}})

	b.wantCount("afterwards", int64(len(cases)), 3)
	for i, c := range cases {
		v, got := b.contact(contacts[i].ID), ""
		for n, m := range v.Companies {
			got += m.Name
			if m.Primary != (n == 0) {
				t.Errorf("%s: membership %d is primary: %t", c.name, n, m.Primary)
			}
		}
		if got != c.want {
			t.Errorf("%s: works for %q, want %q", c.name, got, c.want)
		}
		// A payload that names the company must make it anew.
		lost := strings.ContainsAny(strings.SplitN(c.works, "-", 2)[0], "AB")
		if want := contacts[i].Fingerprint; v.Fingerprint != want && !lost || v.Fingerprint != 0 && lost {
			t.Errorf("%s: fingerprint %x, before %x", c.name, v.Fingerprint, want)
		}
	}
	for _, name := range []string{"A", "B"} {
		_, err := b.Company(b.ctx, b.w, companies[name].ID)
		wantCode(t, "by id", err, gateway.CodeNotFound)
		_, err = b.CompanyByCustomID(b.ctx, b.w, companies[name].CustomID)
		wantCode(t, "by custom id", err, gateway.CodeNotFound)
		wantCode(t, "once more", b.trySave(&gateway.Changes{DeletedCompanies: []gateway.CompanyID{companies[name].ID}}), gateway.CodeNotFound)
	}
	refs := gateway.Refs{CompanyCustomIDs: []string{"id A"}, CompanyIDs: []gateway.CompanyID{companies["A"].ID}, CompanyNames: []string{"A"}}
	equal(t, "loaded", b.load(refs), &gateway.Loaded{})

	// A company of the same id has none of the employees, and they can come anew.
	again := &gateway.Company{ID: companies["A"].ID, WorkspaceID: b.w, CustomID: "id A", Name: "A"}
	b.save(&gateway.Changes{NewCompanies: []*gateway.Company{again}})
	equal(t, "new company of the same id", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, again.ID)), &gateway.CompanyView{Company: *again})
	w2 := b.workspace("Other")
	err := b.Update(b.ctx, func(tx gateway.Tx) error {
		return tx.Save(w2, &gateway.Changes{DeletedCompanies: []gateway.CompanyID{again.ID}})
	})
	wantCode(t, "by another workspace", err, gateway.CodeNotFound)
	b.wantCount("at last", int64(len(cases)), 4)
}

// addEvent adds an event in a transaction of its own.
func (b *bundle) addEvent(w gateway.WorkspaceID, e gateway.Event) (id int64, first bool) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) (err error) {
		id, first, err = tx.AddEvent(w, e)
		return err
	})
	return id, first
}

func testAddEvent(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}})
	w2 := b.workspace("Other")
	event := func(kind gateway.EventKind, name string) gateway.Event {
		return gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: kind, Name: name, At: at(1)}
	}
	want := event(gateway.EventCustom, "Zażółć")
	want.Key, want.Data = "k1", `{"a":1.50}`
	id, first := b.addEvent(b.w, want)
	if id == 0 || !first {
		t.Errorf("the first event: id %d, first %t", id, first)
	}
	equal(t, "stored", eventsWithoutIDs(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9}))), []gateway.Event{want})

	b.save(&gateway.Changes{Events: []gateway.Event{event(gateway.EventCustom, "saved"), event(gateway.EventCustom, "saved"), event(gateway.EventProduct, "order")}})
	long := strings.Repeat("ü", 127)
	for _, tt := range []struct {
		what string
		w    gateway.WorkspaceID
		kind gateway.EventKind
		name string
		want bool
	}{
		{"again", b.w, gateway.EventCustom, "Zażółć", false},
		{"another case", b.w, gateway.EventCustom, "zażółć", true},
		{"another kind", b.w, gateway.EventProduct, "Zażółć", true},
		{"another workspace", w2, gateway.EventCustom, "Zażółć", true},
		{"saved before", b.w, gateway.EventCustom, "saved", false},
		{"saved before, another kind", b.w, gateway.EventProduct, "saved", true},
		{"saved before, another workspace", w2, gateway.EventProduct, "order", true},
		{"saved before, product", b.w, gateway.EventProduct, "order", false},
		{"a start of another", b.w, gateway.EventCustom, "save", true},
		{"long", b.w, gateway.EventCustom, long, true},
		{"long, again", b.w, gateway.EventCustom, long, false},
		{"no name", b.w, gateway.EventCustom, "", true},
	} {
		next, first := b.addEvent(tt.w, event(tt.kind, tt.name))
		if first != tt.want {
			t.Errorf("%s: first is %t, want %t", tt.what, first, tt.want)
		}
		if next <= id {
			t.Errorf("%s: id %d follows %d", tt.what, next, id)
		}
		id = next
	}
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}})
	if _, first := b.addEvent(b.w, event(gateway.EventCustom, "saved")); first {
		t.Error("a name is forgotten with the contact who had it")
	}
}

// testEventNamesRollback: a name that was not committed is new to whoever comes
// next, by both doors.
func testEventNamesRollback(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}})
	event := gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: "signup", At: at(1)}
	errFailed := errors.New("failed")
	add := func(tx gateway.Tx) (bool, error) {
		_, first, err := tx.AddEvent(b.w, event)
		return first, err
	}
	save := func(tx gateway.Tx) (bool, error) {
		return true, tx.Save(b.w, &gateway.Changes{Events: []gateway.Event{event}})
	}
	for i, do := range []func(gateway.Tx) (bool, error){add, save} {
		event.Name = fmt.Sprint("signup", i)
		err := b.Update(b.ctx, func(tx gateway.Tx) error {
			if first, err := do(tx); err != nil || !first {
				t.Errorf("in the transaction that fails: first is %t, %v", first, err)
			}
			if first, err := add(tx); err != nil || first {
				t.Errorf("a second time in it: first is %t, %v", first, err)
			}
			return errFailed
		})
		if !errors.Is(err, errFailed) {
			t.Fatal(err)
		}
		b.update(func(tx gateway.Tx) error {
			for n, want := range []bool{true, false} {
				if first, err := add(tx); err != nil || first != want {
					t.Errorf("after the rollback, %d: first is %t, want %t, %v", n, first, want, err)
				}
			}
			return nil
		})
	}
	if n := len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 99}))); n != 4 {
		t.Errorf("%d events are stored, want 4", n)
	}
}

// testEventNamesAtOnce: of those who add the same name at the same time one is
// the first. There are more names than a store keeps in memory.
func testEventNamesAtOnce(t *testing.T, b *bundle) {
	const writers, rounds = 4, 10
	c := b.newContact("u1")
	many := make([]gateway.Event, 12_000)
	for i := range many {
		many[i] = gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventProduct, Name: fmt.Sprint("n", i), At: start}
	}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}, Events: many})
	var firsts [rounds]int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for i := range rounds {
				first := false
				err := b.Update(b.ctx, func(tx gateway.Tx) (err error) {
					_, first, err = tx.AddEvent(b.w, gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: fmt.Sprint("n", i), At: start})
					return err
				})
				if err != nil {
					t.Errorf("update: %v", err)
				}
				mu.Lock()
				if first {
					firsts[i]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, n := range firsts {
		if n != 1 {
			t.Errorf("name %d: %d were the first", i, n)
		}
	}
	for _, i := range []int{0, 1, 5000, 9_999, 10_000, 11_999} {
		if _, first := b.addEvent(b.w, many[i]); first {
			t.Errorf("name %d is new again", i)
		}
	}
}

// life is a model of contacts and companies that come and go.
type life struct {
	b         *bundle
	rnd       *rand.Rand
	contacts  map[gateway.ContactID]*lifeContact
	companies map[gateway.CompanyID]*gateway.Company
	names     int // given out
}

type lifeContact struct {
	gateway.Contact
	views   int64
	keys    []string
	members map[gateway.CompanyID]*gateway.Membership // current ones
}

// testLife does to one workspace, at random, what can happen to contacts and
// companies up to their end, and compares what is there with the model.
func testLife(t *testing.T, b *bundle) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := &life{b: b, rnd: rand.New(rand.NewPCG(seed, 1)), contacts: map[gateway.ContactID]*lifeContact{}, companies: map[gateway.CompanyID]*gateway.Company{}}
	steps := []func(){l.newContact, l.newContact, l.newContact, l.newCompany, l.join, l.join, l.join, l.leave, l.see, l.merge, l.merge, l.deleteContacts, l.deleteCompanies}
	for i := range 300 {
		steps[l.rnd.IntN(len(steps))]()
		if i%10 == 9 {
			l.check()
		}
		if t.Failed() {
			t.Fatalf("step %d", i)
		}
	}
}

// some picks up to n contacts that stand by themselves.
func (l *life) some(n int) (out []*lifeContact) {
	for _, id := range slices.Sorted(maps.Keys(l.contacts)) {
		if c := l.contacts[id]; c.MergedInto == 0 {
			out = append(out, c)
		}
	}
	l.rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

func (l *life) someCompanies(n int) []gateway.CompanyID {
	out := slices.Sorted(maps.Keys(l.companies))
	l.rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(n, len(out))]
}

func (l *life) name(prefix string) string {
	l.names++
	return fmt.Sprint(prefix, l.names)
}

func (l *life) newContact() {
	c := &lifeContact{Contact: *l.b.newContact(l.name("u")), keys: []string{l.name("k")}, members: map[gateway.CompanyID]*gateway.Membership{}}
	l.b.save(&gateway.Changes{NewContacts: []*gateway.Contact{&c.Contact}, NewKeys: []gateway.VisitorKey{{Key: c.keys[0], ContactID: c.ID, CreatedAt: start}}})
	l.contacts[c.ID] = c
}

func (l *life) newCompany() {
	c := l.b.newCompany(l.name("c"), "Acme")
	l.b.save(&gateway.Changes{NewCompanies: []*gateway.Company{c}})
	l.companies[c.ID] = c
}

func (l *life) join() {
	for _, c := range l.some(1) {
		for _, id := range l.someCompanies(1) {
			if c.members[id] != nil {
				return
			}
			// Few times, so that the id has to decide which is the older one.
			m := &gateway.Membership{WorkspaceID: l.b.w, ContactID: c.ID, CompanyID: id, Source: gateway.SourceAPI, Primary: len(c.members) == 0, Since: at(l.rnd.IntN(4))}
			l.b.save(&gateway.Changes{NewMemberships: []gateway.Membership{*m}})
			c.members[id] = m
		}
	}
}

// promote makes the oldest membership of a contact primary if none is.
func (c *lifeContact) promote() *gateway.Membership {
	all := c.companies()
	if len(all) == 0 || all[0].Primary {
		return nil
	}
	all[0].Primary = true
	return all[0]
}

// companies are a contact's in the order in which they are shown.
func (c *lifeContact) companies() []*gateway.Membership {
	return slices.SortedFunc(maps.Values(c.members), func(a, b *gateway.Membership) int {
		if a.Primary != b.Primary {
			if a.Primary {
				return -1
			}
			return 1
		}
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.CompanyID, b.CompanyID))
	})
}

// leave ends a membership as the domain does: it names the next primary one.
func (l *life) leave() {
	for _, c := range l.some(1) {
		for _, m := range c.companies()[:min(1, len(c.members))] {
			changes := &gateway.Changes{}
			delete(c.members, m.CompanyID)
			ended := *m
			ended.Until = at(1000)
			changes.EndedMemberships = append(changes.EndedMemberships, ended)
			if next := c.promote(); next != nil {
				changes.ChangedMemberships = append(changes.ChangedMemberships, *next)
			}
			l.b.save(changes)
		}
	}
}

func (l *life) see() {
	for _, c := range l.some(3) {
		l.b.save(&gateway.Changes{PageViews: []gateway.PageView{l.b.view(&c.Contact, l.rnd.IntN(100), "/")}})
		c.views++
	}
}

// merge makes an alias of a contact without companies.
func (l *life) merge() {
	two := l.some(2)
	if len(two) < 2 || len(two[1].members) > 0 {
		return
	}
	winner, loser := two[0], two[1]
	l.b.merge(&winner.Contact, &loser.Contact)
	winner.keys = append(winner.keys, loser.keys...) // they follow
	winner.views += loser.views
	loser.keys, loser.views = nil, 0
}

func (l *life) deleteContacts() {
	changes := &gateway.Changes{}
	gone := map[gateway.ContactID]bool{}
	for _, c := range l.some(1 + l.rnd.IntN(2)) {
		changes.DeletedContacts = append(changes.DeletedContacts, c.ID)
		gone[c.ID] = true
	}
	l.b.save(changes)
	for n := 0; n < len(gone); {
		n = len(gone)
		for id, c := range l.contacts {
			if gone[c.MergedInto] {
				gone[id] = true
			}
		}
	}
	maps.DeleteFunc(l.contacts, func(id gateway.ContactID, _ *lifeContact) bool { return gone[id] })
	for id := range gone {
		_, err := l.b.Contact(l.b.ctx, l.b.w, id)
		wantCode(l.b.t, fmt.Sprint("deleted contact ", id), err, gateway.CodeNotFound)
	}
}

func (l *life) deleteCompanies() {
	ids := l.someCompanies(1 + l.rnd.IntN(2))
	l.b.save(&gateway.Changes{DeletedCompanies: ids})
	for _, id := range ids {
		delete(l.companies, id)
		_, err := l.b.Company(l.b.ctx, l.b.w, id)
		wantCode(l.b.t, fmt.Sprint("deleted company ", id), err, gateway.CodeNotFound)
	}
	for _, c := range l.contacts {
		for _, id := range ids {
			delete(c.members, id)
		}
		c.promote()
	}
}

func (l *life) check() {
	b, t := l.b, l.b.t
	t.Helper()
	employees := map[gateway.CompanyID][]gateway.ContactID{}
	var listed []gateway.ContactID
	keys := map[string]gateway.ContactID{}
	for _, id := range slices.Sorted(maps.Keys(l.contacts)) {
		c := l.contacts[id]
		survivor := c
		for survivor.MergedInto != 0 {
			survivor = l.contacts[survivor.MergedInto]
		}
		v := b.contact(id)
		if v.ID != survivor.ID || v.PageViews != survivor.views {
			t.Errorf("contact %d is %d with %d page views, want %d with %d", id, v.ID, v.PageViews, survivor.ID, survivor.views)
		}
		if c != survivor {
			continue
		}
		listed = append(listed, id)
		var got, want []gateway.Membership
		for _, m := range v.Companies {
			got = append(got, m.Membership)
		}
		for _, m := range c.companies() {
			want = append(want, *m)
			employees[m.CompanyID] = append(employees[m.CompanyID], id)
		}
		equal(t, fmt.Sprint("memberships of ", id), got, want)
		for _, k := range c.keys {
			keys[k] = id
		}
	}
	slices.Reverse(listed)
	equal(t, "contacts", contactIDs(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 10_000))), listed)
	var all []string
	for i := range l.names {
		all = append(all, fmt.Sprint("k", i+1))
	}
	equal(t, "keys", b.load(gateway.Refs{Keys: all}).Keys, keys)
	found := must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 10_000))
	for _, v := range found {
		slices.Sort(v.Employees)
		equal(t, fmt.Sprint("employees of ", v.ID), v.Employees, employees[v.ID])
		if int(v.EmployeesCount) != len(v.Employees) {
			t.Errorf("company %d counts %d employees, has %d", v.ID, v.EmployeesCount, len(v.Employees))
		}
	}
	if len(found) != len(l.companies) {
		t.Errorf("%d companies, want %d", len(found), len(l.companies))
	}
	b.wantCount("counters", int64(len(listed)), int64(len(l.companies)))
}
