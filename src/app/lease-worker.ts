import { parentPort, workerData } from 'node:worker_threads';

import { Container, type Newable } from 'inversify';

import { textOf } from '../errors/errors.ts';
import { Logger } from '../logger/logger.ts';
import type { Registry, RegistryOptions } from '../registry/registry.ts';
import { Clock, Random, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import type { LeaseReport, LeaseRequest } from '../service/internal/lease-messages.ts';
import { LeaseTender } from '../service/internal/lease-tender.ts';
import { loadBackend } from './backends.ts';
import { ReportingLogger } from './internal/reporting-logger.ts';

/** The data that the thread is started with. */
export interface LeaseWorkerData {
  /** The name of the registry: one of tenon's, unless there is a `module`. */
  readonly registry: string;
  /** Its options in force. */
  readonly options: RegistryOptions;
  /** Where the class of an application's own registry is exported. */
  readonly module?: { readonly url: string; readonly className: string } | undefined;
}

/** Runs in a thread of its own: renews leases for the main thread, by a registry of its own. */
async function renewLeases(data: LeaseWorkerData): Promise<void> {
  const post = (report: LeaseReport): void => parentPort?.postMessage(report);
  const logger = new ReportingLogger(post);
  const container = new Container();
  container.bind(Clock).toConstantValue(systemRuntime.clock);
  container.bind(Random).toConstantValue(systemRuntime.random);
  container.bind(Timers).toConstantValue(systemRuntime.timers);
  container.bind(Logger).toConstantValue(logger);
  let registry: Registry;
  try {
    registry = await (data.module ? ownRegistry(container, data, data.module) : tenonsRegistry(container, data));
  } catch (error) {
    if (!data.module) throw error;
    return post({ kind: 'unfit', why: `its registry cannot be made there: ${textOf(error)}` });
  }
  registry.observe?.({ onRestored: (node) => post({ kind: 'restored', node }) });
  const tender = new LeaseTender({ registry, runtime: systemRuntime, logger, post });
  parentPort?.on('message', (request: LeaseRequest) => tender.receive(request));
  post({ kind: 'ready' });
}

async function tenonsRegistry(container: Container, { registry, options }: LeaseWorkerData): Promise<Registry> {
  const { implementation, options: bound } = await loadBackend('registry', registry, {});
  if (bound) container.bind(bound.key).toConstantValue(options);
  return construct(container, implementation as Newable<Registry>);
}

/** Makes a registry of the application, which gets its options by `init`. */
async function ownRegistry(
  container: Container,
  { options }: LeaseWorkerData,
  { url, className }: NonNullable<LeaseWorkerData['module']>,
): Promise<Registry> {
  const exported = (await import(url)) as Readonly<Record<string, unknown>>;
  // A module in CommonJS has its exports in `default`, too.
  const inner = exported['default'] as Readonly<Record<string, unknown>> | undefined;
  const found = [exported[className], inner?.[className], inner].find(
    (one) => typeof one === 'function' && one.name === className,
  );
  if (found === undefined) throw new Error(`${url} exports no class ${className}`);
  const registry = construct(container, found as Newable<Registry>);
  registry.init(options);
  return registry;
}

function construct(container: Container, implementation: Newable<Registry>): Registry {
  container.bind(implementation).toSelf();
  return container.get(implementation);
}

// A rejection ends the thread, and the main thread hears of it.
void renewLeases(workerData as LeaseWorkerData);
