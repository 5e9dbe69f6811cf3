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
   * the next call subscribes again. `others` are further subjects whose refusal is an error of this call.
   */
  async open(signal: AbortSignal, others: readonly string[] = []): Promise<void> {
    if (!this.isOpen) this.#subscriptions = this.#subjects.map((one) => this.#client.subscribe(one, this.#onMessage));
    const subscriptions = this.#subscriptions;
    try {
      await this.#client.deliver([], signal, [...this.#subjects, ...others]);
    } catch (error) {
      // Another call may have subscribed again since.
      if (subscriptions === this.#subscriptions && this.#isDenied(error)) this.close();
      throw error;
    }
  }

  /** Ends the subscriptions. May be called again. */
  close(): void {
    for (const one of this.#subscriptions) one.unsubscribe();
    this.#subscriptions = [];
  }

  #isDenied(error: unknown): boolean {
    if (!(error instanceof NatsError) || error.kind !== 'denied') return false;
    return error.subject === undefined || this.#subjects.includes(error.subject);
  }
}
