import { backoffMs } from '../../internal/backoff.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Random } from '../../runtime/runtime.ts';
import type { Event, EventCallback } from '../broker.ts';
import { type EventTaker, settled } from './in-flight.ts';

/**
 * Calls `callback` for each event. One that fails is logged and nacked, with a growing delay so that it does not spin.
 */
export function pushTaker(callback: EventCallback, logger: Logger, random: Random): EventTaker {
  const failed = (event: Event, error: unknown): void => {
    logger.error('the callback of a subscription failed; its event is handed out again where the broker can', {
      topic: event.topic,
      attempt: event.attempt,
      error,
    });
    event.nack({ delayMs: backoffMs(event.attempt, () => random.next()) }).catch((cause: unknown) => {
      logger.warn('an event could not be given back', { topic: event.topic, error: cause });
    });
  };
  return {
    demand: Number.POSITIVE_INFINITY,
    take(event) {
      try {
        const result = callback(event);
        // Only a promise can fail later: a callback that returns nothing costs none.
        if (result !== undefined) result.then(undefined, (error: unknown) => failed(event, error));
      } catch (error) {
        failed(event, error);
      }
    },
  };
}

type Result = IteratorResult<Event, undefined>;
const ended: Result = { done: true, value: undefined };

interface Reader {
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
}

/** Hands each event to a reader that has asked for it. */
export class PullTaker implements EventTaker {
  #readers: Reader[] = [];
  #ended = false;
  #failure: { readonly error: unknown } | undefined;

  get demand(): number {
    return this.#readers.length;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  take(event: Event): void {
    this.#readers.shift()?.resolve({ done: false, value: event });
  }

  next(): Promise<Result> {
    if (this.#failure) return Promise.reject(this.#failure.error);
    if (this.#ended) return Promise.resolve(ended);
    return new Promise((resolve, reject) => this.#readers.push({ resolve, reject }));
  }

  end(): void {
    this.#ended = true;
    for (const { resolve } of this.#readers.splice(0)) resolve(ended);
  }

  /** Ends it with an error, which one who reads is told. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const readers = this.#readers.splice(0);
    if (readers.length === 0) this.#failure = { error };
    for (const { reject } of readers) reject(error);
  }

  /** The error that it ended with and nobody was told, once. */
  takeFailure(): { readonly error: unknown } | undefined {
    const failure = this.#failure;
    this.#failure = undefined;
    return failure;
  }
}

/** The subscription below an iteration. */
export interface PullSource {
  /** There is a reader who asks. */
  resume(): void;
  /** Takes no more events. */
  stop(): void;
  /** The iteration is over: gives back what is in hand. */
  leave(): Promise<void>;
}

/** An iteration that opens its subscription with the first `next()`, and gives everything back when it is left. */
export function pullIteration(
  open: (taker: PullTaker, leave: () => Promise<void>) => Promise<PullSource>,
  signal: AbortSignal | undefined,
): AsyncIterable<Event> {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Event, undefined> {
      const taker = new PullTaker();
      let source: Promise<PullSource> | undefined;
      let left: Promise<void> | undefined;
      const leave = (): Promise<void> => {
        taker.end();
        signal?.removeEventListener('abort', stop);
        return (left ??= (source ?? Promise.resolve(undefined)).then(
          (opened) => opened?.leave(),
          () => undefined,
        ));
      };
      // The reader may be busy with an event, and settles it before it asks again: only then is the rest given back.
      const stop = (): void => {
        if (taker.demand > 0) return void leave();
        taker.end();
        source?.then((opened) => opened.stop()).catch(() => undefined);
      };
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop, { once: true });
      return {
        async next() {
          if (!taker.isEnded) {
            source ??= open(taker, leave);
            try {
              const opened = await source;
              const result = taker.next();
              opened.resume();
              return await result;
            } catch (error) {
              void leave();
              throw error;
            }
          }
          const failure = taker.takeFailure();
          await leave();
          if (failure) throw failure.error;
          return ended;
        },
        async return() {
          await leave();
          return ended;
        },
      };
    },
  };
}

/** An event that is only looked at. */
export function watched(event: Omit<Event, 'ack' | 'nack' | 'reject'>): Event {
  return { ...event, ack: () => settled, nack: () => settled, reject: () => settled };
}
