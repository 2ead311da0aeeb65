package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file reads what the people of a company did.
//
// Decisions
//
//   - No index goes by company and time: history belongs to contacts, and who works
//     where changes without it. Up to accountBounds.people people each one's newest entry is
//     looked up by index, and only of those who can be on the page more is read. For more
//     people the newest entries of the workspace are gone through, and kept if they are of
//     the company: a company so large has a part in what happens.
//   - That has bounds (accountBounds.rows and patience): a large company whose people sleep gets an
//     incomplete page, with the place as far as it was looked. No call reads more than
//     about that many rows, whatever company it is.
//   - Employees bring what they did before they were: a sign-up comes after the
//     visits that led to it. Former ones bring what they did until they left.
//   - Contacts that became part of others keep their history, and memberships that had
//     ended: whatever contact of a chain of merges was an employee, it counts for what is
//     below it in the chain, and the longest time counts.
//   - Entries are first found by time, id and contact alone, which indexes hold; only those
//     of the page are read whole.

// accountBounds are how much one call looks at.
type accountBounds struct {
	people int // as many have their histories looked up one by one
	rows   int // of the workspace, of page views and of events, for more people
	chunk  int // of these at a time, to begin with
	// patience is after how much time no more of the workspace is read; 0 for whatever it takes.
	patience time.Duration
}

var defaultAccountBounds = accountBounds{people: 2000, rows: 15_000, chunk: 1000, patience: 30 * time.Millisecond}

// accountSearch is what the databases say differently.
type accountSearch struct {
	accountBounds
	// windows says that page views are found in windows of time (viewed) and not in
	// their order.
	windows bool
	// viewed finds page views of workspace $1 from $2 to $3, at most $4, in no order.
	viewed string
	// aliases finds what became part of the contacts $2 (see spanSearch.merged): into
	// which, and its id.
	aliases string
	// employed finds the memberships in company $3 of the contacts $2.
	employed string
}

var (
	sqliteAccounts = accountSearch{
		accountBounds: defaultAccountBounds,
		aliases: `SELECT c.merged_into, c.id FROM json_each($2) AS w CROSS JOIN contacts c
			WHERE c.merged_into = w.value AND c.workspace_id = $1 AND c.merged_into <> 0`,
		employed: `SELECT m.contact_id, m.until FROM json_each($2) AS w CROSS JOIN memberships m
			WHERE m.contact_id = w.value AND m.workspace_id = $1 AND m.company_id = $3`,
	}
	postgresAccounts = accountSearch{
		accountBounds: defaultAccountBounds,
		windows:       true,
		viewed: `SELECT id, at, contact_id FROM page_views
			WHERE workspace_id + 0 = $1 AND at + 0 >= $2 AND at + 0 <= $3 LIMIT $4`,
		aliases: `SELECT c.merged_into, c.id FROM (SELECT $1::bigint AS workspace_id, unnest($2::text::bigint[]) AS id OFFSET 0) AS u
			JOIN contacts c ON c.workspace_id = u.workspace_id AND c.merged_into = u.id WHERE c.merged_into <> 0`,
		employed: `SELECT m.contact_id, m.until FROM (SELECT $1::bigint AS workspace_id, unnest($2::text::bigint[]) AS id, $3::bigint AS company_id OFFSET 0) AS u
			JOIN memberships m ON m.workspace_id = u.workspace_id AND m.contact_id = u.id AND m.company_id = u.company_id`,
	}
)

// account is one reading of what the people of a company did.
type account struct {
	tx      *sql.Tx
	w       gateway.WorkspaceID
	company int64
	spans   *spanSearch
	search  *accountSearch
	limit   int
	from    gateway.AccountPlace
	// until is up to when the history of a contact counts: MaxInt64 for employees,
	// notTheirs for others.
	until map[int64]int64
	// into is what contacts became part of, 0 for those that stand by themselves.
	into  map[int64]int64
	begun time.Time
}

// enough reports whether no more of the workspace is read after so many rows of a table.
func (a *account) enough(seen int) bool {
	return seen >= a.search.rows || a.search.patience > 0 && time.Since(a.begun) >= a.search.patience
}

const notTheirs = math.MinInt64

// spot is where an entry is.
type spot struct {
	at, id, contact int64
	event           bool
}

// compare orders spots as a page has them.
func (s spot) compare(o spot) int {
	if s.at == o.at && s.event != o.event {
		if s.event {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(o.at, s.at), cmp.Compare(o.id, s.id))
}

// behind is the place behind a spot.
func (s spot) behind() gateway.AccountPlace {
	if s.event {
		return gateway.AccountPlace{At: moment(s.at), Event: s.id, PageView: math.MaxInt64}
	}
	return gateway.AccountPlace{At: moment(s.at), PageView: s.id}
}

// Account implements gateway.Reader, CodeNotFound if there is no such company.
func (r *reader) Account(ctx context.Context, w gateway.WorkspaceID, id gateway.CompanyID, q gateway.AccountQuery) (page *gateway.AccountPage, err error) {
	err = r.view(ctx, "account", func(tx *sql.Tx) error {
		a := &account{tx: tx, w: w, company: int64(id), spans: r.spans, search: r.spans.account, limit: bounded(q.Limit), from: q.Before,
			until: map[int64]int64{}, into: map[int64]int64{}, begun: time.Now()}
		page, err = a.page(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return page, nil
}

func (a *account) page(ctx context.Context) (*gateway.AccountPage, error) {
	var employees int
	err := a.tx.QueryRowContext(ctx, `SELECT employees FROM companies WHERE workspace_id = $1 AND id = $2`, int64(a.w), a.company).Scan(&employees)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, notFound("company")
	}
	if err != nil {
		return nil, err
	}
	page := &gateway.AccountPage{}
	if a.limit == 0 {
		return page, nil
	}
	few := employees <= a.search.people
	if few {
		if few, err = a.people(ctx); err != nil {
			return nil, err
		}
	}
	var spots []spot
	var stop *spot // the first one behind which not all is known
	for _, event := range []bool{true, false} {
		var found []spot
		var last *spot
		switch {
		case few:
			found, err = a.each(ctx, event)
		case a.search.windows && !event:
			found, last, err = a.windows(ctx)
		default:
			found, last, err = a.walk(ctx, event)
		}
		if err != nil {
			return nil, err
		}
		spots = append(spots, found...)
		if last != nil && (stop == nil || last.compare(*stop) < 0) {
			stop = last
		}
	}
	slices.SortFunc(spots, spot.compare)
	if stop != nil {
		i, _ := slices.BinarySearchFunc(spots, *stop, spot.compare)
		for i < len(spots) && spots[i].compare(*stop) == 0 {
			i++
		}
		spots = spots[:i]
	}
	switch {
	case len(spots) > a.limit:
		spots = spots[:a.limit]
		page.Next = spots[a.limit-1].behind()
	case stop != nil:
		page.Next, page.Partial = stop.behind(), len(spots) < a.limit
	}
	page.Entries, err = a.entries(ctx, spots)
	return page, err
}

// start is where the page begins in one of the tables.
func (a *account) start(event bool) (at, id int64) {
	switch {
	case a.from == gateway.AccountPlace{}:
		return math.MaxInt64, math.MaxInt64
	case event:
		return micros(a.from.At), a.from.Event
	}
	return micros(a.from.At), a.from.PageView
}

func tableOf(event bool) string {
	if event {
		return "events"
	}
	return "page_views"
}

// people notes all that are or were employees, with those that became part of them,
// and reports whether they are few. The work is bounded if they are not.
func (a *account) people(ctx context.Context) (few bool, err error) {
	var next []int64
	note := func(id, until int64) {
		if have, known := a.until[id]; !known || have < until {
			a.until[id] = until
			next = append(next, id)
		}
	}
	for _, which := range []string{"until = 0", "until <> 0"} {
		n := 0
		err := query(ctx, a.tx, func(rows *sql.Rows) error {
			var id, until int64
			n++
			err := rows.Scan(&id, &until)
			if until == 0 {
				until = math.MaxInt64
			}
			note(id, until)
			return err
		}, `SELECT contact_id, until FROM memberships WHERE workspace_id = $1 AND company_id = $2 AND `+which+`
			ORDER BY since DESC, contact_id DESC, until DESC LIMIT $3`, int64(a.w), a.company, a.search.people+1)
		if err != nil || n > a.search.people {
			clear(a.until)
			return false, err
		}
	}
	for range maxMerges {
		if len(next) == 0 || len(a.until) > 3*a.search.people {
			break
		}
		of := a.list(next)
		next = nil
		err := query(ctx, a.tx, func(rows *sql.Rows) error {
			var into, id int64
			err := rows.Scan(&into, &id)
			a.into[id] = into
			note(id, a.until[into])
			return err
		}, a.search.aliases, int64(a.w), of)
		if err != nil {
			return false, err
		}
	}
	if len(a.until) > 3*a.search.people {
		clear(a.until)
		return false, nil
	}
	return true, nil
}

// list writes ids as the parameter of a statement.
func (a *account) list(ids []int64) string {
	b := []byte(a.spans.open)
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, a.spans.close...))
}

// latest is up to where the history of a contact counts, and when its newest entry was.
type latest struct{ contact, at, before, found int64 }

// latestOf finds the newest entry of each, and returns those who have one, by that time.
func (a *account) latestOf(ctx context.Context, event bool, all []latest) (active []latest, err error) {
	slices.SortFunc(all, func(x, y latest) int { return cmp.Compare(x.contact, y.contact) }) // neighbours in the index
	for part := range slices.Chunk(all, chunk) {
		var b strings.Builder
		args := []any{int64(a.w)}
		b.WriteString("WITH wanted (workspace_id, who, at, before) AS MATERIALIZED (VALUES ")
		byID := make(map[int64]latest, len(part))
		for i, n := range part {
			if i == 0 {
				b.WriteString("(CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint), CAST($4 AS bigint))")
			} else {
				fmt.Fprintf(&b, ", ($1, $%d, $%d, $%d)", 3*i+2, 3*i+3, 3*i+4)
			}
			args = append(args, n.contact, n.at, n.before)
			byID[n.contact] = n
		}
		fmt.Fprintf(&b, `) SELECT w.who, (SELECT v.at FROM %s v WHERE v.workspace_id = w.workspace_id AND v.contact_id = w.who AND (v.at, v.id) < (w.at, w.before)
			ORDER BY v.at DESC, v.id DESC LIMIT 1) FROM wanted w`, tableOf(event))
		err := query(ctx, a.tx, func(rows *sql.Rows) error {
			var id int64
			var found sql.NullInt64
			err := rows.Scan(&id, &found)
			if found.Valid {
				n := byID[id]
				n.found = found.Int64
				active = append(active, n)
			}
			return err
		}, b.String(), args...)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(active, func(x, y latest) int { return cmp.Compare(y.found, x.found) })
	return active, nil
}

// each finds the newest entries of all that people noted: the newest one of each
// first, and then more of those that can be among the newest of all.
func (a *account) each(ctx context.Context, event bool) (spots []spot, err error) {
	at, before := a.start(event)
	all := make([]latest, 0, len(a.until))
	for id, until := range a.until {
		n := latest{id, at, before, 0}
		if until < at {
			n.at, n.before = until, math.MaxInt64
		}
		all = append(all, n)
	}
	active, err := a.latestOf(ctx, event, all)
	if err != nil {
		return nil, err
	}
	floor := int64(math.MinInt64)
	if len(active) > a.limit {
		// So many have an entry at this time or later: nothing earlier can be on the page.
		floor = active[a.limit].found
		n, _ := slices.BinarySearchFunc(active, floor, func(x latest, floor int64) int {
			if x.found >= floor {
				return -1
			}
			return 1
		})
		active = active[:n]
	}
	for part := range slices.Chunk(active, maxAliases) {
		var b strings.Builder
		args := []any{int64(a.w), a.limit + 1, floor}
		for i, n := range part {
			if i > 0 {
				b.WriteString(" UNION ALL ")
			}
			fmt.Fprintf(&b, `SELECT * FROM (SELECT id, at, contact_id FROM %s WHERE workspace_id = $1 AND contact_id = $%d AND (at, id) < ($%d, $%d) AND at >= $3
				ORDER BY at DESC, id DESC LIMIT $2) AS h%d`, tableOf(event), 3*i+4, 3*i+5, 3*i+6, i)
			args = append(args, n.contact, n.at, n.before)
		}
		if err := a.spots(ctx, &spots, event, b.String(), args...); err != nil {
			return nil, err
		}
	}
	return spots, nil
}

// spots runs a query for id, at and contact_id of entries.
func (a *account) spots(ctx context.Context, into *[]spot, event bool, text string, args ...any) error {
	return query(ctx, a.tx, func(rows *sql.Rows) error {
		s := spot{event: event}
		err := rows.Scan(&s.id, &s.at, &s.contact)
		*into = append(*into, s)
		return err
	}, text, args...)
}

// walk goes through all entries of the workspace, the newest first, and keeps those of
// the company. stop is the last that it looked at, nil if that was the very last or there
// are enough.
func (a *account) walk(ctx context.Context, event bool) (kept []spot, stop *spot, err error) {
	at, before := a.start(event)
	text := `SELECT id, at, contact_id FROM ` + tableOf(event) + ` WHERE workspace_id = $1 AND at <= $2 AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT $4`
	for seen, n := 0, a.search.chunk; ; n = min(2*n, 4*a.search.chunk) {
		n = min(n, a.search.rows-seen)
		var found []spot
		if err := a.spots(ctx, &found, event, text, int64(a.w), at, before, n); err != nil {
			return nil, nil, err
		}
		var last spot
		if len(found) == n {
			last = found[n-1]
		}
		theirs, err := a.theirs(ctx, found)
		if err != nil {
			return nil, nil, err
		}
		if kept = append(kept, theirs...); len(found) < n || len(kept) > a.limit {
			return kept, nil, nil
		}
		if seen += n; a.enough(seen) {
			return kept, &last, nil
		}
		at, before = last.at, last.id
	}
}

// Windows of time, in microseconds.
const (
	firstWindow = int64(time.Minute / time.Microsecond)
	maxWindows  = 64
)

// windows is walk for page views that can be found by spans of time, but not in their
// order. It begins where some of the people were last. The spans grow and shrink with
// what is in them: of one that has too much the newer half is tried, and when that is
// empty the rest, so that neither a long silence nor how much there is at once takes
// many of them.
func (a *account) windows(ctx context.Context) (kept []spot, stop *spot, err error) {
	at, before := a.start(false)
	if before <= 0 { // nothing is left of that time
		at, before = at-1, math.MaxInt64
	}
	to, from := at, at
	if at == math.MaxInt64 {
		from = time.Now().UnixMicro()
	}
	wish := 2 * a.search.chunk // page views of a window
	// There is a page view at known, and about as many as wished for in a span of dense.
	known, dense := int64(math.MinInt64), int64(0)
	width, seen := firstWindow, 0
	some, err := a.ofSome(ctx, at, before)
	if err != nil {
		return nil, nil, err
	}
	if len(some) > 0 { // as many as the page has room for are not before that
		known = some[0].found
		from = max(from, known)
		width = max(1, from-some[min(a.limit, len(some)-1)].found)
	}
	for i := 0; ; i++ {
		low := from - width
		if low <= 0 {
			low = math.MinInt64
		}
		most := 2 * wish
		if width == 0 {
			most = math.MaxInt32 // all of one time, which nothing tells apart
		}
		found, err := a.window(ctx, low, to, most+1)
		if err != nil {
			return nil, nil, err
		}
		if len(found) > most {
			oldest := found[0].at
			latest := oldest
			for _, s := range found {
				latest, oldest = max(latest, s.at), min(oldest, s.at)
			}
			known = max(known, latest)
			dense = int64(float64(latest-oldest) * float64(wish) / float64(len(found)))
			from = max(from, known) // known may be in the future
			switch gap := from - known; {
			case latest == oldest && latest == low:
				width = max(0, gap-1) // all at once, as it seems: first what came after it
			case gap > dense:
				width = gap / 2
			default:
				width = gap + dense
			}
			continue
		}
		n := len(found)
		found = slices.DeleteFunc(found, func(s spot) bool { return s.at == at && s.id >= before })
		slices.SortFunc(found, spot.compare)
		theirs, err := a.theirs(ctx, found)
		if err != nil {
			return nil, nil, err
		}
		seen += n
		switch kept = append(kept, theirs...); {
		case len(kept) > a.limit || low == math.MinInt64:
			return kept, nil, nil
		case a.enough(seen) || i >= maxWindows:
			return kept, &spot{at: low}, nil
		}
		from, to = low-1, low-1
		if known > to {
			known = math.MinInt64
		}
		switch {
		case n > 0:
			width = max(1, int64(float64(width)*min(8, max(.25, float64(wish)/float64(n)))))
		case known != math.MinInt64:
			width = from - known
		default:
			width = 16 * max(1, width)
		}
	}
}

// ofSome finds the newest page view before a place of each of some employees, those who
// had come last by then, by time. A search of a company's page views does well to begin with where
// these are.
func (a *account) ofSome(ctx context.Context, at, before int64) ([]latest, error) {
	var all []latest
	err := query(ctx, a.tx, func(rows *sql.Rows) error {
		n := latest{at: at, before: before}
		err := rows.Scan(&n.contact)
		all = append(all, n)
		return err
	}, `SELECT contact_id FROM memberships WHERE workspace_id = $1 AND company_id = $2 AND until = 0 AND since <= $3
		ORDER BY since DESC, contact_id DESC LIMIT $4`, int64(a.w), a.company, at, chunk)
	if err != nil {
		return nil, err
	}
	return a.latestOf(ctx, false, all)
}

// window reads the page views of a span of time, at most limit of them.
func (a *account) window(ctx context.Context, from, to int64, limit int) (found []spot, err error) {
	// Ranges of blocks can be read by a bitmap only; see postgresSpans.
	if _, err := a.tx.ExecContext(ctx, a.spans.prepare); err != nil {
		return nil, err
	}
	if err := a.spots(ctx, &found, false, a.search.viewed, int64(a.w), from, to, limit); err != nil {
		return nil, err
	}
	_, err = a.tx.ExecContext(ctx, a.spans.restore)
	return found, err
}

// theirs keeps the spots of people of the company. It changes spots.
func (a *account) theirs(ctx context.Context, spots []spot) ([]spot, error) {
	var ids []int64
	for _, s := range spots {
		ids = append(ids, s.contact)
	}
	if err := a.look(ctx, ids); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(spots, func(s spot) bool {
		until := a.until[s.contact]
		return until == notTheirs || s.at > until
	}), nil
}

// look finds out up to when the histories of contacts count that are not known yet.
func (a *account) look(ctx context.Context, ids []int64) error {
	var fresh []int64
	for _, id := range ids {
		if _, known := a.until[id]; !known {
			a.until[id] = notTheirs
			fresh = append(fresh, id)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	chain, err := a.follow(ctx, fresh)
	if err != nil {
		return err
	}
	until := map[int64]int64{}
	err = query(ctx, a.tx, func(rows *sql.Rows) error {
		var id, to int64
		err := rows.Scan(&id, &to)
		if to == 0 {
			to = math.MaxInt64
		}
		until[id] = max(until[id], to)
		return err
	}, a.search.employed, int64(a.w), a.list(chain), a.company)
	if err != nil {
		return err
	}
	for _, id := range fresh {
		for one, i := id, 0; one != 0 && i < maxMerges; one, i = a.into[one], i+1 {
			if to, ok := until[one]; ok {
				a.until[id] = max(a.until[id], to)
			}
		}
	}
	return nil
}

// follow notes what contacts became part of, and what that did, and returns all of
// them, each once.
func (a *account) follow(ctx context.Context, ids []int64) (chain []int64, err error) {
	seen := map[int64]bool{}
	for next := ids; len(next) > 0 && len(chain) <= len(ids)*maxMerges; {
		var fresh []int64
		for _, id := range next {
			if !seen[id] {
				seen[id] = true
				fresh = append(fresh, id)
			}
		}
		chain, next = append(chain, fresh...), nil
		if len(fresh) == 0 {
			break
		}
		err := query(ctx, a.tx, func(rows *sql.Rows) error {
			var id, into int64
			err := rows.Scan(&id, &into)
			a.into[id] = into
			next = append(next, into)
			return err
		}, a.spans.merged, int64(a.w), a.list(fresh))
		if err != nil {
			return nil, err
		}
	}
	return chain, nil
}

// root is the contact that one is now, by what follow noted.
func (a *account) root(id int64) int64 {
	for range maxMerges {
		into := a.into[id]
		if into == 0 {
			break
		}
		id = into
	}
	return id
}

// entries reads what is at the spots, in their order.
func (a *account) entries(ctx context.Context, spots []spot) ([]gateway.AccountEntry, error) {
	ids := make([]int64, len(spots))
	for i, s := range spots {
		ids[i] = s.contact
	}
	if _, err := a.follow(ctx, ids); err != nil {
		return nil, err
	}
	for i, s := range spots {
		ids[i] = a.root(s.contact)
	}
	slices.Sort(ids)
	people := map[int64]*gateway.Contact{}
	for part := range slices.Chunk(slices.Compact(ids), chunk) {
		found, err := contacts(ctx, a.tx, a.w, `WITH `+wanted(len(part))+` `+contactFields+` FROM wanted w CROSS JOIN contacts c
			WHERE c.workspace_id = w.workspace_id AND c.id = w.id`, params(a.w, part)...)
		if err != nil {
			return nil, err
		}
		for _, c := range found {
			people[int64(c.ID)] = &c.Contact
		}
	}
	views, events := map[int64]*gateway.PageView{}, map[int64]*gateway.Event{}
	for _, event := range []bool{true, false} {
		some := slices.DeleteFunc(slices.Clone(spots), func(s spot) bool { return s.event != event })
		for part := range slices.Chunk(some, chunk) {
			scan := func(rows *sql.Rows) error {
				v, err := scanPageView(rows, a.w)
				views[v.ID] = &v
				return err
			}
			columns := pageViewColumns
			if event {
				columns = eventColumns
				scan = func(rows *sql.Rows) error {
					e, err := scanEvent(rows, a.w)
					events[e.ID] = &e
					return err
				}
			}
			text, args := wholeRows(a.w, tableOf(event), columns, part)
			if err := query(ctx, a.tx, scan, text, args...); err != nil {
				return nil, err
			}
		}
	}
	all := make([]gateway.AccountEntry, 0, len(spots))
	for _, s := range spots {
		e := gateway.AccountEntry{Contact: people[a.root(s.contact)], Former: a.until[s.contact] != math.MaxInt64}
		if s.event {
			e.Event = events[s.id]
		} else {
			e.PageView = views[s.id]
		}
		if e.Contact == nil || e.Event == nil && e.PageView == nil {
			return nil, fmt.Errorf("entry %d of contact %d is not there", s.id, s.contact)
		}
		all = append(all, e)
	}
	return all, nil
}

// wholeRows is the query for the rows at some spots of a table, by all that its keys
// are made of.
func wholeRows(w gateway.WorkspaceID, table, columns string, spots []spot) (string, []any) {
	var b strings.Builder
	args := []any{int64(w)}
	b.WriteString("WITH wanted (workspace_id, who, since, entry) AS MATERIALIZED (VALUES ")
	for i, s := range spots {
		if i == 0 {
			b.WriteString("(CAST($1 AS bigint), CAST($2 AS bigint), CAST($3 AS bigint), CAST($4 AS bigint))")
		} else {
			fmt.Fprintf(&b, ", ($1, $%d, $%d, $%d)", 3*i+2, 3*i+3, 3*i+4)
		}
		args = append(args, s.contact, s.at, s.id)
	}
	fmt.Fprintf(&b, `) SELECT v.id, v.at, %s FROM wanted w CROSS JOIN %s v
		WHERE v.workspace_id = w.workspace_id AND v.contact_id = w.who AND v.at = w.since AND v.id = w.entry`, columns, table)
	return b.String(), args
}

// maxPassed is how many identifiers that begin with a text are looked at for e-mails.
const maxPassed = 100_000

// ContactsByEmailPrefix implements gateway.Reader: a span of the index of e-mails. In SQLite
// that is one of all identifiers, and all custom ids or phone numbers may begin alike.
func (r *reader) ContactsByEmailPrefix(ctx context.Context, w gateway.WorkspaceID, prefix string, limit int) ([]*gateway.ContactView, error) {
	if prefix == "" || !storable(prefix) {
		return nil, nil
	}
	text := contactSelect + ` WHERE c.workspace_id = $1 AND c.email_key >= $2 AND c.email_key < $3 AND c.merged_into = 0 ORDER BY c.email_key, c.id LIMIT $4`
	if r.spans.oneTree {
		text = contactFields + ` FROM (SELECT * FROM (SELECT value, kind, workspace_id, slot, contact_id FROM identifiers WHERE value >= $2 AND value < $3
					ORDER BY value, kind, workspace_id, slot LIMIT ` + strconv.Itoa(maxPassed) + `) AS h1
				WHERE h1.workspace_id = $1 AND h1.kind = 2 AND (SELECT merged_into FROM contacts WHERE id = h1.contact_id) = 0 LIMIT $4) AS h2
			CROSS JOIN contacts c WHERE c.workspace_id = h2.workspace_id AND c.id = h2.contact_id`
	}
	found, err := r.manyContacts(ctx, "contacts by the start of their e-mail", w, text, int64(w), prefix, prefix+"\U0010ffff", bounded(limit))
	slices.SortFunc(found, func(a, b *gateway.ContactView) int {
		return cmp.Or(cmp.Compare(a.EmailKey, b.EmailKey), cmp.Compare(a.ID, b.ID))
	})
	return found, err
}
