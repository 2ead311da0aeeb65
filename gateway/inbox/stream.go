package inbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"civgate/gateway"
)

// StreamOptions say where a stream inbox is and what it may hold. Redis, Node
// and Position must be set; other zero fields take the defaults.
type StreamOptions struct {
	// Redis names the server: one address, several (a Cluster), or a MasterName
	// with the addresses of its Sentinels. Time-outs, retries and the size of the
	// pool are the inbox's to set.
	Redis *redis.UniversalOptions
	// Prefix begins the name of every key; "civgate" by default. Nodes of the same
	// prefix must have the same store: they apply each other's entries.
	Prefix string
	// Node names this process to people who look at Redis.
	Node string
	// Shards is how many shards a new inbox gets, 8 by default, at most 1,024. An
	// inbox that exists keeps the number it has.
	Shards int
	// Position tells up to which number the store has applied a shard
	// (gateway.Store.InboxPosition). It is asked with a time-out.
	Position func(ctx context.Context, shard string) (int64, error)

	// Replicas is how many replicas must have an entry before Append returns, so
	// that it outlives the loss of its master; 0 by default. Each commit then takes
	// a round trip between the servers longer, and while there are too
	// few replicas Append fails with CodeUnavailable.
	Replicas int

	// MaxPending and MaxBytes are how many entries and bytes may wait in Redis,
	// 500,000 and 512 MiB by default. Each shard may hold its even share.
	MaxPending int64
	MaxBytes   int64
	// QueueEntries and QueueBytes bound what is kept in memory for the shards that
	// this process applies, 32,768 entries and 64 MiB by default; what exceeds
	// them is read back from Redis.
	QueueEntries int
	QueueBytes   int64
	// Timeout is how long Append tries, and the longest wait for an answer of
	// Redis or of Position; 2 s by default.
	Timeout time.Duration
	// Lease is after what time the shards of a node that vanished go to others;
	// 10 s by default, at least 100 ms.
	Lease time.Duration
	// Log is told of what changes while the inbox is open: Redis away and back,
	// shards taken and given up, settings that don't fit.
	Log *zap.Logger
}

const maxShards = 1024

func (o StreamOptions) withDefaults() (StreamOptions, error) {
	switch {
	case o.Redis == nil || len(o.Redis.Addrs) == 0:
		return o, errors.New("stream inbox: no address of Redis")
	case o.Position == nil:
		return o, errors.New("stream inbox: nobody to ask for positions")
	case o.Replicas < 0:
		return o, fmt.Errorf("stream inbox: %d replicas", o.Replicas)
	case o.Shards < 0 || o.Shards > maxShards:
		return o, fmt.Errorf("stream inbox: %d shards, want 1 to %d", o.Shards, maxShards)
	}
	if o.Prefix == "" {
		o.Prefix = "civgate"
	}
	if strings.ContainsAny(o.Prefix, "{}") {
		return o, fmt.Errorf("stream inbox: prefix %q has a brace", o.Prefix)
	}
	setDefault(&o.Shards, 8)
	setDefault(&o.MaxPending, 500_000)
	setDefault(&o.MaxBytes, 512<<20)
	setDefault(&o.QueueEntries, 32768)
	setDefault(&o.QueueBytes, 64<<20)
	if o.Timeout <= 0 {
		o.Timeout = 2 * time.Second
	}
	if o.Lease <= 0 {
		o.Lease = 10 * time.Second
	}
	o.Lease = max(o.Lease, 100*time.Millisecond)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	return o, nil
}

// Stream is an inbox in Redis Streams that all nodes share. OpenStream makes
// one for this process: it takes entries in for any shard (Append), and applies
// the shards that are this node's (Own).
type Stream struct {
	opts   StreamOptions
	client redis.UniversalClient
	writer string // names this Stream's appends: "w:" and a random id
	node   string // names it as the owner of shards
	shards []*Shard
	// The even shares of the bounds.
	maxPending, maxBytes int64

	mu      sync.Mutex
	closed  bool
	arrived *sync.Cond // a flight was added, or closed was set

	// Append: flights wait to be sent, the last one still takes more.
	flights      []*flight
	waitingBytes int64 // in flights, and in the one being sent
	crowd        crowd // the entries there

	// What this process has taken in for shards that it owns, see Shard.local.
	localEntries int
	localBytes   int64

	// Of the committer alone.
	appends uint64   // number of the last append
	bufs    [][]byte // packed batches, by shard

	contact atomic.Int64 // when Redis last answered the watcher, Unix nanoseconds

	trims   chan struct{} // holds one signal: a shard is to be trimmed
	closing chan struct{} // closed by Close
	running sync.WaitGroup
	owners  sync.WaitGroup // calls of Own
	background
	closeOnce sync.Once
	closeErr  error
}

// background is a context that ends with the inbox.
type background struct {
	ctx  context.Context
	stop context.CancelFunc
}

// Shard is one part of a Stream: entries in an order of their own, with a
// position of their own. It is what Own gives to the node that applies it.
type Shard struct {
	stream *Stream
	index  int
	name   string
	// Names of keys.
	log, state, owner, dead string

	pending atomic.Int64 // entries, as Redis last said

	reading chan struct{} // held by the one Next that runs
	// Of whoever holds reading. pos is the last entry that was handed out; ahead
	// has been read and follows it, and batch is about the size of a batch.
	ahead []*gateway.Entry
	batch int64
	away  bool // the last read failed

	// The rest is guarded by Stream.mu.
	pos   int64
	owned bool
	last  int64 // highest number that this process knows of
	// down is why the last append failed, nil if it did not; until downUntil
	// there won't be another.
	down      error
	downUntil time.Time
	applied   int64
	trimmed   int64
	// local are batches that this process took in while it owned the shard.
	local []localBatch
}

// localBatch is a batch that need not be read back. prev is the number that was
// given out before it: nothing lies between prev and first.
type localBatch struct {
	prev, last int64
	entries    []*gateway.Entry
	bytes      int64
}

var _ gateway.Inbox = (*Shard)(nil)

// OpenStream opens the inbox of the prefix. It makes sure that Redis keeps what
// it acknowledges, and that the numbers of new entries are above what the store
// has applied, whatever became of Redis meanwhile.
//
// It is an error, in one line that says what to change, if Redis can't be
// reached within a few seconds, is older than 6.2, does not write each command
// to disk before it answers (appendonly yes, appendfsync always,
// no-appendfsync-on-rewrite no), or may evict keys that have no expiry. Where
// the server keeps its settings to itself it is a warning.
func OpenStream(ctx context.Context, opts StreamOptions) (*Stream, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Stream{
		crowd:   newCrowd(),
		opts:    opts,
		client:  newClient(opts),
		trims:   make(chan struct{}, 1),
		closing: make(chan struct{}),
	}
	id := rand.Text()
	s.writer, s.node = "w:"+id, opts.Node+"/"+id
	s.arrived = sync.NewCond(&s.mu)
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.client.Close())
	}
	s.background.ctx, s.background.stop = context.WithCancel(context.Background())
	s.running.Go(s.commitLoop)
	s.running.Go(s.trimLoop)
	s.running.Go(s.watchLoop)
	return s, nil
}

// newClient makes a client whose calls end in time.
func newClient(opts StreamOptions) redis.UniversalClient {
	o := *opts.Redis
	// Appends are tried again by the committer, which knows for how long; the
	// other calls come again anyway.
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = opts.Timeout, opts.Timeout, opts.Timeout, opts.Timeout
	// Each shard that is read keeps a connection while it waits.
	o.PoolSize = maxShards + 16
	o.ReadOnly, o.RouteByLatency, o.RouteRandomly = false, false, false
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return redis.NewUniversalClient(&o)
}

// openPatience is how long OpenStream waits for a Redis that is not ready.
const openPatience = 10 * time.Second

// start checks the servers and makes the shards ready.
func (s *Stream) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := s.tryStart(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil || !isTemporary(err) || !wait(ctx, pause) {
			return fmt.Errorf("stream inbox: %w", err)
		}
	}
}

func (s *Stream) tryStart(ctx context.Context) error {
	if err := s.call(ctx, s.checkServers); err != nil {
		return err
	}
	var count int
	err := s.call(ctx, func(ctx context.Context) (err error) {
		count, err = s.shardCount(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if count != s.opts.Shards {
		s.opts.Log.Warn("the inbox in Redis has another number of shards than is set; it keeps it",
			zap.Int("shards", count), zap.Int("set", s.opts.Shards))
	}
	s.shards = make([]*Shard, count)
	s.bufs = make([][]byte, count)
	s.maxPending = max(s.opts.MaxPending/int64(count), 1)
	s.maxBytes = max(s.opts.MaxBytes/int64(count), 1)
	for i := range s.shards {
		tag := fmt.Sprintf("{%s:inbox:%d}:", s.opts.Prefix, i)
		s.shards[i] = &Shard{
			stream: s, index: i, name: shardName(i),
			log: tag + "log", state: tag + "state", owner: tag + "owner", dead: tag + "dead",
			reading: make(chan struct{}, 1),
		}
	}
	for _, sh := range s.shards {
		if _, err := sh.prepare(ctx); err != nil {
			return err
		}
	}
	return s.call(ctx, s.refresh)
}

// shardName names the shard where positions are kept.
func shardName(index int) string { return "stream:" + strconv.Itoa(index) }

// shardCount is the number of shards, which the first to ask decides.
func (s *Stream) shardCount(ctx context.Context) (int, error) {
	key := s.key("shards")
	if err := s.client.SetNX(ctx, key, s.opts.Shards, 0).Err(); err != nil {
		return 0, err
	}
	text, err := s.client.Get(ctx, key).Result()
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxShards {
		return 0, errorAnswer(fmt.Sprintf("key %s is %.20q, not a number of shards", key, text))
	}
	return n, nil
}

// key names a key that belongs to no shard.
func (s *Stream) key(name string) string { return "{" + s.opts.Prefix + ":inbox}:" + name }

// errorAnswer is an error in what Redis holds: trying again won't help.
type errorAnswer string

func (e errorAnswer) Error() string { return string(e) }

// RedisError marks it like an error that Redis itself answered.
func (e errorAnswer) RedisError() {}

// call calls f with a time-out.
func (s *Stream) call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	return f(ctx)
}

// wait waits for d, or says that ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// checkServers checks that what Redis acknowledges is on disk and stays.
func (s *Stream) checkServers(ctx context.Context) error {
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		return c.ForEachMaster(ctx, s.checkServer)
	case *redis.Client:
		return s.checkServer(ctx, c)
	}
	return errorAnswer(fmt.Sprintf("no way to check a %T", s.client))
}

func (s *Stream) checkServer(ctx context.Context, c *redis.Client) error {
	info, err := c.Info(ctx, "server").Result()
	if err != nil && isTemporary(err) {
		return err
	}
	if _, after, ok := strings.Cut(info, "redis_version:"); ok {
		version, _, _ := strings.Cut(after, "\r\n")
		if olderThan62(version) {
			return errorAnswer(fmt.Sprintf("Redis %s is too old, 6.2 or newer is needed (XTRIM MINID)", version))
		}
	}
	set := make(map[string]string)
	for _, name := range []string{"appendonly", "appendfsync", "no-appendfsync-on-rewrite", "maxmemory", "maxmemory-policy"} {
		got, err := c.ConfigGet(ctx, name).Result()
		if err != nil {
			if isTemporary(err) {
				return err
			}
			s.opts.Log.Warn("Redis does not tell its settings; make sure that it has appendonly yes, appendfsync always, no-appendfsync-on-rewrite no, and no allkeys- eviction", zap.Error(err))
			return nil
		}
		for k, v := range got {
			set[k] = v
		}
	}
	for _, want := range []struct{ name, value string }{
		{"appendonly", "yes"}, {"appendfsync", "always"}, {"no-appendfsync-on-rewrite", "no"},
	} {
		if got, ok := set[want.name]; ok && got != want.value {
			return errorAnswer(fmt.Sprintf("Redis has %s %s; an inbox in it needs %s %s, or acknowledged payloads could be lost",
				want.name, got, want.name, want.value))
		}
	}
	if policy := set["maxmemory-policy"]; set["maxmemory"] != "0" && strings.HasPrefix(policy, "allkeys-") {
		return errorAnswer(fmt.Sprintf("Redis has maxmemory-policy %s and would evict acknowledged payloads; set noeviction or a volatile- policy", policy))
	}
	return nil
}

func olderThan62(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	x, err1 := strconv.Atoi(major)
	y, err2 := strconv.Atoi(minor)
	return err1 == nil && err2 == nil && (x < 6 || x == 6 && y < 2)
}

// prepare gives the shard its state if it has none, with numbers above all that
// the store has applied and that this process knows of, and returns the
// store's position.
func (sh *Shard) prepare(ctx context.Context) (int64, error) {
	s := sh.stream
	var position int64
	err := s.call(ctx, func(ctx context.Context) (err error) {
		position, err = s.opts.Position(ctx, sh.name)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("ask for the position of %s: %w", sh.name, err)
	}
	s.mu.Lock()
	floor := max(position, sh.last, 0)
	s.mu.Unlock()
	if floor > maxSeq {
		return 0, errorAnswer(fmt.Sprintf("the position of %s is %d, more than can be: the database is not of this inbox", sh.name, floor))
	}
	return position, s.call(ctx, func(ctx context.Context) error {
		last, err := runScript(ctx, s.client, prepareScript, []string{sh.log, sh.state}, floor).Int64()
		if err != nil {
			return fmt.Errorf("prepare %s: %w", sh.name, err)
		}
		s.mu.Lock()
		sh.last = max(sh.last, last)
		s.mu.Unlock()
		return nil
	})
}

// refresh asks Redis how much waits in each shard, and repairs those that lost
// their state or numbers that this process knows of: Redis was emptied, or
// restored, or failed over.
func (s *Stream) refresh(ctx context.Context) error {
	known := make([]int64, len(s.shards))
	s.mu.Lock()
	for i, sh := range s.shards {
		known[i] = sh.last
	}
	s.mu.Unlock()
	cmds := make([]*redis.SliceCmd, len(s.shards))
	_, err := s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, sh := range s.shards {
			cmds[i] = p.HMGet(ctx, sh.state, "n", "dn", "last")
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.contact.Store(time.Now().UnixNano())
	for i, sh := range s.shards {
		var n [3]int64
		for j, v := range cmds[i].Val() {
			text, _ := v.(string)
			n[j], _ = strconv.ParseInt(text, 10, 64) // an emptied Redis has none
		}
		sh.pending.Store(max(n[0]-n[1], 0))
		if n[2] >= known[i] {
			continue
		}
		s.opts.Log.Warn("Redis has lost a part of the inbox, if that was not applied yet; numbers go on above what is known",
			zap.String("shard", sh.name), zap.Int64("last", n[2]), zap.Int64("known", known[i]))
		if err := s.client.SetNX(ctx, s.key("shards"), len(s.shards), 0).Err(); err != nil {
			return err
		}
		if _, err := sh.prepare(ctx); err != nil {
			return err
		}
	}
	return nil
}

// recheck is how often the servers' settings are looked at: somebody may change
// them, or a replica that has others become the master.
const recheck = time.Minute

// watchLoop keeps Pending and Check up to date.
func (s *Stream) watchLoop() {
	up := true
	var checked time.Time
	for wait(s.background.ctx, time.Second) {
		err := s.call(s.background.ctx, s.refresh)
		if time.Since(checked) > recheck && err == nil {
			checked = time.Now()
			if err := s.call(s.background.ctx, s.checkServers); err != nil && !isTemporary(err) {
				s.opts.Log.Error("acknowledged payloads are in danger", zap.Error(err))
			}
		}
		if err == nil {
			err = s.call(s.background.ctx, s.revive)
		}
		if s.background.ctx.Err() != nil {
			return
		}
		if up && err != nil {
			s.opts.Log.Warn("Redis can't take payloads; they are refused until it does", zap.Error(err))
		} else if !up && err == nil {
			s.opts.Log.Info("Redis takes payloads again")
		}
		up = err == nil
	}
}

// revive writes to the shards where the last append failed, and declares
// those fit where that goes well: nobody may send an append while Check says
// that it would fail.
func (s *Stream) revive(ctx context.Context) error {
	var firstErr error
	for _, sh := range s.shards {
		s.mu.Lock()
		down := sh.down
		s.mu.Unlock()
		if down == nil {
			continue
		}
		if err := s.client.HSet(ctx, sh.state, "probe", "1").Err(); err != nil {
			if firstErr == nil {
				firstErr = fmt.Errorf("write to %s: %w", sh.name, err)
			}
			if isTemporary(err) && ctx.Err() != nil {
				break
			}
			continue
		}
		s.mu.Lock()
		if sh.down == down {
			sh.down = nil
		}
		s.mu.Unlock()
	}
	return firstErr
}

// Check returns nil if Append would take an entry now, as far as can be told:
// Redis has answered within the last 3 s, there is room, and there is a shard
// that could be written to the last time.
func (s *Stream) Check(context.Context) error {
	pending := s.Pending()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed()
	}
	if since := time.Since(time.Unix(0, s.contact.Load())); since > 3*time.Second {
		return errAway(fmt.Errorf("no answer for %s", since.Round(time.Second)))
	}
	if pending >= s.opts.MaxPending {
		return errFull()
	}
	var down error
	for _, sh := range s.shards {
		if sh.down == nil {
			return nil
		}
		down = sh.down
	}
	return errAway(down)
}

// Pending is how many entries wait to be applied in all shards, on all nodes, as
// Redis said within the last second or so.
func (s *Stream) Pending() int64 {
	var n int64
	for _, sh := range s.shards {
		n += sh.pending.Load()
	}
	return n
}

// Close sends what waits in Append, refuses all later calls, ends Own and waits
// for it, stops the inbox's goroutines and closes the connections. It does not
// wait for the shards to be applied: they go to the other nodes at once.
func (s *Stream) Close() error {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		s.arrived.Signal()
		s.mu.Unlock()
		close(s.closing)
		s.owners.Wait()
		s.background.stop()
		s.running.Wait()
		s.closeErr = s.client.Close()
	})
	return s.closeErr
}

// errAway is what callers get while Redis can't take anything.
func errAway(err error) error {
	return &gateway.Error{
		Code:       gateway.CodeUnavailable,
		Message:    "the server can't store anything at the moment, try again later",
		RetryAfter: retryAfter,
		Err:        err,
	}
}

// seqOf reads an id of the log: the number of the batch's last entry, and how
// many entries it has.
func seqOf(id string) (last, count int64, ok bool) {
	a, b, _ := strings.Cut(id, "-")
	x, err1 := strconv.ParseInt(a, 10, 64)
	y, err2 := strconv.ParseInt(b, 10, 64)
	return x, y, err1 == nil && err2 == nil && y > 0 && x >= y && y <= math.MaxInt32
}
