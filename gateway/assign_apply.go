package gateway

import (
	"cmp"
	"slices"
	"time"
)

// This file owns what auto-assign does to contacts and companies.
//
// Decisions
//
//   - The rule looks at a contact when it gets an e-mail, by whatever door, and at no
//     other time: who has taken a link away is not overruled by the next payload. Contacts
//     that have been there before the rule are left to a run (StartAssign), which passes by
//     who has been an employee of the company before.
//   - It makes the link besides others: a payload that names a company of its own makes
//     that one the primary company, and the one of the domain comes second.
//   - When the e-mail changes and leads to a company, the links that the rule made to other
//     companies end. When it leads to none (free mail, say), or goes, they stay: nobody
//     said that the person has left. Links of any other source stay in every case.
//   - Of several companies: the one whose domain is nearest to that of the address
//     (dept.acme.com before acme.com), of these one that lists it, then one that it is the
//     name of, then the lowest id.
//   - A company that is made is named by the domain as people write it, and lists it, so
//     that it is still found when somebody gives it a better name.
//   - A merge brings links along, and makes none.

// ruleOf is the rule of a workspace, with the settings that it was made of.
type ruleOf struct {
	settings AutoAssign
	rule     *AssignRule
}

// assignRule returns the rule of a workspace, nil while it is off.
func (g *Gateway) assignRule(w *Workspace) *AssignRule {
	if !w.Settings.Companies.AutoAssign.Enabled {
		return nil
	}
	return g.preparedRule(w)
}

// preparedRule is assignRule whether or not it is on. Long lists are prepared once for a
// state of the settings.
func (g *Gateway) preparedRule(w *Workspace) *AssignRule {
	a := w.Settings.Companies.AutoAssign
	if v, ok := g.rules.Load(w.ID); ok {
		if r := v.(ruleOf); sameList(r.settings.ExcludeDomains, a.ExcludeDomains) && sameList(r.settings.OwnDomains, a.OwnDomains) {
			return r.rule
		}
	}
	rule := NewAssignRule(a)
	g.rules.Store(w.ID, ruleOf{a, rule})
	return rule
}

func sameList(a, b []string) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// candidates are the domains by which the company of an e-mail may be found, the best
// first; none if it stands for no company.
func (r *AssignRule) candidates(email string) []string {
	domain, full, why := r.domains(email)
	if why != AssignOK {
		return nil
	}
	return candidates(domain, full)
}

// findByDomain notes that a domain may find a company.
func (ws *workset) findByDomain(domain string, co *companyState) {
	if co == nil || slices.Contains(ws.byDomain[domain], co) {
		return
	}
	if ws.byDomain == nil {
		ws.byDomain = make(map[string][]*companyState)
	}
	ws.byDomain[domain] = append(ws.byDomain[domain], co)
}

// noteDomains makes a company found by the domains that it has now.
func (ws *workset) noteDomains(co *companyState) {
	if ws.assign == nil {
		return
	}
	for _, d := range CompanyDomains(co.c) {
		ws.findByDomain(d.Domain, co)
	}
}

// companyOfDomain returns the company that the first of the domains finds that finds one,
// nil if none does. What the store knows of them must have been loaded.
func (ws *workset) companyOfDomain(domains []string) *companyState {
	for _, domain := range domains {
		var found *companyState
		var how CompanyDomain
		for _, co := range ws.byDomain[domain] {
			if co.deleted {
				continue
			}
			// It may have been given up in this batch.
			now := CompanyDomains(co.c)
			i := slices.IndexFunc(now, func(d CompanyDomain) bool { return d.Domain == domain })
			if i < 0 {
				continue
			}
			if found == nil || betterByDomain(now[i], how) < 0 {
				found, how = co, now[i]
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// betterByDomain compares two companies of a domain: the better one comes first.
func betterByDomain(a, b CompanyDomain) int {
	if a.Listed != b.Listed {
		if a.Listed {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.CompanyID, b.CompanyID)
}

// assignByEmail makes a contact whose e-mail key was another one an employee of the company
// that its e-mail stands for, and reports whether that changed anything.
func (ws *workset) assignByEmail(cs *contactState, was string, at time.Time) (changed bool, err error) {
	if ws.assign == nil || cs.c.EmailKey == "" || cs.c.EmailKey == was {
		return false, nil
	}
	found := ws.assign.candidates(cs.c.EmailKey)
	if len(found) == 0 {
		return false, nil
	}
	co, _, err := ws.companyForDomain(found, at)
	if err != nil {
		return false, err
	}
	for _, m := range cs.current() {
		if m.Source == SourceDomain && m.CompanyID != co.c.ID {
			m.ended, m.Until, m.Primary = true, at, false
			changed = true
		}
	}
	if ws.link(cs, co.c.ID, SourceDomain, "", at) {
		changed = true
	}
	if changed {
		cs.promote()
	}
	return changed, nil
}

// companyForDomain is companyOfDomain, and makes the company of the last domain if there is
// none.
func (ws *workset) companyForDomain(domains []string, at time.Time) (co *companyState, made bool, err error) {
	if co = ws.companyOfDomain(domains); co != nil {
		return co, false, nil
	}
	id, err := ws.tx.NextIDs(IDCompany, 1)
	if err != nil {
		return nil, false, err
	}
	domain := domains[len(domains)-1]
	c := &Company{ID: CompanyID(id), WorkspaceID: ws.w, Name: displayDomain(domain), CreatedAt: at, UpdatedAt: at}
	c.Attributes.Set(attrDomains, ListValue(domain))
	return ws.newCompany(c), true, nil
}
