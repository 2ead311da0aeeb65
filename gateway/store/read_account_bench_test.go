//go:build unix

package store_test

import (
	"path/filepath"
	"testing"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// BenchmarkAccount reads what the people of companies did, in a workspace of 1,000,000
// contacts with as many page views and a tenth of that of events: of a company that has
// a fifth of them, of a small one, and of one that is large but has not done anything for
// a while.
func BenchmarkAccount(b *testing.B) {
	const contacts, batch = 1_000_000, 10_000
	for _, db := range []struct {
		name string
		path func() string
	}{
		{"SQLite", func() string { return filepath.Join(b.TempDir(), "civgate.db") }},
		{"Postgres", func() string { return pgtest.Start(b, "shared_buffers=256MB").NewDatabase(b) }},
	} {
		s := open(b, db.path())
		w := workspace(b, s)
		companies := []*gateway.Company{{ID: 1, Name: "Large"}, {ID: 2, Name: "Small"}, {ID: 3, Name: "Asleep"}}
		for made := 0; made < contacts; made += batch {
			err := s.Update(b.Context(), func(tx gateway.Tx) error {
				first, err := tx.NextIDs(gateway.IDContact, batch)
				if err != nil {
					return err
				}
				c := &gateway.Changes{}
				if made == 0 {
					c.NewCompanies = companies
				}
				for i := range batch {
					k := made + i
					x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), CreatedAt: moment(k), UpdatedAt: moment(k)}
					c.NewContacts = append(c.NewContacts, x)
					c.PageViews = append(c.PageViews, gateway.PageView{ContactID: x.ID, At: moment(k + 1), Path: "/pricing", Title: "Pricing"})
					if k%10 == 0 {
						c.Events = append(c.Events, gateway.Event{ContactID: x.ID, At: moment(k + 1), Kind: gateway.EventCustom, Name: "e"})
					}
					m := gateway.Membership{ContactID: x.ID, Since: moment(k + 1), Source: gateway.SourceAPI, Primary: true}
					switch {
					case k%5 == 0:
						m.CompanyID = 1
					case k%1000 == 1:
						m.CompanyID = 2
					case k < 10_000 && k%2 == 1:
						m.CompanyID = 3
					default:
						continue
					}
					c.NewMemberships = append(c.NewMemberships, m)
				}
				return tx.Save(w, c)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		for _, c := range companies {
			b.Run(db.name+"/"+c.Name, func(b *testing.B) { benchAccount(b, s, w, c.ID) })
		}
	}
}

func benchAccount(b *testing.B, s *store.Store, w gateway.WorkspaceID, id gateway.CompanyID) {
	for b.Loop() {
		page, err := s.Account(b.Context(), w, id, gateway.AccountQuery{Limit: 50})
		if err != nil {
			b.Fatal(err)
		}
		if n := len(page.Entries); n < 50 && !page.Partial {
			b.Fatalf("%d entries", n)
		}
	}
}
