import assert from 'node:assert/strict';

import { Code, TenonError } from '../errors/errors.ts';
import type {
  NodeRecord,
  Registry,
  RegistryCapabilities,
  RegistryEvent,
  ServiceRecord,
  Watcher,
} from '../registry/registry.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { Case, TestApi } from './api.ts';
import { eventually } from './waiting.ts';

/** What is tested. Registries that `make` gives within one run see each other's announcements if `capabilities.shared`. */
export interface RegistryHarness {
  make(): Registry | Promise<Registry>;
  readonly capabilities: RegistryCapabilities;
  /** The shortest lease that can be kept, in milliseconds. @default 100 */
  readonly shortTtlMs?: number | undefined;
  /** How long a change may take to be seen by others, in milliseconds. @default 2_000 */
  readonly settleMs?: number | undefined;
  /** Endpoints travel with a record. @default true */
  readonly endpoints?: boolean | undefined;
  /** Metadata of the service itself is kept: Go Micro's mDNS records have no place for it. @default true */
  readonly serviceMetadata?: boolean | undefined;
}

let serial = 0;

/** A name that no other case uses: a shared server keeps what earlier ones left. */
function fresh(name = 'suite'): string {
  serial += 1;
  return `${name}-${systemRuntime.random.uuid().slice(0, 8)}-${serial}`;
}

function nodeOf(id: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return { id, address: '127.0.0.1:4000', metadata: {}, ...more };
}

function record(name: string, nodes: readonly NodeRecord[], more: Partial<ServiceRecord> = {}): ServiceRecord {
  return { name, version: '1.0.0', metadata: {}, endpoints: [], nodes, ...more };
}

const ttlMs = 30_000;

async function found(registry: Registry, name: string): Promise<readonly ServiceRecord[]> {
  return registry.getService(name).catch((error: unknown) => {
    if (TenonError.from(error).code === Code.NotFound) return [];
    throw error;
  });
}

function ids(records: readonly ServiceRecord[]): string[] {
  return records.flatMap(({ nodes }) => nodes.map((node) => node.id)).sort();
}

/** What a watcher sees, collected as it comes. */
function collect(watcher: Watcher): { readonly events: RegistryEvent[]; readonly ended: Promise<unknown> } {
  const events: RegistryEvent[] = [];
  const ended = (async () => {
    for await (const event of watcher) events.push(event);
    return 'ended';
  })();
  ended.catch(() => {});
  return { events, ended };
}

/** Runs `body` with registries that are closed afterwards, whatever happens. */
async function using(harness: RegistryHarness, body: (make: () => Promise<Registry>) => Promise<void>): Promise<void> {
  const made: Registry[] = [];
  try {
    await body(async () => {
      const registry = await harness.make();
      made.push(registry);
      return registry;
    });
  } finally {
    await Promise.all(made.map((registry) => registry.close()));
  }
}

/** The promises of {@link Registry}. */
export const registryCases: readonly Case<RegistryHarness>[] = [
  {
    name: 'what is announced is found, with all that was said of it',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const value = { name: 'Request', type: 'Request', values: [{ name: 'name', type: 'string', values: [] }] };
        const full = record(
          name,
          [nodeOf(`${name}-1`, { address: '10.0.0.7:50051', metadata: { zone: 'a', protocol: 'grpc' } })],
          {
            metadata: harness.serviceMetadata === false ? {} : { owner: 'suite' },
            endpoints:
              harness.endpoints === false
                ? []
                : [{ name: 'Suite.Echo', request: value, response: value, metadata: { stream: 'true' } }],
          },
        );
        const registry = await make();
        await registry.register(full, { ttlMs });
        assert.deepEqual(await registry.getService(name), [full]);
        if (harness.capabilities.shared) assert.deepEqual(await (await make()).getService(name), [full]);
      }),
  },
  {
    name: 'a service that nobody announced is NOT_FOUND, and the message names it',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh('nobody');
        const registry = await make();
        await assert.rejects(registry.getService(name), (error: unknown) => {
          assert.ok(TenonError.is(error));
          assert.deepEqual([error.code, error.reason], [Code.NotFound, 'registry.not_found']);
          assert.ok(error.message.includes(name), error.message);
          return true;
        });
      }),
  },
  {
    name: 'several nodes and versions are grouped by version',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await registry.register(record(name, [nodeOf(`${name}-2`, { address: '127.0.0.1:4001' })]), { ttlMs });
        await registry.register(
          record(name, [nodeOf(`${name}-3`, { address: '127.0.0.1:4002' })], { version: '2.0.0' }),
          { ttlMs },
        );
        const records = await registry.getService(name);
        const byVersion = Object.fromEntries(records.map((one) => [one.version, ids([one])]));
        assert.deepEqual(byVersion, { '1.0.0': [`${name}-1`, `${name}-2`], '2.0.0': [`${name}-3`] });
      }),
  },
  {
    name: 'announcing a node again replaces its record',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await registry.register(
          record(name, [nodeOf(`${name}-1`, { address: '127.0.0.1:4009', metadata: { 'tenon-state': 'draining' } })]),
          { ttlMs },
        );
        const [one, ...others] = await registry.getService(name);
        assert.equal(others.length, 0);
        assert.deepEqual(one?.nodes, [
          nodeOf(`${name}-1`, { address: '127.0.0.1:4009', metadata: { 'tenon-state': 'draining' } }),
        ]);
      }),
  },
  {
    name: 'a node that is taken back is gone, and the others stay',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const [first, second] = [record(name, [nodeOf(`${name}-1`)]), record(name, [nodeOf(`${name}-2`)])];
        await registry.register(first, { ttlMs });
        await registry.register(second, { ttlMs });
        await registry.deregister(first);
        assert.deepEqual(ids(await registry.getService(name)), [`${name}-2`]);
        await registry.deregister(second);
        await assert.rejects(registry.getService(name), { code: Code.NotFound });
      }),
  },
  {
    name: 'a record may bring several nodes, and take them back',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const all = [`${name}-1`, `${name}-2`, `${name}-3`].map((id) => nodeOf(id));
        await registry.register(record(name, all), { ttlMs });
        assert.deepEqual(ids(await registry.getService(name)), [`${name}-1`, `${name}-2`, `${name}-3`]);
        await registry.deregister(record(name, all.slice(1)));
        const left = async (): Promise<string> => ids(await found(registry, name)).join();
        await eventually('the others are gone', async () => (await left()) === `${name}-1`, harness.settleMs);
      }),
  },
  {
    name: 'what becomes of a record after it was announced does not show',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const metadata = { zone: 'a' };
        await registry.register(record(name, [nodeOf(`${name}-1`, { metadata })]), { ttlMs });
        metadata.zone = 'b';
        assert.deepEqual((await registry.getService(name))[0]?.nodes[0]?.metadata, { zone: 'a' });
      }),
  },
  {
    name: 'taking back what is not there is no error',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        await (await make()).deregister(record(name, [nodeOf(`${name}-1`)]));
      }),
  },
  {
    name: 'a record without name or nodes is refused',
    run: (harness) =>
      using(harness, async (make) => {
        const registry = await make();
        const refused = { code: Code.InvalidArgument, reason: 'registry.invalid_service' };
        await assert.rejects(registry.register(record('', [nodeOf('x')])), refused);
        await assert.rejects(registry.register(record(fresh(), [])), refused);
      }),
  },
  {
    name: 'all services that have nodes are listed',
    run: (harness) =>
      using(harness, async (make) => {
        const [a, b] = [fresh('a'), fresh('b')];
        const registry = await make();
        for (const name of [a, b]) await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await registry.deregister(record(b, [nodeOf(`${b}-1`)]));
        const names = (await registry.listServices()).map((one) => one.name);
        assert.ok(names.includes(a), names.join(', '));
        assert.ok(!names.includes(b), names.join(', '));
      }),
  },
  {
    name: 'names with dots and other letters are kept apart',
    run: (harness) =>
      using(harness, async (make) => {
        const base = fresh();
        const names = [
          `go.micro.srv.${base}`,
          `go.micro.srv.${base}.more`,
          `${base}_x`,
          `${base}/a`,
          `${base}:a`,
          `${base} ü*?`,
        ];
        const registry = await make();
        for (const name of names) await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        for (const name of names) assert.deepEqual(ids(await registry.getService(name)), [`${name}-1`]);
      }),
  },
  {
    name: 'many announcements at once are all kept',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const all = Array.from({ length: 20 }, (_, index) => `${name}-${String(index).padStart(2, '0')}`);
        await Promise.all(all.map((id) => registry.register(record(name, [nodeOf(id)]), { ttlMs })));
        assert.deepEqual(ids(await registry.getService(name)), all);
      }),
  },
  {
    name: 'what one announces another finds',
    requires: 'shared',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const [here, there] = [await make(), await make()];
        await here.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        assert.deepEqual(ids(await there.getService(name)), [`${name}-1`]);
        await here.deregister(record(name, [nodeOf(`${name}-1`)]));
        await assert.rejects(there.getService(name), { code: Code.NotFound });
      }),
  },
  {
    name: 'a lease that is not renewed lapses, one that is does not',
    requires: 'expires',
    run: (harness) =>
      using(harness, async (make) => {
        const { shortTtlMs = 100, settleMs = 2_000 } = harness;
        const name = fresh();
        const registry = await make();
        const [kept, left] = [record(name, [nodeOf(`${name}-kept`)]), record(name, [nodeOf(`${name}-left`)])];
        await registry.register(kept, { ttlMs: shortTtlMs });
        await registry.register(left, { ttlMs: shortTtlMs });
        for (let waitedMs = 0; waitedMs < 2 * shortTtlMs; waitedMs += shortTtlMs / 4) {
          await systemRuntime.timers.sleep(shortTtlMs / 4);
          const renewedMs = systemRuntime.clock.monotonicMs();
          await registry.register(kept, { ttlMs: shortTtlMs });
          const isThere = ids(await found(registry, name)).includes(`${name}-kept`);
          // On a machine that was too busy to look in time, the lease may have run out.
          const isLate = systemRuntime.clock.monotonicMs() - renewedMs >= shortTtlMs;
          assert.ok(isThere || isLate, 'a renewed lease lapsed');
        }
        await eventually(
          'the lease lapses',
          async () => !ids(await found(registry, name)).includes(`${name}-left`),
          settleMs,
        );
        await eventually(
          'the other lapses as well',
          async () => (await found(registry, name)).length === 0,
          shortTtlMs + settleMs,
        );
      }),
  },
  {
    name: 'a watcher sees a node come, change and go',
    requires: 'watches',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const watcher = await registry.watch({ service: name });
        const { events } = collect(watcher);
        const { settleMs } = harness;
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await eventually('the node comes', () => events.some(({ action }) => action !== 'delete'), settleMs);
        await registry.register(record(name, [nodeOf(`${name}-1`, { metadata: { 'tenon-state': 'draining' } })]), {
          ttlMs,
        });
        await eventually(
          'it changes',
          () => events.some(({ service }) => service.nodes[0]?.metadata['tenon-state'] === 'draining'),
          settleMs,
        );
        await registry.deregister(record(name, [nodeOf(`${name}-1`)]));
        await eventually('it goes', () => events.at(-1)?.action === 'delete', settleMs);
        assert.deepEqual(
          events.at(-1)?.service.nodes.map((node) => node.id),
          [`${name}-1`],
        );
        watcher.stop();
      }),
  },
  {
    name: 'a watcher sees what another registry announces',
    requires: 'shared',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const [here, there] = [await make(), await make()];
        const watcher = await there.watch({ service: name });
        const { events } = collect(watcher);
        await here.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await eventually('the node comes', () => events.length > 0, harness.settleMs);
        await here.deregister(record(name, [nodeOf(`${name}-1`)]));
        await eventually('it goes', () => events.at(-1)?.action === 'delete', harness.settleMs);
        watcher.stop();
      }),
  },
  {
    name: 'a watcher sees a lease lapse',
    requires: 'lapses',
    run: (harness) =>
      using(harness, async (make) => {
        const { shortTtlMs = 100, settleMs = 2_000 } = harness;
        const name = fresh();
        const registry = await make();
        const watcher = await registry.watch({ service: name });
        const { events } = collect(watcher);
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs: shortTtlMs });
        await eventually('it goes', () => events.at(-1)?.action === 'delete', shortTtlMs + settleMs);
        watcher.stop();
      }),
  },
  {
    name: 'a watcher of one service sees no other',
    requires: 'watches',
    run: (harness) =>
      using(harness, async (make) => {
        const [mine, other] = [fresh('mine'), fresh('other')];
        const registry = await make();
        const one = await registry.watch({ service: mine });
        const all = await registry.watch();
        const [seenByOne, seenByAll] = [collect(one), collect(all)];
        await registry.register(record(other, [nodeOf(`${other}-1`)]), { ttlMs });
        await registry.register(record(mine, [nodeOf(`${mine}-1`)]), { ttlMs });
        await eventually(
          'both are seen',
          () => new Set(seenByAll.events.map(({ service }) => service.name)).size >= 2 && seenByOne.events.length > 0,
          harness.settleMs,
        );
        assert.deepEqual([...new Set(seenByOne.events.map(({ service }) => service.name))], [mine]);
        one.stop();
        all.stop();
      }),
  },
  {
    name: 'a watcher is not told of what was there before, nor of renewals',
    requires: 'watches',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        const watcher = await registry.watch({ service: name });
        const { events } = collect(watcher);
        await registry.register(record(name, [nodeOf(`${name}-1`)]), { ttlMs });
        await registry.register(record(name, [nodeOf(`${name}-2`)]), { ttlMs });
        await eventually(
          'a change comes',
          () => events.some(({ service }) => ids([service]).includes(`${name}-2`)),
          harness.settleMs,
        );
        assert.deepEqual(
          events.flatMap(({ service }) => ids([service])),
          [`${name}-2`],
        );
        watcher.stop();
      }),
  },
  {
    name: 'changes are told in their order, and what is told last is how it is',
    requires: 'watches',
    run: (harness) =>
      using(harness, async (make) => {
        const name = fresh();
        const registry = await make();
        const watcher = await registry.watch({ service: name });
        const { events } = collect(watcher);
        for (let round = 0; round < 10; round += 1) {
          await registry.register(record(name, [nodeOf(`${name}-1`, { metadata: { round: String(round) } })]), {
            ttlMs,
          });
        }
        const told = (): string[] => events.map(({ service }) => service.nodes[0]?.metadata['round'] ?? '');
        await eventually('the last one comes', () => told().at(-1) === '9', harness.settleMs);
        assert.deepEqual(told(), [...told()].sort());
        watcher.stop();
      }),
  },
  {
    name: 'stopping a watcher ends its iteration, and so does its signal',
    requires: 'watches',
    run: (harness) =>
      using(harness, async (make) => {
        const registry = await make();
        const stopped = await registry.watch({ service: fresh() });
        const first = collect(stopped);
        stopped.stop();
        stopped.stop();
        assert.equal(await first.ended, 'ended');
        const controller = new AbortController();
        const second = collect(await registry.watch({ service: fresh(), signal: controller.signal }));
        controller.abort();
        assert.equal(await second.ended, 'ended');
      }),
  },
  {
    name: 'a call whose signal has aborted is CANCELLED',
    run: (harness) =>
      using(harness, async (make) => {
        const registry = await make();
        const signal = AbortSignal.abort();
        const cancelled = { code: Code.Cancelled, reason: 'call.cancelled' };
        await assert.rejects(registry.getService(fresh(), { signal }), cancelled);
        await assert.rejects(registry.register(record(fresh(), [nodeOf('x')]), { signal }), cancelled);
      }),
  },
  {
    name: 'options come before the first call',
    run: (harness) =>
      using(harness, async (make) => {
        const registry = await make();
        registry.init({ ttlMs: 12_345 });
        assert.equal(registry.options.ttlMs, 12_345);
        await found(registry, fresh());
        assert.throws(() => registry.init({ ttlMs: 1 }), { code: Code.FailedPrecondition, reason: 'registry.started' });
      }),
  },
  {
    name: 'closing ends watchers and refuses what comes',
    run: (harness) =>
      using(harness, async (make) => {
        const registry = await make();
        const watching = harness.capabilities.watches
          ? collect(await registry.watch()).ended
          : Promise.resolve('ended');
        await registry.close();
        await registry.close();
        assert.equal(await watching, 'ended');
        const closed = { code: Code.FailedPrecondition, reason: 'registry.closed' };
        await assert.rejects(registry.getService(fresh()), closed);
        await assert.rejects(registry.register(record(fresh(), [nodeOf('x')])), closed);
        await assert.rejects(registry.deregister(record(fresh(), [nodeOf('x')])), closed);
        await assert.rejects(registry.listServices(), closed);
        await assert.rejects(registry.watch(), closed);
      }),
  },
];

/** The cases that concern a registry of these capabilities. */
export function registryCasesFor(harness: RegistryHarness): readonly Case<RegistryHarness>[] {
  const { expires, shared, watches } = harness.capabilities;
  const supported: Record<string, boolean> = {
    expires,
    shared: shared && watches,
    watches,
    lapses: expires && watches,
  };
  return registryCases.filter(({ requires }) => requires === undefined || supported[requires] === true);
}

/** Registers the suite of registries with a runner. */
export function registryConformance(api: TestApi, name: string, harness: RegistryHarness): void {
  api.describe(`registry: ${name}`, () => {
    for (const one of registryCasesFor(harness)) api.it(one.name, () => one.run(harness));
  });
}
