package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// However the network and the server behave, what the load counts as acknowledged must be what a correct server holds.
func TestDeliveryUnderFaults(t *testing.T) {
	t.Parallel()
	every := func(k int64) func(int64) bool { return func(n int64) bool { return n%k == 0 } }
	busy := func(status, k int) func(int64) (int, http.Header) {
		return func(n int64) (int, http.Header) {
			if n%int64(k) == 0 {
				return status, http.Header{"Retry-After": {"0"}}
			}
			return http.StatusOK, nil
		}
	}
	tests := []struct {
		name    string
		prepare func(*fakeServer)
		noRetry bool
		// What is to be counted; retries and unknown only whether there were any.
		refused, retried, unknown bool
	}{
		{name: "nothing wrong", prepare: func(*fakeServer) {}},
		{name: "busy now and then", prepare: func(s *fakeServer) { s.answers = busy(503, 5) }, retried: true},
		{name: "too many requests", prepare: func(s *fakeServer) { s.answers = busy(429, 5) }, retried: true},
		{name: "internal errors", prepare: func(s *fakeServer) { s.answers = busy(500, 5) }, retried: true},
		{name: "busy, nobody tries again", prepare: func(s *fakeServer) { s.answers = busy(503, 5) }, noRetry: true, unknown: true},
		{name: "refused", prepare: func(s *fakeServer) { s.answers = busy(400, 5) }, refused: true},
		{name: "connection lost before", prepare: func(s *fakeServer) {
			s.drops = func(n int64) (bool, bool) { return every(5)(n), false }
		}, retried: true},
		{name: "connection lost after storing", prepare: func(s *fakeServer) {
			s.drops = func(n int64) (bool, bool) { return false, every(5)(n) }
		}, retried: true},
		{name: "connection lost after storing, nobody tries again", prepare: func(s *fakeServer) {
			s.drops = func(n int64) (bool, bool) { return false, every(5)(n) }
		}, noRetry: true, unknown: true},
		{name: "connection lost before or after, nobody tries again", prepare: func(s *fakeServer) {
			s.drops = func(n int64) (bool, bool) { return every(5)(n), every(7)(n) }
		}, noRetry: true, unknown: true},
		{name: "some items unavailable", prepare: func(s *fakeServer) {
			s.items = func(n int64) *apiError {
				if n%7 == 0 {
					return &apiError{Code: "unavailable"}
				}
				return nil
			}
		}, retried: true},
		{name: "some items refused", prepare: func(s *fakeServer) {
			s.items = func(n int64) *apiError {
				if n%7 == 0 {
					return &apiError{Code: "invalid_payload"}
				}
				return nil
			}
		}, refused: true},
	}
	for _, tt := range tests {
		for _, array := range []int{1, 6} {
			for _, sc := range []scenario{scenarioNew, scenarioMixed, scenarioChaos} {
				t.Run(fmt.Sprintf("%s/%d a request/%s", tt.name, array, sc), func(t *testing.T) {
					t.Parallel()
					if array == 1 && strings.HasPrefix(tt.name, "some items unavailable") {
						t.Skip("a single payload's error is the request's")
					}
					s := newFakeServer(t)
					f := trafficFlags{Scenario: string(sc), Connections: 6, Array: array, Contacts: 60, RetryFor: 20 * time.Second, NoRetry: tt.noRetry}
					l := testLoad(t, s, f)
					if _, err := l.warmUp(t.Context()); err != nil {
						t.Fatal(err)
					}
					// Warming up is not what is tested: faults begin behind it.
					s.mu.Lock()
					tt.prepare(s)
					s.mu.Unlock()
					r := l.run(t.Context(), newBudget(150, 0))

					if sc != scenarioChaos && r.Acked+r.Refused+r.Unknown != 150 {
						t.Errorf("%d acknowledged, %d refused and %d unknown are not 150", r.Acked, r.Refused, r.Unknown)
					}
					got := map[string]bool{"refused": r.Refused > 0, "retried": r.Retries > 0, "unknown": r.Unknown > 0}
					want := map[string]bool{"refused": tt.refused, "retried": tt.retried, "unknown": tt.unknown}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("counted (-want +got):\n%s", diff)
					}
					if r.Acked == 0 || uint64(r.Requests) != r.Latency.total {
						t.Errorf("%d acknowledged, %d requests, %d latencies", r.Acked, r.Requests, r.Latency.total)
					}
					v := verdictOf(t, l)
					if !v.ok() {
						t.Errorf("a correct server was blamed: %v", v.Examples)
					}
					if (v.Open > 0) != tt.unknown {
						t.Errorf("%d payloads of open fate, want some: %v", v.Open, tt.unknown)
					}
				})
			}
		}
	}
}

// Servers that get one thing wrong under faults must be found out.
func TestWrongServersAreFound(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		scenarios []scenario
		prepare   func(*fakeServer)
	}{
		{"stores a repeated message again", []scenario{scenarioNew, scenarioMixed, scenarioReturning, scenarioChaos}, func(s *fakeServer) {
			s.forgets = true
			s.drops = func(n int64) (bool, bool) { return false, n%5 == 0 }
		}},
		{"loses one acknowledged payload", []scenario{scenarioNew, scenarioMixed, scenarioReturning, scenarioChaos}, func(s *fakeServer) {
			s.stores = func(n int64) int {
				if n == 123 {
					return 0
				}
				return 1
			}
		}},
		{"stores one payload twice", []scenario{scenarioNew, scenarioMixed, scenarioReturning, scenarioChaos}, func(s *fakeServer) {
			s.stores = func(n int64) int {
				if n == 123 {
					return 2
				}
				return 1
			}
		}},
		{"stores what it refuses", []scenario{scenarioNew}, func(s *fakeServer) {
			s.keeps = true
			s.items = func(n int64) *apiError {
				if n == 123 {
					return &apiError{Code: "invalid_payload"}
				}
				return nil
			}
		}},
		{"leaves visitors behind when they log in", []scenario{scenarioChaos}, func(s *fakeServer) { s.unmerged = true }},
		{"takes everybody on a browser for one person", []scenario{scenarioChaos}, func(s *fakeServer) { s.sticky = true }},
	}
	for _, tt := range tests {
		for _, sc := range tt.scenarios {
			t.Run(tt.name+"/"+string(sc), func(t *testing.T) {
				t.Parallel()
				s := newFakeServer(t)
				tt.prepare(s)
				l := testLoad(t, s, trafficFlags{Scenario: string(sc), Connections: 6, Contacts: 60, RetryFor: 20 * time.Second})
				if _, err := l.warmUp(t.Context()); err != nil {
					t.Fatal(err)
				}
				l.run(t.Context(), newBudget(400, 0))
				if v := verdictOf(t, l); v.ok() {
					t.Errorf("found nothing wrong with %d payloads", v.Acked)
				}
			})
		}
	}
}

func TestMixedIsNineToOne(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	l := testLoad(t, s, trafficFlags{Scenario: "mixed", Connections: 4, Contacts: 50, Array: 50})
	if _, err := l.warmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.run(t.Context(), newBudget(4000, 0))
	// 400 new ones are expected; 100 to either side are more than five standard deviations.
	if got := l.ledger.senders.Load() - 50; got < 300 || got > 500 {
		t.Errorf("%d new people of 4000 payloads, want about 400", got)
	}
}

func TestReturningBringsNobodyNew(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	l := testLoad(t, s, trafficFlags{Scenario: "returning", Connections: 4, Contacts: 50})
	if _, err := l.warmUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.run(t.Context(), newBudget(300, 0))
	if got := l.ledger.senders.Load(); got != 50 || len(s.contacts) != 50 {
		t.Errorf("%d people and %d contacts, want 50", got, len(s.contacts))
	}
}

func TestWarmUpFailsWhenPeopleAreRefused(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	s.answers = func(int64) (int, http.Header) { return http.StatusUnauthorized, nil }
	l := testLoad(t, s, trafficFlags{Scenario: "mixed", Connections: 2, Contacts: 50})
	if _, err := l.warmUp(t.Context()); err == nil || !strings.Contains(err.Error(), "401 code_401") {
		t.Errorf("error %v, want the status and code", err)
	}
}

// While the gate is held, the ledger stands still and no request is under way.
func TestGateStopsTheLoad(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 6})
	b := newBudget(0, 0)
	done := make(chan result)
	go func() { done <- l.run(t.Context(), b) }()
	for range 5 {
		for before := l.count.acked.Load(); l.count.acked.Load() == before; {
			time.Sleep(time.Millisecond)
		}
		l.gate.Lock()
		v := verdictOf(t, l)
		if again := verdictOf(t, l); !v.ok() || again.Acked != v.Acked || again.Views != v.Views {
			t.Errorf("the load went on: %+v, then %+v", v, again)
		}
		l.gate.Unlock()
	}
	b.over.Store(true)
	if r := <-done; r.Unknown != 0 || r.Refused != 0 {
		t.Errorf("%d unknown and %d refused after a calm stop", r.Unknown, r.Refused)
	}
}

func TestDrainedTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	s.pending = 1 << 30
	l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 1})
	if err := l.target.drained(t.Context(), time.Second); err == nil || !strings.Contains(err.Error(), "not yet visible") {
		t.Errorf("error %v, want how many are pending", err)
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "-3": 0, "soon": 0, "99999999": time.Hour,
		"Fri, 02 Jan 2026 03:04:15 GMT": 10 * time.Second,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// A 503 must tell widgets when to come again, in the one way that all of them can read.
func TestUntold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		status int
		header []string
		untold bool
	}{
		{"a second", 503, []string{"1"}, false},
		{"a minute", 503, []string{"60"}, false},
		{"nothing", 503, nil, true},
		{"empty", 503, []string{""}, true},
		{"at once", 503, []string{"0"}, true},
		{"the past", 503, []string{"-1"}, true},
		{"a fraction", 503, []string{"1.5"}, true},
		{"a unit", 503, []string{"1s"}, true},
		{"a date", 503, []string{"Fri, 02 Jan 2026 03:04:15 GMT"}, true},
		{"two of them", 503, []string{"1", "2"}, true},
		{"another status", 500, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newFakeServer(t)
			s.answers = func(int64) (int, http.Header) { return tt.status, http.Header{"Retry-After": tt.header} }
			l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 1, NoRetry: true})
			r := l.run(t.Context(), newBudget(1, 0))
			untold, kind := int64(0), fmt.Sprintf("%d code_%d", tt.status, tt.status)
			if tt.untold {
				untold, kind = 1, kind+", no Retry-After"
			}
			if r.Untold != untold || (r.fault() != nil) != tt.untold || errors.Is(r.fault(), errUntold) != tt.untold {
				t.Errorf("%d untold, %v", r.Untold, r.fault())
			}
			if d := cmp.Diff(map[string]int64{kind: 1}, r.Errors); d != "" {
				t.Error(d)
			}
			// The next phase counts its own.
			s.mu.Lock()
			s.answers = nil
			s.mu.Unlock()
			if r := l.run(t.Context(), newBudget(1, 0)); r.Untold != 0 || r.fault() != nil {
				t.Errorf("afterwards %d untold, %v", r.Untold, r.fault())
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	s := newFakeServer(t)
	var at [2]time.Time
	s.answers = func(n int64) (int, http.Header) {
		at[min(n, 2)-1] = time.Now()
		if n == 1 {
			return http.StatusServiceUnavailable, http.Header{"Retry-After": {"1"}}
		}
		return http.StatusOK, nil
	}
	l := testLoad(t, s, trafficFlags{Scenario: "new", Connections: 1, RetryFor: time.Minute})
	if r := l.run(t.Context(), newBudget(1, 0)); r.Acked != 1 || r.Retries != 1 || r.Untold != 0 {
		t.Errorf("%d acknowledged after %d retries, %d untold", r.Acked, r.Retries, r.Untold)
	}
	if pause := at[1].Sub(at[0]); pause < time.Second {
		t.Errorf("came back after %v, was asked to wait a second", pause)
	}
}

func TestHangingRequestIsGivenUpAndRepeated(t *testing.T) {
	t.Parallel()
	var bodies [][]byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, body)
		if len(bodies) == 1 {
			<-r.Context().Done() // until the client has had enough
			return
		}
		_, _ = w.Write(okAnswer)
	}))
	defer server.Close()
	l := testLoad(t, &fakeServer{url: server.URL}, trafficFlags{Scenario: "new", Connections: 1, RetryFor: time.Minute})
	l.cfg.Timeout = 50 * time.Millisecond
	r := l.run(t.Context(), newBudget(1, 0))
	if r.Acked != 1 || r.Errors["timeout"] != 1 {
		t.Errorf("%d acknowledged, errors %v", r.Acked, r.Errors)
	}
	if len(bodies) != 2 || !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("want the same message twice, got:\n%s", bytes.Join(bodies, []byte("\n")))
	}
}

func TestErrorKinds(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"timeout":            fmt.Errorf("x: %w", os.ErrDeadlineExceeded),
		"interrupted":        context.Canceled,
		"connection refused": fmt.Errorf("x: %w", syscall.ECONNREFUSED),
		"connection lost":    fmt.Errorf("x: %w", io.EOF),
		"other: odd":         errors.New("odd"),
	} {
		if got := errorKind(err); got != want {
			t.Errorf("%v: %q, want %q", err, got, want)
		}
	}
}
