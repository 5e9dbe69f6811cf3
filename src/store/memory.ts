import { inject, injectable, optional, type ServiceIdentifier } from 'inversify';

import { checkedOptions } from '../errors/checked-options.ts';
import { token } from '../internal/token.ts';
import { Clock } from '../runtime/runtime.ts';
import { systemClock } from '../runtime/system.ts';
import { storeClosed } from './store-errors.ts';
import type { Store, StoreSwap } from './store.ts';

/** Options of a {@link MemoryStore}. */
export interface MemoryStoreOptions {
  /** Most keys that are kept. The oldest are dropped. @default 100_000 */
  readonly maxKeys?: number | undefined;
}
/** Container key of the {@link MemoryStoreOptions}. */
export const MemoryStoreOptions: ServiceIdentifier<MemoryStoreOptions> = token('store', 'MemoryStoreOptions');

interface Entry {
  readonly value: string;
  readonly endsMs: number;
}

/** Keeps values in this process, for tests and for services of one process. They are lost with it. */
@injectable()
export class MemoryStore implements Store {
  readonly #clock: Clock;
  readonly #maxKeys: number;
  /** In the order of writing. */
  readonly #entries = new Map<string, Entry>();
  #isClosed = false;

  constructor(
    @inject(MemoryStoreOptions) @optional() options: MemoryStoreOptions = {},
    @inject(Clock) @optional() clock: Clock = systemClock,
  ) {
    checkedOptions('MemoryStoreOptions', options);
    this.#maxKeys = options.maxKeys ?? 100_000;
    this.#clock = clock;
  }

  async compareAndSet(
    key: string,
    expected: string | undefined,
    value: string | undefined,
    ttlMs: number,
  ): Promise<StoreSwap> {
    const current = this.#get(key);
    if (current !== expected) return { isSet: false, value: current };
    this.#set(key, value, ttlMs);
    return { isSet: true, value };
  }

  async increment(key: string, ttlMs: number): Promise<number> {
    const sum = Number(this.#get(key) ?? 0) + 1;
    this.#set(key, String(sum), ttlMs);
    return sum;
  }

  async delete(key: string): Promise<void> {
    this.#get(key);
    this.#entries.delete(key);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#entries.clear();
  }

  #get(key: string): string | undefined {
    if (this.#isClosed) throw storeClosed('memory');
    const entry = this.#entries.get(key);
    if (!entry || entry.endsMs > this.#clock.monotonicMs()) return entry?.value;
    this.#entries.delete(key);
    return undefined;
  }

  #set(key: string, value: string | undefined, ttlMs: number): void {
    this.#entries.delete(key);
    if (value === undefined) return;
    this.#entries.set(key, { value, endsMs: this.#clock.monotonicMs() + ttlMs });
    if (this.#entries.size <= this.#maxKeys) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      return;
    }
  }
}
