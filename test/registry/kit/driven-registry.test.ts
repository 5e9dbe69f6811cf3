import { describe, expect, it } from '@jest/globals';

import { Code, TenonError } from '../../../src/errors/errors.ts';
import type {
  DriverCall,
  Registration,
  RegistryDriver,
  Snapshot,
  WatchFeed,
} from '../../../src/registry/kit/driver.ts';
import { DrivenRegistry, type DriverSettings } from '../../../src/registry/kit/driven-registry.ts';
import type { DriverFailure } from '../../../src/registry/kit/errors.ts';
import type { RegistryCapabilities, RegistryOptions } from '../../../src/registry/registry.ts';
import { WatchRecorder } from '../../../src/testing/recorders.ts';
import { gate } from '../../../src/testing/waiting.ts';
import { virtualRuntime } from '../../../src/testing/virtual-time.ts';
import { idsOf, nodeOf, serviceOf } from '../support.ts';

/** A driver that does what the test says, and writes down what it is asked. */
class ScriptedDriver implements RegistryDriver {
  readonly server = 'the server at host:1';
  readonly log: string[] = [];
  readonly registrations: Registration[] = [];
  readonly calls: DriverCall[] = [];
  readonly feeds: { readonly feed: WatchFeed; readonly signal: AbortSignal }[] = [];
  bounds: RegistryDriver['bounds'];
  listsNames = false;
  snapshot: Snapshot = { nodes: [] };
  /** What every call waits for. */
  held: Promise<unknown> = Promise.resolve();
  error: unknown;
  means: DriverFailure = { kind: 'unreachable', remedy: 'Start it' };
  names?(): Promise<readonly string[]>;
  watch?(feed: WatchFeed, signal: AbortSignal, call: DriverCall): Promise<void>;

  /** Ids of nodes that the server does not have. */
  readonly lost = new Set<string>();

  async announce(registration: Registration, call: DriverCall): Promise<'created' | void> {
    await this.#ask(`announce ${registration.node.id}`, call);
    this.registrations.push(registration);
    return this.lost.has(registration.node.id) ? 'created' : undefined;
  }

  withdraw(service: string, id: string, call: DriverCall): Promise<void> {
    return this.#ask(`withdraw ${service} ${id}`, call);
  }

  async read(service: string | undefined, call: DriverCall): Promise<Snapshot> {
    await this.#ask(`read ${service ?? 'all'}${call.isInitialRead ? ' first' : ''}`, call);
    return this.snapshot;
  }

  failure(): DriverFailure {
    return this.means;
  }

  close(): void {
    this.log.push('close');
  }

  async #ask(what: string, call: DriverCall): Promise<void> {
    this.log.push(what);
    this.calls.push(call);
    await this.held;
    if (this.error !== undefined) throw this.error;
  }
}

class ScriptedRegistry extends DrivenRegistry<DriverSettings> {
  constructor(
    driver: RegistryDriver,
    options: RegistryOptions,
    runtime: ReturnType<typeof virtualRuntime>,
    capabilities: Partial<RegistryCapabilities>,
    opened: DriverSettings[],
  ) {
    super(
      {
        name: 'scripted',
        optionsName: 'ScriptedOptions',
        capabilities: { expires: true, shared: true, watches: true, ...capabilities },
        open: (settings) => {
          opened.push(settings);
          return driver;
        },
      },
      options,
      runtime,
    );
  }
}

function scene(options: RegistryOptions = {}, capabilities: Partial<RegistryCapabilities> = {}) {
  const [runtime, driver] = [virtualRuntime(), new ScriptedDriver()];
  const opened: DriverSettings[] = [];
  const registry = new ScriptedRegistry(driver, options, runtime, capabilities, opened);
  return { runtime, timers: runtime.timers, driver, registry, opened };
}

function withWatch(driver: ScriptedDriver): void {
  driver.watch = async (feed, signal, call) => {
    driver.log.push('watch');
    driver.calls.push(call);
    await driver.held;
    driver.feeds.push({ feed, signal });
  };
}

const record = serviceOf('greeter', ['n1', 'n2']);
const held = (...ids: readonly string[]) => ids.map((id) => ({ service: serviceOf('greeter', [id]) }));

describe('a registry over a driver', () => {
  it('tells observers of nodes that it registers again, and of watches that were resumed', async () => {
    const { registry, driver } = scene();
    withWatch(driver);
    const seen: object[] = [];
    registry.observe({ onRestored: (node) => void seen.push(node), onWatchResumed: (watch) => void seen.push(watch) });
    driver.lost.add('n1').add('n2');
    await registry.register(record);
    expect(seen).toEqual([]);
    driver.lost.delete('n1');
    await registry.register(record);
    expect(seen).toEqual([{ registry: 'scripted', service: 'greeter', node: 'n2' }]);
    await registry.deregister(record);
    await registry.register(record);
    await registry.release(record);
    await registry.register(record);
    expect(seen).toHaveLength(1);
    await registry.watch({ service: 'greeter' });
    driver.feeds[0]?.feed.resumed();
    expect(seen.slice(1)).toEqual([{ registry: 'scripted', service: 'greeter' }]);
    await registry.close();
  });

  it('does not find a node whose lease has lapsed', async () => {
    const { registry, driver } = scene();
    const [first, second] = held('n1', 'n2');
    driver.snapshot = { nodes: [{ ...first!, hasLapsed: true }, second!] };
    expect(await idsOf(registry, 'greeter')).toEqual(['n2']);
    expect((await registry.listServices()).flatMap(({ nodes }) => nodes.map(({ id }) => id))).toEqual(['n2']);
    await registry.close();
  });

  it('opens the driver at the first call, with the options of that moment', async () => {
    const { registry, opened } = scene({ ttlMs: 1_000 });
    registry.init({ address: 'a:1' });
    expect(opened).toEqual([]);
    await registry.register(record);
    await registry.deregister(record);
    expect(opened).toEqual([{ ttlMs: 1_000, timeoutMs: 5_000, address: 'a:1' }]);
    expect(() => registry.init({})).toThrow(
      expect.objectContaining({ code: Code.FailedPrecondition, reason: 'registry.started' }),
    );
  });

  it('registers and deregisters each node separately', async () => {
    const { registry, driver } = scene();
    await registry.register(record, { ttlMs: 2_000 });
    expect(driver.registrations.map(({ service, node, ttlMs }) => [service.nodes, node.id, ttlMs])).toEqual([
      [[nodeOf('n1')], 'n1', 2_000],
      [[nodeOf('n2')], 'n2', 2_000],
    ]);
    await registry.deregister(record);
    expect(driver.log.slice(2)).toEqual(['withdraw greeter n1', 'withdraw greeter n2']);
  });

  it.each<[string, Partial<RegistryCapabilities>, number, number]>([
    ['as it is', {}, 1_500.4, 1_501],
    ['up to whole seconds', { ttlGranularityMs: 1_000 }, 1_001, 2_000],
    ['no further than needed', { ttlGranularityMs: 1_000 }, 2_000, 2_000],
    ['up to the shortest that there is', { ttlGranularityMs: 1_000, minTtlMs: 10_000 }, 1_500, 10_000],
    ['as it is, above the shortest', { minTtlMs: 10_000 }, 12_345, 12_345],
  ])('passes the time of a lease to the driver, %s', async (_what, capabilities, ttlMs, expected) => {
    const { registry, driver } = scene({}, capabilities);
    await registry.register(serviceOf('greeter', ['n1']), { ttlMs });
    expect(driver.registrations[0]?.ttlMs).toBe(expected);
  });

  it.each([Number.NaN, 0, -1, Number.POSITIVE_INFINITY])('refuses a lease of %p ms', async (ttlMs) => {
    const { registry, driver } = scene({}, { ttlGranularityMs: 1_000 });
    await expect(registry.register(record, { ttlMs })).rejects.toMatchObject({ reason: 'registry.invalid_option' });
    expect(driver.log).toEqual([]);
  });

  it('refuses records that readers would skip, and records that are too large', async () => {
    const { registry, driver } = scene();
    driver.bounds = { maxRecordBytes: 200 };
    const large = serviceOf('greeter', [nodeOf('n1', { metadata: { much: 'x'.repeat(200) } })]);
    for (const one of [serviceOf('', ['n1']), serviceOf('greeter', []), large]) {
      await expect(registry.register(one)).rejects.toMatchObject({ reason: 'registry.invalid_service' });
    }
    expect(driver.log).toEqual([]);
  });

  it('refuses to register with a read-only driver', async () => {
    const { registry, driver } = scene();
    Object.assign(driver, { announce: undefined, withdraw: undefined });
    const refused = { code: Code.Unimplemented, reason: 'registry.read_only' };
    await expect(registry.register(record)).rejects.toMatchObject(refused);
    await expect(registry.deregister(record)).rejects.toMatchObject(refused);
    driver.snapshot = { nodes: held('n1') };
    expect(await idsOf(registry, 'greeter')).toEqual(['n1']);
  });

  it('groups the nodes that it read by version, and skips other services', async () => {
    const { registry, driver } = scene();
    const second = { service: serviceOf('greeter', ['n3'], { version: '2.0.0' }) };
    driver.snapshot = { nodes: [...held('n1', 'n2'), second, { service: serviceOf('other', ['o1']) }] };
    expect(await registry.getService('greeter')).toEqual([record, second.service]);
    await expect(registry.getService('nobody')).rejects.toMatchObject({ reason: 'registry.not_found' });
  });

  it('lists all services of one read, sorted by name', async () => {
    const { registry, driver } = scene();
    driver.snapshot = { nodes: [{ service: serviceOf('z', ['z1']) }, ...held('n1', 'n2')] };
    expect(await registry.listServices()).toEqual([record, serviceOf('z', ['z1'])]);
    expect(driver.log).toEqual(['read all']);
  });

  it('lists services that are read one by one, or only their names', async () => {
    const { registry, driver } = scene();
    driver.names = async () => ['greeter', 'other'];
    driver.snapshot = { nodes: held('n1') };
    await registry.listServices();
    expect(driver.log).toEqual(['read greeter', 'read other']);
    driver.listsNames = true;
    expect((await registry.listServices()).map(({ name, nodes }) => [name, nodes])).toEqual([
      ['greeter', []],
      ['other', []],
    ]);
    expect(driver.log).toHaveLength(2);
  });

  it('rejects after the time limit, and aborts the call of the driver', async () => {
    const { registry, driver, timers } = scene({ timeoutMs: 1_000 });
    driver.held = new Promise(() => {});
    const failed = registry.getService('greeter').catch((error: unknown) => error);
    await timers.advance(999);
    expect(driver.calls[0]?.signal.aborted).toBe(false);
    await timers.advance(1);
    expect(await failed).toMatchObject({
      code: Code.DeadlineExceeded,
      reason: 'registry.timeout',
      message: expect.stringMatching(/getService: the server at host:1 did not answer .* within 1000 ms/),
    });
    expect(driver.calls[0]?.signal.aborted).toBe(true);
    const own = registry.getService('greeter', { timeoutMs: 10 }).catch((error: unknown) => error);
    await timers.advance(10);
    expect(await own).toMatchObject({ message: expect.stringContaining('within 10 ms') });
    await expect(registry.getService('greeter', { timeoutMs: Number.NaN })).rejects.toMatchObject({
      reason: 'options.invalid_number',
    });
  });

  it('rejects when the caller aborts, and does not call the driver if the caller has aborted', async () => {
    const { registry, driver, timers } = scene();
    driver.held = new Promise(() => {});
    const controller = new AbortController();
    const failed = registry.register(record, { signal: controller.signal }).catch((error: unknown) => error);
    await timers.settle();
    controller.abort();
    expect(await failed).toMatchObject({ code: Code.Cancelled, reason: 'call.cancelled' });
    const asked = driver.log.length;
    await expect(registry.getService('greeter', { signal: controller.signal })).rejects.toMatchObject({
      reason: 'call.cancelled',
    });
    await expect(registry.watch({ signal: controller.signal })).rejects.toMatchObject({ reason: 'call.cancelled' });
    expect(driver.log).toHaveLength(asked);
  });

  it.each<[DriverFailure, Code, string, string]>([
    [
      { kind: 'unreachable', remedy: 'Start it' },
      Code.Unavailable,
      'registry.unreachable',
      'getService of the scripted registry: the server at host:1 cannot be reached (connect ECONNREFUSED). Start it',
    ],
    [
      { kind: 'refused' },
      Code.Internal,
      'registry.refused',
      'getService of the scripted registry: the server at host:1 refused: connect ECONNREFUSED',
    ],
    [
      { kind: 'denied', why: 'no such user' },
      Code.PermissionDenied,
      'registry.refused',
      'getService of the scripted registry: the server at host:1 refused: no such user',
    ],
  ])("translates the driver's error %j", async (means, code, reason, message) => {
    const { registry, driver } = scene();
    driver.means = means;
    driver.error = new Error('connect ECONNREFUSED');
    await expect(registry.getService('greeter')).rejects.toMatchObject({ code, reason, message, cause: driver.error });
  });

  it('passes on a TenonError unchanged', async () => {
    const { registry, driver } = scene();
    driver.error = new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_service', message: 'no' });
    await expect(registry.register(record)).rejects.toBe(driver.error);
  });

  it('closes the driver once, and refuses calls after close', async () => {
    const { registry, driver, opened } = scene();
    await registry.listServices();
    await registry.close();
    await registry.close();
    expect(driver.log).toEqual(['read all', 'close']);
    const closed = { code: Code.FailedPrecondition, reason: 'registry.closed' };
    await expect(registry.register(record)).rejects.toMatchObject(closed);
    await expect(registry.watch()).rejects.toMatchObject(closed);
    expect(() => registry.init({})).toThrow(expect.objectContaining({ reason: 'registry.started' }));
    expect(opened).toHaveLength(1);
  });

  it('reports that it was closed if a call fails because of close', async () => {
    const { registry, driver, timers } = scene();
    const answered = gate();
    driver.held = answered.opened;
    const failed = registry.getService('greeter').catch((error: unknown) => error);
    await timers.settle();
    await registry.close();
    driver.error = new Error('connection closed');
    answered.open();
    expect(await failed).toMatchObject({ reason: 'registry.closed' });
  });

  it('does not open the driver to close it', async () => {
    const { registry, driver, opened } = scene();
    await registry.close();
    expect([opened, driver.log]).toEqual([[], []]);
  });
});

describe('a watch of a registry over a driver', () => {
  it('subscribes before it reads, and unsubscribes when it ends', async () => {
    const { registry, driver } = scene();
    withWatch(driver);
    const watcher = await registry.watch({ service: 'greeter' });
    expect(driver.log).toEqual(['watch', 'read greeter first']);
    const [{ feed, signal } = { feed: undefined, signal: undefined }] = driver.feeds;
    expect(feed?.service).toBe('greeter');
    expect(signal?.aborted).toBe(false);
    const seen = new WatchRecorder(watcher);
    feed?.change({ action: 'create', service: serviceOf('greeter', ['n1']) });
    watcher.stop();
    expect(signal?.aborted).toBe(true);
    expect(await seen.ended).toBeUndefined();
    expect(seen.texts).toEqual(['create n1']);
  });

  it('polls a driver without notifications once a second', async () => {
    const { registry, driver, timers } = scene();
    const seen = new WatchRecorder(await registry.watch());
    driver.snapshot = { nodes: held('n1', 'n2') };
    await timers.advance(1_000);
    driver.snapshot = { nodes: held('n2', 'n3') };
    await timers.advance(1_000);
    await timers.advance(8_000);
    expect(seen.texts).toEqual(['create n1', 'create n2', 'create n3', 'delete n1']);
    expect(driver.log).toEqual(['read all first', ...Array<string>(10).fill('read all')]);
    await registry.close();
    await timers.advance(10_000);
    expect(driver.log).toHaveLength(12);
    expect(await seen.ended).toBeUndefined();
  });

  it('reads again after notifications, at the rate of the driver', async () => {
    const { registry, driver, timers } = scene();
    withWatch(driver);
    driver.bounds = { minReadMs: 200, maxReadMs: 5_000 };
    await registry.watch({ service: 'greeter' });
    for (let passedMs = 0; passedMs < 1_000; passedMs += 10) {
      driver.feeds[0]?.feed.refresh();
      await timers.advance(10);
    }
    expect(driver.log.filter((line) => line === 'read greeter').length).toBeLessThanOrEqual(5);
    driver.log.length = 0;
    await timers.advance(20_000);
    expect(driver.log.length).toBeLessThanOrEqual(5);
  });

  it('leaves nothing behind if it fails to start', async () => {
    const { registry, driver } = scene();
    withWatch(driver);
    driver.error = new Error('away');
    await expect(registry.watch()).rejects.toMatchObject({ reason: 'registry.unreachable' });
    expect(driver.feeds.map(({ signal }) => signal.aborted)).toEqual([true]);
  });

  it('ends if its time limit passes before it has started, even if the driver finishes later', async () => {
    const { registry, driver, timers } = scene({ timeoutMs: 300 });
    withWatch(driver);
    const answered = gate();
    driver.held = answered.opened;
    const failed = registry.watch().catch((error: unknown) => error);
    await timers.advance(300);
    expect(await failed).toMatchObject({ reason: 'registry.timeout' });
    answered.open();
    await timers.settle();
    expect(driver.feeds.map(({ signal }) => signal.aborted)).toEqual([true]);
    expect(driver.log).toEqual(['watch']);
  });

  it('ends with an error when the driver reports a loss, or when a read fails', async () => {
    const { registry, driver, timers } = scene();
    withWatch(driver);
    const [first, second] = [new WatchRecorder(await registry.watch()), new WatchRecorder(await registry.watch())];
    driver.feeds[0]?.feed.fail('the connection was lost');
    expect(await first.ended).toMatchObject({
      code: Code.Unavailable,
      reason: 'registry.watch_lost',
      message: expect.stringContaining('the connection was lost'),
    });
    driver.error = new Error('away');
    driver.feeds[1]?.feed.refresh();
    await timers.advance(200);
    expect(await second.ended).toMatchObject({
      reason: 'registry.watch_lost',
      message: expect.stringContaining('the server at host:1 does not answer'),
      cause: expect.objectContaining({ reason: 'registry.unreachable' }),
    });
  });
});
