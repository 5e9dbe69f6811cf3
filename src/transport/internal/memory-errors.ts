import { Code, TenonError } from '../../errors/errors.ts';

/** The deadline of a call passed. */
export function deadlineExceeded(): TenonError {
  return new TenonError({ code: Code.DeadlineExceeded, reason: 'call.deadline_exceeded', message: 'the deadline of the call has passed' });
}

/** One side ended the call. */
export function aborted(code: Code, message: string | undefined): TenonError {
  const reason = code === Code.Cancelled ? 'call.cancelled' : 'call.aborted';
  return new TenonError({ code, reason, message: message ?? 'the call was aborted' });
}

/** A message is larger than a side allows; `undefined` if not. */
export function tooLarge(bytes: number, limit: number, what: string): TenonError | undefined {
  if (bytes <= limit) return undefined;
  return new TenonError({
    code: Code.ResourceExhausted,
    reason: 'transport.message_too_large',
    message: `${what} has ${bytes} bytes, and the limit is ${limit}: send less, or raise the limit`,
  });
}
