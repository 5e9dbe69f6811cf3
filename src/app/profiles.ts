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
import { Registry } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemClock, systemRandom, systemTimers } from '../runtime/system.ts';
import { Selector } from '../selector/selector.ts';
import { RpcServer } from '../server/rpc-server.ts';
import { Server, ServerOptions } from '../server/server.ts';
import { ManagedService } from '../service/managed-service.ts';
import { ServiceOptions, ServiceRuntime, BackendSummary } from '../service/service.ts';
import { backendSummaryOf } from './internal/backend-summary.ts';
import { TransportTlsOptions } from '../transport/tls.ts';
import { Transport } from '../transport/transport.ts';
import { backendNames, type Backends, loadBackend } from './backends.ts';
import { type Config, readConfig, settingsOf } from './config.ts';
import type { Backend, BackendRoom, BackendSettings } from './internal/backend-table.ts';

/**
 * What an application runs on: from the configuration to a module of bindings. A function given as `profile` is loaded
 * over what the environment says, so it binds only what it wants otherwise. The environment itself comes second, for
 * variables of the application's own.
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

/** The configuration, and the modules in the order they are to be loaded. */
export interface ResolvedProfile {
  readonly config: Config;
  readonly layers: readonly Profile[];
}

/**
 * What is meant by a profile: a name is one of the built-in ones, a function comes over what the environment names,
 * nothing is what the environment names. Throws INVALID_ARGUMENT (`config.invalid`), as `readConfig` does, and for a
 * name that none has.
 */
export function resolveProfile(
  profile: string | Profile | undefined,
  env: Readonly<Record<string, string | undefined>>,
  backends: Backends = {},
): ResolvedProfile {
  const below = builtInWith(backends);
  if (typeof profile !== 'function') return { config: readConfig(env, profile, backends), layers: [below] };
  return { config: readConfig(env, undefined, backends), layers: [below, profile] };
}

/**
 * The built-in profiles `test`, `dev`, `local` and `prod`: they differ in what the configuration falls back to where
 * the environment is silent, and in nothing else. Loads the implementations that were chosen, and no others; constructs
 * nothing.
 */
const builtInWith =
  (backends: Backends): Profile =>
  async (config) => {
    const load = (room: BackendRoom, name: string, settings: BackendSettings = {}): Promise<Backend> =>
      loadBackend(room, name, settings, backends);
    const { registry: registryChoice, broker: brokerChoice } = config;
    const [transport, registry, selector, broker, codec, ...codecs] = await Promise.all([
      load('transport', config.transport),
      load('registry', registryChoice.name, settingsOf(registryChoice)),
      load('selector', config.selector),
      load('broker', brokerChoice.name, settingsOf(brokerChoice)),
      load('codec', config.codec),
      // A server understands every codec, whatever its own clients prefer.
      ...backendNames('codec', backends).map((name) => load('codec', name)),
    ]);
    return new ContainerModule(({ bind }) => {
      bind(Clock).toConstantValue(systemClock);
      bind(Random).toConstantValue(systemRandom);
      bind(Timers).toConstantValue(systemTimers);
      bind(Logger)
        .toResolvedValue((clock: Clock) => makeLogger(config, clock), [Clock])
        .inSingletonScope();
      const backend = (key: symbol, { implementation, options }: Backend, address?: string): void => {
        const bound = bind<Addressed>(key)
          .to(implementation as Newable<Addressed>)
          .inSingletonScope();
        // One of tenon's own has it among its options.
        if (address !== undefined && !options)
          bound.onActivation((_context, made) => {
            made.init({ address });
            return made;
          });
        if (options && !tlsKeys.includes(options.key as symbol))
          bind(options.key).toResolvedValue(
            (...seams) => withSeams(options.value, seams),
            [Clock, Random, Timers, Logger],
          );
      };
      backend(Transport as symbol, transport);
      backend(Registry as symbol, registry, config.registry.address);
      backend(Selector as symbol, selector);
      backend(Broker as symbol, broker, config.broker.address);
      backend(DefaultMarshaler as symbol, codec);
      for (const one of codecs) backend(Marshaler as symbol, one);
      bind(TransportTlsOptions).toConstantValue(config.tls ?? {});
      for (const key of tlsKeys)
        bind(key).toResolvedValue(
          ({ client, server }: TransportTlsOptions, ...seams) =>
            withSeams({ tls: client, serverTls: server === false ? undefined : server }, seams),
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
      // Every service of a process has a server and a life of its own.
      bind(Server).to(RpcServer).inTransientScope();
      bind(ServiceRuntime).to(ManagedService).inTransientScope();
    });
  };

/**
 * The options of transports that speak TLS, whichever of them is bound in the end. Named here, as nothing of them is
 * loaded before it is bound.
 */
const tlsKeys = ['GrpcTransportOptions', 'GrpcJsTransportOptions', 'TcpTransportOptions'].map(
  (name) => token<object>('transport', name) as symbol,
);

interface Addressed {
  init(options: { readonly address: string }): void;
}

/** Backends take time, chance and log from their options; what is bound for the application is bound for them. */
function withSeams(options: object, [clock, random, timers, logger]: readonly unknown[]): object {
  return { runtime: { clock, random, timers }, logger, ...options };
}

function makeLogger(config: Config, clock: Clock): Logger {
  return config.log.level === 'silent' ? silentLogger : new ConsoleLogger({ ...config.log, clock });
}
