import type { ServiceIdentifier } from 'inversify';

import { token } from '../internal/token.ts';

/** Options of a call of a {@link Store}. */
export interface StoreCallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** The outcome of {@link Store.compareAndSet}. */
export interface StoreSwap {
  readonly isSet: boolean;
  /** The value of the key after the call; `undefined` if it has none. */
  readonly value: string | undefined;
}

/**
 * Keeps small texts by key, each for a time: which events were handled, and how often they were tried. Processes that
 * share events share a store.
 *
 * Methods may be called concurrently, and each is one step: two callers never both succeed where one of them must not.
 * A store that cannot be reached is UNAVAILABLE (`store.unreachable`); the call may have been done all the same. Calls
 * after `close` are FAILED_PRECONDITION (`store.closed`).
 */
export interface Store {
  /**
   * Sets the value of a key for `ttlMs` milliseconds, if its value is `expected`; `undefined` stands for no value, as
   * `expected` and as `value`.
   */
  compareAndSet(
    key: string,
    expected: string | undefined,
    value: string | undefined,
    ttlMs: number,
    options?: StoreCallOptions,
  ): Promise<StoreSwap>;
  /** Adds one to the number under a key, and keeps it for `ttlMs` milliseconds from now. Resolves with the sum. */
  increment(key: string, ttlMs: number, options?: StoreCallOptions): Promise<number>;
  /** Removes a key, if it is there. */
  delete(key: string, options?: StoreCallOptions): Promise<void>;
  /** Ends its connection. May be called again. */
  close(): Promise<void>;
}
/** Container key of the {@link Store}. */
export const Store: ServiceIdentifier<Store> = token('store', 'Store');
