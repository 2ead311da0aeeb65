//go:build unix

package store_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// TestQuarantineCounts: what was set aside is found, and can be dropped, also
// where its workspace does not exist.
func TestQuarantineCounts(t *testing.T) {
	t.Parallel()
	for _, db := range []struct {
		name string
		open func(t *testing.T) *store.Store
	}{
		{"SQLite", func(t *testing.T) *store.Store { return open(t, filepath.Join(t.TempDir(), "civgate.db")) }},
		{"PostgreSQL", func(t *testing.T) *store.Store { return open(t, pgtest.Shared(t).NewDatabase(t)) }},
	} {
		t.Run(db.name, func(t *testing.T) {
			t.Parallel()
			s, ctx := db.open(t), t.Context()
			w := workspace(t, s)
			gone := w + 7
			for w, n := range map[gateway.WorkspaceID]int{w: 1, gone: 2} {
				err := s.Update(ctx, func(tx gateway.Tx) error {
					return tx.Save(w, &gateway.Changes{Quarantine: make([]gateway.Quarantined, n)})
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			got, err := s.QuarantineCounts(ctx)
			if diff := cmp.Diff(map[gateway.WorkspaceID]int64{w: 1, gone: 2}, got); err != nil || diff != "" {
				t.Error(err, diff)
			}
			list, err := s.Quarantine(ctx, gone, 10)
			if err != nil || len(list) != 2 {
				t.Fatal(list, err)
			}
			if err := s.DropQuarantined(ctx, gone, list[0].ID); err != nil {
				t.Error("drop:", err)
			}
			if got, err = s.QuarantineCounts(ctx); err != nil || got[gone] != 1 {
				t.Error(got, err)
			}
		})
	}
}
