package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"
	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

// rig is a gateway on a store and an inbox of its own, with a clock that
// only moves when told.
type rig struct {
	t     testing.TB
	g     *gateway.Gateway
	store *store.Store
	w     gateway.WorkspaceID
	seq   int64
	now   time.Time
}

const rigKey = "A1B2C3"

func newRig(t testing.TB, cacheSize int) *rig {
	t.Helper()
	return newRigWith(t, cacheSize, gateway.DefaultSettings(), zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)))
}

func newRigWith(t testing.TB, cacheSize int, s gateway.Settings, log *zap.Logger) *rig {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	st, err := store.Open(ctx, filepath.Join(dir, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, store: st, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.g = gateway.New(gateway.Config{
		Store: st, Inbox: in, Cache: cache.New(cacheSize), Log: log, Inspect: true,
		Now: func() time.Time { return r.now },
	})
	r.w, err = st.CreateWorkspace(ctx, gateway.Workspace{Name: "test", CreatedAt: r.now, Settings: s},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: rigKey, CreatedAt: r.now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// entry is one payload as the inbox gives it, a second after the one before.
func (r *rig) entry(body string) *gateway.Entry {
	r.t.Helper()
	r.seq++
	p, _, err := gateway.ParsePayload([]byte(body))
	if err != nil {
		r.t.Fatalf("%s: %v", body, err)
	}
	return &gateway.Entry{Seq: r.seq, At: r.now.Add(time.Duration(r.seq) * time.Second), WorkspaceID: r.w, IP: "192.0.2.0", Body: []byte(body), Payload: p}
}

// renumber makes entries the next ones of the inbox; when they came stays.
func (r *rig) renumber(entries []*gateway.Entry) []*gateway.Entry {
	for _, e := range entries {
		r.seq++
		e.Seq = r.seq
	}
	return entries
}

// apply applies payloads as one batch.
func (r *rig) apply(bodies ...string) {
	r.t.Helper()
	entries := make([]*gateway.Entry, len(bodies))
	for i, b := range bodies {
		entries[i] = r.entry(b)
	}
	if err := r.g.Apply(context.Background(), entries); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) byCustomID(id string) *gateway.ContactView {
	r.t.Helper()
	c, err := r.store.ContactByCustomID(context.Background(), r.w, id)
	if err != nil {
		r.t.Fatalf("contact %q: %v", id, err)
	}
	return c
}

func (r *rig) byKey(key string) *gateway.ContactView {
	r.t.Helper()
	c, err := r.store.ContactByKey(context.Background(), r.w, key)
	if err != nil {
		r.t.Fatalf("key %q: %v", key, err)
	}
	return c
}

func attribute(c gateway.Attributes, name string) string {
	v, ok := c.Get(name)
	if !ok {
		return "absent"
	}
	return v.Raw
}

// page is a payload of the widget: fields of the civchat object, a message id
// and a key.
func page(id, key, fields string) string {
	return message("page", id, key, fields)
}

func message(kind, id, key, fields string) string {
	if fields != "" {
		fields += ","
	}
	if key != "" {
		key = fmt.Sprintf(`,"key":%q`, key)
	}
	return fmt.Sprintf(`{"apiKey":%q,%s"$":{"id":%q,"type":%q,"url":"https://acme.test/%s","name":"n"%s}}`, rigKey, fields, id, kind, id, key)
}

// TestSnippet is the main job: the documented snippet, anonymous first and
// logged in afterwards on the same browser.
func TestSnippet(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	r.apply(page("m1", "browser00001", ``), page("m2", "browser00001", ``))
	r.apply(page("m3", "browser00001", `"user_id":"42","name":"Ada Lovelace","email":"Ada@Acme.test","gender":2,"status":2,
		"date_attr":"2017-07-25","phone_number":"+48999888777","score":0,
		"company":{"name":"Acme","company_id":"c7","revenue":"$239.9 billion","employees":32}`))
	c := r.byCustomID("42")
	if c.PageViews != 3 {
		t.Errorf("%d page views, want the two from before the log-in too", c.PageViews)
	}
	if c.Key != "browser00001" || c.Email != "Ada@Acme.test" || c.EmailKey != "ada@acme.test" {
		t.Errorf("contact %+v", c.Contact)
	}
	for name, want := range map[string]string{
		"name": `"Ada Lovelace"`, "gender": "2", "status": "2", "score": "0", "date_attr": `"2017-07-25"`, "phone_number": `"+48999888777"`,
	} {
		if got := attribute(c.Attributes, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	if len(c.Companies) != 1 || c.Companies[0].CustomID != "c7" || !c.Companies[0].Primary || c.Companies[0].Source != gateway.SourceWidget {
		t.Fatalf("companies %+v", c.Companies)
	}
	co, err := r.store.CompanyByCustomID(context.Background(), r.w, "c7")
	if err != nil {
		t.Fatal(err)
	}
	if co.Name != "Acme" || attribute(co.Attributes, "revenue") != `"$239.9 billion"` || co.EmployeesCount != 1 {
		t.Errorf("company %+v", co)
	}
	if n, err := r.store.CountContacts(context.Background(), r.w); err != nil || n != 1 {
		t.Errorf("%d contacts, %v", n, err)
	}
	defs, err := r.store.AttributeDefs(context.Background(), r.w)
	if err != nil {
		t.Fatal(err)
	}
	types := make(map[string]gateway.Type)
	for _, d := range defs {
		types[string(d.Entity)+"."+d.Name] = d.Type
	}
	want := map[string]gateway.Type{"contact.date_attr": gateway.TypeDate, "company.revenue": gateway.TypeText, "company.employees": gateway.TypeNumber}
	if d := cmp.Diff(want, types); d != "" {
		t.Error(d)
	}
}

// TestMatrix walks the identity matrix through the whole apply step, a row a
// case: what the browser sent before, what it sends now, who that is.
func TestMatrix(t *testing.T) {
	t.Parallel()
	const (
		x = `"user_id":"x","email":"x@x.test"` // contact X
		e = `"email":"e@x.test"`               // contact known by e-mail only
	)
	for _, tt := range []struct {
		name   string
		before []string
		now    string
		// who the browser k1 belongs to afterwards, as "custom id|e-mail"
		want     string
		contacts int64 // that stand by themselves
		merges   int
		views    int64 // of that contact
	}{
		{"U known, C anonymous", []string{page("a", "k2k2k2", x), page("b", "k1k1k1", "")}, page("c", "k1k1k1", `"user_id":"x"`), "x|x@x.test", 1, 1, 3},
		{"U known, C another", []string{page("a", "k2k2k2", x), page("b", "k1k1k1", `"user_id":"y"`)}, page("c", "k1k1k1", `"user_id":"x"`), "x|x@x.test", 2, 0, 2},
		{"U known, no C", []string{page("a", "k2k2k2", x)}, page("c", "k1k1k1", `"user_id":"x"`), "x|x@x.test", 1, 0, 2},
		{"U known, C is X", []string{page("a", "k1k1k1", x)}, page("c", "k1k1k1", `"user_id":"x"`), "x|x@x.test", 1, 0, 2},
		{"U new, C anonymous", []string{page("a", "k1k1k1", "")}, page("c", "k1k1k1", `"user_id":"x"`), "x|", 1, 0, 2},
		{"U new, C by e-mail, E absent", []string{page("a", "k1k1k1", e)}, page("c", "k1k1k1", `"user_id":"x"`), "x|e@x.test", 1, 0, 2},
		{"U new, C by e-mail, E equal", []string{page("a", "k1k1k1", e)}, page("c", "k1k1k1", `"user_id":"x","email":"E@X.test"`), "x|E@X.test", 1, 0, 2},
		{"U new, no C", nil, page("c", "k1k1k1", x), "x|x@x.test", 1, 0, 1},
		{"U new, C has another user_id", []string{page("a", "k1k1k1", x)}, page("c", "k1k1k1", `"user_id":"z"`), "z|", 2, 0, 1},
		{"U new, C has another e-mail", []string{page("a", "k1k1k1", e)}, page("c", "k1k1k1", `"user_id":"z","email":"z@x.test"`), "z|z@x.test", 2, 0, 1},
		{"E, C itself has it", []string{page("a", "k1k1k1", e), page("b", "k2k2k2", `"user_id":"x","email":"e@x.test"`)}, page("c", "k1k1k1", e), "|e@x.test", 2, 0, 2},
		{"E known, C anonymous", []string{page("a", "k2k2k2", e), page("b", "k1k1k1", "")}, page("c", "k1k1k1", e), "|e@x.test", 1, 1, 3},
		{"E known, C another", []string{page("a", "k2k2k2", e), page("b", "k1k1k1", x)}, page("c", "k1k1k1", e), "|e@x.test", 2, 0, 2},
		{"E known, no C", []string{page("a", "k2k2k2", e)}, page("c", "k1k1k1", e), "|e@x.test", 1, 0, 2},
		{"E new, C anonymous", []string{page("a", "k1k1k1", "")}, page("c", "k1k1k1", e), "|e@x.test", 1, 0, 2},
		{"E new, no C", nil, page("c", "k1k1k1", e), "|e@x.test", 1, 0, 1},
		{"E new, C has a user_id", []string{page("a", "k1k1k1", x)}, page("c", "k1k1k1", e), "x|e@x.test", 1, 0, 2},
		{"E new, C by e-mail only", []string{page("a", "k1k1k1", e)}, page("c", "k1k1k1", `"email":"z@x.test"`), "|z@x.test", 2, 0, 1},
		{"neither, C", []string{page("a", "k1k1k1", x)}, page("c", "k1k1k1", ""), "x|x@x.test", 1, 0, 2},
		{"neither, none", nil, page("c", "k1k1k1", ""), "|", 1, 0, 1},
	} {
		for _, batches := range []string{"one batch", "a batch each"} {
			t.Run(tt.name+", "+batches, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 1000)
				all := append(slices.Clone(tt.before), tt.now)
				if batches == "one batch" {
					r.apply(all...)
				} else {
					for _, b := range all {
						r.apply(b)
					}
				}
				ctx := context.Background()
				c := r.byKey("k1k1k1")
				if got := c.CustomID + "|" + c.Email; got != tt.want {
					t.Errorf("the browser is %s, want %s", got, tt.want)
				}
				if c.PageViews != tt.views {
					t.Errorf("%d page views, want %d", c.PageViews, tt.views)
				}
				if n, err := r.store.CountContacts(ctx, r.w); err != nil || n != tt.contacts {
					t.Errorf("%d contacts, want %d (%v)", n, tt.contacts, err)
				}
				merges, err := r.store.Merges(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 10})
				if err != nil || len(merges) != tt.merges {
					t.Errorf("%d merges, want %d (%v)", len(merges), tt.merges, err)
				}
				for _, m := range merges {
					if !json.Valid([]byte(m.Before)) || !json.Valid([]byte(m.After)) || !strings.Contains(m.Before, `"k1k1k1"`) {
						t.Errorf("journal entry %+v", m)
					}
					// The one that was merged away finds the survivor.
					if a, err := r.store.Contact(ctx, r.w, m.LoserID); err != nil || a.ID != c.ID {
						t.Errorf("alias %d leads to %+v, %v", m.LoserID, a, err)
					}
				}
			})
		}
	}
}

func TestWithoutKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := newRig(t, 1000)
	r.apply(message("update", "a", "", `"user_id":"x"`), message("update", "b", "", `"user_id":"x","plan":"pro"`), page("c", "", ""))
	c := r.byCustomID("x")
	if len(c.Key) != 12 {
		t.Errorf("the contact's key is %q, want one of the server's making", c.Key)
	}
	if keys, err := r.store.VisitorKeys(ctx, r.w, c.ID, 10); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v", keys, err)
	}
	if c.PageViews != 0 || attribute(c.Attributes, "plan") != `"pro"` {
		t.Errorf("contact %+v", c)
	}
	if n, err := r.store.Visits(ctx, r.w); err != nil || n != 1 {
		t.Errorf("%d visits of nobody, %v", n, err)
	}
	if n, err := r.store.CountContacts(ctx, r.w); err != nil || n != 1 {
		t.Errorf("%d contacts, %v", n, err)
	}
}

func TestAttributeRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		payloads []string
		attr     string
		want     string
	}{
		{"absent keeps", []string{`"plan":"pro"`, `"seats":3`}, "plan", `"pro"`},
		{"null clears", []string{`"plan":"pro"`, `"plan":null`}, "plan", "absent"},
		{"empty is a value", []string{`"plan":"pro"`, `"plan":""`}, "plan", `""`},
		{"0 is a value", []string{`"seats":3`, `"seats":0`}, "seats", "0"},
		{"false is a value", []string{`"beta":true`, `"beta":false`}, "beta", "false"},
		{"converted to its type", []string{`"seats":3`, `"seats":"4"`}, "seats", "4"},
		{"what can't be converted is left out", []string{`"seats":3`, `"seats":"many"`}, "seats", "3"},
		{"tags are added", []string{`"tags":"a,b"`, `"tags":["b","c"]`}, "tags", `["a","b","c"]`},
		{"name from its parts", []string{`"first_name":"Ada"`, `"last_name":"Lovelace"`}, "name", `"Ada Lovelace"`},
		{"a name of its own stays", []string{`"name":"The Countess","first_name":"Ada"`}, "name", `"The Countess"`},
		{"null clears e-mail of a known contact", []string{`"email":"a@b.test"`, `"email":null`}, "email", "absent"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 1000)
			for i, fields := range tt.payloads {
				r.apply(page(fmt.Sprint("m", i), "k1k1k1", `"user_id":"x",`+fields))
			}
			c := r.byCustomID("x")
			got := attribute(c.Attributes, tt.attr)
			if tt.attr == "email" && c.Email != "" {
				got = c.Email
			}
			if got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestCompanies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, tt := range []struct {
		name     string
		payloads []string
		want     string // companies of contact x: custom id/name/source, the primary one with *
		all      int64
	}{
		{"by id", []string{`"company":{"company_id":"c7","name":"Acme"}`}, "*c7/Acme", 1},
		{"a second one stays second", []string{`"company":{"company_id":"c7"}`, `"company":{"company_id":"c8"}`}, "*c7/ c8/", 2},
		{"several at once", []string{`"companies":[{"company_id":"c7"},{"company_id":"c8"},{"company_id":"c7"}]`}, "*c7/ c8/", 2},
		{"renamed", []string{`"company":{"company_id":"c7","name":"Acme"}`, `"company":{"company_id":"c7","name":"Acme Corp"}`}, "*c7/Acme Corp", 1},
		{"name only", []string{`"company":{"name":"Acme"}`, `"company":{"name":"Acme","size":3}`}, "*/Acme", 1},
		{"name of one of the contact's own", []string{`"company":{"company_id":"c7","name":"Acme"}`, `"company":{"name":"Acme"}`}, "*c7/Acme", 1},
		{"another's company with an id is not found by name", []string{`"user_id":"y","company":{"company_id":"c7","name":"Acme"}`, `"company":{"name":"Acme"}`}, "*/Acme", 2},
		{"another's company without an id is", []string{`"user_id":"y","company":{"name":"Acme"}`, `"company":{"name":"Acme"}`}, "*/Acme", 1},
		{"attributes only, one company", []string{`"company":{"company_id":"c7"}`, `"company":{"size":3}`}, "*c7/", 1},
		{"attributes only, no company", []string{`"company":{"size":3}`}, "", 0},
		{"null ends the widget's links", []string{`"company":{"company_id":"c7"}`, `"company":null`}, "", 1},
		{"and they can come back", []string{`"company":{"company_id":"c7"}`, `"company":null`, `"company":{"company_id":"c7"}`}, "*c7/", 1},
	} {
		for _, batches := range []string{"one batch", "a batch each"} {
			t.Run(tt.name+", "+batches, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, 1000)
				var all []string
				for i, fields := range tt.payloads {
					if !strings.Contains(fields, "user_id") {
						fields = `"user_id":"x",` + fields
					}
					all = append(all, message("update", fmt.Sprint("m", i), "", fields))
				}
				if batches == "one batch" {
					r.apply(all...)
				} else {
					for _, b := range all {
						r.apply(b)
					}
				}
				var got []string
				for _, c := range r.byCustomID("x").Companies {
					s := c.CustomID + "/" + c.Name
					if c.Primary {
						s = "*" + s
					}
					got = append(got, s)
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("companies %q, want %q", s, tt.want)
				}
				if n, err := r.store.CountCompanies(ctx, r.w); err != nil || n != tt.all {
					t.Errorf("%d companies, want %d (%v)", n, tt.all, err)
				}
			})
		}
	}
}

// TestManualLinkStays holds the widget to its own links.
func TestManualLinkStays(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := newRig(t, 1000)
	r.apply(message("update", "a", "", `"user_id":"x","company":{"company_id":"c7"}`), message("update", "b", "", `"user_id":"y","company":{"company_id":"c8"}`))
	x := r.byCustomID("x")
	c8, err := r.store.CompanyByCustomID(ctx, r.w, "c8")
	if err != nil {
		t.Fatal(err)
	}
	err = r.store.Update(ctx, func(tx gateway.Tx) error {
		return tx.Save(r.w, &gateway.Changes{NewMemberships: []gateway.Membership{{
			WorkspaceID: r.w, ContactID: x.ID, CompanyID: c8.ID, Source: gateway.SourceManual, Since: r.now,
		}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	r.apply(message("update", "c", "", `"user_id":"x","company":null`))
	got := r.byCustomID("x").Companies
	if len(got) != 1 || got[0].CustomID != "c8" || got[0].Source != gateway.SourceManual || !got[0].Primary {
		t.Errorf("companies %+v, want the one made by hand, now primary", got)
	}
}

// TestRush sends 100 new people of one new company at the same moment through
// the whole way.
func TestRush(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	r := newRig(t, 1000)
	var run sync.WaitGroup
	run.Go(func() {
		if err := r.g.Run(ctx); ctx.Err() == nil {
			t.Error(err)
		}
	})
	defer run.Wait()
	defer cancel()
	var people sync.WaitGroup
	for i := range 100 {
		people.Go(func() {
			body := page(fmt.Sprint("m", i), fmt.Sprintf("rush%08d", i), fmt.Sprintf(`"user_id":"u%d","company":{"company_id":"new","name":"New"}`, i))
			results, _, err := r.g.Accept(ctx, gateway.Request{Body: []byte(body)})
			if err != nil || results[0].Err != nil {
				t.Errorf("%v %v", err, results)
			}
		})
	}
	people.Wait()
	for r.g.Pending() > 0 {
		<-r.g.Changed()
	}
	co, err := r.store.CompanyByCustomID(ctx, r.w, "new")
	if err != nil || co.EmployeesCount != 100 || len(co.Employees) != 100 {
		t.Errorf("%+v, %v", co, err)
	}
	contacts, err := r.store.CountContacts(ctx, r.w)
	companies, err2 := r.store.CountCompanies(ctx, r.w)
	if err != nil || err2 != nil || contacts != 100 || companies != 1 {
		t.Errorf("%d contacts, %d companies, %v, %v", contacts, companies, err, err2)
	}
}

// TestUnchangedWritesNothing is the promise of the identity cache: a returning
// contact with an unchanged payload costs only its page view.
func TestUnchangedWritesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	fields := `"user_id":"x","email":"x@x.test","plan":"pro","company":{"company_id":"c7","name":"Acme"}`
	r.apply(page("a", "k1k1k1", fields))
	before := r.byCustomID("x")
	r.apply(page("b", "k1k1k1", fields))
	r.apply(page("c", "k1k1k1", ""))
	r.apply(page("d", "k1k1k1", fields), page("d", "k1k1k1", fields))
	after := r.byCustomID("x")
	if after.PageViews != 4 {
		t.Errorf("%d page views, want 4", after.PageViews)
	}
	before.Activity, after.Activity = gateway.Activity{}, gateway.Activity{}
	if d := cmp.Diff(before, after); d != "" {
		t.Errorf("an unchanged payload changed the contact (-before +after):\n%s", d)
	}
}

// TestPoison sets aside what can't be applied and goes on with the rest.
func TestPoison(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	r := newRigWith(t, 1000, gateway.DefaultSettings(), zap.NewNop())
	in := &listInbox{}
	g := gateway.New(gateway.Config{Store: r.store, Inbox: in, Cache: cache.New(100), Log: zap.NewNop()})
	for i := range 5 {
		e := r.entry(page(fmt.Sprint("m", i), "k1k1k1", fmt.Sprintf(`"user_id":"u%d"`, i)))
		if i == 2 {
			e.Payload, e.Body = nil, []byte(`{"apiKey":`) // a file that a bad disk changed
		}
		in.entries = append(in.entries, e)
	}
	done := make(chan error)
	go func() { done <- g.Run(ctx) }()
	for in.done() < 5 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-done
	for _, i := range []int{0, 1, 3, 4} {
		r.byCustomID(fmt.Sprint("u", i))
	}
	q, err := r.store.Quarantine(context.Background(), r.w, 10)
	if err != nil || len(q) != 1 || string(q[0].Body) != `{"apiKey":` || q[0].Reason == "" {
		t.Errorf("quarantine %+v, %v", q, err)
	}
}

// listInbox gives out prepared entries.
type listInbox struct {
	gateway.Inbox
	mu      sync.Mutex
	entries []*gateway.Entry
	applied int64
}

func (l *listInbox) Next(ctx context.Context, limit int) ([]*gateway.Entry, error) {
	l.mu.Lock()
	out := l.entries
	l.entries = nil
	l.mu.Unlock()
	if out == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return out, nil
}

func (l *listInbox) Applied(seq int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.applied = seq
}

func (l *listInbox) done() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// TestAnySplit is the property on which everything rests: the same payloads in
// the same order end in the same state, however they are cut into batches,
// whatever is repeated, and whether the cache remembers anything.
func TestAnySplit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 25).Draw(rt, "payloads")
		bodies := make([]string, n)
		for i := range bodies {
			bodies[i] = drawPayload(rt, fmt.Sprint("m", i), "")
		}
		one := newRig(t, 1000)
		one.apply(bodies...)
		want := one.dump()

		two := newRig(t, rapid.SampledFrom([]int{1, 1000}).Draw(rt, "cache"))
		for rest := two.entries(bodies); len(rest) > 0; {
			k := rapid.IntRange(1, len(rest)).Draw(rt, "batch")
			if err := two.g.Apply(context.Background(), two.renumber(rest[:k])); err != nil {
				rt.Fatal(err)
			}
			if rapid.Bool().Draw(rt, "again") { // a client that saw no answer
				again := two.entries(bodies[:n-len(rest)+k])
				if err := two.g.Apply(context.Background(), again); err != nil {
					rt.Fatal(err)
				}
			}
			rest = rest[k:]
		}
		if d := cmp.Diff(want, two.dump()); d != "" {
			rt.Fatalf("payloads:\n%s\nin one batch (-) and in several (+):\n%s", strings.Join(bodies, "\n"), d)
		}
	})
}

// TestAnyInterleaving: the payloads of two groups of people who share nothing
// may come in any order as long as each group's own order is kept.
func TestAnyInterleaving(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var groups [2][]string
		for g, suffix := range []string{"-l", "-r"} {
			for i := range rapid.IntRange(1, 12).Draw(rt, "payloads") {
				groups[g] = append(groups[g], drawPayload(rt, fmt.Sprint("m", i, suffix), suffix))
			}
		}
		one, two := newRig(t, 1000), newRig(t, 1000)
		one.apply(slices.Concat(groups[0], groups[1])...)
		var mixed []string
		for len(groups[0])+len(groups[1]) > 0 {
			g := rapid.IntRange(0, 1).Draw(rt, "next")
			if len(groups[g]) == 0 {
				g = 1 - g
			}
			mixed = append(mixed, groups[g][0])
			groups[g] = groups[g][1:]
		}
		two.apply(mixed...)
		if d := cmp.Diff(one.people(), two.people()); d != "" {
			rt.Fatalf("one after the other (-) and mixed (+):\n%s\n%s", strings.Join(mixed, "\n"), d)
		}
	})
}

// drawPayload draws one payload of a small world, so that people, browsers and
// companies meet often.
func drawPayload(rt *rapid.T, id, suffix string) string {
	var fields []string
	add := func(name string, values ...string) {
		if v := rapid.SampledFrom(values).Draw(rt, name); v != "" {
			fields = append(fields, fmt.Sprintf("%q:%s", name, v))
		}
	}
	q := func(s string) string { return fmt.Sprintf("%q", s+suffix) }
	add("user_id", "", "", q("u1"), q("u2"))
	add("email", "", "", q("a@x.test"), q("b@x.test"), "null")
	// The first value decides on an attribute's type for all contacts: groups
	// that are to share nothing can't share an attribute either.
	add("plan"+suffix, "", `"free"`, `"pro"`, "null", "5")
	add("first_name", "", "", `"Ada"`, `"Bob"`)
	add("tags", "", "", `"a,b"`, `["c"]`)
	add("company", "", "", "{\"company_id\":"+q("c1")+",\"size\":1}", "{\"company_id\":"+q("c1")+",\"size\":2}",
		"{\"company_id\":"+q("c2")+"}", "{\"name\":"+q("Acme")+"}", `{"size":7}`, "null")
	key := rapid.SampledFrom([]string{"browser1", "browser2", "browser3"}).Draw(rt, "key") + strings.TrimPrefix(suffix, "-")
	kind := rapid.SampledFrom([]string{"page", "page", "event", "update", "reset"}).Draw(rt, "type")
	return message(kind, id, key, strings.Join(fields, ","))
}

func (r *rig) entries(bodies []string) []*gateway.Entry {
	out := make([]*gateway.Entry, len(bodies))
	for i, b := range bodies {
		out[i] = r.entry(b)
		// The time of acceptance belongs to the payload, not to the attempt.
		out[i].At = r.now.Add(time.Duration(i+1) * time.Second)
	}
	return out
}

// dump is all that is stored, row for row.
func (r *rig) dump() any {
	r.t.Helper()
	ctx := context.Background()
	type row struct {
		Contact *gateway.ContactView
		Keys    []gateway.VisitorKey
		Pages   []gateway.PageView
		Events  []gateway.Event
		Merges  []gateway.Merge
	}
	var rows []row
	contacts, err := r.store.Contacts(ctx, r.w, 0, 1000)
	r.check(err)
	for _, c := range contacts {
		x := row{Contact: c}
		x.Keys, err = r.store.VisitorKeys(ctx, r.w, c.ID, 100)
		r.check(err)
		x.Pages, err = r.store.PageViews(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		x.Events, err = r.store.Events(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		for i := range x.Pages {
			x.Pages[i].ID = 0 // in the order in which they were written
		}
		for i := range x.Events {
			x.Events[i].ID = 0
		}
		x.Merges, err = r.store.Merges(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		rows = append(rows, x)
	}
	companies, err := r.store.Companies(ctx, r.w, 0, 1000)
	r.check(err)
	defs, err := r.store.AttributeDefs(ctx, r.w)
	r.check(err)
	return []any{rows, companies, defs}
}

// people is what is stored without ids and times, by who it is about.
func (r *rig) people() map[string]string {
	r.t.Helper()
	ctx := context.Background()
	contacts, err := r.store.Contacts(ctx, r.w, 0, 1000)
	r.check(err)
	out := make(map[string]string)
	for _, c := range contacts {
		keys, err := r.store.VisitorKeys(ctx, r.w, c.ID, 100)
		r.check(err)
		var names []string
		for _, k := range keys {
			names = append(names, k.Key)
		}
		slices.Sort(names)
		pages, err := r.store.PageViews(ctx, r.w, c.ID, gateway.HistoryQuery{Limit: 1000})
		r.check(err)
		var urls []string
		for _, p := range pages {
			urls = append(urls, p.URL)
		}
		slices.Sort(urls)
		var companies []string
		for _, m := range c.Companies {
			companies = append(companies, fmt.Sprint(m.CustomID, "/", m.Name, "/", m.Primary))
		}
		slices.Sort(companies)
		out[fmt.Sprint(c.CustomID, c.EmailKey, names)] = fmt.Sprint(c.Attributes, c.Key, urls, companies)
	}
	companies, err := r.store.Companies(ctx, r.w, 0, 1000)
	r.check(err)
	for _, c := range companies {
		out["company "+c.CustomID+c.Name] = fmt.Sprint(c.Attributes, c.EmployeesCount)
	}
	return out
}

func (r *rig) check(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
