import type { Context } from '../context/context.ts';
import { Code, codeName, TenonError } from '../errors/errors.ts';
import type { LogLevel } from '../logger/logger.ts';
import { type CallOutcome, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor, MethodDescriptor } from '../pipeline/pipeline.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';

/** What is written of calls. */
export interface LoggingOptions {
  /**
   * Level of a call by how it ended; `silent` writes nothing.
   * @default `info` for OK and for what callers do, `warn` for DEADLINE_EXCEEDED, UNAVAILABLE and RESOURCE_EXHAUSTED,
   *   `error` for UNKNOWN, INTERNAL and DATA_LOSS
   */
  readonly level?: ((code: Code, method: MethodDescriptor) => LogLevel) | undefined;
  /** The clock. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock'> | undefined;
}

/**
 * Writes one line for each call and event when it is over, by `ctx.logger`: `method`, `code`, `durationMs` and `peer`,
 * and of a failure its `reason` and its text. On either side. A stream is over with its last reply, its error, or when
 * its reader goes (CANCELLED).
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
