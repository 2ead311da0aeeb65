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

// TestAccountAfterSilence: a page is full however long ago what is on it was, and however
// much happened at once then.
func TestAccountAfterSilence(t *testing.T) {
	t.Parallel()
	for name, database := range map[string]func(t *testing.T) string{
		"SQLite":   func(t *testing.T) string { return filepath.Join(t.TempDir(), "account.db") },
		"Postgres": func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) },
	} {
		for silence, apart := range map[time.Duration]time.Duration{
			0: time.Millisecond, 4 * time.Hour: time.Millisecond, 73 * time.Hour: 50 * time.Microsecond, 3 * 365 * 24 * time.Hour: time.Microsecond,
			30 * time.Hour: 0, 100 * time.Hour: 10 * time.Second,
		} {
			t.Run(fmt.Sprint(name, silence), func(t *testing.T) {
				t.Parallel()
				s := open(t, database(t))
				store.BoundAccounts(s, 0, 3000, 100)
				w := workspace(t, s)
				const views, every, limit = 5000, 10, 50
				err := s.Update(t.Context(), func(tx gateway.Tx) error {
					first, err := tx.NextIDs(gateway.IDContact, 2)
					if err != nil {
						return err
					}
					c := &gateway.Changes{NewCompanies: []*gateway.Company{{ID: 1, Name: "Acme"}}, NewMemberships: []gateway.Membership{{ContactID: gateway.ContactID(first), CompanyID: 1, Source: gateway.SourceAPI}}}
					for i := range 2 {
						c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: gateway.ContactID(first + int64(i))})
					}
					at := time.Now().Add(-silence).Truncate(time.Microsecond)
					for i := range views {
						v := gateway.PageView{ContactID: c.NewContacts[1].ID, At: at.Add(-time.Duration(views-i) * apart)}
						if i%every == 0 {
							v.ContactID = c.NewContacts[0].ID
						}
						c.PageViews = append(c.PageViews, v)
					}
					return tx.Save(w, c)
				})
				if err != nil {
					t.Fatal(err)
				}
				q := gateway.AccountQuery{Limit: limit}
				seen := map[int64]bool{}
				for page := 0; ; page++ {
					found, err := s.Account(t.Context(), w, 1, q)
					if err != nil {
						t.Fatal(err)
					}
					// Of what happened all at once, others' may come first.
					if apart > 0 && len(found.Entries) != limit && len(seen) < views/every {
						t.Fatalf("page %d has %d entries; partial: %v", page, len(found.Entries), found.Partial)
					}
					for _, e := range found.Entries {
						seen[e.PageView.ID] = true
					}
					if q.Before = found.Next; q.Before == (gateway.AccountPlace{}) {
						break
					}
				}
				if len(seen) != views/every {
					t.Errorf("%d page views, want %d", len(seen), views/every)
				}
			})
		}
	}
}

// TestPostgresSummaries: what was written is soon in the index by ranges of blocks,
// whatever the server does by itself.
func TestPostgresSummaries(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Start(t, "autovacuum=off").NewDatabase(t))
	w := workspace(t, s)
	add := func() {
		t.Helper()
		err := s.Update(t.Context(), func(tx gateway.Tx) error {
			id, err := tx.NextIDs(gateway.IDContact, 1)
			if err != nil {
				return err
			}
			c := &gateway.Changes{NewContacts: []*gateway.Contact{{ID: gateway.ContactID(id)}}}
			for i := range 10_000 {
				c.PageViews = append(c.PageViews, gateway.PageView{ContactID: gateway.ContactID(id), At: moment(i + 1), Path: "/pricing"})
			}
			return tx.Save(w, c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add()
	if n := store.Summarize(t, s); n == 0 {
		t.Fatal("nothing was left to take in: this test shows nothing")
	}
	add()
	if _, err := s.ForgetMessages(t.Context(), moment(1), 10); err != nil {
		t.Fatal(err)
	}
	if n := store.Summarize(t, s); n != 0 {
		t.Errorf("%d ranges are not in the index", n)
	}
}
