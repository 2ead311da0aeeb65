package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// contract checks exchanges against the OpenAPI document.
type contract struct {
	doc     any
	compile func(pointer string) (*jsonschema.Schema, error)
}

var theContract = sync.OnceValues(func() (*contract, error) {
	text, err := openAPIDocument()
	if err != nil {
		return nil, err
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	asJSON, err := json.Marshal(tree)
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("openapi.json", doc); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return &contract{doc: doc, compile: func(pointer string) (*jsonschema.Schema, error) {
		mu.Lock()
		defer mu.Unlock()
		return c.Compile("openapi.json#" + pointer)
	}}, nil
})

// at follows a path of member names through the document, and references.
func (c *contract) at(node any, names ...string) any {
	for _, name := range names {
		m, ok := node.(map[string]any)
		if !ok {
			return nil
		}
		node = m[name]
		if m, ok := node.(map[string]any); ok {
			if to, ok := m["$ref"].(string); ok {
				node = c.at(c.doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...)
			}
		}
	}
	return node
}

func pointer(names ...string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(name)))
	}
	return b.String()
}

// schemaOf is the schema at $ref of a content, "" if there is none.
func (c *contract) schemaOf(node any) string {
	m, _ := node.(map[string]any)
	s, _ := m["schema"].(map[string]any)
	to, _ := s["$ref"].(string)
	return strings.TrimPrefix(to, "#")
}

// CheckExchange is checkContract for what was just said to a server.
func CheckExchange(t testing.TB, e *echo.Echo, req *http.Request, body string, rec *httptest.ResponseRecorder) {
	if _, fuzzing := t.(*testing.F); fuzzing {
		return // it refuses to be called by its target
	}
	t.Helper()
	c := e.NewContext(req, nil)
	e.Router().Find(req.Method, echo.GetPath(req), c)
	route := withoutBase(c.Path())
	if strings.Contains(route, "*") || route == "" {
		return // no path of the API
	}
	checkContract(t, req.Method, route, []byte(body), rec.Code, rec.Body.Bytes())
}

// checkContract fails the test if an exchange is not as the document says. route is
// its pattern, such as "/users/:id".
func checkContract(t testing.TB, method, route string, request []byte, status int, answer []byte) {
	t.Helper()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	path, method := documented(route), strings.ToLower(method)
	if method == "head" || method == "options" || status == http.StatusMethodNotAllowed || status == http.StatusUnauthorized && c.at(c.doc, "paths", path, method) == nil {
		return // 401 comes before 405
	}
	op := c.at(c.doc, "paths", path, method)
	if op == nil {
		t.Errorf("%s %s is not in the OpenAPI document", method, path)
		return
	}
	code := fmt.Sprint(status)
	response, _ := c.at(op, "responses", code).(map[string]any)
	if response == nil {
		t.Errorf("%s %s answers %s, which is not in the OpenAPI document", method, path, code)
		return
	}
	content, has := response["content"]
	switch {
	case !has && len(answer) > 0:
		t.Errorf("%s %s answers %s with a body, and the OpenAPI document knows none", method, path, code)
	case has && c.at(content, "text/csv") != nil: // a file
	case has && len(answer) == 0:
		t.Errorf("%s %s answers %s without a body", method, path, code)
	case has:
		at := c.schemaOf(c.at(content, "application/json"))
		if at == "" { // of a response that is written out
			for _, name := range []string{"Invalid", "Unauthorized", "Forbidden", "NotFound", "UnknownVersion", "TooLarge", "KeyReused", "Conflict", "Unavailable"} {
				if fmt.Sprint(c.at(c.doc, "components", "responses", name)) == fmt.Sprint(any(response)) {
					at = pointer("components", "responses", name, "content", "application/json", "schema")
				}
			}
		}
		c.validate(t, fmt.Sprintf("the answer of %s %s (%s)", method, path, code), at, answer)
	}
	if body := c.at(op, "requestBody", "content", "application/json"); body != nil && status < 300 && json.Valid(request) && len(request) > 0 {
		c.validate(t, fmt.Sprintf("the request of %s %s", method, path), c.schemaOf(body), request)
	}
}

func (c *contract) validate(t testing.TB, what, at string, text []byte) {
	t.Helper()
	schema, err := c.compile(at)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, text)
		return
	}
	if err := schema.Validate(value); err != nil {
		t.Errorf("%s is not as the OpenAPI document says: %v\n%s", what, err, text)
	}
}

// withoutBase is a route without what is the same of all.
func withoutBase(route string) string {
	if rest, found := strings.CutPrefix(route, restBase); found {
		return rest
	}
	if strings.HasPrefix(route, settingsBase+"/workspace") {
		return strings.TrimPrefix(route, settingsBase)
	}
	return route
}

// documented is a route in the words of the document.
func documented(route string) string {
	route = withoutBase(route)
	switch {
	case strings.Contains(route, "-by-id/:id"):
		route = strings.Replace(route, ":id", "{custom_id}", 1)
	case strings.HasPrefix(route, "/attribute-type/"):
		route = strings.Replace(route, ":id", "{name_std}", 1)
	}
	return strings.TrimRight(strings.Replace(route, ":id", "{id}", 1), "/") + "/"
}

// Every route is in the document and everything in the document is a route.
func TestOpenAPIHasEveryRoute(t *testing.T) {
	t.Parallel()
	routes := make(map[string]bool)
	for _, r := range append(new(Server).resources(), new(Server).settingsResources()...) {
		for _, method := range r.methods.names() {
			routes[method+" "+documented(r.path)] = true
		}
	}
	for _, o := range endpoints() {
		name := o.method + " " + o.path
		if !routes[name] {
			t.Errorf("%s is documented and no route", name)
		}
		delete(routes, name)
	}
	for name := range routes {
		t.Errorf("%s is a route and not documented", name)
	}
}

// Every reference leads somewhere, every schema can be compiled, and nothing is
// there that nobody uses.
func TestOpenAPIIsWhole(t *testing.T) {
	t.Parallel()
	c, err := theContract()
	if err != nil {
		t.Fatal(err)
	}
	text, err := openAPIDocument()
	if err != nil {
		t.Fatal(err)
	}
	components, _ := c.at(c.doc, "components").(map[string]any)
	for _, kind := range []string{"parameters", "schemas", "responses"} {
		all, _ := components[kind].(map[string]any)
		for name := range all {
			if uses := bytes.Count(text, []byte("#/components/"+kind+"/"+name)); uses == 0 {
				t.Errorf("nobody uses %s %s", kind, name)
			}
			if kind == "schemas" {
				if _, err := c.compile(pointer("components", kind, name)); err != nil {
					t.Error(err)
				}
			}
		}
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if to, ok := v["$ref"].(string); ok && c.at(c.doc, strings.Split(strings.TrimPrefix(to, "#/"), "/")...) == nil {
				t.Errorf("%s leads nowhere", to)
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(c.doc)
}

func TestOpenAPIIsServed(t *testing.T) {
	t.Parallel()
	e := echo.New()
	new(Server).Mount(e)
	get := func(path string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		e.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != http.StatusOK {
			t.Fatalf("%s: %d", path, rec.Code)
		}
		return rec
	}
	if got := get("/api/openapi.yaml"); !strings.HasPrefix(got.Header().Get("Content-Type"), "application/yaml") || !strings.HasPrefix(got.Body.String(), "# The public REST API") {
		t.Errorf("openapi.yaml: %s, %.80s", got.Header().Get("Content-Type"), got.Body)
	}
	page := get("/api/docs")
	if csp := page.Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("the page's policy is %q", csp)
	}
	for _, o := range endpoints() {
		if !strings.Contains(page.Body.String(), "<code>"+o.base+o.path+"</code>") {
			t.Errorf("the page lacks %s", o.path)
		}
	}
	if slices.ContainsFunc([]string{"http://", "https://", "<script", "src="}, func(s string) bool { return strings.Contains(page.Body.String(), s) }) {
		t.Error("the page asks for something from elsewhere")
	}
}
