package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// lastMerge is the newest entry of a contact's journal.
func (r *rig) lastMerge(id gateway.ContactID) gateway.Merge {
	r.t.Helper()
	merges, err := r.store.Merges(r.t.Context(), r.w, id, gateway.HistoryQuery{Limit: 10})
	if err != nil || len(merges) == 0 {
		r.t.Fatalf("journal: %v, %v", merges, err)
	}
	return merges[0]
}

func (r *rig) undo(id int64) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) error { _, err := e.UndoMerge(id); return err })
}

// former is who was an employee of each company, as text.
func (r *rig) former() string {
	r.t.Helper()
	companies, err := r.store.Companies(r.t.Context(), r.w, 0, 100)
	r.check(err)
	var b strings.Builder
	for _, c := range companies {
		for _, former := range []bool{false, true} {
			members, err := r.store.Members(r.t.Context(), r.w, c.ID, gateway.MemberQuery{Former: former, Limit: 100})
			r.check(err)
			for _, m := range members {
				fmt.Fprintln(&b, c.CustomID, m.ContactID, m.Since, m.Until, m.Source, m.Primary, m.By)
			}
		}
	}
	return b.String()
}

// TestUndoMergeProperty: of any two contacts, merging them and undoing it leaves what there was.
func TestUndoMergeProperty(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		for i := range 4 {
			r.company(gateway.CompanyPatch{CustomID: new(fmt.Sprint("c", i))})
		}
		for seed := range uint64(40) {
			random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test
			var ids [2]gateway.ContactID
			for i := range ids {
				key := fmt.Sprintf("k%d-%d-0000", seed, i)
				p := gateway.ContactPatch{Key: key}
				if random.IntN(2) == 0 {
					p.CustomID = new(key)
				}
				if random.IntN(2) == 0 {
					p.Email = new([]string{"Same@x.test", key + "@x.test"}[random.IntN(2)])
				}
				for _, name := range []string{"first_name", "plan", "city", "born", "tags", "score"} {
					if random.IntN(2) == 0 {
						continue
					}
					v := str([]string{"a", "b"}[random.IntN(2)])
					switch name {
					case "tags":
						v = gateway.ListValue([]string{"x", "y", "z"}[:1+random.IntN(3)]...)
					case "born":
						v = str("2001-02-03 04:05")
					case "score":
						v = gateway.NumberValue(float64(random.IntN(3)))
					}
					p.Attributes = append(p.Attributes, set(name, v))
				}
				ids[i] = r.contact(p)
				for c := range 4 {
					if random.IntN(2) == 0 {
						continue
					}
					r.must(func(e *gateway.Editor) error {
						company, err := e.CompanyByCustomID(fmt.Sprint("c", c))
						if err != nil {
							return err
						}
						return e.AddMember(company, ids[i])
					})
				}
				for n := range random.IntN(3) {
					r.apply(page(fmt.Sprint(seed, "-", i, "-", n), key, fmt.Sprintf(`"email":%q`, r.view(ids[i]).Email)))
				}
			}
			before, memberships := r.people(), r.former()
			r.must(func(e *gateway.Editor) error { return e.MergeContacts(ids[0], ids[1:]) })
			m := r.lastMerge(ids[0])
			r.undo(m.ID)
			if diff := cmp.Diff(before, r.people()); diff != "" {
				t.Fatalf("seed %d (-before +after):\n%s", seed, diff)
			}
			if diff := cmp.Diff(memberships, r.former()); diff != "" {
				t.Fatalf("seed %d: memberships (-before +after):\n%s", seed, diff)
			}
			if m = r.lastMerge(ids[1]); m.UndoneAt.IsZero() || m.UndoneBy != "token t1" {
				t.Errorf("journal: %+v", m)
			}
			if err := r.edit(func(e *gateway.Editor) error { _, err := e.UndoMerge(m.ID); return err }); gateway.CodeOf(err) != gateway.CodeInvalid {
				t.Errorf("undone twice: %v", err)
			}
		}
	})
}

// TestUndoMergeOfTheWidget: a visitor who logged in was made part of a contact; undone,
// there is a visitor again, with what their browser did since.
func TestUndoMergeOfTheWidget(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.apply(
			page("v0", "wkey00000000", `"user_id":"ada","email":"ada@acme.test","company":{"company_id":"c1","name":"One"}`),
			page("v1", "lkey00000000", `"plan":"trial","company":{"company_id":"c2","name":"Two"}`),
			message("event", "v2", "lkey00000000", `"tags":"new"`),
		)
		visitor, ada := r.byKey("lkey00000000"), r.byCustomID("ada")
		before := r.people()
		r.apply(page("v3", "lkey00000000", `"user_id":"ada"`))
		if got := r.byKey("lkey00000000").Contact.ID; got != ada.Contact.ID {
			t.Fatalf("no merge: the key leads to %d", got)
		}
		m := r.lastMerge(ada.Contact.ID)
		r.undo(m.ID)
		if got := r.byKey("lkey00000000"); got.Contact.ID != visitor.Contact.ID || got.CustomID != "" || !got.CreatedAt.Equal(visitor.CreatedAt) {
			t.Errorf("the visitor is %+v", got)
		}
		// The page view that merged them came from the visitor's browser.
		after := r.people()
		pages, err := r.store.PageViews(t.Context(), r.w, visitor.Contact.ID, gateway.HistoryQuery{Limit: 10})
		if err != nil || len(pages) != 2 {
			t.Errorf("the visitor saw %+v, %v", pages, err)
		}
		if len(before) != len(after) {
			t.Errorf("before %v\nafter %v", before, after)
		}
		if got := r.byCustomID("ada"); attribute(got.Attributes, "plan") != "absent" || len(got.Companies) != 1 || got.Companies[0].CustomID != "c1" || got.PageViews != 1 {
			t.Errorf("ada is %+v", got)
		}
		if got := companiesOf(r.byKey("lkey00000000")); got != "widget c2*" {
			t.Errorf("the visitor's companies: %s", got)
		}
	})
}

// TestUndoMergeKeepsWhatCame: what somebody changed after a merge stays when it is undone.
func TestUndoMergeKeepsWhatCame(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		for _, c := range []string{"c1", "c2", "c3"} {
			r.company(gateway.CompanyPatch{CustomID: new(c)})
		}
		l := r.contact(gateway.ContactPatch{CustomID: new("l"), Email: new("l@x.test"), Key: "lkey00000000", Companies: []gateway.CompanyRef{{CustomID: "c1"}, {CustomID: "c2"}},
			Attributes: []gateway.PayloadAttribute{set("plan", str("l")), set("city", str("l")), set("tags", gateway.ListValue("l1", "l2"))}})
		w := r.contact(gateway.ContactPatch{Key: "wkey00000000", Attributes: []gateway.PayloadAttribute{set("tags", gateway.ListValue("w1"))}})
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(w, []gateway.ContactID{l}) })
		m := r.lastMerge(w)

		r.must(func(e *gateway.Editor) error {
			if err := e.UpdateContact(w, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("plan", str("since")), set("tags", gateway.ListValue("since")), set("more", str("since"))}, KeepTags: true}); err != nil {
				return err
			}
			c3, err := e.CompanyByCustomID("c3")
			if err != nil {
				return err
			}
			if err := e.AddMember(c3, w); err != nil {
				return err
			}
			c1, err := e.CompanyByCustomID("c1")
			if err != nil {
				return err
			}
			return e.RemoveMember(c1, w)
		})
		r.now = r.now.Add(3 * 24 * 3600e9)
		r.apply(page("s1", "lkey00000000", ""), page("s2", "wkey00000000", ""), page("s3", "nkey00000000", `"user_id":"l"`))
		other := r.contact(gateway.ContactPatch{})
		r.undo(m.ID)

		got := r.view(w)
		tags, _ := got.Attributes.Get("tags")
		if attribute(got.Attributes, "plan") != `"since"` || attribute(got.Attributes, "more") != `"since"` || attribute(got.Attributes, "city") != "absent" || tags.Raw != `["w1","since"]` {
			t.Errorf("the survivor has %v", got.Attributes)
		}
		if got.CustomID != "" || got.Email != "" || companiesOf(got) != "api c3*" {
			t.Errorf("the survivor is %+v: %s", got, companiesOf(got))
		}
		// The key that came after the merge stays with the survivor: it was never the other's.
		if id := r.byKey("nkey00000000").Contact.ID; id != w {
			t.Errorf("the new key leads to %d", id)
		}
		if got.PageViews != 2 {
			t.Errorf("the survivor has %d page views", got.PageViews)
		}
		back := r.byCustomID("l")
		if back.Contact.ID != l || back.Email != "l@x.test" || back.PageViews != 1 || companiesOf(back) != "api c1*, api c2" || back.Key != "lkey00000000" {
			t.Errorf("the other is %+v: %s", back, companiesOf(back))
		}
		// That it was in c1 until yesterday is told of the survivor still.
		if former := r.former(); strings.Count(former, "c1 ") != 2 {
			t.Errorf("memberships:\n%s", former)
		}

		// A custom id that somebody else took stays with them; a later merge is undone first.
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(w, []gateway.ContactID{l}) })
		first := r.lastMerge(w)
		r.must(func(e *gateway.Editor) error { return e.UpdateContact(w, gateway.ContactPatch{CustomID: new("")}) })
		r.must(func(e *gateway.Editor) error { return e.UpdateContact(other, gateway.ContactPatch{CustomID: new("l")}) })
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(other, []gateway.ContactID{w}) })
		err := r.edit(func(e *gateway.Editor) error { _, err := e.UndoMerge(first.ID); return err })
		if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), "Undo that merge first") {
			t.Errorf("undone before a later one: %v", err)
		}
		r.undo(r.lastMerge(other).ID)
		r.undo(first.ID)
		if got := r.view(l); got.Contact.ID != l || got.CustomID != "" {
			t.Errorf("the other is %+v", got)
		}
		if got := r.byCustomID("l").Contact.ID; got != other {
			t.Errorf("the custom id leads to %d", got)
		}
		if err := r.edit(func(e *gateway.Editor) error { _, err := e.UndoMerge(1 << 40); return err }); !gateway.IsNotFound(err) {
			t.Errorf("a merge that isn't there: %v", err)
		}
	})
}

func TestPreviewMerge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.company(gateway.CompanyPatch{CustomID: new("c1")})
		a := r.contact(gateway.ContactPatch{Email: new("a@x.test"), Key: "akey00000000", Companies: []gateway.CompanyRef{{CustomID: "c1"}}})
		b := r.contact(gateway.ContactPatch{CustomID: new("b"), Key: "bkey00000000", Attributes: []gateway.PayloadAttribute{set("city", str("b"))}})
		before := r.dump()
		w := &gateway.Workspace{ID: r.w, Settings: gateway.DefaultSettings()}
		p, err := r.g.PreviewMerge(t.Context(), w, b, []gateway.ContactID{a})
		if err != nil {
			t.Fatal(err)
		}
		if p.Contact.ID != b || p.Contact.Email != "a@x.test" || p.Contact.CustomID != "b" || len(p.Memberships) != 1 || len(p.Keys) != 2 {
			t.Errorf("preview: %+v", p)
		}
		if diff := cmp.Diff(before, r.dump()); diff != "" {
			t.Errorf("a preview changed (-before +after):\n%s", diff)
		}
		if _, err := r.g.PreviewMerge(t.Context(), w, b, []gateway.ContactID{1 << 40}); !gateway.IsNotFound(err) {
			t.Errorf("of nobody: %v", err)
		}
	})
}
