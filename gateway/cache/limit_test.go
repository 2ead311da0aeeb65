package cache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	r := open(t, cache.Options{URL: "redis://" + m.Addr(), Tick: time.Millisecond})
	for name, make := range map[string]func(limits map[string]cache.Limit, size int, now func() time.Time) *cache.Limiter{
		"alone": cache.NewLimiter, "shared": r.NewLimiter,
	} {
		t.Run(name, func(t *testing.T) { testLimiter(t, make, m) })
	}
}

func testLimiter(t *testing.T, make func(limits map[string]cache.Limit, size int, now func() time.Time) *cache.Limiter, m *miniredis.Miniredis) {
	ctx := context.Background()
	now := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m.SetTime(now.Now())
	l := make(map[string]cache.Limit{"ip": {PerSecond: 2, Burst: 4}, "once": {Burst: 3}}, 100, now.Now)
	take := func(name string, n int) bool {
		t.Helper()
		ok, after := l.Allow(ctx, name, n)
		if ok == (after > 0) {
			t.Errorf("%s: allowed %v, and to come back after %v", name, ok, after)
		}
		return ok
	}
	if !take("ip:a", 3) || take("ip:a", 2) || !take("ip:a", 1) {
		t.Error("a burst of 4 is not 4")
	}
	if !take("ip:b", 4) {
		t.Error("another name shares the bucket")
	}
	if !take("key:a", 1000) {
		t.Error("a class without a limit is limited")
	}
	if ok, after := l.Allow(ctx, "ip:a", 3); ok || after != 1500*time.Millisecond {
		t.Errorf("3 of an empty bucket that fills with 2 a second: %v after %v", ok, after)
	}
	m.SetTime(now.Add(1500 * time.Millisecond))
	if !take("ip:a", 3) {
		t.Error("who waits as told is refused")
	}
	if ok, after := l.Allow(ctx, "ip:a", 5); ok || after < time.Minute {
		t.Errorf("what never fits: %v after %v", ok, after)
	}
	if !take("once:a", 3) {
		t.Error("a bucket that never fills begins empty")
	}
	m.SetTime(now.Add(time.Hour))
	if take("once:a", 1) {
		t.Error("a bucket that never fills has filled")
	}
	// Time that goes back gives nothing.
	if !take("ip:a", 4) {
		t.Error("an hour doesn't fill a bucket")
	}
	now.Add(-time.Hour)
	if take("ip:a", 1) {
		t.Error("an hour backwards fills a bucket")
	}
}

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// TestSharedLimit: three nodes that are asked for all they can give allow one
// limit in the long run, and not three.
func TestSharedLimit(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := miniredis.RunT(t)
	now := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m.SetTime(now.Now())
	const perSecond, burst, seconds, nodes = 10, 40, 120, 3
	var caches [nodes]*cache.Redis
	var limiters [nodes]*cache.Limiter
	for i := range limiters {
		caches[i] = open(t, cache.Options{URL: "redis://" + m.Addr(), Tick: time.Millisecond})
		limiters[i] = caches[i].NewLimiter(map[string]cache.Limit{"key": {PerSecond: perSecond, Burst: burst}}, 100, now.Now)
	}
	allowed := 0
	for range seconds * 2 {
		for i, l := range limiters {
			before, took := caches[i].Stats().LimitsShared, 0
			for range burst {
				if ok, _ := l.Allow(ctx, "key:a", 1); ok {
					took++
				}
			}
			allowed += took
			if took > 1 {
				eventually(t, "it is told", func() bool { return caches[i].Stats().LimitsShared > before })
			}
		}
		m.SetTime(now.Add(time.Second / 2))
	}
	// The nodes that come second and third in a round don't know yet what the first
	// took; that is owed, so it doesn't add up.
	want := burst + seconds*perSecond
	if allowed < want-burst || allowed > want+(nodes-1)*burst {
		t.Errorf("%d nodes allowed %d in %d s, want about %d", nodes, allowed, seconds, want)
	}
	for i, c := range caches {
		if st := c.Stats(); st.LimitsAlone != 0 || st.Errors != 0 {
			t.Errorf("node %d: %+v", i, st)
		}
	}
	t.Logf("%d nodes allowed %d, one alone %d", nodes, allowed, want)
}

// TestSharedLimitKeys: what Redis keeps of a name is small, and goes.
func TestSharedLimitKeys(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := miniredis.RunT(t)
	now := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	m.SetTime(now.Now())
	o := cache.Options{URL: "redis://" + m.Addr(), Tick: time.Millisecond}
	limits := map[string]cache.Limit{"ip": {PerSecond: 10, Burst: 320}}
	var r *cache.Redis
	for range 20 { // nodes, all before they know of each other
		r = open(t, o)
		l := r.NewLimiter(limits, 100, now.Now)
		if ok, _ := l.Allow(ctx, "ip:a", 320); !ok {
			t.Fatal("a new node refuses")
		}
		if ok, _ := l.Allow(ctx, "ip:once", 9); !ok {
			t.Fatal("a new node refuses")
		}
		eventually(t, "it is told", func() bool { return r.Stats().LimitsShared == 1 })
	}
	const key, full = "civgate:limit:{ip:a}", 32 * time.Second
	if keys := m.Keys(); len(keys) != 1 || keys[0] != key {
		t.Errorf("Redis has %v, want one: who takes little is not worth a key", keys)
	}
	if ttl := m.TTL(key); ttl < 16*full || ttl > 17*full+time.Second {
		t.Errorf("it stays for %v: 20 bursts should be 17, and a bucket fills in %v", ttl, full)
	}
	if ok, after := r.NewLimiter(limits, 100, now.Now).Allow(ctx, "ip:a", 320); !ok || after != 0 {
		t.Error("a node that knows nothing waits")
	}
	m.FastForward(18 * full)
	if keys := m.Keys(); len(keys) != 0 {
		t.Errorf("%v stay", keys)
	}
}

// TestLimitAlone: without Redis each node limits by itself, and with it again
// they share, though it has lost the script.
func TestLimitAlone(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t)
	o := quick(s.URL())
	o.Tick = 5 * time.Millisecond
	a, b := open(t, o), open(t, o)
	limits := map[string]cache.Limit{"ip": {PerSecond: 0.001, Burst: 32}}
	la, lb := a.NewLimiter(limits, 100, time.Now), b.NewLimiter(limits, 100, time.Now)
	drained := func(l *cache.Limiter, name string) func() bool {
		return func() bool {
			ok, _ := l.Allow(ctx, name, 1)
			return !ok
		}
	}
	if ok, _ := la.Allow(ctx, "ip:a", 32); !ok {
		t.Error("refused")
	}
	eventually(t, "b learns of it", drained(lb, "ip:a"))

	s.Stop()
	for i := range 5 {
		for _, l := range []*cache.Limiter{la, lb} {
			name := fmt.Sprint("ip:alone", i)
			if ok, _ := l.Allow(ctx, name, 32); !ok {
				t.Errorf("%s: refused", name)
			}
			if ok, after := l.Allow(ctx, name, 1); ok || after < time.Minute {
				t.Errorf("%s: %v after %v", name, ok, after)
			}
		}
	}
	for _, c := range []*cache.Redis{a, b} {
		eventually(t, "it is noticed", func() bool { return c.Stats().LimitsAlone >= 5 })
	}
	if ok, _ := la.Allow(ctx, "ip:a", 1); ok {
		t.Error("what was taken before is forgotten")
	}

	s.Start()
	for _, c := range []*cache.Redis{a, b} {
		eventually(t, "Redis is back", func() bool { return !c.Stats().CircuitOpen })
	}
	if ok, _ := lb.Allow(ctx, "ip:c", 32); !ok {
		t.Error("refused")
	}
	eventually(t, "a learns of it", drained(la, "ip:c"))
}

// TestLimiterStorm: several goroutines a node.
func TestLimiterStorm(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t)
	const nodes, names, burst = 2, 50, 100
	limits := map[string]cache.Limit{"ip": {PerSecond: 0.0001, Burst: burst}}
	var mu sync.Mutex
	allowed := make(map[string]int)
	var run sync.WaitGroup
	for range nodes {
		o := quick(s.URL())
		o.Tick = time.Millisecond
		l := open(t, o).NewLimiter(limits, 1000, time.Now)
		for range 2 {
			run.Go(func() {
				for i := range 20_000 {
					name := fmt.Sprint("ip:", i%names)
					if ok, _ := l.Allow(ctx, name, 1); ok {
						mu.Lock()
						allowed[name]++
						mu.Unlock()
					}
				}
			})
		}
	}
	run.Wait()
	for name, n := range allowed {
		if n < burst || n > nodes*burst {
			t.Errorf("%s: %d allowed, want between %d and %d", name, n, burst, nodes*burst)
		}
	}
	if len(allowed) != names {
		t.Errorf("%d names", len(allowed))
	}
}
