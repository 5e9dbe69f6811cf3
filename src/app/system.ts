import type { Container, Newable, ServiceIdentifier } from 'inversify';

import { Broker } from '../broker/broker.ts';
import type { ClientOf, Contract, ProtoContract } from '../client/client-of.ts';
import { Client } from '../client/client.ts';
import { type Class, serviceOf } from '../decorators/decorators.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { Health } from '../health/health.ts';
import { serviceFields } from '../logger/internal/fields.ts';
import { Logger } from '../logger/logger.ts';
import type { Interceptor, HandlerFunction } from '../pipeline/pipeline.ts';
import { Registry } from '../registry/registry.ts';
import { Selector } from '../selector/selector.ts';
import { ServerOptions } from '../server/server.ts';
import { ServiceOptions, ServiceRuntime } from '../service/service.ts';
import { systemTimers } from '../runtime/system.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Transport } from '../transport/transport.ts';
import { clientFrom } from './clients.ts';
import { type Composition, compose } from './compose.ts';
import { describeHandler, type HandlerDescription } from './describe.ts';
import { guardContainer } from './guard.ts';
import { assertEncrypted } from './internal/encryption.ts';
import { keyName } from './internal/keys.ts';
import { mergeOptions } from './internal/merge.ts';
import { resolvedOptionsAround } from './internal/service-options.ts';
import { builtinHandlers } from './internal/builtin-services.ts';
import { EnhancerFactory } from './internal/enhancers.ts';
import type { AppOptions } from './options.ts';
import { assertVerified, type Note } from './verify.ts';

/**
 * Services that run together in this process, on one container: over the memory transport for tests, over real gRPC, or
 * anything else that is bound.
 *
 * @example
 * ```ts
 * @Handler('greeter.Greeter')
 * class GreeterHandler {
 *   @Rpc() async hello(request: { name: string }): Promise<{ text: string }> {
 *     return { text: `Hello ${request.name}` };
 *   }
 * }
 * @Service({ name: 'greeter', handlers: [GreeterHandler] })
 * class Greeter {}
 *
 * const system = await System.start([Greeter], { profile: 'test' });
 * const reply = await system.client(GreeterHandler).hello({ name: 'Ada' });
 * await system.stop();
 * ```
 */
export class System {
  readonly #composition: Composition;
  readonly #services: ServiceRuntime[] = [];
  readonly #force = new AbortController();
  #stopping: Promise<void> | undefined;

  private constructor(composition: Composition) {
    this.#composition = composition;
  }

  /**
   * Verifies the wiring, constructs what is needed, and starts the services in the order given. If one cannot start,
   * those before it are stopped again, and it rejects with that error. The wiring's errors come all at once
   * (FAILED_PRECONDITION `app.verify_failed`), with nothing constructed.
   */
  static async start(services: readonly Class[], options: AppOptions = {}): Promise<System> {
    const composition = await compose(services, options);
    const notes = assertVerified(composition);
    const system = new System(composition);
    try {
      await system.#tell(notes);
      for (const service of services) system.#services.push(await system.#prepare(service));
      system.#identify();
      await assertEncrypted(composition.container, composition.options, services.length > 0);
      guardContainer(composition.container);
      for (const service of system.#services) {
        await service.start(options.signal ? { signal: options.signal } : {});
        options.signal?.throwIfAborted();
      }
    } catch (error) {
      await system.stop({ signal: AbortSignal.abort(error) });
      throw error;
    }
    return system;
  }

  /** The services, in the order given. */
  get services(): readonly ServiceRuntime[] {
    return this.#services;
  }

  /** What is bound: for tests, and for programs that compose by hand. */
  get container(): Container {
    return this.#composition.container;
  }

  /**
   * Resolves a token: `system.get(Registry)`. FAILED_PRECONDITION (`app.async_binding`) for one that was not made yet,
   * and is made asynchronously.
   */
  get<T>(identifier: ServiceIdentifier<T>): T {
    try {
      return this.#composition.container.get(identifier);
    } catch (error) {
      throw asyncBinding(error, identifier) ?? error;
    }
  }

  /** Resolves a token that is bound to something asynchronous, or needs such a thing. */
  getAsync<T>(identifier: ServiceIdentifier<T>): Promise<T> {
    return this.#composition.container.getAsync(identifier);
  }

  /** A typed client, for code outside of classes. See `clientOf` for what it takes. */
  client<T>(source: abstract new (...args: never[]) => T): ClientOf<T>;
  client<T>(source: Contract<T>): ClientOf<T>;
  client<T>(source: ProtoContract): ClientOf<T>;
  client(source: (abstract new (...args: never[]) => unknown) | Contract<unknown> | ProtoContract): object {
    return clientFrom(this.get(Client), source, this.#composition.loadProto, this.#composition.hosts);
  }

  /**
   * Stops the services side by side, then what they ran on, each step within its bound. Resolves when everything has
   * stopped; does not reject. When `signal` aborts, neither calls in flight nor steps that do not end are waited for
   * any longer. May be called again.
   */
  stop(options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    const { signal } = options;
    if (signal) {
      for (const service of this.#services) void service.stop(options);
      if (signal.aborted) this.#force.abort();
      else signal.addEventListener('abort', () => this.#force.abort(), { once: true });
    }
    return (this.#stopping ??= this.#stop());
  }

  async #tell(notes: readonly Note[]): Promise<void> {
    if (notes.length === 0) return;
    const logger = await this.#composition.container.getAsync(Logger);
    for (const { level, kind, message, fix } of notes) logger[level](message, { kind, fix });
  }

  /** Where there is one service, the lines of all that it shares a process with are its own. */
  #identify(): void {
    const [service, ...others] = this.#services;
    if (service === undefined || others.length > 0) return;
    this.#composition.identity.fields = serviceFields(service.server());
  }

  async #prepare(target: Class): Promise<ServiceRuntime> {
    const record = serviceOf(target);
    const { container, config, loadProto } = this.#composition;
    const service = await container.getAsync(ServiceRuntime);
    const { weaker, stronger } = await resolvedOptionsAround(config, this.#composition.options, container);
    const { interceptors } = container.isBound(ServerOptions) ? await container.getAsync(ServerOptions) : {};
    // What the environment and the application say is stronger than what the class says; interceptors of all are used,
    // theirs outermost.
    const { interceptors: own, ...said } = record?.options ?? {};
    service.init(
      mergeOptions<ServiceOptions>(
        { health: config.health, reflection: config.reflection },
        weaker,
        { ...said, name: record?.name, version: record?.version, interceptors },
        stronger,
        { interceptors: own },
      ),
    );
    const descriptions = (record?.handlers ?? []).map((handler) => describeHandler(handler, loadProto));
    for (const description of descriptions) await this.#handle(target, service, description);
    const builtin = builtinHandlers({
      service,
      descriptions,
      loadProto,
      health: await container.getAsync(Health),
    });
    for (const handler of builtin) service.server().handle(handler);
    return service;
  }

  async #handle(target: Class, service: ServiceRuntime, description: HandlerDescription): Promise<void> {
    const { container } = this.#composition;
    const enhancers = await EnhancerFactory.of(container, [target, description.target]);
    const around = (interceptors: readonly Interceptor[], property: string): readonly Interceptor[] => [
      ...interceptors,
      ...enhancers.interceptorsFor(target, description.target, property),
    ];
    const instance = await container.getAsync(description.target as Newable<Record<string, HandlerFunction>>);
    const invokeOf =
      (property: string): HandlerFunction =>
      (input, ctx) =>
        (instance[property] as HandlerFunction)(input, ctx);
    if (description.methods.length > 0) {
      service.server().handle({
        name: description.name,
        internal: description.internal,
        methods: description.methods.map(({ descriptor, property, interceptors }) => ({
          descriptor,
          interceptors: around(interceptors, property),
          invoke: invokeOf(property),
        })),
      });
    }
    for (const { descriptor, property, topic, options, interceptors } of description.subscriptions) {
      service.server().subscribe({
        topic,
        descriptor,
        options,
        interceptors: around(interceptors, property),
        invoke: invokeOf(property),
      });
    }
  }

  get #stopTimeoutMs(): number {
    const { container, config } = this.#composition;
    const bound = container.isBound(ServiceOptions) ? container.get(ServiceOptions).stopTimeoutMs : undefined;
    return bound ?? config.service.stopTimeoutMs ?? 5_000;
  }

  async #stop(): Promise<void> {
    await Promise.all([...this.#services].reverse().map((service) => service.stop()));
    // Callers before what they call on: a client that is closed asks no registry.
    await this.#quietly(Client, (client) => client.close());
    await this.#quietly(Broker, (broker) => broker.disconnect());
    await this.#quietly(Selector, (selector) => selector.close());
    await this.#quietly(Registry, (registry) => registry.close());
    await this.#quietly(Transport, (transport) => transport.close());
    await this.#composition.dispose(this.#stopTimeoutMs, this.#force.signal);
  }

  async #quietly<T>(identifier: ServiceIdentifier<T>, close: (value: T) => Promise<void>): Promise<void> {
    try {
      if (!this.#composition.wasResolved(identifier)) return;
      const bounds = { timers: systemTimers, timeoutMs: this.#stopTimeoutMs, signal: this.#force.signal };
      if (await endsWithin(close(this.get(identifier)), bounds)) return;
      this.get(Logger).warn('closing does not end; the stop goes on', { what: String(identifier) });
    } catch (error) {
      this.get(Logger).warn('closing failed', { what: String(identifier), error: TenonError.from(error) });
    }
  }
}

/** What to do where the container can only say that it met a promise. */
function asyncBinding(error: unknown, identifier: ServiceIdentifier): TenonError | undefined {
  if (!(error instanceof Error) || !error.message.startsWith('Unexpected asynchronous service')) return undefined;
  const name = keyName(identifier);
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.async_binding',
    message: `${name}, or something that it needs, is made asynchronously (toDynamicValue(async …), @postConstruct), and was not made yet: await system.getAsync(${name})`,
    cause: error,
  });
}
