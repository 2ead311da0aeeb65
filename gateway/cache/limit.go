package cache

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"golang.org/x/time/rate"
)

// Limit is a sustained rate and how much may come at once.
type Limit struct {
	PerSecond float64
	Burst     int
}

// Limiter is a gateway.Limiter in the memory of one process. Names are of the
// form "class:value"; each class has its Limit, and a class without one is not
// limited.
type Limiter struct {
	limits  map[string]Limit
	now     func() time.Time
	buckets *otter.Cache[string, *rate.Limiter]
}

// NewLimiter returns a Limiter with a Limit a class of names. It holds at most
// size buckets: names that were not used for longest go first, and by then
// their buckets have mostly filled up again.
func NewLimiter(limits map[string]Limit, size int, now func() time.Time) *Limiter {
	return &Limiter{limits: limits, now: now, buckets: otter.Must(&otter.Options[string, *rate.Limiter]{MaximumSize: size})}
}

// Allow implements gateway.Limiter.
func (l *Limiter) Allow(_ context.Context, name string, n int) (bool, time.Duration) {
	class, _, _ := strings.Cut(name, ":")
	limit, ok := l.limits[class]
	if !ok {
		return true, 0
	}
	b, ok := l.buckets.GetIfPresent(name)
	if !ok {
		// Of two first requests at once one makes the bucket and both use it.
		b, _ = l.buckets.SetIfAbsent(strings.Clone(name), rate.NewLimiter(rate.Limit(limit.PerSecond), limit.Burst))
	}
	now := l.now()
	if b.AllowN(now, n) {
		return true, 0
	}
	if n > limit.Burst || limit.PerSecond <= 0 {
		return false, time.Minute // it never fits; don't come back soon
	}
	missing := max(0, float64(n)-b.TokensAt(now))
	return false, time.Duration(math.Ceil(missing / limit.PerSecond * float64(time.Second)))
}
