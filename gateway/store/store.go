package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"

	"civgate/gateway"
)

var errClosed = errors.New("store is closed")

// Store is a gateway.Store over a SQL database. Make one with Open.
type Store struct {
	reader
	writer writer
}

var _ gateway.Store = (*Store)(nil)

// writer is the part of a Store that differs from database to database.
type writer interface {
	update(ctx context.Context, fn func(gateway.Tx) error) error
	createWorkspace(ctx context.Context, w gateway.Workspace, keys []gateway.APIKey) (gateway.WorkspaceID, error)
	addAgent(ctx context.Context, a gateway.Agent) error
	addAPIKey(ctx context.Context, id gateway.WorkspaceID, k gateway.APIKey) error
	deleteAPIKey(ctx context.Context, id gateway.WorkspaceID, kind gateway.KeyKind, secret string) error
	updateSettings(ctx context.Context, id gateway.WorkspaceID, s gateway.Settings) error
	dropQuarantined(ctx context.Context, w gateway.WorkspaceID, id int64) error
	forgetMessages(ctx context.Context, before time.Time, limit int) (int, error)
	exclusively(ctx context.Context, fn func() error) error
	// snapshot is the isolation at which a transaction sees one moment.
	snapshot() sql.IsolationLevel
	dialect
	close() error
}

// Open opens a database and brings its schema up to date: PostgreSQL for a URL
// (postgres:// or postgresql://), for anything else the SQLite file at path,
// which is made if there is none (its folder must exist). One process at a time
// may have a file open; keeping a second one out is the caller's task. Any number
// of processes may use a PostgreSQL database.
//
// What waiting will not mend is a CodeInvalid: a damaged file, a URL that cannot
// be read, a schema that is newer than this program.
func Open(ctx context.Context, path string) (*Store, error) {
	if isPostgresURL(path) {
		db, w, err := openPostgres(ctx, path)
		if err != nil {
			return nil, translate("open database", err)
		}
		return &Store{reader: reader{db: db, timeout: answerTimeout, spans: &postgresSpans}, writer: w}, nil
	}
	if strings.Contains(path, "://") {
		return nil, gateway.Errorf(gateway.CodeInvalid, "the database must be the path of a file or a postgres:// URL")
	}
	db, w, err := openSQLite(ctx, path)
	if code, ok := sqliteCode(err); ok && (code&0xff == sqlite3.SQLITE_NOTADB || code&0xff == sqlite3.SQLITE_CORRUPT) {
		// While running, waiting may help; a file that can't be opened won't mend.
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Message: fmt.Sprintf("%s is damaged or not a database: put a backup in its place, or move it away to start anew", path), Err: err}
	}
	if err != nil {
		return nil, translate("open database", err)
	}
	return &Store{reader: reader{db: db, spans: &sqliteSpans}, writer: w}, nil
}

// CheckURL says whether Open could read a postgres:// URL, without connecting to
// anything. It is a CodeInvalid that does not repeat the URL, which may hold a
// password.
func CheckURL(url string) error {
	_, err := postgresConfig(url)
	return err
}

// Close stops the store's goroutines, moves what is in a file's log into the
// file and closes all connections, waiting for transactions under way. Calls after it fail with
// CodeUnavailable.
func (s *Store) Close() error {
	return translate("close database", errors.Join(s.reader.db.Close(), s.writer.close()))
}

// migrate applies the migrations that the database has not seen. A database with
// newer ones is refused.
func migrate(ctx context.Context, p *goose.Provider) error {
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read schema version: %w", err)
	}
	newest := p.ListSources()[len(p.ListSources())-1].Version
	if version > newest {
		return gateway.Errorf(gateway.CodeInvalid, "the database has schema version %d, this program knows %d: use a newer one", version, newest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

// Ping says whether the store can be read.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.number(ctx, "ping", `SELECT count(*) FROM (SELECT 1 FROM workspaces LIMIT 1) AS w`)
	return err
}

// Update runs fn in one write transaction; see gateway.Store. On SQLite fns run
// one at a time; on PostgreSQL those that use the same workspace do, and fn is
// run again after a collision, a few times. Either way fn must not call Update, CreateWorkspace, UpdateSettings or
// ForgetMessages of the same store.
func (s *Store) Update(ctx context.Context, fn func(tx gateway.Tx) error) error {
	return translate("update", s.writer.update(ctx, fn))
}

// Exclusively runs fn while no other process that has the database open is in its
// Exclusively. What one process has to do first, such as making the first
// workspace, belongs there. It waits for the others for some seconds, then it is
// a CodeUnavailable.
func (s *Store) Exclusively(ctx context.Context, fn func() error) error {
	return s.writer.exclusively(ctx, fn)
}

// CreateWorkspace makes a workspace with its keys; see gateway.Store. The id and
// the workspace of the keys are set by the store.
func (s *Store) CreateWorkspace(ctx context.Context, w gateway.Workspace, keys ...gateway.APIKey) (gateway.WorkspaceID, error) {
	stored := make([]gateway.APIKey, len(keys))
	for i, k := range keys {
		var err error
		if stored[i], err = storedKey(k); err != nil {
			return 0, err
		}
	}
	id, err := s.writer.createWorkspace(ctx, w, stored)
	return id, translate("create workspace", err)
}

// storedKey is a key as it is kept: a REST token that says nothing of its scope
// may do everything, a widget key has none. Another scope is a CodeInvalid.
func storedKey(k gateway.APIKey) (gateway.APIKey, error) {
	switch {
	case k.Kind != gateway.KeyREST:
		k.Scope = ""
	case k.Scope == "":
		k.Scope = gateway.ScopeAdmin
	case !k.Scope.Includes(gateway.ScopeRead):
		return k, &gateway.Error{Code: gateway.CodeInvalid, Field: "scope", Message: fmt.Sprintf("there is no scope %.40q: use read, write or admin", k.Scope)}
	}
	return k, nil
}

// AddAPIKey gives a workspace another key, CodeNotFound if there is no such
// workspace; see gateway.Store. The workspace of the key is set by the store.
func (s *Store) AddAPIKey(ctx context.Context, id gateway.WorkspaceID, k gateway.APIKey) error {
	stored, err := storedKey(k)
	if err != nil {
		return err
	}
	return translate("add key", s.writer.addAPIKey(ctx, id, stored))
}

// DeleteAPIKey revokes a key of a workspace; see gateway.Store.
func (s *Store) DeleteAPIKey(ctx context.Context, id gateway.WorkspaceID, kind gateway.KeyKind, secret string) error {
	return translate("delete key", s.writer.deleteAPIKey(ctx, id, kind, secret))
}

// AddAgent gives a workspace another agent, CodeNotFound if there is no such
// workspace; see gateway.Store.
func (s *Store) AddAgent(ctx context.Context, a gateway.Agent) error {
	return translate("add agent", s.writer.addAgent(ctx, a))
}

// UpdateSettings replaces the settings of a workspace, CodeNotFound if there is
// no such workspace.
func (s *Store) UpdateSettings(ctx context.Context, id gateway.WorkspaceID, settings gateway.Settings) error {
	return translate("update settings", s.writer.updateSettings(ctx, id, settings))
}

// DropQuarantined deletes an entry that was set aside; see gateway.Store.
func (s *Store) DropQuarantined(ctx context.Context, w gateway.WorkspaceID, id int64) error {
	return translate("drop quarantined", s.writer.dropQuarantined(ctx, w, id))
}

// ForgetMessages deletes old message ids; see gateway.Store. After the last id
// it starts over with the first.
func (s *Store) ForgetMessages(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := s.writer.forgetMessages(ctx, before, limit)
	return n, translate("forget messages", err)
}

// InboxPosition is the Seq up to which the node's inbox is applied, 0 if it
// never was.
func (s *Store) InboxPosition(ctx context.Context, node string) (int64, error) {
	return s.number(ctx, "inbox position", `SELECT seq FROM inbox_positions WHERE node = $1`, node)
}

// micros is the stored form of a time: microseconds since 1970, 0 for none.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// moment is the time that micros stored.
func moment(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// dayOf is the number of the UTC day of t, counted from 1970-01-01.
func dayOf(t time.Time) int64 {
	const day = int64(24 * time.Hour / time.Second)
	s := t.Unix()
	if s < 0 {
		s -= day - 1
	}
	return s / day
}

func notFound(what string) error {
	return &gateway.Error{Code: gateway.CodeNotFound, Message: fmt.Sprintf("there is no such %s", what)}
}

// seenContacts are those that have a page view in c, nil if it writes no contacts.
func seenContacts(c *gateway.Changes) map[gateway.ContactID]bool {
	if len(c.NewContacts) == 0 && len(c.Contacts) == 0 {
		return nil
	}
	seen := make(map[gateway.ContactID]bool, len(c.PageViews))
	for i := range c.PageViews {
		seen[c.PageViews[i].ContactID] = true
	}
	return seen
}

// unseenAt is when a contact that had no page view before counts as last seen (see
// activities), in microseconds; 0 if it has one now.
func unseenAt(x *gateway.Contact, seen map[gateway.ContactID]bool) int64 {
	if seen[x.ID] {
		return 0
	}
	return micros(later(x.CreatedAt, x.UpdatedAt))
}
