package web

import (
	"context"
	"testing"
	"time"

	"civgate/gateway"
)

// TestSortListStays: a list that is, or on the page before was, sorted in memory has the
// time to be so again, and those without a value are found nowhere else.
func TestSortListStays(t *testing.T) {
	t.Parallel()
	after, none := gateway.SortPlace{Key: "a", ID: 5}, gateway.SortPlace{ID: 5, None: true}
	for _, tt := range []struct {
		name         string
		by           string
		after        gateway.SortPlace
		short, maybe bool
		fits         time.Duration // that it takes to sort it
		want         string
	}{
		{"short and slow", "score", gateway.SortPlace{}, true, false, 300 * time.Millisecond, "memory"},
		{"perhaps short, and slow", "score", gateway.SortPlace{}, false, true, 300 * time.Millisecond, "refused"},
		{"perhaps short, and quick", "score", gateway.SortPlace{}, false, true, time.Millisecond, "memory"},
		{"further pages, slow for once", "score", after, false, true, 300 * time.Millisecond, "memory"},
		{"further pages of no values", "score", none, false, true, 300 * time.Millisecond, "memory"},
		{"an index does it as well", "email", after, false, true, 300 * time.Millisecond, "index"},
		{"the rest have no e-mail", "email", none, false, true, 300 * time.Millisecond, "refused"},
		{"neither", "score", gateway.SortPlace{}, false, false, 0, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f, err := sortList(t.Context(), 1, sorts{entity: gateway.EntityContact, now: listOrder{By: tt.by}}, gateway.SortQuery{By: tt.by, After: tt.after, Limit: 1}, tt.short, tt.maybe, 50*time.Millisecond,
				func(_ context.Context, _ gateway.WorkspaceID, _ gateway.SortQuery, patience time.Duration) (*gateway.SortPage[string], error) {
					if patience < tt.fits {
						return nil, gateway.Errorf(gateway.CodeTooLarge, "no time")
					}
					return &gateway.SortPage[string]{Rows: []string{"memory"}}, nil
				}, func(context.Context, gateway.WorkspaceID, gateway.SortQuery) (*gateway.SortPage[string], error) {
					return &gateway.SortPage[string]{Rows: []string{"index"}}, nil
				})
			if err != nil {
				t.Fatal(err)
			}
			got := "refused"
			if !f.refused {
				got = f.rows[0]
			}
			if got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}
