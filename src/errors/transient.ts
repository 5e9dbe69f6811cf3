import { Code, type TenonError } from './errors.ts';

/**
 * True if the same attempt may succeed later with nothing changed but the state of the other side: UNAVAILABLE and
 * DEADLINE_EXCEEDED.
 */
export function isTransient({ code }: TenonError): boolean {
  return code === Code.Unavailable || code === Code.DeadlineExceeded;
}
