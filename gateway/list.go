package gateway

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// This file owns lists: contacts that somebody put together by hand.
//
// Decisions
//
//   - To be in a list changes nothing of the contact, not even when it was last
//     changed: it is a fact of the list.
//   - Who becomes part of another contact leaves that one in their lists, with a note of
//     whom it has that from (Listed.Via), and keeps their own place, so that a merge
//     can be undone: only what they have from there goes then.

// ListID names a list.
type ListID int64

// List is contacts that somebody put together.
type List struct {
	ID          ListID
	WorkspaceID WorkspaceID
	Name        string
	Description string
	CreatedAt   time.Time
	UpdatedAt   time.Time // of name and description
}

// Listed says that a contact is in a list.
type Listed struct {
	ListID    ListID
	ContactID ContactID
	AddedAt   time.Time
	Via       ContactID // who brought it along by becoming part of the contact; 0: nobody
}

// The bounds of lists: how many a workspace has, and the bytes of their texts.
const (
	MaxLists       = 1000
	maxDescription = 1000
)

// ListReader is the part of a Reader that is about lists. The lists of contacts are
// in their views, the contacts of a list are found by the condition list.
type ListReader interface {
	// Lists of a workspace, newest first.
	Lists(ctx context.Context, w WorkspaceID) ([]List, error)
	List(ctx context.Context, w WorkspaceID, id ListID) (List, error)
}

// ListTx is the part of a Tx that is about lists.
type ListTx interface {
	List(w WorkspaceID, id ListID) (List, error)
	CountLists(w WorkspaceID) (int, error)
	// SaveList writes a list, new or not.
	SaveList(l List) error
	// DeleteList deletes a list and who is in it, CodeNotFound if there is none with
	// the id.
	DeleteList(w WorkspaceID, id ListID) error
	// AddListed puts a contact into a list. Who is there stays there, since when they
	// are, but no longer through another contact if Via is 0.
	AddListed(w WorkspaceID, l Listed) error
	// RemoveListed takes a contact out of a list, if they are in it.
	RemoveListed(w WorkspaceID, list ListID, contact ContactID) error
	// InheritLists puts the winners of merges, in their order, into the losers' lists.
	InheritLists(w WorkspaceID, merges []Merge) error
	// DisinheritLists takes the winner of a merge out of the lists in which they are
	// through the loser.
	DisinheritLists(w WorkspaceID, winner, loser ContactID) error
}

// ListPatch is what a client wants of a list. Nil changes nothing.
type ListPatch struct {
	Name        *string
	Description *string
}

// CreateList makes a list.
func (e *Editor) CreateList(p ListPatch) (List, error) {
	if p.Name == nil {
		p.Name = new(string) // refused as an empty one
	}
	n, err := e.tx.CountLists(e.set.w)
	if err != nil {
		return List{}, err
	}
	if n >= MaxLists {
		return List{}, Errorf(CodeInvalid, "There can be no more than %d lists.", MaxLists)
	}
	id, err := e.tx.NextIDs(IDList, 1)
	if err != nil {
		return List{}, err
	}
	return e.saveList(List{ID: ListID(id), WorkspaceID: e.set.w, CreatedAt: e.at}, p)
}

// UpdateList changes a list and returns it as it is then.
func (e *Editor) UpdateList(id ListID, p ListPatch) (List, error) {
	l, err := e.tx.List(e.set.w, id)
	if err != nil || p == (ListPatch{}) {
		return l, err
	}
	return e.saveList(l, p)
}

func (e *Editor) saveList(l List, p ListPatch) (List, error) {
	if p.Name != nil {
		if err := validGivenName("name", *p.Name); err != nil {
			return l, err
		}
		l.Name = *p.Name
	}
	if p.Description != nil {
		if err := validText("description", *p.Description, maxDescription); err != nil {
			return l, err
		}
		l.Description = *p.Description
	}
	l.UpdatedAt = e.at
	return l, e.tx.SaveList(l)
}

// DeleteList deletes a list. Who was in it stays a contact.
func (e *Editor) DeleteList(id ListID) error { return e.tx.DeleteList(e.set.w, id) }

// AddToList puts a contact into a list and returns that. Who is in it already stays
// so.
func (e *Editor) AddToList(list ListID, contact ContactID) (List, error) {
	l, cs, err := e.listAndContact(list, contact)
	if err != nil {
		return l, err
	}
	if cs.isNew {
		if err := e.Flush(); err != nil { // lists are written at once, behind their contacts
			return l, err
		}
	}
	return l, e.tx.AddListed(e.set.w, Listed{ListID: l.ID, ContactID: cs.c.ID, AddedAt: e.at})
}

// RemoveFromList takes a contact out of a list. Who is not in it is not afterwards
// either.
func (e *Editor) RemoveFromList(list ListID, contact ContactID) error {
	l, cs, err := e.listAndContact(list, contact)
	if err != nil {
		return err
	}
	return e.tx.RemoveListed(e.set.w, l.ID, cs.c.ID)
}

func (e *Editor) listAndContact(list ListID, contact ContactID) (List, *contactState, error) {
	cs, err := e.contact(contact)
	if err != nil {
		return List{}, nil, err
	}
	l, err := e.tx.List(e.set.w, list)
	if IsNotFound(err) {
		err = &Error{Code: CodeInvalid, Field: "list", Message: fmt.Sprintf(`Invalid pk "%d" - object does not exist.`, list)}
	}
	return l, cs, err
}

// validGivenName says what is wrong with a name that people give, if anything is.
func validGivenName(field, s string) error {
	if strings.TrimSpace(s) == "" {
		return &Error{Code: CodeInvalid, Field: field, Message: "This field may not be blank."}
	}
	return validText(field, s, MaxName)
}

func validText(field, s string, most int) error {
	switch {
	case len(s) > most:
		return &Error{Code: CodeInvalid, Field: field, Message: fmt.Sprintf("Ensure this field has no more than %d bytes.", most)}
	case !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0:
		return &Error{Code: CodeInvalid, Field: field, Message: "Not a valid string."}
	}
	return nil
}
