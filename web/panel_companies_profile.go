package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

const (
	// maxCompanyName is how many bytes of a name can be typed here.
	maxCompanyName = 1000
	// maxCompanyText is how many bytes of an attribute can be typed here.
	maxCompanyText = 16 << 10
	// formerShown is how many former employees are folded below the others.
	formerShown = 20
)

// companyPage is the profile of a company. Tab is timeline, employees or attributes.
type companyPage struct {
	*form
	View    *gateway.CompanyView
	Label   string
	Href    string
	Domains []string
	Tags    []string
	LastAt  time.Time // when one of its people was last active, as far as was looked
	CanEdit bool
	Tabs    []chip
	Tab     string
	Menu    menu
	Delete  confirm

	Timeline   []accountEntry
	Partial    bool
	LookedAt   time.Time // with Partial: how far
	More       *more
	Employees  []employeeRow
	Former     []employeeRow
	FormerMore *more
	OnlyFormer bool
	Add        picker
	Cells      []companyCell
}

// accountEntry is a line of the timeline: an event, or page views of one person in a row.
type accountEntry struct {
	Icon, Title  string
	Who, WhoHref string
	Former       bool
	At           time.Time
	Note         string
	Views        []gateway.PageView // if there are several
	contact      gateway.ContactID
	isView       bool
}

type employeeRow struct {
	gateway.MemberView
	Label, Href string
	Menu        menu
	Remove      confirm
	Star        string
}

// companyCell is an attribute that can be edited in place.
type companyCell struct {
	companyField
	Shown   string
	Value   string // as it is edited
	Was     string // a mark of the value that whoever edits has seen
	Badges  []string
	Href    string // of the company
	Editing bool
	CanEdit bool
	Focus   bool
	Error   string
}

// companyField is a field of companies.
type companyField struct {
	Name, Label, Hint string
	Type              gateway.Type
	Kind              string // of its input: text, textarea or select
	def               *gateway.AttributeDef
}

// companyFields are the fields of companies: their own, the standard attributes, and the
// custom ones of the workspace.
func (p *panel) companyFields(c *call) ([]companyField, error) {
	all := []companyField{{Name: "name", Label: "Name", Type: gateway.TypeText}, {Name: "custom_id", Label: "Company id", Type: gateway.TypeText}}
	for _, name := range []string{"domains", "tags"} {
		a, _ := gateway.Standard(gateway.EntityCompany, name)
		all = append(all, companyField{Name: name, Label: a.Label, Type: a.Type, Hint: "Separated by commas"})
	}
	for _, a := range gateway.StandardAttrs(gateway.EntityCompany) {
		if a.Name != "domains" && a.Name != "tags" {
			all = append(all, companyField{Name: a.Name, Label: a.Label, Type: a.Type})
		}
	}
	defs, err := p.Read.AttributeDefs(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return nil, err
	}
	for i := range defs {
		if d := &defs[i]; d.Entity == gateway.EntityCompany {
			all = append(all, companyField{Name: d.Name, Label: clip(d.Label, 100), Type: d.Type, def: d})
		}
	}
	for i := range all {
		f := &all[i]
		f.Kind = "text"
		switch {
		case f.Type == gateway.TypeBool:
			f.Kind = "select"
		case f.Type == gateway.TypeJSON, f.Name == "description":
			f.Kind = "textarea"
		}
		switch f.Type {
		case gateway.TypeDate:
			f.Hint = cmp.Or(f.Hint, "A day, as 2026-03-31")
		case gateway.TypeDatetime:
			f.Hint = cmp.Or(f.Hint, "A time in UTC, as 2026-03-31 14:05")
		case gateway.TypeList:
			f.Hint = cmp.Or(f.Hint, "Separated by commas")
		case gateway.TypeJSON:
			f.Hint = cmp.Or(f.Hint, "JSON")
		}
	}
	return all, nil
}

// companyCell is a field of a company, as it is shown.
func (c *call) companyCell(v *gateway.CompanyView, f companyField) companyCell {
	cell := companyCell{companyField: f, Href: companyHref(v.ID), CanEdit: c.can(gateway.RoleEditor)}
	switch f.Name {
	case "name":
		cell.Value = v.Name
	case "custom_id":
		cell.Value = v.CustomID
	default:
		value, ok := v.Attributes.Get(f.Name)
		switch {
		case !ok:
		case value.Type == gateway.TypeList:
			cell.Badges = texts(v.Attributes, f.Name)
			cell.Value = strings.Join(cell.Badges, ", ")
		case value.Type == gateway.TypeJSON:
			cell.Value = value.Raw
		default:
			cell.Value = gateway.Text(value)
		}
	}
	cell.Shown, cell.Was = clip(cell.Value, 2000), markOf(cell.Value)
	if f.Type == gateway.TypeBool {
		cell.Shown = map[string]string{"true": "Yes", "false": "No"}[cell.Value]
	}
	return cell
}

// patch is what a text in the field says; problem is what is wrong with it.
func (f companyField) patch(text string) (patch gateway.CompanyPatch, problem string) {
	text = strings.TrimSpace(text)
	switch {
	case len(text) > maxCompanyText, f.Name == "name" && len(text) > maxCompanyName:
		return patch, "This is too long."
	case f.Name == "name" && text == "":
		return patch, "A company needs a name."
	case f.Name == "name":
		patch.Name = &text
		return patch, ""
	case f.Name == "custom_id":
		patch.CustomID = &text
		return patch, ""
	}
	value := gateway.Null
	if text != "" {
		if value, problem = f.value(text); problem != "" {
			return patch, problem
		}
	}
	patch.Attributes = []gateway.PayloadAttribute{{Name: f.Name, Label: f.Label, Value: value}}
	return patch, ""
}

// value reads a text that is not empty.
func (f companyField) value(text string) (v gateway.Value, problem string) {
	v = gateway.TextValue(text)
	switch {
	case f.Name == "domains":
		domains, bad := domainList(text)
		if bad != "" {
			return v, "“" + clip(bad, 60) + "” is no domain, such as acme.com."
		}
		if len(domains) == 0 {
			return gateway.Null, ""
		}
		v = gateway.ListValue(domains...)
	case f.Type == gateway.TypeList:
		var items []string
		for one := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == ',' || r == '\n' }) {
			if one = strings.TrimSpace(one); one == "" || slices.Contains(items, one) {
				continue
			}
			if f.Name == "tags" && !gateway.IsTagName(one) {
				return v, "“" + clip(one, 60) + "” can be no tag: it is too long."
			}
			items = append(items, one)
		}
		if len(items) == 0 {
			return gateway.Null, ""
		}
		v = gateway.ListValue(items...)
	case f.Type == gateway.TypeJSON:
		var err error
		if v, err = gateway.ParseValue([]byte(text)); err != nil {
			return v, "This is no JSON that can be kept."
		}
	}
	ok := false
	if a, standard := gateway.Standard(gateway.EntityCompany, f.Name); standard {
		v, _, ok = a.Convert(v)
	} else if f.def != nil {
		v, ok = f.def.Convert(v)
	}
	if !ok {
		return v, cmp.Or(map[gateway.Type]string{
			gateway.TypeNumber: "Enter a number.", gateway.TypeBool: "Choose yes or no.", gateway.TypeDate: "Enter a day, such as 2026-03-31.",
			gateway.TypeDatetime: "Enter a time, such as 2026-03-31 14:05.", gateway.TypeJSON: "This is no JSON that can be kept.",
		}[f.Type], "This can’t be kept here.")
	}
	return v, ""
}

func (p *panel) openCompany(c *call) (*gateway.CompanyView, error) {
	id, err := c.id("id")
	if err != nil {
		return nil, err
	}
	return p.Read.Company(c.Request().Context(), c.Workspace.ID, gateway.CompanyID(id))
}

// company is the profile of a company.
func (p *panel) company(c *call) error { return p.renderCompany(c, http.StatusOK, &form{}, nil) }

// renderCompany shows the profile, with the cell that is being edited if there is one.
func (p *panel) renderCompany(c *call, status int, f *form, editing *companyCell) error {
	ctx := c.Request().Context()
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	v := companyPage{form: f, View: view, Label: companyLabel(&view.Company), Href: companyHref(view.ID), CanEdit: c.can(gateway.RoleEditor),
		Domains: texts(view.Attributes, "domains"), Tags: texts(view.Attributes, "tags"), Tab: c.QueryParam("tab")}
	if editing != nil {
		v.Tab = "attributes"
	}
	if v.Tab != "employees" && v.Tab != "attributes" {
		v.Tab = "timeline"
	}
	for _, one := range []chip{{Label: "Timeline", Href: "timeline"}, {Label: "Employees", Href: "employees"}, {Label: "Attributes", Href: "attributes"}} {
		one.Active = one.Href == v.Tab
		one.Href = v.Href + "?tab=" + one.Href
		v.Tabs = append(v.Tabs, one)
	}
	v.Menu = menu{ID: "company-menu", Label: v.Label, Items: []menuItem{{Label: "Delete company", Icon: "trash", Dialog: "company-delete", Danger: true}}}
	v.Delete = confirm{ID: "company-delete", Title: "Delete " + v.Label + "?", Post: v.Href + "/delete", Yes: "Delete company", Danger: true, Typed: typedWord(view.Name),
		Text: "It has " + count(view.EmployeesCount, "employee", "employees") + ". They stay as contacts, without this company; that they belonged to it is forgotten. This can’t be undone."}
	switch v.Tab {
	case "timeline":
		err = p.companyTimeline(c, &v)
	case "employees":
		err = p.companyEmployees(c, &v)
	default:
		err = p.companyAttributes(c, &v, editing)
	}
	if err != nil {
		return err
	}
	if v.Tab != "timeline" || c.QueryParam("before") != "" { // else the timeline has it
		newest, err := p.Read.Account(ctx, c.Workspace.ID, view.ID, gateway.AccountQuery{Limit: 1})
		if err != nil {
			return err
		}
		for _, e := range newest.Entries {
			v.LastAt = newAccountEntry(e).At
		}
	}
	return c.render(status, "company", v.Label, v)
}

// accountFold is within how much time page views of one person are one line.
const accountFold = 30 * time.Minute

// companyTimeline reads what the people of the company did.
func (p *panel) companyTimeline(c *call, v *companyPage) error {
	q := gateway.AccountQuery{Limit: listPage, Before: readPlace(c.QueryParam("before"))}
	page, err := p.Read.Account(c.Request().Context(), c.Workspace.ID, v.View.ID, q)
	if err != nil {
		return err
	}
	for _, e := range page.Entries {
		one := newAccountEntry(e)
		if n := len(v.Timeline); n > 0 && one.isView {
			if last := &v.Timeline[n-1]; last.isView && last.contact == one.contact && last.Former == one.Former && last.Views[len(last.Views)-1].At.Sub(one.At) < accountFold {
				last.Views = append(last.Views, *e.PageView)
				continue
			}
		}
		v.Timeline = append(v.Timeline, one)
	}
	if len(v.Timeline) > 0 {
		v.LastAt = v.Timeline[0].At
	}
	if next := page.Next; (next != gateway.AccountPlace{}) {
		v.Partial, v.LookedAt = page.Partial, next.At
		v.More = &more{Href: v.Href + "?" + url.Values{"tab": {"timeline"}, "before": {placeText(next)}}.Encode(), Label: "Older"}
		if page.Partial {
			v.More.Label = "Search on"
		}
	}
	return nil
}

func placeText(a gateway.AccountPlace) string {
	return fmt.Sprintf("%d.%d.%d", a.At.UnixMicro(), a.Event, a.PageView)
}

// readPlace reads what placeText wrote; any other text is the start.
func readPlace(text string) gateway.AccountPlace {
	var n [3]int64
	parts := strings.Split(text, ".")
	if len(parts) != len(n) {
		return gateway.AccountPlace{}
	}
	for i, one := range parts {
		var err error
		if n[i], err = strconv.ParseInt(one, 10, 64); err != nil {
			return gateway.AccountPlace{}
		}
	}
	return gateway.AccountPlace{At: time.UnixMicro(n[0]).UTC(), Event: n[1], PageView: n[2]}
}

func newAccountEntry(e gateway.AccountEntry) accountEntry {
	one := accountEntry{Former: e.Former, contact: e.Contact.ID, Who: clip(contactLabel(&gateway.ContactView{Contact: *e.Contact}), 80),
		WhoHref: panelPath + "/contacts/" + strconv.FormatInt(int64(e.Contact.ID), 10)}
	if v := e.PageView; v != nil {
		one.Icon, one.Title, one.At, one.isView = "globe", clip(cmp.Or(v.Title, v.Path, v.URL, "A page"), 200), v.At, true
		one.Note, one.Views = clip(v.Path, 120), []gateway.PageView{*v}
		return one
	}
	one.Icon, one.Title, one.At = "play", clip(e.Event.Name, 200), e.Event.At
	if e.Event.Kind == gateway.EventProduct {
		one.Icon = "tag"
	}
	one.Note = clip(e.Event.Data, 160)
	return one
}

// companyEmployees reads a page of the employees, or of the former ones.
func (p *panel) companyEmployees(c *call, v *companyPage) error {
	micros, _ := strconv.ParseInt(c.QueryParam("since"), 10, 64)
	contact, _ := strconv.ParseInt(c.QueryParam("contact"), 10, 64)
	q := gateway.MemberQuery{Limit: listPage + 1, BeforeContact: gateway.ContactID(max(contact, 0))}
	if micros != 0 {
		q.BeforeSince = time.UnixMicro(micros).UTC()
	}
	v.OnlyFormer = c.QueryParam("former") != ""
	v.Add = picker{ID: "add-employee", Name: "employee", Label: "Add an employee", Placeholder: "Add by name or e-mail", Source: v.Href + "/people", Submit: true, Error: v.form.Error("employee")}
	read := func(q gateway.MemberQuery, size int) (rows []employeeRow, next *more, err error) {
		members, err := p.Read.Members(c.Request().Context(), c.Workspace.ID, v.View.ID, q)
		if err != nil {
			return nil, nil, err
		}
		if len(members) > size {
			members = members[:size]
			last := members[size-1]
			to := url.Values{"tab": {"employees"}, "since": {strconv.FormatInt(last.Since.UnixMicro(), 10)}, "contact": {strconv.FormatInt(int64(last.ContactID), 10)}}
			if q.Former {
				to.Set("former", "1")
			}
			next = &more{Href: v.Href + "?" + to.Encode(), Label: "More employees"}
		}
		for i, m := range members {
			rows = append(rows, newEmployeeRow(v, i, m))
		}
		return rows, next, nil
	}
	var err error
	if !v.OnlyFormer {
		if v.Employees, v.More, err = read(q, listPage); err != nil {
			return err
		}
		q = gateway.MemberQuery{Former: true, Limit: formerShown + 1}
		v.Former, v.FormerMore, err = read(q, formerShown)
		if v.FormerMore != nil {
			v.FormerMore = &more{Href: v.Href + "?tab=employees&former=1", Label: "All former employees"}
		}
		return err
	}
	q.Former = true
	v.Former, v.FormerMore, err = read(q, listPage)
	return err
}

func newEmployeeRow(v *companyPage, i int, m gateway.MemberView) employeeRow {
	id := strconv.FormatInt(int64(m.ContactID), 10)
	row := employeeRow{MemberView: m, Label: clip(cmp.Or(strings.TrimSpace(m.Name), m.Email, m.CustomID, "Visitor "+id), 100), Href: panelPath + "/contacts/" + id, Star: id}
	name := "employee-" + strconv.Itoa(i)
	row.Menu = menu{ID: name, Label: row.Label, Items: []menuItem{{Label: "Open contact", Icon: "contact", Href: row.Href}}}
	if !m.Primary {
		row.Menu.Items = append(row.Menu.Items, menuItem{Label: "Make this their primary company", Icon: "star", Post: v.Href + "/employees/primary", Params: [][2]string{{"contact", id}}})
	}
	row.Menu.Items = append(row.Menu.Items, menuItem{Label: "Remove from company", Icon: "trash", Dialog: name + "-remove", Danger: true})
	row.Remove = confirm{ID: name + "-remove", Title: "Remove " + row.Label + " from " + clip(v.Label, 80) + "?", Text: "They stay as a contact, and are shown among the former employees.",
		Post: v.Href + "/employees/remove", Params: [][2]string{{"contact", id}}, Yes: "Remove", Danger: true}
	return row
}

// companyAttributes reads the fields of the company, all but those that profiles leave out.
func (p *panel) companyAttributes(c *call, v *companyPage, editing *companyCell) error {
	fields, err := p.companyFields(c)
	if err != nil {
		return err
	}
	for _, f := range fields {
		if f.def != nil && f.def.Hidden {
			continue
		}
		cell := c.companyCell(v.View, f)
		if editing != nil && editing.Name == f.Name {
			cell = *editing
		}
		v.Cells = append(v.Cells, cell)
	}
	return nil
}

// companyValue answers with one cell: to be edited, or with "shown" as it stands. Without
// scripts it is the page with that cell.
func (p *panel) companyValue(c *call) error {
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	cell, err := p.namedCell(c, view, c.QueryParam("name"))
	if err != nil {
		return err
	}
	cell.Editing = !c.QueryParams().Has("shown")
	cell.Focus = !cell.Editing
	if !c.isHTMX() {
		return p.renderCompany(c, http.StatusOK, &form{}, &cell)
	}
	return c.fragment(http.StatusOK, "company", "cell-part", companyPart{Cell: cell})
}

// companyPart is a cell that is swapped in, and the company's name if that has changed.
type companyPart struct {
	Cell  companyCell
	Title string
}

func (p *panel) namedCell(c *call, view *gateway.CompanyView, name string) (companyCell, error) {
	fields, err := p.companyFields(c)
	if err != nil {
		return companyCell{}, err
	}
	for _, f := range fields {
		if f.Name == name {
			return c.companyCell(view, f), nil
		}
	}
	return companyCell{}, gateway.Errorf(gateway.CodeNotFound, "There is no such attribute.")
}

func (p *panel) postCompanyValue(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	cell, err := p.namedCell(c, view, f.Get("name"))
	if err != nil {
		return err
	}
	patch, problem := cell.patch(f.Get("value"))
	problem = cmp.Or(problem, changedSince(f, cell.Value, f.Get("value")))
	if problem == "" {
		err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
			if err := e.UpdateCompany(view.ID, patch); err != nil {
				return err
			}
			return e.Audit("company.change", "company", strconv.FormatInt(int64(view.ID), 10), map[string]any{"attribute": clip(cell.Label, 100)})
		})
		if err := f.take(err, "custom_id"); err != nil {
			return err
		}
		problem = cmp.Or(f.Problem, f.Error("custom_id"))
	}
	if problem != "" {
		cell.Editing, cell.Error, cell.Value = true, problem, f.Get("value")
		if !c.isHTMX() {
			return p.renderCompany(c, http.StatusUnprocessableEntity, &form{}, &cell)
		}
		return c.fragment(http.StatusUnprocessableEntity, "company", "cell-part", companyPart{Cell: cell})
	}
	if !c.isHTMX() {
		return c.redirect(companyHref(view.ID) + "?tab=attributes")
	}
	if view, err = p.openCompany(c); err != nil {
		return err
	}
	part := companyPart{Cell: c.companyCell(view, cell.companyField)}
	part.Cell.Focus = true
	if cell.Name == "name" {
		part.Title = companyLabel(&view.Company)
	}
	return c.fragment(http.StatusOK, "company", "cell-part", part)
}

// companyPeople answers the field that adds an employee: contacts that a text finds, and
// an offer to make one of an e-mail that nobody has.
func (p *panel) companyPeople(c *call) error {
	q := strings.TrimSpace(c.QueryParam("q"))
	q = strings.ToValidUTF8(q[:min(len(q), maxSearch)], "")
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	found := options{Query: q}
	people, known, partly, err := p.findPeople(c.Request().Context(), c.Workspace.ID, q)
	if err != nil {
		return err
	}
	group := optionGroup{Label: picks[*gateway.ContactView]{partly: partly}.label("Contacts")}
	for _, one := range people {
		note := one.Email
		if note == "" {
			note = one.CustomID
		}
		if worksAt(one, view.ID) {
			note = "Already an employee"
		}
		group.Options = append(group.Options, pick{Value: strconv.FormatInt(int64(one.ID), 10), Label: clip(contactLabel(one), 100), Note: clip(note, 100), Icon: "contact"})
	}
	if len(group.Options) > 0 {
		found.Groups = []optionGroup{group}
	}
	if email, _, ok := gateway.NormalizeEmail(q); ok && !known && c.can(gateway.RoleEditor) {
		found.Create = "Create " + email + " and add"
	}
	return c.fragment(http.StatusOK, "company", "people", found)
}

func worksAt(v *gateway.ContactView, id gateway.CompanyID) bool {
	return slices.ContainsFunc(v.Companies, func(x gateway.ContactCompany) bool { return x.CompanyID == id })
}

// findPeople finds contacts by custom id, e-mail or its start, and by name. known says that
// somebody has the text as e-mail, partly among what names were looked for, "" for all.
func (p *panel) findPeople(ctx context.Context, w gateway.WorkspaceID, q string) (all []*gateway.ContactView, known bool, partly string, err error) {
	const most = 8
	if q == "" {
		all, err = p.Read.Contacts(ctx, w, 0, most)
		return all, false, "", err
	}
	add := func(some []*gateway.ContactView) {
		for _, one := range some {
			if len(all) < most && !slices.ContainsFunc(all, func(x *gateway.ContactView) bool { return x.ID == one.ID }) {
				all = append(all, one)
			}
		}
	}
	one, err := p.Read.ContactByCustomID(ctx, w, q)
	switch {
	case err == nil:
		add([]*gateway.ContactView{one})
	case !gateway.IsNotFound(err):
		return nil, false, "", err
	}
	prefix := strings.ToLower(q)
	if _, key, ok := gateway.NormalizeEmail(q); ok {
		exact, err := p.Read.ContactsByEmail(ctx, w, key, most)
		if err != nil {
			return nil, false, "", err
		}
		add(exact)
		known, prefix = len(exact) > 0, key
	}
	some, err := p.Read.ContactsByEmailPrefix(ctx, w, prefix, most)
	if err != nil {
		return nil, false, "", err
	}
	add(some)
	if len(all) >= most || strings.Contains(q, "@") {
		return all, known, "", nil
	}
	named, err := p.Read.FindNames(ctx, w, q, most)
	if err != nil {
		return all, known, "", err
	}
	add(named.Contacts)
	return all, known, namesSearched(named), nil
}

// postEmployee makes a contact an employee: one that was picked, or that has the e-mail
// that was typed, or a new one with it.
func (p *panel) postEmployee(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	id, _ := strconv.ParseInt(f.Get("employee"), 10, 64)
	contact := gateway.ContactID(id)
	create := cmp.Or(f.Get("employee_new"), f.Get("q"))
	email, key, ok := gateway.NormalizeEmail(create)
	if contact <= 0 && ok {
		done, err := p.addOne(c)
		if err != nil {
			return err
		}
		defer done()
		have, err := p.Read.ContactsByEmail(ctx, c.Workspace.ID, key, 1)
		if err != nil {
			return err
		}
		if len(have) > 0 {
			contact = have[0].ID
		}
	}
	switch {
	case contact > 0:
	case !ok:
		f.fail("employee", "Choose a contact from the list, or type an e-mail address.")
	case f.Get("employee_new") == "" && f.Get("create") == "":
		f.fail("employee", "No contact has the e-mail "+clip(email, 80)+" yet: choose “Create” to make one.")
	}
	if f.Failed() {
		return p.renderCompany(c, http.StatusUnprocessableEntity, f, nil)
	}
	added := contact == 0
	err = p.Gateway.Edit(ctx, c.Workspace, c.author(), func(e *gateway.Editor) error {
		to := contact
		if added {
			var err error
			if to, err = e.CreateContact(gateway.ContactPatch{Email: &email}); err != nil {
				return err
			}
			if err := e.Audit("contact.add", "contact", strconv.FormatInt(int64(to), 10), map[string]any{"email": email}); err != nil {
				return err
			}
		}
		if err := e.AddMember(view.ID, to); err != nil {
			return err
		}
		if added {
			// The rule of e-mail domains may have found a company for it, too; the one that
			// it is made for comes first.
			if err := e.SetPrimaryCompany(to, view.ID); err != nil {
				return err
			}
		}
		return e.Audit("company.join", "company", strconv.FormatInt(int64(view.ID), 10), map[string]any{"contact": int64(to)})
	})
	if gateway.IsNotFound(err) {
		f.fail("employee", "This contact is not there any more.")
	} else if err := f.take(err); err != nil {
		return err
	}
	if f.Problem != "" {
		f.fail("employee", f.Problem)
		f.Problem = ""
	}
	if f.Failed() {
		return p.renderCompany(c, http.StatusUnprocessableEntity, f, nil)
	}
	if added {
		c.toast(clip(email, 80) + " is a contact now, and an employee.")
	} else {
		c.toast("The employee is added.")
	}
	return c.redirect(companyHref(view.ID) + "?tab=employees")
}

// employeeAction does something to the employee that a form names.
func (p *panel) employeeAction(c *call, action, done string, do func(e *gateway.Editor, company gateway.CompanyID, contact gateway.ContactID) error) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	id, err := c.id("id")
	if err != nil {
		return err
	}
	contact, err := strconv.ParseInt(f.Get("contact"), 10, 64)
	if err != nil {
		return gateway.Errorf(gateway.CodeNotFound, "There is no such contact.")
	}
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		if err := do(e, gateway.CompanyID(id), gateway.ContactID(contact)); err != nil {
			return err
		}
		return e.Audit(action, "company", strconv.FormatInt(id, 10), map[string]any{"contact": contact})
	})
	if err != nil {
		return err
	}
	c.toast(done)
	return c.redirect(companyHref(gateway.CompanyID(id)) + "?tab=employees")
}

func (p *panel) postEmployeeRemove(c *call) error {
	return p.employeeAction(c, "company.leave", "They are a former employee now.", func(e *gateway.Editor, company gateway.CompanyID, contact gateway.ContactID) error {
		return e.RemoveMember(company, contact)
	})
}

func (p *panel) postEmployeePrimary(c *call) error {
	return p.employeeAction(c, "company.primary", "This is their primary company now.", func(e *gateway.Editor, company gateway.CompanyID, contact gateway.ContactID) error {
		return e.SetPrimaryCompany(contact, company)
	})
}

func (p *panel) postCompanyDelete(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	view, err := p.openCompany(c)
	if err != nil {
		return err
	}
	if want := typedWord(view.Name); f.Get("confirm") != want {
		return p.renderCompany(c, http.StatusUnprocessableEntity, &form{Problem: "Nothing was deleted: type “" + want + "” to delete this company."}, nil)
	}
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		if err := e.DeleteCompany(view.ID); err != nil {
			return err
		}
		return e.Audit("company.delete", "company", strconv.FormatInt(int64(view.ID), 10), map[string]any{"name": clip(view.Name, 200), "employees": view.EmployeesCount})
	})
	if err != nil {
		return err
	}
	c.toast("The company is deleted.")
	return c.redirect(panelPath + "/companies")
}
