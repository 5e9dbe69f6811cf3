import type { ServiceIdentifier } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { declaredCapabilities } from '../internal/capabilities.ts';
import { token } from '../internal/token.ts';
import type { ConnectionSecurityCapabilities, ConnectionSecurityOptions } from '../tls/connection.ts';

/** Describes a message for people and tools: Go Micro's `Value`. */
export interface ValueRecord {
  readonly name: string;
  readonly type: string;
  readonly values: readonly ValueRecord[];
}

/** A method or a subscription of a service: Go Micro's `Endpoint`. */
export interface EndpointRecord {
  /** The name of the method: `Greeter.Hello`. */
  readonly name: string;
  readonly request?: ValueRecord | undefined;
  readonly response?: ValueRecord | undefined;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A process that serves requests: Go Micro's `Node`. */
export interface NodeRecord {
  /** Identifies the node among all nodes of the service: `<name>-<uuid>`. */
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

/** The state that a node announces. Clients select only nodes that are `serving`. */
export type NodeState = 'starting' | 'serving' | 'draining';

/** Returns the state of a node. A node without one, such as Go Micro's, is `serving`. */
export function nodeState(node: NodeRecord): NodeState {
  const state = node.metadata[stateKey];
  return state === 'starting' || state === 'draining' ? state : 'serving';
}

/** Key of the node's metadata that is `true` while the node is busy. */
export const busyKey = 'tenon-busy';

/**
 * True for a node whose process is alive and whose event loop is late, so that calls would wait: it announces that, and
 * selectors prefer other nodes. It is `serving` all the same.
 */
export function isBusy(node: NodeRecord): boolean {
  return node.metadata[busyKey] === 'true';
}

/** Bounds of one call of a registry. */
export interface RegistryCallOptions {
  readonly signal?: AbortSignal | undefined;
  /** @default the registry's own time-out */
  readonly timeoutMs?: number | undefined;
}

/** Options of a registration. */
export interface RegisterOptions extends RegistryCallOptions {
  /**
   * The lease in milliseconds: the node is removed unless it is registered again within this time. Registries without
   * leases have the capability `expires: false`.
   * @default the registry's own
   */
  readonly ttlMs?: number | undefined;
}

/** The kind of a change. A registry that cannot tell `create` from `update` reports `update`. */
export type RegistryAction = 'create' | 'update' | 'delete';

/** One change of a service. `service` has only the nodes that changed. */
export interface RegistryEvent {
  readonly action: RegistryAction;
  readonly service: ServiceRecord;
}

/** Options of a watch. */
export interface WatchOptions {
  /** Name of the service to watch. @default every service */
  readonly service?: string | undefined;
  /** Stops the watcher when it aborts, as `stop` does. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Iterates over changes, from the moment `watch` resolved; services that existed before are not reported. The iteration
 * ends after `stop()`. It throws UNAVAILABLE (`registry.watch_lost`) when changes may have been missed, and when its
 * reader is too many changes behind: read again with `getService`, then watch again.
 */
export interface Watcher extends AsyncIterable<RegistryEvent> {
  /**
   * Ends the iteration at once, without events that are still queued, and releases its resources. May be called again.
   */
  stop(): void;
}

/** Options that every registry has. */
export interface RegistryOptions extends ConnectionSecurityOptions {
  /** Address of the registry's server: `host:port`, several separated by commas. */
  readonly address?: string | undefined;
  /** Time-out of each call in milliseconds. */
  readonly timeoutMs?: number | undefined;
  /** Lease of a registration without a `ttlMs` of its own, in milliseconds. */
  readonly ttlMs?: number | undefined;
}

/** The parts of a record that some registries cannot store. */
export interface RecordParts {
  /** Ids of nodes. Without them the registry makes ids of what it has of a node. @default true */
  readonly ids?: boolean | undefined;
  /** Metadata of a node. @default true */
  readonly metadata?: boolean | undefined;
  /** Metadata of the service itself. @default true */
  readonly serviceMetadata?: boolean | undefined;
  /** Endpoints with the shapes of their messages. @default true */
  readonly endpoints?: boolean | undefined;
  /** Versions. Without them all nodes of a service have the same version. @default true */
  readonly versions?: boolean | undefined;
}

/**
 * Capabilities of a registry; a static of its class. If they depend on its options, the static is a function of them,
 * and the instance has the capabilities in force as a property.
 */
export interface RegistryCapabilities extends ConnectionSecurityCapabilities {
  /** `register` works. False for a registry whose services are listed by other means, such as a file. @default true */
  readonly registers?: boolean | undefined;
  /** Nodes that are not registered again are removed after their TTL. */
  readonly expires: boolean;
  /** Other processes find what this one registers. */
  readonly shared: boolean;
  /** `watch` reports changes that other processes make. */
  readonly watches: boolean;
  /**
   * A renewal writes the record again if the server lost it or somebody removed it. Services of other registries read
   * their record back now and then.
   * @default false
   */
  readonly renewalRestores?: boolean | undefined;
  /**
   * Another instance with the same options can take over a registration, and this one then lets go of it (`release`):
   * services have their leases renewed by a worker thread.
   * @default false
   */
  readonly transferable?: boolean | undefined;
  /**
   * URL of the module that exports the class under its name, `import.meta.url`. The worker thread imports it,
   * constructs the class with `Clock`, `Random`, `Timers` and `Logger` at most, and gives it the options in force by
   * `init`. For a registry of the application that is `transferable`; those of tenon need none.
   * @default none: the main thread renews leases
   */
  readonly module?: string | undefined;
  /**
   * `listServices` and a watch of all services cover every service. False for a registry that cannot list them: it
   * covers those that it was asked for.
   * @default true
   */
  readonly listsAll?: boolean | undefined;
  /** The parts of a record that are stored, and found as they were registered. @default all */
  readonly keeps?: RecordParts | undefined;
  /** Step of a TTL in milliseconds: others are rounded up to a multiple of it. @default 1 */
  readonly ttlGranularityMs?: number | undefined;
  /** Shortest TTL in milliseconds: shorter ones are raised to it. @default 1 */
  readonly minTtlMs?: number | undefined;
}

/**
 * Stores the nodes of services, and finds them.
 *
 * Methods may be called concurrently. Implementations do not retry a call: a transient failure is UNAVAILABLE
 * (`registry.unreachable`), naming the registry and its address, and the caller decides; implementations reconnect by
 * themselves. A call that the registry's server refuses is PERMISSION_DENIED or INTERNAL (`registry.refused`). A call
 * past its `timeoutMs` fails with DEADLINE_EXCEEDED (`registry.timeout`), an aborted one with CANCELLED
 * (`call.cancelled`): it may have taken effect, and calling again is safe. After `close()` every call rejects with
 * FAILED_PRECONDITION (`registry.closed`).
 */
export interface Registry {
  /** The options in force. */
  readonly options: RegistryOptions;
  /** Capabilities of this instance. @default those of its class */
  readonly capabilities?: RegistryCapabilities | undefined;
  /**
   * Changes options. FAILED_PRECONDITION (`registry.started`) once the registry has been used, and
   * (`registry.unsupported`) for TLS or credentials that its capabilities do not take: they would not be in force.
   */
  init(options: RegistryOptions): void;
  /**
   * Registers the nodes of `service`. A node that is registered already gets a new lease and the new record. Resolves
   * when others can find the nodes. INVALID_ARGUMENT (`registry.invalid_service`) for a record without name or nodes.
   * UNIMPLEMENTED (`registry.read_only`) without the capability `registers`; likewise `deregister`.
   */
  register(service: ServiceRecord, options?: RegisterOptions): Promise<void>;
  /** Removes the nodes of `service`. Nodes that are not registered are ignored. */
  deregister(service: ServiceRecord, options?: RegistryCallOptions): Promise<void>;
  /**
   * Lets go of the nodes of `service`, which another instance keeps registered from now on: this one neither renews nor
   * removes them, and asks nothing of the server. Present if the capabilities say `transferable`.
   */
  release?(service: ServiceRecord): Promise<void>;
  /** Returns one record per version, each with its nodes. NOT_FOUND (`registry.not_found`) if there is no node. */
  getService(name: string, options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
  /**
   * Returns the services that have nodes, ordered by name; without the capability `listsAll` those that this registry
   * was asked for. Records may lack endpoints and nodes.
   */
  listServices(options?: RegistryCallOptions): Promise<readonly ServiceRecord[]>;
  /** Starts a watch. Resolves when it is established: later changes are reported. */
  watch(options?: WatchOptions): Promise<Watcher>;
  /** Tells `observer` of what happens from now on. Absent in a registry that has nothing to tell. */
  observe?(observer: RegistryObserver): void;
  /** Stops watchers and closes connections. Registrations stay until their TTL ends. May be called again. */
  close(): Promise<void>;
  /** The name under which the registry is bound: `etcd`. */
  toString(): string;
}
/** Container key of the {@link Registry}. */
export const Registry: ServiceIdentifier<Registry> = token('registry', 'Registry');

/** The cached nodes of a service after a change, for a {@link RegistryObserver}. */
export interface ViewChange extends CachedServiceStatistics {
  /** The name of the registry: `etcd`. */
  readonly registry: string;
}

/** A watch that ended with an error, for a {@link RegistryObserver}. */
export interface LostWatch {
  /** The name of the registry: `etcd`. */
  readonly registry: string;
  readonly service: string;
  readonly error: TenonError;
}

/** A watch that goes on after its server was away, for a {@link RegistryObserver}. */
export interface ResumedWatch {
  /** The name of the registry: `etcd`. */
  readonly registry: string;
  /** Undefined for a watch of all services. */
  readonly service: string | undefined;
}

/** A node that was registered again, for a {@link RegistryObserver}. */
export interface RestoredNode {
  /** The name of the registry: `etcd`. */
  readonly registry: string;
  readonly service: string;
  /** The id of the node. */
  readonly node: string;
}

/**
 * Counts what happens in a registry, for metrics. The one that is bound to this key is told by the registry of the
 * application, and by the cache in front of it. Its methods are called synchronously, and must not block.
 */
export interface RegistryObserver {
  /**
   * Called when the cached nodes of a service have changed, or have become stale or fresh. Without nodes the service
   * may have left the cache.
   */
  onViewChanged?(view: ViewChange): void;
  /** Called when a watch of the cache has ended with an error, so that changes may be seen late. */
  onWatchLost?(watch: LostWatch): void;
  /** Called when a watch goes on after its server was away, without having missed a change. */
  onWatchResumed?(watch: ResumedWatch): void;
  /** Called when a node of this process was registered again, as the registry had lost it. */
  onRestored?(node: RestoredNode): void;
}
/** Container key of the {@link RegistryObserver}. */
export const RegistryObserver: ServiceIdentifier<RegistryObserver> = token('registry', 'RegistryObserver');

/** The error of `getService` for a service without nodes, for authors of registries. */
export function serviceNotFound(registry: string, name: string): TenonError {
  return new TenonError({
    code: Code.NotFound,
    reason: 'registry.not_found',
    message: `no node of service "${name}" is known to the ${registry} registry: is it running, and registered in the same registry?`,
  });
}

/** The state of one service in a {@link RegistryCache}, for metrics. */
export interface CachedServiceStatistics {
  readonly service: string;
  /** The number of nodes, in whatever state. */
  readonly nodes: number;
  /** Time since the registry last answered for the service or reported a change of it, in milliseconds. */
  readonly ageMs: number;
  /** True if the registry was away since then: nodes may have come and gone. */
  readonly isStale: boolean;
}

/** A registry that caches the services it has read, so that a selector need not wait for every call. */
export interface RegistryCache extends Registry {
  /** The registry behind the cache. */
  readonly origin: Registry;
  /** Every service in the cache. Computed at each reading. */
  readonly statistics: readonly CachedServiceStatistics[];
  /**
   * Returns the cached records of a service; `undefined` if there are none, and `getService` is to be called. It is the
   * same array as long as nothing changed.
   */
  peek(name: string): readonly ServiceRecord[] | undefined;
}

/** True if a registry is a {@link RegistryCache}. */
export function isRegistryCache(registry: Registry): registry is RegistryCache {
  return typeof (registry as Partial<RegistryCache>).peek === 'function';
}

/** The capabilities of a registry: its own, else those of its class; `undefined` if it has none. */
export function capabilitiesOfRegistry(registry: Registry): RegistryCapabilities | undefined {
  return declaredCapabilities<RegistryCapabilities>(registry);
}

/** The result of {@link readBack}: `taken` if the registry has another address under the id of a node. */
export type Presence = 'present' | 'missing' | 'taken';

/** Reads the nodes of `service` back from the registry itself, past a cache, to see whether they are there. */
export async function readBack(
  registry: Registry,
  service: ServiceRecord,
  options: RegistryCallOptions = {},
): Promise<Presence> {
  const origin = isRegistryCache(registry) ? registry.origin : registry;
  const addresses = new Map<string, string>();
  try {
    const records = await origin.getService(service.name, options);
    for (const { id, address } of records.flatMap(({ nodes }) => nodes)) addresses.set(id, address);
  } catch (error) {
    if (TenonError.from(error).code !== Code.NotFound) throw error;
  }
  const found = service.nodes.map(({ id }) => addresses.get(id));
  if (found.includes(undefined)) return 'missing';
  return service.nodes.every(({ address }, index) => address === found[index]) ? 'present' : 'taken';
}
