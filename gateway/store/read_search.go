package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"civgate/gateway"
)

// This file finds contacts and companies for somebody who waits: as read_find.go does,
// until their patience is over.
//
// Decisions
//
//   - A statement can't be told to stop in time: taking it back costs PostgreSQL the
//     connection. So the list is gone through in windows of as many rows as take a
//     fraction of the time, however many of them meet the conditions.
//   - A window is a number of rows of what leads, not of ids: few of a tag, or of a
//     workspace among many, may be far apart. Of what a tag or the like leads to the ids are
//     read first, and then who has these: PostgreSQL would take a span of ids in such a
//     table for so short that it doesn't matter by which index it goes.
//   - A span of time leads if it finds few contacts; else the newest of the list are looked
//     at like for any other condition. Who is patient has more of them looked up.

const (
	firstSearchWindow = 1000
	maxSearchWindow   = 16_000
	minSearchWindow   = 100
	// patient is the patience for which a span may find as many as for who waits as long as
	// it takes.
	patient = time.Second
)

// SearchContacts implements gateway.Reader.
func (r *reader) SearchContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.Query, patience time.Duration) (views []*gateway.ContactView, down gateway.ContactID, err error) {
	f, err := findContacts(w, q.Where)
	if err != nil {
		return nil, 0, err
	}
	err = r.view(ctx, "search contacts", func(tx *sql.Tx) error {
		f.search = r.spans
		ids, last, err := f.patiently(ctx, tx, w, q, patience, func() (*finder, error) { return amongContacts(w, q.Where) })
		if err != nil {
			return err
		}
		down = gateway.ContactID(last)
		views, err = contactsOf(ctx, tx, w, ids)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return views, down, nil
}

// SearchCompanies implements gateway.Reader.
func (r *reader) SearchCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.Query, patience time.Duration) (views []*gateway.CompanyView, down gateway.CompanyID, err error) {
	f, err := findCompanies(w, q.Where)
	if err != nil {
		return nil, 0, err
	}
	err = r.view(ctx, "search companies", func(tx *sql.Tx) error {
		f.search = r.spans
		ids, last, err := f.patiently(ctx, tx, w, q, patience, func() (*finder, error) { return amongCompanies(w, q.Where) })
		if err != nil {
			return err
		}
		down = gateway.CompanyID(last)
		views, err = companiesOf(ctx, tx, w, ids, q.Brief)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return views, down, nil
}

// ContactsAmong implements gateway.Reader.
func (r *reader) ContactsAmong(ctx context.Context, w gateway.WorkspaceID, ids []gateway.ContactID, where []gateway.Condition) (views []*gateway.ContactView, err error) {
	f, err := amongContacts(w, where)
	if err != nil {
		return nil, err
	}
	if f.never || len(ids) == 0 {
		return nil, nil
	}
	some := make([]int64, len(ids))
	place := make(map[gateway.ContactID]int, len(ids))
	for i, id := range ids {
		some[i], place[id] = int64(id), i
	}
	slices.SortFunc(some, func(a, b int64) int { return cmp.Compare(b, a) })
	some = slices.Compact(some)
	err = r.view(ctx, "contacts among some", func(tx *sql.Tx) error {
		met, _, err := f.among(ctx, tx, w, some, behind(0), len(some), time.Time{})
		if err != nil {
			return err
		}
		views, err = contactsOf(ctx, tx, w, met)
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(views, func(a, b *gateway.ContactView) int { return place[a.ID] - place[b.ID] })
	return views, nil
}

// amongContacts prepares a query that nothing leads, for among.
func amongContacts(w gateway.WorkspaceID, where []gateway.Condition) (*finder, error) {
	all, err := comparisons(where)
	if err != nil {
		return nil, err
	}
	f := &finder{args: []any{int64(w)}}
	f.dest = []any{&f.id}
	f.fromContacts()
	f.contactConditions(all, nil)
	return f, nil
}

// amongCompanies is amongContacts for companies.
func amongCompanies(w gateway.WorkspaceID, where []gateway.Condition) (*finder, error) {
	all, err := comparisons(where)
	if err != nil {
		return nil, err
	}
	f := &finder{args: []any{int64(w)}}
	f.dest = []any{&f.id}
	f.fromCompanies()
	f.list("c.id")
	f.companyConditions(all, nil)
	return f, nil
}

// patiently is ids that stops when patience is over; down is where, else 0. alone makes
// the same query without what leads it.
func (f *finder) patiently(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, q gateway.Query, patience time.Duration, alone func() (*finder, error)) (ids []int64, down int64, err error) {
	limit, before := bounded(q.Limit), behind(q.Before)
	begun := time.Now()
	switch {
	case f.never || limit == 0:
		return nil, 0, nil
	case !f.listed:
		ids, err = f.walk(ctx, tx, w, before, 0, limit)
		return ids, 0, err
	case len(f.spans) > 0:
		most := f.search.few
		if patience >= patient {
			most = f.search.many
		}
		some, all, err := f.candidates(ctx, tx, w, most)
		if err != nil {
			return nil, 0, err
		}
		if all {
			return f.among(ctx, tx, w, some, before, limit, begun.Add(patience))
		}
	}
	var checks *finder
	if f.order != "c.id" {
		if checks, err = alone(); err != nil {
			return nil, 0, err
		}
	}
	for n := min(firstSearchWindow, f.search.newest); ; {
		at := time.Now()
		var floor int64
		var seen int
		var some []int64
		if checks != nil {
			if some, err = f.led(ctx, tx, before, n); err != nil || len(some) == 0 {
				return ids, 0, err
			}
			floor, seen = some[len(some)-1], len(some)
			some, _, err = checks.among(ctx, tx, w, some, before, limit-len(ids), time.Time{})
		} else {
			if floor, seen, err = f.window(ctx, tx, before, n); err != nil || seen == 0 {
				return ids, 0, err
			}
			some, err = f.walk(ctx, tx, w, before, floor, limit-len(ids))
		}
		if err != nil {
			return nil, 0, err
		}
		switch ids = append(ids, some...); {
		case len(ids) >= limit || seen < n:
			return ids, 0, nil
		case time.Since(begun) >= patience:
			return ids, floor, nil
		}
		before = floor
		// The next one is to take about an eighth of the time.
		took := max(time.Since(at), time.Microsecond)
		n = int(min(4, max(0.25, float64(patience)/8/float64(took))) * float64(n))
		n = min(max(n, minSearchWindow), maxSearchWindow)
	}
}

// window returns the lowest id of the next n rows of the list below before, and how many
// there are.
func (f *finder) window(ctx context.Context, tx *sql.Tx, before int64, n int) (floor int64, seen int, err error) {
	args := slices.Clone(f.args[:f.leadArgs])
	args[1], args[2] = before, n
	var lowest sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT min(id), count(*) FROM (SELECT `+f.order+` AS id FROM `+f.from+f.lead+` ORDER BY `+f.order+` DESC LIMIT $3) AS h1`,
		args...).Scan(&lowest, &seen)
	return lowest.Int64, seen, err
}

// led returns the ids of the next n rows of the list below before.
func (f *finder) led(ctx context.Context, tx *sql.Tx, before int64, n int) (ids []int64, err error) {
	args := slices.Clone(f.args[:f.leadArgs])
	args[1], args[2] = before, n
	err = query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, `SELECT `+f.order+` FROM `+f.from+f.lead+` ORDER BY `+f.order+` DESC LIMIT $3`, args...)
	return ids, err
}
