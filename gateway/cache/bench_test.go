package cache_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
)

const benchBatch = 2048

func BenchmarkIdentities(b *testing.B) {
	ctx := context.Background()
	s := redistest.New(b)
	refs, ids := people(1, benchBatch)
	writer := open(b, cache.Options{URL: s.URL()})
	writer.Remember(ctx, refs, ids)
	out := make([]gateway.Identity, len(refs))
	run := func(name string, c *cache.Redis, refs []gateway.Ref, want gateway.Identity) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.Identities(ctx, refs, out)
			}
			if out[7] != want {
				b.Fatalf("%+v", out[7])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(refs)), "ns/ref")
		})
	}
	run("local hit", writer, refs, ids[7])
	strangers, _ := people(2, benchBatch)
	run("known to nobody", writer, strangers, gateway.Identity{})
	// Entries that are too old when they are asked for: always two round trips.
	run("Redis hit", open(b, cache.Options{URL: s.URL(), LocalAge: time.Nanosecond}), refs, ids[7])
	s.Stop()
	away := openAnyway(b, cache.Options{URL: s.URL()})
	for !away.Stats().CircuitOpen {
		away.Identities(ctx, refs, out)
	}
	run("circuit open", away, refs, gateway.Identity{})
}

func BenchmarkRemember(b *testing.B) {
	ctx := context.Background()
	s := redistest.New(b)
	refs, ids := people(1, benchBatch)
	c := open(b, cache.Options{URL: s.URL()})
	other := open(b, cache.Options{URL: s.URL()})
	b.ReportAllocs()
	for b.Loop() {
		c.Remember(ctx, refs, ids)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(refs)), "ns/ref")
	if c.Stats().Errors != 0 || !other.Stats().Subscribed {
		b.Error(c.Stats(), other.Stats())
	}
}

func BenchmarkAllow(b *testing.B) {
	ctx := context.Background()
	s := redistest.New(b)
	limits := map[string]cache.Limit{"ip": {PerSecond: 1e9, Burst: 1e9}, "few": {PerSecond: 10, Burst: 60}}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint("few:", i)
	}
	for name, l := range map[string]*cache.Limiter{
		"alone":  cache.NewLimiter(limits, 20_000, time.Now),
		"shared": open(b, cache.Options{URL: s.URL()}).NewLimiter(limits, 20_000, time.Now),
	} {
		b.Run(name+"/one name", func(b *testing.B) {
			for b.Loop() {
				l.Allow(ctx, "ip:a", 1)
			}
		})
		b.Run(name+"/many names", func(b *testing.B) {
			i := 0
			for b.Loop() {
				l.Allow(ctx, names[i%len(names)], 1)
				i++
			}
		})
	}
}
