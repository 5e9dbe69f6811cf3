import { TenonError } from '../../errors/errors.ts';
import { pause } from '../../runtime/bounded.ts';
import { retrying } from '../../runtime/retrying.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { ConnectionStatus } from './connection-status.ts';

/** The parts of {@link publishWhenReady}. */
export interface WhenReady {
  readonly status: ConnectionStatus;
  readonly runtime: Runtime;
  /** Longest wait, with the calls. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Publishes the event, within a time. */
  readonly publish: (timeoutMs: number) => Promise<void>;
}

// Events that fail together wait for the same time: they keep their order.
const backoff = { initialMs: 20, maxMs: 1_000, jitter: 0 } as const;

/**
 * Publishes an event, and does so again as long as the broker cannot be reached. Rejects with the last error when the
 * time has passed. Events that wait are published in the order of the calls.
 */
export function publishWhenReady({ status, runtime, timeoutMs, signal, publish }: WhenReady): Promise<void> {
  const { clock, timers } = runtime;
  const endMs = clock.monotonicMs() + timeoutMs;
  const leftMs = (): number => Math.max(0, endMs - clock.monotonicMs());
  return retrying(() => publish(Math.max(1, leftMs())), {
    runtime,
    backoff,
    onFailure: (error, delayMs) => {
      if (!TenonError.is(error) || error.reason !== 'broker.unreachable' || leftMs() === 0) throw error;
      return Math.min(delayMs, leftMs());
    },
    pause: (delayMs) =>
      status.current.state === 'away'
        ? status.changed(timers, leftMs(), signal)
        : pause(timers, delayMs, signal, { keepAlive: true }),
  });
}
