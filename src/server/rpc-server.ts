import { inject, injectable, multiInject, optional } from 'inversify';

import { Broker, type Event } from '../broker/broker.ts';
import { contentOf } from '../broker/cloud-events.ts';
import { assertDeliverable, deliver, type DeliveryHandler } from '../broker/delivery.ts';
import { Marshaler } from '../codec/codec.ts';
import { MarshalerTable } from '../codec/marshaler-table.ts';
import type { Context } from '../context/context.ts';
import { Metadata } from '../context/metadata.ts';
import { statusOf } from '../context/status.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { contentTypeKey, grpcContentType } from '../go-micro/call-headers.ts';
import { nodeMetadata } from '../go-micro/records.ts';
import { type WithDefaults, withDefaults } from '../internal/defaults.ts';
import { InFlight } from '../internal/in-flight.ts';
import { serviceFields } from '../logger/internal/fields.ts';
import { Logger } from '../logger/logger.ts';
import { compose } from '../pipeline/compose.ts';
import {
  anySchema,
  type HandlerFunction,
  type CallHandler,
  type MethodDescriptor,
  type Schema,
} from '../pipeline/pipeline.ts';
import { validated } from '../pipeline/validation.ts';
import { type NodeState, Registry, type ServiceRecord, stateKey } from '../registry/registry.ts';
import { Clock, Random, type Runtime, Timers } from '../runtime/runtime.ts';
import { Store } from '../store/store.ts';
import { type Listener, type Socket, Transport } from '../transport/transport.ts';
import { advertisedAddress } from './internal/advertise.ts';
import { EventContext } from './internal/event-context.ts';
import { microRoutes } from './internal/go-micro.ts';
import { endpointsOf } from './internal/record.ts';
import { handleCall, type MethodBinding } from './internal/handle-call.ts';
import { type IntendedSubscription, Subscriptions } from './internal/subscriptions.ts';
import {
  type EventHandler,
  type EventHandlerOptions,
  type NewHandlerOptions,
  type Server,
  type ServerHandler,
  ServerOptions,
  type ServerStartOptions,
} from './server.ts';

const defaults = {
  name: 'tenon.server',
  version: 'latest',
  address: '127.0.0.1:0',
  metadata: {},
  interceptors: [],
  registerTtlMs: 30_000,
  exposeErrors: false,
  suggest: false,
  requireBackends: false,
  dialect: 'grpc',
} as const satisfies ServerOptions;

type Options = WithDefaults<ServerOptions, typeof defaults>;

/** Implements {@link Server} over the transport, registry, codecs and broker that are bound. */
@injectable()
export class RpcServer implements Server {
  readonly #transport: Transport;
  readonly #registry: Registry;
  readonly #broker: Broker;
  readonly #marshalers: MarshalerTable;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #handlers: ServerHandler[] = [];
  readonly #eventHandlers: EventHandler[] = [];
  readonly #paths = new Map<string, string>();
  readonly #uuid: string;
  readonly #store: Store | undefined;
  #options: Options;
  #listener: Listener | undefined;
  #subscriptions: Subscriptions | undefined;
  #isStarted = false;
  #isDraining = false;
  readonly #inFlight = new InFlight();

  constructor(
    @inject(Transport) transport: Transport,
    @inject(Registry) registry: Registry,
    @inject(Broker) broker: Broker,
    @multiInject(Marshaler) marshalers: readonly Marshaler[],
    @inject(Clock) clock: Clock,
    @inject(Random) random: Random,
    @inject(Timers) timers: Timers,
    @inject(Logger) logger: Logger,
    @inject(ServerOptions) @optional() options: ServerOptions = {},
    @inject(Store) @optional() store?: Store,
  ) {
    this.#transport = transport;
    this.#registry = registry;
    this.#broker = broker;
    this.#marshalers = new MarshalerTable(marshalers, Code.Unimplemented);
    this.#runtime = { clock, random, timers };
    this.#logger = logger;
    this.#uuid = random.uuid();
    this.#store = store;
    this.#options = withDefaults(defaults, checkedOptions('ServerOptions', options));
  }

  get options(): ServerOptions {
    return this.#options;
  }

  get address(): string | undefined {
    return this.#listener?.addr();
  }

  get advertisedAddress(): string | undefined {
    const { address } = this;
    return address && advertisedAddress(address, this.#options.advertise);
  }

  get nodeId(): string {
    const { name, id = this.#uuid } = this.#options;
    return `${name}-${id}`;
  }

  get isSubscribed(): boolean {
    return this.#subscriptions?.areStanding ?? false;
  }

  get inFlight(): number {
    return this.#inFlight.count;
  }

  init(options: ServerOptions): void {
    this.#assertNotStarted('give its options');
    this.#options = withDefaults(this.#options, checkedOptions('ServerOptions', options));
  }

  newHandler(
    name: string,
    methods: Readonly<Record<string, HandlerFunction>>,
    options: NewHandlerOptions & { readonly descriptors?: readonly MethodDescriptor[] } = {},
  ): ServerHandler {
    const { descriptors = [], metadata, internal } = options;
    const known = new Map(descriptors.map((descriptor) => [descriptor.method, descriptor]));
    return {
      name,
      metadata,
      internal,
      methods: Object.entries(methods).map(([method, invoke]) => ({
        descriptor: known.get(method) ?? jsonMethod(name, method),
        invoke,
      })),
    };
  }

  newSubscriber(
    topic: string,
    handler: (event: unknown, ctx: Context) => unknown,
    options: EventHandlerOptions & { readonly schema?: Schema } = {},
  ): EventHandler {
    const { schema = anySchema, ...rest } = options;
    const method = handler.name === '' ? 'Func' : handler.name;
    const descriptor: MethodDescriptor = {
      ...jsonMethod(this.#options.name, method),
      path: `${topic} → ${method}`,
      kind: 'event',
      input: schema,
      defaultContentType: 'application/json',
    };
    return { topic, descriptor, invoke: handler, options: rest };
  }

  handle(handler: ServerHandler): void {
    this.#assertNotStarted('add handlers');
    const paths = handler.methods.flatMap(({ descriptor }) => [descriptor.path, ...descriptor.aliases]);
    for (const [index, path] of paths.entries()) {
      const owner = this.#paths.get(path) ?? (paths.indexOf(path) < index ? handler.name : undefined);
      if (owner !== undefined) {
        throw new TenonError({
          code: Code.AlreadyExists,
          reason: 'server.duplicate_method',
          message: `${path} is answered by ${owner} already: a method has one handler`,
        });
      }
    }
    for (const path of paths) this.#paths.set(path, handler.name);
    this.#handlers.push(handler);
  }

  subscribe(handler: EventHandler): void {
    this.#assertNotStarted('add subscriptions');
    this.#eventHandlers.push(handler);
  }

  async start(options: ServerStartOptions = {}): Promise<void> {
    this.#assertNotStarted('start it again');
    this.#isStarted = true;
    this.#isDraining = false;
    const logger = this.#logger.child(serviceFields(this));
    try {
      await this.#listen(logger, options.signal);
      this.#assertNotStopped();
      this.#assertAdvertisable();
      this.#subscriptions = this.#intendSubscriptions(logger, options);
      await this.#subscriptions.start();
      this.#assertNotStopped();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  record(state: NodeState = 'serving'): ServiceRecord {
    const { name, version, metadata } = this.#options;
    const address = this.advertisedAddress;
    if (address === undefined) {
      throw new TenonError({
        code: Code.FailedPrecondition,
        reason: 'server.not_started',
        message: `"${name}" is not started: there is no address to register`,
      });
    }
    const node = {
      id: this.nodeId,
      address,
      metadata: {
        ...metadata,
        ...nodeMetadata({
          broker: String(this.#broker),
          registry: String(this.#registry),
          transport: String(this.#transport),
        }),
        ...(state === 'serving' ? {} : { [stateKey]: state }),
      },
    };
    return { name, version, metadata: {}, endpoints: endpointsOf(this.#handlers, this.#eventHandlers), nodes: [node] };
  }

  async register(options: { readonly state?: NodeState; readonly signal?: AbortSignal } = {}): Promise<void> {
    const { state = 'serving', signal } = options;
    if (this.#options.register === false) return;
    await this.#registry.register(this.record(state), { ttlMs: this.#options.registerTtlMs, signal });
  }

  async deregister(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    if (this.#options.register === false) return;
    if (this.#listener) await this.#registry.deregister(this.record('draining'), options);
  }

  async drain(signal?: AbortSignal): Promise<void> {
    this.#isDraining = true;
    await Promise.all([this.#listener?.drain(signal), this.#inFlight.idle(signal), this.#subscriptions?.end(signal)]);
  }

  async stop(): Promise<void> {
    this.#isDraining = true;
    const subscriptions = this.#subscriptions;
    this.#subscriptions = undefined;
    await Promise.allSettled([subscriptions?.end(AbortSignal.abort(stopped())), this.#listener?.close()]);
    this.#listener = undefined;
    this.#isStarted = false;
  }

  toString(): string {
    return 'rpc';
  }

  async #listen(logger: Logger, signal: AbortSignal | undefined): Promise<void> {
    const bindings = new Map<MethodDescriptor, MethodBinding>();
    for (const handler of this.#handlers) {
      for (const { descriptor, invoke, interceptors = [] } of handler.methods) {
        bindings.set(
          descriptor,
          this.#bindMethod(
            descriptor,
            compose([...this.#options.interceptors, ...interceptors], descriptor, invoke),
            logger,
          ),
        );
      }
    }
    const { name, dialect, address, maxReceiveBytes, maxSendBytes, suggest } = this.#options;
    const micro = dialect === 'go-micro' ? microRoutes(this.#handlers, name) : undefined;
    const byRoute = new Map([...bindings].map(([method, binding]) => [micro?.routeOf(method) ?? method, binding]));
    const routes = [...byRoute.keys()];
    const resolve = micro?.resolve;
    const limits = { maxReceiveBytes, maxSendBytes };
    this.#listener = await this.#transport.listen(address, { routes, resolve, ...limits, suggest, signal });
    if (this.advertisedAddress !== undefined) this.#listener.advertise?.(this.advertisedAddress);
    this.#listener.accept((socket, route) => void this.#accept(byRoute.get(route), socket));
  }

  async #accept(binding: MethodBinding | undefined, socket: Socket): Promise<void> {
    if (this.#isDraining || !binding) {
      void socket.send({ status: statusOf(binding ? draining(this.#options.name) : unknownMethod()) });
      return;
    }
    this.#inFlight.enter();
    try {
      await handleCall(binding, socket);
    } finally {
      this.#inFlight.leave();
    }
  }

  #bindMethod(method: MethodDescriptor, invoke: CallHandler, logger: Logger): MethodBinding {
    const fallback = this.#marshalers.of(method.defaultContentType);
    const { name, dialect } = this.#options;
    const isMicro = dialect === 'go-micro';
    return {
      method,
      invoke,
      logger,
      exposeErrors: this.#options.exposeErrors,
      compress: this.#options.compress,
      marshalerFor: (headers) => {
        // The content sub-type, if the transport shows it; else the header in which clients of tenon and Go Micro
        // repeat it.
        const contentType = headers?.text('content-type');
        const given = contentType?.includes('+') ? contentType : headers?.text(contentTypeKey);
        return given === undefined ? fallback : this.#marshalers.of(isMicro ? grpcContentType(given) : given);
      },
      goMicro: isMicro ? { name, runtime: this.#runtime } : undefined,
    };
  }

  #intendSubscriptions(logger: Logger, options: ServerStartOptions): Subscriptions {
    const { onSubscribed = () => {}, onUnsubscribed = () => {} } = options;
    return new Subscriptions(
      this.#eventHandlers.map((handler) => this.#intend(handler, logger)),
      {
        service: this.#options.name,
        broker: this.#broker,
        runtime: this.#runtime,
        logger,
        isBrokerRequired: this.#options.requireBackends,
        followsOutages: options.followsOutages ?? false,
        onStanding: onSubscribed,
        onEnded: onUnsubscribed,
      },
    );
  }

  #intend({ topic, options, ...handler }: EventHandler, logger: Logger): IntendedSubscription {
    // A broker that is away would report a missing capability only once it is back.
    assertDeliverable(this.#broker, topic, options);
    const service = this.#options.name;
    const descriptor = { ...handler.descriptor, service, topic };
    const invoke = compose(
      [...this.#options.interceptors, ...(handler.interceptors ?? [])],
      descriptor,
      handler.invoke,
    );
    const handle: DeliveryHandler = async (event, _signal, attempt) => {
      this.#inFlight.enter();
      const deadline = attempt.deadline === Number.POSITIVE_INFINITY ? undefined : attempt.deadline;
      const init = { service, endpoint: descriptor.method, metadata: metadataOf(event), deadline, logger };
      const ctx = new EventContext(init, event.topic);
      attempt.onAbort = (reason) => ctx.abort(reason);
      try {
        let input: unknown;
        try {
          const { contentType = descriptor.defaultContentType, body } = contentOf(event);
          const value = this.#marshalers.of(contentType).unmarshal(descriptor.input, body);
          input = descriptor.input.validate
            ? await validated(descriptor.input.validate, descriptor.path, value)
            : value;
        } catch (error) {
          // Another attempt would read the same bytes.
          return await event.reject(error);
        }
        await invoke(input, ctx);
      } finally {
        attempt.onAbort = undefined;
        this.#inFlight.leave();
      }
    };
    const seams = { runtime: this.#runtime, logger, store: this.#store };
    return { topic, subscribe: () => deliver(this.#broker, topic, options, handle, seams) };
  }

  /** Throws for an option `advertise` that callers could not use, before anything is registered. */
  #assertAdvertisable(): void {
    void this.advertisedAddress;
  }

  /** Ends a start during which `stop` was called: what is opened after the `stop` would stay open. */
  #assertNotStopped(): void {
    if (this.#isDraining) throw stopped();
  }

  #assertNotStarted(what: string): void {
    if (!this.#isStarted) return;
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'server.started',
      message: `server "${this.#options.name}" has started: ${what} before, or after it was stopped`,
    });
  }
}

/** The error of a call that comes during a drain. The call was not processed, so callers may try another node. */
function draining(name: string): TenonError {
  return new TenonError({
    code: Code.Unavailable,
    reason: 'server.draining',
    message: `this node of "${name}" is draining: call another`,
  });
}

function stopped(): TenonError {
  return new TenonError({ code: Code.Unavailable, reason: 'server.stopped', message: 'the server was stopped' });
}

function unknownMethod(): TenonError {
  return new TenonError({
    code: Code.Unimplemented,
    reason: 'server.unknown_method',
    message: 'the method is not served here',
  });
}

function jsonMethod(service: string, method: string): MethodDescriptor {
  return {
    service,
    method,
    path: `/${service}/${method}`,
    aliases: [],
    kind: 'unary',
    input: anySchema,
    output: anySchema,
    idempotent: false,
    defaultContentType: 'application/grpc+json',
  };
}

/**
 * Returns the headers of an event as metadata. Text that metadata cannot hold is percent-encoded; names that it cannot
 * hold are left out.
 */
function metadataOf(event: Event): Metadata {
  const metadata = new Metadata();
  for (const [key, value] of Object.entries(event.headers)) {
    if (/^[\w.-]+$/.test(key) && !key.toLowerCase().endsWith('-bin')) metadata.append(key, printable(value));
  }
  return metadata;
}

function printable(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  // Encoded by way of bytes, which replaces lone surrogates.
  return text.replace(/[^\x20-\x24\x26-\x7e]+/gu, (part) => encodeURIComponent(Buffer.from(part).toString()));
}
