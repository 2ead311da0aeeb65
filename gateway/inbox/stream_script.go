package inbox

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// What Redis holds of a stream inbox, with the default prefix "civgate" and
// shard 7. All keys of a shard have one hash tag, so that a script finds them on
// one node of a Cluster.
//
//	{civgate:inbox}:shards    how many shards there are, for good
//	{civgate:inbox}:nodes     sorted set of the nodes that apply, by when they
//	                          count as gone (milliseconds)
//	{civgate:inbox:7}:log     stream of batches. The id is <last>-<count>: the number
//	                          of its last entry, and how many it has. Fields: d, the packed
//	                          batch (see pack.go); n and b, how many entries
//	                          and bytes of d the shard had taken before it
//	{civgate:inbox:7}:state   hash: last (the number given out last), n and b (entries
//	                          and bytes ever taken), dn and db (those of them that are
//	                          gone), for each writer w:<id>, its last append, and again,
//	                          mark and probe, which are written to be written
//	{civgate:inbox:7}:owner   the lease: the id of the node that applies the shard
//	{civgate:inbox:7}:dead    stream of what could not be read: id (as it was in log),
//	                          why, d (its fields)
//
// Numbers are microseconds of the Redis server's clock or more, see Decisions.
// Lua counts in float64, which is exact up to 2^53: the year 2255.

// maxSeq is the highest number that scripts can count with.
const maxSeq = 1<<53 - 1

// The errors that the scripts return, by their first word.
const (
	wordFull  = "CGFULL"  // the shard's bound is reached
	wordEmpty = "CGEMPTY" // the shard has no state: it is new, or Redis was emptied
	wordStale = "CGSTALE" // the writer has sent a later append already
)

// appendScript takes a batch in, or finds that it has been taken in before.
//
// KEYS log, state
// ARGV writer's field, number of the append (rising for each writer), entries,
// the packed batch, bounds of entries and bytes, the highest number that
// the writer knows of
//
// It returns the number of the first and of the last entry, the number that had
// been given out before, and how many entries and bytes wait now.
var appendScript = redis.NewScript(`
local s = redis.call('HMGET', KEYS[2], 'last', 'n', 'b', 'dn', 'db', ARGV[1])
if not s[1] then
  return redis.error_reply('CGEMPTY the shard has no state')
end
local last, n, b = tonumber(s[1]), tonumber(s[2]), tonumber(s[3])
local dn, db = tonumber(s[4]), tonumber(s[5])
local append, count, bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), #ARGV[4]
if s[6] then
  local a, f, l, p = string.match(s[6], '^(%d+) (%d+) (%d+) (%d+)$')
  if tonumber(a) > append then
    return redis.error_reply('CGSTALE a later append came first')
  end
  if tonumber(a) == append then
    -- a write for WAIT to wait for
    redis.call('HSET', KEYS[2], 'again', ARGV[2])
    return {tonumber(f), tonumber(l), tonumber(p), n - dn, b - db}
  end
end
if n - dn + count > tonumber(ARGV[5]) or b - db + bytes > tonumber(ARGV[6]) then
  return redis.error_reply('CGFULL too much waits in the shard')
end
local t = redis.call('TIME')
local f = math.max(last + 1, tonumber(ARGV[7]) + 1, tonumber(t[1]) * 1000000 + tonumber(t[2]))
local l = f + count - 1
local function s0(x) return string.format('%.0f', x) end
redis.call('XADD', KEYS[1], s0(l) .. '-' .. s0(count), 'n', s0(n), 'b', s0(b), 'd', ARGV[4])
redis.call('HSET', KEYS[2], 'last', s0(l), 'n', s0(n + count), 'b', s0(b + bytes),
  ARGV[1], ARGV[2] .. ' ' .. s0(f) .. ' ' .. s0(l) .. ' ' .. s0(last))
return {f, l, last, n + count - dn, b + bytes - db}
`)

// prepareScript gives a shard its state if it has none, and makes sure that
// the numbers to come are above a floor. It forgets writers that have been quiet
// for an hour.
//
// KEYS log, state
// ARGV floor
var prepareScript = redis.NewScript(`
local function s0(x) return string.format('%.0f', x) end
local floor = tonumber(ARGV[1])
local x = redis.pcall('XINFO', 'STREAM', KEYS[1])
local info = {}
if not x.err then
  for i = 1, #x, 2 do info[x[i]] = x[i + 1] end
  floor = math.max(floor, tonumber(string.match(info['last-generated-id'], '^(%d+)')))
end
local last = redis.call('HGET', KEYS[2], 'last')
if not last then
  local function totals(entry)
    local f = {}
    for i = 1, #entry[2], 2 do f[entry[2][i]] = entry[2][i + 1] end
    local count = tonumber(string.match(entry[1], '(%d+)$'))
    return tonumber(f['n'] or 0) or 0, tonumber(f['b'] or 0) or 0, count, #(f['d'] or '')
  end
  local n, b, dn, db = 0, 0, 0, 0
  if info['first-entry'] then
    dn, db = totals(info['first-entry'])
    local count, bytes
    n, b, count, bytes = totals(info['last-entry'])
    n, b = n + count, b + bytes
  end
  redis.call('HSET', KEYS[2], 'last', s0(floor), 'n', s0(n), 'b', s0(b), 'dn', s0(dn), 'db', s0(db))
  return floor
end
last = tonumber(last)
local t = redis.call('TIME')
local old = (tonumber(t[1]) - 3600) * 1000000
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 2) == 'w:' then
    local l = string.match(all[i + 1], '^%d+ %d+ (%d+)')
    if not l or tonumber(l) < old then redis.call('HDEL', KEYS[2], all[i]) end
  end
end
if floor > last then
  redis.call('HSET', KEYS[2], 'last', s0(floor))
  return floor
end
return last
`)

// markScript writes something, for WAIT to wait for, and returns the number
// given out last.
//
// KEYS state
var markScript = redis.NewScript(`
redis.call('HINCRBY', KEYS[1], 'mark', 1)
return tonumber(redis.call('HGET', KEYS[1], 'last') or 0)
`)

// trimScript deletes the batches that end before a number, and counts anew what
// is gone. It works while Redis is at its memory limit: the first write of
// a script decides, and XTRIM is allowed.
//
// KEYS log, state
// ARGV number
//
// It returns how many entries and bytes wait now.
var trimScript = redis.NewScript(`
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[1] .. '-0')
local s = redis.call('HMGET', KEYS[2], 'n', 'b')
if not s[1] then return {0, 0} end
local dn, db = s[1], s[2]
local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
if first then
  for i = 1, #first[2], 2 do
    -- what is no number is no batch, and will be set aside
    if first[2][i] == 'n' and tonumber(first[2][i + 1]) then dn = first[2][i + 1] end
    if first[2][i] == 'b' and tonumber(first[2][i + 1]) then db = first[2][i + 1] end
  end
end
redis.call('HSET', KEYS[2], 'dn', dn, 'db', db)
return {tonumber(s[1]) - tonumber(dn), tonumber(s[2]) - tonumber(db)}
`)

// The scripts of leases begin with a write that is allowed at the memory limit,
// like trimScript: somebody has to be able to make room.

// takeScript takes a lease that nobody else holds.
//
// KEYS owner
// ARGV node, milliseconds
var takeScript = redis.NewScript(`
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// renewScript renews a lease that the node still holds.
//
// KEYS owner
// ARGV node, milliseconds
var renewScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

// leaveScript gives a lease back.
//
// KEYS owner
// ARGV node
var leaveScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)

// nodesScript says that the node lives and returns all that do, sorted.
//
// KEYS nodes
// ARGV node, milliseconds
var nodesScript = redis.NewScript(`
local t = redis.call('TIME')
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[2])), ARGV[1])
local all = redis.call('ZRANGE', KEYS[1], 0, -1)
table.sort(all)
return all
`)

// refuseScript moves a batch that can't be read to the dead letters, once.
//
// KEYS log, dead
// ARGV id, why, fields
var refuseScript = redis.NewScript(`
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], '*', 'id', ARGV[1], 'why', ARGV[2], 'd', ARGV[3])
return 1
`)

// runScript runs a script on its own. With a pipeline, see Stream.send.
func runScript(ctx context.Context, c redis.Scripter, script *redis.Script, keys []string, args ...any) *redis.Cmd {
	return script.Run(ctx, c, keys, args...)
}

// isNoScript says that Redis did not run a script because it doesn't know it.
func isNoScript(err error) bool { return redis.HasErrorPrefix(err, "NOSCRIPT") }

// isScriptError says that err is one of the scripts' own.
func isScriptError(err error, word string) bool {
	return err != nil && strings.HasPrefix(err.Error(), word)
}

// needsPreparing says that a shard's state is missing or behind its stream.
func needsPreparing(err error) bool {
	return isScriptError(err, wordEmpty) || err != nil && strings.Contains(err.Error(), "specified in XADD is equal or smaller")
}

// isTemporary says of an error that trying again soon may help: Redis can't be
// reached, or is about to be ready. What was sent may have been done.
func isTemporary(err error) bool {
	if errors.Is(err, errReplicas) {
		return true
	}
	var answer redis.Error
	if !errors.As(err, &answer) {
		return true // no answer: dial, read, write, time-out, pool
	}
	for _, word := range []string{"LOADING", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "MOVED", "ASK", "NOREPLICAS", "BUSY", "UNBLOCKED", "EXECABORT"} {
		if redis.HasErrorPrefix(err, word) {
			return true
		}
	}
	return redis.IsMaxClientsError(err)
}

// ints reads an answer of n integers.
func ints(cmd *redis.Cmd, n int) ([]int64, error) {
	got, err := cmd.Int64Slice()
	if err == nil && len(got) != n {
		err = fmt.Errorf("redis answered %d numbers, not %d", len(got), n)
	}
	return got, err
}
