package api_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

func TestShapes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	for _, tt := range []struct{ name, path string }{
		{"contact_full", "/users/1/"},
		{"contact_email_only", "/users/2/"},
		{"contact_visitor", "/users/3/"},
		{"contact_first_last", "/users/4/"},
		{"company_full", "/companies/1/"},
		{"company_no_custom_id", "/companies/2/"},
		{"company_no_name", "/companies/3/"},
		{"contacts", "/users/?limit=2"},
		{"companies", "/companies/?limit=1"},
		{"contacts_many", "/users/search/?email=ada@acme.test&many=True"},
		{"events", "/users/1/events/"},
		{"product_events", "/users/1/product_events/"},
		{"ping_hits", "/users/1/ping_hits/"},
		{"ping_hits_none", "/users/2/ping_hits/"},
		{"timeline", "/users/1/timeline/"},
		{"emails", "/users/1/emails/"},
		{"all_events", "/events/"},
		{"one_event", "/events/1/"},
	} {
		w.run(t, []scenario{
			{name: tt.name + " v1", path: tt.path, golden: tt.name + ".v1"},
			{name: tt.name + " v2", path: tt.path, header: inV2, golden: tt.name + ".v2"},
		})
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	one := func(id int) []string { return []string{fmt.Sprintf(`{"id":%d,`, id)} }
	const notFound = `{"detail":"Not found."}`
	w.run(t, []scenario{
		{name: "by id", path: "/users/1/", contain: one(1)},
		{name: "by id, no slash", path: "/users/1", contain: one(1)},
		{name: "by id, stray slash", path: "/users/1//", contain: one(1)},
		{name: "by id, leading zeros", path: "/users/001/", contain: one(1)},
		{name: "merged id is the survivor", path: "/users/5/", contain: one(1)},
		{name: "unknown id", path: "/users/99/", status: 404, want: notFound},
		{name: "id zero", path: "/users/0/", status: 404, want: notFound},
		{name: "negative id", path: "/users/-1/", status: 404, want: notFound},
		{name: "signed id", path: "/users/+1/", status: 404, want: notFound},
		{name: "word as id", path: "/users/abc/", status: 404, want: notFound},
		{name: "e-mail as id", path: "/users/ada@acme.test/", status: 404, want: notFound},
		{name: "fraction as id", path: "/users/1.0/", status: 404, want: notFound},
		{name: "id beyond int64", path: "/users/9223372036854775808/", status: 404, want: notFound},
		{name: "id of 400 digits", path: "/users/" + strings.Repeat("9", 400) + "/", status: 404, want: notFound},
		{name: "empty id", path: "/users//", status: 404, want: notFound},

		{name: "by custom id", path: "/users-by-id/42/", contain: one(1)},
		{name: "by custom id, no slash", path: "/users-by-id/42", contain: one(1)},
		{name: "custom id with @", path: "/users-by-id/user@123/", contain: one(4)},
		{name: "custom id with escaped @", path: "/users-by-id/user%40123/", contain: one(4)},
		{name: "custom id with stray slash", path: "/users-by-id/user@123//", contain: one(4)},
		{name: "custom id with escaped stray slash", path: "/users-by-id/user@123%2F/", contain: one(4)},
		{name: "custom id with escaped slash and =", path: "/users-by-id/b64%2F+w==/", contain: one(6)},
		{name: "custom id all escaped", path: "/users-by-id/b64%2f%2Bw%3D%3d", contain: one(6)},
		{name: "unknown custom id", path: "/users-by-id/nobody/", status: 404, want: notFound},
		{name: "empty custom id", path: "/users-by-id//", status: 404, want: notFound},
		{name: "NUL in custom id", path: "/users-by-id/4%002/", status: 404, want: notFound},
		{name: "invalid UTF-8 in custom id", path: "/users-by-id/%ff%fe/", status: 404, want: notFound},
		{name: "custom id called search", path: "/users-by-id/search/", status: 404, want: notFound},

		{name: "events by custom id", path: "/users-by-id/42/events/", contain: []string{`"count":2,`, `"name":"login"`}},
		{name: "page views by custom id, no slash", path: "/users-by-id/42/ping_hits", contain: []string{`"count":3,`}},
		{name: "product events by custom id", path: "/users-by-id/42/product_events/", contain: []string{`"count":1,`, `"name":"add to cart"`}},
		{name: "page views of a merged id", path: "/users/5/ping_hits/", contain: []string{`"count":3,`}},
		{name: "events of nobody", path: "/users/99/events/", status: 404, want: notFound},
		{name: "history by number", path: "/users/1/ping_hits/?limit=2&page=2", contain: []string{`"count":3,"next":null,"previous":"http://example.com/api/public/users/1/ping_hits/?limit=2&page=1"`, `"page_path":"/",`}},
		{name: "history beyond its end", path: "/users/1/ping_hits/?limit=2&page=3", status: 404, want: notFound},

		{name: "search e-mail: who has a custom id first", path: "/users/search/?email=ada@acme.test", contain: one(1)},
		{name: "search e-mail in other case", path: "/users/search?email=ADA%40acme.TEST", contain: one(1)},
		{name: "search e-mail with a bare plus", path: "/users/search/?email=anna+test@acme.test", contain: one(6)},
		{name: "search e-mail with an escaped plus", path: "/users/search/?email=anna%2Btest@acme.test", contain: one(6)},
		{name: "search e-mail with a stray slash", path: "/users/search/?email=ada@acme.test/", contain: one(1)},
		{name: "search unknown e-mail", path: "/users/search/?email=nobody@acme.test", status: 404, want: notFound},
		{name: "search unknown e-mail, many", path: "/users/search/?email=nobody@acme.test&many=true", status: 404, want: notFound},
		{name: "search no e-mail", path: "/users/search/?email=", status: 404, want: notFound},
		{name: "search e-mail that is none", path: "/users/search/?email=%00", status: 404, want: notFound},
		{name: "search newest key", path: "/users/search/?key=ngze13ffndcv", contain: one(1)},
		{name: "search older key, answer names the newest", path: "/users/search/?key=g3FaYocCy0U6", contain: []string{`{"id":1,"key":"ngze13ffndcv"`}},
		{name: "search key in v2", path: "/users/search/?key=g3FaYocCy0U6", header: inV2, contain: []string{`{"id":1,"user_key":"ngze13ffndcv"`}},
		{name: "search key many", path: "/users/search/?key=xzokp8bdcixx&many=true", contain: []string{`[{"id":3,`}},
		{name: "search key in other case", path: "/users/search/?key=NGZE13FFNDCV", status: 404, want: notFound},
		{name: "search phone in v1", path: "/users/search/?phone_number=%2B48123456789", contain: one(1)},
		{name: "search phone with a bare plus", path: "/users/search/?phone_number=+48123456789", contain: one(1)},
		{name: "search phone in v2", path: "/users/search/?phone_number=+48123456789", header: inV2, contain: []string{`{"count":2,"next":null,"previous":null,"results":[{"id":1,`, `{"id":4,`}},
		{name: "search phone many", path: "/users/search/?phone_number=+48123456789&many=true", contain: []string{`[{"id":1,`, `{"id":4,`}},
		{name: "search unknown phone in v2", path: "/users/search/?phone_number=+48000", header: inV2, status: 404, want: notFound},
		{name: "search user_id", path: "/users/search/?user_id=user@123", contain: one(4)},
		{name: "search user_id by id", path: "/users-by-id/search/?user_id=user@123", contain: one(4)},
		{name: "search custom_id", path: "/users/search/?custom_id=42", header: inV2, contain: one(1)},
		{name: "search nothing", path: "/users/search/", status: 400, want: `{"errors":{"non_field_errors":["One of email, key, phone_number, user_id and custom_id is required."]}}`},

		{name: "company by id", path: "/companies/1/", contain: one(1)},
		{name: "company by id, no slash", path: "/companies/1", contain: one(1)},
		{name: "company by id that is none", path: "/companies/c7/", status: 404, want: notFound},
		{name: "company by custom id", path: "/companies-by-id/c7/", contain: one(1)},
		{name: "company by custom id, no slash", path: "/companies-by-id/c7", contain: one(1)},
		{name: "company by awkward custom id", path: "/companies-by-id/group@795%2Fa%20b/", contain: one(3)},
		{name: "company by unknown custom id", path: "/companies-by-id/c8/", status: 404, want: notFound},
		{name: "company search", path: "/companies/search/?company_id=c7", contain: one(1)},
		{name: "company search in v2", path: "/companies/search?custom_id=c7", header: inV2, contain: one(1)},
		{name: "company search unknown", path: "/companies/search/?company_id=c8", status: 404, want: notFound},
		{name: "company search nothing", path: "/companies/search/", status: 400, contain: []string{`{"errors":{"non_field_errors":`}},
		{name: "a contact's custom id is no company's", path: "/companies-by-id/42/", status: 404, want: notFound},

		{name: "unknown path", path: "/tickets/", status: 404, want: notFound},
		{name: "unknown path without token", path: "/tickets/", token: "-", status: 404, want: notFound},
		{name: "unknown sub-list", path: "/users/1/nothing/", status: 404, want: notFound},
		{name: "the base itself", path: "", status: 404, want: notFound},
		{name: "the base with a slash", path: "/", status: 404, want: notFound},
	})
}

func TestRequestRules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	const noCredentials = `{"detail":"Authentication credentials were not provided."}`
	token := map[string]string{"WWW-Authenticate": "Token"}
	accept := func(s string) map[string]string { return map[string]string{"Accept": s} }
	isV1, isV2 := []string{`"key":"ngze13ffndcv"`, `"user_id":"42"`}, []string{`"user_key":"ngze13ffndcv"`, `"custom_id":"42"`}
	w.run(t, []scenario{
		{name: "headers of an answer", path: "/users/1/", answer: map[string]string{
			"Content-Type": "application/json", "Vary": "Accept, Cookie", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
			"X-Frame-Options": "SAMEORIGIN", "Allow": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS", "WWW-Authenticate": "", "Set-Cookie": ""}},
		{name: "headers of a 404", path: "/users/99/", status: 404, answer: map[string]string{
			"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Allow": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"}},

		{name: "no token", path: "/users/", token: "-", status: 401, want: noCredentials, answer: token},
		{name: "empty header", path: "/users/", token: " ", status: 401, want: noCredentials, answer: token},
		{name: "another scheme", path: "/users/", token: "Bearer " + acmeToken, status: 401, want: noCredentials, answer: token},
		{name: "no scheme", path: "/users/", token: acmeToken, status: 401, want: noCredentials, answer: token},
		{name: "scheme alone", path: "/users/", token: "Token", status: 401, want: `{"detail":"Invalid token header. No credentials provided."}`, answer: token},
		{name: "two tokens", path: "/users/", token: "Token a b", status: 401, want: `{"detail":"Invalid token header. Token string should not contain spaces."}`, answer: token},
		{name: "unknown token", path: "/users/", token: "Token nobody", status: 401, want: `{"detail":"Invalid token."}`, answer: token},
		{name: "widget key as token", path: "/users/", token: "Token acmeKey", status: 401, want: `{"detail":"Invalid token."}`, answer: token},
		{name: "scheme in lower case", path: "/users/1/", token: "token " + acmeToken},
		{name: "spaces around the token", path: "/users/1/", token: "Token   " + acmeToken + " "},
		{name: "a 401 has Allow", path: "/users/", token: "-", status: 401, answer: map[string]string{"Allow": "GET, POST, HEAD, OPTIONS"}},

		{name: "no version", path: "/users/1/", contain: isV1},
		{name: "version 1", path: "/users/1/", header: accept("*/*; version=1"), contain: isV1},
		{name: "version 2", path: "/users/1/", header: accept("*/*; version=2"), contain: isV2},
		{name: "version 2 without a space", path: "/users/1/", header: accept("*/*;version=2"), contain: isV2},
		{name: "version 2 behind a space", path: "/users/1/", header: accept(" */*; version=2"), contain: isV2},
		{name: "version 2 of JSON", path: "/users/1/", header: accept(`application/json; charset=utf-8 ; Version = "2"`), contain: isV2},
		{name: "version 2 of the second range", path: "/users/1/", header: accept("text/html, */*; version=2; q=0.5"), contain: isV2},
		{name: "another parameter", path: "/users/1/", header: accept("*/*; q=0.2; myversion=2"), contain: isV1},
		{name: "unknown version", path: "/users/1/", header: accept("*/*; version=3"), status: 406, want: `{"detail":"Invalid version in \"Accept\" header."}`},

		{name: "PUT to a list", method: "PUT", path: "/users/", status: 405, want: `{"detail":"Method \"PUT\" not allowed."}`, answer: map[string]string{"Allow": "GET, POST, HEAD, OPTIONS"}},
		{name: "GET of an action", path: "/users/1/set_attribute/", status: 405, answer: map[string]string{"Allow": "POST, OPTIONS"}},
		{name: "PUT to what may be deleted", method: "PUT", path: "/users-by-id/42/remove_tag", status: 405, answer: map[string]string{"Allow": "POST, DELETE, OPTIONS"}},
		{name: "GET of a mass update", path: "/users/mass_update_custom_attributes/", status: 405, answer: map[string]string{"Allow": "POST, PUT, OPTIONS"}},
		{name: "OPTIONS of a contact", method: "OPTIONS", path: "/users-by-id/42", status: 204, answer: map[string]string{"Allow": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"}},
		{name: "PUT to the search", method: "PUT", path: "/users/search/", status: 405, answer: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
		{name: "DELETE without the slash", method: "DELETE", path: "/companies/1/members", status: 405, answer: map[string]string{"Allow": "GET, HEAD, OPTIONS"}},
		{name: "POST by custom id", method: "POST", path: "/users-by-id/42/", status: 405, answer: map[string]string{"Allow": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"}},
		{name: "a method of WebDAV", method: "PROPFIND", path: "/users/1/", status: 405, answer: map[string]string{"Allow": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"}},
		{name: "a method of nobody", method: "LINK", path: "/users-by-id/42/events", status: 405, want: `{"detail":"Method \"LINK\" not allowed."}`, answer: map[string]string{"Allow": "GET, POST, HEAD, OPTIONS"}},
		{name: "405 needs a token", method: "PUT", path: "/users/", token: "-", status: 401, want: noCredentials},
		{name: "OPTIONS", method: "OPTIONS", path: "/users/1/events", status: 204, answer: map[string]string{"Allow": "GET, POST, HEAD, OPTIONS"}},

		{name: "filter of companies", path: "/companies/?name__near=a&limit=2", status: 400, contain: []string{`{"errors":{"name__near":[`}},
		{name: "limit zero", path: "/users/?limit=0", status: 400, want: `{"errors":{"limit":["A whole number from 1 to 100 is required."]}}`},
		{name: "limit negative", path: "/companies/?limit=-1", status: 400, contain: []string{`"limit"`}},
		{name: "limit no number", path: "/users/1/events/?limit=all", status: 400, contain: []string{`"limit"`}},
		{name: "limit beyond int64", path: "/users/?limit=99999999999999999999", status: 400, contain: []string{`"limit"`}},
		{name: "limit above 100 counts as 100", path: "/users/?limit=1000", contain: []string{`"count":5,"next":null,"previous":null,`}},
		{name: "page zero", path: "/users/?page=0", status: 400, contain: []string{`"page"`}},
		{name: "page too deep", path: "/users/?page=102", status: 400, contain: []string{`Follow the link in next instead.`}},
		{name: "page beyond the end", path: "/users/?page=2", status: 404, want: `{"detail":"Not found."}`},
		{name: "page just beyond the end", path: "/users/?page=6&limit=1", status: 404, want: `{"detail":"Not found."}`},
		{name: "last page", path: "/users/?page=5&limit=1", contain: []string{`"next":null,"previous":"http`, `"results":[{"id":1,`}},
		{name: "page 1", path: "/users/?page=1", contain: []string{`"count":5,"next":null,"previous":null,"results":[{"id":6,`}},
		{name: "page 2", path: "/users/?page=2&limit=2", contain: []string{`"results":[{"id":3,`, `{"id":2,`}, without: []string{`{"id":1,"key"`}},
		{name: "cursor that is none", path: "/users/?cursor=abc", status: 400, want: `{"errors":{"cursor":["Invalid cursor. Follow the links of a page as they are."]}}`},
		{name: "empty cursor", path: "/users/?cursor=", contain: []string{`"results":[{"id":6,`}},
	})
}

// TestHead needs a real server: only that takes bodies away from a HEAD.
func TestHead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	srv := httptest.NewServer(w.echo)
	defer srv.Close()
	call := func(method string) (*http.Response, string) {
		req, err := http.NewRequest(method, srv.URL+"/api/public/users/1/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Token "+acmeToken)
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res, string(body)
	}
	get, body := call(http.MethodGet)
	head, none := call(http.MethodHead)
	if head.StatusCode != http.StatusOK || none != "" {
		t.Errorf("HEAD: status %d, body %q", head.StatusCode, none)
	}
	get.Header.Del("Date")
	head.Header.Del("Date")
	if diff := cmp.Diff(get.Header, head.Header); diff != "" {
		t.Errorf("headers of GET and HEAD (-get +head):\n%s", diff)
	}
	if get.ContentLength != int64(len(body)) || head.ContentLength != get.ContentLength {
		t.Errorf("Content-Length: GET %d (body %d), HEAD %d", get.ContentLength, len(body), head.ContentLength)
	}
}

// listing is a page as a client reads it.
type listing struct {
	Count    int64
	Next     *string
	Previous *string
	Results  []struct{ ID int64 }
}

func (w *world) list(t testing.TB, path string) listing {
	t.Helper()
	rec := w.do(scenario{path: path})
	if rec.Code != http.StatusOK {
		t.Fatalf("GET %s: status %d: %s", path, rec.Code, rec.Body)
	}
	var l listing
	if err := json.Unmarshal(rec.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// follow is the path of a link, as do takes it.
func follow(t testing.TB, link *string) string {
	t.Helper()
	path, ok := strings.CutPrefix(*link, "http://example.com/api/public")
	if !ok {
		t.Fatalf("link %s leads elsewhere", *link)
	}
	return path
}

func (l listing) ids() []int64 {
	var ids []int64
	for _, r := range l.Results {
		ids = append(ids, r.ID)
	}
	return ids
}

// TestPages walks lists forth and back: every row once, in order, whether ids
// are dense or not.
func TestPages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		gap  func(i int) int64 // between the i-th id and the next
	}{
		{"dense", func(int) int64 { return 1 }},
		{"even gaps", func(int) int64 { return 7 }},
		{"uneven gaps", func(i int) int64 { return 1 + int64(i%5)*int64(i)*97 }},
		{"one wide gap", func(i int) int64 { return 1 + int64(i/5)*int64(6/(i+1))*1_000_000 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			const n = 11
			var want []int64
			c := &gateway.Changes{}
			for i, id := 0, int64(1); i < n; i++ {
				want = append(want, id)
				c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: gateway.ContactID(id), WorkspaceID: w.acme, Email: "a@b.test", EmailKey: "a@b.test", CreatedAt: now, UpdatedAt: now})
				c.NewCompanies = append(c.NewCompanies, &gateway.Company{ID: gateway.CompanyID(id), WorkspaceID: w.acme, Name: "n", CreatedAt: now, UpdatedAt: now})
				id += tt.gap(i)
			}
			slices.Reverse(want)
			w.save(t, w.acme, c)
			for _, list := range []string{"/users/", "/companies"} {
				for _, limit := range []int{1, 4, 10, 11, 100} {
					path := fmt.Sprintf("%s?limit=%d&_=a%%26b", list, limit)
					var pages [][]int64
					var back *string
					for {
						l := w.list(t, path)
						if l.Count != n {
							t.Fatalf("count %d, want %d", l.Count, n)
						}
						pages = append(pages, l.ids())
						if l.Next == nil {
							back = l.Previous
							break
						}
						if !strings.Contains(*l.Next, "_=a%26b") || !strings.Contains(*l.Next, fmt.Sprintf("limit=%d", limit)) {
							t.Fatalf("next %s lost a parameter", *l.Next)
						}
						path = follow(t, l.Next)
					}
					if diff := cmp.Diff(want, slices.Concat(pages...)); diff != "" {
						t.Fatalf("%s by %d (-want +got):\n%s", list, limit, diff)
					}
					for i := len(pages) - 2; i >= 0; i-- {
						if back == nil {
							t.Fatalf("%s by %d: page %d has no previous", list, limit, i+2)
						}
						l := w.list(t, follow(t, back))
						if diff := cmp.Diff(pages[i], l.ids()); diff != "" {
							t.Fatalf("%s by %d, back to page %d (-want +got):\n%s", list, limit, i+1, diff)
						}
						if l.Next == nil {
							t.Fatalf("%s by %d, back on page %d: no next", list, limit, i+1)
						}
						if diff := cmp.Diff(pages[i+1], w.list(t, follow(t, l.Next)).ids()); diff != "" {
							t.Fatalf("%s by %d, forth from page %d (-want +got):\n%s", list, limit, i+1, diff)
						}
						back = l.Previous
					}
					if back != nil {
						t.Fatalf("%s by %d: the first page has a previous: %s", list, limit, *back)
					}
				}
			}
		})
	}
}

// TestPagesWhileDataChanges: a new contact neither moves nor repeats a row.
func TestPagesWhileDataChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	first := w.list(t, "/users/?limit=2")
	w.save(t, w.acme, &gateway.Changes{NewContacts: []*gateway.Contact{{ID: 7, WorkspaceID: w.acme, CustomID: "new", CreatedAt: now, UpdatedAt: now}}})
	second := w.list(t, follow(t, first.Next))
	if diff := cmp.Diff([]int64{3, 2}, second.ids()); diff != "" {
		t.Errorf("second page (-want +got):\n%s", diff)
	}
	back := w.list(t, follow(t, second.Previous))
	if diff := cmp.Diff(first.ids(), back.ids()); diff != "" {
		t.Errorf("back on the first page (-want +got):\n%s", diff)
	}
	if back.Previous == nil {
		t.Fatal("nothing leads to the new contact")
	}
	if diff := cmp.Diff([]int64{7}, w.list(t, follow(t, back.Previous)).ids()); diff != "" {
		t.Errorf("before the first page (-want +got):\n%s", diff)
	}
}

// TestCursorOfAnotherList: a cursor leads nowhere but in its own list.
func TestCursorOfAnotherList(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	u, err := url.Parse(*w.list(t, "/users/?limit=2").Next)
	if err != nil {
		t.Fatal(err)
	}
	cursor := u.Query().Get("cursor")
	if strings.ContainsAny(cursor, "+/=%&?#") {
		t.Errorf("cursor %q is not safe in a URL", cursor)
	}
	w.check(t, scenario{path: "/users/?cursor=" + cursor})
	w.check(t, scenario{path: "/companies/?cursor=" + cursor, status: 400, contain: []string{`{"errors":{"cursor":[`}})
	for i := range len(cursor) {
		b := []byte(cursor)
		b[i] ^= 1
		w.check(t, scenario{path: "/users/?cursor=" + url.QueryEscape(string(b)), status: 400, contain: []string{`{"errors":{"cursor":[`}})
	}
}

func TestLinksBehindProxy(t *testing.T) {
	t.Parallel()
	forwarded := map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": "crm.acme.test"}
	for _, tt := range []struct {
		name    string
		trusted string
		header  map[string]string
		want    string
	}{
		{"no proxy trusted", "", forwarded, "http://example.com/"},
		{"another proxy trusted", "198.51.100.0/24", forwarded, "http://example.com/"},
		{"trusted", "192.0.2.0/24", forwarded, "https://crm.acme.test/"},
		{"trusted, nothing forwarded", "192.0.2.0/24", nil, "http://example.com/"},
		{"trusted, with a port", "192.0.2.0/24", map[string]string{"X-Forwarded-Host": "crm.acme.test:8443"}, "http://crm.acme.test:8443/"},
		{"trusted, added to a forged one", "192.0.2.0/24", map[string]string{"X-Forwarded-Host": "evil.test, crm.acme.test", "X-Forwarded-Proto": "http, HTTPS"}, "https://crm.acme.test/"},
		{"trusted, no host", "192.0.2.0/24", map[string]string{"X-Forwarded-Host": "crm/?x=", "X-Forwarded-Proto": "javascript"}, "http://example.com/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var trusted []netip.Prefix
			if tt.trusted != "" {
				trusted = append(trusted, netip.MustParsePrefix(tt.trusted))
			}
			w := newWorld(t, trusted...)
			w.people(t)
			w.check(t, scenario{path: "/users/?limit=2", header: tt.header, contain: []string{`"next":"` + tt.want + `api/public/users/?cursor=`}})
		})
	}
}

// TestWorkspacesApart asks for everything of the first workspace with the
// token of the second, on every route.
func TestWorkspacesApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	w.save(t, w.other, &gateway.Changes{
		NewContacts:  []*gateway.Contact{{ID: 7, WorkspaceID: w.other, CustomID: "42", Email: "bob@other.test", EmailKey: "bob@other.test", CreatedAt: now, UpdatedAt: now}},
		NewCompanies: []*gateway.Company{{ID: 4, WorkspaceID: w.other, CustomID: "c7", Name: "Other", CreatedAt: now, UpdatedAt: now}},
	})
	// Routes that take no GET are for TestWritesApart.
	untested := make(map[string]bool)
	for _, r := range w.echo.Routes() {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodOptions, strings.NewReplacer(":id", "1", "*", "x").Replace(r.Path), nil)
		w.echo.ServeHTTP(rec, req)
		if r.Method == http.MethodGet && strings.HasPrefix(rec.Header().Get("Allow"), http.MethodGet) {
			untested[r.Path] = true
		}
	}
	check := func(sc scenario) {
		t.Helper()
		req := httptest.NewRequest(http.MethodGet, "/api/public"+sc.path, nil)
		c := w.echo.NewContext(req, nil)
		w.echo.Router().Find(http.MethodGet, echo.GetPath(req), c)
		for _, end := range []string{"", "/", "//"} {
			delete(untested, strings.TrimRight(c.Path(), "/")+end)
		}
		w.check(t, scenario{path: sc.path}) // its owner may
		sc.token = "Token " + otherToken
		w.check(t, sc)
	}
	for _, tt := range []struct{ path, want string }{
		{"/users/", `{"count":1,"next":null,"previous":null,"results":[{"id":7,`},
		{"/users/?cursor=" + cursorText(t, w, 3), `{"count":1,"next":null,`},
		{"/users/?page=1", `{"count":1,"next":null,"previous":null,"results":[{"id":7,`},
		{"/companies/", `{"count":1,"next":null,"previous":null,"results":[{"id":4,`},
		{"/users-by-id/42/", `{"id":7,`},
		{"/users-by-id/42/events/", `{"count":0,`},
		{"/users-by-id/42/product_events/", `{"count":0,`},
		{"/users-by-id/42/ping_hits/", `{"count":0,`},
		{"/users-by-id/42/timeline/", `{"count":0,`},
		{"/users-by-id/42/emails/", `{"count":0,`},
		{"/events/", `{"count":0,`},
		{"/companies-by-id/c7/", `{"id":4,`},
		{"/users/search/?user_id=42", `{"id":7,`},
		{"/users-by-id/search/?user_id=42", `{"id":7,`},
		{"/companies/search/?company_id=c7", `{"id":4,`},
		{"/companies-by-id/c7/members/", `"results":[]`},
		{"/attributes/", `"results":[]`},
		{"/tags/", `"results":[]`},
		{"/lists/", `"results":[]`},
		{"/segments/", `"results":[]`},
		{"/users-by-id/42/segments/", `{"count":0,`},
	} {
		check(scenario{path: tt.path, contain: []string{tt.want}, without: []string{`{"id":1,`, "cme", "Ada", "user@123"}})
	}
	for _, path := range []string{
		"/users/1/", "/users/5/", "/users/1/events/", "/users/1/product_events/", "/users/1/ping_hits/", "/users/1/segments/", "/users/1/timeline/", "/users/1/emails/",
		"/lists/1/", "/lists/1/users/", "/segments/1/", "/segments/1/users/", "/events/1/", "/users-by-id/user@123/timeline/", "/users-by-id/user@123/emails/",
		"/users-by-id/user@123/", "/users-by-id/user@123/events/", "/users-by-id/user@123/product_events/", "/users-by-id/user@123/ping_hits/",
		"/users/search/?email=ada@acme.test", "/users/search/?email=ada@acme.test&many=true", "/users/search/?key=ngze13ffndcv",
		"/users/search/?phone_number=+48123456789", "/users/search/?user_id=user@123", "/users-by-id/search/?user_id=user@123",
		"/companies/1/", "/companies-by-id/group@795%2Fa%20b/", "/companies/search/?company_id=group@795%2Fa%20b",
		"/companies/1/members/", "/companies-by-id/group@795%2Fa%20b/members/", "/attributes/1/", "/attribute-type/plan/users/", "/attribute-type/plan/companies/",
		"/tags/1/", "/tags/1/users/", "/tags/1/companies/",
	} {
		check(scenario{path: path, status: 404, want: `{"detail":"Not found."}`})
	}
	for _, path := range []string{"/users/export/", "/users/export", "/companies/export/", "/companies/export", "/memberships/export", "/memberships/export/"} {
		check(scenario{path: path, status: 200, without: []string{"cme", "Ada", "user@123"}})
	}

	for path := range untested {
		if strings.HasPrefix(path, "/api/public/products") || strings.HasPrefix(path, "/api/public/deals") {
			continue // in TestCompanyWorkspacesApart
		}
		// The 404s; and the settings, for TestWorkspaceSettings and TestAssignOverREST.
		if path != "/api/public" && path != "/api/public/*" && !strings.HasPrefix(path, "/api/workspace") {
			t.Errorf("route %s is not tested", path)
		}
	}
}

// TestStoreGone: what the store can't answer now is a 503 on every route.
func TestStoreGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/users/", "/users/1/", "/users-by-id/42/events/", "/users/search/?email=ada@acme.test", "/companies/", "/companies-by-id/c7/", "/tags/", "/tags/1/", "/tags/1/users/"} {
		w.check(t, scenario{path: path, status: 503, contain: []string{`{"detail":"`}, without: []string{"sql", "database"},
			answer: map[string]string{"Retry-After": "1", "Content-Type": "application/json"}})
	}
}

// TestTokensApart: a remembered token names its own workspace only.
func TestTokensApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	for range 3 {
		w.check(t, scenario{path: "/users/", contain: []string{`{"count":5,`}})
		w.check(t, scenario{path: "/users/", token: "Token " + otherToken, want: `{"count":0,"next":null,"previous":null,"results":[]}`})
		w.check(t, scenario{path: "/users/", token: "Token " + acmeToken + "x", status: 401})
	}
}

// cursorText is the cursor behind the first n contacts of the first workspace.
func cursorText(t testing.TB, w *world, n int) string {
	t.Helper()
	u, err := url.Parse(*w.list(t, fmt.Sprintf("/users/?limit=%d", n)).Next)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("cursor")
}

// FuzzPathID: whatever stands where an id belongs, the answer is the object
// that has the id, or a 404; never an error of ours, never a redirect.
func FuzzPathID(f *testing.F) {
	for _, s := range []string{"1", "42", "user@123", "user%40123", "b64%2F+w==", "%00", "%ff", "%", "%zz", "..", ".", "a/b", "%2e%2e%2f", "1;2", "1?x", "*", ":id", "search", strings.Repeat("9", 40)} {
		f.Add(s)
	}
	w := newWorld(f)
	w.people(f)
	f.Fuzz(func(t *testing.T, id string) {
		for _, path := range []string{"/users/", "/users-by-id/", "/companies/", "/companies-by-id/"} {
			for _, end := range []string{"", "/", "/events/", "//"} {
				// Both as clients should write it and, where it can be a request
				// at all, as they do.
				targets := []string{path + url.PathEscape(id) + end}
				if u, err := url.ParseRequestURI("/api/public" + path + id + end); err == nil && u.Path != "" && !strings.ContainsAny(id, " \r\n\t") {
					targets = append(targets, path+id+end)
				}
				for _, target := range targets {
					rec := w.do(scenario{path: target})
					switch rec.Code {
					case http.StatusOK, http.StatusNotFound, http.StatusBadRequest:
					default:
						t.Errorf("GET %q: status %d: %s", target, rec.Code, rec.Body)
					}
					if !json.Valid(rec.Body.Bytes()) {
						t.Errorf("GET %q: body is no JSON: %s", target, rec.Body)
					}
				}
			}
		}
		if rec := w.do(scenario{path: "/users-by-id/" + url.PathEscape(id) + "/"}); rec.Code == http.StatusOK {
			var got struct {
				UserID string `json:"user_id"`
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &got); err == nil && got.UserID != strings.TrimRight(id, "/") && got.UserID != id {
				t.Errorf("asked for %q, got %q", id, got.UserID)
			}
		}
	})
}

// BenchmarkREST measures a whole request, from the router to the body.
func BenchmarkREST(b *testing.B) {
	w := newWorld(b)
	w.people(b)
	c := &gateway.Changes{}
	for id := gateway.ContactID(100); id < 1100; id++ {
		c.NewContacts = append(c.NewContacts, &gateway.Contact{ID: id, WorkspaceID: w.acme, CustomID: fmt.Sprint("u", id), CreatedAt: now, UpdatedAt: now,
			Attributes: attrs("name", text("Ada"), "plan", text("gold"), "score", gateway.IntValue(3))})
		c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: w.acme, ContactID: id, CompanyID: 1, Source: gateway.SourceWidget, Since: now})
	}
	w.save(b, w.acme, c)
	for _, path := range []string{"/users/1/", "/users-by-id/42/", "/users/search/?email=ada@acme.test", "/users/?limit=100", "/users/?limit=10&page=50", "/companies/1/"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if rec := w.do(scenario{path: path, header: inV2}); rec.Code != http.StatusOK {
					b.Fatal(rec.Code, rec.Body)
				}
			}
		})
	}
}
