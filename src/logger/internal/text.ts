import { TenonError } from '../../errors/errors.ts';
import { ownValue } from '../../internal/own.ts';
import type { LogFields } from '../logger.ts';
import { headOfError, plainOf, type PlainLimits, shortened } from './plain.ts';

// C0, C1, line separators, and what turns the direction of writing.
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** What a terminal would act upon is shown instead, as JSON writes it. */
export function escaped(text: string): string {
  return text.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * A message for people: one line, and below it, indented, lists and the stack of an error that nobody made to be shown.
 */
export function textLine(start: string, message: string, fields: LogFields, limits: PlainLimits): string {
  const below: string[] = [];
  let line = `${start} ${escaped(shortened(message, limits))}`;
  let rest = '';
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || hidden.test(key)) continue;
    if (isError(value)) {
      line += `${key === 'error' ? ': ' : ` ${escaped(key)}: `}${escaped(shortened(chain(value), limits))}`;
      below.push(...stackOf(value));
    } else if (isList(value)) below.push(...value.map((one) => escaped(shortened(one, limits))));
    else rest += ` ${escaped(ownValue(shortNames, key) ?? key)}=${pairOf(value, limits)}`;
  }
  return [line + rest, ...below.map((one) => `    ${one}`)].join('\n');
}

/** Whose log it is and what it belongs to: for machines, and for who has the logs of many processes. */
const hidden = /^(?:service\.|trace_id$|span_id$)/;

/** Names that are long since machines read them. */
const shortNames: Readonly<Record<string, string>> = { 'messaging.destination.name': 'topic' };

// A longer chain of causes is hardly read; a cycle has no end.
const longestChain = 8;
const longestStack = 12;

function pairOf(value: unknown, limits: PlainLimits): string {
  const plain = plainOf(value, limits);
  if (typeof plain === 'string' && /^[^\s"]+$/.test(plain)) return escaped(plain);
  return escaped(JSON.stringify(plain) ?? 'undefined');
}

function isError(value: unknown): boolean {
  try {
    return TenonError.is(value) || value instanceof Error;
  } catch {
    return false;
  }
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string' && one.includes(' '));
}

function chain(error: unknown): string {
  return causesOf(error).map(headOfError).join('; caused by ');
}

/** The error and its causes, each once. */
function causesOf(error: unknown): unknown[] {
  const seen: unknown[] = [];
  for (let at = error; at !== undefined && !seen.includes(at) && seen.length < longestChain;) {
    seen.push(at);
    try {
      at = isError(at) ? (at as Error).cause : undefined;
    } catch {
      break;
    }
  }
  return seen;
}

/** Where the innermost of them came from that is no error of tenon. */
function stackOf(error: unknown): string[] {
  for (const one of causesOf(error).reverse()) {
    try {
      if (TenonError.is(one) || !(one instanceof Error) || typeof one.stack !== 'string') continue;
      return one.stack
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line.startsWith('at '))
        .slice(0, longestStack)
        .map(escaped);
    } catch {
      // It cannot be read.
    }
  }
  return [];
}
