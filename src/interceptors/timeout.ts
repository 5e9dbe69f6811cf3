import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { unthrown } from '../errors/unthrown.ts';
import { withHooks } from '../pipeline/hooks.ts';
import { type Interceptor, type CallHandler, type MethodDescriptor, serverStreams } from '../pipeline/pipeline.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Runtime, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { invalidOption } from './internal/repeating.ts';

/** How long calls may take. */
export interface TimeoutOptions {
  /** From here on, in milliseconds. */
  readonly timeoutMs: number;
  /** Time and timers. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}

/**
 * Brings the deadline of calls forward; one that is nearer already stays. On either side.
 *
 * On the client the whole call is bounded, streams as well, and the server learns of it; inside `retry`, every attempt.
 * Where calls are served and events are handled, the handler's context is aborted when the time is up: calls that it
 * makes with its `ctx` end, and the caller gets DEADLINE_EXCEEDED (`call.deadline_exceeded`) whether the handler heeds
 * it or not. An event goes back to its broker as one that failed.
 *
 * @example
 * ```ts
 * const options: ServerOptions = { interceptors: [timeout({ timeoutMs: 2_000 })] };
 * ```
 */
export function timeout(options: TimeoutOptions): Interceptor {
  const { timeoutMs, runtime = systemRuntime } = checkedOptions('timeout', options);
  if (!(timeoutMs > 0)) throw invalidOption('timeout', `timeoutMs is ${timeoutMs}: give a number above 0`);
  const bounding = withHooks((ctx, method) => {
    const timer = runtime.timers.after(timeoutMs, () => ctx.abort(tooLong(method, timeoutMs)));
    return { onEnd: () => timer.cancel() };
  });
  return (next, method) => {
    // Whoever sends replies hears of the abort by itself; a single one is waited for.
    const bounded = bounding(serverStreams(method.kind) ? next : abortable(next, runtime.timers), method);
    return (input, ctx) => {
      const deadline = runtime.clock.monotonicMs() + timeoutMs;
      if (ctx.deadline !== undefined && ctx.deadline <= deadline) return next(input, ctx);
      ctx.shorten(deadline);
      // Outgoing calls are ended by their transport.
      return ctx.outgoing ? next(input, ctx) : bounded(input, ctx);
    };
  };
}

function abortable(next: CallHandler, timers: Timers): CallHandler {
  return (input, ctx) => bounded((async () => next(input, ctx))(), { timers, signal: ctx });
}

function tooLong(method: MethodDescriptor, timeoutMs: number): TenonError {
  return unthrown({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `${method.path} took longer than the ${timeoutMs} ms it is given`,
  });
}
