package web_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"image/png"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"civgate/widget/browsertest"
)

var (
	update = flag.Bool("update", false, "make testdata/screenshots/demo.png anew")
	shots  = flag.String("shots", "", "folder for pictures of every state of the demo, in both themes and widths")
)

// patience is how long a page may take for anything. It is a bound, not a claim.
const patience = 30 * time.Second

// tab is one page with the cookies of a browser of its own.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu      sync.Mutex
	console []string
	hosts   map[string]bool
}

// newTab opens the path of a server in a fresh browser, or skips the test when
// there is none. The test fails when the page writes to the console, throws, or
// asks another host for anything.
func newTab(t *testing.T, base, path string) *tab {
	t.Helper()
	shared := browsertest.Browser(t)
	b := &tab{t: t, base: base, hosts: make(map[string]bool)}
	b.ctx, _ = chromedp.NewContext(shared, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.listen))
	// The tab lives as long as the context of its first run.
	if err := chromedp.Do(b.ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := chromedp.Cancel(b.ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.console) > 0 {
			t.Errorf("the page's console isn't empty: %q", b.console)
		}
		for host := range b.hosts {
			if "http://"+host != base {
				t.Errorf("the page asked %s for something", host)
			}
		}
	})
	// Every tab takes keys as if it were the one in front, whichever was opened last.
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return chromedp.Void{}, err
	})
	b.size(1280, 800)
	b.open(path)
	return b
}

func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && u.Host != "" {
			b.hosts[u.Host] = true
		}
	default:
		if line, ok := browsertest.ConsoleLine(event); ok {
			b.console = append(b.console, line)
		}
	}
}

// expectConsole takes one line that holds text from the console; the test fails
// when there is none.
func (b *tab) expectConsole(text string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.console, func(line string) bool { return strings.Contains(line, text) })
	if i < 0 {
		b.t.Fatalf("no line with %q in the console: %q", text, b.console)
	}
	b.console = slices.Delete(b.console, i, i+1)
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.base + path))
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// media sets one media feature, such as prefers-color-scheme.
func (b *tab) media(features ...*emulation.MediaFeature) {
	b.t.Helper()
	b.do(func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: features})
		return chromedp.Void{}, err
	})
}

// click presses what a person would see and press.
func (b *tab) click(selector string) {
	b.t.Helper()
	b.until(`(() => { const e = document.querySelector(` + quote(selector) + `); return e && e.checkVisibility() })()`)
	b.do(chromedp.Click(selector, chromedp.NodeVisible))
}

// choose sets the value of a field and tells the page, as a person does who chooses it.
func (b *tab) choose(selector, value string) {
	b.t.Helper()
	b.until(`document.querySelector(` + quote(selector) + `) !== null`)
	eval[bool](b, `((e) => { e.value = `+quote(value)+`; return e.dispatchEvent(new Event('change', { bubbles: true })) })(document.querySelector(`+quote(selector)+`))`)
}

// until waits for an expression to become true, here or on a page that the tab goes to.
func (b *tab) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var err error
	for {
		_, err = chromedp.Run(ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(20*time.Millisecond)))
		if err == nil || ctx.Err() != nil || !leftPage(err) {
			break
		}
	}
	if err != nil {
		b.t.Fatalf("%s never came true: %v\nThe focus is on %s\nThe page reads:\n%.2000s", expression, err,
			eval[string](b, `document.activeElement.cloneNode().outerHTML`), eval[string](b, `(document.getElementById('know') ?? document.body).innerText`))
	}
}

// leftPage reports whether something was asked of a page that the tab has left.
func leftPage(err error) bool {
	return strings.Contains(err.Error(), "navigated or closed") || strings.Contains(err.Error(), "context was destroyed") || strings.Contains(err.Error(), "context with specified id")
}

// knows waits until the card shows all texts.
func (b *tab) knows(card string, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.until(`document.getElementById(` + quote(card) + `).checkVisibility() && document.getElementById(` + quote(card) + `).textContent.includes(` + quote(text) + `)`)
	}
}

// eval evaluates an expression.
func eval[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// picture takes a picture of what is to be seen.
func (b *tab) picture(file string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	// Fades are over after 120 ms.
	b.until(`document.getAnimations().every((one) => one.playState === 'finished')`)
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	picture, err := png.Decode(bytes.NewReader(shot))
	if err != nil {
		b.t.Fatal(err)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, picture); err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// scheme is the theme that a person has chosen.
func scheme(name string) *emulation.MediaFeature {
	return &emulation.MediaFeature{Name: "prefers-color-scheme", Value: name}
}
