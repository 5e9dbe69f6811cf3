import { Agent, type ClientRequest, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http';
import { connect, isIP, type Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import { Code, TenonError, textOf } from '../../errors/errors.ts';
import { onAbort } from '../../internal/abort.ts';
import { over, SerialIterator } from '../../internal/iterators.ts';
import { bounded } from '../../runtime/bounded.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { type AddressList, formatAddress, isFaultOfAddress, isTimeout, type ServerAddress } from './address-list.ts';
import type { DriverTools } from './driver.ts';
import { callCancelled, HttpCallError } from './errors.ts';

/** Options of an {@link HttpChannel}. */
export interface HttpChannelOptions {
  /** The registry's name, for messages: `consul`. */
  readonly registry: string;
  readonly addresses: AddressList;
  /** The tools of the driver: its `security` says the TLS of the connections. */
  readonly tools: DriverTools;
  /** TLS of a new connection, `undefined` for none. @default that of `tools.security` */
  readonly tls?: (() => ConnectionOptions | undefined) | undefined;
  /** Begins every path: `/api`. @default '' */
  readonly basePath?: string | undefined;
  /** Makes headers for each attempt, such as a token that changes. @default none */
  readonly headers?: (() => HttpHeaders | Promise<HttpHeaders>) | undefined;
  /** Most connections at a time to one address; further requests wait. @default no limit */
  readonly maxConnections?: number | undefined;
  /** Largest body of an answer, or line of a stream, in bytes. @default 33_554_432 */
  readonly maxResponseBytes?: number | undefined;
}

/** Headers of a request; one that is undefined is not sent. */
export type HttpHeaders = Readonly<Record<string, string | undefined>>;

/** A request to a server, of which any address of the channel will do. */
export interface HttpRequest {
  /** @default 'GET' */
  readonly method?: string | undefined;
  /** Begins with a slash. What comes from outside is encoded: see `pathPart`. */
  readonly path: string;
  /** Parameters; one that is undefined is left out. */
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>> | undefined;
  readonly body?: string | undefined;
  /** Those of the channel are weaker. @default `content-type: application/json` with a body */
  readonly headers?: HttpHeaders | undefined;
  /** True if it may be sent again though a server may have processed it. @default true for GET */
  readonly isRepeatable?: boolean | undefined;
  /**
   * True for the status of an answer after which its address counts as failed. If the request may be repeated, the next
   * address is asked; the answer of the last one is passed on. @default none
   */
  readonly retriesAfter?: ((status: number) => boolean) | undefined;
}

/** Bounds of one request. A `DriverCall` can be given as it is. */
export interface HttpCall {
  /** Ends the call with CANCELLED (`call.cancelled`). */
  readonly signal: AbortSignal;
  /** Time for all attempts together, from connecting to the end of the answer, in milliseconds. @default no limit */
  readonly timeoutMs?: number | undefined;
  /** The one address to ask. @default any of the channel's */
  readonly at?: ServerAddress | undefined;
}

/** Bounds of a stream. */
export interface HttpStreamCall extends HttpCall {
  /**
   * Time for all attempts together until the headers of an answer come, in milliseconds. @default `idleMs` for each
   */
  readonly timeoutMs?: number | undefined;
  /** Longest time without a byte of the answer, in milliseconds: then the stream fails (`registry.timeout`). */
  readonly idleMs: number;
}

/** The beginning of an answer. */
export interface HttpResponseHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The address that answered. */
  readonly address: ServerAddress;
}

/** An answer, whatever its status is. */
export interface HttpResponse extends HttpResponseHead {
  readonly body: string;
}

/** The lines of an answer as they come, without their ends. Leaving the iteration ends the request. */
export interface HttpStream extends HttpResponseHead, AsyncIterableIterator<string, undefined> {
  return(): Promise<IteratorResult<string, undefined>>;
}

/** An answer with a status that a driver did not expect, for its `failure`. */
export class HttpStatusError extends Error {
  readonly status: number;
  /** The beginning of the body, in one line. */
  readonly said: string;

  constructor({ method = 'GET', path }: HttpRequest, { status, address, body }: HttpResponse) {
    const said = body.slice(0, 400).replace(/\s+/g, ' ').trim();
    super(`${method} ${path} at ${formatAddress(address)} was answered with status ${status}: ${said}`);
    this.status = status;
    this.said = said;
  }
}

const defaultMaxResponseBytes = 33_554_432;
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 15_000 } as const;

/**
 * Sends requests to an HTTP server that has one address or several, over connections that are kept. A request that
 * nobody took goes to the next address; so does one that may be repeated, such as a GET, when its connection breaks or
 * its share of the time has passed, or when its answer has a status for that (`retriesAfter`). Other requests are sent
 * once: after a time-out it is the next that goes to another address. An answer is passed on, whatever its status is.
 *
 * Requests that fail reject with {@link HttpCallError}, which the driver's `failure` translates:
 *
 * - UNAVAILABLE: nobody took it (`transport.unreachable`), the connection broke (`transport.connection_lost`), or the
 *   channel was closed (`transport.closed`).
 * - DEADLINE_EXCEEDED (`registry.timeout`), CANCELLED (`call.cancelled`).
 * - RESOURCE_EXHAUSTED (`transport.message_too_large`) for an answer larger than `maxResponseBytes`.
 *
 * They reject with `tls.invalid` or `tls.invalid_credentials` where files cannot be used.
 */
export class HttpChannel {
  readonly #options: HttpChannelOptions;
  readonly #maxBytes: number;
  readonly #agent: Agent;
  #isClosed = false;
  #wasAnswered = false;

  /** Connects nothing. */
  constructor(options: HttpChannelOptions) {
    this.#options = options;
    this.#maxBytes = options.maxResponseBytes ?? defaultMaxResponseBytes;
    const agent = new Agent({ keepAlive: true, maxSockets: options.maxConnections ?? Number.POSITIVE_INFINITY });
    this.#agent = Object.assign(agent, { createConnection: connecting(() => this.#tls()) });
  }

  /** Sends a request, and reads the answer to its end. */
  request(request: HttpRequest, call: HttpCall): Promise<HttpResponse> {
    return this.#inTurn(request, call, async (message, { address }) => {
      return { ...headOf(message, address), body: await bodyOf(message, this.#maxBytes) };
    });
  }

  /** Sends a request. Resolves with the beginning of the answer, whose lines are read as they come. */
  stream(request: HttpRequest, call: HttpStreamCall): Promise<HttpStream> {
    const { signal, idleMs, at } = call;
    const { addresses, registry, tools } = this.#options;
    const { timeoutMs = idleMs * (at ? 1 : addresses.inOrder.length) } = call;
    return this.#inTurn(request, { signal, timeoutMs, at }, async (message, exchange) => {
      const bounds = { timers: tools.timers, idleMs, signal, registry, maxBytes: this.#maxBytes };
      return new LineStream(message, exchange, bounds, (error) => {
        const failure = this.#failure(exchange, error);
        if (isFaultOfAddress(failure)) addresses.failed(exchange.address);
        return failure;
      });
    });
  }

  /** Closes the connections: what is under way fails with UNAVAILABLE (`transport.closed`). May be called again. */
  close(): void {
    this.#isClosed = true;
    // A request that waits for a connection would open one as soon as another closes.
    const waiting = this.#agent.requests as Record<string, ClientRequest[] | undefined>;
    for (const [place, requests = []] of Object.entries(waiting)) {
      delete waiting[place];
      for (const one of requests) one.destroy().emit('error', new Error(isClosed));
    }
    this.#agent.destroy();
  }

  async #inTurn<T extends HttpResponseHead>(
    request: HttpRequest,
    { signal, timeoutMs = Number.POSITIVE_INFINITY, at }: HttpCall,
    read: (message: IncomingMessage, exchange: Exchange) => Promise<T>,
  ): Promise<T> {
    const { addresses, basePath, registry, tools } = this.#options;
    const { clock, timers } = tools;
    const { isRepeatable = (request.method ?? 'GET') === 'GET' } = request;
    const endsAtMs = clock.monotonicMs() + timeoutMs;
    const isUnfit = (status = 0): boolean => request.retriesAfter?.(status) === true;
    const attempt = async (address: ServerAddress, left: number): Promise<T> => {
      const exchange = new Exchange(request, address, basePath);
      const restMs = Math.max(0, endsAtMs - clock.monotonicMs());
      const readIfFit: typeof read = (message, answered) => {
        if (isRepeatable && left > 1 && isUnfit(message.statusCode)) throw new UnfitAnswer();
        return read(message, answered);
      };
      const bounds = {
        timers,
        signal,
        timeoutMs: isRepeatable ? restMs / left : restMs,
        keepAlive: false,
        onTimeout: (afterMs: number) => exchange.error(tooLate(afterMs)),
        // The driver's call has a bound of its own, which is no longer than this one.
        onAbort: (reason: unknown) =>
          exchange.error(isTimeout(reason) ? tooLate(timeoutMs) : callCancelled(registry, reason)),
      };
      try {
        const result = await bounded(() => this.#exchange(exchange, restMs / left, readIfFit), bounds);
        if (isUnfit(result.status)) addresses.failed(address);
        else if (!at) addresses.succeeded(address);
        return result;
      } catch (error) {
        exchange.end();
        // The server may have closed a connection that was kept before it saw the request.
        if (isRepeatable && exchange.wasKept && reasonOf(error) === lost) return attempt(address, left);
        if (isFaultOfAddress(error) || error instanceof UnfitAnswer) addresses.failed(address);
        throw error;
      }
    };
    if (at) return attempt(at, 1);
    return addresses.inTurn(
      attempt,
      (error) =>
        reasonOf(error) === unreachable || error instanceof UnfitAnswer || (isRepeatable && isFaultOfAddress(error)),
    );
  }

  async #exchange<T>(
    exchange: Exchange,
    connectMs: number,
    read: (message: IncomingMessage, exchange: Exchange) => Promise<T>,
  ): Promise<T> {
    this.#assertOpen(exchange);
    // Files that cannot be used are no matter of the server.
    this.#tls();
    const headers = await this.#options.headers?.();
    this.#assertOpen(exchange);
    exchange.assertWanted();
    const { timers } = this.#options.tools;
    const connecting = Number.isFinite(connectMs)
      ? timers.after(connectMs, () => exchange.connectsWithin(connectMs))
      : undefined;
    try {
      const message = await exchange.send(this.#agent, { ...headers, ...exchange.request.headers });
      this.#wasAnswered = true;
      return await read(message, exchange);
    } catch (error) {
      throw this.#failure(exchange, error);
    } finally {
      connecting?.cancel();
    }
  }

  /** The error of an exchange that broke off, unless its request could not even be written. */
  #failure(exchange: Exchange, cause: unknown): unknown {
    if (cause instanceof HttpCallError || cause instanceof UnfitAnswer || !exchange.wasSent) return cause;
    if (TenonError.is(cause)) return exchange.error(cause);
    const { security } = this.#options.tools;
    const code = Code.Unavailable;
    if (this.#isClosed) return exchange.error(new TenonError({ code, reason: 'transport.closed', message: isClosed }));
    const message = security.explain(cause, exchange.address.host, this.#wasAnswered) ?? textOf(cause);
    return exchange.error(new TenonError({ code, reason: exchange.isConnected ? lost : unreachable, message, cause }));
  }

  #assertOpen(exchange: Exchange): void {
    if (!this.#isClosed) return;
    const code = Code.FailedPrecondition;
    throw exchange.error(new TenonError({ code, reason: 'transport.closed', message: isClosed }));
  }

  #tls(): ConnectionOptions | undefined {
    const { tls, tools } = this.#options;
    return tls ? tls() : tools.security.tls;
  }
}

const unreachable = 'transport.unreachable';
const lost = 'transport.connection_lost';
const isClosed = 'the channel is closed';

function reasonOf(error: unknown): string | undefined {
  return error instanceof HttpCallError ? error.reason : undefined;
}

function tooLate(timeoutMs: number): TenonError {
  const message = `it did not answer within ${Math.ceil(timeoutMs)} ms`;
  return new TenonError({ code: Code.DeadlineExceeded, reason: 'registry.timeout', message });
}

function tooLarge(what: string, maxBytes: number): TenonError {
  const message = `${what} is larger than ${maxBytes} bytes`;
  return new TenonError({ code: Code.ResourceExhausted, reason: 'transport.message_too_large', message });
}

/** Ends an attempt whose answer another address may better. */
class UnfitAnswer extends Error {}

/** One request to one address. */
class Exchange {
  readonly request: HttpRequest;
  readonly address: ServerAddress;
  isConnected = false;
  readonly #method: string;
  readonly #path: string;
  readonly #query: string;
  #sent: ClientRequest | undefined;
  #isAnswered = false;
  #isOver = false;

  constructor(request: HttpRequest, address: ServerAddress, basePath = '') {
    const { method = 'GET', path, query = {} } = request;
    const parameters = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) if (value !== undefined) parameters.set(name, String(value));
    const text = parameters.toString();
    this.request = request;
    this.address = address;
    this.#method = method;
    this.#path = `${basePath}${path}`;
    this.#query = text === '' ? '' : `?${text}`;
  }

  get wasSent(): boolean {
    return this.#sent !== undefined;
  }

  /** True if its connection had been used before, and nothing was answered. */
  get wasKept(): boolean {
    return this.#sent?.reusedSocket === true && !this.#isAnswered;
  }

  /** Throws if nobody waits for it any longer. */
  assertWanted(): void {
    if (this.#isOver) throw new Error('it was given up');
  }

  /** Resolves with the beginning of the answer. Throws for a path or a header that cannot be sent. */
  send(agent: Agent, headers: HttpHeaders): Promise<IncomingMessage> {
    const { host, port } = this.address;
    const { body } = this.request;
    const given = Object.entries(headers).filter(([, value]) => value !== undefined);
    // For some methods Node would send the body without its length, and the server take it for another request.
    const ofBody = body !== undefined && {
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
    };
    const all = { ...ofBody, ...Object.fromEntries(given) };
    const sent = request({ agent, host, port, method: this.#method, path: this.#path + this.#query, headers: all });
    this.#sent = sent;
    sent.once('socket', (socket: Socket) => {
      // What keeps the process alive is the bound of a call, if anything does.
      socket.unref();
      // A request that waited gets the connection of another one, which Node does not call reused.
      if (sent.reusedSocket || isOpen(socket)) this.isConnected = true;
      else socket.once('encrypted' in socket ? 'secureConnect' : 'connect', () => (this.isConnected = true));
    });
    return new Promise((resolve, reject) => {
      sent.on('error', reject);
      // The one thing that Node tells of where the server answers with another protocol.
      sent.once('close', () => reject(new Error('the connection was closed without an answer')));
      sent.once('response', (message: IncomingMessage) => {
        this.#isAnswered = true;
        message.on('error', () => {});
        resolve(message);
      });
      sent.end(body);
    });
  }

  /** Gives up if there is no connection yet. */
  connectsWithin(connectMs: number): void {
    if (this.isConnected) return;
    const message = `it took no connection within ${Math.ceil(connectMs)} ms`;
    this.#sent?.destroy(new TenonError({ code: Code.Unavailable, reason: 'transport.unreachable', message }));
  }

  /** Breaks off what is left of it. */
  end(): void {
    this.#isOver = true;
    this.#sent?.destroy();
  }

  error(error: TenonError): HttpCallError {
    return new HttpCallError(`${this.#method} ${this.#path} at ${formatAddress(this.address)}`, error);
  }
}

function isOpen(socket: Socket): boolean {
  return !socket.destroyed && !socket.connecting && !('secureConnecting' in socket && socket.secureConnecting === true);
}

/** Makes the connections of an agent, with the TLS that is valid then. */
function connecting(tls: () => ConnectionOptions | undefined) {
  return ({ host, port }: { host: string; port: number }): Socket => {
    const secure = tls();
    const place = { host, port, ...socketOptions };
    if (!secure) return connect(place);
    // RFC 6066, section 3: literal addresses are no names. With a name of its own to verify, it has the name to tell.
    const hasName = isIP(host) !== 0 || 'checkServerIdentity' in secure;
    // The getters are read here.
    return connectTls({ ...place, ...(!hasName && { servername: host }), ...secure });
  };
}

function headOf({ statusCode = 0, headers }: IncomingMessage, address: ServerAddress): HttpResponseHead {
  return { status: statusCode, headers, address };
}

async function bodyOf(message: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of message as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge('its answer', maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

interface LineBounds {
  readonly timers: Timers;
  readonly idleMs: number;
  readonly signal: AbortSignal;
  readonly registry: string;
  readonly maxBytes: number;
}

class LineStream extends SerialIterator<string> implements HttpStream {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly address: ServerAddress;
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #exchange: Exchange;
  readonly #bounds: LineBounds;
  readonly #failure: (error: unknown) => unknown;
  readonly #forget: () => void;
  readonly #decoder = new TextDecoder();
  #lines: string[] = [];
  /** The beginning of a line whose end has not come. */
  #rest = '';
  #isOver = false;

  constructor(message: IncomingMessage, exchange: Exchange, bounds: LineBounds, failure: (error: unknown) => unknown) {
    super();
    const { status, headers, address } = headOf(message, exchange.address);
    this.status = status;
    this.headers = headers;
    this.address = address;
    this.#chunks = (message as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#exchange = exchange;
    this.#bounds = bounds;
    this.#failure = failure;
    this.#forget = onAbort(bounds.signal, () => exchange.end());
  }

  override return(): Promise<IteratorResult<string, undefined>> {
    this.#leave();
    return Promise.resolve(over);
  }

  protected override async read(): Promise<IteratorResult<string, undefined>> {
    const { idleMs, timers, registry, signal, maxBytes } = this.#bounds;
    try {
      while (!this.#isOver) {
        const line = this.#lines.shift();
        if (line !== undefined) return { done: false, value: line };
        const { done, value } = await bounded(this.#chunks.next(), {
          timers,
          timeoutMs: idleMs,
          signal,
          keepAlive: false,
          onTimeout: tooLate,
          onAbort: (reason) => callCancelled(registry, reason),
        });
        if (this.#isOver) break;
        const [first = '', ...others] = this.#decoder.decode(value, { stream: done !== true }).split('\n');
        this.#lines = [this.#rest + first, ...others];
        this.#rest = this.#lines.pop() ?? '';
        if (this.#rest.length > maxBytes) throw tooLarge('a line of its answer', maxBytes);
        if (done !== true) continue;
        this.#leave();
        if (this.#rest !== '') return { done: false, value: this.#rest };
      }
    } catch (error) {
      if (!this.#isOver) {
        this.#leave();
        throw this.#failure(error);
      }
    }
    return over;
  }

  #leave(): void {
    this.#isOver = true;
    this.#forget();
    this.#exchange.end();
  }
}
