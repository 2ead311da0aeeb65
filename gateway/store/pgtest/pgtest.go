//go:build unix

// Package pgtest starts real PostgreSQL servers for the tests of any package. It
// is imported by tests only.
//
// It owns the server processes and their folders, and the making of empty
// databases. Schemas and what is in them are the tests' own business.
//
// Decisions
//
//   - The server comes from the binaries of the machine (PATH, then
//     /usr/lib/postgresql/*/bin, the newest), in a new cluster below the folder for
//     temporary files, and listens on 127.0.0.1 alone. PostgreSQL does not run as
//     root: there it runs as the user postgres, or nobody.
//   - fsync is off: what a test kills is the server, not the machine. Benchmarks
//     turn it on.
//   - The cluster's locale is C.UTF-8 and its time zone is not UTC, so that what
//     leans on either shows.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds the wait for a server to start or to stop.
const startTimeout = 60 * time.Second

// maxConnections is the server's bound: many tests run at once, each with a pool
// or two.
const maxConnections = 400

// Server is a PostgreSQL server of the tests' own. Its methods may be called by
// one goroutine at a time, URL and Log by any.
type Server struct {
	bin      string // folder of the binaries
	dir      string // folder of the cluster
	port     int
	settings []string
	command  *exec.Cmd // nil while the server is down
	made     atomic.Int64
}

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Shared returns the one server that all tests of a package use, each with
// databases of its own (NewDatabase). The package's TestMain must call Stop.
// Without PostgreSQL the test is skipped, or fails where CIVGATE_TEST_REQUIRE
// names postgres.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = start(nil) })
	return need(t, shared.server, shared.err)
}

// Stop stops the server of Shared and removes its files, if there is one.
func Stop() {
	if shared.server != nil {
		_ = shared.server.remove() // nothing is left that could care
	}
}

// Start returns a server for one test, which may stop and kill it; it is removed
// when the test ends. Settings are lines of postgresql.conf ("fsync=on"). It is
// skipped and fails as Shared does.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := start(settings)
	need(t, s, err)
	t.Cleanup(func() {
		if err := s.remove(); err != nil {
			t.Errorf("remove the PostgreSQL server: %v", err)
		}
	})
	return s
}

func need(t testing.TB, s *Server, err error) *Server {
	t.Helper()
	if errors.Is(err, exec.ErrNotFound) {
		if slices.Contains(strings.Split(os.Getenv("CIVGATE_TEST_REQUIRE"), ","), "postgres") {
			t.Fatalf("postgres is required: %v", err)
		}
		t.Skipf("no PostgreSQL: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// binaries finds the folder of initdb and postgres.
func binaries() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if _, err := os.Stat(filepath.Join(filepath.Dir(path), "initdb")); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("postgres: %w", exec.ErrNotFound)
	}
	newest := slices.MaxFunc(found, func(a, b string) int {
		if len(a) != len(b) { // 9 before 15
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return filepath.Dir(newest), nil
}

func start(settings []string) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, dir: dir, settings: settings}
	if err := s.init(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.run(); err != nil {
		return nil, errors.Join(err, s.remove())
	}
	return s, nil
}

func (s *Server) data() string    { return filepath.Join(s.dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// init makes the cluster.
func (s *Server) init() error {
	if err := handOver(s.dir); err != nil {
		return err
	}
	command := exec.Command(filepath.Join(s.bin, "initdb"), "--no-sync", "--auth=trust", "--username=civgate",
		"--encoding=UTF8", "--locale=C.UTF-8", "--pgdata", s.data())
	command.Dir, command.SysProcAttr = s.dir, processAttributes()
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	// Another process may take the port before the server does; Start would say so.
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	return l.Close()
}

// run starts the server and waits until it takes connections.
func (s *Server) run() error {
	log, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the server has its own
	args := []string{"-D", s.data(), "-p", fmt.Sprint(s.port), "-k", s.dir, "-c", "listen_addresses=127.0.0.1",
		"-c", fmt.Sprint("max_connections=", maxConnections), "-c", "fsync=off", "-c", "timezone=Asia/Tokyo", "-c", "log_lock_waits=on", "-c", "deadlock_timeout=500ms"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	command := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	// Files, and not pipes: those would need goroutines to be read.
	command.Dir, command.Stdout, command.Stderr, command.SysProcAttr = s.dir, log, log, processAttributes()
	if err := command.Start(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	s.command = command
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for {
		err := ping(ctx, s.URL("postgres"))
		if err == nil {
			return nil
		}
		if !alive(command.Process) || ctx.Err() != nil {
			return fmt.Errorf("postgres does not take connections: %w\n%s", err, s.Log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func ping(ctx context.Context, url string) error {
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return c.Close(ctx)
}

// URL is that of a database of the server, with parameters ("a=b") behind it.
func (s *Server) URL(database string, parameters ...string) string {
	u := url.URL{Scheme: "postgres", User: url.User("civgate"), Host: fmt.Sprintf("127.0.0.1:%d", s.port), Path: "/" + database,
		RawQuery: strings.Join(append([]string{"sslmode=disable"}, parameters...), "&")}
	return u.String()
}

// NewDatabase makes an empty database and returns its URL. It goes with the
// server: dropping it would take longer than keeping it.
func (s *Server) NewDatabase(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.made.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	return s.URL(name)
}

// Exec runs statements as the server's owner in one of its databases.
func (s *Server) Exec(t testing.TB, database, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	c, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		t.Fatalf("connect to %s: %v", database, err)
	}
	defer c.Close(ctx) //nolint:errcheck // nothing is lost with it
	// CREATE DATABASE waits for a template that another is copying.
	if _, err := c.Exec(ctx, text); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// Log is all that the server has written so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(bytes.ToValidUTF8(text, []byte("?")))
}

// Stop shuts the server down as an operator does in a hurry (pg_ctl stop -m
// fast): transactions are rolled back, connections are told. Run starts it
// again.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.end(os.Interrupt); err != nil {
		t.Fatalf("stop PostgreSQL: %v", err)
	}
}

// Kill ends the server and all its processes without a word, as a crash does.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	// An immediate shutdown: every process exits at once and nothing is flushed.
	// SIGKILL would leave the children for a while, which keep the next start off.
	if err := s.end(syscall.SIGQUIT); err != nil {
		t.Fatalf("kill PostgreSQL: %v", err)
	}
}

// Run starts a server that was stopped or killed, on the same port.
func (s *Server) Run(t testing.TB) {
	t.Helper()
	if s.command != nil {
		t.Fatal("PostgreSQL is running")
	}
	if err := s.run(); err != nil {
		t.Fatal(err)
	}
}

// Restart is Stop and Run.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.Run(t)
}

// Pause keeps the server from answering, connections stay; the function it
// returns lets it go on.
func (s *Server) Pause(t testing.TB) (resume func()) {
	t.Helper()
	pids := s.processes()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGSTOP) // one that has ended answers no more
	}
	return func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// end sends a signal and waits for the server to end; one that does not is
// killed.
func (s *Server) end(signal os.Signal) error {
	if s.command == nil {
		return nil
	}
	process := s.command.Process
	if err := process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	late := time.AfterFunc(startTimeout, func() { _ = process.Kill() })
	defer late.Stop()
	err := s.command.Wait()
	s.command = nil
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil // how it ended is the test's doing
	}
	return err
}

// remove stops the server and deletes its files.
func (s *Server) remove() error {
	return errors.Join(s.end(syscall.SIGQUIT), os.RemoveAll(s.dir))
}
