package widget_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"civgate/widget"

	"github.com/andybalholm/brotli"
	"github.com/labstack/echo/v4"
)

// decode undoes a content coding.
func decode(t *testing.T, coding string, body []byte) string {
	t.Helper()
	var r io.Reader = bytes.NewReader(body)
	switch coding {
	case "":
	case "gzip":
		unzip, err := gzip.NewReader(r)
		if err != nil {
			t.Fatal(err)
		}
		r = unzip
	case "br":
		r = brotli.NewReader(r)
	default:
		t.Fatalf("unexpected coding %q", coding)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func serve(s widget.Settings, method, target string, header map[string]string) *http.Response {
	e := echo.New()
	widget.Mount(e, s)
	r := httptest.NewRequest(method, target, nil)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	e.ServeHTTP(w, r)
	return w.Result()
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	committed, err := os.ReadFile("dist/widget.js")
	if err != nil {
		t.Fatal(err)
	}
	tag := func(accept string) string {
		return serve(widget.Settings{}, http.MethodGet, "/widget.js", map[string]string{"Accept-Encoding": accept}).Header.Get("ETag")
	}
	cases := []struct {
		name     string
		settings widget.Settings
		method   string
		target   string
		header   map[string]string
		status   int
		coding   string
		empty    bool
	}{
		{name: "no coding asked for", status: 200},
		{name: "every browser of today", header: map[string]string{"Accept-Encoding": "gzip, deflate, br, zstd"}, status: 200, coding: "br"},
		{name: "http browsers", header: map[string]string{"Accept-Encoding": "gzip, deflate"}, status: 200, coding: "gzip"},
		{name: "upper case", header: map[string]string{"Accept-Encoding": "GZIP"}, status: 200, coding: "gzip"},
		{name: "gzip liked better", header: map[string]string{"Accept-Encoding": "br;q=0.5, gzip;q=0.8"}, status: 200, coding: "gzip"},
		{name: "brotli refused", header: map[string]string{"Accept-Encoding": "br;q=0, gzip"}, status: 200, coding: "gzip"},
		{name: "all refused", header: map[string]string{"Accept-Encoding": "br;q=0, gzip;q=0"}, status: 200},
		{name: "anything", header: map[string]string{"Accept-Encoding": "*"}, status: 200, coding: "br"},
		{name: "anything but brotli", header: map[string]string{"Accept-Encoding": "*, br;q=0"}, status: 200, coding: "gzip"},
		{name: "nothing at all", header: map[string]string{"Accept-Encoding": "*;q=0"}, status: 200},
		{name: "plain liked best", header: map[string]string{"Accept-Encoding": "identity, br;q=0.5"}, status: 200},
		{name: "plain liked less", header: map[string]string{"Accept-Encoding": "identity;q=0.5, gzip"}, status: 200, coding: "gzip"},
		{name: "unknown coding", header: map[string]string{"Accept-Encoding": "zstd"}, status: 200},
		{name: "broken quality", header: map[string]string{"Accept-Encoding": "br;q=much, gzip;q=0.1"}, status: 200, coding: "gzip"},
		{name: "quality beyond the range", header: map[string]string{"Accept-Encoding": "br;q=NaN, gzip;q=2"}, status: 200},
		{name: "with a query", target: "/widget.js?2", status: 200},
		{name: "HEAD", method: http.MethodHead, status: 200, empty: true},
		{name: "HEAD compressed", method: http.MethodHead, header: map[string]string{"Accept-Encoding": "br"}, status: 200, coding: "br", empty: true},
		{name: "known plain", header: map[string]string{"If-None-Match": tag("")}, status: 304, empty: true},
		{name: "known brotli", header: map[string]string{"Accept-Encoding": "br", "If-None-Match": tag("br")}, status: 304, empty: true},
		{name: "known, made weak by a proxy", header: map[string]string{"If-None-Match": `"x", W/` + tag("")}, status: 304, empty: true},
		{name: "known whatever it is", header: map[string]string{"If-None-Match": "*"}, status: 304, empty: true},
		{name: "HEAD known", method: http.MethodHead, header: map[string]string{"If-None-Match": tag("")}, status: 304, empty: true},
		{name: "known in another coding", header: map[string]string{"Accept-Encoding": "gzip", "If-None-Match": tag("br")}, status: 200, coding: "gzip"},
		{name: "known is old", header: map[string]string{"If-None-Match": `"old"`}, status: 200},
		{name: "from a site", header: map[string]string{"Origin": "https://shop.test", "Accept-Encoding": "br"}, status: 200, coding: "br"},
		{name: "another path", settings: widget.Settings{ScriptPath: "/js/w.js"}, target: "/js/w.js", header: map[string]string{"Accept-Encoding": "br, gzip"}, status: 200, coding: "gzip"},
		{name: "another endpoint", settings: widget.Settings{IngestPath: "/collect"}, header: map[string]string{"Accept-Encoding": "br, gzip"}, status: 200, coding: "gzip"},
		{name: "another endpoint, plain", settings: widget.Settings{IngestPath: "/collect"}, status: 200},
		{name: "another endpoint, only brotli", settings: widget.Settings{IngestPath: "/collect"}, header: map[string]string{"Accept-Encoding": "br"}, status: 200},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.method == "" {
				c.method = http.MethodGet
			}
			if c.target == "" {
				c.target = "/widget.js"
			}
			r := serve(c.settings, c.method, c.target, c.header)
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatal(err)
			}
			if r.StatusCode != c.status {
				t.Fatalf("status %d, want %d", r.StatusCode, c.status)
			}
			if got := r.Header.Get("Content-Encoding"); got != c.coding {
				t.Errorf("Content-Encoding = %q, want %q", got, c.coding)
			}
			for name, want := range map[string]string{
				"Cross-Origin-Resource-Policy": "cross-origin",
				"X-Content-Type-Options":       "nosniff",
				"Timing-Allow-Origin":          "*",
				"Cache-Control":                "public, max-age=300, stale-while-revalidate=86400",
				"Set-Cookie":                   "",
			} {
				if got := r.Header.Get(name); got != want {
					t.Errorf("%s = %q, want %q", name, got, want)
				}
			}
			if !strings.Contains(strings.Join(r.Header.Values("Vary"), ","), "Accept-Encoding") {
				t.Errorf("Vary = %q", r.Header.Values("Vary"))
			}
			if etag := r.Header.Get("ETag"); len(etag) < 10 || etag[0] != '"' {
				t.Errorf("ETag = %q is not strong", etag)
			}
			if c.header["Origin"] != "" && r.Header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("Access-Control-Allow-Origin = %q", r.Header.Get("Access-Control-Allow-Origin"))
			}
			if c.status == http.StatusNotModified {
				if len(body) != 0 || r.Header.Get("Content-Type") != "" {
					t.Errorf("304 with %d bytes of %q", len(body), r.Header.Get("Content-Type"))
				}
				return
			}
			if got := r.Header.Get("Content-Type"); got != "application/javascript; charset=utf-8" {
				t.Errorf("Content-Type = %q", got)
			}
			length, err := strconv.Atoi(r.Header.Get("Content-Length"))
			if err != nil || length == 0 || !c.empty && length != len(body) {
				t.Errorf("Content-Length = %q for %d bytes", r.Header.Get("Content-Length"), len(body))
			}
			if c.empty {
				if len(body) != 0 {
					t.Errorf("%d bytes", len(body))
				}
				return
			}
			text := decode(t, c.coding, body)
			if same := text == string(committed); same != (c.settings == widget.Settings{}) {
				t.Errorf("is the committed bundle: %v", same)
			}
		})
	}
}

func TestPreflightOfTheScript(t *testing.T) {
	t.Parallel()
	r := serve(widget.Settings{}, http.MethodOptions, "/widget.js", map[string]string{
		"Origin": "https://shop.test", "Access-Control-Request-Method": "GET",
	})
	if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("status %d, headers %v", r.StatusCode, r.Header)
	}
	if r = serve(widget.Settings{}, http.MethodPost, "/widget.js", nil); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", r.StatusCode)
	}
}

func TestScriptPointsToTheEndpoint(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, script, ingest string
		target, file         string
	}{
		{"defaults", "", "", `"./ingest"`, `"/widget.js"`},
		{"defaults, spelled out", "/widget.js", "/ingest", `"./ingest"`, `"/widget.js"`},
		{"endpoint beside the script", "", "/collect", `"./collect"`, `"/widget.js"`},
		{"endpoint deeper", "", "/api/v1/in", `"./api/v1/in"`, `"/widget.js"`},
		{"script deeper", "/static/js/w.js", "/ingest", `"../../ingest"`, `"/w.js"`},
		{"both in one folder", "/x/w.js", "/x/in", `"./in"`, `"/w.js"`},
		{"side by side", "/x/y/w.js", "/x/z/in", `"../z/in"`, `"/w.js"`},
		{"endpoint named as the script's folder", "/x/w.js", "/x", `"../x"`, `"/w.js"`},
		{"odd characters", `/w'"<.js`, `/in "<\`, `"./in%20%22%3C%5C"`, `"/w%27%22%3C.js"`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := echo.New()
			widget.Mount(e, widget.Settings{ScriptPath: c.script, IngestPath: c.ingest})
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			if r.URL.Path = c.script; c.script == "" {
				r.URL.Path = "/widget.js"
			}
			e.ServeHTTP(w, r)
			for _, text := range []string{c.target, c.file} {
				if strings.Count(w.Body.String(), text) != 1 {
					t.Errorf("%s is not in the script", text)
				}
			}
		})
	}
}
