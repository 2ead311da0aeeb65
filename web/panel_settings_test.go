package web_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"civgate/gateway"
)

// settingsState is the workspace of a stack as it is stored.
func (s *stack) settingsState() gateway.Settings {
	s.t.Helper()
	all, err := s.gateway.Read().Workspaces(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return all[0].Settings
}

// TestSettingsRoles posts to every route of the settings as those who may not.
func TestSettingsRoles(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	viewer, editor := s.as(gateway.RoleViewer), s.as(gateway.RoleEditor)
	for _, path := range []string{"companies", "script", "script?for=shopify", "keys", "attributes", "attributes?of=company", "tags", "privacy"} {
		if body := viewer.page("/panel/settings/" + path); strings.Contains(body, `class="primary">Save`) || strings.Contains(body, `<dialog`) {
			t.Errorf("%s offers a viewer to write", path)
		}
	}
	for path, least := range map[string]gateway.Role{
		"companies": gateway.RoleOwner, "companies/run": gateway.RoleOwner, "companies/preview": gateway.RoleEditor,
		"keys/token": gateway.RoleOwner, "keys/widget": gateway.RoleOwner, "keys/revoke": gateway.RoleOwner,
		"attributes": gateway.RoleEditor, "attributes/1": gateway.RoleEditor, "attributes/1/delete": gateway.RoleEditor,
		"tags": gateway.RoleEditor, "tags/1/delete": gateway.RoleEditor,
		"privacy/identity": gateway.RoleOwner, "privacy/origins": gateway.RoleOwner, "privacy/excluded": gateway.RoleOwner, "privacy/retention": gateway.RoleOwner,
	} {
		for _, c := range []*client{viewer, editor} {
			may := c == editor && least == gateway.RoleEditor
			if a := c.post("/panel/settings/" + path); (a.status == http.StatusForbidden) == may {
				t.Errorf("%s as %s: %d", path, c.email, a.status)
			}
		}
	}
}

func TestSettingsForms(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner := s.as(gateway.RoleOwner)
	ok := func(path string, fields ...string) {
		t.Helper()
		if a := owner.post("/panel/settings/"+path, fields...); a.status != http.StatusSeeOther {
			t.Errorf("%s: %d\n%s", path, a.status, a.body)
		}
	}
	bad := func(path, want string, fields ...string) {
		t.Helper()
		if a := owner.post("/panel/settings/"+path, fields...); a.status < 400 || a.status >= 500 || !strings.Contains(a.body, want) {
			t.Errorf("%s: %d lacks %q\n%s", path, a.status, want, a.body)
		}
	}
	many := strings.Repeat("x", 40) + ".test"
	ok("companies", "enabled", "on", "exclude_domains", "*.EDU\r\n@Rival.com\r\n"+many, "own_domains", "fernhill.test")
	if a := s.settingsState().Companies.AutoAssign; !a.Enabled || strings.Join(a.ExcludeDomains, " ") != "*.edu rival.com "+many || strings.Join(a.OwnDomains, " ") != "fernhill.test" {
		t.Errorf("auto-assign is %+v", a)
	}
	bad("companies", "gmail&#34; is not a whole domain", "exclude_domains", "acme.com\ngmail")
	bad("companies/preview", "gmail&#34; is not a whole domain", "exclude_domains", "acme.com\ngmail")

	ok("privacy/origins", "origins", "acme.test\n*.acme.test")
	bad("privacy/origins", "is not a host name", "origins", "https://acme.test")
	ok("privacy/excluded", "excluded_addresses", "203.0.113.7\n10.1.2.3/8")
	bad("privacy/excluded", "is not an address or a network", "excluded_addresses", "office")
	bad("privacy/retention", "type the name of the workspace", "retention_days", "30")
	bad("privacy/retention", "whole number", "retention_days", "many", "confirm", "Demo")
	ok("privacy/retention", "retention_days", "30", "confirm", "Demo")
	ok("privacy/identity")
	if st := s.settingsState(); len(st.Origins) != 2 || len(st.ExcludedAddresses) != 2 || st.RetentionDays != 30 || st.UnifiedIdentification {
		t.Errorf("settings are %+v", st)
	}
	if body := owner.page("/panel/settings/audit"); !strings.Contains(body, "retention days: 0 → 30") || !strings.Contains(body, "unified identification: true → false") {
		t.Errorf("the audit log:\n%s", body)
	}

	ok("attributes", "name", "Plan", "type", "text", "of", "company")
	bad("attributes", "already exists", "name", "plan", "type", "text", "of", "company")
	bad("attributes", "Choose a type", "name", "x", "type", "null")
	defs, err := s.gateway.Read().AttributeDefs(t.Context(), s.workspace)
	if err != nil || len(defs) != 1 {
		t.Fatalf("attributes: %+v %v", defs, err)
	}
	ok("attributes/1", "label", `<script>alert(1)</script>`, "hidden", "on", "of", "company")
	if body := owner.page("/panel/settings/attributes?of=company"); strings.Contains(body, "<script>alert") || !strings.Contains(body, "Hidden") {
		t.Errorf("the attribute:\n%s", body)
	}
	bad("attributes/1/delete", "type plan", "confirm", "Plan")
	ok("attributes/1/delete", "confirm", "plan")

	ok("tags", "name", "vip")
	bad("tags", "is required", "name", "")
	s.post(map[string]any{"apiKey": apiKey, "user_id": "a", "tags": []string{"vip"}})
	if body := owner.page("/panel/settings/tags"); !strings.Contains(body, `<td class="main" title="vip">vip</td><td class="num">1</td>`) {
		t.Errorf("the tag:\n%s", body)
	}
	bad("tags/1/delete", "type vip", "confirm", "v")
	ok("tags/1/delete", "confirm", "vip")
	if a := owner.get("/panel/settings/attributes/x"); a.status != http.StatusNotFound {
		t.Errorf("no such page: %d", a.status)
	}
}

// TestSettingsToken makes a token, sees it once, and revokes it.
func TestSettingsToken(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner := s.as(gateway.RoleOwner)
	a := owner.post("/panel/settings/keys/token", "name", "Nightly", "scope", "read")
	token := regexp.MustCompile(`value="([0-9a-f]{64})"`).FindStringSubmatch(a.body)
	if a.status != http.StatusOK || token == nil {
		t.Fatalf("%d\n%s", a.status, a.body)
	}
	body := owner.page("/panel/settings/keys")
	if strings.Contains(body, token[1]) || !strings.Contains(body, "Nightly") || !strings.Contains(body, apiKey) {
		t.Errorf("the list:\n%s", body)
	}
	if body := owner.page("/panel/settings/audit"); strings.Contains(body, token[1]) || !strings.Contains(body, "Made a key") {
		t.Errorf("the audit log:\n%s", body)
	}
	id := regexp.MustCompile(`data-typed="([0-9a-f]{12})"`).FindStringSubmatch(body)[1]
	if a := owner.post("/panel/settings/keys/revoke", "kind", "rest", "id", id); a.status != http.StatusConflict {
		t.Errorf("without a confirmation: %d", a.status)
	}
	if a := owner.post("/panel/settings/keys/revoke", "kind", "rest", "id", id, "confirm", id); a.status != http.StatusSeeOther {
		t.Errorf("revoke: %d\n%s", a.status, a.body)
	}
	keys, err := s.gateway.Read().APIKeys(t.Context(), s.workspace)
	if err != nil || len(keys) != 1 {
		t.Errorf("keys: %+v %v", keys, err)
	}
	if a := owner.post("/panel/settings/keys/token", "name", " ", "scope", "all"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a token without a name: %d", a.status)
	}
}

// TestSnippets looks at the snippet of each system.
func TestSnippets(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner := s.as(gateway.RoleOwner)
	for id, want := range map[string]string{
		"html": "company_id: &#34;7&#34;", "gtm": "{{DLV - user_id}}", "react": "use client", "vue": "onMounted", "django": "json_script", "rails": "to_json.html_safe",
		"laravel": "Support\\Js::from", "php": "wp_json_encode", "shopify": "customer.email | json",
	} {
		body := owner.page("/panel/settings/script?for=" + id)
		for _, text := range []string{want, apiKey, s.base + "/widget.js", `data-copy="known"`} {
			if !strings.Contains(body, text) {
				t.Errorf("%s lacks %q", id, text)
			}
		}
		if strings.Contains(body, "{{key}}") || strings.Contains(body, "{{src}}") {
			t.Errorf("%s: a placeholder is left", id)
		}
	}
}

// TestSettingsInBrowser is what an owner does first, in Chromium.
func TestSettingsInBrowser(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := s.as(gateway.RoleOwner).tab("/panel")
	b.until(`document.querySelectorAll('#steps li').length === 3 && !document.querySelector('#steps .done')`)
	b.everyLook("first-run")

	// The live check sees the page that it opens.
	b.open("/panel/settings/script")
	b.everyLook("script")
	b.click(`[data-copy="known"]`)
	b.until(`document.getElementById('toasts').textContent.includes('Copied')`)
	b.fill("#f-url", s.base+"/demo/coffees/huila")
	b.click(`form[data-opens] button`)
	b.until(`document.getElementById('check').textContent.includes('It works')`)
	// The page that was opened is in front of this one.
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, page.BringToFront, cdp.Empty{})
		return chromedp.Void{}, err
	})
	b.everyLook("script-seen")

	for _, who := range []string{"ada@engines.test", "bob@engines.test", "c@gmail.com"} {
		s.post(map[string]any{"apiKey": apiKey, "user_id": who, "email": who})
	}
	b.open("/panel/settings/companies")
	b.click(`[formaction]`)
	b.until(`document.getElementById('preview').textContent.includes('engines.test')`)
	b.click(`input[name=enabled]`)
	b.click(`#assign-form .primary`)
	b.until(`document.getElementById('toasts').textContent.includes('Saved') && document.querySelector('input[name=enabled]').checked`)
	b.click(`form[action$="/run"] button`)
	b.until(`document.getElementById('run').textContent.includes('Last run')`)
	b.click(`[formaction]`)
	b.until(`document.getElementById('preview').textContent.includes('in their company already')`)
	b.everyLook("companies")
	if !s.settingsState().Companies.AutoAssign.Enabled {
		t.Error("auto-assign is off")
	}
	ada, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "ada@engines.test")
	if err != nil || len(ada.Companies) != 1 || ada.Companies[0].Source != gateway.SourceDomain {
		t.Errorf("Ada: %+v %v", ada, err)
	}

	b.open("/panel/settings/keys")
	b.fill("#f-name", "Nightly sync")
	b.click(`form[action$="/token"] .primary`)
	b.until(`document.getElementById('token')?.value.length === 64`)
	b.everyLook("keys")
	b.open("/panel/settings/keys")
	b.until(`!document.getElementById('token')`)
	for _, name := range []string{"attributes", "tags", "privacy"} {
		b.open("/panel/settings/" + name)
		b.everyLook(name)
	}
}

// TestIdentitySecret: an owner makes the secret in the panel, turns verification on and
// replaces the secret by typing so; it is shown once each time, and payloads go by it.
func TestIdentitySecret(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	owner, editor := s.as(gateway.RoleOwner), s.as(gateway.RoleEditor)
	secret := func(body string) string {
		t.Helper()
		m := regexp.MustCompile(`id="secret" value="([0-9a-f]{64})"`).FindStringSubmatch(body)
		if m == nil {
			t.Fatalf("no secret is shown:\n%s", body)
		}
		return m[1]
	}
	send := func(secret string) int {
		t.Helper()
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte("u1"))
		return s.ingest(fmt.Sprintf(`{"apiKey":"A1B2C3","user_id":"u1","user_hash":"%x"}`, mac.Sum(nil)), "")
	}

	if a := editor.post("/panel/settings/privacy/secret"); a.status != http.StatusForbidden {
		t.Errorf("an editor: %d", a.status)
	}
	if body := owner.page("/panel/settings/privacy"); !strings.Contains(body, "Make a secret") || strings.Contains(body, "replace-secret") {
		t.Error("without a secret none is offered")
	}
	first := secret(owner.post("/panel/settings/privacy/secret").body)
	if body := owner.page("/panel/settings/privacy"); strings.Contains(body, first) || !strings.Contains(body, "replace-secret") {
		t.Error("the secret is shown again, or can't be replaced")
	}
	if a := owner.post("/panel/settings/privacy/identity", "verify", "on"); a.status != http.StatusSeeOther {
		t.Fatalf("verify: %d", a.status)
	}
	if code := send(first); code/100 != 2 {
		t.Errorf("signed with the secret: %d", code)
	}
	if code := send("x"); code/100 != 4 {
		t.Errorf("signed with another: %d", code)
	}
	if a := owner.post("/panel/settings/privacy/secret"); a.status != http.StatusConflict || !strings.Contains(a.body, "type replace") {
		t.Errorf("replaced without typing: %d", a.status)
	}
	if code := send(first); code/100 != 2 {
		t.Errorf("after what was refused: %d", code)
	}
	second := secret(owner.post("/panel/settings/privacy/secret", "confirm", "replace").body)
	if code := send(first); second == first || code/100 != 4 {
		t.Errorf("signed with the one before: %d", code)
	}
	if code := send(second); code/100 != 2 {
		t.Errorf("signed with the new one: %d", code)
	}
	if body := owner.page("/panel/settings/audit"); !strings.Contains(body, "identity.secret") && !strings.Contains(body, "secret") || strings.Contains(body, first) || strings.Contains(body, second) {
		t.Error("the audit log doesn't tell, or tells the secret")
	}
}
