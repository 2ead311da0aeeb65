package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
)

// TestInboxCommand looks at what was set aside, beside a running server, and
// brings it back or drops it.
func TestInboxCommand(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data)
	civgate := func(args ...string) (int, string) {
		var out, errs output
		args = append([]string{"--addr=" + strings.TrimPrefix(p.origin, "http://")}, args...)
		code := run(context.Background(), args, []string{"CIVGATE_DATA=" + data}, &out, &errs)
		return code, out.String() + errs.String()
	}
	expect := func(want string, args ...string) {
		t.Helper()
		if code, out := civgate(args...); code != exitOK || !strings.Contains(out, want) {
			t.Errorf("%q: %d %s, want %q", args, code, out, want)
		}
	}
	expect("set aside in workspace 1  0", "inbox")
	expect("waiting                   0", "inbox", "list")
	expect("nothing is set aside", "inbox", "refused")

	st, err := store.Open(t.Context(), filepath.Join(data, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	err = st.Update(t.Context(), func(tx gateway.Tx) error {
		// A workspace that does not exist, as after a move of the inbox alone.
		err := tx.Save(9, &gateway.Changes{Quarantine: []gateway.Quarantined{
			{At: time.Now(), Body: []byte(person(3)), Reason: "there is no workspace 9"},
			{At: time.Now(), Body: []byte(`{"apiKey":"gone"}`), Reason: "there is no workspace 9"},
		}})
		if err != nil {
			return err
		}
		return tx.Save(1, &gateway.Changes{Quarantine: []gateway.Quarantined{
			{At: time.Now(), Body: []byte(person(1)), Reason: "panic while applying: odd\ngoroutine 1"},
			{At: time.Now(), Body: []byte(person(2)), Reason: "second"},
			{At: time.Now(), Body: []byte(`{"apiKey":"gone"}`), Reason: "third"},
		}})
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	expect("set aside in workspace 1                         3", "inbox")
	expect("set aside in workspace 9 (which does not exist)  2", "inbox")
	expect("1/3  ", "inbox", "refused")
	expect("workspace 9 (which does not exist)", "inbox", "refused")
	expect("1 replayed", "inbox", "replay", "9/1") // it goes to whoever has the apiKey now
	expect("1 dropped", "inbox", "drop", "9/2")
	if _, out := civgate("inbox", "refused"); strings.Contains(out, "goroutine") || strings.Contains(out, "@") {
		t.Errorf("more than the reason is shown: %s", out)
	}
	expect("@", "inbox", "refused", "--body")
	expect("1 dropped", "inbox", "drop", "1/4")
	if code, out := civgate("inbox", "drop", "1/4"); code != exitFailed || !strings.Contains(out, "nothing with the id 1/4") {
		t.Errorf("dropped twice: %d %s", code, out)
	}
	if code, out := civgate("inbox", "replay", "all"); code != exitFailed || !strings.Contains(out, "1 replayed") || !strings.Contains(out, "1/5: it was refused: 401") {
		t.Errorf("replay: %d %s", code, out)
	}
	// Whoever else answers there is not believed.
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }))
	defer other.Close()
	var out, errs output
	if code := run(context.Background(), []string{"inbox", "replay", "all", "--addr=" + strings.TrimPrefix(other.URL, "http://")}, []string{"CIVGATE_DATA=" + data}, &out, &errs); code != exitFailed || !strings.Contains(out.String(), "0 replayed") {
		t.Errorf("replayed to somebody else: %d %s", code, out.String())
	}
	p.settle()
	if n := p.contacts(); n != 2 {
		t.Errorf("%d contacts after the replay, want 2", n)
	}
	expect("1/5  ", "inbox", "refused")
	expect("1 dropped", "inbox", "drop", "all")
	p.end()
	expect("unknown: civgate doesn't run", "inbox")
}
