package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
)

func TestTags(t *testing.T) {
	t.Parallel()
	transcript(t, "tags", func(w *wire) {
		w.contact("u1", "key100000000")
		w.contact("u2", "key200000000")
		w.must(http.StatusCreated, "POST /companies/", `{"name":"Acme","custom_id":"c7","tags":["customer"]}`)
	}, slices.Concat([]string{
		`v2 GET /tags/`,
		`v1 POST /tags/ {"name":"vip"}`,
		`v2 POST /tags {"name":"vip"}`,
		`v2 POST /tags/ {"name":"VIP"}`,
		`v2 POST /tags/ {"name":"5"}`,
		`v2 POST /tags/ {"name":""}`,
		`v2 POST /tags/ {"name":["vip"]}`,
		`v2 POST /tags/ {}`,
		`v2 POST /tags/`,
		`v2 POST /tags/ {"name":`,
		`v2 PUT /tags/ {"name":"vip"}`,
		`v2 PUT /tags/1/ {"name":"vip"}`,
		`v1 POST /users/1/add_tag/ {"name":"vip"}`,
		`v2 POST /users-by-id/u2/add_tag/ {"name":"vip"}`,
		`v2 POST /users/2/add_tag/ {"name":"vip"}`,
		`v2 POST /companies/1/add_tag {"name":"vip"}`,
		`v2 POST /companies-by-id/c7/add_tag/ {"name":"łódź ✓"}`,
		`v2 POST /users/1/add_many_tags/ {"tag_names":["beta","vip"]}`,
		`v2 PUT /users-by-id/u2/ {"city":"Łódź"}`,
	}, both(
		`GET /tags/`,
		`GET /tags/?limit=2`,
		`GET /tags/?limit=2&page=2`,
		`GET /tags/?page=9`,
		`GET /tags/2/`,
		`GET /tags/2//`,
		`GET /tags/2/users/`,
		`GET /tags/2/users/?limit=1`,
		`GET /tags/2/users?city=Łódź`,
		`GET /tags/2/companies/`,
		`GET /tags/3/users/`,
		`GET /users/?tags=vip&limit=1`,
		`GET /companies/?tags=vip`,
	), []string{
		`v2 GET /tags/99/`,
		`v2 GET /tags/vip/`,
		`v2 GET /tags/0/users/`,
		`v2 GET /tags/99/companies/`,
		`v2 GET /tags/2/users/?created_at__gt=soon`,
		`v2 DELETE /tags/99/`,
		`v2 DELETE /tags/vip/`,
		`v2 DELETE /tags/2/`,
		`v2 DELETE /tags/2/`,
		`v2 GET /tags/2/`,
		`v2 GET /tags/2/users/`,
		`v2 GET /users/?tags=vip`,
		`v2 GET /users/1/`,
		`v1 GET /users/2/`,
		`v2 GET /companies/1/`,
		`v2 GET /tags/`,
		// The name may come again, as another tag.
		`v2 POST /users/1/add_tag/ {"name":"vip"}`,
		`v2 DELETE /users/1/remove_tag/ {"name":"vip"}`,
		`v2 GET /users/?tags=vip`,
	}))
}

// tagList is what a page of tags says.
type tagList struct {
	Count    int64
	Next     *string
	Previous *string
	Results  []struct {
		ID   int64
		Name string
	}
}

func (w *wire) tags(line string) (l tagList) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.must(http.StatusOK, line, "")), &l); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestTagPages follows the links of the list of tags forth and back.
func TestTagPages(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		var want []string
		w.edit(func(e *gateway.Editor) error {
			want = nil
			for i := range 25 {
				name := fmt.Sprint("tag ", i)
				if _, created, err := e.AddTag(name); err != nil || !created {
					return fmt.Errorf("%s: made: %v, %w", name, created, err)
				}
				want = append(want, name)
			}
			return nil
		})
		slices.Reverse(want)
		path := func(link *string) string {
			_, p, _ := strings.Cut(*link, "/api/public")
			return "GET " + p
		}
		var got []string
		page := w.tags("GET /tags/?limit=10")
		for {
			for _, tag := range page.Results {
				got = append(got, tag.Name)
			}
			if page.Count != 25 {
				t.Errorf("count %d, want 25", page.Count)
			}
			if page.Next == nil {
				break
			}
			page = w.tags(path(page.Next))
		}
		if !slices.Equal(got, want) {
			t.Errorf("forth: %v, want %v", got, want)
		}
		back := w.tags(path(page.Previous))
		if len(back.Results) != 10 || back.Results[9].Name != want[19] {
			t.Errorf("the page before the last is %+v", back)
		}
	})
}

// TestDeletedTag: a tag goes from all who have it, and a payload that brought it
// before brings it again, because no cache takes it for known.
func TestDeletedTag(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		const many = 2300 // more than two portions
		w.edit(func(e *gateway.Editor) error {
			for i := range many {
				tags := gateway.ListValue("vip", fmt.Sprint("t", i%7))
				p := gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{{Name: "tags", Label: "tags", Value: tags}}}
				if _, err := e.CreateContact(p); err != nil {
					return err
				}
			}
			_, err := e.CreateCompany(gateway.CompanyPatch{Attributes: []gateway.PayloadAttribute{{Name: "tags", Label: "tags", Value: gateway.ListValue("vip")}}})
			return err
		})
		vip := w.tags("GET /tags/?limit=1").Results[0]
		if vip.Name != "vip" {
			t.Fatalf("the newest tag is %+v", vip)
		}
		before := w.now
		w.must(http.StatusNoContent, fmt.Sprintf("DELETE /tags/%d/", vip.ID), "")
		var last gateway.ContactID
		for n := 0; ; {
			views, err := w.store.Contacts(t.Context(), w.acme, last, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range views {
				tags, _ := v.Attributes.Get("tags")
				if strings.Contains(tags.Raw, "vip") || !strings.HasPrefix(tags.Raw, `["t`) || !v.UpdatedAt.After(before) {
					t.Fatalf("contact %d has the tags %s and was changed at %s", v.ID, tags.Raw, v.UpdatedAt.Format(time.RFC3339Nano))
				}
			}
			if n += len(views); len(views) == 0 {
				if n != many {
					t.Errorf("%d contacts, want %d", n, many)
				}
				break
			}
			last = views[len(views)-1].ID
		}
		if body := w.must(http.StatusOK, "GET /companies/1/", ""); !strings.Contains(body, `"tags":[]`) {
			t.Errorf("the company: %s", body)
		}
		if l := w.tags("GET /tags/"); l.Count != 7 || len(l.Results) != 7 {
			t.Errorf("%d tags are left, %d counted, want 7", len(l.Results), l.Count)
		}
	})
}

// TestDeletedTagOfAnEdit: what an edit has done before it deletes a tag counts.
func TestDeletedTagOfAnEdit(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		tagged := func(names ...string) gateway.ContactPatch {
			return gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{{Name: "tags", Label: "tags", Value: gateway.ListValue(names...)}}}
		}
		var ids [3]gateway.ContactID
		w.edit(func(e *gateway.Editor) (err error) {
			ids[0], err = e.CreateContact(tagged("a", "b"))
			return err
		})
		w.edit(func(e *gateway.Editor) (err error) {
			if ids[1], err = e.CreateContact(tagged("b")); err != nil {
				return err
			}
			if ids[2], err = e.CreateContact(tagged("c")); err != nil {
				return err
			}
			if err := e.SetTags(ids[0], []string{"b", "c"}); err != nil {
				return err
			}
			id, created, err := e.AddTag("b")
			if err != nil || created {
				return fmt.Errorf("made: %v, %w", created, err)
			}
			if err := e.DeleteTag(id); err != nil {
				return err
			}
			return e.SetTags(ids[2], []string{"c", "b"}) // the name again
		})
		for name, want := range map[string][]gateway.ContactID{"a": nil, "b": {ids[2]}, "c": {ids[2], ids[0]}} {
			views, err := w.store.FindContacts(t.Context(), w.acme, gateway.Query{Where: []gateway.Condition{{Field: "tags", Value: text(name)}}, Limit: 10})
			if err != nil {
				t.Fatal(err)
			}
			var got []gateway.ContactID
			for _, v := range views {
				got = append(got, v.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
	})
}
