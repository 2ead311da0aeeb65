package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Whatever is recorded when, each duration is in the one stretch in which it ended, and nothing is lost.
func TestTimelineKeepsAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		ends := rapid.SliceOfN(rapid.Int64Range(-int64(time.Second), int64(2*time.Hour)), 1, 60).Draw(t, "ends")
		n := rapid.IntRange(1, 12).Draw(t, "stretches")
		tl := newTimeline(start)
		var all histogram
		for i, end := range ends {
			d := time.Duration(i+1) * time.Millisecond
			tl.record(start.Add(time.Duration(end)), d)
			all.record(d)
		}
		parts, length := tl.stretches(n)
		if len(parts) > n || len(tl.slices) > maxSlices {
			t.Fatalf("%d stretches of %d slices", len(parts), len(tl.slices))
		}
		want := make([]histogram, len(parts))
		for i, end := range ends {
			at := int(max(end, 0) / int64(length))
			if at >= len(want) {
				t.Fatalf("what ended after %v is in none of %d stretches of %v", time.Duration(end), len(parts), length)
			}
			want[at].record(time.Duration(i+1) * time.Millisecond)
		}
		for i := range parts {
			if parts[i] != want[i] {
				t.Fatalf("stretch %d has %d durations, want %d", i, parts[i].total, want[i].total)
			}
		}
		if tl.total() != all {
			t.Fatalf("%d durations in all, want %d", tl.total().total, all.total)
		}
	})
}

func TestTimelineTells(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		name string
		ends []time.Duration // each takes a millisecond, but the one at 6 s, which takes five seconds
		want string
	}{
		{"nothing", nil, "ms, each of 0.05 s"},
		{"one", []time.Duration{0}, "1.0  ms, each of 0.05 s"},
		{"a stall", []time.Duration{0, time.Second, 6 * time.Second, 6500 * time.Millisecond, 7 * time.Second},
			"1.0  1.0  -  -  -  -  -  5000.0  1.0  ms, each of 0.80 s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tl := newTimeline(start)
			for _, end := range tt.ends {
				d := time.Millisecond
				if end == 6*time.Second {
					d = 5 * time.Second
				}
				tl.record(start.Add(end), d)
			}
			if d := cmp.Diff(tt.want, tl.p99()); d != "" {
				t.Error(d)
			}
		})
	}
}

func BenchmarkTimeline(b *testing.B) {
	tl := newTimeline(time.Now())
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			tl.record(time.Now(), time.Millisecond)
		}
	})
}
