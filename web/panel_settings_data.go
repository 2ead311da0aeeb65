package web

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"civgate/gateway"
)

// dropPatience bounds how long an attribute or a tag may take to be deleted from all who
// have it.
const dropPatience = 10 * time.Minute

// attributesPage lists the custom attributes of contacts or companies.
type attributesPage struct {
	*form
	Entity gateway.Entity
	Tabs   []chip
	Rows   []attributeRow
	Types  []option
}

type attributeRow struct {
	gateway.AttributeDef
	Edit string // id of the dialog
	Drop confirm
}

// Says is the type in a word.
func (r attributeRow) Says() string { return typeWords(&r.AttributeDef) }

func typeWords(d *gateway.AttributeDef) string {
	if d.Integer {
		return "Whole number"
	}
	for _, o := range typeOptions {
		if o.Value == d.Type.String() {
			return o.Label
		}
	}
	return d.Type.String()
}

var typeOptions = []option{
	{"text", "Text"}, {"number", "Number"}, {"bool", "Yes or no"}, {"date", "Date"}, {"datetime", "Date and time"}, {"list", "List"}, {"json", "JSON"},
}

// attributesPath is the page of an entity.
func attributesPath(e gateway.Entity) string {
	if e == gateway.EntityCompany {
		return panelPath + "/settings/attributes?of=company"
	}
	return panelPath + "/settings/attributes"
}

// entityOf is the entity that a request names: contacts, if none.
func entityOf(text string) gateway.Entity {
	if text == string(gateway.EntityCompany) {
		return gateway.EntityCompany
	}
	return gateway.EntityContact
}

func (p *panel) settingsAttributes(c *call) error {
	return p.renderAttributes(c, http.StatusOK, &form{}, entityOf(c.QueryParam("of")))
}

func (p *panel) renderAttributes(c *call, status int, f *form, entity gateway.Entity) error {
	defs, err := p.Read.AttributeDefs(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	v := attributesPage{form: f, Entity: entity, Types: typeOptions, Tabs: []chip{
		{Label: "Contacts", Href: attributesPath(gateway.EntityContact), Active: entity == gateway.EntityContact},
		{Label: "Companies", Href: attributesPath(gateway.EntityCompany), Active: entity == gateway.EntityCompany},
	}}
	for _, d := range defs {
		if d.Entity != entity {
			continue
		}
		id := strconv.FormatInt(int64(d.ID), 10)
		v.Rows = append(v.Rows, attributeRow{d, "attribute-" + id, confirm{
			ID: "drop-" + id, Title: "Delete the attribute " + brief(d.Label) + "?",
			Text: "Its values are deleted from all who have one, and can't be had back. A payload that names it makes it anew.",
			Post: panelPath + "/settings/attributes/" + id + "/delete", Params: [][2]string{{"of", string(entity)}}, Yes: "Delete", Typed: typedWord(d.Name), Danger: true,
		}})
	}
	return c.render(status, "settings_attributes", "Attributes", v)
}

// attributeAction does what a form of the page asks for, and shows the page again.
func (p *panel) attributeAction(c *call, done string, do func(f *form, e *gateway.Editor) error, fields ...string) error {
	f, err := c.shortForm()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), dropPatience)
	defer cancel()
	err = p.Gateway.Edit(ctx, c.Workspace, c.author(), func(e *gateway.Editor) error { return do(f, e) })
	if err := f.take(err, fields...); err != nil {
		return err
	}
	entity := entityOf(f.Get("of"))
	if f.Failed() {
		return p.renderAttributes(c, http.StatusUnprocessableEntity, f, entity)
	}
	c.toast(done)
	return c.redirect(attributesPath(entity))
}

func (p *panel) postAttribute(c *call) error {
	return p.attributeAction(c, "The attribute is made.", func(f *form, e *gateway.Editor) error {
		typ, ok := gateway.ParseType(f.Get("type"))
		if !ok || typ == gateway.TypeNull {
			return &gateway.Error{Code: gateway.CodeInvalid, Field: "type", Message: "Choose a type."}
		}
		if len(f.Get("name")) > gateway.MaxName || len(f.Get("description")) > gateway.MaxDescription {
			return &gateway.Error{Code: gateway.CodeInvalid, Field: "name", Message: "That is too long."}
		}
		_, err := e.DefineAttribute(gateway.AttributeDef{Entity: entityOf(f.Get("of")), Label: f.Get("name"), Type: typ, Description: f.Get("description")})
		return err
	}, "name", "type")
}

func (p *panel) postAttributeChange(c *call) error {
	id, err := c.id("id")
	if err != nil {
		return err
	}
	return p.attributeAction(c, "Saved.", func(f *form, e *gateway.Editor) error {
		_, err := e.ChangeAttribute(gateway.AttributeID(id), func(d *gateway.AttributeDef) {
			d.Label, d.Description, d.Hidden = f.Get("label"), f.Get("description"), f.Get("hidden") != ""
		})
		return err
	})
}

func (p *panel) postAttributeDelete(c *call) error {
	id, err := c.id("id")
	if err != nil {
		return err
	}
	defs, err := p.Read.AttributeDefs(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	return p.attributeAction(c, "The attribute and its values are deleted.", func(f *form, e *gateway.Editor) error {
		for i := range defs {
			if want := typedWord(defs[i].Name); int64(defs[i].ID) == id && f.Get("confirm") != want {
				return gateway.Errorf(gateway.CodeInvalid, "Nothing was done: type %s to delete this attribute.", want)
			}
		}
		return e.DropAttribute(gateway.AttributeID(id))
	})
}

// tagsPage lists tags.
type tagsPage struct {
	*form
	Count int64
	Rows  []tagRow
	More  *more
}

type tagRow struct {
	gateway.Tag
	Uses string
	Drop confirm
}

// countedTags is up to how many who have a tag are counted.
const countedTags = 1000

func (p *panel) settingsTags(c *call) error { return p.renderTags(c, http.StatusOK, &form{}) }

func (p *panel) renderTags(c *call, status int, f *form) error {
	ctx, w := c.Request().Context(), c.Workspace.ID
	before, _ := strconv.ParseInt(c.QueryParam("before"), 10, 64) // else from the start
	v := tagsPage{form: f}
	tags, err := p.Read.Tags(ctx, w, gateway.TagID(max(before, 0)), listPage+1)
	if err != nil {
		return err
	}
	if v.Count, err = p.Read.CountTags(ctx, w); err != nil {
		return err
	}
	if len(tags) > listPage {
		tags = tags[:listPage]
		v.More = &more{Href: panelPath + "/settings/tags?before=" + strconv.FormatInt(int64(tags[listPage-1].ID), 10), Label: "Older tags"}
	}
	ids := make([]gateway.TagID, len(tags))
	for i := range tags {
		ids[i] = tags[i].ID
	}
	uses, err := p.Read.TagUses(ctx, w, ids, countedTags+1)
	if err != nil {
		return err
	}
	for _, t := range tags {
		n, id := uses[t.ID], strconv.FormatInt(int64(t.ID), 10)
		row := tagRow{t, number(int64(n)), confirm{
			ID: "tag-" + id, Title: "Delete the tag " + brief(t.Name) + "?", Text: count(int64(n), "contact or company loses it.", "contacts and companies lose it."),
			Post: panelPath + "/settings/tags/" + id + "/delete", Yes: "Delete", Typed: typedWord(t.Name), Danger: true,
		}}
		if n > countedTags {
			row.Uses = "over " + number(countedTags)
			row.Drop.Text = "Over " + number(countedTags) + " contacts and companies lose it."
		}
		v.Rows = append(v.Rows, row)
	}
	return c.render(status, "settings_tags", "Tags", v)
}

func (p *panel) tagAction(c *call, done string, do func(f *form, e *gateway.Editor) error) error {
	f, err := c.shortForm()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), dropPatience)
	defer cancel()
	err = p.Gateway.Edit(ctx, c.Workspace, c.author(), func(e *gateway.Editor) error { return do(f, e) })
	if err := f.take(err, "name"); err != nil {
		return err
	}
	if f.Failed() {
		return p.renderTags(c, http.StatusUnprocessableEntity, f)
	}
	c.toast(done)
	return c.redirect(panelPath + "/settings/tags")
}

func (p *panel) postTag(c *call) error {
	return p.tagAction(c, "The tag is there.", func(f *form, e *gateway.Editor) error {
		_, _, err := e.AddTag(f.Get("name"))
		return err
	})
}

func (p *panel) postTagDelete(c *call) error {
	id, err := c.id("id")
	if err != nil {
		return err
	}
	tag, err := p.Read.Tag(c.Request().Context(), c.Workspace.ID, gateway.TagID(id))
	if err != nil {
		return err
	}
	return p.tagAction(c, "The tag is deleted.", func(f *form, e *gateway.Editor) error {
		if want := typedWord(tag.Name); f.Get("confirm") != want {
			return gateway.Errorf(gateway.CodeInvalid, "Nothing was done: type %s to delete this tag.", want)
		}
		return e.DeleteTag(tag.ID)
	})
}
