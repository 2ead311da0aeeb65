package web_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store/pgtest"
	"civgate/web"
)

// shownWithin bounds how long a refusal may take to be shown. The panel promises two
// seconds; a machine that is busy with other tests gets more.
const shownWithin = 10 * time.Second

// otherKey is the apiKey of a second workspace.
const otherKey = "OTHER1"

// restCodes are the codes that POST /ingest never answers with: they are of the REST
// API and the panel.
var restCodes = []gateway.Code{gateway.CodeUnauthorized, gateway.CodeForbidden, gateway.CodeNotFound, gateway.CodeConflict, gateway.CodeKeyReused}

// sent is a request to the ingest endpoint.
type sent struct {
	method, body, origin, coding string
	from                         string // the address that it comes from
	length                       int64  // announced, if another than the body's
}

// refusalCase is a way to be refused.
type refusalCase struct {
	name   string
	code   gateway.Code
	status int
	sent   sent
	times  int // it is sent up to so often until it is refused; once if 0
	// whose it is where there are two workspaces: the first one's ("theirs"), nobody's
	// ("nobody"), or the first one's without the text ("website").
	whose string
}

const (
	theirs  = "theirs"
	nobody  = "nobody"
	website = "website"
)

const (
	homeOrigin  = "https://shop.test"
	panicMarker = "please panic"
)

// refusalCases provoke every code that POST /ingest answers with, some in several ways.
// CodeUnavailable is provoked by TestRefusedByFullInbox.
func refusalCases() []refusalCase {
	key := `{"apiKey":"` + apiKey + `"`
	packed := func(text string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, text); err != nil {
			panic(err)
		}
		if err := z.Close(); err != nil {
			panic(err)
		}
		return b.String()
	}
	pad := func(n int) string { return strings.Repeat("x", n) }
	batch := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(key+`},`, n), ",") + "]" }
	const elsewhere = "https://elsewhere.test"
	return []refusalCase{
		{"broken JSON", gateway.CodeInvalidPayload, 400, sent{body: key + `,"user_id":"42",}`}, 0, theirs},
		{"no JSON", gateway.CodeInvalidPayload, 400, sent{body: "hello"}, 0, nobody},
		{"no JSON from the website", gateway.CodeInvalidPayload, 400, sent{body: "hello", origin: homeOrigin}, 0, website},
		{"empty", gateway.CodeInvalidPayload, 400, sent{}, 0, nobody},
		{"broken array", gateway.CodeInvalidPayload, 400, sent{body: "[" + key + `},`}, 0, theirs},
		{"empty array", gateway.CodeInvalidPayload, 400, sent{body: "[]"}, 0, nobody},
		{"one of an array", gateway.CodeInvalidPayload, 200, sent{body: `[7,` + key + `}]`}, 0, nobody},
		{"not sent to its end", gateway.CodeInvalidPayload, 400, sent{body: key + `,"user_id":"42"`, length: 500}, 0, theirs},
		{"broken gzip", gateway.CodeInvalidPayload, 400, sent{body: "not gzip", coding: "gzip"}, 0, nobody},
		{"another coding", gateway.CodeInvalidPayload, 400, sent{body: key + `}`, coding: "br", origin: homeOrigin}, 0, website},
		{"unknown apiKey", gateway.CodeUnknownAPIKey, 401, sent{body: `{"apiKey":"TYPO","user_id":"42"}`}, 0, nobody},
		{"no apiKey", gateway.CodeUnknownAPIKey, 401, sent{body: `{"user_id":"42"}`, origin: elsewhere}, 0, nobody},
		{"unknown apiKey of the website", gateway.CodeUnknownAPIKey, 401, sent{body: `{"apiKey":"TYPO","user_id":"42"}`, origin: homeOrigin}, 0, website},
		{"another website", gateway.CodeOriginNotAllowed, 403, sent{body: key + `,"user_id":"42"}`, origin: elsewhere}, 0, theirs},
		{"excluded address", gateway.CodeAddressExcluded, 403, sent{body: key + `}`, from: "203.0.113.9"}, 0, theirs},
		{"not verified", gateway.CodeNotVerified, 403, sent{body: key + `,"user_id":"42","user_hash":"00"}`, origin: homeOrigin}, 0, theirs},
		{"large payload", gateway.CodeTooLarge, 413, sent{body: key + `,"pad":"` + pad(gateway.MaxPayload) + `"}`}, 0, theirs},
		{"large payload, apiKey last", gateway.CodeTooLarge, 413, sent{body: `{"pad":"` + pad(2*gateway.MaxPayload) + `","apiKey":"` + apiKey + `"}`}, 0, theirs},
		{"51 payloads", gateway.CodeTooLarge, 413, sent{body: batch(gateway.MaxBatch + 1)}, 0, theirs},
		{"large body", gateway.CodeTooLarge, 413, sent{body: key + `,"pad":"` + pad(gateway.MaxBody) + `"}`}, 0, theirs},
		{"large body of unknown length", gateway.CodeTooLarge, 413, sent{body: key + `,"pad":"` + pad(gateway.MaxBody) + `"}`, length: -1}, 0, theirs},
		{"large body in gzip", gateway.CodeTooLarge, 413, sent{body: packed(key + `,"pad":"` + pad(gateway.MaxBody) + `"}`), coding: "gzip"}, 0, theirs},
		{"address too fast", gateway.CodeRateLimited, 429, sent{body: `{"apiKey":"` + otherKey + `"}`, from: "198.51.100.1"}, 30, "other"},
		{"address too fast, packed", gateway.CodeRateLimited, 429, sent{body: packed(key + `}`), coding: "gzip", from: "198.51.100.1"}, 0, nobody},
		{"apiKey too fast", gateway.CodeRateLimited, 200, sent{body: batch(gateway.MaxBatch)}, 3, theirs},
		{"GET", gateway.CodeInvalid, 405, sent{method: http.MethodGet}, 0, nobody},
		{"PUT", gateway.CodeInvalid, 405, sent{method: http.MethodPut, body: key + `}`}, 0, theirs},
		{"a method of its own", gateway.CodeInvalid, 405, sent{method: "KNOCK", origin: homeOrigin}, 0, website},
		{"a fault", gateway.CodeInternal, 500, sent{body: key + `,"x":"` + panicMarker + `"}`}, 0, theirs},
	}
}

// TestRefusalsAreComplete: every code of the gateway is provoked, or never answered by
// POST /ingest. Who adds a code has to decide.
func TestRefusalsAreComplete(t *testing.T) {
	t.Parallel()
	provoked := []gateway.Code{gateway.CodeUnavailable}
	for _, tt := range refusalCases() {
		provoked = append(provoked, tt.code)
	}
	for _, code := range gatewayCodes(t) {
		if slices.Contains(provoked, code) == slices.Contains(restCodes, code) {
			t.Errorf("%s has to be either in refusalCases or in restCodes", code)
		}
		if slices.Contains(provoked, code) && web.RefusalTodo(code) == "" {
			t.Errorf("the panel doesn't say what to do about %s", code)
		}
	}
}

// gatewayCodes are the constants of type Code that package gateway declares.
func gatewayCodes(t *testing.T) (codes []gateway.Code) {
	t.Helper()
	files, err := filepath.Glob("../gateway/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			consts, ok := decl.(*ast.GenDecl)
			if !ok || consts.Tok != token.CONST {
				continue
			}
			for _, spec := range consts.Specs {
				value := spec.(*ast.ValueSpec)
				typed, ok := value.Type.(*ast.Ident)
				for i, v := range value.Values {
					if call, is := v.(*ast.CallExpr); is && len(call.Args) == 1 {
						typed, ok = call.Fun.(*ast.Ident)
						v = call.Args[0]
					}
					lit, text := v.(*ast.BasicLit)
					if !ok || typed.Name != "Code" || !text {
						continue
					}
					code, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatalf("%s: %v", value.Names[i], err)
					}
					codes = append(codes, gateway.Code(code))
				}
			}
		}
	}
	if len(codes) < 15 {
		t.Fatalf("only %d codes were found: %v", len(codes), codes)
	}
	return codes
}

// faulty is a gateway with a fault in it.
type faulty struct{ api.Acceptor }

func (f faulty) Accept(ctx context.Context, r gateway.Request) ([]gateway.Result, bool, error) {
	if bytes.Contains(r.Body, []byte(panicMarker)) {
		panic("a fault")
	}
	return f.Acceptor.Accept(ctx, r)
}

// newRefusingStack is a stack that can answer with every code.
func newRefusingStack(t *testing.T, database string) *stack {
	t.Helper()
	settings := gateway.DefaultSettings()
	settings.Origins = []string{"shop.test"}
	settings.ExcludedAddresses = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	settings.VerifyIdentity, settings.IdentitySecret = true, "secret"
	return newStackFrom(t, web.Demo{}, settings, database, door{
		limits:  map[string]cache.Limit{"ip": {PerSecond: 0.01, Burst: 20}, "key": {PerSecond: 0.01, Burst: 60}},
		trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		accept:  func(a api.Acceptor) api.Acceptor { return faulty{a} },
	})
}

// send sends a request and returns the status and the error of the answer, for an array
// the first of those.
func (s *stack) send(r sent) (status int, code gateway.Code, message string) {
	s.t.Helper()
	u, err := url.Parse(s.base)
	if err != nil {
		s.t.Fatal(err)
	}
	c, err := (&net.Dialer{}).DialContext(s.t.Context(), "tcp", u.Host)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	method := r.method
	if method == "" {
		method = http.MethodPost
	}
	var head strings.Builder
	fmt.Fprintf(&head, "%s /ingest HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", method, u.Host)
	body := r.body
	switch r.length {
	case -1:
		head.WriteString("Transfer-Encoding: chunked\r\n")
		body = fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	case 0:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", len(body))
	default:
		fmt.Fprintf(&head, "Content-Length: %d\r\n", r.length)
	}
	for name, value := range map[string]string{"Origin": r.origin, "Content-Encoding": r.coding, "X-Forwarded-For": r.from} {
		if value != "" {
			fmt.Fprintf(&head, "%s: %s\r\n", name, value)
		}
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = io.WriteString(c, head.String()+"\r\n"+body) // who is refused early may not get rid of all of it
		if r.length > 0 {
			_ = c.(*net.TCPConn).CloseWrite() // the rest never comes
		}
	}()
	defer func() {
		_ = c.Close()
		<-written
	}()
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	type failure struct {
		Error struct {
			Code    gateway.Code
			Message string
		}
	}
	var a struct {
		failure
		Results []failure
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		s.t.Fatalf("%d: %v", res.StatusCode, err)
	}
	for _, f := range append([]failure{a.failure}, a.Results...) {
		if f.Error.Code != "" {
			return res.StatusCode, f.Error.Code, f.Error.Message
		}
	}
	return res.StatusCode, "", ""
}

// inspectorEvents are the ids of the lines that an inspector's stream sends, and the
// words of what waits, until the test ends or stop is called.
func (c *client) inspectorEvents(w gateway.WorkspaceID, query string) (lines <-chan int64, waiting <-chan string, stop func()) {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	r := c.request(http.MethodGet, fmt.Sprintf("/panel/inspector/stream?workspace=%d&%s", w, query), nil).WithContext(ctx)
	endless := c.http
	endless.Timeout = 0
	res, err := endless.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		c.t.Fatalf("the stream of %s: %d", query, res.StatusCode)
	}
	ids, texts, done := make(chan int64, 1000), make(chan string, 1000), make(chan struct{})
	go func() {
		defer close(done)
		in := bufio.NewScanner(res.Body)
		in.Buffer(nil, 1<<22)
		event := ""
		for in.Scan() {
			if name, ok := strings.CutPrefix(in.Text(), "event: "); ok {
				event = name
			}
			data, ok := strings.CutPrefix(in.Text(), "data: ")
			if !ok {
				continue
			}
			var text string
			if json.Unmarshal([]byte(data), &text) != nil {
				continue
			}
			if event == "waiting" {
				texts <- text
				continue
			}
			for _, m := range lineID.FindAllStringSubmatch(text, -1) {
				if id, err := strconv.ParseInt(m[1], 10, 64); err == nil {
					ids <- id
				}
			}
		}
	}()
	stop = func() {
		cancel()
		_ = res.Body.Close() // it was cut
		<-done
	}
	c.t.Cleanup(stop)
	return ids, texts, stop
}

// TestEveryRefusalIsShown provokes every code over HTTP and sees it come in the
// inspector by itself: in that of the workspace, or among those of nobody, and with the
// reason that was answered.
func TestEveryRefusalIsShown(t *testing.T) {
	t.Parallel()
	t.Run("one workspace", func(t *testing.T) {
		t.Parallel()
		everyRefusal(t, newRefusingStack(t, filepath.Join(t.TempDir(), "civgate.db")), true)
	})
	t.Run("two workspaces", func(t *testing.T) {
		t.Parallel()
		everyRefusal(t, newRefusingStack(t, filepath.Join(t.TempDir(), "civgate.db")), false)
	})
	t.Run("two workspaces, PostgreSQL", func(t *testing.T) {
		t.Parallel()
		everyRefusal(t, newRefusingStack(t, pgtest.Shared(t).NewDatabase(t)), false)
	})
}

func everyRefusal(t *testing.T, s *stack, alone bool) {
	other := s.workspace
	if alone {
		// The second key is the first workspace's, too.
		if err := s.store.AddAPIKey(t.Context(), s.workspace, gateway.APIKey{Kind: gateway.KeyWidget, Secret: otherKey}); err != nil {
			t.Fatal(err)
		}
	} else {
		var err error
		if other, err = s.store.CreateWorkspace(t.Context(), gateway.Workspace{Name: "Other", Settings: gateway.DefaultSettings()}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: otherKey}); err != nil {
			t.Fatal(err)
		}
	}
	owner := s.as(gateway.RoleOwner)
	var slowest time.Duration
	last := map[gateway.WorkspaceID]int64{}
	for i, tt := range refusalCases() {
		if tt.sent.from == "" {
			tt.sent.from = fmt.Sprintf("192.0.2.%d", i)
		}
		home := map[string]gateway.WorkspaceID{theirs: s.workspace, website: s.workspace, nobody: 0, "other": other}[tt.whose]
		if alone {
			home = s.workspace
		}
		query := "verdict=refused&after="
		if home == 0 {
			query = "verdict=nobody&after="
		}
		lines, stop := (<-chan int64)(nil), func() {}
		if home != other || alone { // the agent isn't the other's
			lines, _, stop = owner.inspectorEvents(s.workspace, query+strconv.FormatInt(last[home], 10))
		}
		var status int
		var code gateway.Code
		var message string
		var begun time.Time
		for range max(tt.times, 1) {
			begun = time.Now()
			if status, code, message = s.send(tt.sent); code != "" {
				break
			}
		}
		if code != tt.code || status != tt.status {
			t.Errorf("%s: %d %s (%s), want %d %s", tt.name, status, code, message, tt.status, tt.code)
		}
		found := s.refusalShown(home, last[home], lines, code, message)
		stop()
		if found == nil {
			t.Errorf("%s: %s is not shown", tt.name, tt.code)
			continue
		}
		slowest = max(slowest, time.Since(begun))
		last[home] = found.ID
		d := &found.Detail
		if code != gateway.CodeInternal && d.Reason != message || d.Reason == "" {
			t.Errorf("%s: the reason is %q, want %q", tt.name, d.Reason, message)
		}
		switch {
		case home == 0 && (d.Payload != "" || d.Origin != "" || d.Size != 0):
			t.Errorf("%s: of a stranger's it keeps %+v", tt.name, d)
		case !alone && tt.whose == website && (d.Payload != "" || d.Origin != homeOrigin):
			t.Errorf("%s: of the website's it keeps %+v", tt.name, d)
		case tt.whose == theirs && (d.Payload == "" || strings.Contains(d.Payload, apiKey) || d.Origin != tt.sent.origin):
			t.Errorf("%s: it keeps %+v", tt.name, d)
		case tt.whose == theirs && len(tt.sent.body) > 9<<10 && !d.Cut:
			t.Errorf("%s: nobody is told that it is only the beginning: %d bytes of %d", tt.name, len(d.Payload), d.Size)
		}
		if home == 0 || home == other && !alone {
			continue
		}
		page := owner.page(fmt.Sprintf("/panel/inspector/%d", found.ID))
		for _, want := range []string{"What to do", string(tt.code)} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the payload's page lacks %q", tt.name, want)
			}
		}
	}
	t.Logf("the slowest of all was shown after %v", slowest)
}

// refusalShown waits until the inspector shows a refusal that is newer than an id: by the
// lines of a stream, or for nil by what is kept.
func (s *stack) refusalShown(w gateway.WorkspaceID, after int64, lines <-chan int64, code gateway.Code, message string) *gateway.InspectionView {
	s.t.Helper()
	late := time.After(shownWithin)
	for {
		changed := s.gateway.Inspected()
		all, err := s.gateway.Read().Inspections(s.t.Context(), w, gateway.InspectionQuery{After: after, Limit: 1000})
		if err != nil {
			s.t.Fatal(err)
		}
		for i := range all {
			// What goes wrong inside is told to nobody outside.
			if all[i].Code != code || all[i].Detail.Reason != message && code != gateway.CodeInternal {
				continue
			}
			for lines != nil {
				select {
				case id := <-lines:
					if id == all[i].ID {
						return &all[i]
					}
				case <-late:
					return nil
				}
			}
			return &all[i]
		}
		select {
		case <-changed:
		case <-late:
			return nil
		}
	}
}

// TestRefusedByFullInbox: when nothing can be written the inbox fills, and refuses. That
// is told at once though it can't be kept, and shown once it can.
func TestRefusedByFullInbox(t *testing.T) {
	t.Parallel()
	full := func(t *testing.T, driver, database string, lock ...string) {
		t.Parallel()
		s := newStackFrom(t, web.Demo{}, gateway.DefaultSettings(), database, door{inbox: inbox.Options{MaxPending: 5}})
		owner := s.as(gateway.RoleOwner)
		s.post(map[string]any{"apiKey": apiKey, "user_id": "1"})
		lines, waiting, _ := owner.inspectorEvents(s.workspace, "verdict=refused&after=0")
		b := owner.tab("/panel/inspector?verdict=refused")
		b.until(`document.querySelector('[data-live=on]').checkVisibility()`)

		db, err := sql.Open(driver, database)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		holder, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer holder.Close()
		for _, text := range lock {
			if _, err := holder.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
		release := func() {
			if _, err := holder.ExecContext(context.Background(), "ROLLBACK"); err != nil {
				t.Error(err)
			}
		}
		var code gateway.Code
		var message string
		for i := 0; i < 100 && code == ""; i++ {
			_, code, message = s.send(sent{body: fmt.Sprintf(`{"apiKey":"%s","user_id":"%d"}`, apiKey, i)})
		}
		begun := time.Now()
		if code != gateway.CodeUnavailable {
			t.Errorf("a full inbox answers %q", code)
		}
		for told := ""; !strings.Contains(told, "1 refused (server not available)"); {
			select {
			case told = <-waiting:
			case <-time.After(shownWithin):
				release()
				t.Fatalf("nobody is told, but %q", told)
			}
		}
		t.Logf("it was told after %v", time.Since(begun))
		b.until(`document.querySelector('#waiting').checkVisibility() && document.querySelector('#waiting').textContent.includes('server not available')`)
		if name := map[string]string{"sqlite": "inspector-waiting"}[driver]; name != "" {
			b.everyLook(name)
		}
		release()
		if s.refusalShown(s.workspace, 0, lines, code, message) == nil {
			t.Error("it is not shown afterwards")
		}
		b.until(`!document.querySelector('#waiting').checkVisibility() && document.querySelector('tr[data-line]').textContent.includes('server not available')`)
		s.settle()
	}
	t.Run("sqlite", func(t *testing.T) {
		full(t, "sqlite", filepath.Join(t.TempDir(), "civgate.db"), "PRAGMA busy_timeout = 5000", "BEGIN IMMEDIATE")
	})
	t.Run("postgres", func(t *testing.T) {
		full(t, "pgx", pgtest.Shared(t).NewDatabase(t), "BEGIN", "LOCK TABLE contacts, inspections IN EXCLUSIVE MODE")
	})
}

// TestRefusalsInBrowser sees refusals come in Chromium, and what to do about one.
func TestRefusalsInBrowser(t *testing.T) {
	t.Parallel()
	s := newRefusingStack(t, filepath.Join(t.TempDir(), "civgate.db"))
	b := s.as(gateway.RoleEditor).tab("/panel/inspector?verdict=refused")
	b.until(`document.querySelector('[data-live=on]').checkVisibility()`)
	n := 0
	for i, tt := range refusalCases() {
		if tt.times > 0 || tt.name == "address too fast, packed" {
			continue
		}
		if tt.sent.from == "" {
			tt.sent.from = fmt.Sprintf("192.0.2.%d", i)
		}
		_, code, message := s.send(tt.sent)
		if code != tt.code {
			t.Errorf("%s: %s (%s), want %s", tt.name, code, message, tt.code)
		}
		n++
		b.until(fmt.Sprintf(`document.querySelectorAll('tr[data-line]').length === %d`, n))
		line := eval[string](b, `document.querySelector('tr[data-line]').innerText`)
		if short := web.RefusalShort(tt.code); !strings.Contains(line, short) || code != gateway.CodeInternal && !strings.Contains(line, message) {
			t.Errorf("%s: the line lacks %q or %q:\n%s", tt.name, short, message, line)
		}
	}
	b.everyLook("inspector-refused")
	eval[bool](b, `[...document.querySelectorAll('tr[data-line]')].find((one) => one.textContent.includes('elsewhere.test') && one.textContent.includes('origin not allowed')).querySelector('a').click() ?? true`)
	b.until(`document.querySelector('.unfolded')?.textContent.includes('What to do')`)
	if got := eval[string](b, `document.querySelector('.unfolded dd a').getAttribute('href')`); got != "/panel/settings/privacy#origins" {
		t.Errorf("what to do leads to %s", got)
	}
	b.everyLook("inspector-refused-open")
}

// TestLiveCheckOfRefusals: the check of a website says why a payload of it was refused, and what was
// left out of one that was taken.
func TestLiveCheckOfRefusals(t *testing.T) {
	t.Parallel()
	s := newRefusingStack(t, filepath.Join(t.TempDir(), "civgate.db"))
	other := gateway.APIKey{Kind: gateway.KeyWidget, Secret: otherKey}
	if _, err := s.store.CreateWorkspace(t.Context(), gateway.Workspace{Name: "Other", Settings: gateway.DefaultSettings()}, other); err != nil {
		t.Fatal(err)
	}
	owner, viewer := s.as(gateway.RoleOwner), s.as(gateway.RoleViewer)
	seen := func(c *client, site, shown string, since time.Time) answer {
		t.Helper()
		q := url.Values{"url": {site}, "since": {strconv.FormatInt(since.UnixMicro(), 10)}, "shown": {shown}}
		return c.fragment("/panel/settings/script/seen?" + q.Encode())
	}
	// lookUntil looks as the page does.
	lookUntil := func(c *client, site string, since time.Time, want ...string) string {
		t.Helper()
		late := time.After(shownWithin)
		for {
			changed := s.gateway.Inspected()
			body := seen(c, site, "", since).body
			missing := ""
			for _, text := range want {
				if !strings.Contains(body, text) {
					missing = text
				}
			}
			if missing == "" {
				return body
			}
			select {
			case <-changed:
			case <-late:
				t.Fatalf("the check of %s lacks %q:\n%s", site, missing, body)
			}
		}
	}
	key := `{"apiKey":"` + apiKey + `"`
	page := func(id, fields, at string) string {
		return key + `,` + fields + `"$":{"id":"` + id + `","key":"visitor` + id + `","type":"page","url":"` + at + `"}}`
	}
	refuse := func(origin, body string, want gateway.Code) {
		t.Helper()
		if _, code, message := s.send(sent{body: body, origin: origin}); code != want {
			t.Fatalf("%s: %s (%s), want %s", body, code, message, want)
		}
	}
	begun := time.Now()
	if body := seen(viewer, homeOrigin, "", begun).body; strings.Contains(body, "refused") || !strings.Contains(body, "Waiting for a page view") {
		t.Errorf("before anything came:\n%s", body)
	}
	refuse("https://elsewhere.test", page("10", "", "https://elsewhere.test/"), gateway.CodeOriginNotAllowed)
	lookUntil(viewer, "elsewhere.test", begun, "was refused", "origin not allowed", "/panel/settings/privacy#origins", "/panel/inspector/1", "hx-get")
	if body := seen(viewer, homeOrigin, "", begun).body; strings.Contains(body, "was refused") {
		t.Errorf("another website's refusal is told:\n%s", body)
	}
	refuse(homeOrigin, page("11", `"user_id":"42","user_hash":"beef",`, homeOrigin+"/"), gateway.CodeNotVerified)
	lookUntil(viewer, "www.shop.test", begun, "identity not verified", "user_hash", "/panel/settings/privacy#identity")
	refuse(homeOrigin, key+`,}`, gateway.CodeInvalidPayload)
	lookUntil(viewer, homeOrigin, begun, "not readable", "See the payload")
	refuse(homeOrigin, `{"apiKey":"TYPO"}`, gateway.CodeUnknownAPIKey)
	body := lookUntil(viewer, homeOrigin, begun, "unknown apiKey", "Copy the snippet again")

	// While there is nothing else to say, nothing is answered.
	_, state, _ := strings.Cut(body, "shown=")
	state, _, _ = strings.Cut(state, "&")
	state, _, _ = strings.Cut(state, `"`)
	if a := seen(viewer, homeOrigin, state, begun); a.status != http.StatusNoContent {
		t.Errorf("the same again: %d, want 204\n%s", a.status, a.body)
	}

	// What was before the check began is of no interest, and what nobody can be told to
	// have sent is the owners' to know.
	later := time.Now()
	if body := seen(viewer, homeOrigin, "", later).body; strings.Contains(body, "was refused") {
		t.Errorf("an old refusal is told:\n%s", body)
	}
	refuse("https://new.test", `{"apiKey":"TYPO"}`, gateway.CodeUnknownAPIKey)
	lookUntil(owner, "new.test", later, "belongs to no workspace", "unknown apiKey", "/panel/inspector?verdict=nobody")
	if body := seen(viewer, "new.test", "", later).body; strings.Contains(body, "belongs to no workspace") {
		t.Errorf("a viewer is told of strangers:\n%s", body)
	}

	// A page view with a fault works, but for the fault.
	if status, code, message := s.send(sent{body: page("12", `"email":"",  "phone_number":"nonsense",`, homeOrigin+"/"), origin: homeOrigin}); status != 200 || code != "" {
		t.Fatalf("%d %s %s", status, code, message)
	}
	s.settle()
	body = lookUntil(viewer, homeOrigin, later, "It works", "Some of it was left out", "<code>phone_number</code>")
	if strings.Contains(body, "Waiting for a page view") || strings.Contains(body, "was refused") {
		t.Errorf("the page view is there:\n%s", body)
	}
}

// TestLiveCheckInBrowser waits for the first payload of a website, and sees why it is
// refused, and that it works once that is put right.
func TestLiveCheckInBrowser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := s.as(gateway.RoleOwner).tab("/panel/settings/script?url=shop.test")
	b.shows("Waiting for a page view of shop.test")
	if _, code, _ := s.send(sent{body: `{"apiKey":"TYPO","user_id":"42"}`, origin: homeOrigin}); code != gateway.CodeUnknownAPIKey {
		t.Fatal(code)
	}
	b.shows("unknown apiKey")
	b.everyLook("script-refused")

	// It stays while it says the same, with the focus that it has.
	eval[bool](b, `(window.before = document.querySelector('#check a'), window.before.focus(), true)`)
	looks := eval[int](b, `performance.getEntriesByType('resource').filter((one) => one.name.includes('/seen?')).length`)
	b.until(fmt.Sprintf(`performance.getEntriesByType('resource').filter((one) => one.name.includes('/seen?')).length > %d`, looks+1))
	if !eval[bool](b, `window.before.isConnected && document.activeElement === window.before`) {
		t.Error("the refusal is drawn anew while it is the same")
	}
	if status, code, _ := s.send(sent{body: `{"apiKey":"` + apiKey + `","email":"nonsense","$":{"id":"1","key":"visitor01","type":"page","url":"https://www.shop.test/","title":"Shop"}}`, origin: homeOrigin}); status != 200 || code != "" {
		t.Fatal(status, code)
	}
	b.shows("It works: a page view of shop.test came")
	b.shows("Some of it was left out")
	b.until(`!document.querySelector('#check[hx-get]')`)
	b.everyLook("script-partly")
}
