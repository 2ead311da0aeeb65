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

// BenchmarkCompany reads a company of 200,000 employees and one of 1,000, as many
// as a view names.
func BenchmarkCompany(b *testing.B) {
	for _, db := range []struct {
		name string
		path func() string
	}{
		{"SQLite", func() string { return filepath.Join(b.TempDir(), "civgate.db") }},
		{"Postgres", func() string { return pgtest.Start(b, "shared_buffers=256MB").NewDatabase(b) }},
	} {
		s := open(b, db.path())
		w := workspace(b, s)
		for _, c := range []struct {
			name string
			id   gateway.CompanyID
			n    int
		}{{"large", 1 << 40, 200_000}, {"small", 1<<40 + 1, 1000}} {
			employ(b, s, w, c.id, c.n)
			page := gateway.MemberQuery{Limit: 100}
			middle := gateway.MemberQuery{Limit: 100, BeforeSince: moment(c.n / 2), BeforeContact: 1 << 40}
			for _, read := range []struct {
				name string
				call func() (int, error)
				want int
			}{
				{"view", func() (int, error) {
					v, err := s.Company(b.Context(), w, c.id)
					if err != nil {
						return 0, err
					}
					return int(v.EmployeesCount), nil
				}, c.n},
				{"first page", func() (int, error) { m, err := s.Members(b.Context(), w, c.id, page); return len(m), err }, 100},
				{"page in the middle", func() (int, error) { m, err := s.Members(b.Context(), w, c.id, middle); return len(m), err }, 100},
			} {
				b.Run(db.name+"/"+c.name+"/"+read.name, func(b *testing.B) {
					for b.Loop() {
						if got, err := read.call(); err != nil || got != read.want {
							b.Fatalf("%d, %v; want %d", got, err, read.want)
						}
					}
				})
			}
		}
	}
}

// employ makes a company with n employees.
func employ(b *testing.B, s *store.Store, w gateway.WorkspaceID, id gateway.CompanyID, n int) {
	b.Helper()
	for done := 0; done < n; {
		size := min(5000, n-done)
		err := s.Update(b.Context(), func(tx gateway.Tx) error {
			first, err := tx.NextIDs(gateway.IDContact, size)
			if err != nil {
				return err
			}
			c := &gateway.Changes{}
			if done == 0 {
				c.NewCompanies = []*gateway.Company{{ID: id, WorkspaceID: w, Name: "Example"}}
			}
			for i := range size {
				x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), WorkspaceID: w, CreatedAt: time.Unix(1, 0)}
				c.NewContacts = append(c.NewContacts, x)
				c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: w, ContactID: x.ID, CompanyID: id, Source: gateway.SourceAPI, Since: moment(done + i + 1), Primary: true})
			}
			return tx.Save(w, c)
		})
		if err != nil {
			b.Fatal(err)
		}
		done += size
	}
}
