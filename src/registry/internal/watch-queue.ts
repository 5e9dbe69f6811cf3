import { Code, TenonError } from '../../errors/errors.ts';
import { AsyncQueue } from '../../internal/async-queue.ts';
import type { RegistryEvent, Watcher, WatchOptions } from '../registry.ts';

// A reader this far behind has stopped reading.
const maxLag = 1_024;

/** A {@link Watcher} that is fed. */
export class WatchQueue implements Watcher {
  readonly service: string | undefined;
  readonly #queue = new AsyncQueue<RegistryEvent>({ limit: maxLag, onReturn: () => this.stop() });
  readonly #onStop: (watcher: WatchQueue) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #stop = (): void => this.stop();

  constructor({ service, signal }: WatchOptions, onStop: (watcher: WatchQueue) => void) {
    this.service = service;
    this.#onStop = onStop;
    this.#signal = signal;
    if (signal?.aborted) this.stop();
    else signal?.addEventListener('abort', this.#stop, { once: true });
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
    if (!this.wants(event.service.name)) return;
    if (this.#queue.hasRoom) this.#queue.push(event);
    else this.lose('its reader lags too far behind');
  }

  /** Changes may have been missed: the iteration throws after what was seen. */
  lose(why: string, cause?: unknown): void {
    this.#queue.fail(
      new TenonError({
        code: Code.Unavailable,
        reason: 'registry.watch_lost',
        message: `the watch of ${this.service ?? 'all services'} ended, ${why}: read the registry again, and watch anew`,
        cause,
      }),
    );
    this.#leave();
  }

  stop(): void {
    this.#queue.end();
    this.#leave();
  }

  [Symbol.asyncIterator](): AsyncIterator<RegistryEvent> {
    return this.#queue;
  }

  #leave(): void {
    this.#signal?.removeEventListener('abort', this.#stop);
    this.#onStop(this);
  }
}
