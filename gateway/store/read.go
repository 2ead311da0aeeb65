package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"civgate/gateway"
)

const (
	// maxRows bounds what one call returns, whatever limit it asks for.
	maxRows = 10_000
	// chunk is how many ids go into one statement.
	chunk = 200
)

// The kinds of identifiers (table identifiers).
const (
	kindKey = iota
	kindCustomID
	kindEmail
	kindPhone
)

// reader is the read side of a store, in SQL that all dialects take.
type reader struct {
	db *sql.DB
	// timeout bounds a call on a database that can be out of reach, so that its
	// silence is no reason to wait for ever; 0 for none.
	timeout time.Duration
	// settings are long settings as they were read last: workspaces are asked for twice a
	// second, and a list of domains may have any length.
	settings sync.Map // gateway.WorkspaceID -> decodedSettings
	// spans is how rows are found by time.
	spans *spanSearch
}

// view runs fn in one read transaction, so that all its queries see the same
// state (on PostgreSQL by the connections' default_transaction_isolation).
func (r *reader) view(ctx context.Context, op string, fn func(tx *sql.Tx) error) error {
	if tx, ok := ctx.Value(viewOf{r}).(*sql.Tx); ok {
		return translate(op, fn(tx))
	}
	asked := ctx
	if r.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.timeout)
		defer cancel()
	}
	tx, err := r.begin(ctx)
	if err == nil {
		defer tx.Rollback() //nolint:errcheck // nothing was written
		err = fn(tx)
	}
	if asked.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return unavailable("the database does not answer, try again", fmt.Errorf("%s: %w", op, err))
	}
	return translate(op, err)
}

// viewOf is the key of a reader's transaction in the context of View.
type viewOf struct{ *reader }

// View implements gateway.Reader.
func (r *reader) View(ctx context.Context, fn func(ctx context.Context) error) error {
	return r.view(ctx, "view", func(tx *sql.Tx) error { return fn(context.WithValue(ctx, viewOf{r}, tx)) })
}

// begin starts a transaction. That connections broke while they were unused
// (the server was restarted) shows here, where nothing is lost by going on to a
// new one.
func (r *reader) begin(ctx context.Context) (tx *sql.Tx, err error) {
	for range postgresReaders + 1 {
		if tx, err = r.db.BeginTx(ctx, nil); err == nil || ctx.Err() != nil || !brokenUnused(err) {
			break
		}
	}
	return tx, err
}

// query runs a query and calls scan for every row.
func query(ctx context.Context, tx *sql.Tx, scan func(rows *sql.Rows) error, text string, args ...any) error {
	rows, err := tx.QueryContext(ctx, text, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// list writes n parameters from $first on: "$2, $3, $4".
func list(first, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(first + i))
	}
	return b.String()
}

// params are the arguments for a workspace and a list of ids.
func params[T any](w gateway.WorkspaceID, ids []T) []any {
	args := make([]any, 0, len(ids)+1)
	args = append(args, int64(w))
	for _, id := range ids {
		args = append(args, id)
	}
	return args
}

// scanner is a row of database/sql or of pgx.
type scanner interface{ Scan(dest ...any) error }

func bounded(limit int) int { return min(max(limit, 0), maxRows) }

// WorkspaceByKey implements gateway.Reader.
func (r *reader) WorkspaceByKey(ctx context.Context, kind gateway.KeyKind, secret string) (*gateway.Workspace, error) {
	var found *gateway.Workspace
	err := r.view(ctx, "workspace by key", func(tx *sql.Tx) error {
		err := query(ctx, tx, func(rows *sql.Rows) (err error) {
			found, err = r.scanWorkspace(rows)
			return err
		}, `SELECT w.workspace_id, w.name, w.settings, w.created_at FROM api_keys k JOIN workspaces w ON w.workspace_id = k.workspace_id
			WHERE k.kind = $1 AND k.secret = $2`, string(kind), secret)
		if err == nil && found == nil {
			err = notFound("key")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Workspaces implements gateway.Reader.
func (r *reader) Workspaces(ctx context.Context) (all []gateway.Workspace, err error) {
	err = r.view(ctx, "workspaces", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			w, err := r.scanWorkspace(rows)
			if err == nil {
				all = append(all, *w)
			}
			return err
		}, `SELECT workspace_id, name, settings, created_at FROM workspaces WHERE workspace_id > 0 ORDER BY workspace_id`)
	})
	return all, err
}

// longSettings is from how many bytes on settings are kept decoded.
const longSettings = 4 << 10

type decodedSettings struct {
	text     string
	settings gateway.Settings
}

// scanWorkspace is the function of that name, but decodes long settings once for each state
// of them. What it returns shares their lists with others.
func (r *reader) scanWorkspace(row scanner) (*gateway.Workspace, error) {
	return scanWorkspaceBy(row, func(id gateway.WorkspaceID, text string, to *gateway.Settings) error {
		if len(text) < longSettings {
			return json.Unmarshal([]byte(text), to)
		}
		if v, ok := r.settings.Load(id); ok && v.(decodedSettings).text == text {
			*to = v.(decodedSettings).settings
			return nil
		}
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return err
		}
		r.settings.Store(id, decodedSettings{text, *to})
		return nil
	})
}

// scanWorkspace scans what WorkspaceByKey and Workspaces select.
func scanWorkspace(row scanner) (*gateway.Workspace, error) {
	return scanWorkspaceBy(row, func(_ gateway.WorkspaceID, text string, to *gateway.Settings) error {
		return json.Unmarshal([]byte(text), to)
	})
}

func scanWorkspaceBy(row scanner, decode func(id gateway.WorkspaceID, text string, to *gateway.Settings) error) (*gateway.Workspace, error) {
	var w gateway.Workspace
	var settings string
	var created int64
	if err := row.Scan(&w.ID, &w.Name, &settings, &created); err != nil {
		return nil, err
	}
	w.CreatedAt = moment(created)
	if err := decode(w.ID, settings, &w.Settings); err != nil {
		return nil, fmt.Errorf("settings of workspace %d: %w", w.ID, err)
	}
	return &w, nil
}

// apiKeySelect reads what scanAPIKey scans.
const apiKeySelect = `SELECT workspace_id, kind, secret, name, scope, created_at FROM api_keys`

func scanAPIKey(row scanner) (k gateway.APIKey, err error) {
	var created int64
	err = row.Scan(&k.WorkspaceID, &k.Kind, &k.Secret, &k.Name, &k.Scope, &created)
	k.CreatedAt = moment(created)
	return k, err
}

// APIKey implements gateway.Reader.
func (r *reader) APIKey(ctx context.Context, kind gateway.KeyKind, secret string) (k gateway.APIKey, err error) {
	err = r.view(ctx, "api key", func(tx *sql.Tx) error {
		found := false
		err := query(ctx, tx, func(rows *sql.Rows) (err error) {
			found = true
			k, err = scanAPIKey(rows)
			return err
		}, apiKeySelect+` WHERE kind = $1 AND secret = $2`, string(kind), secret)
		if err == nil && !found {
			err = notFound("key")
		}
		return err
	})
	return k, err
}

// APIKeys implements gateway.Reader: oldest first.
func (r *reader) APIKeys(ctx context.Context, w gateway.WorkspaceID) (keys []gateway.APIKey, err error) {
	err = r.view(ctx, "api keys", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			k, err := scanAPIKey(rows)
			keys = append(keys, k)
			return err
		}, apiKeySelect+` WHERE workspace_id = $1 ORDER BY created_at, kind, secret`, int64(w))
	})
	return keys, err
}

// selectDefs reads what scanDef scans. It takes the workspace.
const selectDefs = `SELECT id, entity, name, label, type, is_integer, choices, multiple, description, created_at, hidden FROM attribute_defs WHERE workspace_id = $1`

func scanDef(row scanner, w gateway.WorkspaceID) (gateway.AttributeDef, error) {
	d := gateway.AttributeDef{WorkspaceID: w}
	var typ, choices string
	var created int64
	err := row.Scan(&d.ID, &d.Entity, &d.Name, &d.Label, &typ, &d.Integer, &choices, &d.Multiple, &d.Description, &created, &d.Hidden)
	if err == nil && choices != "" {
		err = json.Unmarshal([]byte(choices), &d.Choices)
	}
	if err != nil {
		return d, fmt.Errorf("definition %d: %w", d.ID, err)
	}
	d.Type, _ = gateway.ParseType(typ)
	d.CreatedAt = moment(created)
	return d, nil
}

// choicesText is what is stored of a definition's choices.
func choicesText(choices []string) string {
	if len(choices) == 0 {
		return ""
	}
	return gateway.ListValue(choices...).Raw
}

// AttributeDefs implements gateway.Reader: by entity, then by name.
func (r *reader) AttributeDefs(ctx context.Context, w gateway.WorkspaceID) (defs []gateway.AttributeDef, err error) {
	err = r.view(ctx, "attribute definitions", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			d, err := scanDef(rows, w)
			defs = append(defs, d)
			return err
		}, selectDefs+` ORDER BY entity, name`, int64(w))
	})
	return defs, err
}

// contactFields are what contactRow scans.
const contactFields = `SELECT c.id, COALESCE(c.custom_id, ''), COALESCE(c.email, c.email_key, ''), COALESCE(c.email_key, ''),
	COALESCE(c.name, ''), COALESCE(c.phone_number, ''), COALESCE(c.status, ''), c.attributes, COALESCE(c.visitor_key, ''),
	c.fingerprint, COALESCE(c.last_ip, ''), c.created_at, c.updated_at, c.merged_into`

const contactSelect = contactFields + ` FROM contacts c`

// contactBy finds the contacts with an identifier of the kind; it takes workspace and
// value. The kind is a constant, because PostgreSQL has to know which of the tables
// behind the view it is about: given as a parameter, it plans with all of them, and to
// find the thousands of contacts that share an e-mail went through all of these for each.
func contactBy(kind int) string {
	return contactSelect + ` JOIN identifiers i ON i.contact_id = c.id AND i.workspace_id = c.workspace_id
	WHERE i.workspace_id = $1 AND i.value = $2 AND i.kind = ` + strconv.Itoa(kind)
}

// The queries by each kind of identifier.
var (
	contactByKey      = contactBy(kindKey)
	contactByCustomID = contactBy(kindCustomID)
	contactsByEmail   = contactBy(kindEmail) + ` AND c.merged_into = 0 ORDER BY CASE WHEN c.custom_id IS NULL THEN 1 ELSE 0 END, c.id LIMIT $3`
	contactsByPhone   = contactBy(kindPhone) + ` AND c.merged_into = 0 ORDER BY i.slot LIMIT $3`
)

// contactRow is what the columns of a row with contactFields are scanned into: once for
// all rows of a query, as a page has a hundred of them.
type contactRow struct {
	key, customID, email, emailKey, ip, attributes string
	texts                                          [len(columnAttributes)]string
	// Not into values of our own types: pgx would need reflection for each.
	id, merged, fingerprint, created, updated int64
	dest                                      []any
}

func newContactRow() *contactRow {
	r := &contactRow{}
	r.dest = []any{&r.id, &r.customID, &r.email, &r.emailKey, &r.texts[0], &r.texts[1], &r.texts[2], &r.attributes, &r.key,
		&r.fingerprint, &r.ip, &r.created, &r.updated, &r.merged}
	return r
}

func (r *contactRow) scan(rows scanner, w gateway.WorkspaceID, c *gateway.Contact) error {
	if err := rows.Scan(r.dest...); err != nil {
		return err
	}
	*c = gateway.Contact{
		ID: gateway.ContactID(r.id), WorkspaceID: w, CustomID: r.customID, Email: r.email, EmailKey: r.emailKey, Key: r.key,
		Fingerprint: uint64(r.fingerprint), CreatedAt: moment(r.created), UpdatedAt: moment(r.updated), LastIP: r.ip,
		MergedInto: gateway.ContactID(r.merged),
	}
	var err error
	if c.Attributes, err = joinBag(r.attributes, r.texts); err != nil {
		return fmt.Errorf("contact %d: %w", c.ID, err)
	}
	return nil
}

// contacts runs a query that starts with contactSelect. A view has no more than its contact
// then: see addViews.
func contacts(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, text string, args ...any) (all []*gateway.ContactView, err error) {
	row := newContactRow()
	var next []gateway.ContactView // several are allocated at once
	err = query(ctx, tx, func(rows *sql.Rows) error {
		if len(next) == 0 {
			next = make([]gateway.ContactView, min(max(len(all), 1), 64))
		}
		all, next = append(all, &next[0]), next[1:]
		return row.scan(rows, w, &all[len(all)-1].Contact)
	}, text, args...)
	return all, err
}

// survivor returns the contact that the one found became part of, itself as a
// rule.
func survivor(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, found []*gateway.ContactView) (*gateway.ContactView, error) {
	seen := map[gateway.ContactID]bool{}
	for {
		if len(found) == 0 {
			return nil, notFound("contact")
		}
		c := found[0]
		if c.MergedInto == 0 {
			return c, nil
		}
		if seen[c.ID] {
			return nil, fmt.Errorf("contact %d: merged in a circle", c.ID)
		}
		seen[c.ID] = true
		var err error
		if found, err = contactByID(ctx, tx, w, c.MergedInto); err != nil {
			return nil, err
		}
	}
}

func contactByID(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, id gateway.ContactID) ([]*gateway.ContactView, error) {
	return contacts(ctx, tx, w, contactSelect+` WHERE c.workspace_id = $1 AND c.id = $2`, int64(w), int64(id))
}

// oneContact reads the survivor of what a query finds.
func (r *reader) oneContact(ctx context.Context, op string, w gateway.WorkspaceID, text string, args ...any) (*gateway.ContactView, error) {
	var view *gateway.ContactView
	err := r.view(ctx, op, func(tx *sql.Tx) error {
		found, err := contacts(ctx, tx, w, text, args...)
		if err != nil {
			return err
		}
		if view, err = survivor(ctx, tx, w, found); err != nil {
			return err
		}
		return addViews(ctx, tx, w, []*gateway.ContactView{view})
	})
	if err != nil {
		return nil, err
	}
	return view, nil
}

// manyContacts reads the views of what a query finds.
func (r *reader) manyContacts(ctx context.Context, op string, w gateway.WorkspaceID, text string, args ...any) (views []*gateway.ContactView, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		if views, err = contacts(ctx, tx, w, text, args...); err != nil {
			return err
		}
		return addViews(ctx, tx, w, views)
	})
	if err != nil {
		return nil, err
	}
	return views, nil
}

// Contact implements gateway.Reader.
func (r *reader) Contact(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID) (*gateway.ContactView, error) {
	return r.oneContact(ctx, "contact", w, contactSelect+` WHERE c.workspace_id = $1 AND c.id = $2`, int64(w), int64(id))
}

// ContactByCustomID implements gateway.Reader.
func (r *reader) ContactByCustomID(ctx context.Context, w gateway.WorkspaceID, customID string) (*gateway.ContactView, error) {
	return r.oneContact(ctx, "contact by custom id", w, contactByCustomID, int64(w), customID)
}

// ContactByKey implements gateway.Reader.
func (r *reader) ContactByKey(ctx context.Context, w gateway.WorkspaceID, key string) (*gateway.ContactView, error) {
	return r.oneContact(ctx, "contact by key", w, contactByKey, int64(w), key)
}

// ContactsByEmail implements gateway.Reader.
func (r *reader) ContactsByEmail(ctx context.Context, w gateway.WorkspaceID, emailKey string, limit int) ([]*gateway.ContactView, error) {
	return r.manyContacts(ctx, "contacts by e-mail", w, contactsByEmail, int64(w), emailKey, bounded(limit))
}

// ContactsByPhone implements gateway.Reader.
func (r *reader) ContactsByPhone(ctx context.Context, w gateway.WorkspaceID, phone string, limit int) ([]*gateway.ContactView, error) {
	return r.manyContacts(ctx, "contacts by phone number", w, contactsByPhone, int64(w), phone, bounded(limit))
}

// Contacts implements gateway.Reader.
func (r *reader) Contacts(ctx context.Context, w gateway.WorkspaceID, before gateway.ContactID, limit int) ([]*gateway.ContactView, error) {
	return r.manyContacts(ctx, "contacts", w, contactSelect+` WHERE c.workspace_id = $1 AND c.merged_into = 0 AND c.id < $2
		ORDER BY c.id DESC LIMIT $3`, int64(w), behind(int64(before)), bounded(limit))
}

// behind is the id that a page ends before: any for 0.
func behind(id int64) int64 {
	if id == 0 {
		return 1<<63 - 1
	}
	return id
}

// CountContacts implements gateway.Reader.
func (r *reader) CountContacts(ctx context.Context, w gateway.WorkspaceID) (int64, error) {
	return r.number(ctx, "count contacts", `SELECT contacts FROM workspaces WHERE workspace_id = $1`, int64(w))
}

// number reads the one number that a query finds, 0 if it finds none.
func (r *reader) number(ctx context.Context, op, text string, args ...any) (n int64, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		err := tx.QueryRowContext(ctx, text, args...).Scan(&n)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	return n, err
}

// wanted writes a table of n ids (of the workspace $1, from $2 on) for what is
// joined to it: rows of workspace_id, id, and 0, the until of memberships that
// are current. Given constants instead, PostgreSQL may read all rows of a
// workspace, or all current memberships, and look for the ids among them.
func wanted(n int) string { return wantedFrom(2, n) }

// wantedFrom is wanted for ids from $first on.
func wantedFrom(first, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "wanted (workspace_id, id, until) AS MATERIALIZED (VALUES (CAST($1 AS bigint), CAST($%d AS bigint), CAST(0 AS bigint))", first)
	for i := 1; i < n; i++ {
		b.WriteString(", ($1, $")
		b.WriteString(strconv.Itoa(first + i))
		b.WriteString(", 0)")
	}
	b.WriteByte(')')
	return b.String()
}

// aliasesOf finds, for contacts that are not merged away, themselves and all
// that became part of them: rows of workspace_id, root and id. It takes the
// parameters of wanted.
func aliasesOf(n int) string {
	return `WITH RECURSIVE ` + wanted(n) + `, alias (workspace_id, root, id) AS (
		SELECT w.workspace_id, w.id, w.id FROM wanted w
		UNION
		SELECT a.workspace_id, a.root, c.id FROM alias a CROSS JOIN contacts c WHERE c.workspace_id = a.workspace_id AND c.merged_into = a.id AND c.merged_into <> 0
	) `
}

// seenOfAliases are the page views of each root of aliasesOf.
const seenOfAliases = ` FROM alias a CROSS JOIN page_views v WHERE v.workspace_id = a.workspace_id AND v.contact_id = a.id GROUP BY a.root`

// addViews adds activity, companies and lists to contacts that are not merged
// away: a query for up to chunk of them, and one for the lists if they are in any.
func addViews(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, views []*gateway.ContactView) error {
	byID := make(map[gateway.ContactID]*gateway.ContactView, len(views))
	ids := make([]int64, len(views))
	for i, v := range views {
		v.Activity = unseen(v.CreatedAt, v.UpdatedAt)
		byID[v.ID], ids[i] = v, int64(v.ID)
	}
	// Of all rows, as a page has hundreds.
	var row struct {
		kind, contact, a, b, c int64
		source                 string
		gateway.ContactCompany
	}
	row.WorkspaceID = w
	dest := []any{&row.kind, &row.contact, &row.a, &row.b, &row.c, &row.source, &row.By, &row.CustomID, &row.Name}
	for part := range slices.Chunk(ids, chunk) {
		firsts := make([]gateway.ContactCompany, 0, len(part)) // as a rule there is no second
		var in map[int64][]gateway.ContactID
		err := query(ctx, tx, func(rows *sql.Rows) error {
			if err := rows.Scan(dest...); err != nil {
				return err
			}
			id := gateway.ContactID(row.contact)
			v := byID[id]
			switch row.kind {
			case viewActivity:
				v.Activity = gateway.Activity{PageViews: row.a, FirstSeen: moment(row.b), LastSeen: moment(row.c)}
			case viewCompany:
				row.ContactID, row.CompanyID, row.Since, row.Primary, row.Source = id, gateway.CompanyID(row.a), moment(row.b), row.c != 0, gateway.Source(row.source)
				if n := len(firsts); v.Companies == nil && n < cap(firsts) {
					firsts = firsts[:n+1]
					v.Companies = firsts[n : n : n+1]
				}
				v.Companies = append(v.Companies, row.ContactCompany)
			case viewListed:
				if in == nil {
					in = make(map[int64][]gateway.ContactID)
				}
				in[row.a] = append(in[row.a], id)
			}
			return nil
		}, viewsOf.text(len(part)), params(w, part)...)
		if err == nil {
			err = addLists(ctx, tx, w, in, byID)
		}
		if err != nil {
			return err
		}
	}
	for _, v := range views {
		slices.SortFunc(v.Companies, func(a, b gateway.ContactCompany) int {
			if a.Primary != b.Primary {
				if a.Primary {
					return -1
				}
				return 1
			}
			return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.CompanyID, b.CompanyID))
		})
	}
	return nil
}

// The kinds of rows of viewsOf.
const (
	viewActivity = iota
	viewCompany
	viewListed
)

// viewsOf finds what a view of n contacts has besides the contacts: rows of kind,
// contact, three numbers and four texts. One query instead of three, since each waits
// for a server and takes a parameter for each contact. It takes the parameters of wanted.
// CROSS JOIN is what keeps SQLite to this order, see
// https://sqlite.org/optoverview.html#crossjoin: for a page of contacts it would rather
// go through all companies of the workspace.
var viewsOf = texts{make: func(n int) string {
	return aliasesOf(n) + `SELECT 0, a.root, count(*), min(v.at), max(v.at), '', '', '', ''` + seenOfAliases + `
		UNION ALL SELECT 1, m.contact_id, m.company_id, m.since, CASE WHEN m.is_primary THEN 1 ELSE 0 END, m.source, m.made_by, COALESCE(c.custom_id, ''), c.name
			FROM wanted w CROSS JOIN memberships m CROSS JOIN companies c
			WHERE m.workspace_id = w.workspace_id AND m.contact_id = w.id AND m.until = w.until AND c.workspace_id = w.workspace_id AND c.id = m.company_id
		UNION ALL SELECT 2, l.contact_id, l.list_id, 0, 0, '', '', '', ''
			FROM wanted w CROSS JOIN listed l WHERE l.workspace_id = w.workspace_id AND l.contact_id = w.id`
}}

// texts are the texts of a query for each number of ids, which is chunk at most.
type texts struct {
	make func(n int) string
	kept sync.Map // int -> string
}

func (t *texts) text(n int) string {
	if text, ok := t.kept.Load(n); ok {
		return text.(string)
	}
	text, _ := t.kept.LoadOrStore(n, t.make(n))
	return text.(string)
}

// unseen is the activity of a contact without page views; unseenAt has to fit it.
func unseen(created, updated time.Time) gateway.Activity {
	return gateway.Activity{FirstSeen: created, LastSeen: later(created, updated)}
}

// lifetime is when a contact that is not merged away was created and last changed.
type lifetime struct {
	id               int64
	created, updated time.Time
}

// activities sums up the history of contacts, by id: a query for up to chunk of
// them.
func activities(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, of []lifetime) (map[int64]gateway.Activity, error) {
	all := make(map[int64]gateway.Activity, len(of))
	for part := range slices.Chunk(of, chunk) {
		ids := make([]int64, len(part))
		for i, l := range part {
			ids[i] = l.id
			all[l.id] = unseen(l.created, l.updated)
		}
		err := query(ctx, tx, func(rows *sql.Rows) error {
			var id, n, first, last int64
			err := rows.Scan(&id, &n, &first, &last)
			all[id] = gateway.Activity{PageViews: n, FirstSeen: moment(first), LastSeen: moment(last)}
			return err
		}, aliasesOf(len(part))+`SELECT a.root, count(*), min(v.at), max(v.at)`+seenOfAliases, params(w, ids)...)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// survivorAndAliases resolves id and returns it with all that became part of it.
func survivorAndAliases(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, id gateway.ContactID) (gateway.ContactID, []int64, error) {
	found, err := contactByID(ctx, tx, w, id)
	if err != nil {
		return 0, nil, err
	}
	c, err := survivor(ctx, tx, w, found)
	if err != nil {
		return 0, nil, err
	}
	var ids []int64
	err = query(ctx, tx, func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	}, aliasesOf(1)+`SELECT id FROM alias`, int64(w), int64(c.ID))
	return c.ID, ids, err
}

// VisitorKeys implements gateway.Reader.
func (r *reader) VisitorKeys(ctx context.Context, w gateway.WorkspaceID, id gateway.ContactID, limit int) (keys []gateway.VisitorKey, err error) {
	err = r.view(ctx, "visitor keys", func(tx *sql.Tx) error {
		found, err := contactByID(ctx, tx, w, id)
		if err != nil {
			return err
		}
		c, err := survivor(ctx, tx, w, found)
		if err != nil {
			return err
		}
		return query(ctx, tx, func(rows *sql.Rows) error {
			k := gateway.VisitorKey{ContactID: c.ID}
			var created int64
			err := rows.Scan(&k.Key, &created)
			k.CreatedAt = moment(created)
			keys = append(keys, k)
			return err
		}, `SELECT key, created_at FROM visitor_keys WHERE workspace_id = $1 AND contact_id = $2 ORDER BY created_at DESC, key DESC LIMIT $3`,
			int64(w), int64(c.ID), bounded(limit))
	})
	return keys, err
}

const (
	companyFields = `SELECT c.id, COALESCE(c.custom_id, ''), c.name, c.attributes, c.created_at, c.updated_at`
	companySelect = companyFields + ` FROM companies c`
	// companyViewFields are what companyViews scans.
	companyViewFields = companyFields + `, c.employees`
	companyViewSelect = companyViewFields + ` FROM companies c`
)

// companies reads the views of what a query that starts with companyViewSelect
// finds.
func (r *reader) companies(ctx context.Context, op string, w gateway.WorkspaceID, text string, args ...any) (views []*gateway.CompanyView, err error) {
	err = r.view(ctx, op, func(tx *sql.Tx) error {
		views, err = companyViews(ctx, tx, w, false, text, args...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return views, nil
}

// companyViews runs a query that starts with companyViewFields and adds, unless brief,
// the newest employees: a query for up to chunk companies, and one for each that has more
// than are shown.
func companyViews(ctx context.Context, tx *sql.Tx, w gateway.WorkspaceID, brief bool, text string, args ...any) (views []*gateway.CompanyView, err error) {
	byID := map[int64]*gateway.CompanyView{}
	err = query(ctx, tx, func(rows *sql.Rows) error {
		v := &gateway.CompanyView{Company: gateway.Company{WorkspaceID: w}}
		var attributes string
		var created, updated int64
		err := rows.Scan(&v.ID, &v.CustomID, &v.Name, &attributes, &created, &updated, &v.EmployeesCount)
		if err != nil {
			return err
		}
		v.CreatedAt, v.UpdatedAt = moment(created), moment(updated)
		if v.Attributes, err = joinBag(attributes, [len(columnAttributes)]string{}); err != nil {
			return fmt.Errorf("company %d: %w", v.ID, err)
		}
		views, byID[int64(v.ID)] = append(views, v), v
		return nil
	}, text, args...)
	if err != nil || brief {
		return views, err
	}
	var few, many []int64
	for _, v := range views {
		if v.EmployeesCount > gateway.MaxEmployees {
			many = append(many, int64(v.ID))
		} else if v.EmployeesCount > 0 {
			few = append(few, int64(v.ID))
		}
	}
	employee := func(rows *sql.Rows) error {
		var company, contact int64
		err := rows.Scan(&company, &contact)
		byID[company].Employees = append(byID[company].Employees, gateway.ContactID(contact))
		return err
	}
	for part := range slices.Chunk(few, chunk) {
		if err := query(ctx, tx, employee, `WITH `+wanted(len(part))+` SELECT m.company_id, m.contact_id FROM wanted w CROSS JOIN memberships m
			WHERE m.workspace_id = w.workspace_id AND m.company_id = w.id AND m.until = 0 ORDER BY m.company_id, m.since DESC, m.contact_id DESC`,
			params(w, part)...); err != nil {
			return nil, err
		}
	}
	for _, id := range many {
		if err := query(ctx, tx, employee, `SELECT company_id, contact_id FROM memberships WHERE workspace_id = $1 AND company_id = $2 AND until = 0
			ORDER BY since DESC, contact_id DESC LIMIT $3`, int64(w), id, gateway.MaxEmployees); err != nil {
			return nil, err
		}
	}
	return views, nil
}

func (r *reader) oneCompany(ctx context.Context, op string, w gateway.WorkspaceID, text string, args ...any) (*gateway.CompanyView, error) {
	views, err := r.companies(ctx, op, w, text, args...)
	if err == nil && len(views) == 0 {
		err = notFound("company")
	}
	if err != nil {
		return nil, err
	}
	return views[0], nil
}

// Company implements gateway.Reader.
func (r *reader) Company(ctx context.Context, w gateway.WorkspaceID, id gateway.CompanyID) (*gateway.CompanyView, error) {
	return r.oneCompany(ctx, "company", w, companyViewSelect+` WHERE c.workspace_id = $1 AND c.id = $2`, int64(w), int64(id))
}

// CompanyByCustomID implements gateway.Reader.
func (r *reader) CompanyByCustomID(ctx context.Context, w gateway.WorkspaceID, customID string) (*gateway.CompanyView, error) {
	return r.oneCompany(ctx, "company by custom id", w, companyViewSelect+` WHERE c.workspace_id = $1 AND c.custom_id = $2`, int64(w), customID)
}

// Companies implements gateway.Reader: newest first.
func (r *reader) Companies(ctx context.Context, w gateway.WorkspaceID, before gateway.CompanyID, limit int) ([]*gateway.CompanyView, error) {
	return r.companies(ctx, "companies", w, companyViewSelect+` WHERE c.workspace_id = $1 AND c.id < $2 ORDER BY c.id DESC LIMIT $3`,
		int64(w), behind(int64(before)), bounded(limit))
}

// CountCompanies implements gateway.Reader.
func (r *reader) CountCompanies(ctx context.Context, w gateway.WorkspaceID) (int64, error) {
	return r.number(ctx, "count companies", `SELECT companies FROM workspaces WHERE workspace_id = $1`, int64(w))
}

// Visits implements gateway.Reader.
func (r *reader) Visits(ctx context.Context, w gateway.WorkspaceID) (int64, error) {
	return r.number(ctx, "visits", `SELECT CAST(COALESCE(sum(count), 0) AS bigint) FROM visits WHERE workspace_id = $1`, int64(w))
}

// Quarantine implements gateway.Reader: newest first.
func (r *reader) Quarantine(ctx context.Context, w gateway.WorkspaceID, limit int) (all []gateway.Quarantined, err error) {
	err = r.view(ctx, "quarantine", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			var q gateway.Quarantined
			var at int64
			err := rows.Scan(&q.ID, &at, &q.Body, &q.Reason)
			q.At = moment(at)
			all = append(all, q)
			return err
		}, `SELECT id, at, body, reason FROM quarantine WHERE workspace_id = $1 ORDER BY id DESC LIMIT $2`, int64(w), bounded(limit))
	})
	return all, err
}

// QuarantineCounts says how many entries are set aside, for each workspace that
// has any. A workspace among them need not exist: its entries may have come with
// an inbox that is older, or newer, than the database. It reads an index of all of them,
// and is meant for people who look.
func (r *reader) QuarantineCounts(ctx context.Context) (map[gateway.WorkspaceID]int64, error) {
	counts := make(map[gateway.WorkspaceID]int64)
	err := r.view(ctx, "count quarantine", func(tx *sql.Tx) error {
		return query(ctx, tx, func(rows *sql.Rows) error {
			var w, n int64
			err := rows.Scan(&w, &n)
			counts[gateway.WorkspaceID(w)] = n
			return err
		}, `SELECT workspace_id, count(*) FROM quarantine GROUP BY workspace_id`)
	})
	return counts, err
}
