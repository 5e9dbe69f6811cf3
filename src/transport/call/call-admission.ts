import type { Timers } from '../../runtime/runtime.ts';
import type { SendBudgetUser, SendBudget } from './send-budget.ts';

/** A call that may have to wait before its handler begins. */
export interface AdmittedCall {
  begin(): void;
}

// The estimated size of a reply until the connection has sent one.
const firstReplyBytes = 256 * 1024;

/**
 * Lets the calls of one connection begin. While too many bytes of replies are unsent, new calls wait and their requests
 * are not read.
 */
export class CallAdmission implements SendBudgetUser {
  readonly #budget: SendBudget;
  readonly #timers: Timers;
  readonly #unsentBytes: (() => number) | undefined;
  readonly #held = new Set<AdmittedCall>();
  #bytes = 0;
  /** The number of bytes that the peer has taken so far. */
  #takenBytes = 0;
  /** The estimated bytes of the replies to calls that have just begun. */
  #expected = 0;
  /** The estimated size of a reply, from the largest of the last few. */
  #replyBytes = firstReplyBytes;
  #willBegin = false;
  #lastTaken = 0;
  #lastWritten = 0;
  #stalls = 0;

  /**
   * @param unsentBytes the unsent bytes of the connection at this moment, if that is more than `change` has counted
   */
  constructor(budget: SendBudget, timers: Timers, unsentBytes?: () => number) {
    this.#budget = budget;
    this.#timers = timers;
    this.#unsentBytes = unsentBytes;
  }

  /** True while calls of this connection wait, or those of all connections of the listener. */
  get isWaitedFor(): boolean {
    return this.#held.size > 0 || this.#budget.isFull;
  }

  /** Begins the call, now or when there is room. */
  admit(call: AdmittedCall): void {
    if (this.#held.size === 0 && this.#hasRoom) {
      this.#expected += this.#replyBytes;
      call.begin();
      return;
    }
    this.#held.add(call);
    this.#beginSoon();
  }

  /** Forgets a call that is over. */
  forget(call: AdmittedCall): void {
    if (this.#held.size > 0) this.#held.delete(call);
  }

  /** Notes the size of a reply. Later replies are expected to be as large as the largest of the last few. */
  replied(bytes: number): void {
    this.#expected = Math.max(0, this.#expected - this.#replyBytes);
    this.#replyBytes = Math.max(bytes, this.#replyBytes / 2);
  }

  /** Expects no more replies of the calls that have begun so far: those that still run take longer. */
  expectNothing(): void {
    this.#expected = 0;
  }

  /** Changes the number of unsent bytes. */
  change(bytes: number): void {
    this.#bytes += bytes;
    this.#budget.change(bytes);
    if (bytes >= 0) return;
    this.#takenBytes -= bytes;
    if (this.#held.size > 0) this.#beginSoon();
  }

  onRoom(): void {
    this.#beginSoon();
  }

  /** Begins calls that wait, if there is room by now. */
  retry(): void {
    if (this.#held.size > 0 && this.#hasRoom) this.#beginSoon();
  }

  /**
   * Returns true if the peer has taken nothing during the last `looks` calls of this method while calls waited.
   * `writtenBytes` is what has left on the connection so far; long messages count when they have left as a whole.
   */
  hasStalled(looks: number, writtenBytes: number): boolean {
    const isWaitedFor = this.#bytes > 0 && this.isWaitedFor;
    const hasMoved = this.#takenBytes !== this.#lastTaken || writtenBytes - this.#lastWritten > answersBytes;
    this.#lastTaken = this.#takenBytes;
    this.#lastWritten = writtenBytes;
    this.#stalls = isWaitedFor && !hasMoved ? this.#stalls + 1 : 0;
    return this.#stalls >= looks;
  }

  /** Forgets all calls once the connection is closed. */
  close(): void {
    this.#held.clear();
    this.#budget.forget(this);
  }

  get #hasRoom(): boolean {
    const { maxUnsentBytesPerConnection } = this.#budget.limits;
    const bytes = this.#unsentBytes ? this.#unsentBytes() : this.#bytes;
    return bytes + this.#expected < maxUnsentBytesPerConnection && !this.#budget.isFull;
  }

  #beginSoon(): void {
    if (this.#willBegin) return;
    this.#willBegin = true;
    this.#timers.soon(this.#beginHeld);
  }

  readonly #beginHeld = (): void => {
    this.#willBegin = false;
    // A call that has not replied by now takes longer, and must not hold up others.
    this.#expected = 0;
    for (const call of this.#held) {
      if (!this.#hasRoom) break;
      this.#held.delete(call);
      this.#expected += this.#replyBytes;
      call.begin();
    }
    if (this.#held.size === 0) return;
    if (this.#budget.isFull) this.#budget.wait(this);
    else if (this.#expected > 0) this.#beginSoon();
  };
}

// Answers to pings and settings, which a peer can cause without limit and without reading.
const answersBytes = 1024;
