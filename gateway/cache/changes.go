package cache

import (
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// A message on the channel names things that changed: the sender's node id (4
// bytes), then for each thing a byte that says what it is, the workspace, and
// the contact's id or the length and the bytes of the identifier; numbers as
// varints.
const (
	isContact byte = iota
	isRef          // plus the gateway.RefKind
)

// maxMessage is the size, in bytes, at which a message is closed and the next
// one begun.
const maxMessage = 64 << 10

func encodeChanges(node uint32, things []thing) (messages [][]byte) {
	var b []byte
	for i := range things {
		if b == nil {
			b = binary.BigEndian.AppendUint32(make([]byte, 0, min(maxMessage, 24*len(things))), node)
		}
		if t := &things[i]; t.isRef() {
			b = append(b, isRef+byte(t.ref.Kind))
			b = binary.AppendVarint(b, int64(t.ref.WorkspaceID))
			b = binary.AppendUvarint(b, uint64(len(t.ref.Value)))
			b = append(b, t.ref.Value...)
		} else {
			b = append(b, isContact)
			b = binary.AppendVarint(b, int64(t.contact.w))
			b = binary.AppendVarint(b, int64(t.contact.id))
		}
		if len(b) >= maxMessage || i == len(things)-1 {
			messages = append(messages, b)
			b = nil
		}
	}
	return messages
}

var errMessage = errors.New("a message that is no list of changes")

// decodeChanges calls each for the things that a message names, until it is
// malformed.
func decodeChanges(s string, each func(t *thing)) (node uint32, err error) {
	if len(s) < 4 {
		return 0, errMessage
	}
	b := []byte(s)
	node, b = binary.BigEndian.Uint32(b), b[4:]
	number := func() int64 {
		n, size := binary.Varint(b)
		if size <= 0 {
			b, err = nil, errMessage
			return 0
		}
		b = b[size:]
		return n
	}
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		t := thing{}
		if w := gateway.WorkspaceID(number()); kind == isContact {
			t.contact = contact{w, gateway.ContactID(number())}
		} else {
			n, size := binary.Uvarint(b)
			if size <= 0 || n == 0 || n > uint64(len(b)-size) {
				return node, errMessage
			}
			t.ref = gateway.Ref{WorkspaceID: w, Kind: gateway.RefKind(kind - isRef), Value: string(b[size : size+int(n)])}
			b = b[size+int(n):]
		}
		if err != nil {
			return node, err
		}
		each(&t)
	}
	return node, nil
}

// tell makes all other nodes not believe what they have of things.
func (r *Redis) tell(ctx context.Context, things []thing) error {
	return r.tellWith(ctx, things, r.do)
}

func (r *Redis) tellWith(ctx context.Context, things []thing, do func(context.Context, []redis.Cmder) error) error {
	messages := encodeChanges(r.node, things)
	cmds := make([]redis.Cmder, len(messages))
	for i, m := range messages {
		cmds[i] = redis.NewIntCmd(ctx, "publish", r.channel, m)
	}
	return do(ctx, cmds)
}

// hear drops what a message of another node names.
func (r *Redis) hear(message string) {
	node, n := uint32(0), uint64(0)
	if len(message) >= 4 {
		node = binary.BigEndian.Uint32([]byte(message))
	}
	if node == r.node {
		return
	}
	_, err := decodeChanges(message, func(t *thing) {
		r.local.drop(t)
		n++
	})
	r.counts.invalidations.Add(n)
	if err != nil { // a newer civgate's perhaps: it means something that we can't know
		r.dropLocal()
	}
}

func (r *Redis) dropLocal() {
	r.local.clear()
	r.counts.dropped.Add(1)
}

// The listener's pauses: between attempts to subscribe, and between pings. A
// connection that says nothing for two pings is dead.
const (
	listenPause = 200 * time.Millisecond
	listenPing  = 400 * time.Millisecond
)

// listen keeps the subscription until Close.
func (r *Redis) listen() {
	for r.run.Err() == nil {
		r.hearAll()
		select {
		case <-r.run.Done():
		case <-time.After(listenPause):
		}
	}
}

// hearAll subscribes and hears until the subscription is lost.
func (r *Redis) hearAll() {
	s := r.client.Subscribe(r.run)
	var pinger sync.WaitGroup
	ctx, cancel := context.WithCancel(r.run)
	defer func() {
		r.subscribed.Store(false)
		cancel()
		pinger.Wait() // it closes s
	}()
	var heard atomic.Bool
	heard.Store(true)
	pinger.Go(func() {
		// Reading has no time-out of its own, which could strike in the middle of a
		// message. Closing ends it.
		defer func() { _ = s.Close() }()
		t := time.NewTicker(listenPing)
		defer t.Stop()
		for silent := 0; silent < 2; {
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
			if silent++; heard.Swap(false) {
				silent = 0
			}
			if r.subscribed.Load() && s.Ping(ctx) != nil {
				return
			}
		}
	})
	first, stop := r.bound(ctx, 1)
	err := s.Subscribe(first, r.channel)
	stop()
	if err != nil {
		return
	}
	for {
		m, err := s.Receive(ctx)
		if err != nil {
			return
		}
		heard.Store(true)
		switch m := m.(type) {
		case *redis.Subscription:
			// Nobody knows what was said before.
			r.dropLocal()
			r.subscribed.Store(true)
		case *redis.Message:
			r.hear(m.Payload)
		case *redis.Pong:
		}
	}
}

// maxOwed is how many keys are kept in mind while Redis can't be told that they
// changed; some 100 bytes each.
const maxOwed = 1 << 16

// debt is what changed and Redis couldn't be told.
type debt struct {
	mu     sync.Mutex
	things map[thing]struct{}
}

func (d *debt) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.things)
}

// add returns how many things there was no room for.
func (d *debt) add(things []thing) (over uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.things == nil {
		d.things = make(map[thing]struct{})
	}
	for _, t := range things {
		if _, ok := d.things[t]; ok {
			continue
		}
		if len(d.things) >= maxOwed {
			over++
			continue
		}
		t.ref.Value = strings.Clone(t.ref.Value)
		d.things[t] = struct{}{}
	}
	return over
}

// take removes up to n things and returns them.
func (d *debt) take(n int) []thing {
	d.mu.Lock()
	defer d.mu.Unlock()
	things := make([]thing, 0, min(n, len(d.things)))
	for t := range d.things {
		if len(things) == n {
			break
		}
		delete(d.things, t)
		things = append(things, t)
	}
	return things
}

func (r *Redis) owe(things []thing) { r.counts.owing.Add(r.debt.add(things)) }

// settle tells Redis and the others what is owed, whether the circuit is open
// or not. On an error the rest is still owed.
func (r *Redis) settle() error {
	for {
		if err := r.run.Err(); err != nil {
			return err
		}
		things := r.debt.take(maxPipeline)
		if len(things) == 0 {
			return nil
		}
		ctx, cancel := r.bound(r.run, maxPipeline)
		err := r.buryWith(ctx, things, r.send)
		if err == nil {
			err = r.tellWith(ctx, things, r.send)
		}
		cancel()
		if err != nil {
			r.owe(things)
			return err
		}
		// What this node set while it was alone may have come after another's word.
		for i := range things {
			r.local.drop(&things[i])
		}
	}
}
