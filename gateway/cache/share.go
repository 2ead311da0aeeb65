package cache

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// unsharedPart: the part of a burst, 1/unsharedPart, that a node may take of a
	// name before it compares its bucket with the others'. Most names are visitors
	// who come once: they never cost a round trip.
	unsharedPart = 32
	// maxShared is how many names are compared in one tick; others wait for the
	// next.
	maxShared = 4 * maxPipeline
	// maxQueued is how many names may wait. What is taken of more is not told.
	maxQueued = 1 << 16
	// maxDebt is how many times the limit's full bucket all nodes together can take
	// too much before it is forgiven.
	maxDebt = 16
)

// sharedTake takes from a bucket that all nodes share. Its key holds the time,
// in microseconds of Redis's clock, at which the bucket will be full again;
// there is none for a full one. It returns how far away that is. ARGV: what is
// taken and what may be owed at most, in microseconds of filling. A Redis
// without memory forgets the bucket, and each node is alone with its own.
var sharedTake = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = tonumber(redis.call('GET', KEYS[1]) or 0) or 0
if full < now then full = now end
full = math.min(full + tonumber(ARGV[1]), now + tonumber(ARGV[2]))
if full > now then
  redis.pcall('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', math.ceil((full - now) / 1000) + 1))
end
return string.format('%.0f', full - now)
`)

// NewLimiter is the package's NewLimiter for a gateway of several nodes, all of
// which count together.
//
// Allow decides from this process's bucket at once. Every Options.Tick, the
// names of which more than 1/32 of a burst was taken since the last time are
// compared in Redis, in one pipeline: what was taken here is taken from the
// shared bucket, and if that then holds less than this node's, this node's is
// lowered to it, below zero if need be. So the nodes together allow a limit's
// sustained rate exactly in the long run, because what was taken too much is
// owed; at any moment N nodes may exceed it by what the other N-1 take between
// two comparisons: a 32nd of a burst each, and what comes within a tick, at
// worst a whole burst each when all are hit within the same tick.
//
// While Redis is away each node limits alone, so N nodes allow N limits, and
// what was taken meanwhile is not told afterwards.
func (r *Redis) NewLimiter(limits map[string]Limit, size int, now func() time.Time) *Limiter {
	l := NewLimiter(limits, size, now)
	l.share = &share{redis: r, now: now}
	r.done.Go(l.share.run)
	return l
}

// share compares the buckets of a Limiter with those of other nodes.
type share struct {
	redis *Redis
	now   func() time.Time

	mu    sync.Mutex
	queue []*bucket
}

// push puts b, which is marked as queued, into the queue.
func (s *share) push(b *bucket) {
	s.mu.Lock()
	full := len(s.queue) >= maxQueued
	if !full {
		s.queue = append(s.queue, b)
	}
	s.mu.Unlock()
	if full {
		b.settle(s.now())
	}
}

// pop returns up to n buckets of the queue.
func (s *share) pop(n int) []*bucket {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, len(s.queue))
	bs := append([]*bucket(nil), s.queue[:n]...)
	rest := copy(s.queue, s.queue[n:])
	clear(s.queue[rest:])
	s.queue = s.queue[:rest]
	return bs
}

func (s *share) run() {
	t := time.NewTicker(s.redis.opt.Tick)
	defer t.Stop()
	for {
		select {
		case <-s.redis.run.Done():
			return
		case <-t.C:
			if bs := s.pop(maxShared); len(bs) > 0 {
				s.compare(bs)
			}
		}
	}
}

// compare tells Redis what was taken of bs and learns what all nodes took.
func (s *share) compare(bs []*bucket) {
	r := s.redis
	ctx, cancel := r.bound(r.run, 2*len(bs))
	defer cancel()
	takes := make([]int, len(bs))
	for i, b := range bs {
		takes[i] = b.settle(s.now())
	}
	cmds := make([]redis.Cmder, len(bs))
	for i, b := range bs {
		cmds[i] = s.command(ctx, b, takes[i])
	}
	if r.do(ctx, cmds) == nil {
		s.again(ctx, bs, takes, cmds)
	}
	for i, b := range bs {
		left, e := cmds[i].(*redis.Cmd).Int64()
		if e != nil {
			// The node is alone with what it knows. What was taken is not told again:
			// it may have been counted.
			r.counts.limitsAlone.Add(1)
			continue
		}
		r.counts.limitsShared.Add(1)
		b.lower(s.now(), time.Duration(left)*time.Microsecond)
	}
}

// again repeats the commands that failed for want of the script: a Redis that
// was started, or a node of a Cluster that became a master, doesn't have it.
func (s *share) again(ctx context.Context, bs []*bucket, takes []int, cmds []redis.Cmder) {
	var missing []redis.Cmder
	for i, c := range cmds {
		if noScript(c.Err()) {
			cmds[i] = s.command(ctx, bs[i], takes[i])
			missing = append(missing, cmds[i])
		}
	}
	if len(missing) == 0 {
		return
	}
	if err := sharedTake.Load(ctx, s.redis.client).Err(); err != nil {
		for _, c := range missing {
			c.SetErr(err)
		}
		return
	}
	_ = s.redis.do(ctx, missing) // what failed says so itself
}

func (s *share) command(ctx context.Context, b *bucket, n int) *redis.Cmd {
	perToken := 1e6 / b.limit.PerSecond
	cost := float64(n) * perToken
	most := (1 + maxDebt) * float64(max(1, b.limit.Burst)) * perToken
	c := redis.NewCmd(ctx, "evalsha", sharedTake.Hash(), 1, s.redis.opt.Prefix+"limit:{"+b.name+"}",
		strconv.FormatFloat(cost, 'f', 0, 64), strconv.FormatFloat(most, 'f', 0, 64))
	c.SetFirstKeyPos(3)
	return c
}

// settle takes the bucket out of the queue and returns what is to be told.
func (b *bucket) settle(now time.Time) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := b.taken
	b.taken, b.queued = 0, false
	b.fill(now)
	return n
}

// lower takes over the shared bucket's level if that is lower. untilFull is how
// long it fills. What was taken here since it was told comes on top.
func (b *bucket) lower(now time.Time, untilFull time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	level := float64(b.limit.Burst) - untilFull.Seconds()*b.limit.PerSecond - float64(b.taken)
	b.tokens = min(b.tokens, level)
}
