package web_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/web"
)

// text is an expression: what the element shows.
func text(id string) string { return `document.getElementById(` + quote(id) + `).textContent` }

// shop is a selector on the page of the shop that is to be seen.
func shop(selector string) string { return `.page:not([hidden]) ` + selector }

// key returns the visitor key of the browser, as the site's server would see it.
func (b *tab) key() string {
	b.t.Helper()
	return eval[string](b, `document.cookie.match(/(?:^|; )__ca__chat=(\w+)/)?.[1] ?? ''`)
}

func TestVisit(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := newTab(t, s.base, "/demo")

	b.knows("identity", "Visitor "+b.key()[:3]+"…", "Not known by name yet")
	b.knows("timeline", "Coffee for the whole floor")
	b.knows("companies", "Sign in as somebody")
	if got := eval[string](b, text("code")); strings.Contains(got, "user_id") || !strings.Contains(got, `apiKey: "`+apiKey+`"`) {
		t.Errorf("the anonymous snippet reads %s", got)
	}

	b.click(`.shop nav a[href="/demo/pricing"]`)
	b.knows("timeline", "/demo/pricing")
	b.click(`[data-plan="Floor"]`)
	b.knows("timeline", "Plan chosen", "plan Floor", "seats 50")
	b.until(`document.querySelector('[data-step="browse"]').matches('.done')`)

	visitor := b.key()
	b.click(`[data-step="in"]`)
	b.click(`[data-in="demo-ada"]`)
	b.knows("identity", "Ada Lovelace", "ada@engines.example", "demo-ada", "+442079460101", "User")
	b.knows("companies", "Analytical Engines Ltd", "Widget", "just now", "1 contact", "£12.4 million", "1 June 2019")
	b.knows("attributes", "score0", "genderfemale", "10 December 2024", "newsletterYes", "decaf")
	b.knows("now", "Visitor "+visitor[:3]+"… became Ada Lovelace. 3 page views came along.")
	if got := b.key(); got != visitor {
		t.Errorf("signing in changed the visitor key from %s to %s", visitor, got)
	}
	if got := eval[string](b, text("code")); !strings.Contains(got, `user_id: "demo-ada"`) || !strings.Contains(got, `company_id: "demo-engines"`) {
		t.Errorf("the snippet of Ada reads %s", got)
	}
	if got := eval[int](b, `document.querySelectorAll('#code .added').length`); got == 0 {
		t.Error("no line of the snippet is marked as added")
	}

	b.click(`.shop nav a[href="/demo/coffees"]`)
	b.click(shop(`[data-add="kochere"]`))
	b.knows("timeline", "add to cart", "Kochere", "quantity 1")
	b.until(text("cart-count") + ` === '1'`)
	b.click(`.shop nav a[href="/demo/cart"]`)
	b.click(shop(`[data-hold="kochere1"]`))
	b.until(text("cart-count") + ` === '2'`)
	b.until(text("cart") + `.includes('€37.00')`) // twice €18.50
	if got := eval[string](b, `document.activeElement.dataset.hold`); got != "kochere1" {
		t.Errorf("after one more the focus is on %q", got)
	}
	b.click(shop(`.total .button`))
	b.knows("timeline", "purchase", "Order placed", "items 2")
	b.until(`document.getElementById('cart-count').hidden`)

	b.click(`[data-step="out"]`)
	b.knows("now", "Signed out. This browser is a new visitor; Ada Lovelace stays in civgate.")
	b.until(`!document.getElementById('identity').textContent.includes('Ada')`)
	second := b.key()
	if second == visitor {
		t.Error("signing out kept the visitor key")
	}
	b.knows("identity", "Visitor "+second[:3])
	b.until(`document.querySelectorAll('[data-step].done').length === 4`)

	// The second visitor turns out to be Ada too: a merge, told in a sentence.
	b.click(`.shop nav a[href="/demo/account"]`)
	b.knows("timeline", "/demo/account")
	b.click(`[data-in="demo-ada"]`)
	b.knows("timeline", "The visitor "+second[:3]+"… became Ada Lovelace; 2 page views moved")
	b.knows("identity", "Browsers2")

	// Somebody of the other company, on the same browser.
	b.click(`[data-in="demo-grace"]`)
	b.knows("identity", "Grace Hopper")
	b.knows("companies", "Orbit Software", "$239.9 billion", "18,400", "Houston")
	b.knows("now", "This browser is Grace Hopper now. Ada Lovelace stays in civgate.")
	b.until(`!document.getElementById('know').textContent.includes('Analytical Engines')`)

	s.settle()
	ada, err := s.gateway.Read().ContactByCustomID(t.Context(), s.workspace, "demo-ada")
	if err != nil {
		t.Fatal(err)
	}
	if len(ada.Companies) != 1 || ada.Companies[0].CustomID != "demo-engines" || ada.Companies[0].Source != gateway.SourceWidget {
		t.Errorf("Ada is stored with the companies %+v", ada.Companies)
	}
	if n, err := s.gateway.Read().CountContacts(t.Context(), s.workspace); err != nil || n != 2 {
		t.Errorf("there are %d contacts (%v), want Ada and Grace", n, err)
	}
}

// TestEveryPerson signs in as each of the six, so that every snippet is one
// that the whole way takes without a loss.
func TestEveryPerson(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := newTab(t, s.base, "/demo/account")
	for _, id := range []string{"ada", "charles", "mary", "grace", "katherine", "margaret"} {
		b.click(`[data-in="demo-` + id + `"]`)
		b.knows("identity", "demo-"+id)
	}
	s.settle()
	types := map[gateway.Type]bool{}
	defs, err := s.gateway.Read().AttributeDefs(t.Context(), s.workspace)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range defs {
		types[d.Type] = true
	}
	for _, want := range []gateway.Type{gateway.TypeText, gateway.TypeNumber, gateway.TypeBool, gateway.TypeDate, gateway.TypeDatetime, gateway.TypeList, gateway.TypeJSON} {
		if !types[want] {
			t.Errorf("nobody has an attribute of type %s", want)
		}
	}
	for id, people := range map[string]int64{"demo-engines": 3, "demo-orbit": 3} {
		c, err := s.gateway.Read().CompanyByCustomID(t.Context(), s.workspace, id)
		if err != nil {
			t.Fatal(err)
		}
		if c.EmployeesCount != people {
			t.Errorf("%s has %d employees, want %d", id, c.EmployeesCount, people)
		}
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo/coffees/huila")
	b.until(`document.querySelector('.page:not([hidden])').dataset.path === '/demo/coffees/huila'`)
	b.knows("timeline", "Huila")
	b.click(shop(`[data-add="huila"]`))
	b.click(`[data-step="in"]`)
	b.click(`[data-in="demo-mary"]`)
	b.knows("identity", "Mary Somerville")
	before := eval[string](b, text("code"))

	b.do(chromedp.Reload())
	b.knows("identity", "Mary Somerville")
	if got := eval[string](b, text("code")); got != before {
		t.Errorf("after a reload the page shows the snippet\n%s\nbefore it was\n%s", got, before)
	}
	// What is shown is what the page runs, but for the address of the script.
	if got := eval[bool](b, `document.getElementById('code').innerText.replaceAll('\n', '').includes(document.getElementById('civchat').textContent.replaceAll('\n', ''))`); !got {
		t.Error("the page shows another snippet than it carries")
	}
	if got := eval[string](b, text("who")); !strings.Contains(got, "Mary Somerville") {
		t.Errorf("after a reload the shop's head shows %q", got)
	}
	b.until(text("cart-count") + ` === '1'`)

	b.do(chromedp.NavigateBack())
	b.until(`location.pathname === '/demo/coffees/huila'`)
	b.until(`document.querySelector('.page:not([hidden])').dataset.path === '/demo/coffees/huila'`)
	b.until(`document.title === 'Huila · Fernhill'`)
}

// TestHostileText lets a stranger rename Ada: the page shows the text and
// nothing happens.
func TestHostileText(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	s.post(
		map[string]any{
			"apiKey": apiKey, "user_id": "demo-ada", "name": evil, evil[:40]: evil, "list": []string{evil},
			"company": map[string]any{"company_id": "demo-engines", "name": evil, "plan": evil},
			"$":       map[string]any{"id": "m1", "key": "hostile00001", "type": "event", "name": evil, "data": map[string]any{"name": evil}},
		},
		map[string]any{
			"apiKey": apiKey, "user_id": "demo-ada",
			"$": map[string]any{"id": "m2", "key": "hostile00001", "type": "page", "url": "https://x.example/" + evil, "path": evil, "title": evil},
		},
	)
	b := newTab(t, s.base, "/demo?__ca__chat=hostile00001")
	for _, card := range []string{"identity", "companies", "attributes", "timeline"} {
		b.knows(card, "<img src=x onerror=")
	}
	if got := eval[int](b, `document.querySelectorAll('#know img, #know script').length`); got != 0 {
		t.Errorf("the text made %d elements", got)
	}
	if got := eval[string](b, `document.title`); strings.Contains(got, "owned") {
		t.Error("the text ran")
	}
	if got := eval[bool](b, `document.documentElement.scrollWidth <= innerWidth && document.getElementById('know').scrollWidth <= document.getElementById('know').clientWidth`); !got {
		t.Error("the text breaks the layout")
	}
}

func TestBrowserOfSomebodyElse(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.post(map[string]any{"apiKey": apiKey, "user_id": "42", "email": "real@customer.example", "name": "Real Customer", "$": map[string]any{"id": "m1", "key": "customer0001", "type": "page", "url": "https://shop.example/secret", "path": "/secret"}})
	b := newTab(t, s.base, "/demo?__ca__chat=customer0001")
	b.knows("blank", "This browser is signed in elsewhere")
	if got := eval[string](b, text("know")); strings.Contains(got, "Real") || strings.Contains(got, "/secret") {
		t.Errorf("the right side reads %s", got)
	}
	b.click("#fresh")
	b.knows("identity", "Visitor "+b.key()[:3])
	if b.key() == "customer0001" {
		t.Error("the new visitor has the customer's key")
	}
}

func TestWithoutWidget(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStackWith(t, web.Demo{ScriptPath: "/elsewhere.js"}).base, "/demo")
	b.knows("blank", "The widget didn’t load", "/elsewhere.js")
	b.click(`.shop nav a[href="/demo/coffees"]`)
	b.click(shop(`[data-add="huila"]`))
	b.until(text("cart-count") + ` === '1'`)
	b.expectConsole("404")
}

// TestRefusedSite opens the demo of a workspace that takes nothing from its host.
func TestRefusedSite(t *testing.T) {
	t.Parallel()
	settings := gateway.DefaultSettings()
	settings.Origins = []string{"acme.com"}
	b := newTab(t, newStackOf(t, web.Demo{}, settings).base, "/demo")
	b.knows("blank", "Nothing has arrived", "--origins", "127.0.0.1 has to be one of them")
	b.expectConsole("403")
}

// TestStreamComesBack cuts the stream, as a restart or a bad line does.
func TestStreamComesBack(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := newTab(t, s.base, "/demo")
	b.knows("timeline", "Coffee for the whole floor")
	s.cut()
	b.until(`document.getElementById('pulse').dataset.state === 'wait'`)
	s.post(payload("m1", b.key(), "event", map[string]any{"event": "Meanwhile"}))
	b.knows("timeline", "Meanwhile")
	b.until(`document.getElementById('pulse').dataset.state === 'live'`)
	b.expectConsole("/demo/live")
}

// TestHiddenPage turns the page away: it must not hold one of the few
// connections that a browser opens to a host.
func TestHiddenPage(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	b := newTab(t, s.base, "/demo")
	b.knows("timeline", "Coffee for the whole floor")
	hide := func(hidden string) {
		b.do(chromedp.Evaluate[chromedp.Void](`Object.defineProperty(document, 'hidden', { value: ` + hidden + `, configurable: true }); document.dispatchEvent(new Event('visibilitychange'))`))
	}
	streams := `performance.getEntriesByType('resource').filter((one) => one.name.includes('/demo/live')).length`
	if got := eval[int](b, streams); got != 0 {
		t.Fatalf("%d streams have ended while the page is shown", got)
	}
	hide("true")
	b.until(streams + ` === 1`) // an entry appears when a transfer has ended
	s.post(payload("m1", b.key(), "event", map[string]any{"event": "Meanwhile"}))
	hide("false")
	b.knows("timeline", "Meanwhile")
}

func TestCopy(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo/account")
	b.do(chromedp.Evaluate[chromedp.Void](`navigator.clipboard.writeText = async (text) => { window.copied = text }`))
	b.click(`[data-in="demo-grace"]`)
	b.knows("identity", "Grace Hopper")
	b.click("#copy")
	b.until(text("copy") + ` === 'Copied'`)
	want := []string{
		`<script data-cfasync="false" type="text/javascript">`,
		`  window.civchat = {`,
		`    apiKey: "` + apiKey + `",`,
		`    user_id: "demo-grace",`,
	}
	got := strings.Split(eval[string](b, `window.copied`), "\n")
	if diff := cmp.Diff(want, got[:min(len(want), len(got))]); diff != "" {
		t.Errorf("the copy begins otherwise (-want +got):\n%s", diff)
	}
	if last := got[len(got)-1]; last != `<script data-cfasync="false" type="text/javascript" src="`+b.base+`/widget.js"></script>` {
		t.Errorf("the copy ends with %s", last)
	}
	b.until(text("copy") + ` === 'Copy'`)
}

func TestKeyboard(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo")
	b.knows("timeline", "Coffee for the whole floor")
	press := func(keys string) { b.t.Helper(); b.do(chromedp.KeyEvent(keys)) }
	focused := func() string {
		return eval[string](b, `document.activeElement.textContent.trim().replace(/\s+/g, ' ')`)
	}
	press(kb.Tab)
	if got := focused(); got != "Skip to what civgate knows" {
		t.Errorf("the first stop of Tab is %q", got)
	}
	if !eval[bool](b, `getComputedStyle(document.activeElement).outlineStyle !== 'none' && document.activeElement.getBoundingClientRect().top >= 0`) {
		t.Error("the focus on the skip link can't be seen")
	}
	// To the step "Sign in", by Tab and Enter alone.
	for range 10 {
		if strings.Contains(focused(), "Sign in") {
			break
		}
		press(kb.Tab)
	}
	press(kb.Enter)
	b.until(`location.pathname === '/demo/account'`)
	if got := focused(); got != "Sign in" {
		t.Errorf("after moving the focus is on %q, want the page's heading", got)
	}
	press(kb.Tab)
	press(kb.Tab)
	press(kb.Enter)
	b.knows("identity", "Charles Babbage")
	if got := focused(); got != "Hello, Charles Babbage" {
		t.Errorf("after signing in the focus is on %q", got)
	}
	// Every stop of Tab shows where it is.
	for range 30 {
		press(kb.Tab)
		if !eval[bool](b, `document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none'`) {
			t.Errorf("the focus on %q can't be seen", focused())
		}
	}
}

func TestPhone(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	for _, path := range []string{"/demo", "/demo/coffees", "/demo/coffees/kochere", "/demo/pricing", "/demo/cart", "/demo/account", "/demo/none"} {
		b.open(path)
		b.until(`document.getElementById('facts').hidden === false`)
		if path == "/demo/none" {
			b.expectConsole("404")
		}
		if got := eval[int](b, `Math.max(document.documentElement.scrollWidth, document.getElementById('shop').scrollWidth)`); got > 390 {
			t.Errorf("%s is %d px wide", path, got)
		}
		if got := eval[int](b, `document.documentElement.scrollHeight - innerHeight`); got > 0 {
			t.Errorf("%s moves by %d px as a whole", path, got)
		}
	}
	b.open("/demo/account")
	b.click(`[data-in="demo-katherine"]`)
	b.until(`!document.getElementById('news').hidden`)
	if eval[bool](b, `document.getElementById('know').checkVisibility()`) {
		t.Error("a phone shows both sides at once")
	}
	b.click(`[data-show="know"]`)
	b.knows("companies", "Orbit Software")
	if !eval[bool](b, `document.getElementById('news').hidden && document.querySelector('[data-show="know"]').getAttribute('aria-pressed') === 'true'`) {
		t.Error("the switch doesn't show where it is")
	}
	if got := eval[int](b, `document.getElementById('know').scrollWidth`); got > 390 {
		t.Errorf("what civgate knows is %d px wide", got)
	}
}

func TestStillness(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo")
	b.media(&emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
	b.knows("timeline", "Coffee for the whole floor")
	b.do(chromedp.Evaluate[chromedp.Void](`window.moved = 0; for (const name of ['animationstart', 'transitionrun']) document.addEventListener(name, () => window.moved++)`))
	b.click(`[data-step="browse"]`)
	b.knows("timeline", "Coffees")
	if got := eval[int](b, `window.moved`); got != 0 {
		t.Errorf("%d things moved", got)
	}
}

// contrasts lists texts whose contrast is below WCAG 2.2's 4.5 to 1 (1.4.3; 3 to
// 1 for large ones), as they are painted on the nearest background.
const contrasts = `(() => {
	const parse = (text) => { const m = text.match(/[\d.]+/g).map(Number); return text.startsWith('color(') ? [...m.slice(0, 3).map((one) => one * 255), m[3] ?? 1] : [m[0], m[1], m[2], m[3] ?? 1]; };
	const light = ([r, g, b]) => { const f = (c) => (c /= 255) <= .03928 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
	const behind = (element) => { for (let one = element; one; one = one.parentElement) { const c = parse(getComputedStyle(one).backgroundColor); if (c[3] === 1) return c; if (c[3] > 0) throw new Error('translucent background'); } return [255, 255, 255, 1]; };
	const found = [];
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) {
		const element = walker.currentNode.parentElement;
		if (!walker.currentNode.data.trim() || !element.checkVisibility({ visibilityProperty: true }) || element.closest('script, .hush, .skip')) continue;
		const style = getComputedStyle(element);
		const [a, b] = [light(parse(style.color)), light(behind(element))];
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		const size = parseFloat(style.fontSize);
		if (ratio < (size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5)) found.push(ratio.toFixed(2) + ' ' + element.className + ': ' + walker.currentNode.data.trim());
	}
	return [...new Set(found)];
})()`

func TestContrast(t *testing.T) {
	t.Parallel()
	b := newTab(t, newStack(t).base, "/demo")
	check := func(state string) {
		b.t.Helper()
		for _, theme := range []string{"light", "dark"} {
			// Without motion colours are what they are to be at once.
			b.media(scheme(theme), &emulation.MediaFeature{Name: "prefers-reduced-motion", Value: "reduce"})
			for _, line := range eval[[]string](b, contrasts) {
				t.Errorf("%s, %s: contrast %s", state, theme, line)
			}
		}
	}
	b.knows("timeline", "Coffee for the whole floor")
	check("visitor")
	for _, path := range []string{"/demo/coffees", "/demo/pricing", "/demo/account"} {
		b.click(`.shop nav a[href="` + path + `"]`)
		b.knows("timeline", path)
		check(path)
	}
	b.click(`[data-in="demo-charles"]`)
	b.knows("attributes", "delivery")
	check("signed in")
	b.click(`[data-step="cart"]`)
	b.knows("timeline", "add to cart")
	b.click(`.shop nav a[href="/demo/cart"]`)
	b.knows("timeline", "/demo/cart")
	check("cart")
	b.open("/demo/coffees/quiet-hours")
	b.knows("identity", "Charles Babbage")
	check("coffee")
}

// TestPictures makes the pictures that -update and -shots ask for.
func TestPictures(t *testing.T) {
	if !*update && *shots == "" {
		t.Skip("makes pictures with -update or -shots only")
	}
	take := func(b *tab, name string) {
		if *shots == "" {
			return
		}
		for _, theme := range []string{"light", "dark"} {
			b.media(scheme(theme))
			b.picture(filepath.Join(*shots, name+"-"+theme+".png"))
		}
		b.media(scheme("light"))
	}
	base := newStack(t).base
	b := newTab(t, base, "/demo")
	b.media(scheme("light"))
	b.knows("timeline", "Coffee for the whole floor")
	take(b, "1-visitor")
	b.click(`[data-step="browse"]`)
	b.knows("timeline", "Coffees")
	take(b, "2-coffees")
	b.click(`.shop nav a[href="/demo/pricing"]`)
	b.knows("timeline", "Plans")
	take(b, "3-plans")
	b.click(`[data-plan="Floor"]`)
	b.knows("timeline", "Plan chosen")
	b.click(`[data-step="in"]`)
	b.knows("timeline", "Account")
	take(b, "4-account")
	b.click(`[data-in="demo-ada"]`)
	b.knows("companies", "Analytical Engines Ltd")
	take(b, "5-signed-in")
	b.click(`.shop nav a[href="/demo/coffees"]`)
	b.click(`.page:not([hidden]) [data-add="kochere"]`)
	b.click(`.page:not([hidden]) [data-add="first-light"]`)
	b.knows("timeline", "First Light")
	take(b, "6-cart-add")
	b.click(`.shop nav a[href="/demo/cart"]`)
	b.knows("timeline", "/demo/cart")
	take(b, "7-cart")
	b.click(`[data-step="out"]`)
	b.knows("now", "Signed out")
	take(b, "8-signed-out")
	b.click(`.shop nav a[href="/demo/coffees"]`)
	b.knows("timeline", "/demo/coffees") // two moves at once would count as one
	b.click(`.page:not([hidden]) a[href="/demo/coffees/huila"]:not([tabindex])`)
	b.knows("timeline", "Huila")
	take(b, "9-product")
	b.click(`[data-step="in"]`)
	b.knows("timeline", "/demo/account")
	b.click(`[data-in="demo-ada"]`)
	b.knows("timeline", "page views moved")
	take(b, "10-merged")
	b.click(`.shop nav a[href="/demo/coffees"]`)
	b.until(`document.querySelector('#timeline li').textContent.includes('/demo/coffees')`)
	b.click(`.page:not([hidden]) [data-add="quiet-hours"]`)
	b.knows("timeline", "Quiet Hours")
	if *update {
		b.media(scheme("light"))
		b.picture(filepath.Join("testdata", "screenshots", "demo.png"))
	}
	b.size(390, 844)
	take(b, "phone-1-shop")
	b.click(`[data-show="know"]`)
	take(b, "phone-2-knows")
	b.do(chromedp.Evaluate[chromedp.Void](`document.getElementById('timeline').scrollIntoView()`))
	take(b, "phone-3-timeline")
	for i, path := range []string{"/demo", "/demo/pricing", "/demo/account", "/demo/cart", "/demo/coffees/kochere"} {
		b.open(path)
		take(b, "phone-4-"+string(rune('a'+i)))
	}
	b.size(1000, 700)
	b.open("/demo")
	b.knows("identity", "Ada")
	take(b, "tablet")
	b.size(1680, 1000)
	take(b, "wide")
}
