package web_test

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/web"
)

// password is that of all agents of tests.
const password = "correct horse battery"

var passwordHash = sync.OnceValue(func() string { return gateway.HashPassword(password) })

// panelLimiter is no limit: nothing is as fast as a test.
var panelLimiter = cache.NewLimiter(map[string]cache.Limit{}, 10, time.Now)

// client is a browser without scripts that may be signed in to the panel of a stack.
type client struct {
	t     *testing.T
	base  string
	email string
	http  http.Client
}

// node is another civgate on the same data, with a limiter of its own; it returns a
// client of it.
func (s *stack) node(limiter gateway.Limiter) *client {
	s.t.Helper()
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	web.MountPanel(e, web.Panel{Read: s.gateway.Read(), Gateway: s.gateway, Log: zaptest.NewLogger(s.t, zaptest.Level(zap.WarnLevel)), Limiter: limiter})
	server := httptest.NewServer(e)
	s.t.Cleanup(server.Close)
	c := s.nobody()
	c.base = server.URL
	return c
}

// nobody is a client that is not signed in.
func (s *stack) nobody() *client {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &client{t: s.t, base: s.base, http: http.Client{Jar: jar, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// agent makes an agent of the stack's workspace.
func (s *stack) agent(email string, role gateway.Role) {
	s.t.Helper()
	a := gateway.Agent{WorkspaceID: s.workspace, Email: email, Name: "Ada " + string(role), PasswordHash: passwordHash(), Role: role}
	if _, err := s.gateway.Agents().Add(s.t.Context(), "test", a); err != nil && gateway.CodeOf(err) != gateway.CodeConflict {
		s.t.Fatal(err)
	}
}

// as is a client that is signed in with a role, as <role>@acme.test.
func (s *stack) as(role gateway.Role) *client {
	s.t.Helper()
	c := s.nobody()
	s.agent(string(role)+"@acme.test", role)
	return c.signIn(string(role) + "@acme.test")
}

// signIn signs a client in.
func (c *client) signIn(email string) *client {
	c.t.Helper()
	c.email = email
	if a := c.post("/panel/sign-in", "email", c.email, "password", password); a.status != http.StatusSeeOther {
		c.t.Fatalf("sign in: %d\n%s", a.status, a.body)
	}
	return c
}

// answer is what the panel answered.
type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) location() string { return a.header.Get("Location") }

func (c *client) do(r *http.Request) answer {
	c.t.Helper()
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(body)}
}

func (c *client) request(method, path string, body io.Reader) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.base+path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// get asks for a page.
func (c *client) get(path string) answer {
	c.t.Helper()
	return c.do(c.request(http.MethodGet, path, nil))
}

// fragment asks for a part of a page, as htmx does.
func (c *client) fragment(path string) answer {
	c.t.Helper()
	r := c.request(http.MethodGet, path, nil)
	r.Header.Set("HX-Request", "true")
	return c.do(r)
}

// post sends a form of names and values in turn, as a browser does.
func (c *client) post(path string, fields ...string) answer {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	r := c.request(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", c.base)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return c.do(r)
}

// page asks for a page that must be there, and follows one redirect.
func (c *client) page(path string) string {
	c.t.Helper()
	a := c.get(path)
	if a.status == http.StatusSeeOther {
		a = c.get(a.location())
	}
	if a.status != http.StatusOK {
		c.t.Fatalf("GET %s: %d\n%s", path, a.status, a.body)
	}
	return a.body
}

// tab opens a page in Chromium that is signed in like the client.
func (c *client) tab(path string) *tab {
	c.t.Helper()
	b := newTab(c.t, c.base, "/panel/assets/panel.css")
	base, err := url.Parse(c.base)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, cookie := range c.http.Jar.Cookies(base) {
		b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			_, err := cdp.Call(ctx, t, network.SetCookie, network.SetCookieParams{Name: cookie.Name, Value: cookie.Value, URL: c.base, HTTPOnly: new(true)})
			return chromedp.Void{}, err
		})
	}
	b.open(path)
	return b
}

// TestPanelFrame asks for pages as nobody and as an agent.
func TestPanelFrame(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	if a := s.nobody().get("/panel/companies?before=3"); a.status != http.StatusSeeOther || a.location() != "/panel/sign-in?next=%2Fpanel%2Fcompanies%3Fbefore%3D3" {
		t.Errorf("as nobody: %d to %s", a.status, a.location())
	}
	viewer := s.as(gateway.RoleViewer)
	for path, want := range map[string]string{
		"/panel":                "<h1>Contacts</h1>",
		"/panel/companies":      "<h1>Companies</h1>",
		"/panel/search?q=comp":  "Companies",
		"/panel/contacts?q=a/b": "viewer@acme.test",
	} {
		if body := viewer.page(path); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q:\n%s", path, want, body)
		}
	}
	a := viewer.get("/panel/nowhere")
	if a.status != http.StatusNotFound || !strings.Contains(a.body, "Nothing here") || !strings.Contains(a.body, `aria-label="Main"`) {
		t.Errorf("an unknown page: %d\n%s", a.status, a.body)
	}
	if policy := a.header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy: %s", policy)
	}
	if a := viewer.post("/panel/sign-out"); a.status != http.StatusSeeOther {
		t.Errorf("sign out: %d", a.status)
	}
	if a := viewer.get("/panel/contacts"); a.status != http.StatusSeeOther {
		t.Errorf("after signing out: %d", a.status)
	}
}
