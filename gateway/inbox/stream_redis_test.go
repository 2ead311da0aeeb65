package inbox_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"civgate/gateway/cache/redistest"
)

func init() { logging.Disable() } // of servers that tests stop

// durable are the settings that an inbox needs.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always"}

// redisServer is a real redis-server that keeps what it acknowledges.
type redisServer struct {
	*redistest.Server
	t    testing.TB
	addr string
}

// startRedis starts a redis-server that ends with the test; args are more
// settings for it.
func startRedis(t testing.TB, args ...string) *redisServer {
	t.Helper()
	s := redistest.New(t, slices.Concat(durable, args)...)
	return &redisServer{Server: s, t: t, addr: s.Addr}
}

// client is a client of the test's own; the test closes it.
func (r *redisServer) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: r.addr, DialerRetries: 1, MaxRetries: -1})
}

// do runs commands, each words apart by spaces.
func (r *redisServer) do(commands ...string) any {
	r.t.Helper()
	c := r.client()
	defer func() { _ = c.Close() }()
	var answer any
	for _, command := range commands {
		var args []any
		for _, word := range strings.Fields(command) {
			args = append(args, word)
		}
		var err error
		if answer, err = c.Do(context.Background(), args...).Result(); err != nil && err != redis.Nil {
			r.t.Fatalf("%s: %v", command, err)
		}
	}
	return answer
}

// proxy stands between a Stream and Redis; it can be cut and can lose answers.
type proxy struct {
	addr, target string
	listener     net.Listener
	cut          atomic.Bool // closes what there is and what comes
	// lose returns true when the connection is to be closed instead of passing on
	// an answer.
	lose  atomic.Pointer[func() bool]
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String(), target: target, listener: l, conns: make(map[net.Conn]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.closeAll()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) accept() {
	for {
		in, err := p.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", p.target)
		if p.cut.Load() || err != nil {
			_ = in.Close()
			if err == nil {
				_ = out.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.mu.Unlock()
		p.wg.Go(func() { p.pass(in, out, false) })
		p.wg.Go(func() { p.pass(out, in, true) })
	}
}

// pass copies from one connection to the other until one of them ends.
func (p *proxy) pass(from, to net.Conn, answers bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if lose := p.lose.Load(); answers && lose != nil && (*lose)() {
				break
			}
			if _, werr := to.Write(buf[:n]); werr != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	_ = from.Close()
	_ = to.Close()
	p.mu.Lock()
	delete(p.conns, from)
	delete(p.conns, to)
	p.mu.Unlock()
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// setCut cuts the line, or mends it.
func (p *proxy) setCut(cut bool) {
	p.cut.Store(cut)
	if cut {
		p.closeAll()
	}
}

// startSentinel starts a Sentinel that watches master under the name main and
// replaces it half a second after it is gone. It returns its address.
func startSentinel(t testing.TB, master string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_, own, _ := net.SplitHostPort(addr)
	host, port, _ := net.SplitHostPort(master)
	dir := t.TempDir()
	conf := filepath.Join(dir, "sentinel.conf")
	text := fmt.Sprintf("bind 127.0.0.1\nport %s\ndir %s\nlogfile %s\n"+
		"sentinel monitor main %s %s 1\nsentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n",
		own, dir, filepath.Join(dir, "log"), host, port)
	if err := errors.Join(l.Close(), os.WriteFile(conf, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("redis-server", conf, "--sentinel")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	c := redis.NewSentinelClient(&redis.Options{Addr: addr, DialerRetries: 1, MaxRetries: -1})
	defer func() { _ = c.Close() }()
	until(t, "the Sentinel knows the replicas", func() bool {
		replicas, err := c.Replicas(context.Background(), "main").Result()
		return err == nil && len(replicas) == 2
	})
	return addr
}
