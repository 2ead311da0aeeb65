package web

import "sync"

// tally counts what each name holds, up to a limit.
type tally struct {
	limit int
	mu    sync.Mutex
	held  map[string]int
}

func newTally(limit int) *tally { return &tally{limit: limit, held: make(map[string]int)} }

// take reports whether name may have one more, and notes it.
func (t *tally) take(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[name] >= t.limit {
		return false
	}
	t.held[name]++
	return true
}

// giveBack undoes one take.
func (t *tally) giveBack(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.held[name]--; t.held[name] <= 0 {
		delete(t.held, name)
	}
}
