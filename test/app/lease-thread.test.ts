import { pathToFileURL } from 'node:url';
import { join } from 'node:path';

import { afterEach, describe, expect, it } from '@jest/globals';

import { WorkerLeaseKeeper } from '../../src/app/internal/lease-keeper.ts';
import { LeaseThread } from '../../src/app/internal/lease-thread.ts';
import { Code, type TenonError } from '../../src/errors/errors.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { RedisRegistry } from '../../src/registry/redis.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import type { Registry } from '../../src/registry/registry.ts';
import type { Runtime } from '../../src/runtime/runtime.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import type { KeptLease, LeaseEvents } from '../../src/service/lease-keeper.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { expectNothingUncaught } from '../support/uncaught.ts';
import { eventually } from '../support/waiting.ts';

expectNothingUncaught();

const file = pathToFileURL(join(import.meta.dirname, 'programs/lease-thread.mjs'));
const record = serviceOf('greeter', [nodeOf('a')]);
const terms = { service: 'greeter', record, ttlMs: 3_000, intervalMs: 1_000, busyAfterMs: 1_000, busyMs: 12_000 };
const threads: LeaseThread[] = [];

afterEach(async () => {
  await Promise.all(threads.splice(0).map((thread) => thread.end()));
});

interface Scene {
  readonly thread: LeaseThread;
  readonly lease: KeptLease;
  readonly log: string[];
  readonly logger: RecordingLogger;
}

async function start(behaviour: string): Promise<Scene> {
  const log: string[] = [];
  const logger = new RecordingLogger();
  const onEnd = (): void => void log.push('ended');
  const options = { behaviour } as object;
  const tools = { runtime: systemRuntime, logger, busyAfterMs: 100, onEnd };
  const thread = await LeaseThread.start(file, { registry: 'suite', options }, tools);
  threads.push(thread);
  const events: LeaseEvents = {
    onRegistered: () => void log.push('registered'),
    onLost: (error) => void log.push(`lost: ${(error as TenonError).message}`),
  };
  return { thread, lease: thread.keep(terms, events), log, logger };
}

const never = new AbortController().signal;

describe('the thread that renews leases', () => {
  it('reports renewals and lines of the log, answers, and ends with its last lease', async () => {
    const { thread, lease, log, logger } = await start('is well');
    lease.begin();
    await eventually('it has registered', () => log.includes('registered'));
    expect(lease.renewals).toBe(1);
    await lease.announce(record, never);
    await lease.withdraw(never);
    lease.abandon();
    expect(log).toEqual(['registered', 'ended']);
    expect(logger.texts).toEqual(['info begun']);
    expect(() => thread.keep(terms, { onRegistered: () => {}, onLost: () => {} })).toThrow('has ended');
  });

  it.each([
    ['fails to start', 'failed'],
    ['ends at the start', 'has ended'],
  ])('that %s rejects', async (behaviour, why) => {
    const failure = await start(behaviour).catch((error: unknown) => error);
    expect(failure).toMatchObject({ reason: 'service.lease_thread_lost' });
    expect(String(failure)).toContain(why);
  });

  it('that never starts is not waited for', async () => {
    const { clock, timers } = virtualRuntime();
    const tools = { runtime: { ...systemRuntime, clock, timers }, logger: silentLogger, busyAfterMs: 100, onEnd() {} };
    const options = { behaviour: 'never starts' } as object;
    const starting = LeaseThread.start(file, { registry: 'suite', options }, tools);
    const ended = expect(starting).rejects.toThrow('did not end within 30000 ms');
    await timers.advance(30_000);
    await ended;
  });

  it.each([
    ['fails later', 'lost: the thread that renews leases failed'],
    ['ends later', 'lost: the thread that renews leases has ended'],
  ])('that %s says so once, to every lease and every request', async (behaviour, why) => {
    const { thread, lease, log } = await start(behaviour);
    const other: string[] = [];
    thread.keep(terms, { onRegistered: () => {}, onLost: () => void other.push('lost') });
    const asked = lease.announce(record, never);
    await expect(asked).rejects.toMatchObject({ reason: 'service.lease_thread_lost' });
    await expect(lease.withdraw(never)).rejects.toMatchObject({ reason: 'service.lease_thread_lost' });
    lease.begin();
    lease.abandon();
    expect(log).toEqual(['ended', why]);
    expect(other).toEqual(['lost']);
  });

  it('passes on what the registry refuses', async () => {
    const { lease } = await start('refuses');
    await expect(lease.announce(record, never)).rejects.toMatchObject({
      code: Code.PermissionDenied,
      reason: 'registry.refused',
    });
  });

  it('that does not answer is not waited for, and is ended by those who give it up', async () => {
    const { lease, log } = await start('is mute');
    const aborted = new AbortController();
    const asked = lease.announce(record, aborted.signal);
    aborted.abort(new Error('given up'));
    await expect(asked).rejects.toThrow('given up');
    lease.abandon();
    expect(log).toEqual(['ended']);
  });
});

describe('a keeper of leases', () => {
  const keep = async (registry: Registry, runtime: Runtime = systemRuntime): Promise<string[]> => {
    const logger = new RecordingLogger();
    const keeper = new WorkerLeaseKeeper(registry, runtime, logger);
    for (let time = 0; time < 2; time += 1)
      expect(await keeper.keep(terms, { onRegistered: () => {}, onLost: () => {} })).toBeUndefined();
    await keeper.close();
    await registry.close();
    return logger.texts;
  };
  const because = (why: string): string => `leases are renewed by the main thread, and end while it is busy: ${why}`;

  it('leaves a registry that another thread cannot use to the main thread, and says why once', async () => {
    class OwnRegistry extends RedisRegistry {}
    const client = { duplicate: () => client } as never;
    expect(await keep(new MemoryRegistry())).toEqual([
      `debug ${because('the memory registry cannot be used from another thread')}`,
    ]);
    expect(await keep(new CachedRegistry(new MemoryRegistry()))).toHaveLength(1);
    expect(await keep(new OwnRegistry())).toEqual([`info ${because("the redis registry is the application's own")}`]);
    expect(await keep(new RedisRegistry({ client }))).toEqual([
      `info ${because('the options of the redis registry hold objects that cannot be copied')}`,
    ]);
    expect(await keep(new RedisRegistry(), virtualRuntime() as unknown as Runtime)).toEqual([
      `debug ${because('the application has timers of its own')}`,
    ]);
    // The program of the thread is there only in what is built.
    expect(await keep(new RedisRegistry())).toEqual([
      `debug ${because('the program of that thread is not installed')}`,
    ]);
  });
});
