import { Context, type ContextInit } from '../../context/context.ts';
import { Metadata } from '../../context/metadata.ts';
import type { Socket } from '../../transport/transport.ts';

/** The context of a call on its server. It can send headers before there is a reply. */
export class ServerContext extends Context {
  /** True if the caller is a client of Go Micro, which takes errors in a form of its own. */
  isMicro = false;
  readonly #socket: Socket;
  #hasSent = false;

  constructor(init: ContextInit, socket: Socket) {
    super(init);
    this.#socket = socket;
  }

  override sendHeaders(): void {
    if (this.#hasSent) return;
    this.#hasSent = true;
    // A copy: the handler may go on changing its own.
    void this.#socket.send({ headers: new Metadata().merge(this.headers), compressed: this.compress });
  }

  /** Returns the headers that go with the next message, once; `undefined` if there are none or they have been sent. */
  takeHeaders(): Metadata | undefined {
    if (this.#hasSent) return undefined;
    this.#hasSent = true;
    return this.hasHeaders ? this.headers : undefined;
  }
}
