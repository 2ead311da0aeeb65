package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"

	"civgate/gateway"
)

// This file owns Idempotency-Key: a client that got no answer sends its write again with
// the same key, and what it asked for is done once.
//
// Decisions
//
//   - The key is taken in the transaction of the write, so that there is no moment in
//     which the write is done and the key is not known, nor the other way round. Of two
//     requests with one key at a time the second waits for the first.
//   - The view of a contact or company is made after the commit and added to the key
//     then. Should the process end in between, the answer shows what is stored when
//     it is asked for again.
//   - Errors are not kept: nothing was done, and the next try may do it.
//   - Another request with the key is refused with 422, as
//     draft-ietf-httpapi-idempotency-key-header has it.
//   - Keys are those of a workspace, not of a token: a client goes on after its token
//     was replaced.

// headerReplayed is set on an answer that was given before.
const headerReplayed = "Idempotent-Replayed"

// maxIdempotencyKey is how many characters a key may have.
const maxIdempotencyKey = 255

// idempotencyKey reads the header, with or without the quotes that the draft asks for.
func idempotencyKey(h http.Header) (string, error) {
	values := h.Values("Idempotency-Key")
	if len(values) == 0 {
		return "", nil
	}
	key := strings.TrimSpace(values[0])
	if len(key) >= 2 && key[0] == '"' && key[len(key)-1] == '"' {
		key = key[1 : len(key)-1]
	}
	bad := strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || bad {
		return "", gateway.Errorf(gateway.CodeInvalid, "Idempotency-Key must be one text of 1 to %d printable ASCII characters.", maxIdempotencyKey)
	}
	return key, nil
}

// once is an operation that is carried out once for its key.
type once struct {
	op      operation
	key     string // "" without one
	request [sha256.Size]byte

	answer answer
	kept   *gateway.KeptAnswer // what was answered before
}

// once makes an operation of the request one that is carried out once.
func (r *request) once(op operation) (*once, error) {
	o := &once{op: op, key: r.key}
	if o.key == "" {
		return o, nil
	}
	body, err := r.payload()
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	// The path as it came: the answer to another one could be another.
	fmt.Fprintf(h, "%s %s v%d\n", r.method(), r.target(), r.version)
	h.Write(body)
	h.Sum(o.request[:0])
	return o, nil
}

// target is the path and query that the request asks for.
func (r *request) target() string {
	if r.part != nil {
		return r.part.path
	}
	return r.Request().URL.RequestURI()
}

// do carries out the operation, unless it has been.
func (o *once) do(e *gateway.Editor) (err error) {
	o.answer, o.kept = answer{}, nil
	if o.key == "" {
		o.answer, err = o.op(e)
		return err
	}
	if o.kept, err = e.KeptAnswer(o.key); err != nil {
		return err
	}
	if o.kept != nil {
		if o.kept.Request != o.request {
			return gateway.Errorf(gateway.CodeKeyReused, "This Idempotency-Key was used for another request. Use a new key for each.")
		}
		return nil
	}
	if o.answer, err = o.op(e); err != nil {
		return err
	}
	kept := gateway.KeptAnswer{
		Key: o.key, Request: o.request, Status: o.answer.status,
	}
	kept.Entity, kept.SubjectID = o.answer.subject()
	if o.answer.body != nil {
		text, err := encodeJSON(o.answer.body)
		if err != nil {
			return err
		}
		kept.Body = string(text)
	}
	return e.KeepAnswer(kept)
}

// written returns the answer to an operation that is committed.
func (o *once) written(s *Server, r *request) (written, error) {
	a, replayed := o.answer, o.kept != nil
	if replayed {
		a = answerOf(o.kept)
		if o.kept.Body != "" {
			return written{a.status, []byte(o.kept.Body), true}, nil
		}
	}
	text, err := s.render(r, a)
	if err != nil {
		return written{}, err
	}
	entity, _ := a.subject()
	isView := entity != ""
	// A part's is made anew: a commit for each would double what a bulk request costs.
	if o.key != "" && r.part == nil && isView {
		// What was asked for is done and the key is known: the answer must not fail for this.
		if err := s.editor.KeepBody(r.Request().Context(), r.workspace.ID, o.key, string(text)); err != nil {
			s.log.Warn("could not keep an answer", zap.Int64("workspace", int64(r.workspace.ID)), zap.Error(err))
		}
	}
	return written{a.status, text, replayed}, nil
}

// subject is whose view the body is, nothing if it is none.
func (a *answer) subject() (gateway.Entity, int64) {
	switch {
	case a.contact != 0:
		return gateway.EntityContact, int64(a.contact)
	case a.company != 0:
		return gateway.EntityCompany, int64(a.company)
	case a.record.id != 0:
		return a.record.entity, int64(a.record.id)
	}
	return "", 0
}

// answerOf is the answer that was kept, without its body.
func answerOf(k *gateway.KeptAnswer) answer {
	a := answer{status: k.Status}
	switch k.Entity {
	case "":
	case gateway.EntityContact:
		a.contact = gateway.ContactID(k.SubjectID)
	case gateway.EntityCompany:
		a.company = gateway.CompanyID(k.SubjectID)
	default:
		a.record = recordRef{k.Entity, gateway.RecordID(k.SubjectID)}
	}
	return a
}
