import type { Budget } from './limits.ts';
import type { WireReader } from './wire-reader.ts';
import type { WireWriter } from './wire-writer.ts';

/** Reads and writes messages of one type, as parts of the message that contains them. */
export interface Converter {
  readonly name: string;
  /** Writes the fields of `value`, without their length. */
  write(writer: WireWriter, value: unknown, depth: number): void;
  /**
   * Reads up to the reader's end. `before` is the value that the same field had already: two occurrences of a message
   * are merged.
   */
  read(reader: WireReader, depth: number, before: unknown): unknown;
  toJson(value: unknown, depth: number, budget: Budget): unknown;
  fromJson(json: unknown, depth: number, budget: Budget): unknown;
}
