package store_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
	"civgate/gateway/storetest"
)

// TestSpans finds the same, however soon a search by time gives up one way for the
// next one.
func TestSpans(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		database func(t *testing.T) string
	}{
		{"SQLite", func(t *testing.T) string { return filepath.Join(t.TempDir(), "spans.db") }},
		{"Postgres", func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) }},
	} {
		for _, bounds := range [][3]int{{3, 5, 8}, {0, 1, 0}, {0, 1, 30}, {10, 1000, 10}} {
			t.Run(fmt.Sprint(c.name, bounds), func(t *testing.T) {
				t.Parallel()
				s := open(t, c.database(t))
				store.BoundSpans(s, bounds[0], bounds[1], bounds[2])
				storetest.FindActivity(t, s)
			})
		}
	}
}

// TestSearchWindows finds the same, however few rows of the list are looked at in one
// window.
func TestSearchWindows(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(t *testing.T) string{
		"SQLite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "search.db") },
		"Postgres": func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Search(t, func(t *testing.T) gateway.Store {
				s := open(t, database(t))
				store.BoundSpans(s, 20_000, 3, 200_000)
				return s
			})
		})
	}
}
