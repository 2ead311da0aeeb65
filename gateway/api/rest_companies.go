package api

import (
	"net/http"
	"strings"

	"civgate/gateway"
)

// companies answers GET /companies/.
func (s *Server) companies(r *request) error {
	if err := r.refuseFilters(); err != nil {
		return err
	}
	ctx := r.Request().Context()
	rows, p, err := keyset[*gateway.CompanyView]{
		list: listCompanies,
		id:   func(v *gateway.CompanyView) int64 { return int64(v.ID) },
		before: func(before int64, limit int) ([]*gateway.CompanyView, error) {
			return s.reader.Companies(ctx, r.workspace.ID, gateway.CompanyID(before), limit)
		},
	}.read(s, r)
	if err != nil {
		return err
	}
	if p.Count, err = s.reader.CountCompanies(ctx, r.workspace.ID); err != nil {
		return err
	}
	sh, err := s.shaper(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	p.Results = make([]any, len(rows))
	for i, v := range rows {
		p.Results[i] = sh.company(v)
	}
	return writeJSON(r, http.StatusOK, p)
}

// company answers GET /companies/:id/.
func (s *Server) company(r *request) error {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return err
	}
	v, err := s.reader.Company(r.Request().Context(), r.workspace.ID, gateway.CompanyID(id))
	if err != nil {
		return err
	}
	return s.writeCompany(r, v)
}

// companyByCustomID answers GET /companies-by-id/:custom_id/.
func (s *Server) companyByCustomID(r *request) error {
	return s.writeCompanyOf(r, r.pathID())
}

// searchCompanies answers GET /companies/search/?company_id= (or custom_id=)
// with the one company of that id.
func (s *Server) searchCompanies(r *request) error {
	q := r.QueryParams()
	switch {
	case q.Has("company_id"):
		return s.writeCompanyOf(r, storable(q.Get("company_id")))
	case q.Has("custom_id"):
		return s.writeCompanyOf(r, storable(q.Get("custom_id")))
	}
	return gateway.Errorf(gateway.CodeInvalid, "One of company_id and custom_id is required.")
}

func (s *Server) writeCompanyOf(r *request, customID string) error {
	if customID == "" {
		return errNotFound
	}
	v, err := withoutSlash(customID, func(id string) (*gateway.CompanyView, error) {
		return s.reader.CompanyByCustomID(r.Request().Context(), r.workspace.ID, id)
	})
	if err != nil {
		return err
	}
	return s.writeCompany(r, v)
}

func (s *Server) writeCompany(r *request, v *gateway.CompanyView) error {
	sh, err := s.shaper(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, sh.company(v))
}
