package gateway

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
)

// This file owns auto-assign over the contacts that are there already: what it would do,
// and the job that does it.
//
// Decisions
//
//   - Both look at the contacts in the order of their ids and come to the same verdict of
//     each (judge), so that a run does what the preview said, as far as nothing changes
//     between them.
//   - A run never links whom the company has lost before: somebody may have taken them out
//     by hand.
//   - A run ends with the newest contact that was there when it began: younger ones met the
//     rule when they came.
//   - Of the companies that would be made a preview keeps 16 bytes each and the names of
//     the twenty with most contacts.

const (
	// assignStep is how many contacts a step of a run, or of a preview, looks at.
	assignStep = 1000
	// assignTop is how many companies a preview names.
	assignTop = 20
)

// AssignRun is the Detail of a job of auto-assign.
type AssignRun struct {
	After ContactID `json:"after"` // how far it has come
	Until ContactID `json:"until"` // where it ends
	AssignCounts
	CompaniesCreated int64 `json:"companies_created"`
}

// AssignCounts says what becomes of the contacts that are looked at.
type AssignCounts struct {
	Linked  int64 `json:"linked"`         // became employees, or would
	Already int64 `json:"already_linked"` // have been employees of their company
	Left    int64 `json:"left"`           // were employees of it once, and stay out
	NoEmail int64 `json:"without_email"`
	// Refused are those whose e-mail stands for no company, by reason.
	Refused map[AssignReason]int64 `json:"refused"`
}

// AssignPreview is what a run would do.
type AssignPreview struct {
	Contacts int64 // that were looked at
	AssignCounts
	// CompaniesCreated are companies that would be made, Created those with most contacts.
	CompaniesCreated int64
	Created          []AssignTarget
	// CompaniesFound are companies that would get employees, Found those that would get
	// most.
	CompaniesFound int64
	Found          []AssignTarget
}

// AssignTarget is a company that contacts would be linked to.
type AssignTarget struct {
	CompanyID CompanyID // 0: it would be made
	Name      string
	Domain    string
	Contacts  int64
}

// verdict is what a run makes of a contact.
type verdict uint8

const (
	verdictLink verdict = iota
	verdictAlready
	verdictLeft
)

// judgeMember says what becomes of a contact whose e-mail stands for a company that there
// is.
func judgeMember(c *ContactEmail, company CompanyID) verdict {
	v := verdictLink
	for i := range c.Memberships {
		if m := &c.Memberships[i]; m.CompanyID == company {
			if m.Current() {
				return verdictAlready
			}
			v = verdictLeft
		}
	}
	return v
}

// judge looks at contacts and counts what becomes of them. find says to which company,
// which may be 0 for one that there is not yet, domains lead; link is called for each
// contact that is to be linked.
func (n *AssignCounts) judge(rule *AssignRule, contacts []ContactEmail, find func(domains []string) (CompanyID, error), link func(c *ContactEmail, domains []string, company CompanyID) error) error {
	if n.Refused == nil {
		n.Refused = make(map[AssignReason]int64)
	}
	for i := range contacts {
		c := &contacts[i]
		if c.EmailKey == "" {
			n.NoEmail++
			continue
		}
		domain, full, why := rule.domains(c.EmailKey)
		if why != AssignOK {
			n.Refused[why]++
			continue
		}
		domains := candidates(domain, full)
		company, err := find(domains)
		if err != nil {
			return err
		}
		v := verdictLink
		if company != 0 {
			v = judgeMember(c, company)
		}
		switch v {
		case verdictAlready:
			n.Already++
		case verdictLeft:
			n.Left++
		default:
			n.Linked++
			if err := link(c, domains, company); err != nil {
				return err
			}
		}
	}
	return nil
}

// candidatesOf are the domains to look for of all contacts.
func candidatesOf(rule *AssignRule, contacts []ContactEmail) (domains []string) {
	for i := range contacts {
		if contacts[i].EmailKey != "" {
			domains = append(domains, rule.candidates(contacts[i].EmailKey)...)
		}
	}
	slices.Sort(domains)
	return slices.Compact(domains)
}

// PreviewAssign says what a run of auto-assign over all contacts would do, by the settings
// of w, on or off. It reads them all, in steps, which takes some seconds for a million, and
// changes nothing.
func (g *Gateway) PreviewAssign(ctx context.Context, w *Workspace) (*AssignPreview, error) {
	rule := g.preparedRule(w)
	p := &AssignPreview{}
	created, found := newTopTargets[uint64](), newTopTargets[CompanyID]()
	seed := maphash.MakeSeed()
	for after := ContactID(0); ; {
		contacts, err := g.store.ContactEmails(ctx, w.ID, after, assignStep)
		if err != nil {
			return nil, fmt.Errorf("read contacts for a preview: %w", err)
		}
		known, err := g.companiesOf(ctx, w.ID, candidatesOf(rule, contacts))
		if err != nil {
			return nil, err
		}
		names := map[CompanyID]DomainCompany{}
		find := func(domains []string) (CompanyID, error) {
			for _, d := range domains {
				if co, ok := known[d]; ok {
					names[co.CompanyID] = co
					return co.CompanyID, nil
				}
			}
			return 0, nil
		}
		err = p.judge(rule, contacts, find, func(_ *ContactEmail, domains []string, company CompanyID) error {
			domain := domains[len(domains)-1]
			if company == 0 {
				created.add(maphash.String(seed, domain), func() AssignTarget { return AssignTarget{Name: displayDomain(domain), Domain: domain} })
			} else {
				found.add(company, func() AssignTarget {
					return AssignTarget{CompanyID: company, Name: names[company].Name, Domain: names[company].Domain}
				})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		p.Contacts += int64(len(contacts))
		if len(contacts) < assignStep {
			break
		}
		after = contacts[len(contacts)-1].ID
	}
	p.CompaniesCreated, p.Created = int64(len(created.counts)), created.list()
	p.CompaniesFound, p.Found = int64(len(found.counts)), found.list()
	return p, nil
}

// companiesOf returns the best company of each domain that finds one.
func (g *Gateway) companiesOf(ctx context.Context, w WorkspaceID, domains []string) (map[string]DomainCompany, error) {
	best := make(map[string]DomainCompany)
	if len(domains) == 0 {
		return best, nil
	}
	all, err := g.store.CompaniesByDomain(ctx, w, domains)
	if err != nil {
		return nil, fmt.Errorf("find companies by domain: %w", err)
	}
	for _, co := range all {
		if b, ok := best[co.Domain]; !ok || betterByDomain(co.CompanyDomain, b.CompanyDomain) < 0 {
			best[co.Domain] = co
		}
	}
	return best, nil
}

// topTargets counts contacts by company and remembers those with most. Since counts only
// grow, who belongs to the top at the end is in it after their last contact.
type topTargets[K comparable] struct {
	counts map[K]int64
	top    map[K]AssignTarget
}

func newTopTargets[K comparable]() *topTargets[K] {
	return &topTargets[K]{counts: make(map[K]int64), top: make(map[K]AssignTarget)}
}

func (t *topTargets[K]) add(k K, name func() AssignTarget) {
	t.counts[k]++
	n := t.counts[k]
	if x, in := t.top[k]; in {
		x.Contacts = n
		t.top[k] = x
		return
	}
	if len(t.top) >= assignTop {
		var least K
		low := int64(-1)
		for k, x := range t.top {
			if low < 0 || x.Contacts < low {
				least, low = k, x.Contacts
			}
		}
		if n <= low {
			return
		}
		delete(t.top, least)
	}
	x := name()
	x.Contacts = n
	t.top[k] = x
}

func (t *topTargets[K]) list() []AssignTarget {
	all := make([]AssignTarget, 0, len(t.top))
	for _, x := range t.top {
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b AssignTarget) int {
		return cmp.Or(cmp.Compare(b.Contacts, a.Contacts), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.CompanyID, b.CompanyID))
	})
	return all
}

// StartAssign starts a run of auto-assign over all contacts, as a job (RunJobs). It is a
// CodeConflict while there is one already, or while auto-assign is off.
func (e *Editor) StartAssign() (Job, error) {
	w, err := e.tx.Workspace(e.set.w)
	if err != nil {
		return Job{}, err
	}
	if !w.Settings.Companies.AutoAssign.Enabled {
		return Job{}, Errorf(CodeConflict, "Auto-assign is off in this workspace: switch it on first.")
	}
	total, err := e.g.store.CountContacts(e.ctx, w.ID)
	if err != nil {
		return Job{}, err
	}
	run := AssignRun{AssignCounts: AssignCounts{Refused: map[AssignReason]int64{}}}
	newest, err := e.g.store.Contacts(e.ctx, w.ID, 0, 1)
	if err != nil {
		return Job{}, err
	}
	if len(newest) > 0 {
		run.Until = newest[0].ID
	}
	j := Job{WorkspaceID: w.ID, Kind: JobAssign, State: JobRunning, Total: total, StartedAt: e.at, UpdatedAt: e.at, By: e.by()}
	if j.Detail, err = run.text(); err != nil {
		return Job{}, err
	}
	if j.ID, err = e.tx.AddJob(j); err != nil {
		return Job{}, err
	}
	if err := e.Audit("auto_assign.run", "job", strconv.FormatInt(int64(j.ID), 10), map[string]any{"contacts": total}); err != nil {
		return Job{}, fmt.Errorf("note a run of auto-assign: %w", err)
	}
	e.started = append(e.started, j)
	return j, nil
}

// StartAssign is that of an Editor, in an edit of its own.
func (g *Gateway) StartAssign(ctx context.Context, w *Workspace, author Author) (j Job, err error) {
	err = g.Edit(ctx, w, author, func(e *Editor) (err error) {
		j, err = e.StartAssign()
		return err
	})
	return j, err
}

// AssignRunOf reads the detail of a job of auto-assign.
func AssignRunOf(j *Job) (run AssignRun, err error) {
	if err := json.Unmarshal([]byte(j.Detail), &run); err != nil {
		return run, fmt.Errorf("detail of job %d: %w", j.ID, err)
	}
	return run, nil
}

func (r *AssignRun) text() (string, error) {
	text, err := json.Marshal(r)
	return string(text), err
}

// stepAssign does the next step of a run and reports whether it was the last.
func (g *Gateway) stepAssign(ctx context.Context, id WorkspaceID, job JobID) (done bool, err error) {
	g.applying.Lock() // as an edit
	defer g.applying.Unlock()
	defs, err := g.attributeDefs(ctx, id)
	if err != nil {
		return false, err
	}
	changed := false
	err = g.store.Update(ctx, func(tx Tx) error {
		changed, done = false, true
		j, err := tx.Job(id, job)
		if err != nil || j.State != JobRunning {
			return err
		}
		run, err := AssignRunOf(j)
		if err != nil {
			return err
		}
		w, err := tx.Workspace(id)
		if err != nil {
			return err
		}
		j.UpdatedAt = g.clock()
		rule := g.assignRule(w)
		if rule == nil {
			j.State = JobStopped
			return tx.SetJob(*j)
		}
		contacts, err := tx.ContactEmails(id, run.After, assignStep)
		if err != nil {
			return err
		}
		done = len(contacts) < assignStep
		if i := slices.IndexFunc(contacts, func(c ContactEmail) bool { return c.ID > run.Until }); i >= 0 {
			contacts, done = contacts[:i], true
		}
		set := newWorkset(tx, w, rule, defs, len(contacts))
		if err := g.assignStep(set, j, &run, contacts); err != nil {
			return err
		}
		changed = len(set.touched) > 0
		if err := tx.Save(id, set.diff()); err != nil {
			return fmt.Errorf("save a step of auto-assign: %w", err)
		}
		if done {
			j.State = JobDone
		}
		if j.Detail, err = run.text(); err != nil {
			return err
		}
		return tx.SetJob(*j)
	})
	if err != nil {
		if CodeOf(err) == CodeConflict {
			g.defs.Delete(id) // what is in the way is newer than what is known here
		}
		return false, fmt.Errorf("a step of auto-assign: %w", err)
	}
	if changed {
		g.announce()
	}
	return done, nil
}

// assignStep links contacts, in set, and counts what becomes of them. Of each contact set
// knows no more than its memberships: nothing else of it changes.
func (g *Gateway) assignStep(set *workset, j *Job, run *AssignRun, contacts []ContactEmail) error {
	domains := candidatesOf(set.assign, contacts)
	if len(domains) > 0 {
		if err := set.load(Refs{CompanyDomains: domains}); err != nil {
			return fmt.Errorf("load companies by domain: %w", err)
		}
	}
	find := func(domains []string) (CompanyID, error) {
		if co := set.companyOfDomain(domains); co != nil {
			return co.c.ID, nil
		}
		return 0, nil
	}
	err := run.judge(set.assign, contacts, find, func(c *ContactEmail, domains []string, _ CompanyID) error {
		co, made, err := set.companyForDomain(domains, j.UpdatedAt)
		if err != nil {
			return err
		}
		if made {
			run.CompaniesCreated++
		}
		cs := &contactState{c: &Contact{ID: c.ID, WorkspaceID: set.w}}
		for _, m := range c.Memberships {
			if m.Current() {
				cs.memberships = append(cs.memberships, &memberState{Membership: m})
			}
		}
		set.contacts[c.ID] = cs
		set.touch(cs)
		if !set.link(cs, co.c.ID, SourceDomain, j.By, j.UpdatedAt) {
			run.Linked-- // it has as many companies as there may be
		}
		return nil
	})
	j.Done += int64(len(contacts))
	if n := len(contacts); n > 0 {
		run.After = contacts[n-1].ID
	}
	return err
}
