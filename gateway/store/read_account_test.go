package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
	"civgate/gateway/storetest"
)

// TestAccount finds the same, however many people have their histories looked up one
// by one, and however little of the workspace's is looked at in one call.
func TestAccount(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "account.db") }},
		{"Postgres", func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) }},
	} {
		for _, bounds := range [][3]int{{1000, 1000, 100}, {0, 10_000, 100}, {0, 30, 3}, {0, 100, 1}, {5, 60, 60}} {
			t.Run(fmt.Sprint(c.name, bounds), func(t *testing.T) {
				t.Parallel()
				s := open(t, c.database(t))
				store.BoundAccounts(s, bounds[0], bounds[1], bounds[2])
				storetest.Account(t, s)
			})
		}
	}
}
