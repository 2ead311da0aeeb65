package web_test

import (
	"os"
	"testing"

	"civgate/widget/browsertest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	browsertest.Stop()
	os.Exit(code)
}
