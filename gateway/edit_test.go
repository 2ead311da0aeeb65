package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// onBoth runs a test on a new gateway over SQLite and on one over PostgreSQL.
func onBoth(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, newRig(t, 1000))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, newNode(t, pgtest.Shared(t).NewDatabase(t), cache.New(1000), 0))
	})
}

// newNode is a gateway on a database that it may share with others. The first
// one (w 0) makes the workspace.
func newNode(t *testing.T, database string, c gateway.Cache, w gateway.WorkspaceID) *rig {
	t.Helper()
	st, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	in, err := inbox.Open(t.Context(), filepath.Join(t.TempDir(), "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), st.Close()); err != nil {
			t.Error(err)
		}
	})
	r := &rig{t: t, store: st, w: w, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	r.g = gateway.New(gateway.Config{
		Store: st, Inbox: in, Cache: c, Log: zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel)), Node: t.TempDir(), Inspect: true,
		Now: func() time.Time { return r.now },
	})
	if w == 0 {
		r.w, err = st.CreateWorkspace(t.Context(), gateway.Workspace{Name: "test", CreatedAt: r.now, Settings: gateway.DefaultSettings()},
			gateway.APIKey{Kind: gateway.KeyWidget, Secret: rigKey, CreatedAt: r.now})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// edit is an edit by the token t1.
func (r *rig) edit(fn func(e *gateway.Editor) error) error {
	w := &gateway.Workspace{ID: r.w, Settings: gateway.DefaultSettings()}
	return r.g.Edit(context.Background(), w, gateway.Author{Source: gateway.SourceAPI, By: "token t1"}, fn)
}

// must makes an edit that must succeed, a minute after the one before.
func (r *rig) must(fn func(e *gateway.Editor) error) {
	r.t.Helper()
	r.now = r.now.Add(time.Minute)
	if err := r.edit(fn); err != nil {
		r.t.Fatal(err)
	}
}

// contact and company make one and return its id.
func (r *rig) contact(p gateway.ContactPatch) (id gateway.ContactID) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) (err error) {
		id, err = e.CreateContact(p)
		return err
	})
	return id
}

func (r *rig) company(p gateway.CompanyPatch) (id gateway.CompanyID) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) (err error) {
		id, err = e.CreateCompany(p)
		return err
	})
	return id
}

func (r *rig) view(id gateway.ContactID) *gateway.ContactView {
	r.t.Helper()
	v, err := r.store.Contact(context.Background(), r.w, id)
	if err != nil {
		r.t.Fatalf("contact %d: %v", id, err)
	}
	return v
}

func (r *rig) companyView(id gateway.CompanyID) *gateway.CompanyView {
	r.t.Helper()
	v, err := r.store.Company(context.Background(), r.w, id)
	if err != nil {
		r.t.Fatalf("company %d: %v", id, err)
	}
	return v
}

// set is an attribute of a patch.
func set(name string, v gateway.Value) gateway.PayloadAttribute {
	return gateway.PayloadAttribute{Name: name, Label: name, Value: v}
}

func str(s string) gateway.Value { return gateway.TextValue(s) }

// wants fails unless err is of the code and, where one is given, of the field.
func wants(t *testing.T, what string, err error, code gateway.Code, field string) {
	t.Helper()
	var e *gateway.Error
	if !errors.As(err, &e) || e.Code != code || e.Field != field {
		t.Errorf("%s: %v, want %s of field %q", what, err, code, field)
	}
}

func TestEditorContact(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		acme := r.company(gateway.CompanyPatch{CustomID: new("c7"), Name: new("Acme")})
		id := r.contact(gateway.ContactPatch{
			CustomID: new("42"), Email: new("Ada@Acme.test"),
			Attributes: []gateway.PayloadAttribute{
				set("first_name", str("Ada")), set("last_name", str("Lovelace")), set("tags", gateway.ListValue("vip", "beta")),
				set("score", gateway.IntValue(5)), set("plan", str("gold")), set("seats", gateway.IntValue(3)),
			},
			Companies: []gateway.CompanyRef{{CustomID: "c7"}, {ID: acme}},
		})
		v := r.view(id)
		if v.CustomID != "42" || v.Email != "Ada@Acme.test" || v.EmailKey != "ada@acme.test" || v.Key == "" || !v.CreatedAt.Equal(r.now) || !v.UpdatedAt.Equal(r.now) {
			t.Errorf("created: %+v", v.Contact)
		}
		want := map[string]string{"first_name": `"Ada"`, "name": `"Ada Lovelace"`, "tags": `["vip","beta"]`, "score": "5", "plan": `"gold"`, "seats": "3"}
		for name, raw := range want {
			if got := attribute(v.Attributes, name); got != raw {
				t.Errorf("%s is %s, want %s", name, got, raw)
			}
		}
		m := gateway.Membership{WorkspaceID: r.w, ContactID: id, CompanyID: acme, Source: gateway.SourceAPI, Primary: true, Since: r.now, By: "token t1"}
		if diff := cmp.Diff([]gateway.ContactCompany{{Membership: m, CustomID: "c7", Name: "Acme"}}, v.Companies); diff != "" {
			t.Errorf("companies (-want +got):\n%s", diff)
		}
		if got := r.byKey(v.Key); got.Contact.ID != id {
			t.Errorf("the key that was made leads to %d", got.Contact.ID)
		}

		created := v.CreatedAt
		r.must(func(e *gateway.Editor) error {
			return e.UpdateContact(id, gateway.ContactPatch{KeepTags: true, Key: "k1k1k1", Attributes: []gateway.PayloadAttribute{
				set("tags", gateway.ListValue("vip", "new")), set("last_name", str("King")), set("score", gateway.Null), set("seats", str("many")),
			}})
		})
		v = r.view(id)
		want = map[string]string{"first_name": `"Ada"`, "name": `"Ada King"`, "tags": `["vip","beta","new"]`, "score": "absent", "plan": `"gold"`, "seats": "3"}
		for name, raw := range want {
			if got := attribute(v.Attributes, name); got != raw {
				t.Errorf("after the change %s is %s, want %s", name, got, raw)
			}
		}
		if v.CustomID != "42" || v.Email != "Ada@Acme.test" || v.Key != "k1k1k1" || !v.CreatedAt.Equal(created) || !v.UpdatedAt.Equal(r.now) || len(v.Companies) != 1 {
			t.Errorf("changed: %+v", v)
		}

		r.must(func(e *gateway.Editor) error {
			return e.UpdateContact(id, gateway.ContactPatch{CustomID: new(""), Email: new(""), Attributes: []gateway.PayloadAttribute{set("tags", gateway.ListValue("x"))}})
		})
		if v = r.view(id); v.CustomID != "" || v.Email != "" || v.EmailKey != "" || attribute(v.Attributes, "tags") != `["x"]` {
			t.Errorf("cleared: %+v", v.Contact)
		}
		for _, identifier := range []func() (*gateway.ContactView, error){
			func() (*gateway.ContactView, error) { return r.store.ContactByCustomID(t.Context(), r.w, "42") },
			func() (*gateway.ContactView, error) {
				found, err := r.store.ContactsByEmail(t.Context(), r.w, "ada@acme.test", 1)
				if err == nil && len(found) == 0 {
					err = gateway.Errorf(gateway.CodeNotFound, "none")
				}
				return nil, err
			},
		} {
			if v, err := identifier(); !gateway.IsNotFound(err) {
				t.Errorf("an identifier that was cleared finds %+v, %v", v, err)
			}
		}
	})
}

// TestEditorRefuses: what is wrong is said of its field, and nothing of such an
// edit remains.
func TestEditorRefuses(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		a := r.contact(gateway.ContactPatch{CustomID: new("a"), Attributes: []gateway.PayloadAttribute{set("plan", str("gold"))}})
		r.contact(gateway.ContactPatch{CustomID: new("b")})
		c := r.company(gateway.CompanyPatch{CustomID: new("c7")})
		r.company(gateway.CompanyPatch{CustomID: new("c8")})
		name := []gateway.PayloadAttribute{set("name", str("changed"))}
		for _, tt := range []struct {
			name, field string
			code        gateway.Code
			edit        func(e *gateway.Editor) error
		}{
			{"custom id of another", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateContact(a, gateway.ContactPatch{CustomID: new("b")}) }},
			{"custom id of another, created", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error {
				_, err := e.CreateContact(gateway.ContactPatch{CustomID: new("b")})
				return err
			}},
			{"custom id with a control character", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateContact(a, gateway.ContactPatch{CustomID: new("x\x00")}) }},
			{"custom id with spaces", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateContact(a, gateway.ContactPatch{CustomID: new(" x")}) }},
			{"custom id too long", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error {
				return e.UpdateContact(a, gateway.ContactPatch{CustomID: new(strings.Repeat("x", gateway.MaxID+1))})
			}},
			{"e-mail that is none", "email", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateContact(a, gateway.ContactPatch{Email: new("nobody")}) }},
			{"company that is not there", "company_custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error {
				return e.UpdateContact(a, gateway.ContactPatch{Attributes: name, Companies: []gateway.CompanyRef{{CustomID: "none", Field: "company_custom_id"}}})
			}},
			{"company id that is not there", "company_id", gateway.CodeInvalid, func(e *gateway.Editor) error {
				return e.UpdateContact(a, gateway.ContactPatch{Attributes: name, Companies: []gateway.CompanyRef{{ID: 999}}})
			}},
			{"company's custom id of another", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateCompany(c, gateway.CompanyPatch{CustomID: new("c8")}) }},
			{"company's custom id with a tab", "custom_id", gateway.CodeInvalid, func(e *gateway.Editor) error { return e.UpdateCompany(c, gateway.CompanyPatch{CustomID: new("c\t8")}) }},
			{"unknown contact", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.UpdateContact(999, gateway.ContactPatch{}) }},
			{"unknown contact to delete", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.DeleteContact(999) }},
			{"unknown custom id", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.ContactByCustomID("none"); return err }},
			{"empty custom id", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.ContactByCustomID(""); return err }},
			{"unknown key", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.ContactByKey("nokey"); return err }},
			{"empty key", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.ContactByKey(""); return err }},
			{"unknown company", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.UpdateCompany(999, gateway.CompanyPatch{}) }},
			{"unknown company to delete", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.DeleteCompany(999) }},
			{"unknown company's custom id", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.CompanyByCustomID("none"); return err }},
			{"empty company's custom id", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.CompanyByCustomID(""); return err }},
			{"tags of nobody", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.Tags(999); return err }},
			{"tags of no company", "", gateway.CodeNotFound, func(e *gateway.Editor) error { _, err := e.CompanyTags(999); return err }},
			{"member of no company", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.AddMember(999, a) }},
			{"nobody as member", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.AddMember(c, 999) }},
			{"nobody leaves", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.RemoveMember(c, 999) }},
			{"primary company that is none of theirs", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.SetPrimaryCompany(a, c) }},
			{"merge with nobody", "", gateway.CodeNotFound, func(e *gateway.Editor) error { return e.MergeContacts(a, []gateway.ContactID{999}) }},
			{"event of nobody", "", gateway.CodeNotFound, func(e *gateway.Editor) error {
				_, _, err := e.AddEvent(999, gateway.EventCustom, "login", "", time.Time{})
				return err
			}},
			{"page view of nobody", "", gateway.CodeNotFound, func(e *gateway.Editor) error {
				_, err := e.AddPageView(gateway.PageView{ContactID: 999})
				return err
			}},
			{"attribute that is there", "name", gateway.CodeInvalid, func(e *gateway.Editor) error {
				_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "Plan", Type: gateway.TypeText})
				return err
			}},
			{"attribute that is standard", "name", gateway.CodeInvalid, func(e *gateway.Editor) error {
				_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "First name", Type: gateway.TypeText})
				return err
			}},
			{"attribute whose name is reserved", "name", gateway.CodeInvalid, func(e *gateway.Editor) error {
				_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityCompany, Label: "employees_count", Type: gateway.TypeText})
				return err
			}},
			{"attribute without a letter", "name", gateway.CodeInvalid, func(e *gateway.Editor) error {
				_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "!?", Type: gateway.TypeText})
				return err
			}},
		} {
			err := r.edit(func(e *gateway.Editor) error {
				// Something good before, which must not stay either.
				if err := e.UpdateContact(a, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("half", str("done"))}}); err != nil {
					return err
				}
				return tt.edit(e)
			})
			wants(t, tt.name, err, tt.code, tt.field)
		}
		if v := r.view(a); v.CustomID != "a" || attribute(v.Attributes, "half") != "absent" || attribute(v.Attributes, "name") != "absent" || len(v.Companies) != 0 {
			t.Errorf("refused edits left %+v", v)
		}
		defs, err := r.store.AttributeDefs(t.Context(), r.w)
		if err != nil || len(defs) != 1 {
			t.Errorf("definitions are %+v, %v", defs, err)
		}
		// An attribute that such an edit would have defined can be defined.
		r.must(func(e *gateway.Editor) error {
			if d, ok := e.Attribute(gateway.EntityContact, "half"); ok {
				t.Errorf("half is known: %+v", d)
			}
			_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "half", Type: gateway.TypeNumber})
			return err
		})
	})
}

func TestEditorCompany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		id := r.company(gateway.CompanyPatch{CustomID: new("c7"), Name: new("Acme"), Attributes: []gateway.PayloadAttribute{
			set("city", str("Łódź")), set("revenue", str("$239.9 billion")), set("tags", gateway.ListValue("a")),
		}})
		created := r.now
		r.must(func(e *gateway.Editor) error {
			if got, err := e.CompanyByCustomID("c7"); err != nil || got != id {
				t.Errorf("c7 is %d, %v", got, err)
			}
			if err := e.UpdateCompany(id, gateway.CompanyPatch{CustomID: new("c9"), KeepTags: true, Attributes: []gateway.PayloadAttribute{
				set("city", gateway.Null), set("tags", gateway.ListValue("b"))}}); err != nil {
				return err
			}
			if _, err := e.CompanyByCustomID("c7"); !gateway.IsNotFound(err) {
				t.Errorf("the old id still finds: %v", err)
			}
			// Another may have the id at once.
			_, err := e.CreateCompany(gateway.CompanyPatch{CustomID: new("c7"), Name: new("Acme")})
			return err
		})
		v := r.companyView(id)
		if v.CustomID != "c9" || v.Name != "Acme" || !v.CreatedAt.Equal(created) || !v.UpdatedAt.Equal(r.now) ||
			attribute(v.Attributes, "city") != "absent" || attribute(v.Attributes, "revenue") != `"$239.9 billion"` || attribute(v.Attributes, "tags") != `["a","b"]` {
			t.Errorf("changed: %+v", v)
		}
		other, err := r.store.CompanyByCustomID(t.Context(), r.w, "c7")
		if err != nil || other.ID == id {
			t.Errorf("c7 is %+v, %v", other, err)
		}
		r.must(func(e *gateway.Editor) error {
			if tags, err := e.CompanyTags(id); err != nil || !slices.Equal(tags, []string{"a", "b"}) {
				t.Errorf("tags %q, %v", tags, err)
			}
			if err := e.SetCompanyTags(id, nil); err != nil {
				return err
			}
			return e.UpdateCompany(id, gateway.CompanyPatch{CustomID: new(""), Name: new("Acme Ltd")})
		})
		if v = r.companyView(id); v.CustomID != "" || v.Name != "Acme Ltd" || attribute(v.Attributes, "tags") != "absent" {
			t.Errorf("cleared: %+v", v)
		}
	})
}

// companiesOf are a contact's companies in the words of a test: source, company,
// * for the primary one.
func companiesOf(v *gateway.ContactView) string {
	var out []string
	for _, c := range v.Companies {
		s := fmt.Sprintf("%s %s", c.Source, c.CustomID)
		if c.Primary {
			s += "*"
		}
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}

func TestEditorMembers(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		c1, c2, c3 := r.company(gateway.CompanyPatch{CustomID: new("c1")}), r.company(gateway.CompanyPatch{CustomID: new("c2")}), r.company(gateway.CompanyPatch{CustomID: new("c3")})
		r.apply(page("a", "k1k1k1", `"user_id":"x","company":{"company_id":"c1"}`))
		x := r.byCustomID("x").Contact.ID
		since := r.view(x).Companies[0].Since
		steps := []struct {
			name, want string
			edit       func(e *gateway.Editor) error
		}{
			{"repeat of what the widget made", "widget c1*", func(e *gateway.Editor) error { return e.AddMember(c1, x) }},
			{"two more", "widget c1*, api c2, api c3", func(e *gateway.Editor) error {
				return errors.Join(e.AddMember(c2, x), e.AddMember(c3, x), e.AddMember(c2, x))
			}},
			{"another primary", "api c2*, widget c1, api c3", func(e *gateway.Editor) error { return e.SetPrimaryCompany(x, c2) }},
			{"the same primary", "api c2*, widget c1, api c3", func(e *gateway.Editor) error { return e.SetPrimaryCompany(x, c2) }},
			{"the primary one ends", "widget c1*, api c3", func(e *gateway.Editor) error { return e.RemoveMember(c2, x) }},
			{"what has ended ends", "widget c1*, api c3", func(e *gateway.Editor) error { return e.RemoveMember(c2, x) }},
			{"made and ended at once", "widget c1*, api c3", func(e *gateway.Editor) error { return errors.Join(e.AddMember(c2, x), e.RemoveMember(c2, x)) }},
			{"ended and made at once", "api c3*, api c1", func(e *gateway.Editor) error { return errors.Join(e.RemoveMember(c1, x), e.AddMember(c1, x)) }},
			{"all end", "", func(e *gateway.Editor) error { return errors.Join(e.RemoveMember(c1, x), e.RemoveMember(c3, x)) }},
			{"and one comes back", "api c2*", func(e *gateway.Editor) error { return e.AddMember(c2, x) }},
		}
		for i, s := range steps {
			r.must(s.edit)
			if got := companiesOf(r.view(x)); got != s.want {
				t.Fatalf("%s: companies are %q, want %q", s.name, got, s.want)
			}
			if i == 0 && !r.view(x).Companies[0].Since.Equal(since) {
				t.Errorf("member since %v, was %v", r.view(x).Companies[0].Since, since)
			}
		}
		if v := r.view(x).Companies[0]; !v.Since.Equal(r.now) || v.By != "token t1" {
			t.Errorf("a membership that came back: %+v", v)
		}
		if v := r.companyView(c1); v.EmployeesCount != 0 {
			t.Errorf("c1 has %d employees", v.EmployeesCount)
		}
	})
}

// TestEditorTooMany: bounds are errors, not silence.
func TestEditorTooMany(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	x := r.contact(gateway.ContactPatch{})
	r.must(func(e *gateway.Editor) error {
		for range 1000 {
			c, err := e.CreateCompany(gateway.CompanyPatch{})
			if err != nil {
				return err
			}
			if err := e.AddMember(c, x); err != nil {
				return err
			}
		}
		return nil
	})
	one := r.company(gateway.CompanyPatch{})
	wants(t, "company 1,001", r.edit(func(e *gateway.Editor) error { return e.AddMember(one, x) }), gateway.CodeInvalid, "")

	many := func(from, to int) (out []gateway.PayloadAttribute) {
		for i := from; i < to; i++ {
			out = append(out, set(fmt.Sprintf("a%d", i), gateway.IntValue(int64(i))))
		}
		return out
	}
	r.must(func(e *gateway.Editor) error {
		return e.UpdateContact(x, gateway.ContactPatch{Attributes: many(0, 999)})
	})
	update := func(in []gateway.PayloadAttribute) error {
		return r.edit(func(e *gateway.Editor) error { return e.UpdateContact(x, gateway.ContactPatch{Attributes: in}) })
	}
	wants(t, "attributes 1,000 and 1,001", update(many(999, 1001)), gateway.CodeInvalid, "a1000")
	if got := attribute(r.view(x).Attributes, "a999"); got != "absent" {
		t.Errorf("of a refused edit a999 is %s", got)
	}
	if err := update(append(many(998, 1000), set("a1000", gateway.Null), set("a0", gateway.IntValue(7)))); err != nil {
		t.Errorf("attribute 1,000: %v", err)
	}
	wants(t, "attribute 1,001", update(many(1000, 1001)), gateway.CodeInvalid, "a1000")
	wants(t, "definition 1,001", r.edit(func(e *gateway.Editor) error {
		_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "one more", Type: gateway.TypeText})
		return err
	}), gateway.CodeInvalid, "name")
	r.must(func(e *gateway.Editor) error {
		_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityCompany, Label: "one more", Type: gateway.TypeText})
		return err
	})
}

// TestEditorMerge: two known contacts, and one more, become one: the parent keeps
// its values, gaps are filled by rising id, nothing is lost from the journal.
func TestEditorMerge(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.company(gateway.CompanyPatch{CustomID: new("c1")})
		r.company(gateway.CompanyPatch{CustomID: new("c2")})
		a := r.contact(gateway.ContactPatch{Email: new("a@acme.test"), Key: "akey00000000", Companies: []gateway.CompanyRef{{CustomID: "c1"}},
			Attributes: []gateway.PayloadAttribute{set("plan", str("a")), set("city", str("a")), set("tags", gateway.ListValue("x", "y"))}})
		since := r.now
		b := r.contact(gateway.ContactPatch{CustomID: new("b"), Email: new("b@acme.test"), Key: "bkey00000000",
			Attributes: []gateway.PayloadAttribute{set("plan", str("b")), set("country", str("b")), set("city", str("b"))}})
		parent := r.contact(gateway.ContactPatch{CustomID: new("p"), Key: "pkey00000000", Companies: []gateway.CompanyRef{{CustomID: "c2"}},
			Attributes: []gateway.PayloadAttribute{set("plan", str("p")), set("tags", gateway.ListValue("z"))}})
		r.apply(page("v1", "akey00000000", ""), page("v2", "bkey00000000", ""))

		r.must(func(e *gateway.Editor) error { return e.MergeContacts(parent, []gateway.ContactID{b, a, b, parent}) })
		v := r.view(parent)
		if v.CustomID != "p" || v.Email != "a@acme.test" || v.Key != "pkey00000000" || v.PageViews != 2 {
			t.Errorf("the parent is %+v", v)
		}
		for name, want := range map[string]string{"plan": `"p"`, "city": `"a"`, "country": `"b"`, "tags": `["z","x","y"]`} {
			if got := attribute(v.Attributes, name); got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
		if got := companiesOf(v); got != "api c2*, api c1" || !v.Companies[1].Since.Equal(since) {
			t.Errorf("companies are %s: %+v", got, v.Companies)
		}
		for _, key := range []string{"akey00000000", "bkey00000000", "pkey00000000"} {
			if got := r.byKey(key).Contact.ID; got != parent {
				t.Errorf("%s leads to %d", key, got)
			}
		}
		for _, id := range []gateway.ContactID{a, b} {
			if got := r.view(id).Contact.ID; got != parent {
				t.Errorf("the id %d leads to %d", id, got)
			}
		}
		if _, err := r.store.ContactByCustomID(t.Context(), r.w, "b"); !gateway.IsNotFound(err) {
			t.Errorf("a custom id that the parent didn't need finds: %v", err)
		}
		merges, err := r.store.Merges(t.Context(), r.w, parent, gateway.HistoryQuery{Limit: 10})
		if err != nil || len(merges) != 2 {
			t.Fatalf("journal %+v, %v", merges, err)
		}
		slices.SortFunc(merges, func(x, y gateway.Merge) int { return int(x.LoserID - y.LoserID) })
		for i, loser := range []gateway.ContactID{a, b} {
			m := merges[i]
			if m.LoserID != loser || m.WinnerID != parent || m.By != "token t1" || m.Rule != string(gateway.RuleMergeByHand) || !m.At.Equal(r.now) {
				t.Errorf("journal: %+v", m)
			}
		}
		for _, want := range []string{`"custom_id":"b"`, `"email":"b@acme.test"`, `"keys":["bkey00000000"]`, `"country":"b"`} {
			if !strings.Contains(merges[1].Before, want) {
				t.Errorf("the journal lacks %s: %s", want, merges[1].Before)
			}
		}

		// Again: nothing happens.
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(a, []gateway.ContactID{b, parent}) })
		if merges, err = r.store.Merges(t.Context(), r.w, parent, gateway.HistoryQuery{Limit: 10}); err != nil || len(merges) != 2 {
			t.Errorf("a repeated merge was journalled: %d, %v", len(merges), err)
		}
		if got := r.view(parent); got.CustomID != "p" || got.Key != "pkey00000000" {
			t.Errorf("a repeated merge changed the parent: %+v", got)
		}
	})
}

// TestEditorMergeKey: the key that is shown is the newest, whoever had it.
func TestEditorMergeKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		older := r.contact(gateway.ContactPatch{CustomID: new("older"), Key: "zzzzzzzzzzzz"})
		newer := r.contact(gateway.ContactPatch{CustomID: new("newer"), Key: "aaaaaaaaaaaa"})
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(older, []gateway.ContactID{newer}) })
		if got := r.view(older).Key; got != "aaaaaaaaaaaa" {
			t.Errorf("the key is %s", got)
		}
	})
}

// TestEditorDeletes: what an edit deletes is gone for what comes after in the same
// edit, and what identified it is free.
func TestEditorDeletes(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		c1 := r.company(gateway.CompanyPatch{CustomID: new("c1")})
		c2 := r.company(gateway.CompanyPatch{CustomID: new("c2")})
		r.apply(page("a", "k1k1k1", `"user_id":"x","email":"x@x.test","company":{"company_id":"c1"}`))
		x := r.byCustomID("x").Contact.ID
		y := r.contact(gateway.ContactPatch{CustomID: new("y"), Companies: []gateway.CompanyRef{{ID: c1}, {ID: c2}}})
		merged := r.contact(gateway.ContactPatch{CustomID: new("merged"), Key: "mkey00000000"})
		var heir, briefly gateway.ContactID
		r.must(func(e *gateway.Editor) (err error) {
			if err := e.MergeContacts(x, []gateway.ContactID{merged}); err != nil {
				return err
			}
			if _, err := e.AddPageView(gateway.PageView{ContactID: x, Path: "/"}); err != nil {
				return err
			}
			if err := e.DeleteContact(x); err != nil {
				return err
			}
			for name, find := range map[string]func() (gateway.ContactID, error){
				"id":         func() (gateway.ContactID, error) { return e.Contact(x) },
				"merged id":  func() (gateway.ContactID, error) { return e.Contact(merged) },
				"custom id":  func() (gateway.ContactID, error) { return e.ContactByCustomID("x") },
				"key":        func() (gateway.ContactID, error) { return e.ContactByKey("k1k1k1") },
				"merged key": func() (gateway.ContactID, error) { return e.ContactByKey("mkey00000000") },
			} {
				if id, err := find(); !gateway.IsNotFound(err) {
					t.Errorf("by its %s the deleted contact is %d, %v", name, id, err)
				}
			}
			if heir, err = e.CreateContact(gateway.ContactPatch{CustomID: new("x"), Key: "k1k1k1"}); err != nil {
				return err
			}
			if briefly, err = e.CreateContact(gateway.ContactPatch{CustomID: new("briefly")}); err != nil {
				return err
			}
			return e.DeleteContact(briefly)
		})
		for _, id := range []gateway.ContactID{x, merged, briefly} {
			if v, err := r.store.Contact(t.Context(), r.w, id); !gateway.IsNotFound(err) {
				t.Errorf("the deleted contact %d is %+v, %v", id, v, err)
			}
		}
		if got := r.byCustomID("x"); got.Contact.ID != heir || got.PageViews != 0 || len(got.Companies) != 0 {
			t.Errorf("x is now %+v", got)
		}
		if got := r.byKey("k1k1k1").Contact.ID; got != heir {
			t.Errorf("the key leads to %d, want %d", got, heir)
		}
		if _, err := r.store.ContactByKey(t.Context(), r.w, "mkey00000000"); !gateway.IsNotFound(err) {
			t.Errorf("the key of a deleted alias: %v", err)
		}
		if n, err := r.store.CountContacts(t.Context(), r.w); err != nil || n != 2 {
			t.Errorf("%d contacts, %v; want y and the heir", n, err)
		}

		var c3 gateway.CompanyID
		r.must(func(e *gateway.Editor) (err error) {
			if err := e.DeleteCompany(c1); err != nil {
				return err
			}
			if id, err := e.Company(c1); !gateway.IsNotFound(err) {
				t.Errorf("the deleted company is %d, %v", id, err)
			}
			if id, err := e.CompanyByCustomID("c1"); !gateway.IsNotFound(err) {
				t.Errorf("by its custom id the deleted company is %d, %v", id, err)
			}
			wants(t, "primary company that is deleted", e.SetPrimaryCompany(y, c1), gateway.CodeNotFound, "")
			if c3, err = e.CreateCompany(gateway.CompanyPatch{CustomID: new("c1")}); err != nil {
				return err
			}
			if err := e.AddMember(c3, y); err != nil {
				return err
			}
			c4, err := e.CreateCompany(gateway.CompanyPatch{CustomID: new("c4")})
			if err != nil {
				return err
			}
			return errors.Join(e.AddMember(c4, y), e.DeleteCompany(c4))
		})
		if got := companiesOf(r.view(y)); got != "api c2*, api c1" || r.view(y).Companies[1].CompanyID != c3 {
			t.Errorf("companies of y are %s", got)
		}
		if n, err := r.store.CountCompanies(t.Context(), r.w); err != nil || n != 2 {
			t.Errorf("%d companies, %v", n, err)
		}
		// The widget meets the deleted contact's browser as its heir's.
		r.apply(page("z", "k1k1k1", `"user_id":"x"`))
		if got := r.byCustomID("x"); got.Contact.ID != heir || got.PageViews != 1 {
			t.Errorf("after a page view x is %+v", got)
		}
	})
}

func TestEditorHistory(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		x := r.contact(gateway.ContactPatch{CustomID: new("x")})
		gone := r.contact(gateway.ContactPatch{CustomID: new("gone")})
		r.must(func(e *gateway.Editor) error { return e.MergeContacts(x, []gateway.ContactID{gone}) })
		then := time.Date(2025, 5, 6, 7, 8, 9, 123_456_789, time.FixedZone("", 3600))
		var ids []int64
		var firsts []bool
		r.must(func(e *gateway.Editor) error {
			ids, firsts = nil, nil
			for _, add := range []struct {
				contact gateway.ContactID
				kind    gateway.EventKind
				name    string
				at      time.Time
			}{{x, gateway.EventCustom, "login", then}, {gone, gateway.EventCustom, "login", time.Time{}}, {x, gateway.EventProduct, "login", then.Add(time.Hour)}} {
				id, first, err := e.AddEvent(add.contact, add.kind, add.name, `{"a":1}`, add.at)
				if err != nil {
					return err
				}
				ids, firsts = append(ids, id), append(firsts, first)
			}
			for _, v := range []gateway.PageView{
				{ContactID: gone, Key: "k", URL: "https://a.test/x?y=1", At: then, Title: strings.Repeat("é", gateway.MaxTitle)},
				{ContactID: x, Path: "/now", URL: "javascript:alert(1)", Referrer: "https://b.test", At: r.now.Add(time.Hour)},
			} {
				stored, err := e.AddPageView(v)
				if err != nil || stored.ContactID != x || len(stored.Title) > gateway.MaxTitle {
					t.Errorf("stored %+v, %v", stored, err)
				}
			}
			return nil
		})
		if slices.Sort(ids); ids[0] < 1 || len(slices.Compact(ids)) != 3 || !slices.Equal(firsts, []bool{true, false, true}) {
			t.Errorf("ids %v, first %v", ids, firsts)
		}
		events, err := r.store.Events(t.Context(), r.w, x, gateway.HistoryQuery{Limit: 10})
		if err != nil || len(events) != 3 {
			t.Fatalf("events %+v, %v", events, err)
		}
		if e := events[0]; e.ContactID != x || !e.At.Equal(r.now) || e.Data != `{"a":1}` || e.Name != "login" {
			t.Errorf("the newest event is %+v", e)
		}
		if e := events[2]; !e.At.Equal(then.Truncate(time.Microsecond)) || e.Kind != gateway.EventCustom {
			t.Errorf("the oldest event is %+v", e)
		}
		views, err := r.store.PageViews(t.Context(), r.w, x, gateway.HistoryQuery{Limit: 10})
		if err != nil || len(views) != 2 || views[0].Path != "/now" || views[0].URL != "" || views[0].Referrer != "https://b.test" || !views[0].At.Equal(r.now) || views[1].Key != "k" || views[1].Path != "/x" || !views[1].At.Equal(then.Truncate(time.Microsecond)) {
			t.Errorf("page views %+v, %v", views, err)
		}
		r.must(func(e *gateway.Editor) error {
			_, first, err := e.AddEvent(x, gateway.EventCustom, "login", "", time.Time{})
			if first {
				t.Error("an event of a known name is the first")
			}
			return err
		})
	})
}

func TestEditorDefines(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var def gateway.AttributeDef
		r.must(func(e *gateway.Editor) (err error) {
			if def, err = e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityCompany, Label: "API string attribute", Type: gateway.TypeNumber, Description: "How many"}); err != nil {
				return err
			}
			_, err = e.CreateCompany(gateway.CompanyPatch{CustomID: new("c1"), Attributes: []gateway.PayloadAttribute{set("api_string_attribute", str("12"))}})
			return err
		})
		want := gateway.AttributeDef{ID: def.ID, WorkspaceID: r.w, Entity: gateway.EntityCompany, Name: "api_string_attribute", Label: "API string attribute", Type: gateway.TypeNumber, Description: "How many", CreatedAt: r.now}
		defs, err := r.store.AttributeDefs(t.Context(), r.w)
		if err != nil || def.ID == 0 {
			t.Fatal(def, err)
		}
		if diff := cmp.Diff([]gateway.AttributeDef{want}, defs); diff != "" || !cmp.Equal(want, def) {
			t.Errorf("definitions (-want +got):\n%s", diff)
		}
		r.apply(page("a", "k1k1k1", `"user_id":"x","company":{"company_id":"c1","API string attribute":"13"}`))
		co, err := r.store.CompanyByCustomID(t.Context(), r.w, "c1")
		if err != nil || attribute(co.Attributes, "api_string_attribute") != "13" {
			t.Errorf("the widget's value became %+v, %v", co, err)
		}
	})
}

// TestEditRunsAgain: a panic costs its edit and nothing else, and what was known
// of the contacts is forgotten after an error too.
func TestEditRunsAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1000)
	x := r.contact(gateway.ContactPatch{CustomID: new("x")})
	err := r.edit(func(e *gateway.Editor) error {
		if err := e.UpdateContact(x, gateway.ContactPatch{CustomID: new("y")}); err != nil {
			return err
		}
		panic("no")
	})
	if err == nil || gateway.CodeOf(err) != gateway.CodeInternal {
		t.Errorf("a panic is %v", err)
	}
	changed := r.g.Changed()
	r.must(func(e *gateway.Editor) error { _, err := e.ContactByCustomID("x"); return err })
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the edit")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = r.g.Edit(ctx, &gateway.Workspace{ID: r.w}, gateway.Author{Source: gateway.SourceAPI}, func(e *gateway.Editor) error {
		return e.UpdateContact(x, gateway.ContactPatch{CustomID: new("y")})
	})
	if err == nil {
		t.Error("an edit of an ended context went through")
	}
	if got := r.byCustomID("x").Contact.ID; got != x {
		t.Errorf("x is %d", got)
	}
}

// editsThatCount change a contact behind the back of what a cache knows: of x,
// who has the browser k1k1k1, or of y, who has k2k2k2.
var editsThatCount = []struct {
	name string
	edit func(e *gateway.Editor, x, y gateway.ContactID, c gateway.CompanyID) error
	want func(r *rig, x gateway.ContactID) (got, want string) // after the page view that came before, again
}{
	{"attribute", func(e *gateway.Editor, x, _ gateway.ContactID, _ gateway.CompanyID) error {
		return e.UpdateContact(x, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("plan", str("pro"))}})
	}, func(r *rig, _ gateway.ContactID) (string, string) {
		return attribute(r.byCustomID("x").Attributes, "plan"), `"free"`
	}},
	{"e-mail", func(e *gateway.Editor, x, _ gateway.ContactID, _ gateway.CompanyID) error {
		return e.UpdateContact(x, gateway.ContactPatch{Email: new("new@x.test")})
	}, func(r *rig, _ gateway.ContactID) (string, string) { return r.byCustomID("x").Email, "x@x.test" }},
	{"custom id taken away", func(e *gateway.Editor, x, _ gateway.ContactID, _ gateway.CompanyID) error {
		return e.UpdateContact(x, gateway.ContactPatch{CustomID: new("")})
	}, func(r *rig, x gateway.ContactID) (string, string) {
		return fmt.Sprint(r.byCustomID("x").Contact.ID), fmt.Sprint(x)
	}},
	{"membership ended", func(e *gateway.Editor, x, _ gateway.ContactID, c gateway.CompanyID) error {
		return e.RemoveMember(c, x)
	},
		func(r *rig, _ gateway.ContactID) (string, string) {
			return companiesOf(r.byCustomID("x")), "widget c1*"
		}},
	{"company deleted", func(e *gateway.Editor, _, _ gateway.ContactID, c gateway.CompanyID) error { return e.DeleteCompany(c) },
		func(r *rig, _ gateway.ContactID) (string, string) {
			return companiesOf(r.byCustomID("x")), "widget c1*" // the payload says so
		}},
	{"key given to another", func(e *gateway.Editor, _, y gateway.ContactID, _ gateway.CompanyID) error {
		return e.UpdateContact(y, gateway.ContactPatch{Key: "k1k1k1"})
	}, func(r *rig, x gateway.ContactID) (string, string) {
		return fmt.Sprint(r.byKey("k1k1k1").Contact.ID), fmt.Sprint(x) // the payload names x by user_id
	}},
	{"merged into another", func(e *gateway.Editor, x, y gateway.ContactID, _ gateway.CompanyID) error {
		return e.MergeContacts(y, []gateway.ContactID{x})
	}, func(r *rig, x gateway.ContactID) (string, string) {
		v, err := r.store.ContactByCustomID(context.Background(), r.w, "x")
		return fmt.Sprint(err == nil && v.Contact.ID != x), "true" // y has an id of its own, so x is somebody new
	}},
	{"deleted", func(e *gateway.Editor, x, _ gateway.ContactID, _ gateway.CompanyID) error { return e.DeleteContact(x) },
		func(r *rig, x gateway.ContactID) (string, string) {
			return fmt.Sprint(r.byCustomID("x").Contact.ID != x), "true"
		}},
}

const usualFields = `"user_id":"x","email":"x@x.test","plan":"free","company":{"company_id":"c1"}`

// TestEditCounts: after an edit the payload that was applied last doesn't count
// as unchanged.
func TestEditCounts(t *testing.T) {
	t.Parallel()
	for _, tt := range editsThatCount {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onBoth(t, func(t *testing.T, r *rig) { testEditCounts(t, r, r, tt.edit, tt.want) })
		})
	}
}

// TestEditCountsElsewhere: on another node too, which knows of it by Redis or
// looks for itself.
func TestEditCountsElsewhere(t *testing.T) {
	t.Parallel()
	redis := redistest.New(t)
	for i, tt := range editsThatCount {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			database := pgtest.Shared(t).NewDatabase(t)
			shared := func() *cache.Redis {
				c, err := cache.NewRedis(cache.Options{URL: "redis://" + redis.Addr, Prefix: fmt.Sprintf("t%d:", i), Timeout: time.Minute, DialTimeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
				})
				return c
			}
			a := newNode(t, database, shared(), 0)
			b := newNode(t, database, shared(), a.w)
			b.now = a.now
			testEditCounts(t, a, b, tt.edit, tt.want)
		})
	}
}

// testEditCounts edits on one node what came in, and comes again, on another.
func testEditCounts(t *testing.T, edits, applies *rig, edit func(e *gateway.Editor, x, y gateway.ContactID, c gateway.CompanyID) error, want func(r *rig, x gateway.ContactID) (string, string)) {
	t.Helper()
	applies.apply(page("a", "k0k0k0", usualFields), page("b", "k1k1k1", usualFields), page("c", "k2k2k2", `"user_id":"y"`))
	applies.apply(page("d", "k1k1k1", usualFields)) // as it is remembered
	x, y := applies.byCustomID("x"), applies.byCustomID("y")
	edits.must(func(e *gateway.Editor) error {
		return edit(e, x.Contact.ID, y.Contact.ID, x.Companies[0].CompanyID)
	})
	applies.apply(page("e", "k1k1k1", usualFields))
	if got, want := want(applies, x.Contact.ID); got != want {
		t.Errorf("after the page view that came before: %s, want %s", got, want)
	}
}

// TestEditMovesOlderKey: a key that is not its owner's newest leads elsewhere from
// the next page view on, though its owner is what they were.
func TestEditMovesOlderKey(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.apply(page("a", "k1k1k1", `"plan":"free"`), page("b", "k1k1k1", `"user_id":"x"`), page("c", "k2k2k2", `"user_id":"x"`))
		r.apply(page("d", "k1k1k1", "")) // says nothing: x's by the key alone
		y := r.contact(gateway.ContactPatch{CustomID: new("y")})
		r.must(func(e *gateway.Editor) error { return e.UpdateContact(y, gateway.ContactPatch{Key: "k1k1k1"}) })
		r.apply(page("e", "k1k1k1", ""))
		if got := r.byCustomID("y").PageViews; got != 1 {
			t.Errorf("y has %d page views, want the one after the edit", got)
		}
		if got := r.byCustomID("x"); got.PageViews != 4 || got.Key != "k2k2k2" {
			t.Errorf("x has %d page views, want the 4 before the edit, and the key %s", got.PageViews, got.Key)
		}
	})
}

// TestEditAndSilence: a payload that says nothing of it leaves what REST changed.
func TestEditAndSilence(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.apply(page("a", "k1k1k1", `"user_id":"x","plan":"free"`))
		x := r.byCustomID("x").Contact.ID
		c := r.company(gateway.CompanyPatch{CustomID: new("c9")})
		r.must(func(e *gateway.Editor) error {
			return e.UpdateContact(x, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{set("city", str("Łódź"))}, Companies: []gateway.CompanyRef{{ID: c}}})
		})
		r.apply(page("b", "k1k1k1", `"user_id":"x","plan":"free"`), page("c", "k1k1k1", ""), page("d", "k1k1k1", `"user_id":"x","company":null`))
		if v := r.byCustomID("x"); attribute(v.Attributes, "city") != `"Łódź"` || companiesOf(v) != "api c9*" || v.PageViews != 4 {
			t.Errorf("after page views: %+v", v)
		}
	})
}

// TestParallelAddMember: 200 at once make one membership, on one node and on two.
func TestParallelAddMember(t *testing.T) {
	t.Parallel()
	test := func(t *testing.T, nodes ...*rig) {
		r := nodes[0]
		x, c := r.contact(gateway.ContactPatch{CustomID: new("x")}), r.company(gateway.CompanyPatch{CustomID: new("c")})
		r.must(func(e *gateway.Editor) error { return e.AddMember(c, x) })
		since := r.now
		y := r.contact(gateway.ContactPatch{CustomID: new("y")})
		r.now = r.now.Add(time.Hour)
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				if err := nodes[i%len(nodes)].edit(func(e *gateway.Editor) error { return errors.Join(e.AddMember(c, x), e.AddMember(c, y)) }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if v := r.companyView(c); v.EmployeesCount != 2 {
			t.Errorf("%d employees, want 2", v.EmployeesCount)
		}
		if v := r.view(x); len(v.Companies) != 1 || !v.Companies[0].Since.Equal(since) {
			t.Errorf("companies of x: %+v, want one since %v", v.Companies, since)
		}
		if v := r.view(y); len(v.Companies) != 1 || !v.Companies[0].Primary {
			t.Errorf("companies of y: %+v, want one, primary", v.Companies)
		}
	}
	onBoth(t, func(t *testing.T, r *rig) { test(t, r) })
	t.Run("two nodes", func(t *testing.T) {
		t.Parallel()
		database := pgtest.Shared(t).NewDatabase(t)
		a := newNode(t, database, cache.New(1000), 0)
		test(t, a, newNode(t, database, cache.New(1000), a.w))
	})
}

// TestParallelCreate: of 50 on two nodes that make the contact of a custom id
// unless it is there, one makes it; and an attribute that all of them bring is
// defined once.
func TestParallelCreate(t *testing.T) {
	t.Parallel()
	database := pgtest.Shared(t).NewDatabase(t)
	a := newNode(t, database, cache.New(1000), 0)
	nodes := []*rig{a, newNode(t, database, cache.New(1000), a.w)}
	var all sync.WaitGroup
	ids := make([]gateway.ContactID, 50)
	for i := range ids {
		all.Go(func() {
			err := nodes[i%2].edit(func(e *gateway.Editor) (err error) {
				p := gateway.ContactPatch{CustomID: new("x"), Attributes: []gateway.PayloadAttribute{set("seen", gateway.IntValue(int64(i))), set(fmt.Sprintf("own%d", i%5), str("v"))}}
				if ids[i], err = e.ContactByCustomID("x"); gateway.IsNotFound(err) {
					ids[i], err = e.CreateContact(p)
					return err
				} else if err != nil {
					return err
				}
				return e.UpdateContact(ids[i], p)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if slices.Sort(ids); len(slices.Compact(ids)) != 1 {
		t.Errorf("several contacts: %v", ids)
	}
	defs, err := a.store.AttributeDefs(t.Context(), a.w)
	if err != nil || len(defs) != 6 {
		t.Errorf("%d definitions, %v; want 6", len(defs), err)
	}
}
