import type { Context } from '../../context/context.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { unthrown } from '../../errors/unthrown.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { Clock } from '../../runtime/runtime.ts';
import { whyTls } from '../../tls/failures.ts';

const writeHostPort = 'Write host:port, such as 127.0.0.1:50051 or [::1]:50051';

// Errors of a socket in the clear to a TLS server, and of a certificate that a server refuses with TLS 1.3.
const hangUps = /^(?:Failed to connect|the other side closed it|(?:read|write) (?:ECONNRESET|EPIPE))$/;
const hungUp =
  'the connection was closed before it could carry a call. Does it speak TLS, and this client not (tls)? Or does it not trust the certificate of this client?';

/** UNAVAILABLE: no server took the call, so that it may be sent again, here or elsewhere. */
export function unreachable(address: string, why: string): TenonError {
  const told = hangUps.test(why)
    ? hungUp
    : (whyTls(why) ?? `${why}. Is the service running, and does it listen there?`);
  return unthrown({
    code: Code.Unavailable,
    reason: 'transport.unreachable',
    message: `${address} cannot be reached: ${told}`,
  });
}

/** UNAVAILABLE: the connection broke while the call was under way. */
export function connectionLost(address: string, why: string): TenonError {
  return unthrown({
    code: Code.Unavailable,
    reason: 'transport.connection_lost',
    message: `the connection to ${address} was lost: ${why}. The call may have been processed`,
  });
}

/** UNAVAILABLE: this side's transport was closed while the call was under way. */
export function transportClosed(): TenonError {
  return unthrown({
    code: Code.Unavailable,
    reason: 'transport.closed',
    message: 'the transport was closed: calls need one that is open until they are over',
  });
}

/** FAILED_PRECONDITION: this side's transport was closed before the call began. */
export function usedAfterClose(): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'transport.closed',
    message: 'the transport is closed: it makes no more calls',
  });
}

/** UNAVAILABLE: the listener was closed while the call was under way. */
export function listenerClosed(address: string): TenonError {
  return unthrown({
    code: Code.Unavailable,
    reason: 'transport.connection_lost',
    message: `the server at ${address} was stopped while it handled the call`,
  });
}

/** DEADLINE_EXCEEDED: no time is left for `what`. */
export function deadlineExceeded(what: string): TenonError {
  return unthrown({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `the deadline of ${what} has passed`,
  });
}

/** CANCELLED, with the message given. */
export function callCancelled(message: string): TenonError {
  return unthrown({ code: Code.Cancelled, reason: 'call.cancelled', message });
}

/** The error that `recv` rejects with after this side's `abort`. */
export function aborted(code: Code, message: string | undefined): TenonError {
  if (code === Code.Cancelled) return callCancelled(message ?? 'the call was cancelled');
  return unthrown({ code, reason: 'transport.aborted', message: message ?? 'this side ended the call' });
}

/** The error of a call that may not begin: it was cancelled, or no time is left for it. */
export function notToBegin(path: string, ctx: Context | undefined, clock: Clock): TenonError | undefined {
  if (!ctx) return undefined;
  if (ctx.aborted) return ctx.aborted;
  return ctx.deadline !== undefined && ctx.deadline <= clock.monotonicMs() ? deadlineExceeded(path) : undefined;
}

/** RESOURCE_EXHAUSTED if the body of a request is longer than this side may send. */
export function requestTooLarge(
  path: string,
  body: Uint8Array,
  maxSendBytes: number | undefined,
): TenonError | undefined {
  if (maxSendBytes === undefined || body.length <= maxSendBytes) return undefined;
  return tooLarge(`a request of ${path}`, body.length, maxSendBytes, 'maxSendBytes of the client');
}

/** RESOURCE_EXHAUSTED: a message is longer than allowed. `what` is "a request of /a.B/C" or the like. */
export function tooLarge(what: string, bytes: number | undefined, limit: number, option: string): TenonError {
  const size = bytes === undefined ? `has more than the ${limit} bytes` : `has ${bytes} bytes, more than the ${limit}`;
  return unthrown({
    code: Code.ResourceExhausted,
    reason: 'transport.message_too_large',
    message: `${what} ${size} allowed: raise ${option}, or stream it in parts`,
  });
}

/** RESOURCE_EXHAUSTED: HTTP/2's ENHANCE_YOUR_CALM, from the server or from node:http2 on this side. */
export function calmDown(address: string, path: string): TenonError {
  return unthrown({
    code: Code.ResourceExhausted,
    reason: 'transport.enhance_your_calm',
    message: `the call ${path} to ${address} was reset: there is more metadata than one side takes, or the server has too much to do. Send less of it`,
  });
}

/** UNIMPLEMENTED: the client sent another number of messages than the method takes. */
export function wrongCount(path: string, count: 'no' | 'a second'): TenonError {
  return unthrown({
    code: Code.Unimplemented,
    reason: 'transport.wrong_message_count',
    message: `${path} takes one request, and ${count} message came`,
  });
}

/** UNIMPLEMENTED: the server sent another number of messages than the method gives (statuscodes.md). */
export function wrongReplyCount(path: string, count: 'no' | 'a second'): TenonError {
  return unthrown({
    code: Code.Unimplemented,
    reason: 'transport.wrong_reply_count',
    message: `${path} gives one reply, and ${count} message came`,
  });
}

/** INTERNAL: the server broke the rules of the call. */
export function badReply(path: string, what: string): TenonError {
  return unthrown({
    code: Code.Internal,
    reason: 'transport.bad_reply',
    message: `the server's answer to ${path} breaks the rules of gRPC: ${what}`,
  });
}

/** UNIMPLEMENTED: the server has no method at that path. */
export function unknownMethod(path: string, hint: string): TenonError {
  return unthrown({
    code: Code.Unimplemented,
    reason: 'transport.unknown_method',
    message: `the server has no method ${path}.${hint}`,
  });
}

/** The error for an answer that is not gRPC, such as a web page: its code follows from the status of HTTP. */
export function notGrpc(address: string, contentType: string | undefined, status?: number): TenonError {
  const type = contentType === undefined ? 'has no content type' : `is of type "${contentType}"`;
  const said = status === undefined || status === 200 ? '' : ` Its status of HTTP is ${status}.`;
  return unthrown({
    code: codeOfHttp(status),
    reason: 'transport.not_grpc',
    message: `what answers at ${address} does not speak gRPC: its answer ${type}. Is it another port's service, or a proxy?${said}`,
  });
}

/** Maps a status of HTTP to a code (grpc: doc/http-grpc-status-mapping.md). */
function codeOfHttp(status: number | undefined): Code {
  switch (status) {
    case 400:
      return Code.Internal;
    case 401:
      return Code.Unauthenticated;
    case 403:
      return Code.PermissionDenied;
    case 404:
      return Code.Unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.Unavailable;
    default:
      return Code.Unknown;
  }
}

/** PERMISSION_DENIED: HTTP/2's INADEQUATE_SECURITY (PROTOCOL-HTTP2.md: Errors). */
export function inadequateSecurity(address: string, path: string): TenonError {
  return unthrown({
    code: Code.PermissionDenied,
    reason: 'transport.inadequate_security',
    message: `the server at ${address} does not take ${path} over a connection that is no more secure than this one: see the TLS of both sides`,
  });
}

/** UNKNOWN: the peer answered, but not in tenon's own protocol. */
export function notTenon(address: string, what: string): TenonError {
  return unthrown({
    code: Code.Unknown,
    reason: 'transport.not_tenon',
    message: `what answers at ${address} does not speak tenon's own protocol: ${what}. Is it another port's service, or does it use another TENON_TRANSPORT?`,
  });
}

/** INVALID_ARGUMENT: the address cannot be parsed, or not be used for that. */
export function notAnAddress(address: string, why: string, remedy: string = writeHostPort): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'transport.invalid_address',
    message: `"${maskAddress(address)}" is not an address: ${why}. ${remedy}`,
  });
}

/** ALREADY_EXISTS: another listener has the address. */
export function addressInUse(
  address: string,
  cause?: unknown,
  other = 'another port (0 for any free one)',
): TenonError {
  return new TenonError({
    code: Code.AlreadyExists,
    reason: 'transport.address_in_use',
    message: `${address} is in use: stop what listens there, or choose ${other}`,
    cause,
  });
}

/** UNAVAILABLE: the system does not let this process listen at the address. */
export function cannotListen(
  address: string,
  why: string,
  cause?: unknown,
  remedy = 'Give an address of this machine, or 0.0.0.0 for all of them',
): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'transport.cannot_listen',
    message: `cannot listen at ${address}: ${why}. ${remedy}`,
    cause,
  });
}

/** The error for a reply that cannot be sent: the server's own mistake, not the caller's. */
export function unsendable(error: unknown): TenonError {
  const { message, reason } = TenonError.from(error);
  if (reason === 'metadata.too_large')
    return new TenonError({ code: Code.ResourceExhausted, reason, message, cause: error });
  return new TenonError({ code: Code.Internal, reason: 'metadata.invalid', message, cause: error });
}
