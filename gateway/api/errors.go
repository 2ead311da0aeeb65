package api

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"civgate/gateway"
)

// statuses is the one table of codes to HTTP statuses. A code that is missing
// here is a 500.
var statuses = map[gateway.Code]int{
	gateway.CodeInvalidPayload:   http.StatusBadRequest,
	gateway.CodeUnknownAPIKey:    http.StatusUnauthorized,
	gateway.CodeOriginNotAllowed: http.StatusForbidden,
	gateway.CodeAddressExcluded:  http.StatusForbidden,
	gateway.CodeNotVerified:      http.StatusForbidden,
	gateway.CodeTooLarge:         http.StatusRequestEntityTooLarge,
	gateway.CodeRateLimited:      http.StatusTooManyRequests,
	gateway.CodeUnavailable:      http.StatusServiceUnavailable,
	gateway.CodeInvalid:          http.StatusBadRequest,
	gateway.CodeUnauthorized:     http.StatusUnauthorized,
	gateway.CodeForbidden:        http.StatusForbidden,
	gateway.CodeNotFound:         http.StatusNotFound,
	gateway.CodeConflict:         http.StatusConflict,
	gateway.CodeKeyReused:        http.StatusUnprocessableEntity,
	gateway.CodeInternal:         http.StatusInternalServerError,
}

// defaultRetryAfter is told when the code asks for a Retry-After and the error
// names none.
const defaultRetryAfter = time.Second

// restError answers err as the REST API does (contract, section 3):
// {"errors":{field:[message]}} for what is wrong with the input, else
// {"detail":message}. w is the caller's workspace, 0 before it is known.
func (s *Server) restError(c echo.Context, w gateway.WorkspaceID, err error) error {
	e, status := s.edgeError(c, w, err)
	if e.Code == gateway.CodeUnauthorized {
		c.Response().Header().Set(echo.HeaderWWWAuthenticate, "Token")
	}
	return writeJSON(c, status, problem(e))
}

// problem is the body that tells of an error.
func problem(e *gateway.Error) any {
	switch e.Code {
	case gateway.CodeInvalid, gateway.CodeConflict:
		all := make(map[string][]string) // written in the order of its keys
		for _, e := range append([]*gateway.Error{e}, e.Also...) {
			field := e.Field
			if field == "" {
				field = "non_field_errors"
			}
			all[field] = append(all[field], e.Message)
		}
		return struct {
			Errors map[string][]string `json:"errors"`
		}{all}
	case gateway.CodeNotFound:
		return detail{"Not found."} // one text for every way of not being there, as recorded
	}
	return detail{e.Message}
}

type detail struct {
	Detail string `json:"detail"`
}

// ingestError answers err as POST /ingest does:
// {"error":{"code","message","field"}}, field only where one is at fault.
func (s *Server) ingestError(c echo.Context, w gateway.WorkspaceID, err error) error {
	e, status := s.edgeError(c, w, err)
	return writeJSON(c, status, ingestFailure{ingestProblem{e.Code, e.Message, e.Field}})
}

type ingestFailure struct {
	Error ingestProblem `json:"error"`
}

type ingestProblem struct {
	Code    gateway.Code `json:"code"`
	Message string       `json:"message"`
	Field   string       `json:"field,omitempty"`
}

// edgeError is where an error leaves the process: it finds what may be told of
// it, logs it once if it is our fault, and sets Retry-After.
func (s *Server) edgeError(c echo.Context, w gateway.WorkspaceID, err error) (*gateway.Error, int) {
	var e *gateway.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		e = &gateway.Error{Code: gateway.CodeUnavailable, Message: "The request took too long. Try again.", Err: err}
	default:
		e = &gateway.Error{Code: gateway.CodeInternal, Err: err}
	}
	status, ok := statuses[e.Code]
	if !ok {
		e, status = &gateway.Error{Code: gateway.CodeInternal, Err: err}, http.StatusInternalServerError
	}
	if e.Code == gateway.CodeInternal {
		e = &gateway.Error{Code: e.Code, Message: "A server error occurred.", Err: err}
	}
	if e.Code == gateway.CodeRateLimited || e.Code == gateway.CodeUnavailable {
		after := e.RetryAfter
		if after <= 0 {
			after = defaultRetryAfter
		}
		c.Response().Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	}
	// Who hung up needs no answer, and nothing is wrong on our side.
	if status >= http.StatusInternalServerError && c.Request().Context().Err() == nil {
		level := zap.ErrorLevel
		if e.Code == gateway.CodeUnavailable {
			level = zap.WarnLevel
		}
		// The route, never the path: paths hold e-mails and ids.
		s.log.Log(level, "request failed",
			zap.String("request_id", requestID(c)),
			zap.Int64("workspace", int64(w)),
			zap.String("method", c.Request().Method),
			zap.String("route", c.Path()),
			zap.String("code", string(e.Code)),
			zap.Error(err),
		)
	}
	return e, status
}

// requestID is the id that the request id middleware put on the answer. That
// may be the client's own, so it is cut for the log.
func requestID(c echo.Context) string {
	id := c.Response().Header().Get(echo.HeaderXRequestID)
	return id[:min(len(id), 64)]
}

// HandleError is for Echo.HTTPErrorHandler: it answers what no handler did, a
// path or a method that isn't there and a handler that panicked, as POST /ingest
// answers its errors.
func (s *Server) HandleError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	status, problem := http.StatusInternalServerError, ingestProblem{Code: gateway.CodeInternal, Message: "A server error occurred."}
	var he *echo.HTTPError
	if errors.As(err, &he) && he.Code < http.StatusInternalServerError {
		status = he.Code
		switch status {
		case http.StatusNotFound:
			problem = ingestProblem{Code: gateway.CodeNotFound, Message: "there is nothing at this path"}
		case http.StatusMethodNotAllowed:
			problem = ingestProblem{Code: gateway.CodeInvalid, Message: "this path does not take the method; the Allow header names those that it does"}
		default:
			problem = ingestProblem{Code: gateway.CodeInvalid, Message: http.StatusText(status)}
		}
	} else {
		s.log.Error("request failed", zap.String("request_id", requestID(c)), zap.String("method", c.Request().Method), zap.String("route", c.Path()), zap.Error(err))
	}
	if err := writeJSON(c, status, ingestFailure{problem}); err != nil {
		s.log.Debug("answering an error", zap.Error(err)) // the client is gone
	}
}
