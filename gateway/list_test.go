package gateway_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// list makes a list and returns its id.
func (r *rig) list(name string) (id gateway.ListID) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) error {
		l, err := e.CreateList(gateway.ListPatch{Name: &name})
		id = l.ID
		return err
	})
	return id
}

// listed is who is in which list, as it is stored: list, contact and who brought
// them there.
func (r *rig) listed() map[string]bool {
	r.t.Helper()
	var out bytes.Buffer
	if _, err := r.store.Export(context.Background(), &out); err != nil {
		r.t.Fatal(err)
	}
	all := make(map[string]bool)
	lines := bufio.NewScanner(&out)
	lines.Buffer(nil, 1<<20)
	for in := false; lines.Scan(); {
		if line := lines.Text(); strings.HasPrefix(line, "{") {
			in = strings.HasPrefix(line, `{"table":"listed"`)
			continue
		}
		if !in {
			continue
		}
		var row [5]int64
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			r.t.Fatal(err)
		}
		all[fmt.Sprintf("list %d: %d via %d", row[1], row[2], row[4])] = true
	}
	if err := lines.Err(); err != nil {
		r.t.Fatal(err)
	}
	return all
}

func (r *rig) wantListed(what string, want ...string) {
	r.t.Helper()
	all := make(map[string]bool)
	for _, w := range want {
		all[w] = true
	}
	if diff := cmp.Diff(all, r.listed()); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEditorLists(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		one, two := r.list("one"), r.list("two")
		a, b := r.contact(gateway.ContactPatch{}), r.contact(gateway.ContactPatch{})
		in := func(l gateway.ListID, who, via gateway.ContactID) string {
			return fmt.Sprintf("list %d: %d via %d", l, who, via)
		}
		changed := r.view(a).UpdatedAt
		r.must(func(e *gateway.Editor) error { _, err := e.AddToList(one, a); return err })
		r.wantListed("added", in(one, a, 0))
		if got := r.view(a).UpdatedAt; !got.Equal(changed) {
			t.Errorf("being added to a list changed the contact at %v", got)
		}

		var made, gone gateway.ContactID
		r.must(func(e *gateway.Editor) (err error) {
			if made, err = e.CreateContact(gateway.ContactPatch{}); err != nil {
				return err
			}
			if _, err = e.AddToList(two, made); err != nil {
				return err
			}
			if gone, err = e.CreateContact(gateway.ContactPatch{}); err != nil {
				return err
			}
			if _, err = e.AddToList(two, gone); err != nil {
				return err
			}
			return e.DeleteContact(gone)
		})
		r.wantListed("added when they are made", in(one, a, 0), in(two, made, 0))

		r.must(func(e *gateway.Editor) error {
			if err := e.MergeContacts(b, []gateway.ContactID{a, made}); err != nil {
				return err
			}
			return e.RemoveFromList(two, made) // who is b now
		})
		r.wantListed("taken out of what a merge brought", in(one, a, 0), in(two, made, 0), in(one, b, a))
		if lists := r.view(a).Lists; len(lists) != 1 || lists[0].ID != one {
			t.Errorf("the survivor is in %v", lists)
		}
		// Nothing of it is left after an error.
		refused := errors.New("refused")
		if err := r.edit(func(e *gateway.Editor) error {
			if err := e.DeleteList(one); err != nil {
				return err
			}
			return refused
		}); !errors.Is(err, refused) {
			t.Fatal(err)
		}
		r.must(func(e *gateway.Editor) error { _, err := e.AddToList(one, b); return err })
		r.wantListed("added by themselves too", in(one, a, 0), in(two, made, 0), in(one, b, 0))
		r.must(func(e *gateway.Editor) error { return e.DeleteContact(b) })
		r.wantListed("deleted with who became part of them")
		r.must(func(e *gateway.Editor) error { return e.DeleteList(one) })
		for what, fn := range map[string]func(e *gateway.Editor) error{
			"delete": func(e *gateway.Editor) error { return e.DeleteList(one) },
			"update": func(e *gateway.Editor) error { _, err := e.UpdateList(one, gateway.ListPatch{}); return err },
			"nobody": func(e *gateway.Editor) error { _, err := e.AddToList(two, b); return err },
		} {
			if err := r.edit(fn); !gateway.IsNotFound(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
		c := r.contact(gateway.ContactPatch{})
		wants(t, "add to a deleted list", r.edit(func(e *gateway.Editor) error { _, err := e.AddToList(one, c); return err }), gateway.CodeInvalid, "list")
		wants(t, "remove from a deleted list", r.edit(func(e *gateway.Editor) error { return e.RemoveFromList(one, c) }), gateway.CodeInvalid, "list")
		for _, name := range []string{"", " \t", strings.Repeat("x", gateway.MaxName+1), "a\x00b", "\xff"} {
			wants(t, fmt.Sprintf("a list named %.10q", name), r.edit(func(e *gateway.Editor) error { _, err := e.CreateList(gateway.ListPatch{Name: &name}); return err }), gateway.CodeInvalid, "name")
		}
	})
}

// TestUndoneListed: who stands by themselves again is in the lists that were theirs, and
// the survivor no longer in those that the merge brought alone.
func TestUndoneListed(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		lists := []gateway.ListID{r.list("of both"), r.list("of the loser"), r.list("of the survivor"), r.list("later")}
		winner, loser := r.contact(gateway.ContactPatch{}), r.contact(gateway.ContactPatch{})
		put := func(who gateway.ContactID, into ...gateway.ListID) {
			r.must(func(e *gateway.Editor) error {
				for _, l := range into {
					if _, err := e.AddToList(l, who); err != nil {
						return err
					}
				}
				return nil
			})
		}
		put(winner, lists[0], lists[2])
		put(loser, lists[0], lists[1], lists[3])
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(winner, []gateway.ContactID{loser}) })
		put(winner, lists[3])
		merges, err := r.store.Merges(context.Background(), r.w, winner, gateway.HistoryQuery{Limit: 1})
		if err != nil || len(merges) != 1 {
			t.Fatalf("merges: %v, %v", merges, err)
		}
		r.must(func(e *gateway.Editor) error { _, err := e.UndoMerge(merges[0].ID); return err })
		for who, want := range map[gateway.ContactID][]gateway.ListID{winner: {lists[0], lists[2], lists[3]}, loser: {lists[0], lists[1], lists[3]}} {
			var got []gateway.ListID
			for _, l := range r.view(who).Lists {
				got = append(got, l.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("lists of %d (-want +got):\n%s", who, diff)
			}
		}
	})
}

// TestVisitorsKeepLists: who is recognised brings their lists along.
func TestVisitorsKeepLists(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		list := r.list("one")
		r.apply(page("a", "k1k1k1", ""), page("b", "k2k2k2", ""), page("c", "k3k3k3", `"user_id":"x"`))
		visitor := r.byKey("k1k1k1").ID
		r.must(func(e *gateway.Editor) error { _, err := e.AddToList(list, visitor); return err })
		r.apply(page("d", "k1k1k1", `"user_id":"x"`), page("e", "k2k2k2", `"user_id":"x"`))
		x := r.byKey("k1k1k1")
		if x.CustomID != "x" || len(x.Lists) != 1 || x.Lists[0].ID != list {
			t.Errorf("the visitor became %q, who is in %v", x.CustomID, x.Lists)
		}
		r.wantListed("after the merge", fmt.Sprintf("list %d: %d via 0", list, visitor), fmt.Sprintf("list %d: %d via %d", list, x.ID, visitor))
	})
}

func TestEditorSegments(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		name, filter, empty := "good", "score__gt=5", ""
		var s gateway.Segment
		r.must(func(e *gateway.Editor) (err error) {
			s, err = e.CreateSegment(gateway.SegmentPatch{Name: &name, Filter: &filter})
			return err
		})
		better := "better"
		r.must(func(e *gateway.Editor) error {
			changed, err := e.UpdateSegment(s.ID, gateway.SegmentPatch{Name: &better})
			if changed.Name != better || changed.Filter != filter || !changed.UpdatedAt.After(changed.CreatedAt) {
				t.Errorf("the segment is %+v", changed)
			}
			return err
		})
		wants(t, "without a filter", r.edit(func(e *gateway.Editor) error {
			_, err := e.CreateSegment(gateway.SegmentPatch{Name: &name})
			return err
		}), gateway.CodeInvalid, "filter")
		wants(t, "without a name", r.edit(func(e *gateway.Editor) error {
			_, err := e.CreateSegment(gateway.SegmentPatch{Filter: &filter})
			return err
		}), gateway.CodeInvalid, "name")
		wants(t, "an empty filter", r.edit(func(e *gateway.Editor) error {
			_, err := e.UpdateSegment(s.ID, gateway.SegmentPatch{Filter: &empty})
			return err
		}), gateway.CodeInvalid, "filter")
		r.must(func(e *gateway.Editor) error { return e.DeleteSegment(s.ID) })
		for what, fn := range map[string]func(e *gateway.Editor) error{
			"delete": func(e *gateway.Editor) error { return e.DeleteSegment(s.ID) },
			"update": func(e *gateway.Editor) error {
				_, err := e.UpdateSegment(s.ID, gateway.SegmentPatch{Name: &name})
				return err
			},
		} {
			if err := r.edit(fn); !gateway.IsNotFound(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
