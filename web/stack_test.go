package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/labstack/echo/v4"
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
	ctx, cancel := context.WithCancel(context.Background())
	dir := t.TempDir()
	logs := zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	data, err := store.Open(ctx, filepath.Join(dir, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	workspace, err := data.CreateWorkspace(ctx, gateway.Workspace{Name: "Demo", Settings: settings},
		gateway.APIKey{Kind: gateway.KeyWidget, Secret: apiKey})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	gw := gateway.New(gateway.Config{Store: data, Inbox: queue, Cache: cache.New(1000), Log: logs, Inspect: true})
	done := make(chan struct{})
	e := echo.New()
	e.IPExtractor = echo.ExtractIPDirect()
	api.New(api.Settings{Reader: gw.Read(), Log: logs}).MountIngest(e, api.Ingest{Path: "/ingest", Gateway: gw, Inspector: gw})
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
