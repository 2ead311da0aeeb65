package storetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"civgate/gateway"
)

// clock is a time that a test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func (b *bundle) agents(c *clock) *gateway.Agents { return gateway.NewAgents(b.Store, c.now) }

func testAgentLife(t *testing.T, b *bundle) {
	c := &clock{at(10)}
	agents := b.agents(c)
	add := func(w gateway.WorkspaceID, email, name, hash string, role gateway.Role) (bool, error) {
		return agents.Add(b.ctx, "boss", gateway.Agent{WorkspaceID: w, Email: email, Name: name, PasswordHash: hash, Role: role})
	}
	second := must[gateway.WorkspaceID](t)(b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Second"}))

	if had, err := add(b.w, "Ada@Acme.test", " Ada  Lovelace ", "h1", gateway.RoleOwner); had || err != nil {
		t.Fatalf("the first agent: %v, %v", had, err)
	}
	ada := gateway.Agent{WorkspaceID: b.w, Email: "ada@acme.test", Name: "Ada Lovelace", PasswordHash: "h1", Role: gateway.RoleOwner, CreatedAt: at(10)}
	equal(t, "agents", must[[]gateway.Agent](t)(b.Agents(b.ctx, b.w)), []gateway.Agent{ada})

	for name, one := range map[string]struct {
		w                       gateway.WorkspaceID
		email, agent, hash, why string
		role                    gateway.Role
		code                    gateway.Code
	}{
		"again":           {b.w, "ada@acme.test", "", "h", "", gateway.RoleViewer, gateway.CodeConflict},
		"no e-mail":       {b.w, "ada", "", "h", "email", gateway.RoleViewer, gateway.CodeInvalid},
		"no role":         {b.w, "bob@acme.test", "", "h", "role", "boss", gateway.CodeInvalid},
		"no password":     {b.w, "bob@acme.test", "", "", "password", gateway.RoleViewer, gateway.CodeInvalid},
		"a long name":     {b.w, "bob@acme.test", strings.Repeat("x", 121), "h", "name", gateway.RoleViewer, gateway.CodeInvalid},
		"an odd name":     {b.w, "bob@acme.test", "Bob\x00", "h", "name", gateway.RoleViewer, gateway.CodeInvalid},
		"of no workspace": {99, "bob@acme.test", "", "h", "", gateway.RoleViewer, gateway.CodeNotFound},
	} {
		_, err := add(one.w, one.email, one.agent, one.hash, one.role)
		wantCode(t, name, err, one.code)
	}

	// An e-mail has one password and name wherever it goes.
	if had, err := add(second, "ada@acme.test", "", "other", gateway.RoleViewer); !had || err != nil {
		t.Fatalf("the same e-mail in another workspace: %v, %v", had, err)
	}
	there := gateway.Agent{WorkspaceID: second, Email: "ada@acme.test", Name: "Ada Lovelace", PasswordHash: "h1", Role: gateway.RoleViewer, CreatedAt: at(10)}
	equal(t, "by e-mail", must[[]gateway.Agent](t)(b.AgentsByEmail(b.ctx, "ada@acme.test")), []gateway.Agent{ada, there})
	if err := agents.SetPassword(b.ctx, "ada@acme.test", "ADA@acme.test", "h2"); err != nil {
		t.Fatal(err)
	}
	ada.PasswordHash, there.PasswordHash = "h2", "h2"
	equal(t, "after another password", must[[]gateway.Agent](t)(b.AgentsByEmail(b.ctx, "ada@acme.test")), []gateway.Agent{ada, there})
	wantCode(t, "the password of nobody", agents.SetPassword(b.ctx, "x", "eve@acme.test", "h"), gateway.CodeNotFound)

	// There is always an owner.
	wantCode(t, "the last owner as editor", agents.SetRole(b.ctx, "x", b.w, "ada@acme.test", gateway.RoleEditor), gateway.CodeConflict)
	wantCode(t, "the last owner removed", agents.Remove(b.ctx, "x", b.w, "ada@acme.test"), gateway.CodeConflict)
	if err := agents.SetRole(b.ctx, "x", b.w, "ada@acme.test", gateway.RoleOwner); err != nil {
		t.Errorf("the last owner as owner: %v", err)
	}
	must[bool](t)(add(b.w, "bob@acme.test", "Bob", "h3", gateway.RoleOwner))
	c.t = at(20)
	if err := agents.SetRole(b.ctx, "bob@acme.test", b.w, "ada@acme.test", gateway.RoleViewer); err != nil {
		t.Fatal(err)
	}
	ada.Role = gateway.RoleViewer
	equal(t, "after another role", must[[]gateway.Agent](t)(b.Agents(b.ctx, b.w))[0], ada)
	wantCode(t, "bob is the last now", agents.Remove(b.ctx, "x", b.w, "bob@acme.test"), gateway.CodeConflict)
	if err := agents.Remove(b.ctx, "bob@acme.test", b.w, "ada@acme.test"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "removing again", agents.Remove(b.ctx, "x", b.w, "ada@acme.test"), gateway.CodeNotFound)
	equal(t, "what is left of the e-mail", must[[]gateway.Agent](t)(b.AgentsByEmail(b.ctx, "ada@acme.test")), []gateway.Agent{there})

	// Of two owners who remove each other at once one stays.
	must[bool](t)(add(b.w, "cy@acme.test", "", "h", gateway.RoleOwner))
	var both sync.WaitGroup
	for _, email := range []string{"bob@acme.test", "cy@acme.test"} {
		both.Go(func() {
			if err := agents.Remove(b.ctx, "x", b.w, email); err != nil && gateway.CodeOf(err) != gateway.CodeConflict {
				t.Error(err)
			}
		})
	}
	both.Wait()
	if left := must[[]gateway.Agent](t)(b.Agents(b.ctx, b.w)); len(left) != 1 || left[0].Role != gateway.RoleOwner {
		t.Errorf("left after each removed the other: %+v", left)
	}
}

func testInvitations(t *testing.T, b *bundle) {
	c := &clock{at(0)}
	agents := b.agents(c)
	must[bool](t)(agents.Add(b.ctx, "x", gateway.Agent{WorkspaceID: b.w, Email: "ada@acme.test", PasswordHash: "h1", Role: gateway.RoleOwner}))
	invite := func(email string, role gateway.Role) string {
		t.Helper()
		return must[string](t)(agents.Invite(b.ctx, "ada@acme.test", b.w, email, role))
	}
	accept := func(token, hash string) error {
		_, err := agents.Accept(b.ctx, token, "Bob", hash)
		return err
	}
	_, err := agents.Invite(b.ctx, "x", b.w, "ada@acme.test", gateway.RoleViewer)
	wantCode(t, "inviting an agent", err, gateway.CodeConflict)
	_, err = agents.Invite(b.ctx, "x", 99, "bob@acme.test", gateway.RoleViewer)
	wantCode(t, "into no workspace", err, gateway.CodeNotFound)
	_, err = agents.Invite(b.ctx, "x", b.w, "bob@acme.test", "boss")
	wantCode(t, "with no role", err, gateway.CodeInvalid)

	first := invite("Bob@acme.test", gateway.RoleViewer)
	c.t = at(1)
	token := invite("bob@acme.test", gateway.RoleEditor)
	_, err = agents.Invitation(b.ctx, first)
	wantCode(t, "an invitation after a newer one", err, gateway.CodeNotFound)
	wantCode(t, "accepting it", accept(first, "h"), gateway.CodeNotFound)
	want := gateway.Invitation{
		WorkspaceID: b.w, Email: "bob@acme.test", Token: gateway.HashToken(token), Role: gateway.RoleEditor, By: "ada@acme.test",
		CreatedAt: at(1), ExpiresAt: at(1).Add(gateway.InvitationAge),
	}
	equal(t, "the invitation", must[gateway.Invitation](t)(agents.Invitation(b.ctx, token)), want)
	equal(t, "all invitations", must[[]gateway.Invitation](t)(b.Invitations(b.ctx, b.w)), []gateway.Invitation{want})
	equal(t, "those of another workspace", len(must[[]gateway.Invitation](t)(b.Invitations(b.ctx, b.w+1))), 0)

	c.t = want.ExpiresAt
	_, err = agents.Invitation(b.ctx, token)
	wantCode(t, "an invitation a week later", err, gateway.CodeNotFound)
	wantCode(t, "accepting it", accept(token, "h"), gateway.CodeNotFound)
	c.t = at(2)
	wantCode(t, "accepting without a password", accept(token, ""), gateway.CodeInvalid)
	agent := must[gateway.Agent](t)(agents.Accept(b.ctx, token, "Bob", "h2"))
	equal(t, "who accepted", agent, gateway.Agent{WorkspaceID: b.w, Email: "bob@acme.test", Name: "Bob", PasswordHash: "h2", Role: gateway.RoleEditor, CreatedAt: at(2)})
	wantCode(t, "accepting twice", accept(token, "h3"), gateway.CodeNotFound)

	revoked := invite("cy@acme.test", gateway.RoleViewer)
	if err := agents.Revoke(b.ctx, "ada@acme.test", b.w, "cy@acme.test"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "accepting what was withdrawn", accept(revoked, "h"), gateway.CodeNotFound)
	wantCode(t, "withdrawing again", agents.Revoke(b.ctx, "x", b.w, "cy@acme.test"), gateway.CodeNotFound)

	// Who is an agent elsewhere keeps their password.
	second := must[gateway.WorkspaceID](t)(b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Second"}))
	token = must[string](t)(agents.Invite(b.ctx, "x", second, "bob@acme.test", gateway.RoleViewer))
	wantCode(t, "another password", accept(token, "mine"), gateway.CodeConflict)
	agent = must[gateway.Agent](t)(agents.Accept(b.ctx, token, "", ""))
	equal(t, "their password", agent.PasswordHash, "h2")
	equal(t, "their name", agent.Name, "Bob")

	// Expired ones go.
	invite("dee@acme.test", gateway.RoleViewer)
	c.t = at(2).Add(gateway.InvitationAge + time.Second)
	if err := agents.Forget(b.ctx); err != nil {
		t.Fatal(err)
	}
	equal(t, "invitations after their time", len(must[[]gateway.Invitation](t)(b.Invitations(b.ctx, b.w))), 0)
}

func testSessions(t *testing.T, b *bundle) {
	c := &clock{at(0)}
	agents := b.agents(c)
	one := gateway.Session{Token: gateway.HashToken("one"), Data: []byte{0, 1, 0xff}, ExpiresAt: at(10)}
	two := gateway.Session{Token: gateway.HashToken("two"), Data: []byte("2"), ExpiresAt: at(20)}
	for _, s := range []gateway.Session{one, two} {
		if err := agents.PutSession(b.ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	equal(t, "a session", must[gateway.Session](t)(b.Session(b.ctx, one.Token)), one)
	two.Data, two.ExpiresAt = []byte{}, at(30)
	if err := agents.PutSession(b.ctx, two); err != nil {
		t.Fatal(err)
	}
	equal(t, "a session that was replaced", must[gateway.Session](t)(b.Session(b.ctx, two.Token)), two)
	c.t = at(10)
	if err := agents.Forget(b.ctx); err != nil {
		t.Fatal(err)
	}
	must[gateway.Session](t)(b.Session(b.ctx, one.Token)) // it ends at this moment
	c.t = at(11)
	if err := agents.Forget(b.ctx); err != nil {
		t.Fatal(err)
	}
	_, err := b.Session(b.ctx, one.Token)
	wantCode(t, "a session after its time", err, gateway.CodeNotFound)
	for range 2 {
		if err := agents.DropSession(b.ctx, two.Token); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.Session(b.ctx, two.Token)
	wantCode(t, "a session that was ended", err, gateway.CodeNotFound)
}

func testAudit(t *testing.T, b *bundle) {
	c := &clock{at(0)}
	agents := b.agents(c)
	second := must[gateway.WorkspaceID](t)(b.CreateWorkspace(b.ctx, gateway.Workspace{Name: "Second"}))
	var want []gateway.AuditEntry // newest first
	for i := range 10 {
		c.t = at(i)
		by, action := []string{"ada@acme.test", "bob@acme.test"}[i%2], []string{"contact.merge", "key.add", "settings.set"}[i%3]
		if err := agents.Note(b.ctx, by, b.w, action, "thing", fmt.Sprint(i), map[string]any{"n": i}); err != nil {
			t.Fatal(err)
		}
		e := gateway.NewAuditEntry(at(i), by, action, "thing", fmt.Sprint(i), map[string]any{"n": i})
		e.ID = int64(i + 1)
		want = append([]gateway.AuditEntry{e}, want...)
	}
	if err := agents.Note(b.ctx, "eve", second, "key.add", "key", "x", nil); err != nil {
		t.Fatal(err)
	}
	log := func(q gateway.AuditQuery) []gateway.AuditEntry {
		t.Helper()
		return must[[]gateway.AuditEntry](t)(b.AuditLog(b.ctx, b.w, q))
	}
	equal(t, "all", log(gateway.AuditQuery{Limit: 100}), want)
	equal(t, "a page", log(gateway.AuditQuery{Before: 8, Limit: 3}), want[3:6])
	equal(t, "the last page", log(gateway.AuditQuery{Before: 2, Limit: 3}), want[9:])
	for _, e := range log(gateway.AuditQuery{By: "ada@acme.test", Action: "key.add", Limit: 100}) {
		if e.By != "ada@acme.test" || e.Action != "key.add" {
			t.Errorf("of ada's keys: %+v", e)
		}
	}
	equal(t, "ada's keys", len(log(gateway.AuditQuery{By: "ada@acme.test", Action: "key.add", Limit: 100})), 1)
	equal(t, "of nobody", len(log(gateway.AuditQuery{By: "eve", Limit: 100})), 0)
	other := must[[]gateway.AuditEntry](t)(b.AuditLog(b.ctx, second, gateway.AuditQuery{Limit: 100}))
	equal(t, "of another workspace", other, []gateway.AuditEntry{{ID: 1, At: at(9), By: "eve", Action: "key.add", Subject: "key", SubjectID: "x", Detail: []byte("{}")}})

	// What can't be kept whole is not the reason for an action to fail.
	for name, detail := range map[string]any{"too large": strings.Repeat("x", 9000), "no object": "text", "can't be written": func() {}} {
		if name == "too large" {
			detail = map[string]any{"x": detail}
		}
		if d := string(gateway.NewAuditEntry(at(0), "x", "a.b", "c", "d", detail).Detail); len(d) > 100 || !strings.HasPrefix(d, `{"detail":`) {
			t.Errorf("%s: %s", name, d)
		}
	}
}
