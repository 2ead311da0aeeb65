package main

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// This file measures how fast the panel answers, one page at a time.
//
// Decisions
//
//   - Pages are asked for as a browser does that is signed in: with the session's cookie,
//     by addresses that people see, parts of pages with the header of htmx. Files that a
//     browser keeps (styles, scripts) are not.
//   - Whom to ask for is drawn by chance over REST, as rest does it.
//   - Typing is a request for each beginning of a text, as if nobody ever typed fast.
//   - Places deep inside lists are found by following the link to the next page.
//   - Nothing is written. What an agent has to be an owner for is asked for, too.
//   - A preview of auto-assign reads all contacts, and is no page that anybody waits for
//     while browsing: its page is measured, it isn't.

// panelCmd is the command panel.
type panelCmd struct {
	serverFlags
	drawFlags
	Email    string        `env:"CIVGATE_ADMIN_EMAIL" placeholder:"E-MAIL" help:"The agent, an owner, who signs in."`
	Password string        `env:"CIVGATE_ADMIN_PASSWORD" placeholder:"PASSWORD" help:"Their password."`
	P95      time.Duration `name:"p95" help:"Fail if 95 of 100 answers of a page take longer than this."`
}

// errTooSlow says that the table, which is printed already, has pages beyond the bound.
var errTooSlow = errors.New("too slow")

// panelCase is a page that is measured. path is that of the i-th time, below the panel's;
// part says that a script asks for it and not the browser; check says what is wrong
// with an answer, which it gets as the text that a browser shows.
type panelCase struct {
	name  string
	path  func(i int) string
	part  bool
	check func(i int, page string) error
}

// panelRun is what one run of the command works with.
type panelRun struct {
	*restRun
	page, part http.Header

	tag, list string // the newest tag, and the id of the newest list; "" if there is none
	// Addresses deep inside lists, with what is before the "?" as their list has it.
	employees, timeline, inspector, audit []string
	// payload is the address of the newest payload in the inspector, "" if there is none.
	payload string
}

// Run draws, signs in, measures and prints the table.
func (c *panelCmd) Run(ctx context.Context, s streams) error {
	if c.Email == "" || c.Password == "" {
		return errors.New("panel needs -email and -password")
	}
	drawn, err := c.draw(ctx, s, "panel", c.serverFlags)
	if err != nil {
		return err
	}
	r := &panelRun{restRun: drawn}
	defer r.target.close()
	if err := r.signIn(ctx, c.Email, c.Password); err != nil {
		return fmt.Errorf("sign in as %s: %w", c.Email, err)
	}
	if err := r.find(ctx, c.Depth); err != nil {
		return fmt.Errorf("find pages: %w", err)
	}
	out := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "page\tp50\tp95\tp99\tmax")
	var slow []string
	for _, pc := range r.cases() {
		if !strings.Contains(pc.name, c.Only) {
			continue
		}
		h, err := r.measure(ctx, pc, c.Samples)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", pc.name, err), out.Flush())
		}
		p95 := h.quantile(0.95)
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", pc.name, millis(h.quantile(0.5)), millis(p95), millis(h.quantile(0.99)), millis(h.max))
		if c.P95 > 0 && p95 > c.P95 {
			slow = append(slow, pc.name)
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if len(slow) > 0 {
		return fmt.Errorf("%w: p95 over %v: %s", errTooSlow, c.P95, strings.Join(slow, "; "))
	}
	return nil
}

// signIn begins a session, whose cookie every later request sends.
func (r *panelRun) signIn(ctx context.Context, email, password string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	u := r.target.url(0, "/panel/sign-in")
	form := url.Values{"email": {email}, "password": {password}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := r.target.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20)); err != nil {
		return err
	}
	if res.StatusCode != http.StatusSeeOther || len(res.Cookies()) == 0 {
		return fmt.Errorf("status %d: is it the e-mail and the password of an agent?", res.StatusCode)
	}
	r.page = http.Header{"Accept": {"text/html"}}
	for _, one := range res.Cookies() {
		r.page.Add("Cookie", one.Name+"="+one.Value)
	}
	r.part = r.page.Clone()
	r.part.Set("HX-Request", "true")
	return nil
}

// get asks for a page; path is below the panel's and may have a query.
func (r *panelRun) get(ctx context.Context, path string, header http.Header) (string, time.Duration, error) {
	path, query, _ := strings.Cut(path, "?")
	u := r.target.url(0, "/panel"+path)
	u.RawQuery = query
	page, took, err := r.target.exchange(ctx, http.MethodGet, u, header, nil)
	return html.UnescapeString(string(page)), took, err
}

var (
	morePattern    = regexp.MustCompile(`<p class="more"><a class="button" href="/panel([^"]*)"`)
	payloadPattern = regexp.MustCompile(`href="/panel(/inspector/[0-9]+)"`)
)

// find finds the newest tag, list and payload, and places deep inside lists.
func (r *panelRun) find(ctx context.Context, depth int) error {
	for _, one := range []struct {
		list string
		to   *string
		name bool
	}{{"/tags/", &r.tag, true}, {"/lists/", &r.list, false}} {
		p, err := r.restRun.page(ctx, one.list+"?limit=1")
		switch {
		case err != nil:
			return err
		case len(p.Results) == 0:
		case one.name:
			*one.to = p.Results[0].Name
		default:
			*one.to = strconv.FormatInt(p.Results[0].ID, 10)
		}
	}
	large := "/companies/" + strconv.FormatInt(r.large.ID, 10)
	const rows = 50 // of a page, about: it is no matter where exactly a place is
	for _, one := range []struct {
		first string
		pages int
		to    *[]string
	}{
		{large + "?tab=employees", depth / rows, &r.employees},
		{large + "?tab=timeline", 50, &r.timeline},
		{"/inspector", 20, &r.inspector},
		{"/settings/audit", 20, &r.audit},
	} {
		next := one.first
		for range one.pages {
			page, _, err := r.get(ctx, next, r.page)
			if err != nil {
				return fmt.Errorf("%s: %w", next, err)
			}
			if one.first == "/inspector" && r.payload == "" {
				if found := payloadPattern.FindStringSubmatch(page); found != nil {
					r.payload = found[1]
				}
			}
			found := morePattern.FindStringSubmatch(page)
			if found == nil {
				break
			}
			next = found[1]
			const places = 100
			if *one.to = append(*one.to, next); len(*one.to) > places {
				*one.to = (*one.to)[1:]
			}
		}
	}
	if len(r.employees) == 0 {
		return fmt.Errorf("company %s has one page of employees only", r.large.CustomID)
	}
	return nil
}

// typed are the beginnings of texts, from the first letter on, in an order drawn by
// chance; a text has up to 16 of them.
func (r *panelRun) typed(texts ...string) (all []string) {
	for _, text := range texts {
		n := 0
		for i := range text {
			if i == 0 {
				continue
			}
			if n++; n > 15 {
				break
			}
			all = append(all, text[:i])
		}
		all = append(all, text)
	}
	r.rnd.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
	return all
}

// cases are all pages that are measured. Those of what the workspace doesn't have are
// left out.
func (r *panelRun) cases() (all []panelCase) {
	contact := func(i int) *restSample { return &r.contacts[i%len(r.contacts)] }
	company := func(i int) *restSample { return &r.companies[i%len(r.companies)] }
	id := func(of func(int) *restSample, i int) string { return strconv.FormatInt(of(i).ID, 10) }
	large := strconv.FormatInt(r.large.ID, 10)
	fixed := func(path string) func(int) string { return func(int) string { return path } }
	among := func(paths []string) func(int) string { return func(i int) string { return paths[i%len(paths)] } }
	page := func(name string, path func(int) string, check func(int, string) error) {
		all = append(all, panelCase{name: name, path: path, check: check})
	}
	part := func(name string, path func(int) string, check func(int, string) error) {
		all = append(all, panelCase{name: name, path: path, part: true, check: check})
	}
	// filter is the list of contacts with filters: field, operator and value of each.
	filter := func(terms ...string) string {
		q := url.Values{"tab": {"all"}}
		for ; len(terms) > 0; terms = terms[3:] {
			q.Add("f", strings.Join(terms[:3], ":"))
		}
		return "/contacts?" + q.Encode()
	}
	const nobody = "zqxzq"
	where := func(terms ...string) func(int) string { return fixed(filter(terms...)) }
	second := func(i, after int) string {
		at, err := time.Parse(time.RFC3339Nano, contact(i).LastSeen)
		if err != nil {
			at = time.Unix(0, 0)
		}
		return at.Add(time.Duration(after) * time.Second).UTC().Format(time.RFC3339)
	}
	custom := "score" // what civload's own contacts have, and all others may
	value := func(int) string { return "50" }
	if r.contacts[0].Plan != "" {
		custom, value = "plan", func(i int) string { return contact(i).Plan }
	}
	texts := func(of func(s *restSample) string) (texts []string) {
		for i := range r.contacts {
			if text := of(&r.contacts[i]); text != "" {
				texts = append(texts, text)
			}
		}
		return texts
	}
	var companyNames []string
	for i := range r.companies {
		companyNames = append(companyNames, r.companies[i].Name)
	}
	address := func(s *restSample) string { return s.Email }
	domain := func(s *restSample) string { _, domain, _ := strings.Cut(s.Email, "@"); return domain }

	page("contacts", fixed("/contacts"), isWhole)
	page("contacts, deep page", func(i int) string { return "/contacts?before=" + id(contact, i) }, isWhole)
	page("contacts, all", fixed("/contacts?tab=all"), isWhole)
	page("contacts, all, deep page", func(i int) string { return "/contacts?tab=all&before=" + id(contact, i) }, isWhole)
	page("visitors", fixed("/contacts?tab=visitors"), isWhole)
	page("visitors, deep page", func(i int) string { return "/contacts?tab=visitors&before=" + id(contact, i) }, isWhole)

	page("filter: e-mail is", func(i int) string { return filter("email", "is", contact(i).Email) }, shows(contact, address))
	page("filter: custom id is", func(i int) string { return filter("custom_id", "is", contact(i).CustomID) }, shows(contact, address))
	if len(texts(func(s *restSample) string { return s.Phone })) == len(r.contacts) {
		page("filter: phone is", func(i int) string { return filter("phone_number", "is", contact(i).Phone) }, isWhole)
	}
	page("filter: attribute is", func(i int) string { return filter(custom, "is", value(i)) }, isWhole)
	page("filter: attribute is, nobody", where(custom, "is", map[bool]string{true: nobody, false: "-7"}[custom == "plan"]), isWhole)
	page("filter: score above 98", where("score", "gt", "98"), isWhole)
	page("filter: score, attribute and name, few", func(i int) string { return filter("score", "is", "99", custom, "is", value(i), "name", "starts", "Ma") }, isWhole)
	page("filter: name has", func(i int) string { return filter("name", "has", lastWord(contact(i).Name)) }, isWhole)
	page("filter: name has, nobody", where("name", "has", nobody), isWhole)
	page("filter: e-mail ends, nobody", where("email", "ends", nobody), isWhole)
	page("filter: phone ends, few", where("phone_number", "ends", "99999"), isWhole)
	page("filter: gender", where("gender", "is", "male"), isWhole)
	page("filter: list attribute has, nobody", where("tags", "has", nobody), isWhole)
	page("filter: page views above 5, few", where("page_views", "gt", "5"), isWhole)
	page("filter: last seen within a second", func(i int) string {
		return filter("last_seen", "gte", second(i, 0), "last_seen", "lt", second(i, 1))
	}, isWhole)
	page("filter: last seen within a minute", func(i int) string {
		return filter("last_seen", "gte", second(i, 0), "last_seen", "lt", second(i, 60))
	}, isWhole)
	page("filter: last seen at any time", where("last_seen", "gt", "2020-01-01"), isWhole)
	page("filter: last seen long ago", where("last_seen", "lt", "2020-01-01"), isWhole)
	page("filter: last seen, attribute, nobody", where("last_seen", "gt", "2020-01-01", "name", "has", nobody), isWhole)
	page("filter: first seen within a minute", func(i int) string {
		return filter("first_seen", "gte", second(i, -30), "first_seen", "lt", second(i, 30))
	}, isWhole)
	page("filter: created within a minute", func(i int) string {
		return filter("created_at", "gte", second(i, -30), "created_at", "lt", second(i, 30))
	}, isWhole)
	page("filter: changed long ago", where("updated_at", "lt", "2020-01-01"), isWhole)
	for _, one := range [][2]string{{"tags", r.tag}, {"list", r.list}} {
		if one[1] == "" {
			continue
		}
		what := strings.TrimSuffix(one[0], "s")
		page("filter: "+what, where(one[0], "is", one[1]), isWhole)
		page("filter: "+what+", deep page", func(i int) string { return filter(one[0], "is", one[1]) + "&before=" + id(contact, i) }, isWhole)
		page("filter: "+what+" and attribute", func(i int) string { return filter(one[0], "is", one[1], custom, "is", value(i)) }, isWhole)
		page("filter: "+what+" and name, nobody", where(one[0], "is", one[1], "name", "has", nobody), isWhole)
	}
	if r.tag != "" && r.list != "" {
		page("filter: tag, list and attribute", func(i int) string { return filter("tags", "is", r.tag, "list", "is", r.list, custom, "is", value(i)) }, isWhole)
	}
	page("filter: company", func(i int) string { return "/contacts?tab=all&company=" + id(company, i) }, isWhole)
	page("filter: the large company", fixed("/contacts?company="+large), isWhole)
	page("filter: the large company, attribute", func(i int) string { return filter(custom, "is", value(i)) + "&company=" + large }, isWhole)
	page("filter: the large company, few", fixed(filter("score", "is", "99", "name", "starts", "Mar")+"&company="+large), isWhole)
	page("filter: the large company, nobody", fixed(filter("name", "has", nobody)+"&company="+large), isWhole)

	for _, order := range []string{"id", "email", "-email", "custom_id", "phone_number", "-last_seen"} {
		page("sorted: "+order, fixed("/contacts?tab=all&sort="+order), isWhole)
	}
	for _, order := range []string{"email", "-email"} {
		page("sorted: "+order+", deep page", func(i int) string {
			return "/contacts?sort=" + order + "&before=" + url.QueryEscape("0:"+strings.ToLower(contact(i).Email))
		}, isWhole)
	}
	page("sorted: -last_seen, visitors", fixed("/contacts?tab=visitors&sort=-last_seen"), isWhole)
	page("sorted: name, too many", fixed("/contacts?sort=name"), isWhole)
	page("sorted: -score, attribute, too many", func(i int) string { return filter(custom, "is", value(i)) + "&sort=-score" }, isWhole)
	page("sorted: email, attribute", func(i int) string { return filter(custom, "is", value(i)) + "&sort=email" }, isWhole)
	page("sorted: email, name, nobody", fixed(filter("name", "has", nobody)+"&sort=email"), isWhole)
	page("sorted: -page_views, few", func(i int) string {
		return filter("last_seen", "gte", second(i, 0), "last_seen", "lt", second(i, 1)) + "&sort=-page_views"
	}, isWhole)
	page("sorted: company, name, nobody", fixed(filter("name", "has", nobody)+"&sort=company"), isWhole)
	if r.tag != "" {
		page("sorted: name, tag", fixed(filter("tags", "is", r.tag)+"&sort=name"), isWhole)
	}
	page("sorted: name, the large company", fixed("/contacts?sort=name&company="+large), isWhole)
	page("sorted: name, the large company, few", fixed(filter("score", "is", "99", "name", "starts", "Mar")+"&sort=name&company="+large), isWhole)

	search := func(name, path string, texts []string, of func(s *restSample) string) {
		keys := r.typed(texts...)
		part(name, func(i int) string { return path + url.QueryEscape(keys[i%len(keys)]) }, func(i int, page string) error {
			if err := isFound(i, page); err != nil || of == nil || !isEnd(texts, keys[i%len(keys)]) {
				return err
			}
			return showsText(page, keys[i%len(keys)])
		})
	}
	nobodys := texts(func(s *restSample) string { return beginning(s.Name, 3) + nobody + beginning(s.CustomID, 4) })
	search("search: names", "/search?q=", texts(func(s *restSample) string { return s.Name }), nil)
	search("search: last names", "/search?q=", texts(func(s *restSample) string { return strings.ToLower(lastWord(s.Name)) }), nil)
	search("search: e-mails", "/search?q=", texts(address), address)
	if phones := texts(func(s *restSample) string { return s.Phone }); len(phones) > 0 {
		search("search: phones", "/search?q=", phones, nil)
	}
	search("search: custom ids", "/search?q=", texts(func(s *restSample) string { return s.CustomID }), nil)
	search("search: domains", "/search?q=", texts(domain), nil)
	search("search: company names", "/search?q=", companyNames, nil)
	search("search: what nobody has", "/search?q=", nobodys, nil)
	page("search, as a page", func(i int) string { return "/search?q=" + url.QueryEscape(contact(i).Email) }, shows(contact, address))
	search("pick a contact", "/contacts/find?q=", texts(func(s *restSample) string { return s.Name }), nil)
	search("pick a company", "/contacts/companies?q=", companyNames, nil)
	search("pick an employee", "/companies/"+large+"/people?q=", append(texts(func(s *restSample) string { return s.Name }), texts(address)...), nil)
	search("pick an employee whom nobody is", "/companies/"+large+"/people?q=", nobodys, nil)

	profile := func(query string) func(int) string {
		return func(i int) string { return "/contacts/" + id(contact, i) + query }
	}
	page("contact", profile(""), shows(contact, address))
	page("contact, page views", profile("?show=pages"), shows(contact, address))
	page("contact, events", profile("?show=events"), shows(contact, address))
	part("contact, edit a value", profile("/value?name=email"), isPart("<form"))
	other := func(i int) *restSample { // than that of i, if more than one was drawn
		for k := range r.contacts {
			if one := contact(i + k); one.ID != contact(i).ID {
				return one
			}
		}
		return contact(i)
	}
	if other(0).ID != contact(0).ID {
		page("merge preview", func(i int) string { return "/contacts/" + id(contact, i) + "/merge?with=" + id(other, i) }, func(i int, page string) error {
			return errors.Join(shows(contact, address)(i, page), shows(other, address)(i, page))
		})
	}

	page("companies", fixed("/companies"), isWhole)
	page("companies, deep page", func(i int) string { return "/companies?before=" + id(company, i) }, isWhole)
	keys := r.typed(companyNames...)
	page("company search", func(i int) string { return "/companies?q=" + url.QueryEscape(keys[i%len(keys)]) }, isWhole)
	page("company search, a company id", func(i int) string { return "/companies?q=" + url.QueryEscape(company(i).CustomID) }, isWhole)
	page("company search, nobody's", fixed("/companies?q="+nobody), isWhole)
	page("companies, attribute", fixed("/companies?f=country:is:PL"), isWhole)
	page("companies, attributes, few", fixed("/companies?f=country:is:PL&f=name:has:Freight+77"), isWhole)
	page("companies, attribute, nobody", fixed("/companies?f=country:is:"+nobody), isWhole)
	for _, order := range []string{"id", "name", "-name", "-employees"} {
		page("companies, sorted: "+order, fixed("/companies?sort="+order), isWhole)
	}
	page("companies, sorted: name, deep page", func(i int) string {
		return "/companies?sort=name&before=" + url.QueryEscape("0:"+strings.ToLower(company(i).Name))
	}, isWhole)
	page("companies, sorted: name, nobody", fixed("/companies?sort=name&f=country:is:"+nobody), isWhole)
	page("companies, sorted: -employees, attributes, few", fixed("/companies?sort=-employees&f=country:is:PL&f=name:has:Freight+77"), isWhole)
	of := func(query string) func(int) string {
		return func(i int) string { return "/companies/" + id(company, i) + query }
	}
	name := func(s *restSample) string { return s.Name }
	page("company", of(""), shows(company, name))
	page("company, employees", of("?tab=employees"), shows(company, name))
	page("company, attributes", of("?tab=attributes"), shows(company, name))
	huge := func(int) *restSample { return &r.large }
	page("the large company", fixed("/companies/"+large), shows(huge, name))
	if len(r.timeline) > 0 {
		page("the large company, older", among(r.timeline), shows(huge, name))
	}
	page("the large company, employees", fixed("/companies/"+large+"?tab=employees"), shows(huge, name))
	page("the large company, employees, deep page", among(r.employees), shows(huge, name))
	page("the large company, attributes", fixed("/companies/"+large+"?tab=attributes"), shows(huge, name))

	page("inspector", fixed("/inspector"), isWhole)
	if len(r.inspector) > 0 {
		page("inspector, deep page", among(r.inspector), isWhole)
	}
	page("inspector, refused", fixed("/inspector?verdict=refused"), isWhole)
	page("inspector, merged", fixed("/inspector?verdict=merged"), isWhole)
	page("inspector, one contact", func(i int) string { return "/inspector?who=" + url.QueryEscape(contact(i).Email) }, isWhole)
	if r.payload != "" {
		part("inspector, a payload", fixed(r.payload), isPart("<"))
	}
	page("audit log", fixed("/settings/audit"), isWhole)
	if len(r.audit) > 0 {
		page("audit log, deep page", among(r.audit), isWhole)
	}
	page("audit log, by nobody", fixed("/settings/audit?by="+nobody), isWhole)
	page("audit log, one action", fixed("/settings/audit?action=contact.merge"), isWhole)
	part("first steps", fixed("/first-run"), isPart("<"))
	for _, one := range []string{"companies", "agents", "attributes", "tags", "keys", "script", "privacy", "account"} {
		page("settings: "+one, fixed("/settings/"+one), isWhole)
	}
	return all
}

func lastWord(s string) string { return s[strings.LastIndexByte(s, ' ')+1:] }

// beginning is the first n characters of a text.
func beginning(s string, n int) string {
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

func isEnd(texts []string, key string) bool {
	for _, text := range texts {
		if text == key {
			return true
		}
	}
	return false
}

// signOut is in the frame of a page for somebody who is signed in.
const signOut = `action="/panel/sign-out"`

// isWhole wants a page with its frame, of somebody who is signed in, to its end.
func isWhole(_ int, page string) error {
	if !strings.Contains(page, signOut) || !strings.HasSuffix(strings.TrimSpace(page), "</html>") {
		return fmt.Errorf("no whole page: %.200q", page)
	}
	return nil
}

// isPart wants a part of a page with a text.
func isPart(text string) func(int, string) error {
	return func(_ int, page string) error {
		if strings.Contains(page, "</html>") || strings.Contains(page, signOut) {
			return fmt.Errorf("no part of a page: %.200q", page)
		}
		return showsText(page, text)
	}
}

// isFound wants what a search found, if only that it is nothing.
func isFound(i int, page string) error { return isPart(`class="option`)(i, page) }

func showsText(page, text string) error {
	if !strings.Contains(page, text) {
		return fmt.Errorf("%q is not in %.200q", text, page)
	}
	return nil
}

// shows wants a whole page with a text of what was drawn.
func shows(of func(i int) *restSample, text func(s *restSample) string) func(int, string) error {
	return func(i int, page string) error {
		if err := isWhole(i, page); err != nil {
			return err
		}
		return showsText(page, text(of(i)))
	}
}

// measure asks for the pages of a case.
func (r *panelRun) measure(ctx context.Context, pc panelCase, n int) (*histogram, error) {
	header := r.page
	if pc.part {
		header = r.part
	}
	return measured(n, func(i int) (time.Duration, error) {
		page, took, err := r.get(ctx, pc.path(i), header)
		if err == nil {
			err = pc.check(i, page)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", pc.path(i), err)
		}
		return took, err
	})
}
