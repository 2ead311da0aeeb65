package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"civgate/gateway"
)

// This file owns the live inspector's page: the newest payloads, what became of each,
// and their replay.

// Bounds of the inspector's streams.
const (
	inspectorStreams = 100 // open at once, of all agents
	// A stream ends after a while, and the browser opens another: one that nobody reads
	// any more is not kept for ever.
	inspectorStreamLife = time.Minute
	inspectorStreamRead = time.Second // how long what another node wrote may go unseen
	inspectorStreamRows = 100         // of one event: who was away longer misses those before
	inspectorRetry      = "retry: 1000\n\n"
)

// nobodys is what the filter is called that shows what is nobody's.
const nobodys = "nobody"

type inspectorPage struct {
	Chips   []chip
	Lines   []inspectorLine
	Verdict string
	Who     string // as it was asked for
	Nobody  string // why there is nothing to show of Who
	Contact gateway.ContactID
	Named   string // what the contact is called
	Clear   string // the address without the contact
	Waiting string
	Stream  string // where the stream is; "" for none
	More    *more
}

// inspectorLine is a payload in the list.
type inspectorLine struct {
	ID      int64
	Href    string // "" if there is nothing to unfold
	At      time.Time
	Verdict verdictBadge
	Warned  int // warnings of one whose badge doesn't tell
	Who     string
	What    []inspectorPart
}

// inspectorPart is a part of a line's text: one that begins something, or a quiet one
// that goes on with it.
type inspectorPart struct {
	Text  string
	Quiet bool
}

// verdictBadge is a verdict as it is shown.
type verdictBadge struct{ Hue, Label, About string }

var verdictBadges = map[gateway.Verdict]verdictBadge{
	gateway.VerdictAccepted: {"green", "Accepted", "All of it counts."},
	gateway.VerdictPartly:   {"amber", "Partly", "It counts, but for what the warnings name."},
	gateway.VerdictRefused:  {"rose", "Refused", "Nothing of it counts."},
	gateway.VerdictMerged:   {"violet", "Merged", "It tied an unknown visitor to a contact: both are one now."},
	gateway.VerdictSwitched: {"blue", "Switched", "Another person uses the browser now. Nobody was merged."},
	gateway.VerdictRepeat:   {"slate", "Repeat", "It came a second time, and had no second effect."},
	gateway.VerdictMore:     {"slate", "More", "They came too fast to be shown one by one."},
}

// ruleSentences say what the rules of identity found.
var ruleSentences = map[gateway.Rule]string{
	gateway.RuleKeep:          "The browser's own contact: nothing in the payload speaks for another.",
	gateway.RuleFoundByID:     "No contact on this browser before; the user_id is known.",
	gateway.RuleFoundByEmail:  "No contact on this browser before; the e-mail is known.",
	gateway.RuleMergeByID:     "The visitor had no name; the user_id is a known contact's, so the visitor became part of it.",
	gateway.RuleMergeByEmail:  "The visitor had no name; the e-mail is a known contact's, so the visitor became part of it.",
	gateway.RuleSwitchByID:    "The browser was somebody else's; the user_id is a known contact's, so the browser changed hands.",
	gateway.RuleSwitchByEmail: "The browser was somebody else's; the e-mail is a known contact's, so the browser changed hands.",
	gateway.RuleAssignID:      "The contact had no user_id and got this one.",
	gateway.RuleAssignEmail:   "The visitor had no name and got this e-mail.",
	gateway.RuleChangeEmail:   "The contact's e-mail became another.",
	gateway.RuleNew:           "Nobody had this browser or these identifiers before: a new contact.",
	gateway.RuleNewOnBrowser:  "The browser was somebody else's, and these identifiers are new: a new contact on it.",
}

// inspectorFilter is what the address asks for.
type inspectorFilter struct {
	verdict string // a verdict, or nobodys
	contact gateway.ContactID
	who     string
	before  int64
	after   int64
}

func readInspectorFilter(c *call) inspectorFilter {
	number := func(name string) int64 {
		n, _ := strconv.ParseInt(c.QueryParam(name), 10, 64) // else none
		return max(n, 0)
	}
	f := inspectorFilter{verdict: c.QueryParam("verdict"), contact: gateway.ContactID(number("contact")), who: strings.TrimSpace(c.QueryParam("who")), before: number("before"), after: number("after")}
	if f.verdict != nobodys && !slices.Contains(gateway.Verdicts, gateway.Verdict(f.verdict)) {
		f.verdict = ""
	}
	return f
}

// href is the address of the filter, without the page that it is at.
func (f inspectorFilter) href(path string, more ...string) string {
	q := url.Values{}
	if f.verdict != "" {
		q.Set("verdict", f.verdict)
	}
	switch {
	case f.contact != 0:
		q.Set("contact", strconv.FormatInt(int64(f.contact), 10))
	case f.who != "":
		q.Set("who", f.who)
	}
	for i := 0; i < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	if len(q) == 0 {
		return panelPath + path
	}
	return panelPath + path + "?" + q.Encode()
}

// query is what to ask the store for, and of which workspace. What is nobody's is for
// owners.
func (f inspectorFilter) query(c *call, limit int) (gateway.WorkspaceID, gateway.InspectionQuery, error) {
	q := gateway.InspectionQuery{Verdict: gateway.Verdict(f.verdict), Contact: f.contact, Before: f.before, After: f.after, Limit: limit}
	if f.verdict != nobodys {
		return c.Workspace.ID, q, nil
	}
	if !c.can(gateway.RoleOwner) {
		return 0, q, gateway.Errorf(gateway.CodeForbidden, "Payloads that belong to no workspace are shown to owners.")
	}
	q.Verdict, q.Contact = "", 0
	return 0, q, nil
}

// inspector lists the newest payloads.
func (p *panel) inspector(c *call) error {
	ctx := c.Request().Context()
	f := readInspectorFilter(c)
	v := inspectorPage{Verdict: f.verdict, Who: f.who}
	if f.who != "" && f.contact == 0 {
		id, err := p.findContact(ctx, c.Workspace.ID, f.who)
		switch {
		case gateway.IsNotFound(err):
			v.Nobody = "No contact has this user id, e-mail, phone number or visitor key."
		case err != nil:
			return err
		}
		f.contact, f.who = id, ""
	}
	if f.contact != 0 {
		contact, err := p.Read.Contact(ctx, c.Workspace.ID, f.contact)
		if err != nil {
			return err
		}
		v.Contact, v.Named = contact.ID, contactLabel(contact)
	}
	v.Clear = inspectorFilter{verdict: f.verdict}.href("/inspector")
	if err := p.inspectorChips(c, f, &v); err != nil {
		return err
	}
	if v.Nobody != "" {
		return c.render(http.StatusOK, "inspector", "Inspector", v)
	}
	w, q, err := f.query(c, listPage+1)
	if err != nil {
		return err
	}
	all, err := p.Read.Inspections(ctx, w, q)
	if err != nil {
		return err
	}
	if len(all) > listPage {
		all = all[:listPage]
		v.More = &more{Href: f.href("/inspector", "before", strconv.FormatInt(all[listPage-1].ID, 10)), Label: "Older payloads"}
	}
	for i := range all {
		v.Lines = append(v.Lines, newInspectorLine(&all[i]))
	}
	if f.before == 0 {
		var newest int64
		if len(all) > 0 {
			newest = all[0].ID
		}
		v.Stream = f.href("/inspector/stream", "after", strconv.FormatInt(newest, 10), "workspace", strconv.FormatInt(int64(c.Workspace.ID), 10))
		v.Waiting = waitingWords(p.Gateway.InspectionsWaiting(w))
	}
	return c.render(http.StatusOK, "inspector", "Inspector", v)
}

// inspectorChips are the verdicts to choose from.
func (p *panel) inspectorChips(c *call, f inspectorFilter, v *inspectorPage) error {
	one := f
	add := func(verdict, label string) {
		one.verdict = verdict
		v.Chips = append(v.Chips, chip{Label: label, Href: one.href("/inspector"), Active: f.verdict == verdict})
	}
	add("", "All")
	for _, verdict := range gateway.Verdicts {
		add(string(verdict), verdictBadges[verdict].Label)
	}
	if !c.can(gateway.RoleOwner) {
		return nil
	}
	const most = 99
	strange, err := p.Read.Inspections(c.Request().Context(), 0, gateway.InspectionQuery{Limit: most + 1})
	if err != nil {
		return err
	}
	if n := len(strange); n > 0 || f.verdict == nobodys {
		label := fmt.Sprintf("Unknown sender (%d)", n)
		if n > most {
			label = fmt.Sprintf("Unknown sender (%d+)", most)
		}
		one = inspectorFilter{}
		add(nobodys, label)
	}
	return nil
}

// findContact finds the contact that a text names best.
func (p *panel) findContact(ctx context.Context, w gateway.WorkspaceID, who string) (gateway.ContactID, error) {
	id := func(c *gateway.ContactView, err error) (gateway.ContactID, error) {
		if err != nil {
			return 0, err
		}
		return c.ID, nil
	}
	found, err := id(p.Read.ContactByCustomID(ctx, w, who))
	if !gateway.IsNotFound(err) {
		return found, err
	}
	if _, key, ok := gateway.NormalizeEmail(who); ok {
		all, err := p.Read.ContactsByEmail(ctx, w, key, 1)
		if err != nil {
			return 0, err
		}
		if len(all) > 0 {
			return all[0].ID, nil
		}
	}
	all, err := p.Read.ContactsByPhone(ctx, w, who, 1)
	if err != nil {
		return 0, err
	}
	if len(all) > 0 {
		return all[0].ID, nil
	}
	return id(p.Read.ContactByKey(ctx, w, who))
}

// newInspectorLine is a payload in one line.
func newInspectorLine(v *gateway.InspectionView) inspectorLine {
	line := inspectorLine{ID: v.ID, At: v.At, Verdict: verdictBadges[v.Verdict], Who: inspectedLabel(v), What: inspectedWords(v)}
	if v.Verdict != gateway.VerdictMore && v.WorkspaceID != 0 && !v.Detail.Deleted {
		line.Href = panelPath + "/inspector/" + strconv.FormatInt(v.ID, 10)
	}
	if v.Verdict == gateway.VerdictMerged || v.Verdict == gateway.VerdictSwitched || v.Verdict == gateway.VerdictRepeat {
		line.Warned = len(v.Detail.Warnings) + v.Detail.MoreWarnings
	}
	return line
}

// inspectedLabel is who a payload is about.
func inspectedLabel(v *gateway.InspectionView) string {
	switch {
	case v.Detail.Deleted:
		return "Deleted contact"
	case v.Survivor == 0 && v.Verdict == gateway.VerdictMore:
		return "Others"
	case v.Verdict == gateway.VerdictRefused: // whose it is nobody has looked for
		return cmp.Or(siteOf(v.Detail.Origin), "Unknown")
	case v.Survivor == 0:
		return "Nobody"
	}
	return cmp.Or(v.Name, v.Email, v.CustomID, "Visitor "+v.Key[:min(6, len(v.Key))])
}

// inspectedWords says in about ten words what a payload was and did.
func inspectedWords(v *gateway.InspectionView) []inspectorPart {
	d := &v.Detail
	var parts []inspectorPart
	say := func(text string) { parts = append(parts, inspectorPart{Text: text}) }
	quiet := func(text string) { parts = append(parts, inspectorPart{text, true}) }
	switch {
	case d.Deleted:
		quiet("deleted with the contact")
		return parts
	case v.Verdict == gateway.VerdictMore:
		for _, code := range slices.Sorted(mapKeys(d.More)) {
			text := "and " + number(int64(d.More[code])) + " more"
			if code != "" {
				text += " " + codeWords(code)
			}
			say(text)
		}
		return parts
	case v.Verdict == gateway.VerdictRefused:
		say(codeWords(v.Code))
		quiet(d.Reason)
		return parts
	}
	switch d.Type {
	case "page":
		say("viewed")
		quiet(cmp.Or(d.About, "a page"))
	case "event", "product_event":
		say("did")
		quiet(d.About)
	case "reset":
		say("logged out")
	}
	if v.Verdict == gateway.VerdictRepeat {
		quiet("for the second time, without effect")
		return parts
	}
	const shown = 3
	n := 0
	for _, ch := range d.Changes {
		if ch.What == gateway.ChangeKey && len(d.Changes) > 1 {
			continue // it says little beside the others
		}
		if n++; n <= shown {
			parts = append(parts, changeWords(ch)...)
		}
	}
	if n += d.MoreChanges; n > shown {
		quiet(fmt.Sprintf("+%d", n-shown))
	}
	if len(d.Changes) == 0 && d.Type == "update" {
		quiet("nothing new")
	}
	return parts
}

func mapKeys[K comparable, V any](m map[K]V) func(yield func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// changeWords say what changed, in a line.
func changeWords(c gateway.Change) []inspectorPart {
	said := func(what, value string) []inspectorPart { return []inspectorPart{{Text: what}, {value, true}} }
	change := func(name string) []inspectorPart {
		switch {
		case c.After == "":
			return said(name, "cleared")
		case c.Before == "":
			return said(name, plainJSON(c.After))
		}
		return said(name, plainJSON(c.Before)+" → "+plainJSON(c.After))
	}
	switch c.What {
	case gateway.ChangeContact:
		return []inspectorPart{{Text: "new contact"}}
	case gateway.ChangeCustomID:
		return change("user_id")
	case gateway.ChangeEmail:
		return change("e-mail")
	case gateway.ChangeAttribute:
		return change(c.Name)
	case gateway.ChangeKey:
		return []inspectorPart{{Text: "new browser"}}
	case gateway.ChangeMerge:
		return said("visitor", "#"+c.Before+" became part")
	case gateway.ChangeLinked:
		return said("joined", c.Subject)
	case gateway.ChangeLeft:
		return said("left", c.Subject)
	case gateway.ChangeCompany:
		if c.Name == "" {
			return said("new company", c.Subject)
		}
		return change(c.Subject + "'s " + c.Name)
	}
	return nil
}

// plainJSON is a JSON text as people read it: texts without quotes.
func plainJSON(raw string) string {
	var s string
	if json.Unmarshal([]byte(raw), &s) == nil {
		raw = s
	}
	return cut(raw)
}

// waitingWords say what can't be shown yet.
func waitingWords(waiting map[gateway.Waiting]int) string {
	kinds := slices.SortedFunc(mapKeys(waiting), func(a, b gateway.Waiting) int {
		return cmp.Or(cmp.Compare(a.Verdict, b.Verdict), cmp.Compare(a.Code, b.Code))
	})
	var parts []string
	for _, kind := range kinds {
		text := number(int64(waiting[kind])) + " " + strings.ToLower(verdictBadges[kind.Verdict].Label)
		if kind.Code != "" {
			text += " (" + codeWords(kind.Code) + ")"
		}
		parts = append(parts, text)
	}
	if len(parts) == 0 {
		return ""
	}
	return "The database takes nothing right now. What came since waits and appears as soon as it does: " + strings.Join(parts, ", ") + "."
}

// inspectionPage is all that is known of one payload.
type inspectionPage struct {
	*gateway.InspectionView
	Badge     verdictBadge
	Label     string
	Code      string
	Todo      refusalWords // what to do about a refusal
	Rule      string
	Changes   []inspectedChange
	CanReplay bool
	Only      string // the address of the contact's payloads
}

// inspectedChange is a change in a table.
type inspectedChange struct{ What, Before, After string }

// inspection shows one payload: a page, or the part that unfolds in the list.
func (p *panel) inspection(c *call) error {
	id, err := c.id("id")
	if err != nil {
		return err
	}
	if said := c.Request().Header.Get("X-Workspace"); said != "" && said != strconv.FormatInt(int64(c.Workspace.ID), 10) {
		// The id is one of the page's workspace, and would find another's payload here.
		return gateway.Errorf(gateway.CodeConflict, "You have switched to %s in another tab. Reload this page.", c.Workspace.Name)
	}
	found, err := p.Read.Inspection(c.Request().Context(), c.Workspace.ID, id)
	if err != nil {
		return err
	}
	d := &found.Detail
	v := inspectionPage{InspectionView: found, Badge: verdictBadges[found.Verdict], Label: inspectedLabel(found), Rule: ruleSentences[d.Rule],
		CanReplay: c.can(gateway.RoleEditor) && d.Payload != "" && !d.Cut}
	if found.Code != "" {
		v.Code, v.Todo = string(found.Code), wordsOf(found.Code)
	}
	if found.Survivor != 0 {
		v.Only = inspectorFilter{contact: found.Survivor}.href("/inspector")
	}
	for _, ch := range d.Changes {
		v.Changes = append(v.Changes, newInspectedChange(ch))
	}
	if c.isHTMX() {
		return c.fragment(http.StatusOK, "inspection", "detail", v)
	}
	return c.render(http.StatusOK, "inspection", "Payload", v)
}

func newInspectedChange(c gateway.Change) inspectedChange {
	out := inspectedChange{Before: plainOrNone(c.Before), After: plainOrNone(c.After)}
	numbered := func() {
		for _, s := range []*string{&out.Before, &out.After} {
			if *s != "" {
				*s = "#" + *s
			}
		}
	}
	switch c.What {
	case gateway.ChangeContact:
		out.What = "New contact"
		numbered()
	case gateway.ChangeCustomID:
		out.What = "user_id"
	case gateway.ChangeEmail:
		out.What = "E-mail"
	case gateway.ChangeAttribute:
		out.What = c.Name
	case gateway.ChangeKey:
		out.What = "Browser " + c.Name + "… belongs to"
		numbered()
	case gateway.ChangeMerge:
		out.What = "Became part of another contact"
		numbered()
	case gateway.ChangeLinked:
		out.What, out.After = "Employee of", c.Subject
	case gateway.ChangeLeft:
		out.What, out.Before = "Employee of", c.Subject
	case gateway.ChangeCompany:
		if c.Name == "" {
			out.What, out.After = "New company", c.Subject
		} else {
			out.What = c.Subject + ": " + c.Name
		}
	}
	return out
}

func plainOrNone(raw string) string {
	if raw == "" {
		return ""
	}
	return plainJSON(raw)
}

// postReplay has a payload taken once more.
func (p *panel) postReplay(c *call) error {
	ctx := c.Request().Context()
	id, err := c.id("id")
	if err != nil {
		return err
	}
	if err := p.Gateway.Replay(ctx, c.Workspace.ID, id); err != nil {
		if gateway.CodeOf(err) == gateway.CodeInvalidPayload {
			return &gateway.Error{Code: gateway.CodeInvalid, Message: "It would be refused again, so nothing was done.", Err: err}
		}
		return err
	}
	err = p.Gateway.Edit(ctx, c.Workspace, c.author(), func(e *gateway.Editor) error {
		return e.Audit("payload.replay", "payload", strconv.FormatInt(id, 10), nil)
	})
	if err != nil {
		return err
	}
	c.toast("Replayed. What it does appears at the top in a moment.")
	return c.redirect(panelPath + "/inspector")
}

// inspectorStream sends the lines of new payloads as they come, as server-sent events.
// Each has the id of its newest line, from which the browser goes on after a break.
func (p *panel) inspectorStream(c *call) error {
	f := readInspectorFilter(c)
	if last, err := strconv.ParseInt(c.Request().Header.Get("Last-Event-ID"), 10, 64); err == nil {
		f.after = max(f.after, last)
	}
	w, q, err := f.query(c, inspectorStreamRows)
	if err != nil {
		return err
	}
	if c.QueryParam("workspace") != strconv.FormatInt(int64(c.Workspace.ID), 10) {
		return gateway.Errorf(gateway.CodeConflict, "You have switched to %s in another tab. Reload this page.", c.Workspace.Name)
	}
	select {
	case p.watching <- struct{}{}:
		defer func() { <-p.watching }()
	default:
		return &gateway.Error{Code: gateway.CodeRateLimited, Message: "Too many people watch the inspector; reload the page in a moment.", RetryAfter: 10 * time.Second}
	}
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects would hold the stream back
	c.Response().WriteHeader(http.StatusOK)
	ctx, cancel := context.WithTimeout(c.Request().Context(), inspectorStreamLife)
	defer cancel()
	out := newEventWriter(c.Response())
	if err := out.write(inspectorRetry); err != nil {
		return nil // it has gone
	}
	if err := p.follow(ctx, c, out, w, q); err != nil && ctx.Err() == nil {
		p.Log.Info("inspector's stream ended", zap.Error(err))
	}
	return nil
}

// follow writes events until ctx ends, the server does, or the client can't be written
// to.
func (p *panel) follow(ctx context.Context, c *call, out *eventWriter, w gateway.WorkspaceID, q gateway.InspectionQuery) error {
	look := time.NewTicker(inspectorStreamRead)
	defer look.Stop()
	quiet := time.Now()
	waiting := ""
	for {
		changed := p.Gateway.Inspected()
		all, err := p.Read.Inspections(ctx, w, q)
		if err != nil {
			return err
		}
		if len(all) > 0 {
			q.After = all[0].ID
			html, err := inspectorLines(all)
			if err != nil {
				return err
			}
			if err := out.write("id: " + strconv.FormatInt(q.After, 10) + "\n"); err != nil {
				return err
			}
			if err := out.event("lines", html); err != nil {
				return err
			}
			quiet = time.Now()
		}
		if now := waitingWords(p.Gateway.InspectionsWaiting(w)); now != waiting {
			waiting = now
			text, err := json.Marshal(now)
			if err != nil {
				return err
			}
			if err := out.event("waiting", text); err != nil {
				return err
			}
		}
		if time.Since(quiet) > streamHeartbeat {
			quiet = time.Now()
			if err := out.write(":\n\n"); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.Done:
			return nil
		case <-changed:
		case <-look.C:
			// Nothing more for who has signed out, or was removed.
			if there, err := c.stillThere(ctx); err != nil || !there {
				return err
			}
		}
	}
}

// inspectorLines renders lines as one line of JSON: a text of HTML, which may hold line
// ends.
func inspectorLines(all []gateway.InspectionView) ([]byte, error) {
	t := panelTemplates["inspector"]
	if t == nil {
		return nil, errors.New("there is no template inspector")
	}
	var b bytes.Buffer
	for i := range all {
		if err := t.ExecuteTemplate(&b, "line", newInspectorLine(&all[i])); err != nil {
			return nil, err
		}
	}
	return json.Marshal(b.String())
}
