import { Code, TenonError } from '../../errors/errors.ts';
import type { BrokerCallOptions } from '../broker.ts';
import { hasWildcard, TopicPattern } from './wildcards.ts';

/** FAILED_PRECONDITION (`broker.not_connected`): a call before `connect` or after `disconnect`. */
export function notConnected(broker: string, doing: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.not_connected',
    message: `cannot ${doing}: the broker "${broker}" is not connected; call connect() first`,
  });
}

/** FAILED_PRECONDITION (`broker.started`): options cannot change while the broker is connected. */
export function alreadyStarted(broker: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.started',
    message: `the options of the broker "${broker}" cannot change while it is connected: disconnect() it first`,
  });
}

/** UNAVAILABLE (`broker.unreachable`): the server is away. `why` gives the cause, if it is known. */
export function unreachable(
  broker: string,
  address: string,
  doing: string,
  cause?: unknown,
  why = 'does not answer. Start it, or set TENON_BROKER_ADDRESS to where it is',
): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'broker.unreachable',
    message: `cannot ${doing}: the broker "${broker}" at ${address} ${why}`,
    cause,
  });
}

/** DEADLINE_EXCEEDED (`broker.timeout`): the server did not answer in time. */
export function timedOut(broker: string, address: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: the broker "${broker}" at ${address} did not confirm it; it may have been done all the same`,
  });
}

/** CANCELLED (`call.cancelled`): the caller aborted the call. */
export function cancelled(broker: string, doing: string, reason: unknown): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'call.cancelled',
    message: `the caller gave up to ${doing} on the broker "${broker}"`,
    cause: reason,
  });
}

/** FAILED_PRECONDITION (`broker.unsupported`): a subscription needs capabilities that the broker lacks. */
export function unsupported(broker: string, topic: string, missing: readonly string[]): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `the subscription to "${topic}" asks the broker "${broker}" for what it cannot do: ${missing.join('; ')}`,
  });
}

/** FAILED_PRECONDITION (`broker.unsupported`): an event was to be delivered later. */
export function cannotDelay(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `cannot publish to "${topic}": delayMs needs a broker with ack, nack and delay, and "${broker}" is none. Bind one that has them (see docs/broker.md), or publish the event later`,
  });
}

/** FAILED_PRECONDITION (`broker.unsupported`): the server is older than the one that is needed: `needs`. */
export function tooOld(broker: string, needs: string, remedy: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `the broker "${broker}" needs ${needs} or newer: ${remedy}`,
  });
}

/** FAILED_PRECONDITION (`broker.unroutable`): no subscriber would get the event, and it was not published. */
export function unroutable(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unroutable',
    message: `cannot publish to "${topic}": nobody has subscribed to it on the broker "${broker}". Subscribe first, or leave unroutable at accept`,
  });
}

/** FAILED_PRECONDITION (`broker.unsupported`): options that the broker would ignore. */
export function takesNot(broker: string, options: readonly string[]): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.unsupported',
    message: `the broker "${broker}" takes no ${options.join(', ')}: leave it out, or bind a broker that takes it`,
  });
}

/** The error of a request that the server refused. */
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
    message: `cannot ${doing}: the broker "${broker}" at ${address} refused it, saying "${said}"${code === Code.Unauthenticated ? '. TENON_BROKER_USERNAME and TENON_BROKER_PASSWORD (or its _FILE) say who connects' : ''}`,
    cause,
  });
}

/**
 * FAILED_PRECONDITION (`broker.mismatch`): a stream, a queue or the like exists at the server with another property
 * than was asked for. It is not changed.
 */
export function mismatch(
  broker: string,
  what: string,
  property: string,
  wanted: unknown,
  found: unknown,
  remedy: string,
): TenonError {
  const [asked, there] = [wanted, found].map((value) => (value === undefined ? 'none' : JSON.stringify(value)));
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.mismatch',
    message: `${what} exists on the broker "${broker}" with ${property} ${there}, and ${asked} is wanted. It is not changed: ${remedy}`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_topic`): the topic cannot be encoded for the server. */
export function unusableTopic(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `the broker "${broker}" cannot have a topic ${JSON.stringify(topic)}: choose another or a shorter name`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_topic`): an event was to be published to a pattern. */
export function wildcardPublished(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `cannot publish to ${JSON.stringify(topic)} on the broker "${broker}": the words * and > are wildcards, for subscriptions only. Name one topic`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_topic`): a pattern that matches nothing. */
export function invalidPattern(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `cannot subscribe to ${JSON.stringify(topic)} on the broker "${broker}": > is the last word of a pattern, and no word of a pattern is empty`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_headers`): a header on which the server would act. */
export function controlHeader(broker: string, topic: string, name: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_headers',
    message: `cannot publish to "${topic}": the broker "${broker}" acts on the header ${JSON.stringify(name)} itself: leave it out, or give it another name`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_headers`): a header cannot be encoded for the server. */
export function unusableHeader(broker: string, topic: string, name: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_headers',
    message: `cannot publish to "${topic}": the broker "${broker}" cannot carry the header ${JSON.stringify(name)}: its name or its value is not allowed there, or too long`,
  });
}

/** RESOURCE_EXHAUSTED (`broker.too_large`): the event is over a limit of the server. */
export function tooLarge(broker: string, topic: string, part: string, bytes: number, limit: number): TenonError {
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'broker.too_large',
    message: `cannot publish to "${topic}": ${part} of ${bytes} bytes is more than the ${limit} that the broker "${broker}" takes`,
  });
}

/** FAILED_PRECONDITION (`broker.rejected`): the reason of an event that its receiver rejected without giving one. */
export function rejected(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'broker.rejected',
    message: `the receiver refused an event of "${topic}" on the broker "${broker}"`,
  });
}

/** UNAVAILABLE (`broker.session_over`): an event can no longer be acknowledged, as its connection has ended. */
export function sessionOver(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'broker.session_over',
    message: `an event of "${topic}" could not be acknowledged: the connection to the broker "${broker}" that it came on has ended. It is redelivered`,
  });
}

/** INVALID_ARGUMENT (`broker.invalid_address`): the address is not valid for this broker. */
export function invalidAddress(broker: string, address: string, remedy: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_address',
    message: `"${address}" is no address of the broker "${broker}": ${remedy}`,
  });
}

/** Throws INVALID_ARGUMENT (`broker.invalid_topic`) unless the topic is a text of at least one character. */
export function assertTopic(broker: string, topic: string): void {
  if (typeof topic === 'string' && topic !== '') return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_topic',
    message: `the broker "${broker}" needs a topic that is a text of at least one character`,
  });
}

/**
 * Throws INVALID_ARGUMENT (`broker.invalid_options`) unless an option is a whole number from `least` on, or infinite.
 */
export function assertCount(broker: string, topic: string, option: string, value: number, least: number): void {
  if (value >= least && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `the subscription to "${topic}" on the broker "${broker}" has ${option} ${value}: give a whole number from ${least} on`,
  });
}

/**
 * Throws INVALID_ARGUMENT (`broker.invalid_options`) for an empty name, for wildcards, and for the topic itself or one
 * that its wildcards match, where a failing event would be handled for ever.
 */
export function assertDeadLetter(broker: string, topic: string, deadLetter: string): void {
  const isTopic = typeof deadLetter === 'string' && deadLetter !== '' && !hasWildcard(deadLetter);
  if (isTopic && deadLetter !== topic && !TopicPattern.of(topic)?.matches(deadLetter)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'broker.invalid_options',
    message: `the subscription to "${topic}" on the broker "${broker}" has deadLetter ${JSON.stringify(deadLetter)}: name another topic, or say false to drop what cannot be handled`,
  });
}

/** CANCELLED (`broker.subscription_ended`): the reason with which the signal of a handler aborts. */
export function subscriptionEnded(broker: string, topic: string): TenonError {
  return new TenonError({
    code: Code.Cancelled,
    reason: 'broker.subscription_ended',
    message: `the subscription to "${topic}" on the broker "${broker}" was ended while the event was handled`,
  });
}

/** DEADLINE_EXCEEDED (`broker.no_reply`): nobody has replied to a request in time. */
export function noReply(broker: string, topic: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.no_reply',
    message: `nobody has replied to a request to "${topic}" on the broker "${broker}" within ${timeoutMs} ms: nobody has subscribed there, or the handler takes longer; it may have been handled all the same`,
  });
}

/** DEADLINE_EXCEEDED (`broker.handler_timeout`): a handler did not end in time. */
export function handlerTimedOut(broker: string, topic: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.handler_timeout',
    message: `the handler of an event of "${topic}" on the broker "${broker}" has not returned after ${timeoutMs} ms and is given up; handlerTimeoutMs is the longest time of a handler`,
  });
}

/** ABORTED (`broker.attempts_exhausted`): an event was delivered too often, without an end of its handler. */
export function attemptsExhausted(broker: string, topic: string, attempts: number): TenonError {
  return new TenonError({
    code: Code.Aborted,
    reason: 'broker.attempts_exhausted',
    message: `an event of "${topic}" on the broker "${broker}" was delivered ${attempts} times, and no handler of it has ended: it may have ended its process each time`,
  });
}

/** Throws CANCELLED (`call.cancelled`) if the signal of a call has aborted. */
export function assertNotAborted(broker: string, doing: string, options: BrokerCallOptions | undefined): void {
  if (options?.signal?.aborted) throw cancelled(broker, doing, options.signal.reason);
}

/** DEADLINE_EXCEEDED (`broker.timeout`): the event was withdrawn in time, so that it certainly was not published. */
export function withdrawn(broker: string, doing: string, timeoutMs: number): TenonError {
  return new TenonError({
    code: Code.DeadlineExceeded,
    reason: 'broker.timeout',
    message: `gave up to ${doing} after ${timeoutMs} ms: the broker "${broker}" had no room for it, and nothing was published. Its subscribers are too slow, or do not settle their events`,
  });
}
