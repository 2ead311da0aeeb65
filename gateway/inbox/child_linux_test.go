package inbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/inbox"
)

func init() {
	children["full"] = fillDisk
	children["limit"] = limitFiles
	children["readonly"] = readOnly
	children["descriptors"] = limitDescriptors
}

// errNoMount says that the child may not mount a small disk for itself.
var errNoMount = errors.New("may not mount a file system")

func TestDiskFull(t *testing.T) {
	t.Parallel()
	runMountTest(t, "full")
}

func TestReadOnlyFolder(t *testing.T) {
	t.Parallel()
	runMountTest(t, "readonly")
}

func TestNoDescriptors(t *testing.T) {
	t.Parallel()
	runChildTest(t, child(t, "descriptors", t.TempDir()))
}

// runMountTest runs a child that may mount file systems.
func runMountTest(t *testing.T, name string) {
	t.Helper()
	cmd := child(t, name, t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	}
	runChildTest(t, cmd)
}

func TestFileLimit(t *testing.T) {
	t.Parallel()
	runChildTest(t, child(t, "limit", t.TempDir()))
}

func runChildTest(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	if strings.Contains(stderr.String(), errNoMount.Error()) || errors.Is(err, syscall.EPERM) {
		t.Skip("a small file system can't be mounted here:", err, stderr.String())
	}
	if err != nil {
		t.Fatal(err, stderr.String())
	}
}

// fillDisk checks an inbox on a disk that gets full, first with entries, then
// with other things.
func fillDisk(dir string) error {
	if err := mount(dir, 0); err != nil {
		return err
	}
	p := &probe{dir: filepath.Join(dir, "inbox"), opts: inbox.Options{SegmentBytes: 200 << 10, QueueEntries: 10}}
	if err := p.open(); err != nil {
		return err
	}
	junk := filepath.Join(dir, "junk")
	steps := []struct {
		name string
		run  func() error
	}{
		{"fill with entries", p.appendUntilRefused},
		{"still full", p.appendRefused},
		{"says so", p.checkRefused},
		{"read back", p.readAll},
		{"apply", func() error { p.start = p.last; p.f.Applied(p.last); return nil }},
		{"says that it can go on", p.checkSoon},
		{"recover", p.appendSoon},
		{"fill with junk", func() error {
			if err := os.WriteFile(junk, make([]byte, 4<<20), 0o600); !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("junk fits: %w", err)
			}
			return p.appendUntilRefused()
		}},
		{"says so again", p.checkRefused},
		{"close on a full disk", func() error { return p.f.Close() }},
		{"remove junk", func() error { return os.Remove(junk) }},
		{"reopen", p.open},
		{"recover again", p.appendSoon},
		{"finish", p.finish},
	}
	for _, s := range steps {
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// mount puts a file system of 2 MiB on dir, not to be seen outside of this
// process.
func mount(dir string, flags uintptr) error {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: %w", errNoMount, err)
	}
	if err := syscall.Mount("civgate", dir, "tmpfs", flags, "size=2m"); err != nil {
		return fmt.Errorf("%w: %w", errNoMount, err)
	}
	return nil
}

// readOnly checks that a folder that can't be written is refused at once, and
// that it is fit for use afterwards.
func readOnly(dir string) error {
	if err := mount(dir, syscall.MS_RDONLY); err != nil {
		return err
	}
	p := &probe{dir: dir}
	if err := p.open(); err == nil || !strings.Contains(err.Error(), dir) {
		return fmt.Errorf("open a read-only folder: %w", err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=2m"); err != nil {
		return err
	}
	if err := p.open(); err != nil {
		return err
	}
	return p.finish()
}

// limitFiles checks an inbox whose files may not grow for a while.
func limitFiles(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	p := &probe{dir: dir}
	limit := func(n uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: ^uint64(0)})
	}
	steps := []struct {
		name string
		run  func() error
	}{
		{"open", p.open},
		{"append", func() error { return p.append(3) }},
		{"limit", func() error { return limit(1 << 10) }},
		{"refuse", p.appendRefused},
		{"refuse again", p.appendRefused},
		{"limit the log alone", func() error { return limit(64 << 10) }},
		{"go on in new files", func() error {
			for range 50 {
				if err := p.append(2); err != nil {
					return err
				}
			}
			return nil
		}},
		// Large commits fail, and a file of 64 KiB does not.
		{"refuse what is large", func() error {
			if err := p.append(60); gateway.CodeOf(err) != gateway.CodeUnavailable {
				return fmt.Errorf("a large append: %w", err)
			}
			return nil
		}},
		{"say so", p.checkRefused},
		{"take what is small", func() error { return p.append(1) }},
		{"say that it can", func() error { return p.f.Check(context.Background()) }},
		{"refuse what is large again", func() error {
			if err := p.append(60); gateway.CodeOf(err) != gateway.CodeUnavailable {
				return fmt.Errorf("a large append: %w", err)
			}
			return nil
		}},
		{"hang", p.checkHanging},
		{"lift", func() error { return limit(^uint64(0)) }},
		{"finish", p.finish},
	}
	for _, s := range steps {
		if err := s.run(); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// limitDescriptors checks an inbox that for a while can't open files, although
// it wants a new one for every commit.
func limitDescriptors(dir string) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	setLimit := func(n uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: limit.Max})
	}
	p := &probe{dir: dir, opts: inbox.Options{SegmentBytes: 1}}
	if err := p.open(); err != nil {
		return err
	}
	refused := 0
	for range 20 {
		if err := p.append(2); err != nil {
			return err
		}
		if err := setLimit(3); err != nil {
			return err
		}
		for range 3 {
			if err := p.append(2); err != nil {
				refused++
				if gateway.CodeOf(err) != gateway.CodeUnavailable {
					return err
				}
			}
		}
		if err := setLimit(limit.Cur); err != nil {
			return err
		}
	}
	if refused == 0 {
		return errors.New("no append was refused")
	}
	return p.finish()
}

// probe is an inbox and what it must hold.
type probe struct {
	dir   string
	opts  inbox.Options
	f     *inbox.File
	start int64 // applied when it was opened
	read  int64 // returned by Next
	last  int64
	n     int // of entries tried
	want  map[int64]string
}

func (p *probe) open() (err error) {
	if p.want == nil {
		p.want = map[int64]string{}
	}
	p.f, err = inbox.Open(context.Background(), p.dir, p.start, p.opts)
	p.read = p.start
	return err
}

// append appends n entries in one call.
func (p *probe) append(n int) error {
	entries := make([]*gateway.Entry, n)
	for i := range entries {
		p.n++
		entries[i] = entry(fmt.Sprintf("%d %s", p.n, strings.Repeat("x", 2000)))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.f.Append(ctx, entries...); err != nil {
		return err
	}
	for _, e := range entries {
		p.last++
		if e.Seq != p.last {
			return fmt.Errorf("seq %d, want %d", e.Seq, p.last)
		}
		p.want[e.Seq] = string(e.Body)
	}
	return nil
}

// appendRefused wants the refusal of a call.
func (p *probe) appendRefused() error {
	err := p.append(3)
	var e *gateway.Error
	if !errors.As(err, &e) || e.Code != gateway.CodeUnavailable || e.RetryAfter <= 0 || e.Err == nil {
		return fmt.Errorf("append to a full disk: %w", err)
	}
	return nil
}

// appendUntilRefused fills what room there is. A refusal may give back a little
// of it, so it takes some in a row.
func (p *probe) appendUntilRefused() error {
	refused := 0
	for range 10_000 {
		if p.append(3) == nil {
			refused = 0
		} else if refused++; refused == 5 {
			return p.appendRefused()
		}
	}
	return errors.New("the disk does not get full")
}

// appendSoon wants appends to work again, at the latest when what is applied
// was removed in the background.
func (p *probe) appendSoon() (err error) {
	for range 1000 {
		if err = p.append(3); err == nil {
			return p.append(5)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// checkRefused wants that the inbox knows that it can't take anything.
func (p *probe) checkRefused() error {
	if err := p.f.Check(context.Background()); gateway.CodeOf(err) != gateway.CodeUnavailable {
		return fmt.Errorf("Check says %v", err)
	}
	return nil
}

// checkSoon wants that the inbox finds out that it can take something again,
// without being given anything.
func (p *probe) checkSoon() (err error) {
	for range 4000 {
		if err = p.f.Check(context.Background()); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return err
}

// checkHanging wants that a disk that doesn't answer keeps nobody longer than
// they want to wait, and that a later look finds it mended. A pipe that nobody
// reads is such a disk.
func (p *probe) checkHanging() error {
	pipe := filepath.Join(p.dir, "inbox.probe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		return err
	}
	for n := 0; n < 3; {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		err := p.f.Check(ctx)
		cancel()
		if gateway.CodeOf(err) != gateway.CodeUnavailable {
			return fmt.Errorf("Check of a disk that hangs says %v", err)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			n++
		}
		time.Sleep(5 * time.Millisecond)
	}
	r, err := os.Open(pipe)
	if err != nil {
		return err
	}
	defer r.Close()
	return p.checkSoon()
}

// readAll reads all that Next has left, and wants just what was acknowledged.
func (p *probe) readAll() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for p.read < p.last {
		entries, err := p.f.Next(ctx, 7)
		if err != nil {
			return err
		}
		for _, e := range entries {
			p.read++
			if e.Seq != p.read || string(e.Body) != p.want[e.Seq] {
				return fmt.Errorf("entry %d is %.20q, want %d %.20q", e.Seq, e.Body, p.read, p.want[p.read])
			}
		}
	}
	ctx, cancel = context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if entries, err := p.f.Next(ctx, 7); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("next after the last: %d entries, %w", len(entries), err)
	}
	return nil
}

// finish checks that the inbox works, and what is left of it after a restart.
func (p *probe) finish() error {
	if err := p.append(4); err != nil {
		return err
	}
	for range 2 {
		if err := p.readAll(); err != nil {
			return err
		}
		if err := p.f.Close(); err != nil {
			return err
		}
		if err := p.open(); err != nil {
			return err
		}
	}
	return p.f.Close()
}
