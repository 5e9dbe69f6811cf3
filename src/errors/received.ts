import type { TenonError } from './errors.ts';

const received = Symbol.for('tenon.errors.received');

/** Marks an error as the answer of a peer to a call of this process. */
export function markReceived(error: TenonError): TenonError {
  Object.defineProperty(error, received, { value: true, configurable: true });
  return error;
}

/** True if an error is the answer of a peer to a call of this process. */
export function wasReceived(error: TenonError): boolean {
  return (error as unknown as Record<symbol, unknown>)[received] === true;
}
