import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';

import { Code, TenonError, textOf } from '../errors/errors.ts';
import { ClientTls } from './client-tls.ts';
import type { TlsOwner, TlsSeams } from './material.ts';
import { checkFields, connectionTlsFields, type FieldRules } from './option-fields.ts';
import type { ConnectionTlsOptions } from './tls.ts';

/** Proves to a server who connects. A password, and likewise a token, is said once, as a text or as a file. */
export interface ConnectionCredentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** In place of `password`: a file that holds it, read for every new connection. The end of its last line is cut. */
  readonly passwordFile?: string | undefined;
  readonly token?: string | undefined;
  /** In place of `token`, as `passwordFile`. */
  readonly tokenFile?: string | undefined;
}

/** Options of a registry or a broker that protect its connections. Not every backend takes them. */
export interface ConnectionSecurityOptions {
  /** `{}` trusts the authorities that Node trusts. @default none: the server is spoken to in the clear */
  readonly tls?: ConnectionTlsOptions | undefined;
  /** @default none */
  readonly credentials?: ConnectionCredentials | undefined;
}

/** Forms of credentials: a password, with or without a user name, or a token. */
export type CredentialKind = 'password' | 'token';

/** The {@link ConnectionSecurityOptions} that a backend takes, among its capabilities. */
export interface ConnectionSecurityCapabilities {
  /** `tls` is taken. @default false */
  readonly tls?: boolean | undefined;
  /** The forms of `credentials` that are taken. @default none */
  readonly credentials?: readonly CredentialKind[] | undefined;
}

const kinds = {
  username: 'password',
  password: 'password',
  passwordFile: 'password',
  token: 'token',
  tokenFile: 'token',
} as const satisfies Record<keyof ConnectionCredentials, CredentialKind>;

const credentialsFields: FieldRules = Object.fromEntries(Object.keys(kinds).map((field) => [field, 'text']));

/** True if a field of the credentials is given. */
export function hasCredentials({ credentials }: ConnectionSecurityOptions): boolean {
  return Object.values(credentials ?? {}).some((value) => value !== undefined);
}

/**
 * Lists what is said and not taken: `tls`, `credentials.token`. It would not be in force. Throws INVALID_ARGUMENT
 * (`tls.invalid_option`) for what nobody takes: a field that does not exist, a value that it cannot have.
 */
export function untakenSecurity(
  { tls, credentials = {} }: ConnectionSecurityOptions,
  capabilities: ConnectionSecurityCapabilities,
): readonly string[] {
  checkFields('tls', tls, connectionTlsFields);
  checkFields('credentials', credentials, credentialsFields);
  const said = Object.entries(kinds).filter(([name]) => credentials[name as keyof typeof kinds] !== undefined);
  const untaken = said.filter(([, kind]) => capabilities.credentials?.includes(kind) !== true);
  return [
    ...(tls !== undefined && capabilities.tls !== true ? ['tls'] : []),
    ...untaken.map(([name]) => `credentials.${name}`),
  ];
}

/**
 * TLS and credentials of the connections to one server, as they are at the time of each connection: certificates are
 * followed, files of passwords and tokens are read. Nothing is read before the first use. Printed, it shows no secret.
 */
export class ConnectionSecurity {
  readonly #options: ConnectionSecurityOptions;
  readonly #owner: TlsOwner;
  readonly #seams: TlsSeams;
  /** The last that could be read of each file. */
  readonly #read = new Map<string, string>();
  /** The reason that was logged for each file that could not be used, until the file or the reason changes. */
  readonly #complaints = new Map<string, string>();
  #tls: ClientTls | undefined;
  #hasWarned = false;

  /** `variables` of the owner: the beginning of those that say it, `TENON_REGISTRY_`. */
  constructor(options: ConnectionSecurityOptions, owner: Required<TlsOwner>, seams: TlsSeams) {
    this.#options = options;
    this.#owner = owner;
    this.#seams = seams;
  }

  /**
   * For `node:tls`, and for libraries that hand their options on to it; `undefined` where the server is spoken to in
   * the clear. Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit.
   */
  get tls(): ConnectionOptions | undefined {
    const { tls } = this.#options;
    return tls && this.#follow(tls);
  }

  /** As `tls`, and as for `tls: {}` where none was said: for an address that asks for TLS. */
  get tlsOfAddress(): ConnectionOptions {
    return this.#follow(this.#options.tls ?? {});
  }

  /** True if connections are encrypted. Nothing is read for it. */
  get hasTls(): boolean {
    return this.#options.tls !== undefined;
  }

  /** Longest handshake, in milliseconds; `undefined` if nothing was said. */
  get handshakeTimeoutMs(): number | undefined {
    return this.#options.tls?.handshakeTimeoutMs;
  }

  /** True if a field of the credentials is given. */
  get hasCredentials(): boolean {
    return hasCredentials(this.#options);
  }

  get username(): string | undefined {
    return this.#options.credentials?.username;
  }

  /**
   * Throws FAILED_PRECONDITION (`tls.invalid_credentials`) for one that is empty, as nothing would be proved with it,
   * and for a file that cannot be read, and never could.
   */
  get password(): string | undefined {
    return this.#secret('password');
  }

  /** As `password`. */
  get token(): string | undefined {
    return this.#secret('token');
  }

  /**
   * Explains an error of a connection to `host`, and what to do; `undefined` for an error that is none of TLS.
   * `wasAnswered` if the server has been heard of before: one that was not, and closes, may not like the handshake.
   */
  explain(error: unknown, host: string, wasAnswered: boolean): string | undefined {
    // An error of Node's own need not be one of this realm.
    if (typeof (error as Error | undefined)?.message !== 'string') return undefined;
    return this.#tls?.explain(error as Error, host, wasAnswered);
  }

  /** Follows the files no longer, until it is used again. */
  close(): void {
    this.#tls?.close();
    this.#tls = undefined;
    this.#read.clear();
  }

  #follow(tls: ConnectionTlsOptions): ConnectionOptions {
    if (!this.#tls) {
      const { name, variables } = this.#owner;
      this.#tls = new ClientTls(tls, { name, variables: `${variables}TLS_` }, this.#seams);
      if (tls.insecureSkipVerify === true && !this.#hasWarned) {
        this.#hasWarned = true;
        this.#seams.logger.warn(`TLS of ${name}: any server is trusted, for its certificate is not verified`);
      }
    }
    return this.#tls.connectionOptions;
  }

  #secret(kind: CredentialKind): string | undefined {
    const { [kind]: text, [`${kind}File` as const]: file } = this.#options.credentials ?? {};
    const variable = `${this.#owner.variables}${kind.toUpperCase()}`;
    if (text !== undefined) {
      if (file !== undefined) throw this.#invalid(`${kind} and ${kind}File are both given: say it once`);
      if (text === '') throw this.#invalid(`its ${kind} is empty. Give it (or ${variable}), or leave it out`);
      return text;
    }
    if (file === undefined) return undefined;
    const found = readSecret(file);
    if ('text' in found) {
      this.#complaints.delete(file);
      this.#read.set(file, found.text);
      return found.text;
    }
    const { why, cause } = found;
    const last = this.#read.get(file);
    if (last === undefined) {
      const remedy = `Give ${kind}File (or ${variable}_FILE)`;
      throw this.#invalid(`its ${kind} cannot be read from ${file}: ${why}. ${remedy}`, cause);
    }
    if (this.#complaints.get(file) !== why) {
      this.#complaints.set(file, why);
      const message = `credentials of ${this.#owner.name}: ${file} cannot be read; the ${kind} before it is kept`;
      this.#seams.logger.warn(message, { why, ...(cause !== undefined && { error: cause }) });
    }
    return last;
  }

  #invalid(why: string, cause?: unknown): TenonError {
    return new TenonError({
      code: Code.FailedPrecondition,
      reason: 'tls.invalid_credentials',
      message: `credentials of ${this.#owner.name}: ${why}`,
      cause,
    });
  }
}

/** Reads a secret from a file, without the end of its last line; or says why there is none. */
function readSecret(file: string): { readonly text: string } | { readonly why: string; readonly cause?: unknown } {
  try {
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '');
    return text === '' ? { why: 'it is empty' } : { text };
  } catch (error) {
    const isAbsent = (error as NodeJS.ErrnoException).code === 'ENOENT';
    return { why: isAbsent ? 'there is no such file' : textOf(error), cause: error };
  }
}
