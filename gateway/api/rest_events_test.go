package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"civgate/gateway"
)

func TestAttributes(t *testing.T) {
	t.Parallel()
	transcript(t, "attributes", func(w *wire) { w.contact("u1", "key100000000") }, slices.Concat(
		[]string{
			`v1 POST /attributes/ {"content_type":"user","name":"API string attribute","value_type":"string","description":"What it is"}`,
			`v2 POST /attributes/ {"content_type":"clientuser","name":"Plan","value_type":"fixed","choices":["a","b"],"allow_multiple_choices":true}`,
			`v2 POST /attributes/ {"content_type":"company","name":"Seats","value_type":"integer"}`,
			`v2 POST /attributes {"content_type":"company","name":"Since","value_type":"datetime"}`,
			`v2 POST /attributes/ {"content_type":"company","name":"Is pro","value_type":"boolean"}`,
			`v2 POST /attributes/ {"content_type":"deal","name":"x","value_type":"money"}`,
			`v2 POST /attributes/ {"content_type":"deal","name":"Stage","value_type":"fixed","choices":["new",2,"new"]}`,
			`v1 POST /attributes/ {"content_type":"product","name":"Price","value_type":"float"}`,
			`v2 POST /attributes/ {"content_type":"activity","name":"Length","value_type":"integer"}`,
			`v2 POST /attributes/ {"content_type":"ticket","name":"Due","value_type":"date"}`,
			`v2 POST /attributes/ {"content_type":"product","name":"Product id","value_type":"string"}`,
			`v2 POST /attributes/ {"content_type":"deal","name":"y","value_type":"fixed","choices":[{}],"allow_multiple_choices":"perhaps"}`,
			`v2 POST /attributes/`,
			`v2 POST /attributes/ {"content_type":"company","name":"` + strings.Repeat("ż", 33) + `","value_type":"string"}`,
			`v2 POST /attributes/ {"content_type":"company","name":"!?","value_type":"string"}`,
			`v2 POST /attributes/ {"content_type":"company","name":"seats","value_type":"string"}`,
			`v2 POST /attributes/ {"content_type":"clientuser","name":"First name","value_type":"string"}`,
			`v2 POST /attributes/ {"content_type":"company","name":"Colour","value_type":"fixed"}`,
			`v2 POST /attributes/ {"content_type":"company","name":"Colour","value_type":"fixed","choices":[]}`,
			`v2 GET /attributes/?content_type=nothing`,
			`v2 GET /attributes/?limit=2&content_type=company`,
			`v2 GET /attributes/?limit=2&content_type=company&page=2`,
			`v2 GET /attributes/99/`,
			`v2 DELETE /attributes/99/`,
			`v2 DELETE /attributes/x/`,
			`v2 GET /attributes/abc/`,
		},
		both(
			`GET /attributes/`,
			`GET /attributes/1/`,
			`GET /attributes/2/`,
			`GET /attributes/6/`,
			`GET /attributes/?content_type=product`,
			`GET /attribute-type/api_string_attribute/users/`,
			`GET /attribute-type/plan/users`,
			`GET /attribute-type/seats/companies/`,
			`GET /attribute-type/is_pro/companies/`,
			`GET /attribute-type/score/users/`,
			`GET /attribute-type/tags/companies/`,
			`GET /attribute-type/email/users/`,
			`GET /attribute-type/custom_id/companies/`,
			`GET /attribute-type/user_id/companies/`,
			`GET /attribute-type/employees_count/companies/`,
			`GET /attribute-type/seats/users/`,
			`GET /attribute-type/%00/users/`,
		),
		[]string{
			`v2 PUT /users-by-id/u1/ {"plan":["a","c"],"api_string_attribute":"x"}`,
			`v2 DELETE /attributes/1/`,
			`v2 GET /users-by-id/u1/`,
			`v2 GET /attributes/1/`,
			`v2 PUT /users-by-id/u1/ {"API string attribute":7}`,
			`v1 GET /users-by-id/u1/`,
		}))
}

func TestEvents(t *testing.T) {
	t.Parallel()
	transcript(t, "events_write", func(w *wire) {
		w.contact("u1", "key100000000")
		w.contact("user@2", "key200000000")
	}, slices.Concat([]string{
		`v1 POST /events/ {"name":"Added hashtag","client":1,"timestamp":1700000000,"data":{"tag":"x","n":[1,2]}}`,
		`v2 POST /events/ {"name":"Added hashtag","user_id":2,"timestamp":"1700000000"}`,
		`v2 POST /events {"name":"login","user_custom_id":"user@2","timestamp":1700000000123,"data":{}}`,
		`v2 POST /events/ {"name":"login","user_id":999,"user_custom_id":"user@2","timestamp":"0001-01-01T00:00:00","data":null}`,
		`v2 POST /users-by-id/user@2/events/ {"name":"logout","timestamp":"2024-05-06 07:08:09+02:00","data":{"a":{"b":1}}}`,
		`v1 POST /users/1/events {"name":"logout","timestamp":99999999999}`,
		`v2 POST /users-by-id/nobody/events/ {"name":"login"}`,
		`v2 POST /users/99/events/ {"name":"login"}`,
		`v2 POST /events/ {"name":"login","user_id":99}`,
		`v2 POST /events/ {"name":"login"}`,
		`v2 POST /events/ {"user_id":1}`,
		`v2 POST /events/ {"name":"` + strings.Repeat("x", gateway.MaxName+1) + `","user_id":1}`,
		`v2 POST /events/ {"name":"login","user_id":1,"timestamp":"yesterday"}`,
		`v2 POST /events/ {"name":"login","user_id":1,"timestamp":-5e20}`,
		`v2 POST /events/ {"name":"login","user_id":1,"timestamp":{}}`,
		`v2 POST /events/ {"name":"login","user_id":1,"data":[1]}`,
		`v2 POST /events/ {"name":"login","user_id":1,"data":{"a":[[[[[[1]]]]]]}}`,
		`v2 POST /products-by-id/p%2F1/product_event/ {"user_id":1,"event_type":"Add to cart","timestamp":1700000001,"data":{"price":9.5,"product_id":"other","custom_data":{"x":1}}}`,
		`v1 POST /products-by-id/p2/product_event {"user_custom_id":"user@2","event_type":"purchase"}`,
		`v2 POST /products-by-id/p2/product_event/ {"user_id":1,"event_type":"steal"}`,
		`v2 POST /products-by-id/p2/product_event/ {"event_type":"view"}`,
		`v2 POST /products-by-id/p2/product_event/ {"user_id":1}`,
	}, both(
		`POST /events/ {"name":"again","user_custom_id":"u1","data":{"n":1.50}}`,
		`POST /users/1/events/ {"name":"again"}`,
		`POST /users-by-id/user@2/events/ {"name":"again","timestamp":1700000002}`,
		`POST /products-by-id/p3/product_event/ {"user_id":2,"event_type":"refund","timestamp":1700000003}`,
		`GET /users/1/events/`,
		`GET /users-by-id/user@2/events/`,
		`GET /users/1/product_events/`,
		`GET /users/2/product_events/`,
	)))
}

func TestSiteViews(t *testing.T) {
	t.Parallel()
	transcript(t, "site_views", func(w *wire) {
		w.contact("u1", "key100000000")
	}, []string{
		`v2 POST /site-views/ {"client_user":"key100000000","page_domain":"https://shop.test/cart?q=1","page_path":"/cart","timestamp":"2024-05-06T07:08:09.123Z"}`,
		`v1 POST /site-views {"client_user":"key100000000","page_domain":"shop.test","page_path":"/about"}`,
		`v2 POST /site-views/ {"client_user":"stranger0001","page_domain":"https://shop.test/","timestamp":"0001-01-01T00:00:00"}`,
		`v2 POST /site-views/ {"client_user":"stranger0001","page_path":"/again","timestamp":"9999-01-01T00:00:00Z"}`,
		`v2 POST /site-views/ {"client_user":"stranger0001","page_domain":"shop.test:8080/a?b=c","page_path":"/other","title":"Shop","referrer":"javascript:alert(1)"}`,
		`v2 POST /site-views/ {"client_user":"stranger0001","page_domain":"javascript:alert(1)"}`,
		`v2 POST /site-views/ {"client_user":"stranger0001","page_domain":"/path/only?x=1"}`,
		`v2 POST /site-views/ {"client_user":"no key!","page_path":"/"}`,
		`v2 POST /site-views/ {"page_path":"/"}`,
		`v2 POST /site-views/ {"client_user":"key100000000"}`,
		`v2 POST /site-views/ {"client_user":"key100000000","page_domain":"javascript://x/%0aalert(1)","page_path":{}}`,
		`v2 GET /users/1/ping_hits/`,
		`v2 GET /users/search/?key=stranger0001`,
		`v2 GET /users/2/ping_hits/`,
	})
}

// TestSiteViewMeetsBrowser: the visitor that a page view made is the one whose browser
// comes with the key.
func TestSiteViewMeetsBrowser(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.must(http.StatusCreated, "POST /site-views/", `{"client_user":"stranger0001","page_path":"/"}`)
		p, _, err := gateway.ParsePayload([]byte(`{"apiKey":"x","user_id":"u9","$":{"key":"stranger0001","type":"page","path":"/later"}}`))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.gateway.Apply(t.Context(), []*gateway.Entry{{Seq: 1, At: w.now, WorkspaceID: w.acme, Payload: p}}); err != nil {
			t.Fatal(err)
		}
		if got := w.must(http.StatusOK, "GET /users-by-id/u9/", ""); !strings.HasPrefix(got, `{"id":1,"user_key":"stranger0001"`) || !strings.Contains(got, `"page_views":2`) {
			t.Errorf("u9 is %s", got)
		}
	})
}
