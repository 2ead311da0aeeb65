package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"civgate/gateway"
)

// retryAfter is what a caller is told to wait when the database cannot serve.
const retryAfter = time.Second

// translate turns what a driver says into an *gateway.Error where that has a
// meaning for the caller, and wraps everything else with the operation. It is
// the only place that knows the drivers' errors.
func translate(op string, err error) error {
	if err == nil {
		return nil
	}
	var known *gateway.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", op, err)
	}
	if errors.Is(err, sql.ErrNoRows) {
		return &gateway.Error{Code: gateway.CodeNotFound, Message: op + ": not found", Err: err}
	}
	// database/sql has no value for this one.
	if errors.Is(err, sql.ErrConnDone) || errors.Is(err, errClosed) || err.Error() == "sql: database is closed" {
		return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the store is closed", RetryAfter: retryAfter, Err: err}
	}
	code, ok := sqliteCode(err)
	if !ok {
		return fmt.Errorf("%s: %w", op, err)
	}
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return &gateway.Error{Code: gateway.CodeConflict, Message: "an identifier is taken already", Err: fmt.Errorf("%s: %w", op, err)}
	}
	switch code & 0xff {
	// A damaged file is here too: to the one who writes it looks like a disk that
	// fails, and what waits must wait until somebody has put it right.
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOLFS,
		sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the database cannot be used right now, try again", RetryAfter: retryAfter, Err: fmt.Errorf("%s: %w", op, err)}
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
