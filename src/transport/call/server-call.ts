import type { Metadata } from '../../context/metadata.ts';
import { type Status, statusOf } from '../../context/status.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import type { Linked, LinkedList } from '../../internal/linked-list.ts';
import { clientStreams, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import type { Clock, Timers } from '../../runtime/runtime.ts';
import type { Accept, Message, Socket } from '../transport.ts';
import { aborted, badReply, tooLarge, unsendable, wrongCount } from './failures.ts';
import type { Inbox } from './inbox.ts';
import { ServerEnd } from './server-end.ts';

/** The listener that a call belongs to. */
export interface ServerSide {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly maxSendBytes: number | undefined;
  readonly accept: Accept;
  /** Returns the address of the listener. */
  readonly addr: () => string;
  readonly calls: LinkedList<ServerCall>;
  /** Called when the call is over and its last byte is handed to the connection. */
  readonly release: (call: ServerCall) => void;
}

/**
 * The server's end of a call over any protocol: counts the messages that a method takes and gives, hands the call over,
 * and ends it. Subclasses write headers, messages and a status.
 */
export abstract class ServerCall extends ServerEnd implements Socket, Linked<ServerCall> {
  next: ServerCall | undefined;
  previous: ServerCall | undefined;
  abstract readonly local: string;
  abstract readonly remote: string;
  abstract readonly deadline: number | undefined;
  protected readonly side: ServerSide;
  isOver = false;
  #wasAccepted = false;
  /** True while a handler answers the call. */
  #isTaken = false;
  /** True if the call has broken off and its handler still runs. */
  #isAbandoned = false;
  #replies = 0;

  constructor(side: ServerSide, route: MethodDescriptor) {
    super(route);
    this.side = side;
    side.calls.add(this);
  }

  /** Returns the metadata that the client sent before its messages. */
  protected abstract requestHeaders(): Metadata;
  /** Writes headers, once, before the other parts of `message`. Throws for headers that cannot be sent. */
  protected abstract writeHeaders(headers: Metadata, message: Message): void;
  /** Writes a message, always after headers. With `isLast` the status follows at once. */
  protected abstract writeMessage(message: Message, body: Uint8Array, isLast: boolean): void;
  /**
   * Writes the status, alone if nothing was written before. Throws, before anything is written, for metadata that
   * cannot be sent.
   */
  protected abstract writeStatus(status: Status): void;
  /** True if a server stream waits for the end of its one request, as another may come. */
  protected mustHalfClose(_headers: Metadata): boolean {
    return false;
  }

  /** Asks for the next message. */
  protected abstract read(): void;
  /** Returns a promise while there is no room for more. */
  protected abstract room(): Promise<void> | undefined;
  /** Hands the call over with `take`, now or when it may begin. */
  protected handOver(): void {
    this.take();
  }

  /** Called when the call breaks off while its handler runs. */
  protected abandoned(): void {}
  /** Called when the handler of an abandoned call is done. */
  protected settled(): void {}

  /** Gives the call to its handler, unless it is over. */
  take(): void {
    if (this.isOver) return;
    this.#isTaken = true;
    this.side.accept(this, this.route);
  }

  send(message: Message): void | Promise<void> {
    if (this.isOver) return undefined;
    const { headers, body, status } = message;
    try {
      if (headers) this.writeHeaders(headers, message);
      if (body) {
        if (!this.#mayReply(body)) return undefined;
        this.writeMessage(message, body, status !== undefined);
      }
      if (status) {
        this.#finish(status);
        return undefined;
      }
    } catch (error) {
      this.refuse(unsendable(error));
      return undefined;
    }
    return this.room();
  }

  override abort(code: Code, message?: string): void {
    if (this.isOver) return;
    const error = aborted(code, message);
    this.#finish({ code, message: error.message });
    this.drop(error);
  }

  close(): void {
    this.abort(Code.Cancelled, 'the server let go of the call');
    this.#isTaken = false;
    if (!this.#isAbandoned) return;
    this.#isAbandoned = false;
    this.settled();
  }

  /** Ends the call with an error in place of its handler, and tells the handler. */
  refuse(error: TenonError): void {
    if (this.isOver) return;
    this.#finish(statusOf(error));
    this.#tell(error);
  }

  /** Handles the arrival of the request's headers. */
  protected onHeaders(): void {
    if (clientStreams(this.route.kind)) this.#hand({ headers: this.requestHeaders() });
    this.read();
  }

  /** Handles the arrival of a message. */
  protected onRequest(message: Message): void {
    if (this.isOver) return;
    const { kind, path } = this.route;
    if (clientStreams(kind)) {
      const inbox = this.requests as Inbox;
      inbox.push(message);
      if (inbox.isFull) inbox.onRoom = () => this.read();
      else this.read();
      return;
    }
    if (this.first || this.#wasAccepted) {
      this.refuse(wrongCount(path, 'a second'));
      return;
    }
    const opening = { headers: this.requestHeaders(), body: message.body, compressed: message.compressed };
    if (kind === 'server' && !this.mustHalfClose(opening.headers)) this.#hand(opening);
    else this.first = opening;
    this.read();
  }

  /** Handles the end of the client's side. */
  protected onHalfClose(): void {
    if (this.isOver) return;
    const { kind, path } = this.route;
    if (!clientStreams(kind) && !this.#wasAccepted) {
      if (!this.first) {
        this.refuse(wrongCount(path, 'no'));
        return;
      }
      this.requests?.end();
      this.#hand(this.first);
    }
    // A client on node:http2 that cancels ends its stream first and resets it after, in a packet of its own. A handler
    // should not take that for the end of the requests: one turn of the event loop is enough to see most of the resets,
    // and costs nothing else.
    else this.side.timers.soon(() => this.requests?.end());
  }

  /** Handles the loss of a call whose status was not written. */
  protected onBroken(error: TenonError): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#tell(error);
  }

  #hand(first: Message): void {
    this.first = first;
    this.#wasAccepted = true;
    this.handOver();
  }

  #mayReply(body: Uint8Array): boolean {
    const { maxSendBytes } = this.side;
    const { path, kind } = this.route;
    if (maxSendBytes !== undefined && body.length > maxSendBytes) {
      this.refuse(tooLarge(`a reply of ${path}`, body.length, maxSendBytes, 'maxSendBytes of the server'));
      return false;
    }
    this.#replies += 1;
    if (this.#replies > 1 && !serverStreams(kind)) {
      this.refuse(badReply(path, 'more than one message'));
      return false;
    }
    return true;
  }

  #finish(status: Status): void {
    this.isOver = true;
    this.requests?.discard();
    try {
      this.writeStatus(status);
    } catch (error) {
      // If the details do not fit, code and message are sent without them.
      const isTooLarge = TenonError.is(error) && error.reason === 'metadata.too_large' && status.code !== Code.Ok;
      this.writeStatus(isTooLarge ? { ...status, metadata: undefined } : statusOf(unsendable(error)));
    }
  }

  #tell(error: TenonError): void {
    if (this.#isTaken) {
      this.#isAbandoned = true;
      this.abandoned();
    }
    this.breakOff(error);
  }
}
