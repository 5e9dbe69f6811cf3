/*
 * What has to happen in one step. Each begins with KEYS[1] the stream, ARGV[1] the group, ARGV[2] the consumer. Only what the consumer still owns is
 * touched: a process that was stopped for a while must not take back what another has in hand.
 */

/** ARGV: pairs of id and idle time. Sets how long they count as untouched: 0 keeps them, much gives them away. */
export const touchScript = `
for i = 3, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i], 'IDLE', ARGV[i + 1], 'JUSTID')
  end
end`;

/** ARGV: ids. Hands them out once more, and gives them with the number of times that has happened. */
export const takeScript = `
local taken = {}
for i = 3, #ARGV do
  local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2])
  if #pending == 1 then
    local entry = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[i])[1]
    if entry then taken[#taken + 1] = { entry, pending[1][4] + 1 } end
  end
end
return taken`;

/** ARGV: least idle time, start, count. Takes over what nobody has touched for so long. */
export const claimScript = `
local reply = redis.call('XAUTOCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], 'COUNT', ARGV[5])
local claimed = {}
for _, entry in ipairs(reply[2]) do
  if entry then
    local pending = redis.call('XPENDING', KEYS[1], ARGV[1], entry[1], entry[1], 1, ARGV[2])
    claimed[#claimed + 1] = { entry, pending[1] and pending[1][4] or 1 }
  end
end
return { reply[1], claimed, reply[3] and #reply[3] or 0 }`;

/** Deletes the consumer, unless something is pending for it: that would be lost with it. */
export const leaveScript = `
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
end`;

/** ARGV: idle time. Deletes other consumers that have been away for so long and left nothing. */
export const tidyScript = `
for _, info in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local consumer = {}
  for i = 1, #info, 2 do consumer[info[i]] = info[i + 1] end
  if consumer.pending == 0 and consumer.idle > tonumber(ARGV[3]) and consumer.name ~= ARGV[2] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], consumer.name)
  end
end`;
