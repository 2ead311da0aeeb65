package web

import "civgate/gateway"

// Route is a line of the panel's table of routes.
type Route struct {
	Method, Path string
	Least        gateway.Role
	OwnAccount   bool
}

// Routes is the panel's table of routes.
func Routes() (all []Route) {
	for _, r := range (&panel{}).routes() {
		all = append(all, Route{r.method, panelPath + r.path, r.least, r.opts&ownAccount != 0})
	}
	return all
}

// NextPage is where a sign-in leads to.
func NextPage(next string) string { return nextPage(next) }
