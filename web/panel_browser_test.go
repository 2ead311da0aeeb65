package web_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"civgate/gateway"
)

// fill types into a field.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.until(`document.querySelector(` + quote(selector) + `)?.checkVisibility() ?? false`)
	b.do(chromedp.SendKeys(selector, text))
}

// keys presses keys, wherever the focus is.
func (b *tab) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// shows waits until the page shows a text.
func (b *tab) shows(text string) {
	b.t.Helper()
	// Before it is complete, a page may not have run its script yet.
	b.until(`document.readyState === 'complete' && document.body.innerText.includes(` + quote(text) + `)`)
}

// everyLook checks that the page fits into both widths in both themes, that all of its
// text has the contrast that WCAG AA asks for, and takes pictures if they are asked for.
func (b *tab) everyLook(name string) {
	b.t.Helper()
	for _, theme := range []string{"light", "dark"} {
		b.media(scheme(theme))
		for _, width := range []int64{1280, 390} {
			b.size(width, 800)
			if wide := eval[float64](b, `document.documentElement.scrollWidth`); int64(wide) > width {
				b.t.Errorf("%s is %v wide at %d", name, wide, width)
			}
			b.until(`document.getAnimations().every((one) => one.playState === 'finished')`)
			if poor := eval[string](b, contrast); poor != "" {
				b.t.Errorf("%s, %s, %d: too little contrast: %s", name, theme, width, poor)
			}
			if *shots != "" {
				b.picture(filepath.Join(*shots, fmt.Sprintf("panel-%s-%s-%d.png", name, theme, width)))
			}
		}
	}
	b.media(scheme("light"))
	b.size(1280, 800)
}

// contrast lists texts whose contrast with what is behind them is below 4.5.
const contrast = `(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = (e) => { for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255]; };
  const poor = new Set();
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('.hush, option, :disabled')) continue;
    const a = light(rgba(getComputedStyle(e).color)), b = light(behind(e));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < 4.5) poor.add(e.className + ' «' + walk.currentNode.data.trim().slice(0, 30) + '» ' + ratio.toFixed(2));
  }
  return [...poor].join(', ');
})()`

// TestPanelInChromium signs in, goes through the frame by keyboard, invites somebody,
// accepts as them, changes a role, removes them and switches the workspace.
func TestPanelInChromium(t *testing.T) {
	t.Parallel()
	s := newStack(t)
	s.agent("ada@acme.test", gateway.RoleOwner)
	b := newTab(t, s.base, "/panel/settings/agents")

	// Sign in, at the second attempt.
	b.shows("Sign in")
	b.until(`document.activeElement.name === 'email'`)
	b.everyLook("signin")
	b.fill(`[name=email]`, "ada@acme.test")
	b.fill(`[name=password]`, "wrong\r")
	b.shows("don't go together")
	b.expectConsole("422")
	b.everyLook("signin-wrong")
	if got := eval[string](b, `document.querySelector('[name=email]').value`); got != "ada@acme.test" {
		t.Errorf("the e-mail was forgotten: %q", got)
	}
	b.fill(`[name=password]`, password+"\r")
	b.shows("Who may sign in to Demo")
	b.until(`location.pathname === '/panel/settings/agents'`)
	b.everyLook("agents")

	// Search by keyboard.
	search := func(text string) {
		t.Helper()
		b.keys("/")
		b.until(`document.activeElement.id === 'search'`)
		// Keys that a driver presses are typed even if the page says that they shall not.
		eval[string](b, `document.activeElement.value = ''`)
		b.keys(text)
	}
	search("comp")
	b.until(`document.querySelector('#search-list .option')?.checkVisibility() ?? false`)
	if *shots != "" {
		b.picture(filepath.Join(*shots, "panel-search.png"))
	}
	b.keys("\r")
	b.until(`location.pathname === '/panel/companies'`)
	b.shows("No companies yet")
	b.everyLook("companies-empty")
	search("nothing like it")
	b.shows("Nothing found for “nothing like it”")
	b.keys("\u001b")
	b.until(`document.getElementById('search-list').hidden`)

	// A list, with names as long as people make them.
	for i := range 3 {
		s.post(map[string]any{"apiKey": apiKey, "user_id": fmt.Sprint(i), "email": fmt.Sprintf("p%d@acme.test", i), "name": fmt.Sprintf("Person %d %0180d", i, 7), "company": map[string]any{"company_id": "c", "name": "Acme <b>&</b> Sons \u202eretsnam"}})
	}
	b.open("/panel/contacts")
	b.shows("Person 2")
	b.everyLook("contacts")
	b.keys("jjk")
	b.until(`[...document.querySelectorAll('tbody tr')].findIndex((one) => one.classList.contains('at')) === 0`)
	b.open("/panel/companies")
	b.shows("Acme <b>&</b> Sons")

	// Invite.
	b.open("/panel/settings/agents")
	b.fill(`.card-body [name=email]`, "bob@acme.test")
	b.choose(`select[name=role]`, "editor")
	b.click(`form[action^="/panel/settings/agents/invite"] button`)
	b.shows("It is shown only now")
	b.everyLook("invited")
	link := eval[string](b, `new URL(document.getElementById('link').value).pathname`)

	bob := newTab(t, s.base, link)
	bob.shows("ada@acme.test invites you as an editor")
	bob.everyLook("invitation")
	bob.fill(`[name=name]`, "Bob Builder")
	bob.fill(`[name=password]`, "short\r")
	bob.shows("Use 10 characters or more")
	bob.expectConsole("422")
	bob.fill(`[name=password]`, password+"\r")
	bob.until(`location.pathname === '/panel'`)
	bob.shows("Bob Builder")
	bob.open("/panel/settings/account") // the first page asks again every two seconds, which a removed agent's would be refused

	// Change their role, then remove them by typing who it is.
	b.open("/panel/settings/agents")
	b.click(`tr:has([title="bob@acme.test"]) [data-menu]`)
	b.until(`document.querySelector('.menu:popover-open') !== null && document.activeElement.closest('.menu') !== null`)
	if *shots != "" {
		b.picture(filepath.Join(*shots, "panel-menu.png"))
	}
	b.click(`.menu:popover-open form:has([value=viewer]) button`)
	b.shows("The role has changed")
	if *shots != "" {
		b.picture(filepath.Join(*shots, "panel-toast.png"))
	}
	b.click(`tr:has([title="bob@acme.test"]) [data-menu]`)
	b.click(`.menu:popover-open [data-dialog]`)
	b.until(`document.querySelector('dialog[open] button:not([type=button])')?.disabled ?? false`)
	b.everyLook("remove")
	b.fill(`dialog[open] [name=confirm]`, "bob@acme.test")
	b.until(`!document.querySelector('dialog[open] button:not([type=button])').disabled`)
	b.keys("\r")
	b.shows("The agent is removed")
	bob.open("/panel/contacts")
	bob.shows("Sign in")

	b.open("/panel/settings/audit")
	b.shows("Removed an agent")
	b.everyLook("audit")
	b.choose(`[name=by]`, "ada@acme.test")
	b.shows("By ada@acme.test")
	b.open("/panel/settings/account")
	b.shows("Your password")
	b.everyLook("account")
	b.open("/panel/nowhere")
	b.expectConsole("404")
	b.shows("Nothing here")
	b.everyLook("notfound")

	// What a viewer doesn't get
	v := s.as(gateway.RoleViewer).tab("/panel/settings/agents")
	v.shows("Owners invite agents")
	if eval[bool](v, `document.querySelector('main form, main [data-menu]') !== null`) {
		t.Error("a viewer is offered something to change")
	}

	// Switch the workspace; a page of the other one may do nothing then.
	second, err := s.store.CreateWorkspace(t.Context(), gateway.Workspace{Name: "A second one"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.gateway.Agents().Add(t.Context(), "x", gateway.Agent{WorkspaceID: second, Email: "ada@acme.test", Role: gateway.RoleOwner}); err != nil {
		t.Fatal(err)
	}
	b.open("/panel/settings/agents")
	b.click(`.workspace`)
	b.until(`document.querySelector('#workspaces:popover-open') !== null`)
	if *shots != "" {
		b.picture(filepath.Join(*shots, "panel-workspaces.png"))
	}
	b.click(`#workspaces [value="` + fmt.Sprint(int64(second)) + `"]`)
	b.until(`document.title === 'First steps · A second one · civgate'`)
	b.click(`.agent`)
	b.click(`form[action^="/panel/sign-out"] button`)
	b.until(`location.pathname === '/panel/sign-in'`)
	b.open("/panel/contacts")
	b.shows("Sign in")
}
