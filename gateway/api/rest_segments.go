package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"civgate/gateway"
)

// This file owns segments as clients see them. The vendor's API only reads them; that
// they are made and changed is ours.
//
// Decisions
//
//   - A filter is the query of a list of contacts and is read by the same code, so that
//     whoever can write the one can write the other. One that names no field is refused:
//     it would be everybody.
//   - It is read when it is set, and again whenever it is used, since attributes come
//     and go. One that can no longer be read is told to who asks for the segment's contacts; a
//     contact is in no such segment.

// segmentShape is a segment; filter is ours.
type segmentShape struct {
	ID     gateway.SegmentID `json:"id"`
	Name   string            `json:"name"`
	Filter string            `json:"filter"`
}

func shapeSegment(s gateway.Segment) segmentShape { return segmentShape{s.ID, s.Name, s.Filter} }

// segments answers GET /segments/, newest first.
func (s *Server) segments(r *request) error {
	all, err := s.reader.Segments(r.Request().Context(), r.workspace.ID)
	if err != nil {
		return err
	}
	shapes := make([]any, len(all))
	for i, segment := range all {
		shapes[i] = shapeSegment(segment)
	}
	return s.writeHistory(r, shapes)
}

func (s *Server) findSegment(r *request) (gateway.Segment, error) {
	id, err := r.idInPath()
	if err != nil {
		return gateway.Segment{}, err
	}
	return s.reader.Segment(r.Request().Context(), r.workspace.ID, gateway.SegmentID(id))
}

// segment answers GET /segments/:id/.
func (s *Server) segment(r *request) error {
	segment, err := s.findSegment(r)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shapeSegment(segment))
}

// segmentConditions reads the filter of a segment. A CodeInvalid is of the field
// filter.
func segmentConditions(filter string, types attributeTypes) ([]gateway.Condition, error) {
	q, err := url.ParseQuery(strings.TrimPrefix(filter, "?"))
	if err != nil {
		return nil, &gateway.Error{Code: gateway.CodeInvalid, Field: "filter", Message: "This is no query, such as status=user&score__gt=5.", Err: err}
	}
	where, err := readFilters(q, gateway.EntityContact, types)
	var e *gateway.Error
	switch {
	case errors.As(err, &e) && e.Code == gateway.CodeInvalid:
		message := e.Message
		if e.Field != "" {
			message = e.Field + ": " + message
		}
		return nil, invalid("filter", message)
	case err != nil:
		return nil, err
	case len(where) == 0:
		return nil, invalid("filter", "There is no field in it.")
	}
	return where, nil
}

// contactsOfSegment answers GET /segments/:id/users/ with those in the segment who meet
// the filters in the parameters too.
func (s *Server) contactsOfSegment(r *request) error {
	segment, err := s.findSegment(r)
	if err != nil {
		return err
	}
	where, err := segmentConditions(segment.Filter, s.attributeTypes(r, gateway.EntityContact))
	if err != nil {
		return err
	}
	return s.listContactsWho(r, where)
}

// segmentsOf answers GET …/:id/segments/ with the segments that a contact is in.
func (s *Server) segmentsOf(find findContact) restHandler {
	return func(r *request) error {
		v, err := find(r)
		if err != nil {
			return err
		}
		all, err := s.reader.Segments(r.Request().Context(), r.workspace.ID)
		if err != nil {
			return err
		}
		types := s.attributeTypes(r, gateway.EntityContact)
		var readable []gateway.Segment
		var filters [][]gateway.Condition
		for _, segment := range all {
			where, err := segmentConditions(segment.Filter, types)
			if gateway.CodeOf(err) == gateway.CodeInvalid {
				continue
			}
			if err != nil {
				return err
			}
			readable, filters = append(readable, segment), append(filters, where)
		}
		ctx, cancel := context.WithTimeout(r.Request().Context(), queryTimeout)
		defer cancel()
		met, err := s.reader.Meets(ctx, r.workspace.ID, v.Contact.ID, filters)
		if err != nil {
			return err
		}
		shapes := []any{}
		for i, segment := range readable {
			if met[i] {
				shapes = append(shapes, shapeSegment(segment))
			}
		}
		return s.writeHistory(r, shapes)
	}
}

// segmentPatch reads the body of a segment, its filter included.
func (s *Server) segmentPatch(r *request, made bool) (p gateway.SegmentPatch, err error) {
	f, err := r.fields()
	if err != nil {
		return p, err
	}
	var wrong [2]error
	p.Name, wrong[0] = f.needed("name", gateway.MaxName, made)
	if p.Filter, wrong[1] = f.needed("filter", gateway.MaxSegmentFilter, made); p.Filter != nil && wrong[1] == nil {
		_, wrong[1] = segmentConditions(*p.Filter, s.attributeTypes(r, gateway.EntityContact))
	}
	return p, allOf(wrong[:]...)
}

// createSegment answers POST /segments/.
func (s *Server) createSegment(r *request) (operation, error) {
	patch, err := s.segmentPatch(r, true)
	return func(e *gateway.Editor) (answer, error) {
		segment, err := e.CreateSegment(patch)
		return answer{status: http.StatusCreated, body: shapeSegment(segment)}, err
	}, err
}

// updateSegment answers PUT and PATCH of /segments/:id/.
func (s *Server) updateSegment(r *request) (operation, error) {
	id, err := r.idInPath()
	if err != nil {
		return nil, err
	}
	patch, err := s.segmentPatch(r, false)
	return func(e *gateway.Editor) (answer, error) {
		segment, err := e.UpdateSegment(gateway.SegmentID(id), patch)
		return answer{status: http.StatusOK, body: shapeSegment(segment)}, err
	}, err
}

// deleteSegment answers DELETE /segments/:id/.
func deleteSegment(r *request) (operation, error) {
	id, err := r.idInPath()
	return func(e *gateway.Editor) (answer, error) {
		return answer{status: http.StatusNoContent}, e.DeleteSegment(gateway.SegmentID(id))
	}, err
}
