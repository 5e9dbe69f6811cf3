import type { Random, Timers } from '../runtime/runtime.ts';
import { systemRandom, systemTimers } from '../runtime/system.ts';
import type { InboxStore, OutboxEvent, OutboxLease, OutboxStore, StoredOutboxEvent } from './outbox.ts';

/** A transaction of a {@link MemoryOutbox}. */
export interface MemoryTransaction {
  readonly events: OutboxEvent[];
  readonly keys: Set<string>;
}

/** An outbox and an inbox in this process, for tests. Transactions run one after another. */
export class MemoryOutbox implements OutboxStore<MemoryTransaction>, InboxStore<MemoryTransaction> {
  readonly #random: Random;
  readonly #timers: Timers;
  readonly #events: StoredOutboxEvent[] = [];
  readonly #aside: (StoredOutboxEvent & { readonly reason: string })[] = [];
  readonly #handled = new Set<string>();
  readonly #waiting: (() => void)[] = [];
  #last: Promise<unknown> = Promise.resolve();
  #isLed = false;
  #positions = 0;

  constructor(random: Random = systemRandom, timers: Timers = systemTimers) {
    this.#random = random;
    this.#timers = timers;
  }

  /** The events that wait to be published, in the order of their commits. */
  get events(): readonly StoredOutboxEvent[] {
    return this.#events;
  }

  /** The events that were set aside. */
  get aside(): readonly (StoredOutboxEvent & { readonly reason: string })[] {
    return this.#aside;
  }

  /** Runs a transaction: its events and keys are kept if `work` resolves, and forgotten if it rejects. */
  transaction<T>(work: (tx: MemoryTransaction) => Promise<T>): Promise<T> {
    const run = this.#last.then(async () => {
      const tx: MemoryTransaction = { events: [], keys: new Set() };
      const result = await work(tx);
      this.#commit(tx);
      return result;
    });
    this.#last = run.catch(() => undefined);
    return run;
  }

  async add(tx: MemoryTransaction, events: readonly OutboxEvent[]): Promise<void> {
    tx.events.push(...events.map((event) => ({ ...event, body: new Uint8Array(event.body) })));
  }

  async record(tx: MemoryTransaction, key: string): Promise<boolean> {
    if (this.#handled.has(key) || tx.keys.has(key)) return false;
    tx.keys.add(key);
    return true;
  }

  async lead(signal: AbortSignal): Promise<OutboxLease> {
    while (this.#isLed) {
      signal.throwIfAborted();
      await this.#change(Number.POSITIVE_INFINITY, signal);
    }
    signal.throwIfAborted();
    this.#isLed = true;
    return {
      read: async (count, after = '0') => this.#events.filter(({ id }) => Number(id) > Number(after)).slice(0, count),
      remove: async (ids) => void this.#remove(ids),
      setAside: async (id, reason) => {
        const [event] = this.#remove([id]);
        if (event) this.#aside.push({ ...event, reason });
      },
      changed: (timeoutMs, ending) => this.#change(timeoutMs, ending),
      release: async () => {
        this.#isLed = false;
        this.#wake();
      },
    };
  }

  #commit({ events, keys }: MemoryTransaction): void {
    for (const key of keys) this.#handled.add(key);
    for (const event of events) {
      this.#positions += 1;
      this.#events.push({ ...event, id: String(this.#positions), eventId: this.#random.uuid() });
    }
    if (events.length > 0) this.#wake();
  }

  #remove(ids: readonly string[]): readonly StoredOutboxEvent[] {
    const removed: StoredOutboxEvent[] = [];
    for (const id of ids) {
      const index = this.#events.findIndex((event) => event.id === id);
      if (index >= 0) removed.push(...this.#events.splice(index, 1));
    }
    return removed;
  }

  #change(timeoutMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const timer = timeoutMs === Number.POSITIVE_INFINITY ? undefined : this.#timers.after(timeoutMs, () => end());
      const end = (): void => {
        timer?.cancel();
        signal.removeEventListener('abort', end);
        const index = this.#waiting.indexOf(end);
        if (index >= 0) this.#waiting.splice(index, 1);
        resolve();
      };
      this.#waiting.push(end);
      if (signal.aborted) end();
      else signal.addEventListener('abort', end, { once: true });
    });
  }

  #wake(): void {
    for (const end of this.#waiting.slice()) end();
  }
}
