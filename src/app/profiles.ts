import { ContainerModule, type Newable } from 'inversify';

import { Broker } from '../broker/broker.ts';
import { Client, ClientOptions } from '../client/client.ts';
import { RpcClient } from '../client/rpc-client.ts';
import { DefaultMarshaler, Marshaler, MessageLimits } from '../codec/codec.ts';
import { HealthRegistry } from '../health/health-registry.ts';
import { Health } from '../health/health.ts';
import { token } from '../internal/token.ts';
import { ConsoleLogger } from '../logger/console.ts';
import { Logger, silentLogger } from '../logger/logger.ts';
import { Registry, RegistryObserver } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { Selector } from '../selector/selector.ts';
import { RpcServer } from '../server/rpc-server.ts';
import { Server, ServerOptions } from '../server/server.ts';
import { ManagedService } from '../service/managed-service.ts';
import { ServiceOptions, ServiceRuntime, BackendSummary } from '../service/service.ts';
import { LeaseKeeper } from '../service/lease-keeper.ts';
import { backendSummaryOf } from './internal/backend-summary.ts';
import { WorkerLeaseKeeper } from './internal/lease-keeper.ts';
import { checkFields, sidesFields } from '../tls/option-fields.ts';
import { TransportTlsOptions } from '../transport/tls.ts';
import { Transport } from '../transport/transport.ts';
import { backendNames, type Backends, loadBackend } from './backends.ts';
import { type BackendChoice, type Config, readConfig, settingsOf } from './config.ts';
import type { Backend, BackendRoom, BackendSettings } from './internal/backend-row.ts';

/**
 * A function that makes a module of bindings from the configuration. Its module is loaded over the bindings that the
 * environment chose, so it binds only what should differ. Its second argument is the environment, for variables of the
 * application.
 *
 * @example
 * ```ts
 * const staging: Profile = (config) =>
 *   new ContainerModule(({ bind }) => {
 *     bind(Selector).to(config.transport === 'memory' ? RandomSelector : RoundRobinSelector);
 *   });
 * ```
 */
export type Profile = (
  config: Config,
  env: Readonly<Record<string, string | undefined>>,
) => ContainerModule | Promise<ContainerModule>;

/** The configuration, and the profiles whose modules are loaded, in that order. */
export interface ResolvedProfile {
  readonly config: Config;
  readonly layers: readonly Profile[];
}

/**
 * Resolves the option `profile`: a name stands for a built-in profile; a function is loaded over the built-in profile
 * of the environment; `undefined` stands for the latter. Throws INVALID_ARGUMENT (`config.invalid`) as `readConfig`
 * does, and if no profile has that name.
 */
export function resolveProfile(
  profile: string | Profile | undefined,
  env: Readonly<Record<string, string | undefined>>,
  backends: Backends = {},
): ResolvedProfile {
  const below = builtInProfile(backends);
  if (typeof profile !== 'function') return { config: readConfig(env, profile, backends), layers: [below] };
  return { config: readConfig(env, undefined, backends), layers: [below, profile] };
}

/**
 * The profile behind the names `test`, `dev`, `local` and `prod`, which differ only in the defaults of variables. It
 * loads the backends that were chosen, and no others; it constructs nothing.
 */
const builtInProfile =
  (backends: Backends): Profile =>
  async (config) => {
    const load = (room: BackendRoom, name: string, settings: BackendSettings = {}): Promise<Backend> =>
      loadBackend(room, name, settings, backends);
    const { registry: registryChoice, broker: brokerChoice } = config;
    // Servers understand every codec, not only the one that clients of this process use. They share most of what they
    // load, and are loaded one after the other.
    const codecs: Backend[] = [];
    for (const name of backendNames('codec', backends)) codecs.push(await load('codec', name));
    const [transport, registry, selector, broker, codec] = await Promise.all([
      load('transport', config.transport, settingsOf(config.transportServer)),
      load('registry', registryChoice.name, settingsOf(registryChoice)),
      load('selector', config.selector, selectorSettings(config)),
      load('broker', brokerChoice.name, settingsOf(brokerChoice)),
      load('codec', config.codec),
    ]);
    return new ContainerModule(({ bind }) => {
      bind(Clock).toConstantValue(systemClock);
      bind(Random).toConstantValue(systemRandom);
      bind(Timers).toConstantValue(systemTimers);
      bind(Logger)
        .toResolvedValue((clock: Clock) => makeLogger(config, clock), [Clock])
        .inSingletonScope();
      const backend = (
        key: symbol,
        { implementation, options }: Backend,
        choice?: BackendChoice,
        settings: BackendSettings = {},
      ): void => {
        const bound = bind<TakesOptions>(key)
          .to(implementation as Newable<TakesOptions>)
          .inSingletonScope();
        const { address, security = {} } = choice ?? {};
        const given = { ...(address !== undefined && { address }), ...security, ...settings };
        // Backends of tenon have these among their options; those of the application get them by `init`.
        if (Object.keys(given).length > 0 && !options)
          bound.onActivation((_context, made) => {
            made.init?.(given);
            return made;
          });
        if (options && !tlsOptionKeys.includes(options.key as symbol) && key !== Selector)
          bind(options.key).toResolvedValue(
            (...seams) => withRuntime(options.value, seams),
            [Clock, Random, Timers, Logger],
          );
      };
      backend(Transport as symbol, transport, config.transportServer);
      backend(Registry as symbol, registry, config.registry);
      backend(Selector as symbol, selector, undefined, selectorSettings(config));
      // Options that no variable sets are not bound: a selector takes the runtime by itself.
      if (selector.options && config.zone !== undefined)
        bind(selector.options.key).toConstantValue(selector.options.value);
      backend(Broker as symbol, broker, config.broker);
      backend(DefaultMarshaler as symbol, codec);
      for (const one of codecs) backend(Marshaler as symbol, one);
      bind(TransportTlsOptions).toConstantValue(config.tls ?? {});
      for (const key of tlsOptionKeys)
        bind(key).toResolvedValue(
          (tls: TransportTlsOptions, ...seams) => {
            checkFields('TransportTlsOptions', tls, sidesFields);
            const { client, server } = tls;
            return withRuntime({ tls: client, serverTls: server === false ? undefined : server }, seams);
          },
          [TransportTlsOptions, Clock, Random, Timers, Logger],
        );
      bind(MessageLimits).toConstantValue(config.messages);
      bind(ClientOptions).toConstantValue(config.client);
      bind(ServerOptions).toConstantValue(config.server);
      bind(ServiceOptions).toConstantValue(config.service);
      bind(Client).to(RpcClient).inSingletonScope();
      bind(Health).to(HealthRegistry).inSingletonScope();
      bind(BackendSummary)
        .toResolvedValue(backendSummaryOf(config.profile), [Transport, DefaultMarshaler, Registry, Selector, Broker])
        .inSingletonScope();
      bind(LeaseKeeper)
        .toResolvedValue(
          (
            bound: Registry,
            clock: Clock,
            random: Random,
            timers: Timers,
            logger: Logger,
            observer?: RegistryObserver,
          ) => new WorkerLeaseKeeper(bound, { clock, random, timers }, logger, observer),
          [Registry, Clock, Random, Timers, Logger, { serviceIdentifier: RegistryObserver, optional: true }],
        )
        .inSingletonScope();
      // Each service of a process has its own server and lifecycle.
      bind(Server).to(RpcServer).inTransientScope();
      bind(ServiceRuntime).to(ManagedService).inTransientScope();
    });
  };

/**
 * The option keys of all transports with TLS. They are made from their names here, as a transport is loaded only when
 * it is bound.
 */
const tlsOptionKeys = ['GrpcTransportOptions', 'GrpcJsTransportOptions', 'TcpTransportOptions'].map(
  (name) => token<object>('transport', name) as symbol,
);

function selectorSettings({ zone }: Config): BackendSettings {
  return zone === undefined ? {} : { zone };
}

interface TakesOptions {
  /** Transports have none. */
  init?(options: BackendSettings): void;
}

/** Adds the clock, random numbers, timers and logger that the application binds to the options of a backend. */
function withRuntime(options: object, [clock, random, timers, logger]: readonly unknown[]): object {
  return { runtime: { clock, random, timers }, logger, ...options };
}

function makeLogger(config: Config, clock: Clock): Logger {
  return config.log.level === 'silent' ? silentLogger : new ConsoleLogger({ ...config.log, clock });
}
