import { TenonError } from '../../errors/errors.ts';
import { isError } from '../../internal/is-error.ts';
import { ownValue } from '../../internal/own.ts';
import type { LogFields } from '../logger.ts';
import { headOfError, plainOf, type PlainLimits, shortened } from './plain.ts';

// Control characters (C0, C1), line separators, and characters that change the direction of writing.
// oxlint-disable-next-line no-control-regex
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

/** Escapes, as JSON does, the characters that a terminal would act upon. */
export function escaped(text: string): string {
  return text.replace(controls, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/**
 * Formats a message for people: one line, then, indented, its lists and the stack of an error that is no
 * {@link TenonError}.
 */
export function textLine(start: string, message: string, fields: LogFields, limits: PlainLimits): string {
  const details: string[] = [];
  let line = `${start} ${escaped(shortened(message, limits))}`;
  let rest = '';
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || hidden.test(key)) continue;
    if (isError(value)) {
      line += `${key === 'error' ? ': ' : ` ${escaped(key)}: `}${escaped(shortened(chain(value), limits))}`;
      details.push(...stackOf(value));
    } else if (isList(value)) details.push(...value.map((one) => escaped(shortened(one, limits))));
    else rest += ` ${escaped(ownValue(shortNames, key) ?? key)}=${pairOf(value, limits)}`;
  }
  return [line + rest, ...details.map((one) => `    ${one}`)].join('\n');
}

/** Fields that text leaves out: they are for machines, and for the logs of many processes together. */
const hidden = /^(?:service\.|trace_id$|span_id$)/;

/** Short names, for people, of fields with long names. */
const shortNames: Readonly<Record<string, string>> = { 'messaging.destination.name': 'topic' };

// A chain of causes may be a cycle.
const longestChain = 8;
const longestStack = 12;

function pairOf(value: unknown, limits: PlainLimits): string {
  const plain = plainOf(value, limits);
  if (typeof plain === 'string' && /^[^\s"]+$/.test(plain)) return escaped(plain);
  return escaped(JSON.stringify(plain) ?? 'undefined');
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.length > 0 && value.every((one) => typeof one === 'string' && one.includes(' '));
}

function chain(error: unknown): string {
  return causesOf(error).map(headOfError).join('; caused by ');
}

/** Lists an error and its causes, each once. */
function causesOf(error: unknown): unknown[] {
  const seen: unknown[] = [];
  for (let at = error; at !== undefined && !seen.includes(at) && seen.length < longestChain;) {
    seen.push(at);
    try {
      at = isError(at) ? at.cause : undefined;
    } catch {
      break;
    }
  }
  return seen;
}

/** Gives the stack of the innermost cause that is no {@link TenonError}. */
function stackOf(error: unknown): string[] {
  for (const one of causesOf(error).reverse()) {
    try {
      if (TenonError.is(one) || !isError(one) || typeof one.stack !== 'string') continue;
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
