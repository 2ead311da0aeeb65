//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/cache/redistest"
	"civgate/gateway/store"
	"civgate/gateway/store/pgtest"
)

// TestStreamEverywhere: one recorded stream ends in the same rows on every
// database, with any number of nodes, whatever Redis does.
func TestStreamEverywhere(t *testing.T) {
	t.Parallel()
	payloads := 20_000
	if raceDetector || testing.Short() {
		payloads = 4000
	}
	stream := recordStream(7, payloads)
	one := startNode(t, "local", filepath.Join(t.TempDir(), "civgate.db"), cache.New(1000))
	makeStreamWorkspace(t, one.store)
	play(t, stream, []*streamNode{one}, nil)
	want := dumpStore(t, one.store)
	for _, part := range []struct {
		prefix string
		least  int
	}{{"contacts ", 400}, {"merges ", 50}, {"page_views ", payloads / 4}, {"memberships ", 500}, {"companies ", 100}, {"events ", payloads / 8}} {
		n := 0
		for _, row := range want {
			if strings.HasPrefix(row, part.prefix) {
				n++
			}
		}
		if n < part.least {
			t.Errorf("only %d rows of %s: the stream does too little", n, part.prefix)
		}
	}

	postgres := pgtest.Start(t)
	for _, tt := range []struct {
		name  string
		nodes int
		redis bool
		inbox bool // in Redis, too
		again bool // what is refused for the moment is sent again
		// worker says that there is one more node, which takes nothing in. It is a
		// process of its own, and killed half-way.
		worker bool
		// during is called by each node after each of its requests.
		during func(t *testing.T, r *redistest.Server) func(i int)
	}{
		{name: "one node", nodes: 1},
		{name: "three nodes", nodes: 3},
		{name: "three nodes with Redis", nodes: 3, redis: true},
		{name: "three nodes, Redis flushed at random", nodes: 3, redis: true, during: func(_ *testing.T, r *redistest.Server) func(int) {
			return func(i int) {
				if i%40 == 7 {
					r.Flush()
				}
			}
		}},
		{name: "three nodes, Redis stopped half-way", nodes: 3, redis: true, during: func(_ *testing.T, r *redistest.Server) func(int) {
			var once sync.Once
			return func(i int) {
				if i > len(stream)/2 {
					once.Do(r.Stop)
				}
			}
		}},
		{name: "three nodes, Redis away for a while", nodes: 3, redis: true, during: func(_ *testing.T, r *redistest.Server) func(int) {
			var stop, start sync.Once
			return func(i int) {
				if i > len(stream)/3 {
					stop.Do(r.Kill)
				}
				if i > len(stream)/2 {
					start.Do(r.Start)
				}
			}
		}},
		{name: "one node, inbox in Redis", nodes: 1, redis: true, inbox: true},
		{name: "three nodes, inbox in Redis, a worker killed half-way", nodes: 3, redis: true, inbox: true, worker: true},
		// Whoever takes a shard meets the node that does not know yet that it lost it.
		{name: "three nodes, inbox in Redis, leases lost at random", nodes: 3, redis: true, inbox: true, during: func(t *testing.T, r *redistest.Server) func(int) {
			c := r.Client()
			return func(i int) {
				if i%300 != 7 {
					return
				}
				owners, err := c.Keys(t.Context(), "*:owner").Result()
				if err == nil && len(owners) > 0 {
					err = c.Del(t.Context(), owners...).Err()
				}
				if err != nil {
					t.Errorf("take the leases away: %v", err)
				}
			}
		}},
		{name: "three nodes, inbox in Redis, Redis restarted half-way", nodes: 3, redis: true, inbox: true, again: true, during: func(_ *testing.T, r *redistest.Server) func(int) {
			var once sync.Once
			return func(i int) {
				if i > len(stream)/2 {
					once.Do(func() {
						r.Kill()
						r.Start()
					})
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			database := postgres.NewDatabase(t)
			var server *redistest.Server
			switch {
			case tt.inbox:
				server = redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
			case tt.redis:
				server = redistest.New(t)
			}
			var nodes []*streamNode
			for i := range tt.nodes {
				var c gateway.Cache = cache.New(1000)
				if tt.redis {
					c = sharedCache(t, server.URL())
				}
				if tt.inbox {
					nodes = append(nodes, startNodeOnStreams(t, fmt.Sprint("node", i), database, server.URL(), c))
				} else {
					nodes = append(nodes, startNode(t, fmt.Sprint("node", i), database, c))
				}
				nodes[i].again = tt.again
			}
			makeStreamWorkspace(t, nodes[0].store)
			var during func(int)
			if tt.during != nil {
				during = tt.during(t, server)
			}
			if tt.worker {
				kill := startWorker(t, database, server.URL())
				during = func(i int) {
					if i > len(stream)/2 {
						kill()
					}
				}
			}
			play(t, stream, nodes, during)
			if d := diffRows(want, dumpStore(t, nodes[0].store)); d != "" {
				t.Errorf("differs from SQLite (+):\n%s", d)
			}
		})
	}
	t.Cleanup(func() {
		if log := postgres.Log(); strings.Contains(log, "deadlock") {
			t.Errorf("a deadlock in the server's log:\n%s", log)
		}
	})
}

// startWorker starts civgate as a process beside the nodes of an inbox in Redis
// and waits until it applies some of the shards. kill ends it as kill -9 does, once;
// after that it does nothing.
func startWorker(t *testing.T, database, redis string) (kill func()) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log output
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), asProgram+"=1", "CIVGATE_ADDR=127.0.0.1:0", "CIVGATE_DATA="+t.TempDir(),
		"CIVGATE_DATABASE_URL="+database, "CIVGATE_REDIS_URL="+redis, "CIVGATE_INBOX=redis")
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Errorf("kill the worker: %v\n%s", err, log.String())
		}
		_ = cmd.Wait() // it tells of the kill
	})
	t.Cleanup(kill)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "took a shard"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the worker has no shard:\n%s", log.String())
		}
	}
	return kill
}

// sharedCache connects to Redis for one node; it ends with the test.
func sharedCache(t *testing.T, url string) *cache.Redis {
	t.Helper()
	c, err := cache.NewRedis(cache.Options{URL: url, Local: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// TestClusterMasterDies plays the stream with identities in a Redis Cluster of
// six, of which one master is killed half-way.
func TestClusterMasterDies(t *testing.T) {
	t.Parallel()
	stream := recordStream(8, 4000)
	one := startNode(t, "local", filepath.Join(t.TempDir(), "civgate.db"), cache.New(1000))
	makeStreamWorkspace(t, one.store)
	play(t, stream, []*streamNode{one}, nil)

	cluster := redistest.NewCluster(t)
	database := pgtest.Start(t).NewDatabase(t)
	var nodes []*streamNode
	var caches []*cache.Redis
	for i := range 3 {
		caches = append(caches, sharedCache(t, cluster.URL()))
		nodes = append(nodes, startNode(t, fmt.Sprint("node", i), database, caches[i]))
	}
	makeStreamWorkspace(t, nodes[0].store)
	var once sync.Once
	play(t, stream, nodes, func(i int) {
		if i > len(stream)/2 {
			once.Do(cluster.Nodes[0].Kill)
		}
	})
	if d := diffRows(dumpStore(t, one.store), dumpStore(t, nodes[0].store)); d != "" {
		t.Errorf("differs from SQLite (+):\n%s", d)
	}
	hits := uint64(0)
	for _, c := range caches {
		hits += c.Stats().RedisHits + c.Stats().LocalHits
	}
	if hits == 0 {
		t.Error("the cache was of no use: it proves nothing")
	}
}

// TestRushOfACompany: 300 people of one new company at once over three nodes.
func TestRushOfACompany(t *testing.T) {
	t.Parallel()
	const people = 300
	postgres, redis := pgtest.Start(t), redistest.New(t)
	database := postgres.NewDatabase(t)
	var nodes []*streamNode
	for i := range 3 {
		nodes = append(nodes, startNode(t, fmt.Sprint("node", i), database, sharedCache(t, redis.URL())))
		nodes[i].now.Store(time.Now().UnixMicro())
	}
	makeStreamWorkspace(t, nodes[0].store)
	var run sync.WaitGroup
	for i := range people {
		run.Go(func() {
			body := fmt.Appendf(nil, `{"apiKey":%q,"user_id":"u%d","email":"u%d@acme.test","seat":%d,"company":{"company_id":"acme","name":"Acme","size":%d},"$":{"id":"m%d","key":"browser%05d","type":"page"}}`,
				streamKey, i, i, i, people, i, i)
			if _, _, err := nodes[i%3].gateway.Accept(context.Background(), gateway.Request{Body: body, IP: netip.MustParseAddr("192.0.2.1")}); err != nil {
				t.Error(err)
			}
		})
	}
	run.Wait()
	play(t, nil, nodes, nil)
	all, err := nodes[0].store.Workspaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	companies, err := nodes[1].store.Companies(t.Context(), all[0].ID, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	if len(companies) != 1 || companies[0].EmployeesCount != people || len(companies[0].Employees) != people {
		t.Errorf("%d companies, the first: %+v", len(companies), companies)
	}
	if n, err := nodes[2].store.CountContacts(t.Context(), all[0].ID); err != nil || n != people {
		t.Errorf("%d contacts, %v", n, err)
	}
	quarantined, err := nodes[0].store.Quarantine(t.Context(), all[0].ID, 10)
	if err != nil || len(quarantined) != 0 {
		t.Errorf("set aside: %v, %v", quarantined, err)
	}
	if log := postgres.Log(); strings.Contains(log, "ERROR") || strings.Contains(log, "deadlock") {
		t.Errorf("the server's log:\n%s", log)
	}
}

// TestOldestOverNodes: an e-mail finds the oldest of the contacts that have it,
// also where the node that made it holds higher ids than others.
func TestOldestOverNodes(t *testing.T) {
	t.Parallel()
	database := pgtest.Start(t).NewDatabase(t)
	start := time.Now().UTC().Truncate(time.Second)
	var nodes []*streamNode
	for i := range 2 {
		nodes = append(nodes, startNode(t, fmt.Sprint("node", i), database, cache.New(1000)))
	}
	makeStreamWorkspace(t, nodes[0].store)
	for i, step := range []struct {
		node int
		who  string
	}{
		{1, `"user_id":"somebody"`}, // the node has ids now
		{0, `"user_id":"old","email":"shared@acme.test"`},
		{1, `"user_id":"young","email":"shared@acme.test"`},
		{0, `"email":"shared@acme.test"`},
	} {
		body := fmt.Appendf(nil, `{"apiKey":%q,%s,"$":{"id":%q,"key":"browser%05d","type":"page"}}`, streamKey, step.who, streamMessage(i), i)
		play(t, []streamRequest{{at: start.Add(time.Duration(i) * time.Second), body: body}}, nodes[step.node:step.node+1], nil)
	}
	all, err := nodes[0].store.Workspaces(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	contact := func(key string) *gateway.ContactView {
		c, err := nodes[0].store.ContactByKey(t.Context(), all[0].ID, key)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	old, young := contact("browser00001"), contact("browser00002")
	if old.ID < young.ID {
		t.Errorf("the ids %d and %d prove nothing", old.ID, young.ID)
	}
	if got := contact("browser00003"); got.CustomID != "old" {
		t.Errorf("the e-mail found %q", got.CustomID)
	}
}

// TestNodesStartTogether: five nodes on an empty database make one workspace,
// and one owner, and a stranger's payload finds its way through any of them.
func TestNodesStartTogether(t *testing.T) {
	t.Parallel()
	database, redis := pgtest.Start(t).NewDatabase(t), redistest.New(t)
	var nodes [5]*process
	var run sync.WaitGroup
	for i := range nodes {
		run.Go(func() {
			nodes[i] = launch(t, t.TempDir(), "CIVGATE_DATABASE_URL="+database, "CIVGATE_REDIS_URL="+redis.URL(),
				"CIVGATE_ADMIN_EMAIL=owner@acme.test", "CIVGATE_ADMIN_PASSWORD=0123456789", "CIVGATE_METRICS_TOKEN=0123456789012345678901")
		})
	}
	run.Wait()
	if t.Failed() {
		return
	}
	for i, p := range nodes {
		if status, _, answer := p.post(person(i)); status != 200 {
			t.Errorf("node %d: %d %s", i, status, answer)
		}
		p.settle()
	}
	st, err := store.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	all, err := st.Workspaces(t.Context())
	if err != nil || len(all) != 1 {
		t.Fatalf("workspaces %+v, %v", all, err)
	}
	agents, err := st.Agents(t.Context(), all[0].ID)
	if err != nil || len(agents) != 1 {
		t.Errorf("agents %+v, %v", agents, err)
	}
	for i, p := range nodes {
		if n := p.contacts(); n != len(nodes) {
			t.Errorf("node %d sees %d contacts", i, n)
		}
	}
	r, err := http.NewRequest(http.MethodGet, nodes[0].origin+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer 0123456789012345678901")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{`civgate_cache_lookups_total{layer="redis"} `, `civgate_redis_errors_total 0`, `civgate_redis_circuit_open 0`} {
		if !strings.Contains(string(text), name) {
			t.Errorf("the metrics lack %s", name)
		}
	}
}

// TestInboxCommandOnStreams shows the shards of an inbox in Redis, waiting,
// refused, replayed and dropped.
func TestInboxCommandOnStreams(t *testing.T) {
	t.Parallel()
	redis := redistest.New(t, "--appendonly", "yes", "--appendfsync", "always")
	env := []string{"CIVGATE_DATABASE_URL=" + pgtest.Start(t).NewDatabase(t), "CIVGATE_REDIS_URL=" + redis.URL(), "CIVGATE_INBOX=redis"}
	p := launch(t, t.TempDir(), env...)
	for i := range 20 {
		if status, _, answer := p.post(person(i)); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
	}
	p.settle()
	civgate := func(args ...string) (int, string) {
		var out, errs output
		code := run(context.Background(), args, env, &out, &errs)
		return code, out.String() + errs.String()
	}
	for deadline := time.Now().Add(30 * time.Second); p.contacts() != 20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d contacts, want 20", p.contacts())
		}
	}
	code, out := civgate("inbox")
	if code != exitOK || !strings.Contains(out, "dead letters") || !strings.Contains(out, "stream:0") {
		t.Errorf("list: %d %s", code, out)
	}
	if code, out := civgate("inbox", "refused"); code != exitOK || !strings.Contains(out, "nothing is set aside") {
		t.Errorf("refused: %d %s", code, out)
	}
	if code := p.end(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
