import { isPromise } from './is-promise.ts';

/** What a function gave that should give no promise: if it did, its failure ends nothing. */
export function noPromise<T>(value: T): T {
  if (isPromise(value)) Promise.resolve(value).catch(() => {});
  return value;
}

/**
 * Calls what is only told something: what it throws, or what its promise rejects with, goes to `onError` and no
 * further.
 */
export function quietly<T>(listener: (value: T) => unknown, value: T, onError: (error: unknown) => void): void {
  try {
    const result = listener(value);
    if (isPromise(result)) Promise.resolve(result).catch(onError);
  } catch (error) {
    onError(error);
  }
}
