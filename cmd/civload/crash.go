package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"
)

type crashCmd struct {
	Civgate     string        `placeholder:"PATH" help:"The civgate binary; built from this module if not given."`
	Times       int           `default:"20" help:"How often to kill it."`
	Scenario    string        `enum:"new,returning,mixed,chaos" default:"mixed" help:"Kind of traffic."`
	Connections int           `short:"c" default:"32" help:"Connections, each with one request under way."`
	Array       int           `default:"1" help:"Payloads a request."`
	Contacts    int64         `default:"1000" help:"People who are created before the first kill (returning, mixed)."`
	Longest     time.Duration `default:"1500ms" help:"Most time under load before a kill; the time is random."`
	Dir         string        `placeholder:"DIR" help:"Where the data folder is made (default: the system's temporary folder)."`
}

// Run kills civgate under load, and after each restart compares everything with the ledger: before the senders, who
// have offered some payloads without an answer, may offer them again, so what was acknowledged must be there by the
// server's own means.
func (c *crashCmd) Run(ctx context.Context, s streams) (err error) {
	if c.Times < 1 || c.Longest < time.Millisecond {
		return errors.New("crash: want at least one kill, and a millisecond before it")
	}
	dir, err := os.MkdirTemp(c.Dir, "civload-crash-*")
	if err != nil {
		return fmt.Errorf("crash: make a folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w (log and data are kept in %s)", err, dir)
			return
		}
		err = os.RemoveAll(dir)
	}()
	program, err := gatewayProgram(ctx, c.Civgate, dir)
	if err != nil {
		return err
	}
	work := filepath.Join(dir, "civgate-run")
	if err := os.Mkdir(work, 0o755); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	g, err := newGateway(program, work)
	if err != nil {
		return err
	}
	defer g.kill() // when stop wasn't reached; that error is the one to tell
	t, err := newTarget(g.url(), c.Connections)
	if err != nil {
		return err
	}
	defer t.close()
	f := trafficFlags{
		Scenario: c.Scenario, Connections: c.Connections, Array: c.Array, Contacts: c.Contacts, PerCompany: 10,
		// Restarts and verifications count as time for retries: nobody gives up in this test.
		Timeout: 30 * time.Second, RetryFor: time.Hour, DrainFor: 2 * time.Minute, Origin: "https://app.example",
	}
	l, err := f.prepare(t, g.apiKey)
	if err != nil {
		return err
	}
	if err := g.start(); err != nil {
		return err
	}
	if err := g.ready(ctx, t); err != nil {
		return err
	}
	if _, err := l.warmUp(ctx); err != nil {
		return fmt.Errorf("crash: %w", err)
	}
	if err := c.killing(ctx, s, g, l); err != nil {
		return err
	}
	if err := l.target.drained(ctx, l.cfg.DrainFor); err != nil {
		return err
	}
	if err := report(ctx, s, t, g.restToken, l.ledger); err != nil {
		return err
	}
	if err := g.stop(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "killed %d times under load, and whole after each restart\n", c.Times)
	return err
}

// killing keeps a load going and kills the server again and again.
func (c *crashCmd) killing(ctx context.Context, s streams, g *gateway, l *load) error {
	loadCtx, stopLoad := context.WithCancel(ctx)
	b := newBudget(0, 0)
	var r result
	var wg sync.WaitGroup
	wg.Go(func() { r = l.run(loadCtx, b) })
	var err error
	for i := 0; i < c.Times && err == nil; i++ {
		err = c.killOnce(ctx, s, g, l, i)
	}
	if err != nil {
		stopLoad() // nobody is there to answer what is on offer
	} else {
		b.over.Store(true) // what is on offer is still delivered
	}
	wg.Wait()
	stopLoad()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s payloads acknowledged, %s offered again, errors %v\n", thousands(r.Acked), thousands(r.Retries), r.Errors)
	return errors.Join(err, r.fault())
}

// killOnce lets the load run for a random time, kills the server, starts it again (every third time after killing it
// once more on its way up), and verifies before the load may go on.
func (c *crashCmd) killOnce(ctx context.Context, s streams, g *gateway, l *load, i int) error {
	after := time.Duration(rand.Int64N(int64(c.Longest)))
	if err := sleep(ctx, after); err != nil {
		return err
	}
	if err := g.kill(); err != nil {
		return fmt.Errorf("kill civgate: %w", err)
	}
	// Now no attempt can succeed; when the gate is ours, none is under way, and the ledger stands still.
	l.gate.Lock()
	defer l.gate.Unlock()
	if i%3 == 2 {
		if err := g.start(); err != nil {
			return err
		}
		if err := sleep(ctx, time.Duration(rand.Int64N(int64(150*time.Millisecond)))); err != nil {
			return err
		}
		if err := g.kill(); err != nil {
			return fmt.Errorf("kill civgate on its way up: %w", err)
		}
	}
	if err := g.start(); err != nil {
		return err
	}
	start := time.Now()
	if err := g.ready(ctx, l.target); err != nil {
		return err
	}
	up := time.Since(start)
	if err := l.target.drained(ctx, l.cfg.DrainFor); err != nil {
		return err
	}
	v, err := verify(ctx, l.target, g.restToken, l.ledger)
	if err != nil {
		return fmt.Errorf("verify after kill %d: %w", i+1, err)
	}
	if !v.ok() {
		return errors.Join(v.write(s.out), fmt.Errorf("after kill %d: %w", i+1, errNotVerified))
	}
	_, err = fmt.Fprintf(s.err, "kill %2d after %7s: up in %s, all of %s acknowledged payloads there once (%s unanswered)\n", i+1, millis(after), millis(up), thousands(v.Acked), thousands(v.Open))
	return err
}
