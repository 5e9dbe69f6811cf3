import { describe, expect, it } from '@jest/globals';

import type { Client } from '../../src/client/client.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { silentLogger } from '../../src/logger/logger.ts';
import { CachedRegistry } from '../../src/registry/cache.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { readBack, type Registry, type RegistryCapabilities, type ServiceRecord } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { LeaseRenewal } from '../../src/service/internal/lease-renewal.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import { memoryParts } from '../../src/testing/internal/parts.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { gate } from '../support/waiting.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';

const noClient = { toString: () => 'none' } as unknown as Client;
const ttlMs = 30_000;
// Renewals come every 8 to 10 s, and every tenth reads back.
const readBackMs = 100_000;

/**
 * A service in virtual time whose registry keeps leases, and renews one without writing the record: as those with
 * leases of their own may.
 */
function scene(capabilities: Partial<RegistryCapabilities> = {}) {
  const { clock, timers } = virtualRuntime();
  const logger = new RecordingLogger();
  const inner = new MemoryRegistry({ runtime: { clock, timers } });
  const state = { reads: 0, written: 0, isAway: false, held: Promise.resolve() };
  const leases = new Set<string>();
  const register: Registry['register'] = async (record, options) => {
    const [node] = record.nodes;
    if (leases.has(node?.id ?? '')) return;
    leases.add(node?.id ?? '');
    state.written += 1;
    await inner.register(record, { ...options, ttlMs: 1_000_000 });
  };
  const deregister: Registry['deregister'] = async (record, options) => {
    for (const { id } of record.nodes) leases.delete(id);
    await state.held;
    await inner.deregister(record, options);
  };
  const getService: Registry['getService'] = async (name, options) => {
    state.reads += 1;
    if (state.isAway) throw new TenonError({ code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' });
    return inner.getService(name, options);
  };
  const registry = Object.defineProperties(Object.create(inner) as Registry, {
    register: { value: register },
    deregister: { value: deregister },
    getService: { value: getService },
    capabilities: { value: { ...MemoryRegistry.capabilities, shared: true, ...capabilities } },
    toString: { value: () => 'leases' },
  });
  const { transport, broker, marshalers } = memoryParts();
  const server = new RpcServer(transport, registry, broker, marshalers, clock, systemRuntime.random, timers, logger);
  const options = { name: 'suite', lameDuckMs: 0, registerTtlMs: ttlMs };
  const random = systemRuntime.random;
  const service = new ManagedService(server, noClient, timers, logger, options, random, clock, undefined, registry);
  const warnings = (): string[] => logger.texts.filter((line) => line.startsWith('warn'));
  return { timers, inner, state, service, server, warnings };
}

describe('the record of a service', () => {
  it('is read back with every tenth renewal', async () => {
    const { timers, service, state, warnings } = scene();
    await service.start();
    await timers.advance(10 * readBackMs);
    expect(state.reads).toBeGreaterThanOrEqual(10);
    expect(state.reads).toBeLessThanOrEqual(13);
    expect([state.written, warnings()]).toEqual([1, []]);
  });

  it('is registered again when the registry lost it and still renews the lease', async () => {
    const { timers, service, server, inner, state, warnings } = scene();
    await service.start();
    await inner.deregister(server.record());
    await timers.advance(readBackMs + 20_000);
    expect(await readBack(inner, server.record())).toBe('present');
    expect(state.written).toBe(2);
    expect(service.registration.restorations).toBe(1);
    expect(warnings()).toEqual(['warn the registry no longer had the record of suite: it is registered again']);
  });

  it('is left alone when one read misses it: the next renewal looks again', async () => {
    const { timers, service, server, inner, state, warnings } = scene();
    await service.start();
    await inner.deregister(server.record());
    while (state.reads === 0) await timers.advance(500);
    await inner.register(server.record(), { ttlMs: 1_000_000 });
    await timers.advance(readBackMs);
    expect([state.written, warnings()]).toEqual([1, []]);
  });

  it('is no reason to do anything while the registry cannot be read', async () => {
    const { timers, service, state, warnings } = scene();
    await service.start();
    state.isAway = true;
    await timers.advance(5 * readBackMs);
    expect([state.written, warnings()]).toEqual([1, []]);
    expect(service.status).toMatchObject({ state: 'serving', isRegistered: true });
  });

  it('of another process under the same id is never removed: it is a warning, once', async () => {
    const { timers, service, server, inner, warnings } = scene();
    await service.start();
    const [node] = server.record().nodes;
    const other = { ...server.record(), nodes: [nodeOf(node?.id ?? '', { address: '10.9.9.9:1' })] };
    await inner.register(other, { ttlMs: 1_000_000 });
    const seen = new WatchRecorder(await inner.watch());
    await timers.advance(3 * readBackMs);
    expect(seen.events).toEqual([]);
    expect(warnings()).toEqual([
      'warn the registry has another address under the node id of suite: does another process use it?',
    ]);
  });

  it('is not read back where each renewal writes it, or where nobody else sees it', async () => {
    for (const capabilities of [{ renewalRestores: true }, { shared: false }]) {
      const { timers, service, state } = scene(capabilities);
      await service.start();
      await timers.advance(3 * readBackMs);
      expect(state.reads).toBe(0);
    }
  });

  it('is not registered again by a check that a stop overtakes', async () => {
    const { timers, service, server, inner, state } = scene();
    await service.start();
    await inner.deregister(server.record());
    // It deregisters before it registers anew: the stop comes in between.
    const held = gate();
    state.held = held.opened;
    while (state.reads < 2) await timers.advance(100);
    const stopping = service.stop({ signal: AbortSignal.abort() });
    await timers.advance(3_000);
    held.open();
    await timers.advance(60_000);
    await stopping;
    expect(state.written).toBe(1);
    expect(await readBack(inner, serviceOf('suite', [nodeOf(server.nodeId)]))).toBe('missing');
  });
});

describe('a renewal that is under way at a stop', () => {
  it('is aborted if it does not end in time, so that it cannot register the node later', async () => {
    const { clock, timers } = virtualRuntime();
    const signals: AbortSignal[] = [];
    const lease = {
      ttlMs: 3_000,
      intervalMs: 1_000,
      register: (signal: AbortSignal) => new Promise<void>(() => signals.push(signal)),
      deregister: async () => {},
      onRegistered: () => {},
    };
    const runtime = { clock, timers, random: systemRuntime.random };
    const renewal = new LeaseRenewal(lease, { service: 'suite', runtime, logger: silentLogger });
    renewal.start(0);
    await timers.advance(100);
    const stopped = renewal.stop(2_000);
    await timers.advance(1_900);
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
    await timers.advance(200);
    await stopped;
    expect(signals.map(({ aborted }) => aborted)).toEqual([true]);
  });
});

describe('readBack', () => {
  const greeter = (address: string): ServiceRecord => serviceOf('greeter', [nodeOf('a', { address })]);

  it('tells a node that is there from one that is missing and one that is somebody else’s', async () => {
    const registry = new MemoryRegistry();
    expect(await readBack(registry, greeter('10.0.0.1:1'))).toBe('missing');
    await registry.register(greeter('10.0.0.1:1'));
    expect(await readBack(registry, greeter('10.0.0.1:1'))).toBe('present');
    expect(await readBack(registry, greeter('10.0.0.2:1'))).toBe('taken');
    expect(await readBack(registry, serviceOf('greeter', [nodeOf('b')]))).toBe('missing');
  });

  it('reads past a cache, and passes other failures on', async () => {
    const registry = new MemoryRegistry();
    await registry.register(greeter('10.0.0.1:1'));
    const cache = new CachedRegistry(registry);
    await cache.getService('greeter');
    const isolated = Object.create(registry, { getService: { value: async () => [] } }) as Registry;
    expect(await readBack(new CachedRegistry(isolated), greeter('10.0.0.1:1'))).toBe('missing');
    expect(await readBack(cache, greeter('10.0.0.1:1'))).toBe('present');
    await cache.close();
    await expect(readBack(cache, greeter('10.0.0.1:1'))).rejects.toMatchObject({ reason: 'registry.closed' });
  });
});
