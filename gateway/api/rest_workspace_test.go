package api_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/api"
)

// settings sends a request below /api/workspace/ and returns status and body.
func (w *world) settings(t *testing.T, token, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, "/api/workspace/"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Token "+token)
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	w.echo.ServeHTTP(rec, req)
	api.CheckExchange(t, w.echo, req, body, rec)
	return rec.Code, rec.Body.String()
}

func (w *world) wantSettings(t *testing.T, method, path, body string, status int, want string) {
	t.Helper()
	if code, got := w.settings(t, acmeToken, method, path, body); code != status || got != want {
		t.Errorf("%s %s %s:\n got %d %s\nwant %d %s", method, path, body, code, got, status, want)
	}
}

const acmeSettings = `{"id":1,"name":"acme","created_at":"2026-11-22T10:00:00.123456Z","companies":{"auto_assign":{"enabled":false,"exclude_domains":[],"own_domains":[]}},"identity":{"unified_identification":true,"verify_identity":false,"has_secret":false},"origins":[],"excluded_addresses":[],"retention_days":0}`

func TestWorkspaceSettings(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		w.wantSettings(t, "GET", "", "", 200, acmeSettings)
		w.wantSettings(t, "PATCH", "", "{}", 200, acmeSettings)
		w.wantSettings(t, "PATCH", "", "", 200, acmeSettings)
		w.wantSettings(t, "PATCH", "", `{"companies":{"auto_assign":{"enabled":true,"exclude_domains":["*.EDU","@Rival.com"," gmail.* ","rival.com"]}}}`, 200,
			strings.Replace(acmeSettings, `"enabled":false,"exclude_domains":[]`, `"enabled":true,"exclude_domains":["*.edu","rival.com","gmail.*"]`, 1))
		// What is not named stays.
		changed := `{"id":1,"name":"Acmé","created_at":"2026-11-22T10:00:00.123456Z","companies":{"auto_assign":{"enabled":true,"exclude_domains":["*.edu","rival.com","gmail.*"],"own_domains":["acme.test"]}},"identity":{"unified_identification":false,"verify_identity":false,"has_secret":false},"origins":["*.acme.test"],"excluded_addresses":["203.0.113.7/32","10.0.0.0/8"],"retention_days":30}`
		w.wantSettings(t, "PATCH", "", `{"name":"Acmé","companies":{"auto_assign":{"own_domains":["ACME.test"]}},"identity":{"unified_identification":false},"origins":["*.Acme.test"],"excluded_addresses":["203.0.113.7","10.1.2.3/8",""],"retention_days":30}`, 200, changed)
		w.wantSettings(t, "GET", "", "", 200, changed)

		for _, c := range []struct{ body, want string }{
			{`{"companies":{"auto_assign":{"enabled":"yes","exclude":[]}},"nam":"x"}`,
				`{"errors":{"companies.auto_assign.enabled":["Must be a valid boolean."],"companies.auto_assign.exclude":["There is no such setting, or it can't be set here."],"nam":["There is no such setting, or it can't be set here."]}}`},
			{`{"companies":{"auto_assign":{"exclude_domains":["acme.org","gmail","a*b.com"]}}}`,
				`{"errors":{"companies.auto_assign.exclude_domains":["\"gmail\" is not a whole domain: write gmail.com, gmail.* or *.gmail; \"a*b.com\" has a * in a place where it can't be: write *.edu, acme.* or acme.com."]}}`},
			{`{"companies":{"auto_assign":{"own_domains":"acme.org"}}}`, `{"errors":{"companies.auto_assign.own_domains":["Expected a list of strings."]}}`},
			{`{"excluded_addresses":["10.0.0.0/40"]}`, `{"errors":{"excluded_addresses":["\"10.0.0.0/40\" is not an address or a network: write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32."]}}`},
			{`{"excluded_addresses":null}`, `{"errors":{"excluded_addresses":["Expected a list of strings."]}}`},
			{`{"companies":[]}`, `{"errors":{"companies":["Expected an object."]}}`},
			{`{"identity":{"secret":"x"}}`, `{"errors":{"identity.secret":["There is no such setting, or it can't be set here."]}}`},
			{`{"identity":{"verify_identity":true}}`, `{"errors":{"identity.verify_identity":["There is no secret yet by which an identity could be verified."]}}`},
			{`{"retention_days":-1,"name":""}`, `{"errors":{"name":["This field may not be blank."],"retention_days":["A whole number from 0 (for ever) to 3650 is required."]}}`},
			{`{"name":null}`, `{"errors":{"name":["This field may not be null."]}}`},
		} {
			w.wantSettings(t, "PATCH", "", c.body, 400, c.want)
		}
		for _, body := range []string{`[]`, `"x"`, `{"name":`, `null`} {
			if code, got := w.settings(t, acmeToken, "PATCH", "", body); code != 400 {
				t.Errorf("%s: %d %s", body, code, got)
			}
		}
		w.wantSettings(t, "GET", "", "", 200, changed)
		if code, got := w.settings(t, otherToken, "GET", "", ""); code != 200 || strings.Contains(got, "rival") || !strings.Contains(got, `"name":"other"`) {
			t.Errorf("the other workspace: %d %s", code, got)
		}
		// The secret is never shown.
		if _, err := w.gateway.ChangeWorkspace(t.Context(), &gateway.Workspace{ID: w.acme}, gateway.Author{}, func(x *gateway.Workspace) error {
			x.Settings.IdentitySecret = "s3cret"
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		code, got := w.settings(t, acmeToken, "PATCH", "", `{"identity":{"verify_identity":true}}`)
		if code != 200 || strings.Contains(got, "s3cret") || !strings.Contains(got, `"verify_identity":true,"has_secret":true`) {
			t.Errorf("with a secret: %d %s", code, got)
		}
	})
}

// Settings take a token of the scope admin, whatever is asked.
func TestWorkspaceSettingsScope(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, scope := range []gateway.Scope{gateway.ScopeRead, gateway.ScopeWrite} {
		if err := w.store.AddAPIKey(t.Context(), w.acme, gateway.APIKey{Kind: gateway.KeyREST, Secret: hashed(string(scope)), Scope: scope, CreatedAt: now}); err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]string{{"GET", ""}, {"PATCH", ""}, {"GET", "auto_assign/preview/"}, {"POST", "auto_assign/runs/"}, {"GET", "auto_assign/runs/1/"}} {
			if code, got := w.settings(t, string(scope), c[0], c[1], ""); code != http.StatusForbidden {
				t.Errorf("%s %s with %s: %d %s", c[0], c[1], scope, code, got)
			}
		}
	}
	if code, _ := w.settings(t, "nobody", "GET", "", ""); code != http.StatusUnauthorized {
		t.Errorf("without a token: %d", code)
	}
	if code, got := w.settings(t, acmeToken, "GET", "", ""); code != 200 || got != acmeSettings {
		t.Errorf("afterwards: %d %s", code, got)
	}
}

func TestAssignOverREST(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, w *world) {
		post := func(body string) {
			t.Helper()
			if rec := w.do(scenario{method: "POST", path: "/users/", body: body}); rec.Code != http.StatusCreated {
				t.Fatalf("%s: %d %s", body, rec.Code, rec.Body)
			}
		}
		post(`{"user_id":"early","email":"e@mail.early.test"}`)
		post(`{"user_id":"free","email":"e@gmail.com"}`)
		post(`{"user_id":"nomail"}`)
		if code, got := w.settings(t, acmeToken, "POST", "auto_assign/runs/", ""); code != http.StatusConflict {
			t.Errorf("a run while it is off: %d %s", code, got)
		}
		const preview = `{"contacts":3,"linked":1,"already_linked":0,"left":0,"without_email":1,"refused":{"free_mail":1},"companies_created":1,"created":[{"name":"early.test","domain":"early.test","contacts":1}],"companies_found":0,"found":[]}`
		w.wantSettings(t, "GET", "auto_assign/preview/", "", 200, preview)
		if code, got := w.settings(t, otherToken, "GET", "auto_assign/preview/", ""); code != 200 || !strings.HasPrefix(got, `{"contacts":0,"linked":0,`) {
			t.Errorf("a preview of the other workspace: %d %s", code, got)
		}
		if code, got := w.settings(t, acmeToken, "PATCH", "", `{"companies":{"auto_assign":{"enabled":true}}}`); code != 200 {
			t.Fatalf("%d %s", code, got)
		}
		// It holds at once, on this node.
		post(`{"user_id":"late","email":"l@late.test"}`)
		if got := w.do(scenario{path: "/companies/"}).Body.String(); !strings.Contains(got, `"count":1,`) || !strings.Contains(got, `"late.test"`) {
			t.Errorf("companies: %s", got)
		}
		code, got := w.settings(t, acmeToken, "POST", "auto_assign/runs/", "")
		var run struct {
			ID, Done, Linked int64
			State            string
		}
		if err := json.Unmarshal([]byte(got), &run); err != nil || code != http.StatusCreated || run.State != "running" {
			t.Fatalf("a run: %d %s %v", code, got, err)
		}
		if code, got := w.settings(t, acmeToken, "POST", "auto_assign/runs/", ""); code != http.StatusConflict {
			t.Errorf("a second run: %d %s", code, got)
		}
		jobs := make(chan struct{})
		go func() {
			defer close(jobs)
			_ = w.gateway.RunJobs(t.Context())
		}()
		for deadline := time.Now().Add(time.Minute); run.State == "running" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			code, got = w.settings(t, acmeToken, "GET", "auto_assign/runs/1/", "")
			if err := json.Unmarshal([]byte(got), &run); err != nil || code != 200 {
				t.Fatalf("the run: %d %s %v", code, got, err)
			}
		}
		if run.State != "done" || run.Linked != 1 || run.Done != 4 {
			t.Errorf("the run ended so: %s", got)
		}
		if code, _ := w.settings(t, acmeToken, "GET", "auto_assign/runs/2/", ""); code != 404 {
			t.Errorf("no such run: %d", code)
		}
		if code, _ := w.settings(t, otherToken, "GET", "auto_assign/runs/1/", ""); code != 404 {
			t.Errorf("the run of another workspace: %d", code)
		}
		t.Cleanup(func() { <-jobs })
	})
}
