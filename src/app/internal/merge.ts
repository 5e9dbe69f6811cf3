import { Code, TenonError } from '../../errors/errors.ts';
import type { Interceptor } from '../../pipeline/pipeline.ts';
import { interceptorOf } from '../../pipeline/enhancer-interceptors.ts';
import type { CallInterceptor } from '../../pipeline/enhancers.ts';

// What is done around calls, starts and stops is added; what is set is replaced.
const adding: ReadonlySet<string> = new Set(['interceptors', 'beforeStart', 'afterStart', 'beforeStop', 'afterStop']);

/** Whether what several say of the option is all used. */
export function isAdding(field: string): boolean {
  return adding.has(field);
}

/**
 * Options that several say, the weakest first: field by field the strongest that says something; interceptors and hooks
 * of all, in that order.
 */
export function mergeOptions<T extends object>(...parts: readonly (T | undefined)[]): T {
  const merged: Record<string, unknown> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries<unknown>(part ?? {})) {
      if (value === undefined) continue;
      const before = merged[name];
      merged[name] =
        isAdding(name) && Array.isArray(before) ? [...(before as unknown[]), ...(value as unknown[])] : value;
    }
  }
  return merged as T;
}

/** What is bound as an interceptor, as pipelines take it: a function, or an object with `intercept`. */
export function asInterceptor(bound: unknown, key: string): Interceptor {
  if (typeof (bound as CallInterceptor | undefined)?.intercept === 'function')
    return interceptorOf(bound as CallInterceptor);
  if (typeof bound === 'function') return bound as Interceptor;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'app.invalid_interceptor',
    message: `what is bound to ${key} is neither an interceptor nor has it a method intercept`,
  });
}
