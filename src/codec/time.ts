import { types } from 'node:util';

import { describeValue, encodeFailure, fail } from './internal/codec-errors.ts';

const minSeconds = -62_135_596_800n;
const maxSeconds = 253_402_300_799n;
const maxDurationSeconds = 315_576_000_000n;
const billion = 1_000_000_000n;

/**
 * A Date with nanoseconds: the value of a `google.protobuf.Timestamp` that a plain Date, which has milliseconds, would
 * round.
 *
 * @example
 * ```ts
 * new Timestamp(1_700_000_000n, 123_456_789).toJSON(); // "2023-11-14T22:13:20.123456789Z"
 * ```
 */
export class Timestamp extends Date {
  /** Nanoseconds within the second: 0 to 999,999,999. The Date has their whole milliseconds. */
  readonly nanos: number;

  /** Makes it of seconds since 1970, negative before, and of nanoseconds after them. */
  constructor(seconds: bigint | number, nanos = 0) {
    super(Number(seconds) * 1000 + Math.floor(nanos / 1_000_000));
    this.nanos = nanos;
  }

  /** Formats it as RFC 3339, with 0, 3, 6 or 9 digits of fraction. */
  override toJSON(): string {
    return formatTimestamp(this);
  }
}

/** The value of a `google.protobuf.Duration`. Both parts have the same sign. */
export interface Duration {
  readonly seconds: bigint;
  /** Nanoseconds after the seconds: -999,999,999 to 999,999,999. */
  readonly nanos: number;
}

/**
 * Converts milliseconds, with fractions, to a {@link Duration}. Throws INVALID_ARGUMENT (`codec.encode`) beyond 10,000
 * years.
 */
export function durationFromMs(ms: number): Duration {
  try {
    if (!Number.isFinite(ms)) fail(`expected milliseconds, got ${describeValue(ms)}`);
    const whole = Math.trunc(ms / 1000);
    const nanos = Math.round((ms - whole * 1000) * 1_000_000);
    const carry = Math.abs(nanos) < 1_000_000_000 ? 0 : Math.sign(nanos);
    // Adding 0 makes 0 of -0.
    const result = { seconds: BigInt(whole + carry), nanos: carry === 0 ? nanos + 0 : 0 };
    checkDuration(result.seconds, result.nanos);
    return result;
  } catch (error) {
    throw encodeFailure('google.protobuf.Duration', error);
  }
}

/** Converts a {@link Duration} to milliseconds, with fractions. */
export function durationToMs(duration: Duration): number {
  return Number(duration.seconds) * 1000 + duration.nanos / 1_000_000;
}

/** The parts of a Timestamp message. */
export interface Instant {
  readonly seconds: bigint;
  readonly nanos: number;
}

/** Converts to a Date, or to a {@link Timestamp} if there is a fraction of a millisecond. */
export function instantToDate({ seconds, nanos }: Instant): Date {
  if (seconds < minSeconds || seconds > maxSeconds)
    fail(`expected a time from the year 1 to 9999, got ${seconds} seconds since 1970`);
  if (nanos < 0 || nanos > 999_999_999) fail(`expected nanos from 0 to 999999999, got ${nanos}`);
  return nanos % 1_000_000 === 0 ? new Date(Number(seconds) * 1000 + nanos / 1_000_000) : new Timestamp(seconds, nanos);
}

/** Converts a Date or a {@link Timestamp} to the parts of a Timestamp message. */
export function dateToInstant(value: unknown): Instant {
  // A Date of another realm counts too, as of a worker's message or of a test runner.
  if (!types.isDate(value)) fail(`expected a Date, got ${describeValue(value)}`);
  const ms = value.getTime();
  if (Number.isNaN(ms)) fail('expected a Date, got an invalid one');
  const seconds = BigInt(Math.floor(ms / 1000));
  if (seconds < minSeconds || seconds > maxSeconds)
    fail(`expected a Date from the year 1 to 9999, got ${value.toISOString()}`);
  const millis = ms - Number(seconds) * 1000;
  const nanos: unknown = (value as Partial<Timestamp>).nanos;
  // A Date can be changed in place: the nanoseconds count only while they agree with its milliseconds.
  const isCurrent = typeof nanos === 'number' && Number.isInteger(nanos) && Math.floor(nanos / 1_000_000) === millis;
  return { seconds, nanos: isCurrent ? nanos : millis * 1_000_000 };
}

/** Checks a Duration's range and signs (google/protobuf/duration.proto). */
export function checkDuration(seconds: bigint, nanos: number): void {
  if (seconds > maxDurationSeconds || seconds < -maxDurationSeconds) {
    fail(`expected seconds from -${maxDurationSeconds} to ${maxDurationSeconds}, got ${seconds}`);
  }
  if (nanos > 999_999_999 || nanos < -999_999_999) fail(`expected nanos from -999999999 to 999999999, got ${nanos}`);
  if ((seconds > 0n && nanos < 0) || (seconds < 0n && nanos > 0))
    fail(`expected seconds and nanos of the same sign, got ${seconds} and ${nanos}`);
}

/** Formats a time as RFC 3339 in UTC, with 0, 3, 6 or 9 digits of fraction. */
export function formatTimestamp(value: unknown): string {
  const { seconds, nanos } = dateToInstant(value);
  return new Date(Number(seconds) * 1000).toISOString().replace('.000Z', `${fraction(nanos)}Z`);
}

const rfc3339 = /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/;

/** Parses RFC 3339 with any offset. */
export function parseTimestamp(text: unknown): Date {
  const parts = typeof text === 'string' ? rfc3339.exec(text) : null;
  const [, day = '', time = '', digits = '', offset = ''] = parts ?? [];
  const ms = parts ? Date.parse(`${day}T${time}${offset.toUpperCase()}`) : NaN;
  // Date.parse takes 31 February for 3 March.
  const isRealDay = !Number.isNaN(ms) && new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);
  if (!isRealDay) fail(`expected a time as in RFC 3339 ("2006-01-02T15:04:05Z"), got ${describeValue(text)}`);
  return instantToDate({ seconds: BigInt(ms / 1000), nanos: Number(digits.padEnd(9, '0')) });
}

/** Formats a duration: `"1.5s"`. */
export function formatDuration(seconds: bigint, nanos: number): string {
  const sign = seconds < 0n || nanos < 0 ? '-' : '';
  return `${sign}${seconds < 0n ? -seconds : seconds}${fraction(Math.abs(nanos))}s`;
}

const duration = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/;

/** Parses a duration: `"1.5s"`. */
export function parseDuration(text: unknown): Duration {
  const parts = typeof text === 'string' ? duration.exec(text) : null;
  if (!parts) fail(`expected a duration ("1.5s"), got ${describeValue(text)}`);
  const [, sign, whole = '0', digits = ''] = parts;
  const total = (BigInt(whole) * billion + BigInt(digits.padEnd(9, '0'))) * (sign === '-' ? -1n : 1n);
  const result = { seconds: total / billion, nanos: Number(total % billion) };
  checkDuration(result.seconds, result.nanos);
  return result;
}

function fraction(nanos: number): string {
  if (nanos === 0) return '';
  const digits = String(nanos).padStart(9, '0');
  return `.${digits.endsWith('000000') ? digits.slice(0, 3) : digits.endsWith('000') ? digits.slice(0, 6) : digits}`;
}
