import { codeName, nameOfError, TenonError, textOf } from '../../errors/errors.ts';

/** How much of a value is written. */
export interface PlainLimits {
  readonly maxDepth: number;
  readonly maxEntries: number;
  readonly maxTextLength: number;
}

/**
 * A value as JSON can have it, whatever it is: cycles and what is deep or long are cut, and what cannot be read is said
 * so in its place. Never throws.
 */
export function plainOf(value: unknown, limits: PlainLimits): unknown {
  return new Plain(limits).of(value, 0);
}

/** An error in its parts; the stack only of those that nobody made to be shown. */
export function partsOfError(error: unknown): Readonly<Record<string, unknown>> {
  if (TenonError.is(error)) {
    const { code, reason, message, cause } = error;
    return { code: codeName(code), reason, message, cause };
  }
  const { name, message, stack, cause } = error as Error;
  const errors = error instanceof AggregateError ? error.errors : undefined;
  return { name, message, stack, cause, errors };
}

/** `NotFoundError: no such place`, `UNAVAILABLE (broker.unreachable): …`: an error in one line. */
export function headOfError(error: unknown): string {
  try {
    if (!TenonError.is(error)) return `${nameOfError(error) ?? 'thrown'}: ${textOf(error)}`;
    return `${codeName(error.code)}${error.reason === undefined ? '' : ` (${error.reason})`}: ${error.message}`;
  } catch {
    return 'an error that cannot be shown';
  }
}

/** A text, cut where it is longer than it may be. */
export function shortened(text: string, { maxTextLength }: PlainLimits): string {
  return text.length <= maxTextLength ? text : `${text.slice(0, maxTextLength)}… [${text.length - maxTextLength} more]`;
}

class Plain {
  readonly #limits: PlainLimits;
  /** Those that the value at hand stands in. */
  readonly #around: object[] = [];
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
      if (this.#around.includes(value)) return '[circular]';
      if (depth >= this.#limits.maxDepth) return '[too deep]';
      this.#around.push(value);
      try {
        return this.#object(value, depth);
      } finally {
        this.#around.pop();
      }
    } catch (error) {
      return `[cannot be read: ${shortened(textOf(error), this.#limits)}]`;
    }
  }

  #object(value: object, depth: number): unknown {
    if (TenonError.is(value) || value instanceof Error) return this.#record(partsOfError(value), depth);
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

  /** One that throws takes none of the others along. */
  #property(value: object, key: string, depth: number): unknown {
    try {
      return this.of((value as Record<string, unknown>)[key], depth + 1);
    } catch (error) {
      return `[cannot be read: ${shortened(textOf(error), this.#limits)}]`;
    }
  }

  /**
   * Room for so many values of one object, before what is within them: one that is huge leaves its neighbours theirs.
   */
  #take(count: number): number {
    const room = Math.max(0, Math.min(count, this.#limits.maxEntries - this.#entries));
    this.#entries += room;
    return room;
  }
}
