// Package redistest starts real Redis servers for tests: one, or a Cluster of
// six. It is imported by tests only. Servers listen on 127.0.0.1 at free ports,
// keep their files in the test's own directory and end with the test.
//
// Without a redis-server on the PATH a test is skipped, or fails where
// CIVGATE_TEST_REQUIRE names redis.
package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long a server, or a Cluster, may take to do what it was told.
const patience = 30 * time.Second

// Server is one redis-server.
type Server struct {
	Addr string // host:port; stays the same over Stop and Start

	t        testing.TB
	dir      string
	args     []string
	password string
	cmd      *exec.Cmd
	exited   chan struct{}
}

// New starts a server without persistence. More settings, or others, are given
// as on redis-server's command line, for example "--appendonly", "yes",
// "--appendfsync", "always", or "--maxmemory", "4mb", or "--requirepass", "x".
func New(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, nil, append([]string{"--save", "", "--appendonly", "no"}, args...))
}

// start starts a server with what comes before the settings on its command
// line, and the settings.
func start(t testing.TB, before, args []string) *Server {
	t.Helper()
	need(t)
	var err error
	for range 5 { // another process may take a port that was free
		s := &Server{t: t, dir: t.TempDir(), Addr: freeAddr(t)}
		s.args = append(slices.Clone(before), "--port", s.port(), "--bind", "127.0.0.1", "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log"))
		s.args = append(s.args, args...)
		if i := slices.Index(args, "--requirepass"); i >= 0 && i+1 < len(args) {
			s.password = args[i+1]
			s.args = append(s.args, "--masterauth", s.password)
		}
		if err = s.start(); err == nil {
			t.Cleanup(s.Kill)
			return s
		}
	}
	t.Fatal(err)
	return nil
}

func need(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if slices.Contains(strings.Split(os.Getenv("CIVGATE_TEST_REQUIRE"), ","), "redis") {
			t.Fatalf("redis is required: %v", err)
		}
		t.Skipf("no redis-server: %v", err)
	}
}

// freeAddr returns an address on which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func (s *Server) port() string {
	_, port, _ := net.SplitHostPort(s.Addr)
	return port
}

// URL returns the server's redis:// URL, with the password if it has one.
func (s *Server) URL() string {
	if s.password != "" {
		return "redis://:" + s.password + "@" + s.Addr
	}
	return "redis://" + s.Addr
}

// Client returns a client that is closed at the end of the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.password})
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Log returns what the server wrote to its log file.
func (s *Server) Log() string {
	b, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Start starts a server that was stopped or killed, at the same address and
// with the same files.
func (s *Server) Start() {
	s.t.Helper()
	var err error
	for range 5 {
		if err = s.start(); err == nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // the port is not free at once
	}
	s.t.Fatal(err)
}

func (s *Server) start() error {
	if s.cmd != nil {
		return errors.New("the redis-server is running")
	}
	s.cmd = exec.Command("redis-server", s.args...)
	s.cmd.SysProcAttr = withParent()
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	s.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) { // ends with the server
		_ = cmd.Wait()
		close(exited)
	}(s.cmd, s.exited)
	return s.ready()
}

// ready waits until the server answers.
func (s *Server) ready() error {
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.password, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-s.exited:
			s.cmd = nil
			return fmt.Errorf("redis-server ended at once: %s", s.Log())
		default:
		}
		var info string
		if info, err = c.Info(context.Background(), "server").Result(); err == nil {
			// It may be another test's server that took the port.
			if strings.Contains(info, "process_id:"+strconv.Itoa(s.cmd.Process.Pid)+"\r\n") {
				return nil
			}
			err = errors.New("another server is at the address")
		}
	}
	s.Kill()
	return fmt.Errorf("redis-server doesn't answer: %w: %s", err, s.Log())
}

// Stop lets the server end in good order and waits until it has.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would, and waits until it is gone. Without a
// running server it does nothing.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal os.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(signal)
	if signal != syscall.SIGKILL {
		select {
		case <-s.exited:
		case <-time.After(patience):
			s.t.Error("redis-server doesn't stop; killing it")
			_ = s.cmd.Process.Kill()
		}
	}
	<-s.exited
	s.cmd = nil
}

// Pause makes the server stop answering while its connections stay, as a
// machine that hangs does; Resume lets it go on.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(signal); err != nil {
		s.t.Fatal(err)
	}
}

// Flush deletes all keys.
func (s *Server) Flush() {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.Addr, Password: s.password})
	defer func() { _ = c.Close() }()
	if err := c.FlushAll(context.Background()).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// NewSentinel starts a Sentinel that watches a master under a name, alone, and
// replaces it by a replica about a second after it is gone.
func NewSentinel(t testing.TB, name string, master *Server) *Server {
	t.Helper()
	config := filepath.Join(t.TempDir(), "sentinel.conf")
	lines := fmt.Sprintf("sentinel monitor %[1]s 127.0.0.1 %[2]s 1\nsentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 2000\n", name, master.port())
	if master.password != "" {
		lines += fmt.Sprintf("sentinel auth-pass %s %s\n", name, master.password)
	}
	if err := os.WriteFile(config, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return start(t, []string{config, "--sentinel"}, nil)
}

// Cluster is a Redis Cluster of three masters with a replica each.
type Cluster struct {
	Nodes []*Server // the masters first, as they were at the start
	t     testing.TB
}

// NewCluster starts a Cluster and waits until it is whole. A master that is gone
// is replaced by its replica after about a second. The arguments are New's, for
// all nodes.
func NewCluster(t testing.TB, args ...string) *Cluster {
	t.Helper()
	need(t)
	c := &Cluster{t: t}
	for range 6 {
		_, bus, _ := net.SplitHostPort(freeAddr(t))
		c.Nodes = append(c.Nodes, New(t, append([]string{
			"--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", bus,
			"--cluster-node-timeout", "1000", "--cluster-announce-ip", "127.0.0.1",
			"--repl-diskless-sync-delay", "0",
		}, args...)...))
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.join(ctx); err != nil {
		t.Fatalf("make a cluster: %v", err)
	}
	return c
}

func (c *Cluster) join(ctx context.Context) error {
	clients := make([]*redis.Client, len(c.Nodes))
	ids := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		clients[i] = redis.NewClient(&redis.Options{Addr: n.Addr, Password: n.password})
		defer func() { _ = clients[i].Close() }()
		var err error
		if ids[i], err = clients[i].ClusterMyID(ctx).Result(); err != nil {
			return err
		}
		if err := clients[i].Do(ctx, "cluster", "set-config-epoch", i+1).Err(); err != nil {
			return err
		}
	}
	const slots, masters = 16384, 3
	for i := range masters {
		if err := clients[i].ClusterAddSlotsRange(ctx, i*slots/masters, (i+1)*slots/masters-1).Err(); err != nil {
			return err
		}
	}
	for i := 1; i < len(c.Nodes); i++ {
		bus := c.Nodes[i].args[slices.Index(c.Nodes[i].args, "--cluster-port")+1]
		if err := clients[0].Do(ctx, "cluster", "meet", "127.0.0.1", c.Nodes[i].port(), bus).Err(); err != nil {
			return err
		}
	}
	for i := masters; i < len(c.Nodes); i++ {
		// It has to hear of its master first.
		if err := until(ctx, func() error { return clients[i].ClusterReplicate(ctx, ids[i-masters]).Err() }); err != nil {
			return err
		}
	}
	return c.whole(ctx, len(c.Nodes))
}

// whole waits until all running nodes, of which there are n, see all slots
// served, and each other.
func (c *Cluster) whole(ctx context.Context, n int) error {
	for _, node := range c.Nodes {
		if node.cmd == nil {
			continue
		}
		client := redis.NewClient(&redis.Options{Addr: node.Addr, Password: node.password})
		defer func() { _ = client.Close() }()
		if err := until(ctx, func() error {
			info, err := client.ClusterInfo(ctx).Result()
			if err == nil && !strings.Contains(info, "cluster_state:ok") {
				err = errors.New("cluster_state is not ok")
			}
			if err != nil {
				return err
			}
			nodes, err := client.ClusterNodes(ctx).Result()
			if err != nil {
				return err
			}
			masters, connected := 0, 0
			for line := range strings.Lines(nodes) {
				f := strings.Fields(line)
				if len(f) < 8 || strings.Contains(f[2], "fail") || strings.Contains(f[2], "handshake") {
					continue
				}
				if strings.Contains(f[2], "master") {
					masters++
				}
				if f[7] == "connected" {
					connected++
				}
			}
			if masters != 3 || connected != n {
				return fmt.Errorf("%d masters and %d of %d nodes are connected", masters, connected, n)
			}
			replication, err := client.Info(ctx, "replication").Result()
			if err == nil && strings.Contains(replication, "role:slave") && !strings.Contains(replication, "master_link_status:up") {
				err = errors.New("a replica has no link to its master")
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// until repeats do until it succeeds or ctx ends.
func until(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Recover waits until the nodes that run serve all slots again.
func (c *Cluster) Recover() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	running := 0
	for _, n := range c.Nodes {
		if n.cmd != nil {
			running++
		}
	}
	if err := c.whole(ctx, running); err != nil {
		c.t.Fatalf("the cluster doesn't recover: %v", err)
	}
}

// URL names all nodes.
func (c *Cluster) URL() string {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr
	}
	user := ""
	if p := c.Nodes[0].password; p != "" {
		user = ":" + p + "@"
	}
	return "redis://" + user + strings.Join(addrs, ",")
}

// Client returns a client of the Cluster that is closed at the end of the test.
func (c *Cluster) Client() *redis.ClusterClient {
	addrs := make([]string, len(c.Nodes))
	for i, n := range c.Nodes {
		addrs[i] = n.Addr
	}
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, Password: c.Nodes[0].password})
	c.t.Cleanup(func() { _ = client.Close() })
	return client
}
