package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/api"
)

// wire is a world whose clock goes on by a second a request.
type wire struct {
	*world
	t *testing.T
}

// onBothWires is onBoth with a wire.
func onBothWires(t *testing.T, test func(t *testing.T, w *wire)) {
	t.Helper()
	onBoth(t, func(t *testing.T, w *world) { test(t, &wire{w, t}) })
}

// edit changes the first workspace by hand, a second after what came before.
func (w *wire) edit(fn func(e *gateway.Editor) error) {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	author := gateway.Author{Source: gateway.SourceManual, By: "agent"}
	if err := w.gateway.Edit(context.Background(), &gateway.Workspace{ID: w.acme, Settings: gateway.DefaultSettings()}, author, fn); err != nil {
		w.t.Fatal(err)
	}
}

// contact makes a contact with an own id and a visitor key.
func (w *wire) contact(customID, key string) (id gateway.ContactID) {
	w.t.Helper()
	w.edit(func(e *gateway.Editor) (err error) {
		p := gateway.ContactPatch{Key: key}
		if customID != "" {
			p.CustomID = &customID
		}
		id, err = e.CreateContact(p)
		return err
	})
	return id
}

// do makes a request of "METHOD path" below /api/public with a body, "" for none, a
// second after the one before.
func (w *wire) do(token, version, line, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	w.now = w.now.Add(time.Second)
	return w.ask(token, version, line, body)
}

// ask is do without touching the clock: it may be called by many goroutines.
func (w *wire) ask(token, version, line, body string) *httptest.ResponseRecorder {
	method, path, ok := strings.Cut(line, " ")
	if !ok {
		w.t.Errorf("%q is no request", line)
	}
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req := httptest.NewRequest(method, "/api/public"+path, r)
	req.Header.Set("Authorization", "Token "+token)
	req.Header.Set("Accept", "*/*; version="+version)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	rec := httptest.NewRecorder()
	w.echo.ServeHTTP(rec, req)
	api.CheckExchange(w.t, w.echo, req, body, rec)
	return rec
}

// must makes a request of version 2 that must be answered with the status, and returns
// the body.
func (w *wire) must(status int, line, body string) string {
	w.t.Helper()
	rec := w.do(acmeToken, "2", line, body)
	if rec.Code != status {
		w.t.Errorf("%s %s: status %d, want %d: %s", line, body, rec.Code, status, rec.Body)
	}
	return rec.Body.String()
}

// transcript makes requests, each a line and behind a space its body, in both versions
// of the API one after the other, and compares what was said with
// testdata/name.golden.txt. It is the same on all databases.
func transcript(t *testing.T, name string, prepare func(w *wire), requests []string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden.txt")
	transcribe := func(w *wire) string {
		var b strings.Builder
		for _, request := range requests {
			parts := strings.SplitN(request, " ", 4)
			version, line := strings.TrimPrefix(parts[0], "v"), parts[1]+" "+parts[2]
			body := ""
			if len(parts) == 4 {
				body = parts[3]
			}
			rec := w.do(acmeToken, version, line, body)
			fmt.Fprintf(&b, ">>> v%s %s\n", version, line)
			if body != "" {
				fmt.Fprintln(&b, body)
			}
			fmt.Fprintf(&b, "<<< %d", rec.Code)
			if rec.Code == http.StatusMethodNotAllowed {
				fmt.Fprintf(&b, " Allow: %s", rec.Header().Get("Allow"))
			}
			fmt.Fprintln(&b)
			if rec.Body.Len() > 0 {
				var indented bytes.Buffer
				if err := json.Indent(&indented, rec.Body.Bytes(), "", "  "); err != nil {
					t.Errorf("%s: the body is no JSON: %v: %s", request, err, rec.Body)
				}
				fmt.Fprintln(&b, indented.String())
			}
			fmt.Fprintln(&b)
		}
		return b.String()
	}
	onBothWires(t, func(t *testing.T, w *wire) {
		prepare(w)
		got := transcribe(w)
		if *update && strings.HasSuffix(t.Name(), "/sqlite") {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
	})
}

// both is each request in version 1 and in version 2.
func both(requests ...string) (out []string) {
	for _, r := range requests {
		out = append(out, "v1 "+r, "v2 "+r)
	}
	return out
}

// paths are the routes of an API, as it registered them.
func (w *wire) paths() []string {
	var all []string
	for _, r := range w.echo.Routes() {
		if r.Method == http.MethodGet && !strings.HasSuffix(r.Path, "/") {
			all = append(all, strings.TrimPrefix(r.Path, "/api/public"))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
