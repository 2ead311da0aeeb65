package storetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"civgate/gateway"
)

// testHistoryPages reads all that a contact and those merged into it did in pages of
// several lengths: each entry comes once and in order, though many happened at the same
// time and more happen meanwhile.
func testHistoryPages(t *testing.T, b *bundle) {
	const aliases, entries = 230, 700 // more aliases than one statement takes
	r := rand.New(rand.NewPCG(3, 4))
	winner, other := b.newContact("u1"), b.newContact("u2")
	c := &gateway.Changes{NewContacts: []*gateway.Contact{winner, other}}
	first := b.nextIDs(gateway.IDContact, aliases)
	who := []*gateway.Contact{winner}
	for i := range aliases {
		x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, MergedInto: winner.ID, CreatedAt: start, UpdatedAt: start}
		if i%3 == 2 { // became part of one that became part of the winner
			x.MergedInto = who[len(who)-1].ID
		}
		who = append(who, x)
	}
	c.NewContacts = append(c.NewContacts, who[1:]...)
	for i := range entries {
		x := who[r.IntN(len(who))]
		when := r.IntN(40)
		v := b.view(x, when, fmt.Sprint("/", i))
		c.PageViews = append(c.PageViews, v, b.view(other, when, "/other"))
		kind := gateway.EventCustom
		if i%5 == 0 {
			kind = gateway.EventProduct
		}
		c.Events = append(c.Events, gateway.Event{WorkspaceID: b.w, ContactID: x.ID, Kind: kind, Name: fmt.Sprint("e", i), At: at(when)})
		if i < 60 {
			c.Merges = append(c.Merges, gateway.Merge{WorkspaceID: b.w, At: at(when), By: "widget", Rule: "r", WinnerID: winner.ID, LoserID: who[1+i].ID, Before: "{}", After: "{}"})
		}
	}
	b.save(c)

	type place struct {
		at time.Time
		id int64
	}
	pages := func(t *testing.T, what string, want, limit int, read func(q gateway.HistoryQuery) []place) {
		t.Helper()
		var all []place
		q := gateway.HistoryQuery{Limit: limit}
		for {
			page := read(q)
			if len(page) > limit {
				t.Fatalf("%s: a page of %d has %d", what, limit, len(page))
			}
			if len(page) == 0 {
				break
			}
			all = append(all, page...)
			last := page[len(page)-1]
			q.BeforeAt, q.BeforeID = last.at, last.id
			if len(all) == limit { // what is new stays out of the pages to come
				b.save(&gateway.Changes{PageViews: []gateway.PageView{b.view(winner, 1000, "/new")},
					Events: []gateway.Event{{WorkspaceID: b.w, ContactID: winner.ID, Kind: gateway.EventCustom, Name: "new", At: at(1000)}}})
			}
		}
		if len(all) != want {
			t.Errorf("%s in pages of %d: %d entries, want %d", what, limit, len(all), want)
		}
		for i := 1; i < len(all); i++ {
			if x, y := all[i-1], all[i]; x.at.Before(y.at) || x.at.Equal(y.at) && x.id <= y.id {
				t.Fatalf("%s in pages of %d: %v comes before %v", what, limit, x, y)
			}
		}
	}
	added := 0 // by pages
	for _, limit := range []int{7, 100, 5000} {
		pages(t, "page views", entries+added, limit, func(q gateway.HistoryQuery) (out []place) {
			for _, v := range must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, winner.ID, q)) {
				if v.ID == 0 || v.Path == "/other" {
					t.Fatalf("page view %+v", v)
				}
				out = append(out, place{v.At, v.ID})
			}
			return out
		})
		if limit < entries {
			added++
		}
		for _, kind := range []gateway.EventKind{"", gateway.EventCustom, gateway.EventProduct} {
			want := map[gateway.EventKind]int{"": entries + added, gateway.EventCustom: entries*4/5 + added, gateway.EventProduct: entries / 5}[kind]
			pages(t, "events "+string(kind), want, limit, func(q gateway.HistoryQuery) (out []place) {
				q.Kind = kind
				for _, e := range must[[]gateway.Event](t)(b.Events(b.ctx, b.w, winner.ID, q)) {
					if kind != "" && e.Kind != kind {
						t.Fatalf("event %+v", e)
					}
					out = append(out, place{e.At, e.ID})
				}
				return out
			})
			if limit < want {
				added++
			}
		}
		pages(t, "merges", 60, limit, func(q gateway.HistoryQuery) (out []place) {
			for _, m := range must[[]gateway.Merge](t)(b.Merges(b.ctx, b.w, winner.ID, q)) {
				out = append(out, place{m.At, m.ID})
			}
			return out
		})
		if limit < 60 {
			added++
		}
	}
	// What happened at one time can be left out or taken in as a whole.
	when := at(20)
	for _, id := range []int64{math.MinInt64, math.MaxInt64} {
		views := must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, winner.ID, gateway.HistoryQuery{BeforeAt: when, BeforeID: id, Limit: 5000}))
		if has := slices.ContainsFunc(views, func(v gateway.PageView) bool { return v.At.Equal(when) }); has != (id > 0) {
			t.Errorf("behind %d: those of the time are there: %v", id, has)
		}
	}
	if v := must[[]gateway.PageView](t)(b.PageViews(b.ctx, b.w, who[2].ID, gateway.HistoryQuery{Limit: 5000})); len(v) != entries+added {
		t.Errorf("by the id of one that was merged: %d page views", len(v))
	}
}

func testWorkspaceEvents(t *testing.T, b *bundle) {
	c := b.newContact("u1")
	changes := &gateway.Changes{NewContacts: []*gateway.Contact{c}}
	for i := range 25 {
		changes.Events = append(changes.Events, gateway.Event{WorkspaceID: b.w, ContactID: c.ID, Key: "k", Kind: gateway.EventCustom, Name: fmt.Sprint("e", i), At: at(-i), Data: `{"a":1}`})
	}
	b.save(changes)
	other := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Other")}
	o := other.newContact("u1")
	other.save(&gateway.Changes{NewContacts: []*gateway.Contact{o}, Events: []gateway.Event{{WorkspaceID: other.w, ContactID: o.ID, Kind: gateway.EventProduct, Name: "view", At: start}}})

	var all []gateway.Event
	for before := int64(0); ; {
		page := must[[]gateway.Event](t)(b.WorkspaceEvents(b.ctx, b.w, before, 10))
		if len(page) == 0 {
			break
		}
		all, before = append(all, page...), page[len(page)-1].ID
	}
	if len(all) != 25 || !slices.IsSortedFunc(all, func(x, y gateway.Event) int { return int(y.ID - x.ID) }) {
		t.Fatalf("%d events: %v", len(all), all)
	}
	for _, e := range all {
		equal(t, "event by id", must[gateway.Event](t)(b.Event(b.ctx, b.w, e.ID)), e)
	}
	slices.SortFunc(all, func(x, y gateway.Event) int { return y.At.Compare(x.At) })
	equal(t, "events", eventsWithoutIDs(all), changes.Events)
	theirs := must[[]gateway.Event](t)(other.WorkspaceEvents(b.ctx, other.w, 0, 10))
	if len(theirs) != 1 || theirs[0].Kind != gateway.EventProduct {
		t.Fatalf("events of the other workspace: %v", theirs)
	}
	for _, id := range []int64{theirs[0].ID, 0, -1, math.MaxInt64} {
		_, err := b.Event(b.ctx, b.w, id)
		wantCode(t, "event of nobody here", err, gateway.CodeNotFound)
	}
	for _, limit := range []int{-1, 0} {
		equal(t, "no room", len(must[[]gateway.Event](t)(b.WorkspaceEvents(b.ctx, b.w, 0, limit))), 0)
	}
}

// testChoices: who lacks gender or status is found by what they are shown with.
func testChoices(t *testing.T, b *bundle) {
	c := &gateway.Changes{}
	add := func(name string, known bool, gender, status int) {
		x := b.newContact("")
		x.Attributes.Set("name", text(name))
		if known {
			x.EmailKey = name + "@x.test"
			x.Email = x.EmailKey
		}
		if gender > 0 {
			x.Attributes.Set("gender", gateway.IntValue(int64(gender)))
		}
		if status > 0 {
			x.Attributes.Set("status", gateway.IntValue(int64(status)))
		}
		c.NewContacts = append(c.NewContacts, x)
	}
	add("known", true, 0, 0)
	add("stranger", false, 0, 0)
	add("known visitor", true, 2, gateway.StatusVisitor)
	add("strange user", false, 3, gateway.StatusUser)
	add("known user", true, gateway.GenderUnknown, gateway.StatusUser)
	byID := b.newContact("own id") // known by that
	byID.Attributes.Set("name", text("own id"))
	c.NewContacts = append(c.NewContacts, byID)
	b.save(c)
	for _, q := range []struct {
		field string
		op    gateway.Op
		value int64
		want  []string
	}{
		{"status", gateway.OpEqual, gateway.StatusUser, []string{"own id", "known user", "strange user", "known"}},
		{"status", gateway.OpEqual, gateway.StatusVisitor, []string{"known visitor", "stranger"}},
		{"status", gateway.OpLess, gateway.StatusUser, []string{"known visitor", "stranger"}},
		{"status", gateway.OpEqual, 3, []string{}},
		{"gender", gateway.OpEqual, gateway.GenderUnknown, []string{"own id", "known user", "stranger", "known"}},
		{"gender", gateway.OpEqual, 2, []string{"known visitor"}},
		{"gender", gateway.OpAtLeast, 2, []string{"strange user", "known visitor"}},
	} {
		got := []string{}
		where := []gateway.Condition{{Field: q.field, Op: q.op, Value: gateway.IntValue(q.value)}}
		for _, v := range must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{Where: where, Limit: 99})) {
			name, _ := v.Attributes.Get("name")
			got = append(got, gateway.Text(name))
		}
		equal(t, fmt.Sprint(q.field, q.op, q.value), got, q.want)
	}
}

// FindActivity makes contacts with and without page views in s, and compares what
// random conditions on their activity and age find with what their views say.
func FindActivity(t *testing.T, s gateway.Store) {
	b := &bundle{Store: s, t: t, ctx: t.Context()}
	b.w = b.workspace("Active")
	testFindActivity(t, b)
}

func testFindActivity(t *testing.T, b *bundle) {
	r := rand.New(rand.NewPCG(5, 6))
	strangers := &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Strangers")}
	x := strangers.newContact("x")
	strangers.save(&gateway.Changes{NewContacts: []*gateway.Contact{x}, PageViews: []gateway.PageView{strangers.view(x, 50, "/")}})

	var people []*gateway.Contact
	const n = 60
	first := b.nextIDs(gateway.IDContact, n)
	seconds := func() time.Time { return at(r.IntN(100)) }
	for i := range n { // several batches: some are seen at first, some later, some never
		c := &gateway.Changes{}
		x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: b.w, CustomID: fmt.Sprint("p", i), CreatedAt: seconds()}
		x.UpdatedAt = x.CreatedAt.Add(time.Duration(r.IntN(30)) * time.Second)
		if i%9 == 8 {
			x.MergedInto, x.CustomID = people[r.IntN(len(people))].ID, ""
		}
		c.NewContacts = append(c.NewContacts, x)
		people = append(people, x)
		for range r.IntN(3) {
			c.PageViews = append(c.PageViews, b.view(x, r.IntN(100), "/"))
		}
		b.save(c)
	}
	for range 40 {
		c := &gateway.Changes{}
		x := people[r.IntN(n)]
		switch r.IntN(3) {
		case 0: // is changed
			x.UpdatedAt = at(r.IntN(200))
			c.Contacts = append(c.Contacts, x)
		case 1: // is seen
			c.PageViews = append(c.PageViews, b.view(x, r.IntN(120), "/"))
		case 2: // both
			x.UpdatedAt = at(r.IntN(200))
			c.Contacts = append(c.Contacts, x)
			c.PageViews = append(c.PageViews, b.view(x, r.IntN(120), "/"))
		}
		b.save(c)
	}
	all := must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 1000))
	ops := []gateway.Op{gateway.OpEqual, gateway.OpGreater, gateway.OpAtLeast, gateway.OpLess, gateway.OpAtMost}
	meets := func(v *gateway.ContactView, c gateway.Condition) bool {
		order := 0
		switch c.Field {
		case "page_views":
			want, _ := gateway.Number(c.Value)
			order = int(v.PageViews) - int(want)
		default:
			have := map[string]time.Time{"first_seen": v.FirstSeen, "last_seen": v.LastSeen, "created_at": v.CreatedAt, "updated_at": v.UpdatedAt}[c.Field]
			want, _ := gateway.ParseDatetime(gateway.Text(c.Value))
			order = have.Compare(want)
		}
		return map[gateway.Op]bool{gateway.OpEqual: order == 0, gateway.OpGreater: order > 0, gateway.OpAtLeast: order >= 0, gateway.OpLess: order < 0, gateway.OpAtMost: order <= 0}[c.Op]
	}
	fields := []string{"first_seen", "last_seen", "created_at", "updated_at", "page_views"}
	met := 0
	for range 400 {
		var where []gateway.Condition
		for range 1 + r.IntN(3) {
			c := gateway.Condition{Field: fields[r.IntN(len(fields))], Op: ops[r.IntN(len(ops))]}
			if c.Field == "page_views" {
				c.Value = gateway.IntValue(int64(r.IntN(4)))
			} else if v := all[r.IntN(len(all))]; r.IntN(2) == 0 {
				c.Value = gateway.DatetimeValue(v.FirstSeen)
			} else {
				c.Value = gateway.DatetimeValue(at(r.IntN(200)).Add(500 * time.Millisecond))
			}
			where = append(where, c)
		}
		q := gateway.Query{Where: where, Limit: []int{1, 4, 100}[r.IntN(3)]}
		if r.IntN(2) == 0 {
			q.Before = first + int64(r.IntN(n))
		}
		want := []gateway.ContactID{}
		for _, v := range all {
			if (q.Before == 0 || int64(v.Contact.ID) < q.Before) && len(want) < q.Limit && !slices.ContainsFunc(where, func(c gateway.Condition) bool { return !meets(v, c) }) {
				want = append(want, v.Contact.ID)
			}
		}
		got := []gateway.ContactID{}
		for _, v := range must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, q)) {
			got = append(got, v.Contact.ID)
		}
		equal(t, fmt.Sprintf("%+v", q), got, want)
		met += len(want)
	}
	if met < 400 {
		t.Errorf("only %d contacts were to be found", met)
	}
	for _, c := range []gateway.Condition{
		{Field: "first_seen", Op: gateway.OpContains, Value: text("2026")}, {Field: "last_seen", Value: text("never")}, {Field: "page_views", Value: text("3")},
		{Field: "page_views", Op: gateway.OpContains, Value: gateway.IntValue(1)}, {Field: "last_seen", Op: gateway.OpGreater, Value: gateway.IntValue(1)},
	} {
		equal(t, fmt.Sprintf("%+v", c), b.found(c), []string{})
	}
	// Of one that is found by an identifier, too.
	v := all[0]
	is := gateway.Condition{Field: "custom_id", Value: gateway.TextValue(v.CustomID)}
	equal(t, "by custom id and last seen", b.found(is, gateway.Condition{Field: "last_seen", Value: gateway.DatetimeValue(v.LastSeen)}), []string{v.CustomID})
	equal(t, "by custom id and not last seen", b.found(is, gateway.Condition{Field: "last_seen", Op: gateway.OpGreater, Value: gateway.DatetimeValue(v.LastSeen)}), []string{})
}
