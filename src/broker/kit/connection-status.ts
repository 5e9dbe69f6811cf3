import type { TenonError } from '../../errors/errors.ts';
import { quietly } from '../../internal/quietly.ts';
import type { Logger } from '../../logger/logger.ts';
import { pause } from '../../runtime/bounded.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';
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
  readonly #listeners = new Set<() => void>();

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
    this.#set('connected', lastError);
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
    this.#set('away', error);
  }

  closed(): void {
    if (this.#current.state !== 'closed') this.#set('closed', this.#current.lastError);
  }

  /** Calls a listener after each change of state. Returns a function that ends this. */
  onChange(listener: () => void): () => void {
    const own = (): void => listener();
    this.#listeners.add(own);
    return () => void this.#listeners.delete(own);
  }

  /** Resolves at the next change of state, after a time, and when `signal` aborts. */
  async changed(timers: Timers, timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    const change = new AbortController();
    const forget = this.onChange(() => change.abort());
    const either = signal ? AbortSignal.any([change.signal, signal]) : change.signal;
    await pause(timers, timeoutMs, either, { keepAlive: true });
    forget();
  }

  #set(state: BrokerStatus['state'], lastError: TenonError | undefined): void {
    this.#current = { state, sinceMs: this.#init.clock.monotonicMs(), lastError };
    const failed = (error: unknown): void =>
      this.#init.logger.warn('a listener to the state of the broker failed', { broker: this.#init.broker, error });
    for (const listener of this.#listeners) quietly(listener, undefined, failed);
  }
}
