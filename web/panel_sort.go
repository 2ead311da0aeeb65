package web

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file says in what orders lists can be.
//
// Decisions
//
//   - A list of any length can be in the orders that an index gives; one of up to
//     gateway.MaxSorted rows in that of any column. A head that can't be sorted by is plain
//     text, so whether a list is that short is found out with each page: from the count of
//     all, from the page itself if it is the only one, or by counting what an index finds.
//   - An address may ask for an order that its list has grown too long for. It is then the
//     newest first, and says why.

const (
	// sortPatience is how long a page may look for what it sorts in memory, surePatience how
	// long if it is known to be little.
	sortPatience = 50 * time.Millisecond
	surePatience = time.Second
	// leastPatience is what is left to look for the newest when that took all the time.
	leastPatience = 20 * time.Millisecond
)

// listOrder is in what order a list is: by a field, or by when they were added (the zero
// value is newest first).
type listOrder struct {
	By   string // "" for id, newest first
	Down bool
}

var oldestFirst = listOrder{By: "id"}

// readOrder reads what stands in an address: a field, with a - before it to go down.
func readOrder(q url.Values) listOrder {
	by, down := strings.CutPrefix(q.Get("sort"), "-")
	if by == "" || by == "id" && down || len(by) > maxTerm {
		return listOrder{}
	}
	return listOrder{By: by, Down: down}
}

func (o listOrder) String() string {
	if o.Down {
		return "-" + o.By
	}
	return o.By
}

// formatSortPlace writes where a page of an order begins.
func formatSortPlace(p gateway.SortPlace) string {
	switch {
	case p == (gateway.SortPlace{}):
		return ""
	case p.None:
		return strconv.FormatInt(p.ID, 10) + "!"
	}
	return strconv.FormatInt(p.ID, 10) + ":" + p.Key
}

// parseSortPlace is its inverse; what it can't read is the start.
func parseSortPlace(text string) gateway.SortPlace {
	if id, ok := strings.CutSuffix(text, "!"); ok {
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			return gateway.SortPlace{ID: n, None: true}
		}
	}
	id, key, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(id, 10, 64)
	if !ok || err != nil {
		return gateway.SortPlace{}
	}
	return gateway.SortPlace{Key: key, ID: n}
}

// sortField is what a list can be sorted by.
type sortField struct {
	Name, Label string
	Type        gateway.Type
}

// words are what an order by the field is called.
func (f sortField) words(down bool) string {
	words := [2]string{"A–Z", "Z–A"}
	switch f.Type {
	case gateway.TypeNumber:
		words = [2]string{"lowest first", "highest first"}
	case gateway.TypeDate, gateway.TypeDatetime:
		words = [2]string{"earliest first", "latest first"}
	case gateway.TypeBool:
		words = [2]string{"no first", "yes first"}
	}
	if down {
		return f.Label + ", " + words[1]
	}
	return f.Label + ", " + words[0]
}

// firstDown reports whether people look for the other end first.
func (f sortField) firstDown() bool {
	return f.Type == gateway.TypeNumber || f.Type == gateway.TypeDate || f.Type == gateway.TypeDatetime
}

// sorts are the orders that a list can be in.
type sorts struct {
	entity gateway.Entity
	now    listOrder
	any    bool     // it is short enough for any column
	not    []string // what it is not sorted by unless it is short
	href   func(o listOrder) string
}

// can reports whether the list can be in an order.
func (s sorts) can(o listOrder) bool {
	return o == listOrder{} || s.any || gateway.HasOrder(s.entity, o.By, o.Down) && !slices.Contains(s.not, o.By)
}

// column makes the head of a column a link if the list can be sorted by it. A second click
// turns the order around.
func (s sorts) column(c column, f sortField) column {
	if !sortableType(f.Type) {
		return c
	}
	next := listOrder{f.Name, f.firstDown()}
	if s.now.By == f.Name {
		c.Sorted = "ascending"
		if s.now.Down {
			c.Sorted = "descending"
		}
		next.Down = !s.now.Down
	} else if !s.can(next) {
		next.Down = !next.Down
	}
	if s.can(next) {
		c.Href = s.href(next)
	}
	return c
}

func sortableType(t gateway.Type) bool { return t != gateway.TypeList && t != gateway.TypeJSON }

// orderMenu lists the orders of a list, for those who see no heads of columns, and the
// orders that have none.
type orderMenu struct {
	Now     string
	Down    bool // the highest, or latest, come first
	Orders  []chip
	Limited bool // not every column can be sorted by
	Max     string
}

func (s sorts) menu(fields []sortField) orderMenu {
	m := orderMenu{Now: "Newest first", Down: s.now == listOrder{} || s.now.Down, Limited: !s.any, Max: number(gateway.MaxSorted)}
	add := func(o listOrder, label string) {
		if o == s.now {
			m.Now = label
		} else if !s.can(o) {
			return
		}
		m.Orders = append(m.Orders, chip{Label: label, Href: s.href(o), Active: o == s.now})
	}
	add(listOrder{}, "Newest first")
	add(oldestFirst, "Oldest first")
	for _, f := range fields {
		if sortableType(f.Type) {
			add(listOrder{f.Name, f.firstDown()}, f.words(f.firstDown()))
			add(listOrder{f.Name, !f.firstDown()}, f.words(!f.firstDown()))
		}
	}
	return m
}

// tooMany is what a list says that can't be in the order it was asked for.
func tooMany(f sortField) string {
	return "These are too many to be sorted by " + f.Label + ", so the newest come first. Add filters: up to " + number(gateway.MaxSorted) + " that are quickly found can be sorted by anything."
}

// leftOut is what an order by an index says of those who are not in it.
func leftOut(o listOrder) string {
	what := map[string]string{"email": "an e-mail", "custom_id": "a custom id", "phone_number": "a phone number"}[o.By]
	if what == "" {
		return ""
	}
	return "Contacts without " + what + " are not in this order."
}

// sorted is a page of an order: found in memory (short) or by an index.
type sorted[T any] struct {
	rows    []T
	next    string
	stopped bool // it is not known whether there is more behind next
	short   bool // the list is short enough for any order
	refused bool // it can't be in this order
}

// sortList takes a page of a list in an order: in memory if it is, or may be, short enough,
// else by an index if one gives the order, until patience is over.
func sortList[T any](ctx context.Context, w gateway.WorkspaceID, s sorts, q gateway.SortQuery, short, mayBeShort bool, patience time.Duration, inMemory func(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery, patience time.Duration) (*gateway.SortPage[T], error), byIndex func(ctx context.Context, w gateway.WorkspaceID, q gateway.SortQuery) (*gateway.SortPage[T], error)) (f sorted[T], err error) {
	s.any = false
	indexed := s.can(s.now) && q.Company == 0
	begin := time.Now()
	if short || mayBeShort {
		limit := sortPatience
		if short || !indexed && q.After != (gateway.SortPlace{}) { // the pages before were in memory, too
			limit = surePatience
		}
		page, err := inMemory(ctx, w, q, limit)
		if err == nil {
			return sorted[T]{rows: page.Rows, next: formatSortPlace(page.Next), short: true}, nil
		}
		if gateway.CodeOf(err) != gateway.CodeTooLarge {
			return f, err
		}
	}
	if !indexed || q.After.None { // no index has those without a value
		f.refused = true
		return f, nil
	}
	for {
		page, err := byIndex(ctx, w, q)
		if gateway.CodeOf(err) == gateway.CodeTooLarge {
			f.refused = true
			return f, nil
		}
		if err != nil {
			return f, err
		}
		f.rows, f.next = append(f.rows, page.Rows...), formatSortPlace(page.Next)
		if !page.Partial {
			return f, nil
		}
		if q.After, q.Limit = page.Next, q.Limit-len(page.Rows); time.Since(begin) > patience {
			f.stopped = true
			return f, nil
		}
	}
}

// isShort reports whether so few meet the conditions that they can be sorted by anything,
// as far as an index tells until patience is over.
func (p *panel) isShort(ctx context.Context, w gateway.WorkspaceID, entity gateway.Entity, where []gateway.Condition, patience time.Duration) (bool, error) {
	if patience <= 0 || !slices.ContainsFunc(where, isNarrow) {
		return false, nil
	}
	n, err := p.Read.CountFound(ctx, w, entity, where, gateway.MaxSorted+1, patience)
	if gateway.CodeOf(err) == gateway.CodeTooLarge {
		return false, nil
	}
	return n <= gateway.MaxSorted, err
}

// isNarrow reports whether an index finds who meets the condition. Of any other it is not
// worth the time to count them with each page.
func isNarrow(c gateway.Condition) bool {
	switch c.Field {
	case "custom_id", "email", "phone_number", "list", "tags", "key":
		return c.Op == gateway.OpEqual
	case "created_at", "first_seen", "last_seen":
		return true
	}
	return false
}
