import type { Context } from '../context/context.ts';
import { checkedOptions } from '../errors/checked-options.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { counted } from '../internal/counted.ts';
import { unthrown } from '../errors/unthrown.ts';
import { type CallHooks, withHooks } from '../pipeline/hooks.ts';
import type { Interceptor } from '../pipeline/pipeline.ts';
import type { Runtime, Timer } from '../runtime/runtime.ts';
import { systemRuntime } from '../runtime/system.ts';
import { invalidOption } from './internal/invalid-option.ts';

/** Options of {@link bulkhead}. */
export interface BulkheadOptions {
  /** The most calls under way at once. */
  readonly maxConcurrent: number;
  /** The most calls that wait for others to end. @default 0 */
  readonly maxQueue?: number | undefined;
  /** Gives the group in which a call is counted. @default all calls of the interceptor are one group */
  readonly key?: ((ctx: Context) => string) | undefined;
  /** Time and timers. @default the machine's own */
  readonly runtime?: Pick<Runtime, 'clock' | 'timers'> | undefined;
}

/**
 * Makes an interceptor, for either side, that bounds the calls under way, so that one slow dependency or one popular
 * method cannot use up everything. All methods that share one instance are counted together, unless `key` groups them.
 *
 * Calls above the bound wait in a queue. When the queue is full they fail with RESOURCE_EXHAUSTED
 * (`interceptors.bulkhead_full`), and are not made. A call whose deadline passes while it waits fails with
 * DEADLINE_EXCEEDED, and a call that is cancelled leaves the queue. A stream counts from the request for its first
 * reply until it ends, an event until it is handled.
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
  const compartments = new Map<string, Compartment>();
  const enter = (ctx: Context): CallHooks | Promise<CallHooks> => {
    const name = key ? key(ctx) : '';
    let compartment = compartments.get(name);
    if (!compartment) compartments.set(name, (compartment = { running: 0, queue: [] }));
    const hooks = hooksOf(compartments, name, compartment);
    if (compartment.running < maxConcurrent) {
      compartment.running += 1;
      return hooks;
    }
    if (compartment.queue.length >= maxQueue) throw full(ctx, maxConcurrent, maxQueue);
    return queued(compartment, ctx, runtime).then(() => hooks);
  };
  return withHooks(enter);
}

/** A group of calls that are counted together. */
interface Compartment {
  running: number;
  readonly queue: (() => void)[];
}

/** Gives the place of a call that ends to the next in the queue, and forgets a compartment without calls. */
function hooksOf(compartments: Map<string, Compartment>, name: string, compartment: Compartment): CallHooks {
  return {
    onEnd: () => {
      const next = compartment.queue.shift();
      if (next) {
        next();
        return;
      }
      compartment.running -= 1;
      if (compartment.running === 0) compartments.delete(name);
    },
  };
}

function queued(compartment: Compartment, ctx: Context, runtime: Pick<Runtime, 'clock' | 'timers'>): Promise<void> {
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
      const place = compartment.queue.indexOf(enter);
      if (place < 0) return;
      compartment.queue.splice(place, 1);
      done();
      reject(error);
    };
    compartment.queue.push(enter);
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
    reason: 'interceptors.bulkhead_full',
    message: `${ctx.service}/${ctx.endpoint} was not called: ${counted(maxConcurrent, 'call is', 'calls are')} under way${waiting}. Call again later, or raise maxConcurrent or maxQueue`,
  });
}

function tooLong(ctx: Context): TenonError {
  return unthrown({
    code: Code.DeadlineExceeded,
    reason: 'call.deadline_exceeded',
    message: `the deadline of ${ctx.service}/${ctx.endpoint} passed while it waited for other calls to end`,
  });
}
