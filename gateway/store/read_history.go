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

	"civgate/gateway"
)

// This file reads what contacts did: page views, events and merges.
//
// Decisions
//
//   - History is read in pages by (at, id), so that it can be read to its end and a
//     page costs the same wherever it is: each contact that became part of the one
//     asked for has its page looked up in the index, and the newest of all are kept. Events
//     of one kind are picked from those of both.
//   - Merges are few for a contact and sorted when they are read.
//   - The events of a workspace are listed by id, as they were stored, and not by when
//     they happened: what is told late is new to who follows the list.

// maxAliases is how many contacts one query of history takes: SQLite allows
// 500 parts of a compound select.
const maxAliases = 100

// startOf is where a page of history begins: behind (at, id) in the order of the
// newest first.
func startOf(q gateway.HistoryQuery) (at, id int64) {
	if q.BeforeAt.IsZero() && q.BeforeID == 0 {
		return math.MaxInt64, math.MaxInt64
	}
	return micros(q.BeforeAt), q.BeforeID
}

// newest writes a query for the newest rows of a table of history that belong
// to n contacts ($6 and on) of workspace $1, at most $2, behind the place ($3, $4),
// and of kind $5 unless that is empty: the newest of each by index, then the newest
// of those.
func newest(table, columns, kind string, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(" UNION ALL ")
		}
		fmt.Fprintf(&b, `SELECT * FROM (SELECT id, at, %s FROM %s WHERE workspace_id = $1 AND contact_id = $%d AND (at, id) < ($3, $4) AND $5 IN ('', %s)
			ORDER BY at DESC, id DESC LIMIT $2) AS h%d`, columns, table, i+6, kind, i)
	}
	b.WriteString(" ORDER BY at DESC, id DESC LIMIT $2")
	return b.String()
}

// history reads a page of a table of history. scan reads a row that begins with id
// and at, order compares two by these.
func history[T any](ctx context.Context, r *reader, op string, w gateway.WorkspaceID, id gateway.ContactID, q gateway.HistoryQuery, table, columns, kind string,
	scan func(rows *sql.Rows) (T, error), place func(x *T) (at, id int64)) (all []T, err error) {
	limit := bounded(q.Limit)
	at, before := startOf(q)
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		_, ids, err := survivorAndAliases(ctx, tx, w, id)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(ids, maxAliases) {
			err := query(ctx, tx, func(rows *sql.Rows) error {
				x, err := scan(rows)
				all = append(all, x)
				return err
			}, newest(table, columns, kind, len(part)), slices.Insert(params(w, part), 1, []any{limit, at, before, string(q.Kind)}...)...)
			if err != nil {
				return err
			}
			if len(ids) > maxAliases {
				slices.SortFunc(all, func(a, b T) int {
					atA, idA := place(&a)
					atB, idB := place(&b)
					return cmp.Or(cmp.Compare(atB, atA), cmp.Compare(idB, idA))
				})
				all = all[:min(len(all), limit)]
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

const pageViewColumns = "contact_id, COALESCE(visitor_key, '') AS visitor_key, COALESCE(url, '') AS url, COALESCE(path, '') AS path, COALESCE(title, '') AS title, COALESCE(referrer, '') AS referrer"

func scanPageView(rows *sql.Rows, w gateway.WorkspaceID) (gateway.PageView, error) {
	v := gateway.PageView{WorkspaceID: w}
	var at int64
	err := rows.Scan(&v.ID, &at, &v.ContactID, &v.Key, &v.URL, &v.Path, &v.Title, &v.Referrer)
	v.At = moment(at)
	return v, err
}

// PageViews implements gateway.Reader.
func (r *reader) PageViews(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID, q gateway.HistoryQuery) ([]gateway.PageView, error) {
	q.Kind = ""
	return history(ctx, r, "page views", w, id, q, "page_views", pageViewColumns, "''", func(rows *sql.Rows) (gateway.PageView, error) {
		return scanPageView(rows, w)
	}, func(v *gateway.PageView) (at, id int64) { return micros(v.At), v.ID })
}

const eventColumns = "contact_id, COALESCE(visitor_key, '') AS visitor_key, kind, name, COALESCE(data, '') AS data"

func scanEvent(rows *sql.Rows, w gateway.WorkspaceID) (gateway.Event, error) {
	e := gateway.Event{WorkspaceID: w}
	var at int64
	err := rows.Scan(&e.ID, &at, &e.ContactID, &e.Key, &e.Kind, &e.Name, &e.Data)
	e.At = moment(at)
	return e, err
}

// Events implements gateway.Reader.
func (r *reader) Events(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID, q gateway.HistoryQuery) ([]gateway.Event, error) {
	return history(ctx, r, "events", w, id, q, "events", eventColumns, "kind", func(rows *sql.Rows) (gateway.Event, error) {
		return scanEvent(rows, w)
	}, func(e *gateway.Event) (at, id int64) { return micros(e.At), e.ID })
}

// workspaceEvents runs a query for events of all contacts of a workspace.
func (r *reader) workspaceEvents(ctx context.Context, op string, w gateway.WorkspaceID, where string, args ...any) (events []gateway.Event, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			e, err := scanEvent(rows, w)
			events = append(events, e)
			return err
		}, `SELECT id, at, `+eventColumns+` FROM events WHERE workspace_id = $1 AND id `+where, slices.Insert(args, 0, any(int64(w)))...)
	})
	if err != nil {
		return nil, err
	}
	return events, nil
}

// Event implements gateway.Reader.
func (r *reader) Event(ctx context.Context, w gateway.WorkspaceID, id int64) (gateway.Event, error) {
	events, err := r.workspaceEvents(ctx, "event", w, `= $2`, id)
	if err == nil && len(events) == 0 {
		err = notFound("event")
	}
	if err != nil {
		return gateway.Event{}, err
	}
	return events[0], nil
}

// WorkspaceEvents implements gateway.Reader.
func (r *reader) WorkspaceEvents(ctx context.Context, w gateway.WorkspaceID, before int64, limit int) ([]gateway.Event, error) {
	return r.workspaceEvents(ctx, "events of a workspace", w, `< $2 ORDER BY id DESC LIMIT $3`, behind(before), bounded(limit))
}

// Merges implements gateway.Reader.
func (r *reader) Merges(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID, q gateway.HistoryQuery) (merges []gateway.Merge, err error) {
	limit := bounded(q.Limit)
	at, before := startOf(q)
	err = r.view(ctx, "merges", func(tx *sql.Tx) error {
		_, ids, err := survivorAndAliases(ctx, tx, w, id)
		if err != nil {
			return err
		}
		seen := map[int64]bool{}
		for part := range slices.Chunk(ids, chunk) {
			for _, side := range []string{"winner_id", "loser_id"} {
				err := query(ctx, tx, func(rows *sql.Rows) error {
					m, err := scanMerge(rows, w)
					if err != nil {
						return err
					}
					if !seen[m.ID] {
						seen[m.ID] = true
						merges = append(merges, m)
					}
					return nil
				}, mergeFields+` WHERE workspace_id = $1 AND `+side+` IN (`+list(4, len(part))+`) AND (at, id) < ($2, $3) ORDER BY at DESC, id DESC LIMIT `+strconv.Itoa(limit),
					slices.Insert(params(w, part), 1, []any{at, before}...)...)
				if err != nil {
					return err
				}
			}
		}
		slices.SortFunc(merges, func(a, b gateway.Merge) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.ID, a.ID)) })
		return nil
	})
	if err != nil {
		return nil, err
	}
	return merges[:min(len(merges), limit)], nil
}
