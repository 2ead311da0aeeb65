package api

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/rs/cors"

	"civgate/gateway"
)

// Acceptor takes payloads; gateway.Gateway is the one there is.
type Acceptor interface {
	Accept(ctx context.Context, r gateway.Request) (results []gateway.Result, batch bool, err error)
}

// Ingest is what the ingest endpoint works with.
type Ingest struct {
	Path    string // where it is served, such as "/ingest"
	Gateway Acceptor
	// Limiter bounds the requests of one address, under "ip:" and the address;
	// nil: no limits.
	Limiter gateway.Limiter
	// Observer counts the answers that the gateway isn't asked for; nil: nobody
	// does.
	Observer gateway.Observer
	// Inspector is told of the same refusals; nil: nobody is.
	Inspector Inspector
}

// Inspector shows people what was refused; gateway.Gateway is the one there is.
type Inspector interface {
	Refused(r gateway.Refusal)
}

// refused counts and shows a refusal that the gateway doesn't hear of. body is as much
// of r's as was read.
func (i *Ingest) refused(r *http.Request, apiKey string, body []byte, err error) error {
	i.show(r, apiKey, body, err)
	if i.Observer != nil {
		i.Observer.Answered(gateway.CodeOf(err), 1)
	}
	return err
}

// show shows a refusal that the gateway doesn't hear of.
func (i *Ingest) show(r *http.Request, apiKey string, body []byte, err error) {
	if i.Inspector == nil {
		return
	}
	refusal := gateway.Refusal{Err: err, Body: body, Origin: r.Header.Get(echo.HeaderOrigin), APIKey: apiKey}
	if coding(r) == "" {
		refusal.Size = r.ContentLength
	}
	i.Inspector.Refused(refusal)
}

// MountIngest registers POST on i.Path for the pages of any site. What comes by another
// method is refused there, too, so that people see it.
func (s *Server) MountIngest(e *echo.Echo, i Ingest) {
	anySite := cors.New(cors.Options{
		AllowedOrigins: []string{"*"},
		AllowedMethods: []string{http.MethodPost},
		AllowedHeaders: []string{"*"},
		ExposedHeaders: []string{"Retry-After"},
		MaxAge:         86400,
	})
	h := func(c echo.Context) error { return s.ingest(c, i) }
	// With a slash at the end it is the same: a redirect would cost the body.
	for _, path := range []string{i.Path, i.Path + "/"} {
		e.Any(path, h, echo.WrapMiddleware(anySite.Handler))
		e.RouteNotFound(path, h) // methods that echo doesn't know
	}
}

// ingest answers POST /ingest (design, section 3).
func (s *Server) ingest(c echo.Context, i Ingest) error {
	r := c.Request()
	if r.Method == http.MethodOptions {
		c.Response().Header().Set(echo.HeaderAllow, "POST, OPTIONS")
		return c.NoContent(http.StatusNoContent)
	}
	var body []byte
	answered := false
	defer func() {
		if !answered { // a panic, on its way to whoever answers it
			_ = i.refused(r, "", body, gateway.Errorf(gateway.CodeInternal, "something went wrong on the server; its log says what")) // it is what was given
		}
	}()
	err := s.ingestRequest(c, i, &body)
	answered = true
	return err
}

// ingestRequest is ingest for all methods but OPTIONS. It sets body to what was read of
// the request's.
func (s *Server) ingestRequest(c echo.Context, i Ingest, read *[]byte) error {
	r := c.Request()
	ip, _ := netip.ParseAddr(c.RealIP()) // an unknown address is nobody's
	if i.Limiter != nil && ip.IsValid() {
		if ok, after := i.Limiter.Allow(r.Context(), "ip:"+limitedAddr(ip), 1); !ok {
			return s.ingestError(c, 0, i.refused(r, "", startOf(r), &gateway.Error{Code: gateway.CodeRateLimited, Message: "too many requests from this address; slow down", RetryAfter: after}))
		}
	}
	if r.Method != http.MethodPost {
		err := gateway.Errorf(gateway.CodeInvalid, "this path does not take the method; the Allow header names those that it does")
		i.show(r, "", startOf(r), err) // uncounted: it is no payload
		c.Response().Header().Set(echo.HeaderAllow, "POST, OPTIONS")
		return writeJSON(c, http.StatusMethodNotAllowed, ingestFailure{ingestProblem{Code: err.Code, Message: err.Message}})
	}
	body, err := readBody(c.Response(), r)
	*read = body
	if err != nil {
		return s.ingestError(c, 0, i.refused(r, "", body, err))
	}
	results, batch, err := i.Gateway.Accept(r.Context(), gateway.Request{Body: body, Origin: r.Header.Get(echo.HeaderOrigin), IP: ip})
	if err != nil {
		return s.ingestError(c, 0, err)
	}
	if !batch {
		return writeResult(c, results[0])
	}
	answers := make([]any, len(results))
	for n, res := range results {
		if res.Err == nil {
			answers[n] = ingestOK{"ok", res.Warnings}
			continue
		}
		e, _ := s.edgeError(c, 0, res.Err)
		answers[n] = ingestFailure{ingestProblem{e.Code, e.Message, e.Field}}
	}
	return writeJSON(c, http.StatusOK, struct {
		Results []any `json:"results"`
	}{answers})
}

// limitedAddr is the part of an address that one household holds: all of an
// IPv4 address, the /64 of an IPv6 one.
func limitedAddr(a netip.Addr) string {
	if a.Is4() || a.Is4In6() {
		return a.Unmap().String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a.String()
	}
	return p.Addr().String()
}

type ingestOK struct {
	Status   string            `json:"status"`
	Warnings []gateway.Warning `json:"warnings,omitempty"`
}

var answerOK = []byte(`{"status":"ok"}` + "\n")

// writeResult answers a single accepted payload. Nearly all answers are this
// one, without warnings, so it costs no encoding.
func writeResult(c echo.Context, res gateway.Result) error {
	if len(res.Warnings) == 0 {
		return c.Blob(http.StatusOK, "application/json", answerOK)
	}
	return writeJSON(c, http.StatusOK, ingestOK{"ok", res.Warnings})
}

// coding is how the body is packed, "" for not at all.
func coding(r *http.Request) string {
	coding := strings.ToLower(strings.TrimSpace(r.Header.Get(echo.HeaderContentEncoding)))
	if coding == "identity" {
		return ""
	}
	return coding
}

// startBytes is how much is read of a body that is refused unread: enough to find whose
// it is. The server would read as much to keep the connection.
const startBytes = 4 << 10

// startOf returns the first bytes of a plain body, as far as they come.
func startOf(r *http.Request) []byte {
	if coding(r) != "" || r.ContentLength == 0 {
		return nil
	}
	start := make([]byte, startBytes)
	n, _ := io.ReadFull(r.Body, start) // it is refused all the same
	return start[:n]
}

// readBody reads what was posted, unpacked, up to gateway.MaxBody. What is
// longer is a CodeTooLarge however it is packed. With an error it returns what it
// has read.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := gateway.Errorf(gateway.CodeTooLarge, "the body is larger than %d bytes: send at most %d payloads of at most %d bytes each", gateway.MaxBody, gateway.MaxBatch, gateway.MaxPayload)
	if r.ContentLength > gateway.MaxBody {
		return startOf(r), tooLarge
	}
	var body bytes.Buffer
	switch coding(r) {
	case "":
		if 0 <= r.ContentLength && r.ContentLength <= gateway.MaxPayload {
			// Of a known length: read into just as much memory, as the inbox keeps it.
			// For more than one payload memory is taken as the bytes come: who only
			// announces them must not hold it.
			exact := make([]byte, r.ContentLength)
			if n, err := io.ReadFull(r.Body, exact); err != nil {
				return exact[:n], badBody(err)
			}
			return exact, nil
		}
		_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, gateway.MaxBody))
		if tooBig := (*http.MaxBytesError)(nil); errors.As(err, &tooBig) {
			return body.Bytes(), tooLarge
		} else if err != nil {
			return body.Bytes(), badBody(err)
		}
	case "gzip":
		packed, err := gzip.NewReader(http.MaxBytesReader(w, r.Body, gateway.MaxBody))
		if err != nil {
			return body.Bytes(), badBody(err)
		}
		// One byte more than allowed tells too much from just enough; the rest of
		// a bomb is never unpacked.
		n, err := body.ReadFrom(io.LimitReader(packed, gateway.MaxBody+1))
		if n > gateway.MaxBody {
			return body.Bytes(), tooLarge
		}
		if err != nil {
			return body.Bytes(), badBody(err)
		}
	default:
		return nil, gateway.Errorf(gateway.CodeInvalidPayload, "the body is encoded in a way that is not understood here: send it plain or with gzip")
	}
	return body.Bytes(), nil
}

// badBody says why a body could not be read. That the client was too slow or
// went away is its fault, not ours.
func badBody(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &gateway.Error{Code: gateway.CodeInvalidPayload, Message: "the body did not arrive in time", Err: err}
	}
	return &gateway.Error{Code: gateway.CodeInvalidPayload, Message: "the body could not be read to its end", Err: err}
}
