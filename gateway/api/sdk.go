package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"civgate/gateway"
)

// This file owns the door of the vendor's mobile SDKs (contract, section 6): what they
// send becomes a payload as the widget would have sent it, and goes the widget's way.
//
// Decisions
//
//   - The mobile key is the workspace's public apiKey: an app's key is as public as
//     that of a page. A REST token is refused, since it would be read out of the app.
//   - Being payloads, they are durable when they are answered, bounded, limited and
//     applied as those of the widget, and what can't be read of them is left out.
//     Where the workspace wants proof of identity, user_hash belongs to customer.
//   - A key that can't be a visitor key counts as none: the answer to a ping has the
//     one that was made instead, which the SDK then keeps.
//   - Errors are told as the REST API tells them, to which these clients are used.

// sdkBase is the path below which the SDKs post.
const sdkBase = "/api/sdk/v1"

// sdkCall reads a request and returns the payload that it stands for.
type sdkCall func(c echo.Context, f fields, key string) (*sdkPayload, error)

// MountSDK registers the paths of the mobile SDKs. Of i it uses all but the path.
func (s *Server) MountSDK(e *echo.Echo, i Ingest) {
	for path, call := range map[string]sdkCall{
		"/ping":              sdkPing,
		"/event":             sdkEvent,
		"/screen_event":      sdkScreen,
		"/:type/:id/:action": sdkNotification,
	} {
		h := func(c echo.Context) error { return s.sdk(c, i, call) }
		for _, end := range []string{"", "/"} {
			e.Any(sdkBase+path+end, h)
			e.RouteNotFound(sdkBase+path+end, h) // methods that echo doesn't know
		}
	}
	e.Any(sdkBase, s.restNotFound)
	e.Any(sdkBase+"/*", s.restNotFound)
}

// sdk takes one call.
func (s *Server) sdk(c echo.Context, i Ingest, call sdkCall) error {
	restHeaders(c)
	c.Response().Header().Set(echo.HeaderAllow, "POST, OPTIONS")
	req := c.Request()
	switch req.Method {
	case http.MethodPost:
	case http.MethodOptions:
		return c.NoContent(http.StatusNoContent)
	default:
		return writeJSON(c, http.StatusMethodNotAllowed, detail{`Method "` + req.Method + `" not allowed.`})
	}
	apiKey := ""
	refuse := func(err error) error { return s.restError(c, 0, i.refused(req, apiKey, nil, err)) }
	ip, _ := netip.ParseAddr(c.RealIP()) // an unknown address is nobody's
	if i.Limiter != nil && ip.IsValid() {
		if ok, after := i.Limiter.Allow(req.Context(), "ip:"+limitedAddr(ip), 1); !ok {
			return refuse(&gateway.Error{Code: gateway.CodeRateLimited, Message: "Request was throttled.", RetryAfter: after})
		}
	}
	apiKey, err := authorization(req)
	if err != nil {
		return refuse(err)
	}
	body, err := readBody(c.Response(), req)
	if err != nil {
		return refuse(err)
	}
	f, err := gateway.ParseFields(body)
	if err != nil {
		return refuse(err)
	}
	p, err := call(c, f, sdkKey(req.Header.Get("X-User-Key")))
	if err != nil {
		return refuse(err)
	}
	if body, err = p.text(apiKey); err != nil {
		return refuse(err)
	}
	results, _, err := i.Gateway.Accept(req.Context(), gateway.Request{Body: body, Origin: req.Header.Get(echo.HeaderOrigin), IP: ip})
	if err == nil && results[0].Err != nil {
		err = results[0].Err
	}
	switch {
	case gateway.CodeOf(err) == gateway.CodeUnknownAPIKey:
		return s.restError(c, 0, gateway.Errorf(gateway.CodeUnauthorized, "Invalid token."))
	case err != nil:
		return s.restError(c, 0, err)
	}
	return writeJSON(c, http.StatusOK, p.answer)
}

// sdkKey is s if that can be a visitor key, else "".
func sdkKey(s string) string {
	if s = strings.TrimSpace(s); gateway.IsVisitorKey(s) {
		return s
	}
	return ""
}

// sdkPayload is a payload while it is put together.
type sdkPayload struct {
	members  fields // of the contact
	envelope struct {
		Key   string          `json:"key"`
		Type  string          `json:"type"`
		At    string          `json:"at,omitempty"`
		Title string          `json:"title,omitempty"`
		Name  string          `json:"name,omitempty"`
		Data  json.RawMessage `json:"data,omitempty"`
	}
	answer any
}

// newSDKPayload is a payload of a type, from whoever has the key, or from somebody new.
func newSDKPayload(typ, key string) *sdkPayload {
	p := &sdkPayload{answer: struct{}{}}
	if key == "" {
		key = gateway.NewVisitorKey()
	}
	p.envelope.Type, p.envelope.Key = typ, key
	return p
}

// at sets when it happened, as the field timestamp tells.
func (p *sdkPayload) at(f fields) error {
	at, err := f.instant("timestamp")
	if err == nil && !at.IsZero() {
		p.envelope.At = at.Format(time.RFC3339Nano)
	}
	return err
}

// text is the payload as the widget would write it.
func (p *sdkPayload) text(apiKey string) ([]byte, error) {
	b := []byte{'{'}
	add := func(name string, value any) error {
		if len(b) > 1 {
			b = append(b, ',')
		}
		for i, v := range []any{name, value} {
			text, err := encodeJSON(v)
			if err != nil {
				return err
			}
			if i == 1 {
				b = append(b, ':')
			}
			b = append(b, text...)
		}
		return nil
	}
	for _, m := range p.members {
		if m.Name == "$" || m.Name == "apiKey" {
			continue // what only the payload itself says
		}
		if err := add(m.Name, raw(bytes.TrimSpace(m.Value))); err != nil {
			return nil, err
		}
	}
	if err := add("apiKey", apiKey); err != nil {
		return nil, err
	}
	if err := add("$", p.envelope); err != nil {
		return nil, err
	}
	return append(b, '}'), nil
}

// sdkPing reads POST /ping/: who the user of the app is, and on what device.
func sdkPing(_ echo.Context, f fields, key string) (*sdkPayload, error) {
	customer, err := f.members("customer")
	if err != nil {
		return nil, err
	}
	if key == "" {
		if s, ok := scalarText(customer.find("userKey")); ok {
			key = sdkKey(s)
		}
	}
	p := newSDKPayload("update", key)
	for _, m := range customer {
		// device is a number there, and no more than that there is one.
		if m.Name != "userKey" && m.Name != "device" {
			p.members = append(p.members, m)
		}
	}
	device, err := f.members("device")
	if err != nil {
		return nil, err
	}
	if len(device) > 0 {
		p.members = append(p.members, gateway.Field{Name: "device", Value: f.find("device")})
	}
	type user struct {
		Key string `json:"key"`
	}
	p.answer = struct {
		User user `json:"user"`
	}{user{p.envelope.Key}}
	return p, nil
}

// members returns the members of the field, which is an object; of one that is missing
// none.
func (f fields) members(name string) (fields, error) {
	value := f.find(name)
	if value == nil {
		return nil, nil
	}
	members, err := gateway.ParseFields(value)
	if err != nil {
		return nil, invalid(name, messageOf(err))
	}
	return members, nil
}

// sdkEvent reads POST /event/: a custom event.
func sdkEvent(_ echo.Context, f fields, key string) (*sdkPayload, error) {
	name, err := f.text("name", gateway.MaxName)
	if err != nil {
		return nil, err
	}
	data, err := f.object("data")
	if err != nil {
		return nil, err
	}
	p := newSDKPayload("event", key)
	p.envelope.Name, p.envelope.Data = name, raw(data)
	return p, p.at(f)
}

// sdkScreen reads POST /screen_event/: a screen of the app, which is a page by its
// title.
func sdkScreen(_ echo.Context, f fields, key string) (*sdkPayload, error) {
	field := "name"
	for _, other := range []string{"title", "screen_name"} {
		if !f.has(field) && f.has(other) {
			field = other
		}
	}
	title, err := f.text(field, gateway.MaxTitle)
	if err != nil {
		return nil, err
	}
	p := newSDKPayload("page", key)
	p.envelope.Title = title
	return p, p.at(f)
}

// sdkNotification reads POST /:type/:id/:action/: what was done to a notification, a
// custom event of its type and action.
func sdkNotification(c echo.Context, f fields, key string) (*sdkPayload, error) {
	r := &request{Context: c}
	kind, id, action := r.pathPart("type"), r.pathID(), r.pathPart("action")
	name := "notification." + kind + "." + action
	if kind == "" || id == "" || action == "" || len(name) > gateway.MaxName || len(id) > gateway.MaxID {
		return nil, errNotFound
	}
	data, err := encodeJSON(struct {
		ID string `json:"id"`
	}{id})
	if err != nil {
		return nil, err
	}
	p := newSDKPayload("event", key)
	p.envelope.Name, p.envelope.Data = name, data
	return p, p.at(f)
}
