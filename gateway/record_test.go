package gateway_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/store/pgtest"
)

// bought is a product event of a browser with data.
func bought(id, key, data string) string {
	return fmt.Sprintf(`{"apiKey":"A1B2C3","plan":"pro","$":{"id":%q,"key":%q,"type":"product_event","name":"purchase","data":%s}}`, id, key, data)
}

// records are all records of an entity, the oldest first, as texts.
func (r *rig) records(entity gateway.Entity) (out []string) {
	r.t.Helper()
	all, err := r.store.Records(r.t.Context(), r.w, entity, 0, 100)
	r.check(err)
	for i := len(all) - 1; i >= 0; i-- {
		text := all[i].CustomID + "|" + all[i].Name
		for _, a := range all[i].Attributes {
			text += "|" + a.Name + "=" + a.Value.Raw
		}
		out = append(out, text)
	}
	return out
}

func (r *rig) events(key string) (out []string) {
	r.t.Helper()
	all, err := r.store.Events(r.t.Context(), r.w, r.byKey(key).ID, gateway.HistoryQuery{Limit: 100})
	r.check(err)
	for _, e := range all {
		out = append(out, string(e.Kind)+" "+e.Name+" "+e.Data)
	}
	return out
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestProductEvents(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		const key = "abcdef000001"
		r.apply(
			bought("m1", key, `{"product_id":"p1","event_type":"purchase","name":"Mug","price":9.5,"tags":"a,b","custom_data":{"gift":true},"In stock":"2026-01-02"}`),
			bought("m2", key, `{"product_id":42,"price":"12","id":7,"created_at":"2001-01-01","product_internal_id":1}`),
			bought("m3", key, `{"product_id":"p1","price":null,"In stock":"soon","colour":"red"}`),
		)
		products := []string{`p1|Mug|colour="red"|in_stock="2026-01-02"|tags="a,b"`, `42||price=12`}
		same(t, "products", r.records(gateway.EntityProduct), products)
		if got := len(r.events(key)); got != 3 {
			t.Errorf("%d events", got)
		}

		// What says nothing new of the contact does of the product.
		r.apply(bought("m4", key, `{"product_id":"p1","colour":"blue"}`))
		products[0] = strings.Replace(products[0], "red", "blue", 1)
		same(t, "after an unchanged contact", r.records(gateway.EntityProduct), products)

		// What names no product is an event all the same.
		for i, data := range []string{`{}`, `{"product_id":null,"price":1}`, `{"product_id":"{{ id }}","price":1}`, `{"product_id":{"a":1}}`, `{"product_id":"a\u0001b"}`, `{"product_internal_id":1,"colour":"green"}`, fmt.Sprintf(`{"product_id":%q}`, strings.Repeat("x", 256))} {
			r.apply(bought(fmt.Sprint("n", i), key, data))
		}
		same(t, "after events of no product", r.records(gateway.EntityProduct), products)
		if got := len(r.events(key)); got != 11 {
			t.Errorf("%d events", got)
		}
		// Nobody's event is none.
		r.apply(`{"apiKey":"A1B2C3","$":{"type":"product_event","name":"view","data":{"product_id":"p9"}}}`)
		same(t, "after an event of nobody", r.records(gateway.EntityProduct), products)
		if n := len(r.records(gateway.EntityDeal)); n != 0 {
			t.Errorf("%d deals", n)
		}

		// Attributes of products are their own.
		defs, err := r.store.AttributeDefs(t.Context(), r.w)
		r.check(err)
		var names []string
		for _, d := range defs {
			names = append(names, string(d.Entity)+" "+d.Name+" "+d.Type.String())
		}
		same(t, "definitions", names, []string{"contact plan text", "product colour text", "product in_stock date", "product price number", "product tags text"})

		// When it was last changed is when it was.
		before, err := r.store.RecordByCustomID(t.Context(), r.w, gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "p1"})
		r.check(err)
		r.apply(bought("m5", key, `{"product_id":"p1","colour":"blue","name":"Mug"}`))
		after, err := r.store.Record(t.Context(), r.w, gateway.EntityProduct, before.ID)
		r.check(err)
		if d := cmp.Diff(before, after); d != "" {
			t.Errorf("a product that was told nothing new (-before +after):\n%s", d)
		}
	})
}

// TestProductEventsOfMany: a batch makes each product once, whatever their number.
func TestProductEventsOfMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var bodies []string
		for i := range 300 {
			bodies = append(bodies, bought(fmt.Sprint("m", i), fmt.Sprintf("abcdef%06d", i%7), fmt.Sprintf(`{"product_id":"p%d","n":%d}`, i%90, i)))
		}
		r.apply(bodies...)
		r.apply(bought("again", "abcdef000001", `{"product_id":"p89","n":1000}`))
		got := r.records(gateway.EntityProduct)
		if len(got) != 90 {
			t.Fatalf("%d products", len(got))
		}
		for i, p := range got {
			n := 270 + i
			switch {
			case i == 89:
				n = 1000
			case n >= 300:
				n -= 90
			}
			if want := fmt.Sprintf("p%d||n=%d", i, n); p != want {
				t.Errorf("product %d is %s, want %s", i, p, want)
			}
		}
	})
}

func TestEditorProductEvent(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		contact := r.contact(gateway.ContactPatch{Key: "abcdef000001"})
		var nameless, named gateway.RecordID
		r.must(func(e *gateway.Editor) (err error) {
			if nameless, err = e.CreateRecord(gateway.EntityProduct, gateway.RecordPatch{Name: new("Cup")}); err != nil {
				return err
			}
			named, err = e.CreateRecord(gateway.EntityProduct, gateway.RecordPatch{CustomID: new("p1")})
			return err
		})
		r.must(func(e *gateway.Editor) error {
			for _, add := range []func() (int64, bool, error){
				func() (int64, bool, error) {
					return e.AddEvent(contact, gateway.EventProduct, "view", `{"product_id":"p2","price":3}`, time.Time{})
				},
				func() (int64, bool, error) {
					return e.AddProductEvent(contact, named, "click", `{"product_id":"p2","product_internal_id":1,"price":"5.50"}`, time.Time{})
				},
				func() (int64, bool, error) {
					return e.AddProductEvent(contact, nameless, "detail", `{"product_id":"p2","price":7}`, time.Time{})
				},
				func() (int64, bool, error) { return e.AddProductEvent(contact, nameless, "detail", ``, time.Time{}) },
				func() (int64, bool, error) {
					return e.AddEvent(contact, gateway.EventCustom, "click", `{"product_id":"p3"}`, time.Time{})
				},
			} {
				if _, _, err := add(); err != nil {
					return err
				}
			}
			return nil
		})
		same(t, "products", r.records(gateway.EntityProduct), []string{`|Cup|price=7`, `p1||price=5.5`, `p2||price=3`})
		same(t, "events", r.events("abcdef000001"), []string{
			`event click {"product_id":"p3"}`, fmt.Sprintf(`product_event detail {"product_internal_id":%d}`, nameless), fmt.Sprintf(`product_event detail {"product_internal_id":%d,"price":7}`, nameless),
			`product_event click {"product_id":"p1","price":"5.50"}`, `product_event view {"product_id":"p2","price":3}`,
		})
		for what, tt := range map[string]struct {
			product gateway.RecordID
			data    string
			code    gateway.Code
		}{
			"of no product": {9999, "", gateway.CodeNotFound},
			"too large":     {named, `{"a":"` + strings.Repeat("x", gateway.MaxValue-10) + `"}`, gateway.CodeInvalid},
		} {
			err := r.edit(func(e *gateway.Editor) error {
				_, _, err := e.AddProductEvent(contact, tt.product, "view", tt.data, time.Time{})
				return err
			})
			if gateway.CodeOf(err) != tt.code {
				t.Errorf("an event %s: %v", what, err)
			}
		}
	})
}

func TestEditorRecords(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		var a, b, deal gateway.RecordID
		r.must(func(e *gateway.Editor) (err error) {
			if a, err = e.CreateRecord(gateway.EntityProduct, gateway.RecordPatch{CustomID: new("a"), Name: new("A"), Attributes: []gateway.PayloadAttribute{set("n", gateway.IntValue(1))}}); err != nil {
				return err
			}
			if b, err = e.CreateRecord(gateway.EntityProduct, gateway.RecordPatch{CustomID: new("b")}); err != nil {
				return err
			}
			deal, err = e.CreateRecord(gateway.EntityDeal, gateway.RecordPatch{CustomID: new("a"), Attributes: []gateway.PayloadAttribute{set("n", str("one"))}})
			return err
		})
		taken := r.edit(func(e *gateway.Editor) error {
			return e.UpdateRecord(gateway.EntityProduct, b, gateway.RecordPatch{CustomID: new("a")})
		})
		wants(t, "an id that another has", taken, gateway.CodeInvalid, "custom_id")
		for _, id := range []string{" a", "a\n", strings.Repeat("x", 256)} {
			wants(t, "a bad id", r.edit(func(e *gateway.Editor) error {
				_, err := e.CreateRecord(gateway.EntityDeal, gateway.RecordPatch{CustomID: &id})
				return err
			}), gateway.CodeInvalid, "custom_id")
		}
		// They change their ids with each other, and the deal goes and comes back.
		r.must(func(e *gateway.Editor) error {
			for _, step := range []struct {
				id gateway.RecordID
				as string
			}{{a, "x"}, {b, "a"}, {a, "b"}} {
				if err := e.UpdateRecord(gateway.EntityProduct, step.id, gateway.RecordPatch{CustomID: &step.as}); err != nil {
					return err
				}
			}
			if got, err := e.RecordByCustomID(gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "a"}); err != nil || got != b {
				t.Errorf("a is product %d, %v", got, err)
			}
			if _, err := e.RecordByCustomID(gateway.RecordKey{Entity: gateway.EntityProduct, CustomID: "x"}); !gateway.IsNotFound(err) {
				t.Errorf("x: %v", err)
			}
			if err := e.DeleteRecord(gateway.EntityDeal, deal); err != nil {
				return err
			}
			if _, err := e.Record(gateway.EntityDeal, deal); !gateway.IsNotFound(err) {
				t.Errorf("the deleted deal: %v", err)
			}
			_, err := e.CreateRecord(gateway.EntityDeal, gateway.RecordPatch{CustomID: new("a"), Name: new("again")})
			return err
		})
		same(t, "products", r.records(gateway.EntityProduct), []string{"b|A|n=1", "a|"})
		same(t, "deals", r.records(gateway.EntityDeal), []string{"a|again"})
		for what, fn := range map[string]func(e *gateway.Editor) error{
			"changing a product as a deal": func(e *gateway.Editor) error {
				return e.UpdateRecord(gateway.EntityDeal, a, gateway.RecordPatch{})
			},
			"deleting a product as a deal": func(e *gateway.Editor) error { return e.DeleteRecord(gateway.EntityDeal, a) },
			"a product by no id": func(e *gateway.Editor) error {
				_, err := e.RecordByCustomID(gateway.RecordKey{Entity: gateway.EntityProduct})
				return err
			},
		} {
			if err := r.edit(fn); !gateway.IsNotFound(err) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

func (r *rig) def(entity gateway.Entity, name string) (d gateway.AttributeDef) {
	r.t.Helper()
	all, err := r.store.AttributeDefs(r.t.Context(), r.w)
	r.check(err)
	for _, x := range all {
		if x.Entity == entity && x.Name == name {
			d = x
		}
	}
	return d
}

func (r *rig) drop(id gateway.AttributeID) {
	r.t.Helper()
	r.must(func(e *gateway.Editor) error { return e.DropAttribute(id) })
}

func TestDropAttribute(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		const says = `{"apiKey":"A1B2C3","user_id":"u1","plan":%s,"seats":5,"company":{"company_id":"c1","plan":"gold"},"$":{"key":"abcdef000001","type":"page","path":"/"}}`
		pro := fmt.Sprintf(says, `"pro"`)
		r.apply(pro)
		first := r.def(gateway.EntityContact, "plan")
		r.drop(first.ID)
		c := r.byCustomID("u1")
		if got := attribute(c.Attributes, "plan"); got != "absent" {
			t.Errorf("plan is %s still", got)
		}
		if got := attribute(c.Attributes, "seats"); got != "5" {
			t.Errorf("seats is %s", got)
		}
		if d := r.def(gateway.EntityContact, "plan"); d.ID != 0 {
			t.Errorf("the definition is there: %+v", d)
		}
		if d := r.def(gateway.EntityCompany, "plan"); d.ID == 0 {
			t.Error("that of companies is gone")
		}
		wants(t, "dropping it again", r.edit(func(e *gateway.Editor) error { return e.DropAttribute(first.ID) }), gateway.CodeNotFound, "")

		// The payload that said it last is no longer one that says nothing new.
		r.apply(pro)
		if got := attribute(r.byCustomID("u1").Attributes, "plan"); got != `"pro"` {
			t.Errorf("after the same payload plan is %s", got)
		}
		second := r.def(gateway.EntityContact, "plan")
		if second.ID == 0 || second.ID == first.ID {
			t.Errorf("the new definition is %+v", second)
		}
		// And then it is again.
		before := r.byCustomID("u1").UpdatedAt
		r.apply(pro)
		if after := r.byCustomID("u1").UpdatedAt; !after.Equal(before) {
			t.Errorf("an unchanged payload changed the contact at %v", after)
		}

		// It may be of another type now.
		r.drop(second.ID)
		r.apply(fmt.Sprintf(says, `7`))
		if got := attribute(r.byCustomID("u1").Attributes, "plan"); got != `7` {
			t.Errorf("as a number plan is %s", got)
		}

		// What could not be read before is read anew, and so is what companies have.
		r.apply(fmt.Sprintf(says, `"not a number"`))
		r.drop(r.def(gateway.EntityContact, "plan").ID)
		r.drop(r.def(gateway.EntityCompany, "plan").ID)
		r.apply(fmt.Sprintf(says, `"not a number"`))
		if got := attribute(r.byCustomID("u1").Attributes, "plan"); got != `"not a number"` {
			t.Errorf("plan is %s", got)
		}
		company, err := r.store.CompanyByCustomID(t.Context(), r.w, "c1")
		r.check(err)
		if got := attribute(company.Attributes, "plan"); got != `"gold"` {
			t.Errorf("the company's plan is %s", got)
		}
	})
}

// TestDropAttributeWithinEdit drops what the same edit has read, changed, defined.
func TestDropAttributeWithinEdit(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		plan := func(v string) []gateway.PayloadAttribute { return []gateway.PayloadAttribute{set("plan", str(v))} }
		contact := r.contact(gateway.ContactPatch{Attributes: plan("a")})
		company := r.company(gateway.CompanyPatch{CustomID: new("c1"), Attributes: plan("a")})
		var product, deal gateway.RecordID
		r.must(func(e *gateway.Editor) (err error) {
			if product, err = e.CreateRecord(gateway.EntityProduct, gateway.RecordPatch{Attributes: plan("a")}); err != nil {
				return err
			}
			deal, err = e.CreateRecord(gateway.EntityDeal, gateway.RecordPatch{Attributes: plan("a")})
			return err
		})
		ids := map[gateway.Entity]gateway.AttributeID{}
		for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany, gateway.EntityProduct} {
			ids[entity] = r.def(entity, "plan").ID
		}
		r.must(func(e *gateway.Editor) error {
			city := []gateway.PayloadAttribute{set("city", str("Ulm"))}
			for _, err := range []error{
				e.UpdateContact(contact, gateway.ContactPatch{Attributes: append(plan("b"), city...)}),
				e.UpdateCompany(company, gateway.CompanyPatch{Attributes: append(plan("b"), city...)}),
				e.UpdateRecord(gateway.EntityProduct, product, gateway.RecordPatch{Attributes: append(plan("b"), city...)}),
				e.UpdateRecord(gateway.EntityDeal, deal, gateway.RecordPatch{Attributes: append(plan("b"), city...)}),
				e.DropAttribute(ids[gateway.EntityContact]),
				e.DropAttribute(ids[gateway.EntityCompany]),
				e.DropAttribute(ids[gateway.EntityProduct]),
			} {
				if err != nil {
					return err
				}
			}
			if _, known := e.Attribute(gateway.EntityContact, "plan"); known {
				t.Error("the dropped attribute is known")
			}
			// Defined and dropped at once, and the name of a dropped one taken again.
			d, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityTicket, Label: "short", Type: gateway.TypeText})
			if err != nil {
				return err
			}
			if err := e.DropAttribute(d.ID); err != nil {
				return err
			}
			return e.UpdateCompany(company, gateway.CompanyPatch{Attributes: []gateway.PayloadAttribute{set("plan", gateway.IntValue(3))}})
		})
		if got := fmt.Sprint(r.view(contact).Attributes); strings.Contains(got, "plan") || !strings.Contains(got, "Ulm") {
			t.Errorf("the contact has %s", got)
		}
		if got := attribute(r.companyView(company).Attributes, "plan"); got != "3" {
			t.Errorf("the company's plan is %s", got)
		}
		same(t, "products", r.records(gateway.EntityProduct), []string{`||city="Ulm"`})
		same(t, "deals", r.records(gateway.EntityDeal), []string{`||city="Ulm"|plan="b"`})
		if d := r.def(gateway.EntityCompany, "plan"); d.Type != gateway.TypeNumber {
			t.Errorf("plan of companies is %+v", d)
		}
		if d := r.def(gateway.EntityTicket, "short"); d.ID != 0 {
			t.Errorf("%+v was stored", d)
		}
	})
}

// TestDropAttributeElsewhere: a process that still knows a definition which another one
// dropped stores no value under it.
func TestDropAttributeElsewhere(t *testing.T) {
	t.Parallel()
	url := pgtest.Shared(t).NewDatabase(t)
	a := newNode(t, url, cache.New(1000), 0)
	b := newNode(t, url, cache.New(1000), a.w)
	a.apply(`{"apiKey":"A1B2C3","user_id":"u1","plan":"pro"}`)
	b.seq = 100
	b.apply(`{"apiKey":"A1B2C3","user_id":"u2","plan":"pro"}`)
	first := a.def(gateway.EntityContact, "plan")
	a.drop(first.ID)

	// An edit finds out by itself and is done again.
	b.must(func(e *gateway.Editor) error {
		_, err := e.CreateContact(gateway.ContactPatch{CustomID: new("u3"), Attributes: []gateway.PayloadAttribute{set("plan", gateway.IntValue(1))}})
		return err
	})
	second := b.def(gateway.EntityContact, "plan")
	if second.ID == 0 || second.ID == first.ID || second.Type != gateway.TypeNumber {
		t.Errorf("after an edit plan is %+v", second)
	}
	// A batch is refused, and applied when it comes again.
	a.apply(`{"apiKey":"A1B2C3","user_id":"u1","plan":4}`) // now it knows that one
	b.drop(second.ID)
	batch := []*gateway.Entry{{Seq: 200, At: a.now, WorkspaceID: a.w, Payload: a.entry(`{"apiKey":"A1B2C3","user_id":"u1","plan":true}`).Payload}}
	if err := a.g.Apply(t.Context(), batch); gateway.CodeOf(err) != gateway.CodeConflict {
		t.Errorf("a batch with a dropped attribute: %v", err)
	}
	if err := a.g.Apply(t.Context(), batch); err != nil {
		t.Error(err)
	}
	if got, d := attribute(a.byCustomID("u1").Attributes, "plan"), a.def(gateway.EntityContact, "plan"); got != "true" || d.Type != gateway.TypeBool {
		t.Errorf("plan is %s of %+v", got, d)
	}
	// What another process defined can be dropped here.
	b.must(func(e *gateway.Editor) error {
		_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityDeal, Label: "theirs", Type: gateway.TypeText})
		return err
	})
	a.drop(b.def(gateway.EntityDeal, "theirs").ID)
}

func TestIntegerAttribute(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, r *rig) {
		r.must(func(e *gateway.Editor) error {
			_, err := e.DefineAttribute(gateway.AttributeDef{Entity: gateway.EntityContact, Label: "Seats", Type: gateway.TypeNumber, Integer: true})
			return err
		})
		for _, tt := range []struct{ sent, want string }{
			{`1.5`, "absent"}, {`5`, "5"}, {`5.5`, "5"}, {`"6"`, "6"}, {`"6.5"`, "6"}, {`7.0`, "7"}, {`1e30`, "7"}, {`"many"`, "7"}, {`null`, "absent"},
		} {
			body := `{"apiKey":"A1B2C3","user_id":"u1","Seats":` + tt.sent + `}`
			r.apply(body)
			if got := attribute(r.byCustomID("u1").Attributes, "seats"); got != tt.want {
				t.Errorf("after %s seats is %s, want %s", tt.sent, got, tt.want)
			}
		}
		results, _, err := r.g.Accept(t.Context(), gateway.Request{Body: []byte(`{"apiKey":"A1B2C3","user_id":"u1","Seats":1.5}`)})
		r.check(err)
		if w := results[0].Warnings; len(w) != 1 || w[0].Code != gateway.WarnTypeMismatch || !strings.Contains(w[0].Message, "integer") {
			t.Errorf("warnings: %+v", w)
		}
	})
}
