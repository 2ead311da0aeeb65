package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file owns the tables tags and tagged, beside what the writers do with them
// in batches (tags_save.go).
//
// Decisions
//
//   - The attributes of a contact or company say which tags it has, and tagged who
//     has a tag: the same, the other way round, as Save is told. So the readers of
//     attributes need no join, and who has a tag is one search of an index.
//   - No name is remembered in memory, as names of events are: a tag can be deleted, by
//     another node too, and a payload that brings no new tag asks for none anyway.
//   - The number of tags is kept with the workspace: every page of a list shows it,
//     and pages may send ever new ones.

// Tags implements gateway.Reader.
func (r *reader) Tags(ctx context.Context, w gateway.WorkspaceID, before gateway.TagID, limit int) (tags []gateway.Tag, err error) {
	err = r.view(ctx, "tags", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			t, err := scanTag(rows, w)
			tags = append(tags, t)
			return err
		}, `SELECT id, name, created_at FROM tags WHERE workspace_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3`, int64(w), behind(int64(before)), bounded(limit))
	})
	return tags, err
}

const tagByID = `SELECT id, name, created_at FROM tags WHERE workspace_id = $1 AND id = $2`

func scanTag(row scanner, w gateway.WorkspaceID) (gateway.Tag, error) {
	t := gateway.Tag{WorkspaceID: w}
	var id, created int64
	err := row.Scan(&id, &t.Name, &created)
	t.ID, t.CreatedAt = gateway.TagID(id), moment(created)
	return t, err
}

// Tag implements gateway.Reader, CodeNotFound if there is none.
func (r *reader) Tag(ctx context.Context, w gateway.WorkspaceID, id gateway.TagID) (t gateway.Tag, err error) {
	err = r.view(ctx, "tag", func(tx *sql.Tx) (err error) {
		t, err = scanTag(tx.QueryRowContext(ctx, tagByID, int64(w), int64(id)), w)
		if errors.Is(err, sql.ErrNoRows) {
			return notFound("tag")
		}
		return err
	})
	return t, err
}

// CountTags implements gateway.Reader.
func (r *reader) CountTags(ctx context.Context, w gateway.WorkspaceID) (int64, error) {
	return r.number(ctx, "count tags", `SELECT tags FROM workspaces WHERE workspace_id = $1`, int64(w))
}

// TagIDs implements gateway.Reader.
func (r *reader) TagIDs(ctx context.Context, w gateway.WorkspaceID, names []string) (ids map[string]gateway.TagID, err error) {
	names = named(names)
	names = slices.DeleteFunc(names, func(name string) bool { return !gateway.IsTagName(name) })
	ids = make(map[string]gateway.TagID, len(names))
	if len(names) == 0 {
		return ids, nil
	}
	err = r.view(ctx, "tags by name", func(tx *sql.Tx) error {
		for part := range slices.Chunk(names, chunk) {
			err := query(ctx, tx, func(rows *sql.Rows) error {
				var id int64
				var name string
				err := rows.Scan(&id, &name)
				ids[name] = gateway.TagID(id)
				return err
			}, `WITH `+wantedNames(len(part))+` SELECT t.id, t.name FROM wanted w CROSS JOIN tags t WHERE t.workspace_id = w.workspace_id AND t.name = w.name`, params(w, part)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

// wantedNames is wanted for n names: rows of workspace_id and name.
func wantedNames(n int) string {
	var b strings.Builder
	b.WriteString("wanted (workspace_id, name) AS MATERIALIZED (VALUES (CAST($1 AS bigint), CAST($2 AS text))")
	for i := 1; i < n; i++ {
		b.WriteString(", ($1, $" + strconv.Itoa(i+2) + ")")
	}
	b.WriteByte(')')
	return b.String()
}

// AddTag implements gateway.Tx.
func (p plain) AddTag(w gateway.WorkspaceID, name string, at time.Time) (id gateway.TagID, created bool, err error) {
	if err := p.on.lock(w); err != nil {
		return 0, false, err
	}
	scan := func(row scanner) error { return row.Scan((*int64)(&id)) }
	if err := p.on.rows(scan, `SELECT id FROM tags WHERE workspace_id = $1 AND name = $2`, int64(w), name); err != nil || id != 0 {
		return id, false, err
	}
	if err := p.on.rows(scan, `INSERT INTO tags (workspace_id, name, created_at) VALUES ($1, $2, $3) RETURNING id`, int64(w), name, micros(at)); err != nil {
		return 0, false, err
	}
	return id, true, p.countTags(w, 1)
}

// countTags adds to the counter of the workspace.
func (p plain) countTags(w gateway.WorkspaceID, n int) error {
	changed, err := p.on.exec(`UPDATE workspaces SET tags = tags + $2 WHERE workspace_id = $1`, int64(w), n)
	if err == nil && changed == 0 {
		err = notFound("workspace")
	}
	return err
}

// Tag implements gateway.Tx, CodeNotFound if there is none.
func (p plain) Tag(w gateway.WorkspaceID, id gateway.TagID) (t gateway.Tag, err error) {
	if err := p.on.lock(w); err != nil {
		return t, err
	}
	err = p.on.rows(func(row scanner) (err error) {
		t, err = scanTag(row, w)
		return err
	}, tagByID, int64(w), int64(id))
	if err == nil && t.ID == 0 {
		err = notFound("tag")
	}
	return t, err
}

// Untag implements gateway.Tx: those with the highest ids go first.
func (p plain) Untag(w gateway.WorkspaceID, id gateway.TagID, entity gateway.Entity, limit int) (subjects []int64, err error) {
	if err := p.on.lock(w); err != nil {
		return nil, err
	}
	err = p.on.rows(func(row scanner) error {
		var subject int64
		err := row.Scan(&subject)
		subjects = append(subjects, subject)
		return err
	}, `SELECT subject_id FROM tagged WHERE workspace_id = $1 AND tag_id = $2 AND entity = $3 ORDER BY subject_id DESC LIMIT $4`, int64(w), int64(id), string(entity), bounded(limit))
	if err != nil || len(subjects) == 0 {
		return nil, err
	}
	_, err = p.on.exec(`DELETE FROM tagged WHERE workspace_id = $1 AND tag_id = $2 AND entity = $3 AND subject_id >= $4`,
		int64(w), int64(id), string(entity), subjects[len(subjects)-1])
	return subjects, err
}

// DeleteTag implements gateway.Tx, CodeNotFound if there is none.
func (p plain) DeleteTag(w gateway.WorkspaceID, id gateway.TagID) error {
	if err := p.on.lock(w); err != nil {
		return err
	}
	n, err := p.on.exec(`DELETE FROM tags WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id))
	if err != nil {
		return err
	}
	if n == 0 {
		return notFound("tag")
	}
	return p.countTags(w, -1)
}

// tagChanges are what Save is told of tags, in the order in which it is written.
type tagChanges struct {
	names        []string // of tags that somebody gains, each once
	since        []int64  // when, for each of them
	gained, lost []gateway.TagChange
}

func tagChangesOf(all []gateway.TagChange) (c tagChanges) {
	for _, x := range all {
		if x.Lost {
			c.lost = append(c.lost, x)
		} else {
			c.gained = append(c.gained, x)
		}
	}
	for _, part := range [][]gateway.TagChange{c.gained, c.lost} {
		slices.SortFunc(part, func(a, b gateway.TagChange) int {
			return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Entity, b.Entity), cmp.Compare(a.Subject, b.Subject))
		})
	}
	for i := range c.gained {
		x := &c.gained[i]
		if n := len(c.names); n == 0 || c.names[n-1] != x.Name {
			c.names, c.since = append(c.names, x.Name), append(c.since, micros(x.At))
		} else {
			c.since[n-1] = min(c.since[n-1], micros(x.At))
		}
	}
	return c
}

// employeesGrown is by how many the employees of each company grow; companies of
// which the number stays are not among them. Contacts that are deleted are left to
// those who delete them.
func employeesGrown(c *gateway.Changes) map[gateway.CompanyID]int64 {
	if len(c.NewMemberships)+len(c.EndedMemberships) == 0 {
		return nil
	}
	grown := make(map[gateway.CompanyID]int64)
	for i := range c.NewMemberships {
		if m := &c.NewMemberships[i]; m.Current() {
			grown[m.CompanyID]++
		}
	}
	for i := range c.EndedMemberships {
		grown[c.EndedMemberships[i].CompanyID]--
	}
	return grown
}
