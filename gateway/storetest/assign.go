package storetest

import (
	"fmt"
	"testing"

	"civgate/gateway"
)

// listedDomain is a domain by which a company is found.
func listedDomain(c *gateway.Company, domain string, listed bool) gateway.CompanyDomain {
	return gateway.CompanyDomain{Domain: domain, CompanyID: c.ID, Listed: listed}
}

func testCompanyDomains(t *testing.T, b *bundle) {
	x, y := b.newCompany("x", "a.test"), b.newCompany("", "Y")
	b.save(&gateway.Changes{NewCompanies: []*gateway.Company{x, y}, CompanyDomains: []gateway.CompanyDomain{
		listedDomain(x, "a.test", false), listedDomain(y, "b.test", true), listedDomain(y, "a.test", true),
	}})
	other := b.workspace("Other")
	found := func(domains ...string) []gateway.CompanyDomain {
		t.Helper()
		l := b.load(gateway.Refs{CompanyDomains: domains})
		loaded := map[gateway.CompanyID]bool{}
		for _, c := range l.Companies {
			if loaded[c.ID] {
				t.Errorf("company %d is loaded twice", c.ID)
			}
			loaded[c.ID] = true
		}
		var read []gateway.CompanyDomain
		for _, d := range must[[]gateway.DomainCompany](t)(b.CompaniesByDomain(b.ctx, b.w, domains)) {
			if want := map[gateway.CompanyID]string{x.ID: x.Name, y.ID: y.Name}[d.CompanyID]; d.Name != want {
				t.Errorf("company %d is called %q, want %q", d.CompanyID, d.Name, want)
			}
			read = append(read, d.CompanyDomain)
		}
		equal(t, "what a transaction and what a reader finds", l.CompanyDomains, read)
		for _, d := range read {
			if !loaded[d.CompanyID] {
				t.Errorf("company %d is not loaded", d.CompanyID)
			}
		}
		return read
	}
	equal(t, "one domain: listed first", found("a.test"), []gateway.CompanyDomain{listedDomain(y, "a.test", true), listedDomain(x, "a.test", false)})
	equal(t, "several", found("b.test", "nobody.test", "a.test", "b.test"),
		[]gateway.CompanyDomain{listedDomain(y, "a.test", true), listedDomain(x, "a.test", false), listedDomain(y, "b.test", true)})
	equal(t, "none", found("", "nobody.test", "A.test"), []gateway.CompanyDomain(nil))
	if all := must[[]gateway.DomainCompany](t)(b.CompaniesByDomain(b.ctx, other, []string{"a.test"})); len(all) != 0 {
		t.Errorf("another workspace finds %+v", all)
	}

	b.save(&gateway.Changes{Companies: []*gateway.Company{y}, DomainsGone: []gateway.CompanyID{y.ID}, CompanyDomains: []gateway.CompanyDomain{listedDomain(y, "c.test", true)}})
	equal(t, "after a change", found("a.test", "b.test", "c.test"), []gateway.CompanyDomain{listedDomain(x, "a.test", false), listedDomain(y, "c.test", true)})
	b.save(&gateway.Changes{DeletedCompanies: []gateway.CompanyID{x.ID}})
	equal(t, "after the company went", found("a.test"), []gateway.CompanyDomain(nil))

	// Very many of one domain cost what a few do: those that count are found.
	c := &gateway.Changes{}
	for i := range 50 {
		z := b.newCompany(fmt.Sprint("z", i), "Z")
		c.NewCompanies = append(c.NewCompanies, z)
		c.CompanyDomains = append(c.CompanyDomains, listedDomain(z, "many.test", i >= 45))
	}
	b.save(c)
	l := b.load(gateway.Refs{CompanyDomains: []string{"many.test"}})
	if len(l.CompanyDomains) < 5 || len(l.CompanyDomains) > 20 || len(l.Companies) != len(l.CompanyDomains) {
		t.Fatalf("%d of 50 are found, %d loaded", len(l.CompanyDomains), len(l.Companies))
	}
	for i, d := range l.CompanyDomains[:5] {
		equal(t, "those that list it", d, c.CompanyDomains[45+i])
	}
}

func testContactEmails(t *testing.T, b *bundle) {
	c := &gateway.Changes{NewCompanies: []*gateway.Company{b.newCompany("x", "X"), b.newCompany("y", "Y")}}
	for i := range 5 {
		x := b.newContact(fmt.Sprint("u", i))
		if i != 2 {
			x.Email, x.EmailKey = fmt.Sprintf("U%d@a.test", i), fmt.Sprintf("u%d@a.test", i)
		}
		c.NewContacts = append(c.NewContacts, x)
	}
	people, companies := c.NewContacts, c.NewCompanies
	people[3].MergedInto, people[3].CustomID, people[3].Email, people[3].EmailKey = people[0].ID, "", "", ""
	member := func(person, company int, primary bool, until int) gateway.Membership {
		m := gateway.Membership{WorkspaceID: b.w, ContactID: people[person].ID, CompanyID: companies[company].ID, Source: gateway.SourceAPI, Since: at(0), Primary: primary}
		if until > 0 {
			m.Until = at(until)
		}
		return m
	}
	c.NewMemberships = []gateway.Membership{member(0, 0, true, 0), member(0, 1, false, 5), member(4, 1, true, 0)}
	b.save(c)
	bare := func(all ...gateway.Membership) []gateway.Membership {
		for i := range all {
			all[i].Source, all[i].Since = "", gateway.Membership{}.Since
		}
		return all
	}
	want := []gateway.ContactEmail{
		{ID: people[0].ID, EmailKey: "u0@a.test", Memberships: bare(member(0, 0, true, 0), member(0, 1, false, 5))},
		{ID: people[1].ID, EmailKey: "u1@a.test"},
		{ID: people[2].ID},
		{ID: people[4].ID, EmailKey: "u4@a.test", Memberships: bare(member(4, 1, true, 0))},
	}
	for limit := 1; limit < 6; limit++ {
		var read, inTx []gateway.ContactEmail
		for after := gateway.ContactID(0); ; {
			page := must[[]gateway.ContactEmail](t)(b.ContactEmails(b.ctx, b.w, after, limit))
			b.update(func(tx gateway.Tx) error {
				again, err := tx.ContactEmails(b.w, after, limit)
				inTx = append(inTx, again...)
				return err
			})
			read = append(read, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1].ID
		}
		equal(t, fmt.Sprintf("pages of %d", limit), read, want)
		equal(t, fmt.Sprintf("pages of %d in a transaction", limit), inTx, want)
	}
	if all := must[[]gateway.ContactEmail](t)(b.ContactEmails(b.ctx, b.workspace("Other"), 0, 10)); len(all) != 0 {
		t.Errorf("another workspace has %+v", all)
	}
}

func testJobs(t *testing.T, b *bundle) {
	other := b.workspace("Other")
	add := func(w gateway.WorkspaceID, kind gateway.JobKind, second int) (j gateway.Job, err error) {
		j = gateway.Job{WorkspaceID: w, Kind: kind, State: gateway.JobRunning, Done: 1, Total: 1 << 40, Detail: `{"a":"\u0000é"}`, StartedAt: at(second), UpdatedAt: at(second), By: "łódź"}
		err = b.inTx(func(tx gateway.Tx) (err error) {
			j.ID, err = tx.AddJob(j)
			return err
		})
		return j, err
	}
	one := must[gateway.Job](t)(add(b.w, "a", 2))
	two := must[gateway.Job](t)(add(b.w, "b", 3))
	theirs := must[gateway.Job](t)(add(other, "a", 1))
	_, err := add(b.w, "a", 4)
	wantCode(t, "a second of the kind", err, gateway.CodeConflict)
	equal(t, "one", *must[*gateway.Job](t)(b.Job(b.ctx, b.w, one.ID)), one)
	equal(t, "all", must[[]gateway.Job](t)(b.Jobs(b.ctx, b.w, 10)), []gateway.Job{two, one})
	equal(t, "unfinished", must[[]gateway.Job](t)(b.UnfinishedJobs(b.ctx, 10)), []gateway.Job{theirs, one, two})
	_, err = b.Job(b.ctx, b.w, 99)
	wantCode(t, "none", err, gateway.CodeNotFound)

	one.State, one.Done, one.Total, one.Detail, one.UpdatedAt = gateway.JobDone, 5, 6, "{}", at(9)
	b.update(func(tx gateway.Tx) error {
		j, err := tx.Job(b.w, one.ID)
		if err != nil {
			return err
		}
		j.State, j.Done, j.Total, j.Detail, j.UpdatedAt = one.State, one.Done, one.Total, one.Detail, one.UpdatedAt
		return tx.SetJob(*j)
	})
	equal(t, "changed", *must[*gateway.Job](t)(b.Job(b.ctx, b.w, one.ID)), one)
	wantCode(t, "changing none", b.inTx(func(tx gateway.Tx) error { return tx.SetJob(gateway.Job{WorkspaceID: b.w, ID: 99}) }), gateway.CodeNotFound)
	wantCode(t, "none in a transaction", b.inTx(func(tx gateway.Tx) error { _, err := tx.Job(other, two.ID); return err }), gateway.CodeNotFound)

	// Of those that have ended the last hundred stay, and those that run.
	for i := range 150 {
		b.update(func(tx gateway.Tx) error {
			id, err := tx.AddJob(gateway.Job{WorkspaceID: b.w, Kind: "a", State: gateway.JobDone, StartedAt: at(10 + i), UpdatedAt: at(10 + i)})
			if err == nil && id <= two.ID {
				t.Errorf("id %d is not new", id)
			}
			return err
		})
	}
	all := must[[]gateway.Job](t)(b.Jobs(b.ctx, b.w, 1000))
	if len(all) != 101 || all[len(all)-1].ID != two.ID {
		t.Errorf("%d jobs are kept, the oldest is %d", len(all), all[len(all)-1].ID)
	}
}

func testSetWorkspace(t *testing.T, b *bundle) {
	var w *gateway.Workspace
	b.update(func(tx gateway.Tx) (err error) {
		if w, err = tx.Workspace(b.w); err != nil {
			return err
		}
		w.Name = "Łódź \"&\""
		w.Settings.Companies.AutoAssign = gateway.AutoAssign{Enabled: true, ExcludeDomains: []string{"*.edu"}, OwnDomains: []string{"a.test"}}
		w.Settings.RetentionDays = 30
		return tx.SetWorkspace(b.w, w.Name, w.Settings)
	})
	all := must[[]gateway.Workspace](t)(b.Workspaces(b.ctx))
	equal(t, "the workspace", all[0], *w)
	b.update(func(tx gateway.Tx) error {
		again, err := tx.Workspace(b.w)
		if err == nil {
			equal(t, "in a transaction", *again, *w)
		}
		return err
	})
	// Long lists are read as they were written last.
	for n := 1000; n < 1003; n++ {
		long := make([]string, n)
		for i := range long {
			long[i] = fmt.Sprintf("d%d-%d.test", n, i)
		}
		w.Settings.Companies.AutoAssign.ExcludeDomains = long
		b.update(func(tx gateway.Tx) error { return tx.SetWorkspace(b.w, w.Name, w.Settings) })
		for range 2 {
			equal(t, "long settings", must[[]gateway.Workspace](t)(b.Workspaces(b.ctx))[0], *w)
		}
	}
	wantCode(t, "none", b.inTx(func(tx gateway.Tx) error { _, err := tx.Workspace(99); return err }), gateway.CodeNotFound)
	wantCode(t, "changing none", b.inTx(func(tx gateway.Tx) error { return tx.SetWorkspace(99, "x", gateway.Settings{}) }), gateway.CodeNotFound)
}
