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
//     in the store's lists; lists of contacts leave merged ones out anyway.
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
	return e.tx.AddTag(e.set.w, name, e.at)
}

// tagPortion is how many contacts or companies lose a deleted tag at a time: as
// many are in memory.
const tagPortion = 1000

// DeleteTag deletes a tag and takes it from all who have it, however many.
func (e *Editor) DeleteTag(id TagID) error {
	tag, err := e.tx.Tag(e.set.w, id)
	if err != nil {
		return err
	}
	e.dropTag(tag.Name)
	for _, entity := range []Entity{EntityContact, EntityCompany} {
		for {
			subjects, err := e.tx.Untag(e.set.w, id, entity, tagPortion)
			if err != nil {
				return fmt.Errorf("take a tag away: %w", err)
			}
			if len(subjects) == 0 {
				break
			}
			var c *Changes
			if entity == EntityContact {
				c, err = e.untagContacts(subjects, tag.Name)
			} else {
				c, err = e.untagCompanies(subjects, tag.Name)
			}
			if err != nil {
				return err
			}
			if err := e.tx.Save(e.set.w, c); err != nil {
				return fmt.Errorf("save who lost a tag: %w", err)
			}
		}
	}
	return e.tx.DeleteTag(e.set.w, id)
}

// dropTag takes a tag from what this edit has at hand. The store is not to be told
// of it: nobody there has the tag any more.
func (e *Editor) dropTag(name string) {
	for _, cs := range e.set.contacts {
		if v, had := e.tagsWithout(&cs.c.Attributes, name); had && !cs.deleted && cs.c.MergedInto == 0 {
			e.set.noteTags(&cs.c.Attributes, e.at)
			cs.c.Attributes.Set(attrTags, v)
			e.touch(cs)
		}
	}
	for _, co := range e.set.companies {
		if v, had := e.tagsWithout(&co.c.Attributes, name); had && !co.deleted {
			e.set.noteTags(&co.c.Attributes, e.at)
			co.c.Attributes.Set(attrTags, v)
			e.touchCompany(co)
		}
	}
	for bag, before := range e.set.tagsWere {
		before.value, _ = withoutTag(before.value, name)
		e.set.tagsWere[bag] = before
	}
}

func (e *Editor) tagsWithout(bag *Attributes, name string) (rest Value, had bool) {
	v, _ := bag.Get(attrTags)
	return withoutTag(v, name)
}

// untagContacts makes the changes for stored contacts that lose a tag. Those that
// this edit has at hand are not among them.
func (e *Editor) untagContacts(ids []int64, name string) (*Changes, error) {
	refs := Refs{}
	for _, id := range ids {
		if e.set.contacts[ContactID(id)] == nil {
			refs.Contacts = append(refs.Contacts, ContactID(id))
		}
	}
	c := &Changes{}
	if len(refs.Contacts) == 0 {
		return c, nil
	}
	l, err := e.tx.Load(e.set.w, refs)
	if err != nil {
		return nil, fmt.Errorf("load who loses a tag: %w", err)
	}
	for _, x := range l.Contacts {
		v, had := e.tagsWithout(&x.Attributes, name)
		if !had || x.MergedInto != 0 || e.set.contacts[x.ID] != nil { // whom one of them is merged into comes as well
			continue
		}
		x.Attributes.Set(attrTags, v)
		x.Fingerprint, x.UpdatedAt = 0, e.at
		c.Contacts = append(c.Contacts, x)
		e.untagged = append(e.untagged, x.ID)
	}
	return c, nil
}

// untagCompanies is untagContacts for companies.
func (e *Editor) untagCompanies(ids []int64, name string) (*Changes, error) {
	refs := Refs{}
	for _, id := range ids {
		if e.set.companies[CompanyID(id)] == nil {
			refs.CompanyIDs = append(refs.CompanyIDs, CompanyID(id))
		}
	}
	c := &Changes{}
	if len(refs.CompanyIDs) == 0 {
		return c, nil
	}
	l, err := e.tx.Load(e.set.w, refs)
	if err != nil {
		return nil, fmt.Errorf("load the companies that lose a tag: %w", err)
	}
	for _, x := range l.Companies {
		if v, had := e.tagsWithout(&x.Attributes, name); had {
			x.Attributes.Set(attrTags, v)
			x.UpdatedAt = e.at
			c.Companies = append(c.Companies, x)
		}
	}
	return c, nil
}
