import type { ServiceIdentifier } from 'inversify';

import type { TenonError } from '../errors/errors.ts';
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

/** Options of one selection. */
export interface SelectOptions {
  /** Applied one after another; a node must pass all of them. @default none */
  readonly filters?: readonly NodeFilter[] | undefined;
  /** Ends the wait for the registry. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Returns the node for the next attempt of one call: Go Micro's `Next`. It returns each node once, ejected ones last,
 * and then begins again. It does not notice nodes that come or go after the selection.
 */
export type NextNode = () => NodeRecord;

/** Options that every selector has. */
export interface SelectorOptions {
  /**
   * Time for which a failing node is ejected, that is, not selected, in milliseconds. It doubles, up to twelve times as
   * long, each time that the node fails again without an answer in between. While every node is ejected, all are used.
   * @default 5_000
   */
  readonly ejectMs?: number | undefined;
  /**
   * Failures in a row after which a node is ejected. A node that certainly takes no call is ejected at once: no
   * server listens at its address, or it answered that it drains.
   * @default 3
   */
  readonly ejectAfter?: number | undefined;
}

/** Capabilities of a selector; a static of its class. */
export interface SelectorCapabilities {
  /** `mark` changes what is chosen. */
  readonly marks: boolean;
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
   * Reports the outcome of a call to `node`; without `error` it succeeded. UNAVAILABLE counts as a failure of the node,
   * and so do other errors that the implementation attributes to it; an error that the handler returned does not.
   * `latencyMs` is the time until the call ended.
   */
  mark(service: string, node: NodeRecord, error?: TenonError, latencyMs?: number): void;
  /** Forgets the outcomes reported for the service. */
  reset(service: string): void;
  /** Drops the selector's state. The registry stays open. May be called again. */
  close(): Promise<void>;
  /** The name under which the selector is bound: `random`. */
  toString(): string;
}
/** Container key of the {@link Selector}. */
export const Selector: ServiceIdentifier<Selector> = token('selector', 'Selector');
