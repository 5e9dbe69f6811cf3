/**
 * True for an error, also for one of another realm: within a test of jest, `instanceof Error` is false for the errors
 * of Node itself. Never throws.
 */
export function isError(value: unknown): value is Error {
  try {
    return value instanceof Error || /^\[object (?:Error|DOMException)\]$/.test(Object.prototype.toString.call(value));
  } catch {
    return false;
  }
}
