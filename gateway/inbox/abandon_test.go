package inbox

import (
	"os"
	"path/filepath"
	"testing"

	"civgate/gateway"
)

// A commit that fails after its frames reached the log, in the sync, leaves
// what looks like a good commit to whoever opens the file after a crash.
// This puts such frames there behind SQLite's back.
func TestAbandonCutsTheLog(t *testing.T) {
	t.Parallel()
	batch := pack(nil, []*gateway.Entry{{Body: []byte("body")}})
	begin := func(t *testing.T) *segment {
		dir := t.TempDir()
		if err := prepareSegment(dir); err != nil {
			t.Fatal(err)
		}
		s, _, err := startSegment(dir, 1)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.close() })
		return s
	}
	// copyTo copies a segment as a crash would leave it.
	copyTo := func(t *testing.T, path string, s *segment) {
		for _, end := range []string{"", "-wal"} {
			data, err := os.ReadFile(s.path + end)
			if err == nil {
				err = os.WriteFile(path+end, data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, abandoned := range []bool{false, true} {
		first := begin(t)
		if err := first.append(1, 1, batch); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), segmentName(1))
		copyTo(t, path, first)
		good, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		if err := first.append(2, 1, batch); err != nil {
			t.Fatal(err)
		}

		s := &segment{path: path, first: 1, last: 1}
		if err := s.openWriter(); err != nil {
			t.Fatal(err)
		}
		if err := execAll(s.conn, "SELECT count(*) FROM batches"); err != nil { // finds the log
			t.Fatal(err)
		}
		log, err := os.ReadFile(first.path + "-wal")
		if err == nil {
			err = os.WriteFile(path+"-wal", log, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		want := int64(2)
		if abandoned {
			s.abandon()
			want = 1
			if info, err := os.Stat(path + "-wal"); err != nil || info.Size() != good.Size() {
				t.Fatalf("log is %d bytes, want %d (%v)", info.Size(), good.Size(), err)
			}
		}
		crashed := &segment{path: filepath.Join(t.TempDir(), segmentName(1)), first: 1}
		copyTo(t, crashed.path, s)
		batches, err := crashed.openOld(0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if got := batches[len(batches)-1].last; got != want {
			t.Errorf("abandoned %v: the file ends with entry %d, want %d", abandoned, got, want)
		}
		if err := crashed.close(); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
}
