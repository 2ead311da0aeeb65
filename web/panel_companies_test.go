package web_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
)

// edit changes the workspace of a stack.
func (s *stack) edit(fn func(e *gateway.Editor) error) {
	s.t.Helper()
	err := s.gateway.Edit(s.t.Context(), &gateway.Workspace{ID: s.workspace}, gateway.Author{Source: gateway.SourceAPI, By: "test"}, fn)
	if err != nil {
		s.t.Fatal(err)
	}
}

// company makes a company with attributes by name.
func (s *stack) company(name string, attributes map[string]gateway.Value) (id gateway.CompanyID) {
	s.t.Helper()
	s.edit(func(e *gateway.Editor) (err error) {
		p := gateway.CompanyPatch{Name: &name}
		for k, v := range attributes {
			p.Attributes = append(p.Attributes, gateway.PayloadAttribute{Name: gateway.StandardName(k), Label: k, Value: v})
		}
		id, err = e.CreateCompany(p)
		return err
	})
	return id
}

// person makes a contact.
func (s *stack) person(name, email string) (id gateway.ContactID) {
	s.t.Helper()
	s.edit(func(e *gateway.Editor) (err error) {
		id, err = e.CreateContact(gateway.ContactPatch{Email: &email, Attributes: []gateway.PayloadAttribute{{Name: "name", Label: "name", Value: gateway.TextValue(name)}}})
		return err
	})
	return id
}

// members are the employees of a company, or the former ones.
func (s *stack) members(id gateway.CompanyID, former bool) []gateway.MemberView {
	s.t.Helper()
	m, err := s.gateway.Read().Members(s.t.Context(), s.workspace, id, gateway.MemberQuery{Former: former, Limit: 100})
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

func companyPath(id gateway.CompanyID) string { return fmt.Sprint("/panel/companies/", id) }

// TestCompanyByHand makes a company and its employees: picked by name, by the e-mail of
// a contact, and by one that nobody has.
func TestCompanyByHand(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	ada, bob := s.person("Ada Lovelace", "ada@acme.test"), s.person("Bob", "bob@acme.test")
	if a := editor.post("/panel/companies/new", "name", "", "domains", "no domain"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "A company needs a name.") || !strings.Contains(a.body, "is no domain") {
		t.Errorf("a company without a name: %d\n%s", a.status, a.body)
	}
	a := editor.post("/panel/companies/new", "name", "Acme", "custom_id", "acme-1", "domains", "Acme.com, acme.co.uk")
	if a.status != http.StatusSeeOther {
		t.Fatalf("new company: %d\n%s", a.status, a.body)
	}
	var id gateway.CompanyID
	if _, err := fmt.Sscanf(a.location(), "/panel/companies/%d?tab=employees", &id); err != nil {
		t.Fatalf("new company leads to %s", a.location())
	}
	if a := editor.post("/panel/companies/new", "name", "Twin", "custom_id", "acme-1"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "already exists") {
		t.Errorf("an id that is taken: %d", a.status)
	}
	if body := editor.fragment(companyPath(id) + "/people?q=lovel").body; !strings.Contains(body, fmt.Sprintf(`data-value="%d"`, ada)) {
		t.Errorf("found by name:\n%s", body)
	}
	if body := editor.fragment(companyPath(id) + "/people?q=bo").body; !strings.Contains(body, fmt.Sprintf(`data-value="%d"`, bob)) {
		t.Errorf("found by the start of the e-mail:\n%s", body)
	}
	if body := editor.fragment(companyPath(id) + "/people?q=new@acme.test").body; !strings.Contains(body, "Create new@acme.test and add") {
		t.Errorf("an unknown e-mail:\n%s", body)
	}
	if body := editor.fragment(companyPath(id) + "/people?q=Ada@acme.test").body; strings.Contains(body, "Create") || !strings.Contains(body, "Ada Lovelace") {
		t.Errorf("a known e-mail:\n%s", body)
	}
	for _, fields := range [][]string{
		{"employee", fmt.Sprint(ada), "q", "Ada Lovelace"},
		{"q", "BOB@acme.test"},
		{"q", "new@acme.test", "employee_new", "new@acme.test"},
	} {
		if a := editor.post(companyPath(id)+"/employees", fields...); a.status != http.StatusSeeOther {
			t.Fatalf("%q: %d\n%s", fields, a.status, a.body)
		}
	}
	for _, q := range []string{"Somebody", "else@acme.test"} {
		if a := editor.post(companyPath(id)+"/employees?tab=employees", "q", q); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `aria-invalid="true"`) {
			t.Errorf("%s: %d\n%s", q, a.status, a.body)
		}
	}
	members := s.members(id, false)
	if len(members) != 3 {
		t.Fatalf("%d employees", len(members))
	}
	for _, m := range members {
		if m.Source != gateway.SourceManual || m.By != "editor@acme.test" || !m.Primary {
			t.Errorf("%+v", m)
		}
	}
	if members[0].Email != "new@acme.test" || members[0].ContactID == ada || members[0].ContactID == bob {
		t.Errorf("the new contact is %+v", members[0])
	}
	body := editor.page(companyPath(id) + "?tab=employees")
	for _, want := range []string{"Ada Lovelace", "By hand", "Remove Ada Lovelace from Acme?", "acme.co.uk", "acme-1"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if a := editor.post(companyPath(id)+"/employees/remove", "contact", fmt.Sprint(ada)); a.status != http.StatusSeeOther {
		t.Errorf("remove: %d", a.status)
	}
	if former := s.members(id, true); len(former) != 1 || former[0].ContactID != ada {
		t.Errorf("former employees: %+v", former)
	}
	other := s.company("Other", nil)
	s.edit(func(e *gateway.Editor) error { return e.AddMember(other, bob) })
	if a := editor.post(companyPath(other)+"/employees/primary", "contact", fmt.Sprint(bob)); a.status != http.StatusSeeOther {
		t.Errorf("primary: %d", a.status)
	}
	if m := s.members(other, false); len(m) != 1 || !m[0].Primary {
		t.Errorf("primary company: %+v", m)
	}
	if a := editor.post(companyPath(id)+"/delete", "confirm", "acme"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "2 employees") {
		t.Errorf("delete without its name: %d", a.status)
	}
	if a := editor.post(companyPath(id)+"/delete", "confirm", "Acme"); a.status != http.StatusSeeOther {
		t.Errorf("delete: %d", a.status)
	}
	if a := editor.get(companyPath(id)); a.status != http.StatusNotFound {
		t.Errorf("a deleted company: %d", a.status)
	}
	log, err := s.gateway.Read().AuditLog(t.Context(), s.workspace, gateway.AuditQuery{By: "editor@acme.test", Limit: 50})
	if err != nil {
		t.Fatal(err)
	}
	var actions []string
	for _, e := range log {
		actions = append(actions, e.Action)
	}
	if got, want := strings.Join(actions, " "), "company.delete company.primary company.leave company.join contact.add company.join company.join company.add"; got != want {
		t.Errorf("audited %q, want %q", got, want)
	}
}

// TestCompanyValues edits fields of every type.
func TestCompanyValues(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	id := s.company("Acme", map[string]gateway.Value{"plan": gateway.TextValue("pro"), "seats": gateway.IntValue(3), "paying": gateway.BoolValue(true), "renewal": gateway.DateValue(time.Unix(0, 0))})
	for _, c := range []struct {
		name, value string
		raw         string // what is kept
		problem     string
	}{
		{"name", "Acme Ltd", "", ""}, {"name", " ", "", "A company needs a name."},
		{"custom_id", "a1", "", ""}, {"custom_id", strings.Repeat("x", 5000), "", "no more than"},
		{"domains", "Acme.com\nwww.acme.co.uk", "", ""}, {"domains", "acme", "", "is no domain"},
		{"tags", "vip, new, vip", `["vip","new"]`, ""}, {"tags", strings.Repeat("x", 5000), "", "can be no tag"},
		{"plan", "free", `"free"`, ""}, {"plan", "", "", ""},
		{"seats", "12", "12", ""}, {"seats", "many", "", "Enter a number."},
		{"paying", "false", "false", ""}, {"paying", "perhaps", "", "Choose yes or no."},
		{"renewal", "2026-03-31", `"2026-03-31"`, ""}, {"renewal", "soon", "", "Enter a day"},
		{"approx_employees", "1.5", "", "."}, {"extra_data", `{"a":1}`, `{"a":1}`, ""}, {"extra_data", `{"a"`, "", "no JSON"},
		{"country", "<b>", `"<b>"`, ""},
	} {
		a := editor.post(companyPath(id)+"/value", "name", c.name, "value", c.value)
		if c.problem != "" {
			if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, c.problem) || !strings.Contains(a.body, "cell editing wrong") {
				t.Errorf("%s = %.40q: %d, without %q", c.name, c.value, a.status, c.problem)
			}
			continue
		}
		if a.status != http.StatusSeeOther {
			t.Errorf("%s = %q: %d\n%s", c.name, c.value, a.status, a.body)
			continue
		}
		v, err := s.gateway.Read().Company(t.Context(), s.workspace, id)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := v.Attributes.Get(c.name); c.raw != "" && strings.ReplaceAll(got.Raw, " ", "") != c.raw {
			t.Errorf("%s = %q: kept %s, want %s", c.name, c.value, got.Raw, c.raw)
		}
	}
	found, err := s.gateway.Read().CompaniesByDomain(t.Context(), s.workspace, []string{"acme.com"})
	if err != nil || len(found) != 1 || found[0].CompanyID != id || found[0].Name != "Acme Ltd" {
		t.Errorf("by its domain: %+v, %v", found, err)
	}
	if a := editor.post(companyPath(id)+"/value", "name", "nothing", "value", "x"); a.status != http.StatusNotFound {
		t.Errorf("an unknown field: %d", a.status)
	}
	if body := editor.fragment(companyPath(id) + "/value?name=name").body; !strings.Contains(body, `value="Acme Ltd"`) || strings.Contains(body, "<html") {
		t.Errorf("a cell to edit:\n%s", body)
	}
}

// TestCompaniesForViewers asks for all that changes companies as a viewer.
func TestCompaniesForViewers(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id := s.company("Acme", nil)
	viewer := s.as(gateway.RoleViewer)
	for _, path := range []string{"/panel/companies/new", companyPath(id) + "/value", companyPath(id) + "/employees", companyPath(id) + "/employees/remove", companyPath(id) + "/employees/primary", companyPath(id) + "/delete"} {
		if a := viewer.post(path, "name", "x", "value", "x", "contact", "1", "confirm", "Acme"); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	for _, tab := range []string{"timeline", "employees", "attributes"} {
		if body := viewer.page(companyPath(id) + "?tab=" + tab); strings.Contains(body, companyPath(id)+"/delete") || strings.Contains(body, "cell-edit") || strings.Contains(body, "add-employee") {
			t.Errorf("%s offers what a viewer can't do", tab)
		}
	}
}

// TestCompaniesList filters and pages through the list.
func TestCompaniesList(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for i := range 60 {
		s.company(fmt.Sprintf("Company %02d", i), map[string]gateway.Value{"seats": gateway.IntValue(int64(i)), "tags": gateway.ListValue([]string{"even", "odd"}[i%2]), "domains": gateway.ListValue(fmt.Sprintf("c%d.com", i))})
	}
	viewer := s.as(gateway.RoleViewer)
	names := func(path string) (n int, first string) {
		body := viewer.page(path)
		rows := strings.Split(body, `<td class="main">`)
		if len(rows) > 1 {
			first = rows[1][strings.Index(rows[1], "<bdi>")+5 : strings.Index(rows[1], "</bdi>")]
		}
		return len(rows) - 1, first
	}
	for path, want := range map[string]string{
		"":                                "50 Company 59",
		"?tag=odd":                        "30 Company 59",
		"?q=company+0":                    "10 Company 09",
		"?q=c7.com":                       "1 Company 07",
		"?f=seats:under:5":                "5 Company 04",
		"?f=seats:under:5&tag=even":       "3 Company 04",
		"?f=seats:is:nothing":             "0 ",
		"?f=nothing:is:5":                 "50 Company 59",
		"?field=seats&op=over&value=57":   "2 Company 59",
		"?q=" + strings.Repeat("x", 3000): "0 ",
	} {
		n, first := names("/panel/companies" + path)
		if got := fmt.Sprint(n, " ", first); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	body := viewer.page("/panel/companies")
	at := strings.Index(body, "/panel/companies?before=")
	if at < 0 {
		t.Fatal("there is no second page")
	}
	next, _, _ := strings.Cut(body[at:], `"`)
	if n, first := names(next); n != 10 || first != "Company 09" {
		t.Errorf("second page: %d from %s", n, first)
	}
}

// TestCompaniesLastActive: the list says when the newest employees were last active, and that
// there are others; sorted by when companies were changed, it says that instead.
func TestCompaniesLastActive(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		viewer := s.as(gateway.RoleViewer)
		for name, n := range map[string]int{"Empty": 0, "Small": 2, "Asleep": 1, "Large": gateway.MaxLastActive + 1, "Crowd": gateway.MaxLastActive + 1} {
			co := s.newCompany(gateway.CompanyPatch{Name: &name})
			for i := range n {
				id, _ := s.newContact(gateway.ContactPatch{CustomID: new(fmt.Sprint(name, i))})
				s.byToken(func(e *gateway.Editor) error { return e.AddMember(co, id) })
				if i > 0 && name != "Crowd" {
					if err := s.store.Update(t.Context(), func(tx gateway.Tx) error {
						return tx.Save(s.workspace, &gateway.Changes{PageViews: []gateway.PageView{{ContactID: id, At: time.Now().Add(-time.Duration(i+1)*time.Hour - time.Minute), Path: "/"}}})
					}); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		cell := func(path, name string) string {
			body := viewer.page(path)
			_, row, _ := strings.Cut(body, "<bdi>"+name+"</bdi>")
			row, _, _ = strings.Cut(row, "</tr>")
			return row[max(0, strings.LastIndex(row, "<td")):]
		}
		for name, want := range map[string]string{"Empty": `title="none">–`, "Asleep": `title="none">–`, "Small": ">2 h ago</time></td>", "Large": `>2 h ago</time> <span class="later" title="of the 10 employees who came last">or later`, "Crowd": `title="none of the 10 employees who came last">–`} {
			if got := cell("/panel/companies", name); !strings.Contains(got, want) {
				t.Errorf("%s was last active: %s, want %s", name, got, want)
			}
			if got := cell("/panel/companies?sort=-updated_at", name); !strings.Contains(got, "<time ") || strings.Contains(got, "or later") {
				t.Errorf("%s was changed %s", name, got)
			}
		}
		viewer.wants("/panel/companies", ">Last activity</th>", "!aria-sort", "Last change, latest first", `href="/panel/companies?sort=-updated_at"`)
		viewer.wants("/panel/companies?sort=-updated_at", "!Last activity", `aria-sort="descending"><a href="/panel/companies?sort=updated_at">Last change<`)
	})
}

// TestCompanyTimeline shows what the people of a company did, former ones too.
func TestCompanyTimeline(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id, ada, bob, other := s.company("Acme", nil), s.person("Ada", "ada@acme.test"), s.person("Bob", "bob@acme.test"), s.person("Other", "o@other.test")
	begin := time.Now().Add(-5 * time.Hour)
	s.edit(func(e *gateway.Editor) error {
		for _, who := range []gateway.ContactID{ada, bob} {
			if err := e.AddMember(id, who); err != nil {
				return err
			}
		}
		for i := range 60 {
			if _, err := e.AddPageView(gateway.PageView{ContactID: ada, At: begin.Add(time.Duration(i) * time.Minute), URL: "https://shop.test/p", Title: fmt.Sprint("Page ", i)}); err != nil {
				return err
			}
		}
		for _, who := range []gateway.ContactID{bob, other} {
			if _, _, err := e.AddEvent(who, gateway.EventCustom, fmt.Sprint("signup ", who), `{"plan":"pro"}`, begin.Add(2*time.Hour)); err != nil {
				return err
			}
		}
		return nil
	})
	s.edit(func(e *gateway.Editor) error { return e.RemoveMember(id, bob) })
	s.edit(func(e *gateway.Editor) error {
		_, _, err := e.AddEvent(bob, gateway.EventCustom, "later", "", time.Time{})
		return err
	})
	viewer := s.as(gateway.RoleViewer)
	body := viewer.page(companyPath(id))
	for _, want := range []string{fmt.Sprint("signup ", bob), "Former", "Page 59", "49 pages"} {
		if !strings.Contains(body, want) {
			t.Errorf("the timeline lacks %q", want)
		}
	}
	for _, not := range []string{fmt.Sprint("signup ", other), "later", "Page 10<"} {
		if strings.Contains(body, not) {
			t.Errorf("the timeline has %q", not)
		}
	}
	at := strings.Index(body, companyPath(id)+"?before=")
	if at < 0 {
		t.Fatal("there is no second page")
	}
	next, _, _ := strings.Cut(body[at:], `"`)
	if body := viewer.page(strings.ReplaceAll(next, "&amp;", "&")); !strings.Contains(body, "Page 10<") || strings.Contains(body, "Page 11<") {
		t.Errorf("second page:\n%s", body)
	}
	for _, before := range []string{"x", "1.2", "-1.-1.-1", "99999999999999999999.1.1"} {
		viewer.page(companyPath(id) + "?before=" + before)
	}
}

// hostileText is what nobody should have in their data.
const hostileText = `<script>alert(1)</script>"'><img src=x onerror=alert(2)> ` + "\u202e\u2066" + ` {{.}} =1+1`

// TestCompaniesInBrowser adds employees and edits a value as people do, among data that
// means harm.
func TestCompaniesInBrowser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	id := s.company(hostileText+strings.Repeat("W", 8<<10), map[string]gateway.Value{"description": gateway.TextValue(hostileText), "tags": gateway.ListValue("<b>vip</b>", hostileText[:60]), hostileText: gateway.TextValue(hostileText),
		"note": gateway.TextValue(hostileText), "domains": gateway.ListValue("evil.com")})
	mallory := s.person(hostileText, "mallory@evil.test")
	s.person("Grace Hopper", "grace@acme.test")
	s.edit(func(e *gateway.Editor) error {
		if err := e.AddMember(id, mallory); err != nil {
			return err
		}
		if _, _, err := e.AddEvent(mallory, gateway.EventCustom, hostileText, `{"x":"<script>alert(3)</script>"}`, time.Time{}); err != nil {
			return err
		}
		_, err := e.AddPageView(gateway.PageView{ContactID: mallory, URL: "https://evil.test/?q=<script>", Title: hostileText})
		return err
	})
	acme := s.company("Acme Manufacturing", map[string]gateway.Value{"tags": gateway.ListValue("vip", "renewal"), "domains": gateway.ListValue("acme.com", "acme.co.uk"), "city": gateway.TextValue("Poznań"), "size": gateway.TextValue("51-200"), "plan": gateway.TextValue("pro")})
	var crew []gateway.ContactID
	for i := range 13 {
		crew = append(crew, s.person([]string{"Ada Lovelace", "Alan Turing", "Barbara Liskov"}[i%3], fmt.Sprintf("p%d@acme.com", i)))
	}
	s.edit(func(e *gateway.Editor) error {
		for i, who := range crew {
			if err := e.AddMember(acme, who); err != nil {
				return err
			}
			for k := range 1 + i%4 {
				at := time.Now().Add(-time.Duration(i*50+k) * time.Minute)
				if _, err := e.AddPageView(gateway.PageView{ContactID: who, At: at, URL: "https://acme.com/pricing", Title: []string{"Pricing", "Product tour", "Checkout"}[k%3]}); err != nil {
					return err
				}
			}
			if _, _, err := e.AddEvent(who, gateway.EventCustom, "trial_started", `{"plan":"pro","seats":12}`, time.Now().Add(-time.Duration(i*47)*time.Minute)); err != nil {
				return err
			}
		}
		return nil
	})
	s.edit(func(e *gateway.Editor) error { return e.RemoveMember(acme, crew[2]) })
	editor := s.as(gateway.RoleEditor)
	b := editor.tab("/panel/companies")
	for _, path := range []string{companyPath(id), companyPath(id) + "?tab=employees", companyPath(id) + "?tab=attributes", "/panel/companies?q=script"} {
		b.open(path)
		b.until(`document.querySelector('main h1') !== null`)
		if n := eval[int](b, `document.querySelectorAll('main script, main img').length`); n != 0 {
			t.Errorf("%s: %d elements of the data's own", path, n)
		}
		if wide := eval[bool](b, `document.documentElement.scrollWidth > innerWidth`); wide {
			t.Errorf("%s: is wider than the window", path)
		}
	}
	// Edit a value: Escape leaves it, Enter saves it.
	b.open(companyPath(acme) + "?tab=attributes")
	b.click(`.cell-edit[aria-label="Edit Name"]`)
	b.until(`document.activeElement.id === 'v-name' && !document.querySelector('.htmx-added, .htmx-settling')`) // its links are htmx's now
	eval[bool](b, `document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}))`)
	b.until(`document.querySelector('.cell.editing') === null && document.activeElement.getAttribute('aria-label') === 'Edit Name'`)
	b.click(`.cell-edit[aria-label="Edit Name"]`)
	b.until(`document.activeElement.id === 'v-name' && !document.querySelector('.htmx-added, .htmx-settling')`) // its links are htmx's now
	eval[bool](b, `(() => { const i = document.activeElement; i.value = 'Acme Works'; i.form.requestSubmit(); return true })()`)
	b.until(`document.getElementById('who').textContent === 'Acme Works'`)
	// Add an employee by name, and a new one by e-mail.
	for _, who := range [][2]string{{"hopper", "Grace Hopper"}, {"new@acme.com", "new@acme.com"}} {
		b.open(companyPath(acme) + "?tab=employees")
		b.until(`document.getElementById('add-employee') !== null`)
		eval[bool](b, `(() => { const i = document.getElementById('add-employee'); i.focus(); i.value = `+quote(who[0])+`; i.dispatchEvent(new Event('input', {bubbles: true})); return true })()`)
		b.until(`[...document.querySelectorAll('#add-employee-list .option')].some((o) => o.textContent.includes(` + quote(who[1]) + `) && o.hasAttribute('aria-selected'))`)
		eval[bool](b, `document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true})) || true`)
		b.until(`[...document.querySelectorAll('table .main')].some((e) => e.textContent.includes(` + quote(who[1]) + `))`)
	}
	for _, m := range s.members(acme, false)[:2] {
		if m.Source != gateway.SourceManual || m.By != "editor@acme.test" {
			t.Errorf("%+v", m)
		}
	}
	if *shots == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		b.media(scheme(theme))
		for _, width := range []int64{1280, 390} {
			b.size(width, 800)
			for name, path := range map[string]string{"list": "/panel/companies", "timeline": companyPath(acme), "employees": companyPath(acme) + "?tab=employees",
				"attributes": companyPath(acme) + "?tab=attributes", "edit": companyPath(acme) + "/value?name=domains", "hostile": companyPath(id) + "?tab=employees", "new": "/panel/companies/new"} {
				b.open(path)
				b.until(`document.readyState === 'complete'`)
				b.picture(filepath.Join(*shots, fmt.Sprintf("company-%s-%s-%d.png", name, theme, width)))
			}
		}
	}
}
