import {
  type EndpointSlice,
  joinedEndpoints,
  listedEndpoints,
  type ListedEndpoint,
  managedByLabel,
  serviceNameLabel,
} from './endpoint-slice.ts';
import type { ApiObject } from './kubernetes.ts';
import {
  isOverdue,
  leaseAnnotation,
  leaseOf,
  leftOf,
  manager,
  recordAnnotation,
  serviceLabelOf,
  type SliceLease,
} from './leased-slice.ts';
import { type Pod, recordsOf } from './pod-records.ts';
import type { ServerClock } from './server-clock.ts';

/** A node whose whole record was stored. */
export interface OwnNode<R> {
  readonly service: string;
  readonly id: string;
  readonly address: string;
  readonly record: R;
}

/** Tools of a {@link SliceView}, whose nodes have records of type `R`. */
export interface SliceViewTools<R extends object> {
  readonly clock: ServerClock;
  readonly portName: string | undefined;
  /** Returns the result of `read`; `undefined` if it throws an error of `broken`, which is logged once for a place. */
  readonly skipBroken: <T>(place: string, read: () => T) => T | undefined;
  /** Makes the error for a slice that cannot be read. The message is a predicate that follows "it". */
  readonly broken: (why: string) => Error;
  /** Decodes the record in a slice that tenon wrote. Throws an error of `broken`. */
  readonly decode: (text: string) => OwnNode<R>;
  /** Decodes the nodes in an annotation of a pod. Throws an error of `broken`. */
  readonly decodePod: (text: string) => readonly OwnNode<R>[];
  /** Makes the record of an endpoint in a slice of others. */
  readonly describe: (service: string, endpoint: ListedEndpoint, isDraining: boolean) => R;
}

/** A node of a {@link SliceView}. */
export interface ViewedNode<R> {
  readonly id: string;
  readonly record: R;
  /** The rest of its lease; without one it stays until its slice changes. */
  readonly leaseMs?: number | undefined;
  /** Another object if the node or its lease was written anew. */
  readonly source: object;
}

/** The part of an object about one service: endpoints of others, or nodes whose record it has. */
interface Entry<R> {
  readonly key: string;
  readonly service: string;
  readonly endpoints: readonly ListedEndpoint[];
  readonly own: readonly { readonly node: OwnNode<R> }[];
  /** The record that `own` was read from. */
  readonly text?: string;
  readonly lease?: SliceLease;
  /** True if its lease ended, and the server confirmed that it was not renewed. */
  hasLapsed: boolean;
}

/** A slice or a pod as it was read. */
interface ReadObject<R> {
  readonly version: string | undefined;
  readonly entries: readonly Entry<R>[];
}

// A lease that may have ended is looked at again after this time.
const recheckMs = 1_000;
// Keeps pods apart from slices, and behind them: no name of a slice has it.
const podPrefix = '~';

/**
 * The nodes that a set of EndpointSlices, and the pods of Go Micro's services, add up to. A node is the same object for
 * as long as nothing changes it, so that the difference between two states costs no comparison of records.
 */
export class SliceView<R extends object> {
  readonly #tools: SliceViewTools<R>;
  readonly #objects = new Map<string, ReadObject<R>>();
  readonly #services = new Map<string, Map<string, Entry<R>>>();
  readonly #records = new WeakMap<ListedEndpoint, Map<boolean, R>>();

  constructor(tools: SliceViewTools<R>) {
    this.#tools = tools;
  }

  /** Names of the services of which something is said. */
  get services(): readonly string[] {
    return [...this.#services.keys()];
  }

  /** Takes over a whole list of slices. */
  replace(slices: readonly EndpointSlice[]): void {
    const names = new Set(slices.map(nameOf));
    for (const name of this.#objects.keys()) if (!name.startsWith(podPrefix) && !names.has(name)) this.#drop(name);
    for (const slice of slices) this.put(slice);
  }

  /** Takes over a whole list of pods. */
  replacePods(pods: readonly Pod[]): void {
    const names = new Set(pods.map((pod) => podPrefix + nameOf(pod)));
    for (const name of this.#objects.keys()) if (name.startsWith(podPrefix) && !names.has(name)) this.#drop(name);
    for (const pod of pods) this.putPod(pod);
  }

  /** Adds or replaces a slice. Returns the services that it may concern. */
  put(slice: EndpointSlice): readonly string[] {
    const name = nameOf(slice);
    return this.#put(name, slice, ([known]) => {
      const read = this.#tools.skipBroken(`EndpointSlice ${name}`, () => this.#read(slice, known));
      return read ? [{ key: name, hasLapsed: false, ...read }] : [];
    });
  }

  /** Adds or replaces a pod. Returns the services that it may concern. */
  putPod(pod: Pod): readonly string[] {
    const name = podPrefix + nameOf(pod);
    return this.#put(name, pod, (known) =>
      recordsOf(pod).flatMap(({ annotation, text }): Entry<R>[] => {
        const key = `${name} ${annotation}`;
        const before = known.find((entry) => entry.key === key && entry.text === text);
        if (before) return [before];
        const place = `annotation ${annotation} of pod ${nameOf(pod)}`;
        const own = this.#tools.skipBroken(place, () => this.#tools.decodePod(text)) ?? [];
        const [first] = own;
        const nodes = own.map((node) => ({ node }));
        return first ? [{ key, service: first.service, endpoints: [], own: nodes, text, hasLapsed: false }] : [];
      }),
    );
  }

  /** Removes a slice. Returns the services that it may concern. */
  remove(slice: EndpointSlice): readonly string[] {
    return this.#drop(nameOf(slice));
  }

  /** Removes a pod. Returns the services that it may concern. */
  removePod(pod: Pod): readonly string[] {
    return this.#drop(podPrefix + nameOf(pod));
  }

  /** The nodes of a service, or of all, without those whose lease lapsed. */
  nodes(service?: string): ViewedNode<R>[] {
    if (service === undefined) return this.services.flatMap((name) => this.nodes(name));
    // In an order of their own, so that two slices with the same endpoint give the same node, whichever came first.
    const entries = [...(this.#services.get(service)?.values() ?? [])].sort((one, other) =>
      one.key < other.key ? -1 : 1,
    );
    const nodes: ViewedNode<R>[] = [];
    const [ids, addresses] = [new Set<string>(), new Set<string>()];
    for (const { own, lease, hasLapsed } of entries) {
      if (hasLapsed) continue;
      const leaseMs = lease && this.#lookAgainMs(lease);
      for (const source of own) {
        const { id, address, record } = source.node;
        // What a pod says of a node with a lease is weaker.
        if (ids.has(id) || (!lease && addresses.has(address))) continue;
        ids.add(id);
        addresses.add(address);
        nodes.push({ id, record, leaseMs, source });
      }
    }
    const joined = joinedEndpoints(entries.map(({ endpoints }) => endpoints));
    const others = joined.filter(({ id, address }) => !ids.has(id) && !addresses.has(address));
    const isLastResort = nodes.length === 0 && others.every(({ use }) => use === 'draining');
    for (const endpoint of others) {
      const record = this.#recordOf(service, endpoint, endpoint.use === 'draining' && !isLastResort);
      nodes.push({ id: endpoint.id, record, source: record });
    }
    return nodes;
  }

  /** Names of slices whose lease was not renewed in time, those that are over first. */
  get overdue(): readonly string[] {
    const { clock } = this.#tools;
    const all = [...this.#leased()].filter(([, , lease]) => isOverdue(lease, clock));
    const left = all.map(([name, , lease]) => ({ name, leftMs: leftOf(lease, clock) }));
    return left.sort((one, other) => one.leftMs - other.leftMs).map(({ name }) => name);
  }

  /**
   * Marks slices whose lease is over; with `versions`, those of which it has just the version that is known: the others
   * were renewed, or are gone.
   */
  lapse(versions?: ReadonlyMap<string, string | undefined>): void {
    for (const [name, entry, lease] of this.#leased()) {
      const isCurrent = !versions || (versions.has(name) && versions.get(name) === this.#objects.get(name)?.version);
      if (isCurrent && leftOf(lease, this.#tools.clock) <= 0) entry.hasLapsed = true;
    }
  }

  *#leased(): Generator<readonly [name: string, entry: Entry<R>, lease: SliceLease]> {
    for (const [name, { entries }] of this.#objects) {
      for (const entry of entries) if (entry.lease && !entry.hasLapsed) yield [name, entry, entry.lease];
    }
  }

  /** While a lease runs on because the server was away, the server is asked now and then whether it is there. */
  #lookAgainMs(lease: SliceLease): number {
    const { clock } = this.#tools;
    const leftMs = leftOf(lease, clock);
    return Math.max(recheckMs, isOverdue(lease, clock) ? Math.min(leftMs, lease.ttlMs / 2) : leftMs);
  }

  #put(
    name: string,
    { metadata }: ApiObject,
    read: (known: readonly Entry<R>[]) => readonly Entry<R>[],
  ): readonly string[] {
    const known = this.#objects.get(name);
    const version = metadata?.resourceVersion;
    if (known?.version !== undefined && known.version === version) return [];
    const entries = read(known?.entries ?? []);
    const before = this.#drop(name);
    for (const entry of entries) {
      let of = this.#services.get(entry.service);
      if (!of) this.#services.set(entry.service, (of = new Map<string, Entry<R>>()));
      of.set(entry.key, entry);
    }
    this.#objects.set(name, { version, entries });
    return [...new Set([...before, ...entries.map(({ service }) => service)])];
  }

  #drop(name: string): readonly string[] {
    const entries = this.#objects.get(name)?.entries ?? [];
    this.#objects.delete(name);
    for (const { service, key } of entries) {
      const of = this.#services.get(service);
      of?.delete(key);
      if (of?.size === 0) this.#services.delete(service);
    }
    return entries.map(({ service }) => service);
  }

  /** Throws what `broken` makes. */
  #read(slice: EndpointSlice, known: Entry<R> | undefined): Omit<Entry<R>, 'key' | 'hasLapsed'> {
    const { broken, decode, portName, clock } = this.#tools;
    const { labels, annotations } = slice.metadata ?? {};
    const label = labels?.[serviceNameLabel] ?? '';
    if (label === '') throw broken(`has no label ${serviceNameLabel}`);
    if (labels?.[managedByLabel] === manager) {
      const text = annotations?.[recordAnnotation] ?? '';
      const lease = leaseOf(slice, clock);
      if (!lease) throw broken(`has no lease in its annotation ${leaseAnnotation}`);
      const node = (known?.text === text ? known.own[0]?.node : undefined) ?? decode(text);
      if (serviceLabelOf(node.service) !== label) throw broken('is the record of another service');
      return { service: node.service, endpoints: [], own: [{ node }], text, lease };
    }
    const endpoints = listedEndpoints(slice, portName);
    if (endpoints) return { service: label, endpoints, own: [] };
    if ((slice.ports ?? []).length === 0) return { service: label, endpoints: [], own: [] };
    throw broken('has several ports, and none of gRPC: name the port (TENON_KUBERNETES_PORT_NAME)');
  }

  #recordOf(service: string, endpoint: ListedEndpoint, isDraining: boolean): R {
    let records = this.#records.get(endpoint);
    if (!records) this.#records.set(endpoint, (records = new Map<boolean, R>()));
    const known = records.get(isDraining);
    if (known) return known;
    const record = this.#tools.describe(service, endpoint, isDraining);
    records.set(isDraining, record);
    return record;
  }
}

function nameOf({ metadata }: ApiObject): string {
  return metadata?.name ?? '';
}
