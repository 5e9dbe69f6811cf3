import type { Context } from '../context/context.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code } from '../errors/errors.ts';
import { backoffMs } from '../internal/backoff.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { LateReplies, type OpenReplies } from './internal/late-replies.ts';
import {
  attemptsWithin,
  invalidOption,
  isCall,
  RepeatedCall,
  type Repeating,
  serverStreams,
} from './internal/repeating.ts';
import { RetryBudget, unlimitedRetries } from './retry-budget.ts';

/** How calls are repeated. */
export interface RetryOptions {
  /** Attempts of one call, the first among them: 1 to 5, more count as 5 (gRPC: A6). @default 3 */
  readonly maxAttempts?: number | undefined;
  /** Failures that are worth another attempt. @default UNAVAILABLE */
  readonly codes?: readonly Code[] | undefined;
  /** Wait before the second attempt, in milliseconds; a fifth more or less by chance. @default 100 */
  readonly initialBackoffMs?: number | undefined;
  /** No wait is longer. @default 5_000 */
  readonly maxBackoffMs?: number | undefined;
  /** Each wait is the one before times this. @default 2 */
  readonly backoffMultiplier?: number | undefined;
  /** What keeps repetitions from becoming a storm; give one budget to several interceptors to have them share it. `false` for none. @default one of its own */
  readonly budget?: RetryBudget | false | undefined;
  /** Time, timers and chance. @default the machine's own */
  readonly runtime?: Runtime | undefined;
}

interface Policy extends Repeating {
  readonly backoffMs: (failures: number) => number;
}

/**
 * Makes a call again that failed, on another node where there is one. For clients.
 *
 * Only what is safe: a method that is declared idempotent, or an attempt that certainly no handler saw. What may have been processed is never repeated otherwise, whatever
 * `codes` says. A stream of replies is repeated until its first reply was handed out, a stream of requests only while nothing was read of it, events not at
 * all (`@Subscribe` has its own retries).
 *
 * It waits between attempts, longer each time, and as long as the server says by a `google.rpc.RetryInfo` or `grpc-retry-pushback-ms`; never beyond the deadline, which bounds all
 * attempts together. Headers, trailers and peer of the call are those of its last attempt. Every attempt but the first says how many there were, in
 * `grpc-previous-rpc-attempts`. After the last attempt the call fails with its error.
 *
 * @example
 * ```ts
 * const options: ClientOptions = { interceptors: [retry({ maxAttempts: 4, codes: [Code.Unavailable, Code.Aborted] })] };
 * ```
 */
export function retry(options: RetryOptions = {}): Interceptor {
  const policy = policyOf(options);
  return (next, method) => {
    if (!isCall(method) || policy.maxAttempts === 1) return next;
    if (serverStreams(method.kind)) {
      return (input, ctx) => {
        let call: RepeatedCall | undefined;
        return new LateReplies({
          open: () => {
            const opened = (call = new RepeatedCall(policy, next, method, input, ctx));
            return repeat<OpenReplies>(policy, opened, (attempt) => opened.open(attempt));
          },
          leave: () => ctx.abort(),
          onEnd: () => call?.attempts.settle(),
        });
      };
    }
    return async (input, ctx) => {
      const call = new RepeatedCall(policy, next, method, input, ctx);
      try {
        return await repeat(policy, call, (attempt) => call.call(attempt));
      } finally {
        call.attempts.settle();
      }
    };
  };
}

async function repeat<T>(policy: Policy, call: RepeatedCall, make: (attempt: Context) => Promise<T>): Promise<T> {
  let waits = 0;
  for (let made = 1; ; made += 1) {
    const attempt = call.attempts.begin();
    try {
      const result = await make(attempt);
      call.succeeded(attempt);
      return result;
    } catch (error) {
      const verdict = call.judge(attempt, error);
      if (!verdict.may || made >= policy.maxAttempts) throw chosen(call, attempt, error);
      waits = verdict.exactly ? 0 : waits + 1;
      const delayMs = verdict.exactly ? (verdict.waitMs ?? 0) : Math.max(policy.backoffMs(waits), verdict.waitMs ?? 0);
      if (call.isTooLate(delayMs)) throw chosen(call, attempt, error);
      try {
        await policy.runtime.timers.sleep(delayMs, call.ctx.signal);
      } catch (aborted) {
        throw chosen(call, attempt, aborted);
      }
    }
  }
}

/** The call ends with this attempt: what its server sent is what the caller sees. */
function chosen(call: RepeatedCall, attempt: Context, error: unknown): unknown {
  call.attempts.choose(attempt);
  return error;
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
    backoffMs: (failures) =>
      backoffMs(failures, () => runtime.random.next(), {
        initialMs: initialBackoffMs,
        maxMs: maxBackoffMs,
        factor: backoffMultiplier,
      }),
  };
}
