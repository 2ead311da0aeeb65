package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	sqlite3 "modernc.org/sqlite/lib"

	"civgate/gateway"
)

//go:embed migrations/sqlite/*.sql
var migrations embed.FS

const (
	// busyTimeout bounds the wait for another process's lock. Longer waits are the
	// caller's: it tries again.
	busyTimeout = 2 * time.Second

	pageSize = 8192

	// checkpointWait is how long a checkpoint waits for such a lock.
	checkpointWait = 200 * time.Millisecond

	// checkpointPages is how many pages the log gathers before a checkpoint moves
	// them into the file: 64 MiB. The more it gathers, the more often a page that
	// is written again and again is moved only once.
	checkpointPages = 64 << 20 / pageSize

	// quiet is how long after the last transaction the log is emptied and the
	// writer's page cache is given back.
	quiet = 2 * time.Second

	readers = 4
)

// writerSettings are the writer's, set in this order on every connection.
// The busy timeout comes first, so that the others wait as well.
var writerSettings = []string{
	fmt.Sprintf("PRAGMA busy_timeout = %d", busyTimeout.Milliseconds()),
	fmt.Sprintf("PRAGMA page_size = %d", pageSize),
	"PRAGMA journal_mode = WAL",
	"PRAGMA synchronous = FULL",
	"PRAGMA wal_autocheckpoint = 0",
	"PRAGMA cache_size = -32768",
	"PRAGMA temp_store = MEMORY",
	"PRAGMA foreign_keys = OFF",
}

// openSQLite opens the readers and the writer of the file at path.
func openSQLite(ctx context.Context, path string) (*sql.DB, *sqliteWriter, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, nil, err
	}
	// Made here and not by the engine, so that others cannot read it.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, &gateway.Error{Code: gateway.CodeUnavailable, Message: "the database file cannot be opened", RetryAfter: retryAfter, Err: err}
	}
	if err := f.Close(); err != nil {
		return nil, nil, err
	}
	w := &sqliteWriter{path: path, checkpointAt: checkpointPages, turn: make(chan struct{}, 1), full: make(chan struct{}, 1), used: make(chan struct{}, 1), stop: make(chan struct{})}
	if err := w.connect(); err != nil {
		return nil, nil, err
	}
	if err := migrateSQLite(ctx, path); err != nil {
		w.engine.close()
		return nil, nil, err
	}
	checkpointer, err := openEngine(path)
	if err != nil {
		w.engine.close()
		return nil, nil, err
	}
	for _, pragma := range []string{fmt.Sprintf("PRAGMA busy_timeout = %d", checkpointWait.Milliseconds()), "PRAGMA synchronous = FULL", "PRAGMA wal_autocheckpoint = 0"} {
		if err := checkpointer.exec(pragma); err != nil {
			checkpointer.close()
			w.engine.close()
			return nil, nil, err
		}
	}
	db, err := sql.Open("sqlite", sqliteDSN(path,
		fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "query_only(1)", "cache_size(-1024)", "temp_store(MEMORY)"))
	if err != nil {
		checkpointer.close()
		w.engine.close()
		return nil, nil, err
	}
	db.SetMaxOpenConns(readers)
	db.SetMaxIdleConns(readers)
	db.SetConnMaxIdleTime(time.Minute)
	w.done.Go(func() { w.checkpoints(checkpointer) })
	return db, w, nil
}

// sqliteDSN is the name of the file at path for the driver of database/sql.
func sqliteDSN(path string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// migrateSQLite applies the migrations that the file has not seen. A file with
// newer ones is refused.
func migrateSQLite(ctx context.Context, path string) (err error) {
	db, err := sql.Open("sqlite", sqliteDSN(path, fmt.Sprintf("busy_timeout(%d)", busyTimeout.Milliseconds()), "synchronous(FULL)"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(tagsMigration("sqlite"), domainsMigration("sqlite")))
	if err != nil {
		return err
	}
	return migrate(ctx, p)
}

// sqliteWriter is the one connection that writes, and the goroutine that
// empties its log.
type sqliteWriter struct {
	path string
	// turn is held by whoever uses the fields up to the next comment.
	turn   chan struct{}
	engine *engine // nil after a fault, until connect
	closed bool
	bulk   map[string]*stmt
	// ids caches the table sequences: the next id of each kind. It is filled by
	// the first use after a start, a rollback, or a change by another process.
	ids          map[gateway.IDKind]int64
	names        eventNames
	dataVersion  int64
	sweep        sweep  // where forgetMessages stopped
	unsaved      int    // pages in the log
	written      uint32 // engine.pagesWritten at the last commit
	checkpointAt int    // pages in the log at which a checkpoint is due

	full chan struct{} // the log has gathered checkpointPages
	used chan struct{} // a transaction ended
	stop chan struct{}
	done sync.WaitGroup
}

// connect opens the writer's connection. The turn is held, or nobody else
// knows w yet.
func (w *sqliteWriter) connect() error {
	e, err := openEngine(w.path)
	if err != nil {
		return err
	}
	for _, pragma := range writerSettings {
		if err := e.exec(pragma); err != nil {
			e.close()
			return err
		}
	}
	w.engine, w.bulk, w.ids, w.written = e, map[string]*stmt{}, map[gateway.IDKind]int64{}, 0
	return nil
}

// disconnect drops a connection that cannot be trusted any more; the next
// transaction makes a new one.
func (w *sqliteWriter) disconnect() {
	w.engine.close()
	w.engine, w.bulk, w.ids = nil, nil, nil
}

func (w *sqliteWriter) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil { // select picks at random
		return err
	}
	select {
	case w.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.closed {
		<-w.turn
		return errClosed
	}
	return nil
}

func (w *sqliteWriter) unlock() { <-w.turn }

func (w *sqliteWriter) close() error {
	w.turn <- struct{}{}
	if w.closed {
		<-w.turn
		return nil
	}
	w.closed = true
	<-w.turn
	close(w.stop)
	w.done.Wait()
	if w.engine == nil {
		return nil
	}
	// The last connection would checkpoint by itself, but say nothing if it
	// cannot. A log that stays is no loss: the next start reads it. So nobody who
	// stops civgate has to wait long for it.
	err := w.engine.exec(fmt.Sprintf("PRAGMA busy_timeout = %d", checkpointWait.Milliseconds()))
	if err == nil {
		_, err = w.engine.checkpoint(sqlite3.SQLITE_CHECKPOINT_TRUNCATE)
	}
	w.engine.close()
	w.engine = nil
	if code, ok := sqliteCode(err); ok && code&0xff == sqlite3.SQLITE_BUSY {
		return nil
	}
	return err
}

// checkpoints moves the log into the file until w is stopped, on a connection
// of its own so that most of the work is done beside the writer.
func (w *sqliteWriter) checkpoints(e *engine) {
	defer e.close()
	idle := time.NewTimer(quiet)
	defer idle.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.used:
			idle.Reset(quiet)
		case <-w.full:
			w.drain(e)
		case <-idle.C:
			w.rest(e)
		}
	}
}

// drain moves the log into the file: first what is there while the writer goes
// on, then, with the writer held, the little that came meanwhile. After that
// the log is wholly in the file and the writer starts it over, unless a reader
// still needs it; then the next drain will do. Trouble shows in the writer's
// own transactions, so that here it only means another try.
func (w *sqliteWriter) drain(e *engine) {
	if _, err := e.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE); err != nil {
		return
	}
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if left, err := e.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE); err == nil && left == 0 {
		w.unsaved = 0
	}
}

// rest is for when nothing happens: the log is emptied, so that a copy of the
// file is whole and a start reads no log, and cached pages are given back.
func (w *sqliteWriter) rest(e *engine) {
	w.turn <- struct{}{}
	defer func() { <-w.turn }()
	if _, err := e.checkpoint(sqlite3.SQLITE_CHECKPOINT_TRUNCATE); err == nil {
		w.unsaved = 0
	}
	if w.engine != nil {
		w.engine.releaseMemory()
	}
}

// begin starts a write transaction.
func (w *sqliteWriter) begin() error {
	if w.engine == nil {
		if err := w.connect(); err != nil {
			return err
		}
	}
	if err := w.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	s, err := w.stmt("PRAGMA data_version")
	if err != nil {
		return err
	}
	if _, err := s.step(); err != nil {
		return err
	}
	version := s.columnInt(0)
	s.reset()
	if version != w.dataVersion {
		w.dataVersion = version
		clear(w.ids)
		w.names.forget()
	}
	return nil
}

func (w *sqliteWriter) commit() error {
	if err := w.run("COMMIT"); err != nil {
		return err
	}
	written := w.engine.pagesWritten()
	w.unsaved += int(written - w.written)
	w.written = written
	if w.unsaved >= w.checkpointAt {
		signal(w.full)
	}
	signal(w.used)
	return nil
}

// rollback ends the transaction, if the engine has not done so itself, and
// forgets what it left in memory.
func (w *sqliteWriter) rollback() {
	if w.engine == nil {
		return
	}
	if w.engine.inTransaction() {
		if err := w.run("ROLLBACK"); err != nil {
			w.disconnect()
			return
		}
	}
	clear(w.ids)
	w.sweep = sweep{}
}

// transact runs fn in a write transaction, with the turn held.
func (w *sqliteWriter) transact(ctx context.Context, fn func() error) (err error) {
	if err := w.lock(ctx); err != nil {
		return err
	}
	defer w.unlock()
	committed := false
	defer func() {
		if !committed {
			w.rollback()
		}
	}()
	if err := w.begin(); err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	if err := w.commit(); err != nil {
		return err
	}
	committed = true
	return nil
}

// stmt returns the prepared statement for sql.
func (w *sqliteWriter) stmt(sql string) (*stmt, error) {
	if s := w.bulk[sql]; s != nil {
		return s, nil
	}
	s, err := w.engine.prepare(sql)
	if err != nil {
		return nil, err
	}
	w.bulk[sql] = s
	return s, nil
}

// run runs a statement that has neither parameters nor rows.
func (w *sqliteWriter) run(sql string) error {
	s, err := w.stmt(sql)
	if err != nil {
		return err
	}
	return s.run()
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// exclusively implements writer: one process at a time has the file open.
func (w *sqliteWriter) exclusively(_ context.Context, fn func() error) error { return fn() }

func (w *sqliteWriter) dropQuarantined(ctx context.Context, ws gateway.WorkspaceID, id int64) error {
	return w.transact(ctx, func() error {
		s, err := w.stmt(`DELETE FROM quarantine WHERE id = ? AND workspace_id = ?`)
		if err != nil {
			return err
		}
		s.int(id)
		s.int(int64(ws))
		if err := s.run(); err != nil {
			return err
		}
		if w.engine.changes() == 0 {
			return notFound("quarantined entry")
		}
		return nil
	})
}
