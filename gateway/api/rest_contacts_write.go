package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"civgate/gateway"
)

// The bounds of what one request may change.
const (
	maxMassUpdate = 1000 // contacts
	maxMerge      = 100  // contacts
	maxTagNames   = 200
)

// targetContact finds, within an edit, the contact that the request's path names.
type targetContact func(r *request, e *gateway.Editor) (gateway.ContactID, error)

func targetByID(r *request, e *gateway.Editor) (gateway.ContactID, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return 0, err
	}
	return e.Contact(gateway.ContactID(id))
}

func targetByCustomID(r *request, e *gateway.Editor) (gateway.ContactID, error) {
	return withoutSlash(r.pathID(), e.ContactByCustomID)
}

// contactPatch reads the body as a patch of a contact.
func (r *request) contactPatch() (gateway.ContactPatch, error) {
	f, err := r.fields()
	if err != nil {
		return gateway.ContactPatch{}, err
	}
	return gateway.ParseContactPatch(f, r.version == v2)
}

// ownIDName is the name of a contact's own id in the version.
func (v version) ownIDName() string {
	if v == v1 {
		return "user_id"
	}
	return "custom_id"
}

// editContacts is edit with the own id of a contact in errors by its name in the
// request's version.
func (s *Server) editContacts(r *request, fn func(e *gateway.Editor) error) error {
	err := s.edit(r, fn)
	var e *gateway.Error
	if errors.As(err, &e) && e.Code == gateway.CodeInvalid && e.Field == "custom_id" {
		named := *e
		named.Field = r.version.ownIDName()
		return &named
	}
	return err
}

// createContact answers POST /users/.
func (s *Server) createContact(r *request) error {
	patch, err := r.contactPatch()
	if err != nil {
		return err
	}
	var id gateway.ContactID
	if err := s.editContacts(r, func(e *gateway.Editor) (err error) {
		id, err = e.CreateContact(patch)
		return err
	}); err != nil {
		return err
	}
	return s.writeStored(r, http.StatusCreated, id)
}

// writeStored answers with the contact as it is after an edit.
func (s *Server) writeStored(r *request, status int, id gateway.ContactID) error {
	v, err := s.reader.Contact(r.Request().Context(), r.workspace.ID, id)
	if err != nil {
		return err
	}
	return s.writeContact(r, status, v)
}

// updateContact answers PUT and PATCH of …/:id/: both change what is sent and nothing
// else. Nothing sent changes nothing, not even when the contact was last changed.
func (s *Server) updateContact(target targetContact, find findContact) restHandler {
	return func(r *request) error {
		patch, err := r.contactPatch()
		if err != nil {
			return err
		}
		if isEmpty(patch) {
			return s.contact(find)(r)
		}
		var id gateway.ContactID
		if err := s.editContacts(r, func(e *gateway.Editor) (err error) {
			if id, err = target(r, e); err != nil {
				return err
			}
			return e.UpdateContact(id, patch)
		}); err != nil {
			return err
		}
		return s.writeStored(r, http.StatusOK, id)
	}
}

// isEmpty reports whether a patch that came with a request asks for nothing.
func isEmpty(p gateway.ContactPatch) bool {
	return p.CustomID == nil && p.Email == nil && len(p.Attributes) == 0 && len(p.Companies) == 0
}

// deleteContact answers DELETE of …/:id/.
func (s *Server) deleteContact(target targetContact) restHandler {
	return func(r *request) error {
		if err := s.edit(r, func(e *gateway.Editor) error {
			id, err := target(r, e)
			if err != nil {
				return err
			}
			return e.DeleteContact(id)
		}); err != nil {
			return err
		}
		return r.NoContent(http.StatusNoContent)
	}
}

// createdOrNot is the answer of update_or_create, by its 201 too if it created.
type createdOrNot[ID any] struct {
	Created bool `json:"created"`
	ID      ID   `json:"id"`
}

func writeCreated[ID any](r *request, created bool, id ID) error {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(r, status, createdOrNot[ID]{created, id})
}

// updateOrCreateContact answers POST /users/update_or_create/: the contact with the own
// id of the body gets what the body says, tags being added. Without such a contact it is
// made.
func (s *Server) updateOrCreateContact(r *request) error {
	patch, err := r.contactPatch()
	if err != nil {
		return err
	}
	if patch.CustomID == nil || *patch.CustomID == "" {
		return invalid(r.version.ownIDName(), textRequired)
	}
	patch.KeepTags = true
	var id gateway.ContactID
	var created bool
	if err := s.editContacts(r, func(e *gateway.Editor) (err error) {
		id, err = e.ContactByCustomID(*patch.CustomID)
		if created = gateway.IsNotFound(err); created {
			id, err = e.CreateContact(patch)
			return err
		}
		if err != nil {
			return err
		}
		return e.UpdateContact(id, patch)
	}); err != nil {
		return err
	}
	return writeCreated(r, created, id)
}

// patchContact changes a contact as read tells by the body, and answers 200 without a
// body, or 204 to a DELETE.
func (s *Server) patchContact(target targetContact, read func(f fields) ([]gateway.Field, error)) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		members, err := read(f)
		if err != nil {
			return err
		}
		patch, err := gateway.ParseContactPatch(members, r.version == v2)
		if err != nil {
			return err
		}
		if err := s.editContacts(r, func(e *gateway.Editor) error {
			id, err := target(r, e)
			if err != nil || isEmpty(patch) {
				return err
			}
			return e.UpdateContact(id, patch)
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

// addTags gives the contact of the path tags, and returns whether it lacked one.
func (s *Server) addTags(r *request, target targetContact, names []string) (added bool, err error) {
	err = s.edit(r, func(e *gateway.Editor) error {
		id, err := target(r, e)
		if err != nil {
			return err
		}
		have, err := e.Tags(id)
		if err != nil {
			return err
		}
		var all []string
		if all, added, err = withTags(have, names); err != nil || !added {
			return err
		}
		return e.SetTags(id, all)
	})
	return added, err
}

// addTag answers POST …/add_tag/.
func (s *Server) addTag(target targetContact) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		name, err := f.text("name", gateway.MaxName)
		if err != nil {
			return err
		}
		added, err := s.addTags(r, target, []string{name})
		if err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, tagAnswer{added, addedTag{Name: name}})
	}
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

// addManyTags answers POST …/add_many_tags/.
func (s *Server) addManyTags(target targetContact) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		names, err := f.tagNames()
		if err != nil {
			return err
		}
		if _, err := s.addTags(r, target, names); err != nil {
			return err
		}
		return r.done()
	}
}

// removeTag answers POST and DELETE of …/remove_tag/. A tag that is not there is none
// afterwards either.
func (s *Server) removeTag(target targetContact) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		name, err := f.text("name", gateway.MaxName)
		if err != nil {
			return err
		}
		if err := s.edit(r, func(e *gateway.Editor) error {
			id, err := target(r, e)
			if err != nil {
				return err
			}
			have, err := e.Tags(id)
			if err != nil || !slices.Contains(have, name) {
				return err
			}
			return e.SetTags(id, slices.DeleteFunc(have, func(tag string) bool { return tag == name }))
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// contactRef finds the contact that an element of a list in a body names. It is a
// CodeNotFound if nobody is named so.
type contactRef func(e *gateway.Editor, item raw) (gateway.ContactID, error)

func refByID(e *gateway.Editor, item raw) (gateway.ContactID, error) {
	id, ok := internalID(item)
	if !ok || id == 0 {
		return 0, errNotFound
	}
	return e.Contact(gateway.ContactID(id))
}

func refByCustomID(e *gateway.Editor, item raw) (gateway.ContactID, error) {
	id, ok := scalarText(item)
	if !ok || storable(id) == "" {
		return 0, errNotFound
	}
	return e.ContactByCustomID(id)
}

// massStandard are the standard attributes that can be changed of many contacts at once
// (contract, section 4), and the names of ids in either version.
var massStandard = []string{
	"assigned_to", "city", "company_id", "company_custom_id", "country", "email", "facebook_url", "first_name", "gender", "google_url",
	"gravatar_url", "last_name", "linkedin_url", "notifications", "phone_number", "region", "score", "status", "timezone", "twitter_url",
	"unsubscribed", "custom_id", "user_id",
}

// massUpdate answers PUT and POST of mass_update_custom_attributes and
// mass_update_standard_attributes. Whom an id names nobody is left out, as by a filter
// of Django; all others are changed, or none.
func (s *Server) massUpdate(find contactRef, standard bool) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		ids, err := f.list("ids", maxMassUpdate)
		if err != nil {
			return err
		}
		one, err := oneAttribute(f)
		if err != nil {
			return err
		}
		if name := one[0].Name; standard != slices.Contains(massStandard, name) || !standard && isTaken(name) {
			return invalid("attribute", fmt.Sprintf("%q is not a valid choice.", name))
		}
		patch, err := gateway.ParseContactPatch(one, r.version == v2)
		if err != nil {
			return err
		}
		if err := s.editContacts(r, func(e *gateway.Editor) error {
			for _, item := range ids {
				id, err := find(e, item)
				if gateway.IsNotFound(err) {
					continue
				}
				if err != nil {
					return err
				}
				if err := e.UpdateContact(id, patch); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, struct {
			Status string `json:"status"`
		}{"ok"})
	}
}

// isTaken reports whether the name means something else than a custom attribute of a
// contact.
func isTaken(name string) bool {
	custom, _ := gateway.CustomName(gateway.EntityContact, name)
	return gateway.StandardName(name) == name && custom != name
}

// mergeContacts answers POST /users/merge/.
func (s *Server) mergeContacts(find contactRef) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		if !f.has("parent") {
			return invalid("parent", textRequired)
		}
		list := "users_list"
		if !f.has(list) && f.has("user_list") {
			list = "user_list"
		}
		items, err := f.list(list, maxMerge)
		if err != nil {
			return err
		}
		if err := s.edit(r, func(e *gateway.Editor) error {
			parent, err := find(e, f.find("parent"))
			if err != nil {
				return unknownContact("parent", err)
			}
			others := make([]gateway.ContactID, len(items))
			for i, item := range items {
				if others[i], err = find(e, item); err != nil {
					return unknownContact(list, err)
				}
			}
			return e.MergeContacts(parent, others)
		}); err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, struct {
			Success bool `json:"success"`
		}{true})
	}
}

// unknownContact is err, or what to say if nobody has an id in the body.
func unknownContact(field string, err error) error {
	if gateway.IsNotFound(err) {
		return invalid(field, "There is no contact with this id.")
	}
	return err
}
