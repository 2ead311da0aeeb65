package inbox_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/cache/redistest"
	"civgate/gateway/inbox"
)

// database stands for the store: it knows the positions, and what was applied.
// Like the store it skips what it has applied before.
type database struct {
	t         testing.TB
	mu        sync.Mutex
	positions map[string]int64
	applied   map[string][]*gateway.Entry
	bodies    map[string]int // how often each body was applied
	away      bool
}

func newDatabase(t testing.TB) *database {
	return &database{
		t: t, positions: make(map[string]int64),
		applied: make(map[string][]*gateway.Entry), bodies: make(map[string]int),
	}
}

var errDatabaseAway = errors.New("the database is away")

func (d *database) position(_ context.Context, shard string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return 0, errDatabaseAway
	}
	return d.positions[shard], nil
}

func (d *database) setAway(away bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.away = away
}

// apply applies entries like gateway.Apply; it says how many were new.
func (d *database) apply(shard string, entries []*gateway.Entry) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return 0, errDatabaseAway
	}
	n := 0
	last := int64(0)
	for _, e := range entries {
		if e.Seq <= last {
			d.t.Errorf("%s: entry %d came after %d", shard, e.Seq, last)
		}
		last = e.Seq
		if e.Seq <= d.positions[shard] {
			continue
		}
		d.positions[shard] = e.Seq
		d.applied[shard] = append(d.applied[shard], e)
		d.bodies[string(e.Body)]++
		n++
	}
	return n, nil
}

func (d *database) count(body string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bodies[body]
}

func (d *database) total() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.bodies)
}

// run applies a shard to the database, a few entries at a time.
func (d *database) run(ctx context.Context, sh *inbox.Shard) error {
	for {
		entries, err := sh.Next(ctx, 1+rand.IntN(50))
		if err != nil {
			return err
		}
		for {
			if _, err := d.apply(sh.Name(), entries); err == nil {
				break
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(5 * time.Millisecond):
			}
		}
		sh.Applied(entries[len(entries)-1].Seq)
	}
}

// node is a Stream that applies its shards to a database.
type node struct {
	*inbox.Stream
	mu    sync.Mutex
	owned map[string]bool
	stop  context.CancelFunc
	done  chan struct{}
}

func (n *node) shards() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	got := make(map[string]bool, len(n.owned))
	for k := range n.owned {
		got[k] = true
	}
	return got
}

// own makes the node apply its shards until leave or the end of the test.
func (n *node) own(t testing.TB, run func(context.Context, *inbox.Shard) error) {
	ctx, cancel := context.WithCancel(context.Background())
	n.owned = make(map[string]bool)
	n.stop, n.done = cancel, make(chan struct{})
	go func() {
		defer close(n.done)
		err := n.Own(ctx, func(ctx context.Context, sh *inbox.Shard) error {
			n.mu.Lock()
			n.owned[sh.Name()] = true
			n.mu.Unlock()
			defer func() {
				n.mu.Lock()
				delete(n.owned, sh.Name())
				n.mu.Unlock()
			}()
			return run(ctx, sh)
		})
		if ctx.Err() == nil && err != nil {
			t.Errorf("own: %v", err)
		}
	}()
	t.Cleanup(n.leave)
}

func (n *node) leave() {
	n.stop()
	<-n.done
}

// openStream opens a Stream that the test closes.
func openStream(t testing.TB, addr string, db *database, change func(*inbox.StreamOptions)) *node {
	t.Helper()
	opts := inbox.StreamOptions{
		Redis:    &redis.UniversalOptions{Addrs: []string{addr}},
		Node:     "node",
		Shards:   4,
		Position: db.position,
		Lease:    time.Second,
	}
	if change != nil {
		change(&opts)
	}
	s, err := inbox.OpenStream(context.Background(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return &node{Stream: s}
}

// keyed makes an entry of a visitor.
func keyed(key, body string) *gateway.Entry {
	e := entry(body)
	e.Payload.Key = key
	return e
}

// until waits for something that has to come true in the end.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("this never came true: " + what)
		}
	}
}

// logged collects what is logged.
func logged(o *inbox.StreamOptions) *observer.ObservedLogs {
	core, logs := observer.New(zap.InfoLevel)
	o.Log = zap.New(core)
	return logs
}

func wantCode(t testing.TB, err error, code gateway.Code) {
	t.Helper()
	var e *gateway.Error
	if gateway.CodeOf(err) != code || !errors.As(err, &e) || code == gateway.CodeUnavailable && e.RetryAfter <= 0 {
		t.Fatalf("got error %v, want %s", err, code)
	}
}

// Two nodes take payloads of many visitors and apply them; each visitor's come
// in order, each once.
func TestStreamOrder(t *testing.T) {
	t.Parallel()
	const visitors, each = 40, 60
	r := startRedis(t)
	db := newDatabase(t)
	nodes := []*node{openStream(t, r.addr, db, nil), openStream(t, r.addr, db, func(o *inbox.StreamOptions) {
		o.QueueEntries = 5 // reads all from Redis
	})}
	nodes[0].own(t, db.run)
	nodes[1].own(t, db.run)
	var wg sync.WaitGroup
	for v := range visitors {
		wg.Go(func() {
			for i := 0; i < each; {
				var entries []*gateway.Entry
				for range min(1+rand.IntN(4), each-i) {
					entries = append(entries, keyed(fmt.Sprint("visitor", v), fmt.Sprintf("%d %d", v, i)))
					i++
				}
				if err := nodes[(v+i)%2].Append(context.Background(), entries...); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	until(t, "all is applied", func() bool { return db.total() == visitors*each })
	until(t, "nothing is pending", func() bool { return nodes[0].Pending() == 0 && nodes[1].Pending() == 0 })
	next := make(map[string]int)
	for shard, entries := range db.applied {
		if len(entries) == 0 {
			t.Errorf("%s got nothing", shard)
		}
		for _, e := range entries {
			v, i, _ := strings.Cut(string(e.Body), " ")
			if n, _ := strconv.Atoi(i); n != next[v] {
				t.Fatalf("%s: visitor %s: %d came, want %d", shard, v, n, next[v])
			}
			next[v]++
		}
	}
	for i := range 4 {
		if n := r.do(fmt.Sprintf("XLEN {civgate:inbox:%d}:log", i)); n != int64(0) {
			t.Errorf("shard %d still holds %v batches", i, n)
		}
	}
}

// What Redis acknowledged before it was killed is there once it is back, once.
func TestStreamKill(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Timeout = time.Second })
	n.own(t, db.run)
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	var wg sync.WaitGroup
	for c := range 16 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Sprintf("%d %d %s", c, i, strings.Repeat("x", i%500))
				switch err := n.Append(context.Background(), keyed(fmt.Sprint(c), body)); {
				case err == nil:
					mu.Lock()
					acknowledged[body] = true
					mu.Unlock()
				case gateway.CodeOf(err) != gateway.CodeUnavailable:
					t.Errorf("append: %v", err)
				default:
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged)
	}
	for range 4 {
		before := count()
		until(t, "payloads are taken", func() bool { return count() > before+200 })
		time.Sleep(rand.N(20 * time.Millisecond))
		r.Kill()
		r.Start()
	}
	before := count()
	until(t, "payloads are taken again", func() bool { return count() > before+200 })
	cancel()
	wg.Wait()
	until(t, "all that was acknowledged is applied", func() bool {
		for body := range acknowledged {
			if db.count(body) == 0 {
				return false
			}
		}
		return true
	})
	for body, times := range db.bodies {
		if times != 1 {
			t.Errorf("%.40q was applied %d times", body, times)
		}
	}
	t.Logf("%d acknowledged, %d applied", len(acknowledged), db.total())
}

// Answers get lost, and what was sent is sent again: nothing is stored twice.
func TestStreamLostAnswers(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	p := startProxy(t, r.addr)
	db := newDatabase(t)
	n := openStream(t, p.addr, db, func(o *inbox.StreamOptions) { o.Timeout = 5 * time.Second })
	lose := func() bool { return rand.IntN(10) == 0 }
	p.lose.Store(&lose)
	var refused atomic.Int64
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 100 {
				if err := n.Append(context.Background(), keyed(fmt.Sprint(c), fmt.Sprintf("%d %d", c, i))); err != nil {
					refused.Add(1)
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	p.lose.Store(nil)
	n.own(t, db.run)
	want := 800 - int(refused.Load())
	until(t, "all that was acknowledged is applied", func() bool { return db.total() >= want })
	until(t, "nothing is pending", func() bool { return n.Pending() == 0 })
	for body, times := range db.bodies {
		if times != 1 {
			t.Errorf("%q was applied %d times", body, times)
		}
	}
	t.Logf("%d refused", refused.Load())
}

// Shards are shared, go over when a node leaves, and when it vanishes; no entry
// is skipped, and what a late owner applies has no effect.
func TestStreamShares(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	line := startProxy(t, r.addr)
	db := newDatabase(t)
	shards := func(o *inbox.StreamOptions) {
		o.Shards = 5
		o.Lease = 500 * time.Millisecond
		o.Timeout = 200 * time.Millisecond
	}
	a := openStream(t, r.addr, db, shards)
	b := openStream(t, line.addr, db, shards)
	a.own(t, db.run)
	until(t, "a lone node has all", func() bool { return len(a.shards()) == 5 })

	// b holds on to the entries it got last until it is told to go on, and then
	// applies them, like a process that was stopped for a while.
	var hold atomic.Bool
	var late, inVain atomic.Int64
	goOn := make(chan struct{})
	b.own(t, func(ctx context.Context, sh *inbox.Shard) error {
		for {
			entries, err := sh.Next(ctx, 10)
			if err != nil {
				return err
			}
			if hold.Load() {
				<-goOn
				late.Add(int64(len(entries)))
			}
			n, err := db.apply(sh.Name(), entries)
			if err != nil {
				return err
			}
			inVain.Add(int64(len(entries) - n))
			sh.Applied(entries[len(entries)-1].Seq)
		}
	})
	until(t, "two share", func() bool {
		n, m := len(a.shards()), len(b.shards())
		return n+m == 5 && (n == 2 || m == 2)
	})
	for shard := range a.shards() {
		if b.shards()[shard] {
			t.Errorf("%s has two owners", shard)
		}
	}
	for i := range 100 {
		if err := a.Append(context.Background(), keyed(fmt.Sprint(i), fmt.Sprint("first ", i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is applied", func() bool { return db.total() == 100 })

	hold.Store(true)
	for i := range 100 {
		if err := a.Append(context.Background(), keyed(fmt.Sprint(i), fmt.Sprint("second ", i))); err != nil {
			t.Fatal(err)
		}
	}
	line.setCut(true)
	until(t, "the other takes all", func() bool { return len(a.shards()) == 5 })
	until(t, "all is applied by the other", func() bool { return db.total() == 200 })
	close(goOn)
	until(t, "the one cut off notices", func() bool { return len(b.shards()) == 0 })
	if late.Load() == 0 || inVain.Load() != late.Load() {
		t.Errorf("the late owner applied %d entries, %d of them in vain", late.Load(), inVain.Load())
	}

	line.setCut(false)
	hold.Store(false)
	until(t, "it gets its share back", func() bool { return len(b.shards()) >= 2 && len(a.shards()) <= 3 })
	a.leave()
	until(t, "the other takes all when one leaves", func() bool { return len(b.shards()) == 5 })
	for body, times := range db.bodies {
		if times != 1 {
			t.Errorf("%q was applied %d times", body, times)
		}
	}
}

// A node that can't reach the store leaves the shards to one that can.
func TestStreamNodeWithoutStore(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db, view := newDatabase(t), newDatabase(t)
	short := func(o *inbox.StreamOptions) { o.Lease = 300 * time.Millisecond }
	a := openStream(t, r.addr, db, short)
	b := openStream(t, r.addr, db, func(o *inbox.StreamOptions) {
		short(o)
		o.Position = func(ctx context.Context, shard string) (int64, error) {
			if _, err := view.position(ctx, ""); err != nil {
				return 0, err
			}
			return db.position(ctx, shard)
		}
	})
	a.own(t, db.run)
	b.own(t, db.run)
	until(t, "two share", func() bool { return len(a.shards()) == 2 && len(b.shards()) == 2 })
	view.setAway(true)
	until(t, "one has all", func() bool { return len(a.shards()) == 4 && len(b.shards()) == 0 })
	view.setAway(false)
	until(t, "two share again", func() bool { return len(a.shards()) == 2 && len(b.shards()) == 2 })
}

func TestStreamBounds(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		change func(*inbox.StreamOptions)
		fits   int
	}{
		{"entries", func(o *inbox.StreamOptions) { o.MaxPending = 8 }, 8},
		{"bytes", func(o *inbox.StreamOptions) { o.MaxBytes = 1000 }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t)
			db := newDatabase(t)
			n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 1; tt.change(o) })
			ctx := context.Background()
			var err error
			stored := 0
			for err == nil && stored < 1000 {
				if err = n.Append(ctx, keyed("k", fmt.Sprint(stored))); err == nil {
					stored++
				}
			}
			wantCode(t, err, gateway.CodeUnavailable)
			if tt.fits > 0 && stored != tt.fits {
				t.Errorf("%d entries fit, want %d", stored, tt.fits)
			}
			if got := n.Pending(); got != int64(stored) {
				t.Errorf("pending %d, want %d", got, stored)
			}
			if tt.fits > 0 {
				wantCode(t, n.Check(ctx), gateway.CodeUnavailable)
			}
			big := make([]*gateway.Entry, 1000)
			for i := range big {
				big[i] = keyed("k", "more than would ever fit")
			}
			wantCode(t, n.Append(ctx, big...), gateway.CodeTooLarge)

			n.own(t, db.run)
			until(t, "it is applied", func() bool { return db.total() == stored })
			until(t, "there is room", func() bool { return n.Append(ctx, keyed("k", "one more")) == nil })
			if err := n.Check(ctx); err != nil {
				t.Error("check:", err)
			}
		})
	}
}

// Redis was emptied, or is of an older day than the database: new entries come
// above the database's positions, be they where they may.
func TestStreamEmptied(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ahead := time.Now().Add(24 * time.Hour).UnixMicro()
	set := func(position int64) {
		db.mu.Lock()
		defer db.mu.Unlock()
		for i := range 4 {
			db.positions[fmt.Sprint("stream:", i)] = position
		}
	}
	set(ahead)
	ctx := context.Background()
	n := openStream(t, r.addr, db, nil)
	send := func(text string) {
		t.Helper()
		for i := range 20 {
			if err := n.Append(ctx, keyed(fmt.Sprint(i), fmt.Sprint(text, i))); err != nil {
				t.Fatal(err)
			}
		}
	}
	send("opened ")
	n.own(t, db.run)
	until(t, "all is applied", func() bool { return db.total() == 20 })

	set(2 * ahead) // by somebody else
	r.do("FLUSHALL")
	send("flushed ")
	until(t, "all is applied", func() bool { return db.total() == 40 })
	for i := range 4 {
		if p := db.positions[fmt.Sprint("stream:", i)]; p <= 2*ahead {
			t.Errorf("shard %d is at %d, want above %d", i, p, 2*ahead)
		}
	}

	// Without the database nobody knows where to go on.
	r.do("FLUSHALL")
	db.setAway(true)
	wantCode(t, n.Append(ctx, keyed("k", "refused")), gateway.CodeUnavailable)
	db.setAway(false)
	until(t, "it goes on", func() bool { return n.Append(ctx, keyed("k", "taken")) == nil })
	until(t, "it is applied", func() bool { return db.count("taken") == 1 })
}

// While the store is away payloads are taken in, and nothing is lost.
func TestStreamStoreAway(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Lease = 200 * time.Millisecond })
	n.own(t, db.run)
	until(t, "the shards are taken", func() bool { return len(n.shards()) == 4 })
	db.setAway(true)
	for i := range 200 {
		if err := n.Append(context.Background(), keyed(fmt.Sprint(i), fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "the shards are left", func() bool { return len(n.shards()) == 0 })
	db.setAway(false)
	until(t, "all is applied", func() bool { return db.total() == 200 })
}

// Any bytes come back as they went in, from memory and from Redis.
func TestStreamRoundTrip(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	for _, fromMemory := range []bool{true, false} {
		db := newDatabase(t)
		n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) {
			o.Prefix = fmt.Sprint("memory-", fromMemory)
			o.Shards = 1
			if !fromMemory {
				o.QueueBytes = 1
			}
		})
		got := make(chan *gateway.Entry, 100)
		n.own(t, func(ctx context.Context, sh *inbox.Shard) error {
			for {
				entries, err := sh.Next(ctx, 3)
				if err != nil {
					return err
				}
				for _, e := range entries {
					got <- e
				}
				_, _ = db.apply(sh.Name(), entries)
				sh.Applied(entries[len(entries)-1].Seq)
			}
		})
		rapid.Check(t, func(t *rapid.T) {
			var entries, want []*gateway.Entry
			for range rapid.IntRange(1, 8).Draw(t, "n") {
				e := &gateway.Entry{
					At:          time.Unix(rapid.Int64Range(-1<<40, 1<<40).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).UTC(),
					WorkspaceID: gateway.WorkspaceID(rapid.Int64().Draw(t, "workspace")),
					IP:          rapid.String().Draw(t, "ip"),
					Body:        rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
				}
				entries = append(entries, e)
				copied := *e
				want = append(want, &copied)
			}
			if err := n.Append(context.Background(), entries...); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				e := <-got
				want[i].Seq = e.Seq
				copied := *e
				copied.Payload = nil
				if len(copied.Body) == 0 && len(want[i].Body) == 0 {
					copied.Body, want[i].Body = nil, nil
				}
				if diff := cmp.Diff(want[i], &copied); diff != "" {
					t.Fatal(diff)
				}
			}
		})
	}
}

func TestStreamSettings(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		set  []string
		want string
	}{
		{"no file", []string{"--appendonly", "no"}, "appendonly yes"},
		{"every second", []string{"--appendfsync", "everysec"}, "appendfsync always"},
		{"not while rewriting", []string{"--no-appendfsync-on-rewrite", "yes"}, "no-appendfsync-on-rewrite no"},
		{"eviction", []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, "maxmemory-policy"},
		{"eviction of what expires", []string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-lru"}, ""},
		{"no CONFIG", []string{"--rename-command", "CONFIG", "hidden"}, "warn"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t, tt.set...)
			opts := inbox.StreamOptions{
				Redis:    &redis.UniversalOptions{Addrs: []string{r.addr}},
				Position: newDatabase(t).position,
			}
			logs := logged(&opts)
			s, err := inbox.OpenStream(context.Background(), opts)
			if err == nil {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}
			warned := logs.FilterMessageSnippet("does not tell its settings").Len()
			switch {
			case tt.want == "warn":
				if err != nil || warned != 1 {
					t.Errorf("error %v, %d warnings", err, warned)
				}
			case tt.want == "" && (err != nil || warned != 0):
				t.Errorf("error %v, %d warnings", err, warned)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n")):
				t.Errorf("error %v, want one line with %q", err, tt.want)
			}
		})
	}
}

// The number of shards stays what it was at first.
func TestStreamShardNumber(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 3 })
	var logs *observer.ObservedLogs
	other := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 8; logs = logged(o) })
	if logs.FilterMessageSnippet("another number of shards").Len() != 1 {
		t.Error("no warning of another number of shards")
	}
	all, err := other.Waiting(context.Background())
	if err != nil || len(all) != 3 {
		t.Errorf("%d shards, %v", len(all), err)
	}
}

// Redis reaches its memory limit: appends are refused, the shards are taken and
// drained all the same, and then appends go on.
func TestStreamOutOfMemory(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ctx := context.Background()
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Lease = 300 * time.Millisecond })
	body := strings.Repeat("x", 10_000)
	stored := 0
	for ; stored < 50; stored++ {
		if err := n.Append(ctx, keyed(fmt.Sprint(stored), fmt.Sprint(stored, body))); err != nil {
			t.Fatal(err)
		}
	}
	r.do("CONFIG SET maxmemory 1mb")
	until(t, "Redis is full", func() bool { return n.Append(ctx, keyed("k", "refused")) != nil })
	wantCode(t, n.Append(ctx, keyed("k", "refused")), gateway.CodeUnavailable)
	n.own(t, db.run)
	until(t, "all is applied", func() bool {
		for i := range stored {
			if db.count(fmt.Sprint(i, body)) != 1 {
				return false
			}
		}
		return true
	})
	r.do("CONFIG SET maxmemory 100mb")
	until(t, "Check says that there is room", func() bool { return n.Check(ctx) == nil })
	until(t, "payloads are taken", func() bool { return n.Append(ctx, keyed("k", "taken")) == nil })
	until(t, "they are applied", func() bool { return db.count("taken") == 1 })
}

// Without Redis appends are refused at once or after the time-out, and all goes
// on by itself when it is back.
func TestStreamRedisAway(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Timeout = 300 * time.Millisecond; o.Lease = 300 * time.Millisecond })
	n.own(t, db.run)
	ctx := context.Background()
	if err := n.Append(ctx, keyed("k", "before")); err != nil {
		t.Fatal(err)
	}
	r.Kill()
	for range 20 {
		wantCode(t, n.Append(ctx, keyed("k", "refused")), gateway.CodeUnavailable)
	}
	until(t, "Check says so", func() bool { return n.Check(ctx) != nil })
	if _, err := n.Waiting(ctx); gateway.CodeOf(err) != gateway.CodeUnavailable {
		t.Errorf("waiting: %v", err)
	}
	r.Start()
	until(t, "Check says that all is well", func() bool { return n.Check(ctx) == nil })
	until(t, "payloads are taken", func() bool { return n.Append(ctx, keyed("k", "after")) == nil })
	until(t, "they are applied", func() bool { return db.count("before") == 1 && db.count("after") == 1 })
}

func TestStreamDeadLetters(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ctx := context.Background()
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 2 })
	if err := n.Append(ctx, keyed("k", "good")); err != nil {
		t.Fatal(err)
	}
	c := r.client()
	defer func() { _ = c.Close() }()
	// A good batch with another's place; then one that says nothing, one damaged.
	var data string
	for i := range 2 {
		key := fmt.Sprintf("{civgate:inbox:%d}:log", i)
		for _, m := range c.XRange(ctx, key, "-", "+").Val() {
			data = m.Values["d"].(string)
		}
	}
	for _, values := range []map[string]any{{"x": "y\xff"}, {"n": 0, "b": 0, "d": data[:len(data)-1] + "?"}} {
		if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "{civgate:inbox:0}:log", ID: fmt.Sprintf("%d-1", time.Now().UnixMicro()), Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	// One that a later version might have written.
	if err := c.XAdd(ctx, &redis.XAddArgs{Stream: "{civgate:inbox:1}:dead", ID: "*", Values: []string{"id", "77-1", "why", "unknown", "d", `{"d":"` + b64(data) + `"}`}}).Err(); err != nil {
		t.Fatal(err)
	}
	n.own(t, db.run)
	until(t, "the good one is applied", func() bool { return db.count("good") == 1 })
	var letters []inbox.DeadLetter
	until(t, "the others are set aside", func() bool {
		var err error
		if letters, err = n.DeadLetters(ctx, 10); err != nil {
			t.Fatal(err)
		}
		return len(letters) == 3
	})
	if got := string(letters[0].Fields["x"]); got != "y\xff" || letters[0].Shard != "stream:0" || letters[0].Reason == "" {
		t.Errorf("the first letter is %+v", letters[0])
	}
	until(t, "appends go on in that shard", func() bool {
		for i := range 20 {
			if err := n.Append(ctx, keyed(fmt.Sprint(i), fmt.Sprint("more ", i))); err != nil {
				t.Fatal(err)
			}
		}
		return db.count("more 3") > 0
	})
	if _, err := n.Replay(ctx, letters[0].ID); gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("replay of what can't be read: %v", err)
	}
	for _, id := range []string{"", "0", "9/1-1", "0/x", "0/1-", "0/1-1 "} {
		if _, err := n.Replay(ctx, id); gateway.CodeOf(err) != gateway.CodeInvalid {
			t.Errorf("replay of %q: %v", id, err)
		}
	}
	wantCode(t, n.Drop(ctx, "0/1-1"), gateway.CodeNotFound)
	if entries, left, err := n.ReplayAll(ctx); entries != 1 || left != 2 || err != nil {
		t.Errorf("replay all: %d, %d, %v", entries, left, err)
	}
	until(t, "the replayed one is applied", func() bool { return db.count("good") == 2 })
	if err := n.Drop(ctx, letters[0].ID); err != nil {
		t.Error(err)
	}
	if dropped, err := n.DropAll(ctx); dropped != 1 || err != nil {
		t.Errorf("drop all: %d, %v", dropped, err)
	}
	if letters, err := n.DeadLetters(ctx, 10); len(letters) != 0 || err != nil {
		t.Errorf("%d letters left, %v", len(letters), err)
	}
}

func TestStreamWaiting(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ctx := context.Background()
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 1; o.Node = "here" })
	var seqs []int64
	for i := range 3 {
		e := keyed("k", fmt.Sprint(i))
		e.At = time.Date(2026, 1, 2, 3, 4, i, 0, time.UTC)
		if err := n.Append(ctx, e, keyed("k", "and another")); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, e.Seq)
	}
	db.positions["stream:0"] = seqs[0] + 1
	all, err := n.Waiting(ctx)
	if err != nil {
		t.Fatal(err)
	}
	st := all[0]
	if st.Name != "stream:0" || st.Pending != 6 || st.Bytes == 0 || st.Position != seqs[0]+1 || st.Last != seqs[2]+1 ||
		!st.Oldest.Equal(time.Date(2026, 1, 2, 3, 4, 1, 0, time.UTC)) || st.Owner != "" || st.Refused != 0 {
		t.Errorf("got %+v", st)
	}
	n.own(t, db.run)
	until(t, "it is applied and owned", func() bool {
		all, err := n.Waiting(ctx)
		return err == nil && all[0].Pending == 0 && all[0].Oldest.IsZero() && strings.HasPrefix(all[0].Owner, "here/")
	})
}

// Close ends Next and Own, and what comes later is refused.
func TestStreamClose(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	n := openStream(t, r.addr, db, nil)
	other := openStream(t, r.addr, db, nil)
	n.own(t, db.run)
	until(t, "the shards are taken", func() bool { return len(n.shards()) == 4 })
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	<-n.done
	wantCode(t, n.Append(context.Background(), keyed("k", "late")), gateway.CodeUnavailable)
	wantCode(t, n.Check(context.Background()), gateway.CodeUnavailable)
	wantCode(t, n.Own(context.Background(), db.run), gateway.CodeUnavailable)
	// Nothing of the node is left for others to wait for.
	for _, key := range []string{"{civgate:inbox}:nodes", "{civgate:inbox:0}:owner", "{civgate:inbox:3}:owner"} {
		if got := r.do("EXISTS " + key); got != int64(0) {
			t.Errorf("%s is still there", key)
		}
	}
	other.own(t, db.run)
	until(t, "the other has the shards", func() bool { return len(other.shards()) == 4 })
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// A Cluster loses a master half-way; with a replica that has all, nothing
// acknowledged is lost or doubled.
func TestStreamCluster(t *testing.T) {
	t.Parallel()
	c := redistest.NewCluster(t, durable...)
	testFailover(t, func(o *inbox.StreamOptions) {
		o.Redis.Addrs = nil
		for _, n := range c.Nodes {
			o.Redis.Addrs = append(o.Redis.Addrs, n.Addr)
		}
	}, c.Nodes[0].Kill, func() {
		c.Recover()
		c.Nodes[0].Start() // else the new master has no replica
	})
}

// The same behind a Sentinel.
func TestStreamSentinel(t *testing.T) {
	t.Parallel()
	master := startRedis(t)
	host, port, _ := net.SplitHostPort(master.addr)
	for range 2 {
		startRedis(t).do("REPLICAOF " + host + " " + port)
	}
	sentinel := startSentinel(t, master.addr)
	testFailover(t, func(o *inbox.StreamOptions) {
		o.Redis.Addrs = []string{sentinel}
		o.Redis.MasterName = "main"
	}, master.Kill, func() {})
}

// testFailover takes payloads in and applies them on two nodes while the master
// of some shards is killed; mend does what has to be done to make payloads
// taken again.
func testFailover(t *testing.T, where func(*inbox.StreamOptions), kill, mend func()) {
	t.Helper()
	db := newDatabase(t)
	change := func(o *inbox.StreamOptions) {
		where(o)
		o.Shards = 8
		o.Replicas = 1
	}
	nodes := []*node{openStream(t, "", db, change), openStream(t, "", db, change)}
	nodes[0].own(t, db.run)
	nodes[1].own(t, db.run)

	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	acknowledged := make(map[string]bool)
	refused := 0
	taken := make(map[int]bool) // by visitor
	counts := func() (int, int) {
		mu.Lock()
		defer mu.Unlock()
		return len(acknowledged), refused
	}
	const visitors = 16
	var wg sync.WaitGroup
	for c := range visitors {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				body := fmt.Sprint(c, " ", i)
				err := nodes[c%2].Append(context.Background(), keyed(fmt.Sprint(c), body))
				mu.Lock()
				if err == nil {
					acknowledged[body] = true
					taken[c] = true
				} else {
					refused++
				}
				mu.Unlock()
				if err != nil {
					if gateway.CodeOf(err) != gateway.CodeUnavailable {
						t.Errorf("append: %v", err)
					}
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	until(t, "payloads are taken", func() bool { n, _ := counts(); return n > 500 })
	kill()
	until(t, "payloads are refused", func() bool { _, n := counts(); return n > 0 })
	mend()
	mu.Lock()
	clear(taken)
	mu.Unlock()
	until(t, "each visitor's payloads are taken again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(taken) == visitors
	})
	cancel()
	wg.Wait()
	until(t, "all that was acknowledged is applied", func() bool {
		for body := range acknowledged {
			if db.count(body) == 0 {
				return false
			}
		}
		return true
	})
	db.mu.Lock()
	defer db.mu.Unlock()
	for body, times := range db.bodies {
		if times != 1 {
			t.Errorf("%q was applied %d times", body, times)
		}
	}
	t.Logf("%d acknowledged, %d refused, %d applied", len(acknowledged), refused, len(db.bodies))
}

// Without the replicas that are asked for nothing is acknowledged.
func TestStreamReplicas(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	n := openStream(t, r.addr, newDatabase(t), func(o *inbox.StreamOptions) {
		o.Replicas = 1
		o.Timeout = 200 * time.Millisecond
	})
	wantCode(t, n.Append(context.Background(), keyed("k", "refused")), gateway.CodeUnavailable)
	replica := startRedis(t)
	host, port, _ := net.SplitHostPort(r.addr)
	replica.do("REPLICAOF " + host + " " + port)
	until(t, "it is taken", func() bool { return n.Append(context.Background(), keyed("k", "taken")) == nil })
}

// Somebody deletes a shard's state but not its stream.
func TestStreamStateLost(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ctx := context.Background()
	n := openStream(t, r.addr, db, func(o *inbox.StreamOptions) { o.Shards = 1; o.MaxPending = 10 })
	for i := range 4 {
		if err := n.Append(ctx, keyed("k", fmt.Sprint(i)), keyed("k", fmt.Sprint("also ", i))); err != nil {
			t.Fatal(err)
		}
	}
	r.do("DEL {civgate:inbox:0}:state")
	if err := n.Append(ctx, keyed("k", "4"), keyed("k", "also 4")); err != nil {
		t.Fatal(err)
	}
	if got := n.Pending(); got != 10 {
		t.Errorf("pending %d, want 10", got)
	}
	wantCode(t, n.Append(ctx, keyed("k", "too much")), gateway.CodeUnavailable)
	n.own(t, db.run)
	until(t, "all is applied, and room again", func() bool { return db.total() == 10 && n.Pending() == 0 })
}

// Redis comes back from a backup, or as a replica that lacked the last entries.
// A node that has seen nothing of what is lost appends at once: nothing of that
// is taken for applied.
func TestStreamRestored(t *testing.T) {
	t.Parallel()
	r := startRedis(t)
	db := newDatabase(t)
	ctx := context.Background()
	change := func(o *inbox.StreamOptions) { o.Shards = 1 }
	worker, idle := openStream(t, r.addr, db, change), openStream(t, r.addr, db, change)
	if err := worker.Append(ctx, keyed("k", "before")); err != nil {
		t.Fatal(err)
	}
	dir := r.do("CONFIG GET dir").(map[any]any)["dir"].(string)
	data, backup := filepath.Join(dir, "appendonlydir"), filepath.Join(t.TempDir(), "backup")
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	worker.own(t, db.run)
	for i := range 500 {
		if err := worker.Append(ctx, keyed("k", fmt.Sprint("lost ", i)), keyed("k", fmt.Sprint("lost too ", i))); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all is applied", func() bool { return db.total() == 1001 })

	r.Kill()
	if err := errors.Join(os.RemoveAll(data), os.CopyFS(data, os.DirFS(backup))); err != nil {
		t.Fatal(err)
	}
	r.Start()
	sent := 0
	until(t, "payloads are taken", func() bool { sent++; return idle.Append(ctx, keyed("k", fmt.Sprint("after ", sent))) == nil })
	until(t, "they are applied", func() bool { return db.count(fmt.Sprint("after ", sent)) == 1 })
	for body, times := range db.bodies {
		if times != 1 {
			t.Errorf("%q was applied %d times", body, times)
		}
	}
}
