package gateway

import (
	"slices"
	"strings"
	"time"
)

// Company is an organisation.
type Company struct {
	ID          CompanyID
	WorkspaceID WorkspaceID
	CustomID    string // company_id on the wire, unique in the workspace; "" if none
	Name        string
	Attributes  Attributes
	CreatedAt   time.Time
	UpdatedAt   time.Time
}

// attrDomains is the standard attribute of a company that lists its domains.
const attrDomains = "domains"

// CompanyDomain is a domain by which a company is found.
type CompanyDomain struct {
	Domain    string // comparable, see NormalizeDomain
	CompanyID CompanyID
	Listed    bool // the company lists it among its domains; else it is the company's name
}

// CompanyDomains returns the domains by which a company is found, sorted, each once: those
// that it lists, and its name if that is a domain. What is none is left out.
func CompanyDomains(c *Company) []CompanyDomain {
	var all []CompanyDomain
	add := func(s string, listed bool) {
		if len(s) > 4*maxDomain || !strings.ContainsAny(s, ".。．｡") {
			return // no domain, whatever it is in ASCII
		}
		domain, ok := NormalizeDomain(strings.TrimSpace(s))
		if ok && !slices.ContainsFunc(all, func(x CompanyDomain) bool { return x.Domain == domain }) {
			all = append(all, CompanyDomain{domain, c.ID, listed})
		}
	}
	if listed, ok := c.Attributes.Get(attrDomains); ok {
		for _, item := range Items(listed) {
			if item.Type == TypeText {
				add(Text(item), true)
			}
		}
	}
	add(c.Name, false)
	slices.SortFunc(all, func(a, b CompanyDomain) int { return strings.Compare(a.Domain, b.Domain) })
	return all
}

// Source says by which door a membership came.
type Source string

// The sources. Widget and domain never end what another made.
const (
	SourceWidget Source = "widget"
	SourceManual Source = "manual"
	SourceImport Source = "import"
	SourceDomain Source = "domain"
	SourceAPI    Source = "api"
)

// Membership is the link of a contact to a company, shown as "employee".
// At most one membership of a pair is current; ended ones are kept.
type Membership struct {
	WorkspaceID WorkspaceID
	ContactID   ContactID
	CompanyID   CompanyID
	Source      Source
	Primary     bool
	Since       time.Time
	Until       time.Time // zero while it holds
	By          string    // the agent, import or token behind it, if any
}

// Current reports whether the link holds now.
func (m *Membership) Current() bool { return m.Until.IsZero() }
