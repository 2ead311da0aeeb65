//go:build unix

package store_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
)

// TestScopesOfOldKeys opens databases from before keys had names and scopes.
func TestScopesOfOldKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, driver, folder string
		dialect              goose.Dialect
		database             func(t *testing.T) string
	}{
		{"SQLite", "sqlite", "migrations/sqlite", goose.DialectSQLite3, func(t *testing.T) string { return filepath.Join(t.TempDir(), "old.db") }},
		{"Postgres", "pgx", "migrations/postgres", goose.DialectPostgres, func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := c.database(t)
			db, err := sql.Open(c.driver, path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			p, err := goose.NewProvider(c.dialect, db, os.DirFS(c.folder), goose.WithDisableGlobalRegistry(true))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.UpTo(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			for _, text := range []string{
				`INSERT INTO workspaces (workspace_id, name, settings, created_at) VALUES (7, 'Old', '{}', 1)`,
				`INSERT INTO api_keys (workspace_id, kind, secret, created_at) VALUES (7, 'widget', 'W', 1), (7, 'rest', 'R', 2)`,
			} {
				if _, err := db.ExecContext(t.Context(), text); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			keys, err := open(t, path).APIKeys(t.Context(), 7)
			if err != nil {
				t.Fatal(err)
			}
			for i := range keys {
				keys[i].CreatedAt = moment(0)
			}
			want := []gateway.APIKey{
				{WorkspaceID: 7, Kind: gateway.KeyWidget, Secret: "W", CreatedAt: moment(0)},
				{WorkspaceID: 7, Kind: gateway.KeyREST, Secret: "R", Scope: gateway.ScopeAdmin, CreatedAt: moment(0)},
			}
			if d := cmp.Diff(want, keys); d != "" {
				t.Error(d)
			}
		})
	}
}
