package store

import (
	"cmp"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"civgate/gateway"
)

// freshIdentifiers is how many identifiers the fresh index gathers: those of
// some 64,000 contacts, in less than 10 MiB.
const freshIdentifiers = 256 << 10

// fresh is the index of identifiers of the newest contacts, those from the id
// first on. Identifiers are spread over their whole tree, so that a contact
// written there at once costs a page of the tree for each of them, to the log
// and later to the file. Gathered and written many at a time, those of a
// hundred contacts share a page. Nothing is lost by it: what is gathered can be
// told from the tables contacts and visitor_keys again, and is after a start.
//
// It holds hashes and not values, so that it stays small and keeps no payload
// in memory. What it finds are candidates: whoever asks looks at the row. That
// is also why nothing is ever taken out: when an identifier changes, the row
// says so.
type fresh struct {
	mu    sync.RWMutex
	seed  maphash.Seed
	first int64
	one   map[uint64]int64   // a contact by the hash of its identifier
	more  map[uint64][]int64 // the other contacts with the hash
}

func newFresh(seed maphash.Seed) *fresh {
	return &fresh{seed: seed, one: map[uint64]int64{}, more: map[uint64][]int64{}}
}

func (f *fresh) hash(ws gateway.WorkspaceID, kind int8, value string) uint64 {
	return maphash.String(f.seed, value) ^ (uint64(ws)<<2|uint64(kind))*0x9E3779B97F4A7C15
}

// candidates appends the contacts that may have the identifier. A nil fresh has
// none.
func (f *fresh) candidates(to []int64, ws gateway.WorkspaceID, kind int8, value string) []int64 {
	if f == nil {
		return to
	}
	h := f.hash(ws, kind, value)
	f.mu.RLock()
	defer f.mu.RUnlock()
	if id, ok := f.one[h]; ok {
		to = append(append(to, id), f.more[h]...)
	}
	return to
}

// add is for an f that only one goroutine knows.
func (f *fresh) add(h uint64, id int64) {
	if old, ok := f.one[h]; !ok {
		f.one[h] = id
	} else if old != id && !slices.Contains(f.more[h], id) {
		f.more[h] = append(f.more[h], id)
	}
}

// publish moves all that g holds to f.
func (f *fresh) publish(g *fresh) {
	if len(g.one) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for h, id := range g.one {
		f.add(h, id)
		for _, id := range g.more[h] {
			f.add(h, id)
		}
	}
	g.clear()
}

// clear forgets everything.
func (f *fresh) clear() {
	clear(f.one)
	clear(f.more)
}

// reset starts over with contacts from the id first on.
func (f *fresh) reset(first int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.one, f.more, f.first = map[uint64]int64{}, map[uint64][]int64{}, first
}

// identifiedIDs is the kind under which sequences keeps the first contact whose
// identifiers may be missing in the tree.
const identifiedIDs gateway.IDKind = "identified"

// freshSlice is how many identifiers go into the tree in one transaction: as
// many as leave the changed pages within the page cache.
const freshSlice = 16 << 10

// owned is an identifier with its workspace.
type owned struct {
	identifier
	ws int64
}

// unwritten reads the identifiers of all contacts from the id first on.
func (w *sqliteWriter) unwritten(first int64) ([]owned, error) {
	var all []owned
	s, err := w.stmt(`SELECT id, workspace_id, custom_id, email_key, phone_number FROM contacts WHERE id >= ?`)
	if err != nil {
		return nil, err
	}
	s.int(first)
	for {
		row, err := s.step()
		if err != nil {
			return nil, err
		}
		if !row {
			break
		}
		id, ws := gateway.ContactID(s.columnInt(0)), s.columnInt(1)
		for i, kind := range [...]int8{kindCustomID, kindEmail, kindPhone} {
			if value := s.columnText(int32(i) + 2); value != "" {
				all = append(all, owned{identifier{value, kind, id}, ws})
			}
		}
	}
	if s, err = w.stmt(`SELECT contact_id, workspace_id, key FROM visitor_keys WHERE contact_id >= ?`); err != nil {
		return nil, err
	}
	s.int(first)
	for {
		row, err := s.step()
		if err != nil || !row {
			return all, err
		}
		all = append(all, owned{identifier{s.columnText(2), kindKey, gateway.ContactID(s.columnInt(0))}, s.columnInt(1)})
	}
}

// gather fills the fresh index with what a run before left unwritten.
func (w *sqliteWriter) gather() error {
	first, err := w.sequence(identifiedIDs)
	if err != nil {
		return err
	}
	all, err := w.unwritten(first)
	if err != nil {
		return err
	}
	f := newFresh(w.fresh.seed)
	for i := range all {
		f.add(f.hash(gateway.WorkspaceID(all[i].ws), all[i].kind, all[i].value), int64(all[i].contact))
	}
	w.fresh.reset(first)
	w.fresh.publish(f)
	return nil
}

// settle writes what the fresh index holds into the tree and starts it over.
// The turn is held, and no transaction is open. When it fails, what it wrote is
// right, only not all, and the fresh index stays as it is.
func (w *sqliteWriter) settle() error {
	if w.engine == nil || len(w.fresh.one) == 0 {
		return nil
	}
	all, err := w.unwritten(w.fresh.first)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b owned) int {
		if c := strings.Compare(a.value, b.value); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.ws, b.ws), cmp.Compare(a.contact, b.contact))
	})
	for part := range slices.Chunk(all, freshSlice) {
		err := w.transaction(func() error {
			return w.insert(settledTable, len(part), func(s *stmt, i int) { part[i].bind(s, part[i].ws) })
		})
		if err != nil {
			return err
		}
	}
	var first int64
	err = w.transaction(func() (err error) {
		if first, err = w.sequence(gateway.IDContact); err != nil {
			return err
		}
		return w.setSequence(identifiedIDs, first)
	})
	if err != nil {
		return err
	}
	w.fresh.reset(first)
	return nil
}
