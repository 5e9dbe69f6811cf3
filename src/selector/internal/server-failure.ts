import { Code } from '../../errors/errors.ts';

/** Codes by which a server says that it failed, and not that the request was wrong: those that HTTP has 5xx for. */
const failures: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.ResourceExhausted,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/** True if an answer says that the server failed. */
export function isServerFailure(answer: Code | undefined): boolean {
  return answer !== undefined && failures.has(answer);
}
