import { Context, type ContextInit } from '../../context/context.ts';
import { Metadata } from '../../context/metadata.ts';
import type { Socket } from '../../transport/transport.ts';

/** The context of a call that is served: it can send its headers before there is a reply. */
export class ServerContext extends Context {
  /** A client of Go Micro's dialect calls, and takes errors in its own form. */
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
    // As they are now: the handler may go on writing into its own.
    void this.#socket.send({ headers: new Metadata().merge(this.headers), compressed: this.compress });
  }

  /** The headers that go with the next message, if any have to. */
  takeHeaders(): Metadata | undefined {
    if (this.#hasSent) return undefined;
    this.#hasSent = true;
    return this.hasHeaders ? this.headers : undefined;
  }
}
