package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
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

// maxP99 is what the 99th percentile of single payloads has to stay under, with one node.
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
	Connections int           `short:"c" default:"64" help:"Connections to each node, each with one request under way."`
	Contacts    int64         `default:"20000" help:"People who are created before returning and mixed are measured."`
	Verify      bool          `default:"true" negatable:"" help:"Read everything back after each stretch and compare."`
	DatabaseURL string        `placeholder:"URL" help:"PostgreSQL on this machine to measure with, instead of SQLite. Each stretch makes a database of its own beside the one named, which takes a role that may, and drops it. The CPU time of every PostgreSQL and Redis of the machine counts as civgate's."`
	RedisURL    string        `placeholder:"URL" help:"Redis on this machine, with -database-url."`
	Inbox       string        `default:"file" enum:"file,redis" help:"Where payloads wait: file or redis."`
	Nodes       int           `default:"1" help:"How many civgates share the database, and the machine's cores (GOMAXPROCS). Each stretch of several is followed by one of a single node, to compare the CPU time."`
	Only        []string      `placeholder:"ROW" help:"Rows to drive, by the start of their names; all if not given."`
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
	b := &bench{benchCmd: *c, dir: dir, streams: s}
	for _, bc := range benchCases {
		if len(c.Only) == 0 || slices.ContainsFunc(c.Only, func(start string) bool { return strings.HasPrefix(bc.name, start) }) {
			b.rows = append(b.rows, benchRow{benchCase: bc})
		}
	}
	if len(b.rows) == 0 {
		return fmt.Errorf("bench: no row starts with %q", c.Only)
	}
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
		for i := range b.rows {
			if err := b.round(ctx, round, i); err != nil {
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
	dir       string
	program   string
	sync      time.Duration // the disk's time for one small synced write
	starts    []time.Duration
	idle      int64
	rows      []benchRow
	bodies    int
	databases int // made so far
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

// newDatabase makes an empty database for a stretch, if it is to have one, so that none finds the rows of an earlier one and
// none pays for their vacuum. It returns the URL, and drop.
func (b *bench) newDatabase(ctx context.Context) (at string, drop func() error, err error) {
	if b.DatabaseURL == "" {
		return "", func() error { return nil }, nil
	}
	u, err := url.Parse(b.DatabaseURL)
	if err != nil {
		return "", nil, fmt.Errorf("bench: database URL: %w", err)
	}
	b.databases++
	name := fmt.Sprintf("civload_%d_%d", os.Getpid(), b.databases)
	query := func(ctx context.Context, statements ...string) error {
		conn, err := pgx.Connect(ctx, b.DatabaseURL)
		if err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		for _, q := range statements {
			if _, err = conn.Exec(ctx, q); err != nil {
				break
			}
		}
		return errors.Join(err, conn.Close(ctx))
	}
	if err := query(ctx, "CREATE DATABASE "+name, "CHECKPOINT"); err != nil {
		return "", nil, fmt.Errorf("bench: make a database: %w", err)
	}
	u.Path = "/" + name
	return u.String(), func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return query(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
	}, nil
}

// newNodes prepares n nodes on a database, each with a folder of its own below dir.
func (b *bench) newNodes(dir, database string, n int) ([]*gateway, error) {
	var nodes []*gateway
	for i := range n {
		sub := filepath.Join(dir, fmt.Sprintf("node%d", i+1))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
		g, err := newGateway(b.program, sub)
		if err != nil {
			return nil, err
		}
		if b.DatabaseURL != "" {
			g.environ = []string{fmt.Sprintf("GOMAXPROCS=%d", max(runtime.NumCPU()/n, 1)), "CIVGATE_DATABASE_URL=" + database, "CIVGATE_REDIS_URL=" + b.RedisURL, "CIVGATE_INBOX=" + b.Inbox}
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
	benchCase
	ceiling, applied, share []float64
	latency                 histogram
	load, alone             work // alone: of a single node, if there are several
	peak                    int64
	errors                  int64
}

// work is CPU time for payloads.
type work struct {
	payloads     int64
	cpu, civgate time.Duration // of all servers; of civgate alone, without its databases
	withOurs     time.Duration // of all servers and the generator
}

func (w *work) add(v work) {
	w.payloads += v.payloads
	w.cpu += v.cpu
	w.civgate += v.civgate
	w.withOurs += v.withOurs
}

// each is the part of d that falls on a payload, in microseconds.
func (w *work) each(d time.Duration) float64 {
	return float64(d.Microseconds()) / float64(max(w.payloads, 1))
}

// maxScaling is how much more CPU time a payload may take with several nodes than with one.
const maxScaling = 1.2

// round drives the ceiling, then civgate on fresh data, both for the same time and with the same generator.
func (b *bench) round(ctx context.Context, round, i int) error {
	row := &b.rows[i]
	ceiling, err := b.ceiling(ctx)
	if err != nil {
		return err
	}
	rate := perSecond(ceiling.Requests, ceiling.Elapsed)
	dir := filepath.Join(b.dir, fmt.Sprintf("round%d-%d", round+1, i+1))
	r, used, err := b.stretch(ctx, row.benchCase, dir, b.Nodes)
	if err != nil {
		return err
	}
	row.ceiling = append(row.ceiling, rate)
	row.applied = append(row.applied, r.applied())
	row.share = append(row.share, r.applied()/rate)
	row.latency.add(&r.Latency)
	row.load.add(used.work)
	row.peak = max(row.peak, used.peak)
	for _, n := range r.Errors {
		row.errors += n
	}
	if _, err := fmt.Fprintf(b.err, "round %d of %d  %-22s ceiling %6.0f requests/s, applied %6.0f payloads/s (%.2f), drain %s, p99 %s, CPU %.1f us a payload\n",
		round+1, b.Rounds, row.name, rate, r.applied(), r.applied()/rate, millis(r.Drain), millis(r.Latency.quantile(0.99)), used.each(used.cpu)); err != nil {
		return err
	}
	if b.Nodes == 1 {
		return nil
	}
	r, alone, err := b.stretch(ctx, row.benchCase, dir, 1)
	if err != nil {
		return err
	}
	row.alone.add(alone.work)
	_, err = fmt.Fprintf(b.err, "%-13s  %-22s with one node: applied %6.0f payloads/s, p99 %s, CPU %.1f us a payload (%.2f)\n",
		"", row.name, r.applied(), millis(r.Latency.quantile(0.99)), alone.each(alone.cpu), used.each(used.cpu)/alone.each(alone.cpu))
	return err
}

// taken is what a stretch took.
type taken struct {
	work
	peak int64
}

// stretch drives n nodes on fresh folders below dir, which it makes and removes, and verifies what is stored.
func (b *bench) stretch(ctx context.Context, bc benchCase, dir string, n int) (r result, used taken, err error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return r, used, fmt.Errorf("bench: %w", err)
	}
	database, drop, err := b.newDatabase(ctx)
	if err != nil {
		return r, used, err
	}
	defer func() { err = errors.Join(err, drop()) }()
	nodes, err := b.newNodes(dir, database, n)
	if err != nil {
		return r, used, err
	}
	var urls []string
	for _, g := range nodes {
		urls = append(urls, g.url())
		defer g.kill() // when stop wasn't reached; that error is the one to tell
	}
	t, err := newTarget(strings.Join(urls, ","), n*b.Connections)
	if err != nil {
		return r, used, err
	}
	defer t.close()
	if err := startAll(ctx, nodes); err != nil {
		return r, used, err
	}
	var servers []process
	for _, g := range nodes {
		servers = append(servers, g.running.process)
	}
	l, err := b.load(t, n*b.Connections, bc.scenario, bc.array, nodes[0].apiKey)
	if err != nil {
		return r, used, err
	}
	if _, err := l.warmUp(ctx); err != nil {
		return r, used, fmt.Errorf("bench, %s: %w", bc.name, err)
	}
	m := b.meter(servers...)
	r = l.run(ctx, newBudget(0, b.Duration))
	if err := l.drain(ctx, &r); err != nil {
		return r, used, fmt.Errorf("bench, %s: %w", bc.name, err)
	}
	own, server, databases := m.stop()
	used.work = work{payloads: r.Acked, cpu: server.cpu + databases, civgate: server.cpu, withOurs: own + server.cpu + databases}
	used.peak = server.peak
	if b.Verify {
		v, err := verify(ctx, t, nodes[0].restToken, l.ledger)
		if err != nil {
			return r, used, fmt.Errorf("bench, %s: verify: %w", bc.name, err)
		}
		if !v.ok() {
			return r, used, errors.Join(v.write(b.out), errNotVerified)
		}
	}
	for _, g := range nodes {
		if err := g.stop(); err != nil {
			return r, used, err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return r, used, fmt.Errorf("bench: %w", err)
	}
	return r, used, nil
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
	l, err := b.load(t, b.Connections, scenarioNew, 1, "L0AD01")
	if err != nil {
		return r, err
	}
	// The handler has no health route: the first payloads are what tells that it is there.
	if up := l.run(ctx, newBudget(int64(b.Connections), 0)); up.Acked != int64(b.Connections) {
		return r, fmt.Errorf("bench: the ceiling doesn't answer: %v", up.Errors)
	}
	m := b.meter(c.process)
	r = l.run(ctx, newBudget(0, b.Duration))
	own, used, _ := m.stop()
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
	databases   time.Duration
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
	if b.DatabaseURL != "" {
		m.databases, err = databaseCPU()
		b.unmeasured = cmp.Or(err, b.unmeasured)
	}
	return m
}

// stop returns the CPU time of this process, that of the servers with their peak of memory, and that of the databases
// beside them, if there are any. It adds to the bench what others took.
func (m *meter) stop() (own time.Duration, server usage, databases time.Duration) {
	end := m.bench.meter(m.servers...)
	own = end.own.cpu - m.own.cpu
	server = usage{cpu: end.before.cpu - m.before.cpu, peak: end.before.peak}
	databases = end.databases - m.databases
	m.bench.others += max(end.machine-m.machine-own-server.cpu-databases, 0)
	m.bench.window += time.Since(m.start) * time.Duration(runtime.NumCPU())
	return own, server, databases
}

func (b *bench) load(t *target, connections int, sc scenario, array int, apiKey string) (*load, error) {
	f := trafficFlags{
		Scenario: string(sc), Connections: connections, Array: array, Contacts: b.Contacts, PerCompany: 10,
		Timeout: 30 * time.Second, RetryFor: time.Minute, DrainFor: 2 * time.Minute, Origin: "https://app.example",
	}
	return f.prepare(t, apiKey)
}

// atRest measures start to first answer on a new folder a few times, and memory some seconds after the last.
func (b *bench) atRest(ctx context.Context) (err error) {
	const starts, rest = 5, 3 * time.Second
	database, drop, err := b.newDatabase(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	for i := range starts {
		dir := filepath.Join(b.dir, fmt.Sprintf("rest%d", i))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
		nodes, err := b.newNodes(dir, database, 1)
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
	for i := range b.rows {
		row := &b.rows[i]
		cpu, peak, byCPU := "-", "-", "-"
		if b.unmeasured == nil {
			byCPU = fmt.Sprintf("%.2f", float64(b.both.Microseconds())/float64(max(b.requests, 1))/max(row.load.each(row.load.withOurs), 1e-3))
			cpu = fmt.Sprintf("%.1f", row.load.each(row.load.cpu))
			if b.DatabaseURL != "" {
				cpu += fmt.Sprintf(" (civgate %.1f)", row.load.each(row.load.civgate))
			}
			peak = fmt.Sprintf("%.0f", float64(row.peak)/(1<<20))
		}
		share, p99 := median(row.share), row.latency.quantile(0.99)
		fmt.Fprintf(&t, "| %s | %s | %s | **%.2f** (%.2f to %.2f) | %s | %.2f | %.1f | %.1f | %s | %s |\n", row.name,
			thousands(int64(median(row.ceiling))), thousands(int64(median(row.applied))), share, slices.Min(row.share), slices.Max(row.share), byCPU, b.required(row.benchCase),
			ms(row.latency.quantile(0.5)), ms(p99), cpu, peak)
		if need := b.required(row.benchCase); share < need {
			missed = append(missed, fmt.Sprintf("%s: share %.2f of %.2f", row.name, share, need))
		}
		if row.array == 1 && b.Nodes == 1 && p99 >= maxP99 {
			missed = append(missed, fmt.Sprintf("%s: p99 %s, want under %s", row.name, millis(p99), millis(maxP99)))
		}
		if row.errors > 0 {
			missed = append(missed, fmt.Sprintf("%s: %d attempts failed", row.name, row.errors))
		}
	}
	if b.Nodes > 1 && b.unmeasured == nil {
		fmt.Fprintf(&t, "\n| scenario | CPU us a payload, %d nodes (civgate) | one node (civgate) | ratio | allowed |\n|---|---:|---:|---:|---:|\n", b.Nodes)
		for i := range b.rows {
			many, one := &b.rows[i].load, &b.rows[i].alone
			ratio := many.each(many.cpu) / max(one.each(one.cpu), 1e-3)
			fmt.Fprintf(&t, "| %s | %.1f (%.1f) | %.1f (%.1f) | **%.2f** | %.1f |\n", b.rows[i].name,
				many.each(many.cpu), many.each(many.civgate), one.each(one.cpu), one.each(one.civgate), ratio, maxScaling)
			if ratio > maxScaling {
				missed = append(missed, fmt.Sprintf("%s: %.2f times the CPU time of one node", b.rows[i].name, ratio))
			}
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
