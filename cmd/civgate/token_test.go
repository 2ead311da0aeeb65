package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestTokenCommand makes, lists and revokes tokens beside a running server.
func TestTokenCommand(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data)
	civgate := func(want int, args ...string) string {
		t.Helper()
		var out, errs output
		if code := run(context.Background(), args, []string{"CIVGATE_DATA=" + data}, &out, &errs); code != want {
			t.Fatalf("civgate %s: %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	status := func(method, token string) int {
		t.Helper()
		r, err := http.NewRequest(method, p.origin+"/api/public/users/", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Token "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	made := regexp.MustCompile(`^REST token ([0-9a-f]{64})\nid         ([0-9a-f]{12})\nscope      (\w+)\n$`)

	tokens := map[string][]string{}
	for _, scope := range []string{"read", "write", "admin"} {
		m := made.FindStringSubmatch(civgate(exitOK, "token", "create", "1", "--scope", scope, "--name", "the "+scope+"er"))
		if m == nil || m[3] != scope {
			t.Fatalf("create --scope %s: %q", scope, m)
		}
		tokens[scope] = m
	}
	list := civgate(exitOK, "token", "list", "1")
	for scope, m := range tokens {
		if !regexp.MustCompile(`(?m)^`+m[2]+`\s+`+scope+`\s.* the `+scope+`er$`).MatchString(list) || strings.Contains(list, m[1]) {
			t.Errorf("list lacks the %s token, or shows it:\n%s", scope, list)
		}
	}
	if got := status(http.MethodGet, tokens["read"][1]); got != http.StatusOK {
		t.Errorf("reading with scope read: %d", got)
	}
	if got := status(http.MethodPost, tokens["read"][1]); got != http.StatusForbidden {
		t.Errorf("writing with scope read: %d", got)
	}
	if got := status(http.MethodPost, tokens["write"][1]); got != http.StatusCreated {
		t.Errorf("writing with scope write: %d", got)
	}

	civgate(exitOK, "token", "revoke", "1", tokens["read"][2])  // by its id
	civgate(exitOK, "token", "revoke", "1", tokens["write"][1]) // by itself
	time.Sleep(1100 * time.Millisecond)                         // it works for a second at most
	for _, scope := range []string{"read", "write"} {
		if got := status(http.MethodGet, tokens[scope][1]); got != http.StatusUnauthorized {
			t.Errorf("a revoked token of scope %s: %d", scope, got)
		}
	}
	if got := status(http.MethodGet, tokens["admin"][1]); got != http.StatusOK {
		t.Errorf("the token that was left: %d", got)
	}
	civgate(exitFailed, "token", "revoke", "1", tokens["read"][2])
	civgate(exitFailed, "token", "revoke", "2", tokens["admin"][2])
	civgate(exitFailed, "token", "list", "2")
	civgate(exitFailed, "token", "create", "2")
	civgate(exitUsage, "token", "create", "1", "--scope", "everything")
}
