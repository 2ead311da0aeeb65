package api

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
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
//   - integer is a number that is whole: values that are not are left out like others
//     that don't fit. A fixed attribute is a list of what was chosen, one or several; its
//     choices are kept and shown, and values outside of them are stored all the same,
//     since a page that is ahead of the settings must not lose what it says.
//   - A definition is deleted with its values before the answer comes: 204 means that
//     they are gone. All writes wait meanwhile (see gateway.Editor.DropAttribute).

// attributeDef is a custom attribute (contract, section 6). One by itself has the two
// last fields if it is fixed, in a list none has them.
type attributeDef struct {
	ID          gateway.AttributeID `json:"id"`
	Name        string              `json:"name"`
	NameStd     string              `json:"name_std"`
	ValueType   string              `json:"value_type"`
	ContentType string              `json:"content_type"`
	*fixedDef
}

// fixedDef is what only a fixed attribute has.
type fixedDef struct {
	Choices  []string `json:"choices"`
	Multiple bool     `json:"allow_multiple_choices"`
}

func attributeShape(v version, d *gateway.AttributeDef) attributeDef {
	content := string(d.Entity)
	switch {
	case d.Entity == gateway.EntityContact && v == v1:
		content = "user"
	case d.Entity == gateway.EntityContact:
		content = "clientuser"
	}
	return attributeDef{d.ID, d.Label, d.Name, valueTypeOf(d), content, nil}
}

// attributeDetail is attributeShape for a definition by itself.
func attributeDetail(v version, d *gateway.AttributeDef) attributeDef {
	shape := attributeShape(v, d)
	if len(d.Choices) > 0 {
		shape.fixedDef = &fixedDef{d.Choices, d.Multiple}
	}
	return shape
}

// contentTypes are the entities by their names in either version.
var contentTypes = map[string]gateway.Entity{
	"user": gateway.EntityContact, "clientuser": gateway.EntityContact, "company": gateway.EntityCompany,
	"product": gateway.EntityProduct, "deal": gateway.EntityDeal,
	"activity": gateway.EntityActivity, "ticket": gateway.EntityTicket,
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
	return writeJSON(r, http.StatusOK, attributeDetail(r.version, &defs[i]))
}

// dropTimeout bounds how long an attribute may take to delete.
const dropTimeout = 10 * time.Minute

// deleteAttribute answers DELETE /attributes/:id/.
func deleteAttribute(r *request) (operation, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return nil, err
	}
	r.patience = dropTimeout
	return func(e *gateway.Editor) (answer, error) {
		return answer{status: http.StatusNoContent}, e.DropAttribute(gateway.AttributeID(id))
	}, nil
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
	var choices []string
	var multiple bool
	switch {
	case !ok && typeName != "":
		fail("value_type", noChoice(typeName))
	case typeName == "fixed":
		if choices, err = f.choices(); err != nil {
			fail("choices", messageOf(err))
		}
		if multiple, err = f.flag("allow_multiple_choices"); err != nil {
			fail("allow_multiple_choices", messageOf(err))
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
		def, err := e.DefineAttribute(gateway.AttributeDef{
			Entity: entity, Label: label, Type: typ, Integer: typeName == "integer", Choices: choices, Multiple: multiple, Description: description,
		})
		return answer{status: http.StatusCreated, body: attributeShape(r.version, &def)}, err
	}, nil
}

// choices reads the choices of a fixed attribute: texts or numbers in a list, or one
// by itself. Each is kept once.
func (f fields) choices() ([]string, error) {
	items, err := f.list("choices", maxChoices)
	if err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, invalid("choices", "This list may not be empty.")
	}
	var choices []string
	for _, item := range items {
		s, ok := scalarText(item)
		switch {
		case !ok || s == "" || storable(s) != s:
			return nil, invalid("choices", textNoString)
		case len(s) > gateway.MaxName:
			return nil, invalid("choices", fmt.Sprintf("Ensure this field has no more than %d bytes.", gateway.MaxName))
		case !slices.Contains(choices, s):
			choices = append(choices, s)
		}
	}
	return choices, nil
}

// flag reads a truth value, or what stands for one in a form. One that is missing is
// false.
func (f fields) flag(name string) (bool, error) {
	value := f.find(name)
	if value == nil {
		return false, nil
	}
	v, err := gateway.ParseValue(value)
	if err == nil {
		if b, ok := gateway.Convert(v, gateway.TypeBool); ok {
			return b.Raw == "true", nil
		}
	}
	return false, invalid(name, "Must be a valid boolean.")
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
			return answer(valueTypeOf(&d))
		}
	}
	if t, ok := fieldTypes[of][name]; ok {
		return answer(t)
	}
	return errNotFound
}
