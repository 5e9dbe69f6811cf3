import type { ConfirmChannel, Options } from 'amqplib';

import { repeatedly } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { ChannelClosedError, isBlamed, replyOf } from './rabbitmq.ts';

/** A message to be published. */
export interface OutgoingMessage {
  readonly exchange: string;
  readonly routingKey: string;
  readonly body: Buffer;
  /** With a `messageId`. */
  readonly properties: Options.Publish;
  /**
   * Called with a function that takes the message back while it waits: true if it will not be published. `send` rejects
   * then.
   */
  readonly onHeld?: ((withdraw: () => boolean) => void) | undefined;
}

/** The parts of a {@link Publisher}. */
export interface PublisherInit {
  /** Opens a channel with confirms, once what is published to has been declared. */
  readonly openChannel: () => Promise<ConfirmChannel>;
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  /** Called when the channel cannot be opened again. */
  readonly onFailure: (error: unknown) => void;
}

interface HeldMessage {
  readonly message: OutgoingMessage;
  readonly resolve: (isRouted: Promise<boolean>) => void;
  readonly reject: (error: unknown) => void;
}

/** A channel that was opened. */
interface OpenChannel {
  /** Resolves when it has closed: with true if a message was confirmed on it. */
  readonly closed: Promise<boolean>;
}

const maxUnconfirmed = 10_000;
// amqplib keeps what the server has not read.
const maxUnconfirmedBytes = 64 * 1_024 * 1_024;
// A user without the right to publish has each of its messages close a channel.
const reopening = { initialMs: 10, maxMs: 1_000 } as const;
const keyOf = (messageId: unknown, routingKey: string): string => `${String(messageId)} ${routingKey}`;

/**
 * Publishes with confirms, on a channel that is opened again when RabbitMQ has closed it. Messages wait here while
 * RabbitMQ takes none, and with too many others that are not confirmed.
 */
export class Publisher {
  readonly #init: PublisherInit;
  /** In the order in which they are to be published. */
  readonly #held = new Set<HeldMessage>();
  /** The numbers of messages that RabbitMQ has returned and not confirmed yet: ids of other programs may repeat. */
  readonly #returned = new Map<string, number>();
  readonly #ending = new AbortController();
  #channel: ConfirmChannel | undefined;
  #isBlocked = false;
  #unconfirmed = 0;
  #unconfirmedBytes = 0;
  /** True if RabbitMQ has confirmed a message on this channel. */
  #hasConfirmed = false;
  /** The number of messages that were not confirmed when the last channel was closed. */
  #cutOff = 0;
  /** The error with which RabbitMQ has closed the channel. */
  #refusal: unknown;
  /** The error with which it has ended. */
  #cause: unknown;

  constructor(init: PublisherInit) {
    this.#init = init;
  }

  /** True while RabbitMQ takes nothing that is published, for lack of memory or disk. */
  get isBlocked(): boolean {
    return this.#isBlocked;
  }

  set isBlocked(isBlocked: boolean) {
    this.#isBlocked = isBlocked;
    this.#flush();
  }

  /** Opens the channel, and from then on again, with back-off, whenever RabbitMQ has closed it. */
  async start(): Promise<void> {
    const { runtime, onFailure } = this.#init;
    let opened: OpenChannel | undefined = await this.#open();
    const work = async (): Promise<void> => {
      opened ??= await this.#open();
      const { closed } = opened;
      opened = undefined;
      if (!(await closed)) throw new ChannelClosedError('RabbitMQ has closed a channel, and had confirmed nothing');
    };
    const keptOpen = repeatedly(work, {
      runtime,
      backoff: reopening,
      signal: this.#ending.signal,
      onFailure: (error) => {
        // A channel that is opened while RabbitMQ reads nothing is not answered.
        if (!(error instanceof ChannelClosedError || this.#isBlocked)) throw error;
      },
    });
    keptOpen.catch(onFailure);
  }

  /** Resolves when RabbitMQ has the message: with false if no queue took it. */
  send(message: OutgoingMessage): Promise<boolean> {
    if (this.#channel && this.#held.size === 0 && !this.#mustWait(message))
      return this.#transmit(this.#channel, message);
    if (this.#isEnded) return Promise.reject(this.#cause);
    return new Promise((resolve, reject) => {
      const held = { message, resolve, reject };
      this.#held.add(held);
      message.onHeld?.(() => {
        const isHeld = this.#held.delete(held);
        if (isHeld) reject(new Error('the message was withdrawn before it was published'));
        return isHeld;
      });
    });
  }

  /** Rejects what waits, and all that comes. */
  end(cause: unknown): void {
    if (this.#isEnded) return;
    this.#cause = cause;
    this.#ending.abort();
    this.#channel = undefined;
    for (const { reject } of this.#held) reject(cause);
    this.#held.clear();
  }

  get #isEnded(): boolean {
    return this.#ending.signal.aborted;
  }

  /** One message may be larger than all together may be. */
  #mustWait({ body }: OutgoingMessage): boolean {
    if (this.#isBlocked || this.#unconfirmed >= maxUnconfirmed) return true;
    return this.#unconfirmed > 0 && this.#unconfirmedBytes + body.length > maxUnconfirmedBytes;
  }

  async #open(): Promise<OpenChannel> {
    const channel = await this.#init.openChannel();
    if (this.#isEnded) throw this.#cause;
    channel.on('return', ({ fields, properties }) => {
      const key = keyOf(properties.messageId, fields.routingKey);
      this.#returned.set(key, (this.#returned.get(key) ?? 0) + 1);
    });
    channel.on('error', (error) => (this.#refusal = error));
    const closed = new Promise<boolean>((resolve) => {
      // The listener of amqplib, which tells those that wait for a confirm, comes after it.
      channel.prependListener('close', () => {
        this.#onClose();
        resolve(this.#hasConfirmed);
      });
    });
    this.#refusal = undefined;
    this.#hasConfirmed = false;
    this.#channel = channel;
    this.#flush();
    return { closed };
  }

  #onClose(): void {
    this.#channel = undefined;
    this.#cutOff = this.#unconfirmed;
    this.#unconfirmed = 0;
    this.#unconfirmedBytes = 0;
    this.#returned.clear();
  }

  #transmit(channel: ConfirmChannel, message: OutgoingMessage): Promise<boolean> {
    const { exchange, routingKey, body, properties } = message;
    return new Promise((resolve, reject) => {
      const onConfirm = (error: Error | null): void => {
        if (channel === this.#channel) {
          this.#unconfirmed -= 1;
          this.#unconfirmedBytes -= body.length;
          this.#hasConfirmed ||= !error;
        }
        const isReturned = this.#returned.size > 0 && this.#takeReturn(keyOf(properties.messageId, routingKey));
        if (!error) resolve(!isReturned);
        else reject(error.message === 'channel closed' ? this.#failureOf(message, error) : error);
        if (this.#held.size > 0) this.#flush();
      };
      channel.publish(exchange, routingKey, body, { ...properties, mandatory: true }, onConfirm);
      this.#unconfirmed += 1;
      this.#unconfirmedBytes += body.length;
    });
  }

  /** True if a message of this key was returned, and is not confirmed yet. */
  #takeReturn(key: string): boolean {
    const count = this.#returned.get(key) ?? 0;
    if (count > 1) this.#returned.set(key, count - 1);
    else this.#returned.delete(key);
    return count > 0;
  }

  /** The error for a message that was not confirmed when its channel was closed. */
  #failureOf(message: OutgoingMessage, error: Error): unknown {
    if (this.#isEnded) return this.#cause;
    const text = replyOf(this.#refusal)?.text;
    if (text === undefined || this.#cutOff === 1 || isBlamed(text, message)) return this.#refusal ?? error;
    return new ChannelClosedError(text, { cause: this.#refusal });
  }

  #flush(): void {
    for (const held of this.#held) {
      if (!this.#channel || this.#mustWait(held.message)) return;
      this.#held.delete(held);
      held.resolve(this.#transmit(this.#channel, held.message));
    }
  }
}
