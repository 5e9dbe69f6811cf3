import { Code, TenonError } from '../../errors/errors.ts';
import type { BrokerCallOptions } from '../broker.ts';

/** A call before `connect` or after `disconnect`. */
export function notConnected(broker: string, doing: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.not_connected',
    message: `cannot ${doing}: the broker "${broker}" is not connected; call connect() first`,
  });
}

/** Options that were given while connected. */
export function alreadyStarted(broker: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.started',
    message: `the options of the broker "${broker}" cannot change while it is connected: disconnect() it first`,
  });
}

/** The server is away. */
export function unreachable(broker: string, address: string, doing: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'broker.unreachable',
    message: `cannot ${doing}: the broker "${broker}" at ${address} does not answer. Start it, or set TENON_BROKER_ADDRESS to where it is`,
    cause,
  });
}

/** No answer in time. */
export function timedOut(broker: string, address: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: the broker "${broker}" at ${address} did not confirm it; it may have been done all the same`,
  });
}

/** The caller gave up. */
export function cancelled(broker: string, doing: string, reason: unknown): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: `the caller gave up to ${doing} on the broker "${broker}"`,
    cause: reason,
  });
}

/** A subscription that asks for too much. */
export function unsupported(broker: string, topic: string, missing: readonly string[]): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `the subscription to "${topic}" asks the broker "${broker}" for what it cannot do: ${missing.join('; ')}`,
  });
}

/** The server said no. */
export function refused(
  broker: string,
  address: string,
  doing: string,
  code: Code,
  said: string,
  cause: unknown,
): TenonError {
  return new TenonError({
    code,
    reason: 'broker.refused',
    message: `cannot ${doing}: the broker "${broker}" at ${address} refused it, saying "${said}"`,
    cause,
  });
}

/** A topic that the server takes in no way. */
export function unusableTopic(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `the broker "${broker}" cannot have a topic ${JSON.stringify(topic)}, however it is written: name it otherwise, or shorter`,
  });
}

/** A header that the server takes in no way. */
export function unusableHeader(broker: string, topic: string, name: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_headers',
    message: `cannot publish to "${topic}": the broker "${broker}" cannot carry the header ${JSON.stringify(name)}, however it is written`,
  });
}

/** An event over the limit of the server. */
export function tooLarge(broker: string, topic: string, part: string, bytes: number, limit: number): TenonError {
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'broker.too_large',
    message: `cannot publish to "${topic}": ${part} of ${bytes} bytes is more than the ${limit} that the broker "${broker}" takes`,
  });
}

/** The reason of a receiver that refuses an event without one. */
export function rejected(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.rejected',
    message: `the receiver refused an event of "${topic}" on the broker "${broker}"`,
  });
}

/** An acknowledgement that can no longer be sent. */
export function sessionOver(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'broker.session_over',
    message: `an event of "${topic}" could not be acknowledged: the connection to the broker "${broker}" that it came on has ended. It is handed out again`,
  });
}

/** An address that the broker does not understand. */
export function invalidAddress(broker: string, address: string, remedy: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_address',
    message: `"${address}" is no address of the broker "${broker}": ${remedy}`,
  });
}

/** Throws `broker.invalid_topic` for what is no name. */
export function assertTopic(broker: string, topic: string): void {
  if (typeof topic === 'string' && topic !== '') return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `the broker "${broker}" needs a topic that is a text of at least one character`,
  });
}

/** Throws `broker.invalid_options` for what is no count of at least `least`. `Infinity` is one as well. */
export function assertCount(broker: string, topic: string, option: string, value: number, least: number): void {
  if (value >= least && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `the subscription to "${topic}" on the broker "${broker}" has ${option} ${value}: give a whole number from ${least} on`,
  });
}

/**
 * Throws `broker.invalid_options` for no name, and for the topic itself: an event that goes back there would be handled
 * for ever.
 */
export function assertDeadLetter(broker: string, topic: string, deadLetter: string): void {
  if (typeof deadLetter === 'string' && deadLetter !== '' && deadLetter !== topic) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `the subscription to "${topic}" on the broker "${broker}" has deadLetter ${JSON.stringify(deadLetter)}: name another topic, or say false to drop what cannot be handled`,
  });
}

/** Why a handler is to stop: it no longer decides about its event. */
export function subscriptionEnded(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'broker.subscription_ended',
    message: `the subscription to "${topic}" on the broker "${broker}" was ended while the event was handled`,
  });
}

/** Throws `call.cancelled` if the caller has given up already. */
export function assertNotAborted(broker: string, doing: string, options: BrokerCallOptions | undefined): void {
  if (options?.signal?.aborted) throw cancelled(broker, doing, options.signal.reason);
}

/** The event was taken back in time: unlike with a time-out on a wire, it is known that nothing was published. */
export function withdrawn(broker: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: the broker "${broker}" had no room for it, and nothing was published. Its subscribers are too slow, or do not settle their events`,
  });
}
