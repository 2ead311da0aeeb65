package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func testTraffic(t testing.TB) *traffic {
	t.Helper()
	tr, err := newTraffic(newPrefix(), 42, 10, "A1B2C3")
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

func TestLedgerFileRoundTrip(t *testing.T) {
	t.Parallel()
	tr := testTraffic(t)
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		l := newLedger(tr, rapid.Bool().Draw(t, "chaos"))
		senders := rapid.Int64Range(0, chunkSize+1000).Draw(t, "senders")
		l.take(senders)
		if senders > 0 {
			for range rapid.IntRange(0, 50).Draw(t, "steps") {
				who := rapid.Int64Range(0, senders-1).Draw(t, "who")
				l.begin(who)
				switch rapid.IntRange(0, 3).Draw(t, "fate") {
				case 0:
					l.ack(who)
				case 1:
					l.refuse(who)
				case 2:
					l.blur(who)
				}
			}
		}
		name := filepath.Join(dir, "ledger")
		if err := l.writeFile(name); err != nil {
			t.Fatal(err)
		}
		got, err := readLedgerFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got.chaos != l.chaos || got.senders.Load() != senders || got.traffic.prefix != tr.prefix || got.traffic.seed != tr.seed || got.traffic.perCompany != tr.perCompany {
			t.Fatalf("header changed on the way: %+v", got.traffic)
		}
		for i := range senders {
			if got.raw(i) != l.raw(i) {
				t.Fatalf("sender %d: %v, want %v", i, got.raw(i), l.raw(i))
			}
		}
	})
}

func TestReadLedgerRefuses(t *testing.T) {
	t.Parallel()
	l := newLedger(testTraffic(t), false)
	l.take(3)
	l.begin(1)
	l.ack(1)
	var b bytes.Buffer
	if err := l.write(&b); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	header, rest, _ := strings.Cut(good, "\n")
	for name, text := range map[string]string{
		"empty":              "",
		"not a ledger":       "hello\n",
		"other version":      strings.Replace(good, `_ledger":1`, `_ledger":9`, 1),
		"cut off":            strings.TrimSuffix(good, "end\n"),
		"too few senders":    header + "\n1 0 0\nend\n",
		"too many senders":   header + "\n99 0 0\nend\n",
		"not numbers":        header + "\nx y z\nend\n",
		"no people in one":   strings.Replace(good, `company":10`, `company":0`, 1),
		"absurd senders":     strings.Replace(good, `senders":3`, `senders":999999999999`, 1),
		"negative run":       header + "\n-1 0 0\n" + rest,
		"counter below zero": header + "\n3 -1 0\nend\n",
	} {
		if _, err := readLedger(strings.NewReader(text)); err == nil {
			t.Errorf("%s: read without an error", name)
		}
	}
	if _, err := readLedger(strings.NewReader(good)); err != nil {
		t.Errorf("the unchanged file: %v", err)
	}
}
