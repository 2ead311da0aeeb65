package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"civgate/gateway"
)

// TestTranslatePostgres says what callers are told of the server's errors.
// CodeInternal makes the applier set a payload aside, so it must be the payload's
// fault.
func TestTranslatePostgres(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		state, name string
		want        gateway.Code
	}{
		{"23505", "unique_violation", gateway.CodeConflict},
		{"23503", "foreign_key_violation", gateway.CodeNotFound},
		{"22021", "character_not_in_repertoire", gateway.CodeInvalid},
		{"22003", "numeric_value_out_of_range", gateway.CodeInternal},
		{"54000", "program_limit_exceeded", gateway.CodeInternal},
		{"42601", "syntax_error", gateway.CodeInternal},
		{"08006", "connection_failure", gateway.CodeUnavailable},
		{"25006", "read_only_sql_transaction", gateway.CodeUnavailable},
		{"25P03", "idle_in_transaction_session_timeout", gateway.CodeUnavailable},
		{"28P01", "invalid_password", gateway.CodeUnavailable},
		{"3D000", "invalid_catalog_name", gateway.CodeUnavailable},
		{"40001", "serialization_failure", gateway.CodeUnavailable},
		{"40P01", "deadlock_detected", gateway.CodeUnavailable},
		{"42501", "insufficient_privilege", gateway.CodeUnavailable},
		{"42P01", "undefined_table", gateway.CodeUnavailable},
		{"53100", "disk_full", gateway.CodeUnavailable},
		{"53300", "too_many_connections", gateway.CodeUnavailable},
		{"55P03", "lock_not_available", gateway.CodeUnavailable},
		{"57014", "query_canceled", gateway.CodeUnavailable},
		{"57P01", "admin_shutdown", gateway.CodeUnavailable},
		{"57P02", "crash_shutdown", gateway.CodeUnavailable},
		{"57P03", "cannot_connect_now", gateway.CodeUnavailable},
		{"58030", "io_error", gateway.CodeUnavailable},
		{"XX001", "data_corrupted", gateway.CodeUnavailable},
	} {
		cause := &pgconn.PgError{Code: c.state, Message: c.name}
		err := translate("save", fmt.Errorf("in a batch: %w", cause))
		if got := gateway.CodeOf(err); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.state, c.name, got, c.want)
		}
		var e *gateway.Error
		if errors.As(err, &e) && (e.Code == gateway.CodeUnavailable) != (e.RetryAfter > 0) {
			t.Errorf("%s %s: %s with a wait of %v", c.state, c.name, e.Code, e.RetryAfter)
		}
		if !errors.Is(err, error(cause)) {
			t.Errorf("%s %s: the cause is lost", c.state, c.name)
		}
	}
	for name, err := range map[string]error{
		"reset":  &net.OpError{Op: "read", Err: errors.New("connection reset by peer")},
		"end":    fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF),
		"closed": net.ErrClosed,
	} {
		if got := gateway.CodeOf(translate("save", err)); got != gateway.CodeUnavailable {
			t.Errorf("connection %s: got %s, want %s", name, got, gateway.CodeUnavailable)
		}
	}
	// The caller's own end of patience stays what it is.
	for _, err := range []error{context.Canceled, context.DeadlineExceeded} {
		if got := translate("save", err); !errors.Is(got, err) || gateway.CodeOf(got) != gateway.CodeInternal {
			t.Errorf("%v became %v", err, got)
		}
	}
}
