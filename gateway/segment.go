package gateway

import (
	"context"
	"time"
)

// This file owns segments: contacts that have something in common, as it is at the time
// of asking.
//
// Decisions
//
//   - A segment is kept as the filter that its maker wrote and not as what it was read
//     as, because what a filter means depends on the attributes that there are. Whoever
//     takes filters in reads it, now and each time.
//   - Who is in a segment is not stored: nothing is to be kept right with every payload,
//     and each question is a search.

// SegmentID names a segment.
type SegmentID int64

// Segment is the contacts that meet a filter.
type Segment struct {
	ID          SegmentID
	WorkspaceID WorkspaceID
	Name        string
	Filter      string
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// The bounds of segments: how many a workspace has, and the bytes of a filter.
const (
	MaxSegments      = 500
	MaxSegmentFilter = 8 << 10
)

// SegmentReader is the part of a Reader that is about segments.
type SegmentReader interface {
	// Segments of a workspace, newest first.
	Segments(ctx context.Context, w WorkspaceID) ([]Segment, error)
	Segment(ctx context.Context, w WorkspaceID, id SegmentID) (Segment, error)
	// Meets says of a contact which of the filters it meets, each of them being conditions
	// as those of a Query.
	Meets(ctx context.Context, w WorkspaceID, id ContactID, filters [][]Condition) ([]bool, error)
}

// SegmentTx is the part of a Tx that is about segments.
type SegmentTx interface {
	Segment(w WorkspaceID, id SegmentID) (Segment, error)
	CountSegments(w WorkspaceID) (int, error)
	// SaveSegment writes a segment, new or not.
	SaveSegment(s Segment) error
	// DeleteSegment deletes a segment, CodeNotFound if there is none with the id.
	DeleteSegment(w WorkspaceID, id SegmentID) error
}

// SegmentPatch is what a client wants of a segment. Nil changes nothing. Whoever makes
// it has read the filter.
type SegmentPatch struct {
	Name   *string
	Filter *string
}

// CreateSegment makes a segment.
func (e *Editor) CreateSegment(p SegmentPatch) (Segment, error) {
	for _, text := range []**string{&p.Name, &p.Filter} {
		if *text == nil {
			*text = new(string) // refused as an empty one
		}
	}
	n, err := e.tx.CountSegments(e.set.w)
	if err != nil {
		return Segment{}, err
	}
	if n >= MaxSegments {
		return Segment{}, Errorf(CodeInvalid, "There can be no more than %d segments.", MaxSegments)
	}
	id, err := e.tx.NextIDs(IDSegment, 1)
	if err != nil {
		return Segment{}, err
	}
	return e.saveSegment(Segment{ID: SegmentID(id), WorkspaceID: e.set.w, CreatedAt: e.at}, p)
}

// UpdateSegment changes a segment and returns it as it is then.
func (e *Editor) UpdateSegment(id SegmentID, p SegmentPatch) (Segment, error) {
	s, err := e.tx.Segment(e.set.w, id)
	if err != nil || p == (SegmentPatch{}) {
		return s, err
	}
	return e.saveSegment(s, p)
}

func (e *Editor) saveSegment(s Segment, p SegmentPatch) (Segment, error) {
	if p.Name != nil {
		if err := validGivenName("name", *p.Name); err != nil {
			return s, err
		}
		s.Name = *p.Name
	}
	if p.Filter != nil {
		if *p.Filter == "" {
			return s, &Error{Code: CodeInvalid, Field: "filter", Message: "This field may not be blank."}
		}
		if err := validText("filter", *p.Filter, MaxSegmentFilter); err != nil {
			return s, err
		}
		s.Filter = *p.Filter
	}
	s.UpdatedAt = e.at
	return s, e.tx.SaveSegment(s)
}

// DeleteSegment deletes a segment, not the contacts in it.
func (e *Editor) DeleteSegment(id SegmentID) error { return e.tx.DeleteSegment(e.set.w, id) }
