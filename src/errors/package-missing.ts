import { Code, TenonError, textOf } from './errors.ts';

/** FAILED_PRECONDITION (`app.package_missing`): `what` needs an optional npm package that cannot be loaded. */
export function packageMissing(what: string, name: string, cause: unknown): TenonError {
  return new TenonError({
    code: Code.FailedPrecondition,
    reason: 'app.package_missing',
    message: `${what} needs the package ${name}, which cannot be loaded: npm install ${name} (${textOf(cause)})`,
    cause,
  });
}
