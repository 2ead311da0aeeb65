//go:build unix

package store_test

import (
	"testing"

	"civgate/gateway/store/pgtest"
)

func TestPostgresNames(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	testNames(t, open(t, url), func() []string { return strangers(t, url, nameRows) })
}

func TestPostgresNamesOfMany(t *testing.T) {
	t.Parallel()
	testNamesOfMany(t, open(t, pgtest.Shared(t).NewDatabase(t)))
}

func TestPostgresCompanyNames(t *testing.T) {
	t.Parallel()
	testCompanyNames(t, open(t, pgtest.Shared(t).NewDatabase(t)))
}
