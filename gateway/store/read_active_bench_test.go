//go:build unix

package store_test

import (
	"path/filepath"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// BenchmarkLastActive asks for a page of 50 companies with 2,000 employees each, of whom a
// twentieth have been active.
func BenchmarkLastActive(b *testing.B) {
	for _, db := range []struct {
		name string
		path func() string
	}{
		{"SQLite", func() string { return filepath.Join(b.TempDir(), "civgate.db") }},
		{"Postgres", func() string { return pgtest.Shared(b).NewDatabase(b) }},
	} {
		b.Run(db.name, func(b *testing.B) {
			s := open(b, db.path())
			w := workspace(b, s)
			companies := fillActive(b, s, w, 50, 2000)
			for b.Loop() {
				if all, err := s.LastActive(b.Context(), w, companies); err != nil || len(all) != len(companies) {
					b.Fatalf("%d companies: %v", len(all), err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Millisecond), "ms/op")
		})
	}
}

// fillActive makes companies of each size employees.
func fillActive(b *testing.B, s *store.Store, w gateway.WorkspaceID, companies, size int) (all []gateway.CompanyID) {
	b.Helper()
	for range companies {
		err := s.Update(b.Context(), func(tx gateway.Tx) error {
			company, err := tx.NextIDs(gateway.IDCompany, 1)
			if err != nil {
				return err
			}
			first, err := tx.NextIDs(gateway.IDContact, size)
			if err != nil {
				return err
			}
			all = append(all, gateway.CompanyID(company))
			c := &gateway.Changes{NewCompanies: []*gateway.Company{{ID: gateway.CompanyID(company), Name: "Acme"}}}
			for i := range size {
				x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), CreatedAt: moment(i), UpdatedAt: moment(i)}
				c.NewContacts = append(c.NewContacts, x)
				c.NewMemberships = append(c.NewMemberships, gateway.Membership{ContactID: x.ID, CompanyID: gateway.CompanyID(company), Since: moment(i), Source: gateway.SourceAPI, Primary: true})
				if i%20 == 0 {
					for k := range 20 {
						c.PageViews = append(c.PageViews, gateway.PageView{ContactID: x.ID, At: moment(i + k), Path: "/"})
						c.Events = append(c.Events, gateway.Event{ContactID: x.ID, At: moment(i + k), Kind: gateway.EventCustom, Name: "e"})
					}
				}
			}
			return tx.Save(w, c)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return all
}
