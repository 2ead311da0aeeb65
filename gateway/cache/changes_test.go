package cache

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
)

func things() []thing {
	return []thing{
		contactThing(contact{1, 7}),
		refThing(gateway.Ref{WorkspaceID: 1, Kind: gateway.RefKey, Value: "x"}),
		refThing(gateway.Ref{WorkspaceID: 1 << 40, Kind: gateway.RefCustomID, Value: strings.Repeat("}{ \x00\xff", 50)}),
		contactThing(contact{1 << 40, 1 << 62}),
	}
}

func decode(s string) (node uint32, ts []thing, err error) {
	node, err = decodeChanges(s, func(t *thing) { ts = append(ts, *t) })
	return node, ts, err
}

func TestChanges(t *testing.T) {
	t.Parallel()
	if m := encodeChanges(1, nil); m != nil {
		t.Errorf("nothing is %q", m)
	}
	var many []thing
	for range 5000 {
		many = append(many, things()...)
	}
	var got []thing
	messages := encodeChanges(0xDEADBEEF, many)
	for _, m := range messages {
		if len(m) > maxMessage+1024 {
			t.Errorf("a message of %d bytes", len(m))
		}
		node, ts, err := decode(string(m))
		if err != nil || node != 0xDEADBEEF {
			t.Fatalf("node %x: %v", node, err)
		}
		got = append(got, ts...)
	}
	if d := cmp.Diff(many, got, cmp.AllowUnexported(thing{}, contact{})); d != "" {
		t.Error(d)
	}
	// No part of a message passes for one, unless it ends between two things.
	whole := string(encodeChanges(1, things())[0])
	for i := range whole {
		if _, ts, err := decode(whole[:i]); err == nil && i > 3 && !strings.HasPrefix(whole, string(encode(ts))) {
			t.Errorf("the first %d bytes are %v", i, ts)
		}
	}
}

// encode is encodeChanges for what fits into one message.
func encode(ts []thing) []byte {
	if len(ts) == 0 {
		return []byte{0, 0, 0, 1}
	}
	return encodeChanges(1, ts)[0]
}

func FuzzChanges(f *testing.F) {
	f.Add("")
	f.Add("\x00\x00\x00\x01")
	f.Add("\x00\x00\x00\x01\x02\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x")
	f.Add(string(encode(things())))
	f.Fuzz(func(t *testing.T, s string) {
		node, ts, err := decode(s)
		if err != nil || len(ts) == 0 {
			return
		}
		again := make([]thing, 0, len(ts))
		for _, m := range encodeChanges(node, ts) {
			_, part, err := decode(string(m))
			if err != nil {
				t.Fatal(err)
			}
			again = append(again, part...)
		}
		if d := cmp.Diff(ts, again, cmp.AllowUnexported(thing{}, contact{})); d != "" {
			t.Error(d)
		}
	})
}

func FuzzRegister(f *testing.F) {
	f.Add(string(register{value: 7, node: 1, at: 1 << 40}.encode()))
	f.Add(string(register{gone: true, node: 1, at: -1}.encode()))
	f.Fuzz(func(t *testing.T, s string) {
		if g, ok := decodeRegister(s); ok && string(g.encode()) != s {
			t.Errorf("%q becomes %q", s, g.encode())
		}
	})
}

// TestOvertaken: an answer that comes after the change that it doesn't know is
// not kept, in whatever order the steps fall.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	ref := refThing(gateway.Ref{WorkspaceID: 1, Value: "x"})
	for name, tt := range map[string]struct {
		between func(l *layer)
		want    gateway.ContactID
	}{
		"nothing between": {func(*layer) {}, 1},
		"dropped":         {func(l *layer) { l.drop(&ref) }, 0},
		"cleared":         {func(l *layer) { l.clear() }, 0},
		"set":             {func(l *layer) { l.set(&ref, 2) }, 2},
		"written": {func(l *layer) {
			n := l.note([]thing{ref})
			n.advance()
			n.fill(&ref, 2)
		}, 2},
		"written, and overtaken itself": {func(l *layer) {
			n := l.note([]thing{ref})
			l.drop(&ref)
			n.advance()
			n.fill(&ref, 2)
		}, 0},
		"written twice": {func(l *layer) {
			n := l.note([]thing{ref, ref})
			n.advance()
			n.fill(&ref, 2)
			n.fill(&ref, 3)
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLayer(100, 0)
			at := l.mark(&ref).Load()
			tt.between(l)
			l.fill(&ref, 1, at)
			if got, _ := l.refs.GetIfPresent(ref.ref); got != tt.want {
				t.Errorf("%d is kept, want %d", got, tt.want)
			}
		})
	}
}

func TestDebtIsBounded(t *testing.T) {
	t.Parallel()
	var d debt
	all := make([]thing, maxOwed+10)
	for i := range all {
		all[i] = contactThing(contact{1, gateway.ContactID(i)})
	}
	if over := d.add(all[:maxOwed]) + d.add(all); over != 10 || d.size() != maxOwed {
		t.Errorf("%d are owed, %d forgiven", d.size(), over)
	}
	if n := len(d.take(100)); n != 100 || d.size() != maxOwed-100 {
		t.Errorf("%d taken, %d left", n, d.size())
	}
}

// TestQueueIsBounded: strangers can bring names without end.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	s := &share{now: time.Now}
	for range maxQueued + 10 {
		s.push(&bucket{queued: true, taken: 1})
	}
	last := &bucket{queued: true, taken: 1}
	s.push(last)
	if len(s.queue) != maxQueued || last.queued || last.taken != 0 {
		t.Errorf("%d names wait; the last %+v", len(s.queue), last)
	}
	if n := len(s.pop(maxShared)); n != maxShared || len(s.queue) != maxQueued-maxShared {
		t.Errorf("%d popped, %d left", n, len(s.queue))
	}
}
