package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A scenario is a kind of traffic.
type scenario string

const (
	scenarioNew       scenario = "new"       // every payload is of a person never seen before
	scenarioReturning scenario = "returning" // every payload is of a known person and says nothing new but the page
	scenarioMixed     scenario = "mixed"     // nine payloads of known people, one of a new person
	scenarioChaos     scenario = "chaos"     // stories of anonymous visits, log-ins, switches, repeats (story.go)
)

// loadConfig says what to send and how. newLoad checks it.
type loadConfig struct {
	Scenario scenario
	Conns    int           // connections, each with one request under way
	Array    int           // payloads a request; 1 sends plain objects
	Contacts int64         // people created before returning and mixed are measured
	Timeout  time.Duration // of one attempt
	RetryFor time.Duration // how long a payload is offered again; 0 tries once
	DrainFor time.Duration // how long to wait for inbox_pending 0
	Origin   string        // header Origin, as a browser sends it; "" sends none
}

// maxArray is the most payloads of one request (the wire's limit).
const maxArray = 50

// A load drives one target with one kind of traffic, and keeps the ledger of it.
type load struct {
	cfg    loadConfig
	target *target
	ledger *ledger
	count  counters
	errors tallyMap
	// gate is held shared around each attempt. Who holds it alone (the crash test) knows that no request is under way
	// and that the ledger stands still.
	gate sync.RWMutex
}

// counters are read by the progress line while the workers count.
type counters struct {
	requests, acked, refused, unknown, retries, warnings, untold atomic.Int64
}

func newLoad(cfg loadConfig, t *target, l *ledger) (*load, error) {
	switch {
	case cfg.Conns < 1 || cfg.Conns > 10_000:
		return nil, errors.New("connections: want 1 to 10000")
	case cfg.Array < 1 || cfg.Array > maxArray:
		return nil, fmt.Errorf("payloads a request: want 1 to %d", maxArray)
	case cfg.Contacts < 1 && cfg.warms():
		return nil, errors.New("contacts: known people need at least one")
	case cfg.Contacts > maxSenders/2:
		return nil, fmt.Errorf("contacts: want at most %d", maxSenders/2)
	}
	return &load{cfg: cfg, target: t, ledger: l}, nil
}

// warms tells whether the scenario needs people that exist already.
func (c loadConfig) warms() bool {
	return c.Scenario == scenarioReturning || c.Scenario == scenarioMixed
}

// result is what one phase of a load came to.
type result struct {
	Elapsed  time.Duration // from the first request to the last answer
	Drain    time.Duration // from then until everything was visible
	Requests int64         // answered with 2xx
	Acked    int64         // payloads
	Refused  int64         // payloads turned down for good
	Unknown  int64         // payloads never answered: stored or not
	Retries  int64
	Warnings int64
	Untold   int64     // answers of 503 that don't tell when to come again
	Latency  histogram // of the requests answered with 2xx
	Times    *timeline // the same, by when they were answered
	Errors   map[string]int64
}

// errUntold says that a server refused for the moment without the Retry-After that its clients go by.
var errUntold = errors.New("503 without a Retry-After of whole seconds, 1 or more")

// fault is what the server did wrong that needs no ledger to see; nil if nothing.
func (r *result) fault() error {
	if r.Untold > 0 {
		return fmt.Errorf("%d answers of %w", r.Untold, errUntold)
	}
	return nil
}

// applied is the rate of payloads acknowledged and made visible, a second.
func (r *result) applied() float64 {
	return perSecond(r.Acked, r.Elapsed+r.Drain)
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// warmUp creates the known people of the scenario, if it has any, and waits until they are visible.
func (l *load) warmUp(ctx context.Context) (result, error) {
	if !l.cfg.warms() {
		return result{}, nil
	}
	first, ok := l.ledger.take(l.cfg.Contacts)
	if first != 0 || !ok {
		return result{}, errors.New("a ledger can be warmed up once only")
	}
	var next atomic.Int64
	r := l.drive(ctx, phase{
		budget: newBudget(l.cfg.Contacts, 0),
		array:  maxArray,
		pick:   func(*rand.Rand) (int64, bool) { return next.Add(1) - 1, true },
	})
	if r.Acked != l.cfg.Contacts {
		return r, fmt.Errorf("create %d known contacts: %d acknowledged, %d refused, %d never answered: %v", l.cfg.Contacts, r.Acked, r.Refused, r.Unknown, r.Errors)
	}
	if err := r.fault(); err != nil {
		return r, fmt.Errorf("create known contacts: %w", err)
	}
	return r, l.target.drained(ctx, l.cfg.DrainFor)
}

// run sends the scenario's traffic until the budget is used up or ctx ends. In the first case what is on offer is still
// delivered.
func (l *load) run(ctx context.Context, b *budget) result {
	p := phase{budget: b, array: l.cfg.Array}
	known := l.cfg.Contacts
	switch l.cfg.Scenario {
	case scenarioNew:
		p.pick = func(*rand.Rand) (int64, bool) { return l.ledger.take(1) }
	case scenarioReturning:
		p.pick = func(r *rand.Rand) (int64, bool) { return r.Int64N(known), true }
	case scenarioMixed:
		p.pick = func(r *rand.Rand) (int64, bool) {
			if r.IntN(10) == 0 {
				return l.ledger.take(1)
			}
			return r.Int64N(known), true
		}
	}
	return l.drive(ctx, p)
}

// drain waits until everything acknowledged is visible, and notes how long that took.
func (l *load) drain(ctx context.Context, r *result) error {
	start := time.Now()
	err := l.target.drained(ctx, l.cfg.DrainFor)
	r.Drain = time.Since(start)
	return err
}

// phase is one stretch of load.
type phase struct {
	budget *budget
	array  int
	// pick chooses the next person; false when there are no more numbers. Without it, stories are told.
	pick func(*rand.Rand) (int64, bool)
}

func (l *load) drive(ctx context.Context, p phase) result {
	before := l.count.snapshot()
	start := time.Now()
	times := newTimeline(start)
	var wg sync.WaitGroup
	for i := range l.cfg.Conns {
		w := newWorker(l, i, times)
		wg.Go(func() {
			if p.pick == nil {
				w.tell(ctx, p.budget, p.array)
			} else {
				w.send(ctx, p)
			}
		})
	}
	wg.Wait()
	after := l.count.snapshot()
	return result{
		Elapsed:  time.Since(start),
		Requests: after.Requests - before.Requests,
		Acked:    after.Acked - before.Acked,
		Refused:  after.Refused - before.Refused,
		Unknown:  after.Unknown - before.Unknown,
		Retries:  after.Retries - before.Retries,
		Warnings: after.Warnings - before.Warnings,
		Untold:   after.Untold - before.Untold,
		Latency:  times.total(),
		Times:    times,
		Errors:   l.errors.drain(),
	}
}

func (c *counters) snapshot() result {
	return result{
		Requests: c.requests.Load(), Acked: c.acked.Load(), Refused: c.refused.Load(),
		Unknown: c.unknown.Load(), Retries: c.retries.Load(), Warnings: c.warnings.Load(), Untold: c.untold.Load(),
	}
}

// budget hands out what is left to send of a phase.
type budget struct {
	bounded bool
	left    atomic.Int64
	end     time.Time   // zero: no end
	over    atomic.Bool // set to end the phase at once
}

// newBudget allows so many payloads (to the end of the last story, in chaos) and so much time from now; 0 is no bound.
func newBudget(payloads int64, duration time.Duration) *budget {
	b := &budget{bounded: payloads > 0}
	b.left.Store(payloads)
	if duration > 0 {
		b.end = time.Now().Add(duration)
	}
	return b
}

// take grants up to n payloads; 0 when the phase is over.
func (b *budget) take(ctx context.Context, n int64) int64 {
	if ctx.Err() != nil || b.over.Load() || (!b.end.IsZero() && !time.Now().Before(b.end)) {
		return 0
	}
	if !b.bounded {
		return n
	}
	left := b.left.Add(-n) + n
	return min(max(left, 0), n)
}

// tallyMap counts by name.
type tallyMap struct {
	mu     sync.Mutex
	counts map[string]int64
}

func (m *tallyMap) add(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counts == nil {
		m.counts = map[string]int64{}
	}
	m.counts[name]++
}

// drain returns the counts and starts anew.
func (m *tallyMap) drain() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	counts := m.counts
	m.counts = nil
	return counts
}

// A worker is one connection's sender: it has one request under way at a time.
type worker struct {
	load    *load
	random  *rand.Rand
	minter  minter
	times   *timeline // of the phase
	items   []item
	text    []byte // the payloads of items, one after another
	body    *body
	answer  bytes.Buffer
	node    int          // of the target
	request http.Request // all but the body and the context, for every attempt
	// repeat says that the items were acknowledged before and are sent once more: nothing is owed for them.
	repeat bool
	// disordered says that an item was accepted while one before it was not.
	disordered bool
}

// item is one payload of the request under way.
type item struct {
	sender   int64
	from, to int // in worker.text
	fate     fate
}

type fate uint8

const (
	pending fate = iota
	acked
	refused
)

// userAgent is a browser's, with this tool's name behind it: a server that tells programs from browsers must take the
// traffic for what it stands for.
const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 civload/1"

// newWorker makes a worker that sends to one node, and to the next when that fails.
func newWorker(l *load, node int, times *timeline) *worker {
	header := http.Header{
		"Content-Type": {"text/plain;charset=UTF-8"},
		"Accept":       {"*/*"},
		"User-Agent":   {userAgent},
	}
	if l.cfg.Origin != "" {
		header.Set("Origin", l.cfg.Origin)
	}
	w := &worker{
		load:    l,
		times:   times,
		random:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		minter:  newMinter(),
		body:    newBody(),
		request: http.Request{Method: http.MethodPost, Header: header},
	}
	w.sendTo(node)
	return w
}

// sendTo makes the worker send to a node of the target.
func (w *worker) sendTo(node int) {
	w.node = node
	w.request.URL = w.load.target.url(node, "/ingest")
	w.request.Host = w.request.URL.Host
}

// send delivers people's payloads until the budget is used up.
func (w *worker) send(ctx context.Context, p phase) {
	t := w.load.ledger.traffic
	for {
		n := p.budget.take(ctx, int64(p.array))
		if n == 0 {
			return
		}
		w.clear()
		now := time.Now()
		for range n {
			person, ok := p.pick(w.random)
			if !ok {
				break
			}
			w.append(person, t.plain(person), now)
		}
		if len(w.items) == 0 {
			return
		}
		w.deliver(ctx)
	}
}

func (w *worker) clear() {
	w.items, w.text, w.repeat, w.disordered = w.items[:0], w.text[:0], false, false
}

func (w *worker) append(sender int64, v visit, now time.Time) {
	from := len(w.text)
	w.text = w.load.ledger.traffic.appendPayload(w.text, v, &w.minter, now)
	w.items = append(w.items, item{sender: sender, from: from, to: len(w.text)})
}

// deliver offers the items to the server as the widget would, again and again with the same message ids and growing
// pauses, until each is acknowledged or refused, the time for retries is over or ctx ends.
func (w *worker) deliver(ctx context.Context) {
	l := w.load
	if !w.repeat {
		for _, it := range w.items {
			l.ledger.begin(it.sender)
		}
	}
	var giveUp time.Time
	for try := 0; ; try++ {
		left, wait := w.attempt(ctx)
		if left == 0 {
			return
		}
		now := time.Now()
		if try == 0 {
			giveUp = now.Add(l.cfg.RetryFor)
		}
		// Half of the pause is fixed and half is chance, so that refused senders don't all come back at once.
		back := min(25*time.Millisecond<<min(try, 20), 2*time.Second)
		wait = max(wait, back/2+time.Duration(w.random.Int64N(int64(back/2))))
		if now.Add(wait).After(giveUp) || sleep(ctx, wait) != nil {
			if !w.repeat {
				l.count.unknown.Add(int64(left))
			}
			return
		}
		l.count.retries.Add(int64(left))
		w.sendTo(w.node + 1)
	}
}

// attempt sends the pending items once. It returns how many are still pending and how long the server asked to wait.
func (w *worker) attempt(ctx context.Context) (left int, wait time.Duration) {
	l := w.load
	l.gate.RLock()
	defer l.gate.RUnlock()

	w.fill()
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeout)
	defer cancel()
	req := w.request.WithContext(ctx)
	req.Body, req.ContentLength = w.body, int64(w.body.Len())

	start := time.Now()
	res, err := l.target.transport.RoundTrip(req)
	if err == nil {
		w.answer.Reset()
		_, err = w.answer.ReadFrom(io.LimitReader(res.Body, 1<<20))
		err = errors.Join(err, res.Body.Close())
	}
	if err != nil {
		w.body = newBody() // the transport may still be reading the old one
		l.errors.add(errorKind(err))
		return w.left(), 0
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		w.body = newBody()
		return w.turnedDown(res)
	}
	w.body.wait()
	end := time.Now()
	w.times.record(end, end.Sub(start))
	l.count.requests.Add(1)
	return w.accepted()
}

// fill writes the pending items into the body: the object alone if there was only one from the start, else an array.
func (w *worker) fill() {
	b := w.body.text[:0]
	if len(w.items) == 1 {
		b = append(b, w.text[w.items[0].from:w.items[0].to]...)
	} else {
		sep := byte('[')
		for _, it := range w.items {
			if it.fate == pending {
				b = append(b, sep)
				b = append(b, w.text[it.from:it.to]...)
				sep = ','
			}
		}
		b = append(b, ']')
	}
	w.body.reset(b)
}

func (w *worker) left() int {
	n := 0
	for _, it := range w.items {
		if it.fate == pending {
			n++
		}
	}
	return n
}

// apiError is the error of an answer or of one item of it.
type apiError struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	Field   string `json:"field"`
}

type itemAnswer struct {
	Status   string            `json:"status"`
	Warnings []json.RawMessage `json:"warnings"`
	Error    *apiError         `json:"error"`
}

// turnedDown handles an answer other than 2xx: busy or broken is tried again, anything else is final.
func (w *worker) turnedDown(res *http.Response) (left int, wait time.Duration) {
	l := w.load
	var answer itemAnswer
	code := "no error object"
	if err := json.Unmarshal(w.answer.Bytes(), &answer); err == nil && answer.Error != nil {
		code = answer.Error.Code
	}
	kind := fmt.Sprintf("%d %s", res.StatusCode, code)
	if res.StatusCode == http.StatusServiceUnavailable && !tellsWhen(res.Header) {
		l.count.untold.Add(1)
		kind += ", no Retry-After"
	}
	l.errors.add(kind)
	if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusRequestTimeout || res.StatusCode >= 500 {
		return w.left(), retryAfter(res.Header, time.Now())
	}
	for i := range w.items {
		if w.items[i].fate == pending {
			w.settle(i, refused)
		}
	}
	return 0, 0
}

var okAnswer = []byte(`{"status":"ok"}`)

// accepted handles an answer of 2xx.
func (w *worker) accepted() (left int, wait time.Duration) {
	body := bytes.TrimSpace(w.answer.Bytes())
	if len(w.items) == 1 {
		if bytes.Equal(body, okAnswer) {
			w.settle(0, acked)
			return 0, 0
		}
		var a itemAnswer
		if err := json.Unmarshal(body, &a); err != nil {
			a.Status = ""
		}
		return w.judge([]itemAnswer{a})
	}
	var answer struct {
		Results []itemAnswer `json:"results"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Results) != w.left() {
		w.load.errors.add("200 with an unexpected answer")
		return w.left(), 0
	}
	return w.judge(answer.Results)
}

// judge settles the pending items by their results, in order.
func (w *worker) judge(results []itemAnswer) (left int, wait time.Duration) {
	gap := false // an item before this one is not stored
	for i := range w.items {
		if w.items[i].fate == pending {
			w.settleBy(i, results[0])
			results = results[1:]
		}
		switch w.items[i].fate {
		case acked:
			w.disordered = w.disordered || gap
		case pending:
			left++
			gap = true
		case refused:
			gap = true
		}
	}
	return left, 0
}

// settleBy settles item i by its result, if that decides.
func (w *worker) settleBy(i int, a itemAnswer) {
	l := w.load
	switch {
	case a.Error == nil && a.Status == "ok":
		l.count.warnings.Add(int64(len(a.Warnings)))
		w.settle(i, acked)
	case a.Error == nil:
		l.errors.add("200 with an unexpected answer")
	default:
		l.errors.add("200 with item " + a.Error.Code)
		switch a.Error.Code {
		case "rate_limited", "unavailable", "internal":
		default:
			w.settle(i, refused)
		}
	}
}

func (w *worker) settle(i int, f fate) {
	it := &w.items[i]
	it.fate = f
	if w.repeat {
		return
	}
	switch f {
	case acked:
		w.load.ledger.ack(it.sender)
		w.load.count.acked.Add(1)
	case refused:
		w.load.ledger.refuse(it.sender)
		w.load.count.refused.Add(1)
	}
}

// A body is a request body that can be used again. The transport reads it in a goroutine of its own and closes it when
// it is done, which may be after the answer came; only then may the bytes be written anew.
type body struct {
	bytes.Reader
	text   []byte
	closed chan struct{}
}

func newBody() *body { return &body{closed: make(chan struct{}, 1)} }

func (b *body) reset(text []byte) {
	b.text = text
	b.Reader.Reset(text)
}

// Close tells the owner that the bytes are free again. It never fails.
func (b *body) Close() error {
	select {
	case b.closed <- struct{}{}:
	default: // closed twice
	}
	return nil
}

// wait blocks until the transport has closed the body. It is for exchanges that succeeded: these are closed once.
func (b *body) wait() { <-b.closed }
