package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"civgate/gateway"
)

// recorder is a driver.Connector that notes the queries of its connections.
type recorder struct {
	driver driver.Driver
	dsn    string

	mu      sync.Mutex
	queries map[string]int // text -> number of parameters
}

func (r *recorder) Driver() driver.Driver { return r.driver }

func (r *recorder) Connect(context.Context) (driver.Conn, error) {
	c, err := r.driver.Open(r.dsn)
	if err != nil {
		return nil, err
	}
	return &recordingConn{c, r}, nil
}

type recordingConn struct {
	driver.Conn
	r *recorder
}

func (c *recordingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	c.r.mu.Lock()
	c.r.queries[query] = len(args)
	c.r.mu.Unlock()
	return c.Conn.(driver.QueryerContext).QueryContext(ctx, query, args)
}

func (c *recordingConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	return c.Conn.(driver.ConnBeginTx).BeginTx(ctx, opts)
}

// harmless are scans of a table with one row a workspace, of the jobs under way, and of what a part
// of the query itself found.
var harmless = regexp.MustCompile(`^SCAN (workspaces|jobs USING INDEX jobs_running|w|alias|a|h\d+|m\d+|(\d+ )?CONSTANT ROWS?)( |$)`)

// few are tables that hold few rows of a workspace.
var few = regexp.MustCompile(`(attribute_drops|agents|api_keys|attribute_defs|jobs|lists|segments|visits|workspaces)`)

// TestNoScans runs every method of the reader and looks at how the engine
// would search for what it asks.
func TestNoScans(t *testing.T) {
	t.Parallel()
	// More than a page: the engine chooses another way for many values than for few.
	const rows = chunk + chunk/2
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "civgate.db")
	s, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w, err := s.CreateWorkspace(ctx, gateway.Workspace{Name: "Acme"}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: "k"})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, func(tx gateway.Tx) error {
		var c []*gateway.Contact
		var companies []*gateway.Company
		var members []gateway.Membership
		var tagged []gateway.TagChange
		for i := range rows {
			c = append(c, &gateway.Contact{ID: gateway.ContactID(i + 1), CustomID: fmt.Sprint("u", i), EmailKey: "e", Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue("Ada Love")}}})
			companies = append(companies, &gateway.Company{ID: gateway.CompanyID(i + 1), CustomID: fmt.Sprint("c", i)})
			members = append(members, gateway.Membership{ContactID: c[i].ID, CompanyID: companies[i].ID, Source: gateway.SourceWidget})
			tagged = append(tagged, gateway.TagChange{Entity: gateway.EntityContact, Subject: int64(c[i].ID), Name: "vip"})
		}
		c[1].MergedInto = 1
		return tx.Save(w, &gateway.Changes{
			NewRecords:  []*gateway.Record{{ID: 1, Entity: gateway.EntityProduct, CustomID: "p"}},
			NewContacts: c, NewCompanies: companies, NewKeys: []gateway.VisitorKey{{Key: "k1", ContactID: 1}}, NewMemberships: members, Tagged: tagged,
			PageViews: []gateway.PageView{{ContactID: 1, At: moment(5)}}, Events: []gateway.Event{{ContactID: 1, At: moment(5)}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(ctx, func(tx gateway.Tx) error {
		return tx.AddInspections(w, []*gateway.Inspection{{Verdict: gateway.VerdictAccepted, ContactID: 2}}, 10)
	})
	if err != nil {
		t.Fatal(err)
	}

	// Some are in the index of names, one has been renamed, the others are to come.
	if err := s.Update(ctx, func(tx gateway.Tx) error {
		if _, err := tx.IndexNames(w, 10); err != nil {
			return err
		}
		renamed := &gateway.Contact{ID: 3, Attributes: gateway.Attributes{{Name: "name", Value: gateway.TextValue("Grace")}}}
		return tx.Save(w, &gateway.Changes{Contacts: []*gateway.Contact{renamed}})
	}); err != nil {
		t.Fatal(err)
	}

	rec := &recorder{driver: s.reader.db.Driver(), dsn: sqliteDSN(path), queries: map[string]int{}}
	db := sql.OpenDB(rec)
	defer db.Close()
	r := &Store{reader: reader{db: db, spans: s.reader.spans}, writer: s.writer}
	crowd := &Store{reader: reader{db: db, spans: s.reader.spans}}
	BoundAccounts(crowd, 0, 1000, 100)
	common := &Store{reader: reader{db: db, spans: s.reader.spans}}
	BoundNames(common, 1, 10)
	names := func(s *Store, text string) func() error {
		return func() error {
			_, err := s.FindNames(ctx, w, text, rows)
			return err
		}
	}
	fenced := &Store{reader: reader{db: db, spans: s.reader.spans}}
	BoundOrders(fenced, 1000, 10)
	calls := map[string]func() error{
		"FindNames":        names(r, "ada lo"),
		"FindCommonNames":  names(common, "ada lo"),
		"FindCommonName":   names(common, "ada"),
		"FindCompanyNames": func() error { _, _, err := r.FindCompanyNames(ctx, w, "x", rows); return err },
		"UnindexedNames":   func() error { _, err := r.UnindexedNames(ctx); return err },
		"Account":          func() error { _, err := r.Account(ctx, w, 1, gateway.AccountQuery{Limit: rows}); return err },
		"LargeAccount": func() error {
			_, err := crowd.Account(ctx, w, 1, gateway.AccountQuery{Limit: rows})
			return err
		},
		"ContactsByEmailPrefix": func() error { _, err := r.ContactsByEmailPrefix(ctx, w, "e", rows); return err },
		"Ping":                  func() error { return r.Ping(ctx) },
		"InboxPosition":         func() error { _, err := r.InboxPosition(ctx, "n"); return err },
		"WorkspaceByKey":        func() error { _, err := r.WorkspaceByKey(ctx, gateway.KeyWidget, "k"); return err },
		"Workspaces":            func() error { _, err := r.Workspaces(ctx); return err },
		"APIKey":                func() error { _, err := r.APIKey(ctx, gateway.KeyWidget, "k"); return err },
		"APIKeys":               func() error { _, err := r.APIKeys(ctx, w); return err },
		"Agents":                func() error { _, err := r.Agents(ctx, w); return err },
		"AttributeDefs":         func() error { _, err := r.AttributeDefs(ctx, w); return err },
		"Contact":               func() error { _, err := r.Contact(ctx, w, 2); return err },
		"ContactByCustomID": func() error {
			_, err := r.ContactByCustomID(ctx, w, "u0")
			return err
		},
		"ContactByKey":      func() error { _, err := r.ContactByKey(ctx, w, "k1"); return err },
		"ContactsByEmail":   func() error { _, err := r.ContactsByEmail(ctx, w, "e", rows); return err },
		"ContactsByPhone":   func() error { _, err := r.ContactsByPhone(ctx, w, "p", rows); return err },
		"Contacts":          func() error { _, err := r.Contacts(ctx, w, 0, rows); return err },
		"CountContacts":     func() error { _, err := r.CountContacts(ctx, w); return err },
		"VisitorKeys":       func() error { _, err := r.VisitorKeys(ctx, w, 1, rows); return err },
		"PageViews":         func() error { _, err := r.PageViews(ctx, w, 1, gateway.HistoryQuery{Limit: rows}); return err },
		"Events":            func() error { _, err := r.Events(ctx, w, 1, gateway.HistoryQuery{Limit: rows}); return err },
		"Merges":            func() error { _, err := r.Merges(ctx, w, 1, gateway.HistoryQuery{Limit: rows}); return err },
		"Company":           func() error { _, err := r.Company(ctx, w, 1); return err },
		"CompanyByCustomID": func() error { _, err := r.CompanyByCustomID(ctx, w, "c1"); return err },
		"Companies":         func() error { _, err := r.Companies(ctx, w, 0, rows); return err },
		"Members":           func() error { _, err := r.Members(ctx, w, 1, gateway.MemberQuery{Limit: rows}); return err },
		"FormerMembers": func() error {
			_, err := r.Members(ctx, w, 1, gateway.MemberQuery{Former: true, BeforeSince: moment(9), BeforeContact: 9, Limit: rows})
			return err
		},
		"FindContacts": func() error {
			_, err := r.FindContacts(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{
				{Field: "plan", Value: gateway.TextValue("pro")}, {Field: "key", Op: gateway.OpContains, Value: gateway.TextValue("k")},
			}})
			return err
		},
		"SearchContacts": func() error {
			for _, where := range []gateway.Condition{
				{Field: "name", Op: gateway.OpContains, Value: gateway.TextValue("x")}, {Field: "list", Value: gateway.IntValue(1)}, {Field: "tags", Value: gateway.TextValue("vip")},
				{Field: "email", Value: gateway.TextValue("e")}, {Field: "custom_id", Value: gateway.TextValue("u0")},
				{Field: "last_seen", Op: gateway.OpGreater, Value: gateway.DatetimeValue(moment(1))}, {Field: "page_views", Op: gateway.OpGreater, Value: gateway.IntValue(5)},
			} {
				if _, _, err := r.SearchContacts(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{where}}, 0); err != nil {
					return err
				}
			}
			return nil
		},
		"SearchCompanies": func() error {
			for _, where := range []gateway.Condition{{Field: "name", Op: gateway.OpContains, Value: gateway.TextValue("x")}, {Field: "tags", Value: gateway.TextValue("vip")}} {
				if _, _, err := r.SearchCompanies(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{where}}, 0); err != nil {
					return err
				}
			}
			return nil
		},
		"ContactsAmong": func() error {
			_, err := r.ContactsAmong(ctx, w, []gateway.ContactID{1, 2, 3}, []gateway.Condition{{Field: "email", Value: gateway.TextValue("e")}})
			return err
		},
		"FindCompanies": func() error {
			_, err := r.FindCompanies(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{{Field: "name", Op: gateway.OpContains, Value: gateway.TextValue("")}}})
			return err
		},
		"ContactsInOrder": func() error {
			for _, by := range []string{"id", "email", "custom_id", "phone_number", "last_seen"} {
				for _, down := range []bool{true, false} {
					if gateway.HasOrder(gateway.EntityContact, by, down) {
						if err := inOrder(r, w, by, down); err != nil {
							return err
						}
					}
				}
			}
			return nil
		},
		"CompaniesInOrder": func() error {
			for _, q := range []gateway.SortQuery{{By: "name", Limit: rows}, {By: "name", Down: true, After: gateway.SortPlace{Key: "a", ID: 1}, Limit: rows}, {By: "id", Limit: rows}} {
				if _, err := r.CompaniesInOrder(ctx, w, q); err != nil {
					return err
				}
			}
			return nil
		},
		"SortContacts": func() error {
			for _, q := range []gateway.SortQuery{{By: "plan", Limit: rows}, {By: "company", Company: 1, Limit: rows}, {By: "page_views", Limit: rows}} {
				if _, err := r.SortContacts(ctx, w, q, time.Hour); err != nil {
					return err
				}
			}
			return nil
		},
		"SortCompanies": func() error {
			_, err := r.SortCompanies(ctx, w, gateway.SortQuery{By: "employees", Limit: rows}, time.Hour)
			return err
		},
		"LastActive": func() error {
			_, err := r.LastActive(ctx, w, []gateway.CompanyID{1, 2, 3})
			return err
		},
		"CountFound": func() error {
			_, err := r.CountFound(ctx, w, gateway.EntityContact, nil, rows, time.Hour)
			return err
		},
		"Inspections": func() error {
			_, err := r.Inspections(ctx, w, gateway.InspectionQuery{Verdict: gateway.VerdictAccepted, Contact: 1, Before: 9, After: 1, Limit: rows})
			return err
		},
		"Inspection": func() error { _, err := r.Inspection(ctx, w, 1); return err },
		"Tags":       func() error { _, err := r.Tags(ctx, w, 0, rows); return err },
		"Tag":        func() error { _, err := r.Tag(ctx, w, 1); return err },
		"CountTags":  func() error { _, err := r.CountTags(ctx, w); return err },
		"TagIDs":     func() error { _, err := r.TagIDs(ctx, w, []string{"vip", "x"}); return err },
		"Lists":      func() error { _, err := r.Lists(ctx, w); return err },
		"List":       func() error { _, err := r.List(ctx, w, 1); return missing(err) },
		"Segments":   func() error { _, err := r.Segments(ctx, w); return err },
		"Segment":    func() error { _, err := r.Segment(ctx, w, 1); return missing(err) },
		"Meets": func() error {
			_, err := r.Meets(ctx, w, 1, [][]gateway.Condition{{{Field: "list", Value: gateway.IntValue(1)}}})
			return err
		},
		"DroppedAttributes": func() error { _, err := r.DroppedAttributes(ctx, w); return err },
		"Record":            func() error { _, err := r.Record(ctx, w, gateway.EntityProduct, 1); return err },
		"RecordByCustomID": func() error {
			_, err := r.RecordByCustomID(ctx, w, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "p"})
			return err
		},
		"Records":        func() error { _, err := r.Records(ctx, w, gateway.EntityProduct, 0, rows); return err },
		"CountRecords":   func() error { _, err := r.CountRecords(ctx, w, gateway.EntityProduct); return err },
		"CountCompanies": func() error { _, err := r.CountCompanies(ctx, w); return err },
		"Visits":         func() error { _, err := r.Visits(ctx, w); return err },
		"ContactEmails":  func() error { _, err := r.ContactEmails(ctx, w, 1, rows); return err },
		"CompaniesByDomain": func() error {
			_, err := r.CompaniesByDomain(ctx, w, []string{"a.test", "b.test"})
			return err
		},
		"Job":            func() error { _, err := r.Job(ctx, w, 1); return missing(err) },
		"Jobs":           func() error { _, err := r.Jobs(ctx, w, rows); return err },
		"UnfinishedJobs": func() error { _, err := r.UnfinishedJobs(ctx, rows); return err },
		"TagUses":        func() error { _, err := r.TagUses(ctx, w, []gateway.TagID{1}, 10); return err },
		"Quarantine":     func() error { _, err := r.Quarantine(ctx, w, rows); return err },
	}
	for name, call := range calls {
		if err := call(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Methods with a query of their own: the least there must be to look at.
	if len(rec.queries) < 20 {
		t.Fatalf("only %d queries were seen", len(rec.queries))
	}
	// The writer's searches as well.
	writer := s.writer.(*sqliteWriter)
	for _, n := range []int{1, rows} {
		refs := gateway.Refs{Defs: true}
		for i := range n {
			text := fmt.Sprint("x", i)
			refs.Keys = append(refs.Keys, text)
			refs.CustomIDs = append(refs.CustomIDs, text)
			refs.EmailKeys = append(refs.EmailKeys, text)
			refs.CompanyDomains = append(refs.CompanyDomains, text+".test")
			refs.Contacts = append(refs.Contacts, gateway.ContactID(i+1))
			refs.CompanyCustomIDs = append(refs.CompanyCustomIDs, text)
			refs.CompanyIDs = append(refs.CompanyIDs, gateway.CompanyID(i+1))
			refs.CompanyNames = append(refs.CompanyNames, text)
			refs.RecordIDs = append(refs.RecordIDs, gateway.RecordID(i+1))
			refs.RecordKeys = append(refs.RecordKeys, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: text})
		}
		if _, err := newSQLiteTx(writer).Load(w, refs); err != nil {
			t.Fatal(err)
		}
	}
	err = s.Update(ctx, func(tx gateway.Tx) error {
		if _, _, err := tx.AddTag(w, "beta", moment(1)); err != nil {
			return err
		}
		if _, err := tx.Tag(w, 1); err != nil {
			return err
		}
		if _, _, err := tx.IdleVisitors(w, moment(1), 0, 10); err != nil {
			return err
		}
		_, err := tx.Untag(w, 1, gateway.EntityContact, 10)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, func(tx gateway.Tx) error { _, err := tx.IndexNames(w, 10); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ForgetMessages(ctx, moment(1), 10); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(ctx, func(tx gateway.Tx) error { return useLists(tx, w, 1, 3) }); err != nil {
		t.Fatal(err)
	}
	// Dropping an attribute goes once through what may have it, in an order that needs
	// no sorting.
	for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany, gateway.EntityProduct, gateway.EntityDeal} {
		d := gateway.AttributeDef{ID: 1, Entity: entity, Name: "x"}
		if err := s.Update(ctx, func(tx gateway.Tx) error {
			if err := tx.Save(w, &gateway.Changes{NewDefs: []gateway.AttributeDef{d}}); err != nil {
				return err
			}
			return tx.DropAttribute(w, d)
		}); err != nil {
			t.Fatal(err)
		}
	}
	drops := 0
	for text := range writer.bulk {
		if !strings.Contains(text, "replace(attributes") {
			continue
		}
		drops++
		for _, detail := range planOf(t, s, text, 5) {
			// Those that became part of one contact are sorted among themselves.
			if !strings.HasPrefix(detail, "SEARCH") && detail != "USE TEMP B-TREE FOR LAST TERM OF ORDER BY" {
				t.Errorf("%s\n\t%s", text, detail)
			}
		}
	}
	if drops != 5 {
		t.Errorf("%d statements find what an attribute is dropped from", drops)
	}
	for text := range writer.bulk {
		if strings.HasPrefix(text, "SELECT") || strings.HasPrefix(text, "WITH") || strings.Contains(text, "listed") {
			rec.queries[text] = strings.Count(text, "?")
		}
	}
	for text, n := range rec.queries {
		for _, detail := range planOf(t, s, text, n) {
			if strings.HasPrefix(detail, "SCAN") && !harmless.MatchString(detail) {
				t.Errorf("%s\n\t%s", text, detail)
			}
			// A search by workspace alone reads all there is in a workspace.
			if strings.Contains(detail, "(workspace_id=?)") && !strings.Contains(text, "LIMIT") && !few.MatchString(detail) {
				t.Errorf("%s\n\t%s", text, detail)
			}
		}
	}

	// What must be found by one search for just that, whatever else is asked. A
	// search by workspace and id alone would pass for one above: it is how a list
	// is read.
	text := gateway.TextValue("x")
	also := gateway.Condition{Field: "plan", Op: gateway.OpContains, Value: text}
	members := "memberships USING INDEX memberships_former (company_id=? AND workspace_id=? AND (since,contact_id)<(?,?))"
	for _, c := range []struct {
		what, want string
		call       func() error
	}{
		{"custom id", "i USING PRIMARY KEY (value=? AND kind=? AND workspace_id=?)", find(r, w, also, gateway.Condition{Field: "custom_id", Value: text})},
		{"key", "i USING PRIMARY KEY (value=? AND kind=? AND workspace_id=?)", find(r, w, also, gateway.Condition{Field: "key", Value: text})},
		{"e-mail", "i USING PRIMARY KEY (value=? AND kind=? AND workspace_id=? AND slot<?)", find(r, w, also, gateway.Condition{Field: "email", Value: text})},
		{"phone number", "i USING PRIMARY KEY (value=? AND kind=? AND workspace_id=? AND slot<?)", find(r, w, also, gateway.Condition{Field: "phone_number", Value: text})},
		{"id", "c USING INTEGER PRIMARY KEY (rowid=?)", find(r, w, also, gateway.Condition{Field: "id", Value: gateway.IntValue(1)})},
		{"list of somebody's", "l USING PRIMARY KEY (list_id=? AND contact_id<?)", find(r, w, also, gateway.Condition{Field: "list", Value: gateway.IntValue(1)})},
		{"list", "c USING INDEX contacts_listed (workspace_id=? AND id<?)", find(r, w, also)},
		{"company's custom id", "c USING INDEX companies_custom_id (custom_id=? AND workspace_id=?)", func() error {
			_, err := r.FindCompanies(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{also, {Field: "custom_id", Value: text}}})
			return err
		}},
		{"list of companies", "c USING INDEX companies_listed (workspace_id=? AND id<?)", func() error {
			_, err := r.FindCompanies(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{also}})
			return err
		}},
		{"tag", "g USING PRIMARY KEY (tag_id=? AND workspace_id=? AND entity=? AND subject_id<?)", find(r, w, also, gateway.Condition{Field: "tags", Value: text})},
		{"tag by name", "t USING COVERING INDEX tags_name (name=? AND workspace_id=?)", find(r, w, also, gateway.Condition{Field: "tags", Value: text})},
		{"tag of companies", "g USING PRIMARY KEY (tag_id=? AND workspace_id=? AND entity=? AND subject_id<?)", func() error {
			_, err := r.FindCompanies(ctx, w, gateway.Query{Limit: rows, Where: []gateway.Condition{also, {Field: "tags", Value: text}}})
			return err
		}},
		{"companies by domain", "d USING PRIMARY KEY (domain=? AND workspace_id=?)", calls["CompaniesByDomain"]},
		{"contacts' e-mails", "contacts USING INDEX contacts_listed (workspace_id=? AND id>?)", calls["ContactEmails"]},
		{"tags by name", "t USING COVERING INDEX tags_name (name=? AND workspace_id=?)", calls["TagIDs"]},
		{"list of tags", "tags USING INDEX tags_listed (workspace_id=? AND id<?)", calls["Tags"]},
		{"products", "records USING PRIMARY KEY (workspace_id=? AND entity=? AND id<?)", calls["Records"]},
		{"count of products", "records USING COVERING INDEX records_counted (workspace_id=? AND entity=?)", calls["CountRecords"]},
		{"product by custom id", "records USING INDEX records_key (key=? AND workspace_id=?)", calls["RecordByCustomID"]},
		{"members", strings.ReplaceAll(members, "former", "company"), calls["Members"]},
		{"former members", members, calls["FormerMembers"]},
		{"newest entry of one", "v USING COVERING INDEX page_views_contact (contact_id=? AND workspace_id=? AND at<?)", calls["Account"]},
		{"newest events", "events USING COVERING INDEX events_at (workspace_id=? AND at<?)", calls["LargeAccount"]},
		{"an event", "v USING INTEGER PRIMARY KEY (rowid=?)", calls["LargeAccount"]},
		{"names by a rare word", "n USING COVERING INDEX name_words_searched (workspace_id=? AND block=? AND word>? AND word<?)", calls["FindNames"]},
		{"names by a common word", "name_words USING COVERING INDEX name_words_searched (workspace_id=? AND block=? AND word>? AND word<?)", calls["FindCommonName"]},
		{"names by common words", "o USING PRIMARY KEY (contact_id=? AND workspace_id=? AND word>? AND word<?)", calls["FindCommonNames"]},
		{"contacts that are not indexed", "c USING INDEX contacts_listed (workspace_id=? AND id>?)", calls["FindNames"]},
		{"names of companies", "companies USING INDEX companies_listed (workspace_id=? AND id<?)", calls["FindCompanyNames"]},
		{"e-mails in order", "identifiers USING PRIMARY KEY ((value,kind,workspace_id,slot)>(?,?,?,?))", func() error { return inOrder(r, w, "email", false) }},
		{"e-mails backwards", "identifiers USING PRIMARY KEY ((value,kind,workspace_id,slot)<(?,?,?,?))", func() error { return inOrder(r, w, "email", true) }},
		{"e-mails up to a fence", "identifiers USING PRIMARY KEY ((value,kind,workspace_id,slot)>(?,?,?,?) AND (value,kind,workspace_id,slot)<(?,?,?,?))", func() error { return inOrder(fenced, w, "email", false) }},
		{"oldest first", "c USING COVERING INDEX contacts_listed (workspace_id=? AND id>?)", func() error { return inOrder(r, w, "id", false) }},
		{"last seen", "page_views USING COVERING INDEX page_views_at (workspace_id=? AND at>? AND at<?)", func() error { return inOrder(r, w, "last_seen", true) }},
		{"companies by name", "c USING COVERING INDEX companies_by_name (workspace_id=? AND <expr>>?)", func() error {
			_, err := r.CompaniesInOrder(ctx, w, gateway.SortQuery{By: "name", After: gateway.SortPlace{Key: "a"}, Limit: rows})
			return err
		}},
		{"start of an e-mail", "identifiers USING PRIMARY KEY (value>? AND value<?)", func() error { _, err := r.ContactsByEmailPrefix(ctx, w, "none", rows); return err }},
	} {
		rec.queries = map[string]int{}
		if err := c.call(); err != nil {
			t.Fatalf("%s: %v", c.what, err)
		}
		var all, led []string
		for text, n := range rec.queries {
			if strings.Contains(text, "alias a") || strings.Contains(text, "memberships m CROSS JOIN companies c") {
				continue // what is shown of those that are found, a few of each
			}
			details := planOf(t, s, text, n)
			if all = append(all, details...); !strings.Contains(text, "wanted (") { // what is known by its ids may be sorted
				led = append(led, details...)
			}
		}
		if !slices.Contains(all, "SEARCH "+c.want) {
			t.Errorf("%s: want SEARCH %s, got\n\t%s", c.what, c.want, strings.Join(all, "\n\t"))
		}
		// Those of one time may be sorted among themselves.
		if slices.ContainsFunc(led, func(detail string) bool {
			return strings.Contains(detail, "TEMP B-TREE") && !strings.Contains(detail, "FOR LAST TERM")
		}) {
			t.Errorf("%s sorts:\n\t%s", c.what, strings.Join(all, "\n\t"))
		}
	}
}

// missing is err, unless it says that nothing is there.
func missing(err error) error {
	if gateway.IsNotFound(err) {
		return nil
	}
	return err
}

// useLists does what can be done to lists, those of a contact among it.
func useLists(tx gateway.Tx, w gateway.WorkspaceID, list gateway.ListID, contact gateway.ContactID) error {
	merges := []gateway.Merge{{WinnerID: contact + 1, LoserID: contact}, {WinnerID: contact + 2, LoserID: contact}}
	for _, err := range []error{
		tx.SaveList(gateway.List{ID: list, WorkspaceID: w}),
		tx.AddListed(w, gateway.Listed{ListID: list, ContactID: contact}),
		tx.InheritLists(w, merges[:1]),
		tx.InheritLists(w, merges),
		tx.RemoveListed(w, list, contact),
		tx.DisinheritLists(w, contact+1, contact),
	} {
		if err != nil {
			return err
		}
	}
	if _, err := tx.List(w, list); err != nil {
		return err
	}
	if _, err := tx.CountLists(w); err != nil {
		return err
	}
	return tx.DeleteList(w, list)
}

// find is a call of FindContacts.
func find(r *Store, w gateway.WorkspaceID, where ...gateway.Condition) func() error {
	return func() error {
		_, err := r.FindContacts(context.Background(), w, gateway.Query{Where: where, Limit: 100})
		return err
	}
}

// inOrder reads the first page of an order, and one behind.
func inOrder(r *Store, w gateway.WorkspaceID, by string, down bool) error {
	for _, after := range []gateway.SortPlace{{}, {Key: "8000000000000010", ID: 3}} {
		if _, err := r.ContactsInOrder(context.Background(), w, gateway.SortQuery{By: by, Down: down, After: after, Limit: 100}); err != nil {
			return err
		}
	}
	return nil
}

// planOf is how the engine would search for what a query with n parameters asks.
func planOf(t *testing.T, s *Store, text string, n int) (details []string) {
	t.Helper()
	args := make([]any, n)
	for i := range args {
		args[i] = 1
	}
	rows, err := s.reader.db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+text, args...)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			t.Fatal(err)
		}
		details = append(details, detail)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return details
}
