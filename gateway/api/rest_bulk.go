package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// This file owns POST /bulk/, which is ours: many writes in one request.
//
// Decisions
//
//   - A part of a bulk request is a request of this API, with its method, its path and its
//     body, and its result is the answer that it would have got: nothing has to be
//     learnt, and nothing be built twice.
//   - Each part is a transaction of its own, in order; one that fails stops none of the
//     others. With atomic, all are one transaction, and one that fails undoes all:
//     the answer then is 422, or 503 if trying again may help, and the others are 424.
//   - Under an Idempotency-Key each part has a key of its own, made of that and its place:
//     a bulk request that broke off is sent again and goes on where it ended.

// The bounds of a bulk request.
const (
	maxBulkParts = 1000
	maxBulkBody  = 16 << 20 // bytes
	// maxBulkAnswer is from how many bytes on results come without their bodies.
	maxBulkAnswer = 32 << 20
)

// part is a request within a bulk request.
type part struct {
	method string
	path   string // as it came
	id     string // that in the path, unescaped
	body   []byte // JSON, nil for none
}

// bulk is a bulk request under way.
type bulk struct {
	s       *Server
	r       *request
	parts   []bulkPart
	results []bulkResult
	bytes   int // of the results' bodies
}

// bulkPart is what a part asks for.
type bulkPart struct {
	r    *request
	once *once
	err  error // what is wrong with it by itself
}

// bulkResult is what a part was answered with.
type bulkResult struct {
	Status   int  `json:"status"`
	Body     raw  `json:"body"` // null: none
	Replayed bool `json:"replayed,omitempty"`
	Omitted  bool `json:"omitted,omitempty"` // there is a body, but no room for it
}

// bulk answers POST /bulk/.
func (s *Server) bulk(r *request) error {
	var err error
	if r.key, err = idempotencyKey(r.Request().Header); err != nil {
		return err
	}
	body, err := r.readBody(maxBulkBody)
	if err != nil {
		return err
	}
	parsed, err := gateway.ParseFields(body)
	if err != nil {
		return err
	}
	f := fields(parsed)
	atomic := false
	if value := f.find("atomic"); value != nil && json.Unmarshal(value, &atomic) != nil {
		return invalid("atomic", "Must be a valid boolean.")
	}
	items, err := f.list("operations", maxBulkParts)
	if err != nil {
		return err
	}
	b := &bulk{s: s, r: r, parts: make([]bulkPart, len(items)), results: make([]bulkResult, len(items))}
	for i, item := range items {
		b.parts[i], err = b.read(i, item)
		b.parts[i].err = err
	}
	status := http.StatusOK
	if atomic {
		status = b.together()
	} else {
		b.oneByOne()
	}
	answer := struct {
		Succeeded int          `json:"succeeded"`
		Failed    int          `json:"failed"`
		Results   []bulkResult `json:"results"`
	}{Results: b.results}
	for i := range b.results {
		if b.results[i].Status < http.StatusBadRequest {
			answer.Succeeded++
		} else {
			answer.Failed++
		}
	}
	return writeJSON(r, status, answer)
}

// read makes a part of an element of operations.
func (b *bulk) read(i int, item raw) (p bulkPart, err error) {
	parsed, err := gateway.ParseFields(item)
	if err != nil {
		return p, err
	}
	f := fields(parsed)
	if at := slices.IndexFunc(f, func(x gateway.Field) bool { return !slices.Contains([]string{"method", "path", "body"}, x.Name) }); at >= 0 {
		return p, invalid(f[at].Name, "An operation has method, path and body.")
	}
	method, err := f.text("method", 16)
	if err != nil {
		return p, err
	}
	path, err := f.text("path", maxPath)
	if err != nil {
		return p, err
	}
	m, id, ok := b.s.routes.find(path)
	if !ok {
		return p, errNotFound
	}
	method = strings.ToUpper(method)
	h := m.write(method)
	switch {
	case m.many != nil:
		return p, invalid("path", "A bulk request can't be part of another.")
	case h == nil:
		return p, invalid("method", "An operation of this path has one of the methods "+strings.Join(m.writes(), ", ")+".")
	}
	p.r = &request{Context: b.r.Context, caller: b.r.caller, version: b.r.version, part: &part{method: method, path: path, id: id, body: f.find("body")}}
	if b.r.key != "" {
		p.r.key = b.r.key + "#" + strconv.Itoa(i)
	}
	op, err := h(p.r)
	if err != nil {
		return p, err
	}
	p.once, err = p.r.once(op)
	return p, err
}

// oneByOne carries out each part by itself.
func (b *bulk) oneByOne() {
	for i := range b.parts {
		p := &b.parts[i]
		err := p.err
		var w written
		if err == nil {
			err = b.s.edit(p.r, p.once.do)
		}
		if err == nil {
			w, err = p.once.written(b.s, p.r)
		}
		if err == nil {
			b.tell(i, w)
			continue
		}
		if b.fail(i, err); b.results[i].Status != http.StatusServiceUnavailable {
			continue
		}
		// What comes behind it would wait as long, and for the same.
		for i++; i < len(b.parts); i++ {
			b.fail(i, gateway.Errorf(gateway.CodeUnavailable, "This was not tried, since an operation before it could not be carried out now."))
		}
		return
	}
}

// together carries out all parts or none, and returns the status of the whole: 200,
// or 422 or 503 if nothing was done.
func (b *bulk) together() int {
	for i := range b.parts {
		if err := b.parts[i].err; err != nil {
			return b.undone(i, err)
		}
	}
	for i := range b.parts {
		b.r.patience = max(b.r.patience, b.parts[i].r.patience)
	}
	at := 0
	if err := b.s.edit(b.r, func(e *gateway.Editor) error {
		for at = range b.parts {
			if err := b.parts[at].once.do(e); err != nil {
				return err
			}
			if err := e.Flush(); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return b.undone(at, err)
	}
	for i := range b.parts {
		w, err := b.parts[i].once.written(b.s, b.parts[i].r)
		if err != nil {
			b.fail(i, err) // done, but it can't be shown
			continue
		}
		b.tell(i, w)
	}
	return http.StatusOK
}

// undone tells that nothing was done because of one part, and returns the status.
func (b *bulk) undone(because int, err error) int {
	b.fail(because, err)
	for i := range b.parts {
		if i != because {
			b.set(i, http.StatusFailedDependency, detail{fmt.Sprintf("This was not done, since operation %d failed.", because)})
		}
	}
	if b.results[because].Status == http.StatusServiceUnavailable {
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

func (b *bulk) fail(i int, err error) {
	e, status := b.s.edgeError(b.r, b.r.workspace.ID, err)
	b.set(i, status, problem(e))
}

func (b *bulk) set(i, status int, body any) {
	text, err := encodeJSON(body)
	if err != nil { // of texts alone: never
		text = []byte("null")
	}
	b.results[i] = bulkResult{Status: status, Body: text}
}

// tell sets the result of a part that was carried out.
func (b *bulk) tell(i int, w written) {
	b.results[i] = bulkResult{Status: w.status, Body: w.text, Replayed: w.replayed}
	if b.bytes += len(w.text); b.bytes > maxBulkAnswer {
		b.results[i].Body, b.results[i].Omitted = nil, true
	}
}

// maxPath is how many bytes the path of a part may have: an id with every byte escaped,
// and what is around it.
const maxPath = 3*gateway.MaxID + 256

// routeTable finds what paths name, for parts of a bulk request. Its keys are paths as
// resources have them.
type routeTable map[string]*methods

func newRouteTable(all []resource) routeTable {
	t := make(routeTable, len(all))
	for i := range all {
		t[all[i].path] = &all[i].methods
	}
	return t
}

// find returns what a path names and the id in it, unescaped: a path as a request has it, with
// or without what all of them begin with, and with or without the last slash. A word
// of the API wins over an id.
func (t routeTable) find(path string) (m *methods, id string, ok bool) {
	path = strings.TrimPrefix(path, restBase)
	path = "/" + strings.Trim(path, "/")
	if m, ok = t[path]; ok {
		return m, "", true
	}
	segments := strings.Split(path[1:], "/")
	for i, segment := range segments {
		named := slices.Clone(segments)
		named[i] = ":id"
		if m, ok = t["/"+strings.Join(named, "/")]; !ok {
			continue
		}
		id, err := url.PathUnescape(segment)
		if err != nil {
			return nil, "", false
		}
		return m, storable(id), true
	}
	return nil, "", false
}
