package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"civgate/gateway"
)

// targetCompany finds, within an edit, the company that the request's path names.
type targetCompany func(r *request, e *gateway.Editor) (gateway.CompanyID, error)

func targetCompanyByID(r *request, e *gateway.Editor) (gateway.CompanyID, error) {
	id, err := parseID(strings.TrimRight(r.pathID(), "/"))
	if err != nil {
		return 0, err
	}
	return e.Company(gateway.CompanyID(id))
}

func targetCompanyByCustomID(r *request, e *gateway.Editor) (gateway.CompanyID, error) {
	return withoutSlash(r.pathID(), e.CompanyByCustomID)
}

// ownCompanyIDName is the name of a company's own id in the version.
func (v version) ownCompanyIDName() string {
	if v == v1 {
		return "company_id"
	}
	return "custom_id"
}

// editCompanies is edit with the own id of a company in errors by its name in the
// request's version.
func (s *Server) editCompanies(r *request, fn func(e *gateway.Editor) error) error {
	err := s.edit(r, fn)
	var e *gateway.Error
	if errors.As(err, &e) && e.Code == gateway.CodeInvalid && e.Field == "custom_id" {
		named := *e
		named.Field = r.version.ownCompanyIDName()
		return &named
	}
	return err
}

// companyPatch reads the body as a patch of a company.
func (r *request) companyPatch() (gateway.CompanyPatch, error) {
	f, err := r.fields()
	if err != nil {
		return gateway.CompanyPatch{}, err
	}
	return gateway.ParseCompanyPatch(f, r.version == v2)
}

// writeStoredCompany answers with the company as it is after an edit.
func (s *Server) writeStoredCompany(r *request, status int, id gateway.CompanyID) error {
	v, err := s.reader.Company(r.Request().Context(), r.workspace.ID, id)
	if err != nil {
		return err
	}
	return s.writeCompany(r, status, v)
}

// createCompany answers POST /companies/. A company needs something to be told from
// others by: a name or an own id.
func (s *Server) createCompany(r *request) error {
	patch, err := r.companyPatch()
	if err != nil {
		return err
	}
	if (patch.Name == nil || *patch.Name == "") && (patch.CustomID == nil || *patch.CustomID == "") {
		return invalid("name", textRequired)
	}
	var id gateway.CompanyID
	if err := s.editCompanies(r, func(e *gateway.Editor) (err error) {
		id, err = e.CreateCompany(patch)
		return err
	}); err != nil {
		return err
	}
	return s.writeStoredCompany(r, http.StatusCreated, id)
}

// updateCompany answers PUT and PATCH of a company's path: both change what is sent
// and nothing else. Nothing sent changes nothing, not even when the company was last
// changed.
func (s *Server) updateCompany(target targetCompany, find findCompany) restHandler {
	return func(r *request) error {
		patch, err := r.companyPatch()
		if err != nil {
			return err
		}
		if saysNothing(patch) {
			return s.company(find)(r)
		}
		var id gateway.CompanyID
		if err := s.editCompanies(r, func(e *gateway.Editor) (err error) {
			if id, err = target(r, e); err != nil {
				return err
			}
			return e.UpdateCompany(id, patch)
		}); err != nil {
			return err
		}
		return s.writeStoredCompany(r, http.StatusOK, id)
	}
}

// saysNothing reports whether a patch that came with a request asks for nothing.
func saysNothing(p gateway.CompanyPatch) bool {
	return p.CustomID == nil && p.Name == nil && len(p.Attributes) == 0
}

// deleteCompany answers DELETE of a company's path.
func (s *Server) deleteCompany(target targetCompany) restHandler {
	return func(r *request) error {
		if err := s.edit(r, func(e *gateway.Editor) error {
			id, err := target(r, e)
			if err != nil {
				return err
			}
			return e.DeleteCompany(id)
		}); err != nil {
			return err
		}
		return r.NoContent(http.StatusNoContent)
	}
}

// updateOrCreateCompany answers POST /companies/update_or_create/: the company with the
// own id of the body gets what the body says, tags being added. Without such a company
// it is made.
func (s *Server) updateOrCreateCompany(r *request) error {
	patch, err := r.companyPatch()
	if err != nil {
		return err
	}
	if patch.CustomID == nil || *patch.CustomID == "" {
		return invalid(r.version.ownCompanyIDName(), textRequired)
	}
	patch.KeepTags = true
	var id gateway.CompanyID
	var created bool
	if err := s.editCompanies(r, func(e *gateway.Editor) (err error) {
		id, err = e.CompanyByCustomID(*patch.CustomID)
		if created = gateway.IsNotFound(err); created {
			id, err = e.CreateCompany(patch)
			return err
		}
		if err != nil {
			return err
		}
		return e.UpdateCompany(id, patch)
	}); err != nil {
		return err
	}
	return writeCreated(r, created, id)
}

// patchCompany changes a company as read tells by the body, and answers 200 without a
// body, or 204 to a DELETE.
func (s *Server) patchCompany(target targetCompany, read func(f fields) ([]gateway.Field, error)) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		members, err := read(f)
		if err != nil {
			return err
		}
		patch, err := gateway.ParseCompanyPatch(members, r.version == v2)
		if err != nil {
			return err
		}
		if err := s.editCompanies(r, func(e *gateway.Editor) error {
			id, err := target(r, e)
			if err != nil || saysNothing(patch) {
				return err
			}
			return e.UpdateCompany(id, patch)
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// changeCompanyTags gives the company of the path the tags that change makes of those
// that it has, and returns whether they are others.
func (s *Server) changeCompanyTags(r *request, target targetCompany, change func(have []string) (all []string, changed bool, err error)) (changed bool, err error) {
	err = s.edit(r, func(e *gateway.Editor) error {
		id, err := target(r, e)
		if err != nil {
			return err
		}
		have, err := e.CompanyTags(id)
		if err != nil {
			return err
		}
		var all []string
		if all, changed, err = change(have); err != nil || !changed {
			return err
		}
		return e.SetCompanyTags(id, all)
	})
	return changed, err
}

// addCompanyTag answers POST …/add_tag/.
func (s *Server) addCompanyTag(target targetCompany) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		name, err := f.text("name", gateway.MaxName)
		if err != nil {
			return err
		}
		added, err := s.changeCompanyTags(r, target, func(have []string) ([]string, bool, error) {
			return withTags(have, []string{name})
		})
		if err != nil {
			return err
		}
		return writeJSON(r, http.StatusOK, tagAnswer{added, addedTag{Name: name}})
	}
}

// addManyCompanyTags answers POST …/add_many_tags/.
func (s *Server) addManyCompanyTags(target targetCompany) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		names, err := f.tagNames()
		if err != nil {
			return err
		}
		if _, err := s.changeCompanyTags(r, target, func(have []string) ([]string, bool, error) {
			return withTags(have, names)
		}); err != nil {
			return err
		}
		return r.done()
	}
}

// removeCompanyTag answers POST and DELETE of …/remove_tag/. A tag that is not there
// is none afterwards either.
func (s *Server) removeCompanyTag(target targetCompany) restHandler {
	return func(r *request) error {
		f, err := r.fields()
		if err != nil {
			return err
		}
		name, err := f.text("name", gateway.MaxName)
		if err != nil {
			return err
		}
		if _, err := s.changeCompanyTags(r, target, func(have []string) ([]string, bool, error) {
			all := slices.DeleteFunc(slices.Clone(have), func(tag string) bool { return tag == name })
			return all, len(all) < len(have), nil
		}); err != nil {
			return err
		}
		return r.done()
	}
}
