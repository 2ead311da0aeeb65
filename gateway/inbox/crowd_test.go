package inbox

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"civgate/gateway"
)

func TestCrowdWaitsForWhomItKnows(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name         string
		before       int // entries that were under way at once
		group        int // entries of the group when the wait begins
		later        int // entries that join one by one, one a millisecond
		closed       bool
		want         time.Duration
		wantLeftOver int // of later, when the wait ends
	}{
		{name: "nobody before", group: 1, want: 0},
		{name: "too few before", before: 8, group: 1, later: 3, want: 0, wantLeftOver: 3},
		{name: "all are there", before: 32, group: 28, later: 3, want: 0, wantLeftOver: 3},
		{name: "the last come", before: 32, group: 26, later: 4, want: 2 * time.Millisecond, wantLeftOver: 2},
		{name: "they don't come", before: 32, group: 5, later: 2, want: maxLinger},
		{name: "more than a good group", before: 1000, group: goodGroup - 1, later: 2, want: time.Millisecond, wantLeftOver: 1},
		{name: "a full group", before: 32, group: 5, later: 3, closed: true, want: time.Millisecond, wantLeftOver: 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				c := newCrowd()
				c.join(tt.before, tt.before, false)
				c.leave(tt.before)
				c.join(tt.group, tt.group, false)
				left := tt.later
				var callers sync.WaitGroup
				callers.Go(func() {
					for group := tt.group + 1; left > 0; group++ {
						time.Sleep(time.Millisecond)
						mu.Lock()
						left--
						c.join(1, group, tt.closed)
						mu.Unlock()
					}
				})
				start := time.Now()
				mu.Lock()
				c.wait(&mu, tt.group, nil)
				took, leftOver := time.Since(start), left
				if c.wanted != 0 || len(c.complete) != 0 {
					t.Errorf("after the wait %d are wanted, %d signals", c.wanted, len(c.complete))
				}
				mu.Unlock()
				if took != tt.want || leftOver != tt.wantLeftOver {
					t.Errorf("waited %v with %d to come, want %v with %d", took, leftOver, tt.want, tt.wantLeftOver)
				}
				callers.Wait()
			})
		})
	}
}

// A crowd that is gone is forgotten: whoever comes alone waits a few times at
// most.
func TestCrowdForgets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		c := newCrowd()
		c.join(1000, 1000, false)
		c.leave(1000)
		waits := 0
		for range 60 {
			c.join(1, 1, false)
			start := time.Now()
			mu.Lock()
			c.wait(&mu, 1, nil)
			mu.Unlock()
			if time.Since(start) > 0 {
				waits++
			}
			c.leave(1)
		}
		if waits == 0 || waits > 25 {
			t.Errorf("%d of 60 waited", waits)
		}
		start := time.Now()
		mu.Lock()
		c.join(1, 1, false)
		c.wait(&mu, 1, nil)
		mu.Unlock()
		if d := time.Since(start); d != 0 {
			t.Errorf("the last one waited %v", d)
		}
	})
}

// Close does not wait for those who don't come.
func TestCloseWithinAWait(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		f, err := Open(context.Background(), dir, 0, Options{})
		if err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		f.crowd.peak = 100
		f.mu.Unlock()
		start := time.Now()
		var append sync.WaitGroup
		append.Go(func() {
			if err := f.Append(context.Background(), &gateway.Entry{WorkspaceID: 1, Body: []byte("{}")}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		append.Wait()
		if d := time.Since(start); d != 0 {
			t.Errorf("the entry was kept waiting %v", d)
		}
	})
}
