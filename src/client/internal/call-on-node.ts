import type { Status } from '../../context/status.ts';
import { Code, type TenonError } from '../../errors/errors.ts';
import type { NodeRecord } from '../../registry/registry.ts';
import type { Clock } from '../../runtime/runtime.ts';
import type { Selector } from '../../selector/selector.ts';
import type { OutgoingContext } from './outgoing.ts';
import { reportEnd, reportFirstReply } from './selection.ts';

/** A streaming call on the node that took it. It tells the selector of the first reply and, once, of the end. */
export class CallOnNode {
  readonly #selector: Selector;
  readonly #clock: Clock;
  readonly #ctx: OutgoingContext;
  readonly #node: NodeRecord;
  readonly #startMs: number;
  #hasReplied = false;
  #isPaced = false;
  #isOver = false;

  constructor(selector: Selector, clock: Clock, ctx: OutgoingContext, node: NodeRecord, startMs: number) {
    this.#selector = selector;
    this.#clock = clock;
    this.#ctx = ctx;
    this.#node = node;
    this.#startMs = startMs;
    // Replies that nobody reads on do not show the end, which has to be counted all the same.
    if (selector.begin) ctx.onAbort((reason) => this.end(reason));
  }

  /** Notes that its caller streams requests, and so decides how long the call takes. */
  paced(): void {
    this.#isPaced = true;
  }

  /** Reports that the first reply came, or its headers. Called again, it does nothing. */
  firstReply(): void {
    if (this.#hasReplied || this.#isOver) return;
    this.#hasReplied = true;
    const latencyMs = this.#isPaced ? undefined : this.#clock.monotonicMs() - this.#startMs;
    reportFirstReply(this.#selector, this.#ctx, this.#node, latencyMs, this.#startMs);
  }

  /** Reports the end: the status that the node sent, or the error by which the call broke off. */
  end(error: TenonError | undefined, status?: Status): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const isOk = !error && (!status || status.code === Code.Ok);
    // How long a caller waits before it leaves says nothing of the node.
    const isUntold = this.#isPaced || this.#hasReplied || isOk || error?.code === Code.Cancelled;
    const latencyMs = isUntold ? undefined : this.#clock.monotonicMs() - this.#startMs;
    reportEnd(this.#selector, this.#ctx, this.#node, error, status, latencyMs);
  }
}
