package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"civgate/gateway"
)

// This file owns what the REST API says of attributes themselves: their names and
// types. Their values are those of contacts and companies.
//
// Decisions
//
//   - Lists hold the custom attributes; the standard ones have no id. /attribute-type/
//     knows both.
//   - integer is read as float, and answered as such, because numbers are of one type
//     here. A fixed attribute is a list of what was chosen, one or several; its choices
//     are checked when it is defined and not kept, so values outside of them are stored.
//   - Definitions can't be deleted yet: their values lie in every contact.

// attributeDef is a custom attribute (contract, section 6).
type attributeDef struct {
	ID          gateway.AttributeID `json:"id"`
	Name        string              `json:"name"`
	NameStd     string              `json:"name_std"`
	ValueType   string              `json:"value_type"`
	ContentType string              `json:"content_type"`
}

func attributeShape(v version, d *gateway.AttributeDef) attributeDef {
	content := "company"
	switch {
	case d.Entity == gateway.EntityContact && v == v1:
		content = "user"
	case d.Entity == gateway.EntityContact:
		content = "clientuser"
	}
	return attributeDef{d.ID, d.Label, d.Name, valueType(d.Type), content}
}

// contentTypes are the entities by their names in either version. The vendor has
// others, which have no attributes here.
var contentTypes = map[string]gateway.Entity{
	"user": gateway.EntityContact, "clientuser": gateway.EntityContact, "company": gateway.EntityCompany,
}

// valueTypes are the types by the vendor's names.
var valueTypes = map[string]gateway.Type{
	"boolean": gateway.TypeBool, "date": gateway.TypeDate, "datetime": gateway.TypeDatetime, "fixed": gateway.TypeList,
	"float": gateway.TypeNumber, "integer": gateway.TypeNumber, "json": gateway.TypeJSON, "string": gateway.TypeText,
}

// attributes answers GET /attributes/, newest first, of one kind with ?content_type=.
func (s *Server) attributes(r *request) error {
	defs, err := s.reader.AttributeDefs(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return err
	}
	if name := r.QueryParam("content_type"); name != "" {
		entity, ok := contentTypes[name]
		if !ok {
			return invalid("content_type", noChoice(name))
		}
		defs = slices.DeleteFunc(defs, func(d gateway.AttributeDef) bool { return d.Entity != entity })
	}
	slices.SortFunc(defs, func(a, b gateway.AttributeDef) int { return cmp.Compare(b.ID, a.ID) })
	shapes := make([]any, len(defs))
	for i := range defs {
		shapes[i] = attributeShape(r.version, &defs[i])
	}
	return s.writeHistory(r, shapes)
}

// attribute answers GET /attributes/:id/.
func (s *Server) attribute(r *request) error {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return err
	}
	defs, err := s.reader.AttributeDefs(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(defs, func(d gateway.AttributeDef) bool { return int64(d.ID) == id })
	if i < 0 {
		return errNotFound
	}
	return writeJSON(r, http.StatusOK, attributeShape(r.version, &defs[i]))
}

// The bounds of a definition, in characters: the name's is the vendor's.
const (
	maxAttributeName        = 32
	maxAttributeDescription = 1000
	maxChoices              = 500
)

// createAttribute answers POST /attributes/. All that is wrong is told at once.
func createAttribute(r *request) (operation, error) {
	f, err := r.fields()
	if err != nil {
		return nil, err
	}
	var problems []*gateway.Error
	fail := func(field, message string) {
		problems = append(problems, &gateway.Error{Code: gateway.CodeInvalid, Field: field, Message: message})
	}
	text := func(name string, most int) string {
		text, err := f.text(name, 4*most)
		switch {
		case err != nil:
			fail(name, messageOf(err))
		case utf8.RuneCountInString(text) > most:
			fail(name, fmt.Sprintf("Ensure this field has no more than %d characters.", most))
		}
		return text
	}
	content := text("content_type", maxAttributeName)
	entity, ok := contentTypes[content]
	if !ok && content != "" {
		fail("content_type", noChoice(content))
	}
	label := text("name", maxAttributeName)
	typeName := text("value_type", maxAttributeName)
	typ, ok := valueTypes[typeName]
	switch {
	case !ok && typeName != "":
		fail("value_type", noChoice(typeName))
	case typeName == "fixed":
		if err := f.checkChoices(); err != nil {
			fail("choices", messageOf(err))
		}
	}
	description := ""
	if f.has("description") {
		description = text("description", maxAttributeDescription)
	}
	if len(problems) > 0 {
		problems[0].Also = problems[1:]
		return nil, problems[0]
	}
	return func(e *gateway.Editor) (answer, error) {
		def, err := e.DefineAttribute(entity, label, typ, description)
		return answer{status: http.StatusCreated, body: attributeShape(r.version, &def)}, err
	}, nil
}

// checkChoices reads the choices of a fixed attribute: texts or numbers, in a list or
// with commas between.
func (f fields) checkChoices() error {
	items, err := f.list("choices", maxChoices)
	if err != nil {
		return err
	}
	if len(items) == 0 {
		return invalid("choices", "This list may not be empty.")
	}
	for _, item := range items {
		if s, ok := scalarText(item); !ok || s == "" {
			return invalid("choices", textNoString)
		}
	}
	return nil
}

// messageOf is what an error says to the caller.
func messageOf(err error) string {
	if e, ok := err.(*gateway.Error); ok {
		return e.Message
	}
	return err.Error()
}

// noChoice is Django REST framework's text for a value that is none of those allowed.
func noChoice(value string) string {
	if r := []rune(value); len(r) > 100 {
		value = string(r[:100])
	}
	return `"` + value + `" is not a valid choice.`
}

// contactAttributeType answers GET /attribute-type/:name_std/users/.
func (s *Server) contactAttributeType(r *request) error {
	return s.attributeType(r, gateway.EntityContact)
}

// companyAttributeType answers GET /attribute-type/:name_std/companies/.
func (s *Server) companyAttributeType(r *request) error {
	return s.attributeType(r, gateway.EntityCompany)
}

// fieldTypes are the types of the fields that are no attributes.
var fieldTypes = map[gateway.Entity]map[string]string{
	gateway.EntityContact: {
		"id": "integer", "custom_id": "string", "user_id": "string", "email": "string", "key": "string", "user_key": "string",
		"created_at": "datetime", "updated_at": "datetime", "first_seen": "datetime", "last_seen": "datetime",
		"page_views": "integer", "last_ip": "string",
	},
	gateway.EntityCompany: {
		"id": "integer", "custom_id": "string", "company_id": "string", "name": "string",
		"created_at": "datetime", "updated_at": "datetime", "employees_count": "integer",
	},
}

func (s *Server) attributeType(r *request, of gateway.Entity) error {
	name := r.pathID()
	answer := func(valueType string) error {
		return writeJSON(r, http.StatusOK, struct {
			ValueType string `json:"value_type"`
		}{valueType})
	}
	if a, ok := gateway.Standard(of, name); ok {
		if a.Type == gateway.TypeNumber {
			return answer("integer")
		}
		return answer(valueType(a.Type))
	}
	defs, err := s.reader.AttributeDefs(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return err
	}
	for _, d := range defs {
		if d.Entity == of && d.Name == name {
			return answer(valueType(d.Type))
		}
	}
	if t, ok := fieldTypes[of][name]; ok {
		return answer(t)
	}
	return errNotFound
}
