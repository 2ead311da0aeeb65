package store

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"

	"civgate/gateway"
)

// TestPreparedReads: statements that are kept answer with what is stored now, also those that are
// asked again while their rows are read, and those of which there are too many to keep.
func TestPreparedReads(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	read := func(fn func(tx *sql.Tx)) {
		t.Helper()
		if err := s.view(t.Context(), "read", func(tx *sql.Tx) error { fn(tx); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	names := func(tx *sql.Tx, text string, args ...any) (out []string) {
		t.Helper()
		if err := query(context.Background(), tx, func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			out = append(out, name)
			return err
		}, text, args...); err != nil {
			t.Fatal(err)
		}
		return out
	}
	const all = `SELECT node FROM inbox_positions WHERE node >= $1 ORDER BY node`
	for i := range 5 {
		if err := s.Update(t.Context(), func(tx gateway.Tx) error { return tx.SetInboxPosition(fmt.Sprint("n", i), 1) }); err != nil {
			t.Fatal(err)
		}
		read(func(tx *sql.Tx) {
			if got := names(tx, all, ""); len(got) != i+1 {
				t.Errorf("%d nodes are there, %v found", i+1, got)
			}
			if got := names(tx, all, "n3"); len(got) != max(0, i-2) {
				t.Errorf("with another parameter: %v", got)
			}
		})
	}
	read(func(tx *sql.Tx) {
		outer := 0
		if err := query(context.Background(), tx, func(rows *sql.Rows) error {
			outer++
			if got := names(tx, all, "n4"); len(got) != 1 {
				t.Errorf("asked within: %v", got)
			}
			return nil
		}, all, ""); err != nil || outer != 5 {
			t.Errorf("%d rows, %v", outer, err)
		}
	})
	for range 3 {
		read(func(tx *sql.Tx) {
			for i := range maxPrepared {
				if got := names(tx, fmt.Sprintf("%s LIMIT %d", all, i%7+1)+fmt.Sprintf(" -- %d", i), ""); len(got) != min(i%7+1, 5) {
					t.Fatalf("statement %d: %v", i, got)
				}
			}
			names(tx, all+" -- one more", "")
		})
	}
}
