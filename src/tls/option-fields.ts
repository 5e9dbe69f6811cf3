import { Code, TenonError } from '../errors/errors.ts';
import { didYouMean } from '../internal/suggest.ts';
import type { ClientTlsOptions, ConnectionTlsOptions, ServerTlsOptions, TlsOptions } from './tls.ts';

/**
 * The values of a field: a text, PEM as text or bytes, `true` or `false`, or one of a list; numbers and options are
 * checked elsewhere.
 */
type Rule = 'text' | 'pem' | 'boolean' | 'number' | 'options' | readonly string[];

/** Fields of options, each with the values that it takes. */
export type FieldRules = Readonly<Record<string, Rule>>;

const tlsFields = {
  certFile: 'text',
  keyFile: 'text',
  caFile: 'text',
  cert: 'pem',
  key: 'pem',
  ca: 'pem',
  minVersion: ['TLSv1.2', 'TLSv1.3'],
  reloadMs: 'number',
  handshakeTimeoutMs: 'number',
} satisfies Record<keyof TlsOptions, Rule>;

/** Fields of `ServerTlsOptions`. */
export const serverTlsFields = {
  ...tlsFields,
  clientAuth: ['none', 'request', 'require'],
} satisfies Record<keyof ServerTlsOptions, Rule>;

/** Fields of `ClientTlsOptions`. */
export const clientTlsFields = { ...tlsFields, serverName: 'text' } satisfies Record<keyof ClientTlsOptions, Rule>;

/** Fields of `ConnectionTlsOptions`. */
export const connectionTlsFields = {
  ...clientTlsFields,
  insecureSkipVerify: 'boolean',
} satisfies Record<keyof ConnectionTlsOptions, Rule>;

/** Those of options that have one of each side, which are checked where they are used. */
export const sidesFields = { client: 'options', server: 'options' } as const satisfies FieldRules;

/**
 * Checks options that protect connections, called `name` in messages. Throws INVALID_ARGUMENT (`tls.invalid_option`)
 * for what is no object, for a field that does not exist, and for a value that a field does not take: each would leave
 * a connection less protected than was meant. Absent options and fields that are undefined are right. No message shows
 * a value.
 */
export function checkFields(name: string, options: unknown, fields: FieldRules): void {
  if (options === undefined) return;
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw invalidOption(`${name} is ${kindOf(options)}: give an object, or leave it out. ${listOf(fields)}`);
  for (const [field, value] of Object.entries(options)) {
    const rule = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (rule === undefined) {
      const remedy = didYouMean(field, Object.keys(fields));
      throw invalidOption(`${name}.${field} does not exist. ${listOf(fields)}.${remedy}`);
    }
    if (value !== undefined && !isTaken(rule, value))
      throw invalidOption(`${name}.${field} is ${kindOf(value)}: give ${remedyFor(rule)}`);
  }
}

function isTaken(rule: Rule, value: unknown): boolean {
  if (rule === 'text') return typeof value === 'string';
  if (rule === 'pem') return typeof value === 'string' || ArrayBuffer.isView(value);
  if (rule === 'boolean') return typeof value === 'boolean';
  if (rule === 'number' || rule === 'options') return true;
  return rule.includes(value as string);
}

function remedyFor(rule: Rule): string {
  if (rule === 'text') return 'a text';
  if (rule === 'pem') return 'PEM, as a text or as bytes';
  if (rule === 'boolean') return 'true or false';
  return `one of ${[rule]
    .flat()
    .map((one) => JSON.stringify(one))
    .join(', ')}`;
}

/** Describes a value without showing it, as it may be a secret. */
function kindOf(value: unknown): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return 'a text';
  return Array.isArray(value) ? 'a list' : `a value of the type ${typeof value}`;
}

function listOf(fields: FieldRules): string {
  return `Its fields are ${Object.keys(fields).join(', ')}`;
}

function invalidOption(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'tls.invalid_option', message });
}
