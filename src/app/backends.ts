import { createRequire } from 'node:module';
import type { Newable } from 'inversify';

import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { Broker } from '../broker/broker.ts';
import type { Marshaler } from '../codec/codec.ts';
import type { Registry } from '../registry/registry.ts';
import type { Selector } from '../selector/selector.ts';
import type { Transport } from '../transport/transport.ts';
import type { Backend, BackendRoom, BackendSettings } from './internal/backend-row.ts';
import { backendRow, backendRows } from './internal/backend-table.ts';

interface Contracts {
  readonly transport: Transport;
  readonly codec: Marshaler;
  readonly registry: Registry;
  readonly selector: Selector;
  readonly broker: Broker;
}

/**
 * Backends of the application, by the names that variables choose them by: `{ registry: { folder: FolderRegistry } }`
 * makes `TENON_REGISTRY=folder` work. A registry or a broker gets its address (`TENON_REGISTRY_ADDRESS`, or the part
 * behind `folder://`) by `init`.
 */
export type Backends = {
  readonly [R in BackendRoom]?: Readonly<Record<string, Newable<Contracts[R]>>> | undefined;
};

/** The names of all backends of a room: tenon's own, then those of the application. */
export function backendNames(room: BackendRoom, own: Backends = {}): readonly string[] {
  return [...backendRows[room].map((row) => row.name), ...Object.keys(own[room] ?? {})];
}

/**
 * Loads the backend of that name. Throws INVALID_ARGUMENT (`config.invalid`) with the names there are if there is no
 * such backend, and FAILED_PRECONDITION (`app.package_missing`) with the command that installs its package if that is
 * missing.
 */
export async function loadBackend(
  room: BackendRoom,
  name: string,
  settings: BackendSettings,
  own: Backends = {},
): Promise<Backend> {
  const mine = own[room];
  if (mine && Object.hasOwn(mine, name)) return { implementation: mine[name] as Newable };
  const row = backendRow(room, name);
  if (!row) {
    const names = backendNames(room, own);
    throw new TenonError({
      code: Code.InvalidArgument,
      reason: 'config.invalid',
      message: `there is no ${room} "${name}": choose one of ${names.join(', ')}.${didYouMean(name, names)}`,
    });
  }
  try {
    if (row.package !== undefined) assertInstalled(row.package);
    return await row.load(row.takesAddress === true ? settings : { ...settings, address: undefined });
  } catch (error) {
    if (row.package !== undefined && isMissing(error, row.package))
      throw packageMissing(room, row.name, row.package, error);
    throw error;
  }
}

/**
 * Throws if the package is not installed. It is checked beforehand, as a backend may load its package only when it
 * first connects. A bundled program is not checked, as its packages are part of the bundle.
 */
function assertInstalled(name: string): void {
  if (isBundled()) return;
  try {
    createRequire(import.meta.url).resolve(name);
  } catch (error) {
    // Any other error, such as ERR_PACKAGE_PATH_NOT_EXPORTED, means that the package is installed.
    if (isMissing(error, name)) throw error;
  }
}

/**
 * True if this file was bundled into another program: tenon's package.json is then not two folders up, where it is from
 * `src/app` and from `dist/chunks`.
 */
function isBundled(): boolean {
  try {
    const manifest = createRequire(import.meta.url)('../../package.json') as { readonly name?: unknown };
    return manifest.name !== 'tenon';
  } catch {
    return true;
  }
}

function isMissing(error: unknown, name: string): boolean {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown };
  return (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && String(message).includes(`'${name}'`);
}

function packageMissing(room: BackendRoom, name: string, missing: string, cause: unknown): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.package_missing',
    message: `the ${room} "${name}" needs the package ${missing}, which is not installed: npm install ${missing}`,
    cause,
  });
}
