package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/store"
)

// A recorded stream is what browsers of a few hundred households send: new
// visitors, people who log in and out, several people on one browser, one on
// several, e-mails without ids, repeats, companies that come, go and change. All
// households meet in the same companies and attributes.
//
// A household's requests keep their order, as a balancer keeps a browser on its
// node. What different households do must not depend on who comes first, so
// what is said of a company is always the same.
type streamRequest struct {
	household int
	at        time.Time
	body      []byte
	payloads  int
	browser   string // of all payloads
	message   string // id of the last payload; "" for a repeat, which changes nothing
}

// raceDetector says that all is ten times as slow.
var raceDetector bool

const streamKey = "STREAM"

func recordStream(seed uint64, payloads int) []streamRequest {
	r := rand.New(rand.NewPCG(seed, seed))
	const households = 150
	// A second apart, and lately: a process with a clock of its own forgets message
	// ids after a week.
	start := time.Now().UTC().Truncate(time.Second).Add(-3 * time.Hour)
	sent := make([][]streamRequest, households) // to repeat
	var stream []streamRequest
	id := 0
	for n := 0; n < payloads; {
		h := r.IntN(households)
		req := streamRequest{household: h, at: start.Add(time.Duration(len(stream)) * time.Second)}
		if old := sent[h]; len(old) > 0 && r.IntN(12) == 0 {
			again := old[r.IntN(len(old))]
			req.body, req.browser, req.payloads = again.body, again.browser, again.payloads
		} else {
			// One visit: a browser, whoever sits at it, and some pages.
			req.browser = fmt.Sprintf("h%03db%07d", h, r.IntN(4))
			var items []string
			for range 1 + r.IntN(8) {
				id++
				items = append(items, streamPayload(r, h, req.browser, id))
			}
			req.payloads = len(items)
			req.message = streamMessage(id)
			req.body = []byte("[" + strings.Join(items, ",") + "]")
			sent[h] = append(sent[h], req)
		}
		n += req.payloads
		stream = append(stream, req)
	}
	return stream
}

func streamPayload(r *rand.Rand, household int, browser string, id int) string {
	fields := []string{`"apiKey":"` + streamKey + `"`}
	one := func(texts ...string) {
		if s := texts[r.IntN(len(texts))]; s != "" {
			fields = append(fields, s)
		}
	}
	person := r.IntN(3)
	if r.IntN(3) > 0 {
		one("", fmt.Sprintf(`"user_id":"u%d-%d"`, household, person))
		one("", "", fmt.Sprintf(`"email":"p%d@h%d.test"`, person, household), `"email":null`)
		one("", `"plan":"free"`, `"plan":"pro"`, `"plan":null`)
		one("", `"score":0`, `"score":5`, `"seats":7`)
		one("", `"tags":["a","b"]`, `"tags":["c"]`)
		one("", `"since":"2026-01-02"`, `"vip":true`)
		company := r.IntN(25)
		one("", "", fmt.Sprintf(`"company":{"company_id":"c%d","name":"Company %d","size":%d}`, company, company, company),
			fmt.Sprintf(`"companies":[{"company_id":"c%d"},{"company_id":"c%d","city":"Łódź"}]`, company, (company+1)%25),
			fmt.Sprintf(`"company":{"name":"Household %d"}`, household), `"company":null`)
	}
	kind := []string{"page", "page", "page", "event", "product_event", "update", "reset"}[r.IntN(7)]
	return fmt.Sprintf(`{%s,"$":{"id":%q,"key":%q,"type":%q,"url":"https://h%d.test/%d","name":"add to cart","data":{"n":%d}}}`,
		strings.Join(fields, ","), streamMessage(id), browser, kind, household, id%9, id)
}

func streamMessage(id int) string { return fmt.Sprintf("018f0000-0000-7000-8000-%012x", id) }

// streamNode is one gateway of a set-up.
type streamNode struct {
	gateway *gateway.Gateway
	store   *store.Store
	now     atomic.Int64 // its clock, in microseconds since 1970
	// truth is the database of a node whose inbox keeps no order between browsers
	// (see play); nil where it does. One goroutine uses it.
	truth *pgx.Conn
	// again says that the node's senders come again when they are told to.
	again bool
}

// startNode starts a gateway with an inbox of its own on the database; it ends
// with the test.
func startNode(t *testing.T, name, database string, c gateway.Cache) *streamNode {
	t.Helper()
	return startNodeWith(t, config.Default(), name, database, c)
}

// startNodeOnStreams is startNode with the inbox in Redis, which the nodes share.
func startNodeOnStreams(t *testing.T, name, database, redis string, c gateway.Cache) *streamNode {
	t.Helper()
	cfg := config.Default()
	cfg.Inbox, cfg.RedisURL = "redis", redis
	n := startNodeWith(t, cfg, name, database, c)
	var err error
	if n.truth, err = pgx.Connect(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.truth.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func startNodeWith(t *testing.T, cfg config.Config, name, database string, c gateway.Cache) *streamNode {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	n := &streamNode{}
	var err error
	if n.store, err = store.Open(ctx, database); err != nil {
		t.Fatal(err)
	}
	cfg.Data = t.TempDir()
	a := &app{cfg: cfg, log: zap.NewNop(), node: name, store: n.store}
	if err := a.openInbox(ctx); err != nil {
		t.Fatal(err)
	}
	file, _ := a.intake.(gateway.Inbox)
	n.gateway = gateway.New(gateway.Config{
		Store: n.store, Inbox: file, Intake: a.intake, Cache: c, Log: a.log, Node: name,
		Now: func() time.Time { return time.UnixMicro(n.now.Load()) },
	})
	var run sync.WaitGroup
	run.Go(func() { _ = a.apply(ctx, n.gateway) }) // it ends with ctx and for no other reason
	t.Cleanup(func() {
		cancel()
		run.Wait()
		if err := a.intake.Close(); err != nil {
			t.Error(err)
		}
		if err := n.store.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// playTime bounds how long a set-up may take for anything.
const playTime = 5 * time.Minute

// play sends the stream to the nodes, each household to one of them, all nodes
// at once, and waits until everything is visible. step is called by each node
// after each request, nil for nothing.
//
// An inbox of shards keeps the order of one browser and none between browsers.
// What becomes of a household that changes browsers depends on that order, so
// there a household takes up another browser only when what it sent from the one
// before is applied.
func play(t *testing.T, stream []streamRequest, nodes []*streamNode, step func(i int)) {
	t.Helper()
	var run sync.WaitGroup
	for i, n := range nodes {
		run.Go(func() {
			last := map[int]streamRequest{} // of each household
			for k, req := range stream {
				if req.household%len(nodes) != i {
					continue
				}
				if req.message != "" && n.truth != nil {
					if before := last[req.household]; before.browser != req.browser {
						if err := n.await(before); err != nil {
							t.Errorf("before request %d: %v", k, err)
							return
						}
					}
					last[req.household] = req
				}
				results, err := n.offer(req)
				if err != nil {
					t.Errorf("request %d: %v", k, err)
					return
				}
				for _, res := range results {
					if res.Err != nil {
						t.Errorf("request %d: %v in %s", k, res.Err, req.body)
					}
				}
				if step != nil {
					step(k)
				}
			}
			// What shards tell of what waits is a second old.
			for _, req := range last {
				if err := n.await(req); err != nil {
					t.Errorf("at the end: %v", err)
					return
				}
			}
		})
	}
	run.Wait()
	deadline := time.Now().Add(playTime)
	for _, n := range nodes {
		for n.gateway.Pending() > 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%d payloads are still waiting", n.gateway.Pending())
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// offer sends a request at its time, and again while it is refused for the
// moment if the node's senders do that.
func (n *streamNode) offer(req streamRequest) ([]gateway.Result, error) {
	n.now.Store(req.at.UnixMicro())
	for deadline := time.Now().Add(playTime); ; time.Sleep(20 * time.Millisecond) {
		results, _, err := n.gateway.Accept(context.Background(), gateway.Request{Body: req.body, IP: netip.MustParseAddr("192.0.2.1")})
		if gateway.CodeOf(err) != gateway.CodeUnavailable || !n.again || time.Now().After(deadline) {
			return results, err
		}
	}
}

// await waits until a request is applied, by whichever node: the database knows
// the id of its last message. What its browser sent before is then applied, too.
func (n *streamNode) await(req streamRequest) error {
	if req.message == "" {
		return nil // there was none
	}
	const applied = `SELECT EXISTS (SELECT FROM messages WHERE workspace_id = (SELECT workspace_id FROM workspaces) AND id = $1::uuid)`
	ctx, cancel := context.WithTimeout(context.Background(), playTime)
	defer cancel()
	for {
		var done bool
		if err := n.truth.QueryRow(ctx, applied, req.message).Scan(&done); err != nil {
			return fmt.Errorf("wait for message %s: %w", req.message, err)
		}
		if done {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// dumpStore is everything in a store, row by row, with names in the place of
// ids, which depend on who came first, and without what says who came first
// among households: when a company, an attribute or an event's name was first and last heard of.
func dumpStore(t *testing.T, s *store.Store) []string {
	t.Helper()
	var text bytes.Buffer
	if _, err := s.Export(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	type object = map[string]any
	tables := map[string][]object{}
	var table string
	var names []string
	for line := range strings.SplitSeq(strings.TrimSpace(text.String()), "\n") {
		if strings.HasPrefix(line, "{") {
			var head struct {
				Table   string
				Columns []string
			}
			if err := json.Unmarshal([]byte(line), &head); err != nil {
				t.Fatal(err)
			}
			table, names = cmp.Or(head.Table, table), head.Columns
			continue
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		var values []any
		if err := d.Decode(&values); err != nil {
			t.Fatal(err)
		}
		row := object{}
		for i, n := range names {
			row[n] = values[i]
		}
		tables[table] = append(tables[table], row)
	}
	id := func(v any) string { return fmt.Sprint(v) }
	tagNames := map[string]any{}
	for _, tag := range tables["tags"] {
		tagNames[id(tag["id"])] = tag["name"]
	}
	contacts, companies := map[string]string{"0": "nobody"}, map[string]string{}
	keys := map[string][]string{}
	for _, k := range tables["visitor_keys"] {
		keys[id(k["contact_id"])] = append(keys[id(k["contact_id"])], fmt.Sprint(k["key"]))
	}
	// A contact that was merged away has no key left; the journal has what it had.
	for _, m := range tables["merges"] {
		var before struct {
			Keys []string
		}
		if err := json.Unmarshal([]byte(m["contact_before"].(string)), &before); err != nil {
			t.Fatal(err)
		}
		contacts[id(m["loser_id"])] = fmt.Sprintf("merged with %v at %v", before.Keys, m["at"])
	}
	for _, c := range tables["contacts"] {
		n := id(c["id"])
		slices.Sort(keys[n])
		switch {
		case contacts[n] != "":
		case c["custom_id"] != nil:
			contacts[n] = "user_id " + id(c["custom_id"])
		default:
			contacts[n] = fmt.Sprintf("e-mail %v, browsers %v, made %v", c["email_key"], keys[n], c["created_at"])
		}
	}
	for _, c := range tables["companies"] {
		companies[id(c["id"])] = fmt.Sprintf("company %v %v", c["custom_id"], c["name"])
	}
	var named func(v any, name string) any
	named = func(v any, name string) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = named(v[k], k)
			}
			return v
		case []any:
			for i := range v {
				v[i] = named(v[i], name)
			}
			slices.SortFunc(v, func(a, b any) int { return cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			return v
		case json.Number, float64:
			switch name {
			case "id", "contact_id", "winner_id", "loser_id", "merged_into":
				if n, ok := contacts[fmt.Sprint(v)]; ok {
					return n
				}
			case "company_id":
				if n, ok := companies[fmt.Sprint(v)]; ok {
					return n
				}
			}
		}
		return v
	}
	var rows []string
	for table, all := range tables {
		if table == "inbox_positions" || table == "inspections" { // of each node what it took
			continue
		}
		for _, row := range all {
			switch table {
			case "contacts":
				// An index of who may not have been seen: it names too many, by how payloads
				// fell into batches, and never too few.
				delete(row, "unseen_at")
			case "companies":
				delete(row, "created_at")
				delete(row, "updated_at")
				row["company_id"] = row["id"]
				delete(row, "id")
			case "attribute_defs", "workspaces", "api_keys":
				delete(row, "created_at")
				delete(row, "id")
			case "page_views", "events", "merges", "quarantine":
				delete(row, "id")
			case "event_names":
				delete(row, "first_at")
			case "tags":
				delete(row, "id")
				delete(row, "created_at")
			case "tagged":
				row["tag_id"] = tagNames[id(row["tag_id"])]
				row[fmt.Sprint(row["entity"], "_id")] = row["subject_id"]
				delete(row, "subject_id")
			case "messages":
				delete(row, "claimed_at") // when its batch was applied
			}
			for _, column := range []string{"contact_before", "contact_after", "attributes"} {
				if s, ok := row[column].(string); ok {
					d := json.NewDecoder(strings.NewReader(s))
					d.UseNumber()
					var v any
					if err := d.Decode(&v); err != nil {
						t.Fatal(err)
					}
					row[column] = v
				}
			}
			line, err := json.Marshal(named(row, ""))
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, table+" "+string(line))
		}
	}
	slices.Sort(rows)
	return rows
}

func makeStreamWorkspace(t *testing.T, s *store.Store) {
	t.Helper()
	_, err := s.CreateWorkspace(t.Context(), gateway.Workspace{Name: "Stream", Settings: gateway.DefaultSettings()}, gateway.APIKey{Kind: gateway.KeyWidget, Secret: streamKey})
	if err != nil {
		t.Fatal(err)
	}
}

// diffRows shows the first differences of two dumps.
func diffRows(want, got []string) string {
	var b strings.Builder
	left := map[string]int{}
	for _, r := range want {
		left[r]++
	}
	shown := 0
	for _, r := range got {
		if left[r]--; left[r] < 0 && shown < 8 {
			shown++
			fmt.Fprintf(&b, "+ %.700s\n", r)
		}
	}
	for _, r := range want {
		if left[r] > 0 && shown < 16 {
			shown++
			left[r]--
			fmt.Fprintf(&b, "- %.700s\n", r)
		}
	}
	return b.String()
}

// TestStreamIsRepeatable: the same stream ends in the same rows however the
// applier came to cut it into batches.
func TestStreamIsRepeatable(t *testing.T) {
	t.Parallel()
	stream := recordStream(1, 4000)
	var want []string
	for i := range 2 {
		n := startNode(t, "local", filepath.Join(t.TempDir(), "civgate.db"), cache.New(1000))
		makeStreamWorkspace(t, n.store)
		play(t, stream, []*streamNode{n}, func(k int) {
			if i == 1 && k%50 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
		})
		got := dumpStore(t, n.store)
		if i == 0 {
			want = got
			continue
		}
		if d := diffRows(want, got); d != "" {
			t.Error(d)
		}
		if len(want) < 5000 {
			t.Errorf("only %d rows: the stream does too little", len(want))
		}
	}
}
