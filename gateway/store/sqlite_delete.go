package store

import (
	"slices"

	"civgate/gateway"
)

// historyPortion is how many rows of a contact's history one statement deletes:
// the engine keeps a list of them, and a contact's history has no bound.
const historyPortion = 10_000

// deleteContacts deletes contacts, those merged into them, and all that is
// theirs.
func (t *sqliteTx) deleteContacts(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.DeletedContacts) == 0 {
		return nil
	}
	ids, listed, err := t.withAliases(ws, c.DeletedContacts)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.deleteContact(ws, id); err != nil {
			return err
		}
	}
	return t.count(ws, -listed, 0)
}

// withAliases adds to contacts those that were merged into them, by any number of
// steps, each once and in the order of their ids; listed is how many of them are
// not merged. Contacts that are not there are a CodeNotFound.
func (t *sqliteTx) withAliases(ws gateway.WorkspaceID, contacts []gateway.ContactID) (ids []int64, listed int, err error) {
	merged, err := t.w.stmt(`SELECT merged_into FROM contacts WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return nil, 0, err
	}
	aliases, err := t.w.stmt(`SELECT id FROM contacts WHERE merged_into = ? AND merged_into <> 0 AND workspace_id = ?`)
	if err != nil {
		return nil, 0, err
	}
	seen := make(map[int64]bool, len(contacts))
	for _, id := range contacts {
		if seen[int64(id)] {
			continue
		}
		seen[int64(id)] = true
		ids = append(ids, int64(id))
	}
	for i, named := 0, len(ids); i < len(ids); i++ { // ids grows
		if i < named {
			merged.int(ids[i])
			merged.int(int64(ws))
			found, err := merged.step()
			if err != nil {
				return nil, 0, err
			}
			if !found {
				return nil, 0, notFound("contact")
			}
			if merged.columnInt(0) == 0 {
				listed++
			}
			merged.reset()
		}
		aliases.int(ids[i])
		aliases.int(int64(ws))
		for {
			row, err := aliases.step()
			if err != nil {
				return nil, 0, err
			}
			if !row {
				break
			}
			if id := aliases.columnInt(0); !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	slices.Sort(ids)
	return ids, listed, nil
}

// What belongs to a contact, in an order in which nothing is left without what it
// refers to. Each takes contact and workspace.
var (
	portionsOfContact = []string{
		`DELETE FROM page_views WHERE id IN (SELECT id FROM page_views WHERE contact_id = ? AND workspace_id = ? LIMIT ?)`,
		`DELETE FROM events WHERE id IN (SELECT id FROM events WHERE contact_id = ? AND workspace_id = ? LIMIT ?)`,
	}
	rowsOfContact = []string{
		`DELETE FROM identifiers WHERE value IN (SELECT key FROM visitor_keys WHERE contact_id = ? AND workspace_id = ?) AND kind = 0 AND slot = 0 AND workspace_id = ?2`,
		`DELETE FROM visitor_keys WHERE contact_id = ? AND workspace_id = ?`,
		`UPDATE companies SET employees = employees - 1 WHERE id IN (SELECT company_id FROM memberships WHERE contact_id = ? AND workspace_id = ? AND until = 0) AND workspace_id = ?2`,
		`DELETE FROM memberships WHERE contact_id = ? AND workspace_id = ?`,
		`UPDATE inspections SET contact_id = 0, detail = '` + deletedDetail + `' WHERE id IN (SELECT id FROM inspections WHERE contact_id = ? AND workspace_id = ?) AND workspace_id = ?2`,
		`DELETE FROM tagged WHERE subject_id = ? AND workspace_id = ? AND entity = 'contact'`,
		`DELETE FROM listed WHERE contact_id = ? AND workspace_id = ?`,
		`DELETE FROM name_words WHERE contact_id = ? AND workspace_id = ?`,
		`DELETE FROM names_due WHERE contact_id = ? AND workspace_id = ?`,
		`DELETE FROM merges WHERE winner_id = ? AND workspace_id = ?`,
		`DELETE FROM merges WHERE loser_id = ? AND workspace_id = ?`,
		`DELETE FROM contacts WHERE id = ? AND workspace_id = ?`,
	}
)

func (t *sqliteTx) deleteContact(ws gateway.WorkspaceID, id int64) error {
	for _, text := range portionsOfContact {
		if err := t.inPortions([]string{text}, id, ws, historyPortion); err != nil {
			return err
		}
	}
	s, err := t.w.stmt(`SELECT custom_id, email_key, phone_number FROM contacts WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return err
	}
	s.int(id)
	s.int(int64(ws))
	found, err := s.step()
	if err != nil {
		return err
	}
	if !found {
		return notFound("contact")
	}
	values := [...]string{s.columnText(0), s.columnText(1), s.columnText(2)}
	s.reset()
	for i, kind := range [...]int8{kindCustomID, kindEmail, kindPhone} {
		if values[i] == "" {
			continue
		}
		if err := t.dropIdentifier(ws, identifier{values[i], kind, gateway.ContactID(id)}); err != nil {
			return err
		}
	}
	for _, text := range rowsOfContact {
		s, err := t.w.stmt(text)
		if err != nil {
			return err
		}
		s.int(id)
		s.int(int64(ws))
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// employeePortion is how many employees of a company are taken at a time: the
// engine keeps what such a statement finds in memory.
const employeePortion = 10_000

// someEmployees are the next of a company's, found anew by each of the statements
// for a portion. It takes company, workspace and employeePortion.
const someEmployees = ` FROM memberships WHERE company_id = ? AND workspace_id = ? AND until = 0 ORDER BY since, contact_id LIMIT ?`

// employeePortions are the statements for a portion of a company's employees. The
// last one ends them. Who loses a company is a changed contact, which no payload
// may pass for unchanged (see gateway.Contact): hence the fingerprint.
var employeePortions = []string{
	// By id (+): by the index of a workspace's contacts it would read all of them.
	`UPDATE contacts SET fingerprint = 0 WHERE fingerprint <> 0 AND id IN (SELECT contact_id` + someEmployees + `) AND +workspace_id = ?2`,
	`UPDATE memberships SET is_primary = 1 WHERE (contact_id, workspace_id, company_id, until) IN (
		SELECT m.contact_id, m.workspace_id, (
			SELECT o.company_id FROM memberships o WHERE o.contact_id = m.contact_id AND o.workspace_id = m.workspace_id AND o.until = 0 AND o.is_primary = 0
			ORDER BY o.since, o.company_id LIMIT 1
		), 0 FROM (SELECT contact_id, workspace_id, is_primary` + someEmployees + `) AS m WHERE m.is_primary = 1)`,
	`DELETE FROM memberships WHERE (contact_id, workspace_id, company_id, until) IN (SELECT contact_id, workspace_id, company_id, until` + someEmployees + `)`,
}

// rowsOfCompany is what else belongs to a company, which comes last.
var rowsOfCompany = []string{
	`DELETE FROM tagged WHERE subject_id = ? AND workspace_id = ? AND entity = 'company'`,
	`DELETE FROM company_domains WHERE company_id = ? AND workspace_id = ?`,
	`DELETE FROM companies WHERE id = ? AND workspace_id = ?`,
}

// formerPortion deletes ended memberships of a company.
const formerPortion = `DELETE FROM memberships WHERE (contact_id, workspace_id, company_id, until) IN (
	SELECT contact_id, workspace_id, company_id, until FROM memberships WHERE company_id = ? AND workspace_id = ? AND until <> 0 LIMIT ?)`

// deleteCompanies deletes companies with their memberships. Whose primary company
// goes gets the oldest of their others in its place; should that one go as well,
// the next when its turn comes.
func (t *sqliteTx) deleteCompanies(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.DeletedCompanies) == 0 {
		return nil
	}
	ids := slices.Clone(c.DeletedCompanies)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, id := range ids {
		if err := t.inPortions(employeePortions, int64(id), ws, employeePortion); err != nil {
			return err
		}
		if err := t.inPortions([]string{formerPortion}, int64(id), ws, employeePortion); err != nil {
			return err
		}
		for _, text := range rowsOfCompany {
			s, err := t.w.stmt(text)
			if err != nil {
				return err
			}
			s.int(int64(id))
			s.int(int64(ws))
			if err := s.run(); err != nil {
				return err
			}
		}
		if t.w.engine.changes() == 0 {
			return notFound("company")
		}
	}
	return t.count(ws, 0, -len(ids))
}

// inPortions runs statements that take an id, the workspace and a number of rows,
// again and again until the last of them changes fewer rows than that.
func (t *sqliteTx) inPortions(texts []string, id int64, ws gateway.WorkspaceID, rows int64) error {
	for {
		for _, text := range texts {
			s, err := t.w.stmt(text)
			if err != nil {
				return err
			}
			s.int(id)
			s.int(int64(ws))
			s.int(rows)
			if err := s.run(); err != nil {
				return err
			}
		}
		if t.w.engine.changes() < rows {
			return nil
		}
	}
}
