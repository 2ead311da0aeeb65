package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"civgate/gateway"
)

// Healthy is what the health routes look at; gateway.Gateway is the one there
// is.
type Healthy interface {
	Pending() int64
	Check(ctx context.Context) gateway.Health
}

// The bounds of a look at inbox and store: how long it may take, and for how
// long it is believed. Together they are well below the 5 seconds within which
// a balancer has to know.
const (
	checkTimeout = 2 * time.Second
	checkAge     = time.Second
)

// MountHealth registers GET /healthz (the process is alive, and how much waits
// in its inbox) and GET /readyz (it can take payloads: 200, else 503). Once
// stopping is closed the node is not ready, whatever it still takes.
func (s *Server) MountHealth(e *echo.Echo, h Healthy, stopping <-chan struct{}) {
	get := []string{http.MethodGet, http.MethodHead}
	e.Match(get, "/healthz", func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		return writeJSON(c, http.StatusOK, struct {
			Status  string `json:"status"`
			Pending int64  `json:"inbox_pending"`
		}{"ok", h.Pending()})
	})
	r := &readiness{gateway: h, log: s.log}
	e.Match(get, "/readyz", func(c echo.Context) error {
		c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
		answer := struct {
			Status   string `json:"status"`
			Inbox    string `json:"inbox"`
			Database string `json:"database"`
		}{"ready", "ok", "ok"}
		status := http.StatusOK
		health := r.look(c.Request().Context())
		switch {
		case health.Store != nil:
			answer.Database = "away"
		case health.Writes != nil:
			answer.Database = "read only: what is taken waits in the inbox"
		}
		if health.Inbox != nil {
			answer.Inbox = "can't take payloads"
		}
		if !health.Ready() {
			answer.Status, status = "not ready", http.StatusServiceUnavailable
		}
		select {
		case <-stopping:
			answer.Status, status = "stopping", http.StatusServiceUnavailable
		default:
		}
		return writeJSON(c, status, answer)
	})
}

// readiness remembers the last look for checkAge: strangers may ask as often as
// they like.
type readiness struct {
	gateway Healthy
	log     *zap.Logger

	mu   sync.Mutex
	at   time.Time
	last gateway.Health
}

func (r *readiness) look(ctx context.Context) gateway.Health {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) < checkAge {
		return r.last
	}
	// Whoever asked first may go; the others want the answer all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	before := r.last
	r.last, r.at = r.gateway.Check(ctx), time.Now()
	told := func(name string, was, is error) {
		switch {
		case was == nil && is != nil:
			r.log.Warn(name+" doesn't work", zap.Error(is))
		case was != nil && is == nil:
			r.log.Info(name + " works again")
		}
	}
	told("the inbox", before.Inbox, r.last.Inbox)
	told("the database", before.Store, r.last.Store) // of Writes the applier tells
	return r.last
}
