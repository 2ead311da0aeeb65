package cache

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"

	"civgate/gateway"
)

// Limit is a sustained rate and how much may come at once.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Limiter is a gateway.Limiter that decides from the memory of the process.
// Names are of the form "class:value"; each class has its Limit, and a class
// without one is not limited. One of Redis.NewLimiter also heeds what other
// nodes allow.
type Limiter struct {
	limits  map[string]Limit
	now     func() time.Time
	buckets *otter.Cache[string, *bucket]
	share   *share // nil: this process is alone
}

var _ gateway.Limiter = (*Limiter)(nil)

// bucket holds the tokens of one name.
type bucket struct {
	name  string
	limit Limit

	mu     sync.Mutex
	tokens float64 // below zero when other nodes took more than there was
	asOf   time.Time
	taken  int  // since the other nodes were told
	queued bool // to tell them
}

// NewLimiter returns a Limiter with a Limit a class of names. It holds at most
// size buckets: names that were not used for longest go first, and by then
// their buckets have mostly filled up again.
func NewLimiter(limits map[string]Limit, size int, now func() time.Time) *Limiter {
	return &Limiter{limits: limits, now: now, buckets: otter.Must(&otter.Options[string, *bucket]{MaximumSize: size})}
}

// Allow implements gateway.Limiter. It never waits.
func (l *Limiter) Allow(_ context.Context, name string, n int) (bool, time.Duration) {
	class, _, _ := strings.Cut(name, ":")
	limit, ok := l.limits[class]
	if !ok {
		return true, 0
	}
	now := l.now()
	b, ok := l.buckets.GetIfPresent(name)
	if !ok {
		name = strings.Clone(name)
		// Of two first requests at once one makes the bucket and both use it.
		b, _ = l.buckets.SetIfAbsent(name, &bucket{name: name, limit: limit, tokens: float64(limit.Burst), asOf: now})
	}
	ok, after, tell := b.take(n, now, l.share != nil)
	if tell {
		l.share.push(b)
	}
	return ok, after
}

// take takes n tokens, or none and says when there will be n. tell reports that
// it is time to compare the bucket with the other nodes'.
func (b *bucket) take(n int, now time.Time, shared bool) (ok bool, after time.Duration, tell bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(now)
	if missing := float64(n) - b.tokens; missing > 0 {
		if n > b.limit.Burst || b.limit.PerSecond <= 0 {
			return false, time.Minute, false // it never fits; don't come back soon
		}
		return false, time.Duration(math.Ceil(missing / b.limit.PerSecond * float64(time.Second))), false
	}
	b.tokens -= float64(n)
	if shared && b.limit.PerSecond > 0 {
		b.taken = min(b.taken+n, maxTaken)
		if !b.queued && b.taken*unsharedPart >= b.limit.Burst {
			b.queued, tell = true, true
		}
	}
	return true, 0, tell
}

// maxTaken keeps the sum of what was taken a small number.
const maxTaken = math.MaxInt32

// fill adds the tokens that have come since.
func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.asOf); d > 0 {
		b.tokens = min(float64(b.limit.Burst), b.tokens+d.Seconds()*b.limit.PerSecond)
		b.asOf = now
	}
}
