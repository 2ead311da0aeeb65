package cache

import (
	"context"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"civgate/gateway"
)

// seenTime is how long a message id is kept.
const seenTime = 10 * time.Minute

// Seen reports which of ids some node has told SawAll of in the last ten
// minutes, in one pipelined round trip; false when in doubt. True means that
// the message was applied and committed. It can save work and must not replace
// the store's own memory (Tx.ClaimMessages), which is longer and certain.
func (r *Redis) Seen(ctx context.Context, w gateway.WorkspaceID, ids []gateway.MessageID) []bool {
	seen := make([]bool, len(ids))
	if len(ids) == 0 || !r.circuit.closed() {
		return seen
	}
	ctx, cancel := r.bound(ctx, len(ids))
	defer cancel()
	cmds := make([]redis.Cmder, len(ids))
	for i := range ids {
		cmds[i] = redis.NewIntCmd(ctx, "exists", r.messageKey(w, &ids[i]))
	}
	_ = r.do(ctx, cmds) // what got no answer says so itself
	for i, c := range cmds {
		n, err := c.(*redis.IntCmd).Result()
		seen[i] = err == nil && n > 0
	}
	return seen
}

// SawAll tells the other nodes of messages whose effects are committed. An id
// takes Redis some 100 bytes for ten minutes: 60 KB for each message a second.
func (r *Redis) SawAll(ctx context.Context, w gateway.WorkspaceID, ids []gateway.MessageID) {
	if len(ids) == 0 || !r.circuit.closed() {
		return
	}
	ctx, cancel := r.bound(ctx, len(ids))
	defer cancel()
	cmds := make([]redis.Cmder, len(ids))
	for i := range ids {
		cmds[i] = redis.NewStatusCmd(ctx, "set", r.messageKey(w, &ids[i]), "", "px", seenTime.Milliseconds())
	}
	_ = r.do(ctx, cmds)
}

func (r *Redis) messageKey(w gateway.WorkspaceID, id *gateway.MessageID) string {
	b := make([]byte, 0, len(r.opt.Prefix)+64)
	b = append(b, r.opt.Prefix...)
	b = append(b, "message:{"...)
	b = strconv.AppendInt(b, int64(w), 10)
	b = append(b, ':')
	b = hex.AppendEncode(b, id[:])
	return string(append(b, '}'))
}
