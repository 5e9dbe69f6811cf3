import type { TenonError } from '../../errors/errors.ts';
import { isTransient } from '../../errors/transient.ts';
import type { Logger } from '../../logger/logger.ts';
import { Outage } from '../../runtime/outage.ts';
import type { Clock, Random } from '../../runtime/runtime.ts';

// Renewals of nodes that started together drift apart by this share of the interval.
const renewalJitter = 0.2;

/** When a node is announced again, and what is said of a registry that does not take it. */
export class RegistrationPace {
  readonly #random: Random;
  readonly #outage: Outage;

  constructor(random: Random, clock: Clock) {
    this.#random = random;
    this.#outage = new Outage({ random, clock });
  }

  /**
   * The wait before the next attempt: after failures never longer than an interval, so that a node is back within one.
   */
  nextMs(intervalMs: number): number {
    if (this.#outage.failures > 0) return this.#outage.retryMs(intervalMs);
    return intervalMs * (1 - renewalJitter * this.#random.next());
  }

  succeeded(service: string, logger: Logger): void {
    const failures = this.#outage.ended();
    if (failures > 0) logger.warn(`${service} is announced in the registry again`, { failures });
  }

  failed(service: string, error: TenonError, logger: Logger): void {
    const told = this.#outage.failed(isTransient(error) ? 'away' : 'refused');
    if (told === undefined) return;
    const what =
      told === 'new'
        ? 'could not be announced in the registry, so that callers cannot find it for long; trying again'
        : 'is still not announced in the registry; trying on';
    logger.warn(`${service} ${what}`, { error, failures: this.#outage.failures });
  }
}
