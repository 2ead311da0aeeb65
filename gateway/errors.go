package gateway

import (
	"errors"
	"fmt"
	"time"
)

// Code is what went wrong, in the words of the wire (design of POST /ingest
// and of the REST API). Adapters map codes to their own statuses in one table.
type Code string

// The codes. The first block is answered by POST /ingest as it stands.
const (
	CodeInvalidPayload   Code = "invalid_payload"
	CodeUnknownAPIKey    Code = "unknown_api_key"
	CodeOriginNotAllowed Code = "origin_not_allowed"
	CodeAddressExcluded  Code = "address_excluded"
	CodeNotVerified      Code = "identity_not_verified"
	CodeTooLarge         Code = "too_large"
	CodeRateLimited      Code = "rate_limited"
	CodeUnavailable      Code = "unavailable"

	CodeInvalid      Code = "invalid"
	CodeUnauthorized Code = "unauthorized"
	CodeForbidden    Code = "forbidden"
	CodeNotFound     Code = "not_found"
	CodeConflict     Code = "conflict"
	CodeKeyReused    Code = "key_reused" // an Idempotency-Key of another request
	CodeInternal     Code = "internal"
)

// Error is the one error type that crosses package borders with a meaning.
// Message is for the caller and says what to do; Err is for the log only.
type Error struct {
	Code    Code
	Message string
	Field   string // the field of the input that is at fault, if one is
	// Also are the other fields at fault where several are, each with Code, Field and
	// Message alone.
	Also []*Error
	// RetryAfter is how long the caller should wait before trying again; it is
	// set for CodeRateLimited and CodeUnavailable.
	RetryAfter time.Duration
	Err        error
}

// Error returns the code, the message and the wrapped error, for logs.
func (e *Error) Error() string {
	s := string(e.Code) + ": " + e.Message
	if e.Field != "" {
		s += " (field " + e.Field + ")"
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the wrapped error.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an *Error with a formatted message and no wrapped error.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// CodeOf returns the code of the first *Error in err's chain, CodeInternal for
// any other error, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}

// IsNotFound reports whether err says that the thing asked for does not exist.
func IsNotFound(err error) bool { return CodeOf(err) == CodeNotFound }
