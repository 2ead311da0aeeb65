package gateway

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// Request is what came in at POST /ingest, freed from HTTP.
type Request struct {
	Body   []byte // must not change afterwards
	Origin string // the Origin header, "" if there is none
	IP     netip.Addr
}

// Result is what became of one payload.
type Result struct {
	Warnings []Warning
	Err      *Error // nil: accepted, durably
}

// Accept checks the payloads of a request and puts the good ones into the
// inbox. When it returns, every Result without an Err is durable. batch tells
// whether the body was an array, so that the answer must be one. The error is
// for the request as a whole; then nothing of it was accepted.
//
// What it answers depends on the payload and on the workspace's settings, never
// on what is stored about a contact: a stranger learns nothing from it.
func (g *Gateway) Accept(ctx context.Context, r Request) (results []Result, batch bool, err error) {
	results, batch, err = g.accept(ctx, r)
	switch {
	case err != nil:
		g.observe.Answered(CodeOf(err), max(len(results), 1))
	case len(results) == 1 && results[0].Err == nil:
		g.observe.Answered("", 1)
	default:
		good := len(results)
		for i := range results {
			if e := results[i].Err; e != nil {
				g.observe.Answered(e.Code, 1)
				good--
			}
		}
		g.observe.Answered("", good)
	}
	return results, batch, err
}

// accept is Accept, uncounted. With an error results tell only how many there
// were.
func (g *Gateway) accept(ctx context.Context, r Request) (results []Result, batch bool, err error) {
	items, batch, err := SplitBatch(r.Body)
	if err != nil {
		g.Refused(Refusal{Err: err, Body: r.Body, Origin: r.Origin})
		return nil, batch, err
	}
	results = make([]Result, len(items))
	entries := make([]*Entry, 0, len(items))
	taken := 0 // bytes of the good ones
	now, ip := g.clock(), MaskIP(r.IP)
	for i, body := range items {
		p, w, warnings, err := g.check(ctx, body, r.Origin, r.IP)
		if err != nil {
			g.refused(w, now, Refusal{Err: err, Body: body, Origin: r.Origin})
			if results[i].Err = asError(err); !batch {
				return nil, false, results[i].Err
			}
			continue
		}
		results[i].Warnings = warnings
		taken += len(body)
		e := &Entry{At: now, WorkspaceID: w, IP: ip, Body: body, Payload: p}
		e.setWarnings(warnings)
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return results, batch, nil
	}
	if 2*taken < cap(r.Body) {
		// The inbox counts entries by their own size; they must not keep the rest.
		for _, e := range entries {
			e.Body = bytes.Clone(e.Body)
		}
	}
	if err := g.intake.Append(ctx, entries...); err != nil {
		for _, e := range entries {
			g.refused(e.WorkspaceID, now, Refusal{Err: err, Body: e.Body, Origin: r.Origin})
		}
		return results, batch, err
	}
	return results, batch, nil
}

// check parses one payload and decides whether it may come in. With an error the
// workspace is 0 if it is not known.
func (g *Gateway) check(ctx context.Context, body []byte, origin string, ip netip.Addr) (*Payload, WorkspaceID, []Warning, error) {
	p, warnings, err := ParsePayload(body)
	if err != nil {
		return nil, 0, nil, err
	}
	w, err := g.workspaces.byAPIKey(ctx, p.APIKey)
	if err != nil {
		return nil, 0, nil, err
	}
	if !OriginAllowed(w.Settings.Origins, origin) {
		return nil, w.ID, nil, &Error{Code: CodeOriginNotAllowed, Message: "this website may not send to the workspace: add its host name to the workspace's origins"}
	}
	if excluded(w.Settings.ExcludedAddresses, ip) {
		return nil, w.ID, nil, &Error{Code: CodeAddressExcluded, Message: "the workspace excludes the network that this payload came from: see its excluded addresses"}
	}
	if g.limiter != nil {
		if ok, after := g.limiter.Allow(ctx, "key:"+p.APIKey, 1); !ok {
			return nil, w.ID, nil, &Error{Code: CodeRateLimited, Message: "too many payloads for this apiKey; slow down", RetryAfter: after}
		}
	}
	if w.Settings.VerifyIdentity && !verified(w.Settings.IdentitySecret, p) {
		return nil, w.ID, nil, &Error{Code: CodeNotVerified, Field: "user_hash", Message: "the workspace wants proof of identity: send user_hash, the hex HMAC-SHA256 of user_id (else of email) made on your server with the workspace's identity secret"}
	}
	return p, w.ID, g.checkAttributes(ctx, w.ID, p, warnings), nil
}

// checkAttributes warns about attributes that don't fit the workspace's types. What
// can't be read of those is checked when it is applied.
func (g *Gateway) checkAttributes(ctx context.Context, w WorkspaceID, p *Payload, warnings []Warning) []Warning {
	defs, err := g.attributeDefs(ctx, w)
	if err != nil {
		return warnings
	}
	warnings = checkTypes(warnings, defs.set, EntityContact, "", p.Attributes)
	for i := range p.Companies {
		warnings = checkTypes(warnings, defs.set, EntityCompany, "company.", p.Companies[i].Attributes)
	}
	return warnings
}

// checkTypes warns about custom attributes whose values don't fit the type
// that they have in the workspace, and about new ones beyond
// maxCustomAttributes, up to MaxWarnings in all.
func checkTypes(warnings []Warning, defs defSet, entity Entity, prefix string, in []PayloadAttribute) []Warning {
	full := len(defs) >= maxCustomAttributes && defs.count(entity) >= maxCustomAttributes
	for i := range in {
		a := &in[i]
		if a.Value.IsNull() {
			continue
		}
		var w Warning
		switch def := defs[DefKey{entity, a.Name}]; {
		case def == nil && !full:
			continue
		case def == nil:
			if _, standard := Standard(entity, a.Name); standard {
				continue
			}
			w = Warning{Code: WarnTooMany, Message: fmt.Sprintf("the workspace has %d custom attributes already; this one was left out", maxCustomAttributes)}
		case def.fits(a.Value):
			continue
		default:
			if _, ok := def.Convert(a.Value); ok {
				continue
			}
			name := def.Type.String()
			if def.Integer {
				name = "integer"
			}
			w = Warning{Code: WarnTypeMismatch, Message: "the attribute is of type " + name + "; this value can't be read as one and was left out"}
		}
		w.Field = prefix + a.Label
		switch n := len(warnings); {
		case n < MaxWarnings-1:
			warnings = append(warnings, w)
		case n == MaxWarnings-1:
			return append(warnings, Warning{Code: WarnTooMany, Message: "there is more to say about this payload; correct these first"})
		default:
			return warnings
		}
	}
	return warnings
}

// OriginAllowed reports whether pages of origin may post. A request without an
// Origin comes from a server, which can claim any: the list keeps websites
// apart, it is no secret.
func OriginAllowed(allowed []string, origin string) bool {
	if len(allowed) == 0 || origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	host := strings.ToLower(u.Hostname())
	for _, a := range allowed {
		a = strings.ToLower(a)
		if base, wide := strings.CutPrefix(a, "*."); wide {
			if host == base || strings.HasSuffix(host, "."+base) {
				return true
			}
		} else if host == a {
			return true
		}
	}
	return false
}

// excluded reports whether an address is in one of the networks.
func excluded(networks []netip.Prefix, ip netip.Addr) bool {
	if len(networks) == 0 || !ip.IsValid() {
		return false
	}
	ip = ip.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// verified reports whether p is anonymous or proves who it is about.
func verified(secret string, p *Payload) bool {
	id := p.CustomID
	if id == "" {
		id = p.Email
	}
	if id == "" {
		return true
	}
	if secret == "" {
		return false
	}
	got, err := hex.DecodeString(p.UserHash)
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(id))
	return hmac.Equal(got, mac.Sum(nil))
}

// asError returns err as the *Error that it is, or wraps. What is none becomes
// CodeUnavailable where time ran out, and CodeInternal else.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &Error{Code: CodeUnavailable, Message: "the request took too long; try again", Err: err}
	}
	return &Error{Code: CodeInternal, Message: "something went wrong on the server", Err: err}
}
