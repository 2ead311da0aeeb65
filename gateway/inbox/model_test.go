package inbox_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

// TestModel does random things to an inbox with tiny bounds and compares it
// with a list.
func TestModel(t *testing.T) {
	t.Parallel()
	root := memoryDir(t)
	runs := 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		dir := filepath.Join(root, fmt.Sprint(runs))
		defer func() { _ = os.RemoveAll(dir) }()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		opts := inbox.Options{
			MaxPending:   rapid.Int64Range(5, 40).Draw(t, "MaxPending"),
			QueueEntries: rapid.IntRange(1, 12).Draw(t, "QueueEntries"),
			SegmentBytes: rapid.SampledFrom([]int64{1, 20_000, 1 << 20}).Draw(t, "SegmentBytes"),
		}
		var (
			bodies  []string // of the entry with seq i+1
			applied int64
			next    int64 = 1
			stored  int64 // what the store would say after a crash
		)
		f, err := inbox.Open(ctx, dir, 0, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		last := func() int64 { return int64(len(bodies)) }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				n := rapid.IntRange(1, 5).Draw(t, "n")
				var entries []*gateway.Entry
				for i := range n {
					entries = append(entries, entry(fmt.Sprint("entry ", len(bodies)+i+1)))
				}
				err := f.Append(ctx, entries...)
				if full := last()-applied+int64(n) > opts.MaxPending; full != (err != nil) {
					t.Fatalf("append of %d to %d pending: %v", n, last()-applied, err)
				} else if full {
					return
				}
				for _, e := range entries {
					bodies = append(bodies, string(e.Body))
				}
			},
			"next": func(t *rapid.T) {
				limit := rapid.IntRange(1, 9).Draw(t, "limit")
				if next > last() {
					t.Skip("nothing to read")
				}
				entries, err := f.Next(ctx, limit)
				if err != nil || len(entries) == 0 || len(entries) > limit {
					t.Fatalf("next %d = %d entries, %v", limit, len(entries), err)
				}
				for _, e := range entries {
					if e.Seq != next || string(e.Body) != bodies[next-1] {
						t.Fatalf("entry %d is %q, want %d %q", e.Seq, e.Body, next, bodies[next-1])
					}
					next++
				}
			},
			"applied": func(t *rapid.T) {
				seq := rapid.Int64Range(0, last()).Draw(t, "seq")
				f.Applied(seq)
				applied = max(applied, seq)
				next = max(next, applied+1)
				stored = applied
			},
			"reopen": func(t *rapid.T) {
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				// The store may know more than the inbox was told.
				stored = rapid.Int64Range(stored, max(next-1, stored)).Draw(t, "stored")
				f, err = inbox.Open(ctx, dir, stored, opts)
				if err != nil {
					t.Fatal(err)
				}
				applied, next = stored, stored+1
			},
			"": func(t *rapid.T) {
				if got := f.Pending(); got != last()-applied {
					t.Fatalf("pending %d, want %d", got, last()-applied)
				}
			},
		})
	})
}
