import { AsyncQueue } from '../../internal/async-queue.ts';
import type { RegistryEvent, Watcher, WatchOptions } from '../registry.ts';
import { watchLost } from './errors.ts';

// A reader this far behind has stopped reading.
const maxLag = 1_024;

/** A {@link Watcher} that is fed. */
export class WatchQueue implements Watcher {
  readonly service: string | undefined;
  readonly #queue: AsyncQueue<RegistryEvent>;

  /** @param onStop called once, however the watch ends */
  constructor({ service, signal }: WatchOptions, onStop: (watcher: WatchQueue) => void) {
    this.service = service;
    this.#queue = new AsyncQueue({
      limit: maxLag,
      overflow: () => watchLost(service, 'its reader lags too far behind'),
      signal,
      onEnd: () => onStop(this),
    });
  }

  /** Nothing that is pushed from here on is read. */
  get isStopped(): boolean {
    return this.#queue.isEnded;
  }

  /** Whether the watcher wants to know of the service. */
  wants(name: string): boolean {
    return this.service === undefined || this.service === name;
  }

  push(event: RegistryEvent): void {
    if (this.wants(event.service.name)) this.#queue.push(event);
  }

  /** Changes may have been missed: the iteration throws after what was seen. */
  lose(why: string, cause?: unknown): void {
    this.#queue.fail(watchLost(this.service, why, cause));
  }

  stop(): void {
    this.#queue.end();
  }

  [Symbol.asyncIterator](): AsyncIterator<RegistryEvent> {
    return this.#queue;
  }
}
