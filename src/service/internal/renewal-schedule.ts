import type { TenonError } from '../../errors/errors.ts';
import { isTransient } from '../../errors/transient.ts';
import type { Logger } from '../../logger/logger.ts';
import { Outage } from '../../runtime/outage.ts';
import type { Clock, Random } from '../../runtime/runtime.ts';

// The largest share of the interval by which a renewal comes early, so that nodes that started together spread out.
const renewalJitter = 0.2;

/** Schedules renewals of a registration, with back-off after failures, and logs outages of the registry. */
export class RenewalSchedule {
  readonly #random: Random;
  readonly #outage: Outage;

  constructor(random: Random, clock: Clock) {
    this.#random = random;
    this.#outage = new Outage({ random, clock });
  }

  /**
   * Time until the next attempt: the interval less some jitter, or after failures a back-off of at most the interval,
   * so that a node is registered again within one interval.
   */
  nextMs(intervalMs: number): number {
    if (this.#outage.failures > 0) return this.#outage.retryMs(intervalMs);
    return intervalMs * (1 - renewalJitter * this.#random.next());
  }

  /** Notes an attempt that succeeded. Returns true if attempts before it had failed. */
  succeeded(service: string, logger: Logger): boolean {
    const failures = this.#outage.ended();
    if (failures > 0) logger.warn(`${service} is registered again`, { failures });
    return failures > 0;
  }

  failed(service: string, error: TenonError, logger: Logger): void {
    const told = this.#outage.failed(isTransient(error) ? 'away' : 'refused');
    if (told === undefined) return;
    const what =
      told === 'new'
        ? 'could not be registered; callers cannot find it once its lease has expired; trying again'
        : 'is still not registered; still trying';
    logger.warn(`${service} ${what}`, { error, failures: this.#outage.failures });
  }
}
