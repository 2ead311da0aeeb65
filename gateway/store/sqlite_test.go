package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"civgate/gateway"
	"civgate/gateway/store"
)

// raw opens the file beside a store, as another process would.
func raw(t *testing.T, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), db.Close() })
	return c
}

func run(t *testing.T, c *sql.Conn, text string) {
	t.Helper()
	if _, err := c.ExecContext(t.Context(), text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

func workspace(t testing.TB, s *store.Store) gateway.WorkspaceID {
	t.Helper()
	w, err := s.CreateWorkspace(t.Context(), gateway.Workspace{Name: "Acme", Settings: gateway.DefaultSettings()})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// addContact saves a new contact and moves the inbox position by one.
func addContact(ctx context.Context, s *store.Store, w gateway.WorkspaceID, customID string) error {
	return s.Update(ctx, func(tx gateway.Tx) error {
		id, err := tx.NextIDs(gateway.IDContact, 1)
		if err != nil {
			return err
		}
		c := &gateway.Contact{ID: gateway.ContactID(id), WorkspaceID: w, CustomID: customID}
		c.Attributes.Set("text", gateway.Value{Type: gateway.TypeText, Raw: `"` + strings.Repeat("x", 4000) + `"`})
		err = tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{c}, NewKeys: []gateway.VisitorKey{{Key: "k" + customID, ContactID: c.ID}}})
		if err != nil {
			return err
		}
		return tx.SetInboxPosition("n1", id)
	})
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) || e.Code != gateway.CodeUnavailable || e.RetryAfter <= 0 || e.Err == nil {
		t.Fatalf("%s: got %v, want %s with a cause and a time to wait", what, err, gateway.CodeUnavailable)
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "with space, ü and 100%?#.db")
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	w := workspace(t, s)
	for i := range 3 {
		if err := addContact(t.Context(), s, w, fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if _, err := os.Stat(path + suffix); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left after close (%v)", suffix, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read the file: %v, %v", info.Mode(), err)
	}
	wantUnavailable(t, "update after close", addContact(t.Context(), s, w, "late"))
	wantUnavailable(t, "ping after close", s.Ping(t.Context()))
	_, err = s.Contacts(t.Context(), w, 0, 9)
	wantUnavailable(t, "read after close", err)

	s = open(t, path)
	if err := addContact(t.Context(), s, w, "u3"); err != nil {
		t.Fatal(err)
	}
	all, err := s.Contacts(t.Context(), w, 0, 9)
	if err != nil || len(all) != 4 || all[0].CustomID != "u3" || all[0].ID <= all[1].ID {
		t.Errorf("contacts after reopening: %v, %v", all, err)
	}
	if n, err := s.InboxPosition(t.Context(), "n1"); err != nil || n != int64(all[0].ID) {
		t.Errorf("position after reopening: %d, %v", n, err)
	}
}

// A process that dies leaves the log; the next start reads it.
func TestCopyOfRunningStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "civgate.db")
	s := open(t, path)
	w := workspace(t, s)
	for i := range 20 {
		if err := addContact(t.Context(), s, w, fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
	}
	crashed := filepath.Join(dir, "crashed.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(crashed+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, crashed)
	if n, err := c.CountContacts(t.Context(), w); err != nil || n != 20 {
		t.Errorf("contacts after a crash: %d, %v", n, err)
	}
	for i := range 20 {
		id := fmt.Sprint("u", i)
		byID, err := c.ContactByCustomID(t.Context(), w, id)
		byKey, err2 := c.ContactByKey(t.Context(), w, "k"+id)
		if err := errors.Join(err, err2); err != nil || byID.CustomID != id || byKey.ID != byID.ID {
			t.Fatalf("contact %s after a crash: %v", id, err)
		}
	}
	if err := addContact(t.Context(), c, w, "u7"); gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("custom id that is taken: %v", err)
	}
	if err := addContact(t.Context(), c, w, "u20"); err != nil {
		t.Errorf("update after a crash: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "text.db"), []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	newer := filepath.Join(dir, "newer.db")
	s, err := store.Open(t.Context(), newer)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	run(t, raw(t, newer), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)`)
	for _, c := range []struct {
		name, path string
		want       gateway.Code
	}{
		{"folder that is not there", filepath.Join(dir, "none", "civgate.db"), gateway.CodeUnavailable},
		{"folder", dir, gateway.CodeUnavailable},
		{"other file", filepath.Join(dir, "text.db"), gateway.CodeInvalid},
		{"newer schema", newer, gateway.CodeInvalid},
		{"URL of another database", "mysql://localhost/civgate", gateway.CodeInvalid},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := store.Open(t.Context(), c.path)
			if got := gateway.CodeOf(err); got != c.want {
				t.Errorf("got %v, want code %s", err, c.want)
			}
			if s != nil {
				_ = s.Close()
			}
		})
	}
}

func TestLockedByAnotherProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s := open(t, path)
	w := workspace(t, s)
	if err := addContact(t.Context(), s, w, "before"); err != nil {
		t.Fatal(err)
	}
	other := raw(t, path)
	run(t, other, "BEGIN IMMEDIATE")
	run(t, other, "UPDATE sequences SET next_id = next_id + 1000 WHERE kind = 'contact'")
	wantUnavailable(t, "while locked", addContact(t.Context(), s, w, "locked out"))
	if v, err := s.ContactByCustomID(t.Context(), w, "before"); err != nil || v.CustomID != "before" {
		t.Errorf("read while locked: %v, %v", v, err)
	}
	run(t, other, "COMMIT")
	if err := addContact(t.Context(), s, w, "after"); err != nil {
		t.Fatalf("after the lock: %v", err)
	}
	// What the other process did to the sequence holds.
	v, err := s.ContactByCustomID(t.Context(), w, "after")
	if err != nil || v.ID < 1000 {
		t.Errorf("contact after the lock: %v, %v", v, err)
	}
	if _, err := s.ContactByCustomID(t.Context(), w, "locked out"); !gateway.IsNotFound(err) {
		t.Errorf("contact that was refused: %v", err)
	}
}

// Full disk: the tests' file system is given a limit by the engine itself.
func TestFull(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s := open(t, path)
	w := workspace(t, s)
	store.LimitPages(t, s, 120)
	added := 0
	var full error
	for ; full == nil && added < 1000; added++ {
		full = addContact(t.Context(), s, w, fmt.Sprint("u", added))
	}
	added--
	wantUnavailable(t, "full", full)
	for range 3 {
		wantUnavailable(t, "still full", addContact(t.Context(), s, w, "x"))
	}
	check := func(want int) {
		t.Helper()
		n, err := s.CountContacts(t.Context(), w)
		all, err2 := s.Contacts(t.Context(), w, 0, 1000)
		if err := errors.Join(err, err2); err != nil || int(n) != want || len(all) != want {
			t.Fatalf("%d counted, %d listed, want %d (%v)", n, len(all), want, err)
		}
		if pos, err := s.InboxPosition(t.Context(), "n1"); err != nil || pos != int64(all[0].ID) {
			t.Errorf("position %d, want %d (%v)", pos, all[0].ID, err)
		}
	}
	check(added)
	store.LimitPages(t, s, 1<<30)
	for i := range 5 {
		if err := addContact(t.Context(), s, w, fmt.Sprint("more", i)); err != nil {
			t.Fatalf("after there is room again: %v", err)
		}
	}
	check(added + 5)
}

// A write that fails must not end the transaction behind fn's back and let the
// rest through by itself.
func TestFailedSaveFailsTheRest(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "civgate.db"))
	w := workspace(t, s)
	if err := addContact(t.Context(), s, w, "u1"); err != nil {
		t.Fatal(err)
	}
	err := s.Update(t.Context(), func(tx gateway.Tx) error {
		save := tx.Save(w, &gateway.Changes{NewContacts: []*gateway.Contact{{ID: 900, WorkspaceID: w, CustomID: "u1"}}})
		if gateway.CodeOf(save) != gateway.CodeConflict {
			t.Errorf("save: %v", save)
		}
		if err := tx.SetInboxPosition("n1", 77); gateway.CodeOf(err) != gateway.CodeConflict {
			t.Errorf("position: %v", err)
		}
		if _, err := tx.ClaimMessages(w, []gateway.MessageID{{1}}, time.Now()); gateway.CodeOf(err) != gateway.CodeConflict {
			t.Errorf("messages: %v", err)
		}
		if _, err := tx.NextIDs(gateway.IDContact, 1); gateway.CodeOf(err) != gateway.CodeConflict {
			t.Errorf("ids: %v", err)
		}
		return nil
	})
	if gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("update: %v", err)
	}
	if n, err := s.InboxPosition(t.Context(), "n1"); err != nil || n == 77 {
		t.Errorf("position: %d, %v", n, err)
	}
}

// TestLogStaysBounded writes many times the size at which the log is moved
// into the file, without a rest between.
func TestLogStaysBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s := open(t, path)
	w := workspace(t, s)
	store.CheckpointEvery(t, s, 200)
	var largest, written int64
	for i := range 400 {
		if err := addContact(t.Context(), s, w, fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, info.Size())
		written += 10 * 4096 // at least: a few pages in each of the trees
	}
	if largest > written/3 {
		t.Errorf("the log grew to %d bytes of at least %d written", largest, written)
	}
}

func TestIntegrity(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s := open(t, path)
	w := workspace(t, s)
	for i := range 50 {
		if err := addContact(t.Context(), s, w, fmt.Sprint("u", i)); err != nil {
			t.Fatal(err)
		}
	}
	c := raw(t, path)
	var result string
	if err := c.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&result); err != nil || result != "ok" {
		t.Errorf("integrity_check: %s, %v", result, err)
	}
	rows, err := c.QueryContext(t.Context(), "PRAGMA foreign_key_check")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	if rows.Next() {
		t.Error("foreign_key_check found a row without its parent")
	}
}

// The engine is translated C that is tied to one version of its C library
// (gitlab.com/cznic/sqlite, issue 177).
func TestEngineHasItsLibrary(t *testing.T) {
	t.Parallel()
	list := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("go", append([]string{"list", "-m", "-f"}, args...)...).Output()
		if err != nil {
			t.Skipf("no go command to ask for modules: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	used := list("{{with .Replace}}{{.Version}}{{else}}{{.Version}}{{end}}", "modernc.org/libc")
	data, err := os.ReadFile(list("{{.GoMod}}", "modernc.org/sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if asked, ok := strings.CutPrefix(strings.TrimSpace(line), "modernc.org/libc "); ok {
			if asked != used {
				t.Errorf("modernc.org/libc is %s, modernc.org/sqlite was tested with %s", used, asked)
			}
			return
		}
	}
	t.Error("modernc.org/sqlite asks for no modernc.org/libc")
}
