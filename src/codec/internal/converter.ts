import type { Budget } from './limits.ts';
import type { WireReader } from './wire-reader.ts';
import type { WireWriter } from './wire-writer.ts';

/** How the messages of one type are read and written, from within the message they stand in. */
export interface Converter {
  readonly name: string;
  /** Writes the fields of `value`, without a length in front. */
  write(writer: WireWriter, value: unknown, depth: number): void;
  /**
   * Reads up to the reader's end. With `before`, the value that the same field had already: the wire format says that
   * two occurrences of a message are merged.
   */
  read(reader: WireReader, depth: number, before: unknown): unknown;
  toJson(value: unknown, depth: number, budget: Budget): unknown;
  fromJson(json: unknown, depth: number, budget: Budget): unknown;
}
