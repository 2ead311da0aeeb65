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
		owner  = gateway.RoleOwner
	)
	return []route{
		// Sign-in
		{get, "/sign-in", anyone, p.signIn, 0},
		{post, "/sign-in", anyone, p.postSignIn, 0},
		{post, "/sign-out", viewer, p.postSignOut, ownAccount},
		{post, "/workspace", viewer, p.postSwitch, ownAccount},

		// Data
		{get, "", viewer, p.home, 0},
		{get, "/search", viewer, p.search, 0},
		{get, "/contacts", viewer, p.contacts, 0},
		{get, "/companies", viewer, p.companies, 0},
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
var settingsPages = []place{}

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
