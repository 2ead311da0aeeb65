package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// This file undoes merges: of two contacts that became one there are two again.
//
// Decisions
//
//   - The journal says how both were before and how the survivor was after. What the
//     survivor still has as the merge made it goes back to how it was; what somebody has
//     changed since stays. So it is with lists.
//   - What arrived since stays with the survivor, unless a browser brought it that was the
//     other one's: then it goes with its key.
//   - Only the last of several merges of a contact into others can be undone first: the
//     survivor must stand by itself. Merges of others into the same survivor may be undone
//     in any order.
//   - Links to companies come back with their source and since. A company that has been
//     deleted meanwhile does not come back, nor does a custom id that
//     somebody else has by now.
//   - A value that another contact of the same survivor would have brought, had this one
//     not, is not looked for: it is in the journal.
//   - The journal keeps a merge that was undone, and says when and by whom.

// journalContact is a contact in the journal, as contactJSON writes it.
type journalContact struct {
	ID          ContactID           `json:"id"`
	CustomID    string              `json:"custom_id"`
	Email       string              `json:"email"`
	Key         string              `json:"key"`
	CreatedAt   time.Time           `json:"created_at"`
	Attributes  json.RawMessage     `json:"attributes"`
	Memberships []journalMembership `json:"memberships"`
}

type journalMembership struct {
	CompanyID CompanyID `json:"company_id"`
	Source    Source    `json:"source"`
	Primary   bool      `json:"primary"`
	Since     time.Time `json:"since"`
	By        string    `json:"by"`
}

// journalMerge is what Merge.Before holds.
type journalMerge struct {
	Winner journalContact `json:"winner"`
	Loser  journalContact `json:"loser"`
	Keys   []string       `json:"keys"`
}

// bag returns the attributes, their values as they were stored.
func (j *journalContact) bag() (Attributes, error) {
	fields, err := ParseFields(j.Attributes)
	if err != nil {
		return nil, fmt.Errorf("attributes of contact %d in the journal: %w", j.ID, err)
	}
	var bag Attributes
	for _, f := range fields {
		bag.Set(f.Name, storedValue(string(f.Value)))
	}
	return bag, nil
}

// storedValue is the value of a canonical text. Dates are texts: what they are is said by
// their definition.
func storedValue(raw string) Value {
	switch {
	case raw[0] == '[' && isList(raw):
		return Value{Type: TypeList, Raw: raw}
	case raw[0] == '[' || raw[0] == '{':
		return Value{Type: TypeJSON, Raw: raw}
	}
	return scalar(raw)
}

// UndoMerge makes two contacts of one again, and returns the one that had become part of
// the other. It is a CodeNotFound if there is no such merge, and a CodeInvalid that says
// why if it can't be undone: it has been, or the survivor is part of another contact now.
func (e *Editor) UndoMerge(id int64) (ContactID, error) {
	if err := e.Flush(); err != nil {
		return 0, err
	}
	m, err := e.tx.Merge(e.w.ID, id)
	if err != nil {
		return 0, err
	}
	if !m.UndoneAt.IsZero() {
		return 0, Errorf(CodeInvalid, "This merge has been undone already.")
	}
	var before journalMerge
	if err := json.Unmarshal([]byte(m.Before), &before); err != nil {
		return 0, fmt.Errorf("read merge %d: %w", id, err)
	}
	var after journalContact
	if err := json.Unmarshal([]byte(m.After), &after); err != nil {
		return 0, fmt.Errorf("read merge %d: %w", id, err)
	}
	u := &undoing{Editor: e, m: m, before: &before, after: &after}
	if err := u.run(); err != nil {
		return 0, err
	}
	return m.LoserID, nil
}

// undoing is a merge that is being undone.
type undoing struct {
	*Editor
	m             *Merge
	before        *journalMerge
	after         *journalContact
	winner, loser *contactState
}

func (u *undoing) run() error {
	refs := Refs{Contacts: []ContactID{u.m.WinnerID, u.m.LoserID}, Keys: u.before.Keys}
	for _, ms := range [][]journalMembership{u.before.Loser.Memberships, u.before.Winner.Memberships} {
		for _, x := range ms {
			refs.CompanyIDs = append(refs.CompanyIDs, x.CompanyID)
		}
	}
	if u.before.Loser.CustomID != "" {
		refs.CustomIDs = append(refs.CustomIDs, u.before.Loser.CustomID)
	}
	if err := u.load(refs); err != nil {
		return err
	}
	u.winner, u.loser = u.set.contacts[u.m.WinnerID], u.set.contacts[u.m.LoserID]
	switch {
	case u.winner == nil || u.loser == nil:
		return notThere("contact")
	case u.winner.c.MergedInto != 0:
		return Errorf(CodeInvalid, "The contact became part of another one later. Undo that merge first.")
	case u.loser.c.MergedInto != u.winner.c.ID:
		return Errorf(CodeInvalid, "The contact is not part of the other one any more.")
	}
	u.loser.c.MergedInto = 0
	if err := u.attributes(); err != nil {
		return err
	}
	u.identifiers()
	keys, err := u.keys()
	if err != nil {
		return err
	}
	back := u.memberships()
	for _, cs := range []*contactState{u.winner, u.loser} {
		cs.promote()
		u.touch(cs)
	}
	if err := u.Flush(); err != nil {
		return err
	}
	// From here on without the workset, which knows current memberships alone.
	if err := u.tx.DropEndedMemberships(u.w.ID, back); err != nil {
		return err
	}
	if err := u.tx.MoveHistory(u.w.ID, u.m.WinnerID, u.m.LoserID, keys, u.m.At); err != nil {
		return err
	}
	if err := u.tx.DisinheritLists(u.w.ID, u.m.WinnerID, u.m.LoserID); err != nil {
		return err
	}
	return u.tx.SetMergeUndone(u.w.ID, u.m.ID, u.at, u.by())
}

// attributes takes back what the survivor has through the merge.
func (u *undoing) attributes() error {
	was, err := u.before.Winner.bag()
	if err != nil {
		return err
	}
	became, err := u.after.bag()
	if err != nil {
		return err
	}
	if u.loser.c.Attributes, err = u.before.Loser.bag(); err != nil {
		return err
	}
	// What the store keeps of the tags of a merged contact may be gone.
	u.set.tellTags(&u.loser.c.Attributes, u.at)
	bag := &u.winner.c.Attributes
	for _, a := range became {
		old, had := was.Get(a.Name)
		if had && old.Raw == a.Value.Raw {
			continue // not by the merge
		}
		now, has := bag.Get(a.Name)
		switch {
		case a.Name == attrTags && has:
			u.set.noteTags(bag, u.at)
			bag.Set(attrTags, withoutTags(now, a.Value, old))
		case has && now.Raw == a.Value.Raw:
			if !had {
				old = Null
			}
			bag.Set(a.Name, old)
		}
	}
	return nil
}

// withoutTags returns the tags of now but those that are in became and not in was.
func withoutTags(now, became, was Value) Value {
	var kept []string
	names := func(v Value) (out []string) {
		for _, item := range Items(v) {
			out = append(out, Text(item))
		}
		return out
	}
	gained, had := names(became), names(was)
	for _, tag := range names(now) {
		if !slices.Contains(gained, tag) || slices.Contains(had, tag) {
			kept = append(kept, tag)
		}
	}
	if len(kept) == 0 {
		return Null
	}
	return ListValue(kept...)
}

// identifiers gives the other contact its custom id and e-mail back, which the survivor
// gives up if it has them through the merge.
func (u *undoing) identifiers() {
	w, l, was := u.winner.c, u.loser.c, &u.before.Loser
	if was.CustomID != "" {
		switch owner := u.set.byCustomID[was.CustomID]; {
		case owner == nil, owner == u.winner && u.before.Winner.CustomID != was.CustomID:
			if owner != nil {
				w.CustomID = ""
			}
			l.CustomID = was.CustomID
			u.set.byCustomID[l.CustomID] = u.loser
		}
	}
	if was.Email == "" {
		return
	}
	email, key, ok := NormalizeEmail(was.Email)
	if !ok { // an older rule took it
		email, key = was.Email, was.Email
	}
	u.set.setEmail(u.loser, email, key)
	if u.before.Winner.Email == "" && w.EmailKey == key {
		u.set.setEmail(u.winner, "", "")
	}
}

// keys gives the other contact those of its browsers back that are the survivor's now, and
// returns their keys.
func (u *undoing) keys() (moved []string, err error) {
	mine, err := u.set.keysOf(u.winner)
	if err != nil {
		return nil, err
	}
	for _, k := range mine {
		if slices.Contains(u.before.Keys, k.Key) {
			u.set.giveKey(u.loser, k, false)
			moved = append(moved, k.Key)
		}
	}
	for _, cs := range []*contactState{u.winner, u.loser} {
		if cs.c.Key, err = u.set.newestKey(cs); err != nil {
			return nil, err
		}
		if cs.c.Key == "" {
			// As for everybody who has none: see CreateContact.
			if _, err := u.set.attachKey(cs, "", u.at); err != nil {
				return nil, err
			}
		}
	}
	if slices.Contains(moved, u.before.Loser.Key) {
		u.loser.c.Key = u.before.Loser.Key
	}
	return moved, nil
}

// memberships makes the other contact an employee again of the companies of which it was
// one, and no longer the survivor of those to which only the merge linked it. It returns the
// ended memberships that then tell of nothing: those that the merge ended, and those that this
// ends.
func (u *undoing) memberships() (ended []Membership) {
	had := func(id CompanyID) bool {
		return slices.ContainsFunc(u.before.Winner.Memberships, func(x journalMembership) bool { return x.CompanyID == id })
	}
	for _, x := range u.before.Loser.Memberships {
		co := u.set.companies[x.CompanyID]
		if co == nil || co.deleted {
			continue
		}
		back := Membership{WorkspaceID: u.w.ID, ContactID: u.loser.c.ID, CompanyID: x.CompanyID, Source: x.Source, Primary: x.Primary, Since: x.Since, By: x.By}
		u.loser.memberships = append(u.loser.memberships, &memberState{isNew: true, Membership: back})
		back.Until = u.m.At
		ended = append(ended, back)
		if had(x.CompanyID) {
			continue
		}
		for _, m := range u.winner.current() {
			if m.CompanyID == x.CompanyID && m.Source == x.Source && m.Since.Equal(x.Since) {
				m.ended, m.Until, m.Primary = true, u.at, false
				ended = append(ended, m.Membership)
			}
		}
	}
	for _, x := range u.before.Winner.Memberships {
		for _, m := range u.winner.current() {
			if m.CompanyID == x.CompanyID && x.Primary && !m.Primary && !u.hasPrimary() {
				m.Primary, m.changed = true, true
			}
		}
	}
	return ended
}

func (u *undoing) hasPrimary() bool {
	return slices.ContainsFunc(u.winner.current(), func(m *memberState) bool { return m.Primary })
}

// MergePreview is what a merge would make.
type MergePreview struct {
	Contact     Contact
	Memberships []Membership // current ones, oldest first
	Keys        []VisitorKey
}

// PreviewMerge says what MergeContacts of the same ids would make of parent, and changes
// nothing. Its errors are those of MergeContacts.
func (g *Gateway) PreviewMerge(ctx context.Context, w *Workspace, parent ContactID, others []ContactID) (*MergePreview, error) {
	var p *MergePreview
	undone := errors.New("a preview changes nothing")
	err := g.Edit(ctx, w, Author{Source: SourceManual}, func(e *Editor) error {
		if err := e.MergeContacts(parent, others); err != nil {
			return err
		}
		cs, err := e.contact(parent)
		if err != nil {
			return err
		}
		p = &MergePreview{Contact: *cs.c}
		for _, m := range cs.current() {
			p.Memberships = append(p.Memberships, m.Membership)
		}
		if p.Keys, err = e.set.keysOf(cs); err != nil {
			return err
		}
		return undone
	})
	if errors.Is(err, undone) {
		return p, nil
	}
	if err == nil {
		err = errors.New("a preview was committed")
	}
	return nil, err
}
