package store_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/storetest"
)

// rapidChecks sets how many rounds the properties have; nil leaves it to the
// flag.
var rapidChecks func() error

func TestMain(m *testing.M) {
	flag.Parse()
	if rapidChecks != nil {
		if err := rapidChecks(); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, f := range cleanups {
			f()
		}
		os.Exit(code)
	}))
}

// cleanups run when all tests are over.
var cleanups []func()

// open opens a new file and closes it when the test ends.
func open(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) gateway.Store {
		return open(t, filepath.Join(t.TempDir(), "civgate.db"))
	})
}
