package web

import (
	"net/http"
	"strconv"

	"civgate/gateway"
)

type companiesPage struct {
	Count   int64
	Columns []column
	Rows    []*gateway.CompanyView
	More    *more
}

// companies lists the newest companies.
func (p *panel) companies(c *call) error {
	ctx := c.Request().Context()
	before, _ := strconv.ParseInt(c.QueryParam("before"), 10, 64) // else from the start
	v := companiesPage{Columns: []column{{Label: "Name"}, {Label: "Company id", Wide: true}, {Label: "Employees", Numeric: true}, {Label: "Since", Numeric: true}}}
	var err error
	if v.Rows, err = p.Read.Companies(ctx, c.Workspace.ID, gateway.CompanyID(max(before, 0)), listPage+1); err != nil {
		return err
	}
	if len(v.Rows) > listPage {
		v.Rows = v.Rows[:listPage]
		v.More = &more{Href: panelPath + "/companies?before=" + strconv.FormatInt(int64(v.Rows[listPage-1].ID), 10), Label: "Older companies"}
	}
	if v.Count, err = p.Read.CountCompanies(ctx, c.Workspace.ID); err != nil {
		return err
	}
	return c.render(http.StatusOK, "companies", "Companies", v)
}
