package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

const recordColumns = `id, entity, COALESCE(key, ''), name, attributes, created_at, updated_at`

// recordKey is what is stored of an own id; no custom id has no key.
func recordKey(k gateway.RecordKey) string {
	if k.CustomID == "" {
		return ""
	}
	return string(k.Entity) + ":" + k.CustomID
}

func scanRecord(row scanner, w gateway.WorkspaceID) (*gateway.Record, error) {
	r := &gateway.Record{WorkspaceID: w}
	var attributes string
	var created, updated int64
	err := row.Scan(&r.ID, &r.Entity, &r.CustomID, &r.Name, &attributes, &created, &updated)
	if err != nil {
		return nil, err
	}
	r.CustomID = strings.TrimPrefix(r.CustomID, string(r.Entity)+":")
	r.CreatedAt, r.UpdatedAt = moment(created), moment(updated)
	if r.Attributes, err = joinBag(attributes, [len(columnAttributes)]string{}); err != nil {
		return nil, fmt.Errorf("record %d: %w", r.ID, err)
	}
	return r, nil
}

// recordGroup is how many records one statement reads or writes. What is left over is
// done one by one, or by one statement that names some of them again: SQLite keeps
// the texts of statements, so there must not be one for each number.
const recordGroup = 64

// The statements for one record and for recordGroup of them.
var (
	recordByID    = `SELECT ` + recordColumns + ` FROM records WHERE workspace_id = $1 AND ` + anyRecord + ` AND id = $2`
	recordsByKey  = map[int]string{1: `SELECT ` + recordColumns + ` FROM records WHERE workspace_id = $1 AND key = $2`, recordGroup: recordsFinder()}
	recordUpserts = map[int]string{1: recordUpsert(1), recordGroup: recordUpsert(recordGroup)}
)

// anyRecord completes what the primary key is searched by.
const anyRecord = `entity IN ('product', 'deal')`

// recordsFinder finds recordGroup records by their keys, given as a table of what is
// wanted: from a list the planners would not search by index (see wanted).
func recordsFinder() string {
	var b strings.Builder
	b.WriteString(`WITH wanted (workspace_id, wanted_key) AS MATERIALIZED (VALUES (CAST($1 AS bigint), CAST($2 AS text))`)
	for i := 1; i < recordGroup; i++ {
		b.WriteString(`, ($1, $` + strconv.Itoa(i+2) + `)`)
	}
	b.WriteString(`) SELECT ` + recordColumns + `
		FROM wanted w CROSS JOIN records r WHERE r.workspace_id = w.workspace_id AND r.key = w.wanted_key`)
	return b.String()
}

func recordUpsert(n int) string {
	const columns = 7
	var b strings.Builder
	b.WriteString(`INSERT INTO records (workspace_id, id, entity, key, name, attributes, created_at, updated_at) VALUES `)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`($1, ` + list(2+i*columns, columns) + `)`)
	}
	b.WriteString(` ON CONFLICT (workspace_id, entity, id) DO UPDATE SET key = excluded.key, name = excluded.name, attributes = excluded.attributes, updated_at = excluded.updated_at`)
	return b.String()
}

// inGroups calls do with n values at a time, where n is 1 or recordGroup.
func inGroups[T any](all []T, do func(group []T) error) error {
	for len(all) > 0 {
		n := 1
		if len(all) >= recordGroup {
			n = recordGroup
		}
		if err := do(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}

// findInGroups is inGroups for statements that find by several values: a value may come
// twice, so that a few of them make up a group as well.
func findInGroups[T any](all []T, do func(group []T) error) error {
	const few = 4
	if n := len(all) % recordGroup; n > few {
		all = slices.Clip(all)
		for range recordGroup - n {
			all = append(all, all[len(all)-1])
		}
	}
	return inGroups(all, do)
}

// loadRecords adds the records that refs name.
func (p plain) loadRecords(ws gateway.WorkspaceID, refs *gateway.Refs, l *gateway.Loaded) error {
	if len(refs.RecordIDs)+len(refs.RecordKeys) == 0 {
		return nil
	}
	seen := map[gateway.RecordID]bool{}
	found := func(row scanner) error {
		r, err := scanRecord(row, ws)
		if err == nil && !seen[r.ID] {
			seen[r.ID] = true
			l.Records = append(l.Records, r)
		}
		return err
	}
	for _, id := range refs.RecordIDs { // never many
		if err := p.on.rows(found, recordByID, int64(ws), int64(id)); err != nil {
			return err
		}
	}
	keys := make([]string, len(refs.RecordKeys))
	for i, k := range refs.RecordKeys {
		keys[i] = recordKey(k)
	}
	return findInGroups(named(keys), func(group []string) error {
		return p.on.rows(found, recordsByKey[len(group)], params(ws, group)...)
	})
}

// saveRecords writes products and deals. What goes goes first, and changed ones give
// up their custom ids before others take them.
func (p plain) saveRecords(ws gateway.WorkspaceID, c *gateway.Changes) error {
	for _, id := range c.DeletedRecords {
		n, err := p.on.exec(`DELETE FROM records WHERE workspace_id = $1 AND `+anyRecord+` AND id = $2`, int64(ws), int64(id))
		if err != nil {
			return err
		}
		if n == 0 {
			return notFound("record")
		}
	}
	for _, id := range c.FreedRecords {
		if _, err := p.on.exec(`UPDATE records SET key = NULL WHERE workspace_id = $1 AND `+anyRecord+` AND id = $2`, int64(ws), int64(id)); err != nil {
			return err
		}
	}
	id := func(r *gateway.Record) int64 { return int64(r.ID) }
	for _, all := range [][]*gateway.Record{sortedByID(c.Records, id), sortedByID(c.NewRecords, id)} {
		err := inGroups(all, func(group []*gateway.Record) error {
			args := make([]any, 0, 1+7*len(group))
			args = append(args, int64(ws))
			for _, r := range group {
				var key any // NULL for none
				if k := recordKey(gateway.RecordKey{Entity: r.Entity, CustomID: r.CustomID}); k != "" {
					key = k
				}
				args = append(args, int64(r.ID), string(r.Entity), key, r.Name, string(appendBag(nil, r.Attributes)), micros(r.CreatedAt), micros(r.UpdatedAt))
			}
			_, err := p.on.exec(recordUpserts[len(group)], args...)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// records runs a query for recordColumns.
func (r *reader) records(ctx context.Context, op string, w gateway.WorkspaceID, text string, args ...any) (all []*gateway.Record, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			x, err := scanRecord(rows, w)
			all = append(all, x)
			return err
		}, text, args...)
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// one is the record of the entity among those found.
func one(found []*gateway.Record, entity gateway.Entity, err error) (*gateway.Record, error) {
	if err != nil {
		return nil, err
	}
	for _, r := range found {
		if r.Entity == entity {
			return r, nil
		}
	}
	return nil, notFound(string(entity))
}

// Record implements gateway.Reader.
func (r *reader) Record(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity, id gateway.RecordID) (*gateway.Record, error) {
	found, err := r.records(ctx, "record", w, recordByID, int64(w), int64(id))
	return one(found, entity, err)
}

// RecordByCustomID implements gateway.Reader.
func (r *reader) RecordByCustomID(ctx context.Context, w gateway.WorkspaceID, k gateway.RecordKey) (*gateway.Record, error) {
	found, err := r.records(ctx, "record by custom id", w, recordsByKey[1], int64(w), recordKey(k))
	return one(found, k.Entity, err)
}

// Records implements gateway.Reader.
func (r *reader) Records(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity, before gateway.RecordID, limit int) ([]*gateway.Record, error) {
	return r.records(ctx, "records", w, `SELECT `+recordColumns+` FROM records WHERE workspace_id = $1 AND entity = $2 AND id < $3 ORDER BY id DESC LIMIT $4`,
		int64(w), string(entity), behind(int64(before)), bounded(limit))
}

// CountRecords implements gateway.Reader: an index holds no more than what is counted.
func (r *reader) CountRecords(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity) (int64, error) {
	return r.number(ctx, "count records", `SELECT count(*) FROM records WHERE workspace_id = $1 AND entity = $2`, int64(w), string(entity))
}

// droppedAttributes takes the workspace.
const droppedAttributes = `SELECT dropped FROM attribute_drops WHERE workspace_id = $1`

// DroppedAttributes implements gateway.Reader.
func (r *reader) DroppedAttributes(ctx context.Context, w gateway.WorkspaceID) (int64, error) {
	return r.number(ctx, "dropped attributes", droppedAttributes, int64(w))
}

// A portion of what an attribute is dropped from: rows at most, and bytes of
// attributes above which the next portion is smaller, below which it is larger.
const (
	maxDropRows   = 4096
	firstDropRows = 64
	largeDrop     = 16 << 20
	smallDrop     = 4 << 20
)

// What an attribute is dropped from. Each statement finds, behind a place (two
// numbers), the next rows of the workspace whose attributes hold a text; replace is
// what both databases call a search for one. That merged contacts are found by
// themselves is what their index is for.
var (
	hasName         = `replace(attributes, $4, '') <> attributes`
	dropFromMerged  = `SELECT merged_into, id, attributes FROM contacts WHERE workspace_id + 0 = $1 AND merged_into <> 0 AND merged_into >= $2 AND (merged_into > $2 OR id > $3) AND ` + hasName + ` ORDER BY merged_into, id LIMIT $5`
	dropFromListed  = dropFrom(`contacts`, `merged_into = 0`)
	dropFromCompany = dropFrom(`companies`, `true`)
	dropFromRecord  = map[gateway.Entity]string{
		gateway.EntityProduct: dropFrom(`records`, `entity = 'product'`),
		gateway.EntityDeal:    dropFrom(`records`, `entity = 'deal'`),
	}
)

func dropFrom(table, where string) string {
	return `SELECT 0, id, attributes FROM ` + table + ` WHERE workspace_id = $1 AND ` + where + ` AND CAST($2 AS bigint) = 0 AND id > $3 AND ` + hasName + ` ORDER BY id LIMIT $5`
}

// bagWriter writes the attributes of rows that are there.
type bagWriter interface {
	// setBags replaces the attributes of rows of a table, by their ids. Contacts lose
	// their fingerprints as well.
	setBags(ws gateway.WorkspaceID, table string, ids []int64, bags []string) error
}

var (
	_ bagWriter = (*sqliteTx)(nil)
	_ bagWriter = (*postgresTx)(nil)
)

// DropAttribute implements gateway.Tx.
func (p plain) DropAttribute(ws gateway.WorkspaceID, d gateway.AttributeDef) error {
	if err := p.on.lock(ws); err != nil {
		return err
	}
	n, err := p.on.exec(`DELETE FROM attribute_defs WHERE workspace_id = $1 AND entity = $2 AND name = $3 AND id = $4`, int64(ws), string(d.Entity), d.Name, int64(d.ID))
	if err != nil {
		return err
	}
	if n == 0 {
		return notFound("attribute")
	}
	if _, err := p.on.exec(`INSERT INTO attribute_drops (workspace_id, dropped) VALUES ($1, 1)
		ON CONFLICT (workspace_id) DO UPDATE SET dropped = attribute_drops.dropped + 1`, int64(ws)); err != nil {
		return err
	}
	switch d.Entity {
	case gateway.EntityContact:
		if err := p.dropValues(ws, d.Name, "contacts", dropFromListed); err != nil {
			return err
		}
		return p.dropValues(ws, d.Name, "contacts", dropFromMerged)
	case gateway.EntityCompany:
		return p.dropValues(ws, d.Name, "companies", dropFromCompany)
	case gateway.EntityProduct, gateway.EntityDeal:
		return p.dropValues(ws, d.Name, "records", dropFromRecord[d.Entity])
	}
	return nil // nothing here has values of it
}

// dropValues takes the values of a name out of what a statement of dropFrom finds.
func (p plain) dropValues(ws gateway.WorkspaceID, name, table, text string) error {
	quoted := string(appendName(nil, name)) // as it is in the objects
	var group, last int64
	for limit := firstDropRows; ; {
		var ids []int64
		var bags []string
		rows, bytes := 0, 0
		err := p.on.rows(func(row scanner) error {
			var bag string
			if err := row.Scan(&group, &last, &bag); err != nil {
				return err
			}
			rows++
			bytes += len(bag)
			rest, had, err := withoutName(bag, quoted)
			if err != nil {
				return fmt.Errorf("%s %d: %w", table, last, err)
			}
			if had { // and not only something with such a name within
				ids, bags = append(ids, last), append(bags, rest)
			}
			return nil
		}, text, int64(ws), group, last, quoted+":", limit)
		if err == nil && len(ids) > 0 {
			err = p.on.(bagWriter).setBags(ws, table, ids, bags)
		}
		if err != nil || rows < limit {
			return err
		}
		switch {
		case bytes > largeDrop:
			limit = max(limit/4, 1)
		case bytes < smallDrop:
			limit = min(2*limit, maxDropRows)
		}
	}
}

// withoutName is the object that appendBag wrote without the member name, which is
// quoted as appendName does it, and whether it had one.
func withoutName(object, name string) (rest string, had bool, err error) {
	damaged := errors.New("attributes are damaged")
	if object == "" || object[0] != '{' {
		return "", false, damaged
	}
	for at := 1; object[at:] != "}"; {
		start := at
		end := textEnd(object[at:])
		if end < 0 || at+end >= len(object) || object[at+end] != ':' {
			return "", false, damaged
		}
		found := object[at:at+end] == name
		at += end + 1
		if end = valueEnd(object[at:]); end <= 0 || at+end >= len(object) {
			return "", false, damaged
		}
		at += end
		last := object[at] != ','
		if !last {
			at++
		}
		switch {
		case !found:
		case last && start > 1:
			return object[:start-1] + object[at:], true, nil // with the comma before
		default:
			return object[:start] + object[at:], true, nil
		}
		if at >= len(object) {
			return "", false, damaged
		}
	}
	return object, false, nil
}

// setBags implements bagWriter.
func (t *sqliteTx) setBags(ws gateway.WorkspaceID, table string, ids []int64, bags []string) error {
	text := `UPDATE ` + table + ` SET attributes = $1` + noFingerprint(table) + ` WHERE id = $2 AND workspace_id = $3`
	for i, id := range ids {
		if _, err := t.exec(text, bags[i], id, int64(ws)); err != nil {
			return err
		}
	}
	return nil
}

// setBags implements bagWriter.
func (t *postgresTx) setBags(ws gateway.WorkspaceID, table string, ids []int64, bags []string) error {
	n, err := t.exec(`UPDATE `+table+` AS t SET attributes = u.attributes`+noFingerprint(table)+` FROM `+given("id bigint, attributes")+
		` WHERE t.workspace_id = u.workspace_id AND t.id = u.id`, int64(ws), ids, bags)
	if err == nil && n != int64(len(ids)) {
		err = t.fault(errors.New("of " + strconv.Itoa(len(ids)) + " rows " + strconv.FormatInt(n, 10) + " were there"))
	}
	return err
}

func noFingerprint(table string) string {
	if table == "contacts" {
		return `, fingerprint = 0`
	}
	return ``
}
