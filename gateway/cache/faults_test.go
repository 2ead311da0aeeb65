package cache_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
)

// proxy stands between a cache and a server, counts what goes to the server
// and can swallow it.
type proxy struct {
	addr    string
	dials   atomic.Int64
	bytes   atomic.Int64
	swallow atomic.Bool

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.dials.Add(1)
			s, err := net.Dial("tcp", to)
			if err != nil {
				_ = c.Close()
				continue
			}
			p.hold(c, s)
			done.Go(func() { p.pipe(s, c, true) })
			done.Go(func() { p.pipe(c, s, false) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		done.Wait()
	})
	return p
}

func (p *proxy) hold(cs ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cs {
		p.conns[c] = true
	}
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *proxy) pipe(to, from net.Conn, toServer bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if toServer {
			p.bytes.Add(int64(n))
		}
		if n > 0 && !p.swallow.Load() {
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// quick makes a cache notice and recover fast.
func quick(url string) cache.Options {
	return cache.Options{URL: url, Timeout: time.Second, Probe: 50 * time.Millisecond}
}

// TestAwayAtStart: no Redis is no error, and its coming is noticed.
func TestAwayAtStart(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	s.Stop()
	r := openAnyway(t, quick(s.URL()))
	for i := range 10 {
		remember(r, key(1, fmt.Sprint(i)), 7, 1)
		look(r, key(1, "nobody"))
	}
	if st := r.Stats(); !st.CircuitOpen || st.Errors != 3 || st.Opened != 1 {
		t.Errorf("%+v", st)
	}
	if !knows(r, key(1, "5"), 7, 1) {
		t.Error("alone, a node doesn't know what it was told")
	}
	s.Start()
	eventually(t, "it goes on with Redis", func() bool {
		st := r.Stats()
		return !st.CircuitOpen && st.Subscribed && st.Owed == 0
	})
	remember(r, key(1, "x"), 8, 1)
	if o := open(t, quick(s.URL())); !knows(o, key(1, "x"), 8, 1) {
		t.Error("another node doesn't know")
	}
}

// TestOutage stops the server half-way. What changes meanwhile must not come
// back to life with it.
func TestOutage(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, how := range []string{"stop", "kill", "pause"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
			a, b := open(t, quick(s.URL())), open(t, quick(s.URL()))
			refs, ids := people(1, 100)
			a.Remember(ctx, refs, ids)
			if d := cmp.Diff(ids, look(b, refs...)); d != "" {
				t.Fatal(d)
			}

			away := map[string]func(){"stop": s.Stop, "kill": s.Kill, "pause": s.Pause}[how]
			back := map[string]func(){"stop": s.Start, "kill": s.Start, "pause": s.Resume}[how]
			dropped := b.Stats().Dropped
			away()
			for _, c := range []*cache.Redis{a, b} {
				for range 20 {
					look(c, key(1, "nobody"))
				}
				if st := c.Stats(); !st.CircuitOpen || st.Errors < 3 || st.Errors > 4 {
					t.Errorf("after 20 calls: %+v", st)
				}
			}
			if d := cmp.Diff(ids, look(a, refs...)); d != "" {
				t.Errorf("alone, a node forgets what it knew: %s", d)
			}
			remember(a, refs[0], ids[0].ContactID, 77)
			a.Forget(ctx, 1, []gateway.ContactID{ids[1].ContactID})
			remember(a, refs[2], 5000, 78)
			if !knows(a, refs[0], ids[0].ContactID, 77) || !knows(a, refs[1], 0, 0) || !knows(a, refs[2], 5000, 78) {
				t.Error("alone, a node doesn't know its own changes")
			}
			if n := a.Stats().Owed; n != 5 {
				t.Errorf("%d keys are owed, want 2 identifiers and 3 contacts", n)
			}

			back()
			for _, c := range []*cache.Redis{a, b} {
				eventually(t, "Redis is back", func() bool {
					st := c.Stats()
					return !st.CircuitOpen && st.Subscribed && st.Owed == 0
				})
			}
			if how != "pause" { // which may be too short to cost the subscription, and then nothing is lost
				eventually(t, "the layer was dropped", func() bool { return b.Stats().Dropped > dropped })
			}
			// The server has kept its keys; those that changed are tombs.
			clear(ids[:3])
			for _, c := range []*cache.Redis{b, open(t, quick(s.URL()))} {
				if d := cmp.Diff(ids, look(c, refs...)); d != "" {
					t.Errorf("another node: %s", d)
				}
			}
			// Nor does the one that made the changes believe itself: it was alone.
			eventually(t, "it forgets what it learned alone", func() bool { return cmp.Equal(ids, look(a, refs...)) })
		})
	}
}

// TestBound: a call ends by its own time, whatever the other end does, and an
// open circuit costs nothing on the network.
func TestBound(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t)
	p := newProxy(t, s.Addr)
	o := quick("redis://" + p.addr)
	o.Probe = time.Hour
	r := open(t, o)
	remember(r, key(1, "x"), 7, 1)

	p.swallow.Store(true)
	refs, _ := people(1, 2048)
	for range 3 { // they end, though nobody answers
		look(r, refs...)
	}
	st := r.Stats()
	if !st.CircuitOpen || st.Errors != 3 || st.Misses != 3*2048 {
		t.Fatalf("%+v", st)
	}
	eventually(t, "the subscription is lost", func() bool { return !r.Stats().Subscribed })
	bytes, dials := p.bytes.Load(), p.dials.Load()
	for range 100 {
		look(r, refs...)
		r.Remember(ctx, refs[:1], []gateway.Identity{{ContactID: 7, Fingerprint: 2}})
		r.Forget(ctx, 1, []gateway.ContactID{9})
	}
	// The listener goes on trying; its greetings are small.
	if n, d := p.bytes.Load()-bytes, p.dials.Load()-dials; n > 4096*(d+1) || n > 100_000 {
		t.Errorf("%d bytes over %d new connections went to a Redis that doesn't answer", n, d)
	}
	if n := r.Stats().Errors; n != 3 {
		t.Errorf("%d calls failed; those behind an open circuit don't count", n)
	}
}

// TestDeadSubscription: messages that are lost on the way leave nothing stale
// for long.
func TestDeadSubscription(t *testing.T) {
	t.Parallel()
	s := redistest.New(t)
	p := newProxy(t, s.Addr)
	o := quick("redis://" + p.addr)
	o.Failures = 1 << 30
	b := open(t, o)
	a := open(t, quick(s.URL()))
	remember(a, key(1, "x"), 7, 1)
	eventually(t, "b is told", func() bool { return b.Stats().Invalidations == 2 })
	for range 2 {
		if !knows(b, key(1, "x"), 7, 1) {
			t.Fatal("it isn't shared")
		}
	}
	if n := b.Stats().LocalHits; n != 1 {
		t.Fatalf("%d answers of the process's own", n)
	}
	p.swallow.Store(true)
	a.Forget(context.Background(), 1, []gateway.ContactID{7})
	eventually(t, "the silence is noticed", func() bool { return !b.Stats().Subscribed })
	if !knows(b, key(1, "x"), 0, 0) {
		t.Error("without a subscription, the process's layer is believed")
	}
	p.swallow.Store(false)
	p.cut()
	eventually(t, "it subscribes again", func() bool { return b.Stats().Subscribed })
	if got := look(b, key(1, "x"))[0]; got != (gateway.Identity{}) {
		t.Errorf("it came back to life: %+v; %+v", got, b.Stats())
	}
}

func TestFlush(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t)
	a, b := open(t, quick(s.URL())), open(t, quick(s.URL()))
	refs, ids := people(1, 100)
	a.Remember(ctx, refs, ids)
	s.Flush()
	if d := cmp.Diff(ids, look(a, refs...)); d != "" {
		t.Errorf("what the process knows is true all the same: %s", d)
	}
	if d := cmp.Diff(make([]gateway.Identity, len(refs)), look(b, refs...)); d != "" {
		t.Errorf("nobody can know: %s", d)
	}
	b.Remember(ctx, refs, ids)
	if d := cmp.Diff(ids, look(open(t, quick(s.URL())), refs...)); d != "" {
		t.Error(d)
	}
	for _, c := range []*cache.Redis{a, b} {
		if st := c.Stats(); st.Errors != 0 || st.CircuitOpen {
			t.Errorf("%+v", st)
		}
	}
}

// TestFull: a Redis at its maxmemory refuses writes. That is no error, and what
// it can't replace it must not keep.
func TestFull(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t, "--maxmemory-policy", "noeviction")
	a, b := open(t, quick(s.URL())), open(t, quick(s.URL()))
	refs, ids := people(1, 100)
	a.Remember(ctx, refs, ids)
	l := a.NewLimiter(map[string]cache.Limit{"ip": {PerSecond: 1, Burst: 10}}, 100, time.Now)
	if err := s.Client().ConfigSet(ctx, "maxmemory", "1mb").Err(); err != nil {
		t.Fatal(err)
	}

	for i := range ids {
		ids[i].Fingerprint++
	}
	a.Remember(ctx, refs[:50], ids[:50])
	a.Forget(ctx, 1, []gateway.ContactID{ids[60].ContactID})
	if ok, _ := l.Allow(ctx, "ip:a", 10); !ok {
		t.Error("the limiter refuses")
	}
	if ok, _ := l.Allow(ctx, "ip:a", 10); ok {
		t.Error("alone, a node doesn't limit")
	}
	eventually(t, "the limiter asked", func() bool { return a.Stats().LimitsShared > 0 })
	if d := cmp.Diff(ids[:50], look(a, refs[:50]...)); d != "" {
		t.Errorf("the process knows: %s", d)
	}
	fresh := open(t, quick(s.URL()))
	for name, c := range map[string]*cache.Redis{"b": b, "fresh": fresh} {
		eventually(t, name+" doesn't believe what could not be replaced", func() bool {
			return cmp.Equal(make([]gateway.Identity, 50), look(c, refs[:50]...)) && knows(c, refs[60], 0, 0)
		})
		if !knows(c, refs[70], ids[70].ContactID, ids[70].Fingerprint-1) {
			t.Errorf("%s doesn't know what is there", name)
		}
	}
	st := a.Stats()
	if st.Refused != 100 || st.Errors != 0 || st.CircuitOpen || st.Owed != 0 {
		t.Errorf("%+v", st)
	}

	if err := s.Client().ConfigSet(ctx, "maxmemory", "0").Err(); err != nil {
		t.Fatal(err)
	}
	a.Remember(ctx, refs, ids)
	eventually(t, "there is room again", func() bool { return cmp.Equal(ids, look(b, refs...)) })
}

// TestReadOnly: a Redis that answers and takes no writes is not believed for
// long, since it can't be told what changed.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t)
	a, b := open(t, quick(s.URL())), open(t, quick(s.URL()))
	remember(a, key(1, "x"), 7, 1)
	if err := s.Client().ConfigSet(ctx, "min-replicas-to-write", "1").Err(); err != nil {
		t.Fatal(err)
	}
	remember(a, key(1, "x"), 7, 2)
	if !knows(a, key(1, "x"), 7, 2) {
		t.Error("the node doesn't know its own change")
	}
	eventually(t, "the circuit opens", func() bool {
		look(a, key(1, "y")) // which Redis answers
		return a.Stats().CircuitOpen
	})
	if err := s.Client().ConfigSet(ctx, "min-replicas-to-write", "0").Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the circuit closes", func() bool { return !a.Stats().CircuitOpen })
	eventually(t, "b learns that it changed", func() bool { return knows(b, key(1, "x"), 0, 0) })
	if st := a.Stats(); st.Owed != 0 || st.Opened != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSentinel asks a Sentinel for the master, and follows it to the next one.
func TestSentinel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	master := redistest.New(t)
	host, port, _ := strings.Cut(master.Addr, ":")
	redistest.New(t, "--replicaof", host+" "+port, "--repl-diskless-sync-delay", "0")
	sentinel := redistest.NewSentinel(t, "people", master)
	o := quick("redis://" + sentinel.Addr + "?master=people")
	a, b := open(t, o), open(t, o)
	twoNodes(t, a, b)
	eventually(t, "the master has its replica", func() bool {
		return master.Client().Wait(ctx, 1, time.Second).Val() == 1
	})
	eventually(t, "the Sentinel knows of it", func() bool {
		return strings.Contains(sentinel.Client().Info(ctx, "sentinel").Val(), "slaves=1")
	})
	master.Kill()
	for _, r := range []*cache.Redis{a, b} {
		look(r, key(3, "z"))
	}
	refs, ids := people(2, 100)
	eventually(t, "they meet at the new master", func() bool {
		a.Remember(ctx, refs, ids)
		return cmp.Equal(ids, look(b, refs...))
	})
	eventually(t, "all is well", func() bool {
		st := b.Stats()
		return !st.CircuitOpen && st.Subscribed && st.Owed == 0
	})
}

// TestWrongPassword: it is like no Redis at all.
func TestWrongPassword(t *testing.T) {
	t.Parallel()
	s := redistest.New(t, "--requirepass", "right")
	r := openAnyway(t, quick("redis://:wrong@"+s.Addr))
	for range 5 {
		remember(r, key(1, "x"), 7, 1)
	}
	if st := r.Stats(); !st.CircuitOpen || st.Subscribed || st.Owed != 2 || !knows(r, key(1, "x"), 7, 1) {
		t.Errorf("%+v", st)
	}
}

// TestCluster runs on six servers; then a master is killed.
func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := redistest.NewCluster(t)
	a, b := open(t, quick(c.URL())), open(t, quick(c.URL()))
	twoNodes(t, a, b)
	keys := make([]int64, 3)
	for i, n := range c.Nodes[:3] {
		keys[i] = n.Client().DBSize(ctx).Val()
		if keys[i] < 1000 {
			t.Errorf("the masters have %d keys: not spread", keys)
		}
	}
	limits := map[string]cache.Limit{"key": {PerSecond: 0.001, Burst: 64}}
	la, lb := a.NewLimiter(limits, 100, time.Now), b.NewLimiter(limits, 100, time.Now)
	drain := func(name string) {
		t.Helper()
		if ok, _ := la.Allow(ctx, name, 64); !ok {
			t.Errorf("%s: refused", name)
		}
		eventually(t, name+" is known to be empty", func() bool {
			ok, _ := lb.Allow(ctx, name, 2)
			return !ok
		})
	}
	for i := range 6 {
		drain(fmt.Sprint("key:", i))
	}

	refs, ids := people(2, 300)
	a.Remember(ctx, refs, ids)
	if d := cmp.Diff(ids, look(b, refs...)); d != "" {
		t.Fatal(d)
	}
	c.Nodes[0].Kill()
	// Meanwhile everything goes on; nothing is returned that isn't so.
	for i := range 200 {
		n := rand.IntN(len(ids))
		ids[n].Fingerprint++
		a.Remember(ctx, refs[n:n+1], ids[n:n+1])
		if got := look(a, refs[n])[0]; got != ids[n] && got != (gateway.Identity{}) {
			t.Errorf("change %d: %+v, want %+v or nothing", i, got, ids[n])
		}
	}
	c.Recover()
	for _, r := range []*cache.Redis{a, b} {
		eventually(t, "it goes on with the others", func() bool {
			look(r, key(3, fmt.Sprint(rand.Int()))) // somebody has to use it
			st := r.Stats()
			return !st.CircuitOpen && st.Subscribed && st.Owed == 0
		})
	}
	eventually(t, "b knows what is so or nothing", func() bool {
		for i, got := range look(b, refs...) {
			if got != ids[i] && got != (gateway.Identity{}) {
				return false
			}
		}
		return true
	})
	refs, ids = people(4, 300)
	eventually(t, "the whole cluster is used", func() bool {
		a.Remember(ctx, refs, ids)
		return cmp.Equal(ids, look(b, refs...))
	})
	for i := range 6 {
		drain(fmt.Sprint("key:later", i)) // the new master doesn't have the script
	}
	for i, n := range c.Nodes[1:] {
		if log := n.Log(); strings.Contains(log, "CROSSSLOT") {
			t.Errorf("node %d: %s", i+1, log)
		}
	}
}

// TestStorm: several goroutines on three nodes with one server that comes and
// goes. Afterwards, what is known is what was said last, or nothing.
func TestStorm(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t, "--appendonly", "yes")
	const nodes, contacts, rounds = 3, 40, 150
	var caches [nodes]*cache.Redis
	for i := range caches {
		caches[i] = open(t, quick(s.URL()))
	}
	refs, _ := people(1, contacts)
	// The truth, which the real gateway keeps in a database: locked while it is
	// changed, and told to the cache afterwards, in whatever order.
	var truth [contacts]struct {
		sync.Mutex
		gateway.Identity
	}
	var run sync.WaitGroup
	for i, c := range caches {
		for range 2 {
			run.Go(func() {
				rnd := rand.New(rand.NewPCG(uint64(i), 1))
				for range rounds {
					n := rnd.IntN(contacts)
					e := &truth[n]
					e.Lock()
					e.Identity = gateway.Identity{ContactID: gateway.ContactID(1 + n + contacts*rnd.IntN(2)), Fingerprint: rnd.Uint64()}
					now := e.Identity
					e.Unlock()
					if rnd.IntN(4) == 0 {
						c.Forget(ctx, 1, []gateway.ContactID{gateway.ContactID(1 + n), gateway.ContactID(1 + n + contacts)})
					} else {
						c.Remember(ctx, refs[n:n+1], []gateway.Identity{now})
					}
					look(c, refs...)
				}
			})
		}
	}
	run.Go(func() {
		for range 2 {
			time.Sleep(100 * time.Millisecond)
			s.Kill()
			time.Sleep(100 * time.Millisecond)
			s.Start()
		}
	})
	run.Wait()
	for i, c := range caches {
		eventually(t, fmt.Sprintf("node %d has settled", i), func() bool {
			st := c.Stats()
			return !st.CircuitOpen && st.Subscribed && st.Owed == 0
		})
	}
	for i, c := range caches {
		eventually(t, fmt.Sprintf("node %d knows the truth or nothing", i), func() bool {
			for n, got := range look(c, refs...) {
				if got != truth[n].Identity && got != (gateway.Identity{}) {
					return false
				}
			}
			return true
		})
	}
}
