/*
 * Scripts that Redis runs as one step. Each begins with KEYS[1] the stream, ARGV[1] the group, ARGV[2] the consumer.
 * They touch only entries of this consumer: a process that was stopped for a while must not take back entries that
 * another member has claimed.
 */

/** ARGV: pairs of id and idle time. Sets their idle time: 0 keeps them, a long one lets other members claim them. */
export const touchScript: string = `
for i = 3, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[i + 1], 'JUSTID')
  end
end`;

/** ARGV: pairs of id and attempts. Restores the pending entries of the consumer in a group that was created again. */
export const restoreScript: string = `
for i = 3, #ARGV, 2 do
  if #redis.call('XRANGE', KEYS[1], ARGV[i], ARGV[i], 'COUNT', 1) == 1
      and #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1) == 0 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'RETRYCOUNT', ARGV[i + 1], 'FORCE', 'JUSTID')
  end
end`;

/** ARGV: ids. Claims them again; returns them with their attempts, and how many are trimmed or settled. */
export const takeScript: string = `
local taken, gone = {}, 0
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)[1]
  local entry = nil
  if pending and pending[2] == ARGV[2] then entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i])[1] end
  if entry then taken[#taken + 1] = { entry, pending[4] + 1 }
  elseif not pending or pending[2] == ARGV[2] then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    gone = gone + 1
  end
end
return { taken, gone }`;

/** ARGV: least idle time, start, count. Claims idle entries; returns the next start, the ids, how many are trimmed. */
export const claimScript: string = `
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5], 'JUSTID')
local claimed, gone = {}, reply[3] and #reply[3] or 0
for _, id in ipairs(reply[2]) do claimed[#claimed + 1] = id end
return { reply[1], claimed, gone }`;

// Redis 7 counts the entries that were ever added to a stream, and those that a group has read; 6.2 does not.
const gap = `
local function info(reply)
  local found = {}
  for i = 1, #reply, 2 do found[reply[i]] = reply[i + 1] end
  return found
end
local function before(a, b)
  local at, an = string.match(a, '(%d+)-(%d+)')
  local bt, bn = string.match(b, '(%d+)-(%d+)')
  if at ~= bt then return #at < #bt or (#at == #bt and at < bt) end
  return #an < #bn or (#an == #bn and an < bn)
end
local reply = redis.pcall('XINFO', 'STREAM', KEYS[1])
local stream = not reply.err and info(reply) or nil
local first = stream and stream['first-entry'] and stream['first-entry'][1]
local cut = stream and stream['entries-added'] and stream['entries-added'] - stream.length
local function lost(at, read)
  if not stream or not before(at, stream['last-generated-id']) or (first and not before(at, first)) then return 0 end
  if cut and read then return math.max(0, cut - read) end
  if at == '0-0' then return 0 end
  return -1
end`;

/** ARGV: count. Gives how many were cut off before the group got them (-1: maybe some), and the next entries. */
export const nextScript: string = `${gap}
local missed = 0
if stream then
  for _, one in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
    local group = info(one)
    if group.name == ARGV[1] then
      missed = lost(group['last-delivered-id'], group['entries-read'])
      if missed ~= 0 and cut then
        redis.call('XGROUP', 'SETID', KEYS[1], ARGV[1], group['last-delivered-id'], 'ENTRIESREAD', cut)
      end
    end
  end
end
local read = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', ARGV[3], 'STREAMS', KEYS[1], '>')
return { missed, read }`;

/** ARGV: nothing, the id read last, entries added up to it (-1: not known), count. As {@link nextScript}. */
export const nextOfTailScript: string = `${gap}
local position = tonumber(ARGV[3])
local missed = lost(ARGV[2], position >= 0 and position)
return { missed, redis.call('XREAD', 'COUNT', ARGV[4], 'STREAMS', KEYS[1], ARGV[2]) }`;

/** ARGV: where it begins. Makes the group, and the stream; what was cut off before is not missed by a new group. */
export const createScript: string = `${gap}
local start = ARGV[3]
local position = -1
if start == '$' then position = stream and stream['entries-added'] or 0
elseif start == '0-0' then position = ARGV[4] == 'anew' and 0 or cut or 0 end
local made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], start, 'MKSTREAM', 'ENTRIESREAD', position)
if made.err and string.find(string.lower(made.err), 'syntax') then
  made = redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], start, 'MKSTREAM')
end
return made`;

/** Deletes the consumer, unless something is pending for it: that would be lost with it. */
export const leaveScript: string = `
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end`;

/** ARGV: idle time. Deletes other consumers that have been away for so long and left nothing. */
export const tidyScript: string = `
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) and consumer.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end`;
