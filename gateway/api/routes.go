package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
)

// restBase is the path below which the REST API lives (contract, section 3).
const restBase = "/api/public"

// resource is one path of the REST API and what its methods do.
type resource struct {
	path    string // below restBase, without the last slash
	methods methods
}

type methods map[string]restHandler

// resources is the list of all routes of the REST API.
func (s *Server) resources() []resource {
	const get = http.MethodGet
	return []resource{
		{"/users", methods{get: s.contacts}},
		{"/users/export", methods{get: s.exportContacts}},
		{"/users/search", methods{get: s.searchContacts}},
		{"/users/:id", methods{get: s.contact(s.byID)}},
		{"/users/:id/events", methods{get: s.events(s.byID)}},
		{"/users/:id/product_events", methods{get: s.productEvents(s.byID)}},
		{"/users/:id/ping_hits", methods{get: s.pageViews(s.byID)}},
		{"/users-by-id/search", methods{get: s.searchContactsByID}},
		{"/users-by-id/:id", methods{get: s.contact(s.byCustomID)}},
		{"/users-by-id/:id/events", methods{get: s.events(s.byCustomID)}},
		{"/users-by-id/:id/product_events", methods{get: s.productEvents(s.byCustomID)}},
		{"/users-by-id/:id/ping_hits", methods{get: s.pageViews(s.byCustomID)}},

		{"/companies", methods{get: s.companies}},
		{"/companies/export", methods{get: s.exportCompanies}},
		{"/companies/search", methods{get: s.searchCompanies}},
		{"/companies/:id", methods{get: s.company}},
		{"/companies-by-id/:id", methods{get: s.companyByCustomID}},

		{"/memberships/export", methods{get: s.exportMemberships}},
	}
}

// Mount registers all routes on e.
func (s *Server) Mount(e *echo.Echo) {
	for _, r := range s.resources() {
		h := s.rest(r.methods)
		for _, end := range pathEnds(r.path) {
			e.Any(restBase+r.path+end, h)
			e.RouteNotFound(restBase+r.path+end, h) // methods that echo doesn't know
		}
	}
	e.GET("/api/openapi.yaml", s.serveOpenAPI)
	e.GET("/api/docs", s.serveDocs)
	e.GET("/api/docs/", s.serveDocs)
	e.Any(restBase, s.restNotFound)
	e.Any(restBase+"/*", s.restNotFound)
}

// pathEnds are the endings with which a path is served: with and without the
// slash, and, where an id is last, with the stray second slash that some
// clients put behind an e-mail address.
func pathEnds(path string) []string {
	if strings.HasSuffix(path, "/:id") {
		return []string{"", "/", "//"}
	}
	return []string{"", "/"}
}

// allow is the value of the Allow header, in the vendor's order.
func (m methods) allow() string {
	var names []string
	for _, name := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if m[name] != nil {
			names = append(names, name)
		}
	}
	if m[http.MethodGet] != nil {
		names = append(names, http.MethodHead)
	}
	return strings.Join(slices.Concat(names, []string{http.MethodOptions}), ", ")
}

// find returns what the method does, HEAD being GET without its body; nil if
// the method is not allowed.
func (m methods) find(method string) restHandler {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	return m[method]
}
