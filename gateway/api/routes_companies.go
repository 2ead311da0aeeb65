package api

import "slices"

// companyResources are the routes of companies and their employees, of attributes,
// and of what contacts did.
func (s *Server) companyResources() []resource {
	// company is what is below a company, whatever kind of id the path has.
	company := func(path string, find findCompany, at targetCompany) []resource {
		remove := removeMember(at)
		return append(theCompanies.resources(path, at, s.company(find)),
			resource{path + "/members", methods{get: s.members(find)}},
			resource{path + "/add_member", methods{post: addMember(at)}},
			resource{path + "/remove_member", methods{post: remove, del: remove}})
	}
	return slices.Concat([]resource{
		{"/companies", methods{get: s.companies, post: theCompanies.createOne}},
		{"/companies/export", methods{get: s.exportCompanies}},
		{"/companies/search", methods{get: s.searchCompanies}},
		{"/companies/update_or_create", methods{post: theCompanies.updateOrCreate}},
	},
		company("/companies/:id", s.companyByID, targetCompanyByID),
		company("/companies-by-id/:id", s.companyByCustomID, targetCompanyByCustomID),
		[]resource{
			{"/memberships/export", methods{get: s.exportMemberships}},
			{"/users/:id/set_primary_company", methods{post: setPrimaryCompany(targetByID)}},
			{"/users-by-id/:id/set_primary_company", methods{post: setPrimaryCompany(targetByCustomID)}},

			{"/attributes", methods{get: s.attributes, post: createAttribute}},
			{"/attributes/:id", methods{get: s.attribute, del: deleteAttribute}},
			{"/attribute-type/:id/users", methods{get: s.contactAttributeType}},
			{"/attribute-type/:id/companies", methods{get: s.companyAttributeType}},

			{"/events", methods{get: s.workspaceEvents, post: createEvent}},
			{"/events/:id", methods{get: s.event}},
			{"/site-views", methods{post: createSiteView}},
		})
}
