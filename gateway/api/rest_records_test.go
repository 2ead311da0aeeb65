package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestProducts(t *testing.T) {
	t.Parallel()
	transcript(t, "products", func(w *wire) {
		w.contact("u1", "key100000000")
	}, slices.Concat([]string{
		`v2 POST /products/ {"custom_id":"p/1","name":"Mug <big>","price":9.50,"In stock":"2026-01-02","tags":["a","b"],"id":7,"created_at":"2001-01-01","updated_at":null}`,
		`v1 POST /products {"product_id":42,"name":"Cup","attributes":[{"name_std":"price","value":"12"}],"name_std":"x"}`,
		`v2 POST /products/ {"name":"No id"}`,
		`v2 POST /products/ {"price":1}`,
		`v2 POST /products/`,
		`v2 POST /products/ {"custom_id":"p/1","name":"Twice"}`,
		`v1 POST /products/ {"product_id":"p/1","name":"Twice"}`,
		`v2 POST /products/ {"custom_id":true,"name":[]}`,
		`v2 POST /products/ {"custom_id":"{{ id }}"}`,
		`v1 PUT /products/1/ {"price":"cheap","colour":"red","name":"Mug"}`,
		`v2 PATCH /products-by-id/p%2F1/ {"colour":null,"custom_id":"p1"}`,
		`v2 PUT /products-by-id/p1 {"custom_id":"42"}`,
		`v2 PUT /products/2/`,
		`v2 POST /products/update_or_create/ {"custom_id":"p1","price":3}`,
		`v2 POST /products/update_or_create/ {"custom_id":"p9","name":"New"}`,
		`v1 POST /products/update_or_create/ {"name":"New"}`,
		`v2 GET /products/99/`,
		`v2 GET /products/x/`,
		`v2 GET /products-by-id/nothing/`,
		`v2 GET /deals/1/`,
		`v2 DELETE /deals/1/`,
		`v2 GET /products/?price=3`,
		`v2 GET /products/?limit=2`,
		`v2 GET /products/?limit=2&page=2`,
		`v2 GET /products/?limit=2&page=9`,
		`v2 GET /products/?cursor=x`,
		`v2 POST /products/3/product_event/ {"user_id":1,"event_type":"View","timestamp":1700000000,"data":{"price":5,"product_id":"p9","custom_data":{"a":1}}}`,
		`v2 POST /products/1/product_event/ {"user_custom_id":"u1","event_type":"purchase","timestamp":1700000001}`,
		`v2 POST /products-by-id/fresh/product_event/ {"user_id":1,"event_type":"add","timestamp":1700000002,"data":{"name":"Fresh","price":"6"}}`,
		`v2 POST /products/99/product_event/ {"user_id":1,"event_type":"view"}`,
		`v2 POST /products/x/product_event/ {"user_id":1,"event_type":"view"}`,
		`v2 POST /products/1/product_event/ {"user_id":9,"event_type":"view"}`,
		`v2 POST /products/1/product_event/ {"user_id":1,"event_type":"steal"}`,
		`v2 GET /users/1/product_events/`,
		`v2 DELETE /products/2/`,
		`v2 DELETE /products/2/`,
		`v2 DELETE /products-by-id/p9`,
	}, both(
		`GET /products/1/`,
		`GET /products-by-id/p1`,
		`GET /products-by-id/fresh/`,
		`GET /products/`,
	)))
}

func TestDeals(t *testing.T) {
	t.Parallel()
	transcript(t, "deals", func(*wire) {}, slices.Concat([]string{
		`v2 POST /deals/ {"custom_id":"d1","name":"Big","value":1000,"stage":"new"}`,
		`v1 POST /deals/ {"deal_id":"d2","name":"Small"}`,
		`v2 POST /deals/ {"custom_id":"d1","name":"Again"}`,
		`v2 POST /products/ {"custom_id":"d1","name":"A product of the same id"}`,
		`v2 POST /deals/update_or_create/ {"custom_id":"d1","stage":"won"}`,
		`v1 POST /deals/update_or_create/ {"custom_id":"d3","stage":"new"}`,
		`v2 PUT /deals-by-id/d2/ {"value":"2000.5"}`,
		`v2 PATCH /deals/1 {"value":null}`,
		`v2 GET /deals/3/`,
		`v2 GET /attributes/?content_type=deal`,
		`v2 DELETE /deals-by-id/d3/`,
	}, both(
		`GET /deals/1/`,
		`GET /deals-by-id/d2/`,
		`GET /deals/`,
	)))
}

// TestProductPages reads the list forth and back by its links.
func TestProductPages(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		for i := range 7 {
			w.must(http.StatusCreated, "POST /products/", fmt.Sprintf(`{"custom_id":"p%d"}`, i))
			w.must(http.StatusCreated, "POST /deals/", fmt.Sprintf(`{"custom_id":"p%d"}`, i))
		}
		link := func(body, name string) string {
			_, rest, ok := strings.Cut(body, `"`+name+`":"http://example.com/api/public`)
			if !ok {
				return ""
			}
			url, _, _ := strings.Cut(rest, `"`)
			return url
		}
		ids := func(body string) (out []string) {
			for part := range strings.SplitSeq(body, `"custom_id":"`) {
				if id, _, ok := strings.Cut(part, `","`); ok && strings.HasPrefix(id, "p") {
					out = append(out, id)
				} else if id, _, ok := strings.Cut(part, `"`); ok && strings.HasPrefix(id, "p") {
					out = append(out, id)
				}
			}
			return out
		}
		var seen []string
		var last string
		for next := "/products/?limit=3"; next != ""; {
			last = w.must(http.StatusOK, "GET "+next, "")
			if !strings.HasPrefix(last, `{"count":7,`) {
				t.Errorf("the page begins %.40s", last)
			}
			seen = append(seen, ids(last)...)
			next = link(last, "next")
		}
		if got := strings.Join(seen, " "); got != "p6 p5 p4 p3 p2 p1 p0" {
			t.Errorf("the list is %s", got)
		}
		if got := strings.Join(ids(w.must(http.StatusOK, "GET "+link(last, "previous"), "")), " "); got != "p3 p2 p1" {
			t.Errorf("the page before the last is %s", got)
		}
		// A cursor of products is none of deals.
		first := w.must(http.StatusOK, "GET /products/?limit=3", "")
		w.must(http.StatusBadRequest, "GET "+strings.Replace(link(first, "next"), "/products/", "/deals/", 1), "")
	})
}
