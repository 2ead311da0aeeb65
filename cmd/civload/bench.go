package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// benchCase is a row of the table.
type benchCase struct {
	name     string
	scenario scenario
	array    int
	required float64 // payloads applied for each request that the ceiling answers
}

var benchCases = []benchCase{
	{"all new", scenarioNew, 1, 0.25},
	{"returning, unchanged", scenarioReturning, 1, 0.45},
	{"mixed 90/10", scenarioMixed, 1, 0.40},
	{"arrays of 20, all new", scenarioNew, 20, 0.80},
	{"arrays of 20, mixed", scenarioMixed, 20, 0.80},
}

// maxP99 is what the 99th percentile of single payloads has to stay under.
const maxP99 = 40 * time.Millisecond

// Bounds of the server at rest.
const (
	maxIdle  = 48 << 20
	maxStart = 300 * time.Millisecond
)

type benchCmd struct {
	Civgate     string        `placeholder:"PATH" help:"The civgate binary; built from this module if not given."`
	Rounds      int           `default:"3" help:"Rounds; each drives every row once, and the ceiling before each."`
	Duration    time.Duration `short:"d" default:"8s" help:"Time of one stretch of load."`
	Connections int           `short:"c" default:"64" help:"Connections, each with one request under way."`
	Contacts    int64         `default:"20000" help:"People who are created before returning and mixed are measured."`
	Verify      bool          `default:"true" negatable:"" help:"Read everything back after each stretch and compare."`
	DatabaseURL string        `placeholder:"URL" help:"PostgreSQL on this machine to measure with, instead of SQLite. The stretches share the database; its CPU time counts as the server's, and so does all else that runs here."`
	RedisURL    string        `placeholder:"URL" help:"Redis on this machine, with -database-url."`
	Inbox       string        `default:"file" enum:"file,redis" help:"Where payloads wait: file or redis."`
	Nodes       int           `default:"1" help:"How many civgates share the database."`
	Dir         string        `placeholder:"DIR" help:"Where the data folders are made (default: the system's temporary folder). What disk that is matters."`
}

// Run measures and prints the table. It is an error if verification finds a fault; a missed bound is told, no error:
// numbers depend on the machine.
func (c *benchCmd) Run(ctx context.Context, s streams) (err error) {
	if c.Rounds < 1 || c.Duration <= 0 {
		return errors.New("bench: want at least one round, and some time for each")
	}
	if c.Nodes < 1 || c.DatabaseURL == "" && (c.Nodes > 1 || c.RedisURL != "" || c.Inbox != "file") {
		return errors.New("bench: several nodes, Redis and an inbox in it need -database-url")
	}
	dir, err := os.MkdirTemp(c.Dir, "civload-bench-*")
	if err != nil {
		return fmt.Errorf("bench: make a folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w (logs and data are kept in %s)", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	b := &bench{benchCmd: *c, dir: dir, streams: s, rows: make([]benchRow, len(benchCases))}
	if b.program, err = gatewayProgram(ctx, c.Civgate, dir); err != nil {
		return err
	}
	if b.sync, err = syncTime(dir); err != nil {
		return err
	}
	if err := b.atRest(ctx); err != nil {
		return err
	}
	for round := range c.Rounds {
		for i := range benchCases {
			if err := b.stretch(ctx, round, i); err != nil {
				return err
			}
		}
	}
	return b.write(s.out)
}

// gatewayProgram returns the binary to run: path, or one built from this module into dir.
func gatewayProgram(ctx context.Context, path, dir string) (string, error) {
	if path != "" {
		return filepath.Abs(path)
	}
	out := filepath.Join(dir, "civgate")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", out, "civgate/cmd/civgate")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build civgate (start inside its module, or name a binary with -civgate): %w\n%s", err, text)
	}
	return out, nil
}

// bench is one run of the command.
type bench struct {
	benchCmd
	streams
	dir     string
	program string
	sync    time.Duration // the disk's time for one small synced write
	starts  []time.Duration
	idle    int64
	rows    []benchRow
	bodies  int
	// CPU time during the ceiling's stretches: of this process, and of both together, for so many requests.
	own, both time.Duration
	requests  int64
	// others is CPU time that neither this process nor the server took, of all there was in window, during the stretches.
	others, window time.Duration
	// unmeasured says why CPU time and memory are not known here; nil where they are.
	unmeasured error
}

// required is what a case has to reach with these databases; 0 where nothing is asked.
func (c *benchCmd) required(bc benchCase) float64 {
	if c.DatabaseURL == "" {
		return bc.required
	}
	shares := map[string][2]float64{"all new": {0.15, 0.12}, "returning, unchanged": {0.40, 0.30}}[bc.name]
	if c.Inbox == "redis" {
		return shares[1]
	}
	return shares[0]
}

// newNodes prepares the nodes of a stretch, each with a folder of its own below dir.
func (b *bench) newNodes(dir string) ([]*gateway, error) {
	var nodes []*gateway
	for i := range b.Nodes {
		sub := filepath.Join(dir, fmt.Sprintf("node%d", i+1))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		g, err := newGateway(b.program, sub)
		if err != nil {
			return nil, err
		}
		if b.DatabaseURL != "" {
			g.environ = []string{"CIVGATE_DATABASE_URL=" + b.DatabaseURL, "CIVGATE_REDIS_URL=" + b.RedisURL, "CIVGATE_INBOX=" + b.Inbox}
		}
		nodes = append(nodes, g)
	}
	return nodes, nil
}

// startAll starts nodes and waits until each answers.
func startAll(ctx context.Context, nodes []*gateway) error {
	for _, g := range nodes {
		if err := g.start(); err != nil {
			return err
		}
	}
	for _, g := range nodes {
		t, err := newTarget(g.url(), 1)
		if err != nil {
			return err
		}
		err = g.ready(ctx, t)
		t.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// benchRow collects what the rounds of a case came to.
type benchRow struct {
	ceiling, applied, share []float64
	latency                 histogram
	payloads                int64
	cpu, both               time.Duration // of the server; of server and generator
	peak                    int64
	errors                  int64
}

// stretch drives the ceiling, then civgate on fresh data, both for the same time and with the same generator.
func (b *bench) stretch(ctx context.Context, round, i int) error {
	bc, row := benchCases[i], &b.rows[i]
	ceiling, err := b.ceiling(ctx)
	if err != nil {
		return err
	}
	rate := perSecond(ceiling.Requests, ceiling.Elapsed)

	dir := filepath.Join(b.dir, fmt.Sprintf("round%d-%d", round+1, i+1))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	nodes, err := b.newNodes(dir)
	if err != nil {
		return err
	}
	var urls []string
	var servers []process
	for _, g := range nodes {
		urls = append(urls, g.url())
		defer g.kill() // when stop wasn't reached; that error is the one to tell
	}
	t, err := newTarget(strings.Join(urls, ","), b.Connections)
	if err != nil {
		return err
	}
	defer t.close()
	if err := startAll(ctx, nodes); err != nil {
		return err
	}
	for _, g := range nodes {
		servers = append(servers, g.running.process)
	}
	g := nodes[0]
	l, err := b.load(t, bc.scenario, bc.array, g.apiKey)
	if err != nil {
		return err
	}
	if _, err := l.warmUp(ctx); err != nil {
		return fmt.Errorf("bench, %s: %w", bc.name, err)
	}
	m := b.meter(servers...)
	r := l.run(ctx, newBudget(0, b.Duration))
	if err := l.drain(ctx, &r); err != nil {
		return fmt.Errorf("bench, %s: %w", bc.name, err)
	}
	own, used := m.stop()
	verdict := "not verified"
	if b.Verify {
		v, err := verify(ctx, t, g.restToken, l.ledger)
		if err != nil {
			return fmt.Errorf("bench, %s: verify: %w", bc.name, err)
		}
		if !v.ok() {
			return errors.Join(v.write(b.out), errNotVerified)
		}
		verdict = "verified"
	}
	for _, g := range nodes {
		if err := g.stop(); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("bench: %w", err)
	}

	row.ceiling = append(row.ceiling, rate)
	row.applied = append(row.applied, r.applied())
	row.share = append(row.share, r.applied()/rate)
	row.latency.add(&r.Latency)
	row.payloads += r.Acked
	row.cpu += used.cpu
	row.both += own + used.cpu
	row.peak = max(row.peak, used.peak)
	for _, n := range r.Errors {
		row.errors += n
	}
	_, err = fmt.Fprintf(b.err, "round %d of %d  %-22s ceiling %6.0f requests/s, applied %6.0f payloads/s (%.2f), drain %s, p99 %s, %s\n",
		round+1, b.Rounds, bc.name, rate, r.applied(), r.applied()/rate, millis(r.Drain), millis(r.Latency.quantile(0.99)), verdict)
	return err
}

// ceiling drives the echo handler that only reads and answers, in a process of its own, with the payloads of all-new.
func (b *bench) ceiling(ctx context.Context) (r result, err error) {
	self, err := os.Executable()
	if err != nil {
		return r, fmt.Errorf("bench: find this program: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return r, err
	}
	c, err := startChild(filepath.Join(b.dir, "ceiling.log"), self, os.Environ(), "ceiling", "--addr", addr)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, c.stop(10*time.Second)) }()
	t, err := newTarget("http://"+addr, b.Connections)
	if err != nil {
		return r, err
	}
	defer t.close()
	l, err := b.load(t, scenarioNew, 1, "L0AD01")
	if err != nil {
		return r, err
	}
	// The handler has no health route: the first payloads are what tells that it is there.
	if up := l.run(ctx, newBudget(int64(b.Connections), 0)); up.Acked != int64(b.Connections) {
		return r, fmt.Errorf("bench: the ceiling doesn't answer: %v", up.Errors)
	}
	m := b.meter(c.process)
	r = l.run(ctx, newBudget(0, b.Duration))
	own, used := m.stop()
	b.own += own
	b.both += own + used.cpu
	b.requests += r.Requests
	if len(r.Errors) > 0 {
		return r, fmt.Errorf("bench: errors at the ceiling: %v", r.Errors)
	}
	mint := newMinter()
	b.bodies = len(l.ledger.traffic.appendPayload(nil, l.ledger.traffic.plain(12345), &mint, time.Now()))
	return r, ctx.Err()
}

// A meter measures what a stretch takes.
type meter struct {
	bench       *bench
	servers     []process
	start       time.Time
	own, before usage // before: of all servers together
	machine     time.Duration
}

func (b *bench) meter(servers ...process) *meter {
	m := &meter{bench: b, servers: servers, start: time.Now()}
	own, err := process{os.Getpid()}.usage()
	m.own = own
	b.unmeasured = cmp.Or(err, b.unmeasured)
	for _, s := range servers {
		u, err := s.usage()
		m.before.cpu += u.cpu
		m.before.peak += u.peak
		b.unmeasured = cmp.Or(err, b.unmeasured)
	}
	m.machine, err = machineCPU()
	b.unmeasured = cmp.Or(err, b.unmeasured)
	return m
}

// stop returns the CPU time of this process, and that of the servers with their peak of memory, and adds what others took
// to the bench. With databases beside the servers all but this process's time is theirs.
func (m *meter) stop() (own time.Duration, server usage) {
	end := m.bench.meter(m.servers...)
	own = end.own.cpu - m.own.cpu
	server = usage{cpu: end.before.cpu - m.before.cpu, peak: end.before.peak}
	others := max(end.machine-m.machine-own-server.cpu, 0)
	if m.bench.DatabaseURL != "" {
		server.cpu += others
		others = 0
	}
	m.bench.others += others
	m.bench.window += time.Since(m.start) * time.Duration(runtime.NumCPU())
	return own, server
}

func (b *bench) load(t *target, sc scenario, array int, apiKey string) (*load, error) {
	f := trafficFlags{
		Scenario: string(sc), Connections: b.Connections, Array: array, Contacts: b.Contacts, PerCompany: 10,
		Timeout: 30 * time.Second, RetryFor: time.Minute, DrainFor: 2 * time.Minute, Origin: "https://app.example",
	}
	return f.prepare(t, apiKey)
}

// atRest measures start to first answer on a new folder a few times, and memory some seconds after the last.
func (b *bench) atRest(ctx context.Context) error {
	const starts, rest = 5, 3 * time.Second
	for i := range starts {
		dir := filepath.Join(b.dir, fmt.Sprintf("rest%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		nodes, err := b.newNodes(dir)
		if err != nil {
			return err
		}
		g := nodes[0]
		if err := b.startOnce(ctx, g, i == starts-1, rest); err != nil {
			return err
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	slices.Sort(b.starts)
	return nil
}

func (b *bench) startOnce(ctx context.Context, g *gateway, rested bool, rest time.Duration) error {
	t, err := newTarget(g.url(), 1)
	if err != nil {
		return err
	}
	defer t.close()
	start := time.Now()
	if err := g.start(); err != nil {
		return err
	}
	defer g.kill() // when stop wasn't reached; that error is the one to tell
	if err := g.ready(ctx, t); err != nil {
		return err
	}
	b.starts = append(b.starts, time.Since(start))
	if rested {
		if err := sleep(ctx, rest); err != nil {
			return err
		}
		u, err := g.running.usage()
		b.unmeasured = cmp.Or(err, b.unmeasured)
		b.idle = u.resident
	}
	return g.stop()
}

// write prints the table in Markdown, and a line for what holds.
func (b *bench) write(w io.Writer) error {
	var t strings.Builder
	fmt.Fprintf(&t, "%d cores (%s/%s, %s), generator and server on the same ones; %d connections, %d rounds of %v; payloads of about %d bytes;\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), b.Connections, b.Rounds, b.Duration, b.bodies)
	data := "SQLite, synchronous FULL"
	if b.DatabaseURL != "" {
		data = fmt.Sprintf("PostgreSQL on the same cores, inbox in %s, %d nodes", b.Inbox, b.Nodes)
		if b.RedisURL != "" {
			data += ", Redis"
		}
	}
	fmt.Fprintf(&t, "%s; the disk takes %s for a synced write of 4 KiB",
		data, millis(b.sync))
	if b.unmeasured == nil {
		fmt.Fprintf(&t, "; the generator takes %.1f us of CPU a request; everything else on the machine took %.0f %% of it",
			float64(b.own.Microseconds())/float64(max(b.requests, 1)), 100*b.others.Seconds()/max(b.window, 1).Seconds())
	}
	t.WriteString(".\n")
	if b.Verify {
		t.WriteString("Each stretch was read back over REST: every acknowledged payload is stored exactly once.\n")
	}
	t.WriteString("\n| scenario | ceiling, requests/s | accepted and applied, payloads/s | share of ceiling (rounds) | by CPU time | required | p50 ms | p99 ms | CPU us a payload | max RSS MiB |\n")
	t.WriteString("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n")
	var missed []string
	for i, bc := range benchCases {
		row := &b.rows[i]
		cpu, peak, byCPU := "-", "-", "-"
		if b.unmeasured == nil {
			byCPU = fmt.Sprintf("%.2f", b.both.Seconds()/float64(max(b.requests, 1))/max(row.both.Seconds()/float64(max(row.payloads, 1)), 1e-9))
			cpu = fmt.Sprintf("%.1f", float64(row.cpu.Microseconds())/float64(max(row.payloads, 1)))
			peak = fmt.Sprintf("%.0f", float64(row.peak)/(1<<20))
		}
		share, p99 := median(row.share), row.latency.quantile(0.99)
		fmt.Fprintf(&t, "| %s | %s | %s | **%.2f** (%.2f to %.2f) | %s | %.2f | %.1f | %.1f | %s | %s |\n", bc.name,
			thousands(int64(median(row.ceiling))), thousands(int64(median(row.applied))), share, slices.Min(row.share), slices.Max(row.share), byCPU, b.required(bc),
			ms(row.latency.quantile(0.5)), ms(p99), cpu, peak)
		if need := b.required(bc); share < need {
			missed = append(missed, fmt.Sprintf("%s: share %.2f of %.2f", bc.name, share, need))
		}
		if bc.array == 1 && p99 >= maxP99 {
			missed = append(missed, fmt.Sprintf("%s: p99 %s, want under %s", bc.name, millis(p99), millis(maxP99)))
		}
		if row.errors > 0 {
			missed = append(missed, fmt.Sprintf("%s: %d attempts failed", bc.name, row.errors))
		}
	}
	t.WriteString("\nBy CPU time: CPU time of server and generator together for a request of the ceiling, divided by that for a payload. It is what the share\n" +
		"would be if nobody waited for a disk, and depends less on what else the machine does (smaller batches cost more each).\n")
	start := b.starts[len(b.starts)/2]
	fmt.Fprintf(&t, "\nStart to first answer on a new folder: %s (want under %s)", millis(start), millis(maxStart))
	if b.unmeasured == nil {
		fmt.Fprintf(&t, "; resident memory at rest: %s (want under %s).\n", mebibytes(b.idle), mebibytes(maxIdle))
	} else {
		fmt.Fprintf(&t, "; CPU time and memory not measured: %v.\n", b.unmeasured)
	}
	if start >= maxStart {
		missed = append(missed, "start to first answer: "+millis(start))
	}
	if b.idle >= maxIdle {
		missed = append(missed, "memory at rest: "+mebibytes(b.idle))
	}
	if len(missed) == 0 {
		t.WriteString("All bounds hold.\n")
	} else {
		fmt.Fprintf(&t, "NOT HELD: %s.\n", strings.Join(missed, "; "))
	}
	_, err := io.WriteString(w, t.String())
	return err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

// syncTime is the median time that the disk under dir takes to make one small write durable. Without it rates can't be
// compared: a disk that lies about it, or memory, makes every store fast.
func syncTime(dir string) (time.Duration, error) {
	f, err := os.CreateTemp(dir, "sync-*")
	if err != nil {
		return 0, fmt.Errorf("time the disk: %w", err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	block := make([]byte, 4<<10)
	times := make([]time.Duration, 41)
	for i := range times {
		start := time.Now()
		if _, err := f.Write(block); err != nil {
			return 0, fmt.Errorf("time the disk: %w", err)
		}
		if err := f.Sync(); err != nil {
			return 0, fmt.Errorf("time the disk: %w", err)
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times)
	return times[len(times)/2], nil
}
