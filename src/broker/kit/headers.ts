import { Code, codeName, TenonError, textOf } from '../../errors/errors.ts';
import type { Event, EventHeaders } from '../broker.ts';

/** Header of the key whose events keep their order. */
export const orderKeyHeader = 'tenon-order-key';
/** Header of the key by which an event is recognised when it comes again. */
export const dedupeKeyHeader = 'tenon-dedupe-key';

// A header is no place for a stack.
const longestText = 1_000;

/** A copy of `headers`, with the order key among them. */
export function withOrderKey(headers: EventHeaders, orderKey: string | undefined): EventHeaders {
  return orderKey === undefined ? { ...headers } : { ...headers, [orderKeyHeader]: orderKey };
}

/** The headers of an event, and why it was given up. */
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
