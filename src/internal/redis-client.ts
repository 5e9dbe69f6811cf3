import { isIP } from 'node:net';

import { backoffMs } from './backoff.ts';
import { hostPort } from './host-port.ts';
import { maskAddress } from './mask.ts';
import { isRedisReply, parseRedisAddress, redisAddressRemedy, type RedisPlace } from './redis.ts';

/** The parts of an ioredis client that are used here. */
export interface RedisClient {
  readonly options: RedisClientOptions;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'ready', listener: () => void): unknown;
  disconnect(): void;
}

/** Options of ioredis. It fills in null for absent options. */
export interface RedisClientOptions {
  readonly host?: string | null | undefined;
  readonly port?: number | null | undefined;
  readonly path?: string | null | undefined;
  /** Name of the group that sentinels watch. */
  readonly name?: string | null | undefined;
  readonly sentinels?: readonly object[] | null | undefined;
  /** TLS of the connections to sentinels. */
  readonly sentinelTLS?: object | null | undefined;
}

/** TLS and credentials, as they are at the time of each connection. */
export interface RedisSecurity {
  readonly hasCredentials: boolean;
  readonly tls: object | undefined;
  /** As `tls`, and as for `tls: {}` where none was said. */
  readonly tlsOfAddress: object;
  readonly username: string | undefined;
  readonly password: string | undefined;
  explain(error: unknown, host: string, wasAnswered: boolean): string | undefined;
}

/** The parts of {@link RedisClients}. */
export interface RedisClientsInit<C extends RedisClient> {
  readonly address: string;
  /** A client whose settings are used instead of the address. */
  readonly client: C | undefined;
  readonly security: RedisSecurity;
  /** Gives numbers in [0, 1). */
  random(): number;
  /** Makes a client, a copy of `copied` if it is given. */
  make(options: object, copied: C | undefined): C;
}

const reconnect = { initialMs: 50, maxMs: 1_000, factor: 2, jitter: 0.2 } as const;

/**
 * Makes the clients of one Redis, and says why they fail. They connect again by themselves, each time with what TLS and
 * credentials are then. A command is sent once, or fails: to repeat it is for the caller.
 */
export class RedisClients<C extends RedisClient> {
  /** `host:port`, without secrets. */
  readonly address: string;
  readonly #init: RedisClientsInit<C>;
  readonly #place: Partial<RedisPlace>;
  readonly #host: string;
  /** The name that a server is told in the handshake, where the address has one. */
  readonly #servername: string | undefined;
  #wasReady = false;
  readonly #lastErrors = new WeakMap<C, Error>();

  /** Throws what `invalid` makes of what is wrong with the address. */
  constructor(init: RedisClientsInit<C>, invalid: InvalidAddress) {
    const { address, client, security } = init;
    this.#place = client ? {} : redisPlace(address, security.hasCredentials, invalid);
    const { host, port, path, name, sentinels }: RedisClientOptions = client ? client.options : this.#place;
    this.#init = init;
    this.#host = host ?? 'localhost';
    // RFC 6066, section 3: literal addresses are no names.
    if (!path && !sentinels && isIP(this.#host) === 0) this.#servername = this.#host;
    const place = hostPort(this.#host, port ?? 6379);
    this.address = path ?? (typeof name === 'string' ? `sentinel ${name}` : place);
  }

  /** Makes a client that connects on `connect()`. Throws for invalid TLS and credentials. */
  make(options: object): C {
    const { client: copied, security } = this.#init;
    const { password } = security;
    const tls = this.#place.tls ? security.tlsOfAddress : security.tls;
    const all = {
      lazyConnect: true,
      // ioredis waits this long for the end of a connection, even of one that is gone, and keeps the process alive
      // meanwhile.
      disconnectTimeout: 100,
      autoResendUnfulfilledCommands: false,
      maxRetriesPerRequest: 0,
      autoResubscribe: false,
      retryStrategy: (attempt: number) => backoffMs(attempt, () => this.#init.random(), reconnect),
      ...options,
      ...this.#place,
      ...(tls && this.#tlsOptions(tls)),
      ...(security.username !== undefined && { username: security.username }),
    };
    const client = this.#init.make(all, copied);
    // Read by ioredis at each attempt to connect.
    if (password !== undefined)
      Object.defineProperty(client.options, 'password', { get: () => security.password, enumerable: true });
    // Every command reports its own failure; without a listener ioredis writes to the console.
    client.on('error', (error) => this.#lastErrors.set(client, withoutCommand(error)));
    client.on('ready', () => {
      this.#lastErrors.delete(client);
      this.#wasReady = true;
    });
    return client;
  }

  /** The error by which the client lost its connection; `undefined` while it has one. */
  lastError(client: C | undefined): Error | undefined {
    return client && this.#lastErrors.get(client);
  }

  /** The error that says most: a reply of Redis, or why the client has no connection, or the error itself. */
  reasonOf(error: unknown, client: C | undefined): unknown {
    return isRedisReply(error) ? withoutCommand(error) : (this.lastError(client) ?? withoutCommand(error));
  }

  /** Explains an error of TLS, and what to do; `undefined` for others. */
  explain(error: unknown): string | undefined {
    return this.#init.security.explain(error, this.#host, this.#wasReady);
  }

  /** The options of ioredis by which all that it connects to is spoken to over TLS, sentinels as well. */
  #tlsOptions(tls: object): object {
    const { sentinels, sentinelTLS = tls } = this.#init.client?.options ?? {};
    // Without `enableTLSForSentinelMode` ioredis would ignore `tls`, and send the password in the clear.
    if (sentinels) return { tls, enableTLSForSentinelMode: true, sentinelTLS };
    // With a name of its own to verify, it has the name to tell as well.
    if (this.#servername === undefined || 'checkServerIdentity' in tls) return { tls };
    // Copied with its getters: they give what is valid at each attempt to connect.
    const named = { servername: this.#servername };
    return { tls: Object.defineProperties(named, Object.getOwnPropertyDescriptors(tls)) };
  }
}

/** Takes from an error of ioredis the command that failed: that of the handshake holds the password. */
function withoutCommand<E>(error: E): E {
  if (typeof error === 'object' && error !== null) delete (error as { command?: unknown }).command;
  return error;
}

/** Makes the error for an address, without its secrets, and what to write instead. */
export type InvalidAddress = (address: string, remedy: string) => Error;

/** Reads an address. Throws what `invalid` makes of one that is none, or that repeats what `credentials` say. */
export function redisPlace(address: string, hasCredentials: boolean, invalid: InvalidAddress): RedisPlace {
  const place = parseRedisAddress(address);
  if (!place) throw invalid(maskAddress(address), redisAddressRemedy(address));
  if (hasCredentials && (place.username !== undefined || place.password !== undefined))
    throw invalid(maskAddress(address), 'user and password stand in it, and in credentials as well: say them once');
  return place;
}
