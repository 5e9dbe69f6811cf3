import { existsSync, realpathSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

import { Code, TenonError } from '../../errors/errors.ts';
import { notify } from '../../internal/observers.ts';
import type { Logger } from '../../logger/logger.ts';
import {
  capabilitiesOfRegistry,
  isRegistryCache,
  type Registry,
  type RegistryObserver,
  type RestoredNode,
  type RegistryOptions,
} from '../../registry/registry.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import { systemTimers } from '../../runtime/system.ts';
import type { KeptLease, LeaseEvents, LeaseKeeper, LeaseTerms } from '../../service/lease-keeper.ts';
import type { LeaseWorkerData } from '../lease-worker.ts';
import { backendRow } from './backend-table.ts';
import type { LeaseThread } from './lease-thread.ts';

// A bundle in CommonJS has none.
const here = import.meta.url as string | undefined;

/**
 * The program of the thread, from `dist/chunks/`, where the bundler puts this file. Undefined in a program that tenon
 * was bundled into, where it is not.
 */
function workerFile(): URL | undefined {
  const file = here === undefined ? undefined : new URL('../app/lease-worker.js', here);
  return file && existsSync(file) ? file : undefined;
}

/** True if a module is the program that this process runs: a thread that imports it would run it once more. */
function isProgram(url: string): boolean {
  const [, program] = process.argv;
  if (program === undefined) return false;
  try {
    return pathToFileURL(realpathSync(program)).href === url;
  } catch {
    return false;
  }
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
  #isUnfit = false;

  constructor(registry: Registry, runtime: Runtime, logger: Logger, observer?: RegistryObserver) {
    this.#registry = isRegistryCache(registry) ? registry.origin : registry;
    this.#runtime = runtime;
    this.#logger = logger;
    this.#observer = observer;
  }

  async keep(terms: LeaseTerms, events: LeaseEvents): Promise<KeptLease | undefined> {
    if (this.#isUnfit) return undefined;
    const source = await this.#source();
    if (!source) return undefined;
    const file = workerFile();
    if (!file) {
      // In the tree of tenon, tests run the sources.
      const level = here?.endsWith('.ts') === true ? 'debug' : 'warn';
      return this.#refuse(
        level,
        'the program of that thread is not part of this bundle; leave tenon out of the bundle (external), or set TENON_REGISTER_WORKER=false',
      );
    }
    const thread = (this.#thread ??= this.#start(file, source));
    try {
      return (await thread).keep(terms, events);
    } catch (error) {
      if (this.#thread === thread) this.#thread = undefined;
      const { code, message } = TenonError.from(error);
      if (code !== Code.FailedPrecondition) throw error;
      this.#isUnfit = true;
      return this.#refuse('warn', message);
    }
  }

  async close(): Promise<void> {
    const thread = this.#thread;
    this.#thread = undefined;
    await (await thread?.catch(() => undefined))?.end();
  }

  async #start(file: URL, source: LeaseWorkerData): Promise<LeaseThread> {
    const { LeaseThread } = await import('./lease-thread.ts');
    const tools = {
      runtime: this.#runtime,
      logger: this.#logger,
      onEnd: () => (this.#thread = undefined),
      onRestored: (node: RestoredNode) => this.#observer && notify(this.#observer, 'onRestored', node),
    };
    return LeaseThread.start(file, source, tools);
  }

  /** The bound registry, if another thread can construct it too. */
  async #source(): Promise<LeaseWorkerData | undefined> {
    const registry = this.#registry;
    const name = String(registry);
    if (capabilitiesOfRegistry(registry)?.transferable !== true)
      return this.#refuse('debug', `the ${name} registry cannot be used from another thread`);
    const row = backendRow('registry', name);
    const isOurs = row !== undefined && (await row.load({})).implementation === registry.constructor;
    const module = isOurs ? undefined : moduleOf(registry);
    if (!isOurs && !module)
      return this.#refuse('info', `the ${name} registry is the application's own, and names no module of its class`);
    if (module && isProgram(module.url))
      return this.#refuse(
        'warn',
        `the module of the ${name} registry is the program itself: give it a file of its own`,
      );
    const {
      runtime: _runtime,
      logger: _logger,
      ...options
    } = registry.options as RegistryOptions & Record<string, unknown>;
    if (!isCloneable(options))
      return this.#refuse('info', `the options of the ${name} registry hold objects that cannot be copied`);
    if (this.#runtime.timers !== systemTimers) return this.#refuse('debug', 'the application has timers of its own');
    return { registry: name, options, module };
  }

  #refuse(level: 'debug' | 'info' | 'warn', why: string): undefined {
    if (!this.#hasTold) this.#logger[level](`leases are renewed by the main thread, and end while it is busy: ${why}`);
    this.#hasTold = true;
  }
}

/** The module of a registry of the application, if its own class names one: not that of a class that it extends. */
function moduleOf(registry: Registry): LeaseWorkerData['module'] {
  const { constructor } = registry;
  const url = Object.hasOwn(constructor, 'capabilities') ? capabilitiesOfRegistry(registry)?.module : undefined;
  return url === undefined ? undefined : { url, className: constructor.name };
}

function isCloneable(value: unknown): boolean {
  try {
    structuredClone(value);
    return true;
  } catch {
    return false;
  }
}
