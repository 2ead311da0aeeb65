package cache

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"civgate/gateway"
)

// Options say where Redis is and how far it is trusted. Only URL is needed; a
// zero takes the value named.
type Options struct {
	// URL is one of
	//
	//	redis://[user[:password]@]host[:port][/database]    one server
	//	redis://[user[:password]@]host[:port],host[:port]…  a Cluster, by some of its nodes
	//	redis://host[:port]?cluster=true                    a Cluster, by one
	//	redis://[user[:password]@]host[:port],…[/database]?master=name
	//	                                                    the master that these Sentinels know by the name;
	//	                                                    &sentinel_username=…&sentinel_password=… are theirs
	//
	// with rediss:// for TLS everywhere (the system's authorities; SSL_CERT_FILE
	// names others). The port is 6379 if none is given. Redis must be 6.2 or
	// newer, or something that speaks like it.
	URL string
	// Prefix begins each key and the channel's name: gateways with databases of
	// their own that share a Redis need different ones. "civgate:".
	Prefix string
	// Local is how many identifiers, and as many contacts, are kept in the
	// process; 100,000.
	Local int
	// LocalAge is how long an entry counts there without being asked for again
	// in Redis; a minute.
	LocalAge time.Duration
	// Expiry is how long an identity that nobody changes stays in Redis; 7 days.
	Expiry time.Duration
	// Timeout is how long any call takes at most, however many round trips it
	// needs; 200 ms. Calls of more than 4,096 keys have as much for each 4,096. A
	// call that takes longer has failed.
	Timeout time.Duration
	// DialTimeout bounds a new connection within that; 100 ms.
	DialTimeout time.Duration
	// Failures is after how many failed calls in a row the circuit opens; 3.
	Failures int
	// Probe is how often Redis is tried while the circuit is open, and how often
	// what is owed to it is delivered otherwise; 1 s.
	Probe time.Duration
	// Tick is how often shared limits are compared; 100 ms.
	Tick time.Duration
	// Log is told when the circuit opens and closes; nothing by default.
	Log *zap.Logger
}

func (o *Options) setDefaults() {
	if o.Prefix == "" {
		o.Prefix = "civgate:"
	}
	if o.Local <= 0 {
		o.Local = 100_000
	}
	for _, d := range []struct {
		is *time.Duration
		by time.Duration
	}{
		{&o.LocalAge, time.Minute},
		{&o.Expiry, 7 * 24 * time.Hour},
		{&o.Timeout, 200 * time.Millisecond},
		{&o.DialTimeout, 100 * time.Millisecond},
		{&o.Probe, time.Second},
		{&o.Tick, 100 * time.Millisecond},
	} {
		if *d.is <= 0 {
			*d.is = d.by
		}
	}
	if o.Failures <= 0 {
		o.Failures = 3
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
}

// maxPipeline is how many commands are sent before the answers are read; more
// are sent in turns. What is not read waits in Redis's memory.
const maxPipeline = 1024

// maxBatch is how many commands have to be done within Options.Timeout.
const maxBatch = 4096

// Redis is a gateway.Cache shared by all nodes, in front of it a Memory of this
// process. Its methods may be called from several goroutines, return within
// Options.Timeout, and work without Redis on what the process knows. Use
// NewRedis.
type Redis struct {
	opt     Options
	client  redis.UniversalClient
	cluster bool
	node    uint32 // this process, among the writers of a key
	channel string
	local   *layer

	circuit    circuit
	subscribed atomic.Bool // this process hears what others change
	debt       debt
	counts     counts

	run    context.Context // ends with Close
	cancel context.CancelFunc
	done   sync.WaitGroup
	closed sync.Once
}

var _ gateway.Cache = (*Redis)(nil)

// Stats are counters since the start, and two states.
type Stats struct {
	// What became of the identifiers that Identities was asked for: known in the
	// process, known in Redis, known nowhere. What could not be asked, because the
	// circuit was open or Redis failed, is among the misses.
	LocalHits, RedisHits, Misses uint64
	// Errors counts calls that Redis failed or answered too late, Refused single
	// writes that it refused for want of memory.
	Errors, Refused uint64
	// Conflicts counts keys that two nodes wrote at once, so that neither counts.
	Conflicts uint64
	// Invalidations counts what other nodes said not to count any more, Dropped
	// how often the process's layer was dropped as a whole.
	Invalidations, Dropped uint64
	// Opened is how often the circuit opened; CircuitOpen whether it is open now:
	// Redis is not asked.
	Opened      uint64
	CircuitOpen bool
	// Subscribed tells that this process hears what others change.
	Subscribed bool
	// Owed is how many keys changed here while Redis could not be told, Forgiven
	// how many more than can be kept in mind (they may be stale there).
	Owed     int
	Forgiven uint64
	// LimitsShared counts comparisons of a limit with the other nodes, LimitsAlone
	// those that Redis was not there for.
	LimitsShared, LimitsAlone uint64
}

type counts struct {
	localHits, redisHits, misses     atomic.Uint64
	errors, refused, conflicts       atomic.Uint64
	invalidations, dropped           atomic.Uint64
	limitsShared, limitsAlone, owing atomic.Uint64
}

// NewRedis returns the cache that o describes and connects to Redis in the
// background: that Redis is away is no error, at the start or later. The error
// is a CodeInvalid that says what is wrong with the URL.
func NewRedis(o Options) (*Redis, error) {
	o.setDefaults()
	u, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	u.DialTimeout = o.DialTimeout
	u.ReadTimeout, u.WriteTimeout, u.PoolTimeout = o.Timeout, o.Timeout, o.Timeout
	u.ContextTimeoutEnabled = true
	u.DialerRetries = 1
	u.MaxRetries = -1 // what fails is not worth more of a payload's time
	u.MinRetryBackoff, u.MaxRetryBackoff = 4*time.Millisecond, 16*time.Millisecond
	u.PoolSize = 8 // the applier is one, the panel's and REST's edits are few
	u.DisableIdentity = true
	quiet()
	u.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}

	var id [4]byte
	_, _ = rand.Read(id[:]) // never fails
	r := &Redis{
		opt:    o,
		client: redis.NewUniversalClient(u),
		node:   binary.BigEndian.Uint32(id[:]),
		// Channels, unlike keys, are shared by all databases of a server.
		channel: o.Prefix + "changes:" + strconv.Itoa(u.DB),
		local:   newLayer(o.Local, o.LocalAge),
	}
	_, r.cluster = r.client.(*redis.ClusterClient)
	r.circuit.limit = o.Failures
	r.run, r.cancel = context.WithCancel(context.Background())
	r.done.Go(r.maintain)
	r.done.Go(r.listen)
	return r, nil
}

// quiet keeps the client from writing a line to standard error for each
// connection that it can't make: Stats and the log of Options tell of that once.
var quiet = sync.OnceFunc(logging.Disable)

// Close stops what runs in the background and closes the connections. (While
// Redis is away the client tries to connect once a second; that ends within the
// next.) The cache goes on from its own memory, and so do its limiters.
func (r *Redis) Close() error {
	var err error
	r.closed.Do(func() {
		r.cancel()
		r.done.Wait()
		r.circuit.trip() // with nobody left to close it
		r.local.stop()
		err = r.client.Close()
	})
	return err
}

// Stats returns the counters as they are now.
func (r *Redis) Stats() Stats {
	c := &r.counts
	open, opened := r.circuit.state()
	return Stats{
		LocalHits: c.localHits.Load(), RedisHits: c.redisHits.Load(), Misses: c.misses.Load(),
		Errors: c.errors.Load(), Refused: c.refused.Load(), Conflicts: c.conflicts.Load(),
		Invalidations: c.invalidations.Load(), Dropped: c.dropped.Load(),
		Opened: opened, CircuitOpen: open, Subscribed: r.subscribed.Load(),
		Owed: r.debt.size(), Forgiven: c.owing.Load(),
		LimitsShared: c.limitsShared.Load(), LimitsAlone: c.limitsAlone.Load(),
	}
}

// errOpen is what do returns while the circuit is open.
var errOpen = errors.New("the circuit is open")

// do runs commands in pipelines of maxPipeline within ctx and tells the circuit.
// An error means that Redis failed as a whole; the commands that got no answer
// have an error too. That a single command was refused, or found nothing, is in
// that command alone.
func (r *Redis) do(ctx context.Context, cmds []redis.Cmder) error {
	if !r.circuit.closed() {
		for _, c := range cmds {
			c.SetErr(errOpen)
		}
		return errOpen
	}
	err := r.send(ctx, cmds)
	switch {
	case err == nil:
		r.circuit.succeeded()
	case r.run.Err() != nil: // closing
	default:
		r.counts.errors.Add(1)
		if r.circuit.failed() {
			r.opt.Log.Warn("Redis fails; going on without it", zap.Error(err))
		}
	}
	return err
}

// send is do without the circuit.
func (r *Redis) send(ctx context.Context, cmds []redis.Cmder) error {
	var failure error
	for chunk := range slices.Chunk(cmds, maxPipeline) {
		if failure != nil {
			for _, c := range chunk {
				c.SetErr(failure)
			}
			continue
		}
		pipe := r.client.Pipeline()
		for _, c := range chunk {
			_ = pipe.Process(ctx, c) // queues it
		}
		_, err := pipe.Exec(ctx)
		for _, c := range chunk {
			if failed(c.Err()) {
				failure = c.Err()
				break
			}
		}
		if failure == nil && failed(err) {
			// It never came to the commands, and they don't know: the server refused
			// the connection with an answer, such as WRONGPASS.
			failure = err
			for _, c := range chunk {
				c.SetErr(err)
			}
		}
	}
	return failure
}

// failed reports whether err means that Redis is of no use at the moment.
func failed(err error) bool {
	return err != nil && !errors.Is(err, redis.Nil) && !refused(err) && !noScript(err)
}

// refused reports whether Redis has no room for the write.
func refused(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "OOM ") }

// noScript reports whether Redis doesn't have the script that it was to run.
func noScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT ") }

// bound returns ctx with the time that a call of so many commands may take. The
// caller's own end doesn't count: it would leave half of a change behind, and
// look like a failure of Redis.
func (r *Redis) bound(ctx context.Context, commands int) (context.Context, context.CancelFunc) {
	parts := max(1, (commands+maxBatch-1)/maxBatch)
	return context.WithTimeout(context.WithoutCancel(ctx), time.Duration(parts)*r.opt.Timeout)
}

// maintain closes an open circuit when Redis answers again, and delivers what
// is owed.
func (r *Redis) maintain() {
	t := time.NewTicker(r.opt.Probe)
	defer t.Stop()
	for {
		select {
		case <-r.run.Done():
			return
		case <-t.C:
		}
		open, _ := r.circuit.state()
		if open {
			if r.ping() == nil && r.settle() == nil && r.run.Err() == nil {
				r.circuit.close()
				r.opt.Log.Info("Redis answers again")
			}
		} else if r.debt.size() > 0 {
			// Where what is owed can't be written, what can be read is not to be
			// believed: a disk is full, a replica answers.
			if err := r.settle(); err != nil && r.run.Err() == nil && r.circuit.trip() {
				r.opt.Log.Warn("Redis doesn't take writes; going on without it", zap.Error(err))
			}
		}
	}
}

// ping asks whether Redis is there: in a Cluster, all of its masters.
func (r *Redis) ping() error {
	ctx, cancel := r.bound(r.run, 1)
	defer cancel()
	if c, ok := r.client.(*redis.ClusterClient); ok {
		return c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.Ping(ctx).Err() })
	}
	return r.client.Ping(ctx).Err()
}

// circuit keeps callers from waiting for a Redis that is not there. It opens
// after limit failures in a row and is closed from outside.
type circuit struct {
	limit int

	isOpen atomic.Bool
	mu     sync.Mutex
	inARow int
	opened uint64
}

func (c *circuit) closed() bool { return !c.isOpen.Load() }

func (c *circuit) state() (open bool, opened uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOpen.Load(), c.opened
}

func (c *circuit) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inARow = 0
}

// failed counts a failure and tells whether it opened the circuit.
func (c *circuit) failed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inARow++
	return c.inARow >= c.limit && c.open()
}

// trip opens the circuit, and tells whether it was closed.
func (c *circuit) trip() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open()
}

func (c *circuit) open() bool {
	if c.isOpen.Load() {
		return false
	}
	c.opened++
	c.isOpen.Store(true)
	return true
}

func (c *circuit) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inARow = 0
	c.isOpen.Store(false)
}
