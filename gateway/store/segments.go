package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"

	"civgate/gateway"
)

const segmentColumns = `id, name, filter, created_at, updated_at`

func scanSegment(row scanner, w gateway.WorkspaceID) (gateway.Segment, error) {
	s := gateway.Segment{WorkspaceID: w}
	var created, updated int64
	err := row.Scan(&s.ID, &s.Name, &s.Filter, &created, &updated)
	s.CreatedAt, s.UpdatedAt = moment(created), moment(updated)
	return s, err
}

const segmentByID = `SELECT ` + segmentColumns + ` FROM segments WHERE workspace_id = $1 AND id = $2`

// Segments implements gateway.Reader.
func (r *reader) Segments(ctx context.Context, w gateway.WorkspaceID) (all []gateway.Segment, err error) {
	err = r.view(ctx, "segments", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			s, err := scanSegment(rows, w)
			all = append(all, s)
			return err
		}, `SELECT `+segmentColumns+` FROM segments WHERE workspace_id = $1 ORDER BY id DESC`, int64(w))
	})
	return all, err
}

// Segment implements gateway.Reader.
func (r *reader) Segment(ctx context.Context, w gateway.WorkspaceID, id gateway.SegmentID) (s gateway.Segment, err error) {
	err = r.view(ctx, "segment", func(tx *sql.Tx) error {
		s, err = scanSegment(tx.QueryRowContext(ctx, segmentByID, int64(w), int64(id)), w)
		if errors.Is(err, sql.ErrNoRows) {
			err = notFound("segment")
		}
		return err
	})
	return s, err
}

// Meets implements gateway.Reader: a search by the contact's id for each filter, all at
// one moment.
func (r *reader) Meets(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID, filters [][]gateway.Condition) (met []bool, err error) {
	err = r.view(ctx, "meets", func(tx *sql.Tx) error {
		found, err := contactByID(ctx, tx, w, id)
		if err != nil {
			return err
		}
		c, err := survivor(ctx, tx, w, found)
		if err != nil {
			return err
		}
		met = make([]bool, len(filters))
		self := gateway.Condition{Field: "id", Value: gateway.IntValue(int64(c.ID))}
		for i, where := range filters {
			f, err := findContacts(w, append(slices.Clone(where), self))
			if err != nil {
				return err
			}
			ids, err := f.ids(ctx, tx, w, gateway.Query{Limit: 1})
			if err != nil {
				return err
			}
			met[i] = len(ids) == 1 && ids[0] == int64(c.ID)
		}
		return nil
	})
	return met, err
}

// Segment implements gateway.Tx.
func (p plain) Segment(w gateway.WorkspaceID, id gateway.SegmentID) (s gateway.Segment, err error) {
	err = p.one(w, "segment", func(row scanner) error {
		s, err = scanSegment(row, w)
		return err
	}, segmentByID, int64(w), int64(id))
	return s, err
}

// CountSegments implements gateway.Tx.
func (p plain) CountSegments(w gateway.WorkspaceID) (n int, err error) {
	err = p.one(w, "segment", func(row scanner) error { return row.Scan(&n) }, `SELECT count(*) FROM segments WHERE workspace_id = $1`, int64(w))
	return n, err
}

// SaveSegment implements gateway.Tx.
func (p plain) SaveSegment(s gateway.Segment) error {
	_, err := p.write(s.WorkspaceID, `INSERT INTO segments (workspace_id, id, name, filter, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (workspace_id, id) DO UPDATE SET name = excluded.name, filter = excluded.filter, updated_at = excluded.updated_at`,
		int64(s.WorkspaceID), int64(s.ID), s.Name, s.Filter, micros(s.CreatedAt), micros(s.UpdatedAt))
	return err
}

// DeleteSegment implements gateway.Tx.
func (p plain) DeleteSegment(w gateway.WorkspaceID, id gateway.SegmentID) error {
	n, err := p.write(w, `DELETE FROM segments WHERE workspace_id = $1 AND id = $2`, int64(w), int64(id))
	if err == nil && n == 0 {
		err = notFound("segment")
	}
	return err
}
