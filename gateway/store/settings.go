package store

import (
	"context"
	"database/sql"
	"slices"
	"time"

	"civgate/gateway"
)

// This file is what the settings ask of a store: keys, definitions, uses of tags, and
// visitors whose time is over.

// APIKeys implements gateway.Tx.
func (p plain) APIKeys(w gateway.WorkspaceID) (keys []gateway.APIKey, err error) {
	if err := p.on.lock(w); err != nil {
		return nil, err
	}
	err = p.on.rows(func(row scanner) error {
		k, err := scanAPIKey(row)
		keys = append(keys, k)
		return err
	}, apiKeySelect+` WHERE workspace_id = $1 ORDER BY created_at, kind, secret`, int64(w))
	return keys, err
}

// PutAPIKey implements gateway.Tx.
func (p plain) PutAPIKey(w gateway.WorkspaceID, k gateway.APIKey) error {
	k, err := storedKey(k)
	if err != nil {
		return err
	}
	n, err := p.write(w, `INSERT INTO api_keys (workspace_id, kind, secret, name, scope, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		int64(w), string(k.Kind), k.Secret, k.Name, string(k.Scope), micros(k.CreatedAt))
	if err == nil && n == 0 {
		err = gateway.Errorf(gateway.CodeConflict, "This key exists already.")
	}
	return err
}

// DropAPIKey implements gateway.Tx.
func (p plain) DropAPIKey(w gateway.WorkspaceID, kind gateway.KeyKind, secret string) error {
	n, err := p.write(w, `DELETE FROM api_keys WHERE workspace_id = $1 AND kind = $2 AND secret = $3`, int64(w), string(kind), secret)
	if err == nil && n == 0 {
		err = notFound("key")
	}
	return err
}

// SetAttribute implements gateway.Tx.
func (p plain) SetAttribute(w gateway.WorkspaceID, d gateway.AttributeDef) error {
	n, err := p.write(w, `UPDATE attribute_defs SET label = $5, description = $6, hidden = $7 WHERE workspace_id = $1 AND entity = $2 AND name = $3 AND id = $4`,
		int64(w), string(d.Entity), d.Name, int64(d.ID), d.Label, d.Description, d.Hidden)
	if err == nil && n == 0 {
		err = notFound("attribute")
	}
	return err
}

// IdleVisitors implements gateway.Tx. A contact that others became part of has been changed
// when that happened, and theirs is not newer: it is enough to look at its own history.
func (p plain) IdleVisitors(w gateway.WorkspaceID, before time.Time, after gateway.ContactID, limit int) (idle []gateway.ContactID, next gateway.ContactID, err error) {
	if err := p.on.lock(w); err != nil {
		return nil, 0, err
	}
	looked := 0
	var last gateway.ContactID
	if err := p.on.rows(func(row scanner) error {
		looked++
		return row.Scan((*int64)(&last))
	}, `SELECT id FROM contacts WHERE workspace_id = $1 AND merged_into = 0 AND id > $2 ORDER BY id LIMIT $3`, int64(w), int64(after), bounded(limit)); err != nil || looked == 0 {
		return nil, 0, err
	}
	err = p.on.rows(func(row scanner) error {
		var id int64
		err := row.Scan(&id)
		idle = append(idle, gateway.ContactID(id))
		return err
	}, `SELECT c.id FROM contacts c WHERE c.workspace_id = $1 AND c.merged_into = 0 AND c.id > $2 AND c.id <= $3
		AND c.created_at < $4 AND c.updated_at < $4 AND c.custom_id IS NULL AND c.email_key IS NULL AND c.name IS NULL AND c.phone_number IS NULL
		AND c.attributes NOT LIKE '%"tags":%'
		AND NOT EXISTS (SELECT 1 FROM page_views v WHERE v.workspace_id = c.workspace_id AND v.contact_id = c.id AND v.at >= $4)
		AND NOT EXISTS (SELECT 1 FROM events e WHERE e.workspace_id = c.workspace_id AND e.contact_id = c.id AND e.at >= $4)
		AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.workspace_id = c.workspace_id AND m.contact_id = c.id)
		AND NOT EXISTS (SELECT 1 FROM listed l WHERE l.workspace_id = c.workspace_id AND l.contact_id = c.id)
		ORDER BY c.id`, int64(w), int64(after), int64(last), micros(before))
	if looked == bounded(limit) {
		next = last
	}
	return idle, next, err
}

// TagUses implements gateway.Reader.
func (r *reader) TagUses(ctx context.Context, w gateway.WorkspaceID, ids []gateway.TagID, most int) (map[gateway.TagID]int, error) {
	uses := make(map[gateway.TagID]int, len(ids))
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	err := r.view(ctx, "uses of tags", func(tx *sql.Tx) error {
		for _, id := range ids {
			var n int
			err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM tagged WHERE workspace_id = $1 AND tag_id = $2 LIMIT $3) AS h1`,
				int64(w), int64(id), bounded(most)).Scan(&n)
			if err != nil {
				return err
			}
			if n > 0 {
				uses[id] = n
			}
		}
		return nil
	})
	return uses, err
}
