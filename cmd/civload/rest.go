package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// This file measures how fast the REST API answers, one request at a time.
//
// Decisions
//
//   - Whom to ask for is drawn by chance from what is stored, before anything is timed: of
//     ids between 1 and the newest, the next lower one that exists.
//   - The time of a request is from sending it until its answer is read to the end; what
//     the answer says is checked afterwards. An answer that is wrong ends the run.
//   - Places deep inside a list are cursors as the server writes them: of the list itself those
//     behind the drawn ids, of the members of a company those that following next leads to.

// drawFlags say what single requests are about, and how many there are.
type drawFlags struct {
	APIKey    string `name:"api-key" env:"CIVGATE_API_KEY" placeholder:"KEY" help:"The workspace's public key, for -employees."`
	Samples   int    `short:"n" default:"1000" help:"How often each request is made."`
	Employees int64  `help:"First make a company with so many employees, over the endpoint of the widget."`
	Large     string `placeholder:"ID" help:"The large company's own id, if it was made before."`
	Depth     int    `default:"100000" help:"How many members are before the page deep inside the large company's."`
	Only      string `placeholder:"TEXT" help:"Measure only requests that have this in their name."`
	Seed      uint64 `default:"1" help:"What is drawn by chance follows from it."`
}

// restCmd is the command rest.
type restCmd struct {
	serverFlags
	drawFlags
}

// restSample is a contact or company that was drawn.
type restSample struct {
	ID        int64  `json:"id"`
	CustomID  string `json:"custom_id"`
	Email     string `json:"email"`
	Name      string `json:"name"`
	Phone     string `json:"phone_number"`
	Plan      string `json:"plan"`
	LastSeen  string `json:"last_seen"`
	Employees int64  `json:"employees_count"`
	cursor    string // a place behind it in the list of all
}

// restCase is a request that is measured. path, and body if it writes, are those of the i-th
// time; check says what is wrong with an answer.
type restCase struct {
	name  string
	path  func(i int) string
	body  func(i int) string
	check func(i int, answer []byte) error
}

// restRun is what one run of the command works with.
type restRun struct {
	target *target
	header http.Header
	rnd    *rand.Rand

	contacts, companies []restSample
	large               restSample
	deep                []string // cursors deep inside its members
}

// Run draws, measures and prints the table.
func (c *restCmd) Run(ctx context.Context, s streams) error {
	r, err := c.draw(ctx, s, "rest", c.serverFlags)
	if err != nil {
		return err
	}
	defer r.target.close()
	if err := r.drawDeep(ctx, c.Depth); err != nil {
		return fmt.Errorf("draw from what is stored: %w", err)
	}
	out := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "request\tp50\tp99\tmax")
	for _, rc := range r.cases() {
		if !strings.Contains(rc.name, c.Only) {
			continue
		}
		h, err := r.measure(ctx, rc, c.Samples)
		if err != nil {
			return fmt.Errorf("%s: %w", rc.name, err)
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", rc.name, millis(h.quantile(0.5)), millis(h.quantile(0.99)), millis(h.max))
	}
	return out.Flush()
}

// draw chooses what the requests of a command are about, after it has made the large
// company if that was asked for. The run's target is the caller's to close.
func (c *drawFlags) draw(ctx context.Context, s streams, command string, server serverFlags) (r *restRun, err error) {
	switch {
	case server.RESTToken == "":
		return nil, errors.New(command + " needs -rest-token")
	case c.Samples < 1:
		return nil, errors.New("-n: want 1 or more")
	case c.Employees > 0 && c.APIKey == "":
		return nil, errors.New("-employees needs -api-key")
	case (c.Employees > 0) == (c.Large != ""):
		return nil, errors.New("one of -employees and -large is needed")
	}
	t, err := newTarget(server.URL, 1)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	r = &restRun{target: t, header: restHeader(server.RESTToken), rnd: rand.New(rand.NewPCG(c.Seed, 0))}
	large := c.Large
	if c.Employees > 0 {
		if large, err = fillLarge(ctx, t, c.APIKey, c.Employees); err != nil {
			return nil, fmt.Errorf("make the large company: %w", err)
		}
	}
	if err := r.draw(ctx, c.Samples, large); err != nil {
		return nil, fmt.Errorf("draw from what is stored: %w", err)
	}
	fmt.Fprintf(s.err, "the large company is %s (id %d), %s employees\n", large, r.large.ID, thousands(r.large.Employees))
	return r, nil
}

func restHeader(token string) http.Header {
	return http.Header{"Authorization": {"Token " + token}, "Accept": {"*/*; version=2"}}
}

// fillLarge makes a company with n new employees and returns its own id.
func fillLarge(ctx context.Context, t *target, apiKey string, n int64) (string, error) {
	tr, err := newTraffic(newPrefix(), rand.Uint64(), maxEmployees, apiKey)
	if err != nil {
		return "", err
	}
	m := newMinter()
	u := t.url(0, "/ingest")
	for sent := int64(0); sent < n; {
		body := []byte{'['}
		for i := 0; i < 50 && sent < n; i++ {
			if i > 0 {
				body = append(body, ',')
			}
			body = tr.appendPayload(body, visit{person: sent, userID: true, email: true, company: 0, key: sent}, &m, time.Now())
			sent++
		}
		answer, _, err := t.exchange(ctx, http.MethodPost, u, http.Header{"Content-Type": {"text/plain"}}, append(body, ']'))
		if err != nil {
			return "", err
		}
		if bytes.Contains(answer, []byte(`"error"`)) {
			return "", fmt.Errorf("refused: %.200s", answer)
		}
	}
	return string(tr.appendCompanyID(nil, 0)), t.drained(ctx, 5*time.Minute)
}

// exchange makes a request and returns the body of its answer, a statusError unless its
// status is a 2xx, and how long that took.
func (t *target) exchange(ctx context.Context, method string, u *url.URL, header http.Header, body []byte) ([]byte, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req := (&http.Request{Method: method, URL: u, Header: header, Host: u.Host, ContentLength: int64(len(body)), Body: http.NoBody}).WithContext(ctx)
	if len(body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(body))
	}
	began := time.Now()
	res, err := t.transport.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<20))
	took := time.Since(began)
	if err == nil && res.StatusCode/100 != 2 {
		err = &statusError{status: res.StatusCode, text: fmt.Sprintf("%.512s", answer), retryAfter: retryAfter(res.Header, time.Now())}
	}
	return answer, took, err
}

// ask makes a request below the API's base; path may have a query.
func (r *restRun) ask(ctx context.Context, path, body string) ([]byte, time.Duration, error) {
	path, query, _ := strings.Cut(path, "?")
	u := r.target.url(0, "/api/public"+path)
	u.RawQuery = query
	method, header := http.MethodGet, r.header
	if body != "" {
		method, header = http.MethodPost, r.header.Clone()
		header.Set("Content-Type", "application/json")
	}
	return r.target.exchange(ctx, method, u, header, []byte(body))
}

// restPage is a page of a list.
type restPage struct {
	Count   int64
	Next    *string
	Results []restSample
}

func (r *restRun) page(ctx context.Context, path string) (p restPage, err error) {
	answer, _, err := r.ask(ctx, path, "")
	if err != nil {
		return p, fmt.Errorf("%s: %w", path, err)
	}
	if err := json.Unmarshal(answer, &p); err != nil {
		return p, fmt.Errorf("answer of %s: %w", path, err)
	}
	return p, nil
}

// cursor is the one in the link to the next page, "" if there is none.
func (p *restPage) cursor() (string, error) {
	if p.Next == nil {
		return "", nil
	}
	u, err := url.Parse(*p.Next)
	if err != nil {
		return "", fmt.Errorf("link to the next page: %w", err)
	}
	return u.Query().Get("cursor"), nil
}

// draw chooses n contacts and n companies, and finds the large one.
func (r *restRun) draw(ctx context.Context, n int, large string) (err error) {
	if r.contacts, err = r.drawFrom(ctx, "/users/", n, true); err != nil {
		return err
	}
	if r.companies, err = r.drawFrom(ctx, "/companies/", n, false); err != nil {
		return err
	}
	answer, _, err := r.ask(ctx, "/companies-by-id/"+url.PathEscape(large)+"/", "")
	if err != nil {
		return fmt.Errorf("company %s: %w", large, err)
	}
	if err := json.Unmarshal(answer, &r.large); err != nil {
		return fmt.Errorf("company %s: %w", large, err)
	}
	return nil
}

// drawDeep finds places deep inside the members of the large company.
func (r *restRun) drawDeep(ctx context.Context, depth int) error {
	members := fmt.Sprintf("/companies/%d/members/", r.large.ID)
	const places = 100
	for at, seen := "", 0; ; {
		p, err := r.page(ctx, members+at)
		if err != nil {
			return err
		}
		seen += len(p.Results)
		next, err := p.cursor()
		if err != nil {
			return err
		}
		if next == "" {
			break
		}
		if r.deep = append(r.deep, next); len(r.deep) > places {
			r.deep = r.deep[1:]
		}
		if at = "?cursor=" + next; seen >= depth {
			break
		}
	}
	if len(r.deep) == 0 {
		return fmt.Errorf("company %s has one page of members only", r.large.CustomID)
	}
	return nil
}

// drawFrom chooses n entries of a list, those that others can be told by if known is set.
func (r *restRun) drawFrom(ctx context.Context, list string, n int, known bool) (all []restSample, err error) {
	newest, err := r.page(ctx, list+"?limit=1")
	if err != nil {
		return nil, err
	}
	if len(newest.Results) == 0 {
		return nil, fmt.Errorf("%s is empty", list)
	}
	for tries := 0; len(all) < n; tries++ {
		if tries == 100+10*n {
			return nil, fmt.Errorf("%s: %d of %d entries drawn can be asked for", list, len(all), tries)
		}
		p, err := r.page(ctx, fmt.Sprintf("%s?limit=1&id__lt=%d", list, 2+r.rnd.Int64N(newest.Results[0].ID)))
		if err != nil {
			return nil, err
		}
		if len(p.Results) == 0 || known && (p.Results[0].CustomID == "" || p.Results[0].Email == "") {
			continue
		}
		x := p.Results[0]
		if x.cursor, err = p.cursor(); err != nil {
			return nil, err
		}
		if x.cursor != "" { // not the very last
			all = append(all, x)
		}
	}
	return all, nil
}

// cases are all requests that are measured.
func (r *restRun) cases() []restCase {
	contact := func(i int) *restSample { return &r.contacts[i%len(r.contacts)] }
	company := func(i int) *restSample { return &r.companies[i%len(r.companies)] }
	fixed := func(path string) func(int) string { return func(int) string { return path } }
	large := strconv.FormatInt(r.large.ID, 10)
	member := func(i int) string { return fmt.Sprintf(`{"user_id":%d}`, contact(i).ID) }
	isLarge := func(_ int, answer []byte) error {
		var v struct {
			ID        int64
			Employees []int64
		}
		if err := json.Unmarshal(answer, &v); err != nil {
			return err
		}
		if want := int(min(r.large.Employees, maxEmployees)); v.ID != r.large.ID || len(v.Employees) < want {
			return fmt.Errorf("company %d with %d employees, want %d with %d", v.ID, len(v.Employees), r.large.ID, want)
		}
		return nil
	}
	second := func(text string) int64 {
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return 0
		}
		return at.Unix()
	}
	return []restCase{
		{name: "contact by id", path: func(i int) string { return fmt.Sprintf("/users/%d/", contact(i).ID) }, check: isSample(contact)},
		{name: "contact by custom id", path: func(i int) string { return "/users-by-id/" + url.PathEscape(contact(i).CustomID) + "/" }, check: isSample(contact)},
		{name: "search by e-mail", path: func(i int) string { return "/users/search/?email=" + url.QueryEscape(contact(i).Email) }, check: isSample(contact)},
		{name: "contacts, first page", path: fixed("/users/"), check: isPage(100, nil)},
		{name: "contacts, deep page", path: func(i int) string { return "/users/?cursor=" + contact(i).cursor }, check: isPage(1, contact)},
		{name: "last seen within a second", path: func(i int) string {
			at := second(contact(i).LastSeen)
			return fmt.Sprintf("/users/search/?search=last_seen&min=%d&max=%d", at, at)
		}, check: isPage(1, nil)},
		{name: "last seen at any time", path: fixed("/users/search/?search=last_seen&min=1"), check: isPage(100, nil)},
		{name: "timeline of a contact", path: func(i int) string { return fmt.Sprintf("/users/%d/timeline/", contact(i).ID) }, check: isTimeline},
		{name: "companies, first page", path: fixed("/companies/"), check: isPage(100, nil)},
		{name: "companies, deep page", path: func(i int) string { return "/companies/?cursor=" + company(i).cursor }, check: isPage(1, company)},
		{name: "company by id", path: func(i int) string { return fmt.Sprintf("/companies/%d/", company(i).ID) }, check: isSample(company)},
		{name: "the large company", path: fixed("/companies/" + large + "/"), check: isLarge},
		{name: "its members, first page", path: fixed("/companies/" + large + "/members/"), check: isPage(100, nil)},
		{name: "its members, deep page", path: func(i int) string { return "/companies/" + large + "/members/?cursor=" + r.deep[i%len(r.deep)] }, check: isPage(1, nil)},
		{name: "add_member", path: func(i int) string { return fmt.Sprintf("/companies/%d/add_member/", company(i).ID) }, body: member, check: isSample(company)},
		{name: "add_member to the large company", path: fixed("/companies/" + large + "/add_member/"), body: member, check: isLarge},
	}
}

// isSample wants the object that was drawn.
func isSample(of func(i int) *restSample) func(i int, answer []byte) error {
	return func(i int, answer []byte) error {
		var v restSample
		if err := json.Unmarshal(answer, &v); err != nil {
			return err
		}
		if want := of(i); v.ID != want.ID || v.CustomID != want.CustomID || v.Email != want.Email {
			return fmt.Errorf("got %d %s, want %d %s", v.ID, v.CustomID, want.ID, want.CustomID)
		}
		return nil
	}
}

// isPage wants a page with at least so many entries, each once, up to 100; behind the entry
// drawn, the highest id first, if of is given.
func isPage(atLeast int, of func(i int) *restSample) func(i int, answer []byte) error {
	return func(i int, answer []byte) error {
		var p restPage
		if err := json.Unmarshal(answer, &p); err != nil {
			return err
		}
		if n := len(p.Results); n < atLeast || n > 100 {
			return fmt.Errorf("a page of %d entries", n)
		}
		seen := make(map[int64]bool, len(p.Results))
		for k := range p.Results {
			id := p.Results[k].ID
			if id < 1 || of != nil && (id >= of(i).ID || k > 0 && id >= p.Results[k-1].ID) || seen[id] {
				return fmt.Errorf("entry %d of the page has the id %d", k, id)
			}
			seen[id] = true
		}
		return nil
	}
}

// isTimeline wants a page whose entries have a type; an imported contact may have none.
func isTimeline(_ int, answer []byte) error {
	var p struct{ Results []struct{ Type string } }
	if err := json.Unmarshal(answer, &p); err != nil {
		return err
	}
	for i := range p.Results {
		if p.Results[i].Type == "" {
			return fmt.Errorf("entry %d has no type", i)
		}
	}
	return nil
}

// measure makes the requests of a case.
func (r *restRun) measure(ctx context.Context, rc restCase, n int) (*histogram, error) {
	return measured(n, func(i int) (time.Duration, error) {
		path, body := rc.path(i), ""
		if rc.body != nil {
			body = rc.body(i)
		}
		answer, took, err := r.ask(ctx, path, body)
		if err == nil {
			err = rc.check(i, answer)
		}
		if err != nil {
			err = fmt.Errorf("%s %s: %w", path, body, err)
		}
		return took, err
	})
}

// collectEvery is after how many requests that is done: answers have up to some 100 KB.
const collectEvery = 16

// measured makes the n requests of a case one after the other, after a few that aren't
// counted. What it took to read the answers is collected between requests, as the server
// would share its processors with the collector.
func measured(n int, request func(i int) (time.Duration, error)) (*histogram, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	h := &histogram{}
	warm := min(n, 20)
	for k := range warm + n {
		// The first ones are drawn anew in the end: each is another one's first time.
		i := n + k
		if k >= warm {
			i = k - warm
		}
		if k%collectEvery == 0 {
			runtime.GC()
		}
		took, err := request(i)
		if err != nil {
			return nil, err
		}
		if k >= warm {
			h.record(took)
		}
	}
	return h, nil
}
