import type { Context } from '../context/context.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { counted } from '../internal/counted.ts';
import { unthrown } from '../errors/unthrown.ts';
import { type CallHooks, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { invalidOption } from './internal/repeating.ts';

/** How many calls there may be at once. */
export interface BulkheadOptions {
  /** Calls under way at once. */
  readonly maxConcurrent: number;
  /** Calls that may wait for others to end. @default 0 */
  readonly maxQueue?: number | undefined;
  /** Calls that are counted together. @default all that the interceptor is put around */
  readonly key?: ((ctx: Context) => string) | undefined;
  /** Time and timers. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}

/**
 * Bounds the calls under way, so that one slow dependency or one popular method cannot take all there is. On either
 * side; all methods that one instance is put around are counted together, unless `key` parts them.
 *
 * Above the bound calls wait in line, as long as there is room in it; others fail with RESOURCE_EXHAUSTED
 * (`bulkhead.full`), and were not made. Who waits longer than its deadline fails with DEADLINE_EXCEEDED, who is
 * cancelled leaves the line. A stream counts from the request for its first reply until it is over, an event until it
 * is handled.
 *
 * @example
 * ```ts
 * const options: ClientOptions = { interceptors: [bulkhead({ maxConcurrent: 64, maxQueue: 16 })] };
 * ```
 */
export function bulkhead(options: BulkheadOptions): Interceptor {
  const { maxConcurrent, maxQueue = 0, key, runtime = systemRuntime } = checkedOptions('bulkhead', options);
  if (!(Number.isInteger(maxConcurrent) && maxConcurrent >= 1)) {
    throw invalidOption('bulkhead', `maxConcurrent is ${maxConcurrent}: give a whole number of at least 1`);
  }
  if (!(Number.isInteger(maxQueue) && maxQueue >= 0)) {
    throw invalidOption('bulkhead', `maxQueue is ${maxQueue}: give a whole number of at least 0`);
  }
  const cells = new Map<string, Cell>();
  const enter = (ctx: Context): CallHooks | Promise<CallHooks> => {
    const name = key ? key(ctx) : '';
    let cell = cells.get(name);
    if (!cell) cells.set(name, (cell = { running: 0, line: [] }));
    const hooks = leaving(cells, name, cell);
    if (cell.running < maxConcurrent) {
      cell.running += 1;
      return hooks;
    }
    if (cell.line.length >= maxQueue) throw full(ctx, maxConcurrent, maxQueue);
    return inLine(cell, ctx, runtime).then(() => hooks);
  };
  return withHooks(enter);
}

/** Calls that are counted together. */
interface Cell {
  running: number;
  readonly line: (() => void)[];
}

/** Whoever ends gives the place to the next in line; a cell without calls is forgotten. */
function leaving(cells: Map<string, Cell>, name: string, cell: Cell): CallHooks {
  return {
    onEnd: () => {
      const next = cell.line.shift();
      if (next) {
        next();
        return;
      }
      cell.running -= 1;
      if (cell.running === 0) cells.delete(name);
    },
  };
}

function inLine(cell: Cell, ctx: Context, runtime: Pick<Runtime, 'clock' | 'timers'>): Promise<void> {
  return new Promise((resolve, reject) => {
    let timer: Timer | undefined;
    let forget = (): void => {};
    const done = (): void => {
      timer?.cancel();
      forget();
    };
    const enter = (): void => {
      done();
      resolve();
    };
    const leave = (error: TenonError): void => {
      const place = cell.line.indexOf(enter);
      if (place < 0) return;
      cell.line.splice(place, 1);
      done();
      reject(error);
    };
    cell.line.push(enter);
    if (ctx.deadline !== undefined) {
      timer = runtime.timers.after(ctx.deadline - runtime.clock.monotonicMs(), () => leave(tooLong(ctx)));
    }
    forget = ctx.onAbort(leave);
  });
}

function full(ctx: Context, maxConcurrent: number, maxQueue: number): TenonError {
  const waiting = maxQueue === 0 ? '' : `, and ${maxQueue} wait`;
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'bulkhead.full',
    message: `${ctx.service}/${ctx.endpoint} was not called: ${counted(maxConcurrent, 'call is', 'calls are')} under way${waiting}. Call again later, or raise the bound`,
  });
}

function tooLong(ctx: Context): TenonError {
  return unthrown({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `the deadline of ${ctx.service}/${ctx.endpoint} passed while it waited for other calls to end`,
  });
}
