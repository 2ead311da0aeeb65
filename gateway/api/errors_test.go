package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"civgate/gateway"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	wrapped := errors.New("disk I/O error")
	for _, tt := range []struct {
		name   string
		err    error
		status int
		rest   string
		ingest string
		retry  string // Retry-After
		www    string // WWW-Authenticate of REST
		logged int
	}{
		{name: "field", err: &gateway.Error{Code: gateway.CodeInvalid, Field: "gender", Message: `"invalid" is not a valid choice.`}, status: 400,
			rest:   `{"errors":{"gender":["\"invalid\" is not a valid choice."]}}`,
			ingest: `{"error":{"code":"invalid","message":"\"invalid\" is not a valid choice.","field":"gender"}}`},
		{name: "no field", err: gateway.Errorf(gateway.CodeInvalid, "a <b> & c"), status: 400,
			rest:   `{"errors":{"non_field_errors":["a <b> & c"]}}`,
			ingest: `{"error":{"code":"invalid","message":"a <b> & c"}}`},
		{name: "several fields", err: &gateway.Error{Code: gateway.CodeInvalid, Field: "b", Message: "one", Also: []*gateway.Error{{Field: "a", Message: "two"}, {Field: "b", Message: "three"}, {Message: "four"}}}, status: 400,
			rest:   `{"errors":{"a":["two"],"b":["one","three"],"non_field_errors":["four"]}}`,
			ingest: `{"error":{"code":"invalid","message":"one","field":"b"}}`},
		{name: "payload", err: gateway.Errorf(gateway.CodeInvalidPayload, "not JSON"), status: 400,
			rest: `{"detail":"not JSON"}`, ingest: `{"error":{"code":"invalid_payload","message":"not JSON"}}`},
		{name: "conflict", err: &gateway.Error{Code: gateway.CodeConflict, Field: "custom_id", Message: "taken"}, status: 409,
			rest: `{"errors":{"custom_id":["taken"]}}`, ingest: `{"error":{"code":"conflict","message":"taken","field":"custom_id"}}`},
		{name: "api key", err: gateway.Errorf(gateway.CodeUnknownAPIKey, "no"), status: 401,
			rest: `{"detail":"no"}`, ingest: `{"error":{"code":"unknown_api_key","message":"no"}}`},
		{name: "unauthorized", err: gateway.Errorf(gateway.CodeUnauthorized, "Invalid token."), status: 401, www: "Token",
			rest: `{"detail":"Invalid token."}`, ingest: `{"error":{"code":"unauthorized","message":"Invalid token."}}`},
		{name: "origin", err: gateway.Errorf(gateway.CodeOriginNotAllowed, "no"), status: 403,
			rest: `{"detail":"no"}`, ingest: `{"error":{"code":"origin_not_allowed","message":"no"}}`},
		{name: "not verified", err: gateway.Errorf(gateway.CodeNotVerified, "no"), status: 403,
			rest: `{"detail":"no"}`, ingest: `{"error":{"code":"identity_not_verified","message":"no"}}`},
		{name: "forbidden", err: gateway.Errorf(gateway.CodeForbidden, "no"), status: 403,
			rest: `{"detail":"no"}`, ingest: `{"error":{"code":"forbidden","message":"no"}}`},
		{name: "not found", err: fmt.Errorf("contact: %w", gateway.Errorf(gateway.CodeNotFound, "contact 7 does not exist")), status: 404,
			rest: `{"detail":"Not found."}`, ingest: `{"error":{"code":"not_found","message":"contact 7 does not exist"}}`},
		{name: "too large", err: gateway.Errorf(gateway.CodeTooLarge, "32 KiB"), status: 413,
			rest: `{"detail":"32 KiB"}`, ingest: `{"error":{"code":"too_large","message":"32 KiB"}}`},
		{name: "rate limited", err: &gateway.Error{Code: gateway.CodeRateLimited, Message: "slow down", RetryAfter: 1500 * time.Millisecond}, status: 429, retry: "2",
			rest: `{"detail":"slow down"}`, ingest: `{"error":{"code":"rate_limited","message":"slow down"}}`},
		{name: "unavailable", err: &gateway.Error{Code: gateway.CodeUnavailable, Message: "busy", RetryAfter: time.Minute, Err: wrapped}, status: 503, retry: "60", logged: 1,
			rest: `{"detail":"busy"}`, ingest: `{"error":{"code":"unavailable","message":"busy"}}`},
		{name: "unavailable without a time", err: gateway.Errorf(gateway.CodeUnavailable, "busy"), status: 503, retry: "1", logged: 1,
			rest: `{"detail":"busy"}`, ingest: `{"error":{"code":"unavailable","message":"busy"}}`},
		{name: "deadline", err: fmt.Errorf("contacts: %w", context.DeadlineExceeded), status: 503, retry: "1", logged: 1,
			rest: `{"detail":"The request took too long. Try again."}`, ingest: `{"error":{"code":"unavailable","message":"The request took too long. Try again."}}`},
		{name: "internal", err: &gateway.Error{Code: gateway.CodeInternal, Message: "row 7 is bad", Err: wrapped}, status: 500, logged: 1,
			rest: `{"detail":"A server error occurred."}`, ingest: `{"error":{"code":"internal","message":"A server error occurred."}}`},
		{name: "unknown code", err: gateway.Errorf("new_code", "secret"), status: 500, logged: 1,
			rest: `{"detail":"A server error occurred."}`, ingest: `{"error":{"code":"internal","message":"A server error occurred."}}`},
		{name: "any other error", err: wrapped, status: 500, logged: 1,
			rest: `{"detail":"A server error occurred."}`, ingest: `{"error":{"code":"internal","message":"A server error occurred."}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zap.DebugLevel)
			s := New(Settings{Log: zap.New(core)})
			answer := func(render func(echo.Context, gateway.WorkspaceID, error) error) *httptest.ResponseRecorder {
				t.Helper()
				rec := httptest.NewRecorder()
				c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/api/public/users-by-id/secret@acme.test/?email=secret", nil), rec)
				c.SetPath("/api/public/users-by-id/:id/")
				c.Response().Header().Set(echo.HeaderXRequestID, "r1")
				if err := render(c, 5, tt.err); err != nil {
					t.Fatal(err)
				}
				if rec.Code != tt.status {
					t.Errorf("status %d, want %d", rec.Code, tt.status)
				}
				if got := rec.Header().Get("Retry-After"); got != tt.retry {
					t.Errorf("Retry-After %q, want %q", got, tt.retry)
				}
				if got := rec.Header().Get("Content-Type"); got != "application/json" {
					t.Errorf("Content-Type %q", got)
				}
				if got := logs.TakeAll(); len(got) != tt.logged {
					t.Errorf("%d log lines, want %d", len(got), tt.logged)
				} else if len(got) > 0 {
					fields := got[0].ContextMap()
					if fields["request_id"] != "r1" || fields["workspace"] != int64(5) || fields["route"] != "/api/public/users-by-id/:id/" || fields["code"] == "" {
						t.Errorf("log fields %v", fields)
					}
					if text := fmt.Sprint(fields); strings.Contains(text, "acme.test") {
						t.Errorf("the log holds what the path or the query held: %s", text)
					}
				}
				return rec
			}
			rec := answer(s.restError)
			if got := rec.Body.String(); got != tt.rest {
				t.Errorf("REST body %s, want %s", got, tt.rest)
			}
			if got := rec.Header().Get("WWW-Authenticate"); got != tt.www {
				t.Errorf("WWW-Authenticate %q, want %q", got, tt.www)
			}
			if got := answer(s.ingestError).Body.String(); got != tt.ingest {
				t.Errorf("ingest body %s, want %s", got, tt.ingest)
			}
		})
	}
}

// TestErrorOfGoneClient: who hangs up is no error of ours.
func TestErrorOfGoneClient(t *testing.T) {
	t.Parallel()
	core, logs := observer.New(zap.DebugLevel)
	s := New(Settings{Log: zap.New(core)})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := echo.New().NewContext(httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), httptest.NewRecorder())
	if err := s.restError(c, 0, fmt.Errorf("contacts: %w", ctx.Err())); err != nil {
		t.Fatal(err)
	}
	if logs.Len() != 0 {
		t.Errorf("logged: %v", logs.All())
	}
}

// TestTokenCache: a token is known for a second, and the cache stays within its
// bounds.
func TestTokenCache(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	c := tokenCache{now: func() time.Time { return now }}
	sum := func(i int) (s [32]byte) { s[0], s[1] = byte(i), byte(i>>8); return s }
	w := &caller{workspace: &gateway.Workspace{ID: 1}}
	if c.get(sum(0)) != nil {
		t.Error("an empty cache knows a token")
	}
	c.put(sum(0), w)
	now = now.Add(tokenTTL - 1)
	if c.get(sum(0)) != w {
		t.Error("a fresh token is not known")
	}
	if c.get(sum(1)) != nil {
		t.Error("another token is known")
	}
	now = now.Add(1)
	if c.get(sum(0)) != nil {
		t.Error("a token is known for longer than its time")
	}
	for i := range 3 * maxTokens {
		c.put(sum(i), w)
		if len(c.entries) > maxTokens {
			t.Fatalf("%d entries", len(c.entries))
		}
	}
	if c.get(sum(3*maxTokens-1)) != w {
		t.Error("the newest token is not known")
	}
}
