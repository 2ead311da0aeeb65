package web

import (
	"net/http"

	"civgate/gateway"
)

// keysPage lists the keys of a workspace.
type keysPage struct {
	*form
	Widget, Tokens []keyRow
	Scopes         []option
	// Token is the one that was just made under the name Made: it is shown this once.
	Token, Made string
}

type keyRow struct {
	gateway.APIKey
	ID     string
	Revoke confirm
}

var scopeOptions = []option{
	{string(gateway.ScopeRead), "Read: sees all data, changes nothing"},
	{string(gateway.ScopeWrite), "Write: reads and changes data"},
	{string(gateway.ScopeAdmin), "Admin: settings and deletion besides"},
}

func (p *panel) settingsKeys(c *call) error {
	return p.renderKeys(c, http.StatusOK, keysPage{form: &form{}})
}

func (p *panel) renderKeys(c *call, status int, v keysPage) error {
	keys, err := p.Read.APIKeys(c.Request().Context(), c.Workspace.ID)
	if err != nil {
		return err
	}
	v.Scopes = scopeOptions
	for _, k := range keys {
		row := keyRow{APIKey: k, ID: gateway.KeyID(k)}
		row.Revoke = confirm{
			ID: "revoke-" + string(k.Kind) + "-" + row.ID, Title: "Revoke the token " + k.Name + "?",
			Text: "Programs that use it are refused within a second. It can't be undone; make a new token instead.",
			Post: panelPath + "/settings/keys/revoke", Params: [][2]string{{"kind", string(k.Kind)}, {"id", row.ID}},
			Yes: "Revoke", Typed: row.ID, Danger: true,
		}
		if k.Kind == gateway.KeyWidget {
			row.Revoke.Title = "Revoke the widget key " + row.ID + "?"
			row.Revoke.Text = "Pages whose snippet carries it send nothing more, within a second. Paste another key there first."
			v.Widget = append(v.Widget, row)
		} else {
			v.Tokens = append(v.Tokens, row)
		}
	}
	return c.render(status, "settings_keys", "API keys & tokens", v)
}

func (p *panel) postToken(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	var token string
	var k gateway.APIKey
	err = p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) (err error) {
		token, k, err = e.AddToken(f.Get("name"), gateway.Scope(f.Get("scope")))
		return err
	})
	if err := f.take(err, "name", "scope"); err != nil {
		return err
	}
	if f.Failed() {
		return p.renderKeys(c, http.StatusUnprocessableEntity, keysPage{form: f})
	}
	return p.renderKeys(c, http.StatusOK, keysPage{form: &form{}, Token: token, Made: k.Name})
}

func (p *panel) postWidgetKey(c *call) error {
	err := p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
		_, err := e.AddWidgetKey("Made in the panel")
		return err
	})
	if err != nil {
		return err
	}
	c.toast("There is another widget key. The older ones stay good.")
	return c.redirect(panelPath + "/settings/keys")
}

func (p *panel) postKeyRevoke(c *call) error {
	f, err := c.form()
	if err != nil {
		return err
	}
	if f.Get("confirm") != f.Get("id") {
		f.fail("", "Nothing was done: type "+f.Get("id")+" to revoke this key.")
	} else {
		err := p.Gateway.Edit(c.Request().Context(), c.Workspace, c.author(), func(e *gateway.Editor) error {
			_, err := e.RevokeKey(gateway.KeyKind(f.Get("kind")), f.Get("id"))
			return err
		})
		if err := f.take(err); err != nil {
			return err
		}
	}
	if f.Failed() {
		f.Values = nil // of another form than the one that is shown again
		return p.renderKeys(c, http.StatusConflict, keysPage{form: f})
	}
	c.toast("The key is revoked.")
	return c.redirect(panelPath + "/settings/keys")
}
