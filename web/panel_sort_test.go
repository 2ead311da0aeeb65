package web_test

import (
	"context"
	"fmt"
	"html"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/web"
)

var (
	rowLabel = regexp.MustCompile(`<td class="main"><a href="[^"]*"><bdi>([^<]*)`)
	moreRows = regexp.MustCompile(`<p class="more"><a class="button" href="([^"]*)"`)
	headLink = regexp.MustCompile(`<th scope="col" class="([^"]*)"( aria-sort="[^"]*")?><a href="([^"]*)">([^<]*)`)
)

// labels are the first cells of all pages of a list.
func (c *client) labels(path string) (all []string) {
	c.t.Helper()
	for range 300 {
		body := c.page(path)
		for _, m := range rowLabel.FindAllStringSubmatch(body, -1) {
			all = append(all, html.UnescapeString(m[1]))
		}
		next := moreRows.FindStringSubmatch(body)
		if next == nil {
			return all
		}
		path = html.UnescapeString(next[1])
	}
	c.t.Fatalf("%s has no end", path)
	return nil
}

// head is where the head of a column leads, and how the list is sorted by it.
func (c *client) head(path, label string) (href, sorted string) {
	for _, m := range headLink.FindAllStringSubmatch(c.page(path), -1) {
		if m[4] == label {
			return html.UnescapeString(m[3]), m[2]
		}
	}
	return "", ""
}

// crowd makes n contacts and as many companies at once.
func (s *stack) crowd(n int) {
	s.t.Helper()
	err := s.store.Update(s.t.Context(), func(tx gateway.Tx) error {
		contact, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		company, err := tx.NextIDs(gateway.IDCompany, n)
		if err != nil {
			return err
		}
		c := &gateway.Changes{}
		now := time.Now().UTC()
		for i := range n {
			x := &gateway.Contact{ID: gateway.ContactID(contact + int64(i)), WorkspaceID: s.workspace, CreatedAt: now, UpdatedAt: now}
			if x.CustomID = fmt.Sprintf("c%05d", n-i); i%2 == 0 {
				x.EmailKey = fmt.Sprintf("e%05d@acme.test", i*7919%n)
				x.Email = x.EmailKey
			}
			c.NewContacts = append(c.NewContacts, x)
			c.NewCompanies = append(c.NewCompanies, &gateway.Company{ID: gateway.CompanyID(company + int64(i)), WorkspaceID: s.workspace, Name: fmt.Sprintf("%c%05d", "nN"[i%2], i*7919%n), CreatedAt: now, UpdatedAt: now})
		}
		return tx.Save(s.workspace, c)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// paced is a reader that looks for as long as it says, however fast the machine is.
type paced struct {
	gateway.Reader
	patience time.Duration
}

func (p paced) SearchContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.Query, _ time.Duration) ([]*gateway.ContactView, gateway.ContactID, error) {
	return p.Reader.SearchContacts(ctx, w, q, p.patience)
}

func (p paced) SearchCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.Query, _ time.Duration) ([]*gateway.CompanyView, gateway.CompanyID, error) {
	return p.Reader.SearchCompanies(ctx, w, q, p.patience)
}

func (p paced) SortContacts(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery, _ time.Duration) (*gateway.ContactPage, error) {
	return p.Reader.SortContacts(ctx, w, q, p.patience)
}

func (p paced) SortCompanies(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery, _ time.Duration) (*gateway.CompanyPage, error) {
	return p.Reader.SortCompanies(ctx, w, q, p.patience)
}

func (p paced) CountFound(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity, where []gateway.Condition, limit int, _ time.Duration) (int, error) {
	return p.Reader.CountFound(ctx, w, entity, where, limit, p.patience)
}

// paced is as, of a panel with a paced reader.
func (s *stack) paced(role gateway.Role, patience time.Duration) *client {
	s.t.Helper()
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	web.MountPanel(e, web.Panel{Read: paced{s.gateway.Read(), patience}, Gateway: s.gateway, Log: zaptest.NewLogger(s.t, zaptest.Level(zap.WarnLevel))})
	server := httptest.NewServer(e)
	s.t.Cleanup(server.Close)
	c := s.nobody()
	c.base = server.URL
	s.agent(string(role)+"@acme.test", role)
	return c.signIn(string(role) + "@acme.test")
}

// TestListOrders sorts lists that are short by any column, and those that are not by what
// an index gives.
func TestListOrders(t *testing.T) {
	t.Parallel()
	onBothDatabases(t, func(t *testing.T, s *stack) {
		viewer, hasty := s.paced(gateway.RoleViewer, time.Hour), s.paced(gateway.RoleEditor, 0)
		for i, name := range []string{"bea", "Ada", "Zoë", "ada", "cleo & co"} {
			p := gateway.ContactPatch{CustomID: new(fmt.Sprint("c", i)), Attributes: append(named(name), value("score", gateway.IntValue(int64(i*7%5))))}
			if i != 2 {
				p.Email = new(fmt.Sprintf("p%d@acme.test", 9-i))
			}
			s.newContact(p)
			s.newCompany(gateway.CompanyPatch{Name: new(name)})
		}
		byName := []string{"Ada", "ada", "bea", "cleo & co", "Zoë"}
		for _, c := range []struct {
			path string
			want []string
		}{
			{"/panel/contacts", []string{"cleo & co", "ada", "Zoë", "Ada", "bea"}},
			{"/panel/contacts?sort=-id", []string{"cleo & co", "ada", "Zoë", "Ada", "bea"}},
			{"/panel/contacts?sort=id", []string{"bea", "Ada", "Zoë", "ada", "cleo & co"}},
			{"/panel/contacts?sort=name", byName},
			{"/panel/contacts?sort=-score", []string{"Zoë", "cleo & co", "Ada", "ada", "bea"}},
			{"/panel/contacts?sort=email", []string{"cleo & co", "ada", "Ada", "bea", "Zoë"}},
			{"/panel/contacts?sort=-email", []string{"bea", "Ada", "ada", "cleo & co", "Zoë"}},
			{"/panel/contacts?sort=name&f=score:gt:1", []string{"Ada", "cleo & co", "Zoë"}},
			{"/panel/contacts?sort=tags", []string{"cleo & co", "ada", "Zoë", "Ada", "bea"}}, // no order
			{"/panel/contacts?sort=" + strings.Repeat("x", 2000), []string{"cleo & co", "ada", "Zoë", "Ada", "bea"}},
			{"/panel/companies?sort=name", byName},
			{"/panel/companies?sort=-name", []string{"Zoë", "cleo & co", "bea", "ada", "Ada"}},
			{"/panel/companies?sort=id", []string{"bea", "Ada", "Zoë", "ada", "cleo & co"}},
			{"/panel/companies?sort=name&q=a", []string{"Ada", "ada", "bea"}},
		} {
			if got := viewer.labels(c.path); !slices.Equal(got, c.want) {
				t.Errorf("%.100s: %q, want %q", c.path, got, c.want)
			}
		}
		// The heads, and what keeps the order.
		if href, sorted := viewer.head("/panel/contacts?f=score%3Agt%3A1", "E-mail"); href != "/panel/contacts?f=score%3Agt%3A1&sort=email" || sorted != "" {
			t.Errorf("head of e-mails: %q %q", href, sorted)
		}
		if href, sorted := viewer.head("/panel/contacts?sort=email", "E-mail"); href != "/panel/contacts?sort=-email" || sorted != ` aria-sort="ascending"` {
			t.Errorf("head of sorted e-mails: %q %q", href, sorted)
		}
		if href, _ := viewer.head("/panel/contacts", "Tags"); href != "" {
			t.Errorf("tags are sorted by: %q", href)
		}
		if href, sorted := viewer.head("/panel/companies?sort=-employees", "Employees"); href != "/panel/companies?sort=employees" || sorted != ` aria-sort="descending"` {
			t.Errorf("head of employees: %q %q", href, sorted)
		}
		viewer.wants("/panel/contacts?sort=email&f=score%3Agt%3A1", `href="/panel/contacts?f=score%3Agt%3A1&amp;sort=email&amp;tab=all"`, `href="/panel/contacts?sort=email"`,
			`<input type="hidden" name="sort" value="email">`, "E-mail, A–Z", "!Lists of up to")
		viewer.wants("/panel/companies?sort=name&q=a", `<input type="hidden" name="sort" value="name">`, `href="/panel/companies?sort=name"`)

		// More than can be sorted.
		const n = gateway.MaxSorted + 60
		s.crowd(n)
		emails := viewer.labels("/panel/contacts?sort=email")
		if len(emails) != n/2+4 || !slices.IsSortedFunc(emails[:n/2], strings.Compare) || emails[n/2] != "cleo & co" {
			t.Errorf("%d in the order of their e-mails: %q ...", len(emails), emails[:3])
		}
		viewer.wants("/panel/contacts?sort=email", "Contacts without an e-mail are not in this order", "Lists of up to", `aria-sort="ascending"`)
		for label, path := range map[string]string{"Name": "/panel/contacts", "Employees": "/panel/companies"} {
			if href, _ := viewer.head(path, label); href != "" {
				t.Errorf("a long list is sorted by %s: %s", label, href)
			}
		}
		if href, _ := viewer.head("/panel/companies", "Name"); href != "/panel/companies?sort=name" {
			t.Errorf("a long list of companies is not sorted by name: %q", href)
		}
		viewer.wants("/panel/contacts?sort=name", "too many to be sorted by Name", "Newest first", "!aria-sort", `name="sort" value="name"`)
		viewer.wants("/panel/companies?sort=-employees", "too many to be sorted by Employees", "!aria-sort")
		// A filter makes it short again.
		if got, want := viewer.labels("/panel/contacts?sort=name&f=score%3Agt%3A1"), []string{"Ada", "cleo & co", "Zoë"}; !slices.Equal(got, want) {
			t.Errorf("filtered: %q", got)
		}
		if href, _ := viewer.head("/panel/contacts?f=score%3Agt%3A1", "Name"); href == "" {
			t.Error("a short list can't be sorted by name")
		}
		// Few enough, among more than are looked at in no time.
		for _, path := range []string{"/panel/contacts?sort=name&f=custom_id%3Ahas%3Ac00", "/panel/companies?sort=-employees&q=n00"} {
			viewer.wants(path, " aria-sort=", "!too many", "More co")
			hasty.wants(path, "too many to be sorted by", "Newest first", "!aria-sort", `name="sort" value=`)
			more := moreRows.FindStringSubmatch(hasty.page(path))
			if more == nil || !strings.Contains(more[1], "Ac00") && !strings.Contains(more[1], "q=n00") || strings.Contains(more[1], "sort=") {
				t.Errorf("%s goes on at %q", path, more)
			}
		}
		companies := viewer.labels("/panel/companies?sort=name")
		if len(companies) != n+5 || !slices.IsSortedFunc(companies, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) }) {
			t.Errorf("%d companies by name: %q ...", len(companies), companies[:4])
		}
	})
}

// TestListOrderInChromium sorts by a head and by the menu, with keys alone.
func TestListOrderInChromium(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	for i, name := range []string{"Bea Novák", "Ada Example", "Cleo " + strings.Repeat("Long ", 40)} {
		id, _ := s.newContact(gateway.ContactPatch{CustomID: new(fmt.Sprint("c", i)), Email: new(fmt.Sprintf("p%d@acme.test", i)), Attributes: named(name)})
		co := s.newCompany(gateway.CompanyPatch{Name: new(name + " Ltd")})
		s.byToken(func(e *gateway.Editor) error { return e.AddMember(co, id) })
	}
	b := s.as(gateway.RoleEditor).tab("/panel/contacts")
	first := func(text string) {
		t.Helper()
		b.until(`document.querySelector('tbody td.main')?.innerText.startsWith(` + quote(text) + `) ?? false`)
	}
	first("Cleo")
	b.until(`document.activeElement !== null`)
	eval[string](b, `(document.querySelector('th:nth-of-type(2) a').focus(), '')`)
	b.keys("\r")
	b.until(`location.search === '?sort=name'`)
	first("Ada")
	b.until(`document.querySelector('th[aria-sort=ascending] svg') !== null`)
	b.everyLook("contacts-sorted")
	eval[string](b, `(document.querySelector('.order > summary').focus(), '')`)
	b.keys("\r")
	b.until(`document.querySelector('.order').open`)
	b.everyLook("contacts-order")
	b.keys("\t")
	b.until(`document.activeElement.innerText.trim() === 'Newest first'`)
	b.keys("\t\r")
	b.until(`location.search === '?sort=id'`)
	first("Bea")
	b.shows("Oldest first")
	b.size(390, 800)
	b.click(`.order > summary`)
	b.click(`.orders a[href$="sort=email"]`)
	b.until(`location.search === '?sort=email'`)
	b.size(1280, 800)
	b.open("/panel/companies")
	first("Cleo")
	b.click(`th:nth-of-type(1) a`)
	b.until(`location.search === '?sort=name'`)
	first("Ada")
	b.click(`.order > summary`)
	b.everyLook("companies-sorted")
	if *shots != "" {
		b.picture(filepath.Join(*shots, "panel-companies-order.png"))
	}
}
