package cache

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// settleTime is for how long a key may not change hands between nodes: what two
// of them write within it is a conflict, and a tombstone stands as long.
const settleTime = 5 * time.Second

// register is the value of one key: a contact's id under an identifier, a
// fingerprint under a contact, or a tombstone.
type register struct {
	value uint64
	gone  bool   // a tombstone: nothing is known
	node  uint32 // who wrote it
	at    int64  // when, in Unix milliseconds of its clock
}

const registerSize = 1 + 8 + 4 + 8

func (g register) encode() []byte {
	b := make([]byte, 0, registerSize)
	kind := byte('=')
	if g.gone {
		kind = '-'
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, g.value)
	b = binary.BigEndian.AppendUint32(b, g.node)
	return binary.BigEndian.AppendUint64(b, uint64(g.at))
}

// decodeRegister returns ok false for what is no register: somebody else's key.
func decodeRegister(s string) (g register, ok bool) {
	if len(s) != registerSize || s[0] != '=' && s[0] != '-' {
		return g, false
	}
	b := []byte(s)
	return register{
		gone:  b[0] == '-',
		value: binary.BigEndian.Uint64(b[1:]),
		node:  binary.BigEndian.Uint32(b[9:]),
		at:    int64(binary.BigEndian.Uint64(b[13:])),
	}, true
}

// key is the thing's key in Redis. What stands between the braces decides on
// the Cluster's node; it is the thing's own.
func (r *Redis) key(t *thing) string {
	b := make([]byte, 0, len(r.opt.Prefix)+32+len(t.ref.Value))
	b = append(b, r.opt.Prefix...)
	if !t.isRef() {
		b = append(b, "contact:{"...)
		b = strconv.AppendInt(b, int64(t.contact.w), 10)
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(t.contact.id), 10)
		return string(append(b, '}'))
	}
	b = append(b, "id:{"...)
	b = strconv.AppendInt(b, int64(t.ref.WorkspaceID), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, uint64(t.ref.Kind), 10)
	b = append(b, ':')
	b = append(b, t.ref.Value...)
	return string(append(b, '}'))
}

// question is one key that is asked for.
type question struct {
	thing thing
	mark  uint32 // the layer's, from before the question
	reply string // "" if there was none
}

func (r *Redis) ask(t thing) *question {
	// The mark comes first: a change that is told before the answer is there must
	// be seen to come between.
	return &question{thing: t, mark: r.local.mark(&t).Load()}
}

// maxGet is how many keys one command asks for.
const maxGet = 256

// get puts the questions in one pipeline. What fails has no reply.
func (r *Redis) get(ctx context.Context, qs []*question) {
	if r.cluster { // where keys of one command must be in one slot
		cmds := make([]redis.Cmder, len(qs))
		for i, q := range qs {
			cmds[i] = redis.NewStringCmd(ctx, "get", r.key(&q.thing))
		}
		_ = r.do(ctx, cmds) // what got no answer says so itself
		for i, c := range cmds {
			qs[i].reply = c.(*redis.StringCmd).Val()
		}
		return
	}
	cmds := make([]redis.Cmder, 0, len(qs)/maxGet+1)
	for part := range slices.Chunk(qs, maxGet) {
		args := make([]any, 1, 1+len(part))
		args[0] = "mget"
		for _, q := range part {
			args = append(args, r.key(&q.thing))
		}
		cmds = append(cmds, redis.NewSliceCmd(ctx, args...))
	}
	_ = r.do(ctx, cmds)
	for i, c := range cmds {
		for j, v := range c.(*redis.SliceCmd).Val() {
			qs[i*maxGet+j].reply, _ = v.(string)
		}
	}
}

// answer returns what Redis said and keeps it in the layer.
func (r *Redis) answer(q *question) (uint64, bool) {
	g, ok := decodeRegister(q.reply)
	if !ok || g.gone {
		return 0, false
	}
	r.local.fill(&q.thing, g.value, q.mark)
	return g.value, true
}

// believesLocal reports whether the process's own layer counts: while it is
// told what others change, and while it is all there is.
func (r *Redis) believesLocal() bool { return r.subscribed.Load() || !r.circuit.closed() }

// Identities implements gateway.Cache. What the process doesn't know is asked
// of Redis in one pipelined round trip, and in a second one for the fingerprints
// of contacts that the first one found and the process doesn't know.
func (r *Redis) Identities(ctx context.Context, refs []gateway.Ref, out []gateway.Identity) {
	var hits, misses uint64
	var open []int // of refs, that the process can't answer
	local := r.believesLocal()
	for i, ref := range refs {
		out[i] = gateway.Identity{}
		if ref.Value == "" {
			continue
		}
		if local {
			if id, ok := r.local.refs.GetIfPresent(ref); ok {
				out[i].ContactID = id // and a zero fingerprint until that is known
				if fp, ok := r.local.contacts.GetIfPresent(contact{ref.WorkspaceID, id}); ok {
					out[i].Fingerprint = fp
					hits++
					continue
				}
			}
		}
		open = append(open, i)
	}
	r.counts.localHits.Add(hits)
	if len(open) == 0 {
		return
	}
	found := uint64(0)
	if r.circuit.closed() {
		found = r.identities(ctx, refs, out, open, local)
	} else {
		for _, i := range open {
			out[i] = gateway.Identity{}
		}
	}
	misses = uint64(len(open)) - found
	r.counts.redisHits.Add(found)
	r.counts.misses.Add(misses)
}

// identities answers the open ones of refs from Redis; where the process knows
// the contact already, out holds it. It returns how many it found.
func (r *Redis) identities(ctx context.Context, refs []gateway.Ref, out []gateway.Identity, open []int, local bool) (found uint64) {
	ctx, cancel := r.bound(ctx, 2*len(open))
	defer cancel()

	byRef := make(map[gateway.Ref]*question, len(open))
	byContact := make(map[contact]*question)
	var first, second []*question
	for _, i := range open {
		ref := refs[i]
		if id := out[i].ContactID; id != 0 {
			c := contact{ref.WorkspaceID, id}
			if byContact[c] == nil {
				byContact[c] = r.ask(contactThing(c))
				first = append(first, byContact[c])
			}
		} else if byRef[ref] == nil {
			byRef[ref] = r.ask(refThing(ref))
			first = append(first, byRef[ref])
		}
	}
	r.get(ctx, first)

	contacts := make(map[contact]uint64, len(byContact))
	for c, q := range byContact {
		if fp, ok := r.answer(q); ok {
			contacts[c] = fp
		}
	}
	named := make(map[gateway.Ref]gateway.ContactID, len(byRef))
	for ref, q := range byRef {
		id, ok := r.answer(q)
		if !ok || id == 0 {
			continue
		}
		named[ref] = gateway.ContactID(id)
		c := contact{ref.WorkspaceID, gateway.ContactID(id)}
		if byContact[c] != nil {
			continue // asked, if not answered
		}
		if _, ok := contacts[c]; ok {
			continue
		}
		if local {
			if fp, ok := r.local.contacts.GetIfPresent(c); ok {
				contacts[c] = fp
				continue
			}
		}
		byContact[c] = r.ask(contactThing(c))
		second = append(second, byContact[c])
	}
	if len(second) > 0 {
		r.get(ctx, second)
		for _, q := range second {
			if fp, ok := r.answer(q); ok {
				contacts[q.thing.contact] = fp
			}
		}
	}

	for _, i := range open {
		id := out[i].ContactID
		if id == 0 {
			id = named[refs[i]]
		}
		out[i] = gateway.Identity{}
		if fp, ok := contacts[contact{refs[i].WorkspaceID, id}]; ok && id != 0 {
			out[i] = gateway.Identity{ContactID: id, Fingerprint: fp}
			found++
		}
	}
	return found
}

// write is one key that is to be replaced.
type write struct {
	thing thing
	value uint64
	cmd   *redis.StringCmd
}

// Remember implements gateway.Cache. It writes through in one pipeline, and
// tells the other nodes.
func (r *Redis) Remember(ctx context.Context, refs []gateway.Ref, ids []gateway.Identity) {
	writes := make([]*write, 0, 2*len(refs))
	place := make(map[thing]int, 2*len(refs))
	put := func(t thing, value uint64) {
		if i, ok := place[t]; ok {
			writes[i].value = value // what is said last counts
			return
		}
		place[t] = len(writes)
		writes = append(writes, &write{thing: t, value: value})
	}
	for i, ref := range refs {
		if ref.Value != "" && ids[i].ContactID != 0 {
			put(refThing(ref), uint64(ids[i].ContactID))
			put(contactThing(contact{ref.WorkspaceID, ids[i].ContactID}), ids[i].Fingerprint)
		}
	}
	if len(writes) == 0 {
		return
	}
	things := make([]thing, len(writes))
	for i, w := range writes {
		things[i] = w.thing
	}
	if !r.circuit.closed() {
		r.alone(writes, things)
		return
	}

	ctx, cancel := r.bound(ctx, len(writes))
	defer cancel()
	now := time.Now()
	noted := r.local.note(things)
	cmds := make([]redis.Cmder, len(writes))
	for i, w := range writes {
		g := register{value: w.value, node: r.node, at: now.UnixMilli()}
		w.cmd = redis.NewStringCmd(ctx, "set", r.key(&w.thing), g.encode(), "px", r.opt.Expiry.Milliseconds(), "get")
		cmds[i] = w.cmd
	}
	if err := r.do(ctx, cmds); err != nil {
		// Some may have been written; who knows. None may be believed.
		r.alone(writes, things)
		return
	}
	noted.advance()
	var doubted []thing
	for _, w := range writes {
		switch old, err := w.cmd.Result(); {
		case refused(err):
			r.counts.refused.Add(1)
			doubted = append(doubted, w.thing)
			noted.fill(&w.thing, w.value)
		case conflicts(old, w.value, r.node, now):
			r.counts.conflicts.Add(1)
			doubted = append(doubted, w.thing)
			r.local.remove(&w.thing)
		default:
			noted.fill(&w.thing, w.value)
		}
	}
	if r.bury(ctx, doubted) != nil || r.tell(ctx, things) != nil {
		r.owe(things)
	}
}

// conflicts reports whether a key had something else in it that another node
// wrote just now.
func conflicts(old string, value uint64, node uint32, now time.Time) bool {
	g, ok := decodeRegister(old)
	if !ok || g.node == node || !g.gone && g.value == value {
		return false
	}
	return time.UnixMilli(g.at).After(now.Add(-settleTime)) && time.UnixMilli(g.at).Before(now.Add(settleTime))
}

// alone remembers what Redis can't be told, in the process, and owes it.
func (r *Redis) alone(writes []*write, things []thing) {
	for _, w := range writes {
		r.local.set(&w.thing, w.value)
	}
	r.owe(things)
}

// Forget implements gateway.Cache.
func (r *Redis) Forget(ctx context.Context, w gateway.WorkspaceID, ids []gateway.ContactID) {
	if len(ids) == 0 {
		return
	}
	things := make([]thing, len(ids))
	for i, id := range ids {
		things[i] = contactThing(contact{w, id})
		r.local.drop(&things[i])
	}
	if !r.circuit.closed() {
		r.owe(things)
		return
	}
	ctx, cancel := r.bound(ctx, len(things))
	defer cancel()
	if r.bury(ctx, things) != nil || r.tell(ctx, things) != nil {
		r.owe(things)
	}
}

// bury puts tombstones in the place of things.
func (r *Redis) bury(ctx context.Context, things []thing) error {
	return r.buryWith(ctx, things, r.do)
}

func (r *Redis) buryWith(ctx context.Context, things []thing, do func(context.Context, []redis.Cmder) error) error {
	if len(things) == 0 {
		return nil
	}
	stone := register{gone: true, node: r.node, at: time.Now().UnixMilli()}.encode()
	cmds := make([]redis.Cmder, len(things))
	for i := range things {
		cmds[i] = redis.NewStatusCmd(ctx, "set", r.key(&things[i]), stone, "px", settleTime.Milliseconds())
	}
	if err := do(ctx, cmds); err != nil {
		return err
	}
	var deletes []redis.Cmder
	for i, c := range cmds {
		if refused(c.Err()) { // a key can go where none can come
			deletes = append(deletes, redis.NewIntCmd(ctx, "del", r.key(&things[i])))
		}
	}
	if len(deletes) == 0 {
		return nil
	}
	return do(ctx, deletes)
}
