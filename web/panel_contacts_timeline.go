package web

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file shows what a contact did and what was done to them, newest first.
//
// Decisions
//
//   - Each kind of history is read in pages of its own and the pages are put together by
//     time; the address of the next page names where each of them goes on. So a page
//     costs the same wherever it is, however much of one kind there is.
//   - Page views of one browser with less than half an hour between them are a visit, shown
//     as one line at the time of its last view. A visit that goes on behind the page's end is
//     two.

const (
	timelinePage = 60 // entries that are read for a page, before visits are folded
	visitGap     = 30 * time.Minute
)

// timelineKinds are the filters of a timeline.
var timelineKinds = []struct{ name, label string }{
	{"", "All"}, {"pages", "Page views"}, {"events", "Events"}, {"products", "Product events"}, {"merges", "Merges"},
}

// contactTimeline is a page of a contact's history.
type contactTimeline struct {
	Chips   []chip
	Entries []timelineEntry
	More    string
	First   bool // of all pages
}

// timelineEntry is one line of a timeline: a visit, an event or a merge.
type timelineEntry struct {
	Icon   string
	Title  string
	At     time.Time
	Note   string
	Pages  []gateway.PageView // of a visit, newest first
	Detail [][2]string        // of an event
	Merge  *mergeLine

	oldest time.Time
	key    string
}

// mergeLine is a merge in a timeline.
type mergeLine struct {
	ID       int64
	By       string
	UndoneAt time.Time
	UndoneBy string
	Undo     string // where it can be undone, "" if it can't be
	Why      string // why it can't
	Other    string // where the other one is, if it stands by itself
}

// timelinePlaces are where the kinds of history go on.
type timelinePlaces struct{ pages, events, merges gateway.HistoryQuery }

func readPlaces(text string) (t timelinePlaces) {
	parts := strings.Split(text, "-")
	for i, q := range []*gateway.HistoryQuery{&t.pages, &t.events, &t.merges} {
		if i < len(parts) {
			if at, id, ok := parsePlace(parts[i]); ok {
				q.BeforeAt, q.BeforeID = at, id
			}
		}
		q.Limit = timelinePage + 1
	}
	return t
}

func (t *timelinePlaces) text() string {
	var parts []string
	for _, q := range []gateway.HistoryQuery{t.pages, t.events, t.merges} {
		if q.BeforeAt.IsZero() {
			parts = append(parts, "0")
		} else {
			parts = append(parts, formatPlace(q.BeforeAt, q.BeforeID))
		}
	}
	return strings.Join(parts, "-")
}

// moment is one thing that happened, of whatever kind.
type moment struct {
	at    time.Time
	id    int64
	page  *gateway.PageView
	event *gateway.Event
	merge *gateway.Merge
}

// contactTimeline reads the page of the history that the address names.
func (p *panel) contactTimeline(c *call, id gateway.ContactID) (t contactTimeline, err error) {
	ctx, w := c.Request().Context(), c.Workspace.ID
	kind, places := c.QueryParam("show"), readPlaces(c.QueryParam("before"))
	t.First = !c.QueryParams().Has("before")
	var all []moment
	if kind == "" || kind == "pages" {
		views, err := p.Read.PageViews(ctx, w, id, places.pages)
		if err != nil {
			return t, err
		}
		for i := range views {
			all = append(all, moment{at: views[i].At, id: views[i].ID, page: &views[i]})
		}
	}
	if kind == "" || kind == "events" || kind == "products" {
		q := places.events
		q.Kind = map[string]gateway.EventKind{"events": gateway.EventCustom, "products": gateway.EventProduct}[kind]
		events, err := p.Read.Events(ctx, w, id, q)
		if err != nil {
			return t, err
		}
		for i := range events {
			all = append(all, moment{at: events[i].At, id: events[i].ID, event: &events[i]})
		}
	}
	if kind == "" || kind == "merges" {
		merges, err := p.Read.Merges(ctx, w, id, places.merges)
		if err != nil {
			return t, err
		}
		for i := range merges {
			all = append(all, moment{at: merges[i].At, id: merges[i].ID, merge: &merges[i]})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return b.at.Compare(a.at) })
	rest := len(all) > timelinePage
	all = all[:min(len(all), timelinePage)]
	for i := range all {
		m := &all[i]
		switch {
		case m.page != nil:
			places.pages.BeforeAt, places.pages.BeforeID = m.at, m.id
			t.addPage(m.page)
		case m.event != nil:
			places.events.BeforeAt, places.events.BeforeID = m.at, m.id
			t.Entries = append(t.Entries, eventEntry(m.event))
		default:
			places.merges.BeforeAt, places.merges.BeforeID = m.at, m.id
			entry, err := p.mergeOf(c, id, m.merge)
			if err != nil {
				return t, err
			}
			t.Entries = append(t.Entries, entry)
		}
	}
	for i := range t.Entries {
		t.Entries[i].sumUp()
	}
	href := func(kind string) string {
		if kind == "" {
			return contactHref(id)
		}
		return contactHref(id) + "?" + url.Values{"show": {kind}}.Encode()
	}
	for _, k := range timelineKinds {
		t.Chips = append(t.Chips, chip{Label: k.label, Href: href(k.name), Active: k.name == kind})
	}
	if rest {
		q := url.Values{"before": {places.text()}}
		if kind != "" {
			q.Set("show", kind)
		}
		t.More = contactHref(id) + "?" + q.Encode()
	}
	return t, nil
}

// addPage adds a page view to the visit that it belongs to, or begins one.
func (t *contactTimeline) addPage(v *gateway.PageView) {
	for i := len(t.Entries) - 1; i >= 0; i-- {
		e := &t.Entries[i]
		if len(e.Pages) == 0 || e.key != v.Key {
			continue
		}
		if e.oldest.Sub(v.At) <= visitGap {
			e.Pages, e.oldest = append(e.Pages, *v), v.At
			return
		}
		break
	}
	t.Entries = append(t.Entries, timelineEntry{Icon: "globe", At: v.At, Pages: []gateway.PageView{*v}, oldest: v.At, key: v.Key})
}

// sumUp says of a visit what it was.
func (e *timelineEntry) sumUp() {
	if len(e.Pages) == 0 {
		return
	}
	first := &e.Pages[len(e.Pages)-1]
	if len(e.Pages) == 1 {
		e.Title = "Viewed " + pageName(first)
	} else {
		e.Title = "Viewed " + count(int64(len(e.Pages)), "page", "pages")
		took := e.At.Sub(e.oldest)
		if took >= time.Minute {
			e.Title += " in " + strconv.Itoa(int(took.Minutes())) + " min"
		}
	}
	if u, err := url.Parse(first.Referrer); err == nil && u.Host != "" {
		if own, err := url.Parse(first.URL); err != nil || own.Host != u.Host {
			e.Note = "from " + brief(u.Host)
		}
	}
}

// pageName is what a page view is called.
func pageName(v *gateway.PageView) string {
	return brief(cmp.Or(v.Title, v.Path, v.URL, "a page"))
}

func eventEntry(e *gateway.Event) timelineEntry {
	entry := timelineEntry{Icon: "play", Title: brief(e.Name), At: e.At}
	if e.Kind == gateway.EventProduct {
		entry.Icon = "tag"
	}
	fields, err := gateway.ParseFields([]byte(e.Data))
	if err != nil {
		return entry // what is no object has nothing to show
	}
	for _, f := range fields[:min(len(fields), maxShown)] {
		var text string
		if json.Unmarshal(f.Value, &text) != nil {
			text = string(f.Value)
		}
		entry.Detail = append(entry.Detail, [2]string{brief(f.Name), brief(text)})
	}
	return entry
}

// mergeOf says what a merge in the history of a contact was, and whether it can be
// undone.
func (p *panel) mergeOf(c *call, id gateway.ContactID, m *gateway.Merge) (timelineEntry, error) {
	merge := &mergeLine{ID: m.ID, By: cmp.Or(m.By, "somebody"), UndoneAt: m.UndoneAt, UndoneBy: m.UndoneBy}
	entry := timelineEntry{Icon: "merge", At: m.At, Merge: merge}
	var before struct {
		Winner, Loser struct {
			CustomID   string         `json:"custom_id"`
			Email      string         `json:"email"`
			Key        string         `json:"key"`
			Attributes map[string]any `json:"attributes"`
		}
	}
	if err := json.Unmarshal([]byte(m.Before), &before); err != nil {
		return entry, fmt.Errorf("read merge %d: %w", m.ID, err)
	}
	other, otherID := before.Loser, m.LoserID
	entry.Title = "%s became part of this contact"
	if m.LoserID == id {
		other, otherID = before.Winner, m.WinnerID
		entry.Title = "Became part of %s"
	}
	name, _ := other.Attributes["name"].(string) // else by what comes next
	label := brief(cmp.Or(strings.TrimSpace(name), other.Email, other.CustomID, "Visitor "+other.Key[:min(6, len(other.Key))]))
	entry.Title = strings.Replace(entry.Title, "%s", label, 1)
	entry.Note = ruleWords(m.Rule)
	switch {
	case !m.UndoneAt.IsZero():
		if _, err := p.Read.Contact(c.Request().Context(), c.Workspace.ID, otherID); err == nil {
			merge.Other = contactHref(otherID)
		} else if !gateway.IsNotFound(err) {
			return entry, err
		}
	case m.WinnerID != id:
		merge.Why = "Can’t be undone before the later merge, by which that contact became part of this one."
	case c.can(gateway.RoleEditor):
		merge.Undo = contactHref(id) + "/undo"
	default:
		merge.Why = "Editors can undo it."
	}
	return entry, nil
}

// ruleWords say why two contacts were joined.
func ruleWords(rule string) string {
	if rule == string(gateway.RuleMergeByHand) {
		return "by hand"
	}
	return "rule " + strings.ReplaceAll(rule, "_", " ")
}

// contactHistory answers with another page of the timeline, for a script.
func (p *panel) contactHistory(c *call, id gateway.ContactID) error {
	t, err := p.contactTimeline(c, id)
	if err != nil {
		return err
	}
	return c.fragment(http.StatusOK, "contact", "timeline-part", t)
}

// postContactUndo undoes a merge of the contact.
func (p *panel) postContactUndo(c *call) error {
	return p.contactAction(c, nil, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		merge, err := strconv.ParseInt(f.Get("merge"), 10, 64)
		if err != nil {
			return "", gateway.Errorf(gateway.CodeInvalid, "There is no such merge.")
		}
		other, err := e.UndoMerge(merge)
		if err != nil {
			return "", err
		}
		return "The merge is undone: they are two contacts again.", auditContact(e, "contact.unmerge", id, map[string]any{"merge": merge, "other": other})
	})
}
