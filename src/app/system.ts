import type { Container, Newable, ServiceIdentifier } from 'inversify';

import { Broker } from '../broker/broker.ts';
import type { ClientOf, Contract, ProtoContract } from '../client/client-of.ts';
import { Client } from '../client/client.ts';
import { type Class, serviceOf } from '../decorators/decorators.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { Health } from '../health/health.ts';
import { isError } from '../internal/is-error.ts';
import { serviceFields } from '../logger/internal/fields.ts';
import { Logger } from '../logger/logger.ts';
import type { Interceptor, HandlerFunction } from '../pipeline/pipeline.ts';
import { Registry } from '../registry/registry.ts';
import { Selector } from '../selector/selector.ts';
import { ServerOptions } from '../server/server.ts';
import { LeaseKeeper } from '../service/lease-keeper.ts';
import { ServiceOptions, ServiceRuntime } from '../service/service.ts';
import { systemTimers } from '../runtime/system.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Transport } from '../transport/transport.ts';
import { clientFrom } from './clients.ts';
import { type Composition, compose } from './compose.ts';
import { describeHandler, type HandlerDescription } from './describe.ts';
import { lockContainer } from './container-lock.ts';
import { assertEncrypted } from './internal/assert-encrypted.ts';
import { keyName } from './internal/keys.ts';
import { mergeOptions } from './internal/merge-options.ts';
import { resolvedServiceOptions } from './internal/service-options.ts';
import { builtinHandlers } from './internal/builtin-services.ts';
import { EnhancerResolver } from './internal/enhancers.ts';
import type { AppOptions } from './options.ts';
import { assertVerified, type Note } from './verify.ts';

/**
 * Services that run together in this process, on one container, over whatever transport is bound: the memory transport
 * in tests, gRPC in production.
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
   * Verifies the application, constructs what it needs, and starts the services in the order given. If one cannot
   * start, those before it are stopped again, and it rejects with that error. Problems that `verify` finds are one
   * error (FAILED_PRECONDITION `app.verify_failed`), and nothing is constructed then.
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
      lockContainer(composition.container);
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

  /** The container of the application, for tests and for code outside of classes. */
  get container(): Container {
    return this.#composition.container;
  }

  /**
   * Resolves a container key: `system.get(Registry)`. Throws FAILED_PRECONDITION (`app.async_binding`) if its object is
   * made asynchronously and was not made yet.
   */
  get<T>(identifier: ServiceIdentifier<T>): T {
    try {
      return this.#composition.container.get(identifier);
    } catch (error) {
      throw asyncBinding(error, identifier) ?? error;
    }
  }

  /** Resolves a container key whose object, or a dependency of it, is made asynchronously. */
  getAsync<T>(identifier: ServiceIdentifier<T>): Promise<T> {
    return this.#composition.container.getAsync(identifier);
  }

  /** Makes a typed client, for code outside of classes. Its argument is that of `clientOf`. */
  client<T>(source: abstract new (...args: never[]) => T): ClientOf<T>;
  client<T>(source: Contract<T>): ClientOf<T>;
  client<T>(source: ProtoContract): ClientOf<T>;
  client(source: (abstract new (...args: never[]) => unknown) | Contract<unknown> | ProtoContract): object {
    return clientFrom(this.get(Client), source, this.#composition.loadProto, this.#composition.servicesByHandler);
  }

  /**
   * Resolves when every event was handled, those that handlers have published meanwhile as well. For tests, over a
   * broker that can say so, as `memory` can; others reject with FAILED_PRECONDITION (`app.cannot_settle`).
   */
  async settled(): Promise<void> {
    const broker = this.get(Broker);
    if (broker.settled) return broker.settled();
    throw new TenonError({
      code: Code.FailedPrecondition,
      reason: 'app.cannot_settle',
      message: `the broker "${String(broker)}" cannot say when its events are handled: use the broker memory in this test, or wait for what the handlers do`,
    });
  }

  /**
   * Stops all services in parallel, then closes their backends, each step within its time limit. Resolves when
   * everything has stopped; never rejects. When `signal` aborts, calls in flight are aborted and steps that have not
   * ended are no longer waited for. May be called again.
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

  /** Lets all log lines of the process name the service, if it has only one. */
  #identify(): void {
    const [service, ...others] = this.#services;
    if (service === undefined || others.length > 0) return;
    this.#composition.identity.fields = serviceFields(service.server());
  }

  async #prepare(target: Class): Promise<ServiceRuntime> {
    const record = serviceOf(target);
    const { container, config, loadProto } = this.#composition;
    const service = await container.getAsync(ServiceRuntime);
    const { weaker, stronger } = await resolvedServiceOptions(config, this.#composition.options, container);
    const { interceptors } = container.isBound(ServerOptions) ? await container.getAsync(ServerOptions) : {};
    // Options of the environment and of the application are stronger than those of the class. Interceptors of all are
    // used, those of the class innermost.
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
    const enhancers = await EnhancerResolver.of(container, [target, description.target]);
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
    // Dependents are closed before their dependencies: a client that is closed asks no registry.
    await this.#quietly(Client, (client) => client.close());
    await this.#quietly(Broker, (broker) => broker.disconnect());
    await this.#quietly(Selector, (selector) => selector.close());
    await this.#quietly(LeaseKeeper, (keeper) => keeper.close());
    await this.#quietly(Registry, (registry) => registry.close());
    await this.#quietly(Transport, (transport) => transport.close());
    await this.#composition.dispose(this.#stopTimeoutMs, this.#force.signal);
  }

  async #quietly<T>(identifier: ServiceIdentifier<T>, close: (value: T) => Promise<void>): Promise<void> {
    try {
      if (!this.#composition.wasResolved(identifier)) return;
      const bounds = { timers: systemTimers, timeoutMs: this.#stopTimeoutMs, signal: this.#force.signal };
      if (await endsWithin(close(this.get(identifier)), bounds)) return;
      this.get(Logger).warn('closing did not end in time; the stop goes on', { what: String(identifier) });
    } catch (error) {
      this.get(Logger).warn('closing failed', { what: String(identifier), error: TenonError.from(error) });
    }
  }
}

/** The error that replaces the container's own, which names neither the key nor the remedy. */
function asyncBinding(error: unknown, identifier: ServiceIdentifier): TenonError | undefined {
  if (!isError(error) || !error.message.startsWith('Unexpected asynchronous service')) return undefined;
  const name = keyName(identifier);
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.async_binding',
    message: `${name}, or a dependency of it, is made asynchronously (toDynamicValue(async …), @postConstruct), and was not made yet: await system.getAsync(${name})`,
    cause: error,
  });
}
