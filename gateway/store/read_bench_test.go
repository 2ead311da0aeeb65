//go:build unix

package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// BenchmarkReads measures reads in a workspace whose 200,000 contacts all belong
// to one company, and did to it once before.
func BenchmarkReads(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) { benchReads(b, filepath.Join(b.TempDir(), "civgate.db")) })
	b.Run("Postgres", func(b *testing.B) { benchReads(b, pgtest.Shared(b).NewDatabase(b)) })
}

func benchReads(b *testing.B, path string) {
	s := open(b, path)
	w := workspace(b, s)
	company, last := fillCompany(b, s, w, benchContacts)
	is := func(field string, op gateway.Op, v gateway.Value) gateway.Query {
		return gateway.Query{Where: []gateway.Condition{{Field: field, Op: op, Value: v}}, Limit: 50}
	}
	middle := gateway.MemberQuery{Limit: 50, BeforeSince: moment(benchContacts / 2), BeforeContact: last}
	former := middle
	former.Former = true
	find := func(q gateway.Query) func(ctx context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			found, err := s.FindContacts(ctx, w, q)
			return len(found), err
		}
	}
	members := func(q gateway.MemberQuery) func(ctx context.Context) (int, error) {
		return func(ctx context.Context) (int, error) {
			found, err := s.Members(ctx, w, company, q)
			return len(found), err
		}
	}
	list := fillList(b, s, w, last)
	filters := make([][]gateway.Condition, gateway.MaxSegments)
	for i := range filters {
		filters[i] = []gateway.Condition{
			{Field: "plan", Value: gateway.TextValue("pro")}, {Field: "list", Value: gateway.IntValue(int64(list))}, {Field: "score", Op: gateway.OpGreater, Value: gateway.IntValue(int64(i))},
		}
	}
	for _, c := range []struct {
		name string
		want int
		call func(ctx context.Context) (int, error)
	}{
		{"company", gateway.MaxEmployees, func(ctx context.Context) (int, error) {
			v, err := s.Company(ctx, w, company)
			if err != nil || v.EmployeesCount != benchContacts {
				return 0, fmt.Errorf("company: %w", err)
			}
			return len(v.Employees), nil
		}},
		{"find in a list", 50, find(is("list", "", gateway.IntValue(int64(list))))},
		{"meet 500 filters", 500, func(ctx context.Context) (int, error) {
			met, err := s.Meets(ctx, w, last, filters)
			return len(met), err
		}},
		{"members", 50, members(gateway.MemberQuery{Limit: 50})},
		{"members in the middle", 50, members(middle)},
		{"former members in the middle", 50, members(former)},
		{"find by custom id", 1, find(is("custom_id", "", gateway.TextValue("u777")))},
		{"find by e-mail", 1, find(is("email", "", gateway.TextValue("Person777@acme.test")))},
		{"find by a common attribute", 50, find(is("plan", "", gateway.TextValue("pro")))},
		{"find nobody by an attribute", 0, find(is("plan", "", gateway.TextValue("none")))},
		{"find nobody by a rare attribute", 0, find(is("planet", "", gateway.TextValue("none")))},
		{"find nobody by a number", 0, find(is("score", gateway.OpGreater, gateway.NumberValue(1e9)))},
		{"find nobody by a part of the e-mail", 0, find(is("email", gateway.OpIContains, gateway.TextValue("NONE")))},
		{"find nobody by date", 0, find(is("updated_at", gateway.OpGreater, gateway.DatetimeValue(moment(1<<40/1000))))},
		{"find nobody by key", 0, find(is("key", gateway.OpStartsWith, gateway.TextValue("none")))},
	} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				n, err := c.call(b.Context())
				if err != nil || n != c.want {
					b.Fatalf("%d found, want %d: %v", n, c.want, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(time.Millisecond), "ms/op")
		})
	}
}

// fillCompany makes n contacts that are members of one company, and returns it and
// the last of them.
func fillCompany(t testing.TB, s *store.Store, w gateway.WorkspaceID, n int) (company gateway.CompanyID, last gateway.ContactID) {
	t.Helper()
	const batch = 4000
	for made := 0; made < n; made += batch {
		err := s.Update(t.Context(), func(tx gateway.Tx) error {
			c := &gateway.Changes{}
			if company == 0 {
				id, err := tx.NextIDs(gateway.IDCompany, 1)
				if err != nil {
					return err
				}
				company = gateway.CompanyID(id)
				c.NewCompanies = []*gateway.Company{{ID: company, CustomID: "large", Name: "Large"}}
			}
			first, err := tx.NextIDs(gateway.IDContact, batch)
			if err != nil {
				return err
			}
			for i := range min(batch, n-made) {
				k := made + i
				last = gateway.ContactID(first + int64(i))
				x := &gateway.Contact{ID: last, CustomID: fmt.Sprint("u", k), EmailKey: fmt.Sprintf("person%d@acme.test", k), CreatedAt: moment(k + 1), UpdatedAt: moment(k + 1)}
				x.Email = x.EmailKey
				x.Attributes = gateway.Attributes{{Name: "city", Value: gateway.TextValue("Poznań")}, {Name: "name", Value: gateway.TextValue("Johnny Example")},
					{Name: "plan", Value: gateway.TextValue([]string{"free", "pro"}[k%2])}, {Name: "score", Value: gateway.IntValue(int64(k))}, {Name: "source", Value: gateway.TextValue("newsletter of March")}}
				m := gateway.Membership{WorkspaceID: w, ContactID: last, CompanyID: company, Source: gateway.SourceWidget, Since: moment(k + 1)}
				before := m
				before.Until = moment(k + 2)
				c.NewContacts = append(c.NewContacts, x)
				c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: fmt.Sprintf("key%09d", k), ContactID: last, CreatedAt: moment(k + 1)})
				c.NewMemberships = append(c.NewMemberships, m, before)
			}
			return tx.Save(w, c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return company, last
}

// fillList makes a list of the hundred contacts up to last.
func fillList(b *testing.B, s *store.Store, w gateway.WorkspaceID, last gateway.ContactID) gateway.ListID {
	b.Helper()
	if err := s.Update(b.Context(), func(tx gateway.Tx) error {
		if err := tx.SaveList(gateway.List{ID: 1, WorkspaceID: w}); err != nil {
			return err
		}
		for i := range gateway.ContactID(100) {
			if err := tx.AddListed(w, gateway.Listed{ListID: 1, ContactID: last - i}); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		b.Fatal(err)
	}
	return 1
}
