import type { StatusObject } from '@grpc/grpc-js';

import type { Status } from '../../context/status.ts';
import { Code, codeFrom, TenonError } from '../../errors/errors.ts';
import type { Clock } from '../../runtime/runtime.ts';
import {
  badReply,
  callCancelled,
  calmDown,
  connectionLost,
  deadlineExceeded,
  tooLarge,
  transportClosed,
  unreachable,
} from '../call/failures.ts';
import { responseMetadata } from './metadata.ts';

/** The call that a status ended. */
export interface EndedCall {
  readonly address: string;
  readonly path: string;
  readonly maxReceiveBytes: number;
  readonly deadline: number | undefined;
  readonly clock: Clock;
}

/** Returns the status that the server sent, or the error for a status that grpc-js made up because none came. */
export function outcomeOf(ended: StatusObject, call: EndedCall): Status | TenonError {
  const status: Status = {
    code: codeFrom(ended.code),
    message: ended.details,
    metadata: responseMetadata(ended.metadata),
  };
  if (status.code === Code.Ok) return { code: Code.Ok, message: '', metadata: status.metadata };
  return failureOf(ended, call) ?? status;
}

/** Returns the HTTP status of the answer, if grpc-js names it. */
export function statusOfHttp({ details }: StatusObject): number | undefined {
  const status = /^Received HTTP status code (\d+)/.exec(details)?.[1];
  return status === undefined ? undefined : Number(status);
}

/** True if a call with a connection ran out of time by the client's clock, or was refused without a reason. */
export function wasUnanswered(ended: StatusObject): boolean {
  const { details } = ended;
  if (ended.code === (Code.DeadlineExceeded as number))
    return details.startsWith('Deadline exceeded after') && details.includes('remote_addr=') && !hasMetadata(ended);
  return ended.code === (Code.Unavailable as number) && details.startsWith('Stream refused') && !hasMetadata(ended);
}

/**
 * Returns the error for a status of grpc-js's own, which it does not tell from a server's. Its own carry no metadata at
 * all, while a server's answer without headers has at least its content type; and its texts are few. They are those of
 * grpc-js 1.14 (subchannel-call, load-balancing-call, load-balancer-pick-first, resolver-dns, internal-channel), and
 * the tests of this transport meet each of them.
 */
function failureOf(ended: StatusObject, call: EndedCall): TenonError | undefined {
  const { address, path, maxReceiveBytes } = call;
  const { details } = ended;
  // The error of a filter of its own, which has none; an answer has a number, though it may be no code.
  if (ended.code === undefined)
    return badReply(
      path,
      'a message came compressed in another way than its headers say, or in one that is not understood',
    );
  switch (ended.code as Code) {
    case Code.Unavailable:
      if (hasMetadata(ended)) return undefined;
      if (details.startsWith('Channel closed')) return transportClosed();
      if (notSent.test(details)) return unreachable(address, plain(details));
      return lost.test(details) ? connectionLost(address, details) : undefined;
    case Code.Internal:
      if (hasMetadata(ended)) return undefined;
      // The connection received a GOAWAY after it had been chosen for the call.
      if (details.startsWith('Failed to start HTTP/2 stream')) return unreachable(address, plain(details));
      if (details.includes('internal client error')) return connectionLost(address, details);
      // COMPRESSION_ERROR ends the connection and all of its calls: nghttp2 takes no field above 64 KiB.
      if (details === 'Received RST_STREAM with code 9')
        return connectionLost(address, 'headers could not be read; was there metadata of more than 64 KiB?');
      return details.startsWith('Received RST_STREAM') ? badReply(path, details) : undefined;
    case Code.Cancelled:
      if (hasMetadata(ended) || details !== 'Call cancelled') return undefined;
      // Servers reset a call when its deadline passes, and may be the first to see it.
      return isLate(call) ? deadlineExceeded(path) : callCancelled(`the server at ${address} reset the call ${path}`);
    case Code.DeadlineExceeded:
      return !hasMetadata(ended) && details.startsWith('Deadline exceeded after') ? deadlineExceeded(path) : undefined;
    case Code.ResourceExhausted:
      if (hasMetadata(ended)) return undefined;
      if (details.startsWith('Bandwidth exhausted')) return calmDown(address, path);
      return oversized.test(details)
        ? tooLarge(`a reply of ${path}`, sizeIn(details), maxReceiveBytes, 'maxReceiveBytes of the client')
        : undefined;
    default:
      return undefined;
  }
}

/**
 * Returns true if no time is left, or almost none: time-outs travel in whole milliseconds, and each side has a clock of
 * its own.
 */
function isLate({ deadline, clock }: EndedCall): boolean {
  return deadline !== undefined && deadline <= clock.monotonicMs() + 2;
}

// A refused stream was not processed (RFC 9113, section 8.7), and neither was one that still waited for its number.
const notSent =
  /^No connection established|^Name resolution failed|^Failed to parse DNS address|^Stream refused|NGHTTP2_REFUSED_STREAM|pending stream has been canceled/;
const lost = /^Connection dropped|^Write error|^Write failed|^(?:read|write) E[A-Z]+/;
const oversized = /^Received message larger than max|^Received message that decompresses/;

function hasMetadata(ended: StatusObject): boolean {
  return Object.keys(ended.metadata.getMap()).length > 0;
}

function sizeIn(details: string): number | undefined {
  const size = /\((\d+) vs/.exec(details)?.[1];
  return size === undefined ? undefined : Number(size);
}

/**
 * Returns the text without parts that only grpc-js understands: times, notes on resolution, and `Error: ` before the
 * reason.
 */
function plain(details: string): string {
  const reason = /Last error: (.*?)(?: \(\d{4}-[^)]*\))?\. Resolution note:/.exec(details)?.[1] ?? details;
  return reason.replace(/^Error: /, '').replace(/\.$/, '');
}
