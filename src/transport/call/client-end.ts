import { Code, type TenonError } from '../../errors/errors.ts';
import type { DialOptions } from '../transport.ts';
import { aborted, requestTooLarge } from './failures.ts';
import type { Inbox } from './inbox.ts';

/** The part of a client's end of a call that all network transports share: its options, its limit and its abort. */
export abstract class ClientEnd {
  isOver = false;
  readonly path: string;
  readonly options: DialOptions;

  constructor(options: DialOptions) {
    this.options = options;
    this.path = options.path ?? options.route.path;
  }

  /** Fails the call, unless it is over. */
  abstract fail(error: TenonError): void;

  abort(code: Code, message?: string): void {
    if (this.isOver) return;
    const error = aborted(code, message);
    this.fail(error);
    this.inbox?.discard(error);
  }

  close(): void {
    this.abort(Code.Cancelled);
  }

  onAbort(): void {
    // Only servers have listeners: a client learns of the end from `recv`.
  }

  /** The queue of replies, in a call that is made message by message. */
  protected get inbox(): Inbox | undefined {
    return undefined;
  }

  /** Returns true if the body may be sent; otherwise the call has failed. */
  protected fits(body: Uint8Array): boolean {
    const error = requestTooLarge(this.path, body, this.options.maxSendBytes);
    if (error) this.fail(error);
    return error === undefined;
  }
}
