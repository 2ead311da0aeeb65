package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// runner is the user as whom the server runs, nil for the test's own.
func runner() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			continue
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			continue
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	return nil // initdb says what is wrong
}

// processAttributes are those of the server's processes: another user than root,
// and an end (fast shutdown) with the test, whatever ended it.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: runner(), Pdeathsig: syscall.SIGINT, Setpgid: true}
}

// handOver gives a folder to the user as whom the server runs.
func handOver(dir string) error {
	if c := runner(); c != nil {
		return os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return nil
}

// alive reports whether a child that nobody has waited for still runs.
func alive(p *os.Process) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Pid))
	if err != nil {
		return false
	}
	_, state, _ := bytes.Cut(stat, []byte(") "))
	return len(state) > 0 && state[0] != 'Z'
}

// processes are the server's: the first one and its children.
func (s *Server) processes() (pids []int) {
	if s.command == nil {
		return nil
	}
	parent := s.command.Process.Pid
	pids = append(pids, parent)
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return pids
	}
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		var state string
		var of int
		if _, err := fmt.Sscan(string(rest), &state, &of); err != nil || of != parent {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// CPU is the processor time that the server has used since it was started, in
// steps of 10 ms; ended connections included.
func (s *Server) CPU() (total time.Duration) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
	for i, pid := range s.processes() {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it has ended, and the first one counts it
		}
		_, rest, _ := bytes.Cut(stat, []byte(") "))
		fields := strings.Fields(string(rest))
		const user, children = 11, 13 // behind the name: utime, stime, cutime, cstime
		last := children
		if i == 0 {
			last += 2
		}
		for _, field := range fields[user:min(last, len(fields))] {
			n, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return 0
			}
			total += time.Duration(n) * tick
		}
	}
	return total
}
