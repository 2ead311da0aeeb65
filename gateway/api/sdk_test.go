package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
)

// newApp is a door with the paths of the mobile SDKs.
func newApp(t *testing.T, s gateway.Settings, limits map[string]cache.Limit) *door {
	t.Helper()
	d := newDoor(t, s, limits)
	var limiter gateway.Limiter
	if limits != nil {
		limiter = cache.NewLimiter(limits, 1000, time.Now)
	}
	srv := api.New(api.Settings{Reader: d.store, Log: zaptest.NewLogger(t)})
	srv.MountSDK(d.echo, api.Ingest{Gateway: d.gateway, Limiter: limiter, Observer: d.metrics})
	return d
}

// call posts to a path of the SDK with the mobile key and further headers.
func (d *door) call(path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/sdk/v1"+path, strings.NewReader(body))
	r.Header.Set("Authorization", "Token "+doorKey)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.echo.ServeHTTP(w, r)
	return w
}

func TestSDKPing(t *testing.T) {
	t.Parallel()
	d := newApp(t, gateway.DefaultSettings(), nil)
	key := func(rec *httptest.ResponseRecorder) string {
		t.Helper()
		var a struct{ User struct{ Key string } }
		if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != http.StatusOK || !gateway.IsVisitorKey(a.User.Key) {
			t.Fatalf("status %d, %v: %s", rec.Code, err, rec.Body)
		}
		return a.User.Key
	}
	made := key(d.call("/ping/", `{"customer":{"user_id":7,"first_name":"Ada","gender":3,"company":"Acme","score":5,"Plan":"pro","device":1,"userKey":null,"$":{"key":"stolen000000"},"apiKey":"other"},`+
		`"device":{"os_type":"Android","model":{"name":"X"},"__proto__":1}}`))
	if len(made) != 12 {
		t.Errorf("the key that was made is %q", made)
	}
	d.settle()
	c, err := d.store.ContactByKey(t.Context(), d.w, made)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"first_name": `"Ada"`, "gender": "3", "score": "5", "plan": `"pro"`, "device": `{"os_type":"Android","model":{"name":"X"}}`} {
		if v, _ := c.Attributes.Get(name); v.Raw != want {
			t.Errorf("%s is %s, want %s", name, v.Raw, want)
		}
	}
	if c.CustomID != "7" || len(c.Companies) != 1 || c.Companies[0].Name != "Acme" || c.PageViews != 0 {
		t.Errorf("the contact is %+v", c)
	}

	// The header names the key before the body does, and both before one is made.
	for _, tt := range []struct{ body, header, want string }{
		{`{"customer":{"userKey":"body00000000"}}`, "head00000000", "head00000000"},
		{`{"customer":{"userKey":"body00000000"}}`, "", "body00000000"},
		{`{}`, " head00000000 ", "head00000000"},
		{``, "head00000000", "head00000000"},
	} {
		if got := key(d.call("/ping", tt.body, "X-User-Key", tt.header)); got != tt.want {
			t.Errorf("%s with %q: %s, want %s", tt.body, tt.header, got, tt.want)
		}
	}
	for _, tt := range []struct{ body, header string }{{`{"customer":{"userKey":"no key!"}}`, ""}, {`{"customer":{"userKey":7}}`, "x"}} {
		if got := key(d.call("/ping/", tt.body, "X-User-Key", tt.header)); len(got) != 12 || got == made {
			t.Errorf("%s: the key is %q", tt.body, got)
		}
	}
}

func TestSDKEvents(t *testing.T) {
	t.Parallel()
	d := newApp(t, gateway.DefaultSettings(), nil)
	const key = "abcdef000001"
	for _, tt := range []struct{ path, body string }{
		{"/event/", `{"name":"Level done","data":{"level":3,"how":{"fast":true}}}`},
		{"/event", `{"name":"login","timestamp":"2001-01-01T00:00:00Z"}`}, // so long ago that it is now
		{"/screen_event/", `{"name":"Settings"}`},
		{"/screen_event", `{"screen_name":"Cart","title":"Your cart"}`},
		{"/push/12/clicked/", ``},
		{"/in%20app/a%2Fb/shown", `{"whatever":1}`},
	} {
		rec := d.call(tt.path, tt.body, "X-User-Key", key)
		if got := rec.Body.String(); rec.Code != http.StatusOK || got != "{}" {
			t.Errorf("%s: %d %s", tt.path, rec.Code, got)
		}
	}
	d.settle()
	c, err := d.store.ContactByKey(t.Context(), d.w, key)
	if err != nil {
		t.Fatal(err)
	}
	events, err := d.store.Events(t.Context(), d.w, c.ID, gateway.HistoryQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for _, e := range events {
		got[string(e.Kind)+" "+e.Name] = e.Data
	}
	want := map[string]string{"event Level done": `{"level":3,"how":{"fast":true}}`, "event login": "", "event notification.push.clicked": `{"id":"12"}`, "event notification.in app.shown": `{"id":"a/b"}`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events %v, want %v", got, want)
	}
	views, err := d.store.PageViews(t.Context(), d.w, c.ID, gateway.HistoryQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	titles := make(map[string]bool)
	for _, v := range views {
		titles[v.Title] = true
	}
	if len(views) != 2 || !titles["Settings"] || !titles["Your cart"] {
		t.Errorf("page views %+v", views)
	}
}

func TestSDKRefusals(t *testing.T) {
	t.Parallel()
	d := newApp(t, gateway.Settings{Origins: []string{"shop.test"}, UnifiedIdentification: true}, nil)
	for _, tt := range []struct {
		name, path, body string
		header           []string
		status           int
		want             string
	}{
		{"no token", "/ping/", `{}`, []string{"Authorization", ""}, 401, `{"detail":"Authentication credentials were not provided."}`},
		{"a token of REST", "/ping/", `{}`, []string{"Authorization", "Token " + acmeToken}, 401, `{"detail":"Invalid token."}`},
		{"another scheme", "/ping/", `{}`, []string{"Authorization", "Bearer " + doorKey}, 401, `{"detail":"Authentication`},
		{"no JSON", "/ping/", `{"customer":`, nil, 400, `{"detail":"JSON parse error`},
		{"a list", "/ping/", `[]`, nil, 400, `Expected a dictionary`},
		{"a customer that is none", "/ping/", `{"customer":"Ada"}`, nil, 400, `{"errors":{"customer":[`},
		{"a device that is none", "/ping/", `{"device":"Android"}`, nil, 400, `{"errors":{"device":[`},
		{"an event without a name", "/event/", `{"data":{}}`, nil, 400, `{"errors":{"name":["This field is required."]}}`},
		{"data that is none", "/event/", `{"name":"x","data":[1]}`, nil, 400, `{"errors":{"data":[`},
		{"a time that is none", "/event/", `{"name":"x","timestamp":"soon"}`, nil, 400, `{"errors":{"timestamp":[`},
		{"a screen without a name", "/screen_event/", `{}`, nil, 400, `{"errors":{"name":[`},
		{"too much", "/ping/", `{"customer":{"a":"` + strings.Repeat("x", gateway.MaxPayload) + `"}}`, nil, 413, `{"detail":`},
		{"a page of elsewhere", "/ping/", `{}`, []string{"Origin", "https://evil.test"}, 403, `{"detail":`},
		{"a long action", "/push/1/" + strings.Repeat("x", 300), ``, nil, 404, `{"detail":"Not found."}`},
		{"no path", "/nothing/", `{}`, nil, 404, `{"detail":"Not found."}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			rec := d.call(tt.path, tt.body, tt.header...)
			if rec.Code != tt.status || !strings.Contains(rec.Body.String(), tt.want) {
				t.Errorf("%d %s, want %d %s", rec.Code, rec.Body, tt.status, tt.want)
			}
		})
	}
	t.Cleanup(func() {
		if n := d.count(t); n != 0 {
			t.Errorf("%d contacts were made", n)
		}
	})
}

func TestSDKMethods(t *testing.T) {
	t.Parallel()
	d := newApp(t, gateway.DefaultSettings(), nil)
	for method, status := range map[string]int{http.MethodGet: 405, http.MethodPut: 405, "LINK": 405, http.MethodOptions: 204} {
		for _, path := range []string{"/ping", "/event/", "/screen_event", "/push/1/clicked/"} {
			rec := httptest.NewRecorder()
			d.echo.ServeHTTP(rec, httptest.NewRequest(method, "/api/sdk/v1"+path, nil))
			if rec.Code != status || rec.Header().Get("Allow") != "POST, OPTIONS" {
				t.Errorf("%s %s: %d, Allow %q", method, path, rec.Code, rec.Header().Get("Allow"))
			}
		}
	}
}

// TestSDKLimits: an address and an apiKey may send so much by this door too, and who
// has to prove their identity has to here.
func TestSDKLimits(t *testing.T) {
	t.Parallel()
	limited := newApp(t, gateway.DefaultSettings(), map[string]cache.Limit{"ip": {PerSecond: 0.001, Burst: 2}})
	for i, want := range []int{200, 200, 429} {
		if rec := limited.call("/event/", `{"name":"x"}`); rec.Code != want || want == 429 && rec.Header().Get("Retry-After") == "" {
			t.Errorf("request %d: %d %s", i, rec.Code, rec.Body)
		}
	}
	verified := newApp(t, gateway.Settings{VerifyIdentity: true, IdentitySecret: "s"}, nil)
	if rec := verified.call("/ping/", `{"customer":{"user_id":"1"}}`); rec.Code != http.StatusForbidden {
		t.Errorf("an identity without proof: %d %s", rec.Code, rec.Body)
	}
	if rec := verified.call("/ping/", `{"customer":{"first_name":"Ada"}}`); rec.Code != http.StatusOK {
		t.Errorf("no identity: %d %s", rec.Code, rec.Body)
	}
}
