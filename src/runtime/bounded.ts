import { type Abortable, onAbort } from '../internal/abort.ts';
import type { Timer, Timers } from './runtime.ts';

/** Options of {@link bounded}: the time and the signal that end a wait, and their errors. */
export interface Bounds {
  readonly timers: Pick<Timers, 'after'>;
  /** @default no bound */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait when it aborts. The context of a call serves as well. */
  readonly signal?: AbortSignal | Abortable | undefined;
  /** True if the pending time-out keeps the process alive. @default true */
  readonly keepAlive?: boolean | undefined;
  /** The error for a time-out. @default a `DOMException` named `TimeoutError` */
  readonly onTimeout?: ((timeoutMs: number) => unknown) | undefined;
  /** The error for an abort. @default the signal's reason */
  readonly onAbort?: ((reason: unknown) => unknown) | undefined;
}

/** A promise, or a function that is given a signal and makes one. */
export type BoundedWork<T> = PromiseLike<T> | ((signal: AbortSignal) => PromiseLike<T>);

/**
 * Waits for `work`, at most until its time-out passes or `signal` aborts: then it rejects at once with the error for
 * that. A function is given a signal that aborts with the same error, and is not called if `signal` has aborted
 * already. A later result or error of `work` is ignored. Neither timer nor listener outlives the wait.
 */
export function bounded<T>(work: BoundedWork<T>, bounds: Bounds): Promise<T> {
  const { timeoutMs, signal } = bounds;
  return new Promise((resolve, reject) => {
    const controller = typeof work === 'function' ? new AbortController() : undefined;
    let isOver = false;
    let timer: Timer | undefined;
    let forget = (): void => {};
    const end = (): void => {
      isOver = true;
      timer?.cancel();
      forget();
    };
    const giveUp = (error: unknown): void => {
      if (isOver) return;
      end();
      reject(error);
      controller?.abort(error);
    };
    forget = onAbort(signal, (reason) => giveUp(bounds.onAbort ? bounds.onAbort(reason) : reason));
    if (!isOver && timeoutMs !== undefined && timeoutMs !== Number.POSITIVE_INFINITY) {
      const { onTimeout = timeoutError, keepAlive = true } = bounds;
      timer = bounds.timers.after(timeoutMs, () => giveUp(onTimeout(timeoutMs)), { keepAlive });
    }
    const watch = async (): Promise<void> => {
      try {
        const value = await (controller
          ? (work as (signal: AbortSignal) => PromiseLike<T>)(controller.signal)
          : (work as PromiseLike<T>));
        if (isOver) return;
        end();
        resolve(value);
      } catch (error) {
        if (isOver) return;
        end();
        reject(error);
      }
    };
    if (!isOver || !controller) void watch();
  });
}

/**
 * Waits for `work` as {@link bounded} does, and gives true if it ended, false if the wait was given up. Rejects if
 * `work` rejects.
 */
export async function endsWithin(work: BoundedWork<unknown>, bounds: Bounds): Promise<boolean> {
  let isGivenUp = false;
  const givenUp = <T>(error: T): T => {
    isGivenUp = true;
    return error;
  };
  const { onTimeout = timeoutError, onAbort: onAborted = (reason: unknown) => reason } = bounds;
  try {
    await bounded(work, {
      ...bounds,
      onTimeout: (timeoutMs) => givenUp(onTimeout(timeoutMs)),
      onAbort: (reason) => givenUp(onAborted(reason)),
    });
    return true;
  } catch (error) {
    if (isGivenUp) return false;
    throw error;
  }
}

/**
 * Resolves after `delayMs`, or as soon as `signal` aborts. Does not keep the process alive unless `keepAlive` is set.
 */
export function pause(
  timers: Pick<Timers, 'after'>,
  delayMs: number,
  signal?: AbortSignal | Abortable,
  { keepAlive = false }: { readonly keepAlive?: boolean | undefined } = {},
): Promise<void> {
  return new Promise((resolve) => {
    let isOver = false;
    let cancel = (): void => {};
    const forget = onAbort(signal, () => {
      isOver = true;
      cancel();
      resolve();
    });
    if (isOver) return;
    const ended = (): void => {
      forget();
      resolve();
    };
    const timer = timers.after(delayMs, ended, { keepAlive });
    cancel = () => timer.cancel();
  });
}

function timeoutError(timeoutMs: number): DOMException {
  return new DOMException(`it did not end within ${timeoutMs} ms`, 'TimeoutError');
}
