//go:build unix

package store_test

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// wasted are the lines of a plan that count rows which were read for nothing.
var wasted = regexp.MustCompile(`Rows Removed by [\w ]+: (\d+)`)

// allEmployees is a search for memberships by contact in an index by company,
// which reads those of all contacts and does not count them as read for nothing.
var allEmployees = regexp.MustCompile(`using memberships_(company|former) on .*\n\s*Index Cond: .*contact_id = `)

// allListed are searches in listed that leave out what an index goes by first: by
// contact in the index by list, and the other way around.
var allListed = []*regexp.Regexp{
	regexp.MustCompile(`using listed_pkey on .*\n\s*Index Cond: \(?(\(workspace_id = [^)]*\) AND )?\(contact_id`),
	regexp.MustCompile(`using listed_contact on .*\n\s*Index Cond: \(?(\(workspace_id = [^)]*\) AND )?\(list_id`),
	regexp.MustCompile(`using listed_contact on .*\n\s*Index Cond: .*contact_id [<>]`),
}

// TestPostgresReadsWhatItNeeds looks at the plans that the server follows, for
// tables that were empty when the plans were made, that have grown since, and of
// which the server has statistics: no statement may read more than a few rows
// that it does not need. That the server's statistics call the tables empty must
// not matter either.
func TestPostgresReadsWhatItNeeds(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"", "VACUUM ANALYZE"} {
		t.Run("known as empty: "+strconv.FormatBool(before != ""), func(t *testing.T) {
			t.Parallel()
			testPostgresReadsWhatItNeeds(t, before)
		})
	}
}

// sortedRows finds how many rows a sort has, whatever part of them it gives.
var sortedRows = regexp.MustCompile(`Sort Key: .*\n(?:.*(?:Sort Method|Presorted Key|Full-sort|Pre-sorted|Worker).*\n)*.*\(actual rows=(\d+)`)

func testPostgresReadsWhatItNeeds(t *testing.T, before string) {
	server := pgtest.Start(t, "autovacuum=off", "shared_preload_libraries=auto_explain", "auto_explain.log_min_duration=0", "auto_explain.log_analyze=on",
		"auto_explain.log_timing=off", "log_line_prefix=LINE ")
	url := server.NewDatabase(t)
	s := open(t, url)
	const many = 3000 // rows that a wrong plan reads
	w := [2]gateway.WorkspaceID{workspace(t, s), workspace(t, s)}
	if before != "" {
		server.Exec(t, databaseOf(url), before)
	}
	usePostgres(t, s, w[0], 0)
	for _, w := range w {
		fillPostgres(t, s, w, many)
	}
	for i, phase := range []string{"grown", "analyzed"} {
		from := len(server.Log())
		usePostgres(t, s, w[0], i+1)
		statements := strings.Split(server.Log()[from:], "\nLINE ")
		if len(statements) < 60 {
			t.Fatalf("%s: only %d plans were seen", phase, len(statements))
		}
		for _, plan := range statements {
			if !strings.Contains(plan, "plan:") {
				continue
			}
			if strings.Contains(plan, "AND NOT t.is_primary") {
				continue // a company goes, and all its employees are read
			}
			for _, m := range wasted.FindAllStringSubmatch(plan, -1) {
				if n, err := strconv.Atoi(m[1]); err != nil || n > 100 {
					t.Errorf("%s: %s rows for nothing:\n%s", phase, m[1], plan)
				}
			}
			for _, m := range sortedRows.FindAllStringSubmatch(plan, -1) {
				if strings.Contains(plan, "i.value = $") || strings.Contains(plan, "CROSS JOIN listed l") {
					continue // by id those who share one e-mail, by contact the lists of a page
				}
				if n, err := strconv.Atoi(m[1]); err != nil || n > 500 {
					t.Errorf("%s: %s rows are sorted:\n%s", phase, m[1], plan)
				}
			}
			if strings.Contains(plan, "Seq Scan") {
				t.Errorf("%s: a whole table:\n%s", phase, plan)
			}
			if allEmployees.MatchString(plan) {
				t.Errorf("%s: all employees of a company to find one:\n%s", phase, plan)
			}
			for _, all := range allListed {
				if all.MatchString(plan) {
					t.Errorf("%s: all lists to find one, or one contact's:\n%s", phase, plan)
				}
			}
		}
		server.Exec(t, databaseOf(url), "ANALYZE")
	}
}

func databaseOf(url string) string {
	name, _, _ := strings.Cut(url[strings.LastIndex(url, "/")+1:], "?")
	return name
}

// fillPostgres makes n contacts and n companies, one of which has all contacts.
func fillPostgres(t *testing.T, s *store.Store, w gateway.WorkspaceID, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(tx gateway.Tx) error {
		first, err := tx.NextIDs(gateway.IDContact, n)
		if err != nil {
			return err
		}
		company, err := tx.NextIDs(gateway.IDCompany, n)
		if err != nil {
			return err
		}
		c := &gateway.Changes{}
		ids := make([]gateway.MessageID, n)
		for i := range n {
			x := &gateway.Contact{ID: gateway.ContactID(first + int64(i)), CustomID: fmt.Sprint("u", i), EmailKey: fmt.Sprint("e", i)}
			if i%2 == 1 && i > 100 {
				x.EmailKey = "shared" // by many, as an office's
			}
			x.Attributes.Set("name", gateway.TextValue(fmt.Sprintf("Ada Love%d", i)))
			x.Attributes.Set("phone_number", gateway.Value{Type: gateway.TypeText, Raw: fmt.Sprintf(`"p%d"`, i)})
			alias := &gateway.Contact{ID: x.ID + 1<<40, MergedInto: x.ID}
			c.NewContacts = append(c.NewContacts, x, alias)
			c.Merges = append(c.Merges, gateway.Merge{WinnerID: x.ID, LoserID: alias.ID})
			c.NewKeys = append(c.NewKeys, gateway.VisitorKey{Key: fmt.Sprint("k", i), ContactID: x.ID})
			y := &gateway.Company{ID: gateway.CompanyID(company + int64(i)), CustomID: fmt.Sprint("c", i), Name: "same name"}
			z := &gateway.Company{ID: gateway.CompanyID(company+int64(i)) + 1<<40, Name: fmt.Sprint("n", i)}
			// One domain that all list, one for each.
			c.CompanyDomains = append(c.CompanyDomains, gateway.CompanyDomain{Domain: "all.test", CompanyID: y.ID}, gateway.CompanyDomain{Domain: fmt.Sprintf("d%d.test", i), CompanyID: y.ID, Listed: true})
			c.NewCompanies = append(c.NewCompanies, y, z)
			c.NewMemberships = append(c.NewMemberships, gateway.Membership{ContactID: x.ID, CompanyID: gateway.CompanyID(company), Since: moment(i + 1), Primary: true},
				gateway.Membership{ContactID: x.ID, CompanyID: gateway.CompanyID(company) + 1, Since: moment(i + 1)},
				gateway.Membership{ContactID: x.ID, CompanyID: gateway.CompanyID(company), Since: moment(i + 1), Until: moment(i + 2)})
			// One tag that all have, one for each.
			for _, name := range []string{"all", fmt.Sprint("t", i)} {
				x.Attributes.Set("tags", gateway.ListValue("all", fmt.Sprint("t", i)))
				y.Attributes.Set("tags", gateway.ListValue("all", fmt.Sprint("t", i)))
				c.Tagged = append(c.Tagged, gateway.TagChange{Entity: gateway.EntityContact, Subject: int64(x.ID), Name: name}, gateway.TagChange{Entity: gateway.EntityCompany, Subject: int64(y.ID), Name: name})
			}
			c.PageViews = append(c.PageViews, gateway.PageView{ContactID: x.ID, At: moment(i + 1)})
			c.Events = append(c.Events, gateway.Event{ContactID: x.ID, At: moment(i + 1)})
			c.NewRecords = append(c.NewRecords, &gateway.Record{ID: gateway.RecordID(x.ID), Entity: gateway.EntityProduct, CustomID: fmt.Sprint("p", i)})
			ids[i][0], ids[i][1], ids[i][2] = byte(i>>8), byte(i), byte(w)
		}
		if _, err := tx.ClaimMessages(w, ids, moment(1)); err != nil {
			return err
		}
		for range 20 {
			list, err := tx.NextIDs(gateway.IDList, 1)
			if err != nil {
				return err
			}
			if err := tx.SaveList(gateway.List{ID: gateway.ListID(list), WorkspaceID: w}); err != nil {
				return err
			}
			for i := range c.NewContacts[:n/10] {
				if err := tx.AddListed(w, gateway.Listed{ListID: gateway.ListID(list), ContactID: c.NewContacts[i].ID}); err != nil {
					return err
				}
			}
		}
		return tx.Save(w, c)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func moment(second int) time.Time { return time.Unix(int64(second), 0).UTC() }

// usePostgres calls everything that reads or changes a few rows by their keys. A
// workspace without contacts gives wrong ids, which are fine for making plans.
func usePostgres(t *testing.T, s *store.Store, w gateway.WorkspaceID, round int) {
	t.Helper()
	ctx := t.Context()
	c := gateway.ContactID(10)
	one := func(what string, err error) {
		t.Helper()
		if err != nil && !gateway.IsNotFound(err) {
			t.Fatalf("%s: %v", what, err)
		}
	}
	_, err := s.Contact(ctx, w, c)
	one("contact", err)
	_, err = s.Inspections(ctx, w, gateway.InspectionQuery{Contact: c, Limit: 10})
	one("inspections", err)
	_, err = s.Inspection(ctx, w, 1)
	one("inspection", err)
	err = s.Update(ctx, func(tx gateway.Tx) error {
		return tx.AddInspections(w, []*gateway.Inspection{{Verdict: gateway.VerdictAccepted, ContactID: c}}, 10)
	})
	one("add inspections", err)
	_, err = s.ContactByCustomID(ctx, w, "u7")
	one("contact by custom id", err)
	_, err = s.ContactByKey(ctx, w, "k7")
	one("contact by key", err)
	_, err = s.ContactsByEmail(ctx, w, "e7", 9)
	one("contacts by e-mail", err)
	_, err = s.ContactsByPhone(ctx, w, "p7", 9)
	one("contacts by phone", err)
	_, err = s.Contacts(ctx, w, 2000, 20)
	one("contacts", err)
	_, err = s.VisitorKeys(ctx, w, c, 9)
	one("keys", err)
	_, err = s.PageViews(ctx, w, c, gateway.HistoryQuery{Limit: 9})
	one("page views", err)
	_, err = s.Events(ctx, w, c, gateway.HistoryQuery{Limit: 9})
	one("events", err)
	_, err = s.Merges(ctx, w, c, gateway.HistoryQuery{Limit: 9})
	one("merges", err)
	_, err = s.Company(ctx, w, 17)
	one("company", err)
	_, err = s.CompanyByCustomID(ctx, w, "c7")
	one("company by custom id", err)
	_, err = s.Account(ctx, w, 17, gateway.AccountQuery{Limit: 20})
	one("account", err)
	_, err = s.ContactsByEmailPrefix(ctx, w, "s", 20)
	one("contacts by the start of their e-mail", err)
	for range 2 {
		one("index names", s.Update(ctx, func(tx gateway.Tx) error { _, err := tx.IndexNames(w, 2000); return err }))
		for _, text := range []string{"love7", "ada love7", "ada", "ada lo"} {
			found, err := s.FindNames(ctx, w, text, 20)
			one("find names", err)
			if round > 0 && len(found.Contacts) == 0 {
				t.Fatalf("%q finds nobody", text)
			}
		}
		_, err = s.UnindexedNames(ctx)
		one("names to index", err)
	}
	_, _, err = s.FindCompanyNames(ctx, w, "n7", 20)
	one("companies by name", err)
	_, err = s.Companies(ctx, w, math.MaxInt32, 20)
	one("companies", err)
	_, err = s.Record(ctx, w, gateway.EntityProduct, 17)
	one("product", err)
	_, err = s.RecordByCustomID(ctx, w, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "p7"})
	one("product by custom id", err)
	_, err = s.Records(ctx, w, gateway.EntityProduct, 2000, 20)
	one("products", err)
	_, err = s.InboxPosition(ctx, "n1")
	one("position", err)
	_, err = s.APIKey(ctx, gateway.KeyWidget, "none")
	one("key", err)
	for _, where := range []gateway.Condition{
		{Field: "custom_id", Value: gateway.TextValue("u7")}, {Field: "key", Value: gateway.TextValue("k7")}, {Field: "email", Value: gateway.TextValue("e7")},
		{Field: "phone_number", Value: gateway.TextValue("p7")}, {Field: "id", Value: gateway.IntValue(18)}, {Field: "id", Op: gateway.OpLess, Value: gateway.IntValue(2000)},
		{Field: "tags", Value: gateway.TextValue("all")}, {Field: "tags", Value: gateway.TextValue("t7")},
		{Field: "list", Value: gateway.IntValue(7)}, {Field: "email", Value: gateway.TextValue("shared")},
	} {
		for _, before := range []int64{0, 1000} {
			found, err := s.FindContacts(ctx, w, gateway.Query{Limit: 20, Before: before, Where: []gateway.Condition{where}})
			one("find by "+where.Field, err)
			if round > 0 && len(found) == 0 && (where.Field != "list" || before == 0) {
				t.Fatalf("nobody found by %s", where.Field)
			}
			searched, _, err := s.SearchContacts(ctx, w, gateway.Query{Limit: 20, Before: before, Where: []gateway.Condition{where}}, time.Minute)
			one("search by "+where.Field, err)
			if len(searched) != len(found) {
				t.Fatalf("%d found by %s, want %d", len(searched), where.Field, len(found))
			}
			_, err = s.ContactsAmong(ctx, w, []gateway.ContactID{c, c + 1}, []gateway.Condition{where})
			one("among some by "+where.Field, err)
		}
	}
	for _, by := range []string{"id", "email", "custom_id", "phone_number"} {
		for _, down := range []bool{true, false} {
			q := gateway.SortQuery{By: by, Down: down, Limit: 20}
			if by == "id" {
				q.After.ID = 1000 // those who became part of others are all the newest here
			}
			for range 2 {
				page, err := s.ContactsInOrder(ctx, w, q)
				one("contacts by "+by, err)
				if round > 0 && len(page.Rows) != 20 {
					t.Fatalf("%d contacts by %s", len(page.Rows), by)
				}
				q.After = page.Next
			}
		}
	}
	for _, q := range []gateway.SortQuery{{By: "name", Limit: 20}, {By: "name", Down: true, After: gateway.SortPlace{Key: "same name", ID: 900}, Limit: 20}, {By: "id", Limit: 20}} {
		page, err := s.CompaniesInOrder(ctx, w, q)
		one("companies in order", err)
		if round > 0 && len(page.Rows) != 20 {
			t.Fatalf("%d companies in order", len(page.Rows))
		}
	}
	tagged := []gateway.Condition{{Field: "tags", Value: gateway.TextValue("t7")}}
	for _, by := range []string{"plan", "company", "page_views", "last_seen"} {
		_, err = s.SortContacts(ctx, w, gateway.SortQuery{Where: tagged, By: by, Limit: 20}, time.Hour)
		one("sort by "+by, err)
	}
	page, err := s.CompaniesInOrder(ctx, w, gateway.SortQuery{By: "id", Limit: 50})
	one("companies by id", err)
	var companies []gateway.CompanyID
	for _, v := range page.Rows {
		companies = append(companies, v.ID)
	}
	_, err = s.LastActive(ctx, w, companies)
	one("last active", err)
	_, err = s.SortCompanies(ctx, w, gateway.SortQuery{Where: tagged, By: "employees", Limit: 20}, time.Hour)
	one("sort companies", err)
	_, err = s.CountFound(ctx, w, gateway.EntityContact, tagged, 20, time.Hour)
	one("count", err)
	for _, where := range []gateway.Condition{{Field: "custom_id", Value: gateway.TextValue("c8")}, {Field: "id", Value: gateway.IntValue(17)}, {Field: "id", Op: gateway.OpGreater, Value: gateway.IntValue(0)},
		{Field: "tags", Value: gateway.TextValue("all")}, {Field: "tags", Value: gateway.TextValue("t8")}} {
		_, err = s.FindCompanies(ctx, w, gateway.Query{Limit: 20, Where: []gateway.Condition{where}})
		one("find companies", err)
		_, _, err = s.SearchCompanies(ctx, w, gateway.Query{Limit: 20, Where: []gateway.Condition{where}}, time.Minute)
		one("search companies", err)
	}
	_, err = s.Tags(ctx, w, 0, 20)
	one("tags", err)
	_, err = s.Tag(ctx, w, 7)
	one("tag", err)
	_, err = s.CountTags(ctx, w)
	one("number of tags", err)
	tagIDs, err := s.TagIDs(ctx, w, []string{"all", "t9", "t10"})
	one("tags by name", err)
	_, err = s.CompaniesByDomain(ctx, w, []string{"d1.test", "d2.test"})
	one("companies by domain", err)
	emails, err := s.ContactEmails(ctx, w, 7, 20)
	one("contacts' e-mails", err)
	if round > 0 && len(emails) != 20 {
		t.Fatalf("%d e-mails", len(emails))
	}
	_, err = s.Job(ctx, w, 1)
	one("job", err)
	_, err = s.Jobs(ctx, w, 20)
	one("jobs", err)
	company := gateway.CompanyID(1)
	if all, err := s.CompanyByCustomID(ctx, w, "c0"); err == nil { // the one with all contacts
		company = all.ID
	} else {
		one("company with all contacts", err)
	}
	for _, former := range []bool{false, true} {
		for _, q := range []gateway.MemberQuery{{Former: former, Limit: 20}, {Former: former, Limit: 20, BeforeSince: moment(1500), BeforeContact: 1 << 40}} {
			members, err := s.Members(ctx, w, company, q)
			one("members", err)
			if round > 0 && len(members) != 20 {
				t.Fatalf("%d members", len(members))
			}
		}
	}

	list := gateway.Condition{Field: "list", Value: gateway.IntValue(7)}
	_, err = s.FindContacts(ctx, w, gateway.Query{Limit: 20, Where: []gateway.Condition{list, {Field: "custom_id", Value: gateway.TextValue("u7")}}})
	one("find by custom id in a list", err)
	_, err = s.Meets(ctx, w, c, [][]gateway.Condition{{list}})
	one("meets", err)
	_, err = s.List(ctx, w, 7)
	one("list", err)

	for part, call := range []func(tx gateway.Tx) error{
		func(tx gateway.Tx) error {
			if _, err := tx.CountLists(w); err != nil {
				return err
			}
			l := gateway.List{ID: gateway.ListID(17 + round), WorkspaceID: w}
			merges := []gateway.Merge{{WinnerID: c + 1, LoserID: c}, {WinnerID: c + 2, LoserID: c + 1}}
			return errors.Join(tx.SaveList(l), tx.AddListed(w, gateway.Listed{ListID: l.ID, ContactID: c}), tx.InheritLists(w, merges[:1]), tx.InheritLists(w, merges), tx.RemoveListed(w, l.ID, c), tx.DisinheritLists(w, c+2, c+1))
		},
		func(tx gateway.Tx) error {
			l := gateway.ListID(14 + round)
			if _, err := tx.List(w, l); err != nil {
				return err
			}
			return tx.DeleteList(w, l)
		},
		func(tx gateway.Tx) error {
			if _, err := tx.InboxPosition("n1"); err != nil {
				return err
			}
			if _, err := tx.ClaimMessages(w, []gateway.MessageID{{255, byte(round)}}, moment(9)); err != nil {
				return err
			}
			refs := []gateway.Ref{{WorkspaceID: w, Kind: gateway.RefKey, Value: "k3"}, {WorkspaceID: w, Kind: gateway.RefCustomID, Value: "u4"}}
			if err := tx.Confirm(w, refs, []gateway.Identity{{ContactID: 1}, {ContactID: 2}}); err != nil {
				return err
			}
			_, err := tx.Load(w, gateway.Refs{Keys: []string{"k1", "k2"}, CustomIDs: []string{"u3", "u4"}, EmailKeys: []string{"e5", "e6"}, Contacts: []gateway.ContactID{8, 9},
				CompanyCustomIDs: []string{"c1", "c2"}, CompanyIDs: []gateway.CompanyID{3, 4}, CompanyNames: []string{"n5", "n6"}, CompanyDomains: []string{"d7.test", "d8.test"}, Defs: true})
			if err != nil {
				return err
			}
			refsOfProducts := gateway.Refs{RecordIDs: []gateway.RecordID{3, 4}}
			for i := range 70 {
				refsOfProducts.RecordKeys = append(refsOfProducts.RecordKeys, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: fmt.Sprint("p", 10*i)})
			}
			if _, err := tx.Load(w, refsOfProducts); err != nil {
				return err
			}
			if _, err := tx.ContactKeys(w, c); err != nil {
				return err
			}
			return tx.SetInboxPosition("n1", 1)
		},
		func(tx gateway.Tx) error {
			_, err := tx.ContactEmails(w, 7, 20)
			return err
		},
		func(tx gateway.Tx) error {
			id := company + 5
			return tx.Save(w, &gateway.Changes{DomainsGone: []gateway.CompanyID{id}, CompanyDomains: []gateway.CompanyDomain{{Domain: "changed.test", CompanyID: id}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{Contacts: []*gateway.Contact{{ID: c, CustomID: fmt.Sprint("changed", round)}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{Records: []*gateway.Record{{ID: 1 << 50, Entity: gateway.EntityDeal}}, FreedRecords: []gateway.RecordID{1 << 50}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{Companies: []*gateway.Company{{ID: 17, CustomID: "c-changed"}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{MovedKeys: []gateway.VisitorKey{{Key: "k20", ContactID: c}}, Contacts: []*gateway.Contact{{ID: 12, MergedInto: c}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{ChangedMemberships: []gateway.Membership{{ContactID: gateway.ContactID(14 + round), CompanyID: 1}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{EndedMemberships: []gateway.Membership{{ContactID: gateway.ContactID(14 + round), CompanyID: 1, Until: moment(99)}}})
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{Visits: 1, VisitsAt: moment(1), PageViews: []gateway.PageView{{ContactID: c, At: moment(1)}}})
		},
		func(tx gateway.Tx) error {
			_, _, err := tx.AddEvent(w, gateway.Event{ContactID: c, Kind: gateway.EventCustom, Name: fmt.Sprint("n", round), At: moment(1)})
			return err
		},
		func(tx gateway.Tx) error {
			return tx.Save(w, &gateway.Changes{Tagged: []gateway.TagChange{
				{Entity: gateway.EntityContact, Subject: int64(c), Name: "all", Lost: true}, {Entity: gateway.EntityCompany, Subject: 17, Name: "t9"}, {Entity: gateway.EntityContact, Subject: 18, Name: fmt.Sprint("new", round)}}})
		},
		func(tx gateway.Tx) error {
			if _, _, err := tx.AddTag(w, fmt.Sprint("added", round), moment(1)); err != nil {
				return err
			}
			if _, err := tx.Untag(w, tagIDs["all"], gateway.EntityContact, 10); err != nil {
				return err
			}
			id := tagIDs[fmt.Sprint("t", 8+round)]
			if _, err := tx.Untag(w, id, gateway.EntityContact, 10); err != nil {
				return err
			}
			if _, err := tx.Untag(w, id, gateway.EntityCompany, 10); err != nil {
				return err
			}
			return tx.DeleteTag(w, id)
		},
		func(tx gateway.Tx) error {
			gone := gateway.ContactID(30 + 2*round)
			if err := tx.Save(w, &gateway.Changes{Contacts: []*gateway.Contact{{ID: gone + 1, MergedInto: gone}}}); err != nil {
				return err
			}
			return tx.Save(w, &gateway.Changes{DeletedContacts: []gateway.ContactID{gone}})
		},
		func(tx gateway.Tx) error {
			gone := gateway.CompanyID(20 + round)
			if round == 2 {
				gone = 1 // with all its employees; the other statements are done with it
			}
			return tx.Save(w, &gateway.Changes{DeletedCompanies: []gateway.CompanyID{gone}})
		},
	} {
		err := s.Update(ctx, call)
		if round > 0 && err != nil {
			t.Fatalf("transaction %d: %v", part, err)
		}
		one(fmt.Sprint("transaction ", part), err)
	}
	if _, err := s.ForgetMessages(ctx, moment(1), 10); err != nil {
		t.Fatal(err)
	}
}

// TestRefusedKeepsIDs: a transaction that its caller gives up, without having asked for
// ids, costs none. One that took some gives them up.
func TestRefusedKeepsIDs(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Shared(t).NewDatabase(t))
	next := func(fail error) (id int64) {
		t.Helper()
		err := s.Update(t.Context(), func(tx gateway.Tx) (err error) {
			if id, err = tx.NextIDs(gateway.IDContact, 1); err != nil {
				return err
			}
			return fail
		})
		if !errors.Is(err, fail) {
			t.Fatal(err)
		}
		return id
	}
	refused := errors.New("refused")
	first := next(nil)
	if err := s.Update(t.Context(), func(gateway.Tx) error { return refused }); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if got := next(nil); got != first+1 {
		t.Errorf("after a transaction that was given up comes id %d, want %d", got, first+1)
	}
	fresh := open(t, pgtest.Shared(t).NewDatabase(t))
	s = fresh
	lost := next(refused)
	if got := next(nil); got == lost {
		t.Errorf("id %d is given out again", got)
	}
}
