import { Code, type TenonError } from './errors.ts';

/**
 * True if the same call may succeed later without a change on this side: UNAVAILABLE and DEADLINE_EXCEEDED.
 */
export function isTransient({ code }: TenonError): boolean {
  return code === Code.Unavailable || code === Code.DeadlineExceeded;
}
