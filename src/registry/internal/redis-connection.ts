import { Redis } from 'ioredis';

import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';

/** A connection that comes back by itself, whose commands fail instead of waiting for that. It never throws `error` events at the process. */
export function openRedis(client: Redis | undefined, address: string, timeoutMs: number, random: () => number): Redis {
  const options = {
    connectTimeout: timeoutMs,
    // Commands wait for the attempt to connect that is under way, and fail with it.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    disconnectTimeout: 100,
    retryStrategy: (attempt: number) => backoffMs(attempt, random, { initialMs: 50, maxMs: 1_000 }),
  };
  const redis = client
    ? client.duplicate(options)
    : /^rediss?:\/\//.test(address)
      ? new Redis(address, options)
      : new Redis({ ...options, ...hostAndPort(address) });
  // Every command reports its own failure; without a listener ioredis writes to the console.
  redis.on('error', () => {});
  return redis;
}

/** What an error of ioredis means: a reply of Redis is one thing, a Redis that does not reply another. */
export function redisFailure(what: string, address: string, error: unknown): TenonError {
  if (TenonError.is(error)) return error;
  const shown = address.replace(/\/\/.*@/, '//…@');
  if (error instanceof Error && error.name === 'ReplyError') {
    const isDenied = /^(NOAUTH|WRONGPASS|NOPERM)/.test(error.message);
    return new TenonError({
      code: isDenied ? Code.PermissionDenied : Code.Internal,
      reason: 'registry.refused',
      message: `${what}: the redis registry at ${shown} refused: ${error.message}`,
      cause: error,
    });
  }
  return new TenonError({
    code: Code.Unavailable,
    reason: 'registry.unreachable',
    message: `${what}: the redis registry at ${shown} cannot be reached (${textOf(error)}): is Redis running there? TENON_REGISTRY_ADDRESS says where to look`,
    cause: error,
  });
}

function hostAndPort(address: string): { host: string; port: number } {
  const match = /^(\[[^\]]+\]|[^:]+)(?::(\d+))?$/.exec(address.trim());
  if (!match) {
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'registry.invalid_address',
      message: `"${address}" is not the address of a Redis: write host:port or redis://host:port`,
    });
  }
  return { host: (match[1] as string).replace(/^\[|\]$/g, ''), port: Number(match[2] ?? 6379) };
}
