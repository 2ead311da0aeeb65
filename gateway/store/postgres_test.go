//go:build unix

package store_test

import (
	"testing"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
	"civgate/gateway/storetest"
)

func init() { cleanups = append(cleanups, pgtest.Stop) }

func TestPostgres(t *testing.T) {
	t.Parallel()
	server := pgtest.Shared(t)
	storetest.Run(t, func(t *testing.T) gateway.Store {
		return open(t, server.NewDatabase(t))
	})
}
