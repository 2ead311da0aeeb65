package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

func TestTagNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", gateway.MaxName)
	for _, tt := range []struct {
		value gateway.Value
		want  []string
	}{
		{gateway.Null, []string{}},
		{gateway.Value{}, []string{}},
		{gateway.ListValue(), []string{}},
		{gateway.ListValue("b", "a", "b", "A", " a"), []string{" a", "A", "a", "b"}},
		{gateway.ListValue("", long, long+"x", "łódź"), []string{long, "łódź"}},
		{gateway.Value{Type: gateway.TypeList, Raw: `["5",5,true,"q\"q"]`}, []string{"5", `q"q`, "true"}},
		{gateway.TextValue("vip"), []string{"vip"}},
		{gateway.Value{Type: gateway.TypeJSON, Raw: `{"a":["b"]}`}, []string{}},
	} {
		if diff := cmp.Diff(tt.want, gateway.TagNames(tt.value)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.value.Raw, diff)
		}
	}
}

// tagsTold are all tags of the workspace with those who have them: as their
// attributes say, as a search finds them, and as the store keeps it.
func (r *rig) tagsTold() (bags, found, kept map[string][]string) {
	r.t.Helper()
	ctx := context.Background()
	bags, found, kept = map[string][]string{}, map[string][]string{}, map[string][]string{}
	contacts, err := r.store.Contacts(ctx, r.w, 0, 10_000)
	r.check(err)
	companies, err := r.store.Companies(ctx, r.w, 0, 10_000)
	r.check(err)
	for _, c := range contacts {
		v, _ := c.Attributes.Get("tags")
		for _, name := range gateway.TagNames(v) {
			bags[name] = append(bags[name], fmt.Sprint("contact ", c.Contact.ID))
		}
	}
	for _, c := range companies {
		v, _ := c.Attributes.Get("tags")
		for _, name := range gateway.TagNames(v) {
			bags[name] = append(bags[name], fmt.Sprint("company ", c.ID))
		}
	}
	tags, err := r.store.Tags(ctx, r.w, 0, 10_000)
	r.check(err)
	n, err := r.store.CountTags(ctx, r.w)
	r.check(err)
	if int(n) != len(tags) {
		r.t.Errorf("%d tags are counted, %d listed", n, len(tags))
	}
	for _, tag := range tags {
		q := gateway.Query{Where: []gateway.Condition{{Field: "tags", Value: gateway.TextValue(tag.Name)}}, Limit: 10_000}
		contacts, err := r.store.FindContacts(ctx, r.w, q)
		r.check(err)
		for _, c := range contacts {
			found[tag.Name] = append(found[tag.Name], fmt.Sprint("contact ", c.Contact.ID))
		}
		companies, err := r.store.FindCompanies(ctx, r.w, q)
		r.check(err)
		for _, c := range companies {
			found[tag.Name] = append(found[tag.Name], fmt.Sprint("company ", c.ID))
		}
		look := errors.New("only looking")
		var subjects map[gateway.Entity][]int64
		err = r.store.Update(ctx, func(tx gateway.Tx) error {
			subjects = map[gateway.Entity][]int64{}
			for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany} {
				some, err := tx.Untag(r.w, tag.ID, entity, 10_000)
				if err != nil {
					return err
				}
				subjects[entity] = some
			}
			return look
		})
		if !errors.Is(err, look) {
			r.t.Fatal(err)
		}
		for _, id := range subjects[gateway.EntityContact] {
			if r.view(gateway.ContactID(id)).Contact.ID == gateway.ContactID(id) { // else merged
				kept[tag.Name] = append(kept[tag.Name], fmt.Sprint("contact ", id))
			}
		}
		for _, id := range subjects[gateway.EntityCompany] {
			kept[tag.Name] = append(kept[tag.Name], fmt.Sprint("company ", id))
		}
	}
	return bags, found, kept
}

// TestTagsAreTold does at random what changes tags, by every door, and compares
// what the store keeps of them with what the attributes say.
func TestTagsAreTold(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		names := []string{"a", "b", "B", "c ", "ł", `q"q`, "5", strings.Repeat("x", 300)}
		some := func() (out []string) {
			for _, name := range names {
				if rnd.IntN(3) == 0 {
					out = append(out, name)
				}
			}
			rnd.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
			return out
		}
		contacts := func() (ids []gateway.ContactID) {
			all, err := r.store.Contacts(context.Background(), r.w, 0, 10_000)
			r.check(err)
			for _, c := range all {
				ids = append(ids, c.Contact.ID)
			}
			return ids
		}
		companies := func() (ids []gateway.CompanyID) {
			all, err := r.store.Companies(context.Background(), r.w, 0, 10_000)
			r.check(err)
			for _, c := range all {
				ids = append(ids, c.ID)
			}
			return ids
		}
		messages := 0
		payload := func() string {
			messages++
			tags := gateway.ListValue(some()...).Raw
			if rnd.IntN(6) == 0 {
				tags = "null"
			}
			who := ""
			if rnd.IntN(2) == 0 {
				who = fmt.Sprintf(`"user_id":"u%d",`, rnd.IntN(6))
			}
			return page(fmt.Sprint("m", messages), fmt.Sprint("browser", rnd.IntN(8)),
				fmt.Sprintf(`%s"tags":%s,"company":{"company_id":"c%d","tags":%s}`, who, tags, rnd.IntN(4), gateway.ListValue(some()...).Raw))
		}
		patch := func() []gateway.PayloadAttribute {
			v := gateway.Null
			if tags := some(); len(tags) > 0 {
				v = gateway.ListValue(tags...)
			}
			return []gateway.PayloadAttribute{set("tags", v)}
		}
		for round := range 90 {
			switch rnd.IntN(6) {
			case 5:
				for _, id := range contacts() {
					merges, err := r.store.Merges(context.Background(), r.w, id, gateway.HistoryQuery{Limit: 10})
					r.check(err)
					if len(merges) == 0 || rnd.IntN(2) == 0 {
						continue
					}
					undo := merges[rnd.IntN(len(merges))].ID
					err = r.edit(func(e *gateway.Editor) error { _, err := e.UndoMerge(undo); return err })
					if err != nil && gateway.CodeOf(err) != gateway.CodeInvalid {
						t.Fatal(err)
					}
				}
			case 0, 1:
				bodies := make([]string, 1+rnd.IntN(12))
				for i := range bodies {
					bodies[i] = payload()
				}
				r.apply(bodies...)
			default:
				people, firms := contacts(), companies()
				if len(people) < 3 || len(firms) < 2 {
					r.contact(gateway.ContactPatch{Attributes: patch()})
					r.company(gateway.CompanyPatch{Attributes: patch()})
					continue
				}
				rnd.Shuffle(len(people), func(i, j int) { people[i], people[j] = people[j], people[i] })
				rnd.Shuffle(len(firms), func(i, j int) { firms[i], firms[j] = firms[j], firms[i] })
				kinds := []int{rnd.IntN(6), rnd.IntN(6), rnd.IntN(6)}
				patches := [][]gateway.PayloadAttribute{patch(), patch(), patch()}
				keep := rnd.IntN(2) == 0
				gone := rnd.IntN(20)
				r.must(func(e *gateway.Editor) error {
					var err error
					for i, kind := range kinds {
						switch kind {
						case 0:
							err = e.UpdateContact(people[1], gateway.ContactPatch{Attributes: patches[i], KeepTags: keep})
						case 1:
							err = e.UpdateCompany(firms[1], gateway.CompanyPatch{Attributes: patches[i], KeepTags: keep})
						case 2:
							_, err = e.CreateContact(gateway.ContactPatch{Attributes: patches[i]})
						case 3:
							err = e.SetTags(people[2], []string{"b", "new"})
						case 4:
							err = e.MergeContacts(people[1], []gateway.ContactID{people[2]})
							people[2] = people[1]
						case 5:
							err = e.Flush()
						}
						if err != nil {
							return fmt.Errorf("step %d: %w", kind, err)
						}
					}
					switch gone {
					case 0, 1:
						return e.DeleteContact(people[0])
					case 2:
						return e.DeleteCompany(firms[0])
					case 3, 4:
						id, _, err := e.AddTag("b")
						if err != nil {
							return err
						}
						return e.DeleteTag(id)
					}
					return nil
				})
			}
			if round%6 < 5 {
				continue
			}
			bags, found, kept := r.tagsTold()
			for who := range bags {
				slices.Sort(bags[who])
			}
			for _, other := range []map[string][]string{found, kept} {
				for who := range other {
					slices.Sort(other[who])
				}
			}
			if diff := cmp.Diff(bags, found); diff != "" {
				t.Fatalf("round %d: who is found by a tag (-attributes +found):\n%s", round, diff)
			}
			if diff := cmp.Diff(bags, kept); diff != "" {
				t.Fatalf("round %d: who has a tag (-attributes +kept):\n%s", round, diff)
			}
		}
	})
}

// TestDeletedTagComesAgain: after a tag was deleted, a payload that says what it
// said before brings it again, as another one.
func TestDeletedTagComesAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		say := func(id string) { r.apply(page(id, "k1k1k1", `"user_id":"x","tags":["vip"]`)) }
		tag := func() gateway.TagID {
			t.Helper()
			ids, err := r.store.TagIDs(context.Background(), r.w, []string{"vip"})
			r.check(err)
			return ids["vip"]
		}
		say("m1")
		say("m2") // from here on it is known to be unchanged
		first := tag()
		if first == 0 {
			t.Fatal("the tag has no id")
		}
		r.must(func(e *gateway.Editor) error { return e.DeleteTag(first) })
		if got := attribute(r.byCustomID("x").Attributes, "tags"); got != "absent" || tag() != 0 {
			t.Errorf("after it was deleted: tags %s, id %d", got, tag())
		}
		say("m3")
		if got := attribute(r.byCustomID("x").Attributes, "tags"); got != `["vip"]` || tag() <= first {
			t.Errorf("after it came again: tags %s, id %d behind %d", got, tag(), first)
		}
		wants(t, "deleting it twice", r.edit(func(e *gateway.Editor) error { return e.DeleteTag(first) }), gateway.CodeNotFound, "")
		for _, name := range []string{"", "a\x00b", "\xff", strings.Repeat("x", gateway.MaxName+1)} {
			wants(t, "a name that is none", r.edit(func(e *gateway.Editor) error { _, _, err := e.AddTag(name); return err }), gateway.CodeInvalid, "name")
		}
	})
}
