package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

const (
	fakeAPIKey = "A1B2C3"
	fakeToken  = "secret"
)

// A fakeServer speaks civgate's wire from memory, with an identity matrix of its own, and can be made to fail in each
// way that the verification is there to find.
type fakeServer struct {
	url string

	// Faults, set before the load.
	answers  func(request int64) (status int, header http.Header)   // other than 200 instead of storing
	drops    func(request int64) (beforeStoring, afterStoring bool) // close the connection
	items    func(payload int64) *apiError                          // error of one payload
	stores   func(message int64) int                                // how often to apply it: 0 loses it
	keeps    bool                                                   // what is refused is stored all the same
	forgets  bool                                                   // message ids are not remembered
	unmerged bool                                                   // anonymous visitors stay when they log in
	sticky   bool                                                   // a browser never changes hands

	mu        sync.Mutex
	requests  int64
	payloads  int64
	pending   int // health answers that still say there is something pending
	lastID    int64
	contacts  []*fakeContact
	companies []*fakeCompany
	owner     map[string]*fakeContact // by key
	messages  map[string]bool
}

type fakeContact struct {
	id                   int64
	customID, email, key string
	name, plan           string
	views                int64
	companies            []int64
}

type fakeCompany struct {
	id        int64
	customID  string
	name      string
	employees []int64
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	s := &fakeServer{pending: 2, owner: map[string]*fakeContact{}, messages: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ingest", s.ingest)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		fmt.Fprintf(w, `{"status":"ok","inbox_pending":%d}`, s.pending)
		s.pending = max(s.pending-1, 0)
	})
	mux.HandleFunc("GET /api/public/users/", s.list(func(i int) (any, bool) {
		if i >= len(s.contacts) {
			return nil, false
		}
		c := s.contacts[i]
		memberships := []map[string]any{}
		for _, id := range c.companies {
			memberships = append(memberships, map[string]any{"id": id, "name": "x", "member_since": "2026-01-02T03:04:05.000000Z"})
		}
		return map[string]any{"id": c.id, "user_key": c.key, "name": orNull(c.name), "email": orNull(c.email), "custom_id": orNull(c.customID), "page_views": c.views, "plan": orNull(c.plan), "companies": memberships}, true
	}))
	mux.HandleFunc("GET /api/public/companies/", s.list(func(i int) (any, bool) {
		if i >= len(s.companies) {
			return nil, false
		}
		c := s.companies[i]
		return map[string]any{"id": c.id, "custom_id": orNull(c.customID), "name": c.name, "employees": append([]int64{}, c.employees...)}, true
	}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (s *fakeServer) list(at func(int) (any, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Token "+fakeToken || r.Header.Get("Accept") != "*/*; version=2" {
			http.Error(w, `{"detail":"Invalid token."}`, http.StatusUnauthorized)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		from, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		results, count := []any{}, 0
		for i := 0; ; i++ {
			o, ok := at(i)
			if !ok {
				break
			}
			count++
			if i >= from && len(results) < limit {
				results = append(results, o)
			}
		}
		var next any
		if from+len(results) < count {
			next = fmt.Sprintf("https://another.name%s?cursor=%d&limit=%d", r.URL.Path, from+len(results), limit)
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"count": count, "next": next, "previous": nil, "results": results})
	}
}

type fakePayload struct {
	APIKey  string `json:"apiKey"`
	UserID  string `json:"user_id"`
	Email   string `json:"email"`
	Name    string `json:"name"`
	Plan    string `json:"plan"`
	Company *struct {
		ID   string `json:"company_id"`
		Name string `json:"name"`
	} `json:"company"`
	Envelope struct {
		ID  string    `json:"id"`
		Key string    `json:"key"`
		At  time.Time `json:"at"`
	} `json:"$"`
}

func (s *fakeServer) ingest(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	if s.answers != nil {
		if status, header := s.answers(s.requests); status != http.StatusOK {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":{"code":"code_%d","message":"m","field":""}}`, status)
			return
		}
	}
	before, after := false, false
	if s.drops != nil {
		before, after = s.drops(s.requests)
	}
	if before {
		panic(http.ErrAbortHandler)
	}
	array := bytes.HasPrefix(body, []byte("["))
	var payloads []fakePayload
	if !array {
		body = slices.Concat([]byte("["), body, []byte("]"))
	}
	if err := json.Unmarshal(body, &payloads); err != nil || len(payloads) > maxArray {
		http.Error(w, `{"error":{"code":"invalid_payload"}}`, http.StatusBadRequest)
		return
	}
	results := []any{}
	for _, p := range payloads {
		s.payloads++
		if p.APIKey != fakeAPIKey {
			http.Error(w, `{"error":{"code":"unknown_api_key"}}`, http.StatusUnauthorized)
			return
		}
		if s.items != nil {
			if e := s.items(s.payloads); e != nil {
				results = append(results, map[string]any{"error": e})
				if s.keeps {
					s.apply(p)
				}
				continue
			}
		}
		if !s.messages[p.Envelope.ID] || s.forgets {
			s.messages[p.Envelope.ID] = true
			times := 1
			if s.stores != nil {
				times = s.stores(int64(len(s.messages)))
			}
			for range times {
				s.apply(p)
			}
		}
		results = append(results, map[string]any{"status": "ok"})
	}
	if after {
		panic(http.ErrAbortHandler)
	}
	if array {
		_ = json.NewEncoder(w).Encode(map[string]any{"results": results})
	} else if m, ok := results[0].(map[string]any); ok && m["error"] != nil {
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(m)
	} else {
		_, _ = w.Write([]byte("{\"status\":\"ok\"}\n"))
	}
}

// apply is the identity matrix of civgate's design, section 4, read row by row.
func (s *fakeServer) apply(p fakePayload) {
	key := p.Envelope.Key
	c := s.owner[key]
	var byID, byEmail *fakeContact
	for _, x := range s.contacts {
		if p.UserID != "" && x.customID == p.UserID {
			byID = x
		}
		if p.Email != "" && x.email == p.Email && (byEmail == nil || (byEmail.customID == "" && x.customID != "")) {
			byEmail = x
		}
	}
	anonymous := c != nil && c.customID == "" && c.email == ""
	to := c
	switch {
	case s.sticky && c != nil:
	case p.UserID != "" && byID != nil:
		to = byID
		if anonymous {
			s.merge(c, to)
		}
	case p.UserID != "":
		if c == nil || c.customID != "" || (c.email != "" && c.email != p.Email) {
			to = s.newContact(key)
		}
	case p.Email != "" && c != nil && c.email == p.Email:
	case p.Email != "" && byEmail != nil:
		to = byEmail
		if anonymous {
			s.merge(c, to)
		}
	case p.Email != "":
		if c == nil || (c.customID == "" && c.email != "") {
			to = s.newContact(key)
		}
	case c == nil:
		to = s.newContact(key)
	}
	s.owner[key] = to
	to.key = key
	if p.UserID != "" {
		to.customID = p.UserID
	}
	if p.Email != "" {
		to.email = p.Email
	}
	if p.Name != "" {
		to.name, to.plan = p.Name, p.Plan
	}
	to.views++
	if p.Company != nil {
		s.join(to, p.Company.ID, p.Company.Name)
	}
}

func (s *fakeServer) newID() int64 {
	s.lastID++
	return s.lastID
}

func (s *fakeServer) newContact(key string) *fakeContact {
	c := &fakeContact{id: s.newID(), key: key}
	s.contacts = append(s.contacts, c)
	return c
}

func (s *fakeServer) merge(from, to *fakeContact) {
	if s.unmerged || from == to {
		return
	}
	to.views += from.views
	s.contacts = slices.DeleteFunc(s.contacts, func(c *fakeContact) bool { return c == from })
}

func (s *fakeServer) join(c *fakeContact, customID, name string) {
	i := slices.IndexFunc(s.companies, func(co *fakeCompany) bool { return co.customID == customID })
	if i < 0 {
		i = len(s.companies)
		s.companies = append(s.companies, &fakeCompany{id: s.newID(), customID: customID})
	}
	co := s.companies[i]
	co.name = name
	if !slices.Contains(c.companies, co.id) {
		c.companies = append(c.companies, co.id)
		co.employees = append(co.employees, c.id)
	}
}

// leave takes a contact out of a company's list, out of its own, or both.
func (s *fakeServer) leave(c *fakeContact, co *fakeCompany, fromCompany, fromContact bool) {
	if fromCompany {
		co.employees = slices.DeleteFunc(co.employees, func(id int64) bool { return id == c.id })
	}
	if fromContact {
		c.companies = slices.DeleteFunc(c.companies, func(id int64) bool { return id == co.id })
	}
}

func (s *fakeServer) company(id int64) *fakeCompany {
	return s.companies[slices.IndexFunc(s.companies, func(co *fakeCompany) bool { return co.id == id })]
}
