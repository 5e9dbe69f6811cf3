import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** The status of a service, by the names of `grpc.health.v1.HealthCheckResponse.ServingStatus`. */
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING';

/**
 * Holds the status that the application itself gives its services, by their names. Inject it where something is known
 * that the lifecycle cannot know, such as that a database is away. `''` is the server as a whole. A name that no
 * handler has may be set too, and can be checked like the others.
 *
 * Each name stands alone, as in gRPC's own servers: none follows from another one. A status counts while the service
 * serves; a service that starts, drains or cannot be found is NOT_SERVING whatever is set here.
 *
 * @example
 * ```ts
 * class Database {
 *   constructor(@inject(Health) private readonly health: Health) {}
 *   onLost(): void {
 *     this.health.set('greeter.Greeter', 'NOT_SERVING');
 *   }
 *   onBack(): void {
 *     this.health.clear('greeter.Greeter');
 *   }
 * }
 * ```
 */
export interface Health {
  /** Sets the status of `service`, until it is set again. */
  set(service: string, status: ServingStatus): void;
  /** Removes the status of `service`, if it has one. */
  clear(service: string): void;
  /** Returns the status that was set for `service`; `undefined` if none was. */
  get(service: string): ServingStatus | undefined;
  /** Returns the names that have a status, in the order in which they were first set. */
  names(): readonly string[];
  /** Calls `listener` after each change, in the same turn. Returns a function that ends that. */
  onChange(listener: () => void): () => void;
}
/** Container key of the {@link Health}. One for all services of a process. */
export const Health: ServiceIdentifier<Health> = token('health', 'Health');
