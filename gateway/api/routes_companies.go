package api

import (
	"net/http"
	"slices"
)

// companyResources are the routes of companies and their employees, of attributes,
// and of what contacts did.
func (s *Server) companyResources() []resource {
	const get, post, put, patch, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete
	// company is what is below a company, whatever kind of id the path has.
	company := func(path string, find findCompany, target targetCompany) []resource {
		update, removeAttribute := s.updateCompany(target, find), s.patchCompany(target, noAttribute)
		removeTag, removeMember := s.removeCompanyTag(target), s.removeMember(target)
		return []resource{
			{path, methods{get: s.company(find), put: update, patch: update, del: s.deleteCompany(target)}},
			{path + "/members", methods{get: s.members(find)}},
			{path + "/add_member", methods{post: s.addMember(target)}},
			{path + "/remove_member", methods{post: removeMember, del: removeMember}},
			{path + "/set_attribute", methods{post: s.patchCompany(target, oneAttribute)}},
			{path + "/set_multiple_attributes", methods{post: s.patchCompany(target, allAttributes)}},
			{path + "/remove_attribute", methods{post: removeAttribute, del: removeAttribute}},
			{path + "/add_tag", methods{post: s.addCompanyTag(target)}},
			{path + "/add_many_tags", methods{post: s.addManyCompanyTags(target)}},
			{path + "/remove_tag", methods{post: removeTag, del: removeTag}},
		}
	}
	return slices.Concat([]resource{
		{"/companies", methods{get: s.companies, post: s.createCompany}},
		{"/companies/export", methods{get: s.exportCompanies}},
		{"/companies/search", methods{get: s.searchCompanies}},
		{"/companies/update_or_create", methods{post: s.updateOrCreateCompany}},
	},
		company("/companies/:id", s.companyByID, targetCompanyByID),
		company("/companies-by-id/:id", s.companyByCustomID, targetCompanyByCustomID),
		[]resource{
			{"/memberships/export", methods{get: s.exportMemberships}},
			{"/users/:id/set_primary_company", methods{post: s.setPrimaryCompany(targetByID)}},
			{"/users-by-id/:id/set_primary_company", methods{post: s.setPrimaryCompany(targetByCustomID)}},

			{"/attributes", methods{get: s.attributes, post: s.createAttribute}},
			{"/attributes/:id", methods{get: s.attribute}},
			{"/attribute-type/:id/users", methods{get: s.contactAttributeType}},
			{"/attribute-type/:id/companies", methods{get: s.companyAttributeType}},

			{"/events", methods{post: s.createEvent}},
			{"/products-by-id/:id/product_event", methods{post: s.createProductEvent}},
			{"/site-views", methods{post: s.createSiteView}},
		})
}
