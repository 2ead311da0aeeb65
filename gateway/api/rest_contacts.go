package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// findContact finds the contact that the request's path names.
type findContact func(r *request) (*gateway.ContactView, error)

func (s *Server) byID(r *request) (*gateway.ContactView, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return nil, err
	}
	return s.reader.Contact(r.Request().Context(), r.workspace.ID, gateway.ContactID(id))
}

func (s *Server) byCustomID(r *request) (*gateway.ContactView, error) {
	return s.contactByCustomID(r.Request().Context(), r.workspace.ID, r.pathID())
}

func (s *Server) contactByCustomID(ctx context.Context, w gateway.WorkspaceID, id string) (*gateway.ContactView, error) {
	if id == "" {
		return nil, errNotFound
	}
	return withoutSlash(id, func(id string) (*gateway.ContactView, error) {
		return s.reader.ContactByCustomID(ctx, w, id)
	})
}

// contacts answers GET /users/ with all contacts, or with those that meet the
// filters in its parameters.
func (s *Server) contacts(r *request) error {
	where, err := s.filters(r, gateway.EntityContact)
	if err != nil {
		return err
	}
	return s.listContacts(r, where)
}

func contactID(v *gateway.ContactView) int64 { return int64(v.Contact.ID) }

func (s *Server) listContacts(r *request, where []gateway.Condition) error {
	var p page
	err := s.inView(r, func() error {
		ctx := r.Request().Context()
		k := filtered(r, listContacts, contactID, where, s.reader.FindContacts)
		if len(where) == 0 {
			k.forth = false
			k.before = func(before int64, limit int) ([]*gateway.ContactView, error) {
				return s.reader.Contacts(ctx, r.workspace.ID, gateway.ContactID(before), limit)
			}
		}
		rows, at, err := k.read(s, r)
		if err != nil {
			return err
		}
		p = at
		if p.countFiltered(len(rows)); len(where) == 0 {
			if p.Count, err = s.reader.CountContacts(ctx, r.workspace.ID); err != nil {
				return err
			}
		}
		p.Results, err = s.contactShapes(r, rows)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, p)
}

// contact answers GET /users/:id/ and /users-by-id/:custom_id/.
func (s *Server) contact(find findContact) restHandler {
	return func(r *request) error {
		var shapes []any
		err := s.inView(r, func() error {
			v, err := find(r)
			if err == nil {
				shapes, err = s.contactShapes(r, []*gateway.ContactView{v})
			}
			return err
		})
		if err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, shapes[0])
	}
}

func (s *Server) writeContact(r *request, v *gateway.ContactView) error {
	shapes, err := s.contactShapes(r, []*gateway.ContactView{v})
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shapes[0])
}

func (s *Server) contactShapes(r *request, views []*gateway.ContactView) ([]any, error) {
	sh, err := s.shaper(r, gateway.EntityContact)
	if err != nil {
		return nil, err
	}
	if err := sh.readContactTags(s, r, views); err != nil {
		return nil, err
	}
	shapes := make([]any, len(views))
	for i, v := range views {
		shapes[i] = sh.contact(v)
	}
	return shapes, nil
}

// searchContacts answers GET /users/search/ with a page of those who meet filters,
// if there is any field__lookup among the parameters, search with min and max, or
// nothing but other fields; for a lookup of e-mails alone with one contact, or with
// many as below. Else it answers with one contact for the first of these parameters
// that is given: email, key, phone_number, user_id or custom_id. Of several contacts with an e-mail or number it is the first in
// the Reader's order; all of them (up to 100) are a bare array with many=true,
// and in version 2 a page for a phone number (contract, section 4). Nobody is a
// 404, with many and in a page too.
func (s *Server) searchContacts(r *request) error {
	ctx, w, q := r.Request().Context(), r.workspace.ID, r.QueryParams()
	var found []*gateway.ContactView
	var one *gateway.ContactView
	var asPage bool
	var err error
	switch {
	case hasLookup(q):
		where, err := s.filters(r, gateway.EntityContact)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(where, func(c gateway.Condition) bool { return c.Field != "email" }) {
			return s.listContacts(r, where)
		}
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		if found, err = s.reader.FindContacts(ctx, w, gateway.Query{Where: where, Limit: maxLimit}); err != nil {
			return err
		}
	case q.Has("email"):
		if _, key, ok := gateway.NormalizeEmail(searchedEmail(q.Get("email"))); ok {
			found, err = s.reader.ContactsByEmail(ctx, w, key, maxLimit)
		}
	case q.Has("key"):
		if key := storable(strings.Trim(q.Get("key"), " /")); key != "" {
			one, err = s.reader.ContactByKey(ctx, w, key)
		}
	case q.Has("phone_number"):
		asPage = r.version == v2
		if phone, _, ok := gateway.NormalizePhone(searchedPhone(q.Get("phone_number"))); ok {
			found, err = s.reader.ContactsByPhone(ctx, w, phone, maxLimit)
		}
	case q.Has("user_id"):
		one, err = s.contactByCustomID(ctx, w, storable(q.Get("user_id")))
	case q.Has("custom_id"):
		one, err = s.contactByCustomID(ctx, w, storable(q.Get("custom_id")))
	default:
		where, err := s.filters(r, gateway.EntityContact)
		if err != nil {
			return err
		}
		if len(where) == 0 {
			return gateway.Errorf(gateway.CodeInvalid, "One of email, key, phone_number, user_id and custom_id is required.")
		}
		return s.listContacts(r, where)
	}
	if err != nil {
		return err
	}
	if one != nil {
		found = []*gateway.ContactView{one}
	}
	if len(found) == 0 {
		return errNotFound
	}
	many, _ := strconv.ParseBool(q.Get("many"))
	if !many && !asPage {
		return s.writeContact(r, found[0])
	}
	shapes, err := s.contactShapes(r, found)
	if err != nil {
		return err
	}
	if many {
		return writeJSON(r, http.StatusOK, shapes)
	}
	return writeJSON(r, http.StatusOK, page{Count: int64(len(shapes)), Results: shapes})
}

// hasLookup reports whether a parameter is more than the name of a field.
func hasLookup(q url.Values) bool {
	for name := range q {
		if strings.Contains(name, "__") || name == "search" || name == "min" || name == "max" {
			return true
		}
	}
	return false
}

// searchContactsByID answers GET /users-by-id/search/?user_id=, which old
// clients call; without a parameter of the search, "search" is a custom id.
func (s *Server) searchContactsByID(r *request) error {
	q := r.QueryParams()
	if hasLookup(q) || slices.ContainsFunc([]string{"email", "key", "phone_number", "user_id", "custom_id"}, q.Has) {
		return s.searchContacts(r)
	}
	v, err := s.contactByCustomID(r.Request().Context(), r.workspace.ID, "search")
	if err != nil {
		return err
	}
	return s.writeContact(r, v)
}

// searchedEmail puts right what clients that build the query by hand do to an
// address: a plus that came as a space, a slash behind it.
func searchedEmail(s string) string {
	s = strings.TrimRight(strings.TrimSpace(storable(s)), "/")
	return strings.ReplaceAll(s, " ", "+")
}

// searchedPhone is searchedEmail for a number: only its first plus has a
// meaning, other spaces are the number's own.
func searchedPhone(s string) string {
	s = strings.TrimRight(storable(s), " /")
	if digits := strings.TrimLeft(s, " "); digits != s {
		return "+" + strings.TrimLeft(digits, "+")
	}
	return s
}

// writeHistory answers with the page of a bounded list that ?page= and ?limit=
// name: of one that is short enough to be read whole.
func (s *Server) writeHistory(r *request, all []any) error {
	limit, err := r.limit()
	if err != nil {
		return err
	}
	skip, err := r.skip(limit)
	if err != nil {
		return err
	}
	if skip > 0 && skip >= len(all) {
		return errNotFound
	}
	p := page{Count: int64(len(all)), Results: all[skip:min(skip+limit, len(all))]}
	number := skip/limit + 1
	if skip+limit < len(all) {
		p.Next = s.linkTo(r, "page", strconv.Itoa(number+1))
	}
	if skip > 0 {
		p.Previous = s.linkTo(r, "page", strconv.Itoa(number-1))
	}
	return writeJSON(r, http.StatusOK, p)
}
