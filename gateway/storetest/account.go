package storetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"civgate/gateway"
)

// Account compares what the people of companies did, as an empty store tells it page by
// page, with what is said of it here. It is for stores that are told to look at little
// at a time, too.
func Account(t *testing.T, s gateway.Store) {
	b := &bundle{Store: s, t: t, ctx: t.Context()}
	b.w = b.workspace("Acme")
	testAccount(t, b)
}

func testAccount(t *testing.T, b *bundle) {
	const people, entries = 40, 500
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	c := &gateway.Changes{}
	company, other, nobodys := b.newCompany("c1", "Acme"), b.newCompany("c2", "Other"), b.newCompany("c3", "Nobody's")
	c.NewCompanies = []*gateway.Company{company, other, nobodys}
	first := b.nextIDs(gateway.IDContact, people)
	var all []*gateway.Contact
	root := map[gateway.ContactID]gateway.ContactID{}
	until := map[gateway.ContactID]int{} // up to which second the history of a contact counts; employees: forever
	const forever = 1 << 30
	for i := range people {
		x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, CreatedAt: start, UpdatedAt: start}
		root[x.ID] = x.ID
		member := func(company gateway.CompanyID, end int) {
			m := gateway.Membership{WorkspaceID: b.w, ContactID: x.ID, CompanyID: company, Source: gateway.SourceAPI, Since: at(i)}
			if end < forever {
				m.Until = at(end)
			}
			c.NewMemberships = append(c.NewMemberships, m)
			if company == c.NewCompanies[0].ID {
				until[x.ID] = max(until[x.ID], end)
			}
		}
		if i > 0 && r.IntN(3) == 0 { // part of an earlier one, perhaps a former employee
			into := all[r.IntN(len(all))]
			x.MergedInto, root[x.ID] = into.ID, root[into.ID]
			until[x.ID] = until[into.ID]
			if r.IntN(2) == 0 {
				member(company.ID, 1+r.IntN(60))
			}
		} else {
			for range r.IntN(3) {
				member(company.ID, 1+r.IntN(60)+60*len(c.NewMemberships))
			}
			if r.IntN(2) == 0 {
				member(company.ID, forever)
			}
			if r.IntN(3) == 0 {
				member(other.ID, forever)
			}
		}
		all = append(all, x)
	}
	c.NewContacts = all
	type entry struct {
		second int
		event  bool
		what   string
		who    gateway.ContactID
		former bool
	}
	var want []entry
	for i := range entries {
		x := all[r.IntN(len(all))]
		e := entry{second: r.IntN(80), event: r.IntN(3) == 0, what: fmt.Sprint("/", i), who: root[x.ID], former: until[x.ID] != forever}
		if e.event {
			c.Events = append(c.Events, gateway.Event{WorkspaceID: b.w, ContactID: x.ID, Kind: gateway.EventCustom, Name: e.what, At: at(e.second)})
		} else {
			c.PageViews = append(c.PageViews, b.view(x, e.second, e.what))
		}
		if u, ok := until[x.ID]; ok && u > 0 && e.second <= u {
			want = append(want, e)
		}
	}
	b.save(c)
	// In which order a store numbers what comes at once is its business.
	byName := func(x, y entry) int { return cmp.Compare(x.what, y.what) }
	slices.SortFunc(want, byName)
	if len(want) < 50 {
		t.Fatalf("only %d entries are the company's", len(want))
	}
	for _, limit := range []int{1, 7, 50, 1000} {
		var got []entry
		var last gateway.AccountPlace
		q := gateway.AccountQuery{Limit: limit}
		for n := 0; ; n++ {
			page, err := b.Account(b.ctx, b.w, company.ID, q)
			if err != nil {
				t.Fatal(err)
			}
			if len(page.Entries) > limit || n > 10*entries {
				t.Fatalf("page %d of %d has %d", n, limit, len(page.Entries))
			}
			for _, e := range page.Entries {
				one := entry{who: e.Contact.ID, former: e.Former}
				var place gateway.AccountPlace
				if e.Event != nil {
					place = gateway.AccountPlace{At: e.Event.At, Event: e.Event.ID, PageView: 1 << 62}
					one.event, one.what, one.second = true, e.Event.Name, int(e.Event.At.Sub(start).Seconds())
				} else {
					place = gateway.AccountPlace{At: e.PageView.At, PageView: e.PageView.ID}
					one.what, one.second = e.PageView.Path, int(e.PageView.At.Sub(start).Seconds())
				}
				if len(got) > 0 && cmp.Or(last.At.Compare(place.At), cmp.Compare(last.Event, place.Event), cmp.Compare(last.PageView, place.PageView)) <= 0 {
					t.Fatalf("%+v comes behind %+v", place, last)
				}
				got, last = append(got, one), place
			}
			if (page.Next == gateway.AccountPlace{}) {
				break
			}
			if len(page.Entries) < limit && !page.Partial {
				t.Fatalf("a page of %d has %d, and says that it is whole", limit, len(page.Entries))
			}
			q.Before = page.Next
		}
		slices.SortFunc(got, byName)
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %d entries, want %d", limit, len(got), len(want))
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Fatalf("entry %d is %+v, want %+v", i, got[i], want[i])
				}
			}
		}
	}
	page := must[*gateway.AccountPage](t)(b.Account(b.ctx, b.w, nobodys.ID, gateway.AccountQuery{Limit: 5}))
	if len(page.Entries) > 0 {
		t.Errorf("nobody's company did %v", page.Entries)
	}
	page = must[*gateway.AccountPage](t)(b.Account(b.ctx, b.w, company.ID, gateway.AccountQuery{}))
	if len(page.Entries) > 0 || page.Partial {
		t.Errorf("a page of no length: %v", page)
	}
	if _, err := b.Account(b.ctx, b.workspace("Else"), company.ID, gateway.AccountQuery{Limit: 5}); !gateway.IsNotFound(err) {
		t.Errorf("in another workspace: %v", err)
	}
}

func testEmailPrefix(t *testing.T, b *bundle) {
	var ids []gateway.ContactID
	c := &gateway.Changes{}
	for _, email := range []string{"ada@acme.test", "ada.b@acme.test", "adam@acme.test", "bob@acme.test", "adé@acme.test", "ada@acme.test"} {
		x := b.newContact("")
		x.EmailKey, x.Email = email, email
		ids = append(ids, x.ID)
		c.NewContacts = append(c.NewContacts, x)
	}
	gone := b.newContact("ada")
	gone.MergedInto = ids[3]
	c.NewContacts = append(c.NewContacts, gone)
	b.save(c)
	for _, q := range []struct {
		prefix string
		limit  int
		want   []gateway.ContactID
	}{
		{"ada", 9, []gateway.ContactID{ids[1], ids[0], ids[5], ids[2]}},
		{"ada@", 9, []gateway.ContactID{ids[0], ids[5]}},
		{"ad", 2, []gateway.ContactID{ids[1], ids[0]}},
		{"adé", 9, []gateway.ContactID{ids[4]}},
		{"c", 9, nil}, {"", 9, nil}, {"a\x00", 9, nil}, {"%", 9, nil},
	} {
		var got []gateway.ContactID
		for _, v := range must[[]*gateway.ContactView](t)(b.ContactsByEmailPrefix(b.ctx, b.w, q.prefix, q.limit)) {
			got = append(got, v.ID)
		}
		equal(t, "e-mails with "+q.prefix, got, q.want)
	}
}

// testBriefCompanies lists companies without their employees.
func testBriefCompanies(t *testing.T, b *bundle) {
	company, contact := b.newCompany("c", "Acme"), b.newContact("u")
	b.save(&gateway.Changes{NewCompanies: []*gateway.Company{company}, NewContacts: []*gateway.Contact{contact},
		NewMemberships: []gateway.Membership{{WorkspaceID: b.w, ContactID: contact.ID, CompanyID: company.ID, Source: gateway.SourceAPI, Since: start}}})
	for _, brief := range []bool{false, true} {
		found := must[[]*gateway.CompanyView](t)(b.FindCompanies(b.ctx, b.w, gateway.Query{Limit: 9, Brief: brief}))
		if len(found) != 1 || found[0].EmployeesCount != 1 || len(found[0].Employees) == 1 == brief {
			t.Errorf("brief %t: %+v", brief, found)
		}
	}
}

// testLastActive: the latest page view or event of the newest employees counts, and of who
// became part of them; that of who has left, or of another workspace, does not.
func testLastActive(t *testing.T, b *bundle) {
	c := &gateway.Changes{}
	company := func(name string) gateway.CompanyID {
		x := b.newCompany(name, name)
		c.NewCompanies = append(c.NewCompanies, x)
		return x.ID
	}
	// Contacts join a company at one time, and view a page at another (0: never).
	join := func(to gateway.CompanyID, since, viewed int) *gateway.Contact {
		x := b.newContact("")
		c.NewContacts = append(c.NewContacts, x)
		if to != 0 {
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: x.ID, CompanyID: to, Source: gateway.SourceAPI, Since: at(since)})
		}
		if viewed > 0 {
			c.PageViews = append(c.PageViews, b.view(x, viewed, "/"), b.view(x, 1, "/"))
		}
		return x
	}
	nobody, asleep, two, merged, left, large := company("nobody"), company("asleep"), company("two"), company("merged"), company("left"), company("large")
	join(asleep, 1, 0)
	join(two, 1, 40)
	happened := join(two, 2, 30)
	c.Events = append(c.Events, gateway.Event{ContactID: happened.ID, At: at(50), Kind: gateway.EventCustom, Name: "e"}, gateway.Event{ContactID: happened.ID, At: at(5), Kind: gateway.EventCustom, Name: "e"})
	survivor := join(merged, 1, 10)
	part := join(0, 0, 60)
	part.MergedInto = survivor.ID
	join(left, 1, 20)
	gone := join(left, 1, 70)
	c.NewMemberships[len(c.NewMemberships)-1].Until = at(80)
	c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: gone.ID, CompanyID: two, Source: gateway.SourceAPI, Since: at(1)})
	for i := range gateway.MaxLastActive + 2 {
		join(large, 100-i, 20+i)
	}
	b.save(c)
	others := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Others")}
	stranger := others.newCompany("s", "Strangers")
	others.save(&gateway.Changes{NewCompanies: []*gateway.Company{stranger}})

	got := must[map[gateway.CompanyID]gateway.LastActive](t)(b.LastActive(b.ctx, b.w, []gateway.CompanyID{two, nobody, asleep, merged, left, large, large, stranger.ID, 1 << 40}))
	equal(t, "last active", got, map[gateway.CompanyID]gateway.LastActive{
		asleep: {Employees: 1},
		two:    {At: at(70), Employees: 3},
		merged: {At: at(60), Employees: 1},
		left:   {At: at(20), Employees: 1},
		large:  {At: at(20 + gateway.MaxLastActive - 1), Employees: gateway.MaxLastActive},
	})
	equal(t, "last active of none", len(must[map[gateway.CompanyID]gateway.LastActive](t)(b.LastActive(b.ctx, b.w, nil))), 0)
	equal(t, "of another workspace", len(must[map[gateway.CompanyID]gateway.LastActive](t)(b.LastActive(b.ctx, others.w, []gateway.CompanyID{two, merged}))), 0)
}
