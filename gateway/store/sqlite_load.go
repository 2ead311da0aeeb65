package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"civgate/gateway"
)

// ContactKeys implements gateway.Tx.
func (t *sqliteTx) ContactKeys(ws gateway.WorkspaceID, id gateway.ContactID) ([]gateway.VisitorKey, error) {
	s, err := t.w.stmt(`SELECT key, created_at FROM visitor_keys WHERE workspace_id = ? AND contact_id = ? ORDER BY created_at, key`)
	if err != nil {
		return nil, translate("contact keys", err)
	}
	s.int(int64(ws))
	s.int(int64(id))
	var keys []gateway.VisitorKey
	for {
		row, err := s.step()
		if err != nil || !row {
			return keys, translate("contact keys", err)
		}
		keys = append(keys, gateway.VisitorKey{Key: s.columnText(0), ContactID: id, CreatedAt: moment(s.columnInt(1))})
	}
}

const (
	contactColumns = `id, workspace_id, custom_id, email, email_key, name, phone_number, status, attributes, visitor_key, fingerprint, last_ip, created_at, updated_at, merged_into`
	companyColumns = `id, workspace_id, custom_id, name, attributes, created_at, updated_at`
)

// Load implements gateway.Tx. All contacts found are followed to those that
// they are merged into.
func (t *sqliteTx) Load(ws gateway.WorkspaceID, refs gateway.Refs) (*gateway.Loaded, error) {
	l, err := t.load(ws, refs)
	if err != nil {
		return nil, translate("load", err)
	}
	return l, nil
}

func (t *sqliteTx) load(ws gateway.WorkspaceID, refs gateway.Refs) (*gateway.Loaded, error) {
	l := &gateway.Loaded{Keys: map[string]gateway.ContactID{}}
	var contacts, companies []int64
	for _, id := range refs.Contacts {
		contacts = append(contacts, int64(id))
	}
	for _, id := range refs.CompanyIDs {
		companies = append(companies, int64(id))
	}
	wanted := make([]identifier, 0, len(refs.Keys)+len(refs.CustomIDs)+len(refs.EmailKeys))
	wanted = appendIdentifiers(wanted, kindKey, refs.Keys)
	wanted = appendIdentifiers(wanted, kindCustomID, refs.CustomIDs)
	wanted = appendIdentifiers(wanted, kindEmail, refs.EmailKeys)
	err := t.findContacts(ws, wanted, func(i identifier, id int64) {
		if i.kind == kindKey {
			l.Keys[i.value] = gateway.ContactID(id)
		}
		contacts = append(contacts, id)
	})
	if err != nil {
		return nil, err
	}
	if companies, err = t.findCompanies(ws, companies, refs.CompanyCustomIDs, `SELECT id FROM companies WHERE workspace_id = ? AND custom_id = ?`); err != nil {
		return nil, err
	}
	if companies, err = t.findCompanies(ws, companies, refs.CompanyNames, `SELECT id FROM companies WHERE workspace_id = ? AND name = ? AND custom_id IS NULL`); err != nil {
		return nil, err
	}
	if companies, err = t.findDomains(ws, companies, refs.CompanyDomains, l); err != nil {
		return nil, err
	}
	if err := t.loadContacts(ws, contacts, l); err != nil {
		return nil, err
	}
	if err := t.loadMemberships(ws, l); err != nil {
		return nil, err
	}
	if err := t.loadCompanies(ws, companies, l); err != nil {
		return nil, err
	}
	if err := t.loadRecords(ws, &refs, l); err != nil {
		return nil, err
	}
	err = t.rows(func(row scanner) error { return row.Scan(&l.Dropped) }, droppedAttributes, int64(ws))
	if err != nil || !refs.Defs {
		return l, err
	}
	return l, t.loadDefs(ws, l)
}

// identifier is what a contact is found by.
type identifier struct {
	value   string
	kind    int8
	contact gateway.ContactID // when it is to be written
}

// appendIdentifiers leaves out empty values: no contact is found by them.
func appendIdentifiers(to []identifier, kind int8, values []string) []identifier {
	for _, v := range values {
		if v != "" {
			to = append(to, identifier{value: v, kind: kind})
		}
	}
	return to
}

// sortIdentifiers brings them into the order of their tree, so that neighbours
// are searched and inserted after each other.
func sortIdentifiers(all []identifier) {
	slices.SortFunc(all, func(a, b identifier) int {
		if c := strings.Compare(a.value, b.value); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.contact, b.contact))
	})
}

// findContacts calls found for every contact that has one of the identifiers.
func (t *sqliteTx) findContacts(ws gateway.WorkspaceID, wanted []identifier, found func(i identifier, id int64)) error {
	if len(wanted) == 0 {
		return nil
	}
	sortIdentifiers(wanted)
	s, err := t.w.stmt(`SELECT contact_id FROM identifiers WHERE value = ? AND kind = ? AND workspace_id = ?`)
	if err != nil {
		return err
	}
	for _, i := range slices.Compact(wanted) {
		s.text(i.value)
		s.int(int64(i.kind))
		s.int(int64(ws))
		for {
			row, err := s.step()
			if err != nil {
				return err
			}
			if !row {
				break
			}
			found(i, s.columnInt(0))
		}
	}
	return nil
}

// findCompanies appends the ids of the companies that a statement finds by one
// of the texts.
func (t *sqliteTx) findCompanies(ws gateway.WorkspaceID, ids []int64, texts []string, sql string) ([]int64, error) {
	if len(texts) == 0 {
		return ids, nil
	}
	texts = slices.Clone(texts)
	slices.Sort(texts)
	s, err := t.w.stmt(sql)
	if err != nil {
		return nil, err
	}
	for _, text := range slices.Compact(texts) {
		s.int(int64(ws))
		s.text(text)
		for {
			row, err := s.step()
			if err != nil {
				return nil, err
			}
			if !row {
				break
			}
			ids = append(ids, s.columnInt(0))
		}
	}
	return ids, nil
}

func (t *sqliteTx) loadContacts(ws gateway.WorkspaceID, ids []int64, l *gateway.Loaded) error {
	s, err := t.w.stmt(`SELECT ` + contactColumns + ` FROM contacts WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return err
	}
	seen := make(map[int64]bool, len(ids))
	for len(ids) > 0 {
		slices.Sort(ids)
		var survivors []int64
		for _, id := range slices.Compact(ids) {
			if seen[id] {
				continue
			}
			seen[id] = true
			s.int(id)
			s.int(int64(ws))
			row, err := s.step()
			if err != nil {
				return err
			}
			if !row {
				continue
			}
			c, err := scanContact(s)
			s.reset()
			if err != nil {
				return err
			}
			l.Contacts = append(l.Contacts, c)
			if c.MergedInto != 0 {
				survivors = append(survivors, int64(c.MergedInto))
			}
		}
		ids = survivors
	}
	return nil
}

func scanContact(s *stmt) (*gateway.Contact, error) {
	bag, err := joinBag(s.columnText(8), [...]string{s.columnText(5), s.columnText(6), s.columnText(7)})
	if err != nil {
		return nil, fmt.Errorf("contact %d: %w", s.columnInt(0), err)
	}
	return &gateway.Contact{
		ID:          gateway.ContactID(s.columnInt(0)),
		WorkspaceID: gateway.WorkspaceID(s.columnInt(1)),
		CustomID:    s.columnText(2),
		Email:       cmp.Or(s.columnText(3), s.columnText(4)),
		EmailKey:    s.columnText(4),
		Attributes:  bag,
		Key:         s.columnText(9),
		Fingerprint: uint64(s.columnInt(10)),
		LastIP:      s.columnText(11),
		CreatedAt:   moment(s.columnInt(12)),
		UpdatedAt:   moment(s.columnInt(13)),
		MergedInto:  gateway.ContactID(s.columnInt(14)),
	}, nil
}

func (t *sqliteTx) loadMemberships(ws gateway.WorkspaceID, l *gateway.Loaded) error {
	s, err := t.w.stmt(`SELECT company_id, since, source, is_primary, made_by FROM memberships WHERE workspace_id = ? AND contact_id = ? AND until = 0`)
	if err != nil {
		return err
	}
	for _, c := range l.Contacts {
		s.int(int64(ws))
		s.int(int64(c.ID))
		for {
			row, err := s.step()
			if err != nil {
				return err
			}
			if !row {
				break
			}
			l.Memberships = append(l.Memberships, gateway.Membership{
				WorkspaceID: ws,
				ContactID:   c.ID,
				CompanyID:   gateway.CompanyID(s.columnInt(0)),
				Since:       moment(s.columnInt(1)),
				Source:      gateway.Source(s.columnText(2)),
				Primary:     s.columnInt(3) != 0,
				By:          s.columnText(4),
			})
		}
	}
	return nil
}

func (t *sqliteTx) loadCompanies(ws gateway.WorkspaceID, ids []int64, l *gateway.Loaded) error {
	s, err := t.w.stmt(`SELECT ` + companyColumns + ` FROM companies WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return err
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		s.int(id)
		s.int(int64(ws))
		row, err := s.step()
		if err != nil {
			return err
		}
		if !row {
			continue
		}
		bag, err := joinBag(s.columnText(4), [len(columnAttributes)]string{})
		if err == nil {
			l.Companies = append(l.Companies, &gateway.Company{
				ID:          gateway.CompanyID(id),
				WorkspaceID: ws,
				CustomID:    s.columnText(2),
				Name:        s.columnText(3),
				Attributes:  bag,
				CreatedAt:   moment(s.columnInt(5)),
				UpdatedAt:   moment(s.columnInt(6)),
			})
		}
		s.reset()
		if err != nil {
			return fmt.Errorf("company %d: %w", id, err)
		}
	}
	return nil
}

// loadDefs loads all definitions of the workspace.
func (t *sqliteTx) loadDefs(ws gateway.WorkspaceID, l *gateway.Loaded) error {
	return t.rows(func(row scanner) error {
		d, err := scanDef(row, ws)
		l.Defs = append(l.Defs, d)
		return err
	}, selectDefs, int64(ws))
}
