import type { Timers } from '../../runtime/runtime.ts';

interface Batch {
  readonly ids: string[];
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
}

/** Sends what was acknowledged in one turn of the event loop together, and again after an outage. */
export class AckBatch {
  readonly #timers: Timers;
  readonly #send: (ids: readonly string[]) => Promise<unknown>;
  readonly #unsent = new Set<Batch>();
  #next: Batch | undefined;
  #closed = false;

  constructor(timers: Timers, send: (ids: readonly string[]) => Promise<unknown>) {
    this.#timers = timers;
    this.#send = send;
  }

  /** Resolves when the broker knows. */
  add(id: string): Promise<void> {
    if (!this.#next) {
      this.#next = batch();
      this.#timers.soon(() => this.#sendNext());
    }
    this.#next.ids.push(id);
    return this.#next.done;
  }

  /** Whether the broker is yet to be told. */
  has(id: string): boolean {
    if (this.#next?.ids.includes(id)) return true;
    for (const { ids } of this.#unsent) if (ids.includes(id)) return true;
    return false;
  }

  /** Tries again what could not be sent. */
  flush(): void {
    for (const one of this.#unsent) void this.#try(one);
  }

  /** Tries a last time. */
  async finish(): Promise<void> {
    this.#closed = true;
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
      await this.#send(one.ids);
      this.#unsent.delete(one);
      one.resolve();
    } catch (error) {
      if (!this.#closed) return;
      this.#unsent.delete(one);
      one.reject(error);
    }
  }
}

function batch(): Batch {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const done = new Promise<void>((onDone, onFail) => {
    resolve = onDone;
    reject = onFail;
  });
  // Whoever acknowledged may not look: the event comes again then, which is not an error of the process.
  done.catch(() => undefined);
  return { ids: [], done, resolve, reject };
}
