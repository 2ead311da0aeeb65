package web

import (
	"cmp"
	"net/http"
	"strconv"

	"civgate/gateway"
)

// mergePage shows what a merge would make of two contacts.
type mergePage struct {
	*form
	Winner, Loser     *gateway.ContactView
	WinnerLabel       string
	LoserLabel        string
	Rows              []mergeRow
	Companies         []string
	Devices           int64
	Href, Swap, To    string
	WinnerID, OtherID string
}

// mergeRow is a value of both contacts and of what they become.
type mergeRow struct {
	Label               string
	Winner, Loser, Made string
	How                 string // "kept", "filled" or "both"
}

// contactMerge shows a preview of a merge with the contact that the address names.
func (p *panel) contactMerge(c *call) error {
	return p.renderMerge(c, http.StatusOK, &form{}, c.QueryParam("with"))
}

func (p *panel) renderMerge(c *call, status int, f *form, with string) error {
	ctx := c.Request().Context()
	winner, err := p.openContact(c)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(with, 10, 64)
	if err != nil || id <= 0 {
		return gateway.Errorf(gateway.CodeInvalid, "Choose the contact to merge with from the list.")
	}
	loser, err := p.Read.Contact(ctx, c.Workspace.ID, gateway.ContactID(id))
	if err != nil {
		return err
	}
	if loser.ID == winner.ID {
		return gateway.Errorf(gateway.CodeInvalid, "These are one contact already.")
	}
	preview, err := p.Gateway.PreviewMerge(ctx, c.Workspace, winner.ID, []gateway.ContactID{loser.ID})
	if err != nil {
		return err
	}
	fields, err := p.contactFields(ctx, c.Workspace.ID)
	if err != nil {
		return err
	}
	v := mergePage{
		form: f, Winner: winner, Loser: loser, WinnerLabel: brief(contactLabel(winner)), LoserLabel: brief(contactLabel(loser)),
		Devices: int64(len(preview.Keys)), Href: contactHref(winner.ID), To: contactHref(winner.ID) + "/merge",
		Swap:     contactHref(loser.ID) + "/merge?with=" + strconv.FormatInt(int64(winner.ID), 10),
		WinnerID: strconv.FormatInt(int64(winner.ID), 10), OtherID: strconv.FormatInt(int64(loser.ID), 10),
	}
	made := &gateway.ContactView{Contact: preview.Contact}
	row := func(label, a, b, becomes string) {
		if a == "" && b == "" && becomes == "" {
			return
		}
		how := "kept"
		switch {
		case becomes != a && becomes == b:
			how = "filled"
		case becomes != a:
			how = "both"
		}
		v.Rows = append(v.Rows, mergeRow{label, brief(a), brief(b), brief(becomes), how})
	}
	row("E-mail", winner.Email, loser.Email, made.Email)
	row("Custom id", winner.CustomID, loser.CustomID, made.CustomID)
	for _, field := range fields {
		if field.Name == "email" || field.Name == "custom_id" {
			continue
		}
		a, _ := winner.Attributes.Get(field.Name)
		b, _ := loser.Attributes.Get(field.Name)
		if becomes, _ := made.Attributes.Get(field.Name); a.IsNull() && b.IsNull() && becomes.IsNull() {
			continue
		}
		row(field.Label, shownValue(winner, field), shownValue(loser, field), shownValue(made, field))
	}
	names := map[gateway.CompanyID]string{}
	for _, company := range append(winner.Companies, loser.Companies...) {
		names[company.CompanyID] = brief(cmp.Or(company.Name, company.CustomID))
	}
	for _, m := range preview.Memberships {
		v.Companies = append(v.Companies, names[m.CompanyID])
	}
	return c.render(status, "contact_merge", "Merge", v)
}

// postContactMerge makes another contact a part of the one of the address.
func (p *panel) postContactMerge(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	if f.Get("confirm") != "on" {
		f.fail("confirm", "Nothing was merged: tick this to go on.")
		return p.renderMerge(c, http.StatusUnprocessableEntity, f, f.Get("with"))
	}
	other, err := strconv.ParseInt(f.Get("with"), 10, 64)
	if err != nil {
		return gateway.Errorf(gateway.CodeInvalid, "Choose the contact to merge with from the list.")
	}
	return p.contactAction(c, nil, func(e *gateway.Editor, _ *form, id gateway.ContactID) (string, error) {
		if err := e.MergeContacts(id, []gateway.ContactID{gateway.ContactID(other)}); err != nil {
			return "", err
		}
		return "Merged. The timeline has it, with Undo.", auditContact(e, "contact.merge", id, map[string]any{"other": other})
	})
}
