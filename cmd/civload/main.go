// Command civload drives a running civgate with realistic traffic and then checks that every acknowledged payload is
// stored exactly once.
//
//	civload -api-key K -scenario mixed -d 10s -verify -rest-token T    traffic, numbers, proof
//	civload verify -ledger FILE -rest-token T                          the proof alone, later
//	civload bench                                                      the table of speeds beside a bare echo handler
//	civload crash -times 20                                            kill -9 under load, proof after each restart
//	civload rest -rest-token T -api-key K -employees 200000            the time of single REST requests
//	civload panel -rest-token T -email E -password P -large ID         the time of single pages of the panel
//	civload ceiling                                                    the bare echo handler alone
//
// It owns the traffic, the book-keeping of what was acknowledged, and the comparison with what the REST API tells. It
// knows civgate only from outside: POST /ingest, GET /healthz, the REST API, the panel, settings by environment, signals.
//
// # Traffic
//
// Payloads are page views as the widget sends them: apiKey, user_id, e-mail, seven attributes, a company with four,
// and under "$" a message id (UUIDv7), a browser key, time and page; about 600 bytes. Scenario new: each payload is of
// a person never seen before, about ten of each company, in their own browser. Returning: of one of -contacts people
// who were created beforehand (untimed), and unchanged but for "$". Mixed: nine of these and one new, by chance.
// Chaos: stories of anonymous visits, log-ins, switches between people, devices, e-mails, repeated deliveries and
// changes of company, whose outcome the identity rules fix.
//
// # Delivery and measurement
//
// The loop is closed: -c connections, each with one request under way, and the next one when the answer is there. So
// the rate is what server and generator reach together, and latency is that of a server under exactly this
// concurrency. It is not what visitors would see who come at a fixed rate: a stall delays -c requests here, but would
// delay all that arrive meanwhile there ("coordinated omission"). Compare percentiles between runs, not with a rate.
// What is not acknowledged (connection lost, 429, 503, any 5xx) is offered again with the same message id, with growing
// pauses and after Retry-After, for -retry-for. What never was is "open": it may be stored or not, but not twice. A 503
// whose Retry-After is not a whole number of seconds, 1 or more, fails the run: widgets go by it. A run of some seconds
// also tells the 99th percentile by time, for up to ten stretches, as a request counts where it was answered: a stall
// shows as stretches without an answer and a long one at their end, and whether all is well again as the ones behind.
// Accepted and applied payloads a second is acknowledged payloads divided by the time until the last answer plus the
// time until inbox_pending is 0.
//
// # What is verified, and what isn't
//
// That each acknowledged payload's contact exists once, with its user_id, e-mail, browser key, name and an own
// attribute; that its page views are exactly the acknowledged ones (between these and the open ones on top); that it is
// an employee of exactly its companies by its own list and by theirs; that each company exists once with its name; that
// nothing exists of payloads that were refused or never sent. Not verified: the content of single page views (one lost
// and another one counted twice for the same contact would cancel out), attributes beyond those, and, as kill -9
// leaves the operating system running, what a power cut would do. Other runs' data in the same workspace is passed
// over; a workspace that links contacts to companies by e-mail domain, by itself, has memberships that are not expected.
//
// # Decisions
//
//   - A person is a function of the run's prefix, a seed and a number, and browser keys can be read back to their
//     number, so what a server owes is two counters a person: a million payloads are checked from 8 MB.
//   - A payload is counted as open before it is sent and moved to acknowledged after the answer, so the ledger bounds
//     what must be stored at every moment, and the crash test may check it in the middle of a load.
//   - net/http's Transport as client: it costs about as much as the server it measures against (some 20 us a request),
//     and a leaner one would raise every rate, the ceiling's most. Shares of the ceiling are therefore those of clients
//     on the same machine; the generator's own cost is printed beside them.
//   - The bench alternates ceiling and civgate round by round and takes medians of the shares of neighbours: on a
//     machine whose speed drifts, neighbours drift together.
//   - No JSON encoder on the way out: a payload is appended to a buffer in half a microsecond, without an allocation.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

func main() {
	// The generator shares the machine with what it measures and keeps little: memory is cheaper than collections.
	debug.SetGCPercent(400)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// Exit statuses.
const (
	exitOK    = 0
	exitFault = 1 // not verified, or the work could not be done
	exitUsage = 2
)

// errNotVerified says that the verdict, which is printed already, is against the server.
var errNotVerified = errors.New("not every acknowledged payload is stored exactly once")

// streams are where a command writes: results to out, progress and errors to err.
type streams struct{ out, err io.Writer }

type cli struct {
	Run     runCmd     `cmd:"" default:"withargs" help:"Send traffic to a running civgate, and verify it if asked to (the default command)."`
	Verify  verifyCmd  `cmd:"" help:"Verify what an earlier run wrote into its ledger file."`
	Bench   benchCmd   `cmd:"" help:"Measure civgate beside a bare echo handler and print a table."`
	Crash   crashCmd   `cmd:"" help:"Kill civgate again and again under load, and verify after each restart."`
	REST    restCmd    `cmd:"" name:"rest" help:"Measure how fast single requests of the REST API are answered, and print a table."`
	Panel   panelCmd   `cmd:"" help:"Measure how fast single pages of the panel are answered, and print a table."`
	Ceiling ceilingCmd `cmd:"" help:"Serve the bare echo handler that reads the body and answers."`
}

// run is the whole program but for the process: it returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	ended := -1 // set when --help has done all there is to do
	parser, err := kong.New(&c,
		kong.Name("civload"),
		kong.Description("Realistic traffic for civgate, and the proof that every acknowledged payload is stored exactly once."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { ended = code }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(streams{stdout, stderr}),
	)
	if err != nil {
		fmt.Fprintf(stderr, "civload: %v\n", err)
		return exitFault
	}
	command, err := parser.Parse(doubleDashes(args))
	if ended >= 0 {
		return ended
	}
	if err != nil {
		fmt.Fprintf(stderr, "civload: %v (try --help)\n", err)
		return exitUsage
	}
	if err := command.Run(); err != nil {
		fmt.Fprintf(stderr, "civload: %v\n", err)
		return exitFault
	}
	return exitOK
}

var longFlag = regexp.MustCompile(`^-[a-z][a-z-]+(=|$)`)

// doubleDashes lets long flags be written with one dash, as Go's tools have them.
func doubleDashes(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if longFlag.MatchString(a) {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}

type serverFlags struct {
	URL       string `default:"http://127.0.0.1:8080" help:"Address of civgate; of several nodes on one database with commas."`
	RESTToken string `name:"rest-token" env:"CIVGATE_REST_TOKEN" placeholder:"TOKEN" help:"REST token, to read everything back."`
}

type trafficFlags struct {
	Scenario    string        `enum:"new,returning,mixed,chaos" default:"mixed" help:"Kind of traffic: new, returning, mixed (9 returning to 1 new) or chaos."`
	Connections int           `short:"c" default:"64" help:"Connections, each with one request under way."`
	Array       int           `default:"1" help:"Payloads a request, up to 50; 1 sends plain objects."`
	Contacts    int64         `default:"20000" help:"People who are created before returning and mixed are measured."`
	PerCompany  int64         `name:"people-per-company" default:"10" help:"People of each company, up to 1000."`
	Timeout     time.Duration `default:"30s" help:"Time for one attempt."`
	RetryFor    time.Duration `default:"60s" help:"How long an unacknowledged payload is offered again."`
	NoRetry     bool          `help:"Offer each payload once."`
	DrainFor    time.Duration `default:"2m" help:"How long to wait until everything acknowledged is visible."`
	Origin      string        `default:"https://app.example" help:"Origin header, as a browser sends it; empty for none."`
}

// prepare makes a load with a new ledger. apiKey is part of each payload.
func (f *trafficFlags) prepare(t *target, apiKey string) (*load, error) {
	if f.PerCompany < 1 || f.PerCompany > maxEmployees {
		return nil, fmt.Errorf("people per company: want 1 to %d", maxEmployees)
	}
	tr, err := newTraffic(newPrefix(), rand.Uint64(), f.PerCompany, apiKey)
	if err != nil {
		return nil, err
	}
	cfg := loadConfig{
		Scenario: scenario(f.Scenario), Conns: f.Connections, Array: f.Array, Contacts: f.Contacts,
		Timeout: f.Timeout, RetryFor: f.RetryFor, DrainFor: f.DrainFor, Origin: f.Origin,
	}
	if f.NoRetry {
		cfg.RetryFor = 0
	}
	return newLoad(cfg, t, newLedger(tr, cfg.Scenario == scenarioChaos))
}

type runCmd struct {
	serverFlags
	trafficFlags
	APIKey   string        `name:"api-key" required:"" env:"CIVGATE_API_KEY" placeholder:"KEY" help:"The workspace's public key (apiKey of the snippet)."`
	Duration time.Duration `short:"d" help:"How long to send (10s if neither -d nor -n is given)."`
	Payloads int64         `short:"n" help:"How many payloads to send."`
	Verify   bool          `help:"Afterwards read everything back over REST and compare."`
	Ledger   string        `placeholder:"FILE" help:"Write what was acknowledged to a file, for a later civload verify."`
	PID      int           `name:"pid" help:"Process id of the server on this machine: report its memory and CPU time too."`
}

// Run sends the traffic, reports it, and verifies it if asked to.
func (c *runCmd) Run(ctx context.Context, s streams) error {
	if c.Verify && c.RESTToken == "" {
		return errors.New("-verify needs -rest-token")
	}
	if c.Duration == 0 && c.Payloads == 0 {
		c.Duration = 10 * time.Second
	}
	t, err := newTarget(c.URL, c.Connections)
	if err != nil {
		return err
	}
	defer t.close()
	l, err := c.prepare(t, c.APIKey)
	if err != nil {
		return err
	}
	if _, err := t.health(ctx); err != nil {
		return fmt.Errorf("ask for the health of %s: %w", c.URL, err)
	}
	var watched *watch
	if c.PID != 0 {
		watched = &watch{process: process{c.PID}}
	}
	r, err := c.timed(ctx, s, l, watched)
	if c.Ledger != "" {
		err = errors.Join(err, l.ledger.writeFile(c.Ledger))
	}
	if err != nil {
		return err
	}
	if err := errors.Join(r.write(s.out, ctx.Err() == nil), watched.write(s.out, r.Acked)); err != nil {
		return err
	}
	err = r.fault()
	switch {
	case ctx.Err() != nil:
		err = errors.Join(err, errors.New("interrupted, nothing verified"))
	case c.Verify:
		err = errors.Join(err, report(ctx, s, t, c.RESTToken, l.ledger))
	case r.Acked == 0:
		err = errors.Join(err, errors.New("nothing was acknowledged"))
	}
	return err
}

// timed runs the warm-up and the measured phase with the progress line, and waits for everything to be visible.
func (c *runCmd) timed(ctx context.Context, s streams, l *load, watched *watch) (*result, error) {
	progress, done := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { l.progress(progress, s.err, watched) })
	defer wg.Wait()
	defer done()

	if _, err := l.warmUp(ctx); err != nil {
		return nil, err
	}
	watched.begin()
	r := l.run(ctx, newBudget(c.Payloads, c.Duration))
	var err error
	if ctx.Err() == nil { // interrupted: what is there is reported, without waiting
		err = l.drain(ctx, &r)
	}
	watched.end()
	return &r, err
}

type verifyCmd struct {
	serverFlags
	Ledger   string        `required:"" placeholder:"FILE" help:"The ledger file of an earlier run."`
	DrainFor time.Duration `default:"2m" help:"How long to wait until everything acknowledged is visible."`
}

// Run compares the server's data with a ledger file.
func (c *verifyCmd) Run(ctx context.Context, s streams) error {
	if c.RESTToken == "" {
		return errors.New("verify needs -rest-token")
	}
	l, err := readLedgerFile(c.Ledger)
	if err != nil {
		return err
	}
	t, err := newTarget(c.URL, 1)
	if err != nil {
		return err
	}
	defer t.close()
	if err := t.drained(ctx, c.DrainFor); err != nil {
		return err
	}
	return report(ctx, s, t, c.RESTToken, l)
}

// report verifies and prints the verdict; a bad one is errNotVerified.
func report(ctx context.Context, s streams, t *target, restToken string, l *ledger) error {
	v, err := verify(ctx, t, restToken, l)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if err := v.write(s.out); err != nil {
		return err
	}
	if !v.ok() {
		return errNotVerified
	}
	return nil
}

type ceilingCmd struct {
	Addr string `default:"127.0.0.1:0" help:"Address to listen on."`
}

// Run serves the ceiling until it is interrupted.
func (c *ceilingCmd) Run(ctx context.Context, s streams) error {
	return serveCeiling(ctx, c.Addr, s.out)
}
