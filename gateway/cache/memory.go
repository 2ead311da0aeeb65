package cache

import (
	"context"
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"civgate/gateway"
)

// Memory is a gateway.Cache in the memory of one process. Use New.
type Memory struct {
	refs         *otter.Cache[gateway.Ref, gateway.ContactID]
	contacts     *otter.Cache[contact, uint64]
	hits, misses atomic.Uint64
}

var _ gateway.Cache = (*Memory)(nil)

// contact names a contact of a workspace.
type contact struct {
	w  gateway.WorkspaceID
	id gateway.ContactID
}

// New returns a cache of at most size identifiers and as many contacts; a pair
// takes some 300 bytes.
func New(size int) *Memory { return newMemory(size, 0) }

// newMemory is New with an age at which entries go; 0 keeps them.
func newMemory(size int, age time.Duration) *Memory {
	refs := &otter.Options[gateway.Ref, gateway.ContactID]{MaximumSize: size}
	contacts := &otter.Options[contact, uint64]{MaximumSize: size}
	if age > 0 {
		refs.ExpiryCalculator = otter.ExpiryWriting[gateway.Ref, gateway.ContactID](age)
		contacts.ExpiryCalculator = otter.ExpiryWriting[contact, uint64](age)
	}
	return &Memory{refs: otter.Must(refs), contacts: otter.Must(contacts)}
}

// Identities implements gateway.Cache.
func (m *Memory) Identities(_ context.Context, refs []gateway.Ref, out []gateway.Identity) {
	asked, hits := uint64(0), uint64(0)
	for i, r := range refs {
		out[i] = gateway.Identity{}
		if r.Value == "" {
			continue
		}
		asked++
		id, ok := m.refs.GetIfPresent(r)
		if !ok {
			continue
		}
		if fp, ok := m.contacts.GetIfPresent(contact{r.WorkspaceID, id}); ok {
			out[i] = gateway.Identity{ContactID: id, Fingerprint: fp}
			hits++
		}
	}
	m.hits.Add(hits)
	m.misses.Add(asked - hits)
}

// Lookups is how many of the identifiers that Identities was asked for since the
// start were known, and how many not.
func (m *Memory) Lookups() (hits, misses uint64) { return m.hits.Load(), m.misses.Load() }

// Remember implements gateway.Cache.
func (m *Memory) Remember(_ context.Context, refs []gateway.Ref, ids []gateway.Identity) {
	for i, r := range refs {
		m.refs.Set(r, ids[i].ContactID)
		m.contacts.Set(contact{r.WorkspaceID, ids[i].ContactID}, ids[i].Fingerprint)
	}
}

// Forget implements gateway.Cache.
func (m *Memory) Forget(_ context.Context, w gateway.WorkspaceID, ids []gateway.ContactID) {
	for _, id := range ids {
		m.contacts.Invalidate(contact{w, id})
	}
}

// thing is what has one key in Redis: an identifier, or a contact (then
// ref.Value is empty).
type thing struct {
	ref     gateway.Ref
	contact contact
}

func refThing(r gateway.Ref) thing { return thing{ref: r} }
func contactThing(c contact) thing { return thing{contact: c} }
func (t *thing) isRef() bool       { return t.ref.Value != "" }

// layer is the Memory in front of Redis. Unlike Memory alone it is filled with
// answers that may have been overtaken on their way here, so each of its
// entries comes under a mark: whoever asks Redis notes the mark before, and
// fill keeps the answer only while the mark is still that. Whatever makes an
// entry wrong changes the mark first.
type layer struct {
	*Memory
	seed  maphash.Seed
	marks [1 << 14]atomic.Uint32
}

func newLayer(size int, age time.Duration) *layer {
	return &layer{Memory: newMemory(size, age), seed: maphash.MakeSeed()}
}

// mark is shared by things that fall together; that one of them changes costs
// the others an entry at worst.
func (l *layer) mark(t *thing) *atomic.Uint32 {
	var h uint64
	if t.isRef() {
		h = maphash.Comparable(l.seed, t.ref)
	} else {
		h = maphash.Comparable(l.seed, t.contact)
	}
	return &l.marks[h%uint64(len(l.marks))]
}

// fill stores what Redis answered to a question that was put when the mark was
// at.
func (l *layer) fill(t *thing, value uint64, at uint32) {
	m := l.mark(t)
	if m.Load() != at {
		return
	}
	l.store(t, value)
	if m.Load() != at { // overtaken between the two
		l.remove(t)
	}
}

// notes are the marks of things that are about to be written to Redis.
type notes struct {
	layer *layer
	at    map[*atomic.Uint32]uint32
}

func (l *layer) note(things []thing) notes {
	n := notes{layer: l, at: make(map[*atomic.Uint32]uint32, len(things))}
	for i := range things {
		m := l.mark(&things[i])
		if _, ok := n.at[m]; !ok {
			n.at[m] = m.Load()
		}
	}
	return n
}

// advance follows on the writing. It changes the marks, so that nobody keeps an
// answer from before, and leaves out those that somebody else changed meanwhile.
func (n notes) advance() {
	for m, at := range n.at {
		if m.CompareAndSwap(at, at+1) {
			n.at[m] = at + 1
		} else {
			delete(n.at, m)
		}
	}
}

// fill stores what was written, or nothing if that may be old already.
func (n notes) fill(t *thing, value uint64) {
	if at, ok := n.at[n.layer.mark(t)]; ok {
		n.layer.fill(t, value, at)
	} else {
		n.layer.remove(t)
	}
}

// set stores what this node knows better than any answer under way.
func (l *layer) set(t *thing, value uint64) { l.fill(t, value, l.mark(t).Add(1)) }

// drop makes the layer not know t.
func (l *layer) drop(t *thing) {
	l.mark(t).Add(1)
	l.remove(t)
}

// clear drops everything.
func (l *layer) clear() {
	for i := range l.marks {
		l.marks[i].Add(1)
	}
	l.refs.InvalidateAll()
	l.contacts.InvalidateAll()
}

// stop ends the goroutines that expiry needs; the layer stays usable.
func (l *layer) stop() {
	l.refs.StopAllGoroutines()
	l.contacts.StopAllGoroutines()
}

func (l *layer) store(t *thing, value uint64) {
	if !t.isRef() {
		l.contacts.Set(t.contact, value)
		return
	}
	r := t.ref
	r.Value = strings.Clone(r.Value) // it may be a part of a payload's body
	l.refs.Set(r, gateway.ContactID(value))
}

func (l *layer) remove(t *thing) {
	if t.isRef() {
		l.refs.Invalidate(t.ref)
	} else {
		l.contacts.Invalidate(t.contact)
	}
}
