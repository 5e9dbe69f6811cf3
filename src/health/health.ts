import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** What can be said of a service: the names of `grpc.health.v1.HealthCheckResponse.ServingStatus`. */
export type ServingStatus = 'UNKNOWN' | 'SERVING' | 'NOT_SERVING';

/**
 * What the application itself says of its health, by service name: to be injected where something is known that the
 * lifecycle cannot know, as that a database is away. `''` is the server as a whole. A name that no handler has is one
 * more thing that can be asked for.
 *
 * Each name stands alone, as in gRPC's own servers: nothing is derived from another one. What is said counts while the
 * service serves; one that starts, drains or cannot be found is NOT_SERVING whatever is said here.
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
  /** Says how `service` is, until it is said otherwise. */
  set(service: string, status: ServingStatus): void;
  /** Takes back what was said of `service`. Without effect where nothing was. */
  clear(service: string): void;
  /** What was said of `service`; `undefined` where nothing was. */
  get(service: string): ServingStatus | undefined;
  /** The names of which something was said, in the order in which it was said first. */
  names(): readonly string[];
  /** Calls `listener` after each change, in the same turn. Returns how to stop that. */
  onChange(listener: () => void): () => void;
}
/** Container key of the {@link Health}. One for all services of a process. */
export const Health: ServiceIdentifier<Health> = token('health', 'Health');
