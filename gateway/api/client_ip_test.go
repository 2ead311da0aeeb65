package api_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"civgate/gateway/api"
)

func prefixes(s ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range s {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func TestIPExtractor(t *testing.T) {
	t.Parallel()
	proxy := prefixes("10.0.0.0/8", "fd00::/8")
	for _, tt := range []struct {
		name    string
		trusted []netip.Prefix
		peer    string
		xff     []string
		header  map[string]string
		want    string
	}{
		{name: "direct", peer: "203.0.113.7:4711", want: "203.0.113.7"},
		{name: "direct IPv6", peer: "[2001:db8::7]:4711", want: "2001:db8::7"},
		{name: "direct IPv6 with a zone", peer: "[fe80::1%eth0]:4711", want: "fe80::1"},
		{name: "IPv4 mapped into IPv6", peer: "[::ffff:203.0.113.7]:4711", want: "203.0.113.7"},
		{name: "no proxy trusted, forged header", peer: "203.0.113.7:4711", xff: []string{"198.51.100.1"}, want: "203.0.113.7"},
		{name: "no proxy trusted, peer on a private network", peer: "10.0.0.1:4711", xff: []string{"198.51.100.1"}, want: "10.0.0.1"},
		{name: "no proxy trusted, peer on loopback", peer: "127.0.0.1:4711", xff: []string{"198.51.100.1"}, want: "127.0.0.1"},
		{name: "untrusted peer, forged header", trusted: proxy, peer: "203.0.113.7:4711", xff: []string{"198.51.100.1"}, want: "203.0.113.7"},
		{name: "untrusted peer names a trusted one", trusted: proxy, peer: "203.0.113.7:4711", xff: []string{"198.51.100.1, 10.0.0.1"}, want: "203.0.113.7"},
		{name: "trusted peer without a header", trusted: proxy, peer: "10.0.0.1:4711", want: "10.0.0.1"},
		{name: "one proxy", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"198.51.100.1"}, want: "198.51.100.1"},
		{name: "one proxy over IPv6", trusted: proxy, peer: "[fd00::1]:4711", xff: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{name: "trusted peer mapped into IPv6", trusted: proxy, peer: "[::ffff:10.0.0.1]:4711", xff: []string{"198.51.100.1"}, want: "198.51.100.1"},
		{name: "one proxy, forged entry before it", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"1.1.1.1, 198.51.100.1"}, want: "198.51.100.1"},
		{name: "forged trusted entry before it", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"10.9.9.9, 198.51.100.1"}, want: "198.51.100.1"},
		{name: "two proxies", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"1.1.1.1,198.51.100.1,10.0.0.2"}, want: "198.51.100.1"},
		{name: "two proxies in two lines", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"1.1.1.1, 198.51.100.1", "10.0.0.2"}, want: "198.51.100.1"},
		{name: "all trusted: the left-most", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"10.0.0.3, 10.0.0.2"}, want: "10.0.0.3"},
		{name: "entry with a port", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"198.51.100.1:55555"}, want: "198.51.100.1"},
		{name: "IPv6 entry with a port", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"[2001:db8::7]:55555"}, want: "2001:db8::7"},
		{name: "IPv6 entry in brackets", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"[2001:db8::7]"}, want: "2001:db8::7"},
		{name: "no address", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"198.51.100.1, unknown"}, want: "10.0.0.1"},
		{name: "no address before a proxy", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"198.51.100.1, <script>, 10.0.0.2"}, want: "10.0.0.2"},
		{name: "empty header", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{""}, want: "10.0.0.1"},
		{name: "empty entry", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{"198.51.100.1,"}, want: "10.0.0.1"},
		{name: "megabyte of entries", trusted: proxy, peer: "10.0.0.1:4711", xff: []string{strings.Repeat("1.1.1.1,", 1<<17) + "198.51.100.1"}, want: "198.51.100.1"},
		{name: "other headers are not read", trusted: proxy, peer: "10.0.0.1:4711",
			header: map[string]string{"X-Real-Ip": "198.51.100.1", "Forwarded": "for=198.51.100.1", "True-Client-Ip": "198.51.100.1", "Cf-Connecting-Ip": "198.51.100.1"}, want: "10.0.0.1"},
		{name: "Unix socket", trusted: proxy, peer: "@", xff: []string{"198.51.100.1"}, want: ""},
		{name: "no peer", trusted: proxy, peer: "", xff: []string{"198.51.100.1"}, want: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			for _, line := range tt.xff {
				r.Header.Add("X-Forwarded-For", line)
			}
			for name, value := range tt.header {
				r.Header.Set(name, value)
			}
			if got := api.IPExtractor(tt.trusted)(r); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestSchemeExtractor(t *testing.T) {
	t.Parallel()
	proxy := prefixes("10.0.0.0/8")
	for _, tt := range []struct {
		name  string
		peer  string
		tls   bool
		proto []string
		want  string
	}{
		{"direct", "203.0.113.7:1", false, nil, "http"},
		{"direct over TLS", "203.0.113.7:1", true, nil, "https"},
		{"forged", "203.0.113.7:1", false, []string{"https"}, "http"},
		{"proxy", "10.0.0.1:1", false, []string{"https"}, "https"},
		{"proxy without a header", "10.0.0.1:1", false, nil, "http"},
		{"proxy in capitals", "10.0.0.1:1", false, []string{"HTTPS"}, "https"},
		{"proxy adds to a forged one", "10.0.0.1:1", false, []string{"https, http"}, "http"},
		{"proxy adds a line", "10.0.0.1:1", false, []string{"http", "https"}, "https"},
		{"another word", "10.0.0.1:1", false, []string{"javascript"}, "http"},
		{"TLS to the proxy's own header", "10.0.0.1:1", true, []string{"http"}, "https"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.RemoteAddr = tt.peer
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			for _, line := range tt.proto {
				r.Header.Add("X-Forwarded-Proto", line)
			}
			if got := api.SchemeExtractor(proxy)(r); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzIPExtractor: an untrusted peer is always itself, whatever it sends; a
// trusted one leads to an address in any case.
func FuzzIPExtractor(f *testing.F) {
	for _, s := range []string{"", "1.1.1.1", "1.1.1.1, 10.0.0.2", "[::1]:80, unknown", ",,,", "10.0.0.1,10.0.0.2"} {
		f.Add(s)
	}
	extract := api.IPExtractor(prefixes("10.0.0.0/8"))
	f.Fuzz(func(t *testing.T, xff string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-Forwarded-For", xff)
		r.RemoteAddr = "203.0.113.7:1"
		if got := extract(r); got != "203.0.113.7" {
			t.Errorf("%q made of an untrusted peer %q", xff, got)
		}
		r.RemoteAddr = "10.0.0.1:1"
		if got := extract(r); got != "" {
			if a, err := netip.ParseAddr(got); err != nil || a.String() != got || a.Is4In6() {
				t.Errorf("%q led to %q", xff, got)
			}
		} else {
			t.Errorf("%q led nowhere", xff)
		}
	})
}
