package web

import (
	"net/http"
	"slices"
	"strings"

	"civgate/gateway"
)

// routes are all addresses of the panel, each with the least role that may have it.
func (p *panel) routes() []route {
	const (
		get    = http.MethodGet
		post   = http.MethodPost
		viewer = gateway.RoleViewer
		editor = gateway.RoleEditor
		owner  = gateway.RoleOwner
	)
	return []route{
		// Sign-in
		{get, "/sign-in", anyone, p.signIn, 0},
		{post, "/sign-in", anyone, p.postSignIn, 0},
		{post, "/sign-out", viewer, p.postSignOut, ownAccount},
		{post, "/workspace", viewer, p.postSwitch, ownAccount},
		{get, "/invitation/:token", anyone, p.invitation, 0},
		{post, "/invitation/:token", anyone, p.postInvitation, 0},

		// Data
		{get, "", viewer, p.home, 0},
		{get, "/search", viewer, p.search, 0},
		{get, "/contacts", viewer, p.contacts, 0},
		{get, "/companies", viewer, p.companies, 0},
		{get, "/companies/new", editor, p.newCompany, 0},
		{post, "/companies/new", editor, p.postNewCompany, 0},
		{get, "/companies/:id", viewer, p.company, 0},
		{get, "/companies/:id/value", editor, p.companyValue, 0},
		{post, "/companies/:id/value", editor, p.postCompanyValue, 0},
		{get, "/companies/:id/people", editor, p.companyPeople, 0},
		{post, "/companies/:id/employees", editor, p.postEmployee, 0},
		{post, "/companies/:id/employees/remove", editor, p.postEmployeeRemove, 0},
		{post, "/companies/:id/employees/primary", editor, p.postEmployeePrimary, 0},
		{post, "/companies/:id/delete", editor, p.postCompanyDelete, 0},

		{get, "/inspector", viewer, p.inspector, 0},
		{get, "/inspector/stream", viewer, p.inspectorStream, stream},
		{get, "/inspector/:id", viewer, p.inspection, 0},
		{post, "/inspector/:id/replay", editor, p.postReplay, 0},

		// Settings
		{get, "/settings", viewer, p.settings, 0},
		{get, "/settings/account", viewer, p.account, 0},
		{post, "/settings/account/password", viewer, p.postPassword, ownAccount},
		{get, "/settings/agents", viewer, p.settingsAgents, 0},
		{post, "/settings/agents/invite", owner, p.postInvite, 0},
		{post, "/settings/agents/revoke", owner, p.postRevoke, 0},
		{post, "/settings/agents/role", owner, p.postAgentRole, 0},
		{post, "/settings/agents/remove", owner, p.postAgentRemove, 0},
		{get, "/settings/audit", owner, p.settingsAudit, 0},
	}
}

// place is somewhere that the rail or the settings lead to.
type place struct {
	Path  string
	Label string
	Icon  string
	About string // one sentence, for the settings and the search
	Here  bool   // it is where the page is
}

// navigation are the places of the rail. One without a route is not shown.
var navigation = []place{
	{Path: "/contacts", Label: "Contacts", Icon: "contact", About: "People and visitors"},
	{Path: "/companies", Label: "Companies", Icon: "company", About: "Organisations and their employees"},
	{Path: "/imports", Label: "Importers", Icon: "import", About: "Contacts and companies from files"},
	{Path: "/inspector", Label: "Inspector", Icon: "inspect", About: "What arrives, and what became of it"},
	{Path: "/settings", Label: "Settings", Icon: "settings", About: "Agents, rules and integrations"},
}

// settingsPages are the pages of the settings, in their order.
var settingsPages = []place{
	{Path: "/settings/agents", Label: "Agents", Icon: "agents", About: "Who may sign in, and what they may do"},
	{Path: "/settings/audit", Label: "Audit log", Icon: "log", About: "Who changed what"},
	{Path: "/settings/account", Label: "Your account", Icon: "key", About: "Your password"},
}

// places are those of all that have a route for who asks, with the one marked that
// the page belongs to.
func (p *panel) places(f *frame, all []place) []place {
	var out []place
	routes := p.routes()
	for _, one := range all {
		i := slices.IndexFunc(routes, func(r route) bool { return r.method == http.MethodGet && r.path == one.Path })
		if i < 0 || !f.call.can(routes[i].least) {
			continue
		}
		one.Path = panelPath + one.Path
		one.Here = f.Path == one.Path || strings.HasPrefix(f.Path, one.Path+"/")
		out = append(out, one)
	}
	return out
}
