package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"civgate/gateway"
)

// postgresTx is a gateway.Tx.
type postgresTx struct {
	plain
	w   *postgresWriter
	ctx context.Context // of the whole transaction
	tx  pgx.Tx
	// locked are the workspaces that no other transaction uses until this one
	// ends.
	locked []gateway.WorkspaceID
	blocks int64 // blocks of ids to take next
	grown  int64 // rows with keys that were added
	noted  namesNoted
	// err is the first failure. The server takes nothing more after it.
	err   error
	stale bool // the connection leads to the wrong server
}

// fault notes and translates the failure of a statement.
func (t *postgresTx) fault(err error) error {
	switch {
	case err == nil:
		return nil
	case t.ctx.Err() != nil:
		err = t.ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		err = unavailable("the database does not answer, try again", err)
	case pgCode(err) == "" && t.tx.Conn().IsClosed():
		// The driver closes a connection that it cannot go on with.
		err = unavailable(cannotServe, err)
	default:
		t.stale = t.stale || pgCode(err) == pgReadOnly
		err = translate("postgresql", err)
	}
	if t.err == nil {
		t.err = err
	}
	return err
}

// bound bounds the wait for an answer.
func (t *postgresTx) bound() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, answerTimeout)
}

// exec runs one statement and returns how many rows it touched.
func (t *postgresTx) exec(text string, args ...any) (int64, error) {
	if t.err != nil {
		return 0, t.err
	}
	ctx, cancel := t.bound()
	defer cancel()
	tag, err := t.tx.Exec(ctx, text, args...)
	return tag.RowsAffected(), t.fault(err)
}

// row reads the one value of the one row that a statement returns.
func (t *postgresTx) row(to any, text string, args ...any) error {
	return t.scan([]any{to}, text, args...)
}

// scan reads the one row that a statement returns; pgx.ErrNoRows if there is
// none, after which the transaction goes on.
func (t *postgresTx) scan(to []any, text string, args ...any) error {
	if t.err != nil {
		return t.err
	}
	ctx, cancel := t.bound()
	defer cancel()
	err := t.tx.QueryRow(ctx, text, args...).Scan(to...)
	if errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	return t.fault(err)
}

// query calls scan for each row that a statement returns.
func (t *postgresTx) query(scan func(rows pgx.Rows) error, text string, args ...any) error {
	if t.err != nil {
		return t.err
	}
	ctx, cancel := t.bound()
	defer cancel()
	rows, err := t.tx.Query(ctx, text, args...)
	if err == nil {
		err = each(rows, scan)
	}
	return t.fault(err)
}

// each calls scan for each row and closes rows.
func each(rows pgx.Rows, scan func(rows pgx.Rows) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// send runs the statements of a batch one after the other, without waiting for
// an answer between them.
func (t *postgresTx) send(b *pgx.Batch) error {
	if t.err != nil || b.Len() == 0 {
		return t.err
	}
	ctx, cancel := t.bound()
	defer cancel()
	return t.fault(t.tx.SendBatch(ctx, b).Close())
}

// lock keeps other transactions from the workspace until this one ends. It is
// a statement of its own, so that those after it see all that the transaction
// before has committed.
func (t *postgresTx) lock(ws gateway.WorkspaceID) error {
	if n := len(t.locked); n > 0 && t.locked[n-1] == ws || slices.Contains(t.locked, ws) {
		return t.err
	}
	if len(t.locked) == maxWorkspaces {
		// Not the fault of any one payload: the applier splits the batch.
		return t.fault(gateway.Errorf(gateway.CodeInternal, "more than %d workspaces in one transaction", maxWorkspaces))
	}
	// More workspaces than 32 bits can name would share locks, no more.
	if _, err := t.exec(`SELECT pg_advisory_xact_lock($1, $2)`, lockWorkspace, int32(ws)); err != nil {
		return err
	}
	t.locked = append(t.locked, ws)
	return nil
}

// InboxPosition implements gateway.Tx: it locks the node's row.
func (t *postgresTx) InboxPosition(node string) (seq int64, err error) {
	const locked = `SELECT seq FROM inbox_positions WHERE node = $1 FOR UPDATE`
	if err = t.row(&seq, locked, node); !errors.Is(err, pgx.ErrNoRows) {
		return seq, err
	}
	// A row that is not there cannot be locked. Whoever comes second waits here
	// for the first to commit.
	if _, err := t.exec(`INSERT INTO inbox_positions (node, seq) VALUES ($1, 0) ON CONFLICT (node) DO NOTHING`, node); err != nil {
		return 0, err
	}
	return seq, t.row(&seq, locked, node)
}

// SetInboxPosition implements gateway.Tx.
func (t *postgresTx) SetInboxPosition(node string, seq int64) error {
	_, err := t.exec(`INSERT INTO inbox_positions (node, seq) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET seq = excluded.seq`, node, seq)
	return err
}

// ClaimMessages implements gateway.Tx: one statement, which answers with the
// repeats only.
func (t *postgresTx) ClaimMessages(ws gateway.WorkspaceID, ids []gateway.MessageID, at time.Time) (map[gateway.MessageID]bool, error) {
	if len(ids) == 0 {
		return nil, t.err
	}
	t.grown += int64(len(ids))
	if err := t.lock(ws); err != nil {
		return nil, err
	}
	raw := make([][16]byte, len(ids))
	for i, id := range ids {
		raw[i] = id
	}
	var repeats map[gateway.MessageID]bool
	err := t.query(func(rows pgx.Rows) error {
		var id [16]byte
		if err := rows.Scan(&id); err != nil {
			return err
		}
		if repeats == nil {
			repeats = map[gateway.MessageID]bool{}
		}
		repeats[id] = true
		return nil
	}, `WITH claimed AS (
			INSERT INTO messages (workspace_id, id, claimed_at) SELECT $1, id, $3 FROM unnest($2::uuid[]) AS u (id)
			ON CONFLICT DO NOTHING RETURNING id
		)
		SELECT id FROM unnest($2::uuid[]) AS u (id) EXCEPT SELECT id FROM claimed`, int64(ws), raw, micros(at))
	if err != nil {
		return nil, fmt.Errorf("claim messages: %w", err)
	}
	return repeats, nil
}

// Confirm implements gateway.Tx.
func (t *postgresTx) Confirm(ws gateway.WorkspaceID, refs []gateway.Ref, ids []gateway.Identity) error {
	var keys, customIDs []string
	for i := range refs {
		switch {
		case ids[i].ContactID == 0 || refs[i].Value == "":
		case refs[i].Kind == gateway.RefKey:
			keys = append(keys, refs[i].Value)
		default:
			customIDs = append(customIDs, refs[i].Value)
		}
	}
	if len(keys)+len(customIDs) > 0 {
		if err := t.lock(ws); err != nil {
			return err
		}
	}
	type state struct {
		gateway.Identity
		merged gateway.ContactID
	}
	owners := [2]map[string]gateway.ContactID{{}, {}} // by kind of ref
	found := map[gateway.ContactID]state{}
	var merged []int64
	read := func(rows pgx.Rows) error {
		var kind int32
		var value string
		var id, fingerprint, into int64
		if err := rows.Scan(&kind, &value, &id, &fingerprint, &into); err != nil {
			return err
		}
		s := state{gateway.Identity{ContactID: gateway.ContactID(id), Fingerprint: uint64(fingerprint)}, gateway.ContactID(into)}
		if kind < int32(len(owners)) {
			owners[kind][value] = s.ContactID
		}
		if _, twice := found[s.ContactID]; !twice && s.merged != 0 {
			merged = append(merged, int64(s.merged))
		}
		found[s.ContactID] = s
		return nil
	}
	if len(keys)+len(customIDs) > 0 {
		err := t.query(read, confirmRefs,
			int64(ws), distinct(keys), distinct(customIDs))
		if err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
	}
	// A merge leaves nothing behind that names the loser, as a rule.
	for len(merged) > 0 {
		next := merged
		merged = nil
		err := t.query(read, confirmIDs, int64(ws), distinct(next))
		if err != nil {
			return fmt.Errorf("confirm: %w", err)
		}
	}
	for i := range refs {
		if ids[i].ContactID == 0 {
			continue
		}
		kind := 0
		if refs[i].Kind != gateway.RefKey {
			kind = 1
		}
		s := found[owners[kind][refs[i].Value]]
		for steps := 0; s.merged != 0 && steps < len(found); steps++ {
			s = found[s.merged]
		}
		if s.merged != 0 {
			s = state{} // a circle: nobody
		}
		ids[i] = s.Identity
	}
	return t.err
}

// distinct sorts xs and takes out what is there twice.
func distinct[T string | int64](xs []T) []T {
	slices.Sort(xs)
	return slices.Compact(xs)
}

// named is distinct(xs) without the empty text, in a slice of its own: nothing
// is found by it.
func named(xs []string) []string {
	out := make([]string, 0, len(xs))
	for _, x := range xs {
		if x != "" {
			out = append(out, x)
		}
	}
	return distinct(out)
}

// What Load and Confirm ask.
var (
	findKeys      = "SELECT k.key, k.contact_id FROM " + given("key") + " JOIN visitor_keys k ON k.workspace_id = u.workspace_id AND k.key = u.key"
	findCustomIDs = "SELECT c.id FROM " + given("custom_id") + " JOIN contacts c ON c.workspace_id = u.workspace_id AND c.custom_id = u.custom_id"
	findEmails    = "SELECT c.id FROM " + given("email_key") + " JOIN contacts c ON c.workspace_id = u.workspace_id AND c.email_key = u.email_key"
	contactsByID  = contactSelect + " JOIN " + given("id bigint") + " ON c.workspace_id = u.workspace_id AND c.id = u.id"
	membershipsOf = "SELECT m.contact_id, m.company_id, m.since, m.source, m.is_primary, m.made_by FROM " + given("id bigint") +
		" JOIN memberships m ON m.workspace_id = u.workspace_id AND m.contact_id = u.id AND m.until = u.current"

	companiesByID       = companySelect + " JOIN " + given("id bigint") + " ON c.workspace_id = u.workspace_id AND c.id = u.id"
	companiesByCustomID = companySelect + " JOIN " + given("custom_id") + " ON c.workspace_id = u.workspace_id AND c.custom_id = u.custom_id"
	companiesByName     = companySelect + " JOIN " + given("prefix") + " ON c.workspace_id = u.workspace_id AND (CASE WHEN c.custom_id IS NULL THEN left(c.name, 256) END) = u.prefix"

	confirmRefs = "SELECT 0, u.key, c.id, c.fingerprint, c.merged_into FROM " + given("key") +
		" JOIN visitor_keys k ON k.workspace_id = u.workspace_id AND k.key = u.key" +
		" JOIN contacts c ON c.workspace_id = u.workspace_id AND c.id = k.contact_id" +
		" UNION ALL SELECT 1, c.custom_id, c.id, c.fingerprint, c.merged_into FROM " + strings.ReplaceAll(given("custom_id"), "$2", "$3") +
		" JOIN contacts c ON c.workspace_id = u.workspace_id AND c.custom_id = u.custom_id"
	confirmIDs = "SELECT 2, '', c.id, c.fingerprint, c.merged_into FROM " + given("id bigint") + " JOIN contacts c ON c.workspace_id = u.workspace_id AND c.id = u.id"
)

// Load implements gateway.Tx. All contacts found are followed to those that
// they are merged into.
func (t *postgresTx) Load(ws gateway.WorkspaceID, refs gateway.Refs) (*gateway.Loaded, error) {
	if err := t.lock(ws); err != nil {
		return nil, err
	}
	l, err := t.load(ws, refs)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	return l, nil
}

// companyPrefix is how many characters of its name a company is found by; the
// rest is compared here.
const companyPrefix = 256

func (t *postgresTx) load(ws gateway.WorkspaceID, refs gateway.Refs) (*gateway.Loaded, error) {
	l := &gateway.Loaded{Keys: map[string]gateway.ContactID{}}
	b := &pgx.Batch{}
	var contacts []int64
	for _, id := range refs.Contacts {
		contacts = append(contacts, int64(id))
	}
	if keys := named(refs.Keys); len(keys) > 0 {
		b.Queue(findKeys, int64(ws), keys).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				var key string
				var id int64
				err := rows.Scan(&key, &id)
				l.Keys[key] = gateway.ContactID(id)
				contacts = append(contacts, id)
				return err
			})
		})
	}
	byText := func(text string, values []string) {
		if len(values) == 0 {
			return
		}
		b.Queue(text, int64(ws), values).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				var id int64
				err := rows.Scan(&id)
				contacts = append(contacts, id)
				return err
			})
		})
	}
	byText(findCustomIDs, named(refs.CustomIDs))
	byText(findEmails, named(refs.EmailKeys))
	queueCompanies(b, ws, refs, l)
	b.Queue(droppedAttributes, int64(ws)).Query(func(rows pgx.Rows) error {
		return each(rows, func(rows pgx.Rows) error { return rows.Scan(&l.Dropped) })
	})
	if refs.Defs {
		b.Queue(selectDefs, int64(ws)).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				d, err := scanDef(rows, ws)
				l.Defs = append(l.Defs, d)
				return err
			})
		})
	}
	if err := t.send(b); err != nil {
		return nil, err
	}
	if err := t.loadRecords(ws, &refs, l); err != nil {
		return nil, err
	}
	return l, t.loadContacts(ws, contacts, l)
}

// queueCompanies asks for the companies that refs name.
func queueCompanies(b *pgx.Batch, ws gateway.WorkspaceID, refs gateway.Refs, l *gateway.Loaded) {
	seen := map[gateway.CompanyID]bool{}
	find := func(text string, values any, wanted func(c *gateway.Company) bool) {
		b.Queue(text, int64(ws), values).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				c := &gateway.Company{WorkspaceID: ws}
				var attributes string
				var created, updated int64
				err := rows.Scan(&c.ID, &c.CustomID, &c.Name, &attributes, &created, &updated)
				if err != nil || seen[c.ID] || wanted != nil && !wanted(c) {
					return err
				}
				seen[c.ID] = true
				c.CreatedAt, c.UpdatedAt = moment(created), moment(updated)
				if c.Attributes, err = joinBag(attributes, [len(columnAttributes)]string{}); err != nil {
					return fmt.Errorf("company %d: %w", c.ID, err)
				}
				l.Companies = append(l.Companies, c)
				return nil
			})
		})
	}
	if len(refs.CompanyIDs) > 0 {
		ids := make([]int64, len(refs.CompanyIDs))
		for i, id := range refs.CompanyIDs {
			ids[i] = int64(id)
		}
		find(companiesByID, distinct(ids), nil)
	}
	if customIDs := named(refs.CompanyCustomIDs); len(customIDs) > 0 {
		find(companiesByCustomID, customIDs, nil)
	}
	if len(refs.CompanyNames) > 0 {
		names := make(map[string]bool, len(refs.CompanyNames))
		prefixes := make([]string, 0, len(refs.CompanyNames))
		for _, name := range refs.CompanyNames {
			names[name] = true
			prefixes = append(prefixes, characters(name, companyPrefix))
		}
		find(companiesByName, distinct(prefixes), func(c *gateway.Company) bool { return names[c.Name] })
	}
	if domains := named(refs.CompanyDomains); len(domains) > 0 {
		find(companiesByDomain, domains, nil)
		b.Queue(domainsOfCompanies, int64(ws), domains).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				var d gateway.CompanyDomain
				err := rows.Scan(&d.Domain, (*int64)(&d.CompanyID), &d.Listed)
				l.CompanyDomains = append(l.CompanyDomains, d)
				return err
			})
		})
	}
}

// characters is the first n characters of s.
func characters(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// loadContacts loads contacts with their memberships, and those that they are
// merged into.
func (t *postgresTx) loadContacts(ws gateway.WorkspaceID, ids []int64, l *gateway.Loaded) error {
	seen := make(map[gateway.ContactID]bool, len(ids))
	for len(ids) > 0 {
		ids = distinct(ids)
		var survivors []int64
		b := &pgx.Batch{}
		b.Queue(contactsByID, int64(ws), ids).Query(func(rows pgx.Rows) error {
			row := newContactRow()
			return each(rows, func(rows pgx.Rows) error {
				c := new(gateway.Contact)
				if err := row.scan(rows, ws, c); err != nil {
					return err
				}
				seen[c.ID] = true
				l.Contacts = append(l.Contacts, c)
				if c.MergedInto != 0 && !seen[c.MergedInto] {
					survivors = append(survivors, int64(c.MergedInto))
				}
				return nil
			})
		})
		b.Queue(membershipsOf, int64(ws), ids).Query(func(rows pgx.Rows) error {
			return each(rows, func(rows pgx.Rows) error {
				m := gateway.Membership{WorkspaceID: ws}
				var contact, company, since int64
				err := rows.Scan(&contact, &company, &since, (*string)(&m.Source), &m.Primary, &m.By)
				m.ContactID, m.CompanyID, m.Since = gateway.ContactID(contact), gateway.CompanyID(company), moment(since)
				l.Memberships = append(l.Memberships, m)
				return err
			})
		})
		if err := t.send(b); err != nil {
			return err
		}
		ids = slices.DeleteFunc(survivors, func(id int64) bool { return seen[gateway.ContactID(id)] })
	}
	return nil
}

// ContactKeys implements gateway.Tx.
func (t *postgresTx) ContactKeys(ws gateway.WorkspaceID, id gateway.ContactID) (keys []gateway.VisitorKey, err error) {
	if err := t.lock(ws); err != nil {
		return nil, err
	}
	err = t.query(func(rows pgx.Rows) error {
		k := gateway.VisitorKey{ContactID: id}
		var created int64
		err := rows.Scan(&k.Key, &created)
		k.CreatedAt = moment(created)
		keys = append(keys, k)
		return err
	}, `SELECT key, created_at FROM visitor_keys WHERE workspace_id = $1 AND contact_id = $2 ORDER BY created_at, key`, int64(ws), int64(id))
	return keys, err
}

// AddEvent implements gateway.Tx.
func (t *postgresTx) AddEvent(ws gateway.WorkspaceID, e gateway.Event) (id int64, first bool, err error) {
	if err := t.lock(ws); err != nil {
		return 0, false, err
	}
	text := addEvent
	missing := t.w.names.missing(ws, t.noted, []gateway.Event{e})
	if len(missing) > 0 {
		text = addNamedEvent
	}
	err = t.scan([]any{&id, &first}, text, int64(ws), int64(e.ContactID), micros(e.At), e.Key, string(e.Kind), e.Name, e.Data)
	if err != nil {
		return 0, false, fmt.Errorf("add event: %w", err)
	}
	if len(missing) > 0 {
		t.noted.note(ws, e.Kind, e.Name)
	}
	return id, first, nil
}

const (
	addEvent = `INSERT INTO events (workspace_id, contact_id, at, visitor_key, kind, name, data) VALUES ($1, $2, $3, NULLIF($4::text, ''), $5, $6, NULLIF($7::text, ''))
		RETURNING id, false`
	addNamedEvent = `WITH named AS (
			INSERT INTO event_names (workspace_id, kind, name, first_at) VALUES ($1, $5, $6, $3) ON CONFLICT DO NOTHING RETURNING 1
		)
		INSERT INTO events (workspace_id, contact_id, at, visitor_key, kind, name, data) VALUES ($1, $2, $3, NULLIF($4::text, ''), $5, $6, NULLIF($7::text, ''))
		RETURNING id, EXISTS (SELECT 1 FROM named)`
)

// idSequences are the sequences of the kinds of ids.
var idSequences = map[gateway.IDKind]string{
	gateway.IDContact:   "contact_ids",
	gateway.IDCompany:   "company_ids",
	gateway.IDAttribute: "attribute_ids",
	gateway.IDList:      "list_ids",
	gateway.IDSegment:   "segment_ids",
	gateway.IDRecord:    "record_ids",
}

// NextIDs implements gateway.Tx. Ids that a transaction leaves unused, or that
// are asked for while another node takes some, make gaps.
func (t *postgresTx) NextIDs(kind gateway.IDKind, n int) (int64, error) {
	if t.err != nil {
		return 0, t.err
	}
	sequence := idSequences[kind]
	if n < 1 || sequence == "" {
		return 0, gateway.Errorf(gateway.CodeInternal, "next ids: %d ids of %q asked for", n, kind)
	}
	// Another node may take a block from between ours; hardly ever twice.
	for range 10 {
		if first, ok := t.w.ids.take(kind, int64(n)); ok {
			return first, nil
		}
		// More each time: most batches ask for no id or for thousands.
		t.blocks = min(max(2*t.blocks, 1), maxIDBlocks)
		var taken []int64
		err := t.query(func(rows pgx.Rows) error {
			var first int64
			err := rows.Scan(&first)
			taken = append(taken, first)
			return err
		}, `SELECT nextval('`+sequence+`') FROM generate_series(1, $1)`, max(t.blocks, (int64(n)+idBlock-1)/idBlock))
		if err != nil {
			return 0, fmt.Errorf("next ids: %w", err)
		}
		t.w.ids.add(kind, taken)
	}
	return 0, unavailable(cannotServe, fmt.Errorf("%d ids that follow each other are not to be had", n))
}

func (t *postgresTx) insertKey(ws gateway.WorkspaceID, k gateway.APIKey) error {
	_, err := t.exec(`INSERT INTO api_keys (workspace_id, kind, secret, name, scope, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		int64(ws), string(k.Kind), k.Secret, k.Name, string(k.Scope), micros(k.CreatedAt))
	return err
}

// needWorkspace fails with CodeNotFound if there is no such workspace.
func (t *postgresTx) needWorkspace(id gateway.WorkspaceID) error {
	var one int
	err := t.row(&one, `SELECT 1 FROM workspaces WHERE workspace_id = $1`, int64(id))
	if errors.Is(err, pgx.ErrNoRows) {
		return notFound("workspace")
	}
	return err
}
