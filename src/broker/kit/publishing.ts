import type { BrokerDriver, IncomingEvent, OutgoingEvent } from './driver.ts';

interface Waiting {
  readonly event: OutgoingEvent;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Sends events that are published in one turn of the event loop together, in order, up to the driver's limit. */
export class PublishBatch<E extends IncomingEvent> {
  readonly #driver: BrokerDriver<E>;
  readonly #max: number;
  #waiting: Waiting[] = [];

  constructor(driver: BrokerDriver<E>, max: number) {
    this.#driver = driver;
    this.#max = max;
  }

  /** Adds an event to the next batch. Resolves when the server has it. */
  add(event: OutgoingEvent): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ event, resolve, reject });
      if (this.#waiting.length >= this.#max) this.#send();
      // Sent at the end of this turn, when all its events have been added.
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
