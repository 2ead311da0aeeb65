package api

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// exportPage is how many rows of an export are read, and held in memory, at a
// time; exportPatience is how long a client may take to receive them.
const (
	exportPage     = 500
	exportPatience = time.Minute
)

// export is a stream of rows to a client, as CSV or as NDJSON.
type export struct {
	r       *request
	out     *bufio.Writer
	csv     *csv.Writer // nil for NDJSON
	json    *json.Encoder
	control *http.ResponseController
}

// startExport reads ?format=csv or ndjson (the default) and sends the head of the
// answer; name is that of the file.
func startExport(r *request, name string, columns []string) (*export, error) {
	format := r.QueryParam("format")
	if format == "" {
		format = "ndjson"
	}
	mime := map[string]string{"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}[format]
	if mime == "" {
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Field: "format", Message: strconv.Quote(format) + " is not a valid choice."}
	}
	h := r.Response().Header()
	h.Set(echo.HeaderContentType, mime)
	h.Set(echo.HeaderContentDisposition, `attachment; filename="`+name+"."+format+`"`)
	x := &export{r: r, out: bufio.NewWriterSize(r.Response(), 64<<10), control: http.NewResponseController(r.Response())}
	if r.Request().Method == http.MethodHead {
		r.Response().WriteHeader(http.StatusOK)
		return x, nil
	}
	x.json = json.NewEncoder(x.out)
	x.json.SetEscapeHTML(false)
	if format == "csv" {
		x.csv = csv.NewWriter(x.out)
		return x, x.csv.Write(columns)
	}
	return x, nil
}

// row sends an object, or as CSV the cells.
func (x *export) row(object any, cells func() []string) error {
	if x.csv != nil {
		row := cells()
		for i := range row {
			row[i] = plainCell(row[i])
		}
		return x.csv.Write(row)
	}
	return x.json.Encode(object)
}

// plainCell is a cell that a spreadsheet shows as the text that it is: what it would take
// for a formula has an apostrophe before it. Numbers with a sign, and phone numbers, stay
// as they are. Programs that need every byte take NDJSON.
func plainCell(text string) string {
	if text == "" {
		return text
	}
	switch text[0] {
	case '=', '@', '\t', '\r', '\n':
	case '+', '-':
		if strings.Trim(text[1:], "0123456789 .()-") == "" {
			return text
		}
	default:
		return text
	}
	return "'" + text
}

// flush sends what is there, so that a page is never longer in memory than it
// takes to be received.
func (x *export) flush() error {
	if x.csv != nil {
		if x.csv.Flush(); x.csv.Error() != nil {
			return x.csv.Error()
		}
	}
	if err := x.deadline(time.Now().Add(exportPatience)); err != nil {
		return err
	}
	if err := x.out.Flush(); err != nil {
		return err
	}
	return x.control.Flush()
}

// deadline sets the time by which what is written must be gone, where there is a
// connection that can have one.
func (x *export) deadline(t time.Time) error {
	if err := x.control.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// sendAll sends all rows, page by page: list returns those behind the last one that row
// was given, none at the end. Once the head is sent there is no other way to tell of an
// error than to break off, which every client sees: the last chunk is missing.
func sendAll[T any](x *export, list func(limit int) ([]T, error), row func(v T) error) error {
	if x.r.Request().Method == http.MethodHead {
		return nil
	}
	page := func() (n int, err error) {
		rows, err := list(exportPage)
		if err != nil {
			return 0, err
		}
		for _, v := range rows {
			if err := row(v); err != nil {
				return 0, err
			}
		}
		return len(rows), x.flush()
	}
	for {
		n, err := page()
		if err != nil && !x.r.Response().Committed {
			x.r.Response().Header().Del(echo.HeaderContentDisposition) // the error is no file
			return err
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if n < exportPage {
			return x.deadline(time.Time{}) // it was for this answer
		}
	}
}

// sendContacts is sendAll for all contacts, newest first. look sees each page before
// its rows are sent; nil does nothing.
func (s *Server) sendContacts(x *export, look func(views []*gateway.ContactView) error, row func(v *gateway.ContactView) error) error {
	var before gateway.ContactID
	return sendAll(x, func(limit int) ([]*gateway.ContactView, error) {
		views, err := s.reader.Contacts(x.r.Request().Context(), x.r.workspace.ID, before, limit)
		if err == nil && look != nil {
			err = look(views)
		}
		return views, err
	}, func(v *gateway.ContactView) error {
		before = v.Contact.ID
		return row(v)
	})
}

// exportContacts answers GET /users/export/ with all contacts, newest first: as
// NDJSON the objects of the version, as CSV the columns of an import.
func (s *Server) exportContacts(r *request) error {
	sh, err := s.shaper(r, gateway.EntityContact)
	if err != nil {
		return err
	}
	columns := exportColumns(gateway.EntityContact, sh, "id", "user_id", "key", "email", "company_id", "companies", "page_views", "first_seen", "last_seen", "created_at", "updated_at")
	x, err := startExport(r, "contacts", columns.names)
	if err != nil {
		return err
	}
	return s.sendContacts(x, func(views []*gateway.ContactView) error {
		return sh.readContactTags(s, r, views)
	}, func(v *gateway.ContactView) error {
		return x.row(sh.contact(v), func() []string {
			var ids, names []string
			for _, c := range v.Companies {
				ids, names = append(ids, c.CustomID), append(names, c.Name)
			}
			return columns.cells(v.Attributes, strconv.FormatInt(int64(v.Contact.ID), 10), v.CustomID, v.Key, v.Email, strings.Join(ids, "|"), strings.Join(names, "|"),
				strconv.FormatInt(v.PageViews, 10), stampText(v.FirstSeen), stampText(v.LastSeen), stampText(v.CreatedAt), stampText(v.UpdatedAt))
		})
	})
}

// exportCompanies answers GET /companies/export/ like exportContacts.
func (s *Server) exportCompanies(r *request) error {
	sh, err := s.shaper(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	columns := exportColumns(gateway.EntityCompany, sh, "id", "company_id", "name", "employees_count", "created_at", "updated_at")
	x, err := startExport(r, "companies", columns.names)
	if err != nil {
		return err
	}
	var before gateway.CompanyID
	return sendAll(x, func(limit int) ([]*gateway.CompanyView, error) {
		views, err := s.reader.Companies(r.Request().Context(), r.workspace.ID, before, limit)
		if err == nil {
			err = sh.readCompanyTags(s, r, views)
		}
		return views, err
	}, func(v *gateway.CompanyView) error {
		before = v.ID
		return x.row(sh.company(v), func() []string {
			return columns.cells(v.Attributes, strconv.FormatInt(int64(v.ID), 10), v.CustomID, v.Name, strconv.FormatInt(v.EmployeesCount, 10), stampText(v.CreatedAt), stampText(v.UpdatedAt))
		})
	})
}

// exportedMembership is a membership as a row of its own.
type exportedMembership struct {
	UserID          gateway.ContactID `json:"user_id"`
	UserCustomID    *string           `json:"user_custom_id"`
	CompanyID       gateway.CompanyID `json:"company_id"`
	CompanyCustomID *string           `json:"company_custom_id"`
	CompanyName     *string           `json:"company_name"`
	MemberSince     stamp             `json:"member_since"`
	Source          gateway.Source    `json:"source"`
	Primary         bool              `json:"primary"`
}

// exportMemberships answers GET /memberships/export/ with all current memberships,
// those of the newest contacts first.
func (s *Server) exportMemberships(r *request) error {
	x, err := startExport(r, "memberships", []string{"user_id", "user_custom_id", "company_id", "company_custom_id", "company_name", "member_since", "source", "primary"})
	if err != nil {
		return err
	}
	return s.sendContacts(x, nil, func(v *gateway.ContactView) error {
		for _, c := range v.Companies {
			err := x.row(exportedMembership{v.Contact.ID, orNull(v.CustomID), c.CompanyID, orNull(c.CustomID), orNull(c.Name), stamp(c.Since), c.Source, c.Primary}, func() []string {
				return []string{strconv.FormatInt(int64(v.Contact.ID), 10), v.CustomID, strconv.FormatInt(int64(c.CompanyID), 10), c.CustomID, c.Name, stampText(c.Since), string(c.Source), strconv.FormatBool(c.Primary)}
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// columns are those of a CSV file: some of the object's own, then the attributes.
type columns struct {
	names      []string
	attributes []string // names in a bag of the last columns
}

// exportColumns are the object's own columns, then the standard attributes, then
// the custom ones by name. A custom one with the name of a column comes behind
// "custom_".
func exportColumns(of gateway.Entity, sh *shaper, own ...string) columns {
	c := columns{names: own}
	for _, a := range gateway.StandardAttrs(of) {
		c.names, c.attributes = append(c.names, a.Name), append(c.attributes, a.Name)
	}
	custom := make([]string, 0, len(sh.defs))
	for name := range sh.defs {
		custom = append(custom, name)
	}
	slices.Sort(custom)
	for _, name := range custom {
		column := name
		for slices.Contains(c.names, column) {
			column = "custom_" + column
		}
		c.names, c.attributes = append(c.names, column), append(c.attributes, name)
	}
	return c
}

// cells are the values of a row. The items of a list are joined by "|", as an
// import takes them.
func (c *columns) cells(bag gateway.Attributes, own ...string) []string {
	for _, name := range c.attributes {
		v, _ := bag.Get(name)
		text := gateway.Text(v)
		switch words := exportWords[name]; {
		case words != nil:
			if n, ok := gateway.Number(v); ok && n >= 1 && int(n) <= len(words) {
				text = words[int(n)-1]
			}
		case v.Type == gateway.TypeList:
			var items []string
			for _, item := range gateway.Items(v) {
				items = append(items, gateway.Text(item))
			}
			text = strings.Join(items, "|")
		}
		own = append(own, text)
	}
	return own
}

// exportWords are the enumerations, as in JSON. No custom attribute has the name
// of a standard one.
var exportWords = map[string][]string{"gender": genders, "status": contactStatuses}

// stampText is a time as in JSON, "" for none.
func stampText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}
