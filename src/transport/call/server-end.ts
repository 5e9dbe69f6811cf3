import type { Code, TenonError } from '../../errors/errors.ts';
import type { MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Message } from '../transport.ts';
import { Inbox } from './inbox.ts';

const over = Promise.resolve(undefined);

/** The receiving half of a server's end of a call: its requests, and the error that it broke off with. */
export abstract class ServerEnd {
  readonly route: MethodDescriptor;
  protected first: Message | undefined;
  /** The requests after the first message; absent for unary methods. */
  protected readonly requests: Inbox | undefined;
  #broken: TenonError | undefined;
  #listener: ((error: TenonError) => void) | undefined;

  constructor(route: MethodDescriptor, first?: Message) {
    this.route = route;
    this.first = first;
    if (route.kind !== 'unary') this.requests = new Inbox();
  }

  abstract abort(code: Code, message?: string): void;

  recv(): Promise<Message | undefined> {
    const { first } = this;
    if (first) {
      this.first = undefined;
      return Promise.resolve(first);
    }
    if (this.requests) return this.requests.recv();
    return this.#broken ? Promise.reject(this.#broken) : over;
  }

  end(): void {
    // Only clients half-close: a server ends with its status.
  }

  onAbort(listener: (error: TenonError) => void): void {
    if (this.#broken) listener(this.#broken);
    else this.#listener = listener;
  }

  /** Ends the requests with the error of a call that broke off, and tells the handler. */
  breakOff(error: TenonError): void {
    this.#broken = error;
    this.requests?.end(error);
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(error);
  }

  /** Drops the requests of a call that its handler aborted. */
  protected drop(error: TenonError): void {
    this.first = undefined;
    this.#broken = error;
    this.#listener = undefined;
    this.requests?.discard(error);
  }
}
