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
  /** Who is going to have it. */
  readonly address: string;
  /** Aborts with the call: nobody waits any more. */
  readonly signal: AbortSignal;
}

/** What proves with every call who makes it: gRPC's call credentials. */
export interface CallCredentials {
  /**
   * The metadata that goes with the call, over what the call itself says. Asked for each time that the call is sent to
   * somebody, within the call's deadline. An error fails the call with UNAUTHENTICATED, or UNAVAILABLE if it is one of
   * that code (`client.no_credentials`); its text goes no further.
   */
  metadata(call: CredentialsCall): Metadata | MetadataInit | Promise<Metadata | MetadataInit>;
  /**
   * Send them also where others on the way can read them. Otherwise such a call fails with UNAUTHENTICATED
   * (`client.insecure_credentials`). Loopback addresses are within the machine.
   * @default `insecureCredentials` of the client
   */
  readonly allowInsecure?: boolean | undefined;
}

/** A token, and how long it may be shown. */
export interface Token {
  readonly value: string;
  /** Milliseconds since the Unix epoch. @default {@link BearerTokenOptions.maxAgeMs} from now */
  readonly expiresAt?: number | undefined;
}

/** How {@link bearerToken} keeps tokens. */
export interface BearerTokenOptions {
  /**
   * So long before a token expires, the next one is asked for, while calls go on with the old one; in milliseconds.
   * @default 30_000
   */
  readonly earlyMs?: number | undefined;
  /** How long a token is used that does not say when it expires, in milliseconds. @default 60_000 */
  readonly maxAgeMs?: number | undefined;
  /** As in {@link CallCredentials}. @default `insecureCredentials` of the client */
  readonly allowInsecure?: boolean | undefined;
  /** @default the system's own */
  readonly clock?: Clock | undefined;
}

/**
 * Credentials that send `authorization: Bearer <token>` (RFC 6750). A source is asked once for all calls that need a
 * token at the time, and again before the token expires; one that fails is asked again by the next call.
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
  /** By the monotonic clock. */
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
    // The old one is good still: if there is no new one, the next call asks again.
    asking.catch(() => {});
    return this.#header;
  }

  async #ask(): Promise<MetadataInit> {
    try {
      const given = await this.#source();
      const { value, expiresAt } = typeof given === 'string' ? { value: given, expiresAt: undefined } : given;
      this.#header = headerOf(value);
      // A date is read once, against the time at which it came.
      const lastsMs = expiresAt === undefined ? this.#maxAgeMs + this.#earlyMs : expiresAt - this.#clock.now();
      this.#expiresAtMs = this.#clock.monotonicMs() + lastsMs;
      return this.#header;
    } finally {
      this.#asking = undefined;
    }
  }
}

function headerOf(token: string): MetadataInit {
  // As files have it.
  return { authorization: `Bearer ${token.trim()}` };
}
