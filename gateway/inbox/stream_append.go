package inbox

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// flight is what is sent together: the calls of Append that came while the
// flight before was under way.
type flight struct {
	entries []*gateway.Entry
	shards  []int // of each entry
	bytes   int64
	done    chan struct{} // closed when errs is set
	errs    map[int]error // by shard; those that are missing are stored
}

// maxWaitingBytes bounds what waits in memory to be sent.
const maxWaitingBytes = 64 << 20

// downPause is for how long calls are refused at once after one failed.
const downPause = 500 * time.Millisecond

// Append adds entries durably: it returns nil when Redis has all of them on
// disk. Those of one shard, so those of one identity, are in the order given and
// next to each other. Calls that come while others are sent are sent together.
//
// It fails with CodeUnavailable and a RetryAfter while a shard that it needs
// holds its share of MaxPending or MaxBytes, while Redis is away, full, or not
// writable, after Close, and when ctx ends first. Entries of other shards may be
// stored all the same, and when the answer of Redis was lost all of them may be.
// They will be handed out then. If their sender sends them again, as it was
// asked to, their message ids make one of the two. It fails with CodeTooLarge
// for entries that would never fit.
func (s *Stream) Append(ctx context.Context, entries ...*gateway.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return errContext(err)
	}
	var bytes int64
	var one [1]int
	shards := one[:0]
	for _, e := range entries {
		bytes += packedSize(e)
		shards = append(shards, s.shardOf(e))
	}
	f, err := s.board(entries, shards, bytes)
	if err != nil {
		return err
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		return errContext(ctx.Err())
	}
	if len(f.errs) > 0 {
		for _, i := range shards {
			if err := f.errs[i]; err != nil {
				return err
			}
		}
	}
	return nil
}

// shardOf is the shard of an entry: that of the visitor key, else of the first
// identifier there is, so that what one browser or one server says of somebody
// stays in order.
func (s *Stream) shardOf(e *gateway.Entry) int {
	p := e.Payload
	if p == nil {
		parsed, _, err := gateway.ParsePayload(e.Body)
		if err != nil {
			parsed = &gateway.Payload{} // the applier sets it aside
		}
		p = parsed
	}
	var h xxhash.Digest
	h.Reset()
	var head [9]byte
	binary.LittleEndian.PutUint64(head[:], uint64(e.WorkspaceID))
	write := func(kind byte, value string) {
		head[8] = kind
		_, _ = h.Write(head[:]) // never fails
		_, _ = h.WriteString(value)
	}
	switch {
	case p.Key != "":
		write('k', p.Key)
	case p.CustomID != "":
		write('u', p.CustomID)
	case p.EmailKey != "":
		write('e', p.EmailKey)
	case p.Message != gateway.MessageID{}:
		write('m', string(p.Message[:]))
	default:
		write('r', rand.Text())
	}
	return int(h.Sum64() % uint64(len(s.shards)))
}

// board puts entries into the flight that gathers.
func (s *Stream) board(entries []*gateway.Entry, shards []int, bytes int64) (*flight, error) {
	if int64(len(entries)) > s.maxPending || bytes > min(s.maxBytes, maxAppendBytes) {
		return nil, &gateway.Error{Code: gateway.CodeTooLarge, Message: "too much in one call, send less at once"}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, errClosed()
	case s.waitingBytes+bytes > maxWaitingBytes:
		return nil, errFull()
	}
	for _, i := range shards {
		if sh := s.shards[i]; sh.down != nil && time.Now().Before(sh.downUntil) {
			return nil, errAway(sh.down)
		}
	}
	var f *flight
	if n := len(s.flights); n > 0 {
		f = s.flights[n-1]
	}
	if f == nil || len(f.entries)+len(entries) > groupEntries || f.bytes+bytes > groupBytes {
		f = &flight{done: make(chan struct{})}
		s.flights = append(s.flights, f)
		s.arrived.Signal()
	}
	f.entries = append(f.entries, entries...)
	f.shards = append(f.shards, shards...)
	f.bytes += bytes
	s.waitingBytes += bytes
	s.crowd.join(len(entries), len(s.flights[0].entries), len(s.flights) > 1)
	return f, nil
}

// commitLoop sends one flight after the other until the inbox is closed and
// none waits.
func (s *Stream) commitLoop() {
	for {
		s.mu.Lock()
		for len(s.flights) == 0 && !s.closed {
			s.arrived.Wait()
		}
		if len(s.flights) == 0 {
			s.mu.Unlock()
			return
		}
		s.brake()
		if len(s.flights) == 1 && !s.closed {
			s.crowd.wait(&s.mu, len(s.flights[0].entries), s.closing)
		}
		gather(&s.mu, func() int {
			if len(s.flights) > 1 {
				return 0
			}
			return len(s.flights[0].entries)
		})
		f := s.flights[0]
		s.flights = slices.Delete(s.flights, 0, 1)
		s.mu.Unlock()
		s.commit(f)
	}
}

// brake delays the next flight while more is taken in than is applied, like
// File.brake. The caller holds mu.
func (s *Stream) brake() {
	d := braking(s.Pending())
	if d == 0 || s.closed {
		return
	}
	s.mu.Unlock()
	delay(d, s.closing)
	s.mu.Lock()
}

// part is the part of a flight that goes to one shard, in one script call.
type part struct {
	shard   *Shard
	entries []*gateway.Entry
	data    []byte
	append  uint64 // the number of the append
	again   bool   // worth another try if Redis is away
	source  bool   // the server does not know the script yet
	known   int64  // highest number of the shard that this process knows of
	err     error
	answer  [5]int64 // of appendScript
}

// commit sends a flight and tells those who wait for it.
func (s *Stream) commit(f *flight) {
	parts := s.partition(f)
	s.send(parts)

	errs := make(map[int]error)
	away := 0 // parts for which there was no Redis
	var refused []*flight
	s.mu.Lock()
	s.waitingBytes -= f.bytes
	s.crowd.leave(len(f.entries))
	for _, p := range parts {
		p.shard.down = nil
		switch {
		case p.err == nil:
			p.shard.taken(p)
		case isScriptError(p.err, wordFull):
			errs[p.shard.index] = errFull()
		default:
			p.err = fmt.Errorf("append to %s: %w", p.shard.name, p.err)
			errs[p.shard.index] = errAway(p.err)
			p.shard.fail(p.err)
			if isTemporary(p.err) {
				away++
			}
		}
		if cap(p.data) > 4*groupBytes {
			s.bufs[p.shard.index] = nil
		}
	}
	if away == len(parts) {
		// The others would find the same, and those who queue have waited long
		// enough to be told.
		for _, sh := range s.shards {
			sh.fail(parts[0].err)
		}
		refused, s.flights = s.flights, nil
		for _, r := range refused {
			s.waitingBytes -= r.bytes
			s.crowd.leave(len(r.entries))
		}
	}
	s.mu.Unlock()
	f.errs = errs
	close(f.done)
	for _, r := range refused {
		r.errs = make(map[int]error)
		for _, i := range r.shards {
			r.errs[i] = errAway(parts[0].err)
		}
		close(r.done)
	}
}

// fail makes Append refuse entries of the shard for a while. The caller holds
// Stream.mu.
func (sh *Shard) fail(err error) {
	sh.down, sh.downUntil = err, time.Now().Add(downPause)
}

// partition packs a flight by shard.
func (s *Stream) partition(f *flight) []*part {
	var parts []*part
	index := make(map[int]*part, len(s.shards))
	for i, e := range f.entries {
		p := index[f.shards[i]]
		if p == nil {
			p = &part{shard: s.shards[f.shards[i]]}
			index[f.shards[i]] = p
			parts = append(parts, p)
		}
		p.entries = append(p.entries, e)
	}
	s.mu.Lock()
	for _, p := range parts {
		p.again = p.shard.down == nil
		p.known = p.shard.last
	}
	s.mu.Unlock()
	for _, p := range parts {
		i := p.shard.index
		s.bufs[i] = pack(s.bufs[i][:0], p.entries)
		p.data = s.bufs[i]
		s.appends++
		p.append = s.appends
	}
	return parts
}

// send appends each part to its shard and sets its answer or its err. A part
// whose answer was lost is sent again: the script knows it by its number.
func (s *Stream) send(parts []*part) {
	ctx, cancel := context.WithTimeout(context.Background(), s.opts.Timeout)
	defer cancel()
	pause := 10 * time.Millisecond
	for open := slices.Clone(parts); ; {
		s.sendOnce(ctx, open)
		late := false
		open = slices.DeleteFunc(open, func(p *part) bool {
			switch {
			case p.err == nil:
				return true
			case isNoScript(p.err):
				p.source = true
				return false
			case needsPreparing(p.err):
				_, err := p.shard.prepare(ctx)
				if err != nil {
					p.err = err
				}
				return err != nil
			case isTemporary(p.err) && p.again:
				late = true
				return false
			}
			return true
		})
		if len(open) == 0 || ctx.Err() != nil {
			return
		}
		if late {
			if !wait(ctx, pause) {
				return
			}
			pause = min(2*pause, 250*time.Millisecond)
		}
	}
}

// sendOnce sends parts, in one pipeline for all, or for each master where its
// replicas are to be waited for.
func (s *Stream) sendOnce(ctx context.Context, parts []*part) {
	if s.opts.Replicas == 0 {
		s.sendTo(ctx, s.client, parts)
		return
	}
	masters := make(map[redis.Cmdable][]*part)
	for _, p := range parts {
		c, err := s.masterOf(ctx, p.shard)
		if p.err = err; err == nil {
			masters[c] = append(masters[c], p)
		}
	}
	var wg sync.WaitGroup
	for c, parts := range masters {
		wg.Go(func() { s.sendTo(ctx, c, parts) })
	}
	wg.Wait()
	if slices.ContainsFunc(parts, func(p *part) bool { return p.err != nil && isTemporary(p.err) }) {
		s.reload(ctx)
	}
}

// sendTo sends parts through one client, in one pipeline.
func (s *Stream) sendTo(ctx context.Context, c redis.Cmdable, parts []*part) {
	cmds := make([]*redis.Cmd, len(parts))
	var replicas *redis.Cmd
	send := c.Pipelined
	if _, cluster := s.client.(*redis.ClusterClient); !cluster && s.opts.Replicas == 0 && len(parts) > 1 {
		// Redis takes a long pipeline in piece by piece, and syncs for each. It
		// executes a transaction when it has all of it.
		send = c.TxPipelined
	}
	_, err := send(ctx, func(pipe redis.Pipeliner) error {
		for i, p := range parts {
			script := appendScript.EvalSha
			if p.source {
				script = appendScript.Eval
			}
			cmds[i] = script(ctx, pipe, []string{p.shard.log, p.shard.state},
				s.writer, p.append, len(p.entries), p.data, s.maxPending, s.maxBytes, p.known)
		}
		if s.opts.Replicas > 0 {
			replicas = s.waitForReplicas(ctx, pipe)
		}
		return nil
	})
	var replicasErr error
	if replicas != nil {
		replicasErr = enoughReplicas(replicas, s.opts.Replicas)
	}
	for i, p := range parts {
		if p.err = cmds[i].Err(); p.err != nil {
			continue
		}
		answer, readErr := ints(cmds[i], len(p.answer))
		switch {
		case readErr != nil && err != nil:
			p.err = err // the pipeline did not get to it
		case readErr != nil:
			p.err = readErr
		case replicasErr != nil:
			p.err = replicasErr
		default:
			copy(p.answer[:], answer)
		}
	}
}

// masterOf is a client of the server that has the shard.
func (s *Stream) masterOf(ctx context.Context, sh *Shard) (redis.Cmdable, error) {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		return c.MasterForKey(ctx, sh.log)
	}
	return s.client, nil
}

// reload asks a Cluster, in the background, where the shards are now.
func (s *Stream) reload(ctx context.Context) {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		c.ReloadState(ctx)
	}
}

// waitForReplicas waits until the replicas have what was written before on the
// same connection.
func (s *Stream) waitForReplicas(ctx context.Context, p redis.Pipeliner) *redis.Cmd {
	// Less than the whole time, for the answer to come in time.
	return p.Do(ctx, "WAIT", s.opts.Replicas, (s.opts.Timeout / 2).Milliseconds())
}

// errReplicas is why something that its master has does not count.
var errReplicas = errors.New("too few replicas have it")

// enoughReplicas reads the answer to waitForReplicas.
func enoughReplicas(cmd *redis.Cmd, want int) error {
	n, err := cmd.Int64()
	if err == nil && n < int64(want) {
		err = fmt.Errorf("%d of %d: %w", n, want, errReplicas)
	}
	return err
}

// taken takes note of a part that is stored. The caller holds Stream.mu.
func (sh *Shard) taken(p *part) {
	first, last, prev, pending := p.answer[0], p.answer[1], p.answer[2], p.answer[3]
	for i, e := range p.entries {
		e.Seq = first + int64(i)
	}
	sh.last = max(sh.last, last)
	sh.pending.Store(pending)
	if !sh.owned {
		return
	}
	var bytes int64
	for _, e := range p.entries {
		bytes += memorySize(e)
	}
	s := sh.stream
	if s.localEntries+len(p.entries) > s.opts.QueueEntries || s.localBytes+bytes > s.opts.QueueBytes {
		return
	}
	s.localEntries += len(p.entries)
	s.localBytes += bytes
	sh.local = append(sh.local, localBatch{prev: prev, last: last, entries: p.entries, bytes: bytes})
}
