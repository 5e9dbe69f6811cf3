import { inject, injectable, multiInject, optional } from 'inversify';

import { Broker } from '../broker/broker.ts';
import { DefaultMarshaler, Marshaler } from '../codec/codec.ts';
import { MarshalerTable } from '../codec/marshaler-table.ts';
import { aCount, checkedOptions, checkNumber } from '../errors/checked-options.ts';
import type { Status } from '../context/status.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isForwarded } from '../go-micro/call-headers.ts';
import { contentTypeHeader, topicHeader } from '../go-micro/event-envelope.ts';
import { type MethodPolicy, ServicePolicies } from '../interceptors/service-config.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { LinkedList } from '../internal/linked-list.ts';
import { setOwn } from '../internal/own.ts';
import { Logger } from '../logger/logger.ts';
import { compose } from '../pipeline/compose.ts';
import {
  anySchema,
  clientStreams,
  type CallHandler,
  type MethodDescriptor,
  serverStreams,
} from '../pipeline/pipeline.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { Selector } from '../selector/selector.ts';
import { type DialOptions, type Message, Transport } from '../transport/transport.ts';
import {
  type CallOptions,
  type Client,
  ClientOptions,
  type ClientPublishOptions,
  type ClientStream,
  type MessageOptions,
  type MethodCaller,
  type PublishMessage,
  type Request,
  type RequestOptions,
} from './client.ts';
import type { CallCredentials } from './credentials.ts';
import type { CallOnNode } from './internal/call-on-node.ts';
import { readUnaryReply, unaryOverSocket } from './internal/unary-reply.ts';
import { cloudEventOf } from './internal/cloud-event.ts';
import { cancellableReplies, cancellableReply } from './internal/cancellable-call.ts';
import { connectBroker } from './internal/connect-broker.ts';
import { openStream } from './internal/open-stream.ts';
import { deadlineOf, type Forward, OutgoingContext, outgoingMetadata } from './internal/outgoing.ts';
import { microCalling } from './internal/go-micro.ts';
import {
  decodeReply,
  failureOf,
  grpcTypeOf,
  headersOf,
  messageOf,
  type InitialMessage,
  type CallEncoding,
} from './internal/call-encoding.ts';
import { sendRequests } from './internal/send-requests.ts';
import { signed } from './internal/sign.ts';
import { noStatus, type OpenCall, ReplyStream } from './internal/reply-stream.ts';
import { type NodeCall, onAddress, onSomeNode, type Router, unlessDraining } from './internal/route.ts';

const defaults = {
  timeoutMs: 30_000,
  interceptors: [],
  dialect: 'grpc',
  maxAttempts: 3,
} as const satisfies ClientOptions;

const clientRules = { maxAttempts: aCount };

/** The keys of metadata that are passed on by default: the trace. */
const traceKeys = ['traceparent', 'tracestate', 'baggage'];

/** A method that is ready to be called. */
interface Prepared {
  readonly method: MethodDescriptor;
  readonly invoke: CallHandler;
  /** True if there are interceptors, which may make a call more than once or not at all. */
  readonly mayRepeat: boolean;
  /** The time-out of calls that have none of their own. */
  readonly timeoutMs: number | undefined;
  /** The longest time that a call may take, from the service config. */
  readonly maxTimeoutMs: number | undefined;
  readonly waitForReady: boolean | undefined;
}

/** Implements {@link Client} over the transport, selector, codecs and broker that are bound. */
@injectable()
export class RpcClient implements Client {
  readonly #transport: Transport;
  /** The transport's own unary call, or one over its sockets. */
  readonly #sendUnary: NonNullable<Transport['unary']>;
  readonly #broker: Broker;
  readonly #preferred: Marshaler;
  readonly #marshalers: MarshalerTable;
  readonly #logger: Logger;
  readonly #router: Router;
  /** Methods whose whole path was given, which Go Micro's dialect leaves as it is. */
  readonly #asWritten = new WeakSet<MethodDescriptor>();
  readonly #calls = new LinkedList<OutgoingContext>();
  #options: WithDefaults<ClientOptions, typeof defaults>;
  #policies: ServicePolicies | undefined;
  #isStarted = false;
  #isClosed = false;

  constructor(
    @inject(Transport) transport: Transport,
    @inject(Selector) selector: Selector,
    @inject(Broker) broker: Broker,
    @inject(DefaultMarshaler) preferred: Marshaler,
    @multiInject(Marshaler) marshalers: readonly Marshaler[],
    @inject(Clock) clock: Clock,
    @inject(Random) random: Random,
    @inject(Timers) timers: Timers,
    @inject(Logger) logger: Logger,
    @inject(ClientOptions) @optional() options: ClientOptions = {},
  ) {
    this.#transport = transport;
    this.#sendUnary =
      transport.unary?.bind(transport) ??
      ((address, message, options) => unaryOverSocket(transport.dial(address, options), message));
    this.#broker = broker;
    this.#preferred = preferred;
    this.#marshalers = new MarshalerTable(marshalers, Code.InvalidArgument);
    this.#logger = logger;
    this.#options = withDefaults(defaults, checkedOptions('ClientOptions', options, clientRules));
    this.#router = { selector, runtime: { clock, random, timers }, maxAttempts: () => this.#options.maxAttempts };
    this.#policies = this.#readPolicies();
  }

  get options(): ClientOptions {
    return this.#options;
  }

  init(options: ClientOptions): void {
    if (this.#isStarted) {
      throw new TenonError({
        code: Code.FailedPrecondition,
        reason: 'client.started',
        message: 'the client has prepared or made calls already: give its options before the first one',
      });
    }
    this.#options = withDefaults(this.#options, checkedOptions('ClientOptions', options, clientRules));
    this.#policies = this.#readPolicies();
  }

  newMessage(topic: string, payload: unknown, options: MessageOptions = {}): PublishMessage {
    const schema = options.schema ?? anySchema;
    const contentType = options.contentType ?? (schema.proto ? 'application/protobuf' : 'application/json');
    return { topic, payload, schema, contentType, headers: options.headers ?? {} };
  }

  newRequest(service: string, endpoint: string, body: unknown, options: RequestOptions = {}): Request {
    const path = endpoint.startsWith('/') ? endpoint.slice(1) : endpoint;
    const cut = path.includes('/') ? path.lastIndexOf('/') : path.lastIndexOf('.');
    if (cut <= 0 || cut === path.length - 1) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'client.invalid_endpoint',
        message: `"${endpoint}" names no method: write "package.Service/Method" or "Service.Method"`,
      });
    }
    const contentType = options.contentType ?? 'application/grpc+json';
    const method: MethodDescriptor = {
      service: path.slice(0, cut),
      method: path.slice(cut + 1),
      path: `/${path.slice(0, cut)}/${path.slice(cut + 1)}`,
      aliases: [],
      kind: options.kind ?? 'unary',
      input: options.input ?? anySchema,
      output: options.output ?? anySchema,
      idempotent: false,
      defaultContentType: contentType,
    };
    if (endpoint.startsWith('/')) this.#asWritten.add(method);
    return { service, method, body, contentType };
  }

  async call(request: Request, options: CallOptions = {}): Promise<unknown> {
    if (serverStreams(request.method.kind)) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'client.wrong_shape',
        message: `${request.method.path} answers with a stream: use stream() instead of call()`,
      });
    }
    return this.method(request.method, request.service)(request.body, withContentType(request, options));
  }

  stream(request: Request, options: CallOptions = {}): ClientStream {
    const prepared = this.#prepare(request.method);
    return openStream(
      request,
      prepared.invoke,
      this.#contextOf(prepared, request.service, withContentType(request, options)),
    );
  }

  async publish(message: PublishMessage, options: ClientPublishOptions = {}): Promise<void> {
    this.#assertOpen();
    const marshaler = this.#marshalers.of(message.contentType);
    const headers: Record<string, string> = {
      ...message.headers,
      [contentTypeHeader]: message.contentType,
      [topicHeader]: message.topic,
    };
    for (const [key, value] of outgoingMetadata({ ctx: options.ctx }, this.#forward) ?? []) {
      if (typeof value === 'string' && !Object.hasOwn(headers, key)) setOwn(headers, key, value);
    }
    if (options.dedupeKey !== undefined) headers['tenon-dedupe-key'] = options.dedupeKey;
    const data = marshaler.marshal(message.schema, message.payload);
    const { cloudEvent } = options;
    const plain = { headers, body: data };
    const sent = cloudEvent ? cloudEventOf(cloudEvent, message, plain, this.#router.runtime) : plain;
    const { ctx, orderKey, delayMs, ttlMs, waitForReady } = options;
    checkNumber('timeoutMs', options.timeoutMs);
    ctx?.throwIfAborted();
    const signal =
      options.signal && ctx ? AbortSignal.any([options.signal, ctx.signal]) : (options.signal ?? ctx?.signal);
    const timeoutMs = await connectBroker(this.#broker, options, signal, this.#router.runtime);
    const publishOptions = { signal, timeoutMs, orderKey, delayMs, ttlMs, waitForReady };
    await this.#broker.publish(message.topic, sent, publishOptions);
  }

  method(method: MethodDescriptor, service: string): MethodCaller {
    const prepared = this.#prepare(method);
    const { invoke, mayRepeat } = prepared;
    if (serverStreams(method.kind)) {
      return (input, options) => {
        const ctx = this.#contextOf(prepared, service, options);
        return mayRepeat ? cancellableReplies(invoke, input, ctx) : invoke(input, ctx);
      };
    }
    return (input, options) => {
      // A mistake in the options rejects like every other failure of a call, instead of throwing.
      try {
        const ctx = this.#contextOf(prepared, service, options);
        if (!options?.ctx && !options?.signal) return invoke(input, ctx);
        return mayRepeat ? cancellableReply(invoke, input, ctx) : invoke(input, ctx.follow());
      } catch (error) {
        return Promise.reject(TenonError.from(error));
      }
    };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    const reason = new TenonError({ code: Code.Cancelled, reason: 'client.closed', message: 'the client was closed' });
    for (const ctx of this.#calls) ctx.abort(reason);
  }

  toString(): string {
    return 'rpc';
  }

  #readPolicies(): ServicePolicies | undefined {
    const { serviceConfig } = this.#options;
    return serviceConfig && new ServicePolicies(serviceConfig, this.#router.runtime);
  }

  #prepare(method: MethodDescriptor): Prepared {
    this.#isStarted = true;
    const { interceptors, timeoutMs } = this.#options;
    const policy = this.#policies?.of(method);
    const all = policy ? [...interceptors, ...policy.interceptors] : interceptors;
    return {
      method,
      invoke: compose(all, method, this.#end(method, policy)),
      mayRepeat: all.length > 0,
      // A stream may last for any time: only the caller bounds it, or the service config of its method.
      timeoutMs: policy?.timeoutMs ?? (method.kind === 'unary' ? timeoutMs : undefined),
      maxTimeoutMs: policy?.timeoutMs,
      waitForReady: policy?.waitForReady,
    };
  }

  /** Makes the end of the pipeline, which encodes the call and gives it to the transport. */
  #end(method: MethodDescriptor, policy: MethodPolicy | undefined): CallHandler {
    const maxReceiveBytes = smaller(this.#options.maxReceiveBytes, policy?.maxReceiveBytes);
    const maxSendBytes = smaller(this.#options.maxSendBytes, policy?.maxSendBytes);
    const isPreferred = this.#preferred.contentType !== 'application/grpc+proto' || method.input.proto !== undefined;
    const usual: string = isPreferred ? this.#preferred.contentType : method.defaultContentType;
    const encodings = new Map<string, CallEncoding>();
    const isMicro = this.#options.dialect === 'go-micro';
    const goMicro = isMicro ? microCalling(method, this.#router.runtime.clock, this.#asWritten.has(method)) : undefined;
    const encodingOf = (ctx: OutgoingContext): CallEncoding => {
      const contentType = ctx.options.contentType ?? usual;
      let encoding = encodings.get(contentType);
      if (!encoding) {
        const marshaler = this.#marshalers.of(contentType);
        encoding = {
          method,
          contentType,
          subType: grpcTypeOf(contentType),
          marshaler,
          maxReceiveBytes,
          maxSendBytes,
          goMicro,
        };
        encodings.set(contentType, encoding);
      }
      return encoding;
    };
    if (serverStreams(method.kind))
      return (input, ctx) => this.#streamingReply(encodingOf(ctx as OutgoingContext), input, ctx as OutgoingContext);
    if (clientStreams(method.kind))
      return (input, ctx) => this.#streamingRequest(encodingOf(ctx as OutgoingContext), input, ctx as OutgoingContext);
    return (input, ctx) => this.#unary(encodingOf(ctx as OutgoingContext), input, ctx as OutgoingContext);
  }

  #contextOf(prepared: Prepared, service: string, options: CallOptions = {}): OutgoingContext {
    this.#assertOpen();
    const { method, timeoutMs, maxTimeoutMs } = prepared;
    const ctx = new OutgoingContext(
      {
        service: method.service,
        endpoint: method.method,
        metadata: outgoingMetadata(options, this.#forward),
        deadline: deadlineOf(options, timeoutMs, maxTimeoutMs, this.#router.runtime.clock),
        logger: this.#logger,
      },
      options,
      this.#calls,
    );
    ctx.registryName = options.service ?? service;
    ctx.waitForReady = options.waitForReady ?? prepared.waitForReady;
    ctx.compress = options.compress ?? this.#options.compress;
    return ctx;
  }

  async #unary(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): Promise<unknown> {
    this.#begin(ctx);
    try {
      const message = messageOf(encoding, input, ctx);
      ctx.throwIfAborted();
      const dial = this.#dialOptions(encoding, ctx);
      const credentials = this.#credentialsOf(ctx);
      const send = async (address: string): Promise<Message | undefined> => {
        const sent = credentials ? await this.#signed(credentials, message, ctx) : message;
        return unlessDraining(await this.#sendUnary(address, sent, dial));
      };
      return this.#reply(encoding, (await this.#on(ctx, { send, statusOf })) ?? {}, ctx);
    } finally {
      this.#release(ctx);
    }
  }

  async #streamingRequest(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): Promise<unknown> {
    this.#begin(ctx);
    try {
      const { socket, stop, onNode } = await this.#open(encoding, input, ctx);
      let answer: Message;
      try {
        answer = unlessDraining(await readUnaryReply(socket, () => onNode?.firstReply())) ?? {};
        onNode?.end(undefined, answer.status);
      } catch (error) {
        onNode?.end(TenonError.from(error));
        throw error;
      } finally {
        stop?.();
        await socket.close();
      }
      return this.#reply(encoding, answer, ctx);
    } finally {
      this.#release(ctx);
    }
  }

  #streamingReply(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): AsyncIterable<unknown> {
    return new ReplyStream({
      ctx,
      decode: (body) => decodeReply(encoding, body),
      failureOf: (status) => failureOf(encoding, status),
      open: () => {
        this.#begin(ctx.follow());
        return this.#open(encoding, input, ctx);
      },
      onEnd: () => this.#release(ctx),
    });
  }

  /**
   * Opens a streaming call. A call with a single request waits for the first answer, and goes to another node if the
   * first did not take it. A stream of requests is on its way by then and cannot be sent again.
   */
  #open(encoding: CallEncoding, input: unknown, ctx: OutgoingContext): Promise<OpenCall> {
    ctx.throwIfAborted();
    const credentials = this.#credentialsOf(ctx);
    if (clientStreams(encoding.method.kind)) {
      const send = async (address: string): Promise<OpenCall> => {
        const initial = { headers: headersOf(encoding, ctx) };
        const sent = credentials ? await this.#signed(credentials, initial, ctx) : initial;
        const socket = this.#transport.dial(address, this.#dialOptions(encoding, ctx));
        // The headers are sent at once: the first request may come late, and reading the replies would open the call
        // without them.
        void socket.send(sent);
        return { socket, stop: sendRequests(encoding, input as AsyncIterable<unknown>, socket, ctx) };
      };
      return this.#on(ctx, { send, onOpen, isSentOnce: true });
    }
    const message = messageOf(encoding, input, ctx);
    const send = async (address: string): Promise<OpenCall> => {
      const sent = credentials ? await this.#signed(credentials, message, ctx) : message;
      const socket = this.#transport.dial(address, this.#dialOptions(encoding, ctx));
      void socket.send(sent);
      socket.end();
      return { socket, first: unlessDraining(await socket.recv()) };
    };
    return this.#on(ctx, { send, onOpen: onAnswer });
  }

  get #forward(): Forward {
    const { forward, dialect } = this.#options;
    return forward ?? (dialect === 'go-micro' ? isForwarded : traceKeys);
  }

  #credentialsOf(ctx: OutgoingContext): CallCredentials | undefined {
    const { credentials = this.#options.credentials } = ctx.options;
    return credentials === false ? undefined : credentials;
  }

  async #signed(credentials: CallCredentials, message: InitialMessage, ctx: OutgoingContext): Promise<Message> {
    const allowInsecure = this.#options.insecureCredentials === true;
    const signer = { transport: this.#transport, router: this.#router, allowInsecure };
    return { ...message, headers: await signed(signer, credentials, message.headers, ctx) };
  }

  #on<T>(ctx: OutgoingContext, call: NodeCall<T>): Promise<T> {
    const { address } = ctx.options;
    return address === undefined ? onSomeNode(this.#router, ctx, call) : onAddress(address, ctx, call.send);
  }

  #reply(encoding: CallEncoding, message: Message, ctx: OutgoingContext): unknown {
    const { status, headers, body } = message;
    ctx.wasCompressed = message.compressed;
    ctx.takeHeaders(headers);
    ctx.takeTrailers(status?.metadata);
    if (!status) throw noStatus();
    if (status.code !== Code.Ok) throw failureOf(encoding, status);
    if (!body) {
      throw new TenonError({
        code: Code.Unimplemented,
        reason: 'client.wrong_reply_count',
        message: `${encoding.method.path} answered OK without a reply`,
      });
    }
    return decodeReply(encoding, body);
  }

  #dialOptions(encoding: CallEncoding, ctx: OutgoingContext): DialOptions {
    return {
      route: encoding.method,
      path: encoding.goMicro?.pathAt(ctx.registryName),
      ctx,
      maxReceiveBytes: encoding.maxReceiveBytes,
      maxSendBytes: encoding.maxSendBytes,
      contentType: encoding.subType,
      // Even if an interceptor turns it off for the first message, it may turn it on again for later ones.
      compress: ctx.compress === true || (ctx.options.compress ?? this.#options.compress) === true,
      // With nodes to choose from, another may be ready sooner: the client does the waiting, and the transport fails at
      // once.
      waitForReady: ctx.options.address !== undefined && ctx.waitForReady,
    };
  }

  #begin(ctx: OutgoingContext): void {
    this.#assertOpen();
    this.#calls.add(ctx);
  }

  #release(ctx: OutgoingContext): void {
    this.#calls.delete(ctx);
    if (!ctx.outlivesAttempts) ctx.release();
  }

  #assertOpen(): void {
    if (!this.#isClosed) return;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'client.closed',
      message: 'the client was closed: its system has stopped',
    });
  }
}

function statusOf(message: Message | undefined): Status | undefined {
  return message?.status;
}

function onOpen(open: OpenCall, onNode: CallOnNode): void {
  onNode.paced();
  open.onNode = onNode;
}

/** Takes a call that has waited for its first answer. */
function onAnswer(open: OpenCall, onNode: CallOnNode): void {
  open.onNode = onNode;
  const status = open.first?.status;
  if (open.first && (!status || status.code === Code.Ok)) onNode.firstReply();
}

/** Returns the smaller of two limits, each of which may be missing. */
function smaller(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || other === undefined ? (one ?? other) : Math.min(one, other);
}

/** Returns the options with the content type of the request, unless they have one. */
function withContentType(request: Request, options: CallOptions): CallOptions {
  return { ...options, contentType: options.contentType ?? request.contentType };
}
