package gateway

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Author is by which door edits come, and through whom.
type Author struct {
	Source Source // kept with the memberships that are made
	By     string // the token or agent, for the journal; "" if nobody in particular
}

// Edit runs fn in one write transaction of the workspace and commits what it did
// durably when fn returns nil; on an error nothing of it remains. fn may run
// again from the start, so all that it keeps it must keep anew each time. After
// Edit, every cache knows that the contacts have changed.
//
// Its errors are fn's, and *Error with CodeUnavailable while the store can't.
func (g *Gateway) Edit(ctx context.Context, w *Workspace, author Author, fn func(e *Editor) error) error {
	for try := 1; ; try++ {
		err := g.edit(ctx, w, author, fn)
		if CodeOf(err) != CodeConflict || try == maxConflicts || ctx.Err() != nil {
			return err
		}
		g.defs.Delete(w.ID) // what is in the way is newer than what is known here
	}
}

func (g *Gateway) edit(ctx context.Context, w *Workspace, author Author, fn func(e *Editor) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic while editing: %v\n%s", r, debug.Stack())
		}
	}()
	// Not beside a batch: what one remembers after its commit must not be older
	// than what the other forgets.
	g.applying.Lock()
	defer g.applying.Unlock()
	if now, err := g.workspaces.byWorkspaceID(ctx, w.ID); err == nil {
		w = now // the caller's may be older than a setting that somebody has just changed
	} else if !IsNotFound(err) {
		return err
	}
	rule := g.assignRule(w)
	defs, err := g.attributeDefs(ctx, w.ID)
	if err != nil {
		return err
	}
	var e *Editor
	err = g.store.Update(ctx, func(tx Tx) error {
		e = &Editor{ctx: ctx, g: g, tx: tx, w: w, rule: rule, author: author, at: g.clock(), defs: defs, newDefs: make(map[DefKey]*AttributeDef)}
		e.set = newWorkset(tx, w, rule, defs, 4)
		if err := fn(e); err != nil {
			return err
		}
		return e.Flush()
	})
	if e != nil {
		// After an error too: the answer of a commit that went through may be lost.
		if ids := append(e.stale, e.affected()...); len(ids) > 0 {
			g.cache.Forget(context.WithoutCancel(ctx), w.ID, ids)
		}
	}
	if err != nil {
		return err
	}
	if e.dropped {
		g.defs.Delete(w.ID)
	} else {
		g.publishDefs(w.ID, defs, e.newDefs)
	}
	if e.resettled {
		g.workspaces.drop(w.ID)
	}
	if len(e.started) > 0 {
		g.jobs.start(e.started)
	}
	g.announce()
	return nil
}

// Flush writes what the edit has changed so far. It is committed with the edit, and
// not without it. Whoever does very many things in one edit flushes after each, so that none
// has to look through all before it.
func (e *Editor) Flush() error {
	if err := e.g.defsStillNew(e.tx, e.w.ID, e.set.newDefs); err != nil {
		return err
	}
	if !e.set.loaded {
		if err := e.load(Refs{}); err != nil {
			return err
		}
	}
	staff, err := e.g.staff(e.ctx, e.w.ID, e.deletedCompanies)
	if err != nil {
		return err
	}
	e.stale = append(append(e.stale, e.affected()...), staff...)
	if err := e.tx.Save(e.w.ID, e.changes()); err != nil {
		return fmt.Errorf("save an edit: %w", err)
	}
	if len(e.set.newDefs) > 0 {
		maps.Copy(e.newDefs, e.set.newDefs)
		e.defs.set = maps.Clone(e.defs.set)
		maps.Copy(e.defs.set, e.set.newDefs)
	}
	e.set = newWorkset(e.tx, e.w, e.rule, e.defs, 4)
	e.deletedContacts, e.deletedCompanies, e.deletedRecords = nil, nil, nil
	return nil
}

// staff are the stored employees of companies, whom a payload that says what it
// said before may have to make employees again.
func (g *Gateway) staff(ctx context.Context, w WorkspaceID, companies []CompanyID) (ids []ContactID, err error) {
	const page = 1000
	for _, id := range companies {
		q := MemberQuery{Limit: page}
		for {
			members, err := g.store.Members(ctx, w, id, q)
			if IsNotFound(err) {
				break // it was made by the same edit
			}
			if err != nil {
				return nil, fmt.Errorf("list the employees of a company: %w", err)
			}
			for i := range members {
				ids = append(ids, members[i].ContactID)
			}
			if len(members) < page {
				break
			}
			last := &members[len(members)-1]
			q.BeforeSince, q.BeforeContact = last.Since, last.ContactID
		}
	}
	return ids, nil
}

// Editor changes one workspace within an Edit: it is how every door but the
// widget writes. It finds what it is asked about in the store and in what it has
// changed itself. It is not safe for concurrent use, and of no use after fn.
//
// What is wrong with the caller's input is an *Error of CodeInvalid that names
// the field; what does not exist is CodeNotFound. After any error the
// transaction must not be committed: fn returns it.
type Editor struct {
	ctx    context.Context // of the edit, for what it reads outside of its transaction
	g      *Gateway
	tx     Tx
	w      *Workspace
	rule   *AssignRule // nil: see workset
	author Author
	at     time.Time

	// What is not written yet.
	set              *workset
	deletedContacts  []ContactID
	deletedCompanies []CompanyID
	deletedRecords   []RecordID

	// What is written, but not committed.
	defs    definitions              // those before the edit, and newDefs
	newDefs map[DefKey]*AttributeDef // of the edit
	dropped bool                     // an attribute was, or was changed: the definitions are read anew
	stale   []ContactID              // see affected, and staff
	// resettled says that settings have changed.
	resettled bool
	started   []Job
}

// Now is the time of the edit, as it is stored.
func (e *Editor) Now() time.Time { return e.at }

// ContactPatch is what a client wants of a contact. Nil pointers and missing
// attributes change nothing.
type ContactPatch struct {
	CustomID *string // "" takes it away
	Email    *string // as sent; "" takes it away
	// Key makes a visitor key the contact's; "" changes nothing.
	Key string
	// Attributes are set; null clears one. Tags are set too, but with KeepTags they
	// are added to those that are there.
	Attributes []PayloadAttribute
	KeepTags   bool
	// Companies make the contact an employee; they must exist.
	Companies []CompanyRef
}

// CompanyPatch is what a client wants of a company.
type CompanyPatch struct {
	CustomID   *string // "" takes it away
	Name       *string
	Attributes []PayloadAttribute
	KeepTags   bool
}

// CompanyRef names a company by either of its ids.
type CompanyRef struct {
	ID       CompanyID // counts if it is not 0
	CustomID string
	Field    string // the field of the input that named it, for the error
}

// Contact returns the id of the contact, or of the one that it was merged into.
func (e *Editor) Contact(id ContactID) (ContactID, error) {
	cs, err := e.contact(id)
	if err != nil {
		return 0, err
	}
	return cs.c.ID, nil
}

// ContactByCustomID returns the contact that has the custom id.
func (e *Editor) ContactByCustomID(customID string) (ContactID, error) {
	if customID == "" {
		return 0, notThere("contact")
	}
	if err := e.load(Refs{CustomIDs: []string{customID}}); err != nil {
		return 0, err
	}
	if cs := e.set.byCustomID[customID]; cs != nil {
		return cs.c.ID, nil
	}
	return 0, notThere("contact")
}

// ContactByKey returns the contact that has the visitor key.
func (e *Editor) ContactByKey(key string) (ContactID, error) {
	if key == "" {
		return 0, notThere("contact")
	}
	if err := e.load(Refs{Keys: []string{key}}); err != nil {
		return 0, err
	}
	if cs := e.set.current(key); cs != nil && !cs.deleted {
		return cs.c.ID, nil
	}
	return 0, notThere("contact")
}

// CreateContact makes a contact.
func (e *Editor) CreateContact(p ContactPatch) (ContactID, error) {
	id, err := e.tx.NextIDs(IDContact, 1)
	if err != nil {
		return 0, err
	}
	cs := &contactState{isNew: true, c: &Contact{ID: ContactID(id), WorkspaceID: e.set.w, CreatedAt: e.at}}
	e.set.contacts[cs.c.ID] = cs
	if err := e.patchContact(cs, p); err != nil {
		return 0, err
	}
	// Without a key there would be no link that leads a browser to the contact.
	if _, err := e.set.attachKey(cs, "", e.at); err != nil {
		return 0, err
	}
	return cs.c.ID, nil
}

// UpdateContact changes a contact.
func (e *Editor) UpdateContact(id ContactID, p ContactPatch) error {
	cs, err := e.contact(id)
	if err != nil {
		return err
	}
	return e.patchContact(cs, p)
}

func (e *Editor) patchContact(cs *contactState, p ContactPatch) error {
	emailWas := cs.c.EmailKey
	if p.CustomID != nil && *p.CustomID != cs.c.CustomID {
		if err := e.setCustomID(cs, *p.CustomID); err != nil {
			return err
		}
	}
	if p.Email != nil && *p.Email == "" {
		e.set.setEmail(cs, "", "")
	} else if p.Email != nil {
		email, key, ok := NormalizeEmail(*p.Email)
		if !ok {
			return &Error{Code: CodeInvalid, Field: "email", Message: "Enter a valid email address."}
		}
		e.set.setEmail(cs, email, key)
	}
	if p.Key != "" {
		if err := e.load(Refs{Keys: []string{p.Key}}); err != nil {
			return err
		}
		if _, err := e.set.attachKey(cs, p.Key, e.at); err != nil {
			return err
		}
	}
	before := nameParts(cs.c.Attributes)
	if err := e.setAttributes(EntityContact, &cs.c.Attributes, p.Attributes, p.KeepTags); err != nil {
		return err
	}
	if nameParts(cs.c.Attributes) != before {
		composeName(&cs.c.Attributes, p.Attributes)
	}
	for _, ref := range p.Companies {
		co, err := e.companyOf(ref)
		if err != nil {
			return err
		}
		if err := e.addMember(cs, co); err != nil {
			return err
		}
	}
	if e.set.assign != nil && cs.c.EmailKey != "" && cs.c.EmailKey != emailWas {
		if err := e.load(Refs{CompanyDomains: e.set.assign.candidates(cs.c.EmailKey)}); err != nil {
			return err
		}
	}
	if _, err := e.set.assignByEmail(cs, emailWas, e.at); err != nil {
		return err
	}
	e.touch(cs)
	return nil
}

// setAttributes is workset.setAttributes, but tags are replaced unless they are to
// be kept, and more attributes than there may be are an error.
func (e *Editor) setAttributes(entity Entity, bag *Attributes, in []PayloadAttribute, keepTags bool) error {
	fresh := make(map[string]bool)
	for i := range in {
		a := &in[i]
		_, standard := Standard(entity, a.Name)
		if standard && a.Name == attrTags && !keepTags {
			e.set.noteTags(bag, e.at)
			bag.Set(attrTags, Null)
		}
		if standard || a.Value.IsNull() || e.set.def(DefKey{entity, a.Name}) != nil {
			continue
		}
		if fresh[a.Name] = true; e.set.defCount[entity]+len(fresh) > maxCustomAttributes {
			return tooManyAttributes(a.Label)
		}
	}
	_, err := e.set.setAttributes(entity, bag, in, e.at)
	return err
}

func tooManyAttributes(field string) error {
	return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("There can be no more than %d custom attributes.", maxCustomAttributes)}
}

func (e *Editor) setCustomID(cs *contactState, id string) error {
	if id != "" {
		if err := validCustomID(id, "custom_id"); err != nil {
			return err
		}
		if err := e.load(Refs{CustomIDs: []string{id}}); err != nil {
			return err
		}
		if e.set.byCustomID[id] != nil {
			return &Error{Code: CodeInvalid, Field: "custom_id", Message: "A contact with this id already exists."}
		}
		e.set.byCustomID[id] = cs
	}
	delete(e.set.byCustomID, cs.c.CustomID)
	cs.c.CustomID = id
	return nil
}

// maxCustomID is how long a custom id may be, in bytes: that of a payload.
const maxCustomID = MaxID

func validCustomID(id, field string) error {
	switch {
	case len(id) > maxCustomID:
		return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("Ensure this field has no more than %d bytes.", maxCustomID)}
	case !utf8.ValidString(id) || hasControl(id) || strings.TrimSpace(id) != id:
		return &Error{Code: CodeInvalid, Field: field, Message: "An id can't have control characters, or spaces at its ends."}
	}
	return nil
}

// DeleteContact deletes a contact and all that is theirs.
func (e *Editor) DeleteContact(id ContactID) error {
	cs, err := e.contact(id)
	if err != nil {
		return err
	}
	e.deleteContact(cs)
	return nil
}

func (e *Editor) deleteContact(cs *contactState) {
	cs.deleted = true
	if !cs.isNew {
		e.deletedContacts = append(e.deletedContacts, cs.c.ID)
	}
	e.set.setEmail(cs, "", "")
	delete(e.set.byCustomID, cs.c.CustomID)
	cs.c.CustomID = ""
	// Of those that became part of it in this edit the store doesn't know yet.
	for i := range e.set.changed.Merges {
		if m := &e.set.changed.Merges[i]; m.WinnerID == cs.c.ID {
			e.deleteContact(e.set.contacts[m.LoserID])
		}
	}
}

// MergeContacts makes others part of parent, the one with the lowest id first:
// parent keeps its values, and its gaps are filled from them in this order
// (contract, section 2). Each merge is journalled. Who is part of parent
// already, or is parent, is left as it is.
func (e *Editor) MergeContacts(parent ContactID, others []ContactID) error {
	winner, err := e.contact(parent)
	if err != nil {
		return err
	}
	merged := len(e.set.changed.Merges)
	others = slices.Clone(others)
	slices.Sort(others)
	for _, id := range slices.Compact(others) {
		loser, err := e.contact(id)
		if err != nil {
			return err
		}
		if loser == winner {
			continue
		}
		if err := e.set.merge(loser, winner, RuleMergeByHand, e.by(), e.at); err != nil {
			return err
		}
		winner.c.Fingerprint = 0
	}
	// At once: what comes next may change the lists.
	return e.tx.InheritLists(e.set.w, e.set.changed.Merges[merged:])
}

// RuleMergeByHand is in the journal of merges that somebody asked for.
const RuleMergeByHand Rule = "merge_by_hand"

func (e *Editor) by() string { return cmp.Or(e.author.By, string(e.author.Source)) }

// Tags returns the tags of a contact.
func (e *Editor) Tags(id ContactID) ([]string, error) {
	cs, err := e.contact(id)
	if err != nil {
		return nil, err
	}
	return tagsOf(cs.c.Attributes), nil
}

// SetTags replaces the tags of a contact.
func (e *Editor) SetTags(id ContactID, tags []string) error {
	return e.UpdateContact(id, ContactPatch{Attributes: []PayloadAttribute{tagsAttribute(tags)}})
}

// CompanyTags returns the tags of a company.
func (e *Editor) CompanyTags(id CompanyID) ([]string, error) {
	co, err := e.company(id)
	if err != nil {
		return nil, err
	}
	return tagsOf(co.c.Attributes), nil
}

// SetCompanyTags replaces the tags of a company.
func (e *Editor) SetCompanyTags(id CompanyID, tags []string) error {
	return e.UpdateCompany(id, CompanyPatch{Attributes: []PayloadAttribute{tagsAttribute(tags)}})
}

func tagsOf(bag Attributes) []string {
	v, _ := bag.Get(attrTags)
	var tags []string
	for _, item := range Items(v) {
		tags = append(tags, Text(item))
	}
	return tags
}

func tagsAttribute(tags []string) PayloadAttribute {
	v := Null
	if len(tags) > 0 {
		v = ListValue(tags...)
	}
	return PayloadAttribute{Name: attrTags, Label: attrTags, Value: v}
}

// Company returns the id, if there is such a company.
func (e *Editor) Company(id CompanyID) (CompanyID, error) {
	co, err := e.company(id)
	if err != nil {
		return 0, err
	}
	return co.c.ID, nil
}

// CompanyByCustomID returns the company that has the custom id.
func (e *Editor) CompanyByCustomID(customID string) (CompanyID, error) {
	if customID == "" {
		return 0, notThere("company")
	}
	if err := e.load(Refs{CompanyCustomIDs: []string{customID}}); err != nil {
		return 0, err
	}
	if co := e.set.companyIDs[customID]; co != nil {
		return co.c.ID, nil
	}
	return 0, notThere("company")
}

// CreateCompany makes a company.
func (e *Editor) CreateCompany(p CompanyPatch) (CompanyID, error) {
	id, err := e.tx.NextIDs(IDCompany, 1)
	if err != nil {
		return 0, err
	}
	co := e.set.newCompany(&Company{ID: CompanyID(id), WorkspaceID: e.set.w, CreatedAt: e.at, UpdatedAt: e.at})
	if err := e.patchCompany(co, p); err != nil {
		return 0, err
	}
	return co.c.ID, nil
}

// UpdateCompany changes a company.
func (e *Editor) UpdateCompany(id CompanyID, p CompanyPatch) error {
	co, err := e.company(id)
	if err != nil {
		return err
	}
	return e.patchCompany(co, p)
}

func (e *Editor) patchCompany(co *companyState, p CompanyPatch) error {
	if p.CustomID != nil && *p.CustomID != co.c.CustomID {
		if id := *p.CustomID; id != "" {
			if err := validCustomID(id, "custom_id"); err != nil {
				return err
			}
			if err := e.load(Refs{CompanyCustomIDs: []string{id}}); err != nil {
				return err
			}
			if e.set.companyIDs[id] != nil {
				return &Error{Code: CodeInvalid, Field: "custom_id", Message: "A company with this id already exists."}
			}
			e.set.companyIDs[id] = co
		}
		delete(e.set.companyIDs, co.c.CustomID)
		co.c.CustomID = *p.CustomID
	}
	if p.Name != nil {
		co.c.Name = *p.Name
	}
	if err := e.setAttributes(EntityCompany, &co.c.Attributes, p.Attributes, p.KeepTags); err != nil {
		return err
	}
	e.set.noteDomains(co)
	e.touchCompany(co)
	return nil
}

// touchCompany marks a company as changed.
func (e *Editor) touchCompany(co *companyState) {
	co.c.UpdatedAt = e.at
	if !co.isNew && !co.dirty {
		co.dirty = true
		e.set.built = append(e.set.built, co)
	}
}

// DeleteCompany deletes a company with its memberships. A payload that names it makes
// it again, also one that says what it said before.
func (e *Editor) DeleteCompany(id CompanyID) error {
	co, err := e.company(id)
	if err != nil {
		return err
	}
	co.deleted = true
	if !co.isNew {
		e.deletedCompanies = append(e.deletedCompanies, id)
	}
	delete(e.set.companyIDs, co.c.CustomID)
	for _, cs := range e.set.contacts {
		e.leaveDeleted(cs)
	}
	return nil
}

// leaveDeleted takes a contact out of the companies that this edit deletes.
func (e *Editor) leaveDeleted(cs *contactState) {
	n := len(cs.memberships)
	cs.memberships = slices.DeleteFunc(cs.memberships, func(m *memberState) bool {
		co := e.set.companies[m.CompanyID]
		return co != nil && co.deleted
	})
	if len(cs.memberships) < n {
		cs.promote()
	}
}

// AddMember makes a contact an employee of a company. Who is one already stays so,
// since when and by whom they were.
func (e *Editor) AddMember(company CompanyID, contact ContactID) error {
	co, err := e.company(company)
	if err != nil {
		return err
	}
	cs, err := e.contact(contact)
	if err != nil {
		return err
	}
	return e.addMember(cs, co)
}

func (e *Editor) addMember(cs *contactState, co *companyState) error {
	if slices.ContainsFunc(cs.current(), func(m *memberState) bool { return m.CompanyID == co.c.ID }) {
		return nil
	}
	if !e.set.link(cs, co.c.ID, e.author.Source, e.author.By, e.at) {
		return Errorf(CodeInvalid, "The contact has %d companies already, which is as many as there may be.", maxMemberships)
	}
	e.touch(cs)
	return nil
}

// RemoveMember ends a membership, by whatever door it came. Who is no employee is
// none afterwards either.
func (e *Editor) RemoveMember(company CompanyID, contact ContactID) error {
	co, err := e.company(company)
	if err != nil {
		return err
	}
	cs, err := e.contact(contact)
	if err != nil {
		return err
	}
	for _, m := range cs.current() {
		if m.CompanyID != co.c.ID {
			continue
		}
		if m.isNew {
			cs.memberships = slices.DeleteFunc(cs.memberships, func(x *memberState) bool { return x == m })
		} else {
			m.ended, m.Until, m.Primary = true, e.at, false
		}
		cs.promote()
		e.touch(cs)
	}
	return nil
}

// SetPrimaryCompany makes one of a contact's companies the primary one,
// CodeNotFound if they are no employee of it.
func (e *Editor) SetPrimaryCompany(contact ContactID, company CompanyID) error {
	cs, err := e.contact(contact)
	if err != nil {
		return err
	}
	current := cs.current()
	if !slices.ContainsFunc(current, func(m *memberState) bool { return m.CompanyID == company }) {
		return notThere("membership")
	}
	for _, m := range current {
		if primary := m.CompanyID == company; m.Primary != primary {
			m.Primary, m.changed = primary, true
		}
	}
	e.touch(cs)
	return nil
}

// AddEvent records an event of a contact, and returns its id and whether it is the
// first of its kind and name in the workspace. A time that is zero or lies ahead is
// now. A product event changes the product that its data names (see record.go).
func (e *Editor) AddEvent(contact ContactID, kind EventKind, name, data string, at time.Time) (id int64, first bool, err error) {
	cs, err := e.contact(contact)
	if err != nil {
		return 0, false, err
	}
	if cs.isNew {
		if err := e.Flush(); err != nil { // an event is written at once, behind its contact
			return 0, false, err
		}
	}
	if kind == EventProduct {
		if err := e.applyProduct(data); err != nil {
			return 0, false, err
		}
	}
	return e.tx.AddEvent(e.set.w, Event{WorkspaceID: e.set.w, ContactID: cs.c.ID, Kind: kind, Name: name, Data: data, At: e.happened(at)})
}

// AddPageView records a page view, whose contact must be set, and returns it as it is
// stored. What is longer than a browser's may be is cut off, and what is no URL left
// out.
func (e *Editor) AddPageView(v PageView) (PageView, error) {
	cs, err := e.contact(v.ContactID)
	if err != nil {
		return PageView{}, err
	}
	v.WorkspaceID, v.ContactID, v.At = e.set.w, cs.c.ID, e.happened(v.At)
	v.URL, v.Referrer = pageURL(v.URL), pageURL(v.Referrer)
	v.Path, v.Title = cut(cleanText(cmp.Or(v.Path, pathOf(v.URL))), MaxURL), cut(cleanText(v.Title), MaxTitle)
	e.set.changed.PageViews = append(e.set.changed.PageViews, v)
	return v, nil
}

// pageURL is s as far as it may be kept as the URL of a page.
func pageURL(s string) string {
	if s = cut(cleanText(s), MaxURL); isLocation(s) {
		return s
	}
	return ""
}

// happened is when something took place: then, as it is stored, or now if that is
// zero or lies ahead.
func (e *Editor) happened(then time.Time) time.Time {
	if then.IsZero() || then.After(e.at.Add(maxAhead)) {
		return e.at
	}
	return then.UTC().Truncate(time.Microsecond)
}

// DefineAttribute defines a custom attribute as def says; id, name, workspace and time
// are set here. It is a CodeInvalid if the name of its label is taken, by a standard
// attribute too, or is none.
func (e *Editor) DefineAttribute(def AttributeDef) (AttributeDef, error) {
	entity := def.Entity
	name := StandardName(def.Label)
	if name == "" || len(name) > MaxName {
		return AttributeDef{}, &Error{Code: CodeInvalid, Field: "name", Message: "A name needs a letter or a digit."}
	}
	k := DefKey{entity, name}
	if _, known := namesOf(entity).find(name); known || e.set.def(k) != nil {
		return AttributeDef{}, &Error{Code: CodeInvalid, Field: "name", Message: "An attribute with this name already exists."}
	}
	if e.set.defCount[entity] >= maxCustomAttributes {
		return AttributeDef{}, tooManyAttributes("name")
	}
	id, err := e.tx.NextIDs(IDAttribute, 1)
	if err != nil {
		return AttributeDef{}, err
	}
	def.ID, def.WorkspaceID, def.Name, def.CreatedAt = AttributeID(id), e.set.w, name, e.at
	e.set.newDefs[k] = &def
	e.set.defCount[entity]++
	e.set.changed.NewDefs = append(e.set.changed.NewDefs, def)
	return def, e.Audit("attribute.add", "attribute", attributeSubject(&def), map[string]any{"label": def.Label, "type": def.Type.String()})
}

// attributeSubject names an attribute in the audit log.
func attributeSubject(d *AttributeDef) string { return string(d.Entity) + "." + d.Name }

// ChangeAttribute lets fn change how a custom attribute is shown, its label, description
// and whether profiles leave it out, and returns it as it is then; nothing else of it
// changes. Its name, by which payloads and REST know it, stays.
func (e *Editor) ChangeAttribute(id AttributeID, fn func(d *AttributeDef)) (AttributeDef, error) {
	if err := e.Flush(); err != nil {
		return AttributeDef{}, err
	}
	l, err := e.tx.Load(e.w.ID, Refs{Defs: true})
	if err != nil {
		return AttributeDef{}, fmt.Errorf("load the attributes' definitions: %w", err)
	}
	i := slices.IndexFunc(l.Defs, func(d AttributeDef) bool { return d.ID == id })
	if i < 0 {
		return AttributeDef{}, notThere("attribute")
	}
	was, d := l.Defs[i], l.Defs[i]
	fn(&d)
	d.Label, d.Description = strings.TrimSpace(d.Label), strings.TrimSpace(d.Description)
	for _, text := range []struct {
		field, value string
		least, most  int
	}{{"label", d.Label, 1, MaxName}, {"description", d.Description, 0, MaxDescription}} {
		if len(text.value) < text.least || len(text.value) > text.most || !utf8.ValidString(text.value) || hasControl(text.value) {
			return AttributeDef{}, &Error{Code: CodeInvalid, Field: text.field, Message: fmt.Sprintf("Use %d to %d bytes, without control characters.", text.least, text.most)}
		}
	}
	changes := map[string]any{}
	changed(changes, "label", was.Label, d.Label)
	changed(changes, "description", was.Description, d.Description)
	changed(changes, "hidden", was.Hidden, d.Hidden)
	if len(changes) == 0 {
		return was, nil
	}
	was.Label, was.Description, was.Hidden = d.Label, d.Description, d.Hidden
	if err := e.tx.SetAttribute(e.w.ID, was); err != nil {
		return AttributeDef{}, fmt.Errorf("change an attribute: %w", err)
	}
	e.dropped = true
	return was, e.Audit("attribute.set", "attribute", attributeSubject(&was), changes)
}

// MaxDescription is how long the description of an attribute may be, in bytes.
const MaxDescription = 4000

// DropAttribute deletes a custom attribute with its values. It is done at once, for
// all that the workspace has, and the store takes nothing else meanwhile. A payload
// that names it defines it anew, also one that says what it said before. When
// contacts were last changed stays as it is, and so does the journal of merges.
func (e *Editor) DropAttribute(id AttributeID) error {
	if err := e.Flush(); err != nil {
		return err
	}
	// Another process may have defined it, so the store is asked.
	l, err := e.tx.Load(e.w.ID, Refs{Defs: true})
	if err != nil {
		return fmt.Errorf("load the attributes' definitions: %w", err)
	}
	i := slices.IndexFunc(l.Defs, func(d AttributeDef) bool { return d.ID == id })
	if i < 0 {
		return notThere("attribute")
	}
	if err := e.tx.DropAttribute(e.w.ID, l.Defs[i]); err != nil {
		return fmt.Errorf("drop an attribute: %w", err)
	}
	k := DefKey{l.Defs[i].Entity, l.Defs[i].Name}
	delete(e.newDefs, k)
	e.defs.set = maps.Clone(e.defs.set) // it is shared
	delete(e.defs.set, k)
	e.defs.dropped++
	e.dropped = true
	e.set = newWorkset(e.tx, e.w, e.rule, e.defs, 4)
	return e.Audit("attribute.drop", "attribute", attributeSubject(&l.Defs[i]), map[string]any{"label": l.Defs[i].Label, "type": l.Defs[i].Type.String()})
}

// Attribute returns the definition of a custom attribute, and whether there is
// one.
func (e *Editor) Attribute(entity Entity, name string) (AttributeDef, bool) {
	if d := e.set.def(DefKey{entity, name}); d != nil {
		return *d, true
	}
	return AttributeDef{}, false
}

func (e *Editor) load(refs Refs) error {
	if err := e.set.load(refs); err != nil {
		return fmt.Errorf("load what is edited: %w", err)
	}
	if len(e.deletedCompanies) > 0 {
		for _, cs := range e.set.contacts {
			e.leaveDeleted(cs) // the store has them still
		}
	}
	return nil
}

// contact loads the contact with the id, or the one that it was merged into.
func (e *Editor) contact(id ContactID) (*contactState, error) {
	for range maxAliases {
		cs := e.set.contacts[id]
		if cs == nil {
			if err := e.load(Refs{Contacts: []ContactID{id}}); err != nil {
				return nil, err
			}
			if cs = e.set.contacts[id]; cs == nil {
				break
			}
		}
		if cs.deleted {
			break
		}
		if cs.c.MergedInto == 0 {
			return cs, nil
		}
		id = cs.c.MergedInto
	}
	return nil, notThere("contact")
}

// maxAliases is how many merges lead from a contact to the one that stands.
const maxAliases = 1000

func (e *Editor) company(id CompanyID) (*companyState, error) {
	if e.set.companies[id] == nil {
		if err := e.load(Refs{CompanyIDs: []CompanyID{id}}); err != nil {
			return nil, err
		}
	}
	if co := e.set.companies[id]; co != nil && !co.deleted {
		return co, nil
	}
	return nil, notThere("company")
}

func (e *Editor) companyOf(ref CompanyRef) (*companyState, error) {
	id, err := ref.ID, error(nil)
	if id == 0 {
		id, err = e.CompanyByCustomID(ref.CustomID)
	}
	var co *companyState
	if err == nil {
		co, err = e.company(id)
	}
	if IsNotFound(err) {
		return nil, &Error{Code: CodeInvalid, Field: cmp.Or(ref.Field, "company_id"), Message: "There is no company with this id."}
	}
	return co, err
}

// touch marks a contact as changed. No payload says what it is now.
func (e *Editor) touch(cs *contactState) {
	cs.dirty = true
	cs.c.Fingerprint = 0
	cs.c.UpdatedAt = e.at
	e.set.touch(cs)
}

// changes is what is to be saved.
func (e *Editor) changes() *Changes {
	c := e.set.diff()
	c.DeletedContacts, c.DeletedCompanies, c.DeletedRecords = e.deletedContacts, e.deletedCompanies, e.deletedRecords
	return c
}

// affected are the contacts of which caches may know something that is no longer
// true.
func (e *Editor) affected() []ContactID {
	ids := slices.Clone(e.deletedContacts)
	for _, cs := range e.set.touched {
		ids = append(ids, cs.c.ID)
	}
	for _, k := range e.set.moved {
		if k.from != 0 {
			ids = append(ids, k.from) // the key leads elsewhere now
		}
	}
	return ids
}

func notThere(what string) error { return Errorf(CodeNotFound, "there is no such %s", what) }
