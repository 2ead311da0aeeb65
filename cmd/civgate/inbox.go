package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"go.uber.org/zap"

	"civgate/config"
	"civgate/gateway"
	"civgate/gateway/cache"
	"civgate/gateway/inbox"
	"civgate/gateway/store"
)

// inboxCommand looks at what was accepted and isn't applied: what waits, and
// what was set aside because it can't be.
type inboxCommand struct {
	List   struct{} `cmd:"" default:"1" help:"Show how much waits, and how much was set aside (default)."`
	Refuse struct {
		Limit int  `default:"100" help:"How many of each workspace and shard."`
		Body  bool `help:"Show what was sent as well. It may hold personal data."`
	} `cmd:"" name:"refused" help:"List what was accepted and could not be applied, with the reason."`
	Replay struct {
		ID string `arg:"" help:"Id that refused shows, or all."`
	} `cmd:"" help:"Send what was set aside to the running civgate once more, and drop it when it is taken."`
	Drop struct {
		ID string `arg:"" help:"Id that refused shows, or all."`
	} `cmd:"" help:"Delete what was set aside, for good."`
}

// inboxTool is what the commands work with.
type inboxTool struct {
	cfg    config.Config
	store  *store.Store
	stream *inbox.Stream // nil unless the inbox is in Redis
	out    io.Writer
}

func (c *inboxCommand) run(ctx context.Context, command string, cfg config.Config, out io.Writer) (err error) {
	if c.Refuse.Limit < 1 && strings.HasPrefix(command, "inbox refused") {
		return usagef("--limit: it must be 1 or more")
	}
	st, err := openStore(ctx, cfg)
	if err != nil {
		return err
	}
	t := &inboxTool{cfg: cfg, store: st, out: out}
	defer func() { err = errors.Join(err, t.close()) }()
	if cfg.Inbox == "redis" {
		redis, err := cache.ParseURL(cfg.RedisURL)
		if err != nil {
			return fmt.Errorf("redis_url: %w", err)
		}
		t.stream, err = inbox.OpenStream(ctx, inbox.StreamOptions{Redis: redis, Node: "command line", Position: st.InboxPosition, Log: zap.NewNop()})
		if err != nil {
			return fmt.Errorf("inbox: %w", err)
		}
	}
	switch verb, _, _ := strings.Cut(strings.TrimPrefix(command, "inbox "), " "); verb {
	case "refused":
		return t.refused(ctx, c.Refuse.Limit, c.Refuse.Body)
	case "replay":
		return t.each(ctx, c.Replay.ID, "replayed", t.replay)
	case "drop":
		return t.each(ctx, c.Drop.ID, "dropped", t.drop)
	default:
		return t.list(ctx)
	}
}

func (t *inboxTool) close() error {
	var err error
	if t.stream != nil {
		err = t.stream.Close()
	}
	return errors.Join(err, t.store.Close())
}

// setAside is one thing that could not be applied. Those in the store have ids of
// the form workspace/number, the dead letters of shards the stream's own.
type setAside struct {
	id, where, reason string
	at                time.Time
	body              []byte
	workspace         gateway.WorkspaceID
	number            int64 // 0 for a dead letter
}

// quarantine is how much is set aside in a workspace.
type quarantine struct {
	workspace gateway.WorkspaceID
	gone      bool // there is no such workspace: the inbox was older or newer than the database
	entries   int64
}

// where names the workspace.
func (q quarantine) where() string {
	name := "workspace " + strconv.FormatInt(int64(q.workspace), 10)
	if q.gone {
		name += " (which does not exist)"
	}
	return name
}

// quarantines are those of all workspaces, and of those that have entries and do
// not exist, by id.
func (t *inboxTool) quarantines(ctx context.Context) ([]quarantine, error) {
	workspaces, err := t.store.Workspaces(ctx)
	if err != nil {
		return nil, err
	}
	counts, err := t.store.QuarantineCounts(ctx)
	if err != nil {
		return nil, err
	}
	var all []quarantine
	for _, w := range workspaces {
		all = append(all, quarantine{workspace: w.ID, entries: counts[w.ID]})
		delete(counts, w.ID)
	}
	for w, n := range counts {
		all = append(all, quarantine{workspace: w, gone: true, entries: n})
	}
	slices.SortFunc(all, func(a, b quarantine) int { return cmp.Compare(a.workspace, b.workspace) })
	return all, nil
}

// all returns up to limit of each workspace and of all shards.
func (t *inboxTool) all(ctx context.Context, limit int) ([]setAside, error) {
	quarantines, err := t.quarantines(ctx)
	if err != nil {
		return nil, err
	}
	var found []setAside
	for _, w := range quarantines {
		if w.entries == 0 {
			continue
		}
		list, err := t.store.Quarantine(ctx, w.workspace, limit)
		if err != nil {
			return nil, err
		}
		for _, q := range list {
			found = append(found, setAside{
				id: fmt.Sprintf("%d/%d", w.workspace, q.ID), where: w.where(), reason: q.Reason,
				at: q.At, body: q.Body, workspace: w.workspace, number: q.ID,
			})
		}
	}
	if t.stream == nil {
		return found, nil
	}
	letters, err := t.stream.DeadLetters(ctx, limit)
	if err != nil {
		return nil, err
	}
	for _, d := range letters {
		fields, err := json.Marshal(d.Fields)
		if err != nil {
			return nil, err
		}
		found = append(found, setAside{id: d.ID, where: d.Shard, reason: d.Reason, at: d.At, body: fields})
	}
	return found, nil
}

func (t *inboxTool) list(ctx context.Context) error {
	table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if t.stream != nil {
		shards, err := t.stream.Waiting(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintln(table, "shard\twaiting\toldest\tapplied up to\tdead letters\towner") // tabwriter keeps the first error until Flush
		for _, s := range shards {
			oldest := "-"
			if !s.Oldest.IsZero() {
				oldest = time.Since(s.Oldest).Round(time.Second).String()
			}
			fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%d\t%s\n", s.Name, s.Pending, oldest, s.Position, s.Refused, s.Owner)
		}
	} else if pending, err := t.pending(ctx); err != nil {
		fmt.Fprintf(table, "waiting\tunknown: %v\n", err)
	} else {
		fmt.Fprintf(table, "waiting\t%d\n", pending)
	}
	quarantines, err := t.quarantines(ctx)
	if err != nil {
		return err
	}
	for _, q := range quarantines {
		fmt.Fprintf(table, "set aside in %s\t%d\n", q.where(), q.entries)
	}
	return table.Flush()
}

// pending asks the running civgate what waits in its file: the folder is its own.
func (t *inboxTool) pending(ctx context.Context) (int64, error) {
	status, body, err := t.call(ctx, http.MethodGet, "/healthz", nil)
	if err != nil {
		return 0, fmt.Errorf("civgate doesn't run with these settings: %w", err)
	}
	var h struct {
		Pending int64 `json:"inbox_pending"`
	}
	if err := json.Unmarshal(body, &h); err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("what answers at %s is not civgate", t.cfg.Addr)
	}
	return h.Pending, nil
}

func (t *inboxTool) refused(ctx context.Context, limit int, bodies bool) error {
	all, err := t.all(ctx, limit)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	if len(all) == 0 {
		fmt.Fprintln(table, "nothing is set aside")
	} else {
		fmt.Fprintln(table, "id\tset aside\twhere\treason")
	}
	for _, s := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", s.id, s.at.UTC().Format(time.RFC3339), s.where, oneLine(s.reason))
		if bodies {
			fmt.Fprintf(table, "\t%q\n", s.body)
		}
	}
	return table.Flush()
}

// oneLine is the first line of a reason, which may have a stack behind it.
func oneLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// each does something with what has the id, or with all. What fails doesn't keep
// the others from it.
func (t *inboxTool) each(ctx context.Context, id, done string, do func(context.Context, setAside) error) error {
	all, err := t.all(ctx, 10_000)
	if err != nil {
		return err
	}
	n, found := 0, false
	var failed error
	for _, s := range all {
		if id != "all" && id != s.id {
			continue
		}
		found = true
		if err := do(ctx, s); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", s.id, err))
			continue
		}
		n++
	}
	if !found && id != "all" {
		return fmt.Errorf("nothing with the id %s is set aside; civgate inbox refused lists what is", id)
	}
	_, err = fmt.Fprintf(t.out, "%d %s\n", n, done)
	return errors.Join(failed, err)
}

// replay sends a payload through the front door: what is in its way now is told
// there, and its message id keeps it from counting twice.
func (t *inboxTool) replay(ctx context.Context, s setAside) error {
	if s.number == 0 {
		_, err := t.stream.Replay(ctx, s.id)
		return err
	}
	status, body, err := t.call(ctx, http.MethodPost, t.cfg.IngestPath, s.body)
	if err != nil {
		return fmt.Errorf("civgate must run to take it: %w", err)
	}
	var answer struct {
		Status string `json:"status"`
	}
	// Only civgate's own word is one: whoever else listens there must not cost a
	// payload.
	if err := json.Unmarshal(body, &answer); status != http.StatusOK || err != nil || answer.Status != "ok" {
		return fmt.Errorf("it was refused: %d %s", status, oneLine(string(body)))
	}
	return t.store.DropQuarantined(ctx, s.workspace, s.number)
}

func (t *inboxTool) drop(ctx context.Context, s setAside) error {
	if s.number == 0 {
		return t.stream.Drop(ctx, s.id)
	}
	return t.store.DropQuarantined(ctx, s.workspace, s.number)
}

// call asks the civgate that runs with the same settings.
func (t *inboxTool) call(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	origin, err := localOrigin(t.cfg)
	if err != nil {
		return 0, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, origin+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	resp, err := localClient.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, answer, err
}
