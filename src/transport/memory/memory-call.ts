import type { Context } from '../../context/context.ts';
import { Metadata, type MetadataValue } from '../../context/metadata.ts';
import { statusOf } from '../../context/status.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Expiring } from '../../runtime/deadlines.ts';
import { defaultMaxMessageBytes, type DialOptions, type Message, type Socket } from '../transport.ts';
import { callCancelled, deadlineExceeded, requestTooLarge, tooLarge } from '../call/failures.ts';
import type { Inbox } from '../call/inbox.ts';
import type { MemoryNetwork, MemoryPort } from './memory-network.ts';

/** The client's end of a call. */
export interface ClientSide {
  take(message: Message): void;
  fail(error: TenonError): void;
  /** The queue that holds the server back; absent for unary calls, where nothing can pile up. */
  readonly inbox?: Inbox | undefined;
}

/** The server's end of a call. */
export interface ServerSide extends Socket {
  readonly route: MethodDescriptor;
  readonly inbox: Inbox | undefined;
  /** Takes a message after the first one. */
  push(message: Message): void;
  /** Takes the end of the client's side. */
  endRequests(): void;
  breakOff(error: TenonError): void;
}

/**
 * The part of a call in the process that both of its ends share. It is in the network's list of calls from `open` until
 * it is over.
 */
export class MemoryCall {
  // Links of the network's list.
  previous: MemoryCall | undefined;
  next: MemoryCall | undefined;
  /** True if the network has made it follow its deadline and its context. */
  isWatched = false;
  isOver = false;
  port: MemoryPort | undefined;
  server: ServerSide | undefined;
  readonly network: MemoryNetwork;
  readonly address: string;
  readonly path: string;
  readonly ctx: Context | undefined;
  readonly options: DialOptions;
  readonly client: ClientSide;
  #unfollow: (() => void) | undefined;

  constructor(network: MemoryNetwork, address: string, options: DialOptions, client: ClientSide) {
    this.network = network;
    this.address = address;
    this.path = options.path ?? options.route.path;
    this.ctx = options.ctx;
    this.options = options;
    this.client = client;
  }

  get deadline(): number | undefined {
    return this.ctx?.deadline;
  }

  /**
   * Follows the context and its deadline. The network calls it for calls that outlive the turn they were made in: most
   * do not.
   */
  watch(): void {
    this.isWatched = true;
    const { ctx } = this;
    if (!ctx) return;
    this.#unfollow = ctx.onAbort((reason) => this.abandon(reason));
    if (!this.isOver && ctx.deadline !== undefined) this.network.deadlines.add(this as Expiring);
  }

  expire(): void {
    const error = deadlineExceeded(this.path);
    this.finish();
    this.client.fail(error);
    this.server?.breakOff(error);
  }

  /** Ends the call for its client. */
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

  /** Fails the call for its client, with an error of the transport. */
  fail(error: TenonError): void {
    if (this.isOver) return;
    this.finish();
    this.client.fail(error);
  }

  /** Ends the call for the server: the client receives a status, and the context of the handler aborts. */
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
      if (this.deadline !== undefined) this.network.deadlines.delete(this as Expiring);
    }
    this.network.remove(this);
  }

  /** Returns metadata for the other side. */
  handed(metadata: Metadata): Metadata {
    return this.network.copiesBodies ? copied(metadata) : view(metadata);
  }

  /** Returns the message for the other side. */
  carried(message: Message): Message {
    const { body } = message;
    return body && this.network.copiesBodies ? { ...message, body: Buffer.from(body) } : message;
  }

  /** Returns true if the client's body is within both limits; otherwise the call is over. */
  fits(body: Uint8Array): boolean {
    const error = requestTooLarge(this.path, body, this.options.maxSendBytes);
    if (error) {
      this.abandon(error);
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

const viewed = {
  read: (metadata: Metadata): Iterable<[string, MetadataValue]> => metadata,
  find: (metadata: Metadata, key: string): MetadataValue | undefined => metadata.get(key),
};

function copied(metadata: Metadata): Metadata {
  const copy = new Metadata();
  for (const [key, value] of metadata) copy.append(key, typeof value === 'string' ? value : Buffer.from(value));
  return copy;
}

/** Returns a copy on write of metadata for the other side, whose changes the sender does not see. */
export function view(metadata: Metadata): Metadata {
  return Metadata.lazy({ raw: metadata, read: viewed.read, find: viewed.find });
}
