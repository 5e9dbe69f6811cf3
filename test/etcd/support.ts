import { AsyncQueue } from '../../src/internal/async-queue.ts';
import type { ReplyStream } from '../../src/etcd/messages.ts';

/** A stream whose replies the test gives. */
export class ScriptedStream implements ReplyStream {
  readonly sent: unknown[] = [];
  readonly #replies = new AsyncQueue<unknown>();
  isGivenUp = false;
  isReturned = false;

  reply(...replies: readonly unknown[]): this {
    for (const one of replies) this.#replies.push(one);
    return this;
  }

  end(): void {
    this.#replies.end();
  }

  fail(error: unknown): void {
    this.#replies.fail(error);
  }

  next(): Promise<IteratorResult<unknown, undefined>> {
    return this.#replies.next();
  }

  send(request: unknown): void {
    this.sent.push(request);
  }

  giveUp(): void {
    this.isGivenUp = true;
    this.#replies.fail(new Error('it was given up'));
  }

  async return(): Promise<undefined> {
    this.isReturned = true;
    this.#replies.end();
  }
}
