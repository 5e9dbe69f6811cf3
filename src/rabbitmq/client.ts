import { hostPort } from '../internal/host-port.ts';
import { isError } from '../internal/is-error.ts';
import { type Amqplib, type Link, loadAmqplib } from './link.ts';
import { LinkPair, type LinkPairInit } from './link-pair.ts';
import type { RabbitMqServer } from './rabbitmq.ts';

/** The parts of a {@link RabbitMqClient}. */
export interface ClientInit extends Omit<LinkPairInit, 'server' | 'onLost'> {
  /** Throws for a server that will not do. */
  readonly check: (link: Link) => void;
  /** True for the error of a server for which others of its cluster are not tried. */
  readonly isRefusal: (error: unknown) => boolean;
}

/** Connects to one of several servers of RabbitMQ, those that answer before others. */
export class RabbitMqClient {
  readonly #init: ClientInit;
  /** The one that is tried next, or is connected, is the first. */
  readonly #servers: RabbitMqServer[];
  #pair: LinkPair | undefined;
  /** Counts the calls of `close`, by which an `open` that ends after one is noticed. */
  #closes = 0;
  #failure: unknown;
  #wasConnected = false;

  constructor(init: ClientInit) {
    this.#init = init;
    this.#servers = [...init.place.servers];
  }

  /** The server that it is connected to; all of them while it is to none. */
  get address(): string {
    const shown = this.#pair ? this.#servers.slice(0, 1) : this.#init.place.servers;
    return shown.map(({ host, port }) => hostPort(host, port)).join(',');
  }

  /** The host that was tried last. */
  get host(): string {
    return this.#servers[0]?.host ?? '';
  }

  /** True if it was connected before. */
  get wasConnected(): boolean {
    return this.#wasConnected;
  }

  /** The connections. Throws while there are none. */
  get pair(): LinkPair {
    if (this.#pair) return this.#pair;
    throw isError(this.#failure) ? this.#failure : new Error('the connection is lost');
  }

  /** The connection of amqplib that publishes; `undefined` while there is none. */
  get model(): unknown {
    return this.#pair?.model;
  }

  /** Connects. Rejects with the error of the last server that was tried. */
  async open(onLost: (error: unknown) => void): Promise<void> {
    const closes = this.#closes;
    const amqplib = await loadAmqplib();
    for (let left = this.#servers.length; left > 0; left -= 1) {
      const [server, ...others] = this.#servers as [RabbitMqServer, ...RabbitMqServer[]];
      try {
        const pair: LinkPair = await this.#connect(amqplib, server, (error) => {
          if (this.#pair !== pair) return;
          this.#failure = error;
          this.#pair = undefined;
          onLost(error);
        });
        if (closes === this.#closes) this.#pair = pair;
        else await pair.close();
        this.#wasConnected = true;
        return;
      } catch (error) {
        if (left === 1 || this.#init.isRefusal(error)) throw error;
        this.#servers.splice(0, Number.POSITIVE_INFINITY, ...others, server);
      }
    }
  }

  async close(): Promise<void> {
    const pair = this.#pair;
    this.#pair = undefined;
    this.#closes += 1;
    await pair?.close();
  }

  async #connect(amqplib: Amqplib, server: RabbitMqServer, onLost: (error: unknown) => void): Promise<LinkPair> {
    const pair = await LinkPair.open(amqplib, { ...this.#init, server, onLost });
    try {
      this.#init.check(pair.link);
      return pair;
    } catch (error) {
      await pair.close();
      throw error;
    }
  }
}
