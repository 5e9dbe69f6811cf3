import type { ConfirmChannel, Options } from 'amqplib';

/** A message to be published. */
export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  /** With a `messageId`. */
  readonly properties: Options.Publish;
  /** Called with a function that takes the message back while it waits: true if it will not be published. */
  readonly onHeld?: ((withdraw: () => boolean) => void) | undefined;
}

interface HeldMessage {
  readonly message: OutgoingMessage;
  readonly resolve: (isRouted: Promise<boolean>) => void;
  readonly reject: (error: unknown) => void;
}

const maxUnconfirmed = 10_000;
const keyOf = (messageId: unknown, routingKey: string): string => `${String(messageId)} ${routingKey}`;

/**
 * Publishes with confirms, on a channel that is opened again when RabbitMQ has closed it. Messages wait here while
 * RabbitMQ takes none, and with too many others that are not confirmed.
 */
export class Publisher {
  readonly #openChannel: () => Promise<ConfirmChannel>;
  readonly #onFailure: (error: unknown) => void;
  readonly #held = new Set<HeldMessage>();
  /** Messages that RabbitMQ has returned and not confirmed yet. */
  readonly #returned = new Set<string>();
  #channel: ConfirmChannel | undefined;
  #isBlocked = false;
  #unconfirmed = 0;
  /** The error with which the channel or the connection was closed. */
  #cause: unknown;
  #isEnded = false;

  /** @param onFailure called when the channel cannot be opened again */
  constructor(openChannel: () => Promise<ConfirmChannel>, onFailure: (error: unknown) => void) {
    this.#openChannel = openChannel;
    this.#onFailure = onFailure;
  }

  /** True while RabbitMQ takes nothing that is published, for lack of memory or disk. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  set isBlocked(isBlocked: boolean) {
    this.#isBlocked = isBlocked;
    this.#flush();
  }

  async start(): Promise<void> {
    const channel = await this.#openChannel();
    channel.on('return', ({ fields, properties }) =>
      this.#returned.add(keyOf(properties.messageId, fields.routingKey)),
    );
    channel.on('error', (error) => (this.#cause = error));
    channel.on('close', () => this.#restart());
    this.#cause = undefined;
    this.#channel = channel;
    this.#flush();
  }

  /** Resolves when RabbitMQ has the message: with false if no queue took it. */
  send(message: OutgoingMessage): Promise<boolean> {
    if (this.#channel && !this.#mustWait) return this.#transmit(this.#channel, message);
    if (this.#isEnded) return Promise.reject(this.#cause);
    return new Promise((resolve, reject) => {
      const held = { message, resolve, reject };
      this.#held.add(held);
      message.onHeld?.(() => this.#held.delete(held));
    });
  }

  /** Rejects what waits, and all that comes. */
  end(cause: unknown): void {
    this.#isEnded = true;
    this.#cause = cause;
    this.#channel = undefined;
    for (const { reject } of this.#held) reject(cause);
    this.#held.clear();
  }

  get #mustWait(): boolean {
    return this.#isBlocked || this.#unconfirmed >= maxUnconfirmed;
  }

  #transmit(channel: ConfirmChannel, message: OutgoingMessage): Promise<boolean> {
    const { exchange, routingKey, body, properties } = message;
    return new Promise((resolve, reject) => {
      const onConfirm = (error: Error | null): void => {
        if (channel === this.#channel) this.#unconfirmed -= 1;
        const isReturned = this.#returned.size > 0 && this.#returned.delete(keyOf(properties.messageId, routingKey));
        if (!error) resolve(!isReturned);
        else reject(error.message === 'channel closed' ? (this.#cause ?? error) : error);
        if (this.#held.size > 0) this.#flush();
      };
      channel.publish(exchange, routingKey, body, { ...properties, mandatory: true }, onConfirm);
      this.#unconfirmed += 1;
    });
  }

  #flush(): void {
    for (const held of this.#held) {
      if (!this.#channel || this.#mustWait) return;
      this.#held.delete(held);
      held.resolve(this.#transmit(this.#channel, held.message));
    }
  }

  #restart(): void {
    this.#channel = undefined;
    this.#unconfirmed = 0;
    this.#returned.clear();
    // Channels are closed before their connection says that it has ended.
    queueMicrotask(() => {
      if (!this.#isEnded) this.start().catch((error: unknown) => this.#onFailure(error));
    });
  }
}
