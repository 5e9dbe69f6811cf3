import { Redis } from 'ioredis';

import { Code, type TenonError, textOf } from '../../errors/errors.ts';
import { backoffMs } from '../../internal/backoff.ts';
import { ownValue } from '../../internal/own.ts';
import { isRedisReply, isTemporaryReply } from '../../internal/redis.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { BrokerCallOptions } from '../broker.ts';
import { bounded } from './bounded.ts';
import * as failures from './failures.ts';
import { redisAddress, type RedisAddress, type RedisOptions } from './redis-address.ts';

/** What a {@link RedisLink} is told. */
export interface RedisLinkOptions {
  /** Name of the broker, for messages. */
  readonly broker: string;
  readonly address?: string | undefined;
  readonly client?: Redis | undefined;
  readonly timeoutMs: number;
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  readonly logger: Logger;
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
  readonly #options: RedisLinkOptions;
  readonly #address: RedisAddress;
  readonly #connections = new Set<Redis>();
  readonly #lastErrors = new WeakMap<Redis, Error>();
  #commands: Redis | undefined;
  #opening: Promise<void> | undefined;

  constructor(options: RedisLinkOptions) {
    this.#options = options;
    const { client } = options;
    this.#address = client ? addressOf(client) : redisAddress(options.broker, options.address ?? defaultAddress);
  }

  get address(): string {
    return this.#address.text;
  }

  get isOpen(): boolean {
    return this.#commands !== undefined || this.#opening !== undefined;
  }

  /** The connection for commands, if it can take one now. */
  get ready(): Redis | undefined {
    return this.#commands?.status === 'ready' ? this.#commands : undefined;
  }

  /** {@link ready}, with what is sent in this turn going out in one write: a system call costs more than a command. */
  get batched(): Redis | undefined {
    const client = this.ready;
    if (!client) return undefined;
    const { stream } = client;
    if (stream.writableCorked === 0) {
      stream.cork();
      process.nextTick(() => stream.uncork());
    }
    return client;
  }

  /** The connection for commands. FAILED_PRECONDITION before `connect`, UNAVAILABLE while Redis is away. */
  commands(doing: string): Redis {
    const client = this.#commands;
    if (!client) throw failures.notConnected(this.#options.broker, doing);
    if (client.status !== 'ready') throw this.failure(doing, undefined, client);
    return client;
  }

  connect(options?: BrokerCallOptions): Promise<void> {
    if (this.ready && !options?.signal?.aborted) return Promise.resolve();
    const doing = 'connect';
    try {
      failures.assertNotAborted(this.#options.broker, doing, options);
      if (this.#commands) this.commands(doing);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#opening ??= this.open('commands', {})
      .then((client) => {
        this.#commands = client;
      })
      .finally(() => {
        this.#opening = undefined;
      });
    return this.bounded(this.#opening, doing, options);
  }

  /**
   * One more connection, which reconnects by itself from now on. Its commands fail at once while it is away, and nothing is sent twice. Rejects, and
   * leaves nothing behind, if Redis does not answer the first time.
   */
  async open(role: string, overrides: RedisOptions): Promise<Redis> {
    const client = this.#make(role, overrides);
    this.#connections.add(client);
    let away = true;
    client.on('error', (error) => this.#lastErrors.set(client, error));
    client.on('close', () => {
      if (away || !this.#connections.has(client)) return;
      away = true;
      this.#log('warn', 'the connection to the broker is lost; it is tried again', role, this.#lastErrors.get(client));
    });
    client.on('ready', () => {
      if (away) this.#log('debug', 'connected to the broker', role);
      away = false;
      this.#lastErrors.delete(client);
    });
    try {
      await client.connect();
      return client;
    } catch (error) {
      this.release(client);
      throw this.failure('connect', error, client);
    }
  }

  /** Closes a connection. */
  release(client: Redis): void {
    this.#connections.delete(client);
    client.disconnect();
  }

  close(): void {
    this.#commands = undefined;
    for (const client of this.#connections) this.release(client);
  }

  bounded<T>(work: Promise<T>, doing: string, options: BrokerCallOptions | undefined): Promise<T> {
    const { broker, runtime } = this.#options;
    return bounded(work, {
      timers: runtime.timers,
      signal: options?.signal,
      timeoutMs: options?.timeoutMs,
      onTimeout: (timeoutMs) => failures.timedOut(broker, this.address, doing, timeoutMs),
      onAbort: (signal) => failures.cancelled(broker, doing, signal),
    });
  }

  /** What an error of ioredis means to the caller. */
  failure(doing: string, error: unknown, client: Redis | undefined = this.#commands): TenonError {
    const { broker, timeoutMs } = this.#options;
    const last = client && this.#lastErrors.get(client);
    const cause = isRedisReply(error) ? error : (last ?? error);
    if (!isRedisReply(cause)) {
      // The connection was given up since Redis did not answer in time.
      if (textOf(cause).startsWith('Socket timeout')) return failures.timedOut(broker, this.address, doing, timeoutMs);
      return failures.unreachable(broker, this.address, doing, cause);
    }
    if (isTemporaryReply(cause)) return failures.unreachable(broker, this.address, doing, cause);
    const [word = ''] = cause.message.split(' ');
    return failures.refused(broker, this.address, doing, ownValue(codes, word) ?? Code.Internal, cause.message, cause);
  }

  #make(role: string, overrides: RedisOptions): Redis {
    const { client, timeoutMs, runtime } = this.#options;
    const options: RedisOptions = {
      lazyConnect: true,
      connectionName: `tenon:${role}`,
      connectTimeout: timeoutMs,
      // ioredis waits this long for the end of a connection, even of one that is gone, and keeps the process alive meanwhile.
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

  #log(level: 'debug' | 'warn', message: string, connection: string, error?: unknown): void {
    this.#options.logger[level](message, { broker: this.#options.broker, address: this.address, connection, error });
  }
}

function addressOf({ options }: Redis): RedisAddress {
  const { path, host = '127.0.0.1', port = 6379, name } = options;
  // ioredis fills in null for what was not said.
  return { text: path ?? (typeof name === 'string' ? `sentinel ${name}` : `${host}:${port}`), options };
}
