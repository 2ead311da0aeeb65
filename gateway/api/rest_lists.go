package api

import (
	"errors"
	"net/http"
	"strings"

	"civgate/gateway"
)

// This file owns lists as clients see them.
//
// Decisions
//
//   - The contacts of a list are the list of contacts with one filter more: its order, its
//     links and its other filters. Their number is not counted either.
//   - A list that a body names and that there is not is a 400 of the field, as of all
//     bodies.

// listResources are the routes of lists and segments.
func (s *Server) listResources() []resource {
	var all []resource
	for _, contact := range []struct {
		path string
		find findContact
		at   targetContact
	}{
		{"/users/:id", s.byID, targetByID},
		{"/users-by-id/:id", s.byCustomID, targetByCustomID},
	} {
		remove := removeFromList(contact.at)
		all = append(all,
			resource{contact.path + "/add_to_list", methods{post: addToList(contact.at)}},
			resource{contact.path + "/remove_from_list", methods{post: remove, del: remove}},
			resource{contact.path + "/segments", methods{get: s.segmentsOf(contact.find)}})
	}
	return append(all,
		resource{"/lists", methods{get: s.lists, post: createList}},
		resource{"/lists/:id", methods{get: s.list, put: updateList, patch: updateList, del: deleteList}},
		resource{"/lists/:id/users", methods{get: s.contactsOfList}},
		resource{"/segments", methods{get: s.segments, post: s.createSegment}},
		resource{"/segments/:id", methods{get: s.segment, put: s.updateSegment, patch: s.updateSegment, del: deleteSegment}},
		resource{"/segments/:id/users", methods{get: s.contactsOfSegment}})
}

// listFields are those of a list, at its contacts too.
var listFields = members[*gateway.List]{
	{"id", func(w *jsonWriter, l *gateway.List) { w.int(int64(l.ID)) }},
	{"name", func(w *jsonWriter, l *gateway.List) { w.text(l.Name) }},
	{"description", func(w *jsonWriter, l *gateway.List) { w.text(l.Description) }},
}

// listShape is a list as an answer has it.
type listShape gateway.List

func (l listShape) writeTo(w *jsonWriter) { listFields.object(w, (*gateway.List)(&l)) }

// MarshalJSON writes what writeTo does, for a list inside of something else.
func (l listShape) MarshalJSON() ([]byte, error) { return encodeJSON(l) }

// idInPath is the internal id in the path, for what has no other.
func (r *request) idInPath() (int64, error) {
	return parseID(strings.TrimRight(r.pathID(), "/"))
}

// lists answers GET /lists/, newest first.
func (s *Server) lists(r *request) error {
	all, err := s.reader.Lists(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return err
	}
	shapes := make([]any, len(all))
	for i, l := range all {
		shapes[i] = listShape(l)
	}
	return s.writeHistory(r, shapes)
}

func (s *Server) findList(r *request) (gateway.List, error) {
	id, err := r.idInPath()
	if err != nil {
		return gateway.List{}, err
	}
	return s.reader.List(r.Request().Context(), r.workspace.ID, gateway.ListID(id))
}

// list answers GET /lists/:id/.
func (s *Server) list(r *request) error {
	l, err := s.findList(r)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, listShape(l))
}

// contactsOfList answers GET /lists/:id/users/ with those in the list who meet the filters
// in the parameters.
func (s *Server) contactsOfList(r *request) error {
	l, err := s.findList(r)
	if err != nil {
		return err
	}
	return s.listContactsWho(r, []gateway.Condition{{Field: "list", Value: gateway.IntValue(int64(l.ID))}})
}

// listContactsWho answers with a page of those who meet conditions and the filters in the
// parameters.
func (s *Server) listContactsWho(r *request, where []gateway.Condition) error {
	more, err := s.filters(r, gateway.EntityContact)
	if err != nil {
		return err
	}
	return s.listContacts(r, append(where, more...))
}

// optionalText reads a field that need not be there; "" stands for null as well.
func (f fields) optionalText(name string) (*string, error) {
	var text string
	value := f.find(name)
	if value != nil {
		var ok bool
		if text, ok = scalarText(value); !ok || storable(text) != text {
			return nil, invalid(name, textNoString)
		}
	}
	for i := range f {
		if f[i].Name == name {
			return &text, nil
		}
	}
	return nil, nil
}

// needed reads a text that may be left out only if nothing is made.
func (f fields) needed(name string, most int, made bool) (*string, error) {
	if !made && !f.has(name) {
		return nil, nil
	}
	text, err := f.text(name, most)
	return &text, err
}

// allOf is all that is wrong in one error, nil if nothing is.
func allOf(errs ...error) error {
	var first *gateway.Error
	for _, err := range errs {
		var e *gateway.Error
		switch {
		case err == nil:
			continue
		case !errors.As(err, &e):
			return err
		case first == nil:
			other := *e
			first = &other
		default:
			first.Also = append(first.Also, e)
		}
	}
	if first == nil {
		return nil
	}
	return first
}

// listPatch reads the body of a list.
func (r *request) listPatch(made bool) (p gateway.ListPatch, err error) {
	f, err := r.fields()
	if err != nil {
		return p, err
	}
	var wrong [2]error
	p.Name, wrong[0] = f.needed("name", gateway.MaxName, made)
	p.Description, wrong[1] = f.optionalText("description")
	return p, allOf(wrong[:]...)
}

// createList answers POST /lists/.
func createList(r *request) (operation, error) {
	patch, err := r.listPatch(true)
	return func(e *gateway.Editor) (answer, error) {
		l, err := e.CreateList(patch)
		return answer{status: http.StatusCreated, body: listShape(l)}, err
	}, err
}

// updateList answers PUT and PATCH of /lists/:id/.
func updateList(r *request) (operation, error) {
	id, err := r.idInPath()
	if err != nil {
		return nil, err
	}
	patch, err := r.listPatch(false)
	return func(e *gateway.Editor) (answer, error) {
		l, err := e.UpdateList(gateway.ListID(id), patch)
		return answer{status: http.StatusOK, body: listShape(l)}, err
	}, err
}

// deleteList answers DELETE /lists/:id/.
func deleteList(r *request) (operation, error) {
	id, err := r.idInPath()
	return func(e *gateway.Editor) (answer, error) {
		return answer{status: http.StatusNoContent}, e.DeleteList(gateway.ListID(id))
	}, err
}

// listInBody reads the body of add_to_list and remove_from_list.
func (r *request) listInBody() (gateway.ListID, error) {
	f, err := r.fields()
	if err != nil {
		return 0, err
	}
	id, err := f.id("list")
	return gateway.ListID(id), err
}

// addToList answers POST …/add_to_list/ with the list.
func addToList(at targetContact) writeHandler {
	return func(r *request) (operation, error) {
		id, err := r.listInBody()
		return func(e *gateway.Editor) (answer, error) {
			contact, err := at(r, e)
			if err != nil {
				return answer{}, err
			}
			l, err := e.AddToList(id, contact)
			return answer{status: http.StatusOK, body: listShape(l)}, err
		}, err
	}
}

// removeFromList answers POST and DELETE of …/remove_from_list/.
func removeFromList(at targetContact) writeHandler {
	return func(r *request) (operation, error) {
		id, err := r.listInBody()
		return func(e *gateway.Editor) (answer, error) {
			contact, err := at(r, e)
			if err != nil {
				return answer{}, err
			}
			return r.done(), e.RemoveFromList(id, contact)
		}, err
	}
}
