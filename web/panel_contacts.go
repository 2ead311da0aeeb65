package web

import (
	"cmp"
	"context"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file lists contacts.
//
// Decisions
//
//   - The list is newest first unless it is asked for in another order; see panel_sort.go.
//   - Nothing but an index may be asked for all contacts at once. A filter that no index
//     answers goes through the list until the page is full or
//     firstPatience is over; then what was found is shown, with a link that goes on from
//     there. So an answer takes a tenth of a second, whatever the filter is.
//   - Filters are in the address, columns in the agent's session: a list that is sent to
//     a colleague shows them the same contacts in their own columns.

// listPage is how many rows a page of a list has.
const listPage = 50

const (
	firstPatience = 50 * time.Millisecond // of a filter's first answer
	morePatience  = 2 * time.Second       // of the answers to "Search on"
	maxTerms      = 10                    // filters of a list
	maxTerm       = 1024                  // bytes of what a filter compares with
	maxColumns    = 12                    // that an agent may choose
	// narrowColumns are how many columns behind the name narrow screens have room for.
	narrowColumns = 1
	maxBulk       = 200 // contacts that are changed at once
	// maxEmployeesAtOnce are how many employees of a company are looked at before the time
	// is looked at again.
	maxEmployeesAtOnce = 200
)

// contactsPage is the list.
type contactsPage struct {
	*form
	Count   int64
	Tabs    []chip
	Chips   []chip
	Columns []column
	Rows    []contactRow
	More    *more
	// Stopped says how far a search went that took too long.
	Stopped string
	// Note says what the order leaves out.
	Note     string
	Order    orderMenu
	Filtered bool
	Fields   []option
	Ops      []option
	Lists    []option
	Tags     []string
	State    [][2]string // of the address, for forms that keep it
	Here     string
	Choices  []columnChoice
	Company  picker
}

type contactRow struct {
	ID    gateway.ContactID
	Href  string
	Label string
	Cells []listCell
}

// listCell is a value in a table: tags, a time, or a text.
type listCell struct {
	Text    string
	Time    template.HTML
	Tags    []string
	Numeric bool
	Wide    bool // it is left out on narrow screens
}

type columnChoice struct {
	Name, Label string
	Chosen      bool
}

// contactField is what contacts can be filtered by and listed with.
type contactField struct {
	Name, Label string
	Type        gateway.Type
	standard    bool
	def         *gateway.AttributeDef // of a custom attribute
}

// contactFields are the fields that no attribute is behind.
var contactFields = []contactField{
	{"email", "E-mail", gateway.TypeText, true, nil},
	{"custom_id", "Custom id", gateway.TypeText, true, nil},
	{"last_seen", "Last seen", gateway.TypeDatetime, true, nil},
	{"first_seen", "First seen", gateway.TypeDatetime, true, nil},
	{"page_views", "Page views", gateway.TypeNumber, true, nil},
	{"created_at", "Created", gateway.TypeDatetime, true, nil},
	{"updated_at", "Changed", gateway.TypeDatetime, true, nil},
}

// contactFields are all fields of the workspace's contacts: name first, then by label.
func (p *panel) contactFields(ctx context.Context, w gateway.WorkspaceID) ([]contactField, error) {
	all := slices.Clone(contactFields)
	for _, a := range gateway.StandardAttrs(gateway.EntityContact) {
		all = append(all, contactField{a.Name, a.Label, a.Type, true, nil})
	}
	defs, err := p.Read.AttributeDefs(ctx, w)
	if err != nil {
		return nil, err
	}
	for i := range defs {
		if d := &defs[i]; d.Entity == gateway.EntityContact {
			all = append(all, contactField{d.Name, brief(cmp.Or(d.Label, d.Name)), d.Type, false, d})
		}
	}
	slices.SortStableFunc(all, func(a, b contactField) int {
		switch {
		case a.Name == "name":
			return -1
		case b.Name == "name":
			return 1
		}
		return strings.Compare(strings.ToLower(a.Label), strings.ToLower(b.Label))
	})
	return all, nil
}

func findField(all []contactField, name string) (contactField, bool) {
	i := slices.IndexFunc(all, func(f contactField) bool { return f.Name == name })
	if i < 0 {
		return contactField{}, false
	}
	return all[i], true
}

// contactOps are the operators by their names in the address.
var contactOps = []struct {
	name, label string
	op          gateway.Op
}{
	{"is", "is", gateway.OpEqual},
	{"has", "contains", gateway.OpIContains},
	{"starts", "starts with", gateway.OpIStartsWith},
	{"ends", "ends with", gateway.OpIEndsWith},
	{"gt", "is more than, or after", gateway.OpGreater},
	{"gte", "is at least", gateway.OpAtLeast},
	{"lt", "is less than, or before", gateway.OpLess},
	{"lte", "is at most", gateway.OpAtMost},
}

// The tabs of the list.
const (
	tabContacts = ""
	tabVisitors = "visitors"
	tabAll      = "all"
)

// contactFilter is what the address of the list says.
type contactFilter struct {
	Tab     string
	Terms   []filterTerm
	Company gateway.CompanyID
	Order   listOrder
}

// filterTerm compares a field with a text.
type filterTerm struct{ Field, Op, Value string }

// readFilter reads an address. What it can't be is left out.
func readFilter(q url.Values) (f contactFilter) {
	switch tab := q.Get("tab"); tab {
	case tabVisitors, tabAll:
		f.Tab = tab
	}
	for _, text := range q["f"] {
		parts := strings.SplitN(text, ":", 3)
		if len(parts) == 3 && len(text) <= maxTerm && len(f.Terms) < maxTerms {
			f.Terms = append(f.Terms, filterTerm{parts[0], parts[1], strings.TrimSpace(parts[2])})
		}
	}
	id, _ := strconv.ParseInt(q.Get("company"), 10, 64) // else of all companies
	f.Company = gateway.CompanyID(max(id, 0))
	f.Order = readOrder(q)
	return f
}

// values are the parameters that readFilter reads.
func (f contactFilter) values() url.Values {
	q := url.Values{}
	if f.Tab != "" {
		q.Set("tab", f.Tab)
	}
	for _, t := range f.Terms {
		q.Add("f", t.Field+":"+t.Op+":"+t.Value)
	}
	if f.Company != 0 {
		q.Set("company", strconv.FormatInt(int64(f.Company), 10))
	}
	if f.Order != (listOrder{}) {
		q.Set("sort", f.Order.String())
	}
	return q
}

func (f contactFilter) href(more ...string) string {
	q := f.values()
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	if len(q) == 0 {
		return panelPath + "/contacts"
	}
	return panelPath + "/contacts?" + q.Encode()
}

func (f contactFilter) without(i int) contactFilter {
	f.Terms = slices.Delete(slices.Clone(f.Terms), i, i+1)
	return f
}

// conditions are what a term asks for, and what to call it. It is a CodeInvalid that
// says why if it asks for nothing that can be.
func (t filterTerm) conditions(fields []contactField, lists []gateway.List) (where []gateway.Condition, label string, err error) {
	refuse := func(text string) ([]gateway.Condition, string, error) {
		return nil, "", &gateway.Error{Code: gateway.CodeInvalid, Field: "value", Message: text}
	}
	i := slices.IndexFunc(contactOps, func(o struct {
		name, label string
		op          gateway.Op
	}) bool {
		return o.name == t.Op
	})
	if i < 0 || t.Value == "" {
		return refuse("Say what to compare with.")
	}
	op := contactOps[i].op
	if t.Field == "list" {
		id, err := strconv.ParseInt(t.Value, 10, 64)
		if err != nil || op != gateway.OpEqual {
			return refuse("Choose one of the lists.")
		}
		label = "List " + t.Value
		for _, l := range lists {
			if int64(l.ID) == id {
				label = "List: " + brief(l.Name)
			}
		}
		return []gateway.Condition{{Field: "list", Value: gateway.IntValue(id)}}, label, nil
	}
	f, ok := findField(fields, t.Field)
	if !ok {
		return refuse("There is no such attribute any more.")
	}
	words := contactOps[i].label
	if first, second, two := strings.Cut(words, ", or "); two {
		if words = first; f.Type == gateway.TypeDate || f.Type == gateway.TypeDatetime {
			words = "is " + second
		}
	}
	label = f.Label + " " + words + " " + brief(t.Value)
	texts := op == gateway.OpIContains || op == gateway.OpIStartsWith || op == gateway.OpIEndsWith
	one := func(v gateway.Value) ([]gateway.Condition, string, error) {
		return []gateway.Condition{{Field: f.Name, Op: op, Value: v}}, label, nil
	}
	value := gateway.TextValue(t.Value)
	if a, standard := gateway.Standard(gateway.EntityContact, f.Name); standard && !texts && f.Type != gateway.TypeText && f.Type != gateway.TypeList && f.Type != gateway.TypeJSON || f.Name == "phone_number" && op == gateway.OpEqual {
		v, _, ok := a.Convert(value)
		if !ok || v.IsNull() {
			return refuse(fieldHint(f))
		}
		return one(v)
	}
	switch f.Type {
	case gateway.TypeNumber, gateway.TypeBool, gateway.TypeDate, gateway.TypeDatetime:
		if texts {
			return refuse(f.Label + " can be compared, but not searched for a text: choose another operator.")
		}
		v, ok := gateway.Convert(value, f.Type)
		if !ok {
			return refuse(fieldHint(f))
		}
		if day, isDay := gateway.ParseDate(t.Value); f.Type == gateway.TypeDatetime && isDay && (op == gateway.OpEqual || op == gateway.OpGreater || op == gateway.OpAtMost) {
			// A day is all its hours: on it, after it, up to its end.
			next := gateway.DatetimeValue(day.AddDate(0, 0, 1))
			switch op {
			case gateway.OpEqual:
				return []gateway.Condition{{Field: f.Name, Op: gateway.OpAtLeast, Value: v}, {Field: f.Name, Op: gateway.OpLess, Value: next}}, label, nil
			case gateway.OpGreater:
				return []gateway.Condition{{Field: f.Name, Op: gateway.OpAtLeast, Value: next}}, label, nil
			}
			return []gateway.Condition{{Field: f.Name, Op: gateway.OpLess, Value: next}}, label, nil
		}
		return one(v)
	}
	return one(value)
}

// fieldHint says what values of a field look like.
func fieldHint(f contactField) string {
	switch {
	case f.Name == "status":
		return "Write visitor or user."
	case f.Name == "gender":
		return "Write male, female or unknown."
	case f.Name == "phone_number":
		return "Write a phone number, such as +48 123 456 789."
	}
	switch f.Type {
	case gateway.TypeNumber:
		if f.def != nil && f.def.Integer {
			return "Write a whole number."
		}
		return "Write a number."
	case gateway.TypeBool:
		return "Write true or false."
	case gateway.TypeDate, gateway.TypeDatetime:
		return "Write a date, such as 2026-01-31."
	case gateway.TypeJSON:
		return `Write JSON, such as {"plan": "pro"}.`
	}
	return "This value doesn’t fit."
}

// contacts lists contacts.
func (p *panel) contacts(c *call) error {
	ctx := c.Request().Context()
	q := c.QueryParams()
	filter := readFilter(q)
	v := contactsPage{form: &form{Values: q}}
	fields, err := p.contactFields(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	lists, err := p.Read.Lists(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	if q.Has("field") { // a filter is added
		t := filterTerm{q.Get("field"), cmp.Or(q.Get("op"), "is"), strings.TrimSpace(q.Get("value"))}
		_, _, err := t.conditions(fields, lists)
		switch {
		case err != nil:
			if err := v.take(err, "value"); err != nil {
				return err
			}
		case len(filter.Terms) >= maxTerms:
			v.fail("value", "These are as many filters as there can be at once.")
		case len(t.Value) > maxTerm/2:
			v.fail("value", "That is too long to search for.")
		default:
			if !slices.Contains(filter.Terms, t) {
				filter.Terms = append(filter.Terms, t)
			}
			return c.Redirect(http.StatusSeeOther, filter.href())
		}
	}
	order, known := contactSort(filter.Order, fields)
	if !known {
		filter.Order = listOrder{}
	}
	if q.Has("company_new") { // what the form of the filter sends besides
		return c.Redirect(http.StatusSeeOther, filter.href())
	}
	var where []gateway.Condition
	for i, t := range filter.Terms {
		some, label, err := t.conditions(fields, lists)
		if err != nil {
			label = t.Field + " " + t.Op + " " + brief(t.Value)
			if err := v.take(err); err != nil {
				return err
			}
			v.Problem = "A filter is left out: " + v.Problem
		}
		where = append(where, some...)
		v.Chips = append(v.Chips, chip{Label: label, Href: filter.without(i).href(), Active: true, Remove: true})
	}
	switch filter.Tab {
	case tabContacts:
		where = append(where, gateway.Condition{Field: "status", Value: gateway.IntValue(gateway.StatusUser)})
	case tabVisitors:
		where = append(where, gateway.Condition{Field: "status", Value: gateway.IntValue(gateway.StatusVisitor)})
	}
	if v.Count, err = p.Read.CountContacts(ctx, c.Workspace.ID); err != nil {
		return err
	}
	short := v.Count <= gateway.MaxSorted
	if filter.Company != 0 {
		co, err := p.Read.Company(ctx, c.Workspace.ID, filter.Company)
		if err != nil {
			return err
		}
		short = short || co.EmployeesCount <= gateway.MaxSorted
		rest := filter
		rest.Company = 0
		v.Chips = append(v.Chips, chip{Label: "Employees of " + companyTitle(co), Href: rest.href(), Active: true, Remove: true, Icon: "company"})
	}
	v.Filtered = len(v.Chips) > 0
	for _, tab := range []chip{{Label: "Contacts"}, {Label: "Visitors"}, {Label: "All"}} {
		other := filter
		other.Tab = map[string]string{"Contacts": tabContacts, "Visitors": tabVisitors, "All": tabAll}[tab.Label]
		v.Tabs = append(v.Tabs, chip{Label: tab.Label, Href: other.href(), Active: other.Tab == filter.Tab})
	}
	sorting := sorts{entity: gateway.EntityContact, now: filter.Order, href: func(o listOrder) string {
		other := filter
		other.Order = o
		return other.href()
	}}
	if filter.Tab == tabVisitors {
		sorting.not = []string{"email", "custom_id", "phone_number"} // which hardly any has
	}
	if filter.Company != 0 {
		sorting.not = append(sorting.not, "id", "email", "custom_id", "phone_number", "last_seen")
	}
	begin, patience := time.Now(), firstPatience
	if q.Has("on") {
		patience = morePatience
	}
	found, err := p.sortContacts(ctx, c.Workspace.ID, filter, sorting, where, q.Get("before"), patience, short)
	if err != nil {
		return err
	}
	shown := filter // in the order that the list has
	if found.refused {
		v.Note = tooMany(order)
		shown.Order, sorting.now = listOrder{}, listOrder{}
		q.Del("before")
		if found, err = p.searchList(ctx, c.Workspace.ID, filter.Company, where, "", max(patience-time.Since(begin), leastPatience)); err != nil {
			return err
		}
	} else if filter.Order != (listOrder{}) {
		short = found.short
		if !short {
			v.Note = leftOut(filter.Order)
		}
	}
	sorting.any = short || found.next == "" && !q.Has("before")
	if !sorting.any && filter.Order == (listOrder{}) && filter.Company == 0 && !found.stopped {
		if sorting.any, err = p.isShort(ctx, c.Workspace.ID, gateway.EntityContact, where, firstPatience-time.Since(begin)); err != nil {
			return err
		}
	}
	v.Here = filter.href()
	for name, values := range filter.values() {
		for _, one := range values {
			v.State = append(v.State, [2]string{name, one})
		}
	}
	slices.SortStableFunc(v.State, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	if found.next != "" {
		v.More = &more{Href: shown.href("before", found.next), Label: "Older contacts"}
		if shown.Order != (listOrder{}) {
			v.More.Label = "More contacts"
		}
		if found.stopped {
			v.More = &more{Href: shown.href("before", found.next, "on", "1"), Label: "Search on"}
			v.Stopped = "So far " + count(int64(len(found.rows)), "contact", "contacts") + " found: not all have been looked at."
		}
	}
	chosen := p.chosenColumns(c, fields)
	v.Columns = []column{sorting.column(column{Label: "Name"}, sortField{Name: "name"})}
	in := []sortField{{Name: "name", Label: "Name"}}
	for i, name := range chosen {
		f, _ := contactSort(listOrder{By: name}, fields)
		field, _ := findField(fields, name)
		v.Columns = append(v.Columns, sorting.column(column{Label: f.Label, Numeric: numericField(field), Wide: i >= narrowColumns}, f))
		in = append(in, f)
	}
	for _, name := range []string{"email", "custom_id", "phone_number", "last_seen", filter.Order.By} {
		f, ok := contactSort(listOrder{By: name}, fields)
		if ok && name != "" && name != "id" && !slices.ContainsFunc(in, func(x sortField) bool { return x.Name == name }) {
			in = append(in, f)
		}
	}
	v.Order = sorting.menu(in)
	v.Choices = append(v.Choices, columnChoice{"company", "Company", slices.Contains(chosen, "company")})
	for _, f := range fields {
		if f.Name != "name" {
			v.Choices = append(v.Choices, columnChoice{f.Name, f.Label, slices.Contains(chosen, f.Name)})
		}
		v.Fields = append(v.Fields, option{f.Name, f.Label})
	}
	for _, o := range contactOps {
		v.Ops = append(v.Ops, option{o.name, o.label})
	}
	for _, l := range lists {
		v.Lists = append(v.Lists, option{strconv.FormatInt(int64(l.ID), 10), brief(l.Name)})
	}
	tags, err := p.Read.Tags(ctx, c.Workspace.ID, 0, 100)
	if err != nil {
		return err
	}
	for _, t := range tags {
		v.Tags = append(v.Tags, brief(t.Name))
	}
	v.Company = picker{ID: "filter-company", Name: "company", Label: "Company", Placeholder: "Name, id or domain", Source: panelPath + "/contacts/companies?only=1", Submit: true}
	for _, view := range found.rows {
		v.Rows = append(v.Rows, listRow(view, chosen, fields))
	}
	status := http.StatusOK
	if v.Failed() {
		status = http.StatusUnprocessableEntity
	}
	return c.render(status, "contacts", "Contacts", v)
}

// foundContacts is a page of the list, in an order or newest first.
type foundContacts = sorted[*gateway.ContactView]

// contactSort is what an order of contacts goes by, and whether there is such a field.
func contactSort(o listOrder, fields []contactField) (sortField, bool) {
	switch o.By {
	case "":
		return sortField{}, o == listOrder{}
	case "id":
		return sortField{Name: "id", Label: "when they were added", Type: gateway.TypeNumber}, true
	case "company":
		return sortField{Name: "company", Label: "Company"}, true
	case "gender", "status":
		// Numbers that are shown as words: in the order of neither they say anything.
		f, _ := findField(fields, o.By)
		return sortField{Name: f.Name, Label: f.Label, Type: gateway.TypeList}, false
	}
	f, ok := findField(fields, o.By)
	return sortField{Name: f.Name, Label: f.Label, Type: f.Type}, ok && sortableType(f.Type)
}

// sortContacts finds a page of the list in the order that the filter asks for.
func (p *panel) sortContacts(ctx context.Context, w gateway.WorkspaceID, filter contactFilter, sorting sorts, where []gateway.Condition, before string, patience time.Duration, short bool) (foundContacts, error) {
	if filter.Order == (listOrder{}) {
		return p.searchList(ctx, w, filter.Company, where, before, patience)
	}
	return sortList(ctx, w, sorting, gateway.SortQuery{
		Where: where, Company: filter.Company, By: filter.Order.By, Down: filter.Order.Down, After: parseSortPlace(before), Limit: listPage,
	}, short, len(filter.Terms) > 0, patience, p.Read.SortContacts, p.Read.ContactsInOrder)
}

// searchList finds a page of the list: of a company's employees, or of all contacts.
func (p *panel) searchList(ctx context.Context, w gateway.WorkspaceID, company gateway.CompanyID, where []gateway.Condition, place string, patience time.Duration) (foundContacts, error) {
	if company != 0 {
		return p.searchEmployees(ctx, w, company, where, place, patience)
	}
	before, _ := strconv.ParseInt(place, 10, 64) // else from the start
	rows, down, err := p.findContacts(ctx, w, where, max(before, 0), listPage+1, patience)
	f := foundContacts{rows: rows}
	switch {
	case err != nil:
		return f, err
	case len(rows) > listPage:
		f.rows = rows[:listPage]
		f.next = strconv.FormatInt(int64(rows[listPage-1].ID), 10)
	case down > 0:
		f.next, f.stopped = strconv.FormatInt(int64(down), 10), true
	}
	return f, nil
}

// findContacts finds contacts before an id (0: from the newest on) until there are limit
// of them or patience is over; then down is the id down to which it has looked, else 0.
func (p *panel) findContacts(ctx context.Context, w gateway.WorkspaceID, where []gateway.Condition, before int64, limit int, patience time.Duration) (rows []*gateway.ContactView, down gateway.ContactID, err error) {
	if len(where) == 0 {
		rows, err = p.Read.Contacts(ctx, w, gateway.ContactID(before), limit)
		return rows, 0, err
	}
	return p.Read.SearchContacts(ctx, w, gateway.Query{Where: where, Before: before, Limit: limit}, patience)
}

// searchEmployees is searchList among the employees of a company, who came last first.
func (p *panel) searchEmployees(ctx context.Context, w gateway.WorkspaceID, company gateway.CompanyID, where []gateway.Condition, before string, patience time.Duration) (f foundContacts, err error) {
	q := gateway.MemberQuery{Limit: listPage + 1}
	if since, id, ok := parsePlace(before); ok {
		q.BeforeSince, q.BeforeContact = since, gateway.ContactID(id)
	}
	for begin := time.Now(); ; q.Limit = maxEmployeesAtOnce {
		members, err := p.Read.Members(ctx, w, company, q)
		if err != nil {
			return f, err
		}
		ids := make([]gateway.ContactID, len(members))
		for i := range members {
			ids[i] = members[i].ContactID
		}
		met, err := p.Read.ContactsAmong(ctx, w, ids, where) // who was deleted meanwhile is not
		if err != nil {
			return f, err
		}
		for i := range members {
			m := &members[i]
			if len(met) == 0 || met[0].ID != m.ContactID {
				continue
			}
			if len(f.rows) == listPage { // so there is one more
				f.next = formatPlace(q.BeforeSince, int64(q.BeforeContact))
				return f, nil
			}
			f.rows, met = append(f.rows, met[0]), met[1:]
			q.BeforeSince, q.BeforeContact = m.Since, m.ContactID
		}
		if len(members) < q.Limit {
			return f, nil
		}
		last := &members[len(members)-1]
		q.BeforeSince, q.BeforeContact = last.Since, last.ContactID
		if len(f.rows) == listPage || time.Since(begin) > patience {
			f.next, f.stopped = formatPlace(q.BeforeSince, int64(q.BeforeContact)), len(f.rows) < listPage
			return f, nil
		}
	}
}

// formatPlace writes where a page by time and id begins.
func formatPlace(at time.Time, id int64) string {
	return strconv.FormatInt(at.UnixMicro(), 10) + "." + strconv.FormatInt(id, 10)
}

func parsePlace(text string) (at time.Time, id int64, ok bool) {
	first, second, ok := strings.Cut(text, ".")
	micros, errAt := strconv.ParseInt(first, 10, 64)
	id, errID := strconv.ParseInt(second, 10, 64)
	if !ok || errAt != nil || errID != nil || micros <= 0 || id <= 0 {
		return time.Time{}, 0, false
	}
	return time.UnixMicro(micros).UTC(), id, true
}

var usualColumns = []string{"email", "company", "tags", "last_seen"}

// chosenColumns are the columns behind the name.
func (p *panel) chosenColumns(c *call, fields []contactField) []string {
	names, ok := c.columns()
	if !ok {
		return usualColumns
	}
	var chosen []string
	for _, name := range names {
		if _, ok := findField(fields, name); (ok || name == "company") && !slices.Contains(chosen, name) {
			chosen = append(chosen, name)
		}
	}
	return chosen
}

// postColumns has the browser keep the columns that an agent chooses.
func (p *panel) postColumns(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	fields, err := p.contactFields(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	chosen := []string{}
	for _, name := range f.Values["column"] {
		if _, ok := findField(fields, name); (ok || name == "company") && len(chosen) < maxColumns && !slices.Contains(chosen, name) {
			chosen = append(chosen, name)
		}
	}
	if f.Values.Has("usual") {
		chosen = nil
	}
	if kept := c.rememberColumns(chosen); kept < len(chosen) || len(f.Values["column"]) > maxColumns {
		c.toast("The first " + strconv.Itoa(kept) + " columns are shown: that is as many as fit.")
	}
	return c.redirect(nextPage(f.Get("back")))
}

func numericField(f contactField) bool {
	switch f.Type {
	case gateway.TypeNumber:
		return f.Name != "gender" && f.Name != "status"
	case gateway.TypeDate, gateway.TypeDatetime:
		return true
	}
	return false
}

func listRow(v *gateway.ContactView, chosen []string, fields []contactField) contactRow {
	row := contactRow{ID: v.ID, Href: contactHref(v.ID), Label: brief(contactLabel(v))}
	for i, name := range chosen {
		cell := listCell{Wide: i >= narrowColumns}
		switch name {
		case "company":
			if len(v.Companies) > 0 {
				cell.Text = brief(cmp.Or(v.Companies[0].Name, v.Companies[0].CustomID))
				if more := len(v.Companies) - 1; more > 0 {
					cell.Text += " +" + strconv.Itoa(more)
				}
			}
		case "email":
			cell.Text = brief(v.Email)
		case "custom_id":
			cell.Text = brief(v.CustomID)
		case "last_seen":
			cell.Time, cell.Numeric = when(v.LastSeen, time.Now()), true
		case "first_seen":
			cell.Time, cell.Numeric = when(v.FirstSeen, time.Now()), true
		case "created_at":
			cell.Time, cell.Numeric = when(v.CreatedAt, time.Now()), true
		case "updated_at":
			cell.Time, cell.Numeric = when(v.UpdatedAt, time.Now()), true
		case "page_views":
			cell.Text, cell.Numeric = number(v.PageViews), true
		case "tags":
			tags, _ := v.Attributes.Get("tags")
			for _, item := range gateway.Items(tags) {
				cell.Tags = append(cell.Tags, brief(gateway.Text(item)))
			}
			cell.Tags = cell.Tags[:min(len(cell.Tags), 4)]
		default:
			f, _ := findField(fields, name)
			cell.Text, cell.Numeric = brief(shownValue(v, f)), numericField(f)
		}
		row.Cells = append(row.Cells, cell)
	}
	return row
}

// shownValue is the value of an attribute as people read it, "" if there is none.
func shownValue(v *gateway.ContactView, f contactField) string {
	value, _ := v.Attributes.Get(f.Name)
	switch f.Name {
	case "status":
		if value.IsNull() {
			if v.Anonymous() {
				return "Visitor"
			}
			return "User"
		}
		return cmp.Or(optionLabel(statusOptions, value.Raw), gateway.Text(value))
	case "gender":
		return cmp.Or(optionLabel(genderOptions, value.Raw), gateway.Text(value))
	}
	if f.Type == gateway.TypeBool || value.Type == gateway.TypeBool {
		return map[string]string{"true": "Yes", "false": "No"}[value.Raw]
	}
	return gateway.Text(value)
}

func optionLabel(all []option, value string) string {
	for _, o := range all {
		if o.Value == value {
			return o.Label
		}
	}
	return ""
}

func contactHref(id gateway.ContactID) string {
	return panelPath + "/contacts/" + strconv.FormatInt(int64(id), 10)
}

// contactLabel is what a contact is called: their name, else e-mail, else custom id,
// else "Visitor" and the start of their key.
func contactLabel(c *gateway.ContactView) string { return labelOf(&c.Contact) }

func labelOf(c *gateway.Contact) string {
	name := ""
	if v, ok := c.Attributes.Get("name"); ok {
		name = strings.TrimSpace(gateway.Text(v))
	}
	key := c.Key
	return cmp.Or(name, c.Email, c.CustomID, "Visitor "+key[:min(6, len(key))])
}

// companyTitle is what a company is called.
func companyTitle(c *gateway.CompanyView) string {
	return brief(cmp.Or(strings.TrimSpace(c.Name), c.CustomID, "Company "+strconv.FormatInt(int64(c.ID), 10)))
}

// maxShort is how many characters of a text a table or a heading shows.
const maxShort = 200

// brief is a text that may be of any length, as far as it is shown in one line.
func brief(s string) string {
	if len(s) <= maxShort {
		return s
	}
	n := 0
	for i := range s {
		if n++; n > maxShort {
			return s[:i] + "…"
		}
	}
	return s
}

// newContactPage is the form for a new contact.
type newContactPage struct{ *form }

func (p *panel) newContact(c *call) error {
	return c.render(http.StatusOK, "contact_new", "New contact", newContactPage{&form{Values: c.QueryParams()}})
}

// postContact makes a contact.
func (p *panel) postContact(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	var patch gateway.ContactPatch
	for _, name := range []string{"name", "phone_number"} {
		if text := f.Get(name); text != "" {
			a, err := attributeOf(contactField{Name: name, standard: true}, name, text)
			if err := f.take(err, name); err != nil {
				return err
			}
			patch.Attributes = append(patch.Attributes, a)
		}
	}
	if text := f.Get("email"); text != "" {
		patch.Email = &text
	}
	if text := f.Get("custom_id"); text != "" {
		patch.CustomID = &text
	}
	if patch.Email == nil && patch.CustomID == nil && len(patch.Attributes) == 0 && !f.Failed() {
		f.fail("", "Fill in at least one of the fields.")
	}
	var id gateway.ContactID
	if !f.Failed() {
		err := p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) (err error) {
			if id, err = e.CreateContact(patch); err != nil {
				return err
			}
			return auditContact(e, "contact.add", id, nil)
		})
		if err := f.take(err, "email", "custom_id", "name", "phone_number"); err != nil {
			return err
		}
	}
	if f.Failed() {
		return c.render(http.StatusUnprocessableEntity, "contact_new", "New contact", newContactPage{f})
	}
	c.toast("The contact is there.")
	return c.redirect(contactHref(id))
}

// auditContact notes in the audit log what an edit does to a contact. The detail names
// fields and not their values: those must go when the contact is deleted.
func auditContact(e *gateway.Editor, action string, id gateway.ContactID, detail any) error {
	return e.Audit(action, "contact", strconv.FormatInt(int64(id), 10), detail)
}

// bulkPage asks whether contacts may be deleted.
type bulkPage struct {
	*form
	IDs    []gateway.ContactID
	Labels []string
	Back   string
	Typed  string
}

// postBulk changes the contacts that are selected in the list: all, or none.
func (p *panel) postBulk(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	var ids []gateway.ContactID
	for _, text := range f.Values["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id <= 0 || len(ids) == maxBulk {
			return gateway.Errorf(gateway.CodeInvalid, "Select up to %d contacts of the list.", maxBulk)
		}
		ids = append(ids, gateway.ContactID(id))
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	back := nextPage(f.Get("back"))
	if len(ids) == 0 {
		return gateway.Errorf(gateway.CodeInvalid, "Select the contacts first.")
	}
	who := count(int64(len(ids)), "contact", "contacts")
	var done string
	var each func(e *gateway.Editor, id gateway.ContactID) error
	switch f.Get("do") {
	case "tag":
		tag := f.Get("tag")
		if !gateway.IsTagName(tag) || strings.Contains(tag, ",") {
			return gateway.Errorf(gateway.CodeInvalid, "Write the tag that they should get: a word or a few, without commas.")
		}
		done = "Tagged " + who + " with " + brief(tag) + "."
		each = func(e *gateway.Editor, id gateway.ContactID) error {
			err := e.UpdateContact(id, gateway.ContactPatch{KeepTags: true, Attributes: []gateway.PayloadAttribute{{Name: "tags", Label: "tags", Value: gateway.ListValue(tag)}}})
			if err != nil {
				return err
			}
			return auditContact(e, "contact.tag", id, map[string]any{"tag": tag})
		}
	case "list":
		list, err := strconv.ParseInt(f.Get("list"), 10, 64)
		if err != nil {
			return gateway.Errorf(gateway.CodeInvalid, "Choose the list that they should be in.")
		}
		done = "Added " + who + " to the list."
		each = func(e *gateway.Editor, id gateway.ContactID) error {
			l, err := e.AddToList(gateway.ListID(list), id)
			if err != nil {
				return err
			}
			return auditContact(e, "contact.list", id, map[string]any{"list": l.Name})
		}
	case "delete":
		v := bulkPage{form: f, IDs: ids, Back: back, Typed: "delete " + strconv.Itoa(len(ids))}
		if typed, asked := f.Get("confirm"), f.Values.Has("confirm"); typed != v.Typed {
			for _, id := range ids[:min(len(ids), 20)] {
				view, err := p.Read.Contact(c.Request().Context(), c.Workspace.ID, id)
				if err != nil && !gateway.IsNotFound(err) {
					return err
				}
				if err == nil {
					v.Labels = append(v.Labels, brief(contactLabel(view)))
				}
			}
			status := http.StatusOK
			if asked {
				status = http.StatusUnprocessableEntity
				f.fail("confirm", "Nothing was deleted: type "+v.Typed+" to go on.")
			}
			return c.render(status, "contacts_delete", "Delete "+who+"?", v)
		}
		done = "Deleted " + who + "."
		each = func(e *gateway.Editor, id gateway.ContactID) error {
			if err := e.DeleteContact(id); err != nil {
				return err
			}
			return auditContact(e, "contact.delete", id, nil)
		}
	default:
		return gateway.Errorf(gateway.CodeInvalid, "Choose what to do with the contacts.")
	}
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		for _, id := range ids {
			if _, err := e.Contact(id); gateway.IsNotFound(err) {
				continue // deleted meanwhile
			} else if err != nil {
				return err
			}
			if err := each(e, id); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	c.toast(done)
	return c.redirect(back)
}
