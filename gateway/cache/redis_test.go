package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
)

func TestURL(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, url, want string }{
		{"one", "redis://127.0.0.1:1", ""},
		{"without a port", "redis://127.0.0.1", ""},
		{"user, password and database", "redis://u:p%40ss@127.0.0.1:1/3", ""},
		{"with a slash at the end", "redis://127.0.0.1:1/", ""},
		{"IPv6", "redis://[::1]:1", ""},
		{"TLS", "rediss://:p@127.0.0.1:1", ""},
		{"cluster", "redis://:p@127.0.0.1:1,127.0.0.1:2,127.0.0.1:3", ""},
		{"cluster by one node", "redis://127.0.0.1:1?cluster=true", ""},
		{"sentinel", "redis://u:p@127.0.0.1:1,127.0.0.1:2/1?master=mymaster&sentinel_password=x", ""},
		{"empty", "", "begins with redis://"},
		{"no scheme", "127.0.0.1:6379", "begins with redis://"},
		{"another scheme", "postgres://127.0.0.1", "begins with redis://"},
		{"no host", "redis:///1", "names no host"},
		{"no host between commas", "redis://127.0.0.1:1,,127.0.0.1:2", "names no host"},
		{"no number as port", "redis://127.0.0.1:port", "can't be read"},
		{"port too high", "redis://127.0.0.1:70000", "between 1 and 65535"},
		{"password not escaped", "redis://:secret%zz@127.0.0.1:1", "write special characters"},
		{"password with a slash", "redis://:sec/ret@127.0.0.1:1", "can't be read"},
		{"database", "redis://127.0.0.1:1/main", "number of a database"},
		{"database of a cluster", "redis://127.0.0.1:1,127.0.0.1:2/1", "database 0 only"},
		{"unknown parameter", "redis://127.0.0.1:1?timeout=3s", `but not "timeout"`},
		{"sentinel and cluster", "redis://127.0.0.1:1?master=m&cluster=true", "one of them only"},
		{"master without a name", "redis://127.0.0.1:1?master=", "name under which"},
		{"sentinel's password alone", "redis://127.0.0.1:1?sentinel_password=x", "no master"},
		{"several and no cluster", "redis://127.0.0.1:1,127.0.0.1:2?cluster=false", "cluster=false"},
		{"fragment", "redis://127.0.0.1:1/0#1", "write it as %23"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, err := cache.NewRedis(cache.Options{URL: tt.url})
			if err == nil {
				err = r.Close() // that nobody is there is no error
				if tt.want != "" || err != nil {
					t.Errorf("accepted; closing: %v", err)
				}
				return
			}
			if tt.want == "" || !strings.Contains(err.Error(), tt.want) || gateway.CodeOf(err) != gateway.CodeInvalid {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "sec") && !strings.Contains(tt.url, "timeout") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

// TestRedis is what any gateway.Cache must do, asked of the node that was told,
// of one that has to ask Redis, and of the first again.
func TestRedis(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := miniredis.RunT(t)
	a := open(t, cache.Options{URL: "redis://" + m.Addr()})
	b := open(t, cache.Options{URL: "redis://" + m.Addr()})
	both := func(when string, want []gateway.Identity, refs ...gateway.Ref) {
		t.Helper()
		// Twice: from Redis, and from what was kept of that.
		for i, c := range []*cache.Redis{a, b, a, b} {
			if d := cmp.Diff(want, look(c, refs...)); d != "" {
				t.Errorf("%s, cache %d: %s", when, i, d)
			}
		}
	}
	told := func(n uint64) func() bool { return func() bool { return b.Stats().Invalidations >= n } }

	x, y, z := key(1, "x"), key(1, "y"), custom(1, "x")
	a.Remember(ctx, []gateway.Ref{x, y, z}, []gateway.Identity{{ContactID: 7, Fingerprint: 1}, {ContactID: 7, Fingerprint: 2}, {ContactID: 8, Fingerprint: 3}})
	eventually(t, "b is told of three identifiers and two contacts", told(5))
	both("remembered", []gateway.Identity{{ContactID: 7, Fingerprint: 2}, {ContactID: 7, Fingerprint: 2}, {ContactID: 8, Fingerprint: 3}, {}, {}, {ContactID: 7, Fingerprint: 2}},
		x, y, z, key(2, "x"), key(1, ""), x)

	a.Remember(ctx, []gateway.Ref{x}, []gateway.Identity{{ContactID: 7, Fingerprint: 5}})
	eventually(t, "b is told", told(7))
	both("another fingerprint", []gateway.Identity{{ContactID: 7, Fingerprint: 5}, {ContactID: 7, Fingerprint: 5}}, x, y)

	a.Remember(ctx, []gateway.Ref{y}, []gateway.Identity{{ContactID: 8, Fingerprint: 3}})
	eventually(t, "b is told", told(9))
	both("a browser changed hands", []gateway.Identity{{ContactID: 7, Fingerprint: 5}, {ContactID: 8, Fingerprint: 3}}, x, y)

	a.Forget(ctx, 2, []gateway.ContactID{8})
	a.Forget(ctx, 1, []gateway.ContactID{7})
	eventually(t, "b is told", told(11))
	both("forgotten", []gateway.Identity{{}, {ContactID: 8, Fingerprint: 3}, {ContactID: 8, Fingerprint: 3}}, x, y, z)

	// Nothing, or nobody, is not remembered.
	a.Remember(ctx, []gateway.Ref{{}, key(1, "nobody")}, []gateway.Identity{{ContactID: 1}, {}})
	a.Forget(ctx, 1, nil)
	both("nothing", []gateway.Identity{{}, {}}, gateway.Ref{}, key(1, "nobody"))
	if s := b.Stats(); s.LocalHits == 0 || s.RedisHits == 0 || s.Misses == 0 || s.Errors != 0 || s.Conflicts != 0 {
		t.Errorf("%+v", s)
	}
}

func TestRoundTrips(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	r := open(t, cache.Options{URL: "redis://" + m.Addr(), Probe: time.Hour})
	refs, ids := people(1, 2048)
	r.Remember(context.Background(), refs, ids)
	before := m.CommandCount()
	if d := cmp.Diff(ids, look(r, refs...)); d != "" {
		t.Fatal(d)
	}
	if n := m.CommandCount() - before; n > 1 { // a ping of the listener
		t.Errorf("%d commands for what the process knows", n)
	}
	fresh := open(t, cache.Options{URL: "redis://" + m.Addr(), Probe: time.Hour})
	twice := append(append([]gateway.Ref(nil), refs...), refs...)
	if d := cmp.Diff(append(append([]gateway.Identity(nil), ids...), ids...), look(fresh, twice...)); d != "" {
		t.Fatal(d)
	}
	if s := fresh.Stats(); s.RedisHits != 4096 || s.Misses != 0 {
		t.Errorf("%+v", s)
	}
}

// people returns n identifiers of as many contacts.
func people(w gateway.WorkspaceID, n int) ([]gateway.Ref, []gateway.Identity) {
	refs, ids := make([]gateway.Ref, n), make([]gateway.Identity, n)
	for i := range refs {
		refs[i] = key(w, fmt.Sprintf("visitor%05d", i))
		ids[i] = gateway.Identity{ContactID: gateway.ContactID(i + 1), Fingerprint: uint64(i)*0x9E3779B97F4A7C15 + 1}
	}
	return refs, ids
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := miniredis.RunT(t)
	o := cache.Options{URL: "redis://" + m.Addr(), Expiry: 48 * time.Hour}
	a := open(t, o)
	x, y := key(1, "x"), key(1, "y")
	remember(a, x, 7, 1)
	remember(a, y, 8, 1)
	a.Forget(ctx, 1, []gateway.ContactID{8})
	for key, want := range map[string]time.Duration{
		"civgate:id:{1:0:x}":    48 * time.Hour,
		"civgate:contact:{1:7}": 48 * time.Hour,
		"civgate:contact:{1:8}": 5 * time.Second, // a tombstone
	} {
		if got := m.TTL(key); got != want {
			t.Errorf("%s lives for %v, want %v", key, got, want)
		}
	}
	if n := len(m.Keys()); n != 4 {
		t.Errorf("keys: %v", m.Keys())
	}
	m.FastForward(48 * time.Hour)
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("%v stay for ever", keys)
	}
	if b := open(t, o); !knows(b, x, 0, 0) {
		t.Error("what expired is known")
	}
}

func TestLocalAge(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	r := open(t, cache.Options{URL: "redis://" + m.Addr(), LocalAge: 50 * time.Millisecond})
	x := key(1, "x")
	remember(r, x, 7, 1)
	m.FlushAll()
	eventually(t, "the process forgets what Redis has forgotten", func() bool { return knows(r, x, 0, 0) })
}

// TestForeignValues: the keys may hold anything.
func TestForeignValues(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	r := open(t, cache.Options{URL: "redis://" + m.Addr()})
	for _, v := range []string{"", "7", strings.Repeat("=", 20), strings.Repeat("x", 21), "=" + strings.Repeat("\x00", 20), strings.Repeat("=", 22)} {
		if err := m.Set("civgate:id:{1:0:x}", v); err != nil {
			t.Fatal(err)
		}
		if !knows(r, key(1, "x"), 0, 0) {
			t.Errorf("%q is believed", v)
		}
	}
	m.Del("civgate:id:{1:0:x}")
	if _, err := m.Lpush("civgate:id:{1:0:x}", "a list"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if !knows(r, key(1, "x"), 0, 0) {
			t.Error("a list is believed")
		}
	}
	m.Publish("civgate:changes:0", "?")
	eventually(t, "a message that can't be read drops the layer", func() bool { return r.Stats().Dropped >= 2 })
}

// TestConflict: of what two nodes say at once about one key, neither counts.
func TestConflict(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	x := key(1, "x")
	for _, tt := range []struct {
		name string
		do   func(a, b *cache.Redis)
		want gateway.Identity
	}{
		{"one fingerprint after another of one node", func(a, b *cache.Redis) { remember(a, x, 7, 1); remember(a, x, 7, 2) }, gateway.Identity{ContactID: 7, Fingerprint: 2}},
		{"the same of both", func(a, b *cache.Redis) { remember(a, x, 7, 1); remember(b, x, 7, 1) }, gateway.Identity{ContactID: 7, Fingerprint: 1}},
		{"two fingerprints", func(a, b *cache.Redis) { remember(a, x, 7, 1); remember(b, x, 7, 2) }, gateway.Identity{}},
		{"two contacts", func(a, b *cache.Redis) { remember(a, x, 7, 1); remember(b, x, 8, 1) }, gateway.Identity{}},
		{"forgotten by one, remembered by the other", func(a, b *cache.Redis) { a.Forget(ctx, 1, []gateway.ContactID{7}); remember(b, x, 7, 1) }, gateway.Identity{}},
		{"remembered by one, forgotten by the other", func(a, b *cache.Redis) { remember(b, x, 7, 1); a.Forget(ctx, 1, []gateway.ContactID{7}) }, gateway.Identity{}},
		{"forgotten and remembered by one", func(a, b *cache.Redis) { a.Forget(ctx, 1, []gateway.ContactID{7}); remember(a, x, 7, 1) }, gateway.Identity{ContactID: 7, Fingerprint: 1}},
		{"a late one after a conflict", func(a, b *cache.Redis) { remember(a, x, 7, 1); remember(b, x, 7, 2); remember(a, x, 7, 3) }, gateway.Identity{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := miniredis.RunT(t)
			o := cache.Options{URL: "redis://" + m.Addr()}
			a, b := open(t, o), open(t, o)
			tt.do(a, b)
			for i, c := range []*cache.Redis{a, b, open(t, o)} {
				eventually(t, fmt.Sprintf("cache %d says %v", i, tt.want), func() bool { return look(c, x)[0] == tt.want })
			}
			// When it has settled, it can be remembered by any node.
			if tt.want == (gateway.Identity{}) {
				m.FastForward(5 * time.Second)
				remember(b, x, 7, 1) // as a wrote it, where that was no conflict
				for i, c := range []*cache.Redis{a, b} {
					eventually(t, fmt.Sprintf("cache %d knows again", i), func() bool { return knows(c, x, 7, 1) })
				}
			}
		})
	}
}

// TestClosed: a closed cache still answers from what it knows.
func TestClosed(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	r := open(t, cache.Options{URL: "redis://" + m.Addr()})
	remember(r, key(1, "x"), 7, 1)
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	remember(r, key(1, "y"), 8, 1)
	if !knows(r, key(1, "x"), 7, 1) || !knows(r, key(1, "y"), 8, 1) {
		t.Error("the process forgot")
	}
	r.Forget(context.Background(), 1, []gateway.ContactID{7})
	if !knows(r, key(1, "x"), 0, 0) {
		t.Error("forgotten and known")
	}
}

// TestInvalidation: two nodes on a real server see what the other forgets.
func TestInvalidation(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, "--requirepass", "secret")
	a, b := open(t, cache.Options{URL: s.URL()}), open(t, cache.Options{URL: s.URL()})
	twoNodes(t, a, b)
}

func twoNodes(t *testing.T, a, b *cache.Redis) {
	t.Helper()
	ctx := context.Background()
	refs, ids := people(1, 3000)
	a.Remember(ctx, refs, ids)
	if d := cmp.Diff(ids, look(a, refs...)); d != "" {
		t.Fatalf("the one that was told: %s", d)
	}
	eventually(t, "the other is told", func() bool { return b.Stats().Invalidations >= 6000 })
	for range 2 {
		if d := cmp.Diff(ids, look(b, refs...)); d != "" {
			t.Fatalf("the other: %s", d)
		}
	}
	if s := b.Stats(); s.LocalHits != 3000 || s.RedisHits != 3000 {
		t.Errorf("%+v", s)
	}
	var gone []gateway.ContactID
	for i := range 1000 {
		gone = append(gone, ids[i].ContactID)
		ids[i] = gateway.Identity{}
	}
	a.Forget(ctx, 1, gone)
	eventually(t, "the other forgets as well", func() bool { return cmp.Equal(ids, look(b, refs...)) })
	if d := cmp.Diff(ids, look(a, refs...)); d != "" {
		t.Errorf("the one that forgot: %s", d)
	}
	for _, c := range []*cache.Redis{a, b} {
		if s := c.Stats(); s.Errors != 0 || s.Opened != 0 || s.Owed != 0 {
			t.Errorf("%+v", s)
		}
	}
}
