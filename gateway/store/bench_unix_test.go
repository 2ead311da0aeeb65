//go:build unix

package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
)

// benchContacts is the size of the store that the benchmarks start with.
const benchContacts = 200_000

// benchBatches are sizes of batches. The larger one is, the more of its rows
// share a page of the tree of identifiers.
var benchBatches = []int{1024, 2048, 4096, 8192}

// traffic makes payloads' worth of changes as the applier does, for a store
// with one workspace.
type traffic struct {
	b    testing.TB
	s    *store.Store
	path string
	w    gateway.WorkspaceID
	rnd  *rand.Rand
	now  time.Time
	made int // contacts
	seq  int64
	cpu  time.Duration // spent in transactions, by the whole process
}

func newTraffic(b testing.TB, contacts int) *traffic {
	b.Helper()
	return newTrafficAt(b, filepath.Join(b.TempDir(), "civgate.db"), contacts)
}

// newTrafficAt is for the database at path, a file's or a URL.
func newTrafficAt(b testing.TB, path string, contacts int) *traffic {
	b.Helper()
	s := open(b, path)
	t := &traffic{b: b, s: s, path: path, w: workspace(b, s), rnd: rand.New(rand.NewPCG(1, 2)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
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

// update measures a transaction; what it writes is made before.
func (t *traffic) update(fn func(tx gateway.Tx) error) {
	began := cpuTime()
	defer func() { t.cpu += cpuTime() - began }()
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
	c := &gateway.Changes{}
	var companies []*gateway.Company
	for i := range n {
		messages[i] = t.message()
		k := t.made + i
		contact := &gateway.Contact{
			WorkspaceID: t.w, CustomID: fmt.Sprintf("user-%08x", mix(k)), EmailKey: fmt.Sprintf("%08x.person@company%d.test", mix(k+77), k/10),
			Attributes: gateway.Attributes{
				{Name: "date_attr", Value: gateway.Value{Type: gateway.TypeDate, Raw: `"2026-01-31"`}},
				{Name: "gender", Value: gateway.Value{Type: gateway.TypeText, Raw: `"male"`}},
				{Name: "name", Value: gateway.Value{Type: gateway.TypeText, Raw: `"Johnny Example"`}},
				{Name: "phone_number", Value: gateway.Value{Type: gateway.TypeText, Raw: fmt.Sprintf(`"+481%08d"`, mix(k)%1e8)}},
				{Name: "score", Value: gateway.Value{Type: gateway.TypeNumber, Raw: "0"}},
				{Name: "status", Value: gateway.Value{Type: gateway.TypeText, Raw: `"user"`}},
			},
			Key: visitorKey(k), Fingerprint: t.rnd.Uint64(), CreatedAt: t.now, UpdatedAt: t.now, LastIP: "192.0.2.0",
		}
		contact.Email = contact.EmailKey
		if i == 0 || k%10 == 0 {
			companies = append(companies, &gateway.Company{WorkspaceID: t.w, CustomID: fmt.Sprintf("company-%08x", mix(k/10)), Name: "Example company",
				Attributes: gateway.Attributes{{Name: "revenue", Value: gateway.Value{Type: gateway.TypeText, Raw: `"$239.9 billion"`}}}, CreatedAt: t.now, UpdatedAt: t.now})
		}
		refs.Keys = append(refs.Keys, contact.Key)
		refs.CustomIDs = append(refs.CustomIDs, contact.CustomID)
		refs.EmailKeys = append(refs.EmailKeys, contact.EmailKey)
		refs.CompanyCustomIDs = append(refs.CompanyCustomIDs, companies[len(companies)-1].CustomID)
		c.NewContacts = append(c.NewContacts, contact)
		c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: contact.Key, CreatedAt: t.now})
		c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: t.w, Source: gateway.SourceWidget, Primary: true, Since: t.now})
		c.PageViews = append(c.PageViews, t.pageView(0, contact.Key))
	}
	t.made += n
	t.seq += int64(n)
	t.update(func(tx gateway.Tx) error {
		repeats, err := tx.ClaimMessages(t.w, messages, t.now)
		if err != nil || len(repeats) > 0 {
			return fmt.Errorf("%d repeats, %v", len(repeats), err)
		}
		l, err := tx.Load(t.w, refs)
		if err != nil || len(l.Contacts) > 0 {
			return fmt.Errorf("%d contacts, %v", len(l.Contacts), err)
		}
		known := make(map[string]gateway.CompanyID, len(companies))
		for _, x := range l.Companies {
			known[x.CustomID] = x.ID
		}
		next, err := tx.NextIDs(gateway.IDCompany, len(companies))
		if err != nil {
			return err
		}
		for i, x := range companies {
			if _, ok := known[x.CustomID]; !ok {
				x.ID = gateway.CompanyID(next + int64(i))
				known[x.CustomID] = x.ID
				c.NewCompanies = append(c.NewCompanies, x)
			}
		}
		first, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		for i := range n {
			id := gateway.ContactID(first + int64(i))
			c.NewContacts[i].ID, c.NewKeys[i].ContactID, c.PageViews[i].ContactID = id, id, id
			c.NewMemberships[i].ContactID, c.NewMemberships[i].CompanyID = id, known[refs.CompanyCustomIDs[i]]
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

// run measures apply in batches; an operation is one payload. cpu-ns is CPU
// time of the whole process while a transaction ran, so that garbage
// collection, checkpoints and the kernel's work are in it, and the making of
// test data is not.
func (t *traffic) run(b *testing.B, batch int, apply func(n int)) {
	b.ReportAllocs()
	pages := store.PagesWritten(t.s)
	t.cpu = 0
	n := 0
	for b.Loop() {
		if n++; n%batch == 0 {
			apply(batch)
		}
	}
	if n%batch > 0 {
		apply(n % batch)
	}
	b.ReportMetric(float64(t.cpu)/float64(n), "cpu-ns/op")
	b.ReportMetric(float64(store.PagesWritten(t.s)-pages)/float64(n), "pages/op")
}

func BenchmarkSaveNew(b *testing.B) {
	t := newTraffic(b, benchContacts)
	for _, batch := range benchBatches {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) { t.run(b, batch, t.newContacts) })
	}
}

// BenchmarkSaveNewMillion is one run of 1,000,000 payloads, in which a log or a
// cache that grows without end would show. It takes most of a minute:
// go test -bench Million -benchtime 1x.
func BenchmarkSaveNewMillion(b *testing.B) {
	for b.Loop() {
		t := newTraffic(b, 0)
		path := t.path
		var largest int64
		for t.made < 1_000_000 {
			t.newContacts(4000)
			if info, err := os.Stat(path + "-wal"); err == nil {
				largest = max(largest, info.Size())
			}
		}
		b.ReportMetric(float64(t.cpu)/1e6, "cpu-ns/payload")
		b.ReportMetric(float64(largest>>20), "log-MiB")
		b.ReportMetric(float64(residentMemory(b)>>20), "RSS-MiB")
		time.Sleep(10 * time.Second) // for the log and the caches to be given back
		debug.FreeOSMemory()
		b.ReportMetric(float64(residentMemory(b)>>20), "idle-RSS-MiB")
	}
}

// residentMemory is that of the process now, 0 where /proc does not tell.
func residentMemory(b *testing.B) int {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return resident * os.Getpagesize()
}

func BenchmarkSaveReturning(b *testing.B) {
	t := newTraffic(b, benchContacts)
	for _, batch := range benchBatches {
		b.Run(fmt.Sprint("batch=", batch), func(b *testing.B) { t.run(b, batch, t.returning) })
	}
}

func BenchmarkSaveChanged(b *testing.B) {
	t := newTraffic(b, benchContacts)
	t.run(b, 4096, t.changed)
}
