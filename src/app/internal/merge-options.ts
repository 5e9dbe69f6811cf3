import { Code, TenonError } from '../../errors/errors.ts';
import type { Interceptor } from '../../pipeline/pipeline.ts';
import { interceptorOf } from '../../pipeline/enhancer-interceptors.ts';
import type { CallInterceptor } from '../../pipeline/enhancers.ts';

// Interceptors and hooks of all layers are used; every other option has the value of the strongest layer.
const accumulated: ReadonlySet<string> = new Set([
  'interceptors',
  'beforeStart',
  'afterStart',
  'beforeStop',
  'afterStop',
]);

/** True if the values of all layers are used together for the option. */
export function isAccumulated(field: string): boolean {
  return accumulated.has(field);
}

/**
 * Merges options, the weakest first: for each field the strongest value that is not undefined; interceptors and hooks
 * of all, in that order.
 */
export function mergeOptions<T extends object>(...parts: readonly (T | undefined)[]): T {
  const merged: Record<string, unknown> = {};
  for (const part of parts) {
    for (const [name, value] of Object.entries<unknown>(part ?? {})) {
      if (value === undefined) continue;
      const before = merged[name];
      merged[name] =
        isAccumulated(name) && Array.isArray(before) ? [...(before as unknown[]), ...(value as unknown[])] : value;
    }
  }
  return merged as T;
}

/**
 * Turns a bound interceptor, which is a function or an object with `intercept`, into the function that pipelines take.
 */
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
