package store

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/jackc/pgx/v5"

	"civgate/gateway"
)

// plain writes what is written rarely: methods of gateway.Tx that are the same SQL
// on every database, embedded in the transaction of each. What comes in batches
// has statements of its own on each of them instead (sqlite_save.go,
// postgres_save.go).
//
// Parameters are $1, $2 and so on, each used somewhere in the text, and a text has
// no $ besides. Texts are constant, or few: SQLite keeps their statements.
type plain struct{ on plainTx }

// plainTx is what plain asks of a transaction. After an error the transaction can
// only be ended.
type plainTx interface {
	// lock keeps other transactions from the workspace until this one ends. It comes
	// before what is read in order to write.
	lock(ws gateway.WorkspaceID) error
	// exec runs a statement and returns how many rows it changed.
	exec(text string, args ...any) (changed int64, err error)
	// rows calls scan for each row that a statement returns. scan must not use the
	// transaction. Columns may be of integers, truth values and texts (bytes too), and
	// none NULL.
	rows(scan func(row scanner) error, text string, args ...any) error
}

// write runs a statement of a workspace and returns how many rows it changed.
func (p plain) write(w gateway.WorkspaceID, text string, args ...any) (changed int64, err error) {
	if err := p.on.lock(w); err != nil {
		return 0, err
	}
	return p.on.exec(text, args...)
}

// one reads the one row of a workspace that a statement returns, a CodeNotFound of what
// it is if there is none.
func (p plain) one(w gateway.WorkspaceID, what string, scan func(row scanner) error, text string, args ...any) error {
	if err := p.on.lock(w); err != nil {
		return err
	}
	found := false
	err := p.on.rows(func(row scanner) error {
		found = true
		return scan(row)
	}, text, args...)
	if err == nil && !found {
		err = notFound(what)
	}
	return err
}

var (
	_ plainTx = (*sqliteTx)(nil)
	_ plainTx = (*postgresTx)(nil)
)

// lock does nothing: there is one writer.
func (t *sqliteTx) lock(gateway.WorkspaceID) error { return t.err }

func (t *sqliteTx) exec(text string, args ...any) (int64, error) {
	s, err := t.plainStmt(text, args)
	if err != nil {
		return 0, err
	}
	if err := s.run(); err != nil {
		return 0, t.failed("write", err)
	}
	return t.w.engine.changes(), nil
}

func (t *sqliteTx) rows(scan func(row scanner) error, text string, args ...any) error {
	s, err := t.plainStmt(text, args)
	if err != nil {
		return err
	}
	for {
		row, err := s.step()
		if err == nil && !row {
			return nil
		}
		if err == nil {
			if err = scan(sqliteRow{s}); err != nil {
				s.reset()
			}
		}
		if err != nil {
			return t.failed("read", err)
		}
	}
}

// plainStmt prepares a statement and binds its parameters.
func (t *sqliteTx) plainStmt(text string, args []any) (*stmt, error) {
	if t.err != nil {
		return nil, t.err
	}
	// The engine numbers $1 and the like in the order in which it meets them, as
	// names; ?1 is the first.
	s, err := t.w.stmt(strings.ReplaceAll(text, "$", "?"))
	if err != nil {
		return nil, t.failed("prepare", err)
	}
	for i, arg := range args {
		switch v := reflect.ValueOf(arg); v.Kind() {
		case reflect.Invalid:
			s.null()
		case reflect.Int, reflect.Int64, reflect.Int32:
			s.int(v.Int())
		case reflect.Bool:
			s.bool(v.Bool())
		case reflect.String:
			s.text(v.String())
		default:
			b, ok := arg.([]byte)
			if !ok {
				s.reset()
				return nil, t.failed("write", fmt.Errorf("parameter %d is a %T", i+1, arg))
			}
			s.blob(b)
		}
	}
	return s, nil
}

// sqliteRow is the row at which a statement stands.
type sqliteRow struct{ s *stmt }

// Scan implements scanner.
func (r sqliteRow) Scan(dest ...any) error {
	for i, d := range dest {
		v := reflect.ValueOf(d)
		if v.Kind() != reflect.Pointer || v.IsNil() {
			return fmt.Errorf("column %d goes into a %T", i+1, d)
		}
		column := int32(i)
		switch v = v.Elem(); v.Kind() {
		case reflect.Int, reflect.Int64, reflect.Int32:
			v.SetInt(r.s.columnInt(column))
		case reflect.Bool:
			v.SetBool(r.s.columnInt(column) != 0)
		case reflect.String:
			v.SetString(r.s.columnText(column))
		default:
			b, ok := d.(*[]byte)
			if !ok {
				return fmt.Errorf("column %d goes into a %T", i+1, d)
			}
			*b = []byte(r.s.columnText(column))
		}
	}
	return nil
}

// rows implements plainTx.
func (t *postgresTx) rows(scan func(row scanner) error, text string, args ...any) error {
	return t.query(func(rows pgx.Rows) error { return scan(rows) }, text, args...)
}
