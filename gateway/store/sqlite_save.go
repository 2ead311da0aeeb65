package store

import (
	"cmp"
	"slices"
	"strings"

	"civgate/gateway"
)

// table names the columns that a bulk insert fills.
type table struct {
	sql [len(rowCounts)]string
}

// rowCounts are the sizes in which rows are inserted, largest first: few enough to keep
// their statements prepared.
var rowCounts = [...]int{64, 8, 1}

// newTable makes the statements for a table. A conflict ends the whole
// transaction (OR ROLLBACK): the engine then need not copy each page that a
// statement changes in order to undo that statement alone.
func newTable(name, conflict string, columns ...string) *table {
	t := &table{}
	row := "(?" + strings.Repeat(",?", len(columns)-1) + ")"
	for i, n := range rowCounts {
		t.sql[i] = "INSERT OR ROLLBACK INTO " + name + " (" + strings.Join(columns, ", ") + ") VALUES " +
			row + strings.Repeat(","+row, n-1) + conflict
	}
	return t
}

var (
	contactsTable = newTable("contacts", "", "workspace_id", "id", "custom_id", "email", "email_key", "name", "phone_number", "status",
		"attributes", "visitor_key", "fingerprint", "last_ip", "updated_at", "created_at", "merged_into", "unseen_at")
	identifiersTable = newTable("identifiers", "", "workspace_id", "kind", "value", "slot", "contact_id")
	keysTable        = newTable("visitor_keys", "", "workspace_id", "contact_id", "created_at", "key")
	companiesTable   = newTable("companies", "", "workspace_id", "id", "custom_id", "name", "attributes", "created_at", "updated_at", "employees")
	membershipsTable = newTable("memberships", "", "workspace_id", "contact_id", "company_id", "until", "since", "source", "is_primary", "made_by")
	defsTable        = newTable("attribute_defs", "", "workspace_id", "entity", "name", "id", "label", "type", "is_integer", "choices", "multiple", "description", "created_at", "hidden")
	pageViewsTable   = newTable("page_views", "", "workspace_id", "contact_id", "at", "visitor_key", "url", "path", "title", "referrer")
	eventsTable      = newTable("events", "", "workspace_id", "contact_id", "at", "visitor_key", "kind", "name", "data")
	eventNamesTable  = newTable("event_names", " ON CONFLICT DO NOTHING", "workspace_id", "kind", "name", "first_at")
	nameWordsTable   = newTable("name_words", "", "workspace_id", "contact_id", "word", "block")
	namesDueTable    = newTable("names_due", " ON CONFLICT DO NOTHING", "workspace_id", "contact_id")
	messagesTable    = newTable("messages", " ON CONFLICT DO NOTHING", "workspace_id", "id", "claimed_at")
)

// insert inserts n rows; row binds the columns of row i.
func (w *sqliteWriter) insert(t *table, n int, row func(s *stmt, i int)) error {
	for i := 0; i < n; {
		size := 0
		for rowCounts[size] > n-i {
			size++
		}
		s, err := w.stmt(t.sql[size])
		if err != nil {
			return err
		}
		for end := i + rowCounts[size]; i < end; i++ {
			row(s, i)
		}
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// Save implements gateway.Tx. Slices of c are sorted by the key of their table,
// because neighbours are cheap to insert after each other. What goes goes first,
// so that its identifiers are free for what comes; only keys that leave a deleted
// contact do so before.
func (t *sqliteTx) Save(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if t.err != nil {
		return t.err
	}
	for _, step := range []func(gateway.WorkspaceID, *gateway.Changes) error{
		t.moveKeys, t.deleteContacts, t.deleteCompanies, t.saveDefs, t.saveCompanies, t.saveDomains, t.saveContacts, t.saveMemberships, t.saveTags, t.saveRecords, t.saveHistory, t.saveRest,
	} {
		if err := step(ws, c); err != nil {
			return t.failed("save", err)
		}
	}
	return nil
}

func (t *sqliteTx) saveDefs(ws gateway.WorkspaceID, c *gateway.Changes) error {
	return t.w.insert(defsTable, len(c.NewDefs), func(s *stmt, i int) {
		d := &c.NewDefs[i]
		s.int(int64(ws))
		s.text(string(d.Entity))
		s.text(d.Name)
		s.int(int64(d.ID))
		s.text(d.Label)
		s.text(d.Type.String())
		s.bool(d.Integer)
		s.text(choicesText(d.Choices))
		s.bool(d.Multiple)
		s.text(d.Description)
		s.int(micros(d.CreatedAt))
		s.bool(d.Hidden)
	})
}

func (t *sqliteTx) saveCompanies(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.Companies) > 0 {
		s, err := t.w.stmt(`UPDATE OR ROLLBACK companies SET custom_id = ?, name = ?, attributes = ?, created_at = ?, updated_at = ? WHERE id = ? AND workspace_id = ?`)
		if err != nil {
			return err
		}
		for _, x := range sortedByID(c.Companies, companyID) {
			s.optional(x.CustomID)
			s.text(x.Name)
			t.bag(s, x.Attributes)
			s.int(micros(x.CreatedAt))
			s.int(micros(x.UpdatedAt))
			s.int(int64(x.ID))
			s.int(int64(ws))
			if err := s.run(); err != nil {
				return err
			}
			if t.w.engine.changes() == 0 {
				return notFound("company")
			}
		}
	}
	grown := employeesGrown(c)
	fresh := sortedByID(c.NewCompanies, companyID)
	err := t.w.insert(companiesTable, len(fresh), func(s *stmt, i int) {
		x := fresh[i]
		s.int(int64(ws))
		s.int(int64(x.ID))
		s.optional(x.CustomID)
		s.text(x.Name)
		t.bag(s, x.Attributes)
		s.int(micros(x.CreatedAt))
		s.int(micros(x.UpdatedAt))
		s.int(grown[x.ID])
		delete(grown, x.ID)
	})
	if err != nil {
		return err
	}
	if err := t.grow(ws, grown); err != nil {
		return err
	}
	return t.count(ws, 0, len(fresh))
}

// bag binds a company's attributes: all of them.
func (t *sqliteTx) bag(s *stmt, a gateway.Attributes) {
	t.buf = appendBag(t.buf[:0], a)
	s.textBytes(t.buf)
}

// count adds to the counters of the workspace.
func (t *sqliteTx) count(ws gateway.WorkspaceID, contacts, companies int) error {
	if contacts == 0 && companies == 0 {
		return nil
	}
	s, err := t.w.stmt(`UPDATE workspaces SET contacts = contacts + ?, companies = companies + ? WHERE workspace_id = ?`)
	if err != nil {
		return err
	}
	s.int(int64(contacts))
	s.int(int64(companies))
	s.int(int64(ws))
	if err := s.run(); err != nil {
		return err
	}
	if t.w.engine.changes() == 0 {
		return notFound("workspace")
	}
	return nil
}

// saveContacts writes contacts, visitor keys, and the identifiers of both.
func (t *sqliteTx) saveContacts(ws gateway.WorkspaceID, c *gateway.Changes) error {
	identifiers := make([]identifier, 0, 3*len(c.NewContacts)+len(c.NewKeys))
	seen := seenContacts(c)
	listed := 0
	var renamed []int64
	for _, x := range sortedByID(c.Contacts, contactID) {
		n, named, err := t.updateContact(ws, x, unseenAt(x, seen), &identifiers)
		if err != nil {
			return err
		}
		if listed += n; named {
			renamed = append(renamed, int64(x.ID))
		}
	}
	fresh := sortedByID(c.NewContacts, contactID)
	err := t.w.insert(contactsTable, len(fresh), func(s *stmt, i int) {
		x := fresh[i]
		s.int(int64(ws))
		s.int(int64(x.ID))
		_, phone := t.contact(s, x)
		s.int(micros(x.CreatedAt))
		s.int(int64(x.MergedInto))
		s.int(unseenAt(x, seen))
		if x.MergedInto == 0 {
			listed++
		}
		for _, id := range [...]identifier{{x.CustomID, kindCustomID, x.ID}, {x.EmailKey, kindEmail, x.ID}, {phone, kindPhone, x.ID}} {
			if id.value != "" {
				identifiers = append(identifiers, id)
			}
		}
	})
	if err != nil {
		return err
	}
	if err := t.noteNames(ws, fresh, renamed); err != nil {
		return err
	}
	if err := t.count(ws, listed, 0); err != nil {
		return err
	}
	if err := t.saveKeys(ws, c); err != nil {
		return err
	}
	for i := range c.NewKeys {
		identifiers = append(identifiers, identifier{c.NewKeys[i].Key, kindKey, c.NewKeys[i].ContactID})
	}
	sortIdentifiers(identifiers)
	return t.w.insert(identifiersTable, len(identifiers), func(s *stmt, i int) {
		x := &identifiers[i]
		s.int(int64(ws))
		s.int(int64(x.kind))
		s.text(x.value)
		s.int(x.slot())
		s.int(int64(x.contact))
	})
}

// slot is 0 for what only one contact can have, so that the key of the table
// keeps a second one out.
func (i *identifier) slot() int64 {
	if i.kind == kindKey || i.kind == kindCustomID {
		return 0
	}
	return int64(i.contact)
}

// contact binds the columns from custom_id to updated_at (created_at stands behind it,
// as it is in an index and seldom changes) and returns those of the name and of the phone
// number by which the contact is found.
func (t *sqliteTx) contact(s *stmt, x *gateway.Contact) (name, phone string) {
	s.optional(x.CustomID)
	if x.Email == x.EmailKey {
		s.null()
	} else {
		s.optional(x.Email)
	}
	s.optional(x.EmailKey)
	texts, object := splitBag(t.buf[:0], x.Attributes)
	t.buf = object
	for _, text := range texts {
		s.optional(text)
	}
	s.textBytes(object)
	s.optional(x.Key)
	s.int(int64(x.Fingerprint))
	s.optional(x.LastIP)
	s.int(micros(x.UpdatedAt))
	return texts[0], texts[1]
}

// updateContact writes a changed contact, takes away the identifiers that it
// has no longer and appends those that are new. It returns by how many the
// listed contacts grew, -1 when it was merged, and whether it was renamed. unseen is when
// it counts as last seen if it had no page view before.
//
// New identifiers are written after all changed contacts gave up theirs, so
// that custom ids can change hands within a batch.
func (t *sqliteTx) updateContact(ws gateway.WorkspaceID, x *gateway.Contact, unseen int64, identifiers *[]identifier) (listed int, renamed bool, err error) {
	s, err := t.w.stmt(`SELECT merged_into, custom_id, email_key, phone_number, unseen_at, created_at, name,
		CASE WHEN name IS NULL THEN instr(attributes, '"name":') ELSE 0 END FROM contacts WHERE id = ? AND workspace_id = ?`)
	if err != nil {
		return 0, false, err
	}
	s.int(int64(x.ID))
	s.int(int64(ws))
	found, err := s.step()
	if err != nil {
		return 0, false, err
	}
	if !found {
		return 0, false, notFound("contact")
	}
	merged, old, wasUnseen := s.columnInt(0), [...]string{s.columnText(1), s.columnText(2), s.columnText(3)}, s.columnInt(4) != 0
	recreated := s.columnInt(5) != micros(x.CreatedAt)
	was := nameBefore{column: s.columnText(6), inBag: s.columnInt(7) != 0, merged: merged != 0}
	s.reset()

	const columns = `UPDATE OR ROLLBACK contacts SET custom_id = ?, email = ?, email_key = ?, name = ?, phone_number = ?, status = ?, attributes = ?,
		visitor_key = ?, fingerprint = ?, last_ip = ?, updated_at = ?`
	if !wasUnseen {
		unseen = 0 // who was seen stays so
	}
	indexed := merged != int64(x.MergedInto) || wasUnseen || recreated
	text := columns + ` WHERE id = ? AND workspace_id = ?` // touches no index
	if indexed {
		text = columns + `, created_at = ?, merged_into = ?, unseen_at = ? WHERE id = ? AND workspace_id = ?`
	}
	if s, err = t.w.stmt(text); err != nil {
		return 0, false, err
	}
	name, phone := t.contact(s, x)
	renamed = was.renamed(x, name)
	if indexed {
		s.int(micros(x.CreatedAt))
		s.int(int64(x.MergedInto))
		s.int(unseen)
	}
	s.int(int64(x.ID))
	s.int(int64(ws))
	if err := s.run(); err != nil {
		return 0, false, err
	}
	for n, i := range [...]identifier{{x.CustomID, kindCustomID, x.ID}, {x.EmailKey, kindEmail, x.ID}, {phone, kindPhone, x.ID}} {
		if i.value == old[n] {
			continue
		}
		if old[n] != "" {
			if err := t.dropIdentifier(ws, identifier{old[n], i.kind, x.ID}); err != nil {
				return 0, false, err
			}
		}
		if i.value != "" {
			*identifiers = append(*identifiers, i)
		}
	}
	switch {
	case merged == 0 && x.MergedInto != 0:
		return -1, renamed, nil
	case merged != 0 && x.MergedInto == 0:
		return 1, renamed, nil
	}
	return 0, renamed, nil
}

func (t *sqliteTx) dropIdentifier(ws gateway.WorkspaceID, i identifier) error {
	s, err := t.w.stmt(`DELETE FROM identifiers WHERE value = ? AND kind = ? AND workspace_id = ? AND slot = ?`)
	if err != nil {
		return err
	}
	s.text(i.value)
	s.int(int64(i.kind))
	s.int(int64(ws))
	s.int(i.slot())
	return s.run()
}

// moveKeys gives stored keys to other contacts.
func (t *sqliteTx) moveKeys(ws gateway.WorkspaceID, c *gateway.Changes) error {
	for i := range c.MovedKeys {
		if err := t.moveKey(ws, c.MovedKeys[i].Key, c.MovedKeys[i].ContactID); err != nil {
			return err
		}
	}
	return nil
}

// saveKeys writes new visitor keys, whose identifiers are left to saveContacts,
// and moves those of merged contacts.
func (t *sqliteTx) saveKeys(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.NewKeys) > 0 {
		keys := make([]*gateway.VisitorKey, len(c.NewKeys))
		for i := range keys {
			keys[i] = &c.NewKeys[i]
		}
		slices.SortFunc(keys, func(a, b *gateway.VisitorKey) int { return cmp.Compare(a.ContactID, b.ContactID) })
		err := t.w.insert(keysTable, len(keys), func(s *stmt, i int) {
			k := keys[i]
			s.int(int64(ws))
			s.int(int64(k.ContactID))
			s.int(micros(k.CreatedAt))
			s.text(k.Key)
		})
		if err != nil {
			return err
		}
	}
	// A merged contact has no keys: those that the batch did not meet follow.
	for _, x := range c.Contacts {
		if x.MergedInto == 0 {
			continue
		}
		keys, err := t.ContactKeys(ws, x.ID)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := t.moveKey(ws, k.Key, x.MergedInto); err != nil {
				return err
			}
		}
	}
	return nil
}

// moveKey makes a stored key one of another contact.
func (t *sqliteTx) moveKey(ws gateway.WorkspaceID, key string, to gateway.ContactID) error {
	from := int64(-1)
	err := t.findContacts(ws, []identifier{{value: key, kind: kindKey}}, func(_ identifier, id int64) { from = id })
	if err != nil {
		return err
	}
	if from < 0 {
		return notFound("visitor key")
	}
	s, err := t.w.stmt(`UPDATE identifiers SET contact_id = ? WHERE value = ? AND kind = ? AND workspace_id = ? AND slot = 0`)
	if err != nil {
		return err
	}
	s.int(int64(to))
	s.text(key)
	s.int(kindKey)
	s.int(int64(ws))
	if err := s.run(); err != nil {
		return err
	}
	if s, err = t.w.stmt(`UPDATE visitor_keys SET contact_id = ? WHERE contact_id = ? AND workspace_id = ? AND key = ?`); err != nil {
		return err
	}
	s.int(int64(to))
	s.int(from)
	s.int(int64(ws))
	s.text(key)
	return s.run()
}

func (t *sqliteTx) saveMemberships(ws gateway.WorkspaceID, c *gateway.Changes) error {
	for i := range c.EndedMemberships {
		if err := t.endMembership(ws, &c.EndedMemberships[i]); err != nil {
			return err
		}
	}
	for i := range c.ChangedMemberships {
		m := &c.ChangedMemberships[i]
		s, err := t.w.stmt(`UPDATE memberships SET is_primary = ? WHERE workspace_id = ? AND contact_id = ? AND company_id = ? AND until = 0`)
		if err != nil {
			return err
		}
		s.bool(m.Primary)
		s.int(int64(ws))
		s.int(int64(m.ContactID))
		s.int(int64(m.CompanyID))
		if err := s.run(); err != nil {
			return err
		}
		if t.w.engine.changes() == 0 {
			return notFound("membership")
		}
	}
	fresh := make([]*gateway.Membership, 0, len(c.NewMemberships))
	for i := range c.NewMemberships {
		m := &c.NewMemberships[i]
		if m.Current() {
			fresh = append(fresh, m)
			continue
		}
		until, err := t.freeEnd(ws, m)
		if err != nil {
			return err
		}
		err = t.w.insert(membershipsTable, 1, func(s *stmt, _ int) { bindMembership(s, ws, m, until) })
		if err != nil {
			return err
		}
	}
	slices.SortFunc(fresh, func(a, b *gateway.Membership) int {
		return cmp.Or(cmp.Compare(a.ContactID, b.ContactID), cmp.Compare(a.CompanyID, b.CompanyID))
	})
	return t.w.insert(membershipsTable, len(fresh), func(s *stmt, i int) { bindMembership(s, ws, fresh[i], 0) })
}

func bindMembership(s *stmt, ws gateway.WorkspaceID, m *gateway.Membership, until int64) {
	s.int(int64(ws))
	s.int(int64(m.ContactID))
	s.int(int64(m.CompanyID))
	s.int(until)
	s.int(micros(m.Since))
	s.text(string(m.Source))
	s.bool(m.Primary)
	s.text(m.By)
}

// endMembership ends the current membership of the pair.
func (t *sqliteTx) endMembership(ws gateway.WorkspaceID, m *gateway.Membership) error {
	until, err := t.freeEnd(ws, m)
	if err != nil {
		return err
	}
	s, err := t.w.stmt(`UPDATE memberships SET until = ?, is_primary = ? WHERE workspace_id = ? AND contact_id = ? AND company_id = ? AND until = 0`)
	if err != nil {
		return err
	}
	s.int(until)
	s.bool(m.Primary)
	s.int(int64(ws))
	s.int(int64(m.ContactID))
	s.int(int64(m.CompanyID))
	if err := s.run(); err != nil {
		return err
	}
	if t.w.engine.changes() == 0 {
		return notFound("membership")
	}
	return nil
}

// freeEnd is the end of an ended membership, or the next microsecond at which
// no other one of the pair ended.
func (t *sqliteTx) freeEnd(ws gateway.WorkspaceID, m *gateway.Membership) (int64, error) {
	until := micros(m.Until)
	if until == 0 {
		return 0, gateway.Errorf(gateway.CodeInternal, "an ended membership has no end")
	}
	s, err := t.w.stmt(`SELECT 1 FROM memberships WHERE workspace_id = ? AND contact_id = ? AND company_id = ? AND until = ?`)
	if err != nil {
		return 0, err
	}
	for ; ; until++ {
		s.int(int64(ws))
		s.int(int64(m.ContactID))
		s.int(int64(m.CompanyID))
		s.int(until)
		taken, err := s.step()
		if err != nil || !taken {
			return until, err
		}
		s.reset()
	}
}

func (t *sqliteTx) saveHistory(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if len(c.PageViews) > 0 {
		views := make([]*gateway.PageView, len(c.PageViews))
		for i := range views {
			views[i] = &c.PageViews[i]
		}
		slices.SortStableFunc(views, func(a, b *gateway.PageView) int { return cmp.Compare(a.ContactID, b.ContactID) })
		err := t.w.insert(pageViewsTable, len(views), func(s *stmt, i int) {
			v := views[i]
			s.int(int64(ws))
			s.int(int64(v.ContactID))
			s.int(micros(v.At))
			s.optional(v.Key)
			s.optional(v.URL)
			s.optional(v.Path)
			s.optional(v.Title)
			s.optional(v.Referrer)
		})
		if err != nil {
			return err
		}
	}
	if len(c.Events) > 0 {
		events := slices.Clone(c.Events)
		slices.SortStableFunc(events, func(a, b gateway.Event) int { return cmp.Compare(a.ContactID, b.ContactID) })
		err := t.w.insert(eventsTable, len(events), func(s *stmt, i int) {
			bindEvent(s, ws, &events[i])
		})
		if err != nil {
			return err
		}
		if err := t.saveEventNames(ws, t.w.names.missing(ws, t.noted, c.Events)); err != nil {
			return err
		}
	}
	for i := range c.Merges {
		m := &c.Merges[i]
		s, err := t.w.stmt(`INSERT INTO merges (workspace_id, at, made_by, rule, winner_id, loser_id, contact_before, contact_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		s.int(int64(ws))
		s.int(micros(m.At))
		s.text(m.By)
		s.text(m.Rule)
		s.int(int64(m.WinnerID))
		s.int(int64(m.LoserID))
		s.text(m.Before)
		s.text(m.After)
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

// saveEventNames writes names that may be in the table already.
func (t *sqliteTx) saveEventNames(ws gateway.WorkspaceID, missing []namedEvent) error {
	err := t.w.insert(eventNamesTable, len(missing), func(s *stmt, i int) {
		s.int(int64(ws))
		s.text(string(missing[i].kind))
		s.text(missing[i].name)
		s.int(missing[i].at)
	})
	if err != nil {
		return err
	}
	for i := range missing {
		t.noted.note(ws, missing[i].kind, missing[i].name)
	}
	return nil
}

func bindEvent(s *stmt, ws gateway.WorkspaceID, e *gateway.Event) {
	s.int(int64(ws))
	s.int(int64(e.ContactID))
	s.int(micros(e.At))
	s.optional(e.Key)
	s.text(string(e.Kind))
	s.text(e.Name)
	s.optional(e.Data)
}

func (t *sqliteTx) saveRest(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if c.Visits != 0 {
		s, err := t.w.stmt(`INSERT INTO visits (workspace_id, day, count) VALUES (?, ?, ?) ON CONFLICT (workspace_id, day) DO UPDATE SET count = count + excluded.count`)
		if err != nil {
			return err
		}
		s.int(int64(ws))
		s.int(dayOf(c.VisitsAt))
		s.int(c.Visits)
		if err := s.run(); err != nil {
			return err
		}
	}
	for i := range c.Quarantine {
		q := &c.Quarantine[i]
		s, err := t.w.stmt(`INSERT INTO quarantine (workspace_id, at, body, reason) VALUES (?, ?, ?, ?)`)
		if err != nil {
			return err
		}
		s.int(int64(ws))
		s.int(micros(q.At))
		s.blob(q.Body)
		s.text(q.Reason)
		if err := s.run(); err != nil {
			return err
		}
	}
	return nil
}

func contactID(c *gateway.Contact) int64 { return int64(c.ID) }

func companyID(c *gateway.Company) int64 { return int64(c.ID) }

// sortedByID returns xs in the order of their ids. They nearly always come so.
func sortedByID[T any](xs []*T, id func(*T) int64) []*T {
	byID := func(a, b *T) int { return cmp.Compare(id(a), id(b)) }
	if slices.IsSortedFunc(xs, byID) {
		return xs
	}
	xs = slices.Clone(xs)
	slices.SortFunc(xs, byID)
	return xs
}
