package inbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
)

// tenure is one time of a shard with this node.
type tenure struct {
	sh     *Shard
	cancel context.CancelFunc // ends run
	until  time.Time          // when the lease ends if it isn't renewed
	over   bool               // cancel was called
	done   chan struct{}      // closed when run returned
}

// landlord is what one call of Own knows; it is used by its goroutine alone.
type landlord struct {
	*Stream
	run   func(ctx context.Context, sh *Shard) error
	ctx   context.Context // of the runs
	held  map[int]*tenure // by shard
	ended chan struct{}   // holds one signal: a run returned
	// When the store last told a position, and whether the node is in the set of
	// nodes.
	storeSeen time.Time
	joined    bool
	wg        sync.WaitGroup
}

// Own calls run for each shard that is this node's, each in a goroutine of its
// own, until ctx ends or the inbox is closed; it then waits for all of them,
// gives the shards back so that other nodes take them at once, and returns
// ctx.Err(), nil after Close. The ctx of a run ends when the shard is lost or
// to be given to another node. One call of Own at a time.
//
// The shards are split evenly between the nodes that live, counting those alone
// whose store has answered within the last Lease. A node that vanishes is noticed
// after that time. That two nodes believe to own a shard at once is rare but
// can't be excluded, as one may have been held up for long: whoever applies a
// batch must check the position in the same transaction.
//
// A run that returns by itself gives its shard back; it is free to come again.
func (s *Stream) Own(ctx context.Context, run func(ctx context.Context, sh *Shard) error) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return errClosed()
	}
	s.owners.Add(1)
	s.mu.Unlock()
	defer s.owners.Done()

	runCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &landlord{
		Stream: s, run: run, ctx: runCtx,
		held:  make(map[int]*tenure),
		ended: make(chan struct{}, 1),
	}
	tick := time.NewTimer(l.round(ctx))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			tick.Reset(l.round(ctx))
		case <-l.ended:
			// A shard whose run ends at once is not taken again at once.
			l.reap(ctx)
		case <-s.closing:
			l.leave()
			return nil
		case <-ctx.Done():
			l.leave()
			return ctx.Err()
		}
	}
}

// round renews what is held and takes or gives up what the share asks for. It
// returns when to come again: soon while others have yet to give up what is to
// come to this node.
func (l *landlord) round(ctx context.Context) time.Duration {
	l.reap(ctx)
	later := l.opts.Lease / 5
	if err := l.askStore(ctx); err != nil && ctx.Err() == nil {
		if time.Since(l.storeSeen) < l.opts.Lease {
			l.renew(ctx)
			return later
		}
		if l.joined || len(l.held) > 0 {
			l.opts.Log.Warn("the store can't be reached; this node leaves the shards to others", zap.Error(err))
			l.withdraw(ctx)
			l.endAll()
		}
		return later
	}
	l.renew(ctx)
	from, share, err := l.share(ctx)
	if err != nil {
		return later // the watcher tells
	}
	l.joined = true
	l.giveUp(ctx, share)
	l.fill(ctx, from, share)
	if l.live() < share {
		return later / 4
	}
	return later
}

// askStore asks for some position: who can't reach the store can't apply.
func (l *landlord) askStore(ctx context.Context) error {
	err := l.call(ctx, func(ctx context.Context) error {
		_, err := l.opts.Position(ctx, l.shards[0].name)
		return err
	})
	if err == nil {
		l.storeSeen = time.Now()
	}
	return err
}

// share tells the node's place and how many shards are its own.
func (l *landlord) share(ctx context.Context) (from, share int, err error) {
	var nodes []string
	err = l.call(ctx, func(ctx context.Context) (err error) {
		nodes, err = runScript(ctx, l.client, nodesScript, []string{l.key("nodes")}, l.node, l.opts.Lease.Milliseconds()).StringSlice()
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("say that the node lives: %w", err)
	}
	place := slices.Index(nodes, l.node)
	if place < 0 {
		return 0, 0, errors.New("the node is not among those that live")
	}
	n := len(nodes)
	share = len(l.shards) / n
	from = place * share
	if rest := len(l.shards) % n; place < rest {
		share++
		from += place
	} else {
		from += rest
	}
	return from, share, nil
}

// live is how many shards are held and not being given up.
func (l *landlord) live() int {
	n := 0
	for _, t := range l.held {
		if !t.over {
			n++
		}
	}
	return n
}

// renew renews the leases and ends the runs of those that are lost.
func (l *landlord) renew(ctx context.Context) {
	var live []*tenure
	for _, t := range l.held {
		if !t.over {
			live = append(live, t)
		}
	}
	if len(live) == 0 {
		return
	}
	start := time.Now()
	cmds := make([]*redis.Cmd, len(live))
	_ = l.call(ctx, func(ctx context.Context) error {
		_, err := l.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, t := range live {
				cmds[i] = renewScript.Eval(ctx, p, []string{t.sh.owner}, l.node, l.opts.Lease.Milliseconds())
			}
			return nil
		})
		return err // each command has it
	})
	for i, t := range live {
		kept, err := cmds[i].Int()
		switch {
		case err == nil && kept == 1:
			t.until = start.Add(l.opts.Lease)
		case err == nil, time.Now().After(t.until):
			l.opts.Log.Warn("lost a shard", zap.String("shard", t.sh.name), zap.Error(err))
			t.end()
		}
	}
}

// end ends a run, which may take its time for the batch under way.
func (t *tenure) end() {
	t.over = true
	t.cancel()
}

func (l *landlord) endAll() {
	for _, t := range l.held {
		t.end()
	}
}

// giveUp ends runs until no more than share are left.
func (l *landlord) giveUp(ctx context.Context, share int) {
	for i := len(l.shards) - 1; i >= 0 && l.live() > share; i-- {
		if t := l.held[i]; t != nil && !t.over {
			l.opts.Log.Info("giving up a shard to another node", zap.String("shard", t.sh.name))
			t.end()
		}
	}
	l.reap(ctx)
}

// fill takes shards that nobody has, from the node's place on, until there are
// as many as its share.
func (l *landlord) fill(ctx context.Context, from, share int) {
	for i := range l.shards {
		if l.live() >= share || ctx.Err() != nil {
			return
		}
		sh := l.shards[(from+i)%len(l.shards)]
		if l.held[sh.index] != nil {
			continue
		}
		if err := l.take(ctx, sh); err != nil {
			if ctx.Err() == nil {
				l.opts.Log.Warn("a shard can't be taken", zap.String("shard", sh.name), zap.Error(err))
			}
			return
		}
	}
}

// take takes a shard if nobody has it, and starts its run.
func (l *landlord) take(ctx context.Context, sh *Shard) error {
	start := time.Now()
	var taken int
	err := l.call(ctx, func(ctx context.Context) (err error) {
		taken, err = runScript(ctx, l.client, takeScript, []string{sh.owner}, l.node, l.opts.Lease.Milliseconds()).Int()
		return err
	})
	if err != nil || taken == 0 {
		return err
	}
	position, err := sh.prepare(ctx)
	if err != nil {
		l.release(ctx, sh)
		return err
	}
	sh.begin(position)
	runCtx, cancel := context.WithCancel(l.ctx)
	t := &tenure{sh: sh, cancel: cancel, until: start.Add(l.opts.Lease), done: make(chan struct{})}
	l.held[sh.index] = t
	l.wg.Go(func() {
		defer signal(l.ended)
		defer close(t.done)
		defer cancel()
		if err := l.run(runCtx, sh); err != nil && runCtx.Err() == nil {
			l.opts.Log.Error("the applier of a shard ended", zap.String("shard", sh.name), zap.Error(err))
		}
	})
	l.opts.Log.Info("took a shard", zap.String("shard", sh.name), zap.Int64("position", position))
	return nil
}

// reap gives back the shards whose runs have returned.
func (l *landlord) reap(ctx context.Context) {
	for i, t := range l.held {
		select {
		case <-t.done:
			delete(l.held, i)
			t.sh.finish()
			l.release(ctx, t.sh)
		default:
		}
	}
}

// release gives a lease back; where that fails it ends by itself.
func (l *landlord) release(ctx context.Context, sh *Shard) {
	_ = l.call(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return runScript(ctx, l.client, leaveScript, []string{sh.owner}, l.node).Err()
	})
}

// withdraw takes the node out of the set of nodes; else it ends by itself.
func (l *landlord) withdraw(ctx context.Context) {
	l.joined = false
	_ = l.call(context.WithoutCancel(ctx), func(ctx context.Context) error {
		return l.client.ZRem(ctx, l.key("nodes"), l.node).Err()
	})
}

// leave ends all runs, waits for them, and gives everything back.
func (l *landlord) leave() {
	l.endAll()
	l.wg.Wait()
	ctx := context.Background()
	if l.call(ctx, l.trim) != nil {
		signal(l.trims)
	}
	l.withdraw(ctx)
	l.reap(ctx)
}

// begin makes the shard start anew behind position.
func (sh *Shard) begin(position int64) {
	s := sh.stream
	sh.reading <- struct{}{}
	defer func() { <-sh.reading }()
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.pos, sh.applied, sh.trimmed = position, position, 0
	sh.ahead, sh.away = nil, false
	sh.owned = true
	signal(s.trims) // what the owner before left behind
}

// finish forgets what is at hand of the shard.
func (sh *Shard) finish() {
	s := sh.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.owned = false
	sh.dropLocal(len(sh.local))
}
