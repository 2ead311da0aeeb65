package storetest

import (
	"fmt"
	"testing"

	"civgate/gateway"
)

func testKeyChanges(t *testing.T, b *bundle) {
	other := b.workspace("Other", gateway.APIKey{Kind: gateway.KeyWidget, Secret: "OTHER1", CreatedAt: at(0)})
	mine := b.workspace("Mine")
	widget := gateway.APIKey{WorkspaceID: mine, Kind: gateway.KeyWidget, Secret: "MINE01", Name: "shop", CreatedAt: at(1)}
	token := gateway.APIKey{WorkspaceID: mine, Kind: gateway.KeyREST, Secret: "hash", Name: "sync", Scope: gateway.ScopeRead, CreatedAt: at(2)}
	put := func(k gateway.APIKey) error {
		return b.inTx(func(tx gateway.Tx) error { return tx.PutAPIKey(mine, k) })
	}
	for _, k := range []gateway.APIKey{token, widget} {
		if err := put(k); err != nil {
			t.Fatal(err)
		}
	}
	keys := func() []gateway.APIKey { return must[[]gateway.APIKey](t)(b.APIKeys(b.ctx, mine)) }
	equal(t, "keys", keys(), []gateway.APIKey{widget, token})
	b.update(func(tx gateway.Tx) error {
		in, err := tx.APIKeys(mine)
		equal(t, "keys in a transaction", in, keys())
		return err
	})
	b.wantCode("a key twice", gateway.CodeConflict, put(widget))
	taken := widget
	taken.Secret = "OTHER1"
	b.wantCode("a key of another workspace", gateway.CodeConflict, put(taken))
	odd := token
	odd.Secret, odd.Scope = "odd", "all"
	b.wantCode("an odd scope", gateway.CodeInvalid, put(odd))

	drop := func(w gateway.WorkspaceID, kind gateway.KeyKind, secret string) error {
		return b.inTx(func(tx gateway.Tx) error { return tx.DropAPIKey(w, kind, secret) })
	}
	b.wantCode("a key of another workspace", gateway.CodeNotFound, drop(other, gateway.KeyWidget, "MINE01"))
	b.wantCode("a key of another kind", gateway.CodeNotFound, drop(mine, gateway.KeyREST, "MINE01"))
	if err := drop(mine, gateway.KeyWidget, "MINE01"); err != nil {
		t.Fatal(err)
	}
	equal(t, "keys after one was revoked", keys(), []gateway.APIKey{token})
	b.wantCode("a key that was revoked", gateway.CodeNotFound, drop(mine, gateway.KeyWidget, "MINE01"))
}

func testSetAttribute(t *testing.T, b *bundle) {
	d := gateway.AttributeDef{ID: gateway.AttributeID(b.nextID(gateway.IDAttribute)), WorkspaceID: b.w, Entity: gateway.EntityContact, Name: "plan",
		Label: "plan", Type: gateway.TypeList, Choices: []string{"a", "b"}, CreatedAt: at(1)}
	same := d
	same.ID, same.Entity = gateway.AttributeID(b.nextID(gateway.IDAttribute)), gateway.EntityCompany
	b.save(&gateway.Changes{NewDefs: []gateway.AttributeDef{d, same}})
	d.Label, d.Description, d.Hidden = `The "plan" ü`, "What they pay for", true
	// What else a definition says does not change.
	asked := d
	asked.Type, asked.Choices, asked.CreatedAt = gateway.TypeText, nil, at(9)
	set := func(d gateway.AttributeDef) error {
		return b.inTx(func(tx gateway.Tx) error { return tx.SetAttribute(b.w, d) })
	}
	if err := set(asked); err != nil {
		t.Fatal(err)
	}
	equal(t, "definitions", must[[]gateway.AttributeDef](t)(b.AttributeDefs(b.ctx, b.w)), []gateway.AttributeDef{same, d})
	asked.ID = same.ID
	b.wantCode("an attribute with another's id", gateway.CodeNotFound, set(asked))
}

// testIdleVisitors has one visitor whose time is over and, for each thing that keeps
// somebody, one who has it.
func testIdleVisitors(t *testing.T, b *bundle) {
	c := &gateway.Changes{NewCompanies: []*gateway.Company{b.newCompany("x", "X")}}
	visitor := func() *gateway.Contact {
		x := b.newContact("")
		c.NewContacts = append(c.NewContacts, x)
		return x
	}
	view := func(x *gateway.Contact, second int) {
		c.PageViews = append(c.PageViews, gateway.PageView{WorkspaceID: b.w, ContactID: x.ID, Key: "k", At: at(second), Path: "/"})
	}
	bare, viewed := visitor(), visitor()
	view(viewed, 50)
	kept := map[gateway.ContactID]string{}
	keep := func(what string, change func(x *gateway.Contact)) *gateway.Contact {
		x := visitor()
		kept[x.ID] = what
		change(x)
		return x
	}
	keep("user_id", func(x *gateway.Contact) { x.CustomID = "u" })
	keep("e-mail", func(x *gateway.Contact) { x.Email, x.EmailKey = "a@acme.test", "a@acme.test" })
	keep("name", func(x *gateway.Contact) { x.Attributes.Set("name", gateway.TextValue("Ada")) })
	keep("phone", func(x *gateway.Contact) { x.Attributes.Set("phone_number", gateway.TextValue("+48123456789")) })
	keep("tags", func(x *gateway.Contact) { x.Attributes.Set("tags", gateway.ListValue("vip")) })
	keep("created since", func(x *gateway.Contact) { x.CreatedAt = at(100) })
	keep("changed since", func(x *gateway.Contact) { x.UpdatedAt = at(100) })
	keep("seen since", func(x *gateway.Contact) { view(x, 50); view(x, 100) })
	keep("event since", func(x *gateway.Contact) {
		c.Events = append(c.Events, gateway.Event{WorkspaceID: b.w, ContactID: x.ID, Kind: gateway.EventCustom, Name: "e", Data: "{}", At: at(100)})
	})
	keep("former employee", func(x *gateway.Contact) {
		c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: x.ID, CompanyID: c.NewCompanies[0].ID, Source: gateway.SourceManual, Since: at(1), Until: at(2)})
	})
	listed := keep("list", func(*gateway.Contact) {})
	merged := keep("merged", func(x *gateway.Contact) { x.MergedInto = bare.ID })
	last := visitor()
	b.save(c)
	b.put(b.list(b.w, "l"), listed.ID)
	b.people(b.workspace("Other"), 2)
	for _, limit := range []int{1, 2, 5, 100} {
		var idle []gateway.ContactID
		steps := 0
		for after := gateway.ContactID(0); ; steps++ {
			var some []gateway.ContactID
			var next gateway.ContactID
			b.update(func(tx gateway.Tx) (err error) {
				some, next, err = tx.IdleVisitors(b.w, at(100), after, limit)
				return err
			})
			if idle = append(idle, some...); next == 0 {
				break
			}
			after = next
		}
		equal(t, fmt.Sprint("idle visitors, ", limit, " a step"), idle, []gateway.ContactID{bare.ID, viewed.ID, last.ID})
		for _, id := range idle {
			if what := kept[id]; what != "" {
				t.Errorf("who has %s is idle", what)
			}
		}
		if want := len(c.NewContacts) - 1; limit == 1 && steps != want {
			t.Errorf("%d steps, want %d (without %d)", steps, want, merged.ID)
		}
	}
}

func testTagUses(t *testing.T, b *bundle) {
	c := &gateway.Changes{NewContacts: []*gateway.Contact{b.newContact("a"), b.newContact("b")}, NewCompanies: []*gateway.Company{b.newCompany("c", "C")}}
	tagAll(c, "vip", "beta")
	b.save(c)
	b.save(&gateway.Changes{Tagged: []gateway.TagChange{lose(gateway.EntityContact, int64(c.NewContacts[0].ID), "beta"), lose(gateway.EntityContact, int64(c.NewContacts[1].ID), "beta"), lose(gateway.EntityCompany, int64(c.NewCompanies[0].ID), "beta")}})
	ids := b.tagIDs("vip", "beta")
	uses := func(w gateway.WorkspaceID, most int) map[gateway.TagID]int {
		return must[map[gateway.TagID]int](t)(b.TagUses(b.ctx, w, append(ids, ids[0], 999), most))
	}
	equal(t, "uses", uses(b.w, 10), map[gateway.TagID]int{ids[0]: 3})
	equal(t, "uses up to two", uses(b.w, 2), map[gateway.TagID]int{ids[0]: 2})
	equal(t, "uses in another workspace", uses(b.workspace("Other"), 10), map[gateway.TagID]int{})
}
