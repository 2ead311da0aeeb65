package storetest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
)

// Orders checks that pages of every order are all there is, once each and in order, while
// rows are added.
func Orders(t *testing.T, s gateway.Store) {
	t.Helper()
	b := &bundle{Store: s, t: t, ctx: t.Context()}
	b.w = b.workspace("Test")
	orders(t, b, 50)
}

// sortable is a value of somebody in an order; nil is none.
type sortable any

// compareSortable says how people would: numbers, times, then texts without regard to
// the case of ASCII letters, as far as they are compared.
func compareSortable(a, b sortable) int {
	switch a := a.(type) {
	case float64:
		return cmp.Compare(a, b.(float64))
	case time.Time:
		return a.Compare(b.(time.Time))
	case bool:
		return cmp.Compare(map[bool]int{true: 1}[a], map[bool]int{true: 1}[b.(bool)])
	}
	return strings.Compare(a.(string), b.(string))
}

func upTo100(s string) string {
	if r := []rune(s); len(r) > 100 {
		s = string(r[:100])
	}
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 32
		}
		return r
	}, s)
}

func orNone(s string) sortable {
	if s == "" {
		return nil
	}
	return s
}

// valueOf reads a value for an order from the bag.
func valueOf(bag gateway.Attributes, name string) sortable {
	v, _ := bag.Get(name)
	switch v.Type {
	case gateway.TypeNumber:
		var n float64
		_, _ = fmt.Sscan(v.Raw, &n)
		return n
	case gateway.TypeBool:
		return v.Raw == "true"
	case gateway.TypeText:
		return orNone(upTo100(gateway.Text(v)))
	}
	return nil
}

// contactOrders are what contacts are sorted by.
var contactOrders = map[string]func(v *gateway.ContactView) sortable{
	"id":        func(v *gateway.ContactView) sortable { return float64(v.ID) },
	"email":     func(v *gateway.ContactView) sortable { return orNone(v.EmailKey) },
	"custom_id": func(v *gateway.ContactView) sortable { return orNone(v.CustomID) },
	"phone_number": func(v *gateway.ContactView) sortable {
		p, _ := v.Attributes.Get("phone_number")
		return orNone(gateway.Text(p))
	},
	"created_at": func(v *gateway.ContactView) sortable { return v.CreatedAt },
	"updated_at": func(v *gateway.ContactView) sortable { return v.UpdatedAt },
	"first_seen": func(v *gateway.ContactView) sortable { return v.FirstSeen },
	"last_seen":  func(v *gateway.ContactView) sortable { return v.LastSeen },
	"page_views": func(v *gateway.ContactView) sortable { return float64(v.PageViews) },
	"name": func(v *gateway.ContactView) sortable {
		name, _ := v.Attributes.Get("name")
		return orNone(upTo100(cmp.Or(strings.TrimSpace(gateway.Text(name)), v.Email, v.CustomID)))
	},
	"company": func(v *gateway.ContactView) sortable {
		if len(v.Companies) == 0 {
			return nil
		}
		return orNone(upTo100(v.Companies[0].Name))
	},
	"score":  func(v *gateway.ContactView) sortable { return valueOf(v.Attributes, "score") },
	"active": func(v *gateway.ContactView) sortable { return valueOf(v.Attributes, "active") },
	"plan":   func(v *gateway.ContactView) sortable { return valueOf(v.Attributes, "plan") },
	"renewal": func(v *gateway.ContactView) sortable {
		text, _ := v.Attributes.Get("renewal")
		at, err := time.Parse(time.RFC3339Nano, gateway.Text(text))
		if err != nil {
			return nil
		}
		return at
	},
	"none": func(v *gateway.ContactView) sortable { return nil },
}

var companyOrders = map[string]func(v *gateway.CompanyView) sortable{
	"id":         func(v *gateway.CompanyView) sortable { return float64(v.ID) },
	"name":       func(v *gateway.CompanyView) sortable { return upTo100(v.Name) },
	"custom_id":  func(v *gateway.CompanyView) sortable { return orNone(v.CustomID) },
	"employees":  func(v *gateway.CompanyView) sortable { return float64(v.EmployeesCount) },
	"updated_at": func(v *gateway.CompanyView) sortable { return v.UpdatedAt },
	"score":      func(v *gateway.CompanyView) sortable { return valueOf(v.Attributes, "score") },
}

// oneOf returns one of the values.
func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }

// people makes contacts and companies of which many are alike in what they are sorted by.
type people struct {
	b         *bundle
	r         *rand.Rand
	contacts  []*gateway.Contact
	companies []*gateway.Company
	made      int
}

func (p *people) text() string {
	return oneOf(p.r, "a", "A", "aa", "Ada", "ada", "ADA", "b", "Łódź", "łódź", "Zoë", "zo", "~", "_", "0", "10", "9", "\U0001f600", "é", "e\u0301", " ", `"`, `\`) +
		oneOf(p.r, "", "", "", "x", "X", strings.Repeat("ł", 98), strings.Repeat("Q", 99)+"1", strings.Repeat("q", 99)+"2")
}

// more adds n contacts and companies.
func (p *people) more(n int) {
	c := &gateway.Changes{}
	contact, company := p.b.nextIDs(gateway.IDContact, n), p.b.nextIDs(gateway.IDCompany, n)
	for i := range n {
		p.made++
		co := &gateway.Company{ID: gateway.CompanyID(company + int64(i)), WorkspaceID: p.b.w, Name: p.text(), CreatedAt: at(p.r.IntN(9)), UpdatedAt: at(p.r.IntN(9))}
		if p.r.IntN(2) == 0 {
			co.CustomID = p.text() + fmt.Sprint(p.made)
		}
		co.Attributes.Set("score", gateway.IntValue(int64(p.r.IntN(7)-3)))
		p.companies, c.NewCompanies = append(p.companies, co), append(c.NewCompanies, co)

		x := &gateway.Contact{ID: gateway.ContactID(contact + int64(i)), WorkspaceID: p.b.w, CreatedAt: at(p.r.IntN(20))}
		x.UpdatedAt = x.CreatedAt.Add(time.Duration(p.r.IntN(5)) * time.Second)
		if p.r.IntN(2) == 0 {
			x.CustomID = p.text() + fmt.Sprint(p.made)
		}
		if p.r.IntN(3) > 0 {
			x.EmailKey = oneOf(p.r, "ada", "bob", "0", "z", "łucja") + oneOf(p.r, "", "1", "12") + "@acme.test"
			x.Email = oneOf(p.r, x.EmailKey, strings.ToUpper(x.EmailKey))
		}
		if p.r.IntN(3) == 0 {
			x.Attributes.Set("phone_number", gateway.TextValue(oneOf(p.r, "+48123", "+48124", "ada@acme.test")))
		}
		if p.r.IntN(2) == 0 {
			x.Attributes.Set("name", gateway.TextValue(p.text()+"."))
		}
		if p.r.IntN(4) > 0 {
			x.Attributes.Set("score", gateway.NumberValue(oneOf(p.r, -1e300, -2.5, -1, 0, 0.5, 3, 10, 1e9)))
			x.Attributes.Set("active", gateway.BoolValue(p.r.IntN(2) == 0))
			x.Attributes.Set("plan", gateway.TextValue(p.text()+"!"))
			x.Attributes.Set("renewal", gateway.TextValue(oneOf(p.r, "2024-01-01T00:00:00Z", "2024-01-01T00:00:00.25Z", "2024-01-01T00:00:00.5Z", "2024-01-01T00:00:01Z", "2023-12-31T23:59:59.999Z")))
		}
		if p.r.IntN(8) == 0 && len(p.contacts) > 0 {
			x.MergedInto, x.CustomID = p.contacts[0].ID, ""
		} else if p.r.IntN(2) == 0 {
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: p.b.w, ContactID: x.ID, CompanyID: oneOf(p.r, p.companies...).ID, Source: gateway.SourceAPI, Since: at(p.r.IntN(5)), Primary: true})
		}
		c.NewContacts = append(c.NewContacts, x)
		c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: fmt.Sprint(p.text(), p.b.w, "k", p.made), ContactID: x.ID, CreatedAt: start})
		for range p.r.IntN(3) {
			c.PageViews = append(c.PageViews, p.b.view(x, p.r.IntN(30), "/"))
		}
		if x.MergedInto == 0 {
			p.contacts = append(p.contacts, x)
		}
	}
	p.b.save(c)
}

func testOrders(t *testing.T, b *bundle) { orders(t, b, 70) }

// orders lists n contacts and companies, with half as many in another workspace, and more
// that come while it lists them.
func orders(t *testing.T, b *bundle, n int) {
	r := rand.New(rand.NewPCG(3, 9))
	p := &people{b: b, r: r}
	strangers := &people{b: &bundle{Store: b.Store, t: t, ctx: b.ctx, w: b.workspace("Strangers")}, r: r}
	strangers.more(n / 3)
	p.more(n)
	strangers.more(n / 6)

	where := []gateway.Condition{{Field: "email", Op: gateway.OpContains, Value: gateway.TextValue("a")}}
	for by, of := range contactOrders {
		for _, down := range []bool{false, true} {
			for _, c := range []struct {
				how   string
				pages func(q gateway.SortQuery) (*gateway.ContactPage, error)
			}{
				{"index", func(q gateway.SortQuery) (*gateway.ContactPage, error) { return b.ContactsInOrder(b.ctx, b.w, q) }},
				{"memory", func(q gateway.SortQuery) (*gateway.ContactPage, error) {
					return b.SortContacts(b.ctx, b.w, q, time.Hour)
				}},
				// What the page before was made by says nothing about the next.
				{"either", func(q gateway.SortQuery) (*gateway.ContactPage, error) {
					if r.IntN(2) == 0 {
						return b.ContactsInOrder(b.ctx, b.w, q)
					}
					return b.SortContacts(b.ctx, b.w, q, time.Hour)
				}},
			} {
				if c.how != "memory" && !gateway.HasOrder(gateway.EntityContact, by, down) {
					continue
				}
				name := fmt.Sprint(by, " down ", down, " by ", c.how)
				before := must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 10_000))
				q := gateway.SortQuery{By: by, Down: down, Limit: oneOf(r, 1, 7, 40)}
				if r.IntN(2) == 0 {
					q.Where = where
					before = must[[]*gateway.ContactView](t)(b.FindContacts(b.ctx, b.w, gateway.Query{Where: where, Limit: 10_000}))
				}
				var got []*gateway.ContactView
				walk(t, name, &q, func() ([]int64, gateway.SortEnd) {
					page := must[*gateway.ContactPage](t)(c.pages(q))
					var ids []int64
					for _, v := range page.Rows {
						ids = append(ids, int64(v.ID))
						got = append(got, v)
					}
					if r.IntN(12) == 0 && by != "last_seen" && by != "first_seen" && by != "page_views" { // what can move is no order that stays
						p.more(1)
					}
					return ids, page.SortEnd
				})
				inOrder(t, name, got, before, down, c.how == "memory", func(v *gateway.ContactView) int64 { return int64(v.ID) }, of)
			}
		}
	}
	for by, of := range companyOrders {
		for _, down := range []bool{false, true} {
			for _, how := range []string{"index", "memory"} {
				pages := b.CompaniesInOrder
				if how == "memory" {
					pages = func(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery) (*gateway.CompanyPage, error) {
						return b.SortCompanies(ctx, w, q, time.Hour)
					}
				}
				if how == "index" && !gateway.HasOrder(gateway.EntityCompany, by, down) {
					continue
				}
				name := fmt.Sprint("companies ", by, " down ", down, " by ", how)
				before := must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 10_000))
				q := gateway.SortQuery{By: by, Down: down, Limit: oneOf(r, 1, 7, 40)}
				var got []*gateway.CompanyView
				walk(t, name, &q, func() ([]int64, gateway.SortEnd) {
					page := must[*gateway.CompanyPage](t)(pages(b.ctx, b.w, q))
					var ids []int64
					for _, v := range page.Rows {
						ids = append(ids, int64(v.ID))
						got = append(got, v)
					}
					if r.IntN(12) == 0 && by != "employees" {
						p.more(1)
					}
					return ids, page.SortEnd
				})
				inOrder(t, name, got, before, down, true, func(v *gateway.CompanyView) int64 { return int64(v.ID) }, of)
			}
		}
	}

	// The employees of a company.
	company := p.companies[0].ID
	c := &gateway.Changes{}
	var of []*gateway.ContactView
	for _, x := range p.contacts[:30] {
		v := b.contact(x.ID)
		if !slices.ContainsFunc(v.Companies, func(m gateway.ContactCompany) bool { return m.CompanyID == company }) {
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: b.w, ContactID: x.ID, CompanyID: company, Source: gateway.SourceAPI, Since: at(50)})
		}
	}
	b.save(c)
	for _, v := range must[[]*gateway.ContactView](t)(b.Contacts(b.ctx, b.w, 0, 10_000)) {
		if slices.ContainsFunc(v.Companies, func(m gateway.ContactCompany) bool { return m.CompanyID == company }) {
			of = append(of, v)
		}
	}
	q := gateway.SortQuery{By: "name", Company: company, Limit: 7}
	var got []*gateway.ContactView
	walk(t, "employees", &q, func() (ids []int64, end gateway.SortEnd) {
		page := must[*gateway.ContactPage](t)(b.SortContacts(b.ctx, b.w, q, time.Hour))
		for _, v := range page.Rows {
			ids, got = append(ids, int64(v.ID)), append(got, v)
		}
		return ids, page.SortEnd
	})
	inOrder(t, "employees", got, of, false, true, func(v *gateway.ContactView) int64 { return int64(v.ID) }, contactOrders["name"])
	if len(got) < 30 {
		t.Errorf("%d employees", len(got))
	}

	equal(t, "count", must[int](t)(b.CountFound(b.ctx, b.w, gateway.EntityContact, nil, 20, time.Hour)), 20)
	equal(t, "count of all", must[int](t)(b.CountFound(b.ctx, b.w, gateway.EntityContact, nil, 10_000, time.Hour)), len(p.contacts))
	equal(t, "count of companies", must[int](t)(b.CountFound(b.ctx, b.w, gateway.EntityCompany, nil, 10_000, time.Hour)), len(p.companies))
	for _, q := range []gateway.SortQuery{{By: "plan"}, {By: "last_seen"}, {By: "email", Company: 1}, {}} {
		_, err := b.ContactsInOrder(b.ctx, b.w, q)
		wantCode(t, fmt.Sprintf("order %+v", q), err, gateway.CodeInvalid)
	}
	_, err := b.CompaniesInOrder(b.ctx, b.w, gateway.SortQuery{By: "employees"})
	wantCode(t, "order of companies", err, gateway.CodeInvalid)
	// Places that no page ended at are no trouble.
	for _, place := range []gateway.SortPlace{{Key: "\x00"}, {Key: "\xff", ID: 1}, {ID: -5}, {None: true}, {Key: "zzz", None: true}, {Key: strings.Repeat("x", 100_000), ID: 1 << 62}} {
		for by := range contactOrders {
			for _, down := range []bool{false, true} {
				if gateway.HasOrder(gateway.EntityContact, by, down) {
					must[*gateway.ContactPage](t)(b.ContactsInOrder(b.ctx, b.w, gateway.SortQuery{By: by, Down: down, After: place, Limit: 5}))
				}
				must[*gateway.ContactPage](t)(b.SortContacts(b.ctx, b.w, gateway.SortQuery{By: by, Down: down, After: place, Limit: 5}, time.Hour))
			}
		}
		must[*gateway.CompanyPage](t)(b.CompaniesInOrder(b.ctx, b.w, gateway.SortQuery{By: "name", After: place, Limit: 5}))
	}
}

// walk goes through all pages.
func walk(t *testing.T, name string, q *gateway.SortQuery, page func() ([]int64, gateway.SortEnd)) {
	t.Helper()
	for range 100_000 {
		ids, end := page()
		switch {
		case len(ids) > q.Limit, !end.Partial && end.Next != (gateway.SortPlace{}) && len(ids) < q.Limit:
			t.Fatalf("%s: a page of %d, end %+v", name, len(ids), end)
		case end.Next == (gateway.SortPlace{}):
			return
		case end.Next == q.After:
			t.Fatalf("%s: stays at %+v", name, q.After)
		}
		q.After = end.Next
	}
	t.Fatalf("%s: no end", name)
}

// inOrder checks that got is in order, nobody twice, and has all of want that have a
// value; with all, those without one too, at the end.
func inOrder[T any](t *testing.T, name string, got, want []T, down, all bool, id func(T) int64, of func(T) sortable) {
	t.Helper()
	seen := map[int64]bool{}
	for i, v := range got {
		if seen[id(v)] {
			t.Errorf("%s: %d twice", name, id(v))
		}
		seen[id(v)] = true
		if i == 0 {
			continue
		}
		a, b := of(got[i-1]), of(v)
		order := 0
		switch {
		case a == nil && b == nil:
		case b == nil:
			continue
		case a == nil:
			t.Errorf("%s: %v behind those who have none", name, b)
			continue
		default:
			order = compareSortable(a, b)
		}
		if order = cmp.Or(order, cmp.Compare(id(got[i-1]), id(v))); order > 0 != down {
			t.Errorf("%s: %v of %d before %v of %d", name, a, id(got[i-1]), b, id(v))
		}
	}
	for _, v := range want {
		if !seen[id(v)] && (all || of(v) != nil) {
			t.Errorf("%s: %d with %v is missing", name, id(v), of(v))
		}
	}
}
