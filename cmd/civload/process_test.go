package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestParseUsage(t *testing.T) {
	t.Parallel()
	stat := []byte("123 (odd) name) S 1 123 123 0 -1 4194560 5061 0 0 0 250 50 0 0 20 0 9 0 100 1263140864 4000 18446744073709551615\n")
	status := []byte("Name:\todd) name\nVmPeak:\t 999 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t9\n")
	u, err := parseUsage(stat, status)
	if want := (usage{cpu: 3 * time.Second, resident: 1 << 20, peak: 2 << 20}); err != nil || u != want {
		t.Errorf("%+v, %v; want %+v", u, err, want)
	}
	if _, err := parseUsage([]byte("1 (x) S"), status); err == nil {
		t.Error("a short stat file was read without an error")
	}
	if _, err := parseUsage(stat, []byte("VmRSS:\tmany kB\n")); err == nil {
		t.Error("a wrong status file was read without an error")
	}
}

func TestParseDatabaseCPU(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, stat string
		want       time.Duration
	}{
		{"postgres", "7 (postgres) S 1 123 123 0 -1 4194560 5061 0 0 0 250 50 100 25 20 0 9\n", 4250 * time.Millisecond},
		{"redis", "7 (redis-server) S 1 123 123 0 -1 4194560 5061 0 0 0 250 50 0 0 20 0 9\n", 3 * time.Second},
		{"another", "7 (vim postgres) S 1 123 123 0 -1 4194560 5061 0 0 0 250 50 100 25 20 0 9\n", 0},
		{"cut off", "7 (postgres", 0},
	} {
		if got, err := parseDatabaseCPU([]byte(tt.stat)); err != nil || got != tt.want {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
	if _, err := parseDatabaseCPU([]byte("7 (postgres) S 1")); err == nil {
		t.Error("a short stat file was read without an error")
	}
}

func TestParseMachineCPU(t *testing.T) {
	t.Parallel()
	got, err := parseMachineCPU([]byte("cpu  100 20 30 9999 8888 4 5 6 100 20\ncpu0 1 2\n"))
	if err != nil || got != 1650*time.Millisecond {
		t.Errorf("%v, %v; want 1.65s", got, err)
	}
	for _, bad := range []string{"", "cpu 1 2 3", "intr 1 2 3 4 5 6 7 8 9", "cpu a b c d e f g h"} {
		if _, err := parseMachineCPU([]byte(bad)); err == nil {
			t.Errorf("%q was read without an error", bad)
		}
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	t.Parallel()
	u, err := process{os.Getpid()}.usage()
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no /proc here")
	}
	if err != nil || u.resident < 1<<20 || u.peak < u.resident {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := (process{-5}).usage(); err == nil || errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a process that isn't there: %v", err)
	}
}

// The ceiling runs as the bench runs it: this executable as a child, driven, stopped by a signal, status 0.
func TestCeilingAsChild(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	c, err := startChild(log, self, os.Environ(), "ceiling", "--addr", addr)
	if err != nil {
		t.Fatal(err)
	}
	target, err := newTarget("http://"+addr, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	f := trafficFlags{Scenario: "new", Connections: 4, Array: 1, PerCompany: 10, Timeout: time.Minute, RetryFor: time.Minute}
	l, err := f.prepare(target, fakeAPIKey)
	if err != nil {
		t.Fatal(err)
	}
	if r := l.run(t.Context(), newBudget(100, 0)); r.Acked != 100 {
		t.Errorf("%d acknowledged of 100: %v", r.Acked, r.Errors)
	}
	target.close()
	if err := c.stop(time.Minute); err != nil {
		t.Error(err)
	}
	if text, err := os.ReadFile(log); err != nil || string(text) != "http://"+addr+"\n" {
		t.Errorf("the ceiling printed %q, %v", text, err)
	}
}

func TestCeilingReadsAndAnswers(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serveCeiling(ctx, "127.0.0.1:0", w) }()
	line := make([]byte, 100)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	res, err := client.Post(strings.TrimSpace(string(line[:n]))+"/ingest", "text/plain", bytes.NewReader(make([]byte, 1<<20)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || string(body) != `{"status":"ok"}` {
		t.Errorf("%d %q, %v", res.StatusCode, body, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	cancel()
	if err := <-served; err != nil {
		t.Errorf("after the end: %v", err)
	}
	if err := serveCeiling(t.Context(), "256.0.0.1:1", io.Discard); err == nil {
		t.Error("served at an address that can't be")
	}
}

func TestChildThatIsKilled(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c, err := startChild(filepath.Join(t.TempDir(), "log"), self, os.Environ(), "ceiling", "--addr", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.kill(); err != nil {
		t.Error(err)
	}
	if _, err := c.usage(); err == nil {
		t.Error("a killed process still uses something")
	}
}
