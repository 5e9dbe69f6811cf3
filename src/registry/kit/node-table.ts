import type { RegistryEvent, ServiceRecord } from '../registry.ts';

/** A node of a {@link NodeTable}. */
export interface KnownNode {
  /** The record with just the one node. */
  readonly service: ServiceRecord;
  /** The record as JSON, by which records are compared: the node, and the parts that nodes of a service share. */
  readonly text: string;
  readonly shared: SharedParts;
  /** The end of its lease by the monotonic clock; infinite without a lease. */
  expiresAtMs: number;
}

/** The record of a service without its nodes, and its JSON. */
interface SharedParts {
  readonly text: string;
  readonly service: ServiceRecord;
}

/** The nodes of one service. */
interface ServiceNodes {
  readonly nodes: Map<string, KnownNode>;
  /** The latest parts, as of the versions that run side by side. */
  shared: readonly SharedParts[];
}

// More versions of a service than this do not share.
const maxShared = 4;

/**
 * Stores nodes by service and id, and returns each change as events: the diff of every registry. Putting a record that
 * did not change only renews its lease. Nodes of a service with equal metadata and endpoints share them.
 */
export class NodeTable {
  #services = new Map<string, ServiceNodes>();
  #size = 0;

  /** The number of nodes. */
  get size(): number {
    return this.#size;
  }

  /** The nodes of a service in the order of their insertion; without a name, the nodes of all services. */
  *nodes(service?: string): IterableIterator<KnownNode> {
    if (service !== undefined) yield* this.#services.get(service)?.nodes.values() ?? [];
    else for (const { nodes } of this.#services.values()) yield* nodes.values();
  }

  /** The stored node with the id of the record's node. */
  get(service: ServiceRecord): KnownNode | undefined {
    return this.#services.get(service.name)?.nodes.get(idOf(service));
  }

  /** Adds or replaces a node. Returns the event, if anything changed. */
  put(service: ServiceRecord, expiresAtMs = Number.POSITIVE_INFINITY): RegistryEvent | undefined {
    let known = this.#services.get(service.name);
    if (!known) this.#services.set(service.name, (known = { nodes: new Map(), shared: [] }));
    const id = idOf(service);
    const before = known.nodes.get(id);
    const shared = sharedParts(service, known);
    const text = JSON.stringify(service.nodes);
    if (before?.text === text && before.shared.text === shared.text) {
      before.expiresAtMs = expiresAtMs;
      return undefined;
    }
    const stored = { ...shared.service, nodes: service.nodes };
    known.nodes.set(id, { service: stored, text, shared, expiresAtMs });
    if (!before) this.#size += 1;
    return { action: before ? 'update' : 'create', service: stored };
  }

  /** Removes a node. Returns an event with the stored record, if there was one. */
  remove(service: string, id: string): RegistryEvent | undefined {
    const { nodes } = this.#services.get(service) ?? {};
    const known = nodes?.get(id);
    if (!nodes || !known) return undefined;
    nodes.delete(id);
    if (nodes.size === 0) this.#services.delete(service);
    this.#size -= 1;
    return { action: 'delete', service: known.service };
  }

  /**
   * Takes over the nodes of another table. Returns first the events of added and changed nodes, then of removed ones.
   */
  replaceWith(other: NodeTable): RegistryEvent[] {
    const events: RegistryEvent[] = [];
    for (const { service, text, shared } of other.nodes()) {
      const known = this.get(service);
      if (known?.text !== text || known.shared.text !== shared.text)
        events.push({ action: known ? 'update' : 'create', service });
    }
    for (const { service } of this.nodes()) if (!other.get(service)) events.push({ action: 'delete', service });
    this.#services = other.#services;
    this.#size = other.#size;
    return events;
  }
}

/** The parts that a record has in common with nodes that are known, or its own. */
function sharedParts(service: ServiceRecord, known: ServiceNodes): SharedParts {
  const parts = { ...service, nodes: [] };
  const text = JSON.stringify(parts);
  const same = known.shared.find((one) => one.text === text);
  if (same) return same;
  const own = { text, service: parts };
  known.shared = [own, ...known.shared].slice(0, maxShared);
  return own;
}

/** The id of the one node of a record. */
export function idOf({ nodes }: ServiceRecord): string {
  return nodes[0]?.id ?? '';
}

/** A key for a node among the nodes of all services. */
export function nodeKey(service: string, id: string): string {
  return `${service}\n${id}`;
}
