package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/web"
)

// secondWorkspace makes another workspace, of which the agents are too.
func (s *stack) secondWorkspace(agents ...string) gateway.WorkspaceID {
	s.t.Helper()
	w, err := s.store.CreateWorkspace(s.t.Context(), gateway.Workspace{Name: "A second one"})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, email := range agents {
		if _, err := s.gateway.Agents().Add(s.t.Context(), "x", gateway.Agent{WorkspaceID: w, Email: email, PasswordHash: passwordHash(), Role: gateway.RoleOwner}); err != nil {
			s.t.Fatal(err)
		}
	}
	return w
}

// hx asks as a script of a page of a workspace does.
func (c *client) hx(method, path string, w gateway.WorkspaceID, fields ...string) answer {
	c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	r := c.request(method, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("HX-Request", "true")
	r.Header.Set("X-Workspace", strconv.FormatInt(int64(w), 10))
	return c.do(r)
}

// TestOtherWorkspace: ids of a workspace find nothing in another, nothing is written
// there, and a page that is still open gets no part of the workspace that its agent has
// switched to since.
func TestOtherWorkspace(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.post(map[string]any{"apiKey": apiKey, "user_id": "1", "email": "ada@acme.test", "name": "Secret Ada", "tags": []string{"secret"}, "company": map[string]any{"company_id": "c", "name": "Secret Acme"}})
	here := s.as(gateway.RoleOwner)
	there := s.secondWorkspace("owner@acme.test", "eve@evil.test")
	eve := s.nobody().signIn("eve@evil.test")
	contact, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "1")
	if err != nil {
		t.Fatal(err)
	}
	before := fmt.Sprintf("%+v", contact)
	for _, r := range web.Routes() {
		if !strings.Contains(r.Path, ":id") {
			continue
		}
		path := strings.NewReplacer(":id", "1").Replace(r.Path)
		var a answer
		if r.Method == http.MethodPost {
			a = eve.post(path, "name", "name", "value", "Mallory", "company", "1", "company_new", "", "contact", "1", "employee", "1", "list", "1", "with", "1", "merge", "1", "confirm", "delete", "attribute", "plan", "text", "x", "label", "x")
		} else {
			a = eve.get(path + "?name=name&with=1")
		}
		if a.status < 400 || strings.Contains(a.body, "Secret") || strings.Contains(a.body, "ada@acme.test") {
			t.Errorf("%s %s from another workspace: %d\n%s", r.Method, path, a.status, ownPart(a.body))
		}
	}
	for _, path := range []string{"/panel/contacts?tab=all", "/panel/contacts?company=1", "/panel/companies", "/panel/search?q=secret", "/panel/search?q=ada@acme.test", "/panel/contacts/find?q=secret", "/panel/contacts/companies?q=secret", "/panel/inspector", "/panel/settings/audit", "/panel/settings/tags", "/panel/settings/keys", "/panel/settings/agents"} {
		if a := eve.get(path); strings.Contains(a.body, "Secret") || strings.Contains(a.body, ">ada@acme.test<") || strings.Contains(a.body, apiKey) {
			t.Errorf("%s shows another workspace:\n%s", path, ownPart(a.body))
		}
	}
	if contact, err = s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "1"); err != nil || fmt.Sprintf("%+v", contact) != before {
		t.Errorf("the contact is %+v, was %s; %v", contact, before, err)
	}

	// The owner of both has a page of the first open and switches in another tab.
	here.mustPost("/panel/workspace", "workspace", strconv.FormatInt(int64(there), 10))
	for _, path := range []string{"/panel/contacts/1/value?name=name", "/panel/search?q=a", "/panel/contacts/companies?q=", "/panel/settings/companies/run"} {
		if a := here.hx(http.MethodGet, path, s.workspace); a.status != http.StatusConflict || !strings.Contains(a.body, "You have switched to A second one") {
			t.Errorf("%s for a page of the first workspace: %d %s", path, a.status, a.body)
		}
	}
	if a := here.hx(http.MethodPost, "/panel/contacts", s.workspace, "name", "Nobody"); a.status != http.StatusConflict {
		t.Errorf("a write for a page of the first workspace: %d", a.status)
	}
	if a := here.hx(http.MethodGet, "/panel/search?q=contacts", there); a.status != http.StatusOK {
		t.Errorf("for a page of the second: %d", a.status)
	}
}

// TestButtonOfOtherWorkspace: a button with an address of its own says whose page it is on,
// as its form does.
func TestButtonOfOtherWorkspace(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	here := s.as(gateway.RoleOwner)
	there := s.secondWorkspace("owner@acme.test")
	b := here.tab("/panel/settings/privacy")
	here.mustPost("/panel/workspace", "workspace", strconv.FormatInt(int64(there), 10))
	b.click(`[formaction="/panel/settings/privacy/secret"]`)
	b.until(`document.body.innerText.includes('You have switched to A second one')`)
	b.expectConsole("409")
	all, err := s.gateway.Read().Workspaces(t.Context())
	if err != nil || len(all) != 2 || all[0].Settings.IdentitySecret != "" || all[1].Settings.IdentitySecret != "" {
		t.Errorf("a secret was made: %+v, %v", all, err)
	}
}

// openStream opens the inspector's stream and returns a channel that is closed at its end.
func (c *client) openStream(w gateway.WorkspaceID) <-chan struct{} {
	c.t.Helper()
	r := c.request(http.MethodGet, "/panel/inspector/stream?workspace="+strconv.FormatInt(int64(w), 10), nil)
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	c.t.Cleanup(cancel)
	res, err := c.http.Do(r.WithContext(ctx))
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		c.t.Fatalf("the stream: %d", res.StatusCode)
	}
	end := make(chan struct{})
	go func() {
		defer close(end)
		defer res.Body.Close()
		for b := make([]byte, 1024); ; {
			if _, err := res.Body.Read(b); err != nil {
				return
			}
		}
	}()
	return end
}

// TestStreamEndsWithSession: who signs out, is removed, or gets another password sees
// nothing more of what arrives, though the page is still open.
func TestStreamEndsWithSession(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for name, end := range map[string]func(c *client, email string){
		"sign-out": func(c *client, _ string) { c.mustPost("/panel/sign-out") },
		"removed": func(_ *client, email string) {
			if err := s.gateway.Agents().Remove(t.Context(), "test", s.workspace, email); err != nil {
				t.Error(err)
			}
		},
		"password": func(_ *client, email string) {
			if err := s.gateway.Agents().SetPassword(t.Context(), "test", email, gateway.HashPassword("another one altogether")); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			email := name + "@acme.test"
			s.agent(email, gateway.RoleViewer)
			c := s.nobody().signIn(email)
			c.http.Timeout = 0 // streams go on
			over := c.openStream(s.workspace)
			other := *c // a stream takes the connection
			begun := time.Now()
			end(&other, email)
			<-over
			// Well before a stream ends by itself, after a minute, or by the client's patience.
			if took := time.Since(begun); took > 25*time.Second {
				t.Errorf("the stream went on for %v", took)
			}
		})
	}
}

// TestFieldOfTwo: two agents have the same field open. The second to save is told, and
// can still have their way.
func TestFieldOfTwo(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	first, second := s.as(gateway.RoleEditor), s.as(gateway.RoleOwner)
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: append(named("Ada"), value("plan", gateway.TextValue("free")))})
	company := s.newCompany(gateway.CompanyPatch{Name: new("Acme")})
	co := "/panel/companies/" + strconv.FormatInt(int64(company), 10)
	for _, page := range []struct{ path, name string }{{at, "plan"}, {at, "city"}, {co, "name"}, {co, "city"}} {
		mark := func(c *client) string {
			t.Helper()
			a := c.fragment(page.path + "/value?name=" + page.name)
			found := regexp.MustCompile(`name="was" value="([^"]+)"`).FindStringSubmatch(a.body)
			if found == nil {
				t.Fatalf("%v has no mark: %s", page, a.body)
			}
			return found[1]
		}
		one, two := mark(first), mark(second)
		if one != two {
			t.Fatalf("%v: two marks of one value", page)
		}
		if a := first.hx(http.MethodPost, page.path+"/value", s.workspace, "name", page.name, "was", one, "value", "From the first"); a.status != http.StatusOK {
			t.Fatalf("%v, the first: %d %s", page, a.status, a.body)
		}
		a := second.hx(http.MethodPost, page.path+"/value", s.workspace, "name", page.name, "was", two, "value", "From the second")
		if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Somebody has changed this to “From the first”") || !strings.Contains(a.body, `value="From the second"`) {
			t.Errorf("%v, the second: %d\n%s", page, a.status, a.body)
		}
		// A click too many, on what is there already, is nothing to tell of.
		if a := first.hx(http.MethodPost, page.path+"/value", s.workspace, "name", page.name, "was", one, "value", "From the first"); a.status != http.StatusOK {
			t.Errorf("%v, the first once more: %d %s", page, a.status, a.body)
		}
		again := regexp.MustCompile(`name="was" value="([^"]+)"`).FindStringSubmatch(a.body)
		if again == nil || again[1] == two {
			t.Fatalf("%v: the form that is shown again is about the old value: %s", page, a.body)
		}
		if a := second.hx(http.MethodPost, page.path+"/value", s.workspace, "name", page.name, "was", again[1], "value", "From the second"); a.status != http.StatusOK || !strings.Contains(a.body, "From the second") {
			t.Errorf("%v, the second again: %d %s", page, a.status, a.body)
		}
	}
	if v, _ := s.view(id).Attributes.Get("plan"); gateway.Text(v) != "From the second" {
		t.Errorf("plan: %s", v.Raw)
	}
}

// TestAddedOnce: what two agents, or one who clicks twice, make of a text at one moment is
// one company, or one contact.
func TestAddedOnce(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		editor := s.as(gateway.RoleEditor)
		_, at := s.newContact(gateway.ContactPatch{CustomID: new("1")})
		company := s.newCompany(gateway.CompanyPatch{Name: new("Acme")})
		employees := "/panel/companies/" + strconv.FormatInt(int64(company), 10) + "/employees"
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if a := editor.post(at+"/companies", "q", "Initech", "company", "", "company_new", "Initech"); a.status != http.StatusSeeOther {
					t.Errorf("company: %d", a.status)
				}
			})
			all.Go(func() {
				if a := editor.post(employees, "q", "new@initech.test", "employee", "", "employee_new", "new@initech.test"); a.status != http.StatusSeeOther {
					t.Errorf("employee: %d", a.status)
				}
			})
		}
		all.Wait()
		if n, err := s.gateway.Read().CountCompanies(t.Context(), s.workspace); n != 2 || err != nil {
			t.Errorf("%d companies, %v", n, err)
		}
		if n, err := s.gateway.Read().CountContacts(t.Context(), s.workspace); n != 2 || err != nil {
			t.Errorf("%d contacts, %v", n, err)
		}
	})
}

// TestLargeForms: a form that is too large is refused as that, wherever it goes, and
// nothing is done.
func TestLargeForms(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner := s.as(gateway.RoleOwner)
	s.newContact(gateway.ContactPatch{CustomID: new("1")})
	s.newCompany(gateway.CompanyPatch{Name: new("Acme")})
	huge := strings.Repeat("x", 17<<20)
	for _, r := range web.Routes() {
		if r.Method != http.MethodPost || strings.HasSuffix(r.Path, "/sign-out") || strings.Contains(r.Path, ":token") {
			continue
		}
		path := strings.NewReplacer(":id", "1").Replace(r.Path)
		a := owner.post(path, "name", "name", "value", huge)
		switch {
		case strings.HasSuffix(path, "/keys/widget"), strings.HasSuffix(path, "/companies/run"), strings.HasSuffix(path, "/replay"): // read nothing
		case a.status != http.StatusRequestEntityTooLarge && a.status != http.StatusNotFound:
			t.Errorf("%s: %d", path, a.status)
		}
	}
}

// TestPublicAddress: behind a proxy that passes on another Host than browsers see, forms
// are taken from the public address and links lead to it.
func TestPublicAddress(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("owner@acme.test", gateway.RoleOwner)
	e := echo.New()
	web.MountPanel(e, web.Panel{Read: s.gateway.Read(), Gateway: s.gateway, Log: zaptest.NewLogger(t), Origin: "https://civ.acme.test/"})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	c := s.nobody()
	c.base = server.URL
	c.signIn("owner@acme.test")
	// As a browser sends it that knows no Sec-Fetch-Site, or over plain HTTP.
	post := func(origin string) answer {
		r := c.request(http.MethodPost, "/panel/settings/agents/invite", strings.NewReader("email=bob@acme.test&role=viewer"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", origin)
		return c.do(r)
	}
	if a := post("https://civ.acme.test"); a.status != http.StatusOK || !strings.Contains(a.body, "https://civ.acme.test/panel/invitation/") {
		t.Errorf("from the public address: %d\n%s", a.status, ownPart(a.body))
	}
	if a := post("https://evil.test"); a.status != http.StatusForbidden {
		t.Errorf("from elsewhere: %d", a.status)
	}
}

// TestNamesToType: what can't be typed as it is seen is deleted by typing "delete".
func TestNamesToType(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	for name, want := range map[string]string{
		"vip": "vip", " lead ": "delete", "two  words": "delete", "two words": "two words", "gnp\u202e.exe": "delete", "no\u00a0break": "delete", strings.Repeat("x", 200): "delete",
	} {
		var id gateway.TagID
		s.byToken(func(e *gateway.Editor) (err error) { id, _, err = e.AddTag(name); return err })
		at := "/panel/settings/tags/" + strconv.FormatInt(int64(id), 10) + "/delete"
		if body := editor.page("/panel/settings/tags"); !strings.Contains(body, `data-typed="`+want+`"`) {
			t.Errorf("%q isn't deleted by typing %q", name, want)
		}
		if a := editor.post(at, "confirm", "x"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "type "+want+" to delete") {
			t.Errorf("%q, by another word: %d", name, a.status)
		}
		editor.mustPost(at, "confirm", want)
	}
}

// TestMailAddress: an e-mail is a link to that address, whatever it looks like.
func TestMailAddress(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, at := s.newContact(gateway.ContactPatch{Email: new("cc?bcc=evil%40evil.test&body=x@acme.test")})
	body := s.as(gateway.RoleViewer).page(at)
	if !strings.Contains(body, `href="mailto:cc%3Fbcc=evil%2540evil.test&amp;body=x@acme.test"`) {
		t.Errorf("the link: %q", regexp.MustCompile(`href="mailto:[^"]*"`).FindString(body))
	}
}

// TestQuickKeys: who types and presses Enter before the list is there gets what has just
// that name, never what stood in the list for another text.
func TestQuickKeys(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	s.newCompany(gateway.CompanyPatch{Name: new("Globex Corporation")})
	s.newCompany(gateway.CompanyPatch{Name: new("Initech")})
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada")})
	b := editor.tab(at)
	companies := func() (names []string) {
		for _, co := range s.view(id).Companies {
			names = append(names, co.Name)
		}
		return names
	}
	settled := func() {
		t.Helper()
		b.until(`(() => { const e = document.querySelector('#add-company'), l = document.querySelector('#add-company-list'); return l && !l.hidden && document.activeElement === e })()`)
	}
	// Enter on an empty field, with its suggestions open, takes none of them.
	b.do(chromedp.Focus("#add-company"))
	settled()
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.querySelector('#add-company-list [aria-selected]')`)
	// The list for "glo" is there, and the text goes on at once.
	b.do(chromedp.KeyEvent("glo"))
	b.until(`document.querySelector('#add-company-list [aria-selected]')?.dataset.label === 'Globex Corporation'`)
	b.do(chromedp.KeyEvent("ria\r"))
	b.until(`document.querySelector('#add-company-list [aria-selected]')?.dataset.create === 'gloria'`)
	if got := companies(); len(got) != 0 {
		t.Errorf("an employee of %q", got)
	}
	// A name in full is taken as soon as it is found.
	eval[bool](b, `(() => { const e = document.querySelector('#add-company'); e.value = ''; e.dispatchEvent(new Event('input', { bubbles: true })); return true })()`)
	b.do(chromedp.KeyEvent("initech\r"))
	b.until(`document.querySelector('.companies')?.textContent.includes('Initech')`)
	if got := fmt.Sprint(companies()); got != "[Initech]" {
		t.Errorf("an employee of %s", got)
	}
	// The search on top: Enter goes to the page of the search, not to an older result.
	b.keys("/")
	b.until(`document.activeElement.id === 'search'`)
	eval[string](b, `document.activeElement.value = ''`) // a driver types the / all the same
	b.do(chromedp.KeyEvent("ada"))
	b.until(`document.querySelector('#search-list [aria-selected]') !== null`)
	b.do(chromedp.KeyEvent("zzz\r"))
	b.until(`location.pathname === '/panel/search' && location.search === '?q=adazzz'`)

	// A tick and Enter send nothing, and a tag must be written before it is added.
	b.open("/panel/contacts")
	b.click("tbody .tick input")
	b.keys("\r")
	b.click("#bulk [value=tag]")
	b.until(`document.activeElement.name === 'tag'`)
	if got := eval[string](b, `location.pathname + ' ' + document.querySelector('[data-selected]').textContent`); got != "/panel/contacts 1" {
		t.Errorf("the page is %s", got)
	}
}

// TestInvitationEnds: an invitation that is a week old, or was used, opens nothing and
// makes nobody.
func TestInvitationEnds(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	put := func(token, email string, end time.Time) string {
		t.Helper()
		err := s.store.Update(t.Context(), func(tx gateway.Tx) error {
			return tx.PutInvitation(gateway.Invitation{WorkspaceID: s.workspace, Email: email, Token: gateway.HashToken(token), Role: gateway.RoleOwner, By: "ada@acme.test", CreatedAt: end.Add(-gateway.InvitationAge), ExpiresAt: end})
		})
		if err != nil {
			t.Fatal(err)
		}
		return "/panel/invitation/" + token
	}
	now := time.Now().UTC().Truncate(time.Second)
	fields := []string{"name", "Eve", "password", password}
	used := put("USED", "bob@acme.test", now.Add(time.Hour))
	s.nobody().mustPost(used, fields...)
	for name, path := range map[string]string{"expired": put("OLD", "eve@acme.test", now.Add(-time.Second)), "used": used, "made up": "/panel/invitation/" + strings.Repeat("A", 5000)} {
		c := s.nobody()
		for _, a := range []answer{c.get(path), c.post(path, fields...)} {
			if a.status != http.StatusNotFound || a.header.Get("Set-Cookie") != "" || !strings.Contains(a.body, "Ask for a new one") {
				t.Errorf("%s: %d\n%s", name, a.status, a.body)
			}
		}
	}
	agents, err := s.gateway.Read().Agents(t.Context(), s.workspace)
	if err != nil || len(agents) != 1 || agents[0].Email != "bob@acme.test" {
		t.Errorf("agents: %+v, %v", agents, err)
	}
}

// TestThrottleBehindProxy: attempts are counted by the address that a trusted proxy saw,
// so that an office doesn't lock out others behind it; what nobody trusted says counts
// for nothing.
func TestThrottleBehindProxy(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleViewer)
	try := func(base, from, email, password string) int {
		c := s.nobody()
		c.base = base
		r := c.request(http.MethodPost, "/panel/sign-in", strings.NewReader(url.Values{"email": {email}, "password": {password}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Forwarded-For", from)
		return c.do(r).status
	}
	for name, trusted := range map[string][]netip.Prefix{"trusted": {netip.MustParsePrefix("127.0.0.0/8")}, "not trusted": nil} {
		limiter := cache.NewLimiter(map[string]cache.Limit{web.LimitSignInAddress: {PerSecond: .001, Burst: 3}}, 100, time.Now)
		e := echo.New()
		e.IPExtractor = api.IPExtractor(trusted)
		web.MountPanel(e, web.Panel{Read: s.gateway.Read(), Gateway: s.gateway, Log: zaptest.NewLogger(t), Limiter: limiter})
		server := httptest.NewServer(e)
		t.Cleanup(server.Close)
		for i := range 3 {
			if got := try(server.URL, "203.0.113.1", fmt.Sprintf("x%d@acme.test", i), "wrong"); got != http.StatusUnprocessableEntity {
				t.Fatalf("%s, attempt %d: %d", name, i, got)
			}
		}
		if got := try(server.URL, "203.0.113.1", "ada@acme.test", password); got != http.StatusTooManyRequests {
			t.Errorf("%s, the fourth of an address: %d", name, got)
		}
		want := http.StatusSeeOther
		if trusted == nil {
			want = http.StatusTooManyRequests // it is the same peer
		}
		if got := try(server.URL, "198.51.100.7", "ada@acme.test", password); got != want {
			t.Errorf("%s, another address: %d, want %d", name, got, want)
		}
	}
}

// TestNothingIsKept: no answer of the panel may be kept by a browser or a proxy, and each
// has the policy, whoever asks.
func TestNothingIsKept(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for name, c := range map[string]*client{"owner": s.as(gateway.RoleOwner), "viewer": s.as(gateway.RoleViewer), "nobody": s.nobody()} {
		for _, r := range web.Routes() {
			if strings.HasSuffix(r.Path, "/sign-out") || strings.HasSuffix(r.Path, "/stream") && name != "nobody" {
				continue
			}
			path := strings.NewReplacer(":id", "1", ":token", "NONE").Replace(r.Path)
			a := c.get(path)
			if r.Method == http.MethodPost {
				a = c.post(path)
			}
			policy := a.header.Get("Content-Security-Policy")
			if a.header.Get("Cache-Control") != "no-store" || !strings.Contains(policy, "default-src 'none'") || !strings.Contains(policy, "frame-ancestors 'none'") || strings.Contains(policy, "unsafe") || a.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s as %s: %v", r.Method, path, name, a.header)
			}
		}
	}
}

// TestSessionEndsInOpenPage: who presses something on a page whose session has ended is
// asked to sign in and comes back to that page; and a page that was left by signing out
// isn't shown again by going back.
func TestSessionEndsInOpenPage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	c := s.as(gateway.RoleEditor)
	_, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada Lovelace")})
	end := func() {
		t.Helper()
		if err := s.gateway.Agents().SetPassword(t.Context(), "test", c.email, gateway.HashPassword(password)); err != nil {
			t.Fatal(err)
		}
	}
	again := func(b *tab) {
		t.Helper()
		b.until(`location.pathname === '/panel/sign-in' && document.activeElement.name === 'email'`)
		b.fill("[name=email]", c.email)
		b.fill("[name=password]", password+"\r")
		b.until(`location.pathname === ` + quote(at) + ` && document.querySelector('.cells') !== null`)
	}
	b := c.tab(at)
	end()
	b.click(`.cell:hover .cell-edit, .cell-edit[href$="name=name"]`)
	again(b)
	b.expectConsole("401")
	end()
	b.click(`summary:has([href="#i-plus"])`)
	b.fill("#f-attribute", "plan")
	b.fill("#f-text", "pro\r")
	again(b)
	b.click(".agent")
	b.click(`form[action^="/panel/sign-out"] button`)
	b.until(`location.pathname === '/panel/sign-in'`)
	eval[bool](b, `(history.back(), true)`)
	b.until(`document.readyState === 'complete' && location.search.includes('next=')`)
	if eval[bool](b, `document.body.textContent.includes('Lovelace')`) {
		t.Error("the contact is shown to nobody")
	}
}

// TestSameMemberships: every door makes the same rows. One contact each comes to a company
// by the widget, REST, the domain rule, and the four ways by hand; the rows differ by
// their source and by who it was, and all are in the lists of both sides.
func TestSameMemberships(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		owner := s.as(gateway.RoleOwner)
		company := s.newCompany(gateway.CompanyPatch{CustomID: new("acme"), Name: new("Acme"), Attributes: []gateway.PayloadAttribute{value("domains", gateway.ListValue("acme.example"))}})
		text := strconv.FormatInt(int64(company), 10)
		co := "/panel/companies/" + text
		owner.mustPost("/panel/settings/companies", "enabled", "on")
		someone := func(id string) (gateway.ContactID, string) {
			return s.newContact(gateway.ContactPatch{CustomID: &id, Attributes: named("Person " + id)})
		}
		// The widget, REST, and the rule, which meets whoever comes with the e-mail.
		s.post(map[string]any{"apiKey": apiKey, "user_id": "widget", "company": map[string]any{"company_id": "acme"}})
		byREST, _ := someone("rest")
		s.byToken(func(e *gateway.Editor) error { return e.AddMember(company, byREST) })
		s.post(map[string]any{"apiKey": apiKey, "user_id": "domain", "email": "rule@mail.acme.example"})
		owner.mustPost("/panel/contacts", "name", "By panel", "custom_id", "panel-domain", "email", "panel@acme.example")
		// By hand: on the contact, a company that is there and one that is not; on the
		// company, by name and by e-mail.
		_, at := someone("hand-existing")
		owner.mustPost(at+"/companies", "q", "Acme", "company", text, "company_new", "")
		_, at = someone("hand-new")
		owner.mustPost(at+"/companies", "q", "Brand new", "company", "", "company_new", "Brand new")
		byName, _ := someone("hand-name")
		if a := owner.fragment(co + "/people?q=person+hand-n"); !strings.Contains(a.body, `data-value="`+strconv.FormatInt(int64(byName), 10)+`"`) {
			t.Errorf("nobody is found by name: %s", a.body)
		}
		owner.mustPost(co+"/employees", "q", "Person hand-name", "employee", strconv.FormatInt(int64(byName), 10), "employee_new", "")
		owner.mustPost(co+"/employees", "q", "hand@mail.example", "employee", "", "employee_new", "hand@mail.example")

		const hand = "manual owner@acme.test"
		want := map[string]string{"widget": "widget", "rest": "api token", "domain": "domain", "panel-domain": "domain", "hand-existing": hand, "hand-new": hand, "hand-name": hand, "hand@mail.example": hand}
		all, err := s.gateway.Read().Contacts(t.Context(), s.workspace, 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, contact := range all {
			who := contact.CustomID
			if who == "" {
				who = contact.Email
			}
			if len(contact.Companies) == 0 {
				t.Errorf("%s has no company", who)
				continue
			}
			m := contact.Companies[0].Membership
			// Who is named is said of what agents and tokens do.
			if got := strings.TrimSpace(fmt.Sprint(m.Source, " ", m.By)); got != want[who] {
				t.Errorf("%s: a membership from %q, want %q", who, got, want[who])
			}
			if !m.Current() || !m.Primary || m.Since.IsZero() || m.ContactID != contact.ID || m.WorkspaceID != s.workspace || (m.CompanyID == company) == (who == "hand-new") {
				t.Errorf("%s: the row %+v", who, m)
			}
			members, err := s.gateway.Read().Members(t.Context(), s.workspace, m.CompanyID, gateway.MemberQuery{Limit: 20})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(members, func(x gateway.MemberView) bool { return x.Membership == m }) {
				t.Errorf("%s isn't among the employees of %d as %+v: %+v", who, m.CompanyID, m, members)
			}
			delete(want, who)
		}
		if len(want) > 0 {
			t.Errorf("without a membership: %v", want)
		}
		owner.wants(co+"?tab=employees", "Widget", "API", "E-mail domain", "By hand")
		// The rule never takes what another door made.
		owner.mustPost("/panel/settings/companies", "exclude_domains", "acme.example", "enabled", "on")
		s.post(map[string]any{"apiKey": apiKey, "user_id": "hand-existing", "email": "x@other.example"})
		if v, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "hand-existing"); err != nil || len(v.Companies) == 0 || v.Companies[0].Source != gateway.SourceManual || !v.Companies[0].Primary {
			t.Errorf("after another e-mail: %+v, %v", v, err)
		}
	})
}

// TestEveryPage looks at each page of the panel, with hostile data, as an owner in both
// themes and widths, and as a viewer. A tab fails the test by itself if a page writes to the
// console, throws, breaks its policy, or asks another host for anything.
func TestEveryPage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	long := hostileName + strings.Repeat("Überlänge", 20)
	custom := map[string]any{"apiKey": apiKey, "user_id": "1", "email": "ada@acme.test", "name": hostileName + strings.Repeat("Ü", 3000), "phone_number": "+48600700800",
		"tags": []string{hostileName, "vip"}, "formula": "=cmd|' /C calc'!A0", "company": map[string]any{"company_id": "a&b'c;--", "name": hostileName + strings.Repeat("Ü", 90), "tags": []string{hostileName}, "note": hostileName, "domains": []string{"acme.test"}}}
	for i := range 12 {
		custom[fmt.Sprint("attribute ", i)] = long
	}
	for _, a := range gateway.StandardAttrs(gateway.EntityContact) {
		if _, there := custom[a.Name]; !there && a.Type == gateway.TypeText {
			custom[a.Name] = hostileName
		}
	}
	s.post(custom,
		map[string]any{"apiKey": apiKey, "user_id": "2", "name": hostileName, "company": map[string]any{"company_id": "a&b'c;--"}})
	contact, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "1")
	if err != nil {
		t.Fatal(err)
	}
	if len(contact.Companies) != 1 {
		t.Fatalf("companies: %+v", contact.Companies)
	}
	other, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "2")
	if err != nil {
		t.Fatal(err)
	}
	s.byToken(func(e *gateway.Editor) error {
		if _, err := e.AddPageView(gateway.PageView{ContactID: contact.ID, URL: "https://acme.test/?q=<script>", Title: hostileName, Referrer: "https://evil.test/<script>"}); err != nil {
			return err
		}
		l, err := e.CreateList(gateway.ListPatch{Name: new(hostileName)})
		if err != nil {
			return err
		}
		if _, _, err := e.AddEvent(contact.ID, gateway.EventCustom, hostileName, `{"<script>":"<script>alert(4)</script>"}`, e.Now()); err != nil {
			return err
		}
		_, err = e.AddToList(l.ID, contact.ID)
		return err
	})
	var seen []gateway.InspectionView
	for len(seen) < 2 {
		changed := s.gateway.Inspected()
		if seen, err = s.gateway.Read().Inspections(t.Context(), s.workspace, gateway.InspectionQuery{Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if len(seen) < 2 {
			select {
			case <-changed:
			case <-t.Context().Done():
				t.Fatal("the payloads were never inspected")
			}
		}
	}
	owner := s.as(gateway.RoleOwner)
	if _, err := s.gateway.Agents().Invite(t.Context(), "owner@acme.test", s.workspace, strings.Repeat("long", 14)+"@"+strings.Repeat("domain", 8)+".test", gateway.RoleViewer); err != nil {
		t.Fatal(err)
	}
	c, co := strconv.FormatInt(int64(contact.ID), 10), strconv.FormatInt(int64(contact.Companies[0].CompanyID), 10)
	pages := map[string][]string{ // by the routes that they are of
		"":                        {""},
		"/search":                 {"?q=" + url.QueryEscape("<script>"), "?q=nobody-like-it", ""},
		"/contacts":               {"?tab=all", "?f=city:is:nobody", "?tab=all&company=" + co},
		"/contacts/new":           {""},
		"/contacts/:id":           {c, c + "?edit=name", c + "?edit=tags"},
		"/contacts/:id/merge":     {c + "?with=" + strconv.FormatInt(int64(other.ID), 10)},
		"/companies":              {"", "?q=nobody-like-it"},
		"/companies/new":          {""},
		"/companies/:id":          {co, co + "?tab=employees", co + "?tab=attributes"},
		"/companies/:id/value":    {co + "?name=note"},
		"/inspector":              {"", "?verdict=refused"},
		"/inspector/:id":          {strconv.FormatInt(seen[len(seen)-1].ID, 10)},
		"/settings/account":       {""},
		"/settings/agents":        {""},
		"/settings/audit":         {""},
		"/settings/companies":     {""},
		"/settings/script":        {"", "?for=react"},
		"/settings/keys":          {""},
		"/settings/attributes":    {"", "?of=company"},
		"/settings/tags":          {""},
		"/settings/privacy":       {""},
		"/settings":               nil, // leads to another
		"/sign-in":                nil, // for who is signed in, too; TestPanelInChromium looks at it
		"/invitation/:token":      nil, // as above
		"/first-run":              nil, // what follows are parts of pages
		"/contacts/find":          nil,
		"/contacts/companies":     nil,
		"/contacts/:id/value":     nil,
		"/companies/:id/people":   nil,
		"/inspector/stream":       nil,
		"/settings/companies/run": nil,
		"/settings/script/seen":   nil,
	}
	for _, role := range []gateway.Role{gateway.RoleOwner, gateway.RoleViewer} {
		b := owner.tab("/panel/settings/account")
		if role != gateway.RoleOwner {
			b = s.as(role).tab("/panel/settings/account")
		}
		for _, r := range web.Routes() {
			path := strings.TrimPrefix(r.Path, "/panel")
			states, known := pages[path]
			if r.Method != http.MethodGet || known && len(states) == 0 || !role.Includes(r.Least) && r.Least != "" {
				continue
			}
			if !known {
				t.Errorf("nothing is looked at of the page %s", path)
			}
			for _, state := range states {
				at := "/panel" + path + state
				if before, after, ok := strings.Cut(path, ":id"); ok {
					id, query, _ := strings.Cut(state, "?")
					at = "/panel" + before + id + after + "?" + query
				}
				b.open(at)
				if eval[bool](b, `document.querySelector('main :is(script, img, iframe, object, embed)') !== null || document.querySelector('main h1') === null`) {
					t.Errorf("%s: a text became an element, or there is no title", at)
				}
				if nameless := eval[string](b, nameless); nameless != "" {
					t.Errorf("%s as %s: without a name: %s", at, role, nameless)
				}
				if role != gateway.RoleOwner {
					continue // it looks the same, with less to press
				}
				b.everyLook("every-" + string(role) + "-" + regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.TrimPrefix(at, "/panel"), "-"))
			}
		}
	}
}

// nameless lists what can be pressed or filled in and has no name that is read aloud.
const nameless = `[...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, dialog, table th')].filter((e) =>
  !e.closest('[aria-hidden=true]') && !e.querySelector('[aria-label]') && !(e.labels?.length || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim() || e.title)).map((e) => e.outerHTML.slice(0, 120)).join(' ')`
