package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"civgate/gateway"
)

// blockTime is how long a read waits for entries at once. It bounds how long
// Next goes on after its context ended: a read that waits can't be called off.
const blockTime = 250 * time.Millisecond

// shardReadBytes is about how much Next reads from Redis at once.
const shardReadBytes = 2 << 20

// maxReadBatches bounds the batches of one read: they may be larger than those
// before.
const maxReadBatches = 64

// Name is the name under which the store keeps the shard's position.
func (sh *Shard) Name() string { return sh.name }

// Append adds entries to the inbox, each to the shard where it belongs: see
// Stream.Append.
func (sh *Shard) Append(ctx context.Context, entries ...*gateway.Entry) error {
	return sh.stream.Append(ctx, entries...)
}

// Pending is how many entries of the shard wait to be applied, as Redis said
// within the last second or so.
func (sh *Shard) Pending() int64 { return sh.pending.Load() }

// Check returns nil if the inbox would take an entry now: see Stream.Check.
func (sh *Shard) Check(ctx context.Context) error { return sh.stream.Check(ctx) }

// Close does nothing: Own gives the shard back.
func (sh *Shard) Close() error { return nil }

// Next waits until there is an entry behind the last one it returned, and
// returns up to limit of them, in order; each time the shard came to this node
// it starts at the store's position. Those that this process took in have their
// Payload, if there was room to keep them, others don't. A limit below 1 counts
// as 1.
//
// It returns ctx.Err() when ctx ends first, and a CodeUnavailable after Close.
// While Redis is away it waits. What Redis holds under the shard's key and is no
// batch of entries goes to the dead letters.
func (sh *Shard) Next(ctx context.Context, limit int) ([]*gateway.Entry, error) {
	limit = max(limit, 1)
	select {
	case sh.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-sh.reading }()
	s := sh.stream
	for pause := 50 * time.Millisecond; ; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		select {
		case <-s.closing:
			return nil, errClosed()
		default:
		}
		if entries := sh.take(limit); len(entries) > 0 {
			return entries, nil
		}
		err := sh.read(ctx)
		if err == nil {
			if sh.away {
				s.opts.Log.Info("the shard is read again", zap.String("shard", sh.name))
			}
			sh.away, pause = false, 50*time.Millisecond
			continue
		}
		if ctx.Err() != nil {
			continue
		}
		if !sh.away {
			s.opts.Log.Warn("a shard can't be read; its payloads wait", zap.String("shard", sh.name), zap.Error(err))
		}
		sh.away = true
		wait(ctx, pause)
		pause = min(2*pause, time.Second)
	}
}

// take returns up to limit entries that are at hand. The caller holds reading.
func (sh *Shard) take(limit int) []*gateway.Entry {
	s := sh.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.skip()
	entries := sh.ahead
	if len(entries) == 0 {
		entries = sh.takeLocal(limit)
	}
	sh.ahead = nil
	if len(entries) > limit {
		entries, sh.ahead = entries[:limit:limit], entries[limit:]
	}
	if n := len(entries); n > 0 {
		sh.pos = entries[n-1].Seq
	}
	return entries
}

// skip drops what was applied already from what is ahead. The caller holds
// reading and Stream.mu.
func (sh *Shard) skip() {
	sh.pos = max(sh.pos, sh.applied)
	n := 0
	for n < len(sh.ahead) && sh.ahead[n].Seq <= sh.pos {
		n++
	}
	sh.ahead = sh.ahead[n:]
}

// takeLocal takes whole batches from local, as long as each follows the one
// before without anybody else's between them, up to at least limit entries. The
// caller holds Stream.mu.
func (sh *Shard) takeLocal(limit int) []*gateway.Entry {
	var entries []*gateway.Entry
	end := sh.pos
	n := 0
	for ; n < len(sh.local) && len(entries) < limit; n++ {
		b := &sh.local[n]
		if b.last <= end {
			continue // it was read back from Redis
		}
		if b.prev != end {
			break
		}
		entries = append(entries, b.entries...)
		end = b.last
	}
	sh.dropLocal(n)
	return entries
}

// dropLocal forgets the first n local batches. The caller holds Stream.mu.
func (sh *Shard) dropLocal(n int) {
	for i := range n {
		sh.stream.localEntries -= len(sh.local[i].entries)
		sh.stream.localBytes -= sh.local[i].bytes
		sh.local[i] = localBatch{}
	}
	if sh.local = sh.local[n:]; len(sh.local) == 0 {
		sh.local = nil
	}
}

// read waits a while for entries behind pos and puts them into ahead. The
// caller holds reading.
func (sh *Shard) read(ctx context.Context) error {
	s := sh.stream
	s.mu.Lock()
	pos := sh.pos
	s.mu.Unlock()
	count := sh.readCount()
	ctx, cancel := context.WithTimeout(ctx, blockTime+s.opts.Timeout)
	defer cancel()
	if s.opts.Replicas > 0 {
		count = 1 // only to wait
	}
	// Behind any batch that ends at pos, however many entries it has.
	after := strconv.FormatInt(pos, 10) + "-" + strconv.FormatUint(math.MaxUint64, 10)
	messages, err := messagesOf(s.client.XRead(ctx, &redis.XReadArgs{
		Streams: []string{sh.log, after}, Count: count, Block: blockTime,
	}))
	if err == nil && len(messages) > 0 && s.opts.Replicas > 0 {
		messages, err = sh.readReplicated(ctx, after)
	}
	if err != nil || len(messages) == 0 {
		return err
	}
	var bytes int64
	var ahead []*gateway.Entry
	for _, m := range messages {
		entries, size, err := readBatch(m)
		if err != nil {
			if len(ahead) > 0 {
				break // first things first
			}
			if err := sh.refuse(ctx, m, err); err != nil {
				return err
			}
			continue
		}
		bytes += size
		ahead = append(ahead, entries...)
	}
	if n := int64(len(messages)); bytes > 0 {
		sh.batch = (sh.batch + bytes/n + 1) / 2
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	sh.ahead = ahead
	if n := len(ahead); n > 0 {
		sh.last = max(sh.last, ahead[n-1].Seq)
	}
	sh.skip()
	return nil
}

// readCount is how many batches to read at once.
func (sh *Shard) readCount() int64 {
	if sh.batch == 0 {
		return 8
	}
	return min(max(shardReadBytes/sh.batch, 1), maxReadBatches)
}

// messagesOf is what an XREAD of one stream brought, if anything.
func messagesOf(cmd *redis.XStreamSliceCmd) ([]redis.XMessage, error) {
	streams, err := cmd.Result()
	if errors.Is(err, redis.Nil) || err == nil && len(streams) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return streams[0].Messages, nil
}

// readReplicated reads batches that the replicas have, too. What they lack may
// be gone with the master; whoever had applied it would apply it again when its
// append, of which the new master knows nothing, is sent once more.
func (sh *Shard) readReplicated(ctx context.Context, after string) ([]redis.XMessage, error) {
	s := sh.stream
	c, err := s.masterOf(ctx, sh)
	if err != nil {
		return nil, err
	}
	var mark, replicas *redis.Cmd
	var read *redis.XStreamSliceCmd
	// All on one connection, so by one server: what it had at the mark.
	_, _ = c.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error
		mark = markScript.Eval(ctx, p, []string{sh.state})
		replicas = s.waitForReplicas(ctx, p)
		read = p.XRead(ctx, &redis.XReadArgs{Streams: []string{sh.log, after}, Count: sh.readCount(), Block: -1})
		return nil
	})
	last, err := mark.Int64()
	if err == nil {
		err = enoughReplicas(replicas, s.opts.Replicas)
	}
	if err != nil {
		s.reload(ctx)
		return nil, err
	}
	messages, err := messagesOf(read)
	for i, m := range messages {
		if seq, _, ok := seqOf(m.ID); ok && seq > last {
			return messages[:i], err
		}
	}
	return messages, err
}

// readBatch unpacks what Redis holds as one message of the log.
func readBatch(m redis.XMessage) (entries []*gateway.Entry, size int64, err error) {
	last, count, ok := seqOf(m.ID)
	if !ok {
		return nil, 0, errors.New("not an id of a batch")
	}
	data, ok := m.Values["d"].(string)
	if !ok {
		return nil, 0, errors.New("no batch in it")
	}
	entries, err = unpack([]byte(data), last-count+1, count)
	return entries, int64(len(data)), err
}

// refuse moves a message to the dead letters.
func (sh *Shard) refuse(ctx context.Context, m redis.XMessage, cause error) error {
	s := sh.stream
	fields := make(map[string][]byte, len(m.Values)) // JSON text is UTF-8, what is in m need not be
	for k, v := range m.Values {
		text, _ := v.(string)
		fields[k] = []byte(text)
	}
	data, err := json.Marshal(fields)
	if err != nil {
		return fmt.Errorf("write down what can't be read: %w", err)
	}
	if err := runScript(ctx, s.client, refuseScript, []string{sh.log, sh.dead}, m.ID, cause.Error(), data).Err(); err != nil {
		return fmt.Errorf("move %s to the dead letters: %w", m.ID, err)
	}
	s.opts.Log.Error("a batch of accepted payloads can't be read and is set aside",
		zap.String("shard", sh.name), zap.String("id", m.ID), zap.Error(cause))
	return nil
}

// Applied tells that all entries of the shard up to seq are applied for good.
// Next skips them, and they are deleted from Redis in the background.
func (sh *Shard) Applied(seq int64) {
	s := sh.stream
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > sh.applied {
		sh.applied = seq
		signal(s.trims)
	}
}

// trimPause is how long applied entries gather before they are deleted.
const trimPause = 100 * time.Millisecond

// trimLoop deletes what is applied. What it can't delete stays until the shard
// is trimmed or taken the next time.
func (s *Stream) trimLoop() {
	for {
		select {
		case <-s.trims:
		case <-s.background.ctx.Done():
			_ = s.call(context.Background(), s.trim) // else the next owner does it
			return
		}
		if err := s.call(s.background.ctx, s.trim); err != nil {
			signal(s.trims)
			wait(s.background.ctx, time.Second)
			continue
		}
		wait(s.background.ctx, trimPause)
	}
}

// trim deletes from all shards what has been applied since the last time.
func (s *Stream) trim(ctx context.Context) error {
	type job struct {
		sh      *Shard
		applied int64
		cmd     *redis.Cmd
	}
	var jobs []job
	s.mu.Lock()
	for _, sh := range s.shards {
		if sh.applied > sh.trimmed {
			jobs = append(jobs, job{sh: sh, applied: sh.applied})
		}
	}
	s.mu.Unlock()
	if len(jobs) == 0 {
		return nil
	}
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error { // each command has its error

		for i := range jobs {
			j := &jobs[i]
			j.cmd = trimScript.EvalSha(ctx, p, []string{j.sh.log, j.sh.state}, j.applied+1)
		}
		return nil
	})
	var failed error
	for i := range jobs {
		j := &jobs[i]
		if isNoScript(j.cmd.Err()) {
			j.cmd = runScript(ctx, s.client, trimScript, []string{j.sh.log, j.sh.state}, j.applied+1)
		}
		left, err := ints(j.cmd, 2)
		if err != nil {
			failed = fmt.Errorf("trim %s: %w", j.sh.name, err)
			continue
		}
		s.mu.Lock()
		j.sh.trimmed = max(j.sh.trimmed, j.applied)
		s.mu.Unlock()
		j.sh.pending.Store(left[0])
	}
	return failed
}
