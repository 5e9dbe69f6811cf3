import type { Context } from '../../context/context.ts';
import type { Attempts, Outgoing } from '../../context/outgoing.ts';
import { findDetail, RetryInfo } from '../../errors/details.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { iterable, iteratorOf } from '../../internal/iterators.ts';
import { clientStreams, type CallHandler, type MethodDescriptor, serverStreams } from '../../pipeline/pipeline.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { RetryBudget } from '../retry-budget.ts';
import type { OpenReplies } from './late-replies.ts';

/** What retries and hedges have in common. */
export interface Repeating {
  readonly maxAttempts: number;
  readonly codes: ReadonlySet<Code>;
  readonly budget: Pick<RetryBudget, 'succeeded' | 'failed' | 'allows'>;
  readonly runtime: Runtime;
}

/** What a server may say of repetitions: in this trailer, by gRPC's A6, or as a `google.rpc.RetryInfo`. */
const pushbackKey = 'grpc-retry-pushback-ms';

/** What the failure of an attempt says of the next. */
export interface Verdict {
  /** Whether there may be one. */
  readonly may: boolean;
  /** Whether it is the failure of the call, whatever other attempts are under way. */
  readonly isFatal: boolean;
  /** What the server asks for: at least, or exactly. */
  readonly waitMs?: number | undefined;
  readonly exactly?: boolean | undefined;
}

const fatal: Verdict = { may: false, isFatal: true };
const noMore: Verdict = { may: false, isFatal: false };

/** One call that may be made several times. */
export class RepeatedCall {
  readonly ctx: Context;
  readonly attempts: Attempts;
  readonly #policy: Repeating;
  readonly #method: MethodDescriptor;
  readonly #target: string;
  readonly #next: CallHandler;
  readonly #input: unknown;
  /** Somebody has begun to read the requests. */
  #isRead = false;

  constructor(policy: Repeating, next: CallHandler, method: MethodDescriptor, input: unknown, ctx: Context) {
    const outgoing = outgoingOf(ctx, method);
    this.ctx = ctx;
    this.attempts = outgoing.attempts();
    this.#policy = policy;
    this.#method = method;
    this.#target = outgoing.target;
    this.#next = next;
    this.#input = clientStreams(method.kind) ? this.#noticed(input as AsyncIterable<unknown>) : input;
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
    this.attempts.choose(attempt);
  }

  /**
   * Whether the call may be made again after `error`. What may have been processed is repeated only where the method is
   * declared idempotent, and a stream of requests only while nothing was read of it.
   */
  judge(attempt: Context, error: unknown): Verdict {
    const failure = TenonError.from(error);
    if (this.ctx.aborted || !this.#policy.codes.has(failure.code)) return fatal;
    this.#policy.budget.failed(this.#target);
    const isSafe = this.#method.idempotent || this.attempts.wasRefused(attempt);
    if (!isSafe || this.#isRead) return fatal;
    const pushback = failure.metadata[pushbackKey];
    const waitMs = typeof pushback === 'string' && /^\d{1,15}$/.test(pushback) ? Number(pushback) : undefined;
    // Anything that is no number of milliseconds forbids repetitions (A6).
    if (!this.mayBegin() || (pushback !== undefined && waitMs === undefined)) return noMore;
    if (waitMs !== undefined) return { may: true, isFatal: false, waitMs, exactly: true };
    return { may: true, isFatal: false, waitMs: findDetail(failure, RetryInfo)?.retryDelayMs };
  }

  #noticed(requests: AsyncIterable<unknown>): AsyncIterable<unknown> {
    return iterable(() => {
      this.#isRead = true;
      return iteratorOf(requests);
    });
  }

  /** Whether the budget has an attempt left. */
  mayBegin(): boolean {
    return this.#policy.budget.allows(this.#target);
  }

  /** Whether the call's time is up after `delayMs`. */
  isTooLate(delayMs: number): boolean {
    const { deadline } = this.ctx;
    return deadline !== undefined && this.#policy.runtime.clock.monotonicMs() + delayMs >= deadline;
  }
}

/**
 * Whether calls of the method can be repeated at all by an interceptor; events have the retries of their subscription.
 */
export function isCall(method: MethodDescriptor): boolean {
  return method.kind !== 'event';
}

export { serverStreams };

/** gRPC allows no more (A6), whatever was asked for. */
export function attemptsWithin(maxAttempts: number, what: string): number {
  if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
    throw invalidOption(what, `maxAttempts is ${maxAttempts}: give a whole number of at least 1`);
  }
  return Math.min(maxAttempts, 5);
}

/** Options that mean nothing are said when the interceptor is made, not with the first call. */
export function invalidOption(what: string, problem: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'interceptors.invalid_option',
    message: `${what}: ${problem}`,
  });
}

function outgoingOf(ctx: Context, method: MethodDescriptor): Outgoing {
  if (ctx.outgoing) return ctx.outgoing;
  throw new TenonError({
    code: Code.FailedPrecondition,
    reason: 'interceptors.client_only',
    message: `${method.path} is served here: calls are repeated by who makes them. Give retry and hedge to the client`,
  });
}
