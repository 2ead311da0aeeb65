package storetest

import (
	"fmt"
	"strings"
	"testing"

	"civgate/gateway"
)

// inspect adds inspections of a workspace, of which keep remain.
func (b *bundle) inspect(w gateway.WorkspaceID, keep int, all ...*gateway.Inspection) {
	b.t.Helper()
	b.update(func(tx gateway.Tx) error { return tx.AddInspections(w, all, keep) })
}

func (b *bundle) inspections(w gateway.WorkspaceID, q gateway.InspectionQuery) []gateway.InspectionView {
	b.t.Helper()
	if q.Limit == 0 {
		q.Limit = gateway.KeptInspections
	}
	return must[[]gateway.InspectionView](b.t)(b.Inspections(b.ctx, w, q))
}

func inspectionIDs(all []gateway.InspectionView) (ids []int64) {
	for i := range all {
		ids = append(ids, all[i].ID)
	}
	return ids
}

func testInspections(t *testing.T, b *bundle) {
	ada, visitor, gone := b.newContact("ada"), b.newContact(""), b.newContact("gone")
	ada.Email, ada.EmailKey, ada.Key = "Ada@Acme.test", "ada@acme.test", "k1k1k1"
	ada.Attributes = gateway.Attributes{{Name: "name", Value: text("Ada")}}
	b.save(&gateway.Changes{NewContacts: []*gateway.Contact{ada, visitor, gone}})
	full := &gateway.Inspection{
		At: at(1), Node: "n1", Verdict: gateway.VerdictPartly, ContactID: ada.ID,
		Detail: gateway.InspectionDetail{
			Type: "page", About: "/pricing", Rule: gateway.RuleKeep, Payload: `{"plan":"<script>\u2028"}`, Size: 999, Cut: true,
			Warnings:     []gateway.Warning{{Field: "email", Code: "invalid_email", Message: "send an address"}},
			MoreWarnings: 2, MoreChanges: 3,
			Changes: []gateway.Change{{What: gateway.ChangeAttribute, Name: "plan", Before: `"free"`, After: `"pro"`}, {What: gateway.ChangeLinked, Subject: "Acme & Søn", After: "7"}},
		},
	}
	refused := &gateway.Inspection{
		At: at(2), Node: "n2", Verdict: gateway.VerdictRefused, Code: gateway.CodeOriginNotAllowed,
		Detail: gateway.InspectionDetail{Reason: "not from there", Field: "apiKey", Origin: "https://x.test"},
	}
	more := &gateway.Inspection{At: at(3), Verdict: gateway.VerdictMore, Detail: gateway.InspectionDetail{More: map[gateway.Code]int{"": 4312, gateway.CodeRateLimited: 7}}}
	ofVisitor := &gateway.Inspection{At: at(4), Verdict: gateway.VerdictAccepted, ContactID: visitor.ID, Detail: gateway.InspectionDetail{Payload: "{}"}}
	ofGone := &gateway.Inspection{At: at(5), Verdict: gateway.VerdictAccepted, ContactID: gone.ID, Detail: gateway.InspectionDetail{Payload: `{"secret":1}`}}
	b.inspect(b.w, 100, full, refused, more)
	b.inspect(b.w, 100, ofVisitor, ofGone)
	b.inspect(0, 100, refused) // nobody's

	all := b.inspections(b.w, gateway.InspectionQuery{})
	equal(t, "ids, newest first", inspectionIDs(all), []int64{5, 4, 3, 2, 1})
	bare := *full
	bare.ID, bare.WorkspaceID = 1, b.w
	equal(t, "as it was kept", all[4], gateway.InspectionView{Inspection: bare, Survivor: ada.ID, CustomID: "ada", Email: "Ada@Acme.test", Name: "Ada", Key: "k1k1k1"})
	bare = *refused
	bare.ID, bare.WorkspaceID = 2, b.w
	equal(t, "refused", all[3], gateway.InspectionView{Inspection: bare})
	equal(t, "counts", all[2].Detail.More, more.Detail.More)
	one := must[*gateway.InspectionView](t)(b.Inspection(b.ctx, b.w, 1))
	equal(t, "one", *one, all[4])
	_, err := b.Inspection(b.ctx, b.w, 6)
	wantCode(t, "one that is not there", err, gateway.CodeNotFound)
	_, err = b.Inspection(b.ctx, b.workspace("Other"), 1)
	wantCode(t, "one of another workspace", err, gateway.CodeNotFound)
	equal(t, "nobody's", inspectionIDs(b.inspections(0, gateway.InspectionQuery{})), []int64{1})

	for _, c := range []struct {
		what string
		q    gateway.InspectionQuery
		want []int64
	}{
		{"page", gateway.InspectionQuery{Limit: 2}, []int64{5, 4}},
		{"next page", gateway.InspectionQuery{Limit: 2, Before: 4}, []int64{3, 2}},
		{"after", gateway.InspectionQuery{After: 3}, []int64{5, 4}},
		{"verdict", gateway.InspectionQuery{Verdict: gateway.VerdictAccepted}, []int64{5, 4}},
		{"verdict after", gateway.InspectionQuery{Verdict: gateway.VerdictAccepted, After: 4}, []int64{5}},
		{"verdict of none", gateway.InspectionQuery{Verdict: gateway.VerdictSwitched}, nil},
		{"contact", gateway.InspectionQuery{Contact: ada.ID}, []int64{1}},
		{"contact and verdict", gateway.InspectionQuery{Contact: ada.ID, Verdict: gateway.VerdictPartly, Before: 2}, []int64{1}},
		{"contact and another verdict", gateway.InspectionQuery{Contact: ada.ID, Verdict: gateway.VerdictMerged}, nil},
	} {
		equal(t, c.what, inspectionIDs(b.inspections(b.w, c.q)), c.want)
	}
	_, err = b.Inspections(b.ctx, b.w, gateway.InspectionQuery{Contact: 1 << 40, Limit: 1})
	wantCode(t, "of a contact that is not there", err, gateway.CodeNotFound)

	b.merge(ada, visitor)
	merged := b.inspections(b.w, gateway.InspectionQuery{Contact: visitor.ID})
	equal(t, "of a contact and what was merged into it", inspectionIDs(merged), []int64{4, 1})
	if v := merged[0]; v.ContactID != visitor.ID || v.Survivor != ada.ID || v.Name != "Ada" {
		t.Errorf("a merged contact is shown as %d %q, survivor %d", v.ContactID, v.Name, v.Survivor)
	}

	b.save(&gateway.Changes{DeletedContacts: []gateway.ContactID{gone.ID}})
	b.inspect(b.w, 100, ofGone, ofVisitor) // it was on its way when the contact was deleted
	for _, id := range []int64{5, 6} {
		v := must[*gateway.InspectionView](t)(b.Inspection(b.ctx, b.w, id))
		if v.ContactID != 0 || v.Survivor != 0 || !v.Detail.Deleted || v.Detail.Payload != "" {
			t.Errorf("of a deleted contact there is left: %+v", v)
		}
	}
	equal(t, "others stay", inspectionIDs(b.inspections(b.w, gateway.InspectionQuery{Contact: ada.ID})), []int64{7, 4, 1})
}

// testInspectionsKept: the newest are kept, whatever the portions in which they come.
func testInspectionsKept(t *testing.T, b *bundle) {
	other := b.workspace("Other")
	b.inspect(other, 10, &gateway.Inspection{At: at(0), Verdict: gateway.VerdictAccepted})
	next := 0
	for _, n := range []int{1, 9, 10, 11, 61, 50, 300} {
		var all []*gateway.Inspection
		for range n {
			next++
			all = append(all, &gateway.Inspection{At: at(next), Verdict: gateway.VerdictAccepted, Detail: gateway.InspectionDetail{About: fmt.Sprint(next), Payload: strings.Repeat("x", 100)}})
		}
		before := b.inspections(b.w, gateway.InspectionQuery{Limit: 1})
		b.inspect(b.w, 100, all...)
		got := b.inspections(b.w, gateway.InspectionQuery{})
		if want := min(next, 100); len(got) != want {
			t.Fatalf("after %d: %d are kept, want %d", next, len(got), want)
		}
		for i, v := range got {
			if v.Detail.About != fmt.Sprint(next-i) || i > 0 && v.ID != got[i-1].ID-1 {
				t.Fatalf("after %d: the %d. is %s with id %d", next, i, v.Detail.About, v.ID)
			}
		}
		if len(before) > 0 && got[0].ID <= before[0].ID {
			t.Errorf("ids don't rise: %d after %d", got[0].ID, before[0].ID)
		}
	}
	equal(t, "another workspace's", inspectionIDs(b.inspections(other, gateway.InspectionQuery{})), []int64{1})
}
