package main

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

// asProgram makes the test binary behave as civload: the bench starts its own executable for the ceiling.
const asProgram = "CIVLOAD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if err := os.Setenv(asProgram, "1"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "civload-test-*")
	if err != nil {
		panic(err)
	}
	buildDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(status int) {
		if err := os.RemoveAll(dir); err != nil {
			panic(err)
		}
		os.Exit(status)
	}))
}

// civload runs the program's code in this process.
func civload(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func TestRunVerifiesAndTells(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	ledger := filepath.Join(t.TempDir(), "ledger")
	status, out, errs := civload(t, "-url", s.url, "-api-key", fakeAPIKey, "-rest-token", fakeToken, "-scenario", "mixed",
		"-contacts", "200", "-n", "500", "-c", "8", "-array=7", "-verify", "-ledger", ledger)
	if status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	for _, want := range []string{`acknowledged   500 payloads`, `latency        p50 [\d.]+ ms  p99 [\d.]+ ms  p99.9`, `errors         none`, `accepted and applied [\d,]+ payloads/s`,
		`VERIFIED: each of the 700 acknowledged payloads is stored exactly once`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("output has no %q:\n%s", want, out)
		}
	}

	verify := []string{"verify", "-url", s.url, "-rest-token", fakeToken, "-ledger", ledger}
	if status, out, errs := civload(t, verify...); status != exitOK {
		t.Errorf("verify from the ledger file: status %d\n%s%s", status, out, errs)
	}
	s.contacts[17].views++
	status, out, errs = civload(t, verify...)
	if status != exitFault || !strings.Contains(out, "NOT VERIFIED") || !strings.Contains(out, string(wrongViews)) {
		t.Errorf("verify after a page view too many: status %d\n%s%s", status, out, errs)
	}
}

func TestRunFailsOnALostPayload(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	s.stores = func(n int64) int {
		if n == 33 {
			return 0
		}
		return 1
	}
	status, out, errs := civload(t, "--url", s.url, "--api-key", fakeAPIKey, "--rest-token", fakeToken, "--scenario", "new", "-n", "100", "-c", "4", "--verify")
	if status != exitFault || !strings.Contains(out, "NOT VERIFIED") || !strings.Contains(errs, errNotVerified.Error()) {
		t.Errorf("status %d\n%s%s", status, out, errs)
	}
}

func TestRunFailsOnRefusalsThatTellNothing(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	s.answers = func(n int64) (int, http.Header) {
		if n == 33 {
			return http.StatusServiceUnavailable, nil
		}
		return http.StatusOK, nil
	}
	for _, sc := range []string{"new", "mixed"} { // in the load itself, and among the people who are made before
		s.mu.Lock()
		s.requests = 0
		s.mu.Unlock()
		status, out, errs := civload(t, "-url", s.url, "-api-key", fakeAPIKey, "-rest-token", fakeToken, "-scenario", sc, "-contacts", "2000", "-n", "100", "-c", "4", "-verify")
		if status != exitFault || !strings.Contains(errs, errUntold.Error()) {
			t.Errorf("%s: status %d\n%s%s", sc, status, out, errs)
		}
		if sc == "new" && (!strings.Contains(out, "503 code_503, no Retry-After") || !strings.Contains(out, "VERIFIED")) {
			t.Errorf("output does not tell:\n%s", out)
		}
	}
}

// A long run is told by time, a short one is not.
func TestReportByTime(t *testing.T) {
	t.Parallel()
	start := time.Now()
	times := newTimeline(start)
	for i := range 100 {
		times.record(start.Add(time.Duration(i)*100*time.Millisecond), 2*time.Millisecond)
	}
	for elapsed, want := range map[time.Duration]bool{longRun: true, longRun - 1: false} {
		r := result{Elapsed: elapsed, Latency: times.total(), Times: times}
		var out strings.Builder
		if err := r.write(&out, true); err != nil {
			t.Fatal(err)
		}
		if got := regexp.MustCompile(`(?m)^p99 by time    (2\.0  ){10}ms, each of 1\.\d\d s$`).MatchString(out.String()); got != want {
			t.Errorf("%v: told by time %v, want %v:\n%s", elapsed, got, want, out.String())
		}
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"unknown scenario": {"-api-key", "K", "-scenario", "odd"},
		"no api key":       {"-scenario", "new"},
		"unknown flag":     {"-api-key", "K", "-nonsense"},
		"no ledger":        {"verify"},
	} {
		if status, _, errs := civload(t, args...); status != exitUsage || errs == "" {
			t.Errorf("%s: status %d, %q; want %d and a message", name, status, errs, exitUsage)
		}
	}
	for name, args := range map[string][]string{
		"no connection":       {"-api-key", "K", "-c", "0"},
		"array too long":      {"-api-key", "K", "-array", "51"},
		"people out of range": {"-api-key", "K", "-people-per-company", "0"},
		"address of no use":   {"-api-key", "K", "-url", "localhost:8080"},
		"token missing":       {"-api-key", "K", "-verify"},
		"nobody there":        {"-api-key", "K", "-url", "http://127.0.0.1:1", "-n", "1"},
		"ledger missing":      {"verify", "-rest-token", "T", "-ledger", "/nonexistent/ledger"},
	} {
		if status, _, errs := civload(t, args...); status != exitFault || errs == "" {
			t.Errorf("%s: status %d, %q; want %d and a message", name, status, errs, exitFault)
		}
	}
	if status, out, _ := civload(t, "--help"); status != exitOK || !strings.Contains(out, "ceiling") {
		t.Errorf("help: status %d\n%s", status, out)
	}
}

func TestInterruptedRunKeepsItsLedger(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	s.stores = func(n int64) int {
		if n == 50 {
			cancel()
		}
		return 1
	}
	ledger := filepath.Join(t.TempDir(), "ledger")
	var out, errs bytes.Buffer
	status := run(ctx, []string{"-url", s.url, "-api-key", fakeAPIKey, "-scenario", "new", "-d", "1h", "-c", "4", "-ledger", ledger}, &out, &errs)
	if status != exitFault || !strings.Contains(errs.String(), "interrupted") {
		t.Fatalf("status %d\n%s%s", status, &out, &errs)
	}
	if status, out, errs := civload(t, "verify", "-url", s.url, "-rest-token", fakeToken, "-ledger", ledger); status != exitOK {
		t.Errorf("verify: status %d\n%s%s", status, out, errs)
	}
}

func TestDoubleDashes(t *testing.T) {
	t.Parallel()
	got := doubleDashes([]string{"-scenario", "new", "-c", "8", "-c8", "-d10s", "-rest-token=x", "--verify", "-", "--", "-5"})
	want := []string{"--scenario", "new", "-c", "8", "-c8", "-d10s", "--rest-token=x", "--verify", "-", "--", "-5"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
