import { AsyncQueue } from '../../internal/async-queue.ts';
import { backoffMs } from '../../internal/backoff.ts';
import { iterable, over } from '../../internal/iterators.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Random } from '../../runtime/runtime.ts';
import type { Event, EventCallback } from '../broker.ts';
import { type EventConsumer, settled } from './in-flight.ts';

/**
 * Passes each event to `callback`. An event whose callback fails is logged and nacked, with a growing delay so that it
 * does not come back at once.
 */
export function callbackConsumer(callback: EventCallback, logger: Logger, random: Random): EventConsumer {
  const failed = (event: Event, error: unknown): void => {
    logger.error('the callback of a subscription failed; its event is handed out again where the broker can', {
      topic: event.topic,
      attempt: event.attempt,
      error,
    });
    event.nack({ delayMs: backoffMs(event.attempt, () => random.next()) }).catch((cause: unknown) => {
      logger.warn('an event could not be returned to the broker', { topic: event.topic, error: cause });
    });
  };
  return {
    demand: Number.POSITIVE_INFINITY,
    push(event) {
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

/** The subscription of an iteration. */
export interface PullSource {
  /** The reader waits for an event. */
  resume(): void;
  /** Receives no more events. */
  stop(): void;
  /** Ends the subscription, and releases events that are not settled. */
  leave(): Promise<void>;
}

/**
 * Iterates over events. The subscription is opened with the first `next()`, and left when the iteration ends. The queue
 * holds no events: only as many are delivered to it as `next()` are pending.
 */
export function pullIteration(
  open: (queue: AsyncQueue<Event>, leave: () => Promise<void>) => Promise<PullSource>,
  signal: AbortSignal | undefined,
): AsyncIterable<Event> {
  return iterable((): AsyncIterator<Event, undefined> => {
    const queue = new AsyncQueue<Event>();
    let source: Promise<PullSource> | undefined;
    let left: Promise<void> | undefined;
    let failure: { readonly error: unknown } | undefined;
    const leave = (): Promise<void> => {
      queue.end();
      signal?.removeEventListener('abort', stop);
      return (left ??= (source ?? Promise.resolve(undefined)).then(
        (opened) => opened?.leave(),
        () => undefined,
      ));
    };
    // A reader that is busy with an event settles it before its next `next()`: only then is the subscription left.
    const stop = (): void => {
      if (queue.demand > 0) return void leave();
      queue.end();
      source?.then((opened) => opened.stop()).catch(() => undefined);
    };
    if (signal?.aborted) stop();
    else signal?.addEventListener('abort', stop, { once: true });
    return {
      async next() {
        if (!queue.isEnded) {
          source ??= open(queue, leave);
          try {
            const opened = await source;
            const pending = queue.next();
            opened.resume();
            const result = await pending;
            // The queue rejects the first that is pending; the others were to read an event as well.
            if (result.done === true && failure) throw failure.error;
            return result;
          } catch (error) {
            failure = { error };
            void leave();
            throw error;
          }
        }
        // Rejects once if the subscription died; awaited only after it was left.
        const last = queue.next();
        last.catch(() => undefined);
        await leave();
        return last;
      },
      async return() {
        await leave();
        return over;
      },
    };
  });
}

/** An event of a `watch`, which cannot be settled. */
export function watched(event: Omit<Event, 'ack' | 'nack' | 'reject'>): Event {
  return { ...event, ack: () => settled, nack: () => settled, reject: () => settled };
}
