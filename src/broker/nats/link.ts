import { Code } from '../../errors/errors.ts';
import { hostPort, parseHostPorts } from '../../internal/host-port.ts';
import { isError } from '../../internal/is-error.ts';
import { maskAddress } from '../../internal/mask.ts';
import { bounded } from '../../runtime/bounded.ts';
import { repeatedly } from '../../runtime/retrying.ts';
import type { BrokerCapabilities } from '../broker.ts';
import type { DriverHost, ErrorMeaning } from '../kit/driver.ts';
import { invalidAddress, tooOld } from '../kit/failures.ts';
import type { WireRules } from '../kit/name-encoding.ts';
import type { DriverSetup, PortableBrokerOptions } from '../kit/portable-broker.ts';
import {
  loadLibrary,
  type NatsConnection,
  type NatsLibrary,
  type NatsProtocol,
  type NatsStatus,
  type ServerInfo,
} from './library.ts';
import { controlHeader, subjectRule } from './messages.ts';

/** The NATS that a broker connects to. */
export interface NatsConnectionOptions extends PortableBrokerOptions {
  /**
   * `host:port`, several of one cluster separated by commas.
   * @default '127.0.0.1:4222'
   */
  readonly address?: string | undefined;
  /**
   * After this time without an answer a call is given up, and after twice as long without any byte the connection.
   * @default 5_000
   */
  readonly timeoutMs?: number | undefined;
}

/** The oldest server that will do. */
export interface NeededServer {
  readonly version: string;
  /** The feature that older ones lack. */
  readonly feature: string;
}

/** The protection of connections that brokers on NATS take. */
export const natsSecurity = {
  tls: true,
  credentials: ['password', 'token'],
} as const satisfies Partial<BrokerCapabilities>;

const defaultAddress = '127.0.0.1:4222';
const defaultPort = 4_222;
const backoff = { initialMs: 50, maxMs: 5_000 } as const;
// A connection that ends earlier is a failure, so that a server that ends them all is not tried without pause.
const stableMs = 1_000;
// Pings in half of `timeoutMs`. After three without an answer, at the time of the fourth, the connection is given up.
const pingsPerTimeout = 2;
const maxPingOut = 3;

/** Waits until the server has processed what was sent. */
interface Flush {
  /** Subjects of what was sent. */
  readonly subjects: ReadonlySet<string>;
  /** The errors of those that this user may not publish to. */
  readonly refusals: Map<string, Error>;
  readonly reject: (error: unknown) => void;
}

/** One connection, from its handshake to its end. */
interface Session {
  readonly connection: NatsConnection;
  readonly protocol: NatsProtocol;
  readonly sinceMs: number;
  readonly flushes: Set<Flush>;
  readonly ended: Promise<unknown>;
  readonly onEnd: (error: unknown) => void;
}

const nobody: ReadonlySet<string> = new Set();
const rules = { topic: subjectRule, controlHeaders: controlHeader } as const satisfies WireRules;

/**
 * The connection of one broker to NATS, and the meaning of its errors. It connects again without end: each time with
 * what TLS and credentials are then, and at the next address where there are several.
 */
export class NatsLink {
  readonly #broker: string;
  readonly #setup: DriverSetup;
  readonly #needed: NeededServer;
  readonly #addresses: readonly { readonly host: string; readonly port: number }[];
  /** Called after each reconnect. They do not reject. */
  readonly #followers = new Set<() => Promise<void>>();
  #library: NatsLibrary | undefined;
  #session: Session | undefined;
  #closing = new AbortController();
  #host: DriverHost | undefined;
  /** Index of the address that is tried first. */
  #at = 0;
  #wasAnswered = false;
  #lastError: unknown = new Error('the connection is lost');
  #wire: WireRules = rules;

  /** @param needed the first version of the server that will do, and what it has */
  constructor(broker: string, setup: DriverSetup, needed: NeededServer) {
    const { address = defaultAddress } = setup;
    const found = parseHostPorts(address.replaceAll(/(^|,)\s*(?:nats|tls):\/\//g, '$1'), defaultPort);
    if (!found) {
      const remedy = 'write host:port, several separated by commas (TENON_BROKER_ADDRESS)';
      throw invalidAddress(broker, maskAddress(address), remedy);
    }
    this.#broker = broker;
    this.#setup = setup;
    this.#needed = needed;
    this.#addresses = found;
  }

  get address(): string {
    return this.#addresses.map(({ host, port }) => hostPort(host, port)).join(',');
  }

  /** The connection, if there is one now. */
  get current(): NatsConnection | undefined {
    return this.#session?.connection;
  }

  /** The connection. Throws while the server is away. */
  get connection(): NatsConnection {
    return this.#open.connection;
  }

  /** Largest message, headers and body together, that the server takes. */
  get maxPayload(): number {
    return this.#wire.maxBodyBytes ?? Number.POSITIVE_INFINITY;
  }

  get wire(): WireRules {
    return this.#wire;
  }

  /** Connects, and reports outages to the host from then on. */
  async open(host: DriverHost): Promise<void> {
    this.#closing = new AbortController();
    const { signal } = this.#closing;
    this.#host = host;
    this.#library ??= await this.#load();
    await this.#connect(signal);
    const { runtime } = this.#setup;
    // A process that does nothing but receive lives on while the server is away, as it does while it is connected.
    void repeatedly(() => this.#stayConnected(signal), { runtime, backoff, signal, keepAlive: true });
  }

  close(): void {
    this.#host = undefined;
    this.#followers.clear();
    const closed = new Error('the broker was disconnected');
    this.#closing.abort(closed);
    const session = this.#session;
    this.#session = undefined;
    if (session) end(session, closed);
  }

  /** Calls `follower` after each reconnect, until the function that it returns is called. */
  onReconnect(follower: () => Promise<void>): () => void {
    this.#followers.add(follower);
    return () => void this.#followers.delete(follower);
  }

  /**
   * Resolves when the server has processed what was sent on this connection before, with the subjects to which it has
   * refused to publish. Rejects when the connection ends, or has not answered in time.
   */
  flush(subjects = nobody): Promise<ReadonlyMap<string, Error>> {
    const { connection, flushes } = this.#open;
    return new Promise((resolve, reject) => {
      const refusals = new Map<string, Error>();
      const flush = { subjects, refusals, reject };
      flushes.add(flush);
      connection.flush().then(() => {
        flushes.delete(flush);
        resolve(refusals);
      }, reject);
    });
  }

  /** Resolves when the server has processed what was sent, or when that cannot be known. */
  async settle(): Promise<void> {
    const { runtime, timeoutMs } = this.#setup;
    try {
      await bounded(this.flush(), { timers: runtime.timers, timeoutMs, keepAlive: false });
    } catch {
      // The connection is lost, or silent.
    }
  }

  translate(error: unknown): ErrorMeaning {
    const { security } = this.#setup;
    const { name, message = String(error), cause } = error as Partial<Error>;
    const host = this.#addresses[this.#at]?.host ?? '';
    const why = security.explain(cause, host, this.#wasAnswered) ?? security.explain(error, host, this.#wasAnswered);
    if (why !== undefined) return { kind: 'unreachable', said: why };
    // A request that failed says why in its cause.
    if (name === 'RequestError' && isError(cause)) return this.translate(cause);
    switch (name) {
      case 'TimeoutError':
        return { kind: 'timeout' };
      case 'AuthorizationError':
      case 'UserAuthenticationExpiredError':
        return { kind: 'refused', code: Code.Unauthenticated, said: message };
      case 'PermissionViolationError':
        return { kind: 'refused', code: Code.PermissionDenied, said: message, isFinal: true };
      case 'InvalidArgumentError':
      case 'InvalidSubjectError':
        return { kind: 'refused', code: Code.InvalidArgument, said: message, isFinal: true };
      case 'ProtocolError':
        if (isLimitOfSubscriptions(message))
          return { kind: 'refused', code: Code.ResourceExhausted, said: message, isFinal: true };
        return /authenti|authori[sz]/i.test(message)
          ? { kind: 'refused', code: Code.Unauthenticated, said: message }
          : { kind: 'unreachable', said: `has closed the connection, saying "${message}"` };
      default:
        return { kind: 'unreachable', said: unreachableReason(message, security.hasTls) };
    }
  }

  get #open(): Session {
    if (this.#session) return this.#session;
    throw this.#lastError;
  }

  async #load(): Promise<NatsLibrary> {
    const library = loadLibrary<NatsLibrary>(this.#broker, '@nats-io/transport-node');
    // Sets the transport that connections of this library are made with. The options do not fit together.
    await library.connect({ servers: 'none', port: 1 }).catch(() => undefined);
    return library;
  }

  /** Tries the addresses, each once, and takes the first connection into use. */
  async #connect(signal: AbortSignal): Promise<Session> {
    const count = this.#addresses.length;
    for (let tried = 1; ; tried += 1) {
      try {
        const session = await this.#dial(signal);
        this.#use(session);
        return session;
      } catch (error) {
        if (tried >= count || signal.aborted) throw error;
        this.#at = (this.#at + 1) % count;
      }
    }
  }

  async #dial(signal: AbortSignal): Promise<Session> {
    const { NatsConnectionImpl: Connection, ProtocolHandler: Protocol } = this.#library as NatsLibrary;
    const { security, timeoutMs, runtime } = this.#setup;
    const { host = '', port = 0 } = this.#addresses[this.#at] ?? {};
    const { tls, username, password, token } = security;
    const connection = new Connection({
      name: `tenon:${this.#broker}`,
      servers: hostPort(host, port),
      timeout: timeoutMs,
      reconnect: false,
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      pingInterval: timeoutMs / pingsPerTimeout,
      maxPingOut,
      // The name to verify where the address has none.
      ...(tls && { tls: { host, ...tls } }),
      authenticator: () => ({ user: username, pass: password, auth_token: token }),
    });
    const protocol = new Protocol(connection.options, connection);
    connection.protocol = protocol;
    try {
      await bounded(protocol.dialLoop(), { timers: runtime.timers, signal });
      this.#assertNewEnough(connection.info);
    } catch (error) {
      // The library leaves the socket of a server that accepts a connection and says nothing.
      protocol.raceTimer?.cancel();
      protocol.transport?.discard();
      if ((error as Partial<Error> | undefined)?.name !== 'TimeoutError') throw error;
      throw new Error(`it accepts connections, and did not answer within ${timeoutMs} ms`, { cause: error });
    }
    let onEnd: Session['onEnd'] = () => {};
    const ended = new Promise((resolve) => {
      onEnd = resolve;
    });
    return { connection, protocol, sinceMs: runtime.clock.monotonicMs(), flushes: new Set(), ended, onEnd };
  }

  /** To a server without headers the library would send them all the same, and be thrown out. */
  #assertNewEnough({ headers, version = 'of an unknown version' }: Partial<ServerInfo> = {}): void {
    const { version: least, feature } = this.#needed;
    if (headers === true && isAtLeast(version, least)) return;
    throw tooOld(this.#broker, `nats-server ${least}`, `the server is ${version}, and lacks ${feature}`);
  }

  #use(session: Session): void {
    const { connection, protocol } = session;
    const { max_payload: maxBodyBytes } = connection.info ?? {};
    if (maxBodyBytes !== this.#wire.maxBodyBytes) this.#wire = { ...rules, maxBodyBytes };
    this.#session = session;
    this.#wasAnswered = true;
    // It is told at once, and not in another turn as an iteration is: an error comes before the answer to a PING.
    const push = (status: NatsStatus): void => this.#onStatus(session, status);
    protocol.listeners.push({ push, stop: () => {}, iterClosed: undefined });
    const { parser } = protocol;
    const parse = parser.parse.bind(parser);
    // The library would write to the console, and stay deaf.
    parser.parse = (bytes) => {
      try {
        parse(bytes);
      } catch (error) {
        this.#lose(session, error);
      }
    };
  }

  #onStatus(session: Session, { type, error }: NatsStatus): void {
    const { protocol, flushes } = session;
    if (type === 'error' && error) {
      const { name, message, subject = '', operation } = error as Error & { subject?: string; operation?: string };
      // It does not say which: all that wait to be subscribed hear of it.
      if (isLimitOfSubscriptions(message))
        for (const { subjects, reject } of flushes) if (subjects === nobody) reject(error);
      if (name !== 'PermissionViolationError' || operation !== 'publish') return;
      const isAbout = ({ subjects, refusals }: Flush): boolean => subjects.has(subject) && !refusals.has(subject);
      [...flushes].find(isAbout)?.refusals.set(subject, error);
    } else if (type === 'staleConnection') {
      this.#lose(session, new Error('it has not answered for a while'));
    } else if (type === 'disconnect') {
      const { transport, lastError } = protocol;
      this.#lose(session, transport?.closeError ?? lastError ?? new Error('it has closed the connection'));
    }
  }

  #lose(session: Session, error: unknown): void {
    if (this.#session !== session) return;
    this.#session = undefined;
    this.#lastError = error;
    end(session, error);
    this.#at = (this.#at + 1) % this.#addresses.length;
    this.#host?.away(error);
  }

  /** Connects if there is no connection, then waits for its end. Rejects if there was none, or only for a moment. */
  async #stayConnected(signal: AbortSignal): Promise<number> {
    const session = this.#session ?? (await this.#connectAgain(signal));
    const error = await session.ended;
    const { clock, random } = this.#setup.runtime;
    if (clock.monotonicMs() - session.sinceMs < stableMs) throw error;
    return random.next() * backoff.initialMs;
  }

  async #connectAgain(signal: AbortSignal): Promise<Session> {
    let session: Session;
    try {
      session = await this.#connect(signal);
    } catch (error) {
      if (!signal.aborted) {
        this.#lastError = error;
        this.#host?.away(error);
      }
      throw error;
    }
    await Promise.all(Array.from(this.#followers, (follower) => follower()));
    if (session === this.#session) this.#host?.back();
    return session;
  }
}

function end({ protocol, flushes, onEnd }: Session, error: unknown): void {
  onEnd(error);
  for (const { reject } of flushes) reject(error);
  flushes.clear();
  // A socket whose peer does not read would wait to be written.
  protocol.transport?.discard();
  protocol.close(error).catch(() => undefined);
}

function isLimitOfSubscriptions(text: string): boolean {
  return /maximum subscriptions/i.test(text);
}

/** True if the version of a server is at least `least`, or is none that can be compared. */
function isAtLeast(version: string, least: string): boolean {
  const [has, wants] = [version, least].map((text) => /^v?(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number));
  const [major = 0, minor = 0] = has ?? [];
  const [leastMajor = 0, leastMinor = 0] = wants ?? [];
  return !has || major > leastMajor || (major === leastMajor && minor >= leastMinor);
}

/**
 * The reason for which a server cannot be reached, in words that say what to do; `undefined` where it simply does not
 * answer.
 */
function unreachableReason(message: string, hasTls: boolean): string | undefined {
  const where = 'TENON_BROKER_ADDRESS says where it is';
  if (message.startsWith('unexpected response') || /in JSON|JSON input/.test(message))
    return `is no server of NATS. ${where}`;
  if (message.includes("does not support 'tls'"))
    return 'speaks no TLS: leave out TENON_BROKER_TLS, or have it serve TLS';
  if (!hasTls && /certificate|tls|ssl/i.test(message))
    return `asks for TLS (${message}). TENON_BROKER_TLS and TENON_BROKER_TLS_CA_FILE say whom to trust`;
  if (message === 'connection refused') return undefined;
  if (message.startsWith('error connecting')) return `has closed the connection in the handshake. ${where}`;
  return `cannot be reached (${message}). ${where}`;
}
