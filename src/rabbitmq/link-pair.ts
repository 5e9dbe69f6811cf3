import type { Channel, ConfirmChannel } from 'amqplib';

import type { Runtime } from '../runtime/runtime.ts';
import { type Amqplib, Link, type LinkInit } from './link.ts';
import { Publisher } from './publisher.ts';

/** The parts of a {@link LinkPair}. */
export interface LinkPairInit extends Omit<LinkInit, 'name' | 'timers'> {
  readonly runtime: Pick<Runtime, 'random' | 'timers'>;
  /** Declares what is published to. */
  readonly prepare: (channel: Channel) => Promise<void>;
}

const fields = { broker: 'rabbitmq' };
const nothing = (): void => {};

/**
 * Two connections to one RabbitMQ. While it lacks memory or disk it reads nothing of a connection that has published:
 * what was received could neither be acknowledged there nor more of it be asked for. The two end together.
 */
export class LinkPair {
  /** The connection that consumes, acknowledges and declares. */
  readonly link: Link;
  /** Publishes on the other one. */
  readonly publisher: Publisher;
  /** As `publisher`, on a channel of its own: a refused event ends no copy that is on its way, and a copy no event. */
  readonly copies: Publisher;
  readonly #publishing: Link;
  readonly #init: LinkPairInit;
  /** True from when it was opened until it is closed or lost. */
  #isOpen = false;

  private constructor(link: Link, publishing: Link, init: LinkPairInit) {
    this.link = link;
    this.#publishing = publishing;
    this.#init = init;
    const { logger, runtime, prepare } = init;
    const openChannel = async (): Promise<ConfirmChannel> => {
      await link.declare((channel) => prepare(channel));
      const opening = publishing.model.createConfirmChannel();
      try {
        const channel = await publishing.call(opening);
        channel.on('error', nothing);
        return channel;
      } catch (error) {
        // It may be opened later, when RabbitMQ reads again.
        opening.then(discard, nothing);
        throw error;
      }
    };
    const setup = { openChannel, runtime, onFailure: (error: unknown) => this.#end(error) };
    this.publisher = new Publisher(setup);
    this.copies = new Publisher(setup);
    publishing.model.on('blocked', (reason) => {
      logger.warn('RabbitMQ takes no messages for now: publishing waits', { ...fields, reason });
      this.#setBlocked(true);
    });
    publishing.model.on('unblocked', () => {
      logger.info('RabbitMQ takes messages again', fields);
      this.#setBlocked(false);
    });
    // It may have been said before anybody listened.
    this.#setBlocked(publishing.isBlocked);
  }

  /** Connects. Rejects as {@link Link.open} does, and with the error of a connection that is lost meanwhile. */
  static async open(amqplib: Amqplib, init: LinkPairInit): Promise<LinkPair> {
    let pair: LinkPair | undefined;
    let lost: { readonly error: unknown } | undefined;
    const onLost = (error: unknown): void => {
      lost ??= { error };
      if (pair) pair.#end(error);
    };
    const own = { ...init, timers: init.runtime.timers, onLost };
    const link = await Link.open(amqplib, { ...own, name: 'tenon' });
    try {
      const publishing = await Link.open(amqplib, { ...own, name: 'tenon, publishing' });
      pair = new LinkPair(link, publishing, init);
      await Promise.all([pair.publisher.start(), pair.copies.start()]);
      assertKept(lost);
      pair.#isOpen = true;
      return pair;
    } catch (error) {
      await Promise.all([pair?.close(), link.close()]);
      assertKept(lost);
      throw error;
    }
  }

  /** The connection of amqplib that publishes. */
  get model(): unknown {
    return this.#publishing.model;
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#endPublishing(new Error('the connection was closed'));
    await Promise.all([this.link.close(), this.#publishing.close()]);
  }

  #setBlocked(isBlocked: boolean): void {
    this.publisher.isBlocked = isBlocked;
    this.copies.isBlocked = isBlocked;
  }

  #endPublishing(cause: unknown): void {
    this.publisher.end(cause);
    this.copies.end(cause);
  }

  #end(error: unknown): void {
    const wasOpen = this.#isOpen;
    this.#isOpen = false;
    this.#endPublishing(error);
    // That which has ended by itself is closed already.
    void this.link.close();
    void this.#publishing.close();
    if (wasOpen) this.#init.onLost(error);
  }
}

function discard(channel: ConfirmChannel): void {
  channel.on('error', nothing);
  channel.close().catch(nothing);
}

/** Throws the error of a connection that was lost. */
function assertKept(lost: { readonly error: unknown } | undefined): void {
  if (lost) throw lost.error;
}
