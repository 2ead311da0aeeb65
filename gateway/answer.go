package gateway

import (
	"context"
	"crypto/sha256"
	"time"
)

// KeptAnswer is what was answered to a request that its client named by a key, so
// that the same request sent again is answered alike and done once.
type KeptAnswer struct {
	Key     string
	Request [sha256.Size]byte // tells whether it is the same request
	Status  int
	// Entity and SubjectID are whose view the body is, if it is one.
	Entity    Entity
	SubjectID int64
	// Body is the text of the answer, "" if it had none, or if it is a view that was
	// not made yet: a process may end between the commit and the answer.
	Body string
	At   time.Time
}

// AnswerMemory is how long answers are kept at least.
const AnswerMemory = 24 * time.Hour

// MaxAnswerKey is how many bytes the key of a KeptAnswer may have.
const MaxAnswerKey = 300

// MaxKeptBody is how many bytes a kept body may have. What is longer is made anew.
const MaxKeptBody = 64 << 10

// KeptAnswer returns what was answered under the key, nil if that is nothing, or
// longer ago than answers are kept.
func (e *Editor) KeptAnswer(key string) (*KeptAnswer, error) {
	a, err := e.tx.KeptAnswer(e.set.w, key)
	if err != nil || a == nil || a.At.Before(e.at.Add(-AnswerMemory)) {
		return nil, err
	}
	return a, nil
}

// KeepAnswer keeps what the edit is answered with. It is stored if the edit is.
func (e *Editor) KeepAnswer(a KeptAnswer) error {
	if len(a.Body) > MaxKeptBody {
		a.Body = ""
	}
	a.At = e.at
	return e.tx.KeepAnswer(e.set.w, a, e.at.Add(-AnswerMemory))
}

// KeepBody adds the body to a kept answer that shows what is stored. Without it the
// body is made anew when it is asked for, from what is stored then.
func (g *Gateway) KeepBody(ctx context.Context, w WorkspaceID, key, body string) error {
	if len(body) > MaxKeptBody {
		return nil
	}
	return g.store.Update(ctx, func(tx Tx) error { return tx.KeepBody(w, key, body) })
}
