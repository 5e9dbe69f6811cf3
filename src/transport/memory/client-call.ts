import type { Metadata } from '../../context/metadata.ts';
import type { Status } from '../../context/status.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import { clientStreams } from '../../pipeline/pipeline.ts';
import type { DialOptions, Message, TransportClient } from '../transport.ts';
import { aborted, wrongCount, wrongReplyCount } from '../call/failures.ts';
import { Inbox, roomIn } from '../call/inbox.ts';
import { type ClientSide, MemoryCall, view } from './memory-call.ts';
import type { MemoryNetwork } from './memory-network.ts';
import { MemoryServerSocket } from './server-call.ts';

/** The client's end of a call that is made message by message. */
export class MemoryClientSocket implements TransportClient, ClientSide {
  readonly inbox = new Inbox();
  readonly #call: MemoryCall;
  /** The message that was sent before the server's end existed. */
  #first: Message | undefined;
  #isOpen = false;
  #isEnded = false;

  constructor(network: MemoryNetwork, address: string, options: DialOptions) {
    this.#call = new MemoryCall(network, address, options, this);
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
      if (body) server.push(call.carried(message));
      return body && server.inbox?.isFull ? roomIn(server.inbox) : undefined;
    }
    if (body && (server || this.#first?.body)) {
      call.refuse(wrongCount(call.path, 'a second'));
      return undefined;
    }
    const headers = this.#first?.headers ?? (message.headers && call.handed(message.headers));
    this.#first = call.carried({ headers, body });
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
    // For the server's side: a client learns the end from `recv`.
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
    const call = this.#call;
    call.network.open(call);
    if (!call.port && !call.isOver) call.network.whenPort(call, () => this.#handOver());
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
    const route = port.routes.find(call.path);
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
    call.server = new MemoryServerSocket(call, route, first);
    if (this.#isEnded) call.server.endRequests();
    port.deliver(call);
  }
}

/** The client's end of a call that is made in one go. */
export class MemoryUnaryCall implements ClientSide {
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
        this.#reject(wrongReplyCount(this.#path, 'no'));
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

function withView(status: Status): Status {
  return status.metadata ? { code: status.code, message: status.message, metadata: view(status.metadata) } : status;
}
