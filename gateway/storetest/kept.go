package storetest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

// keptAnswer reads what is kept under a key.
func (b *bundle) keptAnswer(w gateway.WorkspaceID, key string) (a *gateway.KeptAnswer) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) (err error) {
		a, err = tx.KeptAnswer(w, key)
		return err
	})
	return a
}

func (b *bundle) keep(w gateway.WorkspaceID, a gateway.KeptAnswer, forget time.Time) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error { return tx.KeepAnswer(w, a, forget) })
}

func testKeptAnswers(t *testing.T, b *bundle) {
	if a := b.keptAnswer(b.w, "k"); a != nil {
		t.Errorf("kept before anything was: %+v", a)
	}
	full := gateway.KeptAnswer{Key: "k'\"%", Request: [32]byte{0, 1, 0xff}, Status: 201, Entity: gateway.EntityCompany, SubjectID: 8, Body: `{"a":"ł"}`, At: at(1)}
	b.keep(b.w, full, at(0))
	if diff := cmp.Diff(&full, b.keptAnswer(b.w, full.Key)); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	if a := b.keptAnswer(b.workspace("Other"), full.Key); a != nil {
		t.Errorf("of another workspace: %+v", a)
	}
	// A body comes later; that of what is not kept is nobody's.
	b.update(func(tx gateway.Tx) error {
		if err := tx.KeepBody(b.w, "unknown", "x"); err != nil {
			return err
		}
		return tx.KeepBody(b.w, full.Key, "later")
	})
	if a := b.keptAnswer(b.w, full.Key); a.Body != "later" || a.Status != 201 {
		t.Errorf("with a body: %+v", a)
	}
	// Kept anew, it is another one.
	b.keep(b.w, gateway.KeptAnswer{Key: full.Key, Status: 204, At: at(2)}, at(0))
	if a := b.keptAnswer(b.w, full.Key); a.Body != "" || a.Status != 204 || a.Request != [32]byte{} || !a.At.Equal(at(2)) {
		t.Errorf("kept anew: %+v", a)
	}
	// Not without its transaction.
	_ = b.Update(b.ctx, func(tx gateway.Tx) error {
		if err := tx.KeepAnswer(b.w, gateway.KeptAnswer{Key: "undone", At: at(2)}, at(0)); err != nil {
			t.Error(err)
		}
		if a, err := tx.KeptAnswer(b.w, "undone"); a == nil || err != nil {
			t.Errorf("within the transaction: %+v, %v", a, err)
		}
		return gateway.Errorf(gateway.CodeInvalid, "no")
	})
	if a := b.keptAnswer(b.w, "undone"); a != nil {
		t.Errorf("of a transaction that was undone: %+v", a)
	}
	// Old ones go as new ones come, and faster than those.
	for i := range 30 {
		b.keep(b.w, gateway.KeptAnswer{Key: string(rune('A' + i)), At: at(3)}, at(0))
	}
	for range 4 {
		b.keep(b.w, gateway.KeptAnswer{Key: "new", At: at(100)}, at(50))
	}
	for i := range 30 {
		if a := b.keptAnswer(b.w, string(rune('A'+i))); a != nil {
			t.Errorf("an old one is kept: %+v", a)
		}
	}
	if a := b.keptAnswer(b.w, "new"); a == nil {
		t.Error("a new one is gone")
	}
}
