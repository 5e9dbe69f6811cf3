import type { ServiceIdentifier } from 'inversify';

import type { Client } from '../client/client.ts';
import { token } from '../internal/token.ts';
import type { Server, ServerOptions } from '../server/server.ts';

/** The states of a service, in order. */
export type ServiceState = 'stopped' | 'starting' | 'serving' | 'draining';

/** The state of a service, and whether callers and events reach it. */
export interface ServiceStatus {
  readonly state: ServiceState;
  /** True if the node is registered and its lease has not expired, so that callers can find it. */
  readonly isRegistered: boolean;
  /** True if every subscription is established, or there are none. False while the broker is away since the start. */
  readonly isSubscribed: boolean;
  /** True if calls are accepted: from listening, until the lame duck period of the stop is over. */
  readonly isAccepting: boolean;
}

/** Counts of a service's registration since its start, for metrics. */
export interface RegistrationStatistics {
  /** Registrations that succeeded, renewals included. */
  readonly renewals: number;
  /** Those of them that came after failures, or registered a record that the registry had lost. */
  readonly restorations: number;
}

/** Options of a service. Those of its server are passed on to it. */
export interface ServiceOptions extends ServerOptions {
  /** Time between renewals of the lease, in milliseconds. @default a third of `registerTtlMs` */
  readonly registerIntervalMs?: number | undefined;
  /**
   * True if a worker thread renews the lease, where the registry can be used from one (its capabilities say
   * `transferable`): then a process that is busy stays registered, and one that is dead does not.
   * @default true
   */
  readonly registerWorker?: boolean | undefined;
  /**
   * The node is announced as busy while the event loop of its process is late by this, in milliseconds, so that callers
   * prefer other nodes. Only with `registerWorker`.
   * @default 1_000
   */
  readonly registerBusyAfterMs?: number | undefined;
  /**
   * A node whose event loop is late by this, in milliseconds, is deregistered until the event loop is back. Only with
   * `registerWorker`.
   * @default four times `registerTtlMs`
   */
  readonly registerBusyMs?: number | undefined;
  /**
   * Lame duck period, in milliseconds: the node is announced as draining and still serves, until callers have seen
   * that.
   * @default 1_000
   */
  readonly lameDuckMs?: number | undefined;
  /** Time for calls and events in flight to finish, in milliseconds; then they are aborted. @default 10_000 */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Time limit of each other step of a stop, in milliseconds: the `beforeStop` hooks, a `@preDestroy`, the closing of a
   * backend. After it the stop continues without that step.
   * @default 5_000
   */
  readonly stopTimeoutMs?: number | undefined;
  /** True if a stop drains: it waits for what is in flight. False aborts it at once. @default true */
  readonly drain?: boolean | undefined;
  /** Hooks that run one after another before the service listens. */
  readonly beforeStart?: readonly Hook[] | undefined;
  /** Hooks that run one after another once the service is served. */
  readonly afterStart?: readonly Hook[] | undefined;
  /** Hooks that run one after another before the service drains. */
  readonly beforeStop?: readonly Hook[] | undefined;
  /** Hooks that run one after another once the service has stopped. */
  readonly afterStop?: readonly Hook[] | undefined;
  /** True if an application serves `grpc.health.v1.Health` beside the handlers. @default true */
  readonly health?: boolean | undefined;
  /**
   * True if health is NOT_SERVING while the node's lease in the registry has expired, so that callers cannot find it.
   * @default true
   */
  readonly healthFollowsRegistry?: boolean | undefined;
  /**
   * True if health is NOT_SERVING until all subscriptions are established, where the broker was away at the start.
   * @default true
   */
  readonly healthFollowsBroker?: boolean | undefined;
  /**
   * True if health is NOT_SERVING also during a later outage of the broker, for a service with subscriptions. Beware:
   * it takes away all instances at once.
   * @default false
   */
  readonly healthFollowsOutages?: boolean | undefined;
  /** True if an application serves `grpc.reflection`, v1 and v1alpha, beside the handlers. @default false */
  readonly reflection?: boolean | undefined;
}
/** Container key of the {@link ServiceOptions}. */
export const ServiceOptions: ServiceIdentifier<ServiceOptions> = token('service', 'ServiceOptions');

/**
 * Names of the transport, codec, registry, selector and broker that a process runs on, with the address behind an `@`
 * if there is one. Logged when a service has started.
 */
export interface BackendSummary {
  readonly transport: string;
  readonly codec: string;
  readonly registry: string;
  readonly selector: string;
  readonly broker: string;
  readonly profile?: string | undefined;
}
/** Container key of the {@link BackendSummary}. */
export const BackendSummary: ServiceIdentifier<BackendSummary> = token('service', 'BackendSummary');

/** A function of the application that runs before or after a start or a stop. One that rejects fails the start. */
export type Hook = () => void | Promise<void>;

/**
 * The lifecycle of one service: its server, the client that it calls others with, and its registration.
 *
 * Start: `starting` → listen, connect the broker and subscribe, register → `serving`. A broker or a registry that is
 * away does not delay the start: it is tried until it is back. Stop: register as `draining` → serve for `lameDuckMs` →
 * deregister → refuse new calls, finish those in flight within `drainTimeoutMs` → stop the server → `stopped`.
 */
export interface ServiceRuntime {
  /** The options in force. */
  readonly options: ServiceOptions;
  readonly state: ServiceState;
  readonly status: ServiceStatus;
  readonly registration: RegistrationStatistics;
  /**
   * Calls `listener` after each change of {@link status}, in the same turn of the event loop, so that it can end
   * streams before a drain waits for them. Returns a function that removes the listener. Errors of the listener are
   * logged.
   */
  onChange(listener: (status: ServiceStatus) => void): () => void;
  /** Changes options. Throws FAILED_PRECONDITION (`service.started`) unless the service is stopped. */
  init(options: ServiceOptions): void;
  client(): Client;
  server(): Server;
  /**
   * Starts the service; resolves when it serves callers. A start that fails stops again what it started, in reverse
   * order, and rejects with the first error. Rejects with FAILED_PRECONDITION (`service.started`) unless the service is
   * stopped. A broker or a registry that is away (UNAVAILABLE, DEADLINE_EXCEEDED) does not fail the start, unless
   * `requireBackends` is true: the service subscribes and registers when it is back. One that refuses fails the start.
   */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Stops the service; resolves when everything has stopped, and never rejects. When `signal` aborts, calls in flight
   * are aborted instead of waited for. A second call waits for the first, and its `signal` applies to it too.
   */
  stop(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** Starts the service, waits until `signal` aborts, and stops it. It does not listen to signals of the process. */
  run(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** The name of the service in the registry. */
  toString(): string;
}
/** Container key of the {@link ServiceRuntime}. Each service of a process has its own. */
export const ServiceRuntime: ServiceIdentifier<ServiceRuntime> = token('service', 'ServiceRuntime');
