import type { Context } from '../../context/context.ts';
import type { Attempts, Outgoing } from '../../context/outgoing.ts';
import { findDetail, RetryInfo } from '../../errors/details.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { iterable, iteratorOf } from '../../internal/iterators.ts';
import { type CallHandler, clientStreams, type MethodDescriptor } from '../../pipeline/pipeline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { RetryBudget } from '../retry-budget.ts';
import type { OpenReplies } from './attempt-replies.ts';
import { invalidOption } from './invalid-option.ts';

/** The options that `retry` and `hedge` share. */
export interface AttemptPolicy {
  readonly maxAttempts: number;
  readonly codes: ReadonlySet<Code>;
  readonly budget: Pick<RetryBudget, 'succeeded' | 'failed' | 'allows'>;
  readonly runtime: Runtime;
}

/** The trailer by which a server delays or forbids the next attempt (gRPC: A6). */
const pushbackKey = 'grpc-retry-pushback-ms';

/** Says if, and when, another attempt may follow one that failed. */
export interface RetryDecision {
  readonly mayRetry: boolean;
  /** True if the call fails with this error at once, even while other attempts are under way. */
  readonly isFatal: boolean;
  /** The wait that the server asks for. */
  readonly waitMs?: number | undefined;
  /** True if the wait is to be exactly `waitMs`, false if it is to be at least that. */
  readonly isExactWait?: boolean | undefined;
}

const fatal: RetryDecision = { mayRetry: false, isFatal: true };
const noMore: RetryDecision = { mayRetry: false, isFatal: false };

/** One call that may be sent several times, each time as an attempt with a context of its own. */
export class RetriableCall {
  readonly ctx: Context;
  readonly attempts: Attempts;
  readonly #policy: AttemptPolicy;
  readonly #method: MethodDescriptor;
  readonly #target: string;
  readonly #next: CallHandler;
  readonly #input: unknown;
  /** True once an attempt has begun to read the stream of requests, which cannot be read again. */
  #isRead = false;

  constructor(policy: AttemptPolicy, next: CallHandler, method: MethodDescriptor, input: unknown, ctx: Context) {
    const outgoing = outgoingOf(ctx, method);
    this.ctx = ctx;
    this.attempts = outgoing.attempts();
    this.#policy = policy;
    this.#method = method;
    this.#target = outgoing.target;
    this.#next = next;
    this.#input = clientStreams(method.kind) ? this.#watched(input as AsyncIterable<unknown>) : input;
  }

  /** Makes one attempt of a call with one reply. */
  call(attempt: Context): Promise<unknown> {
    return this.#next(this.#input, attempt) as Promise<unknown>;
  }

  /** Makes one attempt of a call with a stream of replies, up to the first of them. */
  async open(attempt: Context): Promise<OpenReplies> {
    const replies = iteratorOf(this.#next(this.#input, attempt) as AsyncIterable<unknown>);
    return { replies, first: await replies.next() };
  }

  succeeded(attempt: Context): void {
    this.#policy.budget.succeeded(this.#target);
    this.attempts.commit(attempt);
  }

  /**
   * Decides if the call may be sent again after `error`. A call that a server may have processed is repeated only if
   * the method is declared idempotent, and a stream of requests only while no request was read.
   */
  decide(attempt: Context, error: unknown): RetryDecision {
    const failure = TenonError.from(error);
    if (this.ctx.aborted || !this.#policy.codes.has(failure.code)) return fatal;
    this.#policy.budget.failed(this.#target);
    const isSafe = this.#method.idempotent || this.attempts.wasRefused(attempt);
    if (!isSafe || this.#isRead) return fatal;
    const pushback = failure.metadata[pushbackKey];
    const waitMs = typeof pushback === 'string' && /^\d{1,15}$/.test(pushback) ? Number(pushback) : undefined;
    // Any other value than a number of milliseconds forbids further attempts (A6).
    if (!this.mayBegin() || (pushback !== undefined && waitMs === undefined)) return noMore;
    if (waitMs !== undefined) return { mayRetry: true, isFatal: false, waitMs, isExactWait: true };
    return { mayRetry: true, isFatal: false, waitMs: findDetail(failure, RetryInfo)?.retryDelayMs };
  }

  #watched(requests: AsyncIterable<unknown>): AsyncIterable<unknown> {
    return iterable(() => {
      this.#isRead = true;
      return iteratorOf(requests);
    });
  }

  /** True if the budget allows another attempt. */
  mayBegin(): boolean {
    return this.#policy.budget.allows(this.#target);
  }

  /** True if the deadline passes within `delayMs`. */
  isTooLate(delayMs: number): boolean {
    const { deadline } = this.ctx;
    return deadline !== undefined && this.#policy.runtime.clock.monotonicMs() + delayMs >= deadline;
  }
}

/** True if an interceptor may repeat calls of the method. Events are retried by their subscription instead. */
export function isCall(method: MethodDescriptor): boolean {
  return method.kind !== 'event';
}

/** Checks the option `maxAttempts`, and bounds it by five, the most that gRPC allows (A6). */
export function attemptsWithin(maxAttempts: number, what: string): number {
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw invalidOption(what, `maxAttempts is ${maxAttempts}: give a whole number of at least 1`);
  }
  return Math.min(maxAttempts, 5);
}

function outgoingOf(ctx: Context, method: MethodDescriptor): Outgoing {
  if (ctx.outgoing) return ctx.outgoing;
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'interceptors.client_only',
    message: `${method.path} is served here: only the caller can repeat a call. Give retry and hedge to the client`,
  });
}
