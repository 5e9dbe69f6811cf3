import { Container, type Newable, type ServiceIdentifier } from 'inversify';

import { Client } from '../client/client.ts';
import { eventsContractOf, publisherOver } from '../client/publisher-of.ts';
import { type Class, handlerOf, serviceOf } from '../decorators/decorators.ts';
import { declaredCapabilities } from '../internal/capabilities.ts';
import { Logger } from '../logger/logger.ts';
import { type ProcessIdentity, processLogger } from '../logger/internal/process-logger.ts';
import { unfailing } from '../logger/internal/unfailing.ts';
import { CachedRegistry } from '../registry/cache.ts';
import { isRegistryCache, Registry, RegistryObserver } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemTimers } from '../runtime/system.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { Transport, type TransportCapabilities } from '../transport/transport.ts';
import { clientFrom } from './clients.ts';
import type { Config } from './config.ts';
import { clientSourceOf, type Problem, type ProtoLoader } from './describe.ts';
import { allBindings, bindingsOf, contextOf, dependenciesOf } from './internal/bindings.ts';
import { disposalOrder, wasResolved } from './internal/disposal-order.ts';
import { BindingLayers } from './internal/binding-layers.ts';
import { misspeltVariables } from './internal/misspelt-variables.ts';
import { decoratorsLayer, environmentLayer, type OptionParts } from './internal/option-parts.ts';
import { constantServiceOptions } from './internal/service-options.ts';
import { enhancerKeysOf } from './internal/enhancers.ts';
import { type AppOptions, environmentOf } from './options.ts';
import { resolveProfile } from './profiles.ts';
import { wrap } from './wrap.ts';

// The lease of a registration by default.
const leaseMs = 30_000;

/** An application whose bindings are complete, and of which nothing is constructed yet. */
export interface Composition {
  readonly services: readonly Class[];
  readonly config: Config;
  readonly container: Container;
  readonly loadProto: ProtoLoader;
  /** The service, node and version that every line of the log names, once they are known. */
  readonly identity: ProcessIdentity;
  /** The names of the services that list a handler, by the handler's full name. */
  readonly servicesByHandler: ReadonlyMap<string, readonly string[]>;
  /** Classes whose constructor parameters lack `@inject`, by the keys that they were bound to. */
  readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
  /** The options that each layer bound. */
  readonly options: OptionParts;
  /** The names of the layers that bound each key, one for each binding, in order. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  /** The place that chose the profile: an option, a variable, or the default. */
  readonly profileOrigin: string;
  /** Notes on variables whose prefix is misspelt. */
  readonly misspelt: readonly Problem[];
  /** True if the container has constructed what is bound to the key, or has handed out the bound constant. */
  wasResolved(identifier: ServiceIdentifier): boolean;
  /**
   * Runs `@preDestroy` and `onDeactivation` of everything that was constructed, dependents before their dependencies.
   * Never rejects: failures are logged, and so is what does not end within `stepMs` or before `signal` aborts.
   */
  dispose(stepMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Binds everything that an application needs: the layers of environment, profile function, modules and `bind`, in that
 * order; then handler classes and enhancers that are not bound yet, and the typed clients that are injected. Constructs
 * nothing. Rejects as `readConfig` and `loadBackend` do.
 */
export async function compose(services: readonly Class[], options: AppOptions = {}): Promise<Composition> {
  const env = environmentOf(options);
  const { config, layers: profiles } = resolveProfile(options.profile, env, options.backends);
  const { loadProto } = await import('../codec/proto.ts');
  const container = new Container({ defaultScope: 'Singleton' });
  const layers = new BindingLayers(container);
  for (const [index, profile] of profiles.entries())
    await layers.load(await profile(config, env), index === 0 ? environmentLayer : 'the profile function');
  for (const [index, module] of (options.modules ?? []).entries()) await layers.load(module, `modules[${index}]`);
  if (options.bind) layers.run(options.bind, 'bind');
  layers.run(() => bindHandlers(container, services), decoratorsLayer);
  const { name } = constantServiceOptions(config, layers.options, bindingsOf(container)).stronger;
  const servicesByHandler = mapServicesByHandler(services, name);
  layers.run(() => bindClients(container, loadProto, servicesByHandler), decoratorsLayer);
  const identity: ProcessIdentity = { fields: undefined };
  container.onActivation(Logger, (_context, logger) => processLogger(unfailing(logger), identity));
  // Loaded where it is asked for alone.
  if (config.inProcess) {
    const { InProcessTransport } = await import('../transport/in-process.ts');
    wrap(container, Transport, (inner, context) => {
      if (declaredCapabilities<TransportCapabilities>(inner)?.network === false) return inner;
      return new InProcessTransport(inner, { runtime: { clock: context.get(Clock), timers: context.get(Timers) } });
    });
  }
  // Callers read every registry through a cache, which bridges its outages.
  container.onActivation(Registry, (context, registry) => {
    const cached = isRegistryCache(registry)
      ? registry
      : new CachedRegistry(registry, {
          clock: context.get(Clock),
          timers: context.get(Timers),
          random: context.get(Random),
          logger: context.get(Logger),
          // Whoever lives registers again within its lease, and the leases of a fleet are alike.
          graceMs: Math.max(leaseMs, config.service.registerTtlMs ?? 0),
        });
    const observer = context.get(RegistryObserver, { optional: true });
    if (observer) cached.observe?.(observer);
    return cached;
  });
  return {
    services,
    config,
    container,
    loadProto,
    identity,
    undecorated: layers.undecorated,
    options: layers.options,
    boundBy: layers.boundBy,
    profileOrigin: profileOriginOf(options, config),
    misspelt: misspeltVariables(env),
    servicesByHandler,
    wasResolved: (identifier) => wasResolved(bindingsOf(container), identifier),
    dispose: (stepMs, signal) => dispose(container, stepMs, signal),
  };
}

function profileOriginOf({ profile }: AppOptions, { stated }: Config): string {
  if (typeof profile === 'string') return 'the option profile';
  return stated.includes('TENON_PROFILE') ? 'TENON_PROFILE' : 'default';
}

function bindHandlers(container: Container, services: readonly Class[]): void {
  for (const handler of services.flatMap((service) => handlersOf(service))) {
    const key = handler as Newable;
    if (!container.isBound(key)) container.bind(key).toSelf().inSingletonScope();
  }
  for (const { key } of classesOf(services).flatMap((target) => enhancerKeysOf(target))) {
    if (typeof key === 'function' && !container.isBound(key)) container.bind(key).toSelf().inSingletonScope();
  }
}

/** The service classes and their handler classes, each once. */
export function classesOf(services: readonly (Class | undefined)[]): readonly Class[] {
  return [
    ...new Set(services.flatMap((service) => (typeof service === 'function' ? [service, ...handlersOf(service)] : []))),
  ];
}

/**
 * The handler classes of a service. Undefined ones, as import cycles leave them, are skipped: `verify` reports them.
 */
function handlersOf(service: Class | undefined): readonly Class[] {
  const record = typeof service === 'function' ? serviceOf(service) : undefined;
  return (record?.handlers ?? []).filter((handler) => typeof handler === 'function');
}

function mapServicesByHandler(
  services: readonly Class[],
  forced: string | undefined,
): ReadonlyMap<string, readonly string[]> {
  const servicesByHandler = new Map<string, string[]>();
  for (const service of services) {
    const name = forced ?? (typeof service === 'function' ? serviceOf(service)?.name : undefined);
    for (const handler of handlersOf(service)) {
      const handled = handlerOf(handler)?.name;
      if (name !== undefined && handled)
        servicesByHandler.set(handled, [...(servicesByHandler.get(handled) ?? []), name]);
    }
  }
  return servicesByHandler;
}

/** Binds the keys of `clientOf` and `publisherOf` that are injected somewhere; each key knows its source. */
function bindClients(
  container: Container,
  loadProto: ProtoLoader,
  servicesByHandler: ReadonlyMap<string, readonly string[]>,
): void {
  for (const binding of allBindings(bindingsOf(container))) {
    const needs = dependenciesOf(binding);
    if ('undecorated' in needs) continue;
    for (const { identifier } of needs.dependencies) {
      const events = eventsContractOf(identifier);
      if (events && identifier !== undefined && !container.isBound(identifier))
        container
          .bind<object>(identifier as ServiceIdentifier<object>)
          .toResolvedValue((client: Client) => publisherOver(client, events), [Client]);
      const source = clientSourceOf(identifier);
      if (source === undefined || identifier === undefined || container.isBound(identifier)) continue;
      container
        .bind<object>(identifier as ServiceIdentifier<object>)
        .toResolvedValue((client: Client) => clientFrom(client, source, loadProto, servicesByHandler), [Client]);
    }
  }
}

async function dispose(container: Container, stepMs: number, signal: AbortSignal): Promise<void> {
  const logger = container.get(Logger);
  for (const binding of disposalOrder(contextOf(container))) {
    try {
      // The container's own method, as the locked one refuses.
      const unbinding = Container.prototype.unbindAsync.call(container, binding.serviceIdentifier);
      if (await endsWithin(unbinding, { timers: systemTimers, timeoutMs: stepMs, signal })) continue;
      logger.warn('disposing did not end in time; the stop goes on', { what: String(binding.serviceIdentifier) });
    } catch (error) {
      logger.warn('disposing failed', { what: String(binding.serviceIdentifier), error });
    }
  }
}
