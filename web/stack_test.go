package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
	"civgate/web"
	"civgate/widget"
)

const apiKey = "A1B2C3"

// stack is a whole civgate in this process, on a port of its own.
type stack struct {
	t         *testing.T
	base      string // http://127.0.0.1:port
	gateway   *gateway.Gateway
	store     *store.Store
	workspace gateway.WorkspaceID
	stop      func() // ends the streams, as the server's shutdown does; once

	mu    sync.Mutex
	conns map[net.Conn]bool
}

func newStack(t *testing.T) *stack {
	t.Helper()
	return newStackWith(t, web.Demo{})
}

// newStackWith starts a stack whose demo differs from the usual in what d sets.
func newStackWith(t *testing.T, d web.Demo) *stack {
	t.Helper()
	return newStackOf(t, d, gateway.DefaultSettings())
}

// newStackOf is newStackWith for a workspace with other settings.
func newStackOf(t *testing.T, d web.Demo, settings gateway.Settings) *stack {
	t.Helper()
	return newStackAt(t, d, settings, filepath.Join(t.TempDir(), "civgate.db"))
}

// newStackAt is newStackOf on the database at an address.
func newStackAt(t *testing.T, d web.Demo, settings gateway.Settings, database string) *stack {
	t.Helper()
	return newStackFrom(t, d, settings, database, door{})
}

// door is what is unusual of how a stack takes payloads.
type door struct {
	limits  map[string]cache.Limit // none if nil
	trusted []netip.Prefix         // proxies that are believed who a payload comes from
	inbox   inbox.Options
	accept  func(api.Acceptor) api.Acceptor // what stands before the gateway, if anything
}

// newStackFrom is newStackAt with another door.
func newStackFrom(t *testing.T, d web.Demo, settings gateway.Settings, database string, at door) *stack {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	logs := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	data, err := store.Open(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	workspace, err := data.CreateWorkspace(ctx, gateway.Workspace{Name: "Demo", Settings: settings},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), 0, at.inbox)
	if err != nil {
		t.Fatal(err)
	}
	var limiter gateway.Limiter
	if at.limits != nil {
		limiter = cache.NewLimiter(at.limits, 1000, time.Now)
	}
	gw := gateway.New(gateway.Config{Store: data, Inbox: queue, Cache: cache.New(1000), Log: logs, Limiter: limiter, Inspect: true})
	accept := api.Acceptor(gw)
	if at.accept != nil {
		accept = at.accept(gw)
	}
	done := make(chan struct{})
	e := echo.New()
	e.IPExtractor = api.IPExtractor(at.trusted)
	e.Use(middleware.RecoverWithConfig(middleware.RecoverConfig{LogErrorFunc: func(_ echo.Context, err error, _ []byte) error { return err }}))
	machines := api.New(api.Settings{Reader: gw.Read(), Log: logs, TrustedProxies: at.trusted})
	e.HTTPErrorHandler = machines.HandleError
	machines.MountIngest(e, api.Ingest{Path: "/ingest", Gateway: accept, Limiter: limiter, Inspector: gw})
	widget.Mount(e, widget.Settings{})
	if d.Read == nil {
		d.Read = gw.Read()
	}
	d.Workspace, d.APIKey, d.Changed, d.Done = workspace, apiKey, gw.Changed, done
	if d.Log == nil {
		d.Log = logs
	}
	web.MountDemo(e, d)
	web.MountPanel(e, web.Panel{Read: d.Read, Gateway: gw, Log: logs, Limiter: panelLimiter, Done: done})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{
		t: t, base: "http://" + listener.Addr().String(), gateway: gw, store: data, workspace: workspace,
		stop:  sync.OnceFunc(func() { close(done) }),
		conns: make(map[net.Conn]bool),
	}
	server := &http.Server{Handler: e, ConnState: s.connState}
	var running sync.WaitGroup
	running.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	running.Go(func() { _ = gw.RunJobs(ctx) })      // ends with ctx
	running.Go(func() { _ = gw.RunInspector(ctx) }) // ends with ctx
	running.Go(func() {
		if err := gw.Run(ctx); ctx.Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		s.stop()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		running.Wait()
		if err := errors.Join(queue.Close(), data.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *stack) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateClosed {
		delete(s.conns, c)
	} else {
		s.conns[c] = true
	}
}

// cut closes all connections; new ones are taken.
func (s *stack) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // the server sees it
	}
}

// post gives payloads to the gateway and waits until they are applied.
func (s *stack) post(payloads ...map[string]any) {
	s.t.Helper()
	for _, p := range payloads {
		body, err := json.Marshal(p)
		if err != nil {
			s.t.Fatal(err)
		}
		results, _, err := s.gateway.Accept(s.t.Context(), gateway.Request{Body: body})
		if err != nil {
			s.t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				s.t.Fatal(r.Err)
			}
		}
	}
	s.settle()
}

// settle waits until all that was accepted can be read.
func (s *stack) settle() {
	s.t.Helper()
	for {
		changed := s.gateway.Changed()
		if s.gateway.Pending() == 0 {
			return
		}
		select {
		case <-changed:
		case <-s.t.Context().Done():
			s.t.Fatal("the inbox was never applied")
		}
	}
}

// quote is a text as JavaScript.
func quote(text string) string {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err)
	}
	return string(b)
}
