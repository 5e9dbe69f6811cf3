import type { Context } from '../context/context.ts';
import { Code, codeName, TenonError } from '../errors/errors.ts';
import type { LogLevel } from '../logger/logger.ts';
import { type CallOutcome, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';

/** Options of {@link logging}. */
export interface LoggingOptions {
  /**
   * Gives the level of a call's line by its code; `silent` writes nothing.
   * @default `info` for OK and for mistakes of callers, `warn` for DEADLINE_EXCEEDED, UNAVAILABLE and
   * RESOURCE_EXHAUSTED,
   *   `error` for UNKNOWN, INTERNAL and DATA_LOSS
   */
  readonly level?: ((code: Code, method: MethodDescriptor) => LogLevel) | undefined;
  /** The clock. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}

/**
 * Makes an interceptor, for either side, that logs one line for each call and event when it has ended, by `ctx.logger`:
 * `method`, `code`, `durationMs` and `peer`, and for a failure its `reason` and `message`. A stream ends with its last
 * reply, with an error, or when its reader leaves it (CANCELLED).
 *
 * @example
 * ```ts
 * const options: ServerOptions = { interceptors: [logging()] };
 * ```
 */
export function logging(options: LoggingOptions = {}): Interceptor {
  const { level = usualLevel, runtime = systemRuntime } = options;
  const { clock } = runtime;
  return withHooks((ctx, method) => {
    const what = method.kind === 'event' ? 'event' : 'call';
    const startMs = clock.monotonicMs();
    return {
      onEnd: (ending) => {
        const error = ending.outcome === 'failed' ? TenonError.from(ending.error) : undefined;
        const code = error?.code ?? codeOf(ending);
        const at = level(code, method);
        if (at === 'silent') return;
        write(ctx, at, what, {
          method: method.path,
          code: codeName(code),
          durationMs: Math.round((clock.monotonicMs() - startMs) * 1000) / 1000,
          peer: ctx.peer,
          ...(error ? { reason: error.reason, message: error.message } : {}),
        });
      },
    };
  });
}

function write(ctx: Context, level: Exclude<LogLevel, 'silent'>, what: string, fields: Record<string, unknown>): void {
  ctx.logger[level](what, fields);
}

function codeOf(ending: CallOutcome): Code {
  return ending.outcome === 'cancelled' ? Code.Cancelled : Code.Ok;
}

const levels: Readonly<Partial<Record<Code, LogLevel>>> = {
  [Code.DeadlineExceeded]: 'warn',
  [Code.Unavailable]: 'warn',
  [Code.ResourceExhausted]: 'warn',
  [Code.Unknown]: 'error',
  [Code.Internal]: 'error',
  [Code.DataLoss]: 'error',
};

function usualLevel(code: Code): LogLevel {
  return levels[code] ?? 'info';
}
