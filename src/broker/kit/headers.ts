import { Code, codeName, TenonError, textOf } from '../../errors/errors.ts';
import { setOwn } from '../../internal/own.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { Event, EventHeaders } from '../broker.ts';
import { isScheduleHeader } from './scheduling.ts';
import { deadLetterWord } from './wildcards.ts';

/** Header of an event's order key: events of one key are handled in order. */
export const orderKeyHeader = 'tenon-order-key';
/** Header of an event's deduplication key: events with the same key are handled once. */
export const dedupeKeyHeader = 'tenon-dedupe-key';
/** Header with the number of times that an event was moved out of a dead-letter topic. */
export const redrivesHeader = 'tenon-redrives';

// Error messages in headers are cut at this length.
const longestText = 1_000;

/** Returns a copy of `headers`, with the order key. */
export function withOrderKey(headers: EventHeaders, orderKey: string | undefined): EventHeaders {
  return orderKey === undefined ? { ...headers } : { ...headers, [orderKeyHeader]: orderKey };
}

/** Returns the topic to which the dead letters of a topic go by default. */
export function deadLetterTopicOf(topic: string): string {
  return `${topic}.${deadLetterWord}`;
}

/** Names of the headers that dead letters have. */
export const deadLetterHeader = {
  reason: 'tenon-dead-letter-reason',
  code: 'tenon-dead-letter-code',
  message: 'tenon-dead-letter-message',
  attempts: 'tenon-attempts',
  firstFailedAt: 'tenon-first-failed-at',
  lastFailedAt: 'tenon-last-failed-at',
  originalTopic: 'tenon-original-topic',
  headers: 'tenon-dead-letter-headers',
} as const;

/** The failure of an event that becomes a dead letter. */
export interface DeadLetterFailure {
  readonly attempts: number;
  readonly failure: unknown;
  /** The time of the first failed attempt. @default the present, if there was one attempt; else it is not known */
  readonly firstFailedMs: number | undefined;
  readonly clock: Pick<Clock, 'now'>;
  /** See `Broker.isControlHeader`. */
  readonly isControlHeader?: ((name: string) => boolean) | undefined;
}

/** Returns the headers of a dead letter: those of the event, without control headers, and its failure. */
export function deadLetterHeaders(event: Event, about: DeadLetterFailure): EventHeaders {
  const { attempts, failure, clock, isControlHeader = () => false } = about;
  const lastFailedMs = clock.now();
  const { firstFailedMs = attempts === 1 ? lastFailedMs : undefined } = about;
  const known = TenonError.is(failure) ? failure : undefined;
  // A dead letter is delivered whenever somebody looks.
  const headers = headersWithout(event.headers, (name) => isControlHeader(name) || isScheduleHeader(name));
  return Object.assign(headers, {
    [deadLetterHeader.reason]: known?.reason ?? 'handler_failed',
    [deadLetterHeader.code]: codeName(known?.code ?? Code.Internal),
    [deadLetterHeader.message]: textOf(failure).slice(0, longestText),
    [deadLetterHeader.attempts]: String(attempts),
    ...(firstFailedMs === undefined ? {} : { [deadLetterHeader.firstFailedAt]: timeText(firstFailedMs) }),
    [deadLetterHeader.lastFailedAt]: timeText(lastFailedMs),
    [deadLetterHeader.originalTopic]: event.topic,
  });
}

/** Returns a copy of headers, without those whose name `isLeftOut`. */
export function headersWithout(headers: EventHeaders, isLeftOut: (name: string) => boolean): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const name of Object.keys(headers)) if (!isLeftOut(name)) setOwn(kept, name, headers[name] as string);
  return kept;
}

function timeText(atMs: number): string {
  return new Date(atMs).toISOString();
}
