import { checkedOptions } from '../errors/checked-options.ts';

/** How many repetitions the calls of a service may have: gRPC's `retryThrottling` (A6). */
export interface RetryBudgetOptions {
  /** Where the tokens begin, and their most. @default 100 */
  readonly maxTokens?: number | undefined;
  /** What a call that ends well gives back. @default 0.1: in the long run one repetition for ten calls */
  readonly tokenRatio?: number | undefined;
}

/**
 * Keeps repetitions from becoming a storm. Every failure takes a token, every success gives a part of one back, and
 * calls are repeated only while more than half of them are left. Tokens are counted per service called; retries and
 * hedges that are given the same budget share them.
 */
export class RetryBudget {
  readonly #maxTokens: number;
  readonly #tokenRatio: number;
  /** Of the services that have not all of them. */
  readonly #tokens = new Map<string, number>();

  constructor(options: RetryBudgetOptions = {}) {
    checkedOptions('RetryBudgetOptions', options, { tokenRatio: {} });
    this.#maxTokens = options.maxTokens ?? 100;
    this.#tokenRatio = options.tokenRatio ?? 0.1;
  }

  /** A call of the service ended well. */
  succeeded(service: string): void {
    const tokens = this.#tokens.get(service);
    if (tokens === undefined) return;
    const more = tokens + this.#tokenRatio;
    if (more >= this.#maxTokens) this.#tokens.delete(service);
    else this.#tokens.set(service, more);
  }

  /** An attempt failed, in a way that is repeated. */
  failed(service: string): void {
    this.#tokens.set(service, Math.max(0, (this.#tokens.get(service) ?? this.#maxTokens) - 1));
  }

  /** Whether the service may be called again for a call that failed. */
  allows(service: string): boolean {
    const tokens = this.#tokens.get(service);
    return tokens === undefined || tokens > this.#maxTokens / 2;
  }
}

/** Allows everything. */
export const unlimitedRetries: Pick<RetryBudget, 'succeeded' | 'failed' | 'allows'> = {
  succeeded() {},
  failed() {},
  allows: () => true,
};
