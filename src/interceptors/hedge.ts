import type { Context } from '../context/context.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code } from '../errors/errors.ts';
import { clientStreams, type Interceptor, serverStreams } from '../pipeline/pipeline.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { AttemptReplies, type OpenReplies } from './internal/attempt-replies.ts';
import { invalidOption } from './internal/invalid-option.ts';
import { attemptsWithin, isCall, RetriableCall, type AttemptPolicy } from './internal/retriable-call.ts';
import { RetryBudget, unlimitedRetries } from './retry-budget.ts';

/** Options of {@link hedge}. */
export interface HedgeOptions {
  /** Attempts of one call, the first among them: 1 to 5, more count as 5 (gRPC: A6). @default 2 */
  readonly maxAttempts?: number | undefined;
  /** Time without an answer after which the next attempt is sent, in milliseconds; 0 sends all at once. @default 50 */
  readonly delayMs?: number | undefined;
  /**
   * Codes of failures that do not end the call: the next attempt is sent at once, and the others go on. A failure with
   * any other code ends the call.
   * @default UNAVAILABLE
   */
  readonly nonFatalCodes?: readonly Code[] | undefined;
  /**
   * The budget that failed attempts use up: no further attempt is sent while it is empty. `false` for none.
   * @default one of its own
   */
  readonly budget?: RetryBudget | false | undefined;
  /** Time, timers and chance. @default the machine's own */
  readonly runtime?: Runtime | undefined;
}

interface Policy extends AttemptPolicy {
  readonly delayMs: number;
}

/**
 * Makes an interceptor for clients that hedges calls: it sends a call again when no answer comes within `delayMs`, to
 * another node where there is one, takes the first answer, and cancels the other attempts.
 *
 * Only methods that are declared idempotent have several attempts under way. Calls of other methods are sent again only
 * after an attempt that certainly no handler saw. A stream of replies is decided by its first reply. Streams of
 * requests are sent once, and events pass unchanged. A server's `google.rpc.RetryInfo` or `grpc-retry-pushback-ms`
 * delays the next attempt. If all attempts fail, the call fails with the error of the last one.
 *
 * @example
 * ```ts
 * const options: ClientOptions = { interceptors: [hedge({ delayMs: 20 })] };
 * ```
 */
export function hedge(options: HedgeOptions = {}): Interceptor {
  const policy = policyOf(options);
  return (next, method) => {
    if (!isCall(method) || clientStreams(method.kind) || policy.maxAttempts === 1) return next;
    const isHedged = method.idempotent;
    if (serverStreams(method.kind)) {
      return (input, ctx) => {
        let call: RetriableCall | undefined;
        return new AttemptReplies({
          open: () => {
            const opened = (call = new RetriableCall(policy, next, method, input, ctx));
            return new HedgedAttempts<OpenReplies>(
              policy,
              opened,
              isHedged,
              (attempt) => opened.open(attempt),
              ({ replies }) => void Promise.resolve(replies.return?.()).catch(() => {}),
            ).run();
          },
          leave: () => ctx.abort(),
          onEnd: () => call?.attempts.settle(),
        });
      };
    }
    return async (input, ctx) => {
      const call = new RetriableCall(policy, next, method, input, ctx);
      try {
        return await new HedgedAttempts(policy, call, isHedged, (attempt) => call.call(attempt)).run();
      } finally {
        call.attempts.settle();
      }
    };
  };
}

/** The attempts of one call, of which the first to answer is committed. */
class HedgedAttempts<T> {
  readonly #policy: Policy;
  readonly #call: RetriableCall;
  readonly #isHedged: boolean;
  readonly #make: (attempt: Context) => Promise<T>;
  readonly #discard: ((result: T) => void) | undefined;
  #begun = 0;
  #running = 0;
  #isOver = false;
  #isStopped = false;
  #last: { readonly attempt: Context; readonly error: unknown } | undefined;
  #timer: Timer | undefined;
  #resolve: (result: T) => void = () => {};
  #reject: (error: unknown) => void = () => {};
  #forget: () => void = () => {};

  constructor(
    policy: Policy,
    call: RetriableCall,
    isHedged: boolean,
    make: (attempt: Context) => Promise<T>,
    discard?: (result: T) => void,
  ) {
    this.#policy = policy;
    this.#call = call;
    this.#isHedged = isHedged;
    this.#make = make;
    this.#discard = discard;
  }

  run(): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      this.#forget = this.#call.ctx.onAbort((reason) => this.#fail(reason));
      if (!this.#isOver) this.#begin();
    });
  }

  #begin(): void {
    this.#begun += 1;
    this.#running += 1;
    const attempt = this.#call.attempts.begin();
    // An interceptor that throws at once fails its attempt like one that rejects.
    const making = (async () => this.#make(attempt))();
    making.then(
      (result) => this.#answered(attempt, result),
      (error: unknown) => this.#failed(attempt, error),
    );
    if (this.#isHedged) this.#schedule(this.#policy.delayMs);
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#isStopped || this.#begun >= this.#policy.maxAttempts || this.#call.isTooLate(delayMs)) return;
    this.#timer = this.#policy.runtime.timers.after(delayMs, () => {
      this.#timer = undefined;
      if (this.#call.mayBegin()) this.#begin();
      else {
        this.#isStopped = true;
        if (this.#running === 0) this.#giveUp();
      }
    });
  }

  #answered(attempt: Context, result: T): void {
    this.#running -= 1;
    if (this.#isOver) {
      this.#discard?.(result);
      return;
    }
    this.#end();
    this.#call.succeeded(attempt);
    this.#resolve(result);
  }

  #failed(attempt: Context, error: unknown): void {
    this.#running -= 1;
    if (this.#isOver) return;
    this.#last = { attempt, error };
    const decision = this.#call.decide(attempt, error);
    if (decision.isFatal) {
      this.#giveUp();
      return;
    }
    this.#timer?.cancel();
    this.#timer = undefined;
    // Server and budget forbid further attempts only: those under way may still succeed.
    if (!decision.mayRetry) this.#isStopped = true;
    if (!this.#isStopped && this.#begun < this.#policy.maxAttempts) {
      if (decision.waitMs) this.#schedule(decision.waitMs);
      else this.#begin();
    }
    if (this.#running === 0 && !this.#timer) this.#giveUp();
  }

  #giveUp(): void {
    if (!this.#last || this.#isOver) return;
    this.#call.attempts.commit(this.#last.attempt);
    this.#fail(this.#last.error);
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#timer?.cancel();
    this.#forget();
  }
}

function policyOf(options: HedgeOptions): Policy {
  const { runtime = systemRuntime, delayMs = 50, budget } = checkedOptions('hedge', options);
  if (!(delayMs >= 0)) throw invalidOption('hedge', `delayMs is ${delayMs}: give a number of at least 0`);
  return {
    maxAttempts: attemptsWithin(options.maxAttempts ?? 2, 'hedge'),
    codes: new Set(options.nonFatalCodes ?? [Code.Unavailable]),
    budget: budget === false ? unlimitedRetries : (budget ?? new RetryBudget()),
    runtime,
    delayMs,
  };
}
