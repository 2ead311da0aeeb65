package api_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap/zaptest"

	"civgate/gateway"
	"civgate/gateway/api"
	"civgate/gateway/cache"
)

const metricsToken = "metrics-token-0123456789"

func (d *door) get(path string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	d.echo.ServeHTTP(w, r)
	return w
}

func TestHealth(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), nil)
	d.post(`{"apiKey":"A1B2C3","user_id":"42"}`)
	d.settle()
	if w := d.get("/healthz"); w.Code != 200 || w.Body.String() != `{"status":"ok","inbox_pending":0}` {
		t.Errorf("healthz: %d %s", w.Code, w.Body)
	}
	if w := d.get("/readyz"); w.Code != 200 || w.Body.String() != `{"status":"ready","inbox":"ok","database":"ok"}` {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
	close(d.done)
	if w := d.get("/readyz"); w.Code != 503 || !strings.Contains(w.Body.String(), `"stopping"`) {
		t.Errorf("readyz while stopping: %d %s", w.Code, w.Body)
	}
	if w := d.get("/healthz"); w.Code != 200 {
		t.Errorf("healthz while stopping: %d %s", w.Code, w.Body)
	}
}

// state is a Healthy that is as it is told to be.
type state struct {
	health gateway.Health
	looks  atomic.Int32
}

func (s *state) Pending() int64 { return 0 }
func (s *state) Check(context.Context) gateway.Health {
	s.looks.Add(1)
	return s.health
}

func TestReady(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	synctest.Test(t, func(t *testing.T) {
		e, s := echo.New(), &state{}
		api.New(api.Settings{Log: zaptest.NewLogger(t)}).MountHealth(e, s, nil)
		for _, tt := range []struct {
			health gateway.Health
			status int
			body   string
		}{
			{gateway.Health{}, 200, `{"status":"ready","inbox":"ok","database":"ok"}`},
			{gateway.Health{Store: away}, 200, `{"status":"ready","inbox":"ok","database":"away"}`},
			{gateway.Health{Writes: away}, 200, `{"status":"ready","inbox":"ok","database":"read only: what is taken waits in the inbox"}`},
			{gateway.Health{Store: away, Writes: away}, 200, `{"status":"ready","inbox":"ok","database":"away"}`},
			{gateway.Health{Inbox: away}, 503, `{"status":"not ready","inbox":"can't take payloads","database":"ok"}`},
			{gateway.Health{Inbox: away, Store: away}, 503, `{"status":"not ready","inbox":"can't take payloads","database":"away"}`},
			{gateway.Health{}, 200, `{"status":"ready","inbox":"ok","database":"ok"}`},
		} {
			s.health = tt.health
			time.Sleep(time.Second) // what was found before is too old now
			for range 3 {
				w := httptest.NewRecorder()
				e.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
				if w.Code != tt.status || w.Body.String() != tt.body {
					t.Errorf("%+v: %d %s", tt.health, w.Code, w.Body)
				}
			}
		}
		if n := s.looks.Load(); n != 7 {
			t.Errorf("looked %d times for 21 requests within 7 seconds", n)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	d := newDoor(t, gateway.DefaultSettings(), map[string]cache.Limit{"ip": {PerSecond: 1, Burst: 4}})
	d.post(`{"apiKey":"A1B2C3","user_id":"42"}`)
	d.post(`[{"apiKey":"A1B2C3","user_id":"43"},{"apiKey":"A1B2C3","user_id":"44"},{"apiKey":"other"},5]`)
	d.post(`{"apiKey":`)
	d.post(strings.Repeat(" ", 1<<20) + strings.Repeat(" ", 1<<20))
	d.post(`{"apiKey":"A1B2C3","user_id":"45"}`)
	d.settle()
	d.metrics.Gauge("civgate_test", "A test.", func() float64 { return 7 }, "layer", "memory")
	d.metrics.Retried(gateway.CodeUnavailable)

	for _, header := range [][]string{nil, {"Authorization", "Bearer nope"}, {"Authorization", "Token " + metricsToken}} {
		if w := d.get("/metrics", header...); w.Code != 401 || w.Header().Get("WWW-Authenticate") != `Bearer realm="metrics"` || strings.Contains(w.Body.String(), "civgate_") {
			t.Errorf("%q got %d %q %s", header, w.Code, w.Header(), w.Body)
		}
	}
	w := d.get("/metrics", "Authorization", "Bearer "+metricsToken)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	for _, line := range []string{
		`civgate_payloads_total{result="accepted"} 3`,
		`civgate_payloads_total{result="unknown_api_key"} 1`,
		`civgate_payloads_total{result="invalid_payload"} 2`,
		`civgate_payloads_total{result="too_large"} 1`,
		`civgate_payloads_total{result="rate_limited"} 1`,
		`civgate_payloads_total{result="unavailable"} 0`,
		`civgate_batch_payloads_sum 3`,
		`civgate_database_errors_total{reason="unavailable"} 1`,
		`civgate_test{layer="memory"} 7`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	for _, name := range []string{"civgate_batch_seconds_count", "civgate_lag_seconds_count", "go_goroutines"} {
		if !strings.Contains(w.Body.String(), "\n"+name+" ") {
			t.Errorf("no %s", name)
		}
	}
}
