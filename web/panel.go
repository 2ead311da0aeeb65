package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"civgate/gateway"
)

// Panel is what the panel works with. Read, Gateway and Log are required.
//
// # How to add a page
//
//  1. Write its handler in web/panel_<page>.go: a method of *panel that takes a
//     *call, reads through p.Read and writes through p.Gateway.Edit with c.author().
//     It answers with c.render (a whole page), c.fragment (a part of one, for htmx),
//     or after a write c.toast and c.redirect. What goes wrong it returns as an
//     error; a *gateway.Error about the input goes into a form (form.take), so that
//     it stands under its field.
//  2. Write its template in templates/panel/<page>.html. It defines "content", and
//     a template for each of its fragments. Every template gets a frame, with the
//     page's own data as .Page. Pieces that all pages share are in pieces.html and
//     panel_pieces.go; TestPieces renders each of them.
//  3. Give it a line in routes (panel_routes.go), with the least role that may have
//     it. A viewer has no route that writes but for their own account. What belongs
//     into the rail or the settings gets a line in navigation or settingsPages.
//  4. In tests, newStack(t).as(gateway.RoleEditor) is a signed-in client, and .tab
//     of one is a signed-in browser.
//
// Pages work without scripts where that is sensible: forms post and are redirected,
// links lead somewhere. No page has inline scripts or styles, or asks another host:
// the Content-Security-Policy forbids it.
type Panel struct {
	Read    gateway.Reader
	Gateway *gateway.Gateway
	Log     *zap.Logger
	// Limiter bounds attempts to sign in, in the classes of SignInLimits. Nil: none.
	Limiter gateway.Limiter
	// Done is closed when the server shuts down: streams end then.
	Done <-chan struct{}
	// Origin is the address under which browsers reach civgate, for the snippets; "" is
	// that of the request. ScriptPath is where the script is; default "/widget.js".
	Origin, ScriptPath string
}

// panelPath is where the panel is. All its addresses begin with it.
const panelPath = "/panel"

// The bounds of a request that its route doesn't set.
const (
	panelPatience = 10 * time.Second // for an answer
	panelBody     = 1 << 20          // bytes
)

// MountPanel registers the panel below /panel.
func MountPanel(e *echo.Echo, s Panel) {
	p := &panel{Panel: s, agents: s.Gateway.Agents(), hashing: make(chan struct{}, hashesAtOnce), watching: make(chan struct{}, inspectorStreams)}
	p.previews, p.adding = make(chan struct{}, 1), make(chan struct{}, 1)
	if s.Origin != "" {
		// A proxy may pass another Host on than browsers see.
		if err := p.csrf.AddTrustedOrigin(strings.TrimSuffix(s.Origin, "/")); err != nil {
			s.Log.Warn("forms from the public address may be refused", zap.Error(err))
		}
	}
	p.sessions = &scs.SessionManager{
		Lifetime:    sessionLife,
		IdleTimeout: sessionIdle,
		Store:       &sessionStore{read: s.Read, agents: p.agents},
		Codec:       sessionCodec{},
	}
	for _, r := range p.routes() {
		h := p.serve(r)
		if r.method == http.MethodGet {
			e.HEAD(panelPath+r.path, h)
		}
		e.Add(r.method, panelPath+r.path, h)
	}
	get := func(path string, h echo.HandlerFunc) {
		e.Match([]string{http.MethodGet, http.MethodHead}, panelPath+path, h)
	}
	get("/assets/:name", serveAsset(panelAssets))
	get("/", func(c echo.Context) error { return c.Redirect(http.StatusMovedPermanently, panelPath) })
	get("/*", p.serve(route{http.MethodGet, "/*", gateway.RoleViewer, func(*call) error {
		return gateway.Errorf(gateway.CodeNotFound, "There is no page at this address.")
	}, 0}))
}

type panel struct {
	Panel
	agents   *gateway.Agents
	sessions *scs.SessionManager
	csrf     http.CrossOriginProtection
	hashing  chan struct{} // holds one for each password that is being hashed
	previews chan struct{} // holds one while a preview of auto-assign is made
	adding   chan struct{} // holds one while what a form names is looked up and made
	watching chan struct{} // holds one for each stream of the inspector
}

// route is one address of the panel.
type route struct {
	method string
	path   string       // below panelPath
	least  gateway.Role // who may have it; anyone for who is not signed in
	handle func(c *call) error
	opts   routeOptions
}

// anyone is the least role of a route that asks for no sign-in.
const anyone gateway.Role = ""

// routeOptions say how a route differs from others.
type routeOptions uint8

const (
	// ownAccount is for what a viewer may post: it changes nothing of the workspace.
	ownAccount routeOptions = 1 << iota
	// stream is for answers without an end, such as server-sent events, and for
	// uploads: they have no time-out and no bound of their body but the handler's.
	stream
)

// serve is what every request to the panel goes through: headers, CSRF, session,
// agent, role and workspace, and the answer to an error.
func (p *panel) serve(r route) echo.HandlerFunc {
	return func(ec echo.Context) error {
		c := &call{Context: ec, p: p, route: r}
		secure(c.Response().Header())
		c.Response().Header().Set("Cache-Control", "no-store")
		c.Response().Header().Set("Content-Security-Policy", panelPolicy)
		c.Response().Header().Add("Vary", "HX-Request")
		if r.opts&stream == 0 {
			ctx, cancel := context.WithTimeout(c.Request().Context(), panelPatience)
			defer cancel()
			c.SetRequest(c.Request().WithContext(ctx))
			c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, panelBody)
		}
		err := p.admit(c)
		if err == nil && !c.Response().Committed {
			err = r.handle(c)
		}
		if err != nil {
			return c.fail(err)
		}
		return nil
	}
}

// panelPolicy lets a page use what this host serves as files, and nothing else.
const panelPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// admit finds out who asks, and whether they may. It may answer itself: who is not
// signed in is sent to do so.
func (p *panel) admit(c *call) error {
	r := c.Request()
	if err := p.csrf.Check(r); err != nil {
		return &gateway.Error{Code: gateway.CodeForbidden, Message: "This request came from another site, so nothing was done. Open the page here and try again.", Err: err}
	}
	if err := p.loadSession(c); err != nil {
		return err
	}
	if err := p.identify(c); err != nil {
		return err
	}
	if c.route.least == anyone {
		return nil
	}
	if c.Agent.Email == "" {
		return c.askSignIn()
	}
	if !c.Agent.Role.Includes(c.route.least) {
		return gateway.Errorf(gateway.CodeForbidden, "You are %s here; this takes %s. Ask an owner of the workspace.", withArticle(c.Agent.Role), withArticle(c.route.least))
	}
	// A page of one workspace must not write to another that was chosen in another tab
	// since, nor get parts of its data: its ids find somebody else there. Scripts and the
	// forms of pages with scripts say whose page they are on.
	said := r.Header.Get("X-Workspace")
	if said == "" && r.Method != http.MethodGet {
		said = c.QueryParam("_workspace")
	}
	if said != "" && said != strconv.FormatInt(int64(c.Workspace.ID), 10) && c.route.opts&ownAccount == 0 {
		return gateway.Errorf(gateway.CodeConflict, "You have switched to %s in another tab, so nothing was done. Switch back, or reload this page.", c.Workspace.Name)
	}
	return nil
}

func withArticle(r gateway.Role) string {
	if r == gateway.RoleViewer {
		return "a " + string(r)
	}
	return "an " + string(r)
}

// identify finds the agent of the session and their workspaces, as they are now: who
// was removed is nobody, and so is who has another password since.
func (p *panel) identify(c *call) error {
	ctx := c.Request().Context()
	email := p.sessions.GetString(ctx, sessionEmail)
	if email == "" {
		return nil
	}
	rows, err := p.Read.AgentsByEmail(ctx, email)
	if err != nil {
		return err
	}
	if len(rows) == 0 || passwordStamp(rows[0].PasswordHash) != p.sessions.GetString(ctx, sessionStamp) {
		return p.sessions.Destroy(ctx)
	}
	all, err := p.Read.Workspaces(ctx)
	if err != nil {
		return err
	}
	chosen := p.sessions.GetString(ctx, sessionWorkspace)
	for i := range all {
		w := &all[i]
		at := slices.IndexFunc(rows, func(a gateway.Agent) bool { return a.WorkspaceID == w.ID })
		if at < 0 {
			continue
		}
		c.Workspaces = append(c.Workspaces, *w)
		if c.Workspace == nil || strconv.FormatInt(int64(w.ID), 10) == chosen {
			c.Workspace, c.Agent = w, rows[at]
		}
	}
	return nil
}

// passwordStamp tells whether a session began with the password of a hash.
func passwordStamp(hash string) string {
	sum := sha256.Sum256([]byte(hash))
	return hex.EncodeToString(sum[:8])
}

// askSignIn sends somebody to the sign-in, and from there back to what they wanted: the
// page, or the one on which they pressed something after their session had ended.
func (c *call) askSignIn() error {
	to, r := panelPath+"/sign-in", c.Request()
	next := r.URL.RequestURI()
	if c.isHTMX() || r.Method != http.MethodGet {
		next = ""
		if u, err := url.Parse(cmp.Or(r.Header.Get("HX-Current-URL"), r.Header.Get("Referer"))); err == nil {
			next = nextPage(u.RequestURI())
		}
	}
	if next != "" && next != panelPath {
		to += "?" + url.Values{"next": {next}}.Encode()
	}
	if c.isHTMX() {
		c.Response().Header().Set("HX-Redirect", to)
		return c.NoContent(http.StatusUnauthorized)
	}
	return c.Redirect(http.StatusSeeOther, to)
}

// nextPage is a page of the panel that an address names, the first one for any other
// text: nobody is sent elsewhere.
func nextPage(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(u.Path, panelPath+"/") || strings.HasPrefix(u.Path, panelPath+"/sign") ||
		strings.ContainsAny(next, "\\\r\n\t") || strings.Contains(u.Path, "//") || strings.Contains(u.Path, "..") {
		return panelPath
	}
	return u.RequestURI()
}
