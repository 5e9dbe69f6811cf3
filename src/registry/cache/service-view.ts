import type { NodeRecord, RegistryEvent, ServiceRecord } from '../registry.ts';

type Records = readonly ServiceRecord[];

/** One version of a service, with its nodes by their ids, in the order of their arrival. */
interface Version {
  /** The record of the version; its own list of nodes does not count. */
  record: ServiceRecord;
  readonly nodes: Map<string, NodeRecord>;
}

// Not the kit's `NodeTable`: that compares single nodes by their JSON, which records of a registry of one's own may not
// have, and here the metadata and endpoints of an event count for all nodes of its version.
/**
 * The nodes of one service. A change costs the same whatever their number: the records are made when they are asked for
 * after a change, and are the same array until the next one. A node is there once, in the version that named it last.
 */
export class ServiceView {
  readonly #versions = new Map<string, Version>();
  readonly #versionOf = new Map<string, Version>();
  #records: Records | undefined;

  constructor(records: Records = []) {
    for (const service of records) this.#put(service);
  }

  /** The number of nodes. */
  get size(): number {
    return this.#versionOf.size;
  }

  /** One record per version, each with its nodes. */
  get records(): Records {
    this.#records ??= [...this.#versions.values()].map(({ record, nodes }) => ({
      ...record,
      nodes: [...nodes.values()],
    }));
    return this.#records;
  }

  /** The node with that id, in whatever version. */
  node(id: string): NodeRecord | undefined {
    return this.#versionOf.get(id)?.nodes.get(id);
  }

  /** Applies an event. Returns false if nothing changed. A known node keeps its position in its version. */
  apply({ action, service }: RegistryEvent): boolean {
    const isChanged =
      action === 'delete'
        ? service.nodes.map(({ id }) => this.#remove(id)).includes(true)
        : !this.#has(service) && this.#put(service);
    if (isChanged) this.#records = undefined;
    return isChanged;
  }

  /** Adds nodes of another view that this one lacks. Records of versions that are here stay as they are. */
  keep(other: ServiceView, isKept: (node: NodeRecord) => boolean): void {
    for (const { record, nodes } of other.#versions.values()) {
      const kept = [...nodes.values()].filter((node) => !this.#versionOf.has(node.id) && isKept(node));
      if (kept.length > 0) this.#put({ ...(this.#versions.get(record.version)?.record ?? record), nodes: kept });
    }
    this.#records = undefined;
  }

  /** True if the record is here already, metadata and endpoints included. */
  #has(service: ServiceRecord): boolean {
    const version = this.#versions.get(service.version);
    if (!version) return false;
    const { nodes } = version;
    return (
      service.nodes.every((node) => nodes.has(node.id) && isSame(nodes.get(node.id), node)) &&
      isSame({ ...service, nodes: [] }, { ...version.record, nodes: [] })
    );
  }

  #put(service: ServiceRecord): boolean {
    let version = this.#versions.get(service.version);
    if (!version) {
      if (service.nodes.length === 0) return false;
      this.#versions.set(service.version, (version = { record: service, nodes: new Map() }));
    }
    version.record = service;
    for (const node of service.nodes) {
      if (this.#versionOf.get(node.id) !== version) this.#remove(node.id);
      version.nodes.set(node.id, node);
      this.#versionOf.set(node.id, version);
    }
    return true;
  }

  #remove(id: string): boolean {
    const version = this.#versionOf.get(id);
    if (!version) return false;
    this.#versionOf.delete(id);
    version.nodes.delete(id);
    if (version.nodes.size === 0) this.#versions.delete(version.record.version);
    return true;
  }
}

/** True if both have the same JSON. Records of a registry of one's own that have none count as different. */
export function isSame(one: unknown, other: unknown): boolean {
  try {
    return JSON.stringify(one) === JSON.stringify(other);
  } catch {
    return false;
  }
}
