import { Code, TenonError } from '../../errors/errors.ts';
import type {
  NodeRecord,
  Registry,
  RegistryCapabilities,
  RegistryEvent,
  ServiceRecord,
  Watcher,
} from '../../registry/registry.ts';
import { systemRuntime } from '../../runtime/system.ts';
import type { Case } from '../api.ts';
import { eventually } from './patience.ts';

/** Makes the registry under test, and describes its limits. */
export interface RegistryHarness {
  make(): Registry | Promise<Registry>;
  /** The capabilities of the registries that `make` returns. */
  readonly capabilities: RegistryCapabilities;
  /** True if registries of `make` see each other's registrations. @default `capabilities.shared` */
  readonly seesOthers?: boolean | undefined;
  /**
   * Adds the nodes of a service, or replaces those with the same ids, in registries that cannot register themselves.
   */
  seed?(service: ServiceRecord): Promise<void> | void;
  /** Removes the nodes of a service that was seeded. */
  unseed?(service: ServiceRecord): Promise<void> | void;
  /** The shortest lease that can be tested, in milliseconds. @default 100, and no less than the capabilities say */
  readonly shortTtlMs?: number | undefined;
  /**
   * Time within which others see a change, in milliseconds. A registry that polls needs its interval.
   * @default 2_000
   */
  readonly settleMs?: number | undefined;
  /** Largest record of a node, in bytes; larger ones must be refused. @default no limit is tested */
  readonly maxRecordBytes?: number | undefined;
  /**
   * True if calls for one node take effect in the order in which they are made, and if of two registries that use one
   * node id neither replaces nor removes what the other has registered since.
   * @default `capabilities.transferable`
   */
  readonly guardsNodes?: boolean | undefined;
  /** True if the registry accepts a service name. @default every name is accepted */
  isLegalName?(name: string): boolean;
  /**
   * Returns the suite's id of a node for the id that the registry made. Needed where the registry does not keep ids.
   * The id may be made of the suite's and of the port, which no case changes.
   */
  readonly suiteIdOf?: ((id: string) => string) | undefined;
}

/** The lease of cases that do not test leases, in milliseconds. */
export const ttlMs = 30_000;

let serial = 0;

/** A unique name, as a shared server keeps what earlier cases left. */
export function fresh(name = 'suite'): string {
  serial += 1;
  return `${name}-${systemRuntime.random.uuid().slice(0, 8)}-${serial}`;
}

/** A node of this machine. */
export function nodeOf(id: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return { id, address: '127.0.0.1:4000', metadata: {}, ...more };
}

/** A service with the given nodes and no other content. */
export function record(name: string, nodes: readonly NodeRecord[], more: Partial<ServiceRecord> = {}): ServiceRecord {
  return { name, version: '1.0.0', metadata: {}, endpoints: [], nodes, ...more };
}

/** The ids of all nodes, sorted. */
export function ids(records: readonly ServiceRecord[]): string[] {
  return records.flatMap(({ nodes }) => nodes.map((node) => node.id)).sort();
}

/** The records of a service; empty if it is not found. */
export async function found(registry: Registry, name: string): Promise<readonly ServiceRecord[]> {
  return registry.getService(name).catch((error: unknown) => {
    if (TenonError.from(error).code === Code.NotFound) return [];
    throw error;
  });
}

/** Collects the events of a watcher. */
export function collect(watcher: Watcher): { readonly events: RegistryEvent[]; readonly ended: Promise<unknown> } {
  const events: RegistryEvent[] = [];
  const ended = (async () => {
    for await (const event of watcher) events.push(event);
    return 'ended';
  })();
  ended.catch(() => {});
  return { events, ended };
}

/** The registries of one case. They are closed when it ends, even if it fails. */
export class RegistryFixture {
  readonly capabilities: RegistryCapabilities;
  readonly settleMs: number;
  readonly shortTtlMs: number;
  readonly seesOthers: boolean;
  readonly keepsMetadata: boolean;
  readonly harness: RegistryHarness;
  readonly #made: Registry[] = [];

  constructor(harness: RegistryHarness) {
    const { capabilities, settleMs = 2_000, shortTtlMs = 100, seesOthers = capabilities.shared } = harness;
    const { minTtlMs = 1, ttlGranularityMs = 1 } = capabilities;
    this.harness = harness;
    this.capabilities = capabilities;
    this.settleMs = settleMs;
    this.shortTtlMs = Math.max(shortTtlMs, minTtlMs, ttlGranularityMs);
    this.seesOthers = seesOthers;
    this.keepsMetadata = capabilities.keeps?.metadata !== false;
  }

  async make(): Promise<Registry> {
    const registry = await this.harness.make();
    this.#made.push(registry);
    return this.capabilities.keeps?.ids === false ? withSuiteIds(registry, this.harness) : registry;
  }

  /** Registers or seeds a service; resolves when the registry finds it. */
  async announce(registry: Registry, service: ServiceRecord): Promise<void> {
    if (this.capabilities.registers !== false) {
      await registry.register(service, { ttlMs });
      return;
    }
    await this.harness.seed?.(service);
    const wanted = service.nodes.map(textOf);
    const isThere = async (): Promise<boolean> => {
      const texts = new Set((await found(registry, service.name)).flatMap(({ nodes }) => nodes.map(textOf)));
      return wanted.every((text) => texts.has(text));
    };
    await eventually('what was seeded is found', isThere, this.settleMs);
  }

  /** Deregisters or unseeds a service; resolves when the registry no longer finds it. */
  async withdraw(registry: Registry, service: ServiceRecord): Promise<void> {
    if (this.capabilities.registers !== false) {
      await registry.deregister(service);
      return;
    }
    await this.harness.unseed?.(service);
    const gone = ids([service]);
    const isGone = async (): Promise<boolean> => {
      const left = ids(await found(registry, service.name));
      return !gone.some((id) => left.includes(id));
    };
    await eventually('what was seeded is gone', isGone, this.settleMs);
  }

  async end(): Promise<void> {
    await Promise.all(this.#made.map((registry) => registry.close()));
  }
}

/** Makes a case with a fixture of its own. */
export function registryCase(
  name: string,
  requires: string | undefined,
  body: (fixture: RegistryFixture) => Promise<void>,
): Case<RegistryHarness> {
  return {
    name,
    requires,
    run: async (harness) => {
      const fixture = new RegistryFixture(harness);
      try {
        await body(fixture);
      } finally {
        await fixture.end();
      }
    },
  };
}

/** Makes a registry return the ids of the suite in place of its own. */
function withSuiteIds(registry: Registry, { suiteIdOf = (id) => id }: RegistryHarness): Registry {
  const renamed = (service: ServiceRecord): ServiceRecord => ({
    ...service,
    nodes: service.nodes.map((node) => ({ ...node, id: suiteIdOf(node.id) })),
  });
  const getService = registry.getService.bind(registry);
  const watch = registry.watch.bind(registry);
  async function* events(watcher: Watcher): AsyncGenerator<RegistryEvent> {
    for await (const { action, service } of watcher) yield { action, service: renamed(service) };
  }
  return Object.assign(registry, {
    getService: async (...args: Parameters<typeof getService>) => (await getService(...args)).map(renamed),
    watch: async (...args: Parameters<typeof watch>) => {
      const watcher = await watch(...args);
      return Object.assign(events(watcher), { stop: () => watcher.stop() });
    },
  });
}

/** The parts of a node that every registry keeps, as text. */
function textOf({ id, address, metadata }: NodeRecord): string {
  return JSON.stringify([id, address, Object.entries(metadata).sort(([one], [other]) => (one < other ? -1 : 1))]);
}
