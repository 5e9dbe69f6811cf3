import { keyPattern, type Metadata, type MetadataValue } from '../../context/metadata.ts';
import { Code, TenonError } from '../../errors/errors.ts';
import { FrameError, maxFieldBytes } from './format.ts';
import type { FrameCursor, Sections } from './sections.ts';

/** A key and one of its values. */
export type Field = readonly [key: string, value: MetadataValue];

// Marks of a field on the wire; above them is a place in the table.
const literal = 0;
const remembered = 1;
const firstPlace = 2;

// Pairs that were sent once are watched for a second time, and no more of them than this.
const maxWatched = 1024;
const sentOnce = -1;

/**
 * Writes the fields of one direction, and remembers them. A field that is sent a second time is given a place, and from
 * then on it is sent as a number. When all places are taken, the oldest is given away. A frame's fields are remembered
 * from the next frame on, so that a frame that cannot be written leaves no trace.
 */
export class FieldWriter {
  readonly #limit: number;
  readonly #places = new Map<string, Map<string, number>>();
  readonly #slots: (readonly [key: string, value: string])[] = [];
  #pending: (readonly [key: string, value: string])[] = [];
  #next = 0;
  #watched = 0;

  /** @param limit how many places the reader has */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Writes every field, behind their number. Throws INVALID_ARGUMENT (`metadata.invalid`) for what cannot be sent. */
  writeAll(sections: Sections, metadata: Metadata): void {
    const fields = [...metadata];
    sections.varint(fields.length);
    for (const [key, value] of fields) {
      if (typeof value === 'string') this.write(sections, key, value, false);
      else {
        assertKey(key);
        sections.varint(literal);
        sections.text(key);
        sections.varint(value.length);
        sections.bytes(value);
      }
    }
  }

  /** @param isLasting known to come again, so that the first time is enough to remember it */
  write(sections: Sections, key: string, value: string, isLasting: boolean): void {
    const place = this.#places.get(key)?.get(value);
    if (place !== undefined && place !== sentOnce) {
      sections.varint(place + firstPlace);
      return;
    }
    if (!isLasting) assertKey(key);
    const isRemembered = (isLasting || place === sentOnce) && this.#limit > 0 && fits(key, value);
    sections.varint(isRemembered ? remembered : literal);
    sections.text(key);
    if (!sections.text(value)) throw notAscii(key);
    if (isRemembered) this.#pending.push([key, value]);
    else if (place === undefined && this.#limit > 0 && fits(key, value)) this.#watch(key, value);
  }

  /** Keeps the fields of a frame that is on its way. */
  commit(): void {
    if (this.#pending.length === 0) return;
    for (const field of this.#pending) this.#remember(field);
    this.#pending = [];
  }

  /** Forgets the fields of a frame that was not written. */
  forget(): void {
    this.#pending = [];
  }

  #remember(field: readonly [key: string, value: string]): void {
    const [key, value] = field;
    const place = this.#next;
    const old = this.#slots[place];
    if (old) {
      const values = this.#places.get(old[0]);
      if (values?.get(old[1]) === place) values.delete(old[1]);
      if (values?.size === 0) this.#places.delete(old[0]);
    }
    this.#slots[place] = field;
    this.#put(key, value, place);
    this.#next = (place + 1) % this.#limit;
  }

  #watch(key: string, value: string): void {
    if (this.#watched === maxWatched) {
      this.#watched = 0;
      this.#places.clear();
      for (const [place, [slotKey, slotValue]] of this.#slots.entries()) this.#put(slotKey, slotValue, place);
    }
    this.#watched += 1;
    this.#put(key, value, sentOnce);
  }

  #put(key: string, value: string, place: number): void {
    const values = this.#places.get(key);
    if (values) values.set(value, place);
    else this.#places.set(key, new Map([[value, place]]));
  }
}

/** Reads the fields of one direction, and remembers those that a {@link FieldWriter} has given a place. */
export class FieldReader {
  readonly #limit: number;
  readonly #slots: Field[] = [];
  #pending: Field[] = [];
  #next = 0;

  /** @param limit how many places there are: what this side has announced */
  constructor(limit: number) {
    this.#limit = limit;
  }

  readAll(cursor: FrameCursor): readonly Field[] {
    const count = cursor.varint();
    // Every field takes a byte at least: a number that cannot be true must not make an array.
    if (!(count <= cursor.left)) throw new FrameError(`${count} fields in ${cursor.left} bytes`);
    if (count === 1) return [this.read(cursor)];
    const fields: Field[] = [];
    for (let index = 0; index < count; index += 1) fields.push(this.read(cursor));
    return fields;
  }

  read(cursor: FrameCursor): Field {
    const mark = cursor.varint();
    if (mark >= firstPlace) {
      const known = this.#slots[mark - firstPlace];
      if (!known) throw new FrameError(`there is no field at place ${mark - firstPlace}`);
      return known;
    }
    const key = cursor.ascii(cursor.varint());
    if (!keyPattern.test(key) && key !== pathKey) throw new FrameError(`${JSON.stringify(key)} is no key of metadata`);
    const length = cursor.varint();
    const field: Field = [key, key.endsWith('-bin') ? cursor.copy(length) : cursor.ascii(length)];
    if (mark === remembered) {
      if (this.#limit === 0) throw new FrameError('a field to be remembered, where nothing is');
      if (key.length + length > maxFieldBytes) throw new FrameError('a field that is too long to be remembered');
      this.#pending.push(field);
    }
    return field;
  }

  /** Keeps the fields of a frame that has been read. */
  commit(): void {
    if (this.#pending.length === 0) return;
    for (const field of this.#pending) {
      this.#slots[this.#next] = field;
      this.#next = (this.#next + 1) % this.#limit;
    }
    this.#pending = [];
  }
}

/** The path of a call is a field like others; no key of metadata begins like this one. */
export const pathKey = ':path';

function fits(key: string, value: string): boolean {
  return key.length + value.length <= maxFieldBytes;
}

function assertKey(key: string): void {
  if (keyPattern.test(key)) return;
  throw new TenonError({
    code: Code.InvalidArgument,
    reason: 'metadata.invalid',
    message: `${JSON.stringify(key)} is not a metadata key: use letters, digits, "_", "-" and "."`,
  });
}

function notAscii(key: string): TenonError {
  return new TenonError({
    code: Code.InvalidArgument,
    reason: 'metadata.invalid',
    message: `the value of the metadata key "${key}" has a character outside printable ASCII: end the key in "-bin" and send bytes`,
  });
}
