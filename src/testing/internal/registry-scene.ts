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
import { eventually } from '../waiting.ts';

/** A registry under test. */
export interface RegistryHarness {
  make(): Registry | Promise<Registry>;
  /** For a class whose capabilities depend on its options: those of what `make` gives. */
  readonly capabilities: RegistryCapabilities;
  /** Registries that `make` gives see each other's announcements. @default `capabilities.shared` */
  readonly seesOthers?: boolean | undefined;
  /**
   * Puts a service in place of its announcement, where the capabilities say that the registry does not register: adds
   * its nodes, or replaces those of the same ids.
   */
  seed?(service: ServiceRecord): Promise<void> | void;
  /** Takes the nodes of a service out again. */
  unseed?(service: ServiceRecord): Promise<void> | void;
  /** The shortest lease that can be tested, in milliseconds. @default 100, and no less than the capabilities say */
  readonly shortTtlMs?: number | undefined;
  /**
   * How long a change may take to be seen by others, in milliseconds: a registry that polls takes that long. @default
   * 2_000
   */
  readonly settleMs?: number | undefined;
  /** A record of a node that is larger than this is refused, in bytes. @default no record is too large */
  readonly maxRecordBytes?: number | undefined;
  /** Whether the server can keep a service of that name. @default it can keep any */
  isLegalName?(name: string): boolean;
}

/** Leases of cases that are not about leases. */
export const ttlMs = 30_000;

let serial = 0;

/** A name that no other case uses: a shared server keeps what earlier ones left. */
export function fresh(name = 'suite'): string {
  serial += 1;
  return `${name}-${systemRuntime.random.uuid().slice(0, 8)}-${serial}`;
}

/** A node of this machine. */
export function nodeOf(id: string, more: Partial<NodeRecord> = {}): NodeRecord {
  return { id, address: '127.0.0.1:4000', metadata: {}, ...more };
}

/** A service with nothing but its nodes. */
export function record(name: string, nodes: readonly NodeRecord[], more: Partial<ServiceRecord> = {}): ServiceRecord {
  return { name, version: '1.0.0', metadata: {}, endpoints: [], nodes, ...more };
}

/** The ids of all nodes, in order. */
export function ids(records: readonly ServiceRecord[]): string[] {
  return records.flatMap(({ nodes }) => nodes.map((node) => node.id)).sort();
}

/** The records of a service; none if it is not found. */
export async function found(registry: Registry, name: string): Promise<readonly ServiceRecord[]> {
  return registry.getService(name).catch((error: unknown) => {
    if (TenonError.from(error).code === Code.NotFound) return [];
    throw error;
  });
}

/** Collects what a watcher tells. */
export function collect(watcher: Watcher): { readonly events: RegistryEvent[]; readonly ended: Promise<unknown> } {
  const events: RegistryEvent[] = [];
  const ended = (async () => {
    for await (const event of watcher) events.push(event);
    return 'ended';
  })();
  ended.catch(() => {});
  return { events, ended };
}

/** The registries of one case. They are closed when it ends, whatever happens. */
export class RegistryScene {
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
    return registry;
  }

  /** Announces a service, or has it seeded; resolves when the registry finds it. */
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

  /** Takes a service back; resolves when the registry no longer finds it. */
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

/** A case over a scene of its own. */
export function caseOf(
  name: string,
  requires: string | undefined,
  body: (scene: RegistryScene) => Promise<void>,
): Case<RegistryHarness> {
  return {
    name,
    requires,
    run: async (harness) => {
      const scene = new RegistryScene(harness);
      try {
        await body(scene);
      } finally {
        await scene.end();
      }
    },
  };
}

/** What every registry keeps of a node. */
function textOf({ id, address, metadata }: NodeRecord): string {
  return JSON.stringify([id, address, Object.entries(metadata).sort(([one], [other]) => (one < other ? -1 : 1))]);
}
