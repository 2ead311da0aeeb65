package api_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"civgate/gateway"
)

// exported reads an answer of an export as rows by column.
func exported(t *testing.T, text string) []map[string]string {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil || len(rows) == 0 {
		t.Fatalf("not CSV: %v\n%s", err, text)
	}
	var out []map[string]string
	for _, row := range rows[1:] {
		m := make(map[string]string)
		for i, cell := range row {
			m[rows[0][i]] = cell
		}
		out = append(out, m)
	}
	return out
}

// TestFormulaCells: what a spreadsheet would carry out is a text in CSV, and itself in
// NDJSON.
func TestFormulaCells(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		cells := map[string]string{ // by how they begin in CSV
			"=cmd|' /C calc'!A0": "'=", "@SUM(1)": "'@", "+1+cmd|'x'!A0": "'+", "-2+3+A1": "'-", "-A1": "'-",
			"+48 600-700 (800)": "+", "-12.5": "-", "'quoted": "'q", "1-2": "1", "plain": "p",
		}
		n := 0
		for text := range cells {
			n++
			body, err := json.Marshal(map[string]string{"custom_id": "u" + strconv.Itoa(n), "note": text})
			if err != nil {
				t.Fatal(err)
			}
			w.must(201, "POST /users/", string(body))
		}
		w.must(201, "POST /companies/", `{"custom_id":"=HYPERLINK(\"http://evil.test\")","name":"@Acme"}`)
		for _, row := range exported(t, w.must(200, "GET /users/export/?format=csv", "")) {
			text := row["note"]
			begin, there := cells[text]
			if !there {
				begin, there = cells[strings.TrimPrefix(text, "'")]
			}
			if !there || !strings.HasPrefix(text, begin) {
				t.Errorf("the cell %q", text)
			}
		}
		if co := exported(t, w.must(200, "GET /companies/export/?format=csv", "")); len(co) != 1 || !strings.HasPrefix(co[0]["company_id"], "'=") || co[0]["name"] != "'@Acme" {
			t.Errorf("companies: %v", co)
		}
		if body := w.must(200, "GET /companies/export/", ""); !strings.Contains(body, `"@Acme"`) {
			t.Errorf("NDJSON: %s", body)
		}
	})
}

func TestExportAsCSV(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		w.must(201, "POST /companies/", `{"custom_id":"c1","name":"Acme, \"the\" one","size":"11-50"}`)
		w.must(201, "POST /companies/", `{"custom_id":"c2","name":"Other"}`)
		w.must(201, "POST /users/", `{"custom_id":"u1","email":"ada@acme.test","first_name":"Ada","gender":3,"score":7,"tags":["a","b"],"Plan Name":"pro","colors":["red","blue"],"note":"=1+1\nnext line","company_custom_id":"c1"}`)
		w.must(200, "POST /companies-by-id/c2/add_member/", `{"user_custom_id":"u1"}`)
		w.must(201, "POST /users/", `{"custom_id":"u2"}`)

		users := exported(t, w.must(200, "GET /users/export/?format=csv", ""))
		if len(users) != 2 || users[0]["user_id"] != "u2" {
			t.Fatalf("contacts: %v", users)
		}
		for column, want := range map[string]string{
			"user_id": "u1", "email": "ada@acme.test", "name": "Ada", "first_name": "Ada", "gender": "female", "status": "", "score": "7",
			"tags": "a|b", "plan_name": "pro", "colors": "red|blue", "note": "'=1+1\nnext line", "company_id": "c1|c2", "companies": "Acme, \"the\" one|Other",
		} {
			if got, ok := users[1][column]; !ok || got != want {
				t.Errorf("column %s: %q (%v), want %q", column, got, ok, want)
			}
		}
		companies := exported(t, w.must(200, "GET /companies/export/?format=csv", ""))
		if len(companies) != 2 || companies[1]["company_id"] != "c1" || companies[1]["size"] != "11-50" || companies[1]["employees_count"] != "1" {
			t.Errorf("companies: %v", companies)
		}
		links := exported(t, w.must(200, "GET /memberships/export/?format=csv", ""))
		if len(links) != 2 || links[0]["company_custom_id"] != "c1" || links[0]["primary"] != "true" || links[1]["company_custom_id"] != "c2" || links[1]["source"] != "api" {
			t.Errorf("memberships: %v", links)
		}
		if body := w.must(400, "GET /users/export/?format=xml", ""); !strings.Contains(body, `"format"`) {
			t.Errorf("a wrong format: %s", body)
		}
		// The others see nothing of it.
		for _, path := range []string{"/users/export/", "/companies/export/", "/memberships/export/"} {
			if rec := w.do(otherToken, "2", "GET "+path, ""); rec.Code != http.StatusOK || rec.Body.Len() != 0 {
				t.Errorf("%s of another workspace: %d %s", path, rec.Code, rec.Body)
			}
		}
	})
}

// More contacts than a page has come as the lines that the list gives.
func TestExportAsNDJSON(t *testing.T) {
	t.Parallel()
	onBothWires(t, func(t *testing.T, w *wire) {
		const n = 1203
		err := w.gateway.Edit(t.Context(), &gateway.Workspace{ID: w.acme}, gateway.Author{Source: gateway.SourceAPI}, func(e *gateway.Editor) error {
			for i := range n {
				id := fmt.Sprintf("u%d", i)
				if _, err := e.CreateContact(gateway.ContactPatch{CustomID: &id}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, version := range []string{"1", "2"} {
			rec := w.do(acmeToken, version, "GET /users/export/", "")
			lines := strings.Split(strings.TrimSuffix(rec.Body.String(), "\n"), "\n")
			if len(lines) != n || rec.Header().Get("Content-Type") != "application/x-ndjson" {
				t.Fatalf("version %s: %d lines of %s", version, len(lines), rec.Header().Get("Content-Type"))
			}
			seen := make(map[string]bool)
			for _, line := range lines {
				var o map[string]any
				if err := json.Unmarshal([]byte(line), &o); err != nil {
					t.Fatal(err)
				}
				id, _ := o[map[string]string{"1": "user_id", "2": "custom_id"}[version]].(string)
				seen[id] = true
			}
			if len(seen) != n {
				t.Errorf("version %s: %d different contacts", version, len(seen))
			}
			if first := w.do(acmeToken, version, "GET /users-by-id/"+fmt.Sprintf("u%d", n-1)+"/", ""); lines[0] != first.Body.String() {
				t.Errorf("version %s: the first line is not the contact:\n%s\n%s", version, lines[0], first.Body)
			}
		}
	})
}
