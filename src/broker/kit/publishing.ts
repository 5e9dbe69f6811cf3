import type { BrokerDriver, IncomingEvent, OutgoingEvent } from './driver.ts';

interface Waiting {
  readonly event: OutgoingEvent;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Sends what is published in one turn of the event loop together, in order, up to the driver's bound. */
export class PublishBatch<E extends IncomingEvent> {
  readonly #driver: BrokerDriver<E>;
  readonly #max: number;
  #waiting: Waiting[] = [];

  constructor(driver: BrokerDriver<E>, max: number) {
    this.#driver = driver;
    this.#max = max;
  }

  /** Resolves when the server has the event. */
  add(event: OutgoingEvent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject });
      if (this.#waiting.length >= this.#max) this.#send();
      // All that this turn publishes is there when it has ended.
      else if (this.#waiting.length === 1) process.nextTick(() => this.#send());
    });
  }

  #send(): void {
    const batch = this.#waiting;
    if (batch.length === 0) return;
    this.#waiting = [];
    const fail = (error: unknown): void => {
      for (const { reject } of batch) reject(error);
    };
    try {
      const result = this.#driver.publish(batch.map(({ event }) => event));
      if (Array.isArray(result)) {
        for (const [index, { resolve, reject }] of batch.entries())
          Promise.resolve(result[index]).then(() => resolve(), reject);
      } else
        Promise.resolve(result).then(() => {
          for (const { resolve } of batch) resolve();
        }, fail);
    } catch (error) {
      fail(error);
    }
  }
}
