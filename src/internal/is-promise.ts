/**
 * Whether something has to be waited for: promises of other realms and libraries as well, which are no `Promise` of
 * ours.
 */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as Partial<PromiseLike<unknown>> | undefined | null)?.then === 'function';
}
