import { TenonError } from '../../errors/errors.ts';
import type { BrokerMessage, Event, PublishOptions } from '../broker.ts';
import {
  type DeadLetterFailure,
  deadLetterHeader,
  deadLetterHeaders,
  headersWithout,
  orderKeyHeader,
} from './headers.ts';

// An event near the limits of the server is over them with the headers of a dead letter.
const noRoom: ReadonlySet<string> = new Set(['broker.too_large', 'broker.invalid_headers']);
const ofFailure: ReadonlySet<string> = new Set(Object.values(deadLetterHeader));
const shortText = 100;

/**
 * Publishes the dead letter of an event. If the server does not take its headers, it is published with those of its
 * failure alone, and one that says so.
 */
export async function publishDeadLetter(
  publish: (topic: string, message: BrokerMessage, options: PublishOptions) => Promise<void>,
  topic: string,
  event: Event,
  about: DeadLetterFailure,
): Promise<void> {
  const headers = deadLetterHeaders(event, about);
  const options = { orderKey: event.headers[orderKeyHeader] };
  try {
    await publish(topic, { headers, body: event.body }, options);
  } catch (error) {
    if (!TenonError.is(error) || !noRoom.has(error.reason ?? '')) throw error;
    const few = headersWithout(headers, (name) => !ofFailure.has(name));
    few[deadLetterHeader.message] = (few[deadLetterHeader.message] ?? '').slice(0, shortText);
    few[deadLetterHeader.headers] = 'left out';
    await publish(topic, { headers: few, body: event.body }, options);
  }
}
