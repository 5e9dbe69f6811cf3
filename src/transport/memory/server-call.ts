import type { Metadata } from '../../context/metadata.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import { wellFormed } from '../../internal/well-formed.ts';
import { type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import { defaultMaxMessageBytes, type Message } from '../transport.ts';
import { aborted, badReply, callCancelled, tooLarge } from '../call/failures.ts';
import { type Inbox, roomIn } from '../call/inbox.ts';
import { ServerEnd } from '../call/server-end.ts';
import type { MemoryCall, ServerSide } from './memory-call.ts';

/** The server's end of a call. */
export class MemoryServerSocket extends ServerEnd implements ServerSide {
  readonly #call: MemoryCall;
  #sentHeaders = false;
  #replies = 0;

  constructor(call: MemoryCall, route: MethodDescriptor, first: Message | undefined) {
    super(route, first);
    this.#call = call;
  }

  get local(): string {
    return this.#call.address;
  }

  get remote(): string {
    return 'memory';
  }

  get deadline(): number | undefined {
    return this.#call.deadline;
  }

  send(message: Message): void | Promise<void> {
    const call = this.#call;
    if (call.isOver) return undefined;
    const { body, status } = message;
    if (body && !this.#mayReply(body)) return undefined;
    const { client } = call;
    if (status) {
      call.finish();
      this.requests?.discard();
    }
    client.take(call.carried(message.headers || message.status?.message ? this.#asSent(message) : message));
    return !status && client.inbox?.isFull ? roomIn(client.inbox) : undefined;
  }

  push(message: Message): void {
    this.requests?.push(message);
  }

  endRequests(): void {
    this.requests?.end();
  }

  get inbox(): Inbox | undefined {
    return this.requests;
  }

  override abort(code: Code, message?: string): void {
    const call = this.#call;
    if (call.isOver) return;
    const error = aborted(code, message);
    call.finish();
    this.drop(error);
    call.client.take({ status: { code, message: error.message } });
  }

  close(): void {
    this.abort(Code.Cancelled, 'the server let go of the call');
  }

  /** Returns the message as it would arrive over a network. */
  #asSent(message: Message): Message {
    const { headers, status } = message;
    return {
      ...message,
      headers: headers && this.#headersOnce(headers),
      status: status && {
        ...status,
        message: wellFormed(status.message),
        ...(status.metadata && { metadata: this.#call.handed(status.metadata) }),
      },
    };
  }

  #headersOnce(headers: Metadata): Metadata | undefined {
    if (this.#sentHeaders) return undefined;
    this.#sentHeaders = true;
    return this.#call.handed(headers);
  }

  #mayReply(body: Uint8Array): boolean {
    const call = this.#call;
    const maxSendBytes = call.port?.options.maxSendBytes;
    if (maxSendBytes !== undefined && body.length > maxSendBytes) {
      call.refuse(tooLarge(`a reply of ${call.path}`, body.length, maxSendBytes, 'maxSendBytes of the server'));
      return false;
    }
    const limit = call.options.maxReceiveBytes ?? defaultMaxMessageBytes;
    if (body.length > limit) {
      this.#fail(tooLarge(`a reply of ${call.path}`, body.length, limit, 'maxReceiveBytes of the client'));
      return false;
    }
    this.#replies += 1;
    if (this.#replies > 1 && !serverStreams(this.route.kind)) {
      this.#fail(badReply(call.path, 'more than one message'));
      return false;
    }
    return true;
  }

  #fail(error: TenonError): void {
    const call = this.#call;
    call.fail(error);
    this.breakOff(callCancelled(`the caller cancelled ${call.path}`));
  }
}
