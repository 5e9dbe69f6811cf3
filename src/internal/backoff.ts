/** How the delays between attempts grow. All times in milliseconds. */
export interface BackoffOptions {
  /** Delay before the second attempt. */
  readonly initialMs: number;
  /** No delay is longer than this. */
  readonly maxMs: number;
  /** Each delay is the one before times this. */
  readonly factor: number;
  /** Share of the delay that is random, 0 to 1: peers that failed together do not return together. */
  readonly jitter: number;
}

const defaults: BackoffOptions = { initialMs: 100, maxMs: 10_000, factor: 2, jitter: 0.2 };

/**
 * The delay in milliseconds before attempt `attempt + 1`, where `attempt` counts the failures so far,
 * from 1. `random` gives numbers in [0, 1). The shape is that of gRPC's connection back-off.
 */
export function backoffMs(attempt: number, random: () => number, options: Partial<BackoffOptions> = {}): number {
  const { initialMs, maxMs, factor, jitter } = { ...defaults, ...options };
  const base = Math.min(maxMs, initialMs * factor ** Math.max(0, attempt - 1));
  return base * (1 - jitter) + base * jitter * 2 * random();
}
