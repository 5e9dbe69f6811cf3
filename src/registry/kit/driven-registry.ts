import { checkedOptions, type NumberRule } from '../../errors/checked-options.ts';
import { TenonError } from '../../errors/errors.ts';
import { withDefaults } from '../../internal/defaults.ts';
import { silentLogger } from '../../logger/logger.ts';
import { systemRuntime } from '../../runtime/system.ts';
import { ConnectionSecurity, untakenSecurity } from '../../tls/connection.ts';
import {
  type RegisterOptions,
  type Registry,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryObserver,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from '../registry.ts';
import { isTimeout } from './address-list.ts';
import { boundedCall } from './bounded-call.ts';
import type { DriverCall, DriverTools, LeasedNode, RegistryDriver, Snapshot } from './driver.ts';
import {
  callCancelled,
  callTimedOut,
  ChannelCallError,
  registryClosed,
  registryReadOnly,
  registryStarted,
  registryTakesNot,
  serverFailed,
} from './errors.ts';
import { nodeKey } from './node-table.ts';
import { RegistryObservers } from './observers.ts';
import { assertRegistrable, byVersion, leaseOf } from './records.ts';
import { RegistryWatch } from './registry-watch.ts';

/** Options in force, with a value for those that every registry needs. */
export interface DriverSettings extends RegistryOptions {
  readonly timeoutMs: number;
  readonly ttlMs: number;
}

/** Describes a backend to its {@link DrivenRegistry}. */
export interface RegistrySpec<Settings extends DriverSettings> {
  /** The name under which the registry is bound. */
  readonly name: string;
  readonly capabilities: RegistryCapabilities;
  /** The name of its options, for messages: `RedisRegistryOptions`. */
  readonly optionsName: string;
  /** Default values of options. @default timeoutMs 5_000, ttlMs 30_000 */
  readonly defaults?: object | undefined;
  /** Ranges of numeric options, where the unit in the option's name does not imply one. */
  readonly rules?: { readonly [K in keyof Settings]?: NumberRule } | undefined;
  /** Throws for invalid options. Called with the options of the constructor, and with those of `init`. */
  check?(settings: Settings): void;
  /** Makes the driver, at the first call of the registry. */
  open(settings: Settings, tools: DriverTools): RegistryDriver;
}

const defaults = { timeoutMs: 5_000, ttlMs: 30_000 } as const;
// Defaults of `DriverBounds`: a driver with `watch` is read seldom, one without it is polled.
const minReadMs = 100;
const maxReadMs = 30_000;
const pollMs = 1_000;

/**
 * Implements `Registry` over a driver. It does what is the same for every server: options that are fixed at the first
 * call, time-outs and cancellation, validation of records, leases rounded to what the server stores, grouping by
 * version, watches by events or by polling, and the errors of the contract.
 */
export abstract class DrivenRegistry<Settings extends DriverSettings> implements Registry {
  readonly capabilities: RegistryCapabilities;
  /** Private without `#`, so that an object whose prototype is this one can read it. */
  private readonly name: string;
  readonly #spec: RegistrySpec<Settings>;
  /** As `name`. */
  private readonly observers: RegistryObservers;
  readonly #tools: Omit<DriverTools, 'security'> & { readonly observers: RegistryObservers };
  readonly #watches = new Set<RegistryWatch>();
  /** Keys of the nodes that were announced here. */
  readonly #announced = new Set<string>();
  #settings: Settings;
  #driver: RegistryDriver | undefined;
  #security: ConnectionSecurity | undefined;
  #isClosed = false;

  protected constructor(
    spec: RegistrySpec<Settings>,
    options: RegistryOptions,
    { clock, random, timers, logger }: { readonly [K in keyof DriverTools]?: DriverTools[K] | undefined } = {},
  ) {
    this.name = spec.name;
    this.capabilities = spec.capabilities;
    this.#spec = spec;
    this.observers = new RegistryObservers(logger ?? silentLogger);
    this.#tools = {
      clock: clock ?? systemRuntime.clock,
      random: random ?? systemRuntime.random,
      timers: timers ?? systemRuntime.timers,
      logger: logger ?? silentLogger,
      observers: this.observers,
    };
    this.#settings = this.#settingsOf({ ...defaults, ...spec.defaults }, options);
  }

  get options(): RegistryOptions {
    return this.#settings;
  }

  init(options: RegistryOptions): void {
    if (this.#driver || this.#isClosed) throw registryStarted(this.#spec.name);
    this.#settings = this.#settingsOf(this.#settings, options);
    this.#security = undefined;
  }

  register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    return this.#call('register', options, async (driver, call) => {
      const { name, capabilities } = this.#spec;
      if (!driver.announce) throw registryReadOnly(name, call.method);
      assertRegistrable(service, driver.bounds?.maxRecordBytes);
      const ttlMs = leaseOf(options.ttlMs ?? this.#settings.ttlMs, capabilities);
      const announced = service.nodes.map(async (node) => {
        const outcome = await driver.announce?.({ service: { ...service, nodes: [node] }, node, ttlMs }, call);
        this.#noteAnnounced(service.name, node.id, outcome === 'created');
      });
      await Promise.all(announced);
    });
  }

  deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    return this.#call('deregister', options, async (driver, call) => {
      if (!driver.withdraw) throw registryReadOnly(this.#spec.name, call.method);
      for (const { id } of service.nodes) this.#announced.delete(nodeKey(service.name, id));
      await Promise.all(service.nodes.map(async ({ id }) => driver.withdraw?.(service.name, id, call)));
    });
  }

  async release({ name, nodes }: ServiceRecord): Promise<void> {
    for (const { id } of nodes) this.#announced.delete(nodeKey(name, id));
    await Promise.all(nodes.map(async ({ id }) => this.#driver?.release?.(name, id)));
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const { nodes } = await this.#call('getService', options, async (driver, call) => driver.read(name, call));
    const found = recordsOf(nodes).filter((service) => service.name === name);
    if (found.length === 0) throw serviceNotFound(this.#spec.name, name);
    return byVersion(found);
  }

  listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    return this.#call('listServices', options, async (driver, call) => {
      const names = await driver.names?.(call);
      if (names && driver.listsNames) {
        return names.map((name) => ({ name, version: '', metadata: {}, endpoints: [], nodes: [] }));
      }
      const read = await Promise.all((names ?? [undefined]).map(async (name) => driver.read(name, call)));
      return byName(read).flatMap(byVersion);
    });
  }

  watch(options: WatchOptions = {}): Promise<Watcher> {
    return this.#call('watch', { signal: options.signal }, async (driver, call) => {
      const ended = new AbortController();
      const watch = new RegistryWatch(options, this.#watchTools(driver), (stopped) => {
        this.#watches.delete(stopped);
        ended.abort();
      });
      const { watcher } = watch;
      const stop = (): void => watcher.stop();
      call.signal.addEventListener('abort', stop, { once: true });
      this.#watches.add(watch);
      try {
        await driver.watch?.(watch, ended.signal, call);
        await watch.start();
      } catch (error) {
        watcher.stop();
        throw error;
      } finally {
        call.signal.removeEventListener('abort', stop);
      }
      return watcher;
    });
  }

  observe(observer: RegistryObserver): void {
    this.observers.add(observer);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const { watcher } of this.#watches) watcher.stop();
    await this.#driver?.close?.();
    this.#security?.close();
  }

  toString(): string {
    return this.name;
  }

  async #call<T>(
    method: string,
    options: RegistryCallOptions,
    work: (driver: RegistryDriver, call: DriverCall) => Promise<T>,
    isInitialRead = false,
  ): Promise<T> {
    const { name: registry } = this.#spec;
    if (this.#isClosed) throw registryClosed(registry);
    if (options.signal?.aborted) throw callCancelled(registry, options.signal.reason);
    const driver = (this.#driver ??= this.#open());
    const { server } = driver;
    const { timers } = this.#tools;
    const timeoutMs = options.timeoutMs ?? this.#settings.timeoutMs;
    return boundedCall({ registry, method, server, timers, timeoutMs, signal: options.signal }, async (signal) => {
      try {
        return await work(driver, { method, signal, timeoutMs, isInitialRead });
      } catch (error) {
        if (this.#isClosed) throw registryClosed(registry);
        if (TenonError.is(error) && !(error instanceof ChannelCallError)) throw error;
        if (isTimeout(error)) throw callTimedOut({ registry, method, server }, timeoutMs);
        throw serverFailed({ registry, method, server }, driver.failure(error), error);
      }
    });
  }

  /** Files that cannot be used are read again by the next call. */
  #open(): RegistryDriver {
    const { name } = this.#spec;
    const { clock, timers, logger } = this.#tools;
    const owner = { name: `the ${name} registry`, variables: 'TENON_REGISTRY_' };
    const security = (this.#security ??= new ConnectionSecurity(this.#settings, owner, {
      runtime: { clock, timers },
      logger,
    }));
    try {
      return this.#spec.open(this.#settings, { ...this.#tools, security });
    } catch (error) {
      security.close();
      throw error;
    }
  }

  #noteAnnounced(service: string, id: string, isNew: boolean): void {
    const key = nodeKey(service, id);
    if (isNew && this.#announced.has(key))
      this.#tools.observers.tell('onRestored', { registry: this.#spec.name, service, node: id });
    this.#announced.add(key);
  }

  #watchTools(driver: RegistryDriver): ConstructorParameters<typeof RegistryWatch>[1] {
    const { clock, timers, observers } = this.#tools;
    return {
      clock,
      timers,
      server: driver.server,
      onResumed: (service) => observers.tell('onWatchResumed', { registry: this.#spec.name, service }),
      minReadMs: driver.bounds?.minReadMs ?? minReadMs,
      maxReadMs: driver.bounds?.maxReadMs ?? (driver.watch ? maxReadMs : pollMs),
      read: (service, isInitialRead) =>
        this.#call('watch', {}, async (_, call) => driver.read(service, call), isInitialRead),
      ...(driver.names && { names: () => this.#call('watch', {}, async (_, call) => driver.names?.(call) ?? []) }),
      ...(driver.hasRoom && { hasRoom: (count: number) => driver.hasRoom?.(count) ?? true }),
    };
  }

  #settingsOf(base: object, options: RegistryOptions): Settings {
    const { name, optionsName, rules = {}, capabilities } = this.#spec;
    const settings = withDefaults(base, checkedOptions<object>(optionsName, options, rules)) as Settings;
    const untaken = untakenSecurity(settings, capabilities);
    if (untaken.length > 0) throw registryTakesNot(name, untaken);
    this.#spec.check?.(settings);
    return settings;
  }
}

/** The records of nodes whose lease has not ended. */
function recordsOf(nodes: readonly LeasedNode[]): readonly ServiceRecord[] {
  return nodes.filter(({ hasLapsed }) => hasLapsed !== true).map(({ service }) => service);
}

/** Groups the records of snapshots by service, ordered by name. */
function byName(snapshots: readonly Snapshot[]): readonly ServiceRecord[][] {
  const services = new Map<string, ServiceRecord[]>();
  for (const service of snapshots.flatMap(({ nodes }) => recordsOf(nodes))) {
    const known = services.get(service.name);
    if (known) known.push(service);
    else services.set(service.name, [service]);
  }
  return [...services].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, records]) => records);
}
