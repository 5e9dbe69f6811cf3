import type { Context } from '../../context/context.ts';
import { Metadata, type MetadataValue } from '../../context/metadata.ts';
import { type Status, statusOf } from '../../context/status.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import { clientStreams, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import {
  defaultMaxMessageBytes,
  type DialOptions,
  type Message,
  type Socket,
  type TransportClient,
} from '../transport.ts';
import { aborted, badReply, callCancelled, deadlineExceeded, tooLarge, wrongCount } from './failures.ts';
import { Inbox, roomIn } from './inbox.ts';
import type { Expiring } from '../../runtime/deadlines.ts';
import type { MemoryHub, MemoryPort } from './memory-hub.ts';

/** What a client does with what happens to its call. */
export interface ClientSide {
  take(message: Message): void;
  fail(error: TenonError): void;
  /** Holds the server back; absent where nothing can pile up. */
  readonly inbox?: Inbox | undefined;
}

const over = Promise.resolve(undefined);

/**
 * One call in the process: what both of its ends share. It is part of the hub's list of calls from `open` until it is over.
 */
export class MemoryCall {
  // Links of the hub's list.
  previous: MemoryCall | undefined;
  next: MemoryCall | undefined;
  /** Whether the hub has seen to its deadline and its context. */
  isWatched = false;
  isOver = false;
  port: MemoryPort | undefined;
  server: ServerEnd | undefined;
  readonly hub: MemoryHub;
  readonly address: string;
  readonly path: string;
  readonly ctx: Context | undefined;
  readonly options: DialOptions;
  readonly client: ClientSide;
  #unfollow: (() => void) | undefined;

  constructor(hub: MemoryHub, address: string, options: DialOptions, client: ClientSide) {
    this.hub = hub;
    this.address = address;
    this.path = options.path ?? options.route.path;
    this.ctx = options.ctx;
    this.options = options;
    this.client = client;
  }

  get deadline(): number | undefined {
    return this.ctx?.deadline;
  }

  /** Follows the context and its deadline. The hub calls it for calls that outlive the turn they were made in: most do not. */
  watch(): void {
    this.isWatched = true;
    const { ctx } = this;
    if (!ctx) return;
    this.#unfollow = ctx.onAbort((reason) => this.abandon(reason));
    if (!this.isOver && ctx.deadline !== undefined) this.hub.deadlines.add(this as Expiring);
  }

  expire(): void {
    const error = deadlineExceeded(this.path);
    this.finish();
    this.client.fail(error);
    this.server?.breakOff(error);
  }

  /** The client lets go of the call. */
  abandon(reason: TenonError): void {
    if (this.isOver) return;
    this.finish();
    this.client.fail(reason);
    this.server?.breakOff(
      reason.code === Code.DeadlineExceeded
        ? deadlineExceeded(this.path)
        : callCancelled(`the caller cancelled ${this.path}`),
    );
  }

  /** The transport fails the call: the client hears of it. */
  fail(error: TenonError): void {
    if (this.isOver) return;
    this.finish();
    this.client.fail(error);
  }

  /** The server's side refuses or breaks off: the client gets a status, the handler is told. */
  refuse(error: TenonError): void {
    if (this.isOver) return;
    this.finish();
    this.client.take({ status: statusOf(error) });
    this.server?.breakOff(error);
  }

  finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.isWatched) {
      this.#unfollow?.();
      if (this.deadline !== undefined) this.hub.deadlines.delete(this as Expiring);
    }
    this.hub.remove(this);
  }

  /** The client's body is within both limits; otherwise the call is over. */
  fits(body: Uint8Array): boolean {
    const { maxSendBytes } = this.options;
    if (maxSendBytes !== undefined && body.length > maxSendBytes) {
      this.abandon(tooLarge(`a request of ${this.path}`, body.length, maxSendBytes, 'maxSendBytes of the client'));
      return false;
    }
    const limit = this.port?.options.maxReceiveBytes ?? defaultMaxMessageBytes;
    if (body.length > limit) {
      this.refuse(tooLarge(`a request of ${this.path}`, body.length, limit, 'maxReceiveBytes of the server'));
      return false;
    }
    return true;
  }
}

/** The end that the server holds. */
export class ServerEnd implements Socket {
  readonly route: MethodDescriptor;
  readonly #call: MemoryCall;
  readonly #inbox: Inbox | undefined;
  #first: Message | undefined;
  #listener: ((error: TenonError) => void) | undefined;
  #broken: TenonError | undefined;
  #sentHeaders = false;
  #replies = 0;

  constructor(call: MemoryCall, route: MethodDescriptor, first: Message | undefined) {
    this.#call = call;
    this.route = route;
    this.#first = first;
    if (route.kind !== 'unary') this.#inbox = new Inbox();
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
      this.#inbox?.discard();
    }
    client.take(message.headers ? { ...message, headers: this.#headersOnce(message.headers) } : message);
    return !status && client.inbox?.isFull ? roomIn(client.inbox) : undefined;
  }

  recv(): Promise<Message | undefined> {
    const first = this.#first;
    if (first) {
      this.#first = undefined;
      return Promise.resolve(first);
    }
    if (this.#inbox) return this.#inbox.recv();
    return this.#broken ? Promise.reject(this.#broken) : over;
  }

  /** A message after the first one. */
  push(message: Message): void {
    this.#inbox?.push(message);
  }

  /** The client sends no more. */
  endRequests(): void {
    this.#inbox?.end();
  }

  get inbox(): Inbox | undefined {
    return this.#inbox;
  }

  end(): void {
    // Only clients half-close: a server ends with its status.
  }

  abort(code: Code, message?: string): void {
    const call = this.#call;
    if (call.isOver) return;
    const error = aborted(code, message);
    call.finish();
    this.#drop(error);
    call.client.take({ status: { code, message: error.message } });
  }

  close(): void {
    this.abort(Code.Cancelled, 'the server let go of the call');
  }

  onAbort(listener: (error: TenonError) => void): void {
    if (this.#broken) listener(this.#broken);
    else this.#listener = listener;
  }

  breakOff(error: TenonError): void {
    this.#broken = error;
    this.#inbox?.end(error);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(error);
  }

  #drop(error: TenonError): void {
    this.#first = undefined;
    this.#broken ??= error;
    this.#listener = undefined;
    this.#inbox?.discard(error);
  }

  #headersOnce(headers: Metadata): Metadata | undefined {
    if (this.#sentHeaders) return undefined;
    this.#sentHeaders = true;
    return view(headers);
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

/** The client's end of a call that is made message by message. */
export class ClientEnd implements TransportClient, ClientSide {
  readonly inbox = new Inbox();
  readonly #call: MemoryCall;
  /** What was sent before the server's end exists. */
  #first: Message | undefined;
  #isOpen = false;
  #isEnded = false;

  constructor(hub: MemoryHub, address: string, options: DialOptions) {
    this.#call = new MemoryCall(hub, address, options, this);
  }

  get local(): string {
    return 'memory';
  }

  get remote(): string {
    return this.#call.server ? this.#call.address : '';
  }

  get deadline(): undefined {
    return undefined;
  }

  send(message: Message): void | Promise<void> {
    const call = this.#call;
    if (call.isOver || this.#isEnded) return undefined;
    if (!this.#isOpen) this.#open();
    if (call.isOver) return undefined;
    const { body } = message;
    if (body && !call.fits(body)) return undefined;
    const { server } = call;
    if (server && !(body && !clientStreams(server.route.kind))) {
      if (body) server.push(message);
      return body && server.inbox?.isFull ? roomIn(server.inbox) : undefined;
    }
    if (body && (server || this.#first?.body)) {
      call.refuse(wrongCount(call.path, 'a second'));
      return undefined;
    }
    this.#first = { headers: this.#first?.headers ?? (message.headers && view(message.headers)), body };
    this.#handOver();
    return undefined;
  }

  recv(): Promise<Message | undefined> {
    if (!this.#isOpen && !this.#call.isOver) this.#start();
    return this.inbox.recv();
  }

  end(): void {
    const call = this.#call;
    if (this.#isEnded || call.isOver) return;
    this.#isEnded = true;
    if (!this.#isOpen) this.#open();
    this.#handOver();
    call.server?.endRequests();
  }

  abort(code: Code, message?: string): void {
    if (this.#call.isOver) return;
    this.#isOpen = true;
    const error = aborted(code, message);
    this.#call.abandon(error);
    this.inbox.discard(error);
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(): void {
    // Of the server's side: a client hears of it from `recv`.
  }

  take(message: Message): void {
    const { status } = message;
    this.inbox.push(status?.metadata ? { ...message, status: withView(status) } : message);
    if (status) this.inbox.end();
  }

  fail(error: TenonError): void {
    this.inbox.end(error);
  }

  #open(): void {
    this.#isOpen = true;
    this.#call.hub.open(this.#call, () => this.#handOver());
  }

  #start(): void {
    this.#open();
    this.#handOver();
  }

  /** Gives the call to the server as soon as the method's kind lets it begin. */
  #handOver(): void {
    const call = this.#call;
    const { port } = call;
    if (!port || call.server || call.isOver) return;
    const route = port.routes.get(call.path);
    if (!route) {
      call.refuse(port.unknown(call.path));
      return;
    }
    const first = this.#first ?? {};
    if (!clientStreams(route.kind)) {
      if (this.#isEnded && !first.body) {
        call.refuse(wrongCount(call.path, 'no'));
        return;
      }
      if (!first.body || (route.kind === 'unary' && !this.#isEnded)) return;
    }
    call.server = new ServerEnd(call, route, first);
    if (this.#isEnded) call.server.endRequests();
    port.deliver(call);
  }
}

/** The client's end of a call that is made in one go. */
export class UnaryEnd implements ClientSide {
  readonly #path: string;
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: TenonError) => void;
  #headers: Metadata | undefined;
  #body: Uint8Array | undefined;

  constructor(path: string, resolve: (message: Message) => void, reject: (error: TenonError) => void) {
    this.#path = path;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  take(message: Message): void {
    const { status } = message;
    if (status) {
      if (status.code === Code.Ok && !message.body && !this.#body) {
        this.#reject(badReply(this.#path, 'OK without a message'));
      } else if (this.#headers || this.#body || status.metadata) {
        const body = message.body ?? this.#body;
        this.#resolve({ headers: message.headers ?? this.#headers, body, status: withView(status) });
      } else {
        this.#resolve(message);
      }
      return;
    }
    this.#headers ??= message.headers;
    this.#body ??= message.body;
  }

  fail(error: TenonError): void {
    this.#reject(error);
  }
}

const viewed = {
  read: (metadata: Metadata): Iterable<[string, MetadataValue]> => metadata,
  find: (metadata: Metadata, key: string): MetadataValue | undefined => metadata.get(key),
};

/** The same metadata for the other side, which may change its own without the sender seeing it. */
export function view(metadata: Metadata): Metadata {
  return Metadata.lazy({ raw: metadata, read: viewed.read, find: viewed.find });
}

function withView(status: Status): Status {
  return status.metadata ? { code: status.code, message: status.message, metadata: view(status.metadata) } : status;
}
