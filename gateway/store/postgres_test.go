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

// BenchmarkPostgres measures payloads as the benchmarks of SQLite do, against a
// server on the same machine that waits for its disk (fsync on). cpu-ns is that
// of this process alone.
func BenchmarkPostgres(b *testing.B) {
	const batch = 2048
	server := pgtest.Start(b, "fsync=on", "shared_buffers=256MB", "max_wal_size=2GB")
	for _, c := range []struct {
		name  string
		apply func(t *traffic) func(n int)
	}{
		{"new", func(t *traffic) func(int) { return t.newContacts }},
		{"returning", func(t *traffic) func(int) { return t.returning }},
		{"changed", func(t *traffic) func(int) { return t.changed }},
	} {
		t := newTrafficAt(b, server.NewDatabase(b), benchContacts/2)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			t.cpu = 0
			apply, n := c.apply(t), 0
			for b.Loop() {
				if n++; n%batch == 0 {
					apply(batch)
				}
			}
			if n%batch > 0 {
				apply(n % batch)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "payloads/s")
			b.ReportMetric(float64(t.cpu)/float64(n), "cpu-ns/op")
		})
	}
}
