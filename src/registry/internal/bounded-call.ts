import { checkNumber } from '../../errors/checked-options.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import type { Timers } from '../../runtime/runtime.ts';
import { callCancelled } from './records.ts';

/** When a call of a registry gives up. */
export interface CallBounds {
  /** The registry's name. */
  readonly registry: string;
  readonly what: string;
  /** Where the registry is, for messages. */
  readonly where: string;
  readonly timers: Timers;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs `work`, given up with DEADLINE_EXCEEDED (`registry.timeout`) when its time has passed and with CANCELLED when the caller aborts. `work` gets a signal that
 * aborts then, in case it can stop.
 */
export function boundedCall<T>(bounds: CallBounds, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { registry, what, where, timers, timeoutMs, signal } = bounds;
  return new Promise((resolve, reject) => {
    checkNumber('timeoutMs', timeoutMs);
    const controller = new AbortController();
    const giveUp = (error: TenonError): void => {
      end();
      reject(error);
      controller.abort(error);
    };
    const timer = timers.after(
      timeoutMs,
      () =>
        giveUp(
          new TenonError({
            code: Code.DeadlineExceeded,
            reason: 'registry.timeout',
            message: `${what}: ${where} did not answer the ${registry} registry within ${timeoutMs} ms; whether it took effect is not known`,
          }),
        ),
      { keepAlive: true },
    );
    const onAbort = (): void => giveUp(callCancelled(registry, signal as AbortSignal));
    const end = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    work(controller.signal).then(resolve, reject).finally(end);
  });
}
