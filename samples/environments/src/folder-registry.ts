import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { inject, injectable } from 'inversify';
import { Clock, Code, Random, TenonError, Timers } from 'tenon';
import {
  type RegisterOptions,
  type Registry,
  type RegistryCallOptions,
  type RegistryCapabilities,
  type RegistryOptions,
  serviceNotFound,
  type ServiceRecord,
  type Watcher,
  type WatchOptions,
} from 'tenon/registry';

import { changesBetween, FolderWatcher } from './folder-watcher.ts';

/** Container key of the folder that every machine of the environment can reach. */
export const RegistryFolder = Symbol.for('environments.RegistryFolder');

const defaults = { ttlMs: 30_000, timeoutMs: 5_000, pollMs: 100 } as const;

/** What stands in the file of a node. */
interface Entry {
  /** The service with this node alone. */
  readonly record: ServiceRecord;
  readonly expiresAt: number;
}

/**
 * A registry of one's own: a folder that all machines share, with a file per node. It needs no server; it is as good as the
 * folder and the clocks of the machines.
 */
@injectable()
export class FolderRegistry implements Registry {
  static readonly capabilities: RegistryCapabilities = { expires: true, shared: true, watches: true };

  #options: RegistryOptions;
  #state: 'new' | 'used' | 'closed' = 'new';
  readonly #watchers = new Set<FolderWatcher>();

  constructor(
    @inject(RegistryFolder) folder: string,
    @inject(Clock) private readonly clock: Clock,
    @inject(Timers) private readonly timers: Timers,
    @inject(Random) private readonly random: Random,
  ) {
    this.#options = { address: folder, ttlMs: defaults.ttlMs, timeoutMs: defaults.timeoutMs };
  }

  get options(): RegistryOptions {
    return this.#options;
  }

  init(options: RegistryOptions): void {
    if (this.#state !== 'new')
      throw failed('registry.started', 'the folder registry has been used: change its options before');
    this.#options = { ...this.#options, ...options };
  }

  async register(service: ServiceRecord, options: RegisterOptions = {}): Promise<void> {
    checkRecord(service);
    await this.#call(options, async (folder) => {
      await mkdir(folder, { recursive: true });
      const expiresAt = this.clock.now() + (options.ttlMs ?? this.#options.ttlMs ?? defaults.ttlMs);
      for (const node of service.nodes) {
        const entry: Entry = { record: { ...service, nodes: [node] }, expiresAt };
        // Written aside and moved into place: no one ever reads half of it.
        const draft = join(folder, `${this.random.uuid()}.draft`);
        await writeFile(draft, JSON.stringify(entry));
        await rename(draft, join(folder, fileName(service, node.id)));
      }
    });
  }

  async deregister(service: ServiceRecord, options: RegistryCallOptions = {}): Promise<void> {
    await this.#call(options, async (folder) => {
      for (const node of service.nodes) await rm(join(folder, fileName(service, node.id)), { force: true });
    });
  }

  async getService(name: string, options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const found = (await this.#call(options, (folder) => this.#read(folder))).filter((record) => record.name === name);
    if (found.length === 0) throw serviceNotFound('folder', name);
    return mergeBy(found, (record) => record.version);
  }

  async listServices(options: RegistryCallOptions = {}): Promise<readonly ServiceRecord[]> {
    const records = await this.#call(options, (folder) => this.#read(folder));
    return mergeBy(records, (record) => JSON.stringify([record.name, record.version])).sort((a, b) =>
      a.name < b.name ? -1 : 1,
    );
  }

  async watch({ service, signal }: WatchOptions = {}): Promise<Watcher> {
    const read = async (): Promise<readonly ServiceRecord[]> => {
      const records = await this.#call({}, (folder) => this.#read(folder));
      return service === undefined ? records : records.filter((record) => record.name === service);
    };
    let known = await read();
    const watcher = new FolderWatcher(() => {
      polling.cancel();
      this.#watchers.delete(watcher);
    });
    let isReading = false;
    const poll = async (): Promise<void> => {
      if (isReading) return;
      isReading = true;
      try {
        const current = await read();
        for (const change of changesBetween(known, current)) watcher.push(change);
        known = current;
      } catch (error) {
        watcher.fail(error);
      } finally {
        isReading = false;
      }
    };
    // Looking again and again works on every shared disk; notifications of the file system stay on the machine that wrote.
    const polling = this.timers.every(defaults.pollMs, () => void poll());
    this.#watchers.add(watcher);
    if (signal?.aborted === true) watcher.stop();
    signal?.addEventListener('abort', () => watcher.stop(), { once: true });
    return watcher;
  }

  async close(): Promise<void> {
    this.#state = 'closed';
    for (const watcher of this.#watchers) watcher.stop();
  }

  toString(): string {
    return 'folder';
  }

  /** One record per file that has not expired, each with one node. */
  async #read(folder: string): Promise<ServiceRecord[]> {
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    const now = this.clock.now();
    const entries = await Promise.all(
      names
        .filter((name) => name.endsWith('.json'))
        .map(async (name) => {
          const text = await readFile(join(folder, name), 'utf8').catch(() => undefined);
          return text === undefined ? undefined : (JSON.parse(text) as Entry);
        }),
    );
    return entries
      .filter((entry) => entry !== undefined && entry.expiresAt > now)
      .map((entry) => (entry as Entry).record);
  }

  /** Runs one operation within its bounds, and speaks of failures as the contract does. */
  async #call<T>(options: RegistryCallOptions, operation: (folder: string) => Promise<T>): Promise<T> {
    if (this.#state === 'closed') throw failed('registry.closed', 'the folder registry is closed');
    this.#state = 'used';
    const folder = this.#options.address ?? '';
    const bounds = new AbortController();
    const timeoutMs = options.timeoutMs ?? this.#options.timeoutMs ?? defaults.timeoutMs;
    const timer = this.timers.after(timeoutMs, () =>
      bounds.abort(
        new TenonError({
          code: Code.DeadlineExceeded,
          reason: 'registry.timeout',
          message: `the folder ${folder} did not answer within ${timeoutMs} ms`,
        }),
      ),
    );
    const onAbort = (): void => bounds.abort(cancelled(options.signal?.reason));
    if (options.signal?.aborted === true) onAbort();
    options.signal?.addEventListener('abort', onAbort, { once: true });
    try {
      bounds.signal.throwIfAborted();
      const givenUp = new Promise<never>((_, reject) => {
        bounds.signal.addEventListener('abort', () => reject(bounds.signal.reason as Error), { once: true });
      });
      return await Promise.race([operation(folder), givenUp]);
    } catch (error) {
      if (TenonError.is(error)) throw error;
      const text = error instanceof Error ? error.message : String(error);
      throw new TenonError({
        code: Code.Unavailable,
        reason: 'registry.unreachable',
        message: `the folder registry cannot use ${folder}: ${text}`,
        cause: error,
      });
    } finally {
      timer.cancel();
      options.signal?.removeEventListener('abort', onAbort);
    }
  }
}

function checkRecord(service: ServiceRecord): void {
  if (service.name !== '' && service.nodes.length > 0) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'registry.invalid_service',
    message: `a service needs a name and at least one node; "${service.name}" has ${service.nodes.length}`,
  });
}

function fileName(service: ServiceRecord, nodeId: string): string {
  return `${[service.name, nodeId].map(encodeURIComponent).join('+')}.json`;
}

/** Records of one key as one, with the nodes of all. */
function mergeBy(records: readonly ServiceRecord[], key: (record: ServiceRecord) => string): ServiceRecord[] {
  const merged = new Map<string, ServiceRecord>();
  for (const record of records) {
    const before = merged.get(key(record));
    merged.set(key(record), before ? { ...before, nodes: [...before.nodes, ...record.nodes] } : record);
  }
  return [...merged.values()];
}

function failed(reason: string, message: string): TenonError {
  return new TenonError({ code: Code.FailedPrecondition, reason, message });
}

function cancelled(cause: unknown): TenonError {
  return new TenonError({ code: Code.Cancelled, reason: 'call.cancelled', message: 'the call was cancelled', cause });
}
