import { Code, TenonError } from '../../errors/errors.ts';

/** The error for an option without a meaning. It is thrown when the interceptor is made, not with the first call. */
export function invalidOption(what: string, problem: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'interceptors.invalid_option',
    message: `${what}: ${problem}`,
  });
}
