import type { Context } from '../context/context.ts';
import { retryInfo } from '../errors/details.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { counted } from '../internal/counted.ts';
import { type CallHooks, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { invalidOption } from './internal/invalid-option.ts';

/** Options of {@link rateLimit}. */
export interface RateLimitOptions {
  /** Calls per second, in the long run. */
  readonly perSecond: number;
  /** The most calls at once after a pause: the size of the bucket. @default the calls of one second, at least 1 */
  readonly burst?: number | undefined;
  /** Gives the group of calls that share a limit: a caller, a tenant. @default all calls of the interceptor */
  readonly key?: ((ctx: Context) => string) | undefined;
  /** The clock. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}

/**
 * Makes an interceptor, for either side, that bounds the rate of calls by a token bucket. A stream and an event count
 * as one call.
 *
 * A call above the rate fails with RESOURCE_EXHAUSTED (`interceptors.rate_limited`), and is not made; its message and
 * its `google.rpc.RetryInfo` say when to call again. An event that is refused goes back to its broker as a failed one:
 * bound events by the options of their subscription instead.
 *
 * The limit is one of the process: each of ten nodes admits `perSecond` calls.
 *
 * @example
 * ```ts
 * const perTenant = rateLimit({ perSecond: 50, key: (ctx) => ctx.metadata.text('x-tenant') ?? '' });
 * const options: ServerOptions = { interceptors: [perTenant] };
 * ```
 */
export function rateLimit(options: RateLimitOptions): Interceptor {
  const {
    perSecond,
    key,
    runtime = systemRuntime,
  } = checkedOptions('rateLimit', options, { perSecond: {}, burst: {} });
  const burst = options.burst ?? Math.max(1, perSecond);
  if (!(perSecond > 0)) throw invalidOption('rateLimit', `perSecond is ${perSecond}: give a number above 0`);
  if (!(burst >= 1)) throw invalidOption('rateLimit', `burst is ${burst}: give a number of at least 1`);
  const buckets = new Buckets(perSecond / 1000, burst);
  const enter = (ctx: Context): CallHooks => {
    const waitMs = buckets.take(key ? key(ctx) : '', runtime.clock.monotonicMs());
    if (waitMs > 0) throw exceeded(ctx, perSecond, waitMs);
    return noHooks;
  };
  return withHooks(enter);
}

const noHooks: CallHooks = {};

interface Bucket {
  tokens: number;
  atMs: number;
}

// Buckets that are full again are dropped whenever their number has doubled since the last time.
const firstSweep = 1_000;

class Buckets {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = firstSweep;

  constructor(perMs: number, burst: number) {
    this.#perMs = perMs;
    this.#burst = burst;
  }

  /** Takes a token: 0, or the milliseconds until there is one. */
  take(key: string, nowMs: number): number {
    let bucket = this.#buckets.get(key);
    if (!bucket) {
      if (this.#buckets.size >= this.#sweepAt) this.#sweep(nowMs);
      this.#buckets.set(key, (bucket = { tokens: this.#burst, atMs: nowMs }));
    } else {
      bucket.tokens = this.#tokensAt(bucket, nowMs);
      bucket.atMs = nowMs;
    }
    if (bucket.tokens < 1) return Math.max(1, Math.ceil((1 - bucket.tokens) / this.#perMs));
    bucket.tokens -= 1;
    return 0;
  }

  #tokensAt(bucket: Bucket, nowMs: number): number {
    return Math.min(this.#burst, bucket.tokens + (nowMs - bucket.atMs) * this.#perMs);
  }

  #sweep(nowMs: number): void {
    for (const [key, bucket] of this.#buckets) {
      if (this.#tokensAt(bucket, nowMs) >= this.#burst) this.#buckets.delete(key);
    }
    this.#sweepAt = Math.max(firstSweep, this.#buckets.size * 2);
  }
}

function exceeded(ctx: Context, perSecond: number, waitMs: number): TenonError {
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'interceptors.rate_limited',
    message: `${ctx.service}/${ctx.endpoint} may be called ${counted(perSecond, 'time')} a second: call again in ${waitMs} ms`,
    details: [retryInfo({ retryDelayMs: waitMs })],
  });
}
