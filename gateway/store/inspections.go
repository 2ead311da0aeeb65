package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// inspectionPortions are how many inspections one statement inserts: a few sizes,
// each of which has a text that is kept.
var inspectionPortions = []int{50, 10, 1}

// inspectionColumns is how many values an inspection has beside its workspace.
const inspectionColumns = 7

// insertInspections makes the statement for n of them.
func insertInspections(n int) string {
	var b strings.Builder
	b.WriteString("INSERT INTO inspections (workspace_id, id, at, node, verdict, code, contact_id, detail) VALUES ")
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("($1, " + list(2+i*inspectionColumns, inspectionColumns) + ")")
	}
	return b.String()
}

// deletedDetail is what is left of the inspection of a contact that was deleted.
const deletedDetail = `{"deleted":true}`

// AddInspections implements gateway.Tx.
func (p plain) AddInspections(ws gateway.WorkspaceID, all []*gateway.Inspection, keep int) error {
	if err := p.on.lock(ws); err != nil {
		return err
	}
	all = all[max(0, len(all)-keep):]
	var last int64
	if err := p.on.rows(func(row scanner) error { return row.Scan(&last) },
		`SELECT id FROM inspections WHERE workspace_id = $1 ORDER BY id DESC LIMIT 1`, int64(ws)); err != nil {
		return err
	}
	there, err := p.contactsThere(ws, all)
	if err != nil {
		return err
	}
	args := make([]any, 0, 1+inspectionPortions[0]*inspectionColumns)
	for rest := all; len(rest) > 0; {
		n := inspectionPortions[slices.IndexFunc(inspectionPortions, func(n int) bool { return n <= len(rest) })]
		args = append(args[:0], int64(ws))
		for _, in := range rest[:n] {
			last++
			contact := int64(in.ContactID)
			detail := deletedDetail
			if contact == 0 || there[contact] {
				text, err := json.Marshal(&in.Detail)
				if err != nil {
					return fmt.Errorf("write an inspection as JSON: %w", err)
				}
				detail = string(text)
			} else {
				contact = 0
			}
			args = append(args, last, micros(in.At), in.Node, string(in.Verdict), string(in.Code), contact, detail)
		}
		if _, err := p.on.exec(insertInspections(n), args...); err != nil {
			return err
		}
		rest = rest[n:]
	}
	_, err = p.on.exec(`DELETE FROM inspections WHERE workspace_id = $1 AND id <= $2`, int64(ws), last-int64(keep))
	return err
}

// contactsThere returns which of the inspections' contacts exist.
func (p plain) contactsThere(ws gateway.WorkspaceID, all []*gateway.Inspection) (map[int64]bool, error) {
	there := make(map[int64]bool)
	var ids []int64
	for _, in := range all {
		if in.ContactID != 0 {
			ids = append(ids, int64(in.ContactID))
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	const n = 50
	text := `WITH ` + wanted(n) + ` SELECT c.id FROM wanted w CROSS JOIN contacts c WHERE c.workspace_id = w.workspace_id AND c.id = w.id`
	for part := range slices.Chunk(ids, n) {
		for len(part) < n { // one text for any number
			part = append(slices.Clip(part), part[0])
		}
		err := p.on.rows(func(row scanner) error {
			var id int64
			err := row.Scan(&id)
			there[id] = true
			return err
		}, text, params(ws, part)...)
		if err != nil {
			return nil, err
		}
	}
	return there, nil
}

const inspectionFields = `SELECT id, at, node, verdict, code, contact_id, detail FROM inspections WHERE workspace_id = $1 AND `

// Inspections implements gateway.Reader.
func (r *reader) Inspections(ctx context.Context, w gateway.WorkspaceID, q gateway.InspectionQuery) (all []gateway.InspectionView, err error) {
	limit := min(bounded(q.Limit), gateway.KeptInspections)
	err = r.view(ctx, "inspections", func(tx *sql.Tx) error {
		where := `id < $2 AND id > $3`
		args := []any{int64(w), behind(q.Before), q.After}
		if q.Verdict != "" {
			args = append(args, string(q.Verdict))
			where += ` AND verdict = $` + strconv.Itoa(len(args))
		}
		end := ` ORDER BY id DESC LIMIT ` + strconv.Itoa(limit)
		if q.Contact == 0 {
			all, err = inspections(ctx, tx, w, where+end, args...)
			return err
		}
		_, ids, err := survivorAndAliases(ctx, tx, w, q.Contact)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(ids, chunk) {
			some := slices.Clone(args)
			for _, id := range part {
				some = append(some, id)
			}
			found, err := inspections(ctx, tx, w, where+` AND contact_id IN (`+list(len(args)+1, len(part))+`)`+end, some...)
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		slices.SortFunc(all, func(a, b gateway.InspectionView) int { return int(min(max(b.ID-a.ID, -1), 1)) })
		all = all[:min(len(all), limit)]
		return nil
	})
	return all, err
}

// Inspection implements gateway.Reader.
func (r *reader) Inspection(ctx context.Context, w gateway.WorkspaceID, id int64) (found *gateway.InspectionView, err error) {
	err = r.view(ctx, "inspection", func(tx *sql.Tx) error {
		all, err := inspections(ctx, tx, w, `id = $2`, int64(w), id)
		if err != nil {
			return err
		}
		if len(all) == 0 {
			return notFound("payload in the inspector")
		}
		found = &all[0]
		return nil
	})
	return found, err
}

// inspections runs a query that continues inspectionFields.
func inspections(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, where string, args ...any) (all []gateway.InspectionView, err error) {
	err = query(ctx, tx, func(rows *sql.Rows) error {
		v := gateway.InspectionView{Inspection: gateway.Inspection{WorkspaceID: w}}
		var at int64
		var detail []byte
		if err := rows.Scan(&v.ID, &at, &v.Node, &v.Verdict, &v.Code, &v.ContactID, &detail); err != nil {
			return err
		}
		v.At = moment(at)
		if err := json.Unmarshal(detail, &v.Detail); err != nil {
			return fmt.Errorf("inspection %d: %w", v.ID, err)
		}
		all = append(all, v)
		return nil
	}, inspectionFields+where, args...)
	if err != nil {
		return nil, err
	}
	return all, nameInspected(ctx, tx, w, all)
}

// nameInspected adds to inspections who their contacts are now.
func nameInspected(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, all []gateway.InspectionView) error {
	known := make(map[int64]*gateway.ContactView)
	var ask []int64
	for i := range all {
		if id := int64(all[i].ContactID); id != 0 {
			ask = append(ask, id)
		}
	}
	for len(ask) > 0 { // a round for each step of merges
		slices.Sort(ask)
		ask = slices.Compact(ask)
		var next []int64
		for part := range slices.Chunk(ask, chunk) {
			found, err := contacts(ctx, tx, w, `WITH `+wanted(len(part))+` `+contactFields+` FROM wanted w CROSS JOIN contacts c WHERE c.workspace_id = w.workspace_id AND c.id = w.id`,
				params(w, part)...)
			if err != nil {
				return err
			}
			for _, c := range found {
				known[int64(c.ID)] = c
				if c.MergedInto != 0 {
					next = append(next, int64(c.MergedInto))
				}
			}
		}
		ask = slices.DeleteFunc(next, func(id int64) bool { _, ok := known[id]; return ok })
	}
	for i := range all {
		v := &all[i]
		c := known[int64(v.ContactID)]
		for steps := 0; c != nil && c.MergedInto != 0 && steps < len(known); steps++ {
			c = known[int64(c.MergedInto)]
		}
		if c == nil {
			continue
		}
		v.Survivor, v.CustomID, v.Email, v.Key = c.ID, c.CustomID, c.Email, c.Key
		if name, ok := c.Attributes.Get("name"); ok {
			v.Name = gateway.Text(name)
		}
	}
	return nil
}
