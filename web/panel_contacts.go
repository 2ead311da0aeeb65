package web

import (
	"cmp"
	"net/http"
	"strconv"

	"civgate/gateway"
)

// listPage is how many rows a page of a list has.
const listPage = 50

type contactsPage struct {
	Count   int64
	Columns []column
	Rows    []*gateway.ContactView
	More    *more
}

// home leads to the first page.
func (p *panel) home(c *call) error { return c.Redirect(http.StatusSeeOther, panelPath+"/contacts") }

// contacts lists the newest contacts.
func (p *panel) contacts(c *call) error {
	ctx := c.Request().Context()
	before, _ := strconv.ParseInt(c.QueryParam("before"), 10, 64) // else from the start
	v := contactsPage{Columns: []column{{Label: "Name"}, {Label: "E-mail"}, {Label: "Company", Wide: true}, {Label: "Last seen", Numeric: true}}}
	var err error
	if v.Rows, err = p.Read.Contacts(ctx, c.Workspace.ID, gateway.ContactID(max(before, 0)), listPage+1); err != nil {
		return err
	}
	if len(v.Rows) > listPage {
		v.Rows = v.Rows[:listPage]
		v.More = &more{Href: panelPath + "/contacts?before=" + strconv.FormatInt(int64(v.Rows[listPage-1].ID), 10), Label: "Older contacts"}
	}
	if v.Count, err = p.Read.CountContacts(ctx, c.Workspace.ID); err != nil {
		return err
	}
	return c.render(http.StatusOK, "contacts", "Contacts", v)
}

// contactLabel is what a contact is called: their name, else e-mail, else custom id,
// else "Visitor" and the start of their key.
func contactLabel(c *gateway.ContactView) string {
	name := ""
	if v, ok := c.Attributes.Get("name"); ok {
		name = gateway.Text(v)
	}
	key := c.Key
	return cmp.Or(name, c.Email, c.CustomID, "Visitor "+key[:min(6, len(key))])
}
