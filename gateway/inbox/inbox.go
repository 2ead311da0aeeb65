package inbox

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"civgate/gateway"
)

var _ gateway.Inbox = (*File)(nil)

// Options bound what an inbox may hold. Zero fields take the defaults.
type Options struct {
	// MaxPending is how many entries may wait to be applied; 500,000 by default.
	MaxPending int64
	// MaxBytes is how many bytes of entries may wait to be applied, counted in
	// steps of 64 KiB; 512 MiB by default.
	MaxBytes int64
	// QueueEntries and QueueBytes bound what is kept in memory for Next, 32,768
	// entries and 64 MiB by default; what exceeds them is read back from disk.
	QueueEntries int
	QueueBytes   int64
	// SegmentBytes is the size from which a segment is left for a new one; 8 MiB
	// by default. The folder holds about two segments more than what is pending.
	SegmentBytes int64
}

func (o Options) withDefaults() Options {
	setDefault(&o.MaxPending, 500_000)
	setDefault(&o.MaxBytes, 512<<20)
	setDefault(&o.QueueEntries, 32768)
	setDefault(&o.QueueBytes, 64<<20)
	setDefault(&o.SegmentBytes, 8<<20)
	return o
}

func setDefault[T int | int64](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// File is an inbox in SQLite files of its own. Open makes one.
type File struct {
	dir  string
	opts Options
	lock *flock.Flock

	mu      sync.Mutex
	closed  bool
	broken  error      // why the last commit failed, nil if it didn't
	failed  time.Time  // when it did
	probing *probing   // the look at the disk under way, nil if there is none
	arrived *sync.Cond // a group was added to groups, or closed was set

	// Append: groups wait to be committed, the last one still takes more.
	groups       []*group
	crowd        crowd // entries in groups, and in the one being committed
	waitingBytes int64
	last         int64      // last acknowledged entry
	segments     []*segment // oldest first
	active       *segment   // the last of segments, nil after it failed; set by the committer

	// Applied: what is pending, oldest first, in steps.
	applied      int64
	pending      int64
	pendingBytes int64
	steps        []step

	// Next: first what is on disk up to onDisk, then memory, then again what is
	// on disk, see handOver.
	next     int64
	onDisk   int64
	memory   []*gateway.Entry
	memBytes int64
	memOpen  bool          // new entries follow those in memory without a gap
	ready    chan struct{} // holds one signal: last or closed changed
	reading  chan struct{} // held by the one Next that runs
	reader   reader        // of whoever holds reading

	preparing sync.Mutex // held while a segment is prepared or started
	prepared  bool       // the next segment only lacks its name

	// Of the committer alone.
	buf []byte

	trash     []*segment    // to be removed, oldest first
	chores    chan struct{} // holds one signal: there is something for the janitor
	closing   chan struct{} // closed by Close
	committed chan struct{} // closed when the committer has ended
	stop      chan struct{} // closed when the janitor has to end
	cleaned   chan struct{} // closed when the janitor has ended
	probes    sync.WaitGroup
	closeOnce sync.Once
	closeErr  error
}

// step is a run of pending entries.
type step struct {
	first, last, bytes int64
}

// stepBytes is the size from which entries start a new step.
const stepBytes = 64 << 10

// Open opens the inbox in the folder dir, which it makes if it is missing, and
// takes up what an earlier run left there. The entries up to applied are known
// to be applied: they are deleted and never handed out again, and the first new
// entry comes after applied and after all that the folder holds.
//
// It is an error if another process has the inbox open, if the folder can't be
// written, or if a file is damaged, of another program or of a newer format; it
// then names the file.
func Open(ctx context.Context, dir string, applied int64, opts Options) (*File, error) {
	if err := makeDir(dir); err != nil {
		return nil, fmt.Errorf("make inbox folder: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "inbox.lock"), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock inbox folder %s: %w", dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("inbox folder %s is in use by another process", dir)
	}
	applied = max(applied, 0)
	f := &File{
		dir:       dir,
		opts:      opts.withDefaults(),
		lock:      lock,
		applied:   applied,
		last:      applied,
		ready:     make(chan struct{}, 1),
		crowd:     newCrowd(),
		reading:   make(chan struct{}, 1),
		chores:    make(chan struct{}, 1),
		closing:   make(chan struct{}),
		committed: make(chan struct{}),
		stop:      make(chan struct{}),
		cleaned:   make(chan struct{}),
	}
	f.arrived = sync.NewCond(&f.mu)
	err = f.load(ctx)
	if err == nil {
		err = f.rotate()
	}
	if err != nil {
		for _, s := range f.segments {
			_ = s.close()
		}
		return nil, errors.Join(err, lock.Close())
	}
	f.next, f.onDisk = applied+1, f.last
	f.memOpen = true
	go f.commitLoop()
	go f.cleanLoop()
	return f, nil
}

// makeDir makes the folder, durably, if it is missing.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// load opens the segments of earlier runs and deletes what is of no use.
func (f *File) load(ctx context.Context) error {
	names, err := os.ReadDir(f.dir)
	if err != nil {
		return err
	}
	var old []*segment
	for _, entry := range names {
		name := entry.Name()
		for _, sidecar := range sidecars {
			name = strings.TrimSuffix(name, sidecar)
		}
		path := filepath.Join(f.dir, name)
		seq, ok := parseSegmentName(name)
		switch {
		case name == newName, name == spareName, name == probeName:
			err = removeFiles(path)
		case ok && name == entry.Name():
			old = append(old, &segment{path: path, first: seq, last: seq - 1})
		case ok:
			// Without its database a log is what a removal left behind.
			if _, statErr := os.Lstat(path); errors.Is(statErr, os.ErrNotExist) {
				err = removeFiles(path)
			}
		}
		if err != nil {
			return fmt.Errorf("clean inbox folder: %w", err)
		}
	}
	// os.ReadDir sorts by name, and the names sort by number.
	for i, s := range old {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := int64(math.MaxInt64)
		if i+1 < len(old) {
			end = old[i+1].first
		}
		batches, err := s.openOld(f.applied, end)
		if err != nil {
			return errors.Join(err, s.close())
		}
		// In this order: a file that is deleted before an older one could no
		// longer void the end of that.
		if len(batches) == 0 {
			if err := s.remove(0); err != nil {
				return fmt.Errorf("clean inbox folder: %w", err)
			}
			continue
		}
		for _, b := range batches {
			f.addPending(b)
		}
		s.last = batches[len(batches)-1].last
		f.last = s.last
		f.segments = append(f.segments, s)
	}
	return syncDir(f.dir)
}

// addPending counts a batch as pending. The caller holds mu.
func (f *File) addPending(b batchInfo) {
	f.pending += b.last - b.first + 1
	f.pendingBytes += b.bytes
	if n := len(f.steps); n > 0 {
		if s := &f.steps[n-1]; s.bytes < stepBytes && s.last+1 == b.first {
			s.last = b.last
			s.bytes += b.bytes
			return
		}
	}
	f.steps = append(f.steps, step(b))
}

// Applied tells that all entries up to seq are applied for good. They are no
// longer pending, Next skips them, and their files are deleted in the
// background once all in them is applied. After Close it does nothing: the next
// Open will be told.
func (f *File) Applied(seq int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seq = min(seq, f.last)
	if f.closed || seq <= f.applied {
		return
	}
	f.applied = seq
	done := 0
	for i := range f.steps {
		s := &f.steps[i]
		if s.last > seq {
			if s.first <= seq {
				f.pending -= seq + 1 - s.first
				s.first = seq + 1
			}
			break
		}
		f.pending -= s.last + 1 - s.first
		f.pendingBytes -= s.bytes
		done++
	}
	f.steps = slices.Delete(f.steps, 0, done)
	f.skipTo(seq + 1)
	f.trim()
}

// trim gives all segments without pending entries to the janitor, but for the
// active one, and for an empty one: only rotate may free its name. The caller
// holds mu.
func (f *File) trim() {
	n := 0
	for n < len(f.segments) && f.segments[n].last <= f.applied &&
		f.segments[n] != f.active && !f.segments[n].empty() {
		n++
	}
	if n == 0 {
		return
	}
	f.trash = append(f.trash, f.segments[:n]...)
	f.segments = slices.Delete(f.segments, 0, n)
	signal(f.chores)
}

// cleanLoop is the janitor: it does what Append and Applied need not wait for.
func (f *File) cleanLoop() {
	defer close(f.cleaned)
	for {
		select {
		case <-f.chores:
			f.clean()
			f.prepare()
		case <-f.stop:
			f.clean()
			return
		}
	}
}

// prepare makes the next segment ready. If that fails, then the one who needs it
// will see.
func (f *File) prepare() {
	f.preparing.Lock()
	defer f.preparing.Unlock()
	if !f.prepared {
		f.prepared = prepareSegment(f.dir) == nil
	}
}

// clean removes the segments in trash up to the first that resists; the next
// call tries again.
func (f *File) clean() {
	for {
		f.mu.Lock()
		if len(f.trash) == 0 {
			f.mu.Unlock()
			return
		}
		s := f.trash[0]
		f.mu.Unlock()
		if s.remove(2*f.opts.SegmentBytes) != nil {
			return
		}
		f.mu.Lock()
		f.trash = f.trash[1:]
		f.mu.Unlock()
	}
}

// Pending is how many entries are acknowledged and not applied.
func (f *File) Pending() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pending
}

// Check returns nil if Append would take an entry now: the inbox has room, and
// its last commit went well; or it failed longer than doubt ago, and a file of the
// size of a segment's first log pages can be made durable since. It writes only
// after a commit that failed, and waits for the disk until ctx ends: then it is a
// CodeUnavailable as well.
func (f *File) Check(ctx context.Context) error {
	f.mu.Lock()
	full := f.pending+int64(f.crowd.size) >= f.opts.MaxPending || f.pendingBytes+f.waitingBytes >= f.opts.MaxBytes
	closed, broken := f.closed, f.broken
	var p *probing
	if !closed && !full && broken != nil && time.Since(f.failed) >= doubt {
		if p = f.probing; p == nil {
			p = f.startProbe()
		}
	}
	f.mu.Unlock()
	switch {
	case closed:
		return errClosed()
	case full:
		return errFull()
	case broken == nil:
		return nil
	case p == nil:
		return errBroken(broken)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		return errBroken(fmt.Errorf("the disk doesn't answer: %w", ctx.Err()))
	}
	if p.err != nil {
		return errBroken(p.err)
	}
	return nil
}

// doubt is for how long after a commit that failed a disk that takes a small file
// proves nothing: it may fail for some writes only, such as the larger ones, and
// those who send should learn of it from a node that is not ready. A commit that
// goes well ends it.
const doubt = 3 * time.Second

// probing is a look at the disk. There is one at a time, however many ask and
// whether they still wait for it: a disk that hangs must not gather goroutines.
type probing struct {
	done chan struct{} // closed when err is set
	err  error
}

// startProbe starts a look at the disk, which Close waits for. The caller holds
// mu, and the inbox is not closed.
func (f *File) startProbe() *probing {
	p, failed := &probing{done: make(chan struct{})}, f.failed
	f.probing = p
	f.probes.Go(func() {
		p.err = probe(f.dir)
		f.mu.Lock()
		f.probing = nil
		if p.err == nil && f.failed.Equal(failed) { // no commit failed meanwhile
			f.broken = nil
		}
		f.mu.Unlock()
		close(p.done)
	})
	return p
}

// errBroken is what Check says of a disk that can't be written to.
func errBroken(err error) error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the inbox can't store anything", RetryAfter: retryAfter, Err: err}
}

// probe makes and removes a small file, durably, as the next segment would be.
func probe(dir string) (err error) {
	path := filepath.Join(dir, probeName)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(make([]byte, 64<<10))
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close(), os.Remove(path))
}

// Close commits what waits in Append, refuses all later calls, stops the
// inbox's goroutines and closes its files. What is not applied stays for the
// next Open. With much of that pending SQLite tidies each file, which takes
// about as long as copying it.
func (f *File) Close() error {
	f.closeOnce.Do(func() { f.closeErr = f.shutDown() })
	return f.closeErr
}

func (f *File) shutDown() error {
	f.mu.Lock()
	f.closed = true
	f.arrived.Signal()
	f.mu.Unlock()
	close(f.closing)
	<-f.committed
	f.probes.Wait()
	f.reading <- struct{}{} // waits for Next, for good
	err := f.reader.close()

	f.mu.Lock()
	f.active = nil
	f.trim()
	f.mu.Unlock()
	close(f.stop)
	<-f.cleaned
	for _, name := range []string{newName, spareName} {
		err = errors.Join(err, removeFiles(filepath.Join(f.dir, name)))
	}
	for _, s := range slices.Concat(f.trash, f.segments) {
		if s.empty() {
			_ = s.remove(0) // the next Open would do it
		} else {
			err = errors.Join(err, s.close())
		}
	}
	return errors.Join(err, f.lock.Close())
}

// signal puts a signal into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// errClosed is what calls after Close get.
func errClosed() error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "the server is stopping, try again", RetryAfter: retryAfter}
}

// errFull is what Append answers while too much is pending.
func errFull() error {
	return &gateway.Error{Code: gateway.CodeUnavailable, Message: "too much is waiting to be stored, try again later", RetryAfter: retryAfter}
}

// retryAfter is what callers are told to wait: long enough for a batch to be
// applied or a disk to be cleared a little, short enough to be back soon.
const retryAfter = 2 * time.Second
