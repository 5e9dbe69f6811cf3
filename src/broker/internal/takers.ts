import { backoffMs } from '../../internal/backoff.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Random } from '../../runtime/runtime.ts';
import type { Event, EventCallback } from '../broker.ts';
import type { Taker } from './receiver.ts';

/** Calls `callback` for each event. One that fails is logged and nacked, with a growing delay so that it does not spin. */
export function pushTaker(callback: EventCallback, logger: Logger, random: Random): Taker {
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
    wanted: Number.POSITIVE_INFINITY,
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

/** Hands each event to a reader that has asked for it. */
export class PullTaker implements Taker {
  #waiting: ((result: Result) => void)[] = [];
  #ended = false;

  get wanted(): number {
    return this.#waiting.length;
  }

  get isEnded(): boolean {
    return this.#ended;
  }

  take(event: Event): void {
    this.#waiting.shift()?.({ done: false, value: event });
  }

  next(): Promise<Result> {
    if (this.#ended) return Promise.resolve(ended);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  end(): void {
    this.#ended = true;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(ended);
  }
}

/** What an iteration over events stands on. */
export interface PullSource {
  /** There is a reader who asks. */
  asked(): void;
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
        if (taker.wanted > 0) return void leave();
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
              opened.asked();
              return await result;
            } catch (error) {
              void leave();
              throw error;
            }
          }
          await leave();
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
