package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// These tests run the real civgate, built from this module, as a process of its own.

var buildDir string // set and removed by TestMain

var buildOnce = sync.OnceValues(func() (string, error) {
	return gatewayProgram(context.Background(), "", buildDir)
})

func civgateBinary(t *testing.T) string {
	t.Helper()
	path, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// startCivgate starts one with more settings, as NAME=VALUE.
func startCivgate(t *testing.T, settings ...string) *gateway {
	t.Helper()
	g, err := newGateway(civgateBinary(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	g.environ = settings
	if err := g.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.stop(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, err := os.ReadFile(g.logFile())
			t.Logf("log of civgate (%v):\n%s", err, log)
		}
	})
	target, err := newTarget(g.url(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	if err := g.ready(t.Context(), target); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestEndToEnd(t *testing.T) {
	t.Parallel()
	g := startCivgate(t)
	server := []string{"-url", g.url(), "-api-key", g.apiKey, "-rest-token", g.restToken, "-verify", "-c", "16", "-n", "1000", "-contacts", "300"}
	for name, args := range map[string][]string{
		"new":             {"-scenario", "new"},
		"returning":       {"-scenario", "returning"},
		"mixed":           {"-scenario", "mixed"},
		"mixed in arrays": {"-scenario", "mixed", "-array", "20"},
		"chaos":           {"-scenario", "chaos"},
		"chaos in arrays": {"-scenario", "chaos", "-array", "3"},
	} {
		// All at once on one workspace: no run may mistake another one's data for its own.
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, out, errs := civload(t, append(args, server...)...)
			if status != exitOK || !strings.Contains(out, "errors         none") {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
		})
	}
}

func TestEndToEndCrash(t *testing.T) {
	t.Parallel()
	for _, sc := range []string{"mixed", "chaos"} {
		t.Run(sc, func(t *testing.T) {
			t.Parallel()
			status, out, errs := civload(t, "crash", "-civgate", civgateBinary(t), "-times", "3", "-c", "8", "-contacts", "200", "-longest", "300ms", "-scenario", sc, "-dir", t.TempDir())
			if status != exitOK || strings.Count(errs, "acknowledged payloads there once") != 3 {
				t.Errorf("status %d\n%s%s", status, out, errs)
			}
		})
	}
}

func TestEndToEndBench(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	status, out, errs := civload(t, "bench", "-civgate", civgateBinary(t), "-rounds", "1", "-d", "100ms", "-c", "8", "-contacts", "100", "-dir", dir)
	if status != exitOK {
		t.Fatalf("status %d\n%s%s", status, out, errs)
	}
	for _, bc := range benchCases {
		if !strings.Contains(out, "\n| "+bc.name+" | ") {
			t.Errorf("the table has no row %q:\n%s", bc.name, out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestBenchKeepsWhatFailed(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	dir := t.TempDir()
	// A program that ends at once is no civgate.
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip("no program called true here")
	}
	if status := run(t.Context(), []string{"bench", "-civgate", program, "-dir", dir}, &out, &errs); status != exitFault || !strings.Contains(errs.String(), "ended by itself") {
		t.Errorf("status %d\n%s", status, &errs)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("the log wasn't kept: %v, %v", left, err)
	}
}
