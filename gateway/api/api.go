// Package api is civgate's HTTP for machines: the public REST API, and the
// endpoint to which the widget posts.
//
// It owns paths, methods, headers, statuses and the shapes of answers. It
// decides nothing about contacts and companies: what they are and what a
// payload does to them is package gateway's, which it calls. It knows no SQL and
// no Redis. Middleware for the whole server (recovery, request ids, access
// log, limits of header and body time) is set by who builds the server.
//
// Decisions
//
//   - One list of all REST routes (routes.go). Each path is one resource that is
//     registered for all methods and looks up the method itself, because
//     echo's own 405 names methods in its own order, and a PUT to /users/search/
//     would find PUT /users/:id/. So Allow is right on every answer, as the
//     vendor's is (contract, section 3).
//   - With and without the last slash is the same resource, never a redirect:
//     clients drop the body when they follow one.
//   - Objects are structs in the recorded field order, followed by what has no
//     fixed name. Nothing that is rendered comes from a map's iteration.
//   - An attribute with a definition is custom, one without is standard; the
//     custom ones of version 2 lie flat beside the standard fields, and one
//     whose name is taken shows under its label (see freeName).
//   - Lists are read by keyset cursor. The older ?page=N is answered up to
//     maxPageDepth entries deep, because reading on costs what it skips; its
//     links are cursors as well. A cursor that is not ours is a 400, not the
//     404 that a client takes for an empty last page.
//   - A filter is never ignored, as that would answer with everybody: one that
//     can't be read is a 400, and an attribute that does not exist is nobody's.
//     How many meet a filter is not counted, since that would read the whole list:
//     count is how many are on the page, and one more if there is a next one. A
//     filtered list is read forth only, so previous is null.
//   - 401 comes before 405, and a path that does not exist is a 404 for
//     everybody, as in Django REST framework.
//   - Where the vendor does something to a contact named by its own id, the last part of
//     the path may be an own id as well (/users-by-id/merge/). It is the action; the
//     contact is reached by its internal id.
//   - 403 for the scope of a token comes before 405, as in Django REST framework.
//   - A client of the REST API is told what is wrong with a whole body at once, and
//     nothing of it is done.
//   - A token's workspace is remembered for a second, so that a revoked token
//     works no longer than that and a busy client costs one lookup a second.
//     Tokens that name nothing are not remembered at all.
package api

import (
	"context"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"civgate/gateway"
)

// Settings are what a Server works with.
type Settings struct {
	// Reader is where the REST API reads from. Required.
	Reader gateway.Reader
	// Editor is how the REST API writes. Required.
	Editor Editor
	// Log gets the errors that are our fault. Required.
	Log *zap.Logger
	// TrustedProxies are the networks whose forwarding headers are believed for
	// the links in answers. Give the same to IPExtractor and SchemeExtractor.
	TrustedProxies []netip.Prefix
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Editor changes a workspace; *gateway.Gateway is one, and says what Edit does.
type Editor interface {
	Edit(ctx context.Context, w *gateway.Workspace, author gateway.Author, fn func(e *gateway.Editor) error) error
	// PreviewAssign says what a run of auto-assign would do.
	PreviewAssign(ctx context.Context, w *gateway.Workspace) (*gateway.AssignPreview, error)
	// KeepBody adds the body to the answer that is kept under a key.
	KeepBody(ctx context.Context, w gateway.WorkspaceID, key, body string) error
}

// Server answers the requests of machines. Its methods may be called from
// several goroutines.
type Server struct {
	reader  gateway.Reader
	editor  Editor
	log     *zap.Logger
	proxies proxies
	tokens  tokenCache
	routes  routeTable
	// previews holds who makes a preview of auto-assign.
	previews chan struct{}
}

// New returns a Server. It starts nothing; Mount makes it reachable.
func New(s Settings) *Server {
	now := s.Now
	if now == nil {
		now = time.Now
	}
	server := &Server{
		reader:  s.Reader,
		editor:  s.Editor,
		log:     s.Log,
		proxies: s.TrustedProxies,
		tokens:  tokenCache{now: now},

		previews: make(chan struct{}, 1),
	}
	server.routes = newRouteTable(server.resources())
	return server
}
