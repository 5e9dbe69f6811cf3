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
  const tools = { runtime: systemRuntime, logger, onEnd };
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
    await lease.abandon();
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
    const tools = { runtime: { ...systemRuntime, clock, timers }, logger: silentLogger, onEnd() {} };
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
    await lease.abandon();
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

  it('that cannot make its registry says so, and that no other thread could', async () => {
    await expect(start('is unfit')).rejects.toMatchObject({
      code: Code.FailedPrecondition,
      reason: 'service.lease_thread_unfit',
      message: 'it has no class',
    });
  });

  it('watches the event loop for each lease as often as that asks', async () => {
    const { thread, lease, logger } = await start('is well');
    lease.begin();
    const events = { onRegistered: () => {}, onLost: () => {} };
    thread.keep({ ...terms, busyAfterMs: 200 }, events).begin();
    thread.keep({ ...terms, busyAfterMs: 60_000 }, events).begin();
    await eventually('all have begun', () => logger.lines.length === 3);
    expect(logger.lines.map(({ fields }) => fields)).toEqual([
      { beats: 1, periodMs: 250 },
      { beats: 1, periodMs: 50 },
      { beats: 1, periodMs: 1_000 },
    ]);
  });

  it('lets go of one lease, and goes on with those of other services', async () => {
    const { thread, lease, log } = await start('only lets go');
    const others: string[] = [];
    const other = thread.keep(terms, {
      onRegistered: () => void others.push('registered'),
      onLost: () => void others.push('lost'),
    });
    const unbegun = thread.keep(terms, { onRegistered: () => {}, onLost: () => void others.push('lost') });
    lease.begin();
    other.begin();
    await eventually('both are registered', () => log.length > 0 && others.length > 0);
    await Promise.all([lease.abandon(), unbegun.abandon()]);
    expect([log, others]).toEqual([['registered'], ['registered']]);
    await other.abandon();
    expect([log, others]).toEqual([['registered', 'ended'], ['registered']]);
  });

  it('is ended with all its leases if it does not let go of one, and the thread of another registry is not', async () => {
    const [mute, well] = [await start('is mute'), await start('is well')];
    const lost: string[] = [];
    mute.thread.keep(terms, { onRegistered: () => {}, onLost: (error) => void lost.push(String(error)) }).begin();
    mute.lease.begin();
    well.lease.begin();
    await mute.lease.abandon();
    expect(lost).toEqual([expect.stringContaining('did not answer')]);
    expect(mute.log.filter((line) => line !== 'registered')).toEqual(['ended']);
    await well.lease.announce(record, never);
    expect(well.log).toEqual(['registered']);
  });

  it('that does not answer is not waited for, and is ended by those who give it up', async () => {
    const { lease, log } = await start('is mute');
    const aborted = new AbortController();
    const asked = lease.announce(record, aborted.signal);
    aborted.abort(new Error('given up'));
    await expect(asked).rejects.toThrow('given up');
    await lease.abandon();
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
    expect(await keep(new OwnRegistry())).toEqual([
      `info ${because("the redis registry is the application's own, and names no module of its class")}`,
    ]);
    expect(await keep(new RedisRegistry({ client }))).toEqual([
      `info ${because('the options of the redis registry hold objects that cannot be copied')}`,
    ]);
    expect(await keep(new RedisRegistry(), virtualRuntime() as unknown as Runtime)).toEqual([
      `debug ${because('the application has timers of its own')}`,
    ]);
    // The program of the thread is there only in what is built.
    expect(await keep(new RedisRegistry())).toEqual([expect.stringMatching(/^debug .* is not part of this bundle/)]);
  });
});
