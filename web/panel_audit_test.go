package web_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"civgate/gateway"
	"civgate/web"
)

// auditCall finds the actions that are written as they are noted, and auditVariable
// those that are chosen first.
var (
	auditCall     = regexp.MustCompile(`(?:\.Audit\(|NewAuditEntry\([^"]*|\.Note\([^"]*|auditContact\([^"]*)"([a-z_]+\.[a-z]+)"`)
	auditVariable = regexp.MustCompile(`action :?= "([a-z_]+\.[a-z]+)"`)
)

// TestAuditActions: every action that is noted anywhere has words, and can be chosen.
func TestAuditActions(t *testing.T) {
	t.Parallel()
	known := web.AuditActions()
	found := 0
	for _, pattern := range []string{"*.go", "../gateway/*.go", "../cmd/civgate/*.go", "../gateway/api/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range append(auditCall.FindAllStringSubmatch(string(text), -1), auditVariable.FindAllStringSubmatch(string(text), -1)...) {
				found++
				if !slices.Contains(known, m[1]) {
					t.Errorf("%s notes %s, which the audit log has no words for", name, m[1])
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("only %d places that note something were found", found)
	}
}

// auditStory has two people do a few things.
func auditStory(t *testing.T, s *stack) {
	t.Helper()
	owner, editor := s.as(gateway.RoleOwner), s.as(gateway.RoleEditor)
	for _, one := range []struct {
		by   *client
		path string
		form []string
	}{
		{editor, "/panel/companies/new", []string{"name", "Acme"}},
		{owner, "/panel/companies/new", []string{"name", "Umbrella"}},
		{owner, "/panel/settings/privacy/origins", []string{"origins", "shop.test"}},
	} {
		if a := one.by.post(one.path, one.form...); a.status != 303 {
			t.Fatalf("%s: %d\n%s", one.path, a.status, a.body)
		}
	}
}

// TestAuditFilters: both filters are in the address, each is kept while the other is
// chosen, and one that isn't offered isn't lost.
func TestAuditFilters(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	auditStory(t, s)
	owner := s.as(gateway.RoleOwner)
	rows := regexp.MustCompile(`(?s)<tr><td>`)
	for _, tt := range []struct {
		query    string
		rows     int
		selected []string
		lacks    string
	}{
		{"action=company.add", 2, []string{`<option value="company.add" selected>`, `>Added a company<`, `<a href="/panel/companies/1">Company 1</a>`}, ""},
		{"action=company.add&by=editor@acme.test", 1, []string{`<option value="company.add" selected>`, `<option selected>editor@acme.test</option>`}, ""},
		{"action=workspace.settings&by=editor@acme.test", 0, []string{"Nothing like this"}, ""},
		{"action=workspace.settings", 1, []string{`<option value="workspace.settings" selected>`, ">Workspace<", "origins: added shop.test"}, ""},
		{"by=test", 2, []string{`<option selected>test</option>`}, `" selected>`},
		{"action=made.up", 0, []string{`<option value="made.up" selected>made.up</option>`}, ""},
	} {
		body := owner.page("/panel/settings/audit?" + tt.query)
		if got := len(rows.FindAllString(body, -1)); got != tt.rows {
			t.Errorf("%s: %d rows, want %d", tt.query, got, tt.rows)
		}
		for _, want := range tt.selected {
			if !strings.Contains(body, want) {
				t.Errorf("%s: the page lacks %q", tt.query, want)
			}
		}
		if tt.lacks != "" && strings.Contains(body, tt.lacks) {
			t.Errorf("%s: the page has %q", tt.query, tt.lacks)
		}
	}
}

// TestAuditInBrowser chooses who and what by keyboard.
func TestAuditInBrowser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	auditStory(t, s)
	b := s.as(gateway.RoleOwner).tab("/panel/settings/audit")
	b.everyLook("audit")
	b.size(390, 800)
	if over := eval[float64](b, `(() => { const box = document.querySelector('.table-box'); return box.scrollWidth - box.clientWidth; })()`); over > 0 {
		t.Errorf("the log scrolls sideways at 390: by %v", over)
	}
	b.size(1280, 800)
	b.choose("#f-action", "company.add")
	b.until(`location.search.includes('action=company.add') && document.querySelectorAll('tbody tr').length === 2`)
	b.choose("#f-by", "editor@acme.test")
	b.until(`location.search.includes('by=editor') && location.search.includes('action=company.add') && document.querySelectorAll('tbody tr').length === 1`)
	if got := eval[string](b, `document.querySelector('#f-action').value + ' ' + document.querySelector('#f-by').value`); got != "company.add editor@acme.test" {
		t.Errorf("chosen is %s", got)
	}
	b.everyLook("audit-filtered")
	b.click(`.chip.on`)
	b.until(`!location.search.includes('by=editor') && document.querySelectorAll('tbody tr').length === 2`)
	b.choose("#f-action", "contact.merge")
	b.until(`document.querySelector('main').innerText.includes('Nothing like this')`)
	b.everyLook("audit-nothing")
}
