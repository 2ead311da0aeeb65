package inbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// ShardStatus is what waits in a shard.
type ShardStatus struct {
	Name     string    // of the shard, and of its position in the store
	Pending  int64     // entries that wait, counting whole batches
	Bytes    int64     // packed bytes of the batches that they are in
	Oldest   time.Time // when the oldest of them was accepted; zero if none waits
	Position int64     // number up to which the store has applied the shard
	Last     int64     // number given out last
	Owner    string    // node that applies the shard, with the id of its process; "" if none
	Refused  int64     // dead letters
}

// Waiting tells what waits in each shard.
func (s *Stream) Waiting(ctx context.Context) ([]ShardStatus, error) {
	all := make([]ShardStatus, 0, len(s.shards))
	for _, sh := range s.shards {
		st, err := sh.status(ctx)
		if err != nil {
			return nil, errAway(fmt.Errorf("look at %s: %w", sh.name, err))
		}
		all = append(all, st)
	}
	return all, nil
}

func (sh *Shard) status(ctx context.Context) (ShardStatus, error) {
	s := sh.stream
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	st := ShardStatus{Name: sh.name}
	var err error
	if st.Position, err = s.opts.Position(ctx, sh.name); err != nil {
		return st, err
	}
	var (
		state  *redis.SliceCmd
		first  *redis.XMessageSliceCmd
		owner  *redis.StringCmd
		letter *redis.IntCmd
	)
	_, err = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		state = p.HMGet(ctx, sh.state, "last", "n", "b", "dn", "db")
		first = p.XRangeN(ctx, sh.log, strconv.FormatInt(st.Position+1, 10)+"-0", "+", 1)
		owner = p.Get(ctx, sh.owner)
		letter = p.XLen(ctx, sh.dead)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return st, err
	}
	if err := errors.Join(state.Err(), first.Err(), letter.Err()); err != nil {
		return st, err
	}
	var n [5]int64
	for i, v := range state.Val() {
		text, _ := v.(string)
		n[i], _ = strconv.ParseInt(text, 10, 64) // none: an emptied Redis
	}
	st.Last, st.Pending, st.Bytes = n[0], n[1]-n[3], n[2]-n[4]
	st.Owner, st.Refused = owner.Val(), letter.Val()
	if len(first.Val()) == 0 {
		st.Pending, st.Bytes = 0, 0 // what is left is applied
		return st, nil
	}
	if entries, _, err := readBatch(first.Val()[0]); err == nil {
		for _, e := range entries {
			if e.Seq > st.Position {
				st.Oldest = e.At
				break
			}
		}
	}
	return st, nil
}

// DeadLetter is something in a shard that could not be read as a batch of
// entries.
type DeadLetter struct {
	ID     string // for Replay and Drop
	Shard  string
	At     time.Time         // when it was set aside
	Source string            // id that it had in the shard
	Reason string            // why it could not be read
	Fields map[string][]byte // what it held
}

// DeadLetters lists what could not be read, oldest first within each shard, at
// most limit. They stay until they are replayed or dropped, and count for no bound. Payloads that could be read but not applied are not here: they are
// in the store's quarantine.
func (s *Stream) DeadLetters(ctx context.Context, limit int) ([]DeadLetter, error) {
	var all []DeadLetter
	for _, sh := range s.shards {
		if len(all) >= limit {
			break
		}
		letters, err := sh.letters(ctx, "-", limit-len(all))
		if err != nil {
			return nil, err
		}
		all = append(all, letters...)
	}
	return all, nil
}

// letters returns up to limit dead letters from an id on.
func (sh *Shard) letters(ctx context.Context, from string, limit int) ([]DeadLetter, error) {
	s := sh.stream
	ctx, cancel := context.WithTimeout(ctx, s.opts.Timeout)
	defer cancel()
	messages, err := s.client.XRangeN(ctx, sh.dead, from, "+", int64(limit)).Result()
	if err != nil {
		return nil, errAway(fmt.Errorf("list the dead letters of %s: %w", sh.name, err))
	}
	letters := make([]DeadLetter, 0, len(messages))
	for _, m := range messages {
		text := func(field string) string {
			v, _ := m.Values[field].(string)
			return v
		}
		d := DeadLetter{ID: strconv.Itoa(sh.index) + "/" + m.ID, Shard: sh.name, Source: text("id"), Reason: text("why")}
		if ms, _, ok := strings.Cut(m.ID, "-"); ok {
			n, _ := strconv.ParseInt(ms, 10, 64) // Redis made it
			d.At = time.UnixMilli(n).UTC()
		}
		if err := json.Unmarshal([]byte(text("d")), &d.Fields); err != nil {
			d.Reason += " (and what it held was lost: " + err.Error() + ")"
		}
		letters = append(letters, d)
	}
	return letters, nil
}

// letter finds a dead letter and its shard.
func (s *Stream) letter(ctx context.Context, id string) (*Shard, DeadLetter, error) {
	index, message, ok := strings.Cut(id, "/")
	i, err := strconv.Atoi(index)
	if !ok || err != nil || i < 0 || i >= len(s.shards) || !isStreamID(message) {
		return nil, DeadLetter{}, gateway.Errorf(gateway.CodeInvalid, "%.40q is no id of a dead letter; they look like 3/1700000000000-0", id)
	}
	letters, err := s.shards[i].letters(ctx, message, 1)
	if err != nil {
		return nil, DeadLetter{}, err
	}
	if len(letters) == 0 || letters[0].ID != id {
		return nil, DeadLetter{}, gateway.Errorf(gateway.CodeNotFound, "there is no dead letter %s", id)
	}
	return s.shards[i], letters[0], nil
}

func isStreamID(id string) bool {
	a, b, ok := strings.Cut(id, "-")
	_, err1 := strconv.ParseUint(a, 10, 64)
	_, err2 := strconv.ParseUint(b, 10, 64)
	return ok && err1 == nil && err2 == nil
}

// Replay appends the entries of a dead letter anew, as an inbox of this version
// reads them, and drops it. It returns how many they are. CodeConflict says
// that it still can't be read. When it is cut short between the two, the letter
// stays, and message ids keep a second Replay from having a second effect.
func (s *Stream) Replay(ctx context.Context, id string) (int, error) {
	_, d, err := s.letter(ctx, id)
	if err != nil {
		return 0, err
	}
	return s.replay(ctx, d)
}

func (s *Stream) replay(ctx context.Context, d DeadLetter) (int, error) {
	entries, _, err := readBatch(redis.XMessage{ID: d.Source, Values: map[string]any{"d": string(d.Fields["d"])}})
	if err != nil {
		return 0, &gateway.Error{Code: gateway.CodeConflict, Message: "the dead letter " + d.ID + " still can't be read: " + err.Error(), Err: err}
	}
	if err := s.Append(ctx, entries...); err != nil {
		return 0, err
	}
	return len(entries), s.Drop(ctx, d.ID)
}

// Drop deletes a dead letter.
func (s *Stream) Drop(ctx context.Context, id string) error {
	sh, _, err := s.letter(ctx, id)
	if err != nil {
		return err
	}
	return s.call(ctx, func(ctx context.Context) error {
		_, message, _ := strings.Cut(id, "/")
		if err := s.client.XDel(ctx, sh.dead, message).Err(); err != nil {
			return errAway(fmt.Errorf("drop %s: %w", id, err))
		}
		return nil
	})
}

// lettersAtOnce is how many dead letters are looked at in one step.
const lettersAtOnce = 100

// ReplayAll replays all dead letters that can be read now. It returns how many
// entries that brought back, and how many letters still can't be read and stay.
func (s *Stream) ReplayAll(ctx context.Context) (entries, left int, err error) {
	err = s.eachLetter(ctx, func(d DeadLetter) error {
		n, err := s.replay(ctx, d)
		if gateway.CodeOf(err) == gateway.CodeConflict {
			left++
			return nil
		}
		entries += n
		return err
	})
	return entries, left, err
}

// DropAll deletes all dead letters that there are, and returns how many.
func (s *Stream) DropAll(ctx context.Context) (int, error) {
	n := 0
	err := s.eachLetter(ctx, func(d DeadLetter) error {
		n++
		return s.Drop(ctx, d.ID)
	})
	return n, err
}

// eachLetter calls f for each dead letter until it fails.
func (s *Stream) eachLetter(ctx context.Context, f func(DeadLetter) error) error {
	for _, sh := range s.shards {
		for from := "-"; ; {
			letters, err := sh.letters(ctx, from, lettersAtOnce)
			if err != nil {
				return err
			}
			for _, d := range letters {
				if err := f(d); err != nil {
					return err
				}
				_, message, _ := strings.Cut(d.ID, "/")
				from = "(" + message
			}
			if len(letters) < lettersAtOnce {
				break
			}
		}
	}
	return nil
}
