package web

import (
	"net/http"
	"strings"
)

// maxSearch is how many bytes of a search are looked at.
const maxSearch = 200

// search answers the field on top of every page: what the text finds, in groups. With
// scripts it is a list under the field, else a page.
func (p *panel) search(c *call) error {
	q := strings.TrimSpace(c.QueryParam("q"))
	q = strings.ToValidUTF8(q[:min(len(q), maxSearch)], "")
	found := options{Query: q}
	for _, group := range []func(c *call, q string) (optionGroup, error){
		p.searchPages,
	} {
		if q == "" {
			break
		}
		g, err := group(c, q)
		if err != nil {
			return err
		}
		if len(g.Options) > 0 {
			found.Groups = append(found.Groups, g)
		}
	}
	if c.isHTMX() {
		return c.fragment(http.StatusOK, "search", "found", found)
	}
	return c.render(http.StatusOK, "search", "Search", found)
}

// searchPages finds pages of the panel by their names.
func (p *panel) searchPages(c *call, q string) (optionGroup, error) {
	g := optionGroup{Label: "Pages"}
	f := c.frame("", nil)
	for _, one := range append(f.Rail(), f.Settings()...) {
		if strings.Contains(strings.ToLower(one.Label), strings.ToLower(q)) {
			g.Options = append(g.Options, pick{Href: one.Path, Label: one.Label, Note: one.About, Icon: one.Icon})
		}
	}
	return g, nil
}
