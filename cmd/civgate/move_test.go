package main

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNumbers: what is told of one payload is not told of several.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ got, want string }{
		{waiting(1), "1 payload that waits"},
		{waiting(2), "2 payloads that wait"},
		{beingApplied(1), "1 payload that was accepted before is being applied now."},
		{beingApplied(2), "2 payloads that were accepted before are being applied now."},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

// TestMove takes an instance from one folder to another and goes on there.
func TestMove(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	civgate := func(data string, args ...string) (int, string, string) {
		var out, errs output
		code := run(context.Background(), args, []string{"CIVGATE_DATA=" + data}, &out, &errs)
		return code, out.String(), errs.String()
	}
	p := launch(t, from)
	const people = 30
	for i := range people {
		if status, _, answer := p.post(person(i)); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
	}
	p.settle()
	file := filepath.Join(t.TempDir(), "all.ndjson.gz")
	code, exported, errs := civgate(from, "export", file)
	if code != exitOK || !strings.Contains(exported, "contacts") {
		t.Fatalf("export beside the server: %d %s %s", code, exported, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("who may read the export: %v, %v", info.Mode(), err)
	}
	if code, _, errs := civgate(from, "import-store", file); code != exitFailed || !strings.Contains(errs, "stop it first") {
		t.Errorf("import beside the server: %d %s", code, errs)
	}
	if code := p.end(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	code, imported, errs := civgate(to, "import-store", file)
	if code != exitOK || imported != exported {
		t.Fatalf("import: %d %s\nexported\n%s\nimported\n%s", code, errs, exported, imported)
	}
	if code, _, errs := civgate(to, "import-store", file); code != exitFailed || !strings.Contains(errs, "the database is not empty (workspaces: 1): an export goes into an empty one") {
		t.Errorf("import once more: %d %s", code, errs)
	}
	if code, out, errs := civgate(to, "export", "-"); code != exitOK || errs != exported || !strings.HasPrefix(out, `{"civgate":"export"`) {
		t.Errorf("exported again: %d %.80s\n%s", code, out, errs)
	}

	// A file that is cut, or none at all, is told for what it is.
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cut := filepath.Join(t.TempDir(), "cut.ndjson.gz")
	if err := os.WriteFile(cut, packed[:len(packed)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := civgate(t.TempDir(), "import-store", cut); code != exitFailed || !strings.Contains(errs, "can't be read to its end") || strings.Count(errs, "\n") != 1 {
		t.Errorf("import of a cut file: %d %s", code, errs)
	}
	if code, _, errs := civgate(to, "export", t.TempDir()); code != exitFailed || !strings.Contains(errs, "not a regular file") {
		t.Errorf("export over a folder: %d %s", code, errs)
	}

	q := launch(t, to)
	for i := range people + 1 { // all are known but one
		if status, _, answer := q.post(person(i)); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
	}
	q.settle()
	if n := q.contacts(); n != people+1 {
		t.Errorf("%d contacts, want %d", n, people+1)
	}
}
