//go:build unix

package store_test

import (
	"database/sql"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"civgate/gateway/store/pgtest"
)

func TestPostgresDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	testDeleteLeavesNothing(t, open(t, url), func() []string { return strangers(t, url, orphans) })
}

func TestPostgresEventNamesOfOldEvents(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	testEventNamesOfOldEvents(t, url, goose.DialectPostgres, "migrations/postgres", func() *sql.DB {
		db, err := sql.Open("pgx", url)
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}
