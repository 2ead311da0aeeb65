package store

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"

	"github.com/jackc/pgx/v5/stdlib"
)

func (w *postgresWriter) snapshot() sql.IsolationLevel { return sql.LevelRepeatableRead }

func (w *postgresWriter) uuidColumn(name string) string { return "uuid_send(" + name + ")" }
func (w *postgresWriter) uuidValue(b []byte) any        { return hex.EncodeToString(b) }

// patient implements dialect: a table is one statement, however large it is.
func (w *postgresWriter) patient(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, `SELECT set_config(name, '0', true) FROM (VALUES ('statement_timeout'), ('idle_in_transaction_session_timeout')) AS s (name)`)
	return err
}

// restore implements dialect.
func (w *postgresWriter) restore(ctx context.Context, fn func(tx *sql.Tx) error) (err error) {
	db := stdlib.OpenDBFromPool(w.pool)
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := w.patient(ctx, tx); err != nil {
		return err
	}
	// Nobody else makes a workspace meanwhile.
	if _, err := tx.ExecContext(ctx, `LOCK TABLE workspaces IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	// Without rows max is NULL, and setval of NULL does nothing.
	for _, stmt := range []string{
		`SELECT setval('contact_ids', (SELECT max(id) FROM contacts))`,
		`SELECT setval('company_ids', (SELECT max(id) FROM companies))`,
		`SELECT setval('attribute_ids', (SELECT max(id) FROM attribute_defs))`,
		`SELECT setval('list_ids', (SELECT max(id) FROM lists))`,
		`SELECT setval('segment_ids', (SELECT max(id) FROM segments))`,
		`SELECT setval('record_ids', (SELECT max(id) FROM records))`,
		`SELECT setval(pg_get_serial_sequence('workspaces', 'workspace_id'), (SELECT max(workspace_id) FROM workspaces))`,
		`SELECT setval(pg_get_serial_sequence('page_views', 'id'), (SELECT max(id) FROM page_views))`,
		`SELECT setval(pg_get_serial_sequence('events', 'id'), (SELECT max(id) FROM events))`,
		`SELECT setval(pg_get_serial_sequence('tags', 'id'), (SELECT max(id) FROM tags))`,
		`SELECT setval(pg_get_serial_sequence('merges', 'id'), (SELECT max(id) FROM merges))`,
		`SELECT setval(pg_get_serial_sequence('quarantine', 'id'), (SELECT max(id) FROM quarantine))`,
	} {
		if _, err := tx.ExecContext(ctx, stmt); err != nil {
			return err
		}
	}
	if err := fillDomains(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	w.ids.drop()
	return nil
}
