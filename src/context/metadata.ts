import { Code, TenonError } from '../errors/errors.ts';
import { setOwn } from '../internal/own.ts';

/** A metadata value: a string, or bytes for keys that end in `-bin`. */
export type MetadataValue = string | Uint8Array;
/** Values by key to make metadata of: one or several per key. */
export type MetadataInit = Readonly<Record<string, MetadataValue | readonly MetadataValue[] | undefined>>;

/**
 * A source of metadata that is read when it is first looked at: `read` is called with `raw`, at most once. The two are
 * separate so that a transport needs no closure per call.
 */
export interface LazyMetadata<T> {
  readonly raw: T;
  readonly read: (raw: T) => Iterable<readonly [key: string, value: MetadataValue]>;
  /** Finds the first value of one lower-case key without reading the rest, where the source can. */
  readonly find?: ((raw: T, key: string) => MetadataValue | undefined) | undefined;
}

/** The pattern of a metadata key. */
export const keyPattern = /^[0-9a-z_.-]+$/;
// gRPC over HTTP/2 (PROTOCOL-HTTP2.md): ASCII-Value is 1*( %x20-%x7E ).
const textPattern = /^[\x20-\x7e]*$/;

/** True if a key and its value can be sent: text is printable ASCII, without blanks at its ends, which HTTP drops. */
export function isCarried(key: string, value: MetadataValue): boolean {
  if (!keyPattern.test(key)) return false;
  return typeof value !== 'string' || (textPattern.test(value) && !hasBlankEnd(value));
}

function hasBlankEnd(text: string): boolean {
  return text.charCodeAt(0) === 0x20 || text.charCodeAt(text.length - 1) === 0x20;
}

/**
 * The headers or trailers of a call: ordered values under lower-case keys, several per key where they
 * repeat. Keys ending in `-bin` carry bytes, all others printable ASCII without blanks at either end.
 *
 * Look-ups ignore case. Writing an invalid key or value throws INVALID_ARGUMENT (`metadata.invalid`).
 */
export class Metadata implements Iterable<[string, MetadataValue]> {
  #values: Map<string, MetadataValue[]> | undefined;
  #lazy: LazyMetadata<unknown> | undefined;

  constructor(init?: MetadataInit) {
    if (init) for (const key of Object.keys(init)) this.#append(key, init[key]);
  }

  /** Makes metadata that is read from its source when it is first looked at. */
  static lazy<T>(source: LazyMetadata<T>): Metadata {
    const metadata = new Metadata();
    metadata.#lazy = source as LazyMetadata<unknown>;
    return metadata;
  }

  /** Gives the first value of `key`. */
  get(key: string): MetadataValue | undefined {
    if (this.#lazy?.find) return this.#lazy.find(this.#lazy.raw, key.toLowerCase());
    return this.#map()?.get(key.toLowerCase())?.[0];
  }

  /** Gives the first value of `key` if it is a string. */
  text(key: string): string | undefined {
    const value = this.get(key);
    return typeof value === 'string' ? value : undefined;
  }

  /** Gives every value of `key`, in the order in which they were sent. */
  getAll(key: string): readonly MetadataValue[] {
    return this.#map()?.get(key.toLowerCase()) ?? [];
  }

  has(key: string): boolean {
    return this.#map()?.has(key.toLowerCase()) ?? false;
  }

  /** Replaces all values of `key`. */
  set(key: string, value: MetadataValue): this {
    this.delete(key);
    return this.append(key, value);
  }

  /** Adds a value after those that `key` already has. */
  append(key: string, value: MetadataValue): this {
    this.#append(key, value);
    return this;
  }

  delete(key: string): boolean {
    return this.#map()?.delete(key.toLowerCase()) ?? false;
  }

  /** Adds every value of `other` after those already here. */
  merge(other: Metadata | MetadataInit): this {
    if (other instanceof Metadata) for (const [key, value] of other) this.append(key, value);
    else for (const key of Object.keys(other)) this.#append(key, other[key]);
    return this;
  }

  /** True if there are no values. A lazy source is read for it. */
  get isEmpty(): boolean {
    return (this.#map()?.size ?? 0) === 0;
  }

  *[Symbol.iterator](): Iterator<[string, MetadataValue]> {
    for (const [key, values] of this.#map() ?? []) for (const value of values) yield [key, value];
  }

  /** Converts to a plain object, for logs and tests: several values of a key become an array. */
  toJSON(): Record<string, MetadataValue | MetadataValue[]> {
    const result: Record<string, MetadataValue | MetadataValue[]> = {};
    for (const [key, values] of this.#map() ?? [])
      setOwn(result, key, values.length === 1 ? (values[0] as MetadataValue) : [...values]);
    return result;
  }

  #map(): Map<string, MetadataValue[]> | undefined {
    if (this.#lazy) {
      const { raw, read } = this.#lazy;
      this.#lazy = undefined;
      // The transport has checked what a peer sent: a foreign header must not throw here.
      for (const [key, value] of read(raw)) this.#put(key, value);
    }
    return this.#values;
  }

  #append(key: string, value: MetadataValue | readonly MetadataValue[] | undefined): void {
    if (value === undefined) return;
    this.#map();
    const lowerKey = key.toLowerCase();
    for (const item of typeof value === 'string' || value instanceof Uint8Array ? [value] : value) {
      assertValid(lowerKey, item);
      this.#put(lowerKey, item);
    }
  }

  #put(key: string, value: MetadataValue): void {
    this.#values ??= new Map();
    const values = this.#values.get(key);
    if (values) values.push(value);
    else this.#values.set(key, [value]);
  }
}

function assertValid(key: string, value: MetadataValue): void {
  if (!keyPattern.test(key)) {
    throw invalid(`"${key}" is not a metadata key: use letters, digits, "_", "-" and "."`);
  }
  if (key.endsWith('-bin') !== value instanceof Uint8Array) {
    throw invalid(
      key.endsWith('-bin')
        ? `the metadata key "${key}" carries bytes: give a Uint8Array`
        : `the metadata key "${key}" carries text: give a string, or end the key in "-bin" for bytes`,
    );
  }
  if (typeof value === 'string' && !isCarried(key, value)) {
    const why = hasBlankEnd(value)
      ? 'begins or ends with a blank, which HTTP drops: trim it, or'
      : 'has a character outside printable ASCII:';
    throw invalid(`the value of the metadata key "${key}" ${why} end the key in "-bin" and send bytes`);
  }
}

function invalid(message: string): TenonError {
  return new TenonError({ code: Code.InvalidArgument, reason: 'metadata.invalid', message });
}
