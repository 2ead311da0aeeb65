package api

import (
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
)

// targetContact finds, within an edit, the contact that the request's path names.
type targetContact = target[gateway.ContactID]

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

// theContacts is what the writes of contacts are made of.
var theContacts = &kind[gateway.ContactID, gateway.ContactPatch]{
	ownID: map[version]string{v1: "user_id", v2: "custom_id"},
	parse: gateway.ParseContactPatch,
	empty: func(p *gateway.ContactPatch) bool {
		return p.CustomID == nil && p.Email == nil && len(p.Attributes) == 0 && len(p.Companies) == 0
	},
	upsert: func(p *gateway.ContactPatch) *string {
		p.KeepTags = true
		return p.CustomID
	},
	byOwnID: (*gateway.Editor).ContactByCustomID,
	create:  (*gateway.Editor).CreateContact,
	update:  (*gateway.Editor).UpdateContact,
	delete:  (*gateway.Editor).DeleteContact,
	tags:    (*gateway.Editor).Tags,
	setTags: (*gateway.Editor).SetTags,
	answer: func(status int, id gateway.ContactID) answer {
		return answer{status: status, contact: id}
	},
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
func massUpdate(find contactRef, standard bool) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		ids, err := f.list("ids", maxMassUpdate)
		if err != nil {
			return nil, err
		}
		one, err := oneAttribute(f)
		if err != nil {
			return nil, err
		}
		if name := one[0].Name; standard != slices.Contains(massStandard, name) || !standard && isTaken(name) {
			return nil, invalid("attribute", fmt.Sprintf("%q is not a valid choice.", name))
		}
		patch, err := gateway.ParseContactPatch(one, r.version == v2)
		if err != nil {
			return nil, err
		}
		return named(r, theContacts.ownID, func(e *gateway.Editor) (answer, error) {
			for _, item := range ids {
				id, err := find(e, item)
				if gateway.IsNotFound(err) {
					continue
				}
				if err == nil {
					err = e.UpdateContact(id, patch)
				}
				if err != nil {
					return answer{}, err
				}
			}
			return answer{status: http.StatusOK, body: struct {
				Status string `json:"status"`
			}{"ok"}}, nil
		}), nil
	}
}

// isTaken reports whether the name means something else than a custom attribute of a
// contact.
func isTaken(name string) bool {
	custom, _ := gateway.CustomName(gateway.EntityContact, name)
	return gateway.StandardName(name) == name && custom != name
}

// mergeContacts answers POST /users/merge/.
func mergeContacts(find contactRef) writeHandler {
	return func(r *request) (operation, error) {
		f, err := r.fields()
		if err != nil {
			return nil, err
		}
		if !f.has("parent") {
			return nil, invalid("parent", textRequired)
		}
		list := "users_list"
		if !f.has(list) && f.has("user_list") {
			list = "user_list"
		}
		items, err := f.list(list, maxMerge)
		return func(e *gateway.Editor) (answer, error) {
			parent, err := find(e, f.find("parent"))
			if err != nil {
				return answer{}, unknownContact("parent", err)
			}
			others := make([]gateway.ContactID, len(items))
			for i, item := range items {
				if others[i], err = find(e, item); err != nil {
					return answer{}, unknownContact(list, err)
				}
			}
			return answer{status: http.StatusOK, body: struct {
				Success bool `json:"success"`
			}{true}}, e.MergeContacts(parent, others)
		}, err
	}
}

// unknownContact is err, or what to say if nobody has an id in the body.
func unknownContact(field string, err error) error {
	if gateway.IsNotFound(err) {
		return invalid(field, "There is no contact with this id.")
	}
	return err
}
