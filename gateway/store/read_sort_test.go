//go:build unix

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
	"civgate/gateway/storetest"
)

// TestOrdersWithinBounds lists in order with all bounds on what one call looks at.
func TestOrdersWithinBounds(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]func(t *testing.T) string{
		"SQLite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "civgate.db") },
		"Postgres": func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) },
	} {
		for _, bounds := range [][2]int{{1, 1}, {700, 3}, {5000, 40}} {
			t.Run(fmt.Sprint(name, bounds), func(t *testing.T) {
				t.Parallel()
				s := open(t, path(t))
				store.BoundOrders(s, bounds[0], bounds[1])
				storetest.Orders(t, s)
			})
		}
	}
}
