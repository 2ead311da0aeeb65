package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"

	"civgate/widget/browsertest"
)

// asProgram, when set, makes the test binary behave as civgate, for tests that
// need a process to kill.
const asProgram = "TEST_BINARY_IS_CIVGATE"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	code := m.Run()
	browsertest.Stop()
	os.Exit(code)
}

// The two snippets as the vendor documents them (contract, section 1.1), with
// the address of a civgate for %s.
const (
	anonymousSnippet = `<script data-cfasync="false" type="text/javascript">
  window.civchat = { apiKey: "A1B2C3" };
</script>
<script data-cfasync="false" type="text/javascript" src="%s/widget.js"></script>`

	loggedInSnippet = `<script data-cfasync="false" type="text/javascript">
  window.civchat = {
    apiKey: "A1B2C3",
    user_id: "42",
    name: "John Doe",
    email: "john@doe.test",
    gender: 2,
    status: 2,
    date_attr: "2017-07-25T14:14:08.612Z",
    phone_number: "+48999888777",
    score: 0,
    company: {
      name: "Test Company",
      company_id: "c7",
      revenue: "$239.9 billion",
      employees: 32
    }
  };
</script>
<script data-cfasync="false" type="text/javascript" src="%s/widget.js"></script>`
)

// site serves static pages on a host of their own.
func site(t *testing.T, pages map[string]string) (origin string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><html><head><title>%s</title><link rel=icon href=data:,></head><body>%s</body></html>", r.URL.Path, page)
	}))
	t.Cleanup(srv.Close)
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return "http://www.shop.localhost:" + port
}

// visit opens pages one after the other in a browser of its own and waits after
// each until civgate has applied what it sent.
func visit(t *testing.T, p *process, urls ...string) {
	t.Helper()
	var mu sync.Mutex
	var console []string
	answers := make(chan int64, 100)
	ctx, cancel := chromedp.NewContext(browsertest.Browser(t), chromedp.WithNewBrowserContext(), chromedp.WithListener(func(event any) {
		if line, ok := browsertest.ConsoleLine(event); ok {
			mu.Lock()
			defer mu.Unlock()
			console = append(console, line)
		}
		if e, ok := event.(*network.EventResponseReceived); ok && strings.HasSuffix(e.Response.URL, "/ingest") {
			answers <- e.Response.Status
		}
	}))
	defer cancel()
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	for _, u := range urls {
		if err := chromedp.Do(ctx, chromedp.Navigate(u)); err != nil {
			t.Fatal(err)
		}
		select {
		case status := <-answers:
			if status != http.StatusOK {
				t.Errorf("%s: the widget was answered %d", u, status)
			}
		case <-ctx.Done():
			t.Fatalf("%s: the widget sent nothing", u)
		}
		p.settle()
	}
	mu.Lock()
	defer mu.Unlock()
	if len(console) > 0 {
		t.Errorf("the pages' console isn't empty: %q", console)
	}
}

type restUser struct {
	ID          int
	Key         string
	Name        string
	Email       string
	Gender      string
	Status      string
	PhoneNumber string `json:"phone_number"`
	Score       *int
	PageViews   int    `json:"page_views"`
	UserID      string `json:"user_id"`
	Companies   []struct {
		ID   int
		Name string
	}
	Attributes []struct {
		NameStd   string `json:"name_std"`
		Value     any
		ValueType string `json:"value_type"`
	}
}

type restUsers struct {
	Count   int
	Results []restUser
}

// TestSnippetTwice is the main job: a static page with the documented snippet,
// opened twice in Chromium, is one contact, one company, one membership and two
// page views.
func TestSnippetTwice(t *testing.T) {
	t.Parallel()
	browsertest.Browser(t)
	p := launch(t, t.TempDir(), "CIVGATE_DEMO=false")
	s := site(t, map[string]string{"/app": fmt.Sprintf(loggedInSnippet, p.origin)})
	visit(t, p, s+"/app", s+"/app")

	var users restUsers
	p.get("/api/public/users/", &users)
	if users.Count != 1 {
		t.Fatalf("%d contacts, want 1", users.Count)
	}
	u := users.Results[0]
	zero := 0
	want := restUser{
		ID: u.ID, Key: u.Key, Name: "John Doe", Email: "john@doe.test", Gender: "male", Status: "user", PhoneNumber: "+48999888777",
		Score: &zero, PageViews: 2, UserID: "42", Companies: u.Companies, Attributes: u.Attributes,
	}
	if d := cmp.Diff(want, u); d != "" {
		t.Error(d)
	}
	if len(u.Key) != 12 {
		t.Errorf("key %q", u.Key)
	}
	if len(u.Companies) != 1 || u.Companies[0].Name != "Test Company" {
		t.Errorf("companies %+v", u.Companies)
	}
	if len(u.Attributes) != 1 || u.Attributes[0].NameStd != "date_attr" || u.Attributes[0].ValueType != "datetime" {
		t.Errorf("attributes %+v", u.Attributes)
	}
	var company struct {
		Name       string
		Employees  []int
		Attributes []struct {
			NameStd string `json:"name_std"`
			Value   any
		}
	}
	if status := p.get("/api/public/companies-by-id/c7/", &company); status != http.StatusOK {
		t.Fatalf("company: %d", status)
	}
	if company.Name != "Test Company" || len(company.Employees) != 1 || company.Employees[0] != u.ID {
		t.Errorf("company %+v", company)
	}
	got := make(map[string]any)
	for _, a := range company.Attributes {
		got[a.NameStd] = a.Value
	}
	if got["revenue"] != "$239.9 billion" {
		t.Errorf("company attributes %v", got)
	}
	var companies struct{ Count int }
	if p.get("/api/public/companies/", &companies); companies.Count != 1 {
		t.Errorf("%d companies", companies.Count)
	}
}

// TestAnonymousThenLogIn: the anonymous snippet first, then a log-in on the same
// browser: one contact with the earlier page views.
func TestAnonymousThenLogIn(t *testing.T) {
	t.Parallel()
	browsertest.Browser(t)
	p := launch(t, t.TempDir(), "CIVGATE_DEMO=false")
	s := site(t, map[string]string{
		"/":      fmt.Sprintf(anonymousSnippet, p.origin),
		"/price": fmt.Sprintf(anonymousSnippet, p.origin),
		"/app":   fmt.Sprintf(loggedInSnippet, p.origin),
		// As a tag manager does it: later, and the script before the data.
		"/late": fmt.Sprintf(`<script>setTimeout(() => { const s = document.createElement('script'); s.async = true; s.src = '%s/widget.js'; document.head.append(s);
			setTimeout(() => { window.civchat = {apiKey: 'A1B2C3', user_id: '42'}; }, 300); }, 100);</script>`, p.origin),
	})
	visit(t, p, s+"/", s+"/price")
	visit(t, p, s+"/", s+"/price", s+"/app")
	var users restUsers
	p.get("/api/public/users/", &users)
	if users.Count != 2 {
		t.Fatalf("%d contacts, want the other visitor and one person", users.Count)
	}
	var u restUser
	p.get("/api/public/users-by-id/42/", &u)
	if u.PageViews != 3 || len(u.Companies) != 1 {
		t.Errorf("%+v, want the page views of before the log-in too", u)
	}
	// A second browser of the same person, and a visitor there before the log-in.
	visit(t, p, s+"/", s+"/app", s+"/late")
	var hits struct {
		Results []struct {
			Path string `json:"page_path"`
		}
	}
	p.get("/api/public/users-by-id/42/", &u)
	p.get("/api/public/users-by-id/42/ping_hits/", &hits)
	var paths []string
	for _, h := range hits.Results {
		paths = append(paths, h.Path)
	}
	if got, want := strings.Join(paths, " "), "/late /app / /app /price /"; u.PageViews != 6 || got != want {
		t.Errorf("%d page views %s, want 6, newest first: %s", u.PageViews, got, want)
	}
	if p.get("/api/public/users/", &users); users.Count != 2 {
		t.Errorf("%d contacts, want 2", users.Count)
	}
}
