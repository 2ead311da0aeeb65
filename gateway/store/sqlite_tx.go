package store

import (
	"context"

	"civgate/gateway"
)

// sqliteTx is a gateway.Tx. Between begin and commit it holds the writer's
// turn.
type sqliteTx struct {
	plain
	w     *sqliteWriter
	buf   []byte
	noted namesNoted
	// err is the first failure of a write. It fails the whole transaction, and
	// every later write at once: the engine may have ended the transaction, and
	// what came then would be written by itself.
	err error
}

func newSQLiteTx(w *sqliteWriter) *sqliteTx {
	t := &sqliteTx{w: w}
	t.plain = plain{t}
	return t
}

func (w *sqliteWriter) update(ctx context.Context, fn func(gateway.Tx) error) error {
	t := newSQLiteTx(w)
	err := w.transact(ctx, func() error {
		if err := fn(t); err != nil {
			return err
		}
		return t.err
	})
	if err == nil {
		w.names.learn(t.noted)
	}
	return err
}

// failed notes and translates the failure of a write.
func (t *sqliteTx) failed(op string, err error) error {
	err = translate(op, err)
	if t.err == nil {
		t.err = err
	}
	return err
}

// NextIDs implements gateway.Tx.
func (t *sqliteTx) NextIDs(kind gateway.IDKind, n int) (int64, error) {
	if t.err != nil {
		return 0, t.err
	}
	if n < 1 {
		return 0, gateway.Errorf(gateway.CodeInternal, "next ids: %d ids asked for", n)
	}
	first, err := t.w.nextIDs(kind, n)
	return first, t.failed("next ids", err)
}

func (w *sqliteWriter) nextIDs(kind gateway.IDKind, n int) (int64, error) {
	next, ok := w.ids[kind]
	if !ok {
		s, err := w.stmt(`SELECT next_id FROM sequences WHERE kind = ?`)
		if err != nil {
			return 0, err
		}
		s.text(string(kind))
		found, err := s.step()
		if err != nil {
			return 0, err
		}
		next = 1
		if found {
			next = s.columnInt(0)
			s.reset()
		}
	}
	s, err := w.stmt(`INSERT INTO sequences (kind, next_id) VALUES (?, ?) ON CONFLICT (kind) DO UPDATE SET next_id = excluded.next_id`)
	if err != nil {
		return 0, err
	}
	s.text(string(kind))
	s.int(next + int64(n))
	if err := s.run(); err != nil {
		return 0, err
	}
	w.ids[kind] = next + int64(n)
	return next, nil
}

// InboxPosition implements gateway.Tx.
func (t *sqliteTx) InboxPosition(node string) (seq int64, err error) {
	if t.err != nil {
		return 0, t.err
	}
	s, err := t.w.stmt(`SELECT seq FROM inbox_positions WHERE node = ?`)
	if err != nil {
		return 0, translate("inbox position", err)
	}
	s.text(node)
	defer s.reset()
	found, err := s.step()
	if found {
		seq = s.columnInt(0)
	}
	return seq, translate("inbox position", err)
}

// Confirm implements gateway.Tx: this process alone writes here.
func (t *sqliteTx) Confirm(gateway.WorkspaceID, []gateway.Ref, []gateway.Identity) error {
	return t.err
}

// AddEvent implements gateway.Tx.
func (t *sqliteTx) AddEvent(ws gateway.WorkspaceID, e gateway.Event) (id int64, first bool, err error) {
	if t.err != nil {
		return 0, false, t.err
	}
	id, first, err = t.addEvent(ws, &e)
	if err != nil {
		return 0, false, t.failed("add event", err)
	}
	return id, first, nil
}

func (t *sqliteTx) addEvent(ws gateway.WorkspaceID, e *gateway.Event) (id int64, first bool, err error) {
	s, err := t.w.stmt(eventsTable.sql[len(rowCounts)-1] + ` RETURNING id`)
	if err != nil {
		return 0, false, err
	}
	bindEvent(s, ws, e)
	for {
		row, err := s.step()
		if err != nil {
			return 0, false, err
		}
		if !row {
			break
		}
		id = s.columnInt(0)
	}
	missing := t.w.names.missing(ws, t.noted, []gateway.Event{*e})
	if len(missing) == 0 {
		return id, false, nil
	}
	if err := t.saveEventNames(ws, missing); err != nil {
		return 0, false, err
	}
	return id, t.w.engine.changes() > 0, nil
}

// SetInboxPosition implements gateway.Tx.
func (t *sqliteTx) SetInboxPosition(node string, seq int64) error {
	if t.err != nil {
		return t.err
	}
	s, err := t.w.stmt(`INSERT INTO inbox_positions (node, seq) VALUES (?, ?) ON CONFLICT (node) DO UPDATE SET seq = excluded.seq`)
	if err != nil {
		return t.failed("set inbox position", err)
	}
	s.text(node)
	s.int(seq)
	return t.failed("set inbox position", s.run())
}
