package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"civgate/gateway"
)

// newRecord is a record that is not stored yet.
func (b *bundle) newRecord(entity gateway.Entity, customID string) *gateway.Record {
	return &gateway.Record{ID: gateway.RecordID(b.nextID(gateway.IDRecord)), WorkspaceID: b.w, Entity: entity, CustomID: customID, CreatedAt: start, UpdatedAt: start}
}

func (b *bundle) wantRecords(what string, refs gateway.Refs, want ...*gateway.Record) {
	b.t.Helper()
	byID := cmpopts.SortSlices(func(x, y *gateway.Record) bool { return x.ID < y.ID })
	if d := cmp.Diff(want, b.load(refs).Records, byID, cmpopts.EquateEmpty()); d != "" {
		b.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func testRecords(t *testing.T, b *bundle) {
	product, deal, nameless := b.newRecord(gateway.EntityProduct, "same"), b.newRecord(gateway.EntityDeal, "same"), b.newRecord(gateway.EntityProduct, "")
	product.Name = `Mug "ź"`
	product.Attributes.Set("price", number("9.50"))
	product.Attributes.Set("sizes", list(`["S","L"]`))
	product.Attributes.Set("name", text("n")) // no column of its own here
	deal.UpdatedAt = at(9)
	b.save(&gateway.Changes{NewRecords: []*gateway.Record{nameless, product, deal}})

	read := must[*gateway.Record](t)
	equal(t, "product", read(b.Record(b.ctx, b.w, gateway.EntityProduct, product.ID)), product)
	equal(t, "deal", read(b.RecordByCustomID(b.ctx, b.w, gateway.RecordKey{Entity: gateway.EntityDeal, CustomID: "same"})), deal)
	equal(t, "product by custom id", read(b.RecordByCustomID(b.ctx, b.w, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "same"})), product)
	_, err := b.Record(b.ctx, b.w, gateway.EntityDeal, product.ID)
	wantCode(t, "a product as a deal", err, gateway.CodeNotFound)
	_, err = b.RecordByCustomID(b.ctx, b.w, gateway.RecordKey{Entity: gateway.EntityProduct})
	wantCode(t, "by no custom id", err, gateway.CodeNotFound)
	b.wantRecords("loaded", gateway.Refs{
		RecordIDs:  []gateway.RecordID{nameless.ID, nameless.ID, 1 << 40},
		RecordKeys: []gateway.RecordKey{{Entity: gateway.EntityProduct, CustomID: "same"}, {Entity: gateway.EntityProduct, CustomID: "none"}, {Entity: gateway.EntityProduct}},
	}, product, nameless)

	wantCode(t, "a second one with the custom id", b.trySave(&gateway.Changes{NewRecords: []*gateway.Record{b.newRecord(gateway.EntityProduct, "same")}}), gateway.CodeConflict)

	// Custom ids change hands within a batch, and what goes makes room.
	product.CustomID, nameless.CustomID = "other", "same"
	product.Attributes.Set("price", gateway.Null)
	product.UpdatedAt = at(20)
	fresh := b.newRecord(gateway.EntityDeal, "same")
	b.save(&gateway.Changes{Records: []*gateway.Record{nameless, product}, FreedRecords: []gateway.RecordID{product.ID}, DeletedRecords: []gateway.RecordID{deal.ID}, NewRecords: []*gateway.Record{fresh}})
	equal(t, "changed product", read(b.Record(b.ctx, b.w, gateway.EntityProduct, product.ID)), product)
	equal(t, "product that took its id", read(b.RecordByCustomID(b.ctx, b.w, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "same"})), nameless)
	equal(t, "new deal", read(b.RecordByCustomID(b.ctx, b.w, gateway.RecordKey{Entity: gateway.EntityDeal, CustomID: "same"})), fresh)
	wantCode(t, "deleting what is not there", b.trySave(&gateway.Changes{DeletedRecords: []gateway.RecordID{deal.ID}}), gateway.CodeNotFound)

	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	theirs := other.newRecord(gateway.EntityProduct, "same")
	other.save(&gateway.Changes{NewRecords: []*gateway.Record{theirs}})
	other.wantRecords("those of another workspace", gateway.Refs{RecordIDs: []gateway.RecordID{product.ID}, RecordKeys: []gateway.RecordKey{{Entity: gateway.EntityProduct, CustomID: "same"}, {Entity: gateway.EntityProduct, CustomID: "other"}}}, theirs)
	_, err = other.Record(b.ctx, other.w, gateway.EntityProduct, product.ID)
	wantCode(t, "a product of another workspace", err, gateway.CodeNotFound)
	wantCode(t, "deleting that of another workspace", other.trySave(&gateway.Changes{DeletedRecords: []gateway.RecordID{product.ID}}), gateway.CodeNotFound)
	if n := must[int64](t)(other.CountRecords(b.ctx, other.w, gateway.EntityProduct)); n != 1 {
		t.Errorf("%d products of the other workspace", n)
	}
}

func testRecordPages(t *testing.T, b *bundle) {
	var want []gateway.RecordID
	c := &gateway.Changes{}
	for i := range 25 {
		entity := gateway.EntityProduct
		if i%5 == 4 {
			entity = gateway.EntityDeal
		}
		r := b.newRecord(entity, fmt.Sprint("r", i))
		c.NewRecords = append(c.NewRecords, r)
		if entity == gateway.EntityProduct {
			want = append(want, r.ID)
		}
	}
	b.save(c)
	slices.Reverse(want)
	var got []gateway.RecordID
	for before := gateway.RecordID(0); ; {
		page := must[[]*gateway.Record](t)(b.Records(b.ctx, b.w, gateway.EntityProduct, before, 7))
		for _, r := range page {
			got = append(got, r.ID)
		}
		if len(page) < 7 {
			break
		}
		before = page[6].ID
	}
	equal(t, "products in pages", got, want)
	if n := must[int64](t)(b.CountRecords(b.ctx, b.w, gateway.EntityDeal)); n != 5 {
		t.Errorf("%d deals", n)
	}
}

// testManyRecords writes and loads more at once than one statement takes, in all the
// numbers that leave some over.
func testManyRecords(t *testing.T, b *bundle) {
	for _, n := range []int{2, 63, 64, 66, 200} {
		var all []*gateway.Record
		refs, ids := gateway.Refs{}, gateway.Refs{}
		for i := range n {
			r := b.newRecord(gateway.EntityProduct, fmt.Sprint(n, " of ", i))
			r.Attributes.Set("n", number(fmt.Sprint(i)))
			all = append(all, r)
			refs.RecordKeys = append(refs.RecordKeys, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: r.CustomID})
			ids.RecordIDs = append(ids.RecordIDs, r.ID)
		}
		b.save(&gateway.Changes{NewRecords: all})
		b.wantRecords(fmt.Sprint(n, " by custom id"), refs, all...)
		for _, r := range all {
			r.Name, r.UpdatedAt = "changed", at(n)
		}
		b.save(&gateway.Changes{Records: all})
		b.wantRecords(fmt.Sprint(n, " by id"), ids, all...)
	}
}

// dropped drops an attribute, whose definition it makes first.
func (b *bundle) dropped(entity gateway.Entity, name string) {
	b.t.Helper()
	d := gateway.AttributeDef{ID: gateway.AttributeID(b.nextID(gateway.IDAttribute)), WorkspaceID: b.w, Entity: entity, Name: name, Label: name, Type: gateway.TypeText}
	b.save(&gateway.Changes{NewDefs: []gateway.AttributeDef{d}})
	b.update(func(tx gateway.Tx) error { return tx.DropAttribute(b.w, d) })
}

func testDropAttribute(t *testing.T, b *bundle) {
	// Each has the attribute elsewhere in its bag, and something that looks like it.
	bags := []string{
		`{"plan":"a"}`, `{"plan":{"plan":1},"z":"\"plan\":1"}`, `{"a":{"plan":1},"plan":"x,}","z":2}`, `{"a":1,"plan":[1,"}"]}`,
		`{"a":{"plan":1}}`, `{"a":"\"plan\":"}`, `{"a":1}`, `{}`, `{"plan_b":1,"z_plan":2}`,
	}
	without := []string{
		`{}`, `{"z":"\"plan\":1"}`, `{"a":{"plan":1},"z":2}`, `{"a":1}`,
		`{"a":{"plan":1}}`, `{"a":"\"plan\":"}`, `{"a":1}`, `{}`, `{"plan_b":1,"z_plan":2}`,
	}
	bag := func(object string) (a gateway.Attributes) {
		v, err := gateway.ParseValue([]byte(object))
		if err != nil {
			t.Fatal(err)
		}
		fields, err := gateway.ParseFields([]byte(v.Raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			x, err := gateway.ParseValue(f.Value)
			if err != nil {
				t.Fatal(err)
			}
			a.Set(f.Name, x)
		}
		return a
	}
	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	type holders struct {
		contacts []*gateway.Contact
		merged   []*gateway.Contact
		company  []*gateway.Company
		products []*gateway.Record
		deals    []*gateway.Record
	}
	all := map[*bundle]*holders{}
	for _, x := range []*bundle{b, other} {
		h := &holders{}
		for _, object := range bags {
			c, m := x.newContact(""), x.newContact("")
			c.Attributes, c.Fingerprint, m.Attributes, m.MergedInto = bag(object), 7, bag(object), c.ID
			c.Attributes.Set("phone_number", text("+48600"))
			co := x.newCompany("", "Acme")
			co.Attributes = bag(object)
			p, d := x.newRecord(gateway.EntityProduct, ""), x.newRecord(gateway.EntityDeal, "")
			p.Attributes, d.Attributes = bag(object), bag(object)
			h.contacts, h.merged, h.company = append(h.contacts, c), append(h.merged, m), append(h.company, co)
			h.products, h.deals = append(h.products, p), append(h.deals, d)
		}
		x.save(&gateway.Changes{NewContacts: slices.Concat(h.contacts, h.merged), NewCompanies: h.company, NewRecords: slices.Concat(h.products, h.deals)})
		all[x] = h
	}
	check := func(what string, gone func(entity gateway.Entity, x *bundle) bool) {
		t.Helper()
		for x, h := range all {
			for i := range bags {
				want := func(entity gateway.Entity, also ...gateway.Attribute) gateway.Attributes {
					a := bag(bags[i])
					if gone(entity, x) {
						a = bag(without[i])
					}
					for _, y := range also {
						a.Set(y.Name, y.Value)
					}
					return a
				}
				same := func(what2 string, got, want gateway.Attributes) {
					t.Helper()
					// Types are not stored: the texts tell.
					if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w && len(got)+len(want) > 0 && !equalRaw(got, want) {
						t.Errorf("%s: %s of %s is %s, want %s", what, what2, bags[i], g, w)
					}
				}
				l := x.load(gateway.Refs{Contacts: []gateway.ContactID{h.contacts[i].ID}, CompanyIDs: []gateway.CompanyID{h.company[i].ID}, RecordIDs: []gateway.RecordID{h.products[i].ID, h.deals[i].ID}})
				same("contact", l.Contacts[0].Attributes, want(gateway.EntityContact, gateway.Attribute{Name: "phone_number", Value: text("+48600")}))
				touched := gone(gateway.EntityContact, x) && bags[i] != without[i]
				if f := l.Contacts[0].Fingerprint; touched != (f == 0) {
					t.Errorf("%s: fingerprint of %s is %d", what, bags[i], f)
				}
				same("company", l.Companies[0].Attributes, want(gateway.EntityCompany))
				for _, r := range l.Records {
					same(string(r.Entity), r.Attributes, want(r.Entity))
				}
				merged := x.load(gateway.Refs{Contacts: []gateway.ContactID{h.merged[i].ID}})
				for _, c := range merged.Contacts {
					if c.ID == h.merged[i].ID {
						same("merged contact", c.Attributes, want(gateway.EntityContact))
					}
				}
			}
		}
	}
	check("before", func(gateway.Entity, *bundle) bool { return false })
	var done []gateway.Entity
	for i, entity := range []gateway.Entity{gateway.EntityDeal, gateway.EntityContact, gateway.EntityProduct, gateway.EntityCompany, gateway.EntityTicket} {
		b.dropped(entity, "plan")
		done = append(done, entity)
		check("after "+string(entity), func(e gateway.Entity, x *bundle) bool { return x == b && slices.Contains(done, e) })
		if n := b.load(gateway.Refs{}).Dropped; n != int64(i+1) {
			t.Errorf("%d attributes are dropped, want %d", n, i+1)
		}
		if n := must[int64](t)(b.DroppedAttributes(b.ctx, b.w)); n != int64(i+1) {
			t.Errorf("%d attributes are dropped for readers, want %d", n, i+1)
		}
	}
	if n := other.load(gateway.Refs{}).Dropped; n != 0 {
		t.Errorf("%d attributes of the other workspace are dropped", n)
	}
	if defs := must[[]gateway.AttributeDef](t)(b.AttributeDefs(b.ctx, b.w)); len(defs) != 0 {
		t.Errorf("definitions are left: %v", defs)
	}
}

func equalRaw(a, b gateway.Attributes) bool {
	return slices.EqualFunc(a, b, func(x, y gateway.Attribute) bool { return x.Name == y.Name && x.Value.Raw == y.Value.Raw })
}

func testDropAttributeMissing(t *testing.T, b *bundle) {
	d := gateway.AttributeDef{ID: 9, WorkspaceID: b.w, Entity: gateway.EntityContact, Name: "plan", Type: gateway.TypeText}
	b.save(&gateway.Changes{NewDefs: []gateway.AttributeDef{d}})
	for what, wrong := range map[string]func(d *gateway.AttributeDef){
		"of another entity": func(d *gateway.AttributeDef) { d.Entity = gateway.EntityCompany },
		"of another id":     func(d *gateway.AttributeDef) { d.ID = 10 },
		"of another name":   func(d *gateway.AttributeDef) { d.Name = "plans" },
	} {
		x := d
		wrong(&x)
		wantCode(t, what, b.Update(b.ctx, func(tx gateway.Tx) error { return tx.DropAttribute(b.w, x) }), gateway.CodeNotFound)
	}
	other := b.workspace("Other")
	wantCode(t, "of another workspace", b.Update(b.ctx, func(tx gateway.Tx) error { return tx.DropAttribute(other, d) }), gateway.CodeNotFound)
	if n := must[int64](t)(b.DroppedAttributes(b.ctx, b.w)); n != 0 {
		t.Errorf("%d attributes are dropped", n)
	}
}

// testDropAttributeMany drops an attribute from more than a portion, whose bags are of
// very different sizes.
func testDropAttributeMany(t *testing.T, b *bundle) {
	const n = 9000
	first := b.nextIDs(gateway.IDContact, 2*n)
	c := &gateway.Changes{}
	for i := range n {
		x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, CreatedAt: start, UpdatedAt: start, Fingerprint: 5}
		m := &gateway.Contact{ID: gateway.ContactID(first + n + int64(i)), WorkspaceID: b.w, CreatedAt: start, UpdatedAt: start, MergedInto: gateway.ContactID(first + int64(i/100))}
		if i%3 > 0 {
			x.Attributes.Set("plan", text("pro"))
			m.Attributes.Set("plan", text("pro"))
		}
		if i < 300 {
			x.Attributes.Set("large", text(strings.Repeat("x", 8000)))
		}
		x.Attributes.Set("n", number(fmt.Sprint(i)))
		c.NewContacts = append(c.NewContacts, x, m)
	}
	b.save(c)
	b.dropped(gateway.EntityContact, "plan")
	refs := gateway.Refs{}
	for i := range 2 * n {
		refs.Contacts = append(refs.Contacts, gateway.ContactID(first+int64(i)))
	}
	l := b.load(refs)
	if len(l.Contacts) != 2*n {
		t.Fatalf("%d contacts", len(l.Contacts))
	}
	for _, x := range l.Contacts {
		i := int(int64(x.ID) - first)
		if _, has := x.Attributes.Get("plan"); has {
			t.Fatalf("contact %d has it still", i)
		}
		if i >= n {
			continue
		}
		if v, _ := x.Attributes.Get("n"); v.Raw != fmt.Sprint(i) {
			t.Fatalf("contact %d is %v", i, x.Attributes)
		}
		if touched := i%3 > 0; touched != (x.Fingerprint == 0) {
			t.Fatalf("contact %d: fingerprint %d", i, x.Fingerprint)
		}
	}
}
