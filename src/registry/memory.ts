import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { AsyncQueue } from '../internal/async-queue.ts';
import { token } from '../internal/token.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { Code, TenonError } from '../errors/errors.ts';
import {
  type NodeRecord,
  type RegisterOptions,
  type Registry,
  type RegistryAction,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryEvent,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from './registry.ts';

/** How a {@link MemoryRegistry} works. */
export interface MemoryRegistryOptions extends RegistryOptions {
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}
/** Container key of the {@link MemoryRegistryOptions}. */
export const MemoryRegistryOptions: ServiceIdentifier<MemoryRegistryOptions> = token(
  'registry',
  'MemoryRegistryOptions',
);

const defaults = { ttlMs: 30_000 } as const;
const maxLag = 1_024;

interface Entry {
  readonly service: ServiceRecord;
  readonly node: NodeRecord;
  expiresAt: number;
}

/** Announcements inside one process: the instance is the registry. */
@injectable()
export class MemoryRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: false, watches: true };

  readonly #runtime: Pick<Runtime, 'clock' | 'timers'>;
  readonly #entries = new Map<string, Map<string, Entry>>();
  readonly #watchers = new Set<MemoryWatcher>();
  #options: RegistryOptions;
  #isUsed = false;
  #isClosed = false;
  #expiry: Timer | undefined;

  constructor(@inject(MemoryRegistryOptions) @optional() options: MemoryRegistryOptions = {}) {
    const { runtime = systemRuntime, ...rest } = options;
    this.#runtime = runtime;
    this.#options = { ...defaults, ...rest };
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#isUsed) {
      throw new TenonError({
        code: Code.FailedPrecondition,
        reason: 'registry.started',
        message: 'the memory registry is in use: give its options before the first call',
      });
    }
    this.#options = { ...this.#options, ...options };
  }

  async register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    this.#begin(options);
    if (service.name === '' || service.nodes.length === 0) {
      throw new TenonError({
        code: Code.InvalidArgument,
        reason: 'registry.invalid_service',
        message: `service "${service.name}" cannot be registered: it needs a name and at least one node`,
      });
    }
    const expiresAt = this.#runtime.clock.now() + (options.ttlMs ?? this.#options.ttlMs ?? defaults.ttlMs);
    for (const node of service.nodes) {
      const nodes = this.#entries.get(service.name) ?? new Map<string, Entry>();
      this.#entries.set(service.name, nodes);
      const before = nodes.get(node.id);
      nodes.set(node.id, { service, node, expiresAt });
      const isRenewal = before && sameRecord(before, { service, node });
      if (!isRenewal) this.#tell(before ? 'update' : 'create', service, node);
    }
    this.#arm();
  }

  async deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    this.#begin(options);
    for (const node of service.nodes) this.#drop(service.name, node.id);
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    this.#begin(options);
    this.#expire();
    const records = byVersion([...(this.#entries.get(name)?.values() ?? [])]);
    if (records.length === 0) throw serviceNotFound('memory', name);
    return records;
  }

  async listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    this.#begin(options);
    this.#expire();
    return [...this.#entries.values()]
      .flatMap((nodes) => byVersion([...nodes.values()]))
      .sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async watch(options: WatchOptions = {}): Promise<Watcher> {
    this.#begin({});
    const watcher = new MemoryWatcher(options, () => this.#watchers.delete(watcher));
    this.#watchers.add(watcher);
    return watcher;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#expiry?.cancel();
    for (const watcher of [...this.#watchers]) watcher.stop();
  }

  toString(): string {
    return 'memory';
  }

  #begin({ signal }: RegistryCallOptions): void {
    this.#isUsed = true;
    if (this.#isClosed) {
      throw new TenonError({
        code: Code.FailedPrecondition,
        reason: 'registry.closed',
        message: 'the memory registry is closed',
      });
    }
    if (signal?.aborted) {
      throw new TenonError({
        code: Code.Cancelled,
        reason: 'call.cancelled',
        message: 'the call to the memory registry was cancelled',
        cause: signal.reason,
      });
    }
  }

  #drop(name: string, id: string): void {
    const nodes = this.#entries.get(name);
    const entry = nodes?.get(id);
    if (!nodes || !entry) return;
    nodes.delete(id);
    if (nodes.size === 0) this.#entries.delete(name);
    this.#tell('delete', entry.service, entry.node);
  }

  #expire(): void {
    const now = this.#runtime.clock.now();
    for (const [name, nodes] of this.#entries) {
      for (const [id, entry] of nodes) if (entry.expiresAt <= now) this.#drop(name, id);
    }
  }

  /** One timer, for the next lease to lapse. */
  #arm(): void {
    this.#expiry?.cancel();
    const times = [...this.#entries.values()].flatMap((nodes) => [...nodes.values()].map((entry) => entry.expiresAt));
    if (times.length === 0) return;
    this.#expiry = this.#runtime.timers.after(Math.min(...times) - this.#runtime.clock.now(), () => {
      this.#expire();
      this.#arm();
    });
  }

  #tell(action: RegistryAction, service: ServiceRecord, node: NodeRecord): void {
    for (const watcher of this.#watchers) watcher.push({ action, service: { ...service, nodes: [node] } });
  }
}

class MemoryWatcher implements Watcher {
  readonly #queue = new AsyncQueue<RegistryEvent>({ limit: maxLag, onReturn: () => this.stop() });
  readonly #service: string | undefined;
  readonly #onStop: () => void;

  constructor({ service, signal }: WatchOptions, onStop: () => void) {
    this.#service = service;
    this.#onStop = onStop;
    if (signal?.aborted) this.stop();
    signal?.addEventListener('abort', () => this.stop(), { once: true });
  }

  push(event: RegistryEvent): void {
    if (this.#service !== undefined && event.service.name !== this.#service) return;
    if (this.#queue.hasRoom) {
      this.#queue.push(event);
      return;
    }
    this.#queue.fail(
      new TenonError({
        code: Code.Unavailable,
        reason: 'registry.watch_lost',
        message: 'the reader of this watch lags too far behind: read the registry again',
      }),
    );
    this.#onStop();
  }

  stop(): void {
    this.#queue.end();
    this.#onStop();
  }

  [Symbol.asyncIterator](): AsyncIterator<RegistryEvent> {
    return this.#queue;
  }
}

function sameRecord(
  a: { service: ServiceRecord; node: NodeRecord },
  b: { service: ServiceRecord; node: NodeRecord },
): boolean {
  return JSON.stringify([a.service, a.node]) === JSON.stringify([b.service, b.node]);
}

function byVersion(entries: readonly Entry[]): readonly ServiceRecord[] {
  const versions = new Map<string, ServiceRecord & { nodes: NodeRecord[] }>();
  for (const { service, node } of entries) {
    const known = versions.get(service.version);
    if (known) known.nodes.push(node);
    else versions.set(service.version, { ...service, nodes: [node] });
  }
  return [...versions.values()];
}
