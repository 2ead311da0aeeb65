package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// list saves a list that is made for the test.
func (b *bundle) list(w gateway.WorkspaceID, name string) (l gateway.List) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error {
		id, err := tx.NextIDs(gateway.IDList, 1)
		if err != nil {
			return err
		}
		l = gateway.List{ID: gateway.ListID(id), WorkspaceID: w, Name: name, Description: "of " + name, CreatedAt: at(1), UpdatedAt: at(2)}
		return tx.SaveList(l)
	})
	return l
}

// people saves n new contacts.
func (b *bundle) people(w gateway.WorkspaceID, n int) (ids []gateway.ContactID) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		c := &gateway.Changes{}
		for i := range n {
			x := &gateway.Contact{ID: gateway.ContactID(first) + gateway.ContactID(i), WorkspaceID: w, CreatedAt: at(i), UpdatedAt: at(i)}
			ids, c.NewContacts = append(ids, x.ID), append(c.NewContacts, x)
		}
		return tx.Save(w, c)
	})
	return ids
}

// put puts contacts into a list.
func (b *bundle) put(l gateway.List, ids ...gateway.ContactID) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error {
		for _, id := range ids {
			if err := tx.AddListed(l.WorkspaceID, gateway.Listed{ListID: l.ID, ContactID: id, AddedAt: at(5)}); err != nil {
				return err
			}
		}
		return nil
	})
}

// mergePairs merges the second of each pair into the first, as a batch does.
func (b *bundle) mergePairs(pairs ...[2]gateway.ContactID) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error {
		c := &gateway.Changes{}
		for _, p := range pairs {
			c.Merges = append(c.Merges, gateway.Merge{WorkspaceID: b.w, At: at(9), WinnerID: p[0], LoserID: p[1], Before: "{}", After: "{}"})
			c.Contacts = append(c.Contacts, &gateway.Contact{ID: p[1], WorkspaceID: b.w, MergedInto: p[0], CreatedAt: at(0), UpdatedAt: at(9)})
		}
		if err := tx.InheritLists(b.w, c.Merges); err != nil {
			return err
		}
		return tx.Save(b.w, c)
	})
}

// wantListed wants just these contacts in a list, newest first.
func (b *bundle) wantListed(what string, l gateway.List, want ...gateway.ContactID) {
	b.t.Helper()
	found, err := b.FindContacts(b.ctx, l.WorkspaceID, gateway.Query{Where: []gateway.Condition{inList(l.ID)}, Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	var got []gateway.ContactID
	for _, v := range found {
		got = append(got, v.Contact.ID)
		if !slices.Contains(v.Lists, l) {
			b.t.Errorf("%s: contact %d is in the list and has the lists %v", what, v.Contact.ID, v.Lists)
		}
	}
	slices.SortFunc(want, func(x, y gateway.ContactID) int { return int(y - x) })
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("%s: in the list (-want +got):\n%s", what, diff)
	}
}

func inList(id gateway.ListID) gateway.Condition {
	return gateway.Condition{Field: "list", Value: gateway.IntValue(int64(id))}
}

func (b *bundle) wantCode(what string, want gateway.Code, err error) {
	b.t.Helper()
	if gateway.CodeOf(err) != want {
		b.t.Errorf("%s: %v, want %s", what, err, want)
	}
}

// inTx returns the error of what a transaction does.
func (b *bundle) inTx(fn func(tx gateway.Tx) error) error { return b.Update(b.ctx, fn) }

func testLists(t *testing.T, b *bundle) {
	other := b.workspace("Other")
	one, two, theirs := b.list(b.w, "one"), b.list(b.w, "two"), b.list(other, "theirs")
	two.Name, two.Description, two.UpdatedAt = "Żółw ✓", "", at(3)
	b.update(func(tx gateway.Tx) error {
		if err := tx.SaveList(two); err != nil {
			return err
		}
		if n, err := tx.CountLists(b.w); err != nil || n != 2 {
			t.Errorf("%d lists, %v", n, err)
		}
		got, err := tx.List(b.w, two.ID)
		if diff := cmp.Diff(two, got); diff != "" {
			t.Errorf("within the transaction (-want +got):\n%s", diff)
		}
		return err
	})
	got, err := b.Lists(b.ctx, b.w)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]gateway.List{two, one}, got); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
	if l, err := b.List(b.ctx, b.w, one.ID); err != nil || l != one {
		t.Errorf("list %d is %v, %v", one.ID, l, err)
	}
	_, err = b.List(b.ctx, b.w, theirs.ID)
	b.wantCode("another workspace's list", gateway.CodeNotFound, err)
	b.wantCode("the same within a transaction", gateway.CodeNotFound, b.inTx(func(tx gateway.Tx) error { _, err := tx.List(b.w, theirs.ID); return err }))
	b.wantCode("deleting it", gateway.CodeNotFound, b.inTx(func(tx gateway.Tx) error { return tx.DeleteList(b.w, theirs.ID) }))

	ids := b.people(b.w, 5)
	stranger := b.people(other, 1)[0]
	b.put(one, ids[0], ids[1], ids[2])
	b.put(one, ids[1])
	b.put(two, ids[2], ids[3])
	b.put(theirs, stranger)
	b.wantListed("after adding", one, ids[0], ids[1], ids[2])
	b.wantListed("after adding", theirs, stranger)
	c, err := b.Contact(b.ctx, b.w, ids[2])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]gateway.List{one, two}, c.Lists); diff != "" {
		t.Errorf("the lists of a contact (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		what   string
		where  []gateway.Condition
		before gateway.ContactID
		want   []gateway.ContactID
	}{
		{"two lists", []gateway.Condition{inList(two.ID), inList(one.ID)}, 0, []gateway.ContactID{ids[2]}},
		{"by id", []gateway.Condition{inList(one.ID), {Field: "id", Value: gateway.IntValue(int64(ids[0]))}}, 0, []gateway.ContactID{ids[0]}},
		{"by id of another", []gateway.Condition{inList(one.ID), {Field: "id", Value: gateway.IntValue(int64(ids[3]))}}, 0, nil},
		{"a page", []gateway.Condition{inList(one.ID)}, ids[2], []gateway.ContactID{ids[1], ids[0]}},
		{"and a range", []gateway.Condition{inList(one.ID), {Field: "created_at", Op: gateway.OpAtLeast, Value: gateway.DatetimeValue(at(1))}}, 0, []gateway.ContactID{ids[2], ids[1]}},
		{"of another workspace", []gateway.Condition{inList(theirs.ID)}, 0, nil},
		{"no id", []gateway.Condition{{Field: "list", Value: gateway.TextValue("1")}}, 0, nil},
		{"no id, and by id", []gateway.Condition{{Field: "list", Value: gateway.TextValue("1")}, {Field: "id", Value: gateway.IntValue(int64(ids[0]))}}, 0, nil},
		{"an operator that there is not", []gateway.Condition{{Field: "list", Op: gateway.OpGreater, Value: gateway.IntValue(0)}}, 0, nil},
	} {
		found, err := b.FindContacts(b.ctx, b.w, gateway.Query{Where: tt.where, Before: int64(tt.before), Limit: 10})
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
		}
		var got []gateway.ContactID
		for _, v := range found {
			got = append(got, v.Contact.ID)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.what, diff)
		}
	}

	b.update(func(tx gateway.Tx) error {
		if err := tx.RemoveListed(b.w, one.ID, ids[0]); err != nil {
			return err
		}
		if err := tx.RemoveListed(b.w, one.ID, ids[4]); err != nil {
			return err // who is not in it
		}
		return tx.RemoveListed(b.w, two.ID, ids[3])
	})
	b.wantListed("after removing", one, ids[1], ids[2])
	b.wantListed("after removing", two, ids[2])
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{ids[2]}})
	b.wantListed("after deleting a contact", one, ids[1])
	b.update(func(tx gateway.Tx) error { return tx.DeleteList(b.w, one.ID) })
	b.wantCode("a deleted list", gateway.CodeNotFound, b.inTx(func(tx gateway.Tx) error { return tx.DeleteList(b.w, one.ID) }))
	if c, err := b.Contact(b.ctx, b.w, ids[1]); err != nil || len(c.Lists) > 0 {
		t.Errorf("after deleting the list: %v, %v", c.Lists, err)
	}
	b.update(func(tx gateway.Tx) error { return tx.SaveList(one) })
	b.wantListed("a list of the same id", one)
	b.wantListed("the other workspace's", theirs, stranger)
}

func testInheritedLists(t *testing.T, b *bundle) {
	one, two := b.list(b.w, "one"), b.list(b.w, "two")
	ids := b.people(b.w, 6)
	b.put(one, ids[0], ids[1], ids[5])
	b.put(two, ids[1])
	b.mergePairs([2]gateway.ContactID{ids[2], ids[0]}, [2]gateway.ContactID{ids[3], ids[2]}, [2]gateway.ContactID{ids[3], ids[1]}, [2]gateway.ContactID{ids[5], ids[4]})
	b.wantListed("by a chain", one, ids[3], ids[5])
	b.wantListed("by a merge", two, ids[3])
	// Who is added by themselves stays when the merge is undone, who was so before is
	// noted so.
	b.put(one, ids[3])
	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{ids[3]}})
	b.wantListed("after deleting the winner", one, ids[5])
	b.update(func(tx gateway.Tx) error { return tx.InheritLists(b.w, nil) })
}

// testInheritManyLists merges more contacts at once than one statement asks for.
func testInheritManyLists(t *testing.T, b *bundle) {
	l := b.list(b.w, "all")
	const n = 450
	ids := b.people(b.w, 2*n)
	winners, losers := ids[:n], ids[n:]
	rand.Shuffle(n, func(i, j int) { losers[i], losers[j] = losers[j], losers[i] })
	var want []gateway.ContactID
	var pairs [][2]gateway.ContactID
	for i := range n {
		if i%7 == 0 {
			b.put(l, losers[i])
			want = append(want, winners[i])
		}
		pairs = append(pairs, [2]gateway.ContactID{winners[i], losers[i]})
	}
	b.mergePairs(pairs...)
	b.wantListed("after the merges", l, want...)
}

// testDeleteLongList deletes a list that more are in than go at a time.
func testDeleteLongList(t *testing.T, b *bundle) {
	const n = 10_050
	l, stays := b.list(b.w, "long"), b.list(b.w, "stays")
	ids := b.people(b.w, n)
	b.put(l, ids...)
	b.put(stays, ids[:3]...)
	b.update(func(tx gateway.Tx) error { return tx.DeleteList(b.w, l.ID) })
	b.update(func(tx gateway.Tx) error { return tx.SaveList(l) })
	b.wantListed("after it was deleted", l)
	b.wantListed("the other one", stays, ids[:3]...)
}

func testSegments(t *testing.T, b *bundle) {
	other := b.workspace("Other")
	var all []gateway.Segment
	b.update(func(tx gateway.Tx) error {
		all = nil
		for i, w := range []gateway.WorkspaceID{b.w, b.w, other} {
			id, err := tx.NextIDs(gateway.IDSegment, 1)
			if err != nil {
				return err
			}
			s := gateway.Segment{ID: gateway.SegmentID(id), WorkspaceID: w, Name: fmt.Sprint("segment ✓ ", i), Filter: "score__gt=5", CreatedAt: at(1), UpdatedAt: at(2)}
			all = append(all, s)
			if err := tx.SaveSegment(s); err != nil {
				return err
			}
		}
		all[1].Filter, all[1].UpdatedAt = "status=user", at(3)
		if err := tx.SaveSegment(all[1]); err != nil {
			return err
		}
		if n, err := tx.CountSegments(b.w); err != nil || n != 2 {
			t.Errorf("%d segments, %v", n, err)
		}
		got, err := tx.Segment(b.w, all[1].ID)
		if got != all[1] {
			t.Errorf("within the transaction: %v, want %v", got, all[1])
		}
		return err
	})
	got, err := b.Segments(b.ctx, b.w)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]gateway.Segment{all[1], all[0]}, got); diff != "" {
		t.Errorf("segments (-want +got):\n%s", diff)
	}
	if s, err := b.Segment(b.ctx, b.w, all[0].ID); err != nil || s != all[0] {
		t.Errorf("segment %d is %v, %v", all[0].ID, s, err)
	}
	_, err = b.Segment(b.ctx, b.w, all[2].ID)
	b.wantCode("another workspace's segment", gateway.CodeNotFound, err)
	b.wantCode("the same within a transaction", gateway.CodeNotFound, b.inTx(func(tx gateway.Tx) error { _, err := tx.Segment(b.w, all[2].ID); return err }))
	b.wantCode("deleting it", gateway.CodeNotFound, b.inTx(func(tx gateway.Tx) error { return tx.DeleteSegment(b.w, all[2].ID) }))
	b.update(func(tx gateway.Tx) error { return tx.DeleteSegment(b.w, all[0].ID) })
	if got, err := b.Segments(b.ctx, b.w); err != nil || len(got) != 1 {
		t.Errorf("after deleting one: %v, %v", got, err)
	}
}

func testMeets(t *testing.T, b *bundle) {
	l, empty := b.list(b.w, "one"), b.list(b.w, "nobody")
	ids := b.people(b.w, 3)
	b.put(l, ids[0])
	b.save(&gateway.Changes{Contacts: []*gateway.Contact{{ID: ids[0], WorkspaceID: b.w, CustomID: "u0", CreatedAt: at(0), UpdatedAt: at(0),
		Attributes: gateway.Attributes{{Name: "score", Value: gateway.IntValue(7)}}}}})
	b.mergePairs([2]gateway.ContactID{ids[0], ids[1]})
	score := func(op gateway.Op, n int64) gateway.Condition {
		return gateway.Condition{Field: "score", Op: op, Value: gateway.IntValue(n)}
	}
	filters := [][]gateway.Condition{
		{score(gateway.OpGreater, 5)},
		{score(gateway.OpGreater, 7)},
		{score(gateway.OpGreater, 5), inList(l.ID)},
		{inList(empty.ID)},
		{{Field: "custom_id", Value: gateway.TextValue("u0")}},
		{{Field: "id", Value: gateway.IntValue(int64(ids[2]))}},
		{},
	}
	want := map[gateway.ContactID][]bool{
		ids[0]: {true, false, true, false, true, false, true},
		ids[1]: {true, false, true, false, true, false, true}, // the survivor
		ids[2]: {false, false, false, false, false, true, true},
	}
	for id, want := range want {
		got, err := b.Meets(b.ctx, b.w, id, filters)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("contact %d meets (-want +got):\n%s", id, diff)
		}
	}
	_, err := b.Meets(b.ctx, b.workspace("Other"), ids[0], filters)
	b.wantCode("another workspace's contact", gateway.CodeNotFound, err)
}
