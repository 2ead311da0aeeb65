package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A watch notes what a server process uses during the measured phase. A nil watch does nothing.
type watch struct {
	process
	mu         sync.Mutex
	from, to   usage
	start      time.Time
	resident   []int64 // a sample each time somebody looked
	measurable error
}

// look returns the usage now and keeps the memory as a sample if the phase has begun.
func (w *watch) look() (usage, error) {
	u, err := w.usage()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && !w.start.IsZero() {
		w.resident = append(w.resident, u.resident)
	}
	return u, err
}

func (w *watch) begin() {
	if w == nil {
		return
	}
	u, err := w.usage()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.from, w.measurable, w.start = u, err, time.Now()
	w.resident = append(w.resident, u.resident)
}

func (w *watch) end() {
	if w == nil {
		return
	}
	u, err := w.look()
	if err != nil {
		w.measurable = err
	}
	w.to = u
}

// write prints CPU time a payload, and memory over the quarters of the phase.
func (w *watch) write(out io.Writer, payloads int64) error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.measurable != nil {
		_, err := fmt.Fprintf(out, "server         not measured: %v\n", w.measurable)
		return err
	}
	at := func(quarter int) string { return mebibytes(w.resident[quarter*(len(w.resident)-1)/4]) }
	_, err := fmt.Fprintf(out, "server         %.1f us of CPU a payload; resident %s at the start, then %s, %s, %s, %s at the end; peak %s\n",
		float64((w.to.cpu-w.from.cpu).Microseconds())/float64(max(payloads, 1)), at(0), at(1), at(2), at(3), at(4), mebibytes(w.to.peak))
	return err
}
