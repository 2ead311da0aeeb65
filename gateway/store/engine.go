package store

import (
	"encoding/binary"
	"fmt"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// engine is one connection to the SQLite engine without database/sql between:
// the writer's. A connection and its statements are used by one goroutine at a
// time.
type engine struct {
	tls   *libc.TLS
	db    uintptr
	arena arena
	stmts []*stmt
}

// openEngine opens the database file at path, which must exist.
func openEngine(path string) (*engine, error) {
	e := &engine{tls: libc.NewTLS()}
	e.arena.tls = e.tls
	name, err := libc.CString(path)
	if err != nil {
		e.tls.Close()
		return nil, err
	}
	defer libc.Xfree(e.tls, name)
	out := e.tls.Alloc(8)
	defer e.tls.Free(8)
	// No mutex: one goroutine at a time is the rule here, see engine.
	rc := sqlite3.Xsqlite3_open_v2(e.tls, name, out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_NOMUTEX, 0)
	e.db = uintptr(binary.NativeEndian.Uint64(libc.GoBytes(out, 8)))
	if rc != sqlite3.SQLITE_OK {
		err := e.fault(rc, "open")
		e.close()
		return nil, err
	}
	sqlite3.Xsqlite3_extended_result_codes(e.tls, e.db, 1)
	return e, nil
}

// close finalizes all statements and closes the connection; an open
// transaction is rolled back.
func (e *engine) close() {
	for _, s := range e.stmts {
		sqlite3.Xsqlite3_finalize(e.tls, s.p)
	}
	e.stmts = nil
	sqlite3.Xsqlite3_close_v2(e.tls, e.db)
	e.arena.free()
	e.tls.Close()
}

// engineError is a result code of the engine.
type engineError struct {
	code int32 // extended
	op   string
	msg  string
}

func (e *engineError) Error() string { return fmt.Sprintf("sqlite %s: %s (%d)", e.op, e.msg, e.code) }

func (e *engine) fault(rc int32, op string) error {
	var msg string
	if e.db != 0 {
		msg = libc.GoString(sqlite3.Xsqlite3_errmsg(e.tls, e.db))
	} else {
		msg = libc.GoString(sqlite3.Xsqlite3_errstr(e.tls, rc))
	}
	return &engineError{code: rc, op: op, msg: msg}
}

// exec runs statements without parameters and without results.
func (e *engine) exec(sql string) error {
	p, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(e.tls, p)
	if rc := sqlite3.Xsqlite3_exec(e.tls, e.db, p, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return e.fault(rc, sql)
	}
	return nil
}

// inTransaction reports whether a transaction is open: the engine ends one by
// itself after some errors.
func (e *engine) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(e.tls, e.db) == 0 }

// changes is how many rows the last INSERT, UPDATE or DELETE touched.
func (e *engine) changes() int64 { return sqlite3.Xsqlite3_changes64(e.tls, e.db) }

// pagesWritten is how many pages the connection wrote, modulo 1<<32.
func (e *engine) pagesWritten() uint32 {
	out := e.tls.Alloc(8)
	defer e.tls.Free(8)
	if sqlite3.Xsqlite3_db_status(e.tls, e.db, sqlite3.SQLITE_DBSTATUS_CACHE_WRITE, out, out+4, 0) != sqlite3.SQLITE_OK {
		return 0
	}
	return binary.NativeEndian.Uint32(libc.GoBytes(out, 4))
}

// releaseMemory gives back cached pages.
func (e *engine) releaseMemory() { sqlite3.Xsqlite3_db_release_memory(e.tls, e.db) }

// checkpoint moves the log into the database file; left is how many pages of
// the log are not there yet.
func (e *engine) checkpoint(mode int32) (left int, err error) {
	out := e.tls.Alloc(8)
	defer e.tls.Free(8)
	rc := sqlite3.Xsqlite3_wal_checkpoint_v2(e.tls, e.db, 0, mode, out, out+4)
	b := libc.GoBytes(out, 8)
	left = int(int32(binary.NativeEndian.Uint32(b))) - int(int32(binary.NativeEndian.Uint32(b[4:])))
	if rc != sqlite3.SQLITE_OK {
		return left, e.fault(rc, "checkpoint")
	}
	return left, nil
}

// stmt is a prepared statement. Parameters are bound in order, by the bind
// methods, before step or run.
type stmt struct {
	e   *engine
	p   uintptr
	sql string
	n   int32 // parameters bound
	rc  int32 // first result code of a bind method that is not OK
}

// prepare compiles one statement; it lives as long as the connection.
func (e *engine) prepare(sql string) (*stmt, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(e.tls, text)
	out := e.tls.Alloc(8)
	defer e.tls.Free(8)
	rc := sqlite3.Xsqlite3_prepare_v3(e.tls, e.db, text, int32(len(sql))+1, sqlite3.SQLITE_PREPARE_PERSISTENT, out, 0)
	if rc != sqlite3.SQLITE_OK {
		return nil, e.fault(rc, "prepare "+sql)
	}
	s := &stmt{e: e, p: uintptr(binary.NativeEndian.Uint64(libc.GoBytes(out, 8))), sql: sql}
	e.stmts = append(e.stmts, s)
	return s, nil
}

func (s *stmt) bound(rc int32) {
	if rc != sqlite3.SQLITE_OK && s.rc == sqlite3.SQLITE_OK {
		s.rc = rc
	}
}

func (s *stmt) int(v int64) {
	s.n++
	s.bound(sqlite3.Xsqlite3_bind_int64(s.e.tls, s.p, s.n, v))
}

func (s *stmt) bool(v bool) {
	if v {
		s.int(1)
	} else {
		s.int(0)
	}
}

func (s *stmt) null() {
	s.n++
	s.bound(sqlite3.Xsqlite3_bind_null(s.e.tls, s.p, s.n))
}

// text binds a text that the engine reads from the arena: no copy of its own,
// no allocation.
func (s *stmt) text(v string) { bindText(s, v) }

func (s *stmt) textBytes(v []byte) { bindText(s, v) }

func bindText[T string | []byte](s *stmt, v T) {
	s.n++
	p := s.e.arena.alloc(len(v))
	if p == 0 {
		s.bound(sqlite3.SQLITE_NOMEM)
		return
	}
	copy(libc.GoBytes(p, len(v)), v)
	s.bound(sqlite3.Xsqlite3_bind_text(s.e.tls, s.p, s.n, p, int32(len(v)), 0))
}

// optional binds a text, NULL for an empty one.
func (s *stmt) optional(v string) {
	if v == "" {
		s.null()
		return
	}
	s.text(v)
}

func (s *stmt) blob(v []byte) {
	s.n++
	p := s.e.arena.alloc(len(v))
	if p == 0 {
		s.bound(sqlite3.SQLITE_NOMEM)
		return
	}
	copy(libc.GoBytes(p, len(v)), v)
	s.bound(sqlite3.Xsqlite3_bind_blob(s.e.tls, s.p, s.n, p, int32(len(v)), 0))
}

// step runs to the next row and reports whether there is one. After the last
// row, and after an error, the statement is ready to be bound again.
func (s *stmt) step() (bool, error) {
	if s.rc != sqlite3.SQLITE_OK {
		rc := s.rc
		s.reset()
		return false, s.e.fault(rc, "bind "+s.sql)
	}
	switch rc := sqlite3.Xsqlite3_step(s.e.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.reset()
		return false, nil
	default:
		err := s.e.fault(rc, s.sql)
		s.reset()
		return false, err
	}
}

// run steps through a statement whose rows, if any, are of no interest.
func (s *stmt) run() error {
	for {
		if row, err := s.step(); err != nil || !row {
			return err
		}
	}
}

// reset ends a statement before its last row.
func (s *stmt) reset() {
	sqlite3.Xsqlite3_reset(s.e.tls, s.p)
	s.n, s.rc = 0, sqlite3.SQLITE_OK
	s.e.arena.reset()
}

func (s *stmt) columnInt(i int32) int64 { return sqlite3.Xsqlite3_column_int64(s.e.tls, s.p, i) }

// columnText returns a copy of the text (or blob) in column i, "" for NULL.
func (s *stmt) columnText(i int32) string {
	p := sqlite3.Xsqlite3_column_blob(s.e.tls, s.p, i)
	if p == 0 {
		return ""
	}
	return string(libc.GoBytes(p, int(sqlite3.Xsqlite3_column_bytes(s.e.tls, s.p, i))))
}

// arenaSize is the size of the block that an arena keeps.
const arenaSize = 256 << 10

// arena hands out engine memory for the parameters of one run of a statement;
// reset takes all of it back. Bound texts stay where they are (SQLITE_STATIC),
// which saves the driver's malloc and free for each of them.
type arena struct {
	tls   *libc.TLS
	block uintptr // of arenaSize, kept
	used  int
	extra []uintptr // blocks for what did not fit
	// Rest of the newest extra block.
	tail uintptr
	left int
}

// alloc returns n bytes, never at address 0 unless memory is out.
func (a *arena) alloc(n int) uintptr {
	if a.block == 0 {
		a.block = libc.Xmalloc(a.tls, types.Size_t(arenaSize))
		if a.block == 0 {
			return 0
		}
	}
	if a.used+n <= arenaSize {
		p := a.block + uintptr(a.used)
		a.used += n
		return p
	}
	if n > a.left {
		size := max(n, arenaSize)
		p := libc.Xmalloc(a.tls, types.Size_t(size))
		if p == 0 {
			return 0
		}
		a.extra = append(a.extra, p)
		a.tail, a.left = p, size
	}
	p := a.tail
	a.tail += uintptr(n)
	a.left -= n
	return p
}

func (a *arena) reset() {
	a.used = 0
	if len(a.extra) == 0 {
		return
	}
	for _, p := range a.extra {
		libc.Xfree(a.tls, p)
	}
	a.extra, a.tail, a.left = a.extra[:0], 0, 0
}

func (a *arena) free() {
	a.reset()
	if a.block != 0 {
		libc.Xfree(a.tls, a.block)
		a.block = 0
	}
}
