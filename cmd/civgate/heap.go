package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// gcPercent is how far the heap grows before it is collected. Nearly all of it is
	// payloads that live for some 100 ms: at 200 instead of Go's 100 a payload takes
	// 6 % less CPU (civload bench, returning) for a quarter more memory under load,
	// and none at rest.
	gcPercent = 200
	// roomyHeap is what a heap may grow to whose collections would come every few
	// moments, in bytes. A small heap would be collected several times a second under
	// load, and each time takes the processors for long enough to be one in a hundred
	// answers that is late.
	roomyHeap = 160 << 20
	// maxPercent is for heaps with next to nothing in them.
	maxPercent = 10_000
	// oftenCollected is what "every few moments" is.
	oftenCollected = 3 * time.Second
)

// pacer sets after each collection how far the heap may grow. It is an object that
// nothing refers to, so its finalizer runs whenever the heap was collected.
type pacer struct {
	last time.Time
	live [1]metrics.Sample
}

// paceHeap starts it, for as long as the process runs.
func paceHeap() {
	debug.SetGCPercent(gcPercent)
	p := &pacer{last: time.Now()}
	p.live[0].Name = "/gc/heap/live:bytes"
	runtime.SetFinalizer(p, (*pacer).collected)
}

func (p *pacer) collected() {
	now := time.Now()
	metrics.Read(p.live[:])
	debug.SetGCPercent(growth(p.live[0].Value.Uint64(), now.Sub(p.last)))
	p.last = now
	runtime.SetFinalizer(p, (*pacer).collected)
}

// growth is by how many percent a heap of live bytes may grow, that was collected so
// long after the time before.
func growth(live uint64, since time.Duration) int {
	if since > oftenCollected || live == 0 || live >= roomyHeap {
		return gcPercent
	}
	return int(min(max(gcPercent, 100*(roomyHeap-live)/live), maxPercent))
}
