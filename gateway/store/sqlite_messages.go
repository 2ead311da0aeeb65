package store

import (
	"bytes"
	"context"
	"slices"
	"time"

	"civgate/gateway"
)

// ClaimMessages implements gateway.Tx.
func (t *sqliteTx) ClaimMessages(ws gateway.WorkspaceID, ids []gateway.MessageID, at time.Time) (map[gateway.MessageID]bool, error) {
	if t.err != nil {
		return nil, t.err
	}
	ids = slices.Clone(ids)
	slices.SortFunc(ids, func(a, b gateway.MessageID) int { return bytes.Compare(a[:], b[:]) })
	var repeats map[gateway.MessageID]bool
	for chunk := range slices.Chunk(ids, rowCounts[0]) {
		found, err := t.claim(ws, chunk, micros(at))
		if err != nil {
			return nil, t.failed("claim messages", err)
		}
		for _, id := range found {
			if repeats == nil {
				repeats = map[gateway.MessageID]bool{}
			}
			repeats[id] = true
		}
	}
	return repeats, nil
}

// claim inserts all ids at once, which nearly always is all there is to do. If
// fewer rows went in than there are ids it takes them back and looks which
// were there.
func (t *sqliteTx) claim(ws gateway.WorkspaceID, ids []gateway.MessageID, at int64) (repeats []gateway.MessageID, err error) {
	if err := t.w.run("SAVEPOINT claim"); err != nil {
		return nil, err
	}
	insert := func(ids []gateway.MessageID) (n int64, err error) {
		for i := 0; i < len(ids); {
			size := 0
			for rowCounts[size] > len(ids)-i {
				size++
			}
			s, err := t.w.stmt(messagesTable.sql[size])
			if err != nil {
				return 0, err
			}
			for end := i + rowCounts[size]; i < end; i++ {
				s.int(int64(ws))
				s.blob(ids[i][:])
				s.int(at)
			}
			if err := s.run(); err != nil {
				return 0, err
			}
			n += t.w.engine.changes()
		}
		return n, nil
	}
	n, err := insert(ids)
	if err != nil {
		return nil, err
	}
	if n < int64(len(ids)) {
		if err := t.w.run("ROLLBACK TO claim"); err != nil {
			return nil, err
		}
		s, err := t.w.stmt(`SELECT 1 FROM messages WHERE workspace_id = ? AND id = ?`)
		if err != nil {
			return nil, err
		}
		fresh := make([]gateway.MessageID, 0, len(ids))
		for _, id := range ids {
			s.int(int64(ws))
			s.blob(id[:])
			found, err := s.step()
			if err != nil {
				return nil, err
			}
			if found {
				s.reset()
				repeats = append(repeats, id)
			} else {
				fresh = append(fresh, id)
			}
		}
		if _, err := insert(fresh); err != nil {
			return nil, err
		}
	}
	return repeats, t.w.run("RELEASE claim")
}

// sweep is a place in the table messages.
type sweep struct {
	ws int64
	id string
}

func (w *sqliteWriter) forgetMessages(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	err = w.transact(ctx, func() error {
		var old []sweep
		at := w.sweep
		s, err := w.stmt(`SELECT workspace_id, id, claimed_at FROM messages WHERE (workspace_id, id) > (?, ?) ORDER BY workspace_id, id LIMIT ?`)
		if err != nil {
			return err
		}
		s.int(at.ws)
		s.blob([]byte(at.id))
		s.int(int64(max(limit, 0)))
		seen := 0
		for {
			row, err := s.step()
			if err != nil {
				return err
			}
			if !row {
				break
			}
			seen++
			at = sweep{ws: s.columnInt(0), id: s.columnText(1)}
			if s.columnInt(2) < micros(before) {
				old = append(old, at)
			}
		}
		if seen < limit {
			at = sweep{}
		}
		del, err := w.stmt(`DELETE FROM messages WHERE workspace_id = ? AND id = ?`)
		if err != nil {
			return err
		}
		for _, m := range old {
			del.int(m.ws)
			del.blob([]byte(m.id))
			if err := del.run(); err != nil {
				return err
			}
		}
		w.sweep, deleted = at, len(old)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return deleted, nil
}
