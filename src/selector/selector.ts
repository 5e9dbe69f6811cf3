import type { ServiceIdentifier } from 'inversify';

import type { Metadata } from '../context/metadata.ts';
import type { Code, TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import type { NodeRecord, ServiceRecord } from '../registry/registry.ts';

/** Narrows the records from which a node is selected. Must not change them. */
export type NodeFilter = (services: readonly ServiceRecord[]) => readonly ServiceRecord[];

/** Keeps one version: Go Micro's `FilterVersion`. */
export function filterVersion(version: string): NodeFilter {
  return (services) => services.filter((service) => service.version === version);
}

/** Keeps nodes whose metadata has `key` with `value`: Go Micro's `FilterLabel`. */
export function filterLabel(key: string, value: string): NodeFilter {
  return (services) =>
    services
      .map((service) => ({ ...service, nodes: service.nodes.filter((node) => node.metadata[key] === value) }))
      .filter((service) => service.nodes.length > 0);
}

/** Keeps services that announce the endpoint `name`, or announce none at all: Go Micro's `FilterEndpoint`. */
export function filterEndpoint(name: string): NodeFilter {
  return (services) =>
    services.filter(
      (service) => service.endpoints.length === 0 || service.endpoints.some((endpoint) => endpoint.name === name),
    );
}

/** Options of one selection: what is known of the call that needs a node. */
export interface SelectOptions {
  /** Applied one after another; a node must pass all of them. @default none */
  readonly filters?: readonly NodeFilter[] | undefined;
  /** Ends the wait for the registry. */
  readonly signal?: AbortSignal | undefined;
  /** The metadata of the request. */
  readonly metadata?: Metadata | undefined;
  /** The key by which a selector with affinity chooses: calls with the same key go to the same node. */
  readonly hashKey?: string | undefined;
  /**
   * True if the call cannot go on to another node when the first does not take it, as a stream of requests: it is not
   * the one that tries a node that is left out, unless no other call has done so for `maxEjectMs`.
   * @default false
   */
  readonly isSentOnce?: boolean | undefined;
}

/** A call at its end, beside its outcome. */
export interface EndedCall {
  /** The code of the status that the server sent; absent for a call that broke off. */
  readonly answer?: Code | undefined;
  /** The time at which it was sent to the node, in milliseconds by the monotonic reading of the bound Clock. */
  readonly startMs?: number | undefined;
  /** The time at which it had to be over, by the monotonic reading of the bound Clock. */
  readonly deadline?: number | undefined;
  /** The metadata that the server sent with the status. It may have a report of the node's load. */
  readonly trailers?: Metadata | undefined;
  /** False if the server sent no trailers; `trailers` is made when first asked for. */
  readonly hasTrailers?: boolean | undefined;
}

/**
 * Returns the node for the next attempt of one call: Go Micro's `Next`. It returns each node once, ejected ones last,
 * and then begins again. It does not notice nodes that come or go after the selection.
 */
export type NextNode = () => NodeRecord;

/** Options that every selector has. Percentages are from 0 to 100. */
export interface SelectorOptions {
  /**
   * Time for which a node that fails is ejected, that is, not selected, in milliseconds. It grows each time that the
   * node is ejected again.
   * @default 5_000
   */
  readonly ejectMs?: number | undefined;
  /** The longest ejection in milliseconds. @default 300_000, as gRFC A50 */
  readonly maxEjectMs?: number | undefined;
  /**
   * The growth of the ejections in a row: 5, 10, 20, 40 … or, as gRFC A50 and Envoy have it, 5, 10, 15, 20 … seconds.
   * @default 'double'
   */
  readonly ejectGrowth?: 'double' | 'linear' | undefined;
  /**
   * Failures in a row after which a node is ejected. A node that certainly takes no call is left out at once: no server
   * listens at its address, or it answered that it drains.
   * @default 3
   */
  readonly ejectAfter?: number | undefined;
  /** The largest share of the nodes that is ejected, but one of several at least. @default 50 */
  readonly maxEjectedPercent?: number | undefined;
  /** Ejected nodes are used while less than this share of the nodes that can be reached is left. @default 50 */
  readonly panicPercent?: number | undefined;
  /** The interval at whose end shares and rates are looked at, in milliseconds. @default 10_000, as gRFC A50 */
  readonly sweepMs?: number | undefined;
  /** A node is ejected if more than this share of its calls of an interval failed. @default 85, as gRFC A50 */
  readonly failurePercent?: number | undefined;
  /** The calls in an interval without which a node is not judged by the share of its failures. @default 20 */
  readonly failureVolume?: number | undefined;
  /**
   * Thousandths of the standard deviation by which the share of successes of a node may be below the mean of all: gRFC
   * A50's `stdev_factor`, which is 1900 there.
   * @default none: rates are not compared
   */
  readonly successRateStdev?: number | undefined;
  /** The nodes with enough calls without which rates and latencies are not compared. @default 5, as gRFC A50 */
  readonly successRateNodes?: number | undefined;
  /** The calls in an interval without which the rate of a node does not count. @default 100, as gRFC A50 */
  readonly successRateVolume?: number | undefined;
  /**
   * A node is ejected if the mean latency of its calls of an interval is more than so many times the median of all
   * nodes.
   * @default none: latencies are not compared
   */
  readonly latencyFactor?: number | undefined;
  /**
   * Time in which a new node gets a growing part of its share, in milliseconds, with the selectors that look at load.
   * @default 0: none
   */
  readonly slowStartMs?: number | undefined;
  /** The form of the growth: Envoy's `aggression`. 1 is a straight line, more is steeper at first. @default 1 */
  readonly slowStartAggression?: number | undefined;
  /**
   * The zone of this process: calls go to nodes with the same `zone` in their metadata, as far as these suffice.
   * @default none: zones make no difference
   */
  readonly zone?: string | undefined;
  /** The nodes without which zones make no difference. @default 6, as Envoy's `min_cluster_size` */
  readonly zoneMinNodes?: number | undefined;
  /**
   * Name of the service that this process is a node of. How its nodes are spread over the zones says how many calls
   * each zone makes.
   * @default none: each zone is taken to make as many as the others
   */
  readonly zoneCallers?: string | undefined;
  /** The number of nodes of each service that this process uses. @default all */
  readonly subsetSize?: number | undefined;
  /**
   * The number of this process among those that call the same services, from 0 on: the ordinal of a StatefulSet. With
   * it all nodes are used by the same number of processes.
   * @default none: each process uses nodes of its own by chance
   */
  readonly subsetIndex?: number | undefined;
  /**
   * The share of the calls that nodes with `canary: true` in their metadata get.
   * @default none: they are nodes like others
   */
  readonly canaryPercent?: number | undefined;
  /**
   * Key of the request's metadata by which a call says which nodes it goes to: its value `version=blue` stands for
   * those with `version: blue` in their metadata. A call goes to any node if there are none such.
   * @default none: callers choose nothing
   */
  readonly routeKey?: string | undefined;
}

/** Capabilities of a selector; a static of its class. */
export interface SelectorCapabilities {
  /** `mark` changes what is chosen. */
  readonly marks: boolean;
  /** `begin` changes what is chosen: calls in flight are counted. @default false */
  readonly counts?: boolean | undefined;
}

/**
 * Selects the node of a service that gets a call.
 *
 * Only nodes in the state `serving` are selected. Outcomes reported by `mark` are remembered across calls. Methods may
 * be called concurrently. After `close()` `select` fails with FAILED_PRECONDITION (`selector.closed`).
 */
export interface Selector {
  /** The options in force. */
  readonly options: SelectorOptions;
  /** Changes options, before or after the start. */
  init(options: SelectorOptions): void;
  /**
   * Selects nodes for one call. Returns at once, without a promise, when the nodes are already known, and then fails by
   * throwing: this runs for every call. NOT_FOUND (`registry.not_found`) for a service that is not registered,
   * UNAVAILABLE (`selector.none_available`) when filters or states leave no node, with their number and the reasons;
   * errors of the registry are passed on.
   */
  select(service: string, options?: SelectOptions): NextNode | Promise<NextNode>;
  /**
   * Reports that a call is sent to `node`. `mark` follows exactly once, however the call ends. It is not called for a
   * node that the caller passes over. A selector to which that makes no difference leaves it out.
   */
  begin?(service: string, node: NodeRecord): void;
  /**
   * Reports that the first reply of a stream came, or its headers: the node takes calls. `latencyMs` is the time since
   * its `begin`, and the `mark` at the end has no latency then; absent where it says nothing of the node, as for a
   * stream of requests. `startMs` is the time at which the call was sent, as `startMs` of {@link EndedCall}. A selector
   * to which that makes no difference leaves it out.
   */
  firstReply?(service: string, node: NodeRecord, latencyMs?: number, startMs?: number): void;
  /**
   * Reports the outcome of a call to `node`; without `error` the node answered, whatever its answer. UNAVAILABLE counts
   * as a failure of the node, and so do other errors that the implementation attributes to it; an error that the
   * handler returned does not, nor does CANCELLED. `latencyMs` is the time until the reply or the error came; absent
   * where it says nothing of the node, as for a stream of requests. `call` is what else is known of the call.
   */
  mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number, call?: EndedCall): void;
  /** Forgets the outcomes reported for the service. */
  reset(service: string): void;
  /** Drops the selector's state. The registry stays open. May be called again. */
  close(): Promise<void>;
  /** The name under which the selector is bound: `random`. */
  toString(): string;
}
/**
 * The reason for which a node is left out: failures in a row; the share of its failures, its success rate or its
 * latency in an interval; or it takes no calls, as nobody listens at its address (`unreachable`) or it drains.
 */
export type EjectionReason = 'failures' | 'failure-share' | 'success-rate' | 'latency' | 'unreachable' | 'draining';

/** A node of a service, of which a {@link SelectorObserver} is told. */
export interface ObservedNode {
  readonly service: string;
  /** Its id. */
  readonly node: string;
  readonly address: string;
}

/**
 * Is told what a selector does with the nodes of a service, for metrics. Each method is called synchronously, after the
 * fact, within a call: it has to return soon. What it throws is ignored.
 */
export interface SelectorObserver {
  /**
   * A node is left out, for `durationMs` milliseconds; absent for one that takes no calls, which is out until a call
   * gets through. It is called again if the node turns out to take no calls while it is out.
   */
  onEjected?(event: ObservedNode & { readonly reason: EjectionReason; readonly durationMs: number | undefined }): void;
  /**
   * A node is no longer left out. Called with the first selection after its time was over, when a call has got through,
   * and when the node leaves the registry, or is forgotten. One that comes back while it is ejected is told of again by
   * `onEjected`.
   */
  onReadmitted?(event: ObservedNode): void;
  /**
   * So few of the nodes are left that those that are left out are used too. `usable` is the number of nodes that are
   * not left out.
   */
  onPanic?(event: { readonly service: string; readonly usable: number; readonly nodes: number }): void;
  /** There are enough nodes again. */
  onPanicOver?(event: { readonly service: string }): void;
  /** A node that is new, or back, gets a growing part of its share for `durationMs` milliseconds. */
  onSlowStart?(event: ObservedNode & { readonly durationMs: number }): void;
  /** A call failed as its filters, or the states of the nodes, left none. `nodes` is the number of those registered. */
  onNoneAvailable?(event: { readonly service: string; readonly nodes: number }): void;
}
/** Container key of a {@link SelectorObserver}. @default none */
export const SelectorObserver: ServiceIdentifier<SelectorObserver> = token('selector', 'SelectorObserver');

/** Container key of the {@link Selector}. */
export const Selector: ServiceIdentifier<Selector> = token('selector', 'Selector');
