package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

// TestCacheSeesEveryChange: whatever changes a contact, the payload that the
// cache remembers of it no longer counts as unchanged.
func TestCacheSeesEveryChange(t *testing.T) {
	t.Parallel()
	const usual = `"user_id":"x","email":"x@x.test","plan":"free"`
	for _, tt := range []struct {
		name   string
		change []string // in one batch
	}{
		{"by e-mail alone", []string{message("update", "c", "", `"email":"x@x.test","plan":"pro"`)}},
		{"by user_id alone", []string{message("update", "c", "", `"user_id":"x","plan":"pro"`)}},
		{"by a second browser", []string{page("c", "k2k2k2", `"user_id":"x","plan":"pro"`)}},
		{"by a browser that goes over to another in the same batch", []string{
			page("c", "k2k2k2", `"user_id":"x","plan":"pro"`), page("d", "k2k2k2", `"user_id":"y"`)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1000)
			r.apply(page("a", "k1k1k1", usual))
			r.apply(tt.change...)
			if got := attribute(r.byCustomID("x").Attributes, "plan"); got != `"pro"` {
				t.Fatalf("plan is %s after the change", got)
			}
			r.apply(page("z", "k1k1k1", usual))
			if got := attribute(r.byCustomID("x").Attributes, "plan"); got != `"free"` {
				t.Errorf("plan is %s, want what the browser said last", got)
			}
		})
	}
}

// TestKeyIsOnesOwn: the key that a contact shows is one that finds it, also
// after the browser went over to another contact.
func TestKeyIsOnesOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		payloads []string
		want     string // key of x
	}{
		{"its only browser changes hands", []string{page("a", "k1k1k1", `"user_id":"x"`), page("b", "k1k1k1", `"user_id":"y"`)}, ""},
		{"its newest of two", []string{page("a", "k1k1k1", `"user_id":"x"`), page("b", "k2k2k2", `"user_id":"x"`), page("c", "k2k2k2", `"user_id":"y"`)}, "k1k1k1"},
		{"its older of two", []string{page("a", "k1k1k1", `"user_id":"x"`), page("b", "k2k2k2", `"user_id":"x"`), page("c", "k1k1k1", `"user_id":"y"`)}, "k2k2k2"},
		{"and comes back", []string{page("a", "k1k1k1", `"user_id":"x"`), page("b", "k1k1k1", `"user_id":"y"`), page("c", "k1k1k1", `"user_id":"x"`)}, "k1k1k1"},
	} {
		for _, batches := range []string{"one batch", "a batch each"} {
			t.Run(tt.name+", "+batches, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 1000)
				if batches == "one batch" {
					r.apply(tt.payloads...)
				} else {
					for _, p := range tt.payloads {
						r.apply(p)
					}
				}
				x := r.byCustomID("x")
				if x.Key != tt.want {
					t.Errorf("key %q, want %q", x.Key, tt.want)
				}
				keys, err := r.store.VisitorKeys(context.Background(), r.w, x.ID, 10)
				r.check(err)
				if x.Key != "" && !slices.ContainsFunc(keys, func(k gateway.VisitorKey) bool { return k.Key == x.Key }) {
					t.Errorf("key %q is none of %v", x.Key, keys)
				}
			})
		}
	}
}

// TestVisitsOfNobody: only page views count as visits.
func TestVisitsOfNobody(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	r.apply(page("a", "", ""), message("update", "b", "", ""), message("event", "c", "", ""), page("d", "", ""))
	if n, err := r.store.Visits(context.Background(), r.w); err != nil || n != 2 {
		t.Errorf("%d visits, want the 2 page views (%v)", n, err)
	}
}

// TestServerWithoutUnifiedIdentification: a payload without a key has nothing
// but its e-mail to be known by, so repeating it makes no second contact.
func TestServerWithoutUnifiedIdentification(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, 1000, gateway.Settings{}, zap.NewNop())
	for i := range 3 {
		r.apply(message("update", fmt.Sprint("m", i), "", fmt.Sprintf(`"email":"e@x.test","n":%d`, i)))
	}
	if n, err := r.store.CountContacts(context.Background(), r.w); err != nil || n != 1 {
		t.Errorf("%d contacts, want 1 (%v)", n, err)
	}
}

// TestNameOfItsOwnStays: parts that were known already don't bring back a name
// that somebody replaced.
func TestNameOfItsOwnStays(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		payloads []string
		want     string
	}{
		{"same part beside a change", []string{`"name":"The Countess","first_name":"Ada"`, `"first_name":"Ada","seats":5`}, `"The Countess"`},
		{"new part", []string{`"name":"The Countess","first_name":"Ada"`, `"first_name":"Augusta"`}, `"Augusta"`},
		{"part cleared", []string{`"first_name":"Ada","last_name":"Lovelace"`, `"first_name":null`}, `"Lovelace"`},
		{"both cleared", []string{`"first_name":"Ada","last_name":"Lovelace"`, `"first_name":null,"last_name":null`}, "absent"},
		{"name cleared", []string{`"first_name":"Ada"`, `"name":null`}, "absent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1000)
			for i, fields := range tt.payloads {
				r.apply(page(fmt.Sprint("m", i), "k1k1k1", `"user_id":"x",`+fields))
			}
			if got := attribute(r.byCustomID("x").Attributes, "name"); got != tt.want {
				t.Errorf("name is %s, want %s", got, tt.want)
			}
		})
	}
}

// TestTagsAreBounded: a page that makes up tags can't grow a contact without
// end.
func TestTagsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	for round := range 4 {
		var tags []string
		for i := range 900 {
			tags = append(tags, fmt.Sprintf("%d-%d", round, i))
		}
		list, err := json.Marshal(tags)
		r.check(err)
		r.apply(page(fmt.Sprint("m", round), "k1k1k1", `"user_id":"x","tags":`+string(list)))
	}
	got := attribute(r.byCustomID("x").Attributes, "tags")
	if len(got) > gateway.MaxValue || len(got) < gateway.MaxValue-20 || !strings.HasPrefix(got, `["0-0",`) || !json.Valid([]byte(got)) {
		t.Errorf("%d bytes of tags, %.20s; want the first ones up to %d", len(got), got, gateway.MaxValue)
	}
}

// TestWarningsAreBounded holds acceptance to MaxWarnings, whatever is wrong.
func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	var numbers, texts []string
	for i := range 150 {
		numbers = append(numbers, fmt.Sprintf(`"a%d":1`, i))
		texts = append(texts, fmt.Sprintf(`"a%d":"x"`, i))
	}
	r.apply(page("a", "k1k1k1", strings.Join(numbers, ",")))
	results, _, err := r.g.Accept(context.Background(), gateway.Request{Body: []byte(page("b", "k1k1k1", strings.Join(texts, ",")))})
	if err != nil || results[0].Err != nil {
		t.Fatal(err, results)
	}
	w := results[0].Warnings
	if len(w) != gateway.MaxWarnings {
		t.Fatalf("%d warnings, want %d", len(w), gateway.MaxWarnings)
	}
	if first, last := w[0], w[len(w)-1]; first.Code != "type_mismatch" || last.Code != gateway.WarnTooMany {
		t.Errorf("first %+v, last %+v", first, last)
	}
}

// heap is how much memory is in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first only put up for finalizers
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestUnknownKeysHoldNoBodies: strangers can send large payloads with invented
// keys without end; only the keys are remembered.
func TestUnknownKeysHoldNoBodies(t *testing.T) {
	r := newRig(t, 1000)
	pad := strings.Repeat("x", 20_000)
	before := heap()
	const n = 1000
	for i := range n {
		_, _, err := r.g.Accept(context.Background(), gateway.Request{Body: fmt.Appendf(nil, `{"apiKey":"Z%05d","pad":[%q,%q]}`, i, pad[:8000], pad[:8000])})
		if gateway.CodeOf(err) != gateway.CodeUnknownAPIKey {
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > n*4000 {
		t.Errorf("%d bytes are held for each unknown key", grown/n)
	}
	runtime.KeepAlive(r)
}

// keepInbox takes all and gives nothing out.
type keepInbox struct {
	gateway.Inbox
	entries []*gateway.Entry
}

func (k *keepInbox) Append(_ context.Context, entries ...*gateway.Entry) error {
	k.entries = append(k.entries, entries...)
	return nil
}

// TestEntriesHoldNoMoreThanTheirBodies: what waits in the inbox is counted by
// its own size, so an entry must not hold on to a large array of which the rest
// was refused or is white space.
func TestEntriesHoldNoMoreThanTheirBodies(t *testing.T) {
	r := newRig(t, 1000)
	in := &keepInbox{}
	g := gateway.New(gateway.Config{Store: r.store, Inbox: in, Cache: cache.New(100), Log: zap.NewNop()})
	before := heap()
	const n = 100
	for range n {
		body := `[{"apiKey":"` + rigKey + `"}` + strings.Repeat(" ", 500_000) + `,{"apiKey":"NOBODY"}]`
		results, _, err := g.Accept(context.Background(), gateway.Request{Body: []byte(body)})
		if err != nil || len(results) != 2 || results[0].Err != nil || results[1].Err == nil {
			t.Fatal(err, results)
		}
	}
	if grown := heap() - before; len(in.entries) != n || grown > n*10_000 {
		t.Errorf("%d entries hold %d bytes each", len(in.entries), grown/n)
	}
	runtime.KeepAlive(in)
}

// oddStore is a store that goes wrong in chosen ways.
type oddStore struct {
	*store.Store
	before func() // called inside the transaction
	after  func(error) error
}

func (s *oddStore) Update(ctx context.Context, fn func(gateway.Tx) error) error {
	err := s.Store.Update(ctx, func(tx gateway.Tx) error {
		if s.before != nil {
			s.before()
		}
		return fn(tx)
	})
	if s.after != nil {
		err = s.after(err)
	}
	return err
}

// runOver runs a gateway on st until all entries are done with.
func runOver(t *testing.T, st gateway.Store, in *listInbox, entries ...*gateway.Entry) {
	t.Helper()
	g := gateway.New(gateway.Config{Store: st, Inbox: in, Cache: cache.New(100), Log: zap.NewNop()})
	in.entries = entries
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	for last := entries[len(entries)-1].Seq; in.done() < last && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
	}
	if ctx.Err() != nil {
		t.Errorf("the applier is stuck behind entry %d", in.done())
	}
	cancel()
	<-done
}

// TestLostAnswer: a commit that went through although it seemed to fail is not
// repeated, message id or not.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	lost := 1
	odd := &oddStore{Store: r.store, after: func(err error) error {
		if lost--; lost >= 0 && err == nil {
			return gateway.Errorf(gateway.CodeUnavailable, "the connection broke")
		}
		return err
	}}
	runOver(t, odd, &listInbox{}, r.entry(page("", "k1k1k1", `"user_id":"x"`)), r.entry(page("", "k2k2k2", `"user_id":"y"`)))
	for _, id := range []string{"x", "y"} {
		if c := r.byCustomID(id); c.PageViews != 1 {
			t.Errorf("%s has %d page views", id, c.PageViews)
		}
	}
	// The rest of a batch of which the first half is applied.
	a, b := r.entry(page("", "k1k1k1", `"user_id":"x"`)), r.entry(page("", "k2k2k2", `"user_id":"y"`))
	r.check(r.g.Apply(context.Background(), []*gateway.Entry{a}))
	r.check(r.g.Apply(context.Background(), []*gateway.Entry{a, b}))
	for _, id := range []string{"x", "y"} {
		if c := r.byCustomID(id); c.PageViews != 2 {
			t.Errorf("%s has %d page views", id, c.PageViews)
		}
	}
}

// TestPanicInTransaction: the writer stays usable, and only what panics again
// and again is set aside.
func TestPanicInTransaction(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	left := 1
	odd := &oddStore{Store: r.store, before: func() {
		if left--; left >= 0 {
			panic("odd")
		}
	}}
	runOver(t, odd, &listInbox{}, r.entry(page("a", "k1k1k1", `"user_id":"x"`)), r.entry(page("b", "k2k2k2", `"user_id":"y"`)))
	r.byCustomID("x")
	r.byCustomID("y")
	if q, err := r.store.Quarantine(context.Background(), r.w, 10); err != nil || len(q) != 0 {
		t.Errorf("set aside: %v, %v", q, err)
	}
}

// TestUnknownWorkspaceInInbox: what belongs to no workspace is set aside, once,
// and stops nobody.
func TestUnknownWorkspaceInInbox(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	before, lost := r.entry(page("a", "k1k1k1", `"user_id":"x"`)), r.entry(page("b", "k2k2k2", `"user_id":"y"`))
	lost.WorkspaceID = 4711
	runOver(t, r.store, &listInbox{}, before, lost, r.entry(page("c", "k3k3k3", `"user_id":"z"`)))
	r.byCustomID("x")
	r.byCustomID("z")
	if q, err := r.store.Quarantine(context.Background(), 4711, 10); err != nil || len(q) != 1 {
		t.Errorf("set aside: %v, %v", q, err)
	}
}

// TestConflictForGood: a conflict that comes again at every attempt is no
// reason to stand still for ever.
func TestConflictForGood(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	odd := &oddStore{Store: r.store}
	before, poison := r.entry(page("a", "k1k1k1", `"user_id":"x"`)), r.entry(page("b", "k2k2k2", `"user_id":"y"`))
	conflicts := &conflictStore{oddStore: odd}
	runOver(t, conflicts, &listInbox{}, before, poison, r.entry(page("c", "k3k3k3", `"user_id":"z"`)))
	r.byCustomID("x")
	r.byCustomID("z")
	if q, err := r.store.Quarantine(context.Background(), r.w, 10); err != nil || len(q) != 1 || string(q[0].Body) != string(poison.Body) {
		t.Errorf("set aside: %v, %v", q, err)
	}
}

// conflictStore finds contact y in the way of whoever saves it.
type conflictStore struct{ *oddStore }

func (s *conflictStore) Update(ctx context.Context, fn func(gateway.Tx) error) error {
	return s.oddStore.Update(ctx, func(tx gateway.Tx) error { return fn(&conflictTx{tx}) })
}

type conflictTx struct{ gateway.Tx }

func (t *conflictTx) Save(w gateway.WorkspaceID, c *gateway.Changes) error {
	for _, x := range c.NewContacts {
		if x.CustomID == "y" {
			return gateway.Errorf(gateway.CodeConflict, "an identifier is taken already")
		}
	}
	return t.Tx.Save(w, c)
}

// TestDefinitionOfAnother: an attribute that another process defined meanwhile
// is taken as it is.
func TestDefinitionOfAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	in := &listInbox{}
	g := gateway.New(gateway.Config{Store: r.store, Inbox: in, Cache: cache.New(100), Log: zap.NewNop()})
	r.check(g.Apply(context.Background(), []*gateway.Entry{r.entry(page("a", "k1k1k1", `"user_id":"x"`))}))
	r.apply(page("b", "k2k2k2", `"user_id":"y","seats":"3"`)) // by r.g, which is another gateway
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	in.entries = []*gateway.Entry{r.entry(page("c", "k1k1k1", `"user_id":"x","seats":4`))}
	last := in.entries[0].Seq
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	for in.done() < last && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	if got := attribute(r.byCustomID("x").Attributes, "seats"); got != `"4"` {
		t.Errorf("seats is %s, want the text that the other process made of it", got)
	}
}

// TestCommitWithoutAnswer: a batch that was committed although the store said
// otherwise is applied again without effect, and the cache is not left behind.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	fail := false
	odd := &oddStore{Store: r.store, after: func(err error) error {
		if err == nil && fail {
			fail = false
			return &gateway.Error{Code: gateway.CodeUnavailable, Err: errors.New("no answer")}
		}
		return err
	}}
	g := gateway.New(gateway.Config{Store: odd, Inbox: &listInbox{}, Cache: cache.New(100), Log: zap.NewNop()})
	apply := func(bodies ...string) {
		var entries []*gateway.Entry
		for _, b := range bodies {
			entries = append(entries, r.entry(b))
		}
		for range 10 {
			if g.Apply(context.Background(), entries) == nil {
				return
			}
		}
		t.Fatal("the batch can't be applied again")
	}
	const usual = `"user_id":"x","plan":"free"`
	apply(page("a", "k1k1k1", usual))
	fail = true
	apply(page("b", "k2k2k2", `"user_id":"x","plan":"pro","seats":3`))
	apply(page("c", "k1k1k1", usual+`,"seats":4`), page("d", "k3k3k3", usual))
	fail = true
	apply(page("e", "k2k2k2", `"user_id":"x","plan":"pro"`))
	apply(page("f", "k3k3k3", usual))
	x := r.byCustomID("x")
	if got := attribute(x.Attributes, "plan"); got != `"free"` || x.PageViews != 6 {
		t.Errorf("plan %s, %d page views; want free and 6", got, x.PageViews)
	}
}

// TestAnyCache: what the cache remembers changes nothing, servers that post
// without a key included.
func TestAnyCache(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(2, 30).Draw(rt, "payloads")
		bodies := make([]string, n)
		for i := range bodies {
			bodies[i] = drawSmall(rt, fmt.Sprint("m", i))
		}
		one, two := newRig(t, 1000), newRig(t, 1000)
		for _, b := range bodies { // one at a time and without a cache
			one.g = gateway.New(gateway.Config{Store: one.store, Inbox: &listInbox{}, Cache: cache.New(1), Log: zap.NewNop(), Now: func() time.Time { return one.now }})
			one.apply(b)
		}
		for rest := bodies; len(rest) > 0; {
			k := rapid.IntRange(1, min(3, len(rest))).Draw(rt, "batch")
			two.apply(rest[:k]...)
			rest = rest[k:]
		}
		if d := cmp.Diff(one.ledger(), two.ledger()); d != "" {
			rt.Fatalf("payloads:\n%s\nwithout a cache (-) and with one (+):\n%s", strings.Join(bodies, "\n"), d)
		}
	})
}

// drawSmall draws payloads that often repeat each other word for word.
func drawSmall(rt *rapid.T, id string) string {
	fields := rapid.SampledFrom([]string{
		``, `"user_id":"u1","plan":"a"`, `"user_id":"u1","plan":"b"`, `"user_id":"u2","plan":"a","email":"a@x.test"`,
		`"email":"a@x.test"`, `"email":"a@x.test","plan":"c"`, `"email":"b@x.test"`, `"plan":"d"`, `"user_id":"u1","email":null`,
		`"user_id":"u1","company":{"company_id":"c1"}`, `"user_id":"u2","company":{"name":"N"}`, `"company":null`,
		`"user_id":"u1","companies":[{"company_id":"c1"},{"company_id":"c2"},{"company_id":"c1","size":2}]`,
		`"company":{"name":"N","size":1}`, `"company":{"size":3}`,
	}).Draw(rt, "fields")
	key := rapid.SampledFrom([]string{"browser1", "browser2", "browser3", ""}).Draw(rt, "key")
	return message(rapid.SampledFrom([]string{"page", "event", "update"}).Draw(rt, "type"), id, key, fields)
}

// ledger is all that is stored but fingerprints and keys of the server's
// making.
func (r *rig) ledger() any {
	r.t.Helper()
	made := func(key string) string {
		if key == "" || strings.HasPrefix(key, "browser") {
			return key
		}
		return "made"
	}
	ctx := context.Background()
	contacts, err := r.store.Contacts(ctx, r.w, 0, 1000)
	r.check(err)
	out := make(map[gateway.ContactID]any)
	for _, c := range contacts {
		keys, err := r.store.VisitorKeys(ctx, r.w, c.ID, 100)
		r.check(err)
		names := make(map[string]bool)
		for _, k := range keys {
			names[made(k.Key)] = true
		}
		if c.Key != "" && !slices.ContainsFunc(keys, func(k gateway.VisitorKey) bool { return k.Key == c.Key }) {
			r.t.Errorf("contact %d shows the key %q of somebody else", c.ID, c.Key)
		}
		c.Key = made(c.Key)
		pages, err := r.store.PageViews(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		events, err := r.store.Events(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		for i := range pages {
			pages[i].ID = 0
		}
		for i := range events {
			events[i].ID = 0
		}
		merges, err := r.store.Merges(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 100})
		r.check(err)
		out[c.ID] = []any{c, slices.Sorted(maps.Keys(names)), pages, events, len(merges)}
	}
	companies, err := r.store.Companies(ctx, r.w, 0, 1000)
	r.check(err)
	visits, err := r.store.Visits(ctx, r.w)
	r.check(err)
	return []any{out, companies, visits}
}

// TestRestartInMiddle: a gateway that starts on what another left has no
// memory of it and comes to the same end.
func TestRestartInMiddle(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	st, err := store.Open(ctx, filepath.Join(dir, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	w, err := st.CreateWorkspace(ctx, gateway.Workspace{Name: "w", Settings: gateway.DefaultSettings()}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: rigKey})
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		position, err := st.InboxPosition(ctx, "local")
		if err != nil {
			t.Fatal(err)
		}
		in, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), position, inbox.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g := gateway.New(gateway.Config{Store: st, Inbox: in, Cache: cache.New(100), Log: zap.NewNop()})
		for i := range 5 { // acknowledged, and not applied before the next start
			body := page(fmt.Sprint("m", round, "-", i), "k1k1k1", fmt.Sprintf(`"user_id":"x","round":%d,"i":%d`, round, i))
			if _, _, err := g.Accept(ctx, gateway.Request{Body: []byte(body)}); err != nil {
				t.Fatal(err)
			}
		}
		if round == 2 {
			run, cancel := context.WithCancel(ctx)
			done := make(chan error)
			go func() { done <- g.Run(run) }()
			for g.Pending() > 0 {
				time.Sleep(time.Millisecond)
			}
			cancel()
			<-done
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c, err := st.ContactByCustomID(ctx, w, "x")
	if err != nil || c.PageViews != 15 || attribute(c.Attributes, "round") != "2" || attribute(c.Attributes, "i") != "4" {
		t.Errorf("%+v, %v", c, err)
	}
}
