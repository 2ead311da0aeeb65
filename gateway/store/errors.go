package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"civgate/gateway"
)

// retryAfter is what a caller is told to wait when the database cannot serve.
const retryAfter = time.Second

// cannotServe is the message for everything that waiting may mend.
const cannotServe = "the database cannot be used right now, try again"

func unavailable(message string, err error) error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: message, RetryAfter: retryAfter, Err: err}
}

// translate turns what a driver says into an *gateway.Error where that has a
// meaning for the caller, and wraps everything else with the operation. Only
// this file knows the drivers' errors.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *gateway.Error
	if errors.As(err, &known) {
		return fmt.Errorf("%s: %w", op, err)
	}
	// Before the end of a context: a connection that takes too long ends one of
	// the driver's own.
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) && !errors.Is(err, context.Canceled) {
		return unavailable(cannotServe, fmt.Errorf("%s: %w", op, err))
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return &gateway.Error{Code: gateway.CodeNotFound, Message: op + ": not found", Err: err}
	}
	// database/sql has no value for this one.
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, errClosed) || err.Error() == "sql: database is closed" {
		return unavailable("the store is closed", err)
	}
	if code, ok := sqliteCode(err); ok {
		return translateSQLite(op, code, err)
	}
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return translatePostgres(op, pg.Code, err)
	}
	if connectionLost(err) {
		return unavailable(cannotServe, fmt.Errorf("%s: %w", op, err))
	}
	return fmt.Errorf("%s: %w", op, err)
}

func conflict(op string, err error) error {
	return &gateway.Error{Code: gateway.CodeConflict, Message: "an identifier is taken already", Err: fmt.Errorf("%s: %w", op, err)}
}

func translateSQLite(op string, code int32, err error) error {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return conflict(op, err)
	}
	switch code & 0xff {
	// A damaged file is here too: to the one who writes it looks like a disk that
	// fails, and what waits must wait until somebody has put it right.
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return unavailable(cannotServe, fmt.Errorf("%s: %w", op, err))
	}
	return fmt.Errorf("%s: %w", op, err)
}

// sqliteCode finds the extended result code in err, from the engine or from
// the driver of database/sql.
func sqliteCode(err error) (int32, bool) {
	var ee *engineError
	if errors.As(err, &ee) {
		return ee.code, true
	}
	var de *sqlite.Error
	if errors.As(err, &de) {
		return int32(de.Code()), true
	}
	return 0, false
}

// The SQLSTATEs that are told apart; see PostgreSQL's appendix A.
const (
	pgUnique        = "23505"
	pgForeignKey    = "23503"
	pgSerialization = "40001"
	pgDeadlock      = "40P01"
	pgReadOnly      = "25006"
	pgBadText       = "22021" // not UTF-8, or with a zero byte
)

func translatePostgres(op, code string, err error) error {
	err = fmt.Errorf("%s: %w", op, err)
	switch code {
	case pgUnique:
		return conflict(op, err)
	case pgForeignKey:
		return &gateway.Error{Code: gateway.CodeNotFound, Message: "what this belongs to does not exist", Err: err}
	case pgBadText:
		return &gateway.Error{Code: gateway.CodeInvalid, Message: "send texts in UTF-8 and without zero bytes", Err: err}
	case pgReadOnly, pgSerialization, pgDeadlock,
		"25P03", "25P04", // idle_in_transaction_session_timeout, transaction_timeout
		"55P03", // lock_timeout
		// What a change of the server brought and another one mends: a role, a
		// database, a schema, or a table is missing. Payloads wait for that; taken
		// for their own fault they would all be set aside.
		"3D000", "3F000", "42501", "42P01", "42703", "42704":
		return unavailable(cannotServe, err)
	}
	switch code[:min(len(code), 2)] {
	case "08", "28", "53", "57", "58", "XX": // connection, sign-in, resources, operator, system, damage
		return unavailable(cannotServe, err)
	}
	return err
}

// pgCode is the SQLSTATE in err, "" if there is none.
func pgCode(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// collided reports whether a transaction failed because of others that ran at
// the same time, so that it may succeed when it is run again.
func collided(err error) bool {
	code := pgCode(err)
	return code == pgSerialization || code == pgDeadlock
}

// connectionLost reports whether err says that the connection to the server
// broke.
func connectionLost(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err)
}

// brokenUnused reports whether err is what a pooled connection says that was
// broken or ended (57P: by the operator) before it was used. It is never that
// of a new one.
func brokenUnused(err error) bool {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return false
	}
	code := pgCode(err)
	return len(code) == 5 && code[:3] == "57P" || code == "" && connectionLost(err)
}

// refused reports whether err is the server's no to the URL, which it repeats
// until somebody changes the one or the other.
func refused(err error) bool {
	switch pgCode(err) {
	case "28P01", "28000", "3D000", "42501", "3F000":
		return true
	}
	return false
}
