package inbox_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"civgate/gateway/inbox"
)

// childEnv names the child that this test binary is to be instead of running
// tests, dirEnv the folder for it.
const (
	childEnv   = "CIVGATE_INBOX_CHILD"
	dirEnv     = "CIVGATE_INBOX_DIR"
	appliedEnv = "CIVGATE_INBOX_APPLIED"
)

// children are what the test binary can be, each by its name; they return the
// exit code.
var children = map[string]func(dir string) error{"append": appendForever}

func runChild(name string) int {
	if err := children[name](os.Getenv(dirEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// child prepares the test binary to run as a child.
func child(t *testing.T, name, dir string, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), append(env, childEnv+"="+name, dirEnv+"="+dir)...)
	cmd.Stderr = os.Stderr
	return cmd
}

// appendForever appends, and applies half of what it reads, until it is killed.
// It prints "a <seq> <body>" for each entry that was acknowledged, and
// "d <seq>" before it tells the inbox that all up to seq is applied.
func appendForever(dir string) error {
	applied, err := strconv.ParseInt(os.Getenv(appliedEnv), 10, 64)
	if err != nil {
		return err
	}
	ctx := context.Background()
	f, err := inbox.Open(ctx, dir, applied, inbox.Options{SegmentBytes: 100 << 10, QueueEntries: 50})
	if err != nil {
		return err
	}
	var mu sync.Mutex
	errs := make(chan error)
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				e := entry(fmt.Sprintf("%d-%d-%d%s", os.Getpid(), c, i, strings.Repeat("x", i%700)))
				if err := f.Append(ctx, e); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Printf("a %d %s\n", e.Seq, e.Body)
				mu.Unlock()
			}
		}()
	}
	go func() {
		for {
			entries, err := f.Next(ctx, 1+rand.IntN(100))
			if err != nil {
				errs <- err
				return
			}
			seq := entries[len(entries)/2].Seq
			mu.Lock()
			fmt.Printf("d %d\n", seq)
			mu.Unlock()
			f.Applied(seq)
		}
	}()
	return <-errs
}

func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acknowledged := map[int64]string{}
	var applied int64
	for round := range 12 {
		cmd := child(t, "append", dir, fmt.Sprintf("%s=%d", appliedEnv, applied))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		var timer *time.Timer
		for n := 0; ; n++ {
			line, err := lines.ReadString('\n')
			if err == io.EOF {
				break // what was cut off was not acknowledged to anybody
			}
			if err != nil {
				t.Fatal(err)
			}
			fields := strings.Fields(line)
			seq, err := strconv.ParseInt(fields[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			switch fields[0] {
			case "a":
				if was, ok := acknowledged[seq]; ok {
					t.Fatalf("round %d: seq %d was given to %s and to %s", round, seq, was, fields[2])
				}
				acknowledged[seq] = fields[2]
			case "d":
				applied = max(applied, seq)
			}
			if n == 0 {
				timer = time.AfterFunc(rand.N(150*time.Millisecond), func() { _ = cmd.Process.Kill() })
			}
		}
		if timer == nil {
			t.Fatalf("round %d: the child ended by itself: %v", round, cmd.Wait())
		}
		timer.Stop()
		_ = cmd.Wait() // it was killed
		checkCopy(t, round, dir, applied, acknowledged)
	}
	if len(acknowledged) == 0 || applied == 0 {
		t.Fatalf("nothing was tested: %d acknowledged, applied up to %d", len(acknowledged), applied)
	}
}

// checkCopy opens a copy of an inbox that was killed and checks that all that
// was acknowledged and not applied is there, once and in order. The original
// stays as the kill left it.
func checkCopy(t *testing.T, round int, dir string, applied int64, acknowledged map[int64]string) {
	t.Helper()
	copied := t.TempDir()
	if err := os.CopyFS(filepath.Join(copied, "inbox"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	f := open(t, filepath.Join(copied, "inbox"), applied, inbox.Options{})
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	n := int(f.Pending())
	got := map[int64]string{}
	for i, e := range take(t, f, n, 64) {
		if e.Seq != applied+1+int64(i) {
			t.Fatalf("round %d: seq %d at place %d after %d", round, e.Seq, i, applied)
		}
		got[e.Seq] = string(e.Body)
	}
	for seq, body := range acknowledged {
		if seq > applied && got[seq] != body {
			t.Fatalf("round %d: entry %d is %q, acknowledged was %q", round, seq, got[seq], body)
		}
	}
	wantNone(t, f)
}
