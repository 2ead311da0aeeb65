package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/labstack/echo/v4"
	"go.yaml.in/yaml/v3"
)

// endpoint describes what a method of a path does, for the OpenAPI document. The
// names of schemas and parameters are those of openapi.yaml.
type endpoint struct {
	method, path string // path below base, with the last slash
	base         string // restBase if it is ""
	tag          string
	summary      string
	note         string
	params       []string
	body         string // schema of the request's body, "" if it has none
	status       int    // of the answer when all is well
	answer       string // schema of its body, "" if it is empty
	notFound     bool   // answers 404 as well
	conflict     bool   // answers 409 as well
	stream       bool   // the answer is a file, CSV or NDJSON
	undone       string // schema of the answer's body with 422, if it is one of its own
}

// The tags, in the order of the documentation page.
const (
	tagContacts   = "Contacts"
	tagCompanies  = "Companies"
	tagEmployees  = "Employees"
	tagTags       = "Tags"
	tagAttributes = "Attributes"
	tagEvents     = "Events"
	tagLists      = "Lists"
	tagSegments   = "Segments"
	tagRecords    = "Products and deals"
	tagBulk       = "Bulk"
	tagWorkspace  = "Workspace"
)

var tags = []string{tagContacts, tagCompanies, tagEmployees, tagTags, tagAttributes, tagEvents, tagLists, tagSegments, tagRecords, tagBulk, tagWorkspace}

const filterNote = "Filters: field=value, and field__contains, __icontains, __startswith, __istartswith, __endswith, __iendswith, __gt, __gte, __lt and __lte, of standard and custom attributes, and of the fields that a contact or company shows besides. search=created_at|updated_at, of contacts also first_seen, last_seen and last_contacted, with min and max in Unix seconds: when that happened."

const adminNote = "Takes a token of the scope admin."

// endpoints are all methods of all paths. A test compares them with the routes.
func endpoints() []endpoint {
	var all []endpoint
	add := func(o endpoint) {
		switch {
		case o.status != 0:
		case o.method == http.MethodDelete && o.answer == "":
			o.status = http.StatusNoContent
		default:
			o.status = http.StatusOK
		}
		if o.base == "" {
			o.base = restBase
		}
		all = append(all, o)
	}
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	for _, kind := range []struct{ base, path, id, by string }{
		{"/users/", "/users/{id}/", "contact_id", "by id"},
		{"/users-by-id/", "/users-by-id/{custom_id}/", "contact_custom_id", "by custom id"},
	} {
		id := []string{kind.id}
		one := func(method, rest, tag, summary, body, answer string) {
			add(endpoint{method: method, path: kind.path + rest, tag: tag, summary: summary + ", " + kind.by, params: id, body: body, answer: answer, notFound: true})
		}
		one(get, "", tagContacts, "One contact", "", "Contact")
		one(put, "", tagContacts, "Change a contact", "ContactInput", "Contact")
		one(patch, "", tagContacts, "Change a contact", "ContactInput", "Contact")
		add(endpoint{method: del, path: kind.path, tag: tagContacts, summary: "Delete a contact and all that is theirs, " + kind.by, params: id, status: http.StatusNoContent, notFound: true})
		attributesAndTags(one, tagContacts, "ContactInput")
		for _, list := range [][3]string{
			{"events/", "Custom events of a contact", "EventPage"}, {"product_events/", "Product events of a contact", "EventPage"},
			{"ping_hits/", "Page views of a contact", "PageViewPage"}, {"timeline/", "Page views, events, product events and merges of a contact", "TimelinePage"},
		} {
			add(endpoint{method: get, path: kind.path + list[0], tag: tagEvents, summary: list[1] + ", newest first, " + kind.by, params: append(id, "limit", "cursor", "page"), answer: list[2], notFound: true})
		}
		add(endpoint{method: get, path: kind.path + "emails/", tag: tagEvents, summary: "E-mails to a contact: none is ever sent, " + kind.by, params: id, answer: "Page", notFound: true})
		add(endpoint{method: post, path: kind.path + "events/", tag: tagEvents, summary: "Record an event, " + kind.by, params: id, body: "EventInput", status: http.StatusCreated, answer: "EventAdded", notFound: true})
		one(post, "add_to_list/", tagLists, "Put a contact into a list", "ListRef", "List")
		one(post, "remove_from_list/", tagLists, "Take a contact out of a list", "ListRef", "")
		one(del, "remove_from_list/", tagLists, "Take a contact out of a list", "ListRef", "")
		add(endpoint{method: get, path: kind.path + "segments/", tag: tagSegments, summary: "Segments that a contact is in, newest first, " + kind.by, params: append(id, "limit", "page"), answer: "Page", notFound: true})
		one(post, "set_primary_company/", tagEmployees, "Make one of the contact's companies the primary one", "CompanyRef", "Contact")
		add(endpoint{method: post, path: kind.base + "merge/", tag: tagContacts, summary: "Make contacts part of another, " + kind.by, body: "Merge", answer: "Success", notFound: true})
		add(endpoint{method: post, path: kind.base + "update_or_create/", tag: tagContacts, summary: "Change the contact that has the custom id, or make it", body: "ContactInput", answer: "UpdatedOrCreated"})
		for _, method := range []string{put, post} {
			add(endpoint{method: method, path: kind.base + "mass_update_custom_attributes/", tag: tagContacts, summary: "Set one custom attribute of many contacts, " + kind.by, body: "MassUpdate", answer: "Done"})
			add(endpoint{method: method, path: kind.base + "mass_update_standard_attributes/", tag: tagContacts, summary: "Set one standard attribute of many contacts, " + kind.by, body: "MassUpdate", answer: "Done"})
		}
	}
	add(endpoint{method: get, path: "/users/", tag: tagContacts, summary: "List contacts, newest first", note: filterNote, params: []string{"limit", "cursor", "page", "list"}, answer: "Page", notFound: true})
	add(endpoint{method: post, path: "/users/", tag: tagContacts, summary: "Make a contact", body: "ContactInput", status: http.StatusCreated, answer: "Contact"})
	add(endpoint{method: get, path: "/users/search/", tag: tagContacts, summary: "Find contacts", note: "By email, key, phone_number, user_id or custom_id. " + filterNote,
		params: []string{"email", "many", "key", "phone_number", "user_id", "custom_id", "limit", "cursor"}, answer: "ContactFound", notFound: true})
	add(endpoint{method: get, path: "/users-by-id/search/", tag: tagContacts, summary: "Find a contact by custom id", params: []string{"user_id", "custom_id"}, answer: "ContactFound", notFound: true})

	for _, kind := range []struct{ path, id, by string }{
		{"/companies/{id}/", "company_id_path", "by id"},
		{"/companies-by-id/{custom_id}/", "company_custom_id", "by custom id"},
	} {
		id := []string{kind.id}
		one := func(method, rest, tag, summary, body, answer string) {
			add(endpoint{method: method, path: kind.path + rest, tag: tag, summary: summary + ", " + kind.by, params: id, body: body, answer: answer, notFound: true})
		}
		one(get, "", tagCompanies, "One company", "", "Company")
		one(put, "", tagCompanies, "Change a company", "CompanyInput", "Company")
		one(patch, "", tagCompanies, "Change a company", "CompanyInput", "Company")
		add(endpoint{method: del, path: kind.path, tag: tagCompanies, summary: "Delete a company; its employees stay contacts, " + kind.by, params: id, status: http.StatusNoContent, notFound: true})
		attributesAndTags(one, tagCompanies, "CompanyInput")
		one(post, "add_member/", tagEmployees, "Make a contact an employee", "MemberRef", "Company")
		one(post, "remove_member/", tagEmployees, "End a contact's being an employee", "MemberRef", "Company")
		one(del, "remove_member/", tagEmployees, "End a contact's being an employee", "MemberRef", "Company")
		add(endpoint{method: get, path: kind.path + "members/", tag: tagEmployees, summary: "All employees, the newest first, " + kind.by, params: append(id, "limit", "cursor", "former"), answer: "Page", notFound: true})
	}
	add(endpoint{method: get, path: "/companies/", tag: tagCompanies, summary: "List companies, newest first", note: filterNote, params: []string{"limit", "cursor", "page"}, answer: "Page", notFound: true})
	add(endpoint{method: post, path: "/companies/", tag: tagCompanies, summary: "Make a company", body: "CompanyInput", status: http.StatusCreated, answer: "Company"})
	add(endpoint{method: get, path: "/companies/search/", tag: tagCompanies, summary: "Find companies", note: "By company_id or custom_id. " + filterNote,
		params: []string{"company_id", "custom_id", "limit", "cursor"}, answer: "CompanyFound", notFound: true})
	add(endpoint{method: post, path: "/companies/update_or_create/", tag: tagCompanies, summary: "Change the company that has the custom id, or make it", body: "CompanyInput", answer: "UpdatedOrCreated"})

	for _, x := range [][3]string{{"/users/", tagContacts, "All contacts"}, {"/companies/", tagCompanies, "All companies"}, {"/memberships/", tagEmployees, "All current memberships"}} {
		add(endpoint{method: get, path: x[0] + "export/", tag: x[1], summary: x[2] + " as a file", params: []string{"format"}, stream: true,
			note: "A stream in constant memory: NDJSON with an object of the version in each line, or CSV with the items of lists joined by |. If it can't be finished it breaks off."})
	}
	tagID := []string{"tag_id"}
	add(endpoint{method: get, path: "/tags/", tag: tagTags, summary: "List tags, newest first", params: []string{"limit", "cursor", "page"}, answer: "Page", notFound: true})
	add(endpoint{method: post, path: "/tags/", tag: tagTags, summary: "Make a tag", note: "201 with a new tag, 200 with the one that has the name already. Names compare exactly.", body: "TagName", status: http.StatusCreated, answer: "Tag"})
	add(endpoint{method: get, path: "/tags/{id}/", tag: tagTags, summary: "One tag", params: tagID, answer: "Tag", notFound: true})
	add(endpoint{method: del, path: "/tags/{id}/", tag: tagTags, summary: "Delete a tag; all who have it lose it", params: tagID, status: http.StatusNoContent, notFound: true})
	add(endpoint{method: get, path: "/tags/{id}/users/", tag: tagTags, summary: "Contacts that have a tag, newest first", note: filterNote, params: append(tagID, "limit", "cursor", "page"), answer: "Page", notFound: true})
	add(endpoint{method: get, path: "/tags/{id}/companies/", tag: tagTags, summary: "Companies that have a tag, newest first", note: filterNote, params: append(tagID, "limit", "cursor", "page"), answer: "Page", notFound: true})
	add(endpoint{method: get, path: "/attributes/", tag: tagAttributes, summary: "Custom attributes", params: []string{"limit", "page"}, answer: "Page", notFound: true})
	add(endpoint{method: post, path: "/attributes/", tag: tagAttributes, summary: "Define a custom attribute", body: "AttributeInput", status: http.StatusCreated, answer: "Attribute"})
	add(endpoint{method: get, path: "/attributes/{id}/", tag: tagAttributes, summary: "One custom attribute", params: []string{"attribute_id"}, answer: "Attribute", notFound: true})
	add(endpoint{method: del, path: "/attributes/{id}/", tag: tagAttributes, summary: "Delete a custom attribute and all its values", params: []string{"attribute_id"}, notFound: true,
		note: "All writes to the workspace wait until the values are gone, for seconds if there are very many."})
	for _, kind := range []struct{ what, path, answer string }{{"product", "/products", "Product"}, {"deal", "/deals", "Record"}} {
		add(endpoint{method: get, path: kind.path + "/", tag: tagRecords, summary: "List " + kind.what + "s, newest first", params: []string{"limit", "cursor", "page"}, answer: "Page", notFound: true})
		add(endpoint{method: post, path: kind.path + "/", tag: tagRecords, summary: "Make a " + kind.what, body: "RecordInput", status: http.StatusCreated, answer: kind.answer})
		add(endpoint{method: post, path: kind.path + "/update_or_create/", tag: tagRecords, summary: "Change the " + kind.what + " that has the custom id, or make it", body: "RecordInput", answer: "UpdatedOrCreated"})
		for _, by := range []struct{ path, param, by string }{{kind.path + "/{id}/", kind.what + "_id", ", by id"}, {kind.path + "-by-id/{custom_id}/", kind.what + "_custom_id", ", by custom id"}} {
			id := []string{by.param}
			add(endpoint{method: get, path: by.path, tag: tagRecords, summary: "One " + kind.what + by.by, params: id, answer: kind.answer, notFound: true})
			add(endpoint{method: put, path: by.path, tag: tagRecords, summary: "Change a " + kind.what + by.by, params: id, body: "RecordInput", answer: kind.answer, notFound: true})
			add(endpoint{method: patch, path: by.path, tag: tagRecords, summary: "Change a " + kind.what + by.by, params: id, body: "RecordInput", answer: kind.answer, notFound: true})
			add(endpoint{method: del, path: by.path, tag: tagRecords, summary: "Delete a " + kind.what + by.by, params: id, notFound: true})
		}
	}
	add(endpoint{method: get, path: "/attribute-type/{name_std}/users/", tag: tagAttributes, summary: "Type of an attribute of contacts", params: []string{"name_std"}, answer: "AttributeType", notFound: true})
	add(endpoint{method: get, path: "/attribute-type/{name_std}/companies/", tag: tagAttributes, summary: "Type of an attribute of companies", params: []string{"name_std"}, answer: "AttributeType", notFound: true})
	add(endpoint{method: get, path: "/events/", tag: tagEvents, summary: "Events and product events of all contacts, the last one to be recorded first", params: []string{"limit", "cursor", "page"}, answer: "EventPage", notFound: true})
	add(endpoint{method: get, path: "/events/{id}/", tag: tagEvents, summary: "One event or product event", params: []string{"event_id"}, answer: "Event", notFound: true})
	add(endpoint{method: post, path: "/events/", tag: tagEvents, summary: "Record an event", body: "EventInput", status: http.StatusCreated, answer: "EventAdded", notFound: true})
	add(endpoint{method: post, path: "/products/{id}/product_event/", tag: tagEvents, summary: "Record what a contact did with a product, by id", params: []string{"product_id"}, body: "ProductEventInput", status: http.StatusCreated, answer: "ProductEventAdded", notFound: true})
	add(endpoint{method: post, path: "/products-by-id/{custom_id}/product_event/", tag: tagEvents, summary: "Record what a contact did with a product, by custom id", note: "A product that is not there is made.", params: []string{"product_custom_id"}, body: "ProductEventInput", status: http.StatusCreated, answer: "ProductEventAdded", notFound: true})
	add(endpoint{method: post, path: "/site-views/", tag: tagEvents, summary: "Record a page view", body: "SiteView", status: http.StatusCreated, answer: "Anything"})
	for _, x := range []struct{ path, id, tag, one, many, answer, note string }{
		{"/lists/", "list_id", tagLists, "list", "lists", "List", ""},
		{"/segments/", "segment_id", tagSegments, "segment", "segments", "Segment", "The filter is the query of the list of contacts."},
	} {
		id, one := []string{x.id}, x.path+"{id}/"
		add(endpoint{method: get, path: x.path, tag: x.tag, summary: "All " + x.many + ", newest first", params: []string{"limit", "page"}, answer: "Page", notFound: true})
		add(endpoint{method: post, path: x.path, tag: x.tag, summary: "Make a " + x.one, note: x.note, body: x.answer + "Input", status: http.StatusCreated, answer: x.answer})
		add(endpoint{method: get, path: one, tag: x.tag, summary: "One " + x.one, params: id, answer: x.answer, notFound: true})
		for _, method := range []string{put, patch} {
			add(endpoint{method: method, path: one, tag: x.tag, summary: "Change a " + x.one, note: x.note, params: id, body: x.answer + "Input", answer: x.answer, notFound: true})
		}
		add(endpoint{method: del, path: one, tag: x.tag, summary: "Delete a " + x.one + ", not the contacts in it", params: id, notFound: true})
		add(endpoint{method: get, path: one + "users/", tag: x.tag, summary: "Contacts of a " + x.one + ", newest first", note: filterNote, params: append(id, "limit", "cursor", "page"), answer: "Page", notFound: true})
	}
	add(endpoint{method: post, path: "/bulk/", tag: tagBulk, summary: "Carry out up to 1,000 writes", body: "Bulk", answer: "BulkDone", undone: "BulkDone",
		note: "Each operation is a request of this API, and its result the answer that it would get. Each is a transaction of its own, or with atomic all are one. With an Idempotency-Key a request that broke off goes on where it ended when it is sent again. A body may have 16 MiB."})
	workspace := func(o endpoint) {
		o.base, o.tag = settingsBase, tagWorkspace
		add(o)
	}
	workspace(endpoint{method: get, path: "/workspace/", summary: "The workspace and its settings", note: adminNote, answer: "Workspace"})
	workspace(endpoint{method: patch, path: "/workspace/", summary: "Change settings", note: adminNote + " Other nodes know of a change within a second. A body may have 16 MiB. Errors are by the path of a member, such as companies.auto_assign.exclude_domains.",
		body: "WorkspaceInput", answer: "Workspace"})
	workspace(endpoint{method: get, path: "/workspace/auto_assign/preview/", summary: "What a run of auto-assign would do", note: adminNote + " It reads all contacts, which takes some seconds for a million, by the settings as they are, on or off.",
		answer: "AssignPreview"})
	workspace(endpoint{method: post, path: "/workspace/auto_assign/runs/", summary: "Start a run of auto-assign over all contacts", note: adminNote + " There is one at a time, and none while auto-assign is off.",
		status: http.StatusCreated, answer: "AssignRun", conflict: true})
	workspace(endpoint{method: get, path: "/workspace/auto_assign/runs/{id}/", summary: "How far a run of auto-assign is", note: adminNote, params: []string{"run_id"}, answer: "AssignRun", notFound: true})
	return all
}

// attributesAndTags are the same for contacts and companies.
func attributesAndTags(one func(method, rest, tag, summary, body, answer string), tag, input string) {
	one(http.MethodPost, "set_attribute/", tag, "Set one attribute", "AttributeValue", "")
	one(http.MethodPost, "set_multiple_attributes/", tag, "Set several attributes", input, "")
	one(http.MethodPost, "remove_attribute/", tag, "Clear one attribute", "AttributeName", "")
	one(http.MethodPost, "remove_tag/", tag, "Take a tag away", "TagName", "")
	one(http.MethodDelete, "remove_attribute/", tag, "Clear one attribute", "AttributeName", "")
	one(http.MethodDelete, "remove_tag/", tag, "Take a tag away", "TagName", "")
	one(http.MethodPost, "add_tag/", tag, "Add a tag", "TagName", "TagAdded")
	one(http.MethodPost, "add_many_tags/", tag, "Add several tags", "TagNames", "")
}

// openAPIBase is the part of the document that is written by hand: everything but
// the paths.
//
//go:embed openapi.yaml
var openAPIBase []byte

// openAPIDocument is the whole document as YAML.
var openAPIDocument = sync.OnceValues(func() ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(openAPIBase, &doc); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	var paths yaml.Node
	if err := paths.Encode(openAPIPaths()); err != nil {
		return nil, fmt.Errorf("write the paths: %w", err)
	}
	root := doc.Content[0]
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "paths"}, &paths)
	return yaml.Marshal(&doc)
})

type object = map[string]any

func ref(kind, name string) object { return object{"$ref": "#/components/" + kind + "/" + name} }

// openAPIPaths is the part of the document that follows from endpoints.
func openAPIPaths() map[string]map[string]any {
	paths := make(map[string]map[string]any)
	for _, o := range endpoints() {
		answer := object{"description": http.StatusText(o.status)}
		if o.answer != "" {
			answer["content"] = object{"application/json": object{"schema": ref("schemas", o.answer)}}
		}
		if o.stream {
			text := object{"schema": object{"type": "string"}}
			answer["content"] = object{"application/x-ndjson": text, "text/csv": text}
		}
		answers := object{
			strconv.Itoa(o.status): answer,
			"400":                  ref("responses", "Invalid"),
			"401":                  ref("responses", "Unauthorized"),
			"406":                  ref("responses", "UnknownVersion"),
			"503":                  ref("responses", "Unavailable"),
		}
		if o.answer == "UpdatedOrCreated" {
			answers["201"] = answer
		}
		if o.answer == "Tag" {
			answers["200"] = answer // to a POST: the one that there is
		}
		if o.notFound {
			answers["404"] = ref("responses", "NotFound")
		}
		if o.base == settingsBase {
			answers["403"] = ref("responses", "Forbidden")
		}
		if o.conflict {
			answers["409"] = ref("responses", "Conflict")
		}
		if o.method != http.MethodGet {
			answers["403"] = ref("responses", "Forbidden")
			answers["413"] = ref("responses", "TooLarge")
			answers["422"] = ref("responses", "KeyReused")
			o.params = append(slices.Clip(o.params), "idempotency_key")
		}
		if o.undone != "" {
			answers["422"] = object{"description": "Nothing was done.", "content": object{"application/json": object{"schema": ref("schemas", o.undone)}}}
		}
		op := object{"tags": []string{o.tag}, "summary": o.summary, "responses": answers}
		if o.note != "" {
			op["description"] = o.note
		}
		if len(o.params) > 0 {
			var params []object
			for _, name := range o.params {
				params = append(params, ref("parameters", name))
			}
			op["parameters"] = params
		}
		if o.body != "" {
			schema := object{"schema": ref("schemas", o.body)}
			op["requestBody"] = object{"content": object{"application/json": schema, "application/x-www-form-urlencoded": schema}}
		}
		if paths[o.path] == nil {
			paths[o.path] = make(map[string]any)
			if o.base != restBase {
				paths[o.path]["servers"] = []object{{"url": o.base}}
			}
		}
		paths[o.path][strings.ToLower(o.method)] = op
	}
	return paths
}

// serveOpenAPI answers GET /api/openapi.yaml.
func (s *Server) serveOpenAPI(c echo.Context) error {
	doc, err := openAPIDocument()
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderXContentTypeOptions, "nosniff")
	return c.Blob(http.StatusOK, "application/yaml; charset=utf-8", doc)
}

//go:embed docs.html
var docsPage string

// docs is the page at /api/docs, made once.
var docs = sync.OnceValues(func() ([]byte, error) {
	var doc struct {
		Info struct {
			Title       string `yaml:"title"`
			Description string `yaml:"description"`
		} `yaml:"info"`
		Components struct {
			Parameters map[string]struct {
				Name        string `yaml:"name"`
				In          string `yaml:"in"`
				Description string `yaml:"description"`
			} `yaml:"parameters"`
			Schemas map[string]yaml.Node `yaml:"schemas"`
		} `yaml:"components"`
	}
	if err := yaml.Unmarshal(openAPIBase, &doc); err != nil {
		return nil, fmt.Errorf("read openapi.yaml: %w", err)
	}
	type docParam struct{ Name, In, Description string }
	type docOperation struct {
		Method, Path, Summary, Note, Body, Answer string
		Status                                    int
		Params                                    []docParam
	}
	type docSection struct {
		Tag        string
		Operations []docOperation
	}
	type docSchema struct{ Name, Text string }
	var page struct {
		Title, Description string
		Sections           []docSection
		Schemas            []docSchema
	}
	page.Title, page.Description = doc.Info.Title, doc.Info.Description
	for _, tag := range tags {
		section := docSection{Tag: tag}
		for _, o := range endpoints() {
			if o.tag != tag {
				continue
			}
			d := docOperation{Method: o.method, Path: o.base + o.path, Summary: o.summary, Note: o.note, Body: o.body, Answer: o.answer, Status: o.status}
			for _, name := range o.params {
				p := doc.Components.Parameters[name]
				d.Params = append(d.Params, docParam{p.Name, p.In, p.Description})
			}
			section.Operations = append(section.Operations, d)
		}
		slices.SortStableFunc(section.Operations, func(a, b docOperation) int { return strings.Compare(a.Path, b.Path) })
		page.Sections = append(page.Sections, section)
	}
	for name, node := range doc.Components.Schemas {
		text, err := yaml.Marshal(&node)
		if err != nil {
			return nil, fmt.Errorf("write schema %s: %w", name, err)
		}
		page.Schemas = append(page.Schemas, docSchema{name, string(text)})
	}
	slices.SortFunc(page.Schemas, func(a, b docSchema) int { return strings.Compare(a.Name, b.Name) })
	t, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return nil, fmt.Errorf("read docs.html: %w", err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return nil, fmt.Errorf("write the documentation: %w", err)
	}
	return b.Bytes(), nil
})

// serveDocs answers GET /api/docs: the same document for people, without scripts
// or other hosts.
func (s *Server) serveDocs(c echo.Context) error {
	page, err := docs()
	if err != nil {
		return err
	}
	h := c.Response().Header()
	h.Set(echo.HeaderContentSecurityPolicy, "default-src 'none'; style-src 'sha256-"+docsStyleHash()+"'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set(echo.HeaderXContentTypeOptions, "nosniff")
	h.Set(echo.HeaderReferrerPolicy, "no-referrer")
	return c.HTMLBlob(http.StatusOK, page)
}

// docsStyleHash is what the page's policy allows its style by.
var docsStyleHash = sync.OnceValue(func() string {
	_, style, _ := strings.Cut(docsPage, "<style>")
	style, _, _ = strings.Cut(style, "</style>")
	sum := sha256.Sum256([]byte(style))
	return base64.StdEncoding.EncodeToString(sum[:])
})
