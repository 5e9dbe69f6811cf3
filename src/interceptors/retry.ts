import type { Context } from '../context/context.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code } from '../errors/errors.ts';
import type { Backoff, BackoffSchedule } from '../internal/backoff.ts';
import { type CallHandler, type Interceptor, type MethodDescriptor, serverStreams } from '../pipeline/pipeline.ts';
import { retrying, type RetryingOptions } from '../runtime/retrying.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { AttemptReplies, type OpenReplies } from './internal/attempt-replies.ts';
import { invalidOption } from './internal/invalid-option.ts';
import { attemptsWithin, isCall, RetriableCall, type AttemptPolicy } from './internal/retriable-call.ts';
import { RetryBudget, unlimitedRetries } from './retry-budget.ts';

/** Options of {@link retry}. */
export interface RetryOptions {
  /** Attempts of one call, the first among them: 1 to 5, more count as 5 (gRPC: A6). @default 3 */
  readonly maxAttempts?: number | undefined;
  /** Codes of failures that are retried. @default UNAVAILABLE */
  readonly codes?: readonly Code[] | undefined;
  /** Wait before the second attempt, in milliseconds; a fifth more or less by chance. @default 100 */
  readonly initialBackoffMs?: number | undefined;
  /** No wait is longer. @default 5_000 */
  readonly maxBackoffMs?: number | undefined;
  /** Each wait is the one before times this. @default 2 */
  readonly backoffMultiplier?: number | undefined;
  /**
   * The budget that bounds retries while a service fails. Interceptors given the same budget share it. `false` for
   * none.
   * @default one of its own
   */
  readonly budget?: RetryBudget | false | undefined;
  /** Time, timers and chance. @default the machine's own */
  readonly runtime?: Runtime | undefined;
}

interface Policy extends AttemptPolicy {
  readonly backoff: BackoffSchedule;
}

/**
 * Makes an interceptor for clients that sends a failed call again, to another node where there is one.
 *
 * It repeats calls of methods that are declared idempotent, and attempts that certainly no handler saw. A call that may
 * have been processed is never repeated otherwise, whatever `codes` says. A stream of replies is repeated until its
 * first reply was handed out, and a stream of requests only while no request was read. Events pass unchanged:
 * `@Subscribe` has its own retries.
 *
 * The waits between attempts grow, and are at least as long as the server asks for by a `google.rpc.RetryInfo` or
 * `grpc-retry-pushback-ms`. No wait goes beyond the deadline, which bounds all attempts together. Headers, trailers and
 * peer of the call are those of its last attempt. Every attempt but the first carries the number of those before it, in
 * `grpc-previous-rpc-attempts`. After the last attempt the call fails with its error.
 *
 * @example
 * ```ts
 * const options: ClientOptions = { interceptors: [retry({ maxAttempts: 4, codes: [Code.Unavailable, Code.Aborted] })]
 * };
 * ```
 */
export function retry(options: RetryOptions = {}): Interceptor {
  const policy = policyOf(options);
  return (next, method) => {
    if (!isCall(method) || policy.maxAttempts === 1) return next;
    if (serverStreams(method.kind)) {
      return (input, ctx) => {
        let call: SequentialCall | undefined;
        return new AttemptReplies({
          open: () => {
            const opened = (call = new SequentialCall(policy, next, method, input, ctx));
            return retrying(() => opened.tryOpening(), opened);
          },
          leave: () => ctx.abort(),
          onEnd: () => call?.attempts.settle(),
        });
      };
    }
    return async (input, ctx) => {
      const call = new SequentialCall(policy, next, method, input, ctx);
      try {
        return await retrying(() => call.tryCalling(), call);
      } finally {
        call.attempts.settle();
      }
    };
  };
}

/**
 * A call whose attempts follow one another. It is its own options of `retrying`, so that a call that succeeds costs no
 * further object.
 */
class SequentialCall extends RetriableCall implements RetryingOptions {
  readonly runtime: Runtime;
  readonly backoff: BackoffSchedule;
  readonly #maxAttempts: number;
  #made = 0;
  #last: Context | undefined;

  constructor(policy: Policy, next: CallHandler, method: MethodDescriptor, input: unknown, ctx: Context) {
    super(policy, next, method, input, ctx);
    this.runtime = policy.runtime;
    this.backoff = policy.backoff;
    this.#maxAttempts = policy.maxAttempts;
  }

  async tryCalling(): Promise<unknown> {
    const attempt = this.#begin();
    const reply = await this.call(attempt);
    this.succeeded(attempt);
    return reply;
  }

  async tryOpening(): Promise<OpenReplies> {
    const attempt = this.#begin();
    const replies = await this.open(attempt);
    this.succeeded(attempt);
    return replies;
  }

  onFailure(error: unknown, delayMs: number, backoff: Backoff): number {
    const { mayRetry, isExactWait, waitMs = 0 } = this.decide(this.#last as Context, error);
    if (!mayRetry || this.#made >= this.#maxAttempts) throw this.#failed(error);
    if (isExactWait) backoff.succeeded();
    const pauseMs = isExactWait ? waitMs : Math.max(delayMs, waitMs);
    if (this.isTooLate(pauseMs)) throw this.#failed(error);
    return pauseMs;
  }

  async pause(delayMs: number): Promise<void> {
    try {
      await this.runtime.timers.sleep(delayMs, this.ctx.signal);
    } catch (aborted) {
      throw this.#failed(aborted);
    }
  }

  #begin(): Context {
    this.#made += 1;
    return (this.#last = this.attempts.begin());
  }

  /** Commits the last attempt: the caller sees what its server sent. */
  #failed(error: unknown): unknown {
    this.attempts.commit(this.#last as Context);
    return error;
  }
}

function policyOf(options: RetryOptions): Policy {
  const {
    runtime = systemRuntime,
    initialBackoffMs = 100,
    maxBackoffMs = 5_000,
    backoffMultiplier = 2,
    budget,
  } = checkedOptions('retry', options, { backoffMultiplier: {} });
  for (const [name, value] of Object.entries({ initialBackoffMs, maxBackoffMs, backoffMultiplier })) {
    if (!(value >= 0)) throw invalidOption('retry', `${name} is ${value}: give a number of at least 0`);
  }
  return {
    maxAttempts: attemptsWithin(options.maxAttempts ?? 3, 'retry'),
    codes: new Set(options.codes ?? [Code.Unavailable]),
    budget: budget === false ? unlimitedRetries : (budget ?? new RetryBudget()),
    runtime,
    backoff: { initialMs: initialBackoffMs, maxMs: maxBackoffMs, factor: backoffMultiplier },
  };
}
