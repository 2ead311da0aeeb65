package gateway_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/store"
)

// unreadable is an inbox that can't be read until it is mended, and then has
// nothing new.
type unreadable struct {
	gateway.Inbox
	pending atomic.Int64
	mended  atomic.Bool
}

func (u *unreadable) Pending() int64 { return u.pending.Load() }

func (u *unreadable) Next(ctx context.Context, _ int) ([]*gateway.Entry, error) {
	if !u.mended.Load() {
		return nil, errors.New("a damaged file")
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestLagOfUnreadable: while the inbox can't be read the lag grows, from the first
// failure on; it ends when nothing waits any more, and when the shard is left.
func TestLagOfUnreadable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		in := &unreadable{}
		in.pending.Store(3)
		g := gateway.New(gateway.Config{Intake: in, Log: zap.NewNop()})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- g.RunShard(ctx, "s1", in) }()
		lag := func(want time.Duration) {
			t.Helper()
			synctest.Wait()
			if got := g.Lag(); got != want {
				t.Errorf("lag %s, want %s", got, want)
			}
		}
		lag(0)
		time.Sleep(90 * time.Second)
		lag(90 * time.Second)
		time.Sleep(time.Second)
		lag(91 * time.Second)

		in.mended.Store(true)
		time.Sleep(2 * time.Second)
		lag(93 * time.Second) // what waits has not been handed out yet
		in.pending.Store(0)
		lag(0)
		in.pending.Store(1)
		lag(0) // what came since does not wait since then

		in.mended.Store(false)
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		lag(0)

		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- g.RunShard(ctx, "s1", in) }()
		time.Sleep(5 * time.Second)
		lag(5 * time.Second)
		cancel() // another node has it
		<-done
		lag(0)
	})
}

// TestHealthOfWrites: while batches can't be applied the gateway is ready and says
// that writes wait, until one was applied or the shard is left.
func TestHealthOfWrites(t *testing.T) {
	t.Parallel()
	r := newRigWith(t, 10, gateway.DefaultSettings(), zap.NewNop())
	away, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "away.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := away.Close(); err != nil {
		t.Fatal(err)
	}
	st := &switched{Store: r.store, away: away}
	st.off.Store(true)
	in := &listInbox{}
	g := gateway.New(gateway.Config{Store: st, Intake: roomy{}, Inbox: in, Cache: cache.New(10), Log: zap.NewNop()})
	until := func(writes bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
			h := g.Check(t.Context())
			if !h.Ready() || h.Store != nil {
				t.Fatalf("%+v", h)
			}
			if (h.Writes == nil) == writes {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("writes: %v", h.Writes)
			}
		}
	}
	run := func() (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- g.Run(ctx) }()
		return func() { cancel(); <-done }
	}
	in.entries = []*gateway.Entry{r.entry(page("a", "k1k1k1", ""))}
	until(true)
	stop := run()
	until(false)
	st.off.Store(false)
	until(true)
	stop()

	st.off.Store(true)
	in.entries = []*gateway.Entry{r.entry(page("b", "k1k1k1", ""))}
	stop = run()
	until(false)
	stop() // another node has it
	until(true)
}

// roomy is an intake that takes all.
type roomy struct{ gateway.Intake }

func (roomy) Check(context.Context) error { return nil }

// switched is a store whose writes can be switched off: they go to one that is
// closed.
type switched struct {
	gateway.Store
	away gateway.Store
	off  atomic.Bool
}

func (s *switched) Update(ctx context.Context, fn func(tx gateway.Tx) error) error {
	if s.off.Load() {
		return s.away.Update(ctx, fn)
	}
	return s.Store.Update(ctx, fn)
}
