import { afterAll, beforeAll, describe, it } from '@jest/globals';
import fc from 'fast-check';

import { backendRow } from '../../../src/app/internal/backend-table.ts';
import { CachedRegistry } from '../../../src/registry/cache.ts';
import { MemoryRegistry, MemoryRegistryStore } from '../../../src/registry/memory.ts';
import { type Registry, type ServiceRecord, stateKey } from '../../../src/registry/registry.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { BackendServer, describeWithServer } from '../../support/servers.ts';
import { type ToxicProxy, Toxiproxy } from '../../support/toxiproxy.ts';
import { eventually } from '../../support/waiting.ts';
import { EtcdOperator } from '../etcd-support.ts';
import { fileHarness, nodeOf, serviceOf } from '../support.ts';
import { History, textOf, WatchCheck } from './history.ts';
import { services, type Step, steps } from './view-model.ts';

const ttlMs = 60_000;
const patientMs = 60_000;
const { clock, timers } = systemRuntime;
const nowMs = (): number => clock.monotonicMs();

/** A registry on a real server, and what is done to both. */
interface Subject {
  /** Makes a registry that is disturbed by faults. */
  make(): Registry;
  /** Registers a node; with a short lease it is not renewed. */
  put(record: ServiceRecord, hasShortLease: boolean): Promise<void>;
  drop(record: ServiceRecord): Promise<void>;
  /** Disturbs the server or the connections to it; returns when that is over. */
  disturb(step: Step): Promise<void>;
}

/** Two services on a real server, and all who look at them. */
class Scene {
  readonly #subject: Subject;
  readonly #history = new History(nowMs);
  readonly #viewer: Registry;
  readonly #cache: CachedRegistry;
  readonly #nodes = new Map<number, ServiceRecord>();
  /** Nodes whose lease ends, or has ended. */
  readonly #killed = new Map<number, ServiceRecord>();
  readonly #watches = new Map<string | undefined, WatchCheck | undefined>();
  readonly #closing = new AbortController();
  readonly #errors: unknown[] = [];

  constructor(subject: Subject) {
    this.#subject = subject;
    this.#viewer = subject.make();
    this.#cache = new CachedRegistry(subject.make(), { graceMs: 3_000, ttlMs: 1_000 });
    for (const name of [...services, undefined]) void this.#follow(name);
  }

  async take(step: Step): Promise<void> {
    if (step.do === 'register') await this.#register(step);
    else if (step.do === 'wait') await timers.sleep(step.ms / 20);
    else if (step.do === 'quiet') await this.quiet();
    else if (step.do === 'kill') await this.#end(step.node, 'kill');
    else if (step.do === 'deregister' || step.do === 'leave') await this.#end(step.node, step.do);
    else await this.#disturb(step);
    this.#throwErrors();
  }

  /** Waits until everybody knows what is so. */
  async quiet(): Promise<void> {
    let why = '';
    const isKnown = async (): Promise<boolean> => {
      why = await this.#difference();
      return why === '';
    };
    try {
      await eventually('everything is known', isKnown, patientMs);
    } catch (error) {
      throw new Error(why, { cause: error });
    }
    this.#throwErrors();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const record of this.#nodes.values()) await this.#subject.drop(record).catch(() => {});
    await this.#cache.close();
    await this.#viewer.close();
  }

  async #register({ node: at, version, round }: Extract<Step, { do: 'register' }>): Promise<void> {
    const node = nodeOf(`n${at}`, { metadata: { round: String(round) } });
    const record = serviceOf(nameOf(at), [node], { version: `${version}.0.0` });
    this.#nodes.set(at, record);
    this.#killed.delete(at);
    this.#history.note(record.name, node.id, record);
    await patiently(() => this.#subject.put(record, false));
  }

  async #end(at: number, how: 'kill' | 'deregister' | 'leave'): Promise<void> {
    const record = this.#nodes.get(at);
    if (!record) return;
    this.#nodes.delete(at);
    if (how === 'kill') this.#killed.set(at, record);
    const nodes = record.nodes.map((one) => ({ ...one, metadata: { ...one.metadata, [stateKey]: 'draining' } }));
    if (how === 'leave') {
      this.#history.note(record.name, `n${at}`, { ...record, nodes });
      await patiently(() => this.#subject.put({ ...record, nodes }, false));
    }
    this.#history.note(record.name, `n${at}`, undefined);
    await patiently(() => (how === 'kill' ? this.#subject.put(record, true) : this.#subject.drop(record)));
  }

  async #disturb(step: Step): Promise<void> {
    // A server that is disturbed may lose what it has, until that is registered again.
    for (const [at, record] of this.#nodes) {
      this.#history.note(record.name, `n${at}`, undefined);
      this.#history.note(record.name, `n${at}`, record);
    }
    // So may one be registered again whose lease has not ended yet.
    for (const [at, record] of this.#killed) {
      this.#history.note(record.name, `n${at}`, record);
      this.#history.note(record.name, `n${at}`, undefined);
    }
    await this.#subject.disturb(step);
    for (const record of this.#nodes.values()) await patiently(() => this.#subject.put(record, false));
  }

  /** Describes a view that is not what is so; empty if there is none. */
  async #difference(): Promise<string> {
    for (const name of services) {
      const truth = this.#history.truth(name);
      for (const [who, registry] of [['the cache', this.#cache] as const, ['a read', this.#viewer] as const]) {
        const records = await registry.getService(name).catch(() => []);
        const texts = records.flatMap((record) => record.nodes.map((one) => textOf({ ...record, nodes: [one] })));
        this.#checkNow(name, records);
        if (String(texts.sort()) !== String(truth)) return `${who} has ${String(texts)}, and it is ${String(truth)}`;
      }
    }
    for (const [name, check] of this.#watches) {
      if (!check) return `nobody watches ${name ?? 'all services'}`;
      try {
        check.assertUpToDate((service) => name === undefined || service === name);
      } catch (error) {
        return (error as Error).message;
      }
    }
    return '';
  }

  #checkNow(name: string, records: readonly ServiceRecord[]): void {
    const ids = records.flatMap(({ nodes }) => nodes.map(({ id }) => id));
    if (new Set(ids).size !== ids.length) throw new Error(`a node of ${name} is there twice: ${String(ids)}`);
    for (const record of records)
      for (const one of record.nodes) {
        const text = textOf({ ...record, nodes: [one] });
        if (!this.#history.between(name, one.id, 0).includes(text)) throw new Error(`this never was: ${text}`);
      }
  }

  async #follow(service: string | undefined): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#watches.set(service, undefined);
      const check = new WatchCheck(this.#history, nowMs());
      try {
        const watcher = await this.#viewer.watch({ service, signal });
        check.established(nowMs());
        this.#watches.set(service, check);
        for await (const event of watcher) {
          if ((services as readonly string[]).includes(event.service.name)) this.#take(check, event);
        }
      } catch {
        await timers.sleep(100, signal).catch(() => {});
      }
    }
  }

  #take(check: WatchCheck, event: Parameters<WatchCheck['take']>[0]): void {
    try {
      check.take(event);
    } catch (error) {
      this.#errors.push(error);
    }
  }

  #throwErrors(): void {
    const [error] = this.#errors;
    if (error !== undefined) throw error;
  }
}

function nameOf(at: number): string {
  return services[at % services.length] as string;
}

async function patiently(work: () => Promise<void>): Promise<void> {
  let error: unknown;
  const isDone = (): Promise<boolean> =>
    work().then(
      () => true,
      (failure: unknown) => {
        error = failure;
        return false;
      },
    );
  await eventually('a call succeeds', isDone, patientMs).catch((cause: unknown) => {
    throw new Error(`a call does not succeed: ${String(error)}`, { cause });
  });
}

/** The same sequences for each, shorter than those in virtual time. */
const sequences = fc
  .sample(steps, { seed: 11, numRuns: 60 })
  .filter((all) => all.some((step) => step.do === 'away') && all.some((step) => step.do === 'register'))
  .map((all) => all.slice(0, 12))
  .slice(0, 4);

function theView(subject: () => Subject): void {
  it.each(sequences.map((all, at) => [`sequence ${at + 1}`, all] as const))(
    'is what is so after %s, and its events are true',
    async (_name, all) => {
      const scene = new Scene(subject());
      try {
        for (const step of all) await scene.take(step);
        await scene.quiet();
      } finally {
        await scene.close();
      }
    },
    300_000,
  );
}

describe('the view of a memory registry', () => {
  theView(() => {
    const store = new MemoryRegistryStore();
    const registry = new MemoryRegistry({ store });
    return {
      make: () => new MemoryRegistry({ store }),
      put: (record, hasShortLease) => registry.register(record, { ttlMs: hasShortLease ? 100 : ttlMs }),
      drop: (record) => registry.deregister(record),
      disturb: async () => {},
    };
  });
});

describe('the view of a file', () => {
  const harness = fileHarness();
  theView(() => ({
    make: () => harness.make() as Registry,
    put: async (record, hasShortLease) => (hasShortLease ? harness.unseed?.(record) : harness.seed?.(record)),
    drop: async (record) => harness.unseed?.(record),
    disturb: async () => {},
  }));
});

const onServers: readonly (readonly [name: string, server: BackendServer, shortTtlMs: number])[] = [
  ['redis', new BackendServer('redis', { persistent: true }), 500],
  ['etcd', new BackendServer('etcd'), 2_000],
  ['consul', new BackendServer('consul', { persistent: true }), 1_000],
  ['zookeeper', new BackendServer('zookeeper'), 4_000],
];

for (const [name, backend, shortTtlMs] of onServers) {
  describeWithServer(`the view of ${name}`, backend, (server) => {
    const toxiproxy = new Toxiproxy();
    let proxy: ToxicProxy;
    let open: (address: string) => Registry;
    let direct: Registry;
    beforeAll(async () => {
      await toxiproxy.start();
      proxy = await toxiproxy.proxy(server.address);
      const { implementation } = await backendRow('registry', name)!.load({});
      open = (address) => new implementation({ address, ttlMs }) as Registry;
      direct = open(server.address);
    }, 60_000);
    afterAll(async () => {
      await direct.close();
      await toxiproxy.dispose();
    });
    const cutFor = async (ms: number): Promise<void> => {
      await proxy.cut();
      await timers.sleep(ms);
      await proxy.heal();
    };
    const killFor = async (ms: number, losesData: boolean): Promise<void> => {
      await server.kill();
      if (losesData) server.erase();
      await timers.sleep(ms);
      await server.start();
    };
    theView(() => ({
      make: () => open(proxy.address),
      put: (record, hasShortLease) => direct.register(record, { ttlMs: hasShortLease ? shortTtlMs : ttlMs }),
      drop: (record) => direct.deregister(record),
      disturb: async (step) => {
        if (step.do === 'break-watches') await cutFor(0);
        else if (step.do === 'compact' && name === 'etcd') await new EtcdOperator(server).compact();
        else if (step.do !== 'away') return;
        else if (step.how === 'bridged') await cutFor(step.ms / 20);
        else await killFor(step.ms / 50, step.how === 'lost');
      },
    }));
  });
}
