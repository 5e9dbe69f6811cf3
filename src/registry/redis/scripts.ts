/*
 * Scripts that Redis runs as one step. A node has its own key, which expires with its lease. The index of a service has
 * its nodes' ids, the index of all has the services' names, each with its time of expiry, so that reading scans
 * nothing. Every change has a number, and is published with it: a reader knows which changes its read contains.
 */

const nowMs = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

// Redis may lose the number of changes with its data. It then restarts at the time of the clock, which is above all
// earlier numbers.
const nextRevision = `
local function nextRevision(key)
  redis.call('SET', key, string.format('%.0f', now), 'NX')
  return redis.call('INCR', key)
end
`;

// True for the record of a process at another address than those of the caller, who has registered the node before, at
// `own`: of two processes with one id the last that registered has it. A record that is broken is nobody's.
const isElsewhere = `
local function isElsewhere(record, own, new)
  local isRead, address = pcall(function() return cjson.decode(record).nodes[1].address end)
  return own ~= '' and isRead and type(address) == 'string' and address ~= own and address ~= new
end
`;

/**
 * KEYS: node, index of the service, index of services, revision. ARGV: id, service, channel, the address of the node
 * until now (empty if the caller has not registered it), record, lease in milliseconds, address. The same record again
 * is a renewal, which is not published, unless the record had expired. Gives `create`, `update`, `renew`, or `taken` if
 * nothing was done.
 */
export const registerScript: string = `${nowMs}${nextRevision}${isElsewhere}
local lapses = now + tonumber(ARGV[6])
local before = redis.call('ZSCORE', KEYS[2], ARGV[1]) and redis.pcall('GET', KEYS[1])
if before ~= ARGV[5] and isElsewhere(before, ARGV[4], ARGV[7]) then return 'taken' end
redis.call('SET', KEYS[1], ARGV[5], 'PX', ARGV[6])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], lapses, ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
redis.call('PEXPIREAT', KEYS[2], last)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
redis.call('ZADD', KEYS[3], last, ARGV[2])
if before == ARGV[5] then return 'renew' end
local action = type(before) == 'string' and 'update' or 'create'
redis.call('PUBLISH', ARGV[3], nextRevision(KEYS[4]) .. ' ' .. ARGV[6] .. ' ' .. action .. ' ' .. ARGV[5])
return action`;

/** KEYS and ARGV: as the first four above. */
export const deregisterScript: string = `${nowMs}${nextRevision}${isElsewhere}
local before = redis.pcall('GET', KEYS[1])
if isElsewhere(before, ARGV[4]) then return end
redis.call('DEL', KEYS[1])
redis.call('ZREM', KEYS[2], ARGV[1])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
if last then
  redis.call('PEXPIREAT', KEYS[2], last)
  redis.call('ZADD', KEYS[3], last, ARGV[2])
else
  redis.call('ZREM', KEYS[3], ARGV[2])
end
if type(before) == 'string' then
  redis.call('PUBLISH', ARGV[3], nextRevision(KEYS[4]) .. ' 0 delete ' .. before)
end`;

/**
 * KEYS: index of the service, revision. ARGV: what the keys of its nodes begin with, and how many bytes a record may
 * have. Gives the revision, then id, record and lease of each node; the record of a key that holds something else, or
 * too much, is empty.
 */
export const readScript: string = `
local found = { redis.call('GET', KEYS[2]) or '0' }
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local key = ARGV[1] .. id
  local length = redis.pcall('STRLEN', key)
  local isRecord = type(length) == 'number' and length <= tonumber(ARGV[2])
  if length ~= 0 then
    found[#found + 1] = id
    found[#found + 1] = isRecord and redis.call('GET', key) or ''
    found[#found + 1] = redis.call('PTTL', key)
  end
end
return found`;

/** KEYS: index of services. */
export const namesScript: string = `${nowMs}
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')`;
