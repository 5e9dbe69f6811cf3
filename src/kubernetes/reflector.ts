import { textOf } from '../errors/errors.ts';
import { onAbort } from '../internal/abort.ts';
import type { Logger } from '../logger/logger.ts';
import { retrying } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { type ApiClient, isGone, type Selection } from './api-client.ts';
import { ApiError, type ApiObject, type ApiResource } from './kubernetes.ts';

/** Options of a {@link Reflector}. */
export interface ReflectorOptions<T extends ApiObject> {
  readonly client: ApiClient;
  readonly resource: ApiResource;
  readonly by: Selection;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** Longest time of one watch in milliseconds; a random part of it, up to a fifth, is added. */
  readonly watchMs: number;
  /** Called after each list, with all that was there: objects that are missing were removed. */
  readonly replaced: (objects: readonly T[]) => void;
  /** Called with an object that was added or changed. */
  readonly changed: (object: T) => void;
  /** Called with an object that was removed, as it was last. */
  readonly removed: (object: T) => void;
  /** Called if a watch goes on that was interrupted, before the changes since. */
  readonly resumed: () => void;
  /** Called if the server has lost its data, before what it has now is listed: absences may mean nothing. */
  readonly lost: () => void;
}

const backoff = { initialMs: 500, maxMs: 30_000 };
// A connection that is made and lost at once is no recovery.
const healthyMs = 60_000;
// The longest wait that the server may ask for.
const maxAskedMs = 120_000;
// Beyond the end of a watch, which the server should have told.
const silenceMs = 10_000;

/**
 * Reports the objects of a list and all changes of them, as client-go's Reflector does: it lists, watches from the
 * version of the list on, and resumes a watch that ended from the last version that it saw. A version that the server
 * no longer has is a reason to list again, and one that it does not have yet: then it has lost its data. Failures are
 * followed by back-off, which only a watch that lasted a minute resets.
 */
export class Reflector<T extends ApiObject> {
  readonly #options: ReflectorOptions<T>;
  /** The version to watch from; `undefined` while the list has to be read. */
  #version: string | undefined;
  /** True if the server may be another one than that which had `#version`. */
  #isResumed = false;
  #isDown = false;

  constructor(options: ReflectorOptions<T>) {
    this.#options = options;
  }

  /** Lists, and goes on until `signal` aborts. Resolves when the list is read, and rejects if that fails. */
  async start(signal: AbortSignal): Promise<void> {
    await this.#list(signal);
    void this.#run(signal);
  }

  /** Never rejects. */
  async #run(signal: AbortSignal): Promise<void> {
    const { runtime } = this.#options;
    const { clock } = runtime;
    let beganAtMs = clock.monotonicMs();
    const session = async (): Promise<never> => {
      beganAtMs = clock.monotonicMs();
      for (;;) {
        if (this.#version === undefined) await this.#list(signal);
        await this.#watch(signal);
      }
    };
    await retrying(session, {
      runtime,
      backoff,
      signal,
      keepAlive: false,
      onFailure: (error, delayMs, waits) => {
        const isHealthy = clock.monotonicMs() - beganAtMs >= healthyMs;
        if (isGone(error)) this.#version = undefined;
        else this.#noteFailure(error);
        if (isHealthy) waits.succeeded();
        const asked = Math.min((error instanceof ApiError && error.retryAfterMs) || 0, maxAskedMs);
        return Math.max(isHealthy ? waits.failed() : delayMs, asked);
      },
    }).catch(() => {});
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, resource, by, replaced } = this.#options;
    const { items, resourceVersion } = await client.list<T>(resource, by, signal);
    this.#version = resourceVersion;
    this.#isResumed = false;
    replaced(items);
  }

  /** Watches until the server ends it. Rejects if that is sooner than it was asked to. */
  async #watch(signal: AbortSignal): Promise<void> {
    const { client, resource, by, runtime, watchMs, changed, removed } = this.#options;
    const lastsMs = watchMs * (1 + runtime.random.next() / 5);
    const timeoutSeconds = Math.ceil(lastsMs / 1_000);
    const beganAtMs = runtime.clock.monotonicMs();
    const resourceVersion = this.#version ?? '';
    const idleMs = timeoutSeconds * 1_000 + silenceMs;
    const isResumed = this.#isResumed;
    this.#isResumed = true;
    const ended = new AbortController();
    const forget = onAbort(signal, (reason) => ended.abort(reason));
    try {
      const bounds = { signal: ended.signal, idleMs };
      const events = await client.watch<T>(resource, { ...by, resourceVersion, timeoutSeconds }, bounds);
      if (isResumed && (await this.#isLost(resourceVersion, signal))) return;
      this.#noteSuccess();
      for await (const { type, object } of events) {
        this.#version = object.metadata?.resourceVersion ?? this.#version;
        if (type === 'DELETED') removed(object);
        else if (type !== 'BOOKMARK') changed(object);
      }
    } finally {
      forget();
      ended.abort();
    }
    if (runtime.clock.monotonicMs() - beganAtMs < lastsMs / 2) throw new Error('the API server ended the watch early');
  }

  /** A watch from a version that the server does not have yet says nothing until it has. */
  async #isLost(version: string, signal: AbortSignal): Promise<boolean> {
    const { client, resource, by, lost, logger } = this.#options;
    const current = Number(await client.version(resource, by, signal));
    if (Number.isNaN(current) || current >= Number(version)) return false;
    logger.warn(`the API server has lost its data: it is at version ${current}, and was at ${version}`);
    this.#version = undefined;
    lost();
    return true;
  }

  #noteFailure(error: unknown): void {
    const { logger, resource } = this.#options;
    if (!this.#isDown) {
      logger.warn(`the watch of ${resource.plural} in ${resource.namespace} is interrupted, and tried again`, {
        why: textOf(error),
      });
    }
    this.#isDown = true;
  }

  #noteSuccess(): void {
    if (!this.#isDown) return;
    const { logger, resource, resumed } = this.#options;
    logger.info(`the watch of ${resource.plural} in ${resource.namespace} goes on`);
    this.#isDown = false;
    resumed();
  }
}
