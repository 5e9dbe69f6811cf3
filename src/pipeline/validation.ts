import type { StandardSchemaV1 } from '@standard-schema/spec';

import { badRequest, type FieldViolation } from '../errors/details.ts';
import { Code, TenonError } from '../errors/errors.ts';
import { isPromise } from '../internal/is-promise.ts';

/**
 * A validator in the form of Standard Schema (https://standardschema.dev): `zod`, `valibot` and `arktype` make them,
 * among others.
 */
export type Validate<T = unknown> = StandardSchemaV1<unknown, T>['~standard']['validate'];

/** So much fits into the 8 KiB of headers that other implementations of gRPC take, base64 and all. */
const most = { violations: 16, bytes: 2500, inMessage: 3, letters: 160, lettersOfMessage: 320 };

/**
 * The value as the validator gives it back; a promise only where the validator gives one. Throws INVALID_ARGUMENT
 * (`call.invalid_input`) for what it refuses, see {@link invalidInput}. `where` names the method.
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

/** What a validator complains about, as the details of a `google.rpc.BadRequest` have it. */
export function violationsOf(issues: readonly StandardSchemaV1.Issue[]): FieldViolation[] {
  return issues.map(({ path = [], message }) => ({ field: fieldPath(path), description: message }));
}

/** `items[0].count`, as protovalidate writes it; a key that is no identifier is `["a key"]`. */
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
 * INVALID_ARGUMENT (`call.invalid_input`) with the violations as `google.rpc.BadRequest`: the first of them where there
 * are more than a peer's headers hold, as a message with a thousand bad elements has.
 */
export function invalidInput(where: string, violations: readonly FieldViolation[]): TenonError {
  const told = fitting(violations);
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'call.invalid_input',
    message: `the input of ${where} is not valid: ${listed(told, violations.length)}`,
    details: [badRequest({ fieldViolations: told })],
  });
}

/** The violations in words: the first few, and how many more there are. */
export function listed(violations: readonly FieldViolation[], count = violations.length): string {
  const shown = violations
    .slice(0, most.inMessage)
    .map(({ field, description }) => (field === '' ? description : `${field}: ${description}`));
  const more = count - shown.length;
  return `${shortened(shown.join('; '), most.lettersOfMessage)}${more > 0 ? `; and ${more} more` : ''}`;
}

function fitting(violations: readonly FieldViolation[]): FieldViolation[] {
  const told: FieldViolation[] = [];
  let bytes = 0;
  for (const violation of violations.slice(0, most.violations)) {
    const field = shortened(violation.field, most.letters);
    const description = shortened(violation.description, most.letters);
    bytes += Buffer.byteLength(field) + Buffer.byteLength(description);
    if (bytes > most.bytes) break;
    told.push({ ...violation, field, description });
  }
  return told;
}

function shortened(text: string, letters: number): string {
  // Half a pair of surrogates would be no text.
  return text.length > letters ? `${text.slice(0, letters - 1).replace(/[\uD800-\uDBFF]$/, '')}…` : text;
}
