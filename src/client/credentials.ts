import { checkedOptions } from '../errors/checked-options.ts';
import type { Metadata, MetadataInit } from '../context/metadata.ts';
import type { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';

/** A call that is about to be sent. */
export interface CredentialsCall {
  /** `greeter.Greeter` */
  readonly service: string;
  /** `Hello` */
  readonly method: string;
  /** The address that the call is sent to. */
  readonly address: string;
  /** Aborts when the call ends, which then needs no credentials. */
  readonly signal: AbortSignal;
}

/** Proves with every call who makes it: gRPC's call credentials. */
export interface CallCredentials {
  /**
   * Returns the metadata that proves who calls; it replaces values of the same keys in the call's own metadata. It is
   * called each time that the call is sent to a node, within the call's deadline. An error fails the call with
   * UNAUTHENTICATED, or UNAVAILABLE for an error of that code (`client.no_credentials`); the text of the error is not
   * passed on.
   */
  metadata(call: CredentialsCall): Metadata | MetadataInit | Promise<Metadata | MetadataInit>;
  /**
   * Sends the credentials over connections that are not encrypted too. Otherwise such a call fails with UNAUTHENTICATED
   * (`client.insecure_credentials`). Loopback addresses never leave the machine and are always allowed.
   * @default `insecureCredentials` of the client
   */
  readonly allowInsecure?: boolean | undefined;
}

/** A token with the time at which it expires. */
export interface Token {
  readonly value: string;
  /** Milliseconds since the Unix epoch. @default {@link BearerTokenOptions.maxAgeMs} from now */
  readonly expiresAt?: number | undefined;
}

/** Options of {@link bearerToken}. */
export interface BearerTokenOptions {
  /**
   * Time before the expiry of a token at which the next one is fetched, in milliseconds. Calls go on with the old one
   * meanwhile.
   * @default 30_000
   */
  readonly earlyMs?: number | undefined;
  /** Life of a token that does not say when it expires, in milliseconds. @default 60_000 */
  readonly maxAgeMs?: number | undefined;
  /**
   * Sends the token over connections that are not encrypted too, as {@link CallCredentials.allowInsecure} says.
   * @default `insecureCredentials` of the client
   */
  readonly allowInsecure?: boolean | undefined;
  /** @default the system's own */
  readonly clock?: Clock | undefined;
}

/**
 * Makes credentials that send `authorization: Bearer <token>` (RFC 6750). The source is called once for all calls that
 * need a token at the time, and again before the token expires. If it fails, the next call tries it again.
 *
 * @example
 * ```ts
 * const credentials = bearerToken(async () => {
 *   const response = await fetch('https://login.example/token', { method: 'POST' });
 *   const { token, expiresAt } = (await response.json()) as { token: string; expiresAt: number };
 *   return { value: token, expiresAt };
 * });
 * ```
 */
export function bearerToken(
  source: string | (() => string | Token | Promise<string | Token>),
  options: BearerTokenOptions = {},
): CallCredentials {
  const { allowInsecure } = checkedOptions('BearerTokenOptions', options);
  if (typeof source === 'string') {
    const metadata = headerOf(source);
    return { allowInsecure, metadata: () => metadata };
  }
  const cache = new TokenCache(source, options);
  return { allowInsecure, metadata: () => cache.header() };
}

class TokenCache {
  readonly #source: () => string | Token | Promise<string | Token>;
  readonly #earlyMs: number;
  readonly #maxAgeMs: number;
  readonly #clock: Clock;
  #header: MetadataInit | undefined;
  /** The time of expiry by the monotonic clock. */
  #expiresAtMs = Number.NEGATIVE_INFINITY;
  #asking: Promise<MetadataInit> | undefined;

  constructor(source: () => string | Token | Promise<string | Token>, options: BearerTokenOptions) {
    const { earlyMs = 30_000, maxAgeMs = 60_000, clock = systemClock } = options;
    this.#source = source;
    this.#earlyMs = earlyMs;
    this.#maxAgeMs = maxAgeMs;
    this.#clock = clock;
  }

  header(): MetadataInit | Promise<MetadataInit> {
    const leftMs = this.#expiresAtMs - this.#clock.monotonicMs();
    if (this.#header && leftMs > this.#earlyMs) return this.#header;
    const asking = (this.#asking ??= this.#ask());
    if (!this.#header || leftMs <= 0) return asking;
    // The old token is still valid: if there is no new one, the next call tries again.
    asking.catch(() => {});
    return this.#header;
  }

  async #ask(): Promise<MetadataInit> {
    try {
      const given = await this.#source();
      const { value, expiresAt } = typeof given === 'string' ? { value: given, expiresAt: undefined } : given;
      this.#header = headerOf(value);
      // The date is turned into a span once, by the wall clock of the moment at which it came.
      const lastsMs = expiresAt === undefined ? this.#maxAgeMs + this.#earlyMs : expiresAt - this.#clock.now();
      this.#expiresAtMs = this.#clock.monotonicMs() + lastsMs;
      return this.#header;
    } finally {
      this.#asking = undefined;
    }
  }
}

function headerOf(token: string): MetadataInit {
  // Files end with a line break.
  return { authorization: `Bearer ${token.trim()}` };
}
