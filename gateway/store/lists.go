package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"

	"civgate/gateway"
)

const listColumns = `id, name, description, created_at, updated_at`

func scanList(row scanner, w gateway.WorkspaceID) (gateway.List, error) {
	l := gateway.List{WorkspaceID: w}
	var created, updated int64
	err := row.Scan(&l.ID, &l.Name, &l.Description, &created, &updated)
	l.CreatedAt, l.UpdatedAt = moment(created), moment(updated)
	return l, err
}

const listByID = `SELECT ` + listColumns + ` FROM lists WHERE workspace_id = $1 AND id = $2`

// Lists implements gateway.Reader.
func (r *reader) Lists(ctx context.Context, w gateway.WorkspaceID) (all []gateway.List, err error) {
	err = r.view(ctx, "lists", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			l, err := scanList(rows, w)
			all = append(all, l)
			return err
		}, `SELECT `+listColumns+` FROM lists WHERE workspace_id = $1 ORDER BY id DESC`, int64(w))
	})
	return all, err
}

// List implements gateway.Reader.
func (r *reader) List(ctx context.Context, w gateway.WorkspaceID, id gateway.ListID) (l gateway.List, err error) {
	err = r.view(ctx, "list", func(tx *sql.Tx) error {
		l, err = scanList(tx.QueryRowContext(ctx, listByID, int64(w), int64(id)), w)
		if errors.Is(err, sql.ErrNoRows) {
			err = notFound("list")
		}
		return err
	})
	return l, err
}

// addLists adds lists, by id, to the views of contacts; in says who is in which.
func addLists(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, in map[int64][]gateway.ContactID, views map[gateway.ContactID]*gateway.ContactView) error {
	for part := range slices.Chunk(slices.Sorted(maps.Keys(in)), chunk) {
		err := query(ctx, tx, func(rows *sql.Rows) error {
			l, err := scanList(rows, w)
			for _, id := range in[int64(l.ID)] {
				views[id].Lists = append(views[id].Lists, l)
			}
			return err
		}, `WITH `+wanted(len(part))+` SELECT x.id, x.name, x.description, x.created_at, x.updated_at FROM wanted w CROSS JOIN lists x
			WHERE x.workspace_id = w.workspace_id AND x.id = w.id ORDER BY x.id`, params(w, part)...)
		if err != nil {
			return err
		}
	}
	return nil
}

// List implements gateway.Tx.
func (p plain) List(w gateway.WorkspaceID, id gateway.ListID) (l gateway.List, err error) {
	err = p.one(w, "list", func(row scanner) error {
		l, err = scanList(row, w)
		return err
	}, listByID, int64(w), int64(id))
	return l, err
}

// CountLists implements gateway.Tx.
func (p plain) CountLists(w gateway.WorkspaceID) (n int, err error) {
	err = p.one(w, "list", func(row scanner) error { return row.Scan(&n) }, `SELECT count(*) FROM lists WHERE workspace_id = $1`, int64(w))
	return n, err
}

// SaveList implements gateway.Tx.
func (p plain) SaveList(l gateway.List) error {
	_, err := p.write(l.WorkspaceID, `INSERT INTO lists (workspace_id, id, name, description, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (workspace_id, id) DO UPDATE SET name = excluded.name, description = excluded.description, updated_at = excluded.updated_at`,
		int64(l.WorkspaceID), int64(l.ID), l.Name, l.Description, micros(l.CreatedAt), micros(l.UpdatedAt))
	return err
}

// listedPortion is how many contacts leave a list that is deleted at a time: see
// historyPortion.
const listedPortion = 10_000

// DeleteList implements gateway.Tx.
func (p plain) DeleteList(w gateway.WorkspaceID, id gateway.ListID) error {
	n, err := p.write(w, `DELETE FROM lists WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id))
	if err != nil {
		return err
	}
	if n == 0 {
		return notFound("list")
	}
	for {
		var last int64 // of the portion
		err := p.one(w, "list", func(row scanner) error { return row.Scan(&last) }, `SELECT COALESCE(max(contact_id), 0) FROM (
			SELECT contact_id FROM listed WHERE workspace_id = $1 AND list_id = $2 ORDER BY contact_id LIMIT $3) AS portion`, int64(w), int64(id), listedPortion)
		if err != nil || last == 0 {
			return err
		}
		if _, err := p.write(w, `DELETE FROM listed WHERE workspace_id = $1 AND list_id = $2 AND contact_id <= $3`, int64(w), int64(id), last); err != nil {
			return err
		}
	}
}

// AddListed implements gateway.Tx.
func (p plain) AddListed(w gateway.WorkspaceID, l gateway.Listed) error {
	_, err := p.write(w, `INSERT INTO listed (workspace_id, list_id, contact_id, added_at, via) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (workspace_id, list_id, contact_id) DO UPDATE SET via = 0 WHERE excluded.via = 0 AND listed.via <> 0`,
		int64(w), int64(l.ListID), int64(l.ContactID), micros(l.AddedAt), int64(l.Via))
	return err
}

// RemoveListed implements gateway.Tx.
func (p plain) RemoveListed(w gateway.WorkspaceID, list gateway.ListID, contact gateway.ContactID) error {
	_, err := p.write(w, `DELETE FROM listed WHERE workspace_id = $1 AND list_id = $2 AND contact_id = $3`, int64(w), int64(list), int64(contact))
	return err
}

// InheritLists implements gateway.Tx. Hardly any of those whom a batch merges is in a
// list, so it first looks who is.
func (p plain) InheritLists(w gateway.WorkspaceID, merges []gateway.Merge) error {
	listed := make(map[gateway.ContactID]bool)
	for part := range slices.Chunk(merges, chunk) {
		// Two statements for any number: one is what an edit asks for.
		n := 1
		if len(part) > 1 {
			n = chunk
		}
		ids := make([]int64, n)
		for i := range ids {
			ids[i] = int64(part[min(i, len(part)-1)].LoserID)
		}
		if err := p.on.lock(w); err != nil {
			return err
		}
		err := p.on.rows(func(row scanner) error {
			var id gateway.ContactID
			err := row.Scan(&id)
			listed[id] = true
			return err
		}, `WITH `+wanted(n)+` SELECT DISTINCT w.id FROM wanted w CROSS JOIN listed l WHERE l.workspace_id = w.workspace_id AND l.contact_id = w.id`, params(w, ids)...)
		if err != nil {
			return err
		}
	}
	for i := range merges {
		m := &merges[i]
		if !listed[m.LoserID] {
			continue
		}
		listed[m.WinnerID] = true // and may be a loser further on
		_, err := p.write(w, `INSERT INTO listed (workspace_id, list_id, contact_id, added_at, via)
			SELECT workspace_id, list_id, CAST($3 AS bigint), added_at, CAST($2 AS bigint) FROM listed WHERE workspace_id = $1 AND contact_id = $2
			ON CONFLICT (workspace_id, list_id, contact_id) DO NOTHING`, int64(w), int64(m.LoserID), int64(m.WinnerID))
		if err != nil {
			return err
		}
	}
	return nil
}

// DisinheritLists implements gateway.Tx.
func (p plain) DisinheritLists(w gateway.WorkspaceID, winner, loser gateway.ContactID) error {
	_, err := p.write(w, `DELETE FROM listed WHERE workspace_id = $1 AND contact_id = $2 AND via = $3`, int64(w), int64(winner), int64(loser))
	return err
}
