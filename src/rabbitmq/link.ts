import type { Channel, ChannelModel, Connection, ServerProperties } from 'amqplib';

import { packageMissing } from '../errors/package-missing.ts';
import { isError } from '../internal/is-error.ts';
import type { Logger } from '../logger/logger.ts';
import { bounded, endsWithin } from '../runtime/bounded.ts';
import type { Timers } from '../runtime/runtime.ts';
import type { ConnectionSecurity } from '../tls/connection.ts';
import type { RabbitMqPlace } from './address.ts';
import { ForeignServerError, type RabbitMqServer, replyOf } from './rabbitmq.ts';

/** The library. */
export type Amqplib = typeof import('amqplib');

/** The parts of a {@link Link}. */
export interface LinkInit {
  /** The name by which RabbitMQ lists it. */
  readonly name: string;
  readonly place: RabbitMqPlace;
  readonly server: RabbitMqServer;
  readonly vhost: string;
  readonly heartbeatMs: number;
  /** Time for each answer, in milliseconds. */
  readonly timeoutMs: number;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly security: ConnectionSecurity;
  /** Called once, when the connection has ended by itself. */
  readonly onLost: (error: unknown) => void;
}

/** The parts of amqplib's connection that its types leave out. */
interface Internals extends Connection {
  readonly blocked?: boolean;
  readonly stream?: { destroy(error: Error): void };
}

/** The words of amqplib where the server has closed the connection before it was open. */
export const closedInHandshake = 'Socket closed abruptly';
// Those where it has said nothing in time. A server that wants TLS waits for more of it at first.
const silentInHandshake = 'connect ETIMEDOUT';

/** A server that ended a handshake without TLS, or did not answer it: it may want TLS. */
export class ClearHandshakeError extends Error {
  override readonly name = 'ClearHandshakeError';
  readonly isSilent: boolean;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.isSilent = cause.message === silentInHandshake;
  }
}

const closeMs = 1_000;
const maxTimerMs = 2 ** 31 - 1;
const nothing = (): void => {};

/** Loads amqplib. FAILED_PRECONDITION (`app.package_missing`) without it. */
export async function loadAmqplib(): Promise<Amqplib> {
  try {
    return await import('amqplib');
  } catch (error) {
    throw packageMissing('the broker "rabbitmq"', 'amqplib', error);
  }
}

/** One connection to RabbitMQ. It ends once, and is not made again. */
export class Link {
  readonly model: ChannelModel;
  readonly #init: LinkInit;
  #lastError: unknown;
  #isOver = false;

  private constructor(model: ChannelModel, init: LinkInit) {
    this.model = model;
    this.#init = init;
    model.on('error', (error) => (this.#lastError = error));
    model.on('close', (error) => this.#end(error ?? this.#lastError ?? new Error('the connection was closed')));
  }

  get logger(): Logger {
    return this.#init.logger;
  }

  /** True if it has ended: what came by it was taken back. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** True while RabbitMQ reads nothing of it, for lack of memory or disk: it has published. */
  get isBlocked(): boolean {
    return (this.model.connection as Internals).blocked === true;
  }

  /**
   * Connects. Rejects with an error of amqplib or of the socket, with a {@link ClearHandshakeError}, or with a
   * {@link ForeignServerError}.
   */
  static async open({ connect }: Amqplib, init: LinkInit): Promise<Link> {
    const { name, place, server, security, heartbeatMs, vhost } = init;
    const timeout = Math.min(init.timeoutMs, maxTimerMs);
    const tls = place.isSecure ? security.tlsOfAddress : security.tls;
    const options = {
      protocol: tls ? 'amqps' : 'amqp',
      hostname: server.host,
      port: server.port,
      username: security.username ?? place.username ?? 'guest',
      password: security.password ?? place.password ?? 'guest',
      // It is decoded there.
      vhost: encodeURIComponent(vhost),
      heartbeat: Math.ceil(heartbeatMs / 1_000),
    };
    const socket = { ...tls, timeout, noDelay: true, clientProperties: { connection_name: name } };
    const model = await connect(options, socket).catch((error: unknown) => {
      if (isForeign(error)) throw new ForeignServerError(server, error);
      throw !tls && isEnded(error) ? new ClearHandshakeError(error) : error;
    });
    return new Link(model, init);
  }

  /** True for a RabbitMQ of an older version. Other servers have versions of their own. */
  isOlderThan(major: number, minor: number): boolean {
    const { product, version = '' } = this.model.connection.serverProperties as Partial<ServerProperties>;
    const [itsMajor = 0, itsMinor = 0] = version.split('.').map(Number);
    return product === 'RabbitMQ' && (itsMajor < major || (itsMajor === major && itsMinor < minor));
  }

  /** Opens a channel. Its errors may be listened for. */
  async channel(): Promise<Channel> {
    const channel = await this.call(this.model.createChannel());
    channel.on('error', nothing);
    return channel;
  }

  /** Declares on a channel of its own, as RabbitMQ closes the channel of what it refuses. */
  async declare<T>(work: (channel: Channel) => Promise<T>): Promise<T> {
    const channel = await this.channel();
    try {
      return await this.call(work(channel));
    } finally {
      channel.close().catch(nothing);
    }
  }

  /**
   * Waits for an answer. Without one in time the connection is given up, unless RabbitMQ reads nothing of it, for lack
   * of memory or disk.
   */
  call<T>(work: Promise<T>): Promise<T> {
    const { timers, timeoutMs } = this.#init;
    const onTimeout = (): Error => {
      const error = new Error(`RabbitMQ did not answer within ${timeoutMs} ms`);
      if (!this.isBlocked) this.#end(error);
      return error;
    };
    return bounded(work, { timers, timeoutMs, onTimeout });
  }

  async close(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    const closed = new Error('the connection was closed');
    await endsWithin(this.model.close(), { timers: this.#init.timers, timeoutMs: closeMs }).catch(nothing);
    this.#destroy(closed);
  }

  #end(error: unknown): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#destroy(error);
    this.#init.onLost(error);
  }

  /** Closes the socket, which amqplib would leave to a server that hangs, and with it the timers of heartbeats. */
  #destroy(error: unknown): void {
    (this.model.connection as Internals).stream?.destroy(isError(error) ? error : new Error(String(error)));
  }
}

/** True if the server has ended the connection, also with bytes unread, or has said nothing. */
function isEnded(error: unknown): error is Error {
  if (!isError(error)) return false;
  const isReset = /^(?:ECONNRESET|EPIPE)$/.test((error as NodeJS.ErrnoException).code ?? '');
  return isReset || error.message === silentInHandshake || error.message.startsWith(closedInHandshake);
}

/** True for an error of the handshake that no AMQP server causes. */
function isForeign(error: unknown): boolean {
  if (!isError(error) || replyOf(error)) return false;
  const { code = '' } = error as NodeJS.ErrnoException;
  return (
    (code === '' || /^ERR_(?:OUT_OF_RANGE|BUFFER_OUT_OF_BOUNDS)$/.test(code)) &&
    !/^(?:connect |Socket closed|SASL|Expected ConnectionOpenOk)/.test(error.message)
  );
}
