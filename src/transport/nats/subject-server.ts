import { EventEmitter } from 'node:events';
import type { ListenOptions as NetListenOptions, Socket } from 'node:net';

import type { NatsSubscription } from '../../nats/nats.ts';
import type { ConnectionServer } from '../sockets/connection-server.ts';
import type { NatsExchange } from './exchange.ts';

/** Takes the connections to one subject, and keeps the process alive meanwhile. */
export class SubjectServer extends EventEmitter implements ConnectionServer {
  readonly #exchange: NatsExchange;
  readonly #onConnection: (socket: Socket) => void;
  #subscription: NatsSubscription | undefined;
  #isListening = false;
  #isClosed = false;

  constructor(exchange: NatsExchange, onConnection: (socket: Socket) => void) {
    super();
    this.#exchange = exchange;
    this.#onConnection = onConnection;
  }

  get listening(): boolean {
    return this.#isListening;
  }

  listen({ path = '' }: NetListenOptions, onListening: () => void): void {
    this.#isListening = true;
    this.#listen(path).then(
      () => (this.#isClosed ? undefined : onListening()),
      (error: unknown) => {
        this.#isListening = false;
        if (!this.#isClosed) this.emit('error', error);
      },
    );
  }

  close(): void {
    this.#isClosed = true;
    this.#isListening = false;
    this.#end();
  }

  async #listen(subject: string): Promise<void> {
    if (await this.#exchange.isListenedTo(subject))
      throw Object.assign(new Error('somebody listens there'), { code: 'EADDRINUSE' });
    const take = (socket: unknown): void => this.#onConnection(socket as Socket);
    this.#subscription = await this.#exchange.listen(subject, take);
    this.#exchange.hold(true);
    // It was closed while it waited.
    if (this.#isClosed) this.#end();
  }

  #end(): void {
    if (!this.#subscription) return;
    this.#subscription.unsubscribe();
    this.#subscription = undefined;
    this.#exchange.hold(false);
  }
}
