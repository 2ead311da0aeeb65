package api

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file owns what clients tell that contacts did: events, product events and page
// views, and the events of all contacts as they are read back. Those of one contact are in
// rest_timeline.go.
//
// Decisions
//
//   - A product event is kept as what its contact did, with product_id in its data, as
//     the widget's are. By its own id a product need not be there: the event makes it.
//   - When something happened is told in Unix seconds, as documented, or milliseconds,
//     or as a date and time. No time, 0, and .NET's year 1 are now; so is what lies
//     ahead, since a clock that is wrong must not make a contact the last one seen.
//   - A page view of a visitor key that nobody has makes a visitor, as in a browser.

// workspaceEvents answers GET /events/ with the events of all contacts, of both kinds,
// the last one to be told first.
func (s *Server) workspaceEvents(r *request) error {
	ctx := r.Request().Context()
	rows, p, err := keyset[gateway.Event]{
		list: listEvents, id: func(e gateway.Event) int64 { return e.ID }, forth: true,
		before: func(before int64, limit int) ([]gateway.Event, error) {
			return s.reader.WorkspaceEvents(ctx, r.workspace.ID, before, limit)
		},
	}.read(s, r)
	if err != nil {
		return err
	}
	p.countFiltered(len(rows))
	p.Results = make([]any, len(rows))
	for i := range rows {
		p.Results[i] = eventShape(r.version, &rows[i])
	}
	return writeJSON(r, http.StatusOK, p)
}

// event answers GET /events/:id/ with the event of either kind that has the id.
func (s *Server) event(r *request) error {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return err
	}
	e, err := s.reader.Event(r.Request().Context(), r.workspace.ID, id)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, eventShape(r.version, &e))
}

// eventCreated is the answer to an event.
type eventCreated struct {
	ID      int64 `json:"id"`
	Created bool  `json:"created"`
}

// occurrence is what all events have in common.
type occurrence struct {
	name string
	at   time.Time // zero for now
	data string
}

// occurrence reads an event whose name is in the field nameField.
func (f fields) occurrence(nameField string) (o occurrence, err error) {
	if o.name, err = f.text(nameField, gateway.MaxName); err != nil {
		return o, err
	}
	if o.at, err = f.instant("timestamp"); err != nil {
		return o, err
	}
	o.data, err = f.object("data")
	return o, err
}

// object returns the field as the text of a JSON object within the limits of a value,
// "" if it is missing.
func (f fields) object(name string) (string, error) {
	value := f.find(name)
	if value == nil {
		return "", nil
	}
	if s, ok := scalarText(value); ok && strings.HasPrefix(s, "{") {
		value = raw(s) // of a form, or of a client that encodes twice
	}
	v, err := gateway.ParseValue(value)
	switch {
	case err != nil:
		return "", invalid(name, messageOf(err))
	case v.Type != gateway.TypeJSON || v.Raw[0] != '{':
		return "", invalid(name, "Expected a dictionary of items.")
	case v.Raw == "{}":
		return "", nil
	}
	return v.Raw, nil
}

// From here on a number is one of milliseconds: as seconds it would be in the year
// 5138, as milliseconds it is in 1973.
const firstMillis = 1e11

// instant returns when something happened; the zero time if that is not told.
func (f fields) instant(name string) (time.Time, error) {
	bad := invalid(name, "Enter a valid date/time.")
	value := f.find(name)
	if value == nil {
		return time.Time{}, nil
	}
	s, ok := scalarText(value)
	if !ok {
		return time.Time{}, bad
	}
	if s == "" {
		return time.Time{}, nil
	}
	at, ok := gateway.ParseDatetime(s)
	if !ok {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(n) {
			return time.Time{}, bad
		}
		if math.Abs(n) >= firstMillis {
			n /= 1000
		}
		if n > maxUnix || n < yearOne {
			return time.Time{}, bad
		}
		at = time.UnixMicro(int64(math.Round(n * 1e6))).UTC()
	}
	if at.Year() <= 1 || at.Unix() == 0 {
		return time.Time{}, nil
	}
	return at, nil
}

// yearOne is the first second of the year 1.
const yearOne = -62135596800

// createEvent answers POST /events/, whose body names the contact.
func createEvent(r *request) (operation, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	who, err := f.whom()
	if err != nil {
		return nil, err
	}
	return addEvent(r, f, func(_ *request, e *gateway.Editor) (gateway.ContactID, error) { return who.find(e) })
}

// createEventOf answers POST …/:id/events/.
func createEventOf(target targetContact) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		return addEvent(r, f, target)
	}
}

func addEvent(r *request, f fields, target targetContact) (operation, error) {
	o, err := f.occurrence("name")
	return func(e *gateway.Editor) (answer, error) {
		contact, err := target(r, e)
		if err != nil {
			return answer{}, err
		}
		id, first, err := e.AddEvent(contact, gateway.EventCustom, o.name, o.data, o.at)
		return answer{status: http.StatusCreated, body: eventCreated{id, first}}, err
	}, err
}

// productEventTypes are all there are (contract, section 1.3).
var productEventTypes = []string{
	"add to cart", "purchase", "liking", "add to observation", "order", "reservation", "return", "view", "click",
	"detail", "add", "remove", "checkout", "checkout option", "refund", "promo click",
}

// createProductEventByCustomID answers POST /products-by-id/:custom_id/product_event/.
func createProductEventByCustomID(r *request) (operation, error) {
	product := strings.TrimRight(r.pathID(), "/")
	if product == "" || len(product) > gateway.MaxID {
		return nil, errNotFound
	}
	return addProductEvent(r, func(e *gateway.Editor, contact gateway.ContactID, o occurrence) (int64, error) {
		data, err := withProduct(product, o.data)
		if err != nil {
			return 0, err
		}
		id, _, err := e.AddEvent(contact, gateway.EventProduct, o.name, data, o.at)
		return id, err
	})
}

// createProductEvent answers POST /products/:id/product_event/.
func createProductEvent(r *request) (operation, error) {
	product, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return nil, err
	}
	return addProductEvent(r, func(e *gateway.Editor, contact gateway.ContactID, o occurrence) (int64, error) {
		id, _, err := e.AddProductEvent(contact, gateway.RecordID(product), o.name, o.data, o.at)
		return id, err
	})
}

func addProductEvent(r *request, add func(e *gateway.Editor, contact gateway.ContactID, o occurrence) (int64, error)) (operation, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	who, err := f.whom()
	if err != nil {
		return nil, err
	}
	o, err := f.occurrence("event_type")
	if err != nil {
		return nil, err
	}
	if o.name = strings.ToLower(o.name); !slices.Contains(productEventTypes, o.name) {
		return nil, invalid("event_type", noChoice(o.name))
	}
	return func(e *gateway.Editor) (answer, error) {
		contact, err := who.find(e)
		if err != nil {
			return answer{}, err
		}
		id, err := add(e, contact, o)
		return answer{status: http.StatusCreated, body: struct {
			ID int64 `json:"id"`
		}{id}}, err
	}, nil
}

// withProduct puts product_id before the members of data, instead of one that it has.
func withProduct(product, data string) (string, error) {
	members, err := gateway.ParseFields([]byte(data))
	if err != nil {
		return "", err
	}
	members = slices.DeleteFunc(members, func(f gateway.Field) bool { return f.Name == "product_id" })
	id, err := json.Marshal(product)
	if err != nil {
		return "", err
	}
	b := append([]byte(`{"product_id":`), id...)
	for _, m := range members {
		name, err := json.Marshal(m.Name)
		if err != nil {
			return "", err
		}
		b = append(append(append(append(b, ','), name...), ':'), m.Value...)
	}
	return (fields{{Name: "data", Value: append(b, '}')}}).object("data")
}

// createSiteView answers POST /site-views/ with the page view.
func createSiteView(r *request) (operation, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	key, err := f.text("client_user", gateway.MaxID)
	if err != nil {
		return nil, err
	}
	if !gateway.IsVisitorKey(key) {
		return nil, invalid("client_user", "A visitor key has 6 to 64 letters, digits, hyphens and underscores.")
	}
	v := gateway.PageView{Key: key}
	for _, x := range []struct {
		name string
		to   *string
	}{{"page_domain", &v.URL}, {"page_path", &v.Path}, {"title", &v.Title}, {"referrer", &v.Referrer}} {
		if !f.has(x.name) {
			continue
		}
		// The rest of what is too long is cut off, as of what browsers tell.
		if *x.to, err = f.text(x.name, maxRESTBody); err != nil {
			return nil, err
		}
	}
	if v.URL == "" && v.Path == "" {
		return nil, invalid("page_domain", textRequired)
	}
	v.URL = fullURL(v.URL, v.Path)
	if v.At, err = f.instant("timestamp"); err != nil {
		return nil, err
	}
	return func(e *gateway.Editor) (answer, error) {
		id, err := e.ContactByKey(key)
		if gateway.IsNotFound(err) {
			id, err = e.CreateContact(gateway.ContactPatch{Key: key})
		}
		if err != nil {
			return answer{}, err
		}
		seen := v
		seen.ContactID = id
		stored, err := e.AddPageView(seen)
		if err == nil && stored.URL == "" && stored.Path == "" {
			err = invalid("page_domain", "Enter a valid URL.")
		}
		return answer{status: http.StatusCreated, body: pageViewOf(&stored)}, err
	}, nil
}

// fullURL is domain as the URL of a page. The vendor's clients send one, but the field is
// called page_domain, so a host alone is that of the page at path.
func fullURL(domain, path string) string {
	if domain == "" || domain[0] == '/' || strings.Contains(domain, "://") {
		return domain
	}
	u, err := url.Parse("https://" + domain)
	if err != nil || u.Host == "" {
		return domain // not stored as one
	}
	if u.Path == "" && u.RawQuery == "" {
		return "https://" + domain + "/" + strings.TrimLeft(path, "/")
	}
	return "https://" + domain
}
