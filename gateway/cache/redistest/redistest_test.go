package redistest_test

import (
	"context"
	"strings"
	"testing"

	"civgate/gateway/cache/redistest"
)

func TestServer(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	s := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always", "--requirepass", "secret")
	c := s.Client()
	set := func(key string) {
		t.Helper()
		if err := c.Set(ctx, key, "1", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	has := func(want string) {
		t.Helper()
		if got := strings.Join(c.Keys(ctx, "*").Val(), " "); got != want {
			t.Errorf("keys %q, want %q", got, want)
		}
	}
	set("a")
	s.Stop()
	if err := c.Ping(ctx).Err(); err == nil {
		t.Error("a stopped server answers")
	}
	s.Start()
	has("a")
	s.Flush()
	set("b")
	s.Kill()
	s.Kill()
	s.Start()
	has("b")
	s.Pause()
	s.Resume()
	has("b")
	if !strings.Contains(s.URL(), ":secret@") || !strings.Contains(s.Log(), "Ready to accept connections") {
		t.Errorf("%s: %s", s.URL(), s.Log())
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	c := redistest.NewCluster(t, "--requirepass", "secret")
	client := c.Client()
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if err := client.Set(ctx, key, key, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range c.Nodes[:3] {
		if err := n.Client().Wait(ctx, 1, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	c.Nodes[1].Kill()
	c.Recover()
	client = c.Client() // the other one finds out in its own time
	for _, key := range []string{"a", "b", "c", "d", "e", "f"} {
		if got, err := client.Get(ctx, key).Result(); got != key {
			t.Errorf("%s: %q, %v", key, got, err)
		}
	}
	c.Nodes[1].Start()
	c.Recover()
}
