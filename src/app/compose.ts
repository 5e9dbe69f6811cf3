import { Container, type Newable, type ServiceIdentifier } from 'inversify';

import { Client } from '../client/client.ts';
import { type Class, handlerOf, serviceOf } from '../decorators/decorators.ts';
import { Logger } from '../logger/logger.ts';
import { type ProcessIdentity, processLogger } from '../logger/internal/process-logger.ts';
import { unfailing } from '../logger/internal/unfailing.ts';
import { CachedRegistry } from '../registry/cache.ts';
import { isRegistryCache, Registry } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemTimers } from '../runtime/system.ts';
import { endsWithin } from '../runtime/bounded.ts';
import { clientFrom } from './clients.ts';
import type { Config } from './config.ts';
import { clientSourceOf, type Problem, type ProtoLoader } from './describe.ts';
import { allBindings, bindingsOf, contextOf, needsOf } from './internal/bindings.ts';
import { disposalOrder, wasResolved } from './internal/dispose.ts';
import { Layers } from './internal/layers.ts';
import { misspeltVariables } from './internal/misspelt.ts';
import { decoratorsLayer, environmentLayer, type OptionParts } from './internal/option-parts.ts';
import { constantOptionsAround } from './internal/service-options.ts';
import { usedKeys } from './internal/enhancers.ts';
import { type AppOptions, environmentOf } from './options.ts';
import { resolveProfile } from './profiles.ts';

/** An application put together, with nothing of it constructed yet. */
export interface Composition {
  readonly services: readonly Class[];
  readonly config: Config;
  readonly container: Container;
  readonly loadProto: ProtoLoader;
  /** What every line of the log names. */
  readonly identity: ProcessIdentity;
  /** The names of the services that have a handler, by the handler's full name. */
  readonly hosts: ReadonlyMap<string, readonly string[]>;
  /** Classes that the container cannot construct, by the key that they were bound to. */
  readonly undecorated: ReadonlyMap<ServiceIdentifier, abstract new (...args: never[]) => unknown>;
  /** What the layers say of options. */
  readonly options: OptionParts;
  /** The layers that bound each key, a name for each time, the last one last. */
  readonly boundBy: ReadonlyMap<ServiceIdentifier, readonly string[]>;
  /** Where the profile was named. */
  readonly profileOrigin: string;
  /** Variables that are named almost as one of tenon's. */
  readonly misspelt: readonly Problem[];
  /** Whether something bound to the key was constructed (or is a constant that was handed out). */
  wasResolved(identifier: ServiceIdentifier): boolean;
  /**
   * Runs `@preDestroy` and `onDeactivation` of what was constructed, those who hold something before what they hold.
   * Does not reject: failures, and what does not end within `stepMs` or by the time that `signal` aborts, are logged.
   */
  dispose(stepMs: number, signal: AbortSignal): Promise<void>;
}

/**
 * Binds what the environment, the profile, the modules and `bind` say, in that order, then the handler classes, and the
 * guards and their like, that nobody bound, and the typed clients that anyone injects. Constructs nothing. Rejects as
 * `readConfig` and `loadBackend` do.
 */
export async function compose(services: readonly Class[], options: AppOptions = {}): Promise<Composition> {
  const env = environmentOf(options);
  const { config, layers: profiles } = resolveProfile(options.profile, env, options.backends);
  const { loadProto } = await import('../codec/proto.ts');
  const container = new Container({ defaultScope: 'Singleton' });
  const layers = new Layers(container);
  for (const [index, profile] of profiles.entries())
    await layers.load(await profile(config, env), index === 0 ? environmentLayer : 'the profile function');
  for (const [index, module] of (options.modules ?? []).entries()) await layers.load(module, `modules[${index}]`);
  if (options.bind) layers.run(options.bind, 'bind');
  layers.run(() => bindHandlers(container, services), decoratorsLayer);
  const { name } = constantOptionsAround(config, layers.options, bindingsOf(container)).stronger;
  const hosts = hostsOf(services, name);
  layers.run(() => bindClients(container, loadProto, hosts), decoratorsLayer);
  const identity: ProcessIdentity = { fields: undefined };
  container.onActivation(Logger, (_context, logger) => processLogger(unfailing(logger), identity));
  // Whatever registry was bound in the end, callers read it through a cache that outlives its outages.
  container.onActivation(Registry, (context, registry) =>
    isRegistryCache(registry)
      ? registry
      : new CachedRegistry(registry, {
          clock: context.get(Clock),
          timers: context.get(Timers),
          random: context.get(Random),
          logger: context.get(Logger),
        }),
  );
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
    hosts,
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
  for (const { key } of classesOf(services).flatMap((target) => usedKeys(target))) {
    if (typeof key === 'function' && !container.isBound(key)) container.bind(key).toSelf().inSingletonScope();
  }
}

/** The services and their handlers. */
export function classesOf(services: readonly (Class | undefined)[]): readonly Class[] {
  return [
    ...new Set(services.flatMap((service) => (typeof service === 'function' ? [service, ...handlersOf(service)] : []))),
  ];
}

/** The handler classes of a service; one that is undefined, as in an import cycle, is left to `verify`. */
function handlersOf(service: Class | undefined): readonly Class[] {
  const record = typeof service === 'function' ? serviceOf(service) : undefined;
  return (record?.handlers ?? []).filter((handler) => typeof handler === 'function');
}

function hostsOf(services: readonly Class[], forced: string | undefined): ReadonlyMap<string, readonly string[]> {
  const hosts = new Map<string, string[]>();
  for (const service of services) {
    const name = forced ?? (typeof service === 'function' ? serviceOf(service)?.name : undefined);
    for (const handler of handlersOf(service)) {
      const handled = handlerOf(handler)?.name;
      if (name !== undefined && handled) hosts.set(handled, [...(hosts.get(handled) ?? []), name]);
    }
  }
  return hosts;
}

/** A key that `clientOf` made carries what it is a client of, so that nobody has to bind it. */
function bindClients(
  container: Container,
  loadProto: ProtoLoader,
  hosts: ReadonlyMap<string, readonly string[]>,
): void {
  for (const binding of allBindings(bindingsOf(container))) {
    const needs = needsOf(binding);
    if ('undecorated' in needs) continue;
    for (const { identifier } of needs.dependencies) {
      const source = clientSourceOf(identifier);
      if (source === undefined || identifier === undefined || container.isBound(identifier)) continue;
      container
        .bind<object>(identifier as ServiceIdentifier<object>)
        .toResolvedValue((client: Client) => clientFrom(client, source, loadProto, hosts), [Client]);
    }
  }
}

async function dispose(container: Container, stepMs: number, signal: AbortSignal): Promise<void> {
  const logger = container.get(Logger);
  for (const binding of disposalOrder(contextOf(container))) {
    try {
      // The container's own method: a guarded one would refuse.
      const unbinding = Container.prototype.unbindAsync.call(container, binding.serviceIdentifier);
      if (await endsWithin(unbinding, { timers: systemTimers, timeoutMs: stepMs, signal })) continue;
      logger.warn('disposing does not end; the stop goes on', { what: String(binding.serviceIdentifier) });
    } catch (error) {
      logger.warn('disposing failed', { what: String(binding.serviceIdentifier), error });
    }
  }
}
