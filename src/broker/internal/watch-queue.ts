import type { Event } from '../broker.ts';
import { settled } from './receiver.ts';

type Result = IteratorResult<Event, undefined>;
const ended: Result = { done: true, value: undefined };

/** A bounded queue for one reader that may lag: the oldest give way. */
export class WatchQueue {
  readonly #limit: number;
  #events: Event[] = [];
  #waiting: ((result: Result) => void)[] = [];
  #ended = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  push(event: Event): void {
    if (this.#ended) return;
    const waiter = this.#waiting.shift();
    if (waiter) {
      waiter({ done: false, value: event });
      return;
    }
    if (this.#events.length >= this.#limit) this.#events.shift();
    this.#events.push(event);
  }

  next(): Promise<Result> {
    const value = this.#events.shift();
    if (value) return Promise.resolve({ done: false, value });
    if (this.#ended) return Promise.resolve(ended);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  end(): void {
    this.#ended = true;
    this.#events = [];
    for (const resolve of this.#waiting.splice(0)) resolve(ended);
  }
}

/** An event that is only looked at. */
export function watched(topic: string, headers: Event['headers'], body: Uint8Array): Event {
  return { topic, headers, body, attempt: 1, ack: () => settled, nack: () => settled };
}

/** An iteration over a {@link WatchQueue} that is filled from the first `next()` on, until it is left. */
export function watchIteration(
  limit: number,
  open: (queue: WatchQueue) => Promise<() => void>,
  signal: AbortSignal | undefined,
): AsyncIterable<Event> {
  return {
    [Symbol.asyncIterator](): AsyncIterator<Event, undefined> {
      const queue = new WatchQueue(limit);
      let opened: Promise<() => void> | undefined;
      const leave = (): void => {
        signal?.removeEventListener('abort', leave);
        queue.end();
        opened?.then((close) => close()).catch(() => undefined);
        opened = Promise.resolve(() => undefined);
      };
      if (signal?.aborted) leave();
      else signal?.addEventListener('abort', leave, { once: true });
      return {
        async next() {
          opened ??= open(queue);
          try {
            await opened;
          } catch (error) {
            leave();
            throw error;
          }
          return queue.next();
        },
        return() {
          leave();
          return Promise.resolve(ended);
        },
      };
    },
  };
}
