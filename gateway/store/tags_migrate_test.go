//go:build unix

package store

import (
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
)

// TestTagsMigration opens databases from before tags had ids and companies knew how
// many employees they have, and takes them back.
func TestTagsMigration(t *testing.T) {
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
			p, err := goose.NewProvider(c.dialect, db, files, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(tagsMigration(c.folder)))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.UpTo(t.Context(), 3); err != nil {
				t.Fatal(err)
			}
			exec := func(text string, args ...any) {
				t.Helper()
				if _, err := db.ExecContext(t.Context(), text, args...); err != nil {
					t.Fatalf("%s: %v", text, err)
				}
			}
			contact := func(w, id int, attributes string, merged int) {
				t.Helper()
				exec(`INSERT INTO contacts (workspace_id, id, attributes, fingerprint, created_at, updated_at, merged_into) VALUES ($1, $2, $3, 0, $2, 0, $4)`, w, id, attributes, merged)
			}
			exec(`INSERT INTO workspaces (workspace_id, name, settings, created_at) VALUES (1, 'One', '{}', 1), (2, 'Two', '{}', 1)`)
			contact(1, 1, `{"a":"\u0000","n":1e400,"tags":["vip","łódź","q\"q\\","",5,"vip"],"z":1}`, 0)
			contact(1, 2, `{"note":"\"tags\":[\"no\"]","x":{"tags":["no"]}}`, 0)
			contact(1, 3, `{"tags":"vip"}`, 0)
			contact(1, 4, `{"tags":["merged"]}`, 1)
			contact(1, 5, `{"tags":{"a":["no"]}}`, 0)
			contact(1, 6, `{"tags":["`+strings.Repeat("x", 300)+`"]}`, 0)
			contact(2, 7, `{"tags":["vip"]}`, 0)
			const many = 2500 // several portions
			for i := range many {
				contact(2, 100+i, fmt.Sprintf(`{"tags":["all","t%d"]}`, i%3), 0)
			}
			for id, attributes := range map[int]string{1: `{"tags":["vip"]}`, 2: `{}`, 3: `{}`} {
				exec(`INSERT INTO companies (workspace_id, id, name, attributes, created_at, updated_at) VALUES (1, $1, 'Acme', $2, 0, 0)`, id, attributes)
			}
			for i, m := range [][3]int{{1, 1, 0}, {2, 1, 0}, {3, 1, 9}, {1, 2, 0}, {1, 2, 8}} {
				exec(`INSERT INTO memberships (workspace_id, contact_id, company_id, until, since, source, is_primary, made_by) VALUES (1, $1, $2, $3, $4, 'api', $5, '')`, m[0], m[1], m[2], i, false)
			}
			for range 2 { // and once more after the way back
				if _, err := p.Up(t.Context()); err != nil {
					t.Fatal(err)
				}
				if _, err := p.DownTo(t.Context(), 3); err != nil {
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
			numbers := map[gateway.CompanyID]int64{}
			companies, err := s.Companies(t.Context(), 1, 0, 10)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range companies {
				numbers[v.ID] = v.EmployeesCount
			}
			if diff := cmp.Diff(map[gateway.CompanyID]int64{1: 2, 2: 1, 3: 0}, numbers); diff != "" {
				t.Errorf("employees (-want +got):\n%s", diff)
			}
			type tagged struct {
				Tag    string
				At     int64
				People int
				Firms  int
			}
			for w, want := range map[gateway.WorkspaceID][]tagged{
				1: {{"łódź", 1, 1, 0}, {"vip", 1, 2, 1}, {`q"q\`, 1, 1, 0}, {"5", 1, 1, 0}},
				2: {{"t2", 102, 833, 0}, {"t1", 101, 833, 0}, {"t0", 100, 834, 0}, {"all", 100, many, 0}, {"vip", 7, 1, 0}},
			} {
				tags, err := s.Tags(t.Context(), w, 0, 100)
				if err != nil {
					t.Fatal(err)
				}
				var got []tagged
				for _, tag := range tags {
					q := gateway.Query{Where: []gateway.Condition{{Field: "tags", Value: gateway.TextValue(tag.Name)}}, Limit: maxRows}
					if tag.Name == "5" {
						q.Where[0].Value = gateway.IntValue(5) // it is a number there
					}
					people, err := s.FindContacts(t.Context(), w, q)
					if err != nil {
						t.Fatal(err)
					}
					firms, err := s.FindCompanies(t.Context(), w, q)
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, tagged{tag.Name, micros(tag.CreatedAt), len(people), len(firms)})
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("workspace %d (-want +got):\n%s", w, diff)
				}
				if n, err := s.CountTags(t.Context(), w); err != nil || int(n) != len(want) {
					t.Errorf("workspace %d: %d tags are counted, %v", w, n, err)
				}
			}
		})
	}
}
