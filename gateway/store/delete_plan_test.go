package store

import (
	"path/filepath"
	"strings"
	"testing"

	"civgate/gateway"
)

// TestDeletesSearch looks at how the engine would find what deletes and added
// events touch: never by going through a table (m is a portion of employees).
func TestDeletesSearch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := Open(ctx, filepath.Join(t.TempDir(), "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.CreateWorkspace(ctx, gateway.Workspace{Name: "Acme"}, gateway.APIKey{Kind: gateway.KeyREST, Secret: "k"})
	if err != nil {
		t.Fatal(err)
	}
	event := gateway.Event{ContactID: 2, Kind: gateway.EventCustom, Name: "n"}
	for _, c := range []*gateway.Changes{
		{NewContacts: []*gateway.Contact{{ID: 1, CustomID: "u", EmailKey: "e"}, {ID: 2}}, NewCompanies: []*gateway.Company{{ID: 1}}, Events: []gateway.Event{event}},
		{DeletedContacts: []gateway.ContactID{1}, DeletedCompanies: []gateway.CompanyID{1}},
	} {
		if err := s.Update(ctx, func(tx gateway.Tx) error { return tx.Save(w, c) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Update(ctx, func(tx gateway.Tx) error { _, _, err := tx.AddEvent(w, event); return err }); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAPIKey(ctx, w, gateway.KeyREST, "k"); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for text := range s.writer.(*sqliteWriter).bulk {
		if !strings.HasPrefix(text, "DELETE") && !strings.HasPrefix(text, "UPDATE") && !strings.HasPrefix(text, "SELECT") {
			continue
		}
		seen++
		var args []any
		for range strings.Count(text, "?") - strings.Count(text, "?2") {
			args = append(args, 1)
		}
		rows, err := s.reader.db.QueryContext(ctx, "EXPLAIN QUERY PLAN "+text, args...)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var plan []string
		for rows.Next() {
			var id, parent, unused int
			var detail string
			if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
				t.Fatal(err)
			}
			plan = append(plan, detail)
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		rows.Close()
		for _, line := range plan {
			if strings.HasPrefix(line, "SCAN") && line != "SCAN m" || strings.Contains(line, "(workspace_id=?)") && !strings.Contains(text, "UPDATE workspaces") {
				t.Errorf("%s\n\t%s", text, strings.Join(plan, "\n\t"))
			}
		}
	}
	if want := len(portionsOfContact) + len(rowsOfContact) + len(employeePortions); seen < want {
		t.Errorf("only %d statements were seen, want %d", seen, want)
	}
}
