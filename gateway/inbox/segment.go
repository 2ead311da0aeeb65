package inbox

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// The format of a segment: what its header must say.
const (
	applicationID = 0x63676962 // "cgib"
	formatVersion = 1
	pageSize      = 4096
)

// busyWait is how long a statement waits for a lock that somebody else holds
// on a segment before the inbox goes on in a new one, in milliseconds.
const busyWait = 250

// newName is the name that a segment has until it is complete, spareName that
// of a log to be used again, probeName that of a file which shows that one can
// be written.
const (
	newName   = "inbox.new"
	spareName = "inbox.spare"
	probeName = "inbox.probe"
)

// The sizes of a log's header and of what it holds for each page, see
// https://sqlite.org/fileformat2.html#walformat.
const (
	logHeader = 32
	logFrame  = 24 + pageSize
)

// sidecars are the endings of the files that SQLite keeps beside a database.
var sidecars = []string{"-wal", "-shm", "-journal"}

// segment is one SQLite file with the batches from the entry first on. Where
// two segments overlap the newer one counts, see Decisions.
type segment struct {
	path  string
	first int64 // part of the name
	// last is the last acknowledged entry, first-1 if there is none. It is
	// guarded by File.mu.
	last int64

	// The rest belongs to whoever writes or removes the segment.
	conn   driver.Conn
	insert driver.Stmt
	args   []driver.NamedValue
	size   int64 // of the log, about
}

// segmentName is the file name of the segment that starts at seq.
func segmentName(seq int64) string { return fmt.Sprintf("inbox-%019d.db", seq) }

// parseSegmentName is the reverse of segmentName.
func parseSegmentName(name string) (seq int64, ok bool) {
	digits, ok := strings.CutPrefix(name, "inbox-")
	if !ok {
		return 0, false
	}
	digits, ok = strings.CutSuffix(digits, ".db")
	if !ok || len(digits) != 19 {
		return 0, false
	}
	seq, err := strconv.ParseInt(digits, 10, 64)
	return seq, err == nil && seq > 0
}

// prepareSegment makes what the next segment starts as, durably, but for its
// name: that takes a few syncs, which nobody should have to wait for.
func prepareSegment(dir string) (err error) {
	tmp := filepath.Join(dir, newName)
	defer func() {
		if err != nil {
			_ = removeFiles(tmp)
			err = fmt.Errorf("create inbox file: %w", err)
		}
	}()
	if err := removeFiles(tmp); err != nil {
		return err
	}
	// The file holds personal data: made here, it is readable by its owner
	// alone, and SQLite gives the files beside it the same mode.
	file, err := os.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return writeHeader(tmp)
}

// startSegment makes what prepareSegment left the segment that starts at first,
// durably, and opens it for writing. Nothing is left of either after an error,
// but a crash may bring back the segment if it was named.
func startSegment(dir string, first int64) (_ *segment, named bool, err error) {
	s := &segment{path: filepath.Join(dir, segmentName(first)), first: first, last: first - 1}
	tmp := filepath.Join(dir, newName)
	if err := os.Rename(tmp, s.path); err != nil {
		_ = removeFiles(tmp)
		return nil, false, fmt.Errorf("name inbox file: %w", err)
	}
	err = os.Rename(filepath.Join(dir, spareName), s.path+"-wal")
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = syncDir(dir)
	}
	if err == nil {
		err = s.openWriter()
	}
	if err != nil {
		_ = s.remove(0)
		return nil, true, fmt.Errorf("start inbox file: %w", err)
	}
	return s, true, nil
}

// writeHeader fills an empty file with all but the batches.
func writeHeader(path string) error {
	conn, err := connect(path)
	if err != nil {
		return err
	}
	err = execAll(conn,
		fmt.Sprintf("PRAGMA page_size=%d", pageSize),
		// A crash here leaves a file that nobody will ever read.
		"PRAGMA journal_mode=MEMORY",
		"PRAGMA synchronous=FULL",
		"BEGIN",
		fmt.Sprintf("PRAGMA application_id=%d", applicationID),
		fmt.Sprintf("PRAGMA user_version=%d", formatVersion),
		"CREATE TABLE batches (seq INTEGER PRIMARY KEY, n INTEGER NOT NULL, data BLOB NOT NULL) STRICT",
		"COMMIT",
		"PRAGMA journal_mode=WAL",
	)
	return errors.Join(err, conn.Close())
}

// openWriter opens the segment to append to it.
func (s *segment) openWriter() error {
	conn, err := connect(s.path)
	if err != nil {
		return err
	}
	err = execAll(conn,
		"PRAGMA synchronous=FULL",
		// A segment dies before its log would be worth copying.
		"PRAGMA wal_autocheckpoint=0",
		"PRAGMA cache_size=-512",
		"PRAGMA cache_spill=OFF",
	)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	stmt, err := conn.Prepare("INSERT INTO batches (seq, n, data) VALUES (?, ?, ?)")
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	s.conn, s.insert = conn, stmt
	s.args = []driver.NamedValue{{Ordinal: 1}, {Ordinal: 2}, {Ordinal: 3}}
	return nil
}

// append commits one batch. After an error the batch may be in the file all the
// same: the caller has to leave the segment, see abandon.
func (s *segment) append(seq int64, n int, data []byte) error {
	s.args[0].Value, s.args[1].Value, s.args[2].Value = seq, int64(n), data
	// A context that can't end: the driver starts a goroutine for every other.
	_, err := s.insert.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return fmt.Errorf("append to inbox file %s: %w", s.path, err)
	}
	s.size += (int64(len(data))/pageSize + 2) * logFrame
	return nil
}

// abandon cuts from the log what a commit that went wrong may have left there,
// so that a killed process can't find it again.
func (s *segment) abandon() {
	// Should anything here fail, then the next segment voids what is left.
	frames := int64(-1)
	err := query(s.conn, "PRAGMA wal_checkpoint(NOOP)")(func(row []driver.Value) error {
		frames, _ = row[1].(int64)
		return nil
	})
	if err == nil && frames >= 0 {
		// A path, not a descriptor: see Decisions.
		_ = os.Truncate(s.path+"-wal", logHeader+frames*logFrame)
	}
}

// rest gives back the memory of a segment that is full.
func (s *segment) rest() {
	_ = execAll(s.conn, "PRAGMA shrink_memory")
}

// empty says that no acknowledged entry is in the segment.
func (s *segment) empty() bool { return s.last < s.first }

// isBusy says that somebody else holds a lock on the file, so that nothing was
// written.
func isBusy(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	code := e.Code() & 0xff
	return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
}

// close closes the segment's connection; the segment stays.
func (s *segment) close() error {
	if s.conn == nil {
		return nil
	}
	var err error
	if s.insert != nil {
		err = s.insert.Close()
	}
	err = errors.Join(err, s.conn.Close())
	s.conn, s.insert = nil, nil
	return err
}

// remove deletes the segment for good; a log of up to maxSpare bytes becomes the
// spare one. It may be called again after an error.
func (s *segment) remove(maxSpare int64) error {
	// The database goes first: SQLite won't copy the log of a database that was
	// moved away when its last connection closes. A system that refuses to
	// delete open files gets a second try.
	err := errors.Join(os.Remove(s.path), s.close())
	if maxSpare > 0 && s.size <= maxSpare && err == nil {
		_ = spareLog(s.path + "-wal") // if it fails the log is deleted
	}
	if again := removeFiles(s.path); again != nil {
		return errors.Join(err, again)
	}
	return nil
}

// spareLog makes a log void and the spare one. SQLite takes a log without a
// header for an empty one, and what follows for noise; writing over it costs
// half as much as a file that grows.
func spareLog(path string) error {
	log, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	// It must be void for good before it gets another name.
	_, err = log.WriteAt(make([]byte, logHeader), 0)
	if err == nil {
		err = log.Sync()
	}
	if err = errors.Join(err, log.Close()); err != nil {
		return err
	}
	return os.Rename(path, filepath.Join(filepath.Dir(path), spareName))
}

// removeFiles deletes a database and what SQLite keeps beside it.
func removeFiles(path string) error {
	for _, p := range []string{"", sidecars[0], sidecars[1], sidecars[2]} {
		if err := os.Remove(path + p); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// batchInfo is a batch without its data.
type batchInfo struct {
	first, last, bytes int64
}

// openOld opens a segment of an earlier run, checks it, and lists its batches
// with entries after seq and before end, cut off there.
func (s *segment) openOld(seq, end int64) (batches []batchInfo, err error) {
	s.conn, err = openReader(s.path)
	if err != nil {
		return nil, err
	}
	want := int64(-1)
	err = query(s.conn, "SELECT seq, n, length(data) FROM batches WHERE seq >= "+
		"coalesce((SELECT max(seq) FROM batches WHERE seq <= ?1), 0) ORDER BY seq", seq+1)(
		func(row []driver.Value) error {
			b := batchInfo{first: row[0].(int64), bytes: row[2].(int64)}
			if b.first >= end {
				return io.EOF
			}
			n := row[1].(int64)
			if n < 1 || b.first < s.first || want >= 0 && b.first != want {
				return fmt.Errorf("batch %d is not where it belongs: %w", b.first, errPack)
			}
			want = b.first + n
			b.first, b.last = max(b.first, seq+1), min(want, end)-1
			if b.first <= b.last {
				batches = append(batches, b)
			}
			return nil
		})
	if err != nil {
		return nil, readError(s.path, err)
	}
	return batches, nil
}

// openReader opens a segment to read it and checks its header.
func openReader(path string) (driver.Conn, error) {
	conn, err := connect(path)
	if err != nil {
		return nil, err
	}
	var header []int64
	for _, q := range []string{"PRAGMA application_id", "PRAGMA user_version"} {
		err := query(conn, q)(func(row []driver.Value) error {
			header = append(header, row[0].(int64))
			return nil
		})
		if err != nil {
			return nil, errors.Join(readError(path, err), conn.Close())
		}
	}
	switch {
	case len(header) != 2 || header[0] != applicationID:
		err = fmt.Errorf("%s is not an inbox file of civgate: move it away", path)
	case header[1] != formatVersion:
		err = fmt.Errorf("inbox file %s has format %d, this civgate knows format %d", path, header[1], formatVersion)
	default:
		err = execAll(conn, "PRAGMA query_only=1", "PRAGMA wal_autocheckpoint=0", "PRAGMA cache_size=-256")
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// readError says which file could not be read, and what to do if it is broken.
func readError(path string, err error) error {
	damaged := errors.Is(err, errPack)
	var e *sqlite.Error
	if errors.As(err, &e) {
		code := e.Code() & 0xff
		damaged = damaged || code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
	}
	if damaged {
		return fmt.Errorf("inbox file %s is damaged, move it away to go on without what it holds: %w", path, err)
	}
	return fmt.Errorf("read inbox file %s: %w", path, err)
}

// connect opens a connection to an existing SQLite file, without database/sql:
// a segment has one writer and its reader, and neither needs a pool.
func connect(path string) (driver.Conn, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	slashed := filepath.ToSlash(abs)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed
	}
	u := url.URL{Scheme: "file", Path: slashed, RawQuery: fmt.Sprintf("mode=rw&_busy_timeout=%d&_error_rc=1", busyWait)}
	connector, err := sqlite.NewConnector(u.String())
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(context.Background())
	if err != nil {
		return nil, readError(path, err)
	}
	return conn, nil
}

// execAll runs statements without arguments.
func execAll(conn driver.Conn, statements ...string) error {
	for _, s := range statements {
		if _, err := conn.(driver.ExecerContext).ExecContext(context.Background(), s, nil); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// query returns a loop over the rows of a query. A body that returns io.EOF
// ends it early.
func query(conn driver.Conn, q string, args ...int64) func(body func(row []driver.Value) error) error {
	return func(body func(row []driver.Value) error) (err error) {
		values := make([]driver.NamedValue, len(args))
		for i, a := range args {
			values[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
		}
		rows, err := conn.(driver.QueryerContext).QueryContext(context.Background(), q, values)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, rows.Close()) }()
		row := make([]driver.Value, len(rows.Columns()))
		for {
			err := rows.Next(row)
			if err == nil {
				err = body(row)
			}
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

// syncDir makes what was created, renamed or deleted in dir durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory can't be synced there
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
