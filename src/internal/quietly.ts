import { isPromise } from './is-promise.ts';

/** Returns its argument. If that is a promise, which it should not be, its rejection is caught. */
export function noPromise<T>(value: T): T {
  if (isPromise(value)) Promise.resolve(value).catch(() => {});
  return value;
}

/**
 * Calls a listener whose result is not used. An error that it throws, or that its promise rejects with, goes to
 * `onError`.
 */
export function quietly<T>(listener: (value: T) => unknown, value: T, onError: (error: unknown) => void): void {
  try {
    const result = listener(value);
    if (isPromise(result)) Promise.resolve(result).catch(onError);
  } catch (error) {
    onError(error);
  }
}
