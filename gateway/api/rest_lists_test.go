package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"civgate/gateway"
)

// listed makes four contacts, the first two of which have a custom id.
func listed(w *wire) {
	w.contact("u1", "key100000000")
	w.contact("user@2", "key200000000")
	w.contact("", "key300000000")
	w.contact("", "key400000000")
}

func TestLists(t *testing.T) {
	t.Parallel()
	transcript(t, "lists", listed, slices.Concat(both(`GET /lists/`), []string{
		`v1 POST /lists/ {"name":"Newsletter","description":"Who reads <it> & likes it"}`,
		`v2 POST /lists {"name":"  Żółw  "}`,
		`v2 POST /lists/ {"name":"Newsletter","description":null}`,
		`v2 POST /lists/`,
		`v2 POST /lists/ {"name":""}`,
		`v2 POST /lists/ {"name":["x"],"description":{"a":1}}`,
		`v2 POST /lists/ {"name":`,
		`v2 GET /lists/`,
		`v2 GET /lists/?limit=1&page=2`,
		`v2 GET /lists/?limit=1&page=4`,
		`v1 GET /lists/1`,
		`v2 PUT /lists/1/ {"description":"changed"}`,
		`v2 PATCH /lists/1/ {"name":"News"}`,
		`v2 PUT /lists/1/ {"description":""}`,
		`v2 PUT /lists/1/`,
		`v2 PATCH /lists/1/ {"name":"","description":[]}`,
		`v2 PUT /lists/99/ {"name":"x"}`,
		`v2 PUT /lists/abc/ {"name":"x"}`,
		`v1 POST /users/1/add_to_list/ {"list":1}`,
		`v2 POST /users-by-id/user@2/add_to_list/ {"list":"1"}`,
		`v2 POST /users/3/add_to_list {"list":1}`,
		`v2 POST /users/3/add_to_list/ {"list":1}`,
		`v2 POST /users/1/add_to_list/ {"list":2}`,
		`v2 POST /users/1/add_to_list/ {"list":99}`,
		`v2 POST /users/1/add_to_list/ {"list":"x"}`,
		`v2 POST /users/1/add_to_list/`,
		`v2 POST /users/99/add_to_list/ {"list":1}`,
		`v2 POST /users-by-id/nobody/add_to_list/ {"list":1}`,
		`v1 GET /users/1/`,
		`v2 GET /users-by-id/u1/`,
		`v1 GET /lists/1/users/?limit=2`,
		`v2 GET /lists/1/users/?limit=1`,
		`v2 GET /lists/1/users/?limit=2&page=2`,
		`v2 GET /lists/1/users/?custom_id=u1`,
		`v2 GET /users/?list=2`,
		`v2 GET /users/?list=1&list=2&limit=1`,
		`v2 GET /users/?list=99`,
		`v2 GET /users/?list=x`,
		`v2 GET /users/?list__gt=1`,
		`v2 GET /lists/3/users/`,
		`v2 GET /lists/99/users/`,
		`v2 POST /users/merge/ {"parent":4,"users_list":[1]}`,
		`v2 GET /users/4/`,
		`v2 GET /users/?list=2`,
		`v2 POST /users/4/remove_from_list/ {"list":2}`,
		`v1 DELETE /users-by-id/user@2/remove_from_list/ {"list":1}`,
		`v2 DELETE /users/2/remove_from_list {"list":1}`,
		`v2 POST /users/2/remove_from_list/ {"list":99}`,
		`v2 DELETE /users/2/remove_from_list/`,
		`v2 DELETE /users/99/remove_from_list/ {"list":1}`,
		`v2 GET /lists/1/users/?id__lte=3`,
		`v2 GET /users/?list=2`,
		`v2 DELETE /users/3/`,
		`v2 GET /lists/1/users/?limit=3`,
		`v2 DELETE /lists/1/`,
		`v2 DELETE /lists/1`,
		`v2 GET /lists/1/users/`,
		`v1 GET /users/4/`,
		`v2 POST /lists/1/ {"name":"x"}`,
	}))
}

func TestSegments(t *testing.T) {
	t.Parallel()
	transcript(t, "segments", func(w *wire) {
		listed(w)
		w.must(http.StatusOK, "PUT /users/1/", `{"score":7,"plan":"pro","status":"user"}`)
		w.must(http.StatusOK, "PUT /users/2/", `{"score":3,"plan":"pro"}`)
		w.must(http.StatusCreated, "POST /lists/", `{"name":"Newsletter"}`)
		w.must(http.StatusOK, "POST /users/2/add_to_list/", `{"list":1}`)
	}, slices.Concat(both(`GET /segments/`), []string{
		`v1 POST /segments/ {"name":"Good","filter":"score__gt=5"}`,
		`v2 POST /segments {"name":"Paying & listed","filter":"?plan=pro&list=1&limit=3"}`,
		`v2 POST /segments/ {"name":"With an id","filter":"custom_id__startswith=u"}`,
		`v2 POST /segments/`,
		`v2 POST /segments/ {"name":"","filter":"score__gt=many"}`,
		`v2 POST /segments/ {"name":"x","filter":""}`,
		`v2 POST /segments/ {"name":"x","filter":"limit=5"}`,
		`v2 POST /segments/ {"name":"x","filter":"plan__like=pro"}`,
		`v2 POST /segments/ {"name":"x","filter":"plan=%zz"}`,
		`v2 POST /segments/ {"name":"x","filter":"search=created_at"}`,
		`v2 POST /segments/ {"name":"x","filter":["score=1"]}`,
		`v2 GET /segments/`,
		`v1 GET /segments/?limit=2&page=2`,
		`v2 GET /segments/2`,
		`v2 PUT /segments/1/ {"name":"Very good"}`,
		`v2 PATCH /segments/1/ {"filter":"score__gte=3"}`,
		`v2 PATCH /segments/1/ {"filter":"score__gte="}`,
		`v2 PUT /segments/1/`,
		`v2 PUT /segments/99/ {"name":"x"}`,
		`v1 GET /segments/1/users/`,
		`v2 GET /segments/1/users/?limit=1`,
		`v2 GET /segments/1/users/?list=1`,
		`v2 GET /segments/1/users/?score__gt=x`,
		`v2 GET /segments/2/users/`,
		`v2 GET /segments/99/users/`,
		`v2 GET /users/1/segments/`,
		`v1 GET /users/1/segments?limit=1`,
		`v2 GET /users-by-id/user@2/segments/`,
		`v2 GET /users/3/segments/`,
		`v2 GET /users/99/segments/`,
		`v2 GET /users-by-id/nobody/segments/`,
		`v2 DELETE /segments/1/`,
		`v2 DELETE /segments/1/`,
		`v2 GET /segments/1/`,
		`v2 GET /users/1/segments/`,
		`v2 POST /segments/2/ {"name":"x"}`,
	}))
}

// TestUnreadableSegments: a segment whose filter means nothing any more tells so, and
// is in nobody's way.
func TestUnreadableSegments(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		listed(w)
		w.must(http.StatusCreated, "POST /segments/", `{"name":"Old","filter":"visits__gt=often"}`)
		w.must(http.StatusCreated, "POST /segments/", `{"name":"Known","filter":"custom_id=u1"}`)
		w.must(http.StatusOK, "GET /segments/1/users/", "")
		w.must(http.StatusCreated, "POST /attributes/", `{"content_type":"clientuser","name":"visits","value_type":"integer"}`)
		if body := w.must(http.StatusBadRequest, "GET /segments/1/users/", ""); !strings.Contains(body, `{"errors":{"filter":["visits__gt: `) {
			t.Errorf("an unreadable filter: %s", body)
		}
		w.must(http.StatusBadRequest, "PATCH /segments/1/", `{"filter":"visits__gt=often"}`)
		w.must(http.StatusOK, "PATCH /segments/1/", `{"name":"Older"}`)
		want := `{"count":1,"next":null,"previous":null,"results":[{"id":2,"name":"Known","filter":"custom_id=u1"}]}`
		if body := w.must(http.StatusOK, "GET /users/1/segments/", ""); body != want {
			t.Errorf("segments of a contact: %s\nwant %s", body, want)
		}
		if body := w.must(http.StatusOK, "GET /segments/", ""); !strings.Contains(body, `"name":"Older"`) {
			t.Errorf("all segments: %s", body)
		}
	})
}

// TestListBounds makes as many lists and segments as there may be, and one more.
func TestListBounds(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		listed(w)
		for _, tt := range []struct {
			path, body string
			most       int
		}{
			{"/lists/", `{"name":"n"}`, gateway.MaxLists},
			{"/segments/", `{"name":"n","filter":"plan=pro"}`, gateway.MaxSegments},
		} {
			w.edit(func(e *gateway.Editor) error {
				name, filter := "n", "score__lt=1"
				for range tt.most - 1 {
					var err error
					if tt.path == "/lists/" {
						_, err = e.CreateList(gateway.ListPatch{Name: &name})
					} else {
						_, err = e.CreateSegment(gateway.SegmentPatch{Name: &name, Filter: &filter})
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
			w.must(http.StatusCreated, "POST "+tt.path, tt.body)
			if body := w.must(http.StatusBadRequest, "POST "+tt.path, tt.body); !strings.Contains(body, fmt.Sprint("no more than ", tt.most)) {
				t.Errorf("one too many of %s: %s", tt.path, body)
			}
		}
		var p struct {
			Count   int
			Results []struct{ ID int }
		}
		if err := json.Unmarshal([]byte(w.must(http.StatusOK, "GET /lists/?page=10", "")), &p); err != nil || p.Count != gateway.MaxLists || len(p.Results) != 100 || p.Results[99].ID != 1 {
			t.Errorf("the last page of lists: %+v, %v", p, err)
		}
		if body := w.must(http.StatusOK, "GET /users/1/segments/?limit=1", ""); !strings.Contains(body, `"count":0`) {
			t.Errorf("segments of a contact: %s", body)
		}
		long := strings.Repeat("ż", 128)
		for _, tt := range []struct{ line, body, field string }{
			{"PUT /lists/1/", `{"name":"` + long + `"}`, "name"},
			{"PUT /lists/1/", `{"description":"` + strings.Repeat("x", 1001) + `"}`, "description"},
			{"PUT /segments/1/", `{"name":"` + long + `"}`, "name"},
			{"PUT /segments/1/", `{"filter":"plan=` + strings.Repeat("x", gateway.MaxSegmentFilter) + `"}`, "filter"},
		} {
			if body := w.must(http.StatusBadRequest, tt.line, tt.body); !strings.Contains(body, `"`+tt.field+`":["Ensure this field has no more than `) {
				t.Errorf("%s of a long %s: %s", tt.line, tt.field, body)
			}
		}
	})
}

// TestListPages walks through a list by its links.
func TestListPages(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.must(http.StatusCreated, "POST /lists/", `{"name":"n"}`)
		var want []int64
		w.edit(func(e *gateway.Editor) error {
			want = nil
			for i := range 25 {
				id, err := e.CreateContact(gateway.ContactPatch{})
				if err != nil {
					return err
				}
				if i%3 == 0 {
					continue
				}
				if _, err := e.AddToList(1, id); err != nil {
					return err
				}
				want = append([]int64{int64(id)}, want...)
			}
			return nil
		})
		var got []int64
		for line := "GET /lists/1/users/?limit=7"; line != ""; {
			var p struct {
				Next    *string
				Results []struct {
					ID    int64
					Lists []struct{ ID int64 }
				}
			}
			if err := json.Unmarshal([]byte(w.must(http.StatusOK, line, "")), &p); err != nil {
				t.Fatal(err)
			}
			for _, c := range p.Results {
				if got = append(got, c.ID); len(c.Lists) != 1 || c.Lists[0].ID != 1 {
					t.Errorf("contact %d has the lists %v", c.ID, c.Lists)
				}
			}
			if line = ""; p.Next != nil {
				u, err := url.Parse(*p.Next)
				if err != nil {
					t.Fatal(err)
				}
				line = "GET " + strings.TrimPrefix(u.RequestURI(), "/api/public")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("in the list are %v, want %v", got, want)
		}
	})
}

// TestListsApart: a token of one workspace neither sees nor changes lists and segments of
// another.
func TestListsApart(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		listed(w)
		w.must(http.StatusCreated, "POST /lists/", `{"name":"Acme list"}`)
		w.must(http.StatusCreated, "POST /segments/", `{"name":"Acme segment","filter":"list=1"}`)
		w.must(http.StatusOK, "POST /users/1/add_to_list/", `{"list":1}`)
		theirs := w.do(otherToken, "2", "POST /users/", `{"custom_id":"u1"}`)
		var own struct{ ID int64 }
		if err := json.Unmarshal(theirs.Body.Bytes(), &own); err != nil {
			t.Fatal(err)
		}
		state := func() string {
			var b strings.Builder
			for _, path := range []string{"/lists/", "/lists/1/users/", "/segments/", "/segments/1/users/", "/users/1/segments/", "/users/1/"} {
				b.WriteString(w.must(http.StatusOK, "GET "+path, ""))
			}
			return b.String()
		}
		before := state()
		untested := make(map[string]bool)
		for _, path := range w.paths() {
			for _, part := range []string{"/lists", "/segments", "_list"} {
				if strings.Contains(path, part) && !strings.HasSuffix(path, ":id/segments") {
					untested[path] = true
				}
			}
		}
		for _, tt := range []struct {
			route, line, body string
			status            int
		}{
			{"/lists", "GET /lists/", "", 200},
			{"/lists/:id", "GET /lists/1/", "", 404},
			{"/lists/:id", "PUT /lists/1/", `{"name":"x"}`, 404},
			{"/lists/:id", "PATCH /lists/1/", `{"name":"x"}`, 404},
			{"/lists/:id", "DELETE /lists/1/", "", 404},
			{"/lists/:id/users", "GET /lists/1/users/", "", 404},
			{"/segments", "GET /segments/", "", 200},
			{"/segments/:id", "GET /segments/1/", "", 404},
			{"/segments/:id", "PUT /segments/1/", `{"name":"x"}`, 404},
			{"/segments/:id", "DELETE /segments/1/", "", 404},
			{"/segments/:id/users", "GET /segments/1/users/", "", 404},
			{"/users", "GET /users/?list=1", "", 200},
			{"/users/:id/add_to_list", "POST /users/1/add_to_list/", `{"list":1}`, 404},
			{"/users/:id/add_to_list", fmt.Sprintf("POST /users/%d/add_to_list/", own.ID), `{"list":1}`, 400},
			{"/users/:id/remove_from_list", "POST /users/1/remove_from_list/", `{"list":1}`, 404},
			{"/users/:id/remove_from_list", fmt.Sprintf("DELETE /users/%d/remove_from_list/", own.ID), `{"list":1}`, 400},
			{"/users-by-id/:id/add_to_list", "POST /users-by-id/u1/add_to_list/", `{"list":1}`, 400},
			{"/users-by-id/:id/remove_from_list", "POST /users-by-id/u1/remove_from_list/", `{"list":1}`, 400},
			{"/segments", "POST /segments/", `{"name":"theirs","filter":"list=1"}`, 201},
			{"/lists", "POST /lists/", `{"name":"theirs"}`, 201},
		} {
			delete(untested, tt.route)
			rec := w.do(otherToken, "2", tt.line, tt.body)
			if rec.Code != tt.status {
				t.Errorf("%s: status %d, want %d: %s", tt.line, rec.Code, tt.status, rec.Body)
			}
			if body := rec.Body.String(); strings.Contains(body, "Acme") || strings.Contains(body, "user@2") || strings.Contains(body, `"id":1,`) {
				t.Errorf("%s tells of another workspace: %s", tt.line, body)
			}
			if after := state(); after != before {
				t.Fatalf("%s changed another workspace:\n%s\nwas\n%s", tt.line, after, before)
			}
		}
		for path := range untested {
			t.Errorf("route %s is not tested", path)
		}
		// A filter by another's list finds none of its own.
		if body := w.do(otherToken, "2", "GET /users-by-id/u1/segments/", "").Body.String(); !strings.Contains(body, `"count":0`) {
			t.Errorf("segments of a contact: %s", body)
		}
	})
}
