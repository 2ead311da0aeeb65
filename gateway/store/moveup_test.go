//go:build unix

package store_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway/store/pgtest"
)

// TestMoveUp takes an instance from SQLite to PostgreSQL and back.
func TestMoveUp(t *testing.T) {
	t.Parallel()
	const contacts = 700
	from := open(t, filepath.Join(t.TempDir(), "from.db"))
	w := furnish(t, from, contacts)
	text, sums := export(t, from)

	up := open(t, pgtest.Shared(t).NewDatabase(t))
	got, err := up.Import(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sums, got); d != "" {
		t.Error(d)
	}
	fromPostgres, _ := export(t, up)
	if d := cmp.Diff(sorted(text), sorted(fromPostgres)); d != "" {
		t.Error(d)
	}
	checkImported(t, up, w, contacts)

	down := open(t, filepath.Join(t.TempDir(), "down.db"))
	if got, err = down.Import(t.Context(), strings.NewReader(fromPostgres)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sums, got); d != "" {
		t.Error(d)
	}
	checkImported(t, down, w, contacts)
}
