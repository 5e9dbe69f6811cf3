import type { StandardSchemaV1 } from '@standard-schema/spec';

import { badRequest, type FieldViolation } from '../errors/details.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isPromise } from '../internal/is-promise.ts';

/**
 * A validator in the form of Standard Schema (https://standardschema.dev): `zod`, `valibot` and `arktype` make them,
 * among others.
 */
export type Validate<T = unknown> = StandardSchemaV1<unknown, T>['~standard']['validate'];

/** The bounds of an error's violations: with base64 they fit the 8 KiB of headers that other gRPC clients take. */
const limits = { violations: 16, bytes: 2500, inMessage: 3, letters: 160, lettersOfMessage: 320 };

/**
 * Runs a validator and gives the value that it returns; a promise only where the validator gives one. Throws
 * INVALID_ARGUMENT (`call.invalid_input`, see {@link invalidInput}) for a value that it refuses. `where` names the
 * method.
 */
export function validated(validate: Validate, where: string, value: unknown): unknown {
  const result = validate(value);
  return isPromise(result) ? settled(result, where) : valueOf(result, where);
}

async function settled(result: PromiseLike<unknown>, where: string): Promise<unknown> {
  return valueOf((await result) as StandardSchemaV1.Result<unknown>, where);
}

function valueOf(result: StandardSchemaV1.Result<unknown>, where: string): unknown {
  if (!result.issues) return result.value;
  throw invalidInput(where, violationsOf(result.issues));
}

/** Converts the issues of a validator to the violations of a `google.rpc.BadRequest`. */
export function violationsOf(issues: readonly StandardSchemaV1.Issue[]): FieldViolation[] {
  return issues.map(({ path = [], message }) => ({ field: fieldPath(path), description: message }));
}

/** Formats a path as protovalidate does: `items[0].count`; a key that is no identifier is `["a key"]`. */
export function fieldPath(path: readonly (PropertyKey | StandardSchemaV1.PathSegment)[]): string {
  let text = '';
  for (const part of path) {
    const key = typeof part === 'object' ? part.key : part;
    if (typeof key === 'number') text += `[${key}]`;
    else if (/^[A-Za-z_$][\w$]*$/.test(String(key))) text += text === '' ? String(key) : `.${String(key)}`;
    else text += `[${JSON.stringify(String(key))}]`;
  }
  return text;
}

/**
 * Makes the error for an invalid request: INVALID_ARGUMENT (`call.invalid_input`) with the violations as
 * `google.rpc.BadRequest`. It has only the first ones where all of them would not fit a peer's headers.
 */
export function invalidInput(where: string, violations: readonly FieldViolation[]): TenonError {
  const kept = firstThatFit(violations);
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'call.invalid_input',
    message: `the input of ${where} is not valid: ${formatViolations(kept, violations.length)}`,
    details: [badRequest({ fieldViolations: kept })],
  });
}

/** Lists violations for people: the first few, and the number of the others. */
export function formatViolations(violations: readonly FieldViolation[], count = violations.length): string {
  const shown = violations
    .slice(0, limits.inMessage)
    .map(({ field, description }) => (field === '' ? description : `${field}: ${description}`));
  const more = count - shown.length;
  return `${shortened(shown.join('; '), limits.lettersOfMessage)}${more > 0 ? `; and ${more} more` : ''}`;
}

function firstThatFit(violations: readonly FieldViolation[]): FieldViolation[] {
  const kept: FieldViolation[] = [];
  let bytes = 0;
  for (const violation of violations.slice(0, limits.violations)) {
    const field = shortened(violation.field, limits.letters);
    const description = shortened(violation.description, limits.letters);
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description);
    if (bytes > limits.bytes) break;
    kept.push({ ...violation, field, description });
  }
  return kept;
}

function shortened(text: string, letters: number): string {
  // A cut in the middle of a surrogate pair would leave invalid text.
  return text.length > letters ? `${text.slice(0, letters - 1).replace(/[\uD800-\uDBFF]$/, '')}…` : text;
}
