package web

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// hostile is what people may call things.
const hostile = `"><script>alert(1)</script>'` + "\u202e"

// TestPieces renders every template that pages share, filled with hostile text and
// empty.
func TestPieces(t *testing.T) {
	t.Parallel()
	bad := &form{Values: url.Values{"x": {hostile}}, Errors: map[string]string{"x": hostile}, Problem: hostile}
	options := options{Query: hostile, Create: hostile, Groups: []optionGroup{{Label: hostile, Options: []pick{
		{Value: hostile, Label: hostile, Note: hostile, Icon: "tag"}, {Href: "/panel/" + url.PathEscape(hostile), Label: hostile},
	}}}}
	items := menu{ID: "m", Label: hostile, Items: []menuItem{
		{Label: hostile, Icon: "edit", Href: "javascript:alert(1)"}, {Label: hostile, Icon: "trash", Dialog: hostile, Danger: true},
		{Label: hostile, Icon: "swap", Post: "/panel/x", Params: [][2]string{{"a", hostile}}},
	}}
	fieldOf := pieces["field"].(func(f *form, kind, name, label string) formField)
	f := &frame{Title: hostile, call: &call{p: &panel{}, Context: echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/panel", nil), nil)}}
	f.Workspace = &gateway.Workspace{ID: 1, Name: hostile}
	f.Workspaces = []gateway.Workspace{*f.Workspace, {ID: 2, Name: hostile}}
	f.Agent = gateway.Agent{Email: hostile, Name: hostile, Role: gateway.RoleOwner}
	f.call.Agent = f.Agent
	f.Toast = &toast{"danger", hostile}
	f.Form = bad
	f.Page = problemPage{404, hostile, hostile}
	rendered := map[string][]any{
		"toast":         {toast{"success", hostile}, toast{"danger", hostile}},
		"page-count":    {int64(1234567)},
		"thead":         {[]column{}, []column{{Label: hostile}, {Label: hostile, Numeric: true, Href: "/panel/x", Sorted: "ascending"}, {Label: hostile, Href: "/x", Sorted: "descending"}, {Label: hostile, Hidden: true}}},
		"th":            {column{Label: hostile, Wide: true, Href: "javascript:alert(1)"}},
		"th-label":      {column{Label: hostile, Sorted: "ascending"}},
		"order":         {orderMenu{}, orderMenu{Now: hostile, Down: true, Orders: []chip{{Label: hostile, Href: "javascript:alert(1)", Active: true}}, Limited: true, Max: hostile}},
		"text":          {"", hostile},
		"more":          {more{"/panel/x", hostile}},
		"chips":         {[]chip{}, []chip{{Label: hostile, Href: "javascript:alert(1)"}, {Label: hostile, Href: "/x", Active: true, Remove: true, Icon: "filter"}}},
		"chip":          {chip{Label: hostile}},
		"source":        {sourceBadge{"blue", hostile}},
		"empty":         {empty{"contact", hostile, hostile, "", ""}, empty{"contact", hostile, hostile, "/x", hostile}},
		"problem-line":  {&form{}, bad},
		"menu":          {menu{}, items},
		"confirm":       {confirm{ID: "c", Title: hostile, Text: hostile, Post: "/x", Params: [][2]string{{"a", hostile}}, Yes: hostile, Typed: hostile, Danger: true}, confirm{ID: "c"}},
		"picker":        {picker{ID: "p", Name: "company", Label: hostile, Placeholder: hostile, Source: "/panel/x", Error: hostile, Submit: true}, picker{}},
		"options":       {options, optionsOf(""), optionsOf(hostile)},
		"pick":          {options.Groups[0].Options[0]},
		"settings-head": {f},
		"settings-nav":  {f},
		"layout":        {f},
		"bare":          {f},
		"head":          {f},
		"logo":          {nil},
		"icons":         {nil},
		"field-rest":    {fieldOf(bad, "text", "x", "X")},
		"field": {
			fieldOf(bad, "text", "x", hostile).Hinted(hostile).Like(hostile).As("email").Needed().First(), fieldOf(&form{}, "password", "x", "X").Hinted("h"),
			fieldOf(bad, "textarea", "x", "X"), fieldOf(bad, "select", "x", "X").Chosen([]option{{hostile, hostile}}), fieldOf(&form{}, "checkbox", "x", hostile).Hinted("h"),
			fieldOf(&form{}, "text", "x", "X").Or(hostile),
		},
	}
	for name, all := range rendered {
		for _, data := range all {
			var b bytes.Buffer
			if err := panelTemplates["problem"].ExecuteTemplate(&b, name, data); err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			text := b.String()
			for _, never := range []string{"<script>alert", `href="javascript:`, " style=", "onclick", "<no value>"} {
				if strings.Contains(text, never) {
					t.Errorf("%s holds %q:\n%s", name, never, text)
				}
			}
		}
	}
	// None is left out.
	for _, one := range panelTemplates["problem"].Templates() {
		if name := one.Name(); rendered[name] == nil && !strings.HasSuffix(name, ".html") && name != "panel" && name != "content" {
			t.Errorf("no test renders the piece %q", name)
		}
	}
}

func optionsOf(q string) options { return options{Query: q} }

// TestTemplatesAreStrict looks for what the Content-Security-Policy forbids, and for
// icons that are not there.
func TestTemplatesAreStrict(t *testing.T) {
	t.Parallel()
	icons, err := files.ReadFile("templates/panel/icons.html")
	if err != nil {
		t.Fatal(err)
	}
	all, err := files.ReadDir("templates/panel")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		text, err := files.ReadFile("templates/panel/" + file.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script[^>]*>[^<]|(?:src|href|action|srcset|hx-[a-z]+)="https?://|url\(https?://|hx-on|hx-vals='js`).FindAllString(string(text), -1) {
			t.Errorf("%s has %q", file.Name(), m)
		}
		for _, m := range regexp.MustCompile(`\{\{icon "([^"]+)"`).FindAllStringSubmatch(string(text), -1) {
			if !bytes.Contains(icons, []byte(`id="i-`+m[1]+`"`)) {
				t.Errorf("%s has an unknown icon %q", file.Name(), m[1])
			}
		}
		for _, m := range regexp.MustCompile(`<form method="post"[^>]*>`).FindAllString(string(text), -1) {
			if !strings.Contains(m, "action=") {
				t.Errorf("%s has a form without an address: %s", file.Name(), m)
			}
		}
	}
}

// TestWords writes times, numbers and names.
func TestWords(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 5, 20, 12, 0, 0, 0, time.UTC)
	for want, at := range map[string]time.Time{
		"just now":    now.Add(-44 * time.Second),
		"1 min ago":   now.Add(-45 * time.Second),
		"59 min ago":  now.Add(-59*time.Minute - 59*time.Second),
		"1 h ago":     now.Add(-time.Hour),
		"23 h ago":    now.Add(-24*time.Hour + time.Second),
		"1 day ago":   now.Add(-47 * time.Hour),
		"13 days ago": now.Add(-13 * 24 * time.Hour),
		"6 May":       now.Add(-14 * 24 * time.Hour),
		"20 May 2025": now.AddDate(-1, 0, 0),
		"in 6 days":   now.Add(7*24*time.Hour - time.Second),
	} {
		if got := ago(at, now); got != want {
			t.Errorf("%s is %q, want %q", at, got, want)
		}
	}
	if got := string(when(now, now)); got != `<time datetime="2026-05-20T12:00:00Z" title="Wednesday, 20 May 2026, 12:00:00 UTC">just now</time>` {
		t.Error(got)
	}
	if when(time.Time{}, now) != none {
		t.Error("no time is shown as one")
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1 000", 1234567: "1 234 567", -1000: "-1 000", -100: "-100"} {
		if got := strings.ReplaceAll(number(n), "\u202f", " "); got != want {
			t.Errorf("%d is %q", n, got)
		}
	}
	for name, want := range map[string]string{"Ada Lovelace King": "AL", "": "", "élan": "É", "ada@acme.test": "A"} {
		if got := initials(name); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
	if got := asciiJSON([]byte(`{"a":"é–😀"}`)); got != `{"a":"\u00e9\u2013\ud83d\ude00"}` {
		t.Error(got)
	}
}

// TestPathIDs reads ids of paths.
func TestPathIDs(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{"7": 7, "9223372036854775807": 9223372036854775807, "9223372036854775808": 0, "0": 0, "-1": 0, "": 0, "x": 0, "1.0": 0} {
		ec := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/panel", nil), nil)
		ec.SetParamNames("id")
		ec.SetParamValues(text)
		got, err := (&call{Context: ec}).id("id")
		if got != want || (want == 0) != gateway.IsNotFound(err) {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
}
