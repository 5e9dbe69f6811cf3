/*
 * AMQP 0-9-1 as RabbitMQ speaks it, over amqplib: a `RabbitMqClient` has two connections, each a `Link`, to one of
 * several servers: a `Publisher` has one for itself, whose messages are confirmed; a `QueueConsumer` consumes on the
 * other, within a demand.
 */
import { textOf } from '../errors/errors.ts';
import { hostPort } from '../internal/host-port.ts';

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
export class ForeignServerError extends Error {
  readonly address: string;

  constructor({ host, port }: RabbitMqServer, cause: unknown) {
    super('it speaks no AMQP 0-9-1', { cause });
    this.address = hostPort(host, port);
  }
}

/** The end of a channel for another message: whether RabbitMQ has the message at hand is not known. */
export class ChannelClosedError extends Error {}

/** True if the words with which RabbitMQ closed a channel name a message, by its topic, its exchange or its size. */
export function isBlamed(
  text: string,
  message: { readonly exchange: string; readonly routingKey: string; readonly body: Uint8Array },
): boolean {
  const [, topic] = /access to topic '([^]*)' in exchange '/.exec(text) ?? [];
  if (topic !== undefined) return topic === message.routingKey;
  const [, size] = /message size (\d+) /.exec(text) ?? [];
  if (size !== undefined) return Number(size) === message.body.length;
  const [, exchange] = /exchange '([^']*)'/.exec(text) ?? [];
  return (exchange === 'amq.default' ? '' : exchange) === message.exchange;
}

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
