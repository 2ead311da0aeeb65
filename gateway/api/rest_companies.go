package api

import (
	"net/http"
	"strings"

	"civgate/gateway"
)

// findCompany finds the company that the request's path names.
type findCompany func(r *request) (*gateway.CompanyView, error)

func (s *Server) companyByID(r *request) (*gateway.CompanyView, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return nil, err
	}
	return s.reader.Company(r.Request().Context(), r.workspace.ID, gateway.CompanyID(id))
}

func (s *Server) companyByCustomID(r *request) (*gateway.CompanyView, error) {
	return s.companyOf(r, r.pathID())
}

// companyOf finds a company by its own id.
func (s *Server) companyOf(r *request, customID string) (*gateway.CompanyView, error) {
	if customID == "" {
		return nil, errNotFound
	}
	return withoutSlash(customID, func(id string) (*gateway.CompanyView, error) {
		return s.reader.CompanyByCustomID(r.Request().Context(), r.workspace.ID, id)
	})
}

// companies answers GET /companies/ with all companies, or with those that meet the
// filters in its parameters.
func (s *Server) companies(r *request) error {
	where, err := s.filters(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	return s.listCompanies(r, where)
}

// searchCompanies answers GET /companies/search/ with the one company of an own id
// (company_id, custom_id or company_custom_id), or with a page of those that meet the
// filters in its parameters.
func (s *Server) searchCompanies(r *request) error {
	q := r.QueryParams()
	for _, name := range []string{"company_id", "custom_id", "company_custom_id"} {
		if !q.Has(name) {
			continue
		}
		v, err := s.companyOf(r, storable(q.Get(name)))
		if err != nil {
			return err
		}
		return s.writeCompany(r, v)
	}
	where, err := s.filters(r, gateway.EntityCompany)
	if err != nil {
		return err
	}
	if len(where) == 0 {
		return gateway.Errorf(gateway.CodeInvalid, "One of company_id, custom_id and a filter is required.")
	}
	return s.listCompanies(r, where)
}

func companyID(v *gateway.CompanyView) int64 { return int64(v.ID) }

func (s *Server) listCompanies(r *request, where []gateway.Condition) error {
	var p page
	err := s.inView(r, func() error {
		ctx := r.Request().Context()
		k := filtered(r, listCompanies, companyID, where, s.reader.FindCompanies)
		if len(where) == 0 {
			k.forth = false
			k.before = func(before int64, limit int) ([]*gateway.CompanyView, error) {
				return s.reader.Companies(ctx, r.workspace.ID, gateway.CompanyID(before), limit)
			}
		}
		rows, at, err := k.read(s, r)
		if err != nil {
			return err
		}
		p = at
		if p.countFiltered(len(rows)); len(where) == 0 {
			if p.Count, err = s.reader.CountCompanies(ctx, r.workspace.ID); err != nil {
				return err
			}
		}
		p.Results, err = s.companyShapes(r, rows)
		return err
	})
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, p)
}

// company answers GET of a company's path.
func (s *Server) company(find findCompany) restHandler {
	return func(r *request) error {
		var shapes []any
		err := s.inView(r, func() error {
			v, err := find(r)
			if err == nil {
				shapes, err = s.companyShapes(r, []*gateway.CompanyView{v})
			}
			return err
		})
		if err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, shapes[0])
	}
}

func (s *Server) writeCompany(r *request, v *gateway.CompanyView) error {
	shapes, err := s.companyShapes(r, []*gateway.CompanyView{v})
	if err != nil {
		return err
	}
	return writeJSON(r, http.StatusOK, shapes[0])
}

func (s *Server) companyShapes(r *request, views []*gateway.CompanyView) ([]any, error) {
	sh, err := s.shaper(r, gateway.EntityCompany)
	if err != nil {
		return nil, err
	}
	if err := sh.readCompanyTags(s, r, views); err != nil {
		return nil, err
	}
	shapes := make([]any, len(views))
	for i, v := range views {
		shapes[i] = sh.company(v)
	}
	return shapes, nil
}
