package web

import (
	"net/http"
	"strings"
	"time"

	"civgate/gateway"
)

// agentsPage lists who may sign in to the workspace, and who is invited.
type agentsPage struct {
	*form
	Columns []column
	Rows    []agentRow
	Open    []invitationRow
	Roles   []option
	// Link is the invitation that was just made for Invited: it is shown this once.
	Link    string
	Invited string
}

type agentRow struct {
	gateway.Agent
	You    bool
	Menu   menu
	Remove confirm
}

type invitationRow struct {
	gateway.Invitation
	Params [][2]string
}

var roleOptions = []option{
	{string(gateway.RoleViewer), "Viewer: sees everything, changes nothing"},
	{string(gateway.RoleEditor), "Editor: contacts, companies, imports, merges"},
	{string(gateway.RoleOwner), "Owner: everything, with settings and agents"},
}

func (p *panel) settingsAgents(c *call) error {
	return p.renderAgents(c, http.StatusOK, agentsPage{form: &form{}})
}

func (p *panel) renderAgents(c *call, status int, v agentsPage) error {
	ctx := c.Request().Context()
	v.Roles = roleOptions
	v.Columns = []column{{Label: "Name"}, {Label: "E-mail"}, {Label: "Role"}, {Label: "Since", Numeric: true, Wide: true}}
	if c.can(gateway.RoleOwner) {
		v.Columns = append(v.Columns, column{Label: "Actions", Hidden: true})
	}
	agents, err := p.Read.Agents(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	for _, a := range agents {
		v.Rows = append(v.Rows, agentActions(a, c))
	}
	invitations, err := p.Read.Invitations(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	for _, i := range invitations {
		if i.ExpiresAt.After(time.Now()) {
			v.Open = append(v.Open, invitationRow{i, [][2]string{{"email", i.Email}}})
		}
	}
	return c.render(status, "agents", "Agents", v)
}

// agentActions is a line of the list with what can be done to the agent.
func agentActions(a gateway.Agent, c *call) agentRow {
	id := gateway.HashToken(a.Email)
	name := "agent-" + shortHex(id[:])
	row := agentRow{Agent: a, You: a.Email == c.Agent.Email}
	row.Menu = menu{ID: name, Label: a.Email}
	for _, role := range []gateway.Role{gateway.RoleOwner, gateway.RoleEditor, gateway.RoleViewer} {
		if role == a.Role {
			continue
		}
		row.Menu.Items = append(row.Menu.Items, menuItem{
			Label: "Make " + string(role), Icon: "swap", Post: panelPath + "/settings/agents/role",
			Params: [][2]string{{"email", a.Email}, {"role", string(role)}},
		})
	}
	row.Menu.Items = append(row.Menu.Items, menuItem{Label: "Remove", Icon: "trash", Dialog: name + "-remove", Danger: true})
	row.Remove = confirm{
		ID: name + "-remove", Title: "Remove " + a.Email + " from " + c.Workspace.Name + "?",
		Text: "They are signed out at once. What they have changed stays.",
		Post: panelPath + "/settings/agents/remove", Params: [][2]string{{"email", a.Email}},
		Yes: "Remove", Typed: a.Email, Danger: true,
	}
	return row
}

func shortHex(b []byte) string {
	const digits = "0123456789abcdef"
	var out strings.Builder
	for _, one := range b[:6] {
		out.WriteByte(digits[one>>4])
		out.WriteByte(digits[one&15])
	}
	return out.String()
}

// postInvite makes an invitation and shows its link, this once.
func (p *panel) postInvite(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	token, err := p.agents.Invite(c.Request().Context(), c.author().By, c.Workspace.ID, f.Get("email"), gateway.Role(f.Get("role")))
	if err := f.take(err, "email", "role"); err != nil {
		return err
	}
	if f.Failed() {
		return p.renderAgents(c, http.StatusUnprocessableEntity, agentsPage{form: f})
	}
	link := c.origin() + panelPath + "/invitation/" + token
	return p.renderAgents(c, http.StatusOK, agentsPage{form: &form{}, Link: link, Invited: f.Get("email")})
}

func (p *panel) postRevoke(c *call) error {
	return p.agentAction(c, "The invitation is void.", func(f *form) error {
		return p.agents.Revoke(c.Request().Context(), c.author().By, c.Workspace.ID, f.Get("email"))
	})
}

func (p *panel) postAgentRole(c *call) error {
	return p.agentAction(c, "The role has changed.", func(f *form) error {
		return p.agents.SetRole(c.Request().Context(), c.author().By, c.Workspace.ID, f.Get("email"), gateway.Role(f.Get("role")))
	})
}

func (p *panel) postAgentRemove(c *call) error {
	return p.agentAction(c, "The agent is removed.", func(f *form) error {
		if f.Get("confirm") != f.Get("email") {
			return gateway.Errorf(gateway.CodeInvalid, "Nothing was done: type %s to remove this agent.", f.Get("email"))
		}
		return p.agents.Remove(c.Request().Context(), c.author().By, c.Workspace.ID, f.Get("email"))
	})
}

// agentAction does what a form asks for, and shows the list again with what was done
// or what is wrong.
func (p *panel) agentAction(c *call, done string, do func(f *form) error) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	if err := f.take(do(f)); err != nil {
		return err
	}
	if f.Failed() {
		f.Values = nil // of another form than the one that is shown again
		return p.renderAgents(c, http.StatusConflict, agentsPage{form: f})
	}
	c.toast(done)
	return c.redirect(panelPath + "/settings/agents")
}

// invitationPage is what an invitation's link opens. Known: the e-mail has a password.
type invitationPage struct {
	*form
	Invitation gateway.Invitation
	Workspace  string
	Known      bool
	Path       string
}

// openInvitation finds the invitation that the address names.
func (p *panel) openInvitation(c *call) (v invitationPage, err error) {
	ctx := c.Request().Context()
	v = invitationPage{form: &form{}, Path: c.Request().URL.Path}
	if v.Invitation, err = p.agents.Invitation(ctx, c.Param("token")); err != nil {
		return v, err
	}
	rows, err := p.Read.AgentsByEmail(ctx, v.Invitation.Email)
	if err != nil {
		return v, err
	}
	v.Known = len(rows) > 0
	all, err := p.Read.Workspaces(ctx)
	if err != nil {
		return v, err
	}
	for _, w := range all {
		if w.ID == v.Invitation.WorkspaceID {
			v.Workspace = w.Name
		}
	}
	return v, nil
}

func (p *panel) invitation(c *call) error {
	v, err := p.openInvitation(c)
	if err != nil {
		return c.signedOut(err)
	}
	return c.renderBare(http.StatusOK, "invitation", "Join "+v.Workspace, v)
}

// signedOut is err, told on a page that shows nothing of who is signed in.
func (c *call) signedOut(err error) error {
	c.Agent = gateway.Agent{}
	return err
}

// postInvitation makes who accepts an agent, and signs them in.
func (p *panel) postInvitation(c *call) error {
	v, err := p.openInvitation(c)
	if err != nil {
		return c.signedOut(err)
	}
	if v.form, err = c.form(); err != nil {
		return err
	}
	ctx := c.Request().Context()
	password, hash := v.Values.Get("password"), ""
	status := http.StatusUnprocessableEntity
	if v.Known {
		_, ok, err := p.checkPassword(c, v.Invitation.Email, password)
		switch {
		case gateway.CodeOf(err) == gateway.CodeRateLimited:
			status = c.tooMany(v.form, err)
		case err != nil:
			return err
		case !ok:
			v.fail("password", "This is not your password.")
		}
	} else {
		if v.Get("name") == "" {
			v.fail("name", "Say how you are called.")
		}
		if err := v.take(gateway.PasswordProblem(v.Invitation.Email, password), "password"); err != nil {
			return err
		}
		if !v.Failed() {
			if err := p.hash(ctx, func() { hash = gateway.HashPassword(password) }); err != nil {
				return err
			}
		}
	}
	if v.Failed() {
		return c.renderBare(status, "invitation", "Join "+v.Workspace, v)
	}
	agent, err := p.agents.Accept(ctx, c.Param("token"), v.Get("name"), hash)
	if err := v.take(err, "name", "password"); err != nil {
		return c.signedOut(err)
	}
	if v.Failed() {
		return c.renderBare(status, "invitation", "Join "+v.Workspace, v)
	}
	if err := c.begin(agent, agent.WorkspaceID); err != nil {
		return err
	}
	return c.redirect(panelPath)
}

// account is the agent's own page.
func (p *panel) account(c *call) error {
	return c.render(http.StatusOK, "account", "Your account", &form{})
}

// postPassword gives the agent another password, and ends all their other sessions.
func (p *panel) postPassword(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	status := http.StatusUnprocessableEntity
	password := f.Values.Get("new")
	if err := gateway.PasswordProblem(c.Agent.Email, password); err != nil {
		var e *gateway.Error
		if !asError(err, &e) {
			return err
		}
		f.fail("new", e.Message)
	} else {
		_, ok, err := p.checkPassword(c, c.Agent.Email, f.Values.Get("password"))
		switch {
		case gateway.CodeOf(err) == gateway.CodeRateLimited:
			status = c.tooMany(f, err)
		case err != nil:
			return err
		case !ok:
			f.fail("password", "This is not your password.")
		}
	}
	if f.Failed() {
		return c.render(status, "account", "Your account", f)
	}
	agent := c.Agent
	if err := p.hash(ctx, func() { agent.PasswordHash = gateway.HashPassword(password) }); err != nil {
		return err
	}
	if err := p.agents.SetPassword(ctx, agent.Email, agent.Email, agent.PasswordHash); err != nil {
		return err
	}
	if err := c.begin(agent, c.Workspace.ID); err != nil {
		return err
	}
	return c.redirect(panelPath + "/settings/account?changed")
}
