package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

// sqliteFiles are the segments in dir, oldest first.
func sqliteFiles(t testing.TB, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "inbox-*.db"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// dirSize is the size of all files in dir.
func dirSize(t testing.TB, dir string) (size int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if os.IsNotExist(err) {
			continue // removed meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	return size
}

// foreign opens a connection of somebody else to a SQLite file.
func foreign(t testing.TB, path string) *sql.Conn {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func execSQL(t testing.TB, conn *sql.Conn, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := conn.ExecContext(context.Background(), s); err != nil {
			t.Fatal(s, err)
		}
	}
}

func TestFilesStayBounded(t *testing.T) {
	t.Parallel()
	const perCall, callers, segment = 50, 8, 1 << 20
	rows := 300_000
	if raceDetector {
		rows /= 10
	}
	dir := memoryDir(t)
	f := open(t, dir, 0, inbox.Options{SegmentBytes: segment})
	body := strings.Repeat("x", 650)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range rows / perCall / callers {
				entries := make([]*gateway.Entry, perCall)
				for i := range entries {
					entries[i] = entry(body)
				}
				if err := f.Append(context.Background(), entries...); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	// Never quite empty: the last batch is applied after the next one came.
	var largest, before int64
	for n := 0; n < rows; {
		entries, err := f.Next(context.Background(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
		f.Applied(before)
		before = entries[len(entries)-1].Seq
		if n%10 == 0 {
			largest = max(largest, dirSize(t, dir))
		}
	}
	wg.Wait()
	// The active segment, one that is about to go, one that is being removed,
	// the spare log, and what one group may write beyond the bound.
	if limit := int64(8 * segment); largest > limit {
		t.Errorf("the folder grew to %d bytes, more than %d", largest, limit)
	}
}

// A commit that reported an error may be in the file nonetheless. The next
// segment starts with the same number, and that settles it.
func TestLaterSegmentVoidsTheEndOfAnEarlierOne(t *testing.T) {
	t.Parallel()
	dir, other := t.TempDir(), t.TempDir()
	f := open(t, dir, 0, inbox.Options{})
	add(t, f, "1", "2")
	add(t, f, "3", "void", "void")
	add(t, f, "void")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, other, 3, inbox.Options{})
	add(t, f, "4")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range sqliteFiles(t, other) {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
	for _, applied := range []int64{0, 2, 3} {
		f = open(t, dir, applied, inbox.Options{})
		wantPending(t, f, 4-applied)
		wantBodies(t, take(t, f, int(4-applied), 2), applied+1, numbers(int(applied)+1, 4)...)
		wantNone(t, f)
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	f = open(t, dir, 4, inbox.Options{})
	wantPending(t, f, 0)
	add(t, f, "5")
	wantBodies(t, take(t, f, 1, 1), 5, "5")
}

func TestMissingSegmentIsSkipped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{SegmentBytes: 1})
	for _, n := range numbers(1, 5) {
		add(t, f, n)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files := sqliteFiles(t, dir)
	if len(files) != 5 {
		t.Fatalf("%d segments, want 5", len(files))
	}
	if err := os.Remove(files[2]); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, 0, inbox.Options{})
	wantPending(t, f, 4)
	got := take(t, f, 4, 10)
	for i, want := range []int64{1, 2, 4, 5} {
		if got[i].Seq != want {
			t.Fatalf("entry %d is %d, want %d", i, got[i].Seq, want)
		}
	}
	f.Applied(5)
	wantPending(t, f, 0)
}

func TestLockedFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f := open(t, dir, 0, inbox.Options{QueueEntries: 1})
	add(t, f, "1")
	files := sqliteFiles(t, dir)
	other := foreign(t, files[len(files)-1])
	execSQL(t, other, "BEGIN IMMEDIATE")
	add(t, f, "2")
	add(t, f, "3", "4")
	wantBodies(t, take(t, f, 4, 1), 1, numbers(1, 4)...)
	execSQL(t, other, "ROLLBACK")
	add(t, f, "5")
	f.Applied(4)
	wantPending(t, f, 1)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir, 4, inbox.Options{})
	wantBodies(t, take(t, f, 1, 1), 5, "5")
}

func TestFolderVanishes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "inbox")
	f := open(t, dir, 0, inbox.Options{SegmentBytes: 1})
	add(t, f, "1")
	f.Applied(1)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		// The first may still find room in the file that is open.
		if err := f.Append(context.Background(), entry("2")); err != nil {
			wantUnavailable(t, err)
		}
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	add(t, f, "back")
}

func TestDamagedFiles(t *testing.T) {
	t.Parallel()
	segment := func(t *testing.T) []byte {
		dir := t.TempDir()
		f := open(t, dir, 0, inbox.Options{})
		add(t, f, strings.Repeat("a", 30_000))
		add(t, f, strings.Repeat("b", 30_000))
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(sqliteFiles(t, dir)[0])
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	change := func(statements ...string) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, segment(t), 0o600); err != nil {
				t.Fatal(err)
			}
			conn := foreign(t, path)
			execSQL(t, conn, statements...)
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(data func(t *testing.T) []byte) func(t *testing.T, path string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, data(t), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name   string
		make   func(t *testing.T, path string)
		want   string
		atNext bool // only reading the entries shows it
	}{
		{"text", write(func(*testing.T) []byte { return []byte(strings.Repeat("not a database ", 1000)) }), "damaged", false},
		{"empty", write(func(*testing.T) []byte { return nil }), "not an inbox file", false},
		{"cut off", write(func(t *testing.T) []byte { return segment(t)[:5000] }), "damaged", false},
		{"foreign database", change("PRAGMA application_id=1"), "not an inbox file", false},
		{"newer format", change("PRAGMA user_version=2"), "format 2", false},
		{"batch gone", change("INSERT INTO batches VALUES (9, 1, x'00')"), "damaged", false},
		{"count wrong", change("UPDATE batches SET n=0"), "damaged", false},
		{"count too large", change("UPDATE batches SET n=1000000 WHERE seq=2"), "damaged", true},
		{"body changed", write(func(t *testing.T) []byte {
			data := segment(t)
			i := strings.Index(string(data), strings.Repeat("b", 100))
			data[i] ^= 1
			return data
		}), "damaged", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, fmt.Sprintf("inbox-%019d.db", 1))
			tt.make(t, path)
			f, err := inbox.Open(context.Background(), dir, 0, inbox.Options{})
			if err == nil {
				defer func() { _ = f.Close() }()
				if !tt.atNext {
					t.Fatal("opened")
				}
				take(t, f, 1, 1)
				for range 2 { // it stays an error, and nothing is skipped
					_, err = f.Next(context.Background(), 1)
					if err == nil {
						t.Fatal("read")
					}
				}
			}
			if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %q, want %q and %s", err, tt.want, path)
			}
			if _, err := os.Stat(path); err != nil {
				t.Fatal("the file is gone:", err)
			}
		})
	}
}

func TestLeftoversAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names := []string{
		"inbox.new", "inbox.new-wal", "inbox.spare",
		"inbox-0000000000000000007.db-wal", "inbox-0000000000000000007.db-shm",
	}
	for _, n := range append(names, "other-file") {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("left behind"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f := open(t, dir, 6, inbox.Options{})
	add(t, f, "7")
	wantBodies(t, take(t, f, 1, 1), 7, "7")
	f.Applied(7)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var left []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if !d.IsDir() {
			left = append(left, d.Name())
		}
		return err
	})
	if err != nil || strings.Join(left, " ") != "inbox.lock other-file" {
		t.Fatalf("left are %v, %v", left, err)
	}
}
