package storetest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"civgate/gateway"
)

// tagIDs finds tags, which must be there.
func (b *bundle) tagIDs(names ...string) []gateway.TagID {
	b.t.Helper()
	found := must[map[string]gateway.TagID](b.t)(b.TagIDs(b.ctx, b.w, names))
	ids := make([]gateway.TagID, len(names))
	for i, name := range names {
		if ids[i] = found[name]; ids[i] == 0 {
			b.t.Fatalf("there is no tag %q", name)
		}
	}
	return ids
}

// tagNames are all tags, newest first.
func (b *bundle) tagNames() (names []string) {
	b.t.Helper()
	for _, tag := range must[[]gateway.Tag](b.t)(b.Tags(b.ctx, b.w, 0, 1000)) {
		names = append(names, tag.Name)
	}
	return names
}

func gain(e gateway.Entity, subject int64, name string) gateway.TagChange {
	return gateway.TagChange{Entity: e, Subject: subject, Name: name, At: start}
}

func lose(e gateway.Entity, subject int64, name string) gateway.TagChange {
	return gateway.TagChange{Entity: e, Subject: subject, Name: name, Lost: true, At: start}
}

// tag gives contacts and companies tags, in their bags too.
func tagAll(c *gateway.Changes, names ...string) {
	for _, x := range c.NewContacts {
		x.Attributes.Set("tags", gateway.ListValue(names...))
		for _, name := range names {
			c.Tagged = append(c.Tagged, gain(gateway.EntityContact, int64(x.ID), name))
		}
	}
	for _, x := range c.NewCompanies {
		x.Attributes.Set("tags", gateway.ListValue(names...))
		for _, name := range names {
			c.Tagged = append(c.Tagged, gain(gateway.EntityCompany, int64(x.ID), name))
		}
	}
}

func testTags(t *testing.T, b *bundle) {
	names := []string{"vip", "VIP", "vip ", "łódź", "100%_", `say "hi"`, "日本", "5", strings.Repeat("x", gateway.MaxName)}
	c := &gateway.Changes{NewContacts: []*gateway.Contact{b.newContact("a"), b.newContact("b")}, NewCompanies: []*gateway.Company{b.newCompany("c", "C")}}
	tagAll(c, names...)
	b.save(c)
	ids := b.tagIDs(names...)
	seen := map[gateway.TagID]bool{}
	for i, id := range ids {
		equal(t, "tag", must[gateway.Tag](t)(b.Tag(b.ctx, b.w, id)), gateway.Tag{ID: id, WorkspaceID: b.w, Name: names[i], CreatedAt: start})
		seen[id] = true
	}
	if len(seen) != len(names) {
		t.Errorf("%d ids for %d tags", len(seen), len(names))
	}
	all := must[[]gateway.Tag](t)(b.Tags(b.ctx, b.w, 0, 1000))
	var paged []gateway.Tag
	for before := gateway.TagID(0); ; {
		page := must[[]gateway.Tag](t)(b.Tags(b.ctx, b.w, before, 2))
		if len(page) == 0 {
			break
		}
		paged = append(paged, page...)
		before = page[len(page)-1].ID
	}
	equal(t, "pages of tags", paged, all)
	for i := range all {
		if i > 0 && all[i].ID >= all[i-1].ID {
			t.Errorf("tags are not newest first: %d behind %d", all[i].ID, all[i-1].ID)
		}
	}
	if n := must[int64](t)(b.CountTags(b.ctx, b.w)); n != int64(len(names)) || len(all) != len(names) {
		t.Errorf("%d tags are counted and %d listed, want %d", n, len(all), len(names))
	}
	found := must[map[string]gateway.TagID](t)(b.TagIDs(b.ctx, b.w, []string{"", "Vip", "vip", "vip", "a\x00b", "\xff", strings.Repeat("y", 10_000)}))
	equal(t, "ids by name", found, map[string]gateway.TagID{"vip": ids[0]})
	_, err := b.Tag(b.ctx, b.w, 1<<40)
	wantCode(t, "a tag that is not there", err, gateway.CodeNotFound)

	// Names are not made anew, whoever gains them.
	x := &gateway.Changes{NewContacts: []*gateway.Contact{b.newContact("late")}}
	tagAll(x, "vip", "łódź")
	x.Tagged = append(x.Tagged, gain(gateway.EntityContact, int64(c.NewContacts[0].ID), "vip"), lose(gateway.EntityContact, int64(c.NewContacts[0].ID), "never heard of"))
	b.save(x)
	equal(t, "ids later", b.tagIDs(names...), ids)
	if n := must[int64](t)(b.CountTags(b.ctx, b.w)); n != int64(len(names)) {
		t.Errorf("%d tags are counted later, want %d", n, len(names))
	}
}

func testFindByTag(t *testing.T, b *bundle) {
	var c gateway.Changes
	for i := range 30 {
		c.NewContacts = append(c.NewContacts, b.newContact(fmt.Sprint("u", i)))
	}
	for i := range 5 {
		c.NewCompanies = append(c.NewCompanies, b.newCompany(fmt.Sprint("c", i), "C"))
	}
	tagAll(&c, "all")
	some := func(from, to int, names ...string) {
		for _, x := range c.NewContacts[from:to] {
			x.Attributes.Set("tags", gateway.ListValue(append([]string{"all"}, names...)...))
			for _, name := range names {
				c.Tagged = append(c.Tagged, gain(gateway.EntityContact, int64(x.ID), name))
			}
		}
	}
	some(5, 10, "vip")
	some(10, 15, "vip", "beta")
	c.NewContacts[12].Attributes.Set("plan", text("pro"))
	b.save(&c)
	b.merge(c.NewContacts[0], c.NewContacts[9]) // keeps its link, and is not listed
	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	foreign := &gateway.Changes{NewContacts: []*gateway.Contact{other.newContact("foreign")}}
	tagAll(foreign, "vip", "theirs")
	other.save(foreign)

	ids := func(at ...int) (ids []gateway.ContactID) {
		for _, i := range at {
			ids = append(ids, c.NewContacts[i].ID)
		}
		return ids
	}
	tagged := func(name string) gateway.Condition {
		return gateway.Condition{Field: "tags", Value: gateway.TextValue(name)}
	}
	for _, q := range []struct {
		what  string
		query gateway.Query
		want  []gateway.ContactID
	}{
		{"all of a tag, newest first", gateway.Query{Where: []gateway.Condition{tagged("vip")}, Limit: 100}, ids(14, 13, 12, 11, 10, 8, 7, 6, 5)},
		{"a page", gateway.Query{Where: []gateway.Condition{tagged("vip")}, Limit: 3}, ids(14, 13, 12)},
		{"the next page", gateway.Query{Where: []gateway.Condition{tagged("vip")}, Limit: 3, Before: int64(c.NewContacts[12].ID)}, ids(11, 10, 8)},
		{"two tags", gateway.Query{Where: []gateway.Condition{tagged("vip"), tagged("beta")}, Limit: 100}, ids(14, 13, 12, 11, 10)},
		{"two tags the other way round", gateway.Query{Where: []gateway.Condition{tagged("beta"), tagged("vip")}, Limit: 100}, ids(14, 13, 12, 11, 10)},
		{"with something else", gateway.Query{Where: []gateway.Condition{tagged("all"), {Field: "plan", Value: text("pro")}}, Limit: 100}, ids(12)},
		{"with an identifier", gateway.Query{Where: []gateway.Condition{tagged("vip"), {Field: "custom_id", Value: text("u6")}}, Limit: 100}, ids(6)},
		{"who has it not", gateway.Query{Where: []gateway.Condition{tagged("vip"), {Field: "custom_id", Value: text("u4")}}, Limit: 100}, nil},
		{"another case", gateway.Query{Where: []gateway.Condition{tagged("VIP")}, Limit: 100}, nil},
		{"a part of a tag", gateway.Query{Where: []gateway.Condition{{Field: "tags", Op: gateway.OpStartsWith, Value: text("be")}}, Limit: 100}, ids(14, 13, 12, 11, 10)},
		{"no tag", gateway.Query{Where: []gateway.Condition{tagged("nobody's")}, Limit: 100}, nil},
		{"another workspace's", gateway.Query{Where: []gateway.Condition{tagged("theirs")}, Limit: 100}, nil},
		{"no name", gateway.Query{Where: []gateway.Condition{tagged("")}, Limit: 100}, nil},
		{"a number", gateway.Query{Where: []gateway.Condition{{Field: "tags", Value: number("5")}}, Limit: 100}, nil},
	} {
		equal(t, q.what, contactIDs(must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, q.query))), q.want)
	}
	companies := must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, b.w, gateway.Query{Where: []gateway.Condition{tagged("all")}, Limit: 3}))
	for i, v := range companies {
		if v.ID != c.NewCompanies[4-i].ID {
			t.Errorf("company %d of the tag is %d", i, v.ID)
		}
	}
	if len(companies) != 3 {
		t.Errorf("%d companies on a page of 3", len(companies))
	}
	if got := must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, b.w, gateway.Query{Where: []gateway.Condition{tagged("vip")}, Limit: 3})); len(got) != 0 {
		t.Errorf("%d companies with a tag of contacts", len(got))
	}

	// What is lost is not found, nor is who is gone.
	x := c.NewContacts[14]
	x.Attributes.Set("tags", gateway.ListValue("all"))
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{x}, Tagged: []gateway.TagChange{lose(gateway.EntityContact, int64(x.ID), "vip"), lose(gateway.EntityContact, int64(x.ID), "beta")},
		DeletedContacts: ids(13), DeletedCompanies: []gateway.CompanyID{c.NewCompanies[4].ID}})
	equal(t, "after changes", contactIDs(must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{Where: []gateway.Condition{tagged("beta")}, Limit: 100}))), ids(12, 11, 10))
}

// testUntag takes tags from those who have them, among whom is nobody who lost
// theirs or was deleted.
func testUntag(t *testing.T, b *bundle) {
	c := &gateway.Changes{NewCompanies: []*gateway.Company{b.newCompany("c", "C"), b.newCompany("d", "D")}}
	for i := range 8 {
		c.NewContacts = append(c.NewContacts, b.newContact(fmt.Sprint("u", i)))
	}
	tagAll(c, "vip", "beta")
	b.save(c)
	b.merge(c.NewContacts[0], c.NewContacts[1])
	b.merge(c.NewContacts[2], c.NewContacts[3])
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{c.NewContacts[0].ID, c.NewContacts[7].ID}, DeletedCompanies: []gateway.CompanyID{c.NewCompanies[0].ID},
		Tagged: []gateway.TagChange{lose(gateway.EntityContact, int64(c.NewContacts[6].ID), "vip")}})
	vip := b.tagIDs("vip")[0]
	var got [][]int64
	b.update(func(tx gateway.Tx) error {
		got = nil
		for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityContact, gateway.EntityContact, gateway.EntityCompany, gateway.EntityCompany} {
			some, err := tx.Untag(b.w, vip, entity, 3)
			if err != nil {
				return err
			}
			got = append(got, some)
		}
		return tx.DeleteTag(b.w, vip)
	})
	id := func(i int) int64 { return int64(c.NewContacts[i].ID) }
	equal(t, "who had the tag", got, [][]int64{{id(5), id(4), id(3)}, {id(2)}, nil, {int64(c.NewCompanies[1].ID)}, nil})
	equal(t, "tags that are left", b.tagNames(), []string{"beta"})
	other, beta := b.workspace("Other"), b.tagIDs("beta")[0]
	for what, err := range map[string]error{
		"deleting it again":    b.Update(b.ctx, func(tx gateway.Tx) error { return tx.DeleteTag(b.w, vip) }),
		"looking for it":       b.Update(b.ctx, func(tx gateway.Tx) error { _, err := tx.Tag(b.w, vip); return err }),
		"in another workspace": b.Update(b.ctx, func(tx gateway.Tx) error { _, err := tx.Tag(other, beta); return err }),
	} {
		wantCode(t, what, err, gateway.CodeNotFound)
	}
	if n := must[int64](t)(b.CountTags(b.ctx, b.w)); n != 1 {
		t.Errorf("%d tags are counted, want 1", n)
	}
	// Its name may come again, its id not, and nobody who had it has it.
	b.save(&gateway.Changes{Tagged: []gateway.TagChange{gain(gateway.EntityContact, id(4), "vip")}})
	if again := b.tagIDs("vip")[0]; again <= vip {
		t.Errorf("id %d comes after %d", again, vip)
	}
	b.update(func(tx gateway.Tx) error {
		got, err := tx.Untag(b.w, beta, gateway.EntityContact, 100)
		equal(t, "who has the other tag", got, []int64{id(6), id(5), id(4), id(3), id(2)})
		return err
	})
}

func testAddTag(t *testing.T, b *bundle) {
	add := func(w gateway.WorkspaceID, name string) (id gateway.TagID, created bool) {
		t.Helper()
		b.update(func(tx gateway.Tx) (err error) {
			id, created, err = tx.AddTag(w, name, at(5))
			return err
		})
		return id, created
	}
	first, created := add(b.w, "vip")
	if !created {
		t.Error("a new tag was there before")
	}
	if again, created := add(b.w, "vip"); created || again != first {
		t.Errorf("the same tag is %d, made: %v", again, created)
	}
	if id, created := add(b.w, "Vip"); !created || id == first {
		t.Errorf("another tag is %d, made: %v", id, created)
	}
	if id, created := add(b.workspace("Other"), "vip"); !created || id == first {
		t.Errorf("the tag of another workspace is %d, made: %v", id, created)
	}
	equal(t, "tag", must[gateway.Tag](t)(b.Tag(b.ctx, b.w, first)), gateway.Tag{ID: first, WorkspaceID: b.w, Name: "vip", CreatedAt: at(5)})

	// What was rolled back is not there, and is made when it comes again.
	failed := errors.New("failed")
	err := b.Update(b.ctx, func(tx gateway.Tx) error {
		if _, _, err := tx.AddTag(b.w, "lost", start); err != nil {
			return err
		}
		if err := tx.Save(b.w, &gateway.Changes{Tagged: []gateway.TagChange{gain(gateway.EntityContact, 1, "lost as well")}}); err != nil {
			return err
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	equal(t, "tags", b.tagNames(), []string{"Vip", "vip"})
	if _, created := add(b.w, "lost"); !created {
		t.Error("a tag that was rolled back is there")
	}
	c := &gateway.Changes{NewContacts: []*gateway.Contact{b.newContact("u")}}
	tagAll(c, "lost as well")
	b.save(c)
	b.tagIDs("lost as well")
	if n := must[int64](t)(b.CountTags(b.ctx, b.w)); n != 4 {
		t.Errorf("%d tags are counted, want 4", n)
	}
}
