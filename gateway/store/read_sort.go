package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"civgate/gateway"
)

// This file lists contacts and companies in other orders than newest first.
//
// Decisions
//
//   - An order of any number of rows is that of an index, and no index is there for it
//     alone, but one of companies by name: companies are few and rarely written, where an
//     index of contacts would cost every payload. The rows that the index gives are then
//     looked at as any others (among), a bounded number in one call.
//   - In SQLite the identifiers of all workspaces and kinds are one tree by value, so that
//     an order by e-mail passes visitor keys and custom ids by. That costs 45 ns each, 0.14 s
//     for all of 3,000,000; a fence keeps it to portions.
//   - Any other order is made in memory, of up to gateway.MaxSorted rows, while their
//     conditions are looked at, and as read_search.go looks at them: until patience is over.
//   - What is compared is one text, byte by byte (gateway.SortPlace), for every type: so both
//     databases have one order, and a page can begin where one ended that was sorted in the
//     other way.

// maxOrdered is how many rows one statement takes from an index.
const maxOrdered = 1_000

// orderBounds are how many index entries one call passes by, about, and how many of them
// one statement does at first; and after how much time the call begins no other statement,
// 0 for whatever it takes.
type orderBounds struct {
	passed, fence int
	patience      time.Duration
}

var defaultOrderBounds = orderBounds{passed: 400_000, fence: 1_000, patience: 20 * time.Millisecond}

// maxFences is how many times its first length a fence can be.
const maxFences = 64

// placed is a row with what an order goes by.
type placed struct {
	key  string
	id   int64
	none bool // there is no key
}

func (p placed) place() gateway.SortPlace {
	return gateway.SortPlace{Key: p.key, ID: p.id, None: p.none}
}

// compare orders rows; those without a key come last, also when the others go down.
func (p placed) compare(q placed, down bool) int {
	if p.none != q.none {
		if p.none {
			return 1
		}
		return -1
	}
	order := cmp.Or(strings.Compare(p.key, q.key), cmp.Compare(p.id, q.id))
	if down {
		return -order
	}
	return order
}

// portion is what an orderSource gives at a time.
type portion struct {
	rows   []placed // behind the place, in order
	passed int      // how many entries were looked at
	next   gateway.SortPlace
	end    bool // there is nothing behind next
}

// orderSource gives the rows behind a place (zero: from the start) in the order of an
// index, about n of them.
type orderSource func(ctx context.Context, tx *sql.Tx, after gateway.SortPlace, n int) (portion, error)

// inOrder takes a page of those rows of a source that meet the conditions.
func (r *reader) inOrder(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, f *finder, source orderSource, after gateway.SortPlace, limit int) (page []placed, end gateway.SortEnd, err error) {
	if f.never || limit == 0 || after.None {
		return nil, end, nil
	}
	begun, bounds := time.Now(), r.spans.orders
	for n, passed := min(limit+1, maxOrdered), 0; ; n = min(2*n, maxOrdered) {
		some, err := source(ctx, tx, after, n)
		if err != nil {
			return nil, end, err
		}
		met, err := f.meet(ctx, tx, w, some.rows)
		if err != nil {
			return nil, end, err
		}
		for _, one := range some.rows {
			if !met[one.id] {
				continue
			}
			if len(page) == limit {
				end.Next = page[limit-1].place()
				return page, end, nil
			}
			page = append(page, one)
		}
		if some.end {
			return page, end, nil
		}
		after = some.next
		if passed += some.passed; passed >= bounds.passed || bounds.patience > 0 && time.Since(begun) >= bounds.patience {
			end.Next, end.Partial = after, true
			if len(page) == limit {
				end.Next, end.Partial = page[limit-1].place(), false
			}
			return page, end, nil
		}
	}
}

// meet returns those of the rows that meet the conditions.
func (f *finder) meet(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, rows []placed) (map[int64]bool, error) {
	ids := make([]int64, len(rows))
	for i, one := range rows {
		ids[i] = one.id
	}
	found, _, err := f.among(ctx, tx, w, ids, math.MaxInt64, len(ids), time.Time{})
	if err != nil {
		return nil, err
	}
	met := make(map[int64]bool, len(found))
	for _, id := range found {
		met[id] = true
	}
	return met, nil
}

// readPage reads the views of the rows that a page has.
func readPage[T any](ctx context.Context, r *reader, op string, w gateway.WorkspaceID, find func(tx *sql.Tx) ([]placed, gateway.SortEnd, error),
	read func(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, rows []placed) ([]T, error)) (*gateway.SortPage[T], error) {
	page := new(gateway.SortPage[T])
	err := r.view(ctx, op, func(tx *sql.Tx) error {
		rows, end, err := find(tx)
		if err != nil {
			return err
		}
		page.SortEnd = end
		page.Rows, err = read(ctx, tx, w, rows)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

// ContactsInOrder implements gateway.Reader.
func (r *reader) ContactsInOrder(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery) (*gateway.ContactPage, error) {
	if !gateway.HasOrder(gateway.EntityContact, q.By, q.Down) || q.Company != 0 {
		return nil, noOrder(q)
	}
	if !storable(q.After.Key) {
		return &gateway.ContactPage{}, nil
	}
	f, err := amongContacts(w, q.Where)
	if err != nil {
		return nil, err
	}
	source := byColumns(w, "contacts c", "''", "c.id", " AND c.merged_into = 0", q.Down)
	switch q.By {
	case "last_seen":
		source = r.bySeen(w)
	case "email":
		source = r.byIdentifier(w, kindEmail, "c.email_key", q.Down)
	case "custom_id":
		source = r.byIdentifier(w, kindCustomID, "c.custom_id", q.Down)
	case "phone_number":
		source = r.byIdentifier(w, kindPhone, "c.phone_number", q.Down)
	}
	return readPage(ctx, r, "contacts in order", w, func(tx *sql.Tx) ([]placed, gateway.SortEnd, error) {
		return r.inOrder(ctx, tx, w, f, source, q.After, bounded(q.Limit))
	}, sortedContacts)
}

// CompaniesInOrder implements gateway.Reader.
func (r *reader) CompaniesInOrder(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery) (*gateway.CompanyPage, error) {
	if !gateway.HasOrder(gateway.EntityCompany, q.By, q.Down) || q.Company != 0 {
		return nil, noOrder(q)
	}
	if !storable(q.After.Key) {
		return &gateway.CompanyPage{}, nil
	}
	f, err := amongCompanies(w, q.Where)
	if err != nil {
		return nil, err
	}
	source := byColumns(w, "companies c", "''", "c.id", "", q.Down)
	if q.By == "name" {
		source = byColumns(w, "companies c", companySortName, "c.id", "", q.Down)
	}
	return readPage(ctx, r, "companies in order", w, func(tx *sql.Tx) ([]placed, gateway.SortEnd, error) {
		return r.inOrder(ctx, tx, w, f, source, q.After, bounded(q.Limit))
	}, sortedCompanies)
}

func noOrder(q gateway.SortQuery) error {
	return &gateway.Error{Code: gateway.CodeInvalid, Field: q.By, Message: fmt.Sprintf("no index goes by %.40q this way", q.By)}
}

// companySortName is what companies are sorted by, and what an index has: sortText in SQL.
const companySortName = "lower(substr(c.name, 1, 100))"

// byColumns goes by an index of the workspace, a key and an id, or by the id alone if the
// key is an empty text of SQL. An index that has a key once at most has no id: then id is
// "".
func byColumns(w gateway.WorkspaceID, table, key, id, also string, down bool) orderSource {
	sign, desc := " > ", ""
	if down {
		sign, desc = " < ", " DESC"
	}
	unique := id == ""
	fields, order := "c.id, "+key, ""
	if key != "''" {
		order = key + desc
	}
	if !unique {
		order = strings.TrimPrefix(order+", "+id+desc, ", ")
	}
	return func(ctx context.Context, tx *sql.Tx, after gateway.SortPlace, n int) (portion, error) {
		text := "SELECT " + fields + " FROM " + table + " WHERE c.workspace_id = $1" + also
		args := []any{int64(w), n}
		if after != (gateway.SortPlace{}) {
			switch {
			case key == "''":
				text += " AND " + id + sign + "$3"
				args = append(args, after.ID)
			case unique:
				text += " AND " + key + sign + "$3"
				args = append(args, after.Key)
			default:
				// The first condition is for SQLite, which searches no pair with an expression.
				text += " AND " + key + strings.TrimSpace(sign) + "= $3 AND (" + key + ", " + id + ")" + sign + "($3, $4)"
				args = append(args, after.Key, after.ID)
			}
		}
		var p portion
		err := query(ctx, tx, func(rows *sql.Rows) error {
			var one placed
			err := rows.Scan(&one.id, &one.key)
			p.rows = append(p.rows, one)
			return err
		}, text+" ORDER BY "+order+" LIMIT $2", args...)
		p.passed = 100 * len(p.rows) // a row costs as much as so many entries
		if p.end = len(p.rows) < n; !p.end {
			p.next = p.rows[len(p.rows)-1].place()
		}
		return p, err
	}
}

// byIdentifier goes by identifiers of one kind, that are in a column of contacts.
func (r *reader) byIdentifier(w gateway.WorkspaceID, kind int, column string, down bool) orderSource {
	unique := kind == kindCustomID
	if !r.spans.oneTree {
		id := "c.id"
		if unique {
			id = ""
		}
		return byColumns(w, "contacts c", column, id, " AND "+column+" IS NOT NULL", down)
	}
	sign, against, desc := " > ", " < ", ""
	if down {
		sign, against, desc = " < ", " > ", " DESC"
	}
	fence := r.spans.orders.fence
	return func(ctx context.Context, tx *sql.Tx, after gateway.SortPlace, n int) (p portion, err error) {
		from := treeStart(int64(w), kind, unique, down, after)
		args := from[:]
		place := "(value, kind, workspace_id, slot)" + sign + "($1, $2, $3, $4)"
		// The first entry that is not looked at.
		var to struct {
			value              string
			kind, where, place int64
		}
		err = query(ctx, tx, func(rows *sql.Rows) error {
			p.passed = fence
			return rows.Scan(&to.value, &to.kind, &to.where, &to.place)
		}, "SELECT value, kind, workspace_id, slot FROM identifiers WHERE "+place+
			" ORDER BY value"+desc+", kind"+desc+", workspace_id"+desc+", slot"+desc+" LIMIT 1 OFFSET $5", append(args, fence)...)
		if err != nil {
			return p, err
		}
		p.end = p.passed == 0
		fence = min(4*fence, maxFences*r.spans.orders.fence)
		args = append(args, n, int64(kind), int64(w))
		if !p.end {
			place += " AND (value, kind, workspace_id, slot)" + against + "($8, $9, $10, $11)"
			args = append(args, to.value, to.kind, to.where, to.place)
		}
		err = query(ctx, tx, func(rows *sql.Rows) error {
			var one placed
			err := rows.Scan(&one.id, &one.key)
			p.rows = append(p.rows, one)
			return err
		}, "SELECT contact_id, value FROM identifiers WHERE "+place+" AND kind = $6 AND workspace_id = $7 ORDER BY value"+desc+", slot"+desc+" LIMIT $5", args...)
		p.passed += 100 * len(p.rows)
		switch {
		case err != nil:
			return p, err
		case len(p.rows) == n:
			p.next, p.end = p.rows[n-1].place(), false
			fence = r.spans.orders.fence
		case !p.end:
			p.next = treePlace(int64(w), kind, unique, down, to.value, to.kind, to.where, to.place)
		}
		return p, nil
	}
}

// treeStart is the place in the tree of identifiers behind which a portion begins. An ID
// that no contact has is a place before, or behind, all contacts with the Key.
func treeStart(w int64, kind int, unique, down bool, after gateway.SortPlace) [4]any {
	switch {
	case after == (gateway.SortPlace{}) && down:
		return [4]any{[]byte{0xff}, int64(0), int64(0), int64(0)} // a BLOB is more than any text
	case after == (gateway.SortPlace{}):
		return [4]any{"", int64(-1), int64(0), int64(0)}
	case down && (after.ID < 0 || unique && after.ID < math.MaxInt64):
		return [4]any{after.Key, int64(-1), int64(0), int64(0)}
	case !down && (after.ID == math.MaxInt64 || unique && after.ID >= 0):
		return [4]any{after.Key, int64(math.MaxInt64), int64(0), int64(0)}
	}
	return [4]any{after.Key, int64(kind), w, after.ID}
}

// treePlace is the place from which on an entry of the tree, and what is behind it,
// has not been looked at.
func treePlace(w int64, kind int, unique, down bool, value string, itsKind, itsWorkspace, slot int64) gateway.SortPlace {
	before, behind := int64(-1), int64(math.MaxInt64)
	if down {
		before, behind = behind, before
	}
	switch order := cmp.Or(cmp.Compare(itsKind, int64(kind)), cmp.Compare(itsWorkspace, w)); {
	case order == 0 && unique:
		return gateway.SortPlace{Key: value, ID: before}
	case order == 0 && down:
		return gateway.SortPlace{Key: value, ID: slot + 1}
	case order == 0:
		return gateway.SortPlace{Key: value, ID: slot - 1}
	case order > 0 != down: // those with the value have been passed
		return gateway.SortPlace{Key: value, ID: behind}
	}
	return gateway.SortPlace{Key: value, ID: before}
}

// bySeen goes by when contacts were last seen, the latest first: through spans of time
// in which few page views are.
func (r *reader) bySeen(w gateway.WorkspaceID) orderSource {
	const (
		fewest, most = 200, 1000 // page views, and contacts without one, of a span
		steps        = 40        // spans of one call, about
	)
	now := time.Now().UnixMicro()
	width := time.Hour.Microseconds()
	full := int64(-1) // from here on there were too many for one span
	return func(ctx context.Context, tx *sql.Tx, after gateway.SortPlace, n int) (p portion, err error) {
		anchor, to := now, int64(math.MaxInt64)
		if after != (gateway.SortPlace{}) {
			if anchor = timeOf(after.Key); after.ID <= 0 {
				anchor--
			}
			to = anchor
		}
		limit := min(max(4*n, fewest), most)
		for {
			from := int64(math.MinInt64)
			if width < anchor {
				from = anchor - width
			}
			f := finder{search: r.spans, spans: []span{{"last_seen", from, to}}}
			if width == 0 {
				limit = max(limit, r.spans.many)
			}
			ids, all, err := f.candidates(ctx, tx, w, limit)
			p.passed += r.spans.orders.passed / steps
			switch {
			case err != nil:
				return p, err
			case !all && width == 0:
				return p, gateway.Errorf(gateway.CodeTooLarge, "too many contacts were last seen at one time to be sorted by it")
			case !all:
				full = max(from, 0)
				width /= 8
				continue
			}
			seen, err := lastSeen(ctx, tx, w, ids)
			if err != nil {
				return p, err
			}
			behind := placed{key: after.Key, id: after.ID}
			for id, at := range seen {
				one := placed{key: timeKey(at), id: id}
				if at >= from && at <= to && (after == (gateway.SortPlace{}) || one.compare(behind, true) > 0) {
					p.rows = append(p.rows, one)
				}
			}
			slices.SortFunc(p.rows, func(a, b placed) int { return a.compare(b, true) })
			if len(ids) < limit/4 {
				width = max(4*width, 1)
				if full >= 0 && full < from {
					width = min(width, max((from-full)/2, 1))
				}
			}
			p.next, p.end = gateway.SortPlace{Key: timeKey(from)}, from == math.MinInt64
			return p, nil
		}
	}
}

// lastSeen is when contacts that are not merged away were last seen, in microseconds.
func lastSeen(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) (map[int64]int64, error) {
	var lives []lifetime
	for part := range slices.Chunk(ids, chunk) {
		err := query(ctx, tx, func(rows *sql.Rows) error {
			var id, created, updated int64
			err := rows.Scan(&id, &created, &updated)
			lives = append(lives, lifetime{id, moment(created), moment(updated)})
			return err
		}, `WITH `+wanted(len(part))+` SELECT c.id, c.created_at, c.updated_at FROM wanted w CROSS JOIN contacts c
			WHERE c.workspace_id = w.workspace_id AND c.id = w.id AND c.merged_into = 0`, params(w, part)...)
		if err != nil {
			return nil, err
		}
	}
	all, err := activities(ctx, tx, w, lives)
	if err != nil {
		return nil, err
	}
	seen := make(map[int64]int64, len(all))
	for id, a := range all {
		seen[id] = micros(a.LastSeen)
	}
	return seen, nil
}

// CountFound implements gateway.Reader.
func (r *reader) CountFound(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity, where []gateway.Condition, limit int, patience time.Duration) (n int, err error) {
	prepare, among := findContacts, amongContacts
	switch entity {
	case gateway.EntityContact:
	case gateway.EntityCompany:
		prepare, among = findCompanies, amongCompanies
	default:
		return 0, gateway.Errorf(gateway.CodeInvalid, "%s are not counted", entity)
	}
	f, err := prepare(w, where)
	if err != nil {
		return 0, err
	}
	err = r.view(ctx, "count what is found", func(tx *sql.Tx) error {
		f.search = r.spans
		ids, down, err := f.patiently(ctx, tx, w, gateway.Query{Limit: limit}, patience, func() (*finder, error) { return among(w, where) })
		if n = len(ids); err == nil && down != 0 {
			err = gateway.Errorf(gateway.CodeTooLarge, "there are too many to be looked at in time to be counted: filter them further")
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// SortContacts implements gateway.Reader.
func (r *reader) SortContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery, patience time.Duration) (*gateway.ContactPage, error) {
	prepare := findContacts
	if q.Company != 0 {
		prepare = amongContacts
	}
	s := sorter{by: (*sorter).contacts, among: amongContacts, q: q}
	if err := s.use(prepare(w, q.Where)); err != nil {
		return nil, err
	}
	s.f.search = r.spans
	return readPage(ctx, r, "sort contacts", w, func(tx *sql.Tx) ([]placed, gateway.SortEnd, error) {
		return s.page(ctx, tx, w, patience)
	}, sortedContacts)
}

// SortCompanies implements gateway.Reader.
func (r *reader) SortCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery, patience time.Duration) (*gateway.CompanyPage, error) {
	s := sorter{by: (*sorter).companies, among: amongCompanies, q: q}
	if err := s.use(findCompanies(w, q.Where)); err != nil {
		return nil, err
	}
	s.f.search = r.spans
	return readPage(ctx, r, "sort companies", w, func(tx *sql.Tx) ([]placed, gateway.SortEnd, error) {
		return s.page(ctx, tx, w, patience)
	}, sortedCompanies)
}

// sorter notes the keys of those who meet the conditions of a finder.
type sorter struct {
	q     gateway.SortQuery
	by    func(s *sorter, by string) error
	among func(w gateway.WorkspaceID, where []gateway.Condition) (*finder, error)
	f     *finder
	keys  map[int64]placed
	// late makes the keys of what is not in the rows: of those with the ids, up to chunk.
	late func(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) error
}

// use has the keys noted of those whom a finder looks at.
func (s *sorter) use(f *finder, err error) error {
	if err != nil {
		return err
	}
	s.f, s.keys = f, map[int64]placed{}
	return s.by(s, s.q.By)
}

// note has the key of each row noted, "" for none. The finder then asks it last.
func (s *sorter) note(key func() (string, error)) {
	f := s.f
	f.check(func() (bool, error) {
		text, err := key()
		s.keys[f.id] = placed{key: text, id: f.id, none: text == ""}
		return true, err
	})
}

// contacts says what contacts are sorted by.
func (s *sorter) contacts(by string) error {
	f := s.f
	switch by {
	case "":
		return noOrder(gateway.SortQuery{})
	case "id":
		s.ids()
	case "created_at", "updated_at":
		s.time("c." + by)
	case "custom_id", "phone_number":
		s.column("c." + by)
	case "email":
		s.column("c.email_key")
	case "name":
		name, bag := want[string](f, "COALESCE(c.name, '')"), want[string](f, "c.attributes")
		email, customID := want[string](f, "COALESCE(c.email, c.email_key, '')"), want[string](f, "COALESCE(c.custom_id, '')")
		s.note(func() (string, error) {
			text := *name
			if text == "" {
				raw, err := bagValue(*bag, `"name"`)
				if err != nil {
					return "", f.damaged(err)
				}
				if raw != "" && typeOf(raw) == gateway.TypeText {
					text = unquoted(raw)
				}
			}
			return sortText(cmp.Or(strings.TrimSpace(text), *email, *customID)), nil
		})
	case "status", "gender":
		s.attribute(by, map[string]string{"status": "c.status"}[by])
	case "first_seen", "last_seen", "page_views":
		created, updated := want[int64](f, "c.created_at"), want[int64](f, "c.updated_at")
		lives := map[int64]lifetime{}
		f.check(func() (bool, error) {
			lives[f.id] = lifetime{f.id, moment(*created), moment(*updated)}
			return true, nil
		})
		s.late = func(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) error {
			of := make([]lifetime, len(ids))
			for i, id := range ids {
				of[i] = lives[id]
			}
			all, err := activities(ctx, tx, w, of)
			for id, a := range all {
				one := placed{id: id}
				switch by {
				case "page_views":
					one.key = numberKey(float64(a.PageViews))
				case "first_seen":
					one.key = timeKey(micros(a.FirstSeen))
				default:
					one.key = timeKey(micros(a.LastSeen))
				}
				s.keys[id] = one
			}
			return err
		}
	case "company":
		s.late = s.companyNames
	default:
		s.attribute(by, "")
	}
	return nil
}

// companies says what companies are sorted by.
func (s *sorter) companies(by string) error {
	switch by {
	case "":
		return noOrder(gateway.SortQuery{})
	case "id":
		s.ids()
	case "created_at", "updated_at":
		s.time("c." + by)
	case "employees":
		n := want[int64](s.f, "c.employees")
		s.note(func() (string, error) { return numberKey(float64(*n)), nil })
	case "custom_id":
		s.column("c.custom_id")
	case "name":
		name := want[string](s.f, "c.name")
		// As the index has it, which knows no names that aren't.
		f := s.f
		f.check(func() (bool, error) {
			s.keys[f.id] = placed{key: sortText(*name), id: f.id}
			return true, nil
		})
	default:
		s.attribute(by, "")
	}
	return nil
}

// ids sorts by nothing else.
func (s *sorter) ids() {
	f := s.f
	f.check(func() (bool, error) {
		s.keys[f.id] = placed{id: f.id}
		return true, nil
	})
}

func (s *sorter) time(column string) {
	v := want[int64](s.f, column)
	s.note(func() (string, error) { return timeKey(*v), nil })
}

// column sorts by an identifier, as it is.
func (s *sorter) column(column string) {
	v := want[string](s.f, "COALESCE("+column+", '')")
	s.note(func() (string, error) { return *v, nil })
}

// attribute sorts by a value in the bag, or the plain text in the column that it may have
// instead.
func (s *sorter) attribute(name, column string) {
	f, quoted := s.f, string(appendName(nil, name))
	bag := want[string](f, "c.attributes")
	var text *string
	if column != "" {
		text = want[string](f, "COALESCE("+column+", '')")
	}
	s.note(func() (string, error) {
		if text != nil && *text != "" {
			return textKind + sortText(*text), nil
		}
		raw, err := bagValue(*bag, quoted)
		return jsonKey(raw), f.damaged(err)
	})
}

// companyNames makes keys of the name of each contact's first company, in the order in
// which a ContactView has them.
func (s *sorter) companyNames(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64) error {
	for _, id := range ids {
		s.keys[id] = placed{id: id, none: true}
	}
	return query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		var name string
		err := rows.Scan(&id, &name)
		if name = sortText(name); s.keys[id].none && name != "" {
			s.keys[id] = placed{key: name, id: id}
		}
		return err
	}, `WITH `+wanted(len(ids))+` SELECT m.contact_id, c.name FROM wanted w CROSS JOIN memberships m CROSS JOIN companies c
		WHERE m.workspace_id = w.workspace_id AND m.contact_id = w.id AND m.until = w.until AND c.workspace_id = w.workspace_id AND c.id = m.company_id
		ORDER BY m.contact_id, m.is_primary DESC, m.since, m.company_id`, params(w, ids)...)
}

// page finds all, sorts them and takes a page.
func (s *sorter) page(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, patience time.Duration) (page []placed, end gateway.SortEnd, err error) {
	q, limit := s.q, bounded(s.q.Limit)
	if s.f.never || limit == 0 {
		return nil, end, nil
	}
	until := time.Now().Add(patience)
	var ids []int64
	var down int64
	if q.Company != 0 {
		ids, down, err = s.employees(ctx, tx, w, until)
	} else {
		ids, down, err = s.f.patiently(ctx, tx, w, gateway.Query{Limit: gateway.MaxSorted + 1}, patience, func() (*finder, error) {
			err := s.use(s.among(w, q.Where))
			return s.f, err
		})
	}
	if err != nil {
		return nil, end, err
	}
	if len(ids) > gateway.MaxSorted {
		return nil, end, gateway.Errorf(gateway.CodeTooLarge, "there are more than %d to be sorted: filter them further", gateway.MaxSorted)
	}
	for part := range slices.Chunk(ids, chunk) {
		if down != 0 || s.late == nil {
			break
		}
		if err := s.late(ctx, tx, w, part); err != nil {
			return nil, end, err
		}
		if last := part[len(part)-1]; last != ids[len(ids)-1] && time.Now().After(until) {
			down = last
		}
	}
	if down != 0 {
		return nil, end, gateway.Errorf(gateway.CodeTooLarge, "there are too many to be looked at in time to be sorted: filter them further")
	}
	after := placed{q.After.Key, q.After.ID, q.After.None}
	for _, id := range ids {
		if one := s.keys[id]; q.After == (gateway.SortPlace{}) || one.compare(after, q.Down) > 0 {
			page = append(page, one)
		}
	}
	slices.SortFunc(page, func(a, b placed) int { return a.compare(b, q.Down) })
	if len(page) > limit {
		page = page[:limit]
		end.Next = page[limit-1].place()
	}
	return page, end, nil
}

// employees finds the employees of a company who meet the conditions, up to one more than
// are sorted, of up to maxRows; down is not 0 if not all have been looked at.
func (s *sorter) employees(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, until time.Time) (met []int64, down int64, err error) {
	var all []int64
	err = query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		all = append(all, id)
		return err
	}, `SELECT contact_id FROM memberships WHERE workspace_id = $1 AND company_id = $2 AND until = 0
		ORDER BY since DESC, contact_id DESC LIMIT $3`, int64(w), int64(s.q.Company), maxRows+1)
	if err != nil || len(all) > maxRows {
		return nil, math.MaxInt64, err
	}
	return s.f.among(ctx, tx, w, all, math.MaxInt64, gateway.MaxSorted+1, until)
}

// sortedContacts reads the views of a page.
func sortedContacts(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, rows []placed) ([]*gateway.ContactView, error) {
	views, err := contactsOf(ctx, tx, w, idsOf(rows))
	if err != nil {
		return nil, err
	}
	return inOrderOf(rows, views, func(v *gateway.ContactView) int64 { return int64(v.ID) }), nil
}

func sortedCompanies(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, rows []placed) ([]*gateway.CompanyView, error) {
	views, err := companiesOf(ctx, tx, w, idsOf(rows), true)
	if err != nil {
		return nil, err
	}
	return inOrderOf(rows, views, func(v *gateway.CompanyView) int64 { return int64(v.ID) }), nil
}

func idsOf(rows []placed) []int64 {
	ids := make([]int64, len(rows))
	for i, one := range rows {
		ids[i] = one.id
	}
	return ids
}

// inOrderOf brings views into the order of rows.
func inOrderOf[T any](rows []placed, views []T, id func(T) int64) []T {
	place := make(map[int64]int, len(rows))
	for i, one := range rows {
		place[one.id] = i
	}
	slices.SortFunc(views, func(a, b T) int { return cmp.Compare(place[id(a)], place[id(b)]) })
	return views
}

// What a value of an attribute is comes first in its key, so that those of one kind stay
// together.
const (
	numberKind = "1"
	boolKind   = "2"
	textKind   = "3"
)

// jsonKey is what a value goes by in an order, "" if it doesn't.
func jsonKey(raw string) string {
	if raw == "" {
		return ""
	}
	switch typeOf(raw) {
	case gateway.TypeNumber:
		n, err := strconv.ParseFloat(raw, 64)
		if err != nil {
			return ""
		}
		return numberKind + numberKey(n)
	case gateway.TypeBool:
		return boolKind + map[string]string{"false": "0", "true": "1"}[raw]
	case gateway.TypeText:
		if text := sortText(unquoted(raw)); text != "" {
			return textKind + wholeSecond(text)
		}
	}
	return ""
}

// wholeSecond takes the "z" from the end of an instant, which would put it behind the
// fractions of its second.
func wholeSecond(text string) string {
	if len(text) == len("2006-01-02t15:04:05z") && text[10] == 't' && text[19] == 'z' {
		return text[:19]
	}
	return text
}

// sortText is what a text goes by: its first characters, ASCII letters in lower case.
func sortText(s string) string {
	n := 0
	for i := range s {
		if n++; n > gateway.MaxSortKey {
			s = s[:i]
			break
		}
	}
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// numberKey writes a number so that texts compare as the numbers do.
func numberKey(n float64) string {
	if n == 0 {
		n = 0 // no negative one
	}
	bits := math.Float64bits(n)
	if bits>>63 != 0 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return fmt.Sprintf("%016x", bits)
}

// timeKey writes microseconds so that texts compare as they do.
func timeKey(micros int64) string { return fmt.Sprintf("%016x", uint64(micros)^1<<63) }

// timeOf is the inverse of timeKey; 0 for a text that it did not write.
func timeOf(key string) int64 {
	n, err := strconv.ParseUint(key, 16, 64)
	if err != nil {
		return 0
	}
	return int64(n ^ 1<<63)
}
