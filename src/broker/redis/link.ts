import { Redis } from 'ioredis';

import { Code, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import { ownValue } from '../../internal/own.ts';
import { isRedisReply, isTemporaryReply } from '../../internal/redis.ts';
import type {
  BrokerDriver,
  DriverHost,
  DriverSubscription,
  ErrorMeaning,
  EventSink,
  IncomingEvent,
  OutgoingEvent,
  ReceiveRequest,
} from '../kit/driver.ts';
import type { DriverSetup, PortableBrokerOptions } from '../kit/portable-broker.ts';
import { redisAddress, type RedisAddress, type RedisOptions } from './address.ts';

/** The Redis that a broker connects to. */
export interface RedisConnectionOptions extends PortableBrokerOptions {
  /**
   * `host:port`, or `redis://user:password@host:port/database` (`rediss://` for TLS).
   * @default '127.0.0.1:6379'
   */
  readonly address?: string | undefined;
  /**
   * A client of ioredis whose settings are used instead of an address: for TLS, sentinels, credentials. It is copied,
   * not used itself, and not closed.
   */
  readonly client?: Redis | undefined;
  /**
   * After this time without an answer a connection is given up, and with it what waits for an answer.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
}

const defaultAddress = '127.0.0.1:6379';
const reconnect = { initialMs: 50, maxMs: 1_000, factor: 2, jitter: 0.2 } as const;

// What Redis says with the first word of an error; the rest are INTERNAL.
const codes: Readonly<Record<string, Code>> = {
  NOAUTH: Code.Unauthenticated,
  WRONGPASS: Code.Unauthenticated,
  NOPERM: Code.PermissionDenied,
  OOM: Code.ResourceExhausted,
  WRONGTYPE: Code.FailedPrecondition,
};

/** The connections of one broker to one Redis, and what their errors mean. */
export class RedisLink {
  readonly #client: Redis | undefined;
  readonly #setup: DriverSetup;
  readonly #address: RedisAddress;
  readonly #connections = new Set<Redis>();
  /** Those of them that are being made anew: with one of them Redis counts as away. */
  readonly #lost = new Set<Redis>();
  readonly #lastErrors = new WeakMap<Redis, Error>();
  #commands: Redis | undefined;
  #host: DriverHost | undefined;

  constructor(broker: string, client: Redis | undefined, setup: DriverSetup) {
    this.#client = client;
    this.#setup = setup;
    this.#address = client ? addressOf(client) : redisAddress(broker, setup.address ?? defaultAddress);
  }

  /** `host:port`, without secrets. */
  get address(): string {
    return this.#address.text;
  }

  /** The connection for commands, whether it can take one or not. */
  get client(): Redis | undefined {
    return this.#commands;
  }

  /** The connection for commands, if it can take one now. */
  get ready(): Redis | undefined {
    return this.#commands?.status === 'ready' ? this.#commands : undefined;
  }

  /** The connection for commands. Throws while Redis is away. */
  get commands(): Redis {
    const client = this.#commands;
    if (client?.status === 'ready') return client;
    throw (client && this.#lastErrors.get(client)) ?? new Error('the connection is lost');
  }

  /**
   * {@link commands}, with what is sent in this turn going out in one write: a system call costs more than a command.
   */
  get batched(): Redis {
    const client = this.commands;
    const { stream } = client;
    if (stream.writableCorked === 0) {
      stream.cork();
      process.nextTick(() => stream.uncork());
    }
    return client;
  }

  /** Makes the connection for commands. The host is told of outages, of this one and of those that come after it. */
  async open(host: DriverHost): Promise<void> {
    this.#host = host;
    this.#commands = await this.#connect('commands', {});
  }

  /**
   * One more connection, which reconnects by itself from now on. Its commands fail at once while it is away, and
   * nothing is sent twice. Rejects, and leaves nothing behind, if Redis does not answer the first time.
   */
  async connect(role: string, overrides: RedisOptions = {}): Promise<Redis> {
    // While Redis is away this throws.
    void this.commands;
    return this.#connect(role, overrides);
  }

  /** Closes a connection. */
  release(client: Redis): void {
    this.#connections.delete(client);
    this.#found(client);
    client.disconnect();
  }

  close(): void {
    this.#commands = undefined;
    this.#host = undefined;
    for (const client of this.#connections) this.release(client);
  }

  translate(error: unknown): ErrorMeaning {
    const last = this.#commands && this.#lastErrors.get(this.#commands);
    const cause = isRedisReply(error) ? error : (last ?? error);
    if (isRedisReply(cause) && !isTemporaryReply(cause)) {
      const [word = ''] = cause.message.split(' ');
      return { kind: 'refused', code: ownValue(codes, word), said: cause.message, cause };
    }
    // The connection was given up since Redis did not answer in time.
    return { kind: textOf(cause).startsWith('Socket timeout') ? 'timeout' : 'unreachable', cause };
  }

  async #connect(role: string, overrides: RedisOptions): Promise<Redis> {
    const client = this.#make(role, overrides);
    this.#connections.add(client);
    client.on('error', (error) => this.#lastErrors.set(client, error));
    client.on('ready', () => this.#lastErrors.delete(client));
    try {
      await client.connect();
      client.on('close', () => this.#lose(client));
      client.on('ready', () => this.#found(client));
      return client;
    } catch (error) {
      this.release(client);
      throw isRedisReply(error) ? error : (this.#lastErrors.get(client) ?? error);
    }
  }

  #lose(client: Redis): void {
    if (!this.#connections.has(client)) return;
    this.#lost.add(client);
    this.#host?.away(this.#lastErrors.get(client) ?? new Error('the connection is lost'));
  }

  #found(client: Redis): void {
    if (this.#lost.delete(client) && this.#lost.size === 0) this.#host?.back();
  }

  #make(role: string, overrides: RedisOptions): Redis {
    const { timeoutMs, runtime } = this.#setup;
    const client = this.#client;
    const options: RedisOptions = {
      lazyConnect: true,
      connectionName: `tenon:${role}`,
      connectTimeout: timeoutMs,
      // ioredis waits this long for the end of a connection, even of one that is gone, and keeps the process alive
      // meanwhile.
      disconnectTimeout: 100,
      socketTimeout: timeoutMs,
      // A command is sent once, or fails at once: whether it is to be repeated is for the caller to say.
      enableOfflineQueue: false,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      retryStrategy: (attempt) => backoffMs(attempt, () => runtime.random.next(), reconnect),
      ...overrides,
    };
    return client ? client.duplicate(options) : new Redis({ ...options, ...this.#address.options });
  }
}

/** A driver whose server is a Redis. */
export abstract class RedisDriver<E extends IncomingEvent = IncomingEvent> implements BrokerDriver<E> {
  readonly endsCalls = true;
  protected readonly link: RedisLink;

  constructor(link: RedisLink) {
    this.link = link;
  }

  get address(): string {
    return this.link.address;
  }

  open(host: DriverHost): Promise<void> {
    return this.link.open(host);
  }

  close(): void {
    this.link.close();
  }

  abstract publish(events: readonly OutgoingEvent[]): Promise<unknown>;
  abstract receive(request: ReceiveRequest, sink: EventSink<E>): Promise<DriverSubscription<E>>;

  translate(error: unknown): ErrorMeaning {
    return this.link.translate(error);
  }

  unwrap(): unknown {
    return this.link.client;
  }
}

function addressOf({ options }: Redis): RedisAddress {
  const { path, host = '127.0.0.1', port = 6379, name } = options;
  // ioredis fills in null for what was not said.
  return { text: path ?? (typeof name === 'string' ? `sentinel ${name}` : `${host}:${port}`), options };
}
