package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// inspected is a gateway whose inspector notes.
type inspected struct {
	*rig
}

// newInspected builds one over a database; change may change what it is built from.
func newInspected(t testing.TB, database string, s gateway.Settings, o inbox.Options, change func(c *gateway.Config)) *inspected {
	t.Helper()
	ctx := context.Background()
	st, err := store.Open(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.Open(ctx, filepath.Join(t.TempDir(), "inbox"), 0, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, store: st, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	c := gateway.Config{Store: st, Inbox: in, Cache: cache.New(1000), Log: zap.NewNop(), Inspect: true, Now: func() time.Time { return r.now }}
	if change != nil {
		change(&c)
	}
	r.g = gateway.New(c)
	if r.w, err = st.CreateWorkspace(ctx, gateway.Workspace{Name: "test", CreatedAt: r.now, Settings: s}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: rigKey, CreatedAt: r.now}); err != nil {
		t.Fatal(err)
	}
	return &inspected{r}
}

func sqliteFile(t testing.TB) string { return filepath.Join(t.TempDir(), "civgate.db") }

// inspectedOnBoth runs a test over SQLite and over PostgreSQL.
func inspectedOnBoth(t *testing.T, test func(t *testing.T, r *inspected)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, nil))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newInspected(t, pgtest.Shared(t).NewDatabase(t), gateway.DefaultSettings(), inbox.Options{}, nil))
	})
}

// write has the inspector write what it holds, as it does when it is stopped.
func (r *inspected) write() {
	r.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.g.RunInspector(ctx); !errors.Is(err, context.Canceled) {
		r.t.Fatal(err)
	}
}

// seen is what the inspector shows, newest first, after writing.
func (r *inspected) seen() []gateway.InspectionView {
	r.t.Helper()
	r.write()
	return r.shown(r.w)
}

func (r *inspected) shown(w gateway.WorkspaceID) []gateway.InspectionView {
	r.t.Helper()
	all, err := r.store.Inspections(context.Background(), w, gateway.InspectionQuery{Limit: gateway.KeptInspections})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// accept posts a body that must be answered with a code.
func (r *inspected) accept(body, origin string, want gateway.Code) {
	r.t.Helper()
	results, _, err := r.g.Accept(context.Background(), gateway.Request{Body: []byte(body), Origin: origin})
	if err == nil && len(results) == 1 && results[0].Err != nil {
		err = results[0].Err
	}
	if got := gateway.CodeOf(err); got != want {
		r.t.Fatalf("%.100s: %q (%v), want %q", body, got, err, want)
	}
}

// summary is a change in short: contacts and companies by name, as their ids differ.
func summary(c gateway.Change) string {
	switch c.What {
	case gateway.ChangeContact, gateway.ChangeMerge, gateway.ChangeKey, gateway.ChangeLinked, gateway.ChangeLeft:
		c.Before, c.After = "", ""
	case gateway.ChangeCompany:
		if c.Name == "" {
			c.After = ""
		}
	}
	s := string(c.What)
	for _, part := range []string{c.Subject, c.Name} {
		if part != "" {
			s += " " + part
		}
	}
	if c.Before != "" || c.After != "" {
		s += ": " + c.Before + " > " + c.After
	}
	return s
}

// TestInspectorShowsWhatPayloadsDo: verdict, rule and changes of everything that a
// browser can do.
func TestInspectorShowsWhatPayloadsDo(t *testing.T) {
	t.Parallel()
	acme := `"company":{"company_id":"c7","name":"Acme"}`
	for _, c := range []struct {
		name    string
		before  []string
		now     string
		verdict gateway.Verdict
		rule    gateway.Rule
		changes []string
	}{
		{"new visitor", nil, page("x", "k1k1k1", ""), gateway.VerdictAccepted, gateway.RuleNew, []string{"contact", "key k1k1"}},
		{"nothing new", []string{page("a", "k1k1k1", `"plan":"pro"`)}, page("x", "k1k1k1", `"plan":"pro"`), gateway.VerdictAccepted, gateway.RuleKeep, nil},
		{"nothing new without a key", []string{message("update", "a", "", `"user_id":"u"`)}, message("update", "x", "", `"user_id":"u"`), gateway.VerdictAccepted, gateway.RuleFoundByID, nil},
		{"attributes", []string{page("a", "k1k1k1", `"plan":"free","old":1`)}, page("x", "k1k1k1", `"plan":"pro","old":null,"seats":3`), gateway.VerdictAccepted, gateway.RuleKeep,
			[]string{"attribute old: 1 > ", `attribute plan: "free" > "pro"`, "attribute seats:  > 3"}},
		{"gets an id", []string{page("a", "k1k1k1", "")}, page("x", "k1k1k1", `"user_id":"u","email":"U@x.test"`), gateway.VerdictAccepted, gateway.RuleAssignID, []string{`user_id:  > "u"`, `email:  > "U@x.test"`}},
		{"e-mail changes", []string{page("a", "k1k1k1", `"user_id":"u","email":"a@x.test"`)}, page("x", "k1k1k1", `"user_id":"u","email":"b@x.test"`), gateway.VerdictAccepted, gateway.RuleKeep,
			[]string{`email: "a@x.test" > "b@x.test"`}},
		{"merge", []string{page("a", "k2k2k2", `"user_id":"u"`), page("b", "k1k1k1", `"plan":"pro"`)}, page("x", "k1k1k1", `"user_id":"u"`), gateway.VerdictMerged, gateway.RuleMergeByID,
			[]string{"merge", `attribute plan:  > "pro"`}},
		{"switch", []string{page("a", "k2k2k2", `"user_id":"u"`), page("b", "k1k1k1", `"user_id":"v"`)}, page("x", "k1k1k1", `"user_id":"u"`), gateway.VerdictSwitched, gateway.RuleSwitchByID, []string{"key k1k1"}},
		{"somebody else", []string{page("b", "k1k1k1", `"user_id":"v"`)}, page("x", "k1k1k1", `"user_id":"u"`), gateway.VerdictSwitched, gateway.RuleNewOnBrowser, []string{"contact", "key k1k1", `user_id:  > "u"`}},
		{"repeat", []string{page("x", "k1k1k1", "")}, page("x", "k1k1k1", `"plan":"pro"`), gateway.VerdictRepeat, "", nil},
		{"partly", nil, page("x", "k1k1k1", `"email":"nonsense"`), gateway.VerdictPartly, gateway.RuleNew, []string{"contact", "key k1k1"}},
		{"partly for its type", []string{page("a", "k1k1k1", `"seats":1`)}, page("x", "k1k1k1", `"seats":"many"`), gateway.VerdictPartly, gateway.RuleKeep, nil},
		{"company", []string{page("a", "k1k1k1", `"user_id":"u"`)}, page("x", "k1k1k1", `"user_id":"u",`+acme), gateway.VerdictAccepted, gateway.RuleKeep, []string{"company Acme", "linked Acme"}},
		{"company's attributes", []string{page("a", "k1k1k1", `"user_id":"u",`+acme)}, page("x", "k1k1k1", `"user_id":"u","company":{"company_id":"c7","name":"Acme Ltd","seats":5}`), gateway.VerdictAccepted, gateway.RuleKeep,
			[]string{`company Acme Ltd name: "Acme" > "Acme Ltd"`, "company Acme Ltd seats:  > 5"}},
		{"leaves", []string{page("a", "k1k1k1", `"user_id":"u",`+acme)}, page("x", "k1k1k1", `"user_id":"u","company":null`), gateway.VerdictAccepted, gateway.RuleKeep, []string{"left #"}},
		{"nobody", nil, message("page", "x", "", ""), gateway.VerdictAccepted, "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inspectedOnBoth(t, func(t *testing.T, r *inspected) {
				r.apply(c.before...)
				r.apply(c.now)
				all := r.seen()
				if len(all) != len(c.before)+1 {
					t.Fatalf("%d are shown, want %d", len(all), len(c.before)+1)
				}
				got := all[0]
				var changes []string
				for _, x := range got.Detail.Changes {
					s := summary(x)
					if strings.HasPrefix(s, "left #") {
						s = "left #" // its company was not loaded
					}
					changes = append(changes, s)
				}
				if got.Verdict != c.verdict || got.Detail.Rule != c.rule {
					t.Errorf("%s by %s, want %s by %s", got.Verdict, got.Detail.Rule, c.verdict, c.rule)
				}
				if d := cmp.Diff(c.changes, changes, cmpopts.EquateEmpty()); d != "" {
					t.Error(d)
				}
				if (c.verdict == gateway.VerdictPartly) != (len(got.Detail.Warnings) > 0) {
					t.Errorf("warnings %v", got.Detail.Warnings)
				}
				if strings.Contains(got.Detail.Payload, rigKey) || !strings.Contains(got.Detail.Payload, `"id":"x"`) {
					t.Errorf("the payload is shown as %s", got.Detail.Payload)
				}
				if key := strings.Contains(c.now, `"key"`); key && c.verdict != gateway.VerdictRepeat && (got.ContactID != r.byKey("k1k1k1").ID || got.Survivor != got.ContactID) {
					t.Errorf("it is contact %d's, survivor %d", got.ContactID, got.Survivor)
				}
			})
		})
	}
}

// TestInspectorShowsRefusals: every code that POST /ingest answers.
func TestInspectorShowsRefusals(t *testing.T) {
	t.Parallel()
	inspectedOnBoth(t, func(t *testing.T, r *inspected) { testRefusals(t, r) })
}

func testRefusals(t *testing.T, r *inspected) {
	ctx := context.Background()
	settings := gateway.DefaultSettings()
	settings.Origins, settings.VerifyIdentity, settings.IdentitySecret = []string{"acme.test"}, true, "s"
	if err := r.store.UpdateSettings(ctx, r.w, settings); err != nil {
		t.Fatal(err)
	}
	var want []string
	add := func(code gateway.Code, payload string) { want = append(want, string(code)+" "+payload) }

	r.accept(`{"apiKey":"`+rigKey+`","a":}`, "", gateway.CodeInvalidPayload)
	add(gateway.CodeInvalidPayload, `{"apiKey":"…","a":}`)
	r.accept(``, "", gateway.CodeInvalidPayload)
	add(gateway.CodeInvalidPayload, "")
	r.accept(`[{"apiKey":"`+rigKey+`"},`, "", gateway.CodeInvalidPayload)
	add(gateway.CodeInvalidPayload, `[{"apiKey":"…"},`)
	r.accept(`{"apiKey":"`+rigKey+`","a":"`+strings.Repeat("x", gateway.MaxPayload)+`"}`, "", gateway.CodeTooLarge)
	add(gateway.CodeTooLarge, `{"apiKey":"…","a":"`+strings.Repeat("x", 8<<10-len(`{"apiKey":"…","a":"`)))
	r.accept(`{"apiKey":"NOBODY","plan":"pro"}`, "", gateway.CodeUnknownAPIKey)
	add(gateway.CodeUnknownAPIKey, `{"plan":"pro"}`)
	r.accept(`{"apiKey":"`+rigKey+`","plan":"pro"}`, "https://evil.test", gateway.CodeOriginNotAllowed)
	add(gateway.CodeOriginNotAllowed, `{"plan":"pro"}`)
	r.accept(`{"apiKey":"`+rigKey+`","email":"a@b.test","user_hash":"abc"}`, "", gateway.CodeNotVerified)
	add(gateway.CodeNotVerified, `{"email":"a@b.test"}`)
	r.g.Refused(gateway.Refusal{Err: gateway.Errorf(gateway.CodeRateLimited, "slow down")})
	add(gateway.CodeRateLimited, "")
	// What is wrapped, or is no error of the gateway's, has the code that is answered.
	r.g.Refused(gateway.Refusal{Err: fmt.Errorf("reading: %w", gateway.Errorf(gateway.CodeTooLarge, "send less"))})
	add(gateway.CodeTooLarge, "")
	r.g.Refused(gateway.Refusal{Err: context.DeadlineExceeded})
	add(gateway.CodeUnavailable, "")

	all := r.seen()
	var got []string
	for i := len(all) - 1; i >= 0; i-- {
		v := all[i]
		if v.Verdict != gateway.VerdictRefused || v.Detail.Reason == "" || v.Node != "local" || !v.At.Equal(r.now) {
			t.Errorf("%+v", v)
		}
		if strings.Contains(v.Detail.Payload, rigKey) || strings.Contains(v.Detail.Payload, "abc") {
			t.Errorf("a secret is shown: %s", v.Detail.Payload)
		}
		got = append(got, strings.TrimSuffix(string(v.Code)+" "+v.Detail.Payload, " "))
	}
	for i := range want {
		want[i] = strings.TrimSuffix(want[i], " ")
	}
	less := func(a, b string) bool { return a < b }
	if d := cmp.Diff(want, got, cmpopts.SortSlices(less)); d != "" {
		t.Error(d)
	}
	if all := r.shown(0); len(all) > 0 {
		t.Errorf("the only workspace doesn't get all: %+v", all)
	}

	// With a second workspace a stranger's is nobody's.
	if _, err := r.store.CreateWorkspace(ctx, gateway.Workspace{Name: "second", CreatedAt: r.now}); err != nil {
		t.Fatal(err)
	}
	r.accept(`{"apiKey":"NOBODY","plan":"secret"}`, "https://other.test", gateway.CodeUnknownAPIKey)
	r.accept(`{"apiKey":"`+rigKey+`","a":}`, "", gateway.CodeInvalidPayload) // shows whose it is
	if n := len(r.seen()); n != len(want)+1 {
		t.Errorf("%d of the workspace's own, want %d", n, len(want)+1)
	}
	nobody := r.shown(0)
	if len(nobody) != 1 || nobody[0].Code != gateway.CodeUnknownAPIKey || nobody[0].Detail.Reason == "" {
		t.Fatalf("nobody's: %+v", nobody)
	}
	if d := nobody[0].Detail; d.Payload+d.Origin+d.About != "" || d.Size != 0 {
		t.Errorf("what a stranger sent is shown to all: %+v", d)
	}
}

// TestInspectorShowsLimits: what the limit of a key refuses, and what a full inbox does.
func TestInspectorShowsLimits(t *testing.T) {
	t.Parallel()
	limiter := cache.NewLimiter(map[string]cache.Limit{"key": {PerSecond: 0.001, Burst: 1}}, 10, time.Now)
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, func(c *gateway.Config) { c.Limiter = limiter })
	r.accept(page("a", "k1k1k1", ""), "", "")
	r.accept(page("b", "k1k1k1", ""), "", gateway.CodeRateLimited)
	if all := r.seen(); len(all) != 1 || all[0].Code != gateway.CodeRateLimited || all[0].Detail.Type != "page" || all[0].Detail.About != "/b" {
		t.Errorf("limited: %+v", all)
	}

	r = newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{MaxPending: 1}, nil)
	r.accept(page("a", "k1k1k1", ""), "", "")
	r.accept(page("b", "k1k1k1", ""), "", gateway.CodeUnavailable)
	if all := r.seen(); len(all) != 1 || all[0].Code != gateway.CodeUnavailable {
		t.Errorf("full: %+v", all)
	}
}

// TestInspectorShowsSetAside: what was accepted and can't be applied.
func TestInspectorShowsSetAside(t *testing.T) {
	t.Parallel()
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, nil)
	odd := &oddStore{Store: r.store}
	broken := true
	odd.before = func() {
		if broken {
			broken = false
			panic("odd")
		}
	}
	in, err := inbox.Open(t.Context(), filepath.Join(t.TempDir(), "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r.g = gateway.New(gateway.Config{Store: odd, Inbox: in, Cache: cache.New(10), Log: zap.NewNop(), Inspect: true})
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := r.g.Run(ctx); ctx.Err() == nil {
			t.Error(err)
		}
	})
	r.accept(page("a", "k1k1k1", `"plan":"pro"`), "", "")
	for r.g.Pending() > 0 {
		<-r.g.Changed()
	}
	cancel()
	run.Wait()
	all := r.seen()
	if len(all) != 1 || all[0].Verdict != gateway.VerdictRefused || all[0].Code != gateway.CodeInternal || !strings.Contains(all[0].Detail.Payload, "pro") {
		t.Errorf("%+v", all)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
}

// TestInspectorCounts: of a flood the newest are shown and all others counted; what is
// refused and what is applied don't hide each other.
func TestInspectorCounts(t *testing.T) {
	t.Parallel()
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, nil)
	const applied, refused = 3000, 500
	bodies := make([]string, applied)
	for i := range bodies {
		bodies[i] = page(fmt.Sprint("m", i), fmt.Sprintf("key%06d", i), "")
	}
	bodies = append(bodies, bodies[0], bodies[1], bodies[2])
	r.apply(bodies...)
	for range refused {
		r.accept(`{"apiKey":"`+rigKey+`",}`, "", gateway.CodeInvalidPayload)
	}
	shown := map[gateway.Verdict]int{}
	more := map[gateway.Code]int{}
	newest := ""
	for _, v := range r.seen() {
		shown[v.Verdict]++
		for code, n := range v.Detail.More {
			more[code] += n
		}
		if v.Verdict == gateway.VerdictAccepted && newest == "" {
			newest = v.Detail.About
		}
	}
	if n := shown[gateway.VerdictAccepted] + shown[gateway.VerdictRepeat] + more[""]; n != applied+3 || shown[gateway.VerdictRepeat] != 3 {
		t.Errorf("%d applied ones are told of, want %d: %v, %v", n, applied+3, shown, more)
	}
	if n := shown[gateway.VerdictRefused] + more[gateway.CodeInvalidPayload]; n != refused || shown[gateway.VerdictRefused] < 50 {
		t.Errorf("%d refused ones are told of, want %d: %v, %v", n, refused, shown, more)
	}
	if shown[gateway.VerdictAccepted] > 200 || newest != fmt.Sprintf("/m%d", applied-1) {
		t.Errorf("%d are shown, the newest is %s", shown[gateway.VerdictAccepted], newest)
	}
}

// failingStore fails an Update with what it is given, before it does anything.
type failingStore struct {
	*store.Store
	fails chan error
}

var errPanic = errors.New("panic")

func (s *failingStore) Update(ctx context.Context, fn func(gateway.Tx) error) error {
	select {
	case err := <-s.fails:
		if err == errPanic { //nolint:errorlint // this very one
			panic(err)
		}
		return err
	default:
		return s.Store.Update(ctx, fn)
	}
}

// TestInspectorWaits: while the database takes nothing the inspector says what waits,
// and shows it afterwards; what the database will never take is dropped.
func TestInspectorWaits(t *testing.T) {
	t.Parallel()
	fails := make(chan error, 1) // of the next attempt
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, func(c *gateway.Config) {
		c.Store, c.Log = &failingStore{c.Store.(*store.Store), fails}, zaptest.NewLogger(t)
	})
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	fails <- gateway.Errorf(gateway.CodeUnavailable, "the disk is full")
	r.accept(`{"apiKey":"`+rigKey+`",}`, "", gateway.CodeInvalidPayload)
	changed := r.g.Inspected()
	run.Go(func() { _ = r.g.RunInspector(ctx) }) // ends with ctx
	defer run.Wait()
	defer cancel()
	<-changed
	if d := cmp.Diff(map[gateway.Waiting]int{{Verdict: gateway.VerdictRefused, Code: gateway.CodeInvalidPayload}: 1}, r.g.InspectionsWaiting(r.w)); d != "" {
		t.Error(d)
	}
	for len(r.shown(r.w)) == 0 {
		<-changed
		changed = r.g.Inspected()
	}
	for r.g.InspectionsWaiting(r.w) != nil {
		<-changed
		changed = r.g.Inspected()
	}
	cancel()
	run.Wait()

	for _, fail := range []error{gateway.Errorf(gateway.CodeInvalid, "it doesn't like it"), errPanic} {
		fails <- fail
		r.accept(`{"apiKey":"`+rigKey+`",}`, "", gateway.CodeInvalidPayload)
		r.write()
	}
	if n := len(r.seen()); n != 1 || r.g.InspectionsWaiting(r.w) != nil {
		t.Errorf("%d are shown, %v wait", n, r.g.InspectionsWaiting(r.w))
	}
}

// TestInspectorOff: without it nothing is noted.
func TestInspectorOff(t *testing.T) {
	t.Parallel()
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, func(c *gateway.Config) { c.Inspect = false })
	r.apply(page("a", "k1k1k1", ""))
	r.accept(`{`, "", gateway.CodeInvalidPayload)
	if all := r.seen(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
}

// TestInspectorDeletesWithTheContact: nothing of a deleted contact is left, not even what
// was on its way.
func TestInspectorDeletesWithTheContact(t *testing.T) {
	t.Parallel()
	inspectedOnBoth(t, func(t *testing.T, r *inspected) {
		r.apply(page("a", "k1k1k1", `"email":"ada@acme.test"`))
		r.write()
		r.apply(page("b", "k1k1k1", `"plan":"ada@acme.test"`))
		id := r.byKey("k1k1k1").ID
		if err := r.edit(func(e *gateway.Editor) error { return e.DeleteContact(id) }); err != nil {
			t.Fatal(err)
		}
		all := r.seen()
		if len(all) != 2 {
			t.Fatalf("%d are shown", len(all))
		}
		for _, v := range all {
			if !v.Detail.Deleted || v.ContactID != 0 || v.Detail.Payload != "" || len(v.Detail.Changes) > 0 {
				t.Errorf("%+v", v)
			}
		}
	})
}

// TestReplay: a payload from the inspector has its effect once more.
func TestReplay(t *testing.T) {
	t.Parallel()
	settings := gateway.DefaultSettings()
	settings.VerifyIdentity, settings.IdentitySecret, settings.Origins = true, "s", []string{"acme.test"}
	r := newInspected(t, sqliteFile(t), settings, inbox.Options{}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var run sync.WaitGroup
	run.Go(func() {
		if err := r.g.Run(ctx); ctx.Err() == nil {
			t.Error(err)
		}
	})
	defer run.Wait()
	defer cancel()
	settle := func() {
		for {
			changed := r.g.Changed()
			if r.g.Pending() == 0 {
				return
			}
			<-changed
		}
	}
	replay := func(want gateway.Code) {
		t.Helper()
		if err := r.g.Replay(ctx, r.w, r.seen()[0].ID); gateway.CodeOf(err) != want {
			t.Fatalf("replay: %v, want %q", err, want)
		}
		settle()
	}
	r.accept(page("a", "k1k1k1", ""), "", "")
	settle()
	replay("")
	replay("") // of the replayed one
	if n := r.byKey("k1k1k1").PageViews; n != 3 {
		t.Errorf("%d page views, want 3", n)
	}
	if all := r.seen(); len(all) != 3 || all[0].Verdict != gateway.VerdictAccepted || all[0].Detail.About != "/a" {
		t.Errorf("%+v", all)
	}

	r.accept(page("b", "k1k1k1", `"user_id":"u","plan":"pro"`), "https://evil.test", gateway.CodeOriginNotAllowed)
	replay("")
	if c := r.byKey("k1k1k1"); c.CustomID != "u" || attribute(c.Attributes, "plan") != `"pro"` {
		t.Errorf("an agent may replay what was refused: %+v", c)
	}
	r.accept(`{"apiKey":"`+rigKey+`",}`, "", gateway.CodeInvalidPayload)
	replay(gateway.CodeInvalidPayload)
	r.accept(`{"apiKey":"`+rigKey+`","a":"`+strings.Repeat("x", 9000)+`"}`, "https://evil.test", gateway.CodeOriginNotAllowed)
	replay(gateway.CodeInvalid)
	r.g.Refused(gateway.Refusal{Err: gateway.Errorf(gateway.CodeRateLimited, "slow down")})
	replay(gateway.CodeInvalid)
	if err := r.g.Replay(ctx, r.w, 1<<40); !gateway.IsNotFound(err) {
		t.Error(err)
	}
	if err := r.g.Replay(ctx, r.w+1, 1); !gateway.IsNotFound(err) {
		t.Error(err)
	}
}

// TestInspectionIsBounded: the largest payload with the most warnings and changes.
func TestInspectionIsBounded(t *testing.T) {
	t.Parallel()
	r := newInspected(t, sqliteFile(t), gateway.DefaultSettings(), inbox.Options{}, nil)
	var fields strings.Builder
	for i := range 100 {
		fmt.Fprintf(&fields, `"%s%d":"%s",`, strings.Repeat("n", 100), i, strings.Repeat("✓", 50))
	}
	for range 60 {
		fields.WriteString(`"email":"bad",`)
	}
	r.apply(page("a", "k1k1k1", fields.String()+`"end":1`))
	d := r.seen()[0].Detail
	if len(d.Payload) > 8<<10 || !d.Cut || len(d.Warnings) != 10 || d.MoreWarnings != 40 || len(d.Changes) != 30 || d.MoreChanges != 73 {
		t.Errorf("%d bytes of %d, %d warnings and %d more, %d changes and %d more", len(d.Payload), d.Size, len(d.Warnings), d.MoreWarnings, len(d.Changes), d.MoreChanges)
	}
}
