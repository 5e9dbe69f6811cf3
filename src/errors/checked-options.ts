import { Code, TenonError } from './errors.ts';

/** Which numbers an option takes. */
export interface NumberRule {
  /** @default 0 */
  readonly min?: number | undefined;
  /** @default Infinity */
  readonly max?: number | undefined;
  readonly isWhole?: boolean | undefined;
}

/** For {@link checkedOptions}: a count of at least one, with an end. */
export const aCount: NumberRule = { min: 1, max: Number.MAX_SAFE_INTEGER, isWhole: true };

// Milliseconds, bytes and bounds. What is more particular says so by a rule.
const numeric = /(?:Ms|Bytes)$|^max[A-Z]/;

/**
 * The options, once their numbers were looked at: those that a rule names, and all whose names say so (`…Ms`, `…Bytes`,
 * `max…`), which take numbers of at least 0. Throws INVALID_ARGUMENT (`options.invalid_number`) for anything else,
 * naming the option: `NaN` passes every comparison with a limit, and would come to light far away.
 */
export function checkedOptions<T extends object>(
  owner: string,
  options: T,
  rules: { readonly [K in keyof T]?: NumberRule } = {},
): T {
  for (const [name, value] of Object.entries(options)) {
    const rule: NumberRule | undefined = rules[name as keyof T];
    if (value !== undefined && (rule || numeric.test(name))) checkNumber(`${owner}.${name}`, value, rule);
  }
  return options;
}

/** The same of one number, which may be absent. */
export function checkNumber(name: string, value: unknown, rule: NumberRule = {}): void {
  if (value === undefined) return;
  const { min = 0, max = Number.POSITIVE_INFINITY, isWhole = false } = rule;
  if (typeof value === 'number' && value >= min && value <= max && (!isWhole || Number.isInteger(value))) return;
  const shown =
    typeof value === 'number'
      ? value
      : `${typeof value === 'string' ? JSON.stringify(value) : typeof value}, no number`;
  const upTo = max < Number.MAX_SAFE_INTEGER ? `, up to ${max}` : '';
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'options.invalid_number',
    message: `${name} is ${shown}: give a ${isWhole ? 'whole ' : ''}number of at least ${min}${upTo}`,
  });
}
