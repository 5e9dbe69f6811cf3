import { Code, TenonError } from './errors.ts';

/** The numbers that an option accepts. */
export interface NumberRule {
  /** @default 0 */
  readonly min?: number | undefined;
  /** @default Infinity */
  readonly max?: number | undefined;
  readonly isWhole?: boolean | undefined;
}

/** The rule for a count: a whole number of at least 1, and finite. */
export const aCount: NumberRule = { min: 1, max: Number.MAX_SAFE_INTEGER, isWhole: true };

// Milliseconds, bytes and bounds. Any other option that takes a number has a rule.
const numeric = /(?:Ms|Bytes)$|^max[A-Z]/;

/**
 * Checks the numbers in options, and returns the options. It checks those that have a rule, and those named `…Ms`,
 * `…Bytes` or `max…`, which have to be at least 0. Throws INVALID_ARGUMENT (`options.invalid_number`) that names the
 * option. Without the check, `NaN` would pass every comparison with a limit and fail far from its cause.
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

/** Checks one number, which may be absent, as {@link checkedOptions} does. */
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
