package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// rawListing is a page with its entries as they came.
type rawListing struct {
	Count    int64
	Next     *string
	Previous *string
	Results  []json.RawMessage
}

func (w *world) rawList(t testing.TB, path string) (l rawListing) {
	t.Helper()
	rec := w.do(scenario{path: path})
	if rec.Code != http.StatusOK {
		t.Fatalf("GET %s: status %d: %s", path, rec.Code, rec.Body)
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &l); err != nil {
		t.Fatal(err)
	}
	return l
}

// TestTimeline walks through more than 1,000 entries of each kind by cursor and by
// number, some of them of a contact that was merged and many at the same time, while
// more happens: what was there at first comes once, newest first.
func TestTimeline(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		start := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
		const n = 1100
		c := &gateway.Changes{
			NewContacts: []*gateway.Contact{
				{ID: 1, WorkspaceID: w.acme, CustomID: "u1", CreatedAt: start, UpdatedAt: start},
				{ID: 2, WorkspaceID: w.acme, MergedInto: 1, CreatedAt: start, UpdatedAt: start},
			},
			Merges: []gateway.Merge{{WorkspaceID: w.acme, At: start.Add(5 * time.Second), By: "widget", Rule: "same key", WinnerID: 1, LoserID: 2, Before: `{"secret":1}`, After: "{}"}},
		}
		for i := range n {
			at, who := start.Add(time.Duration(i/100)*time.Second), gateway.ContactID(1+i%2)
			kind := gateway.EventCustom
			if i%2 == 0 {
				kind = gateway.EventProduct
			}
			c.PageViews = append(c.PageViews, gateway.PageView{WorkspaceID: w.acme, ContactID: who, At: at, Path: fmt.Sprint("/", i)})
			c.Events = append(c.Events, gateway.Event{WorkspaceID: w.acme, ContactID: who, Kind: kind, Name: fmt.Sprint("e", i), At: at})
		}
		w.save(t, w.acme, c)
		type entry struct {
			ID        int64
			Client    int64
			Type      string
			Timestamp time.Time
			Merged    int64
		}
		read := func(path string) (entries []entry, l rawListing) {
			t.Helper()
			l = w.rawList(t, path)
			for _, text := range l.Results {
				var e entry
				if err := json.Unmarshal(text, &e); err != nil {
					t.Fatal(err)
				}
				if e.ID == 0 || e.Client == 0 || strings.Contains(string(text), "secret") {
					t.Fatalf("entry %s", text)
				}
				entries = append(entries, e)
			}
			return entries, l
		}
		views := n
		for _, list := range []struct {
			path  string
			total int
			known bool // its length is
		}{{"/users/1/timeline/", 2*n + 1, false}, {"/users-by-id/u1/timeline", 2*n + 1, false}, {"/users/1/events/", n / 2, false}, {"/users/1/product_events/", n / 2, false}, {"/users/2/ping_hits/", n, true}} {
			var all []entry
			for path := list.path + "?limit=97"; ; {
				page, l := read(path)
				all = append(all, page...)
				want := int64(len(page))
				if l.Next != nil {
					want++
				}
				if list.known {
					want = int64(views)
				}
				if l.Count != want || l.Previous != nil {
					t.Fatalf("%s: count %d, want %d; previous %v", path, l.Count, want, l.Previous)
				}
				if l.Next == nil {
					break
				}
				if len(page) != 97 {
					t.Fatalf("%s has %d entries and a next page", path, len(page))
				}
				path = follow(t, l.Next)
				if len(all) == 97 { // something new
					w.save(t, w.acme, &gateway.Changes{PageViews: []gateway.PageView{{WorkspaceID: w.acme, ContactID: 1, At: start.Add(time.Hour)}},
						Events: []gateway.Event{{WorkspaceID: w.acme, ContactID: 1, Kind: gateway.EventCustom, Name: "new", At: start.Add(time.Hour)}, {WorkspaceID: w.acme, ContactID: 1, Kind: gateway.EventProduct, Name: "new", At: start.Add(time.Hour)}}})
					views++
				}
			}
			if want := list.total; len(all) < want {
				t.Errorf("%s: %d entries, want %d", list.path, len(all), want)
			}
			seen, merges := map[string]bool{}, 0
			for i, e := range all {
				if seen[fmt.Sprint(e.Type, e.ID)] || i > 0 && e.Timestamp.After(all[i-1].Timestamp) {
					t.Fatalf("%s: entry %d, %+v, comes again or too late", list.path, i, e)
				}
				seen[fmt.Sprint(e.Type, e.ID)] = true
				if e.Type == "merge" {
					merges++
					if e.Merged != 2 || e.Client != 1 {
						t.Errorf("merge %+v", e)
					}
				}
			}
			if want := strings.Count(list.path, "timeline"); merges != want {
				t.Errorf("%s has %d merges, want %d", list.path, merges, want)
			}
			// By number, from where nothing changes any more.
			first, _ := read(list.path + "?limit=100")
			second, l := read(list.path + "?limit=50&page=2")
			if diff := cmp.Diff(first[50:], second); diff != "" || l.Previous == nil || l.Next == nil {
				t.Errorf("%s, the second page (-want +got):\n%s", list.path, diff)
			}
			if back, _ := read(follow(t, l.Previous)); cmp.Diff(first[:50], back) != "" {
				t.Errorf("%s: the link back leads elsewhere", list.path)
			}
			w.check(t, scenario{path: list.path + "?page=99", status: http.StatusNotFound, want: `{"detail":"Not found."}`})
			w.check(t, scenario{path: list.path + "?page=102", status: http.StatusBadRequest, contain: []string{`{"errors":{"page":[`}})
			w.check(t, scenario{path: list.path + "?cursor=x", status: http.StatusBadRequest, contain: []string{`{"errors":{"cursor":[`}})
		}
		// A cursor is of its list.
		_, l := read("/users/1/timeline/?limit=1")
		w.check(t, scenario{path: strings.Replace(follow(t, l.Next), "timeline", "events", 1), status: http.StatusBadRequest, contain: []string{`{"errors":{"cursor":[`}})
		for _, path := range []string{"/users/9/timeline/", "/users/9/emails/", "/users-by-id/none/emails"} {
			w.check(t, scenario{path: path, status: http.StatusNotFound, want: `{"detail":"Not found."}`})
		}

		var ids []int64
		for path := "/events/?limit=90"; ; {
			page, l := read(path)
			for _, e := range page {
				if len(ids) > 0 && e.ID >= ids[len(ids)-1] {
					t.Fatalf("event %d comes after %d", e.ID, ids[len(ids)-1])
				}
				ids = append(ids, e.ID)
			}
			if l.Next == nil {
				break
			}
			path = follow(t, l.Next)
		}
		if len(ids) < n {
			t.Errorf("%d events, want more than %d", len(ids), n)
		}
		w.check(t, scenario{path: fmt.Sprintf("/events/%d", ids[0]), contain: []string{fmt.Sprintf(`{"id":%d,"client":1,"name":"new",`, ids[0])}})
		w.check(t, scenario{path: fmt.Sprintf("/events/%d/", ids[0]+1), status: http.StatusNotFound, want: `{"detail":"Not found."}`})
	})
}

// TestSearchByActivity: search, min and max with all times of a contact, and filters by
// its activity, gender and status as they are shown.
func TestSearchByActivity(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.people(t)
		all := w.rawList(t, "/users/")
		type shown struct {
			ID        int64     `json:"id"`
			FirstSeen time.Time `json:"first_seen"`
			LastSeen  time.Time `json:"last_seen"`
			PageViews int       `json:"page_views"`
			Gender    string    `json:"gender"`
			Status    string    `json:"status"`
		}
		var people []shown
		for _, text := range all.Results {
			var p shown
			if err := json.Unmarshal(text, &p); err != nil {
				t.Fatal(err)
			}
			people = append(people, p)
		}
		check := func(query string, meets func(p shown) bool) {
			t.Helper()
			var want []int64
			for _, p := range people {
				if meets(p) {
					want = append(want, p.ID)
				}
			}
			if diff := cmp.Diff(want, w.list(t, query).ids()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", query, diff)
			}
		}
		for _, p := range people {
			for _, name := range []string{"first_seen", "last_seen"} {
				of := func(p shown) time.Time {
					if name == "first_seen" {
						return p.FirstSeen
					}
					return p.LastSeen
				}
				second := of(p).Unix()
				check(fmt.Sprintf("/users/search/?search=%s&min=%d&max=%d", name, second, second), func(x shown) bool { return of(x).Unix() == second })
				check(fmt.Sprintf("/users/search/?search=%s&min=%d", name, second), func(x shown) bool { return of(x).Unix() >= second })
				check(fmt.Sprintf("/users/search/?search=%s&max=%d", name, second), func(x shown) bool { return of(x).Unix() <= second })
				check(fmt.Sprintf("/users/?%s__gt=%s", name, of(p).Format(time.RFC3339Nano)), func(x shown) bool { return of(x).After(of(p)) })
				check(fmt.Sprintf("/users/?%s__lt=%s", name, of(p).Format(time.RFC3339Nano)), func(x shown) bool { return of(x).Before(of(p)) })
			}
			check(fmt.Sprint("/users/?page_views__gte=", p.PageViews), func(x shown) bool { return x.PageViews >= p.PageViews })
			check(fmt.Sprint("/users/?page_views=", p.PageViews), func(x shown) bool { return x.PageViews == p.PageViews })
		}
		for i, word := range []string{"unknown", "male", "female"} {
			check("/users/?gender="+word, func(x shown) bool { return x.Gender == word })
			check(fmt.Sprint("/users/?gender=", i+1), func(x shown) bool { return x.Gender == word })
		}
		for i, word := range []string{"visitor", "user"} {
			check("/users/?status="+word, func(x shown) bool { return x.Status == word })
			check(fmt.Sprint("/users/?status=", i+1), func(x shown) bool { return x.Status == word })
		}
		w.check(t, scenario{path: "/users/search/?search=last_contacted&min=0", want: `{"count":0,"next":null,"previous":null,"results":[]}`})
	})
}
