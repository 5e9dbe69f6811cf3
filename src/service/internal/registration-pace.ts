import type { TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Clock, Random } from '../../runtime/runtime.ts';

// Renewals of nodes that started together drift apart by this share of the interval.
const renewalJitter = 0.2;
const firstRetryMs = 1_000;
const longestRetryMs = 30_000;
// Full jitter may draw almost nothing: a registry is not asked faster than this.
const shortestRetryMs = 100;
// A registry that stays away is told of again after this time.
const reminderMs = 300_000;

/** When a node is announced again, and what is said of a registry that does not take it. */
export class RegistrationPace {
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #failures = 0;
  #toldAtMs = 0;

  constructor(random: Random, clock: Clock, logger: Logger) {
    this.#random = random;
    this.#clock = clock;
    this.#logger = logger;
  }

  /**
   * The wait before the next attempt. After failures it is drawn from a range that doubles up to the interval (full jitter): the nodes of a fleet do not come back to a registry all at once,
   * and a node is back within an interval.
   */
  nextMs(intervalMs: number): number {
    const chance = this.#random.next();
    if (this.#failures === 0) return intervalMs * (1 - renewalJitter * chance);
    const mostMs = Math.min(intervalMs, longestRetryMs, firstRetryMs * 2 ** (this.#failures - 1));
    return Math.max(Math.min(shortestRetryMs, mostMs), mostMs * chance);
  }

  succeeded(service: string): void {
    if (this.#failures > 0)
      this.#logger.warn(`${service} is announced in the registry again`, { failures: this.#failures });
    this.#failures = 0;
  }

  failed(service: string, error: TenonError): void {
    this.#failures += 1;
    const now = this.#clock.monotonicMs();
    const isFirst = this.#failures === 1;
    if (!isFirst && now - this.#toldAtMs < reminderMs) return;
    this.#toldAtMs = now;
    const what = isFirst
      ? 'could not be announced in the registry; trying again'
      : 'is still not announced in the registry; trying on';
    this.#logger.warn(`${service} ${what}`, { error, failures: this.#failures });
  }
}
