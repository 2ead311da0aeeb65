package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A fault is a kind of difference between what the server acknowledged and what it holds.
type fault string

const (
	missingContact    fault = "contact missing"
	duplicateContact  fault = "contact there twice"
	unexpectedContact fault = "contact of refused or unsent payloads"
	wrongViews        fault = "wrong number of page views"
	wrongUserID       fault = "wrong user_id"
	wrongEmail        fault = "wrong e-mail"
	wrongKey          fault = "wrong browser key"
	wrongAttribute    fault = "wrong attribute"
	wrongMembership   fault = "wrong companies of a contact"
	missingCompany    fault = "company missing"
	duplicateCompany  fault = "company there twice"
	unexpectedCompany fault = "company of refused or unsent payloads"
	wrongCompanyName  fault = "wrong name of a company"
	wrongEmployees    fault = "employees of a company differ from its contacts"
)

// A verdict is the outcome of a verification.
type verdict struct {
	Acked     int64 // payloads acknowledged
	Open      int64 // payloads whose fate is open
	Contacts  int64 // of this run, found
	Companies int64
	Unclear   int64 // stories whose payloads were accepted out of order
	Views     int64 // page views of these contacts
	Faults    map[fault]int64
	Examples  []string // the first discrepancies, in words
	Took      time.Duration
}

const maxExamples = 20

func (v *verdict) ok() bool { return len(v.Faults) == 0 }

func (v *verdict) fault(f fault, format string, args ...any) {
	if v.Faults == nil {
		v.Faults = map[fault]int64{}
	}
	v.Faults[f]++
	if len(v.Examples) < maxExamples {
		v.Examples = append(v.Examples, string(f)+": "+fmt.Sprintf(format, args...))
	}
}

// write prints the verdict for people.
func (v *verdict) write(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "read back %s contacts, %s companies and %s page views in %.1f s\n",
		thousands(v.Contacts), thousands(v.Companies), thousands(v.Views), v.Took.Seconds())
	if v.ok() {
		fmt.Fprintf(&b, "VERIFIED: each of the %s acknowledged payloads is stored exactly once", thousands(v.Acked))
		if v.Open > 0 {
			fmt.Fprintf(&b, " (%s more were never answered, so they may be there or not)", thousands(v.Open))
		}
		if v.Unclear > 0 {
			fmt.Fprintf(&b, " (%s stories were accepted out of order and can't be judged)", thousands(v.Unclear))
		}
		b.WriteByte('\n')
	} else {
		fmt.Fprintf(&b, "NOT VERIFIED: the server doesn't hold what it acknowledged (%s payloads)\n", thousands(v.Acked))
		for _, f := range slices.Sorted(maps.Keys(v.Faults)) {
			fmt.Fprintf(&b, "  %6d  %s\n", v.Faults[f], f)
		}
		b.WriteString("first discrepancies:\n")
		for _, e := range v.Examples {
			b.WriteString("  " + e + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// user is what is read of a contact (contract section 4, the v2 object). null reads as "".
type user struct {
	ID        int64  `json:"id"`
	Key       string `json:"user_key"`
	Name      string `json:"name"`
	Email     string `json:"email"`
	CustomID  string `json:"custom_id"`
	PageViews int64  `json:"page_views"`
	Plan      string `json:"plan"`
	Companies []struct {
		ID int64 `json:"id"`
	} `json:"companies"`
}

// company is what is read of a company (contract section 5, the v2 object).
type company struct {
	ID        int64   `json:"id"`
	Name      string  `json:"name"`
	CustomID  string  `json:"custom_id"`
	Employees []int64 `json:"employees"`
}

// maxEmployees is how many employees the server's company object names; beyond it they can't be compared.
const maxEmployees = 1000

// verify reads everything back over REST and compares it with the ledger, which must stand still meanwhile. What
// belongs to other runs is passed over. An error means that it could not be read; faults are in the verdict.
func verify(ctx context.Context, t *target, restToken string, l *ledger) (*verdict, error) {
	start := time.Now()
	c := newCheck(l)
	header := http.Header{
		"Authorization": {"Token " + restToken},
		"Accept":        {"*/*; version=2"},
		"User-Agent":    {userAgent},
	}
	if err := list(ctx, t, "/api/public/companies/", header, c.company); err != nil {
		return nil, fmt.Errorf("list companies: %w", err)
	}
	if err := list(ctx, t, "/api/public/users/", header, c.user); err != nil {
		return nil, fmt.Errorf("list contacts: %w", err)
	}
	c.finish()
	c.verdict.Took = time.Since(start)
	return &c.verdict, nil
}

// list calls each for everything in a collection, page by page.
func list[T any](ctx context.Context, t *target, path string, header http.Header, each func(*T)) error {
	u := t.url(0, path)
	u.RawQuery = "limit=100"
	seen := int64(0)
	for {
		var page struct {
			Count   int64   `json:"count"`
			Next    *string `json:"next"`
			Results []T     `json:"results"`
		}
		if err := getPage(ctx, t, u, header, &page); err != nil {
			return err
		}
		for i := range page.Results {
			each(&page.Results[i])
		}
		if page.Next == nil {
			return nil
		}
		seen += int64(len(page.Results))
		if len(page.Results) == 0 || seen > 2*page.Count+10_000 {
			return fmt.Errorf("the pages don't end: %d read of %d", seen, page.Count)
		}
		next, err := url.Parse(*page.Next)
		if err != nil {
			return fmt.Errorf("address of the next page: %w", err)
		}
		// Only path and query count: behind a proxy the server may know itself by another name.
		u = t.nodes[0].ResolveReference(&url.URL{Path: next.Path, RawPath: next.RawPath, RawQuery: next.RawQuery})
	}
}

// getPage reads one page; what may pass (a lost connection, a busy server) is tried again a few times.
func getPage(ctx context.Context, t *target, u *url.URL, header http.Header, page any) error {
	for try := 0; ; try++ {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, time.Minute)
			defer cancel()
			return t.getJSON(ctx, u, header, page)
		}()
		var status *statusError
		final := errors.As(err, &status) && status.status < 500 && status.status != http.StatusTooManyRequests
		if err == nil || final || try == 7 {
			return err
		}
		wait := 50 * time.Millisecond << try
		if status != nil {
			wait = max(wait, min(status.retryAfter, 10*time.Second))
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// A check collects what was read. It keeps one bit and no copy of a contact, and a few words of a company.
type check struct {
	ledger    *ledger
	slots     int64
	seen      []uint64 // a bit for each slot
	companies []companyCheck
	byID      map[int64]int64 // the server's company id -> number
	verdict   verdict
	text      []byte
}

type companyCheck struct {
	must, may bool
	times     int
	id        int64
	// People by the company's own list and by the contacts': how many, and a sum over mixed ids, which is equal for
	// equal sets in any order.
	listed, named       int64
	listedSum, namedSum uint64
}

func newCheck(l *ledger) *check {
	c := &check{ledger: l, slots: l.slots(), byID: map[int64]int64{}}
	c.seen = make([]uint64, c.slots/64+1)
	people := l.senders.Load()
	if l.chaos {
		people *= 2
	}
	c.companies = make([]companyCheck, l.traffic.companiesOf(people))
	for s := range c.slots {
		e := l.expect(s)
		for _, co := range e.companies {
			c.companies[co].may = true
			c.companies[co].must = c.companies[co].must || (e.must && !e.loose)
		}
	}
	for s := range l.senders.Load() {
		acked, open, clear := l.owed(s)
		if !clear {
			c.verdict.Unclear++
		}
		c.verdict.Acked += acked
		c.verdict.Open += open
	}
	return c
}

func (c *check) company(co *company) {
	n, ours := c.ledger.traffic.companyNumber(co.CustomID)
	if !ours {
		return
	}
	c.verdict.Companies++
	if n >= int64(len(c.companies)) || !c.companies[n].may {
		c.verdict.fault(unexpectedCompany, "%s (id %d)", co.CustomID, co.ID)
		return
	}
	cc := &c.companies[n]
	cc.times++
	if cc.times > 1 {
		c.verdict.fault(duplicateCompany, "%s has the ids %d and %d", co.CustomID, cc.id, co.ID)
	}
	cc.id = co.ID
	c.byID[co.ID] = n
	if want := string(c.ledger.traffic.appendCompanyName(c.text[:0], n)); co.Name != want {
		c.verdict.fault(wrongCompanyName, "%s is called %q, want %q", co.CustomID, co.Name, want)
	}
	for _, id := range co.Employees {
		cc.listed++
		cc.listedSum += mix(uint64(id))
	}
}

func (c *check) user(u *user) {
	slot, ours := c.ledger.slotOf(u.CustomID, u.Email, u.Key)
	if !ours {
		return
	}
	c.verdict.Contacts++
	c.verdict.Views += u.PageViews
	if slot >= c.slots {
		c.verdict.fault(unexpectedContact, "%s: nothing was sent", describe(u))
		return
	}
	e := c.ledger.expect(slot)
	if !e.may {
		c.verdict.fault(unexpectedContact, "%s", describe(u))
		return
	}
	if c.seen[slot/64]&(1<<(slot%64)) != 0 && !e.unclear {
		c.verdict.fault(duplicateContact, "%s", describe(u))
	}
	c.seen[slot/64] |= 1 << (slot % 64)

	if u.PageViews < e.minViews || u.PageViews > e.maxViews {
		want := fmt.Sprint(e.minViews)
		if e.maxViews > e.minViews {
			want += fmt.Sprintf(" to %d", e.maxViews)
		}
		c.verdict.fault(wrongViews, "%s has %d, want %s", describe(u), u.PageViews, want)
	}
	c.identity(u, &e)
	c.membership(u, &e)
}

// identity compares what a contact is known by and called.
func (c *check) identity(u *user, e *expectation) {
	if e.loose {
		return
	}
	t := c.ledger.traffic
	want := ""
	if e.person >= 0 {
		want = string(t.appendUserID(c.text[:0], e.person))
	}
	if u.CustomID != want {
		c.verdict.fault(wrongUserID, "%s, want %q", describe(u), want)
	}
	want = ""
	if e.emailOf >= 0 {
		want = string(t.appendEmail(c.text[:0], e.emailOf))
	}
	if u.Email != want {
		c.verdict.fault(wrongEmail, "%s, want %q", describe(u), want)
	}
	if e.key >= 0 {
		if want := string(t.appendKey(c.text[:0], e.key)); u.Key != want {
			c.verdict.fault(wrongKey, "%s, want %q", describe(u), want)
		}
	}
	if e.namedBy >= 0 {
		if want := string(t.appendName(c.text[:0], e.namedBy)); u.Name != want {
			c.verdict.fault(wrongAttribute, "%s is called %q, want %q", describe(u), u.Name, want)
		}
		if want := t.planOf(e.namedBy); u.Plan != want {
			c.verdict.fault(wrongAttribute, "%s has plan %q, want %q", describe(u), u.Plan, want)
		}
	}
}

// membership compares the companies that a contact names.
func (c *check) membership(u *user, e *expectation) {
	var numbers []int64
	right := true
	for _, m := range u.Companies {
		n, ok := c.byID[m.ID]
		if !ok {
			right = false // a company of another run, or one that isn't listed
			continue
		}
		right = right && slices.Contains(e.companies, n) && !slices.Contains(numbers, n)
		numbers = append(numbers, n)
		cc := &c.companies[n]
		cc.named++
		cc.namedSum += mix(uint64(u.ID))
	}
	if !right || (!e.loose && len(numbers) != len(e.companies)) {
		c.verdict.fault(wrongMembership, "%s is in companies %v, want %v", describe(u), numbers, e.companies)
	}
}

// finish finds what was expected and never seen.
func (c *check) finish() {
	t := c.ledger.traffic
	for slot := range c.slots {
		if c.seen[slot/64]&(1<<(slot%64)) != 0 {
			continue
		}
		if e := c.ledger.expect(slot); e.must {
			name := "visitor " + string(t.appendKey(nil, e.key))
			switch {
			case e.person >= 0:
				name = string(t.appendUserID(nil, e.person))
			case e.emailOf >= 0:
				name = string(t.appendEmail(nil, e.emailOf))
			}
			c.verdict.fault(missingContact, "%s, with %d page views acknowledged", name, e.minViews)
		}
	}
	for n := range c.companies {
		cc := &c.companies[n]
		name := string(t.appendCompanyID(nil, int64(n)))
		if cc.must && cc.times == 0 {
			c.verdict.fault(missingCompany, "%s", name)
		}
		short := cc.listed >= maxEmployees
		if cc.times == 1 && !short && (cc.listed != cc.named || cc.listedSum != cc.namedSum) {
			c.verdict.fault(wrongEmployees, "%s lists %d employees, %d contacts say that they are (or other ones)", name, cc.listed, cc.named)
		}
	}
}

func describe(u *user) string {
	return fmt.Sprintf("contact %d (user_id %q, e-mail %q, key %q)", u.ID, u.CustomID, u.Email, u.Key)
}
