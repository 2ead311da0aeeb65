package web_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/web"
)

// TestPanelRoles asks for every route as nobody and in every role.
func TestPanelRoles(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	clients := map[gateway.Role]*client{"": s.nobody()}
	for _, role := range []gateway.Role{gateway.RoleViewer, gateway.RoleEditor, gateway.RoleOwner} {
		clients[role] = s.as(role)
	}
	for _, r := range web.Routes() {
		if r.Method != http.MethodGet && r.Least == gateway.RoleViewer && !r.OwnAccount {
			t.Errorf("%s %s writes and is for viewers", r.Method, r.Path)
		}
		if r.Method != http.MethodGet && r.Method != http.MethodPost {
			t.Errorf("%s %s can't be asked for by a form", r.Method, r.Path)
		}
		path := strings.NewReplacer(":id", "7", ":token", "NONE", ":name", "x").Replace(r.Path)
		for role, c := range clients {
			if strings.HasSuffix(path, "/sign-out") && role != "" {
				continue // it would end what the others need
			}
			ask := func() answer {
				if r.Method == http.MethodPost {
					return c.post(path)
				}
				return c.get(path)
			}
			a := ask()
			askedToSignIn := a.status == http.StatusSeeOther && strings.HasPrefix(a.location(), "/panel/sign-in")
			switch {
			case a.status >= 500:
				t.Errorf("%s %s as %q: %d\n%s", r.Method, path, role, a.status, a.body)
			case r.Least == "":
				if a.status == http.StatusForbidden || askedToSignIn {
					t.Errorf("%s %s as %q: %d, though it is for anyone", r.Method, path, role, a.status)
				}
			case role == "":
				if !askedToSignIn {
					t.Errorf("%s %s as nobody: %d", r.Method, path, a.status)
				}
			case role.Includes(r.Least) == (a.status == http.StatusForbidden), askedToSignIn:
				t.Errorf("%s %s as %q: %d, and it is for %q", r.Method, path, role, a.status, r.Least)
			}
		}
	}
}

// TestSignInErrors tries what doesn't go together, and gets the same answer for all.
func TestSignInErrors(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleViewer)
	var bodies []string
	for _, one := range [][2]string{
		{"ada@acme.test", "wrong"}, {"eve@acme.test", password}, {"ada", password}, {"", ""}, {"ada@acme.test", ""},
		{"ada@acme.test", strings.Repeat(password, 20_000)}, {"\x00\xff", "\x00"},
	} {
		c := s.nobody()
		a := c.post("/panel/sign-in", "email", one[0], "password", one[1])
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "go together") {
			t.Errorf("%.20q, %.20q: %d\n%s", one[0], one[1], a.status, a.body)
		}
		if one[1] != "" && strings.Contains(a.body, one[1]) {
			t.Errorf("the answer repeats the password %.20q", one[1])
		}
		if a.header.Get("Set-Cookie") != "" {
			t.Errorf("%.20q: a cookie without a sign-in", one[0])
		}
		if one[0] == "ada@acme.test" || one[0] == "eve@acme.test" {
			bodies = append(bodies, strings.ReplaceAll(a.body, one[0], "…"))
		}
	}
	if slices.Sort(bodies); len(slices.Compact(bodies)) != 1 {
		t.Error("the answers tell known e-mails from unknown ones")
	}
	if a := s.nobody().post("/panel/sign-in", "email", strings.Repeat("x", 2<<20)); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB: %d", a.status)
	}
	// With spaces and in capitals, as people type.
	if a := s.nobody().post("/panel/sign-in", "email", " ADA@Acme.test ", "password", password); a.status != http.StatusSeeOther {
		t.Errorf("another form of the e-mail: %d", a.status)
	}
}

// TestNextPage leads to pages of the panel alone.
func TestNextPage(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{
		"/panel/companies?before=3": "/panel/companies?before=3",
		"":                          "/panel",
		"/demo":                     "/panel",
		"/panelled/x":               "/panel",
		"//evil.test/panel/":        "/panel",
		"https://evil.test/panel/x": "/panel",
		"/panel//evil.test":         "/panel",
		"/panel/../../evil":         "/panel",
		"/panel/\\evil.test":        "/panel",
		"/panel/x\r\nSet-Cookie: a": "/panel",
		"javascript:/panel/":        "/panel",
		"/panel/sign-out":           "/panel",
	} {
		if got := web.NextPage(next); got != want {
			t.Errorf("%q leads to %q, want %q", next, got, want)
		}
	}
}

// TestCrossOrigin posts from other sites.
func TestCrossOrigin(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.as(gateway.RoleOwner)
	for name, headers := range map[string]map[string]string{
		"cross-site":        {"Sec-Fetch-Site": "cross-site"},
		"same-site":         {"Sec-Fetch-Site": "same-site"},
		"an old browser":    {"Origin": "https://evil.test"},
		"no origin at all":  {"Origin": "null"},
		"both, one forged":  {"Sec-Fetch-Site": "cross-site", "Origin": s.base},
		"another port here": {"Origin": "http://127.0.0.1:1"},
	} {
		r := c.request(http.MethodPost, "/panel/settings/agents/invite", strings.NewReader(url.Values{"email": {"eve@evil.test"}, "role": {"owner"}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for k, v := range headers {
			r.Header.Set(k, v)
		}
		if a := c.do(r); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	if open, err := s.gateway.Read().Invitations(t.Context(), s.workspace); len(open) != 0 || err != nil {
		t.Errorf("another site has invited %v, %v", open, err)
	}
}

// TestThrottle tries passwords faster than may be.
func TestThrottle(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleViewer)
	s.agent("bob@acme.test", gateway.RoleViewer)
	now := time.Now()
	limiter := cache.NewLimiter(map[string]cache.Limit{
		web.LimitSignInEmail:   {PerSecond: 5.0 / 60, Burst: 5},
		web.LimitSignInAddress: {PerSecond: 10.0 / 60, Burst: 10},
	}, 100, func() time.Time { return now })
	c := s.node(limiter)
	try := func(email, password string) answer {
		return c.post("/panel/sign-in", "email", email, "password", password)
	}
	for i := range 5 {
		if a := try([]string{"ada@acme.test", "ADA@acme.test"}[i%2], "wrong"); a.status != http.StatusUnprocessableEntity {
			t.Fatalf("attempt %d: %d", i, a.status)
		}
	}
	a := try("ada@acme.test", password)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "12" || !strings.Contains(a.body, "Try again in 12 seconds") {
		t.Errorf("the sixth attempt: %d after %s\n%s", a.status, a.header.Get("Retry-After"), a.body)
	}
	for range 4 {
		try("bob@acme.test", "wrong")
	}
	if a := try("bob@acme.test", password); a.status != http.StatusTooManyRequests {
		t.Errorf("the eleventh attempt of the address: %d", a.status)
	}
	now = now.Add(time.Minute)
	if a := try("ada@acme.test", password); a.status != http.StatusSeeOther {
		t.Errorf("a minute later: %d", a.status)
	}
}

// sessionCookie is the token among cookies, "" if there is none.
func sessionCookie(all []*http.Cookie) string {
	for _, cookie := range all {
		if cookie.Name == "civgate_session" {
			return cookie.Value
		}
	}
	return ""
}

// TestKnownDevice: others who fail with an agent's e-mail keep nobody out who comes with the
// browser that the agent has signed in with, until the password is another one.
func TestKnownDevice(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleViewer)
	s.agent("bob@acme.test", gateway.RoleViewer)
	now := time.Now()
	five := cache.Limit{PerSecond: 5.0 / 60, Burst: 5}
	node := s.node(cache.NewLimiter(map[string]cache.Limit{web.LimitSignInEmail: five, web.LimitSignInDevice: five}, 100, func() time.Time { return now }))
	browser := func() *client { return &client{t: t, base: node.base, http: s.nobody().http} }
	try := func(c *client, email, password string) int {
		return c.post("/panel/sign-in", "email", email, "password", password).status
	}
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	ada, stranger := browser(), browser()
	want("ada for the first time", try(ada, "ada@acme.test", password), http.StatusSeeOther)
	want("she signs out", ada.post("/panel/sign-out").status, http.StatusSeeOther)
	for range 6 {
		try(stranger, "ada@acme.test", "wrong")
	}
	want("a stranger", try(stranger, "ada@acme.test", password), http.StatusTooManyRequests)
	base, _ := url.Parse(node.base)
	for _, cookie := range ada.http.Jar.Cookies(base) {
		if cookie.Name == "civgate_session_device" {
			forged := *cookie
			forged.Value = "x" + forged.Value
			stranger.http.Jar.SetCookies(base, []*http.Cookie{&forged})
		}
	}
	want("a stranger with a forged proof", try(stranger, "ada@acme.test", password), http.StatusTooManyRequests)
	want("ada", try(ada, "ada@acme.test", password), http.StatusSeeOther)
	ada.post("/panel/sign-out")
	for range 5 {
		try(ada, "ada@acme.test", "wrong")
	}
	want("ada's browser, too often", try(ada, "ada@acme.test", password), http.StatusTooManyRequests)
	for range 5 {
		want("another one's e-mail there", try(ada, "bob@acme.test", "wrong"), http.StatusUnprocessableEntity)
	}
	want("too often", try(ada, "bob@acme.test", password), http.StatusTooManyRequests)

	now = now.Add(time.Hour)
	laptop := browser()
	want("an hour later", try(ada, "ada@acme.test", password), http.StatusSeeOther)
	want("with another browser", try(laptop, "ada@acme.test", password), http.StatusSeeOther)
	const other = "another long password"
	want("a new password", ada.post("/panel/settings/account/password", "password", password, "new", other).status, http.StatusSeeOther)
	ada.post("/panel/sign-out")
	for range 6 {
		try(stranger, "ada@acme.test", "wrong")
	}
	want("with a proof of the old password", try(laptop, "ada@acme.test", other), http.StatusTooManyRequests)
	want("with one of the new password", try(ada, "ada@acme.test", other), http.StatusSeeOther)
}

// TestSessions follows sessions over two nodes to their ends.
func TestSessions(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	agents := s.gateway.Agents()
	in := func(c *client) bool {
		t.Helper()
		a := c.get("/panel/contacts")
		if a.status != http.StatusOK && a.status != http.StatusSeeOther {
			t.Fatalf("contacts: %d\n%s", a.status, a.body)
		}
		return a.status == http.StatusOK
	}
	// A cookie of one port counts for all of a host, so a client can go to both nodes.
	move := func(c *client, to string) *client { return &client{t: t, base: to, email: c.email, http: c.http} }
	other := s.node(panelLimiter).base
	token := func(c *client) string {
		t.Helper()
		base, err := url.Parse(c.base)
		if err != nil {
			t.Fatal(err)
		}
		return sessionCookie(c.http.Jar.Cookies(base))
	}

	c := s.as(gateway.RoleViewer)
	if !in(c) || !in(move(c, other)) {
		t.Fatal("not signed in on both nodes")
	}
	before := token(c)
	c.signIn(c.email)
	if token(c) == before {
		t.Error("a sign-in keeps the token")
	}
	if _, err := s.gateway.Read().Session(t.Context(), gateway.HashToken(before)); !gateway.IsNotFound(err) {
		t.Errorf("the session of the token before: %v", err)
	}
	stolen := move(c, other)
	jar := s.nobody().http.Jar
	base, _ := url.Parse(other)
	jar.SetCookies(base, []*http.Cookie{{Name: "civgate_session", Value: token(c)}})
	stolen.http.Jar = jar
	if !in(stolen) {
		t.Fatal("a token alone is no session")
	}
	if a := c.post("/panel/sign-out"); a.status != http.StatusSeeOther || token(c) != "" {
		t.Errorf("sign out: %d, and the cookie is %q", a.status, token(c))
	}
	if in(stolen) {
		t.Error("signed out on one node only")
	}

	// A session ends when nobody comes, and in the end at any rate.
	c.signIn(c.email)
	hash := gateway.HashToken(token(c))
	stored := func() (one gateway.Session, deadline time.Time) {
		t.Helper()
		one, err := s.gateway.Read().Session(t.Context(), hash)
		if err != nil {
			t.Fatal(err)
		}
		var data struct{ Deadline time.Time }
		if err := json.Unmarshal(one.Data, &data); err != nil {
			t.Fatal(err)
		}
		return one, data.Deadline
	}
	near := func(what string, got time.Time, want time.Duration) {
		t.Helper()
		if d := time.Until(got) - want; d.Abs() > time.Minute {
			t.Errorf("%s in %s, want %s", what, time.Until(got), want)
		}
	}
	one, deadline := stored()
	near("without requests it ends", one.ExpiresAt, 12*time.Hour)
	near("it ends", deadline, 14*24*time.Hour)
	one.ExpiresAt = time.Now().Add(time.Hour)
	put := func() {
		t.Helper()
		if err := agents.PutSession(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	put()
	in(c)
	after, _ := stored()
	near("after a request it ends", after.ExpiresAt, 12*time.Hour)
	one.Data = []byte(strings.Replace(string(one.Data), deadline.Format(time.RFC3339Nano), time.Now().Add(2*time.Hour).UTC().Format(time.RFC3339Nano), 1))
	put()
	in(c)
	after, _ = stored()
	near("near its end a request doesn't move it", after.ExpiresAt, 2*time.Hour)
	one.ExpiresAt = time.Now().Add(-time.Second)
	put()
	if in(c) {
		t.Error("still signed in after the end")
	}

	// Another password, and a removal, end all sessions.
	c.signIn(c.email)
	if err := agents.SetPassword(t.Context(), "x", c.email, gateway.HashPassword("another password")); err != nil {
		t.Fatal(err)
	}
	if in(c) {
		t.Error("still signed in with the password before")
	}
	editor := s.as(gateway.RoleEditor)
	if err := agents.Remove(t.Context(), "x", s.workspace, editor.email); err != nil {
		t.Fatal(err)
	}
	if in(editor) {
		t.Error("an agent who was removed is still signed in")
	}
	// What the cookie holds is anybody's.
	for _, value := range []string{"", "x", strings.Repeat("x", 5000), "\"", strings.Repeat("A", 43)} {
		bad := s.nobody()
		r := bad.request(http.MethodGet, "/panel/contacts", nil)
		r.Header.Set("Cookie", "civgate_session="+value)
		if a := bad.do(r); a.status != http.StatusSeeOther {
			t.Errorf("cookie %.10q: %d", value, a.status)
		}
	}
}

// TestSessionStampedOnce asks for many pages and writes to the store for none.
func TestSessionStampedOnce(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.as(gateway.RoleViewer)
	base, _ := url.Parse(c.base)
	hash := gateway.HashToken(sessionCookie(c.http.Jar.Cookies(base)))
	first, err := s.gateway.Read().Session(t.Context(), hash)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		c.page("/panel/contacts")
	}
	last, err := s.gateway.Read().Session(t.Context(), hash)
	if err != nil || !last.ExpiresAt.Equal(first.ExpiresAt) {
		t.Errorf("the session was written: it ended at %s, now %s (%v)", first.ExpiresAt, last.ExpiresAt, err)
	}
}

// TestCookieOverTLS looks at the cookie that a browser gets over TLS.
func TestCookieOverTLS(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleViewer)
	e := echo.New()
	web.MountPanel(e, web.Panel{Read: s.gateway.Read(), Gateway: s.gateway, Log: zaptest.NewLogger(t)})
	server := httptest.NewTLSServer(e)
	defer server.Close()
	c := s.nobody()
	c.base = server.URL
	c.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer c.http.CloseIdleConnections()
	a := c.post("/panel/sign-in", "email", "ada@acme.test", "password", password)
	cookies := a.header.Values("Set-Cookie")
	for _, name := range []string{"__Host-civgate=", "__Host-civgate_device="} {
		if !slices.ContainsFunc(cookies, func(cookie string) bool { return strings.HasPrefix(cookie, name) }) {
			t.Errorf("no cookie %s among %q", name, cookies)
		}
	}
	for _, cookie := range cookies {
		for _, part := range []string{"; Path=/;", "; HttpOnly", "; Secure", "; SameSite=Lax"} {
			if !strings.Contains(cookie, part) {
				t.Errorf("cookie %q lacks %q", cookie, part)
			}
		}
		if strings.Contains(cookie, "Domain") {
			t.Errorf("cookie %q is for other hosts", cookie)
		}
	}
	c.page("/panel/contacts")
}

// TestStoreAway asks for pages while the database is gone.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.node(panelLimiter)
	e := echo.New()
	web.MountPanel(e, web.Panel{Read: away{s.gateway.Read()}, Gateway: s.gateway, Log: zaptest.NewLogger(t)})
	server := httptest.NewServer(e)
	defer server.Close()
	c.base = server.URL
	r := c.request(http.MethodGet, "/panel/contacts", nil)
	r.Header.Set("Cookie", "civgate_session="+strings.Repeat("A", 43))
	a := c.do(r)
	if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(a.body, "Not available right now") || strings.Contains(a.body, "secret reason") {
		t.Errorf("%d\n%s", a.status, a.body)
	}
	r = c.request(http.MethodGet, "/panel/contacts", nil)
	r.Header.Set("Cookie", "civgate_session="+strings.Repeat("A", 43))
	r.Header.Set("HX-Request", "true")
	if a := c.do(r); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "<") {
		t.Errorf("for a script: %d\n%s", a.status, a.body)
	}
}

// away is a Reader whose sessions can't be read.
type away struct{ gateway.Reader }

func (away) Session(context.Context, gateway.TokenHash) (gateway.Session, error) {
	return gateway.Session{}, &gateway.Error{Code: gateway.CodeUnavailable, Message: "secret reason", RetryAfter: time.Second}
}
