package gateway

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
)

// maxBatch is how many payloads are applied in one transaction at most. Larger
// batches are cheaper a payload (more rows fall on a page that is written
// anyway) and hold the writer longer.
const maxBatch = 8192

// The pauses between attempts to apply a batch while the store can't.
const (
	minPause = 20 * time.Millisecond
	maxPause = time.Second
)

// maxConflicts is how often a batch is applied that somebody else's work is in
// the way of. What is still in the way then will always be.
const maxConflicts = 4

// Run applies the inbox until ctx ends; a batch that is under way is finished
// first. It returns ctx.Err() and nothing else: while the inbox can't be read or
// the store is unavailable it keeps trying and loses nothing.
func (g *Gateway) Run(ctx context.Context) error { return g.RunShard(ctx, g.node, g.inbox) }

// RunShard is Run for a part of the intake, whose position the store keeps under
// the name. Several may run at once; one batch at a time is applied.
func (g *Gateway) RunShard(ctx context.Context, name string, inbox Inbox) error {
	s := &shard{gateway: g, name: name, inbox: inbox}
	defer s.settled()
	var pace pace
	for {
		entries, err := inbox.Next(ctx, maxBatch)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			// The inbox gives out the same entries when they can be read again.
			g.log.Error("reading the inbox", zap.Error(err))
			g.waiting.LoadOrStore(name, wait{since: g.now(), unread: inbox})
			if !sleep(ctx, maxPause) {
				return ctx.Err()
			}
			continue
		}
		g.waiting.Store(name, wait{since: entries[0].At})
		if err := s.applyAll(ctx, entries); err != nil {
			return err
		}
		s.settled()
		if d := pace.rest(len(entries), time.Now()); d > 0 && !sleep(ctx, d) {
			return ctx.Err()
		}
	}
}

// shard is an inbox, or a part of one, with the name under which the store keeps
// how far it is applied.
type shard struct {
	gateway *Gateway
	name    string
	inbox   Inbox
}

// settled tells Lag and Check that nothing of the shard waits to be applied.
func (s *shard) settled() {
	s.gateway.waiting.Delete(s.name)
	s.gateway.failing.Delete(s.name)
}

// A commit costs the same for one payload and for many that fall on the same
// pages, so while payloads come fast the applier lets them gather to goodBatch,
// as long as that takes no longer than maxRest. Below slowRate there is nothing
// to gain, and each payload is applied at once.
const (
	goodBatch = 4096
	maxRest   = 200 * time.Millisecond
	slowRate  = 200 // payloads a second
)

// pace decides how long the applier rests between batches. Its zero value is
// ready.
type pace struct {
	last time.Time // when the batch before was done
}

// rest returns how long to wait for more after a batch of n payloads that was
// done at now.
func (p *pace) rest(n int, now time.Time) time.Duration {
	since := now.Sub(p.last)
	p.last = now
	if n >= goodBatch || since <= 0 {
		return 0 // there is more than enough
	}
	rate := float64(n) / since.Seconds()
	if rate < slowRate {
		return 0
	}
	return min(maxRest, time.Duration(goodBatch/rate*float64(time.Second)))
}

// applyAll applies entries for good: it waits out a store that is unavailable
// and sets aside what can't be applied at all. It fails only when ctx ends.
func (s *shard) applyAll(ctx context.Context, entries []*Entry) error {
	g := s.gateway
	pause, conflicts := minPause, 0
	for first := true; ; first = false {
		err := s.apply(context.WithoutCancel(ctx), entries)
		if err == nil {
			if !first {
				g.log.Info("the store takes payloads again", zap.Int("batch", len(entries)))
			}
			return nil
		}
		code := CodeOf(err)
		g.observe.Retried(code)
		switch code {
		case CodeUnavailable:
			g.failing.Store(s.name, err)
		case CodeConflict:
			if conflicts++; conflicts == maxConflicts {
				return s.applyApart(ctx, entries, err)
			}
		default:
			return s.applyApart(ctx, entries, err)
		}
		if first {
			g.log.Warn("the store can't take payloads; they wait in the inbox", zap.Error(err))
		}
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, maxPause)
	}
}

// applyApart halves a batch that fails for good until the entries at fault
// stand alone, and quarantines those.
func (s *shard) applyApart(ctx context.Context, entries []*Entry, cause error) error {
	g := s.gateway
	if n := len(entries); n > 1 {
		if err := s.applyAll(ctx, entries[:n/2]); err != nil {
			return err
		}
		return s.applyAll(ctx, entries[n/2:])
	}
	e := entries[0]
	g.log.Error("a payload can't be applied and is set aside", zap.Int64("seq", e.Seq), zap.Int64("workspace", int64(e.WorkspaceID)), zap.Error(cause))
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := g.store.Update(context.WithoutCancel(ctx), func(tx Tx) error {
			if done, err := tx.InboxPosition(s.name); err != nil || done >= e.Seq {
				return err // another node was here
			}
			q := Quarantined{At: e.At, Body: e.Body, Reason: cause.Error()}
			if err := tx.Save(e.WorkspaceID, &Changes{Quarantine: []Quarantined{q}}); err != nil {
				return err
			}
			return tx.SetInboxPosition(s.name, e.Seq)
		})
		if err == nil {
			s.inbox.Applied(e.Seq)
			g.announce()
			g.setAside(e)
			return nil
		}
		g.log.Error("setting a payload aside", zap.Int64("seq", e.Seq), zap.Error(err))
		g.failing.Store(s.name, err)
		if !sleep(ctx, pause) {
			return ctx.Err()
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// outcome is what a batch leaves for after its commit.
type outcome struct {
	refs    []Ref
	ids     []Identity
	gone    map[WorkspaceID][]ContactID
	oldDefs map[WorkspaceID]definitions
	newDefs map[WorkspaceID]map[DefKey]*AttributeDef
	seen    map[WorkspaceID]*observation
}

// Apply applies entries, which follow each other in the inbox, in one
// transaction together with the inbox position. On an error nothing of them is
// applied.
func (g *Gateway) Apply(ctx context.Context, entries []*Entry) error {
	return (&shard{gateway: g, name: g.node, inbox: g.inbox}).apply(ctx, entries)
}

func (s *shard) apply(ctx context.Context, entries []*Entry) (err error) {
	g := s.gateway
	if len(entries) == 0 {
		return nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic while applying: %v\n%s", r, debug.Stack())
		}
	}()
	g.applying.Lock()
	defer g.applying.Unlock()

	groups, err := g.group(ctx, entries)
	if err != nil {
		return err
	}
	for i := range groups {
		gr := &groups[i]
		gr.sample = g.inspector.sample(gr.workspace.ID, len(gr.entries))
	}
	last := entries[len(entries)-1].Seq
	start := time.Now()
	var out outcome
	err = g.store.Update(ctx, func(tx Tx) error {
		out = outcome{
			gone:    make(map[WorkspaceID][]ContactID),
			oldDefs: make(map[WorkspaceID]definitions),
			newDefs: make(map[WorkspaceID]map[DefKey]*AttributeDef),
			seen:    make(map[WorkspaceID]*observation, len(groups)),
		}
		// A commit whose answer was lost may have gone through all the same.
		done, err := tx.InboxPosition(s.name)
		if err != nil || done >= last {
			return err
		}
		for i := range groups {
			if err := g.applyGroup(ctx, tx, groups[i].after(done), &out); err != nil {
				return err
			}
		}
		return tx.SetInboxPosition(s.name, last)
	})
	if err != nil {
		g.distrust(ctx, err, groups, &out)
		return err
	}
	for w, ids := range out.gone {
		g.cache.Forget(ctx, w, ids)
	}
	g.cache.Remember(ctx, out.refs, out.ids)
	for w, fresh := range out.newDefs {
		g.publishDefs(w, out.oldDefs[w], fresh)
	}
	s.inbox.Applied(last)
	g.names.applied.Add(int64(len(entries)))
	g.announce()
	for w, o := range out.seen {
		g.inspector.applied(w, o.notes, o.others)
	}
	g.observe.Applied(len(entries), time.Since(start), g.now().Sub(entries[0].At))
	return nil
}

// distrust drops what is remembered of a batch that failed: what is in its way
// may be newer than what is known here, and a commit whose answer was lost may
// have gone through all the same.
func (g *Gateway) distrust(ctx context.Context, err error, groups []group, out *outcome) {
	if CodeOf(err) == CodeConflict {
		for i := range groups {
			g.defs.Delete(groups[i].workspace.ID)
		}
	}
	for i, r := range out.refs {
		out.gone[r.WorkspaceID] = append(out.gone[r.WorkspaceID], out.ids[i].ContactID)
	}
	for w, ids := range out.gone {
		g.cache.Forget(ctx, w, ids)
	}
}

// group is the part of a batch that belongs to one workspace, in order.
type group struct {
	workspace *Workspace
	entries   []*Entry
	sample    int // how many of them the inspector notes
}

// after is the part of a group behind seq.
func (gr *group) after(seq int64) *group {
	n, _ := slices.BinarySearchFunc(gr.entries, seq+1, func(e *Entry, seq int64) int { return cmp.Compare(e.Seq, seq) })
	return &group{workspace: gr.workspace, entries: gr.entries[n:], sample: gr.sample}
}

// group parses what came back from disk and splits the batch by workspace, in
// the order in which a transaction may take them.
func (g *Gateway) group(ctx context.Context, entries []*Entry) ([]group, error) {
	var groups []group
	index := make(map[WorkspaceID]int, 1)
	for _, e := range entries {
		if e.Payload == nil {
			p, _, err := ParsePayload(e.Body)
			if err != nil {
				return nil, fmt.Errorf("parse accepted payload %d: %v", e.Seq, err)
			}
			e.Payload = p
		}
		i, ok := index[e.WorkspaceID]
		if !ok {
			w, err := g.workspaces.byWorkspaceID(ctx, e.WorkspaceID)
			if err != nil {
				return nil, err
			}
			i = len(groups)
			index[e.WorkspaceID] = i
			groups = append(groups, group{workspace: w, entries: make([]*Entry, 0, len(entries))})
		}
		groups[i].entries = append(groups[i].entries, e)
	}
	slices.SortFunc(groups, func(a, b group) int { return cmp.Compare(a.workspace.ID, b.workspace.ID) })
	return groups, nil
}

// applyGroup applies one workspace's part of a batch inside tx.
func (g *Gateway) applyGroup(ctx context.Context, tx Tx, gr *group, out *outcome) error {
	w := gr.workspace.ID
	entries, repeats, err := claim(tx, gr)
	if err != nil {
		return err
	}
	seen := observe(gr.sample, entries, repeats)
	out.seen[w] = seen
	if len(entries) == 0 {
		return nil
	}
	defs, err := g.attributeDefs(ctx, w)
	if err != nil {
		return err
	}
	known, err := g.lookUp(ctx, tx, w, entries, defs.dropped)
	if err != nil {
		return err
	}
	var refs Refs
	rule := g.assignRule(gr.workspace)
	slow := 0
	own := false
	for i, e := range entries {
		if known[i] == 0 {
			refsOf(&refs, e.Payload, rule)
			own = own || needsOwnCompanies(e.Payload)
			slow++
		}
	}
	products := productsOf(entries, &refs)
	ws := newWorkset(tx, gr.workspace, rule, defs, slow)
	if slow > 0 || len(products) > 0 {
		if err := ws.load(refs); err != nil {
			return fmt.Errorf("load %d payloads' state: %w", slow, err)
		}
	}
	// An unchanged payload of a contact that others in the batch may change has
	// to take its turn among them.
	for slow > 0 {
		refs = Refs{}
		more := 0
		for i, e := range entries {
			if known[i] != 0 && ws.contacts[known[i]] != nil {
				known[i] = 0
				refsOf(&refs, e.Payload, rule)
				own = own || needsOwnCompanies(e.Payload)
				more++
			}
		}
		if more == 0 {
			break
		}
		slow += more
		if err := ws.load(refs); err != nil {
			return fmt.Errorf("load %d payloads' state: %w", more, err)
		}
	}
	if own {
		if err := ws.loadOwnCompanies(); err != nil {
			return fmt.Errorf("load the contacts' companies: %w", err)
		}
	}

	contacts := make([]*Contact, len(entries))
	for i, e := range entries {
		if known[i] != 0 {
			ws.addHistory(known[i], e)
			seen.unchanged(i, e, known[i])
		} else {
			ws.trace = seen.trace(i)
			if contacts[i], err = ws.apply(e); err != nil {
				return fmt.Errorf("apply payload %d: %w", e.Seq, err)
			}
			seen.applied(ws.trace, e, contacts[i])
		}
		if p := products[i]; p != nil && (known[i] != 0 || contacts[i] != nil) {
			if err := ws.applyProduct(p, e.At); err != nil {
				return fmt.Errorf("apply the product of payload %d: %w", e.Seq, err)
			}
		}
	}
	if err := g.defsStillNew(tx, w, ws.newDefs); err != nil {
		return err
	}
	changes := ws.diff()
	if err := tx.InheritLists(w, changes.Merges); err != nil {
		return fmt.Errorf("inherit lists: %w", err)
	}
	if err := tx.Save(w, changes); err != nil {
		return fmt.Errorf("save %d payloads: %w", len(entries), err)
	}

	// What outlives the batch is cloned: a payload's strings hold on to its body.
	for i, e := range entries {
		if c := contacts[i]; c != nil && c.MergedInto == 0 {
			id := Identity{ContactID: c.ID, Fingerprint: c.Fingerprint}
			if e.Payload.Key != "" && ws.byKey[e.Payload.Key] == c.ID {
				out.refs = append(out.refs, Ref{w, RefKey, strings.Clone(e.Payload.Key)})
				out.ids = append(out.ids, id)
			} else if e.Payload.Key == "" && e.Payload.CustomID != "" {
				out.refs = append(out.refs, Ref{w, RefCustomID, strings.Clone(e.Payload.CustomID)})
				out.ids = append(out.ids, id)
			} else {
				// Nothing here to remember it by, but others may.
				out.gone[w] = append(out.gone[w], c.ID)
			}
		}
	}
	if len(ws.keyless) > 0 {
		out.gone[w] = append(out.gone[w], ws.keyless...)
	}
	for _, m := range changes.Merges {
		out.gone[w] = append(out.gone[w], m.LoserID)
	}
	if len(ws.newDefs) > 0 {
		out.oldDefs[w], out.newDefs[w] = defs, ws.newDefs
	}
	return nil
}

// defsStillNew looks whether another process defined one of the attributes
// meanwhile, and then is a CodeConflict: the batch has to be worked out anew, with
// the types that count.
func (g *Gateway) defsStillNew(tx Tx, w WorkspaceID, fresh map[DefKey]*AttributeDef) error {
	if len(fresh) == 0 {
		return nil
	}
	l, err := tx.Load(w, Refs{Defs: true})
	if err != nil {
		return fmt.Errorf("load the attributes' definitions: %w", err)
	}
	for i := range l.Defs {
		if d := &l.Defs[i]; fresh[DefKey{d.Entity, d.Name}] != nil {
			return Errorf(CodeConflict, "another process defined the attribute %s meanwhile", d.Name)
		}
	}
	return nil
}

// claim takes out the messages that have been applied before, or twice in this
// batch: the same id has no second effect.
func claim(tx Tx, gr *group) (entries, repeated []*Entry, err error) {
	entries = make([]*Entry, 0, len(gr.entries))
	ids := make([]MessageID, 0, len(gr.entries))
	seen := make(map[MessageID]struct{}, len(gr.entries))
	for _, e := range gr.entries {
		id := e.Payload.Message
		if id != (MessageID{}) {
			if _, twice := seen[id]; twice {
				repeated = append(repeated, e)
				continue
			}
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
		entries = append(entries, e)
	}
	if len(ids) == 0 {
		return entries, repeated, nil
	}
	repeats, err := tx.ClaimMessages(gr.workspace.ID, ids, gr.entries[len(gr.entries)-1].At)
	if err != nil {
		return nil, nil, fmt.Errorf("claim %d messages: %w", len(ids), err)
	}
	if len(repeats) == 0 {
		return entries, repeated, nil
	}
	kept := entries[:0]
	for _, e := range entries {
		if repeats[e.Payload.Message] {
			repeated = append(repeated, e)
		} else {
			kept = append(kept, e)
		}
	}
	return kept, repeated, nil
}

// lookUp finds the payloads that say nothing new, and returns their contacts; 0
// for a payload that has to be applied. The cache proposes, tx decides.
func (g *Gateway) lookUp(ctx context.Context, tx Tx, w WorkspaceID, entries []*Entry, dropped int64) ([]ContactID, error) {
	refs := make([]Ref, len(entries))
	for i, e := range entries {
		switch p := e.Payload; {
		case p.Key != "":
			refs[i] = Ref{w, RefKey, p.Key}
		case p.CustomID != "":
			refs[i] = Ref{w, RefCustomID, p.CustomID}
		}
	}
	ids := make([]Identity, len(entries))
	g.cache.Identities(ctx, refs, ids)
	saysNothing := func(i int) bool {
		p := entries[i].Payload
		return ids[i].ContactID != 0 && (ids[i].Fingerprint == p.fingerprint(dropped) || p.Key != "" && p.silent())
	}
	for i := range ids {
		if !saysNothing(i) {
			ids[i] = Identity{} // it will be loaded anyway
		}
	}
	if err := tx.Confirm(w, refs, ids); err != nil {
		return nil, fmt.Errorf("confirm what is known of %d payloads: %w", len(refs), err)
	}
	known := make([]ContactID, len(entries))
	for i := range ids {
		if saysNothing(i) {
			known[i] = ids[i].ContactID
		}
	}
	return known, nil
}

// silent reports whether the payload says nothing of contact and companies.
func (p *Payload) silent() bool {
	return p.CustomID == "" && p.EmailKey == "" && !p.EmailNull && len(p.Attributes) == 0 && len(p.Companies) == 0 && !p.CompaniesNull
}

// Forget deletes what has served its time: message ids older than 7 days. It
// does a bounded piece of work and is meant to be called every few seconds.
func (g *Gateway) Forget(ctx context.Context) error {
	// In small steps, so that no batch waits long for its turn. Together they keep
	// up with a gateway that takes 20,000 payloads a second, at a call every 10.
	for range 10 {
		if _, err := g.store.ForgetMessages(ctx, g.clock().Add(-messageMemory), 20_000); err != nil {
			return fmt.Errorf("forget old message ids: %w", err)
		}
	}
	return nil
}

// messageMemory is for how long a repeated message id has no effect.
const messageMemory = 7 * 24 * time.Hour
