import { existsSync } from 'node:fs';

import { notify } from '../../internal/observers.ts';
import type { Logger } from '../../logger/logger.ts';
import {
  capabilitiesOfRegistry,
  isRegistryCache,
  type Registry,
  type RegistryObserver,
  type RegistryOptions,
} from '../../registry/registry.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { KeptLease, LeaseEvents, LeaseKeeper, LeaseTerms } from '../../service/lease-keeper.ts';
import { backendRow } from './backend-table.ts';
import type { LeaseThread } from './lease-thread.ts';

/** A registry that another thread can construct. */
interface RegistrySource {
  readonly name: string;
  readonly options: RegistryOptions;
}

/**
 * The program of the thread, from `dist/chunks/`, where the bundler puts this file. Undefined in a program that tenon
 * was bundled into: it is not there, and a bundle in CommonJS has no `import.meta.url`.
 */
function workerFile(): URL | undefined {
  const here = import.meta.url as string | undefined;
  const file = here === undefined ? undefined : new URL('../app/lease-worker.js', here);
  return file && existsSync(file) ? file : undefined;
}

/**
 * Renews leases in a worker thread, by a registry of its own: one of tenon's, with the options in force. The thread is
 * started with the first lease and ends with the last.
 */
export class WorkerLeaseKeeper implements LeaseKeeper {
  readonly #registry: Registry;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #observer: RegistryObserver | undefined;
  #thread: Promise<LeaseThread> | undefined;
  #hasTold = false;

  constructor(registry: Registry, runtime: Runtime, logger: Logger, observer?: RegistryObserver) {
    this.#registry = isRegistryCache(registry) ? registry.origin : registry;
    this.#runtime = runtime;
    this.#logger = logger;
    this.#observer = observer;
  }

  async keep(terms: LeaseTerms, events: LeaseEvents): Promise<KeptLease | undefined> {
    const source = await this.#source();
    if (!source) return undefined;
    const file = workerFile();
    if (!file) return this.#refuse('debug', 'the program of that thread is not installed');
    const thread = (this.#thread ??= this.#start(file, source, terms.busyAfterMs));
    try {
      return (await thread).keep(terms, events);
    } catch (error) {
      if (this.#thread === thread) this.#thread = undefined;
      throw error;
    }
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await (await thread?.catch(() => undefined))?.end();
  }

  async #start(file: URL, { name, options }: RegistrySource, busyAfterMs: number): Promise<LeaseThread> {
    const { LeaseThread } = await import('./lease-thread.ts');
    const thread: LeaseThread = await LeaseThread.start(
      file,
      { registry: name, options },
      {
        runtime: this.#runtime,
        logger: this.#logger,
        busyAfterMs,
        onEnd: () => (this.#thread = undefined),
        onRestored: (node) => this.#observer && notify(this.#observer, 'onRestored', node),
      },
    );
    return thread;
  }

  /** The bound registry, if another thread can construct it too. */
  async #source(): Promise<RegistrySource | undefined> {
    const registry = this.#registry;
    const name = String(registry);
    if (capabilitiesOfRegistry(registry)?.transferable !== true)
      return this.#refuse('debug', `the ${name} registry cannot be used from another thread`);
    const row = backendRow('registry', name);
    const isOurs = row !== undefined && (await row.load({})).implementation === registry.constructor;
    if (!isOurs) return this.#refuse('info', `the ${name} registry is the application's own`);
    const {
      runtime: _runtime,
      logger: _logger,
      ...options
    } = registry.options as RegistryOptions & Record<string, unknown>;
    if (!isCloneable(options))
      return this.#refuse('info', `the options of the ${name} registry hold objects that cannot be copied`);
    if (this.#runtime.timers !== systemTimers) return this.#refuse('debug', 'the application has timers of its own');
    return { name, options };
  }

  #refuse(level: 'debug' | 'info', why: string): undefined {
    if (!this.#hasTold) this.#logger[level](`leases are renewed by the main thread, and end while it is busy: ${why}`);
    this.#hasTold = true;
  }
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
