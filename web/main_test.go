package web_test

import (
	"os"
	"testing"

	"civgate/gateway/store/pgtest"
	"civgate/widget/browsertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browsertest.Stop()
	pgtest.Stop()
	os.Exit(code)
}
