package api

import (
	"strings"

	"civgate/gateway"
)

// targetCompany finds, within an edit, the company that the request's path names.
type targetCompany = target[gateway.CompanyID]

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

// theCompanies is what the writes of companies are made of.
var theCompanies = &kind[gateway.CompanyID, gateway.CompanyPatch]{
	ownID: map[version]string{v1: "company_id", v2: "custom_id"},
	parse: gateway.ParseCompanyPatch,
	empty: func(p *gateway.CompanyPatch) bool {
		return p.CustomID == nil && p.Name == nil && len(p.Attributes) == 0
	},
	check: func(p *gateway.CompanyPatch) error {
		// A company needs something to be told from others by.
		if (p.Name == nil || *p.Name == "") && (p.CustomID == nil || *p.CustomID == "") {
			return invalid("name", textRequired)
		}
		return nil
	},
	upsert: func(p *gateway.CompanyPatch) *string {
		p.KeepTags = true
		return p.CustomID
	},
	byOwnID: (*gateway.Editor).CompanyByCustomID,
	create:  (*gateway.Editor).CreateCompany,
	update:  (*gateway.Editor).UpdateCompany,
	delete:  (*gateway.Editor).DeleteCompany,
	tags:    (*gateway.Editor).CompanyTags,
	setTags: (*gateway.Editor).SetCompanyTags,
	answer: func(status int, id gateway.CompanyID) answer {
		return answer{status: status, company: id}
	},
}
