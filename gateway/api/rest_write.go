package api

import (
	"errors"
	"net/http"
	"slices"

	"civgate/gateway"
)

// This file owns how the REST API writes: what every write goes through, and those of
// contacts and companies.
//
// Decisions
//
//   - A write reads its request first and then becomes an operation, which an edit
//     carries out. So one operation can be done by itself, be remembered under an
//     Idempotency-Key in the transaction that does it, and be one of many in a bulk
//     request, without its knowing.
//   - What an operation answers with is said within the transaction; a contact or company
//     is shown as it is after it.

// maxTagNames is how many tags one request may add.
const maxTagNames = 200

// writeHandler reads a request that writes and returns what it asks for. What is wrong
// with the request itself is its error.
type writeHandler func(r *request) (operation, error)

// operation is carried out within an edit; see gateway.Gateway.Edit for what it may do.
type operation func(e *gateway.Editor) (answer, error)

// answer is what an operation answers with: the view of a contact, company or record as
// it is after the commit if one is named, else body, nothing if that is nil.
type answer struct {
	status  int
	body    any
	contact gateway.ContactID
	company gateway.CompanyID
	record  recordRef
}

// done answers that all went well where there is nothing to tell.
func (r *request) done() answer {
	if r.method() == http.MethodDelete {
		return answer{status: http.StatusNoContent}
	}
	return answer{status: http.StatusOK}
}

// serveWrite carries out what h makes of the request, and answers with it.
func (s *Server) serveWrite(r *request, h writeHandler) error {
	var err error
	if r.key, err = idempotencyKey(r.Request().Header); err != nil {
		return err
	}
	op, err := h(r)
	if err != nil {
		return err
	}
	a, err := s.carryOut(r, op)
	if err != nil {
		return err
	}
	if a.replayed {
		r.Response().Header().Set(headerReplayed, "true")
	}
	return sendJSON(r, a.status, a.text)
}

// written is an answer as it is sent.
type written struct {
	status   int
	text     []byte // nil: no body
	replayed bool   // it was given before
}

// carryOut carries out an operation in an edit of its own, unless its key says that it
// has been.
func (s *Server) carryOut(r *request, op operation) (written, error) {
	once, err := r.once(op)
	if err != nil {
		return written{}, err
	}
	if err := s.edit(r, func(e *gateway.Editor) error { return once.do(e) }); err != nil {
		return written{}, err
	}
	return once.written(s, r)
}

// render returns the JSON text of an answer's body, nil if it has none. Of what somebody has
// deleted since, only the id can be told.
func (s *Server) render(r *request, a answer) ([]byte, error) {
	ctx, body := r.Request().Context(), a.body
	var shapes []any
	var err error
	switch {
	case a.contact != 0:
		var v *gateway.ContactView
		if v, err = s.reader.Contact(ctx, r.workspace.ID, a.contact); err == nil {
			shapes, err = s.contactShapes(r, []*gateway.ContactView{v})
		}
	case a.company != 0:
		var v *gateway.CompanyView
		if v, err = s.reader.Company(ctx, r.workspace.ID, a.company); err == nil {
			shapes, err = s.companyShapes(r, []*gateway.CompanyView{v})
		}
	case a.record.id != 0:
		var v *gateway.Record
		if v, err = s.reader.Record(ctx, r.workspace.ID, a.record.entity, a.record.id); err == nil {
			shapes, err = s.recordShapes(r, a.record.entity, []*gateway.Record{v})
		}
	}
	switch {
	case gateway.IsNotFound(err):
		_, id := a.subject()
		body = struct {
			ID int64 `json:"id"`
		}{id}
	case err != nil:
		return nil, err
	case shapes != nil:
		body = shapes[0]
	}
	if body == nil {
		return nil, nil
	}
	return encodeJSON(body)
}

// target finds, within an edit, what the request's path names.
type target[ID any] func(r *request, e *gateway.Editor) (ID, error)

// kind is what the writes of contacts and those of companies are made of; what they
// have in common are its handlers. P is the patch.
type kind[ID, P any] struct {
	ownID   map[version]string // the name of the own id in either version
	parse   func(f []gateway.Field, v2 bool) (P, error)
	empty   func(p *P) bool    // whether a patch asks for nothing
	check   func(p *P) error   // what something new needs; nil: nothing
	upsert  func(p *P) *string // makes p one that keeps tags, and returns the own id in it
	byOwnID func(e *gateway.Editor, id string) (ID, error)
	create  func(e *gateway.Editor, p P) (ID, error)
	update  func(e *gateway.Editor, id ID, p P) error
	delete  func(e *gateway.Editor, id ID) error
	tags    func(e *gateway.Editor, id ID) ([]string, error)
	setTags func(e *gateway.Editor, id ID, tags []string) error
	// answer is the one that shows it.
	answer func(status int, id ID) answer
}

// named is op with an own id in its errors by the name that it has in the request's
// version.
func named(r *request, names map[version]string, op operation) operation {
	return func(ed *gateway.Editor) (answer, error) {
		a, err := op(ed)
		var e *gateway.Error
		if errors.As(err, &e) && e.Code == gateway.CodeInvalid && e.Field == "custom_id" {
			other := *e
			other.Field = names[r.version]
			return a, &other
		}
		return a, err
	}
}

// patch reads the body as a patch.
func (k *kind[ID, P]) patch(r *request) (p P, err error) {
	f, err := r.fields()
	if err != nil {
		return p, err
	}
	return k.parse(f, r.version == v2)
}

// createOne answers POST to a list.
func (k *kind[ID, P]) createOne(r *request) (operation, error) {
	patch, err := k.patch(r)
	if err == nil && k.check != nil {
		err = k.check(&patch)
	}
	return named(r, k.ownID, func(e *gateway.Editor) (answer, error) {
		id, err := k.create(e, patch)
		return k.answer(http.StatusCreated, id), err
	}), err
}

// updateOne answers PUT and PATCH: both change what is sent and nothing else. Nothing
// sent changes nothing, not even when it was last changed.
func (k *kind[ID, P]) updateOne(at target[ID]) writeHandler {
	return func(r *request) (operation, error) {
		patch, err := k.patch(r)
		return named(r, k.ownID, func(e *gateway.Editor) (answer, error) {
			id, err := at(r, e)
			if err == nil && !k.empty(&patch) {
				err = k.update(e, id, patch)
			}
			return k.answer(http.StatusOK, id), err
		}), err
	}
}

// deleteOne answers DELETE.
func (k *kind[ID, P]) deleteOne(at target[ID]) writeHandler {
	return func(r *request) (operation, error) {
		return func(e *gateway.Editor) (answer, error) {
			id, err := at(r, e)
			if err == nil {
				err = k.delete(e, id)
			}
			return answer{status: http.StatusNoContent}, err
		}, nil
	}
}

// updateOrCreate answers POST …/update_or_create/: what has the own id of the body gets
// what the body says, tags being added; without such a one it is made.
func (k *kind[ID, P]) updateOrCreate(r *request) (operation, error) {
	patch, err := k.patch(r)
	if err != nil {
		return nil, err
	}
	own := k.upsert(&patch)
	if own == nil || *own == "" {
		return nil, invalid(k.ownID[r.version], textRequired)
	}
	return named(r, k.ownID, func(e *gateway.Editor) (answer, error) {
		id, err := k.byOwnID(e, *own)
		if gateway.IsNotFound(err) {
			id, err = k.create(e, patch)
			return answer{status: http.StatusCreated, body: createdOrNot[ID]{true, id}}, err
		}
		if err == nil {
			err = k.update(e, id, patch)
		}
		return answer{status: http.StatusOK, body: createdOrNot[ID]{false, id}}, err
	}), nil
}

// createdOrNot is the answer of update_or_create.
type createdOrNot[ID any] struct {
	Created bool `json:"created"`
	ID      ID   `json:"id"`
}

// attributes changes what read makes of the body, and answers 200 without a body, or
// 204 to a DELETE.
func (k *kind[ID, P]) attributes(at target[ID], read func(f fields) ([]gateway.Field, error)) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		members, err := read(f)
		if err != nil {
			return nil, err
		}
		patch, err := k.parse(members, r.version == v2)
		return named(r, k.ownID, func(e *gateway.Editor) (answer, error) {
			id, err := at(r, e)
			if err == nil && !k.empty(&patch) {
				err = k.update(e, id, patch)
			}
			return r.done(), err
		}), err
	}
}

// oneAttribute reads the body of set_attribute.
func oneAttribute(f fields) ([]gateway.Field, error) {
	name, err := f.text("attribute", gateway.MaxName)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(f, func(x gateway.Field) bool { return x.Name == "value" })
	if i < 0 {
		return nil, invalid("value", textRequired)
	}
	return []gateway.Field{{Name: name, Value: f[i].Value}}, nil
}

// allAttributes reads the body of set_multiple_attributes.
func allAttributes(f fields) ([]gateway.Field, error) { return f, nil }

// noAttribute reads the body of remove_attribute.
func noAttribute(f fields) ([]gateway.Field, error) {
	name, err := f.text("attribute", gateway.MaxName)
	return []gateway.Field{{Name: name, Value: []byte("null")}}, err
}

// tagAnswer is the answer of add_tag.
type tagAnswer struct {
	Created bool     `json:"created"`
	Tag     addedTag `json:"tag"`
}

type addedTag struct {
	Name string        `json:"name"`
	ID   gateway.TagID `json:"id"`
}

// withTags returns have with the names that it lacks, and whether there are any. Tags
// that are more than a contact or company can have are a CodeInvalid.
func withTags(have, names []string) (all []string, more bool, err error) {
	all = slices.Clone(have)
	for _, name := range names {
		if !slices.Contains(all, name) {
			all, more = append(all, name), true
		}
	}
	if more && len(gateway.ListValue(all...).Raw) > gateway.MaxValue {
		return nil, false, gateway.Errorf(gateway.CodeInvalid, "All tags together may have %d bytes.", gateway.MaxValue)
	}
	return all, more, nil
}

// changeTags gives what the path names the tags that change makes of those that it has,
// and returns whether they are others.
func (k *kind[ID, P]) changeTags(r *request, e *gateway.Editor, at target[ID], change func(have []string) (all []string, changed bool, err error)) (changed bool, err error) {
	id, err := at(r, e)
	if err != nil {
		return false, err
	}
	have, err := k.tags(e, id)
	if err != nil {
		return false, err
	}
	all, changed, err := change(have)
	if err != nil || !changed {
		return false, err
	}
	return true, k.setTags(e, id, all)
}

// tagName reads the body of add_tag and remove_tag.
func (r *request) tagName() (string, error) {
	f, err := r.fields()
	if err != nil {
		return "", err
	}
	return f.text("name", gateway.MaxName)
}

// tagNames reads the body of add_many_tags.
func (f fields) tagNames() ([]string, error) {
	items, err := f.list("tag_names", maxTagNames)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(items))
	for i, item := range items {
		if names[i], err = (fields{{Name: "tag_names", Value: item}}).text("tag_names", gateway.MaxName); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// addTag answers POST …/add_tag/.
func (k *kind[ID, P]) addTag(at target[ID]) writeHandler {
	return func(r *request) (operation, error) {
		name, err := r.tagName()
		return func(e *gateway.Editor) (answer, error) {
			added, err := k.changeTags(r, e, at, func(have []string) ([]string, bool, error) {
				return withTags(have, []string{name})
			})
			if err != nil {
				return answer{}, err
			}
			id, _, err := e.AddTag(name)
			return answer{status: http.StatusOK, body: tagAnswer{added, addedTag{name, id}}}, err
		}, err
	}
}

// addManyTags answers POST …/add_many_tags/.
func (k *kind[ID, P]) addManyTags(at target[ID]) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		names, err := f.tagNames()
		return func(e *gateway.Editor) (answer, error) {
			_, err := k.changeTags(r, e, at, func(have []string) ([]string, bool, error) {
				return withTags(have, names)
			})
			return r.done(), err
		}, err
	}
}

// removeTag answers POST and DELETE of …/remove_tag/. A tag that is not there is none
// afterwards either.
func (k *kind[ID, P]) removeTag(at target[ID]) writeHandler {
	return func(r *request) (operation, error) {
		name, err := r.tagName()
		return func(e *gateway.Editor) (answer, error) {
			_, err := k.changeTags(r, e, at, func(have []string) ([]string, bool, error) {
				all := slices.DeleteFunc(slices.Clone(have), func(tag string) bool { return tag == name })
				return all, len(all) < len(have), nil
			})
			return r.done(), err
		}, err
	}
}

// resources are the routes of one contact or company, whatever kind of id the path has.
func (k *kind[ID, P]) resources(path string, at target[ID], read restHandler) []resource {
	update, removeAttribute, removeTag := k.updateOne(at), k.attributes(at, noAttribute), k.removeTag(at)
	return []resource{
		{path, methods{get: read, put: update, patch: update, del: k.deleteOne(at)}},
		{path + "/set_attribute", methods{post: k.attributes(at, oneAttribute)}},
		{path + "/set_multiple_attributes", methods{post: k.attributes(at, allAttributes)}},
		{path + "/remove_attribute", methods{post: removeAttribute, del: removeAttribute}},
		{path + "/add_tag", methods{post: k.addTag(at)}},
		{path + "/add_many_tags", methods{post: k.addManyTags(at)}},
		{path + "/remove_tag", methods{post: removeTag, del: removeTag}},
	}
}
