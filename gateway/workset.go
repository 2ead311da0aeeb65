package gateway

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxCustomAttributes is how many custom attributes an entity of a workspace
// may have: a page that puts ids into attribute names must not grow the
// definitions without end.
const maxCustomAttributes = 1000

// maxMemberships is how many companies a contact may have at a time: a page
// that makes up a company_id a view must not make its contact ever slower.
const maxMemberships = 1000

// workset is what a batch knows and has changed of one workspace: loaded
// rows, indexed as payloads ask for them, and the difference to write.
// It lives for one transaction and is not safe for concurrent use.
type workset struct {
	tx       Tx
	w        WorkspaceID
	settings Settings

	contacts   map[ContactID]*contactState
	byKey      map[string]ContactID
	byCustomID map[string]*contactState
	byEmail    map[string][]*Contact
	companies  map[CompanyID]*companyState
	companyIDs map[string]*companyState   // by custom id
	nameless   map[string][]*companyState // by name, of those without a custom id
	assign     *AssignRule                // nil: no company by the domain of an e-mail
	byDomain   map[string][]*companyState // those that a domain may find; see companyOfDomain
	records    recordSet
	defs       defSet                   // as it was; shared, never changed
	dropped    int64                    // see Loaded.Dropped: when defs was read
	loaded     bool                     // the store has been asked whether that still holds
	newDefs    map[DefKey]*AttributeDef // seen first by this batch
	defCount   map[Entity]int

	keys map[string]*keyState // brought or moved by this batch
	// tagsWere holds the bags whose tags this batch may have changed.
	tagsWere map[*Attributes]tagsBefore
	changed  Changes // the part that only grows; diff adds the rest
	touched  []*contactState
	built    []*companyState
	moved    []*keyState
	keyless  []ContactID // lost their last key
	trace    *trace      // of the payload that is being applied; nil as a rule
}

type contactState struct {
	c           *Contact
	isNew       bool
	dirty       bool
	touched     bool // is in workset.touched
	deleted     bool
	memberships []*memberState
	gained      []*keyState  // keys that came to it in this batch; some may have left again
	stored      []VisitorKey // keys that it has in the store, oldest first, once hasStored
	hasStored   bool
}

type keyState struct {
	VisitorKey
	isNew bool
	from  ContactID // who has it in the store
}

type memberState struct {
	Membership
	isNew, changed, ended bool
}

type companyState struct {
	c       *Company
	domains []CompanyDomain // by which the store finds it
	isNew   bool
	dirty   bool
	deleted bool
}

// definitions are what is known of a workspace's attributes.
type definitions struct {
	set defSet
	// dropped is how many attributes had been dropped when set was read, or fewer.
	dropped int64
}

// defSet holds the attribute definitions of a workspace. A published one is
// never changed.
type defSet map[DefKey]*AttributeDef

// count returns how many definitions an entity has.
func (s defSet) count(entity Entity) int {
	n := 0
	for k := range s {
		if k.Entity == entity {
			n++
		}
	}
	return n
}

func newWorkset(tx Tx, w *Workspace, rule *AssignRule, defs definitions, sizeHint int) *workset {
	ws := &workset{
		tx: tx, w: w.ID, settings: w.Settings, assign: rule,
		contacts:   make(map[ContactID]*contactState, sizeHint),
		byKey:      make(map[string]ContactID, sizeHint),
		byCustomID: make(map[string]*contactState, sizeHint),
		byEmail:    make(map[string][]*Contact, sizeHint),
		companies:  make(map[CompanyID]*companyState),
		companyIDs: make(map[string]*companyState),
		nameless:   make(map[string][]*companyState),
		defs:       defs.set,
		dropped:    defs.dropped,
		defCount:   make(map[Entity]int, 2),
		newDefs:    make(map[DefKey]*AttributeDef),
		keys:       make(map[string]*keyState),
	}
	for k := range defs.set {
		ws.defCount[k.Entity]++
	}
	return ws
}

// load adds what refs name to the set. What is there already stays as it is:
// it may have been changed since.
func (ws *workset) load(refs Refs) error {
	l, err := ws.tx.Load(ws.w, refs)
	if err != nil {
		return err
	}
	if l.Dropped != ws.dropped {
		return Errorf(CodeConflict, "another process deleted an attribute meanwhile")
	}
	ws.loaded = true
	for _, r := range l.Records {
		ws.records.add(r)
	}
	for _, c := range l.Contacts {
		ws.addContact(c)
	}
	for _, m := range l.Memberships {
		cs := ws.contacts[m.ContactID]
		if cs == nil || slices.ContainsFunc(cs.memberships, func(x *memberState) bool { return x.CompanyID == m.CompanyID }) {
			continue
		}
		cs.memberships = append(cs.memberships, &memberState{Membership: m})
	}
	for k, id := range l.Keys {
		if _, ok := ws.byKey[k]; !ok {
			ws.byKey[k] = id
		}
	}
	for _, c := range l.Companies {
		if ws.companies[c.ID] == nil {
			ws.addCompany(c).domains = CompanyDomains(c)
		}
	}
	for _, d := range l.CompanyDomains {
		ws.findByDomain(d.Domain, ws.companies[d.CompanyID])
	}
	return nil
}

func (ws *workset) addContact(c *Contact) {
	if _, ok := ws.contacts[c.ID]; ok {
		return
	}
	cs := &contactState{c: c}
	ws.contacts[c.ID] = cs
	if c.MergedInto != 0 {
		return
	}
	if c.CustomID != "" {
		ws.byCustomID[c.CustomID] = cs
	}
	if c.EmailKey != "" {
		ws.byEmail[c.EmailKey] = append(ws.byEmail[c.EmailKey], c)
	}
}

func (ws *workset) addCompany(c *Company) *companyState {
	if cs, ok := ws.companies[c.ID]; ok {
		return cs
	}
	cs := &companyState{c: c}
	ws.companies[c.ID] = cs
	if c.CustomID != "" {
		ws.companyIDs[c.CustomID] = cs
	} else if c.Name != "" {
		ws.nameless[c.Name] = append(ws.nameless[c.Name], cs)
	}
	return cs
}

func (ws *workset) def(k DefKey) *AttributeDef {
	if d := ws.defs[k]; d != nil {
		return d
	}
	return ws.newDefs[k]
}

// refsOf adds what must be loaded before p can be applied. rule is nil where no company
// follows from an e-mail.
func refsOf(refs *Refs, p *Payload, rule *AssignRule) {
	if rule != nil && p.EmailKey != "" {
		refs.CompanyDomains = append(refs.CompanyDomains, rule.candidates(p.EmailKey)...)
	}
	if p.Key != "" {
		refs.Keys = append(refs.Keys, p.Key)
	}
	if p.CustomID != "" {
		refs.CustomIDs = append(refs.CustomIDs, p.CustomID)
	} else if p.EmailKey != "" {
		// With a user_id the look-up by e-mail is skipped.
		refs.EmailKeys = append(refs.EmailKeys, p.EmailKey)
	}
	for i := range p.Companies {
		switch c := &p.Companies[i]; {
		case c.CustomID != "":
			refs.CompanyCustomIDs = append(refs.CompanyCustomIDs, c.CustomID)
		case c.Name != "":
			refs.CompanyNames = append(refs.CompanyNames, c.Name)
		}
	}
}

// needsOwnCompanies reports whether p names a company by less than its id, so
// that the companies of its contact have to be known.
func needsOwnCompanies(p *Payload) bool {
	return slices.ContainsFunc(p.Companies, func(c CompanyPayload) bool { return c.CustomID == "" })
}

// loadOwnCompanies loads the companies of all contacts in the set.
func (ws *workset) loadOwnCompanies() error {
	var refs Refs
	for _, cs := range ws.contacts {
		for _, m := range cs.memberships {
			if _, ok := ws.companies[m.CompanyID]; !ok {
				refs.CompanyIDs = append(refs.CompanyIDs, m.CompanyID)
			}
		}
	}
	if len(refs.CompanyIDs) == 0 {
		return nil
	}
	slices.Sort(refs.CompanyIDs)
	refs.CompanyIDs = slices.Compact(refs.CompanyIDs)
	return ws.load(refs)
}

// apply applies one accepted payload and returns its contact, nil when it
// belongs to nobody.
func (ws *workset) apply(e *Entry) (*Contact, error) {
	p := e.Payload
	ids := Identifiers{CustomID: p.CustomID, EmailKey: p.EmailKey}
	if p.Key == "" && ids == (Identifiers{}) {
		if p.Type == PayloadPage {
			ws.changed.Visits++
			ws.changed.VisitsAt = e.At
		}
		return nil, nil
	}
	cur := ws.current(p.Key)
	var f Found
	if cur != nil {
		f.Current = cur.c
	}
	if x := ws.byCustomID[p.CustomID]; x != nil && p.CustomID != "" {
		f.ByCustomID = x.c
	}
	if p.CustomID == "" && p.EmailKey != "" {
		f.ByEmail = BestByEmail(ws.byEmail[p.EmailKey])
	}
	// Without a browser an e-mail is all there is to find the contact again by.
	d := Identify(ids, f, ws.settings.UnifiedIdentification || p.Key == "")

	var cs *contactState
	changed := true
	if d.Contact == nil {
		id, err := ws.tx.NextIDs(IDContact, 1)
		if err != nil {
			return nil, err
		}
		c := &Contact{ID: ContactID(id), WorkspaceID: ws.w, CreatedAt: e.At}
		cs = &contactState{c: c, isNew: true}
		ws.contacts[c.ID] = cs
	} else {
		cs = ws.contacts[d.Contact.ID]
		changed = d.Merge || d.SetCustomID
	}
	if ws.trace != nil {
		ws.trace.begin(d, cur, cs, p.Key)
	}
	if d.Merge {
		if err := ws.merge(cur, cs, d.Rule, string(SourceWidget), e.At); err != nil {
			return nil, err
		}
	}
	if d.SetCustomID {
		cs.c.CustomID = p.CustomID
		ws.byCustomID[p.CustomID] = cs
	}
	emailWas := cs.c.EmailKey
	if d.SetEmail && cs.c.Email != p.Email {
		ws.setEmail(cs, p.Email, p.EmailKey)
		changed = true
	}
	attached, err := ws.attachKey(cs, p.Key, e.At)
	if err != nil {
		return nil, err
	}
	changed = changed || attached
	// A payload whose words were the last to change the contact says nothing
	// new: by definition, so that a cache may know it too.
	fingerprint := p.fingerprint(ws.dropped)
	if cs.c.Fingerprint != fingerprint {
		words, err := ws.applyWords(cs, p, e.At)
		if err != nil {
			return nil, err
		}
		changed = changed || words
	}
	// After the companies that the payload names, so that the first of them is the
	// primary one.
	assigned, err := ws.assignByEmail(cs, emailWas, e.At)
	if err != nil {
		return nil, err
	}
	changed = changed || assigned
	if changed {
		cs.dirty = true
		cs.c.Fingerprint = fingerprint
		cs.c.UpdatedAt = e.At
		if e.IP != "" {
			cs.c.LastIP = e.IP
		}
		ws.touch(cs)
	}
	if ws.trace != nil {
		ws.trace.end(ws, cs, attached)
	}
	ws.addHistory(cs.c.ID, e)
	return cs.c, nil
}

// applyWords applies what p says of the contact and its companies, and reports
// whether that changed anything.
func (ws *workset) applyWords(cs *contactState, p *Payload, at time.Time) (changed bool, err error) {
	if p.EmailNull && cs.c.CustomID != "" && cs.c.EmailKey != "" {
		ws.setEmail(cs, "", "")
		changed = true
	}
	before := nameParts(cs.c.Attributes)
	attrs, err := ws.setAttributes(EntityContact, &cs.c.Attributes, p.Attributes, at)
	if err != nil {
		return false, err
	}
	if attrs && nameParts(cs.c.Attributes) != before {
		composeName(&cs.c.Attributes, p.Attributes)
	}
	companies, err := ws.applyCompanies(cs, p, at)
	return changed || attrs || companies, err
}

func (ws *workset) current(key string) *contactState {
	if key == "" {
		return nil
	}
	return ws.contacts[ws.byKey[key]]
}

func (ws *workset) touch(cs *contactState) {
	if !cs.touched {
		cs.touched = true
		ws.touched = append(ws.touched, cs)
	}
}

func (ws *workset) setEmail(cs *contactState, email, key string) {
	old := cs.c.EmailKey
	cs.c.Email, cs.c.EmailKey = email, key
	if old == key {
		return
	}
	if old != "" {
		ws.byEmail[old] = slices.DeleteFunc(ws.byEmail[old], func(c *Contact) bool { return c == cs.c })
	}
	if key != "" {
		ws.byEmail[key] = append(ws.byEmail[key], cs.c)
	}
}

// attachKey makes key the contact's and reports whether it was not. A contact
// without any key gets one of our own making, so that links with ?__ca__chat=
// can be written for it.
func (ws *workset) attachKey(cs *contactState, key string, at time.Time) (bool, error) {
	if key == "" {
		if cs.c.Key != "" {
			return false, nil
		}
		key = NewVisitorKey()
	}
	owner, known := ws.byKey[key]
	if known && owner == cs.c.ID {
		return false, nil
	}
	ws.giveKey(cs, VisitorKey{Key: key, CreatedAt: at}, !known)
	cs.c.Key = key
	if old := ws.contacts[owner]; known && old != nil && old.c.Key == key {
		// A link with this key would now lead to somebody else.
		newest, err := ws.newestKey(old)
		if err != nil {
			return false, err
		}
		old.c.Key = newest
		if newest == "" {
			// So that the next payload, though unchanged, gets it a key.
			old.c.Fingerprint = 0
			ws.keyless = append(ws.keyless, old.c.ID)
		}
		old.dirty = true
		ws.touch(old)
	}
	return true, nil
}

// giveKey makes k one of the contact's keys. A key keeps the time at which it
// was first seen, whoever has it.
func (ws *workset) giveKey(cs *contactState, k VisitorKey, isNew bool) {
	k.ContactID = cs.c.ID
	from := ws.byKey[k.Key]
	ws.byKey[k.Key] = cs.c.ID
	ks := ws.keys[k.Key]
	if ks == nil {
		ks = &keyState{isNew: isNew, from: from}
		ws.keys[k.Key] = ks
		ws.moved = append(ws.moved, ks)
	} else {
		k.CreatedAt = ks.CreatedAt
	}
	ks.VisitorKey = k
	cs.gained = append(cs.gained, ks)
}

// keyAlphabet is that of the keys that the widget makes (contract, section 1.4).
const keyAlphabet = "abcdefghijklmnopqrstuvwxyz0123456789"

// NewVisitorKey returns a random visitor key of 12 characters, as the widget
// makes them.
func NewVisitorKey() string {
	var b [12]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	for i := range b {
		// 256 is not a multiple of 36: the bias costs a key less than half a bit.
		b[i] = keyAlphabet[int(b[i])%len(keyAlphabet)]
	}
	return string(b[:])
}

// setAttributes puts a payload's attributes into a bag, converted to their
// types, defining those that are new. What can't be converted is left out (the
// sender was warned on acceptance).
func (ws *workset) setAttributes(entity Entity, bag *Attributes, in []PayloadAttribute, at time.Time) (changed bool, err error) {
	if len(*bag) == 0 && len(in) > 0 {
		*bag = make(Attributes, 0, len(in)+1)
	}
	for i := range in {
		a := &in[i]
		v := a.Value
		_, standard := Standard(entity, a.Name)
		if standard && a.Name == attrTags {
			ws.noteTags(bag, at)
		}
		if standard && a.Name == attrTags && !v.IsNull() {
			old, _ := bag.Get(attrTags)
			v = joinTags(old, v)
		} else if !standard {
			k := DefKey{entity, a.Name}
			def := ws.def(k)
			switch {
			case def == nil && v.IsNull():
				continue
			case def == nil && ws.defCount[entity] >= maxCustomAttributes:
				continue
			case def == nil:
				id, err := ws.tx.NextIDs(IDAttribute, 1)
				if err != nil {
					return changed, err
				}
				// Definitions outlive the payload's body, on which its strings hold.
				def = &AttributeDef{ID: AttributeID(id), WorkspaceID: ws.w, Entity: entity, Name: strings.Clone(a.Name), Label: strings.Clone(a.Label), Type: v.Type, CreatedAt: at}
				ws.newDefs[DefKey{entity, def.Name}] = def
				ws.defCount[entity]++
				ws.changed.NewDefs = append(ws.changed.NewDefs, *def)
			case !def.fits(v):
				var ok bool
				if v, ok = def.Convert(v); !ok {
					continue
				}
			}
		}
		if bag.Set(a.Name, v) {
			changed = true
		}
	}
	return changed, nil
}

// The standard attributes that have rules of their own.
const (
	attrTags      = "tags"
	attrName      = "name"
	attrFirstName = "first_name"
	attrLastName  = "last_name"
)

// nameParts returns the texts of first and last name.
func nameParts(bag Attributes) [2]string {
	first, _ := bag.Get(attrFirstName)
	last, _ := bag.Get(attrLastName)
	return [2]string{first.Raw, last.Raw}
}

// composeName makes the full name of first and last name, of which one has
// changed, unless the payload names the contact itself.
func composeName(bag *Attributes, in []PayloadAttribute) {
	if slices.ContainsFunc(in, func(a PayloadAttribute) bool { return a.Name == attrName }) {
		return
	}
	first, _ := bag.Get(attrFirstName)
	last, _ := bag.Get(attrLastName)
	full := strings.TrimSpace(Text(first) + " " + Text(last))
	if full == "" {
		bag.Set(attrName, Null)
		return
	}
	bag.Set(attrName, TextValue(full))
}

// joinTags returns the tags of a and those of b that are not among them: tags
// are only ever added by a payload (contract, section 4). Those that don't fit
// into MaxValue are left out.
func joinTags(a, b Value) Value {
	if a.IsNull() || a.Raw == b.Raw {
		return b
	}
	var have, more []string
	if json.Unmarshal([]byte(a.Raw), &have) != nil || json.Unmarshal([]byte(b.Raw), &more) != nil {
		return b
	}
	for _, t := range more {
		if !slices.Contains(have, t) {
			have = append(have, t)
		}
	}
	out := []byte{'['}
	for _, t := range have {
		raw := TextValue(t).Raw
		if len(out)+len(raw)+len(",]") > MaxValue {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, raw...)
	}
	return Value{Type: TypeList, Raw: string(append(out, ']'))}
}

// applyCompanies upserts the companies of a payload and links the contact.
func (ws *workset) applyCompanies(cs *contactState, p *Payload, at time.Time) (changed bool, err error) {
	if p.CompaniesNull {
		for _, m := range cs.memberships {
			if !m.ended && m.Source == SourceWidget {
				m.ended, m.Until = true, at
				changed = true
			}
		}
		if changed {
			cs.promote()
		}
	}
	for i := range p.Companies {
		cp := &p.Companies[i]
		co, err := ws.findCompany(cs, cp)
		if err != nil {
			return changed, err
		}
		if co == nil && cp.CustomID == "" && cp.Name == "" {
			continue // attributes of nobody knows which company
		}
		if co == nil {
			id, err := ws.tx.NextIDs(IDCompany, 1)
			if err != nil {
				return changed, err
			}
			co = ws.newCompany(&Company{ID: CompanyID(id), WorkspaceID: ws.w, CustomID: cp.CustomID, Name: cp.Name, CreatedAt: at, UpdatedAt: at})
			changed = true
			if ws.trace != nil {
				ws.trace.company(co, true)
			}
		} else if ws.trace != nil {
			ws.trace.company(co, false)
		}
		dirty, err := ws.setAttributes(EntityCompany, &co.c.Attributes, cp.Attributes, at)
		if err != nil {
			return changed, err
		}
		if cp.Name != "" && co.c.Name != cp.Name {
			co.c.Name = cp.Name
			dirty = true
		}
		if dirty {
			changed = true
			co.c.UpdatedAt = at
			if !co.isNew && !co.dirty {
				co.dirty = true
				ws.built = append(ws.built, co)
			}
			ws.noteDomains(co)
		}
		if ws.link(cs, co.c.ID, SourceWidget, "", at) {
			changed = true
		}
	}
	return changed, nil
}

// newCompany adds a company that is not stored yet.
func (ws *workset) newCompany(c *Company) *companyState {
	co := ws.addCompany(c)
	co.isNew = true
	ws.built = append(ws.built, co)
	ws.noteDomains(co)
	return co
}

// findCompany returns the company that a payload means, nil if there is none:
// by company_id; by its exact name among the contact's own, then among those
// without an id; or, named by nothing, the contact's only one.
func (ws *workset) findCompany(cs *contactState, cp *CompanyPayload) (*companyState, error) {
	if cp.CustomID != "" {
		return ws.companyIDs[cp.CustomID], nil
	}
	var own []*companyState
	for _, m := range cs.current() {
		co := ws.companies[m.CompanyID]
		if co == nil {
			return nil, fmt.Errorf("company %d of contact %d is not loaded", m.CompanyID, cs.c.ID)
		}
		own = append(own, co)
	}
	if cp.Name == "" {
		if len(own) == 1 {
			return own[0], nil
		}
		return nil, nil
	}
	byAge := func(a, b *companyState) int { return cmp.Compare(a.c.ID, b.c.ID) }
	slices.SortFunc(own, byAge)
	for _, co := range own {
		if co.c.Name == cp.Name {
			return co, nil
		}
	}
	var found *companyState
	for _, co := range ws.nameless[cp.Name] {
		if co.c.Name == cp.Name && (found == nil || co.c.ID < found.c.ID) {
			found = co
		}
	}
	return found, nil
}

// link makes the contact an employee and reports whether they were not. The
// first company becomes the primary one; a later one never takes its place.
func (ws *workset) link(cs *contactState, id CompanyID, source Source, by string, at time.Time) bool {
	primary, current := true, 0
	for _, m := range cs.memberships {
		if m.ended {
			continue
		}
		if m.CompanyID == id {
			return false
		}
		primary = primary && !m.Primary
		current++
	}
	if current >= maxMemberships {
		return false
	}
	cs.memberships = append(cs.memberships, &memberState{isNew: true, Membership: Membership{
		WorkspaceID: ws.w, ContactID: cs.c.ID, CompanyID: id, Source: source, Primary: primary, Since: at, By: by,
	}})
	return true
}

// current returns the memberships that hold, oldest first.
func (cs *contactState) current() []*memberState {
	var out []*memberState
	for _, m := range cs.memberships {
		if !m.ended {
			out = append(out, m)
		}
	}
	// The order must not depend on what this batch happened to load.
	slices.SortFunc(out, func(a, b *memberState) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.CompanyID, b.CompanyID))
	})
	return out
}

// promote makes the oldest current membership primary if none is.
func (cs *contactState) promote() {
	current := cs.current()
	if len(current) > 0 && !slices.ContainsFunc(current, func(m *memberState) bool { return m.Primary }) {
		current[0].Primary, current[0].changed = true, true
	}
}

// addHistory records the page view or event that a payload reports.
func (ws *workset) addHistory(id ContactID, e *Entry) {
	if v, ok := pageViewOf(ws.w, id, e); ok {
		ws.changed.PageViews = append(ws.changed.PageViews, v)
		return
	}
	p := e.Payload
	kind := EventCustom
	switch p.Type {
	case PayloadProduct:
		kind = EventProduct
	case PayloadEvent:
	default:
		return
	}
	ws.changed.Events = append(ws.changed.Events, Event{
		WorkspaceID: ws.w, ContactID: id, Key: p.Key, Kind: kind, Name: p.Name, At: happened(e), Data: p.Data,
	})
}

func pageViewOf(w WorkspaceID, id ContactID, e *Entry) (PageView, bool) {
	p := e.Payload
	if p.Type != PayloadPage {
		return PageView{}, false
	}
	return PageView{
		WorkspaceID: w, ContactID: id, Key: p.Key, At: happened(e),
		URL: p.URL, Path: p.Path, Title: p.Title, Referrer: p.Referrer,
	}, true
}

// The browser's clock is believed within these bounds: a queue is kept for 7
// days, and clocks run a little ahead.
const (
	maxBehind = 7 * 24 * time.Hour
	maxAhead  = time.Minute
)

// happened is when the payload's page view or event took place: the browser's
// time where that can be, else the time of acceptance.
func happened(e *Entry) time.Time {
	at := e.Payload.At
	if at.IsZero() || at.Before(e.At.Add(-maxBehind)) || at.After(e.At.Add(maxAhead)) {
		return e.At
	}
	return at.UTC()
}

// merge makes loser part of winner: keys and memberships move, the winner's
// gaps are filled, the loser stays as an alias, and the journal notes how it
// was.
func (ws *workset) merge(loser, winner *contactState, rule Rule, by string, at time.Time) error {
	keys, err := ws.keysOf(loser)
	if err != nil {
		return err
	}
	before := mergeState(winner, loser, keys)
	for _, k := range keys {
		ws.giveKey(winner, k, false)
	}
	if rule == RuleMergeByHand {
		if winner.c.Key, err = ws.newestKey(winner); err != nil {
			return err
		}
	} else if loser.c.Key != "" { // that of the browser that is here
		winner.c.Key = loser.c.Key
	}
	moving := loser.current()
	// If the winner has no company, the loser's primary one is to become its.
	slices.SortStableFunc(moving, func(a, b *memberState) int {
		switch {
		case a.Primary == b.Primary:
			return 0
		case a.Primary:
			return -1
		}
		return 1
	})
	for _, m := range moving {
		ws.link(winner, m.CompanyID, m.Source, m.By, m.Since)
		m.ended, m.Until = true, at
	}
	for _, a := range loser.c.Attributes {
		if a.Name == attrTags {
			ws.noteTags(&winner.c.Attributes, at)
			old, _ := winner.c.Attributes.Get(attrTags)
			winner.c.Attributes.Set(attrTags, joinTags(old, a.Value))
		} else if _, has := winner.c.Attributes.Get(a.Name); !has {
			winner.c.Attributes.Set(a.Name, a.Value)
		}
	}
	if winner.c.CustomID == "" && loser.c.CustomID != "" {
		winner.c.CustomID = loser.c.CustomID
		ws.byCustomID[winner.c.CustomID] = winner
	} else {
		delete(ws.byCustomID, loser.c.CustomID)
	}
	if email, key := loser.c.Email, loser.c.EmailKey; key != "" {
		ws.setEmail(loser, "", "")
		if winner.c.EmailKey == "" {
			ws.setEmail(winner, email, key)
		}
	}
	loser.c.CustomID, loser.c.Key, loser.c.Fingerprint = "", "", 0
	loser.c.MergedInto = winner.c.ID
	for _, cs := range []*contactState{loser, winner} {
		cs.c.UpdatedAt = at
		cs.dirty = true
		ws.touch(cs)
	}
	winner.c.Fingerprint = 0
	ws.changed.Merges = append(ws.changed.Merges, Merge{
		WorkspaceID: ws.w, At: at, By: by, Rule: string(rule),
		WinnerID: winner.c.ID, LoserID: loser.c.ID, Before: before, After: contactJSON(winner),
	})
	return nil
}

// keysOf returns the visitor keys of a contact, those of this batch included.
func (ws *workset) keysOf(cs *contactState) ([]VisitorKey, error) {
	stored, err := ws.storedKeys(cs)
	if err != nil {
		return nil, err
	}
	var keys []VisitorKey
	for _, k := range stored {
		if ws.keys[k.Key] == nil { // else it is among the gained, or gone
			keys = append(keys, k)
		}
	}
	for i, k := range cs.gained {
		if k.ContactID == cs.c.ID && !slices.Contains(cs.gained[:i], k) {
			keys = append(keys, k.VisitorKey)
		}
	}
	return keys, nil
}

// storedKeys returns the visitor keys that a contact has in the store, oldest
// first. They are read once a batch: some contacts have very many.
func (ws *workset) storedKeys(cs *contactState) (_ []VisitorKey, err error) {
	if !cs.isNew && !cs.hasStored {
		if cs.stored, err = ws.tx.ContactKeys(ws.w, cs.c.ID); err != nil {
			return nil, err
		}
		cs.hasStored = true
	}
	return cs.stored, nil
}

// newestKey returns the key of a contact that was seen first after all others,
// "" if it has none.
func (ws *workset) newestKey(cs *contactState) (string, error) {
	stored, err := ws.storedKeys(cs)
	if err != nil {
		return "", err
	}
	var newest VisitorKey
	for _, k := range slices.Backward(stored) {
		if ws.keys[k.Key] == nil { // else it is among the gained, or gone
			newest = k
			break
		}
	}
	for _, ks := range cs.gained {
		if ks.ContactID != cs.c.ID {
			continue
		}
		k := ks.VisitorKey
		if from := ws.contacts[ks.from]; !ks.isNew && from != nil {
			// It moved, which says nothing of when it was first seen.
			stored, err := ws.storedKeys(from)
			if err != nil {
				return "", err
			}
			if i := slices.IndexFunc(stored, func(s VisitorKey) bool { return s.Key == k.Key }); i >= 0 {
				k.CreatedAt = stored[i].CreatedAt
			}
		}
		if cmp.Or(k.CreatedAt.Compare(newest.CreatedAt), cmp.Compare(k.Key, newest.Key)) > 0 {
			newest = k
		}
	}
	return newest.Key, nil
}

// mergeState is the journal's picture of both contacts before a merge.
func mergeState(winner, loser *contactState, keys []VisitorKey) string {
	b := append([]byte(`{"winner":`), contactJSON(winner)...)
	b = append(b, `,"loser":`...)
	b = append(b, contactJSON(loser)...)
	b = append(b, `,"keys":[`...)
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, TextValue(k.Key).Raw...)
	}
	return string(append(b, "]}"...))
}

// contactJSON is a contact with its current memberships as the journal keeps
// it.
func contactJSON(cs *contactState) string {
	c := cs.c
	b := append([]byte(`{"id":`), strconv.FormatInt(int64(c.ID), 10)...)
	b = append(b, `,"custom_id":`...)
	b = append(b, TextValue(c.CustomID).Raw...)
	b = append(b, `,"email":`...)
	b = append(b, TextValue(c.Email).Raw...)
	b = append(b, `,"key":`...)
	b = append(b, TextValue(c.Key).Raw...)
	b = append(b, `,"created_at":"`...)
	b = c.CreatedAt.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","attributes":{`...)
	for i, a := range c.Attributes {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, TextValue(a.Name).Raw...)
		b = append(b, ':')
		b = append(b, a.Value.Raw...)
	}
	b = append(b, `},"memberships":[`...)
	for i, m := range cs.current() {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"company_id":`...)
		b = strconv.AppendInt(b, int64(m.CompanyID), 10)
		b = append(b, `,"source":"`...)
		b = append(b, m.Source...)
		b = append(b, `","primary":`...)
		b = strconv.AppendBool(b, m.Primary)
		b = append(b, `,"since":"`...)
		b = m.Since.UTC().AppendFormat(b, time.RFC3339Nano)
		b = append(b, `","by":`...)
		b = append(b, TextValue(m.By).Raw...)
		b = append(b, '}')
	}
	return string(append(b, "]}"...))
}

// diff returns what has to be written. Nothing of it is of a contact or company
// that is being deleted.
func (ws *workset) diff() *Changes {
	out := ws.changed
	gone := func(id ContactID) bool { cs := ws.contacts[id]; return cs != nil && cs.deleted }
	out.PageViews = slices.DeleteFunc(out.PageViews, func(v PageView) bool { return gone(v.ContactID) })
	out.Merges = slices.DeleteFunc(out.Merges, func(m Merge) bool { return gone(m.WinnerID) || gone(m.LoserID) })
	for _, k := range ws.moved {
		if gone(k.ContactID) {
			continue
		}
		if k.isNew {
			out.NewKeys = append(out.NewKeys, k.VisitorKey)
		} else {
			out.MovedKeys = append(out.MovedKeys, k.VisitorKey)
		}
	}
	for _, co := range ws.built {
		if co.deleted {
			continue
		}
		if co.isNew {
			out.NewCompanies = append(out.NewCompanies, co.c)
		} else {
			out.Companies = append(out.Companies, co.c)
		}
		out.Tagged = ws.tagChanges(out.Tagged, EntityCompany, int64(co.c.ID), &co.c.Attributes)
		if domains := CompanyDomains(co.c); !slices.Equal(domains, co.domains) {
			if len(co.domains) > 0 {
				out.DomainsGone = append(out.DomainsGone, co.c.ID)
			}
			out.CompanyDomains = append(out.CompanyDomains, domains...)
		}
	}
	ws.records.diff(&out)
	for _, cs := range ws.touched {
		if cs.deleted {
			continue
		}
		switch {
		case cs.isNew:
			out.NewContacts = append(out.NewContacts, cs.c)
		case cs.dirty:
			out.Contacts = append(out.Contacts, cs.c)
		}
		out.Tagged = ws.tagChanges(out.Tagged, EntityContact, int64(cs.c.ID), &cs.c.Attributes)
		for _, m := range cs.memberships {
			switch {
			case m.isNew:
				out.NewMemberships = append(out.NewMemberships, m.Membership)
			case m.ended:
				out.EndedMemberships = append(out.EndedMemberships, m.Membership)
			case m.changed:
				out.ChangedMemberships = append(out.ChangedMemberships, m.Membership)
			}
		}
	}
	return &out
}
