package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"

	"civgate/gateway"
)

// This file owns the table company_domains, beside what Load and Save do with it in
// batches.
//
// Decisions
//
//   - What a company is found by follows from its name and attributes; the domain says how
//     (gateway.CompanyDomains), here and when the table is filled anew. So an export leaves
//     it out.
//   - Of the companies of one domain a few are found, the best ones: a thousand that list
//     the same domain cost what ten do.

// foundByDomain is how many companies of a domain are found.
const foundByDomain = 10

// domainsMigration is migration 9 of the database whose folder is named.
func domainsMigration(folder string) *goose.Migration {
	run := func(ctx context.Context, tx *sql.Tx, direction string) error {
		text, err := goMigrations.ReadFile("migrations/" + folder + "/go/00009_" + direction + ".sql")
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, string(text))
		return err
	}
	return goose.NewGoMigration(9,
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error {
			if err := run(ctx, tx, "up"); err != nil {
				return err
			}
			return fillDomains(ctx, tx)
		}},
		&goose.GoFunc{RunTx: func(ctx context.Context, tx *sql.Tx) error { return run(ctx, tx, "down") }})
}

// fillDomains fills the table from the stored companies, in portions.
func fillDomains(ctx context.Context, tx *sql.Tx) error {
	const portion = 1000
	workspace, last := int64(-1), int64(0)
	for {
		var all []gateway.CompanyDomain
		var of []int64 // their workspaces
		n := 0
		err := query(ctx, tx, func(rows *sql.Rows) error {
			n++
			var c gateway.Company
			var attributes string
			err := rows.Scan(&workspace, &last, &c.Name, &attributes)
			if err != nil {
				return err
			}
			c.ID = gateway.CompanyID(last)
			if c.Attributes, err = joinBag(attributes, [len(columnAttributes)]string{}); err != nil {
				return fmt.Errorf("company %d: %w", last, err)
			}
			for _, d := range gateway.CompanyDomains(&c) {
				all, of = append(all, d), append(of, workspace)
			}
			return nil
		}, `SELECT workspace_id, id, name, attributes FROM companies WHERE (workspace_id, id) > ($1, $2) ORDER BY workspace_id, id LIMIT $3`, workspace, last, portion)
		if err != nil {
			return err
		}
		for from := 0; from < len(all); from += chunk {
			part := all[from:min(from+chunk, len(all))]
			var b strings.Builder
			args := make([]any, 0, 4*len(part))
			b.WriteString(`INSERT INTO company_domains (workspace_id, domain, company_id, listed) VALUES `)
			for i, d := range part {
				if i > 0 {
					b.WriteString(", ")
				}
				b.WriteString("(" + list(len(args)+1, 4) + ")")
				args = append(args, of[from+i], d.Domain, int64(d.CompanyID), d.Listed)
			}
			if _, err := tx.ExecContext(ctx, b.String(), args...); err != nil {
				return err
			}
		}
		if n < portion {
			return nil
		}
	}
}

var domainsTable = newTable("company_domains", "", "workspace_id", "domain", "company_id", "listed")

// saveDomains writes by what companies are found.
func (t *sqliteTx) saveDomains(ws gateway.WorkspaceID, c *gateway.Changes) error {
	for _, id := range c.DomainsGone {
		s, err := t.w.stmt(`DELETE FROM company_domains WHERE company_id = ? AND workspace_id = ?`)
		if err != nil {
			return err
		}
		s.int(int64(id))
		s.int(int64(ws))
		if err := s.run(); err != nil {
			return err
		}
	}
	if len(c.CompanyDomains) == 0 {
		return nil
	}
	fresh := sortedDomains(c.CompanyDomains)
	return t.w.insert(domainsTable, len(fresh), func(s *stmt, i int) {
		s.int(int64(ws))
		s.text(fresh[i].Domain)
		s.int(int64(fresh[i].CompanyID))
		s.bool(fresh[i].Listed)
	})
}

// sortedDomains is all in the order of the table's key.
func sortedDomains(all []gateway.CompanyDomain) []gateway.CompanyDomain {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b gateway.CompanyDomain) int { return strings.Compare(a.Domain, b.Domain) })
	return all
}

// findDomains finds companies by domains and appends their ids.
func (t *sqliteTx) findDomains(ws gateway.WorkspaceID, companies []int64, domains []string, l *gateway.Loaded) ([]int64, error) {
	if len(domains) == 0 {
		return companies, nil
	}
	s, err := t.w.stmt(`SELECT company_id, listed FROM company_domains WHERE domain = ? AND workspace_id = ? ORDER BY listed DESC, company_id LIMIT ?`)
	if err != nil {
		return nil, err
	}
	for _, domain := range named(domains) {
		s.text(domain)
		s.int(int64(ws))
		s.int(foundByDomain)
		for {
			row, err := s.step()
			if err != nil {
				return nil, err
			}
			if !row {
				break
			}
			id := s.columnInt(0)
			companies = append(companies, id)
			l.CompanyDomains = append(l.CompanyDomains, gateway.CompanyDomain{Domain: domain, CompanyID: gateway.CompanyID(id), Listed: s.columnInt(1) != 0})
		}
	}
	return companies, nil
}

var (
	bestOfDomain = " CROSS JOIN LATERAL (SELECT d.company_id, d.listed FROM company_domains AS d WHERE d.workspace_id = u.workspace_id AND d.domain = u.domain" +
		" ORDER BY d.listed DESC, d.company_id LIMIT " + strconv.Itoa(foundByDomain) + ") AS d"
	domainsOfCompanies = "SELECT u.domain, d.company_id, d.listed FROM " + given("domain") + bestOfDomain
	companiesByDomain  = companySelect + " JOIN (SELECT DISTINCT u.workspace_id, d.company_id FROM " + given("domain") + bestOfDomain + " OFFSET 0) AS u" +
		" ON c.workspace_id = u.workspace_id AND c.id = u.company_id"
	insertDomains = insertRows("company_domains", "domain, company_id bigint, listed boolean")
	dropDomains   = deleteOf("company_domains", "company_id")
)

// domains writes by what companies are found.
func (s *saving) domains() error {
	if gone := s.c.DomainsGone; len(gone) > 0 {
		s.write(-1, "", dropDomains, distinct(column(gone, func(id *gateway.CompanyID) int64 { return int64(*id) })))
	}
	if len(s.c.CompanyDomains) > 0 {
		fresh := sortedDomains(s.c.CompanyDomains)
		s.write(-1, "", insertDomains,
			column(fresh, func(d *gateway.CompanyDomain) string { return d.Domain }),
			column(fresh, func(d *gateway.CompanyDomain) int64 { return int64(d.CompanyID) }),
			column(fresh, func(d *gateway.CompanyDomain) bool { return d.Listed }))
	}
	return nil
}

// CompaniesByDomain implements gateway.Reader.
func (r *reader) CompaniesByDomain(ctx context.Context, w gateway.WorkspaceID, domains []string) (all []gateway.DomainCompany, err error) {
	domains = slices.DeleteFunc(named(domains), func(d string) bool { _, ok := gateway.NormalizeDomain(d); return !ok })
	err = r.view(ctx, "companies by domain", func(tx *sql.Tx) error {
		for part := range slices.Chunk(domains, chunk) {
			err := query(ctx, tx, func(rows *sql.Rows) error {
				var d gateway.DomainCompany
				err := rows.Scan(&d.Domain, &d.CompanyID, &d.Listed, &d.Name)
				all = append(all, d)
				return err
			}, `WITH `+wantedDomains(len(part))+` SELECT d.domain, d.company_id, d.listed, c.name FROM wanted w CROSS JOIN company_domains d CROSS JOIN companies c
				WHERE d.workspace_id = w.workspace_id AND d.domain = w.domain AND c.workspace_id = d.workspace_id AND c.id = d.company_id`, params(w, part)...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b gateway.DomainCompany) int {
		if c := strings.Compare(a.Domain, b.Domain); c != 0 || a.Listed == b.Listed {
			return cmp.Or(c, cmp.Compare(a.CompanyID, b.CompanyID))
		}
		if a.Listed {
			return -1
		}
		return 1
	})
	domain, n := "", 0
	return slices.DeleteFunc(all, func(d gateway.DomainCompany) bool {
		if d.Domain != domain {
			domain, n = d.Domain, 0
		}
		n++
		return n > foundByDomain
	}), nil
}

// wantedDomains is wanted for n domains: rows of workspace_id and domain.
func wantedDomains(n int) string {
	var b strings.Builder
	b.WriteString("wanted (workspace_id, domain) AS MATERIALIZED (VALUES (CAST($1 AS bigint), CAST($2 AS text))")
	for i := 1; i < n; i++ {
		b.WriteString(", ($1, $" + strconv.Itoa(i+2) + ")")
	}
	b.WriteByte(')')
	return b.String()
}

// What ContactEmails asks: contacts behind an id, and the memberships of all between two
// ids. On a database where the ids of workspaces lie between each other the second reads
// past those of others, once in all pages together.
const (
	emailsBehind = `SELECT id, COALESCE(email_key, '') FROM contacts WHERE workspace_id = $1 AND id > $2 AND merged_into = 0 ORDER BY id LIMIT $3`
	membersAmong = `SELECT contact_id, company_id, is_primary, until FROM memberships WHERE workspace_id = $1 AND contact_id > $2 AND contact_id <= $3`
)

// emailScan collects what both queries return.
type emailScan struct {
	w    gateway.WorkspaceID
	all  []gateway.ContactEmail
	byID map[gateway.ContactID]int
}

func (s *emailScan) contact(row scanner) error {
	var c gateway.ContactEmail
	var id int64
	err := row.Scan(&id, &c.EmailKey)
	c.ID = gateway.ContactID(id)
	s.byID[c.ID] = len(s.all)
	s.all = append(s.all, c)
	return err
}

func (s *emailScan) member(row scanner) error {
	m := gateway.Membership{WorkspaceID: s.w}
	var contact, company, until int64
	if err := row.Scan(&contact, &company, &m.Primary, &until); err != nil {
		return err
	}
	m.ContactID, m.CompanyID, m.Until = gateway.ContactID(contact), gateway.CompanyID(company), moment(until)
	if i, ok := s.byID[m.ContactID]; ok {
		s.all[i].Memberships = append(s.all[i].Memberships, m)
	}
	return nil
}

// ContactEmails implements gateway.Tx.
func (p plain) ContactEmails(w gateway.WorkspaceID, after gateway.ContactID, limit int) ([]gateway.ContactEmail, error) {
	if err := p.on.lock(w); err != nil {
		return nil, err
	}
	s := emailScan{w: w, byID: map[gateway.ContactID]int{}}
	if err := p.on.rows(s.contact, emailsBehind, int64(w), int64(after), bounded(limit)); err != nil || len(s.all) == 0 {
		return nil, err
	}
	err := p.on.rows(s.member, membersAmong, int64(w), int64(after), int64(s.all[len(s.all)-1].ID))
	return s.all, err
}

// ContactEmails implements gateway.Reader.
func (r *reader) ContactEmails(ctx context.Context, w gateway.WorkspaceID, after gateway.ContactID, limit int) ([]gateway.ContactEmail, error) {
	s := emailScan{w: w, byID: map[gateway.ContactID]int{}}
	err := r.view(ctx, "contacts' e-mails", func(tx *sql.Tx) error {
		err := query(ctx, tx, func(rows *sql.Rows) error { return s.contact(rows) }, emailsBehind, int64(w), int64(after), bounded(limit))
		if err != nil || len(s.all) == 0 {
			return err
		}
		return query(ctx, tx, func(rows *sql.Rows) error { return s.member(rows) }, membersAmong, int64(w), int64(after), int64(s.all[len(s.all)-1].ID))
	})
	return s.all, err
}
