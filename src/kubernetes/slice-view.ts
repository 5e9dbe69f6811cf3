import {
  type EndpointSlice,
  joinedEndpoints,
  listedEndpoints,
  type ListedEndpoint,
  managedByLabel,
  serviceNameLabel,
} from './endpoint-slice.ts';
import {
  leaseAnnotation,
  leaseOf,
  leftOf,
  manager,
  recordAnnotation,
  serviceLabelOf,
  type SliceLease,
} from './leased-slice.ts';
import type { ServerClock } from './server-clock.ts';

/** The node of a slice that tenon wrote. */
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

/** A slice as it was read: endpoints of others, or the one node of a slice that tenon wrote. */
interface ReadSlice<R> {
  readonly service: string;
  readonly version: string;
  readonly endpoints: readonly ListedEndpoint[];
  readonly own?: { readonly node: OwnNode<R>; readonly text: string; readonly lease: SliceLease } | undefined;
  /** True if its lease ended, and the server confirmed that it was not renewed. */
  hasLapsed: boolean;
}

// A lease that may have ended is looked at again after this time.
const recheckMs = 1_000;

/**
 * The nodes that a set of EndpointSlices adds up to. A node is the same object for as long as its slice does not change
 * it, so that the difference between two states costs no comparison of records.
 */
export class SliceView<R extends object> {
  readonly #tools: SliceViewTools<R>;
  readonly #services = new Map<string, Map<string, ReadSlice<R>>>();
  readonly #serviceOf = new Map<string, string>();
  readonly #records = new WeakMap<ListedEndpoint, Map<boolean, R>>();

  constructor(tools: SliceViewTools<R>) {
    this.#tools = tools;
  }

  /** Names of the services that have slices. */
  get services(): readonly string[] {
    return [...this.#services.keys()];
  }

  /** Takes over a whole list. */
  replace(slices: readonly EndpointSlice[]): void {
    const left = new Set(this.#serviceOf.keys());
    for (const slice of slices) {
      left.delete(nameOf(slice));
      this.put(slice);
    }
    for (const name of left) this.remove(name);
  }

  /** Adds or replaces a slice. Returns the services that it may concern. */
  put(slice: EndpointSlice): readonly string[] {
    const name = nameOf(slice);
    const known = this.#services.get(this.#serviceOf.get(name) ?? '')?.get(name);
    if (known?.version !== undefined && known.version === slice.metadata?.resourceVersion) return [];
    const read = this.#tools.skipBroken(`EndpointSlice ${name}`, () => this.#read(slice, known));
    const before = known && known.service !== read?.service ? this.remove(name) : [];
    if (!read) return before;
    let slices = this.#services.get(read.service);
    if (!slices) this.#services.set(read.service, (slices = new Map()));
    slices.set(name, read);
    this.#serviceOf.set(name, read.service);
    return [...before, read.service];
  }

  /** Removes a slice. Returns the services that it may concern. */
  remove(name: string): readonly string[] {
    const service = this.#serviceOf.get(name);
    const slices = this.#services.get(service ?? '');
    if (service === undefined || !slices) return [];
    this.#serviceOf.delete(name);
    slices.delete(name);
    if (slices.size === 0) this.#services.delete(service);
    return [service];
  }

  /** The nodes of a service, or of all, without those whose lease lapsed. */
  nodes(service?: string): ViewedNode<R>[] {
    if (service === undefined) return this.services.flatMap((name) => this.nodes(name));
    const { clock } = this.#tools;
    // In an order of their own, so that two slices with the same endpoint give the same node, whichever came first.
    const slices = [...(this.#services.get(service)?.entries() ?? [])].sort(([one], [other]) => (one < other ? -1 : 1));
    const nodes: ViewedNode<R>[] = [];
    const addresses = new Set<string>();
    for (const [, { own, hasLapsed }] of slices) {
      if (!own || hasLapsed) continue;
      const { id, address, record } = own.node;
      addresses.add(address);
      nodes.push({ id, record, leaseMs: Math.max(leftOf(own.lease, clock), recheckMs), source: own });
    }
    const joined = joinedEndpoints(slices.map(([, { endpoints }]) => endpoints));
    const others = joined.filter(({ address }) => !addresses.has(address));
    const isLastResort = nodes.length === 0 && others.every(({ use }) => use === 'draining');
    for (const endpoint of others) {
      const record = this.#recordOf(service, endpoint, endpoint.use === 'draining' && !isLastResort);
      nodes.push({ id: endpoint.id, record, source: record });
    }
    return nodes;
  }

  /** Marks slices whose lease is over, unless `isRenewed` says that theirs was renewed. */
  lapse(isRenewed: (name: string, version: string) => boolean = () => false): void {
    for (const [name, slice] of this.#due()) if (!isRenewed(name, slice.version)) slice.hasLapsed = true;
  }

  /** True if the lease of a slice is over that is not marked yet. */
  get isDue(): boolean {
    return this.#due().next().done !== true;
  }

  *#due(): Generator<readonly [string, ReadSlice<R>]> {
    for (const slices of this.#services.values()) {
      for (const [name, slice] of slices) {
        if (slice.own && !slice.hasLapsed && leftOf(slice.own.lease, this.#tools.clock) <= 0) yield [name, slice];
      }
    }
  }

  /** Throws what `broken` makes. */
  #read(slice: EndpointSlice, known: ReadSlice<R> | undefined): ReadSlice<R> {
    const { broken, decode, portName } = this.#tools;
    const { labels, annotations, resourceVersion = '' } = slice.metadata ?? {};
    const label = labels?.[serviceNameLabel] ?? '';
    if (label === '') throw broken(`has no label ${serviceNameLabel}`);
    const read = { service: label, version: resourceVersion, endpoints: [], hasLapsed: false };
    if (labels?.[managedByLabel] === manager) {
      const text = annotations?.[recordAnnotation] ?? '';
      const lease = leaseOf(slice);
      if (!lease) throw broken(`has no lease in its annotation ${leaseAnnotation}`);
      const node = known?.own?.text === text ? known.own.node : decode(text);
      if (serviceLabelOf(node.service) !== label) throw broken('is the record of another service');
      return { ...read, service: node.service, own: { node, text, lease } };
    }
    const endpoints = listedEndpoints(slice, portName);
    if (endpoints) return { ...read, endpoints };
    if ((slice.ports ?? []).length === 0) return read;
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

function nameOf(slice: EndpointSlice): string {
  return slice.metadata?.name ?? '';
}
