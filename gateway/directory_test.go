package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

// flakyStore is a store whose look-ups of keys are counted and can be cut off.
type flakyStore struct {
	*store.Store
	lookups int
	down    bool
}

func (f *flakyStore) WorkspaceByKey(ctx context.Context, kind gateway.KeyKind, secret string) (*gateway.Workspace, error) {
	f.lookups++
	if f.down {
		return nil, &gateway.Error{Code: gateway.CodeUnavailable, Err: errors.New("down")}
	}
	return f.Store.WorkspaceByKey(ctx, kind, secret)
}

// TestWorkspaceOfAPIKey: keys are looked up at most every half second, a change
// counts after that, and a store that is down stops nobody who is known.
func TestWorkspaceOfAPIKey(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := t.TempDir()
	st, err := store.Open(ctx, filepath.Join(dir, "civgate.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	in, err := inbox.Open(ctx, filepath.Join(dir, "inbox"), 0, inbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	flaky := &flakyStore{Store: st}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	g := gateway.New(gateway.Config{Store: flaky, Inbox: in, Cache: cache.New(100), Log: zap.NewNop(), Now: func() time.Time { return now }})
	w, err := st.CreateWorkspace(ctx, gateway.Workspace{Name: "w", Settings: gateway.DefaultSettings()}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: "A1B2C3"})
	if err != nil {
		t.Fatal(err)
	}
	send := func(key, origin string) gateway.Code {
		_, _, err := g.Accept(ctx, gateway.Request{Body: fmt.Appendf(nil, `{"apiKey":%q}`, key), Origin: origin})
		return gateway.CodeOf(err)
	}
	expect := func(step, key, origin string, want gateway.Code, lookups int) {
		t.Helper()
		if got := send(key, origin); got != want || flaky.lookups != lookups {
			t.Errorf("%s: %q after %d look-ups, want %q after %d", step, got, flaky.lookups, want, lookups)
		}
	}
	expect("first", "A1B2C3", "", "", 1)
	expect("again", "A1B2C3", "", "", 1)
	expect("unknown", "ZZZZZZ", "", gateway.CodeUnknownAPIKey, 2)
	expect("unknown again", "ZZZZZZ", "", gateway.CodeUnknownAPIKey, 2)

	s := gateway.DefaultSettings()
	s.Origins = []string{"acme.test"}
	if err := st.UpdateSettings(ctx, w, s); err != nil {
		t.Fatal(err)
	}
	expect("a change is not seen at once", "A1B2C3", "https://evil.test", "", 2)
	now = now.Add(time.Second)
	expect("a change counts after a second", "A1B2C3", "https://evil.test", gateway.CodeOriginNotAllowed, 3)

	if err := st.AddAPIKey(ctx, w, gateway.APIKey{Kind: gateway.KeyWidget, Secret: "ZZZZZZ"}); err != nil {
		t.Fatal(err)
	}
	expect("a new key counts after a second", "ZZZZZZ", "", "", 4)

	flaky.down = true
	now = now.Add(time.Hour)
	expect("a known key while the store is down", "A1B2C3", "https://acme.test", "", 5)
	expect("an unknown key while the store is down", "YYYYYY", "", gateway.CodeUnavailable, 6)
}
