package web

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"civgate/gateway"
)

// This file shows a contact, and changes one.
//
// Decisions
//
//   - Every value is a cell that is either shown or edited. Editing asks for the cell
//     alone, saving answers with it; without scripts the same addresses show the page with
//     that cell open. So there is one way to read and check what was written.
//   - What is written must fit the attribute's type, or it is refused under the field: the
//     gateway would leave it out in silence, as it does for payloads.

// maxShown bounds what of a contact the page lists beside its timeline.
const maxShown = 50

// contactPage is a contact's profile.
type contactPage struct {
	*form
	View       *gateway.ContactView
	Href       string
	Label      string
	Visitor    bool
	Identity   []contactCell
	Attributes []contactCell
	Names      []string // of attributes that the contact lacks, to add
	Companies  []contactCompanyRow
	Former     []formerCompany
	AddCompany picker
	Devices    []gateway.VisitorKey
	Lists      []contactListRow
	Addable    []option // lists that the contact is not in
	Timeline   contactTimeline
	Menu       menu
	Delete     confirm
	Merge      picker
	// CanEdit says that who asks may change the contact.
	CanEdit bool
}

// contactCell is one value of a contact.
type contactCell struct {
	Href    string // of the contact
	Name    string
	Label   string
	Kind    string // text, email, tel, number, date, textarea or select
	Value   string // as it is edited
	Shown   string // as it is shown
	Tags    []string
	Link    string // where the value leads, if anywhere
	Hint    string
	Options []option
	Error   string
	Was     string // a mark of the value that whoever edits has seen
	Editing bool
	Focus   bool
	CanEdit bool
}

type contactCompanyRow struct {
	gateway.ContactCompany
	Href  string
	Label string
	Menu  menu
	Star  string // where a click makes it the primary one
}

type formerCompany struct {
	Href, Label string
	Until       time.Time
}

type contactListRow struct {
	gateway.List
	Remove string
}

var (
	statusOptions = []option{{"1", "Visitor"}, {"2", "User"}}
	genderOptions = []option{{"1", "Unknown"}, {"2", "Male"}, {"3", "Female"}}
	boolOptions   = []option{{"", "–"}, {"true", "Yes"}, {"false", "No"}}
)

// identityFields are the fields of the identity card, in their order.
var identityFields = []string{"name", "email", "phone_number", "custom_id", "status", "tags"}

// contactField finds what can be edited of a contact under a name.
func (p *panel) contactField(c *call, name string) (contactField, error) {
	all, err := p.contactFields(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return contactField{}, err
	}
	f, ok := findField(all, name)
	switch name {
	case "last_seen", "first_seen", "page_views", "created_at", "updated_at":
		ok = false // what only the gateway knows
	}
	if !ok {
		return f, gateway.Errorf(gateway.CodeNotFound, "There is no such attribute.")
	}
	return f, nil
}

// contactCell makes the cell of a field.
func (c *call) contactCell(v *gateway.ContactView, f contactField) contactCell {
	cell := c.shownCell(v, f)
	cell.Was = markOf(cell.Value)
	return cell
}

func (c *call) shownCell(v *gateway.ContactView, f contactField) contactCell {
	cell := contactCell{Href: contactHref(v.ID), Name: f.Name, Label: f.Label, Kind: "text", CanEdit: c.can(gateway.RoleEditor)}
	value, _ := v.Attributes.Get(f.Name)
	cell.Value, cell.Shown = gateway.Text(value), shownValue(v, f)
	switch f.Name {
	case "email":
		cell.Kind, cell.Value, cell.Shown = "email", v.Email, v.Email
		if v.Email != "" {
			// What an e-mail may hold besides letters is no header of the letter.
			cell.Link = "mailto:" + url.PathEscape(v.Email)
		}
		return cell
	case "custom_id":
		cell.Value, cell.Shown = v.CustomID, v.CustomID
		return cell
	case "phone_number":
		cell.Kind, cell.Label = "tel", "Phone"
		return cell
	case "status":
		cell.Kind, cell.Options, cell.Value = "select", statusOptions, value.Raw
		if value.IsNull() {
			cell.Value = strconv.Itoa(gateway.StatusUser)
			if v.Anonymous() {
				cell.Value = strconv.Itoa(gateway.StatusVisitor)
			}
		}
		return cell
	case "gender":
		cell.Kind, cell.Options, cell.Value = "select", genderOptions, cmp.Or(value.Raw, strconv.Itoa(gateway.GenderUnknown))
		return cell
	case "tags":
		for _, item := range gateway.Items(value) {
			cell.Tags = append(cell.Tags, gateway.Text(item))
		}
		cell.Hint = "With commas between them."
		return cell
	}
	switch f.Type {
	case gateway.TypeNumber:
		cell.Kind = "number"
	case gateway.TypeBool:
		cell.Kind, cell.Options, cell.Value = "select", boolOptions, value.Raw
	case gateway.TypeDate:
		cell.Kind = "date"
	case gateway.TypeDatetime:
		cell.Hint = "In UTC, such as 2026-01-31 14:30."
		if at, ok := gateway.ParseDatetime(cell.Value); ok {
			cell.Value = at.Format("2006-01-02 15:04:05")
			cell.Shown = at.Format("2 Jan 2006, 15:04 UTC")
		}
	case gateway.TypeList:
		for _, item := range gateway.Items(value) {
			cell.Tags = append(cell.Tags, gateway.Text(item))
		}
		cell.Hint = "With commas between them."
	case gateway.TypeJSON:
		cell.Kind = "textarea"
	default:
		if len(cell.Value) > 80 || strings.Contains(cell.Value, "\n") {
			cell.Kind = "textarea"
		}
		if strings.HasPrefix(cell.Value, "https://") || strings.HasPrefix(cell.Value, "http://") {
			cell.Link = cell.Value
		}
	}
	return cell
}

// markOf is a mark of a value that goes into a form, to be sent back by it (field was).
func markOf(value string) string {
	hash := gateway.HashToken(value)
	return shortHex(hash[:])
}

// changedSince says what somebody else has made of a value while a form that was filled
// in with another was open; "" if nobody did, or both wrote the same. A form that is sent
// again, after this was read, carries the mark of the value that it is about.
func changedSince(f *form, now, text string) string {
	if was := f.Get("was"); was == "" || was == markOf(now) || text == now {
		return ""
	}
	if now == "" {
		return "Somebody has cleared this meanwhile. Save again to set it all the same."
	}
	return "Somebody has changed this to “" + clip(now, 80) + "” meanwhile. Save again to replace that."
}

// attributeOf reads what somebody wrote as a value of a field; "" clears it. What does
// not fit is a CodeInvalid of the field key.
func attributeOf(f contactField, key, text string) (gateway.PayloadAttribute, error) {
	a := gateway.PayloadAttribute{Name: f.Name, Label: cmp.Or(f.Label, f.Name), Value: gateway.Null}
	if text == "" {
		return a, nil
	}
	refuse := func(message string) (gateway.PayloadAttribute, error) {
		return a, &gateway.Error{Code: gateway.CodeInvalid, Field: key, Message: message}
	}
	value := gateway.TextValue(text)
	if f.Type == gateway.TypeJSON {
		var err error
		if value, err = gateway.ParseValue([]byte(text)); err != nil {
			return refuse(fieldHint(f))
		}
	}
	if standard, ok := gateway.Standard(gateway.EntityContact, f.Name); ok {
		a.Label = f.Name
		v, _, ok := standard.Convert(value)
		if !ok {
			return refuse(fieldHint(contactField{Name: f.Name, Type: standard.Type}))
		}
		value = v
	} else if f.Type == gateway.TypeList {
		var items []string
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		value = gateway.ListValue(items...)
	} else {
		convert := func(v gateway.Value) (gateway.Value, bool) { return gateway.Convert(v, f.Type) }
		if f.def != nil {
			convert = f.def.Convert
		}
		v, ok := convert(value)
		if !ok {
			return refuse(fieldHint(f))
		}
		value = v
	}
	if len(value.Raw) > gateway.MaxValue {
		return refuse("That is longer than the 8 KiB that a value may have.")
	}
	a.Value = value
	return a, nil
}

// contact shows a contact's profile.
func (p *panel) contact(c *call) error {
	if c.isHTMX() && c.QueryParams().Has("before") {
		id, err := c.id("id")
		if err != nil {
			return err
		}
		return p.contactHistory(c, gateway.ContactID(id))
	}
	return p.renderContact(c, http.StatusOK, &form{Values: url.Values{}})
}

// openContact finds the contact of the address.
func (p *panel) openContact(c *call) (*gateway.ContactView, error) {
	id, err := c.id("id")
	if err != nil {
		return nil, err
	}
	return p.Read.Contact(c.Request().Context(), c.Workspace.ID, gateway.ContactID(id))
}

func (p *panel) renderContact(c *call, status int, f *form) error {
	ctx := c.Request().Context()
	view, err := p.openContact(c)
	if err != nil {
		return err
	}
	if c.Request().Method == http.MethodGet && c.Param("id") != strconv.FormatInt(int64(view.ID), 10) {
		return c.Redirect(http.StatusSeeOther, contactHref(view.ID)) // it became part of this one
	}
	w := c.Workspace.ID
	v := contactPage{form: f, View: view, Href: contactHref(view.ID), Label: brief(contactLabel(view)), Visitor: view.Anonymous(), CanEdit: c.can(gateway.RoleEditor)}
	fields, err := p.contactFields(ctx, w)
	if err != nil {
		return err
	}
	editing := cmp.Or(f.Values.Get("name"), c.QueryParam("edit"))
	if !v.CanEdit {
		editing = ""
	}
	open := func(cell contactCell) contactCell {
		if cell.Name == editing {
			cell.Editing, cell.Focus = true, true
			if cell.Error = f.Error("value"); cell.Error != "" {
				cell.Value = f.Values.Get("value")
			}
		}
		return cell
	}
	for _, name := range identityFields {
		field, _ := findField(fields, name)
		v.Identity = append(v.Identity, open(c.contactCell(view, field)))
	}
	for _, field := range fields {
		switch field.Name {
		case "last_seen", "first_seen", "page_views", "created_at", "updated_at":
			continue
		}
		if slices.Contains(identityFields, field.Name) || field.def != nil && field.def.Hidden {
			continue
		}
		if _, has := view.Attributes.Get(field.Name); has || field.Name == editing {
			v.Attributes = append(v.Attributes, open(c.contactCell(view, field)))
		} else if len(v.Names) < 200 {
			v.Names = append(v.Names, field.Label)
		}
	}
	for i, company := range view.Companies {
		v.Companies = append(v.Companies, contactCompany(view.ID, i, company))
	}
	if v.Former, err = p.formerCompanies(c, view.ID); err != nil {
		return err
	}
	v.AddCompany = picker{ID: "add-company", Name: "company", Label: "Add a company", Placeholder: "Add a company", Source: panelPath + "/contacts/companies", Submit: true, Error: f.Error("company")}
	if v.Devices, err = p.Read.VisitorKeys(ctx, w, view.ID, maxShown); err != nil {
		return err
	}
	lists, err := p.Read.Lists(ctx, w)
	if err != nil {
		return err
	}
	for _, l := range lists {
		if slices.ContainsFunc(view.Lists, func(has gateway.List) bool { return has.ID == l.ID }) {
			v.Lists = append(v.Lists, contactListRow{l, strconv.FormatInt(int64(l.ID), 10)})
		} else {
			v.Addable = append(v.Addable, option{strconv.FormatInt(int64(l.ID), 10), brief(l.Name)})
		}
	}
	if v.Timeline, err = p.contactTimeline(c, view.ID); err != nil {
		return err
	}
	v.Merge = picker{ID: "merge-with", Name: "with", Label: "Merge with", Placeholder: "Name, e-mail, phone or id", Source: panelPath + "/contacts/find?but=" + strconv.FormatInt(int64(view.ID), 10), Submit: true}
	v.Menu = menu{ID: "contact-menu", Label: v.Label, Items: []menuItem{
		{Label: "Merge with…", Icon: "merge", Dialog: "merge"},
		{Label: "Delete", Icon: "trash", Dialog: "delete", Danger: true},
	}}
	v.Delete = confirm{
		ID: "delete", Title: "Delete " + v.Label + "?", Post: v.Href + "/delete", Yes: "Delete", Typed: "delete", Danger: true,
		Text: "Attributes, history, devices, places in lists and links to companies go with the contact. This can’t be undone.",
	}
	return c.render(status, "contact", v.Label, v)
}

func contactCompany(id gateway.ContactID, i int, company gateway.ContactCompany) contactCompanyRow {
	text := strconv.FormatInt(int64(company.CompanyID), 10)
	params := [][2]string{{"company", text}}
	row := contactCompanyRow{
		ContactCompany: company, Href: panelPath + "/companies/" + text, Star: text,
		Label: brief(cmp.Or(strings.TrimSpace(company.Name), company.CustomID, "Company "+text)),
	}
	row.Menu = menu{ID: "company-" + strconv.Itoa(i), Label: row.Label}
	if !company.Primary {
		row.Menu.Items = append(row.Menu.Items, menuItem{Label: "Make primary", Icon: "star", Post: contactHref(id) + "/companies/primary", Params: params})
	}
	row.Menu.Items = append(row.Menu.Items, menuItem{Label: "Remove from " + row.Label, Icon: "close", Post: contactHref(id) + "/companies/remove", Params: params, Danger: true})
	return row
}

// formerCompanies are companies of which a contact was an employee, who left last first.
func (p *panel) formerCompanies(c *call, id gateway.ContactID) (all []formerCompany, err error) {
	ctx := c.Request().Context()
	rows, err := p.Read.ContactEmails(ctx, c.Workspace.ID, id-1, 1)
	if err != nil || len(rows) == 0 || rows[0].ID != id {
		return nil, err
	}
	ended := slices.DeleteFunc(rows[0].Memberships, func(m gateway.Membership) bool {
		return m.Current() || slices.ContainsFunc(rows[0].Memberships, func(x gateway.Membership) bool {
			return x.CompanyID == m.CompanyID && (x.Current() || x.Until.After(m.Until))
		})
	})
	slices.SortFunc(ended, func(a, b gateway.Membership) int { return b.Until.Compare(a.Until) })
	for _, m := range ended[:min(len(ended), 20)] {
		co, err := p.Read.Company(ctx, c.Workspace.ID, m.CompanyID)
		if gateway.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, formerCompany{panelPath + "/companies/" + strconv.FormatInt(int64(m.CompanyID), 10), companyTitle(co), m.Until})
	}
	return all, nil
}

// cellPart is a cell alone, with what else on the page says the same.
type cellPart struct {
	Cell  contactCell
	Title string // the contact's label, if it may have changed
}

// contactValue shows the cell of a value: to be edited, or as it is.
func (p *panel) contactValue(c *call) error {
	view, err := p.openContact(c)
	if err != nil {
		return err
	}
	f, err := p.contactField(c, c.QueryParam("name"))
	if err != nil {
		return err
	}
	cell := c.contactCell(view, f)
	cell.Editing, cell.Focus = !c.QueryParams().Has("shown") && cell.CanEdit, true
	if !c.isHTMX() {
		to := contactHref(view.ID)
		if cell.Editing {
			to += "?" + url.Values{"edit": {f.Name}}.Encode()
		}
		return c.Redirect(http.StatusSeeOther, to)
	}
	return c.fragment(http.StatusOK, "contact", "cell-part", cellPart{Cell: cell})
}

// postContactValue changes one value of a contact.
func (p *panel) postContactValue(c *call) error {
	form, err := c.form()
	if err != nil {
		return err
	}
	view, err := p.openContact(c)
	if err != nil {
		return err
	}
	f, err := p.contactField(c, form.Values.Get("name"))
	if err != nil {
		return err
	}
	cell := c.contactCell(view, f)
	text := form.Get("value")
	if since := changedSince(form, cell.Value, text); since != "" {
		form.fail("value", since)
	}
	var patch gateway.ContactPatch
	switch f.Name {
	case "email":
		patch.Email = &text
	case "custom_id":
		patch.CustomID = &text
	default:
		a, err := attributeOf(f, "value", text)
		if err := form.take(err, "value"); err != nil {
			return err
		}
		patch.Attributes = []gateway.PayloadAttribute{a}
	}
	if !form.Failed() && text != cell.Value {
		err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
			if err := e.UpdateContact(view.ID, patch); err != nil {
				return err
			}
			return auditContact(e, "contact.change", view.ID, map[string]any{"field": f.Name})
		})
		if err := form.take(err); err != nil {
			return err
		}
		if form.Failed() { // about the one field that there is
			form.fail("value", form.Problem)
			form.Problem = ""
		}
	}
	if form.Failed() {
		if !c.isHTMX() {
			return p.renderContact(c, http.StatusUnprocessableEntity, form)
		}
		cell.Value, cell.Error, cell.Editing, cell.Focus = form.Values.Get("value"), form.Error("value"), true, true
		return c.fragment(http.StatusUnprocessableEntity, "contact", "cell-part", cellPart{Cell: cell})
	}
	if !c.isHTMX() {
		return c.redirect(contactHref(view.ID))
	}
	if view, err = p.openContact(c); err != nil {
		return err
	}
	cell = c.contactCell(view, f)
	cell.Focus = true
	return c.fragment(http.StatusOK, "contact", "cell-part", cellPart{Cell: cell, Title: brief(contactLabel(view))})
}

// contactAction changes the contact of the address as a form asks, and shows it again.
func (p *panel) contactAction(c *call, fields []string, do func(e *gateway.Editor, f *form, id gateway.ContactID) (done string, err error)) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	id, err := c.id("id")
	if err != nil {
		return err
	}
	done := ""
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		contact, err := e.Contact(gateway.ContactID(id))
		if err == nil {
			done, err = do(e, f, contact)
		}
		return err
	})
	if err := f.take(err, fields...); err != nil {
		return err
	}
	if f.Failed() {
		f.Values = url.Values{} // of another form than a cell
		return p.renderContact(c, http.StatusUnprocessableEntity, f)
	}
	if done != "" {
		c.toast(done)
	}
	return c.redirect(panelPath + "/contacts/" + c.Param("id"))
}

// postContactAttribute gives a contact another attribute.
func (p *panel) postContactAttribute(c *call) error {
	all, err := p.contactFields(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	return p.contactAction(c, []string{"attribute", "text"}, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		label, text := f.Get("attribute"), f.Get("text")
		var a gateway.PayloadAttribute
		i := slices.IndexFunc(all, func(x contactField) bool { return strings.EqualFold(x.Label, label) || x.Name == label })
		switch {
		case text == "":
			return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "text", Message: "Write the value that it should have."}
		case i >= 0 && slices.ContainsFunc(contactFields, func(x contactField) bool { return x.Name == all[i].Name }):
			return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "attribute", Message: "This one stands elsewhere on the page, or only civgate writes it."}
		case i >= 0:
			var err error
			if a, err = attributeOf(all[i], "text", text); err != nil {
				return "", err
			}
		default:
			name, ok := gateway.CustomName(gateway.EntityContact, label)
			if !ok || len(label) > gateway.MaxName {
				return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "attribute", Message: "A name needs a letter or a digit, and is not longer than 255 bytes."}
			}
			a = gateway.PayloadAttribute{Name: name, Label: label, Value: inferred(text)}
			if len(a.Value.Raw) > gateway.MaxValue {
				return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "text", Message: "That is longer than the 8 KiB that a value may have."}
			}
		}
		if err := e.UpdateContact(id, gateway.ContactPatch{Attributes: []gateway.PayloadAttribute{a}}); err != nil {
			return "", err
		}
		return "", auditContact(e, "contact.change", id, map[string]any{"field": a.Name})
	})
}

// inferred is the value of a new attribute: a number, a boolean, a date or a text.
func inferred(text string) gateway.Value {
	if v, ok := gateway.Convert(gateway.TextValue(text), gateway.TypeNumber); ok && !strings.HasPrefix(text, "0") && !strings.HasPrefix(text, "+") || text == "0" {
		return v
	}
	switch strings.ToLower(text) {
	case "true", "yes":
		return gateway.BoolValue(true)
	case "false", "no":
		return gateway.BoolValue(false)
	}
	return gateway.InferText(text)
}

// addOne waits until nobody else looks up what a form names, to make it if it is not
// there: so two agents, or one who clicks twice, make one. done lets the next go on.
//
// It is so within one process. On two nodes at the same moment there can be two of a
// name; the balancer keeps a browser on its node.
func (p *panel) addOne(c *call) (done func(), err error) {
	select {
	case p.adding <- struct{}{}:
		return func() { <-p.adding }, nil
	case <-c.Request().Context().Done():
		return nil, c.Request().Context().Err()
	}
}

// postContactCompany makes a contact an employee of a company that was picked, or of a
// new one.
func (p *panel) postContactCompany(c *call) error {
	sent, err := c.form()
	if err != nil {
		return err
	}
	// What the text names, if nothing was picked: a form that is sent twice makes one
	// company.
	var same gateway.CompanyID
	if q := searched(cmp.Or(sent.Get("company_new"), sent.Get("q"))); q != "" && sent.Get("company") == "" {
		done, err := p.addOne(c)
		if err != nil {
			return err
		}
		defer done()
		found, err := p.companyPicks(c, q, 5)
		if err != nil {
			return err
		}
		for _, co := range found.rows {
			if strings.EqualFold(strings.TrimSpace(co.Name), q) || co.CustomID == q {
				same = co.ID
			}
		}
	}
	return p.contactAction(c, []string{"company"}, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		picked, _ := strconv.ParseInt(f.Get("company"), 10, 64) // else a new one
		company := cmp.Or(gateway.CompanyID(picked), same)
		name := f.Get("company_new")
		if name == "" && f.Values.Has("create") { // without scripts
			name = f.Get("q")
		}
		switch {
		case company > 0:
		case name == "":
			return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "company", Message: "Choose a company from the list, or its last line to create one."}
		case len(name) > gateway.MaxName:
			return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "company", Message: "A name has up to 255 bytes."}
		default:
			var err error
			if company, err = e.CreateCompany(gateway.CompanyPatch{Name: &name}); err != nil {
				return "", err
			}
			if err := e.Audit("company.add", "company", strconv.FormatInt(int64(company), 10), map[string]any{"name": name}); err != nil {
				return "", err
			}
		}
		if err := e.AddMember(company, id); err != nil {
			return "", err
		}
		return "", auditContact(e, "contact.join", id, map[string]any{"company": company})
	})
}

func (p *panel) postContactLeave(c *call) error {
	return p.contactAction(c, nil, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		company, err := strconv.ParseInt(f.Get("company"), 10, 64)
		if err != nil {
			return "", gateway.Errorf(gateway.CodeInvalid, "There is no such company.")
		}
		if err := e.RemoveMember(gateway.CompanyID(company), id); err != nil {
			return "", err
		}
		return "Removed. It stands below under former companies.", auditContact(e, "contact.leave", id, map[string]any{"company": company})
	})
}

func (p *panel) postContactPrimary(c *call) error {
	return p.contactAction(c, nil, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		company, err := strconv.ParseInt(f.Get("company"), 10, 64)
		if err != nil {
			return "", gateway.Errorf(gateway.CodeInvalid, "There is no such company.")
		}
		if err := e.SetPrimaryCompany(id, gateway.CompanyID(company)); err != nil {
			return "", err
		}
		return "", auditContact(e, "contact.primary", id, map[string]any{"company": company})
	})
}

// postContactList puts a contact into a list, or takes it out of one (field remove).
func (p *panel) postContactList(c *call) error {
	return p.contactAction(c, []string{"list"}, func(e *gateway.Editor, f *form, id gateway.ContactID) (string, error) {
		list, err := strconv.ParseInt(cmp.Or(f.Get("list"), f.Get("remove")), 10, 64)
		if err != nil {
			return "", &gateway.Error{Code: gateway.CodeInvalid, Field: "list", Message: "Choose a list."}
		}
		if f.Values.Has("remove") {
			if err := e.RemoveFromList(gateway.ListID(list), id); err != nil {
				return "", err
			}
			return "", auditContact(e, "contact.unlist", id, map[string]any{"list": list})
		}
		l, err := e.AddToList(gateway.ListID(list), id)
		if err != nil {
			return "", err
		}
		return "", auditContact(e, "contact.list", id, map[string]any{"list": l.Name})
	})
}

func (p *panel) postContactDelete(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	id, err := c.id("id")
	if err != nil {
		return err
	}
	if f.Get("confirm") != "delete" {
		f.Values = url.Values{}
		f.fail("", "Nothing was deleted: type delete to go on.")
		return p.renderContact(c, http.StatusUnprocessableEntity, f)
	}
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		contact, err := e.Contact(gateway.ContactID(id))
		if err != nil {
			return err
		}
		if err := e.DeleteContact(contact); err != nil {
			return err
		}
		return auditContact(e, "contact.delete", contact, nil)
	})
	if err != nil {
		return err
	}
	c.toast("The contact is deleted.")
	return c.redirect(panelPath + "/contacts")
}
