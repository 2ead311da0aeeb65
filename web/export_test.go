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

// RefusalTodo is what the panel says to do about a code.
func RefusalTodo(code gateway.Code) string { return refusals[code].Todo }

// RefusalShort names a code in two or three words.
func RefusalShort(code gateway.Code) string { return refusals[code].Short }

// AuditActions are the actions that the audit log offers to choose from.
func AuditActions() (all []string) {
	for _, g := range auditActions {
		for _, o := range g.Options {
			all = append(all, o.Value)
		}
	}
	return all
}
