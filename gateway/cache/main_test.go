package cache_test

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"civgate/gateway"
	"civgate/gateway/cache"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// A client that could not connect tries once a second, and sees only then
		// that it was closed.
		goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("it never comes to this: %s", what)
		}
	}
}

// open returns a cache that hears the others already.
func open(t testing.TB, o cache.Options) *cache.Redis {
	t.Helper()
	r := openAnyway(t, o)
	eventually(t, "subscribed", func() bool { return r.Stats().Subscribed })
	return r
}

// openAnyway gives Redis more time than real gateways do: tests share two
// processors with others, and the race detector is slow.
func openAnyway(t testing.TB, o cache.Options) *cache.Redis {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	o.DialTimeout = o.Timeout
	r, err := cache.NewRedis(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return r
}

func key(w gateway.WorkspaceID, v string) gateway.Ref {
	return gateway.Ref{WorkspaceID: w, Kind: gateway.RefKey, Value: v}
}

func custom(w gateway.WorkspaceID, v string) gateway.Ref {
	return gateway.Ref{WorkspaceID: w, Kind: gateway.RefCustomID, Value: v}
}

func look(c gateway.Cache, refs ...gateway.Ref) []gateway.Identity {
	out := make([]gateway.Identity, len(refs))
	for i := range out {
		out[i] = gateway.Identity{ContactID: 99, Fingerprint: 99} // must not shine through
	}
	c.Identities(context.Background(), refs, out)
	return out
}

func remember(c gateway.Cache, ref gateway.Ref, id gateway.ContactID, fp uint64) {
	c.Remember(context.Background(), []gateway.Ref{ref}, []gateway.Identity{{ContactID: id, Fingerprint: fp}})
}

func knows(c gateway.Cache, ref gateway.Ref, id gateway.ContactID, fp uint64) bool {
	return look(c, ref)[0] == gateway.Identity{ContactID: id, Fingerprint: fp}
}
