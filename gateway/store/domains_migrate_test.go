//go:build unix

package store

import (
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
)

// TestDomainsMigration opens databases from before companies were found by domain, and
// takes them back.
func TestDomainsMigration(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, driver, folder string
		files                embed.FS
		dialect              goose.Dialect
		database             func(t *testing.T) string
	}{
		{"SQLite", "sqlite", "sqlite", migrations, goose.DialectSQLite3, func(t *testing.T) string { return filepath.Join(t.TempDir(), "old.db") }},
		{"Postgres", "pgx", "postgres", postgresMigrations, goose.DialectPostgres, func(t *testing.T) string { return pgtest.Shared(t).NewDatabase(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := c.database(t)
			db, err := sql.Open(c.driver, path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			db.SetMaxOpenConns(1)
			files, err := fs.Sub(c.files, "migrations/"+c.folder)
			if err != nil {
				t.Fatal(err)
			}
			p, err := goose.NewProvider(c.dialect, db, files, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(tagsMigration(c.folder), domainsMigration(c.folder)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.UpTo(t.Context(), 8); err != nil {
				t.Fatal(err)
			}
			exec := func(text string, args ...any) {
				t.Helper()
				if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
			company := func(w, id int, name, attributes string) {
				t.Helper()
				exec(`INSERT INTO companies (workspace_id, id, name, attributes, created_at, updated_at) VALUES ($1, $2, $3, $4, 0, 0)`, w, id, name, attributes)
			}
			exec(`INSERT INTO workspaces (workspace_id, name, settings, created_at) VALUES (1, 'One', '{}', 1), (2, 'Two', '{}', 1)`)
			company(1, 1, "ACME.com", `{}`)
			company(1, 2, "Acme Inc.", `{"domains":["acme.com","Bücher.test",5,"none"],"z":"\u0000"}`)
			company(1, 3, "", `{"domains":"text.test"}`) // an attribute of that name was a custom one
			const many = 2500                            // several portions
			for i := range many {
				company(2, 100+i, fmt.Sprintf("c%d.test", i), `{}`)
			}
			for range 2 { // and once more after the way back
				if _, err := p.UpTo(t.Context(), 9); err != nil {
					t.Fatal(err)
				}
				if _, err := p.DownTo(t.Context(), 8); err != nil {
					t.Fatal(err)
				}
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}

			s, err := Open(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			domain := func(domain string, id gateway.CompanyID, listed bool, name string) gateway.DomainCompany {
				return gateway.DomainCompany{CompanyDomain: gateway.CompanyDomain{Domain: domain, CompanyID: id, Listed: listed}, Name: name}
			}
			for _, q := range []struct {
				w       gateway.WorkspaceID
				domains []string
				want    []gateway.DomainCompany
			}{
				{1, []string{"acme.com", "xn--bcher-kva.test", "text.test", "c7.test"}, []gateway.DomainCompany{
					domain("acme.com", 2, true, "Acme Inc."), domain("acme.com", 1, false, "ACME.com"), domain("xn--bcher-kva.test", 2, true, "Acme Inc."),
				}},
				{2, []string{"acme.com", "c0.test", "c2499.test"}, []gateway.DomainCompany{domain("c0.test", 100, false, "c0.test"), domain("c2499.test", 2599, false, "c2499.test")}},
			} {
				got, err := s.CompaniesByDomain(t.Context(), q.w, q.domains)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(q.want, got); diff != "" {
					t.Errorf("workspace %d (-want +got):\n%s", q.w, diff)
				}
			}
			n, err := s.number(t.Context(), "count", `SELECT count(*) FROM company_domains`)
			if err != nil || n != many+3 {
				t.Errorf("%d domains, %v; want %d", n, err, many+3)
			}
		})
	}
}
