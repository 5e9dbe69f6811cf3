import type { ServiceConfig } from '../../interceptors/interceptors.ts';
import { maskAddress } from '../../internal/mask.ts';
import { didYouMean } from '../../internal/suggest.ts';
import { readServiceConfig } from './service-config.ts';

/** An environment variable that tenon reads. */
export interface Variable {
  readonly name: string;
  /** A description for people, as a sentence. */
  readonly describes: string;
  /**
   * The format of its text. `backend` is a choice with an optional address, `redis://127.0.0.1:6379`; `pairs` is
   * `key=value,key=value`; `service-config` is JSON, or the path of a file with it.
   */
  readonly kind: 'choice' | 'backend' | 'text' | 'integer' | 'boolean' | 'pairs' | 'service-config';
  readonly choices?: () => readonly string[];
  /** Unit of an integer: `ms`, `bytes`. */
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  /** The value if it is not set, for all profiles or by profile. */
  readonly fallback?: string | Readonly<Record<string, string>>;
  /** An example for `.env.example`, if there is no fallback. */
  readonly example?: string;
}

/** The parsed value of a variable. */
export type Parsed =
  | string
  | number
  | boolean
  | Readonly<Record<string, string>>
  | ServiceConfig
  | { readonly name: string; readonly address?: string | undefined };

type Result = { readonly value: Parsed } | { readonly problem: string };

/**
 * Parses the text of a variable. If it is invalid, describes the problem: the variable, its value, the valid values,
 * and the nearest of them.
 */
export function parseVariable(variable: Variable, text: string): Result {
  const wrong = (what: string): Result => ({ problem: `${variable.name} is "${shown(variable, text)}": ${what}` });
  switch (variable.kind) {
    case 'text':
      return { value: text };
    case 'choice':
      return oneOf(variable, text, wrong) ?? { value: text };
    case 'backend': {
      const [, name = text, address] = /^([^:]*):\/\/(.*)$/s.exec(text) ?? [];
      return oneOf(variable, name, wrong) ?? { value: { name, address: address || undefined } };
    }
    case 'boolean':
      return oneOf(variable, text, wrong) ?? { value: text === 'true' };
    case 'integer':
      return parseInteger(variable, text, wrong);
    case 'pairs':
      return parsePairs(text, wrong);
    case 'service-config': {
      const read = readServiceConfig(text);
      return 'value' in read ? read : { problem: `${variable.name}: ${read.problem}` };
    }
  }
}

/**
 * The text of a variable for messages. Pairs are shown as they are, unless they look like an address; all else is
 * masked.
 */
function shown({ kind }: Variable, text: string): string {
  return kind === 'pairs' && !/[@:?]/.test(text) ? text : maskAddress(text);
}

function oneOf(variable: Variable, name: string, wrong: (what: string) => Result): Result | undefined {
  const names = variable.choices?.() ?? ['true', 'false'];
  return names.includes(name) ? undefined : wrong(`there are ${names.join(', ')}.${didYouMean(name, names)}`);
}

function parseInteger(variable: Variable, text: string, wrong: (what: string) => Result): Result {
  const { unit = '', min = 0, max = Number.MAX_SAFE_INTEGER } = variable;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return { value };
  const range = variable.max === undefined ? `of at least ${min}` : `from ${min} to ${max}`;
  return wrong(
    `it has to be a whole number ${range}${unit === '' ? '' : `, in ${unit}`}, such as ${variable.example ?? min}`,
  );
}

function parsePairs(text: string, wrong: (what: string) => Result): Result {
  const pairs = text.split(',').map((pair): [string, string] => {
    const cut = pair.indexOf('=');
    return cut < 0 ? ['', pair] : [pair.slice(0, cut).trim(), pair.slice(cut + 1).trim()];
  });
  const bad = pairs.find(([key]) => key === '');
  return bad ? wrong(`"${maskAddress(bad[1])}" has to be key=value`) : { value: Object.fromEntries(pairs) };
}
