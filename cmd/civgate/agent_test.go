package main

import (
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestAgentCommand makes, changes and removes agents beside a running server, and
// signs in as them.
func TestAgentCommand(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data)
	civgate := func(want int, args ...string) string {
		t.Helper()
		var out, errs output
		if code := run(context.Background(), append([]string{"agent"}, args...), []string{"CIVGATE_DATA=" + data}, &out, &errs); code != want {
			t.Fatalf("civgate agent %s: %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	wants := func(what, got, want string) {
		t.Helper()
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s says\n%s\nwhich lacks %s", what, got, want)
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	signIn := func(email, password string) int {
		t.Helper()
		resp, err := client.PostForm(p.origin+"/panel/sign-in", url.Values{"email": {email}, "password": {password}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	made := regexp.MustCompile(`password (\S{26})\n`)
	secret := func(out string) string {
		t.Helper()
		m := made.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no password in %q", out)
		}
		return m[1]
	}

	first := secret(civgate(exitOK, "add", "1", "Ada@acme.test", "--role", "owner", "--name", "Ada"))
	if got := signIn("ada@acme.test", first); got != http.StatusSeeOther {
		t.Errorf("sign in: %d", got)
	}
	wants("the same agent again", civgate(exitFailed, "add", "1", "ada@acme.test"), "is an agent of this workspace already")
	wants("an agent of no workspace", civgate(exitFailed, "add", "99", "bob@acme.test"), "no workspace 99")
	wants("an owner less", civgate(exitFailed, "role", "1", "ada@acme.test", "viewer"), "needs an owner")
	wants("the last owner gone", civgate(exitFailed, "remove", "1", "ada@acme.test"), "needs an owner")
	wants("no such agent", civgate(exitFailed, "role", "1", "eve@acme.test", "viewer"), "no agent of this workspace")
	wants("the invitation", civgate(exitOK, "invite", "1", "bob@acme.test", "--role", "editor"), `^http://\S+/panel/invitation/[A-Z2-7]{26}\n$`)
	wants("the list", civgate(exitOK, "list", "1"), `(?s)ada@acme\.test +owner .* Ada\n.*bob@acme\.test +editor +invited until`)
	wants("withdrawing", civgate(exitOK, "remove", "1", "bob@acme.test"), "withdrew")
	wants("withdrawing again", civgate(exitFailed, "remove", "1", "bob@acme.test"), "no agent of this workspace")

	second := secret(civgate(exitOK, "password", "ada@acme.test"))
	if got := signIn("ada@acme.test", first); got != http.StatusUnprocessableEntity {
		t.Errorf("sign in with the password before: %d", got)
	}
	if got := signIn("ada@acme.test", second); got != http.StatusSeeOther {
		t.Errorf("sign in with the new password: %d", got)
	}
	wants("a password of nobody", civgate(exitFailed, "password", "eve@acme.test"), "is no agent")
	secret(civgate(exitOK, "add", "1", "bob@acme.test", "--role", "owner"))
	wants("another role", civgate(exitOK, "role", "1", "ada@acme.test", "viewer"), "is viewer now")
	wants("removing", civgate(exitOK, "remove", "1", "ada@acme.test"), "removed")
	if got := signIn("ada@acme.test", second); got != http.StatusUnprocessableEntity {
		t.Errorf("sign in after the removal: %d", got)
	}
}
