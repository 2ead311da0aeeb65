package api_test

import (
	"os"
	"testing"

	"civgate/gateway/store/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
