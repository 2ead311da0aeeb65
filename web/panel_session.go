package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/alexedwards/scs/v2"
	"go.uber.org/zap"

	"civgate/gateway"
)

// How long somebody stays signed in: without a request, and at all.
const (
	sessionIdle = 12 * time.Hour
	sessionLife = 14 * 24 * time.Hour
)

// sessionSlack is by how much a session's end may be behind what the last request
// makes of it. So a page costs no write transaction, but for one in five minutes.
const sessionSlack = 5 * time.Minute

// The values of a session. All are texts.
const (
	sessionEmail     = "email"
	sessionStamp     = "stamp" // see passwordStamp
	sessionWorkspace = "workspace"
	sessionToast     = "toast"
)

// Over TLS the cookie can't be set by, or sent to, another host, nor in clear.
const (
	cookieTLS   = "__Host-civgate"
	cookiePlain = "civgate_session"
)

func (c *call) cookieName() string {
	if c.Scheme() == "https" {
		return cookieTLS
	}
	return cookiePlain
}

// loadSession puts the session that the cookie names into the request's context, or
// a new one, and sees to it that it is kept before the answer begins.
func (p *panel) loadSession(c *call) error {
	token := ""
	if cookie, err := c.Cookie(c.cookieName()); err == nil && len(cookie.Value) <= 64 {
		token = cookie.Value
	}
	ctx := context.WithValue(c.Request().Context(), keptKey{}, &kept{})
	ctx, err := p.sessions.Load(ctx, token)
	if err != nil {
		return err
	}
	c.SetRequest(c.Request().WithContext(ctx))
	c.session = true
	c.Response().Before(func() {
		if err := c.keepSession(); err != nil {
			// What was asked for is answered all the same; what is lost is a message, or
			// that this request put off the end of the session.
			p.Log.Warn("keep a session", zap.String("route", c.route.path), zap.Error(err))
		}
	})
	return nil
}

// keepSession stores the session if it is to be stored, and sets or takes back the
// cookie. Handlers for which it must not fail call it before they answer.
func (c *call) keepSession() error {
	ctx := c.Request().Context()
	if !c.session {
		return nil
	}
	switch c.p.sessions.Status(ctx) {
	case scs.Modified:
		token, expires, err := c.p.sessions.Commit(ctx)
		if err != nil {
			return err
		}
		c.setCookie(token, expires)
	case scs.Destroyed:
		c.setCookie("", time.Unix(1, 0))
	}
	c.session = false
	return nil
}

// stillThere reports whether who asked is still signed in, with the same password and
// with a role in the workspace that the route takes: for answers that last.
func (c *call) stillThere(ctx context.Context) (bool, error) {
	cookie, err := c.Cookie(c.cookieName())
	if err != nil {
		return false, nil
	}
	found, err := c.p.Read.Session(ctx, gateway.HashToken(cookie.Value))
	if err != nil || !found.ExpiresAt.After(time.Now()) {
		if gateway.IsNotFound(err) {
			err = nil
		}
		return false, err
	}
	rows, err := c.p.Read.AgentsByEmail(ctx, c.Agent.Email)
	return err == nil && slices.ContainsFunc(rows, func(a gateway.Agent) bool {
		return a.WorkspaceID == c.Workspace.ID && a.PasswordHash == c.Agent.PasswordHash && a.Role.Includes(c.route.least)
	}), err
}

func (c *call) setCookie(token string, expires time.Time) {
	if _, err := c.Cookie(c.cookieName()); err != nil && token == "" {
		return // there is none to take back
	}
	cookie := &http.Cookie{
		Name: c.cookieName(), Value: token, Path: "/", Expires: expires,
		Secure: c.Scheme() == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

// sessionStore keeps sessions in the gateway's store, under the hash of their token.
type sessionStore struct {
	read   gateway.Reader
	agents *gateway.Agents
}

var _ scs.CtxStore = (*sessionStore)(nil)

// kept is the session of a request as the store has it.
type kept struct{ gateway.Session }

type keptKey struct{}

// FindCtx implements scs.CtxStore.
func (s *sessionStore) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	found, err := s.read.Session(ctx, gateway.HashToken(token))
	switch {
	case gateway.IsNotFound(err), err == nil && !found.ExpiresAt.After(time.Now()):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if k, ok := ctx.Value(keptKey{}).(*kept); ok {
		k.Session = found
	}
	return found.Data, true, nil
}

// CommitCtx implements scs.CtxStore.
func (s *sessionStore) CommitCtx(ctx context.Context, token string, data []byte, expires time.Time) error {
	hash := gateway.HashToken(token)
	k, ok := ctx.Value(keptKey{}).(*kept)
	if ok && k.Token == hash && bytes.Equal(k.Data, data) && expires.Sub(k.ExpiresAt) < sessionSlack {
		return nil
	}
	return s.agents.PutSession(ctx, gateway.Session{Token: hash, Data: data, ExpiresAt: expires.UTC().Truncate(time.Microsecond)})
}

// DeleteCtx implements scs.CtxStore.
func (s *sessionStore) DeleteCtx(ctx context.Context, token string) error {
	return s.agents.DropSession(ctx, gateway.HashToken(token))
}

// Find, Commit and Delete complete scs.Store. A manager never calls them on a store
// that takes contexts.
func (s *sessionStore) Find(string) ([]byte, bool, error) { return nil, false, errNoContext }

// Commit implements scs.Store; see Find.
func (s *sessionStore) Commit(string, []byte, time.Time) error { return errNoContext }

// Delete implements scs.Store; see Find.
func (s *sessionStore) Delete(string) error { return errNoContext }

var errNoContext = errors.New("sessions are kept within a context")

// sessionCodec writes a session as JSON, so that the same values are the same bytes.
type sessionCodec struct{}

type sessionData struct {
	Deadline time.Time         `json:"deadline"`
	Values   map[string]string `json:"values"`
}

// Encode implements scs.Codec.
func (sessionCodec) Encode(deadline time.Time, values map[string]any) ([]byte, error) {
	d := sessionData{Deadline: deadline, Values: make(map[string]string, len(values))}
	for k, v := range values {
		text, ok := v.(string)
		if !ok {
			return nil, errors.New("a session holds texts only, not " + k)
		}
		d.Values[k] = text
	}
	return json.Marshal(d)
}

// Decode implements scs.Codec.
func (sessionCodec) Decode(b []byte) (time.Time, map[string]any, error) {
	var d sessionData
	if err := json.Unmarshal(b, &d); err != nil {
		return time.Time{}, nil, err
	}
	values := make(map[string]any, len(d.Values))
	for k, v := range d.Values {
		values[k] = v
	}
	return d.Deadline, values, nil
}
