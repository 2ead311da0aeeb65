package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"civgate/gateway/api"
)

// keyed makes a request with an Idempotency-Key.
func (w *wire) keyed(token, key, line, body string) *httptest.ResponseRecorder {
	w.t.Helper()
	method, path, _ := strings.Cut(line, " ")
	req := httptest.NewRequest(method, "/api/public"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Token "+token)
	req.Header.Set("Accept", "*/*; version=2")
	req.Header.Set("Idempotency-Key", key)
	rec := httptest.NewRecorder()
	w.echo.ServeHTTP(rec, req)
	api.CheckExchange(w.t, w.echo, req, body, rec)
	return rec
}

// count is how many contacts there are.
func (w *wire) count() int64 {
	w.t.Helper()
	n, err := w.store.CountContacts(w.t.Context(), w.acme)
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// TestIdempotencyKey: a write sent again with its key is done once and answered as before,
// also when what it made has changed since.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		contact := w.contact("u1", "")
		company := w.must(http.StatusCreated, "POST /companies/", `{"custom_id":"c1","name":"One"}`)
		var co struct{ ID int64 }
		if err := json.Unmarshal([]byte(company), &co); err != nil {
			t.Fatal(err)
		}
		for i, x := range []struct{ line, body string }{
			{"POST /users/", `{"email":"a@b.test"}`},
			{fmt.Sprintf("PUT /users/%d/", contact), `{"first_name":"A"}`},
			{"PATCH /users-by-id/u1/", `{"first_name":"B"}`},
			{"POST /users/update_or_create/", `{"custom_id":"u9"}`},
			{"POST /users-by-id/u1/add_tag/", `{"name":"vip"}`},
			{"POST /users-by-id/u1/set_multiple_attributes/", `{"x":1}`},
			{"POST /users-by-id/u1/events/", `{"name":"e"}`},
			{"POST /companies/", `{"name":"Two"}`},
			{fmt.Sprintf("POST /companies/%d/add_member/", co.ID), fmt.Sprintf(`{"user_id":%d}`, contact)},
			{fmt.Sprintf("DELETE /companies/%d/", co.ID), ``},
			{"DELETE /users-by-id/u9/", ``},
		} {
			key := fmt.Sprint("key ", i)
			first := w.keyed(acmeToken, key, x.line, x.body)
			if first.Code >= 300 || first.Header().Get("Idempotent-Replayed") != "" {
				t.Errorf("%s: %d %s %v", x.line, first.Code, first.Body, first.Header())
			}
			n := w.count()
			w.now = w.now.Add(time.Hour)
			w.must(http.StatusOK, "PUT /users-by-id/u1/", fmt.Sprintf(`{"last_name":"changed %d"}`, i))
			again := w.keyed(acmeToken, `"`+key+`"`, x.line, x.body) // the draft has quotes around it
			if again.Code != first.Code || again.Body.String() != first.Body.String() || again.Header().Get("Idempotent-Replayed") != "true" {
				t.Errorf("%s again: %d %s, want %d %s", x.line, again.Code, again.Body, first.Code, first.Body)
			}
			if got := w.count(); got != n {
				t.Errorf("%s again: %d contacts, there were %d", x.line, got, n)
			}
			if other := w.keyed(acmeToken, key, x.line+"?", x.body+" "); other.Code != http.StatusUnprocessableEntity {
				t.Errorf("%s: another request with the key: %d %s", x.line, other.Code, other.Body)
			}
		}
	})
}

func TestIdempotencyKeyBounds(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.contact("u1", "")
		for _, key := range []string{"", `""`, strings.Repeat("k", 256), "a\x01b", "ä"} {
			if rec := w.keyed(acmeToken, key, "POST /users/", `{}`); rec.Code != http.StatusBadRequest {
				t.Errorf("key %q: %d %s", key, rec.Code, rec.Body)
			}
		}
		n := w.count()
		// An error is not kept: what was wrong may be right the next time.
		if rec := w.keyed(acmeToken, "k", "POST /companies-by-id/c1/add_member/", `{"user_custom_id":"u1"}`); rec.Code != http.StatusNotFound {
			t.Errorf("no company: %d %s", rec.Code, rec.Body)
		}
		w.must(http.StatusCreated, "POST /companies/", `{"custom_id":"c1","name":"One"}`)
		if rec := w.keyed(acmeToken, "k", "POST /companies-by-id/c1/add_member/", `{"user_custom_id":"u1"}`); rec.Code != http.StatusOK {
			t.Errorf("with the company: %d %s", rec.Code, rec.Body)
		}
		// The same key in another workspace is another one.
		if rec := w.keyed(acmeToken, "shared", "POST /users/", `{"email":"a@b.test"}`); rec.Code != http.StatusCreated {
			t.Errorf("first: %d %s", rec.Code, rec.Body)
		}
		if rec := w.keyed(otherToken, "shared", "POST /users/", `{"email":"z@b.test"}`); rec.Code != http.StatusCreated || !strings.Contains(rec.Body.String(), "z@b.test") {
			t.Errorf("the other workspace: %d %s", rec.Code, rec.Body)
		}
		// A day later a key is as good as new.
		w.now = w.now.Add(25 * time.Hour)
		if rec := w.keyed(acmeToken, "shared", "POST /users/", `{"email":"new@b.test"}`); rec.Code != http.StatusCreated || rec.Header().Get("Idempotent-Replayed") != "" {
			t.Errorf("a day later: %d %s", rec.Code, rec.Body)
		}
		if got := w.count(); got != n+2 {
			t.Errorf("%d contacts, want %d", got, n+2)
		}
		// What it made may be gone: the answer stays.
		made := w.keyed(acmeToken, "gone", "POST /users/", `{"custom_id":"gone"}`)
		w.must(http.StatusNoContent, "DELETE /users-by-id/gone/", "")
		if rec := w.keyed(acmeToken, "gone", "POST /users/", `{"custom_id":"gone"}`); rec.Code != http.StatusCreated || rec.Body.String() != made.Body.String() {
			t.Errorf("what is gone: %d %s", rec.Code, rec.Body)
		}
	})
}

// TestIdempotencyKeyParallel: of many requests with one key at once one is done, and
// all are answered alike.
func TestIdempotencyKeyParallel(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		const n = 50
		bodies := make([]string, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				rec := w.keyed(acmeToken, "one", "POST /users/", `{"email":"a@b.test"}`)
				if rec.Code != http.StatusCreated {
					t.Errorf("%d %s", rec.Code, rec.Body)
				}
				bodies[i] = rec.Body.String()
			})
		}
		wg.Wait()
		for i := range bodies {
			if bodies[i] != bodies[0] {
				t.Errorf("answer %d is %s, the first %s", i, bodies[i], bodies[0])
			}
		}
		found := w.must(http.StatusOK, "GET /users/search/?email=a@b.test&many=true", "")
		if strings.Count(found, `"user_key"`) != 1 {
			t.Errorf("contacts: %s", found)
		}
	})
}

// bulkAnswer is the answer of POST /bulk/.
type bulkAnswer struct {
	Succeeded, Failed int
	Results           []struct {
		Status   int
		Body     json.RawMessage
		Replayed bool
	}
}

func (w *wire) bulk(status int, key, body string) bulkAnswer {
	w.t.Helper()
	var rec *httptest.ResponseRecorder
	if key != "" {
		rec = w.keyed(acmeToken, key, "POST /bulk/", body)
	} else {
		rec = w.do(acmeToken, "2", "POST /bulk/", body)
	}
	var a bulkAnswer
	if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != status {
		w.t.Fatalf("bulk: %d %s (%v)", rec.Code, rec.Body, err)
	}
	return a
}

func (a bulkAnswer) statuses() string {
	var b strings.Builder
	for i := range a.Results {
		fmt.Fprint(&b, a.Results[i].Status, " ")
	}
	return strings.TrimSpace(b.String())
}

const bulkOperations = `[
	{"method":"POST","path":"/users/","body":{"custom_id":"u1","email":"a@b.test"}},
	{"method":"post","path":"/api/public/users-by-id/u1/events","body":{"name":"first"}},
	{"method":"POST","path":"companies/","body":{"custom_id":"c/1","name":"One"}},
	{"method":"POST","path":"/companies-by-id/c%%2F1/add_member/","body":{"user_custom_id":"u1"}},
	{"method":"PUT","path":"/users-by-id/u1/","body":{"first_name":"A","shoe size":42}},
	{"method":"POST","path":"/users-by-id/u1/set_multiple_attributes/","body":{"shoe size":43}},
	{"method":"POST","path":"/users/","body":{"custom_id":"u2"}},
	{"method":"POST","path":"/users-by-id/merge/","body":{"parent":"u1","users_list":["u2"]}},
	{"method":"POST","path":"/users/","body":{"custom_id":"u3"}},
	{"method":"DELETE","path":"/users-by-id/u3/"}%s
]`

func TestBulk(t *testing.T) {
	t.Parallel()
	for _, atomic := range []bool{false, true} {
		t.Run(fmt.Sprint("atomic ", atomic), func(t *testing.T) {
			t.Parallel()
			onBothWires(t, func(t *testing.T, w *wire) {
				n := w.count()
				a := w.bulk(http.StatusOK, "", fmt.Sprintf(`{"atomic":%t,"operations":%s}`, atomic, fmt.Sprintf(bulkOperations, "")))
				if got, want := a.statuses(), "201 201 201 200 200 200 201 200 201 204"; got != want || a.Succeeded != 10 || a.Failed != 0 {
					t.Fatalf("%s, want %s", got, want)
				}
				if len(a.Results[5].Body) > 0 && string(a.Results[5].Body) != "null" || !strings.Contains(string(a.Results[1].Body), `"created":true`) {
					t.Errorf("bodies: %s, %s", a.Results[5].Body, a.Results[1].Body)
				}
				v := w.must(http.StatusOK, "GET /users-by-id/u1/", "")
				for _, part := range []string{`"first_name":"A"`, `"shoe_size":43`, `"name":"One"`, `"email":"a@b.test"`} {
					if !strings.Contains(v, part) {
						t.Errorf("no %s in %s", part, v)
					}
				}
				if events := w.must(http.StatusOK, "GET /users-by-id/u1/events/", ""); !strings.Contains(events, `"first"`) {
					t.Errorf("events: %s", events)
				}
				if !strings.Contains(string(a.Results[8].Body), `"id":`) {
					t.Errorf("what was made and deleted: %s", a.Results[8].Body)
				}
				for _, gone := range []string{"u3", "u2"} {
					if rec := w.do(acmeToken, "2", "GET /users-by-id/"+gone+"/", ""); rec.Code != http.StatusNotFound {
						t.Errorf("%s: %d %s", gone, rec.Code, rec.Body)
					}
				}
				if got := w.count(); got != n+1 {
					t.Errorf("%d contacts, want %d", got, n+1)
				}
			})
		})
	}
}

func TestBulkFails(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		bad := `,{"method":"PUT","path":"/users-by-id/nobody/","body":{"first_name":"A"}},
			{"method":"POST","path":"/users/","body":{"custom_id":"u4"}}`
		n := w.count()
		a := w.bulk(http.StatusUnprocessableEntity, "", `{"atomic":true,"operations":`+fmt.Sprintf(bulkOperations, bad)+`}`)
		if got, want := a.statuses(), strings.Repeat("424 ", 10)+"404 424"; got != want || a.Failed != 12 {
			t.Errorf("%s, want %s", got, want)
		}
		if got := w.count(); got != n {
			t.Errorf("all or nothing left %d contacts, want %d", got, n)
		}
		defs, err := w.store.AttributeDefs(t.Context(), w.acme)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range defs {
			if d.Name == "shoe_size" {
				t.Errorf("an attribute of what was undone is left: %+v", d)
			}
		}
		a = w.bulk(http.StatusOK, "", `{"operations":`+fmt.Sprintf(bulkOperations, bad)+`}`)
		if got, want := a.statuses(), "201 201 201 200 200 200 201 200 201 204 404 201"; got != want || a.Failed != 1 || a.Succeeded != 11 {
			t.Errorf("%s, want %s", got, want)
		}

		for operation, want := range map[string]int{
			`{"method":"GET","path":"/users/"}`:                                           400,
			`{"method":"POST","path":"/bulk/","body":{"operations":[]}}`:                  400,
			`{"method":"POST","path":"/nothing/here/"}`:                                   404,
			`{"method":"POST","path":"/users/x/y/"}`:                                      404,
			`{"method":"POST","path":"/users/","body":[1]}`:                               400,
			`{"method":"POST","path":"/users/","body":{"gender":"invalid"}}`:              400,
			`{"method":"POST","path":"/users/","boby":{}}`:                                400,
			`{"path":"/users/"}`:                                                          400,
			`{"method":"POST"}`:                                                           400,
			`7`:                                                                           400,
			`{"method":"POST","path":"/users-by-id/%zz/events/","body":{"name":"e"}}`:     404,
			`{"method":"POST","path":"/users-by-id/a\u0000b/events","body":{"name":"e"}}`: 400,
		} {
			// What is said here is not what the document asks for.
			req := httptest.NewRequest("POST", "/api/public/bulk/", strings.NewReader(`{"operations":[`+operation+`]}`))
			req.Header.Set("Authorization", "Token "+acmeToken)
			rec := httptest.NewRecorder()
			w.echo.ServeHTTP(rec, req)
			var a bulkAnswer
			if err := json.Unmarshal(rec.Body.Bytes(), &a); err != nil || rec.Code != http.StatusOK {
				t.Fatalf("%s: %d %s (%v)", operation, rec.Code, rec.Body, err)
			}
			if a.Results[0].Status != want {
				t.Errorf("%s: %d %s, want %d", operation, a.Results[0].Status, a.Results[0].Body, want)
			}
			a = w.bulk(http.StatusUnprocessableEntity, "", `{"atomic":true,"operations":[`+operation+`,{"method":"POST","path":"/users/"}]}`)
			if got := a.statuses(); got != fmt.Sprint(want, " 424") {
				t.Errorf("%s: %s", operation, got)
			}
		}
		for _, body := range []string{``, `[]`, `{}`, `{"operations":[],"atomic":"yes"}`, `{"operations":[` + strings.Repeat(`{},`, 1000) + `{}]}`} {
			if rec := w.do(acmeToken, "2", "POST /bulk/", body); rec.Code != http.StatusBadRequest {
				t.Errorf("%.40s: %d %s", body, rec.Code, rec.Body)
			}
		}
	})
}

// TestBulkThousand: a thousand operations, and again with the same key: each is done once.
func TestBulkThousand(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		for _, atomic := range []bool{false, true} {
			n := w.count()
			var ops []string
			for i := range 1000 {
				ops = append(ops, fmt.Sprintf(`{"method":"POST","path":"/users/","body":{"email":"p%d-%t@b.test"}}`, i, atomic))
			}
			key, body := fmt.Sprint("thousand ", atomic), fmt.Sprintf(`{"atomic":%t,"operations":[%s]}`, atomic, strings.Join(ops, ","))
			// What came of a request that broke off: its first part is done.
			w.bulk(http.StatusOK, key, fmt.Sprintf(`{"operations":[%s]}`, ops[0]))
			for round := range 2 {
				a := w.bulk(http.StatusOK, key, body)
				if a.Succeeded != 1000 || a.Results[0].Replayed != true || a.Results[999].Replayed != (round == 1) {
					t.Errorf("round %d: %d succeeded, the last is %+v", round, a.Succeeded, a.Results[999])
				}
				if got := w.count(); got != n+1000 {
					t.Errorf("round %d: %d contacts, want %d", round, got, n+1000)
				}
			}
		}
	})
}
