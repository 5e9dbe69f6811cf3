import type { RegistryEvent, ServiceRecord } from '../registry.ts';

/** A node that is known, and until when. */
export interface KnownNode {
  /** With just the one node. */
  readonly service: ServiceRecord;
  /** The record as JSON: two that have the same are the same. */
  readonly text: string;
  /** By the monotonic clock; infinite without a lease. */
  lapsesAtMs: number;
}

/**
 * Nodes by service and id. Each change of the table gives what changed as events: one diff for every registry. A record
 * that says the same as the one before only renews the lease.
 */
export class NodeTable {
  #services = new Map<string, Map<string, KnownNode>>();
  #size = 0;

  /** The number of nodes. */
  get size(): number {
    return this.#size;
  }

  /** The nodes of a service, in the order in which they came; without a name, those of every service. */
  *nodes(service?: string): IterableIterator<KnownNode> {
    if (service !== undefined) yield* this.#services.get(service)?.values() ?? [];
    else for (const nodes of this.#services.values()) yield* nodes.values();
  }

  /** The node of that record, as it is known. */
  get(service: ServiceRecord): KnownNode | undefined {
    return this.#services.get(service.name)?.get(idOf(service));
  }

  /** Adds or replaces a node. */
  put(service: ServiceRecord, lapsesAtMs = Number.POSITIVE_INFINITY): RegistryEvent | undefined {
    let nodes = this.#services.get(service.name);
    if (!nodes) this.#services.set(service.name, (nodes = new Map()));
    const id = idOf(service);
    const known = nodes.get(id);
    const text = JSON.stringify(service);
    if (known?.text === text) {
      known.lapsesAtMs = lapsesAtMs;
      return undefined;
    }
    nodes.set(id, { service, text, lapsesAtMs });
    if (!known) this.#size += 1;
    return { action: known ? 'update' : 'create', service };
  }

  /** Removes a node. The event has the record that was known. */
  remove(service: string, id: string): RegistryEvent | undefined {
    const nodes = this.#services.get(service);
    const known = nodes?.get(id);
    if (!nodes || !known) return undefined;
    nodes.delete(id);
    if (nodes.size === 0) this.#services.delete(service);
    this.#size -= 1;
    return { action: 'delete', service: known.service };
  }

  /** Takes over what another table holds. The events tell first what came and changed, then what went. */
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

/** A node's key among those of all services. */
export function nodeKey(service: string, id: string): string {
  return `${service}\n${id}`;
}
