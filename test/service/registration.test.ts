import { describe, expect, it } from '@jest/globals';

import type { Client } from '../../src/client/client.ts';
import { Code, TenonError } from '../../src/errors/errors.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import type { Registry } from '../../src/registry/registry.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RpcServer } from '../../src/server/rpc-server.ts';
import { ManagedService } from '../../src/service/managed-service.ts';
import type { ServiceOptions } from '../../src/service/service.ts';
import { memoryParts } from '../../src/testing/internal/parts.ts';
import { RecordingLogger, WatchRecorder } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const noClient = { toString: () => 'none' } as unknown as Client;

/**
 * A service in virtual time, whose registry may be away. `draws` are the numbers that chance gives, again and again.
 */
function scene(draws: readonly number[], registerTtlMs = 30_000, more: ServiceOptions = {}) {
  const { clock, timers } = virtualRuntime();
  const logger = new RecordingLogger();
  let drawn = 0;
  const random = { ...systemRuntime.random, next: () => draws[drawn++ % draws.length] ?? 0 };
  const inner = new MemoryRegistry({ runtime: { clock, timers } });
  const state = { isAway: false, isMute: false, refuses: false, attempts: [] as number[], left: 0 };
  const register: Registry['register'] = async (record, options) => {
    state.attempts.push(timers.nowMs);
    if (state.isMute) await new Promise(() => {});
    if (state.isAway) throw new TenonError({ code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' });
    if (state.refuses)
      throw new TenonError({ code: Code.PermissionDenied, reason: 'registry.refused', message: 'a wrong password' });
    await inner.register(record, options);
  };
  const deregister: Registry['deregister'] = async (record, options) => {
    state.left += 1;
    await inner.deregister(record, options);
  };
  const registry = Object.assign(Object.create(inner) as Registry, { register, deregister, toString: () => 'memory' });
  const { transport, broker, marshalers } = memoryParts();
  const server = new RpcServer(transport, registry, broker, marshalers, clock, systemRuntime.random, timers, logger);
  const options = { name: 'suite', lameDuckMs: 1_000, registerTtlMs, ...more };
  const service = new ManagedService(server, noClient, timers, logger, options, random, clock);
  const waits = (): number[] => state.attempts.slice(1).map((at, index) => at - (state.attempts[index] ?? 0));
  return { timers, logger, inner, state, service, waits };
}

describe('the registration of a service', () => {
  it('is renewed at jittered intervals', async () => {
    const { timers, service, waits } = scene([0, 0.5, 1 - 1e-9]);
    await service.start();
    await timers.advance(27_500);
    expect(waits().map((waitMs) => Math.round(waitMs))).toEqual([10_000, 9_000, 8_000]);
  });

  it('is not made with register: false, and the service serves all the same', async () => {
    const { timers, service, state, inner } = scene([0.5], 30_000, { register: false });
    await service.start();
    await timers.advance(120_000);
    expect(service.status).toMatchObject({ state: 'serving', isRegistered: true });
    const stopping = service.stop();
    await timers.advance(10_000);
    await stopping;
    expect([state.attempts, state.left]).toEqual([[], 0]);
    expect(await inner.listServices()).toEqual([]);
  });

  it('is retried after a failure with full-jitter back-off, up to the interval', async () => {
    const almostOne = 1 - 1e-9;
    const { timers, state, service, waits } = scene([almostOne]);
    state.isAway = true;
    await service.start();
    await timers.advance(60_000);
    expect(waits().map((waitMs) => Math.round(waitMs))).toEqual([
      1_000, 2_000, 4_000, 8_000, 10_000, 10_000, 10_000, 10_000,
    ]);
    const half = scene([0.5]);
    half.state.isAway = true;
    await half.service.start();
    await half.timers.advance(8_000);
    expect(half.waits()).toEqual([500, 1_000, 2_000, 4_000]);
  });

  it('is never retried in a busy loop, whatever random numbers come', async () => {
    const { timers, state, service } = scene([0], 300);
    state.isAway = true;
    await service.start();
    await timers.advance(10_000);
    expect(state.attempts.length).toBeLessThanOrEqual(101);
  });

  it('logs its loss once, reminds of it at a long interval, and logs its return', async () => {
    const { timers, state, service, logger } = scene([0.5]);
    await service.start();
    state.isAway = true;
    const warnings = (): string[] => logger.texts.filter((line) => line.startsWith('warn'));
    await timers.advance(240_000);
    expect(warnings()).toEqual([
      'warn suite could not be registered; callers cannot find it once its lease has expired; trying again',
    ]);
    await timers.advance(240_000);
    expect(warnings().slice(1)).toEqual(['warn suite is still not registered; still trying']);
    state.isAway = false;
    await timers.advance(60_000);
    expect(warnings().slice(2)).toEqual(['warn suite is registered again']);
  });

  it('delays neither the start nor the next attempt when it is never answered, and is taken back at the stop', async () => {
    const { timers, state, service } = scene([0.5]);
    state.isMute = true;
    let hasStarted = false;
    void service.start().then(() => (hasStarted = true));
    await timers.advance(15_000);
    expect(hasStarted).toBe(true);
    expect(state.attempts.length).toBeGreaterThan(1);
    void service.stop();
    await timers.advance(60_000);
    expect([service.state, state.left]).toEqual(['stopped', 1]);
  });

  it('says that the service drains, until the node is deregistered', async () => {
    const { timers, service, inner } = scene([0.5]);
    await service.start();
    const seen = new WatchRecorder(await inner.watch());
    void service.stop();
    await timers.advance(500);
    const [record] = await inner.getService('suite');
    expect(record?.nodes[0]?.metadata['tenon-state']).toBe('draining');
    await timers.advance(10_000);
    expect(seen.events.map(({ action }) => action)).toEqual(['update', 'delete']);
    expect(service.state).toBe('stopped');
  });

  it('fails the start when the registry refuses it, and logs no retry', async () => {
    const { timers, state, service, logger } = scene([0.5]);
    state.refuses = true;
    await expect(service.start()).rejects.toMatchObject({ reason: 'registry.refused' });
    await timers.advance(60_000);
    expect([service.state, state.attempts.length]).toEqual(['stopped', 1]);
    expect(logger.texts.filter((line) => line.startsWith('warn'))).toEqual([]);
  });

  it('is retried with a warning when the registry refuses a renewal', async () => {
    const { timers, state, service, logger } = scene([0.5]);
    await service.start();
    state.refuses = true;
    await timers.advance(60_000);
    expect(state.attempts.length).toBeGreaterThan(4);
    expect(logger.texts.filter((line) => line.startsWith('warn'))).toHaveLength(1);
    state.isAway = true;
    await timers.advance(20_000);
    expect(logger.texts.filter((line) => line.startsWith('warn'))).toHaveLength(2);
  });

  it('fails the start under requireBackends when it fails or is not answered', async () => {
    for (const [what, reason] of [
      ['isAway', 'registry.unreachable'],
      ['isMute', 'service.timeout'],
    ] as const) {
      const { timers, state, service } = scene([0.5], 30_000, { requireBackends: true });
      state[what] = true;
      const starting = expect(service.start()).rejects.toMatchObject({ reason });
      await timers.advance(30_000);
      await starting;
      expect(service.state).toBe('stopped');
    }
  });
});
