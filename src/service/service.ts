import type { ServiceIdentifier } from 'inversify';

import type { Client } from '../client/client.ts';
import { token } from '../internal/token.ts';
import type { Server, ServerOptions } from '../server/server.ts';

/** The states of a service, in order. */
export type ServiceState = 'stopped' | 'starting' | 'serving' | 'draining';

/** Where a service is in its life, and who can reach it. */
export interface ServiceStatus {
  readonly state: ServiceState;
  /** The registry was told of the node, and the lease has not run out since: callers can find it. */
  readonly isRegistered: boolean;
  /** Every subscription stands, also where there is none: false while the broker is away that was away at the start. */
  readonly isSubscribed: boolean;
  /** Calls are taken: from when it listens, until the lame duck time of its stop is over. */
  readonly isAccepting: boolean;
}

/** What a service is told at once; what concerns its server is passed on. */
export interface ServiceOptions extends ServerOptions {
  /** Time between renewals of the lease, in milliseconds. @default a third of `registerTtlMs` */
  readonly registerIntervalMs?: number | undefined;
  /**
   * Time to serve on after the registry was told that the node drains, so that callers can have seen it, in
   * milliseconds. @default 1_000
   */
  readonly lameDuckMs?: number | undefined;
  /** Time for what is in flight to finish, in milliseconds; then it is aborted. @default 10_000 */
  readonly drainTimeoutMs?: number | undefined;
  /**
   * Time for each other step of a stop to end, in milliseconds: the `beforeStop` hooks, a `@preDestroy`, the closing of
   * a backend. Then the stop goes on without it.
   * @default 5_000
   */
  readonly stopTimeoutMs?: number | undefined;
  /** Whether a stop drains at all. @default true */
  readonly drain?: boolean | undefined;
  /** Called in order around the start and the stop; Go Micro's names. */
  readonly beforeStart?: readonly Hook[] | undefined;
  readonly afterStart?: readonly Hook[] | undefined;
  readonly beforeStop?: readonly Hook[] | undefined;
  readonly afterStop?: readonly Hook[] | undefined;
  /** Whether an application serves `grpc.health.v1.Health` beside the handlers. @default true */
  readonly health?: boolean | undefined;
  /**
   * Whether that says NOT_SERVING of a node that callers cannot find, for its lease in the registry has run out.
   * @default true
   */
  readonly healthFollowsRegistry?: boolean | undefined;
  /**
   * Whether that says NOT_SERVING of a node whose subscriptions do not stand yet, for the broker was away at its start.
   * @default true
   */
  readonly healthFollowsBroker?: boolean | undefined;
  /** Whether an application serves `grpc.reflection`, v1 and v1alpha, beside the handlers. @default false */
  readonly reflection?: boolean | undefined;
}
/** Container key of the {@link ServiceOptions}. */
export const ServiceOptions: ServiceIdentifier<ServiceOptions> = token('service', 'ServiceOptions');

/**
 * What a process runs on, by the names that its parts are bound by; behind an `@` the address of those that have one.
 * For the start line of its services.
 */
export interface Wiring {
  readonly transport: string;
  readonly codec: string;
  readonly registry: string;
  readonly selector: string;
  readonly broker: string;
  readonly profile?: string | undefined;
}
/** Container key of the {@link Wiring}. */
export const Wiring: ServiceIdentifier<Wiring> = token('service', 'Wiring');

/** Something to do at a moment of the lifecycle. One that rejects before or after the start fails the start. */
export type Hook = () => void | Promise<void>;

/**
 * One service: a server, the client it calls others with, and their life together.
 *
 * Start: `starting` → listen, connect the broker and subscribe, register → `serving`. A broker or a registry that is
 * away holds up nothing and is tried until it is back. Stop: `draining` in the registry → serve on for `lameDuckMs` →
 * deregister → refuse new calls, finish what is in flight within `drainTimeoutMs` → stop the server → `stopped`.
 */
export interface ServiceRuntime {
  /** The options in force. */
  readonly options: ServiceOptions;
  readonly state: ServiceState;
  readonly status: ServiceStatus;
  /**
   * Calls `listener` after each change of {@link status}, in the same turn, so that who has to end before a drain can.
   * Returns how to stop that. What it throws is logged.
   */
  onChange(listener: (status: ServiceStatus) => void): () => void;
  /** Changes options. FAILED_PRECONDITION (`service.started`) unless stopped. */
  init(options: ServiceOptions): void;
  client(): Client;
  server(): Server;
  /**
   * Resolves when callers can be served. If it fails, what was started is stopped again, in reverse order, and it
   * rejects with the first error. FAILED_PRECONDITION (`service.started`) unless stopped. A broker or a registry that
   * is away (UNAVAILABLE, DEADLINE_EXCEEDED) does not fail the start, unless `requireBackends` says so: subscriptions
   * stand and the node is announced when it is back. What it refuses fails the start.
   */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /**
   * Resolves when everything has stopped; does not reject. `signal` cuts the waiting short: in flight calls are aborted
   * then. A second call waits for the first, and its `signal` cuts that short as well.
   */
  stop(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** `start`, wait until `signal` aborts, `stop`. Signals of the process are the business of `app`. */
  run(options?: { readonly signal?: AbortSignal }): Promise<void>;
  /** The name in the registry. */
  toString(): string;
}
/** Container key of the {@link ServiceRuntime}. Every service of a process gets one of its own. */
export const ServiceRuntime: ServiceIdentifier<ServiceRuntime> = token('service', 'ServiceRuntime');
