import { Code, TenonError, textOf } from '../../errors/errors.ts';

/** Names a call of a registry in messages of errors. */
export interface CallTarget {
  /** The registry's name: `redis`. */
  readonly registry: string;
  /** The method that was called: `getService`. */
  readonly method: string;
  /** The server and its address: `Redis at 127.0.0.1:6379`. */
  readonly server: string;
}

/**
 * The failure of a call that a channel of the kit made, with the method and the address in the message. It is the one
 * kind of `TenonError` that a driver's `failure` translates.
 */
export class ChannelCallError extends TenonError {
  constructor(call: string, error: TenonError) {
    const { code, reason, details, metadata, message } = error;
    super({ code, reason, details, metadata, message: `${call}: ${message}`, cause: error });
  }
}

/** The failure of a call of a `GrpcChannel`: the transport's error, or the status that the server sent. */
export class GrpcCallError extends ChannelCallError {}

/** The failure of a request of an `HttpChannel`, which lists the reasons. A status is none. */
export class HttpCallError extends ChannelCallError {}

/** The meaning of an error of a server, as its driver translates it. */
export interface DriverFailure {
  /**
   * - `unreachable`: the server does not answer, or answers that it is temporarily unavailable.
   * - `refused`: the server rejects the call.
   * - `denied`: the server rejects the credentials or the rights of this process.
   */
  readonly kind: 'unreachable' | 'refused' | 'denied';
  /** @default the text of the error */
  readonly why?: string | undefined;
  /** The remedy, in whole sentences, for the message. */
  readonly remedy?: string | undefined;
  /** The error to show as the cause. @default the error that was thrown */
  readonly cause?: unknown;
}

/**
 * The error of a call that failed at the server: UNAVAILABLE (`registry.unreachable`), INTERNAL (`registry.refused`) or
 * PERMISSION_DENIED (`registry.refused`).
 */
export function serverFailed(
  { registry, method, server }: CallTarget,
  failure: DriverFailure,
  error: unknown,
): TenonError {
  const { kind, cause = error, why = textOf(cause), remedy } = failure;
  const isUnreachable = kind === 'unreachable';
  const happened = isUnreachable ? `cannot be reached (${why})` : `refused: ${why}`;
  return new TenonError({
    code: isUnreachable ? Code.Unavailable : kind === 'denied' ? Code.PermissionDenied : Code.Internal,
    reason: isUnreachable ? 'registry.unreachable' : 'registry.refused',
    message: `${method} of the ${registry} registry: ${server} ${happened}${remedy === undefined ? '' : `. ${remedy}`}`,
    cause,
  });
}

/** DEADLINE_EXCEEDED (`registry.timeout`): the server did not answer in time. */
export function callTimedOut({ registry, method, server }: CallTarget, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'registry.timeout',
    message: `${method}: ${server} did not answer the ${registry} registry within ${timeoutMs} ms; whether it took effect is not known`,
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

/** FAILED_PRECONDITION (`registry.started`): the registry is in use, and its options can no longer change. */
export function registryStarted(registry: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.started',
    message: `the ${registry} registry is in use: give its options before the first call`,
  });
}

/** FAILED_PRECONDITION (`registry.unsupported`): the registry does not take these options. */
export function registryTakesNot(registry: string, options: readonly string[]): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'registry.unsupported',
    message: `the ${registry} registry takes no ${options.join(', ')}: leave it out, or bind a registry that takes it`,
  });
}

/** UNIMPLEMENTED (`registry.read_only`): services cannot register in this registry. */
export function registryReadOnly(registry: string, method: string): TenonError {
  return new TenonError({
    code: Code.Unimplemented,
    reason: 'registry.read_only',
    message: `${method}: services cannot register in the ${registry} registry: bind another registry, or set TENON_REGISTER=false`,
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

/** INVALID_ARGUMENT (`registry.invalid_service`): the record cannot be registered. */
export function invalidService(name: string, why: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_service',
    message: `service "${name}" cannot be registered: ${why}`,
  });
}

/** INVALID_ARGUMENT (`registry.invalid_address`): the address is not valid for this registry. */
export function invalidAddress(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_address', message });
}

/** INVALID_ARGUMENT (`registry.invalid_option`): an option has a value that this registry cannot have. */
export function invalidOption(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'registry.invalid_option', message });
}

/** INVALID_ARGUMENT (`registry.unknown_method`): the `.proto` of the server has no such method. */
export function unknownMethod(registry: string, name: string, isUnary: boolean): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.unknown_method',
    message: `the .proto of the ${registry} registry has no ${isUnary ? 'unary' : 'streaming'} method ${name}: write package.Service/Method`,
  });
}
