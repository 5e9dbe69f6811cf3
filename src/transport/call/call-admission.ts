import type { Timers } from '../../runtime/runtime.ts';
import type { SendBudgetUser, SendBudget } from './send-budget.ts';

/** A call that may have to wait before it begins. */
export interface AdmittedCall {
  begin(): void;
}

// Until a connection has sent a reply, its replies are taken to be so large.
const firstReplyBytes = 256 * 1024;

/**
 * Lets the calls of one connection begin, unless too much of the replies is unsent: then those that come wait, unread.
 */
export class CallAdmission implements SendBudgetUser {
  readonly #budget: SendBudget;
  readonly #timers: Timers;
  readonly #held = new Set<AdmittedCall>();
  #bytes = 0;
  /** Bytes that the peer has taken, all told. */
  #takenBytes = 0;
  /** Bytes that the replies of calls that have just begun may come to. */
  #expected = 0;
  /** Size of a reply, at most, going by the last ones. */
  #replyBytes = firstReplyBytes;
  #willBegin = false;
  #lastTaken = 0;
  #lastWritten = 0;
  #stalls = 0;

  constructor(budget: SendBudget, timers: Timers) {
    this.#budget = budget;
    this.#timers = timers;
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

  /** The call is over. */
  forget(call: AdmittedCall): void {
    if (this.#held.size > 0) this.#held.delete(call);
  }

  /** A reply of that size was made: those to come are expected to be as large as the largest of the last few. */
  replied(bytes: number): void {
    this.#expected = Math.max(0, this.#expected - this.#replyBytes);
    this.#replyBytes = Math.max(bytes, this.#replyBytes / 2);
  }

  /** So much more is unsent, or less. */
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

  /**
   * True if the peer has taken nothing since `looks` of these looks, while calls waited for that. `writtenBytes`: what
   * has left on the connection so far; long messages count when they have left as a whole.
   */
  hasStalled(looks: number, writtenBytes: number): boolean {
    const isWaitedFor = this.#bytes > 0 && (this.#held.size > 0 || this.#budget.isFull);
    const hasMoved = this.#takenBytes !== this.#lastTaken || writtenBytes - this.#lastWritten > answersBytes;
    this.#lastTaken = this.#takenBytes;
    this.#lastWritten = writtenBytes;
    this.#stalls = isWaitedFor && !hasMoved ? this.#stalls + 1 : 0;
    return this.#stalls >= looks;
  }

  /** The connection is gone. */
  close(): void {
    this.#held.clear();
    this.#budget.forget(this);
  }

  get #hasRoom(): boolean {
    const { maxUnsentBytesPerConnection } = this.#budget.limits;
    return this.#bytes + this.#expected < maxUnsentBytesPerConnection && !this.#budget.isFull;
  }

  #beginSoon(): void {
    if (this.#willBegin) return;
    this.#willBegin = true;
    this.#timers.soon(this.#beginHeld);
  }

  readonly #beginHeld = (): void => {
    this.#willBegin = false;
    // Whoever has not replied by now takes longer, and holds up nobody.
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

// Answers to pings and settings, which a peer can have any number of without taking anything.
const answersBytes = 1024;
