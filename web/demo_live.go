package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"golang.org/x/time/rate"

	"civgate/gateway"
)

// Bounds of the live view.
const (
	maxStreams        = 200
	maxStreamsPerIP   = 20
	readsPerSecond    = 100 // of all streams together
	readsAtOnce       = 4
	streamReadEvery   = 200 * time.Millisecond
	streamHeartbeat   = 15 * time.Second
	streamWriteWithin = 10 * time.Second
	streamRetry       = "retry: 2000\n\n"

	maxLiveViews    = 200 // page views and events that are read
	maxLiveEntries  = 40  // of them that are shown
	maxLiveKeys     = 100
	maxLiveMerges   = 20
	maxLiveValues   = 60 // attributes of one contact or company
	maxLiveDetails  = 3  // keys of an event's data
	maxLiveText     = 200
	maxLiveListItem = 12
)

// live answers the streams of the live view.
type live struct {
	Demo
	reads   *rate.Limiter
	reading chan struct{} // one per reading under way
	slots   chan struct{} // one per open stream
	perIP   *tally
}

func newLive(s Demo) *live {
	return &live{
		Demo:    s,
		reads:   rate.NewLimiter(readsPerSecond, readsPerSecond/10),
		reading: make(chan struct{}, readsAtOnce),
		slots:   make(chan struct{}, maxStreams),
		perIP:   newTally(maxStreamsPerIP),
	}
}

// stream sends what civgate knows of the browser with the key in the query: a
// snapshot at once, and another whenever it differs, as server-sent events
// (HTML Living Standard, 9.2) until the client or the server goes.
func (l *live) stream(c echo.Context) error {
	h := c.Response().Header()
	secure(h)
	h.Set("Cache-Control", "no-store")
	// Another site's page may not read the answer, but it could hold all slots.
	if site := c.Request().Header.Get("Sec-Fetch-Site"); site == "cross-site" {
		return c.JSON(http.StatusForbidden, problem(gateway.CodeForbidden, "open the demo itself to see its live view"))
	}
	key := c.QueryParam("key")
	if !gateway.IsVisitorKey(key) {
		return c.JSON(http.StatusBadRequest, problem(gateway.CodeInvalid, "key must be the value of the cookie __ca__chat"))
	}
	if !l.perIP.take(c.RealIP()) {
		return l.busy(c)
	}
	defer l.perIP.giveBack(c.RealIP())
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	default:
		return l.busy(c)
	}

	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects would hold the stream back
	c.Response().WriteHeader(http.StatusOK)
	err := l.follow(c.Request().Context(), key, newEventWriter(c.Response()))
	if err != nil && c.Request().Context().Err() == nil {
		l.Log.Info("demo stream ended", zap.Error(err))
	}
	return nil
}

func (l *live) busy(c echo.Context) error {
	c.Response().Header().Set("Retry-After", "10")
	return c.JSON(http.StatusServiceUnavailable, problem(gateway.CodeUnavailable, "too many people watch the demo; try again in a moment"))
}

func problem(code gateway.Code, message string) map[string]any {
	return map[string]any{"error": map[string]any{"code": code, "message": message}}
}

// follow writes snapshots until ctx or the server ends, or the client can't be
// written to.
func (l *live) follow(ctx context.Context, key string, w *eventWriter) error {
	if err := w.write(streamRetry); err != nil {
		return err
	}
	var last []byte
	failing := false
	heartbeat := time.NewTicker(streamHeartbeat)
	defer heartbeat.Stop()
	for {
		changed := l.Changed()
		next := time.NewTimer(streamReadEvery)
		now, err := l.read(ctx, key)
		switch {
		case ctx.Err() != nil:
			next.Stop()
			return ctx.Err()
		case err != nil:
			if !failing {
				l.Log.Error("read for the demo", zap.Int64("workspace", int64(l.Workspace)), zap.Error(err))
			}
			failing, last = true, nil
			err = w.event("trouble", []byte("{}"))
		case !bytes.Equal(now, last):
			failing, last = false, now
			err = w.event("snapshot", stamp(now, time.Now()))
		}
		if err != nil {
			next.Stop()
			return err
		}
		if err := l.pause(ctx, next, changed, heartbeat.C, failing, w); err != nil {
			if errors.Is(err, errDone) {
				return nil
			}
			return err
		}
	}
}

var errDone = errors.New("server shuts down")

// pause returns when it is time to read again: after next fired, and then after
// something changed. While reading fails, the heartbeat is reason enough.
func (l *live) pause(ctx context.Context, next *time.Timer, changed <-chan struct{}, beat <-chan time.Time, failing bool, w *eventWriter) error {
	defer next.Stop()
	due := next.C
	for {
		// Waiting for the change only when the reading is due keeps the pace.
		wake := changed
		if due != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.Done:
			return errDone
		case <-due:
			due = nil
		case <-wake:
			return nil
		case <-beat:
			if err := w.write(":\n\n"); err != nil {
				return err
			}
			if failing {
				return nil
			}
		}
	}
}

// stamp adds the time of sending, by which the page tells how long ago things
// happened whatever its own clock says.
func stamp(snapshot []byte, now time.Time) []byte {
	b := make([]byte, 0, len(snapshot)+48)
	b = append(b, `{"now":"`...)
	b = now.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `",`...)
	return append(b, snapshot[1:]...)
}

// eventWriter writes a stream of server-sent events. A client that does not read
// is given up after streamWriteWithin, whatever the server's own timeouts are.
type eventWriter struct {
	w    http.ResponseWriter
	ctrl *http.ResponseController
}

func newEventWriter(w http.ResponseWriter) *eventWriter {
	return &eventWriter{w: w, ctrl: http.NewResponseController(w)}
}

func (w *eventWriter) event(name string, data []byte) error {
	return w.write("event: " + name + "\ndata: " + string(data) + "\n\n")
}

func (w *eventWriter) write(text string) error {
	if err := w.ctrl.SetWriteDeadline(time.Now().Add(streamWriteWithin)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := w.w.Write([]byte(text)); err != nil {
		return err
	}
	return w.ctrl.Flush()
}

// The states of a snapshot.
const (
	stateUnknown   = "unknown"   // nothing stored under the key yet
	stateElsewhere = "elsewhere" // belongs to a contact that the demo does not show
	stateContact   = "contact"
)

// liveSnapshot is what the page shows. It holds nothing that changes without a
// change of what is stored.
type liveSnapshot struct {
	State     string          `json:"state"`
	Contact   *liveContact    `json:"contact,omitempty"`
	Companies []liveCompany   `json:"companies,omitempty"`
	Timeline  []liveEntry     `json:"timeline,omitempty"`
	Values    []liveAttribute `json:"attributes,omitempty"`
	More      int             `json:"more_attributes,omitempty"`
}

type liveContact struct {
	Key       string    `json:"key"` // the first characters of this browser's
	Known     bool      `json:"known"`
	Name      string    `json:"name,omitempty"`
	Status    string    `json:"status"`
	CustomID  string    `json:"custom_id,omitempty"`
	Email     string    `json:"email,omitempty"`
	Phone     string    `json:"phone,omitempty"`
	Browsers  int       `json:"browsers"`
	PageViews int64     `json:"page_views"`
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
}

type liveCompany struct {
	// Hidden says that it is a company that the demo does not show; nothing
	// else is set then.
	Hidden  bool            `json:"hidden,omitempty"`
	ID      string          `json:"id,omitempty"`
	Name    string          `json:"name,omitempty"`
	Source  string          `json:"source,omitempty"`
	Primary bool            `json:"primary,omitempty"`
	Since   *time.Time      `json:"since,omitempty"`
	People  int64           `json:"people,omitempty"`
	Values  []liveAttribute `json:"attributes,omitempty"`
	More    int             `json:"more_attributes,omitempty"`
}

// liveAttribute is a named value as it is shown: Text, or the items of a list.
type liveAttribute struct {
	Name  string   `json:"name"`
	Type  string   `json:"type"`
	Text  string   `json:"text,omitempty"`
	Items []string `json:"items,omitempty"`
}

// liveEntry is one line of the timeline.
type liveEntry struct {
	Kind string    `json:"kind"` // page, event, product_event or merge
	At   time.Time `json:"at"`
	// Other says that it happened in another browser than the one that watches.
	Other   bool        `json:"other,omitempty"`
	Title   string      `json:"title"`             // of the page; the event's name
	Path    string      `json:"path,omitempty"`    // of the page, without its query
	Details [][2]string `json:"details,omitempty"` // of the event's data
	// Of a merge: the first characters of the visitor's key, and how many page
	// views came with them; 0 when there were none or they can't be told.
	Key   string `json:"key,omitempty"`
	Views int    `json:"views,omitempty"`
}

// read makes the snapshot for a browser when it is its turn.
func (l *live) read(ctx context.Context, key string) ([]byte, error) {
	if err := l.reads.Wait(ctx); err != nil {
		return nil, err
	}
	select {
	case l.reading <- struct{}{}:
		defer func() { <-l.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s, err := l.snapshot(ctx, key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(s)
}

func (l *live) snapshot(ctx context.Context, key string) (*liveSnapshot, error) {
	c, err := l.Read.ContactByKey(ctx, l.Workspace, key)
	switch {
	case gateway.IsNotFound(err):
		return &liveSnapshot{State: stateUnknown}, nil
	case err != nil:
		return nil, err
	case !c.Anonymous() && !isDemoPerson(c.CustomID):
		return &liveSnapshot{State: stateElsewhere}, nil
	}
	types, err := l.types(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := l.Read.VisitorKeys(ctx, l.Workspace, c.ID, maxLiveKeys)
	if err != nil {
		return nil, err
	}
	s := &liveSnapshot{State: stateContact, Contact: newLiveContact(c, key, len(keys))}
	s.Values, s.More = liveValues(c.Attributes, types, gateway.EntityContact, "name", "phone_number", "status")
	if s.Companies, err = l.companies(ctx, c, types); err != nil {
		return nil, err
	}
	if s.Timeline, err = l.timeline(ctx, c, key, keys); err != nil {
		return nil, err
	}
	return s, nil
}

func newLiveContact(c *gateway.ContactView, key string, browsers int) *liveContact {
	text := func(name string) string {
		v, _ := c.Attributes.Get(name)
		return cut(gateway.Text(v))
	}
	status := "visitor"
	if v, ok := c.Attributes.Get("status"); ok && v.Raw == "2" || !ok && !c.Anonymous() {
		status = "user"
	}
	return &liveContact{
		Key: short(key), Known: !c.Anonymous(), Name: text("name"), Status: status,
		CustomID: cut(c.CustomID), Email: cut(c.Email), Phone: text("phone_number"),
		Browsers: browsers, PageViews: c.PageViews, FirstSeen: c.FirstSeen.UTC(), LastSeen: c.LastSeen.UTC(),
	}
}

// companies are those of a contact. Anybody can post a payload that links a
// contact of the demo to any company, so only the demo's own are shown.
func (l *live) companies(ctx context.Context, c *gateway.ContactView, types liveTypes) ([]liveCompany, error) {
	var all []liveCompany
	for _, m := range c.Companies[:min(len(c.Companies), maxLiveListItem)] {
		if !isDemoCompany(m.CustomID) {
			all = append(all, liveCompany{Hidden: true})
			continue
		}
		company, err := l.Read.Company(ctx, l.Workspace, m.CompanyID)
		if gateway.IsNotFound(err) {
			continue // gone since the contact was read
		}
		if err != nil {
			return nil, err
		}
		since := m.Since.UTC()
		one := liveCompany{
			ID: cut(m.CustomID), Name: cut(m.Name), Source: string(m.Source), Primary: m.Primary,
			Since: &since, People: company.EmployeesCount,
		}
		one.Values, one.More = liveValues(company.Attributes, types, gateway.EntityCompany)
		all = append(all, one)
	}
	return all, nil
}

// timeline is the newest of a contact's history, newest first.
func (l *live) timeline(ctx context.Context, c *gateway.ContactView, key string, keys []gateway.VisitorKey) ([]liveEntry, error) {
	views, err := l.Read.PageViews(ctx, l.Workspace, c.ID, gateway.HistoryQuery{Limit: maxLiveViews})
	if err != nil {
		return nil, err
	}
	events, err := l.Read.Events(ctx, l.Workspace, c.ID, gateway.HistoryQuery{Limit: maxLiveEntries})
	if err != nil {
		return nil, err
	}
	merges, err := l.Read.Merges(ctx, l.Workspace, c.ID, gateway.HistoryQuery{Limit: maxLiveMerges})
	if err != nil {
		return nil, err
	}
	var all []liveEntry
	for _, v := range views[:min(len(views), maxLiveEntries)] {
		all = append(all, liveEntry{
			Kind: "page", At: v.At.UTC(), Other: v.Key != key,
			Title: cut(cmp.Or(v.Title, v.Path, "Page")), Path: cut(v.Path),
		})
	}
	for _, e := range events {
		all = append(all, liveEntry{
			Kind: string(e.Kind), At: e.At.UTC(), Other: e.Key != key,
			Title: cut(e.Name), Details: details(e.Data),
		})
	}
	for _, m := range merges {
		if m.WinnerID == c.ID {
			all = append(all, mergeEntry(m, views, keys))
		}
	}
	slices.SortStableFunc(all, func(a, b liveEntry) int { return b.At.Compare(a.At) })
	return all[:min(len(all), maxLiveEntries)], nil
}

// mergeEntry tells of a merge whose visitor was who saw the views that still
// carry the loser's id.
func mergeEntry(m gateway.Merge, views []gateway.PageView, keys []gateway.VisitorKey) liveEntry {
	e := liveEntry{Kind: "merge", At: m.At.UTC(), Title: "merge"}
	var key string
	for _, v := range views {
		if v.ContactID == m.LoserID {
			e.Views++
			key = cmp.Or(key, v.Key)
		}
	}
	if len(views) == maxLiveViews {
		// There are older ones that were not read. They are none of the visitor's
		// if the visitor came later than the oldest that was.
		i := slices.IndexFunc(keys, func(k gateway.VisitorKey) bool { return k.Key == key })
		if i < 0 || keys[i].CreatedAt.Before(views[len(views)-1].At) {
			e.Views = 0
		}
	}
	if key == "" {
		var before struct {
			Keys []string `json:"keys"`
		}
		if json.Unmarshal([]byte(m.Before), &before) == nil && len(before.Keys) > 0 {
			key = before.Keys[0]
		}
	}
	e.Key = short(key)
	return e
}

// liveTypes are the types of the custom attributes as defined. A stored value
// tells less: a date is a text there.
type liveTypes map[gateway.DefKey]gateway.Type

func (l *live) types(ctx context.Context) (liveTypes, error) {
	defs, err := l.Read.AttributeDefs(ctx, l.Workspace)
	if err != nil {
		return nil, err
	}
	types := make(liveTypes, len(defs))
	for _, d := range defs {
		types[gateway.DefKey{Entity: d.Entity, Name: d.Name}] = d.Type
	}
	return types, nil
}

// liveValues are the attributes but those that are shown elsewhere, and how many
// more there are than maxLiveValues.
func liveValues(bag gateway.Attributes, types liveTypes, entity gateway.Entity, without ...string) (shown []liveAttribute, more int) {
	for _, a := range bag {
		if slices.Contains(without, a.Name) {
			continue
		}
		if len(shown) == maxLiveValues {
			more++
			continue
		}
		kind := a.Value.Type
		if t := types[gateway.DefKey{Entity: entity, Name: a.Name}]; t != gateway.TypeNull {
			kind = t
		}
		one := liveAttribute{Name: cut(a.Name), Type: kind.String()}
		if a.Value.Type == gateway.TypeList {
			one.Items = listItems(a.Value.Raw)
		} else {
			one.Text = cut(gateway.Text(a.Value))
		}
		shown = append(shown, one)
	}
	return shown, more
}

func listItems(raw string) []string {
	var list []json.RawMessage
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return []string{cut(raw)}
	}
	items := make([]string, 0, min(len(list), maxLiveListItem+1))
	for i, item := range list {
		if i == maxLiveListItem {
			return append(items, "…")
		}
		items = append(items, cut(unquote(item)))
	}
	return items
}

// details are the first scalars of an event's data, by name.
func details(data string) [][2]string {
	var all map[string]json.RawMessage
	if data == "" || json.Unmarshal([]byte(data), &all) != nil {
		return nil
	}
	var list [][2]string
	for name, raw := range all {
		// The event's type is its title already.
		if name == "event_type" || len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null" {
			continue
		}
		list = append(list, [2]string{cut(name), cut(unquote(raw))})
	}
	// What people know the thing by comes first, codes last.
	rank := func(d [2]string) int {
		switch d[0] {
		case "name":
			return 0
		case "product_id", "currency":
			return 2
		}
		return 1
	}
	slices.SortFunc(list, func(a, b [2]string) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a[0], b[0]))
	})
	return list[:min(len(list), maxLiveDetails)]
}

// unquote is the text of a JSON string, and the JSON of anything else.
func unquote(raw []byte) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// short is what of a visitor key may be shown: too little to be one.
func short(key string) string { return key[:min(len(key), 3)] }

// cut bounds a text that is shown to maxLiveText characters.
func cut(s string) string {
	n := 0
	for i := range s {
		if n == maxLiveText {
			return s[:i] + "…"
		}
		n++
	}
	return s
}
