package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"civgate/gateway"
	"civgate/gateway/store/pgtest"
	"civgate/web"
)

// onBothDatabases runs a test on a stack over each database.
func onBothDatabases(t *testing.T, test func(t *testing.T, s *stack)) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); test(t, newStack(t)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, newStackAt(t, web.Demo{}, gateway.DefaultSettings(), pgtest.Shared(t).NewDatabase(t)))
	})
}

// byToken writes through another door than the panel.
func (s *stack) byToken(fn func(e *gateway.Editor) error) {
	s.t.Helper()
	if err := s.gateway.Edit(s.t.Context(), &gateway.Workspace{ID: s.workspace}, gateway.Author{Source: gateway.SourceAPI, By: "token"}, fn); err != nil {
		s.t.Fatal(err)
	}
}

// newContact makes a contact and returns its address.
func (s *stack) newContact(p gateway.ContactPatch) (gateway.ContactID, string) {
	s.t.Helper()
	var id gateway.ContactID
	s.byToken(func(e *gateway.Editor) (err error) { id, err = e.CreateContact(p); return err })
	return id, "/panel/contacts/" + strconv.FormatInt(int64(id), 10)
}

func (s *stack) newCompany(p gateway.CompanyPatch) gateway.CompanyID {
	s.t.Helper()
	var id gateway.CompanyID
	s.byToken(func(e *gateway.Editor) (err error) { id, err = e.CreateCompany(p); return err })
	return id
}

func (s *stack) view(id gateway.ContactID) *gateway.ContactView {
	s.t.Helper()
	v, err := s.gateway.Read().Contact(s.t.Context(), s.workspace, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func value(name string, v gateway.Value) gateway.PayloadAttribute {
	return gateway.PayloadAttribute{Name: name, Label: name, Value: v}
}

func named(name string) []gateway.PayloadAttribute {
	return []gateway.PayloadAttribute{value("name", gateway.TextValue(name))}
}

// mustPost sends a form that has to be carried out.
func (c *client) mustPost(path string, fields ...string) {
	c.t.Helper()
	if a := c.post(path, fields...); a.status != http.StatusSeeOther {
		c.t.Fatalf("POST %s %q: %d\n%s", path, fields, a.status, a.body)
	}
}

func (c *client) wants(path string, texts ...string) {
	c.t.Helper()
	body := c.page(path)
	for _, text := range texts {
		not := strings.HasPrefix(text, "!")
		if strings.Contains(body, strings.TrimPrefix(text, "!")) == not {
			c.t.Errorf("%s: %q is wrong in\n%s", path, text, ownPart(body))
		}
	}
}

// ownPart is the part of a page that is its own.
func ownPart(body string) string {
	_, body, _ = strings.Cut(body, "<main")
	body, _, _ = strings.Cut(body, "</main>")
	return regexp.MustCompile(`\n\s*\n+`).ReplaceAllString(body, "\n")
}

// TestContactCompanies: what is linked by hand, to a company that there is or to a new
// one, is a membership like those of other doors, and says where it came from.
func TestContactCompanies(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		editor := s.as(gateway.RoleEditor)
		id, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada Example")})
		rest := s.newCompany(gateway.CompanyPatch{Name: new("By token")})
		known := s.newCompany(gateway.CompanyPatch{Name: new("Globex"), CustomID: new("globex")})
		s.byToken(func(e *gateway.Editor) error { return e.AddMember(rest, id) })

		if a := editor.fragment("/panel/contacts/companies?q=glo"); !strings.Contains(a.body, `data-value="`+strconv.FormatInt(int64(known), 10)+`"`) || !strings.Contains(a.body, "Create “glo”") {
			t.Errorf("type-ahead: %s", a.body)
		}
		editor.mustPost(at+"/companies", "q", "Globex", "company", strconv.FormatInt(int64(known), 10), "company_new", "")
		editor.mustPost(at+"/companies", "q", "Initech & Sons", "company", "", "company_new", "Initech & Sons")
		editor.mustPost(at+"/companies", "q", "globex", "company", "", "company_new", "") // is one already
		if a := editor.post(at+"/companies", "q", "Nowhere", "company", "", "company_new", ""); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Choose a company from the list") {
			t.Errorf("a company that is not there: %d\n%s", a.status, ownPart(a.body))
		}
		v := s.view(id)
		got := ""
		for _, co := range v.Companies {
			got += fmt.Sprintln(co.Name, co.Source, co.By, co.Primary, co.Since.IsZero())
		}
		want := "By token api token true false\nGlobex manual editor@acme.test false false\nInitech & Sons manual editor@acme.test false false\n"
		if got != want {
			t.Errorf("companies:\n%swant:\n%s", got, want)
		}
		editor.wants(at, "By hand", "API", "Initech &amp; Sons", "editor@acme.test", "!former")

		editor.mustPost(at+"/companies/primary", "company", strconv.FormatInt(int64(known), 10))
		editor.mustPost(at+"/companies/remove", "company", strconv.FormatInt(int64(rest), 10))
		if v = s.view(id); len(v.Companies) != 2 || v.Companies[0].CompanyID != known || !v.Companies[0].Primary {
			t.Errorf("companies: %+v", v.Companies)
		}
		editor.wants(at, "1 former", "By token")
		editor.wants("/panel/contacts?company="+strconv.FormatInt(int64(known), 10), "Employees of Globex", "Ada Example")
		editor.wants("/panel/contacts?company="+strconv.FormatInt(int64(rest), 10), "!Ada Example")

		entries, err := s.gateway.Read().AuditLog(t.Context(), s.workspace, gateway.AuditQuery{By: "editor@acme.test", Limit: 20})
		if err != nil {
			t.Fatal(err)
		}
		actions := ""
		for _, e := range entries {
			actions += e.Action + " "
		}
		if want := "contact.leave contact.primary contact.join contact.join company.add contact.join "; actions != want {
			t.Errorf("audit: %s, want %s", actions, want)
		}
	})
}

// TestContactValues edits values as people write them.
func TestContactValues(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	s.newContact(gateway.ContactPatch{CustomID: new("taken"), Attributes: []gateway.PayloadAttribute{
		value("seats", gateway.IntValue(1)), value("paying", gateway.BoolValue(true)), value("born", gateway.Value{Type: gateway.TypeDate, Raw: `"2001-02-03"`}),
		value("likes", gateway.ListValue("a")), value("more", gateway.Value{Type: gateway.TypeJSON, Raw: `{"a":1}`}),
		value("renewed", gateway.Value{Type: gateway.TypeDatetime, Raw: `"2026-01-02T03:04:05Z"`}),
	}})
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada")})
	stored := func(name string) string {
		v := s.view(id)
		switch name {
		case "email":
			return v.Email
		case "custom_id":
			return v.CustomID
		}
		value, _ := v.Attributes.Get(name)
		return value.Raw
	}
	for _, c := range []struct{ name, value, want, refused string }{
		{"name", "Ada <b>Example</b>", `"Ada <b>Example</b>"`, ""},
		{"name", "", "", ""},
		{"email", "ada@example.com", "ada@example.com", ""},
		{"email", "nobody", "", "Enter a valid email address."},
		{"email", "", "", ""},
		{"custom_id", "taken", "", "already exists"},
		{"custom_id", "42", "42", ""},
		{"phone_number", "+48 600 700 800", `"+48600700800"`, ""},
		{"phone_number", "call me", "", "Write a phone number"},
		{"status", "1", "1", ""},
		{"status", "9", "", "visitor or user"},
		{"tags", "vip, new , vip", `["vip","new"]`, ""},
		{"tags", "", "", ""},
		{"score", "1.5", "", "Write a number"},
		{"seats", "12", "12", ""},
		{"seats", "a dozen", "", "Write a number"},
		{"paying", "false", "false", ""},
		{"born", "1999-12-31", `"1999-12-31"`, ""},
		{"born", "in spring", "", "Write a date"},
		{"renewed", "2026-05-06 07:08", `"2026-05-06T07:08:00Z"`, ""},
		{"likes", "x, y", `["x","y"]`, ""},
		{"more", `{"b": [1, 2]}`, `{"b":[1,2]}`, ""},
		{"more", `{"b"`, "", "Write JSON"},
		{"seats", "", "", ""},
	} {
		before := stored(c.name)
		a := editor.post(at+"/value", "name", c.name, "value", c.value)
		switch {
		case c.refused != "":
			if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, c.refused) || stored(c.name) != before {
				t.Errorf("%s = %q: %d, %s\n%s", c.name, c.value, a.status, stored(c.name), ownPart(a.body))
			}
		case a.status != http.StatusSeeOther || stored(c.name) != c.want:
			t.Errorf("%s = %q: %d, %s, want %s", c.name, c.value, a.status, stored(c.name), c.want)
		}
	}
	for _, name := range []string{"last_seen", "page_views", "id", "nothing"} {
		if a := editor.post(at+"/value", "name", name, "value", "1"); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	editor.mustPost(at+"/attributes", "attribute", "Favourite colour", "text", "blue")
	editor.mustPost(at+"/attributes", "attribute", "Seats", "text", "7")
	if a := editor.post(at+"/attributes", "attribute", "!!", "text", "7"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a name without letters: %d", a.status)
	}
	if got := stored("favourite_colour") + stored("seats"); got != `"blue"7` {
		t.Errorf("new attributes: %s", got)
	}
	editor.mustPost(at+"/delete", "confirm", "delete")
	if a := editor.get(at); a.status != http.StatusNotFound {
		t.Errorf("a deleted contact: %d", a.status)
	}
}

// TestContactsList asks for lists by their address.
func TestContactsList(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		editor := s.as(gateway.RoleEditor)
		list := gateway.ListID(0)
		for i, name := range []string{"Ada Lovelace", "Grace Hopper", "Łucja Żak"} {
			id, _ := s.newContact(gateway.ContactPatch{CustomID: new(fmt.Sprint("u", i)), Email: new(fmt.Sprintf("p%d@acme.test", i)), Attributes: append(named(name),
				value("seats", gateway.IntValue(int64(10*i))), value("tags", gateway.ListValue(fmt.Sprint("t", i), "all")))})
			s.byToken(func(e *gateway.Editor) error {
				if i == 0 {
					l, err := e.CreateList(gateway.ListPatch{Name: new("Beta")})
					if err != nil {
						return err
					}
					list = l.ID
					_, err = e.AddToList(list, id)
					return err
				}
				return nil
			})
		}
		s.newContact(gateway.ContactPatch{Key: "abcdefghijkl", Attributes: []gateway.PayloadAttribute{value("city", gateway.TextValue("Łódź"))}})
		people := []string{"Ada Lovelace", "Grace Hopper", "Łucja Żak", "Visitor abcdef"}
		for query, want := range map[string]string{
			"":                                      "012",
			"tab=visitors":                          "3",
			"tab=all":                               "0123",
			"f=name:has:hop":                        "1",
			"f=name:starts:%C5%82ucja":              "2",
			"f=seats:gte:10":                        "12",
			"f=seats:gte:10&f=seats:lt:20":          "1",
			"f=tags:is:t2":                          "2",
			"f=tags:is:all":                         "012",
			"f=email:is:P1@acme.test":               "1",
			"f=custom_id:is:u0":                     "0",
			"f=status:is:user&tab=all":              "012",
			"f=city:is:%C5%81%C3%B3d%C5%BA&tab=all": "3",
			"f=created_at:gt:2020-01-01":            "012",
			"f=created_at:lt:2020-01-01":            "",
			"f=list:is:" + strconv.FormatInt(int64(list), 10): "0",
			"f=name:is:nobody":        "",
			"f=nonsense:is:1&tab=all": "0123", // left out, and said so
		} {
			a := editor.get("/panel/contacts?" + query)
			if ok := a.status == http.StatusOK; ok == strings.Contains(query, "nonsense") {
				t.Errorf("%s: %d", query, a.status)
			}
			for i, name := range people {
				if has := strings.Contains(a.body, ">"+name+"</bdi></a>"); has != strings.Contains(want, strconv.Itoa(i)) {
					t.Errorf("%s: %s is %v\n%s", query, name, has, ownPart(a.body))
				}
			}
		}
		// A filter that is added stands in the address.
		a := editor.get("/panel/contacts?tab=all&field=seats&op=gt&value=5")
		if to, err := url.Parse(a.location()); err != nil || a.status != http.StatusSeeOther || to.Query().Get("f") != "seats:gt:5" || to.Query().Get("tab") != "all" {
			t.Errorf("add a filter: %d to %s", a.status, a.location())
		}
		if a := editor.get("/panel/contacts?field=seats&op=has&value=5"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "choose another operator") {
			t.Errorf("a filter that can't be: %d", a.status)
		}
		// Columns are the agent's own.
		editor.mustPost("/panel/contacts/columns", "column", "seats", "column", "nothing", "back", "/panel/contacts?tab=all")
		editor.wants("/panel/contacts", `<th scope="col" class="num"><a href="/panel/contacts?sort=-seats">seats</a></th>`, `!>E-mail</a></th>`)
		editor.mustPost("/panel/sign-out")
		editor.signIn(editor.email)
		editor.wants("/panel/contacts", `<th scope="col" class="num"><a href="/panel/contacts?sort=-seats">seats</a></th>`, `!>E-mail</a></th>`)
		editor.mustPost("/panel/contacts/columns", "back", "/panel/contacts")
		editor.wants("/panel/contacts", `!>seats</a></th>`, `!>E-mail</a></th>`)
		editor.mustPost("/panel/contacts/columns", "usual", "1", "column", "seats", "back", "/panel/contacts")
		editor.wants("/panel/contacts", `!>seats</a></th>`, `>E-mail</a></th>`)

		// Selected ones.
		ids := regexp.MustCompile(`name="id" value="(\d+)"`).FindAllStringSubmatch(editor.page("/panel/contacts"), -1)
		if len(ids) != 3 {
			t.Fatalf("%d boxes", len(ids))
		}
		editor.mustPost("/panel/contacts/bulk", "id", ids[0][1], "id", ids[1][1], "do", "tag", "tag", "vip", "back", "/panel/contacts")
		editor.mustPost("/panel/contacts/bulk", "id", ids[0][1], "do", "list", "list", strconv.FormatInt(int64(list), 10))
		editor.wants("/panel/contacts?f=tags:is:vip", people[2], people[1], "!"+people[0])
		editor.wants("/panel/contacts?f=tags:is:all", people[2], people[1], people[0])
		editor.wants("/panel/contacts?f=list:is:"+strconv.FormatInt(int64(list), 10), people[2], people[0], "!"+people[1])
		if a := editor.post("/panel/contacts/bulk", "id", ids[0][1], "id", ids[1][1], "do", "delete"); a.status != http.StatusOK || !strings.Contains(a.body, "delete 2") {
			t.Errorf("delete: %d", a.status)
		}
		if a := editor.post("/panel/contacts/bulk", "id", ids[0][1], "id", ids[1][1], "do", "delete", "confirm", "delete"); a.status != http.StatusUnprocessableEntity {
			t.Errorf("delete without the number: %d", a.status)
		}
		editor.mustPost("/panel/contacts/bulk", "id", ids[0][1], "id", ids[1][1], "do", "delete", "confirm", "delete 2")
		editor.wants("/panel/contacts", people[0], "!"+people[1], "!"+people[2])
	})
}

// TestSearch: what identifies is found, and the beginnings of names.
func TestSearch(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		viewer := s.as(gateway.RoleViewer)
		_, at := s.newContact(gateway.ContactPatch{CustomID: new("user-77"), Email: new("ada@acme.test"), Key: "keykeykey123",
			Attributes: append(named("Ada Lovelace"), value("phone_number", gateway.TextValue("+48600700800")))})
		co := s.newCompany(gateway.CompanyPatch{Name: new("Globex Corporation"), CustomID: new("gx-1"), Attributes: []gateway.PayloadAttribute{value("domains", gateway.ListValue("globex.example"))}})
		company := "/panel/companies/" + strconv.FormatInt(int64(co), 10)
		for q, want := range map[string]string{
			"ada": at, "ADA LOV": at, "lovel": at, "ADA@acme.test": at, "ada@ac": at, "user-77": at, "keykeykey123": at, "+48 600 700 800": at,
			"glob": company, "corp": company, "gx-1": company, "globex.example": company, "@globex.example": company, "Settings": "/panel/settings",
		} {
			if a := viewer.fragment("/panel/search?q=" + url.QueryEscape(q)); !strings.Contains(a.body, `href="`+want+`"`) {
				t.Errorf("%q: %s", q, a.body)
			}
		}
		for _, q := range []string{"nobody at all", "\x00", "%", "_", strings.Repeat("ż", 300), "'"} {
			if a := viewer.fragment("/panel/search?q=" + url.QueryEscape(q)); a.status != http.StatusOK || strings.Contains(a.body, at) {
				t.Errorf("%q: %d %s", q, a.status, a.body)
			}
		}
	})
}

// TestContactsSearchOn: a filter that no index answers goes through all contacts, if need
// be in several answers, and what identifies is found among all at once.
func TestContactsSearchOn(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	viewer := s.as(gateway.RoleViewer)
	_, at := s.newContact(gateway.ContactPatch{CustomID: new("first"), Email: new("first@acme.test"), Attributes: append(named("Needle First"), value("rare", gateway.TextValue("yes")))})
	s.byToken(func(e *gateway.Editor) error {
		for i := range 12_000 {
			if _, err := e.CreateContact(gateway.ContactPatch{CustomID: new(fmt.Sprint("c", i)), Attributes: named("Straw")}); err != nil {
				return err
			}
			if i%1000 == 999 {
				if err := e.Flush(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	path, found := "/panel/contacts?f=rare:is:yes", false
	for range 100 {
		body := viewer.page(path)
		if found = strings.Contains(body, at+`"`); found {
			break
		}
		next := regexp.MustCompile(`href="([^"]+)">Search on`).FindStringSubmatch(body)
		if next == nil {
			break
		}
		if !strings.Contains(body, "not all have been looked at") {
			t.Error("it isn't said that the search goes on")
		}
		path = strings.ReplaceAll(next[1], "&amp;", "&")
	}
	if !found {
		t.Errorf("%s never found the oldest contact", path)
	}
	for _, q := range []string{"first", "first@acme.test"} {
		if a := viewer.fragment("/panel/search?q=" + q); !strings.Contains(a.body, at+`"`) {
			t.Errorf("%s: %s", q, a.body)
		}
	}
	if a := viewer.fragment("/panel/search?q=Straw"); !strings.Contains(a.body, "% of names can be searched so far") {
		t.Errorf("it isn't said how far the index of names is: %s", a.body)
	}
	for more := true; more; {
		var err error
		if more, err = s.gateway.IndexNames(t.Context(), s.workspace); err != nil {
			t.Fatal(err)
		}
	}
	if a := viewer.fragment("/panel/search?q=Straw"); strings.Contains(a.body, "so far") || !strings.Contains(a.body, "/panel/contacts/") {
		t.Errorf("names are not searched when they are indexed: %s", a.body)
	}
	// Pages of the list follow each other.
	viewer.wants("/panel/contacts", "Older contacts", "!Search on")
}

// TestContactMerge merges two contacts by hand and undoes it.
func TestContactMerge(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		editor := s.as(gateway.RoleEditor)
		one, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada")})
		two, there := s.newContact(gateway.ContactPatch{Email: new("ada@acme.test"), Attributes: append(named("Ada L."), value("city", gateway.TextValue("London")))})
		other := strconv.FormatInt(int64(two), 10)
		editor.wants(at+"/merge?with="+other, "Filled", "London", "ada@acme.test", "Ada L.")
		if a := editor.get(at + "/merge?with=" + strconv.FormatInt(int64(one), 10)); a.status != http.StatusUnprocessableEntity {
			t.Errorf("with itself: %d", a.status)
		}
		if v := s.view(two); v.ID != two {
			t.Fatal("a preview merged")
		}
		if a := editor.post(at+"/merge", "with", other); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "Nothing was merged") {
			t.Errorf("without a yes: %d", a.status)
		}
		editor.mustPost(at+"/merge", "with", other, "confirm", "on")
		if a := editor.get(there); a.status != http.StatusSeeOther || a.location() != at {
			t.Errorf("the one that became part: %d to %s", a.status, a.location())
		}
		editor.wants(at, "Ada L. became part of this contact", "by hand", "Undo", "London")
		s.as(gateway.RoleViewer).wants(at, "Editors can undo it", "!"+at+"/undo")
		merge := regexp.MustCompile(`name="merge" value="(\d+)"`).FindStringSubmatch(editor.page(at))
		if merge == nil {
			t.Fatal("no Undo")
		}
		editor.mustPost(at+"/undo", "merge", merge[1])
		if v := s.view(two); v.ID != two || v.Email != "ada@acme.test" {
			t.Errorf("after undoing: %+v", v)
		}
		editor.wants(at, "undone", "by editor@acme.test", "To the other contact", "!London")
		editor.wants(there, "Became part of Ada")
		if a := editor.post(at+"/undo", "merge", merge[1]); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "undone already") {
			t.Errorf("twice: %d", a.status)
		}
	})
}

// TestContactTimeline: page views are folded into visits, and pages of history follow
// each other without a gap.
func TestContactTimeline(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	viewer := s.as(gateway.RoleViewer)
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("1")})
	s.byToken(func(e *gateway.Editor) error {
		for i := range 150 {
			at := e.Now().Add(-time.Hour)
			if i%2 == 0 {
				if _, err := e.AddPageView(gateway.PageView{ContactID: id, URL: fmt.Sprintf("https://acme.test/p%d", i), Title: fmt.Sprintf("Page %d.", i), At: at.Add(-24 * time.Hour)}); err != nil {
					return err
				}
				continue
			}
			if _, _, err := e.AddEvent(id, gateway.EventCustom, fmt.Sprintf("event %d.", i), `{"plan":"<b>pro"}`, at); err != nil {
				return err
			}
		}
		return nil
	})
	seen, path := "", at
	for range 10 {
		body := viewer.page(path)
		seen += ownPart(body)
		more := regexp.MustCompile(`hx-get="([^"]+before[^"]+)"`).FindStringSubmatch(body)
		if more == nil {
			break
		}
		path = strings.ReplaceAll(more[1], "&amp;", "&")
		if a := viewer.fragment(path); strings.Contains(a.body, "<main") || !strings.Contains(a.body, "timeline") {
			t.Fatalf("a fragment: %s", a.body)
		}
	}
	for i := range 150 {
		want := fmt.Sprintf("<bdi>Page %d.</bdi>", i)
		if i%2 == 1 {
			want = fmt.Sprintf("<bdi>event %d.</bdi>", i)
		}
		if n := strings.Count(seen, want); n != 1 {
			t.Errorf("%s stands there %d times", want, n)
		}
	}
	viewer.wants(at+"?show=events", "event 149.", "!Viewed", "&lt;b&gt;pro")
	viewer.wants(at+"?show=pages", "!event 149.", "Viewed 60 pages")
}

// TestContactViewer: a viewer sees everything and has nothing to change it with.
func TestContactViewer(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	viewer := s.as(gateway.RoleViewer)
	_, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Attributes: named("Ada")})
	for _, path := range []string{"/value", "/attributes", "/companies", "/companies/remove", "/companies/primary", "/lists", "/merge", "/undo", "/delete"} {
		if a := viewer.post(at+path, "name", "name", "value", "x", "confirm", "delete"); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	for _, path := range []string{"/panel/contacts", "/panel/contacts/bulk"} {
		if a := viewer.post(path, "name", "x"); a.status != http.StatusForbidden {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	viewer.mustPost("/panel/contacts/columns", "column", "email")
	viewer.wants("/panel/contacts", "Ada", "!/panel/contacts/new", `!class="tick"`)
	for _, path := range []string{at, at + "?edit=name"} {
		if body := ownPart(viewer.page(path)); strings.Contains(body, `method="post"`) {
			t.Errorf("%s has a form:\n%s", path, body)
		}
	}
}

// hostileName is what must stay text, whatever shows it.
const hostileName = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202eevil\u202c\"'`{{.}}"

// TestContactHostile shows hostileName texts in every place, in a browser that fails the test
// when anything of it runs, and edits a value there.
func TestContactHostile(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	long := strings.Repeat("Überlänge", 8000/11)
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("1"), Email: new("ada@acme.test"), Attributes: append(named(hostileName+long),
		value("city", gateway.TextValue(hostileName)), value("first_name", gateway.TextValue(hostileName)), value("website", gateway.TextValue("javascript:alert(3)")), value("notes", gateway.TextValue(long)),
		value("tags", gateway.ListValue(hostileName, "vip")), value("more", gateway.Value{Type: gateway.TypeJSON, Raw: `{"<script>":"</script>"}`}))})
	company := s.newCompany(gateway.CompanyPatch{Name: new(hostileName), CustomID: new(hostileName)})
	two, _ := s.newContact(gateway.ContactPatch{Attributes: named(hostileName)})
	s.byToken(func(e *gateway.Editor) error {
		if _, err := e.CreateList(gateway.ListPatch{Name: new(hostileName)}); err != nil {
			return err
		}
		if _, _, err := e.AddEvent(id, gateway.EventCustom, hostileName, `{"<script>":"<script>alert(4)</script>"}`, e.Now()); err != nil {
			return err
		}
		if _, err := e.AddPageView(gateway.PageView{ContactID: id, URL: "https://acme.test/?q=<script>", Title: hostileName, Referrer: "https://evil.test/<script>"}); err != nil {
			return err
		}
		if err := e.AddMember(company, id); err != nil {
			return err
		}
		return e.MergeContacts(id, []gateway.ContactID{two})
	})
	third, _ := s.newContact(gateway.ContactPatch{Attributes: append(named(hostileName), value("city", gateway.TextValue(hostileName)))})
	b := editor.tab(at)
	look := func(name string) {
		t.Helper()
		if got := eval[int](b, `document.querySelectorAll('main script, main img').length`); got != 0 {
			t.Errorf("%s: the text made %d elements", name, got)
		}
		for _, width := range []int64{1280, 390} {
			b.size(width, 900)
			if !eval[bool](b, `document.documentElement.scrollWidth <= innerWidth && document.querySelector('main').scrollWidth <= document.querySelector('main').clientWidth`) {
				t.Errorf("%s: at %d the page is wider than the window", name, width)
			}
			b.shoot(fmt.Sprint("hostile-", name, "-", width))
		}
		b.size(1280, 900)
	}
	look("contact")
	b.open(at + "/merge?with=" + strconv.FormatInt(int64(third), 10))
	look("merge")
	b.open("/panel/contacts?tab=all&f=" + url.QueryEscape("city:is:"+hostileName))
	look("list")
	b.open("/panel/search?q=" + url.QueryEscape("<script>"))
	b.until(`document.body.textContent.includes('alert(1)')`)
	b.open(at + "?edit=name")
	look("edit")
	// A value is changed without leaving the page.
	b.open(at)
	b.do(chromedp.Focus(`.cell-edit[href$="name=city"]`))
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === 'v-city' && !document.querySelector('.htmx-added, .htmx-settling')`)
	b.do(chromedp.KeyEvent(kb.Escape))
	b.until(`!document.querySelector('.cell.editing') && document.activeElement.matches('.cell-edit[href$="name=city"]') && !document.querySelector('.htmx-added, .htmx-settling')`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.activeElement.id === 'v-city' && !document.querySelector('.htmx-added, .htmx-settling')`)
	b.choose("#v-city", "London")
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`!document.querySelector('.cell.editing') && document.querySelector('.profile').textContent.includes('London')`)
	if v, _ := s.view(id).Attributes.Get("city"); gateway.Text(v) != "London" {
		t.Errorf("city: %s", v.Raw)
	}
}

// TestContactsInChromium goes the two ways by hand to a company and looks at every page in
// both themes and widths.
func TestContactsInChromium(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	co := s.newCompany(gateway.CompanyPatch{Name: new("Globex Corporation"), CustomID: new("globex")})
	for i, name := range []string{"Maja Nowak", "Jonas Weber", "Priya Raman", "Tom Baker", "Ines Duarte", "Kofi Mensah", "Sofia Rossi", "Liam Murphy"} {
		s.newContact(gateway.ContactPatch{CustomID: new(fmt.Sprint("u-", 100+i)), Email: new(strings.ToLower(strings.ReplaceAll(name, " ", ".")) + "@globex.example"), Attributes: append(named(name),
			value("plan", gateway.TextValue([]string{"pro", "team"}[i%2])), value("tags", gateway.ListValue("vip", "newsletter")))})
	}
	id, at := s.newContact(gateway.ContactPatch{CustomID: new("u-1"), Email: new("ada@globex.example"), Key: "k3y0fth3br0ws3r", Attributes: append(named("Ada Lovelace"),
		value("phone_number", gateway.TextValue("+48600700800")), value("plan", gateway.TextValue("enterprise")), value("seats", gateway.IntValue(25)), value("paying", gateway.BoolValue(true)),
		value("city", gateway.TextValue("London")), value("tags", gateway.ListValue("vip", "newsletter", "beta")))})
	two, _ := s.newContact(gateway.ContactPatch{Email: new("ada.l@mail.example"), Attributes: append(named("Ada L."), value("country", gateway.TextValue("United Kingdom")))})
	s.byToken(func(e *gateway.Editor) error {
		for i, title := range []string{"Home", "Pricing", "Plans compared", "Sign up"} {
			if _, err := e.AddPageView(gateway.PageView{ContactID: id, Key: "k3y0fth3br0ws3r", URL: "https://shop.example/" + strings.ToLower(title[:4]), Title: title, Referrer: "https://search.example/", At: e.Now().Add(time.Duration(i-5) * 2 * time.Minute)}); err != nil {
				return err
			}
		}
		l, err := e.CreateList(gateway.ListPatch{Name: new("Beta testers")})
		if err != nil {
			return err
		}
		if _, err := e.AddToList(l.ID, id); err != nil {
			return err
		}
		if _, _, err := e.AddEvent(id, gateway.EventCustom, "Plan chosen", `{"plan":"enterprise","seats":25}`, e.Now()); err != nil {
			return err
		}
		return e.MergeContacts(id, []gateway.ContactID{two})
	})
	b := editor.tab(at)
	// The company that there is, by the keyboard alone; then a new one.
	b.do(chromedp.Focus("#add-company"))
	b.do(chromedp.KeyEvent("globex"))
	b.until(`document.querySelector('#add-company-list [aria-selected]')?.dataset.label === 'Globex Corporation'`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('.companies')?.textContent.includes('Globex Corporation')`)
	b.do(chromedp.Focus("#add-company"))
	b.do(chromedp.KeyEvent("Initech"))
	b.until(`document.querySelector('#add-company-list [aria-selected]')?.dataset.create === 'Initech'`)
	b.do(chromedp.KeyEvent(kb.Enter))
	b.until(`document.querySelector('.companies')?.textContent.includes('Initech')`)
	got := ""
	for _, one := range s.view(id).Companies {
		got += fmt.Sprint(one.Name, " ", one.Source, " ", one.By, "; ")
	}
	if want := "Globex Corporation manual editor@acme.test; Initech manual editor@acme.test; "; got != want {
		t.Errorf("companies: %s", got)
	}
	third, _ := s.newContact(gateway.ContactPatch{Email: new("ada.third@mail.example"), Attributes: append(named("Ada"), value("timezone", gateway.TextValue("Europe/London")))})
	s.byToken(func(e *gateway.Editor) error { return e.AddMember(co, third) })
	for _, page := range []struct{ name, path, do string }{
		{"contact", at, ""}, {"edit", at + "?edit=plan", ""}, {"list", "/panel/contacts?tab=all", ""},
		{"filter", "/panel/contacts?f=tags:is:vip&f=plan:is:pro", `document.querySelector('.drop summary').click()`},
		{"columns", "/panel/contacts", `document.querySelectorAll('.drop summary')[1].click()`},
		{"bulk", "/panel/contacts", `document.querySelectorAll('tbody .tick input').forEach((e, i) => { if (i < 3) e.click() })`},
		{"new", "/panel/contacts/new", ""}, {"merge", at + "/merge?with=" + strconv.FormatInt(int64(third), 10), ""},
		{"with", at, `document.querySelector('[data-dialog=merge]').click()`},
	} {
		b.open(page.path)
		if page.do != "" {
			eval[bool](b, `(() => { `+page.do+`; return true })()`)
		}
		b.everyLook("contacts-" + page.name)
	}
}

// shoot takes pictures in both themes, if -shots asks for them.
func (b *tab) shoot(name string) {
	b.t.Helper()
	if *shots == "" {
		return
	}
	for _, theme := range []string{"light", "dark"} {
		b.media(scheme(theme))
		b.picture(filepath.Join(*shots, "contacts", name+"-"+theme+".png"))
	}
	b.media(scheme("light"))
}
