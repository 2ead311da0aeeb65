package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testLoad(t *testing.T, s *fakeServer, f trafficFlags) *load {
	t.Helper()
	target, err := newTarget(s.url, f.Connections)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.close)
	f.PerCompany, f.Timeout, f.DrainFor = 10, 10*time.Second, 10*time.Second
	f.Array = max(f.Array, 1)
	l, err := f.prepare(target, fakeAPIKey)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// verdictOf waits for the server to be done and verifies.
func verdictOf(t *testing.T, l *load) *verdict {
	t.Helper()
	if err := l.target.drained(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	v, err := verify(t.Context(), l.target, fakeToken, l.ledger)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Each damage done to what a correct server stored must be found, named and counted, and nothing else.
func TestVerifyFindsEachFault(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		damage func(*fakeServer, *fakeContact, *traffic)
		want   map[fault]int64
	}{
		{"none", func(*fakeServer, *fakeContact, *traffic) {}, nil},
		{"a page view lost", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.views-- }, map[fault]int64{wrongViews: 1}},
		{"a page view too many", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.views++ }, map[fault]int64{wrongViews: 1}},
		{"e-mail of another", func(s *fakeServer, c *fakeContact, _ *traffic) { c.email = s.contacts[3].email }, map[fault]int64{wrongEmail: 1}},
		{"e-mail lost", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.email = "" }, map[fault]int64{wrongEmail: 1}},
		{"key of another", func(s *fakeServer, c *fakeContact, _ *traffic) { c.key = s.contacts[3].key }, map[fault]int64{wrongKey: 1}},
		{"name lost", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.name = "" }, map[fault]int64{wrongAttribute: 1}},
		{"custom attribute changed", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.plan = "other" }, map[fault]int64{wrongAttribute: 1}},
		{"user_id lost", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.customID = "" }, map[fault]int64{wrongUserID: 1}},
		{"user_id and e-mail lost", func(_ *fakeServer, c *fakeContact, _ *traffic) { c.customID, c.email = "", "" }, map[fault]int64{wrongUserID: 1, wrongEmail: 1}},
		{"contact lost", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.leave(c, s.company(c.companies[0]), true, true)
			s.contacts = append(s.contacts[:10:10], s.contacts[11:]...)
		}, map[fault]int64{missingContact: 1}},
		{"contact twice", func(s *fakeServer, c *fakeContact, _ *traffic) {
			twin := *c
			twin.id = s.newID()
			s.company(c.companies[0]).employees = append(s.company(c.companies[0]).employees, twin.id)
			s.contacts = append(s.contacts, &twin)
		}, map[fault]int64{duplicateContact: 1}},
		{"stray contact with a known e-mail", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.newContact("").email = c.email
		}, map[fault]int64{duplicateContact: 1, wrongUserID: 1, wrongKey: 1, wrongViews: 1, wrongAttribute: 2, wrongMembership: 1}},
		{"contact nobody sent", func(s *fakeServer, _ *fakeContact, tr *traffic) {
			s.newContact("").customID = string(tr.appendUserID(nil, 1e6))
		}, map[fault]int64{unexpectedContact: 1}},
		{"membership lost", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.leave(c, s.company(c.companies[0]), true, true)
		}, map[fault]int64{wrongMembership: 1}},
		{"membership in the company's list only", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.leave(c, s.company(c.companies[0]), false, true)
		}, map[fault]int64{wrongMembership: 1, wrongEmployees: 1}},
		{"membership in the contact's list only", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.leave(c, s.company(c.companies[0]), true, false)
		}, map[fault]int64{wrongEmployees: 1}},
		{"employee mistaken for another", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.company(c.companies[0]).employees[0] = 1 << 40
		}, map[fault]int64{wrongEmployees: 1}},
		{"membership too many", func(s *fakeServer, c *fakeContact, tr *traffic) {
			co := s.companies[20]
			s.join(c, co.customID, co.name)
		}, map[fault]int64{wrongMembership: 1}},
		{"membership twice", func(s *fakeServer, c *fakeContact, _ *traffic) {
			co := s.company(c.companies[0])
			c.companies = append(c.companies, co.id)
			co.employees = append(co.employees, c.id)
		}, map[fault]int64{wrongMembership: 1}},
		{"company twice", func(s *fakeServer, c *fakeContact, _ *traffic) {
			twin := *s.company(c.companies[0])
			twin.id, twin.employees = s.newID(), nil
			s.companies = append(s.companies, &twin)
		}, map[fault]int64{duplicateCompany: 1}},
		{"company without its id", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.company(c.companies[0]).customID = ""
		}, map[fault]int64{missingCompany: 1, wrongMembership: 3}},
		{"company renamed", func(s *fakeServer, c *fakeContact, _ *traffic) {
			s.company(c.companies[0]).name = "other"
		}, map[fault]int64{wrongCompanyName: 1}},
		{"company nobody sent", func(s *fakeServer, _ *fakeContact, tr *traffic) {
			s.companies = append(s.companies, &fakeCompany{id: s.newID(), customID: string(tr.appendCompanyID(nil, 1e6))})
		}, map[fault]int64{unexpectedCompany: 1}},
		{"another run's data", func(s *fakeServer, _ *fakeContact, _ *traffic) {
			o := s.newContact("zzzzzzzzzzzz")
			o.customID, o.email = "other-u1", "p1@c1.other.example"
			s.join(o, "other-c1", "Other")
		}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newFakeServer(t)
			l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 4})
			// 300 people: three in each of 100 companies.
			if r := l.run(t.Context(), newBudget(300, 0)); r.Acked != 300 {
				t.Fatalf("%d acknowledged, want 300: %v", r.Acked, r.Errors)
			}
			tt.damage(s, s.contacts[10], l.ledger.traffic)
			v := verdictOf(t, l)
			if diff := cmp.Diff(tt.want, v.Faults); diff != "" {
				t.Errorf("faults (-want +got):\n%s%v", diff, v.Examples)
			}
			if v.Acked != 300 || v.ok() != (tt.want == nil) {
				t.Errorf("acknowledged %d, ok %v", v.Acked, v.ok())
			}
		})
	}
}

func TestVerifyNeedsTheRightToken(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 1})
	if _, err := verify(t.Context(), l.target, "wrong", l.ledger); err == nil {
		t.Error("verified without a token")
	}
}

func TestListStopsWherePagesDoNotEnd(t *testing.T) {
	t.Parallel()
	for name, results := range map[string]string{"empty pages": `[]`, "the same page again and again": `[{"id":1}]`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprintf(w, `{"count":1,"next":"http://%s/api/public/users/?cursor=x","results":%s}`, r.Host, results)
			}))
			defer server.Close()
			target, err := newTarget(server.URL, 1)
			if err != nil {
				t.Fatal(err)
			}
			defer target.close()
			if err := list(t.Context(), target, "/api/public/users/", http.Header{}, func(*user) {}); err == nil {
				t.Error("ended without an error")
			}
		})
	}
}
