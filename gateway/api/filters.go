package api

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"civgate/gateway"
)

// The bounds of a filtered list.
const (
	maxFilters   = 20
	maxFilter    = 1024 // bytes of a value
	queryTimeout = 10 * time.Second
)

// notFilters are the parameters of a list that name none of its fields: some are ours,
// others are what clients add to every request.
var notFilters = []string{"limit", "page", "cursor", "many", "min", "max", "search", "format", "version", "page_size", "offset", "ordering", "order_by"}

// operators are the lookups of field__lookup (contract, section 4).
var operators = map[string]gateway.Op{
	"exact": gateway.OpEqual, "contains": gateway.OpContains, "icontains": gateway.OpIContains,
	"startswith": gateway.OpStartsWith, "istartswith": gateway.OpIStartsWith,
	"endswith": gateway.OpEndsWith, "iendswith": gateway.OpIEndsWith,
	"gt": gateway.OpGreater, "gte": gateway.OpAtLeast, "lt": gateway.OpLess, "lte": gateway.OpAtMost,
}

// filters reads the conditions that the parameters of a list name: field=value,
// field__lookup=value, and search, the name of a time, with min and max in Unix
// seconds (see span). Parameters in but are none. A CodeInvalid names the parameter at fault.
func (s *Server) filters(r *request, of gateway.Entity, but ...string) ([]gateway.Condition, error) {
	return readFilters(r.QueryParams(), of, s.attributeTypes(r, of), but...)
}

// attributeTypes finds the types of the custom attributes, when they are needed.
type attributeTypes func() (map[string]gateway.Type, error)

// readFilters is filters of any parameters.
func readFilters(q url.Values, of gateway.Entity, attributes attributeTypes, but ...string) ([]gateway.Condition, error) {
	var where []gateway.Condition
	for _, param := range slices.Sorted(maps.Keys(q)) {
		if slices.Contains(notFilters, param) || slices.Contains(but, param) {
			continue
		}
		name, lookup, op, known := param, "", gateway.OpEqual, false
		if i := strings.LastIndex(param, "__"); i >= 0 {
			name, lookup = param[:i], param[i+len("__"):]
			op, known = operators[lookup]
		}
		switch {
		case name == param:
			if gateway.StandardName(param) == "" {
				continue // what proxies and browsers add, such as _=1 against caches
			}
		case !known:
			return nil, invalid(param, fmt.Sprintf("There is no lookup %.40q. Use contains, startswith, endswith (each also with an i before it), gt, gte, lt or lte.", lookup))
		}
		for _, value := range q[param] {
			if value != storable(value) || len(value) > maxFilter || len(name) > gateway.MaxName {
				return nil, invalid(param, "Enter a valid value.")
			}
			types, err := attributes()
			if err != nil {
				return nil, err
			}
			c, err := condition(of, types, param, name, op, value)
			if err != nil {
				return nil, err
			}
			where = append(where, c)
		}
	}
	span, err := span(q, times[of])
	if err != nil {
		return nil, err
	}
	if where = append(where, span...); len(where) > maxFilters {
		return nil, gateway.Errorf(gateway.CodeInvalid, "Use at most %d filters.", maxFilters)
	}
	return where, nil
}

func (s *Server) attributeTypes(r *request, of gateway.Entity) attributeTypes {
	return sync.OnceValues(func() (map[string]gateway.Type, error) {
		defs, err := s.reader.AttributeDefs(r.Request().Context(), r.workspace.ID)
		if err != nil {
			return nil, err
		}
		types := make(map[string]gateway.Type, len(defs))
		for _, d := range defs {
			if d.Entity == of {
				types[d.Name] = d.Type
			}
		}
		return types, nil
	})
}

// fieldNames are the fields that are no attributes, by all names that clients have for
// them.
var fieldNames = map[gateway.Entity]map[string]string{
	gateway.EntityContact: {
		"id": "id", "custom_id": "custom_id", "user_id": "custom_id", "email": "email", "key": "key", "user_key": "key",
		"created_at": "created_at", "updated_at": "updated_at", "list": "list",
		"first_seen": "first_seen", "last_seen": "last_seen", "last_contacted": "last_contacted", "page_views": "page_views",
	},
	gateway.EntityCompany: {
		"id": "id", "custom_id": "custom_id", "company_id": "custom_id", "company_custom_id": "custom_id", "name": "name",
		"created_at": "created_at", "updated_at": "updated_at",
	},
}

// times are the fields that are instants: what can be searched with min and max.
var times = map[gateway.Entity][]string{
	gateway.EntityContact: {"created_at", "updated_at", "first_seen", "last_seen", "last_contacted"},
	gateway.EntityCompany: {"created_at", "updated_at"},
}

// condition makes one condition; param is its name for errors.
func condition(of gateway.Entity, types map[string]gateway.Type, param, name string, op gateway.Op, value string) (gateway.Condition, error) {
	c := gateway.Condition{Field: name, Op: op, Value: gateway.TextValue(value)}
	refuse := func() (gateway.Condition, error) {
		return c, invalid(param, "Enter a valid value.")
	}
	if field, ok := fieldNames[of][name]; ok {
		c.Field = field
		switch {
		case field == "id" || field == "page_views":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || comparesTexts(op) {
				return refuse()
			}
			c.Value = gateway.IntValue(n)
		case field == "list":
			id, err := strconv.ParseInt(value, 10, 64)
			if err != nil || op != gateway.OpEqual {
				return refuse()
			}
			c.Value = gateway.IntValue(id)
		case slices.Contains(times[of], field):
			at, ok := instant(value)
			if !ok || comparesTexts(op) {
				return refuse()
			}
			c.Value = gateway.DatetimeValue(at)
		case field == "key" && op != gateway.OpEqual:
			return refuse()
		case field == "email" && op == gateway.OpEqual:
			c.Value = gateway.TextValue(searchedEmail(value))
		case field == "email":
			c.Op = ignoringCase(op) // as equality does
		}
		return c, nil
	}
	if a, ok := gateway.Standard(of, name); ok {
		switch {
		case a.Type == gateway.TypeNumber && comparesTexts(op):
			return refuse()
		case a.Type == gateway.TypeNumber, a.Type == gateway.TypeBool, a.Name == "phone_number" && op == gateway.OpEqual:
			v, _, ok := a.Convert(gateway.TextValue(searchedValue(a.Name, value)))
			if !ok {
				return refuse()
			}
			c.Value = v
		}
		return asBool(c, a.Type, op), nil
	}
	var ok bool
	switch c.Field, ok = gateway.CustomName(of, name); {
	case !ok:
		return refuse()
	case c.Field != name && gateway.StandardName(name) == name:
		return c, invalid(param, "This field can't be filtered by.") // its name is reserved
	}
	switch t := types[c.Field]; t {
	case gateway.TypeNumber, gateway.TypeBool, gateway.TypeDate, gateway.TypeDatetime:
		if comparesTexts(op) && t != gateway.TypeBool {
			break
		}
		v, ok := gateway.Convert(c.Value, t)
		if !ok {
			return refuse()
		}
		c.Value = v
	}
	return asBool(c, types[c.Field], op), nil
}

// asBool makes a lookup of texts an equality where the attribute is a boolean: clients
// send is_pro__startswith=True (contract, section 4).
func asBool(c gateway.Condition, t gateway.Type, op gateway.Op) gateway.Condition {
	if t == gateway.TypeBool && comparesTexts(op) {
		c.Op = gateway.OpEqual
	}
	return c
}

func searchedValue(name, value string) string {
	if name == "phone_number" {
		return searchedPhone(value)
	}
	return value
}

// ignoringCase is the operator that does the same without telling upper from lower case.
func ignoringCase(op gateway.Op) gateway.Op {
	switch op {
	case gateway.OpContains:
		return gateway.OpIContains
	case gateway.OpStartsWith:
		return gateway.OpIStartsWith
	case gateway.OpEndsWith:
		return gateway.OpIEndsWith
	}
	return op
}

// comparesTexts reports whether the operator is one for texts alone.
func comparesTexts(op gateway.Op) bool {
	switch op {
	case gateway.OpEqual, gateway.OpGreater, gateway.OpAtLeast, gateway.OpLess, gateway.OpAtMost:
		return false
	}
	return true
}

// instant reads a date, a datetime or Unix seconds.
func instant(s string) (time.Time, bool) {
	if strings.Contains(s, "T") {
		s = strings.Replace(s, " ", "+", 1) // the plus of an offset, not escaped
	}
	if at, ok := gateway.ParseDatetime(s); ok {
		return at, true
	}
	return unixTime(s)
}

// maxUnix is the last second but one of the year 9999.
const maxUnix = 253402300798

func unixTime(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > maxUnix {
		return time.Time{}, false
	}
	return time.Unix(n, 0).UTC(), true
}

// span reads search, min and max: from when to when, both included, something
// happened to what is searched; fields are what there is to search by.
func span(q url.Values, fields []string) ([]gateway.Condition, error) {
	if !q.Has("search") && !q.Has("min") && !q.Has("max") {
		return nil, nil
	}
	field := q.Get("search")
	if !slices.Contains(fields, field) {
		return nil, invalid("search", fmt.Sprintf("%.40q is not a valid choice. Use %s.", field, strings.Join(fields, ", ")))
	}
	var where []gateway.Condition
	for _, bound := range []struct {
		name string
		op   gateway.Op
		more time.Duration
	}{{"min", gateway.OpAtLeast, 0}, {"max", gateway.OpLess, time.Second}} {
		if !q.Has(bound.name) {
			continue
		}
		at, ok := unixTime(q.Get(bound.name))
		if !ok {
			return nil, invalid(bound.name, textNoID)
		}
		// The second that max names belongs to the span, with its fractions.
		where = append(where, gateway.Condition{Field: field, Op: bound.op, Value: gateway.DatetimeValue(at.Add(bound.more))})
	}
	if len(where) == 0 {
		return nil, invalid("min", textRequired)
	}
	return where, nil
}

// filtered makes the list of what meets the conditions.
func filtered[T any](r *request, l list, id func(T) int64, where []gateway.Condition, find func(ctx context.Context, w gateway.WorkspaceID, q gateway.Query) ([]T, error)) keyset[T] {
	return keyset[T]{list: l, id: id, forth: true, before: func(before int64, limit int) ([]T, error) {
		ctx, cancel := context.WithTimeout(r.Request().Context(), queryTimeout)
		defer cancel()
		return find(ctx, r.workspace.ID, gateway.Query{Where: where, Before: before, Limit: limit})
	}}
}

// countFiltered is the count of a page of a filtered list: see the package's Decisions.
func (p *page) countFiltered(rows int) {
	p.Count = int64(rows)
	if p.Next != nil {
		p.Count++
	}
}
