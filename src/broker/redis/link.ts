import { Redis, type RedisOptions as AnyRedisOptions } from 'ioredis';

import { Code, textOf } from '../../errors/errors.ts';
import { ownValue } from '../../internal/own.ts';
import { isRedisReply, isTemporaryReply } from '../../internal/redis.ts';
import { RedisClients } from '../../internal/redis-client.ts';
import type { BrokerCapabilities } from '../broker.ts';
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
import { invalidAddress } from '../kit/failures.ts';
import type { DriverSetup, PortableBrokerOptions } from '../kit/portable-broker.ts';

/** Settings of a connection. How replies are mapped is not among them: the brokers read them as they come. */
type RedisOptions = Omit<AnyRedisOptions, 'replyMapping'>;

/** The Redis that a broker connects to. */
export interface RedisConnectionOptions extends PortableBrokerOptions {
  /**
   * `host:port`, or `redis://user:password@host:port/database` (`rediss://` for TLS).
   * @default '127.0.0.1:6379'
   */
  readonly address?: string | undefined;
  /**
   * A client of ioredis whose settings are used instead of an address, as for sentinels; `tls` and `credentials` are
   * stronger. It is copied, not used itself, and not closed.
   */
  readonly client?: Redis | undefined;
  /**
   * After this time without an answer a connection is given up, and with it what waits for an answer.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
}

/** The protection of connections that brokers on Redis take. */
export const redisSecurity = { tls: true, credentials: ['password'] } as const satisfies Partial<BrokerCapabilities>;

const defaultAddress = '127.0.0.1:6379';

// What Redis says with the first word of an error; the rest are INTERNAL.
const codes: Readonly<Record<string, Code>> = {
  NOAUTH: Code.Unauthenticated,
  WRONGPASS: Code.Unauthenticated,
  NOPERM: Code.PermissionDenied,
  OOM: Code.ResourceExhausted,
  WRONGTYPE: Code.FailedPrecondition,
};

/** The connections of one broker to one Redis, and the meaning of their errors. */
export class RedisLink {
  readonly #setup: DriverSetup;
  readonly #clients: RedisClients<Redis>;
  readonly #connections = new Set<Redis>();
  /** The connections that reconnect: with any of them Redis counts as away. */
  readonly #lost = new Set<Redis>();
  #commands: Redis | undefined;
  #host: DriverHost | undefined;

  constructor(broker: string, client: Redis | undefined, setup: DriverSetup) {
    const { address = defaultAddress, security, runtime } = setup;
    this.#setup = setup;
    this.#clients = new RedisClients<Redis>(
      {
        address,
        client,
        security,
        random: () => runtime.random.next(),
        make: (options: RedisOptions, copied) => copied?.duplicate(options) ?? new Redis(options),
      },
      (shown, remedy) => invalidAddress(broker, shown, remedy),
    );
  }

  /** `host:port`, without secrets. */
  get address(): string {
    return this.#clients.address;
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
    throw this.#whyLost(client);
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

  /** Opens the connection for commands. Reports outages to the host: of this connection and of later ones. */
  async open(host: DriverHost): Promise<void> {
    this.#host = host;
    this.#commands = await this.#connect('commands', {});
  }

  /**
   * One more connection, which reconnects by itself from now on. Its commands fail at once while it is away, and
   * nothing is sent twice. Rejects, and leaves nothing behind, if Redis does not answer the first time. `again` is
   * called after each reconnect, and calls {@link found} when the connection can be used.
   */
  async connect(role: string, overrides: RedisOptions = {}, again?: (client: Redis) => void): Promise<Redis> {
    // While Redis is away this throws.
    void this.commands;
    return this.#connect(role, overrides, again);
  }

  /** Notes that a connection that was lost can be used again. */
  found(client: Redis): void {
    if (this.#lost.delete(client) && this.#lost.size === 0) this.#host?.back();
  }

  /** Closes a connection. */
  release(client: Redis): void {
    this.#connections.delete(client);
    this.found(client);
    client.disconnect();
  }

  close(): void {
    this.#commands = undefined;
    this.#host = undefined;
    for (const client of this.#connections) this.release(client);
  }

  translate(error: unknown): ErrorMeaning {
    const cause = this.#clients.reasonOf(error, this.#commands);
    if (isRedisReply(cause) && !isTemporaryReply(cause)) {
      const [word = ''] = cause.message.split(' ');
      return { kind: 'refused', code: ownValue(codes, word), said: cause.message, cause };
    }
    // The connection was closed because Redis did not answer in time.
    if (textOf(cause).startsWith('Socket timeout')) return { kind: 'timeout', cause };
    return { kind: 'unreachable', said: this.#clients.explain(cause), cause };
  }

  async #connect(
    role: string,
    overrides: RedisOptions,
    again = (client: Redis): void => this.found(client),
  ): Promise<Redis> {
    const { timeoutMs } = this.#setup;
    const client = this.#clients.make({
      connectionName: `tenon:${role}`,
      connectTimeout: timeoutMs,
      socketTimeout: timeoutMs,
      enableOfflineQueue: false,
      ...overrides,
    });
    this.#connections.add(client);
    try {
      await new Promise<void>((resolve, reject) => {
        // Sentinels that do not answer are asked again without end.
        client.once('error', reject);
        client.connect().then(resolve, reject);
      });
      client.on('close', () => this.#lose(client));
      client.on('ready', () => again(client));
      return client;
    } catch (error) {
      this.release(client);
      throw this.#clients.reasonOf(error, client);
    }
  }

  #lose(client: Redis): void {
    if (!this.#connections.has(client)) return;
    this.#lost.add(client);
    this.#host?.away(this.#whyLost(client));
  }

  #whyLost(client: Redis | undefined): Error {
    return this.#clients.lastError(client) ?? new Error('the connection is lost');
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
