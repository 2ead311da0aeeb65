package store

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file finds contacts by when they were created or seen, and by how many page
// views they have.
//
// Decisions
//
//   - What a contact's Activity is, is said in one place (activities). A condition on it is
//     decided in Go on what that returns, for a chunk of contacts at a time.
//   - Whoever was first or last seen within a span has a page view in it, or has none at
//     all and was created or changed in it (unseen_at). The indexes of these name the contacts
//     of a short span; for one that names too many, the newest contacts of the list
//     are looked at first, since those of a long span that is not over are among them, then
//     the span's again, up to a higher bound, and then the rest of the list.
//   - Nothing leads to contacts by updated_at: each change of a contact would have to pay
//     for that. They are found by going through the list.

// maxMerges bounds how often a contact can have become part of another.
const maxMerges = 1000

// span is when something happened to the contacts that are searched: from and to in
// microseconds, both included.
type span struct {
	field    string // created_at, first_seen or last_seen
	from, to int64
}

// span takes in what a condition says of a time, perhaps more than that.
func (f *finder) span(c *comparison) {
	if !c.isTime {
		return
	}
	i := slices.IndexFunc(f.spans, func(s span) bool { return s.field == c.field })
	if i < 0 {
		i = len(f.spans)
		f.spans = append(f.spans, span{c.field, math.MinInt64, math.MaxInt64})
	}
	s, at := &f.spans[i], c.when.UnixMicro()
	switch c.op {
	case gateway.OpEqual:
		s.from, s.to = max(s.from, at), min(s.to, at)
	case gateway.OpGreater, gateway.OpAtLeast:
		s.from = max(s.from, at)
	case gateway.OpLess, gateway.OpAtMost:
		s.to = min(s.to, at)
	}
}

// activity compares a part of a contact's Activity.
func (f *finder) activity(c *comparison) {
	_, ok := orders[c.op]
	switch {
	case !ok, c.field == "page_views" && c.value.Type != gateway.TypeNumber, c.field != "page_views" && !c.isTime:
		f.never = true
		return
	case c.field != "page_views":
		f.span(c)
	}
	f.created, f.updated = want[int64](f, "c.created_at"), want[int64](f, "c.updated_at")
	f.active = append(f.active, c)
}

// active reports whether the activity of a contact meets the condition.
func (c *comparison) active(a gateway.Activity) bool {
	at := a.FirstSeen
	switch c.field {
	case "page_views":
		return c.number(strconv.FormatInt(a.PageViews, 10))
	case "last_seen":
		at = a.LastSeen
	}
	return !at.IsZero() && c.holds(at.Compare(c.when))
}

// withActivity keeps those contacts whose activity meets all conditions.
func (f *finder) withActivity(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, ids []int64, lives []lifetime) ([]int64, error) {
	if len(f.active) == 0 || len(ids) == 0 {
		return ids, nil
	}
	all, err := activities(ctx, tx, w, lives)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(ids, func(id int64) bool {
		return slices.ContainsFunc(f.active, func(c *comparison) bool { return !c.active(all[id]) })
	}), nil
}

// within is ids for conditions of which at least one is a span.
func (f *finder) within(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, before int64, limit int) ([]int64, error) {
	some, all, err := f.candidates(ctx, tx, w, f.search.few)
	if err != nil {
		return nil, err
	}
	if all {
		ids, _, err := f.among(ctx, tx, w, some, before, limit, time.Time{})
		return ids, err
	}
	var floor sql.NullInt64
	err = tx.QueryRowContext(ctx, `SELECT min(id) FROM (SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into = 0 AND id < $2 ORDER BY id DESC LIMIT $3) AS h1`,
		int64(w), before, f.search.newest).Scan(&floor)
	if err != nil || !floor.Valid {
		return nil, err
	}
	ids, err := f.walk(ctx, tx, w, before, floor.Int64, limit)
	if err != nil || len(ids) == limit {
		return ids, err
	}
	if some, all, err = f.candidates(ctx, tx, w, f.search.many); err != nil {
		return nil, err
	}
	var rest []int64
	if all {
		rest, _, err = f.among(ctx, tx, w, some, floor.Int64, limit-len(ids), time.Time{})
	} else {
		rest, err = f.walk(ctx, tx, w, floor.Int64, 0, limit-len(ids))
	}
	if err != nil {
		return nil, err
	}
	return append(ids, rest...), nil
}

// among is walk for the contacts with the given ids, the highest first. If end is a time
// it stops then, and down is where; else that is 0.
func (f *finder) among(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, some []int64, before int64, limit int, end time.Time) (ids []int64, down int64, err error) {
	some = slices.DeleteFunc(some, func(id int64) bool { return id >= before })
	for part := range slices.Chunk(some, chunk) {
		text := "WITH " + wantedFrom(len(f.args)+1, len(part)) + " " +
			f.selected("wanted w CROSS JOIN "+f.one) +
			" ORDER BY c.id DESC LIMIT $3"
		args := slices.Clone(f.args)
		args[1], args[2] = before, len(part)
		for _, id := range part {
			args = append(args, id)
		}
		met, _, _, err := f.rows(ctx, tx, w, text, args, before, limit-len(ids))
		if err != nil {
			return nil, 0, err
		}
		if ids = append(ids, met...); len(ids) >= limit {
			return ids[:limit], 0, nil
		}
		if last := part[len(part)-1]; last != some[len(some)-1] && !end.IsZero() && time.Now().After(end) {
			return ids, last, nil
		}
	}
	return ids, 0, nil
}

// spanBounds are how many page views, and contacts, of a span are looked at before and
// after the newest contacts of the list are.
type spanBounds struct{ few, newest, many int }

var defaultSpanBounds = spanBounds{few: 20_000, newest: 2_000, many: 200_000}

// spanSearch is how the contacts are found that had something happen to them in a
// span $2 to $3 of workspace $1, at most $4 rows: how many rows there are, and the ids of
// their contacts with commas. One long row is read several times as fast as many.
type spanSearch struct {
	spanBounds
	viewed, created, unseen string
	// prepare and restore are run before and after viewed and created; "" for
	// nothing.
	prepare, restore string
	// merged finds those of the contacts in $2 (with commas, between open and close)
	// that became part of others: their ids and the others'.
	merged, open, close string
	account             *accountSearch
	// listed is what finds contacts that are not merged away in the order of their ids.
	listed string
	names  nameBounds
	// oneTree says that the identifiers of all workspaces and kinds are one index, by
	// value.
	oneTree bool
	orders  orderBounds
}

var (
	sqliteSpans = spanSearch{
		spanBounds: defaultSpanBounds, orders: defaultOrderBounds,
		viewed: `SELECT count(*), coalesce(group_concat(contact_id), '')
			FROM (SELECT contact_id FROM page_views WHERE workspace_id = $1 AND at >= $2 AND at <= $3 ORDER BY at LIMIT $4) AS h1`,
		created: `SELECT count(*), coalesce(group_concat(id), '')
			FROM (SELECT id FROM contacts WHERE workspace_id = $1 AND created_at >= $2 AND created_at <= $3 ORDER BY created_at LIMIT $4) AS h1`,
		unseen: `SELECT count(*), coalesce(group_concat(id), '')
			FROM (SELECT id FROM contacts WHERE workspace_id = $1 AND unseen_at >= $2 AND unseen_at <= $3 AND unseen_at <> 0 ORDER BY unseen_at LIMIT $4) AS h1`,
		merged: `SELECT c.id, c.merged_into FROM json_each($2) AS w CROSS JOIN contacts c WHERE c.id = w.value AND c.workspace_id = $1 AND c.merged_into <> 0`,
		open:   "[", close: "]",
		account: &sqliteAccounts,
		listed:  sqliteListed,
		names:   defaultNameBounds,
		oneTree: true,
	}
	// Ranges of blocks can be read by a bitmap only, which plannerSettings rule out.
	postgresSpans = spanSearch{
		spanBounds: defaultSpanBounds, orders: defaultOrderBounds,
		viewed: `SELECT count(*), coalesce(string_agg(contact_id::text, ','), '')
			FROM (SELECT contact_id FROM page_views WHERE workspace_id + 0 = $1 AND at + 0 >= $2 AND at + 0 <= $3 LIMIT $4) AS h1`,
		created: `SELECT count(*), coalesce(string_agg(id::text, ','), '')
			FROM (SELECT id FROM contacts WHERE workspace_id + 0 = $1 AND created_at + 0 >= $2 AND created_at + 0 <= $3 LIMIT $4) AS h1`,
		unseen: `SELECT count(*), coalesce(string_agg(id::text, ','), '')
			FROM (SELECT id FROM contacts WHERE workspace_id = $1 AND unseen_at >= $2 AND unseen_at <= $3 AND unseen_at <> 0 ORDER BY unseen_at LIMIT $4) AS h1`,
		prepare: `SELECT set_config('enable_bitmapscan', 'on', true), set_config('enable_indexscan', 'off', true), set_config('enable_indexonlyscan', 'off', true)`,
		restore: `SELECT set_config('enable_bitmapscan', 'off', true), set_config('enable_indexscan', 'on', true), set_config('enable_indexonlyscan', 'on', true)`,
		merged: `SELECT c.id, c.merged_into FROM (SELECT $1::bigint AS workspace_id, unnest($2::text::bigint[]) AS id OFFSET 0) AS u
			JOIN contacts c ON c.workspace_id = u.workspace_id AND c.id = u.id WHERE c.merged_into <> 0`,
		open: "{", close: "}",
		account: &postgresAccounts,
		listed:  postgresListed,
		names:   defaultNameBounds,
	}
)

// candidates returns the contacts that one of the spans can find, the highest id
// first; all is false if it would have to look at more than limit rows of each.
func (f *finder) candidates(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, limit int) (ids []int64, all bool, err error) {
	for _, s := range f.spans {
		found := map[int64]bool{}
		in := func(text string) error {
			var n int
			var ids string
			if err := tx.QueryRowContext(ctx, text, int64(w), s.from, s.to, limit+1).Scan(&n, &ids); err != nil {
				return err
			}
			if all = all && n <= limit; !all || n == 0 {
				return nil
			}
			for text := range strings.SplitSeq(ids, ",") {
				id, err := strconv.ParseInt(text, 10, 64)
				if err != nil {
					return fmt.Errorf("ids of a span: %w", err)
				}
				found[id] = true
			}
			return nil
		}
		all = true
		if f.search.prepare != "" {
			if _, err := tx.ExecContext(ctx, f.search.prepare); err != nil {
				return nil, false, err
			}
		}
		if s.field != "created_at" {
			err = in(f.search.viewed)
		}
		if err == nil && all && s.field != "last_seen" {
			err = in(f.search.created)
		}
		if err == nil && f.search.restore != "" {
			_, err = tx.ExecContext(ctx, f.search.restore)
		}
		if err == nil && all && s.field == "last_seen" {
			err = in(f.search.unseen)
		}
		if err != nil {
			return nil, false, err
		}
		if all {
			ids, err = f.survivors(ctx, tx, w, found)
			return ids, true, err
		}
	}
	return nil, false, nil
}

// survivors returns what contacts are part of now, each once, the highest id first. It
// changes of.
func (f *finder) survivors(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, of map[int64]bool) (ids []int64, err error) {
	next := slices.Collect(maps.Keys(of))
	for range maxMerges {
		if len(next) == 0 {
			break
		}
		list := []byte(f.search.open)
		for i, id := range next {
			if i > 0 {
				list = append(list, ',')
			}
			list = strconv.AppendInt(list, id, 10)
		}
		next = next[:0]
		err := query(ctx, tx, func(rows *sql.Rows) error {
			var id, into int64
			err := rows.Scan(&id, &into)
			delete(of, id)
			if !of[into] {
				of[into] = true
				next = append(next, into)
			}
			return err
		}, f.search.merged, int64(w), string(append(list, f.search.close...)))
		if err != nil {
			return nil, err
		}
	}
	ids = slices.Sorted(maps.Keys(of))
	slices.Reverse(ids)
	return ids, nil
}
