import { Code, codeName, TenonError, textOf } from '../../errors/errors.ts';
import type { Event, EventHeaders } from '../broker.ts';

/** Header of an event's order key: events of one key are handled in order. */
export const orderKeyHeader = 'tenon-order-key';
/** Header of an event's deduplication key: events with the same key are handled once. */
export const dedupeKeyHeader = 'tenon-dedupe-key';

// Error messages in headers are cut at this length.
const longestText = 1_000;

/** Returns a copy of `headers`, with the order key. */
export function withOrderKey(headers: EventHeaders, orderKey: string | undefined): EventHeaders {
  return orderKey === undefined ? { ...headers } : { ...headers, [orderKeyHeader]: orderKey };
}

/** Returns the headers of a dead letter: those of the event, and the reason of its failure. */
export function deadLetterHeaders(event: Event, attempts: number, failure: unknown): EventHeaders {
  const known = TenonError.is(failure) ? failure : undefined;
  return {
    ...event.headers,
    'tenon-dead-letter-reason': known?.reason ?? 'handler_failed',
    'tenon-dead-letter-code': codeName(known?.code ?? Code.Internal),
    'tenon-dead-letter-message': textOf(failure).slice(0, longestText),
    'tenon-attempts': String(attempts),
    'tenon-original-topic': event.topic,
  };
}
