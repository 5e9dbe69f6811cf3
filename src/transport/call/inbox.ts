import type { TenonError } from '../../errors/errors.ts';
import type { Message } from '../transport.ts';

const over = Promise.resolve(undefined);
const limitBytes = 64 * 1024;

/**
 * Queues the messages that one side has received and not read yet, for one reader. The end of the queue comes last:
 * messages that arrived before it are read first. The queue accepts more than its limit; a writer checks `isFull` and
 * waits for `onRoom`.
 */
export class Inbox {
  /** Called once when it is no longer full, or has ended. */
  onRoom: (() => void) | undefined;
  readonly #limit: number;
  #items: Message[] = [];
  #head = 0;
  #bytes = 0;
  #isEnded = false;
  #error: TenonError | undefined;
  #resolve: ((message: Message | undefined) => void) | undefined;
  #reject: ((error: TenonError) => void) | undefined;

  constructor(limit = 64) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return !this.#isEnded && (this.#items.length - this.#head >= this.#limit || this.#bytes >= limitBytes);
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  push(message: Message): void {
    if (this.#isEnded) return;
    const resolve = this.#resolve;
    if (resolve) {
      this.#resolve = undefined;
      this.#reject = undefined;
      resolve(message);
      return;
    }
    this.#items.push(message);
    if (message.body) this.#bytes += message.body.length;
  }

  /** Ends the queue: after the last message the reader gets `undefined`, or the error. Only the first end counts. */
  end(error?: TenonError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#error = error;
    const resolve = this.#resolve;
    const reject = this.#reject;
    this.#resolve = undefined;
    this.#reject = undefined;
    if (error) reject?.(error);
    else resolve?.(undefined);
    this.#tellRoom();
  }

  /** Ends the queue at once, and drops what was not read. */
  discard(error?: TenonError): void {
    this.#items = [];
    this.#head = 0;
    this.#bytes = 0;
    if (this.#isEnded) this.#error = error;
    else this.end(error);
  }

  recv(): Promise<Message | undefined> {
    if (this.#head < this.#items.length) {
      const message = this.#shift();
      if (this.onRoom && !this.isFull) this.#tellRoom();
      return Promise.resolve(message);
    }
    if (this.#error) return Promise.reject(this.#error);
    if (this.#isEnded) return over;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  #tellRoom(): void {
    const listener = this.onRoom;
    this.onRoom = undefined;
    listener?.();
  }

  #shift(): Message {
    const message = this.#items[this.#head] as Message;
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items = [];
      this.#head = 0;
    } else if (this.#head > 64 && this.#head * 2 > this.#items.length) {
      // Only when half is spent, so that the cost per message stays constant.
      this.#items.splice(0, this.#head);
      this.#head = 0;
    }
    if (message.body) this.#bytes -= message.body.length;
    return message;
  }
}

/** Resolves when there is room in `inbox` again. */
export function roomIn(inbox: Inbox): Promise<void> {
  return new Promise((resolve) => {
    const others = inbox.onRoom;
    inbox.onRoom = () => {
      others?.();
      resolve();
    };
  });
}
