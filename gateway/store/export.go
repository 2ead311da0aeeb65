package store

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"civgate/gateway"
)

// The export is a stream of JSON lines: a header, then for each table its name
// and columns, its rows as arrays, and how many there were with their checksum,
// and at last a line that says that it is whole. It holds what cannot be worked
// out from the rest: not the identifiers, which are in the contacts and visitor
// keys, and not the sequences.
const (
	exportFormat = 3
	// maxExportLine bounds a row: payloads of 32 KiB, a contact with 200 attributes
	// of 8 KiB each.
	maxExportLine = 16 << 20
)

// exportKind is how a value is written in an export.
type exportKind uint8

const (
	columnInt exportKind = iota
	columnText
	columnBool
	columnBytes
	columnUUID // 16 bytes
)

type exportColumn struct {
	name string
	kind exportKind
}

// exportTable is a table as it is in every database. Those that are referred to
// come before those that refer to them.
type exportTable struct {
	name    string
	columns []exportColumn
}

var exportTables = []exportTable{
	{"workspaces", exportColumns("workspace_id:i name:t settings:t contacts:i companies:i tags:i created_at:i")},
	{"api_keys", exportColumns("workspace_id:i kind:t secret:t name:t scope:t created_at:i")},
	{"agents", exportColumns("workspace_id:i email:t name:t password_hash:t role:t created_at:i")},
	{"attribute_defs", exportColumns("workspace_id:i entity:t name:t id:i label:t type:t is_integer:b choices:t multiple:b description:t created_at:i")},
	{"attribute_drops", exportColumns("workspace_id:i dropped:i")},
	{"companies", exportColumns("workspace_id:i id:i custom_id:t name:t attributes:t employees:i created_at:i updated_at:i")},
	{"records", exportColumns("workspace_id:i id:i entity:t key:t name:t attributes:t created_at:i updated_at:i")},
	{"contacts", exportColumns("workspace_id:i id:i custom_id:t email:t email_key:t name:t phone_number:t status:t attributes:t visitor_key:t fingerprint:i last_ip:t created_at:i updated_at:i merged_into:i unseen_at:i")},
	{"visitor_keys", exportColumns("workspace_id:i contact_id:i created_at:i key:t")},
	{"memberships", exportColumns("workspace_id:i contact_id:i company_id:i until:i since:i source:t is_primary:b made_by:t")},
	{"tags", exportColumns("workspace_id:i id:i name:t created_at:i")},
	{"tagged", exportColumns("workspace_id:i tag_id:i entity:t subject_id:i")},
	{"page_views", exportColumns("workspace_id:i id:i contact_id:i at:i visitor_key:t url:t path:t title:t referrer:t")},
	{"events", exportColumns("workspace_id:i id:i contact_id:i at:i visitor_key:t kind:t name:t data:t")},
	{"event_names", exportColumns("workspace_id:i kind:t name:t first_at:i")},
	{"lists", exportColumns("workspace_id:i id:i name:t description:t created_at:i updated_at:i")},
	{"listed", exportColumns("workspace_id:i list_id:i contact_id:i added_at:i via:i")},
	{"segments", exportColumns("workspace_id:i id:i name:t filter:t created_at:i updated_at:i")},
	{"merges", exportColumns("workspace_id:i id:i at:i made_by:t rule:t winner_id:i loser_id:i contact_before:t contact_after:t undone_at:i undone_by:t")},
	{"messages", exportColumns("workspace_id:i id:u claimed_at:i")},
	{"sessions", exportColumns("token:x data:x expires_at:i")},
	{"invitations", exportColumns("workspace_id:i email:t token:x role:t made_by:t created_at:i expires_at:i")},
	{"audit", exportColumns("workspace_id:i id:i at:i made_by:t action:t subject:t subject_id:t detail:t")},
	{"kept_answers", exportColumns("workspace_id:i key:t request:x status:i entity:t subject_id:i body:t kept_at:i")},
	{"jobs", exportColumns("workspace_id:i id:i kind:t state:t done:i total:i detail:t started_at:i updated_at:i made_by:t")},
	{"visits", exportColumns("workspace_id:i day:i count:i")},
	{"quarantine", exportColumns("workspace_id:i id:i at:i body:x reason:t")},
	{"inspections", exportColumns("workspace_id:i id:i at:i node:t verdict:t code:t contact_id:i detail:t")},
	{"inbox_positions", exportColumns("node:t seq:i")},
}

func exportColumns(text string) []exportColumn {
	var out []exportColumn
	for f := range strings.FieldsSeq(text) {
		name, kind, _ := strings.Cut(f, ":")
		out = append(out, exportColumn{name, exportKind(strings.Index("itbxu", kind))})
	}
	return out
}

func (t *exportTable) names() []string {
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return names
}

// TableSum says what a table holds: how many rows, and a checksum of all of them
// that does not depend on their order nor on the database that they are in.
type TableSum struct {
	Table string
	Rows  int64
	Sum   string
}

// rowSum adds up the SHA-256 of rows, lane by lane.
type rowSum struct {
	rows  int64
	lanes [4]uint64
}

func (s *rowSum) add(row []byte) {
	s.rows++
	sum := sha256.Sum256(row)
	for i := range s.lanes {
		s.lanes[i] += binary.BigEndian.Uint64(sum[8*i:])
	}
}

func (s *rowSum) text() string {
	var b [32]byte
	for i, v := range s.lanes {
		binary.BigEndian.PutUint64(b[8*i:], v)
	}
	return hex.EncodeToString(b[:])
}

// dialect is what an export has to know of a database.
type dialect interface {
	// uuidColumn is the SQL for the 16 bytes of a column, uuidValue what a
	// parameter for such a column is.
	uuidColumn(name string) string
	uuidValue(b []byte) any
	// patient lifts the bounds of time that a transaction of other callers has.
	patient(ctx context.Context, tx *sql.Tx) error
	// restore runs fn in a transaction that may write to all tables, and works out
	// what an export leaves out before it commits.
	restore(ctx context.Context, fn func(tx *sql.Tx) error) error
}

// Export writes all that the store holds to w, as it is at one moment, and
// returns what each table held. It needs the memory of one row and may run
// beside a working gateway.
func (s *Store) Export(ctx context.Context, w io.Writer) ([]TableSum, error) {
	tx, err := s.reader.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true, Isolation: s.writer.snapshot()})
	if err != nil {
		return nil, translate("export", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	if err := s.writer.patient(ctx, tx); err != nil {
		return nil, translate("export", err)
	}
	return exportTx(ctx, tx, s.writer, w)
}

func exportTx(ctx context.Context, tx *sql.Tx, d dialect, w io.Writer) ([]TableSum, error) {
	out := bufio.NewWriterSize(w, 64<<10)
	fmt.Fprintf(out, `{"civgate":"export","format":%d}`+"\n", exportFormat) // bufio keeps the first error until Flush
	var sums []TableSum
	for i := range exportTables {
		t := &exportTables[i]
		head, err := json.Marshal(struct {
			Table   string   `json:"table"`
			Columns []string `json:"columns"`
		}{t.name, t.names()})
		if err != nil {
			return nil, err
		}
		out.Write(append(head, '\n'))
		var sum rowSum
		if err := exportRows(ctx, tx, d, t, func(row []byte) error {
			sum.add(row)
			out.Write(row)
			return out.WriteByte('\n')
		}); err != nil {
			return nil, fmt.Errorf("export %s: %w", t.name, err)
		}
		fmt.Fprintf(out, `{"end":%q,"rows":%d,"sum":%q}`+"\n", t.name, sum.rows, sum.text())
		sums = append(sums, TableSum{t.name, sum.rows, sum.text()})
	}
	fmt.Fprintln(out, `{"civgate":"end"}`)
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("write the export: %w", err)
	}
	return sums, nil
}

// exportRows calls each with the JSON text of every row of a table.
func exportRows(ctx context.Context, tx *sql.Tx, d dialect, t *exportTable, each func(row []byte) error) error {
	names := t.names()
	for i, c := range t.columns {
		if c.kind == columnUUID {
			names[i] = d.uuidColumn(c.name)
		}
	}
	rows, err := tx.QueryContext(ctx, "SELECT "+strings.Join(names, ", ")+" FROM "+t.name)
	if err != nil {
		return translate("export", err)
	}
	defer rows.Close()
	into := make([]any, len(t.columns))
	for i, c := range t.columns {
		switch c.kind {
		case columnInt:
			into[i] = new(sql.NullInt64)
		case columnText:
			into[i] = new(sql.NullString)
		case columnBool:
			into[i] = new(sql.NullBool)
		default:
			into[i] = new([]byte)
		}
	}
	var row []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return translate("export", err)
		}
		row = append(row[:0], '[')
		for i := range into {
			if i > 0 {
				row = append(row, ',')
			}
			if row, err = appendValue(row, into[i]); err != nil {
				return fmt.Errorf("column %s: %w", t.columns[i].name, err)
			}
		}
		row = append(row, ']')
		if err := each(row); err != nil {
			return err
		}
	}
	return translate("export", rows.Err())
}

func appendValue(to []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case *sql.NullInt64:
		if v.Valid {
			return strconv.AppendInt(to, v.Int64, 10), nil
		}
	case *sql.NullString:
		if v.Valid {
			return jsontext.AppendQuote(to, v.String)
		}
	case *sql.NullBool:
		if v.Valid {
			return strconv.AppendBool(to, v.Bool), nil
		}
	case *[]byte:
		if *v != nil {
			to = append(to, '"')
			to = base64.StdEncoding.AppendEncode(to, *v)
			return append(to, '"'), nil
		}
	}
	return append(to, "null"...), nil
}

// Import fills an empty store with an export and returns what each table holds
// then, read back from the store; on an error nothing of it is there. It is a
// CodeConflict if the store has a workspace already, and a CodeInvalid if the
// export is damaged, of another format, or not whole. No gateway may work on the
// store meanwhile.
func (s *Store) Import(ctx context.Context, r io.Reader) (sums []TableSum, err error) {
	err = s.writer.restore(ctx, func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM workspaces`).Scan(&n); err != nil {
			return translate("import", err)
		}
		if n > 0 {
			return gateway.Errorf(gateway.CodeConflict, "the database is not empty (workspaces: %d): an export goes into an empty one", n)
		}
		want, err := importTx(ctx, tx, s.writer, r)
		if err != nil {
			return err
		}
		if sums, err = exportTx(ctx, tx, s.writer, io.Discard); err != nil {
			return err
		}
		for i := range sums {
			if sums[i] != want[i] {
				return gateway.Errorf(gateway.CodeInvalid, "after the import the table %s has another content than the export says: rows %d, checksum %s; it says rows %d, checksum %s",
					sums[i].Table, sums[i].Rows, sums[i].Sum, want[i].Rows, want[i].Sum)
			}
		}
		return nil
	})
	if err != nil {
		return nil, translate("import", err)
	}
	return sums, nil
}

// lines reads an export line by line.
type lines struct {
	r  *bufio.Reader
	nr int
}

func (l *lines) next() ([]byte, error) {
	l.nr++
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull) && len(line) <= maxExportLine:
			continue
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, l.bad("it is longer than %d bytes", maxExportLine)
		case errors.Is(err, io.EOF):
			return nil, l.bad("the export ends here, before its end")
		case err != nil:
			// A packed file tells by such errors that it is cut or damaged.
			return nil, l.bad("it can't be read to its end: %v", err)
		}
		return bytes.TrimRight(line, "\n"), nil
	}
}

func (l *lines) bad(format string, args ...any) error {
	return gateway.Errorf(gateway.CodeInvalid, "line %d of the export: "+format, append([]any{l.nr}, args...)...)
}

// object reads a line that is an object.
func (l *lines) object(v any) error {
	line, err := l.next()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(line, v); err != nil {
		return l.bad("%.60q is not what belongs here", line)
	}
	return nil
}

func importTx(ctx context.Context, tx *sql.Tx, d dialect, r io.Reader) ([]TableSum, error) {
	l := &lines{r: bufio.NewReaderSize(r, 64<<10)}
	var head struct {
		Civgate string `json:"civgate"`
		Format  int    `json:"format"`
	}
	if err := l.object(&head); err != nil {
		return nil, err
	}
	if head.Civgate != "export" {
		return nil, l.bad("this is not an export of civgate")
	}
	if head.Format != exportFormat {
		return nil, l.bad("the export has format %d, this civgate knows format %d", head.Format, exportFormat)
	}
	var sums []TableSum
	for i := range exportTables {
		t := &exportTables[i]
		sum, err := importTable(ctx, tx, d, l, t)
		if err != nil {
			return nil, err
		}
		sums = append(sums, sum)
	}
	var end struct {
		Civgate string `json:"civgate"`
	}
	if err := l.object(&end); err != nil {
		return nil, err
	}
	if end.Civgate != "end" {
		return nil, l.bad("the end of the export belongs here")
	}
	return sums, nil
}

func importTable(ctx context.Context, tx *sql.Tx, d dialect, l *lines, t *exportTable) (TableSum, error) {
	var head struct {
		Table   string   `json:"table"`
		Columns []string `json:"columns"`
	}
	if err := l.object(&head); err != nil {
		return TableSum{}, err
	}
	if head.Table != t.name || strings.Join(head.Columns, " ") != strings.Join(t.names(), " ") {
		return TableSum{}, l.bad("the table %s with the columns %s belongs here", t.name, strings.Join(t.names(), ", "))
	}
	in := inserter{tx: tx, table: t}
	var sum rowSum
	for {
		line, err := l.next()
		if err != nil {
			return TableSum{}, err
		}
		if len(line) > 0 && line[0] == '{' {
			var end struct {
				End  string `json:"end"`
				Rows int64  `json:"rows"`
				Sum  string `json:"sum"`
			}
			if err := json.Unmarshal(line, &end); err != nil || end.End != t.name {
				return TableSum{}, l.bad("the end of the table %s belongs here", t.name)
			}
			if end.Rows != sum.rows || end.Sum != sum.text() {
				return TableSum{}, l.bad("the export is damaged: the rows of %s don't have the checksum that was written with them", t.name)
			}
			return TableSum{t.name, end.Rows, end.Sum}, in.flush(ctx)
		}
		sum.add(line)
		values, err := parseRow(line, t, d)
		if err != nil {
			return TableSum{}, l.bad("%v", err)
		}
		if err := in.add(ctx, values); err != nil {
			return TableSum{}, fmt.Errorf("line %d of the export: %w", l.nr, translate("import", err))
		}
	}
}

// parseRow turns a row's JSON into parameters.
func parseRow(line []byte, t *exportTable, d dialect) ([]any, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil || len(raw) != len(t.columns) {
		return nil, fmt.Errorf("%.60q is not a row of %s", line, t.name)
	}
	values := make([]any, len(raw))
	for i, c := range t.columns {
		if string(raw[i]) == "null" {
			continue
		}
		var err error
		switch c.kind {
		case columnInt:
			values[i], err = strconv.ParseInt(string(raw[i]), 10, 64)
		case columnText:
			var s string
			err = json.Unmarshal(raw[i], &s)
			values[i] = s
		case columnBool:
			values[i], err = strconv.ParseBool(string(raw[i]))
		case columnBytes, columnUUID:
			var b []byte
			if err = json.Unmarshal(raw[i], &b); b == nil {
				b = []byte{}
			}
			values[i] = b
			if c.kind == columnUUID && err == nil {
				if len(b) != 16 {
					err = errors.New("it is not 16 bytes long")
				}
				values[i] = d.uuidValue(b)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("column %s of %s: %w", c.name, t.name, err)
		}
	}
	return values, nil
}

// inserter inserts rows many at a time.
type inserter struct {
	tx     *sql.Tx
	table  *exportTable
	values []any
	rows   int
	full   *sql.Stmt // for importRows rows
}

// importRows times the columns of the widest table stays below what a statement
// may have of parameters (SQLite 32,766, PostgreSQL 65,535).
const importRows = 500

func (in *inserter) add(ctx context.Context, values []any) error {
	in.values = append(in.values, values...)
	if in.rows++; in.rows < importRows {
		return nil
	}
	if in.full == nil {
		var err error
		if in.full, err = in.tx.PrepareContext(ctx, in.sql()); err != nil {
			return err
		}
	}
	_, err := in.full.ExecContext(ctx, in.values...)
	in.values, in.rows = in.values[:0], 0
	return err
}

// flush inserts what is left.
func (in *inserter) flush(ctx context.Context) error {
	var err error
	if in.rows > 0 {
		_, err = in.tx.ExecContext(ctx, in.sql(), in.values...)
	}
	if in.full != nil {
		err = errors.Join(err, in.full.Close())
	}
	return translate("import", err)
}

func (in *inserter) sql() string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + in.table.name + " (" + strings.Join(in.table.names(), ", ") + ") VALUES ")
	n := 0
	for i := range in.rows {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteByte('(')
		for j := range in.table.columns {
			if j > 0 {
				b.WriteByte(',')
			}
			n++
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteByte(')')
	}
	return b.String()
}
