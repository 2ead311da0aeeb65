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
		{post, "/contacts", editor, p.postContact, 0},
		{get, "/contacts/new", editor, p.newContact, 0},
		{get, "/contacts/find", viewer, p.findContactOptions, 0},
		{get, "/contacts/companies", viewer, p.findCompanyOptions, 0},
		{post, "/contacts/columns", viewer, p.postColumns, ownAccount},
		{post, "/contacts/bulk", editor, p.postBulk, 0},
		{get, "/contacts/:id", viewer, p.contact, 0},
		{get, "/contacts/:id/value", viewer, p.contactValue, 0},
		{post, "/contacts/:id/value", editor, p.postContactValue, 0},
		{post, "/contacts/:id/attributes", editor, p.postContactAttribute, 0},
		{post, "/contacts/:id/companies", editor, p.postContactCompany, 0},
		{post, "/contacts/:id/companies/remove", editor, p.postContactLeave, 0},
		{post, "/contacts/:id/companies/primary", editor, p.postContactPrimary, 0},
		{post, "/contacts/:id/lists", editor, p.postContactList, 0},
		{get, "/contacts/:id/merge", editor, p.contactMerge, 0},
		{post, "/contacts/:id/merge", editor, p.postContactMerge, 0},
		{post, "/contacts/:id/undo", editor, p.postContactUndo, 0},
		{post, "/contacts/:id/delete", editor, p.postContactDelete, 0},
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
		{get, "/settings/companies", viewer, p.settingsCompanies, 0},
		{post, "/settings/companies", owner, p.postCompanies, stream},
		{post, "/settings/companies/preview", gateway.RoleEditor, p.postAssignPreview, stream},
		{get, "/settings/companies/run", viewer, p.assignProgress, 0},
		{post, "/settings/companies/run", owner, p.postAssignRun, 0},
		{get, "/settings/script", viewer, p.settingsScript, 0},
		{get, "/settings/script/seen", viewer, p.scriptSeen, 0},
		{get, "/settings/keys", viewer, p.settingsKeys, 0},
		{post, "/settings/keys/token", owner, p.postToken, 0},
		{post, "/settings/keys/widget", owner, p.postWidgetKey, 0},
		{post, "/settings/keys/revoke", owner, p.postKeyRevoke, 0},
		{get, "/settings/attributes", viewer, p.settingsAttributes, 0},
		{post, "/settings/attributes", gateway.RoleEditor, p.postAttribute, 0},
		{post, "/settings/attributes/:id", gateway.RoleEditor, p.postAttributeChange, 0},
		{post, "/settings/attributes/:id/delete", gateway.RoleEditor, p.postAttributeDelete, stream},
		{get, "/settings/tags", viewer, p.settingsTags, 0},
		{post, "/settings/tags", gateway.RoleEditor, p.postTag, 0},
		{post, "/settings/tags/:id/delete", gateway.RoleEditor, p.postTagDelete, stream},
		{get, "/settings/privacy", viewer, p.settingsPrivacy, 0},
		{post, "/settings/privacy/identity", owner, p.postIdentity, 0},
		{post, "/settings/privacy/secret", owner, p.postSecret, 0},
		{post, "/settings/privacy/origins", owner, p.postOrigins, 0},
		{post, "/settings/privacy/excluded", owner, p.postExcluded, 0},
		{post, "/settings/privacy/retention", owner, p.postRetention, 0},
		{get, "/first-run", viewer, p.firstRunFragment, 0},
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
	{Path: "/settings/companies", Label: "Companies", Icon: "company", About: "E-mail domains assign contacts to companies"},
	{Path: "/settings/script", Label: "Custom script", Icon: "code", About: "Setup & integrations: the snippets of your website, and whether they arrive"},
	{Path: "/settings/attributes", Label: "Attributes", Icon: "columns", About: "What is known of contacts and companies"},
	{Path: "/settings/tags", Label: "Tags", Icon: "tag", About: "Words that group contacts and companies"},
	{Path: "/settings/keys", Label: "API keys & tokens", Icon: "link", About: "Widget keys and REST tokens"},
	{Path: "/settings/privacy", Label: "Identity & privacy", Icon: "info", About: "Origins, excluded addresses, retention"},
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
