//go:build linux

package inbox_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

// processTime is the CPU time that another process has used, in steps of 10 ms.
func processTime(b *testing.B, pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	var ticks int64
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// BenchmarkStreamAppend measures a row from Append through Next to Applied, with
// its share of all that Redis does for it. Compare with BenchmarkAppend.
func BenchmarkStreamAppend(b *testing.B) {
	for _, shards := range []int{4, 8, 16} {
		for _, from := range []string{"memory", "redis"} {
			for _, callers := range []int{1, 64, 256} {
				b.Run(fmt.Sprintf("shards=%d/from=%s/callers=%d", shards, from, callers), func(b *testing.B) {
					benchmarkStream(b, shards, callers, from == "memory")
				})
			}
		}
	}
}

func benchmarkStream(b *testing.B, shards, callers int, memory bool) {
	b.ReportAllocs()
	r := startRedis(b)
	n := openStream(b, r.addr, newDatabase(b), func(o *inbox.StreamOptions) {
		o.Shards = shards
		if !memory {
			o.QueueBytes = 1
		}
	})
	var applied atomic.Int64
	done := make(chan struct{})
	n.own(b, func(ctx context.Context, sh *inbox.Shard) error {
		for {
			entries, err := sh.Next(ctx, 4096)
			if err != nil {
				return err
			}
			sh.Applied(entries[len(entries)-1].Seq)
			if applied.Add(int64(len(entries))) == int64(b.N) {
				close(done)
			}
			time.Sleep(50 * time.Millisecond) // as the applier does under load
		}
	})
	until(b, "the shards are taken", func() bool { return len(n.shards()) == shards })
	_, info, _ := strings.Cut(fmt.Sprint(r.do("INFO server")), "process_id:")
	info, _, _ = strings.Cut(info, "\r")
	pid, err := strconv.Atoi(info)
	if err != nil {
		b.Fatal(err)
	}
	body := []byte(`{"text":"` + strings.Repeat("x", 640) + `"}`)
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.ResetTimer()
	start, other := cpuTime(b), processTime(b, pid)
	for c := range callers {
		wg.Go(func() {
			payload := &gateway.Payload{Key: fmt.Sprint("visitor", c)}
			for left.Add(-1) >= 0 {
				e := &gateway.Entry{At: time.Now(), WorkspaceID: 1, IP: "192.0.2.0", Body: body, Payload: payload}
				if err := n.Append(context.Background(), e); err != nil {
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
	b.ReportMetric(float64((processTime(b, pid)-other).Microseconds())/float64(b.N), "redis-us/row")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
