package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// A timeline keeps durations by when they ended, in slices of equal length. It takes as much memory for a day as for a
// minute: when there is no slice left, neighbours become one, of twice the length. It is safe for concurrent use.
type timeline struct {
	mu     sync.Mutex
	start  time.Time
	length time.Duration // of a slice
	slices []*histogram  // nil where nothing ended
}

const (
	firstLength = 50 * time.Millisecond
	maxSlices   = 128 // even
)

func newTimeline(start time.Time) *timeline {
	return &timeline{start: start, length: firstLength}
}

// record counts a duration that ended at the given time; one before the start counts as at the start.
func (t *timeline) record(end time.Time, d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := max(int(end.Sub(t.start)/t.length), 0)
	for ; i >= maxSlices; i /= 2 {
		t.join()
	}
	for len(t.slices) <= i {
		t.slices = append(t.slices, nil)
	}
	if t.slices[i] == nil {
		t.slices[i] = new(histogram)
	}
	t.slices[i].record(d)
}

// join makes one slice of every two.
func (t *timeline) join() {
	joined := t.slices[:0]
	for i := 0; i < len(t.slices); i += 2 {
		h := t.slices[i]
		if i+1 < len(t.slices) {
			if next := t.slices[i+1]; h == nil {
				h = next
			} else if next != nil {
				h.add(next)
			}
		}
		joined = append(joined, h)
	}
	clear(t.slices[len(joined):])
	t.slices = joined
	t.length *= 2
}

// total is everything that was recorded.
func (t *timeline) total() histogram {
	t.mu.Lock()
	defer t.mu.Unlock()
	return sum(t.slices)
}

// stretches cuts the time up to the last duration into at most n parts of the returned length, the last of which may be
// shorter. n is at least 1.
func (t *timeline) stretches(n int) (parts []histogram, length time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	each := max((len(t.slices)+n-1)/n, 1) // slices
	for i := 0; i < len(t.slices); i += each {
		parts = append(parts, sum(t.slices[i:min(i+each, len(t.slices))]))
	}
	return parts, time.Duration(each) * t.length
}

func sum(slices []*histogram) histogram {
	var all histogram
	for _, h := range slices {
		if h != nil {
			all.add(h)
		}
	}
	return all
}

// p99 tells the 99th percentile of each of up to ten stretches, "-" for one in which nothing ended: what a fault did to
// those who came meanwhile, and whether it is over.
func (t *timeline) p99() string {
	parts, length := t.stretches(10)
	var b strings.Builder
	for i := range parts {
		if parts[i].total == 0 {
			b.WriteString("-  ")
			continue
		}
		fmt.Fprintf(&b, "%.1f  ", float64(parts[i].quantile(0.99))/float64(time.Millisecond))
	}
	return fmt.Sprintf("%sms, each of %.2f s", b.String(), length.Seconds())
}
