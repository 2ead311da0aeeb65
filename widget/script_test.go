package widget_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	uuid7      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	visitorKey = regexp.MustCompile(`^[a-z0-9]{12}$`)
)

func TestPagesWithTheSnippet(t *testing.T) {
	t.Parallel()
	anonymous := map[string]any{"apiKey": "A1B2C3"}
	cases := []struct {
		name string
		page string
		want []string
		body map[string]any
	}{
		{"anonymous snippet", "/anonymous", []string{"page"}, anonymous},
		{"logged-in snippet", "/known", []string{"page"}, map[string]any{
			"apiKey": "A1B2C3", "name": "John Doe", "user_id": "42", "email": "john@acme.test", "gender": 2.0, "status": 2.0,
			"date_attr": "2017-07-25T14:14:08.612Z", "phone_number": "+48123456789", "score": 0.0,
			"company": map[string]any{"name": "Acme", "company_id": "c7", "revenue": "$239.9 billion", "employees": 32.0},
		}},
		{"civchat after the script", "/after", []string{"page"}, anonymous},
		{"script loaded async, with query and fragment", "/async", []string{"page"}, anonymous},
		{"civchat much later", "/late", []string{"page"}, anonymous},
		{"apiKey put into an empty civchat", "/filled", []string{"page"}, anonymous},
		{"civchat as var after the script", "/var", []string{"page"}, anonymous},
		{"civchat as var before the script", "/declared", []string{"page"}, anonymous},
		{"civchat declared before and set later", "/declared-late", []string{"page"}, anonymous},
		{"script three times", "/twice", []string{"page"}, anonymous},
		{"module script, which doesn't know its address", "/module", []string{"page"}, anonymous},
		{"tag manager", "/tagmanager", []string{"page"}, anonymous},
		{"calls before the script", "/queued", []string{"page", "update", "event early", "update"}, anonymous},
		{"strict content policy", "/strict", []string{"page"}, anonymous},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site(c.page))
			g.wait("the first page view", func() bool { return len(g.messages()) > 0 })
			got := g.through(b)
			if diff := cmp.Diff(c.want, briefs(got)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.body, got[0].Body); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEnvelope(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	start := time.Now()
	b.open(g.site("/anonymous?q=1#secret=2"))
	g.wait("the page view", func() bool { return len(g.messages()) > 0 })

	r := g.received()[0]
	if r.Array {
		t.Error("a single message should be a single object")
	}
	if got := r.Header.Get("Content-Type"); got != "text/plain;charset=UTF-8" {
		t.Errorf("Content-Type = %q: other types would cost a preflight", got)
	}
	if got := r.Header.Get("Origin"); got != g.site("") {
		t.Errorf("Origin = %q", got)
	}
	if r.Header.Get("Cookie") != "" {
		t.Error("the request carries cookies")
	}
	e := r.Messages[0].Envelope
	if !uuid7.MatchString(e.ID) {
		t.Errorf("id %q is no UUID of version 7", e.ID)
	}
	if !visitorKey.MatchString(e.Key) {
		t.Errorf("key %q is not 12 of [a-z0-9]", e.Key)
	}
	at, err := time.Parse("2006-01-02T15:04:05.000Z", e.At)
	if err != nil || at.Before(start.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
		t.Errorf("at = %q, want the time of the visit (%v)", e.At, err)
	}
	if want := g.site("/anonymous?q=1"); e.URL != want {
		t.Errorf("url = %q, want %q without the fragment", e.URL, want)
	}
	if e.Path != "/anonymous" || e.Title != "Anonymous" || e.Referrer != "" || e.Type != "page" {
		t.Errorf("path, title, referrer, type = %q, %q, %q, %q", e.Path, e.Title, e.Referrer, e.Type)
	}

	// The page that a link leads to names this one.
	b.run(`location.href = "/known"`)
	g.wait("the next page view", func() bool { return len(g.messages()) == 2 })
	next := g.messages()[1].Envelope
	if want := g.site("/anonymous?q=1#secret=2"); next.Referrer != want && next.Referrer != g.site("/anonymous?q=1") {
		t.Errorf("referrer = %q, want %q", next.Referrer, want)
	}
	if next.Key != e.Key || next.ID <= e.ID {
		t.Errorf("key %q then %q, id %q then %q: want the same key and a later id", e.Key, next.Key, e.ID, next.ID)
	}
}

func TestPublicCalls(t *testing.T) {
	t.Parallel()
	type sent struct {
		Brief string
		Body  map[string]any
		Data  map[string]any
	}
	known := func(more map[string]any) map[string]any {
		body := map[string]any{"apiKey": "A1B2C3"}
		for k, v := range more {
			body[k] = v
		}
		return body
	}
	cases := []struct {
		name   string
		script string
		want   []sent
	}{
		{"event", `userengage('event.Added hashtag')`, []sent{{"event Added hashtag", known(nil), map[string]any{}}}},
		{"event with attributes", `userengage('event.buy', {n: 2, ok: false, at: new Date(0), deep: {a: [1, undefined]}, none: undefined})`,
			[]sent{{"event buy", known(nil), map[string]any{"n": 2.0, "ok": false, "at": "1970-01-01T00:00:00.000Z", "deep": map[string]any{"a": []any{1.0}}}}}},
		{"event without a name", `userengage('event.')`, nil},
		{"name without the prefix", `userengage('buy', {n: 1})`, nil},
		{"product event", `userengage('product_event', {product_id: 'p1', event_type: 'add to cart', price: 9.5, custom_data: {a: 1}})`,
			[]sent{{"product_event add to cart", known(nil), map[string]any{"product_id": "p1", "event_type": "add to cart", "price": 9.5, "custom_data": map[string]any{"a": 1.0}}}}},
		{"several product events", `userengage('product_event', [{product_id: 1, event_type: 'view'}, {product_id: 2, event_type: 'refund'}])`,
			[]sent{
				{"product_event view", known(nil), map[string]any{"product_id": 1.0, "event_type": "view"}},
				{"product_event refund", known(nil), map[string]any{"product_id": 2.0, "event_type": "refund"}},
			}},
		{"product event without a product", `userengage('product_event', {event_type: 'view'})`, nil},
		{"product event of no known type", `userengage('product_event', {product_id: 1, event_type: 'steal'})`, nil},
		{"product event with nothing", `userengage('product_event')`, nil},
		{"client.update", `userengage('client.update', {plan: 'pro', gone: null})`, []sent{{"update", known(map[string]any{"plan": "pro", "gone": nil}), nil}}},
		{"pageHit on another page", `history.pushState(0, '', '/other'); UE.pageHit({apiKey: 'A1B2C3', first_name: 'Ann'})`,
			[]sent{{"page", known(map[string]any{"first_name": "Ann"}), nil}}},
		{"pageHit with only URL", `history.pushState(0, '', '/other'); UE.pageHit({URL: '/other'})`, []sent{{"page", known(nil), nil}}},
		{"pageHit with nothing", `history.pushState(0, '', '/other'); UE.pageHit()`, []sent{{"page", known(nil), nil}}},
		{"pageHit in the same moment", `UE.pageHit({apiKey: 'A1B2C3'}); UE.pageHit()`, nil},
		{"pageHit in the same moment with news", `UE.pageHit({apiKey: 'A1B2C3', email: 'a@acme.test'})`,
			[]sent{{"update", known(map[string]any{"email": "a@acme.test"}), nil}}},
		{"a person named by pageHit stays", `UE.pageHit({user_id: 7, name: 'Ann'}); userengage('event.x')`,
			[]sent{
				{"update", known(map[string]any{"user_id": 7.0, "name": "Ann"}), nil},
				{"event x", known(map[string]any{"user_id": 7.0, "name": "Ann"}), map[string]any{}},
			}},
		{"another person inherits nothing", `UE.refresh({user_id: 7, name: 'Ann', company: {company_id: 'c'}}); UE.refresh({user_id: 8})`,
			[]sent{
				{"update", known(map[string]any{"user_id": 7.0, "name": "Ann", "company": map[string]any{"company_id": "c"}}), nil},
				{"update", known(map[string]any{"user_id": 8.0}), nil},
			}},
		{"a new e-mail of the same person", `UE.refresh({user_id: 7, email: 'a@b.test'}); userengage('client.update', {email: 'c@b.test'})`,
			[]sent{
				{"update", known(map[string]any{"user_id": 7.0, "email": "a@b.test"}), nil},
				{"update", known(map[string]any{"user_id": 7.0, "email": "c@b.test"}), nil},
			}},
		{"init after the start", `UE.init({apiKey: 'A1B2C3', email: 'a@acme.test'})`, []sent{{"update", known(map[string]any{"email": "a@acme.test"}), nil}}},
		{"refresh that says nothing new", `UE.refresh({apiKey: 'A1B2C3'})`, nil},
		{"news stay for what civchat says", `civchat.name = 'Old'; userengage('client.update', {name: 'New', plan: 'pro'}); userengage('event.x'); UE.pageHit({name: null}); userengage('event.y')`,
			[]sent{
				{"update", known(map[string]any{"name": "New", "plan": "pro"}), nil},
				{"event x", known(map[string]any{"name": "New"}), map[string]any{}},
				{"update", known(map[string]any{"name": nil}), nil},
				{"event y", known(map[string]any{"name": nil}), map[string]any{}},
			}},
		{"event with names that steer the script elsewhere", `userengage('event.pay', {state: 'paid', debug: 1, userKey: 'k', $: 2}); userengage('product_event', {product_id: 1, event_type: 'view', state: 'used'})`,
			[]sent{
				{"event pay", known(nil), map[string]any{"state": "paid", "debug": 1.0, "userKey": "k", "$": 2.0}},
				{"product_event view", known(nil), map[string]any{"product_id": 1.0, "event_type": "view", "state": "used"}},
			}},
		// The gateway reads five levels, and drops data that has more.
		{"event as deep as the gateway reads", `userengage('event.deep', {a: {b: {c: {d: {n: 1, e: {}}}}}})`,
			[]sent{{"event deep", known(nil), map[string]any{"a": map[string]any{"b": map[string]any{"c": map[string]any{"d": map[string]any{"n": 1.0}}}}}}}},
		{"civchat replaced", `window.civchat = {apiKey: 'A1B2C3', user_id: 'u'}`, []sent{{"update", known(map[string]any{"user_id": "u"}), nil}}},
		{"civchat replaced without apiKey", `window.civchat = {user_id: 'u'}`, []sent{{"update", known(map[string]any{"user_id": "u"}), nil}}},
		{"civchat taken away", `window.civchat = null; userengage('event.x')`, []sent{{"event x", known(nil), map[string]any{}}}},
		{"civchat replaced by the same", `window.civchat = {apiKey: 'A1B2C3'}`, nil},
		{"queue form after the start", `UE.push(['refresh', {email: 'a@acme.test'}], ['nonsense'])`, []sent{{"update", known(map[string]any{"email": "a@acme.test"}), nil}}},
		{"queue form of events after the start", `userengage.push(['event.x', {n: 1}], null, ['event.y'])`,
			[]sent{{"event x", known(nil), map[string]any{"n": 1.0}}, {"event y", known(nil), map[string]any{}}}},
		{"odd calls", `userengage(); userengage(null, null); userengage({}); userengage('event.a', 'text'); UE.pageHit('x'); UE.refresh(5); UE.push()`,
			[]sent{{"event a", known(nil), map[string]any{}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site("/empty"))
			// In one task with the start, so that "the same moment" is.
			b.run(`
				window.civchat = {apiKey: 'A1B2C3'};
				await new Promise((loaded) => {
					civchat.onLoad = () => { loaded(); ` + c.script + ` };
					document.head.appendChild(document.createElement('script')).src = '` + g.at("gate.localhost") + `/widget.js';
				});`)
			var got []sent
			for _, m := range g.through(b)[1:] {
				got = append(got, sent{m.brief(), m.Body, m.Envelope.Data})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCallbacks(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`
		window.calls = [];
		window.civchat = {
			apiKey: 'A1B2C3', state: 'simple',
			onLoad() { calls.push('load ' + (this === civchat) + ' ' + typeof userengage); },
			onOpen() { calls.push('open'); },
			onClose() { calls.push('close'); throw new Error('of the page'); },
			set userKey(key) { calls.push('key'); this.kept = key; document.cookie = '__ca__chat=' + key + ';path=/'; },
		};
		Object.defineProperty(civchat, 'kept', {writable: true, enumerable: false});`)
	b.open(g.site("/empty"))
	b.include(g)
	b.run(`
		userengage('widget.open'); userengage('widget.close'); userengage('widget.dance');`)
	got := g.through(b)
	if diff := cmp.Diff(map[string]any{"apiKey": "A1B2C3"}, got[0].Body); diff != "" {
		t.Errorf("callbacks and state must stay in the page: %s", diff)
	}
	if diff := cmp.Diff([]string{"key", "load true function", "open", "close"}, eval[[]string](b, `calls`)); diff != "" {
		t.Error(diff)
	}
	if key := eval[string](b, `civchat.kept`); key != got[0].Envelope.Key {
		t.Errorf("civchat.userKey = %q, sent %q", key, got[0].Envelope.Key)
	}
}

// TestOnLoadOfTheNextPart is what components of single-page applications do: each sets its own civchat and adds the script.
func TestOnLoadOfTheNextPart(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`window.calls = []; window.civchat = {apiKey: 'A1B2C3', onLoad() { calls.push('first'); }};`)
	b.open(g.site("/empty"))
	b.include(g)
	b.include(g)
	b.run(`window.civchat = {apiKey: 'A1B2C3', onLoad() { calls.push('second'); }};`)
	b.include(g)
	b.include(g)
	if diff := cmp.Diff([]string{"page"}, briefs(g.through(b))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"first", "second"}, eval[[]string](b, `calls`)); diff != "" {
		t.Error(diff)
	}
}

// TestOtherLibraries opens pages whose libraries have the script's global names, or replace methods of the language.
func TestOtherLibraries(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, before string }{
		{"an editor that is called UE", `window.UE = {getEditor: () => 'editor'};`},
		{"Prototype", `
			Array.from = (iterable) => Array.prototype.slice.call(Object(iterable));
			Array.prototype.toJSON = function () { return '[' + this.join() + ']'; };
			String.prototype.toJSON = function () { return '"' + this + '"'; };`},
		{"MooTools", `Array.from = (item) => item == null ? [] : item.length === undefined ? [item] : Array.prototype.slice.call(item);`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.before(`window.civchat = {apiKey: 'A1B2C3', tags: ['a', 'b']};` + c.before)
			b.open(g.site("/empty"))
			b.include(g)
			got := g.through(b)
			if diff := cmp.Diff([]string{"page"}, briefs(got)); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(map[string]any{"apiKey": "A1B2C3", "tags": []any{"a", "b"}}, got[0].Body); diff != "" {
				t.Error(diff)
			}
			if e := got[0].Envelope; !uuid7.MatchString(e.ID) || !visitorKey.MatchString(e.Key) {
				t.Errorf("id %q, key %q", e.ID, e.Key)
			}
			if c.name == "an editor that is called UE" && eval[string](b, `UE.getEditor()`) != "editor" {
				t.Error("the editor is gone")
			}
			// What waits behind a request goes by beacon, here as on other pages.
			hang := make(chan struct{})
			defer close(hang)
			g.decide(func(r request) answer {
				if r.Messages[0].Envelope.Name == "hangs" {
					return answer{After: hang}
				}
				return answer{}
			})
			b.run(`userengage('event.hangs')`)
			g.wait("the request that hangs", func() bool { return len(g.messages()) == 3 })
			b.run(`userengage('event.last')`)
			b.open(g.at("other.localhost") + "/empty")
			g.upTo("event last")
		})
	}
}

func TestDebugLines(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/anonymous"))
	b.run(`civchat.debug = true; userengage('nonsense')`)
	if got := g.through(b); got[len(got)-1].Body["debug"] != nil {
		t.Error("debug was sent")
	}
	if diff := cmp.Diff([]string{`log: "civgate: invalid call" "nonsense"`}, b.logged()); diff != "" {
		t.Error(diff)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	const settled = `await new Promise((done) => setTimeout(done, 120));`
	cases := []struct {
		name   string
		script string
		want   []string // paths of page views after the first, with their titles
	}{
		{"pushState", `history.pushState(0, '', '/a?x=1'); document.title = 'A';`, []string{"/a?x=1 A"}},
		{"replaceState", `history.replaceState(0, '', '/a');`, []string{"/a Anonymous"}},
		{"replaceState to the same address", `history.replaceState({n: 1}, '', location.href);`, nil},
		{"pushState to the same address", `history.pushState({n: 1}, '');`, nil},
		{"a redirect counts once", `history.pushState(0, '', '/a'); history.replaceState(0, '', '/b');`, []string{"/b Anonymous"}},
		{"there and back in one go is no visit", `history.pushState(0, '', '/a'); history.pushState(0, '', '/anonymous');`, nil},
		{"back", `history.pushState(0, '', '/a');` + settled + `await new Promise((done) => { addEventListener('popstate', done, {once: true}); history.back(); });`, []string{"/a Anonymous", "/anonymous Anonymous"}},
		{"an anchor is the same page", `location.hash = '#part'; history.pushState(0, '', '#other');`, nil},
		{"a route in the fragment", `location.hash = '#/orders';` + settled + `location.hash = '#!/people';`, []string{"/anonymous#/orders Anonymous", "/anonymous#!/people Anonymous"}},
		{"pageHit after pushState counts once", `history.pushState(0, '', '/a'); UE.pageHit({apiKey: 'A1B2C3'});`, []string{"/a Anonymous"}},
		{"pageHit after the route was counted", `history.pushState(0, '', '/a');` + settled + `UE.pageHit();`, []string{"/a Anonymous"}},
		{"pageHit for the same page later", settled + `await new Promise((done) => setTimeout(done, 1000)); UE.pageHit();`, []string{"/anonymous Anonymous"}},
		{"a page from the browser's cache", `dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}));`, []string{"/anonymous Anonymous"}},
		{"an ordinary pageshow", `dispatchEvent(new PageTransitionEvent('pageshow', {persisted: false}));`, nil},
		{"pushState of an address that isn't allowed", `try { history.pushState(0, '', 'https://other.test/'); } catch (e) { document.title = e.name; }`, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site("/anonymous"))
			b.run(c.script + settled)
			var got []string
			previous := g.site("/anonymous")
			for _, m := range g.through(b)[1:] {
				if m.Envelope.Type != "page" {
					t.Errorf("got a message %q", m.brief())
				}
				if m.Envelope.Referrer != previous && m.Envelope.URL != previous {
					t.Errorf("referrer = %q, want %q", m.Envelope.Referrer, previous)
				}
				previous = m.Envelope.URL
				got = append(got, m.Envelope.URL[len(g.site("")):]+" "+m.Envelope.Title)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPrerenderedPageCountsWhenActivated(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`window.hidden = true; Object.defineProperty(document, 'prerendering', {get: () => hidden});`)
	b.open(g.site("/anonymous"))
	b.run(`await new Promise((done) => setTimeout(done, 400)); userengage('event.held');`)
	if got := g.messages(); len(got) > 0 || eval[string](b, `document.cookie`) != "" {
		t.Fatalf("a prerendered page sent %q or left a cookie", briefs(got))
	}
	b.run(`hidden = false; document.dispatchEvent(new Event('prerenderingchange'));`)
	if diff := cmp.Diff([]string{"page", "event held"}, briefs(g.through(b))); diff != "" {
		t.Error(diff)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"resetAuth", "resetAll"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site("/known"))
			b.run(`civchat.onOpen = () => {}; UE.` + method + `({apiKey: 'A1B2C3', email: 'next@acme.test'}); history.pushState(0, '', '/after-logout');`)
			b.run(`await new Promise((done) => setTimeout(done, 120))`)
			got := g.through(b)
			if diff := cmp.Diff([]string{"page", "reset", "page"}, briefs(got)); diff != "" {
				t.Fatal(diff)
			}
			want := map[string]any{"apiKey": "A1B2C3", "email": "next@acme.test"}
			for _, m := range got[1:] {
				if diff := cmp.Diff(want, m.Body); diff != "" {
					t.Errorf("%s: %s", m.brief(), diff)
				}
				if m.Envelope.Key == got[0].Envelope.Key || m.Envelope.Key != got[1].Envelope.Key || !visitorKey.MatchString(m.Envelope.Key) {
					t.Errorf("%s has key %q, before it was %q", m.brief(), m.Envelope.Key, got[0].Envelope.Key)
				}
			}
			if !eval[bool](b, `civchat.user_id === undefined && civchat.company === undefined && typeof civchat.onOpen == 'function' &&
				document.cookie === '__ca__chat=' + civchat.userKey && localStorage.getItem('__ca__chat') === civchat.userKey`) {
				t.Error("the page still knows the person before")
			}
		})
	}
}

func TestResetOfAFrozenObject(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`window.civchat = Object.freeze({apiKey: 'A1B2C3', user_id: '42', company: Object.freeze({name: 'Acme'})});`)
	b.open(g.site("/empty"))
	b.include(g)
	b.run(`
		UE.resetAuth();`)
	got := g.through(b)
	if diff := cmp.Diff([]string{"page", "reset"}, briefs(got)); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(map[string]any{"apiKey": "A1B2C3"}, got[1].Body); diff != "" {
		t.Error(diff)
	}
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.before(`window.native = [history.pushState, history.replaceState];`)
	b.open(g.site("/anonymous"))
	g.wait("the page view", func() bool { return len(g.messages()) == 1 })
	b.run(`
		UE.destroy();
		UE.pageHit(); UE.resetAuth(); UE.refresh({email: 'a@b.test'}); UE.destroy(); userengage('event.x');
		history.pushState(0, '', '/a');
		window.civchat = {apiKey: 'A1B2C3', email: 'c@d.test'};
		await new Promise((done) => setTimeout(done, 200));`)
	if !eval[bool](b, `history.pushState === native[0] && history.replaceState === native[1] &&
		'value' in Object.getOwnPropertyDescriptor(window, 'civchat') && civchat.email === 'c@d.test'`) {
		t.Error("hooks are left in the page")
	}
	// Included again, the script starts anew.
	b.include(g)
	g.wait("the next start", func() bool { return len(g.messages()) > 1 })
	if diff := cmp.Diff([]string{"page", "page"}, briefs(g.through(b))); diff != "" {
		t.Error(diff)
	}
}

func TestScriptUnderAPrefix(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/empty"))
	b.run(`
		window.civchat = {apiKey: 'A1B2C3'};
		document.head.appendChild(document.createElement('script')).src = '` + g.at("gate.localhost") + `/some/prefix/widget.js?v=2#x'`)
	g.wait("the page view", func() bool { return len(g.messages()) > 0 })
	if got, want := g.received()[0].Path, "/some/prefix/ingest"; got != want {
		t.Errorf("posts to %q, want %q", got, want)
	}
}

// TestHostilePages opens pages that break what scripts rely on: the page must go on, and the visit count where it can.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		before string
		want   []string
	}{
		{"attributes of every kind", `
			const circle = {a: 1}; circle.self = circle;
			window.civchat = {
				apiKey: 'A1B2C3', circle, date: new Date(0), never: new Date(NaN), big: 12n, nan: NaN, inf: -Infinity,
				none: undefined, nil: null, fn() {}, sym: Symbol('x'), win: window, doc: document, list: [1, undefined, () => 1, {a: 1}],
				get broken() { throw new Error('hostile'); }, proxy: new Proxy({}, {ownKeys() { throw new Error('hostile'); }}),
				bad: {toJSON() { throw new Error('hostile'); }}, moment: {toJSON: () => '2020-01-01'},
				deep: {a: {b: {c: {d: {e: {f: 1}}}}}}, wide: Array.from({length: 1e6}, () => 1) && undefined,
				['__proto__x']: 1, url: new URL('https://a.test/'), text: 'ż\ud800',
			};`, []string{"page"}},
		{"storage and cookies that throw", `
			Object.defineProperty(window, 'localStorage', {get() { throw new DOMException('no', 'SecurityError'); }});
			Object.defineProperty(document, 'cookie', {get() { throw new DOMException('no', 'SecurityError'); }, set() { throw new DOMException('no', 'SecurityError'); }});`, []string{"page"}},
		{"storage that is full", `Storage.prototype.setItem = function () { throw new DOMException('full', 'QuotaExceededError'); };`, []string{"page"}},
		{"no storage at all", `Object.defineProperty(window, 'localStorage', {value: null});`, []string{"page"}},
		{"locks that refuse", `navigator.locks.request = () => Promise.reject(new DOMException('no', 'SecurityError'));`, []string{"page"}},
		{"locks that throw", `navigator.locks.request = () => { throw new DOMException('no', 'SecurityError'); };`, []string{"page"}},
		{"history that can't be changed", `Object.freeze(history);`, []string{"page"}},
		{"a civchat that may not be redefined", `Object.defineProperty(window, 'civchat', {value: {apiKey: 'A1B2C3'}, writable: false});`, []string{"page"}},
		{"a civchat behind the page's own getter", `
			const object = {apiKey: 'A1B2C3'};
			Object.defineProperty(window, 'civchat', {get: () => object, set() {}, configurable: true});`, []string{"page"}},
		{"odd values first", `
			window.civchat = 'text';
			setTimeout(() => { window.civchat = null; }, 20);
			setTimeout(() => { window.civchat = []; }, 40);
			setTimeout(() => { window.civchat = {apiKey: 'A1B2C3'}; }, 60);`, []string{"page"}},
		{"an onLoad that throws", `window.civchat = {apiKey: 'A1B2C3', onLoad() { throw new Error('of the page'); }};`, []string{"page"}},
		{"older stubs in the way", `window.civchat = {apiKey: 'A1B2C3'}; window.UE = {pageHit() {}}; window.userengage = {q: 5};`, []string{"page"}},
		{"a queue of nonsense", `window.civchat = {apiKey: 'A1B2C3'}; window.UE = [null, 5, ['none'], ['refresh', {email: 'a@b.test'}]]; window.userengage = () => {}; userengage.q = [null, {}, ['event.x']];`, []string{"page", "update", "event x"}},
		{"methods of a library on every object", `
			Object.prototype.extra = function () {}; Array.prototype.each = function () {}; Array.prototype.toJSON = undefined;`, []string{"page"}},
		{"a clobbered document", `document.addEventListener('DOMContentLoaded', () => document.body.insertAdjacentHTML('beforeend',
			'<img name=currentScript><img name=title><img name=cookie><img name=referrer>'));`, []string{"page"}},
		{"no beacon, no locks, no encoder of streams", `delete Navigator.prototype.sendBeacon; delete Navigator.prototype.locks;`, []string{"page"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.before(c.before)
			b.open(g.site("/empty"))
			b.include(g)
			b.run(`
				if (!window.civchat) window.civchat = {apiKey: 'A1B2C3'};
				document.dispatchEvent(new Event('visibilitychange'));`)
			g.wait("the page view", func() bool { return len(g.messages()) > 0 })
			got := g.through(b)
			if diff := cmp.Diff(c.want, briefs(got)); diff != "" {
				t.Error(diff)
			}
			if c.name != "attributes of every kind" {
				return
			}
			want := map[string]any{
				"apiKey": "A1B2C3", "circle": map[string]any{"a": 1.0}, "date": "1970-01-01T00:00:00.000Z", "big": "12", "nil": nil,
				"list": []any{1.0, map[string]any{"a": 1.0}}, "moment": "2020-01-01", "proxy": nil, "__proto__x": 1.0, "url": "https://a.test/",
				"deep": map[string]any{"a": map[string]any{"b": map[string]any{"c": map[string]any{"d": map[string]any{}}}}}, "text": "ż\ufffd",
			}
			delete(want, "proxy")
			if diff := cmp.Diff(want, got[0].Body); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTooLargeMessages(t *testing.T) {
	t.Parallel()
	g, b := newGateway(t), newTab(t)
	b.open(g.site("/anonymous"))
	b.run(`
		const text = 'x'.repeat(8000);
		userengage('event.huge', {a: text, b: text, c: text, d: text, e: text});
		userengage('event.long', {a: 'x'.repeat(9000), b: 1});
		userengage('event.cyrillic', {a: 'ж'.repeat(8000), b: 'ж'.repeat(8000), c: 'ж'.repeat(8000)});
		userengage('event.wide', {list: Array.from({length: 3e6}, (_, i) => i)});
		userengage('client.update', {a: text, b: text, c: text, d: text, e: text, user_id: 5});`)
	got := g.through(b)
	if diff := cmp.Diff([]string{"page", "event long", "update"}, briefs(got)); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff(map[string]any{"b": 1.0}, got[1].Envelope.Data); diff != "" {
		t.Errorf("one long text must not cost the event: %s", diff)
	}
	if diff := cmp.Diff(map[string]any{"apiKey": "A1B2C3", "user_id": 5.0}, got[2].Body); diff != "" {
		t.Errorf("too many attributes must not cost the visit: %s", diff)
	}
}

func TestKeyInTheAddress(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, query, want string
	}{
		{"our own form", "?__ca__chat=abc123def456", "abc123def456"},
		{"older mixed case", "?a=1&__ca__chat=g3FaYocCy0U6&b=2", "g3FaYocCy0U6"},
		{"nine characters", "?__ca__chat=abcdefghi", "abcdefghi"},
		{"too short", "?__ca__chat=abcdefgh", ""},
		{"other characters", "?__ca__chat=abc%3Bdef%3B123", ""},
		{"empty", "?__ca__chat=", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g, b := newGateway(t), newTab(t)
			b.open(g.site("/anonymous"))
			g.wait("the first visit", func() bool { return len(g.messages()) == 1 })
			want := c.want
			if want == "" {
				want = g.messages()[0].Envelope.Key
			}
			b.open(g.site("/anonymous" + c.query))
			g.wait("the second visit", func() bool { return len(g.messages()) == 2 })
			m := g.messages()[1]
			if m.Envelope.Key != want {
				t.Errorf("key = %q, want %q", m.Envelope.Key, want)
			}
			if got := eval[string](b, `document.cookie + ' ' + civchat.userKey`); got != "__ca__chat="+want+" "+want {
				t.Errorf("the page has %q", got)
			}
			if m.Envelope.URL != g.site("/anonymous"+c.query) {
				t.Errorf("url = %q", m.Envelope.URL)
			}
		})
	}
}
