package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/store"
)

// furnish fills a store with something of every kind, n contacts among it.
func furnish(t *testing.T, s *store.Store, n int) gateway.WorkspaceID {
	t.Helper()
	ctx := t.Context()
	at := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	if _, err := s.CreateWorkspace(ctx, gateway.Workspace{Name: "Another", CreatedAt: at}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: "OTHER1", CreatedAt: at}); err != nil {
		t.Fatal(err)
	}
	w, err := s.CreateWorkspace(ctx, gateway.Workspace{Name: "Acmé \"quoted\"\n", CreatedAt: at, Settings: gateway.Settings{Origins: []string{"acme.test"}, VerifyIdentity: true, IdentitySecret: "s"}},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: "A1B2C3", CreatedAt: at}, gateway.APIKey{Kind: gateway.KeyREST, Secret: "hash", Name: "Zapier \"live\"", Scope: gateway.ScopeWrite, CreatedAt: at})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddAgent(ctx, gateway.Agent{WorkspaceID: w, Email: "a@b.test", PasswordHash: "$argon2id$", Role: gateway.RoleOwner, CreatedAt: at}); err != nil {
		t.Fatal(err)
	}
	agents := gateway.NewAgents(s, func() time.Time { return at })
	if _, err := agents.Invite(ctx, "a@b.test", w, "new@b.test", gateway.RoleViewer); err != nil {
		t.Fatal(err)
	}
	if err := agents.PutSession(ctx, gateway.Session{Token: gateway.HashToken("t"), Data: []byte{0, 1}, ExpiresAt: at}); err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, func(tx gateway.Tx) error {
		firstContact, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		firstCompany, err := tx.NextIDs(gateway.IDCompany, 3)
		if err != nil {
			return err
		}
		def, err := tx.NextIDs(gateway.IDAttribute, 3)
		if err != nil {
			return err
		}
		c := &gateway.Changes{
			NewDefs: []gateway.AttributeDef{{ID: gateway.AttributeID(def), WorkspaceID: w, Entity: gateway.EntityContact, Name: "plan", Label: "Plan", Type: gateway.TypeText, Description: "what they pay", CreatedAt: at},
				{ID: gateway.AttributeID(def + 1), WorkspaceID: w, Entity: gateway.EntityProduct, Name: "size", Label: "Size", Type: gateway.TypeList, Choices: []string{"S", "\"L\""}, Multiple: true, CreatedAt: at}},
			NewRecords: []*gateway.Record{{ID: 1, WorkspaceID: w, Entity: gateway.EntityProduct, CustomID: "p1", Name: "Mug ✓", CreatedAt: at, UpdatedAt: at, Attributes: gateway.Attributes{{Name: "price", Value: gateway.NumberValue(9.5)}}},
				{ID: 2, WorkspaceID: w, Entity: gateway.EntityDeal, CreatedAt: at, UpdatedAt: at}},
			Visits: 3, VisitsAt: at,
			Quarantine: []gateway.Quarantined{{At: at, Body: []byte{0, 0xff, '{', '\n'}, Reason: "odd"}},
		}
		for i := range 3 {
			co := &gateway.Company{ID: gateway.CompanyID(firstCompany) + gateway.CompanyID(i), WorkspaceID: w, Name: fmt.Sprint("Company ", i), CreatedAt: at, UpdatedAt: at,
				Attributes: gateway.Attributes{{Name: "revenue", Value: gateway.TextValue("$239.9 billion")}}}
			if i > 0 {
				co.CustomID = fmt.Sprint("c", i)
			}
			if i == 2 {
				co.Name = "Bücher.test"
				co.Attributes.Set("domains", gateway.ListValue("acme.test"))
				c.CompanyDomains = gateway.CompanyDomains(co)
			}
			c.NewCompanies = append(c.NewCompanies, co)
		}
		var ids []gateway.MessageID
		for i := range n {
			id := gateway.ContactID(firstContact) + gateway.ContactID(i)
			x := &gateway.Contact{ID: id, WorkspaceID: w, Key: fmt.Sprintf("key%09d", i), Fingerprint: uint64(i) << 60, LastIP: "192.0.2.0",
				CreatedAt: at.Add(time.Duration(i)), UpdatedAt: at,
				Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue("Ada ✓ \u2028")}, {Name: "phone_number", Value: gateway.TextValue("+48 600")}, {Name: "score", Value: gateway.NumberValue(0)}}}
			switch {
			case i == 1:
				x.MergedInto = gateway.ContactID(firstContact)
			case i%3 == 0:
				x.CustomID, x.Email, x.EmailKey = fmt.Sprint("u", i), fmt.Sprintf("A%d@x.test", i), fmt.Sprintf("a%d@x.test", i)
			}
			c.NewContacts = append(c.NewContacts, x)
			owner := id
			if i == 1 {
				owner = gateway.ContactID(firstContact)
			}
			c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: x.Key, ContactID: owner, CreatedAt: at})
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{WorkspaceID: w, ContactID: id, CompanyID: gateway.CompanyID(firstCompany + int64(i%3)), Source: gateway.SourceWidget, Primary: i%2 == 0, Since: at, By: "widget"})
			c.PageViews = append(c.PageViews, gateway.PageView{WorkspaceID: w, ContactID: id, Key: x.Key, At: at, URL: "https://x.test/?a=\"", Path: "/"})
			ids = append(ids, gateway.MessageID{15: byte(i), 14: byte(i >> 8), 0: 0xff})
		}
		c.Tagged = []gateway.TagChange{
			{Entity: gateway.EntityContact, Subject: firstContact, Name: "vip ✓", At: at}, {Entity: gateway.EntityCompany, Subject: firstCompany, Name: "vip ✓", At: at},
			{Entity: gateway.EntityContact, Subject: firstContact + 1, Name: "beta", At: at},
		}
		c.Events = []gateway.Event{{WorkspaceID: w, ContactID: gateway.ContactID(firstContact), Kind: gateway.EventCustom, Name: "n", At: at, Data: `{"a":1.50}`}}
		c.Merges = []gateway.Merge{{WorkspaceID: w, At: at, By: "widget", Rule: "r", WinnerID: gateway.ContactID(firstContact), LoserID: gateway.ContactID(firstContact + 1), Before: `{}`, After: `{"b":2}`}}
		if _, err := tx.ClaimMessages(w, ids, at); err != nil {
			return err
		}
		if err := tx.Save(w, c); err != nil {
			return err
		}
		if err := furnishLists(tx, w, gateway.ContactID(firstContact), at); err != nil {
			return err
		}
		if err := tx.KeepAnswer(w, gateway.KeptAnswer{Key: "k", Request: [32]byte{0, 1, 0xff}, Status: 201, Entity: gateway.EntityContact, SubjectID: 1, Body: "{\"a\":\n}", At: at}, at); err != nil {
			return err
		}
		gone := gateway.AttributeDef{ID: gateway.AttributeID(def + 2), WorkspaceID: w, Entity: gateway.EntityDeal, Name: "gone", Type: gateway.TypeText}
		if err := tx.Save(w, &gateway.Changes{NewDefs: []gateway.AttributeDef{gone}}); err != nil {
			return err
		}
		if err := tx.DropAttribute(w, gone); err != nil {
			return err
		}
		if err := tx.AddInspections(w, []*gateway.Inspection{
			{At: at, Node: "n", Verdict: gateway.VerdictAccepted, ContactID: gateway.ContactID(firstContact), Detail: gateway.InspectionDetail{Payload: "{\"a\":\n}"}},
		}, 10); err != nil {
			return err
		}
		if _, err := tx.AddJob(gateway.Job{WorkspaceID: w, Kind: gateway.JobAssign, State: gateway.JobDone, Done: 3, Total: 4, Detail: `{"a":"\""}`, StartedAt: at, UpdatedAt: at, By: "łódź"}); err != nil {
			return err
		}
		return tx.SetInboxPosition("local", 77)
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// furnishLists makes a list with two contacts, and a segment.
func furnishLists(tx gateway.Tx, w gateway.WorkspaceID, first gateway.ContactID, at time.Time) error {
	list, err := tx.NextIDs(gateway.IDList, 1)
	if err != nil {
		return err
	}
	segment, err := tx.NextIDs(gateway.IDSegment, 1)
	if err != nil {
		return err
	}
	return errors.Join(
		tx.SaveList(gateway.List{ID: gateway.ListID(list), WorkspaceID: w, Name: "Newsletter ✓", Description: "who\nreads it", CreatedAt: at, UpdatedAt: at}),
		tx.AddListed(w, gateway.Listed{ListID: gateway.ListID(list), ContactID: first + 1, AddedAt: at}),
		tx.AddListed(w, gateway.Listed{ListID: gateway.ListID(list), ContactID: first, AddedAt: at, Via: first + 1}),
		tx.SaveSegment(gateway.Segment{ID: gateway.SegmentID(segment), WorkspaceID: w, Name: "Paying", Filter: "plan=pro&score__gte=3", CreatedAt: at, UpdatedAt: at}),
	)
}

func export(t *testing.T, s *store.Store) (string, []store.TableSum) {
	t.Helper()
	var out bytes.Buffer
	sums, err := s.Export(t.Context(), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), sums
}

// sorted is an export whose rows are in one order, whatever the database's.
func sorted(export string) []string {
	lines := strings.Split(export, "\n")
	slices.Sort(lines)
	return lines
}

func TestExportImport(t *testing.T) {
	t.Parallel()
	const contacts = 1234
	from := open(t, filepath.Join(t.TempDir(), "from.db"))
	w := furnish(t, from, contacts)
	text, sums := export(t, from)
	for _, s := range sums {
		if s.Rows == 0 {
			t.Errorf("the table %s is empty: it proves nothing", s.Table)
		}
	}

	path := filepath.Join(t.TempDir(), "to.db")
	to := open(t, path)
	got, err := to.Import(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(sums, got); d != "" {
		t.Error(d)
	}
	again, _ := export(t, to)
	if d := cmp.Diff(sorted(text), sorted(again)); d != "" {
		t.Error(d)
	}
	// What an export leaves out is there as well.
	identifiers := func(path string) (all []string) {
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		rows, err := db.Query(`SELECT kind || ' ' || value || ' ' || slot || ' ' || contact_id FROM identifiers ORDER BY 1`)
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
		return all
	}
	if d := cmp.Diff(identifiers(from.Path()), identifiers(path)); d != "" {
		t.Error(d)
	}
	checkImported(t, to, w, contacts)
	if _, err := to.Import(t.Context(), strings.NewReader(text)); gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("into a store that is not empty: %v", err)
	}
}

// checkImported uses a store as the gateway does after furnish and a move.
func checkImported(t *testing.T, s *store.Store, w gateway.WorkspaceID, contacts int) {
	t.Helper()
	ctx := t.Context()
	c, err := s.ContactByCustomID(ctx, w, "u3")
	if err != nil || c.Email != "A3@x.test" || len(c.Companies) != 1 || c.PageViews != 1 {
		t.Errorf("u3 is %+v, %v", c, err)
	}
	if c, err := s.ContactByKey(ctx, w, "key000000001"); err != nil || c.CustomID != "u0" {
		t.Errorf("the merged contact's browser finds %+v, %v", c, err)
	}
	if found, err := s.CompaniesByDomain(ctx, w, []string{"acme.test", "xn--bcher-kva.test"}); err != nil || len(found) != 2 || !found[0].Listed || found[1].Listed || found[0].CompanyID != found[1].CompanyID {
		t.Errorf("companies by domain: %+v, %v", found, err)
	}
	if n, err := s.CountContacts(ctx, w); err != nil || n != int64(contacts-1) { // one is merged
		t.Errorf("%d contacts are counted, %v", n, err)
	}
	if seq, err := s.InboxPosition(ctx, "local"); err != nil || seq != 77 {
		t.Errorf("inbox position %d, %v", seq, err)
	}
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	err = s.Update(ctx, func(tx gateway.Tx) error {
		repeats, err := tx.ClaimMessages(w, []gateway.MessageID{{15: 9, 0: 0xff}, {1: 1}}, at)
		if err != nil {
			return err
		}
		if len(repeats) != 1 || !repeats[gateway.MessageID{15: 9, 0: 0xff}] {
			t.Errorf("repeated messages: %v", repeats)
		}
		id, err := tx.NextIDs(gateway.IDContact, 1)
		if err != nil {
			return err
		}
		company, err := tx.NextIDs(gateway.IDCompany, 1)
		if err != nil {
			return err
		}
		x := &gateway.Contact{ID: gateway.ContactID(id), WorkspaceID: w, CustomID: "new", CreatedAt: at, UpdatedAt: at}
		for _, kind := range []gateway.IDKind{gateway.IDList, gateway.IDSegment} {
			if id, err := tx.NextIDs(kind, 1); err != nil || id < 2 {
				t.Errorf("the next id of a %s is %d, %v", kind, id, err)
			}
		}
		return tx.Save(w, &gateway.Changes{
			NewContacts: []*gateway.Contact{x}, NewCompanies: []*gateway.Company{{ID: gateway.CompanyID(company), WorkspaceID: w, CustomID: "new", CreatedAt: at}},
			PageViews: []gateway.PageView{{WorkspaceID: w, ContactID: x.ID, At: at}},
			Merges:    []gateway.Merge{{WorkspaceID: w, At: at, WinnerID: x.ID, LoserID: x.ID}},
		})
	})
	if err != nil {
		t.Errorf("a new contact: %v", err)
	}
}

func TestImportDamaged(t *testing.T) {
	t.Parallel()
	from := open(t, filepath.Join(t.TempDir(), "from.db"))
	furnish(t, from, 20)
	text, _ := export(t, from)
	without := func(part string) string {
		return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return strings.Contains(l, part) }), "\n")
	}
	for _, tt := range []struct {
		name, text, want string
	}{
		{"empty", "", "ends here"},
		{"something else", "{\"a\":1}\n", "not an export"},
		{"no JSON", "PK\x03\x04\n", "not what belongs here"},
		{"another format", strings.Replace(text, `"format":3`, `"format":2`, 1), "format 2"},
		{"cut in a row", text[:len(text)/2], "before its end"},
		{"cut after a table", text[:strings.Index(text, `{"table":"contacts"`)], "before its end"},
		{"without the last line", strings.TrimSuffix(text, "{\"civgate\":\"end\"}\n"), "before its end"},
		{"a changed value", strings.Replace(text, "A3@x.test", "A4@x.test", 1), "checksum"},
		{"a lost row", without(`"u3"`), "checksum"},
		{"a wrong type", strings.Replace(text, "[2,1,", "[2,\"x\",", 1), "column"},
		{"a column too few", strings.Replace(text, "[2,1,", "[2,", 1), "not a row"},
		{"tables in another order", strings.Replace(text, `{"table":"api_keys"`, `{"table":"agents"`, 1), "belongs here"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.text == text {
				t.Fatal("nothing was changed")
			}
			to := open(t, filepath.Join(t.TempDir(), "to.db"))
			_, err := to.Import(context.Background(), strings.NewReader(tt.text))
			if gateway.CodeOf(err) != gateway.CodeInvalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if all, err := to.Workspaces(t.Context()); err != nil || len(all) != 0 {
				t.Errorf("it left %v, %v", all, err)
			}
			if _, err := to.Import(t.Context(), strings.NewReader(text)); err != nil {
				t.Errorf("the good export afterwards: %v", err)
			}
		})
	}
}
