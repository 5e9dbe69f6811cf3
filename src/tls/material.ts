import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createSecureContext, type SecureContextOptions } from 'node:tls';

import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError, textOf } from '../errors/errors.ts';
import type { Logger } from '../logger/logger.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import type { TlsOptions } from './tls.ts';

/** Time and log for TLS material. */
export interface TlsSeams {
  readonly runtime: Pick<Runtime, 'clock' | 'timers'>;
  readonly logger: Logger;
}

/** Names for messages about TLS material. */
export interface TlsOwner {
  /** The side that shows it: `a server`, `the redis registry`. */
  readonly name: string;
  /** The prefix of the variables that set it. @default 'TENON_TLS_' */
  readonly variables?: string | undefined;
}

const defaultReloadMs = 10_000;

/** The three parts, as they are called in messages. */
const parts = {
  cert: 'certificate',
  key: 'private key',
  ca: 'certificate authorities',
} as const;
type Part = keyof typeof parts;
const partNames = Object.keys(parts) as Part[];

/**
 * Holds certificate, key and authorities of one side: loads them, checks that they fit together, and loads them again
 * when a file changes. Printed, it shows nothing of them.
 */
export class TlsMaterial {
  readonly #options: TlsOptions;
  readonly #owner: TlsOwner;
  readonly #seams: TlsSeams;
  readonly #files: readonly string[];
  #current: SecureContextOptions;
  /** The signature of the files at the last check, when they were loaded or found invalid. */
  #seen: string;
  #isBroken = false;
  #hasComplained = false;
  #timer: Timer | undefined;

  /** Throws FAILED_PRECONDITION (`tls.invalid`) for what is missing or does not fit. */
  constructor(options: TlsOptions, owner: TlsOwner, seams: TlsSeams) {
    this.#options = checkedOptions('TlsOptions', options);
    this.#owner = owner;
    this.#seams = seams;
    this.#files = partNames.flatMap((part) => options[`${part}File`] ?? []);
    this.#seen = signatureNow(this.#files);
    this.#current = this.#load();
  }

  /** The material for new connections. It holds secrets. */
  get current(): SecureContextOptions {
    return this.#current;
  }

  /**
   * Looks at the files from time to time, and calls `changed` when there is something new to use. Ends with `close`.
   */
  watch(changed: () => void = () => {}): void {
    const { reloadMs = defaultReloadMs } = this.#options;
    if (reloadMs <= 0 || this.#files.length === 0) return;
    let isLooking = false;
    // Polls, as notifications of the system are unreliable for swapped links, as Kubernetes makes them, and on network
    // file systems.
    this.#timer = this.#seams.runtime.timers.every(reloadMs, () => {
      if (isLooking) return;
      isLooking = true;
      void this.#look(changed).finally(() => (isLooking = false));
    });
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #look(changed: () => void): Promise<void> {
    const found = (await Promise.all(this.#files.map(async (file) => signatureOf(() => stat(file, asBigint))))).join();
    const isNew = found !== this.#seen;
    if ((!isNew && !this.#isBroken) || !this.#timer) return;
    this.#seen = found;
    const files = this.#files.join(', ');
    try {
      this.#current = this.#load();
      this.#isBroken = false;
      this.#hasComplained = false;
    } catch (error) {
      this.#isBroken = true;
      // The first time it may be between the writing of the certificate and the writing of its key.
      if (isNew || this.#hasComplained) return;
      this.#hasComplained = true;
      this.#seams.logger.error(
        `TLS of ${this.#owner.name}: what changed cannot be used; the certificate before it is kept`,
        {
          files,
          error,
        },
      );
      return;
    }
    this.#seams.logger.info(`TLS of ${this.#owner.name}: new connections use what changed`, { files });
    changed();
  }

  #load(): SecureContextOptions {
    const cert = this.#read('cert');
    const key = this.#read('key');
    const ca = this.#read('ca');
    if ((cert === undefined) !== (key === undefined)) {
      const [there, missing]: [Part, Part] = cert === undefined ? ['key', 'cert'] : ['cert', 'key'];
      throw invalidTls(
        this.#owner,
        `it has a ${parts[there]} and no ${parts[missing]}: ${remedyFor(missing, this.#owner)}`,
      );
    }
    if (cert !== undefined && key !== undefined) this.#assertPair(cert, key);
    if (ca !== undefined) this.#certificates('ca', ca);
    const { minVersion = 'TLSv1.2' } = this.#options;
    const material = { ...(cert && { cert }), ...(key && { key }), ...(ca && { ca }), minVersion };
    try {
      createSecureContext(material);
    } catch (error) {
      throw invalidTls(this.#owner, `OpenSSL does not take ${this.#place('cert')}: ${textOf(error)}`, error);
    }
    return material;
  }

  #read(part: Part): string | undefined {
    const file = this.#options[`${part}File`];
    const text = this.#options[part];
    if (file !== undefined && text !== undefined)
      throw invalidTls(this.#owner, `${part} and ${part}File are both given: say it once`);
    if (text !== undefined) return typeof text === 'string' ? text : Buffer.from(text).toString('latin1');
    if (file === undefined) return undefined;
    try {
      return readFileSync(file, 'latin1');
    } catch (error) {
      const { code } = error as { readonly code?: unknown };
      const why = code === 'ENOENT' ? 'there is no such file' : textOf(error);
      throw invalidTls(
        this.#owner,
        `its ${parts[part]} cannot be read from ${file}: ${why}. ${remedyFor(part, this.#owner)}`,
        error,
      );
    }
  }

  #assertPair(cert: string, key: string): void {
    const [leaf] = this.#certificates('cert', cert);
    if (!leaf) return;
    let privateKey: KeyObject;
    try {
      privateKey = createPrivateKey(key);
    } catch (error) {
      throw invalidTls(
        this.#owner,
        `${this.#place('key')} holds no private key in PEM, or an encrypted one: decrypt it with "openssl pkey"`,
        error,
      );
    }
    if (!leaf.checkPrivateKey(privateKey)) {
      throw invalidTls(
        this.#owner,
        `the key in ${this.#place('key')} does not belong to the certificate in ${this.#place('cert')}: give those that were made together`,
      );
    }
    if (Date.parse(leaf.validTo) < this.#seams.runtime.clock.now())
      throw invalidTls(this.#owner, `the certificate in ${this.#place('cert')} expired on ${leaf.validTo}: renew it`);
  }

  #certificates(part: 'cert' | 'ca', pem: string): X509Certificate[] {
    const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? [];
    // OpenSSL would silently trust no certificate.
    if (blocks.length === 0) throw invalidTls(this.#owner, `${this.#place(part)} holds no certificate in PEM`);
    return blocks.map((block) => {
      try {
        return new X509Certificate(block);
      } catch (error) {
        throw invalidTls(this.#owner, `a certificate in ${this.#place(part)} cannot be read: ${textOf(error)}`, error);
      }
    });
  }

  #place(part: Part): string {
    return this.#options[`${part}File`] ?? `the option "${part}"`;
  }
}

/** The error for a setting of TLS that cannot work. */
export function invalidTls(owner: TlsOwner, why: string, cause?: unknown): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'tls.invalid',
    message: `TLS of ${owner.name}: ${why}`,
    cause,
  });
}

/** Says what to do about a missing part. */
export function remedyFor(part: Part, { variables = 'TENON_TLS_' }: TlsOwner): string {
  return `give ${part}File (or ${variables}${part.toUpperCase()}_FILE)`;
}

const asBigint = { bigint: true } as const;

interface FileStat {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
}

async function signatureOf(look: () => Promise<FileStat>): Promise<string> {
  try {
    return text(await look());
  } catch {
    return 'none';
  }
}

function signatureNow(files: readonly string[]): string {
  return files
    .map((file) => {
      const found = statSync(file, { ...asBigint, throwIfNoEntry: false });
      return found ? text(found) : 'none';
    })
    .join();
}

function text({ dev, ino, size, mtimeNs }: FileStat): string {
  return `${dev}:${ino}:${size}:${mtimeNs}`;
}
