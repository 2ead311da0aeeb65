package web_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/web"
)

// get asks the stack for a path; headers come in pairs.
func (s *stack) get(method, path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.base+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res, string(body)
}

var (
	shownPage   = regexp.MustCompile(`(?s)<section class="page" data-path="([^"]+)" data-title="[^"]+" >`)
	shownText   = regexp.MustCompile(`(?s)<pre [^>]*><code>(.*?)</code></pre>`)
	runText     = regexp.MustCompile(`(?s)<script nonce="(\w+)" id="civchat"[^>]*>(.*?)</script>`)
	policyNonce = regexp.MustCompile(`'nonce-(\w+)'`)
)

func TestPages(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for name, tc := range map[string]struct {
		path   string
		cookie string
		status int
		page   string // that is to be seen
		says   []string
		not    []string
	}{
		"home":               {path: "/demo", status: 200, page: "/demo", says: []string{"Anonymous visitor", `apiKey: "A1B2C3"`}, not: []string{`class="avatar small"`}},
		"home with slash":    {path: "/demo/", status: 200, page: "/demo"},
		"coffees":            {path: "/demo/coffees", status: 200, page: "/demo/coffees", says: []string{"€14.50<", "€15.00<", "€49 <"}, not: []string{"€15<"}},
		"a coffee":           {path: "/demo/coffees/huila", status: 200, page: "/demo/coffees/huila", says: []string{"<title>Huila · Fernhill</title>"}},
		"cart with slash":    {path: "/demo/cart/", status: 200, page: "/demo/cart"},
		"with a query":       {path: "/demo/pricing?__ca__chat=abc", status: 200, page: "/demo/pricing"},
		"unknown":            {path: "/demo/none", status: 404, page: "/demo/404"},
		"unknown coffee":     {path: "/demo/coffees/tea", status: 404, page: "/demo/404"},
		"the 404's own name": {path: "/demo/404", status: 404, page: "/demo/404"},
		"signed in":          {path: "/demo/account", cookie: "demo-ada", status: 200, page: "/demo/account", says: []string{"Signed in as Ada Lovelace", `aria-pressed="true"`}},
		"made-up person":     {path: "/demo", cookie: "demo-eve", status: 200, page: "/demo", says: []string{"Anonymous visitor"}},
		"hostile person":     {path: "/demo", cookie: "<script>", status: 200, page: "/demo", says: []string{"Anonymous visitor"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, body := s.get(http.MethodGet, tc.path, "Cookie", "civgate_demo="+tc.cookie)
			if res.StatusCode != tc.status {
				t.Errorf("status %d, want %d", res.StatusCode, tc.status)
			}
			var shown []string
			for _, m := range shownPage.FindAllStringSubmatch(body, -1) {
				shown = append(shown, m[1])
			}
			if diff := cmp.Diff([]string{tc.page}, shown); diff != "" {
				t.Errorf("pages that are shown (-want +got):\n%s", diff)
			}
			for _, want := range tc.says {
				if !strings.Contains(html.UnescapeString(body), want) {
					t.Errorf("the page doesn't say %q", want)
				}
			}
			for _, bad := range tc.not {
				if strings.Contains(body, bad) {
					t.Errorf("the page says %q", bad)
				}
			}
			run := runText.FindStringSubmatch(body)
			shownSnippet := shownText.FindStringSubmatch(body)
			if run == nil || shownSnippet == nil || !strings.Contains(html.UnescapeString(shownSnippet[1]), run[2]) {
				t.Errorf("the page runs %q and shows %q", run, shownSnippet)
			}
			nonce := policyNonce.FindStringSubmatch(res.Header.Get("Content-Security-Policy"))
			if nonce == nil || nonce[1] != run[1] {
				t.Errorf("the policy is %q, the snippet's nonce %q", res.Header.Get("Content-Security-Policy"), run[1])
			}
			head, empty := s.get(http.MethodHead, tc.path)
			if head.StatusCode != tc.status || empty != "" {
				t.Errorf("HEAD answers %d with %d bytes", head.StatusCode, len(empty))
			}
			if again := policyNonce.FindStringSubmatch(head.Header.Get("Content-Security-Policy")); again[1] == nonce[1] {
				t.Error("two answers have the same nonce")
			}
		})
	}
}

func TestPageHeaders(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	res, body := s.get(http.MethodGet, "/demo")
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=UTF-8",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "same-origin",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	policy := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q has no %q", policy, want)
		}
	}
	for _, bad := range []string{"unsafe", "*", "http:"} {
		if strings.Contains(policy, bad) {
			t.Errorf("the policy %q has %q", policy, bad)
		}
	}
	if m := regexp.MustCompile(`\s(style|on\w+)="`).FindString(body); m != "" {
		t.Errorf("the page has an attribute %q, which its policy forbids", m)
	}
}

func TestAssets(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	_, page := s.get(http.MethodGet, "/demo")
	kinds := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	links := regexp.MustCompile(`"(/demo/assets/demo\.(\w+))(\?v=\w+)"`).FindAllStringSubmatch(page, -1)
	if len(links) != len(kinds) {
		t.Fatalf("the page links to %q", links)
	}
	for _, m := range links {
		path, ext, version := m[1], m[2], m[3]
		t.Run(ext, func(t *testing.T) {
			t.Parallel()
			res, body := s.get(http.MethodGet, path+version)
			if res.StatusCode != 200 || body == "" || res.Header.Get("Content-Type") != kinds[ext] {
				t.Errorf("%d, %d bytes of %q", res.StatusCode, len(body), res.Header.Get("Content-Type"))
			}
			if got := res.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
				t.Errorf("Cache-Control of the version's own address: %q", got)
			}
			tag := res.Header.Get("ETag")
			for _, given := range []string{tag, "W/" + tag, `"x", ` + tag, "*"} {
				if res, body := s.get(http.MethodGet, path+version, "If-None-Match", given); res.StatusCode != 304 || body != "" {
					t.Errorf("If-None-Match %s: %d with %d bytes", given, res.StatusCode, len(body))
				}
			}
			for _, other := range []string{path, path + "?v=old"} {
				if res, _ := s.get(http.MethodGet, other); res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-cache" {
					t.Errorf("%s: %d, Cache-Control %q", other, res.StatusCode, res.Header.Get("Cache-Control"))
				}
			}
			if res, body := s.get(http.MethodHead, path); res.StatusCode != 200 || body != "" {
				t.Errorf("HEAD: %d with %d bytes", res.StatusCode, len(body))
			}
		})
	}
	for _, path := range []string{"/demo/assets/none.js", "/demo/assets/..%2ftemplates%2fdemo.html", "/demo/assets/"} {
		if res, _ := s.get(http.MethodGet, path); res.StatusCode != 404 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}

// watch is an open stream of the live view.
type watch struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// watch opens the stream of a key from a local address, "" for any.
func (s *stack) watch(t *testing.T, key, from string) *watch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	dialer := &net.Dialer{}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	transport := &http.Transport{DialContext: dialer.DialContext}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/demo/live?key="+key, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	w := &watch{t: t, res: res, lines: bufio.NewScanner(res.Body), cancel: cancel}
	t.Cleanup(w.close)
	return w
}

func (w *watch) close() {
	w.cancel()
	w.res.Body.Close()
}

// next returns the next snapshot as it was sent.
func (w *watch) next() string {
	w.t.Helper()
	for w.lines.Scan() {
		if data, ok := strings.CutPrefix(w.lines.Text(), "data: "); ok {
			return data
		}
	}
	w.t.Fatalf("the stream ended: %v", w.lines.Err())
	return ""
}

// ended reports whether the stream ends without another snapshot.
func (w *watch) ended() bool {
	for w.lines.Scan() {
		if strings.HasPrefix(w.lines.Text(), "data: ") {
			return false
		}
	}
	return w.lines.Err() == nil
}

// snapshot is what tests look at in one.
type snapshot struct {
	State   string
	Contact *struct {
		Key, Name, Status, Email, Phone string
		CustomID                        string `json:"custom_id"`
		Known                           bool
		Browsers                        int
		PageViews                       int `json:"page_views"`
	}
	Companies []struct {
		Hidden     bool
		ID, Name   string
		Source     string
		People     int
		Attributes []attribute
	}
	Attributes []attribute
	Timeline   []struct {
		Kind, Title, Path, Key string
		Other                  bool
		Views                  int
		Details                [][2]string
	}
}

type attribute struct {
	Name, Type, Text string
	Items            []string
}

func (w *watch) snapshot() snapshot {
	w.t.Helper()
	var s snapshot
	if err := json.Unmarshal([]byte(w.next()), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// payload is a message of a browser.
func payload(id, key, kind string, more map[string]any) map[string]any {
	p := map[string]any{"apiKey": apiKey}
	envelope := map[string]any{"id": id, "key": key, "type": kind}
	for name, value := range more {
		switch name {
		case "path":
			envelope["url"], envelope["path"], envelope["title"] = fmt.Sprintf("https://shop.example%s?token=hidden", value), value, value
		case "event":
			envelope["name"] = value
		case "data":
			envelope["data"] = value
		default:
			p[name] = value
		}
	}
	p["$"] = envelope
	return p
}

func TestLiveFollows(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const key = "follower0001"
	w := s.watch(t, key, "")
	if got := w.res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Errorf("Content-Type %q", got)
	}
	if got := w.snapshot(); got.State != "unknown" {
		t.Errorf("before anything was stored: %+v", got)
	}

	s.post(payload("m1", key, "page", map[string]any{"path": "/a"}))
	got := w.snapshot()
	if got.State != "contact" || got.Contact.Known || got.Contact.Key != "fol" || got.Contact.PageViews != 1 || got.Timeline[0].Path != "/a" {
		t.Errorf("after the first page view: %+v", got)
	}

	// Somebody else's visit says nothing new: the next snapshot is that of our own.
	s.post(payload("m2", "somebody0002", "page", map[string]any{"path": "/elsewhere"}))
	s.post(payload("m3", key, "event", map[string]any{"event": "Plan chosen", "data": map[string]any{
		"seats": 50, "yearly": true, "nested": map[string]any{"a": 1}, "currency": "EUR", "name": "Floor", "nothing": nil, "zone": "EU",
	}}))
	got = w.snapshot()
	if len(got.Timeline) != 2 || got.Timeline[0].Title != "Plan chosen" {
		t.Fatalf("after the event: %+v", got)
	}
	if diff := cmp.Diff([][2]string{{"name", "Floor"}, {"seats", "50"}, {"yearly", "true"}}, got.Timeline[0].Details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}

	s.post(payload("m4", key, "update", map[string]any{
		"user_id": "demo-ada", "name": "Ada", "score": 0, "born": "1815-12-10", "likes": []string{"a", "b"}, "size": map[string]any{"w": 2},
		"company": map[string]any{"company_id": "demo-engines", "name": "Engines", "founded": "1837-01-01"},
	}))
	got = w.snapshot()
	if !got.Contact.Known || got.Contact.CustomID != "demo-ada" || got.Contact.Status != "user" || got.Contact.PageViews != 1 {
		t.Errorf("after signing in: %+v", got.Contact)
	}
	want := []attribute{
		{Name: "born", Type: "date", Text: "1815-12-10"},
		{Name: "likes", Type: "list", Items: []string{"a", "b"}},
		{Name: "score", Type: "number", Text: "0"},
		{Name: "size", Type: "json", Text: `{"w":2}`},
	}
	if diff := cmp.Diff(want, got.Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	if len(got.Companies) != 1 || got.Companies[0].Source != "widget" || got.Companies[0].People != 1 || got.Companies[0].Attributes[0].Type != "date" {
		t.Errorf("companies: %+v", got.Companies)
	}

	// Another browser of hers, which had two page views before.
	s.post(
		payload("m5", "laptop000002", "page", map[string]any{"path": "/x"}),
		payload("m6", "laptop000002", "page", map[string]any{"path": "/y"}),
		payload("m7", "laptop000002", "update", map[string]any{"user_id": "demo-ada"}),
	)
	for got = w.snapshot(); got.Contact.Browsers < 2; got = w.snapshot() {
	}
	if got.Contact.PageViews != 3 {
		t.Errorf("after the merge: %+v", got.Contact)
	}
	var merges int
	for _, e := range got.Timeline {
		switch {
		case e.Kind == "merge":
			merges++
			if e.Key != "lap" || e.Views != 2 {
				t.Errorf("the merge is told as %+v", e)
			}
		case (e.Path == "/x" || e.Path == "/y") != e.Other:
			t.Errorf("another browser's: %+v", e)
		}
	}
	if merges != 1 {
		t.Errorf("%d merges", merges)
	}
}

// TestLongMerge merges visitors into somebody with more history than is read:
// a number is told only when it is the right one.
func TestLongMerge(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	var all []map[string]any
	visit := func(key string, n int) {
		for range n {
			all = append(all, payload(fmt.Sprintf("m%d", len(all)), key, "page", map[string]any{"path": "/x"}))
		}
	}
	signIn := func(key string) {
		all = append(all, payload(fmt.Sprintf("m%d", len(all)), key, "update", map[string]any{"user_id": "demo-ada"}))
	}
	signIn("adas00000001")
	visit("early0000001", 150)
	visit("adas00000001", 100)
	signIn("early0000001")
	visit("late00000001", 3)
	signIn("late00000001")
	s.post(all...)
	got := map[string]int{}
	for _, e := range s.watch(t, "adas00000001", "").snapshot().Timeline {
		if e.Kind == "merge" {
			got[e.Key] = e.Views
		}
	}
	if diff := cmp.Diff(map[string]int{"ear": 0, "lat": 3}, got); diff != "" {
		t.Errorf("views of the merged visitors (-want +got):\n%s", diff)
	}
}

// TestLiveShowsNobodyElse looks for what the demo must not tell in all that a
// stream sends.
func TestLiveShowsNobodyElse(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.post(
		payload("m1", "knownbyid001", "page", map[string]any{"path": "/secret", "user_id": "42", "email": "secret@acme.example", "name": "Secret", "company": map[string]any{"company_id": "c7", "name": "Secret Ltd", "revenue": "secret"}}),
		payload("m2", "knownbymail1", "page", map[string]any{"path": "/secret", "email": "secret@acme.example"}),
		payload("m3", "looksalike01", "page", map[string]any{"path": "/secret", "user_id": "demo-secret", "name": "Secret"}),
		payload("m4", "capital00001", "page", map[string]any{"path": "/secret", "user_id": "Demo-Ada", "name": "Secret"}),
		// Anybody can say that they work for anybody.
		payload("m5", "outsider0001", "update", map[string]any{"user_id": "demo-ada", "company": map[string]any{"company_id": "c7"}}),
		payload("m6", "anonymous001", "page", map[string]any{"path": "/a", "company": map[string]any{"company_id": "c7"}}),
	)
	for name, tc := range map[string]struct{ key, state string }{
		"known by user_id":                {"knownbyid001", "elsewhere"},
		"known by e-mail":                 {"knownbymail1", "elsewhere"},
		"user_id like the demo's":         {"looksalike01", "elsewhere"},
		"the demo's in capitals":          {"capital00001", "elsewhere"},
		"demo person in a real company":   {"outsider0001", "contact"},
		"anonymous one in a real company": {"anonymous001", "contact"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := s.watch(t, tc.key, "")
			sent := w.next()
			var got snapshot
			if err := json.Unmarshal([]byte(sent), &got); err != nil {
				t.Fatal(err)
			}
			if got.State != tc.state {
				t.Errorf("state %q, want %q", got.State, tc.state)
			}
			for _, bad := range []string{"secret", "Secret", "c7", tc.key, "token"} {
				if strings.Contains(sent, bad) {
					t.Errorf("the stream tells %q: %s", bad, sent)
				}
			}
			if tc.state == "contact" && (len(got.Companies) != 1 || !got.Companies[0].Hidden) {
				t.Errorf("companies: %+v", got.Companies)
			}
		})
	}
}

func TestLiveBounds(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	long := strings.Repeat("ü", 3000)
	attributes := map[string]any{"user_id": "demo-ada", "name": long, "list": strings.Split(strings.Repeat("x,", 40), ",")}
	for i := range 150 {
		attributes[fmt.Sprintf("attribute_%03d", i)] = i
	}
	s.post(payload("m0", "manythings01", "update", attributes))
	for i := range 250 {
		s.post(payload(fmt.Sprintf("p%d", i), "manythings01", "page", map[string]any{"path": fmt.Sprintf("/%d", i)}))
	}
	w := s.watch(t, "manythings01", "")
	sent := w.next()
	var got snapshot
	if err := json.Unmarshal([]byte(sent), &got); err != nil {
		t.Fatal(err)
	}
	if len(sent) > 32<<10 || len(got.Timeline) > 40 || len(got.Attributes) > 60 {
		t.Errorf("%d bytes, %d entries, %d attributes", len(sent), len(got.Timeline), len(got.Attributes))
	}
	if got.Contact.PageViews != 250 {
		t.Errorf("%d page views", got.Contact.PageViews)
	}
	if n := len([]rune(got.Contact.Name)); n > 201 {
		t.Errorf("a name of %d characters", n)
	}
}

// TestLiveSaysWhenItCanNotRead gives the demo a store that is closed.
func TestLiveSaysWhenItCanNotRead(t *testing.T) {
	t.Parallel()
	data, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	s := newStackWith(t, web.Demo{Read: data, Log: zap.NewNop()})
	w := s.watch(t, "abcdefgh1234", "")
	for w.lines.Scan() && !strings.HasPrefix(w.lines.Text(), "event: ") {
	}
	if got := w.lines.Text(); got != "event: trouble" {
		t.Errorf("the stream says %q", got)
	}
	if got := w.next(); got != "{}" {
		t.Errorf("with the trouble comes %s", got)
	}
}

func TestLiveRefuses(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for name, tc := range map[string]struct {
		query  string
		header []string
		status int
		code   gateway.Code
	}{
		"no key":       {"", nil, 400, gateway.CodeInvalid},
		"odd key":      {"?key=%3Cscript%3E", nil, 400, gateway.CodeInvalid},
		"endless key":  {"?key=" + strings.Repeat("a", 1000), nil, 400, gateway.CodeInvalid},
		"another site": {"?key=abcdefgh1234", []string{"Sec-Fetch-Site", "cross-site"}, 403, gateway.CodeForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			res, body := s.get(http.MethodGet, "/demo/live"+tc.query, tc.header...)
			var answer struct {
				Error struct {
					Code    gateway.Code
					Message string
				}
			}
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != tc.status || answer.Error.Code != tc.code || answer.Error.Message == "" {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if got := res.Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("other sites may read it: %q", got)
			}
		})
	}
}

func TestLiveStreamsAreCounted(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	open := func(from string) *watch { return s.watch(t, "counted00001", from) }
	refused := func(w *watch) bool {
		return w.res.StatusCode == http.StatusServiceUnavailable && w.res.Header.Get("Retry-After") != ""
	}
	var all []*watch
	for host := range 10 {
		from := fmt.Sprintf("127.0.0.%d", 10+host)
		for range 20 {
			w := open(from)
			if w.res.StatusCode != http.StatusOK {
				t.Fatalf("stream %d from %s: %d", len(all), from, w.res.StatusCode)
			}
			all = append(all, w)
		}
		if !refused(open(from)) {
			t.Fatalf("%s may open more than its share", from)
		}
	}
	if !refused(open("127.0.0.99")) {
		t.Fatal("there is no bound for all streams")
	}
	// Who goes makes room for others and for themselves, as soon as the server
	// has noticed.
	all[0].close()
	all[1].close()
	deadline := time.Now().Add(patience)
	for _, from := range []string{"127.0.0.99", "127.0.0.10"} {
		for open(from).res.StatusCode != http.StatusOK {
			if time.Now().After(deadline) {
				t.Fatalf("a closed stream keeps its place from %s", from)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	s.stop()
	for i, w := range all[2:] {
		for !w.ended() {
			if w.lines.Err() != nil {
				t.Fatalf("stream %d did not end with the server: %v", i+2, w.lines.Err())
			}
		}
	}
}
