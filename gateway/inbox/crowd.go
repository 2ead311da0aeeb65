package inbox

import (
	"runtime"
	"sync"
	"time"
)

// The size up to which a group waits for more: from minGroup on it is worth the
// wait, beyond goodGroup the next group may as well gather while this one is
// committed. maxLinger is how long it waits at most.
const (
	minGroup  = 8
	goodGroup = 64
	maxLinger = 5 * time.Millisecond
	maxPeak   = goodGroup * 8 / 7
)

// crowd knows the entries that are under way, waiting or being committed, and
// lets a group wait for about as many as there were lately: those whom the last
// commit answered come back, and a commit less is time won for all. Its owner's
// lock guards it.
type crowd struct {
	size     int // entries under way
	peak     int // the most of them lately
	wanted   int // the group that a wait is to end with; 0 if there is no wait
	complete chan struct{}
}

func newCrowd() crowd { return crowd{complete: make(chan struct{}, 1)} }

// join counts n entries, with which the group to be committed next has so many,
// and will get no more if it is closed.
func (c *crowd) join(n, group int, closed bool) {
	c.size += n
	c.peak = max(c.peak, c.size)
	if c.wanted > 0 && (closed || group >= c.wanted) {
		signal(c.complete)
	}
}

// leave takes note that n entries are no longer under way.
func (c *crowd) leave(n int) { c.size -= n }

// wait returns when the group to be committed next, which has so many entries
// now, has as many as it should, or can wait no longer. The caller holds mu,
// which is free meanwhile.
func (c *crowd) wait(mu *sync.Mutex, group int, closing <-chan struct{}) {
	want := c.worthwhile()
	c.peak = min(c.peak-c.peak/8, maxPeak) // forgets in some 20 groups
	if group >= want {
		return
	}
	c.wanted = want
	mu.Unlock()
	t := time.NewTimer(maxLinger)
	select {
	case <-t.C:
	case <-c.complete:
	case <-closing:
	}
	t.Stop()
	mu.Lock()
	c.wanted = 0
	select {
	case <-c.complete: // it came with the end of the time
	default:
	}
}

// worthwhile is the size of a group that is worth waiting for, 0 if none is.
// Some of those who come back are always late.
func (c *crowd) worthwhile() int {
	want := min(c.peak-c.peak/8, goodGroup)
	if want < minGroup {
		return 0
	}
	return want
}

// maxGather is how long a group is at most kept open for callers that run.
const maxGather = time.Millisecond

// gather lets callers that are about to run join a group, as long as that makes it
// larger: it costs no time to wait for them. size is 0 for a group that takes no more.
// The caller holds mu, which is free meanwhile.
func gather(mu *sync.Mutex, size func() int) {
	start := time.Now()
	for n := 0; size() > n; {
		n = size()
		mu.Unlock()
		runtime.Gosched()
		mu.Lock()
		if time.Since(start) > maxGather {
			return
		}
	}
}
