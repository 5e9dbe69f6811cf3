/*
 * AMQP 0-9-1 as RabbitMQ speaks it, over amqplib: a `Link` is one connection, with a `Publisher` whose messages are
 * confirmed; a `QueueConsumer` consumes within a demand.
 */
import { textOf } from '../errors/errors.ts';

/** The host and port of a server. */
export interface RabbitMqServer {
  readonly host: string;
  readonly port: number;
}

/** The words with which RabbitMQ closed a channel or a connection. */
export interface Reply {
  /** A number of AMQP: 406. */
  readonly code: number;
  readonly text: string;
}

/** Returns the words of RabbitMQ in an error of amqplib; `undefined` if there are none. */
export function replyOf(error: unknown): Reply | undefined {
  const [, code, text = ''] = /(\d{3}) \([A-Z-]+\) with message "([^]*)"$/.exec(textOf(error)) ?? [];
  return code === undefined ? undefined : { code: Number(code), text };
}

/** A server that was reached and speaks no AMQP: its bytes were no frames, or not those of the handshake. */
export class ForeignServerError extends Error {}

/** A queue or an exchange that exists with another property than was asked for. */
export interface Incompatibility {
  /** `queue 'orders'`. */
  readonly what: string;
  readonly property: string;
  readonly wanted: string | undefined;
  readonly found: string | undefined;
}

/** Reads that a queue or an exchange exists with other properties; `undefined` for another answer. */
export function incompatibility(text: string): Incompatibility | undefined {
  const pattern = /inequivalent arg '([^']*)' for (\w+ '[^]*') in vhost '[^]*': received ([^]*) but current is ([^]*)$/;
  const [, property, what = '', wanted = '', found = ''] = pattern.exec(text) ?? [];
  return property === undefined ? undefined : { what, property, wanted: bare(wanted), found: bare(found) };
}

/** `the value 'quorum' of type 'longstr'` as `quorum`, and `none` as `undefined`. */
function bare(value: string): string | undefined {
  return value === 'none' ? undefined : (/'([^']*)'/.exec(value)?.[1] ?? value);
}
