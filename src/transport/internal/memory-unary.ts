import { Metadata } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { defaultMaxMessageBytes, type DialOptions, type Message, type Socket } from '../transport.ts';
import type { MemoryLimits, MemoryPlace } from '../memory.ts';
import { aborted, deadlineExceeded, tooLarge } from './memory-errors.ts';

const ended = Promise.resolve(undefined);

/**
 * The server's side of a unary call whose client side is a promise: one object for the whole call, and no queue.
 */
export class MemoryUnary implements Socket {
  readonly local: string;
  readonly remote = 'memory';
  readonly deadline: number | undefined;
  onOver: (() => void) | undefined;
  isOver = false;

  readonly #place: MemoryPlace;
  readonly #limits: MemoryLimits;
  readonly #maxReceiveBytes: number;
  readonly #resolve: (message: Message) => void;
  readonly #reject: (error: TenonError) => void;
  readonly #unfollow: (() => void) | undefined;
  #request: Message | undefined;
  #headers: Metadata | undefined;
  #body: Uint8Array | undefined;
  #error: TenonError | undefined;
  #listener: ((error: TenonError) => void) | undefined;

  constructor(
    place: MemoryPlace,
    local: string,
    limits: MemoryLimits,
    message: Message,
    options: DialOptions,
    resolve: (message: Message) => void,
    reject: (error: TenonError) => void,
  ) {
    const { ctx, maxReceiveBytes = defaultMaxMessageBytes, maxSendBytes = Number.POSITIVE_INFINITY } = options;
    this.local = local;
    this.deadline = ctx?.deadline;
    this.#place = place;
    this.#limits = limits;
    this.#maxReceiveBytes = maxReceiveBytes;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#request = message.headers ? message : { ...message, headers: new Metadata() };
    const size = message.body?.length ?? 0;
    const refusal = tooLarge(size, maxSendBytes, 'the request') ?? tooLarge(size, limits.maxReceiveBytes, 'the request') ?? ctx?.aborted;
    if (refusal) {
      this.breakOff(refusal);
      return;
    }
    if (this.deadline !== undefined) {
      if (this.deadline <= place.now()) {
        this.breakOff(deadlineExceeded());
        return;
      }
      place.deadlines.add(this as { deadline: number; expire(): void });
    }
    this.#unfollow = ctx?.onAbort((error) => this.breakOff(error));
  }

  get server(): Socket {
    return this;
  }

  recv(): Promise<Message | undefined> {
    const request = this.#request;
    this.#request = undefined;
    if (request) return Promise.resolve(request);
    return this.#error ? Promise.reject(this.#error) : ended;
  }

  send(message: Message): void {
    if (this.isOver) return;
    if (message.headers) this.#headers = message.headers;
    if (message.body) {
      const size = message.body.length;
      const refusal = tooLarge(size, this.#limits.maxSendBytes, 'the reply') ?? tooLarge(size, this.#maxReceiveBytes, 'the reply');
      if (refusal) {
        this.breakOff(refusal);
        return;
      }
      if (this.#body) {
        this.breakOff(new TenonError({ code: Code.Internal, reason: 'transport.protocol', message: 'a unary call was answered twice' }));
        return;
      }
      this.#body = message.body;
    }
    if (message.status) {
      this.#end();
      this.#resolve({ headers: this.#headers, body: this.#body, status: message.status });
    }
  }

  end(): void {}

  abort(code: Code, message?: string): void {
    this.breakOff(aborted(code, message));
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(listener: (error: TenonError) => void): void {
    if (this.#error) listener(this.#error);
    else this.#listener = listener;
  }

  expire(): void {
    this.breakOff(deadlineExceeded());
  }

  breakOff(error: TenonError): void {
    if (this.isOver) return;
    this.#error = error;
    this.#end();
    this.#reject(error);
    this.#listener?.(error);
  }

  #end(): void {
    this.isOver = true;
    if (this.deadline !== undefined) this.#place.deadlines.delete(this as { deadline: number; expire(): void });
    this.#unfollow?.();
    this.onOver?.();
  }
}
