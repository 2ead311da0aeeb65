package inbox

import (
	"context"
	"slices"
	"time"

	"civgate/gateway"
)

// The bounds of a group: from there on a new one gathers. The entries of one
// Append stay together, so a group may be larger by one call.
const (
	groupEntries = 1024
	groupBytes   = 1 << 20
)

// maxAppendBytes is the most that one Append may bring: SQLite keeps values
// below 1,000,000,000 bytes, and a batch is copied a few times in memory.
const maxAppendBytes = 64 << 20

// group is what is committed together.
type group struct {
	entries []*gateway.Entry
	bytes   int64
	done    chan struct{} // closed when err is set
	err     error
}

// Append adds entries durably: it returns nil when all of them are on disk, in
// the order given and next to each other. Calls that come while a commit runs
// are committed together by the next one.
//
// It fails with CodeUnavailable and a RetryAfter while more is pending than
// Options allow, when the disk is full, read-only or broken, after Close, and
// when ctx ends first; in the last case alone the entries may have become
// durable, and will then be handed out. It fails with CodeTooLarge for entries
// that would never fit.
func (f *File) Append(ctx context.Context, entries ...*gateway.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return errContext(err)
	}
	var bytes int64
	for _, e := range entries {
		bytes += packedSize(e)
	}
	g, err := f.join(entries, bytes)
	if err != nil {
		return err
	}
	select {
	case <-g.done:
		return g.err
	case <-ctx.Done():
		return errContext(ctx.Err())
	}
}

// join puts entries into the group that gathers.
func (f *File) join(entries []*gateway.Entry, bytes int64) (*group, error) {
	n := int64(len(entries))
	if n > f.opts.MaxPending || bytes > min(f.opts.MaxBytes, maxAppendBytes) {
		return nil, &gateway.Error{Code: gateway.CodeTooLarge, Message: "too much in one call, send less at once"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil, errClosed()
	}
	if f.pending+int64(f.crowd.size)+n > f.opts.MaxPending || f.pendingBytes+f.waitingBytes+bytes > f.opts.MaxBytes {
		return nil, errFull()
	}
	var g *group
	if len(f.groups) > 0 {
		g = f.groups[len(f.groups)-1]
	}
	if g == nil || len(g.entries)+len(entries) > groupEntries || g.bytes+bytes > groupBytes {
		g = &group{done: make(chan struct{})}
		f.groups = append(f.groups, g)
		f.arrived.Signal()
	}
	g.entries = append(g.entries, entries...)
	g.bytes += bytes
	f.waitingBytes += bytes
	f.crowd.join(len(entries), len(f.groups[0].entries), len(f.groups) > 1)
	return g, nil
}

// commitLoop commits one group after the other until the inbox is closed and
// none waits.
func (f *File) commitLoop() {
	defer close(f.committed)
	for {
		f.mu.Lock()
		for len(f.groups) == 0 && !f.closed {
			f.arrived.Wait()
		}
		if len(f.groups) == 0 {
			f.mu.Unlock()
			return
		}
		f.brake()
		if len(f.groups) == 1 && !f.closed {
			f.crowd.wait(&f.mu, len(f.groups[0].entries), f.closing)
		}
		gather(&f.mu, func() int {
			if len(f.groups) > 1 {
				return 0
			}
			return len(f.groups[0].entries)
		})
		g := f.groups[0]
		f.groups = slices.Delete(f.groups, 0, 1)
		f.mu.Unlock()
		f.commit(g)
	}
}

// While entries come faster than they are applied, each commit is delayed: not
// at all up to brakeFrom pending entries, by maxBrake from brakeFull on. See
// Decisions.
const (
	brakeFrom = 12 << 10
	brakeFull = 32 << 10
	maxBrake  = 50 * time.Millisecond
)

// braking is for how long a commit is delayed with so much pending.
func braking(pending int64) time.Duration {
	over := min(pending, brakeFull) - brakeFrom
	return maxBrake * time.Duration(max(over, 0)) / (brakeFull - brakeFrom)
}

// delay waits for d, or until the inbox closes.
func delay(d time.Duration, closing <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-closing:
	}
}

// brake waits as long as the next commit is to be delayed. The caller holds mu.
func (f *File) brake() {
	d := braking(f.pending)
	if d == 0 || f.closed {
		return
	}
	f.mu.Unlock()
	delay(d, f.closing)
	f.mu.Lock()
}

// commit writes a group and tells those who wait for it.
func (f *File) commit(g *group) {
	f.buf = pack(f.buf[:0], g.entries)
	err := f.write(len(g.entries))
	if cap(f.buf) > 4*groupBytes {
		f.buf = nil
	}

	f.mu.Lock()
	f.crowd.leave(len(g.entries))
	f.waitingBytes -= g.bytes
	if f.broken = err; err != nil {
		f.failed = time.Now()
	} else {
		first := f.last + 1
		for i, e := range g.entries {
			e.Seq = first + int64(i)
		}
		f.last += int64(len(g.entries))
		f.active.last = f.last
		f.addPending(batchInfo{first, f.last, g.bytes})
		f.handOver(g.entries)
	}
	f.mu.Unlock()
	if err != nil {
		g.err = &gateway.Error{
			Code:       gateway.CodeUnavailable,
			Message:    "the server can't store anything at the moment, try again later",
			RetryAfter: retryAfter,
			Err:        err,
		}
	}
	close(g.done)
}

// write puts the n entries in buf behind the last one, durably. When that goes
// wrong it leaves the active segment and tries once more in a new one.
func (f *File) write(n int) error {
	if f.active == nil || f.active.size >= f.opts.SegmentBytes {
		// Whoever can't start a new segment may still have room in the old one.
		if err := f.rotate(); err != nil && f.active == nil {
			return err
		}
	}
	err := f.active.append(f.last+1, n, f.buf)
	if err == nil {
		return nil
	}
	f.leave(err)
	if f.rotate() != nil {
		return err
	}
	if err = f.active.append(f.last+1, n, f.buf); err != nil {
		f.leave(err)
	}
	return err
}

// leave stops using the active segment after an append to it failed.
func (f *File) leave(err error) {
	if !isBusy(err) {
		f.active.abandon()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active = nil
	f.trim()
}

// rotate starts a new segment behind the last entry. After an error the active
// segment stays, unless it is empty or the new one had its name already: that
// name, should it be found after a crash, voids what the older one got since.
func (f *File) rotate() error {
	if err := f.removeEmpty(); err != nil {
		return err
	}
	if f.active != nil {
		f.active.rest()
	}
	s, named, err := f.startSegment()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		if named {
			f.active = nil
			f.trim()
		}
		return err
	}
	f.segments = append(f.segments, s)
	f.active = s
	f.trim()
	signal(f.chores)
	return nil
}

// startSegment starts a segment behind the last entry, from what the janitor
// has prepared if it came to that. It says whether the segment got its name.
func (f *File) startSegment() (s *segment, named bool, err error) {
	f.preparing.Lock()
	defer f.preparing.Unlock()
	if !f.prepared {
		if err := prepareSegment(f.dir); err != nil {
			return nil, false, err
		}
	}
	f.prepared = false
	return startSegment(f.dir, f.last+1)
}

// removeEmpty removes the last segment if nothing is in it: it has the name
// that the next one is to have.
func (f *File) removeEmpty() error {
	f.mu.Lock()
	n := len(f.segments)
	if n == 0 || !f.segments[n-1].empty() {
		f.mu.Unlock()
		return nil
	}
	s := f.segments[n-1]
	f.active = nil
	f.mu.Unlock()
	if err := s.remove(0); err != nil {
		return err
	}
	f.mu.Lock()
	f.segments = f.segments[:len(f.segments)-1]
	f.mu.Unlock()
	return nil
}

// errContext is what a caller gets whose context ended.
func errContext(err error) error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the request ended before it was stored, try again", RetryAfter: retryAfter, Err: err}
}
