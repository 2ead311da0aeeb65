package web

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// companiesPage is a page of the list of companies. Query is the text that is searched,
// Attributes and Tags what can be filtered by.
type companiesPage struct {
	*form
	Count      int64
	Columns    []column
	Rows       []companyRow
	Chips      []chip
	Query      string
	Kept       [][2]string // what the filters' forms keep of the address
	Attributes []option
	Ops        []option
	Tags       []option
	Filtered   bool
	Stopped    bool // not all was looked at; More looks on
	Note       string
	Order      orderMenu
	More       *more
	// Changed has the last column say when the companies were changed, not when their people
	// were active.
	Changed bool
}

type companyRow struct {
	*gateway.CompanyView
	Href    string
	Label   string
	Domains []string
	Tags    []string
	// Active is when one of its people was last active: of the newest of them if there are
	// Others.
	Active gateway.LastActive
	Others bool
}

// companyFilter is what the address of the list says.
type companyFilter struct {
	q, tag string
	where  []string // field:op:value
	order  listOrder
}

const (
	// maxFilters is how many filters of attributes one list has.
	maxFilters = 10
	// companyPatience is after how much time a search that finds little shows what it has.
	companyPatience = 50 * time.Millisecond
)

// filterOps are the operators of filters, by their name in an address.
var filterOps = []struct {
	name, label string
	op          gateway.Op
}{
	{"is", "is", gateway.OpEqual},
	{"has", "contains", gateway.OpIContains},
	{"starts", "starts with", gateway.OpIStartsWith},
	{"over", "is more than", gateway.OpGreater},
	{"under", "is less than", gateway.OpLess},
}

func readCompanyFilter(v url.Values) companyFilter {
	clean := func(s string) string {
		s = strings.ToValidUTF8(strings.TrimSpace(s), "")
		return strings.ToValidUTF8(s[:min(len(s), maxSearch)], "")
	}
	f := companyFilter{q: clean(v.Get("q")), tag: clean(v.Get("tag")), order: readOrder(v)}
	for _, one := range v["f"] {
		if len(f.where) < maxFilters && strings.Count(one, ":") >= 2 {
			f.where = append(f.where, clean(one))
		}
	}
	if field, value := clean(v.Get("field")), clean(v.Get("value")); field != "" && value != "" && len(f.where) < maxFilters { // of the form
		f.where = append(f.where, field+":"+clean(v.Get("op"))+":"+value)
	}
	return f
}

func (f companyFilter) href(more ...string) string {
	v := url.Values{}
	if f.q != "" {
		v.Set("q", f.q)
	}
	if f.tag != "" {
		v.Set("tag", f.tag)
	}
	for _, one := range f.where {
		v.Add("f", one)
	}
	if f.order != (listOrder{}) {
		v.Set("sort", f.order.String())
	}
	for i := 0; i < len(more); i += 2 {
		v.Set(more[i], more[i+1])
	}
	if len(v) == 0 {
		return panelPath + "/companies"
	}
	return panelPath + "/companies?" + v.Encode()
}

// conditions are what a company must meet, and what to say of each filter.
func (f companyFilter) conditions(fields []companyField) (where []gateway.Condition, chips []chip) {
	if f.q != "" {
		where = append(where, gateway.Condition{Field: "name", Op: gateway.OpIContains, Value: gateway.TextValue(f.q)})
		one := f
		one.q = ""
		chips = append(chips, chip{Label: "“" + f.q + "”", Href: one.href(), Active: true, Remove: true, Icon: "search"})
	}
	if f.tag != "" {
		where = append(where, gateway.Condition{Field: "tags", Value: gateway.TextValue(f.tag)})
		one := f
		one.tag = ""
		chips = append(chips, chip{Label: f.tag, Href: one.href(), Active: true, Remove: true, Icon: "tag"})
	}
	for i, text := range f.where {
		parts := strings.SplitN(text, ":", 3)
		at := slices.IndexFunc(fields, func(x companyField) bool { return x.Name == parts[0] })
		op := slices.IndexFunc(filterOps, func(x struct {
			name, label string
			op          gateway.Op
		}) bool {
			return x.name == parts[1]
		})
		if at < 0 || op < 0 {
			continue
		}
		value := gateway.TextValue(parts[2])
		if t := fields[at].Type; t != gateway.TypeList && t != gateway.TypeJSON {
			if v, ok := gateway.Convert(value, t); ok {
				value = v
			}
		}
		where = append(where, gateway.Condition{Field: parts[0], Op: filterOps[op].op, Value: value})
		one := f
		one.where = slices.Delete(slices.Clone(f.where), i, i+1)
		chips = append(chips, chip{Label: fields[at].Label + " " + filterOps[op].label + " " + parts[2], Href: one.href(), Active: true, Remove: true, Icon: "filter"})
	}
	return where, chips
}

// companyColumns are the columns of the list, and what it is sorted by.
var companyColumns = []struct {
	column
	sortField
}{
	{column{Label: "Name"}, sortField{Name: "name", Label: "Name"}},
	{column{Label: "Company id", Wide: true}, sortField{Name: "custom_id", Label: "Company id"}},
	{column{Label: "Domains", Wide: true}, sortField{Type: gateway.TypeList}},
	{column{Label: "Employees", Numeric: true}, sortField{Name: "employees", Label: "Employees", Type: gateway.TypeNumber}},
	{column{Label: "Tags", Wide: true}, sortField{Type: gateway.TypeList}},
	{column{Label: "Last activity", Numeric: true}, sortField{Type: gateway.TypeList}},
}

// companyChange takes the place of the last column in a list that is sorted by it.
var companyChange = sortField{Name: "updated_at", Label: "Last change", Type: gateway.TypeDatetime}

// companySort is what an order of companies goes by, and whether they can be sorted by it
// at all: by a column, or when they were added.
func companySort(o listOrder) (sortField, bool) {
	if o == (listOrder{}) || o == oldestFirst {
		return sortField{Name: o.By, Label: "when they were added"}, true
	}
	for _, one := range companyColumns {
		if one.Name == o.By && sortableType(one.Type) {
			return one.sortField, true
		}
	}
	return companyChange, o.By == companyChange.Name
}

// companies lists companies, the newest first unless it is asked for in another order.
// When all its people were last active would take a look at each one's history, which a
// company of 200,000 employees has no time for: the list asks those who came last.
func (p *panel) companies(c *call) error {
	ctx := c.Request().Context()
	before := c.QueryParam("before")
	fields, err := p.companyFields(c)
	if err != nil {
		return err
	}
	f := readCompanyFilter(c.QueryParams())
	order, known := companySort(f.order)
	if !known {
		f.order = listOrder{}
	}
	asked := f.order // which a filter more may make possible
	v := companiesPage{form: &form{}, Query: f.q}
	if c.QueryParam("field") != "" {
		return c.Redirect(http.StatusSeeOther, f.href()) // the filter's form: to the address that can be kept
	}
	if v.Count, err = p.Read.CountCompanies(ctx, c.Workspace.ID); err != nil {
		return err
	}
	where, _ := f.conditions(fields)
	sorting := sorts{entity: gateway.EntityCompany, now: f.order, href: func(o listOrder) string {
		other := f
		other.order = o
		return other.href()
	}}
	begin := time.Now()
	found, err := p.listCompanies(ctx, c.Workspace.ID, f, sorting, where, before, companyPatience, v.Count <= gateway.MaxSorted)
	if err != nil {
		return err
	}
	if found.refused {
		v.Note = tooMany(order)
		f.order, sorting.now, before = listOrder{}, listOrder{}, ""
		if found, err = p.listCompanies(ctx, c.Workspace.ID, f, sorting, where, before, max(companyPatience-time.Since(begin), leastPatience), false); err != nil {
			return err
		}
	}
	_, v.Chips = f.conditions(fields) // with addresses of the order that the list has now
	v.Filtered = len(v.Chips) > 0
	sorting.any = found.short || v.Count <= gateway.MaxSorted || found.next == "" && before == ""
	if !sorting.any && v.Note == "" && f.order == (listOrder{}) && !found.stopped {
		if sorting.any, err = p.isShort(ctx, c.Workspace.ID, gateway.EntityCompany, where, companyPatience-time.Since(begin)); err != nil {
			return err
		}
	}
	v.Changed = f.order.By == companyChange.Name
	var in []sortField
	for i, one := range companyColumns {
		if in = append(in, one.sortField); v.Changed && i == len(companyColumns)-1 {
			one.column.Label, one.sortField = companyChange.Label, companyChange
		}
		v.Columns = append(v.Columns, sorting.column(one.column, one.sortField))
	}
	v.Order = sorting.menu(append(in, companyChange))
	rows := found.rows
	if f.q != "" && before == "" && len(f.where) == 0 && f.tag == "" && f.order == (listOrder{}) { // what it names exactly comes first
		exact, err := p.exactCompanies(c, f.q)
		if err != nil {
			return err
		}
		rows = append(exact, slices.DeleteFunc(rows, func(x *gateway.CompanyView) bool {
			return slices.ContainsFunc(exact, func(y *gateway.CompanyView) bool { return x.ID == y.ID })
		})...)
	}
	active, err := p.lastActive(ctx, c.Workspace.ID, rows)
	if err != nil {
		return err
	}
	for _, one := range rows {
		row := newCompanyRow(one)
		row.Active = active[one.ID]
		row.Others = one.EmployeesCount > int64(row.Active.Employees)
		v.Rows = append(v.Rows, row)
	}
	if found.next != "" {
		v.More, v.Stopped = &more{Href: f.href("before", found.next), Label: "Older companies"}, found.stopped
		if f.order != (listOrder{}) {
			v.More.Label = "More companies"
		}
		if found.stopped {
			v.More.Label = "Search on"
		}
	}
	for _, one := range fields {
		if one.Name != "tags" {
			v.Attributes = append(v.Attributes, option{one.Name, one.Label})
		}
	}
	for _, one := range filterOps {
		v.Ops = append(v.Ops, option{one.name, one.label})
	}
	tags, err := p.Read.Tags(ctx, c.Workspace.ID, 0, 200)
	if err != nil {
		return err
	}
	for _, one := range tags {
		v.Tags = append(v.Tags, option{one.Name, clip(one.Name, 60)})
	}
	for _, one := range f.where {
		v.Kept = append(v.Kept, [2]string{"f", one})
	}
	if f.tag != "" {
		v.Kept = append(v.Kept, [2]string{"tag", f.tag})
	}
	if asked != (listOrder{}) {
		v.Kept = append(v.Kept, [2]string{"sort", asked.String()})
	}
	return c.render(http.StatusOK, "companies", "Companies", v)
}

// listCompanies finds a page of the list, in the order that the filter asks for.
func (p *panel) listCompanies(ctx context.Context, w gateway.WorkspaceID, f companyFilter, sorting sorts, where []gateway.Condition, before string, patience time.Duration, short bool) (found sorted[*gateway.CompanyView], err error) {
	if f.order == (listOrder{}) {
		id, _ := strconv.ParseInt(before, 10, 64) // else from the start
		var next int64
		found.rows, next, found.stopped, err = p.findCompanies(ctx, w, where, max(id, 0), patience)
		if next > 0 {
			found.next = strconv.FormatInt(next, 10)
		}
		return found, err
	}
	return sortList(ctx, w, sorting, gateway.SortQuery{
		Where: where, By: f.order.By, Down: f.order.Down, After: parseSortPlace(before), Limit: listPage,
	}, short, len(where) > 0, patience, p.Read.SortCompanies, p.Read.CompaniesInOrder)
}

// lastActive is when the people of the companies of a page were last active.
func (p *panel) lastActive(ctx context.Context, w gateway.WorkspaceID, rows []*gateway.CompanyView) (map[gateway.CompanyID]gateway.LastActive, error) {
	ids := make([]gateway.CompanyID, len(rows))
	for i, one := range rows {
		ids[i] = one.ID
	}
	return p.Read.LastActive(ctx, w, ids)
}

func newCompanyRow(v *gateway.CompanyView) companyRow {
	return companyRow{CompanyView: v, Href: companyHref(v.ID), Label: companyLabel(&v.Company), Domains: texts(v.Attributes, "domains"), Tags: texts(v.Attributes, "tags")}
}

// findCompanies finds a page of companies. Of a search that finds few it shows what there
// is when its time is up: next is then where it stopped.
func (p *panel) findCompanies(ctx context.Context, w gateway.WorkspaceID, where []gateway.Condition, before int64, patience time.Duration) (found []*gateway.CompanyView, next int64, stopped bool, err error) {
	found, down, err := p.Read.SearchCompanies(ctx, w, gateway.Query{Where: where, Before: before, Limit: listPage + 1, Brief: true}, patience)
	switch {
	case err != nil:
		return nil, 0, false, err
	case len(found) > listPage:
		found = found[:listPage]
		return found, int64(found[listPage-1].ID), false, nil
	}
	return found, int64(down), down > 0, nil
}

// exactCompanies are those that a text names by their id or a domain.
func (p *panel) exactCompanies(c *call, q string) (all []*gateway.CompanyView, err error) {
	ctx := c.Request().Context()
	one, err := p.Read.CompanyByCustomID(ctx, c.Workspace.ID, q)
	switch {
	case err == nil:
		all = append(all, one)
	case !gateway.IsNotFound(err):
		return nil, err
	}
	domain, ok := gateway.NormalizeDomain(q)
	if !ok {
		return all, nil
	}
	listed, err := p.Read.CompaniesByDomain(ctx, c.Workspace.ID, []string{domain})
	if err != nil {
		return nil, err
	}
	for _, d := range listed {
		if slices.ContainsFunc(all, func(x *gateway.CompanyView) bool { return x.ID == d.CompanyID }) {
			continue
		}
		one, err := p.Read.Company(ctx, c.Workspace.ID, d.CompanyID)
		if gateway.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func companyHref(id gateway.CompanyID) string {
	return panelPath + "/companies/" + strconv.FormatInt(int64(id), 10)
}

// companyLabel is what a company is called.
func companyLabel(c *gateway.Company) string {
	return clip(cmp.Or(strings.TrimSpace(c.Name), c.CustomID, "Company "+strconv.FormatInt(int64(c.ID), 10)), 200)
}

// clip shortens a text to n runes.
func clip(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…"
		}
	}
	return s
}

// texts are the items of an attribute that is a list.
func texts(bag gateway.Attributes, name string) (all []string) {
	v, _ := bag.Get(name)
	for _, item := range gateway.Items(v) {
		all = append(all, gateway.Text(item))
	}
	return all
}

// newCompany shows the form for a new company.
func (p *panel) newCompany(c *call) error {
	return c.render(http.StatusOK, "company_new", "New company", &form{})
}

func (p *panel) postNewCompany(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	name, customID := f.Get("name"), f.Get("custom_id")
	domains, bad := domainList(f.Get("domains"))
	switch {
	case name == "":
		f.fail("name", "A company needs a name.")
	case len(name) > maxCompanyName:
		f.fail("name", "This name is too long.")
	}
	if bad != "" {
		f.fail("domains", "“"+clip(bad, 60)+"” is no domain, such as acme.com.")
	}
	if !f.Failed() {
		patch := gateway.CompanyPatch{Name: &name}
		if customID != "" {
			patch.CustomID = &customID
		}
		if len(domains) > 0 {
			patch.Attributes = []gateway.PayloadAttribute{{Name: "domains", Label: "domains", Value: gateway.ListValue(domains...)}}
		}
		var id gateway.CompanyID
		err := p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) (err error) {
			if id, err = e.CreateCompany(patch); err != nil {
				return err
			}
			return e.Audit("company.add", "company", strconv.FormatInt(int64(id), 10), map[string]any{"name": clip(name, 200)})
		})
		if err == nil {
			c.toast(clip(name, 60) + " is there. Add its employees.")
			return c.redirect(companyHref(id) + "?tab=employees")
		}
		if err := f.take(err, "name", "custom_id", "domains"); err != nil {
			return err
		}
	}
	return c.render(http.StatusUnprocessableEntity, "company_new", "New company", f)
}

// domainList reads domains that are separated by commas, spaces or lines; bad is the
// first that is none.
func domainList(text string) (domains []string, bad string) {
	for one := range strings.FieldsFuncSeq(text, func(r rune) bool { return strings.ContainsRune(", ;\r\n\t", r) }) {
		domain, ok := gateway.NormalizeDomain(one)
		if !ok {
			return nil, one
		}
		if !slices.Contains(domains, domain) {
			domains = append(domains, domain)
		}
	}
	return domains, ""
}
