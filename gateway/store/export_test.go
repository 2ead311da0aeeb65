package store

import (
	"database/sql"
	"fmt"
	"testing"

	"civgate/gateway"
)

// LimitPages lets the database file grow to n pages at most: what the engine
// then says is what it says on a full disk.
func LimitPages(t *testing.T, s *Store, n int) {
	t.Helper()
	w := s.writer.(*sqliteWriter)
	w.turn <- struct{}{}
	defer w.unlock()
	if err := w.engine.exec(fmt.Sprintf("PRAGMA max_page_count = %d", n)); err != nil {
		t.Fatal(err)
	}
}

// CheckpointEvery sets the number of pages at which the log is moved into the
// file.
func CheckpointEvery(t *testing.T, s *Store, pages int) {
	t.Helper()
	w := s.writer.(*sqliteWriter)
	w.turn <- struct{}{}
	defer w.unlock()
	w.checkpointAt = pages
}

// PagesWritten is how many pages the writer wrote into the log.
func PagesWritten(s *Store) uint32 {
	w := s.writer.(*sqliteWriter)
	w.turn <- struct{}{}
	defer w.unlock()
	return w.written
}

// Path is the file of a store in SQLite.
func (s *Store) Path() string { return s.writer.(*sqliteWriter).path }

// WriterSetting is a setting of the server as it is for the store's
// transactions.
func WriterSetting(t *testing.T, s *Store, name string) (value string) {
	t.Helper()
	err := s.writer.(*postgresWriter).transact(t.Context(), func(tx *postgresTx) error {
		return tx.row(&value, `SELECT current_setting($1)`, name)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// ReaderSetting is a setting of the server as it is for the store's reads.
func ReaderSetting(t *testing.T, s *Store, name string) (value string) {
	t.Helper()
	err := s.view(t.Context(), "setting", func(tx *sql.Tx) error {
		return tx.QueryRowContext(t.Context(), `SELECT current_setting($1)`, name).Scan(&value)
	})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// BoundSpans sets how much a search by time looks at in each of its steps.
func BoundSpans(s *Store, few, newest, many int) {
	search := *s.reader.spans
	search.spanBounds = spanBounds{few, newest, many}
	s.reader.spans = &search
}

// BoundAccounts sets how much one call looks at to tell what the people of a company
// did.
func BoundAccounts(s *Store, people, rows, chunk int) {
	search, account := *s.reader.spans, *s.reader.spans.account
	account.accountBounds = accountBounds{people: people, rows: rows, chunk: chunk}
	search.account = &account
	s.reader.spans = &search
}

// Summarize has the index of page views by time take in new blocks, and returns of how
// many ranges of them it had not known.
func Summarize(t *testing.T, s *Store) (ranges int) {
	t.Helper()
	err := s.writer.(*postgresWriter).transact(t.Context(), func(tx *postgresTx) error {
		return tx.row(&ranges, `SELECT brin_summarize_new_values('page_views_at')`)
	})
	if err != nil {
		t.Fatal(err)
	}
	return ranges
}

// BoundNames sets how many contacts with a word a search by name looks at all, and how many
// that are not indexed yet.
func BoundNames(s *Store, few, recent int) {
	search := *s.reader.spans
	search.names.few, search.names.recent = few, recent
	s.reader.spans = &search
}

// ForgetNames empties the index of names, as it is in a database from before.
func ForgetNames(tx gateway.Tx) error {
	var on plainTx
	switch t := tx.(type) {
	case *sqliteTx:
		on = t
	case *postgresTx:
		on = t
	}
	for _, table := range []string{"name_words", "name_index", "names_due"} {
		if _, err := on.exec(`DELETE FROM ` + table); err != nil {
			return err
		}
	}
	return nil
}

// BoundOrders sets how many entries of an index one call and one statement pass by.
func BoundOrders(s *Store, passed, fence int) {
	search := *s.reader.spans
	search.orders = orderBounds{passed: passed, fence: fence}
	s.reader.spans = &search
}
