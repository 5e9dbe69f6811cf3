import { parentPort, workerData } from 'node:worker_threads';

import { Container, type Newable } from 'inversify';

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
  /** The name of the registry, among those of tenon, and its options in force. */
  readonly registry: string;
  readonly options: RegistryOptions;
  readonly beats: Int32Array;
  readonly periodMs: number;
}

/** Runs in a thread of its own: renews leases for the main thread, by a registry of its own. */
async function renewLeases({ registry: name, options, beats, periodMs }: LeaseWorkerData): Promise<void> {
  const post = (report: LeaseReport): void => parentPort?.postMessage(report);
  const logger = new ReportingLogger(post);
  const { implementation, options: bound } = await loadBackend('registry', name, {});
  const container = new Container();
  container.bind(Clock).toConstantValue(systemRuntime.clock);
  container.bind(Random).toConstantValue(systemRuntime.random);
  container.bind(Timers).toConstantValue(systemRuntime.timers);
  container.bind(Logger).toConstantValue(logger);
  if (bound) container.bind(bound.key).toConstantValue(options);
  const key = implementation as Newable<Registry>;
  container.bind(key).toSelf();
  const registry = container.get(key);
  registry.observe?.({ onRestored: (node) => post({ kind: 'restored', node }) });
  const tender = new LeaseTender({ registry, runtime: systemRuntime, logger, beats, periodMs, post });
  parentPort?.on('message', (request: LeaseRequest) => tender.receive(request));
  post({ kind: 'ready' });
}

// A rejection ends the thread, and the main thread hears of it.
void renewLeases(workerData as LeaseWorkerData);
