package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// request is a call of the REST API whose sender is known.
type request struct {
	echo.Context
	*caller
	version version
	part    *part  // of a bulk request
	key     string // its Idempotency-Key, "" without one
	read    bool   // body holds what came
	body    []byte
	// patience is for how long an edit may take if that is more than editTimeout.
	patience time.Duration
}

// caller is whose token came with a request.
type caller struct {
	workspace *gateway.Workspace
	scope     gateway.Scope
	token     string // what people call the token, "" if nothing
}

// version is that of the answers' shapes.
type version uint8

const (
	v1 version = 1
	v2 version = 2
)

// method is the one that is asked for.
func (r *request) method() string {
	if r.part != nil {
		return r.part.method
	}
	return r.Request().Method
}

// restHandler reads and answers.
type restHandler func(r *request) error

// rest makes a handler of a resource's methods: it sets the headers that every
// answer of the REST API carries, finds the workspace of the token, and renders
// the error that comes back.
func (s *Server) rest(m *methods) echo.HandlerFunc {
	allow := m.allow()
	return func(c echo.Context) error {
		restHeaders(c)
		c.Response().Header().Set(echo.HeaderAllow, allow)
		who, err := s.authenticate(c.Request())
		if err != nil {
			return s.restError(c, 0, err)
		}
		r := &request{Context: c, caller: who}
		if r.version, err = acceptedVersion(c.Request().Header); err != nil {
			return writeJSON(c, http.StatusNotAcceptable, detail{`Invalid version in "Accept" header.`})
		}
		method := c.Request().Method
		scope := m.scope
		if scope == "" {
			scope = neededScope(method)
		}
		if !who.scope.Includes(scope) {
			return s.restError(c, who.workspace.ID, errForbidden)
		}
		h := m.find(method)
		switch {
		case h == nil && method == http.MethodOptions:
			return c.NoContent(http.StatusNoContent)
		case h == nil:
			return writeJSON(c, http.StatusMethodNotAllowed, detail{"Method " + strconv.Quote(method) + " not allowed."})
		}
		if err := h(s, r); err != nil && !c.Response().Committed { // committed: the client is gone
			return s.restError(c, who.workspace.ID, err)
		}
		return nil
	}
}

// inView has everything that read reads show one state of the data. Answer behind it: a
// client may be slow.
func (s *Server) inView(r *request, read func() error) error {
	asked := r.Request()
	return s.reader.View(asked.Context(), func(ctx context.Context) error {
		r.SetRequest(asked.WithContext(ctx))
		defer r.SetRequest(asked)
		return read()
	})
}

func (s *Server) restNotFound(c echo.Context) error {
	restHeaders(c)
	return s.restError(c, 0, errNotFound)
}

var errForbidden = gateway.Errorf(gateway.CodeForbidden, "You do not have permission to perform this action.")

// neededScope is what a token must include for the method.
func neededScope(method string) gateway.Scope {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return gateway.ScopeRead
	}
	return gateway.ScopeWrite
}

// editTimeout bounds how long a request waits until what it writes is stored.
const editTimeout = 20 * time.Second

// edit changes the caller's workspace; see gateway.Gateway.Edit.
func (s *Server) edit(r *request, fn func(e *gateway.Editor) error) error {
	ctx, cancel := context.WithTimeout(r.Request().Context(), max(r.patience, editTimeout))
	defer cancel()
	return s.editor.Edit(ctx, r.workspace, gateway.Author{Source: gateway.SourceAPI, By: r.token}, fn)
}

var errNotFound = gateway.Errorf(gateway.CodeNotFound, "nothing has this path or id")

// restHeaders sets what every answer carries: the first two as recorded, the
// last two because answers are personal data and nothing but JSON.
func restHeaders(c echo.Context) {
	h := c.Response().Header()
	h.Set(echo.HeaderVary, "Accept, Cookie")
	h.Set(echo.HeaderXFrameOptions, "SAMEORIGIN")
	h.Set(echo.HeaderCacheControl, "no-store")
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
}

// authenticate finds whose the token in "Authorization: Token …" is. The texts are
// those of Django REST framework.
func (s *Server) authenticate(r *http.Request) (*caller, error) {
	token, err := authorization(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(token))
	if who := s.tokens.get(sum); who != nil {
		return who, nil
	}
	secret := hex.EncodeToString(sum[:])
	key, err := s.reader.APIKey(r.Context(), gateway.KeyREST, secret)
	var w *gateway.Workspace
	if err == nil {
		w, err = s.reader.WorkspaceByKey(r.Context(), gateway.KeyREST, secret)
	}
	switch {
	case gateway.IsNotFound(err):
		return nil, gateway.Errorf(gateway.CodeUnauthorized, "Invalid token.")
	case err != nil:
		return nil, err
	}
	who := &caller{workspace: w, scope: key.Scope, token: key.Name}
	s.tokens.put(sum, who)
	return who, nil
}

// authorization is the token in "Authorization: Token …".
func authorization(r *http.Request) (string, error) {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get(echo.HeaderAuthorization)), " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Token"):
		return "", gateway.Errorf(gateway.CodeUnauthorized, "Authentication credentials were not provided.")
	case token == "":
		return "", gateway.Errorf(gateway.CodeUnauthorized, "Invalid token header. No credentials provided.")
	case strings.ContainsAny(token, " \t"):
		return "", gateway.Errorf(gateway.CodeUnauthorized, "Invalid token header. Token string should not contain spaces.")
	}
	return token, nil
}

// The bounds of the token cache.
const (
	maxTokens = 1024
	tokenTTL  = time.Second
)

// tokenCache remembers for a second what a token's SHA-256 names. It holds known
// tokens only, so guesses take no room.
type tokenCache struct {
	now     func() time.Time
	mu      sync.Mutex
	entries map[[sha256.Size]byte]tokenEntry
}

type tokenEntry struct {
	*caller
	expires time.Time
}

func (t *tokenCache) get(sum [sha256.Size]byte) *caller {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.entries[sum]; ok && t.now().Before(e.expires) {
		return e.caller
	}
	return nil
}

func (t *tokenCache) put(sum [sha256.Size]byte, who *caller) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.entries == nil || len(t.entries) >= maxTokens {
		// Entries live a second: dropping all of them costs less than choosing.
		t.entries = make(map[[sha256.Size]byte]tokenEntry)
	}
	t.entries[sum] = tokenEntry{who, t.now().Add(tokenTTL)}
}

// acceptedVersion reads the version of the Accept header: "*/*; version=2" in
// any spacing is 2, none is 1 (contract, section 3). Another one is an error.
func acceptedVersion(h http.Header) (version, error) {
	for _, line := range h.Values(echo.HeaderAccept) {
		for mediaRange := range strings.SplitSeq(line, ",") {
			for param := range strings.SplitSeq(mediaRange, ";") {
				name, value, _ := strings.Cut(param, "=")
				if !strings.EqualFold(strings.TrimSpace(name), "version") {
					continue
				}
				switch strings.Trim(strings.TrimSpace(value), `"`) {
				case "1", "1.0":
					return v1, nil
				case "2", "2.0":
					return v2, nil
				}
				return 0, gateway.Errorf(gateway.CodeInvalid, "unknown version")
			}
		}
	}
	return v1, nil
}

// pathID is the id in the path, unescaped. It is "" if no stored id can equal
// it.
func (r *request) pathID() string {
	if r.part != nil {
		return r.part.id
	}
	return r.pathPart("id")
}

// pathPart is what the path has in the place of a name, unescaped as pathID.
func (r *request) pathPart(name string) string {
	id := r.Param(name)
	// echo matches on the escaped path where there is one; where there is none
	// the path came unescaped, and a second unescaping would turn the id "100%25"
	// into "100%".
	if r.Request().URL.RawPath != "" {
		var err error
		if id, err = url.PathUnescape(id); err != nil {
			return ""
		}
	}
	return storable(id)
}

// storable returns s, or "" if no stored text can equal it: databases refuse
// NUL and invalid UTF-8 in a parameter, which is no fault of theirs.
func storable(s string) string {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return ""
	}
	return s
}

// parseID reads an internal id. What is not one, or beyond all ids, is not
// found.
func parseID(s string) (int64, error) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errNotFound
		}
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil || id == 0 {
		return 0, errNotFound
	}
	return id, nil
}

// withoutSlash finds by id; an id that clients put in with a stray slash
// behind it (e-mail addresses) is tried without it as well.
func withoutSlash[T any](id string, find func(id string) (T, error)) (T, error) {
	v, err := find(id)
	if trimmed := strings.TrimRight(id, "/"); gateway.IsNotFound(err) && trimmed != id && trimmed != "" {
		return find(trimmed)
	}
	return v, err
}

// page is one page of a list, in the recorded field order.
type page struct {
	Count    int64   `json:"count"`
	Next     *string `json:"next"`
	Previous *string `json:"previous"`
	Results  []any   `json:"results"`
}

// The sizes of a page.
const (
	defaultLimit = 100
	maxLimit     = 100
	// maxPageDepth is how many entries ?page=N may skip.
	maxPageDepth = 10_000
)

// limit is the page size that the request asks for: ?limit=1 to 100, more
// counts as 100.
func (r *request) limit() (int, error) {
	if !r.QueryParams().Has("limit") {
		return defaultLimit, nil
	}
	n, err := strconv.Atoi(r.QueryParam("limit"))
	if err != nil || n < 1 {
		return 0, &gateway.Error{Code: gateway.CodeInvalid, Field: "limit", Message: "A whole number from 1 to 100 is required."}
	}
	return min(n, maxLimit), nil
}

// skip is how many entries ?page=N leaves out; 0 without it.
func (r *request) skip(limit int) (int, error) {
	if !r.QueryParams().Has("page") {
		return 0, nil
	}
	n, err := strconv.Atoi(r.QueryParam("page"))
	if err != nil || n < 1 {
		return 0, &gateway.Error{Code: gateway.CodeInvalid, Field: "page", Message: "A whole number from 1 is required."}
	}
	if n-1 > maxPageDepth/limit {
		return 0, &gateway.Error{Code: gateway.CodeInvalid, Field: "page", Message: "Pages by number end at " + strconv.Itoa(maxPageDepth) + " entries. Follow the link in next instead."}
	}
	return (n - 1) * limit, nil
}

// keyset is a list that is read by id, newest first.
type keyset[T any] struct {
	list   list
	id     func(T) int64
	before func(before int64, limit int) ([]T, error) // before 0: from the start
	// forth says that the list is read in this direction only: it is filtered, and a
	// page backwards would be a search of its own.
	forth bool
}

// read returns the rows that the request asks for and the links of their page.
func (k keyset[T]) read(s *Server, r *request) (rows []T, p page, err error) {
	limit, err := r.limit()
	if err != nil {
		return nil, p, err
	}
	var at cursor // the zero cursor is the start
	var skip int
	if text := r.QueryParam("cursor"); text != "" {
		if at, err = parseCursor(k.list, text); err == nil && at.newer && k.forth {
			err = errCursor
		}
	} else if skip, err = r.skip(limit); err == nil {
		at.id, err = k.skip(skip)
	}
	if err != nil {
		return nil, p, err
	}

	var more bool
	if at.newer {
		if rows, more, err = k.after(at.id, limit); err != nil {
			return nil, p, err
		}
		next := cursor{list: k.list, id: at.id + 1}
		if len(rows) > 0 {
			next.id = k.id(rows[len(rows)-1])
		}
		p.Next = s.link(r, next)
		if more {
			p.Previous = s.link(r, cursor{list: k.list, newer: true, id: k.id(rows[0])})
		}
		return rows, p, nil
	}
	// One row more than asked for tells whether there is a next page.
	if rows, err = k.before(at.id, limit+1); err != nil {
		return nil, p, err
	}
	if len(rows) == 0 && skip > 0 {
		return nil, p, errNotFound
	}
	if len(rows) > limit {
		rows = rows[:limit]
		p.Next = s.link(r, cursor{list: k.list, id: k.id(rows[limit-1])})
	}
	if at.id > 0 && !k.forth {
		p.Previous = s.link(r, cursor{list: k.list, newer: true, id: at.id - 1})
	}
	return rows, p, nil
}

// skip returns the id behind which the n+1st row comes, 0 for none to skip.
func (k keyset[T]) skip(n int) (before int64, err error) {
	const step = 1000
	for n > 0 {
		rows, err := k.before(before, min(n, step))
		if err != nil {
			return 0, err
		}
		if len(rows) == 0 {
			return 0, errNotFound
		}
		n -= len(rows)
		before = k.id(rows[len(rows)-1])
	}
	return before, nil
}

// after returns the limit rows just above id, and whether there are newer ones
// still. A Reader lists downwards only, so it looks for the lowest bound below
// which there are limit such rows: where ids are dense, that is the first try,
// else a search in steps that double and then halve.
func (k keyset[T]) after(id int64, limit int) (rows []T, more bool, err error) {
	above := func(rows []T) []T {
		n := 0
		for n < len(rows) && k.id(rows[n]) > id {
			n++
		}
		return rows[:n]
	}
	newest, err := k.before(0, limit+1)
	if err != nil {
		return nil, false, err
	}
	if newest = above(newest); len(newest) <= limit {
		return newest, false, nil
	}
	// Below low there are fewer than limit rows above id, below high there are
	// limit or more: rows, nearest to id when the two meet.
	rows = newest[1:]
	low, high := id+int64(limit), k.id(rows[0])+1
	doubling := true
	for probe := low + 1; high-low > 1; {
		found, err := k.before(probe, limit)
		if err != nil {
			return nil, false, err
		}
		if found = above(found); len(found) == limit {
			rows, high, doubling = found, k.id(found[0])+1, false
		} else {
			low = probe
		}
		if doubling {
			probe = min(id+2*(probe-id), high-1)
		} else {
			probe = low + (high-low)/2
		}
	}
	return rows, true, nil
}

// link is the absolute URL of the request with the cursor instead of its place
// in the list, on the host under which the client knows us.
func (s *Server) link(r *request, to cursor) *string {
	return s.linkTo(r, "cursor", to.String())
}

func (s *Server) linkTo(r *request, name, value string) *string {
	req := r.Request()
	q := r.QueryParams()
	kept := make(url.Values, len(q)+1)
	for k, v := range q {
		kept[k] = v
	}
	kept.Del("page")
	kept.Del("cursor")
	kept.Set(name, value)
	u := s.proxies.scheme(req) + "://" + s.proxies.host(req) + req.URL.EscapedPath() + "?" + kept.Encode()
	return &u
}

// sendJSON answers with a JSON text; nil is no body. HEAD gets the headers of it.
func sendJSON(c echo.Context, status int, body []byte) error {
	if body == nil {
		return c.NoContent(status)
	}
	c.Response().Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	if c.Request().Method == http.MethodHead {
		c.Response().Header().Set(echo.HeaderContentType, echo.MIMEApplicationJSON)
		c.Response().WriteHeader(status)
		return nil
	}
	return c.Blob(status, echo.MIMEApplicationJSON, body)
}
