package web_test

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"civgate/gateway"
)

var invitationLink = regexp.MustCompile(`http://[^"]*(/panel/invitation/[A-Z2-7]{26})`)

// invite makes an invitation and returns its link's path.
func (c *client) invite(email string, role gateway.Role) string {
	c.t.Helper()
	a := c.post("/panel/settings/agents/invite", "email", email, "role", string(role))
	m := invitationLink.FindStringSubmatch(a.body)
	if a.status != http.StatusOK || m == nil || !strings.HasPrefix(m[0], c.base+"/") {
		c.t.Fatalf("invite %s: %d\n%s", email, a.status, a.body)
	}
	return m[1]
}

// TestInvitationPages follows invitations from the owner's page to the first page of
// who accepts.
func TestInvitationPages(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner := s.as(gateway.RoleOwner)
	link := owner.invite("Bob@acme.test", gateway.RoleEditor)
	page := owner.page("/panel/settings/agents")
	if strings.Contains(page, link) || !strings.Contains(page, "bob@acme.test") {
		t.Errorf("the link is shown again, or the invitation isn't listed:\n%s", page)
	}
	if a := owner.post("/panel/settings/agents/invite", "email", "nobody", "role", "editor"); a.status != http.StatusUnprocessableEntity ||
		!strings.Contains(a.body, "Enter an e-mail address") || !strings.Contains(a.body, `value="nobody"`) || !strings.Contains(a.body, `value="editor" selected`) {
		t.Errorf("inviting no e-mail: %d\n%s", a.status, a.body)
	}

	bob := s.nobody()
	if body := bob.page(link); !strings.Contains(body, "bob@acme.test") || !strings.Contains(body, "an editor") || strings.Contains(body, `aria-label="Main"`) {
		t.Errorf("the invitation:\n%s", body)
	}
	for _, one := range []struct{ name, password, want string }{
		{"", "long enough for it", "Say how you are called"},
		{"Bob", "short", "Use 10 characters or more"},
		{"Bob", "bob@acme.test", "is no password"},
		{"Bob", "aaaaaaaaaaaa", "is no password"},
		{"Bob", strings.Repeat("long", 100), "no more than 256"},
		{strings.Repeat("Bob", 50), "long enough for it", "no more than 120"},
	} {
		if a := bob.post(link, "name", one.name, "password", one.password); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, one.want) {
			t.Errorf("%.20q with %.20q: %d, which lacks %q\n%s", one.name, one.password, a.status, one.want, a.body)
		}
	}
	if a := bob.post(link, "name", "Bob <b>Builder</b>", "password", password); a.status != http.StatusSeeOther || a.location() != "/panel" {
		t.Fatalf("accepting: %d\n%s", a.status, a.body)
	}
	if body := bob.page("/panel"); !strings.Contains(body, "Bob &lt;b&gt;Builder&lt;/b&gt;") || strings.Contains(body, "<b>Builder") {
		t.Errorf("who accepted isn't signed in, or their name is not escaped:\n%s", body)
	}
	if a := s.nobody().get(link); a.status != http.StatusNotFound || !strings.Contains(a.body, "has been used") {
		t.Errorf("the link again: %d\n%s", a.status, a.body)
	}
	if a := bob.get(link); a.status != http.StatusNotFound || strings.Contains(a.body, `aria-label="Main"`) {
		t.Errorf("the link again as an agent: %d", a.status)
	}

	// Withdrawn
	link = owner.invite("cy@acme.test", gateway.RoleViewer)
	if a := owner.post("/panel/settings/agents/revoke", "email", "cy@acme.test"); a.status != http.StatusSeeOther {
		t.Fatalf("withdraw: %d", a.status)
	}
	if a := s.nobody().post(link, "name", "Cy", "password", password); a.status != http.StatusNotFound {
		t.Errorf("accepting what was withdrawn: %d", a.status)
	}
}

// TestWorkspaces invites an agent into a second workspace and switches between both.
func TestWorkspaces(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	second, err := s.store.CreateWorkspace(t.Context(), gateway.Workspace{Name: "Second"})
	if err != nil {
		t.Fatal(err)
	}
	viewer := s.as(gateway.RoleViewer)
	if a := viewer.post("/panel/workspace", "workspace", strconv.Itoa(int(second))); a.status != http.StatusNotFound {
		t.Errorf("switching to another's workspace: %d", a.status)
	}
	token, err := s.gateway.Agents().Invite(t.Context(), "boss", second, viewer.email, gateway.RoleOwner)
	if err != nil {
		t.Fatal(err)
	}
	link := "/panel/invitation/" + token
	c := s.nobody()
	if body := c.page(link); !strings.Contains(body, "You have one already") || strings.Contains(body, `name="name"`) {
		t.Errorf("the invitation of a known e-mail:\n%s", body)
	}
	if a := c.post(link, "password", "wrong"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "not your password") {
		t.Errorf("with a wrong password: %d\n%s", a.status, a.body)
	}
	if a := c.post(link, "password", password); a.status != http.StatusSeeOther {
		t.Fatalf("accepting: %d\n%s", a.status, a.body)
	}
	if body := c.page("/panel"); !strings.Contains(body, "Contacts · Second · civgate") {
		t.Errorf("not in the second workspace:\n%s", body)
	}
	c.page("/panel/settings/audit") // an owner there
	first := strconv.Itoa(int(s.workspace))
	if a := c.post("/panel/workspace", "workspace", first); a.status != http.StatusSeeOther {
		t.Fatalf("switching: %d", a.status)
	}
	if a := c.get("/panel/settings/audit"); a.status != http.StatusForbidden || !strings.Contains(a.body, "You are a viewer here; this takes an owner") {
		t.Errorf("a viewer in the first workspace: %d\n%s", a.status, a.body)
	}
	// The first session is in its own workspace still, and sees the new one.
	if body := viewer.page("/panel"); !strings.Contains(body, "Contacts · Demo · civgate") || !strings.Contains(body, "Second") {
		t.Errorf("the other session:\n%s", body)
	}

	// A form of one workspace does nothing in another.
	owner := s.as(gateway.RoleOwner)
	if _, err := s.gateway.Agents().Add(t.Context(), "x", gateway.Agent{WorkspaceID: second, Email: owner.email, Role: gateway.RoleOwner}); err != nil {
		t.Fatal(err)
	}
	owner.post("/panel/workspace", "workspace", strconv.Itoa(int(second)))
	a := owner.post("/panel/settings/agents/invite?_workspace="+first, "email", "x@acme.test", "role", "viewer")
	if a.status != http.StatusConflict || !strings.Contains(a.body, "switched to Second in another tab") {
		t.Errorf("a form of another workspace: %d\n%s", a.status, a.body)
	}
}

// TestAgentPages changes roles and removes agents, and reads of it in the audit log.
func TestAgentPages(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner, editor := s.as(gateway.RoleOwner), s.as(gateway.RoleEditor)
	post := func(path string, status int, want string, fields ...string) {
		t.Helper()
		a := owner.post("/panel/settings/agents/"+path, fields...)
		body := a.body
		if a.status == http.StatusSeeOther {
			body = owner.page(a.location())
		}
		if a.status != status || !strings.Contains(body, want) {
			t.Errorf("%s %q: %d, which lacks %q\n%s", path, fields, a.status, want, body)
		}
	}
	post("role", http.StatusSeeOther, "The role has changed", "email", editor.email, "role", "viewer")
	if strings.Contains(owner.page("/panel/settings/agents"), "The role has changed") {
		t.Error("a message is shown twice")
	}
	post("role", http.StatusConflict, "needs an owner", "email", owner.email, "role", "viewer")
	post("remove", http.StatusConflict, "needs an owner", "email", owner.email, "confirm", owner.email)
	post("remove", http.StatusConflict, "Nothing was done", "email", editor.email, "confirm", "yes")
	post("role", http.StatusConflict, "Choose owner", "email", editor.email, "role", "boss")
	post("role", http.StatusNotFound, "no agent", "email", "eve@acme.test", "role", "viewer")
	if a := editor.get("/panel/contacts"); a.status != http.StatusOK {
		t.Errorf("the editor before the removal: %d", a.status)
	}
	post("remove", http.StatusSeeOther, "The agent is removed", "email", editor.email, "confirm", editor.email)
	if a := editor.get("/panel/contacts"); a.status != http.StatusSeeOther {
		t.Errorf("who was removed: %d", a.status)
	}

	// The account
	password2 := "another good password"
	change := func(now, new string) answer {
		return owner.post("/panel/settings/account/password", "password", now, "new", new)
	}
	if a := change("wrong", password2); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "not your password") {
		t.Errorf("with a wrong password: %d\n%s", a.status, a.body)
	}
	if a := change(password, "short"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "10 characters") {
		t.Errorf("a short password: %d\n%s", a.status, a.body)
	}
	elsewhere := s.as(gateway.RoleOwner)
	if a := change(password, password2); a.status != http.StatusSeeOther || !strings.Contains(owner.page(a.location()), "has changed") {
		t.Errorf("another password: %d\n%s", a.status, a.body)
	}
	if a := elsewhere.get("/panel/contacts"); a.status != http.StatusSeeOther {
		t.Errorf("signed in elsewhere after another password: %d", a.status)
	}

	log := owner.page("/panel/settings/audit")
	for _, want := range []string{"Changed a role", "from: editor, to: viewer", "Removed an agent", "Changed a password", "Added an agent", "owner@acme.test"} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log lacks %q:\n%s", want, log)
		}
	}
	if strings.Contains(log, "argon2id") || strings.Contains(log, password) {
		t.Error("the audit log holds a secret")
	}
	of := owner.page("/panel/settings/audit?by=owner%40acme.test&action=agent.role")
	if !strings.Contains(of, "By owner@acme.test") || strings.Count(of, "<tr><td>") != 1 {
		t.Errorf("the roles that the owner changed:\n%s", of)
	}
	for i := range 60 {
		if err := s.gateway.Agents().Note(t.Context(), "<script>alert(1)</script>", s.workspace, "x.y", "x", strconv.Itoa(i), map[string]any{"a": "</td><script>"}); err != nil {
			t.Fatal(err)
		}
	}
	log = owner.page("/panel/settings/audit")
	if strings.Contains(log, "<script>alert") || strings.Contains(log, "</td><script>") {
		t.Error("the audit log is not escaped")
	}
	next := regexp.MustCompile(`href="(/panel/settings/audit\?before=\d+)"`).FindStringSubmatch(log)
	if strings.Count(log, "<tr><td>") != 50 || next == nil {
		t.Fatalf("the first page:\n%s", log)
	}
	if older := owner.page(next[1]); !strings.Contains(older, "Changed a role") || strings.Contains(older, "Older entries") {
		t.Errorf("the last page:\n%s", older)
	}
}

// TestAuditOfEdits keeps an entry with its edit, or neither.
func TestAuditOfEdits(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	w := &gateway.Workspace{ID: s.workspace, Settings: gateway.DefaultSettings()}
	author := gateway.Author{Source: gateway.SourceManual, By: "ada@acme.test"}
	for _, fails := range []bool{true, false} {
		err := s.gateway.Edit(t.Context(), w, author, func(e *gateway.Editor) error {
			id, err := e.CreateContact(gateway.ContactPatch{})
			if err != nil {
				return err
			}
			if err := e.Audit("contact.create", "contact", strconv.FormatInt(int64(id), 10), map[string]any{"fails": fails}); err != nil {
				return err
			}
			if fails {
				return gateway.Errorf(gateway.CodeInvalid, "no")
			}
			return nil
		})
		if fails != (err != nil) {
			t.Fatal(err)
		}
	}
	log, err := s.gateway.Read().AuditLog(t.Context(), s.workspace, gateway.AuditQuery{Action: "contact.create", Limit: 10})
	if err != nil || len(log) != 1 || log[0].By != "ada@acme.test" || string(log[0].Detail) != `{"fails":false}` {
		t.Errorf("the log: %+v, %v", log, err)
	}
}
