package api

import (
	"cmp"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"civgate/gateway"
)

// This file reads back what contacts did: their events, product events, page views, and
// the timeline that has all of these and their merges. How such things are told is in
// rest_events.go.
//
// Decisions
//
//   - History is read forth only (but pages by number link back by number), newest first, by when it happened and then by id, so pages
//     stay right while more happens, and all of it can be reached. An entry shows the id
//     of the contact that it was written with, which finds the survivor of a merge.
//   - The number of page views is known with the contact and so is their count; that of
//     the others is the one of a filtered list.
//   - In the timeline, entries of the same microsecond come as events, page views, merges.
//     Their ids are those of their kinds: only with type is an id unique.
//   - No e-mail is ever sent from here, so …/emails/ is an empty page for everybody.

// historyRow is an entry of a list of history; source is its place among the sources
// of the list.
type historyRow struct {
	at     time.Time
	source int
	id     int64
	shape  any
}

// historySource reads a page of one kind of history of a contact.
type historySource func(ctx context.Context, r *request, id gateway.ContactID, q gateway.HistoryQuery) ([]historyRow, error)

// shaped makes rows of what a Reader returns.
func shaped[T any](all []T, err error, row func(x *T) historyRow) ([]historyRow, error) {
	if err != nil {
		return nil, err
	}
	rows := make([]historyRow, len(all))
	for i := range all {
		rows[i] = row(&all[i])
	}
	return rows, nil
}

// eventsSource reads events of the kind, of both kinds for "".
func (s *Server) eventsSource(kind gateway.EventKind, shape func(v version, e *gateway.Event) any) historySource {
	return func(ctx context.Context, r *request, id gateway.ContactID, q gateway.HistoryQuery) ([]historyRow, error) {
		q.Kind = kind
		all, err := s.reader.Events(ctx, r.workspace.ID, id, q)
		return shaped(all, err, func(e *gateway.Event) historyRow {
			return historyRow{at: e.At, id: e.ID, shape: shape(r.version, e)}
		})
	}
}

func (s *Server) pageViewsSource(shape func(v version, p *gateway.PageView) any) historySource {
	return func(ctx context.Context, r *request, id gateway.ContactID, q gateway.HistoryQuery) ([]historyRow, error) {
		all, err := s.reader.PageViews(ctx, r.workspace.ID, id, q)
		return shaped(all, err, func(p *gateway.PageView) historyRow {
			return historyRow{at: p.At, id: p.ID, shape: shape(r.version, p)}
		})
	}
}

func (s *Server) mergesSource(ctx context.Context, r *request, id gateway.ContactID, q gateway.HistoryQuery) ([]historyRow, error) {
	all, err := s.reader.Merges(ctx, r.workspace.ID, id, q)
	return shaped(all, err, func(m *gateway.Merge) historyRow {
		return historyRow{at: m.At, id: m.ID, shape: timelineMerge(r.version, m)}
	})
}

// events answers GET …/:id/events/ with the custom events.
func (s *Server) events(find findContact) restHandler {
	return s.history(find, listEventsOf, nil, s.eventsSource(gateway.EventCustom, eventShape))
}

// productEvents answers GET …/:id/product_events/.
func (s *Server) productEvents(find findContact) restHandler {
	return s.history(find, listProductEvents, nil, s.eventsSource(gateway.EventProduct, eventShape))
}

// pageViews answers GET …/:id/ping_hits/.
func (s *Server) pageViews(find findContact) restHandler {
	return s.history(find, listPageViews, func(v *gateway.ContactView) int64 { return v.PageViews },
		s.pageViewsSource(pageViewEntryShape))
}

// timeline answers GET …/:id/timeline/, which is ours as far as its entries go.
func (s *Server) timeline(find findContact) restHandler {
	return s.history(find, listTimeline, nil, s.eventsSource("", timelineEvent), s.pageViewsSource(timelinePageView), s.mergesSource)
}

// emails answers GET …/:id/emails/.
func (s *Server) emails(find findContact) restHandler {
	return func(r *request) error {
		if _, err := find(r); err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, page{Results: []any{}})
	}
}

// history makes the list of what all sources have of a contact. count tells how long it
// is, nil if that is not known.
func (s *Server) history(find findContact, l list, count func(v *gateway.ContactView) int64, sources ...historySource) restHandler {
	return func(r *request) error {
		limit, err := r.limit()
		if err != nil {
			return err
		}
		at, skip := historyCursor{list: l}, 0
		if text := r.QueryParam("cursor"); text != "" {
			at, err = parseHistoryCursor(l, len(sources), text)
		} else {
			skip, err = r.skip(limit)
		}
		if err != nil {
			return err
		}
		v, err := find(r)
		if err != nil {
			return err
		}
		rows, err := readHistory(r, v.Contact.ID, sources, at, skip, limit+1)
		if err != nil {
			return err
		}
		var p page
		if len(rows) > limit {
			rows = rows[:limit]
			p.Next = s.linkTo(r, "cursor", at.behind(rows[limit-1]).String())
		}
		if skip > 0 {
			p.Previous = s.linkTo(r, "page", strconv.Itoa(skip/limit))
		}
		if p.countFiltered(len(rows)); count != nil {
			p.Count = count(v)
		}
		p.Results = make([]any, len(rows))
		for i := range rows {
			p.Results[i] = rows[i].shape
		}
		return writeJSON(r, http.StatusOK, p)
	}
}

// readHistory reads up to limit entries behind the place at, leaving out the first skip.
// It is errNotFound if there are none behind those that are left out.
func readHistory(r *request, id gateway.ContactID, sources []historySource, at historyCursor, skip, limit int) ([]historyRow, error) {
	const step = 1000
	for left := skip; ; {
		n := limit
		if left > 0 {
			n = min(left, step)
		}
		var rows []historyRow
		for i, read := range sources {
			some, err := read(r.Request().Context(), r, id, at.query(i, n))
			if err != nil {
				return nil, err
			}
			for j := range some {
				some[j].source = i
			}
			rows = append(rows, some...)
		}
		if len(sources) > 1 {
			slices.SortFunc(rows, func(a, b historyRow) int {
				return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.source, b.source), cmp.Compare(b.id, a.id))
			})
			rows = rows[:min(len(rows), n)]
		}
		switch {
		case len(rows) == 0 && skip > 0:
			return nil, errNotFound
		case left == 0:
			return rows, nil
		}
		at = at.behind(rows[len(rows)-1])
		left -= len(rows)
	}
}

// historyCursor is a place in a list of history: behind the entry of the source that
// has this id and happened then. The one without an id is the start.
type historyCursor struct {
	list   list
	source int
	at     time.Time
	id     int64
}

func (c historyCursor) behind(row historyRow) historyCursor {
	return historyCursor{c.list, row.source, row.at, row.id}
}

// query asks a source for what comes behind the place.
func (c historyCursor) query(source, limit int) gateway.HistoryQuery {
	q := gateway.HistoryQuery{Limit: limit}
	if c.id == 0 {
		return q
	}
	switch q.BeforeAt = c.at; cmp.Compare(source, c.source) {
	case -1: // those of the same time were before
		q.BeforeID = math.MinInt64
	case 0:
		q.BeforeID = c.id
	case 1: // those of the same time are still to come
		q.BeforeID = math.MaxInt64
	}
	return q
}

// Its text is made like that of a cursor: version, list, source, at in microseconds
// and id (8 bytes each), CRC-32. 23 bytes make 31 characters.
const historyCursorSize = 23

// The lists of history.
const (
	listEventsOf      list = 'e'
	listProductEvents list = 'p'
	listPageViews     list = 'v'
	listTimeline      list = 'h'
)

func (c historyCursor) String() string {
	var b [historyCursorSize]byte
	b[0], b[1], b[2] = cursorVersion, byte(c.list), byte(c.source)
	if !c.at.IsZero() {
		binary.BigEndian.PutUint64(b[3:], uint64(c.at.UnixMicro()))
	}
	binary.BigEndian.PutUint64(b[11:], uint64(c.id))
	binary.BigEndian.PutUint32(b[19:], crc32.ChecksumIEEE(b[:19]))
	return cursorText.EncodeToString(b[:])
}

// parseHistoryCursor is the inverse of String, for a list that has that many sources.
// Anything else is a CodeInvalid for the field cursor.
func parseHistoryCursor(of list, sources int, s string) (historyCursor, error) {
	if len(s) != cursorText.EncodedLen(historyCursorSize) {
		return historyCursor{}, errCursor
	}
	b, err := cursorText.DecodeString(s)
	if err != nil || len(b) != historyCursorSize ||
		binary.BigEndian.Uint32(b[19:]) != crc32.ChecksumIEEE(b[:19]) ||
		b[0] != cursorVersion || list(b[1]) != of || int(b[2]) >= sources {
		return historyCursor{}, errCursor
	}
	c := historyCursor{list: of, source: int(b[2]), id: int64(binary.BigEndian.Uint64(b[11:]))}
	if at := int64(binary.BigEndian.Uint64(b[3:])); at != 0 {
		c.at = time.UnixMicro(at).UTC()
	}
	if c.id < 1 || c.at.Year() < 1 || c.at.Year() > 9999 {
		return historyCursor{}, errCursor
	}
	return c, nil
}

// entry is what all entries of history begin with. The contact is named as where events
// are told: client in version 1, user_id in version 2.
type entry struct {
	ID     int64             `json:"id"`
	Client gateway.ContactID `json:"client,omitempty"`
	UserID gateway.ContactID `json:"user_id,omitempty"`
}

func entryOf(v version, id int64, contact gateway.ContactID) entry {
	if v == v1 {
		return entry{ID: id, Client: contact}
	}
	return entry{ID: id, UserID: contact}
}

// event is ours: the record has no event as it is read back.
// client_user is the visitor key under which it was seen, named as on the way
// in (contract, section 6).
type event struct {
	entry
	Name       string  `json:"name"`
	Timestamp  stamp   `json:"timestamp"`
	Data       raw     `json:"data"`
	ClientUser *string `json:"client_user"`
}

func eventShape(v version, e *gateway.Event) any {
	return event{entryOf(v, e.ID, e.ContactID), e.Name, stamp(e.At), eventData(e), orNull(e.Key)}
}

func eventData(e *gateway.Event) raw {
	if e.Data == "" {
		return raw("{}")
	}
	return raw(e.Data)
}

// pageViewEntry is a page view as it is read back.
type pageViewEntry struct {
	entry
	pageView
}

func pageViewEntryShape(v version, p *gateway.PageView) any {
	return pageViewEntry{entryOf(v, p.ID, p.ContactID), pageViewOf(p)}
}

// timelineEntry is what all entries of a timeline begin with.
type timelineEntry struct {
	entry
	Type      string `json:"type"`
	Timestamp stamp  `json:"timestamp"`
}

func timelineEvent(v version, e *gateway.Event) any {
	return struct {
		timelineEntry
		Name       string  `json:"name"`
		Data       raw     `json:"data"`
		ClientUser *string `json:"client_user"`
	}{timelineEntry{entryOf(v, e.ID, e.ContactID), string(e.Kind), stamp(e.At)}, e.Name, eventData(e), orNull(e.Key)}
}

func timelinePageView(v version, p *gateway.PageView) any {
	return struct {
		timelineEntry
		PageDomain string  `json:"page_domain"`
		PagePath   string  `json:"page_path"`
		Title      *string `json:"title"`
		Referrer   *string `json:"referrer"`
		ClientUser *string `json:"client_user"`
	}{timelineEntry{entryOf(v, p.ID, p.ContactID), "page_view", stamp(p.At)}, p.URL, p.Path, orNull(p.Title), orNull(p.Referrer), orNull(p.Key)}
}

// timelineMerge shows who became part of whom; what the two were like is in the journal
// only.
func timelineMerge(v version, m *gateway.Merge) any {
	return struct {
		timelineEntry
		Merged gateway.ContactID `json:"merged"`
		Rule   string            `json:"rule"`
		By     *string           `json:"by"`
	}{timelineEntry{entryOf(v, m.ID, m.WinnerID), "merge", stamp(m.At)}, m.LoserID, m.Rule, orNull(m.By)}
}
