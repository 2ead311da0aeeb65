//go:build unix

package store

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
)

type plainRow struct {
	Kind  gateway.EventKind // of a type of its own
	ID    gateway.ContactID
	Count int
	Flag  bool
	Body  []byte
}

// onBothWriters runs fn in a write transaction of each database.
func onBothWriters(t *testing.T, test func(t *testing.T, s *Store, within func(fn func(tx plainTx) error) error)) {
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "civgate.db") },
		"postgres": func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := Open(t.Context(), url(t))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			test(t, s, func(fn func(tx plainTx) error) error {
				return s.Update(t.Context(), func(tx gateway.Tx) error { return fn(tx.(plainTx)) })
			})
		})
	}
}

// TestPlain writes and reads values of all types, with parameters that are used
// twice and in another order than they are given.
func TestPlain(t *testing.T) {
	t.Parallel()
	onBothWriters(t, func(t *testing.T, _ *Store, within func(fn func(tx plainTx) error) error) {
		want := []plainRow{
			{"b", 2, 20, true, []byte{0, 255}},
			{"", 1, -10, false, []byte{}},
		}
		err := within(func(tx plainTx) error {
			if err := tx.lock(1); err != nil {
				return err
			}
			if _, err := tx.exec(`CREATE TEMPORARY TABLE plain (kind text, id bigint, count bigint, flag ` + flagType(tx) + `, body ` + bytesType(tx) + `, absent text)`); err != nil {
				return err
			}
			for _, r := range want {
				n, err := tx.exec(`INSERT INTO plain (id, kind, count, flag, body, absent) VALUES ($2, $1, $3, $4, $5, $6)`, r.Kind, r.ID, r.Count, r.Flag, r.Body, nil)
				if err != nil {
					return err
				}
				if n != 1 {
					t.Errorf("an insert changed %d rows", n)
				}
			}
			// Twice: a statement that is kept must be as it was.
			for range 2 {
				var got []plainRow
				err := tx.rows(func(row scanner) error {
					var r plainRow
					err := row.Scan(&r.Kind, &r.ID, &r.Count, &r.Flag, &r.Body)
					got = append(got, r)
					return err
				}, `SELECT kind, id, count, flag, body FROM plain WHERE absent IS NULL AND id > $2 AND id < $1 AND count < $1 ORDER BY id DESC`, 100, int64(0))
				if err != nil {
					return err
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			}
			if n, err := tx.exec(`DELETE FROM plain WHERE id >= $1`, 0); n != 2 || err != nil {
				t.Errorf("a delete changed %d rows: %v", n, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}

func flagType(tx plainTx) string {
	if _, ok := tx.(*sqliteTx); ok {
		return "integer"
	}
	return "boolean"
}

func bytesType(tx plainTx) string {
	if _, ok := tx.(*sqliteTx); ok {
		return "blob"
	}
	return "bytea"
}

// TestPlainErrors fails in each way within a transaction that goes on as if nothing
// had happened: nothing of it may be stored.
func TestPlainErrors(t *testing.T) {
	t.Parallel()
	mine := errors.New("mine")
	for name, tt := range map[string]struct {
		fail func(tx plainTx) error
		is   error
		code gateway.Code
	}{
		"taken": {func(tx plainTx) error {
			_, err := tx.exec(`INSERT INTO inbox_positions (node, seq) VALUES ($1, $2)`, "taken", 1)
			return err
		}, nil, gateway.CodeConflict},
		"no such statement": {func(tx plainTx) error {
			_, err := tx.exec(`NOTHING $1`, 1)
			return err
		}, nil, ""},
		"a parameter of no type": {func(tx plainTx) error {
			_, err := tx.exec(`UPDATE inbox_positions SET seq = $1`, struct{}{})
			return err
		}, nil, ""},
		"a column of no type": {func(tx plainTx) error {
			return tx.rows(func(row scanner) error { return row.Scan(new(struct{})) }, `SELECT seq FROM inbox_positions`)
		}, nil, ""},
		"the reader's own": {func(tx plainTx) error {
			return tx.rows(func(scanner) error { return mine }, `SELECT seq FROM inbox_positions`)
		}, mine, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onBothWriters(t, func(t *testing.T, s *Store, within func(fn func(tx plainTx) error) error) {
				set := func(tx plainTx, node string) error {
					_, err := tx.exec(`INSERT INTO inbox_positions (node, seq) VALUES ($1, 7)`, node)
					return err
				}
				if err := within(func(tx plainTx) error { return set(tx, "taken") }); err != nil {
					t.Fatal(err)
				}
				err := within(func(tx plainTx) error {
					if err := set(tx, "before"); err != nil {
						return err
					}
					if tt.fail(tx) == nil {
						t.Error("no error")
					}
					if set(tx, "after") == nil {
						t.Error("no error of what comes after one")
					}
					return nil
				})
				if err == nil || tt.is != nil && !errors.Is(err, tt.is) || tt.code != "" && gateway.CodeOf(err) != tt.code {
					t.Errorf("the transaction: %v", err)
				}
				for _, node := range []string{"before", "after"} {
					if seq, err := s.InboxPosition(t.Context(), node); seq != 0 || err != nil {
						t.Errorf("%s was stored: %d, %v", node, seq, err)
					}
				}
				if err := within(func(tx plainTx) error { return set(tx, "another") }); err != nil {
					t.Errorf("the next transaction: %v", err)
				}
			})
		})
	}
}
