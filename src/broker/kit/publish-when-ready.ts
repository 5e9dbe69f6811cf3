import { TenonError } from '../../errors/errors.ts';
import { Backoff } from '../../internal/backoff.ts';
import { pause } from '../../runtime/bounded.ts';
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

const retry = { initialMs: 20, maxMs: 1_000 } as const;

/**
 * Publishes an event, and does so again as long as the broker cannot be reached. Rejects with the last error when the
 * time has passed. Events that wait are published in the order of the calls.
 */
export async function publishWhenReady({ status, runtime, timeoutMs, signal, publish }: WhenReady): Promise<void> {
  const endMs = runtime.clock.monotonicMs() + timeoutMs;
  const leftMs = (): number => endMs - runtime.clock.monotonicMs();
  const backoff = new Backoff(runtime.random, retry);
  for (;;) {
    try {
      return await publish(Math.max(1, leftMs()));
    } catch (error) {
      if (!TenonError.is(error) || error.reason !== 'broker.unreachable' || leftMs() <= 0) throw error;
    }
    if (status.current.state === 'away') await status.changed(runtime.timers, leftMs(), signal);
    else await pause(runtime.timers, Math.min(backoff.failed(), Math.max(0, leftMs())), signal, { keepAlive: true });
  }
}
