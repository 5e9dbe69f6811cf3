import { codeName, nameOfError, TenonError, textOf } from '../../errors/errors.ts';
import { isError } from '../../internal/is-error.ts';

/** The bounds within which a value is written. */
export interface PlainLimits {
  readonly maxDepth: number;
  readonly maxEntries: number;
  readonly maxTextLength: number;
}

/**
 * Converts any value to one that JSON can carry: cycles and what is too deep or too long are cut, and a note stands for
 * what cannot be read. Never throws.
 */
export function plainOf(value: unknown, limits: PlainLimits): unknown {
  return new Plain(limits).of(value, 0);
}

/** Gives the parts of an error. The stack is among them only for errors that are no {@link TenonError}. */
export function partsOfError(error: unknown): Readonly<Record<string, unknown>> {
  if (TenonError.is(error)) {
    const { code, reason, message, cause } = error;
    return { code: codeName(code), reason, message, cause };
  }
  const { name, message, stack, cause } = error as Error;
  const errors = error instanceof AggregateError ? error.errors : undefined;
  return { name, message, stack, cause, errors };
}

/** Formats an error in one line: `NotFoundError: no such place`, `UNAVAILABLE (broker.unreachable): …`. */
export function headOfError(error: unknown): string {
  try {
    if (!TenonError.is(error)) return `${nameOfError(error) ?? 'thrown'}: ${textOf(error)}`;
    return `${codeName(error.code)}${error.reason === undefined ? '' : ` (${error.reason})`}: ${error.message}`;
  } catch {
    return 'an error that cannot be shown';
  }
}

/** Cuts a string that is too long. */
export function shortened(text: string, { maxTextLength }: PlainLimits): string {
  return text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength)}… [${text.length - maxTextLength} more]`;
}

class Plain {
  readonly #limits: PlainLimits;
  /** The objects that contain the current value. */
  readonly #ancestors: object[] = [];
  #entries = 0;

  constructor(limits: PlainLimits) {
    this.#limits = limits;
  }

  of(value: unknown, depth: number): unknown {
    try {
      if (typeof value === 'string') return shortened(value, this.#limits);
      if (typeof value === 'bigint' || typeof value === 'symbol') return shortened(String(value), this.#limits);
      if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
      if (typeof value === 'function') return '[function]';
      if (typeof value !== 'object' || value === null) return value;
      if (this.#ancestors.includes(value)) return '[circular]';
      if (depth >= this.#limits.maxDepth) return '[too deep]';
      this.#ancestors.push(value);
      try {
        return this.#object(value, depth);
      } finally {
        this.#ancestors.pop();
      }
    } catch (error) {
      return `[cannot be read: ${shortened(textOf(error), this.#limits)}]`;
    }
  }

  #object(value: object, depth: number): unknown {
    if (isError(value)) return this.#record(partsOfError(value), depth);
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`;
    const toJSON = (value as { readonly toJSON?: unknown }).toJSON;
    if (typeof toJSON === 'function') {
      const told: unknown = toJSON.call(value);
      return told === value ? this.#record(value, depth) : this.of(told, depth + 1);
    }
    if (value instanceof Map) return this.#list(value, value.size, depth);
    if (value instanceof Set) return this.#list(value, value.size, depth);
    return Array.isArray(value) ? this.#list(value, value.length, depth) : this.#record(value, depth);
  }

  #list(values: Iterable<unknown>, count: number, depth: number): unknown[] {
    const room = this.#take(count);
    const list: unknown[] = [];
    for (const value of room > 0 ? values : []) {
      list.push(this.of(value, depth + 1));
      if (list.length === room) break;
    }
    if (room < count) list.push(`[${count - room} more]`);
    return list;
  }

  #record(value: object, depth: number): Record<string, unknown> {
    // Without a prototype: a key may be `__proto__`.
    const record = Object.create(null) as Record<string, unknown>;
    const keys = Object.keys(value);
    const room = this.#take(keys.length);
    for (const key of keys.slice(0, room)) record[key] = this.#property(value, key, depth);
    if (room < keys.length) record['…'] = `[${keys.length - room} more]`;
    return record;
  }

  /** Reads one property. A getter that throws costs its own property alone. */
  #property(value: object, key: string, depth: number): unknown {
    try {
      return this.of((value as Record<string, unknown>)[key], depth + 1);
    } catch (error) {
      return `[cannot be read: ${shortened(textOf(error), this.#limits)}]`;
    }
  }

  /**
   * Reserves room for the values of one object before its nested objects are read, so that a huge one leaves room for
   * its neighbours.
   */
  #take(count: number): number {
    const room = Math.max(0, Math.min(count, this.#limits.maxEntries - this.#entries));
    this.#entries += room;
    return room;
  }
}
