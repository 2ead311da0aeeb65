package inbox_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

// raceDetector says that all is ten times as slow.
var raceDetector bool

func TestMain(m *testing.M) {
	if run := os.Getenv(childEnv); run != "" {
		os.Exit(runChild(run))
	}
	flag.Parse()
	if raceDetector {
		if err := flag.Set("rapid.checks", "20"); err != nil {
			panic(err)
		}
	}
	// go-redis looks once a second for a server that was away, and notices then
	// that its client was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// open opens an inbox that the test closes.
func open(t testing.TB, dir string, applied int64, opts inbox.Options) *inbox.File {
	t.Helper()
	f, err := inbox.Open(context.Background(), dir, applied, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error("close:", err)
		}
	})
	return f
}

// memoryDir is a folder in memory where there is such a thing, for tests that
// write much and for which it is enough that a write is a write.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "civgate-inbox-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// entry makes an entry whose body is text.
func entry(text string) *gateway.Entry {
	return &gateway.Entry{
		At:          time.Date(2026, 3, 4, 5, 6, 7, 8, time.UTC),
		WorkspaceID: 7,
		IP:          "192.0.2.0",
		Body:        []byte(text),
		Payload:     &gateway.Payload{Name: text},
	}
}

// add appends entries with these bodies in one call.
func add(t testing.TB, f *inbox.File, bodies ...string) {
	t.Helper()
	entries := make([]*gateway.Entry, len(bodies))
	for i, b := range bodies {
		entries[i] = entry(b)
	}
	if err := f.Append(context.Background(), entries...); err != nil {
		t.Fatal(err)
	}
}

// numbers are the texts from to to.
func numbers(from, to int) []string {
	var s []string
	for i := from; i <= to; i++ {
		s = append(s, fmt.Sprint(i))
	}
	return s
}

// take returns the next n entries, read limit at a time.
func take(t testing.TB, f *inbox.File, n, limit int) []*gateway.Entry {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []*gateway.Entry
	for len(all) < n {
		entries, err := f.Next(ctx, min(limit, n-len(all)))
		if err != nil {
			t.Fatalf("next after %d of %d: %v", len(all), n, err)
		}
		all = append(all, entries...)
	}
	return all
}

// wantBodies checks that entries have these bodies and rising numbers from
// first on.
func wantBodies(t testing.TB, entries []*gateway.Entry, first int64, bodies ...string) {
	t.Helper()
	got := make([]string, len(entries))
	for i, e := range entries {
		got[i] = string(e.Body)
		if e.Seq != first+int64(i) {
			t.Fatalf("entry %d has seq %d, want %d", i, e.Seq, first+int64(i))
		}
	}
	if diff := cmp.Diff(bodies, got); diff != "" {
		t.Fatal("bodies (-want +got):\n" + diff)
	}
}

// wantNone checks that Next has nothing.
func wantNone(t testing.TB, f *inbox.File) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if entries, err := f.Next(ctx, 10); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("next = %d entries, %v; want nothing", len(entries), err)
	}
}

func wantUnavailable(t testing.TB, err error) {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) || e.Code != gateway.CodeUnavailable || e.RetryAfter <= 0 {
		t.Fatalf("error %v, want unavailable with a time to retry", err)
	}
}

func wantPending(t testing.TB, f *inbox.File, want int64) {
	t.Helper()
	if got := f.Pending(); got != want {
		t.Fatalf("pending %d, want %d", got, want)
	}
}

func TestHandOverKeepsPayload(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir(), 0, inbox.Options{})
	e := entry("hello")
	if err := f.Append(context.Background(), e); err != nil {
		t.Fatal(err)
	}
	wantPending(t, f, 1)
	got := take(t, f, 1, 10)
	if got[0] != e || got[0].Payload == nil {
		t.Fatal("not the entry that was appended")
	}
	wantNone(t, f)
	f.Applied(1)
	wantPending(t, f, 0)
}

func TestReopen(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		applied int64 // told before the first close
		reopen  int64 // told to the second open
		first   int64 // seq that comes first then
		bodies  []string
	}{
		{"nothing applied", 0, 0, 1, numbers(1, 10)},
		{"some applied", 4, 4, 5, numbers(5, 10)},
		{"store behind what was told", 4, 2, 3, numbers(3, 10)},
		{"store ahead", 0, 9, 10, numbers(10, 10)},
		{"all applied", 10, 10, 11, nil},
		{"store beyond", 0, 50, 51, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			f := open(t, dir, 0, inbox.Options{})
			add(t, f, numbers(1, 3)...)
			add(t, f, numbers(4, 10)...)
			f.Applied(tt.applied)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			f = open(t, dir, tt.reopen, inbox.Options{})
			wantPending(t, f, int64(len(tt.bodies)))
			add(t, f, "new")
			got := take(t, f, len(tt.bodies)+1, 3)
			wantBodies(t, got, tt.first, append(tt.bodies, "new")...)
			if len(tt.bodies) > 0 {
				want := entry(tt.bodies[0])
				want.Seq, want.Payload = tt.first, nil
				if diff := cmp.Diff(want, got[0]); diff != "" {
					t.Error("entry read back (-want +got):\n" + diff)
				}
			}
		})
	}
}

func TestDeletedFilesDontRepeatNumbers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{})
	add(t, f, numbers(1, 10)...)
	f.Applied(10)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, 10, inbox.Options{})
	add(t, f, "new")
	wantBodies(t, take(t, f, 1, 1), 11, "new")
}

func TestConcurrentAppends(t *testing.T) {
	t.Parallel()
	const callers, calls = 64, 40
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{QueueEntries: 100, SegmentBytes: 64 << 10})
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				a, b := entry(fmt.Sprintf("%d %d a", c, i)), entry(fmt.Sprintf("%d %d b", c, i))
				if err := f.Append(context.Background(), a, b); err != nil {
					t.Error(err)
				}
				if b.Seq != a.Seq+1 {
					t.Errorf("entries of one call have seq %d and %d", a.Seq, b.Seq)
				}
			}
		})
	}
	got := take(t, f, callers*calls*2, 50)
	wg.Wait()
	next := map[int]int{}
	for i := 0; i < len(got); i += 2 {
		var c, n int
		if _, err := fmt.Sscanf(string(got[i].Body), "%d %d a", &c, &n); err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("%d %d b", c, n); string(got[i+1].Body) != want {
			t.Fatalf("%s is followed by %s", got[i].Body, got[i+1].Body)
		}
		if got[i].Seq != int64(i+1) || n != next[c] {
			t.Fatalf("entry %d: seq %d, caller %d, number %d, want number %d", i, got[i].Seq, c, n, next[c])
		}
		next[c]++
	}
	wantNone(t, f)
	wantPending(t, f, callers*calls*2)
}

func TestMaxPending(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		opts inbox.Options
	}{
		{"count", inbox.Options{MaxPending: 10}},
		{"bytes", inbox.Options{MaxBytes: 1 << 20}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := open(t, t.TempDir(), 0, tt.opts)
			body := strings.Repeat("x", 100<<10)
			for range 10 {
				add(t, f, body)
			}
			wantUnavailable(t, f.Append(context.Background(), entry(body)))
			wantPending(t, f, 10)
			if err := f.Check(context.Background()); tt.opts.MaxPending > 0 {
				wantUnavailable(t, err)
			}
			f.Applied(1)
			if err := f.Check(context.Background()); err != nil {
				t.Error("with room again:", err)
			}
			add(t, f, body)
			wantUnavailable(t, f.Append(context.Background(), entry(body)))
			f.Applied(11)
			for range 10 {
				add(t, f, body)
			}
			wantPending(t, f, 10)
		})
	}
}

func TestTooLargeAppend(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir(), 0, inbox.Options{MaxPending: 2})
	err := f.Append(context.Background(), entry("1"), entry("2"), entry("3"))
	if gateway.CodeOf(err) != gateway.CodeTooLarge {
		t.Fatalf("error %v, want too large", err)
	}
	add(t, f, "1", "2")
}

func TestAppliedBeforeNext(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir(), 0, inbox.Options{QueueEntries: 4})
	for _, n := range numbers(1, 10) {
		add(t, f, n)
	}
	f.Applied(2) // in memory
	wantBodies(t, take(t, f, 1, 1), 3, "3")
	f.Applied(6) // beyond memory
	wantBodies(t, take(t, f, 1, 1), 7, "7")
	f.Applied(8) // read ahead from disk
	wantBodies(t, take(t, f, 2, 5), 9, "9", "10")
	f.Applied(1000) // more than there is
	wantPending(t, f, 0)
	add(t, f, "11")
	wantBodies(t, take(t, f, 1, 1), 11, "11")
	wantPending(t, f, 1)
}

func TestContext(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir(), 0, inbox.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := f.Append(ctx, entry("1"))
	wantUnavailable(t, err)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v does not wrap the context's", err)
	}
	if _, err := f.Next(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("next with an ended context: %v", err)
	}
	wantPending(t, f, 0)

	// Cancelled while they wait: every call ends, and what is acknowledged is
	// handed out.
	var wg sync.WaitGroup
	var mu sync.Mutex
	acknowledged := map[string]bool{}
	for i := range 200 {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			go cancel()
			text := fmt.Sprint(i)
			if err := f.Append(ctx, entry(text)); err == nil {
				mu.Lock()
				defer mu.Unlock()
				acknowledged[text] = true
			} else if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	add(t, f, "end")
	for {
		e := take(t, f, 1, 1)[0]
		if string(e.Body) == "end" {
			break
		}
		delete(acknowledged, string(e.Body))
	}
	if len(acknowledged) > 0 {
		t.Fatalf("acknowledged and never handed out: %v", acknowledged)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{})
	next := make(chan error)
	go func() {
		for {
			if _, err := f.Next(context.Background(), 10); err != nil {
				next <- err
				return
			}
		}
	}()
	var mu sync.Mutex
	var acknowledged int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for {
				err := f.Append(context.Background(), entry("x"))
				if err != nil {
					if gateway.CodeOf(err) != gateway.CodeUnavailable {
						t.Error(err)
					}
					return
				}
				mu.Lock()
				acknowledged++
				mu.Unlock()
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal("second close:", err)
	}
	wg.Wait()
	wantUnavailable(t, <-next)
	wantUnavailable(t, f.Append(context.Background(), entry("late")))
	f = open(t, dir, 0, inbox.Options{})
	wantPending(t, f, acknowledged)
}

func TestSecondOpenIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{})
	_, err := inbox.Open(context.Background(), dir, 0, inbox.Options{})
	if err == nil || !strings.Contains(err.Error(), dir) {
		t.Fatalf("error %v, want one that names %s", err, dir)
	}
	add(t, f, "still works")
}

func TestCloseLeavesNothingWhenAllIsApplied(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{})
	add(t, f, "1")
	f.Applied(1)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "inbox-*"))
	if err != nil || len(files) != 0 {
		t.Fatalf("left behind: %v, %v", files, err)
	}
}
