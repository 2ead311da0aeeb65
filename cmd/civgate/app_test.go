package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"civgate/config"

	_ "modernc.org/sqlite" // a second process that works on the data file
)

const (
	testKey   = "A1B2C3"
	testToken = "a-token-of-the-test-that-is-long"
)

// process is civgate run by the test on a port of its own.
type process struct {
	t      testing.TB
	origin string
	stop   context.CancelFunc
	done   chan struct{}
	code   int
	stdout *output
	stderr *output
}

// output collects what a running process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var readyLine = regexp.MustCompile(`civgate is ready at (\S+)`)

// launch starts civgate on the data folder and waits until it is ready.
func launch(t testing.TB, data string, environ ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{t: t, stop: cancel, done: make(chan struct{}), stdout: &output{}, stderr: &output{}}
	env := append([]string{
		"CIVGATE_ADDR=127.0.0.1:0", "CIVGATE_DATA=" + data, "CIVGATE_API_KEY=" + testKey, "CIVGATE_REST_TOKEN=" + testToken,
	}, environ...)
	go func() {
		defer close(p.done)
		p.code = run(ctx, nil, env, p.stdout, p.stderr)
	}()
	t.Cleanup(func() { p.end() })
	for {
		if m := readyLine.FindStringSubmatch(p.stdout.String()); m != nil {
			p.origin = m[1]
			return p
		}
		select {
		case <-p.done:
			t.Fatalf("civgate ended with %d: %s", p.code, p.stderr)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// end stops civgate as SIGTERM does and returns its exit code.
func (p *process) end() int {
	p.stop()
	<-p.done
	return p.code
}

// post sends one body and returns the status, the Retry-After and the answer.
func (p *process) post(body string) (status int, retryAfter, answer string) {
	p.t.Helper()
	resp, err := http.Post(p.origin+"/ingest", "text/plain", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After"), string(b)
}

// get reads REST, version 1, into v and returns the status.
func (p *process) get(path string, v any) int {
	p.t.Helper()
	r, err := http.NewRequest(http.MethodGet, p.origin+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Token "+testToken)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	if v != nil && resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			p.t.Fatalf("%s: %v", path, err)
		}
	}
	return resp.StatusCode
}

func (p *process) pending() int64 {
	p.t.Helper()
	var h struct {
		Pending int64 `json:"inbox_pending"`
	}
	p.get("/healthz", &h)
	return h.Pending
}

// settle waits until all that was accepted is visible.
func (p *process) settle() {
	p.t.Helper()
	for p.pending() > 0 {
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *process) contacts() int {
	p.t.Helper()
	var page struct{ Count int }
	if status := p.get("/api/public/users/", &page); status != http.StatusOK {
		p.t.Fatalf("list answered %d", status)
	}
	return page.Count
}

func person(id int) string {
	return fmt.Sprintf(`{"apiKey":%q,"user_id":"u%d","email":"u%d@acme.test","company":{"company_id":"c7","name":"Acme"},"$":{"id":"m%d","key":"key%09d","type":"page","url":"https://acme.test/"}}`, testKey, id, id, id, id)
}

// TestRestart: SIGTERM drains and exits 0, and the next start goes on where it
// was, with the keys it had.
func TestRestart(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data)
	for i := range 50 {
		if status, _, answer := p.post(person(i)); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	out := p.stdout.String()
	for _, want := range []string{p.origin + "/demo", `apiKey: "` + testKey + `"`, p.origin + "/widget.js", testToken} {
		if !strings.Contains(out, want) {
			t.Errorf("a newcomer is not told %q:\n%s", want, out)
		}
	}
	if code := p.end(); code != exitOK {
		t.Fatalf("exit code %d: %s", code, p.stderr)
	}
	p = launch(t, data)
	p.settle()
	if n := p.contacts(); n != 50 {
		t.Errorf("%d contacts after a restart, want 50", n)
	}
	p.post(person(7))
	p.settle()
	var c struct {
		PageViews int `json:"page_views"`
	}
	if p.get("/api/public/users-by-id/u7/", &c); c.PageViews != 1 {
		t.Errorf("%d page views: a message of before the restart counted twice", c.PageViews)
	}
	// Other keys in the settings are added to the data, and the old ones stay.
	p.end()
	p = launch(t, data, "CIVGATE_API_KEY=OTHER1")
	if status, _, answer := p.post(strings.Replace(person(60), testKey, "OTHER1", 1)); status != http.StatusOK {
		t.Errorf("the added apiKey got %d %s", status, answer)
	}
	if status, _, answer := p.post(person(61)); status != http.StatusOK {
		t.Errorf("the old apiKey got %d %s", status, answer)
	}
}

// TestStopBeforeReady: SIGTERM during the start is no failure either, and
// leaves data on which the next start works.
func TestStopBeforeReady(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var out, errs output
	if code := run(ctx, nil, []string{"CIVGATE_ADDR=127.0.0.1:0", "CIVGATE_DATA=" + data}, &out, &errs); code != exitOK {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	p := launch(t, data)
	if status, _, answer := p.post(person(1)); status != http.StatusOK {
		t.Error(status, answer)
	}
}

// TestSecondProcess: two servers on one file would each think that they are
// alone; the second says so and exits.
func TestSecondProcess(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	launch(t, data)
	var out, errs output
	code := run(context.Background(), nil, []string{"CIVGATE_ADDR=127.0.0.1:0", "CIVGATE_DATA=" + data}, &out, &errs)
	if msg := errs.String(); code != exitFailed || !strings.Contains(msg, "another civgate") || strings.Count(msg, "\n") != 1 {
		t.Errorf("exit code %d, %q", code, msg)
	}
}

// TestWrongStart: what can't work stops the start with one line that names the
// setting.
func TestWrongStart(t *testing.T) {
	t.Parallel()
	old := t.TempDir() // for the commands beside serve
	busy := launch(t, old)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  []string
		code int
		want string
	}{
		{"setting", nil, []string{"CIVGATE_LIMITS=maybe"}, exitUsage, "limits"},
		{"unknown variable", nil, []string{"CIVGATE_PORT=1"}, exitUsage, "CIVGATE_PORT"},
		{"unknown flag", []string{"--port=1"}, nil, exitUsage, "--port"},
		{"unknown command", []string{"start"}, nil, exitUsage, "start"},
		{"flag wins over the environment", []string{"--limits=maybe"}, []string{"CIVGATE_LIMITS=off"}, exitUsage, "maybe"},
		{"address in use", []string{"--addr", strings.TrimPrefix(busy.origin, "http://")}, nil, exitFailed, "addr"},
		{"data is a file", []string{"--data", file}, nil, exitFailed, "data"},
		{"no value", []string{"--rest-token"}, nil, exitUsage, "rest-token"},
		{"misspelt secret", []string{"--rest-tokn=hunter2"}, nil, exitUsage, "rest-tok"},
		{"database URL", nil, []string{"CIVGATE_DATABASE_URL=postgres://me:hunter2@h:port/d"}, exitUsage, "database_url"},
		{"database URL, unescaped", nil, []string{"CIVGATE_DATABASE_URL=postgres://me:a@hunter2:b%zz@h/d"}, exitUsage, "%XX"},
		{"database URL, unknown mode", nil, []string{"CIVGATE_DATABASE_URL=postgres://h/d?password=hunter2&sslmode=perhaps"}, exitUsage, "sslmode=require"},
		{"Redis URL", nil, []string{"CIVGATE_REDIS_URL=redis://:hunter2@h:99999"}, exitUsage, "redis_url: the Redis URL has a port"},
		{"Redis URL, unescaped", nil, []string{"CIVGATE_REDIS_URL=redis://:hunter2%zz@h"}, exitUsage, "redis_url: the Redis URL can't be read"},
		{"Redis URL, option", nil, []string{"CIVGATE_REDIS_URL=redis://:hunter2@h?timeout=1"}, exitUsage, "redis_url"},
		{"Redis URL of another command", []string{"workspace", "list"}, []string{"CIVGATE_REDIS_URL=redis://h:port"}, exitUsage, "redis_url"},
		{"owner", nil, []string{"CIVGATE_ADMIN_EMAIL=ada@", "CIVGATE_ADMIN_PASSWORD=hunter2hunter2"}, exitUsage, "admin_email"},
		{"port", []string{"--addr=127.0.0.1:70000"}, nil, exitUsage, "addr"},
		{"address of nobody", []string{"--addr=192.0.2.1:0"}, nil, exitUsage, "addr: \"192.0.2.1:0\" is not an address of this machine"},
		{"metrics address of nobody", []string{"--metrics-addr=192.0.2.1:0"}, nil, exitUsage, "metrics_addr: "},
		{"origin", []string{"workspace", "set", "1", "--origins=https://acme.test"}, nil, exitUsage, "--origins"},
		{"origin with a port", []string{"workspace", "set", "1", "--origins=acme.test,localhost:3000"}, nil, exitUsage, "\"localhost:3000\""},
		{"origin with an empty part", []string{"workspace", "set", "1", "--origins=acme..test"}, nil, exitUsage, "--origins"},
		{"origin of all", []string{"workspace", "set", "1", "--origins=*."}, nil, exitUsage, "--origins"},
		{"nothing to set", []string{"workspace", "set", "1"}, nil, exitUsage, "--origins"},
		{"refused without any", []string{"inbox", "refused", "--limit=0"}, nil, exitUsage, "--limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var out, errs output
			data := t.TempDir()
			if len(tt.args) > 1 && !strings.HasPrefix(tt.args[0], "-") {
				data = old
			}
			env := append([]string{"CIVGATE_DATA=" + data, "CIVGATE_ADDR=127.0.0.1:0"}, tt.env...)
			code := run(context.Background(), tt.args, env, &out, &errs)
			if msg := errs.String(); code != tt.code || !strings.Contains(msg, tt.want) || strings.Count(strings.TrimSpace(msg), "\n") != 0 || strings.Contains(msg, "hunter2") {
				t.Errorf("exit code %d, %q; want %d and one line with %q", code, msg, tt.code, tt.want)
			}
		})
	}
}

// TestDrainDelay: a stop first says that the node is not ready, and for drain_delay
// goes on taking what comes, also on new connections.
func TestDrainDelay(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data, "CIVGATE_DRAIN_DELAY=3s")
	p.ready(http.StatusOK)
	p.stop()
	p.ready(http.StatusServiceUnavailable)
	// As a balancer does that has not looked yet.
	fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := fresh.Post(p.origin+"/ingest", "text/plain", strings.NewReader(person(1)))
	if err != nil {
		t.Fatal("after the node said that it stops:", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Error(resp.StatusCode)
	}
	resp, err = fresh.Get(p.origin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"stopping"`) {
		t.Errorf("%s, %v", body, err)
	}
	if code := p.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	p = launch(t, data)
	p.settle()
	if n := p.contacts(); n != 1 {
		t.Errorf("%d contacts, want the one of the delay", n)
	}
}

// stuck is an intake that does not close, as on a disk that hangs.
type stuck struct {
	intake
	release chan struct{}
}

func (s *stuck) Pending() int64 { return 0 }

func (s *stuck) Close() error {
	<-s.release
	return nil
}

// TestStopIsBounded: whatever hangs, a stop takes drain_timeout and closeTime.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &stuck{release: make(chan struct{})}
		a := &app{
			cfg: config.Config{DrainTimeout: 20 * time.Second}, log: zap.NewNop(), intake: in, server: &http.Server{},
			stopping: make(chan struct{}), done: make(chan struct{}), failed: make(chan error, 1),
		}
		start := time.Now()
		if err := a.stop(5 * time.Second); err != nil {
			t.Error(err)
		}
		if took, want := time.Since(start), 28*time.Second; took != want {
			t.Errorf("it took %s, want %s", took, want)
		}
		close(in.release)
	})
}

// TestStopWhileLocked: a stop while another process holds the data's write lock
// loses nothing.
func TestStopWhileLocked(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data, "CIVGATE_LOG_LEVEL=error", "CIVGATE_DRAIN_TIMEOUT=100ms")
	unlock := lockForWriting(t, data)
	const people = 20
	for i := range people {
		if status, _, answer := p.post(person(i)); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	if code := p.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
	unlock()
	// What closeTime left behind ends with the process, which here goes on.
	for {
		lock, err := lockData(config.Config{Data: data})
		if err == nil {
			if err := lock.Unlock(); err != nil {
				t.Fatal(err)
			}
			break
		}
		if !errors.Is(err, errInUse) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	var out, errs output
	if code := run(context.Background(), []string{"export", "-"}, []string{"CIVGATE_DATA=" + data}, &out, &errs); code != exitOK || !strings.Contains(errs.String(), "not in the export: 20 payloads that wait in ") {
		t.Errorf("export: %d %s", code, &errs)
	}
	q := launch(t, data)
	if out := q.stdout.String(); !strings.Contains(out, "20 payloads that were accepted before are being applied now.") {
		t.Error(out)
	}
	q.settle()
	if n := q.contacts(); n != people {
		t.Errorf("%d contacts, want %d", n, people)
	}
}

// TestReadyTellsThatWritesWait: while another process holds the data's write lock
// a node is ready, for its inbox takes payloads; but it does not say that all is
// well with the database.
func TestReadyTellsThatWritesWait(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data, "CIVGATE_LOG_LEVEL=error")
	unlock := lockForWriting(t, data)
	p.post(person(1))
	p.readyBody(http.StatusOK, `"database":"read only: what is taken waits in the inbox"`)
	unlock()
	p.settle()
	p.readyBody(http.StatusOK, `"database":"ok"`)
}

// lockForWriting holds the write lock of the data, as another process does, until
// it is told to let go.
func lockForWriting(t *testing.T, data string) (unlock func()) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(data, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	exec := func(stmt string) {
		t.Helper()
		if _, err := db.ExecContext(context.Background(), stmt); err != nil {
			t.Fatal(err)
		}
	}
	exec("PRAGMA busy_timeout=5000")
	exec("BEGIN IMMEDIATE")
	exec("CREATE TABLE other_work (x)")
	return func() { t.Helper(); exec("ROLLBACK") }
}

// TestTokenAfterBusyPort: who could not have the port at the very first start
// has not seen the REST token yet, so the next start shows it.
func TestTokenAfterBusyPort(t *testing.T) {
	t.Parallel()
	busy := launch(t, t.TempDir())
	env := func(addr, data string) []string { return []string{"CIVGATE_ADDR=" + addr, "CIVGATE_DATA=" + data} }
	data := t.TempDir()
	var out, errs output
	if code := run(context.Background(), nil, env(strings.TrimPrefix(busy.origin, "http://"), data), &out, &errs); code != exitFailed {
		t.Fatalf("exit code %d on a busy port", code)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var out2, errs2 output
	go func() {
		defer close(done)
		run(ctx, nil, env("127.0.0.1:0", data), &out2, &errs2)
	}()
	for !readyLine.MatchString(out2.String()) {
		select {
		case <-done:
			t.Fatalf("it ended: %s", errs2.String())
		case <-time.After(2 * time.Millisecond):
		}
	}
	cancel()
	<-done
	if !regexp.MustCompile(`REST token: +[0-9a-f]{64}\n`).MatchString(out2.String()) {
		t.Errorf("the token is not shown:\n%s", &out2)
	}
}

// TestDataLocked: while another process holds a write transaction on the data,
// payloads are still accepted, and applied afterwards.
func TestDataLocked(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data, "CIVGATE_LOG_LEVEL=error")
	p.post(person(0))
	p.settle()

	unlock := lockForWriting(t, data)
	for i := 1; i <= 100; i++ {
		if status, _, answer := p.post(person(i)); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	time.Sleep(3 * time.Second) // longer than any busy timeout of the store
	if n := p.pending(); n == 0 {
		t.Error("nothing waits: the lock had no effect")
	}
	if n := p.contacts(); n != 1 {
		t.Errorf("%d contacts while the data is locked; reading must go on", n)
	}
	unlock()
	p.settle()
	if n := p.contacts(); n != 101 {
		t.Errorf("%d contacts, want 101", n)
	}
}

// TestDiskFull fills the disk under a running civgate: 503 with Retry-After,
// nothing acknowledged, and recovery by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("a small file system can't be mounted here (%v): run as root to test a full disk", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(data, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	p := launch(t, data, "CIVGATE_LIMITS=off")
	// Large ones: the inbox writes over spare room that it has already, which a
	// full disk does not take away, so it takes some to use that up.
	note := `"note":"` + strings.Repeat("x", 8000) + `",`
	acknowledged := 0
	send := func(n int) (refused int) {
		for range n {
			status, after, answer := p.post(strings.Replace(person(acknowledged), `"email"`, note+`"email"`, 1))
			switch {
			case status == http.StatusOK:
				acknowledged++
			case status == http.StatusServiceUnavailable && after != "" && strings.Contains(answer, `"unavailable"`):
				refused++
			default:
				t.Fatalf("%d %q %s", status, after, answer)
			}
		}
		return refused
	}
	send(20)
	filler := filepath.Join(data, "filler")
	fill(t, filler)
	for range 200 {
		if send(50) > 0 {
			break
		}
		fill(t, filler)
	}
	if send(20) == 0 {
		t.Fatal("a full disk refused nothing")
	}
	p.ready(http.StatusServiceUnavailable)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	p.ready(http.StatusOK) // without being sent anything: a balancer sends nothing meanwhile
	deadline := time.Now().Add(30 * time.Second)
	for send(1) > 0 {
		if time.Now().After(deadline) {
			t.Fatal("it does not recover when there is room again")
		}
		time.Sleep(50 * time.Millisecond)
	}
	send(20)
	p.settle()
	if n := p.contacts(); n != acknowledged {
		t.Errorf("%d contacts, %d were acknowledged", n, acknowledged)
	}
	if code := p.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// ready waits until /readyz answers with the status.
func (p *process) ready(want int) {
	p.t.Helper()
	p.readyBody(want, "")
}

// readyBody waits until /readyz answers with the status, and text in its body.
func (p *process) readyBody(want int, text string) {
	p.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(p.origin + "/readyz")
		if err != nil {
			p.t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			p.t.Fatal(err)
		}
		if resp.StatusCode == want && strings.Contains(string(body), text) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("/readyz answers %d %s, want %d %s", resp.StatusCode, body, want, text)
		}
	}
}

// TestMetricsAddress: on an address of its own the metrics need no token, and
// nothing else is there.
func TestMetricsAddress(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	p := launch(t, t.TempDir(), "CIVGATE_METRICS_ADDR="+addr)
	p.post(person(1))
	p.settle()
	get := func(url string) (int, string) {
		t.Helper()
		resp, err := http.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	status, text := get("http://" + addr + "/metrics")
	for _, line := range []string{`civgate_payloads_total{result="accepted"} 1`, "civgate_inbox_pending 0", "civgate_inbox_lag_seconds 0", "civgate_batch_payloads_sum 1", `civgate_cache_lookups_total{layer="none"} 1`} {
		if status != http.StatusOK || !strings.Contains(text, line+"\n") {
			t.Errorf("%d, no line %s", status, line)
		}
	}
	if status, _ := get("http://" + addr + "/healthz"); status != http.StatusNotFound {
		t.Errorf("health on the metrics' address: %d", status)
	}
	if status, _ := get(p.origin + "/metrics"); status != http.StatusNotFound {
		t.Errorf("metrics on the main address, without a token set: %d", status)
	}
}

// fill writes to path until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestWorkspaceCommand changes settings beside a running server.
func TestWorkspaceCommand(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	p := launch(t, data)
	civgate := func(args ...string) (int, string) {
		var out, errs output
		code := run(context.Background(), args, []string{"CIVGATE_DATA=" + data}, &out, &errs)
		return code, out.String() + errs.String()
	}
	if code, out := civgate("workspace", "list"); code != exitOK || !strings.Contains(out, "1\t"+testKey) {
		t.Errorf("list: %d %s", code, out)
	}
	const set = "--origins=acme.test,*.shop.test --unified-identification --no-verify-identity"
	if code, out := civgate("workspace", "set", "1", "--origins", "acme.test,*.shop.test"); code != exitOK || !strings.Contains(out, set) {
		t.Errorf("set: %d %s", code, out)
	}
	if code, out := civgate("workspace", "list"); code != exitOK || !strings.Contains(out, set) {
		t.Errorf("list after set: %d %s", code, out)
	}
	if code, out := civgate("workspace", "set", "1"); code != exitUsage || !strings.Contains(out, "--origins") {
		t.Errorf("nothing set: %d %s", code, out)
	}
	if code, out := civgate("workspace", "set", "1", "--origins", "https://acme.test/"); code != exitUsage {
		t.Errorf("set took a URL for a host: %d %s", code, out)
	}
	time.Sleep(600 * time.Millisecond) // a changed setting counts within a second
	r, err := http.NewRequest(http.MethodPost, p.origin+"/ingest", strings.NewReader(person(1)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://evil.test")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("an origin that is not on the list got %d", resp.StatusCode)
	}
	code, out := civgate("workspace", "create", "Second")
	key := regexp.MustCompile(`apiKey +(\w{6})`).FindStringSubmatch(out)
	if code != exitOK || key == nil {
		t.Fatalf("create: %d %s", code, out)
	}
	if status, _, answer := p.post(strings.Replace(person(1), testKey, key[1], 1)); status != http.StatusOK {
		t.Errorf("the new workspace's key got %d %s", status, answer)
	}
	p.settle()
	if n := p.contacts(); n != 0 {
		t.Errorf("the first workspace sees %d contacts of the second", n)
	}
	addr := "--addr=" + strings.TrimPrefix(p.origin, "http://")
	if code, out := civgate("ready", addr); code != exitOK || !strings.Contains(out, `"ready"`) {
		t.Errorf("ready: %d %s", code, out)
	}
	if code, out := civgate("ready", "--addr=127.0.0.1:1"); code != exitFailed {
		t.Errorf("ready where nobody listens: %d %s", code, out)
	}
	if code, out := civgate("version"); code != exitOK || !strings.HasPrefix(out, "civgate ") {
		t.Errorf("version: %d %s", code, out)
	}
	if code, out := civgate("--help"); code != exitOK || !strings.Contains(out, "--max-pending") {
		t.Errorf("help: %d %s", code, out)
	}
}
