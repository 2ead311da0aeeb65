//go:build unix

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"civgate/gateway"
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

// TestSortPatience sorts and counts with all the time there is, and with none, in which
// one portion is looked at: of all, of what leads, of a span of time, of a company.
func TestSortPatience(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]func(t *testing.T) string{
		"SQLite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "civgate.db") },
		"Postgres": func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSortPatience(t, open(t, path(t)))
		})
	}
}

func testSortPatience(t *testing.T, s *store.Store) {
	w := workspace(t, s)
	const n, few = 1200, 100
	company, last := fillCompany(t, s, w, n)
	if err := s.Update(t.Context(), func(tx gateway.Tx) error {
		c := &gateway.Changes{}
		for i := range 2 {
			if err := tx.SaveList(gateway.List{ID: gateway.ListID(i + 1), WorkspaceID: w, Name: fmt.Sprint(i)}); err != nil {
				return err
			}
		}
		for i := range gateway.ContactID(n) {
			if err := tx.AddListed(w, gateway.Listed{ListID: 1, ContactID: last - i}); err != nil {
				return err
			}
			if i%(n/few) == 0 {
				if err := tx.AddListed(w, gateway.Listed{ListID: 2, ContactID: last - i}); err != nil {
					return err
				}
			}
			for range i % 3 {
				c.PageViews = append(c.PageViews, gateway.PageView{ContactID: last - i, At: moment(int(i)), Path: "/"})
			}
		}
		return tx.Save(w, c)
	}); err != nil {
		t.Fatal(err)
	}
	in := func(list int64) []gateway.Condition {
		return []gateway.Condition{{Field: "list", Value: gateway.IntValue(list)}}
	}
	// Who was made before the last hundreds.
	early := []gateway.Condition{{Field: "created_at", Op: gateway.OpAtMost, Value: gateway.DatetimeValue(moment(n - few))}}
	for _, c := range []struct {
		name         string
		q            gateway.SortQuery
		score, found int  // of the first; of all
		short        bool // enough for no patience at all
	}{
		{"all", gateway.SortQuery{By: "score", Down: true}, n - 1, n, false},
		{"all upwards", gateway.SortQuery{By: "score"}, 0, n, false},
		{"a list", gateway.SortQuery{By: "score", Down: true, Where: in(1)}, n - 1, n, false},
		{"a short list", gateway.SortQuery{By: "score", Where: in(2)}, n/few - 1, few, true},
		{"a short list by page views", gateway.SortQuery{By: "page_views", Where: in(2)}, n/few - 1, few, true},
		{"a list by page views", gateway.SortQuery{By: "page_views", Where: in(1)}, 2, n, false},
		{"a span", gateway.SortQuery{By: "score", Down: true, Where: early}, n - few - 1, n - few, false},
		{"a company", gateway.SortQuery{By: "score", Down: true, Company: company}, n - 1, n, false},
		{"part of a company", gateway.SortQuery{By: "score", Where: in(2), Company: company}, n/few - 1, few, false},
	} {
		c.q.Limit = 7
		page, err := s.SortContacts(t.Context(), w, c.q, time.Hour)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if score, _ := page.Rows[0].Attributes.Get("score"); len(page.Rows) != 7 || score.Raw != fmt.Sprint(c.score) {
			t.Errorf("%s: %d contacts, the first with %s, want %d", c.name, len(page.Rows), score.Raw, c.score)
		}
		page, err = s.SortContacts(t.Context(), w, c.q, 0)
		if c.short != (err == nil) || err != nil && gateway.CodeOf(err) != gateway.CodeTooLarge {
			t.Errorf("%s without patience: %v, %v", c.name, page, err)
		}
		if c.q.Company != 0 {
			continue
		}
		if found, err := s.CountFound(t.Context(), w, gateway.EntityContact, c.q.Where, n+1, time.Hour); err != nil || found != c.found {
			t.Errorf("%s: %d counted, want %d: %v", c.name, found, c.found, err)
		}
		if found, err := s.CountFound(t.Context(), w, gateway.EntityContact, c.q.Where, n+1, 0); c.short != (err == nil) || err != nil && gateway.CodeOf(err) != gateway.CodeTooLarge {
			t.Errorf("%s: %d counted without patience: %v", c.name, found, err)
		}
	}
	if _, err := s.SortCompanies(t.Context(), w, gateway.SortQuery{By: "employees", Limit: 7}, 0); err != nil {
		t.Errorf("one company: %v", err)
	}

	// Of a company that is too large those can be sorted whom a filter leaves.
	w = workspace(t, s)
	company, _ = fillCompany(t, s, w, gateway.MaxSorted+1)
	q := gateway.SortQuery{By: "score", Company: company, Limit: 7}
	if page, err := s.SortContacts(t.Context(), w, q, time.Hour); gateway.CodeOf(err) != gateway.CodeTooLarge {
		t.Errorf("a large company: %v, %v", page, err)
	}
	q.Where = []gateway.Condition{{Field: "plan", Value: gateway.TextValue("pro")}}
	if page, err := s.SortContacts(t.Context(), w, q, time.Hour); err != nil || len(page.Rows) != 7 {
		t.Errorf("half of a large company: %v, %v", page, err)
	}
}
