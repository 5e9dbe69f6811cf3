import { afterEach, describe, expect, it } from '@jest/globals';

import { bearerToken } from '../../src/client/credentials.ts';
import { RpcClient } from '../../src/client/rpc-client.ts';
import { MemoryBroker, MemoryHub } from '../../src/broker/memory.ts';
import { RedisBroker } from '../../src/broker/redis.ts';
import { RedisStreamsBroker } from '../../src/broker/redis-streams.ts';
import { aCount, checkedOptions } from '../../src/errors/checked-options.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import {
  bulkhead,
  circuitBreaker,
  hedge,
  rateLimit,
  retry,
  RetryBudget,
  timeout,
} from '../../src/interceptors/interceptors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MdnsRegistry } from '../../src/registry/mdns.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { RandomSelector } from '../../src/selector/random.ts';
import { RoundRobinSelector } from '../../src/selector/round-robin.ts';
import { memoryParts, method, serveRaw } from '../../src/testing/internal/parts.ts';
import { GrpcTransport } from '../../src/transport/grpc.ts';
import { GrpcJsTransport } from '../../src/transport/grpc-js.ts';
import { MemoryTransport } from '../../src/transport/memory.ts';
import { TcpTransport } from '../../src/transport/tcp.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { UnixTransport } from '../../src/transport/unix.ts';

type Make = (options: never) => unknown;

function clientOf(transport: Transport, options: object = {}) {
  const parts = memoryParts({ transport });
  const { selector, broker, marshaler, marshalers, runtime, logger } = parts;
  const { clock, random, timers } = runtime;
  const client = new RpcClient(
    transport,
    selector,
    broker,
    marshaler,
    marshalers,
    clock,
    random,
    timers,
    logger,
    options,
  );
  return { parts, client };
}

const { registry } = memoryParts();
const owners: Readonly<Record<string, readonly [name: string, make: Make]>> = {
  GrpcTransport: ['idleMs', (options) => new GrpcTransport(options)],
  GrpcJsTransport: ['maxReconnectMs', (options) => new GrpcJsTransport(options)],
  TcpTransport: ['windowBytes', (options) => new TcpTransport(options)],
  UnixTransport: ['maxCalls', (options) => new UnixTransport(options)],
  RpcClient: ['timeoutMs', (options) => clientOf(new MemoryTransport(), options)],
  'RpcClient.init': ['maxAttempts', (options) => clientOf(new MemoryTransport()).client.init(options)],
  RandomSelector: ['ejectMs', (options) => new RandomSelector(registry).init(options)],
  RoundRobinSelector: ['ejectAfter', (options) => new RoundRobinSelector(registry).init(options)],
  CachedRegistry: ['ttlMs', (options) => new CachedRegistry(registry, options)],
  MdnsRegistry: ['queryMs', (options) => new MdnsRegistry(options)],
  RedisRegistry: ['timeoutMs', (options) => new RedisRegistry(options)],
  MemoryBroker: ['watchLag', (options) => new MemoryBroker(options)],
  MemoryHub: ['maxQueued', (options) => new MemoryHub(options)],
  RedisBroker: ['maxBacklog', (options) => new RedisBroker(options)],
  RedisStreamsBroker: ['claimIdleMs', (options) => new RedisStreamsBroker(options)],
  bearerToken: ['earlyMs', (options) => bearerToken('t', options)],
  RetryBudget: ['tokenRatio', (options) => new RetryBudget(options)],
  retry: ['maxBackoffMs', (options) => retry(options)],
  hedge: ['delayMs', (options) => hedge(options)],
  rateLimit: ['perSecond', (options) => rateLimit(options)],
  circuitBreaker: ['windowMs', (options) => circuitBreaker(options)],
  bulkhead: ['maxConcurrent', (options) => bulkhead(options)],
  timeout: ['timeoutMs', (options) => timeout(options)],
};

describe.each(Object.keys(owners))('an option of %s that is not a number', (owner) => {
  it.each([Number.NaN, -1, '5', {}])('is refused by its name when the owner is made: %p', (value) => {
    const [name, make] = owners[owner]!;
    let thrown: unknown;
    try {
      make({ [name]: value } as never);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: Code.InvalidArgument, reason: 'options.invalid_number' });
    expect(TenonError.from(thrown).message).toContain(name);
  });
});

describe('checkedOptions', () => {
  it('accepts absent options, and refuses wrong numbers and an infinite count by their names', () => {
    const options = { idleMs: undefined, maxReceiveBytes: Number.POSITIVE_INFINITY, name: 'x', graceMs: 0 };
    expect(checkedOptions('Some', options)).toBe(options);
    expect(() => checkedOptions('Some', { maxCalls: Number.POSITIVE_INFINITY }, { maxCalls: aCount })).toThrow(
      'Some.maxCalls is Infinity: give a whole number of at least 1',
    );
    expect(() => checkedOptions('Some', { ratio: 1.5 }, { ratio: { max: 1 } })).toThrow(
      'Some.ratio is 1.5: give a number of at least 0, up to 1',
    );
    expect(() => checkedOptions('Some', { idleMs: '5' })).toThrow('Some.idleMs is "5", no number');
  });
});

describe.each(
  Object.entries({ memory: MemoryTransport, grpc: GrpcTransport, 'grpc-js': GrpcJsTransport, tcp: TcpTransport }),
)('timeoutMs of a call over %s', (_name, Transport) => {
  const echo = method('Echo');
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0)) await end();
  });

  it.each([Number.NaN, -5, '500'])('fails the call with INVALID_ARGUMENT, and sends nothing: %p', async (timeoutMs) => {
    const { parts, client } = clientOf(new Transport());
    let taken = 0;
    const listener = await serveRaw(parts, [echo], () => (taken += 1));
    ends.push(
      () => parts.transport.close(),
      () => listener.close(),
    );
    const call = (async () => client.method(echo, 'suite')({}, { timeoutMs: timeoutMs as number }))();
    await expect(call).rejects.toMatchObject({
      code: Code.InvalidArgument,
      reason: 'options.invalid_number',
      message: expect.stringContaining('timeoutMs is'),
    });
    expect(taken).toBe(0);
  });
});

describe('a password with a % in the address of a Redis', () => {
  it.each([
    ['registry', (address: string) => new RedisRegistry({ address })],
    ['broker', (address: string) => new RedisBroker({ address })],
    ['streams', (address: string) => new RedisStreamsBroker({ address })],
  ])('is refused with the advice to percent-encode it, and is not shown: %s', (_name, make) => {
    for (const password of ['se%cret', 'se%ffcret']) {
      let message = '';
      try {
        make(`redis://ada:${password}@127.0.0.1:6379/0`);
      } catch (error) {
        message = TenonError.from(error).message;
        expect(error).toMatchObject({ code: Code.InvalidArgument });
      }
      expect(message).toContain('a % in it as %25');
      expect(message).not.toContain('cret');
    }
  });
});
