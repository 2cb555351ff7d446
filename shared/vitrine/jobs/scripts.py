"""The Lua scripts that read and change jobs in Redis, each atomic.

They never encode JSON: Lua's encoder turns an empty list into an object and large integers into floats. Records stay as
Python wrote them.
"""

from __future__ import annotations

from typing import Final

# KEYS: job, all jobs, unfinished, once
# ARGV: id, record, created µs, once ttl s (0: no key), job key prefix, max unfinished
# Returns the id of the new job, or of the job that the same idempotency key created before, or '' if there are too many
# unfinished jobs.
CREATE: Final = """
if tonumber(ARGV[4]) > 0 then
    local known = redis.call('GET', KEYS[4])
    if known and redis.call('EXISTS', ARGV[5] .. known) == 1 then return known end
end
if redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[6]) then return '' end
if tonumber(ARGV[4]) > 0 then redis.call('SET', KEYS[4], ARGV[1], 'EX', ARGV[4]) end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'state', 'queued', 'revision', 1, 'version', 1)
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[1])
return ARGV[1]
"""

# KEYS: job, unfinished | ARGV: revision expected, record, state, finished (0|1), id, channel
# Returns the new version; 0: another writer was first; -1: no such job.
REPLACE: Final = """
local revision = redis.call('HGET', KEYS[1], 'revision')
if not revision then return -1 end
if revision ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'record', ARGV[2], 'state', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'revision', 1)
if ARGV[4] == '1' then redis.call('ZREM', KEYS[2], ARGV[5]) end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('PUBLISH', ARGV[6], version)
return version
"""

# KEYS: all jobs, unfinished, then every key of the job, its record first | ARGV: id
# Returns 1: removed; 0: the job has not ended; -1: no such job.
DELETE: Final = """
local state = redis.call('HGET', KEYS[3], 'state')
if not state then return -1 end
if state == 'queued' or state == 'running' then return 0 end
for index = 3, #KEYS do redis.call('DEL', KEYS[index]) end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""

# A script, not a transaction: a Redis at its memory limit refuses every command in MULTI, even reads.
# KEYS: job, faults, fault_counts | Returns {the job's fields, its faults, its counts of faults}, fields as flat lists.
READ: Final = """
return {
    redis.call('HGETALL', KEYS[1]),
    redis.call('LRANGE', KEYS[2], 0, -1),
    redis.call('HGETALL', KEYS[3])
}
"""

_ADD_FAULTS = """
local function add_faults(list, counts, limit, faults, kinds)
    local seen = {}
    for _, fault in ipairs(faults) do
        local kind = cjson.decode(fault)['kind']
        local before = seen[kind] or tonumber(redis.call('HGET', counts, kind) or '0')
        if before < limit then redis.call('RPUSH', list, fault) end
        seen[kind] = before + 1
    end
    for kind, count in pairs(kinds) do redis.call('HINCRBY', counts, kind, count) end
end
"""

# KEYS: job, batches, faults, fault_counts
# ARGV: batch, outcome, done, failed, skipped, faults (JSON list of JSON), kinds (JSON object), limit of a kind, channel
# Returns {1: counted | 0: counted before | -1: the job is not running, number of finished batches}.
FINISH_BATCH: Final = (
    _ADD_FAULTS
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return {-1, redis.call('HLEN', KEYS[2])} end
if redis.call('HSETNX', KEYS[2], ARGV[1], ARGV[2]) == 0 then return {0, redis.call('HLEN', KEYS[2])} end
redis.call('HINCRBY', KEYS[1], 'done', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'failed', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'skipped', ARGV[5])
add_faults(KEYS[3], KEYS[4], tonumber(ARGV[8]), cjson.decode(ARGV[6]), cjson.decode(ARGV[7]))
redis.call('PUBLISH', ARGV[9], redis.call('HINCRBY', KEYS[1], 'version', 1))
return {1, redis.call('HLEN', KEYS[2])}
"""
)

# KEYS: job, sources, faults, fault_counts | ARGV: source, faults, kinds, limit of a kind, channel
# Returns 1: counted; 0: not counted.
NOTE_FAULTS: Final = (
    _ADD_FAULTS
    + """
if redis.call('HGET', KEYS[1], 'state') ~= 'running' then return 0 end
if redis.call('SADD', KEYS[2], ARGV[1]) == 0 then return 0 end
add_faults(KEYS[3], KEYS[4], tonumber(ARGV[4]), cjson.decode(ARGV[2]), cjson.decode(ARGV[3]))
redis.call('PUBLISH', ARGV[5], redis.call('HINCRBY', KEYS[1], 'version', 1))
return 1
"""
)

_NOW_MS = """
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
"""

# A lease is a member of a sorted set, whose score is the millisecond it expires, and a token in a hash. The time is
# Redis's own, so the clocks of the workers need not agree.
# KEYS: leases, tokens, deferred, job | ARGV: step, ttl ms | Returns the token, or 0 if another worker holds it.
ACQUIRE: Final = (
    _NOW_MS
    + """
if redis.call('EXISTS', KEYS[4]) == 0 then return 0 end
local ends_ms = redis.call('ZSCORE', KEYS[1], ARGV[1])
if ends_ms and tonumber(ends_ms) > now_ms then return 0 end
redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
return redis.call('HINCRBY', KEYS[2], ARGV[1], 1)
"""
)

# KEYS: leases, tokens | ARGV: step, token, ttl ms | Returns 1, or 0 if another worker has taken it.
RENEW: Final = (
    _NOW_MS
    + """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[3]), ARGV[1])
return 1
"""
)

# KEYS: leases, tokens | ARGV: step, token
RELEASE: Final = """
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('ZREM', KEYS[1], ARGV[1])
"""

# KEYS: leases | Returns the held steps.
HELD: Final = _NOW_MS + "return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now_ms, '+inf')"

# `retries` has per failed step "tries:own tries:ms of the first failure:name=count of the dependency that was away".
# KEYS: deferred, retries, job, working | ARGV: step, delay ms, dependency that was away or '', 1 if the step's own
# Returns {failures in a row, own failures among them, ms since the first}, or zeros if the job is gone.
DEFER: Final = (
    _NOW_MS
    + """
if redis.call('EXISTS', KEYS[3]) == 0 then return {0, 0, 0} end
local tries, own, since_ms, seen = 0, 0, now_ms, nil
local before = redis.call('HGET', KEYS[2], ARGV[1])
if before then
    local b_tries, b_own, b_since, b_seen = string.match(before, '^(%d+):(%d+):(%d+):(.*)$')
    if b_tries then tries, own, since_ms, seen = tonumber(b_tries), tonumber(b_own), tonumber(b_since), b_seen end
end
local working = seen or ''
if ARGV[3] ~= '' then
    working = ARGV[3] .. '=' .. (redis.call('HGET', KEYS[4], ARGV[3]) or '0')
    local same = seen and string.sub(seen, 1, #ARGV[3] + 1) == ARGV[3] .. '='
    if same and seen ~= working then own = own + 1 end
elseif ARGV[4] == '1' then
    own = own + 1
end
tries = tries + 1
redis.call('HSET', KEYS[2], ARGV[1], string.format('%d:%d:%.0f:%s', tries, own, since_ms, working))
redis.call('ZADD', KEYS[1], now_ms + tonumber(ARGV[2]), ARGV[1])
return {tries, own, now_ms - since_ms}
"""
)

# KEYS: crashes, job | ARGV: step | Returns the tries that have not ended, including this one; 1 if the job is gone.
BEGIN: Final = """
if redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
return redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
"""

# KEYS: crashes | ARGV: step
END: Final = """
local count = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if count > 1 then return redis.call('HINCRBY', KEYS[1], ARGV[1], -1) end
return redis.call('HDEL', KEYS[1], ARGV[1])
"""

# KEYS: crashes | ARGV: step
RESET: Final = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then redis.call('HSET', KEYS[1], ARGV[1], 1) end
"""
