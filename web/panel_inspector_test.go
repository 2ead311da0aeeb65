package web_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"civgate/gateway"
)

// ingest posts a body as a page of an origin does, and returns the status.
func (s *stack) ingest(body, origin string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.base+"/ingest", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Origin", origin)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode
}

// inspected waits until the workspace's inspector shows so many payloads, and returns
// them, newest first.
func (s *stack) inspected(n int) []gateway.InspectionView {
	s.t.Helper()
	for {
		changed := s.gateway.Inspected()
		all, err := s.gateway.Read().Inspections(s.t.Context(), s.workspace, gateway.InspectionQuery{Limit: 1000})
		if err != nil {
			s.t.Fatal(err)
		}
		if len(all) >= n {
			return all
		}
		select {
		case <-changed:
		case <-s.t.Context().Done():
			s.t.Fatalf("%d payloads are shown, want %d", len(all), n)
		}
	}
}

// hostile is what a page could put into each of its texts.
const hostile = `<script>alert(1)</script>"'><img src=x onerror=alert(2)>\u202e`

// inspectorStory posts a payload of each kind, in an order in which each gets its
// verdict, and returns how many.
func (s *stack) inspectorStory() int {
	s.t.Helper()
	post := func(status int, origin, body string) {
		s.t.Helper()
		if got := s.ingest(body, origin); got != status {
			s.t.Fatalf("%s: %d, want %d", body, got, status)
		}
		s.settle()
	}
	key := `"apiKey":"` + apiKey + `"`
	const home = "https://shop.test"
	post(200, home, `{`+key+`,"user_id":"42","email":"ada@acme.test","name":"Ada Lovelace","plan":"free","company":{"company_id":"c7","name":"Acme"},"$":{"id":"1","key":"adaadaada","type":"page","url":"https://shop.test/welcome"}}`)
	post(200, home, `{`+key+`,"$":{"id":"2","key":"visitor01","type":"page","url":"https://shop.test/pricing"}}`)
	post(200, home, `{`+key+`,"user_id":"42","$":{"id":"3","key":"visitor01","type":"page","url":"https://shop.test/account"}}`)
	post(200, home, `{`+key+`,"user_id":"42","plan":"pro","seats":12,"$":{"id":"4","key":"adaadaada","type":"update"}}`)
	post(200, home, `{`+key+`,"user_id":"42","plan":"pro","seats":12,"$":{"id":"4","key":"adaadaada","type":"update"}}`)
	post(200, home, `{`+key+`,"user_id":"42","plan":"pro","email":"ada at acme","$":{"id":"5","key":"adaadaada","type":"event","name":"signup"}}`)
	post(200, home, `{`+key+`,"user_id":"77","name":"Grace Hopper","$":{"id":"6","key":"visitor01","type":"page","url":"https://shop.test/account"}}`)
	post(403, "https://elsewhere.test", `{`+key+`,"user_id":"42","$":{"id":"7","key":"adaadaada","type":"page","url":"https://elsewhere.test/"}}`)
	post(400, home, `{`+key+`,"user_id":"42",}`)
	post(413, home, `{`+key+`,"pad":"`+strings.Repeat("x", gateway.MaxPayload)+`"}`)
	post(401, home, `{"apiKey":"TYPO","user_id":"42"}`)
	post(200, home, `{`+key+`,"user_id":"h","name":"`+strings.ReplaceAll(hostile, `"`, `\"`)+`","$":{"id":"8","key":"hostile01","type":"event","name":"`+strings.ReplaceAll(hostile, `"`, `\"`)+`"}}`)
	return 12
}

// newInspectorStack takes payloads of one website only.
func newInspectorStack(t *testing.T) *stack {
	t.Helper()
	s := newStack(t)
	settings := gateway.DefaultSettings()
	settings.Origins = []string{"shop.test"}
	if err := s.store.UpdateSettings(t.Context(), s.workspace, settings); err != nil {
		t.Fatal(err)
	}
	return s
}

var lineID = regexp.MustCompile(`data-line="(\d+)"`)

// TestInspectorPage: lines, filters, a payload unfolded, and who may see what.
func TestInspectorPage(t *testing.T) {
	t.Parallel()
	s := newInspectorStack(t)
	viewer, editor := s.as(gateway.RoleViewer), s.as(gateway.RoleEditor)
	if body := viewer.page("/panel/inspector"); !strings.Contains(body, "No payloads yet") {
		t.Errorf("without any:\n%s", body)
	}
	n := s.inspectorStory()
	all := s.inspected(n)
	body := viewer.page("/panel/inspector")
	if got := len(lineID.FindAllString(body, -1)); got != n {
		t.Errorf("%d lines, want %d", got, n)
	}
	for _, want := range []string{"Ada Lovelace", "Grace Hopper", ">Merged<", ">Switched<", ">Repeat<", ">Partly<", ">Refused<", "origin not allowed", "unknown apiKey", "too large", "not readable", "free → pro", "new contact"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script>alert") || strings.Contains(body, "<img src=x") || strings.Contains(body, apiKey) {
		t.Errorf("hostile text, or a key, is in the page:\n%s", body)
	}
	count := func(query string) int { return len(lineID.FindAllString(viewer.page("/panel/inspector"+query), -1)) }
	for query, want := range map[string]int{
		"?verdict=refused": 4, "?verdict=merged": 1, "?verdict=switched": 1, "?verdict=repeat": 1, "?verdict=partly": 1, "?verdict=accepted": 4,
		"?verdict=nonsense": n, "?who=42": 6, "?who=ada@acme.test": 6, "?who=hostile01": 1, "?who=42&verdict=merged": 1, "?who=nobody-there": 0,
		fmt.Sprintf("?before=%d", all[2].ID): n - 3,
	} {
		if got := count(query); got != want {
			t.Errorf("%s: %d lines, want %d", query, got, want)
		}
	}
	if a := viewer.get("/panel/inspector?contact=999999"); a.status != http.StatusNotFound {
		t.Errorf("a contact that is not there: %d", a.status)
	}
	if a := viewer.get("/panel/inspector?verdict=nobody"); a.status != http.StatusForbidden {
		t.Errorf("a viewer sees what is nobody's: %d", a.status)
	}
	if a := s.as(gateway.RoleOwner).get("/panel/inspector?verdict=nobody"); a.status != http.StatusOK || !strings.Contains(a.body, "Unknown sender (0)") {
		t.Errorf("an owner doesn't see what is nobody's: %d", a.status)
	}

	byVerdict := map[gateway.Verdict]gateway.InspectionView{}
	for _, v := range all {
		byVerdict[v.Verdict] = v
	}
	path := func(v gateway.Verdict) string { return fmt.Sprintf("/panel/inspector/%d", byVerdict[v].ID) }
	for verdict, want := range map[gateway.Verdict][]string{
		gateway.VerdictMerged:   {"became part of it", "Became part of another contact", "&#34;user_id&#34;: &#34;42&#34;", "Replay"},
		gateway.VerdictSwitched: {"a new contact on it", "Browser visi… belongs to"},
		gateway.VerdictPartly:   {"<code>email</code>", "plain address"},
		gateway.VerdictRefused:  {"<code>", "Nothing of it counts."},
	} {
		a := editor.fragment(path(verdict))
		if a.status != http.StatusOK || strings.Contains(a.body, "<html") {
			t.Errorf("%s: %d", verdict, a.status)
		}
		for _, text := range want {
			if !strings.Contains(a.body, text) {
				t.Errorf("%s lacks %q:\n%s", verdict, text, a.body)
			}
		}
	}
	if body := viewer.page(path(gateway.VerdictMerged)); !strings.Contains(body, "<h1><bdi>Ada Lovelace</bdi></h1>") || strings.Contains(body, "Replay") {
		t.Errorf("a viewer's page:\n%s", body)
	}
	for _, bad := range []string{"/panel/inspector/999999", "/panel/inspector/x", "/panel/inspector/0"} {
		if a := viewer.get(bad); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", bad, a.status)
		}
	}

	if a := viewer.post(path(gateway.VerdictMerged) + "/replay"); a.status != http.StatusForbidden {
		t.Errorf("a viewer replays: %d", a.status)
	}
	if a := editor.post(path(gateway.VerdictMerged) + "/replay"); a.status != http.StatusSeeOther || a.location() != "/panel/inspector" {
		t.Errorf("replay: %d to %s", a.status, a.location())
	}
	if body := editor.page("/panel/inspector"); !strings.Contains(body, "Replayed.") {
		t.Error("nobody is told of the replay")
	}
	s.settle()
	if again := s.inspected(n + 1)[0]; again.Detail.About != "/account" || again.CustomID != "42" {
		t.Errorf("replayed: %+v", again)
	}
	log, err := s.store.AuditLog(t.Context(), s.workspace, gateway.AuditQuery{Limit: 1})
	if err != nil || len(log) != 1 || log[0].Action != "payload.replay" || log[0].By != editor.email {
		t.Errorf("the audit log says %+v (%v)", log, err)
	}
}

// TestInspectorStream: lines come as they are known, after the last one that was seen,
// and the stream ends with the server.
func TestInspectorStream(t *testing.T) {
	t.Parallel()
	s := newInspectorStack(t)
	viewer := s.as(gateway.RoleViewer)
	s.inspectorStory()
	all := s.inspected(12)
	stream := func(query, last string) *bufio.Scanner {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		r := viewer.request(http.MethodGet, fmt.Sprintf("/panel/inspector/stream?workspace=%d&%s", s.workspace, query), nil).WithContext(ctx)
		if last != "" {
			r.Header.Set("Last-Event-ID", last)
		}
		res, err := viewer.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("%d %s", res.StatusCode, res.Header)
		}
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		return lines
	}
	next := func(lines *bufio.Scanner) (id, data string) {
		t.Helper()
		for lines.Scan() {
			if text, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
				id = text
			}
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return id, text
			}
		}
		t.Fatalf("the stream ended: %v", lines.Err())
		return "", ""
	}
	refused := stream("verdict=refused&after=0", fmt.Sprint(all[3].ID))
	everything := stream("after="+fmt.Sprint(all[0].ID), "")
	if s.ingest(`{"apiKey":"`+apiKey+`",]`, "https://shop.test") != 400 {
		t.Fatal("it is taken")
	}
	newest := fmt.Sprint(s.inspected(13)[0].ID)
	if id, data := next(everything); id != newest || !strings.Contains(data, `data-line=\"`+newest) || strings.Contains(data, "<") && !strings.Contains(data, "\\u003c") {
		t.Errorf("id %s, want %s:\n%s", id, newest, data)
	}
	seen := ""
	for id := ""; id != newest; {
		var data string
		id, data = next(refused)
		seen += data
	}
	if strings.Contains(seen, "Merged") || strings.Contains(seen, `data-line=\"`+fmt.Sprint(all[3].ID)) {
		t.Errorf("the filter lets through:\n%s", seen)
	}
	for query, want := range map[string]int{"workspace=999": http.StatusConflict, "verdict=nobody&workspace=1": http.StatusForbidden} {
		if a := viewer.get("/panel/inspector/stream?" + query); a.status != want {
			t.Errorf("%s: %d, want %d", query, a.status, want)
		}
	}
	s.stop()
	for everything.Scan() {
	}
	if err := everything.Err(); err != nil {
		t.Errorf("the end of the server: %v", err)
	}
}

// TestInspectorInBrowser posts a payload of each kind and sees its line come by itself.
func TestInspectorInBrowser(t *testing.T) {
	t.Parallel()
	s := newInspectorStack(t)
	b := s.as(gateway.RoleEditor).tab("/panel/inspector")
	b.until(`document.querySelector('[data-live=on]').checkVisibility()`)
	n := s.inspectorStory()
	b.until(fmt.Sprintf(`document.querySelectorAll('tr[data-line]').length === %d`, n))
	for _, verdict := range []string{"Accepted", "Partly", "Refused", "Merged", "Switched", "Repeat"} {
		if !eval[bool](b, `[...document.querySelectorAll('tr[data-line] .badge')].some((one) => one.textContent === `+quote(verdict)+`)`) {
			t.Errorf("no line says %s", verdict)
		}
	}
	if got := eval[string](b, `[...document.querySelectorAll('tr[data-line]')].map((one) => +one.dataset.line).every((id, i, all) => !i || all[i - 1] > id) ? 'sorted' : document.querySelector('#lines').innerText`); got != "sorted" {
		t.Errorf("lines are in another order:\n%s", got)
	}
	if eval[bool](b, `document.querySelector('#lines script, #lines img') !== null`) {
		t.Error("hostile text became elements")
	}

	// The keyboard opens a line, and while it is among them new ones wait.
	open := `[...document.querySelectorAll('tr[data-line]')].find((one) => one.textContent.includes('Merged')).querySelector('a')`
	eval[bool](b, open+`.focus() ?? true`)
	b.until(`document.querySelector('[data-live=paused]').checkVisibility()`)
	eval[bool](b, open+`.click() ?? true`)
	b.until(`document.querySelector('.unfolded')?.textContent.includes('became part of it')`)
	if s.ingest(`{"apiKey":"`+apiKey+`",]`, "https://shop.test") != 400 {
		t.Fatal("it is taken")
	}
	b.until(`document.querySelector('[data-fresh]').textContent.includes('1 new')`)
	if got := eval[int](b, `document.querySelectorAll('tr[data-line]').length`); got != n {
		t.Errorf("%d lines while paused, want %d", got, n)
	}
	inspectorPictures(b, "inspector")
	eval[bool](b, `document.activeElement.blur() ?? true`)
	b.until(fmt.Sprintf(`document.querySelectorAll('tr[data-line]').length === %d`, n+1))
	eval[bool](b, open+`.click() ?? true`)
	b.until(`document.querySelector('.unfolded') === null`)

	// The stream comes back where it was.
	s.cut()
	b.until(`document.querySelector('[data-live=on]').checkVisibility()`)
	if s.ingest(`{"apiKey":"`+apiKey+`",]`, "https://shop.test") != 400 {
		t.Fatal("it is taken")
	}
	b.until(fmt.Sprintf(`document.querySelectorAll('tr[data-line]').length === %d`, n+2))
	b.expectConsole("panel/inspector/stream") // that it was cut

	// Filters are in the address, and live as well.
	b.open("/panel/inspector?verdict=refused&who=42")
	b.until(`document.querySelector('#no-lines').checkVisibility()`)
	b.open("/panel/inspector?who=ada@acme.test")
	b.until(`document.querySelectorAll('tr[data-line]').length === 6`)
	b.click(`tr[data-line] a`)
	b.until(`document.querySelector('.unfolded form button') !== null`)
	b.click(`.unfolded form button`)
	s.inspected(n + 3) // TestInspectorPage looks at what the page says
	b.open("/panel/inspector?verdict=repeat")
	inspectorPictures(b, "inspector-filtered")
}

// inspectorPictures are pictures of a page to look at, where the flag shots says.
func inspectorPictures(b *tab, name string) {
	b.t.Helper()
	dir := *shots
	if dir == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			b.media(scheme(theme))
			b.size(width, 800)
			b.picture(filepath.Join(dir, fmt.Sprintf("%s-%s-%d.png", name, theme, width)))
		}
	}
	b.size(1280, 800)
	b.media(scheme("light"))
}
