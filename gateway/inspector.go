package gateway

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"
)

// This file owns the live inspector: how what became of payloads is noted on the way,
// and written where people can look at it.
//
// Decisions
//
//   - Always on, not only while somebody looks: who opens the page wants to see what
//     came a minute ago. It may be, because it costs next to nothing: a payload that is
//     applied gets a trace only if it is among the newest that will be shown, some 150
//     a second and workspace, and refusals have 50 a second of their own, so that a flood
//     of one does not hide the other. All others are counted, which costs one lock a
//     batch. A trace is by reference; texts are made by the goroutine that writes.
//   - Written to the database (the newest KeptInspections a workspace) and not kept in
//     memory: every node's panel shows what all nodes took, and a restart forgets
//     nothing. It is one transaction at most every half second, and none while nothing
//     comes.
//   - What a verdict is told of is known: an accepted payload appears when its batch is
//     committed, a refused one when it is answered.
//   - Of what was refused before its apiKey was looked at (no JSON, too large, an address
//     that is over its limit) the workspace is told by the apiKey that the text shows, and
//     else by the website: one that a single workspace names among its origins is that
//     workspace's, which then sees code, reason and website, and nothing of the text.
//   - What can't be told so (an apiKey that nobody has, or none at all) belongs to the
//     only workspace where there is just one, as it is most likely a mistyped snippet of its.
//     Where there are several it is kept as workspace 0's, with code and reason and
//     nothing that a stranger sent, for their owners to see that it happens.
//   - While the database takes no writes, or is slow to, what is to be shown waits in
//     memory, the newest of it, and InspectionsWaiting counts it: a full inbox is refused
//     with a code just then.
//   - A payload can be replayed as long as its text is here whole. An agent who may edit
//     may do by it what they may do by hand, so it is asked for neither origin nor proof of
//     identity, and it counts against no limit.

const (
	// What is shown one by one of a workspace's payloads, a second.
	appliedRate = 150
	refusedRate = 50
	// maxNoted bounds what waits to be made into rows, over all workspaces, and
	// maxUnwritten the rows that wait for the database.
	maxNoted     = 2000
	maxUnwritten = 4000
	// inspectPause is for how long the writer gathers, and inspectRetry after how long
	// it tries again what the database did not take.
	inspectPause = 400 * time.Millisecond
	inspectRetry = time.Second
	// inspectSlow is how long a write may take until what it is to write counts as
	// waiting.
	inspectSlow = 500 * time.Millisecond
	// inspectTime bounds a write, and the last one when the gateway stops.
	inspectTime = 5 * time.Second
	// inspectedWorkspaces is how many workspaces one transaction writes to.
	inspectedWorkspaces = 100
)

// Refusal is a payload that was refused, or a request that was before any was read.
type Refusal struct {
	Err    error
	Body   []byte // as much as was read; not kept
	Size   int64  // of the whole body in bytes, if that is known to be more
	Origin string
	// APIKey is the one that it came with outside of Body, which is searched for one
	// if this is "".
	APIKey string
}

// Waiting is a kind of what can't be shown yet.
type Waiting struct {
	Verdict Verdict
	Code    Code // of what was refused, else ""
}

// note is what the inspector holds of a payload until it is written.
type note struct {
	noted   time.Time // when its verdict was known
	at      time.Time // when it was refused
	entry   *Entry    // that was applied; nil for what was refused
	trace   *trace    // of the entry; nil if it said nothing new, or had no effect
	contact ContactID
	verdict Verdict

	code          Code // of what was refused
	reason, field string
	origin        string
	key           string // the apiKey, of one whose workspace is not known
	text          []byte // of a refused payload; a copy, at most what can be shown
	size          int
}

// book is what waits of one workspace; that of workspace 0 is of what has to be
// found out first.
type book struct {
	notes            []note
	applied, refused bucket
	skipped          map[Code]int // not noted, see InspectionDetail.More
}

// bucket lets so many things through a second.
type bucket struct {
	tokens float64
	last   time.Time
}

func (b *bucket) take(n int, rate float64, now time.Time) int {
	if b.last.IsZero() {
		b.tokens = rate
	} else {
		b.tokens = min(rate, b.tokens+rate*now.Sub(b.last).Seconds())
	}
	b.last = now
	n = min(n, int(b.tokens))
	b.tokens -= float64(n)
	return n
}

// inspector notes what becomes of payloads.
type inspector struct {
	on    bool
	mu    sync.Mutex
	books map[WorkspaceID]*book
	noted int
	wake  chan struct{} // has room for one
	// waiting counts the rows that the database did not take at the last try, and
	// writing those that it is asked to take since a moment; nil for none.
	waiting, writing map[WorkspaceID]map[Waiting]int
	since            time.Time
	written          atomic.Pointer[chan struct{}]
}

func (in *inspector) init(on bool) {
	in.on = on
	in.books = make(map[WorkspaceID]*book)
	in.wake = make(chan struct{}, 1)
	ch := make(chan struct{})
	in.written.Store(&ch)
}

// book returns the workspace's. in.mu is held.
func (in *inspector) book(w WorkspaceID) *book {
	b := in.books[w]
	if b == nil {
		b = &book{skipped: make(map[Code]int)}
		in.books[w] = b
	}
	return b
}

// sample says how many of n payloads that are being applied are to be noted: the
// newest.
func (in *inspector) sample(w WorkspaceID, n int) int {
	if !in.on {
		return 0
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.book(w).applied.take(min(n, maxNoted-in.noted), appliedRate, time.Now())
}

// applied notes payloads that were applied for good, and counts others.
func (in *inspector) applied(w WorkspaceID, notes []note, others int) {
	if !in.on || len(notes)+others == 0 {
		return
	}
	now := time.Now()
	for i := range notes {
		notes[i].noted = now
	}
	in.mu.Lock()
	b := in.book(w)
	b.notes = append(b.notes, notes...)
	in.noted += len(notes)
	if others > 0 {
		b.skipped[""] += others
	}
	in.mu.Unlock()
	signal(in.wake)
}

// refused notes a payload of a workspace that was refused (0: it is not known whose
// it is).
func (in *inspector) refused(w WorkspaceID, at time.Time, r Refusal) {
	if !in.on {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	defer signal(in.wake)
	b, e, now := in.book(w), asError(r.Err), time.Now()
	if in.noted >= maxNoted || b.refused.take(1, refusedRate, now) == 0 {
		b.skipped[e.Code]++
		return
	}
	in.noted++
	b.notes = append(b.notes, note{
		noted: now, at: at, verdict: VerdictRefused, code: e.Code, reason: e.Message, field: e.Field, origin: r.Origin,
		key: r.APIKey, text: bytes.Clone(r.Body[:min(len(r.Body), MaxPayload)]), size: max(len(r.Body), int(r.Size)),
	})
}

// refused notes what was refused: as the workspace's, or where that is not known (0)
// as that of whoever is known to have the apiKey.
func (g *Gateway) refused(w WorkspaceID, at time.Time, r Refusal) {
	if !g.inspector.on {
		return
	}
	if w == 0 && CodeOf(r.Err) != CodeUnknownAPIKey {
		if r.APIKey == "" {
			r.APIKey = guessAPIKey(r.Body)
		}
		w = g.workspaces.remembered(r.APIKey)
	}
	g.inspector.refused(w, at, r)
}

// signal wakes the one who waits for c, now or later.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// taken are the books as they were, which are empty now.
func (in *inspector) taken() map[WorkspaceID]*book {
	in.mu.Lock()
	defer in.mu.Unlock()
	out := make(map[WorkspaceID]*book)
	for w, b := range in.books {
		if len(b.notes)+len(b.skipped) == 0 {
			if time.Since(b.applied.last) > time.Minute && time.Since(b.refused.last) > time.Minute {
				delete(in.books, w)
			}
			continue
		}
		out[w] = &book{notes: b.notes, skipped: b.skipped}
		b.notes, b.skipped = nil, make(map[Code]int)
	}
	in.noted = 0
	return out
}

// Refused tells the inspector of what was refused before Accept was asked. It
// doesn't wait.
func (g *Gateway) Refused(r Refusal) {
	g.refused(0, g.clock(), r)
}

// Inspected returns a channel that is closed after this process has next written
// inspections. To miss nothing, ask for it before reading them.
func (g *Gateway) Inspected() <-chan struct{} { return *g.inspector.written.Load() }

// InspectionsWaiting counts what can't be shown yet because the database takes no
// writes, or is slow to; nil as a rule. Inspected doesn't tell when it rises: ask now
// and then.
func (g *Gateway) InspectionsWaiting(w WorkspaceID) map[Waiting]int {
	in := &g.inspector
	in.mu.Lock()
	defer in.mu.Unlock()
	rows := in.waiting
	if in.writing != nil && time.Since(in.since) >= inspectSlow {
		rows = in.writing // with all of those
	}
	if rows == nil {
		return nil
	}
	all := maps.Clone(rows[w])
	if b := in.books[w]; b != nil {
		if all == nil {
			all = make(map[Waiting]int)
		}
		for i := range b.notes {
			all[Waiting{b.notes[i].verdict, b.notes[i].code}]++
		}
		countSkipped(all, b.skipped)
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// countSkipped counts what is not shown one by one.
func countSkipped(all map[Waiting]int, skipped map[Code]int) {
	for code, n := range skipped {
		kind := Waiting{VerdictRefused, code}
		if code == "" {
			kind.Verdict = VerdictAccepted
		}
		all[kind] += n
	}
}

// RunInspector writes what becomes of payloads to the store until ctx ends, and then
// what there still is, for some seconds at most. It is called once, needs Config.Inspect,
// and returns ctx.Err(): what the store doesn't take is logged, and tried again or
// dropped. To miss nothing it has to run until all that applies has ended.
func (g *Gateway) RunInspector(ctx context.Context) error {
	in := &g.inspector
	var rows []*Inspection
	failing := false
	for {
		pause := inspectPause
		if len(rows) > 0 {
			pause = inspectRetry
		} else {
			select {
			case <-in.wake:
			case <-ctx.Done():
			}
		}
		sleep(ctx, pause)
		ended := ctx.Err()
		err := g.inspect(context.WithoutCancel(ctx), &rows)
		switch code := CodeOf(err); {
		case err == nil:
			rows = nil
		case code == CodeUnavailable || code == CodeConflict:
			if !failing {
				g.log.Warn("the store takes nothing for the inspector; it waits", zap.Error(err))
			}
		default:
			g.log.Error("inspections can't be written and are dropped", zap.Int("inspections", len(rows)), zap.Error(err))
			rows = nil
		}
		failing = err != nil
		in.wait(rows)
		if ended != nil {
			return ended
		}
	}
}

// inspect makes rows of what was noted, adds them to those that wait, and writes all.
// A panic of one payload's row must not end the process.
func (g *Gateway) inspect(ctx context.Context, rows *[]*Inspection) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic while inspecting: %v\n%s", r, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	all := append(*rows, g.inspections(ctx)...)
	*rows = all[max(0, len(all)-maxUnwritten):]
	g.inspector.write(*rows)
	return g.writeInspections(ctx, *rows)
}

// write notes which rows the database is about to be asked to take.
func (in *inspector) write(rows []*Inspection) {
	writing := countRows(rows)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.writing, in.since = writing, time.Now()
}

// countRows counts rows by workspace and kind; nil if there are none.
func countRows(rows []*Inspection) map[WorkspaceID]map[Waiting]int {
	if len(rows) == 0 {
		return nil
	}
	all := make(map[WorkspaceID]map[Waiting]int)
	for _, r := range rows {
		of := all[r.WorkspaceID]
		if of == nil {
			of = make(map[Waiting]int)
			all[r.WorkspaceID] = of
		}
		if r.Verdict == VerdictMore {
			countSkipped(of, r.Detail.More)
		} else {
			of[Waiting{r.Verdict, r.Code}]++
		}
	}
	return all
}

// wait notes which rows wait for the database, after it was asked.
func (in *inspector) wait(rows []*Inspection) {
	waiting := countRows(rows)
	in.mu.Lock()
	changed := len(in.waiting)+len(waiting) > 0
	in.waiting, in.writing = waiting, nil
	in.mu.Unlock()
	if changed {
		in.announce()
	}
}

func (in *inspector) announce() {
	ch := make(chan struct{})
	close(*in.written.Swap(&ch))
}

// writeInspections writes rows in few transactions. What of an error went through
// all the same is shown twice, which is better than never.
func (g *Gateway) writeInspections(ctx context.Context, rows []*Inspection) error {
	if len(rows) == 0 {
		return nil
	}
	byWorkspace := make(map[WorkspaceID][]*Inspection)
	for _, r := range rows {
		byWorkspace[r.WorkspaceID] = append(byWorkspace[r.WorkspaceID], r)
	}
	ids := make([]WorkspaceID, 0, len(byWorkspace))
	for w := range byWorkspace {
		ids = append(ids, w)
	}
	slices.Sort(ids)
	for part := range slices.Chunk(ids, inspectedWorkspaces) {
		err := g.store.Update(ctx, func(tx Tx) error {
			for _, w := range part {
				if err := tx.AddInspections(w, byWorkspace[w], KeptInspections); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	g.inspector.announce()
	return nil
}

// inspections makes rows of what was noted, those of a workspace in the order in
// which verdicts were known.
func (g *Gateway) inspections(ctx context.Context) []*Inspection {
	var rows []*Inspection
	books := g.inspector.taken()
	if unknown := books[0]; unknown != nil {
		delete(books, 0)
		rows = g.claimNotes(ctx, unknown, books)
	}
	for w, b := range books {
		slices.SortStableFunc(b.notes, func(a, b note) int { return a.noted.Compare(b.noted) })
		for i := range b.notes {
			rows = append(rows, g.inspection(ctx, w, &b.notes[i]))
		}
		if r := g.more(w, b.skipped); r != nil {
			rows = append(rows, r)
		}
	}
	return rows
}

// claimNotes finds out whose the notes are that came without a workspace, and adds
// them to the workspace's book. It returns rows of those that are nobody's.
func (g *Gateway) claimNotes(ctx context.Context, unknown *book, books map[WorkspaceID]*book) (rows []*Inspection) {
	var only WorkspaceID
	all, err := g.store.Workspaces(ctx)
	if err == nil && len(all) == 1 {
		only = all[0].ID
	}
	give := func(w WorkspaceID, n note) {
		if books[w] == nil {
			books[w] = &book{skipped: make(map[Code]int)}
		}
		books[w].notes = append(books[w].notes, n)
	}
	for _, n := range unknown.notes {
		if n.key != "" && n.code != CodeUnknownAPIKey {
			if w, err := g.workspaces.byAPIKey(ctx, n.key); err == nil {
				give(w.ID, n)
				continue
			}
		}
		if only != 0 {
			give(only, n)
			continue
		}
		n.text, n.size = nil, 0 // nobody's own to look at
		if w := ownerOf(n.origin, all); w != 0 {
			give(w, n)
			continue
		}
		n.origin = ""
		rows = append(rows, g.inspection(ctx, 0, &n))
	}
	if len(unknown.skipped) == 0 {
		return rows
	}
	if only == 0 {
		return append(rows, g.more(0, unknown.skipped))
	}
	if books[only] == nil {
		books[only] = &book{skipped: make(map[Code]int)}
	}
	for code, n := range unknown.skipped {
		books[only].skipped[code] += n
	}
	return rows
}

// ownerOf is the one workspace that names a website among its origins; 0 if none or
// several do.
func ownerOf(origin string, all []Workspace) (owner WorkspaceID) {
	if origin == "" {
		return 0
	}
	for i := range all {
		if len(all[i].Settings.Origins) == 0 || !OriginAllowed(all[i].Settings.Origins, origin) {
			continue
		}
		if owner != 0 {
			return 0
		}
		owner = all[i].ID
	}
	return owner
}

// more is the row that stands for those that were not noted, nil if there are none.
func (g *Gateway) more(w WorkspaceID, skipped map[Code]int) *Inspection {
	if len(skipped) == 0 {
		return nil
	}
	return &Inspection{WorkspaceID: w, At: g.clock(), Node: g.node, Verdict: VerdictMore, Detail: InspectionDetail{More: skipped}}
}

// inspection makes a row of a note.
func (g *Gateway) inspection(ctx context.Context, w WorkspaceID, n *note) *Inspection {
	r := &Inspection{WorkspaceID: w, At: n.at, Node: g.node, Verdict: n.verdict, Code: n.code, ContactID: n.contact}
	d := &r.Detail
	d.Reason, _ = cutText(n.reason, maxInspectedReason)
	d.Field, _ = cutText(cleanText(n.field), MaxName)
	d.Origin = cutValue(cleanText(n.origin))
	body := n.text
	d.Size = n.size
	if e := n.entry; e != nil {
		r.At, body, d.Size = e.At, e.Body, len(e.Body)
		d.describe(e.Payload)
		warnings := e.Warnings
		if warnings == nil {
			warnings = g.warnings(ctx, w, e)
		}
		d.setWarnings(warnings)
		if r.Verdict == VerdictRepeat {
			r.ContactID = g.whoRepeats(ctx, w, e.Payload)
		}
		if r.Verdict == VerdictAccepted && len(warnings) > 0 {
			r.Verdict = VerdictPartly
		}
	} else if p, _, err := ParsePayload(body); err == nil {
		d.describe(p)
	}
	if len(body) > 0 {
		var cut bool
		d.Payload, cut = inspectedText(body)
		d.Cut = cut || d.Size > len(body)
	}
	if t := n.trace; t != nil {
		d.Rule = t.rule
		d.setChanges(t.changes)
	}
	return r
}

// whoRepeats is the contact of a repeated payload, as far as the cache knows: it was
// applied a moment ago as a rule. What is not known is not worth a search.
func (g *Gateway) whoRepeats(ctx context.Context, w WorkspaceID, p *Payload) ContactID {
	ref := Ref{w, RefKey, p.Key}
	if p.Key == "" {
		ref = Ref{w, RefCustomID, p.CustomID}
	}
	if ref.Value == "" {
		return 0
	}
	var found [1]Identity
	g.cache.Identities(ctx, []Ref{ref}, found[:])
	return found[0].ContactID
}

// warnings says again what was said of a payload when it was accepted.
func (g *Gateway) warnings(ctx context.Context, w WorkspaceID, e *Entry) []Warning {
	p, warnings, err := ParsePayload(e.Body)
	if err != nil {
		return nil
	}
	return g.checkAttributes(ctx, w, p, warnings)
}

// observation picks the payloads of a batch that are noted, and takes the notes.
type observation struct {
	repeats, from int // so many repeats, and the entries from this index on
	notes         []note
	others        int // that are not noted
}

// observe starts an observation of sample payloads of a batch: the newest ones.
func observe(sample int, entries, repeats []*Entry) *observation {
	// Repeats are told too, however many others there are.
	n := min(len(repeats), max(sample-len(entries), sample/4))
	o := &observation{repeats: n, from: len(entries) - min(len(entries), sample-n)}
	for _, e := range repeats[len(repeats)-n:] {
		o.notes = append(o.notes, note{entry: e, verdict: VerdictRepeat})
	}
	o.others = o.from + len(repeats) - n
	return o
}

// trace returns a new trace for the i-th entry if it is noted, else nil.
func (o *observation) trace(i int) *trace {
	if i < o.from {
		return nil
	}
	return new(trace)
}

// unchanged notes a payload of a contact that it told nothing new of.
func (o *observation) unchanged(i int, e *Entry, id ContactID) {
	if i < o.from {
		return
	}
	t := &trace{rule: RuleKeep}
	if e.Payload.Key == "" {
		t.rule = RuleFoundByID
	}
	o.notes = append(o.notes, note{entry: e, verdict: VerdictAccepted, contact: id, trace: t})
}

// applied notes what a payload did. c is nil if it belongs to nobody.
func (o *observation) applied(t *trace, e *Entry, c *Contact) {
	if t == nil {
		return
	}
	n := note{entry: e, verdict: t.verdict(), trace: t}
	if c != nil {
		n.contact = c.ID
	}
	t.from, t.attrs, t.companies, t.employers = nil, nil, nil, nil // what end has looked at
	o.notes = append(o.notes, n)
}

// setAside notes a payload that could not be applied for good.
func (g *Gateway) setAside(e *Entry) {
	g.refused(e.WorkspaceID, e.At, Refusal{
		Err:  &Error{Code: CodeInternal, Message: "the payload was accepted, but could not be applied, and was set aside; the server's log says why"},
		Body: e.Body,
	})
}

// Replay puts a payload that the inspector shows into the inbox once more, as a
// message of its own that happens now. It is for people who may edit: neither
// origin nor proof of identity are asked for. Errors are those of ParsePayload,
// CodeNotFound, CodeInvalid for one whose text is not here whole, and
// CodeUnavailable.
func (g *Gateway) Replay(ctx context.Context, w WorkspaceID, id int64) error {
	in, err := g.store.Inspection(ctx, w, id)
	if err != nil {
		return err
	}
	d := &in.Detail
	switch {
	case d.Payload == "":
		return Errorf(CodeInvalid, "there is no payload to replay")
	case d.Cut:
		return Errorf(CodeInvalid, "only the first %d KiB of this payload were kept; it can't be replayed", maxInspectedPayload>>10)
	}
	body, err := asNewMessage(d.Payload)
	if err != nil {
		return err
	}
	p, warnings, err := ParsePayload(body)
	if err != nil {
		return err
	}
	e := &Entry{At: g.clock(), WorkspaceID: w, Body: body, Payload: p}
	e.setWarnings(g.checkAttributes(ctx, w, p, warnings))
	if err := g.intake.Append(ctx, e); err != nil {
		g.refused(w, e.At, Refusal{Err: err, Body: body})
		return err
	}
	return nil
}

// asNewMessage returns a payload with a message id of its own and without the time
// at which it happened.
func asNewMessage(text string) ([]byte, error) {
	if err := checkJSON([]byte(text)); err != nil {
		return nil, invalidJSON(err)
	}
	if s := trimSpace([]byte(text)); len(s) == 0 || s[0] != '{' {
		return nil, Errorf(CodeInvalidPayload, "send one JSON object with the keys of window.civchat")
	}
	id, err := uuid.NewV7()
	if err != nil {
		return nil, &Error{Code: CodeInternal, Message: "no message id could be made", Err: err}
	}
	envelope := "{}"
	rest := withoutMembers(text, func(name string) bool { return name == "$" })
	for nameTok, value := range members(text) {
		if name, _ := unquote(nameTok); name == "$" && value.kind() == '{' {
			envelope = value.text // the last one counts
		}
	}
	envelope = withoutMembers(envelope, func(name string) bool { return name == "id" || name == "at" })
	b := []byte(rest[:len(rest)-1])
	if rest != "{}" {
		b = append(b, ',')
	}
	b = strconv.AppendQuote(append(b, `"$":{"id":`...), id.String())
	if envelope != "{}" {
		b = append(b, ',')
	}
	return append(append(b, envelope[1:]...), '}'), nil
}
