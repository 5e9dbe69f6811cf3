import { loadProto, ProtoMarshaler } from '../../codec/proto.ts';
import { Context } from '../../context/context.ts';
import { Metadata, type MetadataInit } from '../../context/metadata.ts';
import { errorOf, type Status } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { onAbort } from '../../internal/abort.ts';
import { over, SerialIterator } from '../../internal/iterators.ts';
import { maskAddress } from '../../internal/mask.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { GrpcTransport } from '../../transport/grpc.ts';
import type { DialOptions, TransportClient } from '../../transport/transport.ts';
import { type AddressList, formatAddress, isTimeout, type ServerAddress } from './address-list.ts';
import type { DriverTools } from './driver.ts';
import { callCancelled, GrpcCallError, unknownMethod } from './errors.ts';

const marshaler = new ProtoMarshaler();

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
}

/** Bounds and metadata of one call. A `DriverCall` can be given as it is. */
export interface GrpcChannelCall {
  /** Ends the call with CANCELLED (`call.cancelled`). */
  readonly signal: AbortSignal;
  /** Time for the whole call, in milliseconds. @default no limit */
  readonly timeoutMs?: number | undefined;
  /** Metadata, or the function that makes it for each attempt, as with a token that changes. @default none */
  readonly metadata?: MetadataInit | (() => MetadataInit | Promise<MetadataInit>) | undefined;
}

/** The replies of a streaming call, and its sending side. Leaving the iteration cancels the call. */
export interface GrpcStream extends AsyncIterableIterator<unknown, undefined> {
  /** Sends a request. Returns a promise where there is no room for more, until there is. */
  send(request: unknown): void | Promise<void>;
  /** Ends the sending side. */
  end(): void;
  return(): Promise<IteratorResult<unknown, undefined>>;
}

/**
 * Calls the methods of a gRPC server that has one address or several. A unary call that nobody took goes to the next
 * address (`transport.unreachable`). What may have been processed is not sent again: after a time-out it is the next
 * call that goes to another address. An answer is passed on, whatever its status is.
 *
 * Calls that fail reject with {@link GrpcCallError}, which the driver's `failure` translates; with `tls.invalid` where
 * files of certificates cannot be used.
 */
export class GrpcChannel {
  readonly #options: GrpcChannelOptions;
  readonly #methods: ReadonlyMap<string, MethodDescriptor>;
  #opening: Promise<GrpcTransport> | undefined;

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
    const bounds = this.#boundsOf(call);
    const transport = await this.#open();
    let wasAnswered = false;
    const isUntaken = (error: unknown): boolean =>
      !wasAnswered && error instanceof GrpcCallError && error.reason === 'transport.unreachable';
    return this.#options.addresses.inTurn(async (address) => {
      const headers = await metadataOf(call);
      const attempt = new Attempt(this.#options, method, address, bounds);
      try {
        const reply = await transport.unary(attempt.to, { headers, body }, attempt.options);
        attempt.answered(reply.status);
        return marshaler.unmarshal(method.output, reply.body as Uint8Array);
      } catch (error) {
        wasAnswered = attempt.isAnswered;
        throw attempt.failed(error);
      } finally {
        attempt.forget();
      }
    }, isUntaken);
  }

  /**
   * Opens a stream of a method at the current address, and sends `request` unless it is undefined. Where only the
   * server streams it is the last. A server that cannot be reached fails the stream: the driver opens it again.
   */
  async stream(name: string, request: unknown, call: GrpcChannelCall): Promise<GrpcStream> {
    const method = this.#method(name, false);
    const body = request === undefined ? undefined : marshaler.marshal(method.input, request);
    const bounds = this.#boundsOf(call);
    const transport = await this.#open();
    const headers = await metadataOf(call);
    const attempt = new Attempt(this.#options, method, this.#options.addresses.current, bounds);
    try {
      const socket = transport.dial(attempt.to, attempt.options);
      void socket.send({ headers, body });
      if (body && method.kind === 'server') socket.end();
      return new ChannelStream(socket, attempt);
    } catch (error) {
      attempt.forget();
      throw attempt.failed(error);
    }
  }

  /** Closes the connections: what is under way ends with UNAVAILABLE (`transport.closed`). May be called again. */
  async close(): Promise<void> {
    await (await this.#open()).close();
  }

  #open(): Promise<GrpcTransport> {
    const { tools, keepaliveMs } = this.#options;
    const { logger, security } = tools;
    // Loaded on demand: the bundle would split a backend that another file imports, and services load it as one file.
    return (this.#opening ??= import('../../transport/grpc.ts').then(
      (loaded) => new loaded.GrpcTransport({ runtime: tools, logger, security, keepaliveMs }),
    ));
  }

  #method(name: string, isUnary: boolean): MethodDescriptor {
    const method = this.#methods.get(name);
    if (!method || (method.kind === 'unary') !== isUnary) throw unknownMethod(this.#options.registry, name, isUnary);
    return method;
  }

  #boundsOf({ signal, timeoutMs }: GrpcChannelCall): Bounds {
    const now = this.#options.tools.clock.monotonicMs();
    return { signal, deadline: timeoutMs === undefined ? undefined : now + timeoutMs };
  }
}

class ChannelStream extends SerialIterator<unknown> implements GrpcStream {
  readonly #socket: TransportClient;
  readonly #attempt: Attempt;
  #status: Status | undefined;
  #isOver = false;

  constructor(socket: TransportClient, attempt: Attempt) {
    super();
    this.#socket = socket;
    this.#attempt = attempt;
  }

  send(request: unknown): void | Promise<void> {
    return this.#socket.send({ body: marshaler.marshal(this.#attempt.options.route.input, request) });
  }

  end(): void {
    this.#socket.end();
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
        if (!message.status) this.#attempt.answered();
        if (!message.body) continue;
        return { done: false, value: marshaler.unmarshal(this.#attempt.options.route.output, message.body) };
      }
      if (!this.#isOver) this.#attempt.answered(this.#status);
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

  #leave(): void {
    this.#isOver = true;
    this.#attempt.forget();
    void this.#socket.close();
  }
}

type Bounds = Pick<GrpcChannelCall, 'signal'> & Pick<Context, 'deadline'>;

/** One attempt of a call, at one address. It follows the bounds of the call until `forget`. */
class Attempt {
  readonly to: string;
  readonly options: DialOptions;
  readonly forget: () => void;
  isAnswered = false;
  readonly #addresses: AddressList;
  readonly #address: ServerAddress;
  /** True if the time of the driver's call has passed, which may be before its deadline is noticed here. */
  #isLate = false;

  constructor(options: GrpcChannelOptions, route: MethodDescriptor, address: ServerAddress, bounds: Bounds) {
    const { addresses, registry, maxReceiveBytes } = options;
    const ctx = new Context({ service: route.service, endpoint: route.method, deadline: bounds.deadline });
    this.to = formatAddress(address);
    this.options = { route, ctx, maxReceiveBytes };
    this.forget = onAbort(bounds.signal, (reason) => {
      this.#isLate = isTimeout(reason);
      ctx.abort(callCancelled(registry, reason));
    });
    this.#addresses = addresses;
    this.#address = address;
  }

  /** Notes that the server answered, unless it says that the time was over. Throws for a status other than OK. */
  answered(status?: Status): void {
    if (!this.isAnswered && status?.code !== Code.DeadlineExceeded) {
      this.isAnswered = true;
      this.#addresses.succeeded(this.#address);
    }
    if (status && status.code !== Code.Ok) throw errorOf(status);
  }

  /** Makes the error of the attempt. Notes that the address failed, unless the server answered. */
  failed(cause: unknown): TenonError {
    const error = TenonError.from(cause);
    if (error.reason === 'tls.invalid' && !this.isAnswered) return error;
    const isFault = error.reason === 'transport.unreachable' || error.code === Code.DeadlineExceeded || this.#isLate;
    if (isFault && !this.isAnswered) this.#addresses.failed(this.#address);
    return new GrpcCallError(`${this.options.route.path.slice(1)} at ${maskAddress(this.to)}`, error);
  }
}

async function metadataOf({ metadata }: GrpcChannelCall): Promise<Metadata> {
  return new Metadata(typeof metadata === 'function' ? await metadata() : metadata);
}
