package store_test

import (
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/store"
)

// TestIdentifiers does to the contacts of two workspaces what can happen to
// what they are found by, in any order, and compares what is found then with a model.
func TestIdentifiers(t *testing.T) {
	t.Parallel()
	testIdentifiers(t, math.MaxInt, func(rt *rapid.T) string {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		return filepath.Join(dir, "civgate.db")
	})
}

// testIdentifiers runs some rounds of the property on the databases that path
// names, which may be one: every round makes workspaces of its own.
func testIdentifiers(t *testing.T, rounds int, path func(rt *rapid.T) string) {
	failed := false // then more rounds look for the least that fails
	rapid.Check(t, func(rt *rapid.T) {
		if rounds--; rounds < 0 && !failed {
			return
		}
		defer func() { failed = failed || rt.Failed() }()
		m := &model{t: t, rt: rt, path: path(rt), contacts: map[gateway.ContactID]*gateway.Contact{}, keys: map[gateway.WorkspaceID]map[string]gateway.ContactID{}}
		m.open()
		defer func() { _ = m.s.Close() }()
		for range 2 {
			w := workspace(t, m.s)
			m.workspaces = append(m.workspaces, w)
			m.keys[w] = map[string]gateway.ContactID{}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"new":    m.newContact,
			"change": m.change,
			"move":   m.moveKey,
			"delete": m.delete,
			"reopen": m.reopen,
			"check":  m.check,
		})
		m.check(rt)
	})
}

type model struct {
	t          *testing.T
	rt         *rapid.T
	path       string
	s          *store.Store
	workspaces []gateway.WorkspaceID
	contacts   map[gateway.ContactID]*gateway.Contact
	keys       map[gateway.WorkspaceID]map[string]gateway.ContactID
}

// Few values, so that they meet.
var (
	someIDs    = rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
	someMails  = rapid.SampledFrom([]string{"", "a", "b"}) // an e-mail key that looks like a custom id
	somePhones = rapid.SampledFrom([]string{"", "a", "+1"})
	someKeys   = rapid.SampledFrom([]string{"a", "b", "k1", "k2", "k3", "k4"})
)

func (m *model) open() {
	s, err := store.Open(m.t.Context(), m.path)
	if err != nil {
		m.rt.Fatal(err)
	}
	m.s = s
}

func (m *model) reopen(*rapid.T) {
	if err := m.s.Close(); err != nil {
		m.rt.Fatal(err)
	}
	m.open()
}

func (m *model) draw(rt *rapid.T, c *gateway.Contact) {
	c.CustomID, c.EmailKey = someIDs.Draw(rt, "custom id"), someMails.Draw(rt, "e-mail")
	c.Email = c.EmailKey
	phone := gateway.Null
	if p := somePhones.Draw(rt, "phone"); p != "" {
		phone = gateway.Value{Type: gateway.TypeText, Raw: `"` + p + `"`}
	}
	c.Attributes.Set("phone_number", phone)
}

// taken reports whether another contact has the custom id of c.
func (m *model) taken(c *gateway.Contact) bool {
	for _, x := range m.contacts {
		if c.CustomID != "" && x.CustomID == c.CustomID && x.WorkspaceID == c.WorkspaceID && x.ID != c.ID {
			return true
		}
	}
	return false
}

func (m *model) newContact(rt *rapid.T) {
	w := rapid.SampledFrom(m.workspaces).Draw(rt, "workspace")
	c := &gateway.Contact{WorkspaceID: w}
	m.draw(rt, c)
	key := someKeys.Draw(rt, "key")
	looked := rapid.Bool().Draw(rt, "looked before")
	err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error {
		if looked {
			if _, err := tx.Load(w, gateway.Refs{CustomIDs: []string{c.CustomID}, Keys: []string{key}}); err != nil {
				return err
			}
		}
		id, err := tx.NextIDs(gateway.IDContact, 1)
		if err != nil {
			return err
		}
		c.ID = gateway.ContactID(id)
		return tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{c}, NewKeys: []gateway.VisitorKey{{Key: key, ContactID: c.ID}}})
	})
	_, keyTaken := m.keys[w][key]
	m.expect(err, m.taken(c) || keyTaken)
	if err == nil {
		m.contacts[c.ID], m.keys[w][key] = c, c.ID
	}
}

func (m *model) expect(err error, conflict bool) {
	m.rt.Helper()
	want := gateway.Code("")
	if conflict {
		want = gateway.CodeConflict
	}
	if got := gateway.CodeOf(err); got != want {
		m.rt.Fatalf("got %v, want code %q", err, want)
	}
}

func (m *model) any(rt *rapid.T, label string) *gateway.Contact {
	ids := slices.Sorted(maps.Keys(m.contacts))
	if len(ids) == 0 {
		rt.Skip("no contacts")
	}
	return m.contacts[rapid.SampledFrom(ids).Draw(rt, label)]
}

func (m *model) change(rt *rapid.T) {
	changed := *m.any(rt, "contact")
	changed.Attributes = changed.Attributes.Clone()
	m.draw(rt, &changed)
	err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error {
		return tx.Save(changed.WorkspaceID, &gateway.Changes{Contacts: []*gateway.Contact{&changed}})
	})
	m.expect(err, m.taken(&changed))
	if err == nil {
		m.contacts[changed.ID] = &changed
	}
}

func (m *model) moveKey(rt *rapid.T) {
	c := m.any(rt, "to")
	keys := slices.Sorted(maps.Keys(m.keys[c.WorkspaceID]))
	if len(keys) == 0 {
		rt.Skip("no keys")
	}
	key := rapid.SampledFrom(keys).Draw(rt, "key")
	err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error {
		return tx.Save(c.WorkspaceID, &gateway.Changes{MovedKeys: []gateway.VisitorKey{{Key: key, ContactID: c.ID}}})
	})
	m.expect(err, false)
	m.keys[c.WorkspaceID][key] = c.ID
}

// delete deletes a contact; in the same Save another may take what it was found
// by.
func (m *model) delete(rt *rapid.T) {
	c := m.any(rt, "contact")
	heir := &gateway.Contact{WorkspaceID: c.WorkspaceID, CustomID: c.CustomID, Email: c.Email, EmailKey: c.EmailKey, Attributes: c.Attributes}
	inherits := rapid.Bool().Draw(rt, "heir")
	keys := m.keys[c.WorkspaceID]
	err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error {
		changes := &gateway.Changes{DeletedContacts: []gateway.ContactID{c.ID}}
		if inherits {
			id, err := tx.NextIDs(gateway.IDContact, 1)
			if err != nil {
				return err
			}
			heir.ID = gateway.ContactID(id)
			changes.NewContacts = []*gateway.Contact{heir}
			for key, owner := range keys {
				if owner == c.ID {
					changes.NewKeys = append(changes.NewKeys, gateway.VisitorKey{Key: key, ContactID: heir.ID})
				}
			}
		}
		return tx.Save(c.WorkspaceID, changes)
	})
	m.expect(err, false)
	delete(m.contacts, c.ID)
	if inherits {
		m.contacts[heir.ID] = heir
	}
	for key, owner := range keys {
		switch {
		case owner != c.ID:
		case inherits:
			keys[key] = heir.ID
		default:
			delete(keys, key)
		}
	}
}

// check asks the reader and a transaction for everything there could be.
func (m *model) check(*rapid.T) {
	ctx := m.t.Context()
	for _, w := range m.workspaces {
		wanted := map[string][]gateway.ContactID{}
		for _, id := range slices.Sorted(maps.Keys(m.contacts)) {
			c := m.contacts[id]
			if c.WorkspaceID != w {
				continue
			}
			phone, _ := c.Attributes.Get("phone_number")
			for what, value := range map[string]string{"custom id": c.CustomID, "e-mail": c.EmailKey, "phone": phone.Raw} {
				if value != "" {
					wanted[what+" "+value] = append(wanted[what+" "+value], id)
				}
			}
		}
		for key, id := range m.keys[w] {
			wanted["key "+key] = []gateway.ContactID{id}
		}
		got := map[string][]gateway.ContactID{}
		one := func(what string, v *gateway.ContactView, err error) {
			if err == nil {
				got[what] = append(got[what], v.ID)
			} else if !gateway.IsNotFound(err) {
				m.rt.Fatalf("%s: %v", what, err)
			}
		}
		many := func(what string, all []*gateway.ContactView, err error) {
			if err != nil {
				m.rt.Fatalf("%s: %v", what, err)
			}
			for _, v := range all {
				got[what] = append(got[what], v.ID)
			}
			slices.Sort(got[what]) // contacts with a custom id come first
		}
		refs := gateway.Refs{}
		for _, v := range []string{"a", "b", "c", "d"} {
			view, err := m.s.ContactByCustomID(ctx, w, v)
			one("custom id "+v, view, err)
			refs.CustomIDs = append(refs.CustomIDs, v)
		}
		for _, v := range []string{"a", "b", "k1", "k2", "k3", "k4"} {
			view, err := m.s.ContactByKey(ctx, w, v)
			one("key "+v, view, err)
			refs.Keys = append(refs.Keys, v)
		}
		for _, v := range []string{"a", "b"} {
			all, err := m.s.ContactsByEmail(ctx, w, v, 1000)
			many("e-mail "+v, all, err)
			refs.EmailKeys = append(refs.EmailKeys, v)
		}
		for _, v := range []string{"a", "+1"} {
			all, err := m.s.ContactsByPhone(ctx, w, v, 1000)
			many(`phone "`+v+`"`, all, err)
		}
		maps.DeleteFunc(got, func(_ string, ids []gateway.ContactID) bool { return len(ids) == 0 })
		if g, w := fmt.Sprint(got), fmt.Sprint(wanted); g != w {
			m.rt.Fatalf("found %s\nwant  %s", g, w)
		}
		// A transaction finds the same contacts.
		loaded, should := map[gateway.ContactID]bool{}, map[gateway.ContactID]bool{}
		err := m.s.Update(ctx, func(tx gateway.Tx) error {
			l, err := tx.Load(w, refs)
			if err != nil {
				return err
			}
			for _, c := range l.Contacts {
				loaded[c.ID] = true
			}
			if g, w := fmt.Sprint(l.Keys), fmt.Sprint(m.keys[w]); g != w {
				m.rt.Fatalf("loaded keys %s, want %s", g, w)
			}
			return nil
		})
		if err != nil {
			m.rt.Fatal(err)
		}
		for what, ids := range wanted {
			for _, id := range ids {
				if what[0] != 'p' {
					should[id] = true
				}
			}
		}
		if !maps.Equal(loaded, should) {
			m.rt.Fatalf("loaded %v, want %v", loaded, should)
		}
	}
}
