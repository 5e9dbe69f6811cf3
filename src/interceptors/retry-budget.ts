import { checkedOptions } from '../errors/checked-options.ts';

/** Options of a {@link RetryBudget}: gRPC's `retryThrottling` (A6). */
export interface RetryBudgetOptions {
  /** The number of tokens at the start, and the most of them. @default 100 */
  readonly maxTokens?: number | undefined;
  /** The part of a token that a successful call gives back. @default 0.1: one retry for ten calls, in the long run */
  readonly tokenRatio?: number | undefined;
}

/**
 * Bounds retries while a service fails, so that they do not add to its load. Every failure takes a token, every success
 * gives a part of one back, and calls are repeated only while more than half of the tokens are left. Tokens are counted
 * for each service that is called. `retry` and `hedge` interceptors given the same budget share it.
 */
export class RetryBudget {
  readonly #maxTokens: number;
  readonly #tokenRatio: number;
  /** Tokens of the services that lack some. */
  readonly #tokens = new Map<string, number>();

  constructor(options: RetryBudgetOptions = {}) {
    checkedOptions('RetryBudgetOptions', options, { tokenRatio: {} });
    this.#maxTokens = options.maxTokens ?? 100;
    this.#tokenRatio = options.tokenRatio ?? 0.1;
  }

  /** Counts a successful call of the service. */
  succeeded(service: string): void {
    const tokens = this.#tokens.get(service);
    if (tokens === undefined) return;
    const more = tokens + this.#tokenRatio;
    if (more >= this.#maxTokens) this.#tokens.delete(service);
    else this.#tokens.set(service, more);
  }

  /** Counts an attempt that failed with a code that is retried. */
  failed(service: string): void {
    this.#tokens.set(service, Math.max(0, (this.#tokens.get(service) ?? this.#maxTokens) - 1));
  }

  /** True if a failed call of the service may be repeated. */
  allows(service: string): boolean {
    const tokens = this.#tokens.get(service);
    return tokens === undefined || tokens > this.#maxTokens / 2;
  }
}

/** A budget without a bound. */
export const unlimitedRetries: Pick<RetryBudget, 'succeeded' | 'failed' | 'allows'> = {
  succeeded() {},
  failed() {},
  allows: () => true,
};
