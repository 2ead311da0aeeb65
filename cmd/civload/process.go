package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process names a running process by its id.
type process struct{ pid int }

// usage is what a process has used so far.
type usage struct {
	cpu      time.Duration // user and system
	resident int64         // bytes in memory now
	peak     int64         // most bytes ever in memory
}

// usage reads /proc; on a system without it, it is an error that wraps errors.ErrUnsupported.
func (p process) usage() (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(p.pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat("/proc/self/stat"); err != nil {
			return usage{}, fmt.Errorf("no /proc here: %w", errors.ErrUnsupported)
		}
	}
	if err != nil {
		return usage{}, fmt.Errorf("read process times: %w", err)
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, fmt.Errorf("read process memory: %w", err)
	}
	return parseUsage(stat, status)
}

// parseUsage reads the files stat and status of proc(5).
func parseUsage(stat, status []byte) (usage, error) {
	// The second field is the program's name in parentheses and may hold anything, so count from the last ")".
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return usage{}, errors.New("process stat file is too short")
	}
	// utime and stime are fields 14 and 15.
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return usage{}, fmt.Errorf("process times: %w", err)
	}
	u := usage{cpu: ticks(user + system)}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		var into *int64
		switch name {
		case "VmRSS":
			into = &u.resident
		case "VmHWM":
			into = &u.peak
		default:
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("process memory: %w", err)
		}
		*into = kib << 10
	}
	return u, nil
}

// machineCPU is the CPU time that all processes of this machine have used together, from /proc/stat; an error that wraps
// errors.ErrUnsupported where there is none.
func machineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("no /proc/stat here: %w: %w", errors.ErrUnsupported, err)
	}
	return parseMachineCPU(stat)
}

// parseMachineCPU reads the first line of the file stat of proc(5): ticks by kind, of which the fourth and fifth are
// idle time and the ninth and tenth are counted in the first two already.
func parseMachineCPU(stat []byte) (time.Duration, error) {
	line, _, _ := strings.Cut(string(stat), "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, errors.New("unexpected first line of /proc/stat")
	}
	var busy int64
	for i, f := range fields[1:9] {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("machine times: %w", err)
		}
		if i != 3 && i != 4 {
			busy += ticks
		}
	}
	return ticks(busy), nil
}

// ticks is a time in USER_HZ, which is 100 on every Linux that Go runs on.
func ticks(n int64) time.Duration { return time.Duration(n) * (time.Second / 100) }

// databaseCPU is the CPU time that the PostgreSQL and Redis servers of this machine have used, with that of the children
// that they have waited for.
func databaseCPU() (time.Duration, error) {
	names, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, fmt.Errorf("find the databases: %w", err)
	}
	var sum time.Duration
	for _, name := range names {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		cpu, err := parseDatabaseCPU(stat)
		if err != nil {
			return 0, err
		}
		sum += cpu
	}
	return sum, nil
}

// parseDatabaseCPU reads the file stat of proc(5): the time of the process, and of its children that have ended; 0 if it
// is no database server's.
func parseDatabaseCPU(stat []byte) (time.Duration, error) {
	_, rest, _ := strings.Cut(string(stat), "(")
	i := strings.LastIndexByte(rest, ')')
	if i < 0 || rest[:i] != "postgres" && rest[:i] != "redis-server" {
		return 0, nil
	}
	fields := strings.Fields(rest[i+1:])
	if len(fields) < 15 {
		return 0, errors.New("process stat file is too short")
	}
	var sum int64
	for _, f := range fields[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("process times: %w", err)
		}
		sum += n
	}
	return ticks(sum), nil
}

// A child is a server that this program started.
type child struct {
	process
	cmd     *exec.Cmd
	log     *os.File
	exited  chan struct{} // closed when the process has ended
	waitErr error         // valid then
}

// startChild runs a program with its output in the file log, which is created or added to.
func startChild(log, program string, env []string, args ...string) (*child, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", filepath.Base(program), err)
	}
	cmd := exec.Command(program, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, f, f
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", program, err), f.Close())
	}
	c := &child{process: process{cmd.Process.Pid}, cmd: cmd, log: f, exited: make(chan struct{})}
	go func() {
		c.waitErr = cmd.Wait()
		close(c.exited)
	}()
	return c, nil
}

// kill ends the process at once, as kill -9 does, and waits until it is gone.
func (c *child) kill() error {
	err := c.cmd.Process.Kill()
	<-c.exited
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, c.log.Close())
}

// stop asks the process to end, and waits. One that doesn't end within the time, or ends with another status than 0,
// is an error.
func (c *child) stop(limit time.Duration) error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(err, c.kill())
	}
	select {
	case <-c.exited:
		if c.waitErr != nil {
			return errors.Join(fmt.Errorf("%s after SIGTERM: %w", filepath.Base(c.cmd.Path), c.waitErr), c.log.Close())
		}
		return c.log.Close()
	case <-time.After(limit):
		return errors.Join(fmt.Errorf("%s still runs %v after SIGTERM", filepath.Base(c.cmd.Path), limit), c.kill())
	}
}

// A gateway is a civgate on a data folder of this program's making, which can be started, killed and started again.
type gateway struct {
	program   string
	addr      string // host:port, kept over restarts
	dir       string // holds data and log
	apiKey    string
	restToken string
	environ   []string // more settings
	running   *child
}

// newGateway prepares to run program below dir on a free port of the loopback interface.
func newGateway(program, dir string) (*gateway, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	return &gateway{
		program: program, addr: addr, dir: dir,
		apiKey:    "L0AD01",
		restToken: strings.Repeat("civload0", 8),
	}, nil
}

// freeAddr returns an address of the loopback interface that nobody listens on at this moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), nil
}

func (g *gateway) url() string { return "http://" + g.addr }

func (g *gateway) logFile() string { return filepath.Join(g.dir, "civgate.log") }

// start starts the program; it does not wait until it answers.
func (g *gateway) start() error {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "CIVGATE_") {
			env = append(env, e)
		}
	}
	env = append(append(env, g.environ...),
		"CIVGATE_ADDR="+g.addr,
		"CIVGATE_DATA="+filepath.Join(g.dir, "data"),
		"CIVGATE_API_KEY="+g.apiKey,
		"CIVGATE_REST_TOKEN="+g.restToken,
		"CIVGATE_LIMITS=off",
	)
	c, err := startChild(g.logFile(), g.program, env)
	if err != nil {
		return err
	}
	g.running = c
	return nil
}

// ready waits until the server answers, and returns an error when it ends instead or isn't there after a minute.
func (g *gateway) ready(ctx context.Context, t *target) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		_, err := t.health(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-g.running.exited:
			return fmt.Errorf("civgate ended by itself (%v); its log: %s", g.running.waitErr, g.logFile())
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for civgate's first answer (log: %s): %w: %w", g.logFile(), ctx.Err(), err)
		}
	}
}

// kill ends the running program like kill -9; without one it does nothing.
func (g *gateway) kill() error {
	if g.running == nil {
		return nil
	}
	c := g.running
	g.running = nil
	return c.kill()
}

// stop ends the running program in good order.
func (g *gateway) stop() error {
	c := g.running
	g.running = nil
	return c.stop(time.Minute)
}
