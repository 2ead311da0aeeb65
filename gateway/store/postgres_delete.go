package store

import (
	"slices"

	"github.com/jackc/pgx/v5"

	"civgate/gateway"
)

// deleteOf makes a statement that deletes the rows of a table whose column is one
// of the ids.
func deleteOf(table, column string) string {
	return "DELETE FROM " + table + " AS t USING " + given("id bigint") + " WHERE t.workspace_id = u.workspace_id AND t." + column + " = u.id"
}

// currentMembersOf finds the current memberships of companies, as m.
var currentMembersOf = " FROM " + given("id bigint") + " JOIN memberships AS m ON m.workspace_id = u.workspace_id AND m.company_id = u.id AND m.until = u.current"

var (
	// contactsWithAliases finds contacts and those merged into them, by any number of
	// steps.
	contactsWithAliases = "WITH RECURSIVE gone (workspace_id, id, merged_into) AS (" +
		"SELECT t.workspace_id, t.id, t.merged_into FROM " + given("id bigint") + " JOIN contacts AS t ON t.workspace_id = u.workspace_id AND t.id = u.id" +
		" UNION SELECT t.workspace_id, t.id, t.merged_into FROM gone AS g JOIN contacts AS t ON t.workspace_id = g.workspace_id AND t.merged_into = g.id AND t.merged_into <> 0" +
		") SELECT id, merged_into FROM gone"

	// contactDeletes are in an order in which nothing is left without what it
	// refers to. The contacts come last.
	contactDeletes = []string{
		deleteOf("page_views", "contact_id"),
		deleteOf("events", "contact_id"),
		"WITH gone AS (" + deleteOf("memberships", "contact_id") + " RETURNING t.workspace_id, t.company_id, t.until)" +
			" UPDATE companies AS c SET employees = c.employees - n.n FROM (" +
			"SELECT workspace_id, company_id, count(*) AS n FROM gone WHERE until = 0 GROUP BY workspace_id, company_id OFFSET 0) AS n" +
			" WHERE c.workspace_id = n.workspace_id AND c.id = n.company_id",
		deleteOf("tagged", "subject_id") + " AND t.entity = 'contact'",
		deleteOf("visitor_keys", "contact_id"),
		"UPDATE inspections AS t SET contact_id = 0, detail = '" + deletedDetail + "' FROM " + given("id bigint") +
			" WHERE t.workspace_id = u.workspace_id AND t.contact_id = u.id",
		deleteOf("listed", "contact_id"),
		deleteOf("name_words", "contact_id"),
		deleteOf("names_due", "contact_id"),
		deleteOf("merges", "winner_id"),
		deleteOf("merges", "loser_id"),
		deleteOf("contacts", "id"),
	}

	// companyDeletes: the memberships that are not primary go first, so that what
	// is found then for those who lose their primary company is not lost as well.
	// Who loses a company is a changed contact, which no payload may pass for
	// unchanged (see gateway.Contact): hence the fingerprint. The companies come
	// last.
	companyDeletes = []string{
		"UPDATE contacts AS t SET fingerprint = 0 FROM (SELECT m.workspace_id, m.contact_id" + currentMembersOf + " OFFSET 0) AS m" +
			" WHERE t.workspace_id = m.workspace_id AND t.id = m.contact_id AND t.fingerprint <> 0",
		deleteOf("memberships", "company_id") + " AND t.until = u.current AND NOT t.is_primary",
		// By the row's place and not by its key: of the two keys that fit the planner
		// may take the one of the company, and read all employees for each of them.
		"UPDATE memberships AS t SET is_primary = true FROM (SELECT (" +
			"SELECT o.ctid FROM memberships AS o WHERE o.workspace_id = m.workspace_id AND o.contact_id = m.contact_id AND o.until = m.until AND NOT o.is_primary" +
			" ORDER BY o.since, o.company_id LIMIT 1) AS place" + currentMembersOf + " OFFSET 0) AS p" +
			" WHERE t.ctid = p.place",
		deleteOf("memberships", "company_id"),
		deleteOf("tagged", "subject_id") + " AND t.entity = 'company'",
		deleteOf("company_domains", "company_id"),
		deleteOf("companies", "id"),
	}
)

// delete deletes contacts and companies with all that is theirs. Each statement
// is sent by itself: it may be about a great many rows, and has the whole of
// statementTimeout.
func (s *saving) delete() error {
	if len(s.c.DeletedContacts)+len(s.c.DeletedCompanies) == 0 {
		return nil
	}
	if err := s.send(&s.batch); err != nil { // keys that move away
		return err
	}
	s.batch = pgx.Batch{}
	if err := s.deleteContacts(); err != nil {
		return err
	}
	return s.deleteCompanies()
}

func (s *saving) deleteContacts() error {
	if len(s.c.DeletedContacts) == 0 {
		return nil
	}
	missing := make(map[gateway.ContactID]bool, len(s.c.DeletedContacts))
	for _, id := range s.c.DeletedContacts {
		missing[id] = true
	}
	var ids []int64
	err := s.query(func(rows pgx.Rows) error {
		var id, merged int64
		if err := rows.Scan(&id, &merged); err != nil {
			return err
		}
		ids = append(ids, id)
		delete(missing, gateway.ContactID(id))
		if merged == 0 {
			s.listed--
		}
		return nil
	}, contactsWithAliases, int64(s.ws), distinct(column(s.c.DeletedContacts, func(id *gateway.ContactID) int64 { return int64(*id) })))
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return notFound("contact")
	}
	slices.Sort(ids)
	for _, text := range contactDeletes {
		if _, err := s.exec(text, int64(s.ws), ids); err != nil {
			return err
		}
	}
	return nil
}

// deleteCompanies: whose primary company goes gets the oldest of their others in
// its place.
func (s *saving) deleteCompanies() error {
	if len(s.c.DeletedCompanies) == 0 {
		return nil
	}
	ids := distinct(column(s.c.DeletedCompanies, func(id *gateway.CompanyID) int64 { return int64(*id) }))
	var n int64
	for _, text := range companyDeletes {
		var err error
		if n, err = s.exec(text, int64(s.ws), ids); err != nil {
			return err
		}
	}
	if n < int64(len(ids)) {
		return notFound("company")
	}
	s.closed = len(ids)
	return nil
}
