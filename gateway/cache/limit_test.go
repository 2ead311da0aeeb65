package cache_test

import (
	"context"
	"testing"
	"time"

	"civgate/gateway/cache"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	l := cache.NewLimiter(map[string]cache.Limit{"ip": {PerSecond: 2, Burst: 4}}, 100, func() time.Time { return now })
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
	now = now.Add(1500 * time.Millisecond)
	if !take("ip:a", 3) {
		t.Error("who waits as told is refused")
	}
	if ok, after := l.Allow(ctx, "ip:a", 5); ok || after < time.Minute {
		t.Errorf("what never fits: %v after %v", ok, after)
	}
}
