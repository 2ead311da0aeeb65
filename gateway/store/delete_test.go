package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"

	"civgate/gateway"
	"civgate/gateway/store"
)

// TestDeleteLeavesNothing adds contacts and a company that have something in every
// table, deletes them, and looks for a row that is not as it was.
func TestDeleteLeavesNothing(t *testing.T) {
	t.Parallel()
	s := open(t, filepath.Join(t.TempDir(), "civgate.db"))
	testDeleteLeavesNothing(t, s, func() []string {
		return rowsOf(t, s.Path(), `SELECT kind || ' ' || value || ' ' || slot || ' ' || contact_id FROM identifiers
			UNION ALL SELECT contact_id || ' is called ' || word FROM name_words
			UNION ALL SELECT contact_id || ' is due' FROM names_due
			UNION ALL SELECT 'employees of ' || id FROM companies c WHERE employees <> (SELECT count(*) FROM memberships m WHERE m.company_id = c.id AND m.until = 0)
			UNION ALL SELECT 'orphan in ' || "table" FROM pragma_foreign_key_check() ORDER BY 1`)
	})
}

// rowsOf returns the rows of a query to a SQLite file, one text a row.
func rowsOf(t *testing.T, path, text string) (all []string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// testDeleteLeavesNothing compares what an export holds, and what rest returns
// about what it doesn't.
func testDeleteLeavesNothing(t *testing.T, s *store.Store, rest func() []string) {
	t.Helper()
	ctx := t.Context()
	w := furnish(t, s, 30)
	indexAll(t, s, w)
	stays, err := s.ContactByCustomID(ctx, w, "u0")
	if err != nil {
		t.Fatal(err)
	}
	lists, err := s.Lists(ctx, w)
	if err != nil || len(lists) != 1 {
		t.Fatalf("lists: %v, %v", lists, err)
	}
	list := lists[0]
	text, sums := export(t, s)
	restBefore := rest()

	at := time.Date(2026, 4, 5, 6, 7, 8, 0, time.UTC)
	var contacts [4]gateway.ContactID // each is merged into the next, but for the last
	var company gateway.CompanyID
	add := func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, len(contacts))
		if err != nil {
			return err
		}
		id, err := tx.NextIDs(gateway.IDCompany, 1)
		if err != nil {
			return err
		}
		company = gateway.CompanyID(id)
		c := &gateway.Changes{NewCompanies: []*gateway.Company{{ID: company, WorkspaceID: w, CustomID: "gone", Name: "Gone", CreatedAt: at}}}
		link := func(id gateway.ContactID, co gateway.CompanyID, until time.Time) {
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: w, ContactID: id, CompanyID: co, Source: gateway.SourceAPI, Since: at, Until: until})
		}
		c.Tagged = append(c.Tagged, gateway.TagChange{Entity: gateway.EntityCompany, Subject: id, Name: "beta", At: at})
		link(stays.ID, company, time.Time{})
		link(stays.ID, company, at)
		for i := range contacts {
			contacts[i] = gateway.ContactID(first) + gateway.ContactID(i)
			x := &gateway.Contact{ID: contacts[i], WorkspaceID: w, CustomID: fmt.Sprint("gone", i), Email: "A@x.test", EmailKey: "a@x.test", CreatedAt: at,
				Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue("Gone Soon")}, {Name: "phone_number", Value: gateway.TextValue("+48 600")}}}
			if i < len(contacts)-1 {
				x.MergedInto = x.ID + 1
				c.Merges = append(c.Merges, gateway.Merge{WorkspaceID: w, At: at, WinnerID: x.ID + 1, LoserID: x.ID})
			}
			c.NewContacts = append(c.NewContacts, x)
			for n := range 3 {
				c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: fmt.Sprint("gone", i, n), ContactID: x.ID, CreatedAt: at})
				c.PageViews = append(c.PageViews, gateway.PageView{WorkspaceID: w, ContactID: x.ID, At: at})
				c.Events = append(c.Events, gateway.Event{WorkspaceID: w, ContactID: x.ID, Kind: gateway.EventCustom, Name: "n", At: at})
			}
			c.Tagged = append(c.Tagged, gateway.TagChange{Entity: gateway.EntityContact, Subject: int64(x.ID), Name: "beta", At: at})
			link(x.ID, company, time.Time{})
			link(x.ID, company, at)
			link(x.ID, stays.Companies[0].CompanyID, time.Time{})
			link(x.ID, stays.Companies[0].CompanyID, at)
		}
		if err := tx.Save(w, c); err != nil {
			return err
		}
		for _, id := range contacts {
			if err := tx.AddListed(w, gateway.Listed{ListID: list.ID, ContactID: id, AddedAt: at}); err != nil {
				return err
			}
		}
		// The last of them has words, and is due for others.
		if _, err := tx.IndexNames(w, 1000); err != nil {
			return err
		}
		last := *c.NewContacts[len(contacts)-1]
		last.Attributes = gateway.Attributes{{Name: "name", Value: gateway.TextValue("Gone Now")}}
		return tx.Save(w, &gateway.Changes{Contacts: []*gateway.Contact{&last}})
	}
	for what, remove := range map[string][]*gateway.Changes{
		"both at once":           {{DeletedContacts: []gateway.ContactID{0}, DeletedCompanies: []gateway.CompanyID{0}}},
		"contacts, then company": {{DeletedContacts: []gateway.ContactID{0}}, {DeletedCompanies: []gateway.CompanyID{0}}},
		"company, then contacts": {{DeletedCompanies: []gateway.CompanyID{0}}, {DeletedContacts: []gateway.ContactID{0}}},
	} {
		if err := s.Update(ctx, add); err != nil {
			t.Fatal(err)
		}
		if _, between := export(t, s); cmp.Equal(sums, between) {
			t.Fatal("nothing was added")
		}
		for _, c := range remove {
			if len(c.DeletedContacts) > 0 {
				c.DeletedContacts[0] = contacts[len(contacts)-1]
			}
			if len(c.DeletedCompanies) > 0 {
				c.DeletedCompanies[0] = company
			}
			if err := s.Update(ctx, func(tx gateway.Tx) error { return tx.Save(w, c) }); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
		after, _ := export(t, s)
		if d := cmp.Diff(sorted(text), sorted(after)); d != "" {
			t.Errorf("%s:\n%s", what, d)
		}
		if d := cmp.Diff(restBefore, rest()); d != "" {
			t.Errorf("%s, beside the export:\n%s", what, d)
		}
	}
}

// TestEventNamesOfOldEvents opens a file that has events from before there were
// names.
func TestEventNamesOfOldEvents(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "civgate.db")
	testEventNamesOfOldEvents(t, path, goose.DialectSQLite3, "migrations/sqlite", func() *sql.DB {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		return db
	})
}

func testEventNamesOfOldEvents(t *testing.T, name string, dialect goose.Dialect, files string, connect func() *sql.DB) {
	t.Helper()
	db := connect()
	defer db.Close()
	p, err := goose.NewProvider(dialect, db, os.DirFS(files), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.UpTo(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		`INSERT INTO workspaces (workspace_id, name, settings, created_at) VALUES (7, 'Acme', '{}', 1)`,
		`INSERT INTO contacts (workspace_id, id, attributes, fingerprint, created_at, updated_at) VALUES (7, 1, '{}', 0, 1, 1)`,
		`INSERT INTO events (workspace_id, contact_id, at, kind, name) VALUES (7, 1, 30, 'event', 'signup'), (7, 1, 20, 'event', 'signup'), (7, 1, 40, 'product_event', 'order')`,
	} {
		if _, err := db.ExecContext(t.Context(), text); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, name)
	for _, tt := range []struct {
		kind gateway.EventKind
		name string
		want bool
	}{
		{gateway.EventCustom, "signup", false},
		{gateway.EventProduct, "order", false},
		{gateway.EventCustom, "order", true},
	} {
		err := s.Update(t.Context(), func(tx gateway.Tx) error {
			_, first, err := tx.AddEvent(7, gateway.Event{WorkspaceID: 7, ContactID: 1, Kind: tt.kind, Name: tt.name, At: moment(9)})
			if first != tt.want {
				t.Errorf("%s %s: first is %t, want %t", tt.kind, tt.name, first, tt.want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.QueryContext(context.Background(), `SELECT kind, name, first_at FROM event_names WHERE workspace_id = 7 ORDER BY kind, name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var kind, name string
		var at int64
		if err := rows.Scan(&kind, &name, &at); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(kind, " ", name, " ", at))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"event order 9000000", "event signup 20", "product_event order 40"}; !slices.Equal(got, want) {
		t.Errorf("names are %v, want %v", got, want)
	}
}
