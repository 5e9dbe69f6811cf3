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

export function alreadyStarted(broker: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.started',
    message: `the options of the broker "${broker}" cannot change while it is connected: disconnect() it first`,
  });
}

export function unreachable(broker: string, address: string, doing: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'broker.unreachable',
    message: `cannot ${doing}: the broker "${broker}" at ${address} does not answer. Start it, or set TENON_BROKER_ADDRESS to where it is`,
    cause,
  });
}

export function timedOut(broker: string, address: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: the broker "${broker}" at ${address} did not confirm it; it may have been done all the same`,
  });
}

export function cancelled(broker: string, doing: string, signal: AbortSignal): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: `the caller gave up to ${doing} on the broker "${broker}"`,
    cause: signal.reason,
  });
}

export function unsupported(broker: string, topic: string, missing: readonly string[]): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `the subscription to "${topic}" asks the broker "${broker}" for what it cannot do: ${missing.join('; ')}`,
  });
}

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

export function invalidAddress(broker: string, address: string, remedy: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_address',
    message: `"${address}" is no address of the broker "${broker}": ${remedy}`,
  });
}

export function assertTopic(broker: string, topic: string): void {
  if (typeof topic === 'string' && topic !== '') return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `the broker "${broker}" needs a topic that is a text of at least one character`,
  });
}

/** `Infinity` is a count as well. */
export function assertCount(broker: string, topic: string, option: string, value: number, least: number): void {
  if (value >= least && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `the subscription to "${topic}" on the broker "${broker}" has ${option} ${value}: give a whole number from ${least} on`,
  });
}

/** An event that goes back to its own topic would be handled for ever. */
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

export function assertNotAborted(broker: string, doing: string, options: BrokerCallOptions | undefined): void {
  if (options?.signal?.aborted) throw cancelled(broker, doing, options.signal);
}

/** No room came in time. Unlike a time-out on a wire, it is known that nothing was published. */
export function full(broker: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: a group of the broker "${broker}" has as many events waiting as it keeps. Its subscribers are too slow, or do not settle their events`,
  });
}
