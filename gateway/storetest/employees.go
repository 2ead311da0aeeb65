package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"civgate/gateway"
)

// testEmployeeNumbers saves at random what changes who works where, several changes
// at once, and compares the number that is kept of a company's employees with who
// they are.
func testEmployeeNumbers(t *testing.T, b *bundle) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	members := map[gateway.CompanyID]map[gateway.ContactID]bool{} // current ones
	var contacts []*gateway.Contact
	for round := range 60 {
		c := &gateway.Changes{}
		for range rnd.IntN(3) {
			x := b.newCompany("", fmt.Sprint("Company ", round))
			c.NewCompanies = append(c.NewCompanies, x)
			members[x.ID] = map[gateway.ContactID]bool{}
		}
		for range rnd.IntN(4) {
			x := b.newContact("")
			c.NewContacts, contacts = append(c.NewContacts, x), append(contacts, x)
		}
		link := func(contact gateway.ContactID, company gateway.CompanyID) gateway.Membership {
			return gateway.Membership{WorkspaceID: b.w, ContactID: contact, CompanyID: company, Source: gateway.SourceAPI, Since: at(round)}
		}
		gone := map[gateway.ContactID]bool{}
		isNew := func(x *gateway.Contact) bool { return slices.Contains(c.NewContacts, x) }
		switch rnd.IntN(4) {
		case 0:
			for _, x := range contacts {
				if rnd.IntN(5) == 0 && !isNew(x) {
					c.DeletedContacts = append(c.DeletedContacts, x.ID)
					gone[x.ID] = true
				}
			}
		case 1: // a merge, with the loser's companies moving to the winner
			var loser, winner *gateway.Contact
			for _, x := range contacts {
				if x.MergedInto == 0 && !isNew(x) {
					loser, winner = winner, x
				}
			}
			if loser == nil {
				break
			}
			loser.MergedInto = winner.ID
			c.Contacts = append(c.Contacts, loser, winner)
			gone[loser.ID], gone[winner.ID] = true, true // nothing else of them in this batch
			for id, all := range members {
				if !all[loser.ID] {
					continue
				}
				delete(all, loser.ID)
				m := link(loser.ID, id)
				m.Until = at(round)
				c.EndedMemberships = append(c.EndedMemberships, m)
				if !all[winner.ID] {
					all[winner.ID] = true
					c.NewMemberships = append(c.NewMemberships, link(winner.ID, id))
				}
			}
		}
		if rnd.IntN(8) == 0 {
			for id := range members {
				if !slices.ContainsFunc(c.NewCompanies, func(x *gateway.Company) bool { return x.ID == id }) {
					c.DeletedCompanies = append(c.DeletedCompanies, id)
					c.EndedMemberships = slices.DeleteFunc(c.EndedMemberships, func(m gateway.Membership) bool { return m.CompanyID == id })
					c.NewMemberships = slices.DeleteFunc(c.NewMemberships, func(m gateway.Membership) bool { return m.CompanyID == id })
					delete(members, id)
					break
				}
			}
		}
		for id, all := range members {
			for _, x := range contacts {
				switch {
				case gone[x.ID] || x.MergedInto != 0:
				case all[x.ID] && rnd.IntN(4) == 0:
					delete(all, x.ID)
					m := link(x.ID, id)
					m.Until = at(round)
					c.EndedMemberships = append(c.EndedMemberships, m)
				case all[x.ID]:
				case rnd.IntN(4) == 0:
					all[x.ID] = true
					c.NewMemberships = append(c.NewMemberships, link(x.ID, id))
				case rnd.IntN(9) == 0: // came and went within the batch
					m := link(x.ID, id)
					m.Until = at(round)
					c.NewMemberships = append(c.NewMemberships, m)
				}
			}
		}
		b.save(c)
		deleted := map[gateway.ContactID]bool{}
		for _, id := range c.DeletedContacts {
			deleted[id] = true
		}
		for n := -1; n != len(deleted); { // with those who were merged into them
			n = len(deleted)
			for _, x := range contacts {
				if deleted[x.MergedInto] {
					deleted[x.ID] = true
				}
			}
		}
		contacts = slices.DeleteFunc(contacts, func(x *gateway.Contact) bool { return deleted[x.ID] })
		for _, all := range members {
			for id := range deleted {
				delete(all, id)
			}
		}
		if round%5 < 4 {
			continue
		}
		views := must[[]*gateway.CompanyView](t)(b.Companies(b.ctx, b.w, 0, 1000))
		if len(views) != len(members) {
			t.Fatalf("round %d: %d companies, want %d", round, len(views), len(members))
		}
		for _, v := range views {
			if want := len(members[v.ID]); int(v.EmployeesCount) != want || len(v.Employees) != want {
				t.Fatalf("round %d: company %d counts %d employees and names %d, want %d", round, v.ID, v.EmployeesCount, len(v.Employees), want)
			}
		}
	}
}
