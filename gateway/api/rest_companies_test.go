package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

func TestCompanyWrites(t *testing.T) {
	t.Parallel()
	transcript(t, "companies_write", func(*wire) {}, slices.Concat([]string{
		`v1 POST /companies/ {"name":"Acme","company_id":"c7","email":"hello@acme.test","country":"Poland","city":"Łódź","size":"11-50","phone_numbers":["+48123456789"],"tags":["vip"],"revenue":"$239.9 billion"}`,
		`v2 POST /companies {"name":"Globex","custom_id":"group@795/a b","postal_code":"90-001","founded":1990}`,
		`v2 POST /companies/ {"custom_id":"nameless"}`,
		`v2 POST /companies/`,
		`v2 POST /companies/ {"name":""}`,
		`v2 POST /companies/ {"name":`,
		`v2 POST /companies/ [1]`,
		`v2 POST /companies/ {"name":"Bad","custom_id":"{{ company.id }}","phone_numbers":{"a":1}}`,
		`v1 PUT /companies/1/ {"city":"Kraków"}`,
		`v2 PATCH /companies/1 {"tags":["new"],"revenue":null,"id":99,"employees":[5],"created_at":"2001-01-01"}`,
		`v2 PUT /companies/1/`,
		`v2 PUT /companies/1/ {}`,
		`v2 PUT /companies-by-id/c7/ {"custom_id":"c8","name":"Acme Ltd"}`,
		`v2 PUT /companies-by-id/group@795%2Fa%20b/ {"description":"<&>"}`,
		`v1 POST /companies/update_or_create/ {"company_id":"c9","name":"Initech","tags":["a"]}`,
		`v2 POST /companies/update_or_create/ {"custom_id":"c9","tags":["b"],"city":"Austin"}`,
		`v2 POST /companies/update_or_create {"company_custom_id":"c9","tags":"a, c"}`,
		`v2 POST /companies/update_or_create/ {"name":"no id"}`,
		`v1 POST /companies/update_or_create/ {"company_id":""}`,
		`v1 GET /companies-by-id/c9/`,
		`v2 POST /companies/1/set_attribute/ {"attribute":"revenue","value":12}`,
		`v2 POST /companies/1/set_attribute/ {"attribute":"name","value":"Acme again"}`,
		`v2 POST /companies-by-id/c8/set_attribute {"attribute":"VAT number","value":"PL123"}`,
		`v2 POST /companies/1/set_attribute/ {"attribute":"size"}`,
		`v2 POST /companies/1/set_attribute/ {"value":1}`,
		`v2 POST /companies/1/set_multiple_attributes/ {"size":"50+","is_pro":true,"founded":"soon"}`,
		`v2 POST /companies-by-id/c8/set_multiple_attributes/ {"region":"Mazowsze"}`,
		`v2 POST /companies-by-id/c8/set_multiple_attributes/ {"approx_employees":"many","extra":{"a":{"b":{"c":{"d":{"e":1}}}}}}`,
		`v2 POST /companies/1/remove_attribute/ {"attribute":"size"}`,
		`v2 DELETE /companies-by-id/c8/remove_attribute/ {"attribute":"region"}`,
		`v2 POST /companies/1/remove_attribute/ {}`,
		`v2 POST /companies/1/set_attribute/ {"attribute":"created_at","value":"2001-01-01"}`,
		`v2 POST /companies/1/set_multiple_attributes/`,
		`v2 GET /companies/1/`,
		`v1 GET /companies/1/`,
		`v2 POST /companies/1/add_tag/ {"name":"gold"}`,
		`v2 POST /companies-by-id/c8/add_tag/ {"name":"gold"}`,
		`v2 POST /companies/1/add_tag/ {"name":""}`,
		`v2 POST /companies/1/add_tag/`,
		`v2 POST /companies/1/add_many_tags/ {"tag_names":["gold","silver","bronze"]}`,
		`v2 POST /companies-by-id/c8/add_many_tags/ {"tag_names":[{}]}`,
		`v2 POST /companies/1/remove_tag/ {"name":"silver"}`,
		`v2 DELETE /companies-by-id/c8/remove_tag/ {"name":"bronze"}`,
		`v2 DELETE /companies-by-id/c8/remove_tag/ {"name":"none"}`,
		`v2 GET /companies-by-id/c8/`,
	}, both( // the same in either version, by either id
		`PATCH /companies/1/ {"postal_code":"90-001"}`,
		`PUT /companies-by-id/c8/ {"address":"1 Main Street"}`,
		`POST /companies/1/set_attribute/ {"attribute":"seats","value":5}`,
		`POST /companies-by-id/c8/set_attribute/ {"attribute":"seats","value":6}`,
		`POST /companies/1/set_multiple_attributes/ {"seats":7,"size":"2-10"}`,
		`POST /companies-by-id/c8/set_multiple_attributes/ {"seats":8}`,
		`GET /companies/1/`,
		`POST /companies/1/remove_attribute/ {"attribute":"seats"}`,
		`DELETE /companies-by-id/c8/remove_attribute/ {"attribute":"size"}`,
		`POST /companies/1/add_tag/ {"name":"a"}`,
		`POST /companies-by-id/c8/add_tag/ {"name":"b"}`,
		`POST /companies/1/add_many_tags/ {"tag_names":["a","c"]}`,
		`POST /companies-by-id/c8/add_many_tags/ {"tag_names":["d"]}`,
		`DELETE /companies/1/remove_tag/ {"name":"a"}`,
		`POST /companies-by-id/c8/remove_tag/ {"name":"b"}`,
		`GET /companies-by-id/c8/`,
		`GET /companies/search/?company_id=c8`,
		`GET /companies/search/?name__istartswith=acme`,
		`GET /companies/search/`,
		`GET /companies/?city=Austin`,
	), []string{
		// From here on nothing is made: an edit that fails uses up ids on some databases.
		`v2 PUT /companies-by-id/c7/ {"name":"nobody"}`,
		`v1 PATCH /companies-by-id/c8 {"company_id":"group@795/a b"}`,
		`v2 PUT /companies/99/ {"name":"nobody"}`,
		`v2 PUT /companies/abc/ {"name":"nobody"}`,
		`v2 POST /companies/99/set_attribute/ {"attribute":"size","value":"1"}`,
		`v2 DELETE /companies/3`,
		`v2 DELETE /companies/3/`,
		`v2 DELETE /companies-by-id/group@795%2Fa%20b/ {"ignored":true}`,
		`v2 GET /companies-by-id/group@795%2Fa%20b/`,
		`v2 GET /companies/?limit=1`,
		`v2 POST /companies/ {"name":"Twice","custom_id":"c9"}`,
		`v1 POST /companies/ {"name":"Twice","company_id":"c9"}`,
	}, both(`DELETE /companies-by-id/c8/`, `DELETE /companies-by-id/c9/`)))
}

func TestCompanyMembers(t *testing.T) {
	t.Parallel()
	transcript(t, "members", func(w *wire) {
		w.contact("u1", "key100000000")
		w.contact("user@2", "key200000000")
		w.contact("", "key300000000")
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Acme","custom_id":"c7"}`)
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Globex","custom_id":"c=8"}`)
	}, slices.Concat([]string{
		`v2 POST /companies/1/add_member/ {"user_id":1}`,
		`v1 POST /companies/1/add_member {"user_id":"1"}`,
		`v2 POST /companies-by-id/c7/add_member/ {"user_id":999,"user_custom_id":"user@2"}`,
		`v2 POST /companies-by-id/c=8/add_member/ {"user_custom_id":"u1"}`,
		`v1 POST /companies/2/add_member/ {"client":3}`,
		`v2 POST /companies/2/add_member/ {"user_id":2,"user_custom_id":"nobody"}`,
		`v2 POST /companies/2/add_member/ {"user_id":null,"user_custom_id":"user@2"}`,
		`v2 POST /companies/2/add_member/ {"user_id":"x","user_custom_id":"user@2"}`,
		`v2 POST /companies/2/add_member/ {"user_id":999}`,
		`v2 POST /companies/2/add_member/ {"user_id":99999999999999999999}`,
		`v2 POST /companies/2/add_member/ {"user_id":"x"}`,
		`v2 POST /companies/2/add_member/ {"user_custom_id":"nobody"}`,
		`v2 POST /companies/2/add_member/ {"user_custom_id":""}`,
		`v2 POST /companies/2/add_member/ {"user_custom_id":["u1"]}`,
		`v2 POST /companies/2/add_member/`,
		`v2 POST /companies/99/add_member/ {"user_id":1}`,
		`v2 POST /companies-by-id/none/add_member/ {"user_id":1}`,
		`v2 GET /companies/2/members/`,
		`v1 GET /companies-by-id/c=8/members`,
		`v2 GET /companies/2/members/?limit=2`,
		`v2 GET /companies/2/members/?limit=2&page=2`,
		`v2 GET /companies/2/members/?limit=2&page=3`,
		`v2 GET /companies/2/members/?former=1`,
		`v1 POST /users/1/set_primary_company/ {"company_id":"c=8"}`,
		`v2 POST /users/1/set_primary_company/ {"company_id":1}`,
		`v2 POST /users-by-id/u1/set_primary_company/ {"company_custom_id":"c=8"}`,
		`v2 POST /users/1/set_primary_company/ {"company_id":99,"company_custom_id":"c7"}`,
		`v2 POST /users/1/set_primary_company/ {"company_id":99}`,
		`v2 POST /users/1/set_primary_company/ {"company_custom_id":"none"}`,
		`v2 POST /users/3/set_primary_company/ {"company_id":1}`,
		`v2 POST /users/1/set_primary_company/`,
		`v2 POST /users/99/set_primary_company/ {"company_id":1}`,
		`v2 POST /companies/1/remove_member/ {"user_id":1}`,
		`v2 DELETE /companies-by-id/c=8/remove_member/ {"user_custom_id":"user@2"}`,
		`v2 POST /companies/2/remove_member/ {"user_id":2}`,
		`v2 DELETE /companies/2/remove_member/`,
		`v2 POST /companies/2/remove_member/ {"user_id":999}`,
		`v2 GET /companies/2/members/?former=true`,
		`v1 GET /companies-by-id/c7/members/?former=True`,
		`v2 GET /companies/1/members/?former=perhaps`,
		`v2 GET /companies/1/members/?cursor=abc`,
		`v2 GET /companies/99/members/`,
	}, both(
		`POST /companies/1/add_member/ {"user_id":3}`,
		`POST /companies-by-id/c7/add_member/ {"user_custom_id":"u1"}`,
		`GET /companies/1/members/`,
		`GET /companies-by-id/c7/members/`,
		`POST /users/1/set_primary_company/ {"company_custom_id":"c7"}`,
		`POST /users-by-id/u1/set_primary_company/ {"company_custom_id":"c=8"}`,
		`POST /companies/1/remove_member/ {"user_id":3}`,
		`DELETE /companies-by-id/c7/remove_member/ {"user_custom_id":"u1"}`,
		`GET /companies/1/members/?former=true&limit=2`,
	), []string{
		`v2 DELETE /companies/2/`,
		`v2 GET /users/1/`,
		`v2 GET /companies/1/members/?former=true&limit=1&page=2`,
	}))
}

// TestMemberPages walks through all members while others come: each of the first
// ones is seen once, in order.
func TestMemberPages(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Acme"}`)
		var want []int64
		for i := range 23 {
			id := w.contact(fmt.Sprint("u", i), fmt.Sprintf("key%09d", i))
			w.edit(func(e *gateway.Editor) error { return e.AddMember(1, id) })
			want = append(want, int64(id))
			if i%3 == 0 { // several at the same time
				w.now = w.now.Add(-2 * time.Second)
			}
		}
		all := w.list("/companies/1/members/")
		if diff := cmp.Diff(len(want), len(all.Results)); diff != "" || all.Count != 23 || all.Next != nil {
			t.Fatalf("members: %+v", all)
		}
		want = all.ids()
		var got []int64
		path := "/companies/1/members/?limit=5"
		for n := 0; ; n++ {
			l := w.list(path)
			got = append(got, l.ids()...)
			if l.Next == nil {
				break
			}
			id := w.contact("", fmt.Sprintf("late%08d", n))
			w.must(http.StatusOK, "POST /companies/1/add_member/", fmt.Sprintf(`{"user_id":%d}`, id))
			path = follow(t, l.Next)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
		// A cursor is good for its own list alone, and only as it is.
		_, cursor, _ := strings.Cut(*w.list("/companies/1/members/?limit=5").Next, "cursor=")
		cursor, _, _ = strings.Cut(cursor, "&")
		for _, path := range []string{"/companies/1/members/?former=true&cursor=" + cursor, "/companies/?cursor=" + cursor, "/companies/1/members/?cursor=" + cursor[1:] + "A"} {
			if rec := w.do(acmeToken, "2", "GET "+path, ""); rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), `"cursor"`) {
				t.Errorf("%s: %d %s", path, rec.Code, rec.Body)
			}
		}
	})
}

// list reads a page.
func (w *wire) list(path string) listing {
	w.t.Helper()
	var l listing
	if err := json.Unmarshal([]byte(w.must(http.StatusOK, "GET "+path, "")), &l); err != nil {
		w.t.Fatal(err)
	}
	return l
}

func TestCompanyFilters(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		for i := range 5 {
			w.must(http.StatusCreated, "POST /companies/", fmt.Sprintf(`{"name":"Acme %d","custom_id":"c%d","city":"%s","founded":%d,"is_pro":%t}`, i, i, []string{"Łódź", "Kraków"}[i%2], 1990+i, i > 2))
		}
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Globex","custom_id":"g"}`)
		for _, tt := range []struct {
			query string
			want  []int64
		}{
			{"name__contains=Acme", []int64{5, 4, 3, 2, 1}},
			{"name__icontains=ACME&limit=2", []int64{5, 4}},
			{"name=Globex", []int64{6}},
			{"city=Łódź&founded__gte=1992", []int64{5, 3}},
			{"founded__lt=1991", []int64{1}},
			{"is_pro__startswith=True", []int64{5, 4}},
			{"custom_id__startswith=c", []int64{5, 4, 3, 2, 1}},
			{"no_such_thing=1", nil},
		} {
			for _, path := range []string{"/companies/?", "/companies/search/?"} {
				l := w.list(path + tt.query)
				if diff := cmp.Diff(tt.want, l.ids()); diff != "" {
					t.Errorf("%s%s (-want +got):\n%s", path, tt.query, diff)
				}
				if l.Next != nil {
					next := w.list(follow(t, l.Next))
					if diff := cmp.Diff([]int64{3, 2}, next.ids()); diff != "" {
						t.Errorf("next of %s%s (-want +got):\n%s", path, tt.query, diff)
					}
				}
			}
		}
		for _, query := range []string{"founded__gte=old", "name__near=Acme", "limit=0&name=x"} {
			if rec := w.do(acmeToken, "2", "GET /companies/?"+query, ""); rec.Code != http.StatusBadRequest {
				t.Errorf("%s: %d %s", query, rec.Code, rec.Body)
			}
		}
		if got := w.must(http.StatusOK, "GET /companies/search/?company_id=c3", ""); !strings.HasPrefix(got, `{"id":4,`) {
			t.Errorf("search by id: %s", got)
		}
	})
}

// TestParallelMembers: 200 clients at once add the same employee, and as many make the
// same company.
func TestParallelMembers(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		x := w.contact("x", "keyx00000000")
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Acme","custom_id":"c7"}`)
		w.must(http.StatusOK, "POST /companies/1/add_member/", `{"user_custom_id":"x"}`)
		before := w.must(http.StatusOK, "GET /companies/1/members/", "")
		w.now = w.now.Add(time.Hour)
		var all sync.WaitGroup
		ids := make([]string, 200)
		for i := range ids {
			all.Go(func() {
				if rec := w.ask(acmeToken, "2", []string{"POST /companies/1/add_member/", "POST /companies-by-id/c7/add_member/"}[i%2], fmt.Sprintf(`{"user_id":%d}`, x)); rec.Code != http.StatusOK {
					t.Errorf("add_member: %d %s", rec.Code, rec.Body)
				}
				rec := w.ask(acmeToken, "2", "POST /companies/update_or_create/", `{"custom_id":"new","seats":1}`)
				var answer struct{ ID json.Number }
				if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
					t.Errorf("update_or_create: %d %s", rec.Code, rec.Body)
				}
				ids[i] = answer.ID.String()
			})
		}
		all.Wait()
		if after := w.must(http.StatusOK, "GET /companies/1/members/", ""); after != before {
			t.Errorf("members are %s, were %s", after, before)
		}
		if slices.Sort(ids); len(slices.Compact(ids)) != 1 {
			t.Errorf("several companies of one id: %v", slices.Compact(ids))
		}
	})
}

// TestCompanyWorkspacesApart: a token of one workspace neither sees nor changes
// anything of the other on any of these routes.
func TestCompanyWorkspacesApart(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.contact("u1", "key100000000")
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Acme","custom_id":"c7","revenue":5}`)
		w.must(http.StatusOK, "POST /companies/1/add_member/", `{"user_id":1}`)
		w.must(http.StatusCreated, "POST /events/", `{"name":"Acme","user_id":1}`)
		w.must(http.StatusOK, "POST /companies/1/add_tag/", `{"name":"vip"}`)
		w.must(http.StatusCreated, "POST /products/", `{"name":"Acme's mug","custom_id":"p1","price":5}`)
		w.must(http.StatusCreated, "POST /deals/", `{"name":"Acme's deal","custom_id":"d1"}`)
		records := func() string {
			return w.must(http.StatusOK, "GET /products/1/", "") + w.must(http.StatusOK, "GET /deals/2/", "") + w.must(http.StatusOK, "GET /products/", "")
		}
		recordsBefore := records()
		before := w.must(http.StatusOK, "GET /companies/1/", "") + w.must(http.StatusOK, "GET /tags/1/companies/", "") + w.must(http.StatusOK, "GET /users/1/", "") + w.must(http.StatusOK, "GET /attributes/", "")

		untested := make(map[string]bool)
		for _, path := range w.paths() {
			for _, own := range []string{"/companies", "/attribute", "/events", "/products", "/deals", "/site-views", "/tags", "/users/:id/set_primary", "/users-by-id/:id/set_primary"} {
				if strings.HasPrefix(path, own) {
					untested[path] = true
				}
			}
		}
		for _, tt := range []struct {
			route, line, body string
			status            int
		}{
			{"/companies", "GET /companies/", "", 200},
			{"/companies/export", "GET /companies/export/", "", 200},
			{"/companies/search", "GET /companies/search/?company_id=c7", "", 404},
			{"/companies/:id", "GET /companies/1/", "", 404},
			{"/companies/:id", "PUT /companies/1/", `{"name":"x"}`, 404},
			{"/companies/:id", "DELETE /companies/1/", "", 404},
			{"/companies/:id/members", "GET /companies/1/members/", "", 404},
			{"/companies/:id/add_member", "POST /companies/1/add_member/", `{"user_id":1}`, 404},
			{"/companies/:id/remove_member", "POST /companies/1/remove_member/", `{"user_id":1}`, 404},
			{"/companies/:id/set_attribute", "POST /companies/1/set_attribute/", `{"attribute":"size","value":"1"}`, 404},
			{"/companies/:id/set_multiple_attributes", "POST /companies/1/set_multiple_attributes/", `{"size":"1"}`, 404},
			{"/companies/:id/remove_attribute", "POST /companies/1/remove_attribute/", `{"attribute":"size"}`, 404},
			{"/companies/:id/add_tag", "POST /companies/1/add_tag/", `{"name":"x"}`, 404},
			{"/companies/:id/add_many_tags", "POST /companies/1/add_many_tags/", `{"tag_names":["x"]}`, 404},
			{"/companies/:id/remove_tag", "POST /companies/1/remove_tag/", `{"name":"x"}`, 404},
			{"/companies-by-id/:id", "GET /companies-by-id/c7/", "", 404},
			{"/companies-by-id/:id", "PATCH /companies-by-id/c7/", `{"name":"x"}`, 404},
			{"/companies-by-id/:id", "DELETE /companies-by-id/c7/", "", 404},
			{"/companies-by-id/:id/members", "GET /companies-by-id/c7/members/", "", 404},
			{"/companies-by-id/:id/add_member", "POST /companies-by-id/c7/add_member/", `{"user_id":1}`, 404},
			{"/companies-by-id/:id/remove_member", "DELETE /companies-by-id/c7/remove_member/", `{"user_id":1}`, 404},
			{"/companies-by-id/:id/set_attribute", "POST /companies-by-id/c7/set_attribute/", `{"attribute":"size","value":"1"}`, 404},
			{"/companies-by-id/:id/set_multiple_attributes", "POST /companies-by-id/c7/set_multiple_attributes/", `{"size":"1"}`, 404},
			{"/companies-by-id/:id/remove_attribute", "DELETE /companies-by-id/c7/remove_attribute/", `{"attribute":"size"}`, 404},
			{"/companies-by-id/:id/add_tag", "POST /companies-by-id/c7/add_tag/", `{"name":"x"}`, 404},
			{"/companies-by-id/:id/add_many_tags", "POST /companies-by-id/c7/add_many_tags/", `{"tag_names":["x"]}`, 404},
			{"/companies-by-id/:id/remove_tag", "DELETE /companies-by-id/c7/remove_tag/", `{"name":"x"}`, 404},
			{"/users/:id/set_primary_company", "POST /users/1/set_primary_company/", `{"company_id":1}`, 404},
			{"/users-by-id/:id/set_primary_company", "POST /users-by-id/u1/set_primary_company/", `{"company_id":1}`, 404},
			{"/users/:id/events", "POST /users/1/events/", `{"name":"login"}`, 404},
			{"/users-by-id/:id/events", "POST /users-by-id/u1/events/", `{"name":"login"}`, 404},
			{"/attributes", "GET /attributes/", "", 200},
			{"/attributes/:id", "GET /attributes/1/", "", 404},
			{"/attribute-type/:id/users", "GET /attribute-type/revenue/users/", "", 404},
			{"/attribute-type/:id/companies", "GET /attribute-type/revenue/companies/", "", 404},
			{"/events", "GET /events/", "", 200},
			{"/events/:id", "GET /events/1/", "", 404},
			{"/events", "POST /events/", `{"name":"login","user_id":1}`, 400},
			{"/events", "POST /events/", `{"name":"login","user_custom_id":"u1"}`, 400},
			{"/attributes/:id", "DELETE /attributes/1/", "", 404},
			{"/products-by-id/:id/product_event", "POST /products-by-id/p1/product_event/", `{"event_type":"view","user_id":1}`, 400},
			{"/tags", "GET /tags/", "", 200},
			{"/tags/:id", "GET /tags/1/", "", 404},
			{"/tags/:id", "DELETE /tags/1/", "", 404},
			{"/tags/:id/users", "GET /tags/1/users/", "", 404},
			{"/tags/:id/companies", "GET /tags/1/companies/", "", 404},
			{"/products/:id/product_event", "POST /products/1/product_event/", `{"event_type":"view","user_id":1}`, 400},
			{"/products", "GET /products/", "", 200},
			{"/products/:id", "GET /products/1/", "", 404},
			{"/products/:id", "PUT /products/1/", `{"name":"x"}`, 404},
			{"/products/:id", "DELETE /products/1/", "", 404},
			{"/products-by-id/:id", "GET /products-by-id/p1/", "", 404},
			{"/products-by-id/:id", "PATCH /products-by-id/p1/", `{"name":"x"}`, 404},
			{"/products-by-id/:id", "DELETE /products-by-id/p1/", "", 404},
			{"/deals", "GET /deals/", "", 200},
			{"/deals/:id", "GET /deals/2/", "", 404},
			{"/deals/:id", "PATCH /deals/2/", `{"name":"x"}`, 404},
			{"/deals/:id", "DELETE /deals/2/", "", 404},
			{"/deals-by-id/:id", "GET /deals-by-id/d1/", "", 404},
			{"/deals-by-id/:id", "PUT /deals-by-id/d1/", `{"name":"x"}`, 404},
			{"/deals-by-id/:id", "DELETE /deals-by-id/d1/", "", 404},
			// The same ids and keys are others' there.
			{"/tags", "POST /tags/", `{"name":"vip"}`, 201},
			{"/companies/update_or_create", "POST /companies/update_or_create/", `{"custom_id":"c7","name":"Theirs"}`, 201},
			{"/products/update_or_create", "POST /products/update_or_create/", `{"custom_id":"p1","name":"Theirs"}`, 201},
			{"/deals/update_or_create", "POST /deals/update_or_create/", `{"custom_id":"d1","name":"Theirs"}`, 201},
			{"/site-views", "POST /site-views/", `{"client_user":"key100000000","page_path":"/"}`, 201},
			{"/attributes", "POST /attributes/", `{"content_type":"company","name":"revenue","value_type":"string"}`, 201},
			{"/companies/:id", "GET /companies/1/", "", 404},
			{"/companies/:id/add_member", "POST /companies-by-id/c7/add_member/", `{"user_id":1}`, 400},
		} {
			delete(untested, tt.route)
			rec := w.do(otherToken, "2", tt.line, tt.body)
			if rec.Code != tt.status {
				t.Errorf("%s: status %d, want %d: %s", tt.line, rec.Code, tt.status, rec.Body)
			}
			if body := rec.Body.String(); strings.Contains(body, "Acme") || strings.Contains(body, `"u1"`) {
				t.Errorf("%s shows what is not its own: %s", tt.line, body)
			}
		}
		for path := range untested {
			t.Errorf("route %s is not tested", path)
		}
		if after := w.must(http.StatusOK, "GET /companies/1/", "") + w.must(http.StatusOK, "GET /tags/1/companies/", "") + w.must(http.StatusOK, "GET /users/1/", "") + w.must(http.StatusOK, "GET /attributes/", ""); after != before {
			t.Errorf("the other token changed (-before +after):\n%s", cmp.Diff(before, after))
		}
		if diff := cmp.Diff(recordsBefore, records()); diff != "" {
			t.Errorf("the other token changed (-before +after):\n%s", diff)
		}
	})
}

// TestCompanyAllow: every route names its methods, with and without the last slash, and
// never sends a client elsewhere.
func TestCompanyAllow(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		const get, post = "GET, HEAD, OPTIONS", "POST, OPTIONS"
		want := map[string]string{
			"/companies": "GET, POST, HEAD, OPTIONS", "/companies/search": get, "/companies/update_or_create": post,
			"/attributes": "GET, POST, HEAD, OPTIONS", "/attributes/1": "GET, DELETE, HEAD, OPTIONS", "/attribute-type/x/users": get, "/attribute-type/x/companies": get,
			"/events": "GET, POST, HEAD, OPTIONS", "/events/1": get, "/products-by-id/p/product_event": post, "/products/1/product_event": post, "/site-views": post,
			"/products": "GET, POST, HEAD, OPTIONS", "/products/update_or_create": post, "/deals": "GET, POST, HEAD, OPTIONS", "/deals/update_or_create": post,
			"/products/1": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS", "/products-by-id/p": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
			"/deals/1": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS", "/deals-by-id/p": "GET, PUT, PATCH, DELETE, HEAD, OPTIONS",
			"/users/1/events": "GET, POST, HEAD, OPTIONS", "/users-by-id/x/events": "GET, POST, HEAD, OPTIONS",
			"/users/1/timeline": get, "/users-by-id/x/timeline": get, "/users/1/emails": get, "/users-by-id/x/emails": get,
			"/users/1/set_primary_company": post, "/users-by-id/x/set_primary_company": post,
		}
		for _, company := range []string{"/companies/1", "/companies-by-id/x"} {
			want[company] = "GET, PUT, PATCH, DELETE, HEAD, OPTIONS"
			want[company+"/members"] = get
			for _, action := range []string{"add_member", "set_attribute", "set_multiple_attributes", "add_tag", "add_many_tags"} {
				want[company+"/"+action] = post
			}
			for _, action := range []string{"remove_member", "remove_attribute", "remove_tag"} {
				want[company+"/"+action] = "POST, DELETE, OPTIONS"
			}
		}
		for path, allow := range want {
			for _, end := range []string{"", "/"} {
				for method, status := range map[string]int{"OPTIONS": http.StatusNoContent, "LINK": http.StatusMethodNotAllowed} {
					rec := w.do(acmeToken, "1", method+" "+path+end, "")
					if got := rec.Header().Get("Allow"); got != allow || rec.Code != status {
						t.Errorf("%s %s: %d Allow %q, want %d %q", method, path+end, rec.Code, got, status, allow)
					}
				}
			}
		}
	})
}
