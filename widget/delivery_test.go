package widget_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/google/go-cmp/cmp"
)

// queued is how many messages wait in the page's storage.
const queued = `Object.keys(localStorage).filter((name) => name.startsWith('__ca__q')).length`

// drained waits until nothing waits any more.
func drained(b *tab) {
	b.t.Helper()
	b.until(queued + ` === 0`)
}

func numbered(from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("event %d", i))
	}
	return out
}

func TestQueueSurvivesOfflineAndReload(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	// The beacons of the page that is left are never answered: what they carry is known or not by the next page's requests.
	beacon := func(r request) bool { return r.Header.Get("Sec-Fetch-Mode") == "no-cors" }
	g.decide(always(answer{Cut: true}))
	b.open(g.site("/anonymous"))
	b.run(`for (let i = 0; i < 70; i++) userengage('event.' + i)`)
	g.wait("a first try", func() bool { return len(g.received()) > 0 })
	if n := eval[int](b, queued); n != 71 {
		t.Errorf("%d messages wait, want 71", n)
	}
	b.open(g.site("/known"))
	b.run(`userengage('event.70')`)
	left := len(g.received())
	g.wait("a try of the second page", func() bool {
		return slices.ContainsFunc(g.received()[left:], func(r request) bool { return !beacon(r) && len(r.Messages) > 1 })
	})
	g.decide(func(r request) answer { return answer{Cut: beacon(r)} })
	b.run(`dispatchEvent(new Event('online'))`)
	drained(b)

	want := append(append([]string{"page"}, numbered(0, 70)...), "page", "event 70")
	var got []message
	for _, r := range g.answered() {
		if len(r.Messages) > 50 {
			t.Errorf("a request of %d messages", len(r.Messages))
		}
		got = append(got, r.Messages...)
	}
	if diff := cmp.Diff(want, briefs(got)); diff != "" {
		t.Errorf("delivered once and in order: %s", diff)
	}
	for i := 1; i < len(got); i++ {
		if got[i].Envelope.ID <= got[i-1].Envelope.ID {
			t.Fatalf("ids don't grow: %s after %s", got[i].Envelope.ID, got[i-1].Envelope.ID)
		}
	}
}

func TestOnlineEndsTheWait(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/anonymous"))
	g.wait("the page view", func() bool { return len(g.messages()) == 1 })
	offline := func(is bool) {
		b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
			if _, err := cdp.Call(ctx, t, network.Enable, network.EnableParams{}); err != nil {
				return chromedp.Void{}, err
			}
			conditions := &network.Conditions{DownloadThroughput: -1, UploadThroughput: -1, Offline: is}
			if _, err := cdp.Call(ctx, t, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
				MatchedNetworkConditions: []*network.Conditions{conditions},
			}); err != nil {
				return chromedp.Void{}, err
			}
			_, err := cdp.Call(ctx, t, network.OverrideNetworkState, network.OverrideNetworkStateParams{
				Offline: is, DownloadThroughput: -1, UploadThroughput: -1,
			})
			return chromedp.Void{}, err
		})
	}
	offline(true)
	b.run(`userengage('event.offline')`)
	b.until(queued + ` === 1`)
	b.run(`await new Promise((done) => setTimeout(done, 200))`)
	offline(false)
	g.upTo("event offline")
	drained(b)
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	first := func(a answer) func() func(request) answer {
		return func() func(request) answer {
			n := 0
			return func(request) answer {
				if n++; n == 1 {
					return a
				}
				return answer{}
			}
		}
	}
	// each answers by the names of the events: "bad" is refused, "busy" is refused for now, once.
	each := func(status int) func() func(request) answer {
		return func() func(request) answer {
			busy := true
			return func(r request) answer {
				var results []string
				for _, m := range r.Messages {
					switch {
					case m.Envelope.Name == "bad" && status != 0:
						return answer{Status: status, Body: `{"error":{"code":"invalid_payload","message":"no"}}`}
					case m.Envelope.Name == "bad":
						results = append(results, `{"error":{"code":"invalid_payload","message":"no","field":"$.name"}}`)
					case m.Envelope.Name == "busy" && busy:
						busy = false
						results = append(results, `{"error":{"code":"rate_limited","message":"later"}}`)
					default:
						results = append(results, `{"status":"ok"}`)
					}
				}
				if !r.Array {
					return answer{Body: results[0]}
				}
				return answer{Body: `{"results":[` + strings.Join(results, ",") + `]}`}
			}
		}
	}
	cases := []struct {
		name   string
		answer func() func(request) answer
		script string
		want   []string // what is delivered, with repeats
	}{
		{"200 without a readable body", first(answer{Body: "ok"}), `userengage('event.a')`, []string{"event a"}},
		{"204", first(answer{Status: 204}), `userengage('event.a')`, []string{"event a"}},
		{"400 is final", first(answer{Status: 400}), `userengage('event.a')`, []string{"event a"}},
		{"401 is final", first(answer{Status: 401}), `userengage('event.a')`, []string{"event a"}},
		{"403 is final", first(answer{Status: 403}), `userengage('event.a')`, []string{"event a"}},
		{"404 is final", first(answer{Status: 404}), `userengage('event.a')`, []string{"event a"}},
		{"413 is final", first(answer{Status: 413}), `userengage('event.a')`, []string{"event a"}},
		{"500 is tried again", first(answer{Status: 500}), `userengage('event.a')`, []string{"event a", "event a"}},
		{"502 is tried again", first(answer{Status: 502, Body: "<html>"}), `userengage('event.a')`, []string{"event a", "event a"}},
		{"429 is tried again", first(answer{Status: 429}), `userengage('event.a')`, []string{"event a", "event a"}},
		{"a cut connection is tried again", first(answer{Cut: true}), `userengage('event.a')`, []string{"event a", "event a"}},
		{"one refused in an array", each(0), `for (const name of ['a', 'bad', 'b']) userengage('event.' + name)`, []string{"event a", "event bad", "event b"}},
		{"one too early in an array", each(0), `for (const name of ['a', 'busy', 'bad', 'b']) userengage('event.' + name)`,
			[]string{"event a", "event busy", "event bad", "event b", "event busy"}},
		{"an array refused because of one", each(403), `for (const name of ['a', 'bad', 'b']) userengage('event.' + name)`,
			[]string{"event a", "event bad", "event b", "event a", "event bad", "event b"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site("/anonymous"))
			g.wait("the page view", func() bool { return len(g.messages()) == 1 })
			drained(b)
			g.decide(c.answer())
			b.run(c.script)
			drained(b)
			var got []message
			for _, r := range g.received()[1:] {
				got = append(got, r.Messages...)
			}
			if diff := cmp.Diff(c.want, briefs(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		status int
		value  func() string
	}{
		{"429 in seconds", http.StatusTooManyRequests, func() string { return "2" }},
		// A date has whole seconds: this one is 3 to 4 seconds away.
		{"503 as a date", http.StatusServiceUnavailable, func() string { return time.Now().Add(4 * time.Second).UTC().Format(http.TimeFormat) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			g.decide(func(request) answer {
				return answer{Status: c.status, Header: map[string]string{"Retry-After": c.value()}}
			})
			b.open(g.site("/anonymous"))
			g.wait("a first try", func() bool { return len(g.received()) == 1 })
			b.until(`localStorage.getItem('__ca__w') > 0`)
			g.decide(nil)
			// Neither new messages, nor the network, nor leaving, nor another page may break the silence.
			b.run(`userengage('event.a'); dispatchEvent(new Event('online')); dispatchEvent(new PageTransitionEvent('pagehide'));`)
			b.open(g.site("/known"))
			g.wait("the second try", func() bool { return len(g.received()) > 1 })
			r := g.received()
			if waited := r[1].At.Sub(r[0].At); waited < 1900*time.Millisecond {
				t.Errorf("waited %v, asked for 2 s", waited)
			}
			if diff := cmp.Diff([]string{"page", "event a", "page"}, briefs(r[1].Messages)); diff != "" {
				t.Error(diff)
			}
			drained(b)
		})
	}
}

func TestStoredTimesOfAnotherClock(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/empty"))
	b.run(`
		// As left by a page before the clock was set back by a year.
		localStorage.setItem('__ca__w', Date.now() + 31536e6);
		localStorage.setItem('__ca__l', Date.now() + 31536e6);
		delete Navigator.prototype.locks;
		window.civchat = {apiKey: 'A1B2C3'};`)
	b.include(g)
	g.wait("the page view", func() bool { return len(g.messages()) == 1 })
	b.run(`
		const real = Date.now;
		userengage('event.1');
		Date.now = () => real() - 5000;
		userengage('event.2');
		Date.now = () => real() + 5000;
		userengage('event.3');
		Date.now = real;
		userengage('event.4');`)
	if diff := cmp.Diff([]string{"page", "event 1", "event 2", "event 3", "event 4"}, briefs(g.through(b))); diff != "" {
		t.Error(diff)
	}
	drained(b)
}

func TestBadEntriesInStorage(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/empty"))
	b.run(`
		const hex = (ms) => ms.toString(16).padStart(12, '0').replace(/^(.{8})/, '$1-') + '-7000-8000-000000000000';
		const hour = 3600e3;
		localStorage.setItem('__ca__q' + hex(Date.now() - 8 * 24 * hour), '{"apiKey":"old"}');
		localStorage.setItem('__ca__q' + hex(Date.now() - 6 * 24 * hour), '{"apiKey":"recent","$":{"id":"r","type":"event","name":"recent"}}');
		localStorage.setItem('__ca__q' + hex(Date.now() - 5 * 24 * hour), '');
		localStorage.setItem('__ca__qnonsense', '{}');
		localStorage.setItem('other', 'mine');
		window.civchat = {apiKey: 'A1B2C3'};`)
	b.include(g)
	if diff := cmp.Diff([]string{"event recent", "page"}, briefs(g.through(b))); diff != "" {
		t.Error(diff)
	}
	drained(b)
	if eval[string](b, `localStorage.getItem('other')`) != "mine" {
		t.Error("the page's own entry is gone")
	}
}

// TestQueueIsBoundedDuringSilence fills the queue while nothing may be sent for an hour.
func TestQueueIsBoundedDuringSilence(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	g.decide(always(answer{Status: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "3600"}}))
	b.open(g.site("/anonymous"))
	b.until(`localStorage.getItem('__ca__w') > 0`)
	b.run(`for (let i = 0; i < 200; i++) userengage('event.' + i, {a: 'x'.repeat(8000)})`)
	if n := eval[int](b, queued); n > 64+32 {
		t.Errorf("%d messages of 8 KiB wait, want at most 512 KiB and a few", n)
	}
	if n := len(g.received()); n != 1 {
		t.Errorf("%d requests, want silence after the first", n)
	}
}

func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name    string
		script  string
		atMost  int
		atLeast int
	}{
		{"1,000 messages", `for (let i = 0; i < 1100; i++) userengage('event.' + i)`, 1000, 1000},
		{"512 KiB", `for (let i = 0; i < 100; i++) userengage('event.' + i, {a: 'ж'.repeat(4000)})`, 64, 60},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			g.decide(always(answer{Cut: true}))
			b.open(g.site("/anonymous"))
			b.run(c.script)
			b.until(fmt.Sprintf(`%s <= %d`, queued, c.atMost))
			if n := eval[int](b, queued); n < c.atLeast {
				t.Errorf("%d messages are left", n)
			}
			g.decide(nil)
			b.run(`dispatchEvent(new Event('online'))`)
			drained(b)
			var got []string
			for _, r := range g.answered() {
				got = append(got, briefs(r.Messages)...)
			}
			// The oldest went; the newest are all there, in order.
			last := 1100
			if c.atMost < 1000 {
				last = 100
			}
			if diff := cmp.Diff(numbered(last-len(got), last), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLeavingHandsTheRestToABeacon(t *testing.T) {
	t.Parallel()
	for _, locks := range []bool{true, false} {
		t.Run(fmt.Sprintf("locks %v", locks), func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			if !locks {
				b.before(`delete Navigator.prototype.locks;`)
			}
			answered := make(chan struct{})
			g.decide(func(r request) answer {
				if r.Messages[0].Envelope.Path == "/anonymous" && r.Header.Get("Sec-Fetch-Mode") == "cors" {
					return answer{After: answered}
				}
				return answer{}
			})
			b.open(g.site("/anonymous"))
			g.wait("the page view", func() bool { return len(g.received()) == 1 })
			// The first request hangs, so these wait behind it.
			b.run(`for (let i = 0; i < 60; i++) userengage('event.' + i)`)
			b.open(g.at("other.localhost") + "/empty")
			g.wait("all beacons", func() bool { return len(g.messages()) == 61 })
			close(answered)
			beacons := g.received()[1:]
			for _, r := range beacons {
				if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "no-cors" || len(r.Messages) > 50 {
					t.Errorf("mode %q, %d messages: want beacons of at most 50", mode, len(r.Messages))
				}
			}
			// The network may swap two beacons; what is inside them is in order.
			slices.SortFunc(beacons, func(a, b request) int {
				return strings.Compare(a.Messages[0].Envelope.ID, b.Messages[0].Envelope.ID)
			})
			var got []string
			for _, r := range beacons {
				got = append(got, briefs(r.Messages)...)
			}
			if diff := cmp.Diff(numbered(0, 60), got); diff != "" {
				t.Error(diff)
			}
			// A beacon brings no answer: the next page sends once more what the gateway already knows.
			b.open(g.site("/known"))
			drained(b)
			if all := g.messages(); len(all) != 62 || all[61].Envelope.Path != "/known" {
				t.Errorf("%d messages, want 62 with the next page view at the end", len(all))
			}
		})
	}
}

func TestHidingHandsOverOnce(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	answered := make(chan struct{})
	g.decide(func(r request) answer {
		if r.Messages[0].brief() == "page" && !r.Array {
			return answer{After: answered}
		}
		return answer{}
	})
	b.open(g.site("/anonymous"))
	g.wait("the page view", func() bool { return len(g.received()) == 1 })
	b.run(`
		userengage('event.a');
		Object.defineProperty(document, 'hidden', {value: true});
		document.dispatchEvent(new Event('visibilitychange'));
		document.dispatchEvent(new Event('visibilitychange'));
		userengage('event.b');
		document.dispatchEvent(new Event('visibilitychange'));`)
	g.wait("both beacons", func() bool { return len(g.received()) >= 3 }) // the network may swap them
	var beacons []string
	for _, r := range g.received()[1:] {
		beacons = append(beacons, briefs(r.Messages)...)
	}
	if slices.Sort(beacons); !cmp.Equal(beacons, []string{"event a", "event b"}) {
		t.Errorf("beacons held %q", beacons)
	}
	close(answered)
	drained(b)
}

func TestTwoTabs(t *testing.T) {
	t.Parallel()
	for _, locks := range []bool{true, false} {
		t.Run(fmt.Sprintf("locks %v", locks), func(t *testing.T) {
			t.Parallel()
			g, a := newGateway(t), newTab(t)
			b := a.sibling()
			if !locks {
				a.before(`delete Navigator.prototype.locks;`)
				b.before(`delete Navigator.prototype.locks;`)
			}
			g.decide(always(answer{Cut: true}))
			a.open(g.site("/anonymous"))
			b.open(g.site("/known"))
			a.run(`for (let i = 0; i < 30; i++) userengage('event.a' + i)`)
			b.run(`for (let i = 0; i < 30; i++) userengage('event.b' + i)`)
			g.wait("a try", func() bool { return len(g.received()) > 1 })
			g.decide(nil)
			a.run(`dispatchEvent(new Event('online'))`)
			b.run(`dispatchEvent(new Event('online'))`)
			drained(a)
			drained(b)
			// Both still work, and nothing is sent for ever.
			a.run(`userengage('event.a30')`)
			b.run(`userengage('event.b30')`)
			g.upTo("event a30")
			g.upTo("event b30")
			drained(a)

			deliveries := 0
			for _, r := range g.answered() {
				deliveries += len(r.Messages)
			}
			if deliveries > 2*64 {
				t.Errorf("%d deliveries of 64 messages", deliveries)
			}
			for _, name := range []string{"a", "b"} {
				var want, got []string
				for i := 0; i <= 30; i++ {
					want = append(want, fmt.Sprintf("event %s%d", name, i))
				}
				for _, m := range g.messages() {
					if strings.HasPrefix(m.brief(), "event "+name) {
						got = append(got, m.brief())
					}
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("tab %s: %s", name, diff)
				}
			}
			if ka, kb := eval[string](a, `civchat.userKey`), eval[string](b, `civchat.userKey`); ka != kb {
				t.Errorf("two visitors: %s and %s", ka, kb)
			}
		})
	}
}

func TestLogOutInAnotherTab(t *testing.T) {
	t.Parallel()
	g, a := newGateway(t), newTab(t)
	anonymous, known := a.sibling(), a.sibling()
	a.open(g.site("/anonymous"))
	g.upTo("page")
	anonymous.open(g.site("/anonymous"))
	known.open(g.site("/known"))
	g.wait("three visits", func() bool { return len(g.messages()) == 3 })
	before := g.messages()[0].Envelope.Key
	a.run(`UE.resetAuth()`)
	g.upTo("reset")
	after := eval[string](a, `civchat.userKey`)
	anonymous.run(`userengage('event.anonymous')`)
	g.upTo("event anonymous")
	known.run(`userengage('event.known')`)
	g.upTo("event known")
	for _, m := range g.messages()[3:] {
		want := after
		if m.Envelope.Name == "known" {
			// It names a person, whom the new visitor must not become.
			want = before
		}
		if m.Envelope.Key != want {
			t.Errorf("%s has key %s, want %s; before log-out it was %s", m.brief(), m.Envelope.Key, want, before)
		}
	}
	if got := eval[string](a, `document.cookie`); got != "__ca__chat="+after {
		t.Errorf("cookie %q, want %s", got, after)
	}
}

func TestNoStorageStillRetries(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`
		Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});
		Object.defineProperty(document, 'cookie', {get() { throw new DOMException('no', 'SecurityError'); }, set() { throw new DOMException('no', 'SecurityError'); }});`)
	g.decide(always(answer{Cut: true}))
	b.open(g.site("/anonymous"))
	g.wait("a try", func() bool { return len(g.received()) > 0 })
	b.run(`userengage('event.a')`)
	g.decide(nil)
	b.run(`dispatchEvent(new Event('online'))`)
	got := g.through(b)
	if diff := cmp.Diff([]string{"page", "event a"}, briefs(got)); diff != "" {
		t.Error(diff)
	}
	if got[0].Envelope.Key != got[1].Envelope.Key {
		t.Errorf("keys %s and %s", got[0].Envelope.Key, got[1].Envelope.Key)
	}
}

func TestRequestsOfThePageItself(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, before string }{
		{"a fetch that throws at first", `const native = fetch; let n = 0; window.fetch = function () { if (n++ < 1) throw new Error('blocked'); return native.apply(this, arguments); };`},
		{"a fetch that answers nothing at first", `const native = fetch; let n = 0; window.fetch = function () { if (n++ < 1) return; return native.apply(this, arguments); };`},
		{"a wrapper around fetch", `const native = fetch; window.fetch = async (...args) => native(...args);`},
		{"a budget for keepalive that is used up", `const native = fetch; window.fetch = (url, how) => how.keepalive ? Promise.reject(new TypeError('too much')) : native(url, how);`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.before(c.before)
			b.open(g.site("/anonymous"))
			if diff := cmp.Diff([]string{"page"}, briefs(g.through(b))); diff != "" {
				t.Error(diff)
			}
			drained(b)
		})
	}
}
