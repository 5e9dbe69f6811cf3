import { loadProto, ProtoMarshaler } from '../../codec/proto.ts';
import { Context } from '../../context/context.ts';
import { Metadata, type MetadataInit } from '../../context/metadata.ts';
import { errorOf, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { onAbort } from '../../internal/abort.ts';
import { over, SerialIterator } from '../../internal/iterators.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import { pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { GrpcTransport } from '../../transport/grpc.ts';
import type { DialOptions, TransportClient } from '../../transport/transport.ts';
import { type AddressList, formatAddress, isTimeout, type ServerAddress } from './address-list.ts';
import type { DriverTools } from './driver.ts';
import { callCancelled, GrpcCallError, unknownMethod } from './errors.ts';

const marshaler = new ProtoMarshaler();

// A deadline that is noticed later than this says nothing of the server.
const heldUpMs = 100;
// Between the beginnings of attempts, once each address was tried.
const backoff = { initialMs: 50, maxMs: 1_000 } as const;

/** Options of a {@link GrpcChannel}. */
export interface GrpcChannelOptions {
  /** The registry's name, for messages: `etcd`. */
  readonly registry: string;
  /** The `.proto` file, or files, with the services of the server. */
  readonly proto: string | URL | readonly (string | URL)[];
  readonly addresses: AddressList;
  /** The tools of the driver: its `security` says the TLS of the connections. */
  readonly tools: DriverTools;
  /** Largest message that is received, in bytes. @default 4_194_304 */
  readonly maxReceiveBytes?: number | undefined;
  /** Time between pings on a connection that carries calls, in milliseconds. @default no pings */
  readonly keepaliveMs?: number | undefined;
  /** True for an error of the server after which a repeatable call is made again, like UNAVAILABLE. @default none */
  isTransient?(error: TenonError): boolean;
}

/** Bounds and metadata of one call. A `DriverCall` can be given as it is. */
export interface GrpcChannelCall {
  /** Ends the call with CANCELLED (`call.cancelled`). */
  readonly signal: AbortSignal;
  /** Time for the whole call, in milliseconds. @default no limit */
  readonly timeoutMs?: number | undefined;
  /** Metadata, or the function that makes it for each attempt, as with a token that changes. @default none */
  readonly metadata?: MetadataInit | (() => MetadataInit | Promise<MetadataInit>) | undefined;
  /**
   * True if the request may be sent again within the time of the call: where an address did not answer, or said
   * UNAVAILABLE or DEADLINE_EXCEEDED. Once each address was tried, attempts follow with back-off; that nobody listens
   * is an error then. Not for `stream`.
   * @default false
   */
  readonly isRepeatable?: boolean | undefined;
  /**
   * Longest time for one attempt of a repeatable call, in milliseconds. Then it is made again; over a new connection if
   * nothing was heard on the other one meanwhile.
   * @default an equal share of the time of the call for each address, and for one attempt more
   */
  readonly attemptMs?: number | undefined;
}

/** The replies of a streaming call, and its sending side. Leaving the iteration cancels the call. */
export interface GrpcStream extends AsyncIterableIterator<unknown, undefined> {
  /** Sends a request. Returns a promise where there is no room for more, until there is. */
  send(request: unknown): void | Promise<void>;
  /** Ends the sending side. */
  end(): void;
  /**
   * Gives up a server that does not answer, or cannot serve the stream: its address counts as failed. The connection is
   * closed if nothing was heard on it since the last reply of the stream, which fails the stream; otherwise the stream
   * goes on until it is left.
   */
  giveUp(): void;
  return(): Promise<IteratorResult<unknown, undefined>>;
}

/**
 * Calls the methods of a gRPC server that has one address or several. A call that nobody took goes to the next address
 * (`transport.unreachable`). What may have been processed is not sent again unless the call is repeatable: after a
 * time-out it is the next call that goes to another address. An answer is passed on, whatever its status is. A
 * connection on which a call timed out, and nothing else was heard meanwhile, is closed.
 *
 * Calls that fail reject with {@link GrpcCallError}, which the driver's `failure` translates; with `tls.invalid` where
 * files of certificates cannot be used.
 */
export class GrpcChannel {
  readonly #options: GrpcChannelOptions;
  readonly #methods: ReadonlyMap<string, MethodDescriptor>;
  readonly #connections = new Map<string, Connection>();
  #isClosed = false;

  /** Connects nothing. Throws as `loadProto` does for a `.proto` that cannot be used. */
  constructor(options: GrpcChannelOptions) {
    const methods = loadProto(options.proto).services.flatMap((service) => service.methods);
    this.#options = options;
    this.#methods = new Map(methods.map((method) => [method.path.slice(1), method]));
  }

  /** Makes a unary call of a method: `etcdserverpb.KV/Range`. Resolves to its reply. */
  async unary(name: string, request: unknown, call: GrpcChannelCall): Promise<unknown> {
    const method = this.#method(name, true);
    const body = marshaler.marshal(method.input, request);
    return this.#call(method, call, async (transport, headers, attempt) => {
      const reply = await transport.unary(attempt.to, { headers, body }, attempt.options);
      attempt.onReply(reply.status);
      return marshaler.unmarshal(method.output, reply.body as Uint8Array);
    });
  }

  /**
   * Opens a stream of a method at the current address, and sends `request` unless it is undefined. Where only the
   * server streams it is the last. A server that cannot be reached fails the stream: the driver opens it again.
   */
  async stream(name: string, request: unknown, call: GrpcChannelCall): Promise<GrpcStream> {
    const method = this.#method(name, false);
    const body = request === undefined ? undefined : marshaler.marshal(method.input, request);
    const { signal, timeoutMs } = call;
    const deadline = timeoutMs === undefined ? undefined : this.#options.tools.clock.monotonicMs() + timeoutMs;
    const headers = await metadataOf(call);
    const connection = this.#connect(this.#options.addresses.current);
    const transport = await connection.transport;
    const attempt = new Attempt(this.#options, method, connection, { signal, deadline });
    try {
      const stream = new ChannelStream(transport.dial(attempt.to, attempt.options), attempt);
      stream.open({ headers, body });
      return stream;
    } catch (error) {
      attempt.forget();
      throw attempt.failed(error);
    }
  }

  /** Closes the connections: what is under way ends with UNAVAILABLE (`transport.closed`). May be called again. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#connections.values()].map(async ({ transport }) => (await transport).close()));
  }

  /** Makes attempts until one succeeds, fails for good, or the time is over. */
  async #call(
    method: MethodDescriptor,
    call: GrpcChannelCall,
    work: (transport: GrpcTransport, headers: Metadata, attempt: Attempt) => Promise<unknown>,
  ): Promise<unknown> {
    const { addresses, tools } = this.#options;
    const { signal, timeoutMs = Number.POSITIVE_INFINITY, isRepeatable = false } = call;
    const count = addresses.inOrder.length;
    const now = (): number => tools.clock.monotonicMs();
    const endsAtMs = now() + timeoutMs;
    const attemptMs = isRepeatable ? (call.attemptMs ?? timeoutMs / (count + 1)) : timeoutMs;
    let attempt: Attempt | undefined;
    let begunMs = 0;
    const send = async (): Promise<unknown> => {
      attempt = undefined;
      const headers = await metadataOf(call);
      const connection = this.#connect(addresses.current);
      const transport = await connection.transport;
      begunMs = now();
      const deadline = Math.min(endsAtMs, begunMs + attemptMs);
      const bounds = { signal, deadline: Number.isFinite(deadline) ? deadline : undefined, isRepeatable };
      attempt = new Attempt(this.#options, method, connection, bounds);
      try {
        return await work(transport, headers, attempt);
      } finally {
        attempt.forget();
      }
    };
    let failures = 0;
    // Once more for a repeatable call, as a connection may be found dead under it.
    let failuresLeft = isRepeatable ? count + 1 : count;
    return retrying(send, {
      runtime: tools,
      backoff,
      onFailure: (error, delayMs, waits) => {
        if (!attempt) throw error;
        // The reply of an attempt may arrive just before its caller leaves.
        const cause = signal.aborted ? callCancelled(this.#options.registry, signal.reason) : error;
        const failure = attempt.failed(cause);
        if (signal.aborted || this.#isClosed || !attempt.mayRepeat(failure)) throw failure;
        const isCounted = !isRepeatable || failure.reason === 'transport.unreachable';
        if (isCounted && (failuresLeft -= 1) === 0) throw failure;
        failures += 1;
        if (failures < count) waits.succeeded();
        // An attempt that took longer than its wait is followed at once.
        const waitMs = failures < count ? 0 : Math.max(0, begunMs + delayMs - now());
        if (now() + waitMs >= endsAtMs) throw failure;
        return waitMs;
      },
      pause: async (delayMs) => {
        if (delayMs > 0) await pause(tools.timers, delayMs, signal, { keepAlive: true });
      },
    });
  }

  /** The connection to an address: a transport of its own, so that it can be closed by itself. */
  #connect(address: ServerAddress): Connection {
    const { tools, keepaliveMs } = this.#options;
    const { logger, security } = tools;
    const to = formatAddress(address);
    const connections = this.#connections;
    const known = connections.get(to);
    if (known) return known;
    // Loaded on demand: the bundle would split a backend that another file imports, and services load it as one file.
    const transport = import('../../transport/grpc.ts').then(async ({ GrpcTransport: Transport }) => {
      const opened = new Transport({ runtime: tools, logger, security, keepaliveMs });
      if (this.#isClosed) await opened.close();
      return opened;
    });
    const drop = (): void => {
      if (this.#isClosed || this.#connections.get(to) !== connection) return;
      this.#connections.delete(to);
      transport.then((opened) => opened.close()).catch(() => {});
    };
    const connection: Connection = {
      address,
      transport,
      replies: 0,
      drop,
      get isCurrent() {
        return connections.get(to) === connection;
      },
    };
    this.#connections.set(to, connection);
    return connection;
  }

  #method(name: string, isUnary: boolean): MethodDescriptor {
    const method = this.#methods.get(name);
    if (!method || (method.kind === 'unary') !== isUnary) throw unknownMethod(this.#options.registry, name, isUnary);
    return method;
  }
}

/** The transport to one address. */
interface Connection {
  readonly address: ServerAddress;
  readonly transport: Promise<GrpcTransport>;
  /** The number of replies of all its calls. */
  replies: number;
  /** False once it was dropped. */
  readonly isCurrent: boolean;
  /** Closes it. The next call connects again. */
  drop(): void;
}

class ChannelStream extends SerialIterator<unknown> implements GrpcStream {
  readonly #socket: TransportClient;
  readonly #attempt: Attempt;
  #status: Status | undefined;
  #isOver = false;
  /** The replies of the connection until the last one of the stream. */
  #repliesBefore: number;

  constructor(socket: TransportClient, attempt: Attempt) {
    super();
    this.#socket = socket;
    this.#attempt = attempt;
    this.#repliesBefore = attempt.replies;
  }

  /** Sends the metadata, and the first request if there is one. Where only the server streams it is the last. */
  open(first: { readonly headers: Metadata; readonly body: Uint8Array | undefined }): void {
    void this.#socket.send(first);
    if (first.body && this.#attempt.options.route.kind === 'server') this.#socket.end();
  }

  send(request: unknown): void | Promise<void> {
    return this.#socket.send({ body: marshaler.marshal(this.#attempt.options.route.input, request) });
  }

  end(): void {
    this.#socket.end();
  }

  giveUp(): void {
    this.#attempt.giveUp(this.#repliesBefore);
  }

  override return(): Promise<IteratorResult<unknown, undefined>> {
    this.#leave();
    return Promise.resolve(over);
  }

  protected override async read(): Promise<IteratorResult<unknown, undefined>> {
    try {
      while (!this.#isOver && !this.#status) {
        const message = await this.#socket.recv();
        if (this.#isOver || !message) break;
        // The status may share the message of the last reply.
        this.#status = message.status;
        if (!message.status) this.#noteReply();
        if (!message.body) continue;
        return { done: false, value: marshaler.unmarshal(this.#attempt.options.route.output, message.body) };
      }
      if (!this.#isOver) this.#noteReply(this.#status);
    } catch (error) {
      // A reader that has left is not told that the call was cancelled.
      if (!this.#isOver) {
        this.#leave();
        throw this.#attempt.failed(error);
      }
    }
    this.#leave();
    return over;
  }

  /** Throws for a status other than OK. */
  #noteReply(status?: Status): void {
    this.#repliesBefore = this.#attempt.replies + 1;
    this.#attempt.onReply(status);
  }

  #leave(): void {
    this.#isOver = true;
    this.#attempt.forget();
    void this.#socket.close();
  }
}

type Bounds = Pick<GrpcChannelCall, 'signal' | 'isRepeatable'> & Pick<Context, 'deadline'>;

/** One attempt of a call, at one address. It follows the bounds of the call until `forget`. */
class Attempt {
  readonly to: string;
  readonly options: DialOptions;
  readonly forget: () => void;
  readonly #addresses: AddressList;
  readonly #connection: Connection;
  readonly #isRepeatable: boolean;
  readonly #repliesBefore: number;
  readonly #deadline: number | undefined;
  readonly #clock: DriverTools['clock'];
  readonly #isTransient: GrpcChannelOptions['isTransient'];
  #isAnswered = false;
  /** True if the fault of the address is noted. */
  #isCounted = false;
  /** True if the time of the driver's call has passed, which may be before its deadline is noticed here. */
  #isLate = false;

  constructor(options: GrpcChannelOptions, route: MethodDescriptor, connection: Connection, bounds: Bounds) {
    const { addresses, registry, maxReceiveBytes } = options;
    const ctx = new Context({ service: route.service, endpoint: route.method, deadline: bounds.deadline });
    this.to = formatAddress(connection.address);
    this.options = { route, ctx, maxReceiveBytes };
    this.forget = onAbort(bounds.signal, (reason) => {
      this.#isLate = isTimeout(reason);
      ctx.abort(callCancelled(registry, reason));
    });
    this.#addresses = addresses;
    this.#connection = connection;
    this.#isRepeatable = bounds.isRepeatable === true;
    this.#repliesBefore = connection.replies;
    this.#deadline = bounds.deadline;
    this.#clock = options.tools.clock;
    this.#isTransient = options.isTransient?.bind(options);
  }

  /** Notes that the server answered, unless it says that the time was over. Throws for a status other than OK. */
  onReply(status?: Status): void {
    this.#connection.replies += 1;
    if (!this.#isAnswered && status?.code !== Code.DeadlineExceeded) {
      this.#isAnswered = true;
      this.#addresses.succeeded(this.#connection.address);
    }
    if (status && status.code !== Code.Ok) throw errorOf(status);
  }

  /**
   * Makes the error of the attempt. Notes that the address failed, unless the server answered, and closes a connection
   * that is silent.
   */
  failed(cause: unknown): TenonError {
    if (cause instanceof GrpcCallError) return cause;
    const error = TenonError.from(cause);
    if (error.reason === 'tls.invalid' && !this.#isAnswered) return error;
    const isLate = (this.#isLate || error.code === Code.DeadlineExceeded) && !this.#wasHeldUp;
    const isFault = !this.#isAnswered && (error.reason === 'transport.unreachable' || isLate);
    const isUnfit = this.#isRepeatable && (error.code === Code.Unavailable || this.#isTransient?.(error) === true);
    // One fault of a connection ends all its calls.
    if ((isFault || isUnfit) && this.#connection.isCurrent) this.#countFault();
    if (isLate && this.#connection.replies === this.#repliesBefore) this.#connection.drop();
    return new GrpcCallError(`${this.options.route.path.slice(1)} at ${maskAddress(this.to)}`, error);
  }

  /** True if the request may be sent again after this failure. */
  mayRepeat(error: TenonError): boolean {
    const { code, reason } = error;
    if (reason === 'transport.unreachable' && !this.#isAnswered) return true;
    if (!this.#isRepeatable) return false;
    return code === Code.Unavailable || code === Code.DeadlineExceeded || this.#isTransient?.(error) === true;
  }

  /** True if this process was late to notice the deadline: a reply may wait to be read. */
  get #wasHeldUp(): boolean {
    return this.#deadline !== undefined && this.#clock.monotonicMs() - this.#deadline > heldUpMs;
  }

  /** The replies of all calls of the connection. */
  get replies(): number {
    return this.#connection.replies;
  }

  /** Notes that the address failed, and closes a connection that had no reply since so many. */
  giveUp(repliesBefore: number): void {
    if (this.#isCounted) return;
    this.#countFault();
    if (this.#connection.replies === repliesBefore) this.#connection.drop();
  }

  #countFault(): void {
    this.#isCounted = true;
    this.#addresses.failed(this.#connection.address);
  }
}

async function metadataOf({ metadata }: GrpcChannelCall): Promise<Metadata> {
  return new Metadata(typeof metadata === 'function' ? await metadata() : metadata);
}
