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
	More       *more
}

type companyRow struct {
	*gateway.CompanyView
	Href    string
	Label   string
	Domains []string
	Tags    []string
}

// companyFilter is what the address of the list says.
type companyFilter struct {
	q, tag string
	where  []string // field:op:value
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
	f := companyFilter{q: clean(v.Get("q")), tag: clean(v.Get("tag"))}
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

func (f companyFilter) href(before int64) string {
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
	if before > 0 {
		v.Set("before", strconv.FormatInt(before, 10))
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
		chips = append(chips, chip{Label: "“" + f.q + "”", Href: one.href(0), Active: true, Remove: true, Icon: "search"})
	}
	if f.tag != "" {
		where = append(where, gateway.Condition{Field: "tags", Value: gateway.TextValue(f.tag)})
		one := f
		one.tag = ""
		chips = append(chips, chip{Label: f.tag, Href: one.href(0), Active: true, Remove: true, Icon: "tag"})
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
		chips = append(chips, chip{Label: fields[at].Label + " " + filterOps[op].label + " " + parts[2], Href: one.href(0), Active: true, Remove: true, Icon: "filter"})
	}
	return where, chips
}

// companies lists companies, the newest first, as the store can without sorting. When
// its people were last active would take a look at each one's history, which a company
// of 200,000 employees has no time for: the list shows when the company itself was
// changed, and the profile what its people did last.
func (p *panel) companies(c *call) error {
	ctx := c.Request().Context()
	before, _ := strconv.ParseInt(c.QueryParam("before"), 10, 64) // else from the start
	fields, err := p.companyFields(c)
	if err != nil {
		return err
	}
	f := readCompanyFilter(c.QueryParams())
	v := companiesPage{form: &form{}, Query: f.q, Columns: []column{{Label: "Name"}, {Label: "Company id", Wide: true}, {Label: "Domains", Wide: true}, {Label: "Employees", Numeric: true}, {Label: "Tags", Wide: true}, {Label: "Last change", Numeric: true}}}
	if c.QueryParam("field") != "" {
		return c.Redirect(http.StatusSeeOther, f.href(0)) // the filter's form: to the address that can be kept
	}
	where, chips := f.conditions(fields)
	v.Chips, v.Filtered = chips, len(chips) > 0
	found, next, stopped, err := p.findCompanies(ctx, c.Workspace.ID, where, max(before, 0))
	if err != nil {
		return err
	}
	if f.q != "" && before == 0 { // what it names exactly comes first
		exact, err := p.exactCompanies(c, f.q)
		if err != nil {
			return err
		}
		if len(f.where) == 0 && f.tag == "" {
			found = append(exact, slices.DeleteFunc(found, func(x *gateway.CompanyView) bool {
				return slices.ContainsFunc(exact, func(y *gateway.CompanyView) bool { return x.ID == y.ID })
			})...)
		}
	}
	for _, one := range found {
		v.Rows = append(v.Rows, newCompanyRow(one))
	}
	if next > 0 {
		v.More, v.Stopped = &more{Href: f.href(next), Label: "Older companies"}, stopped
		if stopped {
			v.More.Label = "Search on"
		}
	}
	if v.Count, err = p.Read.CountCompanies(ctx, c.Workspace.ID); err != nil {
		return err
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
	return c.render(http.StatusOK, "companies", "Companies", v)
}

func newCompanyRow(v *gateway.CompanyView) companyRow {
	return companyRow{CompanyView: v, Href: companyHref(v.ID), Label: companyLabel(&v.Company), Domains: texts(v.Attributes, "domains"), Tags: texts(v.Attributes, "tags")}
}

// findCompanies finds a page of companies. Of a search that finds few it shows what there
// is when its time is up: next is then where it stopped.
func (p *panel) findCompanies(ctx context.Context, w gateway.WorkspaceID, where []gateway.Condition, before int64) (found []*gateway.CompanyView, next int64, stopped bool, err error) {
	found, down, err := p.Read.SearchCompanies(ctx, w, gateway.Query{Where: where, Before: before, Limit: listPage + 1, Brief: true}, companyPatience)
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
