package cache_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"civgate/gateway"
	"civgate/gateway/cache"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	m := cache.New(1000)
	a, b := key(1, "a"), key(1, "b")
	id := gateway.Ref{WorkspaceID: 1, Kind: gateway.RefCustomID, Value: "a"}
	m.Remember(ctx, []gateway.Ref{a, b, id}, []gateway.Identity{{ContactID: 7, Fingerprint: 1}, {ContactID: 7, Fingerprint: 2}, {ContactID: 8, Fingerprint: 3}})

	// A contact's fingerprint is one, under whichever browser it is asked for.
	want := []gateway.Identity{{ContactID: 7, Fingerprint: 2}, {ContactID: 7, Fingerprint: 2}, {ContactID: 8, Fingerprint: 3}, {}, {}}
	if d := cmp.Diff(want, look(m, a, b, id, key(2, "a"), key(1, ""))); d != "" {
		t.Error(d)
	}
	// A browser changes hands.
	m.Remember(ctx, []gateway.Ref{b}, []gateway.Identity{{ContactID: 8, Fingerprint: 3}})
	if d := cmp.Diff([]gateway.Identity{{ContactID: 7, Fingerprint: 2}, {ContactID: 8, Fingerprint: 3}}, look(m, a, b)); d != "" {
		t.Error(d)
	}
	// Forgetting is by contact, and ids of another workspace are others.
	m.Forget(ctx, 2, []gateway.ContactID{8})
	m.Forget(ctx, 1, []gateway.ContactID{7})
	if d := cmp.Diff([]gateway.Identity{{}, {ContactID: 8, Fingerprint: 3}, {ContactID: 8, Fingerprint: 3}}, look(m, a, b, id)); d != "" {
		t.Error(d)
	}
	// What was in the answer's slice does not shine through.
	out := []gateway.Identity{{ContactID: 99}}
	m.Identities(ctx, []gateway.Ref{a}, out)
	if out[0] != (gateway.Identity{}) {
		t.Errorf("a miss left %+v", out[0])
	}
}

// TestMemoryIsBounded: strangers can bring keys without end.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	const size, all = 1000, 50_000
	m := cache.New(size)
	var run sync.WaitGroup
	for part := range 4 {
		run.Go(func() {
			for i := range all / 4 {
				m.Remember(context.Background(), []gateway.Ref{key(1, fmt.Sprint(part, "-", i))}, []gateway.Identity{{ContactID: gateway.ContactID(part*all + i + 1), Fingerprint: 1}})
			}
		})
	}
	run.Wait()
	for range 100 { // eviction is behind by a moment
		known := 0
		for part := range 4 {
			for i := range all / 4 {
				if look(m, key(1, fmt.Sprint(part, "-", i)))[0] != (gateway.Identity{}) {
					known++
				}
			}
		}
		if known <= 2*size {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("more than %d of %d are remembered", 2*size, all)
}
