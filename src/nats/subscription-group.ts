import { type Nats, NatsError, type NatsMessage, type NatsSubscription } from './nats.ts';

/** Subscriptions to several subjects that begin and end together. */
export class SubscriptionGroup {
  readonly #client: Nats;
  readonly #subjects: readonly string[];
  readonly #onMessage: (message: NatsMessage) => void;
  #subscriptions: readonly NatsSubscription[] = [];

  constructor(client: Nats, subjects: readonly string[], onMessage: (message: NatsMessage) => void) {
    this.#client = client;
    this.#subjects = subjects;
    this.#onMessage = onMessage;
  }

  get isOpen(): boolean {
    return this.#subscriptions.length > 0;
  }

  /**
   * Subscribes, and resolves when the server delivers. Rejects as {@link Nats.deliver} does; where it denies a subject
   * the next call subscribes again.
   */
  async open(signal: AbortSignal): Promise<void> {
    if (!this.isOpen) this.#subscriptions = this.#subjects.map((one) => this.#client.subscribe(one, this.#onMessage));
    try {
      await this.#client.deliver([], signal, this.#subjects);
    } catch (error) {
      if (error instanceof NatsError && error.kind === 'denied') this.close();
      throw error;
    }
  }

  /** Ends the subscriptions. May be called again. */
  close(): void {
    for (const one of this.#subscriptions) one.unsubscribe();
    this.#subscriptions = [];
  }
}
