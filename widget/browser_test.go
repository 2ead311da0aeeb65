package widget_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"civgate/widget"
	"civgate/widget/browsertest"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/labstack/echo/v4"
)

// patience bounds every wait for the browser; nothing is expected to take that long.
const patience = 30 * time.Second

// idleTabs are those that no test uses. Each has a browser context of its own, own cookies, own storage; tabs go from test to
// test, because opening one costs more than most tests do.
var idleTabs struct {
	mu   sync.Mutex
	tabs []*tab
}

func TestMain(m *testing.M) {
	flag.Parse()
	// The tests wait for timers most of the time: more of them at once than there are processors.
	explicit := false
	flag.Visit(func(f *flag.Flag) { explicit = explicit || f.Name == "test.parallel" })
	if !explicit {
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	browsertest.Stop()
	os.Exit(code)
}

// tab is one page of the browser.
type tab struct {
	t       *testing.T
	ctx     context.Context
	scripts []page.ScriptIdentifier

	mu      sync.Mutex
	console []string
}

// newTab opens a tab, skipping the test when there is no browser. The test fails when the page logs or throws anything.
func newTab(t *testing.T) *tab {
	t.Helper()
	shared := browsertest.Browser(t)
	b := idleTab()
	if b == nil {
		b = openTab(t, shared, chromedp.WithNewBrowserContext())
	}
	b.t = t
	t.Cleanup(func() {
		if lines := b.logged(); len(lines) > 0 {
			t.Errorf("the page's console isn't empty: %q", lines)
		}
		b.reset()
		idleTabs.mu.Lock()
		idleTabs.tabs = append(idleTabs.tabs, b)
		idleTabs.mu.Unlock()
	})
	return b
}

func idleTab() *tab {
	idleTabs.mu.Lock()
	defer idleTabs.mu.Unlock()
	n := len(idleTabs.tabs)
	if n == 0 {
		return nil
	}
	b := idleTabs.tabs[n-1]
	idleTabs.tabs = idleTabs.tabs[:n-1]
	return b
}

// reset makes the tab as good as new. Storage needs no clearing: each test's server is another origin.
func (b *tab) reset() {
	b.do(chromedp.Navigate("about:blank"), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		for _, id := range b.scripts {
			if _, err := cdp.Call(ctx, t, page.RemoveScriptToEvaluateOnNewDocument, page.RemoveScriptToEvaluateOnNewDocumentParams{Identifier: id}); err != nil {
				return chromedp.Void{}, err
			}
		}
		_, err := cdp.Call(ctx, t, network.ClearBrowserCookies, cdp.Empty{})
		return chromedp.Void{}, err
	})
	b.scripts = nil
	b.logged()
}

// sibling opens another tab that shares cookies and storage with b, until the test ends.
func (b *tab) sibling() *tab {
	b.t.Helper()
	s := openTab(b.t, b.ctx)
	b.t.Cleanup(func() {
		if err := chromedp.Cancel(s.ctx); err != nil {
			b.t.Error(err)
		}
	})
	return s
}

func openTab(t *testing.T, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	b := &tab{t: t}
	options = append(options, chromedp.WithListener(b.listen))
	b.ctx, _ = chromedp.NewContext(parent, options...) // ends with the browser, or by chromedp.Cancel
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *tab) listen(event any) {
	// Failed requests are the tests' own doing.
	if e, ok := event.(*log.EventEntryAdded); ok && e.Entry.Source == log.EntrySourceNetwork {
		return
	}
	if line, ok := browsertest.ConsoleLine(event); ok {
		b.mu.Lock()
		b.console = append(b.console, line)
		b.mu.Unlock()
	}
}

// logged takes what the page wrote to the console so far.
func (b *tab) logged() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := b.console
	b.console = nil
	return lines
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// before runs a script in every page that the tab opens, ahead of the page's own.
func (b *tab) before(script string) {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		added, err := cdp.Call(ctx, t, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script})
		b.scripts = append(b.scripts, added.Identifier)
		return chromedp.Void{}, err
	})
}

func (b *tab) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// run evaluates a script that may be asynchronous and whose value is not needed.
func (b *tab) run(script string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void]("(async () => {"+script+"})()", chromedp.EvalAwaitPromise))
}

// eval evaluates an expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// include adds the gateway's script to the page and waits until it ran.
func (b *tab) include(g *gateway) {
	b.t.Helper()
	b.run(`await new Promise((loaded) => {
		const script = document.head.appendChild(document.createElement('script'));
		script.src = '` + g.at("gate.localhost") + `/widget.js';
		script.onload = loaded;
	})`)
}

// until waits for an expression to become true.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	for {
		// An error may mean that the page is just being replaced.
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](expression))
		if is && err == nil {
			return
		}
		if ctx.Err() != nil {
			b.t.Fatalf("%s never came true: %v", expression, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// message is what the script sent, with its envelope apart.
type message struct {
	Body     map[string]any
	Envelope struct {
		ID, Key, At, Type, URL, Path, Title, Referrer, Name string
		Data                                                map[string]any
	}
}

// brief is the part of a message that most tests compare: its type, and the event's name where there is one.
func (m message) brief() string {
	if m.Envelope.Name != "" {
		return m.Envelope.Type + " " + m.Envelope.Name
	}
	return m.Envelope.Type
}

// request is one request as it arrived.
type request struct {
	At       time.Time
	Path     string
	Header   http.Header
	Array    bool
	Cut      bool
	Messages []message
}

// answer is what the gateway does with a request. The zero value is 200 with an ok for each message.
type answer struct {
	Status int
	Header map[string]string
	Body   string
	Cut    bool            // close the connection instead
	After  <-chan struct{} // answer only then
}

// gateway serves the script, the pages of testdata and an ingest endpoint that records.
type gateway struct {
	t      *testing.T
	scheme string
	port   string

	mu       sync.Mutex
	requests []request
	answer   func(r request) answer
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, "http", (*httptest.Server).Start)
}

// newSecureGateway is a gateway on https, with a certificate that the browser of the tests accepts.
func newSecureGateway(t *testing.T) *gateway {
	t.Helper()
	return startGateway(t, "https", (*httptest.Server).StartTLS)
}

func startGateway(t *testing.T, scheme string, start func(*httptest.Server)) *gateway {
	t.Helper()
	g := &gateway{t: t, scheme: scheme}
	e := echo.New()
	widget.Mount(e, widget.Settings{})
	e.POST("/ingest", echo.WrapHandler(http.HandlerFunc(g.ingest)))
	e.GET("/empty", func(c echo.Context) error { return c.HTML(http.StatusOK, "<!doctype html><title>Empty</title>") })
	e.GET("/:page", g.page)
	e.GET("/shop/:page", g.page)
	// As behind a proxy that publishes the gateway under a prefix.
	proxied := http.NewServeMux()
	proxied.Handle("/", e)
	proxied.Handle("/some/prefix/", http.StripPrefix("/some/prefix", e))
	server := httptest.NewUnstartedServer(proxied)
	start(server)
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	g.port = port
	return g
}

// page serves a page of testdata with the gateway's address in it, at any path that begins with its name.
func (g *gateway) page(c echo.Context) error {
	name, _, _ := strings.Cut(c.Param("page"), ".")
	text, err := os.ReadFile(filepath.Join("testdata", name+".html"))
	if errors.Is(err, os.ErrNotExist) {
		return echo.ErrNotFound
	} else if err != nil {
		return err
	}
	html, err := template.New(name).Parse(string(text))
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", "text/html; charset=utf-8")
	return html.Execute(c.Response(), map[string]string{"Gateway": g.at("gate.localhost")})
}

func (g *gateway) ingest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	got := request{At: time.Now(), Path: r.RequestURI, Header: r.Header}
	items := []json.RawMessage{body}
	if got.Array = strings.HasPrefix(string(body), "["); got.Array {
		if err := json.Unmarshal(body, &items); err != nil {
			g.t.Errorf("body isn't JSON: %v: %.200s", err, body)
		}
	}
	for _, item := range items {
		var m message
		if err := json.Unmarshal(item, &m.Body); err != nil {
			g.t.Errorf("body isn't JSON: %v: %.200s", err, item)
			continue
		}
		envelope, _ := json.Marshal(m.Body["$"])
		if err := json.Unmarshal(envelope, &m.Envelope); err != nil {
			g.t.Errorf("envelope: %v", err)
		}
		delete(m.Body, "$")
		got.Messages = append(got.Messages, m)
	}
	g.mu.Lock()
	nth := len(g.requests)
	g.requests = append(g.requests, got)
	decide := g.answer
	g.mu.Unlock()

	var a answer
	if decide != nil {
		a = decide(got)
	}
	g.mu.Lock()
	g.requests[nth].Cut = a.Cut
	g.mu.Unlock()
	if a.After != nil {
		select {
		case <-a.After:
		case <-r.Context().Done():
			return
		}
	}
	if a.Cut {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Retry-After")
	w.Header().Set("Content-Type", "application/json")
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	w.WriteHeader(a.Status)
	if a.Body == "" {
		a.Body = `{"status":"ok"}`
		if got.Array {
			a.Body = `{"results":[` + strings.TrimSuffix(strings.Repeat(a.Body+",", len(items)), ",") + `]}`
		}
	}
	_, _ = io.WriteString(w, a.Body)
}

// at is an address of the server under a host name.
func (g *gateway) at(host string) string { return g.scheme + "://" + net.JoinHostPort(host, g.port) }

// site is an address on the site that has the script.
func (g *gateway) site(path string) string { return g.at("shop.localhost") + path }

// decide sets what later requests are answered with.
func (g *gateway) decide(answer func(r request) answer) {
	g.mu.Lock()
	g.answer = answer
	g.mu.Unlock()
}

// always answers every request alike.
func always(a answer) func(request) answer { return func(request) answer { return a } }

func (g *gateway) received() []request {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.requests)
}

// answered returns the requests that were not cut off. A tab may try again at any moment, so a count of requests taken
// before decide says nothing about which of them got an answer.
func (g *gateway) answered() []request {
	return slices.DeleteFunc(g.received(), func(r request) bool { return r.Cut })
}

// messages returns what arrived, each message once, in the order of its first arrival.
func (g *gateway) messages() []message {
	var all []message
	seen := map[string]bool{}
	for _, r := range g.received() {
		for _, m := range r.Messages {
			if !seen[m.Envelope.ID] {
				seen[m.Envelope.ID] = true
				all = append(all, m)
			}
		}
	}
	return all
}

// wait waits until something holds for what arrived.
func (g *gateway) wait(what string, holds func() bool) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			g.t.Fatalf("never saw %s; got %q", what, briefs(g.messages()))
		}
	}
}

// through makes the tab send one more event and returns all messages before it: what didn't come by then doesn't come.
func (g *gateway) through(b *tab) []message {
	g.t.Helper()
	b.run(`userengage('event.end')`)
	return g.upTo("event end")
}

// upTo waits for a message and returns all that came before it.
func (g *gateway) upTo(brief string) []message {
	g.t.Helper()
	var found int
	g.wait(brief, func() bool {
		found = slices.Index(briefs(g.messages()), brief)
		return found >= 0
	})
	return g.messages()[:found]
}

func briefs(messages []message) []string {
	out := []string{}
	for _, m := range messages {
		out = append(out, m.brief())
	}
	return out
}
