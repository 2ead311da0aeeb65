package store

import (
	"cmp"
	"slices"
	"strings"
	"sync"

	"civgate/gateway"
)

// eventName is what the table event_names holds of a workspace: a kind of
// events and one of the names that those have had.
type eventName struct {
	ws   gateway.WorkspaceID
	kind gateway.EventKind
	name string
}

// maxEventNames bounds the names that are kept in memory, 255 bytes each at
// most as events come today. Names are few; who sends a new one with every event
// has the others looked up now and then, no more.
const maxEventNames = 10_000

// eventNames remembers names that are in the table for good, so that a batch of
// events touches the table only when there is a new one among them. It may know
// too few, never too many: a transaction notes what it adds (namesNoted), and
// only its commit brings that here. Nobody takes a name out of the table.
type eventNames struct {
	mu    sync.Mutex
	known map[eventName]struct{}
}

// namesNoted are names that are in the table as one transaction sees it, but
// perhaps not yet for the others.
type namesNoted map[eventName]struct{}

// namedEvent is a row of event_names that may be missing.
type namedEvent struct {
	kind gateway.EventKind
	name string
	at   int64 // microseconds
}

// missing returns the names of events that are neither known nor noted, in the
// order of the table's key, each with the earliest time it has here. The caller
// writes and notes them.
func (n *eventNames) missing(ws gateway.WorkspaceID, noted namesNoted, events []gateway.Event) []namedEvent {
	var out []namedEvent
	n.mu.Lock()
	for i := range events {
		e := eventName{ws, events[i].Kind, events[i].Name}
		if _, ok := n.known[e]; ok {
			continue
		}
		if _, ok := noted[e]; !ok {
			out = append(out, namedEvent{e.kind, e.name, micros(events[i].At)})
		}
	}
	n.mu.Unlock()
	slices.SortFunc(out, func(a, b namedEvent) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name), cmp.Compare(a.at, b.at))
	})
	return slices.CompactFunc(out, func(a, b namedEvent) bool { return a.kind == b.kind && a.name == b.name })
}

// note records that a transaction wrote a name, or found it there.
func (n *namesNoted) note(ws gateway.WorkspaceID, kind gateway.EventKind, name string) {
	if *n == nil {
		*n = namesNoted{}
	}
	// Of their own: events may be parts of much longer texts.
	(*n)[eventName{ws, gateway.EventKind(strings.Clone(string(kind))), strings.Clone(name)}] = struct{}{}
}

// learn takes over what a transaction noted that was committed.
func (n *eventNames) learn(noted namesNoted) {
	if len(noted) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil || len(n.known)+len(noted) > maxEventNames {
		n.known = make(map[eventName]struct{}, len(noted))
	}
	for e := range noted {
		if len(n.known) == maxEventNames {
			break
		}
		n.known[e] = struct{}{}
	}
}

// forget is for when the table may be another one than before: behind the store's
// back a file was replaced, or a server that had not got everything took over.
func (n *eventNames) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known = nil
}
