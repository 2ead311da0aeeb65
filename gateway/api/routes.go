package api

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// restBase is the path below which the REST API lives (contract, section 3).
const restBase = "/api/public"

// resource is one path of the REST API and what its methods do.
type resource struct {
	path    string // below restBase, without the last slash
	methods methods
}

// methods are what a resource does. HEAD is get without its body.
type methods struct {
	get                   restHandler
	post, put, patch, del writeHandler
	many                  restHandler   // POST of what is many writes
	scope                 gateway.Scope // what a token must include for all of them; "": see neededScope
}

// resources is the list of all routes of the REST API.
func (s *Server) resources() []resource {
	// contact is what is below a contact, whatever kind of id the path has.
	contact := func(path string, find findContact, at targetContact) []resource {
		return append(theContacts.resources(path, at, s.contact(find)),
			resource{path + "/events", methods{get: s.events(find), post: createEventOf(at)}},
			resource{path + "/product_events", methods{get: s.productEvents(find)}},
			resource{path + "/ping_hits", methods{get: s.pageViews(find)}},
			resource{path + "/timeline", methods{get: s.timeline(find)}},
			resource{path + "/emails", methods{get: s.emails(find)}})
	}
	// many is what is done to several contacts, named by one kind of id.
	many := func(path string, find contactRef) []resource {
		custom, standard := massUpdate(find, false), massUpdate(find, true)
		return []resource{
			{path + "/update_or_create", methods{post: theContacts.updateOrCreate}},
			{path + "/mass_update_custom_attributes", methods{put: custom, post: custom}},
			{path + "/mass_update_standard_attributes", methods{put: standard, post: standard}},
			{path + "/merge", methods{post: mergeContacts(find)}},
		}
	}
	return slices.Concat([]resource{
		{"/users", methods{get: s.contacts, post: theContacts.createOne}},
		{"/users/export", methods{get: s.exportContacts}},
		{"/users/search", methods{get: s.searchContacts}},
		{"/users-by-id/search", methods{get: s.searchContactsByID}},
	},
		many("/users", refByID),
		contact("/users/:id", s.byID, targetByID),
		many("/users-by-id", refByCustomID),
		contact("/users-by-id/:id", s.byCustomID, targetByCustomID),
		s.companyResources(),
		s.tagResources(),
		s.listResources(),
		s.recordResources(),
		[]resource{{"/bulk", methods{many: s.bulk}}})
}

// Mount registers all routes on e.
func (s *Server) Mount(e *echo.Echo) {
	mount := func(base string, all []resource) {
		for _, r := range all {
			h := s.rest(&r.methods)
			for _, end := range pathEnds(r.path) {
				e.Any(base+r.path+end, h)
				e.RouteNotFound(base+r.path+end, h) // methods that echo doesn't know
			}
		}
	}
	mount(restBase, s.resources())
	mount(settingsBase, s.settingsResources())
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

// names are those of the methods that there are, in the vendor's order.
func (m *methods) names() (names []string) {
	for _, name := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if m.find(name) != nil {
			names = append(names, name)
		}
	}
	return names
}

// writes are the names of the methods that write.
func (m *methods) writes() []string {
	return slices.DeleteFunc(m.names(), func(name string) bool { return name == http.MethodGet })
}

// allow is the value of the Allow header.
func (m *methods) allow() string {
	names := m.names()
	if m.get != nil {
		names = append(names, http.MethodHead)
	}
	return strings.Join(append(names, http.MethodOptions), ", ")
}

// find returns what the method does, nil if it is not allowed.
func (m *methods) find(method string) func(s *Server, r *request) error {
	if method == http.MethodGet || method == http.MethodHead {
		if m.get == nil {
			return nil
		}
		return func(_ *Server, r *request) error { return m.get(r) }
	}
	if method == http.MethodPost && m.many != nil {
		return func(_ *Server, r *request) error { return m.many(r) }
	}
	h := m.write(method)
	if h == nil {
		return nil
	}
	return func(s *Server, r *request) error { return s.serveWrite(r, h) }
}

// write returns what a method that writes does, nil if there is no such one.
func (m *methods) write(method string) writeHandler {
	switch method {
	case http.MethodPost:
		return m.post
	case http.MethodPut:
		return m.put
	case http.MethodPatch:
		return m.patch
	case http.MethodDelete:
		return m.del
	}
	return nil
}
