package gateway_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"civgate/gateway/store/pgtest"
)

// rapidChecks sets how many rounds the properties have; nil leaves it to the
// flag.
var rapidChecks func() error

func TestMain(m *testing.M) {
	flag.Parse()
	if rapidChecks != nil {
		if err := rapidChecks(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	code := m.Run()
	pgtest.Stop()
	os.Exit(code)
}
