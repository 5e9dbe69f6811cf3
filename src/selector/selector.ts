import type { ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';
import type { NodeRecord, ServiceRecord } from '../registry/registry.ts';

/** Narrows the records that a choice is made from. Must not change them. */
export type Filter = (services: readonly ServiceRecord[]) => readonly ServiceRecord[];

/** Keeps one version: Go Micro's `FilterVersion`. */
export function filterVersion(version: string): Filter {
  return (services) => services.filter((service) => service.version === version);
}

/** Keeps nodes whose metadata has `key` with `value`: Go Micro's `FilterLabel`. */
export function filterLabel(key: string, value: string): Filter {
  return (services) =>
    services
      .map((service) => ({ ...service, nodes: service.nodes.filter((node) => node.metadata[key] === value) }))
      .filter((service) => service.nodes.length > 0);
}

/** Keeps services that announce the endpoint `name`, or announce none at all: Go Micro's `FilterEndpoint`. */
export function filterEndpoint(name: string): Filter {
  return (services) =>
    services.filter(
      (service) => service.endpoints.length === 0 || service.endpoints.some((endpoint) => endpoint.name === name),
    );
}

/** What a choice has to respect. */
export interface SelectOptions {
  readonly filters?: readonly Filter[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The next node to try: called once per attempt, it gives another node as long as there is one that this `Next` has not
 * given yet, those that are left out for their failures last; then it begins anew. For one call: it does not learn of
 * nodes that come or go.
 */
export type Next = () => NodeRecord;

/** What a selector is told at once, whatever it is. */
export interface SelectorOptions {
  /**
   * How long a node that failed is left out, in milliseconds; longer, up to a bound, each time that it fails again
   * without having answered in between. While every node is left out, all are used.
   * @default 5_000
   */
  readonly ejectMs?: number | undefined;
  /**
   * This many failures in a row leave a node out. One that certainly takes no call is left out at once: nobody listens
   * there, or it said that it drains.
   * @default 3
   */
  readonly ejectAfter?: number | undefined;
}

/** What a selector can and cannot do; a static of its class. */
export interface SelectorCapabilities {
  /** `mark` changes what is chosen. */
  readonly marks: boolean;
}

/**
 * Which node of a service gets a call.
 *
 * Chooses among nodes that serve (state `serving`), knows what `mark` told it across calls, and may be called
 * concurrently. After `close()` `select` fails with FAILED_PRECONDITION (`selector.closed`).
 */
export interface Selector {
  /** The options in force. */
  readonly options: SelectorOptions;
  /** Changes options, before or after the start. */
  init(options: SelectorOptions): void;
  /**
   * Gets ready to choose. Answers at once (no promise) when the nodes are already known, and then fails by throwing:
   * this runs for every call. NOT_FOUND (`registry.not_found`) for a service that nobody announced, UNAVAILABLE
   * (`selector.none_available`) when filters or states leave no node, saying of how many and why; errors of the
   * registry pass through.
   */
  select(service: string, options?: SelectOptions): Next | Promise<Next>;
  /**
   * Tells how a call of `node` went: without `error`, well. Failures are UNAVAILABLE and what the implementation
   * takes for the node's own fault; an answer that the handler chose is not one. `latencyMs` is the time to the end of
   * the call.
   */
  mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number): void;
  /** Forgets what was marked for the service. */
  reset(service: string): void;
  /** Lets go of what the selector keeps; not of the registry. May be called again. */
  close(): Promise<void>;
  /** The name it is bound by: `random`. */
  toString(): string;
}
/** Container key of the {@link Selector}. */
export const Selector: ServiceIdentifier<Selector> = token('selector', 'Selector');
