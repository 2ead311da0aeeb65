package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"io/fs"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"civgate/gateway"
)

// call is one request to the panel. Agent, Workspace and Workspaces (all that the
// agent may switch to) are set for who is signed in.
type call struct {
	echo.Context
	p     *panel
	route route

	Agent      gateway.Agent
	Workspace  *gateway.Workspace
	Workspaces []gateway.Workspace

	session bool // there is one, to be kept before the answer begins
}

// author is by whom the edits of the request are.
func (c *call) author() gateway.Author {
	return gateway.Author{Source: gateway.SourceManual, By: c.Agent.Email}
}

// can reports whether who asks has at least the role.
func (c *call) can(r gateway.Role) bool { return c.Agent.Role.Includes(r) }

// isHTMX reports whether a script asks for a fragment.
func (c *call) isHTMX() bool { return c.Request().Header.Get("HX-Request") == "true" }

// id is the number in a parameter of the path; there is nothing at any other text.
func (c *call) id(name string) (int64, error) {
	id, err := strconv.ParseInt(c.Param(name), 10, 64)
	if err != nil || id <= 0 {
		return 0, gateway.Errorf(gateway.CodeNotFound, "There is no page at this address.")
	}
	return id, nil
}

// frame is what every template gets.
type frame struct {
	Title string
	// Path is that of the request, to know where in the rail and the settings it is.
	Path       string
	Agent      gateway.Agent
	Workspace  *gateway.Workspace
	Workspaces []gateway.Workspace
	Toast      *toast
	Form       *form
	Page       any // the page's own
	call       *call
}

// Can reports whether who asks has at least the role of the name.
func (f *frame) Can(role string) bool { return f.call.can(gateway.Role(role)) }

// Rail are the places of the rail that are there for who asks.
func (f *frame) Rail() []place { return f.call.p.places(f, navigation) }

// Changed reports whether the address says that a form was carried out.
func (f *frame) Changed() bool { return f.call.QueryParams().Has("changed") }

// Settings are the pages of the settings that are there for who asks.
func (f *frame) Settings() []place { return f.call.p.places(f, settingsPages) }

func (c *call) frame(title string, data any) *frame {
	f := &frame{Title: title, Path: c.Request().URL.Path, Agent: c.Agent, Workspace: c.Workspace, Workspaces: c.Workspaces, Page: data, call: c}
	if has, ok := data.(interface{ formOf() *form }); ok {
		f.Form = has.formOf()
	}
	if f.Form == nil {
		f.Form = &form{}
	}
	return f
}

// render answers with a whole page: templates/panel/<name>.html within the frame.
func (c *call) render(status int, name, title string, data any) error {
	if c.Agent.Email == "" {
		return c.renderBare(status, name, title, data)
	}
	f := c.frame(title, data)
	f.Toast = c.takeToast()
	return c.execute(status, name, "layout", f)
}

// renderBare is render without the frame: for pages that ask for no sign-in.
func (c *call) renderBare(status int, name, title string, data any) error {
	f := c.frame(title, data)
	f.Workspace = nil
	return c.execute(status, name, "bare", f)
}

// fragment answers with one template of a page, for htmx to put into the page.
func (c *call) fragment(status int, name, part string, data any) error {
	return c.execute(status, name, part, c.frame("", data))
}

func (c *call) execute(status int, name, part string, f *frame) error {
	t, ok := panelTemplates[name]
	if !ok {
		return errors.New("there is no template " + name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, f); err != nil {
		return err
	}
	return c.HTMLBlob(status, b.Bytes())
}

// redirect sends the browser to another page of the panel, after a write.
func (c *call) redirect(to string) error {
	if c.isHTMX() {
		c.Response().Header().Set("HX-Redirect", to)
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, to)
}

// toast is a short message about what was done.
type toast struct {
	Kind string `json:"kind"` // success, or danger
	Text string `json:"text"`
}

// toast shows a message: with the fragment that is being answered where there is one,
// else on the next page.
func (c *call) toast(text string) {
	b, err := json.Marshal(toast{"success", text})
	if err != nil {
		return // texts can be written
	}
	if c.isHTMX() && c.Response().Header().Get("HX-Redirect") == "" {
		if b, err = json.Marshal(map[string]json.RawMessage{"toast": b}); err == nil {
			c.Response().Header().Set("HX-Trigger", asciiJSON(b))
		}
		return
	}
	c.p.sessions.Put(c.Request().Context(), sessionToast, string(b))
}

// asciiJSON writes what is not ASCII as escapes, for a header.
func asciiJSON(b []byte) string {
	var out strings.Builder
	for _, r := range string(b) {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r >= 0x10000:
			r -= 0x10000
			out.WriteString(`\u` + strconv.FormatInt(int64(0xd800+r>>10), 16) + `\u` + strconv.FormatInt(int64(0xdc00+r&0x3ff), 16))
		default:
			hex := strconv.FormatInt(int64(r), 16)
			out.WriteString(`\u` + "0000"[len(hex):] + hex)
		}
	}
	return out.String()
}

// takeToast is the message that the last request left for this page.
func (c *call) takeToast() *toast {
	if !c.session {
		return nil
	}
	text := c.p.sessions.PopString(c.Request().Context(), sessionToast)
	if text == "" {
		return nil
	}
	var t toast
	if json.Unmarshal([]byte(text), &t) != nil {
		return nil
	}
	return &t
}

// form is what somebody filled in, and what is wrong with it.
type form struct {
	Values url.Values
	// Errors by the name of the field; Problem is about no field in particular.
	Errors  map[string]string
	Problem string
}

// formOf lets a page's data embed *form.
func (f *form) formOf() *form { return f }

// form reads what was posted. A body that can't be read is a CodeInvalid.
func (c *call) form() (*form, error) {
	if err := c.Request().ParseForm(); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &gateway.Error{Code: gateway.CodeTooLarge, Message: "That is more than a page may send.", Err: err}
		}
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Message: "The form could not be read. Reload the page and try again.", Err: err}
	}
	return &form{Values: c.Request().PostForm}, nil
}

// Get returns the first value of a field, without spaces at its ends.
func (f *form) Get(name string) string { return strings.TrimSpace(f.Values.Get(name)) }

// Error is what is wrong with a field, "" if nothing is.
func (f *form) Error(name string) string { return f.Errors[name] }

// fail notes what is wrong with a field; "" is the form itself.
func (f *form) fail(field, message string) {
	if field == "" {
		f.Problem = message
		return
	}
	if f.Errors == nil {
		f.Errors = make(map[string]string)
	}
	f.Errors[field] = message
}

// take notes what err says about the input, so that the form can be shown again. It
// returns err when that is about something else. Of the fields only those named are
// the form's.
func (f *form) take(err error, fields ...string) error {
	var e *gateway.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code {
	case gateway.CodeInvalid, gateway.CodeConflict, gateway.CodeRateLimited:
	default:
		return err
	}
	for _, e := range append([]*gateway.Error{e}, e.Also...) {
		field := ""
		for _, name := range fields {
			if name == e.Field {
				field = name
			}
		}
		f.fail(field, e.Message)
	}
	return nil
}

// Failed reports whether anything is wrong.
func (f *form) Failed() bool { return f.Problem != "" || len(f.Errors) > 0 }

// panelStatuses are the statuses of errors, by code; others are our fault.
var panelStatuses = map[gateway.Code]int{
	gateway.CodeInvalid:      http.StatusUnprocessableEntity,
	gateway.CodeTooLarge:     http.StatusRequestEntityTooLarge,
	gateway.CodeUnauthorized: http.StatusUnauthorized,
	gateway.CodeForbidden:    http.StatusForbidden,
	gateway.CodeNotFound:     http.StatusNotFound,
	gateway.CodeConflict:     http.StatusConflict,
	gateway.CodeRateLimited:  http.StatusTooManyRequests,
	gateway.CodeUnavailable:  http.StatusServiceUnavailable,
}

// problemPage tells of an error.
type problemPage struct {
	Status  int
	Heading string
	Text    string
}

// fail answers with an error: a page within the frame, or its text alone for a
// script. What is our fault is logged.
func (c *call) fail(err error) error {
	if c.Response().Committed {
		return err
	}
	var e *gateway.Error
	if !errors.As(err, &e) {
		e = &gateway.Error{Code: gateway.CodeInternal, Err: err}
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			e = &gateway.Error{Code: gateway.CodeUnavailable, Message: "This took too long.", Err: err}
		}
	}
	status, known := panelStatuses[e.Code]
	if !known {
		status = http.StatusInternalServerError
	}
	v := problemPage{Status: status, Text: e.Message}
	switch status {
	case http.StatusNotFound:
		v.Heading = "Nothing here"
		if v.Text == "" || strings.HasPrefix(v.Text, "there is no such") {
			v.Text = "It may have been deleted, or merged into something else."
		}
	case http.StatusForbidden:
		v.Heading = "Not with your role"
		if c.Agent.Email == "" || errors.Is(err, http.ErrNotSupported) {
			v.Heading = "Not allowed"
		}
	case http.StatusServiceUnavailable:
		v.Heading = "Not available right now"
		v.Text = "The database doesn't answer. Nothing is lost: try again in a moment."
	case http.StatusInternalServerError:
		v.Heading = "Something went wrong"
		v.Text = "It has been logged. Try again; if it stays, the log names the reason."
	default:
		v.Heading = "That didn't work"
	}
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
		after := max(1, int(math.Ceil(e.RetryAfter.Seconds())))
		c.Response().Header().Set("Retry-After", strconv.Itoa(after))
	}
	if status >= http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		level := zap.ErrorLevel
		if e.Code == gateway.CodeUnavailable {
			level = zap.WarnLevel
		}
		// The route, never the path: paths hold ids and what was searched for.
		c.p.Log.Log(level, "panel request failed", zap.String("method", c.Request().Method), zap.String("route", c.route.path), zap.Error(err))
	}
	if c.isHTMX() {
		return c.String(status, v.Text)
	}
	return c.render(status, "problem", v.Heading, v)
}

var panelAssets = loadAssets("panel.css", "panel.js", "htmx.min.js", "demo.svg")

// panelTemplates are the pages by name, each with the frame and the pieces.
var panelTemplates = func() map[string]*template.Template {
	shared := template.Must(template.New("panel").Funcs(pieces).ParseFS(files, "templates/panel/layout.html", "templates/panel/pieces.html", "templates/panel/icons.html"))
	names, err := fs.Glob(files, "templates/panel/*.html")
	if err != nil {
		panic("web: " + err.Error())
	}
	all := make(map[string]*template.Template)
	for _, file := range names {
		switch name := strings.TrimSuffix(path.Base(file), ".html"); name {
		case "layout", "pieces", "icons":
		default:
			all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, file))
		}
	}
	return all
}()
