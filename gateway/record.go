package gateway

import (
	"slices"
	"strconv"
	"time"
)

// This file owns products and deals: what they are, what a request of the REST API
// or a product event makes of them, and how they are edited.
//
// Decisions
//
//   - Products and deals are one thing, a record: an own id, a name, and attributes,
//     all of them custom. What else the vendor's deals have (stage, value, …) are
//     attributes as they are sent.
//   - A product event changes the product that product_id in its data names, and
//     makes it if there is none: name and all other keys of the data are its words,
//     but event_type, custom_data and what only the gateway writes. What can't be
//     read of them is left out, and the event counts all the same. That of nobody,
//     which is not kept, changes nothing.
//   - A product without an own id is named by its internal one: an event of it has
//     product_internal_id in its data instead of product_id. In the data of other
//     events the key means nothing, since a page could name any product by it.
//   - Deleting a product leaves the events of it, which are the contacts'. Another
//     event of it makes it again.

// RecordID is the id of a product or deal, unique among both.
type RecordID int64

// Record is a product or a deal.
type Record struct {
	ID          RecordID
	WorkspaceID WorkspaceID
	Entity      Entity // EntityProduct or EntityDeal
	CustomID    string // unique in the workspace and the entity; "" if none
	Name        string
	Attributes  Attributes
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// RecordKey names a record inside a workspace.
type RecordKey struct {
	Entity   Entity
	CustomID string
}

// RecordPatch is what a client wants of a record. Nil pointers and missing attributes
// change nothing.
type RecordPatch struct {
	CustomID   *string // "" takes it away
	Name       *string
	Attributes []PayloadAttribute
}

// ParseRecordPatch returns the function that reads what a client wants of a record of
// the entity. Its own id is custom_id, or product_id or deal_id. Errors are those of
// ParseContactPatch.
func ParseRecordPatch(entity Entity) func(fields []Field, v2 bool) (RecordPatch, error) {
	old := string(entity) + "_id"
	return func(fields []Field, v2 bool) (RecordPatch, error) {
		ps := newPatchParser(entity)
		var p RecordPatch
		own := ownID{names: []string{old, "custom_id"}}
		if v2 {
			slices.Reverse(own.names)
		}
		ps.fields(fields, func(name string, t token) bool {
			switch name {
			case old, "custom_id":
				own.add(name, ps.identifier(name, t))
			case "name":
				if s, ok := ps.text(name, t); ok {
					p.Name = &s
				}
			default:
				return false
			}
			return true
		})
		p.CustomID, p.Attributes = own.best(), ps.bag.all()
		return p, ps.err()
	}
}

// keyInternalProduct names, in the data of an event, a product that has no own id.
const keyInternalProduct = "product_internal_id"

// productPayload is what the data of a product event says of the product.
type productPayload struct {
	CustomID   string // "" if it names none
	Name       string // "" if it says none
	Attributes []PayloadAttribute
}

// parseProduct reads the data of a product event, a JSON object or "".
func parseProduct(data string) (p productPayload) {
	if data == "" {
		return p
	}
	var ps parser // its warnings are nobody's: the event was accepted
	b := bag{entity: EntityProduct, names: recordNames}
	for nameTok, value := range members(data) {
		name, f := unquote(nameTok)
		switch name {
		case "product_id":
			p.CustomID, _ = ps.identifier("", name, value)
		case "name":
			p.Name, _ = ps.identifier("", name, value)
		case "event_type", "custom_data", keyInternalProduct:
		default:
			if _, reserved := recordNames.find(name); !reserved {
				ps.attribute(&b, "", name, f, value)
			}
		}
	}
	p.Attributes = b.all()
	return p
}

// productsOf are the products that entries tell of, by their place; nil if they tell
// of none. What has to be loaded for them is added to refs.
func productsOf(entries []*Entry, refs *Refs) map[int]*productPayload {
	var out map[int]*productPayload
	for i, e := range entries {
		if e.Payload.Type != PayloadProduct {
			continue
		}
		p := parseProduct(e.Payload.Data)
		if p.CustomID == "" {
			continue
		}
		if out == nil {
			out = make(map[int]*productPayload)
		}
		out[i] = &p
		refs.RecordKeys = append(refs.RecordKeys, RecordKey{EntityProduct, p.CustomID})
	}
	return out
}

// recordState is a record in a working set.
type recordState struct {
	r       *Record
	isNew   bool
	dirty   bool
	freed   bool // it had another custom id
	deleted bool
}

// recordSet holds the records of a working set. The zero one is empty and ready.
type recordSet struct {
	byID  map[RecordID]*recordState
	byKey map[RecordKey]*recordState
	built []*recordState // new and changed ones
}

// add takes in a record; one that is there stays as it is.
func (s *recordSet) add(r *Record) *recordState {
	if rs := s.byID[r.ID]; rs != nil {
		return rs
	}
	if s.byID == nil {
		s.byID, s.byKey = make(map[RecordID]*recordState), make(map[RecordKey]*recordState)
	}
	rs := &recordState{r: r}
	s.byID[r.ID] = rs
	if r.CustomID != "" {
		s.byKey[RecordKey{r.Entity, r.CustomID}] = rs
	}
	return rs
}

func (s *recordSet) diff(out *Changes) {
	for _, rs := range s.built {
		switch {
		case rs.deleted:
		case rs.isNew:
			out.NewRecords = append(out.NewRecords, rs.r)
		default:
			out.Records = append(out.Records, rs.r)
			if rs.freed {
				out.FreedRecords = append(out.FreedRecords, rs.r.ID)
			}
		}
	}
}

// changed notes that a record is to be written.
func (s *recordSet) changed(rs *recordState, at time.Time) {
	rs.r.UpdatedAt = at
	if !rs.isNew && !rs.dirty {
		rs.dirty = true
		s.built = append(s.built, rs)
	}
}

// addRecord makes a record.
func (ws *workset) addRecord(k RecordKey, at time.Time) (*recordState, error) {
	id, err := ws.tx.NextIDs(IDRecord, 1)
	if err != nil {
		return nil, err
	}
	rs := ws.records.add(&Record{ID: RecordID(id), WorkspaceID: ws.w, Entity: k.Entity, CustomID: k.CustomID, CreatedAt: at, UpdatedAt: at})
	rs.isNew = true
	ws.records.built = append(ws.records.built, rs)
	return rs, nil
}

// applyProduct makes or changes the product that a product event names, which has
// been loaded if there is one.
func (ws *workset) applyProduct(p *productPayload, at time.Time) error {
	if p.CustomID == "" {
		return nil
	}
	k := RecordKey{EntityProduct, p.CustomID}
	rs := ws.records.byKey[k]
	if rs == nil {
		var err error
		if rs, err = ws.addRecord(k, at); err != nil {
			return err
		}
	}
	return ws.tellRecord(rs, p, at)
}

// tellRecord gives a record the words of a product event.
func (ws *workset) tellRecord(rs *recordState, p *productPayload, at time.Time) error {
	changed, err := ws.setAttributes(rs.r.Entity, &rs.r.Attributes, p.Attributes, at)
	if err != nil {
		return err
	}
	if p.Name != "" && p.Name != rs.r.Name {
		rs.r.Name, changed = p.Name, true
	}
	if changed {
		ws.records.changed(rs, at)
	}
	return nil
}

// applyProduct changes the product that the data of an event names.
func (e *Editor) applyProduct(data string) error {
	p := parseProduct(data)
	if p.CustomID == "" {
		return nil
	}
	if err := e.load(Refs{RecordKeys: []RecordKey{{EntityProduct, p.CustomID}}}); err != nil {
		return err
	}
	return e.set.applyProduct(&p, e.at)
}

// AddProductEvent is AddEvent for an event of a product that there is: the product is
// named in its data, whatever product that names.
func (e *Editor) AddProductEvent(contact ContactID, product RecordID, name, data string, at time.Time) (id int64, first bool, err error) {
	rs, err := e.record(EntityProduct, product)
	if err != nil {
		return 0, false, err
	}
	key, value := "product_id", quote(rs.r.CustomID)
	if rs.r.CustomID == "" {
		key, value = keyInternalProduct, strconv.FormatInt(int64(rs.r.ID), 10)
	}
	if data, err = withProduct(key, value, data); err != nil {
		return 0, false, err
	}
	if id, first, err = e.AddEvent(contact, EventProduct, name, data, at); err != nil || rs.r.CustomID != "" {
		return id, first, err
	}
	p := parseProduct(data)
	return id, first, e.set.tellRecord(rs, &p, e.at)
}

// withProduct puts a member before those of data, in the place of what names a product
// there. What is then too large is a CodeInvalid.
func withProduct(key, value, data string) (string, error) {
	b := append(quoteName(nil, key), value...)
	if data != "" {
		for name, v := range members(data) {
			if s, _ := unquote(name); s == "product_id" || s == keyInternalProduct {
				continue
			}
			b = append(append(append(append(b, ','), name.text...), ':'), v.text...)
		}
	}
	b = append(append([]byte{'{'}, b...), '}')
	v, err := ParseValue(b)
	if err != nil {
		return "", &Error{Code: CodeInvalid, Field: "data", Message: err.(*Error).Message}
	}
	return v.Raw, nil
}

func quoteName(dst []byte, name string) []byte { return append(appendQuoted(dst, name), ':') }

// Record returns the id, if the entity has such a record.
func (e *Editor) Record(entity Entity, id RecordID) (RecordID, error) {
	rs, err := e.record(entity, id)
	if err != nil {
		return 0, err
	}
	return rs.r.ID, nil
}

// RecordByCustomID returns the record that has the custom id.
func (e *Editor) RecordByCustomID(k RecordKey) (RecordID, error) {
	if k.CustomID == "" {
		return 0, notThere(string(k.Entity))
	}
	if err := e.load(Refs{RecordKeys: []RecordKey{k}}); err != nil {
		return 0, err
	}
	if rs := e.set.records.byKey[k]; rs != nil {
		return rs.r.ID, nil
	}
	return 0, notThere(string(k.Entity))
}

// CreateRecord makes a record.
func (e *Editor) CreateRecord(entity Entity, p RecordPatch) (RecordID, error) {
	if p.CustomID != nil {
		if err := e.freeRecordKey(RecordKey{entity, *p.CustomID}); err != nil {
			return 0, err // before an id is taken
		}
	}
	rs, err := e.set.addRecord(RecordKey{Entity: entity}, e.at)
	if err != nil {
		return 0, err
	}
	return rs.r.ID, e.patchRecord(rs, p)
}

// UpdateRecord changes a record.
func (e *Editor) UpdateRecord(entity Entity, id RecordID, p RecordPatch) error {
	rs, err := e.record(entity, id)
	if err != nil {
		return err
	}
	return e.patchRecord(rs, p)
}

func (e *Editor) patchRecord(rs *recordState, p RecordPatch) error {
	if p.CustomID != nil && *p.CustomID != rs.r.CustomID {
		if err := e.setRecordID(rs, *p.CustomID); err != nil {
			return err
		}
	}
	if p.Name != nil {
		rs.r.Name = *p.Name
	}
	if err := e.setAttributes(rs.r.Entity, &rs.r.Attributes, p.Attributes, true); err != nil {
		return err
	}
	e.set.records.changed(rs, e.at)
	return nil
}

func (e *Editor) setRecordID(rs *recordState, id string) error {
	k := RecordKey{rs.r.Entity, id}
	if err := e.freeRecordKey(k); err != nil {
		return err
	}
	byKey := e.set.records.byKey
	if id != "" {
		byKey[k] = rs
	}
	if old := rs.r.CustomID; old != "" {
		delete(byKey, RecordKey{k.Entity, old})
		rs.freed = !rs.isNew
	}
	rs.r.CustomID = id
	return nil
}

// freeRecordKey is nil if a record may have the own id, or none.
func (e *Editor) freeRecordKey(k RecordKey) error {
	if k.CustomID == "" {
		return nil
	}
	if err := validCustomID(k.CustomID, "custom_id"); err != nil {
		return err
	}
	if err := e.load(Refs{RecordKeys: []RecordKey{k}}); err != nil {
		return err
	}
	if e.set.records.byKey[k] != nil {
		return &Error{Code: CodeInvalid, Field: "custom_id", Message: "A " + string(k.Entity) + " with this id already exists."}
	}
	return nil
}

// DeleteRecord deletes a record.
func (e *Editor) DeleteRecord(entity Entity, id RecordID) error {
	rs, err := e.record(entity, id)
	if err != nil {
		return err
	}
	rs.deleted = true
	if !rs.isNew {
		e.deletedRecords = append(e.deletedRecords, id)
	}
	delete(e.set.records.byKey, RecordKey{entity, rs.r.CustomID})
	return nil
}

func (e *Editor) record(entity Entity, id RecordID) (*recordState, error) {
	if e.set.records.byID[id] == nil {
		if err := e.load(Refs{RecordIDs: []RecordID{id}}); err != nil {
			return nil, err
		}
	}
	if rs := e.set.records.byID[id]; rs != nil && rs.r.Entity == entity && !rs.deleted {
		return rs, nil
	}
	return nil, notThere(string(entity))
}
