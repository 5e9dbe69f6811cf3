import { describe, expect, it } from '@jest/globals';

import type { Client } from '../../src/client/client.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { nodeState, type Registry, type ServiceRecord } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import type { KeptLease, LeaseEvents, LeaseKeeper, LeaseTerms } from '../../src/service/lease-keeper.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import type { ServiceOptions } from '../../src/service/service.ts';
import { memoryParts } from '../../src/testing/internal/parts.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { gate } from '../../src/testing/waiting.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const noClient = { toString: () => 'none' } as unknown as Client;
const lost = new TenonError({ code: Code.Unavailable, reason: 'service.lease_thread_lost', message: 'lost' });

/** A service in virtual time, whose keeper of leases the test plays. Everything that is asked is in `log`. */
function scene(more: ServiceOptions = {}) {
  const { clock, timers } = virtualRuntime();
  const logger = new RecordingLogger();
  const inner = new MemoryRegistry({ runtime: { clock, timers } });
  const log: string[] = [];
  const registry = Object.defineProperties(Object.create(inner) as Registry, {
    register: {
      value: async (service: ServiceRecord, options: object) => {
        log.push(`main registers ${nodeState(service.nodes[0]!)}`);
        await inner.register(service, options);
      },
    },
    deregister: {
      value: async (service: ServiceRecord, options: object) => {
        log.push('main deregisters');
        await inner.deregister(service, options);
      },
    },
    release: {
      value: async () => {
        log.push('main releases');
        await behaviour.releasing;
        if (behaviour.failsToRelease) throw lost;
      },
    },
    toString: { value: () => 'suite' },
  });
  const kept = {
    renewals: 0,
    keeps: 0,
    events: undefined as LeaseEvents | undefined,
    terms: undefined as LeaseTerms | undefined,
  };
  const behaviour = {
    isOther: true,
    failsToStart: false,
    failsToRelease: false,
    isMute: false,
    releasing: Promise.resolve(),
  };
  const answer = async (what: string): Promise<void> => {
    log.push(what);
    if (behaviour.isMute) await new Promise(() => {});
  };
  const lease: KeptLease = {
    get renewals() {
      return kept.renewals;
    },
    restorations: 2,
    begin: () => void log.push('keeper begins'),
    update: (record) => void log.push(`keeper updates ${record.nodes[0]?.metadata['zone']}`),
    announce: (record) => answer(`keeper announces ${nodeState(record.nodes[0]!)}`),
    withdraw: () => answer('keeper withdraws'),
    abandon: async () => void log.push('keeper abandoned'),
  };
  const keeper: LeaseKeeper = {
    async keep(terms, events) {
      kept.keeps += 1;
      kept.events = events;
      kept.terms = terms;
      if (behaviour.failsToStart) throw lost;
      return behaviour.isOther ? lease : undefined;
    },
    close: async () => {},
  };
  const { transport, broker, marshalers } = memoryParts();
  const metadata: Record<string, string> = { zone: 'a' };
  const server = new RpcServer(transport, registry, broker, marshalers, clock, systemRuntime.random, timers, logger);
  const options = { name: 'suite', lameDuckMs: 100, registerTtlMs: 30_000, metadata, ...more };
  const random = systemRuntime.random;
  const service = new ManagedService(
    server,
    noClient,
    timers,
    logger,
    options,
    random,
    clock,
    undefined,
    registry,
    keeper,
  );
  const stop = async (): Promise<void> => {
    const stopping = service.stop();
    await timers.advance(60_000);
    await stopping;
  };
  return { timers, log, logger, kept, behaviour, service, stop, metadata };
}

describe('a lease that is handed over', () => {
  it('is registered by the main thread first, released by it, and then renewed by the keeper alone', async () => {
    const { timers, log, kept, service, stop } = scene();
    await service.start();
    expect([log, kept.keeps]).toEqual([['main registers serving'], 0]);
    await timers.advance(300_000);
    expect(log).toEqual(['main registers serving', 'main releases', 'keeper begins']);
    expect(kept.terms).toMatchObject({
      service: 'suite',
      ttlMs: 30_000,
      intervalMs: 10_000,
      busyAfterMs: 1_000,
      busyMs: 120_000,
    });
    await stop();
    expect(log.slice(3)).toEqual([
      'keeper announces draining',
      'keeper withdraws',
      'main deregisters',
      'keeper abandoned',
    ]);
  });

  it('counts as valid as long as the keeper renews it, though this thread was too busy to hear of it', async () => {
    const { timers, kept, service } = scene();
    const statuses: boolean[] = [];
    service.onChange(({ isRegistered }) => statuses.push(isRegistered));
    await service.start();
    await timers.advance(10_000);
    kept.renewals = 3;
    await timers.advance(30_000);
    expect(service.status.isRegistered).toBe(true);
    expect(service.registration).toEqual({ renewals: 4, restorations: 2 });
    await timers.advance(60_000);
    expect(service.status.isRegistered).toBe(false);
    kept.events?.onRegistered();
    expect(service.status.isRegistered).toBe(true);
    expect(statuses).toEqual([false, false, true, false, true]);
  });

  it('goes back to the main thread when the keeper is lost, and over again, ever more seldom', async () => {
    const { timers, log, logger, kept, service } = scene();
    await service.start();
    await timers.advance(2_000);
    kept.events?.onLost(lost);
    await timers.advance(1);
    expect(log.slice(3)).toEqual(['main registers serving']);
    expect(logger.texts.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    await timers.advance(2_000);
    expect(log.slice(4)).toEqual(['main releases', 'keeper begins']);
    for (let time = 0; time < 300; time += 1) {
      await timers.advance(1_000);
      if (log.at(-1) === 'keeper begins') kept.events?.onLost(lost);
    }
    expect(kept.keeps).toBeLessThan(60);
    expect(service.status.isRegistered).toBe(true);
  });

  it('is let go of by the keeper where the registry does not release it', async () => {
    const { timers, log, kept, behaviour, service, stop } = scene();
    behaviour.failsToRelease = true;
    await service.start();
    await timers.advance(60_000);
    expect(kept.keeps).toBeGreaterThan(2);
    expect(log.filter((line) => line === 'keeper abandoned')).toHaveLength(kept.keeps);
    expect(service.status.isRegistered).toBe(true);
    await stop();
  });

  it('stays with the main thread where the registry cannot be used elsewhere, or as the options say', async () => {
    const cannot = scene();
    cannot.behaviour.isOther = false;
    for (const { service, timers, log, stop } of [cannot, scene({ registerWorker: false })]) {
      await service.start();
      await timers.advance(40_000);
      expect(log.length).toBeGreaterThanOrEqual(4);
      await stop();
      expect(new Set(log)).toEqual(new Set(['main registers serving', 'main registers draining', 'main deregisters']));
    }
    const unregistered = scene({ register: false });
    await unregistered.service.start();
    await unregistered.timers.advance(40_000);
    expect([unregistered.log, unregistered.kept.keeps]).toEqual([[], 0]);
  });

  it('stays with the main thread while the keeper fails to start', async () => {
    const { timers, log, kept, behaviour, service } = scene();
    behaviour.failsToStart = true;
    await service.start();
    await timers.advance(40_000);
    expect(log.length).toBeGreaterThanOrEqual(4);
    expect(kept.keeps).toBeGreaterThan(2);
    behaviour.failsToStart = false;
    await timers.advance(60_000);
    expect(log.at(-1)).toBe('keeper begins');
  });

  it('is taken back by the main thread when a stop finds that the keeper does not answer', async () => {
    const { timers, log, behaviour, service, stop } = scene();
    await service.start();
    await timers.advance(2_000);
    behaviour.isMute = true;
    await stop();
    expect(service.state).toBe('stopped');
    expect(log.slice(3)).toEqual([
      'keeper announces draining',
      'keeper abandoned',
      'main registers draining',
      'main deregisters',
    ]);
  });

  it('is not handed over by a hand-over that a stop overtakes', async () => {
    const { timers, log, service, stop } = scene();
    await service.start();
    await timers.advance(999);
    await stop();
    expect(log).not.toContain('keeper begins');
  });

  it('is not handed over when the stop comes while the registry lets go of it', async () => {
    const { timers, log, behaviour, service, stop } = scene();
    const held = gate();
    behaviour.releasing = held.opened;
    await service.start();
    await timers.advance(2_000);
    expect(log.at(-1)).toBe('main releases');
    const stopped = stop();
    await timers.settle();
    held.open();
    await stopped;
    expect(log.slice(2).sort()).toEqual(['keeper abandoned', 'main deregisters', 'main registers draining']);
  });

  it('follows a record that changes while the service runs', async () => {
    const { timers, log, service, metadata } = scene();
    await service.start();
    await timers.advance(30_000);
    expect(log.at(-1)).toBe('keeper begins');
    metadata['zone'] = 'b';
    await timers.advance(30_000);
    expect(log.slice(3)).toEqual(['keeper updates b']);
  });
});
