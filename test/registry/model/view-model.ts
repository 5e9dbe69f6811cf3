import fc from 'fast-check';

import { CachedRegistry } from '../../../src/registry/cache.ts';
import { idOf } from '../../../src/registry/kit/node-table.ts';
import { type ServiceRecord, stateKey } from '../../../src/registry/registry.ts';
import type { Timer } from '../../../src/runtime/runtime.ts';
import { type VirtualRuntime, virtualRuntime } from '../../../src/testing/virtual-time.ts';
import { nodeOf, serviceOf } from '../support.ts';
import { textOf, WatchCheck } from './history.ts';
import { type ModelKind, ModelRegistry, ModelServer } from './model-server.ts';

/** Something that happens to the services, or to the server that has them. */
export type Step =
  /** A process registers a node, or changes its record, and renews it. */
  | { readonly do: 'register'; readonly node: number; readonly version: number; readonly round: number }
  /** A process announces that it drains, and deregisters. */
  | { readonly do: 'leave'; readonly node: number }
  /** A process deregisters without a word, as Go Micro's. */
  | { readonly do: 'deregister'; readonly node: number }
  /** A process is killed: its lease ends. */
  | { readonly do: 'kill'; readonly node: number }
  /** The server is away: watches break, or their connections outlive it; it may come back without its data. */
  | { readonly do: 'away'; readonly ms: number; readonly how: 'broken' | 'bridged' | 'lost' }
  | { readonly do: 'break-watches' }
  | { readonly do: 'compact' }
  | { readonly do: 'wait'; readonly ms: number }
  /** Nothing happens until everything is known. */
  | { readonly do: 'quiet' };

export const services = ['greeter', 'clock'] as const;
const ttlMs = 30_000;
const renewMs = ttlMs / 3;
/** A watch of the cache begins anew after 5 s at most; then it keeps nodes for a lease, and reads once more. */
const quietMs = 5_000 + ttlMs + 6_000;

const node = fc.nat(5);

/** Sequences of steps. */
export const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ do: fc.constant('register'), node, version: fc.nat(1), round: fc.nat(3) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('leave', 'deregister', 'kill'), node }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: fc.constant('away'),
        // Leases end while the server is away, or soon after it is back.
        ms: fc.oneof(fc.integer({ min: 10, max: 8_000 }), fc.integer({ min: 20_000, max: 32_000 })),
        how: fc.constantFrom('broken', 'bridged', 'lost'),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constantFrom('break-watches', 'compact') }) },
    {
      weight: 4,
      arbitrary: fc.record({ do: fc.constant('wait'), ms: fc.oneof(fc.nat(60), fc.nat(400), fc.nat(8_000)) }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('quiet') }) },
  ) as fc.Arbitrary<Step>,
  { maxLength: 25, size: 'max' },
);

/** A process that keeps a node registered. */
interface Process {
  readonly service: ServiceRecord;
  renewing: Timer | undefined;
}

/** The services, their server, and all who look at it. */
class Scene {
  readonly runtime: VirtualRuntime = virtualRuntime();
  readonly server: ModelServer;
  readonly cache: CachedRegistry;
  readonly #registry: ModelRegistry;
  readonly #processes = new Map<number, Process>();
  readonly #closing = new AbortController();
  /** The nodes that were known at the last quiet moment, and that nobody has removed since. */
  readonly #settled = new Set<number>();
  readonly #watches = new Map<string | undefined, WatchCheck | undefined>();
  readonly #errors: unknown[] = [];

  constructor(kind: ModelKind) {
    this.server = new ModelServer(kind, this.runtime);
    this.#registry = new ModelRegistry(this.server, this.runtime);
    this.cache = new CachedRegistry(this.#registry, {
      ...this.runtime,
      graceMs: ttlMs,
      ttlMs: 3_600_000,
      idleMs: 3_600_000,
    });
    for (const name of [...services, undefined]) void this.#follow(name);
  }

  async take(step: Step): Promise<void> {
    if (step.do === 'register') this.#register(step);
    else if (step.do === 'kill') this.#end(step.node);
    else if (step.do === 'deregister') this.#remove(step.node);
    else if (step.do === 'leave') await this.#leave(step.node);
    else if (step.do === 'away') await this.#away(step);
    else if (step.do === 'break-watches') this.server.feeds.fail('it was broken');
    else if (step.do === 'compact') this.server.compact();
    else if (step.do === 'wait') await this.#pass(step.ms);
    else await this.quiet();
  }

  /** Lets time pass until everything must be known, and compares. */
  async quiet(): Promise<void> {
    await this.#pass(quietMs);
    for (const name of services) {
      await this.#warm(name);
      const cached = this.#cached(name);
      const truth = this.server.history.truth(name);
      if (String(cached) !== String(truth))
        throw new Error(`the cache has ${name} as ${String(cached)}, and it is ${String(truth)}`);
    }
    for (const [name, check] of this.#watches) {
      if (!check) throw new Error(`nobody watches ${name ?? 'all services'}`);
      check.assertUpToDate((service) => name === undefined || service === name);
    }
    for (const at of this.#processes.keys()) this.#settled.add(at);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    for (const { renewing } of this.#processes.values()) renewing?.cancel();
    await this.cache.close();
    await this.runtime.timers.settle();
    this.#throwErrors();
  }

  #register({ node: at, version, round }: Extract<Step, { do: 'register' }>): void {
    this.#processes.get(at)?.renewing?.cancel();
    const [name, id] = placeOf(at);
    const record = serviceOf(name, [nodeOf(id, { metadata: { round: String(round) } })], {
      version: `${version}.0.0`,
    });
    const process: Process = { service: record, renewing: undefined };
    this.#processes.set(at, process);
    this.#renew(process);
  }

  #renew(process: Process): void {
    const isDone = this.#put(process.service);
    // An attempt that nobody answers takes time, so that the lease may end before the next one.
    const delayMs = isDone ? renewMs : 1.4 * renewMs;
    process.renewing = this.runtime.timers.after(delayMs, () => this.#renew(process));
  }

  #put(record: ServiceRecord): boolean {
    if (this.server.isAway) return false;
    this.server.put(record, ttlMs);
    return true;
  }

  #end(at: number): ServiceRecord | undefined {
    const process = this.#processes.get(at);
    process?.renewing?.cancel();
    this.#processes.delete(at);
    this.#settled.delete(at);
    return process?.service;
  }

  #remove(at: number): void {
    const record = this.#end(at);
    if (record && !this.server.isAway) this.server.remove(record.name, idOf(record));
  }

  async #leave(at: number): Promise<void> {
    const record = this.#end(at);
    if (!record || this.server.isAway) return;
    const nodes = record.nodes.map((one) => ({ ...one, metadata: { ...one.metadata, [stateKey]: 'draining' } }));
    this.#put({ ...record, nodes });
    await this.#pass(1_000);
    this.server.remove(record.name, idOf(record));
  }

  async #away({ ms, how }: Extract<Step, { do: 'away' }>): Promise<void> {
    this.server.isAway = true;
    if (how !== 'bridged') this.server.feeds.fail('the server is away');
    await this.#pass(ms);
    if (how === 'lost') this.server.lose();
    this.server.resume();
  }

  /** Lets time pass, and looks at the cache again and again. */
  async #pass(ms: number): Promise<void> {
    const stepMs = 1_000;
    for (let leftMs = ms; leftMs > 0; leftMs -= stepMs) {
      await this.runtime.timers.advance(Math.min(stepMs, leftMs));
      this.#look();
    }
  }

  #look(): void {
    this.#throwErrors();
    for (const name of services) {
      const cached = this.cache.peek(name) ?? [];
      const ids = cached.flatMap(({ nodes }) => nodes.map(({ id }) => id));
      if (new Set(ids).size !== ids.length) throw new Error(`the cache has a node of ${name} twice: ${String(ids)}`);
      for (const record of cached)
        for (const one of record.nodes) {
          const states = this.server.history.between(name, one.id, 0);
          const text = textOf({ ...record, nodes: [one] });
          if (!states.includes(text)) throw new Error(`the cache has what never was: ${text}`);
        }
      const missing = [...this.#settled].map(placeOf).filter(([of, id]) => of === name && !ids.includes(id));
      if (missing.length > 0) throw new Error(`the cache lacks nodes that live: ${String(missing)}`);
    }
  }

  /** Requests a service, as a client that calls it does. */
  async #warm(name: string): Promise<void> {
    const asked = this.cache.getService(name).catch(() => []);
    await this.runtime.timers.advance(1_000);
    await asked;
  }

  #cached(name: string): readonly string[] {
    return (this.cache.peek(name) ?? [])
      .flatMap((record) => record.nodes.map((one) => textOf({ ...record, nodes: [one] })))
      .sort();
  }

  /** Watches a service, or all, as the contract says: again, whenever the watch was lost. */
  async #follow(service: string | undefined): Promise<void> {
    const { clock, timers } = this.runtime;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      this.#watches.set(service, undefined);
      const check = new WatchCheck(this.server.history, clock.monotonicMs());
      try {
        const watcher = await this.#registry.watch({ service, signal });
        check.established(clock.monotonicMs());
        this.#watches.set(service, check);
        for await (const event of watcher) this.#check(() => check.take(event));
      } catch {
        await timers.sleep(200, signal).catch(() => {});
      }
    }
  }

  #check(work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#errors.push(error);
    }
  }

  #throwErrors(): void {
    const [error] = this.#errors;
    if (error !== undefined) throw error;
  }
}

function placeOf(at: number): readonly [service: string, id: string] {
  return [services[at % services.length] as string, `n${at}`];
}

/** Processes that everybody knows when a sequence begins, and that live until it ends them. */
const beginning: readonly Step[] = [
  ...[0, 1, 2].map((at) => ({ do: 'register', node: at, version: 0, round: 0 }) as const),
  { do: 'quiet' },
];

/** Runs a sequence of steps. Rejects if a view has, misses or reports what it should not. */
export async function runSteps(kind: ModelKind, all: readonly Step[]): Promise<void> {
  const scene = new Scene(kind);
  try {
    for (const step of [...beginning, ...all]) await scene.take(step);
    await scene.quiet();
  } finally {
    await scene.close();
  }
}

/** The kinds of servers, with their names. */
export const kinds: readonly (readonly [name: string, kind: ModelKind])[] = [
  ['numbers its changes, as etcd', { hasRevisions: true, tellsLeaseEnds: true, hasNames: false }],
  ['does not tell the end of leases, as Redis', { hasRevisions: true, tellsLeaseEnds: false, hasNames: true }],
  ['has no numbers, as ZooKeeper', { hasRevisions: false, tellsLeaseEnds: true, hasNames: false }],
];
