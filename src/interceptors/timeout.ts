import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { unthrown } from '../errors/unthrown.ts';
import { withHooks } from '../pipeline/hooks.ts';
import { type Interceptor, type CallHandler, type MethodDescriptor, serverStreams } from '../pipeline/pipeline.ts';
import { bounded } from '../runtime/bounded.ts';
import type { Runtime, Timers } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { invalidOption } from './internal/invalid-option.ts';

/** Options of {@link timeout}. */
export interface TimeoutOptions {
  /** The time of a call from this interceptor on, in milliseconds. */
  readonly timeoutMs: number;
  /** Time and timers. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}

/**
 * Makes an interceptor, for either side, that brings the deadline of calls forward; an earlier deadline stays.
 *
 * On the client it bounds the whole call, streams too, and the server is sent the deadline; inside `retry` it bounds
 * each attempt. On the server it aborts the handler's context when the time is up: calls that the handler makes with
 * its `ctx` end, and the caller gets DEADLINE_EXCEEDED (`call.deadline_exceeded`) whether the handler stops or not. An
 * event goes back to its broker as a failed one.
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
    // A stream of replies ends with the abort by itself; a single reply has to be raced against it.
    const bounded = bounding(serverStreams(method.kind) ? next : abortable(next, runtime.timers), method);
    return (input, ctx) => {
      const deadline = runtime.clock.monotonicMs() + timeoutMs;
      if (ctx.deadline !== undefined && ctx.deadline <= deadline) return next(input, ctx);
      ctx.shorten(deadline);
      // The transport ends outgoing calls at their deadline.
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
    message: `${method.path} took longer than its time-out of ${timeoutMs} ms`,
  });
}
