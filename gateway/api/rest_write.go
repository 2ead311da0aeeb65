package api

import (
	"errors"
	"net/http"
	"slices"

	"civgate/gateway"
)

// maxTagNames is how many tags one request may add.
const maxTagNames = 200

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
	// write answers with it as it is stored.
	write func(s *Server, r *request, status int, id ID) error
}

// editNamed is edit with an own id in errors by its name in the request's version.
func editNamed(s *Server, r *request, names map[version]string, fn func(e *gateway.Editor) error) error {
	err := s.edit(r, fn)
	var e *gateway.Error
	if errors.As(err, &e) && e.Code == gateway.CodeInvalid && e.Field == "custom_id" {
		named := *e
		named.Field = names[r.version]
		return &named
	}
	return err
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
func (k *kind[ID, P]) createOne(s *Server) restHandler {
	return func(r *request) error {
		patch, err := k.patch(r)
		if err == nil && k.check != nil {
			err = k.check(&patch)
		}
		if err != nil {
			return err
		}
		var id ID
		if err := editNamed(s, r, k.ownID, func(e *gateway.Editor) (err error) {
			id, err = k.create(e, patch)
			return err
		}); err != nil {
			return err
		}
		return k.write(s, r, http.StatusCreated, id)
	}
}

// updateOne answers PUT and PATCH: both change what is sent and nothing else. Nothing
// sent changes nothing, not even when it was last changed; that is answered by read.
func (k *kind[ID, P]) updateOne(s *Server, at target[ID], read restHandler) restHandler {
	return func(r *request) error {
		patch, err := k.patch(r)
		if err != nil {
			return err
		}
		if k.empty(&patch) {
			return read(r)
		}
		var id ID
		if err := editNamed(s, r, k.ownID, func(e *gateway.Editor) (err error) {
			if id, err = at(r, e); err != nil {
				return err
			}
			return k.update(e, id, patch)
		}); err != nil {
			return err
		}
		return k.write(s, r, http.StatusOK, id)
	}
}

// deleteOne answers DELETE.
func (k *kind[ID, P]) deleteOne(s *Server, at target[ID]) restHandler {
	return func(r *request) error {
		if err := s.edit(r, func(e *gateway.Editor) error {
			id, err := at(r, e)
			if err != nil {
				return err
			}
			return k.delete(e, id)
		}); err != nil {
			return err
		}
		return r.NoContent(http.StatusNoContent)
	}
}

// updateOrCreate answers POST …/update_or_create/: what has the own id of the body gets
// what the body says, tags being added; without such a one it is made.
func (k *kind[ID, P]) updateOrCreate(s *Server) restHandler {
	return func(r *request) error {
		patch, err := k.patch(r)
		if err != nil {
			return err
		}
		own := k.upsert(&patch)
		if own == nil || *own == "" {
			return invalid(k.ownID[r.version], textRequired)
		}
		var id ID
		var created bool
		if err := editNamed(s, r, k.ownID, func(e *gateway.Editor) (err error) {
			id, err = k.byOwnID(e, *own)
			if created = gateway.IsNotFound(err); created {
				id, err = k.create(e, patch)
				return err
			}
			if err != nil {
				return err
			}
			return k.update(e, id, patch)
		}); err != nil {
			return err
		}
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		return writeJSON(r, status, createdOrNot[ID]{created, id})
	}
}

// createdOrNot is the answer of update_or_create.
type createdOrNot[ID any] struct {
	Created bool `json:"created"`
	ID      ID   `json:"id"`
}

// attributes changes what read makes of the body, and answers 200 without a body, or
// 204 to a DELETE.
func (k *kind[ID, P]) attributes(s *Server, at target[ID], read func(f fields) ([]gateway.Field, error)) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		members, err := read(f)
		if err != nil {
			return err
		}
		patch, err := k.parse(members, r.version == v2)
		if err != nil {
			return err
		}
		if err := editNamed(s, r, k.ownID, func(e *gateway.Editor) error {
			id, err := at(r, e)
			if err != nil || k.empty(&patch) {
				return err
			}
			return k.update(e, id, patch)
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// done answers that all went well where there is nothing to tell.
func (r *request) done() error {
	if r.Request().Method == http.MethodDelete {
		return r.NoContent(http.StatusNoContent)
	}
	return r.NoContent(http.StatusOK)
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
	Name string `json:"name"`
	ID   *int64 `json:"id"` // see tag
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
func (k *kind[ID, P]) changeTags(s *Server, r *request, at target[ID], change func(have []string) (all []string, changed bool, err error)) (changed bool, err error) {
	err = s.edit(r, func(e *gateway.Editor) error {
		id, err := at(r, e)
		if err != nil {
			return err
		}
		have, err := k.tags(e, id)
		if err != nil {
			return err
		}
		var all []string
		if all, changed, err = change(have); err != nil || !changed {
			return err
		}
		return k.setTags(e, id, all)
	})
	return changed, err
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
func (k *kind[ID, P]) addTag(s *Server, at target[ID]) restHandler {
	return func(r *request) error {
		name, err := r.tagName()
		if err != nil {
			return err
		}
		added, err := k.changeTags(s, r, at, func(have []string) ([]string, bool, error) {
			return withTags(have, []string{name})
		})
		if err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, tagAnswer{added, addedTag{Name: name}})
	}
}

// addManyTags answers POST …/add_many_tags/.
func (k *kind[ID, P]) addManyTags(s *Server, at target[ID]) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		names, err := f.tagNames()
		if err != nil {
			return err
		}
		if _, err := k.changeTags(s, r, at, func(have []string) ([]string, bool, error) {
			return withTags(have, names)
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// removeTag answers POST and DELETE of …/remove_tag/. A tag that is not there is none
// afterwards either.
func (k *kind[ID, P]) removeTag(s *Server, at target[ID]) restHandler {
	return func(r *request) error {
		name, err := r.tagName()
		if err != nil {
			return err
		}
		if _, err := k.changeTags(s, r, at, func(have []string) ([]string, bool, error) {
			all := slices.DeleteFunc(slices.Clone(have), func(tag string) bool { return tag == name })
			return all, len(all) < len(have), nil
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// resources are the routes of one contact or company, whatever kind of id the path has.
func (k *kind[ID, P]) resources(s *Server, path string, at target[ID], read restHandler) []resource {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	update, removeAttribute, removeTag := k.updateOne(s, at, read), k.attributes(s, at, noAttribute), k.removeTag(s, at)
	return []resource{
		{path, methods{get: read, put: update, patch: update, del: k.deleteOne(s, at)}},
		{path + "/set_attribute", methods{post: k.attributes(s, at, oneAttribute)}},
		{path + "/set_multiple_attributes", methods{post: k.attributes(s, at, allAttributes)}},
		{path + "/remove_attribute", methods{post: removeAttribute, del: removeAttribute}},
		{path + "/add_tag", methods{post: k.addTag(s, at)}},
		{path + "/add_many_tags", methods{post: k.addManyTags(s, at)}},
		{path + "/remove_tag", methods{post: removeTag, del: removeTag}},
	}
}
