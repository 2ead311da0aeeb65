package inbox

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway/cache/redistest"
)

// TestAppendScript appends by hand, in orders that a network could cause.
func TestAppendScript(t *testing.T) {
	t.Parallel()
	c := redistest.New(t).Client()
	ctx := context.Background()
	keys := []string{"log", "state"}
	send := func(writer string, number, count int, data string, known int64) ([]int64, error) {
		t.Helper()
		return ints(runScript(ctx, c, appendScript, keys, writer, number, count, data, 10, 100, known), 5)
	}
	if _, err := send("w:a", 1, 1, "x", 0); !needsPreparing(err) {
		t.Fatalf("without a state: %v", err)
	}
	const floor = maxSeq - 1000 // far ahead of the clock, as far as Lua can count
	if last, err := runScript(ctx, c, prepareScript, keys, floor).Int64(); last != floor || err != nil {
		t.Fatalf("prepare: %d, %v", last, err)
	}
	steps := []struct {
		name   string
		writer string
		number int
		count  int
		data   string
		known  int64
		want   []int64
		word   string
	}{
		{"the first", "w:a", 1, 3, "xxx", 0, []int64{floor + 1, floor + 3, floor, 3, 3}, ""},
		{"its answer was lost", "w:a", 1, 3, "xxx", 0, []int64{floor + 1, floor + 3, floor, 3, 3}, ""},
		{"another writer's", "w:b", 1, 1, "y", 0, []int64{floor + 4, floor + 4, floor + 3, 4, 4}, ""},
		{"the first once more", "w:a", 1, 3, "xxx", 0, []int64{floor + 1, floor + 3, floor, 4, 4}, ""},
		{"the second", "w:a", 2, 1, "z", 0, []int64{floor + 5, floor + 5, floor + 4, 5, 5}, ""},
		{"the first comes late", "w:a", 1, 3, "xxx", 0, nil, wordStale},
		{"a writer that has seen more", "w:b", 7, 1, "v", floor + 500, []int64{floor + 501, floor + 501, floor + 5, 6, 6}, ""},
		{"too many entries", "w:b", 8, 5, "v", 0, nil, wordFull},
		{"too many bytes", "w:b", 9, 1, string(make([]byte, 95)), 0, nil, wordFull},
		{"what just fits", "w:b", 10, 4, string(make([]byte, 94)), 0, []int64{floor + 502, floor + 505, floor + 501, 10, 100}, ""},
	}
	for _, s := range steps {
		got, err := send(s.writer, s.number, s.count, s.data, s.known)
		if s.word != "" {
			if !isScriptError(err, s.word) {
				t.Errorf("%s: %v, want %s", s.name, err, s.word)
			}
			continue
		}
		if diff := cmp.Diff(s.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", s.name, err, diff)
		}
	}
	if n := c.XLen(ctx, "log").Val(); n != 5 {
		t.Errorf("the stream has %d batches, want 5", n)
	}

	// What is applied gives room, batch by batch.
	for _, s := range []struct {
		from int64
		want []int64
	}{
		{floor + 3, []int64{10, 100}}, // in the middle of the first batch
		{floor + 4, []int64{7, 97}},
		{floor + 502, []int64{4, 94}},
		{floor + 506, []int64{0, 0}},
	} {
		got, err := ints(runScript(ctx, c, trimScript, keys, s.from), 2)
		if diff := cmp.Diff(s.want, got); diff != "" || err != nil {
			t.Errorf("trim up to %d: %v\n%s", s.from, err, diff)
		}
	}
	if _, err := send("w:b", 11, 1, "v", 0); err != nil {
		t.Errorf("append after all was applied: %v", err)
	}
}

// A server's clock moves numbers ahead, and writers that are gone are forgotten.
func TestAppendScriptClock(t *testing.T) {
	t.Parallel()
	c := redistest.New(t).Client()
	ctx := context.Background()
	keys := []string{"log", "state"}
	if err := runScript(ctx, c, prepareScript, keys, 5).Err(); err != nil {
		t.Fatal(err)
	}
	before := c.Time(ctx).Val()
	got, err := ints(runScript(ctx, c, appendScript, keys, "w:a", 1, 2, "x", 10, 100, 0), 5)
	after := c.Time(ctx).Val()
	if err != nil || got[0] < before.UnixMicro() || got[0] > after.UnixMicro() || got[1] != got[0]+1 || got[2] != 5 {
		t.Fatalf("%v, %v", got, err)
	}
	old := after.Add(-2*time.Hour).UnixMicro() + 17
	c.HSet(ctx, "state", "w:gone", "not an append", "w:old", "1 1 "+strconv.FormatInt(old, 10)+" 1")
	if err := runScript(ctx, c, prepareScript, keys, 5).Err(); err != nil {
		t.Fatal(err)
	}
	state := c.HGetAll(ctx, "state").Val()
	if state["w:a"] == "" || state["w:gone"] != "" || state["w:old"] != "" {
		t.Errorf("the state is %v", state)
	}
}
