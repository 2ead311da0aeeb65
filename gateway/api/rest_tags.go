package api

import (
	"net/http"
	"slices"
	"strings"

	"civgate/gateway"
)

// This file owns the tags of a workspace: their list, and who has one (contract,
// section 4). Which tags a contact or company has is changed where these are.
//
// Decisions
//
//   - Making a tag that there is answers with it, as add_tag does: who makes one wants
//     there to be one.
//   - Who has a tag is a filtered list, and may be filtered further.

// tagShape is a tag as the vendor shows it, in a list and by itself.
func tagShape(t gateway.Tag) any { return tag{ID: &t.ID, Name: t.Name} }

func tagID(t gateway.Tag) int64 { return int64(t.ID) }

// listAllTags answers GET /tags/, newest first.
func (s *Server) listAllTags(r *request) error {
	ctx := r.Request().Context()
	k := keyset[gateway.Tag]{list: listTags, id: tagID, before: func(before int64, limit int) ([]gateway.Tag, error) {
		return s.reader.Tags(ctx, r.workspace.ID, gateway.TagID(before), limit)
	}}
	rows, p, err := k.read(s, r)
	if err != nil {
		return err
	}
	if p.Count, err = s.reader.CountTags(ctx, r.workspace.ID); err != nil {
		return err
	}
	p.Results = make([]any, len(rows))
	for i, t := range rows {
		p.Results[i] = tagShape(t)
	}
	return writeJSON(r, http.StatusOK, p)
}

// pathTag is the id of a tag in the path.
func (r *request) pathTag() (gateway.TagID, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	return gateway.TagID(id), err
}

// findTag finds the tag that the request's path names.
func (s *Server) findTag(r *request) (gateway.Tag, error) {
	id, err := r.pathTag()
	if err != nil {
		return gateway.Tag{}, err
	}
	return s.reader.Tag(r.Request().Context(), r.workspace.ID, id)
}

// showTag answers GET /tags/:id/.
func (s *Server) showTag(r *request) error {
	t, err := s.findTag(r)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, tagShape(t))
}

// taggedBy are the conditions for those who have the tag of the path and meet the
// filters in the parameters.
func (s *Server) taggedBy(r *request, of gateway.Entity) ([]gateway.Condition, error) {
	t, err := s.findTag(r)
	if err != nil {
		return nil, err
	}
	where, err := s.filters(r, of)
	return slices.Insert(where, 0, gateway.Condition{Field: "tags", Value: gateway.TextValue(t.Name)}), err
}

// taggedContacts answers GET /tags/:id/users/, newest first.
func (s *Server) taggedContacts(r *request) error {
	where, err := s.taggedBy(r, gateway.EntityContact)
	if err != nil {
		return err
	}
	return s.listContacts(r, where)
}

// taggedCompanies answers GET /tags/:id/companies/, newest first.
func (s *Server) taggedCompanies(r *request) error {
	where, err := s.taggedBy(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	return s.listCompanies(r, where)
}

// createTag answers POST /tags/: 201 with a new tag, 200 with one that there is.
func createTag(r *request) (operation, error) {
	name, err := r.tagName()
	return func(e *gateway.Editor) (answer, error) {
		id, created, err := e.AddTag(name)
		status := http.StatusOK
		if created {
			status = http.StatusCreated
		}
		return answer{status: status, body: tag{ID: &id, Name: name}}, err
	}, err
}

// deleteTag answers DELETE /tags/:id/: the tag is taken from everyone.
func deleteTag(r *request) (operation, error) {
	id, err := r.pathTag()
	return func(e *gateway.Editor) (answer, error) {
		return answer{status: http.StatusNoContent}, e.DeleteTag(id)
	}, err
}

// tagResources are the routes of tags.
func (s *Server) tagResources() []resource {
	return []resource{
		{"/tags", methods{get: s.listAllTags, post: createTag}},
		{"/tags/:id", methods{get: s.showTag, del: deleteTag}},
		{"/tags/:id/users", methods{get: s.taggedContacts}},
		{"/tags/:id/companies", methods{get: s.taggedCompanies}},
	}
}

// tag is a tag of a contact or a company. One that was deleted while they were read
// has no id, nor has what can't be a name (gateway.IsTagName).
type tag struct {
	ID   *gateway.TagID `json:"id"`
	Name string         `json:"name"`
}

// readTags reads the ids of the tags that bags have: those of a page are shown
// together. Who has none costs nothing.
func (sh *shaper) readTags(s *Server, r *request, bags func(yield func(gateway.Attributes) bool)) (err error) {
	var names []string
	for bag := range bags {
		if v, ok := bag.Get("tags"); ok {
			names = append(names, gateway.TagNames(v)...)
		}
	}
	sh.tags = nil
	if len(names) > 0 {
		sh.tags, err = s.reader.TagIDs(r.Request().Context(), r.workspace.ID, names)
	}
	return err
}

func (sh *shaper) readContactTags(s *Server, r *request, views []*gateway.ContactView) error {
	return sh.readTags(s, r, func(yield func(gateway.Attributes) bool) {
		for _, v := range views {
			if !yield(v.Attributes) {
				return
			}
		}
	})
}

func (sh *shaper) readCompanyTags(s *Server, r *request, views []*gateway.CompanyView) error {
	return sh.readTags(s, r, func(yield func(gateway.Attributes) bool) {
		for _, v := range views {
			if !yield(v.Attributes) {
				return
			}
		}
	})
}
