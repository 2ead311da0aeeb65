package gateway_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/store/pgtest"
)

// autoAssign switches the rule on or off.
func (r *rig) autoAssign(a gateway.AutoAssign) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) error {
		_, err := e.ChangeWorkspace(func(w *gateway.Workspace) error {
			w.Settings.Companies.AutoAssign = a
			return nil
		})
		return err
	})
}

// links are the current companies of a contact, the primary one first: name, source and, in
// the order of their names otherwise.
func links(v *gateway.ContactView) string {
	var all []string
	for _, c := range v.Companies {
		s := c.Name + " " + string(c.Source)
		if c.Primary {
			s += "!"
		}
		all = append(all, s)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func (r *rig) wantLinks(what string, v *gateway.ContactView, want string) {
	r.t.Helper()
	if got := links(v); got != want {
		r.t.Errorf("%s: companies %q, want %q", what, got, want)
	}
}

// companyNames are the names of all companies with their number of employees.
func (r *rig) companyNames() string {
	r.t.Helper()
	all, err := r.store.Companies(context.Background(), r.w, 0, 1000)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, c := range all {
		names = append(names, fmt.Sprintf("%s=%d", c.Name, c.EmployeesCount))
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func TestAssignByPayload(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.apply(`{"user_id":"off","email":"off@early.test"}`)
		r.wantLinks("off", r.byCustomID("off"), "")
		r.autoAssign(gateway.AutoAssign{Enabled: true, ExcludeDomains: []string{"rival.*"}, OwnDomains: []string{"ours.test"}})

		r.apply(
			`{"user_id":"1","email":"anna@mail.acme.co.uk"}`,
			`{"user_id":"2","email":"Bob@ACME.co.uk"}`,
			`{"user_id":"3","email":"c@gmail.com"}`,
			`{"user_id":"4","email":"noreply@other.test"}`,
			`{"user_id":"5","email":"e@rival.io"}`,
			`{"user_id":"6","email":"f@ours.test"}`,
			`{"email":"only@mail.only.test"}`,
			`{"user_id":"7","email":"g@own.test","company":{"company_id":"c7","name":"Seven"}}`,
			`{"user_id":"8","email":"h@b\u00fccher.test"}`)
		r.wantLinks("1", r.byCustomID("1"), "acme.co.uk domain!")
		r.wantLinks("2", r.byCustomID("2"), "acme.co.uk domain!")
		r.wantLinks("3", r.byCustomID("3"), "")
		r.wantLinks("7", r.byCustomID("7"), "Seven widget!, own.test domain")
		if got, want := r.companyNames(), "Seven=1 acme.co.uk=2 bücher.test=1 only.test=1 own.test=1"; got != want {
			t.Errorf("companies %s, want %s", got, want)
		}
		// What was there before is not touched by the next payload, nor what says nothing new.
		r.apply(`{"user_id":"off","email":"off@early.test","city":"Ulm"}`)
		r.wantLinks("off", r.byCustomID("off"), "")

		// A new e-mail: the link of the rule follows it, other links stay.
		r.apply(`{"user_id":"7","email":"g@next.test"}`)
		r.wantLinks("7, elsewhere", r.byCustomID("7"), "Seven widget!, next.test domain")
		r.apply(`{"user_id":"2","email":"bob@gmail.com"}`)
		r.wantLinks("2, by free mail", r.byCustomID("2"), "acme.co.uk domain!")
		r.apply(`{"user_id":"2","email":"bob@next.test"}`)
		r.wantLinks("2, elsewhere", r.byCustomID("2"), "next.test domain!")
		r.apply(`{"user_id":"1","email":"anna.new@acme.co.uk"}`)
		r.wantLinks("1, same domain", r.byCustomID("1"), "acme.co.uk domain!")

		// A link that somebody took away.
		one := r.byCustomID("1")
		r.must(func(e *gateway.Editor) error { return e.RemoveMember(one.Companies[0].CompanyID, one.ID) })
		r.apply(`{"user_id":"1","email":"anna.new@acme.co.uk","city":"Ulm"}`, `{"user_id":"1","email":"anna.new@acme.co.uk"}`)
		r.wantLinks("1, taken out", r.byCustomID("1"), "")
		r.apply(`{"user_id":"1","email":"anna@acme.co.uk"}`)
		r.wantLinks("1, with another e-mail", r.byCustomID("1"), "acme.co.uk domain!")

		// A visitor that becomes known.
		r.apply(`{"$":{"key":"visitor00001","type":"page","url":"https://a.test/"}}`)
		r.apply(`{"email":"v@visit.test","$":{"key":"visitor00001"}}`)
		r.wantLinks("visitor", r.byKey("visitor00001"), "visit.test domain!")
	})
}

func TestAssignToKnownCompanies(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		named := r.company(gateway.CompanyPatch{Name: new("ACME.com")})
		r.company(gateway.CompanyPatch{Name: new("acme.com"), CustomID: new("younger")})
		group := r.company(gateway.CompanyPatch{Name: new("Group"), Attributes: []gateway.PayloadAttribute{set("domains", gateway.ListValue("group.test", "dept.big.test"))}})
		big := r.company(gateway.CompanyPatch{Name: new("big.test")})
		r.autoAssign(gateway.AutoAssign{Enabled: true})
		is := func(what, email string, want gateway.CompanyID) {
			t.Helper()
			v := r.view(r.contact(gateway.ContactPatch{Email: &email}))
			if len(v.Companies) != 1 || v.Companies[0].CompanyID != want || v.Companies[0].Source != gateway.SourceDomain || !v.Companies[0].Primary {
				t.Errorf("%s: %+v, want company %d", what, v.Companies, want)
			}
		}
		is("by name, whatever its case; the oldest", "a@acme.com", named)
		is("by a listed domain", "b@group.test", group)
		is("the nearest domain", "c@x.dept.big.test", group)
		is("else the registered one", "d@sales.big.test", big)

		// Whoever lists a domain comes before whom it is the name of.
		r.must(func(e *gateway.Editor) error {
			return e.UpdateCompany(group, gateway.CompanyPatch{Attributes: []gateway.PayloadAttribute{set("domains", gateway.ListValue("acme.com", "xn--bcher-kva.test"))}})
		})
		is("listed before named", "e@acme.com", group)
		is("an IDN", "f@bücher.test", group)
		// Within one edit, what has just been changed counts.
		var v gateway.ContactID
		r.must(func(e *gateway.Editor) (err error) {
			if err := e.UpdateCompany(group, gateway.CompanyPatch{Attributes: []gateway.PayloadAttribute{set("domains", gateway.Null)}}); err != nil {
				return err
			}
			v, err = e.CreateContact(gateway.ContactPatch{Email: new("g@acme.com")})
			return err
		})
		if c := r.view(v).Companies; len(c) != 1 || c[0].CompanyID != named {
			t.Errorf("after a domain was given up: %+v, want %d", c, named)
		}
		r.must(func(e *gateway.Editor) error { return e.DeleteCompany(named) })
		if c := r.view(r.contact(gateway.ContactPatch{Email: new("h@acme.com")})).Companies; len(c) != 1 || c[0].CustomID != "younger" {
			t.Errorf("after the company was deleted: %+v", c)
		}
		// A link that is there stays as it is.
		id := r.contact(gateway.ContactPatch{Companies: []gateway.CompanyRef{{ID: big}}})
		before := r.view(id).Companies
		r.must(func(e *gateway.Editor) error {
			return e.UpdateContact(id, gateway.ContactPatch{Email: new("i@big.test")})
		})
		if diff := cmp.Diff(before, r.view(id).Companies); diff != "" {
			t.Errorf("a link that was there changed: %s", diff)
		}
		// A renamed company is still found by the domain that it was made for.
		first := r.view(r.contact(gateway.ContactPatch{Email: new("j@made.test")})).Companies[0].CompanyID
		r.must(func(e *gateway.Editor) error {
			return e.UpdateCompany(first, gateway.CompanyPatch{Name: new("Made Inc.")})
		})
		is("renamed", "k@made.test", first)
	})
}

// TestAssignFirstContacts: of a hundred first contacts of one domain at once, on three
// nodes and by two doors, one company comes.
func TestAssignFirstContacts(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, nodes ...*rig) {
		nodes[0].autoAssign(gateway.AutoAssign{Enabled: true})
		for _, r := range nodes {
			r.now = r.now.Add(time.Hour) // what they know of the settings is old
		}
		var all sync.WaitGroup
		for n, r := range nodes {
			var entries []*gateway.Entry
			for i := range 50 / len(nodes) {
				entries = append(entries, r.entry(fmt.Sprintf(`{"user_id":"p%d-%d","email":"p%d.%d@mail.first.test"}`, n, i, n, i)))
			}
			all.Go(func() {
				for part := range slices.Chunk(entries, 5) {
					if err := r.g.Apply(t.Context(), part); err != nil {
						t.Error(err)
					}
				}
			})
			for i := range 50 / len(nodes) {
				all.Go(func() {
					err := r.edit(func(e *gateway.Editor) error {
						_, err := e.CreateContact(gateway.ContactPatch{Email: new(fmt.Sprintf("e%d.%d@first.test", n, i))})
						return err
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if got, want := nodes[0].companyNames(), fmt.Sprintf("first.test=%d", 2*len(nodes)*(50/len(nodes))); got != want {
			t.Errorf("companies %s, want %s", got, want)
		}
	}
	onBoth(t, func(t *testing.T, r *rig) { test(t, r) })
	t.Run("three nodes", func(t *testing.T) {
		t.Parallel()
		database := pgtest.Shared(t).NewDatabase(t)
		a := newNode(t, database, cache.New(1000), 0)
		test(t, a, newNode(t, database, cache.New(1000), a.w), newNode(t, database, cache.New(1000), a.w))
	})
}

func TestChangeWorkspace(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		change := func(fn func(w *gateway.Workspace)) error {
			return r.edit(func(e *gateway.Editor) error {
				_, err := e.ChangeWorkspace(func(w *gateway.Workspace) error {
					fn(w)
					return nil
				})
				return err
			})
		}
		err := change(func(w *gateway.Workspace) {
			w.Name, w.Settings.Origins, w.Settings.VerifyIdentity, w.Settings.RetentionDays = " ", []string{"https://acme.com"}, true, -1
			w.Settings.Companies.AutoAssign = gateway.AutoAssign{ExcludeDomains: []string{"gmail"}, OwnDomains: []string{"a@b.c"}}
		})
		e := asError(err)
		if e == nil {
			t.Fatalf("bad settings: %v", err)
		}
		fields := []string{e.Field}
		for _, also := range e.Also {
			fields = append(fields, also.Field)
		}
		want := []string{"name", "origins", "identity.verify_identity", "companies.auto_assign.exclude_domains", "companies.auto_assign.own_domains", "retention_days"}
		if diff := cmp.Diff(want, fields); diff != "" {
			t.Error(diff)
		}
		// Those who change different settings at once both succeed.
		var all sync.WaitGroup
		for i := range 20 {
			all.Go(func() {
				if err := change(func(w *gateway.Workspace) {
					a := &w.Settings.Companies.AutoAssign
					a.OwnDomains = append(slices.Clip(a.OwnDomains), fmt.Sprintf("own%d.test", i))
				}); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		ws, err := r.store.Workspaces(t.Context())
		if err != nil || len(ws) != 1 || len(ws[0].Settings.Companies.AutoAssign.OwnDomains) != 20 || ws[0].Name != "test" {
			t.Errorf("settings %+v, %v", ws, err)
		}
		if ws[0].Settings.Companies.AutoAssign.Enabled {
			t.Error("a new workspace has auto-assign on")
		}
	})
}

// runJobs does all jobs to their end.
func (r *rig) runJobs() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- r.g.RunJobs(ctx) }()
	for {
		changed := r.g.Changed()
		jobs, err := r.store.UnfinishedJobs(ctx, 10)
		if err != nil {
			r.t.Error(err)
			break
		}
		if len(jobs) == 0 {
			break
		}
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		}
	}
	cancel()
	<-ended
}

func TestAssignRun(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		const many = 2500 // more than two steps
		var bodies []string
		for i := range many {
			bodies = append(bodies, fmt.Sprintf(`{"user_id":"m%d","email":"m%d@mail.c%d.test"}`, i, i, i%40))
		}
		bodies = append(bodies, `{"user_id":"g","email":"g@gmail.com"}`, `{"user_id":"n","email":"no-reply@c1.test"}`, `{"user_id":"x"}`, `{"user_id":"o","email":"o@own.test"}`)
		r.apply(bodies...)
		listed := r.company(gateway.CompanyPatch{Name: new("Listed"), Attributes: []gateway.PayloadAttribute{set("domains", gateway.ListValue("c7.test"))}})
		by := r.byCustomID("m7").ID
		out := r.byCustomID("m47").ID
		r.must(func(e *gateway.Editor) error { return e.AddMember(listed, by) })
		since := r.view(by).Companies
		r.must(func(e *gateway.Editor) error { return e.AddMember(listed, out) })
		r.must(func(e *gateway.Editor) error { return e.RemoveMember(listed, out) })

		author := gateway.Author{Source: gateway.SourceManual, By: "anna@own.test"}
		w := func() *gateway.Workspace {
			all, err := r.store.Workspaces(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return &all[0]
		}
		if _, err := r.g.StartAssign(t.Context(), w(), author); gateway.CodeOf(err) != gateway.CodeConflict {
			t.Errorf("a run while it is off: %v", err)
		}
		r.autoAssign(gateway.AutoAssign{OwnDomains: []string{"own.test"}})
		preview, err := r.g.PreviewAssign(t.Context(), w())
		if err != nil {
			t.Fatal(err)
		}
		perCompany := int64(many / 40)
		counts := gateway.AssignCounts{Linked: many - 2, Already: 1, Left: 1, NoEmail: 1,
			Refused: map[gateway.AssignReason]int64{gateway.AssignFreeMail: 1, gateway.AssignNoReply: 1, gateway.AssignOwn: 1}}
		if diff := cmp.Diff(counts, preview.AssignCounts); diff != "" {
			t.Errorf("preview: %s", diff)
		}
		if preview.Contacts != many+4 || preview.CompaniesCreated != 39 || len(preview.Created) != 20 || preview.CompaniesFound != 1 {
			t.Errorf("preview: %d contacts, %d companies, %d named, %d found", preview.Contacts, preview.CompaniesCreated, len(preview.Created), preview.CompaniesFound)
		}
		if diff := cmp.Diff([]gateway.AssignTarget{{CompanyID: listed, Name: "Listed", Domain: "c7.test", Contacts: perCompany - 2 + 1}}, preview.Found); diff != "" {
			t.Errorf("preview: %s", diff)
		}
		if top := preview.Created[0]; top.Contacts != perCompany+1 || top.Name != top.Domain || top.CompanyID != 0 {
			t.Errorf("preview: top %+v", top)
		}
		if got := r.companyNames(); got != "Listed=1" {
			t.Errorf("a preview made something: %s", got)
		}

		r.autoAssign(gateway.AutoAssign{Enabled: true, OwnDomains: []string{"own.test"}})
		j, err := r.g.StartAssign(t.Context(), w(), author)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.g.StartAssign(t.Context(), w(), author); gateway.CodeOf(err) != gateway.CodeConflict {
			t.Errorf("a second run: %v", err)
		}
		r.runJobs()
		done, err := r.store.Job(t.Context(), r.w, j.ID)
		if err != nil {
			t.Fatal(err)
		}
		run, err := gateway.AssignRunOf(done)
		if err != nil {
			t.Fatal(err)
		}
		if done.State != gateway.JobDone || done.Done != many+4 || done.Total != many+4 || done.By != author.By || run.CompaniesCreated != 39 {
			t.Errorf("the job: %+v", done)
		}
		if diff := cmp.Diff(counts, run.AssignCounts); diff != "" {
			t.Errorf("the run did not what the preview said: %s", diff)
		}
		if diff := cmp.Diff(since, r.view(by).Companies); diff != "" {
			t.Errorf("a link that was there changed: %s", diff)
		}
		r.wantLinks("taken out by hand", r.view(out), "")
		r.wantLinks("m8", r.byCustomID("m8"), "c8.test domain!")
		if by := r.byCustomID("m8").Companies[0].By; by != author.By {
			t.Errorf("the link was made by %q", by)
		}
		if v := r.companyView(listed); v.EmployeesCount != perCompany {
			t.Errorf("%d employees, want %d", v.EmployeesCount, perCompany)
		}
		// A second run finds nothing more to do.
		if _, err := r.g.StartAssign(t.Context(), w(), author); err != nil {
			t.Fatal(err)
		}
		before := r.companyNames()
		r.runJobs()
		jobs, err := r.store.Jobs(t.Context(), r.w, 10)
		if err != nil || len(jobs) != 2 {
			t.Fatal(jobs, err)
		}
		if run, err = gateway.AssignRunOf(&jobs[0]); err != nil || run.Linked != 0 || run.CompaniesCreated != 0 || r.companyNames() != before {
			t.Errorf("the second run: %+v, %v", run, err)
		}
	})
}

// TestAssignRunGoesOn: a run that a node left is taken up by another, where it was, and one
// whose setting is switched off stops.
func TestAssignRunGoesOn(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t).NewDatabase(t)
	a := newNode(t, database, cache.New(1000), 0)
	var bodies []string
	for i := range 3000 {
		bodies = append(bodies, fmt.Sprintf(`{"user_id":"m%d","email":"m@c%d.test"}`, i, i%10))
	}
	a.apply(bodies...)
	a.autoAssign(gateway.AutoAssign{Enabled: true})
	w := &gateway.Workspace{ID: a.w}
	if _, err := a.g.StartAssign(t.Context(), w, gateway.Author{Source: gateway.SourceManual}); err != nil {
		t.Fatal(err)
	}
	// The node ends after its first step.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	changed := a.g.Changed()
	go func() { ended <- a.g.RunJobs(ctx) }()
	<-changed
	cancel()
	<-ended
	left, err := a.store.UnfinishedJobs(t.Context(), 10)
	if err != nil || len(left) != 1 || left[0].Done == 0 || left[0].Done >= 3000 {
		t.Fatalf("what is left: %+v, %v", left, err)
	}
	b := newNode(t, database, cache.New(1000), a.w)
	b.now = a.now.Add(time.Hour)
	b.runJobs()
	j, err := b.store.Job(t.Context(), a.w, left[0].ID)
	if err != nil || j.State != gateway.JobDone || j.Done != 3000 {
		t.Errorf("the job: %+v, %v", j, err)
	}
	if got := strings.Count(b.companyNames(), "=300"); got != 10 {
		t.Errorf("companies %s", b.companyNames())
	}

	if _, err := b.g.StartAssign(t.Context(), w, gateway.Author{Source: gateway.SourceManual}); err != nil {
		t.Fatal(err)
	}
	b.autoAssign(gateway.AutoAssign{})
	b.runJobs()
	if jobs, err := b.store.Jobs(t.Context(), a.w, 1); err != nil || jobs[0].State != gateway.JobStopped {
		t.Errorf("a run whose setting is off: %+v, %v", jobs, err)
	}
}
