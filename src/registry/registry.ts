import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { token } from '../internal/token.ts';

/** A message's shape, for people and tools: Go Micro's `Value`. */
export interface ValueRecord {
  readonly name: string;
  readonly type: string;
  readonly values: readonly ValueRecord[];
}

/** A method or a subscription of a service: Go Micro's `Endpoint`. */
export interface EndpointRecord {
  /** `Greeter.Hello` */
  readonly name: string;
  readonly request?: ValueRecord | undefined;
  readonly response?: ValueRecord | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A process that serves: Go Micro's `Node`. */
export interface NodeRecord {
  /** Unique in the fleet: `<name>-<uuid>`. */
  readonly id: string;
  /** `host:port`, as the node's transport dials it. */
  readonly address: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** One version of a service and the nodes that run it: Go Micro's `Service`. */
export interface ServiceRecord {
  readonly name: string;
  readonly version: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly endpoints: readonly EndpointRecord[];
  readonly nodes: readonly NodeRecord[];
}

/** Key of the node's metadata that holds its {@link NodeState}. */
export const stateKey = 'tenon-state';

/** Where a node stands. Callers choose only nodes that serve. */
export type NodeState = 'starting' | 'serving' | 'draining';

/** The state a node announces; one that announces none, as foreign ones do, serves. */
export function nodeState(node: NodeRecord): NodeState {
  const state = node.metadata[stateKey];
  return state === 'starting' || state === 'draining' ? state : 'serving';
}

/** Bounds of one call of a registry. */
export interface RegistryCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default the registry's own time-out */
  readonly timeoutMs?: number | undefined;
}

/** How long a registration holds. */
export interface RegisterOptions extends RegistryCallOptions {
  /**
   * Without another `register` within this time the node is forgotten. Registries that cannot forget
   * by themselves say so in their capabilities.
   * @default the registry's own
   */
  readonly ttlMs?: number | undefined;
}

/** What happened to a service. `update` is also what a registry reports that cannot tell it from `create`. */
export type RegistryAction = 'create' | 'update' | 'delete';

/** One change. `service` holds just the nodes it is about. */
export interface RegistryEvent {
  readonly action: RegistryAction;
  readonly service: ServiceRecord;
}

/** What to watch. */
export interface WatchOptions {
  /** @default every service */
  readonly service?: string | undefined;
  /** Stops the watcher. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Changes as they happen, from the moment `watch` resolved; what was there before is not repeated. The iteration ends
 * after `stop()`. It throws UNAVAILABLE (`registry.watch_lost`) when changes may have been missed: read again with
 * `getService`, and watch anew. A reader that lags more than a bounded number of changes behind gets the same.
 */
export interface Watcher extends AsyncIterable<RegistryEvent> {
  /** Ends the iteration and lets go of what it held. May be called again. */
  stop(): void;
}

/** What a registry is told at once, whatever it is. */
export interface RegistryOptions {
  /** `host:port`, several by commas. */
  readonly address?: string | undefined;
  /** Bound of each call in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** Lease of a registration that names none, in milliseconds. */
  readonly ttlMs?: number | undefined;
}

/** Parts of a record that not every registry has a place for. */
export interface RecordParts {
  /** Metadata of a node. @default true */
  readonly metadata?: boolean | undefined;
  /** Metadata of the service itself. @default true */
  readonly serviceMetadata?: boolean | undefined;
  /** Endpoints with the shapes of their messages. @default true */
  readonly endpoints?: boolean | undefined;
  /** Versions: without them every node is of one version. @default true */
  readonly versions?: boolean | undefined;
}

/**
 * Capabilities of a registry; a static of its class. One whose capabilities depend on its options has a static function
 * of them, and gives those in force as a property of the instance.
 */
export interface RegistryCapabilities {
  /** Services can announce themselves. False where that is done by other means, as by hand in a file. @default true */
  readonly registers?: boolean | undefined;
  /** Nodes that died are forgotten after their TTL. */
  readonly expires: boolean;
  /** Other processes see it. */
  readonly shared: boolean;
  /** `watch` reports changes that other processes make. */
  readonly watches: boolean;
  /** The parts of a record that are found as they were announced. @default all */
  readonly keeps?: RecordParts | undefined;
  /** A TTL is rounded up to a multiple of this, in milliseconds. @default 1 */
  readonly ttlGranularityMs?: number | undefined;
  /** A shorter TTL is made this long, in milliseconds. @default 1 */
  readonly minTtlMs?: number | undefined;
}

/**
 * Where services announce themselves and are found.
 *
 * May be called concurrently. Implementations do not retry a call: a transient failure is UNAVAILABLE
 * (`registry.unreachable`), naming the registry and its address, and the caller decides; connections come back by
 * themselves. What the registry's server refuses is PERMISSION_DENIED or INTERNAL (`registry.refused`). A call past its
 * `timeoutMs` fails with DEADLINE_EXCEEDED (`registry.timeout`), an aborted one with CANCELLED (`call.cancelled`):
 * whether it took effect is then unknown, and calling again is safe. After `close()` every call rejects with
 * FAILED_PRECONDITION (`registry.closed`).
 */
export interface Registry {
  /** The options in force. */
  readonly options: RegistryOptions;
  /** Capabilities of this registry. @default what its class says */
  readonly capabilities?: RegistryCapabilities | undefined;
  /** Changes options. FAILED_PRECONDITION (`registry.started`) once the registry has been used. */
  init(options: RegistryOptions): void;
  /**
   * Announces the nodes of `service`. Announcing a node again renews its lease and replaces its record. Resolves when
   * others can see it. INVALID_ARGUMENT (`registry.invalid_service`) for a record without name or nodes. UNIMPLEMENTED
   * (`registry.read_only`) if the capabilities say that it does not register; likewise `deregister`.
   */
  register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
  /** Takes the nodes of `service` back. Not an error if they are not there. */
  deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
  /**
   * One record per version, each with its nodes. NOT_FOUND (`registry.not_found`) when there is no node at all.
   */
  getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
  /** The services that have nodes, by name; records may come without endpoints and nodes. */
  listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
  /** Starts to watch; resolves when the watch stands. */
  watch(options?: WatchOptions): Promise<Watcher>;
  /** Stops watchers and lets go of connections. Registrations are left to their TTL. May be called again. */
  close(): Promise<void>;
  /** The name it is bound by: `etcd`. */
  toString(): string;
}
/** Container key of the {@link Registry}. */
export const Registry: ServiceIdentifier<Registry> = token('registry', 'Registry');

/** The error of `getService` for a service without nodes; for authors of registries. */
export function serviceNotFound(registry: string, name: string): TenonError {
  return new TenonError({
    code: Code.NotFound,
    reason: 'registry.not_found',
    message: `no node of service "${name}" is known to the ${registry} registry: is it running, and registered in the same registry?`,
  });
}

/** A registry that keeps what it has read, for those who choose a node for every call. */
export interface RegistryCache extends Registry {
  /**
   * What is known of a service, without waiting; `undefined` when `getService` has to be asked. The same array as long
   * as nothing changed.
   */
  peek(name: string): readonly ServiceRecord[] | undefined;
}

/** Whether the registry is a {@link RegistryCache}. */
export function isRegistryCache(registry: Registry): registry is RegistryCache {
  return typeof (registry as Partial<RegistryCache>).peek === 'function';
}
