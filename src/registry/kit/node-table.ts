import type { RegistryEvent, ServiceRecord } from '../registry.ts';

/** A node of a {@link NodeTable}. */
export interface KnownNode {
  /** The record with just the one node. */
  readonly service: ServiceRecord;
  /** The record as JSON, by which records are compared. */
  readonly text: string;
  /** The end of its lease by the monotonic clock; infinite without a lease. */
  expiresAtMs: number;
}

/**
 * Stores nodes by service and id, and returns each change as events: the diff of every registry. Putting a record that
 * did not change only renews its lease.
 */
export class NodeTable {
  #services = new Map<string, Map<string, KnownNode>>();
  #size = 0;

  /** The number of nodes. */
  get size(): number {
    return this.#size;
  }

  /** The nodes of a service in the order of their insertion; without a name, the nodes of all services. */
  *nodes(service?: string): IterableIterator<KnownNode> {
    if (service !== undefined) yield* this.#services.get(service)?.values() ?? [];
    else for (const nodes of this.#services.values()) yield* nodes.values();
  }

  /** The stored node with the id of the record's node. */
  get(service: ServiceRecord): KnownNode | undefined {
    return this.#services.get(service.name)?.get(idOf(service));
  }

  /** Adds or replaces a node. Returns the event, if anything changed. */
  put(service: ServiceRecord, expiresAtMs = Number.POSITIVE_INFINITY): RegistryEvent | undefined {
    let nodes = this.#services.get(service.name);
    if (!nodes) this.#services.set(service.name, (nodes = new Map()));
    const id = idOf(service);
    const known = nodes.get(id);
    const text = JSON.stringify(service);
    if (known?.text === text) {
      known.expiresAtMs = expiresAtMs;
      return undefined;
    }
    nodes.set(id, { service, text, expiresAtMs });
    if (!known) this.#size += 1;
    return { action: known ? 'update' : 'create', service };
  }

  /** Removes a node. Returns an event with the stored record, if there was one. */
  remove(service: string, id: string): RegistryEvent | undefined {
    const nodes = this.#services.get(service);
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
    for (const { service, text } of other.nodes()) {
      const known = this.get(service);
      if (known?.text !== text) events.push({ action: known ? 'update' : 'create', service });
    }
    for (const { service } of this.nodes()) if (!other.get(service)) events.push({ action: 'delete', service });
    this.#services = other.#services;
    this.#size = other.#size;
    return events;
  }
}

/** The id of the one node of a record. */
export function idOf({ nodes }: ServiceRecord): string {
  return nodes[0]?.id ?? '';
}

/** A key for a node among the nodes of all services. */
export function nodeKey(service: string, id: string): string {
  return `${service}\n${id}`;
}
