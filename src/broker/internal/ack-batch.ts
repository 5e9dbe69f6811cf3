import { backoffMs } from '../../internal/backoff.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';

/** What an {@link AckBatch} works with. */
export interface AckBatchInit {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  send(ids: readonly string[]): Promise<unknown>;
  /** Whether the broker said no, instead of being away. */
  isRefusal(error: unknown): boolean;
  /** `isLast`: it is not tried again, and the events come again. */
  onRefusal(error: unknown, events: number, isLast: boolean): void;
}

interface Batch {
  readonly ids: readonly string[];
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
  refusals: number;
}

const retry = { initialMs: 20, maxMs: 1_000 } as const;
const maxRefusals = 5;
const maxIds = 1_000;

/**
 * Sends what was acknowledged in one turn of the event loop together. What could not be sent is tried again with back-off: for as long as the broker is away, and
 * a few times where it refuses.
 */
export class AckBatch {
  readonly #init: AckBatchInit;
  readonly #unsent = new Set<Batch>();
  #next: (Batch & { readonly ids: string[] }) | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #closed = false;

  constructor(init: AckBatchInit) {
    this.#init = init;
  }

  /** Resolves when the broker knows. */
  add(id: string): Promise<void> {
    if (this.#next && this.#next.ids.length < maxIds) {
      this.#next.ids.push(id);
      return this.#next.done;
    }
    this.#sendNext();
    this.#next = batch(id);
    this.#init.runtime.timers.soon(() => this.#sendNext());
    return this.#next.done;
  }

  /** Whether the broker is yet to be told. */
  has(id: string): boolean {
    if (this.#next?.ids.includes(id)) return true;
    for (const { ids } of this.#unsent) if (ids.includes(id)) return true;
    return false;
  }

  /** Tries a last time. */
  async finish(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    const last = [...this.#unsent];
    if (this.#next) last.push(this.#next);
    this.#next = undefined;
    await Promise.all(last.map((one) => this.#try(one)));
  }

  #sendNext(): void {
    const next = this.#next;
    this.#next = undefined;
    if (!next) return;
    this.#unsent.add(next);
    void this.#try(next);
  }

  async #try(one: Batch): Promise<void> {
    try {
      await this.#init.send(one.ids);
      this.#failures = 0;
      this.#unsent.delete(one);
      one.resolve();
    } catch (error) {
      if (this.#isFinal(one, error)) {
        this.#unsent.delete(one);
        one.reject(error);
      } else this.#tryLater();
    }
  }

  #isFinal(one: Batch, error: unknown): boolean {
    if (!this.#init.isRefusal(error)) return this.#closed;
    one.refusals += 1;
    const isLast = this.#closed || one.refusals >= maxRefusals;
    this.#init.onRefusal(error, one.ids.length, isLast);
    return isLast;
  }

  #tryLater(): void {
    if (this.#timer || this.#closed) return;
    this.#failures += 1;
    const { timers, random } = this.#init.runtime;
    this.#timer = timers.after(
      backoffMs(this.#failures, () => random.next(), retry),
      () => {
        this.#timer = undefined;
        for (const one of this.#unsent) void this.#try(one);
      },
    );
  }
}

function batch(id: string): Batch & { readonly ids: string[] } {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const done = new Promise<void>((onDone, onFail) => {
    resolve = onDone;
    reject = onFail;
  });
  // Whoever acknowledged may not look: the event comes again then, which is not an error of the process.
  done.catch(() => undefined);
  return { ids: [id], done, resolve, reject, refusals: 0 };
}
