import { AsyncQueue } from '../../internal/async-queue.ts';
import type { RegistryEvent, Watcher, WatchOptions } from '../registry.ts';
import { watchLost } from './errors.ts';

// A reader this far behind is taken to have stopped reading.
const maxLag = 1_024;

/** A {@link Watcher} over a bounded queue of events. */
export class WatchQueue implements Watcher {
  readonly service: string | undefined;
  readonly #queue: AsyncQueue<RegistryEvent>;

  /** @param onStop called once when the watch ends, for whatever reason */
  constructor({ service, signal }: WatchOptions, onStop: (watcher: WatchQueue) => void) {
    this.service = service;
    this.#queue = new AsyncQueue({
      limit: maxLag,
      overflow: () => watchLost(service, 'its reader lags too far behind'),
      signal,
      onEnd: () => onStop(this),
    });
  }

  /** True if further events are ignored. */
  get isStopped(): boolean {
    return this.#queue.isEnded;
  }

  /** True if the watch covers the service. */
  covers(name: string): boolean {
    return this.service === undefined || this.service === name;
  }

  push(event: RegistryEvent): void {
    if (this.covers(event.service.name)) this.#queue.push(event);
  }

  /** Ends the iteration with `registry.watch_lost`, after the events that are queued. */
  fail(why: string, cause?: unknown): void {
    this.#queue.fail(watchLost(this.service, why, cause));
  }

  stop(): void {
    // Drops queued events, as an abort of the signal does.
    void this.#queue.return();
  }

  [Symbol.asyncIterator](): AsyncIterator<RegistryEvent> {
    return this.#queue;
  }
}
