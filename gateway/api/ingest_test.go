package api_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

const doorKey = "A1B2C3"

// door is a whole gateway behind its ingest endpoint.
type door struct {
	echo    *echo.Echo
	gateway *gateway.Gateway
	store   *store.Store
	metrics *api.Metrics
	done    chan struct{}
	w       gateway.WorkspaceID
}

func newDoor(t testing.TB, s gateway.Settings, limits map[string]cache.Limit, trusted ...netip.Prefix) *door {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	st, err := store.Open(ctx, filepath.Join(dir, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	log := zaptest.NewLogger(t)
	var limiter gateway.Limiter
	if limits != nil {
		limiter = cache.NewLimiter(limits, 1000, func() time.Time { return now })
	}
	d := &door{store: st, echo: echo.New(), metrics: api.NewMetrics(), done: make(chan struct{})}
	d.gateway = gateway.New(gateway.Config{Store: st, Inbox: in, Cache: cache.New(1000), Log: log, Limiter: limiter, Observer: d.metrics})
	d.w, err = st.CreateWorkspace(ctx, gateway.Workspace{Name: "door", CreatedAt: now, Settings: s},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: doorKey, CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	d.echo.IPExtractor = api.IPExtractor(trusted)
	srv := api.New(api.Settings{Reader: st, Log: log, TrustedProxies: trusted})
	d.echo.HTTPErrorHandler = srv.HandleError
	srv.MountIngest(d.echo, api.Ingest{Path: "/ingest", Gateway: d.gateway, Limiter: limiter, Observer: d.metrics})
	srv.MountHealth(d.echo, d.gateway, d.done)
	srv.MountMetrics(d.echo, d.metrics, metricsToken)
	var run sync.WaitGroup
	run.Go(func() {
		if err := d.gateway.Run(ctx); ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		run.Wait()
		if err := in.Close(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func (d *door) post(body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/ingest", strings.NewReader(body))
	r.Header.Set("Content-Type", "text/plain")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.echo.ServeHTTP(w, r)
	return w
}

// settle waits until all that was accepted is visible.
func (d *door) settle() {
	for ch := d.gateway.Changed(); d.gateway.Pending() > 0; ch = d.gateway.Changed() {
		if d.gateway.Pending() > 0 {
			<-ch
		}
	}
}

func (d *door) count(t *testing.T) (contacts int64) {
	t.Helper()
	d.settle()
	n, err := d.store.CountContacts(context.Background(), d.w)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

type answer struct {
	Status   string
	Warnings []gateway.Warning
	Error    *struct{ Code, Message, Field string }
	Results  []answer
}

func (a answer) code() string {
	if a.Error != nil {
		return a.Error.Code
	}
	return a.Status
}

func parseAnswer(t *testing.T, w *httptest.ResponseRecorder) answer {
	t.Helper()
	var a answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("the answer %q is no JSON: %v", w.Body, err)
	}
	return a
}

// TestIngestAnswers is what the outside sees: a body, a status, a code, the
// codes of the warnings, and how many contacts there are afterwards.
func TestIngestAnswers(t *testing.T) {
	t.Parallel()
	obj := func(fields string) string { return `{"apiKey":"` + doorKey + `",` + fields + `}` }
	deep := strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100)
	var keys strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&keys, `,"k%d":1`, i)
	}
	for _, tt := range []struct {
		name, body string
		header     []string
		status     int
		code       string
		warnings   []string
		contacts   int64
	}{
		{"plain object", obj(`"user_id":"42"`), nil, 200, "ok", nil, 1},
		{"form content type", obj(`"user_id":"42"`), []string{"Content-Type", "application/x-www-form-urlencoded"}, 200, "ok", nil, 1},
		{"enveloped", obj(`"$":{"id":"1","key":"abcdefabcdef","type":"page","url":"https://x.test/"}`), nil, 200, "ok", nil, 1},
		{"nobody", obj(`"plan":"pro"`), nil, 200, "ok", nil, 0},
		{"empty body", "", nil, 400, "invalid_payload", nil, 0},
		{"not JSON", "hello", nil, 400, "invalid_payload", nil, 0},
		{"truncated", obj(`"user_id":"42"`)[:20], nil, 400, "invalid_payload", nil, 0},
		{"more than one value", obj(`"user_id":"1"`) + obj(`"user_id":"2"`), nil, 400, "invalid_payload", nil, 0},
		{"a text", `"hello"`, nil, 400, "invalid_payload", nil, 0},
		{"empty array", `[]`, nil, 400, "invalid_payload", nil, 0},
		{"51 payloads", `[` + strings.TrimSuffix(strings.Repeat(obj(`"user_id":"42"`)+",", 51), ",") + `]`, nil, 413, "too_large", nil, 0},
		{"no apiKey", `{"user_id":"42"}`, nil, 401, "unknown_api_key", nil, 0},
		{"unknown apiKey", `{"apiKey":"ZZZZZZ","user_id":"42"}`, nil, 401, "unknown_api_key", nil, 0},
		{"apiKey of a wrong type", `{"apiKey":{"a":1},"user_id":"42"}`, nil, 401, "unknown_api_key", nil, 0},
		{"33 KiB", obj(`"user_id":"42","x":"` + strings.Repeat("x", 33<<10) + `"`), nil, 413, "too_large", nil, 0},
		{"9 KiB in one value", obj(`"user_id":"42","x":"` + strings.Repeat("x", 9<<10) + `"`), nil, 200, "ok", []string{"too_large"}, 1},
		{"depth 100", obj(`"user_id":"42","x":` + deep), nil, 200, "ok", []string{"too_deep"}, 1},
		{"2,000 keys", obj(`"user_id":"42"` + keys.String()), nil, 200, "ok", []string{"too_many"}, 1},
		{"wrong types everywhere", obj(`"user_id":{"a":1},"email":["x"],"name":{},"gender":"many","status":[],"score":"high","phone_number":true,"company":5,"$":7`), nil, 200, "ok",
			[]string{"invalid_id", "invalid_email", "invalid_value", "invalid_value", "invalid_value", "invalid_value", "invalid_phone", "invalid_value", "invalid_field"}, 0},
		{"NUL", obj(`"user_id":"42","x":"a\u0000b"`), nil, 200, "ok", []string{"invalid_text"}, 1},
		{"invalid UTF-8", obj(`"user_id":"42","x":"a` + "\xff" + `b"`), nil, 200, "ok", []string{"invalid_text"}, 1},
		{"__proto__", obj(`"user_id":"42","__proto__":{"admin":true}`), nil, 200, "ok", []string{"invalid_name"}, 1},
		{"beyond float64", obj(`"user_id":"42","x":1e999`), nil, 200, "ok", []string{"number_range"}, 1},
		{"e-mail of 400 characters", obj(`"user_id":"42","email":"` + strings.Repeat("a", 390) + `@acme.test"`), nil, 200, "ok", []string{"invalid_email"}, 1},
		{"placeholders pasted unchanged", obj(`"user_id":"idfromyourdatabase","$":{"id":"1","key":"abcdefabcdef","type":"page"}`), nil, 200, "ok", []string{"placeholder"}, 1},
		{"broken gzip", "not gzip", []string{"Content-Encoding", "gzip"}, 400, "invalid_payload", nil, 0},
		{"another coding", obj(`"user_id":"42"`), []string{"Content-Encoding", "br"}, 400, "invalid_payload", nil, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, gateway.DefaultSettings(), nil)
			w := d.post(tt.body, tt.header...)
			a := parseAnswer(t, w)
			if w.Code != tt.status || a.code() != tt.code {
				t.Fatalf("answer %d %s, want %d %s", w.Code, w.Body, tt.status, tt.code)
			}
			if a.Error != nil && a.Error.Message == "" {
				t.Error("the error does not say what to do")
			}
			var codes []string
			for _, wn := range a.Warnings {
				codes = append(codes, wn.Code)
			}
			if strings.Join(codes, " ") != strings.Join(tt.warnings, " ") {
				t.Errorf("warnings %+v, want %v", a.Warnings, tt.warnings)
			}
			if n := d.count(t); n != tt.contacts {
				t.Errorf("%d contacts, want %d", n, tt.contacts)
			}
			if _, ok := w.Header()["Set-Cookie"]; ok {
				t.Error("the endpoint sets a cookie")
			}
			// What came before and comes after is untouched by it.
			if w := d.post(obj(`"user_id":"after"`)); w.Code != 200 {
				t.Errorf("the next payload got %d", w.Code)
			}
			d.settle()
			if _, err := d.store.ContactByCustomID(context.Background(), d.w, "after"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestIngestTypeMismatch warns about a value that does not fit the type which
// the attribute got at first sight, and keeps the old value.
func TestIngestTypeMismatch(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	d.post(`{"apiKey":"A1B2C3","user_id":"42","seats":3,"company":{"company_id":"c","since":"2020-01-31"}}`)
	d.settle()
	a := parseAnswer(t, d.post(`{"apiKey":"A1B2C3","user_id":"42","seats":"many","plan":"pro","company":{"company_id":"c","since":"yesterday"}}`))
	if len(a.Warnings) != 2 || a.Warnings[0].Field != "seats" || a.Warnings[0].Code != "type_mismatch" || a.Warnings[1].Field != "company.since" {
		t.Errorf("warnings %+v", a.Warnings)
	}
	d.settle()
	c, err := d.store.ContactByCustomID(context.Background(), d.w, "42")
	if err != nil {
		t.Fatal(err)
	}
	seats, _ := c.Attributes.Get("seats")
	plan, _ := c.Attributes.Get("plan")
	if seats.Raw != "3" || plan.Raw != `"pro"` {
		t.Errorf("seats %v, plan %v", seats, plan)
	}
}

func TestIngestBatch(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	w := d.post(`[{"apiKey":"A1B2C3","user_id":"1"},{"apiKey":"nope"},7,{"apiKey":"A1B2C3","user_id":"2","email":"x"},{"apiKey":"A1B2C3","x":"` + strings.Repeat("x", 40<<10) + `"}]`)
	a := parseAnswer(t, w)
	var codes []string
	for _, r := range a.Results {
		codes = append(codes, r.code())
	}
	if w.Code != 200 || strings.Join(codes, " ") != "ok unknown_api_key invalid_payload ok too_large" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if len(a.Results[3].Warnings) != 1 {
		t.Errorf("warnings %+v", a.Results[3].Warnings)
	}
	if n := d.count(t); n != 2 {
		t.Errorf("%d contacts, want 2", n)
	}
}

func TestIngestRepeats(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	body := `{"apiKey":"A1B2C3","user_id":"42","$":{"id":"0190f1f0-1111-7000-8000-000000000001","key":"abcdefabcdef","type":"page","url":"https://x.test/"}}`
	for range 3 {
		if w := d.post(body); w.Code != 200 {
			t.Fatal(w.Code, w.Body)
		}
	}
	d.post("[" + body + "," + body + "]")
	d.settle()
	c, err := d.store.ContactByCustomID(context.Background(), d.w, "42")
	if err != nil || c.PageViews != 1 {
		t.Errorf("%+v, %v; want 1 page view", c, err)
	}
}

// TestIngestSaysNothing: the answer is the same to the letter for a new, a
// known, a switched and a merged contact.
func TestIngestSaysNothing(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	var first string
	for i, fields := range []string{
		`"$":{"key":"abcdefabcdef","type":"page"}`,
		`"user_id":"42","$":{"key":"abcdefabcdef","type":"page"}`,
		`"user_id":"42","$":{"key":"abcdefabcdeg","type":"page"}`,
		`"user_id":"43","$":{"key":"abcdefabcdef","type":"page"}`,
		`"email":"nobody@acme.test"`,
	} {
		w := d.post(`{"apiKey":"A1B2C3",` + fields + `}`)
		got := fmt.Sprint(w.Code, w.Header(), w.Body)
		if i == 0 {
			first = got
		}
		if got != first {
			t.Errorf("payload %d is told apart:\n%s\n%s", i, got, first)
		}
		d.settle()
	}
}

func TestIngestOrigins(t *testing.T) {
	t.Parallel()
	s := gateway.DefaultSettings()
	s.Origins = []string{"acme.test", "*.shop.test"}
	d := newDoor(t, s, nil)
	for _, tt := range []struct {
		origin string
		status int
	}{
		{"https://acme.test", 200}, {"http://ACME.test:8080", 200}, {"https://www.acme.test", 403}, {"https://notacme.test", 403},
		{"https://shop.test", 200}, {"https://a.b.shop.test", 200}, {"https://evilshop.test", 403}, {"null", 403}, {"", 200},
	} {
		w := d.post(`{"apiKey":"A1B2C3","user_id":"42"}`, "Origin", tt.origin)
		if w.Code != tt.status {
			t.Errorf("origin %q got %d, want %d", tt.origin, w.Code, tt.status)
		}
		if tt.status == 403 && parseAnswer(t, w).code() != "origin_not_allowed" {
			t.Errorf("origin %q: %s", tt.origin, w.Body)
		}
	}
}

func TestIngestVerifiesIdentity(t *testing.T) {
	t.Parallel()
	s := gateway.DefaultSettings()
	s.VerifyIdentity, s.IdentitySecret = true, "secret"
	d := newDoor(t, s, nil)
	for _, tt := range []struct {
		name, fields string
		status       int
	}{
		{"anonymous", `"plan":"pro"`, 200},
		{"no hash", `"user_id":"42"`, 403},
		{"wrong hash", `"user_id":"42","user_hash":"00"`, 403},
		// printf %s 42 | openssl dgst -sha256 -hmac secret
		{"right, made elsewhere", `"user_id":"42","user_hash":"93c121e7aa437a1e01e3c512c6f0ce3c821a839025dca4408f85616de4aaee70"`, 200},
		{"hash of another", `"user_id":"43","user_hash":"` + hmacHex("secret", "42") + `"`, 403},
		{"right", `"user_id":"42","user_hash":"` + hmacHex("secret", "42") + `"`, 200},
		{"by e-mail", `"email":"a@acme.test","user_hash":"` + hmacHex("secret", "a@acme.test") + `"`, 200},
	} {
		w := d.post(`{"apiKey":"A1B2C3",` + tt.fields + `}`)
		if w.Code != tt.status {
			t.Errorf("%s: %d %s", tt.name, w.Code, w.Body)
		}
	}
}

func hmacHex(secret, text string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

func TestIngestCORS(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	for _, h := range []http.Header{
		d.post(`{"apiKey":"A1B2C3"}`, "Origin", "https://any.test").Header(),
		d.post(`{`, "Origin", "https://any.test").Header(),
	} {
		if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("headers %v", h)
		}
	}
	r := httptest.NewRequest(http.MethodOptions, "/ingest", nil)
	r.Header.Set("Origin", "https://any.test")
	r.Header.Set("Access-Control-Request-Method", "POST")
	r.Header.Set("Access-Control-Request-Headers", "content-type")
	w := httptest.NewRecorder()
	d.echo.ServeHTTP(w, r)
	if w.Code/100 != 2 || w.Header().Get("Access-Control-Allow-Origin") != "*" || w.Header().Get("Access-Control-Allow-Methods") != "POST" {
		t.Errorf("preflight %d %v", w.Code, w.Header())
	}
}

// TestIngestLimits: limits count by address and by key, tell when to come back,
// and a forged forwarding header opens no fresh bucket.
func TestIngestLimits(t *testing.T) {
	t.Parallel()
	body := `{"apiKey":"A1B2C3","plan":"pro"}`
	t.Run("address", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, gateway.DefaultSettings(), map[string]cache.Limit{"ip": {PerSecond: 1, Burst: 3}})
		for i := range 6 {
			w := d.post(body, "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", i), "X-Real-IP", fmt.Sprintf("203.0.113.%d", i), "Forwarded", fmt.Sprintf("for=203.0.113.%d", i))
			if want := i < 3; (w.Code == 200) != want {
				t.Errorf("request %d got %d", i, w.Code)
			}
			if w.Code != 200 && (w.Code != 429 || w.Header().Get("Retry-After") == "" || parseAnswer(t, w).code() != "rate_limited") {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
		}
	})
	t.Run("address behind a trusted proxy", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, gateway.DefaultSettings(), map[string]cache.Limit{"ip": {PerSecond: 1, Burst: 1}}, netip.MustParsePrefix("192.0.2.0/24"))
		for i := range 3 {
			// httptest's peer is 192.0.2.1. What the client wrote itself stands left.
			if w := d.post(body, "X-Forwarded-For", fmt.Sprintf("198.51.100.9, 203.0.113.%d", i)); w.Code != 200 {
				t.Errorf("client %d got %d", i, w.Code)
			}
		}
		if w := d.post(body, "X-Forwarded-For", "10.9.8.7, 203.0.113.1"); w.Code != 429 {
			t.Errorf("a forged entry opened a fresh bucket: %d", w.Code)
		}
	})
	t.Run("key", func(t *testing.T) {
		t.Parallel()
		d := newDoor(t, gateway.DefaultSettings(), map[string]cache.Limit{"key": {PerSecond: 1, Burst: 3}})
		a := parseAnswer(t, d.post("["+strings.TrimSuffix(strings.Repeat(body+",", 5), ",")+"]"))
		var codes []string
		for _, r := range a.Results {
			codes = append(codes, r.code())
		}
		if got := strings.Join(codes, " "); got != "ok ok ok rate_limited rate_limited" {
			t.Error(got)
		}
		if w := d.post(body); w.Code != 429 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v", w.Code, w.Header())
		}
	})
}

func TestIngestGzip(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	pack := func(s string) string {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := io.WriteString(z, s); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if w := d.post(pack(`{"apiKey":"A1B2C3","user_id":"42"}`), "Content-Encoding", "gzip"); w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	bomb := pack(`{"apiKey":"A1B2C3","x":"` + strings.Repeat("0", 64<<20) + `"}`)
	if w := d.post(bomb, "Content-Encoding", "gzip"); w.Code != 413 || parseAnswer(t, w).code() != "too_large" {
		t.Errorf("a bomb of %d bytes got %d %s", len(bomb), w.Code, w.Body)
	}
	if n := d.count(t); n != 1 {
		t.Errorf("%d contacts", n)
	}
}

// TestIngestSlowBody: a body that never comes to its end costs its sender the
// connection and nobody else anything.
func TestIngestSlowBody(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	srv := httptest.NewUnstartedServer(d.echo)
	srv.Config.ReadTimeout = 200 * time.Millisecond
	srv.Start()
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /ingest HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"apiKey\"")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != 400 || !strings.Contains(string(body), "in time") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if n := d.count(t); n != 0 {
		t.Errorf("%d contacts", n)
	}
}

// TestIngestAnnouncedBody: who announces a large body and doesn't send it takes
// no memory for it.
func TestIngestAnnouncedBody(t *testing.T) {
	d := newDoor(t, gateway.DefaultSettings(), nil)
	const n = 100
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		r := httptest.NewRequest(http.MethodPost, "/ingest", strings.NewReader(`[{"apiKey"`))
		r.ContentLength = gateway.MaxBody
		w := httptest.NewRecorder()
		r.Body = io.NopCloser(io.MultiReader(r.Body, errorReader{io.ErrUnexpectedEOF}))
		d.echo.ServeHTTP(w, r)
		if w.Code != http.StatusBadRequest {
			t.Fatal(w.Code, w.Body)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 200_000 {
		t.Errorf("%d bytes taken for each body that never came", each)
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// TestOtherPaths: what is not there is told in the same form, and a slash at the
// end of the endpoint is no other place.
func TestOtherPaths(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{http.MethodPost, "/ingest/", 200, "ok"},
		{http.MethodGet, "/ingest", 405, "invalid"},
		{http.MethodGet, "/nothing", 404, "not_found"},
	} {
		w := httptest.NewRecorder()
		d.echo.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(`{"apiKey":"A1B2C3"}`)))
		if a := parseAnswer(t, w); w.Code != tt.status || a.code() != tt.code {
			t.Errorf("%s %s: %d %s", tt.method, tt.path, w.Code, w.Body)
		}
		if tt.status == 405 && !strings.Contains(w.Header().Get("Allow"), "POST") {
			t.Errorf("Allow %q", w.Header().Get("Allow"))
		}
	}
}
