import type { TenonError } from './errors.ts';

const received = Symbol.for('tenon.errors.received');

/** Marks the answer of a peer: it was meant for who called. */
export function markReceived(error: TenonError): TenonError {
  Object.defineProperty(error, received, { value: true, configurable: true });
  return error;
}

/** Whether a peer gave the error as its answer to a call of this process. */
export function wasReceived(error: TenonError): boolean {
  return (error as unknown as Record<symbol, unknown>)[received] === true;
}
