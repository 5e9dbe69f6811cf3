import { Code, TenonError, textOf } from '../../errors/errors.ts';

/** Where a call of a registry goes, for the messages of its errors. */
export interface CallPlace {
  /** The registry's name: `redis`. */
  readonly registry: string;
  /** The method that was called: `getService`. */
  readonly what: string;
  /** The server and its address: `Redis at 127.0.0.1:6379`. */
  readonly where: string;
}

/** A failure of a server, in the words of its driver. */
export interface DriverFailure {
  /**
   * - `unreachable`: nobody answers there, or the answer is to come back later.
   * - `refused`: the server says no.
   * - `denied`: the server says no to this caller.
   */
  readonly kind: 'unreachable' | 'refused' | 'denied';
  /** @default the text of the error */
  readonly why?: string | undefined;
  /** The remedy, in whole sentences. */
  readonly remedy?: string | undefined;
  /** The error that tells most, if it is not the one that was thrown. */
  readonly cause?: unknown;
}

/**
 * The error of a call that failed at the server: UNAVAILABLE (`registry.unreachable`), INTERNAL (`registry.refused`) or
 * PERMISSION_DENIED (`registry.refused`).
 */
export function serverFailed({ registry, what, where }: CallPlace, failure: DriverFailure, error: unknown): TenonError {
  const { kind, cause = error, why = textOf(cause), remedy } = failure;
  const isUnreachable = kind === 'unreachable';
  const happened = isUnreachable ? `cannot be reached (${why})` : `refused: ${why}`;
  return new TenonError({
    code: isUnreachable ? Code.Unavailable : kind === 'denied' ? Code.PermissionDenied : Code.Internal,
    reason: isUnreachable ? 'registry.unreachable' : 'registry.refused',
    message: `${what} of the ${registry} registry: ${where} ${happened}${remedy === undefined ? '' : `. ${remedy}`}`,
    cause,
  });
}

/** DEADLINE_EXCEEDED (`registry.timeout`): the server did not answer in time. */
export function callTimedOut({ registry, what, where }: CallPlace, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'registry.timeout',
    message: `${what}: ${where} did not answer the ${registry} registry within ${timeoutMs} ms; whether it took effect is not known`,
  });
}

/** CANCELLED (`call.cancelled`): the caller gave up. */
export function callCancelled(registry: string, reason: unknown): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: `the call to the ${registry} registry was cancelled`,
    cause: reason,
  });
}

/** FAILED_PRECONDITION (`registry.closed`): the registry was closed. */
export function registryClosed(registry: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.closed',
    message: `the ${registry} registry is closed: its system has stopped`,
  });
}

/** FAILED_PRECONDITION (`registry.started`): options come too late. */
export function registryStarted(registry: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.started',
    message: `the ${registry} registry is in use: give its options before the first call`,
  });
}

/** UNIMPLEMENTED (`registry.read_only`): nodes are announced to this registry by other means. */
export function registryReadOnly(registry: string, what: string): TenonError {
  return new TenonError({
    code: Code.Unimplemented,
    reason: 'registry.read_only',
    message: `${what}: the ${registry} registry only finds services, and announces none: bind a registry that does, or let the service not register`,
  });
}

/** UNAVAILABLE (`registry.watch_lost`): changes may have been missed. */
export function watchLost(service: string | undefined, why: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'registry.watch_lost',
    message: `the watch of ${service ?? 'all services'} ended, ${why}: read the registry again, and watch anew`,
    cause,
  });
}

/** INVALID_ARGUMENT (`registry.invalid_service`): the record cannot be announced. */
export function invalidService(name: string, why: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_service',
    message: `service "${name}" cannot be registered: ${why}`,
  });
}

/** INVALID_ARGUMENT (`registry.invalid_address`): no server can be there. */
export function invalidAddress(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_address', message });
}
