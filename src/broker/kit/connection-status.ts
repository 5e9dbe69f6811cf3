import type { TenonError } from '../../errors/errors.ts';
import type { Logger } from '../../logger/logger.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { BrokerStatus } from '../broker.ts';

/** The parts of a {@link ConnectionStatus}. */
export interface ConnectionStatusInit {
  readonly broker: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Keeps the state of a broker's connection, and logs the beginning and the end of each outage. */
export class ConnectionStatus {
  readonly #init: ConnectionStatusInit;
  #current: BrokerStatus;

  constructor(init: ConnectionStatusInit) {
    this.#init = init;
    this.#current = { state: 'closed', sinceMs: init.clock.monotonicMs() };
  }

  get current(): BrokerStatus {
    return this.#current;
  }

  /** Notes that the connection was opened, or is back after an outage. */
  connected(address: string): void {
    const { state, lastError } = this.#current;
    if (state === 'connected') return;
    if (state === 'away') {
      this.#init.logger.info('the broker answers again', { broker: this.#init.broker, address });
    }
    this.#change('connected', lastError);
  }

  away(address: string, error: TenonError): void {
    const { state, sinceMs } = this.#current;
    if (state === 'closed') return;
    if (state === 'away') {
      this.#current = { state, sinceMs, lastError: error };
      return;
    }
    const { broker, logger } = this.#init;
    logger.warn('the connection to the broker is lost; it is tried again', { broker, address, error });
    this.#change('away', error);
  }

  closed(): void {
    if (this.#current.state !== 'closed') this.#change('closed', this.#current.lastError);
  }

  #change(state: BrokerStatus['state'], lastError: TenonError | undefined): void {
    this.#current = { state, sinceMs: this.#init.clock.monotonicMs(), lastError };
  }
}
