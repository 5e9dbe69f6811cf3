import type { Newable, ServiceIdentifier } from 'inversify';

import type { ConnectionSecurityOptions } from '../../tls/connection.ts';
import type { Parsed, Variable } from './variables.ts';

/** The rooms whose implementation is chosen by name. */
export type BackendRoom = 'transport' | 'codec' | 'registry' | 'selector' | 'broker';

/** The rooms whose backends have an address, and may have variables of their own. */
export type AddressedRoom = 'transport' | 'registry' | 'broker';

/** The class of a backend, and the options that are bound for it. */
export interface Backend {
  readonly implementation: Newable;
  readonly options?: { readonly key: ServiceIdentifier; readonly value: object } | undefined;
}

/** Settings of a backend from the environment: address, TLS, credentials, and the values of its own variables. */
export interface BackendSettings extends ConnectionSecurityOptions {
  readonly [option: string]: Parsed | ConnectionSecurityOptions[keyof ConnectionSecurityOptions];
  readonly address?: string | undefined;
}

/** An environment variable of one backend. */
export interface BackendVariable extends Variable {
  /** The field of the backend's options that takes the value. */
  readonly option: string;
}

/** A backend in the table that code, tests and docs read. Its class is in `src/<room>/<name>.ts`. */
export interface BackendRow {
  readonly name: string;
  /** A description for people, in the README's table and in `.env.example`. */
  readonly summary: string;
  /** The npm package that the backend requires. A start without it fails with a message that names it. */
  readonly package?: string;
  /** An npm package that only some features of the backend require. */
  readonly optionalPackage?: string;
  /** The kind of server that the backend connects to. */
  readonly server?: string;
  /** True if its options have an address, from a variable or behind `name://`. */
  readonly takesAddress?: boolean;
  readonly variables?: readonly BackendVariable[];
  /** Loads the class and makes its options. Nothing of a backend is loaded before this is called. */
  readonly load: (settings: BackendSettings) => Promise<Backend>;
}

/** Makes a backend. Undefined options are left out, so that they do not replace the backend's defaults. */
export function backend(implementation: Newable, key: ServiceIdentifier, options: object = {}): Backend {
  const value = Object.fromEntries(Object.entries(options).filter(([, one]) => one !== undefined));
  return { implementation, options: { key, value } };
}
