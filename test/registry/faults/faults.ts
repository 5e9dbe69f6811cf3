import { readFileSync, writeFileSync } from 'node:fs';

import { afterAll, beforeAll, expect, it } from '@jest/globals';

import { backendRow } from '../../../src/app/internal/backend-table.ts';
import { type ClientOf, Handler, Registry, Rpc, Service, System, TenonError } from '../../../src/index.ts';
import { isRegistryCache } from '../../../src/registry/registry.ts';
import { systemRuntime } from '../../../src/runtime/system.ts';
import { eventually } from '../../support/waiting.ts';
import { BackendServer, describeWithServer } from '../../support/servers.ts';
import { type ToxicProxy, Toxiproxy } from '../../support/toxiproxy.ts';
import { idsOf, nodeOf, serviceOf } from '../support.ts';

/** The name of the row for credentials that change, of registries that have some. */
export const rotation = 'credentials are changed under open watches, and known a lease later';

@Handler('steady.Steady')
class SteadyHandler {
  @Rpc({ idempotent: true }) async echo(request: { n: number }): Promise<{ n: number }> {
    return request;
  }
}

@Service({ name: 'steady', handlers: [SteadyHandler] })
class Steady {}

/** A registry whose server and connections are disturbed. */
export interface FaultyRegistry {
  readonly name: string;
  readonly server: BackendServer;
  /** Lease of the services, in milliseconds. */
  readonly ttlMs: number;
  /** Variables beside those of the registry's address and the lease. */
  readonly env?: () => Readonly<Record<string, string>>;
  /** Options of a registry that looks at the server directly. */
  readonly settings?: () => object;
  /** Faults that only this server has. */
  readonly more?: readonly Fault[];
  /** True if nodes of another service come, change and go during the fault as well. @default false */
  readonly changesMeanwhile?: boolean;
  /** False if one process cannot remove the registrations of another. @default true */
  readonly isShared?: boolean;
}

/** The parts of one fault: what is disturbed. */
export interface Stage {
  readonly server: BackendServer;
  readonly proxy: ToxicProxy;
  readonly ttlMs: number;
  /** Sees the server without the proxy. */
  readonly direct: Registry;
  wait(ms: number): Promise<void>;
}

/** Something that goes wrong, and is right again when it resolves. */
export interface Fault {
  readonly name: string;
  /** Live nodes that callers may miss for a moment, as the fault is just that. @default 0 */
  readonly hides?: number;
  /** True if another process does it to a registration. */
  readonly isOfOthers?: boolean;
  /** Variables of the processes under this fault alone, beside those of the registry. */
  readonly env?: () => Readonly<Record<string, string>>;
  run(stage: Stage): Promise<void>;
}

const faults: readonly Fault[] = [
  {
    name: 'the server is killed, and comes back with its data',
    run: async ({ server, ttlMs, wait }) => {
      await server.kill();
      await wait(ttlMs / 2);
      await server.start();
    },
  },
  {
    name: 'the server is killed, and comes back without data',
    run: async ({ server, ttlMs, wait }) => {
      await server.kill();
      server.erase();
      await wait(ttlMs / 2);
      await server.start();
    },
  },
  {
    name: 'the server hangs for three leases (SIGSTOP)',
    run: async ({ server, ttlMs, wait }) => {
      server.pause();
      await wait(3 * ttlMs);
      server.resume();
    },
  },
  {
    name: 'connections are cut for three leases',
    run: async ({ proxy, ttlMs, wait }) => {
      await proxy.cut();
      await wait(3 * ttlMs);
      await proxy.heal();
    },
  },
  {
    name: 'connections are cut ten times within two leases',
    run: async ({ proxy, ttlMs, wait }) => {
      for (let time = 0; time < 10; time += 1) {
        await proxy.cut();
        await wait(ttlMs / 20);
        await proxy.heal();
        await wait(ttlMs / 7);
      }
    },
  },
  {
    name: 'connections are slowed by 100 to 300 ms for three leases',
    run: async ({ proxy, ttlMs, wait }) => {
      await proxy.add({ type: 'latency', attributes: { latency: 100, jitter: 100 } });
      await wait(3 * ttlMs);
      await proxy.heal();
    },
  },
  {
    name: 'connections stand and swallow every byte for three leases',
    run: async ({ proxy, ttlMs, wait }) => {
      await proxy.swallow();
      await wait(3 * ttlMs);
      await proxy.heal();
    },
  },
  {
    name: 'one of two registrations is removed by somebody else',
    hides: 1,
    isOfOthers: true,
    run: async ({ direct, ttlMs, wait }) => {
      await direct.deregister(serviceOf('steady', (await idsOf(direct, 'steady')).slice(0, 1)));
      await wait(ttlMs);
    },
  },
];

/** A page of docs/ whose sections the runs write with `TENON_TEST_WRITE=faults`. */
const page = 'docs/registry-faults.md';

/**
 * Two services under 200 calls a second, and a caller that finds them by the registry, while its server or the
 * connections to it fail.
 */
export function registryFaults(registry: FaultyRegistry): void {
  const { name, server, ttlMs, env, settings, more = [], isShared = true, changesMeanwhile = false } = registry;
  describeWithServer(`faults of the ${name} registry`, server, () => {
    const toxiproxy = new Toxiproxy();
    let proxy: ToxicProxy;
    let direct: Registry;
    const rows: string[] = [];
    const all = [...faults.filter(({ isOfOthers }) => isShared || isOfOthers !== true), ...more];
    beforeAll(async () => {
      await toxiproxy.start();
      proxy = await toxiproxy.proxy(server.address);
      const row = backendRow('registry', name);
      if (!row) throw new Error(`there is no registry "${name}"`);
      const { implementation, options } = await row.load({ address: server.address, ...settings?.() });
      direct = new implementation(options?.value) as Registry;
    });
    afterAll(async () => {
      await direct.close();
      await toxiproxy.dispose();
    });

    const start = (fault: Fault, services: readonly (typeof Steady)[]): Promise<System> =>
      System.start([...services], {
        profile: 'dev',
        env: {
          TENON_REGISTRY: name,
          TENON_REGISTRY_ADDRESS: proxy.address,
          TENON_REGISTER_TTL_MS: String(ttlMs),
          TENON_LOG_LEVEL: 'silent',
          TENON_LAME_DUCK_MS: '0',
          ...env?.(),
          ...fault.env?.(),
        },
      });

    it.each(all.map((fault) => [fault.name, fault] as const))(
      '%s: no call fails, and all is registered and followed again',
      async (_name, fault) => {
        const systems = [await start(fault, [Steady]), await start(fault, [Steady]), await start(fault, [])];
        const [first, second, caller] = systems as [System, System, System];
        try {
          const steady: ClientOf<SteadyHandler> = caller.client(SteadyHandler);
          const cached = caller.get(Registry);
          await eventually('both are found', async () => (await idsOf(cached, 'steady')).length === 2, 20_000);
          const alive = await idsOf(cached, 'steady');
          const model = new Model(direct, rows.length);
          await model.change();
          await cached.getService('others');
          const seen = watchView(cached, alive);
          const load = startLoad((n) => steady.echo({ n }));
          const changing = changesMeanwhile ? model.start() : undefined;
          await fault.run({ server, proxy, ttlMs, direct, wait: (ms) => systemRuntime.timers.sleep(ms) });
          await changing?.stop();
          await eventually(
            'both are registered',
            async () => String(await idsOf(direct, 'steady').catch(() => [])) === String(alive),
            60_000,
          );
          // What changed during the fault, deletions above all, and what changes after it.
          await model.settle();
          await model.compare(cached);
          for (let change = 0; change < 10; change += 1) await model.change();
          await model.compare(cached);
          const { calls, failures } = await load.stop();
          expect(failures).toEqual([]);
          expect(calls).toBeGreaterThan(50);
          const { hides = 0 } = fault;
          expect(seen.stop().length).toBeLessThanOrEqual(hides);
          rows.push(`| ${fault.name} | 0 | ${hides === 0 ? '0' : `at most ${hides}, for a moment`} | yes |`);
        } finally {
          await direct.deregister(serviceOf('others', modelIds)).catch(() => {});
          await Promise.all([caller.stop(), first.stop(), second.stop()]);
        }
      },
      180_000,
    );

    it(`${page} says what the faults cost`, () => {
      comparePage(`${name}, with leases of ${ttlMs / 1_000} s`, rows);
    });
  });
}

/** Compares a section of the page with the rows of this run, or writes it. */
export function comparePage(heading: string, rows: readonly string[]): void {
  const head = [
    `## ${heading}`,
    '',
    '| fault | failed calls | live nodes that were missing | registered and followed again |',
    '|---|---|---|---|',
  ];
  const section = `${[...head, ...rows].join('\n')}\n`;
  const text = readFileSync(page, 'utf8');
  const [registry = ''] = heading.split(',');
  const [known = ''] = new RegExp(`^## ${registry},[^]*?(?=^## |(?![^]))`, 'm').exec(text) ?? [];
  if (process.env['TENON_TEST_WRITE'] === 'faults') {
    writeFileSync(page, known === '' ? `${text.trimEnd()}\n\n${section}` : text.replace(known, `${section}\n`));
  } else {
    expect(known.trim()).toBe(section.trim());
  }
}

const modelIds = Array.from({ length: 12 }, (_, index) => `n${index}`);
const modelTtlMs = 600_000;

/** Nodes of a service that come, change and go at random, and what is known of them without any registry. */
class Model {
  readonly #direct: Registry;
  /** The addresses of the nodes that there are. */
  readonly #nodes = new Map<string, string>();
  /** Random numbers of a fixed seed (a linear congruential generator). */
  #state: number;

  constructor(direct: Registry, seed: number) {
    this.#direct = direct;
    this.#state = seed;
  }

  /** Makes a change, as soon as the server answers. The first of them is a node that comes. */
  async change(): Promise<void> {
    await this.#patiently(this.#draw());
  }

  /** Makes changes one after another, also while the server does not answer. */
  start(): { stop(): Promise<void> } {
    let isOver = false;
    const work = (async () => {
      while (!isOver) {
        // Whatever comes of it, it is made again by `settle`.
        await this.#make(this.#draw(), 1_000).catch(() => {});
        await systemRuntime.timers.sleep(50);
      }
    })();
    return {
      stop: async () => {
        isOver = true;
        await work;
      },
    };
  }

  /** Makes what should be, whatever the server did, or lost. */
  async settle(): Promise<void> {
    for (const id of modelIds) await this.#patiently(id);
  }

  /** The view of a registry becomes what should be. */
  async compare(registry: Registry): Promise<void> {
    const expected = [...this.#nodes].map((pair) => pair.join(' ')).sort();
    const isSame = async (): Promise<boolean> => {
      const records = await registry.getService('others');
      const nodes = records.flatMap(({ nodes: some }) => some.map(({ id, address }) => `${id} ${address}`)).sort();
      return String(nodes) === String(expected);
    };
    await eventually('the caller sees what there is', isSame, 60_000);
  }

  /** Decides what is to change: a node goes, or it comes, or it has another address. One is always there. */
  #draw(): string {
    const id = modelIds[this.#random(modelIds.length)] ?? '';
    if (this.#nodes.has(id) && this.#nodes.size > 1 && this.#random(2) === 0) this.#nodes.delete(id);
    else this.#nodes.set(id, `127.0.0.1:${7_000 + this.#random(1_000)}`);
    return id;
  }

  async #patiently(id: string): Promise<void> {
    const make = (): Promise<boolean> =>
      this.#make(id, 5_000).then(
        () => true,
        () => false,
      );
    await eventually('the server answers', make, 60_000);
  }

  async #make(id: string, timeoutMs: number): Promise<void> {
    const address = this.#nodes.get(id);
    if (address === undefined) await this.#direct.deregister(serviceOf('others', [id]), { timeoutMs });
    else await this.#direct.register(serviceOf('others', [nodeOf(id, { address })]), { timeoutMs, ttlMs: modelTtlMs });
  }

  #random(below: number): number {
    this.#state = Math.imul(this.#state, 1_103_515_245) + 12_345;
    return (this.#state >>> 16) % below;
  }
}

/** Notes live nodes that the caller does not see. */
export function watchView(registry: Registry, alive: readonly string[]): { stop(): string[] } {
  if (!isRegistryCache(registry)) throw new Error('an application reads its registry through the cache');
  const missing = new Set<string>();
  const timer = setInterval(() => {
    const ids = new Set((registry.peek('steady') ?? []).flatMap(({ nodes }) => nodes.map(({ id }) => id)));
    for (const id of alive) if (!ids.has(id)) missing.add(id);
  }, 5);
  return {
    stop: () => {
      clearInterval(timer);
      return [...missing];
    },
  };
}

/** Makes 200 calls a second. */
function startLoad(call: (n: number) => Promise<unknown>): { stop(): Promise<{ calls: number; failures: string[] }> } {
  const pending = new Set<Promise<void>>();
  const failures: string[] = [];
  let calls = 0;
  const timer = setInterval(() => {
    const one = call((calls += 1)).then(
      () => {},
      (error: unknown) => {
        const { reason, message } = TenonError.from(error);
        failures.push(`${reason}: ${message}`);
      },
    );
    pending.add(one);
    void one.finally(() => pending.delete(one));
  }, 5);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(pending);
      return { calls, failures };
    },
  };
}
