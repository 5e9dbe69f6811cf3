/**
 * True for a promise, also for one of another realm or library, which is no instance of this realm's `Promise`.
 */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | undefined | null)?.then === 'function';
}
