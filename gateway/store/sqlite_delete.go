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
		`DELETE FROM memberships WHERE contact_id = ? AND workspace_id = ?`,
		`DELETE FROM merges WHERE winner_id = ? AND workspace_id = ?`,
		`DELETE FROM merges WHERE loser_id = ? AND workspace_id = ?`,
		`DELETE FROM contacts WHERE id = ? AND workspace_id = ?`,
	}
)

func (t *sqliteTx) deleteContact(ws gateway.WorkspaceID, id int64) error {
	for _, text := range portionsOfContact {
		s, err := t.w.stmt(text)
		if err != nil {
			return err
		}
		for {
			s.int(id)
			s.int(int64(ws))
			s.int(historyPortion)
			if err := s.run(); err != nil {
				return err
			}
			if t.w.engine.changes() < historyPortion {
				break
			}
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

// rowsOfCompanies are statements that take company and workspace; each is run for
// all companies before the next. The memberships that are not primary go first,
// so that what is found then for those who lose their primary company is not lost
// as well. Who loses a company is a changed contact, which no payload may pass for
// unchanged (see gateway.Contact): hence the fingerprint.
var rowsOfCompanies = []string{
	`UPDATE contacts SET fingerprint = 0 WHERE fingerprint <> 0 AND id IN (SELECT contact_id FROM memberships WHERE company_id = ? AND workspace_id = ? AND until = 0) AND workspace_id = ?2`,
	`DELETE FROM memberships WHERE company_id = ? AND workspace_id = ? AND until = 0 AND is_primary = 0`,
	`UPDATE memberships SET is_primary = 1 WHERE (contact_id, workspace_id, company_id, until) IN (
		SELECT m.contact_id, m.workspace_id, (
			SELECT o.company_id FROM memberships o WHERE o.contact_id = m.contact_id AND o.workspace_id = m.workspace_id AND o.until = 0 AND o.is_primary = 0
			ORDER BY o.since, o.company_id LIMIT 1
		), 0 FROM memberships m WHERE m.company_id = ? AND m.workspace_id = ? AND m.until = 0)`,
	`DELETE FROM memberships WHERE company_id = ? AND workspace_id = ? AND until = 0`,
	`DELETE FROM memberships WHERE company_id = ? AND workspace_id = ? AND until <> 0`,
}

// deleteCompanies deletes companies with their memberships. Whose primary company
// goes gets the oldest of their others in its place.
func (t *sqliteTx) deleteCompanies(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.DeletedCompanies) == 0 {
		return nil
	}
	ids := slices.Clone(c.DeletedCompanies)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	for _, text := range rowsOfCompanies {
		s, err := t.w.stmt(text)
		if err != nil {
			return err
		}
		for _, id := range ids {
			s.int(int64(id))
			s.int(int64(ws))
			if err := s.run(); err != nil {
				return err
			}
		}
	}
	s, err := t.w.stmt(`DELETE FROM companies WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return err
	}
	for _, id := range ids {
		s.int(int64(id))
		s.int(int64(ws))
		if err := s.run(); err != nil {
			return err
		}
		if t.w.engine.changes() == 0 {
			return notFound("company")
		}
	}
	return t.count(ws, 0, -len(ids))
}
