package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"civgate/gateway"
)

// This file finds contacts and companies while somebody types.
//
// Decisions
//
//   - What identifies (e-mail, phone number, ids, visitor key, a company's domain) is found
//     among all, by index, and so are the beginnings of e-mails and of the words of names. The
//     index of names is made behind the contacts' backs: as long as that of an old or imported
//     database is not complete, the heading of the list says how far it is.
//   - The names of companies are gone through, the newest first. If there are so many that this
//     ends before the last, the heading says so.

const (
	// maxSearch is how many bytes of a search are looked at.
	maxSearch = 200
	// maxFound is how many contacts, or companies, a search shows.
	maxFound = 8
)

// search answers the field on top of every page: what the text finds, in groups. With
// scripts it is a list under the field, else a page.
func (p *panel) search(c *call) error {
	q := searched(c.QueryParam("q"))
	found := options{Query: q}
	for _, group := range []func(c *call, q string) (optionGroup, error){
		p.searchContacts,
		p.searchCompanies,
		p.searchPages,
	} {
		if q == "" {
			break
		}
		g, err := group(c, q)
		if err != nil {
			return err
		}
		if len(g.Options) > 0 {
			found.Groups = append(found.Groups, g)
		}
	}
	if c.isHTMX() {
		return c.fragment(http.StatusOK, "search", "found", found)
	}
	return c.render(http.StatusOK, "search", "Search", found)
}

// searched is a text as far as it is looked for.
func searched(q string) string {
	q = strings.ReplaceAll(strings.TrimSpace(q), "\x00", "")
	return strings.TrimSpace(strings.ToValidUTF8(q[:min(len(q), maxSearch)], ""))
}

// searchPages finds pages of the panel by their names.
func (p *panel) searchPages(c *call, q string) (optionGroup, error) {
	g := optionGroup{Label: "Pages"}
	f := c.frame("", nil)
	for _, one := range append(f.Rail(), f.Settings()...) {
		if strings.Contains(strings.ToLower(one.Label), strings.ToLower(q)) {
			g.Options = append(g.Options, pick{Href: one.Path, Label: one.Label, Note: one.About, Icon: one.Icon})
		}
	}
	return g, nil
}

// searchContacts finds contacts for the field on top.
func (p *panel) searchContacts(c *call, q string) (optionGroup, error) {
	found, err := p.contactPicks(c, q, maxFound)
	g := optionGroup{Label: found.label("Contacts")}
	for _, v := range found.rows {
		one := contactPick(v)
		one.Href, one.Value = contactHref(v.ID), ""
		g.Options = append(g.Options, one)
	}
	return g, err
}

// searchCompanies finds companies for the field on top.
func (p *panel) searchCompanies(c *call, q string) (optionGroup, error) {
	found, err := p.companyPicks(c, q, maxFound)
	g := optionGroup{Label: found.label("Companies")}
	for _, v := range found.rows {
		one := companyPick(v)
		one.Href, one.Value = panelPath+"/companies/"+one.Value, ""
		g.Options = append(g.Options, one)
	}
	return g, err
}

// picks is what a search found; partly says among what names were looked for, "" for all.
type picks[T any] struct {
	rows   []T
	partly string
}

func (f picks[T]) label(title string) string {
	if f.partly != "" {
		return title + " (" + f.partly + ")"
	}
	return title
}

// contactPicks finds contacts by what people type: an e-mail, a phone number, a custom id
// or a visitor key, else the beginnings of words of a name or that of an e-mail.
func (p *panel) contactPicks(c *call, q string, limit int) (found picks[*gateway.ContactView], err error) {
	ctx, w := c.Request().Context(), c.Workspace.ID
	if q == "" {
		return found, nil
	}
	add := func(rows []*gateway.ContactView, err error) error {
		if gateway.IsNotFound(err) {
			return nil
		}
		for _, v := range rows {
			if len(found.rows) < limit && !slices.ContainsFunc(found.rows, func(x *gateway.ContactView) bool { return x.ID == v.ID }) {
				found.rows = append(found.rows, v)
			}
		}
		return err
	}
	one := func(v *gateway.ContactView, err error) error {
		if err != nil {
			return add(nil, err)
		}
		return add([]*gateway.ContactView{v}, nil)
	}
	if err := one(p.Read.ContactByCustomID(ctx, w, q)); err != nil {
		return found, err
	}
	if err := one(p.Read.ContactByKey(ctx, w, q)); err != nil {
		return found, err
	}
	if _, key, ok := gateway.NormalizeEmail(q); ok {
		if err := add(p.Read.ContactsByEmail(ctx, w, key, limit)); err != nil || len(found.rows) > 0 {
			return found, err
		}
	}
	if phone, _, ok := gateway.NormalizePhone(q); ok {
		if err := add(p.Read.ContactsByPhone(ctx, w, phone, limit)); err != nil || len(found.rows) > 0 {
			return found, err
		}
	}
	if !strings.Contains(q, "@") {
		named, err := p.Read.FindNames(ctx, w, q, limit)
		if err != nil {
			return found, err
		}
		if err := add(named.Contacts, nil); err != nil {
			return found, err
		}
		found.partly = namesSearched(named)
	}
	if len(found.rows) >= limit || strings.ContainsAny(q, " \t") {
		return found, nil
	}
	return found, add(p.Read.ContactsByEmailPrefix(ctx, w, strings.ToLower(q), limit))
}

// namesSearched says among what contacts names were looked for, "" for all.
func namesSearched(found *gateway.NamesFound) string {
	switch {
	case found.Indexed < 100:
		return strconv.Itoa(found.Indexed) + " % of names can be searched so far"
	case found.Cut:
		return "names of the newest: type more"
	}
	return ""
}

func contactPick(v *gateway.ContactView) pick {
	label := brief(contactLabel(v))
	one := pick{Value: strconv.FormatInt(int64(v.ID), 10), Label: label, Icon: "contact"}
	var notes []string
	if v.Email != "" && v.Email != label {
		notes = append(notes, brief(v.Email))
	}
	if len(v.Companies) > 0 {
		notes = append(notes, brief(cmp.Or(v.Companies[0].Name, v.Companies[0].CustomID)))
	}
	one.Note = strings.Join(notes, " · ")
	return one
}

// companyPicks finds companies by what people type: a company id or a domain, else the
// beginnings of words of a name.
func (p *panel) companyPicks(c *call, q string, limit int) (found picks[*gateway.CompanyView], err error) {
	ctx, w := c.Request().Context(), c.Workspace.ID
	add := func(rows ...*gateway.CompanyView) {
		for _, v := range rows {
			if len(found.rows) < limit && !slices.ContainsFunc(found.rows, func(x *gateway.CompanyView) bool { return x.ID == v.ID }) {
				found.rows = append(found.rows, v)
			}
		}
	}
	if q == "" {
		found.rows, err = p.Read.Companies(ctx, w, 0, limit)
		return found, err
	}
	co, err := p.Read.CompanyByCustomID(ctx, w, q)
	switch {
	case err == nil:
		add(co)
	case !gateway.IsNotFound(err):
		return found, err
	}
	if domain, ok := gateway.NormalizeDomain(strings.TrimPrefix(q, "@")); ok && strings.Contains(domain, ".") {
		if err := p.companiesOfDomain(ctx, w, domain, add); err != nil {
			return found, err
		}
	}
	named, cut, err := p.Read.FindCompanyNames(ctx, w, q, limit)
	if err != nil {
		return found, err
	}
	if add(named...); cut {
		found.partly = "names of the newest"
	}
	return found, nil
}

func (p *panel) companiesOfDomain(ctx context.Context, w gateway.WorkspaceID, domain string, add func(...*gateway.CompanyView)) error {
	named, err := p.Read.CompaniesByDomain(ctx, w, []string{domain})
	if err != nil {
		return err
	}
	for _, one := range named {
		co, err := p.Read.Company(ctx, w, one.CompanyID)
		if gateway.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		add(co)
	}
	return nil
}

func companyPick(v *gateway.CompanyView) pick {
	notes := []string{count(v.EmployeesCount, "employee", "employees")}
	if v.CustomID != "" && v.CustomID != v.Name {
		notes = append([]string{brief(v.CustomID)}, notes...)
	}
	return pick{Value: strconv.FormatInt(int64(v.ID), 10), Label: companyTitle(v), Note: strings.Join(notes, " · "), Icon: "company"}
}

// findContactOptions answers a picker of contacts; "but" is one to leave out.
func (p *panel) findContactOptions(c *call) error {
	found, err := p.contactPicks(c, searched(c.QueryParam("q")), maxFound+1)
	if err != nil {
		return err
	}
	all := options{Query: searched(c.QueryParam("q"))}
	g := optionGroup{Label: found.label("Contacts")}
	for _, v := range found.rows {
		if one := contactPick(v); one.Value != c.QueryParam("but") {
			g.Options = append(g.Options, one)
		}
	}
	if len(g.Options) > 0 {
		all.Groups = []optionGroup{g}
	}
	return c.fragment(http.StatusOK, "search", "found", all)
}

// findCompanyOptions answers a picker of companies, which may offer to create one unless
// "only" is there.
func (p *panel) findCompanyOptions(c *call) error {
	q := searched(c.QueryParam("q"))
	found, err := p.companyPicks(c, q, maxFound)
	if err != nil {
		return err
	}
	all := options{Query: q}
	g := optionGroup{}
	if found.partly != "" {
		g.Label = found.label("Companies")
	}
	same := false
	for _, v := range found.rows {
		g.Options = append(g.Options, companyPick(v))
		same = same || strings.EqualFold(strings.TrimSpace(v.Name), q)
	}
	if len(g.Options) > 0 {
		all.Groups = []optionGroup{g}
	}
	if q != "" && !same && c.can(gateway.RoleEditor) && !c.QueryParams().Has("only") {
		all.Create = "Create “" + q + "”"
	}
	return c.fragment(http.StatusOK, "search", "found", all)
}
