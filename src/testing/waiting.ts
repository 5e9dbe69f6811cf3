import { systemTimers } from '../runtime/system.ts';

const pauseMs = 5;

/**
 * Resolves when `condition` holds; rejects, naming `what`, when it does not within `limitMs`: 4 s, less than most
 * runners give a test, so that the message is seen. Looks are counted and not time: on a busy machine the process that
 * looks and the one that is looked at are slow together.
 */
export async function eventually(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = 4_000,
): Promise<void> {
  for (let looks = 0; !(await condition()); looks += 1) {
    if (looks * pauseMs > limitMs) throw new Error(`${what}: not within ${limitMs} ms`);
    await systemTimers.sleep(pauseMs);
  }
}

/** Options of {@link within}. */
export interface WithinOptions {
  /** @default 30_000 */
  readonly limitMs?: number | undefined;
  /**
   * True if the wait keeps the process alive.
   * @default false
   */
  readonly keepAlive?: boolean | undefined;
}

/**
 * Resolves or rejects as `work` does; rejects, naming `what`, when it has not ended within `limitMs`. Ticks are
 * counted and not time: a busy machine slows them as it slows the work.
 */
export function within<T>(what: string, work: PromiseLike<T>, options: WithinOptions = {}): Promise<T> {
  const { limitMs = 30_000, keepAlive = false } = options;
  const tickMs = Math.max(10, limitMs / 100);
  return new Promise<T>((resolve, reject) => {
    let ticks = 0;
    const timer = systemTimers.every(
      tickMs,
      () => {
        ticks += 1;
        if (ticks * tickMs >= limitMs) end(() => reject(new Error(`${what}: nothing for ${limitMs} ms`)));
      },
      { keepAlive },
    );
    const end = (settle: () => void): void => {
      timer.cancel();
      settle();
    };
    work.then(
      (value) => end(() => resolve(value)),
      (error: unknown) => end(() => reject(error)),
    );
  });
}

/** Resolves with a count once it has not changed for `quietMs`. */
export async function settled(count: () => number, quietMs = 150): Promise<number> {
  for (;;) {
    const before = count();
    await systemTimers.sleep(quietMs);
    if (count() === before) return before;
  }
}

/** A promise that a test resolves by `open`. */
export interface Gate<T = void> {
  readonly opened: Promise<T>;
  open(value: T): void;
}

/** Makes a closed gate. */
export function gate<T = void>(): Gate<T> {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
