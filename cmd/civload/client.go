package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A target is a server that is spoken to: the base URLs of its nodes and the connections to them. All nodes have the same
// data behind them.
type target struct {
	nodes     []*url.URL
	transport *http.Transport
}

// newTarget prepares up to conns kept-alive connections to each node of a server; bases has their addresses, with commas.
func newTarget(bases string, conns int) (*target, error) {
	var nodes []*url.URL
	for base := range strings.SplitSeq(bases, ",") {
		u, err := url.Parse(strings.TrimSpace(base))
		if err != nil {
			return nil, fmt.Errorf("server address: %w", err)
		}
		if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return nil, fmt.Errorf("server address %q: want http://host:port or https://host", base)
		}
		if u.Path == "" {
			u.Path = "/" // JoinPath would make relative paths otherwise
		}
		nodes = append(nodes, u)
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &target{nodes: nodes, transport: &http.Transport{
		DialContext: dialer.DialContext,
		// One idle connection for each worker, and a few for health and REST: nothing is dialled anew under load.
		MaxIdleConnsPerHost: conns + 4,
		DisableCompression:  true,
		TLSHandshakeTimeout: 10 * time.Second,
		// A single payload with its head fits one write.
		WriteBufferSize: 4 << 10,
		ReadBufferSize:  4 << 10,
	}}, nil
}

func (t *target) close() { t.transport.CloseIdleConnections() }

// url returns the address of a path at a node; nodes are counted without end.
func (t *target) url(node int, path string) *url.URL {
	return t.nodes[node%len(t.nodes)].JoinPath(path)
}

// getJSON reads the JSON answer of a GET into v. The answer may have up to 64 MiB.
func (t *target) getJSON(ctx context.Context, u *url.URL, header http.Header, v any) error {
	req := (&http.Request{Method: http.MethodGet, URL: u, Header: header, Host: u.Host}).WithContext(ctx)
	res, err := t.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body := io.LimitReader(res.Body, 64<<20)
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(body, 512)) // the status alone says enough if the text can't be read
		return &statusError{status: res.StatusCode, text: string(bytes.TrimSpace(text)), retryAfter: retryAfter(res.Header, time.Now())}
	}
	if err := json.NewDecoder(body).Decode(v); err != nil {
		return fmt.Errorf("read answer of %s: %w", u.Path, err)
	}
	// What is left (a newline) must be read too, or the connection can't be used again.
	_, err = io.Copy(io.Discard, body)
	return err
}

type statusError struct {
	status     int
	text       string
	retryAfter time.Duration
}

func (e *statusError) Error() string { return fmt.Sprintf("status %d: %s", e.status, e.text) }

// health is the answer of GET /healthz.
type health struct {
	Status       string `json:"status"`
	InboxPending *int64 `json:"inbox_pending"`
}

// health asks all nodes; what waits is the sum.
func (t *target) health(ctx context.Context) (health, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var all health
	for node := range t.nodes {
		var h health
		if err := t.getJSON(ctx, t.url(node, "/healthz"), http.Header{}, &h); err != nil {
			return all, err
		}
		all.Status = h.Status
		if h.InboxPending == nil {
			return all, fmt.Errorf("the health answer of %s has no inbox_pending", t.nodes[node])
		}
		if all.InboxPending == nil {
			all.InboxPending = new(int64)
		}
		*all.InboxPending += *h.InboxPending
	}
	return all, nil
}

// drained waits until the server has made visible everything that it acknowledged: inbox_pending is 0. Errors on the
// way (a restart) are waited out; the last one is part of the error when the time is up.
func (t *target) drained(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		h, err := t.health(ctx)
		switch {
		case err != nil:
			// The end of our own patience says less than the answer before it.
			if last == nil || ctx.Err() == nil {
				last = err
			}
		case *h.InboxPending == 0:
			return nil
		default:
			last = fmt.Errorf("%d payloads acknowledged and not yet visible", *h.InboxPending)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("wait for an empty inbox: %w: %w", err, last)
		}
	}
}

// sleep waits for d or until ctx ends, whose error it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retryAfter reads the header Retry-After (RFC 9110 section 10.2.3), which is in seconds or a date; 0 when absent or
// unreadable.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(s, 0), 3600)) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil {
		return min(max(at.Sub(now), 0), time.Hour)
	}
	return 0
}

// tellsWhen reports whether the header Retry-After is what civgate promises with a 503: one whole number of seconds, at
// least 1.
func tellsWhen(h http.Header) bool {
	v := h.Values("Retry-After")
	if len(v) != 1 {
		return false
	}
	s, err := strconv.ParseUint(v[0], 10, 31)
	return err == nil && s >= 1
}

// errorKind names the kind of an error on the way to or from the server in a few words, for counting.
func errorKind(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		// The transport has no exported error for a kept-alive connection that ended before its answer began.
		strings.Contains(err.Error(), "server closed idle connection"), strings.Contains(err.Error(), "transport connection broken"):
		return "connection lost"
	default:
		return "other: " + err.Error()
	}
}
