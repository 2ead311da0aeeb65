package api

import (
	"net/http"
	"slices"
	"strings"

	"civgate/gateway"
)

// This file owns products and deals in the REST API. What contacts do with products
// is in rest_events.go.
//
// Decisions
//
//   - The attributes lie flat in both versions. The own id of a product is product_id
//     in version 1, that of a deal custom_id in both, as clients have it.
//   - These lists have no filters, and as one that is ignored would answer with all
//     there is, asking for one is a 400. count is counted in an index, which costs a
//     page of the list as much time as there are records.

// recordRef names a record in an answer.
type recordRef struct {
	entity gateway.Entity
	id     gateway.RecordID
}

// recordKind is how products, or deals, are served.
type recordKind struct {
	entity gateway.Entity
	list   list
	*kind[gateway.RecordID, gateway.RecordPatch]
}

func newRecordKind(entity gateway.Entity, l list, ownID map[version]string) *recordKind {
	return &recordKind{entity, l, &kind[gateway.RecordID, gateway.RecordPatch]{
		ownID: ownID,
		parse: gateway.ParseRecordPatch(entity),
		empty: func(p *gateway.RecordPatch) bool {
			return p.CustomID == nil && p.Name == nil && len(p.Attributes) == 0
		},
		check: func(p *gateway.RecordPatch) error {
			// As of companies: it needs something to be told from others by.
			if (p.Name == nil || *p.Name == "") && (p.CustomID == nil || *p.CustomID == "") {
				return invalid("name", textRequired)
			}
			return nil
		},
		upsert: func(p *gateway.RecordPatch) *string { return p.CustomID },
		byOwnID: func(e *gateway.Editor, id string) (gateway.RecordID, error) {
			return e.RecordByCustomID(gateway.RecordKey{Entity: entity, CustomID: id})
		},
		create: func(e *gateway.Editor, p gateway.RecordPatch) (gateway.RecordID, error) {
			return e.CreateRecord(entity, p)
		},
		update: func(e *gateway.Editor, id gateway.RecordID, p gateway.RecordPatch) error {
			return e.UpdateRecord(entity, id, p)
		},
		delete: func(e *gateway.Editor, id gateway.RecordID) error { return e.DeleteRecord(entity, id) },
		answer: func(status int, id gateway.RecordID) answer {
			return answer{status: status, record: recordRef{entity, id}}
		},
	}}
}

var (
	theProducts = newRecordKind(gateway.EntityProduct, listProducts, map[version]string{v1: "product_id", v2: "custom_id"})
	theDeals    = newRecordKind(gateway.EntityDeal, listDeals, map[version]string{v1: "custom_id", v2: "custom_id"})
)

// recordResources are the routes of products and deals.
func (s *Server) recordResources() []resource {
	return slices.Concat(
		theProducts.resources(s, "/products"),
		[]resource{
			{"/products/:id/product_event", methods{post: createProductEvent}},
			{"/products-by-id/:id/product_event", methods{post: createProductEventByCustomID}},
		},
		theDeals.resources(s, "/deals"))
}

func (k *recordKind) resources(s *Server, path string) []resource {
	byID, byCustomID := k.updateOne(k.targetByID), k.updateOne(k.targetByCustomID)
	return []resource{
		{path, methods{get: k.listAll(s), post: k.createOne}},
		{path + "/update_or_create", methods{post: k.updateOrCreate}},
		{path + "/:id", methods{get: k.readByID(s), put: byID, patch: byID, del: k.deleteOne(k.targetByID)}},
		{path + "-by-id/:id", methods{get: k.readByCustomID(s), put: byCustomID, patch: byCustomID, del: k.deleteOne(k.targetByCustomID)}},
	}
}

func (k *recordKind) targetByID(r *request, e *gateway.Editor) (gateway.RecordID, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return 0, err
	}
	return e.Record(k.entity, gateway.RecordID(id))
}

func (k *recordKind) targetByCustomID(r *request, e *gateway.Editor) (gateway.RecordID, error) {
	return withoutSlash(r.pathID(), func(id string) (gateway.RecordID, error) { return k.byOwnID(e, id) })
}

// readByID answers GET …/:id/.
func (k *recordKind) readByID(s *Server) restHandler {
	return func(r *request) error {
		id, err := parseID(strings.TrimRight(r.pathID(), "/"))
		if err != nil {
			return err
		}
		v, err := s.reader.Record(r.Request().Context(), r.workspace.ID, k.entity, gateway.RecordID(id))
		return s.writeRecord(r, v, err)
	}
}

// readByCustomID answers GET …-by-id/:custom_id/.
func (k *recordKind) readByCustomID(s *Server) restHandler {
	return func(r *request) error {
		v, err := withoutSlash(r.pathID(), func(id string) (*gateway.Record, error) {
			if id == "" {
				return nil, errNotFound
			}
			return s.reader.RecordByCustomID(r.Request().Context(), r.workspace.ID, gateway.RecordKey{Entity: k.entity, CustomID: id})
		})
		return s.writeRecord(r, v, err)
	}
}

func (s *Server) writeRecord(r *request, v *gateway.Record, err error) error {
	if err != nil {
		return err
	}
	shapes, err := s.recordShapes(r, v.Entity, []*gateway.Record{v})
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shapes[0])
}

// listAll answers GET of the list, newest first.
func (k *recordKind) listAll(s *Server) restHandler {
	return func(r *request) error {
		for param := range r.QueryParams() {
			if !slices.Contains(notFilters, param) && gateway.StandardName(param) != "" {
				return invalid(param, "This list has no filters.")
			}
		}
		ctx := r.Request().Context()
		rows, p, err := keyset[*gateway.Record]{
			list: k.list,
			id:   func(v *gateway.Record) int64 { return int64(v.ID) },
			before: func(before int64, limit int) ([]*gateway.Record, error) {
				return s.reader.Records(ctx, r.workspace.ID, k.entity, gateway.RecordID(before), limit)
			},
		}.read(s, r)
		if err != nil {
			return err
		}
		if p.Count, err = s.reader.CountRecords(ctx, r.workspace.ID, k.entity); err != nil {
			return err
		}
		if p.Results, err = s.recordShapes(r, k.entity, rows); err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, p)
	}
}

// recordBag is a product or a deal that is being written.
type recordBag struct {
	bag
	*gateway.Record
}

// recordFields are those of a product or a deal, its attributes behind; productV1 are
// those of a product in version 1.
var (
	recordFields = recordObject("custom_id")
	productV1    = recordObject("product_id")

	recordNames    = recordFields.names()
	productV1Names = productV1.names()
)

func recordObject(customID string) members[*recordBag] {
	return members[*recordBag]{
		{"id", func(w *jsonWriter, r *recordBag) { w.int(int64(r.ID)) }},
		{customID, func(w *jsonWriter, r *recordBag) { w.textOrNull(r.CustomID) }},
		{"name", func(w *jsonWriter, r *recordBag) { w.textOrNull(r.Name) }},
		{"created_at", func(w *jsonWriter, r *recordBag) { w.stamp(r.CreatedAt) }},
		{"updated_at", func(w *jsonWriter, r *recordBag) { w.stamp(r.UpdatedAt) }},
	}
}

// recordShape is a product or a deal as an answer has it.
type recordShape struct {
	sh *shaper
	v  *gateway.Record
}

func (s recordShape) writeTo(w *jsonWriter) {
	r := recordBag{s.sh.bag(s.v.Attributes), s.v}
	if s.v.Entity == gateway.EntityProduct && s.sh.version == v1 {
		productV1.open(w, &r)
		r.rest(w, productV1Names, true)
	} else {
		recordFields.open(w, &r)
		r.rest(w, recordNames, true)
	}
	w.put("}")
}

// MarshalJSON writes what writeTo does, for a record inside of something else.
func (s recordShape) MarshalJSON() ([]byte, error) { return encodeJSON(s) }

func (s *Server) recordShapes(r *request, entity gateway.Entity, records []*gateway.Record) ([]any, error) {
	sh, err := s.shaper(r, entity)
	if err != nil {
		return nil, err
	}
	shapes := make([]any, len(records))
	for i, v := range records {
		shapes[i] = recordShape{sh, v}
	}
	return shapes, nil
}
