//go:build unix

package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
)

// Sizes of the store that the benchmarks start with, and of a batch.
const (
	benchContacts = 200_000
	benchBatch    = 2048
)

// traffic makes payloads' worth of changes as the applier does, for a store
// with one workspace.
type traffic struct {
	b       testing.TB
	s       *store.Store
	w       gateway.WorkspaceID
	rnd     *rand.Rand
	now     time.Time
	made    int // contacts
	seq     int64
	largest int64 // bytes of the log
}

func newTraffic(b testing.TB, contacts int) *traffic {
	b.Helper()
	s := open(b, filepath.Join(b.TempDir(), "civgate.db"))
	w, err := s.CreateWorkspace(b.Context(), gateway.Workspace{Name: "Acme", Settings: gateway.DefaultSettings()})
	if err != nil {
		b.Fatal(err)
	}
	t := &traffic{b: b, s: s, w: w, rnd: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for t.made < contacts {
		t.newContacts(min(4096, contacts-t.made))
	}
	return t
}

// mix spreads n over all 32-bit numbers, so that neighbours in time are none in
// an index.
func mix(n int) uint32 { return uint32(n) * 2654435761 }

func visitorKey(n int) string {
	const digits = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	x := uint64(mix(n))<<32 | uint64(n)
	x *= 0x9E3779B97F4A7C15
	var key [12]byte
	for i := range key {
		key[i] = digits[x%62]
		x = x/62 + uint64(n)<<20
	}
	return string(key[:8]) + fmt.Sprintf("%04x", n&0xffff)
}

func (t *traffic) message() (id gateway.MessageID) {
	t.now = t.now.Add(50 * time.Microsecond)
	binary.BigEndian.PutUint64(id[:], uint64(t.now.UnixMilli())<<16|0x7000|uint64(t.rnd.Uint32()&0xfff))
	binary.BigEndian.PutUint64(id[8:], t.rnd.Uint64()|1<<63)
	return id
}

func (t *traffic) pageView(id gateway.ContactID, key string) gateway.PageView {
	n := t.rnd.IntN(5000)
	return gateway.PageView{WorkspaceID: t.w, ContactID: id, Key: key, At: t.now, URL: fmt.Sprintf("https://shop.example.test/catalogue/item-%d?utm_source=mail", n),
		Path: fmt.Sprintf("/catalogue/item-%d", n), Title: fmt.Sprintf("Item %d - Example shop", n), Referrer: "https://search.example.test/"}
}

func (t *traffic) update(fn func(tx gateway.Tx) error) {
	err := t.s.Update(t.b.Context(), func(tx gateway.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.SetInboxPosition("n1", t.seq)
	})
	if err != nil {
		t.b.Fatal(err)
	}
}

// newContacts applies n payloads of people never seen, ten of each company.
func (t *traffic) newContacts(n int) {
	refs := gateway.Refs{}
	messages := make([]gateway.MessageID, n)
	first := t.made
	for i := range n {
		messages[i] = t.message()
		refs.Keys = append(refs.Keys, visitorKey(first+i))
		refs.CustomIDs = append(refs.CustomIDs, fmt.Sprintf("user-%08x", mix(first+i)))
		refs.EmailKeys = append(refs.EmailKeys, fmt.Sprintf("%08x.person@company%d.test", mix(first+i+77), (first+i)/10))
		refs.CompanyCustomIDs = append(refs.CompanyCustomIDs, fmt.Sprintf("company-%08x", mix((first+i)/10)))
	}
	t.seq += int64(n)
	t.made += n
	t.update(func(tx gateway.Tx) error {
		repeats, err := tx.ClaimMessages(t.w, messages, t.now)
		if err != nil || len(repeats) > 0 {
			return fmt.Errorf("%d repeats, %v", len(repeats), err)
		}
		l, err := tx.Load(t.w, refs)
		if err != nil || len(l.Contacts) > 0 {
			return fmt.Errorf("%d contacts, %v", len(l.Contacts), err)
		}
		companies := map[string]gateway.CompanyID{}
		for _, c := range l.Companies {
			companies[c.CustomID] = c.ID
		}
		id, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		c := &gateway.Changes{}
		for i := range n {
			contact := &gateway.Contact{
				ID: gateway.ContactID(id + int64(i)), WorkspaceID: t.w, CustomID: refs.CustomIDs[i], Email: refs.EmailKeys[i], EmailKey: refs.EmailKeys[i],
				Attributes: gateway.Attributes{
					{Name: "date_attr", Value: gateway.Value{Type: gateway.TypeDate, Raw: `"2026-01-31"`}},
					{Name: "gender", Value: gateway.Value{Type: gateway.TypeText, Raw: `"male"`}},
					{Name: "name", Value: gateway.Value{Type: gateway.TypeText, Raw: `"Johnny Example"`}},
					{Name: "phone_number", Value: gateway.Value{Type: gateway.TypeText, Raw: fmt.Sprintf(`"+481%08d"`, mix(first+i)%1e8)}},
					{Name: "score", Value: gateway.Value{Type: gateway.TypeNumber, Raw: "0"}},
					{Name: "status", Value: gateway.Value{Type: gateway.TypeText, Raw: `"user"`}},
				},
				Key: refs.Keys[i], Fingerprint: t.rnd.Uint64(), CreatedAt: t.now, UpdatedAt: t.now, LastIP: "192.0.2.0",
			}
			c.NewContacts = append(c.NewContacts, contact)
			c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: contact.Key, ContactID: contact.ID, CreatedAt: t.now})
			company, ok := companies[refs.CompanyCustomIDs[i]]
			if !ok {
				next, err := tx.NextIDs(gateway.IDCompany, 1)
				if err != nil {
					return err
				}
				company = gateway.CompanyID(next)
				companies[refs.CompanyCustomIDs[i]] = company
				c.NewCompanies = append(c.NewCompanies, &gateway.Company{ID: company, WorkspaceID: t.w, CustomID: refs.CompanyCustomIDs[i], Name: "Example company",
					Attributes: gateway.Attributes{{Name: "revenue", Value: gateway.Value{Type: gateway.TypeText, Raw: `"$239.9 billion"`}}}, CreatedAt: t.now, UpdatedAt: t.now})
			}
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: t.w, ContactID: contact.ID, CompanyID: company, Source: gateway.SourceWidget, Primary: true, Since: t.now})
			c.PageViews = append(c.PageViews, t.pageView(contact.ID, contact.Key))
		}
		return tx.Save(t.w, c)
	})
}

// returning applies n payloads that change nothing, of contacts that the
// identity cache knows.
func (t *traffic) returning(n int) {
	messages := make([]gateway.MessageID, n)
	c := &gateway.Changes{PageViews: make([]gateway.PageView, 0, n)}
	for i := range n {
		messages[i] = t.message()
		who := t.rnd.IntN(t.made)
		c.PageViews = append(c.PageViews, t.pageView(gateway.ContactID(who+1), visitorKey(who)))
	}
	t.seq += int64(n)
	t.update(func(tx gateway.Tx) error {
		if _, err := tx.ClaimMessages(t.w, messages, t.now); err != nil {
			return err
		}
		return tx.Save(t.w, c)
	})
}

// changed applies n payloads that change an attribute of a contact each.
func (t *traffic) changed(n int) {
	messages := make([]gateway.MessageID, n)
	refs := gateway.Refs{}
	seen := map[int]bool{}
	for i := range n {
		messages[i] = t.message()
		who := t.rnd.IntN(t.made)
		for seen[who] {
			who = t.rnd.IntN(t.made)
		}
		seen[who] = true
		refs.Keys = append(refs.Keys, visitorKey(who))
		refs.CustomIDs = append(refs.CustomIDs, fmt.Sprintf("user-%08x", mix(who)))
	}
	t.seq += int64(n)
	t.update(func(tx gateway.Tx) error {
		if _, err := tx.ClaimMessages(t.w, messages, t.now); err != nil {
			return err
		}
		l, err := tx.Load(t.w, refs)
		if err != nil || len(l.Contacts) != n || len(l.Memberships) != n {
			return fmt.Errorf("%d contacts, %d memberships, %v", len(l.Contacts), len(l.Memberships), err)
		}
		c := &gateway.Changes{}
		for _, contact := range l.Contacts {
			contact.Attributes.Set("score", gateway.Value{Type: gateway.TypeNumber, Raw: fmt.Sprint(t.rnd.IntN(1000))})
			contact.UpdatedAt = t.now
			c.Contacts = append(c.Contacts, contact)
			c.PageViews = append(c.PageViews, t.pageView(contact.ID, contact.Key))
		}
		return tx.Save(t.w, c)
	})
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// run measures apply in batches; an operation is one payload. CPU time is that
// of the whole process: garbage collection, checkpoints and the kernel's work
// for it are in it.
func (t *traffic) run(b *testing.B, batch int, apply func(n int)) {
	b.ReportAllocs()
	n := 0
	pages := store.PagesWritten(t.s)
	began := cpuTime()
	for b.Loop() {
		if n++; n%batch == 0 {
			apply(batch)
		}
	}
	if n%batch > 0 {
		apply(n % batch)
	}
	b.ReportMetric(float64(cpuTime()-began)/float64(n), "cpu-ns/op")
	b.ReportMetric(float64(store.PagesWritten(t.s)-pages)/float64(n), "pages/op")
}

func BenchmarkSaveNew(b *testing.B) {
	t := newTraffic(b, benchContacts)
	for _, batch := range []int{benchBatch / 2, benchBatch, 2 * benchBatch} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) { t.run(b, batch, t.newContacts) })
	}
}

func BenchmarkSaveReturning(b *testing.B) {
	t := newTraffic(b, benchContacts)
	for _, batch := range []int{benchBatch / 2, benchBatch, 2 * benchBatch} {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) { t.run(b, batch, t.returning) })
	}
}

func BenchmarkSaveChanged(b *testing.B) {
	t := newTraffic(b, benchContacts)
	t.run(b, benchBatch, t.changed)
}
