package web

import (
	"net/http"

	"civgate/gateway"
)

// settings leads to the first of the settings' pages that is there for who asks.
func (p *panel) settings(c *call) error {
	pages := c.frame("", nil).Settings()
	if len(pages) == 0 {
		return gateway.Errorf(gateway.CodeNotFound, "There is no page at this address.")
	}
	return c.Redirect(http.StatusSeeOther, pages[0].Path)
}
