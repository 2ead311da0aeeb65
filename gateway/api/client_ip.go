package api

import (
	"net/http"
	"net/netip"
	"strings"

	"github.com/labstack/echo/v4"
)

// proxies are the networks whose forwarding headers are believed. Nil believes
// none.
type proxies []netip.Prefix

// IPExtractor returns the extractor to set as Echo.IPExtractor. It answers the
// address of the direct peer, unless that is in one of the trusted networks:
// then it reads X-Forwarded-For from the right, where each proxy appends the
// peer that it saw, and answers the first address that is not trusted. An
// entry that is no address ends the reading at the proxy that passed it on. If
// all are trusted it answers the left-most.
//
// Addresses come out in canonical form, IPv4 never as IPv4-mapped IPv6, without
// a zone. A peer without an address (a Unix socket) is not trusted and answers
// "". No other header is read: X-Real-IP and Forwarded (RFC 7239) are passed on
// unchanged by most proxies that do not set them.
func IPExtractor(trusted []netip.Prefix) echo.IPExtractor {
	return proxies(trusted).clientIP
}

// SchemeExtractor returns the extractor to set as Echo.SchemeExtractor: "https"
// for a TLS connection, else what a trusted peer says in X-Forwarded-Proto,
// else "http".
func SchemeExtractor(trusted []netip.Prefix) echo.SchemeExtractor {
	return proxies(trusted).scheme
}

func (p proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

func (p proxies) clientIP(r *http.Request) string {
	client, ok := parseAddr(r.RemoteAddr)
	if !ok {
		return ""
	}
	// The lines of a repeated header are one list (RFC 9110, section 5.3).
	lines := r.Header.Values(echo.HeaderXForwardedFor)
	for i := len(lines) - 1; i >= 0; i-- {
		rest, entry, more := lines[i], "", true
		for more {
			if !p.trust(client) {
				return client.String()
			}
			rest, entry, more = cutLast(rest)
			next, ok := parseAddr(entry)
			if !ok {
				return client.String()
			}
			client = next
		}
	}
	return client.String()
}

func (p proxies) trustPeer(r *http.Request) bool {
	peer, ok := parseAddr(r.RemoteAddr)
	return ok && p.trust(peer)
}

func (p proxies) scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	if p.trustPeer(r) {
		switch proto := strings.ToLower(lastValue(r.Header, echo.HeaderXForwardedProto)); proto {
		case "http", "https":
			return proto
		}
	}
	return "http"
}

// host is the host (with port, if any) under which the client knows us: what a
// trusted peer says in X-Forwarded-Host, else the request's own.
func (p proxies) host(r *http.Request) string {
	if p.trustPeer(r) {
		if host := lastValue(r.Header, "X-Forwarded-Host"); validHost(host) {
			return host
		}
	}
	return r.Host
}

// lastValue is the last entry of a list header: the one that the nearest proxy
// wrote, also where it added to what the client sent.
func lastValue(h http.Header, name string) string {
	lines := h.Values(name)
	if len(lines) == 0 {
		return ""
	}
	_, last, _ := cutLast(lines[len(lines)-1])
	return last
}

func cutLast(list string) (rest, last string, more bool) {
	if i := strings.LastIndexByte(list, ','); i >= 0 {
		return list[:i], strings.TrimSpace(list[i+1:]), true
	}
	return "", strings.TrimSpace(list), false
}

// parseAddr reads an address as it stands in RemoteAddr and in forwarding
// headers: bare, in brackets, and with or without a port.
func parseAddr(s string) (netip.Addr, bool) {
	var a netip.Addr
	if ap, err := netip.ParseAddrPort(s); err == nil {
		a = ap.Addr()
	} else if a, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")); err != nil {
		return netip.Addr{}, false
	}
	return a.Unmap().WithZone(""), true
}

// validHost reports whether s can stand in a link as host or host:port. It is
// no check of the name, only that the link stays one.
func validHost(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(".-_:[]", c) >= 0:
		default:
			return false
		}
	}
	return true
}
