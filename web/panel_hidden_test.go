package web_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"civgate/gateway"
)

// TestHiddenAttributes: profiles leave hidden attributes out, and a whole number stays one
// when it is edited on them.
func TestHiddenAttributes(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	editor := s.as(gateway.RoleEditor)
	for _, entity := range []gateway.Entity{gateway.EntityContact, gateway.EntityCompany} {
		s.edit(func(e *gateway.Editor) error {
			if _, err := e.DefineAttribute(gateway.AttributeDef{Entity: entity, Label: "shoes", Type: gateway.TypeNumber, Integer: true}); err != nil {
				return err
			}
			d, err := e.DefineAttribute(gateway.AttributeDef{Entity: entity, Label: "covert", Type: gateway.TypeText})
			if err != nil {
				return err
			}
			_, err = e.ChangeAttribute(d.ID, func(d *gateway.AttributeDef) { d.Hidden = true })
			return err
		})
	}
	attributes := []gateway.PayloadAttribute{value("covert", gateway.TextValue("unseen words")), value("shoes", gateway.IntValue(4242))}
	contact, at := s.newContact(gateway.ContactPatch{Attributes: slices.Clone(attributes)})
	company := fmt.Sprintf("/panel/companies/%d", s.newCompany(gateway.CompanyPatch{Name: new("Acme"), Attributes: slices.Clone(attributes)}))
	for _, path := range []string{at, company + "?tab=attributes"} {
		page := editor.page(path)
		if strings.Contains(page, "unseen words") || strings.Contains(page, "covert") {
			t.Errorf("%s shows a hidden attribute", path)
		}
		if !strings.Contains(page, "4242") {
			t.Errorf("%s lacks one that is not hidden", path)
		}
	}
	if a := editor.post(at+"/value", "name", "shoes", "value", "1.5"); !strings.Contains(a.body, "Write a whole number") {
		t.Errorf("half a shoe: %d %.300s", a.status, a.body)
	}
	if v, _ := s.view(contact).Attributes.Get("shoes"); v.Raw != "4242" {
		t.Errorf("shoes are %s", v.Raw)
	}
}
