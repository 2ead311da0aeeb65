// Package storetest says in tests what any gateway.Store must do, so that the
// stores for different databases cannot drift apart. Each store runs it in a
// test of its own.
//
// It owns the behaviour that the port promises. What only one database does
// (locks, a full disk, query plans) is tested beside that store.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"civgate/gateway"
)

// Run tests stores that open makes. Each call of open returns a new and empty
// store, which the caller of Run closes when the test ends.
func Run(t *testing.T, open func(t *testing.T) gateway.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, b *bundle)
	}{
		{"workspaces and keys", testWorkspaces},
		{"agents", testAgents},
		{"agents and owners", testAgentLife},
		{"invitations", testInvitations},
		{"sessions", testSessions},
		{"audit log", testAudit},
		{"settings round trip", testSettings},
		{"empty store", testEmpty},
		{"contact round trip", testContactRoundTrip},
		{"attribute values", testAttributeValues},
		{"contact changes", testContactChanges},
		{"custom ids change hands", testCustomIDsChangeHands},
		{"conflicts", testConflicts},
		{"changes of what is not there", testMissing},
		{"load", testLoad},
		{"load follows merges", testLoadMerged},
		{"long texts", testLongTexts},
		{"visitor keys", testVisitorKeys},
		{"e-mail and phone", testEmailAndPhone},
		{"contact pages", testContactPages},
		{"alias chain", testAliasChain},
		{"many aliases", testManyAliases},
		{"activity", testActivity},
		{"history order and limits", testHistory},
		{"history in pages", testHistoryPages},
		{"events of a workspace", testWorkspaceEvents},
		{"companies", testCompanies},
		{"memberships end and restart", testMembershipLife},
		{"primary membership", testPrimary},
		{"employees", testEmployees},
		{"keys with names and scopes", testAPIKey},
		{"members", testMembers},
		{"conditions", testConditions},
		{"find by fields", testFindFields},
		{"find in pages", testFindPages},
		{"find as a model does", testFindProperty},
		{"find by gender and status", testChoices},
		{"orders", testOrders},
		{"find by activity", func(t *testing.T, b *bundle) { testFindActivity(t, b) }},
		{"attribute definitions", testDefs},
		{"messages", testMessages},
		{"forgetting messages", testForgetMessages},
		{"ids", testIDs},
		{"inbox positions", testPositions},
		{"rollback", testRollback},
		{"panic in a transaction", testPanic},
		{"visits", testVisits},
		{"quarantine", testQuarantine},
		{"workspaces are apart", testWorkspacesApart},
		{"large batch", testLargeBatch},
		{"concurrency", testConcurrency},
		{"ended context", testEndedContext},
		{"deleted keys of the API", testDeleteAPIKey},
		{"deleted contacts", testDeleteContact},
		{"deleted contacts that are not there", testDeleteContactMissing},
		{"deleted aliases", testDeleteAlias},
		{"deleting makes room", testDeleteMakesRoom},
		{"deleting a long history", testDeleteLongHistory},
		{"deleted companies", testDeleteCompany},
		{"added events", testAddEvent},
		{"records", testRecords},
		{"record pages", testRecordPages},
		{"many records", testManyRecords},
		{"dropped attributes", testDropAttribute},
		{"dropped attributes that are not there", testDropAttributeMissing},
		{"attributes dropped from many", testDropAttributeMany},
		{"names of events after a rollback", testEventNamesRollback},
		{"names of events at once", testEventNamesAtOnce},
		{"lists", testLists},
		{"lists of merged contacts", testInheritedLists},
		{"lists of many merged contacts", testInheritManyLists},
		{"deleting a long list", testDeleteLongList},
		{"segments", testSegments},
		{"filters that a contact meets", testMeets},
		{"kept answers", testKeptAnswers},
		{"inspections", testInspections},
		{"inspections kept", testInspectionsKept},
		{"life", testLife},
		{"numbers of employees", testEmployeeNumbers},
		{"companies by domain", testCompanyDomains},
		{"contacts' e-mails", testContactEmails},
		{"jobs", testJobs},
		{"changed workspaces", testSetWorkspace},
		{"tags", testTags},
		{"keys in a transaction", testKeyChanges},
		{"changed attributes", testSetAttribute},
		{"idle visitors", testIdleVisitors},
		{"uses of tags", testTagUses},
		{"find by tag", testFindByTag},
		{"tags are taken away", testUntag},
		{"added tags", testAddTag},
		{"what the people of a company did", testAccount},
		{"contacts by the start of their e-mail", testEmailPrefix},
		{"companies without employees", testBriefCompanies},
		{"last active", testLastActive},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := &bundle{Store: open(t), t: t, ctx: t.Context()}
			b.w = b.workspace("Acme")
			c.test(t, b)
		})
	}
}

// bundle is a store with one workspace, and the short ways to use it that the
// tests share.
type bundle struct {
	gateway.Store
	t   *testing.T
	ctx context.Context
	w   gateway.WorkspaceID
}

// start is the time at which things happen; day by day, second by second.
var start = time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

func (b *bundle) workspace(name string, keys ...gateway.APIKey) gateway.WorkspaceID {
	b.t.Helper()
	id, err := b.CreateWorkspace(b.ctx, gateway.Workspace{Name: name, CreatedAt: start, Settings: gateway.DefaultSettings()}, keys...)
	if err != nil {
		b.t.Fatalf("create workspace %s: %v", name, err)
	}
	return id
}

// update runs fn in a transaction that must succeed.
func (b *bundle) update(fn func(tx gateway.Tx) error) {
	b.t.Helper()
	if err := b.Update(b.ctx, fn); err != nil {
		b.t.Fatalf("update: %v", err)
	}
}

// save saves changes, which must succeed.
func (b *bundle) save(c *gateway.Changes) {
	b.t.Helper()
	if err := b.trySave(c); err != nil {
		b.t.Fatalf("save: %v", err)
	}
}

func (b *bundle) trySave(c *gateway.Changes) error {
	return b.Update(b.ctx, func(tx gateway.Tx) error { return tx.Save(b.w, c) })
}

// load loads in a transaction of its own.
func (b *bundle) load(refs gateway.Refs) *gateway.Loaded {
	b.t.Helper()
	var l *gateway.Loaded
	b.update(func(tx gateway.Tx) (err error) {
		l, err = tx.Load(b.w, refs)
		return err
	})
	return l
}

// newContact is a contact of the test's workspace with an id of its own.
func (b *bundle) newContact(customID string) *gateway.Contact {
	b.t.Helper()
	return &gateway.Contact{ID: gateway.ContactID(b.nextID(gateway.IDContact)), WorkspaceID: b.w, CustomID: customID, CreatedAt: start, UpdatedAt: start}
}

func (b *bundle) newCompany(customID, name string) *gateway.Company {
	b.t.Helper()
	return &gateway.Company{ID: gateway.CompanyID(b.nextID(gateway.IDCompany)), WorkspaceID: b.w, CustomID: customID, Name: name, CreatedAt: start, UpdatedAt: start}
}

func (b *bundle) nextID(kind gateway.IDKind) (id int64) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) (err error) {
		id, err = tx.NextIDs(kind, 1)
		return err
	})
	return id
}

// contact reads a contact that must be there.
func (b *bundle) contact(id gateway.ContactID) *gateway.ContactView {
	b.t.Helper()
	v, err := b.Contact(b.ctx, b.w, id)
	if err != nil {
		b.t.Fatalf("contact %d: %v", id, err)
	}
	return v
}

// merge makes loser an alias of winner.
func (b *bundle) merge(winner, loser *gateway.Contact) {
	b.t.Helper()
	loser.MergedInto = winner.ID
	b.save(&gateway.Changes{
		Contacts: []*gateway.Contact{winner, loser},
		Merges: []gateway.Merge{{
			WorkspaceID: b.w, At: start, By: "widget", Rule: "user_id known", WinnerID: winner.ID, LoserID: loser.ID,
			Before: `{"winner":{},"loser":{}}`, After: `{}`,
		}},
	})
}

func text(s string) gateway.Value { return gateway.Value{Type: gateway.TypeText, Raw: `"` + s + `"`} }

func contactIDs(views []*gateway.ContactView) (ids []gateway.ContactID) {
	for _, v := range views {
		ids = append(ids, v.ID)
	}
	return ids
}

func wantCode(t *testing.T, what string, err error, want gateway.Code) {
	t.Helper()
	if got := gateway.CodeOf(err); got != want {
		t.Errorf("%s: got code %q (%v), want %q", what, got, err, want)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func testWorkspaces(t *testing.T, b *bundle) {
	settings := gateway.Settings{Origins: []string{"acme.test"}, VerifyIdentity: true, IdentitySecret: "s"}
	widget := gateway.APIKey{Kind: gateway.KeyWidget, Secret: "A1B2C3", CreatedAt: start}
	rest := gateway.APIKey{Kind: gateway.KeyREST, Secret: strings.Repeat("ab", 32), Scope: gateway.ScopeAdmin, CreatedAt: at(1)}
	id := must[gateway.WorkspaceID](t)(b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Zażółć 株式会社", CreatedAt: at(3), Settings: settings}, widget, rest))
	if id == 0 || id == b.w {
		t.Fatalf("id of the new workspace is %d, that of the first %d", id, b.w)
	}
	want := gateway.Workspace{ID: id, Name: "Zażółć 株式会社", CreatedAt: at(3), Settings: settings}
	for _, k := range []gateway.APIKey{widget, rest} {
		equal(t, "workspace by key", must[*gateway.Workspace](t)(b.WorkspaceByKey(b.ctx, k.Kind, k.Secret)), &want)
	}
	_, err := b.WorkspaceByKey(b.ctx, gateway.KeyREST, "A1B2C3")
	wantCode(t, "key of another kind", err, gateway.CodeNotFound)
	_, err = b.WorkspaceByKey(b.ctx, gateway.KeyWidget, "a1b2c3")
	wantCode(t, "key in another case", err, gateway.CodeNotFound)

	all := must[[]gateway.Workspace](t)(b.Workspaces(b.ctx))
	if len(all) != 2 || all[0].ID != b.w || all[1].ID != id {
		t.Errorf("workspaces: got %v", all)
	}
	widget.WorkspaceID, rest.WorkspaceID = id, id
	equal(t, "keys", must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, id)), []gateway.APIKey{widget, rest})

	_, err = b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Other"}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: "NEW"}, widget)
	wantCode(t, "key that is taken", err, gateway.CodeConflict)
	if n := len(must[[]gateway.Workspace](t)(b.Workspaces(b.ctx))); n != 2 {
		t.Errorf("after a conflict there are %d workspaces, want 2", n)
	}
	_, err = b.WorkspaceByKey(b.ctx, gateway.KeyWidget, "NEW")
	wantCode(t, "key of a workspace that was not made", err, gateway.CodeNotFound)

	second := gateway.APIKey{WorkspaceID: id, Kind: gateway.KeyWidget, Secret: "D4", CreatedAt: at(2)}
	if err := b.AddAPIKey(b.ctx, id, second); err != nil {
		t.Fatal(err)
	}
	equal(t, "keys after one was added", must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, id)), []gateway.APIKey{widget, rest, second})
	wantCode(t, "same key again", b.AddAPIKey(b.ctx, b.w, second), gateway.CodeConflict)
	wantCode(t, "key for no workspace", b.AddAPIKey(b.ctx, 999, gateway.APIKey{Kind: gateway.KeyREST, Secret: "x"}), gateway.CodeNotFound)
}

func testAgents(t *testing.T, b *bundle) {
	ada := gateway.Agent{WorkspaceID: b.w, Email: "ada@acme.test", PasswordHash: "$argon2id$…", Role: gateway.RoleOwner, CreatedAt: at(1)}
	bob := gateway.Agent{WorkspaceID: b.w, Email: "bob@acme.test", PasswordHash: "$argon2id$…", Role: gateway.RoleViewer, CreatedAt: at(0)}
	for _, a := range []gateway.Agent{bob, ada} {
		if err := b.AddAgent(b.ctx, a); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "agents", must[[]gateway.Agent](t)(b.Agents(b.ctx, b.w)), []gateway.Agent{ada, bob})
	equal(t, "agents of another workspace", len(must[[]gateway.Agent](t)(b.Agents(b.ctx, b.w+1))), 0)
	wantCode(t, "same agent again", b.AddAgent(b.ctx, ada), gateway.CodeConflict)
	wantCode(t, "agent of no workspace", b.AddAgent(b.ctx, gateway.Agent{WorkspaceID: 999, Email: "x"}), gateway.CodeNotFound)
}

func testSettings(t *testing.T, b *bundle) {
	for _, s := range []gateway.Settings{
		{},
		gateway.DefaultSettings(),
		{Origins: []string{"a.test", "*.b.test"}, UnifiedIdentification: true, VerifyIdentity: true, IdentitySecret: "\"quoted\" ü"},
	} {
		if err := b.UpdateSettings(b.ctx, b.w, s); err != nil {
			t.Fatal(err)
		}
		equal(t, "settings", must[[]gateway.Workspace](t)(b.Workspaces(b.ctx))[0].Settings, s)
	}
	wantCode(t, "settings of no workspace", b.UpdateSettings(b.ctx, 999, gateway.Settings{}), gateway.CodeNotFound)
}

func testEmpty(t *testing.T, b *bundle) {
	if err := b.Ping(b.ctx); err != nil {
		t.Errorf("ping: %v", err)
	}
	_, err := b.Contact(b.ctx, b.w, 1)
	wantCode(t, "contact", err, gateway.CodeNotFound)
	_, err = b.ContactByCustomID(b.ctx, b.w, "")
	wantCode(t, "contact by custom id", err, gateway.CodeNotFound)
	_, err = b.ContactByKey(b.ctx, b.w, "")
	wantCode(t, "contact by key", err, gateway.CodeNotFound)
	_, err = b.Company(b.ctx, b.w, 1)
	wantCode(t, "company", err, gateway.CodeNotFound)
	_, err = b.CompanyByCustomID(b.ctx, b.w, "x")
	wantCode(t, "company by custom id", err, gateway.CodeNotFound)
	_, err = b.VisitorKeys(b.ctx, b.w, 1, 10)
	wantCode(t, "visitor keys", err, gateway.CodeNotFound)
	_, err = b.PageViews(b.ctx, b.w, 1, gateway.HistoryQuery{Limit: 10})
	wantCode(t, "page views", err, gateway.CodeNotFound)
	_, err = b.Events(b.ctx, b.w, 1, gateway.HistoryQuery{Limit: 10})
	wantCode(t, "events", err, gateway.CodeNotFound)
	_, err = b.Merges(b.ctx, b.w, 1, gateway.HistoryQuery{Limit: 10})
	wantCode(t, "merges", err, gateway.CodeNotFound)

	for name, n := range map[string]int{
		"contacts":           len(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 10))),
		"contacts by email":  len(must[[]*gateway.ContactView](t)(b.ContactsByEmail(b.ctx, b.w, "a@b.test", 10))),
		"contacts by phone":  len(must[[]*gateway.ContactView](t)(b.ContactsByPhone(b.ctx, b.w, "+1", 10))),
		"companies":          len(must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 10))),
		"definitions":        len(must[[]gateway.AttributeDef](t)(b.AttributeDefs(b.ctx, b.w))),
		"quarantine":         len(must[[]gateway.Quarantined](t)(b.Quarantine(b.ctx, b.w, 10))),
		"keys":               len(must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, b.w))),
		"count of contacts":  int(must[int64](t)(b.CountContacts(b.ctx, b.w))),
		"count of others":    int(must[int64](t)(b.CountContacts(b.ctx, 999))),
		"count of companies": int(must[int64](t)(b.CountCompanies(b.ctx, b.w))),
		"visits":             int(must[int64](t)(b.Visits(b.ctx, b.w))),
		"inbox position":     int(must[int64](t)(b.InboxPosition(b.ctx, "n1"))),
		"forgotten":          must[int](t)(b.ForgetMessages(b.ctx, at(0), 10)),
	} {
		if n != 0 {
			t.Errorf("%s: got %d, want 0", name, n)
		}
	}
	l := b.load(gateway.Refs{Keys: []string{"k"}, CustomIDs: []string{"c"}, EmailKeys: []string{"e"}, Contacts: []gateway.ContactID{1},
		CompanyCustomIDs: []string{"c"}, CompanyIDs: []gateway.CompanyID{1}, CompanyNames: []string{"n"}, Defs: true})
	equal(t, "loaded", l, &gateway.Loaded{})
	b.save(&gateway.Changes{})
	b.update(func(tx gateway.Tx) error {
		repeats, err := tx.ClaimMessages(b.w, nil, start)
		if len(repeats) != 0 {
			t.Errorf("claiming nothing repeats %v", repeats)
		}
		return err
	})
}

func testContactRoundTrip(t *testing.T, b *bundle) {
	full := b.newContact("42")
	full.Email, full.EmailKey = "Ada@Acme.test", "ada@acme.test"
	full.Attributes = gateway.Attributes{
		{Name: "gender", Value: text("female")},
		{Name: "name", Value: text("Ada Lovelace")},
		{Name: "phone_number", Value: text("+48123456789")},
		{Name: "score", Value: gateway.Value{Type: gateway.TypeNumber, Raw: "0"}},
		{Name: "status", Value: text("user")},
	}
	full.Key, full.Fingerprint, full.LastIP = "abcdefghijkl", math.MaxUint64, "192.0.2.0"
	full.CreatedAt, full.UpdatedAt = at(-5), at(6)
	least := b.newContact("")
	long := b.newContact(strings.Repeat("ü", 255))
	long.Attributes = gateway.Attributes{{Name: strings.Repeat("n", 255), Value: text(strings.Repeat("v", 8190))}}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{long, least, full}})

	for _, c := range []*gateway.Contact{full, least, long} {
		v := b.contact(c.ID)
		equal(t, "contact", v.Contact, *c)
		if len(v.Companies) != 0 {
			t.Errorf("contact %d has companies %v", c.ID, v.Companies)
		}
		equal(t, "loaded", b.load(gateway.Refs{Contacts: []gateway.ContactID{c.ID}}).Contacts, []*gateway.Contact{c})
		if c.CustomID == "" {
			continue
		}
		equal(t, "by custom id", must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, c.CustomID)).Contact, *c)
	}
	_, err := b.ContactByCustomID(b.ctx, b.w, "")
	wantCode(t, "contact without a custom id by custom id", err, gateway.CodeNotFound)
}

func testAttributeValues(t *testing.T, b *bundle) {
	cases := []struct {
		name  string
		value gateway.Value
	}{
		{"text", text("plain")},
		{"empty text", text("")},
		{"quotes and backslashes", text(`a \"b\" \\ c`)},
		{"escapes", text(`line\nbreak\ttab\u0001`)},
		{"braces in a text", text(`{\"a\":[1,2],}`)},
		{"unicode", text("日本語 🙂 zażółć \u2028")},
		{"8 KiB", text(strings.Repeat("x", 8190))},
		{"zero", gateway.Value{Type: gateway.TypeNumber, Raw: "0"}},
		{"fraction", gateway.Value{Type: gateway.TypeNumber, Raw: "-1.5e-300"}},
		{"beyond float64's integers", gateway.Value{Type: gateway.TypeNumber, Raw: "12345678901234567890"}},
		{"false", gateway.Value{Type: gateway.TypeBool, Raw: "false"}},
		{"true", gateway.Value{Type: gateway.TypeBool, Raw: "true"}},
		{"empty list", gateway.Value{Type: gateway.TypeList, Raw: "[]"}},
		{"list", gateway.Value{Type: gateway.TypeList, Raw: `["a,]","b\"[{",1,true]`}},
		{"list of lists", gateway.Value{Type: gateway.TypeJSON, Raw: `[[1],[2]]`}},
		{"object", gateway.Value{Type: gateway.TypeJSON, Raw: `{"a":{"b":["}"]},"c":null}`}},
	}
	// The attributes with a meaning to stores must take any value, too.
	for _, name := range []string{"any", "name", "phone_number", "status", "a\"b\\c", "ключ", "_"} {
		for _, c := range cases {
			contact := b.newContact("")
			contact.Attributes.Set(name, c.value)
			contact.Attributes.Set("other", text("stays"))
			company := b.newCompany("", "Acme")
			company.Attributes = contact.Attributes.Clone()
			b.save(&gateway.Changes{NewContacts: []*gateway.Contact{contact}, NewCompanies: []*gateway.Company{company}})
			equal(t, name+" "+c.name+" of a contact", b.contact(contact.ID).Attributes, contact.Attributes)
			equal(t, name+" "+c.name+" of a company", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, company.ID)).Attributes, company.Attributes)
			l := b.load(gateway.Refs{Contacts: []gateway.ContactID{contact.ID}, CompanyIDs: []gateway.CompanyID{company.ID}})
			equal(t, name+" "+c.name+" loaded", []any{l.Contacts[0].Attributes, l.Companies[0].Attributes}, []any{contact.Attributes, company.Attributes})
		}
	}
	// A date's type is for the definitions to know; its text must come back.
	dated := b.newContact("")
	dated.Attributes.Set("birthday", gateway.Value{Type: gateway.TypeDate, Raw: `"2000-02-29"`})
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{dated}})
	if v, ok := b.contact(dated.ID).Attributes.Get("birthday"); !ok || v.Raw != `"2000-02-29"` {
		t.Errorf("date: got %v, %v", v, ok)
	}
}

func testContactChanges(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	c.Email, c.EmailKey, c.Key, c.LastIP = "a@b.test", "a@b.test", "k1", "192.0.2.0"
	c.Attributes = gateway.Attributes{{Name: "name", Value: text("A")}, {Name: "phone_number", Value: text("+1")}}
	other := b.newContact("u2")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c, other}})

	c.CustomID, c.Email, c.EmailKey, c.Key, c.LastIP = "u3", "", "", "k2", ""
	c.Attributes = gateway.Attributes{{Name: "plan", Value: text("pro")}}
	c.Fingerprint, c.UpdatedAt = 7, at(9)
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{c}})
	equal(t, "changed", b.contact(c.ID).Contact, *c)
	equal(t, "the other", b.contact(other.ID).Contact, *other)
	_, err := b.ContactByCustomID(b.ctx, b.w, "u1")
	wantCode(t, "old custom id", err, gateway.CodeNotFound)
	for what, found := range map[string][]*gateway.ContactView{
		"old e-mail": must[[]*gateway.ContactView](t)(b.ContactsByEmail(b.ctx, b.w, "a@b.test", 9)),
		"old phone":  must[[]*gateway.ContactView](t)(b.ContactsByPhone(b.ctx, b.w, "+1", 9)),
	} {
		if len(found) != 0 {
			t.Errorf("%s still finds %v", what, contactIDs(found))
		}
	}
	// Made and changed in one batch.
	fresh := b.newContact("u4")
	changed := *fresh
	changed.CustomID = "u5"
	b.update(func(tx gateway.Tx) error {
		if err := tx.Save(b.w, &gateway.Changes{NewContacts: []*gateway.Contact{fresh}}); err != nil {
			return err
		}
		return tx.Save(b.w, &gateway.Changes{Contacts: []*gateway.Contact{&changed}})
	})
	equal(t, "changed in the same transaction", b.contact(fresh.ID).Contact, changed)
}

func testCustomIDsChangeHands(t *testing.T, b *bundle) {
	x, y, z := b.newContact("x"), b.newContact("y"), b.newContact("z")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{x, y, z}})
	// In a circle, so that no order of single updates would do.
	x.CustomID, y.CustomID, z.CustomID = "y", "z", "x"
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{x, y, z}})
	for id, c := range map[string]*gateway.Contact{"y": x, "z": y, "x": z} {
		if got := must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, id)); got.ID != c.ID {
			t.Errorf("custom id %s is that of %d, want %d", id, got.ID, c.ID)
		}
	}
	// A merge hands it over, and a new contact takes what is given up.
	loser := *z
	loser.CustomID, loser.MergedInto = "", x.ID
	x.CustomID = "x"
	fresh := b.newContact("y")
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{x, &loser}, NewContacts: []*gateway.Contact{fresh}})
	equal(t, "winner", b.contact(loser.ID).Contact, *x)
	equal(t, "fresh", must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, "y")).ID, fresh.ID)
}

func testConflicts(t *testing.T, b *bundle) {
	c, d := b.newContact("u1"), b.newContact("u2")
	company, second := b.newCompany("c1", "Acme"), b.newCompany("c2", "Other")
	member := gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: company.ID, Source: gateway.SourceWidget, Since: start}
	def := gateway.AttributeDef{ID: 1, WorkspaceID: b.w, Entity: gateway.EntityContact, Name: "plan", Label: "Plan", Type: gateway.TypeText, CreatedAt: start}
	key := gateway.VisitorKey{Key: "k1", ContactID: c.ID, CreatedAt: start}
	b.save(&gateway.Changes{
		NewContacts: []*gateway.Contact{c, d}, NewCompanies: []*gateway.Company{company, second}, NewMemberships: []gateway.Membership{member},
		NewDefs: []gateway.AttributeDef{def}, NewKeys: []gateway.VisitorKey{key},
	})
	taken, again := *d, b.newContact("u1")
	taken.CustomID = "u1"
	companyAgain, takenCompany := b.newCompany("c1", "Acme"), *second
	takenCompany.CustomID = "c1"
	same := *c
	same.CustomID = "u9"
	for name, changes := range map[string]*gateway.Changes{
		"new contact":          {NewContacts: []*gateway.Contact{again}},
		"contact with same id": {NewContacts: []*gateway.Contact{&same}},
		"changed contact":      {Contacts: []*gateway.Contact{&taken}},
		"new company":          {NewCompanies: []*gateway.Company{companyAgain}},
		"changed company":      {Companies: []*gateway.Company{&takenCompany}},
		"membership":           {NewMemberships: []gateway.Membership{member}},
		"definition":           {NewDefs: []gateway.AttributeDef{def}},
		"visitor key":          {NewKeys: []gateway.VisitorKey{key}},
		"within the batch":     {NewKeys: []gateway.VisitorKey{{Key: "k2", ContactID: c.ID}, {Key: "k2", ContactID: d.ID}}},
	} {
		changes.Visits, changes.VisitsAt = 1, start
		wantCode(t, name, b.trySave(changes), gateway.CodeConflict)
	}
	equal(t, "contacts", contactIDs(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9))), []gateway.ContactID{d.ID, c.ID})
	equal(t, "contact", b.contact(d.ID).Contact, *d)
	for name, got := range map[string]int64{
		"contacts":  must[int64](t)(b.CountContacts(b.ctx, b.w)) - 2,
		"companies": must[int64](t)(b.CountCompanies(b.ctx, b.w)) - 2,
		"visits":    must[int64](t)(b.Visits(b.ctx, b.w)),
	} {
		if got != 0 {
			t.Errorf("conflicts left %d %s", got, name)
		}
	}
}

func testMissing(t *testing.T, b *bundle) {
	c, company := b.newContact("u1"), b.newCompany("c1", "Acme")
	m := gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: company.ID, Since: start, Until: at(1)}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}, NewCompanies: []*gateway.Company{company}})
	for name, changes := range map[string]*gateway.Changes{
		"contact":            {Contacts: []*gateway.Contact{{ID: 999, WorkspaceID: b.w}}},
		"company":            {Companies: []*gateway.Company{{ID: 999, WorkspaceID: b.w}}},
		"visitor key":        {MovedKeys: []gateway.VisitorKey{{Key: "none", ContactID: c.ID}}},
		"ended membership":   {EndedMemberships: []gateway.Membership{m}},
		"changed membership": {ChangedMemberships: []gateway.Membership{m}},
	} {
		wantCode(t, name, b.trySave(changes), gateway.CodeNotFound)
	}
	err := b.Update(b.ctx, func(tx gateway.Tx) error {
		return tx.Save(999, &gateway.Changes{NewContacts: []*gateway.Contact{{ID: 77, WorkspaceID: 999, CustomID: "x"}}})
	})
	wantCode(t, "workspace", err, gateway.CodeNotFound)
}

func testLoad(t *testing.T, b *bundle) {
	u1, u2, anon := b.newContact("u1"), b.newContact("u2"), b.newContact("")
	u1.EmailKey, u2.EmailKey = "same@acme.test", "same@acme.test"
	u1.Email, u2.Email = "same@acme.test", "Same@Acme.test"
	byID, byName, sameName := b.newCompany("c1", "Acme"), b.newCompany("", "Acme"), b.newCompany("c2", "Acme")
	member := func(c *gateway.Contact, x *gateway.Company) gateway.Membership {
		return gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: x.ID, Source: gateway.SourceWidget, Since: start}
	}
	def := gateway.AttributeDef{ID: 5, WorkspaceID: b.w, Entity: gateway.EntityCompany, Name: "plan", Label: "Plan", Type: gateway.TypeText, CreatedAt: start}
	ended := member(u1, byName)
	ended.Until = at(5)
	b.save(&gateway.Changes{
		NewContacts: []*gateway.Contact{u1, u2, anon}, NewCompanies: []*gateway.Company{byID, byName, sameName},
		NewKeys:        []gateway.VisitorKey{{Key: "k1", ContactID: u1.ID, CreatedAt: start}, {Key: "k2", ContactID: u1.ID, CreatedAt: start}, {Key: "k3", ContactID: anon.ID, CreatedAt: start}},
		NewMemberships: []gateway.Membership{member(u1, byID), member(u2, byID), member(u2, sameName), ended},
		NewDefs:        []gateway.AttributeDef{def},
	})
	for _, c := range []struct {
		name string
		refs gateway.Refs
		want gateway.Loaded
	}{
		{"by key", gateway.Refs{Keys: []string{"k3", "none", "k3"}},
			gateway.Loaded{Keys: map[string]gateway.ContactID{"k3": anon.ID}, Contacts: []*gateway.Contact{anon}}},
		{"two keys of one", gateway.Refs{Keys: []string{"k2", "k1"}, Contacts: []gateway.ContactID{u1.ID}},
			gateway.Loaded{Keys: map[string]gateway.ContactID{"k1": u1.ID, "k2": u1.ID}, Contacts: []*gateway.Contact{u1}, Memberships: []gateway.Membership{member(u1, byID)}}},
		{"by custom id", gateway.Refs{CustomIDs: []string{"u2", "u2", "U2", ""}},
			gateway.Loaded{Contacts: []*gateway.Contact{u2}, Memberships: []gateway.Membership{member(u2, byID), member(u2, sameName)}}},
		{"by e-mail", gateway.Refs{EmailKeys: []string{"same@acme.test", "none@acme.test", ""}},
			gateway.Loaded{Contacts: []*gateway.Contact{u1, u2}, Memberships: []gateway.Membership{member(u1, byID), member(u2, byID), member(u2, sameName)}}},
		{"by id", gateway.Refs{Contacts: []gateway.ContactID{anon.ID, 999, anon.ID}}, gateway.Loaded{Contacts: []*gateway.Contact{anon}}},
		{"company by custom id", gateway.Refs{CompanyCustomIDs: []string{"c1", "c1", "none"}}, gateway.Loaded{Companies: []*gateway.Company{byID}}},
		{"company by id", gateway.Refs{CompanyIDs: []gateway.CompanyID{sameName.ID, 999}}, gateway.Loaded{Companies: []*gateway.Company{sameName}}},
		{"company by name", gateway.Refs{CompanyNames: []string{"Acme", "acme", "none"}}, gateway.Loaded{Companies: []*gateway.Company{byName}}},
		{"definitions", gateway.Refs{Defs: true}, gateway.Loaded{Defs: []gateway.AttributeDef{def}}},
	} {
		got := b.load(c.refs)
		sortLoaded := cmp.Options{
			cmpopts.EquateEmpty(),
			cmpopts.SortSlices(func(x, y *gateway.Contact) bool { return x.ID < y.ID }),
			cmpopts.SortSlices(func(x, y *gateway.Company) bool { return x.ID < y.ID }),
			cmpopts.SortSlices(func(x, y gateway.Membership) bool {
				return x.ContactID < y.ContactID || x.ContactID == y.ContactID && x.CompanyID < y.CompanyID
			}),
		}
		if d := cmp.Diff(&c.want, got, sortLoaded); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
	b.update(func(tx gateway.Tx) error {
		fresh := &gateway.Contact{ID: 900, WorkspaceID: b.w, CustomID: "u9"}
		if err := tx.Save(b.w, &gateway.Changes{NewContacts: []*gateway.Contact{fresh}}); err != nil {
			return err
		}
		l, err := tx.Load(b.w, gateway.Refs{CustomIDs: []string{"u9"}})
		if err == nil && (len(l.Contacts) != 1 || l.Contacts[0].ID != 900) {
			t.Errorf("load does not see what its transaction saved: %v", l.Contacts)
		}
		return err
	})
}

// testLongTexts finds by texts that are as long as payloads allow, and do not
// compress.
func testLongTexts(t *testing.T, b *bundle) {
	rnd := rand.New(rand.NewPCG(1, 2))
	long := func(start string, n int) string {
		s := []rune(start)
		for len(s) < n {
			s = append(s, 'a'+rnd.Int32N(26), 0x4e00+rnd.Int32N(20000))
		}
		return string(s[:n])
	}
	// Three names that differ far behind their start.
	prefix := long("", 2000)
	names := []string{long(prefix, 2700), long(prefix, 2700), prefix, long("", 255), long("", 256), long("", 257)}
	var companies []*gateway.Company
	for i, name := range names {
		companies = append(companies, b.newCompany("", name), b.newCompany(long(fmt.Sprint(i), 85), name))
	}
	c := b.newContact(long("", 85))
	c.EmailKey = long("", 85)
	c.Email = c.EmailKey
	c.Attributes.Set("name", text(long("", 2700)))
	c.Attributes.Set("phone_number", text(long("+", 21)))
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}, NewCompanies: companies, NewKeys: []gateway.VisitorKey{{Key: long("", 85), ContactID: c.ID}}})
	for i, name := range names {
		l := b.load(gateway.Refs{CompanyNames: []string{name, name + "x"}})
		equal(t, fmt.Sprint("company by name ", i), l.Companies, companies[2*i:2*i+1])
	}
	equal(t, "company by custom id", b.load(gateway.Refs{CompanyCustomIDs: []string{companies[1].CustomID}}).Companies, companies[1:2])
	equal(t, "contact by custom id", b.load(gateway.Refs{CustomIDs: []string{c.CustomID}}).Contacts, []*gateway.Contact{c})
	equal(t, "contact by e-mail", b.load(gateway.Refs{EmailKeys: []string{c.EmailKey}}).Contacts, []*gateway.Contact{c})
}

func testLoadMerged(t *testing.T, b *bundle) {
	first, second, last := b.newContact("u1"), b.newContact("u2"), b.newContact("u3")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{first, second, last},
		NewKeys: []gateway.VisitorKey{{Key: "k1", ContactID: first.ID, CreatedAt: start}}})
	b.merge(second, first)
	b.merge(last, second)
	for name, refs := range map[string]gateway.Refs{
		"by id":        {Contacts: []gateway.ContactID{first.ID}},
		"by custom id": {CustomIDs: []string{"u1"}},
	} {
		got := map[gateway.ContactID]gateway.ContactID{}
		for _, c := range b.load(refs).Contacts {
			got[c.ID] = c.MergedInto
		}
		equal(t, name, got, map[gateway.ContactID]gateway.ContactID{first.ID: second.ID, second.ID: last.ID, last.ID: 0})
	}
	equal(t, "key", b.load(gateway.Refs{Keys: []string{"k1"}}).Keys, map[string]gateway.ContactID{"k1": last.ID})
}

func testVisitorKeys(t *testing.T, b *bundle) {
	c, d := b.newContact("u1"), b.newContact("u2")
	keys := []gateway.VisitorKey{{Key: "old", ContactID: c.ID, CreatedAt: at(1)}, {Key: "mid", ContactID: c.ID, CreatedAt: at(2)}, {Key: "new", ContactID: c.ID, CreatedAt: at(3)}}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c, d}, NewKeys: []gateway.VisitorKey{keys[1], keys[2], keys[0]}})
	equal(t, "newest first", must[[]gateway.VisitorKey](t)(b.VisitorKeys(b.ctx, b.w, c.ID, 2)), []gateway.VisitorKey{keys[2], keys[1]})
	b.update(func(tx gateway.Tx) error {
		got, err := tx.ContactKeys(b.w, c.ID)
		equal(t, "oldest first", got, keys)
		return err
	})
	if got := must[*gateway.ContactView](t)(b.ContactByKey(b.ctx, b.w, "mid")); got.ID != c.ID {
		t.Errorf("key finds %d, want %d", got.ID, c.ID)
	}
	_, err := b.ContactByKey(b.ctx, b.w, "MID")
	wantCode(t, "key in another case", err, gateway.CodeNotFound)

	moved := keys[1]
	moved.ContactID = d.ID
	b.save(&gateway.Changes{MovedKeys: []gateway.VisitorKey{moved}})
	if got := must[*gateway.ContactView](t)(b.ContactByKey(b.ctx, b.w, "mid")); got.ID != d.ID {
		t.Errorf("moved key finds %d, want %d", got.ID, d.ID)
	}
	equal(t, "keys left", must[[]gateway.VisitorKey](t)(b.VisitorKeys(b.ctx, b.w, c.ID, 9)), []gateway.VisitorKey{keys[2], keys[0]})
	b.merge(d, c)
	got := must[[]gateway.VisitorKey](t)(b.VisitorKeys(b.ctx, b.w, c.ID, 9))
	equal(t, "keys of a merged contact are the survivor's", got, []gateway.VisitorKey{
		{Key: "new", ContactID: d.ID, CreatedAt: at(3)}, {Key: "mid", ContactID: d.ID, CreatedAt: at(2)}, {Key: "old", ContactID: d.ID, CreatedAt: at(1)}})
}

func testEmailAndPhone(t *testing.T, b *bundle) {
	mail := func(customID string) *gateway.Contact {
		c := b.newContact(customID)
		c.Email, c.EmailKey = "A@Acme.test", "a@acme.test"
		c.Attributes.Set("phone_number", text("+48123"))
		return c
	}
	bare, known, known2, other, merged := mail(""), mail("u1"), mail("u2"), b.newContact("u3"), mail("u4")
	other.Email, other.EmailKey = "b@acme.test", "b@acme.test"
	other.Attributes.Set("phone_number", text("+481234"))
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{bare, known, known2, other, merged}})
	b.merge(other, merged)
	find := must[[]*gateway.ContactView](t)
	equal(t, "by e-mail", contactIDs(find(b.ContactsByEmail(b.ctx, b.w, "a@acme.test", 9))), []gateway.ContactID{known.ID, known2.ID, bare.ID})
	equal(t, "by e-mail, one", contactIDs(find(b.ContactsByEmail(b.ctx, b.w, "a@acme.test", 1))), []gateway.ContactID{known.ID})
	equal(t, "by e-mail as sent", contactIDs(find(b.ContactsByEmail(b.ctx, b.w, "A@Acme.test", 9))), []gateway.ContactID(nil))
	equal(t, "by phone", contactIDs(find(b.ContactsByPhone(b.ctx, b.w, "+48123", 9))), []gateway.ContactID{bare.ID, known.ID, known2.ID})
	equal(t, "by phone, none asked for", contactIDs(find(b.ContactsByPhone(b.ctx, b.w, "+48123", 0))), []gateway.ContactID(nil))
	equal(t, "by phone, negative limit", contactIDs(find(b.ContactsByPhone(b.ctx, b.w, "+48123", -1))), []gateway.ContactID(nil))
}

func testContactPages(t *testing.T, b *bundle) {
	var all []*gateway.Contact
	for i := range 25 {
		all = append(all, b.newContact(fmt.Sprint("u", i)))
	}
	b.save(&gateway.Changes{NewContacts: all})
	b.merge(all[3], all[10])
	if n := must[int64](t)(b.CountContacts(b.ctx, b.w)); n != 24 {
		t.Errorf("count: got %d, want 24", n)
	}
	var want, got []gateway.ContactID
	for i := 24; i >= 0; i-- {
		if i != 10 {
			want = append(want, all[i].ID)
		}
	}
	for before, pages := gateway.ContactID(0), 0; pages < 10; pages++ {
		page := must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, before, 7))
		if len(page) == 0 {
			break
		}
		got = append(got, contactIDs(page)...)
		before = page[len(page)-1].ID
	}
	equal(t, "pages", got, want)
	// Undoing a merge lists the contact again.
	undone := *all[10]
	undone.MergedInto = 0
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{&undone}})
	if n := must[int64](t)(b.CountContacts(b.ctx, b.w)); n != 25 {
		t.Errorf("count after undoing: got %d, want 25", n)
	}
}

func (b *bundle) view(c *gateway.Contact, second int, path string) gateway.PageView {
	return gateway.PageView{WorkspaceID: b.w, ContactID: c.ID, Key: "k", At: at(second), URL: "https://acme.test" + path, Path: path, Title: "T", Referrer: "https://r.test/"}
}

// withoutIDs takes the store's ids away, which tests can't foretell.
func withoutIDs(views []gateway.PageView) []gateway.PageView {
	for i := range views {
		views[i].ID = 0
	}
	return views
}

func eventsWithoutIDs(events []gateway.Event) []gateway.Event {
	for i := range events {
		events[i].ID = 0
	}
	return events
}

func testAliasChain(t *testing.T, b *bundle) {
	first, second, last, other := b.newContact("u1"), b.newContact("u2"), b.newContact("u3"), b.newContact("u4")
	company := b.newCompany("c1", "Acme")
	member := gateway.Membership{WorkspaceID: b.w, ContactID: last.ID, CompanyID: company.ID, Source: gateway.SourceWidget, Since: start}
	b.save(&gateway.Changes{
		NewContacts: []*gateway.Contact{first, second, last, other}, NewCompanies: []*gateway.Company{company}, NewMemberships: []gateway.Membership{member},
		NewKeys:   []gateway.VisitorKey{{Key: "k1", ContactID: first.ID, CreatedAt: at(1)}, {Key: "k2", ContactID: second.ID, CreatedAt: at(2)}},
		PageViews: []gateway.PageView{b.view(first, 1, "/1"), b.view(last, 4, "/4"), b.view(second, 2, "/2"), b.view(other, 9, "/9"), b.view(first, 3, "/3")},
		Events: []gateway.Event{
			{WorkspaceID: b.w, ContactID: first.ID, Key: "k1", Kind: gateway.EventCustom, Name: "signup", At: at(1), Data: `{"a":1}`},
			{WorkspaceID: b.w, ContactID: last.ID, Kind: gateway.EventProduct, Name: "add to cart", At: at(2)},
		},
	})
	b.merge(second, first)
	b.merge(last, second)
	for _, c := range []*gateway.Contact{first, second, last} {
		v := b.contact(c.ID)
		if v.ID != last.ID || v.PageViews != 4 || !v.FirstSeen.Equal(at(1)) || !v.LastSeen.Equal(at(4)) || len(v.Companies) != 1 {
			t.Errorf("contact %d: got %d with %+v and %d companies", c.ID, v.ID, v.Activity, len(v.Companies))
		}
		equal(t, "by custom id", must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, c.CustomID)), v)
		var paths []string
		for _, p := range must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9})) {
			paths = append(paths, p.Path)
		}
		equal(t, "page views", paths, []string{"/4", "/3", "/2", "/1"})
		equal(t, "newest page view", withoutIDs(must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 1}))), []gateway.PageView{b.view(last, 4, "/4")})
		equal(t, "events", eventsWithoutIDs(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9}))), []gateway.Event{
			{WorkspaceID: b.w, ContactID: last.ID, Kind: gateway.EventProduct, Name: "add to cart", At: at(2)},
			{WorkspaceID: b.w, ContactID: first.ID, Key: "k1", Kind: gateway.EventCustom, Name: "signup", At: at(1), Data: `{"a":1}`},
		})
		merges := must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 9}))
		if len(merges) != 2 || merges[0].WinnerID != last.ID || merges[1].LoserID != first.ID || merges[0].ID == merges[1].ID {
			t.Fatalf("merges: got %+v", merges)
		}
		merges[1].ID = 0
		equal(t, "first merge", merges[1], gateway.Merge{WorkspaceID: b.w, At: start, By: "widget", Rule: "user_id known",
			WinnerID: second.ID, LoserID: first.ID, Before: `{"winner":{},"loser":{}}`, After: `{}`})
		if n := len(must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 1}))); n != 1 {
			t.Errorf("one merge asked for, got %d", n)
		}
		for _, key := range []string{"k1", "k2"} {
			if got := must[*gateway.ContactView](t)(b.ContactByKey(b.ctx, b.w, key)); got.ID != last.ID {
				t.Errorf("key %s finds %d, want %d", key, got.ID, last.ID)
			}
		}
	}
	equal(t, "list", contactIDs(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9))), []gateway.ContactID{other.ID, last.ID})
	if n := len(must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, other.ID, gateway.HistoryQuery{Limit: 9}))); n != 0 {
		t.Errorf("the other has %d merges", n)
	}
}

func testManyAliases(t *testing.T, b *bundle) {
	const n = 450
	winner := b.newContact("u1")
	all := []*gateway.Contact{winner}
	var views []gateway.PageView
	b.update(func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, n)
		for i := range n {
			c := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, MergedInto: winner.ID, CreatedAt: start, UpdatedAt: start}
			all = append(all, c)
			views = append(views, b.view(c, i, fmt.Sprint("/", i)))
		}
		if err != nil {
			return err
		}
		return tx.Save(b.w, &gateway.Changes{NewContacts: all, PageViews: views})
	})
	if v := b.contact(all[n].ID); v.ID != winner.ID || v.PageViews != n || !v.LastSeen.Equal(at(n-1)) {
		t.Errorf("survivor: got %d with %+v", v.ID, v.Activity)
	}
	for i, v := range must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, winner.ID, gateway.HistoryQuery{Limit: 20})) {
		if want := fmt.Sprint("/", n-1-i); v.Path != want {
			t.Fatalf("page view %d: got %s, want %s", i, v.Path, want)
		}
	}
	if n := must[int64](t)(b.CountContacts(b.ctx, b.w)); n != 1 {
		t.Errorf("count: got %d, want 1", n)
	}
}

func testActivity(t *testing.T, b *bundle) {
	never, seen := b.newContact("u1"), b.newContact("u2")
	never.CreatedAt, never.UpdatedAt = at(1), at(5)
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{never, seen}, PageViews: []gateway.PageView{b.view(seen, 7, "/b"), b.view(seen, 3, "/a")}})
	want := map[gateway.ContactID]gateway.Activity{
		never.ID: {FirstSeen: at(1), LastSeen: at(5)},
		seen.ID:  {PageViews: 2, FirstSeen: at(3), LastSeen: at(7)},
	}
	for _, v := range must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9)) {
		equal(t, "listed", v.Activity, want[v.ID])
		equal(t, "by itself", b.contact(v.ID).Activity, want[v.ID])
	}
}

func testHistory(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	bare := gateway.PageView{WorkspaceID: b.w, ContactID: c.ID, At: at(-1)}
	long := b.view(c, -2, "/"+strings.Repeat("ą", 4000))
	changes := &gateway.Changes{NewContacts: []*gateway.Contact{c}, PageViews: []gateway.PageView{bare, long}}
	for i := range 200 {
		changes.PageViews = append(changes.PageViews, b.view(c, i, fmt.Sprint("/", i)))
		changes.Events = append(changes.Events, gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: fmt.Sprint(i), At: at(i)})
	}
	b.save(changes)
	views := must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 1000}))
	if len(views) != 202 {
		t.Fatalf("got %d page views, want 202", len(views))
	}
	withoutIDs(views)
	equal(t, "newest", views[0], b.view(c, 199, "/199"))
	equal(t, "with nothing but a time", views[200], bare)
	equal(t, "with a long path", views[201], long)
	for _, limit := range []int{-1, 0, 3} {
		if got := len(must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: limit}))); got != max(limit, 0) {
			t.Errorf("limit %d: got %d page views", limit, got)
		}
		if got := len(must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: limit}))); got != max(limit, 0) {
			t.Errorf("limit %d: got %d events", limit, got)
		}
	}
	if got := must[[]gateway.Event](t)(b.Events(b.ctx, b.w, c.ID, gateway.HistoryQuery{Limit: 2})); got[0].Name != "199" || got[1].Name != "198" {
		t.Errorf("events: got %v", got)
	}
}

func testCompanies(t *testing.T, b *bundle) {
	acme, bare := b.newCompany("c1", "Acme & Söhne"), b.newCompany("", "")
	acme.Attributes = gateway.Attributes{{Name: "name", Value: text("an attribute like others")}, {Name: "revenue", Value: text("$239.9 billion")}}
	acme.CreatedAt, acme.UpdatedAt = at(-5), at(5)
	b.save(&gateway.Changes{NewCompanies: []*gateway.Company{bare, acme}})
	equal(t, "by id", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, acme.ID)), &gateway.CompanyView{Company: *acme})
	equal(t, "bare", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, bare.ID)), &gateway.CompanyView{Company: *bare})
	equal(t, "by custom id", must[*gateway.CompanyView](t)(b.CompanyByCustomID(b.ctx, b.w, "c1")).Company, *acme)
	_, err := b.CompanyByCustomID(b.ctx, b.w, "")
	wantCode(t, "by no custom id", err, gateway.CodeNotFound)

	acme.CustomID, acme.Name, acme.Attributes, acme.UpdatedAt = "c2", "Acme", nil, at(9)
	b.save(&gateway.Changes{Companies: []*gateway.Company{acme}})
	equal(t, "changed", must[*gateway.CompanyView](t)(b.CompanyByCustomID(b.ctx, b.w, "c2")).Company, *acme)
	_, err = b.CompanyByCustomID(b.ctx, b.w, "c1")
	wantCode(t, "by old custom id", err, gateway.CodeNotFound)

	var ids []gateway.CompanyID
	for before, i := gateway.CompanyID(0), 0; i < 3; i++ {
		for _, v := range must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, before, 1)) {
			ids = append(ids, v.ID)
			before = v.ID
		}
	}
	want := []gateway.CompanyID{max(acme.ID, bare.ID), min(acme.ID, bare.ID)}
	equal(t, "pages", ids, append(want, nil...))
	if n := must[int64](t)(b.CountCompanies(b.ctx, b.w)); n != 2 {
		t.Errorf("count: got %d, want 2", n)
	}
}

func testMembershipLife(t *testing.T, b *bundle) {
	c, company := b.newContact("u1"), b.newCompany("c1", "Acme")
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}, NewCompanies: []*gateway.Company{company}})
	link := func(since int) gateway.Membership {
		return gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: company.ID, Source: gateway.SourceManual, Primary: true, Since: at(since), By: "agent 7"}
	}
	check := func(what string, want ...gateway.Membership) {
		t.Helper()
		var got []gateway.Membership
		for _, x := range b.contact(c.ID).Companies {
			if x.CustomID != "c1" || x.Name != "Acme" {
				t.Errorf("%s: company shown as %q %q", what, x.CustomID, x.Name)
			}
			got = append(got, x.Membership)
		}
		equal(t, what, got, want)
		equal(t, what+", loaded", b.load(gateway.Refs{Contacts: []gateway.ContactID{c.ID}}).Memberships, want)
		v := must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, company.ID))
		if int(v.EmployeesCount) != len(want) || len(v.Employees) != len(want) {
			t.Errorf("%s: company has %d employees %v", what, v.EmployeesCount, v.Employees)
		}
	}
	check("before")
	b.save(&gateway.Changes{NewMemberships: []gateway.Membership{link(1)}})
	check("linked", link(1))
	for i := range 3 { // ends always at the same time, as within one batch
		ended := link(1 + i)
		ended.Until = at(50)
		b.save(&gateway.Changes{EndedMemberships: []gateway.Membership{ended}})
		check("ended")
		b.save(&gateway.Changes{NewMemberships: []gateway.Membership{link(2 + i)}})
		check("restarted", link(2+i))
	}
	// Ended and linked again in one batch, with one that came and went between.
	ended, passing := link(4), link(5)
	ended.Until, passing.Until = at(50), at(50)
	b.save(&gateway.Changes{EndedMemberships: []gateway.Membership{ended}, NewMemberships: []gateway.Membership{passing, link(6)}})
	check("in one batch", link(6))
}

func testPrimary(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	var companies []*gateway.Company
	var links []gateway.Membership
	for i, name := range []string{"A", "B", "C"} {
		companies = append(companies, b.newCompany(name, name))
		links = append(links, gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: companies[i].ID, Source: gateway.SourceWidget, Primary: i == 2, Since: at(10 - i)})
	}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{c}, NewCompanies: companies, NewMemberships: links})
	names := func() (s string) {
		for _, x := range b.contact(c.ID).Companies {
			s += x.Name
		}
		return s
	}
	if got := names(); got != "CBA" {
		t.Errorf("companies: got %s, want CBA (primary, then oldest)", got)
	}
	links[2].Primary, links[0].Primary = false, true
	b.save(&gateway.Changes{ChangedMemberships: []gateway.Membership{links[0], links[2]}})
	if got := names(); got != "ACB" {
		t.Errorf("companies after a change: got %s, want ACB", got)
	}
	equal(t, "membership", b.contact(c.ID).Companies[0].Membership, links[0])
}

func testEmployees(t *testing.T, b *bundle) {
	const n = gateway.MaxEmployees + 20
	big, small := b.newCompany("big", "Big"), b.newCompany("small", "Small")
	changes := &gateway.Changes{NewCompanies: []*gateway.Company{big, small}}
	b.update(func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		for i := range n {
			c := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w}
			changes.NewContacts = append(changes.NewContacts, c)
			changes.NewMemberships = append(changes.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: c.ID, CompanyID: big.ID, Source: gateway.SourceWidget, Since: at(i)})
		}
		changes.NewMemberships = append(changes.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: changes.NewContacts[0].ID, CompanyID: small.ID, Source: gateway.SourceImport, Since: at(1)})
		return tx.Save(b.w, changes)
	})
	for _, v := range must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 9)) {
		want, count := []gateway.ContactID{changes.NewContacts[0].ID}, int64(1)
		if v.ID == big.ID {
			want, count = nil, n
			for i := range gateway.MaxEmployees {
				want = append(want, changes.NewContacts[n-1-i].ID)
			}
		}
		equal(t, v.Name+": employees", v.Employees, want)
		if v.EmployeesCount != count {
			t.Errorf("%s: %d employees, want %d", v.Name, v.EmployeesCount, count)
		}
		equal(t, v.Name+": by itself", must[*gateway.CompanyView](t)(b.Company(b.ctx, b.w, v.ID)), v)
	}
}

func testDefs(t *testing.T, b *bundle) {
	var want []gateway.AttributeDef
	for i, d := range []struct {
		entity gateway.Entity
		name   string
		typ    gateway.Type
	}{
		{gateway.EntityCompany, "plan", gateway.TypeText},
		{gateway.EntityCompany, "seats", gateway.TypeNumber},
		{gateway.EntityContact, "birthday", gateway.TypeDate},
		{gateway.EntityContact, "meta", gateway.TypeJSON},
		{gateway.EntityContact, "plan", gateway.TypeList},
		{gateway.EntityContact, "seen", gateway.TypeDatetime},
		{gateway.EntityContact, "trial", gateway.TypeBool},
	} {
		want = append(want, gateway.AttributeDef{ID: gateway.AttributeID(b.nextID(gateway.IDAttribute)), WorkspaceID: b.w, Entity: d.entity, Name: d.name,
			Label: "Label " + d.name, Type: d.typ, Description: "Ü", CreatedAt: at(i)})
	}
	want[1].Integer = true
	want[4].Choices, want[4].Multiple = []string{"a", `b "c", d`, "ź"}, true
	b.save(&gateway.Changes{NewDefs: want[3:]})
	b.save(&gateway.Changes{NewDefs: want[:3]})
	equal(t, "definitions", must[[]gateway.AttributeDef](t)(b.AttributeDefs(b.ctx, b.w)), want)
	byName := cmpopts.SortSlices(func(x, y gateway.AttributeDef) bool { return x.ID < y.ID })
	if d := cmp.Diff(want, b.load(gateway.Refs{Defs: true}).Defs, byName); d != "" {
		t.Errorf("loaded definitions (-want +got):\n%s", d)
	}
}

// message is a message id that sorts by n.
func message(n int) (id gateway.MessageID) {
	id[0], id[5], id[6], id[7] = 1, byte(n>>16), byte(n>>8), byte(n)
	id[15] = byte(n * 7)
	return id
}

func messages(from, to int) (ids []gateway.MessageID) {
	for n := from; n < to; n++ {
		ids = append(ids, message(n))
	}
	return ids
}

func (b *bundle) claim(ids []gateway.MessageID, when time.Time) map[gateway.MessageID]bool {
	b.t.Helper()
	var repeats map[gateway.MessageID]bool
	b.update(func(tx gateway.Tx) (err error) {
		repeats, err = tx.ClaimMessages(b.w, ids, when)
		return err
	})
	return repeats
}

func repeated(ids []gateway.MessageID) map[gateway.MessageID]bool {
	m := map[gateway.MessageID]bool{}
	for _, id := range ids {
		m[id] = true
	}
	return m
}

func testMessages(t *testing.T, b *bundle) {
	equal(t, "new", b.claim(messages(0, 500), at(1)), repeated(nil))
	equal(t, "all again", b.claim(messages(0, 500), at(1)), repeated(messages(0, 500)))
	ids := messages(400, 600)
	ids[0], ids[199] = ids[199], ids[0]
	equal(t, "some again, out of order", b.claim(ids, at(2)), repeated(messages(400, 500)))
	equal(t, "the others are taken now", b.claim(messages(500, 601), at(2)), repeated(messages(500, 600)))
	equal(t, "one", b.claim(messages(1000, 1001), at(2)), repeated(nil))
	equal(t, "the one again", b.claim(messages(1000, 1001), at(2)), repeated(messages(1000, 1001)))
	b.update(func(tx gateway.Tx) error {
		for _, want := range []map[gateway.MessageID]bool{repeated(nil), repeated(messages(2000, 2002))} {
			got, err := tx.ClaimMessages(b.w, messages(2000, 2002), at(3))
			if err != nil {
				return err
			}
			equal(t, "within a transaction", got, want)
		}
		return nil
	})
	// A claim of a transaction that failed is none.
	errFailed := errors.New("failed")
	err := b.Update(b.ctx, func(tx gateway.Tx) error {
		if _, err := tx.ClaimMessages(b.w, messages(1000, 1100), at(3)); err != nil {
			return err
		}
		return errFailed
	})
	if !errors.Is(err, errFailed) {
		t.Fatalf("update returned %v", err)
	}
	equal(t, "after a rollback", b.claim(messages(1000, 1100), at(3)), repeated(messages(1000, 1001)))
}

func testForgetMessages(t *testing.T, b *bundle) {
	b.claim(messages(0, 100), at(0))
	b.claim(messages(100, 200), at(10))
	b.claim(messages(200, 210), at(0))
	other := b.workspace("Other")
	b.update(func(tx gateway.Tx) error {
		_, err := tx.ClaimMessages(other, messages(0, 10), at(0))
		return err
	})
	forget := must[int](t)
	if n := forget(b.ForgetMessages(b.ctx, at(0), 1000)); n != 0 {
		t.Errorf("nothing is old, %d forgotten", n)
	}
	if n := forget(b.ForgetMessages(b.ctx, at(5), 0)); n != 0 {
		t.Errorf("nothing looked at, %d forgotten", n)
	}
	total, calls := 0, 0
	for ; calls < 50 && total < 120; calls++ {
		n := forget(b.ForgetMessages(b.ctx, at(5), 16))
		if n > 16 {
			t.Fatalf("%d forgotten of 16", n)
		}
		total += n
	}
	if total != 120 {
		t.Errorf("%d forgotten in %d calls, want 120", total, calls)
	}
	equal(t, "old ones are free, others not", b.claim(messages(0, 210), at(20)), repeated(messages(100, 200)))
}

func testIDs(t *testing.T, b *bundle) {
	seen := map[gateway.IDKind]int64{}
	for i := range 20 {
		for _, kind := range []gateway.IDKind{gateway.IDContact, gateway.IDCompany, gateway.IDAttribute} {
			b.update(func(tx gateway.Tx) error {
				for range 2 {
					first, err := tx.NextIDs(kind, i+1)
					if err != nil {
						return err
					}
					if first <= seen[kind] {
						t.Errorf("%s: id %d after %d", kind, first, seen[kind])
					}
					seen[kind] = first + int64(i)
				}
				return nil
			})
		}
	}
	for _, n := range []int{0, -1} {
		err := b.Update(b.ctx, func(tx gateway.Tx) error {
			_, err := tx.NextIDs(gateway.IDContact, n)
			return err
		})
		if err == nil {
			t.Errorf("%d ids: no error", n)
		}
	}
}

func testPositions(t *testing.T, b *bundle) {
	set := func(node string, seq int64) {
		b.update(func(tx gateway.Tx) error { return tx.SetInboxPosition(node, seq) })
	}
	set("n1", 5)
	set("n2", 7)
	set("n1", math.MaxInt64)
	for node, want := range map[string]int64{"n1": math.MaxInt64, "n2": 7, "n3": 0, "": 0} {
		if got := must[int64](t)(b.InboxPosition(b.ctx, node)); got != want {
			t.Errorf("position of %q: got %d, want %d", node, got, want)
		}
	}
}

func testRollback(t *testing.T, b *bundle) {
	errFailed := errors.New("failed")
	var first int64
	try := func(end error) error {
		return b.Update(b.ctx, func(tx gateway.Tx) error {
			id, err := tx.NextIDs(gateway.IDContact, 1)
			if err != nil {
				return err
			}
			company, err := tx.NextIDs(gateway.IDCompany, 1)
			if err != nil {
				return err
			}
			first = id
			c := &gateway.Contact{ID: gateway.ContactID(id), WorkspaceID: b.w, CustomID: "u1", EmailKey: "a@b.test", Email: "a@b.test"}
			c.Attributes.Set("phone_number", text("+1"))
			err = tx.Save(b.w, &gateway.Changes{
				NewDefs:        []gateway.AttributeDef{{ID: 1, Entity: gateway.EntityContact, Name: "plan", Type: gateway.TypeText}},
				NewCompanies:   []*gateway.Company{{ID: gateway.CompanyID(company), CustomID: "c1"}},
				NewContacts:    []*gateway.Contact{c},
				NewKeys:        []gateway.VisitorKey{{Key: "k1", ContactID: c.ID}},
				NewMemberships: []gateway.Membership{{ContactID: c.ID, CompanyID: gateway.CompanyID(company), Source: gateway.SourceWidget}},
				PageViews:      []gateway.PageView{b.view(c, 1, "/")},
				Visits:         3, VisitsAt: start,
				Quarantine: []gateway.Quarantined{{At: start, Reason: "r"}},
			})
			if err != nil {
				return err
			}
			if err := tx.SetInboxPosition("n1", 9); err != nil {
				return err
			}
			return end
		})
	}
	if err := try(errFailed); !errors.Is(err, errFailed) {
		t.Fatalf("update returned %v", err)
	}
	for what, n := range map[string]int64{
		"contacts":   must[int64](t)(b.CountContacts(b.ctx, b.w)),
		"listed":     int64(len(must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 9)))),
		"by e-mail":  int64(len(must[[]*gateway.ContactView](t)(b.ContactsByEmail(b.ctx, b.w, "a@b.test", 9)))),
		"companies":  must[int64](t)(b.CountCompanies(b.ctx, b.w)),
		"visits":     must[int64](t)(b.Visits(b.ctx, b.w)),
		"position":   must[int64](t)(b.InboxPosition(b.ctx, "n1")),
		"definition": int64(len(must[[]gateway.AttributeDef](t)(b.AttributeDefs(b.ctx, b.w)))),
		"quarantine": int64(len(must[[]gateway.Quarantined](t)(b.Quarantine(b.ctx, b.w, 9)))),
		"keys":       int64(len(b.load(gateway.Refs{Keys: []string{"k1"}}).Keys)),
	} {
		if n != 0 {
			t.Errorf("%s: %d left after a rollback", what, n)
		}
	}
	// The next transaction finds everything free.
	if err := try(nil); err != nil {
		t.Fatal(err)
	}
	if v := b.contact(gateway.ContactID(first)); v.PageViews != 1 || len(v.Companies) != 1 {
		t.Errorf("after the second try: %+v", v)
	}
	if n := must[int64](t)(b.InboxPosition(b.ctx, "n1")); n != 9 {
		t.Errorf("position after the second try: %d, want 9", n)
	}
}

func testPanic(t *testing.T, b *bundle) {
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not come through")
			}
		}()
		_ = b.Update(b.ctx, func(tx gateway.Tx) error {
			if err := tx.SetInboxPosition("n1", 1); err != nil {
				return err
			}
			panic("in a transaction")
		})
	}()
	b.update(func(tx gateway.Tx) error { return tx.SetInboxPosition("n2", 2) })
	if n := must[int64](t)(b.InboxPosition(b.ctx, "n1")); n != 0 {
		t.Errorf("position %d was kept", n)
	}
}

func testVisits(t *testing.T, b *bundle) {
	for i, n := range []int64{3, 4, 5} {
		b.save(&gateway.Changes{Visits: n, VisitsAt: start.AddDate(0, 0, i/2)})
	}
	if n := must[int64](t)(b.Visits(b.ctx, b.w)); n != 12 {
		t.Errorf("visits: got %d, want 12", n)
	}
}

func testQuarantine(t *testing.T, b *bundle) {
	all := []gateway.Quarantined{
		{At: at(1), Body: []byte(`{"a":1}`), Reason: "first"},
		{At: at(2), Body: []byte{0, 0xff, '"'}, Reason: "no text: ü"},
		{At: at(3), Body: []byte(strings.Repeat("x", 32<<10)), Reason: "long"},
		{At: at(4), Body: []byte{}, Reason: ""},
	}
	b.save(&gateway.Changes{Quarantine: all[:2]})
	b.save(&gateway.Changes{Quarantine: all[2:]})
	want := []gateway.Quarantined{all[3], all[2], all[1], all[0]}
	list := func(limit int) (ids []int64, bare []gateway.Quarantined) {
		for _, q := range must[[]gateway.Quarantined](t)(b.Quarantine(b.ctx, b.w, limit)) {
			ids = append(ids, q.ID)
			q.ID = 0
			bare = append(bare, q)
		}
		return ids, bare
	}
	ids, got := list(9)
	equal(t, "quarantine", got, want)
	_, got = list(1)
	equal(t, "newest", got, want[:1])

	if err := b.DropQuarantined(b.ctx, b.workspace("Other"), ids[1]); gateway.CodeOf(err) != gateway.CodeNotFound {
		t.Errorf("another workspace's entry is dropped: %v", err)
	}
	if err := b.DropQuarantined(b.ctx, b.w, ids[1]); err != nil {
		t.Error(err)
	}
	if err := b.DropQuarantined(b.ctx, b.w, ids[1]); gateway.CodeOf(err) != gateway.CodeNotFound {
		t.Errorf("dropped twice: %v", err)
	}
	_, got = list(9)
	equal(t, "what is left", got, []gateway.Quarantined{want[0], want[2], want[3]})
}

func testWorkspacesApart(t *testing.T, b *bundle) {
	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	made := map[*bundle]*gateway.Contact{}
	companies := map[*bundle]*gateway.Company{}
	for i, x := range []*bundle{b, other} {
		c, company := x.newContact("u1"), x.newCompany("c1", "Acme")
		c.Email, c.EmailKey = "a@b.test", "a@b.test"
		c.Attributes.Set("phone_number", text("+1"))
		x.save(&gateway.Changes{
			NewContacts: []*gateway.Contact{c}, NewCompanies: []*gateway.Company{company},
			NewKeys:        []gateway.VisitorKey{{Key: "k1", ContactID: c.ID, CreatedAt: at(i)}},
			NewMemberships: []gateway.Membership{{WorkspaceID: x.w, ContactID: c.ID, CompanyID: company.ID, Source: gateway.SourceWidget, Since: at(i)}},
			NewDefs:        []gateway.AttributeDef{{ID: gateway.AttributeID(i + 1), WorkspaceID: x.w, Entity: gateway.EntityContact, Name: "plan", Type: gateway.TypeText}},
			PageViews:      []gateway.PageView{x.view(c, i, "/")}, Visits: 1, VisitsAt: start,
			Events:     []gateway.Event{{WorkspaceID: x.w, ContactID: c.ID, Kind: gateway.EventCustom, Name: "e", At: at(i)}},
			Quarantine: []gateway.Quarantined{{At: at(i), Body: []byte("x"), Reason: "r"}},
		})
		equal(t, "messages", x.claim(messages(0, 5), start), repeated(nil))
		made[x], companies[x] = c, company
	}
	for x, c := range made {
		foreign := other
		if x == other {
			foreign = b
		}
		if made[foreign].ID == c.ID {
			t.Fatalf("both workspaces have a contact %d", c.ID)
		}
		views := must[[]*gateway.ContactView](t)
		for what, got := range map[string][]*gateway.ContactView{
			"custom id": {must[*gateway.ContactView](t)(x.ContactByCustomID(x.ctx, x.w, "u1"))},
			"key":       {must[*gateway.ContactView](t)(x.ContactByKey(x.ctx, x.w, "k1"))},
			"e-mail":    views(x.ContactsByEmail(x.ctx, x.w, "a@b.test", 9)),
			"phone":     views(x.ContactsByPhone(x.ctx, x.w, "+1", 9)),
			"list":      views(x.Contacts(x.ctx, x.w, 0, 9)),
		} {
			if len(got) != 1 || got[0].ID != c.ID || got[0].PageViews != 1 || len(got[0].Companies) != 1 || got[0].WorkspaceID != x.w {
				t.Errorf("by %s: got %v", what, contactIDs(got))
			}
		}
		_, err := x.Contact(x.ctx, x.w, made[foreign].ID)
		wantCode(t, "contact of the other", err, gateway.CodeNotFound)
		_, err = x.Company(x.ctx, x.w, companies[foreign].ID)
		wantCode(t, "company of the other", err, gateway.CodeNotFound)
		_, err = x.PageViews(x.ctx, x.w, made[foreign].ID, gateway.HistoryQuery{Limit: 9})
		wantCode(t, "page views of the other", err, gateway.CodeNotFound)
		l := x.load(gateway.Refs{Keys: []string{"k1"}, CustomIDs: []string{"u1"}, EmailKeys: []string{"a@b.test"}, Contacts: []gateway.ContactID{made[foreign].ID},
			CompanyCustomIDs: []string{"c1"}, CompanyIDs: []gateway.CompanyID{companies[foreign].ID}, Defs: true})
		if len(l.Contacts) != 1 || len(l.Companies) != 1 || len(l.Memberships) != 1 || len(l.Defs) != 1 || l.Keys["k1"] != c.ID {
			t.Errorf("loaded %d contacts, %d companies, %d memberships, %d definitions", len(l.Contacts), len(l.Companies), len(l.Memberships), len(l.Defs))
		}
		for what, n := range map[string]int64{
			"contacts":   must[int64](t)(x.CountContacts(x.ctx, x.w)),
			"companies":  must[int64](t)(x.CountCompanies(x.ctx, x.w)),
			"visits":     must[int64](t)(x.Visits(x.ctx, x.w)),
			"quarantine": int64(len(must[[]gateway.Quarantined](t)(x.Quarantine(x.ctx, x.w, 9)))),
			"events":     int64(len(must[[]gateway.Event](t)(x.Events(x.ctx, x.w, c.ID, gateway.HistoryQuery{Limit: 9})))),
			"list":       int64(len(must[[]*gateway.CompanyView](t)(x.Companies(x.ctx, x.w, 0, 9)))),
		} {
			if n != 1 {
				t.Errorf("%s: got %d, want 1", what, n)
			}
		}
		// A change under the wrong workspace touches nothing.
		stolen := *made[foreign]
		wantCode(t, "changing a contact of the other", x.trySave(&gateway.Changes{Contacts: []*gateway.Contact{&stolen}}), gateway.CodeNotFound)
	}
}

func testLargeBatch(t *testing.T, b *bundle) {
	const n = 3000
	changes := &gateway.Changes{}
	b.update(func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		for i := range n {
			c := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, CustomID: fmt.Sprint("u", i*7919%n), CreatedAt: start, UpdatedAt: start}
			c.Attributes.Set("n", gateway.Value{Type: gateway.TypeNumber, Raw: fmt.Sprint(i)})
			changes.NewContacts = append(changes.NewContacts, c)
			changes.NewKeys = append(changes.NewKeys, gateway.VisitorKey{Key: fmt.Sprint("k", i), ContactID: c.ID, CreatedAt: start})
			changes.PageViews = append(changes.PageViews, b.view(c, i, fmt.Sprint("/", i)))
		}
		if _, err := tx.ClaimMessages(b.w, messages(0, n), start); err != nil {
			return err
		}
		if err := tx.Save(b.w, changes); err != nil {
			return err
		}
		return tx.SetInboxPosition("n1", n)
	})
	if got := must[int64](t)(b.CountContacts(b.ctx, b.w)); got != n {
		t.Errorf("count: got %d, want %d", got, n)
	}
	refs := gateway.Refs{}
	for i := range n {
		refs.Keys = append(refs.Keys, fmt.Sprint("k", i))
	}
	l := b.load(refs)
	if len(l.Contacts) != n {
		t.Fatalf("loaded %d contacts, want %d", len(l.Contacts), n)
	}
	for i, c := range changes.NewContacts {
		if got := l.Keys[fmt.Sprint("k", i)]; got != c.ID {
			t.Fatalf("key %d is that of %d, want %d", i, got, c.ID)
		}
	}
	page := must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 1000))
	if len(page) != 1000 {
		t.Fatalf("got a page of %d, want 1000", len(page))
	}
	for i, v := range page {
		if want := changes.NewContacts[n-1-i]; v.ID != want.ID || v.PageViews != 1 || v.CustomID != want.CustomID {
			t.Fatalf("row %d: got %d %q with %d page views, want %d %q", i, v.ID, v.CustomID, v.PageViews, want.ID, want.CustomID)
		}
	}
}

func testConcurrency(t *testing.T, b *bundle) {
	const writers, rounds = 4, 25
	var wg sync.WaitGroup
	done := make(chan struct{})
	for i := range writers {
		wg.Go(func() {
			for n := range rounds {
				err := b.Update(b.ctx, func(tx gateway.Tx) error {
					// All read the one contact and change it, so that two at once would lose
					// a change.
					l, err := tx.Load(b.w, gateway.Refs{CustomIDs: []string{"shared"}})
					if err != nil {
						return err
					}
					changes := &gateway.Changes{}
					if len(l.Contacts) == 0 {
						id, err := tx.NextIDs(gateway.IDContact, 1)
						if err != nil {
							return err
						}
						changes.NewContacts = []*gateway.Contact{{ID: gateway.ContactID(id), WorkspaceID: b.w, CustomID: "shared", Fingerprint: 1}}
					} else {
						c := l.Contacts[0]
						c.Fingerprint++
						changes.Contacts = []*gateway.Contact{c}
					}
					if _, err := tx.ClaimMessages(b.w, messages(i*1000+n, i*1000+n+1), start); err != nil {
						return err
					}
					changes.Visits, changes.VisitsAt = 1, start
					return tx.Save(b.w, changes)
				})
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			var last uint64
			for {
				select {
				case <-done:
					return
				default:
				}
				v, err := b.ContactByCustomID(b.ctx, b.w, "shared")
				if gateway.IsNotFound(err) && last == 0 {
					continue
				}
				if err != nil {
					t.Errorf("reader: %v", err)
					return
				}
				if v.Fingerprint < last {
					t.Errorf("reader saw %d after %d", v.Fingerprint, last)
					return
				}
				last = v.Fingerprint
			}
		})
	}
	wg.Wait()
	close(done)
	readers.Wait()
	v := must[*gateway.ContactView](t)(b.ContactByCustomID(b.ctx, b.w, "shared"))
	if visits := must[int64](t)(b.Visits(b.ctx, b.w)); v.Fingerprint != writers*rounds || visits != writers*rounds {
		t.Errorf("%d changes and %d visits, want %d", v.Fingerprint, visits, writers*rounds)
	}
}

func testEndedContext(t *testing.T, b *bundle) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if _, err := b.Contacts(ctx, b.w, 0, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("read: got %v, want %v", err, context.Canceled)
	}
	err := b.Update(ctx, func(gateway.Tx) error { return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("update: got %v, want %v", err, context.Canceled)
	}
}
