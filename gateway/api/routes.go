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
	const get, post, put = http.MethodGet, http.MethodPost, http.MethodPut
	// contact is what is below a contact, whatever kind of id the path has.
	contact := func(path string, find findContact, at targetContact) []resource {
		return append(theContacts.resources(s, path, at, s.contact(find)),
			resource{path + "/events", methods{get: s.events(find), post: s.createEventOf(at)}},
			resource{path + "/product_events", methods{get: s.productEvents(find)}},
			resource{path + "/ping_hits", methods{get: s.pageViews(find)}})
	}
	// many is what is done to several contacts, named by one kind of id.
	many := func(path string, find contactRef) []resource {
		custom, standard := s.massUpdate(find, false), s.massUpdate(find, true)
		return []resource{
			{path + "/update_or_create", methods{post: theContacts.updateOrCreate(s)}},
			{path + "/mass_update_custom_attributes", methods{put: custom, post: custom}},
			{path + "/mass_update_standard_attributes", methods{put: standard, post: standard}},
			{path + "/merge", methods{post: s.mergeContacts(find)}},
		}
	}
	return slices.Concat([]resource{
		{"/users", methods{get: s.contacts, post: theContacts.createOne(s)}},
		{"/users/export", methods{get: s.exportContacts}},
		{"/users/search", methods{get: s.searchContacts}},
		{"/users-by-id/search", methods{get: s.searchContactsByID}},
	},
		many("/users", refByID),
		contact("/users/:id", s.byID, targetByID),
		many("/users-by-id", refByCustomID),
		contact("/users-by-id/:id", s.byCustomID, targetByCustomID),
		s.companyResources())
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
