package gateway

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// This file owns tags: words by which people group contacts and companies.
//
// Decisions
//
//   - The tags of a contact or company are a list in its bag (the attribute tags),
//     in the order in which they came, and that list is the truth. What a tag has
//     besides (an id, and the list of those who have it) is kept by the store, which
//     is told of every tag that somebody gains or loses (Changes.Tagged).
//   - Who becomes part of another contact keeps the tags that it had, in its bag and
//     as a rule in the store's lists, which leave merged ones out anyway. When the
//     merge is undone it has those of the journal, also one that was deleted since.
//   - Names compare exactly, letter by letter. What can't be a name (IsTagName) stays
//     in the bag as it came and has no id.

// TagID is the id of a tag, never used again for another one.
type TagID int64

// Tag is a name that contacts and companies of a workspace have, or had: it stays
// when the last of them loses it, until it is deleted.
type Tag struct {
	ID          TagID
	WorkspaceID WorkspaceID
	Name        string
	CreatedAt   time.Time
}

// TagChange is a tag that a contact or company gained or lost.
type TagChange struct {
	Entity  Entity
	Subject int64 // the ContactID or CompanyID
	Name    string
	Lost    bool
	At      time.Time
}

// IsTagName reports whether a tag of this name has an id: 1 to MaxName bytes of
// UTF-8 without NUL.
func IsTagName(name string) bool {
	return name != "" && len(name) <= MaxName && strings.IndexByte(name, 0) < 0 && utf8.ValidString(name)
}

// TagNames returns the names (IsTagName) in a value of the attribute tags, each
// once, sorted.
func TagNames(v Value) []string {
	items := Items(v)
	if v.Type == TypeText {
		items = []Value{v}
	}
	names := make([]string, 0, len(items))
	for _, item := range items {
		if name := Text(item); IsTagName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// tagsBefore is what the tags of a bag were before a batch changed them.
type tagsBefore struct {
	value Value
	at    time.Time // of the first change
}

// noteTags must be called before the tags in a bag change. It keeps what they were.
func (ws *workset) noteTags(bag *Attributes, at time.Time) {
	if _, noted := ws.tagsWere[bag]; noted {
		return
	}
	if ws.tagsWere == nil {
		ws.tagsWere = make(map[*Attributes]tagsBefore)
	}
	v, _ := bag.Get(attrTags)
	ws.tagsWere[bag] = tagsBefore{v, at}
}

// tellTags has the store told of all tags in a bag.
func (ws *workset) tellTags(bag *Attributes, at time.Time) {
	ws.noteTags(bag, at)
	ws.tagsWere[bag] = tagsBefore{at: at}
}

// tagChanges appends what a contact or company gained and lost since noteTags.
func (ws *workset) tagChanges(out []TagChange, entity Entity, subject int64, bag *Attributes) []TagChange {
	if len(ws.tagsWere) == 0 {
		return out
	}
	before, noted := ws.tagsWere[bag]
	now, _ := bag.Get(attrTags)
	if !noted || now.Raw == before.value.Raw {
		return out
	}
	old, names := TagNames(before.value), TagNames(now)
	for len(old) > 0 || len(names) > 0 {
		switch {
		case len(old) == 0 || len(names) > 0 && names[0] < old[0]:
			out = append(out, TagChange{Entity: entity, Subject: subject, Name: names[0], At: before.at})
			names = names[1:]
		case len(names) == 0 || old[0] < names[0]:
			out = append(out, TagChange{Entity: entity, Subject: subject, Name: old[0], Lost: true, At: before.at})
			old = old[1:]
		default:
			old, names = old[1:], names[1:]
		}
	}
	return out
}

// withoutTag is a value of the attribute tags without a name, null if nothing is
// left, and whether the name was there.
func withoutTag(v Value, name string) (rest Value, had bool) {
	if v.Type == TypeText {
		if Text(v) == name {
			return Null, true
		}
		return v, false
	}
	items := Items(v)
	n := len(items)
	if items = slices.DeleteFunc(items, func(item Value) bool { return Text(item) == name }); len(items) == n {
		return v, false
	}
	if len(items) == 0 {
		return Null, true
	}
	b := []byte{'['}
	for i, item := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, item.Raw...)
	}
	return Value{Type: TypeList, Raw: string(append(b, ']'))}, true
}

// AddTag returns the id of the tag with the name, and whether it was made now. A
// name that can't be one is a CodeInvalid.
func (e *Editor) AddTag(name string) (id TagID, created bool, err error) {
	if !IsTagName(name) {
		return 0, false, &Error{Code: CodeInvalid, Field: "name", Message: fmt.Sprintf("A name of 1 to %d bytes is required.", MaxName)}
	}
	if id, created, err = e.tx.AddTag(e.set.w, name, e.at); err == nil && created {
		err = e.Audit("tag.add", "tag", name, nil)
	}
	return id, created, err
}

// tagPortion is how many contacts or companies lose a deleted tag at a time: as
// many are in memory.
const tagPortion = 1000

// DeleteTag deletes a tag and takes it from all who have it, however many.
func (e *Editor) DeleteTag(id TagID) error {
	tag, err := e.tx.Tag(e.w.ID, id)
	if err != nil {
		return err
	}
	// So that the store knows all who have it.
	if err := e.Flush(); err != nil {
		return err
	}
	for {
		subjects, err := e.tx.Untag(e.w.ID, id, EntityContact, tagPortion)
		if err != nil {
			return fmt.Errorf("take a tag from contacts: %w", err)
		}
		if len(subjects) == 0 {
			break
		}
		if err := e.untagContacts(subjects, tag.Name); err != nil {
			return err
		}
	}
	for {
		subjects, err := e.tx.Untag(e.w.ID, id, EntityCompany, tagPortion)
		if err != nil {
			return fmt.Errorf("take a tag from companies: %w", err)
		}
		if len(subjects) == 0 {
			break
		}
		if err := e.untagCompanies(subjects, tag.Name); err != nil {
			return err
		}
	}
	if err := e.tx.DeleteTag(e.w.ID, id); err != nil {
		return err
	}
	return e.Audit("tag.drop", "tag", tag.Name, nil)
}

// untagContacts takes a tag out of the attributes of contacts that Untag returned.
func (e *Editor) untagContacts(ids []int64, name string) error {
	var refs Refs
	for _, id := range ids {
		refs.Contacts = append(refs.Contacts, ContactID(id))
	}
	if err := e.load(refs); err != nil {
		return err
	}
	for _, id := range refs.Contacts {
		cs := e.set.contacts[id]
		if cs == nil || cs.c.MergedInto != 0 {
			continue
		}
		v, _ := cs.c.Attributes.Get(attrTags)
		if rest, had := withoutTag(v, name); had {
			cs.c.Attributes.Set(attrTags, rest)
			e.touch(cs)
		}
	}
	return e.Flush()
}

// untagCompanies is untagContacts for companies.
func (e *Editor) untagCompanies(ids []int64, name string) error {
	var refs Refs
	for _, id := range ids {
		refs.CompanyIDs = append(refs.CompanyIDs, CompanyID(id))
	}
	if err := e.load(refs); err != nil {
		return err
	}
	for _, id := range refs.CompanyIDs {
		co := e.set.companies[id]
		if co == nil {
			continue
		}
		v, _ := co.c.Attributes.Get(attrTags)
		if rest, had := withoutTag(v, name); had {
			co.c.Attributes.Set(attrTags, rest)
			e.touchCompany(co)
		}
	}
	return e.Flush()
}
