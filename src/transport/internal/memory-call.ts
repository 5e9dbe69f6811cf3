import { Metadata } from '../../context/metadata.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import type { MemoryLimits, MemoryPlace } from '../memory.ts';
import { defaultMaxMessageBytes, type DialOptions, type Message, type Socket, type TransportClient } from '../transport.ts';
import { aborted, deadlineExceeded, tooLarge } from './memory-errors.ts';

// As many as a gRPC transport keeps in flight: what works here does not stall there.
const maxQueued = 64;

/** One direction of a call: what was sent and not read yet. */
class Lane {
  #messages: Message[] = [];
  #isEnded = false;
  #error: TenonError | undefined;
  #reader: { resolve(message: Message | undefined): void; reject(error: TenonError): void } | undefined;
  #writers: (() => void)[] = [];

  put(message: Message): void | Promise<void> {
    if (this.#isEnded || this.#error) return;
    if (this.#reader) {
      const { resolve } = this.#reader;
      this.#reader = undefined;
      resolve(message);
      return;
    }
    this.#messages.push(message);
    if (this.#messages.length < maxQueued) return;
    return new Promise((resolve) => this.#writers.push(resolve));
  }

  end(): void {
    this.#isEnded = true;
    this.#reader?.resolve(undefined);
    this.#reader = undefined;
    this.#letWritersGo();
  }

  /** What was sent before is still read, unless `discard`. */
  fail(error: TenonError, discard: boolean): void {
    if (this.#error) return;
    this.#error = error;
    if (discard) this.#messages = [];
    this.#reader?.reject(error);
    this.#reader = undefined;
    this.#letWritersGo();
  }

  take(): Promise<Message | undefined> {
    const message = this.#messages.shift();
    if (message) {
      if (this.#messages.length < maxQueued) this.#letWritersGo();
      return Promise.resolve(message);
    }
    if (this.#isEnded) return Promise.resolve(undefined);
    if (this.#error) return Promise.reject(this.#error);
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  #letWritersGo(): void {
    if (this.#writers.length === 0) return;
    for (const resolve of this.#writers.splice(0)) resolve();
  }
}

/** A call of any shape: two lanes, and a socket at each end. */
export class MemoryCall {
  readonly client: TransportClient;
  readonly server: Socket;
  onOver: (() => void) | undefined;

  readonly #place: MemoryPlace;
  readonly #toServer = new Lane();
  readonly #toClient = new Lane();
  readonly #deadline: number | undefined;
  readonly #maxSendBytes: number;
  readonly #maxReceiveBytes: number;
  readonly #expiring: { readonly deadline: number; expire(): void } | undefined;
  #unfollow: (() => void) | undefined;
  #limits: MemoryLimits | undefined;
  #release: (() => void) | undefined;
  #sentHeaders = false;
  #error: TenonError | undefined;
  #isOver = false;
  #listener: ((error: TenonError) => void) | undefined;

  constructor(place: MemoryPlace, address: string, options: DialOptions) {
    const { ctx, maxSendBytes = Number.POSITIVE_INFINITY, maxReceiveBytes = defaultMaxMessageBytes } = options;
    this.#place = place;
    this.#deadline = ctx?.deadline;
    this.#maxSendBytes = maxSendBytes;
    this.#maxReceiveBytes = maxReceiveBytes;
    this.client = new ClientEnd(this, address);
    this.server = new ServerEnd(this, address, this.#deadline);
    if (this.#deadline !== undefined) {
      this.#expiring = { deadline: this.#deadline, expire: () => this.breakOff(deadlineExceeded()) };
      if (this.#deadline <= place.now()) this.#expiring.expire();
      else place.deadlines.add(this.#expiring);
    }
    this.#unfollow = ctx?.onAbort((error) => this.breakOff(error));
  }

  /** A listener has the call. */
  accepted(_address: string, limits: MemoryLimits, release: () => void): void {
    this.#limits = limits;
    this.#release = release;
    if (this.#isOver) release();
  }

  /** Answers in the place of a server. */
  answer(message: Message): void {
    this.sendToClient(message);
  }

  sendToServer(message: Message): void | Promise<void> {
    const size = message.body?.length ?? 0;
    const refusal =
      tooLarge(size, this.#maxSendBytes, 'the request') ?? (this.#limits && tooLarge(size, this.#limits.maxReceiveBytes, 'the request'));
    if (refusal) return this.breakOff(refusal);
    // The first message always carries headers, so that a server needs no case for a call without.
    const first = !this.#sentHeaders && !message.headers;
    this.#sentHeaders = true;
    return this.#toServer.put(first ? { headers: new Metadata(), ...message } : message);
  }

  endRequests(): void {
    if (!this.#sentHeaders) void this.sendToServer({});
    this.#toServer.end();
  }

  sendToClient(message: Message): void | Promise<void> {
    if (this.#isOver) return;
    const size = message.body?.length ?? 0;
    const refusal =
      (this.#limits && tooLarge(size, this.#limits.maxSendBytes, 'the reply')) ?? tooLarge(size, this.#maxReceiveBytes, 'the reply');
    if (refusal) return this.breakOff(refusal);
    const room = this.#toClient.put(message);
    if (message.status) {
      this.#toClient.end();
      this.#toServer.end();
      this.#end();
    }
    return room;
  }

  recvAtServer(): Promise<Message | undefined> {
    return this.#toServer.take();
  }

  recvAtClient(): Promise<Message | undefined> {
    return this.#toClient.take();
  }

  onServerAbort(listener: (error: TenonError) => void): void {
    if (this.#error) listener(this.#error);
    else this.#listener = listener;
  }

  breakOff(error: TenonError): void {
    if (this.#isOver) return;
    this.#error = error;
    this.#end();
    this.#toServer.fail(error, false);
    this.#toClient.fail(error, false);
    this.#listener?.(error);
  }

  #end(): void {
    this.#isOver = true;
    if (this.#expiring) this.#place.deadlines.delete(this.#expiring);
    this.#unfollow?.();
    this.onOver?.();
    this.#release?.();
  }
}

class ClientEnd implements TransportClient {
  readonly local = 'memory';
  readonly remote: string;
  readonly deadline = undefined;
  readonly #call: MemoryCall;

  constructor(call: MemoryCall, address: string) {
    this.#call = call;
    this.remote = address;
  }

  send(message: Message): void | Promise<void> {
    return this.#call.sendToServer(message);
  }

  recv(): Promise<Message | undefined> {
    return this.#call.recvAtClient();
  }

  end(): void {
    this.#call.endRequests();
  }

  abort(code: Code, message?: string): void {
    this.#call.breakOff(aborted(code, message));
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(listener: (error: TenonError) => void): void {
    this.#call.onServerAbort(listener);
  }
}

class ServerEnd implements Socket {
  readonly local: string;
  readonly remote = 'memory';
  readonly deadline: number | undefined;
  readonly #call: MemoryCall;

  constructor(call: MemoryCall, address: string, deadline: number | undefined) {
    this.#call = call;
    this.local = address;
    this.deadline = deadline;
  }

  send(message: Message): void | Promise<void> {
    return this.#call.sendToClient(message);
  }

  recv(): Promise<Message | undefined> {
    return this.#call.recvAtServer();
  }

  end(): void {}

  abort(code: Code, message?: string): void {
    this.#call.breakOff(aborted(code, message));
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(listener: (error: TenonError) => void): void {
    this.#call.onServerAbort(listener);
  }
}
