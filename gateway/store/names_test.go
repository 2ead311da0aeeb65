package store_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/store"
)

// nameRows are the rows of the index of names and of what is due.
const nameRows = `SELECT contact_id || ' ' || word || ' ' || block FROM name_words UNION ALL SELECT 'due ' || contact_id FROM names_due ORDER BY 1`

func TestNames(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "civgate.db"))
	testNames(t, s, func() []string { return rowsOf(t, s.Path(), nameRows) })
}

// namesModel does to a store what may happen to names, and knows what they are.
type namesModel struct {
	t   *testing.T
	s   *store.Store
	w   gateway.WorkspaceID
	rnd *rand.Rand
	// all are the stored contacts, merged ones too.
	all map[gateway.ContactID]*gateway.Contact
}

var (
	modelFirst = []string{"Ada", "ada", "Adam", "Łucja", "José", "Zoë \\\"Zed\\\"", "O'Brien", "山田"}
	modelLast  = []string{"Lovelace", "Love", "Löwe", "Smith", "Smithson-Ada", "ßen", ""}
)

// name is a random value of the attribute, or none.
func (m *namesModel) name() gateway.Attributes {
	switch m.rnd.IntN(8) {
	case 0:
		return nil
	case 1:
		return gateway.Attributes{{Name: "name", Value: gateway.ListValue("Ada", "Listed")}}
	case 2: // not the contact's name
		return gateway.Attributes{{Name: "pet", Value: gateway.Value{Type: gateway.TypeJSON, Raw: `{"name":"Ada"}`}}}
	}
	text := modelFirst[m.rnd.IntN(len(modelFirst))] + " " + modelLast[m.rnd.IntN(len(modelLast))]
	return gateway.Attributes{{Name: "name", Value: gateway.Value{Type: gateway.TypeText, Raw: `"` + text + `"`}}}
}

func (m *namesModel) save(c *gateway.Changes) {
	m.t.Helper()
	if err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error { return tx.Save(m.w, c) }); err != nil {
		m.t.Fatal(err)
	}
}

// some is a random contact, merged or not, nil if there is none.
func (m *namesModel) some(merged bool) *gateway.Contact {
	var fit []*gateway.Contact
	for _, x := range m.all {
		if (x.MergedInto != 0) == merged {
			fit = append(fit, x)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	slices.SortFunc(fit, func(a, b *gateway.Contact) int { return int(a.ID - b.ID) })
	return fit[m.rnd.IntN(len(fit))]
}

func (m *namesModel) step() {
	m.t.Helper()
	one, other, merged := m.some(false), m.some(false), m.some(true)
	switch n := m.rnd.IntN(10); {
	case n < 3 || one == nil:
		c := &gateway.Changes{}
		count := 1 + m.rnd.IntN(4)
		err := m.s.Update(m.t.Context(), func(tx gateway.Tx) error {
			first, err := tx.NextIDs(gateway.IDContact, count)
			if err != nil {
				return err
			}
			c.NewContacts = nil
			for i := range count {
				c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: m.w, Attributes: m.name()})
			}
			return tx.Save(m.w, c)
		})
		if err != nil {
			m.t.Fatal(err)
		}
		for _, x := range c.NewContacts {
			m.all[x.ID] = x
		}
	case n < 6:
		one.Attributes = m.name()
		m.save(&gateway.Changes{Contacts: []*gateway.Contact{one}})
	case n == 6 && one != other:
		one.MergedInto = other.ID
		other.Attributes = m.name()
		m.save(&gateway.Changes{Contacts: []*gateway.Contact{one, other}})
	case n == 7 && merged != nil: // a merge is undone
		merged.MergedInto = 0
		m.save(&gateway.Changes{Contacts: []*gateway.Contact{merged}})
	case n == 8:
		m.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{one.ID}})
		gone := []gateway.ContactID{one.ID}
		for len(gone) > 0 {
			id := gone[0]
			gone = gone[1:]
			delete(m.all, id)
			for _, x := range m.all {
				if x.MergedInto == id {
					gone = append(gone, x.ID)
				}
			}
		}
	case n == 9 && merged != nil: // it changes while it is merged
		merged.Attributes = m.name()
		m.save(&gateway.Changes{Contacts: []*gateway.Contact{merged}})
	}
}

// index does a step of indexing, which now and then breaks off before it is stored.
func (m *namesModel) index(limit int) (more bool) {
	m.t.Helper()
	broken := errors.New("broken off")
	fails := m.rnd.IntN(3) == 0
	err := m.s.Update(m.t.Context(), func(tx gateway.Tx) (err error) {
		if more, err = tx.IndexNames(m.w, limit); err == nil && fails {
			err = broken
		}
		return err
	})
	if fails != errors.Is(err, broken) || !fails && err != nil {
		m.t.Fatal(err)
	}
	return more || fails
}

func nameOfModel(x *gateway.Contact) string {
	v, _ := x.Attributes.Get("name")
	return gateway.Text(v)
}

// finds looks whether the store finds just who is to be found.
func (m *namesModel) finds(text string) {
	m.t.Helper()
	found, err := m.s.FindNames(m.t.Context(), m.w, text, 10_000)
	if err != nil {
		m.t.Fatal(err)
	}
	var got, want []gateway.ContactID
	for _, v := range found.Contacts {
		got = append(got, v.ID)
	}
	for id, x := range m.all {
		if x.MergedInto == 0 && gateway.NameHas(nameOfModel(x), gateway.NameWords(text)) {
			want = append(want, id)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		m.t.Fatalf("%q finds (-want +got):\n%s", text, d)
	}
	if found.Indexed != 100 || found.Cut {
		m.t.Fatalf("%q: %d %% indexed, cut: %t", text, found.Indexed, found.Cut)
	}
}

// testNames compares the index with what all names say, after a life of random changes, and
// what is found on the way. rows are those of nameRows.
func testNames(t *testing.T, s *store.Store, rows func() []string) {
	t.Helper()
	m := &namesModel{t: t, s: s, w: workspace(t, s), rnd: rand.New(rand.NewPCG(3, 4)), all: map[gateway.ContactID]*gateway.Contact{}}
	other := workspace(t, s)
	if err := addContact(t.Context(), s, other, "a stranger"); err != nil {
		t.Fatal(err)
	}
	texts := []string{"a", "ADA", "ada lov", "lov ada", "lucja", "Łu", "smith", "smithson a", "zed", "brien o", "loew", "low", "sse", "山", "listed", "adam ada", "nobody"}
	for round := range 300 {
		m.step()
		if m.rnd.IntN(4) == 0 {
			m.index(1 + m.rnd.IntN(5))
		}
		m.finds(texts[m.rnd.IntN(len(texts))])
		if round%100 == 99 {
			for m.index(7) {
			}
			m.same(rows())
			if due, err := s.UnindexedNames(t.Context()); err != nil || slices.Contains(due, m.w) {
				t.Fatalf("still to index: %v, %v", due, err)
			}
		}
	}
	for _, text := range texts {
		m.finds(text)
	}
	if due, err := s.UnindexedNames(t.Context()); err != nil || !slices.Equal(due, []gateway.WorkspaceID{other}) {
		t.Errorf("to index: %v, %v", due, err)
	}
	// What came before is indexed as what is new (an import, or a database from before).
	forgetNames(t, s)
	m.finds("ada")
	for m.index(11) {
	}
	m.same(rows())
	m.save(&gateway.Changes{DeletedContacts: slices.Collect(maps.Keys(m.all))})
	clear(m.all)
	m.same(rows())
}

// same compares the index with all names.
func (m *namesModel) same(rows []string) {
	m.t.Helper()
	var want []string
	for id, x := range m.all {
		if x.MergedInto == 0 {
			for _, word := range gateway.NameWords(nameOfModel(x)) {
				want = append(want, fmt.Sprint(id, " ", word, " ", id/65536))
			}
		}
	}
	slices.Sort(want)
	slices.Sort(rows)
	if d := cmp.Diff(append([]string{}, want...), append([]string{}, rows...)); d != "" {
		m.t.Fatalf("index (-want +got):\n%s", d)
	}
}

// forgetNames empties the index of names.
func forgetNames(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Update(t.Context(), store.ForgetNames); err != nil {
		t.Fatal(err)
	}
}

// TestNamesOfMany searches a store with more contacts than are looked at one by one.
func TestNamesOfMany(t *testing.T) {
	t.Parallel()
	testNamesOfMany(t, open(t, filepath.Join(t.TempDir(), "civgate.db")))
}

func testNamesOfMany(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	w := workspace(t, s)
	fillNames(t, s, w, 12_000, func(i int) string {
		switch {
		case i == 5:
			return "Maria Rare"
		case i%2 == 0:
			return "Maria Common"
		}
		return "Mario Common"
	})
	find := func(text string) *gateway.NamesFound {
		t.Helper()
		found, err := s.FindNames(ctx, w, text, 8)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range found.Contacts {
			if name, _ := v.Attributes.Get("name"); !gateway.NameHas(gateway.Text(name), gateway.NameWords(text)) {
				t.Errorf("%q finds %s", text, gateway.Text(name))
			}
		}
		return found
	}
	// Only the newest are looked at before there is an index, and it is said.
	if f := find("rare"); len(f.Contacts) != 0 || f.Indexed > 50 {
		t.Errorf("before there is an index: %d found, %d %% indexed", len(f.Contacts), f.Indexed)
	}
	if f := find("maria"); len(f.Contacts) != 8 || f.Indexed > 50 {
		t.Errorf("before there is an index: %d found, %d %% indexed", len(f.Contacts), f.Indexed)
	}
	indexAll(t, s, w)
	for text, want := range map[string]int{"rare": 1, "mari rare": 1, "m r": 1, "maria": 8, "m": 8, "m c": 8, "maria c": 8, "common maria": 8, "mario rare": 0, "": 0, "-": 0} {
		f := find(text)
		if len(f.Contacts) != want || f.Indexed != 100 || f.Cut {
			t.Errorf("%q: %d found, want %d; %d %% indexed, cut: %t", text, len(f.Contacts), want, f.Indexed, f.Cut)
		}
		again := find(text)
		if d := cmp.Diff(f.Contacts, again.Contacts); d != "" {
			t.Errorf("%q finds others the second time: %s", text, d)
		}
	}
	// Who was renamed is found by the new name at once, and not by the old one.
	v := find("rare").Contacts[0]
	v.Attributes.Set("name", gateway.TextValue("Grace Hopper"))
	if err := s.Update(ctx, func(tx gateway.Tx) error {
		return tx.Save(w, &gateway.Changes{Contacts: []*gateway.Contact{&v.Contact}})
	}); err != nil {
		t.Fatal(err)
	}
	if a, b := find("rare"), find("hop gra"); len(a.Contacts) != 0 || len(b.Contacts) != 1 {
		t.Errorf("a renamed contact: %d by the old name, %d by the new one", len(a.Contacts), len(b.Contacts))
	}
	if _, err := s.FindNames(canceled(), w, "m", 8); !errors.Is(err, context.Canceled) {
		t.Errorf("a search of nobody: %v", err)
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// fillNames makes n contacts with names.
func fillNames(t testing.TB, s *store.Store, w gateway.WorkspaceID, n int, name func(i int) string) {
	t.Helper()
	const batch = 4000
	for made := 0; made < n; made += batch {
		err := s.Update(t.Context(), func(tx gateway.Tx) error {
			first, err := tx.NextIDs(gateway.IDContact, batch)
			if err != nil {
				return err
			}
			c := &gateway.Changes{}
			for i := range min(batch, n-made) {
				c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: w, CreatedAt: moment(i + 1), UpdatedAt: moment(i + 1),
					EmailKey:   fmt.Sprintf("%s.%d@company%d.test", strings.ToLower(strings.ReplaceAll(name(made+i), " ", ".")), made+i, (made+i)/10),
					CustomID:   fmt.Sprint("n", made+i),
					Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue(name(made + i))}, {Name: "plan", Value: gateway.TextValue("pro")}, {Name: "city", Value: gateway.TextValue("Poznań")}}})
			}
			return tx.Save(w, c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func indexAll(t testing.TB, s *store.Store, w gateway.WorkspaceID) {
	t.Helper()
	for indexStep(t, s, w) {
	}
}

// indexStep does a step of indexing names.
func indexStep(t testing.TB, s *store.Store, w gateway.WorkspaceID) (more bool) {
	t.Helper()
	err := s.Update(t.Context(), func(tx gateway.Tx) (err error) {
		more, err = tx.IndexNames(w, 1000)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return more
}

// TestCompanyNames finds companies by any of their words.
func TestCompanyNames(t *testing.T) {
	t.Parallel()
	testCompanyNames(t, open(t, filepath.Join(t.TempDir(), "civgate.db")))
}

func testCompanyNames(t *testing.T, s *store.Store) {
	t.Helper()
	ctx := t.Context()
	w := workspace(t, s)
	names := []string{"Acme Sp. z o.o.", "Müller & Söhne", "acme-labs.test", "The Straw Company"}
	err := s.Update(ctx, func(tx gateway.Tx) error {
		c := &gateway.Changes{}
		first, err := tx.NextIDs(gateway.IDCompany, 25_000)
		if err != nil {
			return err
		}
		for i := range 25_000 {
			name := "Other"
			if i < 1 || i >= 25_000-len(names) {
				name = names[(25_000-i)%len(names)]
			}
			c.NewCompanies = append(c.NewCompanies, &gateway.Company{ID: gateway.CompanyID(first) + gateway.CompanyID(i), WorkspaceID: w, Name: name, CustomID: fmt.Sprint(i)})
		}
		return tx.Save(w, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		want string
		cut  bool
	}{
		{"acme", "acme-labs.test,Acme Sp. z o.o.", true},
		{"SOH mull", "Müller & Söhne", true},
		{"comp st", "The Straw Company", true},
		{"traw", "", true},
		{"oth", "Other,Other,Other", false},
		{"&", "", false},
	} {
		found, cut, err := s.FindCompanyNames(ctx, w, c.text, 3)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range found {
			got = append(got, v.Name)
		}
		slices.Sort(got)
		want := strings.FieldsFunc(c.want, func(r rune) bool { return r == ',' })
		slices.Sort(want)
		if !slices.Equal(got, want) || cut != c.cut {
			t.Errorf("%q finds %q (cut: %t), want %q", c.text, got, cut, want)
		}
	}
}
