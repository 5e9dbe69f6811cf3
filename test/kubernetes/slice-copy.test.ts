import { describe, expect, it } from '@jest/globals';

import { ApiClient } from '../../src/kubernetes/api-client.ts';
import { type EndpointSlice, endpointSlices } from '../../src/kubernetes/endpoint-slice.ts';
import type { ApiCall, ApiChannel, ApiRequest } from '../../src/kubernetes/kubernetes.ts';
import { leasedSlice } from '../../src/kubernetes/leased-slice.ts';
import { ServerClock } from '../../src/kubernetes/server-clock.ts';
import { SliceCopy } from '../../src/kubernetes/slice-copy.ts';
import { endsWithin, pause } from '../../src/runtime/bounded.ts';
import { systemRuntime } from '../../src/runtime/system.ts';
import { RecordingLogger } from '../../src/testing/recorders.ts';
import { virtualRuntime } from '../../src/testing/virtual-time.ts';

const resource = endpointSlices('default');
const ttlMs = 10_000;
const startMs = Date.parse('2026-01-01T00:00:00.300Z');

/** An API server by hand with slices, whose answers take their time, and whose clock can be set. */
class SliceServer implements ApiChannel {
  readonly requests: string[] = [];
  readonly #slices = new Map<string, EndpointSlice>();
  readonly #runtime: ReturnType<typeof virtualRuntime>;
  isHanging = false;
  /** Watches are told nothing. */
  isSilent = false;
  aheadMs = 0;
  delayMs = (_isOfOne: boolean): number => 20;
  #version = 0;
  #events: string[] = [];
  #tell = (): void => {};

  constructor(runtime: ReturnType<typeof virtualRuntime>) {
    this.#runtime = runtime;
  }

  get timeMs(): number {
    return startMs + this.#runtime.clock.monotonicMs() + this.aheadMs;
  }

  /** Writes the slice of a node, as the process that has it does. */
  renew(id: string, renewedAtMs = this.timeMs): void {
    const conditions = { ready: true };
    const node = { service: 'greeter', version: '', id, address: '10.0.0.1:1', conditions, record: id, ttlMs };
    const slice = leasedSlice(node, { owner: 'o', renewedAtMs, labels: {} });
    const resourceVersion = String((this.#version += 1));
    const name = slice.metadata?.name ?? '';
    const object = { ...slice, metadata: { ...slice.metadata, resourceVersion } };
    this.#slices.set(name, object);
    if (this.isSilent) return;
    this.#events.push(JSON.stringify({ type: 'MODIFIED', object }));
    this.#tell();
  }

  async request({ query = {} }: ApiRequest, call: ApiCall): ReturnType<ApiChannel['request']> {
    const name = String(query['fieldSelector'] ?? '').replace('metadata.name=', '');
    this.requests.push(name === '' ? 'all' : 'one');
    await this.#takes(this.delayMs(name !== ''), call);
    const items = [...this.#slices.values()].filter((slice) => name === '' || slice.metadata?.name === name);
    const body = JSON.stringify({ metadata: { resourceVersion: String(this.#version) }, items });
    return { status: 200, headers: { date: new Date(this.timeMs).toUTCString() }, body };
  }

  async stream(): ReturnType<ApiChannel['stream']> {
    this.#events = [];
    const next = async (): Promise<IteratorResult<string, undefined>> => {
      while (this.#events.length === 0) await new Promise<void>((resolve) => (this.#tell = resolve));
      return { done: false, value: this.#events.shift() ?? '' };
    };
    const lines: AsyncIterableIterator<string, undefined> = { next, [Symbol.asyncIterator]: () => lines };
    return Object.assign(lines, { status: 200, headers: {} });
  }

  async #takes(delayMs: number, { signal, timeoutMs = 0 }: ApiCall): Promise<void> {
    const { clock, timers } = this.#runtime;
    const untilMs = clock.monotonicMs() + timeoutMs;
    await pause(timers, delayMs, signal);
    while (this.isHanging) {
      if (clock.monotonicMs() > untilMs) throw new Error('it did not answer');
      await pause(timers, 100, signal);
      signal.throwIfAborted();
    }
  }
}

/** A copy of the slices, which is read every second, as a watch of a registry does when a lease may be over. */
async function following(prepare: (server: SliceServer) => void) {
  const runtime = virtualRuntime();
  const { timers } = runtime;
  const server = new SliceServer(runtime);
  prepare(server);
  const clock = new ServerClock(runtime.clock);
  const credentials = { token: async () => undefined, refused: () => false };
  const client = new ApiClient({ channel: server, clock, timeoutMs: 5_000, credentials });
  const ended = new AbortController();
  const { signal } = ended;
  const copy = new SliceCopy<object>({
    client,
    resource,
    by: {},
    runtime,
    logger: new RecordingLogger(),
    watchMs: 600_000,
    resumed: () => {},
    lost: () => {},
    tell: () => {},
    view: {
      clock,
      portName: undefined,
      skipBroken: (_place, read) => read(),
      broken: (why) => new Error(why),
      decode: (id) => ({ service: 'greeter', id, address: '10.0.0.1:1', record: {} }),
      decodePod: () => [],
      describe: () => ({}),
    },
  });
  const pass = async (ms: number): Promise<void> => {
    for (let passed = 0; passed < ms; passed += 500) {
      await systemRuntime.timers.sleep(0);
      await timers.advance(500);
    }
  };
  await pass(4_000);
  await copy.started;
  const look = async (): Promise<void> => {
    while (!signal.aborted) {
      await timers.sleep(1_000, signal);
      await endsWithin((until) => copy.confirmLapsed(until), { timers, timeoutMs: 2_500, signal }).catch(() => {});
    }
  };
  look().catch(() => {});
  return {
    server,
    pass,
    ids: () => copy.view.nodes('greeter').map(({ id }) => id),
    stop: () => {
      ended.abort();
      copy.stop();
    },
  };
}

describe('a lease in a slice', () => {
  it('ends when it was not renewed for twice its length', async () => {
    const { server, pass, ids, stop } = await following((one) => one.renew('n1'));
    await pass(14_000);
    expect(ids()).toEqual(['n1']);
    await pass(4_000);
    expect(ids()).toEqual([]);
    expect(server.requests.length).toBeLessThan(5);
    stop();
  });

  it.each([
    ['every list', (isOfOne: boolean) => (isOfOne ? 20 : 3_000)],
    ['every answer', () => 1_500],
  ])('ends where %s takes longer than a second', async (_what, delayMs) => {
    const { server, pass, ids, stop } = await following((one) => {
      one.delayMs = delayMs;
      one.renew('n1');
    });
    await pass(10_000);
    expect(ids()).toEqual(['n1']);
    await pass(5 * ttlMs);
    expect(ids()).toEqual([]);
    expect(server.requests.length).toBeLessThan(40);
    stop();
  });

  it('does not end if it was renewed, though the watch has not heard of it', async () => {
    const { server, pass, ids, stop } = await following((one) => one.renew('n1'));
    server.isSilent = true;
    for (let times = 0; times < 6; times += 1) {
      await pass(ttlMs / 2);
      server.renew('n1');
    }
    expect(ids()).toEqual(['n1']);
    stop();
  });

  it('ends in time where every answer is late, if changes of others show that the server is there', async () => {
    const { server, pass, ids, stop } = await following((one) => {
      one.delayMs = () => 1_500;
      for (const id of ['n1', 'n2']) one.renew(id);
    });
    for (let times = 0; times < 6; times += 1) {
      await pass(3_500);
      server.renew('n2');
    }
    await pass(3_500);
    expect(ids()).toEqual(['n2']);
    stop();
  });

  it('does not end while the server hangs, nor before it could have been renewed afterwards', async () => {
    const { server, pass, ids, stop } = await following((one) => one.renew('n1'));
    await pass(2_000);
    server.isHanging = true;
    await pass(5 * ttlMs);
    expect(ids()).toEqual(['n1']);
    server.isHanging = false;
    await pass(ttlMs);
    expect(ids()).toEqual(['n1']);
    server.renew('n1');
    await pass(1.5 * ttlMs);
    expect(ids()).toEqual(['n1']);
    await pass(3 * ttlMs);
    expect(ids()).toEqual([]);
    stop();
  });

  it('does not end because the clock of the server is set ahead by an hour, and does end after that', async () => {
    const { server, pass, ids, stop } = await following((one) => one.renew('n1'));
    await pass(2_000);
    server.aheadMs = 3_600_000;
    await pass(2 * ttlMs);
    expect(ids()).toEqual(['n1']);
    await pass(3 * ttlMs);
    expect(ids()).toEqual([]);
    stop();
  });

  it.each([
    ['set back by an hour', -3_600_000],
    ['right', 0],
  ])('ends though it was renewed in the future, by a clock that is %s now', async (_what, aheadMs) => {
    const { pass, ids, stop } = await following((one) => {
      one.renew('n1', one.timeMs + 7_200_000);
      one.aheadMs = aheadMs;
    });
    await pass(ttlMs);
    expect(ids()).toEqual(['n1']);
    await pass(2 * ttlMs);
    expect(ids()).toEqual([]);
    stop();
  });

  it('of many that died at once ends, whatever their number', async () => {
    const { server, pass, ids, stop } = await following((one) => {
      for (let index = 0; index < 100; index += 1) one.renew(`n${index}`);
    });
    await pass(10_000);
    server.renew('n99');
    await pass(20_000);
    expect(ids()).toEqual(['n99']);
    stop();
  });
});
