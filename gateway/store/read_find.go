package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"civgate/gateway"
)

// This file finds contacts and companies by conditions; read_match.go says
// what meets one.
//
// Decisions
//
//   - Conditions are decided in Go, on the columns that they need of one row after
//     another; SQL only narrows down which rows come. So both databases give the
//     same answer, whatever they think of JSON, of numbers and of the case of
//     letters, and no name of an attribute is ever a part of a statement. What narrows
//     may let too much pass, never too little.
//   - An identifier that must be equal leads, else a list that the contact must be in, else a
//     tag: then only the rows that it finds are looked at. Anything else goes through the
//     list of all, newest first, in statements
//     that each look for a bounded number of rows, until the page is full.
//   - A span of time that few contacts are in leads, too (read_span.go).
//   - Patterns are compared in lower case where the case doesn't matter: LIKE of
//     SQLite knows no other way, that of PostgreSQL tells cases apart.

const (
	// maxConditions bounds a query.
	maxConditions = 50
	// maxPattern is the length in bytes up to which a pattern narrows: SQLite takes
	// 50,000, and what is longer than any value finds nothing anyway.
	maxPattern = 4096
	// maxCandidates bounds the rows that one statement returns.
	maxCandidates = 4096
)

// finder is a gateway.Query made ready for one table.
type finder struct {
	from  string // FROM and what joins the tables in it
	one   string // the same for the one whom a row of wanted names
	where strings.Builder
	args  []any // the first is the workspace
	// listed tells that args 2 and 3 are the place where a page starts and its
	// length; else the statement finds one row at most.
	listed bool
	order  string // the column of the id by which the list goes
	// lead is what of where, and of args, finds the rows of the list: the rest is
	// for the conditions.
	lead     string
	leadArgs int
	never    bool // the conditions can't be met

	columns []string // of a row, behind its id, into dest
	dest    []any
	id      int64
	checks  []func() (bool, error) // of the row in dest
	keys    []*comparison          // what one of a contact's visitor keys must meet, for each
	active  []*comparison          // what a contact's Activity must meet
	created *int64                 // with active: of the row in dest, in microseconds
	updated *int64
	spans   []span // of which each narrows the list
	search  *spanSearch
}

// lead is how an equal identifier finds contacts.
type lead struct {
	kind int
	text string
}

// findContacts prepares a query for contacts.
func findContacts(w gateway.WorkspaceID, where []gateway.Condition) (*finder, error) {
	f := &finder{args: []any{int64(w)}}
	f.dest = []any{&f.id}
	all, err := comparisons(where)
	if err != nil {
		return nil, err
	}
	f.contactConditions(all, f.leadContact(all))
	if !f.listed || f.order != "c.id" {
		f.spans = nil // something narrower leads
	}
	return f, nil
}

// fromContacts has the list of all contacts lead.
func (f *finder) fromContacts() {
	f.from, f.one = "contacts c WHERE c.workspace_id = $1 AND c.merged_into = 0", "contacts c WHERE c.workspace_id = w.workspace_id AND c.id = w.id AND c.merged_into = 0"
	f.list("c.id")
}

// fromCompanies has companies be what is found.
func (f *finder) fromCompanies() {
	f.from, f.one = "companies c WHERE c.workspace_id = $1", "companies c WHERE c.workspace_id = w.workspace_id AND c.id = w.id"
}

// contactConditions takes in what contacts must meet, but for what leads to them already.
func (f *finder) contactConditions(all []*comparison, first *comparison) {
	f.bounds(all, first)
	for _, c := range all {
		if c == first {
			continue
		}
		switch c.field {
		case "id": // in bounds
		case "list":
			f.inList(c)
		case "created_at":
			f.span(c)
			f.time("c.created_at + 0", c) // by the list, whatever index there is
		case "updated_at":
			f.time("c.updated_at", c)
		case "first_seen", "last_seen", "page_views":
			f.activity(c)
		case "custom_id":
			f.text("c.custom_id", c)
		case "email":
			f.email(c)
		case "key":
			f.keys = append(f.keys, c)
		case "phone_number":
			// As a lead finds it; see leadContact.
			if c.op == gateway.OpEqual {
				f.text("c.phone_number", c)
			} else {
				f.attribute("c.phone_number", c)
			}
		case "gender", "status":
			f.choice(c)
		case "name":
			f.attribute("c.name", c)
		default:
			f.attribute("", c)
		}
	}
}

// bounds takes in the conditions on the id, and notes that nothing but what finds the rows
// has been said so far.
func (f *finder) bounds(all []*comparison, first *comparison) {
	for _, c := range all {
		if c.field == "id" && c != first {
			f.number("c.id", c)
		}
	}
	f.lead, f.leadArgs = f.where.String(), len(f.args)
}

// leadContact chooses what finds the rows, and returns the condition that needs no
// other look then, nil if there is none.
//
// A phone number is equal when it is the plain text that ContactsByPhone finds:
// other values (a list, a text with quotes) are not among the identifiers.
func (f *finder) leadContact(all []*comparison) *comparison {
	var best, inList *comparison
	var by lead
	// One row at most is better than some.
	for _, c := range all {
		if c.op != gateway.OpEqual {
			continue
		}
		switch c.field {
		case "id":
			if id := c.id(); id != 0 {
				f.from = "contacts c WHERE c.workspace_id = $1 AND c.merged_into = 0 AND c.id = " + f.arg(id)
				return c
			}
		case "custom_id":
			best, by = c, lead{kindCustomID, c.text}
		case "key":
			best, by = c, lead{kindKey, c.text}
		case "email":
			if best == nil {
				best, by = c, lead{kindEmail, c.emailKey()}
			}
		case "phone_number":
			if best == nil {
				best, by = c, lead{kindPhone, c.text}
			}
		case "list":
			inList = c
		}
	}
	switch {
	case best == nil && inList != nil:
		f.from = "listed l CROSS JOIN contacts c WHERE l.workspace_id = $1 AND c.workspace_id = l.workspace_id AND c.id = l.contact_id AND c.merged_into = 0"
		f.list("l.contact_id")
		f.and("l.list_id = " + f.arg(inList.id()))
		f.never = inList.id() == 0
		return inList
	case best == nil && f.leadTag(all, gateway.EntityContact):
		f.from += " CROSS JOIN contacts c WHERE c.workspace_id = g.workspace_id AND c.id = g.subject_id AND c.merged_into = 0"
		return nil
	case best == nil:
		f.fromContacts()
		return nil
	case !best.isText || by.text == "" || !storable(by.text):
		f.never = true
		return best
	}
	f.from = "identifiers i CROSS JOIN contacts c WHERE i.workspace_id = $1 AND c.workspace_id = i.workspace_id AND c.id = i.contact_id AND c.merged_into = 0"
	if by.kind == kindEmail || by.kind == kindPhone {
		f.list("i.slot") // the contact's id
	}
	f.and("i.value = " + f.arg(by.text))
	f.and("i.kind = " + strconv.Itoa(by.kind)) // a constant: see contactBy
	return best
}

// findCompanies prepares a query for companies.
func findCompanies(w gateway.WorkspaceID, where []gateway.Condition) (*finder, error) {
	f := &finder{args: []any{int64(w)}}
	f.dest = []any{&f.id}
	all, err := comparisons(where)
	if err != nil {
		return nil, err
	}
	f.fromCompanies()
	var first *comparison
	for _, c := range all {
		if c.op != gateway.OpEqual {
			continue
		}
		if id, err := strconv.ParseInt(c.value.Raw, 10, 64); c.field == "id" && err == nil && c.value.Type == gateway.TypeNumber {
			f.from += " AND c.id = " + f.arg(id)
			first = c
			break
		}
		if c.field == "custom_id" {
			if !c.isText || c.text == "" || !storable(c.text) {
				f.never = true
			}
			f.from += " AND c.custom_id = " + f.arg(c.text)
			first = c
			break
		}
	}
	switch {
	case first != nil:
	case f.leadTag(all, gateway.EntityCompany):
		f.from += " CROSS JOIN companies c WHERE c.workspace_id = g.workspace_id AND c.id = g.subject_id"
	default:
		f.list("c.id")
	}
	f.companyConditions(all, first)
	return f, nil
}

// companyConditions takes in what companies must meet, but for what leads to them
// already.
func (f *finder) companyConditions(all []*comparison, first *comparison) {
	f.bounds(all, first)
	for _, c := range all {
		if c == first {
			continue
		}
		switch c.field {
		case "id": // in bounds
		case "created_at", "updated_at":
			f.time("c."+c.field, c)
		case "custom_id", "name":
			f.text("c."+c.field, c)
		default:
			f.attribute("", c)
		}
	}
}

// leadTag has those who have a tag lead, if there is a condition that asks for one,
// and reports whether. That they have it, and the tags of no other name, remains to be
// looked at: it is their attributes that say so.
func (f *finder) leadTag(all []*comparison, entity gateway.Entity) bool {
	for _, c := range all {
		if c.field != "tags" || c.op != gateway.OpEqual || c.value.Type != gateway.TypeText || !gateway.IsTagName(c.text) {
			continue
		}
		f.from = "tagged g"
		f.list("g.subject_id")
		f.and("g.workspace_id = $1 AND g.entity = " + f.arg(string(entity)))
		f.and("g.tag_id = (SELECT t.id FROM tags t WHERE t.workspace_id = $1 AND t.name = " + f.arg(c.text) + ")")
		return true
	}
	return false
}

// storable reports whether a database could hold the text.
func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// list has the statement go through the ids in a column, the highest first.
func (f *finder) list(column string) {
	f.listed, f.order = true, column
	f.and(column + " < " + f.arg(nil))
	f.arg(nil) // the length of a page
}

// arg takes in a parameter and returns what stands for it.
func (f *finder) arg(v any) string {
	f.args = append(f.args, v)
	return "$" + strconv.Itoa(len(f.args))
}

func (f *finder) and(condition string) {
	f.where.WriteString(" AND ")
	f.where.WriteString(condition)
}

// want asks for a column of the rows and returns where its value will be.
func want[T int64 | string](f *finder, text string) *T {
	for i, have := range f.columns {
		if have == text {
			return f.dest[i+1].(*T)
		}
	}
	v := new(T)
	f.columns, f.dest = append(f.columns, text), append(f.dest, v)
	return v
}

func (f *finder) check(fn func() (bool, error)) { f.checks = append(f.checks, fn) }

// orders are the operators that SQL has, too.
var orders = map[gateway.Op]string{
	gateway.OpEqual: " = ", gateway.OpGreater: " > ", gateway.OpAtLeast: " >= ", gateway.OpLess: " < ", gateway.OpAtMost: " <= ",
}

// number compares an integer column.
func (f *finder) number(name string, c *comparison) {
	sign, ok := orders[c.op]
	if !ok || c.value.Type != gateway.TypeNumber {
		f.never = true
		return
	}
	if n, err := strconv.ParseInt(c.value.Raw, 10, 64); err == nil {
		f.and(name + sign + f.arg(n))
		return
	}
	if c.op == gateway.OpEqual {
		f.never = true
		return
	}
	v := want[int64](f, name)
	f.check(func() (bool, error) { return c.number(strconv.FormatInt(*v, 10)), nil })
}

// inList looks for the contact in a list.
func (f *finder) inList(c *comparison) {
	if c.op != gateway.OpEqual || c.id() == 0 {
		f.never = true
		return
	}
	// Not EXISTS, which PostgreSQL may turn around: to go through all of the list.
	f.and("(SELECT count(*) FROM listed l WHERE l.workspace_id = c.workspace_id AND l.list_id = " + f.arg(c.id()) + " AND l.contact_id = c.id) > 0")
}

// time compares a column of a time; 0 is none.
func (f *finder) time(name string, c *comparison) {
	sign, ok := orders[c.op]
	if !ok || !c.isTime {
		f.never = true
		return
	}
	f.and(name + sign + f.arg(c.when.UnixMicro()))
	f.and(name + " <> 0")
}

// text compares a column that holds a text or nothing.
func (f *finder) text(name string, c *comparison) {
	if !c.isText || !storable(c.text) {
		f.never = true
		return
	}
	v := want[string](f, "COALESCE("+name+", '')")
	if p, ok := c.pattern("", false); ok {
		f.and(f.like(name, p))
	}
	f.check(func() (bool, error) { return *v != "" && c.plain(*v), nil })
}

// email compares an address as it was sent, or, to find an equal one, its key.
func (f *finder) email(c *comparison) {
	if c.op != gateway.OpEqual {
		f.text("COALESCE(c.email, c.email_key)", c)
		return
	}
	if !c.isText {
		f.never = true
		return
	}
	v, key := want[string](f, "COALESCE(c.email_key, '')"), c.emailKey()
	f.check(func() (bool, error) { return key != "" && *v == key, nil })
}

// attribute compares a value in the bag, or the plain text in the column that
// it may have instead.
func (f *finder) attribute(name string, c *comparison) {
	if !storable(c.field) || c.isText && !storable(c.text) {
		f.never = true
		return
	}
	quoted := string(appendName(nil, c.field))
	bag := want[string](f, "c.attributes")
	inBag, ok := c.pattern(quoted+":", true)
	if name == "" {
		if ok {
			f.and(f.like("c.attributes", inBag))
		}
		f.check(func() (bool, error) {
			raw, err := bagValue(*bag, quoted)
			return raw != "" && c.json(raw), err
		})
		return
	}
	if inColumn, both := c.pattern("", false); both && ok {
		f.and("(" + f.like(name, inColumn) + " OR " + f.like("c.attributes", inBag) + ")")
	}
	v := want[string](f, "COALESCE("+name+", '')")
	f.check(func() (bool, error) {
		if *v != "" {
			return c.plain(*v), nil
		}
		raw, err := bagValue(*bag, quoted)
		return raw != "" && c.json(raw), err
	})
}

// choice compares the number of a contact's gender or status, which one that has
// none is shown with all the same.
func (f *finder) choice(c *comparison) {
	column := ""
	if c.field == "status" {
		column = "c.status"
	}
	if _, ok := orders[c.op]; !ok || c.value.Type != gateway.TypeNumber {
		f.attribute(column, c)
		return
	}
	quoted := string(appendName(nil, c.field))
	bag, customID, emailKey := want[string](f, "c.attributes"), want[string](f, "COALESCE(c.custom_id, '')"), want[string](f, "COALESCE(c.email_key, '')")
	var text *string
	if column != "" {
		text = want[string](f, "COALESCE("+column+", '')")
	}
	f.check(func() (bool, error) {
		if text != nil && *text != "" {
			return false, nil
		}
		raw, err := bagValue(*bag, quoted)
		switch {
		case raw != "" || err != nil:
			return err == nil && c.json(raw), err
		case c.field == "gender":
			return c.number(strconv.Itoa(gateway.GenderUnknown)), nil
		case *customID != "" || *emailKey != "":
			return c.number(strconv.Itoa(gateway.StatusUser)), nil
		}
		return c.number(strconv.Itoa(gateway.StatusVisitor)), nil
	})
}

// pattern is what a column must be like.
type pattern struct {
	text  string
	lower bool // the pattern is in lower case, the column has to be
}

// like writes that a column is like a pattern.
func (f *finder) like(column string, p pattern) string {
	if p.lower {
		column = "lower(" + column + ")"
	}
	return column + " LIKE " + f.arg(p.text) + " ESCAPE '!'"
}

// FindContacts implements gateway.Reader.
func (r *reader) FindContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.Query) (views []*gateway.ContactView, err error) {
	f, err := findContacts(w, q.Where)
	if err != nil {
		return nil, err
	}
	err = r.view(ctx, "find contacts", func(tx *sql.Tx) error {
		f.search = r.spans
		ids, err := f.ids(ctx, tx, w, q)
		if err != nil {
			return err
		}
		views, err = contactsOf(ctx, tx, w, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	return views, nil
}

// contactsOf reads the views of contacts that are not merged away, the highest id first.
func contactsOf(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) ([]*gateway.ContactView, error) {
	var views []*gateway.ContactView
	for part := range slices.Chunk(ids, chunk) {
		some, err := contacts(ctx, tx, w, `WITH `+wanted(len(part))+` `+contactFields+` FROM wanted w CROSS JOIN contacts c
			WHERE c.workspace_id = w.workspace_id AND c.id = w.id`, params(w, part)...)
		if err != nil {
			return nil, err
		}
		views = append(views, some...)
	}
	slices.SortFunc(views, func(a, b *gateway.ContactView) int { return cmp.Compare(b.ID, a.ID) })
	return views, addViews(ctx, tx, w, views)
}

// FindCompanies implements gateway.Reader.
func (r *reader) FindCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.Query) (views []*gateway.CompanyView, err error) {
	f, err := findCompanies(w, q.Where)
	if err != nil {
		return nil, err
	}
	err = r.view(ctx, "find companies", func(tx *sql.Tx) error {
		ids, err := f.ids(ctx, tx, w, q)
		if err != nil {
			return err
		}
		views, err = companiesOf(ctx, tx, w, ids, q.Brief)
		return err
	})
	if err != nil {
		return nil, err
	}
	return views, nil
}

// companiesOf reads the views of companies, the highest id first.
func companiesOf(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64, brief bool) (views []*gateway.CompanyView, err error) {
	for part := range slices.Chunk(ids, chunk) {
		some, err := companyViews(ctx, tx, w, brief, `WITH `+wanted(len(part))+` `+companyViewFields+` FROM wanted w CROSS JOIN companies c
			WHERE c.workspace_id = w.workspace_id AND c.id = w.id ORDER BY c.id DESC`, params(w, part)...)
		if err != nil {
			return nil, err
		}
		views = append(views, some...)
	}
	return views, nil
}

// ids finds the ids of a page, the highest first.
func (f *finder) ids(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, q gateway.Query) ([]int64, error) {
	limit := bounded(q.Limit)
	if f.never || limit == 0 {
		return nil, nil
	}
	if len(f.spans) > 0 {
		return f.within(ctx, tx, w, behind(q.Before), limit)
	}
	return f.walk(ctx, tx, w, behind(q.Before), 0, limit)
}

// walk goes through the rows with ids below before and from floor on, the highest
// first, until limit of them meet the conditions.
func (f *finder) walk(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, before, floor int64, limit int) (ids []int64, err error) {
	text, args := f.selected(f.from), slices.Clone(f.args)
	if floor > 0 {
		args = append(args, floor)
		text += " AND " + f.order + " >= $" + strconv.Itoa(len(args))
	}
	if f.listed {
		text += " ORDER BY " + f.order + " DESC LIMIT $3"
	}
	for n := min(limit, f.most()); ; n = min(4*n, f.most()) {
		if f.listed {
			args[1], args[2] = before, n
		}
		met, seen, last, err := f.rows(ctx, tx, w, text, args, before, limit-len(ids))
		if err != nil {
			return nil, err
		}
		if ids = append(ids, met...); len(ids) >= limit {
			return ids[:limit], nil
		}
		if !f.listed || seen < n {
			return ids, nil
		}
		before = last
	}
}

// selected is the statement that reads what the checks need, as far as its WHERE.
func (f *finder) selected(from string) string {
	return "SELECT " + strings.Join(append([]string{"c.id"}, f.columns...), ", ") + " FROM " + from + f.where.String()
}

// most is how many rows one statement returns at most.
func (f *finder) most() int {
	if len(f.keys) > 0 || len(f.active) > 0 {
		return chunk // more is asked for about them, in one statement
	}
	return maxCandidates
}

// rows runs a statement and returns the ids of those rows below before that meet
// the conditions, at least limit if there are so many; how many rows there were, and
// the id of the last.
func (f *finder) rows(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, text string, args []any, before int64, limit int) (met []int64, seen int, last int64, err error) {
	last = before
	var lives []lifetime
	more := len(f.keys) > 0 || len(f.active) > 0 // checks than those of the rows
	err = query(ctx, tx, func(rows *sql.Rows) error {
		if err := rows.Scan(f.dest...); err != nil {
			return err
		}
		seen++
		last = f.id
		if f.id >= before || !more && len(met) == limit {
			return nil
		}
		for _, check := range f.checks {
			if ok, err := check(); err != nil || !ok {
				return f.damaged(err)
			}
		}
		met = append(met, f.id)
		if len(f.active) > 0 {
			lives = append(lives, lifetime{f.id, moment(*f.created), moment(*f.updated)})
		}
		return nil
	}, text, args...)
	if err == nil {
		met, err = f.withActivity(ctx, tx, w, met, lives)
	}
	if err == nil {
		met, err = f.withKeys(ctx, tx, w, met)
	}
	return met, seen, last, err
}

func (f *finder) damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("row %d: %w", f.id, err)
}

// withKeys keeps those contacts that have a visitor key for each condition that
// asks for one.
func (f *finder) withKeys(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) ([]int64, error) {
	if len(f.keys) == 0 || len(ids) == 0 {
		return ids, nil
	}
	all := uint64(1)<<len(f.keys) - 1 // a bit for each condition
	met := make(map[int64]uint64, len(ids))
	err := query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		var key string
		if err := rows.Scan(&id, &key); err != nil {
			return err
		}
		for i, c := range f.keys {
			if c.isText && c.plain(key) {
				met[id] |= 1 << i
			}
		}
		return nil
	}, `WITH `+wanted(len(ids))+` SELECT k.contact_id, k.key FROM wanted w CROSS JOIN visitor_keys k
		WHERE k.workspace_id = w.workspace_id AND k.contact_id = w.id`, params(w, ids)...)
	if err != nil {
		return nil, err
	}
	var kept []int64
	for _, id := range ids {
		if met[id] == all {
			kept = append(kept, id)
		}
	}
	return kept, nil
}
