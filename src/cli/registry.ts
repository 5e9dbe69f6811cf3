import { existsSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { type AppOptions, System } from '../app/app.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { escaped } from '../logger/internal/text.ts';
import {
  capabilitiesOfRegistry,
  isBusy,
  isRegistryCache,
  type NodeRecord,
  nodeState,
  Registry,
  type ServiceRecord,
} from '../registry/registry.ts';
import { type CliIo, UsageError } from './io.ts';

/** Options of the commands that use a registry or a broker. */
export interface SystemCommandOptions {
  readonly profile?: string | undefined;
  /** A compiled module that exports `options`, for a registry or a broker that the application binds. */
  readonly module?: string | undefined;
}

/** Options of the commands that look into a registry. */
export interface RegistryCommandOptions extends SystemCommandOptions {
  readonly json?: boolean | undefined;
}

/** Calls `use` with a system of what the environment, or the options of a module, bind. */
export async function withSystem<T>(
  io: CliIo,
  options: SystemCommandOptions,
  use: (system: System) => Promise<T>,
): Promise<T> {
  const given = options.module === undefined ? {} : await optionsIn(io, options.module);
  const system = await System.start([], {
    env: io.env,
    ...given,
    ...(options.profile !== undefined && { profile: options.profile, env: given.env ?? io.env }),
  });
  try {
    return await use(system);
  } finally {
    await system.stop();
  }
}

/** Calls `use` with the registry that the environment, or the options of a module, bind, past its cache. */
export function withRegistry<T>(
  io: CliIo,
  options: RegistryCommandOptions,
  use: (registry: Registry, system: System) => Promise<T>,
): Promise<T> {
  return withSystem(io, options, async (system) => {
    const bound = system.get(Registry);
    const registry = isRegistryCache(bound) ? bound.origin : bound;
    if (capabilitiesOfRegistry(registry)?.shared === false)
      throw new UsageError(
        `the ${String(registry)} registry is that of one process: TENON_REGISTRY names one that others share`,
      );
    return use(registry, system);
  });
}

async function optionsIn(io: CliIo, path: string): Promise<AppOptions> {
  const file = resolve(io.cwd, path);
  const shown = relative(io.cwd, file);
  if (!existsSync(file)) throw new UsageError(`there is no file ${shown}: name a compiled module, such as dist/app.js`);
  const { options } = (await import(pathToFileURL(file).href)) as { readonly options?: unknown };
  if (typeof options !== 'object' || options === null)
    throw new UsageError(`${shown} exports no options: name the module that exports what it gives to run`);
  return options;
}

/** Reads a service; no records if it has no nodes. */
export async function readService(registry: Registry, name: string): Promise<readonly ServiceRecord[]> {
  try {
    return await registry.getService(name);
  } catch (error) {
    if (TenonError.from(error).code === Code.NotFound) return [];
    throw error;
  }
}

// Reads at once: a registry may have any number of services.
const maxReads = 16;

/** Reads all services with their nodes, ordered by name. */
export async function readServices(registry: Registry): Promise<readonly ServiceRecord[]> {
  const listed = await registry.listServices();
  const names = [...new Set(listed.map(({ name }) => name))];
  const found: ServiceRecord[] = [];
  for (let at = 0; at < names.length; at += maxReads)
    found.push(
      ...(await Promise.all(names.slice(at, at + maxReads).map((name) => readService(registry, name)))).flat(),
    );
  return found;
}

/** Orders records by name and version, and their nodes by id. */
export function sorted(records: readonly ServiceRecord[]): readonly ServiceRecord[] {
  const order = new Intl.Collator('en', { numeric: true });
  return records
    .map((record) => ({ ...record, nodes: [...record.nodes].sort((a, b) => order.compare(a.id, b.id)) }))
    .sort((a, b) => order.compare(a.name, b.name) || order.compare(a.version, b.version));
}

/** The state of a node for people: `serving`, `busy`, `draining`. */
export function stateOf(node: NodeRecord): string {
  const state = nodeState(node);
  return state === 'serving' && isBusy(node) ? 'busy' : state;
}

/** The metadata of a node for people, without what each node of tenon has. */
export function metadataOf({ metadata }: NodeRecord): string {
  const shown = Object.entries(metadata).filter(([key]) => !usual.test(key));
  return shown.map(([key, value]) => `${key}=${value}`).join(' ');
}

const usual = /^(?:tenon-state|tenon-busy|broker|registry|server|transport|protocol)$/;

/** Formats rows as columns. What others wrote into a registry cannot act upon the terminal. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const shown = rows.map((row) => row.map((cell) => escaped(cell)));
  const widths = (shown[0] ?? []).map((_, column) => Math.max(...shown.map((row) => row[column]?.length ?? 0)));
  return shown.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
