package gateway

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Config is what a Gateway is built from. Store, Cache and Log are needed, and
// either Inbox or Intake.
type Config struct {
	Store Store
	Inbox Inbox
	// Intake is where accepted payloads go; default Inbox. With an Intake alone its
	// shards are applied by RunShard.
	Intake Intake
	Cache  Cache
	Log    *zap.Logger
	// Limiter bounds what one apiKey may send, under "key:" and the apiKey; how
	// much that is, is its business. nil: no limits.
	Limiter Limiter
	// Observer counts; nil: nobody does.
	Observer Observer
	// Inspect has what becomes of payloads noted, for RunInspector to write.
	Inspect bool
	// Node names this process's inbox in the store. Default "local".
	Node string
	// Now is the clock; default time.Now. Times are stored in UTC with
	// microseconds.
	Now func() time.Time
}

// Gateway is the use cases over one store and one inbox. Accept and the reads
// may be called from many goroutines; Run is called once, or RunShard once a
// shard.
type Gateway struct {
	store   Store
	intake  Intake
	inbox   Inbox // nil: RunShard is called for others
	cache   Cache
	limiter Limiter
	observe Observer
	log     *zap.Logger
	node    string
	now     func() time.Time

	workspaces directory
	applying   sync.Mutex // held while a batch is applied: one at a time
	defs       sync.Map   // WorkspaceID -> definitions, replaced whole
	applied    atomic.Pointer[chan struct{}]
	inspector  inspector
	waiting    sync.Map // name of a shard -> wait
	rules      sync.Map // WorkspaceID -> ruleOf, replaced whole
	jobs       jobRunner
	names      namer
	sweeps     map[WorkspaceID]sweep // Sweep's
	failing    sync.Map              // name of a shard -> why the batch under way could not be applied when it was last tried
}

// wait is since when payloads of a shard have been waiting.
type wait struct {
	// since is when the first payload of the batch under way was accepted, or when
	// Next began to fail.
	since time.Time
	// unread is the shard whose Next fails, nil for a batch under way. That it can be
	// read again shows only when there is something to read.
	unread Inbox
}

// New builds a Gateway. It starts nothing: Run does the applying.
func New(c Config) *Gateway {
	g := &Gateway{store: c.Store, inbox: c.Inbox, intake: c.Intake, cache: c.Cache, limiter: c.Limiter, observe: c.Observer, log: c.Log, node: c.Node, now: c.Now}
	if g.intake == nil {
		g.intake = c.Inbox
	}
	if g.node == "" {
		g.node = "local"
	}
	if g.now == nil {
		g.now = time.Now
	}
	if g.observe == nil {
		g.observe = nobody{}
	}
	g.workspaces.gateway = g
	g.inspector.init(c.Inspect)
	g.jobs.wake = make(chan struct{}, 1)
	ch := make(chan struct{})
	g.applied.Store(&ch)
	return g
}

// nobody is the Observer that doesn't look.
type nobody struct{}

func (nobody) Answered(Code, int)                        {}
func (nobody) Applied(int, time.Duration, time.Duration) {}
func (nobody) Retried(Code)                              {}

// Read returns the read side of the store.
func (g *Gateway) Read() Reader { return g.store }

// Pending is how many payloads are acknowledged and not yet visible to Read.
func (g *Gateway) Pending() int64 { return g.intake.Pending() }

// Lag is for how long the oldest of the payloads that are being applied has been
// waiting, or, where they can't be read from the inbox, for how long that has
// been so; 0 if nothing waits.
func (g *Gateway) Lag() (oldest time.Duration) {
	now := g.now()
	g.waiting.Range(func(name, v any) bool {
		w := v.(wait)
		if w.unread != nil && w.unread.Pending() == 0 {
			g.waiting.CompareAndDelete(name, w)
			return true
		}
		oldest = max(oldest, now.Sub(w.since))
		return true
	})
	return oldest
}

// Health is whether a gateway can do its work.
type Health struct {
	Inbox error // nil: payloads can be taken
	Store error // nil: what was applied can be read
	// Writes is why what was taken could not be applied at the last try, and waits
	// for another; nil if it could, or if there was nothing to apply.
	Writes error
}

// Ready reports whether payloads can be taken. A store that is away, or takes no
// writes, doesn't change that as long as the inbox has room.
func (h Health) Ready() bool { return h.Inbox == nil }

// Check looks whether inbox and store work. It waits until ctx ends at most.
func (g *Gateway) Check(ctx context.Context) Health {
	var h Health
	var both sync.WaitGroup
	both.Go(func() { h.Inbox = g.intake.Check(ctx) })
	both.Go(func() { h.Store = g.store.Ping(ctx) })
	both.Wait()
	g.failing.Range(func(_, err any) bool {
		h.Writes = err.(error)
		return false
	})
	return h
}

// Changed returns a channel that is closed after the next batch was applied.
// To miss nothing, ask for it before reading the state that is to be watched.
func (g *Gateway) Changed() <-chan struct{} { return *g.applied.Load() }

func (g *Gateway) announce() {
	ch := make(chan struct{})
	close(*g.applied.Swap(&ch))
}

// clock returns the time as it is stored.
func (g *Gateway) clock() time.Time { return g.now().UTC().Truncate(time.Microsecond) }

// attributeDefs returns the definitions of a workspace as far as they are
// known here, reading them at the first call. The set must not be changed.
func (g *Gateway) attributeDefs(ctx context.Context, w WorkspaceID) (definitions, error) {
	if v, ok := g.defs.Load(w); ok {
		return v.(definitions), nil
	}
	// Before the definitions: should one be dropped in between, this number tells.
	dropped, err := g.store.DroppedAttributes(ctx, w)
	if err != nil {
		return definitions{}, err
	}
	list, err := g.store.AttributeDefs(ctx, w)
	if err != nil {
		return definitions{}, err
	}
	set := make(defSet, len(list))
	for i := range list {
		set[DefKey{list[i].Entity, list[i].Name}] = &list[i]
	}
	v, _ := g.defs.LoadOrStore(w, definitions{set, dropped})
	return v.(definitions), nil
}

// publishDefs makes new definitions known to acceptance.
func (g *Gateway) publishDefs(w WorkspaceID, old definitions, fresh map[DefKey]*AttributeDef) {
	if len(fresh) == 0 {
		return
	}
	set := make(defSet, len(old.set)+len(fresh))
	maps.Copy(set, old.set)
	maps.Copy(set, fresh)
	g.defs.Store(w, definitions{set, old.dropped})
}
