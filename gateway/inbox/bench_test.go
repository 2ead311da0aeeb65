//go:build unix

package inbox_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

// cpuTime is the CPU time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkAppend measures a row from Append through Next to Applied, with its
// share of every commit, hand-over and clean-up.
func BenchmarkAppend(b *testing.B) {
	for _, callers := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.ReportAllocs()
			f := open(b, b.TempDir(), 0, inbox.Options{})
			body := []byte(`{"text":"` + strings.Repeat("x", 640) + `"}`)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			done := make(chan struct{})
			go func() {
				defer close(done)
				for n := 0; n < b.N; {
					entries, err := f.Next(ctx, 1024)
					if err != nil {
						b.Error(err)
						return
					}
					n += len(entries)
					f.Applied(entries[len(entries)-1].Seq)
				}
			}()
			payload := &gateway.Payload{}
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ResetTimer()
			start := cpuTime(b)
			for range callers {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						e := &gateway.Entry{At: time.Now(), WorkspaceID: 1, IP: "192.0.2.0", Body: body, Payload: payload}
						if err := f.Append(ctx, e); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			<-done
			b.StopTimer()
			b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N), "cpu-us/row")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}
