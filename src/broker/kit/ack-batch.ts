import { backoffMs } from '../../internal/backoff.ts';
import type { Runtime, Timer } from '../../runtime/runtime.ts';

/** The parts of an {@link AckBatch}. */
export interface AckBatchInit<E> {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  send(events: readonly E[]): Promise<unknown>;
  /** True if the server refused, instead of being away. */
  isRefusal(error: unknown): boolean;
  /** Called for each refusal. `isLast`: it is not tried again, and the server redelivers the events. */
  onRefusal(error: unknown, events: number, isLast: boolean): void;
}

interface Batch<E> {
  readonly events: E[];
  readonly done: Promise<void>;
  resolve(): void;
  reject(error: unknown): void;
  refusals: number;
}

const retry = { initialMs: 20, maxMs: 1_000 } as const;
const maxRefusals = 5;
const maxEvents = 1_000;

/**
 * Sends acknowledgements of one turn of the event loop together. A batch that fails is sent again with back-off: for as
 * long as the server is away, and a few times if the server refuses it.
 */
export class AckBatch<E> {
  readonly #init: AckBatchInit<E>;
  readonly #unsent = new Set<Batch<E>>();
  #next: Batch<E> | undefined;
  #timer: Timer | undefined;
  #failures = 0;
  #closed = false;

  constructor(init: AckBatchInit<E>) {
    this.#init = init;
  }

  /** Adds an event to the next batch. Resolves when the server has confirmed it. */
  add(event: E): Promise<void> {
    if (this.#next && this.#next.events.length < maxEvents) {
      this.#next.events.push(event);
      return this.#next.done;
    }
    this.#sendNext();
    this.#next = batch(event);
    this.#init.runtime.timers.soon(() => this.#sendNext());
    return this.#next.done;
  }

  /** The events that are not confirmed by the server. */
  get events(): E[] {
    const events = [...(this.#next?.events ?? [])];
    for (const one of this.#unsent) events.push(...one.events);
    return events;
  }

  /** Drops unconfirmed batches: after a reconnect their numbers mean other events, and the server redelivers these. */
  drop(error: unknown): void {
    const dropped = [...this.#unsent];
    if (this.#next) dropped.push(this.#next);
    this.#next = undefined;
    this.#unsent.clear();
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#failures = 0;
    for (const one of dropped) one.reject(error);
  }

  /** Sends unconfirmed batches a last time. */
  async finish(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    const last = [...this.#unsent];
    if (this.#next) {
      last.push(this.#next);
      this.#unsent.add(this.#next);
    }
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

  async #try(one: Batch<E>): Promise<void> {
    try {
      await this.#init.send(one.events);
      this.#failures = 0;
      this.#unsent.delete(one);
      one.resolve();
    } catch (error) {
      // Dropped meanwhile.
      if (!this.#unsent.has(one)) return;
      if (this.#isFinal(one, error)) {
        this.#unsent.delete(one);
        one.reject(error);
      } else this.#tryLater();
    }
  }

  #isFinal(one: Batch<E>, error: unknown): boolean {
    if (!this.#init.isRefusal(error)) return this.#closed;
    one.refusals += 1;
    const isLast = this.#closed || one.refusals >= maxRefusals;
    this.#init.onRefusal(error, one.events.length, isLast);
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

function batch<E>(event: E): Batch<E> {
  let resolve: () => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const done = new Promise<void>((onDone, onFail) => {
    resolve = onDone;
    reject = onFail;
  });
  // The receiver may not await it. A failure only causes redelivery, and must not end the process.
  done.catch(() => undefined);
  return { events: [event], done, resolve, reject, refusals: 0 };
}
