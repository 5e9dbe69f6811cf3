import type { QueueConsumer, ReceivedMessage } from './consumer.ts';
import { copiedProperties } from './messages.ts';
import type { Publisher } from './publisher.ts';

/** Publishes messages that were received once more, for another attempt. */
export class Copies {
  readonly #publisher: Publisher;
  /** Take back the copies that wait to be published. */
  readonly #withdrawals = new Map<ReceivedMessage, () => boolean>();
  #isEnding = false;

  constructor(publisher: Publisher) {
    this.#publisher = publisher;
  }

  /** Publishes a copy to a queue, and acknowledges the message when RabbitMQ has the copy. */
  async move(
    received: ReceivedMessage,
    by: QueueConsumer,
    queue: string,
    { id, attempt }: { readonly id: string; readonly attempt: number },
  ): Promise<void> {
    const { message } = received;
    const properties = copiedProperties(message, id, attempt);
    const onHeld = (withdraw: () => boolean): unknown =>
      this.#isEnding ? withdraw() : this.#withdrawals.set(received, withdraw);
    const copy = { exchange: '', routingKey: queue, body: message.content, properties, onHeld };
    const isRouted = await this.#publisher.send(copy).finally(() => this.#withdrawals.delete(received));
    if (!isRouted) throw new Error(`the queue "${queue}" is gone`);
    by.ack(received);
  }

  /** Takes back what waits, now or later: it is not published, and the calls for it reject. */
  end(): void {
    this.#isEnding = true;
    for (const withdraw of this.#withdrawals.values()) withdraw();
  }
}
