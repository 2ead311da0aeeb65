// Package browsertest starts the Chromium that the tests of a package share. It
// is imported by tests only. What a page is and what it must do is the tests'
// own business.
package browsertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

var browser struct {
	once sync.Once
	ctx  context.Context
	stop func()
	err  error
}

// Browser returns the context of the shared Chromium, on which tests open their
// tabs (chromedp.NewContext). Every host name leads to this machine, so nothing
// leaves it. Without a Chromium on the PATH the test is skipped, or fails where
// CIVGATE_TEST_REQUIRE names chromium. The package's TestMain must call Stop.
func Browser(t testing.TB) context.Context {
	t.Helper()
	browser.once.Do(func() { browser.err = start() })
	if browser.err != nil {
		if slices.Contains(strings.Split(os.Getenv("CIVGATE_TEST_REQUIRE"), ","), "chromium") {
			t.Fatalf("chromium is required: %v", browser.err)
		}
		t.Skipf("no chromium: %v", browser.err)
	}
	return browser.ctx
}

func start() error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return err
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox,
		chromedp.DisableGPU,
		chromedp.IgnoreCertErrors,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP * 127.0.0.1"),
	)...)
	ctx, cancel := chromedp.NewContext(allocator)
	browser.ctx, browser.stop = ctx, func() { cancel(); stop() }
	return chromedp.Do(ctx)
}

// Stop ends the browser if one was started.
func Stop() {
	if browser.stop != nil {
		browser.stop()
	}
}

// ConsoleLine returns what an event of a tab adds to its console, exceptions
// included; ok is false for all other events.
func ConsoleLine(event any) (line string, ok bool) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		line = "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			line += " " + e.ExceptionDetails.Exception.Description
		}
	case *runtime.EventConsoleAPICalled:
		line = string(e.Type) + ":"
		for _, arg := range e.Args {
			line += " " + string(arg.Value) + arg.Description
		}
	case *log.EventEntryAdded:
		line = fmt.Sprintf("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
	default:
		return "", false
	}
	return line, true
}
