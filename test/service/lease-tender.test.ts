import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../src/errors/errors.ts';
import { MemoryRegistry } from '../../src/registry/memory.ts';
import { isBusy, nodeState, type Registry, type ServiceRecord, stateKey } from '../../src/registry/registry.ts';
import { systemRandom } from '../../src/runtime/system.ts';
import { HeartbeatMonitor } from '../../src/service/internal/heartbeat.ts';
import type { LeaseReport } from '../../src/service/internal/lease-messages.ts';
import { LeaseTender } from '../../src/service/internal/lease-tender.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../registry/support.ts';
import { gate } from '../support/waiting.ts';

const periodMs = 250;
const record = serviceOf('greeter', [nodeOf('a')]);
const terms = { service: 'greeter', record, ttlMs: 3_000, intervalMs: 1_000, busyAfterMs: 1_000, busyMs: 12_000 };

/** A tender in virtual time over a registry in memory, and a main thread whose heart beats while it is `alive`. */
function scene() {
  const { clock: steady, timers } = virtualRuntime();
  let jumpedMs = 0;
  const clock = { now: () => steady.now() + jumpedMs, monotonicMs: () => steady.monotonicMs() };
  const jump = (ms: number): void => void (jumpedMs += ms);
  const random = systemRandom;
  const logger = new RecordingLogger();
  const registry = new MemoryRegistry({ runtime: { clock, timers } });
  const log: string[] = [];
  const state = { isAlive: true, isAway: false, refuses: false, held: Promise.resolve() };
  const told = Object.defineProperties(Object.create(registry) as Registry, {
    register: {
      value: async (service: ServiceRecord, options: object) => {
        const [node] = service.nodes;
        const other = service.name === 'greeter' ? '' : `${service.name} `;
        log.push(
          `${other}register${node && isBusy(node) ? ' busy' : ''}${node && nodeState(node) === 'serving' ? '' : ' draining'}`,
        );
        await state.held;
        if (state.isAway)
          throw new TenonError({ code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' });
        if (state.refuses)
          throw new TenonError({ code: Code.PermissionDenied, reason: 'registry.refused', message: 'no' });
        await registry.register(service, options);
      },
    },
    deregister: {
      value: async (service: ServiceRecord) => {
        log.push('deregister');
        await registry.deregister(service);
      },
    },
    release: { value: async ({ name }: ServiceRecord) => void log.push(`release ${name}`) },
    toString: { value: () => 'told' },
  });
  const beats = new Int32Array(new SharedArrayBuffer(4));
  timers.every(100, () => state.isAlive && Atomics.add(beats, 0, 1));
  const reports: LeaseReport[] = [];
  const post = (report: LeaseReport): void => void reports.push(report);
  const tender = new LeaseTender({ registry: told, runtime: { clock, timers, random }, logger, post });
  const renewals = new Int32Array(new SharedArrayBuffer(8));
  const begin = (key = 'k', its = terms): void =>
    tender.receive({ kind: 'begin', key, terms: its, renewals, beats, periodMs });
  const found = async (): Promise<ServiceRecord[]> => [...(await registry.getService('greeter').catch(() => []))];
  const node = async () => (await found())[0]?.nodes[0];
  return { timers, log, logger, state, tender, begin, renewals, reports, node, jump };
}

describe('HeartbeatMonitor', () => {
  const beats = (): Int32Array => new Int32Array(new SharedArrayBuffer(4));

  it('measures the silence since the last beat', () => {
    const time = { now: 0 };
    const heart = beats();
    const monitor = new HeartbeatMonitor(heart, { now: () => 0, monotonicMs: () => time.now }, periodMs);
    const after = (ms: number): number => {
      time.now += ms;
      return monitor.silentMs();
    };
    expect([after(250), after(250), after(300)]).toEqual([250, 500, 800]);
    Atomics.add(heart, 0, 1);
    expect([after(250), after(250)]).toEqual([0, 250]);
  });

  it('is not misled by a thread that slept itself, or by a clock that jumped either way', () => {
    const time = { now: 1_000_000 };
    const monitor = new HeartbeatMonitor(beats(), { now: () => 0, monotonicMs: () => time.now }, periodMs);
    time.now += 3_600_000;
    expect(monitor.silentMs()).toBe(500);
    time.now -= 900_000;
    expect(monitor.silentMs()).toBe(500);
  });
});

describe('LeaseTender', () => {
  it('renews at the interval, and counts', async () => {
    const { timers, begin, log, renewals, reports, node } = scene();
    begin();
    await timers.advance(10_000);
    expect(log.length).toBeGreaterThanOrEqual(10);
    expect(log.length).toBeLessThanOrEqual(14);
    expect(renewals[0]).toBe(log.length);
    expect(reports.filter(({ kind }) => kind === 'registered')).toHaveLength(log.length);
    expect(await node()).toEqual(record.nodes[0]);
  });

  it('announces the node as busy while the event loop is silent, and as before when it is back', async () => {
    const { timers, begin, log, state, logger, node } = scene();
    begin();
    await timers.advance(5_000);
    state.isAlive = false;
    await timers.advance(1_600);
    expect(log.at(-1)).toBe('register busy');
    expect((await node())?.metadata).toEqual({ ...record.nodes[0]?.metadata, 'tenon-busy': 'true' });
    await timers.advance(9_000);
    expect(log.filter((line) => line === 'deregister')).toEqual([]);
    expect(await node()).toBeDefined();
    state.isAlive = true;
    await timers.advance(400);
    expect(log.at(-1)).toBe('register');
    expect(await node()).toEqual(record.nodes[0]);
    expect(logger.texts).toEqual([
      'warn greeter: its event loop is blocked: the node is announced as busy',
      'info greeter: its event loop is back, and the node is announced as before',
    ]);
  });

  it('deregisters the node after the bound, asks nothing more, and registers it again with the event loop', async () => {
    const { timers, begin, log, state, node } = scene();
    begin();
    await timers.advance(2_000);
    state.isAlive = false;
    await timers.advance(13_000);
    expect(log.at(-1)).toBe('deregister');
    expect(await node()).toBeUndefined();
    const before = log.length;
    await timers.advance(60_000);
    expect(log).toHaveLength(before);
    state.isAlive = true;
    await timers.advance(500);
    expect(await node()).toEqual(record.nodes[0]);
  });

  it('tells nobody of a pause of the whole process, and logs once that its lease ended by it', async () => {
    const { timers, begin, log, state, logger, renewals, node } = scene();
    begin();
    await timers.advance(2_000);
    // Both threads are stopped: no callback runs, and time goes on.
    timers.nowMs += 3_600_000;
    await timers.advance(2_000);
    expect(log.filter((line) => line !== 'register')).toEqual([]);
    expect(state.isAlive).toBe(true);
    expect(logger.texts).toEqual([
      'warn greeter is registered again: this process did not run, and its lease ended meanwhile',
    ]);
    expect([renewals[1], await node()]).toEqual([1, record.nodes[0]]);
    // A shorter one is none of anybody's business.
    timers.nowMs += 1_500;
    await timers.advance(2_000);
    expect(logger.texts).toHaveLength(1);
  });

  it.each([3_600_000, -3_600_000])(
    'neither loses a lease nor hurries when the wall clock jumps by %i ms',
    async (ms) => {
      const { timers, begin, log, logger, jump, node } = scene();
      begin();
      await timers.advance(5_000);
      const before = log.length;
      jump(ms);
      for (let second = 0; second < 60; second += 1) {
        await timers.advance(1_000);
        expect(await node()).toEqual(record.nodes[0]);
      }
      // Every 0.8 to 1 s.
      expect(log.length - before).toBeGreaterThanOrEqual(59);
      expect(log.length - before).toBeLessThanOrEqual(76);
      expect([new Set(log), logger.texts]).toEqual([new Set(['register']), []]);
    },
  );

  it('warns once, and goes on trying at the interval, when the registry refuses all renewals of what it took', async () => {
    const { timers, begin, log, state, logger, node } = scene();
    begin();
    await timers.advance(2_000);
    state.refuses = true;
    const before = log.length;
    await timers.advance(60_000);
    expect(logger.texts).toEqual([expect.stringMatching(/^warn greeter could not be registered/)]);
    // With back-off that is at most the interval, and full jitter.
    expect(log.length - before).toBeGreaterThan(50);
    expect(log.length - before).toBeLessThan(300);
    expect(await node()).toBeUndefined();
    state.refuses = false;
    await timers.advance(1_100);
    expect(await node()).toEqual(record.nodes[0]);
    expect(logger.texts.slice(1)).toEqual(['warn greeter is registered again']);
  });

  it('announces a drain after the renewal under way, then the withdrawal, and nothing after it', async () => {
    const { timers, tender, begin, log, state, reports, node } = scene();
    begin();
    await timers.advance(2_000);
    const held = gate();
    state.held = held.opened;
    await timers.advance(1_000);
    const count = log.length;
    const nodes = record.nodes.map((one) => ({ ...one, metadata: { [stateKey]: 'draining' } }));
    tender.receive({ kind: 'announce', key: 'k', call: 1, record: { ...record, nodes } });
    tender.receive({ kind: 'withdraw', key: 'k', call: 2 });
    await timers.settle();
    expect(log).toHaveLength(count);
    held.open();
    await timers.advance(60_000);
    expect(log.slice(count)).toEqual(['register draining', 'deregister']);
    expect(reports.filter(({ kind }) => kind === 'done')).toEqual([
      { kind: 'done', call: 1, error: undefined },
      { kind: 'done', call: 2, error: undefined },
    ]);
    expect(await node()).toBeUndefined();
  });

  it('announces nothing as busy once the node drains', async () => {
    const { timers, tender, begin, log, state } = scene();
    begin();
    await timers.advance(2_000);
    const count = log.length;
    tender.receive({ kind: 'announce', key: 'k', call: 1, record });
    state.isAlive = false;
    await timers.advance(60_000);
    expect(log.slice(count)).toEqual(['register']);
    tender.receive({ kind: 'withdraw', key: 'k', call: 2 });
    await timers.advance(60_000);
    expect(log.slice(count)).toEqual(['register', 'deregister']);
  });

  it('goes on while the registry is away, and answers a request that fails with its error', async () => {
    const { timers, tender, begin, log, state, reports, renewals, node } = scene();
    begin();
    await timers.advance(2_000);
    state.isAway = true;
    await timers.advance(10_000);
    expect(await node()).toBeUndefined();
    tender.receive({ kind: 'announce', key: 'other', call: 7, record });
    expect(renewals[1]).toBe(0);
    state.isAway = false;
    await timers.advance(1_100);
    expect(await node()).toBeDefined();
    expect(renewals[1]).toBe(1);
    state.isAway = true;
    tender.receive({ kind: 'announce', key: 'k', call: 8, record });
    await timers.settle();
    expect(reports.filter(({ kind }) => kind === 'done')).toEqual([
      { kind: 'done', call: 7, error: undefined },
      { kind: 'done', call: 8, error: { code: Code.Unavailable, reason: 'registry.unreachable', message: 'away' } },
    ]);
    expect(log.at(-1)).toBe('register');
  });

  it('lets go of one lease at once, whatever is under way, and goes on with the others', async () => {
    const { timers, tender, begin, log, state, reports, logger } = scene();
    begin();
    begin('other', { ...terms, service: 'other', record: serviceOf('other', [nodeOf('b')]) });
    await timers.advance(2_000);
    const held = gate();
    state.held = held.opened;
    await timers.advance(1_100);
    tender.receive({ kind: 'withdraw', key: 'k', call: 1 });
    await timers.settle();
    const count = log.length;
    tender.receive({ kind: 'abandon', key: 'k', call: 2 });
    await timers.settle();
    const answers = reports.flatMap((report) =>
      report.kind === 'done' ? [[report.call, report.error !== undefined]] : [],
    );
    expect(answers).toEqual(
      expect.arrayContaining([
        [1, true],
        [2, false],
      ]),
    );
    held.open();
    state.held = Promise.resolve();
    await timers.advance(10_000);
    const [released, ...rest] = log.slice(count);
    expect(released).toBe('release greeter');
    expect(rest.length).toBeGreaterThan(5);
    expect(new Set(rest)).toEqual(new Set(['other register']));
    // A renewal that was given up is no failure of the registry.
    expect(logger.texts).toEqual([]);
  });

  it('answers for a lease that it does not have', async () => {
    const { timers, tender, reports } = scene();
    tender.receive({ kind: 'abandon', key: 'k', call: 3 });
    tender.receive({ kind: 'update', key: 'k', record });
    await timers.settle();
    expect(reports).toEqual([{ kind: 'done', call: 3, error: undefined }]);
  });

  it('watches nothing for a lease that has ended', async () => {
    const { timers, tender, begin, log, state, logger } = scene();
    const before = timers.pending;
    begin();
    await timers.advance(2_000);
    tender.receive({ kind: 'abandon', key: 'k', call: 1 });
    // The lease of the registry in memory ends by itself.
    await timers.advance(3_000);
    expect(timers.pending).toBe(before);
    state.isAlive = false;
    await timers.advance(60_000);
    expect([log.at(-1), logger.texts]).toEqual(['release greeter', []]);
  });

  it('announces a changed record at once', async () => {
    const { timers, tender, begin, node } = scene();
    begin();
    await timers.advance(2_000);
    tender.receive({
      kind: 'update',
      key: 'k',
      record: serviceOf('greeter', [nodeOf('a', { address: '10.0.0.8:1' })]),
    });
    await timers.advance(1);
    expect((await node())?.address).toBe('10.0.0.8:1');
  });
});
