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
)

// BenchmarkSort sorts as many contacts as are sorted at once: those who have a tag, one in
// 20 of a workspace of 40,000, with four page views each; and it tries to sort those who
// meet a condition that many do, and one that nobody does, for as long as a page waits.
func BenchmarkSort(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) { benchSort(b, filepath.Join(b.TempDir(), "civgate.db")) })
	b.Run("Postgres", func(b *testing.B) { benchSort(b, pgtest.Shared(b).NewDatabase(b)) })
}

func benchSort(b *testing.B, path string) {
	s := open(b, path)
	w := workspace(b, s)
	fillSorted(b, s, w)
	where := []gateway.Condition{{Field: "tags", Value: gateway.TextValue("sorted")}}
	for _, by := range []string{"id", "email", "name", "plan", "company", "page_views", "last_seen"} {
		b.Run(by, func(b *testing.B) {
			for b.Loop() {
				page, err := s.SortContacts(b.Context(), w, gateway.SortQuery{Where: where, By: by, Limit: 50}, time.Hour)
				if err != nil || len(page.Rows) != 50 {
					b.Fatalf("no page: %v", err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Millisecond), "ms/op")
		})
	}
	for name, where := range map[string]gateway.Condition{
		"many":   {Field: "plan", Value: gateway.TextValue("pro")},
		"nobody": {Field: "city", Op: gateway.OpIContains, Value: gateway.TextValue("none")},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := s.SortContacts(b.Context(), w, gateway.SortQuery{Where: []gateway.Condition{where}, By: "page_views", Limit: 50}, 50*time.Millisecond)
				if err != nil && gateway.CodeOf(err) != gateway.CodeTooLarge {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Millisecond), "ms/op")
		})
	}
}

func fillSorted(b *testing.B, s *store.Store, w gateway.WorkspaceID) {
	b.Helper()
	const step = 20
	for made := 0; made < gateway.MaxSorted*step; {
		err := s.Update(b.Context(), func(tx gateway.Tx) error {
			const batch = 100 * step
			c := &gateway.Changes{}
			contact, err := tx.NextIDs(gateway.IDContact, batch)
			if err != nil {
				return err
			}
			company, err := tx.NextIDs(gateway.IDCompany, 1)
			if err != nil {
				return err
			}
			c.NewCompanies = []*gateway.Company{{ID: gateway.CompanyID(company), Name: fmt.Sprint("Company ", company*7919%1000)}}
			for i := range int64(batch) {
				x := &gateway.Contact{ID: gateway.ContactID(contact + i), CustomID: fmt.Sprint("u", contact+i), EmailKey: fmt.Sprintf("p%d@acme.test", (contact+i)*7919%100_003), CreatedAt: moment(made), UpdatedAt: moment(made)}
				x.Email = x.EmailKey
				x.Attributes = gateway.Attributes{{Name: "city", Value: gateway.TextValue("Poznań")}, {Name: "name", Value: gateway.TextValue(fmt.Sprint("Johnny ", x.EmailKey))},
					{Name: "plan", Value: gateway.TextValue([]string{"free", "pro"}[i%2])}, {Name: "source", Value: gateway.TextValue("newsletter of March")}}
				if made++; i%step == 0 {
					x.Attributes.Set("tags", gateway.ListValue("sorted"))
					c.Tagged = append(c.Tagged, gateway.TagChange{Entity: gateway.EntityContact, Subject: int64(x.ID), Name: "sorted"})
					c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: w, ContactID: x.ID, CompanyID: gateway.CompanyID(company), Source: gateway.SourceAPI, Since: moment(made), Primary: true})
					for range 4 {
						c.PageViews = append(c.PageViews, gateway.PageView{ContactID: x.ID, At: moment(made * 7919 % 1_000_003), Path: "/", Title: "Home"})
					}
				}
				c.NewContacts = append(c.NewContacts, x)
			}
			return tx.Save(w, c)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
