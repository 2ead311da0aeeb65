package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// snapshot implements writer: a transaction of SQLite reads what was there when
// it began.
func (w *sqliteWriter) snapshot() sql.IsolationLevel { return sql.LevelDefault }

func (w *sqliteWriter) uuidColumn(name string) string { return name }
func (w *sqliteWriter) uuidValue(b []byte) any        { return b }

// patient implements dialect: reads have no bound of time.
func (w *sqliteWriter) patient(context.Context, *sql.Tx) error { return nil }

// restore implements dialect, on a connection of its own: the writer's has no
// statements for rows with their ids.
func (w *sqliteWriter) restore(ctx context.Context, fn func(tx *sql.Tx) error) (err error) {
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	db, err := sql.Open("sqlite", sqliteDSN(w.path, fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after the commit
	if err := fn(tx); err != nil {
		return err
	}
	for _, stmt := range []string{
		`INSERT INTO identifiers (workspace_id, kind, value, slot, contact_id)
			SELECT workspace_id, 0, key, 0, contact_id FROM visitor_keys
			UNION ALL SELECT workspace_id, 1, custom_id, 0, id FROM contacts WHERE custom_id IS NOT NULL
			UNION ALL SELECT workspace_id, 2, email_key, id, id FROM contacts WHERE email_key IS NOT NULL
			UNION ALL SELECT workspace_id, 3, phone_number, id, id FROM contacts WHERE phone_number IS NOT NULL
			ORDER BY 3, 2, 1, 4`,
		`INSERT INTO sequences (kind, next_id)
			SELECT 'contact', coalesce(max(id), 0) + 1 FROM contacts
			UNION ALL SELECT 'company', coalesce(max(id), 0) + 1 FROM companies
			UNION ALL SELECT 'attribute', coalesce(max(id), 0) + 1 FROM attribute_defs
			UNION ALL SELECT 'list', coalesce(max(id), 0) + 1 FROM lists
			UNION ALL SELECT 'segment', coalesce(max(id), 0) + 1 FROM segments
			UNION ALL SELECT 'record', coalesce(max(id), 0) + 1 FROM records`,
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
	clear(w.ids)
	return nil
}
