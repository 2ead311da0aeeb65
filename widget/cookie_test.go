package widget_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// cookies returns the page's cookies as the browser keeps them.
func cookies(b *tab) []*network.Cookie {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	found, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) ([]*network.Cookie, error) {
		got, err := cdp.Call(ctx, t, network.GetCookies, network.GetCookiesParams{})
		return got.Cookies, err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return found
}

func TestCookieIsOnTheWidestDomain(t *testing.T) {
	t.Parallel()
	cases := []struct{ host, want string }{
		{"localhost", "localhost"},
		{"127.0.0.1", "127.0.0.1"},
		{"shop.localhost", "shop.localhost"},
		{"www.shop.localhost", ".shop.localhost"},
		{"example.test", ".example.test"},
		{"www.example.test", ".example.test"},
		{"a.b.c.example.test", ".example.test"},
		{"www.shop.co.uk", ".shop.co.uk"},
		{"co.uk", "co.uk"},
		{"someone.github.io", ".someone.github.io"},
	}
	for _, c := range cases {
		t.Run(c.host, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.at(c.host) + "/anonymous")
			g.wait("the page view", func() bool { return len(g.messages()) == 1 })
			all := cookies(b)
			if len(all) != 1 {
				t.Fatalf("%d cookies, want one and no trace of the search: %v", len(all), all)
			}
			got := all[0]
			if got.Domain != c.want && got.Domain != "."+c.want {
				t.Errorf("domain = %q, want %q", got.Domain, c.want)
			}
			if got.Name != "__ca__chat" || got.Value != g.messages()[0].Envelope.Key || got.Path != "/" {
				t.Errorf("cookie %s=%s on %s", got.Name, got.Value, got.Path)
			}
			if got.HTTPOnly || got.Secure || got.SameSite != network.CookieSameSiteLax {
				t.Errorf("HttpOnly %v, Secure %v, SameSite %s", got.HTTPOnly, got.Secure, got.SameSite)
			}
			year := time.Now().AddDate(0, 0, 365).Unix()
			if math.Abs(got.Expires-float64(year)) > 3600 {
				t.Errorf("expires in %v days", (got.Expires-float64(time.Now().Unix()))/86400)
			}
		})
	}
}

func TestCookieIsSecureOnHTTPS(t *testing.T) {
	t.Parallel()
	g, b := newSecureGateway(t), newTab(t)
	b.open(g.at("www.example.test") + "/known")
	g.wait("the page view", func() bool { return len(g.messages()) == 1 })
	all := cookies(b)
	if len(all) != 1 || !all[0].Secure || all[0].Domain != ".example.test" {
		t.Fatalf("cookies %+v, want one that is Secure on .example.test", all)
	}
	// Reading it back works on https as it does on http.
	b.open(g.at("www.example.test") + "/anonymous")
	g.wait("the second page view", func() bool { return len(g.messages()) == 2 })
	if m := g.messages(); m[0].Envelope.Key != m[1].Envelope.Key {
		t.Errorf("keys %s and %s", m[0].Envelope.Key, m[1].Envelope.Key)
	}
}

func TestKeyIsRestored(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, lose string }{
		{"nothing is lost", ``},
		{"the cookie is lost", `document.cookie = '__ca__chat=;path=/;max-age=0'; document.cookie = '__ca__chat=;path=/;max-age=0;domain=shop.localhost';`},
		{"localStorage is lost", `localStorage.clear();`},
		{"the mirror is nonsense", `localStorage.setItem('__ca__chat', '<script>');`},
		{"the cookie is nonsense", `document.cookie = '__ca__chat=a b;path=/;domain=shop.localhost';`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			url := g.at("www.shop.localhost") + "/anonymous"
			b.open(url)
			g.wait("the first visit", func() bool { return len(g.messages()) == 1 })
			b.run(c.lose)
			b.open(url)
			g.wait("the second visit", func() bool { return len(g.messages()) == 2 })
			first, second := g.messages()[0].Envelope.Key, g.messages()[1].Envelope.Key
			if first != second {
				t.Errorf("key %s became %s", first, second)
			}
			if got := eval[string](b, `document.cookie + ' ' + localStorage.getItem('__ca__chat')`); got != "__ca__chat="+first+" "+first {
				t.Errorf("the page has %q", got)
			}
		})
	}
}

// TestCookieOfAFolder covers back ends that set the cookie without naming a path, which is then the folder of their page.
func TestCookieOfAFolder(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	url := g.at("www.shop.localhost") + "/shop/anonymous"
	b.open(url)
	g.wait("the first visit", func() bool { return len(g.messages()) == 1 })
	b.run(`
		for (const path of ['/shop', '/shop/', '/shop/anonymous']) document.cookie = '__ca__chat=Survivor12345;path=' + path;
		userengage('event.handed');
		UE.resetAuth();
		userengage('event.a'); userengage('event.b');`)
	g.upTo("event b")
	b.open(url)
	g.wait("the second visit", func() bool { return len(g.messages()) == 6 })
	all := g.messages()
	if got := all[1].Envelope.Key; got != "Survivor12345" {
		t.Errorf("key = %q, want the one handed over", got)
	}
	for _, m := range all[2:] {
		if m.Envelope.Key == "Survivor12345" || m.Envelope.Key != all[2].Envelope.Key {
			t.Errorf("%s after log-out has key %q, the log-out had %q", m.brief(), m.Envelope.Key, all[2].Envelope.Key)
		}
	}
	if left := cookies(b); len(left) != 1 || left[0].Value != all[2].Envelope.Key {
		t.Errorf("cookies %v", left)
	}
}

// TestKeyOfTheSitesServer covers shops whose back end hands over the key of a merged contact, by a cookie for its host alone.
func TestKeyOfTheSitesServer(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, set string }{
		{"while the page is open", ``},
		{"before the next page", `reload`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.at("www.shop.localhost") + "/anonymous")
			g.wait("the first visit", func() bool { return len(g.messages()) == 1 })
			b.run(`document.cookie = '__ca__chat=Survivor12345;path=/'`)
			if c.set != "" {
				b.open(g.at("www.shop.localhost") + "/anonymous")
				g.wait("the second visit", func() bool { return len(g.messages()) == 2 })
			}
			b.run(`userengage('event.x')`)
			g.upTo("event x")
			all := g.messages()
			if got := all[len(all)-1].Envelope.Key; got != "Survivor12345" {
				t.Errorf("key = %q", got)
			}
			var left []string
			for _, one := range cookies(b) {
				left = append(left, one.Domain+" "+one.Value)
			}
			if diff := cmp.Diff([]string{".shop.localhost Survivor12345"}, left); diff != "" {
				t.Errorf("one cookie stays: %s", diff)
			}
			// Logging out still works, and on the sister site too.
			b.run(`UE.resetAuth()`)
			b.open(g.at("blog.shop.localhost") + "/anonymous")
			g.wait("the visit of the sister site", func() bool { return len(g.messages()) == len(all)+2 })
			all = g.messages()
			reset, sister := all[len(all)-2].Envelope, all[len(all)-1].Envelope
			if reset.Key == "Survivor12345" || sister.Key != reset.Key {
				t.Errorf("after log-out %s, on the sister site %s", reset.Key, sister.Key)
			}
		})
	}
}
