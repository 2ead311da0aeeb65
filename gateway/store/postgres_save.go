package store

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"civgate/gateway"
)

// unnest makes the text of a statement that takes its rows as one array for each
// column, a name and a type (text if there is none): "unnest($2::bigint[],
// $3::text[]) AS u (id, name)". $1 is left to the workspace.
func unnest(columns string) string {
	var arrays, names []string
	for i, column := range strings.Split(columns, ", ") {
		name, typ, _ := strings.Cut(column, " ")
		arrays = append(arrays, "$"+strconv.Itoa(i+2)+"::"+cmp.Or(typ, "text")+"[]")
		names = append(names, name)
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") AS u (" + strings.Join(names, ", ") + ")"
}

// given is unnest for a join: u also has the workspace, and a current that is 0,
// the until of current memberships, both of which the planner must take as they
// come (OFFSET 0 keeps the subquery whole). Knowing that they are $1 and 0 it
// would, while a table is small or its statistics are old, rather read all rows
// with them and look for each among those given, and keep to that plan when there
// are a million.
func given(columns string) string {
	return "(SELECT $1::bigint AS workspace_id, 0::bigint AS current, u.* FROM " + unnest(columns) + " OFFSET 0) AS u"
}

// insertRows makes an INSERT of rows. A column with a question mark behind its
// name is NULL for an empty text.
func insertRows(table, columns string) string {
	var names, values []string
	for _, column := range strings.Split(columns, ", ") {
		name, _, _ := strings.Cut(column, " ")
		name, optional := strings.CutSuffix(name, "?")
		names = append(names, name)
		if optional {
			values = append(values, "NULLIF(u."+name+", '')")
		} else {
			values = append(values, "u."+name)
		}
	}
	return "INSERT INTO " + table + " (workspace_id, " + strings.Join(names, ", ") + ") SELECT $1, " + strings.Join(values, ", ") +
		" FROM " + unnest(strings.ReplaceAll(columns, "?", ""))
}

// updateRows makes an UPDATE of the rows whose id is in the first column.
func updateRows(table, columns string) string {
	var sets []string
	for i, column := range strings.Split(columns, ", ") {
		name, _, _ := strings.Cut(column, " ")
		name, optional := strings.CutSuffix(name, "?")
		switch {
		case i == 0:
		case optional:
			sets = append(sets, name+" = NULLIF(u."+name+", '')")
		default:
			sets = append(sets, name+" = u."+name)
		}
	}
	return "UPDATE " + table + " AS t SET " + strings.Join(sets, ", ") + " FROM " + given(strings.ReplaceAll(columns, "?", "")) +
		" WHERE t.workspace_id = u.workspace_id AND t.id = u.id"
}

const (
	contactRows    = "id bigint, custom_id?, email?, email_key?, name?, phone_number?, status?, attributes, visitor_key?, fingerprint bigint, last_ip?, created_at bigint, updated_at bigint, merged_into bigint, unseen_at bigint"
	companyRows    = "id bigint, custom_id?, name, attributes, created_at bigint, updated_at bigint"
	newCompanyRows = companyRows + ", employees bigint"
)

var (
	stateOfContacts = "SELECT t.id, t.merged_into, COALESCE(t.custom_id, ''), COALESCE(t.name, ''), CASE WHEN t.name IS NULL THEN strpos(t.attributes, '\"name\":') > 0 ELSE false END FROM " + given("id bigint") + " JOIN contacts AS t ON t.workspace_id = u.workspace_id AND t.id = u.id"
	freeCustomIDs   = "UPDATE contacts AS t SET custom_id = NULL FROM " + given("id bigint") + " WHERE t.workspace_id = u.workspace_id AND t.id = u.id"
	insertContacts  = insertRows("contacts", contactRows)
	// Who was seen stays so.
	updateContacts    = strings.Replace(updateRows("contacts", contactRows), "unseen_at = u.unseen_at", "unseen_at = CASE WHEN t.unseen_at = 0 THEN 0 ELSE u.unseen_at END", 1)
	insertCompanies   = insertRows("companies", newCompanyRows)
	updateCompanies   = updateRows("companies", companyRows)
	insertDefs        = insertRows("attribute_defs", "entity, name, id bigint, label, type, is_integer boolean, choices, multiple boolean, description, created_at bigint, hidden boolean")
	insertKeys        = insertRows("visitor_keys", "contact_id bigint, created_at bigint, key")
	moveKeys          = "UPDATE visitor_keys AS t SET contact_id = u.contact_id FROM " + given("key, contact_id bigint") + " WHERE t.workspace_id = u.workspace_id AND t.key = u.key"
	followKeys        = "UPDATE visitor_keys AS t SET contact_id = u.winner FROM " + given("loser bigint, winner bigint") + " WHERE t.workspace_id = u.workspace_id AND t.contact_id = u.loser"
	insertMemberships = insertRows("memberships", "contact_id bigint, company_id bigint, until bigint, since bigint, source, is_primary boolean, made_by")
	endMemberships    = "UPDATE memberships AS t SET until = u.until, is_primary = u.is_primary FROM " +
		given("contact_id bigint, company_id bigint, until bigint, is_primary boolean") + currentMembership
	changeMemberships = "UPDATE memberships AS t SET is_primary = u.is_primary FROM " +
		given("contact_id bigint, company_id bigint, is_primary boolean") + currentMembership
	endsOfMemberships = "SELECT t.contact_id, t.company_id, t.until FROM " + given("contact_id bigint, company_id bigint, until bigint") +
		" JOIN memberships AS t ON t.workspace_id = u.workspace_id AND t.contact_id = u.contact_id AND t.company_id + 0 = u.company_id AND t.until >= u.until"
	insertPageViews = insertRows("page_views", "contact_id bigint, at bigint, visitor_key?, url?, path?, title?, referrer?")
	insertEvents    = insertRows("events", "contact_id bigint, at bigint, visitor_key?, kind, name, data?")
	insertNames     = insertRows("event_names", "kind, name, first_at bigint") + " ON CONFLICT DO NOTHING"
	insertMerges    = insertRows("merges", "at bigint, made_by, rule, winner_id bigint, loser_id bigint, contact_before, contact_after")
)

// The + 0 leaves the planner the key by contact only: in the index by company, which
// it takes for as good before it has statistics, it would read all the employees of
// a company to find one.
const currentMembership = " WHERE t.workspace_id = u.workspace_id AND t.contact_id = u.contact_id AND t.company_id + 0 = u.company_id AND t.until = u.current"

// column collects one value of each x, as an array for a statement.
func column[S ~[]X, X, V any](xs S, value func(x *X) V) []V {
	out := make([]V, len(xs))
	for i := range xs {
		out[i] = value(&xs[i])
	}
	return out
}

// saving is one call of Save: what it found out, and the statements that it
// sends at once.
type saving struct {
	*postgresTx
	ws    gateway.WorkspaceID
	c     *gateway.Changes
	batch pgx.Batch

	listed int     // by how many the contacts that are listed grow
	closed int     // companies that were deleted
	freed  []int64 // contacts whose custom id goes to another
	// renamed are changed contacts with other names
	renamed []int64
	ends    map[memberEnd]bool // of memberships that ended before
}

// memberEnd is what is unique of a membership.
type memberEnd struct {
	contact gateway.ContactID
	company gateway.CompanyID
	until   int64
}

// Save implements gateway.Tx: two round trips, one if nothing is there that has
// to be looked up first, and more if something is deleted. Rows are written in the
// order of their keys. What goes goes first, so that its identifiers are free for
// what comes; only keys that leave a deleted contact do so before.
func (t *postgresTx) Save(ws gateway.WorkspaceID, c *gateway.Changes) error {
	if err := t.lock(ws); err != nil {
		return err
	}
	t.grown += int64(len(c.NewContacts) + len(c.NewCompanies) + len(c.NewKeys) + len(c.NewMemberships))
	s := &saving{postgresTx: t, ws: ws, c: c, ends: map[memberEnd]bool{}}
	if err := s.lookUp(); err != nil {
		return s.failed(err)
	}
	for _, step := range []func() error{s.moveKeys, s.delete, s.defs, s.companies, s.domains, s.contacts, s.keys, s.memberships, s.tags, s.records, s.history, s.rest} {
		if err := step(); err != nil {
			return s.failed(err)
		}
	}
	return t.send(&s.batch)
}

// failed makes the whole transaction fail, as every other fault of Save does.
func (s *saving) failed(err error) error {
	if s.err == nil {
		s.err = err
	}
	return err
}

// write adds a statement with the workspace as its first parameter. It must
// touch want rows, or what is not there; want -1 is any number.
func (s *saving) write(want int, what, text string, args ...any) {
	q := s.batch.Queue(text, slices.Insert(args, 0, any(int64(s.ws)))...)
	if want >= 0 {
		q.Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() != int64(want) {
				return notFound(what)
			}
			return nil
		})
	}
}

// lookUp finds out what the statements to come need to know.
func (s *saving) lookUp() error {
	b := &pgx.Batch{}
	if changed := s.c.Contacts; len(changed) > 0 {
		after := make(map[gateway.ContactID]*gateway.Contact, len(changed))
		for _, x := range changed {
			after[x.ID] = x
		}
		ids := column(changed, func(x **gateway.Contact) int64 { return int64((*x).ID) })
		b.Queue(stateOfContacts, int64(s.ws), distinct(ids)).Query(func(rows pgx.Rows) error {
			found := 0
			err := each(rows, func(rows pgx.Rows) error {
				var id, merged int64
				var customID string
				var was nameBefore
				if err := rows.Scan(&id, &merged, &customID, &was.column, &was.inBag); err != nil {
					return err
				}
				found++
				x := after[gateway.ContactID(id)]
				was.merged = merged != 0
				if was.renamed(x, nameColumn(x)) {
					s.renamed = append(s.renamed, id)
				}
				if customID != "" && customID != x.CustomID {
					s.freed = append(s.freed, id)
				}
				switch {
				case merged == 0 && x.MergedInto != 0:
					s.listed--
				case merged != 0 && x.MergedInto == 0:
					s.listed++
				}
				return nil
			})
			if err == nil && found < len(after) {
				err = notFound("contact")
			}
			return err
		})
	}
	var ended []gateway.Membership
	ended = append(ended, s.c.EndedMemberships...)
	for i := range s.c.NewMemberships {
		if m := &s.c.NewMemberships[i]; !m.Current() {
			ended = append(ended, *m)
		}
	}
	if len(ended) > 0 {
		b.Queue(endsOfMemberships, int64(s.ws), column(ended, memberContact), column(ended, memberCompany),
			column(ended, func(m *gateway.Membership) int64 { return micros(m.Until) })).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				var e memberEnd
				err := rows.Scan(&e.contact, &e.company, &e.until)
				s.ends[e] = true
				return err
			})
		})
	}
	return s.send(b)
}

func memberContact(m *gateway.Membership) int64 { return int64(m.ContactID) }
func memberCompany(m *gateway.Membership) int64 { return int64(m.CompanyID) }

func (s *saving) defs() error {
	if defs := s.c.NewDefs; len(defs) > 0 {
		s.write(-1, "", insertDefs,
			column(defs, func(d *gateway.AttributeDef) string { return string(d.Entity) }),
			column(defs, func(d *gateway.AttributeDef) string { return d.Name }),
			column(defs, func(d *gateway.AttributeDef) int64 { return int64(d.ID) }),
			column(defs, func(d *gateway.AttributeDef) string { return d.Label }),
			column(defs, func(d *gateway.AttributeDef) string { return d.Type.String() }),
			column(defs, func(d *gateway.AttributeDef) bool { return d.Integer }),
			column(defs, func(d *gateway.AttributeDef) string { return choicesText(d.Choices) }),
			column(defs, func(d *gateway.AttributeDef) bool { return d.Multiple }),
			column(defs, func(d *gateway.AttributeDef) string { return d.Description }),
			column(defs, func(d *gateway.AttributeDef) int64 { return micros(d.CreatedAt) }),
			column(defs, func(d *gateway.AttributeDef) bool { return d.Hidden }))
	}
	return nil
}

func (s *saving) companies() error {
	if changed := sortedByID(s.c.Companies, companyID); len(changed) > 0 {
		s.write(len(changed), "company", updateCompanies, companyArrays(changed)...)
	}
	grown := employeesGrown(s.c)
	if fresh := sortedByID(s.c.NewCompanies, companyID); len(fresh) > 0 {
		s.write(-1, "", insertCompanies, append(companyArrays(fresh), column(fresh, func(x **gateway.Company) int64 { return grown[(*x).ID] }))...)
		for _, x := range fresh {
			delete(grown, x.ID)
		}
	}
	s.grow(grown)
	return nil
}

func (s *saving) records() error { return s.saveRecords(s.ws, s.c) }

func companyArrays(xs []*gateway.Company) []any {
	return []any{
		column(xs, func(x **gateway.Company) int64 { return int64((*x).ID) }),
		column(xs, func(x **gateway.Company) string { return (*x).CustomID }),
		column(xs, func(x **gateway.Company) string { return (*x).Name }),
		column(xs, func(x **gateway.Company) string { return string(appendBag(nil, (*x).Attributes)) }),
		column(xs, func(x **gateway.Company) int64 { return micros((*x).CreatedAt) }),
		column(xs, func(x **gateway.Company) int64 { return micros((*x).UpdatedAt) }),
	}
}

// contacts writes contacts and the counters of the workspace.
func (s *saving) contacts() error {
	// So that custom ids can change hands within a batch.
	if len(s.freed) > 0 {
		s.write(len(s.freed), "contact", freeCustomIDs, distinct(s.freed))
	}
	seen := seenContacts(s.c)
	if changed := sortedByID(s.c.Contacts, contactID); len(changed) > 0 {
		s.write(-1, "", updateContacts, contactArrays(changed, seen)...) // lookUp found them all
	}
	fresh := sortedByID(s.c.NewContacts, contactID)
	if len(fresh) > 0 {
		s.write(-1, "", insertContacts, contactArrays(fresh, seen)...)
		for _, x := range fresh {
			if x.MergedInto == 0 {
				s.listed++
			}
		}
	}
	for _, x := range fresh {
		if x.MergedInto == 0 && isNamed(x) {
			s.renamed = append(s.renamed, int64(x.ID))
		}
	}
	if len(s.renamed) > 0 {
		s.write(-1, "", noteNames, distinct(s.renamed))
	}
	if s.listed != 0 || len(s.c.NewCompanies) > 0 || s.closed > 0 {
		s.write(1, "workspace", `UPDATE workspaces SET contacts = contacts + $2, companies = companies + $3 WHERE workspace_id = $1`, s.listed, len(s.c.NewCompanies)-s.closed)
	}
	return nil
}

func contactArrays(xs []*gateway.Contact, seen map[gateway.ContactID]bool) []any {
	var texts [len(columnAttributes)][]string
	for i := range texts {
		texts[i] = make([]string, len(xs))
	}
	bags := make([]string, len(xs))
	var buf []byte
	for i, x := range xs {
		var plain [len(columnAttributes)]string
		plain, buf = splitBag(buf[:0], x.Attributes)
		for c := range plain {
			texts[c][i] = plain[c]
		}
		bags[i] = string(buf)
	}
	return []any{
		column(xs, func(x **gateway.Contact) int64 { return int64((*x).ID) }),
		column(xs, func(x **gateway.Contact) string { return (*x).CustomID }),
		column(xs, func(x **gateway.Contact) string {
			if (*x).Email == (*x).EmailKey {
				return ""
			}
			return (*x).Email
		}),
		column(xs, func(x **gateway.Contact) string { return (*x).EmailKey }),
		texts[0], texts[1], texts[2], bags,
		column(xs, func(x **gateway.Contact) string { return (*x).Key }),
		column(xs, func(x **gateway.Contact) int64 { return int64((*x).Fingerprint) }),
		column(xs, func(x **gateway.Contact) string { return (*x).LastIP }),
		column(xs, func(x **gateway.Contact) int64 { return micros((*x).CreatedAt) }),
		column(xs, func(x **gateway.Contact) int64 { return micros((*x).UpdatedAt) }),
		column(xs, func(x **gateway.Contact) int64 { return int64((*x).MergedInto) }),
		column(xs, func(x **gateway.Contact) int64 { return unseenAt(*x, seen) }),
	}
}

// moveKeys gives stored keys to other contacts.
func (s *saving) moveKeys() error {
	if moved := s.c.MovedKeys; len(moved) > 0 {
		s.write(len(moved), "visitor key", moveKeys,
			column(moved, func(k *gateway.VisitorKey) string { return k.Key }),
			column(moved, func(k *gateway.VisitorKey) int64 { return int64(k.ContactID) }))
	}
	return nil
}

func (s *saving) keys() error {
	if fresh := s.c.NewKeys; len(fresh) > 0 {
		s.write(-1, "", insertKeys,
			column(fresh, func(k *gateway.VisitorKey) int64 { return int64(k.ContactID) }),
			column(fresh, func(k *gateway.VisitorKey) int64 { return micros(k.CreatedAt) }),
			column(fresh, func(k *gateway.VisitorKey) string { return k.Key }))
	}
	// A merged contact has no keys: those that the batch did not meet follow.
	merged := map[gateway.ContactID]gateway.ContactID{}
	for _, x := range s.c.Contacts {
		if x.MergedInto != 0 {
			merged[x.ID] = x.MergedInto
		}
	}
	var losers, winners []int64
	for loser, winner := range merged {
		for steps := 0; merged[winner] != 0 && steps < len(merged); steps++ {
			winner = merged[winner]
		}
		losers, winners = append(losers, int64(loser)), append(winners, int64(winner))
	}
	if len(losers) > 0 {
		s.write(-1, "", followKeys, losers, winners)
	}
	return nil
}

func (s *saving) memberships() error {
	// Those that end get an end that no other one of the pair has.
	free := func(m *gateway.Membership) (int64, error) {
		e := memberEnd{m.ContactID, m.CompanyID, micros(m.Until)}
		if e.until == 0 {
			return 0, gateway.Errorf(gateway.CodeInternal, "an ended membership has no end")
		}
		for s.ends[e] {
			e.until++
		}
		s.ends[e] = true
		return e.until, nil
	}
	if ended := s.c.EndedMemberships; len(ended) > 0 {
		until := make([]int64, len(ended))
		for i := range ended {
			var err error
			if until[i], err = free(&ended[i]); err != nil {
				return err
			}
		}
		s.write(len(ended), "membership", endMemberships, column(ended, memberContact), column(ended, memberCompany), until, column(ended, memberPrimary))
	}
	if changed := s.c.ChangedMemberships; len(changed) > 0 {
		s.write(len(changed), "membership", changeMemberships, column(changed, memberContact), column(changed, memberCompany), column(changed, memberPrimary))
	}
	if len(s.c.NewMemberships) == 0 {
		return nil
	}
	fresh := slices.Clone(s.c.NewMemberships)
	slices.SortStableFunc(fresh, func(a, b gateway.Membership) int {
		return cmp.Or(cmp.Compare(a.ContactID, b.ContactID), cmp.Compare(a.CompanyID, b.CompanyID))
	})
	until := make([]int64, len(fresh))
	for i := range fresh {
		if fresh[i].Current() {
			continue
		}
		var err error
		if until[i], err = free(&fresh[i]); err != nil {
			return err
		}
	}
	s.write(-1, "", insertMemberships, column(fresh, memberContact), column(fresh, memberCompany), until,
		column(fresh, func(m *gateway.Membership) int64 { return micros(m.Since) }),
		column(fresh, func(m *gateway.Membership) string { return string(m.Source) }),
		column(fresh, memberPrimary),
		column(fresh, func(m *gateway.Membership) string { return m.By }))
	return nil
}

func memberPrimary(m *gateway.Membership) bool { return m.Primary }

func (s *saving) history() error {
	if len(s.c.PageViews) > 0 {
		views := make([]*gateway.PageView, len(s.c.PageViews))
		for i := range views {
			views[i] = &s.c.PageViews[i]
		}
		slices.SortStableFunc(views, func(a, b *gateway.PageView) int { return cmp.Compare(a.ContactID, b.ContactID) })
		s.write(-1, "", insertPageViews,
			column(views, func(v **gateway.PageView) int64 { return int64((*v).ContactID) }),
			column(views, func(v **gateway.PageView) int64 { return micros((*v).At) }),
			column(views, func(v **gateway.PageView) string { return (*v).Key }),
			column(views, func(v **gateway.PageView) string { return (*v).URL }),
			column(views, func(v **gateway.PageView) string { return (*v).Path }),
			column(views, func(v **gateway.PageView) string { return (*v).Title }),
			column(views, func(v **gateway.PageView) string { return (*v).Referrer }))
	}
	if len(s.c.Events) > 0 {
		events := slices.Clone(s.c.Events)
		slices.SortStableFunc(events, func(a, b gateway.Event) int { return cmp.Compare(a.ContactID, b.ContactID) })
		s.write(-1, "", insertEvents,
			column(events, func(e *gateway.Event) int64 { return int64(e.ContactID) }),
			column(events, func(e *gateway.Event) int64 { return micros(e.At) }),
			column(events, func(e *gateway.Event) string { return e.Key }),
			column(events, func(e *gateway.Event) string { return string(e.Kind) }),
			column(events, func(e *gateway.Event) string { return e.Name }),
			column(events, func(e *gateway.Event) string { return e.Data }))
		if missing := s.w.names.missing(s.ws, s.noted, s.c.Events); len(missing) > 0 {
			s.write(-1, "", insertNames,
				column(missing, func(e *namedEvent) string { return string(e.kind) }),
				column(missing, func(e *namedEvent) string { return e.name }),
				column(missing, func(e *namedEvent) int64 { return e.at }))
			for i := range missing {
				s.noted.note(s.ws, missing[i].kind, missing[i].name)
			}
		}
	}
	if merges := s.c.Merges; len(merges) > 0 {
		s.write(-1, "", insertMerges,
			column(merges, func(m *gateway.Merge) int64 { return micros(m.At) }),
			column(merges, func(m *gateway.Merge) string { return m.By }),
			column(merges, func(m *gateway.Merge) string { return m.Rule }),
			column(merges, func(m *gateway.Merge) int64 { return int64(m.WinnerID) }),
			column(merges, func(m *gateway.Merge) int64 { return int64(m.LoserID) }),
			column(merges, func(m *gateway.Merge) string { return m.Before }),
			column(merges, func(m *gateway.Merge) string { return m.After }))
	}
	return nil
}

func (s *saving) rest() error {
	if s.c.Visits != 0 {
		s.write(-1, "", `INSERT INTO visits (workspace_id, day, count) VALUES ($1, $2, $3) ON CONFLICT (workspace_id, day) DO UPDATE SET count = visits.count + excluded.count`,
			dayOf(s.c.VisitsAt), s.c.Visits)
	}
	for i := range s.c.Quarantine {
		q := &s.c.Quarantine[i]
		body := q.Body
		if body == nil {
			body = []byte{} // and not NULL
		}
		s.write(-1, "", `INSERT INTO quarantine (workspace_id, at, body, reason) VALUES ($1, $2, $3, $4)`, micros(q.At), body, q.Reason)
	}
	return nil
}
