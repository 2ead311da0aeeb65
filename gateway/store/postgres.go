package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"civgate/gateway"
)

//go:embed migrations/postgres/*.sql
var postgresMigrations embed.FS

const (
	// postgresWriters and postgresReaders bound the connections of one Store. An
	// applier needs one writer; the others are for the API and the panel.
	postgresWriters = 4
	postgresReaders = 8

	connectTimeout = 5 * time.Second
	// acquireTimeout bounds the wait for one of the writers' connections.
	acquireTimeout = 10 * time.Second
	// statementTimeout is the server's bound for one statement, lockTimeout for
	// the wait for one lock within it. A workspace's lock is held for as long as
	// a batch takes: seconds at worst.
	statementTimeout = 30 * time.Second
	lockTimeout      = 20 * time.Second
	// idleTimeout is when the server ends a transaction whose node says nothing
	// any more, and gives its locks to the others.
	idleTimeout = 15 * time.Second
	// answerTimeout is the client's bound, for when the server cannot speak.
	answerTimeout = statementTimeout + 5*time.Second
	// migrateTimeout bounds the wait for another node's migration and one's own.
	migrateTimeout = 15 * time.Minute

	// maxWorkspaces bounds the workspaces of one transaction: each is a lock in
	// the server's table of them, which all transactions share (by default 64
	// for each connection it allows).
	maxWorkspaces = 1000

	// maxRuns is how often Update runs fn when transactions collide.
	maxRuns = 5
)

// The classes of advisory locks (first of the two keys): "cg" and a number.
const (
	lockWorkspace int32 = 0x63670001 + iota // second key: the workspace
	lockMigration
	lockForget
	lockStart
)

// plannerSettings keep the planner to searches by index from key to key. All
// statements here are such, but while a table is small, or its statistics are
// old, it would rather go through all of it.
var plannerSettings = map[string]string{
	"enable_seqscan":    "off",
	"enable_hashjoin":   "off",
	"enable_mergejoin":  "off",
	"enable_bitmapscan": "off",
	"enable_material":   "off",
	"jit":               "off",
	// Nothing here reads so much that help would be there in time.
	"max_parallel_workers_per_gather": "0",
}

// isPostgresURL reports whether the name of a database is a PostgreSQL URL.
func isPostgresURL(name string) bool {
	return strings.HasPrefix(name, "postgres://") || strings.HasPrefix(name, "postgresql://")
}

// postgresConfig reads a URL and adds what holds for all connections. What the
// URL says of time-outs and the application's name counts more.
func postgresConfig(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		// What the driver says repeats the URL, and of one that it can't read it can
		// only guess where the password is.
		return nil, gateway.Errorf(gateway.CodeInvalid, "the database URL cannot be read: write postgres://user:password@host:5432/database, special characters of the password as %%XX, and behind a ? only what PostgreSQL knows, such as sslmode=require")
	}
	c := config.ConnConfig
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = connectTimeout
	}
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 5 * time.Second, Count: 3}}
	c.DialFunc = dialer.DialContext
	for name, value := range map[string]string{
		"application_name":                    "civgate",
		"statement_timeout":                   milliseconds(statementTimeout),
		"lock_timeout":                        milliseconds(lockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
	} {
		if _, ok := c.RuntimeParams[name]; !ok {
			c.RuntimeParams[name] = value
		}
	}
	c.RuntimeParams["client_encoding"] = "UTF8"
	return config, nil
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// openPostgres brings the schema up to date and opens the readers and the
// writer.
func openPostgres(ctx context.Context, url string) (*sql.DB, *postgresWriter, error) {
	config, err := postgresConfig(url)
	if err != nil {
		return nil, nil, err
	}
	if config.ConnConfig.ValidateConnect == nil { // no target_session_attrs
		config.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsPrimary
	}
	if err := migratePostgres(ctx, config.ConnConfig.Copy()); err != nil {
		if refused(err) {
			err = &gateway.Error{Code: gateway.CodeInvalid, Message: "the server refuses the database URL: check user, password and database, and what the user may do there", Err: err}
		}
		return nil, nil, err
	}
	reads := config.ConnConfig.Copy()
	for name, value := range plannerSettings {
		reads.RuntimeParams[name] = value
		config.ConnConfig.RuntimeParams[name] = value
	}
	// All reads of a call see one state, and can do no harm.
	reads.RuntimeParams["default_transaction_isolation"] = "repeatable read"
	reads.RuntimeParams["default_transaction_read_only"] = "on"
	// A query for a list is another one for every length, so there are many.
	reads.StatementCacheCapacity = 128
	// All statements are made to have one good plan, whatever their values. It is made
	// once, and again when the tables have grown: see replan.
	reads.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	config.ConnConfig.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	w := &postgresWriter{ids: idPool{ranges: map[gateway.IDKind][]idRange{}}}
	db := stdlib.OpenDB(*reads, stdlib.OptionResetSession(func(ctx context.Context, c *pgx.Conn) error {
		if err := w.replan(ctx, c); err != nil {
			return driver.ErrBadConn // the pool takes another one
		}
		return nil
	}))
	db.SetMaxOpenConns(postgresReaders)
	db.SetMaxIdleConns(postgresReaders)
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(time.Hour)

	config.MaxConns = postgresWriters
	config.MinConns, config.MinIdleConns = 0, 0
	config.PingTimeout = connectTimeout
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		if err := fastArrays(c); err != nil {
			return err
		}
		// The inbox is told that a batch is applied when its commit is answered.
		_, err := c.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')`)
		return err
	}
	if w.pool, err = pgxpool.NewWithConfig(ctx, config); err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return db, w, nil
}

// migratePostgres applies the migrations that the database has not seen, one
// node at a time. A database with newer ones is refused.
func migratePostgres(asked context.Context, config *pgx.ConnConfig) (err error) {
	ctx, cancel := context.WithTimeout(asked, migrateTimeout)
	defer cancel()
	defer func() {
		if asked.Err() == nil && ctx.Err() != nil {
			err = unavailable("the database is being migrated, try again", err)
		}
	}()
	// A migration takes as long as it takes, and waits for locks as long.
	for _, name := range []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"} {
		config.RuntimeParams[name] = "0"
	}
	config.RuntimeParams["default_transaction_read_only"] = "off"
	db := stdlib.OpenDB(*config)
	defer func() { err = errors.Join(err, db.Close()) }()
	// The lock belongs to a connection, and so to a node that may die.
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	var encoding string
	if err := conn.QueryRowContext(ctx, `SELECT current_setting('server_encoding')`).Scan(&encoding); err != nil {
		return err
	}
	if encoding != "UTF8" {
		return gateway.Errorf(gateway.CodeInvalid, "the database has the encoding %s: make one with UTF8", encoding)
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1, 0)`, lockMigration); err != nil {
		return fmt.Errorf("wait for another node's migration: %w", err)
	}
	defer func() {
		_, unlockErr := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1, 0)`, lockMigration)
		err = errors.Join(err, unlockErr)
	}()
	files, err := fs.Sub(postgresMigrations, "migrations/postgres")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithGoMigrations(tagsMigration("postgres"), domainsMigration("postgres")))
	if err != nil {
		return err
	}
	return migrate(ctx, p)
}

// postgresWriter is the writing side of a Store over PostgreSQL.
type postgresWriter struct {
	pool   *pgxpool.Pool
	closed atomic.Bool
	ids    idPool
	names  eventNames
	grown  atomic.Int64 // rows with keys that this process has committed

	sweeping   sync.Mutex
	at         messagePlace // where forgetMessages stopped; sweeping is held
	summarized time.Time    // when summarize ran last; sweeping is held
}

func (w *postgresWriter) close() error {
	w.closed.Store(true)
	w.pool.Close()
	return nil
}

// update runs fn in a transaction, again after a collision.
func (w *postgresWriter) update(ctx context.Context, fn func(gateway.Tx) error) error {
	return w.transact(ctx, func(t *postgresTx) error { return fn(t) })
}

func (w *postgresWriter) transact(ctx context.Context, fn func(t *postgresTx) error) error {
	for run := 1; ; run++ {
		err := w.once(ctx, fn)
		if err == nil || run == maxRuns || !collided(err) {
			return err
		}
		// At random, so that those who collided do not do so again.
		pause := time.NewTimer(time.Duration(run) * time.Duration(rand.Int64N(int64(20*time.Millisecond))))
		select {
		case <-ctx.Done():
			pause.Stop()
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// once runs fn in one transaction.
func (w *postgresWriter) once(ctx context.Context, fn func(t *postgresTx) error) error {
	conn, tx, err := w.begin(ctx)
	if err != nil {
		return err
	}
	t := &postgresTx{w: w, ctx: ctx, tx: tx}
	t.plain = plain{t}
	committed := false
	defer func() {
		if !committed {
			w.undo(ctx, t)
		}
		if t.stale {
			// A server that has become a standby stays one on this connection.
			w.pool.Reset()
		}
		conn.Release()
	}()
	if err := fn(t); err != nil {
		if collided(t.err) { // however fn put it
			return t.err
		}
		return err
	}
	if t.err != nil {
		return t.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on the server decides: a commit that is taken back while it is
	// under way may have happened.
	sure, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	if err := tx.Commit(sure); err != nil {
		return t.fault(err)
	}
	committed = true
	w.grown.Add(t.grown)
	w.names.learn(t.noted)
	return nil
}

// begin starts a transaction on one of the pool's connections. That a
// connection broke while it was unused shows here, where nothing is lost by
// trying again with a new one.
func (w *postgresWriter) begin(ctx context.Context) (*pgxpool.Conn, pgx.Tx, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	for again := false; ; again = true {
		if w.closed.Load() {
			return nil, nil, errClosed
		}
		bounded, cancel := context.WithTimeout(ctx, acquireTimeout)
		conn, err := w.pool.Acquire(bounded)
		var tx pgx.Tx
		if err == nil {
			if err = w.replan(bounded, conn.Conn()); err == nil {
				tx, err = conn.BeginTx(bounded, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
			}
			if err != nil {
				conn.Release()
			}
		}
		cancel()
		switch {
		case err == nil:
			return conn, tx, nil
		case w.closed.Load():
			return nil, nil, errClosed
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case again:
			// Whatever it is, no statement of the caller's is at fault.
			return nil, nil, unavailable(cannotServe, fmt.Errorf("begin: %w", err))
		}
		w.pool.Reset()
		w.names.forget()
	}
}

// maxPlanAge and minGrowth are after what time, and after how many rows of this
// process, a connection's plans are made anew.
const (
	maxPlanAge = time.Second
	minGrowth  = 1000
)

// plans say when those of a connection were made.
type plans struct {
	at    time.Time
	grown int64
}

// replan has the server forget the plans of a connection whose tables may be
// far larger than when these were made. All ways to an empty or tiny table cost
// the same, if the server's statistics say that it is one, so it may choose to
// read all of it for each key, and to stay with that.
func (w *postgresWriter) replan(ctx context.Context, conn *pgx.Conn) error {
	p, ok := conn.PgConn().CustomData()[plansOf].(*plans)
	if !ok {
		p = &plans{at: time.Now(), grown: w.grown.Load()}
		conn.PgConn().CustomData()[plansOf] = p
		return nil
	}
	grown := w.grown.Load()
	if time.Since(p.at) < maxPlanAge && grown-p.grown < max(minGrowth, p.grown) {
		return nil
	}
	p.at, p.grown = time.Now(), grown
	_, err := conn.Exec(ctx, `DISCARD PLANS`, pgx.QueryExecModeSimpleProtocol)
	return err
}

// plansOf is the key of plans among a connection's custom data.
const plansOf = "plans"

// undo rolls back; a connection that cannot is closed, which does the same.
func (w *postgresWriter) undo(ctx context.Context, t *postgresTx) {
	// Ids of blocks whose taking is not durable could be given out again after a
	// crash of the server. And after a failure the server may be another one.
	if t.err != nil || t.blocks > 0 {
		w.ids.drop()
	}
	if t.err != nil {
		w.names.forget()
	}
	sure, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	if err := t.tx.Rollback(sure); err != nil {
		_ = t.tx.Conn().Close(sure) // what it was about is over
	}
}

// idBlock is how many ids a value of a sequence stands for (its INCREMENT).
const idBlock = 64

// maxIDBlocks is how many blocks are taken at a time, unless more are asked for.
const maxIDBlocks = 32

// idRange is the ids from first to before end.
type idRange struct{ first, end int64 }

// idPool holds ids that are taken from the sequences and not given out yet, for
// all transactions of a Store: callers ask for one id at a time.
type idPool struct {
	mu     sync.Mutex
	ranges map[gateway.IDKind][]idRange // in the order in which they are given out
}

// take gives out n ids that follow each other, if there are.
func (p *idPool) take(kind gateway.IDKind, n int64) (first int64, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.ranges[kind]
	for i := range all {
		if all[i].end-all[i].first < n {
			continue
		}
		// What is left before stays unused, so that ids rise.
		first = all[i].first
		all[i].first += n
		p.ranges[kind] = all[i:]
		return first, true
	}
	return 0, false
}

// add takes in blocks. Those that follow each other become one range.
func (p *idPool) add(kind gateway.IDKind, blocks []int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := p.ranges[kind]
	for _, first := range blocks {
		if n := len(all); n > 0 && all[n-1].end == first {
			all[n-1].end += idBlock
			continue
		}
		all = append(all, idRange{first, first + idBlock})
	}
	p.ranges[kind] = all
}

func (p *idPool) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.ranges)
}

func (w *postgresWriter) createWorkspace(ctx context.Context, ws gateway.Workspace, keys []gateway.APIKey) (id gateway.WorkspaceID, err error) {
	settings, err := json.Marshal(ws.Settings)
	if err != nil {
		return 0, err
	}
	err = w.transact(ctx, func(t *postgresTx) error {
		err := t.row(&id, `INSERT INTO workspaces (name, settings, created_at) VALUES ($1, $2, $3) RETURNING workspace_id`,
			ws.Name, string(settings), micros(ws.CreatedAt))
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := t.insertKey(id, k); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return id, nil
}

func (w *postgresWriter) addAPIKey(ctx context.Context, id gateway.WorkspaceID, k gateway.APIKey) error {
	return w.transact(ctx, func(t *postgresTx) error {
		if err := t.needWorkspace(id); err != nil {
			return err
		}
		return t.insertKey(id, k)
	})
}

func (w *postgresWriter) deleteAPIKey(ctx context.Context, id gateway.WorkspaceID, kind gateway.KeyKind, secret string) error {
	return w.transact(ctx, func(t *postgresTx) error {
		n, err := t.exec(`DELETE FROM api_keys WHERE kind = $1 AND secret = $2 AND workspace_id = $3`, string(kind), secret, int64(id))
		if err == nil && n == 0 {
			err = notFound("key")
		}
		return err
	})
}

func (w *postgresWriter) addAgent(ctx context.Context, a gateway.Agent) error {
	return w.transact(ctx, func(t *postgresTx) error {
		if err := t.needWorkspace(a.WorkspaceID); err != nil {
			return err
		}
		_, err := t.exec(`INSERT INTO agents (workspace_id, email, name, password_hash, role, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			int64(a.WorkspaceID), a.Email, a.Name, a.PasswordHash, string(a.Role), micros(a.CreatedAt))
		return err
	})
}

func (w *postgresWriter) updateSettings(ctx context.Context, id gateway.WorkspaceID, settings gateway.Settings) error {
	text, err := json.Marshal(settings)
	if err != nil {
		return err
	}
	return w.transact(ctx, func(t *postgresTx) error {
		n, err := t.exec(`UPDATE workspaces SET settings = $1 WHERE workspace_id = $2`, string(text), int64(id))
		if err == nil && n == 0 {
			err = notFound("workspace")
		}
		return err
	})
}

// messagePlace is a place in the table messages.
type messagePlace struct {
	ws int64
	id [16]byte
}

// summaryEvery is how often the indexes by ranges of blocks are brought up to date.
const summaryEvery = 30 * time.Second

// summarize has the indexes by ranges of blocks take in what was added since they were
// told last. The server does that by itself only when it vacuums, which may be a
// fifth of the table later, and a search of any time reads all that until then. It
// takes 0.1 ms a range of 16 blocks, and 0.3 ms if there is nothing to do.
func (w *postgresWriter) summarize(ctx context.Context) error {
	return w.transact(ctx, func(t *postgresTx) error {
		// It can wait until a vacuum, or another node, is done.
		if _, err := t.exec(`SELECT set_config('lock_timeout', '100', true)`); err != nil {
			return err
		}
		_, err := t.exec(`SELECT brin_summarize_new_values('page_views_at'), brin_summarize_new_values('contacts_created')`)
		return err
	})
}

// forgetMessages leaves the work to another node that is at it.
func (w *postgresWriter) forgetMessages(ctx context.Context, before time.Time, limit int) (deleted int, err error) {
	w.sweeping.Lock()
	defer w.sweeping.Unlock()
	if time.Since(w.summarized) >= summaryEvery {
		w.summarized = time.Now()
		// Searches are right without it, and the next call tries again.
		_ = w.summarize(ctx)
	}
	var next messagePlace
	err = w.transact(ctx, func(t *postgresTx) error {
		deleted, next = 0, w.at
		var mine bool
		if err := t.row(&mine, `SELECT pg_try_advisory_xact_lock($1, 0)`, lockForget); err != nil || !mine {
			return err
		}
		var seen int
		var last messagePlace
		err := t.scan([]any{&seen, &deleted, &last.ws, &last.id}, `
			WITH seen AS MATERIALIZED (
				SELECT workspace_id, id, claimed_at FROM messages WHERE (workspace_id, id) > ($1, $2) ORDER BY workspace_id, id LIMIT $3
			), gone AS (
				DELETE FROM messages m USING seen s WHERE s.claimed_at < $4 AND m.workspace_id = s.workspace_id AND m.id = s.id RETURNING 1
			), place AS (
				SELECT workspace_id, id FROM seen ORDER BY workspace_id DESC, id DESC LIMIT 1
			)
			SELECT (SELECT count(*) FROM seen), (SELECT count(*) FROM gone), COALESCE((SELECT workspace_id FROM place), 0),
				COALESCE((SELECT id FROM place), '00000000-0000-0000-0000-000000000000')`,
			w.at.ws, w.at.id, max(limit, 0), micros(before))
		if err != nil {
			return err
		}
		if next = last; seen < limit {
			next = messagePlace{}
		}
		if limit <= 0 {
			next = w.at
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	w.at = next
	return deleted, nil
}

// exclusively implements writer by a lock that belongs to a connection, and so
// goes with a node that dies.
func (w *postgresWriter) exclusively(ctx context.Context, fn func() error) (err error) {
	conn, err := w.pool.Acquire(ctx)
	if err != nil {
		return translate("wait for the other nodes", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1, 0)`, lockStart); err != nil {
		return translate("wait for the other nodes", err)
	}
	defer func() {
		if _, unlockErr := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1, 0)`, lockStart); unlockErr != nil {
			_ = conn.Conn().Close(ctx) // with it the lock is gone
		}
	}()
	return fn()
}

func (w *postgresWriter) dropQuarantined(ctx context.Context, ws gateway.WorkspaceID, id int64) error {
	return w.transact(ctx, func(t *postgresTx) error {
		n, err := t.exec(`DELETE FROM quarantine WHERE workspace_id = $1 AND id = $2`, int64(ws), id)
		if err == nil && n == 0 {
			return notFound("quarantined entry")
		}
		return err
	})
}
